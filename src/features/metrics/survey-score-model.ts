import { z } from 'zod';
import { pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { personal } from '../../platform/personal.ts';
import { typeNames } from '../../platform/type-names.ts';
import { id, instant, smallInteger, text } from '../../platform/values.ts';
import { answerBand, surveyResponse } from '../survey-responses/record.ts';
import { commonParameters } from './model.ts';

/** What the metrics of scores (NPS, CSAT, CES), their lists and reasons take and answer. */

export const scoreGroups = ['staff', 'department', 'process', 'stage', 'channel', 'product', 'tier', 'survey'] as const;
export type ScoreGroup = (typeof scoreGroups)[number];

/** What answers are selected by; `surveyId` aside, which changes what the latest answer is. */
export const scoreFilters = [
  'staff',
  'department',
  'process',
  'stage',
  'channel',
  'product',
  'tier',
  'language',
] as const;
export type ScoreFilter = (typeof scoreFilters)[number];

const { from, to, timeZone, asOf, interval, weekStart } = commonParameters;
const exactly = (description: string, example: string) => text(200).optional().meta({ description, example });

const scoreInclude = z.enum(['partial', 'late']).meta({
  id: 'VoiceInclude',
  description: 'partial: broken off. late: answered after the time that the survey allows.',
  example: 'late',
});

/** What says which answers are counted. */
const question = {
  from,
  to,
  timeZone,
  asOf,
  surveyId: id.optional().meta({ description: 'Only this survey. Default: all surveys.' }),
  question: text(64).optional().meta({
    description:
      'With `surveyId`: the key of the question. Default: the first question of its type. Without `surveyId`, the first one of each survey counts.',
    example: 'recommend',
  }),
  answers: z.enum(['latest', 'all']).register(typeNames, { name: 'VoiceAnswers' }).optional().meta({
    description:
      '`latest`: the latest answer of each customer in the period (in a `series`: in the interval), and all anonymous ones. `all`: every answer. Default: `latest`.',
  }),
  include: z
    .array(scoreInclude)
    .min(1)
    .max(2)
    .optional()
    .meta({ description: 'Also count these answers, which are otherwise in `excluded`.' }),
  staff: exactly('Only answers about this member of staff.', 'maria'),
  department: exactly('Only answers about this department.', 'support'),
  process: exactly('Only answers about this process.', 'returns'),
  stage: exactly('Only answers of this stage of the journey.', 'delivery'),
  channel: exactly('Only answers given on this channel.', 'email'),
  product: exactly('Only answers about this product (its SKU).', '85123A'),
  tier: exactly('Only answers of customers who held this tier when they answered.', 'gold'),
  language: text(35).optional().meta({ description: 'Only answers in this language.', example: 'en' }),
};

const groupBy = z.enum(scoreGroups).register(typeNames, { name: 'VoiceGroup' }).optional();

export const scoreInput = z
  .strictObject({
    ...question,
    interval,
    weekStart,
    groupBy: groupBy.meta({
      description:
        'Also return `groups`, the largest first, at most 1,000. The empty key stands for answers without a value. A customer is in the group of the latest answer.',
      example: 'staff',
    }),
  })
  .register(typeNames, { name: 'VoiceInput' });
export type ScoreInput = z.output<typeof scoreInput>;

const ofGroup = {
  groupBy: groupBy.meta({ description: 'With `group`.', example: 'staff' }),
  group: text(200, 0)
    .optional()
    .meta({ description: 'Only the group with this key; with `groupBy`.', example: 'maria' }),
};

/** Of the lists behind a metric, whose answers are in one of `bands`. */
function listInput<B extends readonly [string, ...string[]]>(name: string, bands: B) {
  return z.strictObject({
    ...pageParameters,
    ...question,
    ...ofGroup,
    sort: sortParameter(['answeredAt'], '-answeredAt'),
    band: z
      .enum(bands)
      .register(typeNames, { name })
      .optional()
      .meta({ description: 'Only the answers in this band.', example: bands[0] }),
  });
}

export const scoreListInputs = {
  nps: listInput('NetPromoterBand', ['promoter', 'passive', 'detractor']),
  csat: listInput('SatisfactionBand', ['satisfied', 'not_satisfied']),
  ces: listInput('EffortBand', ['easy', 'neutral', 'hard']),
};
export type ScoreListInput = z.output<(typeof scoreListInputs)[keyof typeof scoreListInputs]>;

const answered = {
  question: z.string().meta({ description: 'Key of the question.', example: 'recommend' }),
  score: smallInteger.meta({ example: 9 }),
  band: answerBand,
};

export const scoreMember = z
  .strictObject({ ...answered, response: surveyResponse })
  .meta({ id: 'VoiceMember', description: 'An answer that a metric counts, and the response it belongs to.' });
export type ScoreMember = z.output<typeof scoreMember>;
export const scoreMemberPage = pageOf(scoreMember).meta({ id: 'VoiceMemberPage' });

const reasonText = z
  .strictObject({
    question: z.string().meta({ description: 'Key of the text question.', example: 'why' }),
    text: personal(z.string()),
  })
  .meta({ id: 'VoiceReasonText' });

export const scoreReason = z
  .strictObject({
    responseId: id,
    surveyId: id,
    customerId: id.nullable().meta({ description: 'null: anonymous.' }),
    answeredAt: instant,
    ...answered,
    staff: z.string().nullable(),
    texts: z.array(reasonText).meta({ description: 'The text answers of the same response, by key.' }),
  })
  .meta({ id: 'VoiceReason', description: 'A score, and the text answers of the same response.' });
export type ScoreReason = z.output<typeof scoreReason>;
export const scoreReasonPage = pageOf(scoreReason).meta({ id: 'VoiceReasonPage' });
