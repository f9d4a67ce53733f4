import type { Message } from './message.ts';

/**
 * A shop in London that sells in several currencies. Shapes: WooCommerce REST API v3, orders, refunds, customers. Totals of lines are
 * without tax, whatever `prices_include_tax` says; instants are in UTC and do not say so; the id of a guest is 0.
 */

type Line = [id: number, sku: string, name: string, quantity: number, total: string, tax: string, subtotal?: string];

const line = ([id, sku, name, quantity, total, total_tax, subtotal = total]: Line) => ({
  id,
  name,
  product_id: id + 1000,
  variation_id: 0,
  quantity,
  sku,
  price: Number(total) / quantity,
  subtotal,
  subtotal_tax: total_tax,
  total,
  total_tax,
  meta_data: [],
});

const billing = (first_name: string, last_name: string, email: string, phone = '', country = 'GB') => ({
  first_name,
  last_name,
  company: '',
  address_1: '1 Example Street',
  address_2: '',
  city: 'London',
  state: '',
  postcode: 'N1 0XX',
  country,
  email,
  phone,
});
const nobody = { ...billing('', '', '', '', ''), address_1: '', city: '', postcode: '' };

const erin = billing('Erin', 'Walsh', 'erin.walsh@example.com', '020 7946 0101');
const greta = billing('Greta', 'Lind', 'lind.family@example.com');
const gustav = billing('Gustav', 'Lind', 'lind.family@example.com');
const hana = billing('Hana', 'Kovac', 'hana.kovac@example.com', '', 'HR');

type OrderMembers = {
  id: number;
  at: string;
  billing: ReturnType<typeof billing>;
  lines: ReturnType<typeof line>[];
  total: string;
  tax: string;
} & Record<string, unknown>;

const order = ({ id, at, billing, lines, total, tax, ...more }: OrderMembers) => ({
  id,
  parent_id: 0,
  number: String(id),
  order_key: `wc_order_${id}`,
  status: 'processing',
  currency: 'EUR',
  prices_include_tax: false,
  date_created: at,
  date_created_gmt: at,
  date_modified_gmt: at,
  date_paid_gmt: at as string | null,
  date_completed_gmt: null,
  discount_total: '0.00',
  discount_tax: '0.00',
  shipping_total: '0.00',
  shipping_tax: '0.00',
  total,
  total_tax: tax,
  customer_id: 0,
  customer_note: '',
  billing,
  shipping: { ...billing, email: undefined },
  payment_method: 'stripe',
  created_via: 'checkout',
  line_items: lines,
  shipping_lines: [] as object[],
  fee_lines: [] as object[],
  coupon_lines: [] as object[],
  refunds: [],
  meta_data: [] as { key: string; value: string }[],
  ...more,
});

const refund = (id: number, parent_id: number, at: string, amount: string, more: object = {}) => ({
  id,
  parent_id,
  date_created_gmt: at,
  amount,
  reason: '',
  refunded_payment: true,
  line_items: [],
  shipping_lines: [],
  fee_lines: [],
  ...more,
});
const back = (item: number, quantity: number, total: string, total_tax: string) => ({
  id: item + 9000,
  quantity,
  total,
  total_tax,
  meta_data: [{ id: 1, key: '_refunded_item_id', value: String(item) }],
});

const abandoned = order({
  id: 110,
  at: '2026-02-15T20:00:00',
  status: 'checkout-draft',
  date_paid_gmt: null,
  billing: nobody,
  lines: [line([1101, 'TEA', 'Tea', 1, '9.00', '1.80'])],
  total: '10.80',
  tax: '1.80',
});
const draft = order({
  id: 111,
  at: '2026-02-16T20:00:00',
  status: 'checkout-draft',
  date_paid_gmt: null,
  billing: nobody,
  lines: [line([1111, 'POT', 'Teapot', 1, '60.00', '12.00'])],
  total: '72.00',
  tax: '12.00',
});

