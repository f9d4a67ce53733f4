import { baseAmount } from '../../domain/money.ts';
import type { Change, Effect, State } from '../../records/effects.ts';
import { isQualifying, type orderItems, type orders, type refunds } from '../orders/record.ts';
import { membersAmong, recomputeEarnings, type TouchedOrder } from './earning.ts';
import type { OrderFacts } from './earning-queries.ts';

/** What follows for the points of members when their orders change. */
export const earnPointsOfOrders: Effect = (tx, context, changes) =>
  recompute(tx, context, changes.flatMap(touchedByChange));

/** The same, when refunds of their orders are given or taken back. */
export const earnPointsOfRefunded: Effect = (tx, context, changes) =>
  recompute(
    tx,
    context,
    changes.flatMap(({ before, after }) =>
      [before, after].flatMap((state) => {
        if (!state) return [];
        const { customerId, orderId } = state.row as typeof refunds.$inferSelect; // of a refund
        return orderId === null ? [] : [{ customerId, orderId, isNew: false }];
      }),
    ),
  );

function recompute(
  ...[tx, context, touched]: Parameters<typeof membersAmong> & [unknown, Parameters<Effect>[1], unknown]
) {
  // Sent before the orders are written: what was known before decides what was due.
  const members = membersAmong(tx, context, touched);
  members.catch(() => undefined);
  return async () => recomputeEarnings(tx, context, await members);
}

/** Whose points the change of an order may move; nobody's when nothing has changed that decides about them. */
function touchedByChange({ before, after }: Change): TouchedOrder[] {
  const former = before && factsOf(before);
  if (!after) return former ? [{ customerId: former.customerId, orderId: former.id, isNew: false, facts: null }] : [];
  const facts = factsOf(after);
  const { customerId, id: orderId } = facts;
  if (!former) return facts.qualifying ? [{ customerId, orderId, isNew: true, facts }] : [];
  if (former.customerId !== customerId) {
    return [
      { customerId: former.customerId, orderId, isNew: false, facts: null },
      { customerId, orderId, isNew: false, facts },
    ];
  }
  return areEqual(former, facts) ? [] : [{ customerId, orderId, isNew: false, facts }];
}

/** What the generated columns will say, too: the order need not be read back. */
function factsOf(state: State): OrderFacts {
  const row = state.row as typeof orders.$inferSelect; // of an order
  const items = state.lines['items'] as readonly (typeof orderItems.$inferSelect)[]; // of an order
  const { customerId, id, placedAt, paymentStatus, fulfillmentStatus, campaignId } = row;
  return {
    customerId,
    id,
    placedAt,
    baseRevenue: baseAmount(row.total - row.tax - row.refundedNet, row.baseFactor),
    qualifying: isQualifying(row),
    paymentStatus,
    fulfillmentStatus,
    campaignId,
    items: items.map(({ category, total }) => ({ category, total })),
  };
}

function areEqual(a: OrderFacts, b: OrderFacts): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
