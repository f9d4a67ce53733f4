import { type SQL, sql } from 'drizzle-orm';
import { exactInteger, safeNumber } from '../../domain/money.ts';
import { isBefore, type Range } from '../../domain/period.ts';
import { type Db, param } from '../../platform/db/client.ts';
import { type Excluded, exclusionReasons } from './model.ts';
import type { Filter, Scope } from './scope.ts';
import {
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

type OrderReason = 'test' | 'cancelled' | 'refunded' | 'unpaid' | 'zero_value';
type Count = {
  bucket: number;
  reason: OrderReason | 'returns' | 'returns_missing_rate';
  count: number;
  amount: string | null;
};

/** Each order under the first of its reasons. Those that do not qualify have a partial index of their own. */
const leftOut = shaped<Shape & { returns: boolean }, Count>('excluded', (shape) => {
  const within = (at: SQL) => sql`${at} >= ${param('start')}::timestamptz and ${at} < ${param('end')}::timestamptz`;
  const left = [sql`not o.qualifying`];
  if (shape.paidOnly) left.push(sql`o.payment_status <> 'paid'`);
  if (shape.withoutZero) left.push(sql`o.total = 0`);
  const unpaid = shape.paidOnly ? sql`when o.payment_status <> 'paid' then 'unpaid'` : sql``;
  const conditions = [within(sql`o.placed_at`), ...inScope(shape)];
  const orders = sql`select ${bucket(sql`o.placed_at`, shape)} as bucket,
      case when o.test then 'test' when o.cancelled_at is not null then 'cancelled' when not o.qualifying then 'refunded'
        ${unpaid} else 'zero_value' end as reason, count(*) as count, null::numeric as amount
    from ${ordersOf(shape)} where (${sql.join(left, sql` or `)}) and ${sql.join(conditions, sql` and `)} group by 1, 2`;
  if (!shape.returns) return orders;
  const rows = returnRows(shape);
  return sql`${orders} union all
    select ${bucket(rows.at, shape)}, case when ${rows.valued} = 1 then 'returns' else 'returns_missing_rate' end, count(*),
      sum(${rows.amount}) filter (where ${rows.valued} = 1)
    from ${rows.from} where ${rows.where} and ${within(rows.at)} group by 1, 2`;
});

/**
 * What a number leaves out, for each of a list of numbers: the orders of its ranges that are in scope and do not count
 * and, with `returns`, the returns that name no order. Ranges are cut at `asOf` already. One statement.
 */
export async function excludedFacts(
  db: Db,
  filter: Filter,
  numbers: readonly (readonly Range[])[],
  options: { returns: boolean },
): Promise<Excluded[][]> {
  const bounds = [...new Set(numbers.flat().flatMap(({ from, to }) => [from, to]))].sort(byTime);
  const placeOf = new Map(bounds.map((bound, index) => [bound, index + 1]));
  const place = (bound: string) => placeOf.get(bound) ?? 0;
  const rows = await db.all(leftOut({ ...shapeOf(factsOnly(), filter), returns: options.returns }), {
    ...filterValues(filter),
    bounds,
    start: bounds[0],
    end: bounds.at(-1),
  });
  return numbers.map((ranges) => {
    const places = ranges.map(({ from, to }) => ({ from: place(from), to: place(to) }));
    const found = rows.filter((row) => places.some(({ from, to }) => row.bucket >= from && row.bucket < to));
    return [...new Set(found.map(({ reason }) => reason))].map((reason) => {
      const ofReason = found.filter((row) => row.reason === reason);
      const amounts = ofReason.flatMap(({ amount }) => (amount === null ? [] : [exactInteger(amount)]));
      return {
        reason,
        count: ofReason.reduce((sum, { count }) => sum + count, 0),
        ...(amounts.length > 0 && amountOf(amounts.reduce((sum, amount) => sum + amount, 0n))),
      };
    });
  });
}

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

export function sortExcluded(excluded: Excluded[]): Excluded[] {
  return excluded.sort((a, b) => exclusionReasons.indexOf(a.reason) - exclusionReasons.indexOf(b.reason));
}

const first = shaped<Shape & { returns: boolean }, { at: string | null; known: boolean }>('first_fact', (shape) => {
  const inReturns = [sql`true`];
  if (shape.currency) inReturns.push(sql`r.currency = ${param('currency')}`);
  if (shape.customer) inReturns.push(sql`r.customer_id = ${param('customerId')}::uuid`);
  // min() alone would be planned over the whole table when a filter is in the way of the index.
  const order = sql`(select o.placed_at from ${ordersOf(shape)} where ${qualifyingOrders(shape)} and o.placed_at < ${param('end')}::timestamptz order by o.placed_at limit 1)`;
  const productReturn = sql`(select r.returned_at from returns r where ${sql.join(inReturns, sql` and `)} and r.returned_at < ${param('end')}::timestamptz order by r.returned_at limit 1)`;
  return sql`select ${shape.returns ? sql`least(${order}, ${productReturn})` : order} as at,
    ${shape.customer ? sql`exists (select from customers where id = ${param('customerId')}::uuid)` : sql`true`} as known`;
});

/**
 * The instant of the first fact in scope, where a period of all time begins (null: there is none, or the period has a
 * start of its own), and whether the customer asked for exists.
 */
export async function firstFact(
  db: Db,
  scope: Scope,
  options: { returns: boolean },
): Promise<{ at: string | null; known: boolean }> {
  if (scope.from !== null && scope.customerId === null) return { at: null, known: true };
  const found = await db.first(first({ ...shapeOf(factsOnly(), scope), returns: options.returns }), {
    ...filterValues(scope),
    end: scope.end,
  });
  return found ?? { at: null, known: false };
}
