/** A connector of three shops: makes a request of each message. It keeps nothing, so a message may come twice. */
export type Call = readonly [method: 'PUT' | 'POST' | 'DELETE', path: string, body?: object];

const minor = (amount: string | number, currency = 'EUR') =>
  Math.round(Number(amount) * (currency === 'JPY' ? 1 : 100));
const sum = (list: any[], amount: (one: any) => string | number) =>
  list.reduce((all, one) => all + minor(amount(one)), 0);
const at = (kind: string, source: string, id: string | number) => `/v1/${kind}/external/${source}/${id}`;
const put = (path: string, ...parts: object[]): Call => ['PUT', path, Object.assign({}, ...parts)];
const refund = (
  source: string,
  id: number,
  orderId: number,
  refundedAt: string | null,
  reason: string,
  amounts: object,
) =>
  put(
    at('refunds', source, id),
    { order: { source, externalId: `${orderId}` }, refundedAt, reason: reason || null },
    amounts,
  );
const item = (externalId: number, sku: string, name: string, quantity: number, total: number, tax: number) => {
  return { externalId: `${externalId}`, sku, name, quantity, total, tax };
};
const back = (line: number, quantity: number, total: number, tax: number) => {
  return { externalId: `${line}`, quantity, total, tax };
};
/** WooCommerce and Magento do not say that their instants are in UTC. */
const utc = (instant: string | null) => instant && `${instant.replace(' ', 'T')}Z`;

function shopifyOrder(o: any, source = 'shopify'): Call {
  const c = o.customer;
  const customer = c && {
    externalId: `${c.id}`,
    email: c.email,
    phone: c.phone,
    name: `${c.first_name} ${c.last_name}`,
  };
  const items = o.line_items.map((l: any) => {
    const total = minor(l.price) * l.quantity - sum(l.discount_allocations, (d) => d.amount);
    const line = item(
      l.id,
      l.sku,
      l.title,
      l.quantity,
      total,
      sum(l.tax_lines, (t) => t.price),
    );
    return l.gift_card ? { ...line, category: 'Gift cards' } : line;
  });
  // What went back is told by refunds, and `current_total_price` is reduced by them.
  const amounts = {
    currency: o.currency,
    total: minor(o.total_price),
    tax: minor(o.total_tax),
    taxIncluded: o.taxes_included,
  };
  const paymentStatus = /refunded$/.test(o.financial_status) ? 'paid' : o.financial_status;
  const states = { paymentStatus, cancelledAt: o.cancelled_at, fulfillmentStatus: o.fulfillment_status, test: o.test };
  const words = { channel: o.source_name, note: o.note, discountCodes: o.discount_codes?.map((d: any) => d.code) };
  const shipping = sum(o.shipping_lines ?? [], (s) => s.discounted_price);
  const when = { placedAt: o.processed_at, sourceVersion: o.updated_at };
  return put(at('orders', source, o.id), { customer, items, shipping }, amounts, states, words, when);
}

function shopifyRefund(r: any): Call {
  const items = r.refund_line_items.map((l: any) =>
    back(l.line_item_id, l.quantity, minor(l.subtotal), minor(l.total_tax)),
  );
  const shipping = -sum(r.order_adjustments, (a) => Number(a.amount) + Number(a.tax_amount));
  const tax = sum(r.refund_line_items, (l) => l.total_tax) - sum(r.order_adjustments, (a) => a.tax_amount);
  const amount = sum(r.transactions, (t) => t.amount);
  return refund('shopify', r.id, r.order_id, r.processed_at, r.note, { amount, tax, shipping, items });
}

/** A draft is not its order, which has an id of its own. */
function shopifyDraft(d: any): Call {
  if (d.status === 'completed') return ['DELETE', at('orders', 'shopify-drafts', d.id)];
  return shopifyOrder({ ...d, processed_at: d.created_at, financial_status: 'pending' }, 'shopify-drafts');
}

function wooOrder(o: any): Call {
  const { email, phone, first_name, last_name, country } = o.billing;
  const who = { email, phone: phone || null, name: `${first_name} ${last_name}`.trim() || null, address: { country } };
  const account = o.customer_id ? { ...who, externalId: `${o.customer_id}` } : who;
  const customer = o.customer_id || email || phone ? account : null;
  // Lines are without tax, whatever `prices_include_tax` says. Negative fees are discounts.
  const items = o.line_items.map((l: any) => item(l.id, l.sku, l.name, l.quantity, minor(l.total), minor(l.total_tax)));
  const fees = sum(o.fee_lines, (f) => Math.max(f.total, 0));
  const discount = -sum(o.fee_lines, (f) => Math.min(f.total, 0));
  const amounts = {
    currency: o.currency,
    total: minor(o.total),
    tax: minor(o.total_tax),
    shipping: minor(o.shipping_total),
  };
  const gap = amounts.total - sum(o.line_items, (l) => l.total) - amounts.shipping - amounts.tax - fees + discount;
  const rounding = Math.abs(gap) <= items.length ? gap : 0;
  const exchangeRate = o.meta_data.find((m: any) => m.key === '_order_exchange_rate')?.value;
  const paymentStatus = o.status === 'failed' ? 'failed' : o.date_paid_gmt ? 'paid' : 'pending';
  const states = { paymentStatus, cancelledAt: o.status === 'cancelled' ? utc(o.date_modified_gmt) : null };
  const when = {
    placedAt: utc(o.date_created_gmt),
    paidAt: utc(o.date_paid_gmt),
    sourceVersion: utc(o.date_modified_gmt),
  };
  const rest = { customer, items, fees, discount, rounding, exchangeRate };
  return put(at('orders', 'woocommerce', o.id), amounts, states, when, rest);
}

