import t from 'tap';
import { testApp } from '../../support/app.ts';
import { aCustomer, anOrder, counts, errorsOf, imported, ndjson, upload } from '../../support/imports.ts';

const api = await testApp(t);
const none = { created: 0, updated: 0, unchanged: 0, stale: 0, failed: 0, status: 'finished' };

t.test('orders and customers are written as by batches, and a repeated file changes nothing', async (t) => {
  const customers = Array.from({ length: 60 }, (_, n) => aCustomer(n));
  const first = await imported(api, 'kind=customers', ndjson(customers));
  t.match(counts(first), { ...none, created: 60, lines: 60, done: 60 });
  const orders = Array.from({ length: 2_300 }, (_, n) => anOrder(n));
  const file = ndjson(orders);
  const sent = await upload(api, 'kind=orders', file);
  t.equal(sent.status, 201);
  t.equal(sent.headers.get('location'), `/v1/imports/${sent.body.id}`);
  t.match(sent.body, { kind: 'orders', format: 'ndjson', status: 'queued', lines: 2_300, bytes: file.length, done: 0 });
  const done = await imported(api, 'kind=orders', file);
  t.match(counts(done), { ...none, unchanged: 2_300, lines: 2_300, done: 2_300 }, 'it ran after the first one');
  t.match(counts((await api.request('GET', `/v1/imports/${sent.body.id}`)).body), { ...none, created: 2_300 });
  const list = await api.request('GET', '/v1/orders?limit=1&count=true');
  t.equal(list.body.page.total, 2_300);
  const order = await api.request('GET', '/v1/orders/external/shop/o77');
  t.match(order.body, { version: 1, total: 177, items: [{ sku: 'sku0', total: 177 }] });
  const own = await api.request('GET', '/v1/customers/external/shop/c3/orders?limit=1&count=true');
  t.equal(own.body.page.total, 46);
  t.match(counts(await imported(api, 'kind=customers', ndjson(customers))), { ...none, unchanged: 60 });
  const changed = ndjson([aCustomer(1), aCustomer(2, { name: 'Another' }), anOrder(1)]);
  const partly = await imported(api, 'kind=customers', changed);
  t.match(counts(partly), { ...none, unchanged: 1, updated: 1, failed: 1 });
});

t.test('versions of a source hold', async (t) => {
  const at = (sourceVersion: number, more = {}) => ndjson([anOrder(90_001, { sourceVersion, ...more })]);
  t.match(counts(await imported(api, 'kind=orders', at(5))), { ...none, created: 1 });
  t.match(counts(await imported(api, 'kind=orders', at(5))), { ...none, unchanged: 1 });
  t.match(counts(await imported(api, 'kind=orders', at(4, { channel: 'app' }))), { ...none, stale: 1 });
  t.match(counts(await imported(api, 'kind=orders', at(6, { channel: 'app' }))), { ...none, updated: 1 });
});

t.test('a line that is wrong hurts no other, and its error holds no value', async (t) => {
  const long = JSON.stringify(anOrder(80_009, { note: 'x'.repeat(1_100_000) }));
  const lines = [
    Buffer.from('\ufeff'),
    Buffer.from(`${JSON.stringify(anOrder(80_001))}\r\n`),
    Buffer.from('{"source": broken\n\n'),
    Buffer.from(`${JSON.stringify(anOrder(80_002, { currency: 'XQQ' }))}\n`),
    Buffer.concat([Buffer.from('{"source":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}\n')]),
    Buffer.from(`${JSON.stringify(anOrder(80_003, { total: 1 }))}\n`),
    Buffer.from(`${JSON.stringify(anOrder(80_004, { surname: 'Secretson' }))}\n`),
    Buffer.from(`[1]\n${long}\n{"__proto__":{"a":1}}\n`),
    Buffer.from(`${JSON.stringify(anOrder(80_005, { placedAt: 'Secretson at noon' }))}\n`),
    Buffer.from(JSON.stringify(anOrder(80_006))),
  ];
  const done = await imported(api, 'kind=orders', Buffer.concat(lines));
  t.match(counts(done), { ...none, created: 2, failed: 9, lines: 11, done: 11 });
  const errors = await errorsOf(api, done.id);
  t.match(
    errors.map(({ line, code, pointer }) => [line, code, pointer]),
    [
      [2, 'invalid_json', undefined],
      [4, /./, '/currency'],
      [5, 'invalid_utf8', undefined],
      [6, /./, '/total'],
      [7, 'unknown_member', '/surname'],
      [8, 'invalid_type', undefined],
      [9, 'line_too_long', undefined],
      [10, 'invalid_json', undefined],
      [11, 'invalid_instant', '/placedAt'],
    ],
  );
  t.notMatch(JSON.stringify(errors), /Secretson|XQQ/i);
});

t.test('of lines that contradict each other the last one holds', async (t) => {
  const done = await imported(
    api,
    'kind=orders',
    ndjson([
      anOrder(70_001),
      anOrder(70_001),
      anOrder(70_001, { total: 5, items: [{ sku: 'a', quantity: 1, total: 5 }] }),
    ]),
  );
  t.match(counts(done), { ...none, created: 1, unchanged: 1, updated: 1 });
  t.equal((await api.request('GET', '/v1/orders/external/shop/o70001')).body.total, 5);
});

t.test('refunds wait for orders of a later file; returns and interactions', async (t) => {
  const refund = {
    source: 'shop',
    externalId: 'r1',
    order: { source: 'shop', externalId: 'o60001' },
    amount: 10,
    refundedAt: '2026-03-02T09:00:00Z',
  };
  t.match(counts(await imported(api, 'kind=refunds', ndjson([refund]))), { ...none, created: 1 });
  t.match(counts(await imported(api, 'kind=orders', ndjson([anOrder(60_001)]))), { ...none, created: 1 });
  t.match((await api.request('GET', '/v1/refunds/external/shop/r1')).body, { status: 'applied', amount: 10 });
  t.match(counts(await imported(api, 'kind=refunds', ndjson([refund]))), { ...none, unchanged: 1 });
  const customer = { source: 'shop', externalId: 'c1' };
  const back = {
    source: 'shop',
    externalId: 'b1',
    customer,
    returnedAt: '2026-03-02T09:00:00Z',
    currency: 'EUR',
    total: 5,
  };
  const talk = {
    source: 'shop',
    externalId: 'i1',
    customer,
    kind: 'phone',
    occurredAt: '2026-03-02T09:00:00Z',
    text: 'Hello',
  };
  for (const [kind, document] of [
    ['returns', back],
    ['interactions', talk],
  ] as const) {
    t.match(counts(await imported(api, `kind=${kind}`, ndjson([document]))), { ...none, created: 1 }, kind);
    t.match(counts(await imported(api, `kind=${kind}`, ndjson([document]))), { ...none, unchanged: 1 }, kind);
    const { externalId: _, ...nameless } = document;
    const refused = await imported(api, `kind=${kind}`, ndjson([nameless]));
    t.match(await errorsOf(api, refused.id), [{ line: 1, code: 'required', pointer: '/externalId' }]);
  }
});
