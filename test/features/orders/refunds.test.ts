import t from 'tap';
import { testApp } from '../../support/app.ts';
import { allPages, fresh, newKey, orderOf, pushOrder, pushRefund } from '../../support/shop.ts';

const api = await testApp(t);
const { request, graphql } = api;

const at = (externalId: string) => `/v1/refunds/external/shop/${externalId}`;
const refundOf = (members: Record<string, unknown> = {}) => ({
  amount: 100,
  refundedAt: '2026-03-05T10:00:00Z',
  ...members,
});
const put = (externalId: string, members: Record<string, unknown>, query = '') =>
  request('PUT', `${at(externalId)}${query}`, { body: refundOf(members) });
const post = (members: Record<string, unknown>, headers = newKey()) =>
  request('POST', '/v1/refunds', { body: refundOf({ source: 'shop', externalId: fresh('R'), ...members }), headers });
const orderById = async (id: string) => (await request('GET', `/v1/orders/${id}`)).body;

t.test('a refund names its order by id or reference, and is found under its own', async (t) => {
  const { body: order } = await pushOrder(api);
  const name = fresh('R');
  const created = await post({ externalId: name, orderId: order.id, amount: 300 });
  t.match(created, {
    status: 201,
    body: {
      orderId: order.id,
      customerId: order.customerId,
      order: null,
      currency: 'EUR',
      status: 'applied',
      refusedReason: null,
      source: 'shop',
      externalId: name,
      created: true,
      applied: true,
      warnings: [],
    },
  });
  t.equal(created.headers.get('location'), `/v1/refunds/${created.body.id}`);
  const found = await request('GET', at(name));
  t.match(found.body, { id: created.body.id, version: 1 });
  t.match(found.headers.get('etag'), /^"1/);
  t.equal(
    (await request('GET', at(name), { headers: { 'If-None-Match': found.headers.get('etag') ?? '' } })).status,
    304,
  );
  t.match(await post({ externalId: name, orderId: order.id }), {
    status: 409,
    body: { code: 'already_exists', id: created.body.id },
  });
  const byReference = await post({ order: { externalId: order.externalId }, amount: 200 });
  t.match(byReference, { status: 201, body: { orderId: order.id } });
  t.match(await post({ order: { source: 'shop', externalId: order.externalId }, source: 'erp', amount: 100 }), {
    status: 201,
  });
  t.match(await orderById(order.id), { refunded: 600, status: 'partially_refunded' });
});

t.test('what names no order, two, or an unknown one is refused with its place', async (t) => {
  const { body: order } = await pushOrder(api);
  const unknown = order.id.replace(/^./, 'f');
  const refusals: [Record<string, unknown>, string, string][] = [
    [{}, '/orderId', 'order_required'],
    [{ orderId: order.id, order: { externalId: order.externalId } }, '/orderId', 'order_twice'],
    [{ orderId: unknown }, '/orderId', 'unknown_order'],
    [{ source: undefined, externalId: undefined, order: { externalId: 'x' } }, '/order/source', 'required'],
    [{ orderId: order.id, amount: 1001 }, '/amount', 'refund_exceeds_total'],
    [{ orderId: order.id, tax: 1 }, '/tax', 'refund_tax_exceeds_order'],
    [{ orderId: order.id, refundedAt: '2999-01-01T00:00:00Z' }, '/refundedAt', 'in_the_future'],
  ];
  for (const [members, pointer, code] of refusals) {
    t.match(await post(members), { status: 422, body: { errors: [{ pointer, code }] } }, code);
  }
  const twice = await request('POST', `/v1/orders/${order.id}/refunds`, {
    body: refundOf({ orderId: order.id }),
    headers: newKey(),
  });
  t.match(twice, { status: 422, body: { errors: [{ code: 'order_twice' }] } });
  const reference = `source=${order.source}&externalId=${order.externalId}`;
  for (const query of [`id=${order.id}`, reference]) {
    const named = await request('POST', `/v1/refunds?${query}`, { body: refundOf(), headers: newKey() });
    t.match(named, { status: 422, body: { code: 'unsupported_parameter' } }, 'only the body names the order');
  }
  t.match(
    (await post({ orderId: order.id, tax: 1 })).body.detail,
    /more than the order's tax of 0: send at most 0, or/,
  );
  t.equal((await request('POST', '/v1/refunds', { body: refundOf({ orderId: order.id }) })).status, 400, 'needs a key');
});

t.test('PUT creates and replaces, older versions change nothing, deleted stays deleted', async (t) => {
  const { body: order } = await pushOrder(api, { tax: 200, taxIncluded: true });
  const name = fresh('R');
  const here = { order: { externalId: order.externalId } };
  t.match(await put(name, { ...here, amount: 500, reason: 'damaged', sourceVersion: 3 }), {
    status: 201,
    body: { created: true, net: 400, reason: 'damaged' },
  });
  t.match(await put(name, { ...here, amount: 900, sourceVersion: 3 }), {
    status: 200,
    body: { applied: false, amount: 500 },
  });
  t.match(await put(name, { ...here, amount: 250, sourceVersion: 4 }), {
    status: 200,
    body: { created: false, applied: true, amount: 250, net: 200, reason: null, version: 2 },
  });
  t.match(await orderById(order.id), { refunded: 250, revenue: 600 });
  t.match(await put(name, { ...here, amount: 1001, sourceVersion: 5 }), {
    status: 422,
    body: { errors: [{ code: 'refund_exceeds_total' }] },
  });
  t.equal((await request('PUT', at(name), { body: refundOf(here), headers: { 'If-Match': '"1"' } })).status, 412);
  t.match(await request('DELETE', `${at(name)}?sourceVersion=4`, { headers: { 'If-Match': '*' } }), {
    status: 200,
    body: { deleted: false },
  });
  t.equal((await request('DELETE', `${at(name)}?sourceVersion=6`, { headers: { 'If-Match': '*' } })).status, 204);
  t.match(await orderById(order.id), { refunded: 0, revenue: 800, status: 'paid' });
  t.equal((await put(name, { ...here, sourceVersion: 9 })).status, 410);
  t.match(await put(name, { ...here, sourceVersion: 9 }, '?restore=true'), { status: 201, body: { created: true } });
  t.match(await orderById(order.id), { refunded: 100 });
});

t.test('PATCH changes what is sent, and another order moves the refund', async (t) => {
  const [{ body: one }, { body: other }] = [
    await pushOrder(api, { customer: { externalId: fresh('C') } }),
    await pushOrder(api, { customer: { externalId: fresh('C') } }),
  ];
  const { body: refund } = await post({ orderId: one.id, amount: 400, reason: 'late' });
  const patch = (body: object, version = '*') =>
    request('PATCH', `/v1/refunds/${refund.id}`, { body, headers: { 'If-Match': version } });
  t.equal((await request('PATCH', `/v1/refunds/${refund.id}`, { body: { amount: 1 } })).status, 428);
  t.equal((await patch({ amount: 1 }, '"7"')).status, 412);
  t.match(await patch({ amount: 300, reason: null }), {
    status: 200,
    body: { amount: 300, reason: null, orderId: one.id },
  });
  t.match(await orderById(one.id), { refunded: 300 });
  const moved = await patch({ order: { source: 'shop', externalId: other.externalId } });
  t.match(moved, { status: 200, body: { orderId: other.id, customerId: other.customerId } });
  t.match(await orderById(one.id), { refunded: 0, status: 'paid' });
  t.match(await orderById(other.id), { refunded: 300 });
  t.match((await request('GET', at(refund.externalId))).body, { id: refund.id, customerId: other.customerId });
  t.equal((await patch({ amount: 1001 })).status, 422);
});

t.test('a batch is an upsert by reference, and its refunds know of each other', async (t) => {
  const { body: order } = await pushOrder(api);
  const order1 = { order: { externalId: order.externalId } };
  const [a, b, c] = [fresh('R'), fresh('R'), fresh('R')];
  const refunds = [
    refundOf({ source: 'shop', externalId: a, ...order1, amount: 600 }),
    refundOf({ source: 'shop', externalId: b, ...order1, amount: 600 }),
    refundOf({ source: 'shop', externalId: c, orderId: order.id, amount: 400 }),
    refundOf({ source: 'shop', externalId: a, ...order1, amount: 500 }),
  ];
  const { body } = await request('POST', '/v1/refunds/batch', { body: { refunds } });
  t.match(body.results, [
    { status: 'created' },
    { status: 'refused', error: { errors: [{ code: 'refund_exceeds_total' }] } },
    { status: 'created' },
    { status: 'updated', id: body.results[0].id },
  ]);
  t.match(await orderById(order.id), { refunded: 900, revenue: 100 });
  const atomic = await request('POST', '/v1/refunds/batch?atomic=true', {
    body: { refunds: [refundOf({ ...order1, amount: 50 }), refundOf({ ...order1, source: 'shop', amount: 5000 })] },
  });
  t.equal(atomic.status, 422);
  t.match(await orderById(order.id), { refunded: 900 });
});

t.test('a dry run and a repeated key change nothing more', async (t) => {
  const { body: order } = await pushOrder(api);
  t.match(
    await request('POST', '/v1/refunds?dryRun=true', { body: refundOf({ orderId: order.id }), headers: newKey() }),
    {
      status: 201,
    },
  );
  t.match(await orderById(order.id), { refunded: 0 });
  const headers = newKey();
  const body = { source: 'shop', externalId: fresh('R'), orderId: order.id };
  const first = await post(body, headers);
  const again = await post(body, headers);
  t.same([again.status, again.body], [first.status, first.body]);
  t.equal(again.headers.get('idempotency-replayed'), 'true');
  t.match(await orderById(order.id), { refunded: 100 });
});

t.test('lists filter, sort and page', async (t) => {
  const source = fresh('till');
  const { body: order } = await pushOrder(api, {
    customer: { externalId: fresh('C') },
    currency: 'GBP',
    exchangeRate: '1',
  });
  const { body: other } = await pushOrder(api, { customer: { externalId: fresh('C') } });
  const ids: string[] = [];
  for (const [day, orderId] of [
    ['05', order.id],
    ['06', order.id],
    ['07', other.id],
  ] as const) {
    const { body } = await post({ source, orderId, refundedAt: `2026-03-${day}T00:00:00Z` });
    ids.push(body.id);
  }
  const waiting = await post({ source, order: { externalId: 'later' }, refundedAt: '2026-03-08T00:00:00Z' });
  ids.push(waiting.body.id);
  const list = async (query: string) =>
    (await allPages(api, `/v1/refunds?source=${source}&limit=1&sort=refundedAt&${query}`)).map(({ id }) =>
      ids.indexOf(id),
    );
  t.same(await list(''), [0, 1, 2, 3]);
  t.same(await list(`orderId=${order.id}`), [0, 1]);
  t.same(await list(`customerId=${other.customerId}`), [2]);
  t.same(await list('currency=GBP'), [0, 1]);
  t.same(await list('status=waiting'), [3]);
  t.same(await list('refundedFrom=2026-03-06T00:00:00Z&refundedTo=2026-03-07T00:00:00Z'), [1]);
  t.same(await list(`orderSource=shop&orderExternalId=${order.externalId}`), [0, 1]);
  t.same(await list(`orderSource=${source}&orderExternalId=later`), [3]);
  t.same(await list('orderSource=shop&orderExternalId=nobody'), []);
  const newest = await request('GET', `/v1/refunds?source=${source}&sort=-refundedAt&limit=2&count=true`);
  t.same(
    newest.body.data.map(({ id }: { id: string }) => ids.indexOf(id)),
    [3, 2],
  );
  t.equal(newest.body.page.total, 4);
  t.match(await request('GET', `/v1/refunds?orderSource=shop`), {
    status: 422,
    body: { errors: [{ parameter: 'orderExternalId' }] },
  });
  const { body } = await graphql(
    `query ($order: ReferenceInput!, $source: String!) {
      byOrder: refunds(orderReference: $order, sort: REFUNDED_AT_ASC) { nodes { id status currency } }
      waiting: refunds(source: $source, status: WAITING) { totalCount nodes { id customerId orderId order { source externalId } } }
    }`,
    { order: { source: 'shop', externalId: order.externalId }, source },
  );
  t.same(body.data.byOrder.nodes, [
    { id: ids[0], status: 'APPLIED', currency: 'GBP' },
    { id: ids[1], status: 'APPLIED', currency: 'GBP' },
  ]);
  t.same(body.data.waiting, {
    totalCount: 1,
    nodes: [{ id: ids[3], customerId: null, orderId: null, order: { source, externalId: 'later' } }],
  });
});

t.test('items that name no line and taxes without room are kept, with warnings', async (t) => {
  const { body: order } = await pushOrder(api, {
    total: 1000,
    tax: 200,
    taxIncluded: true,
    items: [{ externalId: 'L1', sku: 'A', quantity: 2, total: 1000 }],
  });
  const items = [
    { externalId: 'L1', quantity: 1 },
    { line: 0, quantity: 1 },
    { sku: 'A', quantity: 1 },
    { sku: 'B', quantity: 1 },
    { line: 1, quantity: 1 },
    { externalId: 'L9', quantity: 1 },
    { sku: '', quantity: 1 },
  ];
  const { status, body } = await post({ orderId: order.id, amount: 100, items });
  t.equal(status, 201);
  t.same(
    body.warnings.map(
      ({ code, message }: { code: string; message: string }) => `${code} ${/items\[\d]/.exec(message)?.[0] ?? ''}`,
    ),
    [
      'unusable_sku items[6]',
      'unknown_refund_item items[3]',
      'unknown_refund_item items[4]',
      'unknown_refund_item items[5]',
      'unknown_refund_item items[6]',
    ],
    'an unusable sku is left out',
  );
  t.equal(body.items.length, 7);
  const adjusted = await post({ orderId: order.id, amount: 100, tax: 150 });
  t.match(adjusted, { status: 201, body: { tax: 150, net: 0, warnings: [{ code: 'tax_adjusted' }] } }, 'kept as sent');
  t.match(await orderById(order.id), { refunded: 200 });
  const fits = await post({ orderId: order.id, amount: 100, tax: 20 });
  t.match(fits, { status: 201, body: { net: 80, warnings: [] } });
  t.equal(
    (await pushRefund(api, order.id, { amount: 10, tax: 31 })).status,
    422,
    'together more than the tax of the order',
  );
});

t.test('GraphQL does the same', async (t) => {
  const { body: order } = await pushOrder(api);
  const name = fresh('R');
  const input = { amount: 200, refundedAt: '2026-03-05T10:00:00Z', order: { externalId: order.externalId } };
  const members = 'refund { id amount status orderId } created applied warnings { code }';
  const ask = async (query: string, variables: Record<string, unknown>) => (await graphql(query, variables)).body;
  const created = await ask(
    `mutation ($input: RefundInput!) { createRefund(input: $input, idempotencyKey: "${name}") { ${members} } }`,
    {
      input: { ...input, source: 'shop', externalId: name },
    },
  );
  t.match(created.data.createRefund, { refund: { amount: 200, status: 'APPLIED', orderId: order.id }, created: true });
  const reference = { source: 'shop', externalId: name };
  const upserted = await ask(
    `mutation ($reference: ReferenceInput!, $input: RefundDocument!) { upsertRefund(reference: $reference, input: $input) { ${members} } }`,
    { reference, input: { ...input, amount: 300 } },
  );
  t.match(upserted.data.upsertRefund, { refund: { amount: 300 }, created: false, applied: true });
  const updated = await ask(
    `mutation ($reference: ReferenceInput!) { updateRefund(reference: $reference, expectedVersion: "*", input: { amount: 150 }) { ${members} } }`,
    { reference },
  );
  t.match(updated.data.updateRefund, { refund: { amount: 150 } });
  const batch = await ask(
    'mutation ($refunds: [RefundInput!]!) { batchRefunds(refunds: $refunds) { results { status } } }',
    {
      refunds: [
        { ...input, ...reference, amount: 120 },
        { ...input, amount: 5000, source: 'shop' },
      ],
    },
  );
  t.same(batch.data.batchRefunds.results, [{ status: 'UPDATED' }, { status: 'REFUSED' }]);
  const ofOrder = await ask(
    `mutation ($order: ReferenceInput!) { createRefund(orderReference: $order, idempotencyKey: "${name}-2", input: { amount: 10, refundedAt: "2026-03-06T10:00:00Z" }) { ${members} } }`,
    { order: { source: 'shop', externalId: order.externalId } },
  );
  t.match(ofOrder.data.createRefund, { refund: { amount: 10, orderId: order.id } });
  const read = await ask(
    'query ($reference: ReferenceInput!) { refund(reference: $reference) { amount references { externalId } } }',
    { reference },
  );
  t.same(read.data.refund, { amount: 120, references: [{ externalId: name }] });
  const waiting = await ask(
    `mutation ($input: RefundInput!) { createRefund(input: $input, idempotencyKey: "${name}-3") { ${members} } }`,
    { input: { ...input, source: 'shop', externalId: fresh('R'), order: { externalId: fresh('later') } } },
  );
  t.match(waiting.data.createRefund, {
    refund: { status: 'WAITING', orderId: null },
    created: true,
    warnings: [{ code: 'waiting_for_order' }],
  });
  const deleted = await ask(
    'mutation ($reference: ReferenceInput!) { deleteRefund(reference: $reference, expectedVersion: "*") { deleted } }',
    { reference },
  );
  t.match(deleted.data.deleteRefund, { deleted: true });
  t.match(await orderById(order.id), { refunded: 10 });
});

t.test('the refunds of a deleted order go with it, and stay deleted', async (t) => {
  const { body: order } = await pushOrder(api);
  const { body: refund } = await post({ orderId: order.id });
  t.equal((await request('DELETE', `/v1/orders/${order.id}`, { headers: { 'If-Match': '*' } })).status, 204);
  t.equal((await request('GET', at(refund.externalId))).status, 404);
  t.equal((await put(refund.externalId, { order: { externalId: order.externalId } })).status, 410);
  const late = await post({ order: { externalId: order.externalId } });
  t.match(late, { status: 410, body: { errors: [{ pointer: '/order/externalId', code: 'deleted' }] } });
  const back = await request('PUT', `/v1/orders/external/shop/${order.externalId}?restore=true`, {
    body: (({ source: _, externalId: __, ...document }) => document)(orderOf()),
  });
  t.equal(back.status, 201);
  t.equal((await put(refund.externalId, { order: { externalId: order.externalId } }, '?restore=true')).status, 201);
  t.match(await orderById(back.body.id), { refunded: 100 });
});

t.test('a refund and its references move with the order, and with a merge', async (t) => {
  const { body: order } = await pushOrder(api, { customer: { externalId: fresh('C') } });
  const { body: refund } = await post({ orderId: order.id });
  const { body: target } = await request('POST', '/v1/customers', { body: { kind: 'person', name: 'Target' } });
  const moved = await request('PATCH', `/v1/orders/${order.id}`, {
    body: { customerId: target.id },
    headers: { 'If-Match': '*' },
  });
  t.equal(moved.status, 200);
  t.match((await request('GET', at(refund.externalId))).body, { customerId: target.id });
  t.match(await put(refund.externalId, { orderId: order.id, amount: 150 }), { status: 200, body: { amount: 150 } });
  const { body: survivor } = await request('POST', '/v1/customers', { body: { kind: 'person', name: 'Survivor' } });
  const merged = await request('POST', `/v1/customers/${survivor.id}/merge`, {
    body: { customerId: target.id },
    headers: newKey(),
  });
  t.ok([200, 201].includes(merged.status), JSON.stringify(merged.body));
  t.match((await request('GET', at(refund.externalId))).body, { customerId: survivor.id });
  t.match(await put(refund.externalId, { orderId: order.id, amount: 160 }), {
    status: 200,
    body: { amount: 160, customerId: survivor.id },
  });
  t.equal((await request('DELETE', at(refund.externalId), { headers: { 'If-Match': '*' } })).status, 204);
  t.match(await orderById(order.id), { refunded: 0 });
});
