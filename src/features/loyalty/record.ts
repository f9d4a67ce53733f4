import { sql } from 'drizzle-orm';
import { index, uniqueIndex } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { mostPoints } from '../../domain/loyalty-earning.ts';
import { problemType } from '../../platform/errors.ts';
import { maskedForScoped } from '../../platform/masked-fields.ts';
import { typeNames } from '../../platform/type-names.ts';
import { text as boundedText, id, instant as instantText, smallInteger } from '../../platform/values.ts';
import { created } from '../../platform/versions.ts';
import {
  boolean,
  code,
  count,
  date,
  instant,
  integer,
  key,
  money,
  otherCustomer,
  ownerId,
  recordId,
  smallint,
  text,
  version,
  words,
} from '../../records/fields.ts';
import { referenceInput } from '../../records/references/record.ts';
import { outputShape, storedTable } from '../../records/table.ts';
import { customers } from '../customers/record.ts';
import { loyaltyProgrammes, loyaltyTierRules } from '../loyalty-programmes/record.ts';

export const insufficientPoints = problemType('insufficient_points', 422, 'There are not enough points');

export const loyaltyTransactionKinds = [
  'earn',
  'bonus',
  'spend',
  'redeem',
  'return',
  'expire',
  'reverse',
  'adjust',
  'transfer_out',
  'transfer_in',
] as const;
export type LoyaltyTransactionKind = (typeof loyaltyTransactionKinds)[number];
export const loyaltyTransactionKind = z.enum(loyaltyTransactionKinds).meta({
  id: 'LoyaltyTransactionKind',
  description:
    'earn: by an order. bonus: welcome, birthday, anniversary, purchase milestone, referral. spend, redeem: used. return: a use undone. expire. reverse: order points taken back. adjust: by hand. transfer_out, transfer_in: between members.',
  example: 'earn',
});
export const tierChangeReasons = ['enrolment', 'upgrade', 'renewal', 'grace', 'downgrade', 'manual'] as const;
export type TierChangeReason = (typeof tierChangeReasons)[number];
export const tierChangeReason = z.enum(tierChangeReasons).meta({
  id: 'TierChangeReason',
  description:
    'enrolment: the first tier. upgrade: reached by an order. grace: no longer reached, but kept for a while. renewal: kept for another period. downgrade: lost. manual: set by hand.',
  example: 'upgrade',
});

