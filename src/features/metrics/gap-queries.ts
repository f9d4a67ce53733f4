import { type SQL, sql } from 'drizzle-orm';
import type { Bin } from '../../domain/distribution.ts';
import { localDateOf, startOfDayBefore } from '../../domain/preceding-period.ts';
import type { CustomerGaps, GapStatistics } from '../../domain/purchase-gaps.ts';
import { type Db, param } from '../../platform/db/client.ts';
import { runningTotals } from './retention-queries.ts';
import { earlier, forParameter, type Scope } from './scope.ts';
import { boughtOrders, factsOnly, localTime, ordersOf, overBounds, type Shape, shaped, zoneValues } from './source.ts';

/**
 * What needs each customer's sequence of purchase days: always from the facts. Days are local dates in the zone; a day
 * takes part in a range by its first order.
 */

type GapRow = {
  kind: 'gap' | 'customer' | 'first';
  bucket: number;
  days: number | null;
  gaps: number | null;
  n: number;
};

/** The qualifying orders before the end; materialised for the reason that `bucketed` gives. */
function purchases(shape: Shape): SQL {
  return sql`placed as materialized (
      select o.customer_id, o.placed_at as at, o.id, ${localTime(sql`o.placed_at`)}::date as day
      from ${ordersOf(shape)} where ${boughtOrders(shape)} and o.placed_at < ${param('end')}::timestamptz
    )`;
}

const gapRows = shaped<Shape & { merge: boolean }, GapRow>('purchase_gaps', (shape) => {
  const merged = sql`select customer_id, day, min(at) as at, null::uuid as id from placed group by 1, 2`;
  const order = shape.merge ? sql`day` : sql`at, id`;
  // Where the clock went back over midnight the next order may carry the date before: the same day then.
  return sql`with ${purchases(shape)}, purchases as (
      ${shape.merge ? merged : sql`select customer_id, day, at, id from placed`}
    ), steps as (
      select customer_id, width_bucket(at, ${param('bounds')}::timestamptz[]) as k,
        greatest(day - lag(day) over (partition by customer_id order by ${order}), 0) as days,
        lag(day) over (partition by customer_id order by ${order}) is null as first
      from purchases
    ), gaps as materialized (
      select customer_id, k, days from steps where not first and k >= 1
    ), customers as (
      select k, sum(days) as days, count(*) as gaps from gaps group by k, customer_id
    )
    select 'gap' as kind, k as bucket, days::bigint as days, null::bigint as gaps, count(*) as n from gaps group by k, days
    union all select 'customer', k, days::bigint, gaps, count(*) from customers group by k, days, gaps
    union all select 'first', k, null, null, count(*) from steps where first group by k`;
});

/** The gaps that were closed in each of the consecutive ranges, and the customers waiting at its end. */
export async function gapStatistics(
  db: Db,
  scope: Scope,
  bounds: readonly string[],
  merge: boolean,
): Promise<GapStatistics[]> {
  const more = zoneValues(scope.timeZone);
  const rows = await overBounds(db, scope, bounds, factsOnly(), (shape) => gapRows({ ...shape, merge }), more);
  const ranges = bounds.slice(1).map(() => ({ histogram: [] as Bin[], byCustomer: [] as CustomerGaps[] }));
  const firsts: [number, number][] = [];
  for (const { kind, bucket, days, gaps, n } of rows) {
    const range = ranges[bucket - 1];
    if (kind === 'first') firsts.push([Math.max(bucket - 1, 0), n]);
    else if (kind === 'gap') range?.histogram.push({ value: days ?? 0, count: n });
    else range?.byCustomer.push({ days: days ?? 0, gaps: gaps ?? 0, customers: n });
  }
  const buyers = runningTotals(ranges.length, firsts);
  // Every buyer waits for the next purchase: one open gap each.
  return ranges.map((range, index) => ({ ...range, openGaps: buyers[index] ?? 0 }));
}

/**
 * Between two references only the latest order matters. It is its customer's last, and silent, at those references that
 * come after the silence limit and not after the next order: consecutive ones, so one step up and one down each.
 */
