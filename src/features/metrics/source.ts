import { type SQL, sql } from 'drizzle-orm';
import { intervalAt, isBefore } from '../../domain/period.ts';
import { zoneOffsets } from '../../domain/zone-offsets.ts';
import { type Db, param, type Statement, statement, type Values } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { isSomebody } from '../../records/nobody.ts';
import { appliedRefunds, isAllRefunded, netInBase } from '../orders/record.ts';
import { beginningOfTime, type Filter, type Scope } from './scope.ts';

/**
 * Where a metric is counted: from the facts (orders and returns), or from `customer_month`, whose rows have the same
 * customers, counts and sums, a month at a time. This file is the only place that decides.
 *
 * The rollups serve what they serve exactly, and nothing else:
 * - every bound of the question is the first instant of a month in the reporting zone, so no month is cut. All orders
 *   of these months then lie before `to` ≤ `asOf`;
 * - all orders count, whatever their payment and value, and of all customers: the rollups know nothing of these;
 * - `asOf` is not past, and refunds restate their orders: the rollups know orders as they are now;
 * - Node.js and PostgreSQL agree where the months begin (`zonesDiffer`);
 * - the first day of such a month has no hour twice. Where the clock goes back over midnight (St John's until 2011) the
 *   local date of an order may be the day before, and with it its month, though the month has begun.
 */
export interface Source {
  readonly months: boolean;
  /** A bound of the question as the parameter of a statement: an instant, or the month that begins there. */
  readonly mark: (instant: string) => string;
}

const facts: Source = { months: false, mark: (instant) => instant };

/** What the choice depends on beside the question. */
export type Zone = Pick<Context, 'reportingTimeZone' | 'zonesDiffer'>;

export function chooseSource(filter: Filter, bounds: readonly string[], zone: Zone): Source {
  const { reportingTimeZone, zonesDiffer } = zone;
  // PostgreSQL said which month a record is in.
  if (
    zonesDiffer &&
    !bounds.every((b) => !isBefore(zonesDiffer.from, b)) &&
    !bounds.every((b) => !isBefore(b, zonesDiffer.to))
  )
    return facts;
  if (filter.paidOnly || filter.withoutZero || filter.customerId !== null || filter.someOrders) return facts;
  if (filter.past !== null || filter.refundsWhenGiven) return facts;
  const months = new Map<string, string>();
  for (const bound of bounds) {
    const month = bound === beginningOfTime ? beginningOfTime : monthThatStartsAt(bound, reportingTimeZone);
    if (month === null) return facts;
    months.set(bound, month);
  }
  return {
    months: true,
    mark(instant) {
      const month = months.get(instant);
      if (month === undefined) throw new Error(`${instant} is not one of the bounds of the question`);
      return month;
    },
  };
}

export function factsOnly(): Source {
  return facts;
}

const dayLength = 24 * 3_600_000;

function monthThatStartsAt(instant: string, timeZone: string): string | null {
  const month = intervalAt('month', instant, timeZone);
  if (month.from !== instant) return null;
  const firstDay = intervalAt('day', instant, timeZone);
  return Date.parse(firstDay.to) - Date.parse(firstDay.from) > dayLength ? null : month.start;
}

/** What of a question shapes the text of its statement; values never do. */
export interface Shape {
  months: boolean;
  currency: boolean;
  paidOnly: boolean;
  withoutZero: boolean;
  customer: boolean;
  /** Orders as they were known at `asOf`. */
  past: boolean;
  refundsWhenGiven: boolean;
}

export function shapeOf(source: Source, filter: Filter): Shape {
  return {
    months: source.months,
    currency: filter.currency !== null,
    paidOnly: filter.paidOnly,
    withoutZero: filter.withoutZero,
    customer: filter.customerId !== null,
    past: filter.past !== null,
    refundsWhenGiven: filter.refundsWhenGiven,
  };
}

/** The parameters that go with a shape. */
export function filterValues(filter: Filter): Values {
  return { currency: filter.currency, customerId: filter.customerId, past: filter.past };
}

/**
 * Rows that stand for qualifying orders (or returns), one each or a month's worth: `at` is when (or the month it was).
 * The others are per row and to be summed: records, those with a value in the metric's currency, and their amounts.
 */
export interface Rows {
  from: SQL;
  customer: SQL;
  at: SQL;
  where: SQL;
  count: SQL;
  valued: SQL;
  amount: SQL;
}

/** Postgres type of `at` and of the marks it is compared with. */
export function markType({ months }: Pick<Shape, 'months'>): SQL {
  return sql.raw(months ? 'date' : 'timestamptz');
}

export type Knowledge = Pick<Shape, 'past' | 'refundsWhenGiven'>;

