import { createHash } from 'node:crypto';
import { getTableColumns, getTableName } from 'drizzle-orm';
import pg from 'pg';
import t from 'tap';
import { exportDocument } from '../../../src/features/privacy/export-model.ts';
import { labelOf, moneyText } from '../../../src/features/privacy/export-page.ts';
import { tablePolicies } from '../../../src/features.ts';
import { types } from '../../../src/platform/db/client.ts';
import { GzippedBuffer } from '../../../src/platform/gzipped-buffer.ts';
import { type Answer, testApp } from '../../support/app.ts';
import { stockHouse, stockPartner, stockPerson, tracesOf } from '../../support/people.ts';
import { fresh, newKey } from '../../support/shop.ts';

const now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
const database = new pg.Client({ ...api.connection, types });
await database.connect();
t.teardown(() => database.end());

const exportOf = (id: string, query = '', options: object = {}) =>
  request('GET', `/v1/customers/${id}/export${query}`, options);
const made = async (path: string, body: object): Promise<Answer['body']> => {
  const answer = await request('POST', path, { body, headers: newKey() });
  if (answer.status !== 201) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
};

type Records = Record<string, unknown>[];
const recordsOf = (answer: Answer, section: string): Records => answer.body.sections[section].records;

const house = await stockHouse(api);
const ada = await stockPerson(api, house);
const bob = await stockPerson(api, house);

t.test('a page and a document of everything, and of nobody else', async (t) => {
  const answer = await exportOf(ada.customer);
  t.equal(answer.status, 200, JSON.stringify(answer.body).slice(0, 500));
  t.ok(exportDocument.safeParse(answer.body).success);
  t.match(answer.body, { customerId: ada.customer, exportedAt: now, erasedAt: null, mergedFrom: [] });
  t.equal(answer.headers.get('content-disposition'), 'attachment; filename="customer-export-2026-06-01.json"');
  t.equal(answer.headers.get('cache-control'), 'no-store');
  const page = await exportOf(ada.customer, '?format=html');
  t.equal(page.status, 200);
  t.equal(page.headers.get('content-type'), 'text/html; charset=utf-8');
  const told = JSON.stringify(answer.body);
  for (const [what, trace] of Object.entries(ada)) {
    // Of others: another customer, and what is the organisation's.
    if (['newcomer', 'webhook', 'delivery'].includes(what)) continue;
    t.ok(told.includes(trace), `the document has the ${what}`);
    t.ok(page.body.includes(trace), `the page has the ${what}`);
  }
  for (const trace of tracesOf(bob)) {
    t.notOk(told.includes(trace), `nothing of somebody else: ${trace}`);
    t.notOk(page.body.includes(trace));
  }
  for (const section of Object.values<{ count: number; records: Records }>(answer.body.sections)) {
    t.equal(section.records.length, section.count);
  }
  const record = (section: string, wanted: object) =>
    recordsOf(answer, section).find((one) => Object.entries(wanted).every(([name, value]) => one[name] === value));
  t.match(record('orders', { id: ada.order }), {
    total: 1530,
    currency: 'EUR',
    placedAt: '2026-05-20T08:26:00.000Z',
  });
  t.match(record('orderItems', { orderId: ada.order }), { total: 1530, currency: 'EUR', name: 'Holder' });
  t.match(recordsOf(answer, 'refunds'), [{ amount: 100, currency: 'EUR', reason: `damaged ${ada.name}` }]);
  t.match(page.body, '<dt>Total</dt><dd class="number">EUR 15.30</dd>');
  t.match(page.body, '<dd>2026-05-20 08:26:00 UTC</dd>');

  t.test('the same by reference, and over GraphQL', async (t) => {
    const lasting = ({ body }: Answer) => ({ ...body, sections: { ...body.sections, accesses: null } });
    const byReference = await request('GET', `/v1/customers/external/shop/${ada.name}/export`);
    t.strictSame(lasting(byReference), lasting(answer));
    const query = `query ($id: ID!, $reference: ReferenceInput!) {
      json: customerExport(id: $id) { customerId exportedAt format text }
      html: customerExport(reference: $reference, format: HTML) { format text }
    }`;
    const { body } = await graphql(query, { id: ada.customer, reference: { source: 'shop', externalId: ada.name } });
    t.equal(body.errors, undefined, JSON.stringify(body.errors));
    t.match(body.data.json, { customerId: ada.customer, exportedAt: now, format: 'JSON' });
    t.strictSame(lasting({ ...answer, body: JSON.parse(body.data.json.text) }), lasting(answer));
    t.equal(body.data.html.format, 'HTML');
    const upToAccesses = (text: string) => text.slice(text.indexOf('<main>'), text.indexOf('<section id="accesses">'));
    t.equal(upToAccesses(body.data.html.text), upToAccesses(page.body));
    const none = await graphql('{ customerExport(id: "0193a6c2-8f00-7fff-8000-000000000001") { text } }');
    t.strictSame(none.body.data, { customerExport: null });
  });
});

