import { index, integer, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { instant as instantColumn, json } from '../../platform/db/columns.ts';
import { id, instant, text, version } from '../../platform/values.ts';
import { consentPurpose } from '../customers/consent-input.ts';
import { leadStage } from '../leads/model.ts';

/** A survey; its questions are those of its current version. */
export const surveys = pgTable(
  'surveys',
  {
    id: uuid('id').primaryKey(),
    version: integer('version').notNull(),
    name: textColumn('name').notNull(),
    status: textColumn('status').$type<SurveyStatus>().notNull(),
    /** Number of the version whose questions are asked now. */
    currentVersion: integer('current_version').notNull(),
    openedAt: instantColumn('opened_at'),
    /** Answers from here on are refused; also set by closing it. */
    closesAt: instantColumn('closes_at'),
    journeyStage: textColumn('journey_stage'),
    channel: textColumn('channel'),
    language: textColumn('language'),
    settings: json('settings').notNull(),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [index('surveys_created').on(t.createdAt, t.id)],
);

/** The questions as they were asked; one that was answered never changes again. */
export const surveyVersions = pgTable(
  'survey_versions',
  {
    surveyId: uuid('survey_id')
      .notNull()
      .references(() => surveys.id),
    /** 1, 2, 3 … */
    number: integer('number').notNull(),
    questions: json('questions').notNull(),
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.surveyId, t.number] })],
);

export const surveyStatuses = ['draft', 'open', 'closed'] as const;
export type SurveyStatus = (typeof surveyStatuses)[number];
export const surveyStatus = z.enum(surveyStatuses).meta({ id: 'SurveyStatus', example: 'open' });

export const questionTypes = ['nps', 'csat', 'ces', 'single_choice', 'multiple_choice', 'text'] as const;
export type QuestionType = (typeof questionTypes)[number];
export const questionType = z.enum(questionTypes).meta({
  id: 'QuestionType',
  description: 'nps: 0–10. csat, ces: a scale stored with the question. Choices among its options; text.',
  example: 'nps',
});

const questionKey = text(64)
  .regex(/^[A-Za-z0-9_.-]+$/)
  .meta({
    description:
      'Name of the question in answers; unique in the survey, and for ever of the same meaning once answered.',
    example: 'recommend',
  });

const effortDirection = z.enum(['easy_low', 'easy_high']).meta({
  id: 'EffortDirection',
  description: 'Which end of the scale says very easy.',
  example: 'easy_low',
});

const scaleEnd = z.int().min(-100).max(100);

const questionScaleInput = z
  .strictObject({
    min: scaleEnd.meta({ description: 'The lowest score.', example: 1 }),
    max: scaleEnd.meta({ description: 'The highest score.', example: 5 }),
    topBoxFrom: scaleEnd
      .nullable()
      .optional()
      .meta({ description: 'csat: satisfied from this score up; 4 of 1–5, other scales have to say.', example: 4 }),
    direction: effortDirection.nullable().optional().meta({ description: 'ces: easy_low unless told.' }),
    easyTo: scaleEnd
      .nullable()
      .optional()
      .meta({ description: 'ces: easy up to this score, from the easy end; scales other than 1–5 have to say.' }),
    hardFrom: scaleEnd.nullable().optional().meta({ description: 'ces: hard from this score on; likewise.' }),
  })
  .meta({ id: 'QuestionScaleInput', example: { min: 1, max: 7, topBoxFrom: 6 } });

const optionMembers = {
  key: text(64).meta({ description: 'What answers say.', example: 'price' }),
  label: text(200).meta({ description: 'What is read.', example: 'The price' }),
};

export const surveyQuestionInput = z
  .strictObject({
    key: questionKey,
    type: questionType,
    text: text(2_000).meta({ example: 'How likely are you to recommend us?' }),
    required: z.boolean().optional().meta({ description: 'Complete responses have to answer it; false unless told.' }),
    options: z
      .array(z.strictObject(optionMembers).meta({ id: 'QuestionOptionInput' }))
      .min(1)
      .max(100)
      .nullable()
      .optional()
      .meta({ description: 'Of choices, and only of these.' }),
    scale: questionScaleInput
      .nullable()
      .optional()
      .meta({ description: 'Of csat (1–5 from 4 unless told) and ces (1–5, easy 1–2, hard 4–5 unless told).' }),
  })
  .meta({ id: 'SurveyQuestionInput' });
export type SurveyQuestionInput = z.output<typeof surveyQuestionInput>;

const questionScale = z
  .strictObject({
    min: z.int(),
    max: z.int(),
    topBoxFrom: z.int().nullable().meta({ description: 'csat: satisfied from this score up.' }),
    direction: effortDirection.nullable().meta({ description: 'ces: which end is easy.' }),
    easyTo: z.int().nullable().meta({ description: 'ces: easy up to this score, from the easy end.' }),
    hardFrom: z.int().nullable().meta({ description: 'ces: hard from this score on, from the easy end.' }),
  })
  .meta({ id: 'QuestionScale', description: 'The scores of a question: whole numbers, both ends included.' });
export type QuestionScale = z.output<typeof questionScale>;

export const surveyQuestion = z
  .strictObject({
    key: z.string(),
    type: questionType,
    text: z.string(),
    required: z.boolean(),
    options: z
      .array(z.strictObject({ key: z.string(), label: z.string() }).meta({ id: 'QuestionOption' }))
      .nullable()
      .meta({ description: 'null: not a question of choices.' }),
    scale: questionScale.nullable().meta({ description: 'null: not a question of scores.' }),
  })
  .meta({ id: 'SurveyQuestion', description: 'A question as it is asked; it is stored with its scale.' });
