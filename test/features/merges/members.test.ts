import pg from 'pg';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { stockHouse } from '../../support/people.ts';
import { newKey } from '../../support/shop.ts';

/* No member of a customer is forgotten by a merge: the columns are those of the database, whatever the definitions say. */

const api = await testApp(t, { clock: () => '2026-06-10T12:00:00.000Z' });
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

async function make(path: string, body: unknown): Promise<any> {
  const answer = await api.request('POST', path, { body, headers: newKey() });
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const house = await stockHouse(api);
const partner = await make('/v1/partners', { name: 'Riverside', rules: {} });
const others: Record<string, string> = {
  company_id: house.company,
  referred_by: house.referrer,
  acquired_by: partner.id,
};
/** Of the row itself, or the same of both. */
const own = ['id', 'version', 'kind', 'created_at', 'updated_at', 'erased_at', 'erased_fields'];

const { rows: columns } = await database.query<{ name: string; type: string }>(
  `select column_name as name, data_type as type from information_schema.columns
   where table_name = 'customers' and not column_name = any($1)`,
  [own],
);
const values: Record<string, string> = {
  text: 'sms',
  date: '2026-02-01',
  jsonb: '{"country": "GB"}',
  bigint: '5',
  integer: '5',
  ARRAY: '{regular}',
};

async function filled(): Promise<string> {
  const { id } = await make('/v1/customers', { name: 'Filled' });
  for (const { name, type } of columns) {
    await database.query(`update customers set ${name} = $2 where id = $1`, [id, others[name] ?? values[type]]);
  }
  return id;
}

async function rowOf(id: string): Promise<Record<string, unknown>> {
  const { rows } = await database.query(`select to_jsonb(c) as row from customers c where id = $1`, [id]);
  for (const name of own) delete rows[0].row[name];
  return rows[0].row;
}

t.test('the other fills every gap', async (t) => {
  const other = await filled();
  const survivor = (await make('/v1/customers', { references: [{ source: 'shop', externalId: 'empty' }] })).id;
  const before = await rowOf(survivor);
  const expected = await rowOf(other);
  t.ok(Object.values(expected).every((value) => value !== null));
  const { id } = await make(`/v1/customers/${survivor}/merge`, { customerId: other });
  t.strictSame(await rowOf(survivor), expected);
  t.strictSame((await make(`/v1/customers/${survivor}/unmerge`, { mergeId: id })).kept, []);
  t.strictSame(await rowOf(survivor), before);
});

t.test('every member can be taken from the other', async (t) => {
  const survivor = await filled();
  const changed: Record<string, string> = {
    text: 'post',
    date: '2025-02-01',
    jsonb: '{"country": "FR"}',
    bigint: '6',
    integer: '6',
    ARRAY: '{new}',
  };
  const other = await filled();
  for (const { name, type } of columns.filter(({ name }) => !(name in others))) {
    await database.query(`update customers set ${name} = $2 where id = $1`, [other, changed[type]]);
  }
  const expected = await rowOf(other);
  const decided = (await make(`/v1/customers/${survivor}/merge/preview`, { customerId: other })).decisions;
  const take = decided.map(({ member }: { member: string }) => member);
  await make(`/v1/customers/${survivor}/merge`, { customerId: other, take });
  t.strictSame(await rowOf(survivor), expected);
});
