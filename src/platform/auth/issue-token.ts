import { randomUUID, sign } from 'node:crypto';
import type { Config } from '../../config.ts';
import type { SigningKey } from './signing-key.ts';

export interface TokenRequest {
  scope: string;
  client: string;
  ttl: number;
  partner?: string | undefined;
  customer?: string | undefined;
}

/**
 * An access token of RFC 9068, signed with the service's own key.
 *
 * @param request.scope space-separated scopes; `*` grants all
 * @param request.client the client it is for
 * @param request.ttl seconds it is valid
 * @param request.partner UUID; scopes the token to what is shared with this partner
 * @param request.customer UUID; scopes it to this one customer
 * @param now seconds since the epoch
 */
export function issueToken(
  config: Pick<Config, 'jwtIssuer' | 'jwtAudience'>,
  key: SigningKey,
  request: TokenRequest,
  now = Math.floor(Date.now() / 1000),
): string {
  const header = { alg: key.algorithm, typ: 'at+jwt', kid: key.kid };
  const claims = {
    iss: config.jwtIssuer,
    aud: config.jwtAudience,
    sub: request.client,
    client_id: request.client,
    iat: now,
    exp: now + request.ttl,
    jti: randomUUID(),
    scope: request.scope,
    // JSON leaves out what is undefined.
    partner: request.partner,
    customer: request.customer,
  };
  const content = `${encode(header)}.${encode(claims)}`;
  // JOSE signatures of EC keys are the two numbers side by side; Ed25519 brings its own digest.
  const digest = key.algorithm === 'EdDSA' ? null : 'sha256';
  const signature = sign(digest, Buffer.from(content), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${content}.${signature.toString('base64url')}`;
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}
