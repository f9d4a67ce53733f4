import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import t from 'tap';
import { createApp } from '../../../src/app.ts';
import { readConfig } from '../../../src/config.ts';
import { openKeys } from '../../../src/platform/auth/keys.ts';
import { createLogger } from '../../../src/platform/http/logging.ts';
import { runJobs, type TestApp, testApp } from '../../support/app.ts';
import { testDatabase } from '../../support/database.ts';
import { newClient, post, tokenFor, tried, within } from '../../support/oauth.ts';

type Json = Record<string, any>;

const unknown = '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90';

function claimsOf(token: string): Json {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
}

function headerOf(token: string): Json {
  return JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString());
}

t.test('clients are managed on both doors', async (t) => {
  const api = await testApp(t);
  const { request, graphql } = api;
  const made = await request('POST', '/v1/clients', {
    body: { name: 'Shop backend', scopes: ['orders:write', 'customers:read'] },
  });
  t.match(made, {
    status: 201,
    body: {
      name: 'Shop backend',
      description: null,
      scopes: ['orders:write', 'customers:read'],
      partnerId: null,
      selfService: false,
      tokenTtl: 3600,
      status: 'active',
      tokensFrom: null,
      secrets: [],
      version: 1,
    },
  });
  const path = `/v1/clients/${made.body.id}`;
  t.equal(made.headers.get('location'), path);
  t.strictSame((await request('GET', path)).body, made.body);

  const changed = await request('PATCH', path, {
    body: { description: 'Sends orders', tokenTtl: 600 },
    headers: { 'If-Match': '"1"' },
  });
  t.match(
    changed.body,
    { description: 'Sends orders', tokenTtl: 600, tokensFrom: null, version: 2 },
    'nothing is taken away',
  );
  t.equal((await request('PATCH', path, { body: { name: 'x' }, headers: { 'If-Match': '"1"' } })).status, 412);

  const answer = await graphql(
    `mutation ($id: ID!) { updateClient(id: $id, expectedVersion: 2, input: { scopes: ["orders:write"], status: DISABLED }) {
        client { scopes status tokensFrom version secrets { id } } } }`,
    { id: made.body.id },
  );
  t.match(answer.body.data.updateClient.client, {
    scopes: ['orders:write'],
    status: 'DISABLED',
    version: 3,
    secrets: [],
  });
  t.ok(answer.body.data.updateClient.client.tokensFrom, 'what is taken from a client is taken from its tokens');

  const other = await graphql(
    'mutation { createClient(input: { name: "Other", scopes: ["*"] }) { client { id status } replayed } }',
  );
  t.match(other.body.data.createClient, { client: { status: 'ACTIVE' }, replayed: false });
  const found = await request('GET', '/v1/clients?status=disabled&count=true');
  t.match(found.body, { data: [{ id: made.body.id }], page: { total: 1 } });
  const listed = await graphql(
    '{ clients(first: 1, sort: CREATED_AT_ASC) { nodes { name } pageInfo { hasNextPage } totalCount } }',
  );
  t.match(listed.body.data.clients, {
    nodes: [{ name: 'Shop backend' }],
    pageInfo: { hasNextPage: true },
    totalCount: 2,
  });

  t.equal((await request('DELETE', path, { headers: { 'If-Match': '*' } })).status, 204);
  t.match((await request('GET', path)).body, { status: 'revoked', name: 'Shop backend' }, 'the audit can name it');
  for (const [method, end, body] of [
    ['PATCH', '', { name: 'again' }],
    ['DELETE', '', undefined],
    ['POST', '/secrets', undefined],
    ['POST', '/revoke-tokens', undefined],
  ] as const) {
    const refused = await request(method, path + end, { body, headers: { 'If-Match': '*' } });
    t.match(refused, { status: 409, body: { code: 'client_revoked' } }, `${method} ${end}`);
  }
  t.equal((await graphql('query ($id: ID!) { client(id: $id) { id } }', { id: unknown })).body.data.client, null);
  for (const [method, end] of [
    ['GET', ''],
    ['POST', '/secrets'],
    ['POST', '/revoke-tokens'],
    ['DELETE', `/secrets/${unknown}`],
  ] as const) {
    t.equal((await request(method, `/v1/clients/${unknown}${end}`)).status, 404, `${method} ${end}`);
  }
});

t.test('what is wrong with a client is said', async (t) => {
  const { request } = await testApp(t);
  const make = (body: Json, scope = '*') =>
    request('POST', '/v1/clients', { body: { name: 'x', scopes: ['orders:read'], ...body }, scope });
  for (const [pointer, body] of [
    ['/scopes', { scopes: [] }],
    ['/scopes/0', { scopes: ['orders'] }],
    ['/scopes/0', { scopes: ['orders:*'] }],
    ['/scopes/1', { scopes: ['orders:read', 'orders:read customers:read'] }],
    ['/scopes', { scopes: ['orders:read', 'orders:read'] }],
    ['/tokenTtl', { tokenTtl: 59 }],
    ['/tokenTtl', { tokenTtl: 86_401 }],
    ['/partnerId', { partnerId: unknown }],
    ['/partnerId', { partnerId: 'p1' }],
    ['/scopes', { partnerId: unknown, scopes: ['*'] }],
    ['/selfService', { partnerId: unknown, selfService: true }],
    ['/status', { status: 'revoked' }],
    ['/secret', { secret: 'mine' }],
  ] as const) {
    t.match(await make(body), { status: 422, body: { errors: [{ pointer }] } }, JSON.stringify(body));
  }
  t.match(
    await make({ scopes: ['orders:read', 'orders:write'] }, 'clients:write orders:read'),
    { status: 403, body: { code: 'insufficient_scope', scope: 'orders:write' } },
    'nobody gets further by making a client that may more',
  );
  const powerful = await make({ scopes: ['*'] });
  t.match(
    await request('POST', `/v1/clients/${powerful.body.id}/secrets`, { scope: 'clients:write' }),
    { status: 403, body: { scope: '*' } },
    'nor by taking its secret',
  );
  t.equal((await make({}, 'clients:read')).status, 403);
});

