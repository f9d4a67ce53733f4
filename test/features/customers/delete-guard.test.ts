import { randomUUID } from 'node:crypto';
import pg from 'pg';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, pushOrder } from '../../support/shop.ts';

/**
 * Nothing that is evidence or history is lost by deleting a customer. Which tables there are comes from the catalog of
 * the database, and what is planted in them is made from it.
 */

const service = await testApp(t);
const { request, graphql } = service;
const database = new pg.Client(service.connection);
await database.connect();
t.teardown(() => database.end());

const any = { 'If-Match': '*' };
const remove = (id: string, query = '') => request('DELETE', `/v1/customers/${id}${query}`, { headers: any });

async function makeCustomer(members: object = {}): Promise<string> {
  const { body } = await request('POST', '/v1/customers', { body: { name: fresh('Ada'), ...members } });
  return body.id;
}

/** Tables whose rows are part of a customer, or derived from other records of it, and go with it. A share is a right in force. */
const parts = [
  'consents',
  'customer_identities',
  'customer_month',
  'customer_purchases',
  'customer_shared_identities',
  'customer_stats',
  'customer_terms',
  'dismissed_duplicates',
  'external_refs',
  'partner_customers',
  'partner_shares',
  'segment_members',
];

/** Tables whose rows of a customer guard it, and what a row is called. */
const guards: Record<string, string> = {
  assignments: 'assignment',
  consent_changes: 'consent change',
  customer_aliases: 'former id',
  customer_merges: 'merge',
  follow_ups: 'follow-up',
  interactions: 'interaction',
  lead_score_bounds: 'lead',
  lead_stage_changes: 'lead',
  leads: 'lead',
  loyalty_accounts: 'loyalty account',
  loyalty_earnings: 'points entitlement',
  loyalty_entries: 'points posting',
  loyalty_lots: 'points lot',
  loyalty_tier_changes: 'loyalty account',
  loyalty_transactions: 'loyalty account',
  order_items: 'order',
  orders: 'order',
  privacy_tombstones: 'erased name',
  redemptions: 'loyalty account',
  refund_items: 'order',
  refunds: 'order',
  return_items: 'return',
  returns: 'return',
  survey_answers: 'survey answer',
  survey_invitations: 'survey invitation',
  survey_responses: 'survey response',
};

interface Column {
  table: string;
  column: string;
  type: string;
  required: boolean;
}

const { rows: columns } = await database.query<Column>(
  `select c.table_name as table, c.column_name as column, c.udt_name as type,
     c.is_nullable = 'NO' and c.column_default is null and c.is_generated = 'NEVER' as required
   from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
   where c.table_schema = 'public' and t.table_type = 'BASE TABLE' order by c.ordinal_position`,
);

interface Key {
  table: string;
  parent: string;
  /** Columns here → columns there. */
  columns: string[];
  parents: string[];
  onDelete: string;
}

const { rows: keys } = await database.query<Key>(
  `select c.conrelid::regclass::text as table, c.confrelid::regclass::text as parent, c.confdeltype as "onDelete",
     array(select attname::text from unnest(c.conkey) with ordinality k(n, i) join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n order by k.i) as columns,
     array(select attname::text from unnest(c.confkey) with ordinality k(n, i) join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n order by k.i) as parents
   from pg_constraint c where c.contype = 'f' and c.connamespace = 'public'::regnamespace`,
);

const tables = [
  ...new Set([
    ...columns.filter(({ column }) => column === 'customer_id').map(({ table }) => table),
    ...keys.filter(({ parent }) => parent === 'customers').map(({ table }) => table),
  ]),
].sort();

/** Whether the column says, with the customer, which other record a row is part of. */
function isPart(table: string, column: string): boolean {
  return keys.some(
    (key) =>
      key.table === table &&
      key.columns.includes('customer_id') &&
      key.columns.length > 1 &&
      key.columns.includes(column),
  );
}

