import { type SQL, sql } from 'drizzle-orm';
import type { OrderSums } from '../../domain/average-order-value.ts';
import { type HistoricStatistics, percentiles } from '../../domain/lifetime-value.ts';
import { exactInteger } from '../../domain/money.ts';
import type { BuyerSums } from '../../domain/new-and-returning.ts';
import { type Db, param } from '../../platform/db/client.ts';
import { isSomebody } from '../../records/nobody.ts';
import {
  dateBounds,
  everybody,
  fromPurchases,
  isSeries,
  ordersBy,
  ordersIn,
  type Present,
  purchaseStatement,
  type Ranges,
  revenueIn,
  visits,
} from './purchases.ts';
import type { Scope } from './scope.ts';
import {
  bucket,
  bucketed,
  bucketedRows,
  buyerRows,
  chooseSource,
  factsOnly,
  localTime,
  markType,
  orderRows,
  overBounds,
  type Rows,
  returnRows,
  type Shape,
  shaped,
  zoneValues,
} from './source.ts';

/** Sums of `bigint` columns are `numeric`, and numeric text becomes a bigint: they never pass through a float. */
export type Numeric = string;

/** Orders of the range that have no value in the metric's currency. */
export interface Unvalued {
  missingRate: number;
}

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

const averageDays = purchaseStatement<Ranges, AverageRow>('average_order_value_days', true, (ranges) => {
  const somebody = isSomebody(sql`customer_id`);
  const groups = [
    ['true', sql`${somebody} and ${ordersBy} >= 2`],
    ['false', sql`${somebody} and ${ordersBy} < 2`],
    ['null', sql`not ${somebody}`],
  ] as const;
  const sums = groups.map(([name, which]) => {
    const of = sql`filter (where counts and ${which})`;
    const as = (what: string) => sql.raw(`as ${what}_${name}`);
    return sql`sum(${ordersIn}) ${of} ${as('orders')}, sum(${revenueIn}) ${of} ${as('revenue')}, count(*) ${of} ${as('customers')}`;
  });
  const parts = groups.map(([name]) =>
    sql.raw(`(${name}::boolean, orders_${name}, revenue_${name}, customers_${name})`),
  );
  return sql`select k as bucket, g.again as returning, g.orders::bigint as orders, g.revenue, g.customers, 0::bigint as "missingRate"
    from (select k, ${sql.join(sums, sql`, `)} from ${visits(ranges, everybody)} v group by k) s,
      lateral (values ${sql.join(parts, sql`, `)}) g(again, orders, revenue, customers) where g.customers > 0`;
});