const memberFields = {
  customerId: ownerId(() => customers.id),
  programmeId: recordId()
    .required()
    .readOnly()
    .references(() => loyaltyProgrammes.id),
  joinedAt: instant().required().readOnly().lifeSign(),
  /** The local date of `joinedAt` in the reporting zone: anniversaries are calendar days. */
  joinedOn: date().plain().required().internal(),
  tier: text(50).plain().readOnly().says('Key of a level; null: the programme has no tiers.', 'gold'),
  tierSince: instant().readOnly(),
  tierEndsAt: instant()
    .readOnly()
    .says('When the period, or the grace after it, ends and the tier is reviewed; null: never.'),
  tierInGrace: boolean().required().readOnly().says('The level is kept although it is no longer reached.'),
  /** While the tier is one set by hand: the level that orders had reached then. */
  tierByHand: text(50).plain().internal(),
  active: count()
    .required()
    .readOnly()
    .says('Points that can be spent; negative while more points are owed than there are.', 1250),
  pending: count().required().readOnly().says('Points that are earned and become active later.', 80),
  /** Taken back when there were none left (`allow_negative`). */
  debt: count()
    .required()
    .readOnly()
    .says('Points owed, ≥ 0, already subtracted from `active`; the next points earned pay them.'),
  settledAt: instant().required().internal(),
  /** An order that was placed later changes nothing of what came before. null: not known; all is replayed. */
  replayedTo: instant().internal(),
  /** null: nothing changes by itself. */
  nextAt: instant().internal(),
  /** Whether the member who referred this one has the bonus for it. */
  referralRewarded: boolean().required().internal(),
  version: version(),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/**
 * A member of a loyalty programme: at most one per customer. Changes under the customer's lock. `active`, `pending` and
 * `debt` are derived: what the ledger says at `settledAt`, and until `nextAt`, when a lot becomes active or expires or
 * a tier period ends.
 */
export const loyaltyAccounts = storedTable('loyalty_accounts', {
  name: 'loyaltyAccount',
  label: 'Loyalty account',
  access: 'owner',
  nature: 'profile',
  owner: 'customerId',
  key: ['customerId'],
  guard: 'loyalty account',
  feed: { kind: 'loyalty_account', read: 'getCustomerLoyalty' },
  merge: 'rewrite',
  fields: memberFields,
  extras: (t) => [
    index('loyalty_accounts_joined').on(t.programmeId, t.joinedAt, t.customerId),
    index('loyalty_accounts_tier').on(t.programmeId, t.tier, t.customerId),
    index('loyalty_accounts_due').on(t.nextAt),
    // Anniversaries of a day.
    index('loyalty_accounts_joined_day').on(sql`(extract(month from joined_on) * 100 + extract(day from joined_on))`),
  ],
});

/** Of the keys of bonuses, the one that says who was referred. */
export function namesReferral(bonusKey: string): boolean {
  return bonusKey.startsWith('referral:');
}

const bonusKey = (description: string) =>
  code(255)
    .plain()
    .readOnly()
    .namesCustomer()
    .answers(maskedForScoped(z.string().nullable().meta({ description }), namesReferral));

export const transactionFields = {
  id: key(),
  customerId: ownerId(() => loyaltyAccounts.customerId),
  kind: words(loyaltyTransactionKind).required().readOnly(),
  points: count().required().readOnly().says('Signed.', -500),
  at: instant()
    .required()
    .readOnly()
    .happened()
    .says('When it took effect: the date of the order or the occasion, of the expiry, or when it was done.'),
  /** It may be gone. */
  orderId: recordId().readOnly().says('The order that earned or lost them, or that was paid with them.'),
  entitled: count().readOnly().says('The points that the order or bonus is entitled to from then on.'),
  lapsed: count().required().readOnly().says('The part of the points to take back that had expired before.'),
  waived: count().required().readOnly().says('The part of the points to take back that the refund policy waives.'),
  /** What makes a bonus unique. */
  bonusKey: bonusKey('`welcome`, `birthday:2026`, `anniversary:3`, `purchase:5`, `referral:<customer>`.'),
  redemptionId: recordId().readOnly(),
  relatedId: recordId()
    .readOnly()
    .answers(
      maskedForScoped(id.nullable().meta({ description: 'The other side of a transfer, or what a `return` undoes.' })),
    ),
  relatedCustomerId: otherCustomer()
    .replacedByHand() // with the bonus key that holds it
    .readOnly(),
  reason: text(500).personal().readOnly(),
  by: text(255).plain().required().readOnly().says('The client that requested it, or the rule that made it.'),
  /** Repeated, it is not done again. */
  externalId: code(255).plain().readOnly().says('The reference of that client for it.'),
  createdAt: instant().required().readOnly(),
};

/** What happened to points; append-only. `points` is the sum of its entries. */
export const loyaltyTransactions = storedTable('loyalty_transactions', {
  name: 'loyaltyTransactions',
  label: 'Points',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'id'],
  guard: 'points transaction',
  feed: { kind: 'loyalty_transaction' },
  merge: 'rewrite',
  // Not what happens by itself: points that are earned, expire or are given for a birthday.
  isLifeSign: (since) =>
    sql`f.kind in ('spend', 'redeem', 'return', 'adjust', 'transfer_out', 'transfer_in') and ${since('at')}`,
  timeline: {
    kind: 'loyalty_transaction',
    scope: 'loyalty:read',
    members: ['kind', 'points', 'orderId', 'redemptionId', 'bonusKey', 'reason'],
  },
  fields: transactionFields,
  extras: (t) => [
    index('loyalty_transactions_id').on(t.id),
    index('loyalty_transactions_customer_at').on(t.customerId, t.at, t.id),
    index('loyalty_transactions_created').on(t.createdAt, t.id),
    index('loyalty_transactions_order').on(t.orderId, t.customerId).where(sql`order_id is not null`),
    index('loyalty_transactions_bonus').on(t.customerId, t.bonusKey).where(sql`bonus_key is not null`),
    uniqueIndex('loyalty_transactions_external')
      .on(t.customerId, t.by, t.externalId)
      .where(sql`external_id is not null`),
    uniqueIndex('loyalty_transactions_undone').on(t.customerId, t.relatedId).where(sql`kind = 'return'`),
  ],
});

