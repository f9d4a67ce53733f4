import t from 'tap';
import { metricResult } from '../../src/features/metrics/model.ts';
import { rollupDifferences } from '../../src/features/rollups/queries.ts';
import { routes } from '../../src/features.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { testApp } from '../support/app.ts';

/** The largest amounts, rates, quantities and periods that are allowed: never a 5xx, and no digit lost. */

t.setTimeout(120_000);
const service = await testApp(t, { clock: () => '2026-03-01T00:00:00.000Z' });
const trillion = 1_000_000_000_000;
let calls = 0;

async function send(method: string, path: string, body?: unknown) {
  calls += 1;
  const answer = await service.request(method, path, { body, headers: { 'Idempotency-Key': `call-${calls}` } });
  if (answer.status >= 500) throw new Error(`${answer.status} ${method} ${path}: ${JSON.stringify(answer.body)}`);
  return answer;
}

function order(externalId: string, more: object = {}) {
  const items = [
    { sku: 'A', quantity: 1e9, total: trillion, cost: trillion, unitPrice: '999999999999999.999999999999' },
  ];
  const customer = { source: 'shop', externalId: 'rich' };
  const placed = { placedAt: '2026-01-01T00:00:00Z', currency: 'EUR', total: trillion, paymentStatus: 'paid' };
  return { source: 'shop', externalId, customer, ...placed, items, ...more };
}

function many(count: number, name: string, more: object) {
  return Array.from({ length: count }, (_, i) => order(`${name}-${i}`, more));
}

const metrics = routes.flatMap(({ method, url, operation }) =>
  method === 'GET' && url.startsWith('/v1/metrics/') && operation.output === metricResult ? [url] : [],
);
const questions = [
  ...['', 'interval=month', 'currency=USD', 'currency=EUR&interval=year', 'payment=paid', 'timeZone=Asia/Kathmandu'],
  ...['from=2026-01-01&to=2026-03-01', 'from=2026-01-01&to=2026-03-01&interval=day', 'from=1000-01-01&to=9998-12-30'],
  'from=2023-06-05&to=2026-03-01&interval=day',
];

t.test('conversions at the edges of the rates', async (test) => {
  const base = async (currency: string, exchangeRate: string | number, total = trillion) => {
    const items = [{ sku: 'A', quantity: 1, total }];
    const { status, body } = await send(
      'POST',
      '/v1/orders',
      order(`${currency}${exchangeRate}${total}`, {
        currency,
        exchangeRate,
        total,
        items,
        customer: { source: 'shop', externalId: 'edge' },
      }),
    );
    test.equal(status, 201, JSON.stringify(body));
    return body.baseRevenue;
  };
  test.equal(await base('USD', '1000000000'), null, 'beyond 2^53: no base value rather than a wrong one');
  test.equal(await base('USD', 1e-9), 1000);
  test.equal(await base('USD', '0.000000001'), 1000);
  test.equal(await base('JPY', '9007', trillion), null);
  test.equal(await base('JPY', '90'), 9_000_000_000_000_000 - 0, '100 minor units of EUR per yen');
  test.equal(await base('USD', '9007.199254740990', trillion), 9_007_199_254_740_990);
  test.equal(await base('USD', '9007.199254740991', trillion), null);
});

t.test('amounts beyond 2^53 in the single view and in every metric', async (test) => {
  for (const part of [1, 2, 3]) {
    const { body } = await send('POST', '/v1/orders/batch', {
      orders: many(334, `usd${part}`, { currency: 'USD', exchangeRate: '9007' }),
    });
    test.ok(body.results.every((result: { status: string }) => result.status === 'created'));
  }
  const { body: summary } = await send('GET', '/v1/customers/external/shop/rich/summary');
  test.equal(summary.base.revenue, null, 'null, not a rounded sum');
  test.equal(summary.perCurrency[0].revenue, 1002 * trillion);
  test.equal(summary.base.averageOrderValue, 9007 * trillion);
  for (const url of metrics) {
    for (const question of questions) {
      const { status, body } = await send('GET', `${url}?${question}`);
      if (status === 200) test.ok(typeof body.value === 'number' || body.reason !== null, `${url}?${question}`);
      else test.ok(body.errors?.[0]?.parameter, `${url}?${question}: ${JSON.stringify(body)}`);
    }
  }
  const { body: average } = await send(
    'GET',
    '/v1/metrics/average-order-value?currency=USD&from=2026-01-01&to=2026-02-01',
  );
  test.equal(average.groups[0].value, trillion);
});

