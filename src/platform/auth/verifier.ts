import type { JWT } from '@fastify/jwt';
import { z } from 'zod';
import { Problem } from '../errors.ts';
import { type Confinement, createPrincipal, type Principal } from '../principal.ts';
import { id } from '../values.ts';
import { challenge } from './challenge.ts';
import type { AccessDirectory } from './directory.ts';
import type { Found, KeySet } from './key-set.ts';
import type { SigningAlgorithm } from './signing-key.ts';

/**
 * Who calls, by the value of the Authorization header. Answers without a promise where it can: on the hot path it is
 * a look-up.
 *
 * @throws Problem (or rejects with it): `unauthenticated` with a challenge, `unavailable` while the provider's keys or
 *   the access directory cannot be read
 */
export type Verifier = (authorization: string | undefined) => Principal | Promise<Principal>;

const cachedFor = 60_000;
const mostCached = 2_000;
const longestToken = 8_192;

const bearer = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i;

const headerSchema = z.object({
  alg: z.string(),
  typ: z.string(),
  kid: z.string().max(255).optional(),
});

/** Headers that carry or point to a key, or demand what is not understood here: refused before anything is verified. */
const refusedHeaders = ['crit', 'jku', 'jwk', 'x5u', 'x5c'];

const scopeList = z.union([z.string().transform((text) => text.split(' ')), z.array(z.string())]);
const storable = (text: string) => text.isWellFormed() && !text.includes('\u0000');
const clientName = z.string().min(1).max(255).refine(storable);

const claimsSchema = z.object({
  exp: z.number(),
  client_id: clientName.optional(),
  azp: clientName.optional(),
  sub: clientName.optional(),
  scope: scopeList.optional(),
  scp: scopeList.optional(),
  jti: z.string().optional(),
  iat: z.number().optional(),
  partner: id.optional(),
  customer: id.optional(),
});

interface Expected {
  keys: KeySet;
  directory: AccessDirectory;
  issuer: string;
  audience: string;
}

/**
 * Verifies access tokens of RFC 9068 with @fastify/jwt, whose `decode` must be set to `complete`. Verified tokens are
 * remembered for a minute at most, never beyond their `exp` nor beyond what is known of their key, nor over a change in
 * the access directory. They are remembered under the whole header: no hash can collide, and making one would cost more
 * than the look-up.
 */
export function createBearerVerifier(jwt: Pick<JWT, 'decode' | 'verify'>, expected: Expected): Verifier {
  const { directory } = expected;
  const verified = new Map<string, { principal: Principal; generation: number; until: number }>();

  function verify(authorization: string): Principal | Promise<Principal> {
    const token = bearer.exec(authorization)?.[1];
    if (token === undefined) throw refused('The Authorization header is not a bearer token.');
    if (token.length > longestToken) throw refused('The token is too long.');
    const { kid, algorithm } = readHeader(jwt, token, expected.keys.algorithms);
    const found = expected.keys.find(kid, algorithm);
    return found instanceof Promise
      ? found.then((key) => check(authorization, token, algorithm, key))
      : check(authorization, token, algorithm, found);
  }

  function check(authorization: string, token: string, algorithm: SigningAlgorithm, found: Found | null): Principal {
    if (found === null) throw refused('The key that signed the token is not known.');
    const claims = readClaims(jwt, token, { key: found.publicKey, algorithm, ...expected });
    const now = Date.now();
    const until = Math.min(claims.exp * 1000, now + cachedFor, found.until);
    if (claims.exp * 1000 <= now) throw refused('The token has expired.');
    if (directory.isRevoked(claims)) throw refused('The token was revoked.');
    const { confinement } = claims;
    if (confinement?.kind === 'partner' && directory.partner(confinement.id)?.status === 'suspended') {
      throw refused('The partner of the token is suspended.');
    }
    const principal = createPrincipal(claims.client, claims.scopes, confinement);
    remember(authorization, principal, until);
    return principal;
  }

  function remember(authorization: string, principal: Principal, until: number): void {
    verified.delete(authorization);
    const oldest = verified.size < mostCached ? undefined : verified.keys().next().value;
    if (oldest !== undefined) verified.delete(oldest);
    verified.set(authorization, { principal, generation: directory.generation, until });
  }

  return (authorization) => {
    if (authorization === undefined) {
      throw new Problem('unauthenticated', 'Send an access token: Authorization: Bearer …', {
        headers: { 'WWW-Authenticate': challenge() },
      });
    }
    const now = Date.now();
    if (now >= directory.goodUntil) return directory.refresh().then(() => verify(authorization));
    const known = verified.get(authorization);
    return known !== undefined && now < known.until && known.generation === directory.generation
      ? known.principal
      : verify(authorization);
  };
}

