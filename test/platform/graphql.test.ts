import { buildSchema, getIntrospectionQuery } from 'graphql';
import pg from 'pg';
import t from 'tap';
import { limits } from '../../src/platform/graphql/limits.ts';
import { scalarsByName } from '../../src/platform/graphql/scalars.ts';
import { type Answer, testApp } from '../support/app.ts';
import { statementsOf } from '../support/statements.ts';

const service = await testApp(t);
const { graphql, request } = service;

let orders = 0;
function orderInput(externalCustomer: string, more: object = {}) {
  orders += 1;
  return {
    source: 'shop',
    externalId: `O-${orders}`,
    customer: { externalId: externalCustomer },
    placedAt: `2026-03-${String((orders % 28) + 1).padStart(2, '0')}T08:00:00Z`,
    currency: 'EUR',
    total: 1000 + orders,
    items: [{ sku: 'A', name: 'Article', quantity: 2.5, total: 1000 + orders }],
    paymentStatus: 'PAID',
    ...more,
  };
}

const batch = `mutation ($orders: [OrderInput!]!, $dryRun: Boolean, $atomic: Boolean) {
  batchOrders(orders: $orders, dryRun: $dryRun, atomic: $atomic) { results { index status id error { code errors { pointer code } } } }
}`;

/** `customers` customers with `each` orders. */
async function stock(prefix: string, customers: number, each: number): Promise<void> {
  const inputs = Array.from({ length: customers }, (_, c) =>
    Array.from({ length: each }, () =>
      orderInput(`${prefix}-${c}`, {
        customer: { externalId: `${prefix}-${c}`, name: `Name ${c}`, email: `${prefix}-${c}@example.org` },
      }),
    ),
  ).flat();
  const { body } = await graphql(batch, { orders: inputs });
  if (body.errors) throw new Error(JSON.stringify(body.errors));
}

/** Without what differs from request to request. */
function comparable(body: unknown): string {
  return JSON.stringify(body, (key, value) => (key === 'instance' ? undefined : value));
}

function codes(body: { errors?: { extensions: { code: string } }[] }): string[] {
  return (body.errors ?? []).map(({ extensions }) => extensions.code);
}

await stock('base', 3, 8);

t.test('a connection is walked forwards with cursors, by nodes and by edges', async (t) => {
  const query = `query ($after: String) { orders(first: 5, after: $after, sort: PLACED_AT_ASC) {
    nodes { id placedAt } edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }`;
  const seen: string[] = [];
  let after: string | null = null;
  for (let pages = 0; pages < 10; pages += 1) {
    const { body }: Answer = await graphql(query, { after });
    const { nodes, edges, pageInfo, totalCount }: any = body.data.orders;
    t.equal(totalCount, 24);
    t.equal(pageInfo.hasPreviousPage, after !== null);
    t.equal(pageInfo.startCursor, edges[0].cursor);
    t.equal(pageInfo.endCursor, edges.at(-1).cursor);
    t.same(
      edges.map(({ node }: any) => node.id),
      nodes.map(({ id }: any) => id),
    );
    seen.push(...nodes.map(({ id }: any) => id));
    if (!pageInfo.hasNextPage) break;
    after = pageInfo.endCursor;
  }
  t.equal(seen.length, 24);
  t.equal(new Set(seen).size, 24, 'each order exactly once');
  const rest = await request('GET', '/v1/orders?sort=placedAt&limit=100');
  t.same(
    seen,
    rest.body.data.map(({ id }: any) => id),
    'in the order of REST',
  );
});

