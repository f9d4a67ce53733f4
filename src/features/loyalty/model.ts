import { sql } from 'drizzle-orm';
import {
  boolean,
  date,
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
import { mostPoints } from '../../domain/loyalty-earning.ts';
import { amount as amountColumn, code, instant as instantColumn } from '../../platform/db/columns.ts';
import { personal } from '../../platform/personal.ts';
import { id, instant, text, version } from '../../platform/values.ts';
import { created } from '../../platform/versions.ts';
import { ofOthers } from '../../platform/withheld.ts';
import { referenceInput } from '../../records/references/record.ts';
import { customers } from '../customers/record.ts';
import { loyaltyProgrammes, loyaltyTierRules } from '../loyalty-programmes/model.ts';

/**
 * A member of a loyalty programme: at most one per customer. Changes under the customer's lock. `active`, `pending` and
 * `debt` are derived: what the ledger says at `settledAt`, and until `nextAt`, when a lot becomes active or expires or
 * a tier period ends.
 */
export const loyaltyAccounts = pgTable(
  'loyalty_accounts',
  {
    customerId: uuid('customer_id')
      .primaryKey()
      .references(() => customers.id),
    programmeId: uuid('programme_id')
      .notNull()
      .references(() => loyaltyProgrammes.id),
    version: integer('version').notNull(),
    joinedAt: instantColumn('joined_at').notNull(),
    /** The local date of `joinedAt` in the reporting zone: anniversaries are calendar days. */
    joinedOn: date('joined_on').notNull(),
    /** Key of a level of the programme; null: the programme has no tiers. */
    tier: textColumn('tier'),
    tierSince: instantColumn('tier_since'),
    /** End of the period, or of the grace after it; null: nothing to lose. */
    tierEndsAt: instantColumn('tier_ends_at'),
    tierInGrace: boolean('tier_in_grace').notNull(),
    active: amountColumn('active').notNull(),
    pending: amountColumn('pending').notNull(),
    /** Points owed, ≥ 0: taken back when there were none left (`allow_negative`); the next ones earned pay it. */
    debt: amountColumn('debt').notNull(),
    settledAt: instantColumn('settled_at').notNull(),
    /** null: nothing changes by itself. */
    nextAt: instantColumn('next_at'),
    /** Whether the member who referred this one has the bonus for it. */
    referralRewarded: boolean('referral_rewarded').notNull(),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [
    index('loyalty_accounts_joined').on(t.programmeId, t.joinedAt, t.customerId),
    index('loyalty_accounts_tier').on(t.programmeId, t.tier, t.customerId),
    index('loyalty_accounts_due').on(t.nextAt),
    // Anniversaries of a day.
    index('loyalty_accounts_joined_day').on(sql`(extract(month from joined_on) * 100 + extract(day from joined_on))`),
  ],
);

/** What happened to points; append-only. `points` is the sum of its entries. */
export const loyaltyTransactions = pgTable(
  'loyalty_transactions',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => loyaltyAccounts.customerId),
    id: uuid('id').notNull(),
    kind: textColumn('kind').$type<LoyaltyTransactionKind>().notNull(),
    points: amountColumn('points').notNull(),
    /** When it took effect: the order's date for what it earned, the expiry date for what expired, else when it was done. */
    at: instantColumn('at').notNull(),
    /** The order that earned or lost it; for `spend`, the order paid with it. It may be gone. */
    orderId: uuid('order_id'),
    /** Entitlement of the order or bonus after it; null for all other kinds. */
    entitled: amountColumn('entitled'),
    /** Of what a `reverse` had to take: expired before, and not taken by policy. */
    lapsed: amountColumn('lapsed').notNull(),
    waived: amountColumn('waived').notNull(),
    /** What makes a bonus unique: `welcome`, `birthday:2026`, `purchase:5`, `referral:<customer>`. */
    bonusKey: code('bonus_key'),
    redemptionId: uuid('redemption_id'),
    /** The other side of a transfer, or what a `return` undoes. */
    relatedId: uuid('related_id'),
    relatedCustomerId: uuid('related_customer_id'),
    reason: textColumn('reason'),
    /** The client that asked for it, or the rule that made it. */
    by: textColumn('by').notNull(),
    /** What that client calls it: repeated, it is not done again. */
    externalId: code('external_id'),
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
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
);

/*
 * Lots, postings and entitlements have no foreign key: they are written in one statement with the account, under its
 * customer's lock, and a check of each would be a fifth of what that costs.
 */

/** Of the keys of bonuses, the one that says who was referred. */
export function namesReferral(bonusKey: string): boolean {
  return bonusKey.startsWith('referral:');
}

/** Every credit is a lot. Append-only but for `remaining`, which is derived: the sum of its entries. */
export const loyaltyLots = pgTable(
  'loyalty_lots',
  {
    customerId: uuid('customer_id').notNull(),
    id: uuid('id').notNull(),
    transactionId: uuid('transaction_id').notNull(),
    points: amountColumn('points').notNull(),
    remaining: amountColumn('remaining').notNull(),
    earnedAt: instantColumn('earned_at').notNull(),
    activeAt: instantColumn('active_at').notNull(),
    /** null: never. */
    expiresAt: instantColumn('expires_at'),
    /** The order or bonus it belongs to. */
    orderId: uuid('order_id'),
    bonusKey: code('bonus_key'),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
    index('loyalty_lots_live').on(t.customerId).where(sql`remaining > 0`),
    index('loyalty_lots_expiring').on(t.expiresAt).where(sql`remaining > 0 and expires_at is not null`),
  ],
);

/** The postings, append-only: signed points of a lot, or of the debt (no lot), from `at` on. */
export const loyaltyEntries = pgTable(
  'loyalty_entries',
  {
    customerId: uuid('customer_id').notNull(),
    transactionId: uuid('transaction_id').notNull(),
    line: smallint('line').notNull(),
    lotId: uuid('lot_id'),
    points: amountColumn('points').notNull(),
    at: instantColumn('at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.transactionId, t.line] }),
    index('loyalty_entries_lot').on(t.customerId, t.lotId),
  ],
);

/** What each order of a member is entitled to; derived from the order, the rules and the frozen tier. */
export const loyaltyEarnings = pgTable(
  'loyalty_earnings',
  {
    customerId: uuid('customer_id').notNull(),
    orderId: uuid('order_id').notNull(),
    placedAt: instantColumn('placed_at').notNull(),
    entitled: amountColumn('entitled').notNull(),
    /** Minor units of the base currency that count for tiers; 0 while the order does not earn. */
    spend: amountColumn('spend').notNull(),
    /** The tier held when the order was first seen: later tiers do not change what it earns. */
    tier: textColumn('tier'),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.orderId] }),
    index('loyalty_earnings_window').on(t.customerId, t.placedAt),
  ],
);

