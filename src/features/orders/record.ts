import { type SQL, sql } from 'drizzle-orm';
import { foreignKey, index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { typeNames } from '../../platform/type-names.ts';
import { text as boundedText, currency as currencyCode, decimalText, id } from '../../platform/values.ts';
import { attributesIndex } from '../../records/custom-fields.ts';
import {
  boolean,
  code,
  count,
  currency,
  instant,
  integer,
  money,
  quantity,
  recordId,
  smallint,
  text,
  texts,
  words,
} from '../../records/fields.ts';
import { lineSet } from '../../records/lines.ts';
import { isSomebody } from '../../records/nobody.ts';
import { Ownership, waitingOwner } from '../../records/ownership.ts';
import { record } from '../../records/record.ts';
import { referenceInput } from '../../records/references/record.ts';
import { campaigns } from '../campaigns/record.ts';
import { customerOrNobody } from '../customers/owner.ts';
import { customers, postalAddress } from '../customers/record.ts';
import { frozenRate } from '../rates/fields.ts';

const paymentStatuses = ['pending', 'authorized', 'partially_paid', 'paid', 'failed', 'voided'] as const;
export type PaymentStatus = (typeof paymentStatuses)[number];
const fulfillmentStatuses = ['unfulfilled', 'partially_fulfilled', 'fulfilled'] as const;
export type FulfillmentStatus = (typeof fulfillmentStatuses)[number];
const orderStatuses = ['placed', 'paid', 'fulfilled', 'cancelled', 'partially_refunded', 'refunded'] as const;
export type OrderStatus = (typeof orderStatuses)[number];

export const paymentStatus = z.enum(paymentStatuses).meta({
  id: 'PaymentStatus',
  description:
    'How far the payment is. Metrics with `payment=paid` and points count exactly `paid`; other metrics count all of them, and warn of `failed` and `voided`.',
  example: 'paid',
});
export const fulfillmentStatus = z.enum(fulfillmentStatuses).meta({ id: 'FulfillmentStatus', example: 'fulfilled' });
export const orderStatus = z.enum(orderStatuses).meta({
  id: 'OrderStatus',
  description: 'Derived from payment, fulfilment, cancellation and refunds.',
  example: 'paid',
});

export const quantityNumber = z.number().min(-1e9).max(1e9).meta({ description: 'May be fractional.', example: 2 });
const sku = () =>
  text(100).plain().lenient().says('Stock keeping unit; one that is empty or too long is left out.', '85123A');

const lineName = () => text(255).plain();

const orderItem = lineSet('OrderItem', {
  externalId: lineName().says(
    "The shop's id of the line, unique within the order: what refunds tie their items to.",
    'L1',
  ),
  sku: sku(),
  name: text(300).plain(),
  category: text(100).plain(),
  quantity: quantity(quantityNumber).required(),
  total: money({ min: -1e12 }).required().says('After line discounts, minor units; may be 0 or negative.', 1530),
  unitPrice: text(100)
    .plain()
    .takes(decimalText)
    .answers(z.string().register(typeNames, { name: 'Decimal' }))
    .says('Price in major units, for information; a decimal string.', '2.55'),
  cost: money().says("The line's cost, minor units: what margin is computed from."),
  tax: money({ min: -1e12 }).says('The tax of the line, minor units, for information.', 255),
});

/** Lines of refunds, and of returns. Which line of the order one means: domain/refund-lines.ts. */
export const refundItem = lineSet('RefundItem', {
  externalId: lineName().says("The shop's id of the line of the order. It decides before `line` and `sku`.", 'L1'),
  line: smallint(0, 32_767)
    .named('order_line')
    .says("The position of the line in the order's `items`, from 0. It decides before `sku`.", 0),
  sku: sku(),
  quantity: quantity(quantityNumber).required(),
  total: money({ min: -1e12 }),
  tax: money({ min: -1e12 }).says('The tax of the item, minor units, for information.', 255),
});

/** Nobody is going to pay for it, though nobody cancelled it. */
export const hasFailedPayment = sql`payment_status in ('failed', 'voided')`;

const currencyOfOrder = sql`(select o.currency from orders o where o.customer_id = refunds.customer_id and o.id = refunds.order_id)`;

/** Whether all of an order went back: it counts in no metric. A refund of 0 takes nothing. */
export const isAllRefunded = (refunded: SQL, total: SQL) => sql`${refunded} > 0 and ${refunded} >= ${total}`;

/** What the generated column `qualifying` says of a row, before it is written. */
export function isQualifying({
  cancelledAt,
  test,
  refunded,
  total,
}: Pick<typeof orders.$inferSelect, 'cancelledAt' | 'test' | 'refunded' | 'total'>): boolean {
  return cancelledAt === null && !test && !(refunded > 0 && refunded >= total);
}

/** At a rate's factor; numeric round() goes half away from zero. Beyond 2^53 there is none. */
export const netInBase = (net: SQL, factor: SQL) =>
  sql`case when abs(${net} * ${factor}) < 9007199254740991 then round(${net} * ${factor})::bigint end`;
export const revenueInBase = (factor: SQL) => netInBase(sql`(total - tax - refunded_net)`, factor);

/**
 * Orders, keyed by customer. What follows from the other columns of the row (`status`, `qualifying`, `revenue`,
 * `baseRevenue`) is generated by the database: it cannot disagree with the facts.
 */
export const orderRecord = record('order', {
  plural: 'orders',
  label: 'Orders',
  owner: customerOrNobody,
  naming: 'own',
  access: { scope: 'orders', partners: ['read', 'create', 'update'], selfService: ['read', 'create', 'update'] },
  fields: {
    placedAt: instant().required().range().sort().happened(),
    currency: currency().required().filter(),
    total: money()
      .required()
      .says('Σ items.total + shipping + fees + (taxIncluded ? 0 : tax) − discount + rounding, minor units.', 1530),
    discount: money().defaultsTo(0),
    shipping: money().defaultsTo(0),
    fees: money().defaultsTo(0),
    tax: money().defaultsTo(0),
    taxIncluded: boolean().defaultsTo(false).says('Whether the item totals include `tax`.'),
    rounding: money({ min: -1e12 }).defaultsTo(0),
    paymentStatus: words(paymentStatus).required().filter(),
    fulfillmentStatus: words(fulfillmentStatus).defaultsTo('unfulfilled'),
    paidAt: instant().says('When it was paid.'),
    fulfilledAt: instant().says('When it was fulfilled.'),
    cancelledAt: instant(),
    channel: text(100).plain().filter().says('Sales channel.', 'web'),
    discountCodes: texts(100)
      .plain()
      .takes(z.array(boundedText(100)).max(100))
      .says('Discount codes that were used.', ['SPRING10']),
    note: text(10_000).personal().says('What the customer or the shop noted: personal data.', 'Ring twice'),
    shippingAddress: postalAddress('shipping_address'),
    billingAddress: postalAddress('billing_address'),
    campaignId: recordId()
      .references(() => campaigns.id)
      .filter('named')
      .says('The campaign that brought it. Without one, reports attribute the order by last touch.'),
    test: boolean().defaultsTo(false).filter().says('A test order: stored, and left out of every metric.'),
    ...frozenRate,
    refunds: integer(0, 1_000_000).defaultsTo(0).internal(),
    refunded: money().defaultsTo(0).readOnly().says('Sum of the refunds so far.'),
    /** Without their taxes: refund-nets.ts. */
    refundedNet: money().defaultsTo(0).internal(),
    status: words(orderStatus)
      .required()
      .filter()
      .generated(
        sql`case when cancelled_at is not null then 'cancelled' when ${isAllRefunded(sql`refunded`, sql`total`)} then 'refunded' when refunded > 0 then 'partially_refunded' when fulfillment_status = 'fulfilled' then 'fulfilled' when payment_status = 'paid' then 'paid' else 'placed' end`,
      ),
    /** Whether metrics count it: not cancelled, not a test order, not fully refunded. A refund of 0 changes nothing. */
    qualifying: boolean()
      .required()
      .generated(sql`cancelled_at is null and not test and not (${isAllRefunded(sql`refunded`, sql`total`)})`)
      .hidden(),
    revenue: money()
      .required()
      .generated(sql`total - tax - refunded_net`)
      .says('total − tax − refunds without their tax: what the metrics count.'),
    baseRevenue: count()
      .generated(revenueInBase(sql`base_factor`))
      .inBaseCurrency()
      .says('The same in minor units of the base currency; null without a rate.'),
  },
  lines: {
    items: { tableName: 'order_items', name: 'orderItems', label: 'Lines of orders', set: orderItem, required: true },
  },
  extras: (t) => [
    index('orders_customer_placed').on(t.customerId, t.placedAt),
    index('orders_placed').on(t.placedAt, t.id),
    index('orders_updated').on(t.updatedAt, t.id),
    index('orders_not_qualifying').on(t.placedAt).where(sql`not qualifying`),
    index('orders_campaign').on(t.campaignId, t.placedAt).where(sql`campaign_id is not null`),
    index('orders_without_rate').on(t.currency, t.placedAt).where(sql`base_factor is null`),
    index('orders_payment_failed').on(t.placedAt).where(hasFailedPayment),
    attributesIndex('orders_attributes', t.attributes),
  ],
  timeline: { members: ['status', 'currency', 'total', 'source', 'externalId', 'channel', 'campaignId'] },
  says: {
    record: 'An order. Amounts are integers in minor units of `currency`.',
    input:
      "`customerId` or `customer` is required; `customer: null` says that nobody is known (point of sale, draft). The order's `total` has to add up from its parts; `placedAt` is at most ten minutes ahead.",
    patch: 'Omitted members keep their values; the sum rule holds for the result.',
    example: {
      source: 'shop',
      externalId: '536365',
      customer: { externalId: '17850' },
      placedAt: '2026-03-01T08:26:00Z',
      currency: 'GBP',
      total: 1530,
      items: [{ sku: '85123A', name: 'T-light holder', quantity: 6, total: 1530, unitPrice: '2.55' }],
      paymentStatus: 'paid',
    },
  },
});

export const orders = orderRecord.table;
export const orderItems = orderRecord.lineTables.items;

const refundStatuses = ['waiting', 'applied', 'refused'] as const;
export const refundStatus = z.enum(refundStatuses).meta({
  id: 'RefundStatus',
  description:
    'waiting: its order has not come yet. applied: it counts. refused: it came before its order and does not fit it; `refusedReason` says why. Only what is applied counts anywhere.',
  example: 'applied',
});
const refundRefusals = ['refund_exceeds_total', 'refund_tax_exceeds_order'] as const;
export type RefundRefusal = (typeof refundRefusals)[number];
const refundRefusal = z.enum(refundRefusals).meta({
  id: 'RefundRefusal',
  description:
    'refund_exceeds_total: all refunds together would come to more than the total of the order. refund_tax_exceeds_order: their taxes would come to more than its tax.',
  example: 'refund_exceeds_total',
});

const { source: referenceSource, externalId: referenceExternalId } = referenceInput.shape;
/** Refunds have the customer of their order (refund-owner.ts), and none before it has come. */
export const orderOwner = new Ownership(
  'customer',
  {
    orderId: id.optional().meta({ description: 'The order; or `order`.' }),
    order: z
      .strictObject({ source: referenceSource.optional(), externalId: referenceExternalId })
      .optional()
      .meta({
        id: 'OrderName',
        description:
          'The order by its reference. If it has not come yet, the refund waits for it. Default of `source`: the source of the refund.',
        example: { externalId: '536365' },
      }),
  },
  () => customers.id,
  true,
);

/** Refunds that were not refused: what is read instead of `refunds` wherever they count. */
export const appliedRefunds = sql`(select * from refunds where refused_reason is null)`;

/**
 * Money given back for an order, in part or in full. `net` is kept: refund-nets.ts. One that came before its order is nobody's and
 * has no order: what joins orders or belongs to customers does not know of it.
 */
export const refundRecord = record('refund', {
  plural: 'refunds',
  label: 'Refunds',
  owner: orderOwner,
  naming: 'may',
  partOf: { table: orders, by: 'orderId' },
  access: { scope: 'orders', partners: ['read'], selfService: ['read'] },
  says: {
    record: 'Money given back for an order. Amounts are integers in minor units of its currency.',
    input: '`orderId` or `order` is required, unless the address names the order.',
    patch:
      'Omitted members keep their values; null clears; `items` are replaced as a whole; another order moves the refund.',
    example: {
      source: 'shop',
      externalId: 'R-1',
      order: { externalId: '536365' },
      amount: 500,
      refundedAt: '2026-03-05T10:00:00Z',
      items: [{ externalId: 'L1', quantity: 1, total: 500 }],
    },
  },
  fields: {
    orderId: recordId().readOnly().filter().says('Its order; null while it waits for it.'),
    /** The order that it waits for. */
    awaitedSource: code(64).plain().internal().named('order_source'),
    awaitedExternalId: code(255).plain().internal().named('order_external_id'),
    amount: money().required().says('With tax, minor units of the order; all refunds together at most its total.', 500),
    tax: money().says('The tax in the amount. Default: its share of the tax that earlier refunds have left.', 80),
    shipping: money().says('The shipping in the amount.'),
    net: money()
      .defaultsTo(0)
      .readOnly()
      .says('The amount without its tax: what the refund takes from the revenue of the order.'),
    netBefore: money({ min: -1e12 }).defaultsTo(0).internal(),
    taxEstimated: boolean()
      .required()
      .generated(sql`tax is null`)
      .says('Whether the tax was estimated, as none was stated.'),
    refundedAt: instant().required().sort().range().happened(),
    reason: text(500).personal().says('The reason of the refund.', 'damaged'),
    refusedReason: words(refundRefusal).readOnly(),
    status: words(refundStatus)
      .required()
      .filter()
      .generated(
        sql`case when order_id is null then 'waiting' when refused_reason is not null then 'refused' else 'applied' end`,
      ),
  },
  more: {
    output: {
      customerId: id.nullable().meta({ description: 'The customer of its order; null while it waits for it.' }),
      order: z
        .strictObject({ source: referenceSource, externalId: referenceExternalId })
        .meta({ id: 'AwaitedOrder' })
        .nullable()
        .meta({ description: 'The order that it waits for; null when it has come.' }),
      currency: currencyCode.nullable().meta({ description: 'That of its order; null while it waits for it.' }),
    },
    select: () => ({
      order: sql`case when refunds.order_id is null then json_build_object('source', refunds.order_source, 'externalId', refunds.order_external_id) end`,
      currency: currencyOfOrder,
    }),
    finish(row) {
      if (row['customerId'] === waitingOwner) row['customerId'] = null;
    },
    finished: {
      customerId: (row) =>
        sql`case when ${isSomebody(sql`${row}."customerId"`)} then nullif(${row}."customerId", ${sql.raw(`'${waitingOwner}'`)}) end`,
    },
  },
  lines: {
    items: {
      tableName: 'refund_items',
      name: 'refundItems',
      label: 'Lines of refunds',
      set: refundItem,
      required: false,
    },
  },
  extras: (t) => [
    index('refunds_order').on(t.customerId, t.orderId),
    // The timeline's order.
    index('refunds_customer_refunded').on(t.customerId, t.refundedAt, t.id),
    index('refunds_refunded').on(t.refundedAt, t.id),
    index('refunds_updated').on(t.updatedAt, t.id),
    index('refunds_waiting').on(t.awaitedSource, t.awaitedExternalId).where(sql`order_id is null`),
    foreignKey({
      columns: [t.customerId, t.orderId],
      foreignColumns: [orders.customerId, orders.id],
      name: 'refunds_order',
    }).onDelete('cascade'),
  ],
  timeline: {
    members: ['amount', 'reason', 'status'],
    more: {
      // Customers have none that wait.
      orderId: { output: id, select: sql`refunds.order_id` },
      currency: { output: currencyCode, select: currencyOfOrder },
    },
  },
});

export const refunds = refundRecord.table;
export const refundItems = refundRecord.lineTables.items;
