import { at, back, type Call, type Connector, item, minor, person, put, refund, sum, utc } from './connector.ts';

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

export const connectWooCommerce: Connector = (topic, payload) => {
  switch (topic) {
    case 'customer.created':
      return person('woocommerce', payload, payload.billing.phone, utc(payload.date_modified_gmt));
    // With orders a customer cannot be deleted: it is erased, or nothing follows.
    case 'customer.deleted':
      return null;
    case 'order.deleted':
      return ['DELETE', at('orders', 'woocommerce', payload.id)];
    case 'order.refunded':
      return wooRefund(payload);
    default:
      return wooOrder(payload);
  }
};
