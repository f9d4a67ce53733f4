import { sql } from 'drizzle-orm';
import type { OrderSums } from '../../domain/average-order-value.ts';
import { type HistoricStatistics, percentiles } from '../../domain/lifetime-value.ts';
import { exactInteger } from '../../domain/money.ts';
import { type Db, param } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { isSomebody } from '../../records/nobody.ts';
import type { Scope } from './scope.ts';
import {
  bucket,
  bucketed,
  buyerRows,
  chooseSource,
  factsOnly,
  markType,
  orderRows,
  overBounds,
  type Rows,
  returnRows,
  type Shape,
  shaped,
} from './source.ts';

/** Sums of `bigint` columns are `numeric`, and numeric text becomes a bigint: they never pass through a float. */
type Numeric = string;

/** Orders of the range that have no value in the metric's currency. */
export interface Unvalued {
  missingRate: number;
}

type Zone = Pick<Context, 'reportingTimeZone'>;

type AverageRow = Omit<OrderSums, 'revenue'> & {
  revenue: Numeric;
  bucket: number;
  /** null: nobody is known to have bought. */
  returning: boolean | null;
  missingRate: number;
};

/** Whether a customer is returning is a matter of purchases by the end of the range, valued or not. */
const averages = shaped<Shape, AverageRow>('average_order_value', (shape) => {
  const placed = bucketed('placed', orderRows(shape), shape, { amounts: true, sinceStart: false });
  return sql`with ${placed}, buckets as (
      select customer_id, k, sum(n) as n, sum(valued) as valued, sum(amount) as revenue from placed group by 1, 2
    ), running as (
      select customer_id, k, n, valued, revenue, sum(n) over (partition by customer_id order by k) as by_now from buckets
    )
    select k as bucket, case when ${isSomebody(sql`customer_id`)} then by_now >= 2 end as returning, sum(valued)::bigint as orders, sum(revenue) as revenue,
      count(*) filter (where valued > 0) as customers, sum(n - valued)::bigint as "missingRate"
    from running where k >= 1 group by 1, 2`;
});

/** Orders and revenue of each of the consecutive ranges, by returning and one-time customers. */
export async function averageOrderSums(
  db: Db,
  context: Zone,
  scope: Scope,
  bounds: readonly string[],
): Promise<({ returning: OrderSums; oneTime: OrderSums; anonymous: OrderSums } & Unvalued)[]> {
  const source = chooseSource(scope, bounds, context.reportingTimeZone);
  const rows = await overBounds(db, scope, bounds, source, averages);
  const none = (): OrderSums => ({ orders: 0, revenue: 0n, customers: 0 });
  const ranges = bounds.slice(1).map(() => ({ returning: none(), oneTime: none(), anonymous: none(), missingRate: 0 }));
  for (const row of rows) {
    const range = ranges[row.bucket - 1];
    if (!range) continue;
    const group = row.returning === null ? 'anonymous' : row.returning ? 'returning' : 'oneTime';
    range[group] = {
      orders: row.orders,
      revenue: exactInteger(row.revenue),
      customers: row.returning === null ? 0 : row.customers,
    };
    range.missingRate += row.missingRate;
  }
  return ranges;
}

/** Returns of a range that are not in its revenue, and why. */
export interface ReturnsLeftOut {
  returnsWithoutRate: number;
  /** Of customers without any qualifying order by the end of the range. */
  strangersReturns: number;
  strangersReturned: bigint;
  /** Of customers who bought before the range and not in it, where the number is of its buyers one by one. */
  earlierReturns: number;
  earlierReturned: bigint;
}

interface LeftOutRow {
  returnsWithoutRate: number;
  strangersReturns: number;
  strangersReturned: Numeric;
  earlierReturns: number;
  earlierReturned: Numeric;
}

function leftOut(row: LeftOutRow): ReturnsLeftOut {
  return {
    returnsWithoutRate: row.returnsWithoutRate,
    strangersReturns: row.strangersReturns,
    strangersReturned: exactInteger(row.strangersReturned),
    earlierReturns: row.earlierReturns,
    earlierReturned: exactInteger(row.earlierReturned),
  };
}

/**
 * `bought`: orders by customer and range. `brought`: returns likewise. `firsts`: for customers with returns, the range
 * of their first order, whatever its time: whether they are customers at all.
 */
function boughtAndBrought(shape: Shape, orders: Rows) {
  const returns = returnRows(shape);
  const type = markType(shape);
  const inRange = { amounts: true, sinceStart: true };
  return sql`${bucketed('placed', orders, shape, inRange)}, ${bucketed('sent_back', returns, shape, inRange)}, bought as (
      select customer_id, k, sum(n) as n, sum(valued) as valued, sum(amount) as revenue from placed group by 1, 2
    ), brought as (
      select customer_id, k, sum(n) as n, sum(valued) as valued, sum(amount) as returned from sent_back group by 1, 2
    ), firsts as (
      select ${orders.customer}, min(${bucket(orders.at, shape)}) as first_k
      from ${orders.from} where ${orders.where} and ${orders.at} < ${param('end')}::${type} and o.customer_id in (select customer_id from brought) group by 1
    )`;
}

