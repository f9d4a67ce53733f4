import { sql } from 'drizzle-orm';
import { linesOfItem, type RefundItemName } from '../../domain/refund-lines.ts';
import { byPlace, netsOfRefunds, type RefundNet } from '../../domain/refund-tax.ts';
import type { Warning } from '../../platform/batch.ts';
import { param, Retry, statement, type Transaction } from '../../platform/db/client.ts';
import { checkNotAhead, invalid } from '../../platform/errors.ts';
import type { Context } from '../../platform/operation.ts';
import type { Effect, State } from '../../records/effects.ts';
import { withoutPersonal } from '../../records/personal-data.ts';
import type { RowOf } from '../../records/record.ts';
import { nextStamps } from '../../records/stamps.ts';
import { statesOf } from '../../records/statements.ts';
import { changeStates, writtenBy } from '../../records/write.ts';
import { type orderItems, orderRecord, type RefundRefusal, type refundItems, refundRecord, refunds } from './record.ts';
import { ordersWithRefunds, type RefundedOrder } from './refund-nets.ts';
import './refund-owner.ts';

export type RefundRow = RowOf<typeof refundRecord>;

/** What the plans of a set of refunds know of their orders; what is accepted is noted in it. */
interface KnownOrders {
  orders: ReadonlyMap<string, RefundedOrder>;
  /** The lines of those whose refunds have items. */
  lines: ReadonlyMap<string, readonly (typeof orderItems.$inferSelect)[]>;
}

writtenBy(refundRecord, {
  async lookUp(tx, _context, { inputs, stored, parents }): Promise<KnownOrders> {
    const wanted = new Map(parents.map((parent) => [parent.id, parent]));
    for (const { orderId, customerId } of stored)
      if (orderId !== null) wanted.set(orderId, { id: orderId, customerId });
    const hasItems = inputs.some(({ items = [] }) => items.length > 0);
    const [found, states] = await Promise.all([
      ordersWithRefunds(tx, [...wanted.values()]),
      hasItems ? statesOf(tx, orderRecord, [...wanted.keys()]) : new Map<string, State>(),
    ]);
    const orders = new Map(found.map((order) => [order.id, order]));
    if (parents.some(({ id }) => !orders.has(id))) throw new Retry('an order moved or vanished');
    return { orders, lines: new Map([...states].map(([id, { lines }]) => [id, linesIn(lines)])) };
  },
  plan(next, { lines, input, context, known, warn }) {
    checkNotAhead(next.refundedAt, context.now, '/refundedAt');
    const order = next.orderId === null ? undefined : known.orders.get(next.orderId);
    if (!order) return { ...next, refusedReason: null, net: 0, netBefore: 0 };
    const refusal = refusalOf(order, next);
    if (refusal) throw invalid(refusal.pointer, refusal.reason, refusal.message);
    const net = netAmong(order, next);
    if (next.tax !== null && next.amount - net.net !== next.tax) warn(taxAdjusted(next.tax, next.amount - net.net));
    if (input.items) {
      const items = (lines['items'] ?? []) as readonly (typeof refundItems.$inferSelect)[]; // of a refund
      for (const warning of unknownItems(items, known.lines.get(order.id) ?? [])) warn(warning);
    }
    return { ...next, ...net, refusedReason: null };
  },
  accepted(row, { orders }) {
    for (const order of orders.values()) order.list = order.list.filter(({ id }) => id !== row.id);
    if (row.orderId !== null) orders.get(row.orderId)?.list.push(row);
  },
});

function linesIn(lines: State['lines']) {
  return (lines['items'] ?? []) as readonly (typeof orderItems.$inferSelect)[]; // of an order
}

interface Refusal {
  pointer: string;
  reason: RefundRefusal;
  message: string;
}

type Amounts = Pick<RefundRow, 'id' | 'amount' | 'tax'>;

/** Why a refund does not fit its order; null: it does. */
function refusalOf(order: RefundedOrder, refund: Amounts): Refusal | null {
  const others = order.list.filter(({ id }) => id !== refund.id);
  const refunded = others.reduce((sum, { amount }) => sum + amount, 0);
  if (refunded + refund.amount > order.total) {
    const message = `The order's total is ${order.total}, of which ${refunded} is refunded: send at most ${Math.max(0, order.total - refunded)}.`;
    return { pointer: '/amount', reason: 'refund_exceeds_total', message };
  }
  const stated = [...others, refund].reduce((sum, { tax }) => sum + (tax ?? 0), 0);
  if (stated <= order.tax) return null;
  const left = order.tax - (stated - (refund.tax ?? 0));
  const message = `The taxes of the refunds come to ${stated}, more than the order's tax of ${order.tax}: send at most ${Math.max(0, left)}, or leave tax out.`;
  return { pointer: '/tax', reason: 'refund_tax_exceeds_order', message };
}

