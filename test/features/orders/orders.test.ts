import pg from 'pg';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf, pushOrder, pushRefund } from '../../support/shop.ts';

const api = await testApp(t);
const { request } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const at = (externalId: string, source = 'shop') => `/v1/orders/external/${source}/${encodeURIComponent(externalId)}`;
const put = (
  externalId: string,
  { source: _, externalId: __, ...document }: Record<string, unknown>,
  source?: string,
) => request('PUT', at(externalId, source), { body: document });
const patch = (id: string, body: object, ifMatch = '*') =>
  request('PATCH', `/v1/orders/${id}`, { body, headers: { 'If-Match': ifMatch } });
const remove = (path: string) => request('DELETE', path, { headers: { 'If-Match': '*' } });
const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);
const customerAt = (externalId: string, source = 'shop') =>
  request('GET', `/v1/customers/external/${source}/${externalId}`);

/** The stored derived state of a customer in a currency, zeros when there is none. */
async function stats(customerId: string, currency = 'EUR') {
  const { rows } = await database.query(
    `select orders, revenue::int, purchase_days, returns, (select sum(m.orders)::int from customer_month m where m.customer_id = s.customer_id and m.currency = s.currency) as monthly
     from customer_stats s where customer_id = $1 and currency = $2`,
    [customerId, currency],
  );
  return rows[0] ?? { orders: 0, revenue: 0, purchase_days: 0, returns: 0, monthly: null };
}

t.test('an order is created with everything it can have, and read back as it was answered', async (t) => {
  const customer = { externalId: fresh('c'), email: `${fresh('all')}@example.org`, name: 'Ada' };
  const items = [
    { sku: 'A', name: 'Teapot', category: 'kitchen', quantity: 2, total: 2000, unitPrice: '10.00', cost: 1200 },
    { sku: 'B', quantity: 0.375, total: 21, unitPrice: '0.055' },
    { sku: 'DISCOUNT', quantity: -1, total: -100 },
    { sku: 'GIFT', quantity: 1, total: 0, cost: 0 },
  ];
  const document = orderOf({
    customer,
    references: [{ source: 'erp', externalId: fresh('erp') }],
    sourceVersion: '2026-03-01T10:00:00.123456789Z',
    placedAt: '2026-03-01T12:00:00.123456789+02:00',
    total: 2655,
    items,
    shipping: 495,
    fees: 50,
    tax: 300,
    discount: 110,
    rounding: -1,
    paymentStatus: 'pending',
    fulfillmentStatus: 'partially_fulfilled',
    channel: 'web',
  });
  const created = await request('POST', '/v1/orders', { body: document, headers: newKey() });
  t.equal(created.status, 201, JSON.stringify(created.body));
  t.match(created.body, {
    source: 'shop',
    placedAt: '2026-03-01T10:00:00.123456Z',
    items: [
      items[0],
      { sku: 'B', name: null, category: null, quantity: 0.375, total: 21, unitPrice: '0.055', cost: null },
      { quantity: -1, total: -100 },
      { total: 0, cost: 0 },
    ],
    taxIncluded: false,
    test: false,
    cancelledAt: null,
    exchangeRate: '1',
    status: 'placed',
    refunded: 0,
    revenue: 2355,
    baseRevenue: 2355,
    references: [
      { source: 'shop', sourceVersion: '2026-03-01T10:00:00.123456789Z' },
      { source: 'erp', sourceVersion: null },
    ],
    version: 1,
    created: true,
    applied: true,
    warnings: [],
  });
  t.equal(created.headers.get('location'), `/v1/orders/${created.body.id}`);
  t.equal(created.headers.get('etag'), '"1"');
  const { created: _, applied: __, warnings: ___, ...order } = created.body;
  t.same((await request('GET', `/v1/orders/${order.id}`)).body, order);
  t.same((await request('GET', at(document.externalId))).body, order);
  t.same((await request('GET', at(order.references[1].externalId, 'erp'))).body, order, 'under an alias too');
  t.match((await customerAt(customer.externalId)).body, { id: order.customerId, name: 'Ada' });
});

