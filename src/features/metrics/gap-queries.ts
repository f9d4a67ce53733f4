import { type SQL, sql } from 'drizzle-orm';
import type { Bin } from '../../domain/distribution.ts';
import { localDateOf, startOfDayBefore } from '../../domain/preceding-period.ts';
import {
  type CustomerGaps,
  type CustomerMeans,
  customerMeans,
  type GapStatistics,
} from '../../domain/purchase-gaps.ts';
import { type Db, param } from '../../platform/db/client.ts';
import {
  buyers,
  dateBounds,
  dateOf,
  day,
  fromPurchases,
  inReportingZone,
  isSeries,
  next,
  type Present,
  place,
  placeOf,
  purchaseStatement,
  type Ranges,
  rangeOf,
  visits,
} from './purchases.ts';
import { runningTotals } from './retention-queries.ts';
import { earlier, forParameter, type Scope } from './scope.ts';
import { boughtOrders, factsOnly, localTime, ordersOf, overBounds, type Shape, shaped, zoneValues } from './source.ts';

/**
 * What needs each customer's sequence of purchase days: from `customer_purchases`, else from the facts. Days are local dates in the
 * zone; a day takes part in a range by its first order.
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

interface GapDays {
  kind: 'gap' | 'customers' | 'middle' | 'first';
  bucket: number;
  days: number;
  gaps: number;
  n: number;
  /** A mean gap. */
  mean: number;
}

/** The gaps of a visit run from the last day before the range, or from the first day ever, to the last one in it. */
const gapDays = purchaseStatement<Ranges, GapDays>('purchase_gap_days', false, (ranges) => {
  const since = sql`greatest(before, 1)`;
  const gaps = ranges.series
    ? sql`select k, days from (select ${next} - ${day} as days, ${rangeOf(next)} as k from ${buyers}) g
        where k between 1 and cardinality(${dateBounds}) - 1`
    : sql`select 1 as k, unnest(v.days[${since} + 1:upto]) - unnest(v.days[${since}:upto - 1]) as days from ${visits(ranges)} v`;
  const means = sql`(select k, upto - ${since} as gaps, days[upto] - days[${since}] as days from ${visits(ranges)} v where counts and upto > ${since})`;
  return sql`with sorted as (
      select k, count(*) as n, array_agg(days::float8 / gaps order by days::float8 / gaps) as means from ${means} m group by k
    )
    select 'gap' as kind, k as bucket, days::bigint as days, 0::bigint as gaps, count(*) as n, 0::float8 as mean from (${gaps}) g where days > 0 group by k, days
    union all select 'customers', k, sum(days), gaps, count(*), 0 from ${means} m group by k, gaps
    union all select 'middle', k, 0, 0, place, means[place] from sorted, lateral (select distinct unnest(array[(n + 1) / 2, n / 2 + 1]) as place) p
    union all select 'first', ${rangeOf(sql`p.days[1]`)}, 0, 0, count(*), 0 from ${buyers} group by 2`;
});

