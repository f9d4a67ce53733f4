import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, statement } from '../../platform/db/client.ts';
import { invalid, notFound, Problem } from '../../platform/errors.ts';
import { readOperation, selectableOf, writeOperation } from '../../platform/operation.ts';
import { pageParameters, sortParameter } from '../../platform/page.ts';
import { currency, id } from '../../platform/values.ts';
import { ownerOf } from '../../records/nobody.ts';
import { operationsOf } from '../../records/operations.ts';
import { targetId } from '../../records/references/queries.ts';
import { referenceInput, targetParameters } from '../../records/references/record.ts';
import { type AnswerRow, answerColumns, ownersOf, readAnswer } from '../../records/statements.ts';
import { orderOperations } from './operations.ts';
import { orderRecord, refundRecord, refunds } from './record.ts';
import './refund-write.ts';

const refund = refundRecord.output;
type Refund = z.output<typeof refund>;

const records = operationsOf(refundRecord, {
  createNeedsKey: true,
  waits: (answer) => (answer as Refund).status === 'waiting', // of a refund
  filters: {
    source: {
      input: referenceInput.shape.source.optional(),
      condition: (value) => sql`${refunds.source} = ${value}`,
    },
    currency: {
      input: currency.optional(),
      condition: (value) =>
        sql`(${refunds.customerId}, ${refunds.orderId}) in (select customer_id, id from orders where currency = ${value})`,
      uneven: true,
    },
    /** The order by one of its references, also if it has not come yet: a JSON list. */
    orderName: {
      condition: (value) => sql`(${refunds.orderId} = (select record_id from external_refs
          where kind = 'order' and source = ${value}::json ->> 0 and external_id = ${value}::json ->> 1)
        or (${refunds.orderId} is null and ${refunds.awaitedSource} = ${value}::json ->> 0 and ${refunds.awaitedExternalId} = ${value}::json ->> 1))`,
    },
  },
  problems: {
    create: ['already_exists', 'deleted', 'not_found'],
    upsert: ['version_mismatch', 'already_exists', 'deleted'],
  },
  texts: {
    create: {
      summary: 'Refund an order in part or in full',
      description:
        'All refunds of an order together come to at most its total. A full refund takes the order out of the metrics; a partial one lowers its revenue. If the order is named by reference and has not come yet, the refund waits for it (202, `status: waiting`) and is applied with it. Items name their lines by `externalId`, `line` or `sku`; one that the order does not have is kept with the warning `unknown_refund_item`. A stated tax that the amount or the order leave no room for is kept as it was sent, and the warning `tax_adjusted` says what counts.',
    },
    list: {
      summary: 'List refunds',
      description:
        'Also those that wait for their orders (`status=waiting`) and those that did not fit (`status=refused`).',
    },
    update: {
      description:
        'Omitted members keep their values; null clears; `items` are replaced as a whole; another order moves the refund.',
    },
    upsert: {
      description:
        'Omitted members are cleared. An equal or older `sourceVersion` changes nothing and answers `applied: false`. If the order has not come yet, the refund waits for it (202). A refund that was refused is tried again.',
    },
    delete: {
      summary: 'Take a refund back',
      description:
        'For a refund that was recorded by mistake: the order is as it would be without it. References are kept as tombstones: whatever message comes late under one of them is answered with 410 `deleted`.',
    },
  },
});

/** The order is named by the address, or by the body. */
export const createRefund = writeOperation({
  ...records.create,
  input: z.strictObject({ ...targetParameters, ...records.create.input.shape }),
  async run(tx, context, { body, id: orderId, source, externalId }): Promise<z.output<typeof records.writtenRecord>> {
    if (orderId === undefined && source === undefined && externalId === undefined) {
      return records.create.run(tx, context, { body });
    }
    if (body.orderId !== undefined || body.order !== undefined) {
      throw invalid('/orderId', 'order_twice', 'The address names the order: leave out orderId and order.');
    }
    const target = await targetId(tx, 'order', { id: orderId, source, externalId }, { toWrite: true });
    if ((await ownersOf(tx, orderRecord, [target])).size === 0) throw notFound('order');
    return records.create.run(tx, context, { body: { ...body, orderId: target } });
  },
});

/** REST at `/v1/refunds`: no part of that address names the order, so only the body does. */
export const pushRefund = records.create;

/** The order by its reference, in two parameters. */
const orderName = {
  orderSource: referenceInput.shape.source.optional().meta({
    description: 'With `orderExternalId`: refunds of the order of this reference, also if it has not come yet.',
  }),
  orderExternalId: referenceInput.shape.externalId.optional().meta({ description: 'With `orderSource`.' }),
};

function filterOf<T extends { orderSource?: string | undefined; orderExternalId?: string | undefined }>(input: T) {
  const { orderSource, orderExternalId, ...filter } = input;
  if ((orderSource === undefined) !== (orderExternalId === undefined)) {
    const parameter = orderSource === undefined ? 'orderSource' : 'orderExternalId';
    const message = 'Send both orderSource and orderExternalId, or neither.';
    throw new Problem('invalid_input', message, { errors: [{ parameter, code: 'required', message }] });
  }
  return orderSource === undefined ? filter : { ...filter, orderName: JSON.stringify([orderSource, orderExternalId]) };
}

export const refundOperations = {
  ...records,
  create: createRefund,
  list: readOperation({
    ...records.list,
    name: 'listAllRefunds',
    input: records.list.input.extend(orderName),
    run: (context, input) => records.page(context, filterOf(input)),
    selectable() {
      const selectable = selectableOf(records.list);
      return (
        selectable && {
          ...selectable,
          page: async (context, input: Parameters<typeof filterOf>[0], select) =>
            records.pages()(context.db, context, filterOf(input), select),
          all: async (context, input: Parameters<typeof filterOf>[0], select) =>
            records.pages().everything(context, filterOf(input), select),
        }
      );
    },
  }),
};

export const listOrderRefunds = readOperation({
  name: 'listRefunds',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: "List an order's refunds",
  description: 'Those that were refused as well: `status` says which count.',
  input: z.strictObject({ ...targetParameters, ...pageParameters, sort: sortParameter(['refundedAt'], '-refundedAt') }),
  output: records.pageOutput,
  problems: ['not_found'],
  async run(context, { id: orderId, source, externalId, ...page }) {
    const order = await orderOperations.get.run(context, { id: orderId, source, externalId });
    return records.page(context, { ...page, customerId: ownerOf(order), orderId: order.id });
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
