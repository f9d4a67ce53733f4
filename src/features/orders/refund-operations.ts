import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { Retry } from '../../platform/db/client.ts';
import { checkNotAhead, invalid, notFound } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { lockCustomers } from '../customers/queries.ts';
import { leadsAmong, restateConversions } from '../leads/conversion.ts';
import { membersAmong, restateEarnings } from '../loyalty/earning.ts';
import { withoutPersonal } from '../privacy/erased.ts';
import { targetParameters } from '../references/model.ts';
import { targetId } from '../references/queries.ts';
import { recountCustomers } from '../rollups/queries.ts';
import { refund, refundInput, refunds } from './model.ts';
import { lockOrder } from './operations.ts';
import { orderById } from './queries.ts';
import {
  deleteRefundRow,
  insertRefund,
  type RefundRecord,
  refundById,
  refundColumns,
  refundsOfOrders,
  toRefund,
} from './refund-queries.ts';

export const createRefund = writeOperation({
  name: 'createRefund',
  scope: 'orders:write',
  partners: false,
  selfService: false,
  summary: 'Refund an order in part or in full',
  description:
    'All refunds of an order together come to at most its total. A full refund takes the order out of the metrics; a partial one lowers its revenue.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, body: refundInput }),
  output: refund,
  idempotency: 'required',
  created: () => true,
  problems: ['not_found'],
  async run(tx, context, { body, id: orderId, source, externalId }) {
    const order = await lockOrder(tx, { id: orderId, source, externalId });
    if (order.refunded + body.amount > order.total) {
      throw invalid(
        '/amount',
        'refund_exceeds_total',
        `The order's total is ${order.total}, of which ${order.refunded} is refunded.`,
      );
    }
    checkNotAhead(body.refundedAt, context.now, '/refundedAt');
    const { customerId } = order;
    const row = withoutPersonal(tx, refunds, {
      customerId,
      id: newId(),
      orderId: order.id,
      version: 1,
      amount: body.amount,
      refundedAt: body.refundedAt,
      reason: body.reason ?? null,
      createdAt: context.now,
    });
    const members = await membersAmong(tx, context, [{ customerId, orderId: order.id, isNew: false }]);
    const items = (body.items ?? []).map(({ sku, quantity, total }) => ({ sku, quantity, total: total ?? null }));
    await insertRefund(
      tx,
      row,
      items.map((item, line) => ({
        ...item,
        quantity: String(item.quantity),
        customerId: row.customerId,
        refundId: row.id,
        line,
      })),
    );
    await recountCustomers(tx, [customerId], context.reportingTimeZone);
    restateConversions(tx, context, await leadsAmong(tx, [customerId]));
    await restateEarnings(tx, context, members);
    return toRefund({ ...row, items });
  },
});

const list = keysetList<RefundRecord>({
  name: 'refunds',
  select: refundColumns,
  from: sql`${refunds}`,
  id: sql`${refunds.id}`,
  filters: {
    customerId: (value) => sql`${refunds.customerId} = ${value}::uuid`,
    orderId: (value) => sql`${refunds.orderId} = ${value}::uuid`,
  },
  sorts: { refundedAt: { expression: sql`${refunds.refundedAt}`, type: 'timestamptz', field: 'refundedAt' } },
  defaultSort: '-refundedAt',
});

export const listRefunds = readOperation({
  name: 'listRefunds',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: "List an order's refunds",
  input: z.strictObject({ ...targetParameters, ...pageParameters, sort: sortParameter(['refundedAt'], '-refundedAt') }),
  output: pageOf(refund).meta({ id: 'RefundPage' }),
  problems: ['not_found'],
  async run(context, { id: orderId, source, externalId, ...page }) {
    const order = await orderById(context.db, await targetId(context.db, 'order', { id: orderId, source, externalId }));
    if (!order) throw notFound('order');
    const found = await list(context.db, context, { ...page, customerId: order.customerId, orderId: order.id });
    return { data: found.data.map(toRefund), page: found.page };
  },
});

/** For the GraphQL loaders: the refunds of each of a set of orders, one statement. */
export const refundsByOrders = readOperation({
  name: 'refundsByOrders',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: 'Read the refunds of orders',
  input: z.strictObject({ orders: z.array(z.strictObject({ id, customerId: id })) }),
  output: z.array(z.array(refund)),
  async run({ db }, { orders }) {
    const found = (await refundsOfOrders(db, orders)).map(toRefund);
    return orders.map((order) => found.filter(({ orderId }) => orderId === order.id));
  },
});

export const getRefund = readOperation({
  name: 'getRefund',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: 'Read a refund',
  input: z.strictObject({ id }),
  output: refund,
  problems: ['not_found'],
  async run({ db }, { id: refundId }) {
    const found = await refundById(db, refundId);
    if (!found) throw notFound('refund');
    return toRefund(found);
  },
});

export const deleteRefund = writeOperation({
  name: 'deleteRefund',
  scope: 'orders:write',
  partners: false,
  selfService: false,
  summary: 'Take a refund back',
  description: 'For a refund recorded by mistake: the order is restated as if it had not been.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { id: refundId, expectedVersion: expected }) {
    const seen = await refundById(tx, refundId);
    if (!seen) throw notFound('refund');
    await lockCustomers(tx, [seen.customerId]);
    const found = await refundById(tx, refundId);
    if (found?.customerId !== seen.customerId) throw new Retry('a refund moved or vanished');
    checkVersion(found.version, expected);
    const { customerId, orderId } = found;
    const members = await membersAmong(tx, context, [{ customerId, orderId, isNew: false }]);
    await deleteRefundRow(tx, found, context.now);
    await recountCustomers(tx, [customerId], context.reportingTimeZone);
    restateConversions(tx, context, await leadsAmong(tx, [customerId]));
    await restateEarnings(tx, context, members);
    return { id: refundId, deleted: true as const };
  },
});
