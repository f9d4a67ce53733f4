import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { text as boundedText, smallInteger } from '../../platform/values.ts';
import { instant, integer, json, key, recordId, text, version, words } from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { consentPurpose } from '../customers/consent-input.ts';
import { leadStage } from '../leads/record.ts';

export const surveyStatuses = ['draft', 'open', 'closed'] as const;
export type SurveyStatus = (typeof surveyStatuses)[number];
export const surveyStatus = z.enum(surveyStatuses).meta({
  id: 'SurveyStatus',
  description: 'draft: takes no answers yet. open: takes answers, until `closesAt` if it is set.',
  example: 'open',
});

export const questionTypes = ['nps', 'csat', 'ces', 'single_choice', 'multiple_choice', 'text'] as const;
export type QuestionType = (typeof questionTypes)[number];
export const questionType = z.enum(questionTypes).meta({
  id: 'QuestionType',
  description:
    'nps: 0 to 10. csat: satisfaction, on a scale stored with the question. ces: effort, on a scale stored with the question. single_choice: one of its options. multiple_choice: any of its options. text: words.',
  example: 'nps',
});

const questionKey = boundedText(64)
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
    direction: effortDirection.nullable().optional().meta({ description: 'Default: ces: easy_low.' }),
    easyTo: scaleEnd
      .nullable()
      .optional()
      .meta({ description: 'ces: easy up to this score, from the easy end; scales other than 1–5 have to say.' }),
    hardFrom: scaleEnd.nullable().optional().meta({ description: 'ces: hard from this score on; likewise.' }),
  })
  .meta({ id: 'QuestionScaleInput', example: { min: 1, max: 7, topBoxFrom: 6 } });

const optionMembers = {
  key: boundedText(64).meta({ description: 'What answers say.', example: 'price' }),
  label: boundedText(200).meta({ description: 'What is read.', example: 'The price' }),
};

export const surveyQuestionInput = z
  .strictObject({
    key: questionKey,
    type: questionType,
    text: boundedText(2_000).meta({ example: 'How likely are you to recommend us?' }),
    required: z.boolean().optional().meta({ description: 'Complete responses have to answer it. Default: false.' }),
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
    min: smallInteger,
    max: smallInteger,
    topBoxFrom: smallInteger.nullable().meta({ description: 'csat: satisfied from this score up.' }),
    direction: effortDirection.nullable().meta({ description: 'ces: which end is easy.' }),
    easyTo: smallInteger.nullable().meta({ description: 'ces: easy up to this score, from the easy end.' }),
    hardFrom: smallInteger.nullable().meta({ description: 'ces: hard from this score on, from the easy end.' }),
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
    stage: leadStage.nullable().optional().meta({ description: 'stage_entered: which. Default: every one.' }),
    delayDays: days(0).optional().meta({ description: 'Days from the event to the invitation. Default: 0.' }),
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
      description: 'Nobody is asked who was asked, or has answered, within so many days, by any survey. Default: 30.',
      example: 30,
    }),
    answerWithinDays: days(1).nullable().optional().meta({
      description: 'An answer later than that after it was asked is late: kept, and not counted. null: none is.',
      example: 14,
    }),
    linkDays: days(1).optional().meta({ description: 'How long links work. Default: 30.', example: 30 }),
    triggers: z.array(surveyTriggerInput).max(20).optional().meta({ description: 'What makes invitations due.' }),
    followUp: z
      .strictObject({
        withinDays: days(0).meta({ description: 'When it is due.', example: 2 }),
        owner: boundedText(200).nullable().optional().meta({ description: 'Unless told, assignment rules say.' }),
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
    contactFrequencyDays: smallInteger,
    answerWithinDays: smallInteger.nullable(),
    linkDays: smallInteger,
    triggers: z.array(
      z
        .strictObject({ on: surveyTriggerEvent, stage: leadStage.nullable(), delayDays: smallInteger })
        .meta({ id: 'SurveyTrigger' }),
    ),
    followUp: z
      .strictObject({ withinDays: smallInteger, owner: z.string().nullable() })
      .meta({ id: 'SurveyFollowUp' })
      .nullable(),
    consentPurpose: z.string().nullable(),
  })
  .meta({ id: 'SurveySettings' });
export type SurveySettings = z.output<typeof surveySettings>;

export const defaultSettings: SurveySettings = {
  contactFrequencyDays: 30,
  answerWithinDays: null,
  linkDays: 30,
  triggers: [],
  followUp: null,
  consentPurpose: null,
};

const surveyFields = {
  id: key(),
  version: version(),
  name: text(200).plain().required().says('Display name.', 'After the purchase'),
  status: words(surveyStatus)
    .defaultsTo('draft')
    .says(
      'draft unless told; once opened it is open or closed. Closing sets `closesAt`. Past a `closesAt` that was set before, it still reads open and takes no answers.',
    ),
  currentVersion: integer(1, 2_147_483_647)
    .required()
    .readOnly()
    .says('Number of the version whose questions are asked now.'),
  openedAt: instant().readOnly(),
  closesAt: instant().says('What is answered from then on is refused. Reopening clears it.'),
  journeyStage: text(100).plain().says('Where on the journey.', 'delivery'),
  channel: text(100).plain().says('Where it is asked.', 'email'),
  language: text(35).plain().says('Language of the questions.', 'en'),
  settings: json(surveySettings)
    .plain()
    .takes(surveySettingsInput)
    .defaultsTo(defaultSettings)
    .says('Omitted members keep their values.'),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/** A survey; its questions are those of its current version. */
export const surveys = storedTable('surveys', {
  name: 'surveys',
  label: 'Surveys',
  access: 'configuration',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  fields: surveyFields,
  extras: (t) => [index('surveys_created').on(t.createdAt, t.id)],
});

const questions = z.array(surveyQuestion);

const versionFields = {
  surveyId: recordId()
    .required()
    .references(() => surveys.id),
  /** 1, 2, 3 … */
  number: integer(1, 2_147_483_647).required(),
  questions: json(questions).plain().required(),
  createdAt: instant().required(),
};

/** The questions as they were asked; one that was answered never changes again. */
export const surveyVersions = storedTable('survey_versions', {
  name: 'surveyVersions',
  label: 'Questions of surveys',
  access: 'configuration',
  nature: 'fact',
  owner: null,
  partOf: { table: surveys, by: 'surveyId' },
  key: ['surveyId', 'number'],
  guard: null,
  fields: versionFields,
});

const members = { ...inputShape(surveyFields), questions: z.array(surveyQuestionInput).min(1).max(50) };

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
      'Omitted members keep their values; null clears. `questions` are replaced as a whole: in place while nobody has answered the version, as a new version after that.',
    example: { status: 'closed' },
  });
export type SurveyPatch = z.output<typeof surveyPatch>;

export const survey = z
  .strictObject({ ...outputShape(surveyFields), questions })
  .meta({ id: 'Survey', description: 'A survey with the questions that it asks now.' });
export type Survey = z.output<typeof survey>;

export const surveyVersion = z
  .strictObject(outputShape(versionFields))
  .meta({ id: 'SurveyVersion', description: 'The questions as they were asked. What was answered never changes.' });
export type SurveyVersion = z.output<typeof surveyVersion>;
