import { sql } from 'drizzle-orm';
import { type Bucket, previousBucket, type Range } from '../../domain/period.ts';
import type { RetentionCounts } from '../../domain/retention-rate.ts';
import { type Db, param } from '../../platform/db/client.ts';
import {
  buyers,
  dateOf,
  day,
  fromPurchases,
  next,
  type Present,
  place,
  placeOf,
  purchaseStatement,
  rangeOf,
} from './purchases.ts';
import { earlier, type Scope } from './scope.ts';
import {
  bucketed,
  buyerRows,
  chooseSource,
  filterValues,
  later,
  markType,
  overBounds,
  type Shape,
  shaped,
  shapeOf,
} from './source.ts';

type Counted = Shape & { minimum: boolean };

const between = shaped<Counted, RetentionCounts>('retention', (shape) => {
  const { from, at, where, customer, count } = buyerRows(shape);
  const type = markType(shape);
  const mark = (name: string) => sql`${param(name)}::${type}`;
  const counted = shape.minimum ? sql`, sum(${count}) filter (where ${at} < ${mark('previousTo')}) as orders` : sql``;
  // Orders before the previous period matter to the minimum only.
  const since = shape.minimum ? sql`` : sql`and ${at} >= ${mark('start')}`;
  const enough = shape.minimum ? sql`and orders >= ${param('minOrders')}::bigint` : sql``;
  return sql`with visits as (
      select ${customer}, bool_or(${at} >= ${mark('previousFrom')} and ${at} < ${mark('previousTo')}) as before,
        bool_or(${at} >= ${mark('from')} and ${at} < ${mark('to')}) as again ${counted}
      from ${from} where ${where} and ${at} < ${mark('end')} ${since} group by 1
    )
    select count(*) as "previousBuyers", count(*) filter (where again) as retained from visits where before ${enough}`;
});

const betweenDays = purchaseStatement<{ minimum: boolean }, RetentionCounts>('retention_days', false, ({ minimum }) => {
  const bought = (from: string, to: string) => sql`${placeOf(dateOf(from))} < ${placeOf(dateOf(to))}`;
  const enough = minimum ? sql`and p.orders[${placeOf(dateOf('previousTo'))}] >= ${param('minOrders')}::bigint` : sql``;
  return sql`select count(*) as "previousBuyers", count(*) filter (where ${bought('from', 'to')}) as retained
    from ${buyers} and p.days[cardinality(p.days)] >= ${dateOf('previousFrom')} and ${bought('previousFrom', 'previousTo')} ${enough}`;
});

/** Buyers of one range and those of them who bought in the other; any two ranges, cut at `asOf`. */
export async function retentionCounts(
  db: Db,
  context: Present,
  scope: Scope,
  ranges: { previous: Range; current: Range },
  minOrders: number,
): Promise<RetentionCounts> {
  const cut = (range: Range) => ({ from: earlier(range.from, scope.asOf), to: earlier(range.to, scope.asOf) });
  const previous = cut(ranges.previous);
  const current = cut(ranges.current);
  const bounds = [previous.from, previous.to, current.from, current.to];
  const minimum = minOrders > 1;
  const inDays = await fromPurchases(db, context, scope, bounds, betweenDays({ minimum }), (dates) => {
    const [previousFrom, previousTo, from, to] = dates;
    return { previousFrom, previousTo, from, to, minOrders };
  });
  if (inDays) return inDays[0] ?? { previousBuyers: 0, retained: 0 };
  const source = chooseSource(scope, bounds, context);
  const found = await db.first(between({ ...shapeOf(source, scope), minimum }), {
    ...filterValues(scope),
    previousFrom: source.mark(previous.from),
    previousTo: source.mark(previous.to),
    from: source.mark(current.from),
    to: source.mark(current.to),
    start: source.mark(earlier(previous.from, current.from)),
    end: source.mark(later(previous.to, current.to)),
    minOrders,
  });
  return found ?? { previousBuyers: 0, retained: 0 };
}

/**
 * Bounds: the interval before the first bucket, the start of the first bucket as a whole, and the parts of the
 * buckets that lie in the period. A visit counts for bucket k when it lies inside the period, and as a previous visit
 * for bucket k + 1 wherever it lies in the whole interval: only the first can be cut at its start.
 */
const consecutive = shaped<Counted, RetentionCounts & { bucket: number }>('retention_series', (shape) => {
  const enough = shape.minimum ? sql`and orders >= ${param('minOrders')}::bigint` : sql``;
  const placed = bucketed('placed', buyerRows(shape), shape, { amounts: false, sinceStart: !shape.minimum });
  return sql`with ${placed}, visits as (
      select customer_id, case when k >= 3 then k - 2 else k - 1 end as k, bool_or(k >= 3) as inside, sum(n) as n
      from placed group by 1, 2
    ), pairs as (
      select k, lead(k) over next as next_k, lead(inside) over next as next_inside, sum(n) over next as orders
      from visits window next as (partition by customer_id order by k)
    )
    select k + 1 as bucket, count(*) as "previousBuyers",
      count(*) filter (where next_k = k + 1 and next_inside) as retained
    from pairs where k >= 0 ${enough} group by k`;
});

/**
 * Bounds: the interval before the first bucket, and the buckets, of which only the last may be cut. In a row of days the last one of an interval
 * comes with the first one of the next interval with a purchase.
 */
