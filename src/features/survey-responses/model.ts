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
import { personal } from '../../platform/personal.ts';
import { id, instant, text, version } from '../../platform/values.ts';
import { customerOwner } from '../customers/owner.ts';
import { customers } from '../customers/record.ts';
import { type QuestionType, questionType, surveys } from '../surveys/model.ts';

/**
 * Members that lists are filtered by, as one set with one index. A value may be that of every row or of none, so
 * statements with one are planned for it (`uneven` in the list).
 */
export const terms = sql`array_remove(array['order:' || order_id::text, 'interaction:' || interaction_id::text, 'sku:' || sku, 'staff:' || staff, 'department:' || department, 'process:' || process, 'channel:' || channel, 'language:' || language, 'stage:' || journey_stage], null)`;

/** The words of an answer: neither stems nor accents are folded, for texts come in all languages. */
export const words = sql`to_tsvector('simple', "text")`;

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
    // What metrics leave out is counted from this one and survey_answers_apart alone.
    index('survey_responses_apart')
      .on(t.answeredAt, t.id, t.status, t.late, t.surveyId, t.surveyVersion)
      .where(sql`late or status <> 'complete'`),
    index('survey_responses_terms').using('gin', terms),
  ],
);

/**
 * One answered question, with what metrics need beside it. `supersededAt` and `supersededInSurveyAt` are derived, kept
 * under the customer's lock: when the same customer next answered a question of the type (of primary questions, over all
 * surveys), and this question of this survey. The latest answers of a period are then a plain filter. Only counted scores
 * supersede and are superseded (`supersessions` in queries.ts); in all other rows both are null.
 */
export const surveyAnswers = pgTable(
  'survey_answers',
  {
    // Columns of fixed length first: Postgres finds these without walking a row, and sums over the table take half as long.
    responseId: uuid('response_id')
      .notNull()
      .references(() => surveyResponses.id, { onDelete: 'cascade' }),
    surveyId: uuid('survey_id').notNull(),
    answeredAt: instantColumn('answered_at').notNull(),
    score: smallint('score'),
    /** nps: 1 promoter, 0 passive, −1 detractor. csat: 1 satisfied, 0 not. ces: 1 easy, 0 neutral, −1 hard. */
    band: smallint('band'),
    /** The first question of its type in the survey. */
    primary: boolean('is_primary').notNull(),
    /** Complete and not late: what metrics count unless asked for more. */
    counted: boolean('counted').notNull(),
    customerId: uuid('customer_id'),
    supersededAt: instantColumn('superseded_at'),
    supersededInSurveyAt: instantColumn('superseded_in_survey_at'),
    question: textColumn('question').notNull(),
    type: textColumn('type').$type<QuestionType>().notNull(),
    choices: json('choices'),
    text: textColumn('text'),
  },
  (t) => [
    primaryKey({ columns: [t.responseId, t.question] }),
    index('survey_answers_customer').on(t.customerId, t.type, t.answeredAt),
    index('survey_answers_survey').on(t.surveyId, t.question, t.answeredAt),
    // The metrics over all surveys are read from these alone.
    ...(['nps', 'csat', 'ces'] as const).map((type) =>
      index(`survey_answers_${type}`)
        .on(t.answeredAt, t.band, t.supersededAt)
        .where(sql`is_primary and counted and type = ${sql.raw(`'${type}'`)}`),
    ),
    index('survey_answers_apart').on(t.answeredAt, t.responseId, t.type).where(sql`is_primary and not counted`),
  ],
);

export const responseStatuses = ['complete', 'partial', 'dismissed'] as const;
export type ResponseStatus = (typeof responseStatuses)[number];
export const responseStatus = z.enum(responseStatuses).meta({
  id: 'ResponseStatus',
  description: 'complete; partial: broken off; dismissed: seen and closed without an answer.',
  example: 'complete',
});

/** Every band of every type, as it is told; its number is what is stored. */
const bands = {
  promoter: ['nps', 1],
  passive: ['nps', 0],
  detractor: ['nps', -1],
  satisfied: ['csat', 1],
  not_satisfied: ['csat', 0],
  easy: ['ces', 1],
  neutral: ['ces', 0],
  hard: ['ces', -1],
} as const satisfies Record<string, readonly [QuestionType, number]>;
export type AnswerBand = keyof typeof bands;
const bandNames = Object.keys(bands) as [AnswerBand, ...AnswerBand[]]; // keys of a constant
export const answerBand = z.enum(bandNames).meta({
  id: 'AnswerBand',
  description: 'nps: 9–10 promoter, 7–8 passive, 0–6 detractor. csat and ces: as the scale of the question says.',
  example: 'detractor',
});

/** The type and number that a band is stored as. */
export function storedBand(name: AnswerBand): { type: QuestionType; band: number } {
  const [type, band] = bands[name];
  return { type, band };
}

/** A stored band as it is told; null where there is none. */
export function bandName(type: QuestionType, band: number | null): AnswerBand | null {
  return bandNames.find((name) => bands[name][0] === type && bands[name][1] === band) ?? null;
}

