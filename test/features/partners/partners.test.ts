import fc from 'fast-check';
import pg from 'pg';
import { test } from 'tap';
import { openEdges } from '../../../src/domain/group-size.ts';
import { isGuarded } from '../../../src/features/metrics/group-size.ts';
import { shareDifferences } from '../../../src/features/partners/sharing.ts';
import { routes } from '../../../src/features.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import { type TestApp, testApp } from '../../support/app.ts';

const now = '2026-07-15T12:00:00.000Z';
const fresh = { clock: () => now };

/** Where what is stored of sharing is not what the rules say. */
async function differences(api: TestApp): Promise<unknown[]> {
  const pool = openPool(api.connection, { size: 1, statementTimeout: 30_000 });
  try {
    return await shareDifferences(poolDb(pool), 50);
  } finally {
    await pool.end();
  }
}

async function newPartner(api: TestApp, body: object = {}): Promise<string> {
  const made = await api.request('POST', '/v1/partners', { body: { name: 'Riverside', ...body } });
  if (made.status !== 201) throw new Error(JSON.stringify(made.body));
  return made.body.id;
}

let names = 0;

async function newCustomer(api: TestApp, body: object = {}, partner?: string): Promise<string> {
  names += 1;
  const made = await api.request('POST', '/v1/customers', { body: { name: `Customer ${names}`, ...body }, partner });
  if (made.status !== 201) throw new Error(JSON.stringify(made.body));
  return made.body.id;
}

async function change(api: TestApp, path: string, body: object): Promise<number> {
  const { status } = await api.request('PATCH', path, { body, headers: { 'If-Match': '*' } });
  return status;
}

/** Whom a partner's tokens see. */
async function seenBy(api: TestApp, partner: string): Promise<string[]> {
  const { body } = await api.request('GET', '/v1/customers?limit=100', { partner });
  return (body.data ?? []).map(({ id }: { id: string }) => id).sort();
}

/** Who is shared with it, with why. */
async function sharedWith(api: TestApp, partner: string): Promise<Record<string, string>> {
  const { body } = await api.request('GET', `/v1/partners/${partner}/customers?limit=100`);
  return Object.fromEntries(
    body.data.map((row: { customerId: string; writable: boolean; reasons: string[] }) => [
      row.customerId,
      `${row.reasons.join('+')}${row.writable ? ' writable' : ''}`,
    ]),
  );
}

test('partners are kept on both doors', async (t) => {
  const api = await testApp(t, fresh);
  const made = await api.request('POST', '/v1/partners', {
    body: { name: 'Riverside', rules: { segments: ['smb', 'smb'], consent: { purpose: 'newsletter' } } },
  });
  t.equal(made.status, 201);
  t.match(made.body, {
    name: 'Riverside',
    status: 'active',
    fields: [],
    minimumGroupSize: 10,
    rules: { acquired: false, segments: ['smb'], consent: { purpose: 'newsletter', channel: null } },
    version: 1,
  });
  const path = `/v1/partners/${made.body.id}`;
  t.same((await api.request('GET', path)).body, made.body);
  const { body } = await api.graphql(
    `query ($id: ID!) { partner(id: $id) { id name status minimumGroupSize rules { acquired segments consent { purpose channel } } }
      partners(status: ACTIVE) { totalCount nodes { id } } }`,
    { id: made.body.id },
  );
  t.match(body.data, {
    partner: {
      name: 'Riverside',
      status: 'ACTIVE',
      minimumGroupSize: 10,
      rules: { acquired: false, segments: ['smb'], consent: { purpose: 'newsletter', channel: null } },
    },
    partners: { totalCount: 1, nodes: [{ id: made.body.id }] },
  });

  t.equal((await api.request('PATCH', path, { body: { name: 'x' } })).status, 428);
  const stale = await api.request('PATCH', path, { body: { name: 'x' }, headers: { 'If-Match': '"7"' } });
  t.equal(stale.status, 412);
  const changed = await api.request('PATCH', path, {
    body: { minimumGroupSize: 25, rules: { acquired: true } },
    headers: { 'If-Match': '"1"' },
  });
  t.match(changed.body, {
    name: 'Riverside',
    minimumGroupSize: 25,
    rules: { acquired: true, segments: [], consent: null },
    version: 2,
  });
  for (const bad of [
    { minimumGroupSize: 1 },
    { fields: ['name'] },
    { status: 'gone' },
    { rules: { everybody: true } },
  ]) {
    t.equal((await api.request('PATCH', path, { body: bad, headers: { 'If-Match': '*' } })).status, 422);
  }

  const brought = await newCustomer(api, { acquiredBy: made.body.id });
  const refused = await api.request('DELETE', path, { headers: { 'If-Match': '*' } });
  t.match(refused, { status: 409, body: { code: 'partner_has_customers' } });
  t.equal(await change(api, `/v1/customers/${brought}`, { acquiredBy: null }), 200);
  t.equal((await api.request('DELETE', path, { headers: { 'If-Match': '*' } })).status, 204);
  t.equal((await api.request('GET', path)).status, 404);
  const unknown = await api.request('POST', '/v1/customers', { body: { name: 'x', acquiredBy: made.body.id } });
  t.match(unknown, { status: 422, body: { errors: [{ pointer: '/acquiredBy', code: 'not_found' }] } });
  t.same(await differences(api), []);
});

