import pg from 'pg';
import t from 'tap';
import { nobodyOf } from '../../../src/records/nobody.ts';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf, pushOrder, pushRefund } from '../../support/shop.ts';
import { rollupVerifier } from '../../support/verify-rollups.ts';

/* `customer: null`: an order of nobody known (point of sale, draft). */

const api = await testApp(t, { clock: () => '2026-06-10T12:00:00.000Z' });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());
const verify = await rollupVerifier(t, api.url);

const change = { 'If-Match': '*' };
const at = (externalId: unknown) => `/v1/orders/external/shop/${externalId}`;
const put = (externalId: unknown, more: object) => {
  const { source: _, externalId: __, ...body } = orderOf(more as Record<string, unknown>);
  return request('PUT', at(externalId), { body });
};
const patch = (id: string, body: object) => request('PATCH', `/v1/orders/${id}`, { body, headers: change });
const codes = (body: { errors?: { code: string; pointer?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer }) => `${pointer} ${code}`);
async function count(table: string): Promise<number> {
  return (await database.query(`select count(*)::int as n from ${table}`)).rows[0].n;
}
const known = async () => (await request('GET', '/v1/customers?count=true&limit=1')).body.page.total;
const stored = async (orderId: string) =>
  (await database.query(`select id from customers where id = $1`, [nobodyOf(orderId)])).rows.length;

t.test('it is kept without a customer, on both doors', async (t) => {
  const before = await known();
  const made = await pushOrder(api, { customer: null, note: 'till 4', attributes: { till: 4 }, tags: ['pos'] });
  t.match(made, { status: 201, body: { customerId: null, total: 1000, status: 'paid', note: 'till 4', warnings: [] } });
  const { created: _, applied: __, warnings: ___, ...order } = made.body;
  t.same((await request('GET', `/v1/orders/${order.id}`)).body, order);
  t.same((await request('GET', at(order.externalId))).body, order);
  t.match((await request('GET', '/v1/orders?tag=pos')).body.data, [{ id: order.id, customerId: null }]);
  t.match(await pushOrder(api, { customer: null, externalId: order.externalId }), {
    status: 409,
    body: { code: 'already_exists', id: order.id },
  });

  const mutation = `mutation ($input: OrderInput!) { createOrder(idempotencyKey: "${fresh('key')}", input: $input) {
    order { id customerId customer { id } refunds { amount } } warnings { code } } }`;
  const input = { ...orderOf({ customer: null }), paymentStatus: 'PAID' };
  const written = (await graphql(mutation, { input })).body;
  t.match(written.data?.createOrder, { order: { customerId: null, customer: null, refunds: [] }, warnings: [] });
  const literal = `mutation { createOrder(idempotencyKey: "${fresh('key')}", input: {source: "shop", externalId: "${fresh('literal')}",
    customer: null, placedAt: "2026-03-01T10:00:00Z", currency: "EUR", total: 5, items: [{sku: "A", quantity: 1, total: 5}], paymentStatus: PAID}) {
    order { customerId } } }`;
  t.same((await graphql(literal)).body.data?.createOrder, { order: { customerId: null } });
  t.equal(await known(), before, 'no list and no count of customers shows it');

  const batch = await request('POST', '/v1/orders/batch', {
    body: {
      orders: [orderOf({ customer: null }), orderOf({}), orderOf({ customer: null }), orderOf({ customer: undefined })],
    },
  });
  t.match(batch.body.results, [
    { status: 'created' },
    { status: 'created' },
    { status: 'created' },
    { status: 'refused', error: { code: 'customer_required' } },
  ]);
});

