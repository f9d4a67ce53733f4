import { gzipSync } from 'node:zlib';
import t from 'tap';
import { runJobs, testApp } from '../../support/app.ts';
import { aCustomer, anOrder, counts, errorsOf, imported, ndjson, upload } from '../../support/imports.ts';

const api = await testApp(t);
const none = { created: 0, updated: 0, unchanged: 0, stale: 0, failed: 0, status: 'finished' };
const csv = { type: 'text/csv' };
const orderCount = async () => (await api.request('GET', '/v1/orders?limit=1&count=true')).body.page.total;

const header =
  'source,externalId,placedAt,customer.externalId,currency,total,paymentStatus,items.0.sku,items.0.quantity,items.0.total,tags';
const row = (n: number, more = '') =>
  `shop,o${n},2026-03-01T09:00:00Z,c${n % 5},EUR,${n},paid,"sku ""${n}""",1,${n},"a,b"${more}`;

t.test('CSV with the names of members as its header', async (t) => {
  const lines = [`\ufeff${header}`, row(1), row(2), row(3, ',more'), 'shop,o4', '', '"shop"x,o5', row(6)];
  const done = await imported(api, 'kind=orders', `${lines.join('\r\n')}\r\n`, csv);
  t.match(counts(done), { ...none, created: 3, failed: 3, lines: 6 });
  t.match((await api.request('GET', '/v1/orders/external/shop/o2')).body, {
    total: 2,
    tags: ['a', 'b'],
    items: [{ sku: 'sku "2"', quantity: 1, total: 2 }],
  });
  t.match(
    (await errorsOf(api, done.id)).map(({ line, code }) => [line, code]),
    [
      [4, 'wrong_columns'],
      [5, 'wrong_columns'],
      [7, 'invalid_csv'],
    ],
  );
});

t.test('lines within quotation marks, and a mark that is never closed', async (t) => {
  const file = [
    'references.0.source,references.0.externalId,name',
    'crm,1,"Two\nlines"',
    'crm,2,"never closed',
    'crm,3,Plain',
    'crm,4,"also never closed',
    'crm,5,"closed"',
  ].join('\n');
  const done = await imported(api, 'kind=customers', file, csv);
  t.match(counts(done), { ...none, created: 3, failed: 2 });
  t.equal((await api.request('GET', '/v1/customers/external/crm/1')).body.name, 'Two\nlines');
  t.equal((await api.request('GET', '/v1/customers/external/crm/5')).body.name, 'closed');
  t.match(
    (await errorsOf(api, done.id)).map(({ line, code }) => [line, code]),
    [
      [4, 'unclosed_quote'],
      [6, 'unclosed_quote'],
    ],
  );
});

t.test('a mapping in the query, and a saved one', async (t) => {
  const file =
    'Order,Date,Buyer,Total,Ignored\nA-1,2026-03-01T09:00:00Z,ada@example.org,12.30,x\nA-2,2026-03-01T09:00:00Z,,7.005,x\n';
  const mapping = {
    externalId: { column: 'Order' },
    placedAt: { column: 'Date' },
    'customer.email': { column: 'Buyer' },
    'customer.externalId': { column: 'Order' },
    total: { column: 'Total', as: 'amount' },
    'items.0.total': { column: 'Total', as: 'amount' },
    'items.0.sku': { value: 'thing' },
    'items.0.quantity': { value: 1 },
    currency: { value: 'EUR' },
    source: { value: 'old' },
    paymentStatus: { value: 'paid' },
    'shippingAddress.country': { value: 'GB' },
  };
  const query = new URLSearchParams({ kind: 'orders' });
  for (const [path, from] of Object.entries(mapping)) {
    query.set(`mapping.${path}`, 'column' in from && !('as' in from) ? from.column : JSON.stringify(from));
  }
  t.match(counts(await imported(api, String(query), file, csv)), { ...none, created: 2 });
  t.match((await api.request('GET', '/v1/orders/external/old/A-1')).body, {
    total: 1230,
    currency: 'EUR',
    items: [{ sku: 'thing', total: 1230 }],
    shippingAddress: null,
  });
  t.equal((await api.request('GET', '/v1/orders/external/old/A-2')).body.total, 701, 'half a cent is rounded');
  const saved = await api.request('POST', '/v1/import-mappings', { body: { name: 'Old', kind: 'orders', mapping } });
  t.equal(saved.status, 201);
  t.match(counts(await imported(api, `kind=orders&mappingId=${saved.body.id}`, file, csv)), { ...none, unchanged: 2 });
  const other = await upload(api, `kind=returns&mappingId=${saved.body.id}`, file, csv);
  t.match(other, { status: 422, body: { errors: [{ parameter: 'mappingId', code: 'other_kind' }] } });
  const wrong = await api.request('POST', '/v1/import-mappings', {
    body: { name: 'Wrong', kind: 'orders', mapping: { colour: { column: 'Colour' } } },
  });
  t.match(wrong, { status: 422, body: { errors: [{ code: 'unknown_member' }] } });
  const documents = ndjson([
    { no: 'J-1', when: '2026-03-01T09:00:00Z', who: { mail: 'j@example.org' }, sum: '3.50', cur: 'EUR' },
  ]);
  const paths =
    'kind=orders&mapping.externalId=no&mapping.placedAt=when&mapping.customer.email=who.mail&mapping.currency=cur&mapping.source={"value":"json"}' +
    '&mapping.total={"column":"sum","as":"amount"}&mapping.items.0.total={"column":"sum","as":"amount"}&mapping.items.0.sku={"value":"x"}&mapping.items.0.quantity={"value":1}&mapping.paymentStatus={"value":"paid"}';
  t.match(counts(await imported(api, encodeURI(paths), documents)), { ...none, created: 1 });
  t.equal((await api.request('GET', '/v1/orders/external/json/J-1')).body.total, 350);
});

