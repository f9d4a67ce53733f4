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

/** The same per month of the reporting zone: the definition of customer_month. */
function monthsFromFacts(ofOrders: SQL, ofReturns: SQL): SQL {
  const month = (column: string) =>
    sql`date_trunc('month', ${sql.raw(column)} at time zone ${param('zone')}::text)::date`;
  return sql`select customer_id, month, currency, ${list(counters, (c) => `coalesce(${c}, 0) as ${c}`)}
    from (select customer_id, ${month('placed_at')} as month, currency, count(*)::int as orders, sum(revenue)::bigint as revenue,
            count(base_revenue)::int as base_orders, coalesce(sum(base_revenue), 0)::bigint as base_revenue
          from orders where qualifying and ${ofOrders} group by 1, 2, 3) o
    full join (select customer_id, ${month('returned_at')} as month, currency, count(*)::int as returns, sum(net)::bigint as returned,
            count(base_net)::int as base_returns, coalesce(sum(base_net), 0)::bigint as base_returned
          from returns where ${ofReturns} group by 1, 2, 3) r using (customer_id, month, currency)`;
}

const chosen = sql`customer_id = any(${param('ids')}::uuid[])`;

function recompute(table: string, keys: string[], values: string[], fresh: SQL): SQL {
  const columns = [...keys, ...values];
  return sql`with fresh as (${fresh}), gone as (
      delete from ${sql.raw(table)} t where ${sql.raw('t.')}customer_id = any(${param('ids')}::uuid[])
        and not exists (select from fresh f where ${sql.raw(keys.map((k) => `f.${k} = t.${k}`).join(' and '))})
    )
    insert into ${sql.raw(table)} as t (${list(columns, (c) => c)}) select ${list(columns, (c) => c)} from fresh
    on conflict (${list(keys, (k) => k)}) do update set ${list(values, (c) => `${c} = excluded.${c}`)}
      where (${list(values, (c) => `t.${c}`)}) is distinct from (${list(values, (c) => `excluded.${c}`)})`;
}

const statsKeys = ['customer_id', 'currency'];
const monthKeys = ['customer_id', 'month', 'currency'];
const statsValues = [...counters, ...extremes];

const recomputeStats = statement(
  'recompute_stats',
  recompute('customer_stats', statsKeys, statsValues, statsFromFacts(chosen, chosen)),
);
const recomputeMonths = statement(
  'recompute_months',
  recompute('customer_month', monthKeys, counters, monthsFromFacts(chosen, chosen)),
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
  const values = { ids: wanted, zone: reportingTimeZone };
  await Promise.all([tx.all(recomputeStats, values), tx.all(recomputeMonths, values)]);
}

/**
 * CTEs that add new orders to the derived state, for the statement that inserts them as `o` (customer_id, placed_at,
 * currency, qualifying, revenue, base_revenue). The orders are not visible to the look for other purchases of their
 * day, since a statement does not see its own writes.
 */
export function addOrdersToRollups(zone: SQL): SQL {
  const day = (column: string) => sql`(${sql.raw(column)} at time zone ${zone}::text)::date`;
  const added = sql`count(*)::int, sum(o.revenue)::bigint, count(o.base_revenue)::int, coalesce(sum(o.base_revenue), 0)::bigint, 0, 0, 0, 0`;
  const plus = (table: string) =>
    list(['orders', 'revenue', 'base_orders', 'base_revenue'], (c) => `${c} = ${table}.${c} + excluded.${c}`);
  return sql`stats as (
      insert into customer_stats as s (customer_id, currency, ${list(counters, (c) => c)}, first_order_at, last_order_at, purchase_days)
      select o.customer_id, o.currency, ${added}, min(o.placed_at), max(o.placed_at),
        count(distinct ${day('o.placed_at')}) filter (where not exists (
          select from orders x where x.customer_id = o.customer_id and x.currency = o.currency and x.qualifying
            and x.placed_at between o.placed_at - interval '50 hours' and o.placed_at + interval '50 hours'
            and ${day('x.placed_at')} = ${day('o.placed_at')}))::int
      from o where o.qualifying group by 1, 2
      on conflict (customer_id, currency) do update set ${plus('s')},
        first_order_at = least(s.first_order_at, excluded.first_order_at),
        last_order_at = greatest(s.last_order_at, excluded.last_order_at),
        purchase_days = s.purchase_days + excluded.purchase_days
    ), months as (
      insert into customer_month as m (customer_id, month, currency, ${list(counters, (c) => c)})
      select o.customer_id, date_trunc('month', o.placed_at at time zone ${zone}::text)::date, o.currency, ${added}
      from o where o.qualifying group by 1, 2, 3
      on conflict (customer_id, month, currency) do update set ${plus('m')}
    )`;
}

export interface Difference {
  table: string;
  customerId: string;
  key: string;
  stored: string | null;
  counted: string | null;
}

function compare(table: string, keys: string[], values: string[], fresh: SQL): SQL {
  const row = (alias: string) =>
    `case when ${alias}.customer_id is not null then json_build_object(${values.map((c) => `'${c}', ${alias}.${c}`).join(', ')})::text end`;
  return sql`select ${table}::text as table, coalesce(t.customer_id, f.customer_id) as "customerId",
      concat_ws(' ', ${sql.raw(
        keys
          .slice(1)
          .map((k) => `coalesce(t.${k}, f.${k})`)
          .join(', '),
      )}) as key,
      ${sql.raw(row('t'))} as stored, ${sql.raw(row('f'))} as counted
    from ${sql.raw(table)} t full join (${fresh}) f on ${sql.raw(keys.map((k) => `f.${k} = t.${k}`).join(' and '))}
    where (${list(values, (c) => `t.${c}`)}) is distinct from (${list(values, (c) => `f.${c}`)})
    order by 2, 3 limit ${param('limit')}::int`;
}

const everything = sql`true`;
const compareStats = statement<Difference>(
  'compare_stats',
  compare('customer_stats', statsKeys, statsValues, statsFromFacts(everything, everything)),
);
const compareMonths = statement<Difference>(
  'compare_months',
  compare('customer_month', monthKeys, counters, monthsFromFacts(everything, everything)),
);
/** Recomputes everything and answers where the derived state disagrees with the facts, at most `limit` per table. */
export async function rollupDifferences(db: Db, reportingTimeZone: string, limit: number): Promise<Difference[]> {
  const values = { zone: reportingTimeZone, limit };
  return [...(await db.all(compareStats, values)), ...(await db.all(compareMonths, values))];
}

/** What follows for the derived state of customers when facts of theirs change. */
export const recomputeRollups: Effect = (tx, context, changes) => () =>
  recomputeCustomers(tx, touchedCustomers(changes), context.reportingTimeZone);

/** The same of facts that are added to it by the statement that inserts them (`addOrdersToRollups`). */
export const recomputeRollupsOfChanged: Effect = (tx, context, changes) => () =>
  recomputeCustomers(tx, touchedCustomers(changes.filter(({ before }) => before !== null)), context.reportingTimeZone);