const consecutiveDays = purchaseStatement<{ minimum: boolean }, RetentionCounts & { bucket: number }>(
  'retention_series_days',
  false,
  ({ minimum }) => {
    const days = sql`(select p.orders[${place}] as orders, ${rangeOf(day)} as k, ${rangeOf(next)} as next_k from ${buyers})`;
    const enough = minimum ? sql`and orders >= ${param('minOrders')}::bigint` : sql``;
    return sql`select k as bucket, count(*) as "previousBuyers", count(*) filter (where next_k = k + 1) as retained
      from ${days} d where k >= 1 and next_k is distinct from k ${enough} group by k`;
  },
);

/** For each bucket: the buyers of the calendar interval before it, and those of them who bought in it. */
export async function retentionSeries(
  db: Db,
  context: Present,
  scope: Scope,
  buckets: readonly Bucket[],
  minOrders: number,
): Promise<RetentionCounts[]> {
  const first = buckets[0];
  if (!first || scope.interval === null) return [];
  const before = previousBucket(scope.interval, first.start, scope.timeZone);
  const cut = (instant: string) => earlier(instant, scope.asOf);
  const minimum = minOrders > 1;
  const ends = buckets.map((b) => cut(b.insideTo));
  const inDays =
    first.from !== first.insideFrom
      ? null
      : await fromPurchases(
          db,
          context,
          scope,
          [before.from, first.from, ...ends],
          consecutiveDays({ minimum }),
          () => ({ minOrders }),
        );
  const bounds = [
    before.from,
    first.from,
    ...buckets.map((b) => b.insideFrom),
    ...buckets.slice(-1).map((b) => b.insideTo),
  ].map(cut);
  const rows =
    inDays ??
    (await overBounds(
      db,
      scope,
      bounds,
      chooseSource(scope, bounds, context),
      (shape) => consecutive({ ...shape, minimum }),
      { minOrders },
    ));
  const counts = buckets.map((): RetentionCounts => ({ previousBuyers: 0, retained: 0 }));
  for (const { bucket, previousBuyers, retained } of rows) {
    if (bucket <= counts.length) counts[bucket - 1] = { previousBuyers, retained };
  }
  return counts;
}

const repeats = shaped<Shape, { nth: boolean; bucket: number; customers: number }>('repeat_purchase', (shape) => {
  const placed = bucketed('placed', buyerRows(shape), shape, { amounts: false, sinceStart: false });
  return sql`with ${placed}, buckets as (
      select customer_id, k, sum(n) as n from placed group by 1, 2
    ), running as (
      select customer_id, k, sum(n) over (partition by customer_id order by k) as orders from buckets
    ), milestones as (
      select min(k) as first_k, min(k) filter (where orders >= ${param('minOrders')}::bigint) as nth_k from running group by customer_id
    )
    select false as nth, first_k as bucket, count(*) as customers from milestones group by 2
    union all select true, nth_k, count(*) from milestones where nth_k is not null group by 2`;
});

const repeatDays = purchaseStatement<object, { first: number; nth: number | null; customers: number }>(
  'repeat_purchase_days',
  false,
  () =>
    sql`select ${rangeOf(sql`p.days[1]`)} as first, ${rangeOf(sql`p.days[width_bucket(${param('minOrders')}::int - 1, p.orders) + 1]`)} as nth,
      count(*) as customers from ${buyers} group by 1, 2`,
);

/**
 * As of each end: customers with at least one order, and with at least `minOrders`.
 * @param ends ascending
 */
export async function repeatCounts(
  db: Db,
  context: Present,
  scope: Scope,
  ends: readonly string[],
  minOrders: number,
): Promise<{ buyers: number; repeatBuyers: number }[]> {
  const bounds = ends.map((end) => earlier(end, scope.end));
  // Bucket k of ascending ends: before the k-th end, counted from 0, and at or after the one before it.
  const first: [number, number][] = [];
  const nth: [number, number][] = [];
  const inDays = await fromPurchases(db, context, scope, bounds, repeatDays({}), () => ({ minOrders }));
  for (const row of inDays ?? []) {
    first.push([row.first, row.customers]);
    if (row.nth !== null) nth.push([row.nth, row.customers]);
  }
  if (!inDays) {
    const source = chooseSource(scope, bounds, context);
    for (const row of await overBounds(db, scope, bounds, source, repeats, { minOrders })) {
      (row.nth ? nth : first).push([row.bucket, row.customers]);
    }
  }
  const ever = runningTotals(bounds.length, first);
  const repeatBuyers = runningTotals(bounds.length, nth);
  return bounds.map((_, index) => ({ buyers: ever[index] ?? 0, repeatBuyers: repeatBuyers[index] ?? 0 }));
}

/** Sums up changes by index (those beyond the end are dropped). */
export function runningTotals(
  length: number,
  changes: readonly (readonly [index: number, change: number])[],
): number[] {
  const totals = new Array<number>(length).fill(0);
  for (const [index, change] of changes) if (index < length) totals[index] = (totals[index] ?? 0) + change;
  for (let i = 1; i < length; i += 1) totals[i] = (totals[i] ?? 0) + (totals[i - 1] ?? 0);
  return totals;
}
