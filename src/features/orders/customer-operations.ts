import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { param, type Statement, statement } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import { type Context, readOperation, selectableOf } from '../../platform/operation.ts';
import { defaultLimit, pageFrom, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { referencesOf } from '../../records/references/queries.ts';
import { orderOperations } from './operations.ts';
import { orderRecord, orders } from './record.ts';

const order = orderRecord.output;
type Order = z.output<typeof order>;
const orderItem = order.shape.items.element;

/**
 * The orders of many customers at once, for GraphQL: only what is selected, built as JSON by the database, whose
 * parsing costs a fraction of that of columns.
 */

const selection = z.strictObject({
  limit: pageParameters.limit,
  count: pageParameters.count,
  cursors: pageParameters.cursors,
  sort: sortParameter(['placedAt', 'updatedAt'], '-placedAt'),
  members: z
    .array(z.string())
    .meta({ description: 'The members that are selected (`total`, `items.sku`); ids are always returned.' }),
});
type Selection = z.output<typeof selection>;

const firstPage = pageOf(order.partial().meta({ id: 'PartialOrder' }));
type FirstPage = z.output<typeof firstPage>;

/** An order as it comes: instants in the spelling of Postgres. */
type SelectedOrder = Pick<Order, 'id' | 'customerId'> & Partial<Order>;
interface FirstOrders {
  customerId: string;
  all: number;
  orders: SelectedOrder[];
}

const memberSql: Record<string, SQL> = Object.fromEntries(
  Object.entries<PgColumn>(getTableColumns(orders)).map(([name, column]) => {
    // JSON has no type for what is not a number: text is exact.
    const exact = /^(timestamp|numeric)/.test(column.getSQLType());
    return [name, exact ? sql`${column}::text` : sql`${column}`];
  }),
);
const instants = Object.entries<PgColumn>(getTableColumns(orders)).flatMap(([name, column]) =>
  column.getSQLType().startsWith('timestamp') ? [name] : [],
);
const itemColumns: Record<string, SQL> = {
  externalId: sql`i.external_id`,
  sku: sql`i.sku`,
  name: sql`i.name`,
  category: sql`i.category`,
  quantity: sql`i.quantity`,
  total: sql`i.total`,
  unitPrice: sql`i.unit_price`,
  cost: sql`i.cost`,
  tax: sql`i.tax`,
};

function jsonObject(members: [name: string, value: SQL][]): SQL {
  return sql`json_build_object(${sql.join(
    members.map(([name, value]) => sql`${sql.raw(`'${name}'`)}, ${value}`),
    sql`, `,
  )})`;
}

/** Known members in their own order, so that equal selections are equal statements. */
function known(members: readonly string[], sort: string): string[] {
  const wanted = new Set([...members, 'id', 'customerId', sort.replace('-', '')]);
  return [
    ...Object.keys(order.shape).filter((name) => wanted.has(name)),
    ...Object.keys(orderItem.shape).flatMap((name) => (wanted.has(`items.${name}`) ? [`items.${name}`] : [])),
  ];
}

function memberOf(name: string, members: readonly string[]): SQL {
  if (name === 'references') return referencesOf(orders.id);
  if (name !== 'items') return memberSql[name] ?? sql`null`;
  const columns = Object.entries(itemColumns).filter(([column]) => members.includes(`items.${column}`));
  return sql`coalesce((select json_agg(${jsonObject(columns)} order by i.line)
    from order_items i where i.customer_id = ${orders.customerId} and i.order_id = ${orders.id}), '[]')`;
}

/** The first orders of each customer in one pass by row_number(): the distributed engine refuses a lateral top-N. */
function firstOrders(sort: string, count: boolean, members: readonly string[], customerIds: SQL): SQL {
  const column = sort.endsWith('updatedAt') ? orders.updatedAt : orders.placedAt;
  const direction = sql.raw(sort.startsWith('-') ? 'desc' : 'asc');
  const pairs = members.flatMap((name): [string, SQL][] =>
    name.includes('.') ? [] : [[name, memberOf(name, members)]],
  );
  const byCustomer = sql`partition by ${orders.customerId}`;
  const all = count ? sql`count(*) over (${byCustomer})` : sql`0`;
  return sql`select ${orders.customerId} as "customerId", max("all") as "all", json_agg(${jsonObject(pairs)} order by place) as orders
    from (select *, row_number() over (${byCustomer} order by ${column} ${direction}, ${orders.id} ${direction}) as place, ${all} as "all"
      from ${orders} where ${orders.customerId} in (${customerIds})) ${orders}
    where place <= ${param('ordersLimit')}::int group by ${orders.customerId}`;
}

/** Prepared statements live as long as their connection, so there may not be one for every selection there is. */
const mostShapes = 64;
const shapes = new Map<string, Statement<FirstOrders>>();

function ofIds(sort: string, count: boolean, selected: readonly string[]): Statement<FirstOrders> {
  const key = [sort, count, ...selected].join();
  const made = shapes.get(key);
  if (made) return made;
  const everything = [...Object.keys(order.shape), ...Object.keys(orderItem.shape).map((name) => `items.${name}`)];
  if (shapes.size >= mostShapes && selected.length < everything.length)
    return ofIds(sort, count, known(everything, sort));
  const prepared = statement<FirstOrders>(
    'orders_of_customers',
    firstOrders(sort, count, selected, sql`select unnest(${param('customerIds')}::uuid[])`),
  );
  shapes.set(key, prepared);
  return prepared;
}

/** The first page of the orders of each of a set of customers, as `listCustomerOrders` answers it for one. */
export const ordersOfCustomers = readOperation({
  name: 'ordersOfCustomers',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: 'List the first orders of customers',
  input: selection.extend({ customerIds: z.array(id) }),
  output: z.array(firstPage),
  async run(context, { customerIds, ...selected }) {
    const { sort = '-placedAt', limit = defaultLimit, count = false, members } = selected;
    const rows = await context.db.all(ofIds(sort, count, known(members, sort)), {
      customerIds,
      ordersLimit: limit + 1,
    });
    const byCustomer = new Map(rows.map((row) => [row.customerId, row]));
    return customerIds.map((customerId) => firstPageOf(context, selected, customerId, byCustomer.get(customerId)));
  },
  selectable: () => selectableOf(orderOperations.listOfOwner),
});

function firstPageOf(
  context: Context,
  { limit = defaultLimit, sort, count, cursors }: Selection,
  customerId: string,
  first: FirstOrders | undefined,
): FirstPage {
  const rows = (first?.orders ?? []).map(withInstants);
  return pageFrom(rows, {
    limit,
    total: count ? (first?.all ?? 0) : undefined,
    ...(cursors && { cursors, cursor: orderOperations.pages().cursorFor(context, sort, { customerId }) }),
  });
}

function withInstants(row: SelectedOrder): SelectedOrder {
  const values = row as Record<string, unknown>; // instants are text
  for (const name of instants) {
    const value = values[name];
    if (value) values[name] = canonicalInstant(String(value));
  }
  return row;
}
