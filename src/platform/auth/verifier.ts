import { isUtf8 } from 'node:buffer';
import type { JWT } from '@fastify/jwt';
import { z } from 'zod';
import { Problem } from '../errors.ts';
import { createPrincipal, keySeparator, type Principal, type ScopedTo } from '../principal.ts';
import { id } from '../values.ts';
import { challenge } from './challenge.ts';
import { type ClaimMap, claimAt } from './claim-map.ts';
import type { AccessDirectory, IssuedToken } from './directory.ts';
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
/** The clocks of those who issue tokens may be ahead by so much, seconds. */
const clockTolerance = 60;

const bearer = /^Bearer +([\w-]+\.[\w-]+\.[\w-]+)$/i;

const headerSchema = z.object({
  alg: z.string(),
  typ: z.string(),
  kid: z.string().max(255).optional(),
});

/** Headers that carry or point to a key, or demand what is not understood here: refused before anything is verified. */
const refusedHeaders = ['crit', 'b64', 'jku', 'jwk', 'x5u', 'x5c'];

/** Without NUL, which is not stored, and without what parts a client from whom its token is scoped to (principal.ts). */
const storable = (text: string) => text.isWellFormed() && !text.includes('\u0000') && !text.includes(keySeparator);
const clientName = z.string().min(1).max(255).refine(storable);
const words = z.union([z.string().transform((text) => text.split(' ')), z.array(z.string())]);

/** The registered claims, of the types that they have to have (RFC 7519, 4.1). */
const claimsSchema = z.looseObject({
  exp: z.number(),
  iat: z.number().optional(),
  jti: z.string().max(255).optional(),
  sub: z.string().optional(),
});

/** What a token says once it is known to be genuine. */
export interface TokenClaims extends IssuedToken {
  /** Seconds since the epoch. */
  readonly exp: number;
  readonly scopes: readonly string[];
  readonly scopedTo: ScopedTo | null;
}

interface Expected {
  keys: KeySet;
  directory: AccessDirectory;
  issuer: string;
  audience: string;
  claims: ClaimMap;
}

/** The same without remembering or asking whether it was revoked: for those who are about to revoke it. */
export type TokenReader = (token: string) => Promise<TokenClaims>;

export interface BearerVerifier {
  verify: Verifier;
  read: TokenReader;
}

/**
 * Verifies access tokens of RFC 9068 with @fastify/jwt, whose `decode` must be set to `complete`. Verified tokens are
 * remembered for a minute at most, never beyond their `exp` nor beyond what is known of their key, nor over a change in
 * the access directory. They are remembered under the whole header: no hash can collide, and making one would cost more
 * than the look-up.
 */
