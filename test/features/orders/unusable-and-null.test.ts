import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf, pushOrder, returnOf } from '../../support/shop.ts';

const api = await testApp(t);
const { request } = api;

const unusable = [
  ['email', ''],
  ['email', 'nonsense'],
  ['email', `${'a'.repeat(300)}@example.org`],
  ['email', 'a@example..org'],
  ['phone', ''],
  ['phone', '   '],
  ['phone', '0123'],
  ['phone', 'call the office first, then ask for the workshop, then dial 0123 4'],
  ['phone', '1'.repeat(5_000)],
] as const;

/** Every way in which a record names its customer. */
const writes: Record<string, (customer: object) => Promise<{ status: number; body: any }>> = {
  order: (customer) => pushOrder(api, { customer }),
  return: (customer) => request('POST', '/v1/returns', { body: returnOf({ customer }), headers: newKey() }),
  interaction: (customer) =>
    request('POST', '/v1/interactions', {
      body: { customer: { source: 'shop', ...customer }, kind: 'phone', occurredAt: '2026-03-01T10:00:00Z' },
    }),
  lead: (customer) => request('POST', '/v1/leads', { body: { customer: { source: 'shop', ...customer } } }),
  'order of a batch': async (customer) => {
    const { status, body } = await request('POST', '/v1/orders/batch', { body: { orders: [orderOf({ customer })] } });
    return { status: body.results[0].status === 'created' ? 201 : status, body: body.results[0] };
  },
};

for (const [kind, write] of Object.entries(writes)) {
  t.test(`an unusable e-mail or phone is left out of the customer of an ${kind}, with a warning`, async (t) => {
    for (const [member, value] of unusable) {
      const { status, body } = await write({ externalId: fresh('C'), [member]: value });
      t.equal(status, 201, `${member} ${value.slice(0, 40)}`);
      t.match(body.warnings, [{ code: `unusable_${member}` }], value.slice(0, 40));
      t.notOk(JSON.stringify(body.warnings).includes(value || 'nothing'), 'it is not told');
    }
    const { status, body } = await write({ externalId: fresh('C'), email: null, phone: null, name: null, kind: null });
    t.equal(status, 201);
    t.same(body.warnings ?? [], [], 'what is not given is nothing to warn of');
  });
}

t.test('an unusable sku is left out of a line, with a warning', async (t) => {
  const items = [
    { sku: '', name: 'Custom item', quantity: 1, total: 400 },
    { sku: 'x'.repeat(101), quantity: 1, total: 300 },
    { sku: 'A', quantity: 1, total: 200 },
    { sku: null, quantity: 1, total: 50 },
    { quantity: 1, total: 50 },
  ];
  const order = await pushOrder(api, { total: 1000, items });
  t.equal(order.status, 201);
  t.match(order.body.warnings, [{ code: 'unusable_sku', message: /^items\[0\]\.sku/ }, { code: 'unusable_sku' }]);
  t.equal(order.body.warnings.length, 2);
  const read = await request('GET', `/v1/orders/${order.body.id}`);
  t.same(
    read.body.items.map(({ sku }: { sku: string }) => sku),
    [null, null, 'A', null, null],
  );
  const returned = await request('POST', '/v1/returns', {
    body: returnOf({ items: [{ sku: '', quantity: 1 }] }),
    headers: newKey(),
  });
  t.match(returned, { status: 201, body: { items: [{ sku: null }], warnings: [{ code: 'unusable_sku' }] } });
  const refund = await request('POST', `/v1/orders/${order.body.id}/refunds`, {
    body: { amount: 10, refundedAt: '2026-03-05T10:00:00Z', items: [{ sku: '', quantity: 1 }] },
    headers: newKey(),
  });
  t.match(refund, { status: 201, body: { items: [{ sku: null }] } });
  const patched = await request('PATCH', `/v1/orders/${order.body.id}`, {
    body: { items: [{ sku: '', quantity: 1, total: 1000 }] },
    headers: { 'If-Match': '*' },
  });
  t.match(patched, { status: 200, body: { warnings: [{ code: 'unusable_sku' }] } });
});