t.test('secrets are shown once, kept as hashes, and two of them are live at most', async (t) => {
  let now = '2026-01-01T00:00:00.000Z';
  const api = await testApp(t, { clock: () => now });
  const { request, graphql } = api;
  const { body: client } = await request('POST', '/v1/clients', { body: { name: 'Shop', scopes: ['orders:read'] } });
  const path = `/v1/clients/${client.id}`;
  const first = await request('POST', `${path}/secrets`, {
    body: { expiresAt: '2026-01-02T00:00:00Z' },
    headers: { 'Idempotency-Key': 'a key it does not take' },
  });
  t.match(first, {
    status: 201,
    body: { clientId: client.id, expiresAt: '2026-01-02T00:00:00.000Z', lastUsedAt: null },
  });
  t.match(first.body.secret, /^rapport_[0-9a-f]{64}$/, '256 bits, and no end that a command line takes for an option');
  t.equal(first.body.hint, first.body.secret.slice(-4));
  const second = await graphql(
    'mutation ($id: ID!) { createClientSecret(id: $id) { clientSecret { id secret expiresAt } } }',
    {
      id: client.id,
    },
  );
  const { clientSecret } = second.body.data.createClientSecret;
  t.match(clientSecret, { secret: /^rapport_/, expiresAt: null });
  t.match(await request('POST', `${path}/secrets`), { status: 409, body: { code: 'too_many_secrets' } });
  t.match(await request('POST', `${path}/secrets?dryRun=true`), { status: 409 });
  t.match(await request('POST', `${path}/secrets`, { body: { expiresAt: now } }), {
    status: 422,
    body: { errors: [{ pointer: '/expiresAt' }] },
  });

  const database = new pg.Client(api.connection);
  await database.connect();
  t.teardown(() => database.end());
  const { rows: kept } = await database.query('select hash from client_secrets order by created_at, id');
  t.strictSame(
    kept.map(({ hash }) => hash),
    [first.body.secret, clientSecret.secret].map((secret) => createHash('sha256').update(secret).digest('hex')),
  );
  const { rows: everywhere } = await database.query(`select table_name from information_schema.tables
    where table_schema in ('public', 'graphile_worker') and table_type = 'BASE TABLE'`);
  for (const { table_name: table } of everywhere.filter(({ table_name: name }) => !name.startsWith('_private'))) {
    const { rows } = await database
      .query(`select 1 from public."${table}" x where x::text like '%rapport\\_%'`)
      .catch(() => ({ rows: [] }));
    t.equal(rows.length, 0, `no secret in ${table}`);
  }

  const use = async (secret: string) =>
    (await post(api, '/oauth/token', { grant_type: 'client_credentials' }, [client.id, secret])).status;
  t.equal(await use(first.body.secret), 200);
  t.equal(await use(clientSecret.secret), 200);
  t.match((await request('GET', path)).body.secrets, [{ lastUsedAt: now }, { lastUsedAt: now }]);
  now = '2026-01-01T00:00:30.000Z';
  await use(clientSecret.secret);
  t.equal((await request('GET', path)).body.secrets[1].lastUsedAt, '2026-01-01T00:00:00.000Z', 'to the minute');
  now = '2026-01-02T00:00:00.000Z';
  t.equal(await use(first.body.secret), 401, 'it has expired');
  await use(clientSecret.secret);
  const after = await request('GET', path);
  t.match(after.body.secrets, [{ id: clientSecret.id, lastUsedAt: now }], 'and is not live any longer');
  const third = await request('POST', `${path}/secrets`);
  t.equal(third.status, 201, 'there is room again');

  t.equal((await request('DELETE', `${path}/secrets/${clientSecret.id}?keepTokens=true`)).status, 204);
  t.equal(await use(clientSecret.secret), 401, 'revoked');
  t.equal((await request('GET', path)).body.tokensFrom, null, 'its tokens were kept');
  t.equal((await request('DELETE', `${path}/secrets/${clientSecret.id}`)).status, 404);
  t.equal((await request('DELETE', `${path}/secrets/${third.body.id}`)).status, 204);
  t.ok((await request('GET', path)).body.tokensFrom, 'its tokens went with it');
});

