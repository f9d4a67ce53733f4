import { once } from 'node:events';
import { get } from 'node:http';
import { parse } from 'csv-parse/sync';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { aCustomer, anOrder, imported, ndjson } from '../../support/imports.ts';

const api = await testApp(t);
await imported(api, 'kind=customers', ndjson(Array.from({ length: 50 }, (_, n) => aCustomer(n))));
await imported(api, 'kind=orders', ndjson(Array.from({ length: 1_230 }, (_, n) => anOrder(n))));

type Caller = Parameters<typeof api.request>[2];

async function listed(path: string, caller: Caller = {}): Promise<any[]> {
  const found: any[] = [];
  for (let after = ''; ; ) {
    const { body } = await api.request('GET', `${path}${path.includes('?') ? '&' : '?'}limit=100${after}`, caller);
    found.push(...body.data);
    if (!body.page.hasMore) return found.sort((a, b) => (a.id < b.id ? -1 : 1));
    after = `&after=${encodeURIComponent(body.page.next)}`;
  }
}

async function exported(path: string, caller: Caller = {}): Promise<any[]> {
  const { status, body } = await api.request('GET', path, caller);
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
  return String(body)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

t.test('an export has what the list has, in the order of the ids', async (t) => {
  for (const kind of ['customers', 'orders', 'refunds', 'returns', 'interactions', 'campaigns']) {
    t.strictSame(await exported(`/v1/exports/${kind}`), await listed(`/v1/${kind}`), kind);
  }
  const orders = await exported('/v1/exports/orders');
  t.equal(orders.length, 1_230);
  const filter = 'paymentStatus=paid&placedFrom=2026-01-01T00:00:00Z&customerId=';
  const [{ customerId }] = orders;
  t.strictSame(
    await exported(`/v1/exports/orders?${filter}${customerId}`),
    await listed(`/v1/orders?${filter}${customerId}`),
  );
  const public_ = { scope: 'customers:read' };
  t.strictSame(
    await exported('/v1/exports/customers', public_),
    await listed('/v1/customers', public_),
    'without personal data',
  );
  t.notMatch(JSON.stringify(await exported('/v1/exports/customers', public_)), /example\.org/);
});

t.test('it goes on behind any record', async (t) => {
  const all = await exported('/v1/exports/orders');
  const rest = await exported(`/v1/exports/orders?after=${all[700].id}`);
  t.strictSame(rest, all.slice(701));
});

t.test('customers by a tree of conditions', async (t) => {
  const filter = { field: 'name', op: 'eq', value: 'Customer 7' };
  const searched = await api.request('POST', '/v1/customers/search', { body: { filter, limit: 100 } });
  t.equal(searched.status, 200, JSON.stringify(searched.body));
  const found = await exported(`/v1/exports/customers?filter=${encodeURIComponent(JSON.stringify(filter))}`);
  t.strictSame(found, searched.body.data);
  t.equal(found.length, 1);
  t.match(await api.request('GET', '/v1/exports/customers?filter=nonsense'), {
    status: 422,
    body: { errors: [{ parameter: 'filter' }] },
  });
});

t.test('CSV whose cells no spreadsheet runs, and which comes back as it was', async (t) => {
  const names = ['=1+1', "'=1+1", '@here', '-minus', 'a, "b"\nc', "O'Hara", ' spaces '];
  await imported(api, 'kind=customers', ndjson(names.map((name, n) => aCustomer(9_000 + n, { name }))));
  const { body, headers } = await api.request('GET', '/v1/exports/customers?format=csv');
  t.match(headers.get('content-type'), 'text/csv');
  const rows: any[] = parse(body, { columns: true });
  const all = await listed('/v1/customers');
  t.equal(rows.length, all.length);
  t.notOk(rows.some(({ name }) => /^[=+\-@]/.test(name)));
  for (const [n, record] of all.entries()) {
    const { id, version, name, identities } = rows[n];
    t.strictSame(
      [id, Number(version), name.replace(/^'(?='*[=+\-@])/, ''), JSON.parse(identities)],
      [record.id, record.version, record.name, record.identities],
    );
  }
  // The same file, imported under other names.
  const query = new URLSearchParams({ kind: 'customers' });
  query.set('mapping.references.0.externalId', 'id');
  query.set('mapping.references.0.source', '{"value":"copy"}');
  const file = parse(body, { columns: true }).map((row: any) => `${row.id},"${row.name.replaceAll('"', '""')}"\r\n`);
  await imported(api, String(query), `id,name\r\n${file.join('')}`, { type: 'text/csv' });
  for (const record of all) {
    const copy = await api.request('GET', `/v1/customers/external/copy/${record.id}`);
    if (names.includes(record.name)) t.equal(copy.body.name, record.name);
  }
});

t.test('a partner has its own, and who may not read the list has nothing', async (t) => {
  const partner = await api.request('POST', '/v1/partners', {
    body: { name: 'Agency', status: 'active', fields: ['Customer.name'] },
  });
  t.equal(partner.status, 201, JSON.stringify(partner.body));
  const [customer] = await listed('/v1/customers');
  const path = `/v1/partners/${partner.body.id}/customers`;
  const shared = await api.request('POST', `${path}/batch`, {
    body: { customers: [{ customerId: customer.id }] },
  });
  t.equal(shared.status, 200, JSON.stringify(shared.body));
  const as = { partner: partner.body.id, scope: 'customers:read orders:read customers:pii' };
  const own = await exported('/v1/exports/customers', as);
  t.equal(own.length, 1, JSON.stringify(shared.body));
  t.strictSame(own, await listed('/v1/customers', as));
  t.strictSame(await exported('/v1/exports/orders', as), await listed('/v1/orders', as));
  t.match(
    await api.request('GET', '/v1/exports/customers?email=c1@example.org', as),
    { status: 403 },
    'it may not select by what it may not see',
  );
  t.match(await api.request('GET', '/v1/exports/campaigns', as), { status: 403 });
  t.match(await api.request('GET', '/v1/exports/orders', { scope: 'customers:read' }), {
    status: 403,
    body: { scope: 'orders:read' },
  });
  t.match(await api.request('GET', '/v1/exports/customers?email=c1@example.org', { scope: 'customers:read' }), {
    status: 403,
  });
});

t.test('the events since are told from its position', async (t) => {
  const { headers } = await api.request('GET', '/v1/exports/orders');
  await imported(api, 'kind=orders', ndjson([anOrder(99_999)]));
  const events = await api.request('GET', `/v1/events?kind=order&wait=5&after=${headers.get('events-after')}`);
  t.match(events.body.data, [{ type: 'order.created' }]);
  t.equal(events.body.data.length, 1);
});

t.test('who is shown is in the audit; one who reads no further holds nothing', async (t) => {
  const audit = await api.request('GET', '/v1/audit/entries?limit=100');
  t.ok(audit.status === 404 || JSON.stringify(audit.body).includes('listCustomers'));
  for (let n = 0; n < 8; n += 1) {
    const headers = { Authorization: `Bearer ${api.token('*')}` };
    const asked = get(`${api.origin}/v1/exports/orders`, { headers, agent: false });
    asked.on('error', () => undefined);
    const [answer] = await once(asked, 'response');
    t.equal(answer.statusCode, 200);
    answer.on('error', () => undefined);
    asked.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.equal((await exported('/v1/exports/orders')).length, 1_231);
});
