import { type SQL, sql } from 'drizzle-orm';
import { type Db, param, statement, type Transaction } from '../../platform/db/client.ts';
import { type Effect, touchedCustomers } from '../../records/effects.ts';

/** The counters in column order, and what they are of the facts. */
const counters = [
  'orders',
  'revenue',
  'base_orders',
  'base_revenue',
  'returns',
  'returned',
  'base_returns',
  'base_returned',
];
const extremes = ['first_order_at', 'last_order_at', 'purchase_days'];
const lines = ['base_lines', 'base_costed_lines', 'base_cost'];
const history = ['days', 'orders', 'revenue', 'unvalued'];

const list = (names: string[], spell: (name: string) => string) => sql.raw(names.map(spell).join(', '));

/** What the facts of the chosen customers add up to, per currency: the definition of customer_stats. */
function statsFromFacts(ofOrders: SQL, ofReturns: SQL): SQL {
  return sql`select customer_id, currency, ${list(counters, (c) => `coalesce(${c}, 0) as ${c}`)}, first_order_at, last_order_at, coalesce(purchase_days, 0) as purchase_days
    from (select customer_id, currency, count(*)::int as orders, sum(revenue)::bigint as revenue, count(base_revenue)::int as base_orders,
            coalesce(sum(base_revenue), 0)::bigint as base_revenue, min(placed_at) as first_order_at, max(placed_at) as last_order_at,
            count(distinct (placed_at at time zone ${param('zone')}::text)::date)::int as purchase_days
          from orders where qualifying and ${ofOrders} group by 1, 2) o
    full join (select customer_id, currency, count(*)::int as returns, sum(net)::bigint as returned, count(base_net)::int as base_returns,
            coalesce(sum(base_net), 0)::bigint as base_returned
          from returns where ${ofReturns} group by 1, 2) r using (customer_id, currency)`;
}

const localDay = (column: string, zone: SQL = param('zone')) =>
  sql`(${sql.raw(column)} at time zone ${zone}::text)::date`;
const localMonth = (column: string, zone: SQL = param('zone')) =>
  sql`date_trunc('month', ${sql.raw(column)} at time zone ${zone}::text)::date`;

/** The cost of a line `i` of an order `o` in the base currency, rounded by itself, half away from zero, as revenue is. */
const lineCost = sql`round(i.cost * o.base_factor)`;

/** The same per month of the reporting zone: the definition of customer_month. */
function monthsFromFacts(ofOrders: SQL, ofReturns: SQL): SQL {
  return sql`select customer_id, month, currency, ${list([...counters, ...lines], (c) => `coalesce(${c}, 0) as ${c}`)}
    from (select customer_id, ${localMonth('placed_at')} as month, currency, count(*)::int as orders, sum(revenue)::bigint as revenue,
            count(base_revenue)::int as base_orders, coalesce(sum(base_revenue), 0)::bigint as base_revenue
          from orders where qualifying and ${ofOrders} group by 1, 2, 3) o
    full join (select customer_id, ${localMonth('returned_at')} as month, currency, count(*)::int as returns, sum(net)::bigint as returned,
            count(base_net)::int as base_returns, coalesce(sum(base_net), 0)::bigint as base_returned
          from returns where ${ofReturns} group by 1, 2, 3) r using (customer_id, month, currency)
    full join (select o.customer_id, ${localMonth('placed_at')} as month, currency, count(*)::int as base_lines,
            count(i.cost)::int as base_costed_lines, coalesce(sum(${lineCost}), 0) as base_cost
          from (select * from orders where qualifying and base_revenue is not null and ${ofOrders}) o
            join order_items i on i.customer_id = o.customer_id and i.order_id = o.id group by 1, 2, 3) l using (customer_id, month, currency)`;
}