t.test("a customer's orders are the same however they are fetched, and go on after a cursor", async (t) => {
  const fields =
    'id customerId placedAt total status items { sku quantity } references { source externalId } exchangeRate cancelledAt';
  const page = `orders(first: 3, sort: PLACED_AT_ASC) { totalCount nodes { ${fields} } edges { cursor } pageInfo { endCursor hasNextPage } }`;
  const ahead = await graphql(`{ customers(first: 10) { nodes { id ${page} } } }`);
  const loaded = await graphql(
    `{ customers(first: 10) { nodes { id ${page} again: orders(first: 1) { nodes { id } } } } }`,
  );
  for (const [index, customer] of ahead.body.data.customers.nodes.entries()) {
    const { again: _, ...other } = loaded.body.data.customers.nodes[index];
    t.same(customer, other, 'looking ahead answers what the loader answers');
    const alone = await graphql(`query ($id: ID) { customer(id: $id) { id ${page} } }`, { id: customer.id });
    t.same(alone.body.data.customer, customer);
    const rest = await request('GET', `/v1/customers/${customer.id}/orders?sort=placedAt&limit=3&cursors=true`);
    t.same(
      customer.orders.nodes.map(({ id, placedAt, total, items }: any) => ({
        id,
        placedAt,
        total,
        quantity: items[0].quantity,
      })),
      rest.body.data.map(({ id, placedAt, total, items }: any) => ({
        id,
        placedAt,
        total,
        quantity: items[0].quantity,
      })),
    );
    t.same(
      customer.orders.edges.map(({ cursor }: any) => cursor),
      rest.body.page.cursors,
      'with the cursors of REST',
    );
    t.equal(customer.orders.totalCount, 8);
    const next = await graphql(
      'query ($id: ID, $after: String) { customer(id: $id) { orders(first: 100, after: $after, sort: PLACED_AT_ASC) { nodes { id } pageInfo { hasNextPage endCursor } } } }',
      { id: customer.id, after: customer.orders.pageInfo.endCursor },
    );
    const all = [...customer.orders.nodes, ...next.body.data.customer.orders.nodes].map(({ id }: any) => id);
    t.equal(new Set(all).size, 8);
  }
});

t.test('records by id and by reference; null where there is none', async (t) => {
  const { body } = await graphql(
    `{ a: customer(reference: { source: "shop", externalId: "base-0" }) { id name references { source externalId } summary { orders customer { id } lastOrders { id } } }
       b: customer(reference: { source: "shop", externalId: "nobody" }) { id }
       c: order(id: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90") { id } }`,
  );
  t.notOk(body.errors);
  t.equal(body.data.a.name, 'Name 0');
  t.equal(body.data.a.summary.orders, 8);
  t.equal(body.data.a.summary.customer.id, body.data.a.id);
  t.same([body.data.b, body.data.c], [null, null]);
  const both = await graphql('{ customer { id } }');
  t.same(codes(both.body), ['invalid_input'], 'neither id nor reference');
});

t.test('enums are the words of REST in capitals, and amounts, decimals and versions are as sent', async (t) => {
  const input = orderInput('words', {
    fulfillmentStatus: 'PARTIALLY_FULFILLED',
    exchangeRate: '1.25',
    currency: 'GBP',
    sourceVersion: '2026-03-01T00:00:00Z',
    items: [{ sku: 'A', quantity: 0.5, total: 999_999_999_999, unitPrice: '0.055' }],
    total: 999_999_999_999,
  });
  const made = await graphql(
    'mutation ($input: OrderInput!) { createOrder(input: $input, idempotencyKey: "words") { order { id status fulfillmentStatus exchangeRate total items { unitPrice quantity } references { sourceVersion } baseRevenue } created applied replayed warnings { code } } }',
    { input },
  );
  t.notOk(made.body.errors);
  const { order, ...rest } = made.body.data.createOrder;
  t.same(rest, { created: true, applied: true, replayed: false, warnings: [] });
  t.match(order, {
    status: 'PAID',
    fulfillmentStatus: 'PARTIALLY_FULFILLED',
    exchangeRate: '1.25',
    total: 999_999_999_999,
  });
  t.match(order.references[0], { sourceVersion: '2026-03-01T00:00:00.000Z' });
  const rest2 = await request('GET', `/v1/orders/${order.id}`);
  t.equal(rest2.body.fulfillmentStatus, 'partially_fulfilled');
  const old = await graphql(
    `mutation ($input: OrderDocument!) { upsertOrder(reference: { source: "shop", externalId: "${input.externalId}" }, input: $input) { applied created order { version } } }`,
    { input: { ...input, source: undefined, externalId: undefined, sourceVersion: '2026-02-01T00:00:00Z' } },
  );
  t.same(
    old.body.data.upsertOrder,
    { applied: false, created: false, order: { version: 1 } },
    'an older message is a no-op',
  );
});