/** Orders and revenue of each of the consecutive ranges, by returning and one-time customers. */
export async function averageOrderSums(
  db: Db,
  context: Present,
  scope: Scope,
  bounds: readonly string[],
): Promise<({ returning: OrderSums; oneTime: OrderSums; anonymous: OrderSums } & Unvalued)[]> {
  const rows =
    (await fromPurchases(db, context, scope, bounds, averageDays(isSeries(bounds)))) ??
    (await overBounds(db, scope, bounds, chooseSource(scope, bounds, context), averages));
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

export interface LeftOutRow {
  returnsWithoutRate: number;
  strangersReturns: number;
  strangersReturned: Numeric;
  earlierReturns: number;
  earlierReturned: Numeric;
}

export function leftOut(row: LeftOutRow): ReturnsLeftOut {
  return {
    returnsWithoutRate: row.returnsWithoutRate,
    strangersReturns: row.strangersReturns,
    strangersReturned: exactInteger(row.strangersReturned),
    earlierReturns: row.earlierReturns,
    earlierReturned: exactInteger(row.earlierReturned),
  };
}

/**
 * `by_customer`: what each customer did in each range. Orders: n, valued, revenue; returns: r_n, r_valued, returned.
 *
 * The statements of metrics join no two sets of customers: before the first ANALYZE the planner takes each for a row and
 * compares all of one with all of the other. They group, and look up by key.
 */
export function byCustomer(shape: Shape, orders: Rows, options: { sinceStart: boolean }): SQL {
  return sql`${bucketed('placed', orders, shape, { amounts: true, ...options })},
    sent_back as (${bucketedRows(returnRows(shape), shape, { amounts: true, sinceStart: true })}), by_customer as (
      select customer_id, k, sum(n)::bigint as n, sum(valued)::bigint as valued, sum(revenue) as revenue,
        sum(r_n)::bigint as r_n, sum(r_valued)::bigint as r_valued, sum(returned) as returned
      from (
        select customer_id, k, n, valued, amount as revenue, 0 as r_n, 0 as r_valued, 0 as returned from placed
        union all select customer_id, k, 0, 0, 0, n, valued, amount from sent_back
      ) facts group by 1, 2
    )`;
}

/** The same of the ranges alone, with the range of the first order (whatever its time) of customers who returned something. */
export function withFirsts(shape: Shape, orders: Rows): SQL {
  const { from, at, where, customer } = orders;
  return sql`${byCustomer(shape, orders, { sinceStart: true })}, known as (
      select *, case when r_n > 0 then (select min(${bucket(at, shape)}) from ${from}
        where ${where} and ${at} < ${param('end')}::${markType(shape)} and ${customer} = b.customer_id) end as first_k
      from by_customer b
    )`;
}

/** Per range what is in nobody's revenue. `isEarlier`: returns of customers who bought before, where they are apart. */
export const asideOf = (isEarlier: SQL) => sql`coalesce(sum(n - valued), 0)::bigint as "missingRate",
      coalesce(sum(r_n - r_valued), 0)::bigint as "returnsWithoutRate",
      coalesce(sum(r_valued) filter (where (first_k <= k) is not true), 0)::bigint as "strangersReturns",
      coalesce(sum(returned) filter (where (first_k <= k) is not true), 0)::numeric as "strangersReturned",
      coalesce(sum(r_valued) filter (where first_k <= k and ${isEarlier}), 0)::bigint as "earlierReturns",
      coalesce(sum(returned) filter (where first_k <= k and ${isEarlier}), 0)::numeric as "earlierReturned"`;

const asideNames = ['returnsWithoutRate', 'strangersReturns', 'strangersReturned', 'earlierReturns', 'earlierReturned'];
export const asideOrNone = sql.raw(
  `0::bigint as "missingRate", ${asideNames.map((name) => `coalesce(a."${name}", 0) as "${name}"`).join(', ')}`,
);

type RevenueRow = LeftOutRow & {
  bucket: number;
  buyers: number;
  anonymousOrders: number;
  revenue: Numeric;
  missingRate: number;
};

const revenues = shaped<Shape, RevenueRow>(
  'revenue_per_customer',
  (shape) => sql`with ${withFirsts(shape, orderRows(shape))}
    select k as bucket, count(*) filter (where valued > 0 and ${isSomebody(sql`customer_id`)}) as buyers,
      count(*) filter (where valued > 0 and not ${isSomebody(sql`customer_id`)}) as "anonymousOrders",
      coalesce(sum(revenue), 0) - coalesce(sum(returned) filter (where first_k <= k), 0) as revenue, ${asideOf(sql`false`)}
    from known group by k`,
);

const inRangesOf = sql`width_bucket(returned_at, ${param('instants')}::timestamptz[])`;
const inPeriod = sql`returned_at >= ${param('start')}::timestamptz and returned_at < ${param('end')}::timestamptz`;

/**
 * `sent_back`: what each customer returned in each range, as (customer_id, k, r_n, r_valued, returned), whether there was an order by
 * its end (`bought`), and one in it (`here`). From the returns themselves: they are few beside orders.
 */
export const sentBack = sql`sent_back as materialized (
      select customer_id, k, r_n, r_valued, returned,
        coalesce((select p.days[1] < until from customer_purchases p where p.customer_id = r.customer_id), false) as bought,
        coalesce((select width_bucket(until - 1, p.days) > width_bucket(since - 1, p.days) from customer_purchases p where p.customer_id = r.customer_id), false) as here
      from (
        select customer_id, k, (${dateBounds})[k] as since, (${dateBounds})[k + 1] as until, count(*) as r_n, count(base_net) as r_valued,
          coalesce(sum(base_net), 0) as returned
        from (select customer_id, base_net, ${inRangesOf} as k from returns where ${inPeriod}) f group by 1, 2
      ) r
    )`;

/** What the customer of a visit `v` returned in its range. Only of those who returned anything the returns are asked. */
export const returnedIn = sql`case when v.customer_id in (select customer_id from returns where ${inPeriod}) then coalesce((
        select sum(base_net)::bigint from returns r where r.customer_id = v.customer_id and ${inPeriod} and ${inRangesOf} = v.k), 0) else 0 end`;

/** Per range: returns that are in nobody's revenue. `apart`: those of customers who bought, and are not in it either. */
export const asideOfDays = (bought: SQL, apart: SQL) => sql`0::bigint as "missingRate",
      coalesce(sum(r_n - r_valued), 0)::bigint as "returnsWithoutRate",
      coalesce(sum(r_valued) filter (where not ${bought}), 0)::bigint as "strangersReturns",
      coalesce(sum(returned) filter (where not ${bought}), 0)::numeric as "strangersReturned",
      coalesce(sum(r_valued) filter (where ${bought} and ${apart}), 0)::bigint as "earlierReturns",
      coalesce(sum(returned) filter (where ${bought} and ${apart}), 0)::numeric as "earlierReturned"`;

const revenueDays = purchaseStatement<Ranges, RevenueRow>(
  'revenue_per_customer_days',
  true,
  (ranges) => sql`with ${sentBack}, sold as (
      select k, count(*) filter (where counts and ${isSomebody(sql`customer_id`)}) as buyers, count(*) filter (where counts and not ${isSomebody(sql`customer_id`)}) as anonymous,
        sum(${revenueIn}) filter (where counts) as revenue from ${visits(ranges, everybody)} v group by k
    ), back as (
      select k, sum(returned) filter (where bought) as taken, ${asideOfDays(sql`bought`, sql`false`)} from sent_back group by k
    )
    select k as bucket, coalesce(buyers, 0) as buyers, coalesce(anonymous, 0) as "anonymousOrders",
      coalesce(revenue, 0) - coalesce(taken, 0) as revenue, ${asideOrNone}
    from sold full join back a using (k)`,
);

export type RevenueSums = { revenue: bigint; buyers: number; anonymousOrders: number } & Unvalued & ReturnsLeftOut;

/** Net revenue and distinct buyers of each of the consecutive ranges. */
export async function revenueSums(
  db: Db,
  context: Present,
  scope: Scope,
  bounds: readonly string[],
): Promise<RevenueSums[]> {
  const rows =
    (await fromPurchases(db, context, scope, bounds, revenueDays(isSeries(bounds)))) ??
    (await overBounds(db, scope, bounds, chooseSource(scope, bounds, context), revenues));
  const byBucket = new Map(rows.map((row) => [row.bucket, row]));
  return bounds.slice(1).map((_, index) => {
    const row = byBucket.get(index + 1);
    if (!row) return { revenue: 0n, buyers: 0, anonymousOrders: 0, missingRate: 0, ...nothingLeftOut };
    const { buyers, anonymousOrders, missingRate } = row;
    return { revenue: exactInteger(row.revenue), buyers, anonymousOrders, missingRate, ...leftOut(row) };
  });
}

export const nothingLeftOut: ReturnsLeftOut = {
  returnsWithoutRate: 0,
  strangersReturns: 0,
  strangersReturned: 0n,
  earlierReturns: 0,
  earlierReturned: 0n,
};

/**
 * `net`: what each buyer of a range brought in it, orders less returns. `aside`: per range, what is not in `net`.
 * Needs `known`.
 */
export const netByBuyer = sql`net as (
      select customer_id, k, revenue - returned as net from known where valued > 0
    ), aside as (
      select k, ${asideOf(sql`valued = 0`)} from known group by k
    )`;

export const asideColumns = sql`a."missingRate", a."returnsWithoutRate", a."strangersReturns", a."strangersReturned",
      a."earlierReturns", a."earlierReturned"`;

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
  (shape) => sql`with ${withFirsts(shape, buyerRows(shape))}, ${netByBuyer}, ranked as (
      select k, net, row_number() over (partition by k order by net) - 1 as rank, count(*) over (partition by k) - 1 as last from net
    ), sums as (
      select k, count(*) as buyers, sum(net) as sum, sum(net::numeric * net::numeric) as squares,
        json_object_agg(rank, net::text) filter (where rank in (0, last) or exists (
          select from unnest(${param('percentiles')}::int[]) p where rank - last * p / 10000 in (0, 1))) as ranked
      from ranked group by k
    )
    select k as bucket, coalesce(s.buyers, 0) as buyers, coalesce(s.sum, 0) as sum, coalesce(s.squares, 0) as squares, s.ranked, ${asideColumns}
    from aside a left join sums s using (k)`,
);

