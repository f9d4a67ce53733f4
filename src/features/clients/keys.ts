import { generateKeyPairSync } from 'node:crypto';
import { z } from 'zod';
import { rotatedAlgorithm } from '../../platform/auth/key-set.ts';
import { readSigningKey } from '../../platform/auth/signing-key.ts';
import type { TokenIssuer } from '../../platform/auth/token-issuer.ts';
import { notFound, Problem, problemType } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { text } from '../../platform/values.ts';
import { insertSigningKey, revokeSigningKeyRow, type SigningKeyRow, signingKeyRows } from './queries.ts';
import { longestTtl, rotationInput, type SigningKeyDocument, signingKey, usualNotice } from './record.ts';

export const issuingOff = problemType('issuing_off', 409, 'Tokens come from an outside provider');

const kid = text(64).meta({
  description: 'The id of the key (`kid`).',
  example: '4Q8mR1vYl0Hq0bW4m2Xo5sS0mVb8cT6rJ3nU9kE7aZo',
});

/** @throws Problem issuing_off under an outside provider */
export function issuerOf({ issuer }: Pick<Context, 'issuer'>): TokenIssuer {
  if (issuer !== null) return issuer;
  throw new Problem(issuingOff, 'Tokens come from an outside provider here (JWT_JWKS_URL): manage them there.');
}

/**
 * When the last token that a key may have signed has expired, milliseconds since the epoch, by name: the longest life of
 * a token after the next key began to sign. The newest has no end.
 *
 * @param usable keys that are not revoked and whose private part is there, in the order in which they sign
 */
export function keyTimes(usable: readonly SigningKeyRow[]): Map<string, number> {
  return new Map(
    usable.map(({ kid }, i) => {
      const next = usable[i + 1];
      return [kid, next ? Date.parse(next.signsFrom) + longestTtl * 1000 : Number.POSITIVE_INFINITY];
    }),
  );
}

/** A key that does not open was sealed under another key of the configuration: it is none any longer. */
function usableKeys(rows: readonly SigningKeyRow[], { seal }: TokenIssuer): SigningKeyRow[] {
  return rows.filter(({ kid, sealed, revokedAt }) => {
    return revokedAt === null && sealed !== null && seal.open(sealed, kid) !== null;
  });
}

/** Every key, that of the configuration first, then in the order in which they sign. */
function describe(rows: readonly SigningKeyRow[], issuer: TokenIssuer, now: number): SigningKeyDocument[] {
  const usable = usableKeys(rows, issuer);
  const ends = keyTimes(usable);
  const signs = usable.findLast(({ signsFrom }) => Date.parse(signsFrom) <= now)?.kid;
  const { kid, algorithm } = issuer.configured;
  return [
    {
      kid,
      algorithm,
      status: signs === undefined ? 'signing' : 'verifying',
      configured: true,
      signsFrom: null,
      verifiesUntil: null,
      revokedAt: null,
      createdAt: null,
    },
    ...rows.map((row): SigningKeyDocument => {
      const end = ends.get(row.kid) ?? Number.NEGATIVE_INFINITY;
      return {
        kid: row.kid,
        algorithm: row.algorithm,
        status: statusOf(row, { signs: row.kid === signs, end, now }),
        configured: false,
        signsFrom: row.signsFrom,
        verifiesUntil: Number.isFinite(end) ? new Date(end).toISOString() : null,
        revokedAt: row.revokedAt,
        createdAt: row.createdAt,
      };
    }),
  ];
}

function statusOf(
  { revokedAt, signsFrom }: SigningKeyRow,
  { signs, end, now }: { signs: boolean; end: number; now: number },
): SigningKeyDocument['status'] {
  if (revokedAt !== null) return 'revoked';
  if (signs) return 'signing';
  if (end <= now) return 'retired';
  return Date.parse(signsFrom) > now ? 'pending' : 'verifying';
}

export const listSigningKeys = readOperation({
  name: 'listSigningKeys',
  scope: 'clients:read',
  partners: false,
  selfService: false,
  summary: 'List the keys that sign tokens',
  description:
    'The key of the configuration first, then in the order in which they sign. Their public parts are at `/.well-known/jwks.json`.',
  input: z.strictObject({}),
  output: z.strictObject({ data: z.array(signingKey) }).meta({ id: 'SigningKeys' }),
  problems: [issuingOff],
  async run(context) {
    const issuer = issuerOf(context);
    return { data: describe(await signingKeyRows(context.db), issuer, Date.parse(context.now)) };
  },
});

export const rotateSigningKey = writeOperation({
  name: 'rotateSigningKey',
  scope: 'clients:write',
  partners: false,
  selfService: false,
  summary: 'Make a new signing key',
  description:
    'The key is published and verifies at once. It signs after the notice period, when every replica and every cache of the key set has it. The previous key verifies until the last of its tokens has expired.',
  input: z.strictObject({ ...writeParameters, body: rotationInput.optional() }),
  output: signingKey,
  idempotency: 'accepted',
  created: () => true,
  changesAccess: true,
  problems: [issuingOff],
  async run(tx, context, { body }) {
    const issuer = issuerOf(context);
    const now = Date.parse(context.now);
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = readSigningKey(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 'the new key');
    const row: SigningKeyRow = {
      kid: key.kid,
      algorithm: rotatedAlgorithm,
      sealed: issuer.seal.seal(key.privateKey, key.kid),
      signsFrom: new Date(now + (body?.signsAfter ?? usualNotice) * 1000).toISOString(),
      revokedAt: null,
      createdAt: context.now,
    };
    const before = usableKeys(await signingKeyRows(tx), issuer);
    const retired = [...keyTimes(before)].filter(([, end]) => end <= now).map(([name]) => name);
    await insertSigningKey(tx, row, retired);
    return describe([row], issuer, now)[1] as SigningKeyDocument; // the configured key and this one
  },
});

export const revokeSigningKey = writeOperation({
  name: 'revokeSigningKey',
  scope: 'clients:write',
  partners: false,
  selfService: false,
  summary: 'Revoke a signing key',
  description:
    'For a key that may have leaked: every token that it signed is refused within a minute on all replicas, and its private part is destroyed. The previous key signs again. Replace the key of the configuration in the configuration.',
  input: z.strictObject({ kid, ...writeParameters }),
  output: signingKey,
  idempotency: 'accepted',
  changesAccess: true,
  problems: ['not_found', issuingOff],
  async run(tx, context, { kid: wanted }) {
    const issuer = issuerOf(context);
    const row = await revokeSigningKeyRow(tx, wanted, context.now);
    if (!row) throw notFound('signing key that can be revoked');
    return describe([row], issuer, Date.parse(context.now))[1] as SigningKeyDocument; // the configured key and this one
  },
});
