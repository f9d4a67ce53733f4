import { writeFileSync } from 'node:fs';
import { parse } from 'csv-parse/sync';
import t from 'tap';
import { routes } from '../../../src/features.ts';
import { representationsOf } from '../../../src/platform/http/representations.ts';
import { testApp } from '../../support/app.ts';

/** What REST answers besides JSON: pictures of metrics, and tables of metrics and lists. */

const api = await testApp(t, { clock: () => '2024-06-15T12:00:00.000Z' });

async function send(method: string, path: string, body: unknown) {
  const headers = { 'Idempotency-Key': `k${keys++}` };
  const answer = await api.request(method, path, { body, headers });
  if (![200, 201].includes(answer.status)) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}
let keys = 0;

/** An answer as it is sent. */
async function get(path: string, accept?: string, scope = '*') {
  const answer = await fetch(`${api.origin}${path}`, {
    headers: { authorization: `Bearer ${api.token(scope)}`, ...(accept !== undefined && { accept }) },
  });
  return {
    status: answer.status,
    type: answer.headers.get('content-type'),
    headers: answer.headers,
    text: await answer.text(),
  };
}

const hostile = [
  '<script>alert(1)</script>',
  `a&"b'`,
  '=HYPERLINK("http://evil")',
  '+1+1',
  '-2+3',
  '@SUM(A1)',
  'line\r\nbreak, "quoted"',
  '\t=1',
];
for (let n = 0; n < 40; n += 1) {
  const { id } = await send('POST', '/v1/customers', {
    name: hostile[n] ?? `Customer ${n}`,
    address: { city: `=C${n}` },
  });
  for (let k = 0; k <= n % 6; k += 1) {
    await send('POST', '/v1/orders', {
      source: 'shop',
      externalId: `${n}-${k}`,
      customerId: id,
      placedAt: new Date(Date.UTC(2024, 0, 1 + ((n * 17 + k * 29) % 165))).toISOString(),
      currency: 'EUR',
      paymentStatus: 'paid',
      total: 1_000 + n * n * 50,
      items: [{ sku: 'A', quantity: 1, total: 1_000 + n * n * 50 }],
    });
  }
}

const folder = process.env['RAPPORT_TEST_PICTURES'];

t.test('every metric is a picture', async (t) => {
  const { body: contract } = await api.request('GET', '/openapi.json', { scope: null });
  const paths = Object.entries<any>(contract.paths).filter(
    ([, { get }]) => get?.responses[200].content['image/svg+xml'],
  );
  t.ok(paths.length >= 16, `${paths.length} metrics`);
  for (const [path] of paths) {
    for (const query of ['', '?interval=month', '?interval=month&from=2024-01-01&to=2024-07-01', '?to=1999-01-01']) {
      const answer = await get(`${path}.svg${query}`);
      if (answer.status === 422 || answer.status === 400) continue; // no such parameter
      t.equal(answer.status, 200, `${path}${query}: ${answer.text.slice(0, 300)}`);
      t.equal(answer.type, 'image/svg+xml; charset=utf-8');
      t.match(
        answer.text,
        /^<svg role="img" aria-labelledby="title desc"[^>]*><title id="title">[^<]+<\/title><desc id="desc">[^<]+<\/desc><style>@media/,
      );
      t.notMatch(answer.text, /<script|<foreignObject|<a |href|<image|NaN|undefined|Infinity/, `${path}${query}`);
      if (folder) writeFileSync(`${folder}/${path.split('/').at(-1)}${query.replaceAll(/\W/g, '_')}.svg`, answer.text);
    }
  }
});

t.test('a table of a metric: the whole, its intervals, its groups', async (t) => {
  const path = '/v1/metrics/average-order-value';
  const { body } = await api.request('GET', `${path}?interval=month`);
  const answer = await get(`${path}?interval=month`, 'text/csv');
  t.equal(answer.type, 'text/csv; charset=utf-8');
  const rows: Record<string, string>[] = parse(answer.text, { columns: true });
  t.equal(rows.length, 1 + body.series.length + body.groups.length);
  const shown = ({ value, numerator, denominator, lowSample }: any) => ({
    value: String(value),
    numerator: String(numerator),
    denominator: String(denominator),
    lowSample: String(lowSample),
  });
  t.match(rows[0], {
    group: '',
    start: '',
    ...shown(body),
    'values.orders': String(body.values.orders),
    unit: 'money',
  });
  for (const [index, point] of body.series.entries())
    t.match(rows[1 + index], {
      start: point.start,
      from: point.from,
      ...shown(point),
      complete: String(point.complete),
    });
  for (const [index, group] of body.groups.entries())
    t.match(rows[1 + body.series.length + index], { group: group.key, ...shown(group) });
  t.equal((await get(`${path}.csv?interval=month`)).text, answer.text, 'by suffix');
  const cohorts: Record<string, string>[] = parse((await get('/v1/metrics/cohorts.csv')).text, { columns: true });
  t.ok(cohorts.some(({ group, start }) => group === '2024-01-01' && start === '2024-03-01'));
});

