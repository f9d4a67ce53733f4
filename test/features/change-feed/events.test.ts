import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { follow, position } from '../../support/feed.ts';
import { newKey } from '../../support/shop.ts';

/** The feed over both doors: what is asked, who hears what, waiting, and what is not kept any more. */

const api = await testApp(t);
let names = 0;
const fresh = () => {
  names += 1;
  return `e-${names}`;
};
const post = async (path: string, body: object) => {
  const answer = await api.request('POST', path, { body, headers: newKey() });
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
};
const change = (method: string, path: string, body?: object) =>
  api.request(method, path, { headers: { 'If-Match': '*', ...newKey() }, ...(body && { body }) });
const newOrder = (customerId: string, more: object = {}) =>
  post('/v1/orders', {
    source: 'shop',
    externalId: fresh(),
    customerId,
    placedAt: '2026-03-01T08:26:00Z',
    currency: 'EUR',
    total: 100,
    paymentStatus: 'paid',
    items: [{ sku: 'A', quantity: 1, total: 100 }],
    note: 'Ring twice',
    ...more,
  });
const newCustomer = async (more: object = {}): Promise<string> =>
  (
    await post('/v1/customers', {
      name: 'Ada',
      identities: [{ kind: 'email', value: `${fresh()}@example.org` }],
      ...more,
    })
  ).id;
const types = (events: readonly { type: string }[]) => events.map(({ type }) => type);

t.test('filters, pages and what comes with events', async (t) => {
  const from = await position(api);
  const [ada, bob] = [await newCustomer(), await newCustomer()];
  const order = await newOrder(ada);
  await newOrder(bob);
  await change('PATCH', `/v1/orders/${order.id}`, { channel: 'web' });
  await change('DELETE', `/v1/orders/${order.id}`);
  const all = (await follow(api, from)).events;
  t.strictSame(types(all), [
    'customer.created',
    'customer.created',
    'order.created',
    'order.created',
    'order.updated',
    'order.deleted',
  ]);
  t.strictSame(types((await follow(api, from, '&kind=order')).events), types(all).slice(2));
  t.strictSame(types((await follow(api, from, '&type=order.deleted,customer.created')).events), [
    'customer.created',
    'customer.created',
    'order.deleted',
  ]);
  t.equal((await follow(api, from, `&customerId=${ada}`)).events.length, 4);
  const pages = [];
  for (let after = from; ; ) {
    const { body, headers } = await api.request('GET', `/v1/events?limit=2&after=${after}`);
    pages.push(...body.data);
    t.match(headers.get('link'), /rel="next"/);
    after = body.page.next;
    if (!body.page.hasMore) break;
  }
  t.strictSame(pages, all);
  const { events } = await follow(api, from, '&include=record');
  t.strictSame(
    events.map(({ current }) => current?.['id'] ?? null),
    [ada, bob, null, all[3]?.record.id, null, null],
    'what is gone has no record',
  );
  t.equal(events[3]?.current?.['note'], 'Ring twice');
  t.match(all[0]?.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7000-8[0-9a-f]{3}-[0-9a-f]{12}$/);
});

t.test('GraphQL answers the same', async (t) => {
  const { body: asked } = await api.graphql('{ eventPosition { position } }');
  const from = asked.data.eventPosition.position;
  const ada = await newCustomer();
  const order = await newOrder(ada);
  const query = `query($after: String, $kind: [EventKind!]) { events(first: 10, after: $after, kind: $kind, include: [RECORD]) {
    nodes { id type occurredAt customerId changed current record { kind id version } } pageInfo { hasNextPage endCursor } } }`;
  const { body } = await api.graphql(query, { after: from, kind: ['ORDER'] });
  const [node] = body.data.events.nodes;
  t.match(node, { type: 'order.created', customerId: ada, record: { kind: 'ORDER', id: order.id, version: 1 } });
  t.equal(node.current.note, 'Ring twice');
  t.equal(body.data.events.nodes.length, 1);
  const { events, next } = await follow(api, from, '&kind=order');
  t.equal(events[0]?.id, node.id);
  const { body: later } = await api.graphql(query, { after: next });
  t.strictSame(later.data.events.nodes, []);
  t.ok(later.data.events.pageInfo.endCursor, 'an empty page says where to go on');
});

