import pg from 'pg';
import t from 'tap';
import { fillTerms, termDifferences } from '../../../src/features/customers/fill-terms.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import type { Services } from '../../../src/platform/operation.ts';
import { testApp } from '../../support/app.ts';
import type { Json } from '../../support/segment-oracle.ts';

/** Searching customers by words. */

const api = await testApp(t, { clock: () => '2026-06-01T12:00:00.000Z' });
const client = new pg.Client(api.connection);
await client.connect();
t.teardown(() => client.end());

async function create(body: Json): Promise<Json> {
  const answer = await api.request('POST', '/v1/customers', { body });
  if (answer.status !== 201) throw new Error(JSON.stringify(answer.body));
  return answer.body;
}

async function found(q: string, more: Json = {}): Promise<string[]> {
  const { status, body } = await api.request('POST', '/v1/customers/search', { body: { q, limit: 100, ...more } });
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body.data.map(({ name }: Json) => name ?? '–').sort();
}

const email = (value: string) => ({ kind: 'email', value });
const phone = (value: string) => ({ kind: 'phone', value });
const novak = await create({
  name: 'Jan Novák',
  identities: [email('jan.novak@Example.org'), phone('+420 608 123 456'), { kind: 'handle', value: '@JanN' }],
  references: [{ source: 'shop', externalId: 'C-1001/a' }],
});
await create({ name: 'Zofie Novotná-Králová', identities: [phone('+49 30 1234567')] });
await create({ name: 'Анна Йорданова', identities: [email('anna@пример.рф')] });
await create({
  kind: 'company',
  name: 'Großmann & Söhne GmbH',
  references: [{ source: 'erp', externalId: '0017850' }],
});
await create({ givenName: 'Łukasz', familyName: "O'Brien" });
await create({ name: '李小龙' });
await create({ name: 'Øystein İlker Ærø' });

t.test('words of names, whatever their case and accents', async (t) => {
  for (const [q, names] of Object.entries({
    novak: ['Jan Novák'],
    NOVÁK: ['Jan Novák'],
    nov: ['Jan Novák', 'Zofie Novotná-Králová'],
    'nov ja': ['Jan Novák'],
    'jan  novak': ['Jan Novák'],
    kral: ['Zofie Novotná-Králová'],
    'novotna-kralova': ['Zofie Novotná-Králová'],
    анна: ['Анна Йорданова'],
    йордан: ['Анна Йорданова'],
    иор: [],
    grossmann: ['Großmann & Söhne GmbH'],
    sohne: ['Großmann & Söhne GmbH'],
    lukasz: ['–'],
    "o'bri": ['–'],
    obrien: ['–'],
    brien: ['–'],
    李小: ['李小龙'],
    oyst: ['Øystein İlker Ærø'],
    'ilker aero': ['Øystein İlker Ærø'],
    'nova k': [],
    '%': null,
    _: null,
    'nov%': ['Jan Novák', 'Zofie Novotná-Králová'],
    '\\': null,
  })) {
    if (names) t.same(await found(q), names, q);
    else
      t.match(
        await api.request('POST', '/v1/customers/search', { body: { q } }),
        { status: 422, body: { errors: [{ pointer: '/q', code: 'no_words' }] } },
        q,
      );
  }
});

t.test('e-mails, phones, handles and references', async (t) => {
  for (const q of [
    'jan.novak@exam',
    'JAN.NOVAK@EXAMPLE.ORG',
    'example.org',
    '+420608123',
    '00420 608',
    '608 123 456',
    '0608123456',
    '+420 608 123 456',
    '@jann',
    'c-1001',
    'C-1001/a',
    'c1001a',
    '1001',
  ])
    t.same(await found(q), ['Jan Novák'], q);
  t.same(await found('030 123'), ['Zofie Novotná-Králová']);
  t.same(await found('0017850'), ['Großmann & Söhne GmbH'], 'a reference as it is written');
});

t.test('typing errors, only of names, and only where nobody has the word', async (t) => {
  const { rows } = await client.query(`select to_regclass('customer_terms_fuzzy') is not null as there`);
  if (!rows[0].there) return t.comment('the server has no pg_trgm');
  t.same(await found('novka'), ['Jan Novák'], 'swapped');
  t.same(await found('grosman'), ['Großmann & Söhne GmbH'], 'two left out');
  t.same(await found('novottna'), ['Zofie Novotná-Králová'], 'one too many');
  t.same(await found('xyzzy'), []);
  t.same(await found('exampel.org'), [], 'not of e-mails');
  await client.query('drop index customer_terms_fuzzy');
  t.same(await found('novka'), [], 'without the index');
  t.same(await found('novak'), ['Jan Novák'], 'words as they are need no extension');
});

t.test('both doors, with a tree, an order and pages', async (t) => {
  const filter = { field: 'kind', op: 'eq', value: 'person' };
  t.same(await found('n', { filter }), ['Jan Novák', 'Zofie Novotná-Králová']);
  const { body } = await api.graphql(
    'query($q: String) { customers(q: $q, first: 1, sort: CREATED_AT_ASC) { totalCount nodes { name } pageInfo { hasNextPage endCursor } } }',
    { q: 'nov' },
  );
  t.match(body.data.customers, { totalCount: 2, nodes: [{ name: 'Jan Novák' }], pageInfo: { hasNextPage: true } });
  const after = body.data.customers.pageInfo.endCursor;
  const next = await api.request('POST', '/v1/customers/search', { body: { q: 'nov', sort: 'createdAt', after } });
  t.same(
    next.body.data.map(({ name }: Json) => name),
    ['Zofie Novotná-Králová'],
  );
  const other = await api.request('POST', '/v1/customers/search', { body: { q: 'novo', sort: 'createdAt', after } });
  t.match(other, { status: 400, body: { code: 'invalid_cursor' } }, 'a cursor belongs to its search');
  t.equal((await api.request('GET', '/v1/customers?q=nov')).body.data.length, 2);
});

