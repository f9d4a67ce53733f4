import { type SQL, sql } from 'drizzle-orm';
import type { Notice } from '../../domain/metric-result.ts';
import { exactInteger, safeNumber } from '../../domain/money.ts';
import { isBefore, type Range } from '../../domain/period.ts';
import { type Db, param } from '../../platform/db/client.ts';
import { isSomebody } from '../../records/nobody.ts';
import { hasFailedPayment } from '../orders/record.ts';
import { type Excluded, exclusionReasons } from './model.ts';
import { wholeOf } from './population.ts';
import type { Filter, Scope } from './scope.ts';
import {
  boughtOrders,
  bucket,
  factsOnly,
  filterValues,
  inScope,
  ordersOf,
  qualifyingOrders,
  returnRows,
  type Shape,
  shaped,
  shapeOf,
} from './source.ts';
import type { ReturnsLeftOut } from './value-queries.ts';

/**
 * What a number does with returns that name no order: they `count`, they are `excluded`, or it is not about goods and money
 * at all.
 */
export type UseOfReturns = 'count' | 'excluded' | 'none';

type OrderReason = 'test' | 'cancelled' | 'refunded' | 'unpaid' | 'zero_value' | 'anonymous';
/** `buyersOnly`: orders of nobody do not count. */
type Use = { returns: UseOfReturns; buyersOnly: boolean };
type Count = {
  bucket: number;
  reason: OrderReason | 'returns' | 'returns_missing_rate' | 'failed_payment' | 'without_tax';
  count: number;
  amount: string | null;
};

/** Each order under the first of its reasons. Those that do not qualify have a partial index of their own. */
const leftOut = shaped<Shape & Use, Count>('excluded', (shape) => {
  const within = (at: SQL) => sql`${at} >= ${param('start')}::timestamptz and ${at} < ${param('end')}::timestamptz`;
  const left = [sql`not o.qualifying`];
  if (shape.paidOnly) left.push(sql`o.payment_status <> 'paid'`);
  if (shape.withoutZero) left.push(sql`o.total = 0`);
  const unpaid = shape.paidOnly ? sql`when o.payment_status <> 'paid' then 'unpaid'` : sql``;
  const conditions = [within(sql`o.placed_at`), ...inScope(shape)];
  const excluded = sql`select ${bucket(sql`o.placed_at`, shape)} as bucket,
      case when o.test then 'test' when o.cancelled_at is not null then 'cancelled' when not o.qualifying then 'refunded'
        ${unpaid} else 'zero_value' end as reason, count(*) as count, null::numeric as amount
    from ${ordersOf(shape)} where (${sql.join(left, sql` or `)}) and ${sql.join(conditions, sql` and `)} group by 1, 2`;
  // Each apart, as each is found by an index of its own: orders of nobody, and those that nobody is going to pay for.
  const apart = (reason: string, which: SQL) =>
    sql` union all select ${bucket(sql`o.placed_at`, shape)}, ${sql.raw(`'${reason}'`)}, count(*), null
      from ${ordersOf(shape)} where ${which} and ${within(sql`o.placed_at`)} group by 1`;
  const anonymous = sql`not ${isSomebody(sql`o.customer_id`)} and ${qualifyingOrders(shape)}`;
  const failed = sql`${hasFailedPayment} and ${(shape.buyersOnly ? boughtOrders : qualifyingOrders)(shape)}`;
  const orders = sql`${excluded} ${shape.buyersOnly ? apart('anonymous', anonymous) : sql``} ${shape.paidOnly ? sql`` : apart('failed_payment', failed)}`;
  if (shape.returns === 'none') return orders;
  if (shape.returns === 'count') {
    const conditions = [sql`r.tax is null`, within(sql`r.returned_at`), ...inScope(shape, sql`r`)];
    return sql`${orders} union all select ${bucket(sql`r.returned_at`, shape)}, 'without_tax', count(*), null
      from returns r where ${sql.join(conditions, sql` and `)} group by 1`;
  }
  const rows = returnRows(shape);
  return sql`${orders} union all
    select ${bucket(rows.at, shape)}, case when ${rows.valued} = 1 then 'returns' else 'returns_missing_rate' end, count(*),
      sum(${rows.amount}) filter (where ${rows.valued} = 1)
    from ${rows.from} where ${rows.where} and ${within(rows.at)} group by 1, 2`;
});

/** What is told beside a number: what it leaves out, in its series too, and whether some of what counts is in doubt. */
export interface FactNotes {
  excluded: Excluded[];
  ofSeries: Excluded[][];
  warnings: Notice[];
}

/**
 * What is told of a number and of the points of its series, each of some ranges (cut at `asOf` already): the orders in
 * scope that do not count, the returns that name no order where these are excluded, and the orders that count with a payment that
 * failed. One statement.
 */