export type SurveyQuestion = z.output<typeof surveyQuestion>;

const surveyTriggerEvents = ['order_placed', 'order_paid', 'order_fulfilled', 'stage_entered'] as const;
export const surveyTriggerEvent = z
  .enum(surveyTriggerEvents)
  .meta({ id: 'SurveyTriggerEvent', description: 'What makes an invitation due.', example: 'order_fulfilled' });

const days = (from: number) => z.int().min(from).max(3_650);

const surveyTriggerInput = z
  .strictObject({
    on: surveyTriggerEvent,
    stage: leadStage.nullable().optional().meta({ description: 'stage_entered: which; every one unless told.' }),
    delayDays: days(0).optional().meta({ description: 'Days from the event to the invitation; 0 unless told.' }),
  })
  .refine(({ on, stage }) => on === 'stage_entered' || !stage, {
    error: 'goes with stage_entered',
    path: ['stage'],
    params: { code: 'not_allowed' },
  })
  .meta({ id: 'SurveyTriggerInput' });

const surveySettingsInput = z
  .strictObject({
    contactFrequencyDays: days(0).optional().meta({
      description:
        'Nobody is asked who was asked, or has answered, within so many days, by any survey; 30 unless told.',
      example: 30,
    }),
    answerWithinDays: days(1).nullable().optional().meta({
      description: 'An answer later than that after it was asked is late: kept, and not counted. null: none is.',
      example: 14,
    }),
    linkDays: days(1).optional().meta({ description: 'How long links work; 30 unless told.', example: 30 }),
    triggers: z.array(surveyTriggerInput).max(20).optional().meta({ description: 'What makes invitations due.' }),
    followUp: z
      .strictObject({
        withinDays: days(0).meta({ description: 'When it is due.', example: 2 }),
        owner: text(200).nullable().optional().meta({ description: 'Unless told, assignment rules say.' }),
      })
      .meta({ id: 'SurveyFollowUpInput' })
      .nullable()
      .optional()
      .meta({ description: 'A detractor opens a follow-up. null: none is opened.' }),
    consentPurpose: consentPurpose.nullable().optional().meta({
      description:
        'Only who has consented to this purpose, on the channel of the invitation, is asked. null: everybody.',
      example: 'surveys',
    }),
  })
  .meta({ id: 'SurveySettingsInput' });
export type SurveySettingsInput = z.output<typeof surveySettingsInput>;

export const surveySettings = z
  .strictObject({
    contactFrequencyDays: z.int(),
    answerWithinDays: z.int().nullable(),
    linkDays: z.int(),
    triggers: z.array(
      z
        .strictObject({ on: surveyTriggerEvent, stage: leadStage.nullable(), delayDays: z.int() })
        .meta({ id: 'SurveyTrigger' }),
    ),
    followUp: z
      .strictObject({ withinDays: z.int(), owner: z.string().nullable() })
      .meta({ id: 'SurveyFollowUp' })
      .nullable(),
    consentPurpose: z.string().nullable(),
  })
  .meta({ id: 'SurveySettings' });
export type SurveySettings = z.output<typeof surveySettings>;

const members = {
  name: text(200).meta({ description: 'What people call it.', example: 'After the purchase' }),
  status: surveyStatus.optional().meta({
    description:
      'draft unless told; once opened it is open or closed. Closing sets `closesAt`. Past a `closesAt` that was set before, it still reads open and takes no answers.',
  }),
  closesAt: instant
    .nullable()
    .optional()
    .meta({ description: 'What is answered from then on is refused. Reopening clears it.' }),
  journeyStage: text(100).nullable().optional().meta({ description: 'Where on the journey.', example: 'delivery' }),
  channel: text(100).nullable().optional().meta({ description: 'Where it is asked.', example: 'email' }),
  language: text(35).nullable().optional().meta({ description: 'Language of the questions.', example: 'en' }),
  settings: surveySettingsInput.optional().meta({ description: 'Members left out stay as they are.' }),
  questions: z.array(surveyQuestionInput).min(1).max(50),
};

export const surveyInput = z.strictObject(members).meta({
  id: 'SurveyInput',
  example: {
    name: 'After the purchase',
    status: 'open',
    questions: [
      { key: 'recommend', type: 'nps', text: 'How likely are you to recommend us?', required: true },
      { key: 'why', type: 'text', text: 'Why this score?' },
    ],
  },
});
export type SurveyInput = z.output<typeof surveyInput>;

export const surveyPatch = z
  .strictObject(members)
  .partial()
  .meta({
    id: 'SurveyPatch',
    description:
      'Members left out stay as they are; null clears. `questions` are replaced as a whole: in place while nobody has answered the version, as a new version after that.',
    example: { status: 'closed' },
  });
export type SurveyPatch = z.output<typeof surveyPatch>;

export const survey = z
  .strictObject({
    id,
    name: z.string(),
    status: surveyStatus,
    openedAt: instant.nullable(),
    closesAt: instant.nullable().meta({ description: 'What is answered from then on is refused.' }),
    journeyStage: z.string().nullable(),
    channel: z.string().nullable(),
    language: z.string().nullable(),
    settings: surveySettings,
    currentVersion: z.int().meta({ description: 'Number of the version whose questions are asked now.' }),
    questions: z.array(surveyQuestion),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Survey', description: 'A survey with the questions that it asks now.' });
export type Survey = z.output<typeof survey>;

export const surveyVersion = z
  .strictObject({
    surveyId: id,
    number: z.int(),
    questions: z.array(surveyQuestion),
    createdAt: instant,
  })
  .meta({ id: 'SurveyVersion', description: 'The questions as they were asked. What was answered never changes.' });
export type SurveyVersion = z.output<typeof surveyVersion>;
