import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf, pushOrder } from '../../support/shop.ts';
import { rollupVerifier } from '../../support/verify-rollups.ts';

const api = await testApp(t);
const { request, graphql } = api;

const at = (externalId: string) => `/v1/refunds/external/shop/${externalId}`;
const early = (order: string, members: object = {}) =>
  request('POST', '/v1/refunds', {
    body: {
      source: 'shop',
      externalId: fresh('R'),
      order: { externalId: order },
      amount: 100,
      refundedAt: '2026-03-05T10:00:00Z',
      ...members,
    },
    headers: newKey(),
  });
const orderById = async (id: string) => (await request('GET', `/v1/orders/${id}`)).body;
const refundBy = async (externalId: string) => (await request('GET', at(externalId))).body;
const revenue = async () =>
  (await request('GET', '/v1/metrics/revenue-per-customer?from=2026-01-01&to=2027-01-01')).body.numerator;

t.test('a refund before its order waits, is found, and counts nowhere', async (t) => {
  const name = fresh('early');
  const before = await revenue();
  const waiting = await early(name, { reason: 'damaged', items: [{ sku: 'A', quantity: 1 }] });
  t.match(waiting, {
    status: 202,
    body: {
      status: 'waiting',
      orderId: null,
      customerId: null,
      currency: null,
      order: { source: 'shop', externalId: name },
      created: true,
      warnings: [{ code: 'waiting_for_order' }],
    },
  });
  t.equal(waiting.headers.get('location'), `/v1/refunds/${waiting.body.id}`);
  t.match(await refundBy(waiting.body.externalId), { id: waiting.body.id, status: 'waiting', reason: 'damaged' });
  t.match((await request('GET', `/v1/refunds/${waiting.body.id}`)).body, { status: 'waiting' });
  t.equal(await revenue(), before);
  t.equal((await request('GET', `/v1/orders/external/shop/${name}`)).status, 404, 'there is no order yet');
  t.equal((await request('GET', at(waiting.body.externalId), { scope: 'orders:read' })).status, 200);
  t.equal((await request('GET', at(waiting.body.externalId), { scope: 'orders:read' })).body.reason, null, 'masked');
});

t.test('a repeated key answers 202 again', async (t) => {
  const headers = newKey();
  const body = {
    order: { source: 'shop', externalId: fresh('early') },
    amount: 100,
    refundedAt: '2026-03-05T10:00:00Z',
  };
  const [first, again] = [
    await request('POST', '/v1/refunds', { body, headers }),
    await request('POST', '/v1/refunds', { body, headers }),
  ];
  t.same([again.status, again.body], [202, first.body]);
});

const arrivals: Record<string, (order: ReturnType<typeof orderOf>) => Promise<any>> = {
  POST: async (order) => (await request('POST', '/v1/orders', { body: order, headers: newKey() })).body,
  async PUT({ source, externalId, ...document }) {
    return (await request('PUT', `/v1/orders/external/${source}/${externalId}`, { body: document })).body;
  },
  async batch(order) {
    const { body } = await request('POST', '/v1/orders/batch', { body: { orders: [orderOf(), order] } });
    return orderById(body.results[1].id);
  },
  async mutation(order) {
    const { body } = await graphql(
      'mutation ($input: OrderInput!, $key: String!) { createOrder(input: $input, idempotencyKey: $key) { order { id status refunded revenue } } }',
      { input: { ...order, paymentStatus: 'PAID' }, key: fresh('key') },
    );
    const made = body.data.createOrder.order;
    return { ...made, status: made.status.toLowerCase() };
  },
  // A further reference is a name of the order as well.
  async 'a further reference'({ externalId, ...order }) {
    const references = [{ source: 'shop', externalId }];
    return (await pushOrder(api, { ...order, source: 'erp', externalId: fresh('E'), references })).body;
  },
  async 'a reference that comes later'({ source, externalId, ...order }) {
    const own = fresh('E');
    const url = `/v1/orders/external/erp/${own}`;
    await request('PUT', url, { body: order });
    return (await request('PUT', url, { body: { ...order, references: [{ source, externalId }] } })).body;
  },
};

