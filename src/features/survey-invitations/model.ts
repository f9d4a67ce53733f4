import { sql } from 'drizzle-orm';
import { index, integer, pgTable, primaryKey, text as textColumn, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { instant as instantColumn } from '../../platform/db/columns.ts';
import { id, instant, text, version } from '../../platform/values.ts';
import { customers } from '../customers/record.ts';
import { responseStatus, surveyAnswerInput } from '../survey-responses/model.ts';
import { surveyQuestion, surveyStatus, surveys } from '../surveys/model.ts';

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
    index('survey_invitations_survey').on(t.surveyId, t.createdAt, t.id),
    index('survey_invitations_due').on(t.dueAt, t.id).where(sql`status = 'due'`),
    index('survey_invitations_sent').on(t.customerId, t.sentAt).where(sql`sent_at is not null`),
    uniqueIndex('survey_invitations_occasion')
      .on(t.customerId, t.surveyId, t.occasion)
      .where(sql`occasion is not null`),
  ],
);

/** How far planning has come with a survey, so that it reads only what is new since then. */
export const surveyPlans = pgTable('survey_plans', {
  surveyId: uuid('survey_id')
    .primaryKey()
    .references(() => surveys.id, { onDelete: 'cascade' }),
  /** The triggers it was planned for; with others it begins anew. */
  triggers: textColumn('triggers').notNull(),
  /** What is due until then, as it was told until then, has been planned. */
  plannedUntil: instantColumn('planned_until').notNull(),
});

export const invitationStatuses = ['due', 'sent', 'answered', 'cancelled', 'expired'] as const;
export type InvitationStatus = (typeof invitationStatuses)[number];
export const invitationStatus = z.enum(invitationStatuses).meta({
  id: 'InvitationStatus',
  description:
    'due: to be sent at `dueAt`; sent: handed to a sender; answered; cancelled; expired: not answered while its link worked, or never sent because it was due for too long.',
  example: 'due',
});
export const invitationTriggers = [
  'order_placed',
  'order_paid',
  'order_fulfilled',
  'stage_entered',
  'reservation',
  'manual',
] as const;
export type InvitationTrigger = (typeof invitationTriggers)[number];
export const invitationTrigger = z.enum(invitationTriggers).meta({
  id: 'InvitationTrigger',
  description: 'What made it: a trigger of the survey, an eligibility check that reserved it, or somebody by hand.',
  example: 'order_fulfilled',
});

const label = (description: string, example: string) => text(200).nullable().optional().meta({ description, example });

export const surveyInvitationInput = z
  .strictObject({
    surveyId: id,
    customerId: id,
    dueAt: instant.optional().meta({ description: 'When it is to be sent; now unless told.' }),
    orderId: id.nullable().optional().meta({ description: "The order it is about: one of the customer's." }),
    interactionId: id.nullable().optional().meta({ description: 'The interaction it is about; likewise.' }),
    sku: label('The product it is about.', '85123A'),
    staff: label('The member of staff it is about.', 'maria'),
    department: label('The department it is about.', 'support'),
    process: label('The process it is about.', 'returns'),
    channel: label('Where it is sent; that of the survey unless told.', 'email'),
  })
  .meta({
    id: 'SurveyInvitationInput',
    description: 'What it is about is passed on to the response.',
    example: {
      surveyId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90',
      customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b91',
      staff: 'maria',
    },
  });

/** What becomes of an invitation by hand. */
export const invitationChange = z.enum(['cancelled']).meta({ id: 'InvitationChange', example: 'cancelled' });

export const surveyInvitationPatch = z
  .strictObject({
    status: invitationChange.optional().meta({ description: 'Of one that is due or sent: its link ends.' }),
    dueAt: instant.optional().meta({ description: 'Of one that is due.' }),
  })
  .meta({ id: 'SurveyInvitationPatch', example: { status: 'cancelled' } });