/** Every change of a member's tier. In the order of `sequence` the instants never go back. */
export const loyaltyTierChanges = pgTable(
  'loyalty_tier_changes',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => loyaltyAccounts.customerId),
    /** 1, 2, 3 … per member. */
    sequence: integer('sequence').notNull(),
    at: instantColumn('at').notNull(),
    previous: textColumn('previous'),
    tier: textColumn('tier').notNull(),
    reason: textColumn('reason').$type<TierChangeReason>().notNull(),
    /** The amount that decided, points or minor units of the base currency. */
    amount: amountColumn('amount').notNull(),
    endsAt: instantColumn('ends_at'),
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.customerId, t.sequence] }), index('loyalty_tier_changes_at').on(t.at, t.customerId)],
);

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
export const tierChangeReasons = ['enrolment', 'upgrade', 'renewal', 'grace', 'downgrade'] as const;
export type TierChangeReason = (typeof tierChangeReasons)[number];
export const tierChangeReason = z.enum(tierChangeReasons).meta({ id: 'TierChangeReason', example: 'upgrade' });

/** Points that one transaction may move. */
export const points = z.int().min(1).max(mostPoints).meta({ description: 'Points.', example: 250 });
const signedPoints = z
  .int()
  .min(-mostPoints)
  .max(mostPoints)
  .refine((value) => value !== 0, { error: 'moves nothing', params: { code: 'nothing_to_move' } });
