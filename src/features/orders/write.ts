import { orderTotal } from '../../domain/money.ts';
import { netsOfRefunds } from '../../domain/refund-tax.ts';
import { param } from '../../platform/db/client.ts';
import { checkNotAhead, invalid, Problem } from '../../platform/errors.ts';
import type { RowOf } from '../../records/record.ts';
import { writtenBy } from '../../records/write.ts';
import { unknownCampaigns } from '../campaigns/queries.ts';
import { awaitRates, freezeRate, lookUpRates } from '../rates/freeze.ts';
import { addOrdersToRollups } from '../rollups/queries.ts';
import { type orderItems, orderRecord } from './record.ts';
import { refundedNetOf, refundsOfOrders } from './refund-nets.ts';
import { lockWaiting } from './refund-owner.ts';

export type OrderRow = RowOf<typeof orderRecord>;

writtenBy(orderRecord, {
  await: awaitRates,
  async lookUp(tx, context, given) {
    const rates = await lookUpRates('placedAt')(tx, context, given);
    const campaigns = await unknownCampaigns(
      tx,
      given.inputs.flatMap(({ campaignId }) => campaignId ?? []),
    );
    if (given.awaited.length > 0) await lockWaiting(tx);
    return { rates, campaigns, refunds: await refundsOfOrders(tx, given.stored) };
  },
  plan(next, state) {
    const { before, input, lines, context, warn } = state;
    const { rates, campaigns, refunds } = state.known;
    if (context.principal.scopedTo?.kind === 'customer') checkSelfService(input, before);
    if (input.campaignId && campaigns.has(input.campaignId)) {
      throw invalid('/campaignId', 'unknown_campaign', 'There is no such campaign.');
    }
    checkNotAhead(next.placedAt, context.now, '/placedAt');
    const row = { ...next, ...freezeRate('placedAt', next, { ...state, known: rates }) };
    const items = (lines['items'] ?? []) as readonly (typeof orderItems.$inferSelect)[]; // rows of its lines
    checkSum(row, items);
    checkLineNames(items);
    if (row.refunded > row.total) {
      warn({
        code: 'refunds_exceed_total',
        message: `The refunds of the order come to ${row.refunded}, more than its total.`,
      });
    }
    return { ...row, refundedNet: refundedNetOf(netsOfRefunds(row, refunds.get(row.id) ?? [])) };
  },
  // With the orders themselves: two statements less for each push.
  insertWith: {
    sql: (one) => addOrdersToRollups(param('zone'), { one }),
    values: ({ reportingTimeZone }) => ({ zone: reportingTimeZone }),
  },
});

/** What a new order is until the shop says otherwise. */
const notYet = {
  paymentStatus: 'pending',
  fulfillmentStatus: 'unfulfilled',
  paidAt: null,
  fulfilledAt: null,
  cancelledAt: null,
  campaignId: null,
  test: false,
  attributes: null,
  tags: null,
};

/**
 * A customer's own token places orders and cancels those that are neither paid nor on their way. What is paid, delivered or
 * worth what in the base currency the shop says: points, and with them rewards, come from that.
 *
 * @throws Problem not_shared, with the member
 */
function checkSelfService(input: object, before: OrderRow | null): void {
  const isOpen = before?.paymentStatus === 'pending' && before.fulfillmentStatus === 'unfulfilled';
  const said = { ...input, customerId: undefined, customer: undefined, channel: undefined };
  const guarded: Readonly<Record<string, unknown>> =
    before === null ? { ...notYet, exchangeRate: null } : { ...before };
  for (const [member, value] of Object.entries(said)) {
    if (value === undefined || value === guarded[member] || (before === null && !(member in guarded))) continue;
    if (member === 'cancelledAt' && isOpen && before.cancelledAt === null) continue;
    const message = 'Your token may not set this member of an order: only the shop can.';
    throw new Problem('not_shared', message, { errors: [{ pointer: `/${member}`, code: 'not_shared', message }] });
  }
}

/** @throws Problem duplicate_line, at the second line of a name */
function checkLineNames(items: readonly { externalId: string | null }[]): void {
  const seen = new Set<string>();
  for (const [position, { externalId }] of items.entries()) {
    if (externalId === null) continue;
    if (seen.has(externalId)) {
      throw invalid(
        `/items/${position}/externalId`,
        'duplicate_line',
        'Another line of the order has this externalId: send a different one for each line, or none.',
      );
    }
    seen.add(externalId);
  }
}

function checkSum(row: OrderRow, items: readonly { total: number }[]): void {
  const sum = orderTotal({ ...row, items });
  if (sum === BigInt(row.total)) return;
  throw invalid(
    '/total',
    'total_mismatch',
    `total is ${row.total}, but Σ items.total + shipping + fees + (taxIncluded ? 0 : tax) − discount + rounding is ${sum}.`,
  );
}