t.test('POST /oauth/token gives a token to a client that proves itself', async (t) => {
  const api = await testApp(t);
  const client = await newClient(api, { tokenTtl: 120 });
  const [id, secret] = client.basic;
  const form = { grant_type: 'client_credentials' };
  const basic = await post(api, '/oauth/token', form, client.basic);
  t.match(basic, { status: 200, cache: 'no-store', type: /^application\/json/ });
  t.strictSame(
    { ...basic.body, access_token: '' },
    { access_token: '', token_type: 'Bearer', expires_in: 120, scope: 'customers:read orders:read' },
  );
  const claims = claimsOf(basic.body.access_token);
  t.match(claims, { iss: 'rapport', aud: 'rapport', sub: id, client_id: id, scope: 'customers:read orders:read' });
  t.equal(claims.exp - claims.iat, 120);
  t.equal(await tried(api, basic.body.access_token), 200);
  t.equal(await tried(api, basic.body.access_token, '/v1/clients'), 403, 'with the scopes of the client only');

  const inBody = await post(api, '/oauth/token', {
    ...form,
    client_id: id,
    client_secret: secret,
    scope: 'orders:read',
  });
  t.match(inBody, { status: 200, body: { scope: 'orders:read' } }, 'client_secret_post, with fewer scopes');
  t.equal(await tried(api, inBody.body.access_token), 403);
  for (const [what, body] of [
    ['what is not known is ignored', { ...form, resource: 'x' }],
    ['without a value is as good as left out', { ...form, scope: '', customer: '', client_secret: '' }],
    ['the client may say its name twice', { ...form, client_id: id }],
  ] as const) {
    t.equal((await post(api, '/oauth/token', body, client.basic)).status, 200, what);
  }
  t.equal(
    (await post(api, '/oauth/token', form, undefined, { Authorization: `bASIC  ${btoa(`${id}:${secret}`)}` })).status,
    200,
    'the scheme in any case',
  );
  const charset = { 'Content-Type': 'application/x-www-form-urlencoded; charset=UTF-8' };
  t.equal((await post(api, '/oauth/token', form, client.basic, charset)).status, 200);

  const all = await newClient(api, { scopes: ['*'] });
  t.match(await post(api, '/oauth/token', { ...form, scope: 'orders:write' }, all.basic), {
    body: { scope: 'orders:write' },
  });
});

t.test('POST /oauth/token refuses in the words of RFC 6749, 5.2', async (t) => {
  const api = await testApp(t);
  const client = await newClient(api);
  const [id, secret] = client.basic;
  const form = { grant_type: 'client_credentials' };
  const disabled = await newClient(api);
  await api.request('PATCH', `/v1/clients/${disabled.id}`, {
    body: { status: 'disabled' },
    headers: { 'If-Match': '*' },
  });
  const bearer = { Authorization: `Bearer ${await tokenFor(api, client)}` };
  type Case = [string, string, number, () => ReturnType<typeof post>];
  const cases: Case[] = [
    ['a wrong secret', 'invalid_client', 401, () => post(api, '/oauth/token', form, [id, `${secret}x`])],
    ['the secret of another', 'invalid_client', 401, () => post(api, '/oauth/token', form, [disabled.id, secret])],
    ['an unknown client', 'invalid_client', 401, () => post(api, '/oauth/token', form, [unknown, secret])],
    ['a name that is no id', 'invalid_client', 401, () => post(api, '/oauth/token', form, ["' or 1=1 --", secret])],
    ['a disabled client', 'invalid_client', 401, () => post(api, '/oauth/token', form, disabled.basic)],
    ['nobody', 'invalid_client', 401, () => post(api, '/oauth/token', form)],
    ['no secret', 'invalid_client', 401, () => post(api, '/oauth/token', { ...form, client_id: id })],
    ['a token instead', 'invalid_client', 401, () => post(api, '/oauth/token', form, undefined, bearer)],
    [
      'Basic that is none',
      'invalid_client',
      401,
      () => post(api, '/oauth/token', form, undefined, { Authorization: 'Basic §'.replace('§', '%') }),
    ],
    [
      'two ways at once',
      'invalid_request',
      400,
      () => post(api, '/oauth/token', { ...form, client_id: id, client_secret: secret }, client.basic),
    ],
    [
      'two names',
      'invalid_request',
      400,
      () => post(api, '/oauth/token', { ...form, client_id: disabled.id }, client.basic),
    ],
    ['no grant', 'invalid_request', 400, () => post(api, '/oauth/token', {}, client.basic)],
    [
      'another grant',
      'unsupported_grant_type',
      400,
      () => post(api, '/oauth/token', { grant_type: 'password' }, client.basic),
    ],
    [
      'JSON',
      'invalid_request',
      400,
      () => post(api, '/oauth/token', JSON.stringify(form), client.basic, { 'Content-Type': 'application/json' }),
    ],
    [
      'a parameter twice',
      'invalid_request',
      400,
      () =>
        post(api, '/oauth/token', 'grant_type=client_credentials&scope=orders:read&scope=orders:read', client.basic),
    ],
    [
      'in the address',
      'invalid_request',
      400,
      () => post(api, '/oauth/token?grant_type=client_credentials', form, client.basic),
    ],
    [
      'bytes that are no UTF-8',
      'invalid_request',
      400,
      () => post(api, '/oauth/token', 'grant_type=client_credentials&x=%ff', client.basic),
    ],
    [
      'a NUL',
      'invalid_request',
      400,
      () => post(api, '/oauth/token', 'grant_type=client_credentials&scope=%00', client.basic),
    ],
    [
      'a scope it has not',
      'invalid_scope',
      400,
      () => post(api, '/oauth/token', { ...form, scope: 'orders:read clients:write' }, client.basic),
    ],
    ['every scope', 'invalid_scope', 400, () => post(api, '/oauth/token', { ...form, scope: '*' }, client.basic)],
    [
      'a prefix of a scope',
      'invalid_scope',
      400,
      () => post(api, '/oauth/token', { ...form, scope: 'orders:rea' }, client.basic),
    ],
    [
      'no scope but spaces',
      'invalid_scope',
      400,
      () => post(api, '/oauth/token', { ...form, scope: '  ' }, client.basic),
    ],
    [
      'a scope with quotes',
      'invalid_scope',
      400,
      () => post(api, '/oauth/token', { ...form, scope: '"' }, client.basic),
    ],
    [
      'a customer it may not act for',
      'unauthorized_client',
      400,
      () => post(api, '/oauth/token', { ...form, customer: unknown }, client.basic),
    ],
  ];
  for (const [what, code, status, ask] of cases) {
    const { body, challenge, ...answer } = await ask();
    t.match(answer, { status, cache: 'no-store', type: /^application\/json/ }, what);
    t.equal(body.error, code, what);
    t.match(body.error_description, /^[\x20\x21\x23-\x5b\x5d-\x7e]+$/, what);
    t.strictSame(Object.keys(body).sort(), ['error', 'error_description'], what);
    t.equal(challenge, status === 401 ? 'Basic realm="rapport", charset="UTF-8"' : null, what);
  }
  t.match(await api.request('GET', '/oauth/token', { scope: null }), {
    status: 405,
    body: { code: 'method_not_allowed' },
  });
});

