import { removeNobodies } from './features/customers/queries.ts';
import { interactionRecord } from './features/interactions/record.ts';
import { recomputeScoreBounds } from './features/lead-scores/bounds.ts';
import { convertLeads } from './features/leads/conversion.ts';
import { earnPointsOfOrders, earnPointsOfReturned } from './features/loyalty/order-effects.ts';
import { orderRecord, refundRecord } from './features/orders/record.ts';
import { recomputeRefundsOfChanged, recomputeRefundsOfOrders } from './features/orders/refund-nets.ts';
import { applyWaitingRefunds } from './features/orders/refund-write.ts';
import { returnRecord } from './features/returns/record.ts';
import { recomputeRollups, recomputeRollupsOfChanged } from './features/rollups/queries.ts';
import { onSomebody } from './records/effects.ts';
import { follow } from './records/write.ts';

/*
 * What follows a change of each kind of record, in this order, in the same transaction and under the locks of the
 * customers. Here and not with the kinds: orders do not know that there are points.
 */

follow(orderRecord, [
  recomputeRefundsOfOrders,
  recomputeRollupsOfChanged,
  onSomebody(convertLeads),
  onSomebody(earnPointsOfOrders),
  applyWaitingRefunds,
  removeNobodies,
]);
follow(refundRecord, [
  recomputeRefundsOfChanged,
  recomputeRollups,
  onSomebody(convertLeads),
  onSomebody(earnPointsOfReturned),
]);
follow(returnRecord, [recomputeRollups, earnPointsOfReturned]);
follow(interactionRecord, [recomputeScoreBounds]);