const silenceRows = shaped<Shape, { measure: 'buyers' | 'silent'; bucket: number; change: number }>(
  'churn_silence',
  (shape) => sql`with ${purchases(shape)}, latest as (
      select customer_id, width_bucket(at, ${param('bounds')}::timestamptz[]) as seen, max(at) as at from placed group by 1, 2
    ), visits as (
      select seen, width_bucket(at, ${param('cutoffs')}::timestamptz[]) as silent_from, lead(seen) over visits as silent_to,
        row_number() over visits = 1 as first
      from latest window visits as (partition by customer_id order by seen)
    ), spans as (
      select silent_from, silent_to from visits where silent_from < coalesce(silent_to, ${param('references')}::int)
    )
    select 'buyers' as measure, seen as bucket, count(*) as change from visits where first group by 2
    union all select 'silent', silent_from, count(*) from spans group by 2
    union all select 'silent', silent_to, -count(*) from spans where silent_to is not null group by 2`,
);

/** As of each reference (ascending): buyers, and those without an order in the last `silenceDays` calendar days. */
export async function silenceCounts(
  db: Db,
  scope: Scope,
  references: readonly string[],
  silenceDays: number,
): Promise<{ customers: number; silent: number }[]> {
  const bounds = references.map((reference) => earlier(reference, scope.end));
  const cutoffs = forParameter('silenceDays', () =>
    bounds.map((bound) => startOfDayBefore(bound, silenceDays, scope.timeZone)),
  );
  const more = { ...zoneValues(scope.timeZone), cutoffs, references: bounds.length };
  const rows = await overBounds(db, scope, bounds, factsOnly(), silenceRows, more);
  const total = (measure: string) =>
    runningTotals(
      bounds.length,
      rows.filter((row) => row.measure === measure).map((row) => [row.bucket, row.change]),
    );
  const customers = total('buyers');
  const silent = total('silent');
  return bounds.map((_, index) => ({ customers: customers[index] ?? 0, silent: silent[index] ?? 0 }));
}

/**
 * After each purchase day a customer has a mean gap, and is silent from the reference whose date lies more than
 * `factor` × that mean after the day. Days and dates are whole, so the comparison is with the whole part of the product,
 * which `div` gives exactly.
 */
const ownGapRows = shaped<Shape, { measure: 'buyers' | 'with_gap' | 'silent'; bucket: number; change: number }>(
  'churn_gap',
  (shape) => sql`with ${purchases(shape)}, days as (
      select customer_id, day, min(at) as at from placed group by 1, 2
    ), states as (
      select row_number() over days - 1 as gaps, day - first_value(day) over days as span, day,
        width_bucket(at, ${param('bounds')}::timestamptz[]) as seen,
        width_bucket(lead(at) over days, ${param('bounds')}::timestamptz[]) as silent_to
      from days window days as (partition by customer_id order by day)
    ), limits as (
      select seen, silent_to, width_bucket(day + div(${param('factor')}::numeric * span, gaps)::bigint, ${param('dates')}::bigint[]) as after
      from (select seen, silent_to, gaps, span, day - date '1970-01-01' as day from states where gaps >= 1) s
    ), spans as (
      select greatest(seen, after) as silent_from, silent_to from limits
      where greatest(seen, after) < coalesce(silent_to, ${param('references')}::int)
    )
    select 'buyers' as measure, seen as bucket, count(*) as change from states where gaps = 0 group by 2
    union all select 'with_gap', seen, count(*) from states where gaps = 1 group by 2
    union all select 'silent', silent_from, count(*) from spans group by 2
    union all select 'silent', silent_to, -count(*) from spans where silent_to is not null group by 2`,
);

/** As of each reference (ascending): customers with a gap, those silent for `factor` × their mean gap, and the others. */
export async function ownGapCounts(
  db: Db,
  scope: Scope,
  references: readonly string[],
  factor: number,
): Promise<{ customersWithGap: number; silent: number; customersWithoutGap: number }[]> {
  const bounds = references.map((reference) => earlier(reference, scope.end));
  const dates = bounds.map((bound) => Date.parse(`${localDateOf(bound, scope.timeZone)}T00:00:00Z`) / 86_400_000);
  const more = { ...zoneValues(scope.timeZone), factor: String(factor), dates, references: bounds.length };
  const rows = await overBounds(db, scope, bounds, factsOnly(), ownGapRows, more);
  const total = (measure: string) =>
    runningTotals(
      bounds.length,
      rows.filter((row) => row.measure === measure).map((row) => [row.bucket, row.change]),
    );
  const buyers = total('buyers');
  const withGap = total('with_gap');
  const silent = total('silent');
  return bounds.map((_, index) => ({
    customersWithGap: withGap[index] ?? 0,
    silent: silent[index] ?? 0,
    customersWithoutGap: (buyers[index] ?? 0) - (withGap[index] ?? 0),
  }));
}