t.test('a file that is broken is refused as a whole', async (t) => {
  const before = await orderCount();
  const orders = ndjson(Array.from({ length: 3_000 }, (_, n) => anOrder(50_000 + n)));
  const packed = gzipSync(orders);
  const cases: [name: string, code: string, ...(Parameters<typeof upload> extends [any, ...infer R] ? R : never)][] = [
    ['cut off gzip', 'broken_gzip', 'kind=orders', packed.subarray(0, packed.length / 2)],
    ['no gzip', 'broken_gzip', 'kind=orders', orders, { headers: { 'Content-Encoding': 'gzip' } }],
    ['unknown column', 'unknown_column', 'kind=orders', 'Secretson,total\nshop,1\n', csv],
    ['missing column', 'missing_column', 'kind=orders&mapping.externalId=Order', 'source,total\nshop,1\n', csv],
    ['same columns', 'duplicate_column', 'kind=orders', 'total,total\n1,1\n', csv],
    ['empty', 'empty_file', 'kind=orders', '', csv],
  ];
  for (const [name, code, query, file, options] of cases) {
    const { status, body } = await upload(api, query, file, options);
    t.match({ status, body }, { status: 422, body: { errors: [{ code }] } }, name);
    t.notMatch(JSON.stringify(body), /Secretson/);
  }
  await runJobs(api);
  t.equal(await orderCount(), before, 'nothing of them is written');
  const { data } = (await api.request('GET', '/v1/imports?status=failed')).body;
  t.same(data.map(({ failure }: any) => failure.code).sort(), cases.map(([, code]) => code).sort());
  t.match(
    await imported(api, 'kind=orders', packed),
    { created: 3_000, bytes: orders.length },
    'gzip is found by itself',
  );
  t.match(await imported(api, 'kind=orders', packed, { headers: { 'Content-Encoding': 'gzip' } }), {
    unchanged: 3_000,
  });
});

t.test('a line of 200 MB', async (t) => {
  let sent = 0;
  const head = new TextEncoder().encode(`${JSON.stringify(anOrder(40_001))}\n{"note":"`);
  const piece = new TextEncoder().encode('x'.repeat(1024 * 1024));
  const tail = new TextEncoder().encode(`"}\n${JSON.stringify(anOrder(40_002))}\n`);
  const before = process.memoryUsage().rss;
  const file = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 1;
      controller.enqueue(sent === 1 ? head : sent < 202 ? piece : tail);
      if (sent === 202) controller.close();
    },
  });
  const done = await imported(api, 'kind=orders', file);
  t.match(counts(done), { ...none, created: 2, failed: 1 });
  t.match(await errorsOf(api, done.id), [{ line: 2, code: 'line_too_long' }]);
  t.ok(process.memoryUsage().rss - before < 150 * 1024 * 1024, 'of which little was held');
});

t.test('a dry run writes nothing, and says what it would', async (t) => {
  const before = await orderCount();
  const file = ndjson([anOrder(30_001), anOrder(30_002, { total: 1 }), anOrder(50_001)]);
  const done = await imported(api, 'kind=orders&dryRun=true', file);
  t.match(counts(done), { ...none, created: 1, failed: 1, unchanged: 1, done: 3 });
  t.match(await errorsOf(api, done.id), [{ line: 2, pointer: '/total' }]);
  t.equal(await orderCount(), before);
});

t.test('cancelled: what waits is deleted', async (t) => {
  const sent = await upload(api, 'kind=orders', ndjson([anOrder(20_001)]));
  const cancelled = await api.request('POST', `/v1/imports/${sent.body.id}/cancel`);
  t.match(cancelled, { status: 200, body: { status: 'cancelled', done: 0 } });
  await runJobs(api);
  t.equal((await api.request('GET', '/v1/orders/external/shop/o20001')).status, 404);
  const again = await api.request('POST', `/v1/imports/${sent.body.id}/cancel`);
  t.equal(again.body.version, cancelled.body.version);
  const query = 'mutation ($id: ID!) { cancelImport(id: $id) { import { status } } }';
  t.match((await api.graphql(query, { id: sent.body.id })).body, {
    data: { cancelImport: { import: { status: 'CANCELLED' } } },
  });
});

