import { index, pgTable, uuid } from 'drizzle-orm/pg-core';
import { code, instant as instantColumn } from '../../platform/db/columns.ts';
import { customers } from '../customers/model.ts';

/**
 * What erased persons were known by, as a keyed hash (platform/auth/keys.ts, tombstoneSecret): a later message that names
 * one of them is recognised, and nobody can read from it who it was.
 */
export const privacyTombstones = pgTable(
  'privacy_tombstones',
  {
    /** base64url of the HMAC-SHA256 of the identity or reference as it was stored. */
    hash: code('hash').primaryKey(),
    /** The anonymous customer that keeps the person's facts. */
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [index('privacy_tombstones_customer').on(t.customerId)],
);