test('a partner sees the members it is allowed, on both doors, and only documents have members', async (t) => {
  const api = await testApp(t, fresh);
  const { body: listed } = await api.request('GET', '/v1/partner-fields');
  const known = new Map(listed.fields.map((field: { name: string }) => [field.name, field]));
  t.match(known.get('Customer.name'), { name: 'Customer.name', personal: true });
  t.match(known.get('Order.channel'), { personal: false });
  for (const never of [
    'Customer.id',
    'Customer.acquiredBy',
    'Customer.companyId',
    'MetricResult.value',
    'Partner.name',
  ]) {
    t.notOk(known.has(never), never);
  }
  const graph = await api.graphql('{ partnerFields { fields { name personal } } }');
  t.equal(graph.body.data.partnerFields.fields.length, listed.fields.length);

  const refused = await api.request('POST', '/v1/partners', {
    body: { name: 'x', fields: ['Customer.name', 'Customer.shoeSize'] },
  });
  t.match(refused, { status: 422, body: { errors: [{ pointer: '/fields/1', code: 'unknown_field' }] } });
  const partner = await newPartner(api, { fields: ['Customer.name', 'Customer.name'] });
  const customer = await newCustomer(api, { name: 'Ada', locale: 'en' });
  await api.request('PUT', `/v1/partners/${partner}/customers/${customer}`, { body: {} });
  const path = `/v1/customers/${customer}`;
  t.match((await api.request('GET', path, { partner })).body, { name: 'Ada', locale: null });
  const seen = await api.graphql(
    'query ($id: ID!) { customer(id: $id) { name locale } }',
    { id: customer },
    { partner },
  );
  t.same(seen.body.data.customer, { name: 'Ada', locale: null });
  await change(api, `/v1/partners/${partner}`, { fields: ['Customer.locale'] });
  t.match((await api.request('GET', path, { partner })).body, { name: null, locale: 'en' }, 'at once');
  await change(api, `/v1/partners/${partner}`, { status: 'suspended' });
  t.equal((await api.request('GET', path, { partner })).status, 401, 'at once as well');
});

test('administration of partners is not for partners, nor for customers', async (t) => {
  const api = await testApp(t, fresh);
  const partner = await newPartner(api);
  const customer = await newCustomer(api);
  for (const scoped of [{ partner }, { customer }]) {
    for (const [method, path] of [
      ['GET', '/v1/partners'],
      ['GET', `/v1/partners/${partner}`],
      ['GET', `/v1/partners/${partner}/customers`],
      ['PUT', `/v1/partners/${partner}/customers/${customer}`],
    ] as const) {
      const answer = await api.request(method, path, { ...scoped, ...(method === 'PUT' && { body: {} }) });
      t.match(answer, { status: 403, body: { code: 'not_supported' } }, `${method} ${path}`);
    }
  }
  const withoutScope = await api.request('GET', '/v1/partners', { scope: 'customers:read' });
  t.match(withoutScope, { status: 403, body: { code: 'insufficient_scope', scope: 'partners:read' } });
});

test('customers are shared by name, by who brought them, by segment and by consent, as long as one of them holds', async (t) => {
  const api = await testApp(t, fresh);
  const partner = await newPartner(api, {
    rules: { acquired: true, segments: ['smb', 'retail'], consent: { purpose: 'partner_offers', channel: 'email' } },
  });
  const other = await newPartner(api, { name: 'Hillside' });
  const [named, brought, lead, consenting, stranger] = await Promise.all([
    newCustomer(api),
    newCustomer(api, { acquiredBy: partner }),
    newCustomer(api),
    newCustomer(api),
    newCustomer(api),
  ]);
  await api.request('POST', '/v1/leads', { body: { customerId: lead, segment: 'smb' } });
  const consent = async (status: string, channel: string | null) => {
    const { status: answered } = await api.request('POST', `/v1/customers/${consenting}/consents`, {
      body: { purpose: 'partner_offers', channel, status },
    });
    t.equal(answered, 201);
  };
  await consent('granted', null);
  const put = await api.request('PUT', `/v1/partners/${partner}/customers/${named}`, { body: {} });
  t.match(put, { status: 201, body: { partnerId: partner, customerId: named, writable: false, by: 'test' } });

  const all = {
    [named]: 'explicit',
    [brought]: 'acquired writable',
    [lead]: 'segment',
    [consenting]: 'consent',
  };
  t.same(await sharedWith(api, partner), all);
  t.same(await seenBy(api, partner), Object.keys(all).sort());
  t.same(await seenBy(api, other), []);
  const { body } = await api.graphql('{ customers { totalCount nodes { id acquiredBy } } }', {}, { partner });
  t.equal(body.data.customers.totalCount, 4);
  t.ok(
    body.data.customers.nodes.every(({ acquiredBy }: { acquiredBy: unknown }) => acquiredBy === null),
    'who else brings customers is not for partners',
  );
  t.equal((await api.request('GET', `/v1/customers/${stranger}`, { partner })).status, 404);

  // One after the other.
  await consent('withdrawn', 'email');
  t.notOk((await seenBy(api, partner)).includes(consenting), 'the consent to all channels does not hold for this one');
  await consent('granted', 'email');
  t.ok((await seenBy(api, partner)).includes(consenting));
  await change(api, `/v1/leads/${lead}`, { segment: 'enterprise' });
  t.notOk((await seenBy(api, partner)).includes(lead));
  await change(api, `/v1/leads/${lead}`, { segment: 'retail' });
  t.equal((await sharedWith(api, partner))[lead], 'segment');
  const again = await api.request('PUT', `/v1/partners/${partner}/customers/${lead}`, { body: { writable: true } });
  t.equal(again.status, 201);
  t.equal((await sharedWith(api, partner))[lead], 'explicit+segment writable');
  t.equal((await api.request('DELETE', `/v1/leads/${lead}`, { headers: { 'If-Match': '*' } })).status, 204);
  t.equal((await sharedWith(api, partner))[lead], 'explicit writable');
  t.equal((await api.request('DELETE', `/v1/partners/${partner}/customers/${lead}`)).status, 204);
  t.equal((await api.request('DELETE', `/v1/partners/${partner}/customers/${lead}`)).status, 404);
  t.notOk((await seenBy(api, partner)).includes(lead));
  await api.request('PUT', '/v1/customers/external/shop/7', { body: { name: 'Nightly' } });
  const nightly = (await api.request('GET', '/v1/customers/external/shop/7')).body.id;
  await change(api, `/v1/customers/${nightly}`, { acquiredBy: partner });
  await api.request('PUT', '/v1/customers/external/shop/7', { body: { name: 'Nightly again' } });
  t.equal((await sharedWith(api, partner))[nightly], 'acquired writable', 'a PUT without it does not unshare');
  await change(api, `/v1/customers/${nightly}`, { acquiredBy: other });
  t.notOk((await seenBy(api, partner)).includes(nightly));
  t.same(await seenBy(api, other), [], 'brought by it, and not shared by its rules');

  // The partner itself.
  t.equal(await change(api, `/v1/partners/${partner}`, { rules: { acquired: true } }), 200);
  t.same(await sharedWith(api, partner), { [named]: 'explicit', [brought]: 'acquired writable' });
  t.equal(await change(api, `/v1/partners/${partner}`, { status: 'suspended' }), 200);
  t.same(await sharedWith(api, partner), {});
  t.same(await seenBy(api, partner), []);
  t.equal(await change(api, `/v1/partners/${partner}`, { status: 'active' }), 200);
  t.same(await seenBy(api, partner), [named, brought].sort());
  t.equal((await api.request('DELETE', `/v1/customers/${named}`, { headers: { 'If-Match': '*' } })).status, 204);
  t.same(await seenBy(api, partner), [brought]);
  t.same(await differences(api), []);
});

