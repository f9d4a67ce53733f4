import { type SQL, sql } from 'drizzle-orm';
import { isBefore } from '../../domain/period.ts';
import { netsOfRefunds, type RefundAmounts, type RefundNet } from '../../domain/refund-tax.ts';
import { type Db, param, statement, type Transaction } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import type { Effect } from '../../records/effects.ts';
import { raiseStamps } from '../../records/stamps.ts';
import type { Difference } from '../rollups/queries.ts';
import type { orders, refunds } from './record.ts';

/*
 * What the refunds of an order take from it (domain/refund-tax.ts): `net` of each refund, and `refunds`, `refunded` and
 * `refundedNet` of the order. They follow from the facts, and change whenever the order or one of its refunds does.
 */

type Refund = [id: string, refundedAt: string, amount: number, tax: number | null, net: number, netBefore: number];

interface Refunded {
  customerId: string;
  id: string;
  total: number;
  tax: number;
  refunds: number;
  refunded: number;
  refundedNet: number;
  list: Refund[];
}

/** The order in which refunds count. */
const inOrder = sql`r.refunded_at, r.id`;

const refundedOrders = (name: string, which: SQL, limit = sql``) =>
  statement<Refunded>(
    name,
    sql`select o.customer_id as "customerId", o.id, o.total, o.tax, o.refunds, o.refunded, o.refunded_net as "refundedNet", r.list
    from orders o, lateral (
      select coalesce(json_agg(json_build_array(r.id, r.refunded_at, r.amount, r.tax, r.net, r.net_before) order by ${inOrder}), '[]') as list
      from refunds r where r.customer_id = o.customer_id and r.order_id = o.id) r
    where ${which} order by o.customer_id, o.id ${limit}`,
  );
const ofOrders = refundedOrders(
  'refunded_orders',
  sql`(o.customer_id, o.id) in (select "customerId", "id" from json_to_recordset(${param('orders')}::json) as k("customerId" uuid, "id" uuid))`,
);
const hasRefunds = sql`(o.refunds > 0 or (o.customer_id, o.id) in (select r.customer_id, r.order_id from refunds r))`;
const ofCustomers = refundedOrders(
  'refunded_orders_of_customers',
  sql`o.customer_id = any(${param('ids')}::uuid[]) and (o.refunds > 0
    or exists (select from refunds r where r.customer_id = o.customer_id and r.order_id = o.id))`,
);
const ofEverybody = refundedOrders(
  'all_refunded_orders',
  sql`${hasRefunds} and (o.customer_id, o.id) > (${param('customerId')}::uuid, ${param('id')}::uuid)`,
  sql`limit 5000`,
);

/** A refund as far as it decides about the others of its order. */
interface KnownRefund extends RefundAmounts {
  id: string;
  refundedAt: string;
}

const amountsOf = ({ list }: Refunded): KnownRefund[] =>
  list.map(([id, refundedAt, amount, tax]) => ({ id, refundedAt: canonicalInstant(refundedAt), amount, tax }));

/** The net of a refund that is about to be written, among those that its order has. */
export function netAmong(
  order: { total: number; tax: number },
  others: readonly KnownRefund[],
  refund: KnownRefund,
): RefundNet {
  const all = [...others, refund].sort((a, b) =>
    isBefore(a.refundedAt, b.refundedAt) || (a.refundedAt === b.refundedAt && a.id < b.id) ? -1 : 1,
  );
  const net = netsOfRefunds(order, all)[all.indexOf(refund)];
  if (!net) throw new Error('Every refund has a net');
  return net;
}

/** The refunds of these orders, in the order in which they count; none for those that have none. */
export async function refundsOfOrders(
  tx: Transaction,
  stored: readonly { customerId: string; id: string; refunds: number }[],
): Promise<Map<string, KnownRefund[]>> {
  const wanted = stored.filter(({ refunds: count }) => count > 0);
  if (wanted.length === 0) return new Map();
  const rows = await tx.all(ofOrders, {
    orders: JSON.stringify(wanted.map(({ customerId, id }) => ({ customerId, id }))),
  });
  return new Map(rows.map((row) => [row.id, amountsOf(row)]));
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

type OrderTotals = Pick<Refunded, 'customerId' | 'id' | 'refunds' | 'refunded' | 'refundedNet'>;

function changesOf(rows: readonly Refunded[]) {
  const changedRefunds: ({ customerId: string; id: string } & RefundNet)[] = [];
  const changedOrders: { before: OrderTotals; after: OrderTotals }[] = [];
  for (const row of rows) {
    const { customerId, id } = row;
    const nets = netsOfRefunds(row, amountsOf(row));
    for (const [index, [refundId, , , , net, netBefore]] of row.list.entries()) {
      const fresh = nets[index];
      if (fresh && (fresh.net !== net || fresh.netBefore !== netBefore)) {
        changedRefunds.push({ customerId, id: refundId, ...fresh });
      }
    }
    const refunded = row.list.reduce((sum, [, , amount]) => sum + amount, 0);
    const after = { customerId, id, refunds: row.list.length, refunded, refundedNet: refundedNetOf(nets) };
    const before = { customerId, id, refunds: row.refunds, refunded: row.refunded, refundedNet: row.refundedNet };
    if (JSON.stringify(before) !== JSON.stringify(after)) changedOrders.push({ before, after });
  }
  return { changedRefunds, changedOrders };
}

async function saveChanges(tx: Transaction, now: string, rows: readonly Refunded[]): Promise<void> {
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
  await saveChanges(tx, now, await tx.all(ofCustomers, { ids }));
}

/** Where orders and refunds disagree with it, at most `limit`. */
export async function refundDifferences(db: Db, limit: number): Promise<Difference[]> {
  const found: Difference[] = [];
  let last = { customerId: '00000000-0000-0000-0000-000000000000', id: '00000000-0000-0000-0000-000000000000' };
  for (;;) {
    const rows = await db.all(ofEverybody, last);
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
    if (touched.length > 0) await saveChanges(tx, now, await tx.all(ofOrders, { orders: JSON.stringify(touched) }));
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
        return [{ customerId, id: orderId }];
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
