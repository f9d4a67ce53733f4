import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { type LoyaltyRules, mostPoints } from '../../domain/loyalty-earning.ts';
import { parseDecimal } from '../../domain/money.ts';
import { isBefore } from '../../domain/period.ts';
import { problemType } from '../../platform/errors.ts';
import { typeNames } from '../../platform/type-names.ts';
import {
  text as boundedText,
  calendarDate,
  id,
  instant as instantText,
  positiveAmount,
  smallInteger,
} from '../../platform/values.ts';
import { customFields } from '../../records/custom-fields.ts';
import { instant, integer, json, key, recordId, text, version, words } from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';

export const programmeEnded = problemType('programme_ended', 409, 'The programme has ended');

export const programmeStatuses = ['draft', 'active', 'ended'] as const;
export type ProgrammeStatus = (typeof programmeStatuses)[number];
export const programmeStatus = z.enum(programmeStatuses).meta({
  id: 'LoyaltyProgrammeStatus',
  description: 'draft: never published. active: has members and earns. ended: earns nothing more.',
  example: 'active',
});

/** Members in `loyaltyRules` whose text is a number with at most so many decimal places: 0.1 + 0.2 is none with four. */
function decimal(max: number, places: number) {
  return z
    .number()
    .min(0)
    .max(max)
    .refine((value) => parseDecimal(String(value)).scale <= places, {
      error: `has more than ${places} decimal places`,
      params: { code: 'too_precise' },
    });
}

/** Points that one transaction moves at most. */
const points = z.int().min(1).max(mostPoints).register(typeNames, { name: 'SafeInt' });
const days = (min: number, max: number) => z.int().min(min).max(max);

const multiplier = decimal(100, 4).meta({ description: '0 to 100, at most 4 decimal places.', example: 1.5 });

export const loyaltyTierLevel = z
  .strictObject({
    key: z
      .string()
      .max(50)
      .regex(/^[a-z0-9][a-z0-9_-]*$/)
      .meta({
        description: 'The key that members, rewards and metrics refer to; it cannot change once published.',
        example: 'silver',
      }),
    name: boundedText(100).meta({ example: 'Silver' }),
    threshold: positiveAmount.meta({
      description: 'The qualifying amount that reaches it: minor units of the base currency, or points.',
      example: 50000,
    }),
    multiplier,
  })
  .meta({ id: 'LoyaltyTierLevel', description: 'A level: its threshold, and what orders earn on it.' });

const reachingOrder = z.enum(['former_tier', 'new_tier']).meta({
  id: 'LoyaltyReachingOrder',
  description: 'The tier that the order earns with that reaches a higher one: the one held before, or the one reached.',
  example: 'former_tier',
});

export const loyaltyTierRules = z
  .strictObject({
    basis: z.enum(['spend', 'points']).meta({
      id: 'LoyaltyTierBasis',
      description:
        'spend: net revenue of the orders that earn, minor units of the base currency. points: what these orders earned.',
      example: 'spend',
    }),
    windowDays: days(1, 3_650).meta({ description: 'Only orders of this many past days count.', example: 365 }),
    periodDays: days(1, 3_650).meta({
      description: 'How long a level above the first is held before it is reviewed.',
      example: 365,
    }),
    graceDays: days(0, 3_650).meta({
      description: 'How long a level is kept when it is no longer reached.',
      example: 60,
    }),
    reachingOrder,
    levels: z.array(loyaltyTierLevel).min(1).max(20).meta({
      description: 'By threshold, ascending; the first threshold is 0. Keys are unique.',
    }),
  })
  .meta({
    id: 'LoyaltyTierRules',
    description:
      'Levels of membership. Members move up with the order that reaches a level, as of when it was placed, and down at the end of a period and its grace.',
  });

const loyaltyTierRulesInput = loyaltyTierRules
  .extend({ reachingOrder: reachingOrder.optional().meta({ description: 'Default: former_tier.' }) })
  .meta({ id: 'LoyaltyTierRulesInput', description: 'Levels of membership.' });