test('a batch shares by name in index order, and what it cannot share is told', async (t) => {
  const api = await testApp(t, fresh);
  const partner = await newPartner(api);
  const [first, second] = [await newCustomer(api), await newCustomer(api)];
  const nobody = '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90';
  const path = `/v1/partners/${partner}/customers/batch`;
  const { status, body } = await api.request('POST', path, {
    body: {
      customers: [
        { customerId: first },
        { customerId: nobody },
        { customerId: second, writable: true },
        { customerId: first, writable: true },
        { customer: first },
      ],
    },
  });
  t.equal(status, 200);
  t.same(
    body.results.map(({ status: became }: { status: string }) => became),
    ['created', 'refused', 'created', 'updated', 'refused'],
  );
  t.same(await sharedWith(api, partner), { [first]: 'explicit writable', [second]: 'explicit writable' });
  const atomic = await api.request('POST', `${path}?atomic=true`, { body: { customers: [{ customerId: nobody }] } });
  t.match(atomic, { status: 422, body: { code: 'batch_refused' } });
  t.equal(
    (
      await api.request('POST', `/v1/partners/${nobody}/customers/batch`, {
        body: { customers: [{ customerId: first }] },
      })
    ).status,
    404,
  );
  const { body: told } = await api.graphql(
    `mutation ($id: ID!, $customer: ID!) { shareCustomer(id: $id, customerId: $customer, input: {}) { created share { writable by } } }`,
    { id: partner, customer: second },
  );
  t.same(told.data.shareCustomer, { created: false, share: { writable: false, by: 'test' } });
  const page = await api.graphql(
    `query ($id: ID!) { partnerCustomers(id: $id, writable: false) { nodes { customerId reasons customer { name } } } }`,
    { id: partner },
  );
  t.match(page.body.data.partnerCustomers.nodes, [
    { customerId: second, reasons: ['EXPLICIT'], customer: { name: /./ } },
  ]);
  t.same(await differences(api), []);
});

test('a partner writes what it brings and what is shared for writing, nothing else', async (t) => {
  const api = await testApp(t, fresh);
  const partner = await newPartner(api, { rules: { acquired: true }, fields: ['Customer.name'] });
  const idle = await newPartner(api, { name: 'Idle' });
  const own = await newCustomer(api, { references: [{ source: 'dealer', externalId: '1' }] }, partner);
  t.equal((await api.request('GET', `/v1/customers/${own}`)).body.acquiredBy, partner);
  const lead = await api.request('POST', '/v1/leads', {
    body: { customer: { email: 'lead@example.org', name: 'Lead' }, segment: 'smb' },
    partner,
  });
  t.equal(lead.status, 201, JSON.stringify(lead.body));
  const order = await api.request('POST', '/v1/orders', {
    body: {
      source: 'dealer',
      externalId: 'o-1',
      placedAt: '2026-03-01T10:00:00Z',
      customer: { externalId: '2', email: 'order@example.org' },
      currency: 'EUR',
      total: 1000,
      items: [{ sku: 'a', quantity: 1, total: 1000 }],
      paymentStatus: 'paid',
    },
    headers: { 'Idempotency-Key': 'o-1' },
    partner,
  });
  t.equal(order.status, 201, JSON.stringify(order.body));
  t.same(await seenBy(api, partner), [own, lead.body.id, order.body.customerId].sort());
  t.equal((await api.request('GET', `/v1/customers/${lead.body.id}`)).body.acquiredBy, partner);
  t.equal(await change(api, `/v1/customers/${own}`, { locale: 'de' }), 200);
  t.equal(
    (
      await api.request('PATCH', `/v1/customers/${own}`, {
        body: { locale: 'en' },
        headers: { 'If-Match': '*' },
        partner,
      })
    ).status,
    200,
  );

  // Who brought it is not for partners to say.
  for (const acquiredBy of [idle, partner]) {
    const foreign = await newCustomer(api);
    await api.request('PUT', `/v1/partners/${partner}/customers/${foreign}`, { body: { writable: true } });
    const answer = await api.request('PATCH', `/v1/customers/${foreign}`, {
      body: { acquiredBy },
      headers: { 'If-Match': '*' },
      partner,
    });
    t.match(answer, { status: 403, body: { code: 'not_shared', errors: [{ pointer: '/acquiredBy' }] } });
  }
  const other = await api.request('POST', '/v1/customers', { body: { name: 'x', acquiredBy: idle }, partner });
  t.match(other, { status: 403, body: { code: 'not_shared' } });

  // Read-only.
  const readOnly = await newCustomer(api, { references: [{ source: 'shop', externalId: '9' }] });
  await api.request('PUT', `/v1/partners/${partner}/customers/${readOnly}`, { body: {} });
  for (const [method, path, body] of [
    ['PATCH', `/v1/customers/${readOnly}`, { locale: 'fr' }],
    ['POST', '/v1/leads', { customerId: readOnly }],
    ['POST', '/v1/interactions', { customerId: readOnly, kind: 'phone', direction: 'outbound', occurredAt: now }],
  ] as const) {
    const answer = await api.request(method, path, { body, headers: { 'If-Match': '*' }, partner });
    t.match(answer, { status: 403, body: { code: 'not_shared' } }, `${method} ${path}`);
  }

  // What customers this partner brings are not shared with it.
  const refused = await api.request('POST', '/v1/customers', { body: { name: 'x' }, partner: idle });
  t.match(refused, { status: 403, body: { code: 'not_shared' } });
  t.same(await differences(api), []);
});

