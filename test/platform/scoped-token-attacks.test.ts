import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { test } from 'tap';
import { type Answer, type ScopedToken, type TestApp, testApp } from '../support/app.ts';

const now = '2026-07-15T12:00:00.000Z';

async function made(answer: Promise<Answer>): Promise<string> {
  const { status, body } = await answer;
  if (status !== 201) throw new Error(JSON.stringify(body));
  return body.id;
}

/** A partner with one customer for reading and one for writing, a customer by itself, and somebody else. */
async function scene(api: TestApp) {
  const customer = (name: string) =>
    made(
      api.request('POST', '/v1/customers', {
        body: {
          name,
          identities: [{ kind: 'email', value: `${name}@example.org` }],
          references: [{ source: 'shop', externalId: name }],
        },
      }),
    );
  const [readOnly, writable, other] = [await customer('reader'), await customer('writer'), await customer('other')];
  const partner = await made(api.request('POST', '/v1/partners', { body: { name: 'P', rules: { acquired: true } } }));
  for (const [id, may] of [
    [readOnly, false],
    [writable, true],
  ] as const) {
    await api.request('PUT', `/v1/partners/${partner}/customers/${id}`, { body: { writable: may } });
  }
  return { readOnly, writable, other, partner };
}

let keys = 0;

function write(api: TestApp, method: string, path: string, body: object, scoped: ScopedToken = {}): Promise<Answer> {
  keys += 1;
  const headers = method === 'PATCH' ? { 'If-Match': '*' } : { 'Idempotency-Key': `k${keys}` };
  return api.request(method, path, { body, headers, ...scoped });
}

const orderOf = (customerId: string, body: object = {}) => ({
  source: 'web',
  externalId: randomUUID(),
  customerId,
  placedAt: '2026-07-01T00:00:00Z',
  currency: 'EUR',
  total: 5000,
  paymentStatus: 'pending',
  items: [{ sku: 'A', quantity: 1, total: 5000 }],
  ...body,
});

const refused = (pointer: string) => ({ status: 403, body: { code: 'not_shared', errors: [{ pointer }] } });

test('facts of a customer that is shared for reading cannot be taken over to another one', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const { readOnly, writable, partner } = await scene(api);
  const order = await made(write(api, 'POST', '/v1/orders', orderOf(readOnly)));
  const contact = await made(
    write(api, 'POST', '/v1/interactions', { customerId: readOnly, kind: 'phone', occurredAt: now, text: 'private' }),
  );
  for (const path of [`/v1/orders/${order}`, `/v1/interactions/${contact}`]) {
    for (const body of [{ customerId: writable }, { customer: { source: 'shop', externalId: 'writer' } }]) {
      t.match(await write(api, 'PATCH', path, body, { partner }), refused('/customerId'), path);
    }
    t.match(await api.request('GET', path), { status: 200, body: { customerId: readOnly } });
  }
});

test('a partner says nothing of where a customer came from, and whom it belongs to', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const { writable, readOnly, partner } = await scene(api);
  const path = `/v1/customers/${writable}`;
  const company = await made(api.request('POST', '/v1/customers', { body: { kind: 'company', name: 'Co' } }));
  await api.request('PUT', `/v1/partners/${partner}/customers/${company}`, { body: { writable: true } });
  const members = {
    companyId: company,
    referredBy: readOnly,
    acquisition: { source: 'ads', cost: 5, acquiredOn: null },
  };
  for (const [member, value] of Object.entries(members)) {
    t.match(await write(api, 'PATCH', path, { [member]: value }, { partner }), refused(`/${member}`));
  }
  t.equal((await write(api, 'PATCH', path, members)).status, 200);
  for (const [member, value] of Object.entries(members)) {
    t.match(await write(api, 'PATCH', path, { [member]: value }, { partner }), refused(`/${member}`), 'no guessing');
  }
  const fresh = { name: 'Fresh', referredBy: readOnly };
  t.match(
    await write(api, 'POST', '/v1/customers', fresh, { partner }),
    refused('/referredBy'),
    'a bonus for its friend',
  );
  const nothing = { companyId: null, referredBy: null, acquisition: null, acquiredBy: null, locale: 'en' };
  t.equal((await write(api, 'PATCH', path, nothing, { partner })).status, 200, 'what is told comes back');
  t.match(await api.request('GET', path), { body: { ...members, locale: 'en' } }, 'and stays');
});

