import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { fields, param, type Statement, statement } from '../../platform/db/client.ts';
import { readOperation } from '../../platform/operation.ts';
import { defaultLimit, pageFrom, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { referencesOf } from '../references/queries.ts';
import { order, orders } from './model.ts';
import { orderList } from './operations.ts';
import { itemsJson, type OrderRecord, toOrder } from './queries.ts';

type RankedOrder = OrderRecord & { all: number };

/** Members that take a look-up per order. */
const omittable = z.enum(['items', 'references']);
type Omitted = z.output<typeof omittable>[];

const shapes = new Map<string, Statement<RankedOrder>>();

/** The first orders of each customer in one pass by row_number(): the distributed engine refuses a lateral top-N. */
function firstOrders(sort: string, omit: Omitted): Statement<RankedOrder> {
  const key = [sort, ...omit].join();
  const known = shapes.get(key);
  if (known) return known;
  const column = sort.endsWith('updatedAt') ? orders.updatedAt : orders.placedAt;
  const direction = sql.raw(sort.startsWith('-') ? 'desc' : 'asc');
  const byCustomer = sql`partition by ${orders.customerId}`;
  const made = statement<RankedOrder>(
    'orders_of_customers',
    sql`select ${fields(orders, ['qualifying', 'baseFactor'])}, "all",
        ${omit.includes('items') ? sql`null` : itemsJson} as items,
        ${omit.includes('references') ? sql`null` : referencesOf(orders.id)} as "referenceTuples"
      from (select *, row_number() over (${byCustomer} order by ${column} ${direction}, ${orders.id} ${direction}) as place, count(*) over (${byCustomer}) as "all"
        from ${orders} where ${orders.customerId} = any(${param('customerIds')}::uuid[])) ${orders}
      where place <= ${param('limit')}::int order by ${orders.customerId}, place`,
  );
  shapes.set(key, made);
  return made;
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
    omit: z.array(omittable).optional(),
  }),
  output: z.array(pageOf(order)),
  async run(context, { customerIds, limit = defaultLimit, sort = '-placedAt', omit = [], count, cursors }) {
    const rows = await context.db.all(firstOrders(sort, omit), { customerIds, limit: limit + 1 });
    const byCustomer = new Map<string, RankedOrder[]>();
    for (const row of rows) {
      const own = byCustomer.get(row.customerId);
      if (own) own.push(row);
      else byCustomer.set(row.customerId, [row]);
    }
    return customerIds.map((customerId) => {
      const own = byCustomer.get(customerId) ?? [];
      const cursor = orderList.cursorFor(context, sort, { customerId });
      const { data, page } = pageFrom(own, { limit, cursor, cursors, total: count ? (own[0]?.all ?? 0) : undefined });
      return { data: data.map(toOrder), page };
    });
  },
});
