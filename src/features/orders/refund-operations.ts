import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, statement } from '../../platform/db/client.ts';
import { checkNotAhead, invalid } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { ownerOf } from '../../records/nobody.ts';
import { deleteState, operationsOf } from '../../records/operations.ts';
import { withoutPersonal } from '../../records/personal-data.ts';
import { targetParameters } from '../../records/references/record.ts';
import { type AnswerRow, answerColumns, readAnswer } from '../../records/statements.ts';
import { answerOf, createState, newLines, nextRow } from '../../records/write.ts';
import { orderOperations } from './operations.ts';
import { refundRecord, refunds } from './record.ts';
import { netAmong, refundsOfOrders } from './refund-nets.ts';
import type { OrderRow } from './write.ts';

const refund = refundRecord.output;
type Refund = z.output<typeof refund>;

const operations = operationsOf(refundRecord, {
  filters: { orderId: { input: id.optional(), condition: (value) => sql`${refunds.orderId} = ${value}::uuid` } },
});
export const getRefund = operations.get;

export const createRefund = writeOperation({
  name: 'createRefund',
  scope: 'orders:write',
  partners: false,
  selfService: false,
  summary: 'Refund an order in part or in full',
  description:
    'All refunds of an order together come to at most its total. A full refund takes the order out of the metrics; a partial one lowers its revenue.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, body: refundRecord.document }),
  output: refund,
  idempotency: 'required',
  created: () => true,
  problems: ['not_found'],
  async run(tx, context, { body, id: orderId, source, externalId }): Promise<Refund> {
    const order = await orderOperations.lockRecord(tx, { id: orderId, source, externalId });
    const orderRow = order.row as OrderRow; // of an order
    const { refunded, total } = orderRow;
    if (refunded + body.amount > total) {
      throw invalid(
        '/amount',
        'refund_exceeds_total',
        `The order's total is ${total}, of which ${refunded} is refunded.`,
      );
    }
    checkNotAhead(body.refundedAt, context.now, '/refundedAt');
    const row = withoutPersonal(tx, refunds, {
      ...nextRow(refundRecord, { mode: 'new', input: body }, null, {
        id: newId(),
        customerId: order.row.customerId,
        now: context.now,
      }),
      orderId: order.row.id,
    }) as typeof refunds.$inferSelect; // of a refund
    const others = (await refundsOfOrders(tx, [orderRow])).get(orderRow.id) ?? [];
    checkTaxes(orderRow, [...others, row]);
    Object.assign(row, netAmong(orderRow, others, row), { taxEstimated: row.tax === null });
    const state = { row, lines: newLines(refundRecord, body, row), references: [] };
    await createState(refundRecord, tx, context, state);
    return answerOf(refundRecord, state);
  },
});

/** @throws Problem refund_tax_exceeds_order, when the taxes stated are more than the order's tax */
function checkTaxes(order: { tax: number }, all: readonly { tax: number | null; amount: number }[]): void {
  const stated = all.reduce((sum, { tax }) => sum + (tax ?? 0), 0);
  if (stated <= order.tax) return;
  throw invalid(
    '/tax',
    'refund_tax_exceeds_order',
    `The taxes of the refunds come to ${stated}, more than the order's tax of ${order.tax}.`,
  );
}

export const listRefunds = readOperation({
  name: 'listRefunds',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: "List an order's refunds",
  input: z.strictObject({ ...targetParameters, ...pageParameters, sort: sortParameter(['refundedAt'], '-refundedAt') }),
  output: operations.pageOutput,
  problems: ['not_found'],
  async run(context, { id: orderId, source, externalId, ...page }) {
    const order = await orderOperations.get.run(context, { id: orderId, source, externalId });
    return operations.page(context, { ...page, customerId: ownerOf(order), orderId: order.id });
  },
});

const ofOrders = statement<AnswerRow>(
  'refunds_of_orders',
  sql`select ${answerColumns(refundRecord)} from ${refunds} join json_to_recordset(${param('orders')}::json) as o("customerId" uuid, "id" uuid)
      on ${refunds.customerId} = o."customerId" and ${refunds.orderId} = o."id" order by ${refunds.refundedAt}, ${refunds.id}`,
);

/** For GraphQL: the refunds of each of a set of orders, oldest first; one statement whatever their number. */
export const refundsByOrders = readOperation({
  name: 'refundsByOrders',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: 'Read the refunds of orders',
  input: z.strictObject({ orders: z.array(z.strictObject({ id, customerId: id.nullable() })) }),
  output: z.array(z.array(refund)),
  async run({ db }, { orders }) {
    const owned = orders.map((order) => ({ id: order.id, customerId: ownerOf(order) }));
    const rows = await db.all(ofOrders, { orders: JSON.stringify(owned) });
    const found = rows.map((row) => readAnswer<Refund>(refundRecord, row));
    return orders.map((order) => found.filter(({ orderId }) => orderId === order.id));
  },
});

export const deleteRefund = writeOperation({
  name: 'deleteRefund',
  scope: 'orders:write',
  partners: false,
  selfService: false,
  summary: 'Take a refund back',
  description: 'For a refund that was recorded by mistake: the order is as it would be without it.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { id: refundId, expectedVersion: expected }) {
    const state = await operations.lockRecord(tx, { id: refundId });
    checkVersion(state.row.version, expected);
    await deleteState(refundRecord, tx, context, state);
    return { id: refundId, deleted: true };
  },
});
