import type { Message } from './message.ts';

/** A shop in Paris: prices with 20 % tax in euros, and a till. Shapes: shopify.dev, REST Admin, Order, Refund, DraftOrder, Customer. */

const money = (amount: string, presentment?: [string, string]) => ({
  shop_money: { amount, currency_code: 'EUR' },
  presentment_money: { amount: presentment?.[0] ?? amount, currency_code: presentment?.[1] ?? 'EUR' },
});

type Line = [id: number, sku: string | null, title: string, quantity: number, price: string, tax: string];

const line = ([id, sku, title, quantity, price, tax]: Line, more: object = {}) => ({
  id,
  sku,
  title,
  name: title,
  quantity,
  price,
  price_set: money(price),
  total_discount: '0.00',
  discount_allocations: [] as { amount: string; discount_application_index: number }[],
  tax_lines: Number(tax) === 0 ? [] : [{ title: 'TVA', rate: 0.2, price: tax }],
  taxable: Number(tax) !== 0,
  gift_card: false,
  requires_shipping: true,
  ...more,
});

const shippedFor = (price: string) => [
  { id: 1, title: 'Colissimo', code: 'STANDARD', price, discounted_price: price, discount_allocations: [] },
];

const person = (id: number, first_name: string, last_name: string, more: object = {}) => ({
  id,
  first_name,
  last_name,
  email: `${first_name.toLowerCase()}.${last_name.toLowerCase()}@example.com`,
  phone: null,
  verified_email: true,
  tags: '',
  created_at: '2026-01-02T10:00:00+01:00',
  updated_at: '2026-01-02T10:00:00+01:00',
  ...more,
});

/** Two people of one household, one phone. */
const ada = person(9001, 'Ada', 'Moreau', { phone: '+33199000110' });
const bruno = person(9002, 'Bruno', 'Moreau', { phone: '+33199000110' });
const chloe = person(9003, 'Chloe', 'Petit', { phone: '+33199000130' });
const diego = person(9004, 'Diego', 'Ruiz');

type OrderMembers = {
  id: number;
  at: string;
  customer: ReturnType<typeof person> | null;
  lines: ReturnType<typeof line>[];
  total: string;
  tax: string;
} & Record<string, unknown>;

const order = ({ id, at, customer, lines, total, tax, ...more }: OrderMembers) => ({
  id,
  name: `#${id}`,
  order_number: id,
  email: customer?.email ?? '',
  phone: null,
  customer,
  created_at: at,
  processed_at: at,
  updated_at: at,
  closed_at: null,
  cancelled_at: null,
  cancel_reason: null,
  currency: 'EUR',
  presentment_currency: 'EUR',
  taxes_included: true,
  total_price: total,
  current_total_price: total,
  total_price_set: money(total),
  total_tax: tax,
  total_discounts: '0.00',
  total_tip_received: '0.00',
  line_items: lines,
  shipping_lines: [] as ReturnType<typeof shippedFor>,
  discount_codes: [] as { code: string; amount: string; type: string }[],
  payment_gateway_names: ['shopify_payments'],
  financial_status: 'paid',
  fulfillment_status: null as string | null,
  source_name: 'web',
  tags: '',
  note: null,
  test: false,
  refunds: [],
  ...more,
});

const paidBack = (amount: string) => ({
  id: 1,
  kind: 'refund',
  status: 'success',
  amount,
  currency: 'EUR',
  gateway: 'shopify_payments',
});

const refund = (id: number, order_id: number, at: string, more: object) => ({
  id,
  order_id,
  created_at: at,
  processed_at: at,
  note: null,
  restock: false,
  refund_line_items: [],
  order_adjustments: [],
  transactions: [],
  ...more,
});

const frame = order({
  id: 5004,
  at: '2026-01-10T12:00:00+01:00',
  customer: chloe,
  lines: [
    line([54, 'FRAME', 'Oak frame', 1, '60.00', '8.00'], {
      discount_allocations: [{ amount: '12.00', discount_application_index: 0 }],
    }),
  ],
  total: '48.00',
  tax: '8.00',
  total_discounts: '12.00',
  discount_codes: [{ code: 'WELCOME20', amount: '12.00', type: 'percentage' }],
});
const till = order({
  id: 5007,
  at: '2026-02-14T16:00:00+01:00',
  customer: null,
  lines: [line([57, 'CANDLE', 'Candle', 1, '6.00', '1.00'])],
  total: '6.00',
  tax: '1.00',
  source_name: 'pos',
});
const socks = order({
  id: 5012,
  at: '2026-01-24T09:00:00+01:00',
  customer: diego,
  lines: [
    line([61, 'SOCK', 'Wool socks', 1, '30.00', '5.00']),
    line([62, 'SOCK', 'Wool socks', 3, '28.00', '14.00'], { properties: [{ name: 'Offer', value: 'set of three' }] }),
  ],
  shipping_lines: shippedFor('6.00'),
  total: '120.00',
  tax: '20.00',
});
const quote = {
  id: 7001,
  name: '#D1',
  status: 'open',
  order_id: null as number | null,
  currency: 'EUR',
  taxes_included: true,
  total_price: '80.00',
  total_tax: '0.00',
  customer: null,
  email: null,
  note: 'Quote for a reading room',
  tags: 'quote',
  line_items: [line([71, 'SHELF', 'Shelf', 2, '40.00', '0.00'])],
  shipping_line: null,
  applied_discount: null,
  created_at: '2026-02-21T09:00:00+01:00',
  updated_at: '2026-02-21T09:00:00+01:00',
};