t.test('wrong secrets are limited by address, right ones are not', async (t) => {
  const api = await testApp(t, { env: { PUBLIC_RATE_LIMIT: '5', TRUSTED_PROXIES: '127.0.0.1' } });
  const client = await newClient(api);
  const form = { grant_type: 'client_credentials' };
  const from = (address: string) => ({ 'X-Forwarded-For': address });
  for (let i = 0; i < 20; i += 1) {
    t.equal((await post(api, '/oauth/token', form, client.basic, from('203.0.113.7'))).status, 200);
  }
  const guesses = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      post(api, '/oauth/token', form, [client.id, `guess ${i}`], from('203.0.113.8')),
    ),
  );
  const statuses = guesses.map(({ status }) => status);
  // The minute may turn over in between, once.
  t.ok(statuses.filter((status) => status === 401).length <= 10, 'many at once gain nothing');
  t.ok(statuses.includes(429));
  t.equal((await post(api, '/oauth/token', form, client.basic, from('203.0.113.7'))).status, 200, 'others go on');
});

t.test('a client is limited as on every door', async (t) => {
  const api = await testApp(t, { env: { RATE_LIMIT: '3' } });
  const client = await newClient(api).catch(async () => {
    await sleep(1_100);
    return newClient(api);
  });
  await sleep(1_000 - (Date.now() % 1_000) + 20);
  const answers = await Promise.all(
    Array.from({ length: 8 }, () => post(api, '/oauth/token', { grant_type: 'client_credentials' }, client.basic)),
  );
  t.ok(answers.some(({ status, body }) => status === 429 && body.code === 'rate_limited'));
  t.ok(answers.some(({ status }) => status === 200));
});

t.test('a client of a partner gets tokens of the partner, whatever it asks for', async (t) => {
  const api = await testApp(t, { accessRefresh: 100 });
  const { request } = api;
  const partner = await request('POST', '/v1/partners', { body: { name: 'Agency' } });
  t.equal(partner.status, 201, JSON.stringify(partner.body));
  const client = await newClient(api, { partnerId: partner.body.id });
  const token = await tokenFor(api, client);
  t.equal(claimsOf(token).partner, partner.body.id);
  t.notOk('customer' in claimsOf(token));
  t.match(
    await post(
      api,
      '/oauth/token',
      { grant_type: 'client_credentials', partner: unknown, customer: unknown },
      client.basic,
    ),
    { status: 400, body: { error: 'unauthorized_client' } },
  );
  const other = await tokenFor(api, client, { partner: unknown });
  t.equal(claimsOf(other).partner, partner.body.id, 'it cannot choose another');

  t.equal((await request('GET', `/v1/clients?partnerId=${partner.body.id}`)).body.data.length, 1);
  const suspended = await request('PATCH', `/v1/partners/${partner.body.id}`, {
    body: { status: 'suspended' },
    headers: { 'If-Match': '*' },
  });
  t.equal(suspended.status, 200);
  await within(t, 'tokens of a suspended partner are refused', 401, () => tried(api, token));
  t.match(await post(api, '/oauth/token', { grant_type: 'client_credentials' }, client.basic), {
    status: 400,
    body: { error: 'unauthorized_client' },
  });
  await request('PATCH', `/v1/clients/${client.id}`, { body: { partnerId: null }, headers: { 'If-Match': '*' } });
  const free = await tokenFor(api, client);
  t.notOk('partner' in claimsOf(free));
  t.equal(await tried(api, token), 401, 'a token of the former partner does not come back');
});

t.test('a token of a partner that is not known is refused', async (t) => {
  const api = await testApp(t);
  const refused = await api.request('GET', '/v1/customers', { partner: unknown });
  t.match(refused, { status: 401, body: { code: 'unauthenticated' } });
  t.match(refused.headers.get('www-authenticate'), /error="invalid_token"/);
});