/** Puts a row with these values into a table, and first what it has to refer to. Answers its columns. */
async function plant(table: string, given: Record<string, unknown>): Promise<Record<string, unknown>> {
  const row: Record<string, unknown> = {};
  for (const { column, type, required } of columns.filter((one) => one.table === table)) {
    if (column in given) row[column] = given[column];
    // Of what a row is part of as well, though it may have to wait for it.
    else if (required || isPart(table, column)) row[column] = sample(type);
  }
  for (const key of keys.filter((one) => one.table === table && one.parent !== 'customers')) {
    if (!key.columns.every((column) => column in row)) continue;
    const owner = Object.hasOwn(row, 'customer_id') ? { customer_id: row['customer_id'] } : {};
    const parent = await plant(key.parent, owner);
    for (const [index, column] of key.columns.entries()) row[column] = parent[key.parents[index] ?? ''];
  }
  const names = Object.keys(row);
  await database.query(
    `insert into ${table} (${names.map((name) => `"${name}"`).join(', ')}) values (${names.map((_, index) => `$${index + 1}`).join(', ')})
     on conflict do nothing`,
    Object.values(row),
  );
  return row;
}

function sample(type: string): unknown {
  if (type === 'uuid') return randomUUID();
  if (type.startsWith('_')) return [];
  if (type === 'timestamptz') return '2026-01-01T00:00:00Z';
  if (type === 'date') return '2026-01-01';
  if (type === 'json' || type === 'jsonb') return '{}';
  if (type === 'bool') return true;
  if (type === 'bpchar') return 'EUR';
  if (type === 'text' || type === 'varchar') return fresh('x');
  return 1;
}

/** Everything there is of a customer, as text. */
async function allOf(id: string): Promise<string> {
  const held: unknown[] = [];
  for (const table of [...tables, 'customers']) {
    const owner = table === 'customers' ? 'id' : 'customer_id';
    const { rows } = await database.query(
      `select to_jsonb(x)::text as row from ${table} x where ${owner} = $1 order by 1`,
      [id],
    );
    held.push([table, rows]);
  }
  return JSON.stringify(held);
}

t.test('every table with a customer in it is said to guard the customer or to be a part of it', async (t) => {
  t.strictSame([...parts, ...Object.keys(guards)].sort(), tables);
  const cascading = keys.filter(({ parent, onDelete }) => parent === 'customers' && onDelete === 'c');
  t.strictSame(
    cascading.map(({ table }) => table).sort(),
    ['consents', 'customer_identities', 'customer_shared_identities', 'partner_shares'],
    'what the database deletes by itself',
  );
});

for (const [table, noun] of Object.entries(guards)) {
  t.test(`a row of ${table} guards its customer, at both doors and in a dry run`, async (t) => {
    const id = await makeCustomer();
    await plant(table, { customer_id: id });
    const before = await allOf(id);
    const code = `${noun}s`.replaceAll(/[ -]/g, '_');
    const refusal = { code: 'customer_has_records', errors: [{ parameter: 'id', code, message: `1 ${noun}` }] };
    for (const query of ['', '?dryRun=true']) {
      const { status, body } = await remove(id, query);
      t.equal(status, 409);
      t.match(body, { code: refusal.code });
      t.ok(
        body.errors.some((error: object) => JSON.stringify(error) === JSON.stringify(refusal.errors[0])),
        JSON.stringify(body.errors),
      );
      t.match(body.detail, new RegExp(`^Delete or move the records of this customer first: .*\\b1 ${noun}\\b`));
    }
    for (const dryRun of [false, true]) {
      const { body } = await graphql(
        'mutation ($id: ID, $dryRun: Boolean) { deleteCustomer(id: $id, expectedVersion: "*", dryRun: $dryRun) { id } }',
        { id, dryRun },
      );
      t.equal(body.data.deleteCustomer, null);
      t.match(body.errors[0].extensions, { code: refusal.code, status: 409 });
      t.ok(body.errors[0].extensions.errors.some((error: { code: string }) => error.code === code));
    }
    t.equal(await allOf(id), before, 'nothing has changed');
  });
}

t.test('what stands in the way is counted', async (t) => {
  const { customerId } = (await pushOrder(service, { customer: { externalId: fresh('buyer') } })).body;
  await pushOrder(service, { customerId });
  await consent(customerId);
  t.match(await remove(customerId), {
    status: 409,
    body: {
      detail: 'Delete or move the records of this customer first: 1 consent change, 2 orders.',
      errors: [
        { code: 'consent_changes', message: '1 consent change' },
        { code: 'orders', message: '2 orders' },
      ],
    },
  });
});

function consent(id: string) {
  return request('POST', `/v1/customers/${id}/consents`, {
    body: { purpose: 'newsletter', channel: 'email', status: 'granted', evidence: { wording: 'I agree' } },
    headers: newKey(),
  });
}