/** The net of a refund that is about to be written, among those that its order has. */
function netAmong(order: RefundedOrder, refund: RefundRow): RefundNet {
  const all = [...order.list.filter(({ id }) => id !== refund.id), refund].sort(byPlace);
  const net = netsOfRefunds(order, all)[all.indexOf(refund)];
  if (!net) throw new Error('Every refund has a net');
  return net;
}

function taxAdjusted(stated: number, counted: number): Warning {
  return {
    code: 'tax_adjusted',
    message: `The tax of ${stated} is kept as it was sent, but counts as ${counted}: that is what the amount and the order leave room for.`,
  };
}

function unknownItems(
  items: readonly RefundItemName[],
  lines: readonly RefundItemName[] | readonly { externalId: string | null; sku: string | null }[],
): Warning[] {
  return items.flatMap((item, position) =>
    linesOfItem(item, lines).length > 0
      ? []
      : [
          {
            code: 'unknown_refund_item',
            message: `items[${position}] names no line of the order: it is kept, and counts for the refund as a whole.`,
          },
        ],
  );
}

const waitingFor = statement<{ id: string; orderId: string }>(
  'refunds_waiting_for',
  sql`select distinct ${refunds.id} as id, n."orderId" from ${refunds} join json_to_recordset(${param('names')}::json)
      as n("source" text, "externalId" text, "orderId" uuid)
    on ${refunds.awaitedSource} = n."source" and ${refunds.awaitedExternalId} = n."externalId" where ${refunds.orderId} is null`,
);

/**
 * The refunds that waited for an order become its own when it comes, in the order in which they count: those that fit are
 * applied, the others are refused and stay so, whatever becomes of the order. It may be a scoped token that makes the order, and what
 * waits is nobody's.
 */
export const applyWaitingRefunds: Effect = (tx, context, changes) => {
  const awaited = changes.flatMap(({ after }) => (after?.awaited ? [after] : []));
  return () => (awaited.length > 0 ? tx.asService((service) => applyWaiting(service, context, awaited)) : undefined);
};

async function applyWaiting(tx: Transaction, context: Context, orders: readonly State[]): Promise<void> {
  const names = orders.flatMap(({ row, references }) =>
    references.map(({ source, externalId }) => ({ source, externalId, orderId: row.id })),
  );
  const waiting = await tx.all(waitingFor, { names: JSON.stringify(names) });
  if (waiting.length === 0) return;
  const ids = waiting.map(({ id }) => id);
  const [states, known] = await Promise.all([
    statesOf(tx, refundRecord, ids),
    ordersWithRefunds(
      tx,
      orders.map(({ row }) => row),
    ),
  ]);
  const changes = known.flatMap((order) => {
    const own = waiting.flatMap(({ id, orderId }) => (orderId === order.id ? (states.get(id) ?? []) : []));
    return attached(tx, context, order, own);
  });
  await changeStates(refundRecord, tx, context, changes);
}

function attached(
  tx: Transaction,
  { now }: Context,
  order: RefundedOrder,
  waiting: readonly State[],
): { before: State; after: State }[] {
  const rows = new Map(waiting.map((state) => [state, state.row as RefundRow])); // of refunds
  const sorted = [...rows].sort(([, a], [, b]) => byPlace(a, b));
  const decided = sorted.map(([before, row]) => {
    const refusal = refusalOf(order, row);
    if (!refusal) order.list = [...order.list, row].sort(byPlace);
    return { before, row, refusedReason: refusal?.reason ?? null };
  });
  const nets = new Map(netsOfRefunds(order, order.list).map((net, at) => [order.list[at]?.id, net]));
  return decided.map(({ before, row, refusedReason }) => {
    const { customerId } = order;
    const next = withoutPersonal(tx, refunds, {
      ...row,
      ...nextStamps(row, now),
      ...(nets.get(row.id) ?? { net: 0, netBefore: 0 }),
      customerId,
      orderId: order.id,
      awaitedSource: null,
      awaitedExternalId: null,
      refusedReason,
    });
    const items = (before.lines['items'] ?? []).map((line) => ({ ...line, customerId }));
    const references = before.references.map((ref) => ({ ...ref, customerId }));
    return { before, after: { row: next, lines: { items }, references } };
  });
}
