import pg from 'pg';
import t from 'tap';
import { resolvers, routes } from '../../src/features.ts';
import { guide } from '../../src/guide.ts';
import { openApiDocument } from '../../src/platform/http/openapi.ts';
import { printSdl } from '../../src/records/sdl.ts';
import { testApp } from './app.ts';

/** Run by test/records/planted-field.test.ts, which plants `Customer.nickname` in the definition: one line. */

const sdl = printSdl(resolvers);
const { request, graphql, connection } = await testApp(t, { contract: { routes, resolvers, sdl } });
const database = new pg.Client(connection);
await database.connect();
t.teardown(() => database.end());
await database.query('alter table customers add column nickname text');

let made = 0;
async function customer(members: object = {}) {
  made += 1;
  const references = [{ source: 'crm', externalId: `c-${made}` }];
  const { status, body } = await request('POST', '/v1/customers', {
    body: { name: `Customer ${made}`, references, ...members },
  });
  t.equal(status, 201, JSON.stringify(body));
  return body;
}
const blind = { scope: 'customers:read' };

t.test('create, patch, replace, batch: what is answered is what is stored', async (t) => {
  const { id, nickname, references } = await customer({ nickname: 'Ada' });
  t.equal(nickname, 'Ada');
  const path = `/v1/customers/${id}`;
  const patched = await request('PATCH', path, { body: { nickname: 'Countess' }, headers: { 'If-Match': '"1"' } });
  t.equal(patched.body.nickname, 'Countess');
  t.equal((await request('GET', path)).body.nickname, 'Countess');
  await request('PATCH', path, { body: { locale: 'en' }, headers: { 'If-Match': '*' } });
  t.equal((await request('GET', path)).body.nickname, 'Countess', 'left out, it stays');
  const [{ source, externalId }] = references;
  await request('PUT', `/v1/customers/external/${source}/${externalId}`, { body: { name: 'Ada' } });
  t.equal((await request('GET', path)).body.nickname, null, 'a replacement clears it');
  await request('POST', '/v1/customers/batch', {
    body: { customers: [{ name: 'Ada', nickname: 'Batch', references: [{ source, externalId }] }] },
  });
  t.equal((await request('GET', path)).body.nickname, 'Batch');
  t.equal(
    (await request('PATCH', path, { body: { nickname: 'x'.repeat(101) }, headers: { 'If-Match': '*' } })).status,
    422,
  );
});

t.test('lists filter and sort by it; without customers:pii it is masked and nobody selects by it', async (t) => {
  const { id } = await customer({ nickname: 'Zz-last' });
  const found = await request('GET', '/v1/customers?nickname=Zz-last');
  t.same(
    found.body.data.map((one: { id: string }) => one.id),
    [id],
  );
  const sorted = await request('GET', '/v1/customers?sort=nickname&limit=1');
  t.equal(sorted.status, 200);
  t.equal((await request('GET', `/v1/customers/${id}`, blind)).body.nickname, null);
  t.equal((await request('GET', '/v1/customers?nickname=Zz-last', blind)).status, 403);
  t.equal((await request('GET', '/v1/customers?sort=nickname', blind)).status, 403);
  const over = await graphql(`{ customer(id: "${id}") { nickname } }`, {}, blind);
  t.same(over.body.data.customer, { nickname: null });
});

t.test('both contracts have it', async (t) => {
  const { components } = openApiDocument(routes, guide) as {
    components: { schemas: Record<string, { properties: object }> };
  };
  for (const schema of ['Customer', 'CustomerInput', 'CustomerPatch']) {
    t.ok('nickname' in (components.schemas[schema]?.properties ?? {}), schema);
  }
  t.match(sdl, /type Customer \{[^}]*nickname: String/s);
});

t.test('a merge fills the gap and undoes it; export tells it, and erasing clears it', async (t) => {
  const survivor = await customer();
  const other = await customer({ nickname: 'Merged' });
  const merged = await request('POST', `/v1/customers/${survivor.id}/merge`, { body: { customerId: other.id } });
  t.equal(merged.status, 200, JSON.stringify(merged.body));
  t.equal((await request('GET', `/v1/customers/${survivor.id}`)).body.nickname, 'Merged');
  await request('POST', `/v1/customers/${survivor.id}/unmerge`, { body: { mergeId: merged.body.id } });
  t.equal((await request('GET', `/v1/customers/${survivor.id}`)).body.nickname, null);
  t.equal((await request('GET', `/v1/customers/${other.id}`)).body.nickname, 'Merged');
  const told = await request('GET', `/v1/customers/${other.id}/export`);
  t.match(told.body.sections.customer.records, [{ nickname: 'Merged' }]);
  await request('POST', `/v1/customers/${other.id}/erase`, { body: {} });
  const { rows } = await database.query('select nickname from customers where id = $1', [other.id]);
  t.same(rows, [{ nickname: null }]);
});
