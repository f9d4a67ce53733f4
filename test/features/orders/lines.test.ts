import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf, pushOrder, pushRefund } from '../../support/shop.ts';

const api = await testApp(t);
const { request, graphql } = api;

const lines = [
  { externalId: 'L1', sku: 'A', quantity: 1, total: 600, tax: 100 },
  { externalId: 'L2', sku: 'A', quantity: 1, total: 300, tax: 50 },
  { sku: 'B', quantity: 1, total: 100 },
];

t.test("lines have the shop's ids and their taxes, on both doors", async (t) => {
  const { status, body: order } = await pushOrder(api, { items: lines });
  t.equal(status, 201);
  const expected = [
    { externalId: 'L1', sku: 'A', tax: 100 },
    { externalId: 'L2', sku: 'A', tax: 50 },
    { externalId: null, sku: 'B', tax: null },
  ];
  t.match(order.items, expected);
  t.match((await request('GET', `/v1/orders/${order.id}`)).body.items, expected);
  const members = 'items { externalId sku tax }';
  const { body: answer } = await graphql(
    `query ($id: ID!, $customer: ID!) { order(id: $id) { ${members} } customer(id: $customer) { orders { nodes { id ${members} } } } }`,
    { id: order.id, customer: order.customerId },
  );
  t.same(answer.data.order.items, expected);
  t.same(answer.data.customer.orders.nodes.find(({ id }: { id: string }) => id === order.id).items, expected);
  const created = await graphql(
    'mutation ($input: OrderInput!, $key: String!) { createOrder(input: $input, idempotencyKey: $key) { order { items { externalId tax } } } }',
    {
      input: { ...orderOf({ customer: { externalId: fresh('C') }, items: lines }), paymentStatus: 'PAID' },
      key: fresh('key'),
    },
  );
  t.same(
    created.body.data.createOrder.order.items,
    expected.map(({ sku: _, ...rest }) => rest),
  );
});

t.test('a line id twice in one order is refused, at the second', async (t) => {
  const items = [lines[0], { ...lines[1], externalId: 'L1' }, lines[2]];
  t.match(await pushOrder(api, { items }), {
    status: 422,
    body: { errors: [{ pointer: '/items/1/externalId', code: 'duplicate_line' }] },
  });
  const { body: order } = await pushOrder(api, { items: lines });
  const patched = await request('PATCH', `/v1/orders/${order.id}`, { body: { items }, headers: { 'If-Match': '*' } });
  t.match(patched, { status: 422, body: { errors: [{ code: 'duplicate_line' }] } });
  const { body } = await request('POST', '/v1/orders/batch', { body: { orders: [orderOf({ items })] } });
  t.match(body.results, [{ status: 'refused', error: { errors: [{ code: 'duplicate_line' }] } }]);
  t.equal((await pushOrder(api, { items: lines })).status, 201, 'another order may have the same ids');
});

t.test('items of refunds name their lines', async (t) => {
  const { body: order } = await pushOrder(api, { items: lines });
  const items = [
    { externalId: 'L2', quantity: 1, total: 300, tax: 50 },
    { line: 0, quantity: 0.5 },
    { sku: 'B', quantity: 1 },
  ];
  const { status, body } = await pushRefund(api, order.id, { items });
  t.equal(status, 201);
  const expected = [
    { externalId: 'L2', line: null, sku: null, quantity: 1, total: 300, tax: 50 },
    { externalId: null, line: 0, sku: null, quantity: 0.5, total: null, tax: null },
    { externalId: null, line: null, sku: 'B', quantity: 1, total: null, tax: null },
  ];
  t.same(body.items, expected);
  t.same((await request('GET', `/v1/refunds/${body.id}`)).body.items, expected);
  const refused = await request('POST', `/v1/orders/${order.id}/refunds`, {
    body: { amount: 1, refundedAt: '2026-03-05T10:00:00Z', items: [{ line: -1, quantity: 1 }] },
    headers: newKey(),
  });
  t.match(refused, { status: 422, body: { errors: [{ pointer: '/items/0/line' }] } });
});