export const loyaltyCategoryRule = z
  .strictObject({ category: boundedText(100), multiplier })
  .meta({ id: 'LoyaltyCategoryRule', description: 'The multiplier of the lines of a category.' });

export const loyaltyCampaignRule = z
  .strictObject({
    name: boundedText(100),
    from: instantText.meta({ description: 'Orders placed at or after this …' }),
    to: instantText.meta({ description: '… and before this.' }),
    campaignId: id.nullable().optional().meta({ description: 'Only orders with this campaign. Default: all orders.' }),
    multiplier,
  })
  .meta({
    id: 'LoyaltyCampaignRule',
    description: 'A period in which orders earn more. Overlapping campaigns are multiplied.',
  });

export const loyaltyPurchaseBonus = z
  .strictObject({
    count: z.int().min(1).max(10_000).meta({ description: 'Qualifying orders since joining.', example: 5 }),
    points,
  })
  .meta({ id: 'LoyaltyPurchaseBonus', description: 'Points for the nth purchase.' });

export const loyaltyReferralBonus = z
  .strictObject({
    referrer: z
      .int()
      .min(0)
      .max(mostPoints)
      .register(typeNames, { name: 'SafeInt' })
      .meta({ description: 'For the member who referred another.', example: 200 }),
    referee: z
      .int()
      .min(0)
      .max(mostPoints)
      .register(typeNames, { name: 'SafeInt' })
      .meta({ description: 'For the referred customer.', example: 100 }),
  })
  .meta({
    id: 'LoyaltyReferralBonus',
    description: 'Points for both, with the first qualifying order of the referred.',
  });

export const loyaltyBonuses = z
  .strictObject({
    welcome: points.nullable().optional().meta({ description: 'At enrolment.', example: 50 }),
    birthday: points.nullable().optional().meta({
      description: 'On each birthday; 29 February counts as the 28th in common years.',
      example: 100,
    }),
    anniversary: points.nullable().optional().meta({ description: 'On each anniversary of joining.', example: 100 }),
    purchase: loyaltyPurchaseBonus.nullable().optional(),
    referral: loyaltyReferralBonus.nullable().optional(),
  })
  .meta({
    id: 'LoyaltyBonuses',
    description: 'Points besides those of orders. A bonus that is omitted or null is not given.',
  });

const pointRounding = z.enum(['down', 'half_up', 'up']).meta({
  id: 'PointRounding',
  description: 'Of the points of an order, once, after all multipliers.',
  example: 'down',
});
const earnOn = z.enum(['paid', 'fulfilled']).meta({
  id: 'LoyaltyEarnOn',
  description: 'When an order earns: its `paymentStatus` is paid, or its `fulfillmentStatus` is fulfilled.',
  example: 'paid',
});
const refundPolicy = z.enum(['only_pending', 'within_balance', 'allow_negative']).meta({
  id: 'LoyaltyRefundPolicy',
  description:
    'Which points are taken back when an order is refunded, cancelled or reduced. only_pending: those that are still pending. within_balance: at most the balance. allow_negative: all of them; the member owes what is missing.',
  example: 'within_balance',
});

const tierOnRefund = z.enum(['recompute', 'keep']).meta({
  id: 'LoyaltyTierOnRefund',
  description:
    'What happens to tiers when orders are refunded, sent back, cancelled, edited or deleted. recompute: tiers are those of the orders as they are now. keep: what an order has counted for tiers goes on counting.',
  example: 'recompute',
});
const expiryUnit = z.enum(['day', 'month', 'year']).meta({ id: 'LoyaltyExpiryUnit', example: 'month' });