t.test('leaving the customer out is not the same, nor is a customer beside null', async (t) => {
  const { customer: _, ...nothing } = orderOf();
  const post = (body: object) => request('POST', '/v1/orders', { body, headers: newKey() });
  t.match(await post(nothing), { status: 422, body: { code: 'customer_required' } });
  t.match(await post({ ...nothing, customer: {} }), { status: 422, body: { code: 'customer_required' } });
  const { body: somebody } = await pushOrder(api);
  const twice = await post({ ...nothing, customer: null, customerId: somebody.customerId });
  t.match([twice.status, codes(twice.body)], [422, ['/customerId customer_twice']]);
  t.equal(
    (await post({ ...nothing, customer: null, customerId: null })).status,
    201,
    'a customerId of null is not given',
  );
  t.match((await patch(somebody.id, { customer: null, customerId: somebody.customerId })).status, 422);

  const mutation = `mutation ($input: OrderInput!) { createOrder(idempotencyKey: "${fresh('key')}", input: $input) { order { id } } }`;
  const absent = (await graphql(mutation, { input: { ...nothing, paymentStatus: 'PAID' } })).body;
  t.match(absent.errors, [{ extensions: { code: 'customer_required' } }]);
  for (const [path, body] of [
    [
      '/v1/returns',
      { source: 'shop', externalId: fresh('r'), returnedAt: '2026-03-01T10:00:00Z', currency: 'EUR', total: 5 },
    ],
    ['/v1/interactions', { kind: 'phone', occurredAt: '2026-03-01T10:00:00Z' }],
    ['/v1/leads', {}],
  ] as const) {
    const answer = await request('POST', path, { body: { ...body, customer: null }, headers: newKey() });
    t.match(answer, { status: 422, body: { code: 'customer_required' } }, `${path} needs somebody`);
  }
});

t.test('a name that is none loses no order', async (t) => {
  for (const [customer, unusable] of [
    [{ email: '' }, ['unusable_email']],
    [{ email: 'nonsense', name: 'Ada' }, ['unusable_email']],
    [{ phone: 'call the office' }, ['unusable_phone']],
    [{ email: 'n/a', phone: '-' }, ['unusable_email', 'unusable_phone']],
  ] as const) {
    const { status, body } = await pushOrder(api, { customer });
    t.match([status, body.customerId], [201, null]);
    t.same(
      body.warnings.map(({ code }: { code: string }) => code),
      [...unusable, 'anonymous'],
    );
  }
  const returned = {
    customer: { email: '' },
    source: 'shop',
    externalId: fresh('r'),
    returnedAt: '2026-03-01T10:00:00Z',
    currency: 'EUR',
    total: 5,
  };
  t.match(await request('POST', '/v1/returns', { body: returned, headers: newKey() }), { status: 422 });
});

t.test('whoever it turns out to be gets the order with its refunds', async (t) => {
  for (const [how, name] of [
    ['PUT', (order: any, customer: object) => put(order.externalId, { customer })],
    ['PATCH', (order: any, customer: object) => patch(order.id, { customer })],
    [
      'batch',
      (order: any, customer: object) =>
        request('POST', '/v1/orders/batch', {
          body: { orders: [orderOf({ externalId: order.externalId, customer })] },
        }),
    ],
  ] as const) {
    const { body: order } = await pushOrder(api, { customer: null });
    const { body: refund } = await pushRefund(api, order.id, {
      amount: 250,
      reason: 'torn',
      items: [{ sku: 'A', quantity: 1 }],
    });
    t.match(refund, { customerId: null, amount: 250, orderId: order.id });
    t.match((await request('GET', `/v1/orders/${order.id}/refunds`)).body.data, [{ id: refund.id, customerId: null }]);
    const query = `{ order(id: "${order.id}") { customer { id } refunds { id } } }`;
    t.same((await graphql(query)).body.data.order, { customer: null, refunds: [{ id: refund.id }] });
    t.equal(await stored(order.id), 1);

    const customer = { externalId: fresh('known') };
    t.equal((await name(order, customer)).status, 200, how);
    const { body: owner } = await request('GET', `/v1/customers/external/shop/${customer.externalId}`);
    t.match((await request('GET', `/v1/orders/${order.id}`)).body, {
      customerId: owner.id,
      refunded: 250,
      revenue: 750,
    });
    t.match((await request('GET', `/v1/refunds/${refund.id}`)).body, {
      customerId: owner.id,
      reason: 'torn',
      items: [{ sku: 'A' }],
    });
    t.match((await request('GET', `/v1/customers/${owner.id}/summary`)).body.totals ?? [], []);
    t.equal(await stored(order.id), 0, `${how}: nothing is left behind`);

    t.match((await patch(order.id, { customer: null })).body, { customerId: null }, 'and back');
    t.match((await request('GET', `/v1/refunds/${refund.id}`)).body, { customerId: null });
    t.match(
      (await patch(order.id, { channel: 'till' })).body,
      { customerId: null, channel: 'till' },
      'it stays nobody',
    );
    t.match((await put(order.externalId, { customer: null, total: 900 })).body, { customerId: null, total: 900 });
    t.equal((await request('DELETE', `/v1/orders/${order.id}`, { headers: change })).status, 204);
    t.equal(await stored(order.id), 0, 'nor by a deletion');
  }
  t.equal((await verify()).code, 0, 'what is derived is that of the facts');
});

