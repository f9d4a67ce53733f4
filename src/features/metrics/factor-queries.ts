import { sql } from 'drizzle-orm';
import type { LifetimeStatistics } from '../../domain/lifetime-value.ts';
import { exactInteger } from '../../domain/money.ts';
import { intervalAt, isBefore } from '../../domain/period.ts';
import { type Db, param, type Values } from '../../platform/db/client.ts';
import { isSomebody } from '../../records/nobody.ts';
import {
  buyers,
  dateOf,
  day,
  dayThatStartsAt,
  fromPurchases,
  inReportingZone,
  isSeries,
  next,
  ordersIn,
  type Present,
  purchaseStatement,
  type Ranges,
  rangeOf,
  revenueIn,
  visits,
} from './purchases.ts';
import { beginningOfTime, type Scope } from './scope.ts';
import {
  boughtOrders,
  factsOnly,
  localTime,
  ordersOf,
  orderValue,
  overBounds,
  type Shape,
  shaped,
  zoneValues,
} from './source.ts';
import type { Unvalued } from './value-queries.ts';

interface FactorRow {
  bucket: number;
  orders: number;
  buyers: number;
  revenue: string;
  lifetimeDays: number;
  missingRate: number;
  lines: number;
  linesWithCost: number;
  cost: string;
  exposureDays: number;
  events: number;
}

/**
 * Orders without a value in the currency take part in nothing. Costs are in the currency of the order; in the base
 * currency each line is converted at the order's frozen rate and rounded, half away from zero, as revenue is.
 * Exposure and events are counted between purchase days, which is what the silence limit is in.
 */
const factors = shaped<Shape & { silence: boolean }, FactorRow>('lifetime_value_factors', (shape) => {
  const cost = shape.currency ? sql`i.cost` : sql`round(i.cost * o.base_factor)`;
  const limit = sql`${param('silenceDays')}::int`;
  const exposure = sql`, exposures as (
      select k, sum(least(until - day, ${limit}))::bigint as days, count(*) filter (where until - day > ${limit}) as events
      from (
        select k, day, coalesce(lead(day) over (partition by k, customer_id order by day), (${param('endDates')}::date[])[k]) as until
        from valued
      ) spells group by k
    )`;
  return sql`with placed as (
      select o.customer_id, o.id, o.base_factor, width_bucket(o.placed_at, ${param('bounds')}::timestamptz[]) as k,
        ${localTime(sql`o.placed_at`)}::date as day, ${orderValue(shape)} as value
      from ${ordersOf(shape)}
      where ${boughtOrders(shape)} and o.placed_at >= ${param('start')}::timestamptz and o.placed_at < ${param('end')}::timestamptz
    ), valued as (
      select * from placed where value is not null
    ), buyers as (
      select k, count(*) as n, sum(value) as revenue, max(day) - min(day) as days from valued group by k, customer_id
    ), sums as (
      select k, sum(n)::bigint as orders, count(*) as buyers, sum(revenue) as revenue, sum(days)::bigint as days from buyers group by k
    ), missing as (
      select k, count(*) filter (where value is null) as n from placed group by k
    ), costs as (
      select o.k, count(*) as lines, count(i.cost) as known, sum(${cost}) as cost
      from valued o join order_items i on i.customer_id = o.customer_id and i.order_id = o.id group by o.k
    )${shape.silence ? exposure : sql``}
    select m.k as bucket, coalesce(s.orders, 0) as orders, coalesce(s.buyers, 0) as buyers, coalesce(s.revenue, 0) as revenue,
      coalesce(s.days, 0) as "lifetimeDays", m.n as "missingRate", coalesce(c.lines, 0) as lines, coalesce(c.known, 0) as "linesWithCost",
      coalesce(c.cost, 0)::numeric as cost,
      ${shape.silence ? sql`coalesce(e.days, 0)` : sql`0::bigint`} as "exposureDays", ${shape.silence ? sql`coalesce(e.events, 0)` : sql`0::bigint`} as events
    from missing m left join sums s using (k) left join costs c using (k) ${shape.silence ? sql`left join exposures e using (k)` : sql``}`;
});