t.test('who may', async (t) => {
  const both = 'customers:export customers:pii';
  const of = (options: object) => exportOf(ada.customer, '', options);
  t.equal((await of({ scope: both })).status, 200);
  t.match((await of({ scope: 'customers:export' })).body, { status: 403, scope: 'customers:pii' });
  t.match((await of({ scope: 'customers:pii customers:read' })).body, { status: 403, scope: 'customers:export' });
  t.equal((await of({ scope: null })).status, 401);
  const partner = await stockPartner(api, { customers: [ada.customer] });
  t.match((await of({ scope: both, partner })).body, { code: 'not_supported' });

  const own = await of({ scope: both, customer: ada.customer });
  t.equal(own.status, 200, 'a customer has its own');
  const all = await of({ scope: both });
  for (const [name, section] of Object.entries<{ records: Records }>(all.body.sections)) {
    // A scoped token is not told of other customers.
    const others = name === 'customer' ? { companyId: null, referredBy: null } : {};
    const records = section.records.map((record) => ({ ...record, ...others }));
    if (name !== 'accesses') t.strictSame(own.body.sections[name].records, records, `all of ${name}`);
  }
  const foreign = await exportOf(bob.customer, '', { scope: both, customer: ada.customer });
  t.match(foreign.body, { status: 404, code: 'not_found' }, 'and nobody else’s');
  const unknown = await exportOf('0193a6c2-8f00-7fff-8000-000000000001', '', { scope: both, customer: ada.customer });
  t.equal(unknown.body.detail, foreign.body.detail);
  t.equal((await exportOf('0193a6c2-8f00-7fff-8000-000000000001')).status, 404);
  t.equal((await exportOf(ada.customer, '?format=pdf')).status, 422);
});