t.test('self-service: a short-lived token that is bound to one customer', async (t) => {
  const api = await testApp(t);
  const { request } = api;
  const customer = await request('POST', '/v1/customers', { body: { name: 'Ada' } });
  t.equal(customer.status, 201, JSON.stringify(customer.body));
  const client = await newClient(api, {
    scopes: ['customers:read', 'customers:pii', 'orders:read', 'orders:write', 'clients:write'],
    selfService: true,
    tokenTtl: 86_400,
  });
  const ask = (form: Record<string, string>) =>
    post(api, '/oauth/token', { grant_type: 'client_credentials', ...form }, client.basic);
  const answer = await ask({ customer: customer.body.id.toUpperCase() });
  t.match(answer, {
    status: 200,
    body: { expires_in: 900, scope: 'customers:pii customers:read orders:read orders:write' },
  });
  const claims = claimsOf(answer.body.access_token);
  t.match(claims, { customer: customer.body.id, client_id: client.id });
  t.equal(claims.exp - claims.iat, 900, 'a quarter of an hour at most');
  t.equal(await tried(api, answer.body.access_token, '/v1/clients'), 403);
  t.match(await ask({ customer: customer.body.id, scope: 'orders:read' }), { body: { scope: 'orders:read' } });
  for (const [form, error] of [
    [{ customer: customer.body.id, scope: 'leads:write' }, 'invalid_scope'],
    [{ customer: customer.body.id, scope: 'clients:write' }, 'invalid_scope'],
    [{ customer: customer.body.id, scope: '*' }, 'invalid_scope'],
    [{ customer: unknown }, 'invalid_request'],
    [{ customer: 'Ada' }, 'invalid_request'],
  ] as const) {
    t.match(await ask({ ...form }), { status: 400, body: { error } }, JSON.stringify(form));
  }
  const own = await ask({});
  t.match(own.body, { expires_in: 86_400, scope: /clients:write/ }, 'for itself it gets its own');
  t.notOk('customer' in claimsOf(own.body.access_token));

  const powerful = await newClient(api, { scopes: ['*'], selfService: true });
  const most = await post(
    api,
    '/oauth/token',
    { grant_type: 'client_credentials', customer: customer.body.id },
    powerful.basic,
  );
  const granted: string[] = most.body.scope.split(' ');
  t.notOk(granted.includes('*'), 'never everything');
  t.notOk(granted.some((scope) => /^(clients|partners|metrics|audit|retention|leads)/.test(scope)));
  const { description } = (await request('GET', '/openapi.json')).body.paths['/oauth/token'].post;
  t.strictSame(
    description.match(/`[a-z-]+:[a-z]+`/g),
    granted.map((scope) => `\`${scope}\``),
    'the contract lists them',
  );
  const useless = await newClient(api, { scopes: ['clients:read'], selfService: true });
  t.match(
    await post(api, '/oauth/token', { grant_type: 'client_credentials', customer: customer.body.id }, useless.basic),
    {
      body: { error: 'invalid_scope' },
    },
  );
});

