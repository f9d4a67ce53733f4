import { checkNotAhead, invalid } from '../../platform/errors.ts';
import { ownersOf } from '../../records/statements.ts';
import { writtenBy } from '../../records/write.ts';
import { unknownCampaigns } from '../campaigns/queries.ts';
import { orderRecord } from '../orders/record.ts';
import { interactionRecord } from './record.ts';

writtenBy(interactionRecord, {
  async lookUp(tx, _context, { inputs, stored }) {
    const campaignIds = inputs.flatMap(({ campaignId }) => campaignId ?? []);
    const orderIds = [...inputs, ...stored].flatMap(({ orderId }) => orderId ?? []);
    const [campaigns, orderOwners] = await Promise.all([
      unknownCampaigns(tx, campaignIds),
      ownersOf(tx, orderRecord, orderIds),
    ]);
    return { campaigns, orderOwners };
  },
  /** What is new of its links has to be there. An order that went away later stays named, and does not bar other changes. */
  plan(next, { before, context, known: { campaigns, orderOwners } }) {
    checkNotAhead(next.occurredAt, context.now, '/occurredAt');
    if (next.campaignId !== null && campaigns.has(next.campaignId)) {
      throw invalid('/campaignId', 'unknown_campaign', 'There is no such campaign.');
    }
    if (next.orderId === null) return next;
    const orderOwner = orderOwners.get(next.orderId);
    const isSame = before?.orderId === next.orderId && before.customerId === next.customerId;
    const isFollowing = before?.orderId === next.orderId && orderOwner === undefined;
    if (orderOwner === next.customerId || isSame || isFollowing) return next;
    throw invalid('/orderId', 'unknown_order', 'The customer has no such order.');
  },
});
