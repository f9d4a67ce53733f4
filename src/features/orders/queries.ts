import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, rowsOf, statement, type Transaction } from '../../platform/db/client.ts';
import type { FactOrigin } from '../customers/facts.ts';
import { externalRefs } from '../references/model.ts';
import { insertRefs, type ReferenceTuple, type RefRow, referencesOf, toReferences } from '../references/queries.ts';
import { addOrdersToRollups } from '../rollups/queries.ts';
import { type Order, type OrderItem, orderItems, orders, type refundItems, type refunds } from './model.ts';

export type StoredOrder = typeof orders.$inferSelect;
/** What is written of an order; the rest of the row follows from it. */
export type OrderRow = Omit<StoredOrder, 'status' | 'qualifying' | 'revenue' | 'baseRevenue'>;
export type OrderItemRow = typeof orderItems.$inferSelect;

export interface OrderRecord extends Omit<StoredOrder, 'qualifying' | 'baseFactor'> {
  items: OrderItem[] | null;
  referenceTuples: ReferenceTuple[] | null;
}

export const itemsJson = sql`(select json_agg(json_build_object('sku', i.sku, 'name', i.name, 'category', i.category, 'quantity', i.quantity,
    'total', i.total, 'unitPrice', i.unit_price, 'cost', i.cost) order by i.line)
  from order_items i where i.customer_id = ${orders.customerId} and i.order_id = ${orders.id})`;

/** The select list of an order; for `toOrder`. */
export const orderColumns = sql`${fields(orders, ['qualifying', 'baseFactor'])}, ${itemsJson} as items, ${referencesOf(orders.id)} as "referenceTuples"`;

export function toOrder(record: OrderRecord): Order {
  return {
    id: record.id,
    customerId: record.customerId,
    source: record.source,
    externalId: record.externalId,
    references: toReferences(record.referenceTuples),
    placedAt: record.placedAt,
    currency: record.currency,
    total: record.total,
    items: record.items ?? [],
    discount: record.discount,
    shipping: record.shipping,
    fees: record.fees,
    tax: record.tax,
    taxIncluded: record.taxIncluded,
    rounding: record.rounding,
    paymentStatus: record.paymentStatus,
    fulfillmentStatus: record.fulfillmentStatus,
    cancelledAt: record.cancelledAt,
    channel: record.channel,
    campaignId: record.campaignId,
    test: record.test,
    exchangeRate: record.exchangeRate,
    status: record.status,
    refunded: record.refunded,
    revenue: record.revenue,
    baseRevenue: record.baseRevenue,
    version: record.version,
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  };
}

const byId = statement<OrderRecord>(
  'order_by_id',
  sql`select ${orderColumns} from ${orders} where ${orders.id} = ${param('id')}::uuid`,
);

const byReference = statement<OrderRecord>(
  'order_by_reference',
  sql`select ${orderColumns} from ${orders} where ${orders.id} = (select record_id from ${externalRefs}
    where kind = 'order' and source = ${param('source')} and external_id = ${param('externalId')})`,
);

const byIds = statement<OrderRecord>(
  'orders_by_ids',
  sql`select ${orderColumns} from ${orders} where ${orders.id} = any(${param('ids')}::uuid[])`,
);

export async function ordersById(db: Db, ids: string[]): Promise<Map<string, OrderRecord>> {
  const rows = await db.all(byIds, { ids: [...new Set(ids)] });
  return new Map(rows.map((row) => [row.id, row]));
}

export function orderById(db: Db, id: string): Promise<OrderRecord | null> {
  return db.first(byId, { id });
}

export function orderByReference(db: Db, ref: { source: string; externalId: string }): Promise<OrderRecord | null> {
  return db.first(byReference, ref);
}

const origin = statement<FactOrigin>(
  'order_origin',
  sql`select ${orders.customerId} as "customerId", ${orders.source} as source from ${orders} where ${orders.id} = ${param('id')}::uuid`,
);