test('an e-mail does not tell a partner which of its customers has it', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const { writable, partner } = await scene(api);
  t.match(await api.request('GET', `/v1/customers/${writable}`, { partner }), { body: { id: writable, email: null } });
  const body = { name: 'G', identities: [{ kind: 'email', value: 'writer@example.org' }] };
  const taken = await write(api, 'POST', '/v1/customers', body, { partner });
  t.match(taken, { status: 409, body: { code: 'identity_taken' } });
  t.notOk('id' in taken.body, JSON.stringify(taken.body));
  t.match(await write(api, 'POST', '/v1/customers', body), { status: 409, body: { id: writable } }, 'the shop is told');
});

test('a partner does not keep for good what is shared with it for now', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const { writable, partner } = await scene(api);
  const rules = { segments: ['smb'], consent: { purpose: 'offers' } };
  t.match(await write(api, 'PATCH', `/v1/partners/${partner}`, { rules: { acquired: true, ...rules } }), {
    status: 200,
  });
  const consents = [{ purpose: 'offers', status: 'granted' }];
  const lead = (body: object) => write(api, 'POST', '/v1/leads', body, { partner });
  t.match(await lead({ customerId: writable, segment: 'smb' }), refused('/segment'));
  t.match(await lead({ customer: { email: 'writer@example.org' }, consents }), refused('/consents'));
  t.match(await lead({ customerId: writable }), { status: 201 });
  for (const segment of ['smb', null]) {
    t.match(await write(api, 'PATCH', `/v1/leads/${writable}`, { segment }, { partner }), refused('/segment'));
  }
  t.match(await lead({ customer: { email: 'brought@example.org' }, segment: 'smb', consents }), { status: 201 });
  await api.request('DELETE', `/v1/partners/${partner}/customers/${writable}`);
  t.equal((await api.request('GET', `/v1/customers/${writable}`, { partner })).status, 404);
});

test('a customer changes its own profile, and not what others find it by', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const { other, writable: customer } = await scene(api);
  const path = `/v1/customers/${customer}`;
  await write(api, 'PATCH', path, { attributes: { vip: false }, acquisition: { source: 'ads' } });
  const { body: told } = await api.request('GET', path, { customer });
  const address = (value: string) => ({ kind: 'email', value });
  for (const [member, value, pointer] of [
    ['identities', [address('writer@example.org'), address('other@example.org')], '/identities/1'],
    ['identities', [address('writer@example.org'), address('nobody@example.org')], '/identities/1'],
    ['references', [{ source: 'shop', externalId: 'future' }], '/references'],
    ['references', [], '/references'],
    ['attributes', { vip: true }, '/attributes'],
    ['acquisition', { source: 'friend' }, '/acquisition'],
    ['kind', 'company', '/kind'],
    ['referredBy', customer, '/referredBy'],
    ['acquiredBy', other, '/acquiredBy'],
  ] as const) {
    t.match(await write(api, 'PATCH', path, { [member]: value }, { customer }), refused(pointer), member);
    if (member !== 'identities') continue;
    const graph = await api.graphql(
      'mutation ($id: ID!, $input: CustomerPatch!) { updateCustomer(id: $id, expectedVersion: "*", input: $input) { customer { id } } }',
      { id: customer, input: { identities: value.map((one) => ({ ...one, kind: 'EMAIL' })) } },
      { customer },
    );
    t.notOk(graph.body.data?.updateCustomer, 'nor on the other door');
  }
  t.match(await write(api, 'PATCH', path, { referredBy: other }, { customer }), { status: 403 });
  const { kind, identities, attributes, companyId, referredBy, acquiredBy, acquisition } = told;
  const references = [{ source: 'shop', externalId: 'writer' }];
  const same = { kind, identities, references, attributes, companyId, referredBy, acquiredBy, acquisition };
  const changed = { ...same, name: 'New', birthday: '1990-01-01', preferredChannel: 'email', locale: 'en' };
  t.match(await write(api, 'PATCH', path, changed, { customer }), { status: 200, body: { name: 'New' } });
  t.match(await api.request('GET', path), {
    body: { attributes: { vip: false }, acquisition: { source: 'ads' }, references: [{ externalId: 'writer' }] },
  });
  t.match(await write(api, 'PATCH', `/v1/customers/${other}`, { name: 'x' }, { customer }), { status: 404 });
});

