import t from 'tap';
import { resolvers, routes } from '../../src/features.ts';
import { operationsOf } from '../../src/platform/graphql/field.ts';
import { maskableFields, maskForScoped } from '../../src/platform/masked-fields.ts';
import type { Operation } from '../../src/platform/operation.ts';
import { createPrincipal } from '../../src/platform/principal.ts';
import { testApp } from '../support/app.ts';
import { stockHouse, stockPartner, stockPerson } from '../support/people.ts';
import { newKey } from '../support/shop.ts';

/** What partners and single customers are not told of the records that they see, and what they cannot do to them. */

const service = await testApp(t);
const { request, graphql } = service;
const house = await stockHouse(service);
const ada = await stockPerson(service, house);
const ben = await stockPerson(service, house);
const id = ada.customer;

const nullable = (value: unknown): string[] =>
  Object.entries(value as object).flatMap(([name, held]) => (held === null ? [name] : []));

t.test('every answer that is open to a scoped token can be cut', async (t) => {
  const operations = new Set<Operation>([
    ...routes.map(({ operation }) => operation),
    ...resolvers.flatMap((feature) =>
      Object.values(feature).flatMap((fields) => Object.values(fields).flatMap((one) => operationsOf(one))),
    ),
  ]);
  for (const kind of ['partner', 'customer'] as const) {
    const principal = createPrincipal('app', ['*'], { kind, id });
    for (const operation of operations) {
      if (operation.partners || operation.selfService)
        t.doesNotThrow(() => maskForScoped(operation, principal, []), operation.name);
    }
  }
  const names = maskableFields(operations).map(({ name }) => name);
  t.ok(names.includes('Customer.name') && names.includes('Order.channel') && names.includes('SurveyAnswer.text'));
  for (const never of ['Customer.companyId', 'Customer.referredBy', 'Customer.acquiredBy', 'Page.next']) {
    t.notOk(names.includes(never), never);
  }
});

t.test('a partner is told what it is allowed, on both doors', async (t) => {
  const partner = await stockPartner(service, { customers: [id], fields: ['Customer.name', 'Order.channel'] });
  const all = await stockPartner(service, {
    customers: [id],
    fields: (await request('GET', '/v1/partner-fields')).body.fields.map(({ name }: { name: string }) => name),
  });
  const own = (await request('GET', `/v1/customers/${id}`)).body;
  const seen = (await request('GET', `/v1/customers/${id}`, { partner })).body;
  t.equal(seen.name, own.name);
  t.same(seen.references, own.references, 'what is never null comes with the record');
  for (const member of ['email', 'identities', 'attributes', 'acquisition', 'companyId', 'referredBy', 'acquiredBy']) {
    t.equal(seen[member], null, member);
  }
  const everything = (await request('GET', `/v1/customers/${id}`, { partner: all })).body;
  t.same(everything, { ...own, companyId: null, referredBy: null, acquiredBy: null }, 'all but who else there is');
  const unnamed = (await request('GET', `/v1/customers/${id}`, { partner: all, scope: 'customers:read' })).body;
  t.ok(unnamed.name === null && unnamed.acquisition !== null, 'personal data need their scope as well');
  const document = `{ customer(id: "${id}") { name email company { id } orders(first: 5) { nodes { channel campaignId } } }
    customers(first: 5) { nodes { name email orders(first: 5) { nodes { channel campaignId items { sku name } } } } } }`;
  const { body } = await graphql(document, {}, { partner });
  t.notOk(body.errors, JSON.stringify(body.errors));
  const { company, ...customer } = body.data.customer;
  t.equal(company, null);
  const [listed] = body.data.customers.nodes;
  for (const one of [customer, listed]) {
    t.equal(one.name, own.name);
    t.equal(one.email, null);
    t.equal(one.orders.nodes[0].campaignId, null);
  }
  t.equal(listed.orders.nodes[0].items[0].name, null, 'what was fetched ahead as well');
  const order = (await request('GET', `/v1/orders/${ada.order}`, { partner })).body;
  t.strictSame(nullable(order).includes('campaignId'), true);
});