t.test('a consent and its evidence outlive an attempt to delete the customer', async (t) => {
  const id = await makeCustomer();
  t.equal((await consent(id)).status, 201);
  t.equal((await remove(id)).status, 409);
  const { body } = await request('GET', `/v1/customers/${id}/consents/history`);
  t.match(body.data, [{ purpose: 'newsletter', evidence: { wording: 'I agree' } }]);
  await t.rejects(database.query('delete from customers where id = $1', [id]), 'nor can the database lose it');
});

t.test('after a merge the survivor is not deleted, and the former id leads on', async (t) => {
  const [survivor, other] = [await makeCustomer(), await makeCustomer()];
  const merged = await request('POST', `/v1/customers/${survivor}/merge`, {
    body: { customerId: other },
    headers: { ...any, ...newKey() },
  });
  t.equal(merged.status, 200);
  for (const id of [survivor, other]) {
    const { status, body } = await remove(id);
    t.equal(status, id === survivor ? 409 : 308, JSON.stringify(body));
  }
  t.match(await remove(survivor), { body: { errors: [{ code: 'former_ids' }, { code: 'merges' }] } });
  const led = await request('GET', `/v1/customers/${other}`);
  t.match([led.status, led.headers.get('location')], [301, `/v1/customers/${survivor}`]);
});

t.test('a merge of customers who are shared and have consents still works', async (t) => {
  const { body: partner } = await request('POST', '/v1/partners', {
    body: { name: fresh('Partner') },
    headers: newKey(),
  });
  const [survivor, other] = [await makeCustomer(), await makeCustomer()];
  for (const id of [survivor, other]) {
    t.ok((await request('PUT', `/v1/partners/${partner.id}/customers/${id}`, { body: {} })).status < 300);
    t.equal((await consent(id)).status, 201);
  }
  const merged = await request('POST', `/v1/customers/${survivor}/merge`, {
    body: { customerId: other },
    headers: { ...any, ...newKey() },
  });
  t.equal(merged.status, 200, JSON.stringify(merged.body));
  const { rows } = await database.query('select customer_id from partner_shares where customer_id = any($1)', [
    [survivor, other],
  ]);
  t.strictSame(rows, [{ customer_id: survivor }]);
  t.equal((await request('GET', `/v1/customers/${survivor}/consents/history`)).body.data.length, 2);
});

t.test('companies with members and referrers are not deleted', async (t) => {
  const company = await makeCustomer({ kind: 'company' });
  const member = await makeCustomer({ companyId: company });
  await makeCustomer({ referredBy: member });
  t.match(await remove(company), {
    status: 409,
    body: { errors: [{ code: 'company_members', message: '1 company member' }] },
  });
  t.match(await remove(member), {
    status: 409,
    body: { errors: [{ code: 'referred_customers', message: '1 referred customer' }] },
  });
});

t.test('a customer that is only a profile is deleted; its references stay as tombstones', async (t) => {
  const externalId = fresh('profile');
  const id = await makeCustomer({
    identities: [{ kind: 'email', value: `${externalId}@example.org` }],
    references: [{ source: 'shop', externalId }],
    address: { city: 'London' },
  });
  for (const table of [
    'consents',
    'customer_month',
    'customer_purchases',
    'customer_stats',
    'partner_customers',
    'partner_shares',
  ]) {
    await plant(table, { customer_id: id });
  }
  t.equal((await remove(id, '?dryRun=true')).status, 204);
  t.equal((await request('GET', `/v1/customers/${id}`)).status, 200, 'a dry run deletes nothing');
  t.equal((await remove(id)).status, 204);
  t.equal((await request('GET', `/v1/customers/${id}`)).status, 404);
  for (const table of tables) {
    const { rows } = await database.query(`select from ${table} where customer_id = $1`, [id]);
    t.equal(rows.length, 0, table);
  }
  const { rows } = await database.query(
    'select deleted_at is not null as gone from external_refs where external_id = $1',
    [externalId],
  );
  t.strictSame(rows, [{ gone: true }]);
});

t.test('an erased person is still not deleted, and erasing still works with evidence there', async (t) => {
  const id = await makeCustomer({ identities: [{ kind: 'email', value: `${fresh('erased')}@example.org` }] });
  await consent(id);
  const erased = await request('POST', `/v1/customers/${id}/erase`, { body: {}, headers: { ...any, ...newKey() } });
  t.equal(erased.status, 200, JSON.stringify(erased.body));
  t.match(await remove(id), { status: 409, body: { code: 'person_erased' } });
});
