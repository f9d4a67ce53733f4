import { char, date, index, integer, pgTable, primaryKey, uuid } from 'drizzle-orm/pg-core';
import { amount, instant } from '../../platform/db/columns.ts';
import { customers } from '../customers/record.ts';

/**
 * Derived state: what a customer's qualifying orders and unattached returns add up to, per currency of the facts.
 * Written in the transaction of the fact, under the customer's row lock; `npm run verify-rollups` recounts it.
 * `base…` columns hold the part that has a base-currency value (an order without a rate has none yet).
 * The counters carry no secondary index, so that updates stay HOT (scale.md).
 */
const counters = {
  /** Qualifying orders. */
  orders: integer('orders').notNull(),
  /** Σ total − tax − refunds of the qualifying orders, minor units of `currency`. */
  revenue: amount('revenue').notNull(),
  baseOrders: integer('base_orders').notNull(),
  baseRevenue: amount('base_revenue').notNull(),
  returns: integer('returns').notNull(),
  /** Σ of returns that name no order, minor units of `currency`. */
  returned: amount('returned').notNull(),
  baseReturns: integer('base_returns').notNull(),
  baseReturned: amount('base_returned').notNull(),
};

export const customerStats = pgTable(
  'customer_stats',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    currency: char('currency', { length: 3 }).notNull(),
    ...counters,
    firstOrderAt: instant('first_order_at'),
    lastOrderAt: instant('last_order_at'),
    /** Distinct local days with a qualifying order, in the reporting time zone. */
    purchaseDays: integer('purchase_days').notNull(),
  },
  (t) => [primaryKey({ columns: [t.customerId, t.currency] })],
);

export const customerMonth = pgTable(
  'customer_month',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    /** First day of the calendar month in the reporting time zone. */
    month: date('month').notNull(),
    currency: char('currency', { length: 3 }).notNull(),
    ...counters,
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.month, t.currency] }),
    index('customer_month_by_month').on(t.month, t.customerId),
  ],
);