test('what is shared is what the rules say, whatever happens in whatever order', async (t) => {
  const api = await testApp(t, fresh);
  const partners = [await newPartner(api), await newPartner(api), await newPartner(api)];
  const customers: string[] = [];
  for (let n = 0; n < 6; n += 1) customers.push(await newCustomer(api));
  interface State {
    rules: { acquired: boolean; segments: string[]; consent: { purpose: string; channel: string | null } | null };
    active: boolean;
    shares: Map<string, boolean>;
  }
  const state: State[] = partners.map(() => ({
    rules: { acquired: false, segments: [], consent: null },
    active: true,
    shares: new Map(),
  }));
  const acquired = new Map<string, string | null>();
  const segments = new Map<string, string | null>();
  const consents = new Map<string, boolean>();

  const who = fc.nat(customers.length - 1);
  const whom = fc.nat(partners.length - 1);
  const segment = fc.constantFrom('smb', 'retail');
  const channel = fc.constantFrom(null, 'email');
  const step = fc.oneof(
    fc.record({ kind: fc.constant('share' as const), whom, who, writable: fc.boolean() }),
    fc.record({ kind: fc.constant('unshare' as const), whom, who }),
    fc.record({ kind: fc.constant('acquire' as const), who, whom: fc.option(whom) }),
    fc.record({ kind: fc.constant('lead' as const), who, segment: fc.option(segment) }),
    fc.record({ kind: fc.constant('unlead' as const), who }),
    fc.record({ kind: fc.constant('consent' as const), who, channel, granted: fc.boolean() }),
    fc.record({
      kind: fc.constant('rules' as const),
      whom,
      rules: fc.record({
        acquired: fc.boolean(),
        segments: fc.uniqueArray(segment),
        consent: fc.option(fc.record({ purpose: fc.constant('offers'), channel })),
      }),
    }),
    fc.record({ kind: fc.constant('status' as const), whom, active: fc.boolean() }),
  );
  const at = (index: number) => customers[index] ?? '';
  const of = (index: number) => partners[index] ?? '';

  let sequence = 0;
  async function take(done: typeof step extends fc.Arbitrary<infer Step> ? Step : never): Promise<void> {
    sequence += 1;
    switch (done.kind) {
      case 'share':
        await api.request('PUT', `/v1/partners/${of(done.whom)}/customers/${at(done.who)}`, {
          body: { writable: done.writable },
        });
        state[done.whom]?.shares.set(at(done.who), done.writable);
        return;
      case 'unshare':
        await api.request('DELETE', `/v1/partners/${of(done.whom)}/customers/${at(done.who)}`);
        state[done.whom]?.shares.delete(at(done.who));
        return;
      case 'acquire': {
        const acquiredBy = done.whom === null ? null : of(done.whom);
        await change(api, `/v1/customers/${at(done.who)}`, { acquiredBy });
        acquired.set(at(done.who), acquiredBy);
        return;
      }
      case 'lead': {
        const path = `/v1/leads/${at(done.who)}`;
        if (segments.has(at(done.who))) await change(api, path, { segment: done.segment });
        else await api.request('POST', '/v1/leads', { body: { customerId: at(done.who), segment: done.segment } });
        segments.set(at(done.who), done.segment);
        return;
      }
      case 'unlead':
        await api.request('DELETE', `/v1/leads/${at(done.who)}`, { headers: { 'If-Match': '*' } });
        segments.delete(at(done.who));
        return;
      case 'consent':
        await api.request('POST', `/v1/customers/${at(done.who)}/consents`, {
          body: {
            purpose: 'offers',
            channel: done.channel,
            status: done.granted ? 'granted' : 'withdrawn',
            at: new Date(Date.parse('2026-01-01') + sequence * 1000).toISOString(),
          },
        });
        consents.set(`${at(done.who)} ${done.channel ?? '*'}`, done.granted);
        // What is said for all channels holds for each from then on.
        if (done.channel === null) consents.set(`${at(done.who)} email`, done.granted);
        return;
      case 'rules': {
        const of_ = state[done.whom];
        if (of_) of_.rules = done.rules;
        await change(api, `/v1/partners/${of(done.whom)}`, { rules: done.rules });
        return;
      }
      case 'status': {
        const of_ = state[done.whom];
        if (of_) of_.active = done.active;
        await change(api, `/v1/partners/${of(done.whom)}`, { status: done.active ? 'active' : 'suspended' });
      }
    }
  }

  function expected(index: number): Record<string, string> {
    const { rules, active, shares } = state[index] ?? { rules: null, active: false, shares: new Map() };
    const found: Record<string, string> = {};
    for (const customer of active && rules ? customers : []) {
      const reasons: string[] = [];
      if (rules?.acquired && acquired.get(customer) === of(index)) reasons.push('acquired');
      const { consent = null } = rules ?? {};
      if (consent && consents.get(`${customer} ${consent.channel ?? '*'}`)) reasons.push('consent');
      if (shares.has(customer)) reasons.push('explicit');
      const own = segments.get(customer);
      if (own && rules?.segments.includes(own)) reasons.push('segment');
      const writable = reasons.includes('acquired') || shares.get(customer) === true;
      if (reasons.length > 0) found[customer] = `${reasons.join('+')}${writable ? ' writable' : ''}`;
    }
    return found;
  }

  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 12 }), async (steps) => {
      for (const one of steps) await take(one);
      for (const [index, partner] of partners.entries()) {
        t.same(await sharedWith(api, partner), expected(index));
        const seen = state[index]?.active ? Object.keys(expected(index)).sort() : [];
        t.same(await seenBy(api, partner), seen);
      }
      t.same(await differences(api), []);
    }),
    { numRuns: 12 },
  );
});

