import { sql } from 'drizzle-orm';
import type { LifetimeStatistics } from '../../domain/lifetime-value.ts';
import { exactInteger } from '../../domain/money.ts';
import { type Db, param } from '../../platform/db/client.ts';
import type { Scope } from './scope.ts';
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
 * Four-factor statistics of each of the consecutive ranges, from the facts.
 * @param endDates local date on which each range ends
 */
export async function factorSums(
  db: Db,
  scope: Scope,
  bounds: readonly string[],
  choice: LifetimeChoice,
  endDates: string[],
): Promise<FactorSums[]> {
  const silence = choice.basis === 'silence';
  const more = { ...zoneValues(scope.timeZone), silenceDays: silence ? choice.silenceDays : 0, endDates };
  const rows = await overBounds(db, scope, bounds, factsOnly(), (shape) => factors({ ...shape, silence }), more);
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