t.test('what is revoked here is refused there, soon and without asking the database each time', async (t) => {
  const one = await testApp(t);
  const two = await testApp(t, { beside: one, accessRefresh: 100 });
  const both = async (token: string) => [await tried(one, token), await tried(two, token)];

  t.test('the tokens of a client, not its secrets', async (t) => {
    const client = await newClient(one);
    const token = await tokenFor(one, client);
    t.strictSame(await both(token), [200, 200], 'a token of one is good at the other');
    t.strictSame(await both(token), [200, 200], 'and remembered by both');
    t.equal((await one.request('POST', `/v1/clients/${client.id}/revoke-tokens`)).status, 200);
    t.equal(await tried(one, token), 401, 'at once where it was revoked');
    await within(t, 'soon at the other', 401, () => tried(two, token));
    const fresh = await tokenFor(two, client);
    t.strictSame(await both(fresh), [200, 200], 'a new one, within the same second');
    t.equal(await tried(one, token), 401);
  });

  t.test('one token, by its client', async (t) => {
    const client = await newClient(one);
    const [token, other] = [await tokenFor(one, client), await tokenFor(one, client)];
    t.strictSame(await both(token), [200, 200]);
    const revoked = await post(one, '/oauth/revoke', { token, token_type_hint: 'access_token' }, client.basic);
    t.match(revoked, { status: 200, cache: 'no-store', body: null });
    t.equal(await tried(one, token), 401);
    await within(t, 'soon at the other', 401, () => tried(two, token));
    t.strictSame(await both(other), [200, 200], 'its other token is good');
    t.equal((await post(one, '/oauth/revoke', { token }, client.basic)).status, 200, 'again');
    t.equal((await post(one, '/oauth/revoke', { token: 'nonsense' }, client.basic)).status, 200, 'nothing to be done');

    const stranger = await newClient(one);
    t.match(await post(one, '/oauth/revoke', { token: other }, stranger.basic), {
      status: 400,
      body: { error: 'unauthorized_client' },
    });
    t.match(await post(one, '/oauth/revoke', { token: other }), { status: 401, body: { error: 'invalid_client' } });
    t.match(await post(one, '/oauth/revoke', {}, client.basic), { status: 400, body: { error: 'invalid_request' } });
    t.equal(await tried(one, other), 200);
  });

  t.test('one token, by the administration: also of the command line', async (t) => {
    const token = one.token('customers:read', 'somebody');
    t.strictSame(await both(token), [200, 200]);
    const answer = await one.request('POST', '/v1/revoked-tokens', { body: { token } });
    t.match(answer.body, { jti: claimsOf(token).jti, client: 'somebody' });
    t.equal(await tried(one, token), 401);
    await within(t, 'soon at the other', 401, () => tried(two, token));
    t.strictSame((await one.request('POST', '/v1/revoked-tokens', { body: { token } })).body, answer.body, 'again');
    t.match(await one.request('POST', '/v1/revoked-tokens', { body: { token: 'a.b.c' } }), {
      status: 422,
      body: { errors: [{ pointer: '/token' }] },
    });
    const body = { token: one.token('customers:read', 'another') };
    const dry = await one.request('POST', '/v1/revoked-tokens?dryRun=true', { body });
    t.equal(dry.status, 200);
    t.equal(await tried(one, body.token), 200, 'a dry run revokes nothing');
  });

  t.test('a client that is disabled, and one that is gone', async (t) => {
    const client = await newClient(one);
    const token = await tokenFor(one, client);
    t.strictSame(await both(token), [200, 200]);
    const path = `/v1/clients/${client.id}`;
    const headers = { 'If-Match': '*' };
    await one.request('PATCH', path, { body: { status: 'disabled' }, headers });
    t.equal(await tried(one, token), 401);
    await within(t, 'soon at the other', 401, () => tried(two, token));
    t.equal((await post(two, '/oauth/token', { grant_type: 'client_credentials' }, client.basic)).status, 401);
    await one.request('PATCH', path, { body: { status: 'active' }, headers });
    t.equal(await tried(one, token), 401, 'what was issued before stays out');
    const fresh = await tokenFor(one, client);
    await within(t, 'a new one is good', 200, () => tried(two, fresh));
    await one.request('DELETE', path, { headers });
    t.equal(await tried(one, fresh), 401);
    await within(t, 'soon at the other', 401, () => tried(two, fresh));
    t.equal((await post(two, '/oauth/token', { grant_type: 'client_credentials' }, client.basic)).status, 401);
    t.equal(await tried(one, one.token('customers:read', client.id)), 401, 'nor does the command line speak for it');
  });

  t.test('a scope that a client loses', async (t) => {
    const client = await newClient(one);
    const token = await tokenFor(one, client);
    const path = `/v1/clients/${client.id}`;
    const headers = { 'If-Match': '*' };
    await one.request('PATCH', path, { body: { scopes: ['orders:read', 'customers:read', 'returns:read'] }, headers });
    t.equal(await tried(one, token), 200, 'one more takes nothing away');
    await one.request('PATCH', path, { body: { scopes: ['orders:read'] }, headers });
    t.equal(await tried(one, token), 401);
    await within(t, 'soon at the other', 401, () => tried(two, token));
  });
});

t.test('a token that is asked for during a revocation is of what comes after it', async (t) => {
  const api = await testApp(t);
  const client = await newClient(api);
  const admin = new pg.Client(api.connection);
  await admin.connect();
  t.teardown(() => admin.end());
  await admin.query('begin');
  await admin.query('select 1 from clients where id = $1 for no key update', [client.id]);
  const asked = tokenFor(api, client);
  await sleep(300);
  const from = Math.floor(Date.now() / 1000) + 1;
  await admin.query(`update clients set tokens_from = to_timestamp($2), scopes = '["orders:read"]' where id = $1`, [
    client.id,
    from,
  ]);
  await admin.query('commit');
  const claims = claimsOf(await asked);
  t.equal(claims.scope, 'orders:read');
  t.ok(claims.iat >= from, 'it is not one of those revoked');
});

t.test('whoever revokes a token is in the audit', async (t) => {
  const api = await testApp(t);
  const client = await newClient(api);
  const token = await tokenFor(api, client);
  await post(api, '/oauth/revoke', { token }, client.basic);
  await api.request('POST', '/v1/revoked-tokens', { body: { token: api.token('orders:read', 'x') }, client: 'ops' });
  const { body } = await api.request('GET', '/v1/audit-entries?operation=revokeToken');
  t.match(body.data, [
    { client: 'ops', operation: 'revokeToken', kind: 'write', members: ['token'] },
    { client: client.id, operation: 'revokeToken', kind: 'write', door: 'rest' },
  ]);
  t.notMatch(JSON.stringify(body), new RegExp(token.slice(-20)), 'without the token');
});

t.test('revocations are forgotten when the tokens have expired', async (t) => {
  const api = await testApp(t);
  const past = Math.floor(Date.now() / 1000) - 60;
  const part = (value: Json) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const expired = `${part({})}.${part({ jti: 'old', client_id: 'x', exp: past })}.x`;
  const living = api.token('customers:read', 'living');
  for (const token of [expired, living]) {
    t.equal((await api.request('POST', '/v1/revoked-tokens', { body: { token } })).status, 200);
  }
  await api.app.jobs.addRecurring(['forgetOldRevocations']);
  await runJobs(api);
  const database = new pg.Client(api.connection);
  await database.connect();
  const { rows } = await database.query('select client from token_revocations');
  await database.end();
  t.strictSame(rows, [{ client: 'living' }]);
  t.equal(await tried(api, living), 401);
});

