import { type SQL, sql } from 'drizzle-orm';
import {
  byPlace,
  netsOfRefunds,
  type RefundAmounts,
  type RefundNet,
  type RefundPlace,
} from '../../domain/refund-tax.ts';
import { type Db, param, statement, type Transaction, type Values } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import type { Effect } from '../../records/effects.ts';
import { raiseStamps } from '../../records/stamps.ts';
import type { Difference } from '../rollups/queries.ts';
import { appliedRefunds, type orders, type refunds } from './record.ts';

/*
 * What the refunds of an order take from it (domain/refund-tax.ts): `net` of each refund, and `refunds`, `refunded` and
 * `refundedNet` of the order. They follow from the facts, and change whenever the order or one of its refunds does.
 */

interface KnownRefund extends RefundPlace, RefundAmounts {}

interface Refund extends KnownRefund, RefundNet {}

export interface RefundedOrder {
  customerId: string;
  id: string;
  total: number;
  tax: number;
  refunds: number;
  refunded: number;
  refundedNet: number;
  /** Its refunds that count, in the order in which they count. */
  list: Refund[];
}

const refundedOrders = (name: string, which: SQL, limit = sql``) => {
  const query = statement<RefundedOrder>(
    name,
    sql`select o.customer_id as "customerId", o.id, o.total, o.tax, o.refunds, o.refunded, o.refunded_net as "refundedNet", r.list
    from orders o, lateral (
      select coalesce(json_agg(json_build_object('id', r.id, 'refundedAt', r.refunded_at, 'source', r.source, 'externalId', r.external_id,
        'amount', r.amount, 'tax', r.tax, 'net', r.net, 'netBefore', r.net_before)), '[]') as list
      from ${appliedRefunds} r where r.customer_id = o.customer_id and r.order_id = o.id) r
    where ${which} order by o.customer_id, o.id ${limit}`,
  );
  return async (db: Db, values: Values): Promise<RefundedOrder[]> => {
    const rows = await db.all(query, values);
    for (const { list } of rows) {
      for (const refund of list) refund.refundedAt = canonicalInstant(refund.refundedAt);
      list.sort(byPlace);
    }
    return rows;
  };
};
const ofOrders = refundedOrders(
  'refunded_orders',
  sql`(o.customer_id, o.id) in (select "customerId", "id" from json_to_recordset(${param('orders')}::json) as k("customerId" uuid, "id" uuid))`,
);
const hasRefunds = sql`(o.refunds > 0 or (o.customer_id, o.id) in (select r.customer_id, r.order_id from ${appliedRefunds} r))`;
const ofCustomers = refundedOrders(
  'refunded_orders_of_customers',
  sql`o.customer_id = any(${param('ids')}::uuid[]) and (o.refunds > 0
    or exists (select from ${appliedRefunds} r where r.customer_id = o.customer_id and r.order_id = o.id))`,
);
const ofEverybody = refundedOrders(
  'all_refunded_orders',
  sql`${hasRefunds} and (o.customer_id, o.id) > (${param('customerId')}::uuid, ${param('id')}::uuid)`,
  sql`limit 5000`,
);

/** The orders with these ids of these customers, who are locked, with the refunds that count. */
export async function ordersWithRefunds(
  tx: Transaction,
  orders: readonly { customerId: string; id: string }[],
): Promise<RefundedOrder[]> {
  if (orders.length === 0) return [];
  return ofOrders(tx, { orders: JSON.stringify(orders.map(({ customerId, id }) => ({ customerId, id }))) });
}

/** The refunds of these orders, in the order in which they count; none for those that have none. */
export async function refundsOfOrders(
  tx: Transaction,
  stored: readonly { customerId: string; id: string; refunds: number }[],
): Promise<Map<string, KnownRefund[]>> {
  const rows = await ordersWithRefunds(
    tx,
    stored.filter(({ refunds: count }) => count > 0),
  );
  return new Map(rows.map(({ id, list }) => [id, list]));
}

/** What is left of an order's net value is `total − tax` less this. */
export function refundedNetOf(nets: readonly RefundNet[]): number {
  return nets.reduce((sum, { net }) => sum + net, 0);
}

const save = statement(
  'save_refund_nets',
  sql`with r as (
      select * from json_to_recordset(${param('refunds')}::json) as r("customerId" uuid, "id" uuid, "net" bigint, "netBefore" bigint)
    ), changed as (
      update refunds x set net = r."net", net_before = r."netBefore", ${raiseStamps('x')}
      from r where x.customer_id = r."customerId" and x.id = r."id"
    )
    update orders x set refunds = o."refunds", refunded = o."refunded", refunded_net = o."refundedNet",
      ${raiseStamps('x')}
    from json_to_recordset(${param('orders')}::json) as o("customerId" uuid, "id" uuid, "refunds" int, "refunded" bigint, "refundedNet" bigint)
    where x.customer_id = o."customerId" and x.id = o."id"`,
);

