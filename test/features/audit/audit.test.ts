import * as fc from 'fast-check';
import pg from 'pg';
import t, { type Test } from 'tap';
import { openAuditRecord } from '../../../src/features/audit/keep.ts';
import { auditEntries } from '../../../src/features/audit/record.ts';
import { resolvers, routes, tablePolicies } from '../../../src/features.ts';
import { type AuditEntry, auditEntry, namesCustomers, originOf } from '../../../src/platform/audit.ts';
import { openPool, poolDb, scopedRoles, serviceRole } from '../../../src/platform/db/client.ts';
import { operationsOf } from '../../../src/platform/graphql/field.ts';
import { newId } from '../../../src/platform/ids.ts';
import type { Operation } from '../../../src/platform/operation.ts';
import { redactor } from '../../../src/platform/personal.ts';
import { createPrincipal } from '../../../src/platform/principal.ts';
import { type Answer, runJobs, type TestApp, testApp } from '../../support/app.ts';
import { testDatabase } from '../../support/database.ts';
import { type House, type Person, stockHouse, stockPerson } from '../../support/people.ts';
import { fresh, newKey, orderOf, returnOf } from '../../support/shop.ts';

type Row = Record<string, unknown> & { operation: string; kind: string; customer_ids: string[]; record_ids: string[] };

/** A session of the owner, who sees everything as it is. */
async function session(t: Pick<Test, 'teardown'>, connection: pg.ClientConfig): Promise<pg.Client> {
  const client = new pg.Client(connection);
  await client.connect();
  t.teardown(() => client.end());
  return client;
}

/** Entries are looked for by the client of their token: every call here has one of its own. */
async function entriesOf(client: pg.Client, name: string): Promise<Row[]> {
  const { rows } = await client.query<Row>('select * from audit_entries where client = $1 order by id', [name]);
  return rows;
}