test('rules that change while leads, customers and consents are written miss nobody', async (t) => {
  const api = await testApp(t, fresh);
  const partner = await newPartner(api);
  const customers = await Promise.all(Array.from({ length: 12 }, () => newCustomer(api)));
  const answers = await Promise.all([
    ...[['smb'], ['retail'], ['smb', 'retail'], ['smb']].map((segments) =>
      change(api, `/v1/partners/${partner}`, { rules: { acquired: true, segments, consent: { purpose: 'offers' } } }),
    ),
    ...customers.map(async (customerId, index) => {
      const body = { customerId, segment: index % 2 === 0 ? 'smb' : 'retail' };
      return (await api.request('POST', '/v1/leads', { body })).status;
    }),
    ...customers.map((customer) => change(api, `/v1/customers/${customer}`, { acquiredBy: partner })),
    ...customers.map(async (customer) => {
      const body = { purpose: 'offers', status: 'granted' };
      return (await api.request('POST', `/v1/customers/${customer}/consents`, { body })).status;
    }),
    ...customers.map(async (customer) => {
      const { status } = await api.request('PUT', `/v1/partners/${partner}/customers/${customer}`, { body: {} });
      return status;
    }),
    newPartner(api, { rules: { segments: ['smb'] } }).then(() => 201),
  ]);
  t.ok(
    answers.every((status) => status === 200 || status === 201),
    JSON.stringify(answers),
  );
  t.same(await differences(api), []);
  t.equal(Object.keys(await sharedWith(api, partner)).length, 12);
});

test('a change of rules waits for writes under way, and they for it', async (t) => {
  const api = await testApp(t, fresh);
  const other = new pg.Client(api.connection);
  await other.connect();
  t.teardown(() => other.end());
  /** Runs `request` while `other` has a transaction open, which ends when the request waits for it (or is done). */
  async function beside<T>(request: Promise<T>): Promise<T> {
    let done = false;
    const answer = request.finally(() => {
      done = true;
    });
    for (let waits = false; !waits && !done; ) {
      const { rows } = await other.query(`select from pg_locks where locktype = 'advisory' and not granted`);
      waits = rows.length > 0;
    }
    await other.query('commit');
    return answer;
  }
  const [customer, partner] = [await newCustomer(api), await newPartner(api)];
  await other.query('begin');
  await other.query(`select pg_advisory_xact_lock_shared(hashtext('rapport.sharing'))`);
  await other.query('update customers set acquired_by = $1 where id = $2', [partner, customer]);
  t.equal(await beside(change(api, `/v1/partners/${partner}`, { rules: { acquired: true } })), 200);
  t.same(Object.keys(await sharedWith(api, partner)), [customer], 'brought while the rules were changed');

  const young = await newPartner(api);
  await other.query('begin');
  await other.query(`select pg_advisory_xact_lock(hashtext('rapport.sharing'))`);
  await other.query(
    `update partners set rules = '{"acquired": false, "segments": ["smb"], "consent": null}' where id = $1`,
    [young],
  );
  const lead = await beside(api.request('POST', '/v1/leads', { body: { customerId: customer, segment: 'smb' } }));
  t.equal(lead.status, 201);
  t.same(Object.keys(await sharedWith(api, young)), [customer], 'a lead while the rules were changed');
  t.same(await differences(api), []);
});

/** Customers of each of consecutive months. */
type Calendar = string[][];

const customersOf = (calendar: Calendar, months: Iterable<number>) =>
  new Set([...months].flatMap((month) => calendar[month] ?? []));

/**
 * Whether sums over windows, added and subtracted in any way, come to what lies in some of these months alone: the
 * vectors of the windows span one that is zero in all other months exactly when they lose rank without these.
 */
function isolates(windows: readonly (readonly number[])[], months: ReadonlySet<number>): boolean {
  const others = windows.map((window) => window.map((of, month) => (months.has(month) ? 0 : of)));
  return rank(others) < rank(windows);
}

