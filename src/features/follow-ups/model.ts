import { sql } from 'drizzle-orm';
import { index, integer, pgTable, primaryKey, text as textColumn, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { instant as instantColumn } from '../../platform/db/columns.ts';
import { personal } from '../../platform/personal.ts';
import { id, instant, text, version } from '../../platform/values.ts';
import { customers } from '../customers/record.ts';

/** The order of due dates; what has none comes last. Instants end with the year 9998. */
export const dueOrder = sql`coalesce("due_at", '9999-12-31T00:00:00Z'::timestamptz)`;

/**
 * Something to be done about a customer, with an owner and a due date: a retention event (the customer wants to leave),
 * a prevention event (before it comes to that) or a detractor to call back. Owners come from the assignment rules.
 */
export const followUps = pgTable(
  'follow_ups',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    id: uuid('id').notNull(),
    version: integer('version').notNull(),
    kind: textColumn('kind').$type<FollowUpKind>().notNull(),
    reason: textColumn('reason'),
    /** The survey answer that opened it. */
    responseId: uuid('response_id'),
    owner: textColumn('owner'),
    dueAt: instantColumn('due_at'),
    status: textColumn('status').$type<FollowUpStatus>().notNull(),
    outcome: textColumn('outcome').$type<FollowUpOutcome>(),
    note: textColumn('note'),
    closedAt: instantColumn('closed_at'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
    index('follow_ups_id').on(t.id),
    index('follow_ups_created').on(t.createdAt, t.id),
    index('follow_ups_due').on(dueOrder, t.id),
    index('follow_ups_open').on(dueOrder, t.id).where(sql`status = 'open'`),
    uniqueIndex('follow_ups_response').on(t.customerId, t.responseId).where(sql`response_id is not null`),
    index('follow_ups_owner').on(t.owner, dueOrder, t.id).where(sql`status = 'open'`),
  ],
);

export const followUpKinds = ['retention', 'prevention', 'detractor'] as const;
export type FollowUpKind = (typeof followUpKinds)[number];
export const followUpStatuses = ['open', 'done', 'cancelled'] as const;
export type FollowUpStatus = (typeof followUpStatuses)[number];
export const followUpOutcomes = ['retained', 'resolved', 'lost', 'not_reached', 'other'] as const;
export type FollowUpOutcome = (typeof followUpOutcomes)[number];

export const followUpKind = z.enum(followUpKinds).meta({
  id: 'FollowUpKind',
  description:
    'retention: the customer wants to leave; prevention: before it comes to that; detractor: gave a survey a low score.',
  example: 'retention',
});
export const followUpStatus = z.enum(followUpStatuses).meta({ id: 'FollowUpStatus', example: 'open' });
export const followUpOutcome = z.enum(followUpOutcomes).meta({
  id: 'FollowUpOutcome',
  description: 'retained: stays; resolved: what was wrong is put right; lost: leaves.',
  example: 'retained',
});

export const followUpInput = z
  .strictObject({
    customerId: id,
    kind: followUpKind,
    reason: text(500).nullable().optional().meta({ description: 'Why, in a few words.', example: 'asked to cancel' }),
    owner: text(200)
      .nullable()
      .optional()
      .meta({ description: 'Who sees to it; left out, the assignment rules say.', example: 'maria' }),
    dueAt: instant.nullable().optional(),
    note: text(2_000).nullable().optional().meta({ description: 'Free text: personal data.' }),
  })
  .meta({
    id: 'FollowUpInput',
    example: {
      customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90',
      kind: 'retention',
      reason: 'asked to cancel',
      dueAt: '2026-03-08T17:00:00Z',
    },
  });
export type FollowUpInput = z.output<typeof followUpInput>;

export const followUpPatch = z
  .strictObject({
    reason: text(500).nullable().optional(),
    owner: text(200).nullable().optional(),
    dueAt: instant.nullable().optional(),
    note: text(2_000).nullable().optional(),
    status: followUpStatus.optional(),
    outcome: followUpOutcome.nullable().optional().meta({ description: 'Required with the status `done`.' }),
  })
  .meta({
    id: 'FollowUpPatch',
    description: 'Members left out stay, null clears.',
    example: { status: 'done', outcome: 'retained' },
  });
export type FollowUpPatch = z.output<typeof followUpPatch>;

export const followUp = z
  .strictObject({
    id,
    customerId: id,
    kind: followUpKind,
    reason: personal(z.string()),
    responseId: id.nullable().meta({ description: 'The survey response that opened it.' }),
    owner: z.string().nullable(),
    dueAt: instant.nullable(),
    status: followUpStatus,
    outcome: followUpOutcome.nullable(),
    note: personal(z.string()),
    closedAt: instant.nullable(),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({
    id: 'FollowUp',
    description: 'A retention or prevention event, or a detractor to call back: something to be done about a customer.',
  });
export type FollowUp = z.output<typeof followUp>;