t.test('a currency is taken in any case, and also when it was withdrawn', async (t) => {
  for (const [given, stored] of [
    ['eur', 'EUR'],
    ['Gbp', 'GBP'],
    ['HRK', 'HRK'],
    ['dem', 'DEM'],
    ['ITL', 'ITL'],
  ] as const) {
    const order = await pushOrder(api, { currency: given });
    t.match(order, { status: 201, body: { currency: stored } }, given);
    const found = await request('GET', `/v1/orders?currency=${given.toLowerCase()}&limit=1`);
    t.match(found.body.data, [{ currency: stored }], given);
  }
  for (const given of ['EURO', 'XEU', 'XXX', 'eu', '', 'ınr', '€']) {
    const refused = await pushOrder(api, { currency: given });
    t.match(refused, { status: 422, body: { errors: [{ pointer: '/currency' }] } }, given);
  }
});

/** Everything optional of an order; `customer` is for its own test. */
const optional = [
  'references',
  'sourceVersion',
  'discount',
  'shipping',
  'fees',
  'tax',
  'taxIncluded',
  'rounding',
  'fulfillmentStatus',
  'cancelledAt',
  'channel',
  'campaignId',
  'test',
  'exchangeRate',
  'customerId',
];

t.test('null for an optional member is not given, on both doors; in a change it clears', async (t) => {
  const nulls = Object.fromEntries(optional.map((member) => [member, null]));
  const item = { sku: 'A', name: null, category: null, quantity: 1, total: 1000, unitPrice: null, cost: null };
  const customer = { externalId: fresh('C') };
  const body = () => orderOf({ customer, items: [item], ...nulls });
  const [without, rest] = await Promise.all([pushOrder(api, { customer, items: [item] }), pushOrder(api, body())]);
  t.equal(rest.status, 201, JSON.stringify(rest.body.errors));
  const plain = ({ id, version, references, externalId, createdAt, updatedAt, ...order }: any) => order;
  t.same(plain(rest.body), plain(without.body));

  const query = `mutation ($input: OrderInput!, $dryRun: Boolean, $key: String!) {
    createOrder(input: $input, dryRun: $dryRun, idempotencyKey: $key) { order { id discount taxIncluded } } }`;
  const input = { ...body(), paymentStatus: 'PAID' };
  const graphql = await api.graphql(query, { input, dryRun: null, key: fresh('key') });
  t.match(graphql.body.data?.createOrder.order, { discount: 0, taxIncluded: false }, JSON.stringify(graphql.body));

  const put = await request('PUT', `/v1/orders/external/shop/${fresh('put')}`, {
    body: { ...body(), source: undefined, externalId: undefined },
  });
  t.equal(put.status, 201, JSON.stringify(put.body.errors));
  const batch = await request('POST', '/v1/orders/batch', { body: { orders: [body()] }, headers: newKey() });
  t.match(batch.body.results, [{ status: 'created' }]);

  const headers = { 'If-Match': '*' };
  const at = `/v1/orders/${rest.body.id}`;
  await request('PATCH', at, { body: { channel: 'web' }, headers });
  t.match(await request('PATCH', at, { body: { channel: null }, headers }), { status: 200, body: { channel: null } });
  t.match(await request('PATCH', at, { body: { placedAt: null }, headers }), {
    status: 422,
    body: { errors: [{ pointer: '/placedAt' }] },
  });
  t.match(await pushOrder(api, { placedAt: null }), { status: 422, body: { errors: [{ pointer: '/placedAt' }] } });
});

t.test('null for an optional argument of GraphQL is not given', async (t) => {
  const query = `query ($text: String, $int: Int, $at: DateTime, $status: PaymentStatus, $sort: OrderSort, $id: ID, $test: Boolean) {
    orders(currency: $text, channel: $text, first: $int, after: $text, placedFrom: $at, placedTo: $at, paymentStatus: $status,
      sort: $sort, customerId: $id, test: $test) { nodes { id } }
    customers(email: $text, phone: $text, acquisitionSource: $text) { nodes { id orders(first: $int) { nodes { id } } } }
    metrics { averageOrderValue(input: { from: "2026-01-01", to: "2026-04-01", currency: $text, timeZone: $text }) { value } }
  }`;
  const names = ['text', 'int', 'at', 'status', 'sort', 'id', 'test'];
  const { body } = await api.graphql(query, Object.fromEntries(names.map((name) => [name, null])));
  t.equal(body.errors, undefined, JSON.stringify(body.errors));
  t.ok(body.data.orders.nodes.length > 0);
});