t.test('signing keys rotate while every replica goes on', async (t) => {
  let now = Date.parse('2026-01-01T00:00:00.000Z');
  const clock = () => new Date(now).toISOString();
  const one = await testApp(t, { clock });
  const two = await testApp(t, { clock, beside: one, accessRefresh: 3_600_000 });
  const client = await newClient(one);
  const kids = async (api: TestApp) =>
    ((await api.request('GET', '/.well-known/jwks.json', { scope: null })).body.keys as Json[]).map(({ kid }) => kid);
  const root = await tokenFor(one, client);
  t.equal(await tried(two, root), 200);
  const [configured] = await kids(one);
  t.equal(headerOf(root).kid, configured);

  const made = await one.request('POST', '/v1/signing-keys/rotate', { body: { signsAfter: 120 } });
  t.match(made, {
    status: 201,
    body: { status: 'pending', algorithm: 'ES256', signsFrom: '2026-01-01T00:02:00.000Z' },
  });
  const { kid } = made.body;
  t.strictSame(await kids(one), [configured, kid], 'published before it signs');
  t.equal(headerOf(await tokenFor(one, client)).kid, configured);

  now += 120_000;
  const token = await tokenFor(one, client);
  t.equal(headerOf(token).kid, kid, 'its time has come');
  t.equal(await tried(one, token), 200);
  t.equal(await tried(two, token), 200, 'a replica that never heard of it looks again');
  t.strictSame(await kids(two), [configured, kid]);
  t.equal(await tried(two, root), 200, 'older tokens are good');
  const listed = await one.graphql('{ signingKeys { data { kid status configured signsFrom verifiesUntil } } }');
  t.match(listed.body.data.signingKeys.data, [
    { kid: configured, status: 'VERIFYING', configured: true },
    { kid, status: 'SIGNING', configured: false, verifiesUntil: null },
  ]);

  const next = await one.graphql('mutation { rotateSigningKey { signingKey { kid status } } }');
  const survivor = next.body.data.rotateSigningKey.signingKey.kid;
  now += 300_000;
  // Names that are not known make a replica look once a second.
  await sleep(1_100);
  const third = await tokenFor(one, client);
  t.equal(headerOf(third).kid, survivor, 'after five minutes by default');
  t.strictSame([await tried(one, token), await tried(two, third)], [200, 200]);
  now += 86_400_000;
  await one.request('POST', '/v1/signing-keys/rotate', { body: {} });
  await sleep(1_100);
  t.strictSame(
    (await one.request('GET', '/v1/signing-keys')).body.data.map(({ status }: Json) => status),
    ['verifying', 'retired', 'signing', 'pending'],
    'a day after it was replaced its last token has expired',
  );
  t.notOk((await kids(one)).includes(kid), 'and it is no longer published');
  t.equal(await tried(one, token), 401);

  const revoked = await one.request('POST', `/v1/signing-keys/${survivor}/revoke`);
  t.match(revoked.body, { status: 'revoked', verifiesUntil: null });
  t.equal(await tried(one, third), 401, 'every token that it signed is refused');
  t.equal(headerOf(await tokenFor(one, client)).kid, configured, 'the key before it signs again');
  t.equal((await one.request('POST', `/v1/signing-keys/${survivor}/revoke`)).status, 200, 'again');
  t.equal(
    (await one.request('POST', `/v1/signing-keys/${configured}/revoke`)).status,
    404,
    'not that of the configuration',
  );
  t.equal((await one.request('POST', '/v1/signing-keys/rotate', { body: { signsAfter: 119 } })).status, 422);
});

