import { type SQL, sql } from 'drizzle-orm';
import type { Cohort } from '../../domain/cohorts.ts';
import { exactInteger } from '../../domain/money.ts';
import type { Db } from '../../platform/db/client.ts';
import { dateOf, fromPurchases, type Present, purchaseStatement, rangeOf, revenueIn, visits } from './purchases.ts';
import type { Scope } from './scope.ts';
import { buyerRows, chooseSource, overBounds, type Shape, shaped } from './source.ts';
import {
  asideOf,
  asideOfDays,
  byCustomer,
  type LeftOutRow,
  leftOut,
  type Numeric,
  type ReturnsLeftOut,
  sentBack,
  type Unvalued,
} from './value-queries.ts';

type Row = LeftOutRow & {
  missingRate: number;
  /** The range of the first order, from 1; null: nobody bought for the first time in any. */
  cohort: number | null;
  bucket: number;
  active: number;
  last: number;
  revenue: Numeric;
};

const triangle = (cells: SQL) =>
  sql`select c.cohort, c.k as bucket, c.active, c.last, c.revenue, a.* from aside a left join (${cells}) c on true`;

const cohortRows = shaped<Shape, Row>(
  'cohorts',
  (shape) => sql`with ${byCustomer(shape, buyerRows(shape), { sinceStart: false })}, known as (
      select *, min(k) filter (where n > 0) over (partition by customer_id) as first_k, max(k) filter (where n > 0) over (partition by customer_id) as last_k
      from by_customer
    ), aside as (
      select ${asideOf(sql`false`)} from known where k >= 1
    )
    ${triangle(sql`select first_k as cohort, k, count(*) filter (where n > 0) as active, count(*) filter (where n > 0 and k = last_k) as last, sum(revenue - returned) as revenue
      from known where first_k between 1 and k group by 1, 2`)}`,
);

const cohortDays = purchaseStatement<object, Row>(
  'cohorts_days',
  true,
  () => sql`with ${sentBack}, cells as (
      select ${rangeOf(sql`v.days[1]`)} as cohort, k, 1 as active, (v.upto = width_bucket(${dateOf('to')} - 1, v.days))::int as last, ${revenueIn} as revenue
      from ${visits({ series: true })} v where counts
      union all
      select (select ${rangeOf(sql`p.days[1]`)} from customer_purchases p where p.customer_id = s.customer_id), k, 0, 0, -returned from sent_back s where bought
    ), aside as (
      select ${asideOfDays(sql`bought`, sql`false`)} from sent_back
    )
    ${triangle(sql`select cohort, k, sum(active)::bigint as active, sum(last)::bigint as last, sum(revenue) as revenue from cells where cohort between 1 and k group by 1, 2`)}`,
);

/**
 * Customers by the range of their first order ever: what each cohort did in that range and in those after it.
 *
 * @returns one per range, each with a cell for its own range and every later one
 */
export async function cohortSums(
  db: Db,
  context: Present,
  scope: Scope,
  bounds: readonly string[],
): Promise<{ cohorts: Cohort[] } & Unvalued & ReturnsLeftOut> {
  const rows =
    (await fromPurchases(db, context, scope, bounds, cohortDays({}))) ??
    (await overBounds(db, scope, bounds, chooseSource(scope, bounds, context), cohortRows));
  const [first] = rows;
  if (!first) throw new Error('what is left out is told also when nobody has bought');
  const ranges = bounds.length - 1;
  const cohorts = Array.from({ length: ranges }, (_, index) =>
    Array.from({ length: ranges - index }, () => ({ active: 0, last: 0, revenue: 0n })),
  );
  for (const { cohort, bucket, active, last, revenue } of rows) {
    const cell = cohort === null ? undefined : cohorts[cohort - 1]?.[bucket - cohort];
    if (cell) Object.assign(cell, { active, last, revenue: exactInteger(revenue) });
  }
  return { cohorts: cohorts.map((cells) => ({ cells })), missingRate: first.missingRate, ...leftOut(first) };
}
