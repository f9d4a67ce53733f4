import { at, back, type Call, type Connector, item, minor, put, refund, utc } from './connector.ts';

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

export const connectMagento: Connector = (topic, payload) =>
  topic === 'creditmemo' ? magentoRefund(payload) : magentoOrder(payload);