/** Products of sums below this fit 64 bits; sums of them are exact either way. */
const factorLimit = sql.raw('3000000000');

const historicDays = purchaseStatement<Ranges, HistoricRow>(
  'lifetime_value_historic_days',
  true,
  (ranges) => sql`with ${sentBack}, sums as (
      select k, count(net) as buyers, sum(net) as sum,
        coalesce(sum(net * net) filter (where abs(net) < ${factorLimit}), 0) + coalesce(sum(net::numeric * net) filter (where abs(net) >= ${factorLimit}), 0) as squares,
        array_agg(net order by net) filter (where net is not null) as sorted
      from (select k, case when counts then ${revenueIn} - ${returnedIn} end as net from ${visits(ranges)} v) nets group by k
    ), back as (
      select k, ${asideOfDays(sql`bought`, sql`not here`)} from sent_back group by k
    ), ranks as (
      select distinct k, least(place, buyers - 1) as rank from sums, lateral (
        select 0 as place union all select buyers - 1
        union all select (buyers - 1) * p / 10000 + more from unnest(${param('percentiles')}::int[]) p, generate_series(0, 1) more) places
    ), picked as (
      select k, json_object_agg(rank, sorted[rank + 1]::text) as ranked from ranks join sums using (k) where rank >= 0 group by k
    )
    select k as bucket, coalesce(s.buyers, 0) as buyers, coalesce(s.sum, 0) as sum, coalesce(s.squares, 0) as squares, p.ranked, ${asideOrNone}
    from sums s full join back a using (k) left join picked p using (k)`,
);