t.test(
  'a key, in the argument or in the header, makes a repeated mutation answer what the first one answered',
  async (t) => {
    const mutation =
      'mutation ($input: OrderInput!, $key: String) { createOrder(input: $input, idempotencyKey: $key) { order { id } created replayed } }';
    const input = orderInput('keys');
    const first = await graphql(mutation, { input, key: 'k1' });
    const again = await graphql(mutation, { input, key: 'k1' });
    t.same(again.body.data.createOrder, { ...first.body.data.createOrder, replayed: true });
    const other = await graphql(mutation, {
      input: { ...input, total: 1, items: [{ sku: 'A', quantity: 1, total: 1 }] },
      key: 'k1',
    });
    t.same(codes(other.body), ['idempotency_key_reused']);
    t.equal(other.body.errors[0].extensions.errors[0].parameter, 'idempotencyKey');
    const none = await graphql(mutation, { input: orderInput('keys') });
    t.same(codes(none.body), ['idempotency_key_required']);

    const headers = { 'Idempotency-Key': '"h1"' };
    const fresh = orderInput('keys');
    const viaHeader = await graphql(mutation, { input: fresh }, { headers });
    const replay = await graphql(mutation, { input: fresh }, { headers });
    t.equal(replay.body.data.createOrder.order.id, viaHeader.body.data.createOrder.order.id);
    t.equal(replay.headers.get('idempotency-replayed'), 'true');
    const rest = await request('POST', '/v1/orders', {
      body: { ...fresh, paymentStatus: 'paid', customer: fresh.customer },
      headers: { 'Idempotency-Key': 'h1' },
    });
    t.equal(rest.body.id, viaHeader.body.data.createOrder.order.id, 'and is the key of REST');
    t.equal(rest.headers.get('idempotency-replayed'), 'true');

    const two = await graphql(
      'mutation ($input: OrderInput!) { a: createOrder(input: $input) { created } ...Other } fragment Other on Mutation { b: createOrder(input: $input) { created } }',
      { input: orderInput('keys') },
      { headers },
    );
    t.equal(two.status, 400);
    t.same(codes(two.body), ['invalid_request'], 'a header cannot stand for two mutations');
  },
);

t.test('versions and dry runs', async (t) => {
  const made = await graphql('mutation { createCustomer(input: { name: "Ada" }) { customer { id version } } }');
  const { id } = made.body.data.createCustomer.customer;
  const update =
    'mutation ($id: ID, $version: ExpectedVersion, $dryRun: Boolean) { updateCustomer(id: $id, expectedVersion: $version, dryRun: $dryRun, input: { name: "Ada L." }) { customer { name version } applied } }';
  const missing = await graphql(update, { id });
  t.same(codes(missing.body), ['version_required']);
  t.equal(missing.body.errors[0].extensions.errors[0].parameter, 'expectedVersion');
  t.same(codes((await graphql(update, { id, version: 7 })).body), ['version_mismatch']);
  const dry = await graphql(update, { id, version: 1, dryRun: true });
  t.same(dry.body.data.updateCustomer.customer, { name: 'Ada L.', version: 2 });
  t.equal((await graphql('query ($id: ID) { customer(id: $id) { version } }', { id })).body.data.customer.version, 1);
  t.equal((await graphql(update, { id, version: 1 })).body.data.updateCustomer.customer.version, 2);
  t.equal((await graphql(update, { id, version: '*' })).body.data.updateCustomer.customer.version, 3);
  const gone = await graphql(
    'mutation ($id: ID) { deleteCustomer(id: $id, expectedVersion: 3) { id deleted replayed } }',
    { id },
  );
  t.same(gone.body.data.deleteCustomer, { id, deleted: true, replayed: false });
});

t.test('a batch reports each item in its place, or refuses them all', async (t) => {
  const good = orderInput('batch');
  const items = [good, { ...orderInput('batch'), total: 5 }, good];
  const some = await graphql(batch, { orders: items });
  t.same(
    some.body.data.batchOrders.results.map(({ status }: any) => status),
    ['CREATED', 'REFUSED', 'UPDATED'],
  );
  t.ok(some.body.data.batchOrders.results[1].error.code);
  const none = await graphql(batch, {
    orders: [orderInput('batch'), { ...orderInput('batch'), total: 5 }],
    atomic: true,
  });
  t.same(codes(none.body), ['batch_refused']);
  t.same(none.body.data, { batchOrders: null });
});

t.test('a batch may be as large as over REST', async (t) => {
  const pad = 'x'.repeat(15_000);
  const customers = Array.from({ length: 100 }, (_, i) => ({
    references: [{ source: 'shop', externalId: `large-${i}` }],
    attributes: { pad },
  }));
  const { status, body } = await graphql(
    'mutation ($customers: [CustomerInput!]!) { batchCustomers(customers: $customers, dryRun: true) { results { status } } }',
    { customers },
  );
  t.equal(status, 200);
  t.equal(body.data.batchCustomers.results.length, 100);
});