/** The gaps that were closed in each of the consecutive ranges, and the customers waiting at its end. */
export async function gapStatistics(
  db: Db,
  context: Present,
  scope: Scope,
  bounds: readonly string[],
  merge: boolean,
): Promise<GapStatistics[]> {
  const histograms = bounds.slice(1).map((): Bin[] => []);
  const firsts: [number, number][] = [];
  const inDays =
    merge && inReportingZone(scope, context)
      ? await fromPurchases(db, context, scope, bounds, gapDays(isSeries(bounds)))
      : null;
  let means: CustomerMeans[];
  if (inDays) {
    const found = histograms.map(() => ({ byGaps: [] as GapDays[], middle: [] as GapDays[] }));
    for (const row of inDays) {
      const { kind, bucket, days, n } = row;
      if (kind === 'first') firsts.push([Math.max(bucket - 1, 0), n]);
      else if (kind === 'gap') histograms[bucket - 1]?.push({ value: days, count: n });
      else found[bucket - 1]?.[kind === 'middle' ? 'middle' : 'byGaps'].push(row);
    }
    means = found.map(({ byGaps, middle }) => ({
      byGaps: byGaps.map(({ gaps, n, days }) => ({ gaps, customers: n, days })),
      middle: middle.map(({ mean }) => mean).sort((a, b) => a - b),
    }));
  } else {
    const more = zoneValues(scope.timeZone);
    const byCustomer = histograms.map((): CustomerGaps[] => []);
    for (const row of await overBounds(db, scope, bounds, factsOnly(), (shape) => gapRows({ ...shape, merge }), more)) {
      const { kind, bucket, days, gaps, n } = row;
      if (kind === 'first') firsts.push([Math.max(bucket - 1, 0), n]);
      else if (kind === 'gap') histograms[bucket - 1]?.push({ value: days ?? 0, count: n });
      else byCustomer[bucket - 1]?.push({ days: days ?? 0, gaps: gaps ?? 0, customers: n });
    }
    means = byCustomer.map(customerMeans);
  }
  const ever = runningTotals(histograms.length, firsts);
  // Every buyer waits for the next purchase: one open gap each.
  return histograms.map((histogram, index) => ({
    histogram,
    customers: means[index] ?? customerMeans([]),
    openGaps: ever[index] ?? 0,
  }));
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

/** Each buyer's last day before the one reference. */
const silentDays = purchaseStatement<object, { customers: number; silent: number }>(
  'churn_silence_days',
  false,
  () =>
    sql`select count(*) as customers, count(*) filter (where p.days[${placeOf(dateOf('to'))}] < (${param('cutoffs')}::date[])[1]) as silent
      from ${buyers} and p.days[1] < ${dateOf('to')}`,
);

type Spans = { first: boolean; bucket: number; until: number | null; customers: number };

/** The same of many references: each day is its customer's last one from the day after to the next purchase. */
const silentSpans = purchaseStatement<object, Spans>('churn_silence_spans', false, () => {
  const cutoffs = sql`${param('cutoffs')}::date[]`;
  const days = sql`(select width_bucket(${day}, ${cutoffs}) as since, ${rangeOf(next)} as until from ${buyers})`;
  return sql`select true as first, ${rangeOf(sql`p.days[1]`)} as bucket, null::int as until, count(*) as customers from ${buyers} group by 2
    union all select false, since, until, count(*) from ${days} d where since < coalesce(until, cardinality(${cutoffs})) group by 2, 3`;
});

/** As of each reference (ascending): buyers, and those without an order in the last `silenceDays` calendar days. */
export async function silenceCounts(
  db: Db,
  context: Present,
  scope: Scope,
  references: readonly string[],
  silenceDays: number,
): Promise<{ customers: number; silent: number }[]> {
  const bounds = references.map((reference) => earlier(reference, scope.end));
  const cutoffs = forParameter('silenceDays', () =>
    bounds.map((bound) => startOfDayBefore(bound, silenceDays, scope.timeZone)),
  );
  if (inReportingZone(scope, context)) {
    const dates = { cutoffs: cutoffs.map((cutoff) => localDateOf(cutoff, scope.timeZone)) };
    if (bounds.length === 1) {
      const inDays = await fromPurchases(db, context, scope, bounds, silentDays({}), () => dates);
      if (inDays) return inDays.map(({ customers, silent }) => ({ customers, silent }));
    } else {
      const spans = await fromPurchases(db, context, scope, bounds, silentSpans({}), () => dates);
      if (spans) return silentAt(bounds.length, spans);
    }
  }
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

function silentAt(references: number, spans: readonly Spans[]): { customers: number; silent: number }[] {
  const bought = spans.filter(({ first }) => first);
  const silent = spans.filter(({ first }) => !first);
  const customers = runningTotals(
    references,
    bought.map((row) => [row.bucket, row.customers]),
  );
  const begun = runningTotals(
    references,
    silent.map((row) => [row.bucket, row.customers]),
  );
  const ended = runningTotals(
    references,
    silent.map((row) => [row.until ?? references, row.customers]),
  );
  return customers.map((count, index) => ({ customers: count, silent: (begun[index] ?? 0) - (ended[index] ?? 0) }));
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

type GapSpans = { gaps: number; seen: number; since: number | null; until: number | null; customers: number };

const ownGapSpans = purchaseStatement<object, GapSpans>('churn_gap_days', false, () => {
  const span = sql`div(${param('factor')}::numeric * (day - first), nullif(gaps, 0))::bigint`;
  const after = sql`width_bucket(day - date '1970-01-01' + ${span}, ${param('dates')}::bigint[])`;
  const days = sql`(select gaps, seen, until, ${after} as after from (
      select ${place} - 1 as gaps, ${day} as day, p.days[1] as first, ${rangeOf(day)} as seen, ${rangeOf(next)} as until from ${buyers}) each)`;
  return sql`select least(gaps, 2) as gaps, seen, case when greatest(seen, after) < coalesce(until, ${param('references')}::int) and gaps > 0 then greatest(seen, after) end as since,
      until, count(*) as customers from ${days} d group by 1, 2, 3, 4`;
});

/** As of each reference (ascending): customers with a gap, those silent for `factor` × their mean gap, and the others. */
export async function ownGapCounts(
  db: Db,
  context: Present,
  scope: Scope,
  references: readonly string[],
  factor: number,
): Promise<{ customersWithGap: number; silent: number; customersWithoutGap: number }[]> {
  const bounds = references.map((reference) => earlier(reference, scope.end));
  const dates = bounds.map((bound) => Date.parse(`${localDateOf(bound, scope.timeZone)}T00:00:00Z`) / 86_400_000);
  const more = { ...zoneValues(scope.timeZone), factor: String(factor), dates, references: bounds.length };
  const spans = inReportingZone(scope, context)
    ? await fromPurchases(db, context, scope, bounds, ownGapSpans({}), () => more)
    : null;
  const rows = spans ? spans.flatMap(changesOf) : await overBounds(db, scope, bounds, factsOnly(), ownGapRows, more);
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

function changesOf({ gaps, seen, since, until, customers }: GapSpans) {
  const changes: { measure: 'buyers' | 'with_gap' | 'silent'; bucket: number; change: number }[] = [];
  if (gaps === 0) changes.push({ measure: 'buyers', bucket: seen, change: customers });
  if (gaps === 1) changes.push({ measure: 'with_gap', bucket: seen, change: customers });
  if (since !== null) {
    changes.push({ measure: 'silent', bucket: since, change: customers });
    if (until !== null) changes.push({ measure: 'silent', bucket: until, change: -customers });
  }
  return changes;
}