/**
 * The same from the purchases; the lines and costs of whole months from `customer_month`, and those of months that the range cuts from the facts.
 */
const factorDays = purchaseStatement<Ranges & { silence: boolean; cut: boolean }, FactorRow>(
  'lifetime_value_factor_days',
  true,
  ({ silence, cut, ...ranges }) => {
    const limit = sql`${param('silenceDays')}::int`;
    const days = sql`(select ${day} as day, ${next} as next, ${rangeOf(day)} as k, ${rangeOf(next)} as next_k from ${buyers})`;
    const exposure = sql`, exposures as (
        select k, sum(least(until - day, ${limit}))::bigint as days, count(*) filter (where until - day > ${limit}) as events
        from (select k, day, case when next_k = k then next else (${param('endDates')}::date[])[k] end as until from ${days} d) spells group by k
      )`;
    const cutMonths = sql`union all select 1, count(*), count(i.cost), coalesce(sum(round(i.cost * o.base_factor)), 0)
        from orders o join order_items i on i.customer_id = o.customer_id and i.order_id = o.id
        where o.qualifying and ${isSomebody(sql`o.customer_id`)} and ((o.placed_at >= ${param('start')}::timestamptz and o.placed_at < ${param('firstMonthAt')}::timestamptz)
          or (o.placed_at >= ${param('lastMonthAt')}::timestamptz and o.placed_at < ${param('end')}::timestamptz))`;
    return sql`with sums as (
        select k, (sum(${ordersIn}) filter (where counts))::bigint as orders, count(*) filter (where counts) as buyers,
          sum(${revenueIn}) filter (where counts) as revenue, sum(v.days[v.upto] - v.days[v.before + 1]) filter (where counts) as days
        from ${visits(ranges)} v group by k
      ), costs as (
        select k, sum(lines)::bigint as lines, sum(known)::bigint as known, sum(cost) as cost from (
          select ${rangeOf(sql`m.month`)} as k, sum(base_lines) as lines, sum(base_costed_lines) as known, sum(base_cost) as cost
          from customer_month m where m.month >= ${dateOf('firstMonth')} and m.month < ${dateOf('lastMonth')} and ${isSomebody(sql`m.customer_id`)} group by 1
          ${cut ? cutMonths : sql``}
        ) parts group by k
      )${silence ? exposure : sql``}
      select s.k as bucket, s.orders, s.buyers, s.revenue, s.days as "lifetimeDays", 0::bigint as "missingRate", coalesce(c.lines, 0) as lines,
        coalesce(c.known, 0) as "linesWithCost", coalesce(c.cost, 0)::numeric as cost,
        ${silence ? sql`coalesce(e.days, 0)` : sql`0::bigint`} as "exposureDays", ${silence ? sql`coalesce(e.events, 0)` : sql`0::bigint`} as events
      from sums s left join costs c using (k) ${silence ? sql`left join exposures e using (k)` : sql``}`;
  },
);

interface WholeMonths {
  firstMonth: string;
  firstMonthAt: string;
  lastMonth: string;
  lastMonthAt: string;
}

/**
 * From the first month that begins in the range to the one that it ends in, or to its end where that is after everything; null
 * where a series cuts a month, or no month is whole.
 */