/** The days with orders among `orders`, and what there was by each of them: the definition of customer_purchases. */
function purchasesFrom(orders: SQL, zone?: SQL): SQL {
  return sql`select customer_id, array_agg(day order by day) as days, array_agg(orders order by day) as orders,
      array_agg(revenue order by day) as revenue, sum(unvalued)::int as unvalued
    from (select customer_id, day, sum(count(*)) over so_far::int as orders, coalesce(sum(sum(base_revenue)) over so_far, 0)::bigint as revenue,
            count(*) - count(base_revenue) as unvalued
          from (select customer_id, ${localDay('placed_at', zone)} as day, base_revenue from ${orders} where qualifying) bought
          group by 1, 2 window so_far as (partition by customer_id order by day)) by_day group by 1`;
}

const chosen = sql`customer_id = any(${param('ids')}::uuid[])`;

/** CTEs that write a table anew for the chosen customers; the last one says nothing. */
function recomputed({ table, keys, values }: Rollup, fresh: SQL): SQL {
  const columns = [...keys, ...values];
  const name = (part: string) => sql.raw(`${part}_${table}`);
  return sql`${name('fresh')} as (${fresh}), ${name('gone')} as (
      delete from ${sql.raw(table)} t where ${sql.raw('t.')}customer_id = any(${param('ids')}::uuid[])
        and not exists (select from ${name('fresh')} f where ${sql.raw(keys.map((k) => `f.${k} = t.${k}`).join(' and '))})
    ), ${name('written')} as (
      insert into ${sql.raw(table)} as t (${list(columns, (c) => c)}) select ${list(columns, (c) => c)} from ${name('fresh')}
      on conflict (${list(keys, (k) => k)}) do update set ${list(values, (c) => `${c} = excluded.${c}`)}
        where (${list(values, (c) => `t.${c}`)}) is distinct from (${list(values, (c) => `excluded.${c}`)})
    )`;
}

interface Rollup {
  table: string;
  keys: string[];
  values: string[];
}
const stats: Rollup = {
  table: 'customer_stats',
  keys: ['customer_id', 'currency'],
  values: [...counters, ...extremes],
};
const months: Rollup = {
  table: 'customer_month',
  keys: ['customer_id', 'month', 'currency'],
  values: [...counters, ...lines],
};
const purchases: Rollup = { table: 'customer_purchases', keys: ['customer_id'], values: history };

const recomputeRollupRows = statement(
  'recompute_rollups',
  sql`with ${recomputed(stats, statsFromFacts(chosen, chosen))}, ${recomputed(months, monthsFromFacts(chosen, chosen))},
    ${recomputed(purchases, purchasesFrom(sql`(select * from orders where ${chosen}) o`))} select`,
);

/**
 * Rebuilds the derived state of these customers from their facts. The customers must be locked, in an earlier statement:
 * a recompute in the statement that waits for the lock would count what it saw before waiting.
 */
export async function recomputeCustomers(
  tx: Transaction,
  ids: Iterable<string>,
  reportingTimeZone: string,
): Promise<void> {
  const wanted = [...new Set(ids)];
  if (wanted.length === 0) return;
  await tx.all(recomputeRollupRows, { ids: wanted, zone: reportingTimeZone });
}

/**
 * CTEs that add new orders to the derived state, for the statement that inserts them as `o` (customer_id, placed_at,
 * currency, qualifying, revenue, base_revenue, base_factor) and their lines as `items`. The orders are not visible to the look for other
 * purchases of their day, since a statement does not see its own writes.
 *
 * @param one there is one order: nothing has to be grouped, which takes half the time
 */
