import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { typeNames } from '../../platform/type-names.ts';
import { decimalInput, decimalText, id, instantNanoseconds } from '../../platform/values.ts';
import { code, decimal, instant, ownerId, recordId, smallint, text, words } from '../fields.ts';
import { inputShape, storedTable } from '../table.ts';

const name = {
  source: code(64).plain().required().says('The system that the reference comes from, e.g. `shop` or `erp`.', 'shop'),
  externalId: code(255).plain().required().says('The id of the record in that system.', '536365'),
};
const { source, externalId } = inputShape(name);

/**
 * What other systems call our records. One row per name; uniqueness per kind lives here and not on the facts,
 * because the key of a fact begins with its customer. A row outlives its record as a tombstone, so that a message
 * delivered late does not resurrect what was deleted.
 */
export const externalRefs = storedTable('external_refs', {
  name: 'references',
  label: 'References in other systems',
  access: 'owner',
  nature: 'profile',
  // Of the customer and of all its records.
  owner: 'customerId',
  key: ['kind', 'source', 'externalId'],
  guard: null,
  merge: 'rewrite',
  feed: { kindIn: 'kind', by: 'recordId', member: 'references' },
  fields: {
    kind: text(50).plain().required(),
    ...name,
    /** null: a tombstone, or a name that is waited for (queries.ts). */
    recordId: recordId(),
    /** The owner of the record, so that a look-up by reference leads to its shard and its lock in one step. */
    customerId: ownerId().optional(),
    /** The order in which a record got its references; 0 is the one it was created under. */
    position: smallint(0, 32_767).required(),
    /** A reference keeps the kind it started with. */
    versionKind: words(z.enum(['number', 'instant'])),
    /** The number itself, or nanoseconds since the epoch. */
    versionValue: decimal(decimalInput, decimalText),
    createdAt: instant().required(),
    deletedAt: instant(),
  },
  conflicts: { external_refs_kind_source_external_id_pk: 'already_exists' },
  extras: (t) => [index('external_refs_record').on(t.recordId)],
});

/** A reference of a record, as sent. */
export const referenceInput = z
  .strictObject({ source, externalId })
  .meta({ id: 'ReferenceInput', description: 'The id of a record in another system.' });
export type ReferenceInput = z.output<typeof referenceInput>;

/** Orders a source's messages: a number or an instant, one kind per record; finer than a nanosecond is cut. */
export const sourceVersionInput = z
  .union([
    z.int().min(0),
    z
      .string()
      .max(64)
      .refine((value) => instantNanoseconds(value) !== null, {
        error: 'is neither a counter (7) nor an RFC 3339 instant (2026-03-01T08:26:00Z)',
        params: { code: 'invalid_source_version' },
      }),
  ])
  .meta({
    description:
      'Version of the record at its source: a counter or an instant. A version that is not newer than the stored one changes nothing.',
    example: 7,
  })
  .register(typeNames, { name: 'SourceVersion' });

/** Whether a PUT brings back what was deleted under the references that it names. */
export const restoreInput = z.boolean().optional().meta({
  description:
    'Bring the record back if it was deleted, as a new one: without it, the answer is 410 `deleted`. Default: false.',
});

/** The version of a message that deletes. */
export const deletionVersion = sourceVersionInput.optional().meta({
  description:
    'Version of the deletion at the source that addresses the record (by id: the source of its first reference). If it is not newer than the stored one, nothing is deleted, and the answer is `deleted: false` (REST: 200 instead of 204). Default: the record is deleted.',
});

export const reference = z
  .strictObject({
    source,
    externalId,
    sourceVersion: z
      .union([z.int(), z.string()])
      .register(typeNames, { name: 'SourceVersion' })
      .nullable()
      .meta({ description: 'The newest version seen from that source.' }),
  })
  .meta({ id: 'Reference', description: 'The id of the record in another system.' });
export type Reference = z.output<typeof reference>;

/** The address of a record: its id, or a reference. */
export const targetParameters = {
  id: id.optional(),
  source: source.optional(),
  externalId: externalId.optional(),
};
