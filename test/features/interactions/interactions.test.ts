import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { directions, interactionKinds } from '../../../src/features/interactions/record.ts';
import { type Answer, testApp } from '../../support/app.ts';
import { allPages, fresh, newKey, pushOrder } from '../../support/shop.ts';
import { statementsOf } from '../../support/statements.ts';

const now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

type Members = Record<string, unknown>;

/** A phone call of somebody. Default: one that the hotline has no number for. */
const callOf = (members: Members = {}): Members => ({
  ...(members['customerId'] === undefined && { customer: { source: 'shop', externalId: 'somebody' } }),
  kind: 'phone',
  occurredAt: '2026-03-01T10:00:00Z',
  ...members,
});
const push = (members: Members = {}, headers: Record<string, string> = {}, query = '') =>
  request('POST', `/v1/interactions${query}`, { body: callOf(members), headers });
const batch = (interactions: unknown[], query = '', headers: Record<string, string> = {}) =>
  request('POST', `/v1/interactions/batch${query}`, { body: { interactions }, headers });
const at = (externalId: string, source = 'hotline') =>
  `/v1/interactions/external/${source}/${encodeURIComponent(externalId)}`;
const put = (externalId: string, members: Members = {}) => request('PUT', at(externalId), { body: callOf(members) });
const patch = (id: string, body: object, ifMatch = '*') =>
  request('PATCH', `/v1/interactions/${id}`, { body, headers: { 'If-Match': ifMatch } });
const remove = (path: string) => request('DELETE', path, { headers: { 'If-Match': '*' } });
const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);
const statuses = ({ body }: Answer) => body.results.map(({ status }: { status: string }) => status).join(' ');
const list = async (query: string) => (await request('GET', `/v1/interactions?${query}`)).body.data;
const topics = async (query: string) => (await list(query)).map(({ topic }: { topic: string }) => topic).sort();
const found = (q: string, more = '') => topics(`q=${encodeURIComponent(q)}${more}`);
const count = async (condition = 'true', values: unknown[] = []) =>
  (await database.query<{ n: number }>(`select count(*)::int as n from interactions where ${condition}`, values))
    .rows[0]?.n;

async function campaign(name = 'Spring'): Promise<string> {
  const { rows } = await database.query<{ id: string }>(
    'insert into campaigns (id, version, name, created_at, updated_at) values (gen_random_uuid(), 1, $1, now(), now()) returning id',
    [name],
  );
  return rows[0]?.id ?? '';
}

t.test('an interaction is created with everything it can have, and read back as it was answered', async (t) => {
  const { body: order } = await pushOrder(api, { customer: { externalId: fresh('caller') } });
  const campaignId = await campaign();
  const externalId = fresh('call');
  const sent = {
    source: 'hotline',
    externalId,
    customerId: order.customerId,
    kind: 'phone',
    direction: 'inbound',
    automatic: true,
    channel: 'hotline',
    occurredAt: '2026-03-01T12:00:00.000001+02:00',
    topic: 'Lieferung',
    outcome: 'solved',
    staff: 'maria',
    seconds: 340,
    pages: 0,
    cost: 420,
    campaignId,
    orderId: order.id,
    ticket: 'T-1042',
    text: 'Wo bleibt das Päckchen?',
    references: [{ source: 'erp', externalId: fresh('E') }],
    sourceVersion: 3,
  };
  const created = await push(sent);
  const { references, sourceVersion: _, ...members } = sent;
  t.match(created, {
    status: 201,
    body: {
      ...members,
      occurredAt: '2026-03-01T10:00:00.000001Z',
      references: [
        { source: 'hotline', externalId, sourceVersion: 3 },
        { ...references[0], sourceVersion: null },
      ],
      version: 1,
      createdAt: now,
      updatedAt: now,
      created: true,
      applied: true,
      warnings: [],
    },
  });
  const { id } = created.body;
  t.equal(created.headers.get('location'), `/v1/interactions/${id}`);
  const { created: __, applied: ___, warnings: ____, ...record } = created.body;
  const path = `/v1/interactions/${id}`;
  for (const address of [path, at(externalId), at(references[0]?.externalId ?? '', 'erp')]) {
    t.strictSame((await request('GET', address)).body, record, address);
  }
  const read = await request('GET', path);
  const etag = read.headers.get('etag') ?? '';
  t.equal((await request('GET', path, { headers: { 'If-None-Match': etag } })).status, 304);

  t.strictSame(
    (await request('GET', path, { scope: 'interactions:read' })).body,
    { ...record, topic: null, outcome: null, ticket: null, text: null },
    'texts that people type are personal',
  );
  t.equal((await request('GET', path, { scope: 'orders:read' })).status, 403);
  t.equal((await request('POST', '/v1/interactions', { body: callOf(), scope: 'interactions:read' })).status, 403);
  const blind = await request('POST', '/v1/interactions', {
    body: callOf({ text: 'secret' }),
    scope: 'interactions:write',
  });
  t.match(blind, { status: 201, body: { text: null } });
  t.equal((await request('GET', `/v1/interactions/${blind.body.id}`)).body.text, 'secret');

  const bare = await push({ kind: 'web_visit' });
  t.match(bare.body, {
    source: null,
    externalId: null,
    references: [],
    direction: null,
    automatic: false,
    topic: null,
    seconds: null,
    cost: null,
    orderId: null,
    text: null,
  });
  const { created: _c, applied: _a, warnings: _w, ...bareRecord } = bare.body;
  t.strictSame((await request('GET', `/v1/interactions/${bare.body.id}`)).body, bareRecord);
});