/**
 * Orders under the alias `o`, with `cancelled_at`, `qualifying`, `revenue` and `base_revenue` as they are now; or as they were
 * known at `asOf` (`then`), when later cancellations and refunds had not happened; or without refunds.
 */
export function ordersOf({ past, refundsWhenGiven }: Knowledge, then: SQL = param('past')): SQL {
  if (!past && !refundsWhenGiven) return sql`orders o`;
  const asOf = sql`${then}::timestamptz`;
  const cancelledAt = past ? sql`case when o.cancelled_at < ${asOf} then o.cancelled_at end` : sql`o.cancelled_at`;
  const refunded = refundsWhenGiven
    ? sql`select 0::bigint as amount, 0::bigint as net`
    : sql`select coalesce(sum(f.amount), 0)::bigint as amount, coalesce(sum(f.net), 0)::bigint as net from ${appliedRefunds} f
        where o.refunds > 0 and f.customer_id = o.customer_id and f.order_id = o.id and f.refunded_at < ${asOf}`;
  const net = sql`(o.total - o.tax - r.net)`;
  return sql`(select o.customer_id, o.id, o.placed_at, o.campaign_id, o.currency, o.total, o.payment_status, o.test, o.base_factor,
      ${cancelledAt} as cancelled_at,
      ${cancelledAt} is null and not o.test and not (${isAllRefunded(sql`r.amount`, sql`o.total`)}) as qualifying,
      ${net} as revenue, ${netInBase(net, sql`o.base_factor`)} as base_revenue
    from orders o, lateral (${refunded}) r) o`;
}

/** What a refund `f` of an order `o` takes from its revenue in the base currency; null without a rate. */
export const refundInBase = sql`${netInBase(sql`f.net_before`, sql`o.base_factor`)} - ${netInBase(sql`(f.net_before - f.net)`, sql`o.base_factor`)}`;

/** Returns under the alias `r`; where refunds count when they were given, they stand among them. */
function returnsOf(shape: Omit<Shape, 'months'>): SQL {
  if (!shape.refundsWhenGiven) return sql`returns r`;
  return sql`(select customer_id, returned_at, currency, net, base_net from returns
    union all select f.customer_id, f.refunded_at, o.currency, f.net, ${refundInBase}
      from ${ordersOf(shape)} join ${appliedRefunds} f on f.customer_id = o.customer_id and f.order_id = o.id
      where ${qualifyingOrders(shape)}) r`;
}

/** Qualifying orders in scope, under the alias `o`. */
export function orderRows(shape: Shape): Rows {
  if (shape.months) {
    return {
      from: sql`customer_month o`,
      customer: sql`o.customer_id`,
      at: sql`o.month`,
      where: shape.currency ? sql`o.orders > 0 and o.currency = ${param('currency')}` : sql`o.orders > 0`,
      count: sql`o.orders`,
      valued: shape.currency ? sql`o.orders` : sql`o.base_orders`,
      amount: shape.currency ? sql`o.revenue` : sql`o.base_revenue`,
    };
  }
  const value = orderValue(shape);
  return {
    from: ordersOf(shape),
    customer: sql`o.customer_id`,
    at: sql`o.placed_at`,
    where: qualifyingOrders(shape),
    count: sql`1`,
    valued: sql`(${value} is not null)::int`,
    amount: sql`coalesce(${value}, 0)`,
  };
}

/** The same without orders of nobody, who is no buyer. */
export function buyerRows(shape: Shape): Rows {
  const rows = orderRows(shape);
  return { ...rows, where: sql`${rows.where} and ${isSomebody(rows.customer)}` };
}

/** Returns that name no order, under the alias `r`. */
export function returnRows(shape: Shape): Rows {
  if (shape.months) {
    return {
      from: sql`customer_month r`,
      customer: sql`r.customer_id`,
      at: sql`r.month`,
      where: shape.currency ? sql`r.returns > 0 and r.currency = ${param('currency')}` : sql`r.returns > 0`,
      count: sql`r.returns`,
      valued: shape.currency ? sql`r.returns` : sql`r.base_returns`,
      amount: shape.currency ? sql`r.returned` : sql`r.base_returned`,
    };
  }
  const value = shape.currency ? sql`r.net` : sql`r.base_net`;
  const conditions = [sql`true`];
  if (shape.currency) conditions.push(sql`r.currency = ${param('currency')}`);
  if (shape.customer) conditions.push(sql`r.customer_id = ${param('customerId')}::uuid`);
  return {
    from: returnsOf(shape),
    customer: sql`r.customer_id`,
    at: sql`r.returned_at`,
    where: sql.join(conditions, sql` and `),
    count: sql`1`,
    valued: sql`(${value} is not null)::int`,
    amount: sql`coalesce(${value}, 0)`,
  };
}

