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
import { amount as amountColumn, code, instant as instantColumn } from '../../platform/db/columns.ts';
import { customers } from '../customers/model.ts';
import { loyaltyProgrammes } from '../loyalty-programmes/model.ts';

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
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
    index('loyalty_transactions_id').on(t.id),
    index('loyalty_transactions_customer_at').on(t.customerId, t.at, t.id),
    index('loyalty_transactions_created').on(t.createdAt, t.id),
    index('loyalty_transactions_order').on(t.customerId, t.orderId).where(sql`order_id is not null`),
    index('loyalty_transactions_bonus').on(t.customerId, t.bonusKey).where(sql`bonus_key is not null`),
    uniqueIndex('loyalty_transactions_undone').on(t.customerId, t.relatedId).where(sql`kind = 'return'`),
  ],
);

/** Every credit is a lot. Append-only but for `remaining`, which is derived: the sum of its entries. */
export const loyaltyLots = pgTable(
  'loyalty_lots',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => loyaltyAccounts.customerId),
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
    customerId: uuid('customer_id')
      .notNull()
      .references(() => loyaltyAccounts.customerId),
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
    customerId: uuid('customer_id')
      .notNull()
      .references(() => loyaltyAccounts.customerId),
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
