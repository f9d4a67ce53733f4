import pg from 'pg';
import t from 'tap';
import { contractWithDeals, migrateDeals } from '../support/deals.ts';

/** A whole kind, planted: every projection of its definition works, and nothing else had to be touched. */

const { testApp } = await import('../support/app.ts');
const { openApiDocument } = await import('../../src/platform/http/openapi.ts');
const { guide } = await import('../../src/guide.ts');

const contract = await contractWithDeals();
const now = '2026-06-01T12:00:00.000Z';
const service = await testApp(t, { contract, clock: () => now });
const { request, graphql } = service;
await migrateDeals(service.connection);
const database = new pg.Client(service.connection);
await database.connect();
t.teardown(() => database.end());

let made = 0;
const keyed = () => ({ headers: { 'Idempotency-Key': `deal-${made}` } });
function dealOf(members: object = {}) {
  made += 1;
  return {
    source: 'crm',
    externalId: `deal-${made}`,
    customer: { source: 'crm', externalId: 'ada' },
    closedAt: '2026-05-01T10:00:00.000Z',
    currency: 'EUR',
    value: 5000,
    nickname: 'Big fish',
    items: [{ sku: 'A', quantity: 1.5, total: 5000 }],
    ...members,
  };
}
const create = (members: object = {}) => request('POST', '/v1/deals', { body: dealOf(members), ...keyed() });
const blind = { scope: 'deals:read deals:write customers:read' };

t.test('create, read, patch, replace, delete', async (t) => {
  const { body: deal, status } = await create();
  t.equal(status, 201);
  t.match(deal, { stage: 'open', nickname: 'Big fish', version: 1, items: [{ sku: 'A', quantity: 1.5, total: 5000 }] });
  const path = `/v1/deals/${deal.id}`;
  const { created: _, applied: __, warnings: ___, ...record } = deal;
  t.strictSame((await request('GET', path)).body, record);
  t.strictSame((await request('GET', `/v1/deals/external/crm/${deal.externalId}`)).body, record);

  const patched = await request('PATCH', path, { body: { nickname: 'Minnow' }, headers: { 'If-Match': '"1"' } });
  t.match(patched, { status: 200, body: { nickname: 'Minnow', stage: 'open', version: 2 } });
  t.match((await request('GET', path)).body, { nickname: 'Minnow', items: [{ sku: 'A' }] });
  t.equal((await request('PATCH', path, { body: { value: 1 }, headers: { 'If-Match': '"1"' } })).status, 412);

  const { source: _s, externalId, ...document } = dealOf({ externalId: deal.externalId, stage: 'won', items: [] });
  delete (document as { nickname?: string }).nickname;
  const put = await request('PUT', `/v1/deals/external/crm/${externalId}`, { body: document });
  t.match(put, { status: 200, body: { stage: 'won', nickname: null, items: [], version: 3 } });
  t.match((await request('GET', path)).body, { stage: 'won', nickname: null, items: [] });

  t.equal((await request('DELETE', path, { headers: { 'If-Match': '"3"' } })).status, 204);
  t.equal((await request('GET', path)).status, 404);
  t.equal((await request('PUT', `/v1/deals/external/crm/${externalId}`, { body: document })).status, 410);
});

t.test('wrong input is refused with a pointer, and a repeated call is answered once', async (t) => {
  const wrong = await create({ value: -1, nickname: 'x'.repeat(101) });
  t.equal(wrong.status, 422);
  t.same(wrong.body.errors.map(({ pointer }: { pointer: string }) => pointer).sort(), ['/nickname', '/value']);
  const body = dealOf();
  const first = await request('POST', '/v1/deals', { body, ...keyed() });
  const again = await request('POST', '/v1/deals', { body, ...keyed() });
  t.equal(again.headers.get('idempotency-replayed'), 'true');
  t.equal(again.body.id, first.body.id);
  t.match((await create({ externalId: body.externalId })).body, { code: 'already_exists', id: first.body.id });
});

t.test('batches are upserts by reference', async (t) => {
  const deals = [dealOf(), dealOf({ value: 'much' }), dealOf()];
  const { body } = await request('POST', '/v1/deals/batch', { body: { deals } });
  t.same(
    body.results.map(({ status }: { status: string }) => status),
    ['created', 'refused', 'created'],
  );
  const { body: repeated } = await request('POST', '/v1/deals/batch', { body: { deals: [deals[0]] } });
  t.same(
    repeated.results.map(({ status }: { status: string }) => status),
    ['updated'],
  );
});