export const woocommerce: Message[] = [
  {
    says: 'a guest; tax on top, shipping with tax, in pounds',
    topic: 'order.created',
    payload: order({
      id: 101,
      at: '2026-01-06T10:00:00',
      currency: 'GBP',
      billing: erin,
      lines: [line([1011, 'CUP', 'Cup', 4, '40.00', '8.00'])],
      shipping_total: '5.00',
      shipping_tax: '1.00',
      shipping_lines: [{ id: 1, method_id: 'flat_rate', total: '5.00', total_tax: '1.00' }],
      total: '54.00',
      tax: '9.00',
    }),
  },
  {
    says: 'the guest opens an account under the same e-mail',
    topic: 'customer.created',
    payload: {
      id: 31,
      date_modified_gmt: '2026-01-07T10:00:00',
      email: 'Erin.Walsh@example.com',
      first_name: 'Erin',
      last_name: 'Walsh',
      username: 'erin',
      billing: erin,
    },
  },
  {
    says: 'a coupon, taken off the line',
    topic: 'order.created',
    payload: order({
      id: 102,
      at: '2026-02-09T10:00:00',
      currency: 'GBP',
      customer_id: 31,
      billing: erin,
      lines: [line([1021, 'CUP', 'Cup', 5, '45.00', '9.00', '50.00'])],
      coupon_lines: [{ id: 1, code: 'ten', discount: '5.00', discount_tax: '1.00' }],
      discount_total: '5.00',
      discount_tax: '1.00',
      total: '54.00',
      tax: '9.00',
    }),
  },
  {
    says: 'a refund of a part of a line, with its tax',
    topic: 'order.refunded',
    payload: refund(201, 101, '2026-01-16T10:00:00', '12.00', {
      reason: 'one was broken',
      line_items: [back(1011, -1, '-10.00', '-2.00')],
    }),
  },
  {
    says: 'a refund that is only an amount',
    topic: 'order.refunded',
    payload: refund(202, 102, '2026-02-19T10:00:00', '10.80', { reason: 'goodwill' }),
  },
  {
    says: 'a guest whose e-mail is none, known by the phone; a fee',
    topic: 'order.created',
    payload: order({
      id: 103,
      at: '2026-01-08T10:00:00',
      billing: billing('Farid', 'Haddad', 'farid(at)example.com', '+44 20 7946 0102'),
      lines: [line([1031, 'TRAY', 'Tray', 1, '20.00', '4.00'])],
      fee_lines: [{ id: 1, name: 'Gift wrap', total: '3.00', total_tax: '0.60' }],
      total: '27.60',
      tax: '4.60',
    }),
    warns: ['unusable_email'],
  },
  {
    says: 'the same guest without an e-mail; the phone as it is dialled at home',
    topic: 'order.created',
    payload: order({
      id: 104,
      at: '2026-02-11T10:00:00',
      billing: billing('Farid', 'Haddad', '', '(020) 7946 0102'),
      lines: [line([1041, 'SPOON', 'Spoon', 2, '10.00', '2.00'])],
      total: '12.00',
      tax: '2.00',
    }),
    warns: ['unusable_email'],
  },
  {
    says: 'an account',
    topic: 'order.created',
    payload: order({
      id: 105,
      at: '2026-01-14T10:00:00',
      customer_id: 41,
      billing: greta,
      lines: [line([1051, 'BOWL', 'Bowl', 1, '25.00', '5.00'])],
      total: '30.00',
      tax: '5.00',
    }),
  },
  {
    says: 'a second account under the same e-mail: somebody else',
    topic: 'order.created',
    payload: order({
      id: 106,
      at: '2026-02-12T10:00:00',
      customer_id: 42,
      billing: gustav,
      lines: [line([1061, 'BOWL-S', 'Small bowl', 1, '15.00', '3.00'])],
      total: '18.00',
      tax: '3.00',
    }),
    warns: ['customer_conflict'],
  },
  {
    says: 'history in a withdrawn currency, in lower case, with the rate of the shop',
    topic: 'order.created',
    payload: order({
      id: 107,
      at: '2022-11-15T10:00:00',
      currency: 'hrk',
      status: 'completed',
      customer_id: 35,
      billing: hana,
      lines: [line([1071, 'CUP', 'Cup', 8, '80.00', '20.00'])],
      total: '100.00',
      tax: '20.00',
      meta_data: [{ key: '_order_exchange_rate', value: '0.1327' }],
    }),
  },
  {
    says: 'prices with tax: the lines have none, and rounding them loses a cent',
    topic: 'order.created',
    payload: order({
      id: 108,
      at: '2026-01-28T10:00:00',
      customer_id: 35,
      billing: hana,
      prices_include_tax: true,
      lines: [
        line([1081, 'MAT', 'Mat, red', 1, '8.26', '1.74']),
        line([1082, 'MAT', 'Mat, blue', 1, '8.26', '1.74']),
        line([1083, 'MAT', 'Mat, green', 1, '8.26', '1.73']),
      ],
      total: '30.00',
      tax: '5.21',
    }),
  },
  {
    says: 'the payment failed',
    topic: 'order.updated',
    payload: order({
      id: 109,
      at: '2026-02-13T10:00:00',
      customer_id: 35,
      billing: hana,
      status: 'failed',
      date_paid_gmt: null,
      lines: [line([1091, 'JUG', 'Jug', 1, '40.00', '8.00'])],
      total: '48.00',
      tax: '8.00',
    }),
  },
  { says: 'a checkout that was begun', topic: 'order.created', payload: abandoned, again: 410 },
  { says: 'the shop clears it away', topic: 'order.deleted', payload: { id: 110 }, again: 410 },
  {
    says: 'a late message about what was deleted',
    topic: 'order.updated',
    payload: { ...abandoned, date_modified_gmt: '2026-02-15T20:05:00' },
    refused: { status: 410, code: 'deleted' },
  },
  { says: 'another checkout that was begun', topic: 'order.created', payload: draft },
  {
    says: 'it is completed by an account',
    topic: 'order.updated',
    payload: {
      ...draft,
      status: 'processing',
      customer_id: 31,
      billing: erin,
      date_modified_gmt: '2026-02-16T20:10:00',
      date_paid_gmt: '2026-02-16T20:10:00',
    },
  },
  {
    says: 'a guest with nothing usable: the order must not be lost',
    topic: 'order.created',
    payload: order({
      id: 112,
      at: '2026-02-17T10:00:00',
      billing: billing('Kim', '', 'n/a'),
      lines: [line([1121, 'TEA', 'Tea', 1, '5.00', '1.00'])],
      total: '6.00',
      tax: '1.00',
    }),
    warns: ['anonymous', 'unusable_email'],
  },
  {
    says: 'a negative fee is a discount',
    topic: 'order.created',
    payload: order({
      id: 113,
      at: '2026-02-18T10:00:00',
      customer_id: 41,
      billing: greta,
      lines: [line([1131, 'LID', 'Lid', 1, '24.00', '4.80'])],
      fee_lines: [{ id: 1, name: 'Club price', total: '-4.00', total_tax: '-0.80' }],
      total: '24.00',
      tax: '4.00',
    }),
  },
  { says: 'the shop deletes an account with orders: nothing follows', topic: 'customer.deleted', payload: { id: 35 } },
  {
    says: 'cancelled by the shop, as nobody paid',
    topic: 'order.updated',
    payload: order({
      id: 114,
      at: '2026-01-18T10:00:00',
      date_modified_gmt: '2026-01-20T10:00:00',
      date_paid_gmt: null,
      status: 'cancelled',
      billing: billing('Farid', 'Haddad', '', '+442079460102'),
      lines: [line([1141, 'JUG', 'Jug', 1, '33.00', '6.60'])],
      total: '39.60',
      tax: '6.60',
    }),
    warns: ['unusable_email'],
  },
  {
    says: 'an order of which all will go back',
    topic: 'order.updated',
    payload: order({
      id: 115,
      at: '2026-01-19T10:00:00',
      status: 'refunded',
      customer_id: 42,
      billing: gustav,
      lines: [line([1151, 'POT', 'Teapot', 1, '50.00', '10.00'])],
      total: '60.00',
      tax: '10.00',
    }),
    warns: ['customer_conflict'],
  },
  {
    says: 'all of it goes back',
    topic: 'order.refunded',
    payload: refund(203, 115, '2026-01-22T10:00:00', '60.00', { line_items: [back(1151, -1, '-50.00', '-10.00')] }),
  },
];
