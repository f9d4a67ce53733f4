import { index, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { code, instant as instantColumn } from '../../platform/db/columns.ts';
import { personal } from '../../platform/personal.ts';
import { id, instant } from '../../platform/values.ts';
import { consentInput, consentPurpose, consentStatus } from '../customers/consent-input.ts';
import { customers } from '../customers/record.ts';
import { type Channel, channel } from '../customers/words.ts';

/** Stands for "all channels" where a key cannot be null. No channel is called so. */
export const allChannels = '*';

/**
 * What customers have agreed to and taken back, in the order in which it happened. A change is never rewritten: what is
 * in force follows from all of them, so that it can be shown later what was known when.
 */
export const consentChanges = pgTable(
  'consent_changes',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    id: uuid('id').notNull(),
    purpose: code('purpose').notNull(),
    /** null: all channels. */
    channel: code('channel').$type<Channel>(),
    status: textColumn('status').$type<ConsentStatus>().notNull(),
    /** When it was given or taken back; may be long before it was recorded. */
    at: instantColumn('at').notNull(),
    source: textColumn('source'),
    textVersion: textColumn('text_version'),
    wording: textColumn('wording'),
    reference: textColumn('reference'),
    /** The client that recorded it. */
    by: textColumn('by').notNull(),
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
    index('consent_changes_id').on(t.id),
    index('consent_changes_customer_at').on(t.customerId, t.at, t.id),
    index('consent_changes_at').on(t.at, t.id),
  ],
);

/**
 * Derived: what is in force, for each purpose and channel that a change names, and for all other channels (`*`). A row is
 * the latest, by (at, id), of the changes for its channel or for all; where a channel has no row, that of `*` holds.
 * Written with the change, under the customer's lock; `verify-rollups` compares.
 */
export const consents = pgTable(
  'consents',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id, { onDelete: 'cascade' }),
    purpose: code('purpose').notNull(),
    channel: code('channel').$type<Channel | typeof allChannels>().notNull(),
    status: textColumn('status').$type<ConsentStatus>().notNull(),
    at: instantColumn('at').notNull(),
    changeId: uuid('change_id').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.purpose, t.channel] }),
    // Who has agreed: rules of sharing.
    index('consents_purpose').on(t.purpose, t.channel, t.status, t.customerId),
  ],
);

export type ConsentStatus = z.output<typeof consentStatus>;

export const consentEvidence = z
  .strictObject({
    source: z.string().nullable(),
    textVersion: z.string().nullable(),
    wording: z.string().nullable(),
    reference: z.string().nullable(),
  })
  .meta({ id: 'ConsentEvidence', description: 'How it can be shown that the consent was given or taken back.' });

const said = {
  customerId: id,
  purpose: consentPurpose,
  channel: channel.nullable().meta({ description: 'null: all channels.' }),
  status: consentStatus,
  at: instant.meta({ description: 'When it was given or taken back.' }),
};

/** One step of the history. */
export const consentChange = z
  .strictObject({
    id,
    ...said,
    evidence: personal(consentEvidence),
    by: z.string().meta({ description: 'The client that recorded it.' }),
    createdAt: instant.meta({ description: 'When it was recorded.' }),
  })
  .meta({ id: 'ConsentChange', description: 'A consent that was given or taken back.' });
export type ConsentChange = z.output<typeof consentChange>;

/** What is in force now. */
export const consent = z
  .strictObject({
    ...said,
    channel: channel
      .nullable()
      .meta({ description: 'null: all channels of the purpose that are not listed by themselves.' }),
    changeId: id.meta({ description: 'The change that made it so.' }),
  })
  .meta({ id: 'Consent', description: 'What is in force for a purpose on a channel.' });
export type Consent = z.output<typeof consent>;

/** An item of a batch: a consent with whose it is. */
export const customerConsentInput = z
  .strictObject({ customerId: id, ...consentInput.shape })
  .meta({ id: 'CustomerConsentInput' });