export const shopify: Message[] = [
  { says: 'a customer with the phone of a household', topic: 'customers/create', payload: ada },
  {
    says: 'somebody else with the same phone',
    topic: 'customers/create',
    payload: bruno,
    warns: ['customer_conflict'],
  },
  {
    says: 'prices with tax, shipping with tax, two lines',
    topic: 'orders/create',
    payload: order({
      id: 5001,
      at: '2026-01-05T10:00:00+01:00',
      customer: ada,
      lines: [
        line([51, 'LAMP', 'Desk lamp', 2, '45.00', '15.00']),
        line([52, 'BULB', 'Light bulb', 1, '24.00', '4.00']),
      ],
      shipping_lines: shippedFor('6.00'),
      total: '120.00',
      tax: '20.00',
    }),
  },
  {
    says: 'a gift card is bought: no tax, no sku',
    topic: 'orders/create',
    payload: order({
      id: 5002,
      at: '2026-01-07T18:30:00+01:00',
      customer: bruno,
      lines: [
        line([531, null, 'Gift card', 1, '50.00', '0.00'], { gift_card: true, requires_shipping: false }),
        line([532, 'BOOK', 'Second-hand book', 1, '10.00', '0.00']),
      ],
      total: '60.00',
      tax: '0.00',
    }),
    warns: ['customer_conflict'],
  },
  {
    says: 'paid with a gift card: a means of payment, no discount',
    topic: 'orders/create',
    payload: order({
      id: 5003,
      at: '2026-02-03T11:00:00+01:00',
      customer: ada,
      lines: [line([533, 'VASE', 'Vase', 1, '30.00', '5.00'])],
      total: '30.00',
      tax: '5.00',
      payment_gateway_names: ['gift_card'],
    }),
  },
  { says: 'a discount code, given to its line', topic: 'orders/create', payload: frame },
  {
    says: 'the shop asks to erase a person',
    topic: 'customers/redact',
    payload: {
      shop_id: 42,
      shop_domain: 'lamps.example.com',
      customer: { id: 9003, email: chloe.email, phone: chloe.phone },
      orders_to_redact: [5004],
    },
  },
  {
    says: 'an erased person is pushed again with a later state of the order',
    topic: 'orders/updated',
    payload: { ...frame, updated_at: '2026-01-20T12:00:00+01:00', fulfillment_status: 'fulfilled' },
    warns: ['person_erased'],
  },
  {
    says: 'an erased person buys again',
    topic: 'orders/create',
    payload: order({
      id: 5005,
      at: '2026-02-10T12:00:00+01:00',
      customer: chloe,
      lines: [line([55, 'FRAME-S', 'Small frame', 1, '24.00', '4.00'])],
      total: '24.00',
      tax: '4.00',
    }),
    warns: ['person_erased'],
  },
  {
    says: 'the till: nobody is known, and what was sold has no sku',
    topic: 'orders/create',
    payload: order({
      id: 5006,
      at: '2026-01-12T15:00:00+01:00',
      customer: null,
      lines: [line([56, '', 'Custom item', 1, '15.00', '2.50'])],
      total: '15.00',
      tax: '2.50',
      source_name: 'pos',
      payment_gateway_names: ['cash'],
    }),
    warns: ['unusable_sku'],
  },
  { says: 'the till: nobody is known yet', topic: 'orders/create', payload: till },
  {
    says: 'the customer of the till is named afterwards',
    topic: 'orders/updated',
    payload: { ...till, customer: diego, email: diego.email, updated_at: '2026-02-14T17:00:00+01:00' },
  },
  {
    says: 'a test order',
    topic: 'orders/create',
    payload: order({
      id: 5008,
      at: '2026-01-15T09:00:00+01:00',
      customer: diego,
      lines: [line([58, 'LAMP', 'Desk lamp', 1, '99.00', '16.50'])],
      total: '99.00',
      tax: '16.50',
      test: true,
    }),
  },
  {
    says: 'a total of zero: all of it is discount',
    topic: 'orders/create',
    payload: order({
      id: 5009,
      at: '2026-01-20T09:00:00+01:00',
      customer: diego,
      lines: [
        line([59, 'SAMPLE', 'Sample box', 1, '36.00', '0.00'], {
          discount_allocations: [{ amount: '36.00', discount_application_index: 0 }],
        }),
      ],
      total: '0.00',
      tax: '0.00',
      total_discounts: '36.00',
      discount_codes: [{ code: 'SAMPLE', amount: '36.00', type: 'fixed_amount' }],
    }),
  },
  {
    says: 'cancelled before it was paid: the payment is voided',
    topic: 'orders/cancelled',
    payload: order({
      id: 5010,
      at: '2026-01-21T09:00:00+01:00',
      updated_at: '2026-01-22T09:00:00+01:00',
      cancelled_at: '2026-01-22T09:00:00+01:00',
      cancel_reason: 'customer',
      financial_status: 'voided',
      customer: diego,
      lines: [line([60, 'CANDLE', 'Candle', 3, '6.00', '3.00'])],
      total: '18.00',
      tax: '3.00',
    }),
  },
  {
    says: 'a deposit is paid, the rest is not',
    topic: 'orders/create',
    payload: order({
      id: 5011,
      at: '2026-02-05T09:00:00+01:00',
      customer: bruno,
      lines: [line([63, 'TABLE', 'Table', 1, '240.00', '40.00'])],
      total: '240.00',
      tax: '40.00',
      financial_status: 'partially_paid',
    }),
    warns: ['customer_conflict'],
  },
  {
    says: 'a refund of a line with its tax, before its order',
    topic: 'refunds/create',
    payload: refund(8001, 5012, '2026-01-25T09:00:00+01:00', {
      note: 'one pair too small',
      refund_line_items: [{ id: 1, line_item_id: 61, quantity: 1, subtotal: '30.00', total_tax: '5.00' }],
      transactions: [paidBack('30.00')],
    }),
    answers: { status: 202 },
    warns: ['waiting_for_order'],
  },
  { says: 'two lines of one sku; its refund has been here before it', topic: 'orders/create', payload: socks },
  {
    says: 'a newer state: the current total is reduced by the refund, the total is not',
    topic: 'orders/updated',
    payload: {
      ...socks,
      updated_at: '2026-01-26T09:00:00+01:00',
      current_total_price: '90.00',
      financial_status: 'partially_refunded',
      fulfillment_status: 'fulfilled',
    },
  },
  {
    says: 'an older state comes after the newer one',
    topic: 'orders/updated',
    payload: { ...socks, updated_at: '2026-01-24T18:00:00+01:00', tags: 'to-pack' },
    answers: { applied: false },
    warns: ['source_version_not_newer'],
  },
  {
    says: 'a refund of shipping alone',
    topic: 'refunds/create',
    payload: refund(8002, 5001, '2026-01-30T09:00:00+01:00', {
      note: 'late parcel',
      order_adjustments: [{ id: 1, kind: 'shipping_refund', amount: '-5.00', tax_amount: '-1.00' }],
      transactions: [paidBack('6.00')],
    }),
  },
  {
    says: 'a refund of nothing: only a note',
    topic: 'refunds/create',
    payload: refund(8003, 5003, '2026-02-04T09:00:00+01:00', { note: 'packaging was dented, customer keeps it' }),
  },
  {
    says: 'paid in dollars; the shop keeps its books in euros',
    topic: 'orders/create',
    payload: order({
      id: 5013,
      at: '2026-02-20T22:00:00+01:00',
      customer: ada,
      lines: [line([64, 'RUG', 'Rug', 1, '54.00', '9.00'])],
      total: '54.00',
      tax: '9.00',
      presentment_currency: 'USD',
      total_price_set: money('54.00', ['58.32', 'USD']),
    }),
  },
  { says: 'a draft without a customer', topic: 'draft_orders/create', payload: quote, again: 410 },
  {
    says: 'the draft becomes an order, which comes by itself',
    topic: 'draft_orders/update',
    payload: {
      ...quote,
      status: 'completed',
      order_id: 5014,
      completed_at: '2026-02-22T09:00:00+01:00',
      updated_at: '2026-02-22T09:00:00+01:00',
    },
    again: 410,
  },
  {
    says: 'the order of a draft',
    topic: 'orders/create',
    payload: order({
      id: 5014,
      at: '2026-02-22T09:00:00+01:00',
      customer: bruno,
      lines: [line([72, 'SHELF', 'Shelf', 2, '40.00', '0.00'])],
      total: '80.00',
      tax: '0.00',
      source_name: 'shopify_draft_order',
      tags: 'quote',
    }),
    warns: ['customer_conflict'],
  },
  {
    says: 'the payment is authorised, not yet taken',
    topic: 'orders/create',
    payload: order({
      id: 5015,
      at: '2026-02-24T09:00:00+01:00',
      customer: diego,
      lines: [line([65, 'CANDLE', 'Candle', 2, '6.00', '2.00'])],
      total: '12.00',
      tax: '2.00',
      financial_status: 'authorized',
    }),
  },
  {
    says: 'the shop deletes a customer with orders: nothing follows',
    topic: 'customers/delete',
    payload: { id: 9004 },
  },
];
