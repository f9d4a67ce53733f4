import { at, back, type Call, type Connector, item, minor, person, put, refund, sum } from './connector.ts';

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

export const connectShopify: Connector = (topic, payload) => {
  switch (topic) {
    case 'customers/create':
      return person('shopify', payload, payload.phone, payload.updated_at);
    case 'customers/redact':
      return ['POST', `${at('customers', 'shopify', payload.customer.id)}/erase`, {}];
    // With orders a customer cannot be deleted: it is erased, or nothing follows.
    case 'customers/delete':
      return null;
    case 'draft_orders/create':
    case 'draft_orders/update':
      return shopifyDraft(payload);
    case 'refunds/create':
      return shopifyRefund(payload);
    default:
      return shopifyOrder(payload);
  }
};
