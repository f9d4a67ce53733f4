import { z } from 'zod';
import type { AccessRecords, RotatedKey } from '../../platform/auth/directory.ts';
import type { KeySeal } from '../../platform/auth/sealed-key.ts';
import type { Db } from '../../platform/db/client.ts';
import { type AnyJob, job } from '../../platform/jobs.ts';
import { keyTimes } from './keys.ts';
import { forgetRevocations, restrictedClients, revokedTokens, type SigningKeyRow, signingKeyRows } from './queries.ts';

/** The part of the access directory that is kept here. */
export type ClientAccess = Pick<AccessRecords, 'keys' | 'issuedFrom' | 'revoked'>;

/**
 * Reads what the access directory says about clients, their tokens and the signing keys.
 *
 * @param seal null under an outside provider, where the service has no keys
 */
export function clientAccess(db: Db, seal: KeySeal | null, clock: () => string): () => Promise<ClientAccess> {
  // Opening a key costs a decryption and a key import; it stays the same as long as its row does.
  const opened = new Map<string, RotatedKey | null>();

  function open({ kid, sealed, signsFrom }: SigningKeyRow): RotatedKey | null {
    if (seal === null || sealed === null) return null;
    const known = opened.get(kid);
    if (known !== undefined) return known;
    const key = seal.open(sealed, kid);
    const made = key && { ...key, signsFrom: Date.parse(signsFrom) };
    opened.set(kid, made);
    return made;
  }

  return async () => {
    const [keys, restricted, revoked] = await Promise.all([
      signingKeyRows(db),
      restrictedClients(db),
      // A token's `exp` is by the clock of the machine.
      revokedTokens(db, new Date().toISOString()),
    ]);
    const usable = keys.filter((row) => row.revokedAt === null && open(row) !== null);
    const ends = keyTimes(usable);
    const now = Date.parse(clock());
    return {
      keys: usable.map(open).filter((key): key is RotatedKey => key !== null && (ends.get(key.kid) ?? now) > now),
      issuedFrom: new Map(restricted.map(({ id, status, tokensFrom }) => [id, firstGood(status, tokensFrom)])),
      revoked: new Set(revoked),
    };
  };
}

function firstGood(status: string, tokensFrom: string | null): number {
  return status === 'active' && tokensFrom !== null ? Date.parse(tokensFrom) / 1000 : Number.POSITIVE_INFINITY;
}

/** Revocations of tokens that have expired go. */
export const forgetOldRevocations = job({
  name: 'forgetOldRevocations',
  payload: z.strictObject({}),
  recurring: '37 * * * *',
  run: ({ db }) => forgetRevocations(db, new Date().toISOString()),
});

export const clientJobs: readonly AnyJob[] = [forgetOldRevocations];