t.test('nobody selects by what is not told', async (t) => {
  const partner = await stockPartner(service, { customers: [id], fields: ['Customer.name'] });
  const refused: [string, string][] = [
    ['/v1/customers?companyId=', 'companyId'],
    ['/v1/customers?referredBy=', 'referredBy'],
    ['/v1/orders?campaignId=', 'campaignId'],
    ['/v1/survey-responses?orderId=', 'orderId'],
  ];
  for (const [path, parameter] of refused) {
    const answer = await request('GET', path + id, { partner });
    t.match(answer, { status: 403, body: { code: 'not_shared', errors: [{ parameter }] } }, path);
  }
  for (const path of [
    '/v1/customers?acquisitionSource=fair',
    '/v1/interactions?q=parcel',
    '/v1/leads?converted=true',
  ]) {
    t.equal((await request('GET', path, { partner })).status, 403, path);
  }
  const textOnly = await stockPartner(service, { customers: [id], fields: ['Interaction.text'] });
  t.equal((await request('GET', '/v1/interactions?q=parcel', { partner: textOnly })).status, 403, 'q reads topics too');
  t.equal((await request('GET', `/v1/customers/external/shop/${ada.name}/interactions`, { partner })).status, 200);
  const { body } = await graphql(`{ customers(companyId: "${id}") { nodes { id } } }`, {}, { partner });
  t.equal(body.errors[0].extensions.code, 'not_shared');
  t.equal((await request('GET', `/v1/customers?companyId=${id}`, { customer: id })).status, 403, 'nor a customer');
  t.equal((await request('GET', '/v1/customers?acquisitionSource=fair', { customer: id })).status, 200);
});

t.test('answers to different viewers have different ETags', async (t) => {
  const partner = await stockPartner(service, { customers: [id], fields: [] });
  const etag = async (who: object) => (await request('GET', `/v1/customers/${id}`, who)).headers.get('etag') ?? '';
  const tags = [
    await etag({}),
    await etag({ partner }),
    await etag({ customer: id }),
    await etag({ partner, scope: 'customers:read' }),
  ];
  t.equal(new Set(tags).size, 4, tags.join(' '));
  const again = (tag: string) => request('GET', `/v1/customers/${id}`, { partner, headers: { 'If-None-Match': tag } });
  t.equal((await again(tags[1] ?? '')).status, 304);
  t.equal((await again(tags[0] ?? '')).status, 200);
  await request('PATCH', `/v1/partners/${partner}`, {
    body: { fields: ['Customer.name'] },
    headers: { 'If-Match': '*' },
  });
  t.match(
    await again(tags[1] ?? ''),
    { status: 200, body: { name: `Name ${ada.name}` } },
    'nor what it was allowed before',
  );
  const patched = await request('PATCH', `/v1/customers/${id}`, {
    partner,
    body: { locale: 'en' },
    headers: { 'If-Match': await etag({ partner }) },
  });
  t.equal(patched.status, 200, 'and are good for changes');
});

t.test('cursors and idempotency keys are of whom they were given to', async (t) => {
  const [first, second] = [
    await stockPartner(service, { customers: [id, ben.customer] }),
    await stockPartner(service, { customers: [id, ben.customer] }),
  ];
  const page = await request('GET', '/v1/customers?limit=1', { partner: first });
  const next = `/v1/customers?limit=1&after=${encodeURIComponent(page.body.page.next)}`;
  t.equal((await request('GET', next, { partner: first })).status, 200);
  t.match(await request('GET', next, { partner: second }), { status: 400, body: { code: 'invalid_cursor' } });
  t.match(await request('GET', next), { status: 400, body: { code: 'invalid_cursor' } });
  const key = { 'Idempotency-Key': 'the-same' };
  const body = {
    customerId: id,
    kind: 'phone',
    direction: 'inbound',
    occurredAt: '2026-05-21T00:00:00Z',
    text: 'Good morning',
  };
  const made = await request('POST', '/v1/interactions', { partner: first, body, headers: key });
  const replay = await request('POST', '/v1/interactions', { partner: first, body, headers: key });
  t.same([made.status, replay.body], [201, made.body]);
  t.equal(replay.headers.get('idempotency-replayed'), 'true');
  const others = await request('POST', '/v1/interactions', { partner: second, body, headers: key });
  t.equal(others.headers.get('idempotency-replayed'), null);
  t.not(others.body.id, made.body.id);
});

