import { type SQL, sql } from 'drizzle-orm';
import { foreignKey, index, uniqueIndex } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { text as boundedText, id, smallInteger } from '../../platform/values.ts';
import { customFields } from '../../records/custom-fields.ts';
import {
  boolean,
  code,
  instant,
  integer,
  json,
  key,
  words as oneOf,
  ownerId,
  recordId,
  smallint,
  text,
  version,
} from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { customerOwner } from '../customers/owner.ts';
import { customers } from '../customers/record.ts';
import { type QuestionType, questionType, surveys } from '../surveys/record.ts';

/**
 * Members that lists are filtered by, as one set with one index. A value may be that of every row or of none, so
 * statements with one are planned for it (`uneven` in the list).
 */
export const terms = sql`array_remove(array['order:' || order_id::text, 'interaction:' || interaction_id::text, 'sku:' || sku, 'staff:' || staff, 'department:' || department, 'process:' || process, 'channel:' || channel, 'language:' || language, 'stage:' || journey_stage], null)`;

/** The words of an answer: neither stems nor accents are folded, for texts come in all languages. */
export const words = sql`to_tsvector('simple', "text")`;

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

/** The same in SQL, of a row of survey_answers. */
export function bandNamed(alias: string): SQL {
  const cases = bandNames.map((name) => {
    const [type, band] = bands[name];
    return `when ${alias}.type = '${type}' and ${alias}.band = ${band} then '${name}'`;
  });
  return sql.raw(`case ${cases.join(' ')} end`);
}

/** What a response is about; an invitation passes it on. */
export const subjectFields = {
  orderId: recordId().says(
    'The order it is about: one of the same customer; without a customer, its customer is used.',
  ),
  interactionId: recordId().says('The interaction it is about; the same rule applies.'),
  sku: text(200).plain().says('The product it is about.', '85123A'),
  staff: text(200).plain().says('The member of staff it is about.', 'maria'),
  department: text(200).plain().says('The department it is about.', 'support'),
  process: text(200).plain().says('The process it is about.', 'returns'),
  channel: text(200).plain().says('The channel it was asked on. Default: the channel of the survey.', 'email'),
};