export const surveyInvitation = z
  .strictObject({
    id,
    surveyId: id,
    customerId: id,
    status: invitationStatus,
    trigger: invitationTrigger,
    orderId: id.nullable(),
    interactionId: id.nullable(),
    sku: z.string().nullable(),
    staff: z.string().nullable(),
    department: z.string().nullable(),
    process: z.string().nullable(),
    channel: z.string().nullable(),
    dueAt: instant,
    sentAt: instant.nullable(),
    expiresAt: instant.nullable().meta({ description: 'When its link ends.' }),
    responseId: id.nullable().meta({ description: 'The response that came by it.' }),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'SurveyInvitation', description: 'That a customer is to be asked, was asked, or was not in the end.' });
export type SurveyInvitation = z.output<typeof surveyInvitation>;

export const sentInvitation = z
  .strictObject({
    invitation: surveyInvitation,
    token: z.string().meta({
      description: 'The secret of its link. It is told here only; whoever has it may answer once.',
      example: 'A'.repeat(72),
    }),
    path: z.string().meta({ description: 'Of this service: GET the questions, POST the answers, without a login.' }),
  })
  .meta({ id: 'SentInvitation', description: 'An invitation that its reader has to send now.' });
export type SentInvitation = z.output<typeof sentInvitation>;

export const claimedInvitations = z
  .strictObject({
    invitations: z.array(sentInvitation),
    hasMore: z.boolean().meta({ description: 'Whether there may be more to send now.' }),
  })
  .meta({ id: 'ClaimedInvitations' });

export const eligibilityReason = z
  .strictObject({
    code: z
      .enum(['survey_not_open', 'asked_recently', 'answered_recently', 'no_consent', 'person_erased'])
      .meta({ id: 'EligibilityReasonCode' }),
    message: z.string(),
  })
  .meta({ id: 'EligibilityReason' });
export type EligibilityReason = z.output<typeof eligibilityReason>;

export const surveyEligibility = z
  .strictObject({
    customerId: id,
    eligible: z.boolean(),
    reasons: z.array(eligibilityReason).meta({ description: 'Why not; none when eligible.' }),
    lastAskedAt: instant
      .nullable()
      .meta({ description: 'The latest invitation or answer of the customer, of any survey.' }),
    nextEligibleAt: instant
      .nullable()
      .meta({ description: 'From when on the customer may be asked again; null: now, or the survey is not open.' }),
    reserved: sentInvitation.nullable().meta({ description: 'With `reserve`, when eligible: the invitation to send.' }),
  })
  .meta({ id: 'SurveyEligibility', description: 'Whether a customer may be asked now.' });
export type SurveyEligibility = z.output<typeof surveyEligibility>;

export const linkToken = z
  .string()
  .max(255)
  .meta({ description: 'The secret of a link, as the claim told it.', example: 'A'.repeat(72) });

export const surveyLink = z
  .strictObject({
    name: z.string().meta({ description: 'Of the survey.' }),
    status: surveyStatus.meta({ description: 'Of the survey: `closed` takes no answers.' }),
    language: z.string().nullable(),
    surveyVersion: z.int().meta({ description: 'Of the questions; to be sent back with the answers.' }),
    questions: z.array(surveyQuestion),
    expiresAt: instant.meta({ description: 'When the link ends.' }),
  })
  .meta({ id: 'SurveyLink', description: 'What a survey page shows. Nothing about the person who is asked.' });

export const surveyLinkInput = z
  .strictObject({
    answers: z.array(surveyAnswerInput).max(50),
    status: responseStatus
      .optional()
      .meta({ description: 'complete unless told. Whatever it is, the link is used up by it.' }),
    language: text(35).optional().meta({ description: 'That of the survey unless told.', example: 'en' }),
    surveyVersion: z
      .int()
      .min(1)
      .max(2_147_483_647)
      .optional()
      .meta({ description: 'Of the questions that were shown; the current one unless told.' }),
  })
  .meta({ id: 'SurveyLinkInput', example: { answers: [{ question: 'recommend', score: 9 }] } });

export const surveyLinkAnswer = z
  .strictObject({ responseId: id, status: responseStatus, answeredAt: instant })
  .meta({ id: 'SurveyLinkAnswer', description: 'That the answer was taken.' });
