import { type SQL, sql } from 'drizzle-orm';
import { appliedRefunds } from './record.ts';

/* Lines of orders and goods of refunds as JSON, for what follows the goods (domain/loyalty-goods.ts). */

/** The line `i`, and what else there is to it. */
export const goodsItem = (more: SQL) =>
  sql`json_build_object('externalId', i.external_id, 'sku', i.sku, 'quantity', i.quantity, 'total', i.total, ${more})`;

export const itemsOfOrder = (customerId: SQL, id: SQL) =>
  sql`coalesce((select json_agg(${goodsItem(sql`'category', i.category`)} order by i.line) from order_items i
    where i.customer_id = ${customerId} and i.order_id = ${id}), '[]'::json)`;

/** In the order in which they count: that of `byPlace` (domain/refund-tax.ts). */
export const refundsOfOrder = (customerId: SQL, id: SQL) =>
  sql`coalesce((select json_agg(json_build_object('amount', r.amount, 'tax', r.tax, 'shipping', r.shipping,
      'items', coalesce((select json_agg(${goodsItem(sql`'line', i.order_line`)} order by i.line) from refund_items i
        where i.customer_id = r.customer_id and i.refund_id = r.id), '[]'::json)) order by r.refunded_at, r.source nulls first, r.external_id nulls first, r.id)
    from ${appliedRefunds} r where r.customer_id = ${customerId} and r.order_id = ${id}), '[]'::json)`;