for (const [door, arrive] of Object.entries(arrivals)) {
  t.test(`it is applied when the order comes: ${door}`, async (t) => {
    const name = fresh('early');
    const one = await early(name, { amount: 300 });
    const nameless = await early(name, {
      source: undefined,
      externalId: undefined,
      order: { source: 'shop', externalId: name },
    });
    const order = await arrive(
      orderOf({ externalId: name, customer: { source: 'shop', externalId: fresh('C') }, tax: 200, taxIncluded: true }),
    );
    t.match(order, { refunded: 400, revenue: 480, status: 'partially_refunded' }, 'the answer knows of them');
    const stored = await orderById(order.id);
    t.match(stored, { refunded: 400, revenue: 480, baseRevenue: 480 });
    t.match(await refundBy(one.body.externalId), {
      id: one.body.id,
      status: 'applied',
      orderId: order.id,
      order: null,
      customerId: stored.customerId,
      currency: 'EUR',
      net: 240,
      version: 2,
    });
    t.match((await request('GET', `/v1/refunds/${nameless.body.id}`)).body, { status: 'applied', net: 80 });
    t.equal((await request('GET', `/v1/orders/${order.id}/refunds`)).body.data.length, 2);
    const { body } = await request('GET', `/v1/customers/${stored.customerId}/timeline?kinds=refund`);
    t.match(body.data, [{ refund: { orderId: order.id, status: 'applied' } }, { refund: { orderId: order.id } }]);
  });
}

t.test('one that does not fit is refused with its reason, and the order is kept', async (t) => {
  const name = fresh('early');
  const late = await early(name, { amount: 500, refundedAt: '2026-03-07T00:00:00Z' });
  const first = await early(name, { amount: 600, refundedAt: '2026-03-05T00:00:00Z' });
  const second = await early(name, { amount: 400, refundedAt: '2026-03-06T00:00:00Z', tax: 300 });
  const { status, body: order } = await pushOrder(api, { externalId: name, tax: 200, taxIncluded: true });
  t.equal(status, 201);
  t.match(order, { refunded: 600 });
  t.match(await refundBy(first.body.externalId), { status: 'applied' });
  t.match(await refundBy(late.body.externalId), {
    status: 'refused',
    refusedReason: 'refund_exceeds_total',
    orderId: order.id,
    net: 0,
  });
  t.match(await refundBy(second.body.externalId), { status: 'refused', refusedReason: 'refund_tax_exceeds_order' });
  const refused = await request('GET', `/v1/refunds?orderId=${order.id}&status=refused`);
  t.equal(refused.body.data.length, 2);
  const asOf = await request(
    'GET',
    `/v1/metrics/revenue-per-customer?from=2026-01-01&to=2027-01-01&refunds=when_given`,
  );
  t.equal(asOf.status, 200);

  const raised = await request('PATCH', `/v1/orders/${order.id}`, {
    body: { total: 2000, items: [{ sku: 'A', quantity: 1, total: 2000 }] },
    headers: { 'If-Match': '*' },
  });
  t.match(raised.body, { refunded: 600 }, 'it stays refused, whatever becomes of the order');
  const tried = await request('PUT', at(late.body.externalId), {
    body: { order: { externalId: name }, amount: 500, refundedAt: '2026-03-07T00:00:00Z' },
  });
  t.match(tried, { status: 200, body: { status: 'applied', refusedReason: null } }, 'unless it is sent again');
  t.match(await orderById(order.id), { refunded: 1100 });
  await request('DELETE', `/v1/orders/${order.id}`, { headers: { 'If-Match': '*' } });
  t.equal((await request('GET', at(second.body.externalId))).status, 404, 'a refused one goes with its order');
});

t.test('what waits may be corrected and deleted', async (t) => {
  const [name, other] = [fresh('early'), fresh('early')];
  const refund = await early(name);
  const { externalId, id } = refund.body;
  const corrected = await request('PUT', at(externalId), {
    body: { order: { externalId: name }, amount: 700, refundedAt: '2026-03-05T10:00:00Z', sourceVersion: 2 },
  });
  t.match(corrected, { status: 202, body: { id, amount: 700, version: 2, status: 'waiting' } });
  const patched = await request('PATCH', `/v1/refunds/${id}`, {
    body: { amount: 800 },
    headers: { 'If-Match': '"2"' },
  });
  t.match(patched, { status: 202, body: { amount: 800, order: { externalId: name } } });
  t.match(await pushOrder(api, { externalId: other }), { body: { refunded: 0 } });
  const elsewhere = await request('PATCH', `/v1/refunds/${id}`, {
    body: { order: { source: 'shop', externalId: other } },
    headers: { 'If-Match': '*' },
  });
  t.match(elsewhere, { status: 200, body: { status: 'applied' } });
  const back = await request('PATCH', `/v1/refunds/${id}`, {
    body: { order: { source: 'shop', externalId: name } },
    headers: { 'If-Match': '*' },
  });
  t.match(
    back,
    { status: 202, body: { status: 'waiting', customerId: null } },
    'it may have been given to the wrong order',
  );
  t.match((await request('GET', `/v1/orders/external/shop/${other}`)).body, { refunded: 0 });
  t.equal((await request('DELETE', at(externalId), { headers: { 'If-Match': '*' } })).status, 204);
  t.match(await pushOrder(api, { externalId: name }), { status: 201, body: { refunded: 0 } });
  t.equal(
    (
      await request('PUT', at(externalId), {
        body: { order: { externalId: name }, amount: 1, refundedAt: '2026-03-05T10:00:00Z' },
      })
    ).status,
    410,
  );
});