const count = z.int().meta({ description: 'Points.' });

const balanceMembers = {
  active: z.int().meta({
    description: 'Points that can be spent; negative while more points are owed than there are.',
    example: 1250,
  }),
  pending: z.int().meta({ description: 'Points that are earned and become active later.', example: 80 }),
  debt: z.int().meta({ description: 'Points owed, ≥ 0, which `active` is less: the next ones earned pay them.' }),
};
export const loyaltyBalance = z
  .strictObject(balanceMembers)
  .meta({ id: 'LoyaltyBalance', description: 'Points of a member at one moment.' });
export type LoyaltyBalance = z.output<typeof loyaltyBalance>;

export const loyaltyLot = z
  .strictObject({
    id,
    transactionId: id.meta({ description: 'What credited it.' }),
    points: count,
    remaining: z.int().meta({ description: 'What is left of them.' }),
    earnedAt: instant,
    activeAt: instant.meta({ description: 'From then on they can be spent.' }),
    expiresAt: instant.nullable().meta({ description: 'From then on they cannot any more; null: never.' }),
    orderId: id.nullable(),
    bonusKey: ofOthers(z.string().nullable(), namesReferral),
  })
  .meta({ id: 'LoyaltyLot', description: 'Points that were credited together.' });

export const tierProgress = z
  .strictObject({
    basis: loyaltyTierRules.shape.basis,
    windowDays: z.int(),
    amount: z.int().meta({ description: 'What counts now: minor units of the base currency, or points.' }),
    next: z
      .strictObject({ key: z.string(), name: z.string(), threshold: z.int(), missing: z.int() })
      .nullable()
      .meta({ id: 'NextTier', description: 'The level above; null on the highest.' }),
    missingToKeep: z.int().nullable().meta({
      description:
        'What has to be added by `tierEndsAt` to keep the level; 0: nothing. null: there is nothing to lose.',
    }),
  })
  .meta({ id: 'TierProgress', description: 'The way to the next tier, and what it takes to keep this one.' });
export type TierProgress = z.output<typeof tierProgress>;

const memberMembers = {
  customerId: id,
  programmeId: id,
  joinedAt: instant,
  tier: z
    .string()
    .nullable()
    .meta({ description: 'Key of a level; null: the programme has no tiers.', example: 'gold' }),
  tierSince: instant.nullable(),
  tierEndsAt: instant.nullable().meta({
    description: 'When the period, or the grace after it, ends and the tier is looked at again; null: never.',
  }),
  tierInGrace: z.boolean().meta({ description: 'The level is held on though it is no longer reached.' }),
  ...balanceMembers,
  version,
};

export const loyaltyMember = z
  .strictObject({ ...memberMembers, createdAt: instant, updatedAt: instant })
  .meta({ id: 'LoyaltyMember', description: 'A member of a loyalty programme, as of now.' });
export type LoyaltyMember = z.output<typeof loyaltyMember>;

export const customerLoyalty = z
  .strictObject({
    ...memberMembers,
    asOf: instant,
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
          .strictObject({ at: instant, points: count })
          .nullable()
          .meta({ id: 'NextExpiry', description: 'The points that expire first; null: none do.' }),
        lots: z
          .array(loyaltyLot)
          .meta({ description: 'What the points are made of: what is spent first comes first, 100 at most.' }),
      })
      .nullable()
      .meta({ id: 'LoyaltyDetails', description: 'With `details=true`; null unless asked for.' }),
  })
  .meta({ id: 'CustomerLoyalty', description: 'What a customer has in a loyalty programme at `asOf`.' });
export const writtenCustomerLoyalty = customerLoyalty.extend({ created }).meta({ id: 'WrittenCustomerLoyalty' });
export type CustomerLoyalty = z.output<typeof customerLoyalty>;

export const loyaltyEntry = z
  .strictObject({
    lotId: id.nullable().meta({ description: 'null: the debt.' }),
    points: z.int().meta({ description: 'Signed.' }),
    at: instant,
  })
  .meta({ id: 'LoyaltyEntry', description: 'A posting: points of a lot, or of the debt, from `at` on.' });