t.test('needs customers:pii, is in the audit and never in the log', async (t) => {
  const lines: string[] = [];
  const logged = await testApp(t, { beside: api, env: { LOG_LEVEL: 'trace' }, log: (line) => lines.push(line) });
  const scope = 'customers:read orders:read';
  for (const answer of [
    await logged.request('POST', '/v1/customers/search', { scope, body: { q: 'novak' } }),
    await logged.request('GET', '/v1/customers?q=novak', { scope }),
  ])
    t.match(answer, { status: 403, body: { code: 'insufficient_scope', scope: 'customers:pii' } });
  const graphql = await logged.graphql('{ customers(q: "novak") { nodes { id } } }', {}, { scope });
  t.match(graphql.body.errors, [{ extensions: { code: 'insufficient_scope' } }]);
  await logged.request('POST', '/v1/customers/search', { body: { q: 'quixotic' } });
  await logged.request('GET', '/v1/customers?q=quixotic');
  t.notMatch(lines.join('\n'), /quixotic|novak/);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const { body } = await api.request('GET', '/v1/audit-entries?limit=10');
  const searches = body.data.filter(({ members }: Json) => members.includes('q'));
  t.ok(searches.length >= 2, 'a search that finds nobody is in it');
  t.notMatch(JSON.stringify(body.data), /quixotic/);
});

t.test('scoped tokens search nobody', async (t) => {
  const partner = (await api.request('POST', '/v1/partners', { body: { name: 'Dealers', rules: { acquired: true } } }))
    .body.id;
  for (const scoped of [{ partner }, { customer: novak['id'] as string }]) {
    for (const body of [{ q: 'nov' }, { filter: { field: 'kind', op: 'eq', value: 'person' } }, { sort: '-revenue' }]) {
      t.match(
        await api.request('POST', '/v1/customers/search', { body, ...scoped }),
        { status: 403 },
        JSON.stringify(body),
      );
    }
  }
});

const words = async (id: string) =>
  (await client.query('select term from customer_terms where customer_id = $1 order by 1', [id])).rows.map(
    ({ term }) => term,
  );

t.test('words follow the customer: changed, merged, parted, erased, deleted', async (t) => {
  const one = await create({ name: 'Quentin', references: [{ source: 'shop', externalId: 'Q1' }] });
  const two = await create({ name: 'Quincy', identities: [email('quincy@example.org')] });
  await api.request('PATCH', `/v1/customers/${one['id']}`, { headers: { 'If-Match': '*' }, body: { name: 'Querida' } });
  t.same(await found('quentin'), []);
  t.same(await found('querida'), ['Querida']);
  const merge = await api.request('POST', `/v1/customers/${one['id']}/merge`, { body: { customerId: two['id'] } });
  t.equal(merge.status, 200, JSON.stringify(merge.body));
  t.same(await found('quincy@'), ['Querida'], 'the survivor is found by what the other had');
  t.same(await words(String(two['id'])), []);
  const merges = (await api.request('GET', `/v1/customers/${one['id']}/merges`)).body.data;
  const undone = await api.request('POST', `/v1/customers/${one['id']}/unmerge`, { body: { mergeId: merges[0].id } });
  t.equal(undone.status, 200, JSON.stringify(undone.body));
  t.same(await found('quincy@'), ['Quincy']);
  const db = poolDb(openedPool);
  t.same(await termDifferences(db, 10), []);
  const erased = await api.request('POST', `/v1/customers/${two['id']}/erase`, { body: {} });
  t.equal(erased.status, 200, JSON.stringify(erased.body));
  t.same(await found('quincy'), []);
  t.same(await words(String(two['id'])), []);
  await api.request('DELETE', `/v1/customers/${one['id']}`, { headers: { 'If-Match': '*' } });
  await api.request('PUT', '/v1/orders/external/shop/O1', {
    body: {
      customer: { source: 'shop', externalId: 'W1', name: 'Wolfram', email: 'wolf@example.org' },
      placedAt: '2026-05-01T00:00:00Z',
      currency: 'EUR',
      total: 100,
      paymentStatus: 'paid',
      items: [{ sku: 'A', quantity: 1, total: 100 }],
    },
  });
  t.same(await found('wolf'), ['Wolfram'], 'customers of orders are found, too');
  t.same(await termDifferences(db, 10), []);
});

const openedPool = openPool(api.connection, { size: 2, statementTimeout: 30_000 });
t.teardown(() => openedPool.end());

t.test('a store of the version before is filled; until then searches are refused', async (t) => {
  const db = poolDb(openedPool);
  await client.query(`delete from customer_terms`);
  await client.query(`delete from deployment_settings where key = 'FILL terms'`);
  t.match(await api.request('POST', '/v1/customers/search', { body: { q: 'novak' } }), {
    status: 503,
    body: { code: 'unavailable' },
  });
  t.ok((await termDifferences(db, 100)).length > 5, 'verify-rollups would tell');
  const log = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };
  const services = { db, pool: openedPool } as unknown as Services; // what the job uses
  await fillTerms.run(
    services,
    {},
    { now: '2026-06-01T12:00:00.000Z', attempt: 1, signal: new AbortController().signal, log },
  );
  t.same(await termDifferences(db, 100), []);
  t.same(await found('novak'), ['Jan Novák']);
});
