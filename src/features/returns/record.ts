import { type SQL, sql } from 'drizzle-orm';
import { index } from 'drizzle-orm/pg-core';
import { count, currency, instant, money, text } from '../../records/fields.ts';
import { record } from '../../records/record.ts';
import { customerOwner } from '../customers/owner.ts';
import { refundItem } from '../orders/record.ts';
import { frozenRate } from '../rates/fields.ts';

/** At a rate's factor; beyond 2^53 there is none. */
const inBase = (amount: SQL, factor: SQL) =>
  sql`case when ${amount} * ${factor} < 9007199254740991 then round(${amount} * ${factor})::bigint end`;
export const returnedInBase = (factor: SQL) => inBase(sql`(total - coalesce(tax, 0))`, factor);

/** Returns that name no order: they lower the customer's net revenue on their own date and touch no order. */
export const returnRecord = record('return', {
  plural: 'returns',
  label: 'Returns',
  owner: customerOwner,
  naming: 'own',
  access: { scope: 'returns', partners: ['read'], selfService: ['read'] },
  fields: {
    returnedAt: instant().required().sort().range().happened(),
    currency: currency().required().filter(),
    total: money({ min: 1 }).required().says('Minor units, positive.', 1290),
    tax: money().says('The tax in the total. Without it the whole total is taken from the revenue.', 206),
    reason: text(500).personal(),
    ...frozenRate,
    net: money()
      .required()
      .generated(sql`total - coalesce(tax, 0)`)
      .says('total − tax: what the metrics take from the revenue.'),
    baseNet: count()
      .generated(returnedInBase(sql`base_factor`))
      .inBaseCurrency()
      .says('The same in minor units of the base currency at the frozen rate; null without one.'),
    baseTotal: count()
      .generated(inBase(sql`total`, sql`base_factor`))
      .inBaseCurrency()
      .says('Minor units of the base currency at the frozen rate; null without one.'),
  },
  lines: {
    items: {
      tableName: 'return_items',
      name: 'returnItems',
      label: 'Lines of returns',
      set: refundItem,
      required: false,
    },
  },
  extras: (t) => [
    index('returns_customer_returned').on(t.customerId, t.returnedAt),
    index('returns_returned').on(t.returnedAt, t.id),
    index('returns_updated').on(t.updatedAt, t.id),
    index('returns_without_tax').on(t.returnedAt).where(sql`tax is null`),
    index('returns_without_rate').on(t.currency, t.returnedAt).where(sql`base_factor is null`),
  ],
  timeline: { members: ['total', 'currency', 'reason'] },
  says: {
    record: 'A return without an order. Amounts are integers in minor units of `currency`.',
    input: '`customerId` or `customer` is required.',
    example: {
      source: 'shop',
      externalId: 'C536379',
      customer: { externalId: '14527' },
      returnedAt: '2026-03-01T09:41:00Z',
      currency: 'GBP',
      total: 2750,
    },
  },
});

export const returns = returnRecord.table;
export const returnItems = returnRecord.lineTables.items;