/** Whose order it is and from which source, or null; true until the next commit of somebody else, so lock and look again. */
export function orderOrigin(db: Db, id: string): Promise<FactOrigin | null> {
  return db.first(origin, { id });
}

const owners = statement<{ id: string; customerId: string }>(
  'owners_of_orders',
  sql`select ${orders.id} as id, ${orders.customerId} as "customerId" from ${orders} where ${orders.id} = any(${param('ids')}::uuid[])`,
);

/** Whose these orders are, by their ids; what is not there is absent. */
export async function ownersOfOrders(db: Db, ids: string[]): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await db.all(owners, { ids: [...new Set(ids)] });
  return new Map(rows.map(({ id, customerId }) => [id, customerId]));
}

/** An order with what it owns, as stored: what a write starts from. */
export interface OrderState {
  row: OrderRow;
  items: OrderItemRow[];
  references: RefRow[];
}

const stateRows = statement<OrderRow>(
  'order_rows',
  sql`select ${fields(orders, ['status', 'qualifying', 'revenue', 'baseRevenue'])} from ${orders} where ${orders.id} = any(${param('ids')}::uuid[])`,
);
const stateItems = statement<OrderItemRow>(
  'order_item_rows',
  sql`select ${fields(orderItems)} from ${orderItems} join ${orders} on ${orders.customerId} = ${orderItems.customerId} and ${orders.id} = ${orderItems.orderId}
    where ${orders.id} = any(${param('ids')}::uuid[]) order by ${orderItems.orderId}, ${orderItems.line}`,
);
const stateRefs = statement<RefRow>(
  'order_ref_rows',
  sql`select ${fields(externalRefs)} from ${externalRefs} where ${externalRefs.recordId} = any(${param('ids')}::uuid[]) order by ${externalRefs.position}`,
);

/** The states of orders whose customers are locked. */
export async function orderStates(tx: Transaction, ids: string[]): Promise<Map<string, OrderState>> {
  if (ids.length === 0) return new Map();
  const [rows, items, references] = await Promise.all([
    tx.all(stateRows, { ids }),
    tx.all(stateItems, { ids }),
    tx.all(stateRefs, { ids }),
  ]);
  const states = new Map<string, OrderState>(rows.map((row) => [row.id, { row, items: [], references: [] }]));
  for (const item of items) states.get(item.orderId)?.items.push(item);
  for (const ref of references) if (ref.recordId) states.get(ref.recordId)?.references.push(ref);
  return states;
}

export type Inserted = Pick<StoredOrder, 'id' | 'status' | 'revenue' | 'baseRevenue'>;

const insertNew = statement<Inserted>(
  'insert_orders',
  sql`with o as (${insertRows(orders, param('rows'))} returning *),
    items as (${insertRows(orderItems, param('items'))}),
    refs as (${insertRefs} order by n."source", n."externalId"),
    ${addOrdersToRollups(param('zone'))}
    select o.id, o.status, o.revenue, o.base_revenue as "baseRevenue" from o`,
);

/** New orders with their items, names, statistics and months: one statement for one or a thousand. */
export function insertOrders(tx: Transaction, states: OrderState[], reportingTimeZone: string): Promise<Inserted[]> {
  return tx.all(insertNew, {
    rows: JSON.stringify(states.map(({ row }) => row)),
    items: JSON.stringify(states.flatMap(({ items }) => items)),
    newRefs: JSON.stringify(states.flatMap(({ references }) => references)),
    zone: reportingTimeZone,
  });
}

const mutable = Object.entries({
  version: 'version',
  placed_at: 'placedAt',
  currency: 'currency',
  total: 'total',
  discount: 'discount',
  shipping: 'shipping',
  fees: 'fees',
  tax: 'tax',
  tax_included: 'taxIncluded',
  rounding: 'rounding',
  payment_status: 'paymentStatus',
  fulfillment_status: 'fulfillmentStatus',
  cancelled_at: 'cancelledAt',
  channel: 'channel',
  campaign_id: 'campaignId',
  test: 'test',
  exchange_rate: 'exchangeRate',
  base_factor: 'baseFactor',
  refunds: 'refunds',
  refunded: 'refunded',
  updated_at: 'updatedAt',
});

