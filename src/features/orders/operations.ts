import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, runBatch, warning } from '../../platform/batch.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { notFound, Problem } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { currency, id, instant, text } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion, written } from '../../platform/versions.ts';
import { customerById, lockCustomers } from '../customers/queries.ts';
import { leadsAmong, restateConversions } from '../leads/conversion.ts';
import { membersAmong, restateEarnings } from '../loyalty/earning.ts';
import { referenceInput, targetParameters } from '../references/model.ts';
import { type Target, targetId } from '../references/queries.ts';
import { recountCustomers } from '../rollups/queries.ts';
import { order, orderDocument, orderInput, orderPatch, orderStatus, orders, paymentStatus } from './model.ts';
import {
  deleteOrderRow,
  type OrderRecord,
  orderById,
  orderByReference,
  orderColumns,
  orderOrigin,
  ordersById,
  toOrder,
} from './queries.ts';
import { asOutcome, type OrderOutcome, type OrderWrite, writeOrders } from './write.ts';

export const writtenOrder = order
  .extend({
    ...written,
    warnings: z.array(warning),
  })
  .meta({ id: 'WrittenOrder' });

export const createOrder = writeOperation({
  name: 'createOrder',
  scope: 'orders:write',
  partners: true,
  selfService: true,
  summary: 'Push an order',
  description:
    'Finds or creates the customer by reference, then e-mail, then phone. Where these point to different customers the reference wins, nothing is moved, and `warnings` says so. A known reference is refused with `already_exists` and its id; send it with PUT (GraphQL: upsert) to change it. A customer by itself places orders that are `pending` and `unfulfilled`, under names it has already.',
  input: z.strictObject({ ...writeParameters, body: orderInput }),
  output: writtenOrder,
  idempotency: 'required',
  created: () => true,
  problems: ['already_exists', 'deleted', 'customer_required'],
  run: (tx, context, { body: { source, externalId, ...input } }) =>
    writeOne(tx, context, { mode: 'create', source, externalId, input }),
});

export const getOrder = readOperation({
  name: 'getOrder',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: 'Read an order',
  input: z.strictObject(targetParameters),
  output: order,
  problems: ['not_found'],
  async run({ db }, { id: orderId, source, externalId }) {
    const found =
      source !== undefined && externalId !== undefined
        ? await orderByReference(db, { source, externalId })
        : await orderById(db, await targetId(db, 'order', { id: orderId, source, externalId }));
    if (!found) throw notFound('order');
    return toOrder(found);
  },
});

/** For GraphQL: orders that other records name; those that are gone as null. */
export const ordersByIds = readOperation({
  name: 'ordersByIds',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: 'Read orders by id',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(order.nullable()),
  async run({ db }, { ids }) {
    const found = await ordersById(db, ids);
    return ids.map((orderId) => {
      const record = found.get(orderId);
      return record ? toOrder(record) : null;
    });
  },
});

export const orderList = keysetList<OrderRecord>({
  name: 'orders',
  select: orderColumns,
  from: sql`${orders}`,
  id: sql`${orders.id}`,
  owner: sql`${orders.customerId}`,
  filters: {
    customerId: (value) => sql`${orders.customerId} = ${value}::uuid`,
    currency: (value) => sql`${orders.currency} = ${value}`,
    status: (value) => sql`${orders.status} = ${value}`,
    paymentStatus: (value) => sql`${orders.paymentStatus} = ${value}`,
    channel: (value) => sql`${orders.channel} = ${value}`,
    campaignId: (value) => sql`${orders.campaignId} = ${value}::uuid`,
    test: (value) => sql`${orders.test} = ${value}::boolean`,
    placedFrom: (value) => sql`${orders.placedAt} >= ${value}::timestamptz`,
    placedTo: (value) => sql`${orders.placedAt} < ${value}::timestamptz`,
    updatedFrom: (value) => sql`${orders.updatedAt} >= ${value}::timestamptz`,
    updatedTo: (value) => sql`${orders.updatedAt} < ${value}::timestamptz`,
  },
  sorts: {
    placedAt: { expression: sql`${orders.placedAt}`, type: 'timestamptz', field: 'placedAt' },
    updatedAt: { expression: sql`${orders.updatedAt}`, type: 'timestamptz', field: 'updatedAt' },
  },
  defaultSort: '-placedAt',
});

const listFilters = {
  ...pageParameters,
  sort: sortParameter(['placedAt', 'updatedAt'], '-placedAt'),
  currency: currency.optional(),
  status: orderStatus.optional(),
  paymentStatus: paymentStatus.optional(),
  channel: text(100).optional(),
  campaignId: id.optional(),
  test: z.boolean().optional(),
  placedFrom: instant.optional(),
  placedTo: instant.optional(),
  updatedFrom: instant.optional(),
  updatedTo: instant.optional(),
};

const orderPage = pageOf(order).meta({ id: 'OrderPage' });

export const listOrders = readOperation({
  name: 'listOrders',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: 'List orders',
  input: z.strictObject({ ...listFilters, customerId: id.optional() }),
  output: orderPage,
  async run(context, input) {
    const { data, page } = await orderList(context.db, context, input);
    return { data: data.map(toOrder), page };
  },
});