t.test('what an interaction may not be', async (t) => {
  for (const [members, expected] of [
    [{ kind: 'telepathy' }, '/kind invalid_value'],
    [{ kind: undefined }, '/kind required'],
    [{ direction: 'sideways' }, '/direction invalid_value'],
    [{ occurredAt: undefined }, '/occurredAt required'],
    [{ occurredAt: '2026-06-01T12:10:00.001Z' }, '/occurredAt in_the_future'],
    [{ seconds: -1 }, '/seconds too_small'],
    [{ seconds: 1.5 }, '/seconds invalid_type'],
    [{ cost: -1 }, '/cost too_small'],
    [{ text: 'x'.repeat(10_001) }, '/text too_big'],
    [{ externalId: 'x' }, '/source required'],
    [{ source: 'hotline', sourceVersion: 1 }, '/sourceVersion needs_external_id'],
    [{ customer: undefined }, '/customer customer_required'],
    [{ customer: { externalId: 'nobody said whose' } }, '/customer/source required'],
    [{ customer: undefined, customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' }, '/customerId not_found'],
    [{ campaignId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' }, '/campaignId unknown_campaign'],
    [{ orderId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' }, '/orderId unknown_order'],
    [{ colour: 'red' }, '/colour unknown_member'],
  ] as const) {
    const refused = await push(members);
    t.same([refused.status, ...codes(refused.body)], [422, expected]);
  }
  t.equal((await push({ occurredAt: '2026-06-01T12:10:00Z' })).status, 201, 'clocks differ by ten minutes');
  for (const kind of interactionKinds) t.equal((await push({ kind })).status, 201, kind);
});

t.test('without an external id it is a new one each time; with one it is known', async (t) => {
  const customer = { source: 'shop', externalId: fresh('twice') };
  const first = await push({ customer });
  const second = await push({ customer });
  t.not(first.body.id, second.body.id);
  t.equal(first.body.customerId, second.body.customerId);
  const { rows } = await database.query(`select count(*)::int as n from external_refs where customer_id = $1`, [
    first.body.customerId,
  ]);
  t.same(rows, [{ n: 1 }], 'no name but the customer’s');
  t.match((await push({ source: 'web', customer: { externalId: customer.externalId } })).body, {
    source: 'web',
    externalId: null,
  });
  t.equal((await request('GET', `/v1/customers/external/web/${customer.externalId}`)).status, 200, 'its own source');

  const headers = newKey();
  const once = await push({ customer, text: 'once' }, headers);
  const again = await push({ customer, text: 'once' }, headers);
  t.equal(again.headers.get('idempotency-replayed'), 'true');
  t.strictSame(again.body, once.body);
  t.equal((await push({ customer, text: 'other' }, headers)).status, 422);
  t.equal(await count('customer_id = $1', [first.body.customerId]), 3);

  const externalId = fresh('known');
  const made = await push({ source: 'hotline', externalId });
  t.match(await push({ source: 'hotline', externalId }), {
    status: 409,
    body: { code: 'already_exists', id: made.body.id },
  });
  const alias = { source: 'erp', externalId: fresh('alias') };
  const named = await push({ references: [alias] });
  t.match(named.body, { externalId: null, references: [alias] });
  t.match(await push({ references: [alias] }), {
    status: 409,
    body: { id: named.body.id, errors: [{ pointer: '/references/0', code: 'already_exists' }] },
  });
  const aliased = await request('PUT', at(alias.externalId, 'erp'), { body: callOf({ topic: 'by its further name' }) });
  t.match(aliased.body, { id: named.body.id, externalId: null, topic: 'by its further name', created: false });
});

t.test('it is changed, replaced, moved and deleted, each at the version that was seen', async (t) => {
  const [one, other] = [fresh('one'), fresh('other')].map((externalId) => ({ source: 'shop', externalId }));
  const externalId = fresh('call');
  const body = callOf({ customer: one, topic: 'delivery', outcome: 'open', staff: 'maria', text: 'late' });
  const created = await request('PUT', at(externalId), { body: { ...body, sourceVersion: 5 } });
  t.match(created, { status: 201, body: { created: true, source: 'hotline', externalId, version: 1 } });
  const { id, customerId } = created.body;

  t.equal((await request('PATCH', at(externalId), { body: { outcome: 'solved' } })).status, 428);
  t.equal((await patch(id, { outcome: 'solved' }, '"7"')).status, 412);
  const changed = await patch(id, { outcome: 'solved', staff: null }, '"1"');
  t.match(changed.body, { outcome: 'solved', staff: null, topic: 'delivery', text: 'late', version: 2 });
  const { created: _, applied: __, warnings: ___, ...record } = changed.body;
  t.strictSame((await request('GET', at(externalId))).body, record);
  t.same(codes((await patch(id, { occurredAt: '2026-07-01T00:00:00Z' })).body), ['/occurredAt in_the_future']);
  t.equal((await patch('0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90', { outcome: 'x' })).status, 404);
  t.equal(
    (await patch('0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90', { customer: { externalId: 'whose' } })).status,
    404,
    'a missing one is missing, whatever its change says',
  );

  t.match((await put(externalId, { customer: one, sourceVersion: 4, topic: 'old' })).body, {
    applied: false,
    topic: 'delivery',
    version: 2,
  });
  const replaced = await put(externalId, { customer: one, sourceVersion: 6, topic: 'returns' });
  t.match(replaced, {
    status: 200,
    body: { id, topic: 'returns', outcome: null, text: null, version: 3, applied: true, created: false },
  });
  t.equal(
    (
      await request('PUT', at(externalId), {
        body: callOf({ customer: one, sourceVersion: 7 }),
        headers: { 'If-Match': '"2"' },
      })
    ).status,
    412,
  );

  const moved = await patch(id, { customer: other });
  t.match(moved.body, { id, topic: 'returns', version: 4 });
  t.not(moved.body.customerId, customerId);
  t.equal(await count('id = $1', [id]), 1, 'there once');
  t.same((await request('GET', `/v1/customers/${customerId}/interactions`)).body.data, []);
  t.match((await request('GET', at(externalId))).body, { customerId: moved.body.customerId, version: 4 });
  t.match(await remove(`/v1/customers/${moved.body.customerId}`), {
    status: 409,
    body: { code: 'customer_has_records', detail: /1 interaction/ },
  });
  t.equal((await remove(`/v1/customers/${customerId}`)).status, 204, 'nothing hangs on the first one any more');

  t.equal((await request('DELETE', at(externalId), { headers: { 'If-Match': '"1"' } })).status, 412);
  t.equal((await request('DELETE', at(externalId))).status, 428);
  t.equal((await remove(at(externalId))).status, 204);
  t.equal((await remove(`/v1/interactions/${id}`)).status, 404);
  t.equal((await request('GET', at(externalId))).status, 404);
  t.match(await put(externalId, { customer: other, sourceVersion: 6 }), { status: 410, body: { code: 'deleted' } });
  t.match(await push({ source: 'hotline', externalId, sourceVersion: 9 }), { status: 410 });
  t.match(await put(externalId, { customer: other, sourceVersion: 8 }), { status: 410 });
  const restored = callOf({ customer: other, sourceVersion: 8, source: undefined, externalId: undefined });
  const back = await request('PUT', `${at(externalId)}?restore=true`, { body: restored });
  t.match(back, { status: 201, body: { version: 1, references: [{ externalId, sourceVersion: 8 }] } });
  t.not(back.body.id, id);
  t.equal((await remove(at(externalId))).status, 204);
  t.equal((await remove(`/v1/customers/${moved.body.customerId}`)).status, 204);
});

t.test('an order it is about is one of its customer, and may go away later', async (t) => {
  const { body: order } = await pushOrder(api, { customer: { externalId: fresh('buyer') } });
  const { body: foreign } = await pushOrder(api, { customer: { externalId: fresh('stranger') } });
  const { customerId } = order;
  const externalId = fresh('about');
  t.same(codes((await push({ customerId, orderId: foreign.id })).body), ['/orderId unknown_order']);
  const { body: made } = await push({ source: 'hotline', externalId, customerId, orderId: order.id });
  t.same(codes((await patch(made.id, { customerId: foreign.customerId })).body), ['/orderId unknown_order']);
  t.equal((await patch(made.id, { customerId: foreign.customerId, orderId: foreign.id })).status, 200);
  t.equal((await patch(made.id, { customerId, orderId: order.id })).status, 200);

  const ask = `query ($id: ID) { interaction(id: $id) { orderId order { id total } } }`;
  t.match((await graphql(ask, { id: made.id })).body.data.interaction, { order: { id: order.id, total: 1000 } });
  t.equal((await remove(`/v1/orders/${order.id}`)).status, 204);
  t.strictSame((await graphql(ask, { id: made.id })).body.data.interaction, { orderId: order.id, order: null });
  t.match(await patch(made.id, { outcome: 'solved' }), { status: 200, body: { orderId: order.id } });
  t.match(await put(externalId, { customerId, orderId: order.id }), { status: 200 }, 'the same message again');
  t.match(
    await patch(made.id, { customerId: foreign.customerId }),
    { status: 200 },
    'what is gone does not hold it back',
  );
  t.same(codes((await push({ customerId, orderId: order.id })).body), ['/orderId unknown_order']);

  const { body: third } = await pushOrder(api, { customerId });
  const { body: about } = await push({ customerId, orderId: third.id });
  const moved = await request('PATCH', `/v1/orders/${third.id}`, {
    body: { customerId: foreign.customerId },
    headers: { 'If-Match': '*' },
  });
  t.equal(moved.status, 200);
  t.equal((await patch(about.id, { outcome: 'x' })).status, 200, 'the order has moved on');
  t.equal((await patch(about.id, { customerId: foreign.customerId })).status, 200, 'and is followed');

  const campaignId = await campaign();
  const { body: touched } = await push({ campaignId });
  t.match(await patch(touched.id, { outcome: 'bought' }), { body: { campaignId } });
  t.same(codes((await patch(touched.id, { campaignId: order.id })).body), ['/campaignId unknown_campaign']);
  t.match(await patch(touched.id, { campaignId: null }), { body: { campaignId: null } });
});

t.test('a refused or stale interaction makes no customer', async (t) => {
  const [externalId, never] = [fresh('call'), fresh('never')];
  await put(externalId, { sourceVersion: 5 });
  const customer = { source: 'shop', externalId: never };
  t.match((await put(externalId, { customer, sourceVersion: 5 })).body, { applied: false });
  t.equal((await push({ customer, orderId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' })).status, 422);
  t.equal((await push({ customer, occurredAt: '2027-01-01T00:00:00Z' })).status, 422);
  t.equal((await request('GET', `/v1/customers/external/shop/${never}`)).status, 404);
  t.match((await push({ customer, kind: 'form' })).status, 201);
  t.equal((await request('GET', `/v1/customers/external/shop/${never}`)).status, 200);
});

t.test('a batch answers for each item in its place', async (t) => {
  const known = (await push({ source: 'hotline', externalId: fresh('known'), sourceVersion: 5 })).body;
  const { body: gone } = await push({ source: 'hotline', externalId: fresh('gone') });
  await remove(`/v1/interactions/${gone.id}`);
  const { body: order } = await pushOrder(api, { customer: { externalId: fresh('buyer') } });
  const { body: foreign } = await pushOrder(api, { customer: { externalId: fresh('stranger') } });
  const campaignId = await campaign();
  const twice = { source: 'hotline', externalId: fresh('twice') };
  const [a, b] = [fresh('a'), fresh('b')].map((externalId) => ({ source: 'shop', externalId }));
  const answer = await batch([
    callOf(),
    'not an interaction',
    callOf({ source: 'hotline', externalId: known.externalId, topic: 'changed' }),
    callOf({ source: 'hotline', externalId: known.externalId, sourceVersion: 5 }),
    callOf({ source: 'hotline', externalId: gone.externalId }),
    callOf({ kind: 'telepathy' }),
    callOf({ customerId: order.customerId, orderId: order.id, campaignId }),
    callOf({ customerId: order.customerId, orderId: foreign.id }),
    callOf({ campaignId: order.id }),
    callOf({ ...twice, customer: a, topic: 'first' }),
    callOf({ ...twice, customer: b, topic: 'second', sourceVersion: 2 }),
    callOf({ ...twice, customer: b, topic: 'stale', sourceVersion: 1 }),
    callOf(),
    callOf({ customer: { source: 'shop', externalId: fresh('c'), phone: '123' } }),
  ]);
  t.equal(
    statuses(answer),
    'created refused updated unchanged refused refused created refused refused created updated unchanged created created',
  );
  t.match(answer.body.results, {
    2: { id: known.id },
    4: { error: { code: 'deleted', errors: [{ pointer: '/externalId' }] } },
    5: { error: { errors: [{ pointer: '/kind' }] } },
    7: { error: { errors: [{ pointer: '/orderId', code: 'unknown_order' }] } },
    8: { error: { errors: [{ pointer: '/campaignId', code: 'unknown_campaign' }] } },
    13: { warnings: [{ code: 'unusable_phone' }] },
  });
  const results: { id: string }[] = answer.body.results;
  t.not(results[0]?.id, results[12]?.id, 'nameless ones are different ones');
  t.equal(results[9]?.id, results[10]?.id);
  const { body: last } = await request('GET', at(twice.externalId));
  t.match(last, { topic: 'second', version: 2 });
  t.equal(await count('id = $1', [last.id]), 1);
  const { body: owner } = await request('GET', `/v1/customers/external/shop/${b?.externalId}`);
  t.equal(last.customerId, owner.id);

  const before = await count();
  const refused = await batch([callOf({ topic: 'one' }), callOf({ seconds: -1 })], '?atomic=true');
  t.match(refused, { status: 422, body: { code: 'batch_refused', errors: [{ pointer: '/interactions/1/seconds' }] } });
  t.equal(await count(), before);
  t.equal(statuses(await batch([callOf(), callOf()], '?atomic=true')), 'created created');
  t.equal(await count(), (before ?? 0) + 2);
  const headers = newKey();
  await batch([callOf()], '', headers);
  t.equal((await batch([callOf()], '', headers)).headers.get('idempotency-replayed'), 'true');
  t.equal(await count(), (before ?? 0) + 3);
});

t.test('when the database refuses the set, the items are written one by one', async (t) => {
  await database.query(`alter table interactions add constraint no_trouble check (channel <> 'trouble')`);
  try {
    const customer = { source: 'shop', externalId: fresh('set') };
    const items = [callOf({ customer }), callOf({ customer, channel: 'trouble' }), callOf({ customer })];
    t.equal(statuses(await batch(items)), 'created refused created');
    const { body } = await request('GET', `/v1/customers/external/shop/${customer.externalId}/interactions`);
    t.equal(body.data.length, 2);
  } finally {
    await database.query('alter table interactions drop constraint no_trouble');
  }
});

t.test('a batch takes a thousand items in as many statements as ten, and one few', async (t) => {
  const campaignId = await campaign();
  const { body: order } = await pushOrder(api, { customer: { externalId: fresh('buyer') } });
  const sent: Record<string, number[]> = {};
  for (const size of [10, 1000]) {
    const nameless = Array.from({ length: size }, () =>
      callOf({ customer: { source: 'shop', externalId: fresh('many'), email: `${fresh('i')}@example.org` } }),
    );
    const named = nameless.map((one) => ({ ...one, source: 'hotline', externalId: fresh('many'), text: 'x' }));
    const measure = async (what: string, items: unknown[], expected: string) => {
      let answer: Answer | undefined;
      const statements = await statementsOf(async () => {
        answer = await batch(items);
      });
      const results: { status: string }[] = answer?.body.results ?? [];
      t.equal(results.length, size);
      t.ok(
        results.every(({ status }) => status === expected),
        `${what}: ${JSON.stringify(results.find(({ status }) => status !== expected))}`,
      );
      sent[what] = [...(sent[what] ?? []), statements];
    };
    await measure('of new customers', nameless, 'created');
    await measure('of known customers', nameless, 'created');
    await measure('named', named, 'created');
    await measure(
      'changed, with campaigns',
      named.map((one) => ({ ...one, campaignId })),
      'updated',
    );
    await measure(
      'moved',
      named.map((one) => ({ ...one, customer: { source: 'shop', externalId: fresh('moved') } })),
      'updated',
    );
    await measure(
      'about an order',
      nameless.map(() => callOf({ customerId: order.customerId, orderId: order.id })),
      'created',
    );
  }
  for (const [what, [few, many]] of Object.entries(sent)) t.equal(many, few, `${what}: ${many} statements`);
  const single = await statementsOf(() => push({ customerId: order.customerId }, newKey()));
  t.ok(single <= 8, `${single} statements for one: begin, key, its answer, lock, insert, audit, answer, commit`);
});

t.test('lists hold what is asked for, in order', async (t) => {
  const customer = { source: 'shop', externalId: fresh('listed') };
  const { body: order } = await pushOrder(api, { customer });
  const { customerId } = order;
  const campaignId = await campaign();
  const tag = fresh('list');
  const items = [
    { kind: 'phone', direction: 'inbound', channel: tag, outcome: `${tag} solved`, staff: `${tag} maria` },
    { kind: 'fax', direction: 'outbound', channel: `${tag}2`, ticket: `${tag}-T`, orderId: order.id },
    { kind: 'fax', direction: 'inbound', topic: `${tag} it's "quoted"`, campaignId },
    { kind: 'post' },
  ].map((one, i) => callOf({ customerId, ...one, occurredAt: `2026-04-0${i + 1}T00:00:00Z` }));
  const { body } = await batch(items);
  const ids: string[] = body.results.map(({ id }: { id: string }) => id);
  const expect = async (query: string, ...places: number[]) => {
    const rows = await list(query);
    t.same(
      rows.map(({ id }: { id: string }) => ids.indexOf(id)),
      places,
      query,
    );
    const { body: counted } = await request('GET', `/v1/interactions?${query}&count=true&limit=1`);
    t.equal(counted.page.total, places.length, `${query} counted`);
  };
  await expect(`customerId=${customerId}`, 3, 2, 1, 0);
  await expect(`customerId=${customerId}&sort=occurredAt`, 0, 1, 2, 3);
  await expect(`customerId=${customerId}&kind=fax`, 2, 1);
  await expect(`customerId=${customerId}&kind=fax&direction=inbound`, 2);
  await expect(`customerId=${customerId}&direction=inbound`, 2, 0);
  await expect(`channel=${tag}`, 0);
  await expect(`outcome=${encodeURIComponent(`${tag} solved`)}`, 0);
  await expect(`staff=${encodeURIComponent(`${tag} maria`)}`, 0);
  await expect(`ticket=${tag}-T`, 1);
  await expect(`orderId=${order.id}`, 1);
  await expect(`orderId=${order.id.toUpperCase()}&kind=fax`, 1);
  await expect(`campaignId=${campaignId}`, 2);
  await expect(`topic=${encodeURIComponent(`${tag} it's "quoted"`)}`, 2);
  await expect(`topic=${encodeURIComponent(tag)}`);
  await expect(`customerId=${customerId}&occurredFrom=2026-04-02T00:00:00Z&occurredTo=2026-04-04T00:00:00Z`, 2, 1);
  await expect(`channel=${tag}&topic=phone`);

  for (const path of [`/v1/customers/${customerId}`, `/v1/customers/external/shop/${customer.externalId}`]) {
    t.equal((await request('GET', `${path}/interactions?kind=fax&count=true`)).body.page.total, 2);
  }
  t.equal((await request('GET', `/v1/customers/external/shop/${fresh('nobody')}/interactions`)).status, 404);
  t.equal(
    (await request('GET', '/v1/customers/0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90/interactions')).status,
    404,
    'no empty page of nobody',
  );
  const rows = await allPages(api, `/v1/interactions?customerId=${customerId}&limit=1`);
  t.same(
    rows.map(({ id }) => ids.indexOf(id)),
    [3, 2, 1, 0],
  );
  for (const [query, expected] of [
    ['kind=telepathy', 'kind invalid_value'],
    ['direction=up', 'direction invalid_value'],
    ['sort=staff', 'sort invalid_value'],
    ['seconds=5', 'seconds unsupported_parameter'],
    ['occurredFrom=today', 'occurredFrom invalid_instant'],
    ['campaignId=1', 'campaignId invalid_format'],
    [`q=${'x'.repeat(201)}`, 'q too_big'],
    ['q=', 'q too_small'],
    [`q=${'-'.repeat(21)}`, 'q too_many_minus_signs'],
  ] as const) {
    const refused = await request('GET', `/v1/interactions?${query}`);
    t.same([refused.status, ...codes(refused.body)], [422, expected]);
  }
});

t.test('instants that are equal do not lose a row between two pages', async (t) => {
  const customer = { source: 'shop', externalId: fresh('busy') };
  await batch(Array.from({ length: 23 }, (_, i) => callOf({ customer, topic: `${i}`, kind: 'chat' })));
  const { body: owner } = await request('GET', `/v1/customers/external/shop/${customer.externalId}`);
  for (const query of ['sort=occurredAt', 'sort=-occurredAt&kind=chat']) {
    const rows = await allPages(api, `/v1/interactions?customerId=${owner.id}&limit=4&${query}`);
    t.equal(new Set(rows.map(({ id }) => id)).size, 23);
    t.equal(rows.length, 23);
  }
});

t.test('words are searched for in topics and texts', async (t) => {
  const customer = { source: 'shop', externalId: fresh('talker') };
  const texts = {
    late: 'The parcel came too late, on Tuesday.',
    early: 'Late? No: the parcel came a day early; too bad.',
    cafe: 'Café Müller wants an invoice',
    plain: 'cafe without its accent',
    punctuation: "It's 50% off -- isn't it?; drop table customers",
  };
  await batch(Object.entries(texts).map(([topic, text]) => callOf({ customer, topic, text })));
  await batch([callOf({ customer, topic: 'wordless' }), callOf({ customer })]);
  t.same(await found('parcel'), ['early', 'late']);
  t.same(await found('PARCEL tuesday'), ['late'], 'all of the words, whatever their case');
  t.same(await found('"too late"'), ['late'], 'a phrase');
  t.same(await found('parcel -tuesday'), ['early'], 'without a word');
  t.same(await found('tuesday or invoice'), ['cafe', 'late']);
  t.same(await found('café'), ['cafe'], 'accents as they are');
  t.same(await found('cafe'), ['cafe', 'plain'], 'a topic counts as well');
  t.same(await found('wordless'), ['wordless']);
  t.same(await found('parcels'), [], 'no stems');
  t.same(await found('nowhere-to-be-found'), []);
  t.same(await found('parcel', '&kind=phone&limit=1&sort=occurredAt'), ['late'], 'within filters and pages');
  const { body: owner } = await request('GET', `/v1/customers/external/shop/${customer.externalId}`);
  t.equal((await list(`customerId=${owner.id}&q=-parcel`)).length, 5, 'all without it, wordless ones as well');
  const pages = await allPages(api, `/v1/interactions?q=${encodeURIComponent('cafe or parcel')}&limit=1`);
  t.equal(pages.length, 4);

  for (const q of [
    ...['"', '""', '-', '--', '!', "'", "''", '&|!()<->:*', 'a & b', "'; drop table interactions; --", '\\', '%', '*'],
    ...[
      'or',
      'or or',
      '- -',
      '"unclosed',
      '-"a b',
      '<5>',
      ':*',
      '\u202e',
      '𝒳',
      ' ',
      '\t',
      'x'.repeat(200),
      '-'.repeat(20),
    ],
    ...['é'.repeat(200), '"'.repeat(200), '- '.repeat(20), 'a or '.repeat(40), '👍'.repeat(100), '(((((((', '\uffff'],
  ]) {
    const answer = await request('GET', `/v1/interactions?q=${encodeURIComponent(q)}`);
    t.equal(answer.status, 200, JSON.stringify(q.slice(0, 20)));
  }
  t.equal((await request('GET', '/v1/interactions?q=%00')).status, 422);
  const parts = [
    '-',
    '- ',
    '-"',
    '"',
    ' or ',
    'parcel',
    '!',
    '(',
    ')',
    ':*',
    '&',
    '|',
    '<->',
    "'",
    '\\',
    '\t',
    'é',
    '…',
  ];
  const anything = fc
    .array(fc.constantFrom(...parts), { minLength: 1, maxLength: 4 })
    .chain((some) => fc.array(fc.constantFrom(...some), { minLength: 1, maxLength: 120 }))
    .map((all) => all.join('').slice(0, 200));
  await fc.assert(
    fc.asyncProperty(anything, async (q) => {
      const { status } = await request('GET', `/v1/interactions?limit=1&q=${encodeURIComponent(q)}`);
      return status === (q.split('-').length > 21 ? 422 : 200);
    }),
    { numRuns: 150 },
  );

  const blind = { scope: 'interactions:read' };
  for (const parameter of ['q', 'topic', 'outcome', 'ticket']) {
    for (const path of ['/v1/interactions', `/v1/customers/${owner.id}/interactions`]) {
      t.match(await request('GET', `${path}?${parameter}=parcel`, blind), {
        status: 403,
        body: { code: 'insufficient_scope', scope: 'customers:pii', errors: [{ parameter }] },
      });
    }
    const { body } = await graphql(`{ interactions(${parameter}: "parcel") { nodes { id } } }`, {}, blind);
    t.match(body, { errors: [{ extensions: { code: 'insufficient_scope' } }] });
  }
  const read = await request('GET', `/v1/customers/${owner.id}/interactions`, blind);
  t.ok(read.body.data.length > 0);
  for (const { topic, outcome, ticket, text } of read.body.data)
    t.strictSame([topic, outcome, ticket, text], [null, null, null, null]);
  const line = await request('GET', `/v1/customers/${owner.id}/timeline`, {
    scope: 'customers:read interactions:read',
  });
  t.ok(line.body.data.length > 0);
  for (const { interaction } of line.body.data)
    t.strictSame([interaction.topic, interaction.outcome, interaction.text], [null, null, null]);
});

t.test('GraphQL can do what REST can', async (t) => {
  const input = {
    source: 'hotline',
    externalId: fresh('graph'),
    customer: { source: 'shop', externalId: fresh('graph') },
    kind: 'PHONE',
    direction: 'INBOUND',
    occurredAt: '2026-03-01T10:00:00Z',
    topic: 'graph',
    text: 'about it',
  };
  const create = `mutation ($input: InteractionInput!, $dry: Boolean) { createInteraction(input: $input, dryRun: $dry) {
    interaction { id kind direction topic text version customer { id name } order { id } references { source externalId } } created applied replayed warnings { code } } }`;
  const dry = await graphql(create, { input, dry: true });
  t.match(dry.body.data.createInteraction, { created: true, interaction: { kind: 'PHONE', version: 1 } });
  t.equal((await request('GET', at(input.externalId))).status, 404);
  const made = (await graphql(create, { input })).body.data.createInteraction;
  t.match(made, {
    created: true,
    applied: true,
    replayed: false,
    interaction: { kind: 'PHONE', direction: 'INBOUND', text: 'about it', order: null },
  });
  t.match((await graphql(create, { input })).body.errors, [{ extensions: { code: 'already_exists' } }]);
  const { id, customer } = made.interaction;
  const reference = { source: input.source, externalId: input.externalId };

  const update = `mutation ($id: ID, $reference: ReferenceInput, $version: ExpectedVersion) {
    updateInteraction(id: $id, reference: $reference, expectedVersion: $version, input: { outcome: "solved" }) { interaction { outcome topic version } } }`;
  t.match((await graphql(update, { id })).body.errors, [{ extensions: { code: 'version_required' } }]);
  t.match((await graphql(update, { reference, version: 4 })).body.errors, [
    { extensions: { code: 'version_mismatch' } },
  ]);
  t.match((await graphql(update, { reference, version: 1 })).body.data.updateInteraction.interaction, {
    outcome: 'solved',
    topic: 'graph',
    version: 2,
  });
  const upsert = `mutation ($reference: ReferenceInput!, $input: InteractionDocument!) {
    upsertInteraction(reference: $reference, input: $input) { interaction { id outcome version } created applied } }`;
  const { source: _, externalId: __, ...document } = input;
  t.match(
    (await graphql(upsert, { reference, input: { ...document, sourceVersion: 2 } })).body.data.upsertInteraction,
    {
      created: false,
      applied: true,
      interaction: { id, outcome: null, version: 3 },
    },
  );
  t.match(
    (await graphql(upsert, { reference, input: { ...document, sourceVersion: 1 } })).body.data.upsertInteraction,
    {
      applied: false,
    },
  );
  const { body: batched } = await graphql(
    `mutation ($items: [InteractionInput!]!) { batchInteractions(interactions: $items) { results { index status id error { code } } } }`,
    {
      items: [
        { ...document, kind: 'CHAT', occurredAt: '2026-03-02T10:00:00Z' },
        { ...input, seconds: -1 },
      ],
    },
  );
  t.match(batched.data.batchInteractions.results, [
    { status: 'CREATED' },
    { status: 'REFUSED', error: { code: 'invalid_input' } },
  ]);

  const read = await graphql(
    `query ($reference: ReferenceInput, $customer: ID) {
      interaction(reference: $reference) { id customer { id } }
      missing: interaction(id: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90") { id }
      interactions(customerId: $customer, kind: PHONE, sort: OCCURRED_AT_ASC, q: "about") { nodes { id } totalCount pageInfo { hasNextPage } }
      customer(id: $customer) { interactions(first: 1) { nodes { kind } totalCount pageInfo { endCursor hasNextPage } edges { cursor node { id } } } } }`,
    { reference, customer: customer.id },
  );
  t.notOk(read.body.errors);
  t.match(read.body.data, {
    interaction: { id, customer: { id: customer.id } },
    missing: null,
    interactions: { nodes: [{ id }], totalCount: 1 },
    customer: { interactions: { nodes: [{ kind: 'CHAT' }], totalCount: 2, pageInfo: { hasNextPage: true } } },
  });
  const after = read.body.data.customer.interactions.pageInfo.endCursor;
  const next = await graphql(
    `query ($customer: ID, $after: String) { customer(id: $customer) { interactions(first: 1, after: $after) { nodes { id } pageInfo { hasNextPage } } } }`,
    { customer: customer.id, after },
  );
  t.same(next.body.data.customer.interactions, { nodes: [{ id }], pageInfo: { hasNextPage: false } });
  const remove = `mutation ($id: ID) { deleteInteraction(id: $id, expectedVersion: "*") { id deleted } }`;
  t.match((await graphql(remove, { id })).body.data.deleteInteraction, { id, deleted: true });
  t.match((await graphql(remove, { id })).body.errors, [{ extensions: { code: 'not_found' } }]);
});

t.test('the interactions of many customers are one statement, each with its own first page', async (t) => {
  const customers = Array.from({ length: 12 }, () => ({ source: 'shop', externalId: fresh('page') }));
  const items = customers.flatMap((customer, i) =>
    Array.from({ length: i }, (_, n) => callOf({ customer, topic: `${i}`, occurredAt: `2026-05-01T00:00:${10 + n}Z` })),
  );
  await batch(items);
  await push({ customer: customers[0] });
  const asked = (n: number) =>
    graphql(
      `{ ${customers
        .slice(0, n)
        .map(
          ({ externalId }, i) =>
            `c${i}: customer(reference: { source: "shop", externalId: "${externalId}" }) { ...page }`,
        )
        .join(' ')} }
      fragment page on Customer { interactions(first: 3) { nodes { topic occurredAt customer { id } order { id } } totalCount pageInfo { hasNextPage } } }`,
    );
  const { body } = await asked(12);
  t.notOk(body.errors);
  for (let i = 1; i < 12; i += 1) {
    const page = body.data[`c${i}`].interactions;
    t.equal(page.totalCount, i);
    t.equal(page.pageInfo.hasNextPage, i > 3);
    t.same(
      page.nodes.map(({ occurredAt }: { occurredAt: string }) => occurredAt),
      Array.from({ length: Math.min(i, 3) }, (_, n) => `2026-05-01T00:00:${9 + i - n}.000Z`),
    );
    t.ok(page.nodes.every(({ topic }: { topic: string }) => topic === `${i}`));
  }
  const { externalId } = customers[11] ?? {};
  const walked: string[] = [];
  for (let after: string | null = null; ; ) {
    const answer: Answer = await graphql(
      `query ($name: String!, $after: String) { customer(reference: { source: "shop", externalId: $name }) {
        interactions(first: 4, after: $after, sort: OCCURRED_AT_ASC) { nodes { occurredAt } pageInfo { hasNextPage endCursor } } } }`,
      { name: externalId, after },
    );
    const { nodes, pageInfo }: { nodes: { occurredAt: string }[]; pageInfo: Record<string, string | null> } =
      answer.body.data.customer.interactions;
    walked.push(...nodes.map(({ occurredAt }) => occurredAt));
    if (!pageInfo.hasNextPage) break;
    after = pageInfo.endCursor ?? null;
  }
  t.same(
    walked,
    Array.from({ length: 11 }, (_, n) => `2026-05-01T00:00:${10 + n}.000Z`),
    'oldest first, page by page',
  );
  const connection = (first: number) =>
    graphql(
      `{ customers(first: ${first}) { nodes { interactions(first: 2) { nodes { id order { id } customer { id } } } } } }`,
    );
  t.equal(await statementsOf(() => connection(50)), await statementsOf(() => connection(5)));
});

t.test('sixteen clients on a few customers lose nothing and double nothing', async (t) => {
  const customers = Array.from({ length: 4 }, () => ({ source: 'shop', externalId: fresh('crowd') }));
  const names = Array.from({ length: 8 }, () => fresh('contested'));
  const tag = fresh('crowd');
  const made = new Set<string>();
  const gone = new Set<string>();
  const surprises: string[] = [];
  const pick = <T>(all: readonly T[]): T => all[Math.floor(Math.random() * all.length)] as T; // never of an empty list
  const expected = (answer: Answer, allowed: number[]) => {
    if (!allowed.includes(answer.status)) surprises.push(`${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.status < 300;
  };
  const client = async () => {
    for (let turn = 0; turn < 12; turn += 1) {
      const item = () => callOf({ customer: pick(customers), channel: tag, kind: pick(interactionKinds) });
      const what = Math.random();
      if (what < 0.4) {
        const answer = await push(item());
        if (expected(answer, [201])) made.add(answer.body.id);
      } else if (what < 0.6) {
        const answer = await batch([item(), { ...item(), source: 'hotline', externalId: pick(names) }, item()]);
        if (expected(answer, [200])) {
          for (const { id, status } of answer.body.results) if (status !== 'refused') made.add(id);
        }
      } else if (what < 0.75) {
        const answer = await put(pick(names), item());
        if (expected(answer, [200, 201, 410])) made.add(answer.body.id);
      } else if (what < 0.9 && made.size > 0) {
        expected(await patch(pick([...made]), { customer: pick(customers), outcome: 'moved' }), [200, 404]);
      } else if (made.size > 0) {
        const id = pick([...made]);
        if (expected(await remove(`/v1/interactions/${id}`), [204, 404, 410])) gone.add(id);
      }
    }
  };
  await Promise.all(Array.from({ length: 16 }, client));
  t.same(surprises, []);
  const { rows } = await database.query<{ id: string; customer: string }>(
    'select id, customer_id as customer from interactions where channel = $1 order by id',
    [tag],
  );
  t.same(
    rows.map(({ id }) => id),
    [...made].filter((id) => !gone.has(id)).sort(),
    'every one that was acknowledged, once',
  );
  const { rows: refs } = await database.query(
    `select 1 from external_refs r left join interactions i on i.id = r.record_id
     where r.kind = 'interaction' and r.external_id = any($1) and r.record_id is not null and i.customer_id is distinct from r.customer_id`,
    [names],
  );
  t.same(refs, [], 'names lead to the customer that has it');
  for (const { externalId } of customers) {
    const { body: summary } = await request('GET', `/v1/customers/external/shop/${externalId}/summary`);
    t.equal(summary.touches.total, rows.filter(({ customer }) => customer === summary.customer.id).length);
  }
});

t.test('the single view counts touches as a reader of the facts would', async (t) => {
  const fact = fc.record({
    customer: fc.integer({ min: 0, max: 2 }),
    kind: fc.constantFrom(...interactionKinds.slice(0, 4)),
    direction: fc.constantFrom(...directions, null),
    occurredAt: fc
      .integer({ min: -5_000_000, max: 400_000 })
      .map((ms) => new Date(Date.parse(now) + ms).toISOString().replace('Z', ms % 3 === 0 ? '001Z' : 'Z')),
    seconds: fc.option(fc.integer({ min: 0, max: 31_622_400 })),
    cost: fc.option(fc.integer({ min: 0, max: 1_000_000_000_000 })),
    topic: fc.option(fc.constantFrom('a', 'b')),
    staff: fc.option(fc.constantFrom('maria', 'jo')),
    automatic: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, fc.constant(true)),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(fact, { minLength: 1, maxLength: 12 }), async (facts) => {
      const names = [fresh('seen'), fresh('seen'), fresh('seen')];
      const answer = await batch(
        facts.map(({ customer, ...members }) =>
          callOf({ customer: { source: 'shop', externalId: names[customer] }, ...members }),
        ),
      );
      const ids: string[] = answer.body.results.map(({ id }: { id: string }) => id);
      for (const [n, name] of names.entries()) {
        const own = facts
          .map((one, i) => ({ ...one, id: ids[i] ?? '' }))
          .filter(({ automatic }) => !automatic)
          .filter(({ customer, occurredAt }) => customer === n && occurredAt.slice(0, -1) < now.slice(0, -1))
          .sort((a, b) => `${a.occurredAt.slice(0, -1)} ${a.id}`.localeCompare(`${b.occurredAt.slice(0, -1)} ${b.id}`));
        if (!facts.some(({ customer }) => customer === n)) continue;
        const { body } = await request('GET', `/v1/customers/external/shop/${name}/summary`);
        const sum = (of: (number | null)[]) =>
          of.some((one) => one !== null) ? of.reduce((a: number, b) => a + (b ?? 0), 0) : null;
        const byKind = [...new Set(own.map(({ kind }) => kind))]
          .map((kind) => ({ kind, count: own.filter((one) => one.kind === kind).length }))
          .sort((a, b) => b.count - a.count || (a.kind < b.kind ? -1 : 1));
        const last = own.at(-1);
        t.strictSame(body.touches, {
          total: own.length,
          byKind,
          inbound: own.filter(({ direction }) => direction === 'inbound').length,
          outbound: own.filter(({ direction }) => direction === 'outbound').length,
          firstAt: own[0]?.occurredAt ?? null,
          lastAt: last?.occurredAt ?? null,
          seconds: sum(own.map(({ seconds }) => seconds)),
          cost: sum(own.map(({ cost }) => cost)),
        });
        t.strictSame(
          body.latestTouch,
          last
            ? {
                id: last.id,
                kind: last.kind,
                channel: null,
                direction: last.direction,
                topic: last.topic,
                occurredAt: last.occurredAt,
                staff: last.staff,
              }
            : null,
        );
        const { body: graph } = await graphql(
          `query ($name: String!) { customer(reference: { source: "shop", externalId: $name }) { summary {
            touches { total byKind { kind count } inbound outbound firstAt lastAt seconds cost } latestTouch { id kind channel direction topic occurredAt staff } } } }`,
          { name },
        );
        const inCapitals = (value: string | null) => value?.toUpperCase() ?? null;
        const { summary } = graph.data.customer;
        t.same(summary.touches.total, own.length);
        t.same(summary.touches.byKind.length, byKind.length);
        t.same(summary.latestTouch?.kind ?? null, inCapitals(last?.kind ?? null));
        t.same(summary.latestTouch?.direction ?? null, inCapitals(last?.direction ?? null));
      }
    }),
    { numRuns: 25 },
  );
});

t.test('nothing is written on a dry run', async (t) => {
  const before = await count();
  const { body: made } = await push();
  for (const [method, path, status, body] of [
    ['POST', '/v1/interactions', 201, callOf()],
    ['PUT', at(fresh('dry')), 201, callOf({ customer: { source: 'shop', externalId: fresh('dry') } })],
    ['PATCH', `/v1/interactions/${made.id}`, 200, { outcome: 'x' }],
    ['DELETE', `/v1/interactions/${made.id}`, 204, undefined],
    ['POST', '/v1/interactions/batch', 200, { interactions: [callOf(), 5] }],
  ] as const) {
    const answer = await request(method, `${path}?dryRun=true`, {
      ...(body !== undefined && { body }),
      ...(/PATCH|DELETE/.test(method) && { headers: { 'If-Match': '*' } }),
    });
    t.equal(answer.status, status, `${method} ${JSON.stringify(answer.body).slice(0, 200)}`);
  }
  t.equal(await count(), (before ?? 0) + 1);
  t.match((await request('GET', `/v1/interactions/${made.id}`)).body, { version: 1, outcome: null });
});