t.test('refunds, returns and rates', async (t) => {
  const made = await graphql(
    'mutation ($input: OrderInput!) { createOrder(input: $input, idempotencyKey: "refundable") { order { id } } }',
    {
      input: orderInput('refunds', { total: 1000, items: [{ sku: 'A', quantity: 1, total: 1000 }] }),
    },
  );
  const orderId = made.body.data.createOrder.order.id;
  const refund =
    'mutation ($id: ID, $input: RefundInput!, $key: String) { createRefund(orderId: $id, input: $input, idempotencyKey: $key) { refund { id amount reason } replayed } }';
  const first = await graphql(refund, {
    id: orderId,
    input: { amount: 400, refundedAt: '2026-03-30T00:00:00Z', reason: 'damaged' },
    key: 'r1',
  });
  t.match(first.body.data.createRefund, { refund: { amount: 400, reason: 'damaged' }, replayed: false });
  const tooMuch = await graphql(refund, {
    id: orderId,
    input: { amount: 601, refundedAt: '2026-03-30T00:00:00Z' },
    key: 'r2',
  });
  t.equal(tooMuch.body.errors[0].extensions.errors[0].pointer, '/amount');
  const bad = await graphql(refund, { id: 'x', input: { amount: 1, refundedAt: '2026-03-30T00:00:00Z' }, key: 'r3' });
  t.equal(bad.body.errors[0].extensions.errors[0].parameter, 'orderId', 'refusals name the arguments');
  const read = await graphql(
    'query ($id: ID) { order(id: $id) { status refunded refunds { amount } customer { references { externalId } } } refunds(orderId: $id) { nodes { amount } totalCount } }',
    { id: orderId },
  );
  t.same(read.body.data, {
    order: {
      status: 'PARTIALLY_REFUNDED',
      refunded: 400,
      refunds: [{ amount: 400 }],
      customer: { references: [{ externalId: 'refunds' }] },
    },
    refunds: { nodes: [{ amount: 400 }], totalCount: 1 },
  });
  const returned = await graphql(
    'mutation ($input: ReturnInput!) { createReturn(input: $input, idempotencyKey: "ret") { return { id total customer { id } } created } }',
    {
      input: {
        source: 'shop',
        externalId: 'C1',
        customer: { externalId: 'refunds' },
        returnedAt: '2026-03-30T00:00:00Z',
        currency: 'EUR',
        total: 10,
      },
    },
  );
  t.match(returned.body.data.createReturn, { return: { total: 10, customer: { id: String } }, created: true });
  const rates = await graphql(
    'mutation { putExchangeRates(rates: [{ date: "2026-03-01", currency: "USD", rate: "0.92" }]) { stored completedOrders replayed } }',
  );
  t.match(rates.body.data.putExchangeRates, { stored: 1, replayed: false });
  const listed = await graphql('{ exchangeRates(currency: "USD") { nodes { date currency rate } } }');
  t.same(listed.body.data.exchangeRates.nodes, [{ date: '2026-03-01', currency: 'USD', rate: '0.92' }]);
});

t.test('metrics answer the metricResponse of REST', async (t) => {
  const input = { from: '2026-03-15', to: '2026-04-01', interval: 'WEEK' };
  const { body } = await graphql(
    `query ($input: RetentionRateInput) { metrics { retentionRate(input: $input) {
      metric definition period { from to timeZone previous { from to } } asOf value unit currency values numerator denominator
      excluded { reason count amount } interval { low high level } lowSample reason { code message } missingInputs complete
      series { start from to value values numerator denominator excluded { reason count amount } complete lowSample reason { code message } }
      groups { key value values numerator denominator interval { low high level } lowSample reason { code message } } warnings { code message } } } }`,
    { input: { ...input, asOf: '2026-04-01' } },
  );
  const rest = await request(
    'GET',
    '/v1/metrics/retention-rate?from=2026-03-15&to=2026-04-01&interval=week&asOf=2026-04-01',
  );
  t.notOk(body.errors);
  const lower = (value: unknown) =>
    JSON.parse(JSON.stringify(value), (key, one) =>
      key === 'unit' || (key === 'reason' && typeof one === 'string')
        ? one.toLowerCase()
        : key === 'amount' && one === null
          ? undefined
          : one,
    );
  t.same(lower(body.data.metrics.retentionRate), rest.body);
  const refused = await graphql('{ metrics { churnRate(input: { silenceDays: 30 }) { value } } }');
  t.equal(refused.body.errors[0].extensions.errors[0].pointer, '/silenceDays');
});