t.test('what is shared to be looked at is not changed', async (t) => {
  const fresh = await stockPerson(service, house);
  const made = await request('POST', '/v1/leads', {
    body: { source: 'fair', customer: { email: `lead-${fresh.email}` } },
    headers: newKey(),
  });
  const lead = made.body.id;
  const partner = await stockPartner(service, { customers: [], readOnly: [fresh.customer, fresh.newcomer, lead] });
  const customerId = fresh.customer;
  t.equal((await request('GET', `/v1/customers/${customerId}`, { partner })).status, 200);
  const writes: [string, string, object][] = [
    ['PATCH', `/v1/customers/${customerId}`, { locale: 'en' }],
    ['PATCH', `/v1/orders/${fresh.order}`, { channel: 'app' }],
    ['PATCH', `/v1/interactions/${fresh.interaction}`, { outcome: 'solved' }],
    ['PATCH', `/v1/leads/${customerId}`, { segment: 'smb' }],
    ['POST', `/v1/leads/${lead}/stage`, { to: 'sales_qualified' }],
    ['POST', '/v1/leads', { customerId: fresh.newcomer, source: 'fair' }],
    ['POST', `/v1/customers/${fresh.newcomer}/loyalty`, { programmeId: house.programme }],
    [
      'POST',
      '/v1/interactions',
      { customerId, kind: 'phone', direction: 'inbound', occurredAt: '2026-05-21T00:00:00Z', text: 'Hello' },
    ],
    [
      'POST',
      '/v1/orders',
      {
        source: 'web',
        externalId: `of ${fresh.name}`,
        customerId,
        placedAt: '2026-05-21T00:00:00Z',
        currency: 'EUR',
        total: 100,
        items: [{ sku: 'A', quantity: 1, total: 100 }],
        paymentStatus: 'paid',
      },
    ],
    [
      'POST',
      `/v1/surveys/${house.survey}/responses`,
      {
        submissionId: `of ${fresh.name}`,
        answeredAt: '2026-05-29T00:00:00Z',
        customerId,
        answers: [{ question: 'recommend', score: 9 }],
      },
    ],
  ];
  const tables = 'customers orders interactions leads loyalty_accounts consent_changes survey_responses customer_stats';
  const state = async () => {
    const { default: pg } = await import('pg');
    const client = new pg.Client(service.connection);
    await client.connect();
    const rows = [];
    for (const table of tables.split(' ')) {
      const owner = table === 'customers' ? 'id' : 'customer_id';
      const found = await client.query(`select t::text from ${table} t where ${owner} = any($1) order by 1`, [
        [customerId, fresh.newcomer],
      ]);
      rows.push(found.rows);
    }
    await client.end();
    return rows;
  };
  const before = await state();
  for (const [method, path, body] of writes) {
    const headers = method === 'PATCH' ? { 'If-Match': '*' } : newKey();
    const answer = await request(method, path, { partner, body, headers });
    t.match([answer.status, answer.body.code], [403, 'not_shared'], `${method} ${path} ${JSON.stringify(answer.body)}`);
    t.notMatch(JSON.stringify(answer.body), /policy|row-level|relation/);
  }
  t.same(await state(), before, 'nothing has changed');
});

t.test('a customer is not told of others', async (t) => {
  const own = await request('GET', `/v1/customers/${id}`, { customer: id });
  t.match(own, {
    status: 200,
    body: { name: `Name ${ada.name}`, companyId: null, referredBy: null, acquiredBy: null },
  });
  t.equal((await request('GET', `/v1/customers/${house.referrer}`, { customer: id })).status, 404);
});
