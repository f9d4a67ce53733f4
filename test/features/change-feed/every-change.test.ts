import { getTableName } from 'drizzle-orm';
import pg from 'pg';
import t, { type Test } from 'tap';
import { feedTriggers } from '../../../src/records/feed.ts';
import { storedTables } from '../../../src/records/table.ts';
import { testApp } from '../../support/app.ts';
import { asDifferences, differences, follow, position, rowsOf } from '../../support/feed.ts';
import { stockHouse, stockPerson } from '../../support/people.ts';

/** Every change of every kind of record is told once, by whatever way it came about. */

const api = await testApp(t);
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

t.test('every table that is in the feed has its triggers, and they are on', async (t) => {
  const { rows } = await database.query<{ name: string }>(
    `select tgrelid::regclass || ' ' || tgname as name from pg_trigger where tgname like 'feed\\_%' and tgenabled = 'O' order by 1`,
  );
  const expected = storedTables().flatMap((stored) => {
    const name = getTableName(stored.table);
    return feedTriggers(stored).flatMap(
      (text) => /create or replace trigger (\w+)/.exec(text)?.[1]?.replace(/^/, `${name} `) ?? [],
    );
  });
  t.strictSame(
    rows.map(({ name }) => name),
    expected.sort(),
  );
  t.ok(expected.length > 100);
});

/** Runs a call, and holds what the feed tells of it against the difference of all tables. */
async function told(
  t: Test,
  what: string,
  work: () => Promise<{ status?: number; body?: any } | unknown>,
): Promise<any> {
  const from = await position(api);
  const before = await rowsOf(api);
  const answer = (await work()) as { status?: number; body?: any };
  const expected = differences(before, await rowsOf(api));
  const { events } = await follow(api, from);
  // Jobs are several transactions.
  const found = asDifferences(events);
  t.strictSame(
    what === 'jobs' ? [...new Set(found)] : found,
    expected,
    `${what}: ${answer?.status ?? ''} ${answer?.status && answer.status >= 400 ? JSON.stringify(answer.body) : ''}`,
  );
  t.ok(events.every(({ changed, type }) => !/\.(created|deleted|erased|merged)$/.test(type) || changed.length === 0));
  return answer?.body;
}

const anyVersion = { 'If-Match': '*' };
let keys = 0;
const next = () => {
  keys += 1;
  return keys;
};
const headers = () => ({ ...anyVersion, 'Idempotency-Key': `change-${next()}` });
const order = (more: object = {}) => ({
  source: 'shop',
  externalId: `feed-${next()}`,
  placedAt: '2026-03-01T08:26:00Z',
  currency: 'EUR',
  total: 1530,
  paymentStatus: 'paid',
  items: [{ sku: 'A', quantity: 1, total: 1530 }],
  ...more,
});