t.test('a list as a table: what JSON has, and nothing that a spreadsheet runs', async (t) => {
  const { body } = await api.request('GET', '/v1/customers?limit=50&sort=createdAt');
  const answer = await get('/v1/customers?limit=50&sort=createdAt', 'text/csv');
  t.equal(answer.type, 'text/csv; charset=utf-8');
  const rows: Record<string, string>[] = parse(answer.text, { columns: true });
  t.same(
    rows.map(({ id }) => id),
    body.data.map(({ id }: any) => id),
  );
  t.equal(Object.keys(rows[0] ?? {}).filter((name) => name.startsWith('address.')).length > 3, true);
  for (const [index, row] of rows.entries()) {
    const name: string = body.data[index].name;
    t.equal(row['name'], /^[=+\-@\t]/.test(name) ? `'${name}` : name);
    t.equal(row['address.city'], `'=C${index}`);
    for (const [column, cell] of Object.entries(row)) t.notMatch(cell, /^[=+@\t\r]/, `${column}: ${cell}`);
  }
  t.match(JSON.parse(rows[0]?.['identities'] ?? ''), body.data[0].identities, 'lists in a record are JSON');
  const first = await get('/v1/orders.csv?limit=2');
  t.equal(parse(first.text, { columns: true }).length, 2);
  t.match(first.headers.get('link'), /\/v1\/orders\.csv\?limit=2&after=.+rel="next"/, 'the next page is a table too');
});

t.test('every list is a table whose columns have names', async (t) => {
  for (const { method, url, operation } of routes) {
    if (method !== 'GET' || url.startsWith('/v1/metrics/')) continue;
    for (const { suffix, of } of representationsOf(operation)) {
      t.equal(suffix, 'csv', url);
      const [columns = []]: string[][] = parse(await of({ data: [] } as never)); // a page of nothing
      t.ok(columns.length > 0 && columns.every((name) => name !== ''), `${url}: ${columns.join()}`);
      t.equal(new Set(columns).size, columns.length, `${url}: each once`);
    }
  }
});

t.test('who may not see it does not see it as a table or a picture either', async (t) => {
  const { text } = await get('/v1/customers.csv', undefined, 'customers:read');
  t.notMatch(text, /Customer 12/);
  t.equal((await get('/v1/customers.csv', undefined, 'metrics:read')).status, 403);
  t.equal((await get('/v1/metrics/rfm.svg', undefined, 'customers:read')).status, 403);
  const anonymous = await fetch(`${api.origin}/v1/metrics/rfm.svg`);
  t.equal(anonymous.status, 401);
  t.match(anonymous.headers.get('content-type'), /application\/problem\+json/);
});

t.test('what is asked for', async (t) => {
  const types = async (accept?: string) => (await get('/v1/metrics/rfm', accept)).type?.split(';')[0];
  t.equal(await types(), 'application/json');
  t.equal(await types('*/*'), 'application/json');
  t.equal(await types('application/json, text/csv;q=0.5'), 'application/json');
  t.equal(await types('text/csv, application/json;q=0.5'), 'text/csv');
  t.equal(await types('image/avif,image/webp,image/svg+xml,image/*;q=0.8,*/*;q=0.5'), 'image/svg+xml');
  t.equal(await types('application/pdf'), 'application/json', 'what there is not');
  t.equal((await get('/v1/metrics/rfm', 'text/csv')).headers.get('vary'), 'Accept');
  const { headers } = await get('/v1/metrics/rfm.svg');
  t.equal(headers.get('cache-control'), 'no-store');
  t.equal(headers.get('x-content-type-options'), 'nosniff');
  t.equal(headers.get('referrer-policy'), 'no-referrer');
  t.match(headers.get('content-security-policy'), /default-src 'none'/);
  t.match(await get('/v1/metrics/rfm.svg?asOf=yesterday'), { status: 422, type: /problem\+json/ }, 'errors are JSON');
  t.equal((await get('/v1/metrics/rfm.pdf')).status, 404);
});
