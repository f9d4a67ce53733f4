import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, type Statement, statement } from '../../platform/db/client.ts';
import { readOperation } from '../../platform/operation.ts';
import { defaultLimit, pageFrom, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { type ReferenceTuple, referencesOf, toReferences } from '../references/queries.ts';
import { type Order, order, orders } from './model.ts';
import { orderList } from './operations.ts';
import { itemsJson } from './queries.ts';

type Members = Pick<Order, 'id' | 'customerId'> & Partial<Omit<Order, 'references'>>;
type Row = Members & { references?: ReferenceTuple[] | null; all?: number };

/** Every member of an order as SQL. */
const memberSql: ReadonlyMap<string, SQL> = new Map([
  ...Object.entries(getTableColumns(orders)).map(([name, column]): [string, SQL] => [name, sql`${column}`]),
  ['items', sql`coalesce(${itemsJson}, '[]')`],
  ['references', referencesOf(orders.id)],
]);
const allMembers = Object.keys(order.shape);

/** Prepared statements live as long as their connection: beyond so many selections, everything is fetched. */
const mostShapes = 64;
const shapes = new Map<string, Statement<Row>>();

function firstOrders(sort: string, count: boolean, wanted: ReadonlySet<string>): Statement<Row> {
  const members = allMembers.filter((name) => wanted.has(name));
  const key = [sort, count, ...members].join();
  const known = shapes.get(key);
  if (known) return known;
  if (shapes.size >= mostShapes && members.length < allMembers.length) {
    return firstOrders(sort, count, new Set(allMembers));
  }
  const made = build(sort, count, members);
  shapes.set(key, made);
  return made;
}

/** The first orders of each customer in one pass by row_number(): the distributed engine refuses a lateral top-N. */
function build(sort: string, count: boolean, members: string[]): Statement<Row> {
  const column = sort.endsWith('updatedAt') ? orders.updatedAt : orders.placedAt;
  const direction = sql.raw(sort.startsWith('-') ? 'desc' : 'asc');
  const select = members.map((name) => sql`${memberSql.get(name) ?? sql`null`} as ${sql.identifier(name)}`);
  if (count) select.push(sql`"all"`);
  const all = count ? sql`, count(*) over (partition by ${orders.customerId}) as "all"` : sql``;
  return statement<Row>(
    'orders_of_customers',
    sql`select ${sql.join(select, sql`, `)}
      from (select *, row_number() over (partition by ${orders.customerId} order by ${column} ${direction}, ${orders.id} ${direction}) as place ${all}
        from ${orders} where ${orders.customerId} = any(${param('customerIds')}::uuid[])) ${orders}
      where place <= ${param('limit')}::int order by ${orders.customerId}, place`,
  );
}

/** For GraphQL: the first page of the orders of each of a set of customers, as `listCustomerOrders` answers it for one. */
export const ordersOfCustomers = readOperation({
  name: 'ordersOfCustomers',
  scope: 'orders:read',
  summary: 'List the first orders of customers',
  input: z.strictObject({
    customerIds: z.array(id),
    limit: pageParameters.limit,
    count: pageParameters.count,
    cursors: pageParameters.cursors,
    sort: sortParameter(['placedAt', 'updatedAt'], '-placedAt'),
    members: z.array(z.string()).meta({ description: 'What is wanted of an order; its ids are answered anyway.' }),
  }),
  output: z.array(pageOf(order.partial())),
  async run(context, { customerIds, limit = defaultLimit, sort = '-placedAt', members, count = false, cursors }) {
    const wanted = new Set([...members, 'id', 'customerId', ...(cursors ? [sort.replace('-', '')] : [])]);
    const rows = await context.db.all(firstOrders(sort, count, wanted), { customerIds, limit: limit + 1 });
    const byCustomer = new Map<string, Row[]>(customerIds.map((customerId) => [customerId, []]));
    for (const row of rows) byCustomer.get(row.customerId)?.push(row);
    return customerIds.map((customerId) => {
      const own = byCustomer.get(customerId) ?? [];
      const { data, page } = pageFrom(own, {
        limit,
        total: count ? (own[0]?.all ?? 0) : undefined,
        ...(cursors && { cursors, cursor: orderList.cursorFor(context, sort, { customerId }) }),
      });
      return { data: data.map(toMembers), page };
    });
  },
});

function toMembers({ all: _, references, ...members }: Row): Partial<Order> {
  return references === undefined ? members : { ...members, references: toReferences(references) };
}