const ruleMembers = {
  pointsPerUnit: decimal(1_000_000, 4).meta({
    description: 'Points for one major unit of the base currency; at most 4 decimal places.',
    example: 1,
  }),
  rounding: pointRounding,
  earnOn,
  pendingDays: days(0, 365).meta({
    description: 'Days (of 24 hours) after the order until its points can be spent.',
    example: 14,
  }),
  expiryDays: days(1, 36_500).nullable().meta({
    description:
      'Days after the order until its points expire, more than `pendingDays`; null: never, unless `expiresOn` or `expiresAtEndOf` says when.',
    example: 730,
  }),
  expiresOn: calendarDate.nullable().meta({
    description:
      'The last day on which points can be spent, in the reporting time zone, instead of `expiryDays`. Points that are earned later expire at once: publish other rules before.',
    example: '2027-03-31',
  }),
  expiresAtEndOf: expiryUnit.nullable().meta({
    description:
      'Points last to the end of the local day, month or year in which they would expire; without `expiryDays`, in which they can be spent from.',
    example: 'month',
  }),
  refundPolicy,
  tierOnRefund,
  includeShipping: z.boolean().meta({ description: 'Whether shipping earns points.', example: true }),
  includeFees: z.boolean().meta({ description: 'Whether fees earn points.', example: true }),
  categories: z.array(loyaltyCategoryRule).max(500).meta({ description: 'Each category once; all others × 1.' }),
  campaigns: z.array(loyaltyCampaignRule).max(100),
  tiers: loyaltyTierRules.nullable().meta({ description: 'null: no levels.' }),
  bonuses: loyaltyBonuses,
  pointValue: decimal(1_000_000, 6).meta({
    description: 'What a point is worth when it is spent, minor units of the base currency; at most 6 decimal places.',
    example: 0.5,
  }),
};

const rulesExample = {
  pointsPerUnit: 1,
  rounding: 'down',
  earnOn: 'paid',
  pendingDays: 14,
  expiryDays: 730,
  expiresOn: null,
  expiresAtEndOf: null,
  refundPolicy: 'within_balance',
  tierOnRefund: 'recompute',
  includeShipping: true,
  includeFees: true,
  categories: [{ category: 'Gift cards', multiplier: 0 }],
  campaigns: [
    {
      name: 'Double points in advent',
      from: '2026-11-29T00:00:00.000Z',
      to: '2026-12-25T00:00:00.000Z',
      multiplier: 2,
    },
  ],
  tiers: {
    basis: 'spend',
    windowDays: 365,
    periodDays: 365,
    graceDays: 60,
    reachingOrder: 'former_tier',
    levels: [
      { key: 'basic', name: 'Basic', threshold: 0, multiplier: 1 },
      { key: 'silver', name: 'Silver', threshold: 50000, multiplier: 1.25 },
    ],
  },
  bonuses: { welcome: 50, purchase: { count: 5, points: 250 } },
  pointValue: 0.5,
} satisfies LoyaltyRules;

export const loyaltyRules = z.strictObject(ruleMembers).meta({
  id: 'LoyaltyRules',
  description:
    'Points of an order = round(net revenue in major units of the base currency × `pointsPerUnit` × multiplier of the tier held when it was placed × those of all campaigns that apply × the mean of the multipliers of its lines, weighted by what is left of them after negative lines, refunds and returns). Shipping and fees count with the mean that the whole order had.',
  example: rulesExample,
});

export const loyaltyRulesInput = z
  .strictObject({
    ...ruleMembers,
    rounding: pointRounding.optional().meta({ description: 'Default: down.' }),
    earnOn: earnOn.optional().meta({ description: 'Default: paid.' }),
    pendingDays: ruleMembers.pendingDays.optional(),
    expiryDays: ruleMembers.expiryDays.optional(),
    expiresOn: ruleMembers.expiresOn.optional(),
    expiresAtEndOf: ruleMembers.expiresAtEndOf.optional(),
    refundPolicy: refundPolicy.optional().meta({ description: 'Default: within_balance.' }),
    tierOnRefund: tierOnRefund.optional().meta({ description: 'Default: recompute.' }),
    includeShipping: ruleMembers.includeShipping.optional().meta({ description: 'Default: true.' }),
    includeFees: ruleMembers.includeFees.optional().meta({ description: 'Default: true.' }),
    categories: ruleMembers.categories.optional(),
    campaigns: ruleMembers.campaigns.optional(),
    tiers: loyaltyTierRulesInput.nullable().optional().meta({ description: 'null: no levels.' }),
    bonuses: loyaltyBonuses.optional(),
  })
  .superRefine((rules, check) => {
    for (const { path, code, message } of ruleFaults(rules)) {
      check.addIssue({ code: 'custom', path, message, params: { code } });
    }
  })
  .meta({
    id: 'LoyaltyRulesInput',
    description:
      'The rules of a programme. By default points can be spent at once and never expire, and there are no categories, campaigns, tiers or bonuses.',
    example: rulesExample,
  });
