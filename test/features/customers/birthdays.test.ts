import pg from 'pg';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey } from '../../support/shop.ts';

/* Many shops ask for the day of birth without the year: `--02-14`. It reads everywhere as it was sent. */

const api = await testApp(t);
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

async function make(path: string, body: unknown): Promise<any> {
  const answer = await request('POST', path, { body, headers: newKey() });
  if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const at = (name: string) => `/v1/customers/external/shop/${name}`;
const born = async (birthday: string | null, more: object = {}): Promise<any> =>
  (await request('PUT', at(fresh('born')), { body: { name: 'Ada', birthday, ...more } })).body;
const birthdayOf = async (id: string) => (await request('GET', `/v1/customers/${id}`)).body.birthday;

t.test('is written and read on both doors', async (t) => {
  for (const birthday of ['--02-14', '--02-29', '--12-31', '1992-02-29', '1000-01-01']) {
    const { id, birthday: answered } = await make('/v1/customers', { name: 'Ada', birthday });
    t.equal(answered, birthday);
    t.equal(await birthdayOf(id), birthday);
    const same = await request('PATCH', `/v1/customers/${id}`, { body: { birthday }, headers: { 'If-Match': '*' } });
    t.equal(same.body.birthday, birthday);
    const other = await request('PATCH', `/v1/customers/${id}`, {
      body: { birthday: '--02-28' },
      headers: { 'If-Match': '*' },
    });
    t.equal(other.body.birthday, '--02-28');
    const none = await request('PATCH', `/v1/customers/${id}`, {
      body: { birthday: null },
      headers: { 'If-Match': '*' },
    });
    t.equal(none.body.birthday, null);

    const externalId = fresh('put');
    const put = (body: object) => request('PUT', at(externalId), { body: { name: 'Ada', ...body } });
    t.match(await put({ birthday }), { status: 201, body: { birthday } });
    t.match(await put({ birthday }), { status: 200, body: { birthday } });
    const references = [{ source: 'shop', externalId }];
    const batch = await make('/v1/customers/batch', { customers: [{ name: 'Ada', references, birthday }] });
    t.equal(batch.results[0].status, 'updated');
    t.match(await put({}), { status: 200, body: { birthday: null } }, 'left out is cleared');

    const written = await graphql(
      `mutation ($reference: ReferenceInput!, $input: CustomerInput!) {
        upsertCustomer(reference: $reference, input: $input) { applied customer { id birthday } } }`,
      { reference: references[0], input: { name: 'Ada', birthday } },
    );
    t.match(written.body, { data: { upsertCustomer: { applied: true, customer: { birthday } } } });
    const inline = await graphql(
      `mutation { createCustomer(input: { name: "Ada", birthday: "${birthday}" }) { customer { id birthday } } }`,
    );
    t.match(inline.body, { data: { createCustomer: { customer: { birthday } } } });
    const listed = await graphql('{ customers(first: 100) { nodes { id birthday } } }');
    const { customer } = inline.body.data.createCustomer;
    t.strictSame(
      listed.body.data.customers.nodes.find((one: any) => one.id === customer.id),
      customer,
    );
    const { data } = (await request('GET', '/v1/customers?limit=100')).body;
    t.equal(data.find((one: any) => one.id === customer.id).birthday, birthday, 'in lists');
    const masked = await request('GET', `/v1/customers/${customer.id}`, { scope: 'customers:read' });
    t.equal(masked.body.birthday, null);
  }
});

t.test('what is no day is refused on both doors', async (t) => {
  for (const birthday of [
    '--02-30',
    '--04-31',
    '--13-01',
    '--00-10',
    '--2-14',
    '-02-14',
    '0004-02-14',
    '0999-12-31',
    '1900-02-29',
    '02-14',
    '',
  ]) {
    const answer = await request('POST', '/v1/customers', { body: { name: 'Ada', birthday } });
    t.match(answer, { status: 422, body: { errors: [{ pointer: '/birthday', code: 'invalid_format' }] } }, birthday);
    const { body } = await graphql(
      'mutation ($input: CustomerInput!) { createCustomer(input: $input) { customer { id } } }',
      { input: { name: 'Ada', birthday } },
    );
    t.match(body.errors, [{ extensions: { code: 'invalid_input' } }], birthday);
  }
  // Other dates have years.
  const { status } = await request('GET', '/v1/metrics/average-order-value?from=--02-01&to=2026-04-01');
  t.equal(status, 422);
});

t.test('is exported, and gone after erasing', async (t) => {
  const { id } = await born('--02-29');
  const { sections } = (await request('GET', `/v1/customers/${id}/export`)).body;
  t.match(sections.customer.records, [{ birthday: '--02-29' }]);
  const page = await request('GET', `/v1/customers/${id}/export?format=html`);
  t.ok(page.body.includes('--02-29'));
  t.notOk(page.body.includes('0004'));
  await make(`/v1/customers/${id}/erase`, {});
  t.equal(await birthdayOf(id), null);
  const { rows } = await database.query('select birthday from customers where id = $1', [id]);
  t.strictSame(rows, [{ birthday: null }]);
});

t.test('conditions of lead scores see the day as it is sent, and no year', async (t) => {
  const { id } = await make('/v1/leads', { customer: { source: 'shop', externalId: fresh('lead') } });
  const rule = (name: string, when: object) => ({
    name,
    group: 'fit',
    points: 1,
    when: [{ field: 'birthday', ...when }],
  });
  const set = await make('/v1/lead-rule-sets', {
    name: 'Birthdays',
    document: {
      rules: [
        rule('known', { exists: true }),
        rule('leap day', { oneOf: ['--02-29'] }),
        rule('stored', { oneOf: ['0004-02-29'] }),
        rule('number', { atLeast: 0 }),
      ],
      grades: { A: 3, B: 2, C: 1 },
    },
  });
  await request('PATCH', `/v1/customers/${id}`, { body: { birthday: '--02-29' }, headers: { 'If-Match': '*' } });
  const { body } = await request('GET', `/v1/leads/${id}/score?ruleSetId=${set.id}`);
  const { contributions } = body.rule;
  t.strictSame(
    contributions.map((one: any) => one.rule),
    ['known', 'leap day'],
  );
  t.strictSame(contributions[0].profile, [{ field: 'birthday', value: '--02-29' }]);
});

t.test('of two birthdays on one day the one with a year stays; of others the one of the survivor', async (t) => {
  const cases: [string | null, string | null, string][] = [
    ['--02-14', '1990-02-14', '1990-02-14'],
    ['1990-02-14', '--02-14', '1990-02-14'],
    ['--02-29', '1992-02-29', '1992-02-29'],
    ['--02-14', '1990-02-15', '--02-14'],
    ['1990-02-14', '1991-02-14', '1990-02-14'],
    ['--02-14', null, '--02-14'],
    [null, '--02-29', '--02-29'],
  ];
  for (const [own, others, result] of cases) {
    const label = `${own} and ${others}`;
    const [survivor, other] = [await born(own), await born(others)];
    const path = `/v1/customers/${survivor.id}`;
    const preview = await make(`${path}/merge/preview`, { customerId: other.id });
    const decision = preview.decisions.find(({ member }: any) => member === 'birthday');
    const from = result === own ? 'survivor' : 'other';
    if (others) t.match(decision, { from, survivor: own, other: others, result }, label);
    const merge = await make(`${path}/merge`, { customerId: other.id });
    t.equal(await birthdayOf(survivor.id), result, label);
    t.strictSame((await make(`${path}/unmerge`, { mergeId: merge.id })).kept, [], label);
    t.strictSame([await birthdayOf(survivor.id), await birthdayOf(other.id)], [own, others], label);
  }
  const [survivor, other] = [await born('1990-02-14'), await born('--02-14')];
  await make(`/v1/customers/${survivor.id}/merge`, { customerId: other.id, take: ['birthday'] });
  t.equal(await birthdayOf(survivor.id), '--02-14', 'what is taken is taken');
});
