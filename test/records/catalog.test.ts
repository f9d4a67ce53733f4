import { getTableColumns, getTableName } from 'drizzle-orm';
import pg from 'pg';
import t from 'tap';
import '../../src/features.ts';
import { conflictConstraints } from '../../src/platform/db/conflicts.ts';
import { technicalTables } from '../../src/records/policies.ts';
import { recordKinds } from '../../src/records/record.ts';
import { columnNamed, storedTables } from '../../src/records/table.ts';
import { testDatabase } from '../support/database.ts';

/** The definitions and the catalog of the migrated database say the same. */

const { connection } = await testDatabase(t);
const database = new pg.Client(connection);
await database.connect();
t.teardown(() => database.end());

const { rows: catalog } = await database.query<{ table: string; column: string; type: string }>(
  `select c.table_name as table, c.column_name as column, c.udt_name as type
   from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
   where c.table_schema = 'public' and t.table_type = 'BASE TABLE' order by 1, c.ordinal_position`,
);
const defined = [...storedTables().map(({ table }) => table), ...technicalTables.map(({ table }) => table)];

t.test('every table and column of the database belongs to a definition or to a technical table', async (t) => {
  const declared = defined.flatMap((table) =>
    Object.values(getTableColumns(table)).map(({ name }) => `${getTableName(table)}.${name}`),
  );
  const found = catalog.map(({ table, column }) => `${table}.${column}`);
  t.strictSame(declared.sort(), found.sort());
});

t.test('a table or column that nobody declared is found', async (t) => {
  await database.query('begin; create table forgotten (id uuid); alter table orders add column forgotten text');
  t.teardown(() => database.query('rollback'));
  const { rows } = await database.query<{ name: string }>(
    `select table_name || '.' || column_name as name from information_schema.columns where table_schema = 'public'`,
  );
  const declared = new Set(
    defined.flatMap((table) =>
      Object.values(getTableColumns(table)).map(({ name }) => `${getTableName(table)}.${name}`),
    ),
  );
  t.strictSame(
    rows
      .map(({ name }) => name)
      .filter((name) => !declared.has(name))
      .sort(),
    ['forgotten.id', 'orders.forgotten'],
  );
});

t.test('names of tables in exports are there once', async (t) => {
  const names = storedTables().map(({ name }) => name);
  t.equal(new Set(names).size, names.length);
});

t.test('what names a customer says so', async (t) => {
  for (const { table, fields, owner } of storedTables()) {
    const name = getTableName(table);
    const naming = Object.keys(fields).filter((member) =>
      /^(customerId|companyId|referredBy|relatedCustomerId)$/.test(member),
    );
    for (const member of naming) {
      t.ok(member === owner || fields[member]?.spec.names === 'customer', `${name}.${member}`);
    }
  }
});

t.test('what is part of another table names it by a key of the same customer', async (t) => {
  for (const { table, partOf, fields, owner } of storedTables()) {
    if (partOf && owner !== null) t.ok(partOf.by in fields && 'customerId' in fields, getTableName(table));
  }
});

t.test(
  'every table has a key, and what happened with a customer keeps it from being deleted or is part of what does',
  async (t) => {
    for (const { table, key, nature, guard, partOf, owner, access } of storedTables()) {
      t.ok(key.length > 0, getTableName(table));
      if (nature === 'fact' && owner !== null && access === 'owner')
        t.ok(guard !== null || partOf !== null, `${getTableName(table)} guards`);
    }
  },
);

t.test('what two transactions may claim at once is a unique index', async (t) => {
  const { rows } = await database.query<{ name: string }>(
    `select c.relname as name from pg_index i join pg_class c on c.oid = i.indexrelid
     where i.indisunique and c.relnamespace = 'public'::regnamespace`,
  );
  const unique = new Set(rows.map(({ name }) => name));
  t.strictSame(
    conflictConstraints().filter((name) => !unique.has(name)),
    [],
  );
  t.equal(conflictConstraints().length, 4);
});

/** Filters of lists that no index serves: a btree that begins with the column, or a GIN index with it, of all rows with a value. */
async function slowFilters(): Promise<string[]> {
  const { rows } = await database.query<{ name: string }>(
    `select c.relname || '.' || a.attname as name
     from pg_index i join pg_class c on c.oid = i.indrelid join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam
       join pg_attribute a on a.attrelid = i.indrelid
       cross join lateral (select coalesce(pg_get_expr(i.indpred, i.indrelid), '') as rows) p
     where i.indisvalid and (m.amname = 'btree' and i.indkey[0] = a.attnum or m.amname = 'gin' and a.attnum = any(i.indkey))
       and replace(replace(replace(p.rows, '(' || a.attname || ' IS NOT NULL)', ''), '(id < ''ffffffff-0000-0000-0000-000000000000''::uuid)', ''), ' AND ', '')
         in ('', '()')`,
  );
  const indexed = new Set(rows.map(({ name }) => name));
  return recordKinds()
    .filter(
      ({ owner, table }) => owner !== null || storedTables().some((stored) => stored.table === table && stored.owner),
    )
    .flatMap(({ table, fields }) =>
      Object.entries(fields)
        .filter(([, { spec }]) => spec.filter)
        .map(([member]) => `${getTableName(table)}.${columnNamed(table, member).name}`),
    )
    .filter((name) => !indexed.has(name));
}

t.test('an index finds the rows of every filter that a list of customers or their records has', async (t) => {
  t.strictSame(await slowFilters(), []);
});

t.test('a filter without an index is found, and one whose index leaves rows out', async (t) => {
  await database.query(`begin; drop index orders_by_status; drop index interactions_filters; drop index returns_by_currency;
    create index on returns (currency) where tax is null`);
  t.teardown(() => database.query('rollback'));
  t.strictSame((await slowFilters()).sort(), [
    ...['channel', 'direction', 'kind', 'order_id', 'outcome', 'ticket', 'topic'].map((name) => `interactions.${name}`),
    'orders.status',
    'returns.currency',
  ]);
});