/** Exact: the windows are intervals, so elimination stays within −1, 0 and 1. */
function rank(rows: readonly (readonly number[])[]): number {
  const left = rows.map((row) => [...row]);
  let found = 0;
  for (let column = 0; column < (left[0]?.length ?? 0); column += 1) {
    const at = left.findIndex((row, index) => index >= found && row[column] !== 0);
    const pivot = left[at];
    if (!pivot) continue;
    left.splice(at, 1);
    left.splice(found, 0, pivot);
    found += 1;
    for (const row of left.slice(found)) {
      const factor = (row[column] ?? 0) / (pivot[column] ?? 1);
      for (let i = 0; i < row.length; i += 1) row[i] = (row[i] ?? 0) - factor * (pivot[i] ?? 0);
    }
  }
  return found;
}

/** Sets of months of few customers that the windows give away. */
function givenAway(calendar: Calendar, all: readonly (readonly number[])[], k: number): string[] {
  const found: string[] = [];
  // A month in which nobody is gives nothing away.
  const windows = all.map((window) => window.map((of, month) => (calendar[month]?.length ? of : 0)));
  for (let bits = 1; bits < 2 ** calendar.length; bits += 1) {
    const months = new Set([...calendar.keys()].filter((month) => (bits >> month) % 2 === 1));
    const { size } = customersOf(calendar, months);
    if (size > 0 && size < k && isolates(windows, months)) found.push([...months].join());
  }
  return found;
}

const windowOf = (length: number, from: number, to: number) =>
  Array.from({ length }, (_, month) => (month >= from && month < to ? 1 : 0));

const starts = ['2026-01-01', '2026-02-01', '2026-03-01', '2026-04-01', '2026-05-01', '2026-06-01', '2026-07-01'];
const anyCalendar = (people: number) =>
  fc.array(
    fc.uniqueArray(
      fc.nat(people - 1).map((n) => `c${n}`),
      { maxLength: people },
    ),
    {
      minLength: 6,
      maxLength: 6,
    },
  );

test('no sums over windows between open edges can be combined into one over fewer customers', (t) => {
  const edgesOf = (calendar: Calendar, k: number) =>
    openEdges(
      calendar.flatMap((ids, month) =>
        ids.length === 0 ? [] : [{ start: starts[month] ?? '', persons: ids.length, ids: ids.length < k ? ids : [] }],
      ),
      k,
    );
  const windowsOf = (calendar: Calendar, k: number) => {
    const edges = edgesOf(calendar, k);
    const open = starts.flatMap((start, edge) => (edges.isOpen(start) ? [edge] : []));
    return open.flatMap((from) => open.filter((to) => to > from).map((to) => windowOf(calendar.length, from, to)));
  };
  fc.assert(
    fc.property(anyCalendar(7), fc.integer({ min: 2, max: 5 }), (calendar, k) => {
      const windows = windowsOf(calendar, k);
      return windows.length === 0 || givenAway(calendar, windows, k).length === 0;
    }),
    { numRuns: 300 },
  );
  // The attacker is one: without a guard it finds what there is to be found.
  const lone: Calendar = [['a', 'b', 'c'], [], ['d'], [], ['a', 'b', 'c'], []];
  const everything = starts.flatMap((_, from) =>
    starts.flatMap((__, to) => (to > from ? [windowOf(6, from, to)] : [])),
  );
  t.ok(givenAway(lone, everything, 2).includes('2'));
  // Looking at the months next to an edge would not be enough: empty ones hide the lone customer of March.
  const besides = [windowOf(6, 0, 1), windowOf(6, 0, 4), windowOf(6, 0, 5)];
  t.ok(givenAway(lone, besides, 2).includes('2'));

  const edges = edgesOf(lone, 2);
  t.same(
    starts.map((start) => edges.isOpen(start)),
    [true, true, true, false, false, true, true],
  );
  t.equal(edges.latest('2026-05-01'), '2026-03-01');
  t.equal(edges.latest('2026-07-01'), '2026-07-01');
  // Together with those before them few are enough.
  const slow = edgesOf([['a'], ['a'], ['b'], ['c'], ['c'], ['d']], 2);
  t.same(
    starts.map((start) => slow.isOpen(start)),
    [true, false, false, true, false, false, true],
  );
  t.end();
});

const metric = '/v1/metrics/average-order-value';

interface Purchase {
  customer: string;
  at: string;
  total: number;
}

async function buy(api: TestApp, purchases: Purchase[]): Promise<void> {
  const { body } = await api.request('POST', '/v1/orders/batch', {
    body: {
      orders: purchases.map(({ customer, at, total }) => {
        names += 1;
        return {
          source: 'shop',
          externalId: `o-${names}`,
          placedAt: at,
          customer: { externalId: customer },
          currency: 'EUR',
          total,
          paymentStatus: 'paid',
          items: [{ sku: 'a', quantity: 1, total }],
        };
      }),
    },
  });
  const refused = body.results?.find(({ status }: { status: string }) => status === 'refused');
  if (!body.results || refused) throw new Error(JSON.stringify(refused ?? body));
}

async function shareByName(api: TestApp, partner: string, names_: Iterable<string>): Promise<void> {
  const ids: string[] = [];
  for (const name of names_) ids.push((await api.request('GET', `/v1/customers/external/shop/${name}`)).body.id);
  const { status } = await api.request('POST', `/v1/partners/${partner}/customers/batch`, {
    body: { customers: ids.map((customerId) => ({ customerId })) },
  });
  if (status !== 200) throw new Error(String(status));
}