function readHeader(jwt: Pick<JWT, 'decode'>, token: string, algorithms: readonly SigningAlgorithm[]) {
  const decoded = attempt(() => jwt.decode<{ header: Record<string, unknown> }>(token));
  const header = headerSchema.safeParse(decoded?.header);
  if (!decoded || !header.success) throw refused('The header of the token is not that of an access token.');
  const unwanted = refusedHeaders.find((name) => name in decoded.header);
  if (unwanted !== undefined) throw refused(`The token header ${unwanted} is not accepted.`);
  const { alg, typ, kid } = header.data;
  if (!/^(application\/)?at\+jwt$/i.test(typ)) throw refused('The token is not of the type at+jwt.');
  const algorithm = algorithms.find((allowed) => allowed === alg);
  if (algorithm === undefined) throw refused('The algorithm of the token is not accepted.');
  return { kid, algorithm };
}

interface Check {
  key: string;
  algorithm: SigningAlgorithm;
  issuer: string;
  audience: string;
}

function readClaims(jwt: Pick<JWT, 'verify'>, token: string, { key, algorithm, issuer, audience }: Check) {
  const payload = attempt(() =>
    jwt.verify<Record<string, unknown>>(token, {
      key,
      algorithms: [algorithm],
      allowedIss: issuer,
      allowedAud: audience,
      requiredClaims: ['iss', 'aud', 'exp'],
    }),
  );
  const claims = claimsSchema.safeParse(payload);
  if (!claims.success) throw refused('The claims of the token cannot be read.');
  const { exp, jti, iat, client_id, azp, sub, scope, scp, partner, customer } = claims.data;
  const client = client_id ?? azp ?? sub;
  if (client === undefined) throw refused('The token names no client (client_id).');
  const scopes = (scope ?? scp ?? []).filter((name) => name !== '');
  return { exp, jti, iat, client, scopes, confinement: confinementOf(partner, customer) };
}

function confinementOf(partner: string | undefined, customer: string | undefined): Confinement | null {
  if (partner !== undefined && customer !== undefined)
    throw refused('The token is bound to a partner and a customer at once.');
  if (partner !== undefined) return { kind: 'partner', id: partner };
  return customer === undefined ? null : { kind: 'customer', id: customer };
}

const reasons: Record<string, string> = {
  FAST_JWT_EXPIRED: 'The token has expired.',
  FAST_JWT_INACTIVE: 'The token is not valid yet.',
  FAST_JWT_INVALID_SIGNATURE: 'The signature of the token is wrong.',
  FAST_JWT_INVALID_ALGORITHM: 'The algorithm of the token is not accepted.',
  FAST_JWT_MISSING_REQUIRED_CLAIM: 'The token lacks one of iss, aud and exp.',
  FAST_JWT_INVALID_CLAIM_VALUE: 'The token is from another issuer or for another audience.',
};

/** Whatever goes wrong while a token is taken apart is the token's fault: it never becomes a 500. */
function attempt<T>(step: () => T): NonNullable<T> {
  let result: T | null | undefined;
  try {
    result = step();
  } catch (error) {
    const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
    throw refused(reasons[code] ?? 'The token cannot be read.');
  }
  if (result === null || result === undefined) throw refused('The token cannot be read.');
  return result;
}

function refused(description: string): Problem {
  return new Problem('unauthenticated', description, {
    headers: { 'WWW-Authenticate': challenge({ error: 'invalid_token', error_description: description }) },
  });
}