export const listCustomerOrders = readOperation({
  name: 'listCustomerOrders',
  scope: 'orders:read',
  partners: true,
  selfService: true,
  summary: "List a customer's orders",
  input: z.strictObject({ ...targetParameters, ...listFilters }),
  output: orderPage,
  problems: ['not_found'],
  async run(context, { id: customerId, source, externalId, ...filter }) {
    const owner = await targetId(context.db, 'customer', { id: customerId, source, externalId });
    const { data, page } = await orderList(context.db, context, { ...filter, customerId: owner });
    // An empty page says the customer has no orders, so there has to be such a customer.
    if (data.length === 0 && !(await customerById(context.db, owner))) throw notFound('customer');
    return { data: data.map(toOrder), page };
  },
});

export const updateOrder = writeOperation({
  name: 'updateOrder',
  scope: 'orders:write',
  partners: true,
  selfService: true,
  summary: 'Change an order',
  description:
    'Members left out stay, null clears; `items` are replaced as a whole; naming another customer moves the order, which confined tokens may not. A customer by itself may change the `channel`, and cancel what is neither paid nor on its way.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion, body: orderPatch }),
  output: writtenOrder,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { body, expectedVersion: expected, id: orderId, source, externalId }) {
    const recordId = await targetId(tx, 'order', { id: orderId, source, externalId });
    return writeOne(tx, context, { mode: 'patch', id: recordId, input: body, expectedVersion: expected });
  },
});

export const upsertOrder = writeOperation({
  name: 'upsertOrder',
  scope: 'orders:write',
  partners: false,
  selfService: false,
  summary: 'Create or replace an order by reference',
  description:
    'Members left out are cleared; refunds stay. An equal or older `sourceVersion` changes nothing and answers `applied: false`. Another customer moves the order.',
  input: z.strictObject({
    ...referenceInput.shape,
    ...writeParameters,
    expectedVersion: expectedVersion.optional(),
    body: orderDocument,
  }),
  output: writtenOrder,
  idempotency: 'accepted',
  created: ({ created }) => created,
  problems: ['version_mismatch', 'already_exists', 'deleted', 'customer_required'],
  run: (tx, context, { source, externalId, body, expectedVersion: expected }) =>
    writeOne(tx, context, { mode: 'upsert', source, externalId, input: body, expectedVersion: expected }),
});

export const deleteOrder = writeOperation({
  name: 'deleteOrder',
  scope: 'orders:write',
  partners: false,
  selfService: false,
  summary: 'Delete an order',
  description:
    'With its items and refunds. The references stay behind as tombstones, so that a late message does not bring it back.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { expectedVersion: expected, id: orderId, source, externalId }) {
    const found = await lockOrder(tx, { id: orderId, source, externalId });
    checkVersion(found.version, expected);
    const { customerId } = found;
    const members = await membersAmong(tx, context, [{ customerId, orderId: found.id, isNew: false, facts: null }]);
    await deleteOrderRow(tx, found, context.now);
    await recountCustomers(tx, [customerId], context.reportingTimeZone);
    restateConversions(tx, context, await leadsAmong(tx, [customerId]));
    await restateEarnings(tx, context, members);
    return { id: found.id, deleted: true as const };
  },
});

export const batchOrders = writeOperation({
  name: 'batchOrders',
  scope: 'orders:write',
  partners: false,
  selfService: false,
  summary: 'Push up to 1,000 orders',
  description:
    'Each item is an upsert by reference, in index order; always 200, with a result per item. Rows that differ only in their reference are different orders.',
  input: batchInput('orders', orderInput),
  output: batchResults,
  idempotency: 'accepted',
  problems: ['batch_refused'],
  run: (tx, context, { body, atomic }) =>
    runBatch(tx, body, orderInput, { plural: 'orders', atomic }, async (items) => {
      const writes = items.map(
        ({ source, externalId, ...input }): OrderWrite => ({ mode: 'upsert', source, externalId, input }),
      );
      return (await writeOrders(tx, context, writes)).map(asOutcome);
    }),
});

/** The order a request means, its customer locked, read under the lock. */
export async function lockOrder(tx: Transaction, target: Target): Promise<OrderRecord> {
  const orderId = await targetId(tx, 'order', target);
  const origin = await orderOrigin(tx, orderId);
  if (origin === null) throw notFound('order');
  await lockCustomers(tx, [origin.customerId]);
  const found = await orderById(tx, orderId);
  if (found?.customerId !== origin.customerId) throw new Retry('an order moved or vanished');
  return found;
}

async function writeOne(tx: Transaction, context: Context, write: OrderWrite): Promise<z.output<typeof writtenOrder>> {
  const [result] = await writeOrders(tx, context, [write]);
  if (result === undefined || result instanceof Problem) throw result ?? notFound('order');
  const { created, applied, warnings } = result;
  return { ...(await readBack(tx, result)), created, applied, warnings };
}

/** A new order is what was written; a changed one is read again, for what it has beyond the message. */
async function readBack(tx: Transaction, { id: orderId, inserted }: OrderOutcome) {
  if (inserted) {
    const { state, row } = inserted;
    return toOrder({
      ...state.row,
      ...row,
      items: state.items.map(({ sku, name, category, quantity, total, unitPrice, cost }) => ({
        sku,
        name,
        category,
        quantity: Number(quantity),
        total,
        unitPrice,
        cost,
      })),
      referenceTuples: state.references.map((ref) => [ref.source, ref.externalId, ref.versionKind, ref.versionValue]),
    });
  }
  const record = await orderById(tx, orderId);
  if (!record) throw notFound('order');
  return toOrder(record);
}
