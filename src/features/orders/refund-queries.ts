import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { type Refund, refundItems, refunds } from './model.ts';

type RefundRow = typeof refunds.$inferSelect;
type RefundItemRow = typeof refundItems.$inferSelect;

export interface RefundRecord extends RefundRow {
  items: Refund['items'] | null;
}

/** The select list of a refund; for `toRefund`. */
export const refundColumns = sql`${fields(refunds)}, (select json_agg(json_build_object('sku', i.sku, 'quantity', i.quantity, 'total', i.total) order by i.line)
  from refund_items i where i.customer_id = ${refunds.customerId} and i.refund_id = ${refunds.id}) as items`;

export function toRefund(record: RefundRecord): Refund {
  const { id, orderId, customerId, amount, refundedAt, reason, items, version, createdAt } = record;
  return { id, orderId, customerId, amount, refundedAt, reason, items: items ?? [], version, createdAt };
}

const byId = statement<RefundRecord>(
  'refund_by_id',
  sql`select ${refundColumns} from ${refunds} where ${refunds.id} = ${param('id')}::uuid`,
);

export function refundById(db: Db, id: string): Promise<RefundRecord | null> {
  return db.first(byId, { id });
}

const ofOrders = statement<RefundRecord>(
  'refunds_of_orders',
  sql`select ${refundColumns} from ${refunds} join json_to_recordset(${param('orders')}::json) as o("customerId" uuid, "id" uuid)
      on ${refunds.customerId} = o."customerId" and ${refunds.orderId} = o."id" order by ${refunds.refundedAt}, ${refunds.id}`,
);

/** The refunds of a set of orders, oldest first; one statement whatever their number. */
export function refundsOfOrders(db: Db, orders: { customerId: string; id: string }[]): Promise<RefundRecord[]> {
  return db.all(ofOrders, { orders: JSON.stringify(orders) });
}

const total = sql`refunds = refunds + ${param('count')}::int, refunded = refunded + ${param('amount')}::bigint, version = version + 1, updated_at = ${param('now')}::timestamptz`;

const insert = statement(
  'insert_refund',
  sql`with refund as (${insertRows(refunds, param('refund'))}), items as (${insertRows(refundItems, param('items'))})
    update orders set ${total} where customer_id = ${param('customerId')}::uuid and id = ${param('orderId')}::uuid`,
);

/** A refund and what the order remembers of it. The customer is locked. */
export async function insertRefund(tx: Transaction, refund: RefundRow, items: RefundItemRow[]): Promise<void> {
  await tx.all(insert, {
    refund: JSON.stringify([refund]),
    items: JSON.stringify(items),
    count: 1,
    amount: refund.amount,
    now: refund.createdAt,
    customerId: refund.customerId,
    orderId: refund.orderId,
  });
}

const remove = statement(
  'delete_refund',
  sql`with refund as (delete from refunds where customer_id = ${param('customerId')}::uuid and id = ${param('id')}::uuid)
    update orders set ${total} where customer_id = ${param('customerId')}::uuid and id = ${param('orderId')}::uuid`,
);

/** Takes a refund back. The customer is locked. */
export async function deleteRefundRow(tx: Transaction, refund: RefundRow, now: string): Promise<void> {
  const { customerId, id, orderId, amount } = refund;
  await tx.all(remove, { customerId, id, orderId, count: -1, amount: -amount, now });
}
