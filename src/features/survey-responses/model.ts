import { sql } from 'drizzle-orm';
import {
  boolean,
  index,
  integer,
  pgTable,
  primaryKey,
  smallint,
  text as textColumn,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { code, instant as instantColumn, json } from '../../platform/db/columns.ts';
import { customers } from '../customers/model.ts';
import { type QuestionType, surveys } from '../surveys/model.ts';

/**
 * What somebody answered. Its customer may be unknown, so the key is the id alone: the one exception from facts being
 * keyed by customer (scale.md); anonymous answers belong to no shard.
 */
export const surveyResponses = pgTable(
  'survey_responses',
  {
    id: uuid('id').primaryKey(),
    customerId: uuid('customer_id').references(() => customers.id),
    version: integer('version').notNull(),
    surveyId: uuid('survey_id')
      .notNull()
      .references(() => surveys.id),
    surveyVersion: integer('survey_version').notNull(),
    /** The sender's name for it, unique in the survey. */
    submissionId: code('submission_id').notNull(),
    status: textColumn('status').$type<ResponseStatus>().notNull(),
    answeredAt: instantColumn('answered_at').notNull(),
    askedAt: instantColumn('asked_at'),
    /** Answered later after being asked than the survey allows for. */
    late: boolean('late').notNull(),
    orderId: uuid('order_id'),
    sku: textColumn('sku'),
    interactionId: uuid('interaction_id'),
    invitationId: uuid('invitation_id'),
    staff: textColumn('staff'),
    department: textColumn('department'),
    process: textColumn('process'),
    channel: textColumn('channel'),
    language: textColumn('language'),
    journeyStage: textColumn('journey_stage'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [
    uniqueIndex('survey_responses_submission').on(t.surveyId, t.submissionId),
    index('survey_responses_customer').on(t.customerId, t.answeredAt, t.id),
    index('survey_responses_survey').on(t.surveyId, t.answeredAt, t.id),
    index('survey_responses_answered').on(t.answeredAt, t.id),
    index('survey_responses_apart').on(t.answeredAt).where(sql`late or status <> 'complete'`),
  ],
);

/**
 * One answered question, with what metrics need beside it. `supersededAt` and `supersededInSurveyAt` are derived, kept
 * under the customer's lock: when the same customer next answered a question of the type (of primary questions, over all
 * surveys), and this question of this survey. The latest answers of a period are then a plain filter.
 */
export const surveyAnswers = pgTable(
  'survey_answers',
  {
    responseId: uuid('response_id')
      .notNull()
      .references(() => surveyResponses.id, { onDelete: 'cascade' }),
    question: textColumn('question').notNull(),
    surveyId: uuid('survey_id').notNull(),
    customerId: uuid('customer_id'),
    type: textColumn('type').$type<QuestionType>().notNull(),
    /** The first question of its type in the survey. */
    primary: boolean('is_primary').notNull(),
    /** Complete and not late: what metrics count unless asked for more. */
    counted: boolean('counted').notNull(),
    score: smallint('score'),
    /** nps: 1 promoter, 0 passive, −1 detractor. csat: 1 satisfied, 0 not. ces: 1 easy, 0 neutral, −1 hard. */
    band: smallint('band'),
    answeredAt: instantColumn('answered_at').notNull(),
    supersededAt: instantColumn('superseded_at'),
    supersededInSurveyAt: instantColumn('superseded_in_survey_at'),
    choices: json('choices'),
    text: textColumn('text'),
  },
  (t) => [
    primaryKey({ columns: [t.responseId, t.question] }),
    index('survey_answers_customer').on(t.customerId, t.type, t.answeredAt),
    index('survey_answers_survey').on(t.surveyId, t.question, t.answeredAt),
  ],
);

export const responseStatuses = ['complete', 'partial', 'dismissed'] as const;
export type ResponseStatus = (typeof responseStatuses)[number];
export const responseStatus = z.enum(responseStatuses).meta({
  id: 'ResponseStatus',
  description: 'complete; partial: broken off; dismissed: seen and closed without an answer.',
  example: 'complete',
});
