import { index, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { code, instant as instantColumn, json } from '../../platform/db/columns.ts';
import { personal } from '../../platform/personal.ts';
import { id, instant, version } from '../../platform/values.ts';
import { customers } from '../customers/model.ts';

/** Two records of one person that became one, and what it takes to part them again. */
export const customerMerges = pgTable(
  'customer_merges',
  {
    id: uuid('id').primaryKey(),
    /** Who has it now: the survivor, or whoever that was merged into. */
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    survivorId: uuid('survivor_id').notNull(),
    mergedId: uuid('merged_id').notNull(),
    at: instantColumn('at').notNull(),
    by: textColumn('by').notNull(),
    /** Members whose value came from the other. */
    take: json('take').notNull(),
    /** Rows of both as they were (snapshot.ts); null: parted again, or the person was erased. */
    before: json('before'),
    /** What was made of them: tells what has changed since. */
    after: json('after'),
    undoneAt: instantColumn('undone_at'),
    undoneBy: textColumn('undone_by'),
  },
  (t) => [index('customer_merges_customer').on(t.customerId, t.at, t.id)],
);

/** The records that a merge moved, by kind. What belongs to a record (lines of an order) goes with it. */
export const customerMergeRecords = pgTable(
  'customer_merge_records',
  {
    mergeId: uuid('merge_id')
      .notNull()
      .references(() => customerMerges.id, { onDelete: 'cascade' }),
    kind: code('kind').notNull(),
    recordId: uuid('record_id').notNull(),
  },
  (t) => [primaryKey({ columns: [t.mergeId, t.kind, t.recordId] })],
);

/** Ids of customers that were merged into others: they keep working. Chains are flat. */
export const customerAliases = pgTable(
  'customer_aliases',
  {
    oldId: uuid('old_id').primaryKey(),
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [index('customer_aliases_customer').on(t.customerId)],
);

/** Members that one of two records decides. */
export const mergeMembers = [
  'name',
  'given_name',
  'family_name',
  'company_id',
  'birthday',
  'address',
  'locale',
  'preferred_channel',
  'acquisition',
  'referred_by',
  'acquired_by',
  'attributes',
  'email',
  'phone',
  'handle',
  'lead_stage',
  'lead_owner',
  'lead_source',
  'lead_segment',
] as const;
export type MergeMember = (typeof mergeMembers)[number];
export const mergeMember = z.enum(mergeMembers).meta({
  id: 'MergeMember',
  description: '`email`, `phone`, `handle`: which one is the primary; all others stay as well.',
  example: 'name',
});

export const mergeInput = z
  .strictObject({
    customerId: id.meta({ description: 'The other record of the person, which goes; its id becomes an alias.' }),
    take: z
      .array(mergeMember)
      .max(mergeMembers.length)
      .optional()
      .meta({ description: 'Members whose value comes from the other, where it has one.', example: ['name'] }),
    expectedVersion: z.int().min(1).optional().meta({ description: 'Version of the other that you have seen.' }),
  })
  .meta({ id: 'MergeInput', example: { customerId: '019be8f2-4e8c-7a4e-8d3c-6a5a7e0f9b11', take: ['name'] } });
export type MergeInput = z.output<typeof mergeInput>;

const told = personal(z.string()).meta({ description: 'As text, documents as JSON; null: none.' });

export const mergeDecision = z
  .strictObject({
    member: mergeMember,
    from: z.enum(['survivor', 'other', 'both']).meta({
      id: 'MergeSide',
      description: 'Whose value it is; both: `attributes` of both, each name decided like a member.',
    }),
    differs: z.boolean().meta({ description: 'Both have a value, and not the same: one of them goes.' }),
    survivor: told,
    other: told,
    result: told,
  })
  .meta({ id: 'MergeDecision', description: 'Which value wins.' });
export type MergeDecision = z.output<typeof mergeDecision>;

export const mergeCount = z
  .strictObject({ kind: z.string().meta({ example: 'orders' }), count: z.int() })
  .meta({ id: 'MergeCount' });

export const mergeObstacle = z
  .strictObject({ code: z.string().meta({ example: 'other_programme' }), message: z.string() })
  .meta({ id: 'MergeObstacle', description: 'Why the two cannot be merged.' });
export type MergeObstacle = z.output<typeof mergeObstacle>;

const plan = {
  decisions: z.array(mergeDecision).meta({ description: 'Where the other has a value.' }),
  moves: z
    .array(mergeCount)
    .meta({ description: 'What moves to the survivor, by kind; what there is none of is left out.' }),
  notes: z.array(z.string()).meta({ description: 'What else follows.' }),
};

export const mergePreview = z
  .strictObject({
    customerId: id,
    otherId: id,
    survivorVersion: version.meta({ description: 'For If-Match of the merge.' }),
    otherVersion: version.meta({ description: 'For `expectedVersion` in the body.' }),
    ...plan,
    obstacles: z.array(mergeObstacle).meta({ description: 'While there are any, the merge is refused.' }),
  })
  .meta({ id: 'MergePreview', description: 'What a merge would do.' });
export type MergePreview = z.output<typeof mergePreview>;

const merge = {
  id,
  customerId: id.meta({ description: 'Who has the records now.' }),
  mergedId: id.meta({ description: 'The id that became an alias.' }),
  at: instant,
  by: z.string().meta({ description: 'The client that asked for it.' }),
};

export const mergeResult = z
  .strictObject({ ...merge, ...plan })
  .meta({ id: 'MergeResult', description: 'A merge that was made. `id` is the `mergeId` that unmerges it.' });
export type MergeResult = z.output<typeof mergeResult>;

export const customerMerge = z
  .strictObject({
    ...merge,
    survivorId: id.meta({ description: 'Whom it was merged into.' }),
    take: z.array(mergeMember),
    undoneAt: instant.nullable().meta({ description: 'When the two were parted again.' }),
    undoneBy: z.string().nullable(),
  })
  .meta({ id: 'CustomerMerge', description: 'Two records of one person that became one.' });
export type CustomerMerge = z.output<typeof customerMerge>;

export const unmergeInput = z
  .strictObject({ mergeId: id.meta({ description: 'The latest merge of the customer that was not undone.' }) })
  .meta({ id: 'UnmergeInput' });

export const keptRecords = z
  .strictObject({
    kind: z.string().meta({ example: 'orders' }),
    count: z.int(),
    why: z.string(),
  })
  .meta({ id: 'KeptRecords', description: 'What stays with the survivor, as nothing says that it is the other’s.' });
export type KeptRecords = z.output<typeof keptRecords>;

export const unmergeResult = z
  .strictObject({
    id: id.meta({ description: 'The merge.' }),
    customerId: id,
    otherId: id.meta({ description: 'The customer that is back.' }),
    moves: z.array(mergeCount).meta({ description: 'What went back to it.' }),
    kept: z.array(keptRecords).meta({ description: 'Empty: both are exactly as they were.' }),
  })
  .meta({ id: 'UnmergeResult' });
export type UnmergeResult = z.output<typeof unmergeResult>;