test('an attacker who asks for every window learns sums over groups, and nothing about fewer', async (t) => {
  const api = await testApp(t, fresh);
  const k = 3;
  let run = 0;
  await fc.assert(
    fc.asyncProperty(anyCalendar(6), async (calendar) => {
      run += 1;
      const name = (customer: string) => `${run}-${customer}`;
      const purchases = calendar.flatMap((ids, month) =>
        ids.map((id, index) => ({
          customer: name(id),
          at: `2026-0${month + 1}-1${index % 10}T10:00:00Z`,
          total: 100 + 7 ** month + index,
          month,
        })),
      );
      // Others, who are not shared, buy as well.
      const stranger = { customer: `${run}-stranger`, at: '2026-03-05T10:00:00Z', total: 999_999 };
      await buy(api, [...purchases, stranger]);
      const partner = await newPartner(api, { minimumGroupSize: k });
      const shared = customersOf(calendar, calendar.keys());
      if (shared.size > 0) await shareByName(api, partner, [...shared].map(name));

      const windows: number[][] = [];
      const answered = (from: number, to: number, told: { numerator: number | null; denominator: number | null }) => {
        const within = purchases.filter(({ month }) => month >= from && month < to);
        t.equal(told.denominator, within.length);
        t.equal(
          told.numerator,
          within.reduce((sum, { total }) => sum + total, 0),
        );
        windows.push(windowOf(calendar.length, from, to));
      };
      const ask = (query: string) => api.request('GET', `${metric}?${query}`, { partner });
      for (const [to, end] of starts.entries()) {
        for (const [from, start] of starts.slice(0, to).entries()) {
          for (const query of [`from=${start}&to=${end}`, `from=${start}&to=${end}&interval=month`]) {
            const { status, body } = await ask(query);
            if (status !== 200) {
              t.match({ status, body }, { status: 403, body: { code: 'group_too_small' } });
              continue;
            }
            answered(from, to, body);
            for (const [index, point] of body.series.entries()) answered(from + index, from + index + 1, point);
          }
        }
        const { status, body } = await ask(`asOf=${end}`);
        if (status === 200) answered(0, to, body);
        else t.match({ status, body }, { status: 403, body: { code: 'group_too_small' } });
      }
      t.same(givenAway(calendar, windows, k), []);
    }),
    { numRuns: 6 },
  );
});

test('metrics of partners: over their customers, from the group size on, told in whole months', async (t) => {
  const api = await testApp(t, fresh);
  const march = Array.from({ length: 12 }, (_, n) => `m${n}`);
  await buy(api, [
    ...march.map((customer, n) => ({ customer, at: `2026-03-0${1 + (n % 9)}T10:00:00Z`, total: 1000 + n })),
    ...march.slice(0, 5).map((customer) => ({ customer, at: '2026-04-10T10:00:00Z', total: 2000 })),
    ...march.slice(3).map((customer) => ({ customer, at: '2026-05-10T10:00:00Z', total: 3000 })),
    { customer: 'm0', at: '2026-05-11T10:00:00Z', total: 4000 },
    { customer: 'stranger', at: '2026-03-02T10:00:00Z', total: 50_000 },
  ]);
  const partner = await newPartner(api);
  await shareByName(api, partner, march);
  const ask = (query: string, of = 'average-order-value') =>
    api.request('GET', `/v1/metrics/${of}?${query}`, { partner });

  const whole = await ask('');
  t.match(whole, {
    status: 200,
    body: {
      denominator: 27,
      asOf: '2026-07-01T00:00:00.000Z',
      period: { from: null, to: '2026-07-01T00:00:00.000Z' },
      values: { orders: 27, customers: 12 },
    },
  });
  t.same([whole.body.groups, whole.body.excluded], [[], []], 'nothing of parts');
  t.same(Object.keys(whole.body.values).sort(), ['customers', 'orders'], 'not of those who bought once');
  const inMarch = await ask('from=2026-03-01&to=2026-04-01');
  t.match(inMarch.body, { denominator: 12, numerator: 12_066, value: 12_066 / 12 });
  t.match(await ask('from=2026-04-01&to=2026-05-01'), { status: 403, body: { code: 'group_too_small' } });
  t.match(await ask('from=2026-03-01&to=2026-05-01'), { status: 403, body: { code: 'group_too_small' } });
  t.equal((await ask('from=2026-04-01&to=2026-06-01')).body.denominator, 15);
  t.match(await ask('interval=month'), { status: 403, body: { code: 'group_too_small' } });
  t.same(
    (await ask('interval=quarter&from=2026-01-01')).body.series.map(
      ({ denominator }: { denominator: number }) => denominator,
    ),
    [12, 15],
  );
  t.equal((await ask('interval=year')).body.series.length, 1);
  const { body: graph } = await api.graphql(
    '{ metrics { averageOrderValue { value denominator values } } }',
    {},
    { partner },
  );
  t.match(graph.data.metrics.averageOrderValue, { denominator: 27, value: whole.body.value });
  const { body: refusedGraph } = await api.graphql(
    '{ metrics { averageOrderValue(input: { currency: "EUR" }) { value } } }',
    {},
    { partner },
  );
  t.equal(refusedGraph.errors[0].extensions.code, 'not_shared');

  for (const [parameter, query] of [
    ['from', 'from=2026-03-02&to=2026-05-01'],
    ['to', 'from=2026-03-01&to=2026-04-15'],
    ['asOf', 'asOf=2026-05-01T00:00:01Z'],
    ['asOf', 'asOf=2026-08-01'],
    ['timeZone', 'timeZone=Asia/Tokyo'],
    ['currency', 'currency=EUR'],
    ['payment', 'payment=all'],
    ['zeroValue', 'zeroValue=include'],
    ['segment', 'segment=0193a6c2-8f00-7000-8000-000000000000'],
    ['segmentAt', 'segmentAt=end'],
    ['groupBy', 'groupBy=kind'],
    ['segments', 'segments=0193a6c2-8f00-7000-8000-000000000000'],
    ['interval', 'interval=week'],
  ] as const) {
    const answer = await ask(query);
    t.match(answer, { status: 403, body: { code: 'not_shared', errors: [{ parameter }] } }, query);
  }
  for (const [of, parameter, query] of [
    ['lifetime-value', 'variant', 'variant=simple'],
    ['lifetime-value', 'customerId', 'customerId=0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90'],
    ['churn-rate', 'silenceDays', 'variant=silence&silenceDays=30'],
    ['repeat-purchase-rate', 'minOrders', 'minOrders=3'],
    ['purchase-gaps', 'sameDay', 'sameDay=count'],
    ['lead-funnel', 'groupBy', 'groupBy=owner'],
    ['net-promoter-score', 'answers', 'answers=latest'],
    ['net-promoter-score', 'staff', 'staff=maria'],
    ['closed-loop', 'surveyId', 'surveyId=0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90'],
    ['loyalty-liability', 'interval', 'interval=month'],
  ] as const) {
    t.match(await ask(query, of), { status: 403, body: { code: 'not_shared', errors: [{ parameter }] } }, query);
  }
  t.equal((await ask('from=nonsense')).status, 422);
  t.equal((await ask('nonsense=1')).status, 422);

  // The others, over the same customers.
  t.match(await ask('', 'repeat-purchase-rate'), { status: 200, body: { numerator: 12, denominator: 12 } });
  t.match(await ask('', 'revenue-per-customer'), { status: 200, body: { denominator: 12, values: { buyers: 12 } } });
  t.match(await ask('', 'lifetime-value'), { status: 200, body: { denominator: 12, values: { buyers: 12 } } });
  t.match(await ask('variant=silence', 'churn-rate'), { status: 200, body: { denominator: 12 } });
  const retention = 'from=2026-04-01&to=2026-06-01&previousFrom=2026-03-01&previousTo=2026-04-01';
  t.match(await ask(retention, 'retention-rate'), { status: 200, body: { numerator: 12, denominator: 12 } });
  t.match(
    await ask('', 'retention-rate'),
    { status: 403, body: { code: 'group_too_small' } },
    'nobody bought in May and June',
  );
  t.match(await ask('', 'purchase-gaps'), { status: 200, body: { values: { customers: 12 } } });
  for (const of of ['net-promoter-score', 'lead-funnel', 'closed-loop', 'loyalty-liability']) {
    t.match(await ask('', of), { status: 403, body: { code: 'group_too_small' } }, of);
  }

  // Fewer are no group, whatever they bought.
  const few = await newPartner(api);
  await shareByName(api, few, march.slice(0, 9));
  t.match(await api.request('GET', metric, { partner: few }), { status: 403, body: { code: 'group_too_small' } });
  await change(api, `/v1/partners/${few}`, { minimumGroupSize: 9 });
  t.equal((await api.request('GET', metric, { partner: few })).body.denominator, 21, 'March to the end of May');
  t.equal((await api.request('GET', metric, { partner: await newPartner(api) })).status, 403, 'nothing is shared');
});

