import { sql } from 'drizzle-orm';
import { foreignKey, index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { customerKey } from '../../platform/audit.ts';
import { problemType } from '../../platform/errors.ts';
import { id, instant as instantText } from '../../platform/values.ts';
import { customFields } from '../../records/custom-fields.ts';
import { count, instant, integer, json, key, ownerId, recordId, text, version, words } from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { conditionInput } from '../customers/condition-input.ts';
import { customers } from '../customers/record.ts';

export const segmentInUse = problemType('segment_in_use', 409, 'The segment is in use');

export const segmentKind = z.enum(['tree', 'list']).meta({
  id: 'SegmentKind',
  description: 'tree: who is in it follows from its conditions. list: customers are put in and taken out.',
  example: 'tree',
});

const tree = z.record(z.string(), z.unknown());

export const segmentMembersSent = {
  name: text(200).plain().required().says('Your name for it.', 'Silent regulars'),
  description: text(2_000).plain(),
  filter: json(conditionInput, tree).plain(),
  ...customFields({ personal: false }),
};

export const segmentFields = {
  id: key(),
  version: version(),
  ...segmentMembersSent,
  kind: words(segmentKind).required().readOnly(),
  filterVersion: integer(1, 2_147_483_647)
    .required()
    .readOnly()
    .says('Counts the changes of `filter`; earlier ones are in …/versions.'),
  size: count().readOnly().says('Customers in it at `membersAt`.'),
  membersAt: instant().readOnly().says('When its members were last worked out; null: not yet.'),
  /** Since when its members are kept. */
  keptFrom: instant().internal(),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

export const segments = storedTable('segments', {
  name: 'segments',
  label: 'Segments',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'segment' },
  fields: segmentFields,
  extras: (t) => [index('segments_created').on(t.createdAt, t.id)],
});
export type SegmentRow = typeof segments.$inferSelect;

const versionFields = {
  segmentId: recordId().required(),
  number: integer(1, 2_147_483_647).required().says('1, 2, 3 …'),
  filter: json(tree).plain(),
  by: text(200).plain().required().says('The client that sent it.'),
  createdAt: instant().required().says('Since when it decides.'),
};

/** Every tree that a segment has had. */
export const segmentVersions = storedTable('segment_versions', {
  name: 'segmentVersions',
  label: 'Versions of segments',
  access: 'service',
  nature: 'fact',
  owner: null,
  partOf: { table: segments, by: 'segmentId' },
  key: ['segmentId', 'number'],
  guard: null,
  feed: { of: 'segment', by: 'segmentId' },
  fields: versionFields,
  extras: (t) => [foreignKey({ columns: [t.segmentId], foreignColumns: [segments.id] }).onDelete('cascade')],
});
export type SegmentVersionRow = typeof segmentVersions.$inferSelect;

/** When a customer was in a segment: put in by hand, or as the job found it (members.ts). One row for each stay. */
export const segmentMembers = storedTable('segment_members', {
  name: 'segmentMembers',
  label: 'Segments of the customer',
  access: 'service',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'id'],
  guard: null,
  // Who entered and left has a list of its own, closed where the tree is.
  feed: 'none',
  fields: {
    customerId: ownerId(() => customers.id),
    id: key(),
    segmentId: recordId().required(),
    enteredAt: instant().required(),
    leftAt: instant(),
  },
  extras: (t) => [
    index('segment_members_present').on(t.segmentId, t.customerId).where(sql`left_at is null`),
    index('segment_members_entered').on(t.segmentId, t.enteredAt, t.id),
    index('segment_members_left').on(t.segmentId, t.leftAt, t.id).where(sql`left_at is not null`),
    foreignKey({ columns: [t.segmentId], foreignColumns: [segments.id] }).onDelete('cascade'),
  ],
});

export const segmentInput = z.strictObject(inputShape(segmentMembersSent)).meta({
  id: 'SegmentInput',
  description: 'Without `filter` it is a list: put customers in by POST …/members.',
  example: {
    name: 'Silent regulars',
    filter: {
      and: [
        { field: 'orderCount', op: 'gte', value: 3 },
        { field: 'daysSinceLastOrder', op: 'gt', value: 90 },
      ],
    },
  },
});
export const segmentPatch = z.strictObject(inputShape(segmentMembersSent)).partial().meta({
  id: 'SegmentPatch',
  description:
    'Omitted members keep their values; null clears. A list takes no `filter`, and another segment keeps one.',
});

export const segment = z
  .strictObject({
    ...outputShape(segmentFields),
    needs: z.array(z.string()).meta({
      description:
        'The scopes that its conditions need, `customers:pii` among them. To tokens without them it is closed: in lists, `filter` and `size` are null.',
      example: ['orders:read'],
    }),
  })
  .meta({ id: 'Segment', description: 'A named group of customers.' });

export const segmentVersion = z
  .strictObject(outputShape(versionFields))
  .meta({ id: 'SegmentVersion', description: 'A tree that a segment had.' });

const movement = z
  .enum(['entered', 'left'])
  .meta({ id: 'SegmentMovement', description: 'What happened to the customer.', example: 'entered' });
export const segmentChange = z
  .strictObject({
    id: z.string().meta({ description: 'Unique; for paging.' }),
    customerId: customerKey(id),
    change: movement,
    at: instantText.meta({ description: 'When it was found; members are worked out every few minutes.' }),
  })
  .meta({ id: 'SegmentChange', description: 'A customer who has entered or left a segment.' });
export { movement as segmentMovement };
