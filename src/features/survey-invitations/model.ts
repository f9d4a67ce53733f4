import { sql } from 'drizzle-orm';
import { index, integer, pgTable, primaryKey, text as textColumn, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { instant as instantColumn } from '../../platform/db/columns.ts';
import { customers } from '../customers/model.ts';
import { surveys } from '../surveys/model.ts';

/** That a customer is to be asked, was asked, or was not in the end. */
export const surveyInvitations = pgTable(
  'survey_invitations',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    id: uuid('id').notNull(),
    version: integer('version').notNull(),
    surveyId: uuid('survey_id')
      .notNull()
      .references(() => surveys.id),
    status: textColumn('status').$type<InvitationStatus>().notNull(),
    /** What made it: a trigger of the survey, an eligibility check that reserved it, or somebody by hand. */
    trigger: textColumn('trigger').$type<InvitationTrigger>().notNull(),
    /** The order, or the stage change as `<customer>:<sequence>`, that triggered it: once per survey. */
    occasion: textColumn('occasion'),
    orderId: uuid('order_id'),
    interactionId: uuid('interaction_id'),
    sku: textColumn('sku'),
    staff: textColumn('staff'),
    department: textColumn('department'),
    process: textColumn('process'),
    channel: textColumn('channel'),
    dueAt: instantColumn('due_at').notNull(),
    sentAt: instantColumn('sent_at'),
    /** When its link ends. */
    expiresAt: instantColumn('expires_at'),
    responseId: uuid('response_id'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
    index('survey_invitations_id').on(t.id),
    index('survey_invitations_created').on(t.createdAt, t.id),
    index('survey_invitations_due').on(t.dueAt, t.id).where(sql`status = 'due'`),
    index('survey_invitations_sent').on(t.customerId, t.sentAt).where(sql`sent_at is not null`),
    uniqueIndex('survey_invitations_occasion')
      .on(t.customerId, t.surveyId, t.occasion)
      .where(sql`occasion is not null`),
  ],
);

export const invitationStatuses = ['due', 'sent', 'answered', 'cancelled', 'expired'] as const;
export type InvitationStatus = (typeof invitationStatuses)[number];
export const invitationStatus = z.enum(invitationStatuses).meta({ id: 'InvitationStatus', example: 'due' });
export const invitationTriggers = [
  'order_placed',
  'order_paid',
  'order_fulfilled',
  'stage_entered',
  'reservation',
  'manual',
] as const;
export type InvitationTrigger = (typeof invitationTriggers)[number];
export const invitationTrigger = z
  .enum(invitationTriggers)
  .meta({ id: 'InvitationTrigger', example: 'order_fulfilled' });