export async function factNotes(
  db: Db,
  filter: Filter,
  whole: readonly Range[],
  series: readonly (readonly Range[])[],
  use: Use,
): Promise<FactNotes> {
  const bounds = [...new Set([whole, ...series].flat().flatMap(({ from, to }) => [from, to]))].sort(byTime);
  const placeOf = new Map(bounds.map((bound, index) => [bound, index + 1]));
  const place = (bound: string) => placeOf.get(bound) ?? 0;
  const rows = await db.all(leftOut({ ...shapeOf(factsOnly(), filter), ...use }), {
    ...filterValues(filter),
    bounds,
    start: bounds[0],
    end: bounds.at(-1),
  });
  const rowsOf = (ranges: readonly Range[]) => {
    const places = ranges.map(({ from, to }) => ({ from: place(from), to: place(to) }));
    return rows.filter((row) => places.some(({ from, to }) => row.bucket >= from && row.bucket < to));
  };
  const warned = (of: Count['reason']) => count(rowsOf(whole).filter(({ reason }) => reason === of));
  const failed = warned('failed_payment');
  return {
    excluded: excludedOf(rowsOf(whole)),
    ofSeries: series.map((ranges) => excludedOf(rowsOf(ranges))),
    warnings: [
      ...(failed > 0 ? [failedPayments(failed)] : []),
      ...(warned('without_tax') > 0 ? [returnsWithoutTax] : []),
    ],
  };
}

function excludedOf(rows: readonly Count[]): Excluded[] {
  const reasons = new Set(
    rows.flatMap(({ reason }) => (reason === 'failed_payment' || reason === 'without_tax' ? [] : [reason])),
  );
  return [...reasons].map((reason) => {
    const found = rows.filter((row) => row.reason === reason);
    const amounts = found.flatMap(({ amount }) => (amount === null ? [] : [exactInteger(amount)]));
    const sum = amounts.length > 0 ? amounts.reduce((total, amount) => total + amount, 0n) : undefined;
    return { reason, count: count(found), ...amountOf(sum) };
  });
}

function count(rows: readonly Count[]): number {
  return rows.reduce((sum, row) => sum + row.count, 0);
}

function failedPayments(count: number): Notice {
  const message = `${count} of the orders counted have the paymentStatus failed or voided. Send payment=paid to count paid orders only.`;
  return { code: 'failed_payments_counted', message };
}

/** Nobody knows the tax of a return that does not say it: all of it is taken from the revenue, and the metric says so. */
const returnsWithoutTax: Notice = {
  code: 'returns_without_tax',
  message:
    'Some returns of the period say no tax, so their whole totals are taken from the revenue: send `tax` with returns.',
};

function byTime(a: string, b: string): number {
  return isBefore(a, b) ? -1 : isBefore(b, a) ? 1 : 0;
}

/** What money metrics leave out beyond that: records without a rate, and returns that are in nobody's revenue. */
export function excludedAmounts(sums: { missingRate: number } & Partial<ReturnsLeftOut>): Excluded[] {
  const found: Excluded[] = [
    { reason: 'missing_rate', count: sums.missingRate },
    { reason: 'returns_of_non_buyers', count: sums.strangersReturns ?? 0, ...amountOf(sums.strangersReturned) },
    { reason: 'returns_of_earlier_buyers', count: sums.earlierReturns ?? 0, ...amountOf(sums.earlierReturned) },
    { reason: 'returns_missing_rate', count: sums.returnsWithoutRate ?? 0 },
  ];
  return found.filter((entry) => entry.count > 0);
}

function amountOf(sum: bigint | undefined): { amount?: number } {
  const amount = sum === undefined ? null : safeNumber(sum);
  return amount === null ? {} : { amount };
}

const reasonOrder: readonly string[] = Object.keys(exclusionReasons);

export function sortExcluded(excluded: Excluded[]): Excluded[] {
  return excluded.sort((a, b) => reasonOrder.indexOf(a.reason) - reasonOrder.indexOf(b.reason));
}

const first = shaped<Shape & { returns: boolean; buyersOnly: boolean }, { at: string | null; known: boolean }>(
  'first_fact',
  (shape) => {
    const inReturns = [sql`true`];
    if (shape.currency) inReturns.push(sql`r.currency = ${param('currency')}`);
    if (shape.customer) inReturns.push(sql`r.customer_id = ${param('customerId')}::uuid`);
    // min() alone would be planned over the whole table when a filter is in the way of the index.
    const order = sql`(select o.placed_at from ${ordersOf(shape)} where ${(shape.buyersOnly ? boughtOrders : qualifyingOrders)(shape)} and o.placed_at < ${param('end')}::timestamptz order by o.placed_at limit 1)`;
    const productReturn = sql`(select r.returned_at from returns r where ${sql.join(inReturns, sql` and `)} and r.returned_at < ${param('end')}::timestamptz order by r.returned_at limit 1)`;
    return sql`select ${shape.returns ? sql`least(${order}, ${productReturn})` : order} as at,
    ${shape.customer ? sql`exists (select from customers where id = ${param('customerId')}::uuid and ${isSomebody(sql`id`)})` : sql`true`} as known`;
  },
);

/**
 * The instant of the first fact in scope, where a period of all time begins (null: there is none, or the period has a
 * start of its own), and whether the customer asked for exists.
 */
export async function firstFact(
  db: Db,
  scope: Scope,
  options: { returns: boolean; buyersOnly: boolean },
): Promise<{ at: string | null; known: boolean }> {
  if (scope.from !== null && scope.customerId === null) return { at: null, known: true };
  // Where all time begins, it begins for all groups.
  const found = await wholeOf(db).first(first({ ...shapeOf(factsOnly(), scope), ...options }), {
    ...filterValues(scope),
    end: scope.end,
  });
  return found ?? { at: null, known: false };
}