/*
 * Lots, postings and entitlements have no foreign key: they are written in one statement with the account, under its
 * customer's lock, and a check of each would be a fifth of what that costs.
 */

const lotFields = {
  customerId: ownerId().hidden(),
  id: key(),
  transactionId: recordId().required().readOnly().says('What credited it.'),
  points: count().required().readOnly().says('Points.'),
  remaining: count().required().readOnly().says('Points that are left.'),
  earnedAt: instant().required().readOnly(),
  activeAt: instant().required().readOnly().says('From then on they can be spent.'),
  expiresAt: instant().readOnly().says('From then on they cannot any more; null: never.'),
  orderId: recordId().readOnly().says('The order it belongs to.'),
  bonusKey: bonusKey('The bonus it belongs to.'),
};

/** Every credit is a lot. Append-only but for `remaining`, which is derived: the sum of its entries. */
export const loyaltyLots = storedTable('loyalty_lots', {
  name: 'loyaltyLots',
  label: 'Lots of points',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'id'],
  guard: 'points lot',
  feed: 'none',
  merge: 'rewrite',
  fields: lotFields,
  extras: (t) => [
    index('loyalty_lots_live').on(t.customerId).where(sql`remaining > 0`),
    index('loyalty_lots_expiring').on(t.expiresAt).where(sql`remaining > 0 and expires_at is not null`),
  ],
});

const entryFields = {
  customerId: ownerId().hidden(),
  transactionId: recordId().required().internal(),
  line: smallint(1, 32_767).required().internal(),
  lotId: recordId().readOnly().says('null: the debt.'),
  points: count().required().readOnly().says('Signed.'),
  at: instant().required().readOnly(),
};

/** The postings, append-only: signed points of a lot, or of the debt (no lot), from `at` on. */
export const loyaltyEntries = storedTable('loyalty_entries', {
  name: 'loyaltyEntries',
  label: 'Postings of points',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'transactionId', 'line'],
  guard: 'points posting',
  feed: 'none',
  merge: 'rewrite',
  fields: entryFields,
  extras: (t) => [index('loyalty_entries_lot').on(t.customerId, t.lotId)],
});

/**
 * What each order of a member is entitled to; derived from the orders, the returns and the rules. By rules that keep tiers
 * (`tierOnRefund`), what counts for tiers never falls: that part is a fact.
 */
export const loyaltyEarnings = storedTable('loyalty_earnings', {
  name: 'loyaltyEarnings',
  label: 'What orders are entitled to',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'orderId'],
  guard: 'points entitlement',
  feed: 'none',
  merge: 'rewrite',
  fields: {
    customerId: ownerId().hidden(),
    orderId: recordId().required().internal(),
    placedAt: instant().required().internal(),
    entitled: count().required().internal(),
    /** What counts for tiers by spend and by points; 0 while the order does not earn. */
    spend: money().required().inBaseCurrency().internal(),
    tierPoints: count().required().internal(),
    /** The tier that it earns with. */
    tier: text(50).plain().internal(),
  },
  extras: (t) => [index('loyalty_earnings_window').on(t.customerId, t.placedAt)],
});