t.test('over REST: what is made, changed, moved, merged, parted, erased and deleted', async (t) => {
  const calls = (what: string) => (method: string, path: string, body?: object) =>
    told(t, `${what}: ${method} ${path}`, () =>
      api.request(method, path, { headers: headers(), ...(body && { body }) }),
    );
  const stock = await stockHouse(api);
  const ada = await stockPerson(api, stock, 'ada');
  const bob = await stockPerson(api, stock, 'bob');
  const call = calls('rest');
  await call('PATCH', `/v1/orders/${ada.order}`, { channel: 'web' });
  await call('PATCH', `/v1/orders/${ada.order}`, { items: [{ sku: 'B', quantity: 1, total: 1530 }], total: 1530 });
  await call('PATCH', `/v1/orders/${ada.order}`, { customerId: bob.customer });
  await call('PATCH', `/v1/customers/${ada.customer}`, { name: 'Ada L.', acquisition: { source: 'ads' } });
  await call('PATCH', `/v1/customers/${ada.customer}`, { identities: [{ kind: 'email', value: 'ada2@example.org' }] });
  await call('PATCH', `/v1/campaigns/${stock.campaign}`, { name: 'Summer' });
  await call('PATCH', `/v1/leads/${ada.customer}`, { owner: 'kim' });
  await call('PATCH', `/v1/follow-ups/${ada.followUp}`, { owner: 'kim' });
  await call('PATCH', `/v1/survey-responses/${ada.response}`, { answers: [{ question: 'recommend', score: 9 }] });
  await call('PATCH', `/v1/assignment-rules/${stock.assignmentRule}`, { name: 'Other' });
  await call('POST', `/v1/customers/${ada.customer}/consents`, {
    purpose: 'email',
    status: 'granted',
    evidence: { source: 'form' },
  });
  await call('POST', `/v1/orders/batch`, {
    orders: [order(), order(), order({ customer: { externalId: 'new', email: 'new@example.org', name: 'New' } })].map(
      (one) => ({
        customer: { externalId: 'ada-feed' },
        ...one,
      }),
    ),
  });
  await call('PUT', '/v1/exchange-rates', { rates: [{ date: '2026-03-01', currency: 'USD', rate: 0.9 }] });
  await call('POST', '/v1/orders?dryRun=true', order({ customer: { externalId: 'dry' } }));
  await call('POST', '/v1/orders', order({ customer: null }));
  await call('POST', '/v1/orders', order({ customer: { externalId: 'x' }, total: 1 }));
  await call('POST', '/v1/refunds', {
    source: 'shop',
    externalId: 'early',
    order: { source: 'shop', externalId: 'late' },
    amount: 100,
    refundedAt: '2026-03-02T00:00:00Z',
  });
  await call('POST', '/v1/orders', order({ externalId: 'late', customer: { externalId: 'late' } }));
  await call('POST', `/v1/customers/${bob.customer}/merge`, { customerId: ada.customer });
  const [merge] = (await api.request('GET', `/v1/customers/${bob.customer}/merges`)).body.data;
  await call('POST', `/v1/customers/${bob.customer}/unmerge`, { mergeId: merge?.id });
  await call('POST', `/v1/customers/${bob.customer}/erase`, {});
  await call('DELETE', `/v1/interactions/${ada.interaction}`);
  await call('DELETE', `/v1/refunds/${ada.refund}`);
  await call('DELETE', `/v1/customers/${ada.newcomer}`);
  await call('POST', '/v1/clients', { name: 'Shop', scopes: ['orders:write'] });
  await call('POST', '/v1/retention-rules', { name: 'Old', applies: 'interactions', afterDays: 400 });
  await told(t, 'jobs', () => api.app.jobs.runDue());
});

t.test('over GraphQL', async (t) => {
  const call = (query: string, variables: object) => told(t, query, () => api.graphql(query, { ...variables }));
  const made = await call(
    'mutation($i: OrderInput!, $k: String!) { createOrder(input: $i, idempotencyKey: $k) { order { id version } } }',
    {
      i: { ...order({ customer: { externalId: 'gql' } }), paymentStatus: 'PAID' },
      k: 'gql-1',
    },
  );
  const { id } = made.data.createOrder.order;
  await call(
    'mutation($id: ID!) { updateOrder(id: $id, expectedVersion: 1, input: { channel: "x" }) { order { id } } }',
    { id },
  );
  await call('mutation($id: ID!) { deleteOrder(id: $id, expectedVersion: 2) { deleted } }', { id });
});

t.test('an event names the members that changed, and its version', async (t) => {
  const { body: made } = await api.request('POST', '/v1/orders', {
    headers: headers(),
    body: order({ customer: { externalId: 'named' } }),
  });
  const from = await position(api);
  const patch = (body: object) => api.request('PATCH', `/v1/orders/${made.id}`, { headers: anyVersion, body });
  await patch({ channel: 'web', tags: ['gift'] });
  await patch({ note: 'For Ada' });
  await patch({ items: [{ sku: 'B', quantity: 1, total: 1530 }] });
  const { events } = await follow(api, from);
  t.match(events, [
    {
      type: 'order.updated',
      record: { id: made.id, version: 2 },
      changed: ['channel', 'tags'],
      customerId: made.customerId,
    },
    { record: { version: 3 }, changed: ['note'] },
    { record: { version: 4 }, changed: ['items'] },
  ]);
  t.equal(events.length, 3);
  t.notMatch(JSON.stringify(events), /Ada|gift|web/, 'and no values');
});
