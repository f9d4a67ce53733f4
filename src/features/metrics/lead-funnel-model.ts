import { z } from 'zod';
import { leadStages } from '../../domain/lead-lifecycle.ts';
import { pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { typeNames } from '../../platform/type-names.ts';
import { instant, smallInteger, text } from '../../platform/values.ts';
import { lead, leadStage, lossReason } from '../leads/record.ts';
import { commonParameters } from './model.ts';

/** What the metric `lead-funnel` and its lists take and answer. */

export const leadFunnelGroups = ['source', 'segment', 'owner', 'country', 'stage'] as const;
export type LeadFunnelGroup = (typeof leadFunnelGroups)[number];

const { from, to, timeZone, asOf, interval, weekStart } = commonParameters;

/** What says which leads are asked about, and when one of them is in a bad state. */
const question = {
  from,
  to,
  timeZone,
  asOf,
  completeness: z.number().min(0).max(1).optional().meta({
    description: 'An open lead with a smaller share of its profile fields filled in is under-qualified. Default: 0.5.',
    example: 0.6,
  }),
  silentDays: z.int().min(1).max(36_500).optional().meta({
    description: 'Calendar days without an interaction after which an open lead is untouched. Default: 14.',
    example: 14,
  }),
};

const groupBy = z.enum(leadFunnelGroups).register(typeNames, { name: 'LeadFunnelGroup' }).optional();

export const leadFunnelInput = z.strictObject({
  ...question,
  interval,
  weekStart,
  groupBy: groupBy.meta({
    description:
      'Also return `groups`, the largest first, at most 1,000: by the present value of the lead, or by its `stage` at `asOf`. The empty key stands for leads without a value. `country` needs the scope `customers:pii`.',
    example: 'source',
  }),
});

export const leadFunnelLists = [
  'untouched',
  'never_touched',
  'under_qualified',
  'unanswered',
  'converted',
  'lost',
  ...leadStages.map((stage) => `stage_${stage}` as const),
] as const;
export type LeadFunnelList = (typeof leadFunnelLists)[number];

export const leadFunnelList = z.enum(leadFunnelLists).meta({
  id: 'LeadFunnelList',
  description:
    'Which leads: those that the value of the same name counts (`stage_lead`: `inLead`, `stage_former`: `lost`).',
  example: 'untouched',
});

export const leadFunnelMembersInput = z.strictObject({
  ...pageParameters,
  ...question,
  sort: sortParameter(['enteredAt'], '-enteredAt'),
  list: leadFunnelList,
  groupBy: groupBy.meta({ description: 'With `group`. `country` needs the scope `customers:pii`.', example: 'source' }),
  group: text(200, 0)
    .optional()
    .meta({ description: 'Only the group with this key; with `groupBy`.', example: 'fair' }),
});

export const leadFunnelMember = z
  .strictObject({
    lead,
    stage: leadStage.meta({ description: 'At `asOf`.' }),
    lossReason: lossReason.nullable().meta({ description: 'At `asOf`.' }),
    completeness: z
      .number()
      .meta({ description: 'Share of the profile fields that are filled in, 0–1.', example: 0.4 }),
    lastInteractionAt: instant.nullable().meta({ description: 'Before `asOf`.' }),
    daysSinceLastInteraction: smallInteger
      .nullable()
      .meta({ description: 'Calendar days in `timeZone`; null: there was none.' }),
    firstResponseAt: instant.nullable().meta({ description: 'After it entered and before `asOf`.' }),
    hoursToFirstResponse: z.number().nullable(),
    convertedAt: instant.nullable().meta({ description: 'When it first became a customer, before `asOf`.' }),
    daysToConversion: z.number().nullable().meta({ description: 'Of 24 hours.' }),
  })
  .meta({ id: 'LeadFunnelMember', description: 'A lead of the funnel, and the figures it is counted by.' });
export type LeadFunnelMember = z.output<typeof leadFunnelMember>;

export const leadFunnelMemberPage = pageOf(leadFunnelMember).meta({ id: 'LeadFunnelMemberPage' });