function wholeMonths(bounds: readonly string[], { now, reportingTimeZone }: Present): WholeMonths | null {
  const startOf = (bound: string) => intervalAt('month', bound, reportingTimeZone);
  const first = bounds[0];
  const last = bounds.at(-1);
  if (first === undefined || last === undefined) return null;
  const inner = bounds.slice(1, -1);
  if (bounds.length > 2 && [first, ...inner].some((bound) => startOf(bound).from !== bound)) return null;
  const begun = first === beginningOfTime ? null : startOf(first);
  const firstMonthAt = begun === null || begun.from === first ? first : begun.to;
  const firstMonth = begun === null ? beginningOfTime : dayThatStartsAt(firstMonthAt, reportingTimeZone);
  const ended = startOf(last);
  const isEnd = !isBefore(last, now) && ended.from !== last;
  if (bounds.length > 2 && !isEnd && ended.from !== last) return null;
  const lastMonthAt = isEnd ? last : ended.from;
  const lastMonth = isEnd ? 'infinity' : dayThatStartsAt(lastMonthAt, reportingTimeZone);
  if (firstMonth === null || lastMonth === null || isBefore(lastMonthAt, firstMonthAt)) return null;
  return { firstMonth, firstMonthAt, lastMonth, lastMonthAt };
}

/** Whether parts of months are left at the ends of a range. */
function isCut(bounds: readonly string[], { firstMonthAt, lastMonthAt }: WholeMonths): boolean {
  return firstMonthAt !== bounds[0] || lastMonthAt !== bounds.at(-1);
}

async function factorsFromPurchases(
  db: Db,
  context: Present,
  scope: Scope,
  bounds: readonly string[],
  more: Values & { silence: boolean },
): Promise<FactorRow[] | null> {
  const months = inReportingZone(scope, context) ? wholeMonths(bounds, context) : null;
  if (months === null) return null;
  const { silence, ...values } = more;
  const asked = factorDays({ ...isSeries(bounds), silence, cut: isCut(bounds, months) });
  return fromPurchases(db, context, scope, bounds, asked, () => ({ ...values, ...months }));
}

export type FactorSums = {
  revenue: bigint;
  orders: number;
  buyers: number;
  lifetime: LifetimeStatistics;
  costs: { lines: number; linesWithCost: number; cost: bigint };
} & Unvalued;

export type LifetimeChoice =
  | { basis: 'observed' }
  | { basis: 'silence'; silenceDays: number }
  | { basis: 'configured'; months: number | null };

/**
 * Four-factor statistics of each of the consecutive ranges.
 * @param endDates local date on which each range ends
 */
export async function factorSums(
  db: Db,
  context: Present,
  scope: Scope,
  bounds: readonly string[],
  choice: LifetimeChoice,
  endDates: string[],
): Promise<FactorSums[]> {
  const silence = choice.basis === 'silence';
  const values = { silenceDays: silence ? choice.silenceDays : 0, endDates };
  const more = { ...zoneValues(scope.timeZone), ...values };
  const rows =
    (await factorsFromPurchases(db, context, scope, bounds, { ...values, silence })) ??
    (await overBounds(db, scope, bounds, factsOnly(), (shape) => factors({ ...shape, silence }), more));
  const byBucket = new Map(rows.map((row) => [row.bucket, row]));
  return bounds.slice(1).map((_, index) => {
    const row = byBucket.get(index + 1);
    return {
      revenue: exactInteger(row?.revenue ?? 0),
      orders: row?.orders ?? 0,
      buyers: row?.buyers ?? 0,
      lifetime: lifetimeOf(choice, row),
      costs: { lines: row?.lines ?? 0, linesWithCost: row?.linesWithCost ?? 0, cost: exactInteger(row?.cost ?? 0) },
      missingRate: row?.missingRate ?? 0,
    };
  });
}

function lifetimeOf(choice: LifetimeChoice, row: FactorRow | undefined): LifetimeStatistics {
  switch (choice.basis) {
    case 'observed':
      return { basis: 'observed', totalDays: row?.lifetimeDays ?? 0 };
    case 'silence':
      return { basis: 'silence', exposureDays: row?.exposureDays ?? 0, events: row?.events ?? 0 };
    case 'configured':
      return { basis: 'configured', months: choice.months };
  }
}
