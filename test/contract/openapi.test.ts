import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { safeParse } from 'zod';
import { packageRoot } from '../../src/config.ts';
import { routes } from '../../src/features.ts';
import { isObject, type Json } from '../../src/platform/http/openapi-schemas.ts';
import { isPublic } from '../../src/platform/http/public.ts';
import { type Answer, runJobs, type TestApp, testApp } from '../support/app.ts';
import { type Contract, contract, type DocumentedOperation } from '../support/document.ts';
import { guardStamps, stampReader } from '../support/stamps.ts';

const now = '2026-06-01T12:00:00.000Z';
const aMinuteEarlier = '2026-06-01T11:59:00.000Z';

t.test('the committed openapi.yaml is what the code makes', async (t) => {
  const committed: unknown = parse(readFileSync(join(packageRoot, 'openapi.yaml'), 'utf8'));
  t.strictSame(committed, JSON.parse(JSON.stringify(contract().document)), 'npm run generate, and commit it');
});

t.test('every address of the service is in the document, and every documented one is served', async (t) => {
  const { app } = await testApp(t);
  const { operations } = contract();
  const pages = /^\/(docs|graphiql)(\/|$)/;
  const served = addresses(app.printRoutes({ commonPrefix: false })).filter(
    (one) => !pages.test(one.split(' ')[1] ?? ''),
  );
  const documented = operations.flatMap(({ method, path, responses }) => {
    const address = `${method} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`;
    // Other media types have addresses with a suffix as well.
    const media = path.includes('{') || method !== 'GET' ? [] : Object.keys(responses['200']?.['content'] ?? {});
    const suffixes = { 'text/csv': '.csv', 'image/svg+xml': '.svg' };
    return [
      address,
      ...Object.entries(suffixes).flatMap(([type, suffix]) => (media.includes(type) ? [address + suffix] : [])),
    ];
  });
  t.strictSame(served.sort(), documented.sort());
  t.ok(documented.length > 40, `${documented.length} addresses`);
});

/** `METHOD /address` of every line of find-my-way's tree, whose levels are four characters wide. */
function addresses(tree: string): string[] {
  const prefixes: string[] = [];
  return tree.split('\n').flatMap((line) => {
    const match = /^((?:[│ ] {3})*)[├└]── (\S*)(?: \((.*)\))?$/.exec(line);
    if (!match) return [];
    const [, indent = '', part = '', methods = ''] = match;
    const depth = indent.length / 4;
    prefixes.length = depth;
    prefixes.push(part);
    const url = prefixes.join('');
    return methods
      .split(', ')
      .filter((method) => method !== '' && method !== 'HEAD' && method !== 'OPTIONS')
      .map((method) => `${method} ${url}`);
  });
}

t.test('every operation says what it does, what it needs and what its parameters mean', async (t) => {
  const { operations } = contract();
  const ids = operations.map(({ id }) => id);
  t.equal(new Set(ids).size, ids.length, 'an id belongs to one operation');
  for (const { id, operation, parameters, route, responses } of operations) {
    t.ok(operation.summary && operation.description && operation.tags, `${id} has a summary and a description`);
    t.strictSame(
      parameters.filter(({ description }) => !description?.trim()),
      [],
      `the parameters of ${id} have descriptions`,
    );
    if (!route) continue;
    t.equal(operation['x-scope'], route.operation.scope, `${id} names its scope`);
    t.strictSame(operation.security, isPublic(route) ? [] : [{ bearerAuth: [route.operation.scope] }]);
    for (const status of ['400', '422', '429', '503']) t.ok(responses[status], `${id} documents ${status}`);
    for (const status of ['401', '403'])
      t.equal(status in responses, !isPublic(route), `${id} documents ${status} unless anybody may call it`);
  }
});

t.test('every example is valid', async (t) => {
  const { document, operations, validate } = contract();
  for (const { id, route, parameters, operation } of operations) {
    for (const { name, example, schema } of parameters) {
      if (example === undefined) continue;
      const own = route?.operation.input.shape[name];
      if (own) t.ok(safeParse(own, example).success, `${id}: ${name}=${example}`);
      else if (typeof schema.pattern === 'string') t.match(example, new RegExp(schema.pattern), `${id}: ${name}`);
    }
    const body = route?.operation.input.shape.body;
    if (!body) continue;
    const media = (operation.requestBody as { content: Record<string, Json> }).content['application/json'];
    const read = safeParse(body, media?.example);
    t.ok(read.success, `${id}: ${JSON.stringify(media?.example)} ${read.error?.message ?? ''}`);
    // What is pasted has to say something, and no period ends where it begins.
    const said = media?.example as Json;
    t.not(Object.keys(said).length, 0, `${id}: the example of its body is empty`);
    for (const [name, value] of Object.entries(said)) {
      const end = name.endsWith('From') && said[name.replace(/From$/, 'To')];
      if (end) t.ok(String(value) < String(end), `${id}: ${name} is before its end`);
    }
  }
  let checked = 0;
  const visit = (value: unknown, pointer: string): void => {
    if (Array.isArray(value)) for (const [i, item] of value.entries()) visit(item, `${pointer}/${i}`);
    if (!isObject(value)) return;
    if (Array.isArray(value.examples)) {
      checked += 1;
      for (const example of value.examples) t.strictSame(validate(pointer, example), [], pointer);
    }
    for (const [key, inner] of Object.entries(value)) {
      if (key !== 'examples') visit(inner, `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`);
    }
  };
  visit((document.components as Json).schemas, '/components/schemas');
  t.ok(checked > 20, `${checked} schemas have examples`);
});

