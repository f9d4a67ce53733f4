import { type SQL, sql } from 'drizzle-orm';
import { intervalAt, isBefore } from '../../domain/period.ts';
import { type Db, param, type Statement, type Values } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { isSomebody } from '../../records/nobody.ts';
import { purchasesFilled } from '../rollups/fill.ts';
import { beginningOfTime, type Scope } from './scope.ts';
import { later, shaped, type Zone } from './source.ts';

/*
 * Questions that `customer_purchases` answers: one row for each customer, with the days of the orders and what there was by
 * each day. What happened in a range of days is found by binary search, without a look at orders or months.
 *
 * They are answered so where that is exact, and from the facts otherwise:
 * - all orders count, in all currencies, as they are now: the rows know nothing of payments, values or what was known before;
 * - every bound is the first instant of a local day of the reporting zone. The last one may also be now, or later, as long as no order
 *   is ahead of it: then it is after everything;
 * - no clock is set back over midnight there: the local date of an order may be the day before (see `Source`);
 * - Node.js and PostgreSQL agree about the zone, since PostgreSQL said which day an order is of;
 * - where amounts count, all orders have one in the base currency;
 * - the rows are there (features/rollups/fill.ts).
 */

export type Present = Zone & Pick<Context, 'now'>;

/** The bounds as dates, and the instant that no order may lie at or after. */
interface Days {
  readonly dates: readonly string[];
  readonly ahead: string | null;
}

function daysOf(
  scope: Scope,
  bounds: readonly string[],
  { reportingTimeZone, zonesDiffer, now }: Present,
): Days | null {
  if (zonesDiffer || scope.currency !== null || scope.customerId !== null) return null;
  if (scope.paidOnly || scope.withoutZero || scope.past !== null || scope.refundsWhenGiven || scope.someOrders)
    return null;
  const last = bounds.reduce(later);
  const dates: string[] = [];
  let ahead: string | null = null;
  for (const bound of bounds) {
    const day = bound === beginningOfTime ? beginningOfTime : dayThatStartsAt(bound, reportingTimeZone);
    if (day === null) {
      if (bound !== last || isBefore(bound, now)) return null;
      ahead = bound;
    }
    dates.push(day ?? 'infinity');
  }
  return { dates, ahead };
}

const dayLength = 24 * 3_600_000;

/** The local date of an instant at which a day begins that has no hour twice. */
export function dayThatStartsAt(instant: string, timeZone: string): string | null {
  const day = intervalAt('day', instant, timeZone);
  return day.from !== instant || Date.parse(day.to) - Date.parse(day.from) > dayLength ? null : day.start;
}

/** Whether local dates of the question are those of the rows. */
export function inReportingZone(scope: Scope, { reportingTimeZone }: Present): boolean {
  return scope.timeZone === reportingTimeZone;
}

type Answer<Row> = (Row & { known: true; answered: true }) | { known: boolean; answered: null };

/**
 * A question to the purchases. Its answer says in the same statement whether it is right, so that no order comes in between.
 *
 * @param money whether amounts count
 */
export function purchaseStatement<Options extends object, Row>(
  name: string,
  money: boolean,
  build: (options: Options) => SQL,
): (options: Options) => Statement<Answer<Row>> {
  const valued = money ? sql`and not exists (select from customer_purchases where unvalued > 0)` : sql``;
  return shaped<Options, Answer<Row>>(
    name,
    // Nothing is worked out that is not right.
    (options) => sql`with k as materialized (
        select ${purchasesFilled} and not exists (select from orders where placed_at >= ${param('ahead')}::timestamptz) ${valued} as known
      ) select k.known, a.* from k
        left join (select true as answered, q.* from (${build(options)}) q where (select known from k)) a on true`,
  );
}

/**
 * The rows of an answer; null where the purchases do not know it.
 *
 * @param bounds the statement finds them as dates in `bounds`, the first and the last in `from` and `to`, and as instants in `instants`
 * @param more further values, from the bounds as dates
 */
export async function fromPurchases<Row>(
  db: Db,
  context: Present,
  scope: Scope,
  bounds: readonly string[],
  asked: Statement<Answer<Row>>,
  more: (dates: readonly string[]) => Values = () => ({}),
): Promise<Row[] | null> {
  const days = daysOf(scope, bounds, context);
  if (days === null) return null;
  const { dates, ahead } = days;
  const rows = await db.all(asked, {
    bounds: dates,
    from: dates[0],
    to: dates.at(-1),
    ahead,
    instants: bounds,
    start: bounds[0],
    end: bounds.at(-1),
    ...more(dates),
  });
  const found: Row[] = [];
  for (const row of rows) {
    if (!row.known) return null;
    if (row.answered) found.push(row);
  }
  return found;
}

export const dateOf = (name: string) => sql`${param(name)}::date`;
export const dateBounds = sql`${param('bounds')}::date[]`;
/** The number of the range that a day falls into, from 1; 0 before the first bound. */
export const rangeOf = (day: SQL) => sql`width_bucket(${day}, ${dateBounds})`;
/** How many of the days of `p` lie before a date. */
export const placeOf = (date: SQL) => sql`width_bucket(${date} - 1, p.days)`;

/** Rows of customers who are known. */
export const buyers = sql`customer_purchases p where ${isSomebody(sql`p.customer_id`)}`;

/** Those of nobody known as well. */
export const everybody = sql`customer_purchases p`;

/*
 * Each customer's days one by one, in the select list of a query from `p`: the day, the day of the next purchase, and its place.
 * Lists in a select list go in step, and keep a subquery apart: what it computes from a day is computed once, by parallel workers too.
 */
export const day = sql`unnest(p.days)`;
export const next = sql`unnest(p.days[2:])`;
/** Not generate_subscripts, of which the planner expects a thousand rows for each customer. */
export const place = sql`width_bucket(${day}, p.days)`;

/** Whether the question is of one range or of a series. */
export interface Ranges {
  series: boolean;
}

export const isSeries = (bounds: readonly string[]): Ranges => ({ series: bounds.length > 2 });

/**
 * What each owner did in each range where something was bought, as (customer_id, k, before, upto, days, orders, revenue): the
 * places of the last day before the range and of the last one in it. Only rows with `counts` are meant, and ranges from 1 to the last:
 * a condition on lists that were opened would be taken for one that hardly any row meets, and grouped by sorting.
 */
export function visits({ series }: Ranges, from: SQL = buyers): SQL {
  if (!series) {
    return sql`(select *, true as counts from (select p.customer_id, generate_series(1, 1) as k, ${placeOf(dateOf('from'))} as before, ${placeOf(dateOf('to'))} as upto, p.days, p.orders, p.revenue
      from ${from}) ranges where upto > before)`;
  }
  return sql`(select customer_id, k, width_bucket((${dateBounds})[k] - 1, days) as before, upto, days, orders, revenue, next_k is distinct from k as counts
      from (select p.customer_id, p.days, p.orders, p.revenue, width_bucket(u.day, p.days) as upto, ${rangeOf(sql`u.day`)} as k, ${rangeOf(sql`u.next`)} as next_k
        from (select p.* from ${from}) p, unnest(p.days, p.days[2:]) u(day, next) where u.day is not null) d)`;
}

/** Of a visit `v`: the orders of the range, those by its end, and the revenue of the range. */
export const ordersIn = sql`v.orders[v.upto] - coalesce(v.orders[v.before], 0)`;
export const ordersBy = sql`v.orders[v.upto]`;
export const revenueIn = sql`v.revenue[v.upto] - coalesce(v.revenue[v.before], 0)`;