type RevenueRow = LeftOutRow & {
  bucket: number;
  buyers: number;
  anonymousOrders: number;
  revenue: Numeric;
  missingRate: number;
};

const revenues = shaped<Shape, RevenueRow>('revenue_per_customer', (shape) => {
  const counts = sql`f.first_k <= b.k`;
  return sql`with ${boughtAndBrought(shape, orderRows(shape))}, sales as (
      select k, count(*) filter (where valued > 0 and ${isSomebody(sql`customer_id`)}) as buyers,
        count(*) filter (where valued > 0 and not ${isSomebody(sql`customer_id`)}) as anonymous, sum(revenue) as revenue, sum(n - valued)::bigint as missing from bought group by k
    ), reversals as (
      select b.k, sum(b.returned) filter (where ${counts}) as returned, sum(b.n - b.valued) as missing,
        sum(b.valued) filter (where (${counts}) is not true) as strangers_n, sum(b.returned) filter (where (${counts}) is not true) as strangers
      from brought b left join firsts f using (customer_id) group by b.k
    )
    select k as bucket, coalesce(s.buyers, 0) as buyers, coalesce(s.anonymous, 0) as "anonymousOrders",
      coalesce(s.revenue, 0) - coalesce(r.returned, 0) as revenue,
      coalesce(s.missing, 0)::bigint as "missingRate", coalesce(r.missing, 0)::bigint as "returnsWithoutRate",
      coalesce(r.strangers_n, 0)::bigint as "strangersReturns", coalesce(r.strangers, 0)::numeric as "strangersReturned",
      0::bigint as "earlierReturns", 0::numeric as "earlierReturned"
    from sales s full join reversals r using (k)`;
});

export type RevenueSums = { revenue: bigint; buyers: number; anonymousOrders: number } & Unvalued & ReturnsLeftOut;

/** Net revenue and distinct buyers of each of the consecutive ranges. */
export async function revenueSums(
  db: Db,
  context: Zone,
  scope: Scope,
  bounds: readonly string[],
): Promise<RevenueSums[]> {
  const source = chooseSource(scope, bounds, context.reportingTimeZone);
  const rows = await overBounds(db, scope, bounds, source, revenues);
  const byBucket = new Map(rows.map((row) => [row.bucket, row]));
  return bounds.slice(1).map((_, index) => {
    const row = byBucket.get(index + 1);
    if (!row) return { revenue: 0n, buyers: 0, anonymousOrders: 0, missingRate: 0, ...nothingLeftOut };
    const { buyers, anonymousOrders, missingRate } = row;
    return { revenue: exactInteger(row.revenue), buyers, anonymousOrders, missingRate, ...leftOut(row) };
  });
}

const nothingLeftOut: ReturnsLeftOut = {
  returnsWithoutRate: 0,
  strangersReturns: 0,
  strangersReturned: 0n,
  earlierReturns: 0,
  earlierReturned: 0n,
};

/**
 * `net`: what each buyer of a range brought in it, orders less returns. `aside`: per range, what is not in `net`.
 * Needs `bought`, `brought` and `firsts`.
 */
const netByBuyer = sql`net as (
      select o.customer_id, o.k, o.revenue - coalesce(r.returned, 0) as net
      from bought o left join brought r using (customer_id, k) where o.valued > 0
    ), aside as (
      select k, sum(missing)::bigint as missing, sum(no_rate)::bigint as no_rate, sum(strangers_n)::bigint as strangers_n,
        sum(strangers) as strangers, sum(earlier_n)::bigint as earlier_n, sum(earlier) as earlier
      from (
        select k, n - valued as missing, 0 as no_rate, 0 as strangers_n, 0 as strangers, 0 as earlier_n, 0 as earlier from bought
        union all
        select k, 0, b.n - b.valued, case when stranger then b.valued else 0 end, case when stranger then b.returned else 0 end,
          case when stranger or buyer then 0 else b.valued end, case when stranger or buyer then 0 else b.returned end
        from brought b left join firsts f using (customer_id) left join bought o using (customer_id, k),
          lateral (select (f.first_k <= k) is not true as stranger, coalesce(o.valued, 0) > 0 as buyer) as who
      ) parts group by k
    )`;

const asideColumns = sql`a.missing as "missingRate", a.no_rate as "returnsWithoutRate", a.strangers_n as "strangersReturns",
      a.strangers as "strangersReturned", a.earlier_n as "earlierReturns", a.earlier as "earlierReturned"`;

type HistoricRow = LeftOutRow & {
  bucket: number;
  missingRate: number;
  buyers: number;
  sum: Numeric;
  squares: Numeric;
  /** rank → net revenue, as text. */
  ranked: Record<string, string> | null;
};

