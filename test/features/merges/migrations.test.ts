import pg from 'pg';
import t, { type Test } from 'tap';
import { testApp } from '../../support/app.ts';
import { type Dump, dumpOf } from '../../support/inventory.ts';
import { stockHouse, stockPerson } from '../../support/people.ts';
import { newKey } from '../../support/shop.ts';

/*
 * Tables change while merges are undone months later: a merge is made, a migration comes, and the merge is undone
 * exactly. `orders` stands for what moves, the others for what is kept. The service that is running does not know the new
 * column.
 */

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

async function share(customer: string): Promise<void> {
  const path = `/v1/partners/${partner.id}/customers/${customer}`;
  const { status } = await api.request('PUT', path, { body: { writable: true }, headers: newKey() });
  if (status >= 300) throw new Error(`${path}: ${status}`);
}
const tables = [
  'customers',
  'customer_identities',
  'leads',
  'loyalty_accounts',
  'loyalty_transactions',
  'loyalty_lots',
  'loyalty_entries',
  'loyalty_earnings',
  'loyalty_tier_changes',
  'partner_shares',
  'orders',
];

async function each(statement: (table: string) => string): Promise<void> {
  for (const table of tables) await database.query(statement(table));
}

/** Without the columns that the migration has added or dropped. */
function without(dump: Dump, columns: string[]): Dump {
  for (const rows of Object.values(dump)) for (const row of rows) for (const column of columns) delete row[column];
  return dump;
}

async function partedAfter(t: Test, migration: () => Promise<void>, columns: string[]): Promise<string[]> {
  const a = await stockPerson(api, house);
  const b = await stockPerson(api, house);
  const both = [a.customer, b.customer];
  await share(b.customer);
  const before = without(await dumpOf(database, both), columns);
  t.equal(before['partnerShares']?.length, 1);
  const merged = await make(`/v1/customers/${a.customer}/merge`, { customerId: b.customer, take: ['name'] });
  await migration();
  const parted = await make(`/v1/customers/${a.customer}/unmerge`, { mergeId: merged.id });
  t.strictSame(parted.kept, []);
  t.strictSame(without(await dumpOf(database, both), columns), before);
  return both;
}

const types: [type: string, value: string, empty: unknown][] = [
  ['text', `'new'`, ''],
  ['integer', '7', 0],
  ['boolean', 'true', false],
  ['timestamptz', `'2026-06-01T00:00:00Z'`, '1970-01-01T00:00:00+00:00'],
  ['jsonb', `'{"a": 1}'`, {}],
];

for (const [type, value, empty] of types) {
  t.test(`a ${type} that is never null, with a default`, async (t) => {
    t.teardown(() => each((table) => `alter table ${table} drop column added`));
    const both = await partedAfter(
      t,
      () => each((table) => `alter table ${table} add column added ${type} not null default ${value}`),
      ['added'],
    );
    const { rows } = await database.query(`select to_jsonb(added) as added from customers where id = any($1)`, [both]);
    const expected = (await database.query(`select to_jsonb(${value}::${type}) as value`)).rows[0].value;
    t.strictSame(rows, [{ added: expected }, { added: expected }]);
  });

  t.test(`a ${type} that is never null and lost its default`, async (t) => {
    t.teardown(() => each((table) => `alter table ${table} drop column added`));
    const both = await partedAfter(t, async () => {
      await each((table) => `alter table ${table} add column added ${type} not null default ${value}`);
      await each((table) => `alter table ${table} alter column added drop default`);
    }, ['added']);
    const values = async (table: string, owner: string, of: string | undefined) =>
      (await database.query(`select to_jsonb(added) as added from ${table} where ${owner} = $1`, [of])).rows;
    const expected = (await database.query(`select to_jsonb(${value}::${type}) as value`)).rows[0].value;
    // What was there all the time keeps what the migration gave it; a customer that was away has nothing to say.
    t.strictSame(await values('customers', 'id', both[0]), [{ added: expected }]);
    t.strictSame(await values('customers', 'id', both[1]), [{ added: empty }]);
    for (const table of ['orders', 'loyalty_transactions', 'loyalty_lots', 'customer_identities']) {
      const rows = await values(table, 'customer_id', both[1]);
      t.ok(rows.length > 0);
      t.strictSame(
        rows,
        rows.map(() => ({ added: expected })),
        table,
      );
    }
  });
}

t.test('a column that was dropped since', async (t) => {
  await each((table) => `alter table ${table} add column going text not null default 'gone'`);
  await partedAfter(t, () => each((table) => `alter table ${table} drop column going`), ['going']);
});

t.test('after a merge of a merged customer, in reverse order', async (t) => {
  t.teardown(() => each((table) => `alter table ${table} drop column added`));
  const people = [await stockPerson(api, house), await stockPerson(api, house), await stockPerson(api, house)];
  const ids = people.map(({ customer }) => customer);
  const before = await dumpOf(database, ids);
  const first = await make(`/v1/customers/${ids[0]}/merge`, { customerId: ids[1] });
  const second = await make(`/v1/customers/${ids[0]}/merge`, { customerId: ids[2] });
  await each((table) => `alter table ${table} add column added text not null default 'x'`);
  await each((table) => `alter table ${table} alter column added drop default`);
  for (const { id } of [second, first]) {
    t.strictSame((await make(`/v1/customers/${ids[0]}/unmerge`, { mergeId: id })).kept, []);
  }
  t.strictSame(without(await dumpOf(database, ids), ['added']), before);
});