const updateExisting = statement(
  'update_orders',
  sql`with dropped as (
      delete from order_items i using ${rowsOf(orders, param('rows'), 'n')} where i.customer_id = n."customerId" and i.order_id = n."id"
    )
    update orders o set ${sql.join(
      mutable.map(([column, key]) => sql`${sql.identifier(column)} = n.${sql.identifier(key)}`),
      sql`, `,
    )}
    from ${rowsOf(orders, param('rows'), 'n')} where o.customer_id = n."customerId" and o.id = n."id"`,
);

const insertMoved = statement('insert_moved_orders', insertRows(orders, param('rows')));
const insertItems = statement('insert_order_items', insertRows(orderItems, param('items')));

const moves = sql`json_to_recordset(${param('moves')}::json) as n("id" uuid, "from" uuid, "to" uuid)`;
const copyRefunds = statement(
  'copy_refunds',
  sql`insert into refunds (customer_id, id, order_id, version, amount, refunded_at, reason, created_at)
    select n."to", r.id, r.order_id, r.version, r.amount, r.refunded_at, r.reason, r.created_at
    from refunds r join ${moves} on r.customer_id = n."from" and r.order_id = n."id"`,
);
const copyRefundItems = statement(
  'copy_refund_items',
  sql`insert into refund_items (customer_id, refund_id, line, sku, quantity, total)
    select n."to", i.refund_id, i.line, i.sku, i.quantity, i.total
    from refund_items i join refunds r on r.customer_id = i.customer_id and r.id = i.refund_id
    join ${moves} on r.customer_id = n."from" and r.order_id = n."id"`,
);
const deleteMoved = statement(
  'delete_moved_orders',
  sql`delete from orders o using ${moves} where o.customer_id = n."from" and o.id = n."id"`,
);

/** Changed orders; one whose customer changed is inserted there and deleted here, with its refunds (never an UPDATE of the key). */
export async function updateOrders(
  tx: Transaction,
  changes: { before: OrderState; after: OrderState }[],
): Promise<void> {
  if (changes.length === 0) return;
  const stay = changes.filter(({ before, after }) => before.row.customerId === after.row.customerId);
  const move = changes.filter(({ before, after }) => before.row.customerId !== after.row.customerId);
  if (stay.length > 0) await tx.all(updateExisting, { rows: JSON.stringify(stay.map(({ after }) => after.row)) });
  const moved = JSON.stringify(
    move.map(({ before, after }) => ({ id: after.row.id, from: before.row.customerId, to: after.row.customerId })),
  );
  if (move.length > 0) {
    await tx.all(insertMoved, { rows: JSON.stringify(move.map(({ after }) => after.row)) });
    await tx.all(copyRefunds, { moves: moved });
    await tx.all(copyRefundItems, { moves: moved });
  }
  await tx.all(insertItems, { items: JSON.stringify(changes.flatMap(({ after }) => after.items)) });
  if (move.length > 0) await tx.all(deleteMoved, { moves: moved });
}

const removeOrder = statement(
  'delete_order',
  sql`with tombstones as (update external_refs set record_id = null, customer_id = null, deleted_at = ${param('now')}::timestamptz where record_id = ${param('id')}::uuid)
    delete from orders where customer_id = ${param('customerId')}::uuid and id = ${param('id')}::uuid`,
);

/** Deletes an order with its items and refunds; its references stay behind as tombstones. */
export async function deleteOrderRow(
  tx: Transaction,
  order: { customerId: string; id: string },
  now: string,
): Promise<void> {
  await tx.all(removeOrder, { ...order, now });
}

export type RefundRow = typeof refunds.$inferSelect;
export type RefundItemRow = typeof refundItems.$inferSelect;