t.test('sums that nobody could keep are refused, alone and in a batch, and leave the rollups right', async (test) => {
  const more = { currency: 'USD', exchangeRate: '9007' };
  const { body } = await send('POST', '/v1/orders/batch', { orders: many(30, 'over', more) });
  const refused = body.results.filter((result: { status: string }) => result.status === 'refused');
  test.ok(refused.length > 0 && refused.length < 30);
  test.equal(refused[0].error.errors[0].code, 'sum_out_of_range');
  const alone = await send('POST', '/v1/orders', order('alone', more));
  test.equal(alone.status, 422);
  test.match(alone.body.errors, [{ pointer: '', code: 'sum_out_of_range' }]);
  const pool = openPool(service.connection, { size: 1, statementTimeout: 30_000 });
  t.teardown(() => pool.end());
  test.same(await rollupDifferences(poolDb(pool), 'UTC', 10), []);
});

t.test('a thousand intervals are answered, more are not', async (test) => {
  // Cohorts have a limit of their own, because each has a series: see analytics.test.ts.
  const withSeries = routes.flatMap(({ url, operation }) =>
    metrics.includes(url) && 'interval' in operation.input.shape && operation.name !== 'getCohorts' ? [url] : [],
  );
  for (const url of withSeries) {
    const thousand = await send('GET', `${url}?from=2023-06-07&to=2026-03-03&interval=day`);
    test.equal(thousand.body.series?.length, 1_000, url);
    for (const range of [
      'from=2023-06-06&to=2026-03-03',
      'from=1600-01-01&to=2026-03-03',
      'from=5999-01-01&to=9998-12-30',
    ]) {
      const { status, body } = await send('GET', `${url}?${range}&interval=day`);
      test.equal(status, 422, `${url}?${range}`);
      test.match(body.errors, [{ parameter: 'interval', code: 'too_many_intervals' }]);
    }
  }
});

t.test('years that cannot be counted in are refused with the parameter or member', async (test) => {
  for (const url of metrics) {
    for (const [name, value] of [
      ['from', '0001-01-01'],
      ['to', '9999-12-31'],
      ['asOf', '0999-12-31T23:59:59Z'],
      ['asOf', '0000-01-01'],
    ]) {
      const { status, body } = await send('GET', `${url}?${name}=${value}`);
      test.equal(status, 422, `${url}?${name}=${value}`);
      test.ok(['from', 'to', 'asOf'].includes(body.errors?.[0]?.parameter), JSON.stringify(body));
    }
    for (const zone of ['America/New_York', 'Pacific/Kiritimati']) {
      for (const asOf of [
        '1000-01-01T00:00:00Z',
        '1000-01-31T20:00:00Z',
        '1001-01-01T00:00:00Z',
        '9998-12-31T23:00:00Z',
      ]) {
        await send('GET', `${url}?asOf=${asOf}&timeZone=${zone}`);
        await send('GET', `${url}?asOf=${asOf}&timeZone=${zone}&variant=four_factor`);
      }
    }
  }
  for (const placedAt of ['0001-01-01T00:00:00Z', '1000-01-01T00:00:00+01:00']) {
    const { body } = await send('POST', '/v1/orders', order(placedAt, { placedAt }));
    test.match(body.errors, [{ pointer: '/placedAt', code: 'out_of_range' }]);
  }
  for (const cancelledAt of ['9999-12-31T00:00:00Z', '9998-12-31T23:59:59-01:00']) {
    const { body } = await send('POST', '/v1/orders', order(cancelledAt, { cancelledAt }));
    test.match(body.errors, [{ pointer: '/cancelledAt', code: 'out_of_range' }]);
  }
  test.equal((await send('POST', '/v1/orders', order('old', { placedAt: '1000-01-01T00:00:00Z' }))).status, 201);
});

t.test('time zones that the database reads differently are refused', async (test) => {
  for (const timeZone of ['CET', 'MET', 'EET', 'WET', 'PST', 'IST', 'SystemV/EST5EDT', 'US/Pacific-New', '+02:00']) {
    const { body } = await send('GET', `/v1/metrics/purchase-gaps?timeZone=${encodeURIComponent(timeZone)}`);
    test.match(body.errors, [{ parameter: 'timeZone' }], timeZone);
  }
});

t.test('an id in capitals is the same id', async (test) => {
  const { body: made } = await send('POST', '/v1/customers', { name: 'Ada' });
  const path = `/v1/customers/${made.id.toUpperCase()}`;
  test.equal((await send('GET', path)).body.id, made.id);
  const patched = await service.request('PATCH', path, { body: { name: 'Grace' }, headers: { 'If-Match': '*' } });
  test.equal(patched.body.name, 'Grace');
  const { body: friend } = await send('POST', '/v1/customers', { name: 'Bob', referredBy: made.id.toUpperCase() });
  test.equal(friend.referredBy, made.id);
});