export function createBearerVerifier(jwt: Pick<JWT, 'decode' | 'verify'>, expected: Expected): BearerVerifier {
  const { directory } = expected;
  const verified = new Map<string, { principal: Principal; generation: number; until: number }>();

  function verify(authorization: string): Principal | Promise<Principal> {
    const token = bearer.exec(authorization)?.[1];
    if (token === undefined) throw refused('The Authorization header is not a bearer token.');
    const genuine = read(token);
    return genuine instanceof Promise
      ? genuine.then((one) => admit(authorization, one))
      : admit(authorization, genuine);
  }

  function read(token: string): Genuine | Promise<Genuine> {
    if (token.length > longestToken) throw refused('The token is too long.');
    const { kid, algorithm } = readHeader(jwt, token, expected.keys.algorithms);
    const found = expected.keys.find(kid, algorithm);
    return found instanceof Promise
      ? found.then((key) => check(token, algorithm, key))
      : check(token, algorithm, found);
  }

  function check(token: string, algorithm: SigningAlgorithm, found: Found | null): Genuine {
    if (found === null) throw refused('The key that signed the token is not known.');
    const claims = readClaims(jwt, token, { key: found.publicKey, algorithm, ...expected });
    if (claims.exp * 1000 <= Date.now()) throw refused('The token has expired.');
    return { claims, until: Math.min(claims.exp * 1000, found.until) };
  }

  function admit(authorization: string, genuine: Genuine): Principal | Promise<Principal> {
    const { scopedTo } = genuine.claims;
    // A partner may have been added by another replica a moment ago.
    return scopedTo?.kind === 'partner' && directory.partner(scopedTo.id) === null
      ? directory.lookAgain().then(() => admitKnown(authorization, genuine))
      : admitKnown(authorization, genuine);
  }

  function admitKnown(authorization: string, { claims, until }: Genuine): Principal {
    if (directory.isRevoked(claims)) throw refused('The token was revoked.');
    const { scopedTo } = claims;
    if (scopedTo?.kind === 'partner' && directory.partner(scopedTo.id)?.status !== 'active') {
      throw refused('The partner of the token is not known, or suspended.');
    }
    const principal = createPrincipal(claims.client, claims.scopes, scopedTo);
    remember(authorization, principal, Math.min(until, Date.now() + cachedFor));
    return principal;
  }

  function remember(authorization: string, principal: Principal, until: number): void {
    verified.delete(authorization);
    const oldest = verified.size < mostCached ? undefined : verified.keys().next().value;
    if (oldest !== undefined) verified.delete(oldest);
    verified.set(authorization, { principal, generation: directory.generation, until });
  }

  const verifier: Verifier = (authorization) => {
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
  return { verify: verifier, read: async (token) => (await read(token)).claims };
}

interface Genuine {
  claims: TokenClaims;
  /** Milliseconds since the epoch. */
  until: number;
}

function readHeader(jwt: Pick<JWT, 'decode'>, token: string, algorithms: readonly SigningAlgorithm[]) {
  // Two texts of bytes that are no UTF-8 could be read as one (RFC 8725, 3.7).
  const [head = '', payload = ''] = token.split('.');
  if (![head, payload].every((part) => isUtf8(Buffer.from(part, 'base64url'))))
    throw refused('The token is not UTF-8.');
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

interface Check extends Pick<Expected, 'issuer' | 'audience' | 'claims'> {
  key: string;
  algorithm: SigningAlgorithm;
}

function readClaims(jwt: Pick<JWT, 'verify'>, token: string, check: Check): TokenClaims {
  const { key, algorithm, issuer, audience, claims: map } = check;
  const payload = attempt(() =>
    jwt.verify<Record<string, unknown>>(token, {
      key,
      algorithms: [algorithm],
      allowedIss: issuer,
      allowedAud: audience,
      requiredClaims: ['iss', 'aud', 'exp'],
    }),
  );
  const registered = claimsSchema.safeParse(payload);
  if (!registered.success) throw unreadable();
  const { exp, iat, jti } = registered.data;
  if (iat !== undefined && iat > Date.now() / 1000 + clockTolerance)
    throw refused('The token was issued in the future.');
  return {
    exp,
    iat,
    jti,
    client: clientOf(payload, map),
    scopes: scopesOf(payload, map),
    scopedTo: scopedToOf(payload, map),
  };
}

function clientOf(payload: Record<string, unknown>, map: ClaimMap): string {
  const named = map.client.map((path) => claimAt(payload, path)).find((value) => value !== undefined);
  if (named === undefined) throw refused(`The token has no client (${map.client[0]}).`);
  const client = clientName.safeParse(named);
  if (!client.success) throw unreadable();
  return client.data;
}

function scopesOf(payload: Record<string, unknown>, map: ClaimMap): string[] {
  return Object.entries(map.scopes).flatMap(([path, meaning]) => {
    const claim = claimAt(payload, path);
    if (claim === undefined) return [];
    const values = words.safeParse(claim);
    if (!values.success) throw unreadable();
    const named = values.data.filter((value) => value !== '');
    if (meaning === 'verbatim') return named;
    return named.flatMap((value) => (Object.hasOwn(meaning, value) ? (meaning[value] ?? []) : []));
  });
}

/** A claim that is there and is no UUID scopes the token to nothing that there is: it is refused, not ignored. */
function scopedToOf(payload: Record<string, unknown>, map: ClaimMap): ScopedTo | null {
  const [partner, customer] = [map.partner, map.customer].map((path) =>
    path === null ? undefined : claimAt(payload, path),
  );
  if (partner !== undefined && customer !== undefined)
    throw refused('The token is scoped to a partner and a customer at once.');
  const bound = partner ?? customer;
  if (partner === undefined && customer === undefined) return null;
  const whose = id.safeParse(bound);
  if (!whose.success) throw refused('The partner or customer of the token is not a UUID.');
  return { kind: partner === undefined ? 'customer' : 'partner', id: whose.data };
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

function unreadable(): Problem {
  return refused('The claims of the token cannot be read.');
}

function refused(description: string): Problem {
  return new Problem('unauthenticated', description, {
    headers: { 'WWW-Authenticate': challenge({ error: 'invalid_token', error_description: description }) },
  });
}