test('facts that a customer writes bring it no names, be they free or taken', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const { writable: customer } = await scene(api);
  const { body: survey } = await write(api, 'POST', '/v1/surveys', {
    name: 'S',
    status: 'open',
    questions: [{ key: 'recommend', type: 'nps', text: 'How likely?' }],
  });
  for (const email of ['other@example.org', 'nobody@example.org']) {
    for (const claim of [
      { email },
      { source: 'shop', externalId: 'writer', email },
      { source: 'x', externalId: 'y' },
    ]) {
      const body = orderOf(customer, { customerId: undefined, customer: claim });
      t.match(await write(api, 'POST', '/v1/orders', body, { customer }), refused('/customer'));
      const answer = {
        submissionId: randomUUID(),
        answeredAt: now,
        customer: claim,
        answers: [{ question: 'recommend', score: 9 }],
      };
      t.match(
        await write(api, 'POST', `/v1/surveys/${survey.id}/responses`, answer, { customer }),
        refused('/customer'),
      );
    }
  }
  const own = orderOf(customer, { customerId: undefined, customer: { email: 'writer@example.org' } });
  t.match(await write(api, 'POST', '/v1/orders', own, { customer }), { status: 201, body: { customerId: customer } });
});

test('a customer places and cancels orders, and says nothing of payment', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const { writable: customer } = await scene(api);
  for (const [member, value] of Object.entries({
    paymentStatus: 'paid',
    fulfillmentStatus: 'fulfilled',
    exchangeRate: '2',
    test: true,
    cancelledAt: now,
    campaignId: randomUUID(),
  })) {
    const answer = await write(api, 'POST', '/v1/orders', orderOf(customer, { [member]: value }), { customer });
    t.match(answer, refused(`/${member}`), member);
  }
  const id = await made(write(api, 'POST', '/v1/orders', orderOf(customer), { customer }));
  for (const [member, value] of Object.entries({
    paymentStatus: 'paid',
    fulfillmentStatus: 'fulfilled',
    exchangeRate: '2',
    test: true,
    total: 1,
    discount: 4999,
    placedAt: '2020-01-01T00:00:00Z',
    items: [],
  })) {
    t.match(await write(api, 'PATCH', `/v1/orders/${id}`, { [member]: value }, { customer }), refused(`/${member}`));
  }
  t.match(await write(api, 'PATCH', `/v1/orders/${id}`, { paymentStatus: 'paid' }), { status: 200 });
  const cancelling = () => write(api, 'PATCH', `/v1/orders/${id}`, { cancelledAt: now }, { customer });
  t.match(await cancelling(), refused('/cancelledAt'), 'what is paid');
  t.match(await write(api, 'PATCH', `/v1/orders/${id}`, { paymentStatus: 'pending' }), { status: 200 });
  t.match(await cancelling(), { status: 200, body: { cancelledAt: now } });
  t.match(await write(api, 'PATCH', `/v1/orders/${id}`, { cancelledAt: null }, { customer }), refused('/cancelledAt'));
});

test('who joins by a token of their own joins now', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const { writable: customer } = await scene(api);
  const body = { programmeId: randomUUID(), joinedAt: '2020-01-01T00:00:00Z' };
  t.match(await write(api, 'POST', `/v1/customers/${customer}/loyalty`, body, { customer }), refused('/joinedAt'));
});

test('an export is of the customer of the token, by whatever name it is asked for', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const { writable: customer, other, readOnly, partner } = await scene(api);
  await api.request('POST', `/v1/customers/${other}/merge`, { body: { customerId: readOnly } });
  for (const path of [`${other}`, `${readOnly}`, 'external/shop/other', 'external/shop/reader', randomUUID()]) {
    for (const format of ['json', 'html']) {
      const answer = await api.request('GET', `/v1/customers/${path}/export?format=${format}`, { customer });
      t.match(answer, { status: 404, body: { code: 'not_found' } }, path);
      t.equal(answer.headers.get('location'), null, 'nor where it went');
    }
    t.match(await api.request('GET', `/v1/customers/${path}/export`, { partner }), {
      status: 403,
      body: { code: 'not_supported' },
    });
  }
  const own = await api.request('GET', '/v1/customers/external/shop/writer/export', { customer });
  t.match(own, { status: 200, body: { customerId: customer } });
  for (const word of [other, readOnly, 'other@', 'reader@']) t.notOk(JSON.stringify(own.body).includes(word), word);
});

