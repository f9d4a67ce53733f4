import { sql } from 'drizzle-orm';
import { Retry } from '../../platform/db/client.ts';
import type { Change, Effect, State } from '../../records/effects.ts';
import { touchedCustomers } from '../../records/effects.ts';
import { isQualifying, type orderItems, type orders } from '../orders/record.ts';
import { membersAmong, recomputeEarnings, type Touched } from './earning.ts';
import type { OrderFacts } from './earning-queries.ts';

/**
 * Whether a member has ordered since this process began. Then accounts are read before each order is written, in the round trip of
 * the write; before, that would be a statement in vain for each order of a shop without points.
 */
let membersOrder = false;

/** What follows for the points of members when their orders change. */
export const earnPointsOfOrders: Effect = (tx, context, changes) => {
  if (membersOrder || changes.some(({ before }) => before !== null)) {
    return recompute(tx, context, changes.flatMap(touchedByChange));
  }
  return async (members) => {
    if (members.size === 0) return;
    membersOrder = true;
    throw new Retry('the account of a member has to be read first');
  };
};
earnPointsOfOrders.asks = (ownerId) => sql`select customer_id from loyalty_accounts where customer_id = ${ownerId}`;

/** The same, when refunds of their orders, or returns, are given or taken back. */
export const earnPointsOfReturned: Effect = (tx, context, changes) =>
  recompute(
    tx,
    context,
    touchedCustomers(changes).map((customerId) => ({ customerId })),
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
function touchedByChange({ before, after }: Change): Touched[] {
  const former = before && factsOf(before);
  const facts = after && factsOf(after);
  if (!former) {
    if (facts?.qualifying) return [{ customerId: facts.customerId, added: facts }];
    // It counts for the tier until it was cancelled, where that is kept, as if it had come before.
    return facts?.cancelled ? [{ customerId: facts.customerId }] : [];
  }
  if (facts && areEqual(former, facts)) return [];
  return [...new Set([former.customerId, facts?.customerId ?? former.customerId])].map((customerId) => ({
    customerId,
  }));
}

/** An order without its refunds; a new one has none. What the generated columns will say, too: it need not be read back. */
function factsOf(state: State): OrderFacts {
  const row = state.row as typeof orders.$inferSelect; // of an order
  const items = state.lines['items'] as readonly (typeof orderItems.$inferSelect)[]; // of an order
  const { customerId, id, source, externalId, placedAt, currency, total, tax, taxIncluded, shipping, fees } = row;
  const { baseFactor, test, paymentStatus, fulfillmentStatus, campaignId } = row;
  const cancelled = row.cancelledAt !== null;
  return {
    ...{ customerId, id, source, externalId, placedAt, currency, total, tax, taxIncluded, shipping, fees },
    ...{ baseFactor, cancelled, test, paymentStatus, fulfillmentStatus, campaignId },
    qualifying: isQualifying(row),
    items: items.map(({ externalId, sku, category, quantity, total }) => ({
      ...{ externalId, sku, category, quantity, total },
    })),
    refunds: [],
  };
}

function areEqual(a: OrderFacts, b: OrderFacts): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