function wooRefund(r: any): Call {
  const lineOf = (l: any) => l.meta_data.find((m: any) => m.key === '_refunded_item_id').value;
  const items = r.line_items.map((l: any) => back(lineOf(l), -l.quantity, -minor(l.total), -minor(l.total_tax)));
  const told = [...r.line_items, ...r.shipping_lines];
  const tax = told.length > 0 ? sum(told, (l) => -l.total_tax) : null;
  return refund('woocommerce', r.id, r.parent_id, utc(r.date_created_gmt), r.reason, {
    amount: minor(r.amount),
    tax,
    items,
  });
}

function magentoOrder(o: any): Call {
  const money = (amount: number) => minor(amount, o.order_currency_code);
  const who = { email: o.customer_email, name: `${o.customer_firstname} ${o.customer_lastname}` };
  const customer = o.customer_id === null ? who : { ...who, externalId: `${o.customer_id}` };
  const net = (i: any) => i.row_total - i.discount_amount + i.discount_tax_compensation_amount;
  const rows = o.items.filter((i: any) => i.parent_item_id === null);
  const items = rows.map((i: any) => item(i.item_id, i.sku, i.name, i.qty_ordered, money(net(i)), money(i.tax_amount)));
  // Gift cards are a means of payment, and `grand_total` is what they left to be paid.
  const total = money(o.grand_total + o.customer_balance_amount + (o.extension_attributes.gift_cards_amount ?? 0));
  const amounts = {
    total,
    tax: money(o.tax_amount),
    shipping: money(o.shipping_amount),
    currency: o.order_currency_code,
  };
  const rate = o.base_to_order_rate && o.order_currency_code !== 'EUR' ? `${1 / o.base_to_order_rate}` : null;
  const paymentStatus = o.total_due === 0 ? 'paid' : 'pending';
  const when = { placedAt: utc(o.created_at), sourceVersion: utc(o.updated_at), paymentStatus };
  return put(at('orders', 'magento', o.entity_id), { customer, items, exchangeRate: rate }, amounts, when);
}

function magentoRefund(m: any): Call {
  const money = (amount: number) => minor(amount, m.order_currency_code);
  const items = m.items.map((i: any) => back(i.order_item_id, i.qty, money(i.row_total), money(i.tax_amount)));
  const amounts = { amount: money(m.grand_total), tax: money(m.tax_amount), shipping: money(m.shipping_amount), items };
  return refund('magento', m.entity_id, m.order_id, utc(m.created_at), '', amounts);
}

function person(source: string, c: any, phone: string | null, sourceVersion: string | null): Call {
  const identities = [{ kind: 'email', value: c.email }, ...(phone ? [{ kind: 'phone', value: phone }] : [])];
  const address = c.billing && { country: c.billing.country };
  return put(at('customers', source, c.id), {
    name: `${c.first_name} ${c.last_name}`,
    identities,
    address,
    sourceVersion,
  });
}

/** null: nothing follows. Customers whom a shop deletes stay, as their orders do. */
const calls: Record<string, (payload: any) => Call | null> = {
  'shopify customers/create': (c) => person('shopify', c, c.phone, c.updated_at),
  'shopify customers/redact': ({ customer }) => ['POST', `${at('customers', 'shopify', customer.id)}/erase`, {}],
  'shopify customers/delete': () => null,
  'shopify draft_orders/create': shopifyDraft,
  'shopify draft_orders/update': shopifyDraft,
  'shopify refunds/create': shopifyRefund,
  'woocommerce customer.created': (c) => person('woocommerce', c, c.billing.phone, utc(c.date_modified_gmt)),
  'woocommerce customer.deleted': () => null,
  'woocommerce order.deleted': ({ id }) => ['DELETE', at('orders', 'woocommerce', id)],
  'woocommerce order.refunded': wooRefund,
  'magento creditmemo': magentoRefund,
};
const orders = { shopify: shopifyOrder, woocommerce: wooOrder, magento: magentoOrder };
export type Shop = keyof typeof orders;
export const callOf = (shop: Shop, topic: string, payload: any) => (calls[`${shop} ${topic}`] ?? orders[shop])(payload);