/** Reads are written a little later. */
async function eventually<T>(look: () => Promise<T>, enough: (found: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    const found = await look();
    if (enough(found) || tries === 200) return found;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Notes whose rows change, in any table but those that are about the calls themselves. */
async function changedCustomers(client: pg.Client) {
  await client.query(`
    create schema noted;
    create table noted.log (name text, customers text[]);
    create function noted.note() returns trigger language plpgsql security definer as $$
      begin
        insert into noted.log select tg_table_name, array_remove(array(
          select coalesce(r ->> 'customer_id', case tg_table_name when 'customers' then r ->> 'id' end)
          from unnest(array[case when tg_op <> 'DELETE' then to_jsonb(new) end, case when tg_op <> 'INSERT' then to_jsonb(old) end]) r), null);
        return null;
      end $$;
    do $$
      declare t record;
      begin
        for t in select oid::regclass as name from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace
            and relname not in ('audit_entries', 'idempotency_keys') loop
          execute format('create trigger noted after insert or update or delete on %s for each row execute function noted.note()', t.name);
        end loop;
      end $$`);
  return async () => {
    const { rows } = await client.query<{ name: string; customers: string[] }>('delete from noted.log returning *');
    return { rows: rows.length, customers: [...new Set(rows.flatMap(({ customers }) => customers))].sort() };
  };
}

// ------------------------------------------------------------------------------------------------ what is in an entry

t.test('a change and its entry are there together, with who, what, when and from where', async (t) => {
  const api = await testApp(t, { clock: () => '2026-06-01T12:00:00.000Z' });
  const client = await session(t, api.connection);
  const body = { name: 'Ada', references: [{ source: 'shop', externalId: 'ada' }], attributes: { nick: 'A' } };
  const made = await api.request('POST', '/v1/customers', { body, headers: newKey(), client: 'crm' });
  t.equal(made.status, 201);
  const { id } = made.body;
  t.match(await entriesOf(client, 'crm'), [
    {
      client: 'crm',
      confinement: null,
      address: '127.0.0.1',
      door: 'rest',
      operation: 'createCustomer',
      kind: 'write',
      resource: 'customers',
      record_ids: [],
      customer_ids: [id],
      outcome: 'done',
    },
  ]);
  const found = await api.request('GET', `/v1/customers/${id}/audit-entries`);
  t.match(found.body, {
    data: [{ at: '2026-06-01T12:00:00.000Z', members: ['name', 'attributes', 'references'], partnerId: null }],
    page: { hasMore: false },
  });
  const [entry] = found.body.data;
  t.strictSame((await api.request('GET', `/v1/audit-entries/${entry.id}`)).body, entry);
  t.match(await api.request('GET', `/v1/audit-entries/${id}`), { status: 404, body: { code: 'not_found' } });

  const moved = await api.request('POST', '/v1/orders', {
    body: orderOf({ customerId: id, total: 100 }),
    headers: newKey(),
    client: 'shop',
  });
  const other = await api.request('POST', '/v1/customers', { body: { name: 'Bob' }, headers: newKey() });
  await api.request('PATCH', `/v1/orders/${moved.body.id}`, {
    body: { customerId: other.body.id },
    headers: { 'If-Match': '*' },
    client: 'mover',
  });
  const [move] = await entriesOf(client, 'mover');
  t.match(move, { operation: 'updateOrder', record_ids: [moved.body.id], members: ['customerId'] });
  t.strictSame(move?.customer_ids.toSorted(), [id, other.body.id].sort(), 'who had it and who has it');

  const document = { references: body.references, name: 'Countess' };
  const items = [document, { name: 3 }, { references: [{ source: 'shop', externalId: 'new' }], locale: 'en' }];
  const batch = await api.request('POST', '/v1/customers/batch', { body: { customers: items }, client: 'batch' });
  t.match(batch.body.results, [{ status: 'updated' }, { status: 'refused' }, { status: 'created' }]);
  const [set] = await entriesOf(client, 'batch');
  t.match(set, { operation: 'batchCustomers', outcome: 'partial', record_ids: [] });
  t.strictSame(set?.['members'], ['name', 'references', 'locale'], 'of the items that were written');
  t.strictSame(set?.customer_ids.toSorted(), [id, batch.body.results[2].id].sort());
});

t.test('GraphQL has an entry per operation, and one request id for all of a request', async (t) => {
  const api = await testApp(t);
  const client = await session(t, api.connection);
  const made = await api.graphql(
    `mutation { a: createCustomer(idempotencyKey: "a", input: { name: "Ada" }) { customer { id } }
       b: createCustomer(idempotencyKey: "b", input: { name: "Bob" }) { customer { id } }
       c: updateCustomer(id: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90", expectedVersion: "*", input: { name: "Nobody" }) { customer { id } } }`,
    {},
    { client: 'two' },
  );
  const ids = [made.body.data.a.customer.id, made.body.data.b.customer.id];
  const entries = await entriesOf(client, 'two');
  t.strictSame(
    entries.map(({ operation, door, customer_ids }) => ({ operation, door, customer_ids })),
    ids.map((id) => ({ operation: 'createCustomer', door: 'graphql', customer_ids: [id] })),
  );
  t.equal(new Set(entries.map((entry) => entry['request_id'])).size, 1);
  for (const id of ids) {
    const body = orderOf({ customerId: id, total: 100 });
    t.equal((await api.request('POST', '/v1/orders', { body, headers: newKey() })).status, 201);
    const call = { customerId: id, kind: 'phone', occurredAt: '2026-03-01T10:00:00Z', text: 'hello', source: 'crm' };
    await api.request('POST', '/v1/interactions', { body: { ...call, externalId: fresh('call') }, headers: newKey() });
  }
  const query = '{ customers { nodes { name interactions { nodes { text } } orders { nodes { total } } } } }';
  t.equal((await api.graphql(query, {}, { client: 'nested' })).body.errors, undefined);
  const seen = await eventually(
    () => entriesOf(client, 'nested'),
    (found) => found.length >= 2,
  );
  t.strictSame(seen.map(({ operation }) => operation).sort(), ['interactionsOfCustomers', 'listCustomers']);
  for (const { customer_ids } of seen) t.strictSame(customer_ids.toSorted(), ids.toSorted());
  t.equal(new Set(seen.map((entry) => entry['request_id'])).size, 1);
  const { data } = (
    await api.graphql(
      'query ($id: ID) { auditEntries(customerId: $id, kind: READ, sort: AT_ASC) { totalCount nodes { operation door client } } }',
      { id: ids[0] },
    )
  ).body;
  t.equal(data.auditEntries.totalCount, 2);
  t.match(data.auditEntries.nodes[0], { door: 'GRAPHQL', client: 'nested' });
});

t.test('reads of personal data have entries; what shows none has not', async (t) => {
  const api = await testApp(t);
  const client = await session(t, api.connection);
  const [ada, bob] = await Promise.all(
    ['Ada', 'Bob'].map(async (name) => {
      const { body } = await api.request('POST', '/v1/customers', {
        body: { name, references: [{ source: 'shop', externalId: name }] },
        headers: newKey(),
      });
      return body;
    }),
  );
  const read = 'customers:read customers:pii customers:write leads:read';
  const seen: [string, string, object?][] = [
    ['GET', `/v1/customers/${ada.id}`],
    ['GET', '/v1/customers/external/shop/Ada'],
    ['PATCH', `/v1/customers/${ada.id}?dryRun=true`, {}],
    ['PUT', '/v1/customers/external/shop/Ada?dryRun=true', { name: 'Ada' }],
  ];
  for (const [index, [method, path, body]] of seen.entries()) {
    const headers = method === 'PATCH' ? { 'If-Match': '*' } : {};
    t.equal(
      (await api.request(method, path, { body, headers, scope: read, client: `seen${index}` })).status,
      200,
      path,
    );
    const entries = await eventually(
      () => entriesOf(client, `seen${index}`),
      (found) => found.length > 0,
    );
    t.match(entries, [{ kind: 'read', customer_ids: [ada.id], members: [] }], `${method} ${path}`);
    t.equal(entries.length, 1);
  }
  const headers = newKey();
  const twice = { body: { name: 'Cleo' }, headers, scope: read, client: 'twice' };
  const cleo = await api.request('POST', '/v1/customers', twice);
  t.equal((await api.request('POST', '/v1/customers', twice)).headers.get('idempotency-replayed'), 'true');
  const told = await eventually(
    () => entriesOf(client, 'twice'),
    (found) => found.length > 1,
  );
  t.match(told, [{ kind: 'write' }, { kind: 'read', customer_ids: [cleo.body.id] }]);

  await api.request('GET', '/v1/customers', { scope: read, client: 'page' });
  const [page] = await eventually(
    () => entriesOf(client, 'page'),
    (found) => found.length > 0,
  );
  t.strictSame(page?.customer_ids.toSorted(), [ada.id, bob.id, cleo.body.id].sort());

  const silent: [string, string, string][] = [
    ['GET', `/v1/customers/${ada.id}`, 'customers:read'],
    ['GET', '/v1/customers', 'customers:read'],
    ['GET', '/v1/customers?email=nobody@example.org', read],
    ['GET', '/v1/customers/0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90', read],
    ['GET', '/v1/orders', '*'],
    ['GET', '/v1/metrics/retention-rate', '*'],
    ['GET', '/v1/audit-entries', '*'],
    ['GET', '/v1/audit-entries', 'customers:read'],
  ];
  for (const [method, path, scope] of silent) await api.request(method, path, { scope, client: 'silent' });
  // Written after them, so they would be there.
  await api.request('GET', `/v1/customers/${ada.id}`, { scope: read, client: 'last' });
  await eventually(
    () => entriesOf(client, 'last'),
    (found) => found.length > 0,
  );
  t.strictSame(await entriesOf(client, 'silent'), []);
  t.match(await api.request('GET', '/v1/audit-entries', { scope: 'customers:read' }), {
    status: 403,
    body: { code: 'insufficient_scope', scope: 'audit:read' },
  });
});

t.test('lists by customer, client, operation, kind and time, page by page', async (t) => {
  let now = '2026-06-01T12:00:00.000Z';
  const api = await testApp(t, { clock: () => now });
  const people: string[] = [];
  for (const day of [1, 2, 3, 4, 5]) {
    now = `2026-06-0${day}T12:00:00.000Z`;
    const client = day % 2 ? 'odd' : 'even';
    const { body } = await api.request('POST', '/v1/customers', {
      body: { name: `P${day}` },
      headers: newKey(),
      client,
    });
    people.push(body.id);
    await api.request('PATCH', `/v1/customers/${people[0]}`, {
      body: { locale: 'en' },
      headers: { 'If-Match': '*' },
      client,
    });
  }
  const list = async (query: string) => {
    const found: AuditEntry[] = [];
    for (let after = ''; ; ) {
      const { status, body } = await api.request('GET', `/v1/audit-entries?limit=3&${query}${after}`);
      t.equal(status, 200, query);
      found.push(...body.data);
      if (!body.page.hasMore) return found;
      after = `&after=${body.page.next}`;
    }
  };
  t.equal((await list('kind=write')).length, 10);
  t.equal((await list('client=odd')).length, 6);
  t.equal((await list('client=even&operation=createCustomer')).length, 2);
  t.equal((await list(`customerId=${people[0]}`)).length, 6);
  t.equal((await list(`customerId=${people[3]}&sort=at`)).length, 1);
  t.equal((await list('from=2026-06-02T00:00:00Z&to=2026-06-04T00:00:00Z')).length, 4);
  const times = (await list('sort=at')).map(({ at }) => at);
  t.strictSame(times, times.toSorted());
  await api.request('DELETE', `/v1/customers/${people[4]}`, { headers: { 'If-Match': '*' } });
  const gone = await api.request('GET', `/v1/customers/${people[4]}/audit-entries?sort=at`);
  t.match(gone.body.data, [{ operation: 'createCustomer' }, { operation: 'deleteCustomer' }], 'also of who is gone');
});

t.test('addresses are those of clients, not of customers, and nothing that a proxy makes up', async (t) => {
  const api = await testApp(t, { env: { TRUSTED_PROXIES: '127.0.0.1' } });
  const client = await session(t, api.connection);
  const house = await stockHouse(api);
  const person = await stockPerson(api, house);
  const rename = (forwarded: string, as: string, customer?: string) =>
    api.request('PATCH', `/v1/customers/${person.customer}`, {
      body: { locale: 'de' },
      headers: { 'If-Match': '*', 'X-Forwarded-For': forwarded },
      client: as,
      ...(customer !== undefined && { customer }),
    });
  const cases: [string, string | null][] = [
    ['198.51.100.7, 203.0.113.7', '203.0.113.7'],
    ['2001:db8::7', '2001:db8::7'],
    ['::ffff:203.0.113.9', '203.0.113.9'],
    ['ada@example.org', null],
  ];
  for (const [forwarded, address] of cases) {
    const name = fresh('from');
    t.equal((await rename(forwarded, name)).status, 200);
    t.match(await entriesOf(client, name), [{ address }], forwarded);
  }
  t.equal((await rename('203.0.113.7', 'app', person.customer)).status, 200);
  t.match(await entriesOf(client, 'app'), [
    { address: null, confinement: 'customer', confinement_id: person.customer },
  ]);
  const { body } = await api.request('POST', '/v1/survey-invitations', {
    body: { surveyId: house.survey, customerId: person.newcomer },
    headers: newKey(),
  });
  const claimed = await api.request('POST', '/v1/survey-invitations/claim', { body: {}, headers: newKey() });
  const { path: link } = claimed.body.invitations.find(
    ({ invitation }: { invitation: { id: string } }) => invitation.id === body.id,
  );
  const answered = await api.request('POST', link, {
    body: { answers: [{ question: 'recommend', score: 9 }] },
    scope: null,
    headers: { 'X-Forwarded-For': '203.0.113.7' },
  });
  t.equal(answered.status, 201, JSON.stringify(answered.body));
  t.match(await entriesOf(client, 'public'), [
    { operation: 'answerSurveyLink', address: null, customer_ids: [person.newcomer] },
  ]);
  t.equal(
    originOf('rest', '::ffff:192.0.2.1', { anybody: false, principal: createPrincipal('a', []) }).address,
    '192.0.2.1',
  );
});

// ------------------------------------------------------------------------------------------------ exactly once

const secret = 'Zacharias';

interface Attempt {
  call: string;
  /** How it is asked. */
  manner: 'plainly' | 'dry' | 'twice' | 'with a wrong version' | 'with a wrong body' | 'with too few scopes';
  door: 'rest' | 'graphql';
  who: number;
  other: number;
  version: number;
}

type Ask = (
  who: Person,
  other: Person,
  house: House,
  version: number,
) => { method: string; path: string; body?: unknown; field?: string; args?: string };

let partner = '';
/** Customers to be merged or erased, each once. */
let spare: string[] = [];
const email = () => `${fresh(secret.toLowerCase())}@example.org`;
const item = { sku: 'A', quantity: 1, total: 100 };

/** Writes, some of which change nothing. `field` is the mutation, whose `args` come beside the input. */
const asks: Record<string, Ask> = {
  rename: (who) => ({
    method: 'PATCH',
    path: `/v1/customers/${who.customer}`,
    body: { name: `${secret} ${fresh('n')}`, attributes: { [`${secret}_key`]: secret } },
    field: 'updateCustomer',
    args: `id: "${who.customer}"`,
  }),
  upsert: (who, _other, _house, version) => ({
    method: 'PUT',
    path: `/v1/customers/external/shop/${who.name}`,
    body: { name: secret, sourceVersion: version },
    field: 'upsertCustomer',
    args: `reference: { source: "shop", externalId: "${who.name}" }`,
  }),
  create: () => ({
    method: 'POST',
    path: '/v1/customers',
    body: { name: secret, identities: [{ kind: 'email', value: email() }] },
    field: 'createCustomer',
  }),
  customers: (who, other, _house, version) => ({
    method: 'POST',
    path: '/v1/customers/batch',
    body: {
      customers: [who, other]
        .map(({ name }, n) => ({
          references: [{ source: 'shop', externalId: name }],
          name: secret,
          ...(n === 0 && { sourceVersion: version }),
        }))
        .concat([{ name: secret } as never]),
    },
  }),
  order: (who) => ({
    method: 'POST',
    path: '/v1/orders',
    body: orderOf({ customerId: who.customer, total: 100, items: [{ ...item, name: secret }] }),
    field: 'createOrder',
  }),
  stranger: () => ({
    method: 'POST',
    path: '/v1/orders',
    body: orderOf({ customer: { externalId: fresh(secret), email: email(), name: secret }, total: 100 }),
  }),
  move: (who, other) => ({
    method: 'PATCH',
    path: `/v1/orders/${who.order}`,
    body: { customerId: other.customer },
    field: 'updateOrder',
    args: `id: "${who.order}"`,
  }),
  orders: (who, other, _house, version) => ({
    method: 'POST',
    path: `/v1/orders/batch${version % 2 ? '?atomic=true' : ''}`,
    body: {
      orders: [
        orderOf({ customerId: who.customer, total: 100, externalId: `again ${who.name}`, sourceVersion: version }),
        orderOf({ customerId: other.customer, total: version % 3 ? 100 : 7, items: [item] }),
      ],
    },
  }),
  interaction: (who) => ({
    method: 'PATCH',
    path: `/v1/interactions/${who.interaction}`,
    body: { text: secret },
    field: 'updateInteraction',
    args: `id: "${who.interaction}"`,
  }),
  responses: (who, other, house) => ({
    method: 'POST',
    path: `/v1/surveys/${house.survey}/responses/batch`,
    body: {
      responses: [who, other].map(({ customer, name }) => ({
        submissionId: `same ${name}`,
        customerId: customer,
        answeredAt: '2026-05-29T00:00:00Z',
        answers: [{ question: 'recommend', score: 9 }],
      })),
    },
  }),
  stage: (who, _other, _house, version) => ({
    method: 'POST',
    path: `/v1/leads/${who.customer}/stage`,
    body: version % 2 ? { to: 'former', lossReason: 'other' } : { to: 'lead', note: secret },
    field: 'changeLeadStage',
    args: `id: "${who.customer}"`,
  }),
  points: (who, _other, _house, version) => ({
    method: 'POST',
    path: '/v1/loyalty/transactions',
    body: {
      kind: 'adjust',
      customerId: who.customer,
      points: 2,
      externalId: `p${version} ${who.name}`,
      reason: secret,
    },
    field: 'createLoyaltyTransaction',
  }),
  transfers: (who, other, _house, version) => ({
    method: 'POST',
    path: '/v1/loyalty/transactions/batch',
    body: {
      transactions: [
        {
          kind: 'transfer',
          customerId: who.customer,
          toCustomerId: other.customer,
          points: 1,
          externalId: `t${version} ${who.name}`,
        },
        { kind: 'spend', customerId: other.customer, points: 1_000_000, externalId: fresh('much') },
      ],
    },
  }),
  eligibility: (who, _other, house, version) => ({
    method: 'POST',
    path: `/v1/surveys/${house.survey}/eligibility`,
    body: { customerId: who.customer, reserve: version % 2 === 1 },
  }),
  consent: (who) => ({
    method: 'POST',
    path: `/v1/customers/${who.customer}/consents`,
    body: { purpose: 'newsletter', channel: 'sms', status: 'granted', evidence: { source: 'shop', wording: secret } },
    field: 'recordConsent',
    args: `id: "${who.customer}"`,
  }),
  followUp: (who) => ({ method: 'PATCH', path: `/v1/follow-ups/${who.followUp}`, body: { note: secret } }),
  return: (who) => ({
    method: 'POST',
    path: '/v1/returns',
    body: returnOf({ customerId: who.customer, reason: secret }),
    field: 'createReturn',
  }),
  qualify: () => ({ method: 'POST', path: '/v1/leads/qualify' }),
  claim: () => ({ method: 'POST', path: '/v1/survey-invitations/claim', body: {} }),
  share: (who, _other, _house, version) => ({
    method: 'PUT',
    path: `/v1/partners/${partner}/customers/${who.customer}`,
    body: { writable: version % 2 === 1 },
  }),
  unshare: (who) => ({ method: 'DELETE', path: `/v1/partners/${partner}/customers/${who.customer}` }),
  shares: (who, other) => ({
    method: 'POST',
    path: `/v1/partners/${partner}/customers/batch`,
    body: { customers: [{ customerId: who.customer }, { customerId: other.customer }] },
  }),
  merge: (who) => ({
    method: 'POST',
    path: `/v1/customers/${who.customer}/merge`,
    body: { customerId: spare.pop() },
  }),
  erase: () => ({ method: 'POST', path: `/v1/customers/${spare.pop()}/erase` }),
  rates: (_who, _other, _house, version) => ({
    method: 'PUT',
    path: '/v1/exchange-rates',
    body: { rates: [{ date: '2026-05-01', currency: 'USD', rate: `0.9${version}` }] },
  }),
};

const attempt: fc.Arbitrary<Attempt> = fc.record({
  call: fc.constantFrom(...Object.keys(asks)),
  manner: fc.constantFrom(
    'plainly',
    'plainly',
    'plainly',
    'dry',
    'twice',
    'with a wrong version',
    'with a wrong body',
    'with too few scopes',
  ),
  door: fc.constantFrom('rest', 'graphql'),
  who: fc.integer({ min: 0, max: 2 }),
  other: fc.integer({ min: 0, max: 2 }),
  version: fc.integer({ min: 1, max: 9 }),
});

t.test(
  'every effective write has exactly one entry, which names whose records changed and nothing of what is in them',
  async (t) => {
    const api = await testApp(t);
    const client = await session(t, api.connection);
    const house = await stockHouse(api);
    const people = [await stockPerson(api, house), await stockPerson(api, house), await stockPerson(api, house)];
    const made = await api.request('POST', '/v1/partners', { body: { name: 'Reseller' }, headers: newKey() });
    partner = made.body.id;
    const doubles = Array.from({ length: 100 }, () => ({
      references: [{ source: 'shop', externalId: fresh('double') }],
    }));
    const batch = await api.request('POST', '/v1/customers/batch', { body: { customers: doubles } });
    spare = batch.body.results.map(({ id }: { id: string }) => id);
    const changes = await changedCustomers(client);
    const tally = new Map<string, string>();
    for (const { call, manner, door, who, other, version } of fc.sample(attempt, { numRuns: 300, seed: 5 })) {
      const one = people[who];
      const another = people[other];
      const ask = one && another && asks[call]?.(one, another, house, version);
      if (!ask) throw new Error(call);
      const name = fresh('caller');
      await changes();
      const asked = { client: name, scope: manner === 'with too few scopes' ? 'customers:rea customers:pii' : '*' };
      const graphql = door === 'graphql' && ask.field !== undefined;
      const send = () => (graphql ? mutate(api, ask, manner, asked, key) : request(api, ask, manner, asked, key));
      const key = fresh('key');
      const answers = [await send(), ...(manner === 'twice' ? [await send()] : [])];
      for (const { status } of answers) t.ok(status < 500, `${call} ${manner}: ${status}`);
      const { rows, customers } = await changes();
      const entries = (await entriesOf(client, name)).filter(({ kind }) => kind === 'write');
      const label = `${call}, ${manner}, by ${graphql ? 'graphql' : 'rest'}: ${JSON.stringify(answers.map(({ status, body }) => [status, body])).slice(0, 300)}`;
      t.equal(entries.length, rows > 0 ? 1 : 0, `${label}: ${rows} rows`);
      if (entries[0] && call !== 'rates') t.strictSame(entries[0].customer_ids.toSorted(), customers, label);
      if (manner === 'plainly' || !tally.has(`${call} ${entries.length}`))
        tally.set(`${call} ${entries.length}`, label);
      await runJobs(api);
    }
    for (const call of Object.keys(asks)) {
      if (call !== 'qualify' && call !== 'claim')
        t.ok(tally.has(`${call} 1`), `${call} was carried out: ${tally.get(`${call} 0`)}`);
      t.ok(tally.has(`${call} 0`), `${call} was refused: ${tally.get(`${call} 1`)}`);
    }
    const { rows } = await client.query<{ text: string }>('select e::text as text from audit_entries e');
    const told = rows.map(({ text }) => text).join('\n');
    t.ok(rows.length > 200);
    t.notMatch(told, new RegExp(secret, 'i'));
    for (const { name, email: address } of people) t.notOk(told.includes(name) || told.includes(address), name);
  },
);

interface Asked {
  client: string;
  scope: string;
}

function request(
  api: TestApp,
  { method, path, body }: ReturnType<Ask>,
  manner: Attempt['manner'],
  asked: Asked,
  key: string,
): Promise<Answer> {
  const query = manner === 'dry' ? `${path.includes('?') ? '&' : '?'}dryRun=true` : '';
  const version =
    method === 'PATCH' || manner === 'with a wrong version'
      ? { 'If-Match': manner === 'with a wrong version' ? '"4711"' : '*' }
      : {};
  return api.request(method, path + query, {
    ...(body !== undefined && { body: manner === 'with a wrong body' ? { ...body, [secret]: secret } : body }),
    headers: { 'Idempotency-Key': key, ...version },
    ...asked,
  });
}

function mutate(
  api: TestApp,
  { field, args, body }: ReturnType<Ask>,
  manner: Attempt['manner'],
  asked: Asked,
  key: string,
): Promise<Answer> {
  const type = `${field?.[0]?.toUpperCase()}${field?.slice(1)}`;
  const versioned = field?.startsWith('update');
  const given = [
    args,
    `input: ${literal(manner === 'with a wrong body' ? { ...(body as object), zacharias: 1 } : body)}`,
    `idempotencyKey: "${key}"`,
    ...(manner === 'dry' ? ['dryRun: true'] : []),
    ...(versioned ? [`expectedVersion: ${manner === 'with a wrong version' ? '4711' : '"*"'}`] : []),
  ];
  return api.graphql(`mutation ${type} { ${field}(${given.filter(Boolean).join(', ')}) { __typename } }`, {}, asked);
}

/** A value as GraphQL writes it; enums are words in capitals. */
function literal(value: unknown, member = ''): string {
  if (Array.isArray(value)) return `[${value.map((one) => literal(one)).join(', ')}]`;
  if (typeof value === 'object' && value !== null)
    return `{ ${Object.entries(value)
      .filter(([, one]) => one !== undefined)
      .map(([name, one]) => `${name}: ${literal(one, name)}`)
      .join(', ')} }`;
  return ['kind', 'to', 'status', 'paymentStatus', 'channel', 'lossReason'].includes(member) &&
    typeof value === 'string'
    ? value.toUpperCase()
    : JSON.stringify(value);
}

// ------------------------------------------------------------------------------------------------ atomic, append-only

t.test('what is refused at COMMIT leaves neither a change nor an entry', async (t) => {
  const api = await testApp(t);
  const client = await session(t, api.connection);
  const counts = async () =>
    (
      await client.query(
        'select (select count(*) from customers)::int as customers, (select count(*) from audit_entries)::int as entries',
      )
    ).rows[0];
  const before = await counts();
  const refuse = `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused at commit'; end $$`;
  await client.query(refuse);
  for (const table of ['customers', 'audit_entries']) {
    await client.query(
      `create constraint trigger late after insert on ${table} deferrable initially deferred for each row execute function refuse()`,
    );
    const body = { name: 'Ada' };
    t.equal((await api.request('POST', '/v1/customers', { body, headers: newKey() })).status, 500, table);
    t.strictSame(await counts(), before, table);
    await client.query(`drop trigger late on ${table}`);
  }
  await client.query(`create trigger early before insert on audit_entries for each row execute function refuse()`);
  t.equal((await api.request('POST', '/v1/customers', { body: { name: 'Ada' }, headers: newKey() })).status, 500);
  t.strictSame(await counts(), before, 'an entry that cannot be written');
});

t.test('the service can add to the audit and neither change nor remove anything', async (t) => {
  const api = await testApp(t);
  const client = await session(t, api.connection);
  await api.request('POST', '/v1/customers', { body: { name: 'Ada' }, headers: newKey() });
  const before = (await client.query('select * from audit_entries')).rows;
  t.equal(before.length, 1);
  const pool = openPool(api.connection, { size: 1, statementTimeout: 10_000 });
  t.teardown(() => pool.end());
  t.match((await pool.query('select current_user as name')).rows, [{ name: serviceRole }]);
  const refused = [
    `update audit_entries set client = 'x'`,
    'delete from audit_entries',
    'truncate audit_entries',
    'alter table audit_entries add column x text',
    'alter table audit_entries disable trigger all',
    'drop table audit_entries',
    'create rule r as on insert to audit_entries do instead nothing',
    'create trigger r before insert on audit_entries execute function suppress_redundant_updates_trigger()',
    'drop index audit_entries_at',
    `insert into audit_entries select * from audit_entries on conflict (id) do update set client = 'x'`,
    'merge into audit_entries e using audit_entries o on e.id = o.id when matched then delete',
    'select from audit_entries for update',
  ];
  for (const statement of refused) await t.rejects(pool.query(statement), { code: /^(42501|42809)$/ }, statement);
  for (const role of Object.values(scopedRoles)) {
    await client.query(`set role ${role}`);
    for (const statement of [
      'select from audit_entries',
      'insert into audit_entries select * from audit_entries',
      ...refused,
    ]) {
      await t.rejects(client.query(statement), { code: /^(42501|42809)$/ }, `${role}: ${statement}`);
    }
    await client.query('reset role');
  }
  t.strictSame((await client.query('select * from audit_entries')).rows, before);
  t.equal(tablePolicies().find(({ table }) => table === auditEntries)?.access, 'append');
});

// ------------------------------------------------------------------------------------------------ reads, in memory

const quiet = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };
const readOf = (n: number): AuditEntry =>
  auditEntry(
    {
      principal: createPrincipal('reader', []),
      requestId: newId(),
      now: '2026-06-01T12:00:00.000Z',
      origin: { door: 'rest', address: null },
    },
    { name: 'getCustomer', scope: 'customers:read' },
    { kind: 'read', customerIds: Array.from({ length: n }, newId) },
  );

t.test('while reads cannot be written down, there is room for some and then no more are answered', async (t) => {
  const { connection } = await testDatabase(t);
  const client = await session(t, connection);
  const pool = openPool(connection, { size: 2, statementTimeout: 300 });
  t.teardown(() => pool.end());
  const audit = openAuditRecord(poolDb(pool), quiet, { capacity: 100, pause: 10 });
  await client.query('begin; lock table audit_entries in exclusive mode');
  for (let n = 0; n < 10; n += 1) {
    audit.admit();
    audit.seen(readOf(9));
  }
  t.throws(() => audit.admit(), { code: 'unavailable', status: 503 });
  // Not even after the database has refused the set.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  t.throws(() => audit.admit(), { code: 'unavailable' });
  await client.query('commit');
  await eventually(
    async () => {
      try {
        audit.admit();
        return true;
      } catch {
        return false;
      }
    },
    (free) => free,
  );
  audit.seen(readOf(0));
  await audit.close();
  t.equal((await entriesOf(client, 'reader')).length, 11, 'and nothing is lost or there twice');
});

t.test('a service that closes writes what it has in memory, in sets', async (t) => {
  const { connection } = await testDatabase(t);
  const client = await session(t, connection);
  const pool = openPool(connection, { size: 1, statementTimeout: 10_000 });
  t.teardown(() => pool.end());
  const audit = openAuditRecord(poolDb(pool), quiet, { largestSet: 50 });
  const entries = Array.from({ length: 30 }, (_, n) => readOf(n));
  for (const entry of entries) audit.seen(entry);
  await audit.close();
  const stored = await entriesOf(client, 'reader');
  t.strictSame(
    stored.map(({ customer_ids }) => customer_ids),
    entries.map(({ customerIds }) => customerIds),
  );

  const api = await testApp(t);
  const made = await api.request('POST', '/v1/customers', { body: { name: 'Ada' }, headers: newKey() });
  for (let n = 0; n < 5; n += 1) await api.request('GET', `/v1/customers/${made.body.id}`, { client: 'leaving' });
  await api.app.close();
  t.equal((await entriesOf(await session(t, api.connection), 'leaving')).length, 5);
});

/** Personal, and about no customer. */
const ofNobody = ['getLeadModel', 'createLeadModel', 'coefficientsByLeadModels'];

t.test('every operation that answers personal data says whose it is', async (t) => {
  const operations = new Map<string, Operation>();
  for (const { operation } of routes) operations.set(operation.name, operation);
  for (const types of resolvers)
    for (const fields of Object.values(types))
      for (const resolver of Object.values(fields))
        for (const one of operationsOf(resolver)) operations.set(one.name, one);
  const without = [...operations.values()]
    .filter(({ output, about }) => redactor(output) !== null && !namesCustomers(output) && about === undefined)
    .map(({ name }) => name);
  t.strictSame(without.sort(), ofNobody.toSorted());
});