export function addOrdersToRollups(zone: SQL, { one }: { one: boolean }): SQL {
  const day = (column: string) => localDay(column, zone);
  const sums = ['orders', 'revenue', 'base_orders', 'base_revenue'];
  const plus = (table: string, columns: string[]) => list(columns, (c) => `${c} = ${table}.${c} + excluded.${c}`);
  const sameDay = sql`exists (select from orders x where x.customer_id = o.customer_id and x.currency = o.currency and x.qualifying
      and x.placed_at between o.placed_at - interval '50 hours' and o.placed_at + interval '50 hours'
      and ${day('x.placed_at')} = ${day('o.placed_at')})`;
  const isValued = sql`o.base_revenue is not null`;
  const ofOne = sql`1, o.revenue, (${isValued})::int, coalesce(o.base_revenue, 0), 0, 0, 0, 0`;
  const ofMany = sql`count(*)::int, sum(o.revenue)::bigint, count(o.base_revenue)::int, coalesce(sum(o.base_revenue), 0)::bigint, 0, 0, 0, 0`;
  const addedStats = one
    ? sql`select o.customer_id, o.currency, ${ofOne}, o.placed_at, o.placed_at, (not ${sameDay})::int from o where o.qualifying`
    : sql`select o.customer_id, o.currency, ${ofMany}, min(o.placed_at), max(o.placed_at),
        count(distinct ${day('o.placed_at')}) filter (where not ${sameDay})::int
      from o where o.qualifying group by 1, 2`;
  const addedMonths = one
    ? sql`select o.customer_id, ${localMonth('o.placed_at', zone)}, o.currency, ${ofOne}, coalesce(l.lines, 0), coalesce(l.costed, 0), coalesce(l.cost, 0)
      from o left join (select count(*)::int as lines, count(i.cost)::int as costed, sum(round(i.cost * (select base_factor from o))) as cost from items i) l
        on ${isValued} where o.qualifying`
    : sql`select customer_id, month, currency, sum(orders)::int, sum(revenue)::bigint, sum(base_orders)::int, sum(base_revenue)::bigint, 0, 0, 0, 0,
        sum(lines)::int, sum(costed)::int, sum(cost)
      from (
        select o.customer_id, ${localMonth('o.placed_at', zone)} as month, o.currency, 1 as orders, o.revenue, (${isValued})::int as base_orders,
          coalesce(o.base_revenue, 0) as base_revenue, 0 as lines, 0 as costed, 0::numeric as cost
        from o where o.qualifying
        union all
        select o.customer_id, ${localMonth('o.placed_at', zone)}, o.currency, 0, 0, 0, 0, 1, (i.cost is not null)::int, coalesce(${lineCost}, 0)
        from o join items i on i.customer_id = o.customer_id and i.order_id = o.id where o.qualifying and ${isValued}
      ) f group by 1, 2, 3`;
  const addedPurchases = one
    ? sql`select o.customer_id, array[${day('o.placed_at')}], array[1], array[coalesce(o.base_revenue, 0)], (not ${isValued})::int from o where o.qualifying`
    : purchasesFrom(sql`o`, zone);
  return sql`stats as (
      insert into customer_stats as s (customer_id, currency, ${list(counters, (c) => c)}, first_order_at, last_order_at, purchase_days)
      ${addedStats}
      on conflict (customer_id, currency) do update set ${plus('s', sums)},
        first_order_at = least(s.first_order_at, excluded.first_order_at),
        last_order_at = greatest(s.last_order_at, excluded.last_order_at),
        purchase_days = s.purchase_days + excluded.purchase_days
    ), months as (
      insert into customer_month as m (customer_id, month, currency, ${list([...counters, ...lines], (c) => c)})
      ${addedMonths}
      on conflict (customer_id, month, currency) do update set ${plus('m', [...sums, ...lines])}
    ), purchases as (
      insert into customer_purchases as p (customer_id, ${list(history, (c) => c)})
      ${addedPurchases}
      on conflict (customer_id) do update set (days, orders, revenue) = (${one ? joinedDay : joined}), unvalued = p.unvalued + excluded.unvalued
    )`;
}

/** The lists of the row `p` with one day (`excluded`), which is the `n`th or comes behind it: what there was by each later day rises. */
const joinedDay: SQL = (() => {
  const grown = (name: string) =>
    `p.${name}[:kept] || (coalesce(p.${name}[n], 0) + excluded.${name}[1])
      || array(select x + excluded.${name}[1] from unnest(p.${name}[n + 1:]) with ordinality u(x, place) order by place)`;
  return sql.raw(`select p.days[:kept] || excluded.days || p.days[n + 1:], ${grown('orders')}, ${grown('revenue')}
    from (select n, n - (coalesce(p.days[n], 'infinity') = excluded.days[1])::int as kept from width_bucket(excluded.days[1], p.days) n offset 0) k`);
})();