t.test('a cursor is the client’s own, and cannot be made up', async (t) => {
  const mine = await position(api);
  const other = await api.request('GET', `/v1/events?after=${mine}`, { client: 'another' });
  t.match([other.status, other.body.code], [400, 'invalid_cursor']);
  const forged = await api.request('GET', `/v1/events?after=${Buffer.from('[1,""]').toString('base64url')}.AAAA`);
  t.equal(forged.status, 400);
});

t.test('a token hears of the kinds that it may read, and sees of records what it may see', async (t) => {
  const options = { scope: 'events:read orders:read', client: 'narrow' };
  const from = await position(api, options);
  const ada = await newCustomer();
  await newOrder(ada);
  await post('/v1/clients', { name: 'Other', scopes: ['orders:read'] });
  const { events } = await follow(api, from, '&include=record', options);
  t.strictSame(types(events), ['order.created']);
  t.equal(events[0]?.current?.['note'], null, 'masked without customers:pii');
  const closed = await api.request('GET', '/v1/events?kind=order,customer', options);
  t.match([closed.status, closed.body.code, closed.body.scope], [403, 'insufficient_scope', 'customers:read']);
  t.equal((await api.request('GET', '/v1/events', { scope: 'orders:read' })).status, 403);
  t.strictSame(
    (await follow(api, await position(api, { scope: 'events:read' }), '', { scope: 'events:read' })).events,
    [],
  );
});

t.test('a partner hears of its customers, and when sharing begins and ends', async (t) => {
  const partner = (await post('/v1/partners', { name: 'Dealers', fields: ['Customer.name'] })).id;
  const options = { partner, client: 'dealers', scope: 'events:read customers:read customers:pii orders:read' };
  const [shared, other] = [await newCustomer(), await newCustomer()];
  const order = await newOrder(other);
  const from = await position(api, options);
  await change('PUT', `/v1/partners/${partner}/customers/${shared}`, { writable: true });
  const own = await newOrder(shared);
  await change('PATCH', `/v1/orders/${own.id}`, { note: 'Secret', channel: 'web' });
  const { events, next } = await follow(api, from, '&include=record', options);
  t.strictSame(types(events), ['customer.shared', 'order.created', 'order.updated']);
  t.match(events[0], { record: { kind: 'customer', id: shared }, customerId: shared, changed: [] });
  t.notOk('current' in (events[0] ?? {}), 'the id only');
  t.equal(events[1]?.customerId, shared);
  t.equal(events[1]?.current?.['note'], null);
  t.equal(events[2]?.record.version, 2);
  t.strictSame(events[2]?.changed, [], 'not even the names of members that it is not shown');

  await change('PATCH', `/v1/orders/${own.id}`, { customerId: other });
  const moved = await follow(api, next, '&include=record', options);
  t.match(moved.events, [{ type: 'order.deleted', record: { id: own.id }, customerId: shared, changed: [] }]);
  t.notMatch(JSON.stringify(moved.events), other, 'and not whose it is now');

  await change('DELETE', `/v1/partners/${partner}/customers/${shared}`);
  await newOrder(shared);
  const ended = await follow(api, moved.next, '', options);
  t.strictSame(types(ended.events), ['customer.unshared']);
  t.notMatch(JSON.stringify([events, moved, ended]), order.id);
  const everybody = await follow(api, await position(api), '&type=customer.shared,customer.unshared');
  t.strictSame(everybody.events, []);
});

t.test('a customer hears of its own records', async (t) => {
  const [ada, bob] = [await newCustomer(), await newCustomer()];
  const options = { customer: ada, client: 'self', scope: 'events:read customers:read customers:pii orders:read' };
  const from = await position(api, options);
  const order = await newOrder(ada);
  await newOrder(bob);
  t.match((await follow(api, from, '&include=record', options)).events, [
    { type: 'order.created', record: { id: order.id }, customerId: ada, current: { id: order.id } },
  ]);
});

