import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { problemType } from '../../platform/errors.ts';
import { personal } from '../../platform/personal.ts';
import { id, smallInteger, version } from '../../platform/values.ts';
import { code, instant, json, key, otherCustomer, ownerId, recordId, text } from '../../records/fields.ts';
import { columnNamed, outputShape, storedTable } from '../../records/table.ts';
import { customerRecord, customers } from '../customers/record.ts';
import type { IdentityKind } from '../customers/words.ts';

export const mergedProblem = problemType('merged', 409, 'It was merged into another customer');
export const mergeRefused = problemType('merge_refused', 409, 'The customers cannot be merged');

/** Members of a customer that consist of several columns, which go together. */
/**
 * What is decided member by member: whatever clients may send and is stored, by the definition of a customer, with its
 * columns. Not the kind, which both have in common.
 */
export const profileMembers: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(customerRecord.fields).flatMap(([column, { spec }]): [string, readonly string[]][] => {
    const group = Object.entries(customerRecord.madeOf).find(([, columns]) => columns[0] === column);
    if (group) return [group];
    return spec.input === null || column === 'kind' ? [] : [[columnNamed(customers, column).name, [column]]];
  }),
);

export const identityMembers = ['email', 'phone', 'handle'] as const satisfies readonly IdentityKind[];
export const leadMembers = {
  lead_stage: 'stage',
  lead_owner: 'owner',
  lead_source: 'source',
  lead_segment: 'segment',
} as const;

/** Members that one of two records decides. */
export const mergeMembers: readonly string[] = [
  ...profileMembers.keys(),
  ...identityMembers,
  ...Object.keys(leadMembers),
];
export const mergeMember = z.enum(mergeMembers).meta({
  id: 'MergeMember',
  description: '`email`, `phone`, `handle`: which one is the primary; all others stay as well.',
  example: 'name',
});

const mergeFields = {
  id: key(),
  /** The survivor, or whoever that was merged into. */
  customerId: ownerId(() => customers.id).says('Who has the records now.'),
  survivorId: otherCustomer().replacedByHand().required().answers(id).says('Whom it was merged into.'),
  mergedId: otherCustomer().replacedByHand().required().answers(id).says('The id that became an alias.'),
  at: instant().required(),
  by: text(255).plain().required().says('The client that asked for it.'),
  /** Members whose value came from the other. */
  take: json(z.array(mergeMember)).plain().required(),
  /** Rows of both as they were; null: the merge was undone, or the person was erased. */
  before: json(z.unknown()).personal().internal(),
  /** What was made of them: tells what has changed since. */
  after: json(z.unknown()).personal().internal(),
  undoneAt: instant().says('When the merge was undone.'),
  undoneBy: text(255).plain(),
};

/** Two records of one person that became one, and what it takes to part them again. */
export const customerMerges = storedTable('customer_merges', {
  name: 'merges',
  label: 'Records of the same person that were merged',
  access: 'service',
  nature: 'fact',
  owner: 'customerId',
  key: ['id'],
  guard: 'merge',
  feed: { kind: 'merge', list: 'listCustomerMerges' },
  merge: 'none',
  fields: mergeFields,
  extras: (t) => [index('customer_merges_customer').on(t.customerId, t.at, t.id)],
});

/** The records that a merge moved, by kind. What belongs to a record (lines of an order) goes with it. */
export const customerMergeRecords = storedTable('customer_merge_records', {
  name: 'mergedRecords',
  label: 'What merges have moved',
  access: 'service',
  nature: 'fact',
  owner: null,
  partOf: { table: customerMerges, by: 'mergeId' },
  key: ['mergeId', 'kind', 'recordId'],
  guard: null,
  feed: 'none',
  fields: {
    mergeId: recordId()
      .required()
      .references(() => customerMerges.id, 'cascade'),
    kind: code(50).plain().required(),
    recordId: recordId().required(),
  },
});

/** Ids of customers that were merged into others: they keep working. Chains are flat. */
export const customerAliases = storedTable('customer_aliases', {
  name: 'aliases',
  label: 'Former ids',
  access: 'owner',
  nature: 'profile',
  owner: 'customerId',
  key: ['oldId'],
  guard: 'former id',
  feed: { of: 'customer', by: 'oldId', marks: ['merged', 'unmerged'] },
  merge: 'none',
  fields: {
    oldId: otherCustomer().replacedByHand().required(),
    customerId: ownerId(() => customers.id),
    createdAt: instant().required(),
  },
  extras: (t) => [index('customer_aliases_customer').on(t.customerId)],
});