t.test('scopes are checked per field', async (t) => {
  const query =
    '{ customers(first: 2) { nodes { id orders(first: 1) { nodes { id } } } } metrics { retentionRate { value } } }';
  const { status, body } = await graphql(query, {}, { scope: 'customers:read' });
  t.equal(status, 200);
  t.equal(body.data.customers.nodes.length, 2, 'what is permitted is answered');
  t.same(
    body.data.customers.nodes.map(({ orders }: any) => orders),
    [null, null],
  );
  t.equal(body.data.metrics.retentionRate, null);
  t.ok(codes(body).every((code) => code === 'insufficient_scope'));
  t.same([...new Set(body.errors.map(({ extensions }: any) => extensions.scope))].sort(), [
    'metrics:read',
    'orders:read',
  ]);
  const other = await graphql('{ orders(first: 1) { nodes { id customer { id } } } }', {}, { scope: 'orders:read' });
  t.equal(other.body.data.orders.nodes[0].customer, null);
  t.equal(other.body.errors[0].extensions.scope, 'customers:read');
  const write = await graphql(
    'mutation { createCustomer(input: { name: "x" }) { created } }',
    {},
    { scope: 'customers:read' },
  );
  t.equal(write.body.errors[0].extensions.scope, 'customers:write');
});

t.test('personal data is masked without customers:pii, wherever it comes from', async (t) => {
  const scope = 'customers:read orders:read returns:read';
  const person = 'name email phone identities { value } birthday address { city } attributes givenName familyName';
  const { body } = await graphql(
    `{ customers(first: 5) { nodes { ${person} summary { customer { ${person} } } orders(first: 1) { nodes { customer { ${person} } refunds { reason } } } } } }`,
    {},
    { scope },
  );
  t.notOk(body.errors);
  t.notMatch(JSON.stringify(body), /Name \d|example\.org/);
  const seen = await graphql(`{ customers(first: 5) { nodes { ${person} } } }`);
  t.match(JSON.stringify(seen.body), /example\.org/);
  const oracle = await graphql('{ customers(email: "base-0@example.org") { nodes { id } } }', {}, { scope });
  t.same(codes(oracle.body), ['insufficient_scope']);
  t.equal(oracle.body.errors[0].extensions.scope, 'customers:pii');
});

t.test('a document answers the same however often it is run', async (t) => {
  const requests: [query: string, variables?: Record<string, unknown>][] = [
    ['query ($id: ID!) { customer(id: $id) { id } }', { id: null }],
    ['query ($id: ID!) { customer(id: $id) { name } }', {}],
    ['query ($id: ID!) { customer(id: $id) { kind } }'],
    ['query ($first: Int) { customers(first: $first) { nodes { id } } }', { first: 'x' }],
    ['query ($first: Int) { customers(first: $first) { nodes { kind } } }', { first: 1.5 }],
    ['query ($kind: CustomerKind) { customers(kind: $kind) { nodes { id } } }', { kind: 'NOBODY' }],
    ['query ($kind: CustomerKind) { customers(first: 1, kind: $kind) { nodes { kind } } }', { kind: 'PERSON' }],
    [
      'query ($input: RetentionRateInput) { metrics { retentionRate(input: $input) { value } } }',
      { input: { minOrders: 'x', nonsense: 1 } },
    ],
    ['query ($input: RetentionRateInput) { metrics { retentionRate(input: $input) { unit } } }', { input: [] }],
    ['{ customers(first: 101) { nodes { id } } }'],
    ['{ customers(first: 1, companyId: "x") { nodes { id } } }'],
    ['{ customers(first: 1, companyId: null) { nodes { id } } }'],
    ['{ customers(first: 1, after: "forged") { nodes { id } } }'],
    ['{ customers(first: 1) { nodes { orders(first: 101) { nodes { id } } } } }'],
    ['{ customers(first: 1) { nodes { orders(after: "forged") { nodes { id } } } } }'],
    [
      'query ($yes: Boolean!) { customers(first: 1) { nodes { id orders(first: 1) @include(if: $yes) { nodes { id } } } } }',
      { yes: false },
    ],
    [
      'mutation ($total: SafeInt!) { createRefund(orderId: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90", idempotencyKey: "q", input: { amount: $total, refundedAt: "2026-01-01T00:00:00Z" }) { replayed } }',
      { total: 2 ** 53 },
    ],
    [
      'mutation ($more: JSON) { createCustomer(dryRun: true, input: { name: "x", attributes: $more }) { customer { attributes } } }',
      { more: { a: ['"', "'", '\u2028', { b: null }] } },
    ],
    [
      'mutation { createCustomer(dryRun: true, input: { name: "\\"\\u2028`$x", attributes: { a: [1.5, true, null, "\\"\\u2028`"] } }) { customer { name attributes } } }',
    ],
  ];
  for (const [query, variables] of requests) {
    const answers = [];
    for (let i = 0; i < 4; i += 1) answers.push(await graphql(query, variables));
    for (const answer of answers) t.equal(comparable(answer.body), comparable(answers[0]?.body), query);
    t.same(new Set(answers.map(({ status }) => status)).size, 1);
  }
  const bad = await graphql(
    'query ($input: RetentionRateInput) { metrics { retentionRate(input: $input) { value } } }',
    {
      input: { minOrders: 'x', nonsense: 1 },
    },
  );
  t.same(codes(bad.body), ['graphql_variables_invalid']);
  t.same(
    bad.body.errors[0].extensions.errors.map(({ parameter, pointer }: any) => [parameter, pointer]),
    [
      ['input', '/minOrders'],
      ['input', undefined],
    ],
  );
  t.notOk('data' in bad.body && bad.body.data, 'nothing was run');
});

