import { index, pgTable, primaryKey, smallint, text, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { code, decimal, instant } from '../../platform/db/columns.ts';
import { text as boundedText, id, instantNanoseconds } from '../../platform/values.ts';

/**
 * What other systems call our records. One row per name; uniqueness per kind lives here and not on the facts,
 * because the facts are keyed by customer (scale.md). A row outlives its record as a tombstone, so that a message
 * delivered late does not resurrect what was deleted.
 */
export const externalRefs = pgTable(
  'external_refs',
  {
    kind: text('kind').notNull(),
    source: code('source').notNull(),
    externalId: code('external_id').notNull(),
    /** null: a tombstone. */
    recordId: uuid('record_id'),
    /** The owner of the record, so that a look-up by reference leads to its shard and its lock in one step. */
    customerId: uuid('customer_id'),
    /** The order in which a record got its names; 0 is the one it was created under. */
    position: smallint('position').notNull(),
    /** `number` or `instant`; a reference keeps the kind it started with. */
    versionKind: text('version_kind').$type<'number' | 'instant'>(),
    /** The number itself, or nanoseconds since the epoch. */
    versionValue: decimal('version_value'),
    createdAt: instant('created_at').notNull(),
    deletedAt: instant('deleted_at'),
  },
  (t) => [primaryKey({ columns: [t.kind, t.source, t.externalId] }), index('external_refs_record').on(t.recordId)],
);

const source = boundedText(64).meta({
  description: 'The system that gave the name, e.g. `shop` or `erp`.',
  example: 'shop',
});
const externalId = boundedText(255).meta({ description: 'The name of the record in that system.', example: '536365' });

/** A record's name in another system, as sent. */
export const referenceInput = z.strictObject({ source, externalId }).meta({ id: 'ReferenceInput' });
export type ReferenceInput = z.output<typeof referenceInput>;

/** Orders a source's messages: a number or an instant, one kind per record; finer than a nanosecond is cut. */
export const sourceVersionInput = z
  .union([
    z.int().min(0),
    z
      .string()
      .max(64)
      .refine((value) => instantNanoseconds(value) !== null, {
        error: 'is neither a counter nor an RFC 3339 instant',
        params: { code: 'invalid_source_version' },
      }),
  ])
  .meta({
    description:
      'Version of the record at its source: a counter or an instant. Equal or older than the stored one changes nothing.',
    example: 7,
  });

export const reference = z
  .strictObject({
    source,
    externalId,
    sourceVersion: z
      .union([z.int(), z.string()])
      .nullable()
      .meta({ description: 'The newest version seen from that source.' }),
  })
  .meta({ id: 'Reference', description: 'What another system calls the record.' });
export type Reference = z.output<typeof reference>;

/** Where a record is addressed: by id, or by what another system calls it. */
export const targetParameters = {
  id: id.optional(),
  source: source.optional(),
  externalId: externalId.optional(),
};