const tierChangeFields = {
  customerId: ownerId(() => loyaltyAccounts.customerId),
  sequence: integer(1, 2_147_483_647).required().readOnly().says('1, 2, 3 … per member.'),
  at: instant().required().readOnly(),
  previous: text(50).plain().readOnly().says('null: the first.'),
  tier: text(50).plain().required().readOnly(),
  reason: words(tierChangeReason).required().readOnly(),
  amount: count().required().readOnly().says('The amount that decided: minor units of the base currency, or points.'),
  endsAt: instant().readOnly().says('When it is reviewed; null: never.'),
  /** manual: the level that orders had reached. */
  reached: text(50).plain().internal(),
  note: text(500).personal().readOnly().says('Why it was set by hand.'),
  by: text(255).plain().readOnly().says('The client that set it by hand.'),
  createdAt: instant().required().internal(),
};

/**
 * Every change of a member's tier, as a replay of what is known comes to; only those made by hand are facts. In the order of
 * `sequence` the instants never go back.
 */
export const loyaltyTierChanges = storedTable('loyalty_tier_changes', {
  name: 'tierChanges',
  label: 'Tiers',
  access: 'owner',
  nature: 'fact',
  owner: 'customerId',
  key: ['customerId', 'sequence'],
  guard: 'tier change',
  feed: 'none',
  merge: 'rewrite',
  fields: tierChangeFields,
  extras: (t) => [index('loyalty_tier_changes_at').on(t.at, t.customerId)],
});

/** Points that one transaction may move. */
export const points = z
  .int()
  .min(1)
  .max(mostPoints)
  .register(typeNames, { name: 'SafeInt' })
  .meta({ description: 'Points.', example: 250 });
const signedPoints = z
  .int()
  .min(-mostPoints)
  .max(mostPoints)
  .refine((value) => value !== 0, { error: 'must not be 0', params: { code: 'nothing_to_move' } })
  .register(typeNames, { name: 'SafeInt' });

export const loyaltyMember = z
  .strictObject(outputShape(memberFields))
  .meta({ id: 'LoyaltyMember', description: 'A member of a loyalty programme, as of now.' });
export type LoyaltyMember = z.output<typeof loyaltyMember>;

export const loyaltyBalance = loyaltyMember
  .pick({ active: true, pending: true, debt: true })
  .meta({ id: 'LoyaltyBalance', description: 'Points of a member at one moment.' });
export type LoyaltyBalance = z.output<typeof loyaltyBalance>;

export const loyaltyLot = z
  .strictObject(outputShape(lotFields))
  .meta({ id: 'LoyaltyLot', description: 'Points that were credited together.' });

export const tierProgress = z
  .strictObject({
    basis: loyaltyTierRules.shape.basis,
    windowDays: smallInteger,
    amount: z.int().meta({ description: 'The amount that counts now: minor units of the base currency, or points.' }),
    next: z
      .strictObject({ key: z.string(), name: z.string(), threshold: z.int(), missing: z.int() })
      .nullable()
      .meta({ id: 'NextTier', description: 'The level above; null on the highest.' }),
    missingToKeep: z.int().nullable().meta({
      description:
        'The amount to add by `tierEndsAt` to keep the level; 0: enough already. null: there is no level to lose.',
    }),
  })
  .meta({ id: 'TierProgress', description: 'The way to the next tier, and what it takes to keep this one.' });
export type TierProgress = z.output<typeof tierProgress>;

export const customerLoyalty = loyaltyMember
  .omit({ createdAt: true, updatedAt: true })
  .extend({
    asOf: instantText,
    details: z
      .strictObject({
        programmeName: z.string(),
        worth: z.number().meta({
          description:
            'What the active points are worth, minor units of the base currency, unrounded; debt is worth 0.',
          example: 1250,
        }),
        progress: tierProgress.nullable().meta({ description: 'null: the programme has no tiers.' }),
        nextExpiry: z
          .strictObject({ at: instantText, points: z.int().meta({ description: 'Points.' }) })
          .nullable()
          .meta({ id: 'NextExpiry', description: 'The points that expire first; null: none do.' }),
        lots: z
          .array(loyaltyLot)
          .meta({ description: 'The lots of the points, in the order in which they are spent; at most 100.' }),
      })
      .nullable()
      .meta({ id: 'LoyaltyDetails', description: 'With `details=true`; null unless asked for.' }),
  })
  .meta({ id: 'CustomerLoyalty', description: 'The loyalty account of a customer at `asOf`.' });