export const loyaltyTransaction = z
  .strictObject({
    id,
    customerId: id,
    kind: loyaltyTransactionKind,
    points: z.int().meta({ description: 'Signed.', example: -500 }),
    at: instant.meta({
      description: 'When it took effect: the date of the order or the occasion, of the expiry, or when it was done.',
    }),
    orderId: id.nullable().meta({ description: 'The order that earned or lost them, or that was paid with them.' }),
    entitled: z.int().nullable().meta({ description: 'What the order or bonus is entitled to from then on.' }),
    lapsed: z.int().meta({ description: 'Of what was to be taken back, what had expired before.' }),
    waived: z.int().meta({ description: 'Of what was to be taken back, what the refund policy lets go.' }),
    bonusKey: ofOthers(
      z
        .string()
        .nullable()
        .meta({ description: '`welcome`, `birthday:2026`, `anniversary:3`, `purchase:5`, `referral:<customer>`.' }),
      namesReferral,
    ),
    redemptionId: id.nullable(),
    relatedId: ofOthers(
      id.nullable().meta({ description: 'The other side of a transfer, or what a `return` undoes.' }),
    ),
    relatedCustomerId: ofOthers(id.nullable()),
    reason: personal(z.string()),
    by: z.string().meta({ description: 'The client that asked for it, or the rule that made it.' }),
    externalId: z.string().nullable().meta({ description: 'What that client calls it.' }),
    createdAt: instant,
    entries: z
      .array(loyaltyEntry)
      .nullable()
      .meta({ description: 'The postings, which add up to `points`; null in lists.' }),
    balance: loyaltyBalance
      .nullable()
      .meta({ description: 'What the member has after it; null unless it was made by this call.' }),
  })
  .meta({ id: 'LoyaltyTransaction', description: 'Something that happened to points; never changed afterwards.' });
export type LoyaltyTransaction = z.output<typeof loyaltyTransaction>;

export const writtenLoyaltyTransaction = loyaltyTransaction
  .extend({ created })
  .meta({ id: 'WrittenLoyaltyTransaction' });

export const tierChange = z
  .strictObject({
    customerId: id,
    sequence: z.int().meta({ description: '1, 2, 3 … per member.' }),
    at: instant,
    previous: z.string().nullable().meta({ description: 'null: the first.' }),
    tier: z.string(),
    reason: tierChangeReason,
    amount: z.int().meta({ description: 'The amount that decided: minor units of the base currency, or points.' }),
    endsAt: instant.nullable().meta({ description: 'When it is looked at again; null: never.' }),
  })
  .meta({ id: 'TierChange', description: 'A step in the tiers of a member.' });

export const enrolment = z
  .strictObject({
    programmeId: id,
    joinedAt: instant
      .optional()
      .meta({ description: 'Orders from then on earn; now unless told. At most ten minutes ahead, taken as now.' }),
  })
  .meta({ id: 'LoyaltyEnrolment', example: { programmeId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' } });

export const askedTransactionKinds = ['spend', 'adjust', 'transfer'] as const;
export const loyaltyTransactionInput = z
  .strictObject({
    kind: z.enum(askedTransactionKinds).meta({
      id: 'AskedLoyaltyTransactionKind',
      description: 'spend: points are used. adjust: credited or taken by hand. transfer: given to another member.',
    }),
    customerId: id.optional(),
    customer: referenceInput.optional().meta({ description: 'Instead of `customerId`: what another system calls it.' }),
    points: signedPoints.meta({ description: 'More than 0; for `adjust` also less: taken.', example: 500 }),
    reason: text(500).nullable().optional().meta({ description: 'Required for `adjust`.' }),
    orderId: id.nullable().optional().meta({ description: 'spend: the order of the customer that is paid with it.' }),
    toCustomerId: id.nullable().optional().meta({ description: 'transfer: a member of the same programme.' }),
    expiresAt: instant
      .nullable()
      .optional()
      .meta({ description: 'adjust, credited: null is never; as the programme says unless told.' }),
    externalId: referenceInput.shape.externalId
      .optional()
      .meta({ description: 'Your name for it, one per customer: it is done once. Required in a batch.' }),
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