t.test('a member whose variable is left out is not cleared', async (t) => {
  const made = await graphql(
    'mutation { createCustomer(input: { name: "Ada", givenName: "Ada", locale: "en" }) { customer { id } } }',
  );
  const { id } = made.body.data.createCustomer.customer;
  const update = `mutation ($id: ID, $given: String, $locale: String, $tags: [ReferenceInput!]) {
    updateCustomer(id: $id, expectedVersion: "*", input: { givenName: $given, locale: $locale, references: $tags }) { customer { givenName locale } } }`;
  for (let i = 0; i < 4; i += 1) {
    const { body } = await graphql(update, { id, locale: `en-G${'BCDE'[i]}` });
    t.same(body.data.updateCustomer.customer, { givenName: 'Ada', locale: `en-G${'BCDE'[i]}` });
  }
  const { body } = await graphql(update, { id, given: null });
  t.equal(body.data.updateCustomer.customer.givenName, null, 'an explicit null clears');
});

t.test('each operation of a document is itself', async (t) => {
  const query = 'query A { customers(first: 1) { nodes { id } } } query B { orders(first: 1) { nodes { id } } }';
  for (const operationName of ['A', 'A', 'A', 'B', 'B', 'B', 'A']) {
    const { body } = await request('POST', '/graphql', { body: { query, operationName } });
    t.same(Object.keys(body.data), [operationName === 'A' ? 'customers' : 'orders']);
  }
  for (const operationName of [null, 'C']) {
    const { body } = await request('POST', '/graphql', { body: { query, operationName } });
    t.same(codes(body), ['graphql_validation_failed']);
    t.equal(body.errors[0].extensions.errors[0].parameter, 'operationName');
  }
});

t.test('limits hold before anything is run', async (t) => {
  const refused = async (query: string, code: string, variables: Record<string, unknown> = {}) => {
    for (let i = 0; i < 3; i += 1) {
      const { status, body } = await graphql(query, variables, {
        headers: { Accept: 'application/graphql-response+json' },
      });
      t.equal(status, 400, query.slice(0, 60));
      t.same(codes(body), ['graphql_query_too_complex']);
      t.equal(body.errors[0].extensions.errors[0].code, code);
      t.notOk('data' in body);
    }
  };
  await refused('{ customers(first: 100) { nodes { orders(first: 100) { nodes { id } } } } }', 'too_much_cost');
  await refused(
    'query ($n: Int) { customers(first: $n) { nodes { orders(first: $n) { nodes { id } } } } }',
    'too_much_cost',
    { n: 100 },
  );
  await refused(
    'query ($n: Int = 100) { customers(first: $n) { edges { node { orders(first: $n) { edges { node { id } } } } } } }',
    'too_much_cost',
  );
  await refused(
    '{ customers(first: 100) { ...C } } fragment C on CustomerConnection { nodes { ...D } } fragment D on Customer { orders(first: 100) { nodes { id } } }',
    'too_much_cost',
  );
  await refused(
    `{ ${Array.from({ length: 25 }, (_, i) => `m${i}: metrics { retentionRate { value } }`).join(' ')} }`,
    'too_much_cost',
  );
  await refused(
    `{ ${Array.from({ length: limits.aliases + 1 }, (_, i) => `a${i}: __typename`).join(' ')} }`,
    'too_much_aliases',
  );
  await refused(`{ __typename ${'@include(if: true) '.repeat(limits.directives + 1)} }`, 'too_much_directives');
  await refused(`{ ${'__typename '.repeat(limits.tokens)} }`, 'too_much_tokens');
  await refused(`{ __typename } # ${'x'.repeat(limits.characters)}`, 'too_much_characters');
  await refused(`{ customer { ${'company { '.repeat(12)} id ${'} '.repeat(12)} } }`, 'too_much_depth');
  const bomb = Array.from(
    { length: 40 },
    (_, i) => `fragment F${i} on Customer { a: company { ...F${i + 1} } b: referrer { ...F${i + 1} } }`,
  ).join(' ');
  await refused(`{ customer { ...F0 } } ${bomb} fragment F40 on Customer { id }`, 'too_much_depth');
  const { body } = await graphql(
    '{ customers(first: 20) { totalCount nodes { id orders(first: 5) { nodes { id } } } } }',
  );
  t.same(body.extensions.cost, { requested: 1 + 25 + 20 * (1 + 1 + 5), limit: limits.cost });
});