export const writtenCustomerLoyalty = customerLoyalty.extend({ created }).meta({ id: 'WrittenCustomerLoyalty' });
export type CustomerLoyalty = z.output<typeof customerLoyalty>;

export const loyaltyEntry = z
  .strictObject(outputShape(entryFields))
  .meta({ id: 'LoyaltyEntry', description: 'A posting: points of a lot, or of the debt, from `at` on.' });

export const loyaltyTransaction = z
  .strictObject({
    ...outputShape(transactionFields),
    entries: z
      .array(loyaltyEntry)
      .nullable()
      .meta({ description: 'The postings, which add up to `points`; null in lists.' }),
    balance: loyaltyBalance
      .nullable()
      .meta({ description: 'The account after it; null unless this call made the transaction.' }),
  })
  .meta({ id: 'LoyaltyTransaction', description: 'A change of points; it never changes afterwards.' });
export type LoyaltyTransaction = z.output<typeof loyaltyTransaction>;

export const writtenLoyaltyTransaction = loyaltyTransaction
  .extend({ created })
  .meta({ id: 'WrittenLoyaltyTransaction' });

export const tierChange = z
  .strictObject(outputShape(tierChangeFields))
  .meta({ id: 'TierChange', description: 'A change of the tier of a member.' });

export const tierSetting = z
  .strictObject({
    tier: boundedText(50).meta({ description: 'Key of a level of the version in force.', example: 'gold' }),
    reason: boundedText(500).meta({
      description: 'Why; it is kept with the change.',
      example: 'Carried over from our old programme.',
    }),
    until: instantText.nullable().optional().meta({
      description:
        'When the tier is reviewed, in the future. Default: after the period of the rules; the first level has no end.',
      example: '2027-01-01T00:00:00.000Z',
    }),
  })
  .meta({ id: 'LoyaltyTierSetting', example: { tier: 'gold', reason: 'Carried over from our old programme.' } })
  .register(typeNames, { name: 'LoyaltyTierSettingInput' });

export const enrolment = z
  .strictObject({
    programmeId: id,
    joinedAt: instantText.optional().meta({
      description: 'Orders placed from then on earn. At most ten minutes ahead, which counts as now. Default: now.',
    }),
  })
  .meta({ id: 'LoyaltyEnrolment', example: { programmeId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' } })
  .register(typeNames, { name: 'LoyaltyEnrolmentInput' });

export const askedTransactionKinds = ['spend', 'adjust', 'transfer'] as const;
export const loyaltyTransactionInput = z
  .strictObject({
    kind: z.enum(askedTransactionKinds).meta({
      id: 'AskedLoyaltyTransactionKind',
      description: 'spend: points are used. adjust: credited or taken by hand. transfer: given to another member.',
    }),
    customerId: id.optional(),
    customer: referenceInput.optional().meta({ description: 'Instead of `customerId`: a reference of the customer.' }),
    points: signedPoints.meta({
      description: 'More than 0; for `adjust`, a negative number takes points.',
      example: 500,
    }),
    reason: boundedText(500).nullable().optional().meta({ description: 'Required for `adjust`.' }),
    orderId: id.nullable().optional().meta({ description: 'spend: the order of the customer that is paid with it.' }),
    toCustomerId: id.nullable().optional().meta({ description: 'transfer: a member of the same programme.' }),
    expiresAt: instantText.nullable().optional().meta({
      description:
        'For an `adjust` that credits points; null: they never expire. Default: by the rules of the programme.',
    }),
    externalId: referenceInput.shape.externalId.optional().meta({
      description:
        'Your reference for it, unique per customer: the transaction is done only once. Required in a batch.',
    }),
  })
  .meta({
    id: 'LoyaltyTransactionInput',
    example: {
      kind: 'spend',
      customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90',
      points: 500,
      externalId: 'till-7-20260301-0042',
    },
  });
export type LoyaltyTransactionInput = z.output<typeof loyaltyTransactionInput>;
