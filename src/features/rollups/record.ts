import { type SQL, sql } from 'drizzle-orm';
import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import {
  amounts,
  currency,
  date,
  dates,
  decimal,
  instant,
  integer,
  integers,
  money,
  ownerId,
} from '../../records/fields.ts';
import { storedTable } from '../../records/table.ts';
import { customers } from '../customers/record.ts';

const counter = () => integer(0, 2_147_483_647).required().internal();
const sum = () => money().required().internal();

/**
 * Derived state: what a customer's qualifying orders and unattached returns add up to, per currency of the facts.
 * Written in the transaction of the fact, under the customer's row lock; `npm run verify-rollups` recomputes it.
 * `base…` columns hold the part that has a base-currency value (an order without a rate has none yet).
 * The counters carry no secondary index, so that updates stay HOT.
 */
const counters = {
  /** Qualifying orders. */
  orders: counter(),
  /** Σ total − tax − refunds of the qualifying orders. */
  revenue: sum(),
  baseOrders: counter(),
  baseRevenue: sum().inBaseCurrency(),
  returns: counter(),
  /** Σ of returns that name no order. */
  returned: sum(),
  baseReturns: counter(),
  baseReturned: sum().inBaseCurrency(),
};

export const customerStats = storedTable('customer_stats', {
  name: 'orderStatistics',
  label: 'Sums of orders',
  access: 'owner',
  nature: 'derived',
  owner: 'customerId',
  key: ['customerId', 'currency'],
  guard: null,
  fields: {
    customerId: ownerId(() => customers.id),
    currency: currency().required().internal(),
    ...counters,
    firstOrderAt: instant().internal(),
    lastOrderAt: instant().internal(),
    /** Distinct local days with a qualifying order, in the reporting time zone. */
    purchaseDays: counter(),
  },
});

export const customerMonth = storedTable('customer_month', {
  name: 'orderMonths',
  label: 'Sums of orders by month',
  access: 'owner',
  nature: 'derived',
  owner: 'customerId',
  key: ['customerId', 'month', 'currency'],
  guard: null,
  fields: {
    customerId: ownerId(() => customers.id),
    /** First day of the calendar month in the reporting time zone. */
    month: date().plain().required().internal(),
    currency: currency().required().internal(),
    ...counters,
    /** Lines of the orders with a base value; those of them with a cost; Σ cost, each line at the rate of its order. */
    baseLines: counter(),
    baseCostedLines: counter(),
    baseCost: decimal(z.string(), z.string()).required().internal(),
  },
  extras: (t) => [index('customer_month_by_month').on(t.month, t.customerId)],
});

/**
 * When a customer bought, in all currencies together: one row of a few hundred bytes, where metrics look up any range of
 * local days by binary search. The lists belong together by position. `orders` and `revenue` run up from the first day, so
 * what lies between two days is a difference.
 */
export const customerPurchases = storedTable('customer_purchases', {
  name: 'purchaseDays',
  label: 'Days with orders',
  access: 'owner',
  nature: 'derived',
  owner: 'customerId',
  key: ['customerId'],
  guard: null,
  fields: {
    customerId: ownerId(() => customers.id),
    /** The local days with a qualifying order, in the reporting time zone, ascending. */
    days: dates().plain().required().internal(),
    /** Qualifying orders up to and with each day. */
    orders: integers().required().internal(),
    /** Their revenue in the base currency. */
    revenue: amounts().required().internal(),
    /** Orders that have no base value, and so are not in `revenue`. */
    unvalued: counter(),
  },
  extras: (t) => [index('customer_purchases_unvalued').on(t.customerId).where(sql`unvalued > 0`)],
});

/** What a row of `customer_purchases` tells at a glance. Statistics of these expressions are kept: see the migrations. */
export const figures = {
  orderCount: (row: SQL) => sql`${row}.orders[cardinality(${row}.orders)]`,
  revenue: (row: SQL) => sql`${row}.revenue[cardinality(${row}.revenue)]`,
  purchaseDays: (row: SQL) => sql`cardinality(${row}.days)`,
  firstDay: (row: SQL) => sql`${row}.days[1]`,
  lastDay: (row: SQL) => sql`${row}.days[cardinality(${row}.days)]`,
};
