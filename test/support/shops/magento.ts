import type { Message } from './message.ts';

/**
 * A shop that sells all over the world and keeps its books in euros. Shapes: Adobe Commerce REST, SalesDataOrder and
 * SalesDataCreditmemo. Rows are without tax, instants are in UTC and do not say so, and a configurable product is two rows.
 */

type Row = [item_id: number, sku: string, name: string, qty: number, row_total: number, tax: number];

const row = ([item_id, sku, name, qty_ordered, row_total, tax_amount]: Row, more: object = {}) => ({
  item_id,
  parent_item_id: null as number | null,
  product_type: 'simple',
  sku,
  name,
  qty_ordered,
  price: row_total / qty_ordered,
  row_total,
  row_total_incl_tax: row_total + tax_amount,
  tax_amount,
  discount_amount: 0,
  discount_tax_compensation_amount: 0,
  ...more,
});

type OrderMembers = { id: number; at: string; items: ReturnType<typeof row>[]; total: number; tax: number } & Record<
  string,
  unknown
>;

const order = ({ id, at, items, total, tax, ...more }: OrderMembers) => ({
  entity_id: id,
  increment_id: String(id).padStart(9, '0'),
  state: 'processing',
  status: 'processing',
  created_at: at,
  updated_at: at,
  base_currency_code: 'EUR',
  global_currency_code: 'EUR',
  order_currency_code: 'EUR',
  base_to_order_rate: 1 as number | null,
  customer_is_guest: 0,
  customer_id: null,
  grand_total: total,
  total_paid: total,
  total_due: 0,
  subtotal: items.reduce((sum, { row_total }) => sum + row_total, 0),
  tax_amount: tax,
  discount_amount: 0,
  shipping_amount: 0,
  shipping_tax_amount: 0,
  shipping_discount_amount: 0,
  customer_balance_amount: 0,
  extension_attributes: {} as { gift_cards_amount?: number },
  coupon_code: null,
  items,
  ...more,
});

const customer = (id: number | null, first: string, last: string, email: string, country_id = 'PT') => ({
  customer_id: id,
  customer_is_guest: id === null ? 1 : 0,
  customer_firstname: first,
  customer_lastname: last,
  customer_email: email,
  billing_address: {
    firstname: first,
    lastname: last,
    email,
    telephone: '',
    country_id,
    city: 'Example',
    street: ['1'],
  },
});
const ines = customer(501, 'Ines', 'Duarte', 'ines.duarte@example.com');
const kenji = customer(502, 'Kenji', 'Mori', 'kenji.mori@example.com', 'JP');
const lea = customer(503, 'Lea', 'Blum', '', 'DE');
const jonas = (email: string) => customer(null, 'Jonas', 'Berg', email, 'DE');
const max = customer(504, 'Max', 'Muster', 'max.muster@example.com', 'DE');

const memo = (
  id: number,
  order_id: number,
  at: string,
  grand_total: number,
  tax_amount: number,
  more: object = {},
) => ({
  entity_id: id,
  increment_id: String(id).padStart(9, '0'),
  order_id,
  created_at: at,
  base_currency_code: 'EUR',
  order_currency_code: 'EUR',
  grand_total,
  tax_amount,
  shipping_amount: 0,
  shipping_tax_amount: 0,
  adjustment_positive: 0,
  adjustment_negative: 0,
  items: [],
  ...more,
});

const desk = order({
  id: 307,
  at: '2026-02-03 10:00:00',
  ...ines,
  order_currency_code: 'USD',
  base_to_order_rate: null,
  items: [row([3071, 'DESK', 'Desk', 1, 100, 0])],
  total: 100,
  tax: 0,
});

