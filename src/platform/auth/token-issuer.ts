import type { Config } from '../../config.ts';
import type { AccessDirectory } from './directory.ts';
import { issueToken, type TokenRequest } from './issue-token.ts';
import { type KeySeal, publicJwk } from './sealed-key.ts';
import type { SigningKey } from './signing-key.ts';

/** Issues the service's own tokens; there is none under an outside provider. */
export interface TokenIssuer {
  /** The key of the configuration: signs when there is no other, and always verifies. */
  readonly configured: SigningKey;
  readonly seal: KeySeal;
  /**
   * A token signed by the key whose turn it is.
   *
   * @param issuedAt seconds since the epoch, by the clock of the machine as those have it who verify
   */
  issue(request: TokenRequest, issuedAt: number): string;
  /** The key set (RFC 7517): every key that verifies, those that will sign before they do. */
  keySet(): { keys: object[] };
}

export interface IssuerParts {
  config: Pick<Config, 'jwtIssuer' | 'jwtAudience'>;
  configured: SigningKey;
  seal: KeySeal;
  directory: AccessDirectory;
  clock: () => string;
}

export function tokenIssuer({ config, configured, seal, directory, clock }: IssuerParts): TokenIssuer {
  return {
    configured,
    seal,
    issue(request, issuedAt) {
      const now = Date.parse(clock());
      const key = directory.keys.findLast(({ signsFrom }) => signsFrom <= now) ?? configured;
      return issueToken(config, key, request, issuedAt);
    },
    keySet: () => ({ keys: [configured, ...directory.keys].map(publicJwk) }),
  };
}