t.test('the total is the sum of its parts, or the order is refused', async (t) => {
  const line = (total: number, more = {}) => ({ sku: 'A', quantity: 1, total, ...more });
  for (const [what, parts, total] of [
    ['lines', { items: [line(10), line(20)] }, 30],
    ['tax on top', { items: [line(100)], tax: 19 }, 119],
    ['tax included', { items: [line(119)], tax: 19, taxIncluded: true }, 119],
    ['everything', { items: [line(100)], shipping: 5, fees: 2, tax: 10, discount: 7, rounding: 3 }, 113],
    ['negative rounding', { items: [line(100)], rounding: -3 }, 97],
    ['negative line', { items: [line(100), line(-30)] }, 70],
    ['nothing at all', { items: [] }, 0],
    ['free of charge', { items: [line(100)], discount: 100 }, 0],
    ['only shipping', { items: [], shipping: 490 }, 490],
    ['the largest', { items: [line(1_000_000_000_000)] }, 1_000_000_000_000],
    ['large lines that cancel out', { items: [line(1_000_000_000_000), line(-1_000_000_000_000), line(1)] }, 1],
  ] as const) {
    const accepted = await pushOrder(api, { ...parts, total });
    t.match(accepted, { status: 201, body: { total } }, what);
    t.equal(accepted.body.revenue, total - ('tax' in parts ? parts.tax : 0), `revenue of ${what}`);
    const off = await pushOrder(api, { ...parts, total: total + (total < 1_000_000_000_000 ? 1 : -1) });
    t.same([off.status, ...codes(off.body)], [422, '/total total_mismatch'], `one off: ${what}`);
  }
  t.match(await pushOrder(api, { items: [line(5)], discount: 10, total: -5 }), { status: 422 }, 'a negative total');
  for (const [members, expected] of [
    [{ total: 10.5, items: [] }, '/total invalid_type'],
    [{ total: '10' }, '/total invalid_type'],
    [{ total: 1_000_000_000_001, items: [] }, '/total too_big'],
    [{ total: undefined, items: [line(1)] }, '/total required'],
    [{ items: [line(1000, { quantity: '1' })] }, '/items/0/quantity invalid_type'],
    [{ items: [line(1000, { unitPrice: 0.055 })] }, '/items/0/unitPrice invalid_type'],
    [{ items: [line(1000, { unitPrice: '1e3' })] }, '/items/0/unitPrice invalid_format'],
    [{ items: [line(1000, { price: 1 })] }, '/items/0/price unknown_member'],
    [{ currency: 'XXQ' }, '/currency unknown_currency'],
    [{ paymentStatus: 'maybe' }, '/paymentStatus invalid_value'],
    [{ paymentStatus: undefined }, '/paymentStatus required'],
    [{ shipping: -1 }, '/shipping too_small'],
    [{ status: 'paid' }, '/status unknown_member'],
  ] as const) {
    const refused = await pushOrder(api, members);
    t.same([refused.status, ...codes(refused.body)], [422, expected], JSON.stringify(members));
  }
});

t.test('an order is placed in the past, give or take ten minutes', async (t) => {
  const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
  t.equal((await pushOrder(api, { placedAt: inMinutes(9) })).status, 201);
  t.same(codes((await pushOrder(api, { placedAt: inMinutes(11) })).body), ['/placedAt in_the_future']);
  t.equal((await pushOrder(api, { placedAt: '1000-01-01T00:00:00Z' })).status, 201);
  for (const bad of ['2026-02-30T00:00:00Z', '2026-03-01', '2026-03-01T10:00:00', '2026-03-01T24:00:00Z', 5]) {
    t.match(await pushOrder(api, { placedAt: bad }), { status: 422, body: { errors: [{ pointer: '/placedAt' }] } });
  }
});