t.test('of who was merged or erased, the id is told', async (t) => {
  const [ada, bob] = [await newCustomer(), await newCustomer()];
  const order = await newOrder(bob);
  const from = await position(api);
  await post(`/v1/customers/${ada}/merge`, { customerId: bob });
  const merged = await follow(api, from, '&include=record&kind=customer,order');
  t.match(
    merged.events.find(({ type }) => type === 'customer.merged'),
    { record: { id: bob }, customerId: ada },
  );
  t.match(
    merged.events.find(({ record }) => record.id === order.id),
    { type: 'order.updated', customerId: ada, current: { customerId: ada }, changed: ['customerId'] },
  );
  await post(`/v1/customers/${ada}/erase`, {});
  const erased = (await follow(api, merged.next, '&include=record')).events.find(
    ({ type }) => type === 'customer.erased',
  );
  t.match(erased, { record: { id: ada }, changed: [] });
  t.notOk('current' in (erased ?? {}));
});

t.test('whoever waits is told when something comes, holds no connection, and is answered at last', async (t) => {
  const from = await position(api);
  const waiting = Array.from({ length: 40 }, () => api.request('GET', `/v1/events?wait=30&after=${from}`));
  await sleep(300);
  const before = await api.request('GET', '/v1/orders?limit=1');
  t.equal(before.status, 200, 'a pool of 20 has connections left beside 40 who wait');
  const ada = await newCustomer();
  for (const answer of await Promise.all(waiting)) t.equal(answer.body.data[0]?.record.id, ada);
  const quiet = await api.request('GET', `/v1/events?wait=1&after=${await position(api)}`);
  t.match([quiet.status, quiet.body.data], [200, []]);
  t.equal((await api.request('GET', '/v1/events?wait=31')).status, 422);
});

t.test('a service that stops answers those who wait', async (t) => {
  const other = await testApp(t, { beside: api });
  const from = await position(other);
  const waiting = other.request('GET', `/v1/events?wait=30&after=${from}`);
  await sleep(200);
  const started = performance.now();
  const closed = other.app.close();
  t.match((await waiting).body.data, []);
  await closed;
  t.ok(performance.now() - started < 25_000, 'and does not wait with them');
});

t.test('what is too old is dropped with its partition, and a cursor from before it is refused', async (t) => {
  const from = await position(api);
  await newCustomer();
  const client = new pg.Client(api.connection);
  await client.connect();
  t.teardown(() => client.end());
  const partitions = async () =>
    (
      await client.query(
        `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'feed.events'::regclass order by 1`,
      )
    ).rows.map(({ name }) => name);
  const before = await partitions();
  t.ok(before.length >= 5);
  t.equal((await api.request('GET', `/v1/events?after=${from}`)).status, 200);
  const later = new Date(Date.now() + 200 * 86_400_000).toISOString();
  const future = await testApp(t, { beside: api, clock: () => later });
  await future.app.jobs.addRecurring(['tendEvents']);
  await future.app.jobs.runDue();
  const after = await partitions();
  t.strictSame(
    before.filter((name) => after.includes(name)),
    ['feed.events_rest'],
    'weeks that are over are gone',
  );
  t.ok(after.length >= 5, 'and there are those to come');
  const gone = await api.request('GET', `/v1/events?after=${from}`);
  t.match([gone.status, gone.body.code], [410, 'cursor_expired']);
  const { body } = await api.graphql('query($after: String) { events(after: $after) { nodes { id } } }', {
    after: from,
  });
  t.equal(body.errors[0].extensions.code, 'cursor_expired');
  t.equal((await follow(api, null)).events.length, 0, 'from the beginning: what there is');
  // No partition is there for now: a change is kept all the same.
  const since = await position(api);
  const ada = await newCustomer();
  t.match((await follow(api, since)).events, [{ record: { id: ada } }]);
  await future.app.jobs.addRecurring(['tendEvents']);
  await future.app.jobs.runDue();
  t.equal((await api.request('GET', `/v1/events?after=${since}`)).status, 410);
});
