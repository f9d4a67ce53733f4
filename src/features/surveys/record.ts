import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { problemType } from '../../platform/errors.ts';
import { text as boundedText, smallInteger } from '../../platform/values.ts';
import { customFields } from '../../records/custom-fields.ts';
import { instant, integer, json, key, recordId, text, version, words } from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';
import { consentPurpose } from '../customers/consent-input.ts';
import { interactionKind } from '../interactions/record.ts';
import { leadStage } from '../leads/record.ts';

export const surveyClosed = problemType('survey_closed', 422, 'The survey takes no answers');

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
    description: 'Key of the question in answers; unique in the survey. Once answered, it never changes its meaning.',
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
    topBoxFrom: scaleEnd.nullable().optional().meta({
      description: 'csat: satisfied from this score up; required on scales other than 1–5. Default: 4.',
      example: 4,
    }),
    direction: effortDirection
      .nullable()
      .optional()
      .meta({ description: 'ces: which end of the scale says very easy. Default: easy_low.' }),
    easyTo: scaleEnd
      .nullable()
      .optional()
      .meta({ description: 'ces: easy up to this score, from the easy end; required on scales other than 1–5.' }),
    hardFrom: scaleEnd
      .nullable()
      .optional()
      .meta({ description: 'ces: hard from this score on; required on scales other than 1–5.' }),
  })
  .meta({ id: 'QuestionScaleInput', example: { min: 1, max: 7, topBoxFrom: 6 } });

const optionMembers = {
  key: boundedText(64).meta({ description: 'Key of the option in answers.', example: 'price' }),
  label: boundedText(200).meta({ description: 'Text of the option.', example: 'The price' }),
};

export const surveyQuestionInput = z
  .strictObject({
    key: questionKey,
    type: questionType,
    text: boundedText(2_000).meta({ example: 'How likely are you to recommend us?' }),
    required: z.boolean().optional().meta({ description: 'Complete responses must answer it. Default: false.' }),
    options: z
      .array(z.strictObject(optionMembers).meta({ id: 'QuestionOptionInput' }))
      .min(1)
      .max(100)
      .nullable()
      .optional()
      .meta({ description: 'Only for questions of choices, which need them.' }),
    scale: questionScaleInput.nullable().optional().meta({
      description: 'Only for csat and ces. Default: csat 1–5, satisfied from 4; ces 1–5, easy 1–2, hard 4–5.',
    }),
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

export const surveyTriggerEvents = [
  'order_placed',
  'order_paid',
  'order_fulfilled',
  'return_received',
  'interaction_occurred',
  'stage_entered',
] as const;
export type SurveyTriggerEvent = (typeof surveyTriggerEvents)[number];
export const surveyTriggerEvent = z.enum(surveyTriggerEvents).meta({
  id: 'SurveyTriggerEvent',
  description:
    'What makes an invitation due. return_received: a return without an order. interaction_occurred: an interaction that is not `automatic`.',
  example: 'order_fulfilled',
});

/** What a trigger may say of its event. */
const membersOfEvent = {
  stage_entered: ['stage'],
  interaction_occurred: ['kind', 'topic', 'outcome'],
} as const satisfies Partial<Record<SurveyTriggerEvent, readonly string[]>>;

const days = (from: number) => z.int().min(from).max(3_650);

const surveyTriggerInput = z
  .strictObject({
    on: surveyTriggerEvent,
    stage: leadStage.nullable().optional().meta({ description: 'stage_entered: the stage. Default: every stage.' }),
    kind: interactionKind.nullable().optional().meta({ description: 'interaction_occurred: its kind. Default: any.' }),
    topic: boundedText(200)
      .nullable()
      .optional()
      .meta({ description: 'interaction_occurred: the exact topic; needs `customers:pii`. Default: any.' }),
    outcome: boundedText(200)
      .nullable()
      .optional()
      .meta({ description: 'interaction_occurred: the exact outcome; needs `customers:pii`. Default: any.' }),
    delayDays: days(0).optional().meta({ description: 'Days from the event to the invitation. Default: 0.' }),
  })
  .superRefine((trigger, context) => {
    for (const [event, members] of Object.entries(membersOfEvent)) {
      for (const member of members) {
        if (trigger.on === event || !trigger[member]) continue;
        const message = `is only allowed with ${event}`;
        context.addIssue({ code: 'custom', path: [member], message, params: { code: 'not_allowed' } });
      }
    }
  })
  .meta({ id: 'SurveyTriggerInput' });

const surveySettingsInput = z
  .strictObject({
    contactFrequencyDays: days(0).optional().meta({
      description:
        'A customer is not asked again within this many days after an invitation or answer of any survey. Default: 30.',
      example: 30,
    }),
    answerWithinDays: days(1).nullable().optional().meta({
      description:
        'An answer given more than this many days after it was asked is late: stored, but not counted. null: no answer is late.',
      example: 14,
    }),
    linkDays: days(1).optional().meta({ description: 'How many days links work. Default: 30.', example: 30 }),
    triggers: z.array(surveyTriggerInput).max(20).optional().meta({ description: 'What makes invitations due.' }),
    followUp: z
      .strictObject({
        withinDays: days(0).meta({ description: 'When it is due.', example: 2 }),
        owner: boundedText(200)
          .nullable()
          .optional()
          .meta({ description: 'The owner of the follow-up. Default: chosen by the assignment rules.' }),
      })
      .meta({ id: 'SurveyFollowUpInput' })
      .nullable()
      .optional()
      .meta({ description: 'A detractor opens a follow-up. null: none is opened.' }),
    consentPurpose: consentPurpose.nullable().optional().meta({
      description:
        'Only customers who have consented to this purpose on the channel of the invitation are asked. null: everybody.',
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
        .strictObject({
          on: surveyTriggerEvent,
          stage: leadStage.nullable(),
          kind: interactionKind.nullable(),
          topic: z.string().nullable(),
          outcome: z.string().nullable(),
          delayDays: smallInteger,
        })
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

/** What clients keep with surveys. */
export const customMembers = customFields({ personal: false });

export const surveyFields = {
  id: key(),
  version: version(),
  name: text(200).plain().required().says('Display name.', 'After the purchase'),
  status: words(surveyStatus)
    .defaultsTo('draft')
    .says(
      'Once opened, a survey is open or closed. Closing sets `closesAt`. After a `closesAt` that was set in advance, the status is still open, but no answers are taken. Default: draft.',
    ),
  currentVersion: integer(1, 2_147_483_647)
    .required()
    .readOnly()
    .says('Number of the version whose questions are asked now.'),
  openedAt: instant().readOnly(),
  closesAt: instant().says('Answers from then on are refused. Reopening clears it.'),
  journeyStage: text(100).plain().says('Where on the journey.', 'delivery'),
  channel: text(100).plain().says('Where it is asked.', 'email'),
  language: text(35).plain().says('Language of the questions.', 'en'),
  settings: json(surveySettings)
    .plain()
    .takes(surveySettingsInput)
    .defaultsTo(defaultSettings)
    .says('Omitted members keep their values.'),
  ...customMembers,
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
  feed: { kind: 'survey' },
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
  feed: { of: 'survey', by: 'surveyId' },
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