t.test('its customer is found by reference, then e-mail, then phone, and created if unknown', async (t) => {
  const tag = fresh('match');
  const email = `${tag}@example.org`;
  const phone = '+442079460100';
  const push = async (customer: object, more = {}) => (await pushOrder(api, { customer, ...more })).body;

  const first = await push({ externalId: tag, email: email.toUpperCase(), name: 'Ada' });
  t.equal((await push({ externalId: tag })).customerId, first.customerId, 'by reference');
  t.equal((await push({ email })).customerId, first.customerId, 'by e-mail');
  const added = await push({ email, phone: '+44 20 7946 0100' });
  t.equal(added.customerId, first.customerId);
  t.equal((await push({ phone })).customerId, first.customerId, 'by the phone it brought');
  const elsewhere = await push({ source: 'web', externalId: tag, email });
  t.equal(elsewhere.customerId, first.customerId, 'another source that names the e-mail');
  t.equal((await push({ externalId: tag }, { source: 'web' })).customerId, first.customerId, 'and so its name');
  const { body: customer } = await customerAt(tag);
  t.match(customer, { name: 'Ada', email, phone, references: [{ source: 'shop' }, { source: 'web' }] });

  const second = await push({ externalId: fresh(tag), phone: '+442079460101' });
  t.not(second.customerId, first.customerId);
  const torn = await push({ externalId: tag, email, phone: '+442079460101' });
  t.equal(torn.customerId, first.customerId, 'the reference wins');
  t.match(torn.warnings, [{ code: 'customer_conflict', message: new RegExp(second.customerId) }]);
  const byMail = await push({ email, phone: '+442079460101' });
  t.equal(byMail.customerId, first.customerId, 'the e-mail comes before the phone');
  t.equal(byMail.warnings.length, 1);
  t.same(
    (await customerAt(tag)).body.identities,
    [...customer.identities, { kind: 'phone', value: '+442079460101', primary: false, shared: true }],
    'nothing is moved: the phone of another customer is shared',
  );

  const badPhone = await push({ externalId: tag, phone: '0049' });
  t.match(badPhone, { customerId: first.customerId, warnings: [{ code: 'unusable_phone' }] });
  for (const [members, code, expected] of [
    [{ customer: undefined }, 'customer_required', '/customer customer_required'],
    [{ customer: {} }, 'customer_required', '/customer customer_required'],
    [{ customer: { name: 'Ada' } }, 'customer_required', '/customer customer_required'],
    [{ customer: { source: 'x' } }, 'invalid_input', '/customer/externalId required'],
    [{ customer: { email }, customerId: first.customerId }, 'invalid_input', '/customerId customer_twice'],
    [{ customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' }, 'invalid_input', '/customerId not_found'],
  ] as const) {
    const refused = await pushOrder(api, members);
    t.match(refused, { status: 422, body: { code } });
    t.same(codes(refused.body), [expected]);
  }
  t.equal((await pushOrder(api, { customerId: second.customerId })).body.customerId, second.customerId);
  const gone = fresh('gone');
  await request('PUT', `/v1/customers/external/shop/${gone}`, { body: { name: 'x' } });
  await request('DELETE', `/v1/customers/external/shop/${gone}`, { headers: { 'If-Match': '*' } });
  t.match(await pushOrder(api, { customer: { externalId: gone } }), { status: 410, body: { code: 'deleted' } });
});

t.test('a refused or stale order makes no customer and adds no name to one', async (t) => {
  const [known, externalId] = [fresh('known'), fresh('order')];
  const claim = { externalId: known };
  await put(externalId, orderOf({ customer: claim, sourceVersion: 5 }));
  const spare = `${known}@example.org`;
  t.match((await put(externalId, orderOf({ customer: { ...claim, email: spare }, sourceVersion: 5 }))).body, {
    applied: false,
  });
  t.match((await put(externalId, orderOf({ customer: { externalId: fresh('never') }, sourceVersion: 4 }))).body, {
    applied: false,
  });
  const { body } = await request('POST', '/v1/orders/batch', {
    body: {
      orders: [
        orderOf({ customer: { externalId: `${known}-b`, email: spare, name: 'Refused' }, total: 5, items: [] }),
        orderOf({ customer: { ...claim, email: spare }, total: 5, items: [] }),
        orderOf({ customer: { externalId: `${known}-c`, email: spare, name: 'Accepted' } }),
      ],
    },
  });
  t.match(body.results, [{ status: 'refused' }, { status: 'refused' }, { status: 'created' }]);
  t.match((await customerAt(known)).body, { email: null, version: 1 });
  t.equal((await customerAt(`${known}-b`)).status, 404);
  t.match((await customerAt(`${known}-c`)).body, { email: spare, name: 'Accepted' });
});

t.test(
  'the first order of an unknown customer, sent twice or sixteen times at once, ends with one customer',
  async (t) => {
    for (const [round, rivals] of [2, 2, 2, 16, 16].entries()) {
      const tag = fresh('new');
      const customers = await Promise.all(
        Array.from({ length: rivals }, async (_, i) => {
          const claim =
            round % 2
              ? { source: `s${i}`, externalId: tag, email: `${tag}@example.org` }
              : { externalId: tag, email: `${tag}@example.org` };
          const { status, body } = await pushOrder(api, { customer: claim });
          return status === 201 ? body.customerId : `${status} ${body.code}`;
        }),
      );
      t.equal(new Set(customers).size, 1, customers.join());
      const found = await request('GET', `/v1/customers?email=${tag}@example.org`);
      t.equal(found.body.data.length, 1);
      t.match(await stats(customers[0]), { orders: rivals, revenue: rivals * 1000, purchase_days: 1, monthly: rivals });
    }
    const order = orderOf({ customer: { externalId: fresh('new') } });
    const same = await Promise.all(
      Array.from({ length: 16 }, () => request('POST', '/v1/orders', { body: order, headers: newKey() })),
    );
    t.equal(same.filter(({ status }) => status === 201).length, 1, 'one order under one reference');
    t.equal(same.filter(({ body }) => body.code === 'already_exists').length, 15);
    t.equal(new Set(same.map(({ body }) => body.id)).size, 1, 'and all are told its id');
  },
);

t.test('a customer that is deleted while an order comes in keeps the order, or the order is refused', async (t) => {
  const outcomes = new Set<string>();
  for (let round = 0; round < 24; round += 1) {
    const externalId = fresh('leaving');
    const email = `${externalId}@example.org`;
    const body = { name: 'x', identities: [{ kind: 'email', value: email }] };
    const { body: customer } = await request('PUT', `/v1/customers/external/shop/${externalId}`, { body });
    const claims = [{ customer: { externalId } }, { customer: { email } }, { customerId: customer.id }];
    const claim = claims[round % 3] ?? {};
    const [removed, pushed] = await Promise.all([
      remove(`/v1/customers/${customer.id}`),
      pushOrder(api, { ...claim, ...(round % 2 ? { currency: 'USD' } : {}) }),
    ]);
    const outcome = `${removed.status} ${pushed.status}`;
    outcomes.add(outcome);
    // By e-mail alone the order may make a new customer where the old one is gone.
    t.ok(['409 201', '204 410', '204 422', '204 201'].includes(outcome), outcome);
    if (pushed.status !== 201) continue;
    t.equal(pushed.body.customerId === customer.id, removed.status === 409);
    t.equal((await request('GET', `/v1/customers/${pushed.body.customerId}`)).status, 200);
  }
  t.comment([...outcomes].join(', '));
});

t.test('POST refuses a known reference, PUT replaces, and refunds stay', async (t) => {
  const { body: order } = await pushOrder(api, {
    shipping: 100,
    total: 1100,
    items: [{ sku: 'A', quantity: 1, total: 1000 }],
    channel: 'web',
    fulfillmentStatus: 'fulfilled',
  });
  t.match(await pushOrder(api, { externalId: order.externalId }), {
    status: 409,
    body: { code: 'already_exists', id: order.id },
  });
  await pushRefund(api, order.id, { amount: 300 });
  const replaced = await put(order.externalId, orderOf({ total: 900 }));
  t.equal(replaced.status, 200);
  t.match(replaced.body, {
    id: order.id,
    total: 900,
    shipping: 0,
    channel: null,
    fulfillmentStatus: 'unfulfilled',
    refunded: 300,
    revenue: 600,
    status: 'partially_refunded',
    created: false,
    version: 3,
  });
  t.match(
    (await put(order.externalId, orderOf({ total: 299 }))).body,
    { status: 'refunded', revenue: 0, warnings: [{ code: 'refunds_exceed_total' }] },
    'a correction below the refunds is kept',
  );
  t.match((await put(order.externalId, orderOf({ total: 300 }))).body, { status: 'refunded' });

  const externalId = fresh('versions');
  t.equal((await put(externalId, orderOf({ sourceVersion: 5 }))).status, 201);
  t.match((await put(externalId, orderOf({ sourceVersion: 5, total: 1 }))).body, {
    applied: false,
    total: 1000,
    version: 1,
  });
  t.match((await put(externalId, orderOf({ sourceVersion: 6, total: 1 }))).body, { applied: true, total: 1 });
  t.same(codes((await put(externalId, orderOf({ sourceVersion: '2026-01-01T00:00:00Z' }))).body), [
    '/sourceVersion source_version_kind',
  ]);
});

t.test(
  'of two messages that race the newer one wins, on new orders and known ones; neither lifts a tombstone',
  async (t) => {
    for (let round = 0; round < 24; round += 1) {
      const externalId = fresh('race');
      const customer = { externalId: fresh('racer') };
      const write = (version: number) => put(externalId, orderOf({ customer, sourceVersion: version, total: version }));
      if (round % 3 > 0) await write(1);
      if (round % 3 > 1) await remove(at(externalId));
      const answers = await Promise.all(round % 2 ? [write(5), write(6)] : [write(6), write(5)]);
      const { body } = await request('GET', at(externalId));
      if (round % 3 > 1) {
        t.strictSame([body.code, ...answers.map(({ status }) => status)], ['not_found', 410, 410]);
        continue;
      }
      t.equal(body.total, 6, `round ${round}`);
      t.notOk(answers.some(({ status }) => status > 201));
      t.match(await stats(body.customerId), { orders: 1, revenue: 6 });
    }
  },
);

t.test('an order moves to another customer with its items and refunds', async (t) => {
  const [from, to, third] = [fresh('from'), fresh('to'), fresh('third')];
  const { body: order } = await pushOrder(api, {
    customer: { externalId: from },
    items: [{ sku: 'A', quantity: 1.5, total: 1000, cost: 5 }],
    references: [{ source: 'erp', externalId: from }],
  });
  const { body: refund } = await pushRefund(api, order.id, {
    amount: 250,
    reason: 'late',
    items: [{ sku: 'A', quantity: 0.5, total: 250 }],
  });
  await pushOrder(api, { customer: { externalId: from } });

  const moved = await patch(order.id, { customer: { externalId: to, email: `${to}@example.org` } });
  t.match(moved, {
    status: 200,
    body: { id: order.id, items: order.items, refunded: 250, status: 'partially_refunded' },
  });
  t.match(
    (await customerAt(to)).body,
    { id: moved.body.customerId, references: [{ source: 'shop', externalId: to }] },
    'named in the source of the order',
  );
  t.match((await request('GET', `/v1/refunds/${refund.id}`)).body, {
    customerId: moved.body.customerId,
    reason: 'late',
    items: [{ sku: 'A', quantity: 0.5, total: 250 }],
  });
  t.equal((await request('GET', `/v1/orders/${order.id}/refunds`)).body.data.length, 1);
  t.match(await stats(order.customerId), { orders: 1, revenue: 1000, monthly: 1 });
  t.match(await stats(moved.body.customerId), { orders: 1, revenue: 750, monthly: 1 });

  const again = await put(order.externalId, { ...orderOf({ customer: { externalId: third } }) });
  t.match(again.body, { id: order.id, refunded: 250, references: [{ source: 'shop' }, { source: 'erp' }] });
  t.same(await stats(moved.body.customerId), { orders: 0, revenue: 0, purchase_days: 0, returns: 0, monthly: null });
  t.match(await stats(again.body.customerId), { orders: 1, revenue: 750 });
  t.equal(
    (await request('DELETE', `/v1/customers/${moved.body.customerId}`, { headers: { 'If-Match': '*' } })).status,
    204,
  );
  const back = await patch(order.id, { customerId: order.customerId });
  t.equal(back.body.customerId, order.customerId);
  t.match(await stats(order.customerId), { orders: 2, revenue: 1750, purchase_days: 1 });
  t.equal((await pushRefund(api, order.id, { amount: 750 })).status, 201);
  t.match(await stats(order.customerId), { orders: 1, revenue: 1000 });
});

t.test('status follows from payment, fulfilment, cancellation and refunds', async (t) => {
  const status = async (id: string) => (await request('GET', `/v1/orders/${id}`)).body.status;
  const { body: order } = await pushOrder(api, { customer: { externalId: fresh('status') }, paymentStatus: 'pending' });
  t.equal(order.status, 'placed');
  t.equal((await patch(order.id, { paymentStatus: 'paid' })).body.status, 'paid');
  t.equal((await patch(order.id, { fulfillmentStatus: 'partially_fulfilled' })).body.status, 'paid');
  t.equal((await patch(order.id, { fulfillmentStatus: 'fulfilled' })).body.status, 'fulfilled');
  t.equal((await pushRefund(api, order.id, { amount: 1 })).status, 201);
  t.equal(await status(order.id), 'partially_refunded');
  t.match(await stats(order.customerId), { orders: 1, revenue: 999 });
  await pushRefund(api, order.id, { amount: 999 });
  t.equal(await status(order.id), 'refunded');
  t.match(await stats(order.customerId), { orders: 0 });
  t.equal(
    (await patch(order.id, { cancelledAt: '2026-03-02T00:00:00Z' })).body.status,
    'cancelled',
    'cancelled says more',
  );
  t.equal((await patch(order.id, { cancelledAt: null })).body.status, 'refunded');

  const { body: cancelled } = await pushOrder(api, {
    customerId: order.customerId,
    cancelledAt: '2026-03-02T00:00:00Z',
  });
  t.equal(cancelled.status, 'cancelled');
  const { body: test } = await pushOrder(api, { customerId: order.customerId, test: true });
  t.match(await stats(order.customerId), { orders: 0, revenue: 0 }, 'neither counts');
  await patch(cancelled.id, { cancelledAt: null });
  await patch(test.id, { test: false });
  t.match(await stats(order.customerId), { orders: 2, revenue: 2000, purchase_days: 1 });
});

t.test('refunds are partial or full, never above the total, and can be taken back', async (t) => {
  const { body: order } = await pushOrder(api, { customer: { externalId: fresh('refunds') } });
  const refund = await pushRefund(api, order.id, {
    amount: 400,
    reason: 'broken',
    items: [{ sku: 'A', quantity: 0.5 }],
  });
  t.equal(refund.status, 201);
  t.match(refund.body, {
    orderId: order.id,
    customerId: order.customerId,
    amount: 400,
    reason: 'broken',
    items: [{ sku: 'A', quantity: 0.5, total: null }],
    version: 1,
  });
  t.equal(refund.headers.get('location'), `/v1/refunds/${refund.body.id}`);
  const { created, applied, warnings, ...record } = refund.body;
  t.same([created, applied, warnings], [true, true, []]);
  t.same((await request('GET', `/v1/refunds/${refund.body.id}`)).body, record);
  t.equal(
    (await request('GET', `/v1/refunds/${refund.body.id}`, { scope: 'orders:read' })).body.reason,
    null,
    'free text is personal',
  );
  const exceeding = await pushRefund(api, order.id, { amount: 601 });
  t.same([exceeding.status, ...codes(exceeding.body)], [422, '/amount refund_exceeds_total']);
  t.same(codes((await pushRefund(api, order.id, { refundedAt: '2999-01-01T00:00:00Z' })).body), [
    '/refundedAt in_the_future',
  ]);
  t.equal((await pushRefund(api, order.id, { amount: -1 })).status, 422);
  t.equal((await pushRefund(api, order.id.replace(/^./, 'f'))).status, 404);
  const second = await pushRefund(api, order.id, { amount: 600, refundedAt: '2026-03-06T00:00:00Z' });
  t.match((await request('GET', `/v1/orders/${order.id}`)).body, {
    refunded: 1000,
    revenue: 0,
    status: 'refunded',
    version: 3,
  });
  const list = await request('GET', `/v1/orders/${order.id}/refunds?limit=1&count=true`);
  t.match(list.body, { data: [{ id: second.body.id }], page: { total: 2, hasMore: true } });
  const next = await request('GET', `/v1/orders/${order.id}/refunds?limit=1&after=${list.body.page.next}`);
  t.match(next.body, { data: [{ id: refund.body.id }], page: { hasMore: false } });

  t.equal((await request('DELETE', `/v1/refunds/${second.body.id}`)).status, 428);
  t.equal((await request('DELETE', `/v1/refunds/${second.body.id}`, { headers: { 'If-Match': '"2"' } })).status, 412);
  t.equal((await request('DELETE', `/v1/refunds/${second.body.id}`, { headers: { 'If-Match': '"1"' } })).status, 204);
  t.equal((await request('GET', `/v1/refunds/${second.body.id}`)).status, 404);
  t.match((await request('GET', `/v1/orders/${order.id}`)).body, { refunded: 400, status: 'partially_refunded' });
  t.match(await stats(order.customerId), { orders: 1, revenue: 600 });

  const { body: free } = await pushOrder(api, { customerId: order.customerId, total: 0, items: [] });
  t.equal((await pushRefund(api, free.id, { amount: 1 })).status, 422);
  t.match(await stats(order.customerId), { orders: 2, revenue: 600 }, 'an order of zero counts');
  t.equal((await pushRefund(api, free.id, { amount: 0 })).status, 201);
  t.equal((await request('GET', `/v1/orders/${free.id}`)).body.status, 'paid', 'a refund of nothing changes nothing');
  t.match(await stats(order.customerId), { orders: 2, revenue: 600 });

  const rivals = await Promise.all(Array.from({ length: 8 }, () => pushRefund(api, order.id, { amount: 200 })));
  t.same(
    rivals.map(({ status }) => status).sort(),
    [201, 201, 201, 422, 422, 422, 422, 422],
    'rivals share what is left',
  );
});

t.test('what is addressed by an external reference has its sub-resources there', async (t) => {
  const externalId = fresh('a/b');
  const { body: order } = await pushOrder(api, { externalId, customer: { externalId: fresh('sub') } });
  const refund = await request('POST', `${at(externalId)}/refunds`, {
    body: { amount: 10, refundedAt: '2026-03-05T00:00:00Z' },
    headers: newKey(),
  });
  t.match(refund, { status: 201, body: { orderId: order.id } });
  t.equal((await request('GET', `${at(externalId)}/refunds`)).body.data[0].id, refund.body.id);
  t.equal((await request('GET', `${at('nobody')}/refunds`)).status, 404);
  const { body: customer } = await request('GET', `/v1/customers/${order.customerId}`);
  const path = `/v1/customers/external/shop/${customer.references[0].externalId}/orders`;
  t.equal((await request('GET', path)).body.data[0].id, order.id);
  t.equal(
    (await request('PATCH', at(externalId), { body: { channel: 'x' }, headers: { 'If-Match': '*' } })).body.channel,
    'x',
  );
  t.match(await request('GET', `${at(externalId)}?id=${order.id}`), {
    status: 422,
    body: { code: 'unsupported_parameter' },
  });
});

t.test('an order has aliases, and one alias names one order', async (t) => {
  const [first, alias] = [fresh('order'), fresh('alias')];
  const { body: order } = await pushOrder(api, {
    externalId: first,
    references: [{ source: 'erp', externalId: alias }],
  });
  const taken = await pushOrder(api, { references: [{ source: 'erp', externalId: alias }] });
  t.match(taken, { status: 409, body: { code: 'already_exists', id: order.id } });
  t.same(codes(taken.body), ['/references/0 already_exists']);
  t.match(await pushOrder(api, { source: 'erp', externalId: alias }), { status: 409, body: { id: order.id } });
  const replaced = await put(
    alias,
    orderOf({ total: 7, sourceVersion: 1, references: [{ source: 'wms', externalId: alias }] }),
    'erp',
  );
  t.match(replaced.body, {
    id: order.id,
    total: 7,
    source: 'shop',
    externalId: first,
    references: [{ source: 'shop' }, { source: 'erp', sourceVersion: 1 }, { source: 'wms' }],
  });
  t.equal((await request('GET', at(alias, 'wms'))).body.id, order.id);
  t.match(
    (await put(first, orderOf({ total: 8, sourceVersion: 1 }))).body,
    { applied: true, total: 8 },
    'each source counts for itself',
  );
});

t.test('a deleted order stays deleted, with its items, refunds and every name', async (t) => {
  const [first, alias] = [fresh('order'), fresh('alias')];
  const document = orderOf({
    externalId: first,
    customer: { externalId: fresh('deleted') },
    references: [{ source: 'erp', externalId: alias }],
    sourceVersion: 3,
  });
  const { body: order } = await put(first, document);
  await pushOrder(api, { customerId: order.customerId, total: 5 });
  const { body: refund } = await pushRefund(api, order.id);
  t.equal((await request('DELETE', `/v1/orders/${order.id}`)).status, 428);
  t.equal((await request('DELETE', `/v1/orders/${order.id}`, { headers: { 'If-Match': '"1"' } })).status, 412);
  t.match(await request('DELETE', at(alias, 'erp'), { headers: { 'If-Match': '"2"' } }), { status: 204, body: '' });
  for (const path of [
    `/v1/orders/${order.id}`,
    at(first),
    `/v1/refunds/${refund.id}`,
    `/v1/orders/${order.id}/refunds`,
  ]) {
    t.equal((await request('GET', path)).status, 404, path);
  }
  t.match(await stats(order.customerId), { orders: 1, revenue: 5, monthly: 1 });
  for (const late of [
    await put(first, { ...document, sourceVersion: 3 }),
    await put(first, { ...document, sourceVersion: 4 }),
    await put(first, { ...document, sourceVersion: undefined }),
    await put(alias, { ...document, references: [] }, 'erp'),
    await request('POST', '/v1/orders', { body: document, headers: newKey() }),
  ]) {
    t.match(late, { status: 410, body: { code: 'deleted' } });
  }
  const restored = { ...document, references: undefined, source: undefined, externalId: undefined, sourceVersion: 4 };
  const revived = await request('PUT', `${at(first)}?restore=true`, { body: restored });
  t.match(revived, { status: 201, body: { created: true, version: 1, refunded: 0 } });
  t.not(revived.body.id, order.id);
  t.match(await stats(order.customerId), { orders: 2, revenue: 1005 });
});

t.test('lists are filtered and sorted, and those of a customer hold only theirs', async (t) => {
  const customer = { externalId: fresh('lists') };
  const push = async (externalId: string, members: object) =>
    (await pushOrder(api, { externalId: `${customer.externalId}-${externalId}`, customer, ...members })).body;
  const a = await push('a', { placedAt: '2026-01-01T00:00:00.000001Z', channel: 'web' });
  await push('b', { placedAt: '2026-01-01T00:00:00.000002Z', currency: 'GBP' });
  await push('c', { placedAt: '2026-01-01T00:00:00.000002Z', paymentStatus: 'pending' });
  await push('d', { placedAt: '2026-01-02T00:00:00Z', test: true });
  await push('e', { placedAt: '2026-01-03T00:00:00Z', cancelledAt: '2026-01-04T00:00:00Z' });
  const path = `/v1/customers/${a.customerId}/orders`;
  const names = async (query: string, base = path) => {
    const { status, body } = await request('GET', `${base}?${query}`);
    return status === 200
      ? body.data.map((one: { externalId: string }) => one.externalId.slice(-1)).join('')
      : body.code;
  };
  t.equal(await names(''), 'edcba');
  t.equal(await names('sort=placedAt'), 'abcde');
  t.equal(await names(`customerId=${a.customerId}`, '/v1/orders'), 'edcba');
  t.equal(await names('currency=GBP'), 'b');
  t.equal(await names('status=placed'), 'c');
  t.equal(await names('status=cancelled'), 'e');
  t.equal(await names('paymentStatus=pending'), 'c');
  t.equal(await names('channel=web'), 'a');
  t.equal(await names('test=true'), 'd');
  t.equal(await names('test=false&sort=placedAt'), 'abce');
  t.equal(await names('placedFrom=2026-01-01T00:00:00.000002Z&placedTo=2026-01-03T00:00:00Z&sort=placedAt'), 'bcd');
  t.equal(await names('placedTo=2026-01-01T00:00:00.0000015Z'), '', 'finer than a microsecond is cut');
  await patch(a.id, { channel: 'store' });
  t.equal(await names('sort=-updatedAt'), 'aedcb');
  t.equal(await names(`updatedFrom=${(await request('GET', `/v1/orders/${a.id}`)).body.updatedAt}`), 'a');
  t.equal(await names('status=PAID'), 'invalid_input');
  t.equal(await names('externalId=x'), 'unsupported_parameter');
  t.equal(await names('', '/v1/customers/0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90/orders'), 'not_found');

  let after = '';
  let seen = '';
  for (let page = 0; page < 5; page += 1) {
    const { body } = await request('GET', `${path}?limit=1&sort=placedAt${after}`);
    seen += body.data[0].externalId.slice(-1);
    after = `&after=${body.page.next}`;
  }
  t.equal(seen, 'abcde', 'pages tell microseconds and ties apart');
  const { body: resumable } = await request('GET', `${path}?limit=3&sort=placedAt&cursors=true`);
  const resumed = await request('GET', `${path}?sort=placedAt&after=${resumable.page.cursors[0]}`);
  t.equal(resumed.body.data.length, 4, 'a list can be resumed after any of its rows');
});
