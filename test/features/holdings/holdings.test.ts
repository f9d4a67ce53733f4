import { getTableName } from 'drizzle-orm';
import pg from 'pg';
import t from 'tap';
import { columnsOf, holdings, keyOf } from '../../../src/features/holdings/holdings.ts';
import { testDatabase } from '../../support/database.ts';

/** Tables that hold nothing of a customer, or nothing that follows its customer: each with why. */
const apart: Record<string, string> = {
  assignment_rules: 'configuration',
  assignment_turns: 'whose turn it is, of staff',
  audit_entries: 'ids only, for ever',
  campaigns: 'configuration',
  client_secrets: 'of the organisation',
  clients: 'of the organisation',
  customer_merge_records: 'ids of the records that a merge moved',
  deployment_settings: 'configuration',
  exchange_rates: 'configuration',
  idempotency_keys: 'answers kept for replay, of the client; erase.ts takes those that show the person',
  lead_models: 'sums over many leads',
  lead_rule_sets: 'configuration',
  loyalty_programme_versions: 'configuration',
  loyalty_programmes: 'configuration',
  partners: 'configuration',
  retention_rules: 'configuration',
  retention_runs: 'how far runs have come',
  rewards: 'configuration',
  signing_keys: 'of the organisation',
  survey_plans: 'how far planning has come',
  survey_versions: 'configuration',
  surveys: 'configuration',
  token_revocations: 'of the organisation',
};

const { connection } = await testDatabase(t);
const database = new pg.Client(connection);
await database.connect();
t.teardown(() => database.end());

interface Column {
  table: string;
  column: string;
  type: string;
}

const { rows: catalog } = await database.query<Column>(
  `select c.table_name as table, c.column_name as column, c.udt_name as type
   from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
   where c.table_schema = 'public' and t.table_type = 'BASE TABLE' order by 1, c.ordinal_position`,
);

t.test('every table of the database is listed as holding something of a customer, or not', async (t) => {
  const tables = new Set(catalog.map(({ table }) => table));
  const held = holdings.map(({ table }) => getTableName(table));
  t.strictSame([...held, ...Object.keys(apart)].sort(), [...tables].sort());
  t.equal(new Set(holdings.map(({ name }) => name)).size, holdings.length, 'names are there once');
});

t.test('every column of theirs that holds an id, a text, a document or a date is said to be one', async (t) => {
  for (const holding of holdings) {
    const name = getTableName(holding.table);
    const members = columnsOf(holding);
    const said = [
      holding.owner,
      ...holding.customers,
      ...holding.records,
      ...Object.keys(holding.personal),
      ...holding.plain,
    ];
    t.strictSame(
      said.filter((member) => !members.has(member)),
      [],
      `${name}: all of what is said is there`,
    );
    t.equal(new Set(said).size, said.length, `${name}: said once`);
    const told = new Set(said.map((member) => members.get(member)?.name));
    const unsaid = catalog.filter(
      ({ table, column, type }) =>
        table === name &&
        /^(uuid|text|varchar|bpchar|json|jsonb|date|_.*|tsvector|inet|bytea)$/.test(type) &&
        !told.has(column),
    );
    t.strictSame(unsaid, []);
    t.ok(keyOf(holding).length > 0, `${name} has a key`);
  }
});

t.test('no table besides them has a column that names a customer', async (t) => {
  const named = catalog.filter(
    ({ table, column, type }) =>
      type === 'uuid' && table in apart && /customer_id|person_id|referred_by|company_id/.test(column),
  );
  t.strictSame(named, []);
});

t.test('what belongs to another table comes after it', async (t) => {
  const { rows } = await database.query<{ child: string; parent: string }>(
    `select conrelid::regclass::text as child, confrelid::regclass::text as parent from pg_constraint
     where contype = 'f' and connamespace = 'public'::regnamespace`,
  );
  const position = new Map(holdings.map(({ table }, index) => [getTableName(table), index]));
  const wrong = rows.filter(({ child, parent }) => (position.get(parent) ?? -1) > (position.get(child) ?? Infinity));
  t.strictSame(wrong, []);
  t.ok(rows.length > 20);
});
