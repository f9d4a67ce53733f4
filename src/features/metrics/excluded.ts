import { type SQL, sql } from 'drizzle-orm';
import { safeNumber } from '../../domain/money.ts';
import type { Range } from '../../domain/period.ts';
import type { Warning } from '../../platform/batch.ts';
import { type Db, param } from '../../platform/db/client.ts';
import { type Excluded, exclusionReasons } from './model.ts';
import { beginningOfTime, type Filter, type Scope } from './scope.ts';
import { factsOnly, filterValues, inScope, ordersOf, qualifyingOrders, type Shape, shaped, shapeOf } from './source.ts';
import type { ReturnsLeftOut } from './value-queries.ts';

type Count = { reason: 'test' | 'cancelled' | 'refunded' | 'unpaid' | 'zero_value'; count: number };

/** Each order under the first of its reasons. Those that do not qualify have a partial index of their own. */
const leftOutOrders = shaped<Shape & { ranges: 1 | 2 }, Count>('excluded_orders', (shape) => {
  const left = [sql`not o.qualifying`];
  if (shape.paidOnly) left.push(sql`o.payment_status <> 'paid'`);
  if (shape.withoutZero) left.push(sql`o.total = 0`);
  const within = (n: number) =>
    sql`(o.placed_at >= ${param(`from${n}`)}::timestamptz and o.placed_at < ${param(`to${n}`)}::timestamptz)`;
  // The index is entered by the outer ends: an OR of ranges would read all of it.
  const outer = sql`o.placed_at >= least(${param('from1')}::timestamptz, ${param('from2')}::timestamptz)
    and o.placed_at < greatest(${param('to1')}::timestamptz, ${param('to2')}::timestamptz)`;
  const when = shape.ranges === 2 ? sql`${outer} and (${within(1)} or ${within(2)})` : within(1);
  const unpaid = shape.paidOnly ? sql`when o.payment_status <> 'paid' then 'unpaid'` : sql``;
  return sql`select case when o.test then 'test' when o.cancelled_at is not null then 'cancelled' when not o.qualifying then 'refunded'
      ${unpaid} else 'zero_value' end as reason, count(*) as count
    from ${ordersOf(shape)} where (${sql.join(left, sql` or `)}) and ${sql.join([when, ...inScope(shape)], sql` and `)} group by 1`;
});

/** The orders of the ranges (already cut at `asOf`) that are in scope and do not count. */
export async function excludedOrders(
  db: Db,
  filter: Filter,
  ranges: readonly [Range] | readonly [Range, Range],
): Promise<Excluded[]> {
  const [first, second] = ranges;
  return db.all(leftOutOrders({ ...shapeOf(factsOnly(), filter), ranges: second ? 2 : 1 }), {
    ...filterValues(filter),
    from1: first.from,
    to1: first.to,
    from2: second?.from ?? null,
    to2: second?.to ?? null,
  });
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

export function sortExcluded(excluded: Excluded[]): Excluded[] {
  return excluded.sort((a, b) => exclusionReasons.indexOf(a.reason) - exclusionReasons.indexOf(b.reason));
}

/** Whether there are returns without tax in the range. */
function untaxedReturns(shape: Shape): SQL {
  const conditions = [
    sql`r.tax is null and r.returned_at >= ${param('from')}::timestamptz and r.returned_at < ${param('end')}::timestamptz`,
  ];
  if (shape.currency) conditions.push(sql`r.currency = ${param('currency')}`);
  if (shape.customer) conditions.push(sql`r.customer_id = ${param('customerId')}::uuid`);
  return sql`exists (select from returns r where ${sql.join(conditions, sql` and `)})`;
}

const untaxed = shaped<Shape, { untaxed: boolean }>(
  'returns_without_tax',
  (shape) => sql`select ${untaxedReturns(shape)} as untaxed`,
);

/** Nobody knows the tax of a return that does not say it: all of it is taken from the revenue, and the metric says so. */
export const returnsWithoutTax: Warning = {
  code: 'returns_without_tax',
  message:
    'Some returns of the period say no tax, so all of their totals is taken from the revenue: send `tax` with returns.',
};

interface FirstFact {
  at: string | null;
  known: boolean;
  untaxed: boolean;
}

const first = shaped<Shape & { returns: boolean }, FirstFact>('first_fact', (shape) => {
  const inReturns = [sql`true`];
  if (shape.currency) inReturns.push(sql`r.currency = ${param('currency')}`);
  if (shape.customer) inReturns.push(sql`r.customer_id = ${param('customerId')}::uuid`);
  // min() alone would be planned over the whole table when a filter is in the way of the index.
  const order = sql`(select o.placed_at from ${ordersOf(shape)} where ${qualifyingOrders(shape)} and o.placed_at < ${param('end')}::timestamptz order by o.placed_at limit 1)`;
  const productReturn = sql`(select r.returned_at from returns r where ${sql.join(inReturns, sql` and `)} and r.returned_at < ${param('end')}::timestamptz order by r.returned_at limit 1)`;
  return sql`select ${shape.returns ? sql`least(${order}, ${productReturn})` : order} as at,
    ${shape.customer ? sql`exists (select from customers where id = ${param('customerId')}::uuid)` : sql`true`} as known,
    ${shape.returns ? untaxedReturns(shape) : sql`false`} as untaxed`;
});

/**
 * The instant of the first fact in scope, where a period of all time begins (null: there is none, or the period has a
 * start of its own), whether the customer asked for exists, and whether there are returns without tax, for metrics of returns.
 */
export async function firstFact(db: Db, scope: Scope, { returns }: { returns: boolean }): Promise<FirstFact> {
  const shape = shapeOf(factsOnly(), scope);
  const values = { ...filterValues(scope), end: scope.end, ...(returns && { from: scope.from ?? beginningOfTime }) };
  if (scope.from !== null && scope.customerId === null) {
    const row = returns ? await db.first(untaxed(shape), values) : null;
    return { at: null, known: true, untaxed: row?.untaxed ?? false };
  }
  return (await db.first(first({ ...shape, returns }), values)) ?? { at: null, known: false, untaxed: false };
}