t.test('a request that is none is refused', async (t) => {
  const post = (body: unknown, headers = {}) => request('POST', '/graphql', { body, headers });
  for (const body of [
    [{ query: '{ __typename }' }],
    [],
    'null',
    '"x"',
    {},
    { query: 3 },
    { query: '' },
    { query: '{ __typename }', more: 1 },
    { query: '{ __typename }', variables: [] },
  ]) {
    const answer = await post(body);
    t.equal(answer.status, 400, JSON.stringify(body));
    t.same(codes(answer.body), ['invalid_request']);
  }
  t.equal((await post('{')).status, 400);
  const tree = JSON.stringify({ kind: 'Document', definitions: [] });
  t.same(codes((await post({ query: tree })).body), ['graphql_syntax_error'], 'no syntax tree in place of a text');
  t.same(codes((await post({ query: 'subscription { x }' })).body), ['graphql_validation_failed']);
  t.same(codes((await post({ query: '{ nonsense }' })).body), ['graphql_validation_failed']);
  t.same(codes((await post({ query: 'fragment A on Query { ...A } { ...A }' })).body), ['graphql_validation_failed']);
  t.equal((await request('GET', '/graphql?query={__typename}')).status, 405);
  t.equal((await post({ query: '{ __typename }' }, { Accept: 'text/html' })).status, 406);
  t.equal((await post({ query: '{ __typename }' }, { 'Content-Type': 'text/plain' })).status, 415);
  const long = await post({
    query: 'query ($x: String) { customers(acquisitionSource: $x) { nodes { id } } }',
    variables: { x: 'x'.repeat(1_100_000) },
  });
  t.equal(long.status, 413);
});

t.test('without a valid token there is a challenge', async (t) => {
  for (const path of ['/graphql', '/schema.graphql']) {
    const answer = await request(path === '/graphql' ? 'POST' : 'GET', path, {
      scope: null,
      ...(path === '/graphql' && { body: { query: '{ __typename }' } }),
    });
    t.equal(answer.status, 401);
    t.match(answer.headers.get('www-authenticate'), /^Bearer realm=/);
  }
  const bad = await request('POST', '/graphql', {
    scope: null,
    body: { query: '{ __typename }' },
    headers: { Authorization: 'Bearer x.y.z' },
  });
  t.match(bad.headers.get('www-authenticate'), /invalid_token/);
  t.same(codes(bad.body), ['unauthenticated']);
});