/**
 * The lists of the row `p` and those of new orders (`excluded`) as one. Mostly the new days come last, or the first of them is the last
 * one so far; the second part is for orders that arrive late.
 */
const joined: SQL = (() => {
  const size = 'cardinality(p.days)';
  const late = `excluded.days[1] < p.days[${size}]`;
  const kept = `(${size} - (excluded.days[1] = p.days[${size}])::int)`;
  const after = (name: string) =>
    `p.${name}[:${kept}] || array(select x + p.${name}[${size}] from unnest(excluded.${name}) with ordinality u(x, place) order by place)`;
  const each = (row: string) =>
    `select day, orders - lag(orders, 1, 0) over days as orders, revenue - lag(revenue, 1, 0::bigint) over days as revenue
      from unnest(${row}.days, ${row}.orders, ${row}.revenue) u(day, orders, revenue) window days as (order by day)`;
  return sql.raw(`select p.days[:${kept}] || excluded.days, ${after('orders')}, ${after('revenue')} where not ${late}
    union all
    select array_agg(day order by day), array_agg(orders order by day), array_agg(revenue order by day)
    from (select day, sum(sum(orders)) over (order by day)::int as orders, sum(sum(revenue)) over (order by day)::bigint as revenue
      from (${each('p')} union all ${each('excluded')}) c group by day) d having ${late}`);
})();

export interface Difference {
  table: string;
  customerId: string;
  key: string;
  stored: string | null;
  counted: string | null;
}

function compare<Row>({ table, keys, values }: Rollup, fresh: SQL) {
  const row = (alias: string) =>
    `case when ${alias}.customer_id is not null then json_build_object(${values.map((c) => `'${c}', ${alias}.${c}`).join(', ')})::text end`;
  const others = keys.slice(1).map((k) => `coalesce(t.${k}, f.${k})`);
  return statement<Row>(
    `compare_${table}`,
    sql`select ${table}::text as table, coalesce(t.customer_id, f.customer_id) as "customerId",
      concat_ws(' ', ${sql.raw(others.length > 0 ? others.join(', ') : 'null')}) as key,
      ${sql.raw(row('t'))} as stored, ${sql.raw(row('f'))} as counted
    from ${sql.raw(table)} t full join (${fresh}) f on ${sql.raw(keys.map((k) => `f.${k} = t.${k}`).join(' and '))}
    where (${list(values, (c) => `t.${c}`)}) is distinct from (${list(values, (c) => `f.${c}`)})
    order by 2, 3 limit ${param('limit')}::int`,
  );
}

const everything = sql`true`;
const comparisons = [
  compare<Difference>(stats, statsFromFacts(everything, everything)),
  compare<Difference>(months, monthsFromFacts(everything, everything)),
  compare<Difference>(purchases, purchasesFrom(sql`orders`)),
];
/** Recomputes everything and answers where the derived state disagrees with the facts, at most `limit` per table. */
export async function rollupDifferences(db: Db, reportingTimeZone: string, limit: number): Promise<Difference[]> {
  const values = { zone: reportingTimeZone, limit };
  const differences: Difference[] = [];
  for (const comparison of comparisons) differences.push(...(await db.all(comparison, values)));
  return differences;
}

/** What follows for the derived state of customers when facts of theirs change. */
export const recomputeRollups: Effect = (tx, context, changes) => () =>
  recomputeCustomers(tx, touchedCustomers(changes), context.reportingTimeZone);

/** The same of facts that are added to it by the statement that inserts them (`addOrdersToRollups`). */
export const recomputeRollupsOfChanged: Effect = (tx, context, changes) => () =>
  recomputeCustomers(tx, touchedCustomers(changes.filter(({ before }) => before !== null)), context.reportingTimeZone);
