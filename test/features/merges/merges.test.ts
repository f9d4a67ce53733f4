import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { leadDifferences } from '../../../src/features/leads/comparison.ts';
import { ledgerDifferences } from '../../../src/features/loyalty/comparison.ts';
import { earningDifferences } from '../../../src/features/loyalty/earning-comparison.ts';
import { rewardDifferences } from '../../../src/features/rewards/comparison.ts';
import { rollupDifferences } from '../../../src/features/rollups/queries.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import { runJobs, testApp } from '../../support/app.ts';
import { dumpOf } from '../../support/inventory.ts';
import { stockHouse, stockPerson } from '../../support/people.ts';
import { newKey, orderOf } from '../../support/shop.ts';

const api = await testApp(t, { clock: () => '2026-06-10T12:00:00.000Z' });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());
const pool = openPool(api.connection, { size: 2, statementTimeout: 30_000 });
t.teardown(() => pool.end());
const db = poolDb(pool);

async function differences() {
  return [
    ...(await rollupDifferences(db, 'UTC', 10)),
    ...(await leadDifferences(db, 10)),
    ...(await ledgerDifferences(db, 10)),
    ...(await earningDifferences(db, 'EUR', 10)),
    ...(await rewardDifferences(db, 10)),
  ];
}

async function make(path: string, body: unknown, status = 201): Promise<any> {
  const answer = await request('POST', path, { body, headers: newKey() });
  if (answer.status !== status) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const house = await stockHouse(api);

t.test('a merge moves everything, an unmerge brings it back exactly', async (t) => {
  const a = await stockPerson(api, house);
  const b = await stockPerson(api, house);
  await runJobs(api);
  const before = await dumpOf(database, [a.customer, b.customer]);
  const preview = await make(`/v1/customers/${a.customer}/merge/preview`, { customerId: b.customer }, 200);
  t.strictSame(preview.obstacles, []);
  const merged = await make(`/v1/customers/${a.customer}/merge`, { customerId: b.customer }, 200);
  t.strictSame(
    [...merged.moves].sort((x: any, y: any) => (x.kind < y.kind ? -1 : 1)),
    [...preview.moves].sort((x: any, y: any) => (x.kind < y.kind ? -1 : 1)),
  );
  t.strictSame(merged.decisions, preview.decisions);
  const after = await dumpOf(database, [a.customer, b.customer]);
  t.strictSame(await dumpOf(database, [b.customer]), Object.fromEntries(Object.keys(after).map((name) => [name, []])));
  for (const name of [
    'orders',
    'orderItems',
    'refunds',
    'returns',
    'interactions',
    'identities',
    'surveyResponses',
    'surveyAnswers',
    'loyaltyLots',
  ])
    t.equal(after[name]?.length, before[name]?.length, name);
  t.strictSame(await differences(), []);
  const parted = await make(`/v1/customers/${a.customer}/unmerge`, { mergeId: merged.id }, 200);
  t.strictSame(parted.kept, []);
  t.strictSame(await dumpOf(database, [a.customer, b.customer]), before);
  t.strictSame(await differences(), []);
  await runJobs(api);
  t.strictSame(await dumpOf(database, [a.customer, b.customer]), before);
});

t.test('the old id leads on, on both doors', async (t) => {
  const a = await stockPerson(api, house);
  const b = await stockPerson(api, house);
  await make(`/v1/customers/${a.customer}/merge`, { customerId: b.customer }, 200);
  const old = b.customer;
  for (const path of [
    '',
    '/orders',
    '/timeline',
    '/summary',
    '/loyalty',
    '/interactions',
    '/merges',
    '/consents',
    '/survey-responses',
    '/follow-ups',
    '/redemptions',
    '/loyalty/transactions',
    '/loyalty/tier-changes',
    '/consents/history',
    '/export',
  ]) {
    const query = path === '/orders' ? '?limit=1&sort=-placedAt' : '';
    const answer = await request('GET', `/v1/customers/${old}${path}${query}`);
    t.equal(answer.status, 301, path);
    t.equal(answer.headers.get('location'), `/v1/customers/${a.customer}${path}${query}`);
  }
  for (const path of ['', '/stages', '/assignments', '/score']) {
    const answer = await request('GET', `/v1/leads/${old}${path}`);
    t.equal(answer.status, 301, path);
    t.equal(answer.headers.get('location'), `/v1/leads/${a.customer}${path}`);
  }
  const patch = await request('PATCH', `/v1/customers/${old}`, { body: { name: 'X' }, headers: { 'If-Match': '*' } });
  t.equal(patch.status, 308);
  const stage = await request('POST', `/v1/leads/${old}/stage`, { body: { to: 'sales_qualified' }, headers: newKey() });
  t.equal(stage.status, 308);
  t.equal(stage.headers.get('location'), `/v1/leads/${a.customer}/stage`);
  const followed = await fetch(`${api.origin}/v1/leads/${old}/assign`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${api.token('*')}`, ...newKey() },
    body: '{}',
  });
  t.equal(followed.status, 200);
  const order = await request('POST', '/v1/orders', { body: orderOf({ customerId: old }), headers: newKey() });
  t.equal(order.status, 201);
  t.equal(order.body.customerId, a.customer);
  const batch = await request('POST', '/v1/orders/batch', {
    body: { orders: [orderOf({ customerId: old }), orderOf({ customerId: old.toUpperCase() })] },
  });
  t.strictSame(
    batch.body.results.map((one: any) => one.status),
    ['created', 'created'],
  );
  for (const list of [
    'orders',
    'returns',
    'interactions',
    'survey-responses',
    'follow-ups',
    'survey-invitations',
    'loyalty/transactions',
    'loyalty/redemptions',
    'consents',
    'assignments',
  ]) {
    const [given, now] = await Promise.all(
      [old, a.customer].map((id) => request('GET', `/v1/${list}?customerId=${id}`)),
    );
    t.strictSame(given?.body, now?.body, list);
  }
  const first = await request('GET', `/v1/orders?customerId=${old}&limit=2`);
  const next = await request('GET', `/v1/orders?customerId=${old}&limit=2&after=${first.body.page.next}`);
  t.equal(next.status, 200);
  t.equal(next.body.data.length, 2);
  const asked = await graphql(
    `query ($id: ID!) { customer(id: $id) { id orders { totalCount } } orders(customerId: $id) { totalCount } lead(id: $id) { id } customerLoyalty(id: $id) { customerId } customerMerges(id: $id) { nodes { mergedId survivorId customer { id } } } }`,
    { id: old },
  );
  t.equal(asked.body.errors, undefined, JSON.stringify(asked.body.errors));
  t.equal(asked.body.data.customer.id, a.customer);
  t.equal(asked.body.data.customer.orders.totalCount, 7);
  t.equal(asked.body.data.orders.totalCount, 7);
  t.equal(asked.body.data.lead.id, a.customer);
  t.equal(asked.body.data.customerMerges.nodes[0].mergedId, old);
  const named = await request('GET', `/v1/customers/external/shop/${b.name}`);
  t.equal(named.body.id, a.customer);
  const key = newKey();
  const body = orderOf({ customerId: old });
  const one = await request('POST', '/v1/orders', { body, headers: key });
  const two = await request('POST', '/v1/orders', { body, headers: key });
  t.equal(one.status, 201, JSON.stringify(one.body));
  t.equal(two.headers.get('idempotency-replayed'), 'true');
  t.strictSame(one.body, two.body);
  const metric = await request(
    'GET',
    `/v1/metrics/lifetime-value?customerId=${old}&from=2026-01-01T00:00:00Z&to=2026-07-01T00:00:00Z`,
  );
  t.equal(metric.status, 200, JSON.stringify(metric.body));
});

t.test('chains are flat, and merges are undone in reverse order', async (t) => {
  const [a, b, c, d] = [
    await stockPerson(api, house),
    await stockPerson(api, house),
    await stockPerson(api, house),
    await stockPerson(api, house),
  ];
  const all = [a, b, c, d].map(({ customer }) => customer);
  await runJobs(api);
  const before = await dumpOf(database, all);
  const one = await make(`/v1/customers/${b.customer}/merge`, { customerId: a.customer }, 200);
  const between = await dumpOf(database, all);
  const two = await make(`/v1/customers/${c.customer}/merge`, { customerId: b.customer }, 200);
  const three = await make(`/v1/customers/${c.customer}/merge`, { customerId: d.customer }, 200);
  for (const old of [a, b, d]) {
    const answer = await request('GET', `/v1/customers/${old.customer}`);
    t.equal(answer.headers.get('location'), `/v1/customers/${c.customer}`);
  }
  t.strictSame(await differences(), []);
  const merges = await request('GET', `/v1/customers/${c.customer}/merges`);
  t.strictSame(
    merges.body.data.map((m: any) => m.id),
    [three.id, two.id, one.id],
  );
  const early = await request('POST', `/v1/customers/${c.customer}/unmerge`, {
    body: { mergeId: two.id },
    headers: newKey(),
  });
  t.equal(early.status, 409);
  t.equal(early.body.code, 'not_undoable');
  t.equal(early.body.id, three.id);
  t.strictSame((await make(`/v1/customers/${c.customer}/unmerge`, { mergeId: three.id }, 200)).kept, []);
  t.strictSame((await make(`/v1/customers/${c.customer}/unmerge`, { mergeId: two.id }, 200)).kept, []);
  t.strictSame(await dumpOf(database, all), between);
  t.equal((await request('GET', `/v1/customers/${a.customer}`)).headers.get('location'), `/v1/customers/${b.customer}`);
  t.strictSame((await make(`/v1/customers/${b.customer}/unmerge`, { mergeId: one.id }, 200)).kept, []);
  t.strictSame(await dumpOf(database, all), before);
  t.strictSame(await differences(), []);
  const again = await request('POST', `/v1/customers/${b.customer}/unmerge`, {
    body: { mergeId: one.id },
    headers: newKey(),
  });
  t.equal(again.body.code, 'already_undone');
});

t.test('a person whose company also referred it: both ids follow a merge of companies, and come back', async (t) => {
  const company = async () => (await make('/v1/customers', { kind: 'company', name: 'Works' })).id;
  const [survivor, other] = [await company(), await company()];
  const person = (await make('/v1/customers', { name: 'Member', companyId: other, referredBy: other })).id;
  const names = async () => {
    const { companyId, referredBy } = (await request('GET', `/v1/customers/${person}`)).body;
    return { companyId, referredBy };
  };
  const { id: mergeId } = await make(`/v1/customers/${survivor}/merge`, { customerId: other }, 200);
  t.same(await names(), { companyId: survivor, referredBy: survivor });
  t.same((await make(`/v1/customers/${survivor}/unmerge`, { mergeId }, 200)).kept, []);
  t.same(await names(), { companyId: other, referredBy: other });
});

t.test('what cannot be merged says why', async (t) => {
  const [a, b, c] = [await stockPerson(api, house), await stockPerson(api, house), await stockPerson(api, house)];
  const merge = (to: string, body: object, headers = {}) =>
    request('POST', `/v1/customers/${to}/merge`, { body, headers: { ...newKey(), ...headers } });
  const itself = await merge(a.customer, { customerId: a.customer });
  t.match(itself, { status: 422, body: { errors: [{ pointer: '/customerId', code: 'same_customer' }] } });
  const company = await merge(a.customer, { customerId: house.company });
  t.match(company, { status: 409, body: { code: 'merge_refused' } });
  t.strictSame(
    company.body.errors.map(({ code }: any) => code),
    ['other_kind', 'own_company'],
  );
  const unknown = await merge(a.customer, { customerId: '0198c0de-0000-7000-8000-000000000001' });
  t.match(unknown, { status: 422, body: { errors: [{ code: 'not_found' }] } });
  t.match(await merge(a.customer, { customerId: b.customer, expectedVersion: 99 }), { status: 412 });
  t.match(await merge(a.customer, { customerId: b.customer }, { 'If-Match': '"99"' }), { status: 412 });
  t.match(await merge(a.customer, { customerId: b.customer }), { status: 200 });
  t.match(await merge(c.customer, { customerId: b.customer }), {
    status: 409,
    body: { code: 'merged', id: a.customer },
  });
  t.match(await merge(b.customer, { customerId: c.customer }), { status: 308 });
  const denied = await request('POST', `/v1/customers/${a.customer}/merge`, {
    body: { customerId: c.customer },
    scope: 'customers:write',
  });
  t.match(denied, { status: 403, body: { code: 'insufficient_scope' } });
  const erased = await request('POST', `/v1/customers/${a.customer}/erase`, { headers: newKey() });
  t.equal(erased.status, 200);
  const merges = await request('GET', `/v1/customers/${a.customer}/merges`);
  const mergeId = merges.body.data[0].id;
  const parted = await request('POST', `/v1/customers/${a.customer}/unmerge`, { body: { mergeId }, headers: newKey() });
  t.match(parted, { status: 409, body: { code: 'not_undoable' } });
  t.match(await merge(c.customer, { customerId: a.customer }), { status: 409, body: { errors: [{ code: 'erased' }] } });
});

t.test('values of the two are told with customers:pii only, and telling them is audited', async (t) => {
  const a = await stockPerson(api, house);
  const b = await stockPerson(api, house);
  const input = { customerId: b.customer };
  const without = { scope: 'customers:read customers:merge' };
  const path = `/v1/customers/${a.customer}/merge`;
  const document = `query ($id: ID!, $input: MergeInput!) {
    customerMergePreview(id: $id, input: $input) { decisions { member survivor other result } } }`;
  const readBy = async (client: string) => {
    const { body } = await request('GET', `/v1/customers/${a.customer}/audit-entries?kind=read`);
    return body.data.filter((entry: any) => entry.client === client).map((entry: any) => entry.operation);
  };

  const masked = [
    await request('POST', `${path}/preview`, { body: input, ...without, client: 'masked' }),
    await request('POST', `${path}?dryRun=true`, { body: input, headers: newKey(), ...without, client: 'masked' }),
    await graphql(document, { id: a.customer, input }, { ...without, client: 'masked' }),
  ];
  for (const { status, body } of masked) {
    t.equal(status, 200, JSON.stringify(body));
    const { decisions } = body.data?.customerMergePreview ?? body;
    t.ok(decisions.length > 0, 'the members are named');
    for (const { survivor, other, result } of decisions) t.strictSame([survivor, other, result], [null, null, null]);
    for (const name of [a.name, b.name]) t.notMatch(JSON.stringify(body), new RegExp(`[nN]ame ${name}|${name}@`));
  }

  const full = await request('POST', `${path}/preview`, { body: input, client: 'full' });
  t.match(JSON.stringify(full.body), `Name ${b.name}`);
  await graphql(document, { id: a.customer, input }, { client: 'full' });
  const dry = await request('POST', `${path}?dryRun=true`, { body: input, headers: newKey(), client: 'full' });
  t.match(JSON.stringify(dry.body), `Name ${b.name}`);
  // Reads are written to the audit a moment later, in their order.
  for (let tries = 0; tries < 100 && (await readBy('full')).length < 3; tries += 1) await setTimeout(25);
  t.strictSame((await readBy('full')).sort(), ['mergeCustomer', 'previewCustomerMerge', 'previewCustomerMerge']);
  t.strictSame(await readBy('masked'), []);

  const key = newKey();
  const merged = await request('POST', path, { body: input, headers: key, ...without });
  t.equal(merged.status, 200);
  t.notMatch(JSON.stringify(merged.body), new RegExp(`[nN]ame ${b.name}|${b.name}@`));
  // As if it had been stored by a version that did not mask it.
  const stored = await database.query(
    `update idempotency_keys set body = replace(body, '"result":null', '"result":"stored"') where key = $1`,
    [key['Idempotency-Key']],
  );
  t.equal(stored.rowCount, 1);
  const replay = await request('POST', path, { body: input, headers: key, ...without });
  t.equal(replay.headers.get('idempotency-replayed'), 'true');
  t.strictSame(replay.body, merged.body, 'an answer that is replayed is masked again');
});
