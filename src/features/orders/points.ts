import { baseAmount } from '../../domain/money.ts';
import type { FactChange } from '../customers/facts.ts';
import type { TouchedOrder } from '../loyalty/earning.ts';
import type { OrderFacts } from '../loyalty/earning-queries.ts';
import type { OrderState } from './queries.ts';

/** Whose points the change of an order may move; nobody's when nothing has changed that decides about them. */
export function touchedByChange({ before, after }: FactChange<OrderState>): TouchedOrder[] {
  const { id: orderId, customerId } = after.row;
  const facts = factsOf(after);
  if (!before) return facts.qualifying ? [{ customerId, orderId, isNew: true, facts }] : [];
  const former = factsOf(before);
  if (former.customerId !== customerId) {
    return [
      { customerId: former.customerId, orderId, isNew: false, facts: null },
      { customerId, orderId, isNew: false, facts },
    ];
  }
  return areEqual(former, facts) ? [] : [{ customerId, orderId, isNew: false, facts }];
}

/** What the generated columns will say, too: the order need not be read back. */
function factsOf({ row, items }: OrderState): OrderFacts {
  const { customerId, id, placedAt, paymentStatus, fulfillmentStatus, campaignId } = row;
  return {
    customerId,
    id,
    placedAt,
    baseRevenue: baseAmount(row.total - row.tax - row.refunded, row.baseFactor),
    qualifying: row.cancelledAt === null && !row.test && !(row.refunds > 0 && row.refunded === row.total),
    paymentStatus,
    fulfillmentStatus,
    campaignId,
    items: items.map(({ category, total }) => ({ category, total })),
  };
}

function areEqual(a: OrderFacts, b: OrderFacts): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