t.test('lists filter and sort by the marked fields', async (t) => {
  const customer = { source: 'crm', externalId: 'lister' };
  await create({ customer, nickname: 'b', stage: 'lost', closedAt: '2026-01-01T00:00:00Z' });
  const { body: second } = await create({ customer, nickname: 'a', stage: 'lost', closedAt: '2026-02-01T00:00:00Z' });
  const nicknames = async (query: string) =>
    (await request('GET', `/v1/deals?customerId=${second.customerId}&${query}`)).body.data.map(
      ({ nickname }: { nickname: string }) => nickname,
    );
  t.same(await nicknames('sort=nickname'), ['a', 'b']);
  t.same(await nicknames('stage=lost'), ['a', 'b']);
  t.same(await nicknames('nickname=b'), ['b']);
  t.same(await nicknames('closedFrom=2026-01-15T00:00:00Z'), ['a']);
  t.equal((await request('GET', '/v1/deals?unheard=of')).status, 422);
  const first = await request('GET', `/v1/deals?customerId=${second.customerId}&limit=1&count=true`);
  t.match(first.body.page, { hasMore: true, total: 2 });
});

t.test(
  'without customers:pii the personal member is masked and nobody selects by it; with it, reads are audited',
  async (t) => {
    const { body: deal } = await create({ nickname: 'Sentinel' });
    t.equal((await request('GET', `/v1/deals/${deal.id}`, blind)).body.nickname, null);
    t.notMatch(JSON.stringify((await request('GET', '/v1/deals', blind)).body), /Sentinel/);
    t.equal((await request('GET', '/v1/deals?nickname=Sentinel', blind)).status, 403);
    const hidden = await graphql(`{ deal(id: "${deal.id}") { nickname value } }`, {}, { scope: blind.scope });
    t.same(hidden.body.data.deal, { nickname: null, value: 5000 });
    await request('GET', `/v1/deals/${deal.id}`, { client: 'witness' });
    await new Promise((resolve) => setTimeout(resolve, 400));
    const { rows } = await database.query(`select operation, customer_ids from audit_entries where client = 'witness'`);
    t.same(rows, [{ operation: 'getDeal', customer_ids: [deal.customerId] }]);
  },
);