test('a client gets no token that is wider than itself, and the log none at all', async (t) => {
  const log: string[] = [];
  const api = await testApp(t, { env: { LOG_LEVEL: 'trace' }, log: (line) => log.push(line) });
  const { writable: customer, partner } = await scene(api);
  const secrets: string[] = [];
  const client = async (body: object) => {
    const id = await made(api.request('POST', '/v1/clients', { body: { name: 'c', ...body } }));
    const { secret } = (await api.request('POST', `/v1/clients/${id}/secrets`)).body;
    secrets.push(secret);
    return (form: Record<string, string>) =>
      fetch(`${api.origin}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'client_credentials',
          client_id: id,
          client_secret: secret,
          ...form,
        }),
      });
  };
  const ofPartner = await client({ scopes: ['customers:read'], partnerId: partner });
  const ofShop = await client({ scopes: ['*'], selfService: true });
  const narrow = await client({ scopes: ['customers:read'], selfService: true });
  for (const [ask, form, error] of [
    [ofPartner, { customer }, 'unauthorized_client'],
    [ofPartner, { scope: '*' }, 'invalid_scope'],
    [ofPartner, { scope: 'customers:read customers:pii' }, 'invalid_scope'],
    [ofPartner, { scope: 'customers:read  customers:pii' }, 'invalid_scope'],
    [ofShop, { customer, scope: '*' }, 'invalid_scope'],
    [ofShop, { customer, scope: 'clients:write' }, 'invalid_scope'],
    [ofShop, { customer, scope: 'leads:write' }, 'invalid_scope'],
    [narrow, { customer, scope: 'customers:pii' }, 'invalid_scope'],
    [narrow, { customer: `${customer} ` }, 'invalid_request'],
    [narrow, { client_secret: 'guessed-by-somebody' }, 'invalid_client'],
  ] as const) {
    t.match(await (await ask(form)).json(), { error });
  }
  const claims = async (answer: Promise<Response>) => {
    const { access_token: token } = (await (await answer).json()) as { access_token: string };
    secrets.push(token);
    return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  };
  t.match(await claims(ofPartner({ partner: '' })), { partner, scope: 'customers:read' }, 'always bound');
  t.match(await claims(ofPartner({ partner: randomUUID() })), { partner }, 'to its own');
  t.match(await claims(ofShop({ customer })), { customer, partner: undefined });
  for (const token of secrets) {
    await api.request('GET', '/v1/customers', { scope: null, headers: { Authorization: `Bearer ${token}` } });
  }
  await api.request('POST', '/v1/revoked-tokens', { body: { token: secrets.at(-1) } });
  const written = log.join('');
  t.ok(written.includes('/oauth/token'), 'it is logged that somebody asked');
  for (const secret of [...secrets, 'guessed-by-somebody', 'writer@example.org']) {
    t.notOk(written.includes(secret), 'and not with what');
    t.notOk(written.includes(secret.split('.').at(2) ?? secret), 'nor with the end of it');
  }
});

test('what runs as the service is known', async (t) => {
  const found: Record<string, number> = {};
  const folder = new URL('../../src/', import.meta.url);
  for (const entry of await readdir(folder, { recursive: true })) {
    if (!entry.endsWith('.ts') || entry === 'platform/db/client.ts') continue;
    const uses = (await readFile(new URL(entry, folder), 'utf8')).match(/\basService\b/g)?.length ?? 0;
    if (uses > 0) found[entry] = uses;
  }
  // Of each: a scoped caller learns and changes nothing by it. A new one is thought about before it stands here.
  t.strictSame(found, {
    'features/assignments/assign.ts': 1, // turns and loads: the owner chosen is all that is told
    'features/audit/keep.ts': 1, // adds an entry
    'features/campaigns/queries.ts': 1, // whether ids are of campaigns, which are everybody's
    'features/orders/refund-write.ts': 1, // applies the refunds that waited for an order which the caller made
    'features/partners/sharing.ts': 2, // shares of customers whose locks are held, or that are new
    'features/privacy/export.ts': 1, // of the one customer that the caller found by its own rights
    'features/privacy/tombstones.ts': 1, // lifts those of names that come back with a consent
    'features/rewards/queries.ts': 2, // stock
    'features/surveys/queries.ts': 1, // keeps a survey
    'features/webhooks/queries.ts': 1, // where a webhook begins in the feed, which it reads as its partner
    'platform/idempotency.ts': 2, // answers under the caller's own key
    'platform/jobs.ts': 1, // adds jobs
    'records/references/queries.ts': 2, // whether a name that the caller brings is waited for
  });
});