type LoyaltyRulesInput = z.output<typeof loyaltyRulesInput>;

interface RuleFault {
  path: (string | number)[];
  code: string;
  message: string;
}

/** What no single member is wrong about. */
function ruleFaults({
  pendingDays = 0,
  expiryDays,
  expiresOn,
  expiresAtEndOf,
  categories,
  campaigns,
  tiers,
}: LoyaltyRulesInput): RuleFault[] {
  const faults: RuleFault[] = [];
  if (expiresOn != null && (expiryDays != null || expiresAtEndOf != null)) {
    faults.push({
      path: ['expiresOn'],
      code: 'two_expiries',
      message: 'Points expire on a date, or some days after they were earned: leave out expiryDays and expiresAtEndOf.',
    });
  }
  if (typeof expiryDays === 'number' && expiryDays <= pendingDays) {
    faults.push({
      path: ['expiryDays'],
      code: 'not_after_pending',
      message: 'Points would expire before they can be spent: send more than pendingDays.',
    });
  }
  for (const index of repeated((categories ?? []).map(({ category }) => category))) {
    faults.push({ path: ['categories', index, 'category'], code: 'duplicate', message: 'Given more than once.' });
  }
  for (const [index, { from, to }] of (campaigns ?? []).entries()) {
    if (isBefore(from, to)) continue;
    faults.push({ path: ['campaigns', index, 'to'], code: 'not_after_from', message: 'Must be after `from`.' });
  }
  const levels = tiers?.levels ?? [];
  for (const index of repeated(levels.map(({ key }) => key))) {
    faults.push({ path: ['tiers', 'levels', index, 'key'], code: 'duplicate', message: 'Given more than once.' });
  }
  for (const [index, { threshold }] of levels.entries()) {
    const before = levels[index - 1]?.threshold;
    if (before === undefined ? threshold === 0 : threshold > before) continue;
    faults.push({
      path: ['tiers', 'levels', index, 'threshold'],
      code: before === undefined ? 'not_zero' : 'not_ascending',
      message:
        before === undefined
          ? 'The threshold of the first level must be 0.'
          : 'Must be above the threshold of the previous level.',
    });
  }
  return faults;
}

/** Where something stands that stood before. */
function repeated(values: readonly string[]): number[] {
  const seen = new Set<string>();
  return values.flatMap((value, index) => {
    const again = seen.has(value);
    seen.add(value);
    return again ? [index] : [];
  });
}

/** The whole document, with what was left out filled in. */
export function completeRules(given: LoyaltyRulesInput): z.output<typeof loyaltyRules> {
  return {
    pointsPerUnit: given.pointsPerUnit,
    rounding: given.rounding ?? 'down',
    earnOn: given.earnOn ?? 'paid',
    pendingDays: given.pendingDays ?? 0,
    expiryDays: given.expiryDays ?? null,
    expiresOn: given.expiresOn ?? null,
    expiresAtEndOf: given.expiresAtEndOf ?? null,
    refundPolicy: given.refundPolicy ?? 'within_balance',
    tierOnRefund: given.tierOnRefund ?? 'recompute',
    includeShipping: given.includeShipping ?? true,
    includeFees: given.includeFees ?? true,
    categories: given.categories ?? [],
    campaigns: given.campaigns ?? [],
    tiers: given.tiers ? { ...given.tiers, reachingOrder: given.tiers.reachingOrder ?? 'former_tier' } : null,
    bonuses: given.bonuses ?? {},
    pointValue: given.pointValue,
  };
}