t.test('/openapi.json and Swagger UI need no token and nothing from elsewhere', async (t) => {
  const { request } = await testApp(t);
  const document = await request('GET', '/openapi.json', { scope: null });
  t.equal(document.status, 200);
  t.strictSame(document.body, JSON.parse(JSON.stringify(contract().document)));
  t.strictSame((await request('GET', '/docs/json', { scope: null })).body, document.body);
  const page = await request<string>('GET', '/docs', { scope: null });
  t.equal(page.status, 200);
  t.match(page.headers.get('content-security-policy'), /default-src 'none'/);
  const parts = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? '');
  t.ok(parts.length >= 5);
  for (const part of parts) {
    t.match(part, /^(\.|\/docs)\//, `${part} is served here`);
    const answer = await request('GET', part.replace(/^\.\//, '/docs/'), { scope: null });
    t.equal(answer.status, 200, part);
  }
  const initializer = await request<string>('GET', '/docs/static/swagger-initializer.js', { scope: null });
  t.match(initializer.body, /"?persistAuthorization"?:\s*true/);
});

t.test('what every operation refuses is refused as documented', async (t) => {
  const { request } = await testApp(t, { clock: () => now });
  const book = contract();
  for (const one of book.operations) {
    if (!one.route) continue;
    const path = fillPath(one);
    const send = async (options: Parameters<TestApp['request']>[2], query = '') => {
      const answer = await request(one.method, path + query, options);
      t.strictSame(book.faults(one.method, path, answer), []);
      return answer;
    };
    const headers = requiredHeaders(one);
    if (isPublic(one.route)) {
      t.equal((await send({ scope: null, body: one.method === 'GET' ? undefined : anAnswer })).status, 404, one.id);
    } else {
      t.equal((await send({ scope: null })).status, 401, `${one.id} without a token`);
      t.equal((await send({ scope: 'nothing:read' })).status, 403, `${one.id} without its scope`);
    }
    const { operation } = one.route;
    const isUpload = operation.kind === 'write' && operation.upload !== undefined;
    if (isUpload) headers['Content-Type'] = 'text/csv';
    t.equal((await send({ headers }, '?nonsense=1')).status, 422, `${one.id} with an unknown parameter`);
    if (one.method === 'GET' || isUpload) continue;
    t.equal(
      (await send({ headers: { ...headers, 'Content-Type': 'application/json' }, body: '{"a":' })).status,
      400,
      one.id,
    );
    t.equal((await send({ headers: { ...headers, 'Content-Type': 'text/plain' }, body: 'text' })).status, 415, one.id);
    t.equal((await send({ headers, body: { nonsense: 1 } })).status, 422, `${one.id} with an unknown member`);
    if (!('body' in one.route.operation.input.shape)) continue;
    if (headers['If-Match'] !== undefined)
      t.equal((await send({ body: {} })).status, 428, `${one.id} without If-Match`);
  }
});

const anAnswer = { answers: [{ question: 'recommend', score: 9 }] };

function fillPath({ path, parameters }: DocumentedOperation): string {
  return path.replaceAll(/\{(\w+)\}/g, (_match, name: string) =>
    encodeURIComponent(String(parameters.find((one) => one.name === name)?.example ?? 'none')),
  );
}

function requiredHeaders({ parameters }: DocumentedOperation): Record<string, string> {
  const headers = parameters.filter((one) => one.in === 'header' && one.required);
  return Object.fromEntries(headers.map(({ name, example }) => [name, String(example)]));
}

t.test('a tour through every operation meets nothing but what is documented', async (t) => {
  let clock = now;
  const api = await testApp(t, { clock: () => clock, env: { JWT_ISSUER: 'https://crm.example' } });
  const { app, request, graphql } = api;
  t.ok((await guardStamps(api.connection)) > 20);
  const wrongStamps = stampReader();
  const book = contract();
  let keys = 0;
  /** A request whose answer is as documented and has the status given. */
  const visit = async (
    status: number,
    method: string,
    path: string,
    { body, headers = {}, scope = '*' }: { body?: unknown; headers?: Record<string, string>; scope?: string } = {},
  ): Promise<Answer> => {
    keys += 1;
    // What changes a record has an earlier clock than what made it: no record goes back in time, stored or answered.
    const isChange = method === 'PATCH' || method === 'PUT' || (method === 'POST' && path.split('/').length > 4);
    clock = isChange ? aMinuteEarlier : now;
    const answer = await request(method, path, {
      headers: { ...(method === 'POST' && { 'Idempotency-Key': `tour-${keys}` }), ...headers },
      scope,
      ...(body !== undefined && { body }),
    });
    t.equal(answer.status, status, `${method} ${path} ${JSON.stringify(answer.body).slice(0, 400)}`);
    t.strictSame(book.faults(method, path, answer), []);
    t.strictSame(wrongStamps(answer.body), [], `${method} ${path}`);
    return answer;
  };
  const any = { headers: { 'If-Match': '*' } };
  const unchanged = (answer: Answer) => ({ headers: { 'If-None-Match': answer.headers.get('etag') ?? '' } });

  await tourCustomers(visit, any, unchanged);
  await tourOrders(visit, any, unchanged);
  await tourReturns(visit, any, unchanged);
  await tourCampaigns(visit, any, unchanged);
  await tourInteractions(visit, any, unchanged);
  await tourLeads(visit, any);
  await tourLeadModels(visit, any, unchanged, () => runJobs({ app }));
  await tourAssignments(visit, any, unchanged);
  await tourSegments(visit, any, unchanged);
  await tourPartners(visit, any, unchanged);
  await tourSurveys(visit, any, unchanged);
  await tourLoyaltyProgrammes(visit, any);
  await tourLoyalty(visit, any);
  await tourRewards(visit, any, unchanged);
  await tourInvitations(visit, any, unchanged);
  await tourRetention(visit, any, unchanged);
  await tourImports(visit, any, unchanged);
  await tourClients(visit, any, unchanged);
  await tourWebhooks(visit, any, unchanged);
  await tourLateDeletions(visit, any);
  await tourAudit(visit);
  await tourChanges(visit);
  await tourOauth(api, book, t);
  await visit(200, 'PUT', '/v1/exchange-rates', {
    body: { rates: [{ date: '2026-05-20', currency: 'USD', rate: '0.9' }] },
  });
  await visit(200, 'GET', '/v1/exchange-rates?count=true&limit=1');
  for (const { id, path, route } of book.operations) {
    if (!path.startsWith('/v1/metrics/') || /\/(members|reasons)$/.test(path)) continue;
    const takes = routes.find(({ url }) => url === path)?.operation.input.shape ?? {};
    const query = Object.entries({ from: '2026-05-01', to: '2026-06-01', interval: 'month' });
    await visit(200, 'GET', `${path}?${new URLSearchParams(query.filter(([name]) => name in takes))}`);
    t.ok(route, id);
  }
  await visit(200, 'GET', '/v1/metrics');
  await visit(200, 'GET', '/v1/metrics/lead-funnel/members?list=unanswered&count=true&cursors=true&limit=1');

  await visit(200, 'GET', '/livez');
  await visit(200, 'GET', '/readyz');
  await visit(200, 'GET', '/metrics', { scope: 'service:watch' });
  await visit(200, 'GET', '/openapi.json');
  await visit(200, 'GET', '/schema.graphql');
  const asked = await graphql('{ __typename }');
  t.strictSame(book.faults('POST', '/graphql', asked), []);

  t.strictSame(unvisited(book), [], 'every operation and every way to succeed was visited: a new one joins the tour');
});

function unvisited({ operations, seen }: Contract): string[] {
  return operations
    .flatMap(({ id, responses }) => Object.keys(responses).map((status) => `${id} ${status}`))
    .filter((one) => / [23]\d\d$/.test(one) && !seen.has(one));
}

type Visit = (
  status: number,
  method: string,
  path: string,
  options?: { body?: unknown; headers?: Record<string, string>; scope?: string },
) => Promise<Answer>;
type Any = { headers: Record<string, string> };
type Unchanged = (answer: Answer) => Any;

/** Every address under a customer who was merged into another one leads on. */
async function tourFormerId(visit: Visit, any: Any, former: string): Promise<void> {
  const someone = '0198c0de-0000-7000-8000-000000000001';
  const bodies: Record<string, unknown> = {
    mergeCustomer: { customerId: someone },
    previewCustomerMerge: { customerId: someone },
    unmergeCustomer: { mergeId: someone },
    recordConsent: { purpose: 'newsletter', status: 'granted' },
    changeLeadStage: { to: 'former', lossReason: 'price' },
    enrolCustomer: { programmeId: someone },
    setLoyaltyTier: { tier: 'basic', reason: 'VIP' },
  };
  for (const { method, path, responses, route } of contract().operations) {
    const moved = ['301', '308'].find((status) => status in responses);
    if (moved === undefined || !route) continue;
    const { operation } = route;
    await visit(Number(moved), method, path.replace('{id}', former).replace('{customerId}', former), {
      ...any,
      ...('body' in operation.input.shape && { body: bodies[operation.name] ?? {} }),
    });
  }
}

/** Deletions that come too late delete nothing. */
async function tourLateDeletions(visit: Visit, any: Any): Promise<void> {
  const customer = { externalId: 'late' };
  const at = '2026-05-01T08:00:00Z';
  const documents = {
    customers: { name: 'Late' },
    orders: { customer, placedAt: at, currency: 'EUR', total: 0, items: [], paymentStatus: 'pending' },
    returns: { customer, returnedAt: at, currency: 'EUR', total: 1 },
    interactions: { customer, kind: 'phone', direction: 'inbound', occurredAt: at },
    campaigns: { name: 'Late' },
  };
  for (const [kind, document] of Object.entries(documents)) {
    const named = `/v1/${kind}/external/late/1`;
    const { body } = await visit(201, 'PUT', named, { body: { ...document, sourceVersion: 5 } });
    await visit(200, 'DELETE', `${named}?sourceVersion=5`, any);
    await visit(200, 'DELETE', `/v1/${kind}/${body.id}?sourceVersion=4`, any);
  }
}

async function tourClients(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const made = await visit(201, 'POST', '/v1/clients', { body: { name: 'Shop backend', scopes: ['orders:write'] } });
  await visit(422, 'POST', '/v1/clients', { body: { name: 'Shop backend', scopes: ['everything'] } });
  const path = `/v1/clients/${made.body.id}`;
  await visit(200, 'GET', path, unchanged(made));
  await visit(200, 'GET', '/v1/clients?limit=1&count=true&sort=createdAt');
  await visit(200, 'PATCH', path, { body: { scopes: ['orders:read'] }, ...any });
  await visit(428, 'PATCH', path, { body: { name: 'x' } });
  const secret = await visit(201, 'POST', `${path}/secrets`, { body: { expiresAt: '2030-01-01T00:00:00Z' } });
  await visit(201, 'POST', `${path}/secrets`);
  await visit(409, 'POST', `${path}/secrets`);
  await visit(204, 'DELETE', `${path}/secrets/${secret.body.id}`);
  await visit(200, 'POST', `${path}/revoke-tokens`);
  await visit(204, 'DELETE', path, any);
  await visit(409, 'DELETE', path, any);
  await visit(404, 'GET', `/v1/clients/${secret.body.id}`);
  const key = await visit(201, 'POST', '/v1/signing-keys/rotate', { body: { signsAfter: 3600 } });
  await visit(200, 'GET', '/v1/signing-keys');
  await visit(200, 'POST', `/v1/signing-keys/${key.body.kid}/revoke`);
  await visit(404, 'POST', '/v1/signing-keys/none/revoke');
}

async function tourOauth({ request, token }: TestApp, book: Contract, t: Test): Promise<void> {
  const { body: client } = await request('POST', '/v1/clients', { body: { name: 'Shop', scopes: ['orders:read'] } });
  const { body: made } = await request('POST', `/v1/clients/${client.id}/secrets`);
  const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
  const own = `client_id=${client.id}&client_secret=${made.secret}`;
  const visits: [number, string, string, string?][] = [
    [200, 'POST', '/oauth/token', `${own}&grant_type=client_credentials`],
    [400, 'POST', '/oauth/token', own],
    [401, 'POST', '/oauth/token', 'grant_type=client_credentials'],
    [200, 'POST', '/oauth/revoke', `${own}&token=none`],
    [400, 'POST', '/oauth/revoke', own],
    [200, 'GET', '/.well-known/jwks.json'],
    [200, 'GET', '/.well-known/oauth-authorization-server'],
  ];
  for (const [status, method, path, body] of visits) {
    const answer = await request(method, path, { scope: null, ...(body !== undefined && { body, headers }) });
    t.equal(answer.status, status, `${method} ${path} ${JSON.stringify(answer.body)}`);
    t.strictSame(book.faults(method, path, answer), []);
  }
  const revoked = await request('POST', '/v1/revoked-tokens', { body: { token: token('orders:read', 'tour') } });
  t.strictSame(book.faults('POST', '/v1/revoked-tokens', revoked), []);
}

async function tourCustomers(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const company = await visit(201, 'POST', '/v1/customers', { body: { kind: 'company', name: 'Analytical Engines' } });
  const ada = {
    name: 'Ada Lovelace',
    givenName: 'Ada',
    familyName: 'Lovelace',
    companyId: company.body.id,
    identities: [
      { kind: 'email', value: 'Ada@Example.org' },
      { kind: 'phone', value: '+442071234567' },
    ],
    birthday: '1815-12-10',
    address: { line1: '12 St James’s Square', city: 'London', country: 'GB' },
    locale: 'en-GB',
    preferredChannel: 'email',
    acquisition: { source: 'search-ads', cost: 250 },
    attributes: { tier: 'gold', since: [1, null] },
  };
  const created = await visit(201, 'POST', '/v1/customers', {
    body: { ...ada, references: [{ source: 'shop', externalId: '1' }] },
    headers: { 'Idempotency-Key': 'ada' },
  });
  const byId = `/v1/customers/${created.body.id}`;
  const byName = '/v1/customers/external/shop/1';
  await visit(201, 'POST', '/v1/customers', {
    body: { ...ada, references: [{ source: 'shop', externalId: '1' }] },
    headers: { 'Idempotency-Key': 'ada' },
  });
  await visit(422, 'POST', '/v1/customers', { body: { name: 'Another' }, headers: { 'Idempotency-Key': 'ada' } });
  await visit(409, 'POST', '/v1/customers', { body: { references: [{ source: 'shop', externalId: '1' }] } });
  await visit(409, 'POST', '/v1/customers', { body: { identities: [{ kind: 'email', value: 'ada@example.org' }] } });
  for (const path of [byId, byName]) {
    const read = await visit(200, 'GET', path);
    await visit(304, 'GET', path, unchanged(read));
    await visit(200, 'GET', path, { scope: 'customers:read' });
    await visit(200, 'PATCH', path, { body: { locale: 'en' }, ...any });
    await visit(412, 'PATCH', path, { body: { locale: 'en' }, headers: { 'If-Match': '"99"' } });
  }
  await visit(200, 'PUT', byName, { body: { name: 'Ada King', sourceVersion: 7 } });
  await visit(200, 'PUT', byName, { body: { name: 'Ada Byron', sourceVersion: 3 } });
  await visit(201, 'PUT', '/v1/customers/external/shop/2', { body: { name: 'Charles' } });
  await visit(200, 'POST', '/v1/customers/batch', {
    body: { customers: [{ name: 'New', references: [{ source: 'shop', externalId: '3' }] }, { nonsense: true }] },
  });
  await visit(422, 'POST', '/v1/customers/batch?atomic=true', { body: { customers: [{ nonsense: true }] } });
  await visit(200, 'GET', '/v1/customers?limit=1&count=true&sort=createdAt');
  await visit(400, 'GET', '/v1/customers?after=nonsense');
  await visit(403, 'GET', '/v1/customers?email=ada@example.org', { scope: 'customers:read' });
  await visit(204, 'DELETE', '/v1/customers/external/shop/2', any);
  await visit(204, 'DELETE', `/v1/customers/${company.body.id}`, any);
  await visit(410, 'PUT', '/v1/customers/external/shop/2', { body: { name: 'Charles' } });
  await visit(404, 'GET', `/v1/customers/${company.body.id}`);

  const double = await visit(201, 'POST', '/v1/customers', { body: { name: 'Ada', birthday: '1815-12-11' } });
  const other = { customerId: double.body.id };
  await visit(200, 'POST', `${byId}/merge/preview`, { body: { ...other, take: ['birthday'] } });
  await visit(200, 'POST', `${byId}/merge/preview`, { body: other, scope: 'customers:merge' });
  await visit(422, 'POST', `${byId}/merge`, { body: { customerId: created.body.id } });
  const pair = { customerId: created.body.id, otherId: double.body.id };
  await visit(200, 'GET', '/v1/customers/duplicates?limit=1&cursors=true');
  await visit(403, 'GET', '/v1/customers/duplicates', { scope: 'customers:read' });
  await visit(200, 'POST', '/v1/customers/duplicates/dismiss', { body: pair });
  await visit(422, 'POST', '/v1/customers/duplicates/dismiss', { body: { ...pair, otherId: pair.customerId } });
  const merged = await visit(200, 'POST', `${byId}/merge`, { body: { ...other, take: ['birthday'] } });
  await visit(409, 'POST', `${byId}/merge`, { body: other });
  await tourFormerId(visit, any, double.body.id);
  await visit(200, 'GET', `${byId}/merges?limit=1&count=true`);
  await visit(200, 'POST', `${byId}/unmerge`, { body: { mergeId: merged.body.id } });
  await visit(409, 'POST', `${byId}/unmerge`, { body: { mergeId: merged.body.id } });
  await visit(404, 'POST', `${byId}/unmerge`, { body: { mergeId: created.body.id } });

  const { body: known } = await visit(201, 'POST', '/v1/customers', {
    body: { name: 'Known', references: [{ source: 'shop', externalId: 'to-export' }] },
  });
  await visit(200, 'GET', `/v1/customers/${known.id}/export`);
  await visit(200, 'GET', `/v1/customers/${known.id}/export?format=html`);
  await visit(200, 'GET', '/v1/customers/external/shop/to-export/export?format=json');
  await visit(403, 'GET', `/v1/customers/${known.id}/export`, { scope: 'customers:export' });

  const consent = { purpose: 'newsletter', channel: 'email', status: 'granted', evidence: { source: 'checkout' } };
  const consents = `/v1/customers/${known.id}/consents`;
  await visit(201, 'POST', consents, { body: consent });
  await visit(201, 'POST', '/v1/customers/external/shop/to-export/consents', { body: { ...consent, channel: null } });
  await visit(422, 'POST', consents, { body: { ...consent, purpose: 'News Letter' } });
  await visit(404, 'POST', `/v1/customers/${company.body.id}/consents`, { body: consent });
  await visit(200, 'GET', consents);
  await visit(200, 'GET', '/v1/customers/external/shop/to-export/consents?channel=email&purpose=newsletter');
  await visit(200, 'GET', `${consents}/history?limit=1&count=true&sort=at`, { scope: 'consents:read' });
  await visit(200, 'GET', '/v1/customers/external/shop/to-export/consents/history?status=granted');
  await visit(404, 'GET', `/v1/customers/${company.body.id}/consents/history`);
  await visit(200, 'GET', '/v1/consents?purpose=newsletter&channel=email&inForce=true&cursors=true');
  await visit(200, 'POST', '/v1/consents/batch', {
    body: { consents: [{ customerId: known.id, ...consent }, { customerId: company.body.id, ...consent }, 3] },
  });

  await visit(200, 'POST', `/v1/customers/${known.id}/erase?dryRun=true`);
  await visit(200, 'POST', '/v1/customers/external/shop/to-export/erase');
  await visit(200, 'POST', `/v1/customers/${known.id}/erase`);
  await visit(404, 'POST', `/v1/customers/${company.body.id}/erase`);
  await visit(409, 'POST', '/v1/customers', {
    body: { name: 'Known', references: [{ source: 'shop', externalId: 'to-export' }] },
  });
  await visit(409, 'POST', consents, { body: consent });
}

const order = {
  customer: { source: 'shop', externalId: '1' },
  placedAt: '2026-05-20T08:26:00Z',
  currency: 'EUR',
  total: 1530,
  items: [{ sku: '85123A', name: 'T-light holder', quantity: 6.5, total: 1530, unitPrice: '2.55', cost: 700 }],
  paymentStatus: 'paid',
};

async function tourOrders(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const sent = { ...order, source: 'shop', externalId: 'o1' };
  const created = await visit(201, 'POST', '/v1/orders', { body: sent });
  const dollars = { ...order, currency: 'USD', placedAt: '2026-04-03T10:00:00+02:00' };
  await visit(201, 'PUT', '/v1/orders/external/shop/o2', {
    body: { ...dollars, sourceVersion: '2026-04-03T10:00:00Z' },
  });
  await visit(200, 'PUT', '/v1/orders/external/shop/o2', {
    body: { ...dollars, sourceVersion: '2026-04-02T10:00:00Z' },
  });
  await visit(409, 'POST', '/v1/orders', { body: sent });
  await visit(422, 'POST', '/v1/orders', { body: { ...sent, externalId: 'o9', customer: {} } });
  await visit(200, 'POST', '/v1/orders/batch', {
    body: {
      orders: [
        { ...sent, externalId: 'o3', customer: { email: 'new@example.org' } },
        { ...sent, externalId: 'o4', total: 1 },
      ],
    },
  });
  for (const path of [`/v1/orders/${created.body.id}`, '/v1/orders/external/shop/o1']) {
    await visit(304, 'GET', path, unchanged(await visit(200, 'GET', path)));
    await visit(200, 'PATCH', path, { body: { fulfillmentStatus: 'fulfilled' }, ...any });
    const body = {
      amount: 100,
      refundedAt: '2026-05-25T09:00:00Z',
      reason: 'damaged',
      items: [{ sku: '85123A', quantity: 1 }],
    };
    const refund = await visit(201, 'POST', `${path}/refunds`, { body });
    await visit(422, 'POST', `${path}/refunds`, { body: { ...body, amount: 5000 } });
    await visit(200, 'GET', `${path}/refunds?limit=1&count=true`);
    const at = `/v1/refunds/${refund.body.id}`;
    await visit(304, 'GET', at, unchanged(await visit(200, 'GET', at)));
    await visit(200, 'GET', at, { scope: 'orders:read' });
    if (path.includes('external')) await visit(204, 'DELETE', at, any);
  }
  const refunded = { order: { source: 'shop', externalId: 'o1' }, amount: 10, refundedAt: '2026-05-25T09:00:00Z' };
  const named = { ...refunded, source: 'shop', externalId: 'r1' };
  const early = { ...refunded, order: { source: 'shop', externalId: 'not yet' } };
  await visit(201, 'POST', '/v1/refunds', { body: named });
  await visit(202, 'POST', '/v1/refunds', { body: { ...early, source: 'shop', externalId: 'r2' } });
  await visit(409, 'POST', '/v1/refunds', { body: named });
  await visit(422, 'POST', '/v1/refunds', { body: { ...named, order: undefined, externalId: 'r9' } });
  await visit(200, 'POST', '/v1/refunds/batch', { body: { refunds: [named, { ...named, amount: 5000 }] } });
  await visit(200, 'GET', '/v1/refunds?limit=1&count=true&status=waiting');
  const byName = '/v1/refunds/external/shop';
  await visit(304, 'GET', `${byName}/r1`, unchanged(await visit(200, 'GET', `${byName}/r1`)));
  await visit(200, 'PATCH', `${byName}/r1`, { body: { amount: 20 }, ...any });
  await visit(202, 'PATCH', `${byName}/r2`, { body: { amount: 20 }, ...any });
  const waiting = await visit(202, 'PUT', `${byName}/r2`, { body: early });
  await visit(202, 'PATCH', `/v1/refunds/${waiting.body.id}`, { body: { amount: 30 }, ...any });
  await visit(200, 'PUT', `${byName}/r2`, { body: refunded });
  await visit(200, 'PATCH', `/v1/refunds/${waiting.body.id}`, { body: { amount: 30 }, ...any });
  const versioned = await visit(201, 'PUT', `${byName}/r3`, { body: { ...refunded, sourceVersion: 5 } });
  for (const stale of [`${byName}/r3`, `/v1/refunds/${versioned.body.id}`]) {
    await visit(200, 'DELETE', `${stale}?sourceVersion=4`, any);
  }
  await visit(204, 'DELETE', `${byName}/r1`, any);
  await visit(410, 'PUT', `${byName}/r1`, { body: refunded });
  await visit(200, 'GET', '/v1/orders?limit=1&count=true&status=paid&placedFrom=2026-01-01T00:00:00Z');
  for (const path of [`/v1/customers/${created.body.customerId}`, '/v1/customers/external/shop/1']) {
    await visit(200, 'GET', `${path}/orders?limit=1`);
    await visit(200, 'GET', `${path}/summary`);
    await visit(200, 'GET', `${path}/timeline?limit=1&count=true&kinds=order,refund`);
    await visit(409, 'DELETE', path, any);
  }
  await visit(204, 'DELETE', '/v1/orders/external/shop/o2', any);
  const third = await visit(200, 'GET', '/v1/orders/external/shop/o3');
  await visit(204, 'DELETE', `/v1/orders/${third.body.id}`, any);
  await visit(410, 'POST', '/v1/orders', { body: { ...sent, externalId: 'o3' } });
}

async function tourCampaigns(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const document = {
    name: 'Spring catalogue',
    channel: 'email',
    startsOn: '2026-03-01',
    endsOn: '2026-03-31',
    cost: 250000,
  };
  const created = await visit(201, 'POST', '/v1/campaigns', {
    body: { ...document, references: [{ source: 'crm', externalId: 'c1' }] },
  });
  const byName = '/v1/campaigns/external/crm';
  await visit(409, 'POST', '/v1/campaigns', { body: { name: 'x', references: [{ source: 'crm', externalId: 'c1' }] } });
  await visit(201, 'PUT', `${byName}/c2`, { body: { ...document, sourceVersion: 2 } });
  await visit(200, 'PUT', `${byName}/c2`, { body: { ...document, sourceVersion: 1 } });
  for (const path of [`/v1/campaigns/${created.body.id}`, `${byName}/c1`]) {
    await visit(304, 'GET', path, unchanged(await visit(200, 'GET', path)));
    await visit(200, 'PATCH', path, { body: { audience: 'Buyers of last spring' }, ...any });
    await visit(200, 'GET', `${path}/results?windowDays=14&from=2026-03-01&to=2026-06-01`);
  }
  await visit(200, 'POST', '/v1/campaigns/batch', {
    body: { campaigns: [{ name: 'Third', references: [{ source: 'crm', externalId: 'c3' }] }, { name: 'Nameless' }] },
  });
  await visit(200, 'GET', '/v1/campaigns?limit=1&count=true&sort=startsOn&startsFrom=2026-01-01');
  await visit(200, 'GET', '/v1/campaigns/results?limit=1&count=true&channel=email');
  const order = {
    customer: { source: 'shop', externalId: '1' },
    placedAt: '2026-05-20T08:26:00Z',
    currency: 'EUR',
    total: 0,
    items: [],
    paymentStatus: 'paid',
  };
  await visit(201, 'PUT', '/v1/orders/external/shop/of-campaign', { body: { ...order, campaignId: created.body.id } });
  await visit(409, 'DELETE', `/v1/campaigns/${created.body.id}`, any);
  await visit(204, 'DELETE', '/v1/orders/external/shop/of-campaign', any);
  await visit(204, 'DELETE', `/v1/campaigns/${created.body.id}`, any);
  await visit(204, 'DELETE', `${byName}/c2`, any);
}

async function tourReturns(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const document = {
    customer: { source: 'shop', externalId: '1' },
    returnedAt: '2026-05-28T09:41:00Z',
    currency: 'EUR',
    total: 200,
    items: [{ sku: '85123A', quantity: 1, total: 200 }],
  };
  const created = await visit(201, 'POST', '/v1/returns', { body: { ...document, source: 'shop', externalId: 'r1' } });
  await visit(201, 'PUT', '/v1/returns/external/shop/r2', { body: document });
  await visit(200, 'PUT', '/v1/returns/external/shop/r2', { body: { ...document, total: 150 } });
  for (const path of [`/v1/returns/${created.body.id}`, '/v1/returns/external/shop/r1']) {
    await visit(304, 'GET', path, unchanged(await visit(200, 'GET', path)));
    await visit(200, 'PATCH', path, { body: { reason: 'too small' }, ...any });
  }
  await visit(200, 'POST', '/v1/returns/batch', {
    body: {
      returns: [
        { ...document, source: 'shop', externalId: 'r3' },
        { ...document, total: 0 },
      ],
    },
  });
  await visit(200, 'GET', '/v1/returns?limit=1&count=true');
  await visit(204, 'DELETE', '/v1/returns/external/shop/r2', any);
  await visit(204, 'DELETE', `/v1/returns/${created.body.id}`, any);
}

async function tourLeads(visit: Visit, any: Any): Promise<void> {
  const customer = { source: 'web', externalId: 'l1', email: 'lead@example.org' };
  const made = await visit(201, 'POST', '/v1/leads', {
    body: { customer, source: 'fair', segment: 'smb', owner: 'maria', enteredAt: '2026-05-01T00:00:00Z' },
  });
  await visit(409, 'POST', '/v1/leads', { body: { customer } });
  await visit(422, 'POST', '/v1/leads', { body: { customer: { externalId: 'l1' } } });
  await visit(200, 'POST', '/v1/leads/batch', {
    body: { leads: [{ customer, stage: 'subscriber' }, { customer: { email: 'other@example.org' } }, {}] },
  });
  await visit(201, 'PUT', '/v1/leads/external/web/l2', { body: { segment: 'smb', customer: { name: 'Ada' } } });
  await visit(200, 'PUT', '/v1/leads/external/web/l2', { body: { segment: 'smb' } });
  for (const path of [`/v1/leads/${made.body.id}`, '/v1/leads/external/web/l1']) {
    await visit(200, 'GET', path, { scope: 'leads:read' });
    await visit(200, 'GET', `${path}/assignments?count=true&sort=at`);
    await visit(200, 'PATCH', path, { body: { owner: null }, ...any });
    await visit(412, 'PATCH', path, { body: { owner: 'jo' }, headers: { 'If-Match': '"99"' } });
    await visit(200, 'POST', `${path}/assign`, { body: {} });
    const to = path.includes('external') ? 'customer' : 'sales_qualified';
    await visit(200, 'POST', `${path}/stage`, { body: { to, at: '2026-05-02T00:00:00Z', note: 'called' } });
    await visit(422, 'POST', `${path}/stage`, { body: { to: 'subscriber' } });
    await visit(200, 'GET', `${path}/stages?limit=1&count=true`);
  }
  await visit(200, 'GET', '/v1/lead-stage-changes?limit=1&count=true&to=customer');
  await visit(200, 'POST', '/v1/leads/qualify?limit=10');
  await tourScores(visit, any, made.body.id);
  await visit(409, 'DELETE', '/v1/customers/external/web/l1', any);
  await visit(204, 'DELETE', '/v1/leads/external/web/l2', any);
  await visit(204, 'DELETE', `/v1/leads/${made.body.id}`, any);
}

async function tourScores(visit: Visit, any: Any, leadId: string): Promise<void> {
  await visit(201, 'POST', '/v1/interactions', {
    body: { customerId: leadId, source: 'web', externalId: 's1', kind: 'form', occurredAt: '2026-05-28T09:41:00Z' },
  });
  const page = await visit(200, 'GET', '/v1/leads?limit=1&count=true&cursors=true&stage=customer,lead&scoreFrom=-5');
  await visit(200, 'GET', `/v1/leads?limit=1&stage=customer,lead&scoreFrom=-5&after=${page.body.page.next}`);
  await visit(200, 'GET', '/v1/leads?sort=-updatedAt&asOf=2026-05-20T00:00:00Z&grade=D', { scope: 'leads:read' });
  await visit(400, 'GET', '/v1/leads?after=nonsense');
  const document = {
    rules: [
      { name: 'Engineer', group: 'fit', points: 5, when: [{ field: 'attributes.job', oneOf: ['engineer'] }] },
      { name: 'Form', group: 'intent', points: 20.25, on: { kinds: ['form'], withinDays: 30 }, halfLifeDays: 14 },
    ],
    caps: { intent: 10 },
    grades: { A: 40, B: 20, C: 5 },
  };
  const draft = await visit(201, 'POST', '/v1/lead-rule-sets', { body: { name: 'Forms', document } });
  await visit(403, 'POST', '/v1/lead-rule-sets', { body: { name: 'Forms', document }, scope: 'lead-rules:write' });
  await visit(422, 'POST', '/v1/lead-rule-sets', {
    body: { name: 'Forms', document: { ...document, grades: { A: 1, B: 2, C: 3 } } },
  });
  const path = `/v1/lead-rule-sets/${draft.body.id}`;
  const read = await visit(200, 'GET', path);
  await visit(304, 'GET', path, { headers: { 'If-None-Match': read.headers.get('etag') ?? '' } });
  await visit(200, 'PATCH', path, { body: { name: 'Asked' }, ...any });
  await visit(200, 'POST', `${path}/preview?limit=5`, { scope: 'leads:read' });
  for (const lead of [`/v1/leads/${leadId}`, '/v1/leads/external/web/l1']) {
    await visit(200, 'GET', `${lead}/score?asOf=2026-05-30T00:00:00Z`);
    await visit(200, 'GET', `${lead}/score?ruleSetId=${draft.body.id}`, { scope: 'leads:read' });
  }
  await visit(412, 'POST', `${path}/publish`, { headers: { 'If-Match': '"9"' } });
  await visit(200, 'POST', `${path}/publish`, any);
  await visit(409, 'PATCH', path, { body: { name: 'Late' }, ...any });
  await visit(409, 'DELETE', path, any);
  await visit(200, 'GET', '/v1/lead-rule-sets?limit=1&count=true&status=published');
  const other = await visit(201, 'POST', '/v1/lead-rule-sets', { body: { name: 'Unwanted', document } });
  await visit(204, 'DELETE', `/v1/lead-rule-sets/${other.body.id}`, any);
  await visit(404, 'GET', `/v1/lead-rule-sets/${other.body.id}`);
  await visit(204, 'DELETE', '/v1/interactions/external/web/s1', any);
}

async function tourLeadModels(
  visit: Visit,
  any: Any,
  unchanged: Unchanged,
  work: () => Promise<unknown>,
): Promise<void> {
  const people = Array.from({ length: 104 }, (_, n) => ({ source: 'model', externalId: `${n}` }));
  const leads = people.map((customer, n) => ({
    customer,
    source: n % 3 ? 'fair' : 'web',
    enteredAt: '2026-01-01T00:00:00Z',
  }));
  await visit(200, 'POST', '/v1/leads/batch', { body: { leads } });
  const orders = people.slice(52).map((customer) => ({
    ...customer,
    customer: { externalId: customer.externalId },
    placedAt: '2026-01-10T00:00:00Z',
    currency: 'EUR',
    total: 100,
    paymentStatus: 'paid',
    items: [{ sku: 'X', quantity: 1, total: 100 }],
  }));
  await visit(200, 'POST', '/v1/orders/batch', { body: { orders } });
  const made = await visit(201, 'POST', '/v1/lead-models', { body: { minConversions: 50, horizonDays: 30 } });
  const waiting = await visit(201, 'POST', '/v1/lead-models', { body: {} });
  await visit(422, 'POST', '/v1/lead-models', { body: { asOf: '2036-01-01T00:00:00Z' } });
  const path = `/v1/lead-models/${made.body.id}`;
  await visit(409, 'GET', `${path}/scores`);
  await visit(204, 'DELETE', `/v1/lead-models/${waiting.body.id}`, any);
  await visit(412, 'DELETE', path, { headers: { 'If-Match': '"99"' } });
  await work();
  const read = await visit(200, 'GET', path, { scope: 'leads:read' });
  await visit(304, 'GET', path, { ...unchanged(read), scope: 'leads:read' });
  await visit(200, 'GET', '/v1/lead-models?status=ready&count=true');
  await visit(200, 'GET', `${path}/scores?limit=2&count=true&cursors=true&converted=true`);
  await visit(200, 'GET', '/v1/leads?learned=true&limit=2');
  await visit(200, 'GET', '/v1/leads/external/model/3/score');
  await visit(409, 'DELETE', path, any);
  await visit(404, 'GET', `/v1/lead-models/${waiting.body.id}/scores`);
}

async function tourInvitations(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const { body: survey } = await visit(201, 'POST', '/v1/surveys', {
    body: {
      name: 'By invitation',
      status: 'open',
      questions: [{ key: 'recommend', type: 'nps', text: 'Would you recommend us?' }],
      settings: { contactFrequencyDays: 0 },
    },
  });
  const { body: customer } = await visit(201, 'POST', '/v1/customers', { body: { name: 'Someone to ask' } });
  const invited = { surveyId: survey.id, customerId: customer.id };
  const made = await visit(201, 'POST', '/v1/survey-invitations', { body: { ...invited, staff: 'maria' } });
  const path = `/v1/survey-invitations/${made.body.id}`;
  // Its status changes with time alone, so it is always told.
  await visit(200, 'GET', path, unchanged(await visit(200, 'GET', path)));
  await visit(200, 'PATCH', path, { body: { dueAt: '2026-05-31T00:00:00Z' }, ...any });
  await visit(422, 'PATCH', path, { body: { status: 'sent' }, ...any });
  await visit(200, 'GET', `/v1/survey-invitations?surveyId=${survey.id}&status=due&count=true&cursors=true&sort=dueAt`);
  const asked = { customerId: customer.id, reserve: true };
  const reserved = await visit(200, 'POST', `/v1/surveys/${survey.id}/eligibility`, { body: asked });
  const claimed = await visit(200, 'POST', '/v1/survey-invitations/claim', { body: { surveyId: survey.id } });
  const link = claimed.body.invitations[0].path;
  await visit(200, 'GET', link);
  await visit(422, 'POST', link, { body: { answers: [{ question: 'recommend', score: 11 }] } });
  await visit(201, 'POST', link, { body: anAnswer });
  await visit(410, 'POST', link, { body: anAnswer });
  await visit(410, 'GET', link);
  await visit(200, 'PATCH', `/v1/survey-invitations/${reserved.body.reserved.invitation.id}`, {
    body: { status: 'cancelled' },
    ...any,
  });
  await visit(410, 'GET', reserved.body.reserved.path);
  await visit(404, 'GET', '/v1/survey-links/nonsense');
}

async function tourAssignments(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const rule = await visit(201, 'POST', '/v1/assignment-rules', {
    body: {
      name: 'Who wants to leave',
      purpose: 'retention',
      method: 'least_loaded',
      key: 'country',
      groups: [
        { value: 'GB', members: ['maria', 'jo'] },
        { value: null, members: ['kim'] },
      ],
    },
  });
  const { body: customer } = await visit(201, 'POST', '/v1/customers', {
    body: { address: { country: 'GB' }, name: 'X' },
  });
  const body = { customerId: customer.id, kind: 'retention', reason: 'asked to cancel', dueAt: '2026-06-03T17:00:00Z' };
  const followUp = await visit(201, 'POST', '/v1/follow-ups', { body });
  await visit(422, 'POST', '/v1/follow-ups', { body: { ...body, customerId: rule.body.id } });
  for (const [path, change] of [
    [`/v1/assignment-rules/${rule.body.id}`, { position: 2, key: null, groups: [{ value: null, members: ['jo'] }] }],
    [`/v1/follow-ups/${followUp.body.id}`, { status: 'done', outcome: 'retained', note: 'got a discount' }],
  ] as const) {
    const read = await visit(200, 'GET', path);
    await visit(304, 'GET', path, unchanged(read));
    await visit(200, 'GET', path, { scope: 'leads:read' });
    await visit(412, 'PATCH', path, { body: change, headers: { 'If-Match': '"99"' } });
    await visit(200, 'PATCH', path, { body: change, ...any });
  }
  await visit(422, 'PATCH', `/v1/follow-ups/${followUp.body.id}`, { body: { outcome: null }, ...any });
  await visit(200, 'GET', '/v1/assignment-rules?purpose=retention&active=true&count=true');
  await visit(200, 'GET', `/v1/assignments?ruleId=${rule.body.id}&owner=maria&limit=1&count=true`);
  await visit(200, 'GET', '/v1/assignments', { scope: 'leads:read' });
  await visit(200, 'GET', `/v1/customers/${customer.id}/follow-ups?status=done`, { scope: 'leads:read' });
  await visit(200, 'GET', '/v1/customers/external/shop/1/follow-ups');
  await visit(200, 'GET', '/v1/follow-ups?kind=retention&status=done&overdue=false&sort=dueAt');
  await visit(409, 'DELETE', `/v1/customers/${customer.id}`, any);
  await visit(204, 'DELETE', `/v1/follow-ups/${followUp.body.id}`, any);
  await visit(204, 'DELETE', `/v1/assignment-rules/${rule.body.id}`, any);
}

async function tourSegments(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const filter = {
    and: [
      { field: 'orderCount', op: 'gte', value: 1 },
      { has: 'orders', count: { atLeast: 1 } },
    ],
  };
  await visit(200, 'GET', '/v1/segments/fields', { scope: 'segments:read' });
  await visit(200, 'POST', '/v1/customers/search', {
    body: { q: 'a', filter, sort: '-revenue', limit: 1, count: true },
  });
  await visit(200, 'POST', '/v1/customers/search', { body: { filter }, scope: 'customers:read orders:read' });
  await visit(403, 'POST', '/v1/customers/search', { body: { q: 'a' }, scope: 'customers:read' });
  await visit(422, 'POST', '/v1/customers/search', { body: { filter: { field: 'nope', op: 'eq', value: 1 } } });
  await visit(200, 'POST', '/v1/segments/preview', { body: { filter, sample: 1 } });
  const { body: customer } = await visit(201, 'POST', '/v1/customers', { body: { name: 'Listed' } });
  const tree = await visit(201, 'POST', '/v1/segments', { body: { name: 'Buyers', filter } });
  const list = await visit(201, 'POST', '/v1/segments', { body: { name: 'Invited' } });
  const at = `/v1/segments/${tree.body.id}`;
  const read = await visit(200, 'GET', at);
  await visit(304, 'GET', at, unchanged(read));
  await visit(412, 'PATCH', at, { body: { name: 'Others' }, headers: { 'If-Match': '"99"' } });
  await visit(200, 'PATCH', at, { body: { name: 'Others' }, ...any });
  await visit(200, 'GET', '/v1/segments?kind=tree&sort=name&limit=1&count=true');
  await visit(200, 'GET', `${at}/versions?limit=1`);
  await visit(200, 'GET', `${at}/members?limit=1&asOf=2026-01-01T00:00:00Z`);
  const members = `/v1/segments/${list.body.id}/members`;
  await visit(200, 'POST', members, { body: { customerIds: [customer.id] } });
  await visit(200, 'GET', `/v1/segments/${list.body.id}/changes?change=entered&count=true`);
  await visit(204, 'DELETE', `${members}/${customer.id}`);
  await visit(404, 'DELETE', `${members}/${customer.id}`);
  const over = await visit(201, 'POST', '/v1/segments', { body: { name: 'Over', filter: { segment: tree.body.id } } });
  await visit(409, 'DELETE', at, any);
  await visit(204, 'DELETE', `/v1/segments/${over.body.id}`, any);
}

async function tourWebhooks(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const url = 'https://hooks.example/';
  const made = await visit(201, 'POST', '/v1/webhooks', { body: { url, kinds: ['order'], include: ['record'] } });
  await visit(422, 'POST', '/v1/webhooks', { body: { url: 'https://127.0.0.1/' } });
  await visit(403, 'POST', '/v1/webhooks', { body: { url }, scope: 'webhooks:write' });
  const path = `/v1/webhooks/${made.body.id}`;
  const read = await visit(200, 'GET', path);
  await visit(304, 'GET', path, unchanged(read));
  await visit(200, 'GET', '/v1/webhooks?status=enabled&client=test&sort=createdAt&limit=1&count=true');
  await visit(200, 'PATCH', path, { body: { types: ['order.created'] }, ...any });
  await visit(428, 'PATCH', path, { body: { types: null } });
  await visit(201, 'POST', `${path}/rotate-secret`, { body: { overlap: 60 } });
  await visit(201, 'POST', `${path}/rotate-secret`);
  const delivery = await visit(201, 'POST', `${path}/test`);
  await visit(200, 'GET', `${path}/deliveries?outcome=waiting&type=webhook.test&sort=id&limit=1&count=true`);
  await visit(200, 'GET', `${path}/deliveries/${delivery.body.id}`);
  await visit(404, 'GET', `${path}/deliveries/${made.body.id}`);
  await visit(200, 'POST', `${path}/deliveries/${delivery.body.id}/resend`);
  await visit(200, 'PATCH', path, { body: { status: 'disabled' }, ...any });
  await visit(409, 'POST', `${path}/test`);
  await visit(409, 'POST', `${path}/deliveries/${delivery.body.id}/resend`);
  await visit(204, 'DELETE', path, any);
  await visit(404, 'GET', path);
}

async function tourAudit(visit: Visit): Promise<void> {
  const { body } = await visit(200, 'GET', '/v1/audit-entries?kind=write&operation=createCustomer&limit=1&count=true');
  const [entry] = body.data;
  await visit(200, 'GET', `/v1/audit-entries/${entry.id}`, { scope: 'audit:read' });
  await visit(200, 'GET', `/v1/customers/${entry.customerIds[0]}/audit-entries?client=test&cursors=true&sort=at`);
  const period = 'from=2026-06-01T00:00:00Z&to=2026-07-01T00:00:00Z';
  await visit(200, 'GET', `/v1/audit-entries?limit=1&after=${body.page.next}&kind=write&operation=createCustomer`);
  await visit(200, 'GET', `/v1/audit-entries?${period}&customerId=${entry.customerIds[0]}`);
  await visit(403, 'GET', '/v1/audit-entries', { scope: 'audit:write' });
  await visit(404, 'GET', `/v1/audit-entries/${entry.customerIds[0]}`);
}

async function tourChanges(visit: Visit): Promise<void> {
  const { body } = await visit(200, 'GET', '/v1/events/position', { scope: 'events:read' });
  await visit(200, 'GET', '/v1/events?limit=5&cursors=true&include=record&kind=customer,order&type=order.created');
  await visit(200, 'GET', `/v1/events?after=${body.position}&wait=0`);
  await visit(403, 'GET', '/v1/events?kind=order', { scope: 'events:read' });
  await visit(400, 'GET', '/v1/events?after=made.up');
}

async function tourPartners(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const made = await visit(201, 'POST', '/v1/partners', {
    body: { name: 'Riverside Dealers', rules: { acquired: true, consent: { purpose: 'partner_offers' } } },
  });
  const path = `/v1/partners/${made.body.id}`;
  await visit(200, 'GET', path, { scope: 'partners:read' });
  await visit(304, 'GET', path, unchanged(await visit(200, 'GET', path)));
  await visit(200, 'GET', '/v1/partners?status=active&sort=-createdAt&count=true&limit=1');
  await visit(200, 'PATCH', path, { body: { minimumGroupSize: 25, fields: ['Customer.name'] }, ...any });
  await visit(412, 'PATCH', path, { body: { name: 'x' }, headers: { 'If-Match': '"99"' } });
  await visit(422, 'PATCH', path, { body: { minimumGroupSize: 1 }, ...any });
  const { body: brought } = await visit(201, 'POST', '/v1/customers', {
    body: { name: 'B', acquiredBy: made.body.id },
  });
  const { body: customer } = await visit(201, 'POST', '/v1/customers', { body: { name: 'X' } });
  const shared = `${path}/customers/${customer.id}`;
  await visit(201, 'PUT', shared, { body: { writable: true } });
  await visit(200, 'PUT', shared, { body: {} });
  await visit(404, 'PUT', `${path}/customers/${made.body.id}`, { body: {} });
  await visit(200, 'POST', `${path}/customers/batch`, { body: { customers: [{ customerId: customer.id }, 3] } });
  await visit(200, 'GET', `${path}/customers?writable=true&limit=1&count=true&cursors=true`);
  await visit(200, 'GET', `${path}/customers?customerId=${customer.id}`, { scope: 'partners:read' });
  await visit(204, 'DELETE', shared);
  await visit(404, 'DELETE', shared);
  await visit(409, 'DELETE', path, any);
  await visit(204, 'DELETE', `/v1/customers/${brought.id}`, any);
  await visit(204, 'DELETE', path, any);
  await visit(404, 'GET', path);
  await visit(404, 'GET', `${path}/customers`);
  await visit(200, 'GET', '/v1/partner-fields', { scope: 'partners:read' });
}

async function tourImports(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const mapping = { name: { column: 'Name' } };
  const body = { name: 'Old', kind: 'customers', mapping };
  const saved = await visit(201, 'POST', '/v1/import-mappings', { body });
  const path = `/v1/import-mappings/${saved.body.id}`;
  await visit(304, 'GET', path, unchanged(await visit(200, 'GET', path)));
  await visit(200, 'PATCH', path, { body: { name: 'Older' }, ...any });
  await visit(200, 'GET', '/v1/import-mappings?count=true');
  const csv = { headers: { 'Content-Type': 'text/csv' } };
  const file = { ...csv, body: 'Name\nAda\n' };
  const query = `kind=customers&mappingId=${saved.body.id}`;
  const sent = await visit(201, 'POST', `/v1/imports?${query}`, file);
  await visit(422, 'POST', `/v1/imports?${query}`, { ...csv, body: 'Other\nAda\n' });
  await visit(422, 'POST', '/v1/imports?kind=customers', file);
  const at = `/v1/imports/${sent.body.id}`;
  await visit(304, 'GET', at, unchanged(await visit(200, 'GET', at)));
  await visit(200, 'GET', '/v1/imports?kind=customers&status=failed&count=true&limit=1');
  await visit(200, 'GET', `${at}/errors`);
  await visit(200, 'POST', `${at}/cancel`);
  await visit(204, 'DELETE', path, any);
  for (const kind of ['customers', 'orders', 'refunds', 'returns', 'interactions', 'campaigns']) {
    await visit(200, 'GET', `/v1/exports/${kind}`);
    await visit(200, 'GET', `/v1/exports/${kind}?format=csv`);
  }
}

async function tourRetention(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const body = { name: 'Chats', kind: 'interaction_text', after: 24, unit: 'months', conditions: { channel: 'chat' } };
  const rule = await visit(201, 'POST', '/v1/retention-rules', { body });
  await visit(422, 'POST', '/v1/retention-rules', { body: { ...body, kind: 'customer' } });
  const path = `/v1/retention-rules/${rule.body.id}`;
  const read = await visit(200, 'GET', path);
  await visit(304, 'GET', path, unchanged(read));
  await visit(200, 'PATCH', path, { body: { after: 12, enabled: true }, ...any });
  await visit(200, 'GET', '/v1/retention-rules?kind=interaction_text&enabled=true&count=true', {
    scope: 'retention:read',
  });
  await visit(201, 'POST', `${path}/run?dryRun=true`);
  const run = await visit(201, 'POST', `${path}/run`);
  const found = await visit(200, 'GET', `/v1/retention-runs/${run.body.id}`);
  await visit(304, 'GET', `/v1/retention-runs/${run.body.id}`, unchanged(found));
  await visit(200, 'GET', `/v1/retention-runs?ruleId=${rule.body.id}&status=queued&count=true&limit=1`);
  await visit(204, 'DELETE', path, any);
  await visit(404, 'POST', `${path}/run`);
}

async function tourSurveys(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const nps = { key: 'recommend', type: 'nps', text: 'Would you recommend us?', required: true };
  const questions = [
    nps,
    { key: 'content', type: 'csat', text: 'Are you content?', scale: { min: 1, max: 7, topBoxFrom: 6 } },
    { key: 'effort', type: 'ces', text: 'Was it easy?' },
    { key: 'what', type: 'multiple_choice', text: 'What?', options: [{ key: 'price', label: 'The price' }] },
    { key: 'why', type: 'text', text: 'Why?' },
  ];
  const settings = { triggers: [{ on: 'stage_entered', stage: 'customer' }], followUp: { withinDays: 2, owner: 'jo' } };
  const body = { name: 'After the purchase', status: 'open', questions, settings };
  const { body: survey } = await visit(201, 'POST', '/v1/surveys', { body });
  const unused = await visit(201, 'POST', '/v1/surveys', { body: { name: 'Draft', questions: [nps] } });
  await visit(422, 'POST', '/v1/surveys', { body: { name: 'Twice', questions: [nps, nps] } });
  const path = `/v1/surveys/${survey.id}`;
  await visit(304, 'GET', path, unchanged(await visit(200, 'GET', path)));
  await visit(200, 'GET', path, { scope: 'surveys:read' });
  await visit(200, 'PATCH', path, { body: { journeyStage: 'delivery', settings: { linkDays: 7 } }, ...any });
  await visit(412, 'PATCH', path, { body: { name: 'X' }, headers: { 'If-Match': '"99"' } });

  const answers = [
    { question: 'recommend', score: 3 },
    { question: 'content', score: 7 },
    { question: 'effort', score: 3 },
    { question: 'what', choices: ['price'] },
    { question: 'why', text: 'Too late' },
  ];
  const customer = { source: 'shop', externalId: 'scores' };
  const response = { submissionId: 'f1', answeredAt: '2026-05-28T09:41:00Z', customer, staff: 'maria', answers };
  const made = await visit(201, 'POST', `${path}/responses`, { body: response });
  await visit(409, 'POST', `${path}/responses`, { body: response });
  await visit(422, 'POST', `/v1/surveys/${unused.body.id}/responses`, { body: response });
  await visit(422, 'POST', `${path}/responses`, { body: { ...response, submissionId: 'f2', orderId: survey.id } });
  await visit(422, 'PATCH', path, { body: { questions: [{ ...nps, type: 'text' }] }, ...any });
  await visit(200, 'PATCH', path, { body: { questions: [nps] }, ...any });
  await visit(200, 'GET', `${path}/versions?count=true&cursors=true&limit=1`);
  await visit(409, 'DELETE', path, any);
  await visit(204, 'DELETE', `/v1/surveys/${unused.body.id}`, any);
  await visit(200, 'GET', '/v1/surveys?status=open&journeyStage=delivery&count=true&limit=1');
  await visit(200, 'POST', `${path}/responses/batch`, {
    body: { responses: [{ ...response, surveyVersion: 1 }, { ...response, submissionId: 'f3' }, {}] },
  });

  const own = `/v1/survey-responses/${made.body.id}`;
  await visit(304, 'GET', own, unchanged(await visit(200, 'GET', own)));
  await visit(200, 'GET', own, { scope: 'survey-responses:read' });
  await visit(200, 'PATCH', own, { body: { status: 'complete', department: 'support' }, ...any });
  await visit(412, 'PATCH', own, { body: { staff: 'jo' }, headers: { 'If-Match': '"99"' } });
  await visit(
    200,
    'GET',
    `/v1/survey-responses?surveyId=${survey.id}&band=detractor&question=recommend&q=late&count=true`,
  );
  await visit(403, 'GET', '/v1/survey-responses?q=late', { scope: 'survey-responses:read' });
  await visit(200, 'GET', `${path}/responses?staff=maria&scoreTo=3&late=false&cursors=true`);
  for (const person of [`/v1/customers/${made.body.customerId}`, '/v1/customers/external/shop/scores'])
    await visit(200, 'GET', `${person}/survey-responses?limit=1`);
  for (const metric of ['net-promoter-score', 'customer-satisfaction', 'customer-effort']) {
    await visit(200, 'GET', `/v1/metrics/${metric}?groupBy=staff&include=partial,late`);
    await visit(200, 'GET', `/v1/metrics/${metric}/members?groupBy=staff&group=maria&count=true&cursors=true&limit=1`);
    await visit(200, 'GET', `/v1/metrics/${metric}/reasons?include=partial,late&count=true&cursors=true&limit=1`);
  }
  await visit(404, 'GET', `/v1/metrics/net-promoter-score?surveyId=${unused.body.id}`);
  await visit(422, 'GET', `/v1/metrics/net-promoter-score?surveyId=${survey.id}&question=why`);
  await visit(204, 'DELETE', own, any);
  await visit(404, 'GET', own);
}

async function tourInteractions(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const document = {
    customer: { source: 'shop', externalId: '1' },
    kind: 'phone',
    direction: 'inbound',
    occurredAt: '2026-05-28T09:41:00Z',
    topic: 'delivery',
    text: 'Where is my parcel?',
    seconds: 340,
    cost: 420,
  };
  const named = { ...document, source: 'hotline', externalId: 'c1' };
  const created = await visit(201, 'POST', '/v1/interactions', { body: named });
  await visit(201, 'POST', '/v1/interactions', { body: { ...document, kind: 'web_visit', pages: 4 } });
  await visit(409, 'POST', '/v1/interactions', { body: named });
  await visit(422, 'POST', '/v1/interactions', { body: { ...document, orderId: created.body.id } });
  await visit(201, 'PUT', '/v1/interactions/external/hotline/c2', { body: document });
  await visit(200, 'PUT', '/v1/interactions/external/hotline/c2', { body: { ...document, outcome: 'solved' } });
  for (const path of [`/v1/interactions/${created.body.id}`, '/v1/interactions/external/hotline/c1']) {
    await visit(304, 'GET', path, unchanged(await visit(200, 'GET', path)));
    await visit(200, 'GET', path, { scope: 'interactions:read' });
    await visit(200, 'PATCH', path, { body: { outcome: 'solved' }, ...any });
  }
  await visit(200, 'POST', '/v1/interactions/batch', {
    body: { interactions: [{ ...named, externalId: 'c3' }, document, { ...document, kind: 'telepathy' }] },
  });
  await visit(200, 'GET', '/v1/interactions?limit=1&count=true&kind=phone&q=parcel');
  await visit(403, 'GET', '/v1/interactions?q=parcel', { scope: 'interactions:read' });
  for (const path of [`/v1/customers/${created.body.customerId}`, '/v1/customers/external/shop/1']) {
    await visit(200, 'GET', `${path}/interactions?limit=1`);
    await visit(200, 'GET', `${path}/summary`);
  }
  await visit(204, 'DELETE', '/v1/interactions/external/hotline/c2', any);
  await visit(204, 'DELETE', `/v1/interactions/${created.body.id}`, any);
}

async function tourLoyaltyProgrammes(visit: Visit, any: Any): Promise<void> {
  const level = { key: 'basic', name: 'Basic', threshold: 0, multiplier: 1 };
  const rules = {
    pointsPerUnit: 1,
    pointValue: 0.5,
    tiers: { basis: 'spend', windowDays: 365, periodDays: 365, graceDays: 30, levels: [level] },
    categories: [{ category: 'Gift cards', multiplier: 0 }],
  };
  const programmes = '/v1/loyalty/programmes';
  const made = await visit(201, 'POST', programmes, { body: { name: 'Friends', rules } });
  const at = `${programmes}/${made.body.id}`;
  await visit(422, 'POST', programmes, { body: { name: 'Friends', rules: { ...rules, expiryDays: 0 } } });
  await visit(409, 'GET', `/v1/loyalty/tiers?programmeId=${made.body.id}`);
  await visit(409, 'POST', `${at}/end`, any);
  await visit(200, 'GET', at);
  await visit(200, 'GET', `${programmes}?limit=1&count=true&cursors=true&status=draft`);
  await visit(200, 'PATCH', at, { body: { name: 'Best friends', rules }, ...any });
  const published = await visit(200, 'POST', `${at}/publish`, { body: { validFrom: '2026-01-01T00:00:00Z' }, ...any });
  await visit(412, 'POST', `${at}/publish`, { headers: { 'If-Match': '"99"' } });
  await visit(409, 'DELETE', at, any);
  await visit(200, 'GET', `${at}/versions?limit=1&count=true`);
  const period = { from: '2026-05-01T00:00:00Z', to: '2026-06-01T00:00:00Z' };
  await visit(200, 'POST', `${at}/preview`, { body: { ...period, rules, population: 'everyone' } });
  await visit(200, 'POST', `${at}/preview`, { body: period });
  await visit(200, 'GET', `/v1/loyalty/tiers?programmeId=${made.body.id}`);
  await visit(200, 'GET', `/v1/loyalty/candidates?programmeId=${made.body.id}&limit=1&cursors=true`);
  await visit(200, 'PATCH', at, { body: { rules: { ...rules, tiers: null } }, ...any });
  await visit(422, 'POST', `${at}/publish`, any);
  t.equal(published.body.currentVersion.number, 1);
  await visit(200, 'POST', `${at}/end`, any);
  await visit(409, 'POST', `${at}/end`, any);
  const other = await visit(201, 'POST', programmes, { body: { name: 'Others', rules } });
  await visit(204, 'DELETE', `${programmes}/${other.body.id}`, any);
  await visit(404, 'GET', `${programmes}/${other.body.id}`);
}

async function tourLoyalty(visit: Visit, any: Any): Promise<void> {
  const levels = [{ key: 'basic', name: 'Basic', threshold: 0, multiplier: 1 }];
  const tiers = { basis: 'spend', windowDays: 30, periodDays: 30, graceDays: 0, levels };
  const rules = { pointsPerUnit: 1, pointValue: 0.5, bonuses: { welcome: 100 }, tiers };
  const programme = await visit(201, 'POST', '/v1/loyalty/programmes', { body: { name: 'Club', rules } });
  const validFrom = '2026-01-01T00:00:00Z';
  await visit(200, 'POST', `/v1/loyalty/programmes/${programme.body.id}/publish`, { body: { validFrom }, ...any });
  const body = { programmeId: programme.body.id, joinedAt: '2026-05-01T00:00:00Z' };
  const reference = { source: 'shop', externalId: 'member' };
  const byName = await visit(201, 'PUT', '/v1/customers/external/shop/member', { body: { name: 'Grace' } });
  const byId = await visit(201, 'POST', '/v1/customers', { body: { name: 'Ada' } });
  const named = '/v1/customers/external/shop/member/loyalty';
  const own = `/v1/customers/${byId.body.id}/loyalty`;
  await visit(404, 'GET', own);
  await visit(201, 'POST', own, { body });
  await visit(409, 'POST', own, { body });
  await visit(201, 'POST', named, { body });
  for (const at of [own, named]) {
    await visit(200, 'GET', at);
    await visit(200, 'GET', `${at}?details=true&asOf=2026-12-01T00:00:00Z`);
    await visit(200, 'PUT', `${at}/tier`, { body: { tier: 'basic', reason: 'VIP' } });
    await visit(422, 'PUT', `${at}/tier`, { body: { tier: 'none', reason: 'VIP' } });
    await visit(200, 'GET', `${at}/tier-changes?limit=1&count=true`);
    await visit(200, 'GET', `${at}/transactions?limit=1&count=true&cursors=true&sort=-at`);
  }
  const all = '/v1/loyalty/transactions';
  const spend = { kind: 'spend', customer: reference, points: 30, externalId: 's-1' };
  const spent = await visit(201, 'POST', all, { body: spend });
  await visit(409, 'POST', all, { body: spend });
  await visit(422, 'POST', all, { body: { kind: 'spend', customerId: byId.body.id, points: 101 } });
  await visit(201, 'POST', all, {
    body: { kind: 'transfer', customerId: byName.body.id, toCustomerId: byId.body.id, points: 5 },
  });
  await visit(200, 'POST', `${all}/batch`, {
    body: { transactions: [{ kind: 'adjust', customer: reference, points: 5, reason: 'gift', externalId: 'a-1' }, {}] },
  });
  await visit(200, 'GET', `${all}?limit=1&kind=spend&sort=createdAt`);
  await visit(200, 'GET', `${all}/${spent.body.id}`);
  await visit(201, 'POST', `${all}/${spent.body.id}/undo`);
  await visit(409, 'POST', `${all}/${spent.body.id}/undo`);
  await visit(200, 'GET', `/v1/loyalty/members?programmeId=${programme.body.id}&limit=1&count=true&cursors=true`);
  const liability = '/v1/metrics/loyalty-liability';
  await visit(200, 'GET', `${liability}?groupBy=expiry_month&interval=month&from=2026-01-01&asOf=2027-01-01`);
  await visit(200, 'GET', `${liability}/members?groupBy=tier&group=&count=true&cursors=true&limit=1`);
}

async function tourRewards(visit: Visit, any: Any, unchanged: Unchanged): Promise<void> {
  const rules = { pointsPerUnit: 1, pointValue: 0.5, bonuses: { welcome: 100 } };
  const programme = await visit(201, 'POST', '/v1/loyalty/programmes', { body: { name: 'Rewards', rules } });
  const programmeId = programme.body.id;
  await visit(201, 'POST', '/v1/loyalty/rewards', { body: { programmeId, name: 'Cup', points: 1 } });
  await visit(409, 'DELETE', `/v1/loyalty/programmes/${programmeId}`, any);
  await visit(200, 'POST', `/v1/loyalty/programmes/${programmeId}/publish`, any);
  const { body: owner } = await visit(201, 'PUT', '/v1/customers/external/shop/redeemer', { body: { name: 'Grace' } });
  await visit(201, 'POST', `/v1/customers/${owner.id}/loyalty`, { body: { programmeId } });

  const rewards = '/v1/loyalty/rewards';
  const body = { programmeId, name: 'Watering can', points: 40, stock: 5, limitPerCustomer: 2 };
  const made = await visit(201, 'POST', rewards, { body });
  const path = `${rewards}/${made.body.id}`;
  await visit(422, 'POST', rewards, { body: { ...body, tier: 'none' } });
  await visit(200, 'GET', path);
  await visit(200, 'GET', `${path}?customerId=${owner.id}`);
  await visit(200, 'PATCH', path, { body: { description: 'Zinc', availableFrom: '2026-01-01T00:00:00Z' }, ...any });
  await visit(412, 'PATCH', path, { body: { points: 1 }, headers: { 'If-Match': '"99"' } });
  const query = `programmeId=${programmeId}&available=true&customerId=${owner.id}&count=true&cursors=true&limit=1`;
  await visit(200, 'GET', `${rewards}?${query}`);

  const redemptions = '/v1/loyalty/redemptions';
  const customer = { source: 'shop', externalId: 'redeemer' };
  const taken = await visit(201, 'POST', redemptions, { body: { customer, rewardId: made.body.id } });
  await visit(422, 'POST', redemptions, { body: { customer, rewardId: made.body.id, quantity: 2 } });
  const own = `${redemptions}/${taken.body.id}`;
  await visit(304, 'GET', own, unchanged(await visit(200, 'GET', own)));
  await visit(200, 'POST', `${own}/fulfil`);
  await visit(409, 'POST', `${own}/fulfil`);
  await visit(200, 'POST', `${own}/cancel`, { body: { reason: 'broken' } });
  await visit(409, 'POST', `${own}/cancel`);
  await visit(200, 'GET', own, { scope: 'loyalty:read' });
  await visit(200, 'GET', `${redemptions}?customerId=${owner.id}&status=cancelled&count=true&cursors=true&limit=1`);
  for (const person of [`/v1/customers/${owner.id}`, '/v1/customers/external/shop/redeemer'])
    await visit(200, 'GET', `${person}/redemptions?limit=1`);
  await visit(409, 'DELETE', path, any);
  const other = await visit(201, 'POST', rewards, { body });
  await visit(204, 'DELETE', `${rewards}/${other.body.id}`, any);
  await visit(404, 'GET', `${rewards}/${other.body.id}`);
}