t.test('who may import, and read what', async (t) => {
  const file = ndjson([anOrder(10_001)]);
  t.match(await upload(api, 'kind=orders', file, { scope: 'imports:write' }), {
    status: 403,
    body: { scope: 'orders:write' },
  });
  t.match(await upload(api, 'kind=orders', file, { scope: 'orders:write' }), {
    status: 403,
    body: { scope: 'imports:write' },
  });
  const sent = await upload(api, 'kind=orders', ndjson([{ bad: 1 }]), {
    scope: 'imports:write orders:write',
    client: 'loader',
  });
  t.equal(sent.status, 201);
  await runJobs(api);
  const errors = `/v1/imports/${sent.body.id}/errors`;
  t.equal((await api.request('GET', errors)).status, 404, 'the errors are for the client that sent the file');
  t.equal((await api.request('GET', errors, { client: 'loader', scope: 'imports:read' })).status, 200);
  const { data } = (await api.request('GET', `/v1/audit?operation=createImport`)).body ?? {};
  t.ok(data === undefined || data.length > 0, 'it is in the audit');
  t.match(await upload(api, 'kind=orders', file, { type: 'application/json' }), { status: 415 });
  t.match(await upload(api, 'kind=orders', file, { type: 'application/gzip' }), {
    status: 422,
    body: { errors: [{ parameter: 'format' }] },
  });
  t.match(await upload(api, 'kind=survey_responses', file), {
    status: 422,
    body: { errors: [{ parameter: 'surveyId' }] },
  });
});

t.test('who disables a client ends its imports', async (t) => {
  const client = await api.request('POST', '/v1/clients', {
    body: { name: 'Loader', scopes: ['imports:write', 'orders:write'] },
  });
  t.equal(client.status, 201, JSON.stringify(client.body));
  const sent = await upload(api, 'kind=orders', ndjson([anOrder(8_001)]), { client: client.body.id });
  t.equal(sent.status, 201);
  // A token is revoked from the second after its issue.
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const headers = { 'If-Match': '*' };
  const disabled = await api.request('PATCH', `/v1/clients/${client.body.id}`, {
    body: { status: 'disabled' },
    headers,
  });
  t.equal(disabled.status, 200);
  await runJobs(api);
  const now = await api.request('GET', `/v1/imports/${sent.body.id}`);
  t.match(now.body, { status: 'failed', failure: { code: 'client_revoked' }, created: 0 });
  t.equal((await api.request('GET', '/v1/orders/external/shop/o8001')).status, 404);
});

t.test('a retry under one key is answered with the same import', async (t) => {
  const headers = { 'Idempotency-Key': 'once' };
  const first = await upload(api, 'kind=customers', ndjson([aCustomer(7_001)]), { headers });
  const again = await upload(api, 'kind=customers', ndjson([aCustomer(7_001)]), { headers });
  t.equal(again.body.id, first.body.id);
  t.equal(again.headers.get('idempotency-replayed'), 'true');
  await runJobs(api);
  t.match((await api.request('GET', `/v1/imports/${first.body.id}`)).body, { lines: 1, created: 1 });
});

t.test('points and answers of surveys', async (t) => {
  const survey = await api.request('POST', '/v1/surveys', {
    body: { name: 'S', status: 'open', questions: [{ key: 'nps', type: 'nps', text: 'Would you?' }] },
  });
  const answer = {
    submissionId: 's1',
    answeredAt: '2026-03-01T09:00:00Z',
    customer: { source: 'shop', externalId: 'c1' },
    answers: [{ question: 'nps', score: 9 }],
  };
  const query = `kind=survey_responses&surveyId=${survey.body.id}`;
  t.match(counts(await imported(api, query, ndjson([answer]))), { ...none, created: 1 });
  t.match(counts(await imported(api, query, ndjson([answer]))), { ...none, unchanged: 1 });
  const without = await imported(api, 'kind=loyalty_transactions', ndjson([{ kind: 'adjust', points: 5 }]));
  t.match(counts(without), { ...none, failed: 1 });
});

t.test('what was uploaded expires', async (t) => {
  const sent = await upload(api, 'kind=orders', ndjson([anOrder(9_001)]));
  const later = await testApp(t, { beside: api, clock: () => new Date(Date.now() + 25 * 3_600_000).toISOString() });
  await later.app.jobs.addRecurring(['expireImports']);
  const query = 'select count(*)::int as n from import_blocks';
  const pg = await import('pg');
  const client = new pg.default.Client(api.connection);
  await client.connect();
  t.teardown(() => client.end());
  t.equal((await client.query(query)).rows[0].n, 1);
  await client.query(
    "update graphile_worker._private_jobs set run_at = now() + interval '1 hour' where task_id in (select id from graphile_worker._private_tasks where identifier = 'runImport')",
  );
  await runJobs(later);
  t.equal((await client.query(query)).rows[0].n, 0);
  t.match((await api.request('GET', `/v1/imports/${sent.body.id}`)).body, {
    status: 'failed',
    failure: { code: 'expired' },
  });
});
