import { sql } from 'drizzle-orm';
import { index, integer, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { amount as amountColumn, instant as instantColumn } from '../../platform/db/columns.ts';
import { loyaltyAccounts } from '../loyalty/model.ts';
import { loyaltyProgrammes } from '../loyalty-programmes/model.ts';

/** What members can have for points. `redeemed` is derived under the row's lock: the redemptions that stand. */
export const rewards = pgTable(
  'rewards',
  {
    id: uuid('id').primaryKey(),
    programmeId: uuid('programme_id')
      .notNull()
      .references(() => loyaltyProgrammes.id),
    version: integer('version').notNull(),
    name: textColumn('name').notNull(),
    description: textColumn('description'),
    /** Points per piece. */
    points: amountColumn('points').notNull(),
    /** Pieces there are in all; null: without end. */
    stock: integer('stock'),
    redeemed: integer('redeemed').notNull(),
    limitPerCustomer: integer('limit_per_customer'),
    /** The lowest level that may have it; null: everybody. */
    tier: textColumn('tier'),
    availableFrom: instantColumn('available_from'),
    availableTo: instantColumn('available_to'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [index('rewards_created').on(t.createdAt, t.id), index('rewards_programme').on(t.programmeId, t.points, t.id)],
);

export const redemptions = pgTable(
  'redemptions',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => loyaltyAccounts.customerId),
    id: uuid('id').notNull(),
    version: integer('version').notNull(),
    rewardId: uuid('reward_id')
      .notNull()
      .references(() => rewards.id),
    quantity: integer('quantity').notNull(),
    points: amountColumn('points').notNull(),
    status: textColumn('status').$type<RedemptionStatus>().notNull(),
    transactionId: uuid('transaction_id').notNull(),
    redeemedAt: instantColumn('redeemed_at').notNull(),
    fulfilledAt: instantColumn('fulfilled_at'),
    cancelledAt: instantColumn('cancelled_at'),
    reason: textColumn('reason'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
    index('redemptions_id').on(t.id),
    index('redemptions_created').on(t.createdAt, t.id),
    index('redemptions_reward').on(t.rewardId, t.createdAt, t.id),
    // What counts against the limit of a customer.
    index('redemptions_customer_reward').on(t.customerId, t.rewardId).where(sql`status <> 'cancelled'`),
  ],
);

export const redemptionStatuses = ['redeemed', 'fulfilled', 'cancelled'] as const;
export type RedemptionStatus = (typeof redemptionStatuses)[number];
export const redemptionStatus = z.enum(redemptionStatuses).meta({ id: 'RedemptionStatus', example: 'redeemed' });
