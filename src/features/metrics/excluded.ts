import { type SQL, sql } from 'drizzle-orm';
import type { Notice } from '../../domain/metric-result.ts';
import { safeNumber } from '../../domain/money.ts';
import type { Range } from '../../domain/period.ts';
import { type Db, param } from '../../platform/db/client.ts';
import { isSomebody } from '../../records/nobody.ts';
import { hasFailedPayment } from '../orders/record.ts';
import { type Excluded, exclusionReasons } from './model.ts';
import type { Filter, Scope } from './scope.ts';
import {
  boughtOrders,
  factsOnly,
  filterValues,
  inScope,
  ordersOf,
  qualifyingOrders,
  type Shape,
  shaped,
  shapeOf,
} from './source.ts';
import type { ReturnsLeftOut } from './value-queries.ts';

type Count = {
  reason: 'test' | 'cancelled' | 'refunded' | 'unpaid' | 'zero_value' | 'anonymous' | 'failed_payment';
  count: number;
};
type Noted = Shape & { ranges: 1 | 2; buyersOnly: boolean };

type Ranges = readonly [Range] | readonly [Range, Range];

/** Whether an order was placed in one of the ranges. */
function placedIn(ranges: 1 | 2): SQL {
  const within = (n: number) =>
    sql`(o.placed_at >= ${param(`from${n}`)}::timestamptz and o.placed_at < ${param(`to${n}`)}::timestamptz)`;
  if (ranges === 1) return within(1);
  // The index is entered by the outer ends: an OR of ranges would read all of it.
  return sql`o.placed_at >= least(${param('from1')}::timestamptz, ${param('from2')}::timestamptz)
    and o.placed_at < greatest(${param('to1')}::timestamptz, ${param('to2')}::timestamptz) and (${within(1)} or ${within(2)})`;
}

/** Orders that do not count, each under the first of its reasons, and those that count and that nobody is going to pay for. */
const notedOrders = shaped<Noted, Count>('noted_orders', (shape) => {
  const left = [sql`not o.qualifying`];
  if (shape.paidOnly) left.push(sql`o.payment_status <> 'paid'`);
  if (shape.withoutZero) left.push(sql`o.total = 0`);
  const unpaid = shape.paidOnly ? sql`when o.payment_status <> 'paid' then 'unpaid'` : sql``;
  // Each apart, as each is found by an index of its own.
  const apart = (reason: string, which: SQL) =>
    sql` union all select ${sql.raw(`'${reason}'`)}, count(*) from ${ordersOf(shape)} where ${which} and ${placedIn(shape.ranges)} having count(*) > 0`;
  const anonymous = sql`not ${isSomebody(sql`o.customer_id`)} and ${qualifyingOrders(shape)}`;
  const failed = sql`${hasFailedPayment} and ${(shape.buyersOnly ? boughtOrders : qualifyingOrders)(shape)}`;
  return sql`select case when o.test then 'test' when o.cancelled_at is not null then 'cancelled' when not o.qualifying then 'refunded'
      ${unpaid} else 'zero_value' end as reason, count(*) as count
    from ${ordersOf(shape)} where (${sql.join(left, sql` or `)}) and ${sql.join([placedIn(shape.ranges), ...inScope(shape)], sql` and `)} group by 1
    ${shape.buyersOnly ? apart('anonymous', anonymous) : sql``} ${shape.paidOnly ? sql`` : apart('failed_payment', failed)}`;
});

/** What is said of the orders of the ranges (already cut at `asOf`): those in scope that do not count, and whether some that count are in doubt. */
export async function orderNotes(
  db: Db,
  filter: Filter,
  ranges: Ranges,
  { buyersOnly }: { buyersOnly: boolean },
): Promise<{ excluded: Excluded[]; warnings: Notice[] }> {
  const [first, second] = ranges;
  const shape: Noted = { ...shapeOf(factsOnly(), filter), ranges: second ? 2 : 1, buyersOnly };
  const rows = await db.all(notedOrders(shape), {
    ...filterValues(filter),
    from1: first.from,
    to1: first.to,
    from2: second?.from ?? null,
    to2: second?.to ?? null,
  });
  const excluded: Excluded[] = [];
  const warnings: Notice[] = [];
  for (const { reason, count } of rows) {
    if (reason === 'failed_payment') warnings.push(failedPayments(count));
    else excluded.push({ reason, count });
  }
  return { excluded, warnings };
}

function failedPayments(count: number): Notice {
  const message = `${count} of the orders counted have the paymentStatus failed or voided. Send payment=paid to count paid orders only.`;
  return { code: 'failed_payments_counted', message };
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
  const found = await db.first(first({ ...shapeOf(factsOnly(), scope), ...options }), {
    ...filterValues(scope),
    end: scope.end,
  });
  return found ?? { at: null, known: false };
}