export const magento: Message[] = [
  {
    says: 'paid in dollars at the rate of the shop; a configurable product, a discount, shipping without tax',
    topic: 'order',
    payload: order({
      id: 301,
      at: '2026-01-09 10:00:00',
      ...ines,
      order_currency_code: 'USD',
      base_to_order_rate: 1.25,
      items: [
        row([3011, 'CHAIR-OAK', 'Chair', 1, 80, 14], { product_type: 'configurable', discount_amount: 10 }),
        row([3012, 'CHAIR-OAK', 'Chair, oak', 1, 0, 0], { parent_item_id: 3011 }),
      ],
      discount_amount: -10,
      shipping_amount: 6,
      total: 90,
      tax: 14,
    }),
  },
  {
    says: 'a credit memo of an adjustment alone, which has no tax',
    topic: 'creditmemo',
    payload: memo(401, 301, '2026-02-02 10:00:00', 7.6, 0, { order_currency_code: 'USD', adjustment_positive: 7.6 }),
  },
  {
    says: 'a guest; the discount is from the price with tax',
    topic: 'order',
    payload: order({
      id: 302,
      at: '2026-01-11 10:00:00',
      ...jonas('jonas.berg@example.com'),
      items: [row([3021, 'SOFA', 'Sofa', 1, 50, 8], { discount_amount: 12, discount_tax_compensation_amount: 2 })],
      discount_amount: -12,
      total: 48,
      tax: 8,
    }),
  },
  {
    says: 'the same guest spells the e-mail otherwise',
    topic: 'order',
    payload: order({
      id: 303,
      at: '2026-02-06 10:00:00',
      ...jonas(' Jonas.Berg@EXAMPLE.com'),
      items: [row([3031, 'STOOL', 'Stool', 1, 30, 6])],
      total: 36,
      tax: 6,
    }),
  },
  {
    says: 'a currency without minor units, at the uploaded rate',
    topic: 'order',
    payload: order({
      id: 304,
      at: '2026-01-13 10:00:00',
      ...kenji,
      order_currency_code: 'JPY',
      base_to_order_rate: null,
      items: [row([3041, 'FAN', 'Fan', 5, 5000, 500])],
      total: 5500,
      tax: 500,
    }),
  },
  {
    says: 'one of five goes back, with its tax',
    topic: 'creditmemo',
    payload: memo(402, 304, '2026-01-29 10:00:00', 1100, 100, {
      order_currency_code: 'JPY',
      items: [{ order_item_id: 3041, sku: 'FAN', qty: 1, row_total: 1000, tax_amount: 100, discount_amount: 0 }],
    }),
  },
  {
    says: 'a customer of another shop, known by the e-mail',
    topic: 'order',
    payload: order({
      id: 305,
      at: '2026-02-08 10:00:00',
      ...customer(null, 'Ada', 'Moreau', 'ADA.MOREAU@example.com', 'FR'),
      items: [row([3051, 'STOOL-S', 'Small stool', 1, 20, 4])],
      total: 24,
      tax: 4,
    }),
  },
  {
    says: 'no rate is known for the currency',
    topic: 'order',
    payload: order({
      id: 306,
      at: '2026-01-30 10:00:00',
      ...kenji,
      order_currency_code: 'CHF',
      base_to_order_rate: null,
      items: [row([3061, 'CLOCK', 'Clock', 1, 100, 0])],
      total: 100,
      tax: 0,
    }),
    warns: ['missing_rate'],
  },
  { says: 'paid in dollars at the uploaded rate', topic: 'order', payload: desk },
  {
    says: 'the order is edited: a row more',
    topic: 'order',
    payload: {
      ...desk,
      updated_at: '2026-02-03 15:00:00',
      items: [...desk.items, row([3072, 'MAT', 'Desk mat', 1, 20, 0])],
      grand_total: 120,
      total_paid: 120,
    },
  },
  {
    says: 'an extension adds a fee that the order does not show: the parts are not the total',
    topic: 'order',
    payload: order({
      id: 309,
      at: '2026-02-14 10:00:00',
      ...max,
      items: [row([3091, 'CLOCK', 'Clock', 1, 80, 16])],
      total: 100,
      tax: 16,
    }),
    refused: { status: 422, code: 'total_mismatch' },
  },
  {
    says: 'a currency that never was',
    topic: 'order',
    payload: order({
      id: 310,
      at: '2026-02-14 11:00:00',
      ...max,
      order_currency_code: 'EURO',
      base_to_order_rate: null,
      items: [row([3101, 'CLOCK', 'Clock', 1, 80, 16])],
      total: 96,
      tax: 16,
    }),
    refused: { status: 422, code: 'unknown_currency' },
  },
  {
    says: 'a credit memo of more than was paid',
    topic: 'creditmemo',
    payload: memo(403, 303, '2026-02-20 10:00:00', 50, 0, { adjustment_positive: 50 }),
    refused: { status: 422, code: 'refund_exceeds_total' },
  },
  {
    says: 'an account whose e-mail is empty',
    topic: 'order',
    payload: order({
      id: 311,
      at: '2026-01-17 10:00:00',
      ...lea,
      items: [row([3111, 'HOOK', 'Hook', 4, 10, 2])],
      total: 12,
      tax: 2,
    }),
    warns: ['unusable_email'],
  },
  {
    says: 'paid in part with a gift card, which the shop takes off the grand total',
    topic: 'order',
    payload: order({
      id: 312,
      at: '2026-02-18 10:00:00',
      ...ines,
      items: [row([3121, 'LAMP', 'Lamp', 1, 40, 8])],
      total: 28,
      tax: 8,
      extension_attributes: { gift_cards_amount: 20 },
    }),
  },
  {
    says: 'a credit memo before its order, which it will not fit',
    topic: 'creditmemo',
    payload: memo(404, 313, '2026-02-20 10:00:00', 99, 0, { adjustment_positive: 99 }),
    answers: { status: 202 },
    again: 422,
    warns: ['waiting_for_order'],
  },
  {
    says: 'the order is kept all the same',
    topic: 'order',
    payload: order({
      id: 313,
      at: '2026-02-19 10:00:00',
      ...ines,
      items: [row([3131, 'HOOK', 'Hook', 4, 10, 2])],
      total: 12,
      tax: 2,
    }),
  },
];