/**
 * `name` as (customer_id, k, n[, valued, amount]): the rows before `end` (and from `start` on), each with the number of
 * its range. Materialised, because what follows groups by customer: the planner would walk the index by customer and
 * fetch every row of the table at random, which is several times the cost of a scan and a sort.
 */
export function bucketed(
  name: string,
  rows: Rows,
  shape: Shape,
  options: { amounts: boolean; sinceStart: boolean },
): SQL {
  return sql`${sql.raw(name)} as materialized (${bucketedRows(rows, shape, options)})`;
}

export function bucketedRows(rows: Rows, shape: Shape, options: { amounts: boolean; sinceStart: boolean }): SQL {
  const type = markType(shape);
  const amounts = options.amounts ? sql`, ${rows.valued} as valued, ${rows.amount} as amount` : sql``;
  const since = options.sinceStart ? sql`and ${rows.at} >= ${param('start')}::${type}` : sql``;
  return sql`select ${rows.customer} as customer_id, ${bucket(rows.at, shape)} as k, ${rows.count} as n ${amounts}
      from ${rows.from} where ${rows.where} and ${rows.at} < ${param('end')}::${type} ${since}`;
}

/** Revenue of an order `o` in the metric's currency; null without a rate. */
export function orderValue(shape: Pick<Shape, 'currency'>): SQL {
  return shape.currency ? sql`o.revenue` : sql`o.base_revenue`;
}

/** The condition on `orders o` of a question answered from the facts. */
export function qualifyingOrders(shape: Omit<Shape, 'months'>): SQL {
  const conditions = [sql`o.qualifying`];
  if (shape.paidOnly) conditions.push(sql`o.payment_status = 'paid'`);
  if (shape.withoutZero) conditions.push(sql`o.total <> 0`);
  conditions.push(...inScope(shape));
  return sql.join(conditions, sql` and `);
}

/** The same of orders whose buyer is known. */
export function boughtOrders(shape: Omit<Shape, 'months'>): SQL {
  return sql`${qualifyingOrders(shape)} and ${isSomebody(sql`o.customer_id`)}`;
}

/** What keeps a record out of the question altogether, as against excluded from the number. */
export function inScope(shape: Pick<Shape, 'currency' | 'customer'>, record = sql`o`): SQL[] {
  const conditions: SQL[] = [];
  if (shape.currency) conditions.push(sql`${record}.currency = ${param('currency')}`);
  if (shape.customer) conditions.push(sql`${record}.customer_id = ${param('customerId')}::uuid`);
  return conditions;
}

/** A statement per combination of options, made when first asked for. `planning` is as in `statement`. */
export function shaped<Options extends object, Row>(
  name: string,
  build: (options: Options) => SQL,
  planning?: { unprepared: boolean },
): (options: Options) => Statement<Row> {
  const made = new Map<string, Statement<Row>>();
  return (options) => {
    const key = JSON.stringify(options);
    const known = made.get(key);
    if (known) return known;
    const fresh = statement<Row>(name, build(options), planning);
    made.set(key, fresh);
    return fresh;
  };
}

/**
 * The local time of an instant in the zone of `zoneValues`, as a timestamp: from the time-zone database of the process,
 * which also says where days and months begin. PostgreSQL's `at time zone` may know other rules.
 */
export function localTime(at: SQL): SQL {
  const starts = sql`${param('zoneStarts')}::timestamptz[]`;
  return sql`((${at}) at time zone 'UTC' + make_interval(secs => (${param('zoneSeconds')}::int[])[width_bucket(${at}, ${starts})]))`;
}

/** The parameters of `localTime`. */
export function zoneValues(timeZone: string): Values {
  const { starts, seconds } = zoneOffsets(timeZone);
  return { zoneStarts: starts, zoneSeconds: seconds };
}

/** The number of the range that `at` falls into, from 1; 0 before the first bound. */
export function bucket(at: SQL, shape: Pick<Shape, 'months'>): SQL {
  return sql`width_bucket(${at}, ${param('bounds')}::${markType(shape)}[])`;
}

/** Runs a statement whose only time parameters are the bounds of consecutive ranges, the first and the last of them. */
export function overBounds<Row>(
  db: Db,
  scope: Scope,
  bounds: readonly string[],
  source: Source,
  make: (shape: Shape) => Statement<Row>,
  more: Values = {},
): Promise<Row[]> {
  const marks = bounds.map(source.mark);
  return db.all(make(shapeOf(source, scope)), {
    ...filterValues(scope),
    bounds: marks,
    start: marks[0],
    end: marks.at(-1),
    ...more,
  });
}

/** The later of two bounds. */
export function later(a: string, b: string): string {
  return isBefore(a, b) ? b : a;
}