export const responseFields = {
  id: key(),
  customerId: ownerId(() => customers.id)
    .optional()
    .says('null: anonymous.'),
  version: version(),
  surveyId: recordId()
    .required()
    .readOnly()
    .references(() => surveys.id),
  surveyVersion: integer(1, 2_147_483_647).required().readOnly().says('The version of the survey that was answered.'),
  submissionId: code(255)
    .plain()
    .required()
    .says("The sender's reference for it, unique in the survey, so that nothing is counted twice.", 'form-88213'),
  status: oneOf(responseStatus).defaultsTo('complete').says('Default: complete.'),
  answeredAt: instant().required().happened(),
  askedAt: instant().says('When it was asked: decides what is late.'),
  late: boolean().required().readOnly().says('Answered after the time that the survey allows: not counted.'),
  ...subjectFields,
  invitationId: recordId().readOnly().says('The invitation it came by.'),
  language: text(35).plain().says('Default: the language of the survey.', 'en'),
  journeyStage: text(200).plain().says('The stage of the journey. Default: the stage of the survey.', 'delivery'),
  ...customFields({ personal: true }),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/**
 * What somebody answered. Its customer may be unknown, so the key is the id alone: the one exception from facts being
 * keyed by customer; anonymous answers belong to no shard.
 */
export const surveyResponses = storedTable('survey_responses', {
  name: 'surveyResponses',
  label: 'Responses to surveys',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['id'],
  guard: 'survey response',
  feed: { kind: 'survey_response' },
  timeline: {
    kind: 'survey_response',
    scope: 'survey-responses:read',
    members: ['surveyId', 'status', 'channel', 'orderId', 'interactionId'],
    more: {
      surveyName: {
        output: z.string(),
        select: sql`(select s.name from surveys s where s.id = survey_responses.survey_id)`,
      },
      scores: {
        output: z
          .array(
            z
              .strictObject({ question: z.string(), type: questionType, score: smallInteger })
              .meta({ id: 'TimelineScore', description: 'An answer to a question.' }),
          )
          .meta({ description: 'By key of the question; the words of an answer are in the response.' }),
        select: sql`(select coalesce(json_agg(json_build_object('question', a.question, 'type', a.type, 'score', a.score) order by a.question), '[]'::json)
          from survey_answers a where a.response_id = survey_responses.id and a.score is not null)`,
      },
    },
  },
  fields: responseFields,
  conflicts: { survey_responses_submission: 'already_exists' },
  extras: (t) => [
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
});

export const answerFields = {
  // Columns of fixed length first: Postgres finds these without walking a row, and sums over the table take half as long.
  responseId: recordId().required().internal(),
  surveyId: recordId().required().internal(),
  answeredAt: instant().required().internal(),
  score: smallint(-32_768, 32_767),
  /** nps: 1 promoter, 0 passive, −1 detractor. csat: 1 satisfied, 0 not. ces: 1 easy, 0 neutral, −1 hard. */
  band: smallint(-1, 1).readOnly().answers(answerBand).says('null: not a question of scores.'),
  /** The first question of its type in the survey. */
  primary: boolean().required().internal().named('is_primary'),
  /** Complete and not late: what metrics count unless asked for more. */
  counted: boolean().required().internal(),
  customerId: ownerId().optional().internal(),
  supersededAt: instant().internal(),
  supersededInSurveyAt: instant().internal(),
  question: text(64).plain().required(),
  type: oneOf(questionType).required().readOnly(),
  choices: json(z.array(z.string())).plain(),
  text: text(10_000).personal(),
};

/**
 * One answered question, with what metrics need beside it. `supersededAt` and `supersededInSurveyAt` are derived, kept
 * under the customer's lock: when the same customer next answered a question of the type (of primary questions, over all
 * surveys), and this question of this survey. The latest answers of a period are then a plain filter. Only counted scores
 * supersede and are superseded (`supersessions` in queries.ts); in all other rows both are null.
 */
export const surveyAnswers = storedTable('survey_answers', {
  name: 'surveyAnswers',
  label: 'Answers',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  partOf: { table: surveyResponses, by: 'responseId' },
  key: ['responseId', 'question'],
  guard: 'survey answer',
  feed: { of: 'survey_response', by: 'responseId', member: 'answers' },
  fields: answerFields,
  extras: (t) => [
    foreignKey({ columns: [t.responseId], foreignColumns: [surveyResponses.id] }).onDelete('cascade'),
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
});

export const surveyAnswerInput = z
  .strictObject({
    question: boundedText(64).meta({ description: 'Key of the question.', example: 'recommend' }),
    score: z
      .int()
      .min(-32_768)
      .max(32_767)
      .optional()
      .meta({ description: 'nps, csat, ces: a whole number on the scale of the question.', example: 9 }),
    choices: z
      .array(boundedText(64))
      .min(1)
      .max(100)
      .optional()
      .meta({ description: 'Keys of the options chosen; one of a single choice.' }),
    text: boundedText(10_000).optional().meta({ description: 'Personal. The words of a text answer.' }),
  })
  .refine(({ score, choices, text: answer }) => [score, choices, answer].filter((v) => v !== undefined).length === 1, {
    error: 'has one of score, choices and text',
    params: { code: 'one_value' },
  })
  .meta({ id: 'SurveyAnswerInput' });
export type SurveyAnswerInput = z.output<typeof surveyAnswerInput>;

/** What the sender owns of a response; a batch clears what is left out. */
const responseMembers = {
  ...customerOwner.input,
  ...inputShape(responseFields),
  answers: z.array(surveyAnswerInput).max(50).optional().meta({ description: 'A dismissed response has none.' }),
};

export const surveyResponseInput = z
  .strictObject({
    ...responseMembers,
    surveyVersion: z
      .int()
      .min(1)
      .max(2_147_483_647)
      .optional()
      .meta({ description: 'The version of the survey that was answered. Default: the current version.' }),
  })
  .meta({
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
  .omit({ submissionId: true })
  .extend({ customerId: id.nullable().optional().meta({ description: 'null makes it anonymous.' }) })
  .partial()
  .meta({
    id: 'SurveyResponsePatch',
    description: 'Omitted members keep their values; null clears; `answers` are replaced as a whole.',
    example: { status: 'complete', answers: [{ question: 'recommend', score: 9 }] },
  });
export type SurveyResponsePatch = z.output<typeof surveyResponsePatch>;

const surveyAnswer = z.strictObject(outputShape(answerFields)).meta({ id: 'SurveyAnswer' });

export const surveyResponse = z
  .strictObject({ ...outputShape(responseFields), answers: z.array(surveyAnswer) })
  .meta({ id: 'SurveyResponse', description: 'A response to a survey, and what it was about.' });
export type SurveyResponse = z.output<typeof surveyResponse>;