const label = (description: string, example: string) => text(200).nullable().optional().meta({ description, example });

export const surveyAnswerInput = z
  .strictObject({
    question: text(64).meta({ description: 'Key of the question.', example: 'recommend' }),
    score: z
      .int()
      .min(-32_768)
      .max(32_767)
      .optional()
      .meta({ description: 'nps, csat, ces: a whole number on the scale of the question.', example: 9 }),
    choices: z
      .array(text(64))
      .min(1)
      .max(100)
      .optional()
      .meta({ description: 'Keys of the options chosen; one of a single choice.' }),
    text: text(10_000).optional().meta({ description: 'Personal. The words of a text answer.' }),
  })
  .refine(({ score, choices, text: words }) => [score, choices, words].filter((v) => v !== undefined).length === 1, {
    error: 'has one of score, choices and text',
    params: { code: 'one_value' },
  })
  .meta({ id: 'SurveyAnswerInput' });
export type SurveyAnswerInput = z.output<typeof surveyAnswerInput>;

/** What the sender owns of a response; a batch clears what is left out. */
const responseMembers = {
  ...customerOwner.input,
  answeredAt: instant,
  status: responseStatus.optional().meta({ description: 'complete unless told.' }),
  surveyVersion: z
    .int()
    .min(1)
    .max(2_147_483_647)
    .optional()
    .meta({ description: 'The version of the survey that was answered; the current one unless told.' }),
  askedAt: instant.nullable().optional().meta({ description: 'When it was asked: decides what is late.' }),
  orderId: id
    .nullable()
    .optional()
    .meta({ description: 'The order it is about: one of the same customer, who is taken from it when none is named.' }),
  sku: label('The product it is about.', '85123A'),
  interactionId: id.nullable().optional().meta({ description: 'The interaction it is about; likewise.' }),
  staff: label('The member of staff it is about.', 'maria'),
  department: label('The department it is about.', 'support'),
  process: label('The process it is about.', 'returns'),
  channel: label('Where it was asked; that of the survey unless told.', 'email'),
  language: text(35).nullable().optional().meta({ description: 'That of the survey unless told.', example: 'en' }),
  journeyStage: label('Where on the journey; that of the survey unless told.', 'delivery'),
  answers: z.array(surveyAnswerInput).max(50).optional().meta({ description: 'None of a dismissed one.' }),
};

const submissionId = text(255).meta({
  description: "The sender's name for it, unique in the survey: nothing is counted twice.",
  example: 'form-88213',
});

export const surveyResponseInput = z.strictObject({ submissionId, ...responseMembers }).meta({
  id: 'SurveyResponseInput',
  description: 'Without a customer it is anonymous.',
  example: {
    submissionId: 'form-88213',
    answeredAt: '2026-03-03T18:20:00Z',
    customer: { source: 'shop', externalId: '17850' },
    staff: 'maria',
    answers: [
      { question: 'recommend', score: 9 },
      { question: 'why', text: 'Came a day early.' },
    ],
  },
});
export type SurveyResponseInput = z.output<typeof surveyResponseInput>;

export const surveyResponsePatch = z
  .strictObject(responseMembers)
  .omit({ surveyVersion: true })
  .extend({ customerId: id.nullable().optional().meta({ description: 'null makes it anonymous.' }) })
  .partial()
  .meta({
    id: 'SurveyResponsePatch',
    description: 'Members left out stay as they are; null clears; `answers` are replaced as a whole.',
    example: { status: 'complete', answers: [{ question: 'recommend', score: 9 }] },
  });
export type SurveyResponsePatch = z.output<typeof surveyResponsePatch>;

const surveyAnswer = z
  .strictObject({
    question: z.string(),
    type: questionType,
    score: z.int().nullable(),
    band: answerBand.nullable().meta({ description: 'null: not a question of scores.' }),
    choices: z.array(z.string()).nullable(),
    text: personal(z.string()),
  })
  .meta({ id: 'SurveyAnswer' });

export const surveyResponse = z
  .strictObject({
    id,
    surveyId: id,
    surveyVersion: z.int().meta({ description: 'The version of the survey that was answered.' }),
    submissionId: z.string(),
    customerId: id.nullable().meta({ description: 'null: anonymous.' }),
    status: responseStatus,
    late: z.boolean().meta({ description: 'Answered later after being asked than the survey allows: not counted.' }),
    answeredAt: instant,
    askedAt: instant.nullable(),
    orderId: id.nullable(),
    sku: z.string().nullable(),
    interactionId: id.nullable(),
    invitationId: id.nullable().meta({ description: 'The invitation it came by.' }),
    staff: z.string().nullable(),
    department: z.string().nullable(),
    process: z.string().nullable(),
    channel: z.string().nullable(),
    language: z.string().nullable(),
    journeyStage: z.string().nullable(),
    answers: z.array(surveyAnswer),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'SurveyResponse', description: 'What somebody answered to a survey, and what it was about.' });
export type SurveyResponse = z.output<typeof surveyResponse>;