t.test('both contracts have it', async (t) => {
  const document = openApiDocument(contract.routes, guide) as { paths: object; components: { schemas: object } };
  t.ok('/v1/deals/external/{source}/{externalId}' in document.paths);
  t.ok('DealInput' in document.components.schemas);
  t.match(contract.sdl, /type Deal {/);
  const { body: deal } = await create();
  const read = await graphql(
    `{ deal(id: "${deal.id}") { nickname items { sku quantity } references { externalId } } deals(first: 1, sort: NICKNAME_ASC, stage: "open") { totalCount nodes { id } } }`,
  );
  t.same(read.body.errors, undefined);
  t.match(read.body.data.deal, { nickname: 'Big fish', items: [{ sku: 'A', quantity: 1.5 }] });
  const written = await graphql(
    `mutation ($id: ID!) { updateDeal(id: $id, expectedVersion: 1, input: { stage: "won" }) { deal { stage version } applied } }`,
    { id: deal.id },
  );
  t.same(written.body.data.updateDeal, { deal: { stage: 'won', version: 2 }, applied: true });
});

t.test('partners and customers see what is theirs, and no more', async (t) => {
  const { body: deal } = await create({ customer: { source: 'crm', externalId: 'shared' } });
  const { body: other } = await create({ customer: { source: 'crm', externalId: 'unshared' } });
  const { body: partner } = await request('POST', '/v1/partners', { body: { name: 'P' } });
  const share = await request('PUT', `/v1/partners/${partner.id}/customers/${deal.customerId}`, { body: {} });
  t.ok(share.status < 300, JSON.stringify(share.body));
  const as = { partner: partner.id, scope: 'deals:read customers:pii' };
  t.match(await request('GET', `/v1/deals/${deal.id}`, as), { status: 200, body: { value: 5000, nickname: null } });
  t.equal((await request('GET', `/v1/deals/${other.id}`, as)).status, 404);
  t.equal((await request('GET', '/v1/deals', as)).body.data.length, 1);
  const self = { customer: deal.customerId, scope: 'deals:read deals:write customers:pii' };
  t.match((await request('GET', `/v1/deals/${deal.id}`, self)).body, { nickname: 'Big fish' });
  t.equal((await request('GET', `/v1/deals/${other.id}`, self)).status, 404);
  t.equal((await request('DELETE', `/v1/deals/${deal.id}`, { ...self, headers: { 'If-Match': '*' } })).status, 403);
});

t.test('a deal keeps its customer from being deleted, and moves with it', async (t) => {
  const { body: deal } = await create({ customer: { source: 'crm', externalId: 'kept' } });
  const refused = await request('DELETE', `/v1/customers/${deal.customerId}`, { headers: { 'If-Match': '*' } });
  t.match(refused, { status: 409, body: { code: 'customer_has_records', detail: /1 deal/ } });
  const { body: other } = await request('POST', '/v1/customers', { body: { name: 'Other' } });
  const moved = await request('PATCH', `/v1/deals/${deal.id}`, {
    body: { customerId: other.id },
    headers: { 'If-Match': '"1"' },
  });
  t.match(moved, { status: 200, body: { customerId: other.id, items: [{ sku: 'A' }] } });
});

t.test('merge and unmerge', async (t) => {
  const { body: deal } = await create({ customer: { source: 'crm', externalId: 'twin' } });
  const { body: survivor } = await request('POST', '/v1/customers', { body: { name: 'Survivor' } });
  const preview = await request('POST', `/v1/customers/${survivor.id}/merge/preview`, {
    body: { customerId: deal.customerId },
  });
  t.match(preview.body.moves, [{ kind: 'deals', count: 1 }]);
  const merged = await request('POST', `/v1/customers/${survivor.id}/merge`, { body: { customerId: deal.customerId } });
  t.equal(merged.status, 200, JSON.stringify(merged.body));
  t.match((await request('GET', `/v1/deals/${deal.id}`)).body, { customerId: survivor.id, items: [{ sku: 'A' }] });
  t.equal((await request('GET', `/v1/deals/external/crm/${deal.externalId}`)).body.customerId, survivor.id);
  const back = await request('POST', `/v1/customers/${survivor.id}/unmerge`, { body: { mergeId: merged.body.id } });
  t.match(back, { status: 200, body: { moves: [{ kind: 'deals', count: 1 }], kept: [] } });
  t.match((await request('GET', `/v1/deals/${deal.id}`)).body, { customerId: deal.customerId, items: [{ sku: 'A' }] });
});

t.test('who is named by a deal: a merge names the survivor, an unmerge the other again', async (t) => {
  const customer = async () => (await request('POST', '/v1/customers', { body: { name: 'Introducer' } })).body.id;
  const [survivor, other] = [await customer(), await customer()];
  const { body: deal } = await create({ introducedBy: other });
  const introducer = async () => (await request('GET', `/v1/deals/${deal.id}`)).body.introducedBy;
  const refused = await request('DELETE', `/v1/customers/${other}`, { headers: { 'If-Match': '*' } });
  t.match(refused, { status: 409, body: { errors: [{ code: 'introduced_deals' }] } });
  const scoped = await request('GET', `/v1/deals/${deal.id}`, { customer: deal.customerId });
  t.match(scoped, { status: 200, body: { introducedBy: null } }, 'a scoped token is told of no other customer');
  const merged = await request('POST', `/v1/customers/${survivor}/merge`, { body: { customerId: other } });
  t.equal(await introducer(), survivor);
  const list = await request('GET', `/v1/deals?introducedBy=${survivor}`);
  t.same(
    list.body.data.map(({ id }: { id: string }) => id),
    [deal.id],
  );
  const back = await request('POST', `/v1/customers/${survivor}/unmerge`, { body: { mergeId: merged.body.id } });
  t.equal(back.status, 200);
  t.equal(await introducer(), other);
});

t.test('lists in the order of members that may be null: every row once, in pages of one', async (t) => {
  const values = [
    { nickname: 'b', dueAt: '2026-05-02T00:00:00.000Z', weight: 2 },
    { nickname: null, dueAt: null, weight: null },
    { nickname: 'a', dueAt: '2026-05-01T00:00:00.000Z', weight: 0 },
    { nickname: null, dueAt: null, weight: null },
  ];
  const customer = { source: 'crm', externalId: 'sorted' };
  let customerId = '';
  for (const one of values) customerId = (await create({ customer, ...one })).body.customerId;
  for (const member of ['nickname', 'dueAt', 'weight'] as const) {
    for (const sort of [member, `-${member}`]) {
      const seen: unknown[] = [];
      const ids = new Set<string>();
      for (let after = ''; ; ) {
        const { body, status } = await request(
          'GET',
          `/v1/deals?customerId=${customerId}&sort=${sort}&limit=1${after}`,
        );
        t.equal(status, 200, JSON.stringify(body));
        for (const deal of body.data) {
          seen.push(deal[member]);
          ids.add(deal.id);
        }
        if (!body.page.hasMore) break;
        after = `&after=${encodeURIComponent(body.page.next)}`;
      }
      const [second, , first] = values.map((value) => value[member]);
      t.same(seen, sort === member ? [null, null, first, second] : [second, first, null, null], sort);
      t.equal(ids.size, 4);
    }
  }
});

t.test('a partner orders a list by no member that is not shared with it', async (t) => {
  const make = async (fields: string[]) => {
    const { body, status } = await request('POST', '/v1/partners', { body: { name: 'Broker', fields } });
    t.equal(status, 201, JSON.stringify(body));
    return body.id;
  };
  const scope = 'deals:read customers:pii';
  const list = (partner: string, sort: string) => request('GET', `/v1/deals?sort=${sort}`, { scope, partner });
  const blindPartner = await make([]);
  t.match(await list(blindPartner, 'nickname'), {
    status: 403,
    body: { errors: [{ parameter: 'sort', code: 'not_shared' }] },
  });
  t.match(await list(blindPartner, '-dueAt'), { status: 403 });
  t.match(await list(blindPartner, 'closedAt'), { status: 200 });
  const seeing = await make(['Deal.nickname', 'Deal.dueAt']);
  t.match(await list(seeing, 'nickname'), { status: 200 });
  t.match(await list(seeing, '-dueAt'), { status: 200 });
});

t.test('erase, export, timeline', async (t) => {
  const { body: deal } = await create({ customer: { source: 'crm', externalId: 'erased' }, nickname: 'Forgetme' });
  const { customerId } = deal;
  const timeline = await request('GET', `/v1/customers/${customerId}/timeline`);
  t.match(timeline.body.data, [{ kind: 'deal', id: deal.id, deal: { stage: 'open', nickname: 'Forgetme' } }]);
  const told = await request('GET', `/v1/customers/${customerId}/export`);
  t.match(told.body.sections.deals, { label: 'Deals', count: 1, records: [{ nickname: 'Forgetme' }] });
  t.match(told.body.sections.dealItems, { count: 1, records: [{ sku: 'A', currency: 'EUR' }] });
  const erased = await request('POST', `/v1/customers/${customerId}/erase`, { body: {} });
  t.equal(erased.status, 200, JSON.stringify(erased.body));
  t.match((await request('GET', `/v1/deals/${deal.id}`)).body, { nickname: null, value: 5000 });
  const late = await create({ customer: { source: 'crm', externalId: 'erased' }, nickname: 'Again' });
  t.match(late.body, { customerId, nickname: null }, 'nothing personal is kept of who was erased');
});

t.test('a deal is a sign of life', async (t) => {
  const { silentSince } = await import('../../src/records/personal-data.ts');
  const { sql } = await import('drizzle-orm');
  const { PgDialect } = await import('drizzle-orm/pg-core');
  const { body: deal } = await create({ customer: { source: 'crm', externalId: 'alive' } });
  await database.query(`update customers set created_at = '2020-01-01' where id = $1`, [deal.customerId]);
  const { sql: text } = new PgDialect().sqlToQuery(
    sql`select ${silentSince(sql.raw("'2026-04-01'::timestamptz"))} as silent from customers c where c.id = ${sql.raw(`'${deal.customerId}'`)}`,
  );
  t.same((await database.query(text)).rows, [{ silent: false }]);
  await database.query(`update deals set closed_at = '2025-01-01' where id = $1`, [deal.id]);
  t.same((await database.query(text)).rows, [{ silent: true }]);
});