t.test('a value planted in every column of every table is found in it', async (t) => {
  // What is about customers, and what of it is not told: whose it is besides, how an answer is found again, from where
  // members of staff came.
  const untold: Record<string, readonly string[]> = {
    audit_entries: ['address', 'customer_ids'],
    idempotency_keys: ['personal', 'key', 'fingerprint', 'status', 'body'],
  };
  // Nothing of a customer is in them.
  const others = new Set([
    'assignment_rules',
    'assignment_turns',
    'campaigns',
    'client_secrets',
    'clients',
    'deployment_settings',
    'exchange_rates',
    // What of files waits to be written, for a day at most; errors hold no values.
    'import_blocks',
    'import_errors',
    'import_mappings',
    'imports',
    'lead_models',
    'lead_rule_sets',
    'loyalty_programme_versions',
    'loyalty_programmes',
    'partners',
    'retention_rules',
    'retention_runs',
    'rewards',
    'segment_versions',
    'segments',
    'signing_keys',
    'survey_plans',
    'survey_versions',
    'surveys',
    'token_revocations',
    'webhook_deliveries',
    'webhook_positions',
    'webhooks',
  ]);
  const tables = await database.query<{ name: string }>(
    `select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = 'public' and c.relkind in ('r', 'p') order by 1`,
  );
  const models = new Map(tablePolicies().map(({ table }) => [getTableName(table), table]));
  const person = '0193a6c2-8f00-7eee-8000-000000000001';
  const merge = '0193a6c2-8f00-7eee-8000-000000000002';
  let n = 0;
  const planted: { place: string; member: string; type: string; value: unknown }[] = [];
  await database.query('begin');
  await database.query("set local session_replication_role = 'replica'");
  for (const { name } of tables.rows) {
    const model = models.get(name);
    if (others.has(name)) continue;
    t.ok(model, `${name} is a table of the service`);
    const columns = await database.query<{ name: string; type: string }>(
      `select column_name as name, case data_type when 'ARRAY' then udt_name else data_type end as type from information_schema.columns
       where table_schema = 'public' and table_name = $1 and is_generated = 'NEVER' order by ordinal_position`,
      [name],
    );
    t.ok(
      name === 'customers' ||
        name === 'customer_merge_records' ||
        name === 'idempotency_keys' ||
        columns.rows.some((column) => ['customer_id', 'customer_ids'].includes(column.name)),
      `${name} says whose it is`,
    );
    const members = new Map(
      Object.entries(getTableColumns(model as never)).map(([member, column]) => [
        (column as { name: string }).name,
        member,
      ]),
    );
    const values = columns.rows.map(({ name: column, type }) => {
      n += 1;
      const place = `${name}.${column}`;
      const fixed: Record<string, unknown> = {
        'customers.id': person,
        'customer_merges.id': merge,
        'customer_merge_records.merge_id': merge,
        'audit_entries.customer_ids': [person],
        'idempotency_keys.body': `{"id":"${person}"}`,
      };
      const value =
        fixed[place] ??
        (column === 'customer_id'
          ? person
          : type === 'uuid'
            ? `0193a6c2-8f00-7eee-8001-${String(n).padStart(12, '0')}`
            : type === 'text'
              ? `planted ${place}`
              : type === 'character'
                ? 'CHF'
                : type === 'smallint'
                  ? 20_000 + n
                  : ['integer', 'bigint', 'numeric'].includes(type)
                    ? 7_000_000 + n
                    : type === 'boolean'
                      ? true
                      : type === 'timestamp with time zone'
                        ? new Date(Date.UTC(2026, 1, 1) + n * 1_001).toISOString()
                        : type === 'date'
                          ? new Date(Date.UTC(1950, 1, 1 + n)).toISOString().slice(0, 10)
                          : type === 'jsonb'
                            ? { [`planted ${place}`]: n }
                            : place === 'audit_entries.record_ids'
                              ? [`0193a6c2-8f00-7eee-8001-${String(n).padStart(12, '0')}`]
                              : type === '_date'
                                ? [new Date(Date.UTC(1950, 1, 1 + n)).toISOString().slice(0, 10)]
                                : type === '_int4' || type === '_int8'
                                  ? [7_000_000 + n]
                                  : type === '_text'
                                    ? [`planted ${place}`]
                                    : null);
      t.not(value, null, `${place} can be planted`);
      if (!untold[name]?.includes(column)) planted.push({ place, member: members.get(column) ?? '', type, value });
      return value;
    });
    await database.query(
      `insert into ${name} (${columns.rows.map((column) => `"${column.name}"`).join()}) values (${values.map((_, index) => `$${index + 1}`).join()})`,
      values,
    );
  }
  // A section names the partner of a share.
  const {
    rows: [share],
  } = await database.query('select partner_id from partner_customers where customer_id = $1', [person]);
  await database.query(
    `insert into partners (id, version, name, status, fields, minimum_group_size, rules, created_at, updated_at)
     values ($1, 1, 'Planted partner', 'active', '["Customer.name"]', 10, '{}', now(), now())`,
    [share.partner_id],
  );
  await database.query('commit');
  const exported = await exportOf(person);
  t.equal(exported.status, 200, JSON.stringify(exported.body).slice(0, 300));
  const page = await exportOf(person, '?format=html');
  const text = JSON.stringify(exported.body);
  t.ok(planted.length > 300, `${planted.length} columns`);
  for (const { place, member, type, value } of planted) {
    const said = JSON.stringify(value).replace(/^\{|\}$/g, '');
    const found = ['smallint', 'integer', 'bigint', 'numeric'].includes(type)
      ? new RegExp(`"${member}":"?${value}"?[,}]`).test(text)
      : type === 'boolean' || type === 'character'
        ? text.includes(`"${member}":${said}`)
        : text.includes(said);
    t.ok(found, place);
    if (type === 'text' || type === 'uuid') t.ok(page.body.includes(value), `${place} on the page`);
  }
  t.match(exported.body.sections.partners.records, [{ partner: 'Planted partner' }]);
  for (const generated of ['status', 'qualifying', 'revenue', 'baseRevenue']) {
    t.ok(generated in (recordsOf(exported, 'orders')[0] ?? {}), generated);
  }
});