t.test('private keys are sealed: neither shown nor usable by others', async (t) => {
  const api = await testApp(t);
  const made = await api.request('POST', '/v1/signing-keys/rotate');
  const { kid } = made.body;
  const set = await api.request('GET', '/.well-known/jwks.json', { scope: null });
  t.equal(set.headers.get('cache-control'), 'public, max-age=60');
  t.match(set.headers.get('content-type'), /^application\/jwk-set\+json/);
  t.equal(set.body.keys.length, 2);
  for (const key of set.body.keys as Json[]) {
    t.strictSame(Object.keys(key).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'], 'public members only');
  }
  const database = new pg.Client(api.connection);
  await database.connect();
  t.teardown(() => database.end());
  const { rows } = await database.query('select sealed from signing_keys');
  const sealed = Buffer.from(rows[0].sealed, 'base64');
  t.notMatch(sealed.toString('latin1'), /PRIVATE KEY/);

  const forgetRootKey = () => database.query(`delete from deployment_settings where key = 'ROOT_KEY'`);
  await forgetRootKey();
  const stranger = await testApp(t, { beside: api, env: { RAPPORT_DATA_DIR: join(api.config.dataDir, 'other') } });
  const others = await stranger.request('GET', '/.well-known/jwks.json', { scope: null });
  t.equal(others.body.keys.length, 1, 'another key of the configuration opens none of them');
  t.match((await stranger.request('GET', '/v1/signing-keys')).body.data, [
    { status: 'signing' },
    { kid, status: 'retired' },
  ]);

  await forgetRootKey();
  sealed[20] = (sealed[20] ?? 0) ^ 1;
  await database.query('update signing_keys set sealed = $1', [sealed.toString('base64')]);
  const again = await testApp(t, { beside: api });
  t.equal(
    (await again.request('GET', '/.well-known/jwks.json', { scope: null })).body.keys.length,
    1,
    'nor one that was changed',
  );
  await database.query('update signing_keys set sealed = $1, kid = $2', [rows[0].sealed, 'another name']);
  const third = await testApp(t, { beside: api });
  t.equal(
    (await third.request('GET', '/.well-known/jwks.json', { scope: null })).body.keys.length,
    1,
    'nor under another name',
  );
});

t.test('who does not know what was revoked serves nobody', async (t) => {
  const api = await testApp(t, { accessRefresh: 50 });
  const token = api.token('customers:read');
  t.equal(await tried(api, token), 200);
  const realNow = Date.now;
  t.teardown(() => {
    Date.now = realNow;
  });
  const database = new pg.Client(api.connection);
  await database.connect();
  t.teardown(() => database.end());
  await database.query('alter table token_revocations rename to away');
  t.equal(await tried(api, token), 200, 'for a minute the last reading is good');
  Date.now = () => realNow() + 61_000;
  const refused = await api.request('GET', '/v1/customers', { headers: { Authorization: `Bearer ${token}` } });
  t.match(refused, { status: 503, body: { code: 'unavailable' } });
  t.ok(refused.headers.get('retry-after'));
  await database.query('alter table away rename to token_revocations');
  await within(t, 'until it can be read again', 200, () => tried(api, token));
});

t.test('the metadata of the authorization server is there when the issuer is a URL', async (t) => {
  const named = await testApp(t, { env: { JWT_ISSUER: 'https://crm.example' } });
  const path = '/.well-known/oauth-authorization-server';
  const { status, body } = await named.request('GET', path, { scope: null });
  t.equal(status, 200);
  t.match(body, {
    issuer: 'https://crm.example',
    token_endpoint: 'https://crm.example/oauth/token',
    revocation_endpoint: 'https://crm.example/oauth/revoke',
    jwks_uri: 'https://crm.example/.well-known/jwks.json',
    grant_types_supported: ['client_credentials'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
  });
  const unnamed = await testApp(t);
  t.match(await unnamed.request('GET', path, { scope: null }), { status: 404, body: { detail: /JWT_ISSUER/ } });
});

t.test('under an outside provider everything of one’s own says that it is off', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const dir = t.testdir({
    'jwks.json': JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', use: 'sig' }] }),
    'key.pem': privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  });
  const config = readConfig({
    RAPPORT_DATA_DIR: dir,
    LOG_LEVEL: 'fatal',
    JWT_JWKS_URL: pathToFileURL(join(dir, 'jwks.json')).href,
    JWT_ISSUER: 'https://idp.example',
    JWT_CLAIM_MAP: '{"scopes":{"roles":{"crm-admin":["*"]}}}',
    CURSOR_SECRET: 'c'.repeat(32),
  });
  const app = await createApp({
    config,
    keys: await openKeys(config),
    connection: (await testDatabase(t)).connection,
    logger: createLogger(config),
  });
  t.teardown(() => app.close());
  const header = Buffer.from(JSON.stringify({ alg: 'ES256', typ: 'at+jwt', kid: 'k' })).toString('base64url');
  const claims = {
    iss: 'https://idp.example',
    aud: 'rapport',
    azp: 'ops',
    exp: Date.now() / 1000 + 60,
    roles: ['crm-admin'],
  };
  const content = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  const signature = sign('sha256', Buffer.from(content), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  const authorization = `Bearer ${content}.${signature.toString('base64url')}`;
  const ask = async (method: 'GET' | 'POST', url: string, payload?: object) => {
    const answer = await app.inject({ method, url, headers: { authorization }, ...(payload && { payload }) });
    return { status: answer.statusCode, body: answer.json() };
  };
  t.equal((await ask('GET', '/v1/clients')).status, 200, 'its tokens are good, and clients can be looked at');
  for (const [method, url, body] of [
    ['POST', '/v1/clients', { name: 'x', scopes: ['orders:read'] }],
    ['POST', `/v1/clients/${unknown}/secrets`, undefined],
    ['POST', '/v1/signing-keys/rotate', undefined],
    ['GET', '/v1/signing-keys', undefined],
    ['POST', '/v1/revoked-tokens', { token: 'a.b.c' }],
  ] as const) {
    t.match(await ask(method, url, body), { status: 409, body: { code: 'issuing_off', detail: /provider/ } }, url);
  }
  for (const url of ['/.well-known/jwks.json', '/.well-known/oauth-authorization-server']) {
    t.match(await ask('GET', url), { status: 404, body: { detail: /JWT_JWKS_URL/ } }, url);
  }
  for (const url of ['/oauth/token', '/oauth/revoke']) {
    const answer = await app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: 'grant_type=client_credentials&client_id=a&client_secret=b',
    });
    t.equal(answer.statusCode, 400, url);
    t.match(answer.json(), { error: 'invalid_request', error_description: /issues no tokens.*JWT_JWKS_URL/ }, url);
  }
  const own = await app.inject({
    method: 'GET',
    url: '/v1/clients',
    headers: { authorization: `Bearer ${(await testApp(t)).token('*')}` },
  });
  t.equal(own.statusCode, 401, 'tokens of the service itself are not');
});
