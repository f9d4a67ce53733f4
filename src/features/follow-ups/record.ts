import { sql } from 'drizzle-orm';
import { index, uniqueIndex } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { id } from '../../platform/values.ts';
import { customFields } from '../../records/custom-fields.ts';
import { instant, key, ownerId, recordId, text, version, words } from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { customers } from '../customers/record.ts';

export const followUpKinds = ['retention', 'prevention', 'detractor'] as const;
export type FollowUpKind = (typeof followUpKinds)[number];
export const followUpStatuses = ['open', 'done', 'cancelled'] as const;
export type FollowUpStatus = (typeof followUpStatuses)[number];
export const followUpOutcomes = ['retained', 'resolved', 'lost', 'not_reached', 'other'] as const;
export type FollowUpOutcome = (typeof followUpOutcomes)[number];

export const followUpKind = z.enum(followUpKinds).meta({
  id: 'FollowUpKind',
  description:
    'retention: the customer wants to leave; prevention: an early warning, before that; detractor: gave a survey a low score.',
  example: 'retention',
});
export const followUpStatus = z.enum(followUpStatuses).meta({ id: 'FollowUpStatus', example: 'open' });
export const followUpOutcome = z.enum(followUpOutcomes).meta({
  id: 'FollowUpOutcome',
  description: 'retained: the customer stays; resolved: the problem is solved; lost: the customer leaves.',
  example: 'retained',
});

/** What whoever looks after it says of it. */
export const followUpMembers = {
  reason: text(500).personal().says('Why, in a few words.', 'asked to cancel'),
  owner: text(200).plain().says('The owner. Default: chosen by the assignment rules.', 'maria'),
  dueAt: instant(),
  note: text(2_000).personal().says('Free text: personal data.'),
  ...customFields({ personal: true }),
};
const kind = words(followUpKind).required();

export const followUpFields = {
  customerId: ownerId(() => customers.id),
  id: key(),
  version: version(),
  kind,
  reason: followUpMembers.reason,
  responseId: recordId().readOnly().says('The survey response that opened it.'),
  owner: followUpMembers.owner,
  dueAt: followUpMembers.dueAt,
  status: words(followUpStatus).required().readOnly(),
  outcome: words(followUpOutcome).readOnly(),
  note: followUpMembers.note,
  attributes: followUpMembers.attributes,
  tags: followUpMembers.tags,
  closedAt: instant().readOnly(),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/** The order of due dates; what has none comes last. Instants end with the year 9998. */
export const dueOrder = sql`coalesce("due_at", '9999-12-31T00:00:00Z'::timestamptz)`;

/**
 * Something to be done about a customer, with an owner and a due date: a retention event (the customer wants to leave),
 * a prevention event (before it comes to that) or a detractor to call back. Owners come from the assignment rules.
 */
export const followUps = storedTable('follow_ups', {
  name: 'followUps',
  label: 'Follow-ups',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'id'],
  guard: 'follow-up',
  feed: { kind: 'follow_up' },
  follows: 'responseId',
  isLifeSign: (since) => sql`(f.status = 'open' or ${since('created_at')} or ${since('closed_at')})`,
  fields: followUpFields,
  extras: (t) => [
    index('follow_ups_id').on(t.id),
    index('follow_ups_created').on(t.createdAt, t.id),
    index('follow_ups_due').on(dueOrder, t.id),
    index('follow_ups_open').on(dueOrder, t.id).where(sql`status = 'open'`),
    uniqueIndex('follow_ups_response').on(t.customerId, t.responseId).where(sql`response_id is not null`),
    index('follow_ups_owner').on(t.owner, dueOrder, t.id).where(sql`status = 'open'`),
  ],
});

export const followUpInput = z.strictObject({ customerId: id, ...inputShape({ kind, ...followUpMembers }) }).meta({
  id: 'FollowUpInput',
  example: {
    customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90',
    kind: 'retention',
    reason: 'asked to cancel',
    dueAt: '2026-03-08T17:00:00Z',
  },
});

export const followUpPatch = z
  .strictObject({
    ...inputShape(followUpMembers),
    status: followUpStatus.optional(),
    outcome: followUpOutcome.nullable().optional().meta({ description: 'Required with the status `done`.' }),
  })
  .meta({
    id: 'FollowUpPatch',
    description: 'Omitted members keep their values; null clears.',
    example: { status: 'done', outcome: 'retained' },
  });
export type FollowUpPatch = z.output<typeof followUpPatch>;

export const followUp = z.strictObject(outputShape(followUpFields)).meta({
  id: 'FollowUp',
  description: 'A retention or prevention event, or a detractor to call back: something to do for a customer.',
});
export type FollowUp = z.output<typeof followUp>;
export type FollowUpRow = typeof followUps.$inferSelect;