t.test('one batch may say both, whatever the order', async (t) => {
  const [first, second] = [fresh('twice'), fresh('twice')];
  const who = { externalId: fresh('known') };
  const before = await count('customers');
  const orders = [
    orderOf({ externalId: first, customer: null }),
    orderOf({ externalId: first, customer: who }),
    orderOf({ externalId: second, customer: who }),
    orderOf({ externalId: second, customer: null }),
  ];
  const { body } = await request('POST', '/v1/orders/batch', { body: { orders } });
  t.match(
    body.results.map(({ status }: { status: string }) => status),
    ['created', 'updated', 'created', 'updated'],
  );
  t.not((await request('GET', at(first))).body.customerId, null);
  t.equal((await request('GET', at(second))).body.customerId, null);
  t.equal(await count('customers'), before + 2, 'one customer, one owner of the order that is nobody’s');
  t.equal((await verify()).code, 0);
});

t.test('its owner row shows nowhere', async (t) => {
  const { body: order } = await pushOrder(api, { customer: null });
  const id = nobodyOf(order.id);
  t.equal(await stored(order.id), 1, 'it is there');
  for (const path of ['', '/summary', '/timeline', '/orders', '/export', '/loyalty', '/consents', '/merges']) {
    t.equal((await request('GET', `/v1/customers/${id}${path}`)).status, 404, `customers/…${path}`);
  }
  t.equal((await request('GET', `/v1/leads/${id}`)).status, 404);
  t.equal((await request('GET', `/v1/metrics/lifetime-value?customerId=${id}`)).status, 404);
  const { body: real } = await pushOrder(api, { customer: { externalId: fresh('real') } });
  for (const [method, path, body] of [
    ['POST', `/v1/customers/${id}/erase`, undefined],
    ['POST', `/v1/customers/${real.customerId}/merge`, { customerId: id }],
    ['POST', '/v1/leads', { customerId: id }],
    ['POST', '/v1/follow-ups', { customerId: id, kind: 'retention', reason: 'x', dueAt: '2026-07-01T00:00:00Z' }],
    ['POST', '/v1/orders', orderOf({ customerId: id })],
    ['POST', '/v1/interactions', { customerId: id, kind: 'phone', occurredAt: '2026-03-01T10:00:00Z' }],
    ['PATCH', `/v1/customers/${id}`, { name: 'Somebody' }],
    ['PATCH', `/v1/customers/${real.customerId}`, { referredBy: id }],
    ['DELETE', `/v1/customers/${id}`, undefined],
  ] as const) {
    const answer = await request(method, path, { ...(body && { body }), headers: { ...change, ...newKey() } });
    t.ok([404, 422].includes(answer.status), `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }
  const listed = (await request('GET', '/v1/customers?limit=100')).body.data.map((one: { id: string }) => one.id);
  t.notOk(listed.includes(id));
  const nodes = (await graphql('{ customers(first: 100) { totalCount nodes { id orders { nodes { id } } } } }')).body
    .data;
  t.notOk(JSON.stringify(nodes).includes(order.id), 'nor its order among those of customers');
  const due = await request('POST', '/v1/retention-rules', {
    body: { kind: 'customer', name: 'Old', olderThanDays: 1 },
    headers: newKey(),
  });
  if (due.status < 300) {
    const run = await request('POST', `/v1/retention-rules/${due.body.id}/run?dryRun=true`, {
      headers: { ...change, ...newKey() },
    });
    t.notOk(JSON.stringify(run.body).includes(id));
  }
});

t.test('scoped tokens have no orders of nobody', async (t) => {
  const externalId = fresh('self');
  const { body: own } = await request('POST', '/v1/customers', {
    body: { references: [{ source: 'shop', externalId }] },
  });
  const { body: partner } = await request('POST', '/v1/partners', {
    body: { name: 'Riverside', rules: {} },
    headers: newKey(),
  });
  const { body: order } = await pushOrder(api, { customer: null });
  for (const who of [{ customer: own.id }, { partner: partner.id }]) {
    const token = { ...who, scope: 'orders:read orders:write customers:pii' };
    const made = await request('POST', '/v1/orders', {
      ...token,
      body: orderOf({ customer: null, paymentStatus: 'pending' }),
      headers: newKey(),
    });
    t.match(made, { status: 403, body: { code: 'not_shared' } }, Object.keys(who)[0] ?? '');
    t.equal((await request('GET', `/v1/orders/${order.id}`, token)).status, 404);
    t.same((await request('GET', '/v1/orders', token)).body.data, []);
  }
});

t.test('no row that others share is locked by it', async (t) => {
  const { body: somebody } = await pushOrder(api, { customer: { externalId: fresh('busy') } });
  await database.query('begin');
  try {
    await database.query('select from customers where id < $1 for update', [nobodyOf(somebody.id)]);
    t.equal((await pushOrder(api, { customer: null })).status, 201, 'while every customer is locked');
    const { body: order } = await pushOrder(api, { customer: null });
    t.equal((await pushRefund(api, order.id)).status, 201);
    t.equal((await patch(order.id, { channel: 'till' })).status, 200);
  } finally {
    await database.query('rollback');
  }
  const { body: order } = await pushOrder(api, { customer: null });
  const answers = await Promise.all([
    patch(order.id, { customer: { externalId: fresh('race') } }),
    patch(order.id, { customer: { externalId: fresh('race') } }),
    patch(order.id, { customer: null }),
    pushRefund(api, order.id, { amount: 1 }),
  ]);
  for (const { status } of answers) t.ok([200, 201].includes(status), String(status));
  t.equal((await request('GET', `/v1/orders/${order.id}`)).body.refunded, 1);
  t.equal((await verify()).code, 0);
});

t.test('it counts in order averages and revenue, and is never a buyer', async (t) => {
  const currency = 'SEK'; // of this test alone
  const push = async (customer: object | null, total: number, placedAt: string, more = {}) =>
    (await pushOrder(api, { customer, total, placedAt, currency, exchangeRate: '1', ...more })).body;
  const [ada, bob] = [{ externalId: fresh('ada') }, { externalId: fresh('bob') }];
  await push(ada, 100, '2026-02-03T10:00:00Z');
  await push(ada, 300, '2026-03-03T10:00:00Z');
  await push(bob, 200, '2026-02-04T10:00:00Z');
  const first = await push(null, 1000, '2026-01-05T10:00:00Z');
  await push(null, 5000, '2026-02-05T10:00:00Z');
  await push(null, 7000, '2026-03-05T10:00:00Z', { paymentStatus: 'voided' });
  await push(null, 9000, '2026-03-06T10:00:00Z', { test: true });
  const refunded = await push(null, 400, '2026-03-07T10:00:00Z');
  await pushRefund(api, refunded.id, { amount: 150 });

  const ask = async (metric: string, more = '') =>
    (await request('GET', `/v1/metrics/${metric}?currency=${currency}${more}`)).body;
  // From the rollups (months of the reporting zone) and from the facts (cut by a day).
  for (const range of ['&from=2026-01-01&to=2026-06-01', '&from=2026-01-02&to=2026-05-31', '']) {
    const aov = await ask('average-order-value', range);
    t.match(
      aov,
      {
        value: (100 + 300 + 200 + 1000 + 5000 + 7000 + 250) / 7,
        values: { orders: 7, customers: 2, returning: 200, oneTime: 200 },
        groups: [
          { key: 'returning', values: { orders: 2, customers: 1 } },
          { key: 'one_time', values: { orders: 1, customers: 1 } },
        ],
        excluded: [{ reason: 'test', count: 1 }],
      },
      `AOV ${range}`,
    );
    const revenue = await ask('revenue-per-customer', range);
    t.match(revenue, { numerator: 13_850, denominator: 2, values: { buyers: 2 }, excluded: [{ reason: 'test' }] });
    t.match(revenue.warnings.map(({ code }: { code: string }) => code).sort(), [
      'anonymous_revenue',
      'failed_payments_counted',
    ]);
    t.match(await ask('lifetime-value', range), { numerator: 600, denominator: 2, values: { buyers: 2 } });
    for (const [metric, more] of [
      ['repeat-purchase-rate', ''],
      ['purchase-gaps', ''],
      ['lifetime-value', ''],
      ['lifetime-value', '&variant=four_factor&margin=0.5'],
      ['churn-rate', '&variant=silence'],
      ['churn-rate', '&variant=gap'],
    ]) {
      const answer = await ask(`${metric}`, `${range || '&from=2026-01-01&to=2026-06-01'}${more}`);
      t.match(
        answer.excluded,
        [
          { reason: 'test', count: 1 },
          { reason: 'anonymous', count: 4 },
        ],
        `${metric}${more}${range}`,
      );
      t.notMatch(JSON.stringify(answer.warnings), /failed_payments_counted/);
    }
  }
  t.match(await ask('repeat-purchase-rate'), { numerator: 1, denominator: 2 });
  t.match(await ask('churn-rate', '&variant=silence&silenceDays=10'), { denominator: 2 });
  t.match(await ask('purchase-gaps'), {
    value: 28,
    values: { gaps: 1, openGaps: 2 },
    period: { from: '2026-02-03T10:00:00.000Z' },
  });
  t.match((await ask('average-order-value')).period, { from: '2026-01-05T10:00:00.000Z' });
  for (const days of ['01', '02']) {
    const retention = await ask(
      'retention-rate',
      `&previousFrom=2026-02-${days}&previousTo=2026-03-${days}&from=2026-03-${days}&to=2026-04-${days}`,
    );
    t.match(retention, {
      numerator: 1,
      denominator: 2,
      excluded: [
        { reason: 'test', count: 1 },
        { reason: 'anonymous', count: 3 },
      ],
    });
  }
  const series = await ask('retention-rate', '&from=2026-02-01&to=2026-04-01&interval=month');
  t.match(
    series.series.map(({ denominator }: { denominator: number }) => denominator),
    [0, 2],
  );
  t.match(await ask('lifetime-value', '&variant=four_factor&margin=0.5&from=2026-01-01&to=2026-06-01'), {
    values: { averageOrderValue: 200 },
  });

  const named = { externalId: fresh('eve') };
  await patch(first.id, { customer: named });
  t.match(await ask('lifetime-value'), { numerator: 1600, denominator: 3 }, 'once somebody is named, it is theirs');
  t.match((await ask('average-order-value')).values, { orders: 7, customers: 3 });
  t.equal((await verify()).code, 0);
});