type OrderTotals = Pick<RefundedOrder, 'customerId' | 'id' | 'refunds' | 'refunded' | 'refundedNet'>;

function changesOf(rows: readonly RefundedOrder[]) {
  const changedRefunds: ({ customerId: string; id: string } & RefundNet)[] = [];
  const changedOrders: { before: OrderTotals; after: OrderTotals }[] = [];
  for (const row of rows) {
    const { customerId, id } = row;
    const nets = netsOfRefunds(row, row.list);
    for (const [index, refund] of row.list.entries()) {
      const fresh = nets[index];
      if (fresh && (fresh.net !== refund.net || fresh.netBefore !== refund.netBefore)) {
        changedRefunds.push({ customerId, id: refund.id, ...fresh });
      }
    }
    const refunded = row.list.reduce((sum, { amount }) => sum + amount, 0);
    const after = { customerId, id, refunds: row.list.length, refunded, refundedNet: refundedNetOf(nets) };
    const before = { customerId, id, refunds: row.refunds, refunded: row.refunded, refundedNet: row.refundedNet };
    if (JSON.stringify(before) !== JSON.stringify(after)) changedOrders.push({ before, after });
  }
  return { changedRefunds, changedOrders };
}

async function saveChanges(tx: Transaction, now: string, rows: readonly RefundedOrder[]): Promise<void> {
  const { changedRefunds, changedOrders } = changesOf(rows);
  if (changedRefunds.length + changedOrders.length === 0) return;
  await tx.all(save, {
    refunds: JSON.stringify(changedRefunds),
    orders: JSON.stringify(changedOrders.map(({ after }) => after)),
    now,
  });
}

/** Makes anew what the refunds of these customers, who are locked, take from their orders. */
export async function recomputeRefunds(tx: Transaction, now: string, ids: string[]): Promise<void> {
  await saveChanges(tx, now, await ofCustomers(tx, { ids }));
}

/** Where orders and refunds disagree with it, at most `limit`. */
export async function refundDifferences(db: Db, limit: number): Promise<Difference[]> {
  const found: Difference[] = [];
  let last = { customerId: '00000000-0000-0000-0000-000000000000', id: '00000000-0000-0000-0000-000000000000' };
  for (;;) {
    const rows = await ofEverybody(db, last);
    const { changedRefunds, changedOrders } = changesOf(rows);
    for (const { before, after } of changedOrders) {
      found.push(difference('orders', after, amounts(before), amounts(after)));
    }
    for (const { customerId, id, net } of changedRefunds) {
      found.push(difference('refunds', { customerId, id }, null, JSON.stringify({ net })));
    }
    const end = rows.at(-1);
    if (found.length >= limit || !end) return found.slice(0, limit);
    last = { customerId: end.customerId, id: end.id };
  }
}

const amounts = ({ refunds: count, refunded, refundedNet }: OrderTotals) =>
  JSON.stringify({ refunds: count, refunded, refundedNet });

function difference(
  table: string,
  { customerId, id }: { customerId: string; id: string },
  stored: string | null,
  counted: string,
): Difference {
  return { table, customerId, key: id, stored, counted };
}

const recomputeOf =
  (tx: Transaction, now: string, touched: readonly { customerId: string; id: string }[]) => async () => {
    if (touched.length > 0) await saveChanges(tx, now, await ordersWithRefunds(tx, touched));
  };

/** What follows for orders and their other refunds when refunds are given, changed or taken back. */
export const recomputeRefundsOfChanged: Effect = (tx, { now }, changes) =>
  recomputeOf(
    tx,
    now,
    changes.flatMap(({ before, after }) =>
      [before, after].flatMap((state) => {
        if (!state) return [];
        const { customerId, orderId } = state.row as typeof refunds.$inferSelect; // of a refund
        return orderId === null ? [] : [{ customerId, id: orderId }];
      }),
    ),
  );

/** What follows for the refunds of orders whose amounts change. */
export const recomputeRefundsOfOrders: Effect = (tx, { now }, changes) =>
  recomputeOf(
    tx,
    now,
    changes.flatMap(({ before, after }) => {
      if (!before || !after) return [];
      const [old, row] = [before.row, after.row] as (typeof orders.$inferSelect)[]; // of an order
      const changed = old && row && row.refunds > 0 && (old.total !== row.total || old.tax !== row.tax);
      return changed ? [{ customerId: row.customerId, id: row.id }] : [];
    }),
  );