t.test('numbers that JSON cannot carry are errors, never a silent loss', async (t) => {
  for (const literal of ['9007199254740993', '1e300', '1.5', '"1"']) {
    const { body } = await graphql(
      `mutation { createRefund(orderId: "x", input: { amount: ${literal}, refundedAt: "2026-01-01T00:00:00Z" }) { replayed } }`,
    );
    t.same(codes(body), ['graphql_validation_failed'], literal);
  }
  const sent = await request('POST', '/graphql', {
    body: '{"query":"mutation ($a: SafeInt!) { createRefund(orderId: \\"x\\", input: { amount: $a, refundedAt: \\"2026-01-01T00:00:00Z\\" }) { replayed } }","variables":{"a":9007199254740993}}',
  });
  t.same(codes(sent.body), ['graphql_variables_invalid']);
  const safe = scalarsByName.get('SafeInt');
  t.equal(safe?.serialize(Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
  t.throws(() => safe?.serialize(2 ** 53), /2\^53/);
  t.throws(() => safe?.serialize(0.5));
  const nested = await graphql(
    'mutation ($x: String) { createCustomer(input: { name: "x", attributes: { a: $x } }) { created } }',
    { x: 'y' },
  );
  t.same(codes(nested.body), ['graphql_validation_failed'], 'a variable inside a JSON literal');
});

t.test('the number of statements follows the shape of the query and not its rows', async (t) => {
  const count = async (text: string, variables: Record<string, unknown>) => {
    return statementsOf(async () => {
      const { body } = await graphql(text, variables);
      t.notOk(body.errors, JSON.stringify(body.errors));
    });
  };
  const shapes = {
    'look-ahead':
      'query ($n: Int) { customers(first: $n) { nodes { id orders(first: 5) { nodes { id items { sku } } } } } }',
    loaders: `query ($n: Int) { customers(first: $n) { nodes { id company { id } referrer { id orders(first: 2) { nodes { id } } } summary { orders }
      a: orders(first: 2) { nodes { id refunds { id } customer { id company { id } } } } b: orders(first: 1) { totalCount nodes { id } } } } }`,
    'children of children':
      'query ($n: Int) { orders(first: $n) { nodes { id customer { id summary { orders } orders(first: 2) { nodes { id customer { id } refunds { amount } } } } } } }',
  };
  await stock('many', 20, 3);
  await graphql(
    'mutation { upsertCustomer(reference: { source: "shop", externalId: "many-0" }, input: { kind: COMPANY, name: "Co" }) { created } }',
  );
  const company = (await graphql('{ customer(reference: { source: "shop", externalId: "many-0" }) { id } }')).body.data
    .customer.id;
  const members = Array.from({ length: 12 }, (_, i) => ({
    companyId: company,
    referredBy: company,
    references: [{ source: 'shop', externalId: `many-${i + 1}` }],
  }));
  await graphql(
    'mutation ($customers: [CustomerInput!]!) { batchCustomers(customers: $customers) { results { status error { code } } } }',
    { customers: members },
  );
  for (const [name, text] of Object.entries(shapes)) {
    const few = await count(text, { n: 8 });
    const many = await count(text, { n: 30 });
    t.equal(many, few, `${name}: ${few} statements`);
  }
  t.equal(await count(shapes['look-ahead'], { n: 20 }), 1, 'customers and their orders are one statement');
});

t.test('the schema is served, and introspected with a scope in production', async (t) => {
  const sdl = await request('GET', '/schema.graphql', { scope: 'customers:read' });
  t.match(sdl.headers.get('content-type'), /application\/graphql/);
  t.ok(buildSchema(sdl.body).getMutationType()?.getFields()['batchOrders']);
  t.notOk((await graphql(getIntrospectionQuery(), {}, { scope: 'none' })).body.errors, 'open in development');
  const production = await testApp(t, { env: { NODE_ENV: 'production' } });
  for (const query of [
    getIntrospectionQuery(),
    '{ __type(name: "Customer") { name } }',
    '{ ...A } fragment A on Query { a: __schema { description } }',
  ]) {
    t.same(codes((await production.graphql(query, {}, { scope: 'customers:read' })).body), ['insufficient_scope']);
    t.notOk((await production.graphql(query, {}, { scope: 'schema:read' })).body.errors);
  }
  t.notOk((await production.graphql('{ __typename }', {}, { scope: 'customers:read' })).body.errors);
});

t.test('the explorer page needs nothing but this service', async (t) => {
  const page = await request('GET', '/graphiql', { scope: null });
  t.equal(page.status, 200);
  t.match(page.headers.get('content-security-policy'), /default-src 'none'.*script-src 'self'/);
  const assets = [...page.body.matchAll(/(?:src|href)="(?!data:)([^"]+)"/g)].map(([, path]: string[]) => path ?? '');
  t.ok(assets.length >= 6);
  for (const path of assets) t.equal((await request('GET', path, { scope: null })).status, 200, path);
  t.equal((await request('GET', '/graphiql/package.json', { scope: null })).status, 404, 'and opens no folder');
});

t.test('what nobody foresaw is told as such and no more', async (t) => {
  const admin = new pg.Client(service.connection);
  await admin.connect();
  t.teardown(() => admin.end());
  await admin.query('alter table exchange_rates rename to elsewhere');
  for (let i = 0; i < 3; i += 1) {
    const { status, body } = await graphql('{ exchangeRates { nodes { rate } } customers(first: 1) { nodes { id } } }');
    t.equal(status, 200);
    t.equal(body.data.customers.nodes.length, 1, 'its neighbours are answered');
    t.same(codes(body), ['internal_error']);
    t.match(body.errors[0].extensions.instance, /^[0-9a-f-]{36}$/);
    t.notMatch(JSON.stringify(body.errors), /exchange_rates|relation|select|pg/i);
  }
  await admin.query('alter table elsewhere rename to exchange_rates');
});
