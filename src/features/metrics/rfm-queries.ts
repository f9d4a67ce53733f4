import { type SQL, sql } from 'drizzle-orm';
import { exactInteger } from '../../domain/money.ts';
import type { RfmCell } from '../../domain/rfm.ts';
import { type Db, param } from '../../platform/db/client.ts';
import {
  fromPurchases,
  inReportingZone,
  ordersBy,
  type Present,
  purchaseStatement,
  revenueIn,
  visits,
} from './purchases.ts';
import { beginningOfTime, type Scope } from './scope.ts';
import { buyerRows, factsOnly, localTime, overBounds, returnRows, type Shape, shaped, zoneValues } from './source.ts';
import {
  asideOfDays,
  type LeftOutRow,
  leftOut,
  type Numeric,
  type ReturnsLeftOut,
  returnedIn,
  sentBack,
  type Unvalued,
} from './value-queries.ts';

type Row = LeftOutRow & {
  missingRate: number;
  /** null: nobody has bought. */
  recency: number | null;
  frequency: number;
  monetary: number;
  customers: number;
  orders: number;
  revenue: Numeric;
};

/** 1 + ⌊5 × customers strictly worse ÷ customers⌋. */
export const score = (by: SQL) => sql`(1 + 5 * (rank() over (order by ${by}) - 1) / count(*) over ())::int`;

/** From `customers` (day of the last order, n, net) and `aside`. */
const cells: SQL = sql`scored as (
      select n, net, ${score(sql`day`)} as r, ${score(sql`n`)} as f, ${score(sql`net`)} as m from buyers
    ), cells as (
      select r, f, m, count(*) as customers, sum(n)::bigint as orders, sum(net) as revenue from scored group by 1, 2, 3
    )
    select c.r as recency, c.f as frequency, c.m as monetary, c.customers, c.orders, c.revenue, a.*
    from aside a left join cells c on true`;

const scores = shaped<Shape, Row>('rfm', (shape) => {
  const orders = buyerRows(shape);
  const returns = returnRows(shape);
  const until = sql`${param('end')}::timestamptz`;
  return sql`with facts as materialized (
      select ${orders.customer} as customer_id, ${orders.at} as at, ${orders.valued} as valued, ${orders.amount} as revenue, 0 as r_n, 0 as r_valued, 0 as returned
        from ${orders.from} where ${orders.where} and ${orders.at} < ${until}
      union all select ${returns.customer}, null, 0, 0, 1, ${returns.valued}, ${returns.amount} from ${returns.from} where ${returns.where} and ${returns.at} < ${until}
    ), by_customer as (
      select max(at) as last, count(at) as n, sum(valued) as valued, sum(revenue) as revenue, sum(r_n) as r_n, sum(r_valued) as r_valued, sum(returned) as returned
      from facts group by customer_id
    ), buyers as (
      select ${localTime(sql`last`)}::date as day, n, revenue - returned as net from by_customer where n > 0
    ), aside as (
      select coalesce(sum(n - valued), 0)::bigint as "missingRate", coalesce(sum(r_n - r_valued), 0)::bigint as "returnsWithoutRate",
        coalesce(sum(r_valued) filter (where n = 0), 0)::bigint as "strangersReturns", coalesce(sum(returned) filter (where n = 0), 0)::numeric as "strangersReturned",
        0::bigint as "earlierReturns", 0::numeric as "earlierReturned"
      from by_customer
    ), ${cells}`;
});

const scoresOfDays = purchaseStatement<object, Row>(
  'rfm_days',
  true,
  () => sql`with ${sentBack}, buyers as (
      select v.days[v.upto] as day, ${ordersBy} as n, ${revenueIn} - ${returnedIn} as net from ${visits({ series: false })} v where counts
    ), aside as (
      select ${asideOfDays(sql`bought`, sql`false`)} from sent_back
    ), ${cells}`,
);

/** Customers by their scores as of the end of the question. */
export async function rfmCells(
  db: Db,
  context: Present,
  scope: Scope,
): Promise<{ cells: RfmCell[] } & Unvalued & ReturnsLeftOut> {
  const bounds = [beginningOfTime, scope.end];
  const rows =
    (inReportingZone(scope, context) && (await fromPurchases(db, context, scope, bounds, scoresOfDays({})))) ||
    (await overBounds(db, scope, bounds, factsOnly(), scores, zoneValues(scope.timeZone)));
  const [first] = rows;
  if (!first) throw new Error('what is left out is told also when nobody has bought');
  const found = rows.flatMap(({ recency, frequency, monetary, customers, orders, revenue }) =>
    recency === null ? [] : [{ recency, frequency, monetary, customers, orders, revenue: exactInteger(revenue) }],
  );
  return { cells: found, missingRate: first.missingRate, ...leftOut(first) };
}