const historic = shaped<Shape, HistoricRow>(
  'lifetime_value_historic',
  (shape) => sql`with ${boughtAndBrought(shape, buyerRows(shape))}, ${netByBuyer}, ranked as (
      select k, net, row_number() over (partition by k order by net) - 1 as rank from net
    ), sums as (
      select k, count(*) as buyers, sum(net) as sum, sum(net::numeric * net::numeric) as squares from net group by k
    ), wanted as (
      select k, unnest(array[0, buyers - 1]) as rank from sums
      union select k, (buyers - 1) * p / 10000 + step from sums, unnest(${param('percentiles')}::int[]) p, unnest(array[0, 1]) step
    ), picked as (
      select k, json_object_agg(rank, net::text) as ranked from ranked join wanted using (k, rank) group by k
    )
    select k as bucket, coalesce(s.buyers, 0) as buyers, coalesce(s.sum, 0) as sum, coalesce(s.squares, 0) as squares, p.ranked, ${asideColumns}
    from aside a left join sums s using (k) left join picked p using (k)`,
);

/** In ten-thousandths, so that ranks are whole-number arithmetic in the database as in `quantileRanks`. */
const percentileSteps = Object.values(percentiles).map((p) => Math.round(p * 10_000));

export type HistoricSums = HistoricStatistics & Unvalued & ReturnsLeftOut;

/** Net revenue per buyer of each of the consecutive ranges: sums and order statistics. */
export async function historicSums(
  db: Db,
  context: Zone,
  scope: Scope,
  bounds: readonly string[],
): Promise<HistoricSums[]> {
  const source = chooseSource(scope, bounds, context.reportingTimeZone);
  const rows = await overBounds(db, scope, bounds, source, historic, { percentiles: percentileSteps });
  const byBucket = new Map(rows.map((row) => [row.bucket, row]));
  return bounds.slice(1).map((_, index) => {
    const row = byBucket.get(index + 1);
    if (!row)
      return { buyers: 0, sum: 0n, sumOfSquares: 0n, orderStatistics: new Map(), missingRate: 0, ...nothingLeftOut };
    return {
      buyers: row.buyers,
      sum: exactInteger(row.sum),
      sumOfSquares: exactInteger(row.squares),
      orderStatistics: new Map(
        Object.entries(row.ranked ?? {}).map(([rank, net]) => [Number(rank), exactInteger(net)]),
      ),
      missingRate: row.missingRate,
      ...leftOut(row),
    };
  });
}

type SimpleRow = LeftOutRow & {
  bucket: number;
  missingRate: number;
  buyers: number;
  sum: Numeric;
  known: number;
  cost: Numeric;
};

/** A cost counts in the range its acquisition falls into; a buyer won earlier cost nothing in this one. */
const simple = shaped<Shape, SimpleRow>(
  'lifetime_value_simple',
  (shape) => sql`with ${boughtAndBrought(shape, buyerRows(shape))}, ${netByBuyer}, acquired as (
      select c.id as customer_id, c.acquisition_cost as cost, coalesce(c.acquired_on, (
        select (min(${orderRows(shape).at}) at time zone ${param('timeZone')}::text)::date
        from ${orderRows(shape).from} where ${orderRows(shape).where} and o.customer_id = c.id)) as day
      from customers c where c.acquisition_cost is not null and c.id in (select customer_id from net)
    ), sums as (
      select n.k, count(*) as buyers, sum(n.net) as sum, count(a.cost) as known,
        sum(a.cost) filter (where a.day between (${param('firstDates')}::date[])[n.k] and (${param('lastDates')}::date[])[n.k]) as cost
      from net n left join acquired a using (customer_id) group by n.k
    )
    select k as bucket, coalesce(s.buyers, 0) as buyers, coalesce(s.sum, 0) as sum, coalesce(s.known, 0) as known, coalesce(s.cost, 0) as cost, ${asideColumns}
    from aside a left join sums s using (k)`,
);

export type SimpleSums = {
  buyers: number;
  revenue: bigint;
  acquisitionCost: bigint;
  buyersWithAcquisitionCost: number;
} & Unvalued &
  ReturnsLeftOut;

/**
 * Net revenue and acquisition cost of the buyers of each of the consecutive ranges, from the facts.
 * @param days first and last local date of each range
 */
export async function simpleSums(
  db: Db,
  scope: Scope,
  bounds: readonly string[],
  days: { firstDates: string[]; lastDates: string[] },
): Promise<SimpleSums[]> {
  const rows = await overBounds(db, scope, bounds, factsOnly(), simple, { ...days, timeZone: scope.timeZone });
  const byBucket = new Map(rows.map((row) => [row.bucket, row]));
  return bounds.slice(1).map((_, index) => {
    const row = byBucket.get(index + 1);
    if (!row) {
      return {
        buyers: 0,
        revenue: 0n,
        acquisitionCost: 0n,
        buyersWithAcquisitionCost: 0,
        missingRate: 0,
        ...nothingLeftOut,
      };
    }
    return {
      buyers: row.buyers,
      revenue: exactInteger(row.sum),
      acquisitionCost: exactInteger(row.cost),
      buyersWithAcquisitionCost: row.known,
      missingRate: row.missingRate,
      ...leftOut(row),
    };
  });
}