t.test('a dry run of the order applies nothing, and a refused order leaves it waiting', async (t) => {
  const name = fresh('early');
  const { body: refund } = await early(name);
  const dry = await request('POST', '/v1/orders?dryRun=true', {
    body: orderOf({ externalId: name }),
    headers: newKey(),
  });
  t.match(dry, { status: 201, body: { refunded: 100 } });
  t.equal((await pushOrder(api, { externalId: name, total: 7, items: [] })).status, 422);
  t.match(await refundBy(refund.externalId), { status: 'waiting' });
  t.match(await pushOrder(api, { externalId: name }), { body: { refunded: 100 } });
});

t.test('refunds and their order at once: none is missed', async (t) => {
  for (let round = 0; round < 12; round += 1) {
    const name = fresh('rush');
    const refunds = [1, 2, 3].map(() => () => early(name));
    const order = () => pushOrder(api, { externalId: name, customer: { externalId: fresh('C') } });
    const calls = [...refunds];
    calls.splice(round % 4, 0, order);
    const answers = await Promise.all(calls.map((call) => call()));
    t.ok(
      answers.every(({ status }) => status === 201 || status === 202),
      answers.map(({ status }) => status).join(),
    );
    t.match((await request('GET', `/v1/orders/external/shop/${name}`)).body, { refunded: 300 });
  }
});

t.test("a customer's and a partner's token see nothing of what waits, and may make its order", async (t) => {
  const { body: customer } = await request('POST', '/v1/customers', {
    body: { kind: 'person', name: 'Ada', references: [{ source: 'shop', externalId: fresh('C') }] },
  });
  const name = fresh('early');
  const { body: refund } = await early(name, { reason: 'secret' });
  const own = { customer: customer.id, scope: 'orders:read orders:write customers:pii' };
  t.equal((await request('GET', `/v1/refunds/${refund.id}`, own)).status, 404);
  t.equal((await request('GET', at(refund.externalId), own)).status, 404);
  t.same((await request('GET', '/v1/refunds', own)).body.data, []);
  t.equal(
    (
      await request('POST', '/v1/refunds', {
        body: { orderId: refund.id, amount: 1, refundedAt: '2026-03-05T10:00:00Z' },
        headers: newKey(),
        ...own,
      })
    ).status,
    403,
  );
  const placed = await request('POST', '/v1/orders', {
    body: orderOf({ externalId: name, customer: undefined, customerId: customer.id, paymentStatus: 'pending' }),
    headers: newKey(),
    ...own,
  });
  t.match(placed, { status: 201, body: { refunded: 100, customerId: customer.id } });
  t.match((await request('GET', at(refund.externalId), own)).body, { status: 'applied', customerId: customer.id });
});

t.test('an erased person gets no reason back', async (t) => {
  const reference = { source: 'shop', externalId: fresh('C') };
  const { body: customer } = await request('POST', '/v1/customers', {
    body: { kind: 'person', name: 'Ada', references: [reference] },
  });
  const name = fresh('early');
  const { body: refund } = await early(name, { reason: 'my name is Ada' });
  t.equal(
    (await request('POST', `/v1/customers/${customer.id}/erase`, { body: {}, headers: newKey() })).status < 300,
    true,
  );
  const { status } = await pushOrder(api, { externalId: name, customer: reference });
  t.equal(status, 201);
  t.match(await refundBy(refund.externalId), { status: 'applied', reason: null });
});

t.test('what was worked out is what the facts say', async (t) => {
  const verify = await rollupVerifier(t, api.url);
  t.match(await verify(), { code: 0 });
});