test('opinions, leads and points of partners', async (t) => {
  const api = await testApp(t, fresh);
  const partner = await newPartner(api, { minimumGroupSize: 4 });
  const ask = (of: string, query = '') => api.request('GET', `/v1/metrics/${of}?${query}`, { partner });
  const customers: string[] = [];
  for (let n = 0; n < 5; n += 1) {
    customers.push(await newCustomer(api));
    await api.request('PUT', `/v1/partners/${partner}/customers/${customers[n]}`, { body: {} });
  }
  const survey = await api.request('POST', '/v1/surveys', {
    body: { name: 'Service', status: 'open', questions: [{ key: 'recommend', type: 'nps', text: 'Would you?' }] },
  });
  const answer = async (customerId: string | undefined, at: string, score: number) => {
    names += 1;
    const { status, body } = await api.request('POST', `/v1/surveys/${survey.body.id}/responses`, {
      body: { submissionId: `s-${names}`, customerId, answeredAt: at, answers: [{ question: 'recommend', score }] },
    });
    t.equal(status, 201, JSON.stringify(body));
  };
  for (const customer of customers) await answer(customer, '2026-05-04T10:00:00Z', 10);
  for (const customer of customers.slice(0, 4)) await answer(customer, '2026-06-04T10:00:00Z', 0);
  await answer(undefined, '2026-06-04T10:00:00Z', 0);
  t.match(
    (await ask('net-promoter-score')).body,
    { values: { promoters: 5, passives: 0, detractors: 4 } },
    'each answer',
  );
  t.match((await ask('net-promoter-score', 'from=2026-06-01&to=2026-07-01')).body, { denominator: 4, value: -100 });

  for (const customerId of customers.slice(0, 3)) {
    await api.request('POST', '/v1/leads', { body: { customerId, enteredAt: '2026-06-04T10:00:00Z' } });
  }
  t.match(await ask('lead-funnel'), { status: 403, body: { code: 'group_too_small' } });
  await api.request('POST', '/v1/leads', { body: { customerId: customers[3], enteredAt: '2026-06-30T10:00:00Z' } });
  const funnel = await ask('lead-funnel');
  t.match(funnel, { status: 200, body: { denominator: 4, values: { leads: 4, open: 4 } } });
  t.notOk(Object.keys(funnel.body.values).some((name) => name.startsWith('timeTo')));
});

test('every metric that partners may ask goes through the guard', (t) => {
  const metrics = routes.filter(({ url }) => url.startsWith('/v1/metrics/'));
  t.ok(metrics.length > 15);
  for (const { url, operation } of metrics) {
    t.ok(isGuarded(operation) || !operation.partners, url);
    t.notOk(operation.selfService, url);
  }
  t.end();
});