const programmeExample = { name: 'Friends of the garden', rules: rulesExample };

/** What clients keep with programmes. */
export const customMembers = customFields({ personal: false });

export const programmeFields = {
  id: key(),
  name: text(200).plain().required().says('Name shown to members.', programmeExample.name),
  status: words(programmeStatus).required().readOnly(),
  rules: json(loyaltyRules)
    .plain()
    .required()
    .takes(loyaltyRulesInput)
    .answers(loyaltyRules.meta({ description: 'The draft. Only published rules are in force.' })),
  endedAt: instant().readOnly().says('From then on nothing is earned; points earned before can still be spent.'),
  ...customMembers,
  version: version(),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/**
 * A loyalty programme. `rules` is the document being worked on; publishing freezes it as the next version, and what is
 * earned is earned by the version in force when the order was placed.
 */
export const loyaltyProgrammes = storedTable('loyalty_programmes', {
  name: 'loyaltyProgrammes',
  label: 'Loyalty programmes',
  access: 'configuration',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'loyalty_programme' },
  fields: programmeFields,
  extras: (t) => [index('loyalty_programmes_created').on(t.createdAt, t.id)],
});

const versionNumber = smallInteger.min(1).meta({ description: '1, 2, 3 … in the order of publication.', example: 2 });

const versionFields = {
  programmeId: recordId()
    .required()
    .readOnly()
    .references(() => loyaltyProgrammes.id),
  number: integer(1, 2_147_483_647).required().readOnly().answers(versionNumber),
  rules: json(loyaltyRules).plain().required().readOnly(),
  validFrom: instant().required().readOnly().says('In force from here until the next version is.'),
  publishedAt: instant().required().readOnly(),
  publishedBy: text(200).plain().required().readOnly().says('The client that published it.'),
};

/** The published rules, never changed again. The one in force at t: the latest with `validFrom` ≤ t. */
export const loyaltyProgrammeVersions = storedTable('loyalty_programme_versions', {
  name: 'loyaltyProgrammeVersions',
  label: 'Published rules of loyalty programmes',
  access: 'configuration',
  nature: 'fact',
  owner: null,
  key: ['programmeId', 'number'],
  guard: null,
  feed: { of: 'loyalty_programme', by: 'programmeId' },
  fields: versionFields,
});

export const loyaltyProgrammeInput = z
  .strictObject(inputShape(programmeFields))
  .meta({ id: 'LoyaltyProgrammeInput', description: 'A draft of a programme.', example: programmeExample });

export const loyaltyProgrammePatch = z.strictObject(inputShape(programmeFields)).partial().meta({
  id: 'LoyaltyProgrammePatch',
  description: 'The rules are replaced as a whole, and change nothing until they are published.',
  example: programmeExample,
});

export const loyaltyPublication = z
  .strictObject({
    validFrom: instantText.optional().meta({
      description:
        'Orders placed from then on earn by these rules. A first version may start in the past; a later one may not, nor before the previous one. Default: now.',
    }),
  })
  .meta({ id: 'LoyaltyPublication', example: { validFrom: '2026-12-01T00:00:00.000Z' } })
  .register(typeNames, { name: 'LoyaltyPublicationInput' });

export const loyaltyProgramme = z
  .strictObject({
    ...outputShape(programmeFields),
    currentVersion: z
      .strictObject({ number: versionNumber, validFrom: instantText })
      .meta({ id: 'LoyaltyCurrentVersion' })
      .nullable()
      .meta({ description: 'The version in force now; null: none is yet.' }),
  })
  .meta({ id: 'LoyaltyProgramme', description: 'A loyalty programme with its draft rules.' });
export type LoyaltyProgramme = z.output<typeof loyaltyProgramme>;

export const loyaltyProgrammeVersion = z
  .strictObject(outputShape(versionFields))
  .meta({ id: 'LoyaltyProgrammeVersion', description: 'Published rules, which never change again.' });