/** Pairs of which somebody has said that they are two. */
export const dismissedDuplicates = storedTable('dismissed_duplicates', {
  name: 'dismissedDuplicates',
  label: 'Customers who were said to be somebody else',
  access: 'owner',
  nature: 'profile',
  owner: 'customerId',
  key: ['customerId', 'id'],
  guard: null,
  feed: 'none',
  merge: 'move',
  fields: {
    customerId: ownerId(() => customers.id),
    id: key(),
    otherId: otherCustomer().required(),
    at: instant().required(),
    by: text(255).plain().required(),
  },
  extras: (t) => [
    index('dismissed_duplicates_pair').on(t.customerId, t.otherId),
    index('dismissed_duplicates_other').on(t.otherId),
  ],
});

export const duplicateReason = z
  .enum(['same_email', 'same_phone', 'same_handle', 'same_name_and_birthday', 'same_name_and_postal_code'])
  .meta({ id: 'DuplicateReason', description: 'What two customers have in common.', example: 'same_email' });

export const customerDuplicate = z
  .strictObject({
    customerId: id.meta({ description: 'The older one. It survives if you accept the suggestion.' }),
    otherId: id,
    reasons: z.array(duplicateReason),
    merge: z
      .strictObject({
        preview: z.string().meta({ description: 'POST `body` to see what the merge would do.' }),
        accept: z.string().meta({ description: 'POST `body` to merge the two.' }),
        body: z.strictObject({ customerId: id }).meta({ id: 'SuggestedMergeBody' }),
      })
      .meta({ id: 'SuggestedMerge', description: 'The merge of the two.' }),
  })
  .meta({ id: 'CustomerDuplicate', description: 'Two customers who may be one.' });
export type CustomerDuplicate = z.output<typeof customerDuplicate>;

export const mergeInput = z
  .strictObject({
    customerId: id.meta({ description: 'The other record of the person, which goes; its id becomes an alias.' }),
    take: z
      .array(mergeMember)
      .max(mergeMembers.length)
      .optional()
      .meta({ description: 'Members whose value comes from the other, where it has one.', example: ['name'] }),
    expectedVersion: smallInteger.min(1).optional().meta({ description: 'Version of the other that you have seen.' }),
  })
  .meta({ id: 'MergeInput', example: { customerId: '019be8f2-4e8c-7a4e-8d3c-6a5a7e0f9b11', take: ['name'] } });
export type MergeInput = z.output<typeof mergeInput>;

const told = personal(z.string()).meta({ description: 'As text, documents as JSON; null: none.' });

export const mergeDecision = z
  .strictObject({
    member: mergeMember,
    from: z.enum(['survivor', 'other', 'both']).meta({
      id: 'MergeSide',
      description:
        'Whose value it is; both: `attributes` of both, each name decided like a member, or the `tags` of both.',
    }),
    differs: z.boolean().meta({ description: 'Both have a value, and not the same: one of them goes.' }),
    survivor: told,
    other: told,
    result: told,
  })
  .meta({ id: 'MergeDecision', description: 'Which value wins.' });
export type MergeDecision = z.output<typeof mergeDecision>;

export const mergeCount = z
  .strictObject({ kind: z.string().meta({ example: 'orders' }), count: smallInteger })
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

export const customerMerge = z
  .strictObject(outputShape(mergeFields))
  .meta({ id: 'CustomerMerge', description: 'Two records of one person that became one.' });
export type CustomerMerge = z.output<typeof customerMerge>;

export const mergeResult = customerMerge
  .omit({ survivorId: true, take: true, undoneAt: true, undoneBy: true })
  .extend(plan)
  .meta({ id: 'MergeResult', description: 'A merge that was made. `id` is the `mergeId` that unmerges it.' });
export type MergeResult = z.output<typeof mergeResult>;

export const unmergeInput = z
  .strictObject({ mergeId: id.meta({ description: 'The latest merge of the customer that was not undone.' }) })
  .meta({ id: 'UnmergeInput' });

export const keptRecords = z
  .strictObject({
    kind: z.string().meta({ example: 'orders' }),
    count: smallInteger,
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
