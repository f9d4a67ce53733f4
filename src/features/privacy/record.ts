import { index } from 'drizzle-orm/pg-core';
import { code, instant, ownerId } from '../../records/fields.ts';
import { storedTable } from '../../records/table.ts';
import { customers } from '../customers/record.ts';

/**
 * What erased persons were known by, as a keyed hash (platform/auth/keys.ts, tombstoneSecret): a later message that names
 * one of them is recognised, and nobody can read from it who it was.
 */
export const privacyTombstones = storedTable('privacy_tombstones', {
  name: 'tombstones',
  label: 'Keyed hashes of names that were erased',
  // A partner who brings somebody has to be told that the person was erased.
  access: 'configuration',
  nature: 'profile',
  owner: 'customerId',
  key: ['hash'],
  guard: 'erased name',
  feed: 'none',
  // Who was erased is not merged.
  merge: 'none',
  fields: {
    /** base64url of the HMAC-SHA256 of the identity or reference as it was stored. */
    hash: code(64).plain().required(),
    /** The anonymous customer that keeps the person's facts. */
    customerId: ownerId(() => customers.id),
    createdAt: instant().required(),
  },
  extras: (t) => [index('privacy_tombstones_customer').on(t.customerId)],
});