t.test('who has seen and changed it', async (t) => {
  const customer = await made('/v1/customers', { name: fresh('Eve') });
  const other = await made('/v1/customers', { name: fresh('Dan') });
  await request('GET', `/v1/customers/${customer.id}`, { client: 'desk' });
  await graphql('query ($a: ID!, $b: ID!) { a: customer(id: $a) { name } b: customer(id: $b) { name } }', {
    a: customer.id,
    b: other.id,
  });
  await database.query(
    `insert into audit_entries (id, at, request_id, client, door, operation, kind, resource, record_ids, customer_ids, members, outcome)
     values (gen_random_uuid(), now(), 'r', 'desk', 'rest', 'listCustomers', 'read', 'customers', array[$2::uuid], array[$1, $2]::uuid[], '{}', 'done')`,
    [customer.id, other.id],
  );
  const answer = await exportOf(customer.id);
  const listed = recordsOf(answer, 'accesses').find(({ operation }) => operation === 'listCustomers');
  t.match(listed, { client: 'desk', kind: 'read', customers: 2, recordIds: null });
  t.notOk(JSON.stringify(answer.body).includes(other.id), 'others are not named');
});

/** What of a page is not text; throws on whatever this service would not have written. */
function structureOf(page: string): { tags: string[]; texts: string[] } {
  const allowed = new Set(
    'html head meta title style body header nav main section h1 h2 p ol li a span strong table thead tbody tr th td article dl dt dd'.split(
      ' ',
    ),
  );
  const attributes = /^( (lang|charset|name|content|id|class|scope)="[\w ,.=/;-]*"| href="#\w+")*$/;
  const open: string[] = [];
  const tags: string[] = [];
  const texts: string[] = [];
  const [head = '', body = ''] = page.split(/<style>[^<]*<\/style>/);
  for (const token of `${head.replace('<!doctype html>', '')}${body}`.split(/(<[^>]*>)/)) {
    const tag = /^<(\/?)([a-z0-9]+)(.*)>$/s.exec(token);
    if (!tag) {
      if (/[<>"']/.test(token)) throw new Error(`Not escaped: ${token.slice(0, 80)}`);
      texts.push(token);
      continue;
    }
    const [, slash, name = '', rest = ''] = tag;
    if (!allowed.has(name)) throw new Error(`A tag that nobody wrote: ${token}`);
    if (slash) {
      if (open.pop() !== name) throw new Error(`${token} ends nothing`);
      continue;
    }
    if (!attributes.test(rest)) throw new Error(`An attribute that nobody wrote: ${token}`);
    tags.push(name);
    if (name !== 'meta') open.push(name);
  }
  if (open.length > 0) throw new Error(`Left open: ${open.join()}`);
  return { tags, texts };
}

const unescaped = (text: string) =>
  text.replace(
    /&(amp|lt|gt|quot|#39);/g,
    (_, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" })[name] ?? '',
  );

t.test('hostile values stay text', async (t) => {
  const hostile = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "'; alert(1) //",
    '</dd></dl></article><iframe src="javascript:alert(1)">',
    '<!--',
    ']]>',
    '&lt;b&gt;',
    '<style>*{display:none}</style>',
    '\u202Egnp.exe\u2066',
    'a\u2028b',
    '﻿<svg/onload=alert(1)>',
  ];
  for (const [index, value] of hostile.entries()) {
    const { id } = await made('/v1/customers', {
      name: value,
      references: [{ source: `s${fresh('"><b>')}`.slice(0, 60), externalId: fresh(value) }],
      attributes: { [value]: value, nested: { [value]: [value, { [value]: 1 }] } },
    });
    await made('/v1/interactions', { customerId: id, kind: 'phone', occurredAt: now, text: value, topic: value });
    const answer = await exportOf(id, '?format=html');
    t.equal(answer.status, 200);
    const { tags, texts } = structureOf(answer.body);
    t.notOk(tags.includes('script'));
    t.ok(
      texts.some((text) => unescaped(text) === value),
      `the ${index}. is read as it was written`,
    );
  }
  const { headers, body } = await exportOf(ada.customer, '?format=html');
  const style = /<style>([^<]*)<\/style>/.exec(body)?.[1] ?? '';
  const digest = createHash('sha256').update(style).digest('base64');
  const policy = headers.get('content-security-policy') ?? '';
  t.match(policy, "default-src 'none'");
  t.match(policy, `style-src 'sha256-${digest}'`, 'its own style is the only one');
  t.match(policy, 'sandbox');
  t.notMatch(policy, 'unsafe');
  t.equal(headers.get('content-disposition'), 'attachment; filename="customer-export-2026-06-01.html"');
  t.equal(headers.get('x-content-type-options'), 'nosniff');
  const { texts } = structureOf(body);
  const answer = await exportOf(ada.customer);
  for (const [name, { label }] of Object.entries<{ label: string }>(answer.body.sections)) {
    t.ok(body.includes(`<a href="#${name}">`) && body.includes(`<section id="${name}">`), `${name} is in the contents`);
    t.ok(
      texts.some((text) => unescaped(text).trim() === label),
      label,
    );
  }
});

t.test('after a merge it has what both had, and says what came from where', async (t) => {
  const one = await stockPerson(api, house);
  const other = await made('/v1/customers', {
    name: fresh('Twin'),
    identities: [{ kind: 'email', value: `${fresh('twin')}@example.org` }],
  });
  const order = await made('/v1/orders', {
    source: 'shop',
    externalId: fresh('twin-order'),
    customerId: other.id,
    placedAt: '2026-05-21T08:26:00Z',
    currency: 'GBP',
    total: 700,
    items: [{ sku: 'B', quantity: 1, total: 700 }],
    paymentStatus: 'paid',
  });
  const merge = await request('POST', `/v1/customers/${one.customer}/merge`, {
    body: { customerId: other.id },
    headers: { ...newKey(), 'If-Match': '*' },
  });
  t.ok(merge.status < 300, JSON.stringify(merge.body));
  const answer = await exportOf(one.customer);
  t.strictSame(answer.body.mergedFrom, [other.id]);
  t.match(
    recordsOf(answer, 'orders').find(({ id }) => id === order.id),
    { mergedFrom: other.id, currency: 'GBP' },
  );
  t.match(
    recordsOf(answer, 'orders').find(({ id }) => id === one.order),
    { mergedFrom: null },
  );
  t.match(recordsOf(answer, 'aliases'), [{ oldId: other.id }]);
  t.match(recordsOf(answer, 'merges'), [{ mergedId: other.id, survivorId: one.customer }]);
  t.ok(JSON.stringify(recordsOf(answer, 'identities')).includes(other.email));
  const page = await exportOf(one.customer, '?format=html');
  t.match(structureOf(page.body).texts.join(' '), /records that came from there say so/);
  t.ok(page.body.includes(`<dt>Merged from</dt><dd class="id">${other.id}</dd>`));
  const byOldId = await exportOf(other.id);
  t.equal(byOldId.status, 301, 'the id of the other leads to it');
  t.match(byOldId.headers.get('location'), `/v1/customers/${one.customer}/export`);
});

t.test('after erasing it has what is still held, and nothing of the person', async (t) => {
  const person = await stockPerson(api, house);
  await made('/v1/interactions', {
    customerId: person.customer,
    kind: 'phone',
    occurredAt: now,
    text: `I am ${person.name}`,
  });
  const before = await exportOf(person.customer);
  const personal = [`Name ${person.name}`, person.email, `nick ${person.name}`, `I am ${person.name}`];
  for (const one of personal) t.ok(JSON.stringify(before.body).includes(one), one);
  const erased = await request('POST', `/v1/customers/${person.customer}/erase`, { headers: newKey() });
  t.ok(erased.status < 300, JSON.stringify(erased.body));
  const answer = await exportOf(person.customer);
  const page = await exportOf(person.customer, '?format=html');
  t.equal(answer.body.erasedAt, now);
  t.match(page.body, 'The person was erased on 2026-06-01 12:00:00 UTC');
  for (const one of personal) {
    t.notOk(JSON.stringify(answer.body).includes(one), one);
    t.notOk(page.body.includes(one), one);
  }
  t.ok(
    recordsOf(answer, 'orders').some(({ id }) => id === person.order),
    'facts are still held',
  );
  t.ok(recordsOf(answer, 'tombstones').length > 0);
  t.strictSame(recordsOf(answer, 'identities'), []);
  structureOf(page.body);
});

t.test('many records come in pages, all of one instant, and no more of them are held than of a few', async (t) => {
  const { id } = await made('/v1/customers', { name: fresh('Busy') });
  await database.query(
    `insert into interactions (customer_id, id, version, kind, occurred_at, text, created_at, updated_at)
     select $1, gen_random_uuid(), 1, 'web_visit', timestamptz '2026-01-01' + n * interval '1 minute', 'visit ' || n, now(), now()
     from generate_series(1, 3500) n`,
    [id],
  );
  const answer = await exportOf(id);
  const visits = recordsOf(answer, 'interactions');
  t.equal(visits.length, 3_500);
  t.equal(new Set(visits.map((visit) => visit['id'])).size, 3_500);
  const page = await exportOf(id, '?format=html');
  t.equal(page.body.match(/<article>/g).length, structureOf(page.body).tags.filter((tag) => tag === 'article').length);
  t.ok(page.body.includes('visit 3500'));

  t.test('written meanwhile', async (t) => {
    // Each writes an order's worth of two tables in one transaction: an export has both of a pair, or neither.
    const writer = new pg.Client(api.connection);
    await writer.connect();
    let stopped = false;
    const writing = (async () => {
      while (!stopped) {
        await writer.query('begin');
        for (const table of ['interactions', 'returns']) {
          await writer.query(
            table === 'returns'
              ? `insert into returns (customer_id, id, version, source, external_id, returned_at, currency, total, created_at, updated_at)
                 values ($1, gen_random_uuid(), 1, 's', 'e', now(), 'EUR', 1, now(), now())`
              : `insert into interactions (customer_id, id, version, kind, occurred_at, text, created_at, updated_at)
                 values ($1, gen_random_uuid(), 1, 'chat', now(), 'pair', now(), now())`,
            [id],
          );
        }
        await writer.query('commit');
      }
    })();
    for (let round = 0; round < 5; round += 1) {
      const { body } = await exportOf(id);
      t.equal(body.sections.interactions.records.length, body.sections.interactions.count);
      t.equal(body.sections.interactions.count - 3_500, body.sections.returns.count);
    }
    stopped = true;
    await writing;
    await writer.end();
  });

  t.test('GraphQL sends them to REST when it is too much', async (t) => {
    await database.query("update interactions set text = repeat('x', 6000) where customer_id = $1", [id]);
    const { body } = await graphql('query ($id: ID!) { customerExport(id: $id) { text } }', { id });
    t.match(body.errors?.[0]?.extensions, { code: 'invalid_input', errors: [{ parameter: 'id', code: 'too_large' }] });
    t.ok(recordsOf(await exportOf(id), 'interactions').length >= 3_500);
  });
});

t.test('a gzipped buffer gives back what was written', async (t) => {
  const parts = Array.from({ length: 200 }, (_, index) => `${'ä'.repeat(index * 7)}😀${index}`);
  const buffer = await GzippedBuffer.of(async (write) => {
    for (const part of parts) await write(part);
  });
  const whole = parts.join('');
  t.equal(buffer.size, Buffer.byteLength(whole));
  t.equal(buffer.valueOf(), whole);
  t.equal(JSON.stringify({ buffer }), JSON.stringify({ buffer: whole }));
  const read: Buffer[] = [];
  for await (const chunk of buffer.stream()) read.push(chunk);
  t.equal(Buffer.concat(read).toString(), whole);
  await t.rejects(
    GzippedBuffer.of(async (write) => {
      await write('begun');
      throw new Error('then lost');
    }),
    { message: 'then lost' },
  );
});

t.test('how things are shown', async (t) => {
  t.equal(moneyText(1530, 'GBP'), 'GBP 15.30');
  t.equal(moneyText(-5, 'EUR'), 'EUR −0.05');
  t.equal(moneyText(123456789, 'EUR'), 'EUR 1,234,567.89');
  t.equal(moneyText(1530, 'JPY'), 'JPY 1,530');
  t.equal(moneyText(1530, 'KWD'), 'KWD 1.530');
  t.equal(moneyText(7, ''), '7');
  t.equal(labelOf('placedAt'), 'Placed at');
  t.equal(labelOf('id'), 'Id');
});