/** In ten-thousandths, so that ranks are whole-number arithmetic in the database as in `quantileRanks`. */
const percentileSteps = Object.values(percentiles).map((p) => Math.round(p * 10_000));

export type HistoricSums = HistoricStatistics & Unvalued & ReturnsLeftOut;

/** Net revenue per buyer of each of the consecutive ranges: sums and order statistics. */
export async function historicSums(
  db: Db,
  context: Present,
  scope: Scope,
  bounds: readonly string[],
): Promise<HistoricSums[]> {
  const more = { percentiles: percentileSteps };
  const rows =
    (await fromPurchases(db, context, scope, bounds, historicDays(isSeries(bounds)), () => more)) ??
    (await overBounds(db, scope, bounds, chooseSource(scope, bounds, context), historic, more));
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
const simple = shaped<Shape, SimpleRow>('lifetime_value_simple', (shape) => {
  const { from, at, where } = buyerRows(shape);
  return sql`with ${withFirsts(shape, buyerRows(shape))}, ${netByBuyer}, acquired as (
      select n.k, n.net, c.acquisition_cost as cost, case when c.acquisition_cost is not null then coalesce(c.acquired_on, (
        select ${localTime(sql`min(${at})`)}::date from ${from} where ${where} and o.customer_id = n.customer_id)) end as day
      from net n join customers c on c.id = n.customer_id
    ), sums as (
      select k, count(*) as buyers, sum(net) as sum, count(cost) as known,
        sum(cost) filter (where day between (${param('firstDates')}::date[])[k] and (${param('lastDates')}::date[])[k]) as cost
      from acquired group by k
    )
    select k as bucket, coalesce(s.buyers, 0) as buyers, coalesce(s.sum, 0) as sum, coalesce(s.known, 0) as known, coalesce(s.cost, 0) as cost, ${asideColumns}
    from aside a left join sums s using (k)`;
});

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
  const rows = await overBounds(db, scope, bounds, factsOnly(), simple, {
    ...days,
    ...zoneValues(scope.timeZone),
  });
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

type PartRow = LeftOutRow & {
  bucket: number;
  newBuyers: number;
  newRevenue: Numeric;
  returningBuyers: number;
  returningRevenue: Numeric;
  missingRate: number;
};

/** Whether a customer is new is a matter of the first purchase ever, valued or not. */
const newAndReturning = shaped<Shape, PartRow>(
  'new_and_returning',
  (shape) => sql`with ${byCustomer(shape, buyerRows(shape), { sinceStart: false })}, known as (
      select *, min(k) filter (where n > 0) over (partition by customer_id) as first_k from by_customer
    )
    select k as bucket, count(*) filter (where valued > 0 and first_k = k) as "newBuyers",
      coalesce(sum(revenue - returned) filter (where first_k = k), 0) as "newRevenue",
      count(*) filter (where valued > 0 and first_k < k) as "returningBuyers",
      coalesce(sum(revenue - returned) filter (where first_k < k), 0) as "returningRevenue", ${asideOf(sql`false`)}
    from known where k >= 1 group by k`,
);

export type NewAndReturningSums = { fresh: BuyerSums; returning: BuyerSums } & Unvalued & ReturnsLeftOut;

/** Buyers and net revenue of each of the consecutive ranges, by whether a customer's first order lies in it. */
export async function newAndReturningSums(
  db: Db,
  context: Present,
  scope: Scope,
  bounds: readonly string[],
): Promise<NewAndReturningSums[]> {
  const source = chooseSource(scope, bounds, context);
  const rows = await overBounds(db, scope, bounds, source, newAndReturning);
  const byBucket = new Map(rows.map((row) => [row.bucket, row]));
  const none: BuyerSums = { buyers: 0, revenue: 0n };
  return bounds.slice(1).map((_, index) => {
    const row = byBucket.get(index + 1);
    if (!row) return { fresh: none, returning: none, missingRate: 0, ...nothingLeftOut };
    return {
      fresh: { buyers: row.newBuyers, revenue: exactInteger(row.newRevenue) },
      returning: { buyers: row.returningBuyers, revenue: exactInteger(row.returningRevenue) },
      missingRate: row.missingRate,
      ...leftOut(row),
    };
  });
}
