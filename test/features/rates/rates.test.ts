import pg from 'pg';
import t from 'tap';
import { type Answer, runJobs, testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf, pushOrder, pushReturn } from '../../support/shop.ts';

/** A shop in New York that reports in euros. Local dates there begin at 04:00 or 05:00 UTC. */
const api = await testApp(t, { env: { REPORTING_TIME_ZONE: 'America/New_York' } });
const { request } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);
const upload = (...rates: unknown[]) => request('PUT', '/v1/exchange-rates', { body: { rates } });
const rate = (currency: string, date: string, value: string | number) => ({ currency, date, rate: value });
const order = async (id: string) => (await request('GET', `/v1/orders/${id}`)).body;
const change = (kind: string, id: string, body: object) =>
  request('PATCH', `/v1/${kind}/${id}`, { body, headers: { 'If-Match': '*' } });

async function stats(customerId: string) {
  const { rows } = await database.query(
    `select currency, orders, revenue::int, base_orders, base_revenue::int, returns, returned::int, base_returns, base_returned::int
     from customer_stats where customer_id = $1 order by currency`,
    [customerId],
  );
  return rows;
}

t.test('an order freezes the latest rate of its local date, not older than seven days', async (t) => {
  await upload(rate('GBP', '2026-01-10', '1.15'), rate('GBP', '2026-01-12', 1.2));
  for (const [placedAt, expected] of [
    ['2026-01-10T04:59:59Z', null],
    ['2026-01-10T05:00:00Z', '1.15'],
    ['2026-01-12T04:59:59.999999Z', '1.15'],
    ['2026-01-12T05:00:00Z', '1.2'],
    ['2026-01-20T04:59:59.999999Z', '1.2'],
    ['2026-01-20T05:00:00Z', null],
  ] as const) {
    const { body } = await pushOrder(api, { placedAt, currency: 'GBP' });
    t.equal(body.exchangeRate, expected, placedAt);
    t.equal(body.baseRevenue, expected === null ? null : Math.round(Number(expected) * 1000));
  }
  t.equal(
    (await pushOrder(api, { placedAt: '2026-01-10T06:00:00Z', currency: 'GBP', exchangeRate: '1.5' })).body
      .exchangeRate,
    '1.5',
    'a given rate comes first',
  );
  t.equal((await pushOrder(api, { exchangeRate: 1 })).body.exchangeRate, '1');
  t.same(codes((await pushOrder(api, { exchangeRate: '1.1' })).body), ['/exchangeRate base_currency']);
  for (const bad of ['0', -1, 0, '1e3', 1e10, 'x', '1,5', true]) {
    const refused = await pushOrder(api, { currency: 'GBP', exchangeRate: bad });
    t.match(refused, { status: 422, body: { errors: [{ pointer: '/exchangeRate' }] } }, String(bad));
  }
});

t.test(
  'amounts are converted exactly, between currencies of two, none and three decimals, halves away from zero',
  async (t) => {
    for (const [currency, total, exchangeRate, expected] of [
      ['GBP', 1, '0.5', 1],
      ['GBP', 3, '0.5', 2],
      ['GBP', 5, '0.5', 3],
      ['GBP', 1, '0.499999999999', 0],
      ['JPY', 1, '0.005', 1],
      ['JPY', 1, '0.0049', 0],
      ['JPY', 1000, '0.0061', 610],
      ['KWD', 1000, '3', 300],
      ['KWD', 5, '1', 1],
      ['KWD', 4, '1', 0],
      ['USD', 999_999_999_999, '1.1', 1_099_999_999_999],
      ['USD', 1_000_000_000_000, '9007.199254740991', null],
    ] as const) {
      const { body } = await pushOrder(api, { currency, total, exchangeRate });
      t.equal(body.baseRevenue, expected, `${total} ${currency} at ${exchangeRate}`);
      t.equal((await order(body.id)).exchangeRate, body.exchangeRate);
      if (total < 1000) {
        const given = await pushReturn(api, { currency, total, exchangeRate });
        t.equal(given.body.baseTotal, expected, `a return of ${total} ${currency} at ${exchangeRate}`);
      }
    }
    const taxed = await pushOrder(api, {
      currency: 'GBP',
      total: 0,
      items: [],
      tax: 5,
      taxIncluded: true,
      exchangeRate: '0.5',
    });
    t.match(taxed.body, { revenue: -5, baseRevenue: -3 }, 'away from zero below zero too');
    t.equal(
      (await pushOrder(api, { currency: 'GBP', exchangeRate: '01.50' })).body.exchangeRate,
      '1.5',
      'answered as the shortest decimal',
    );
    t.equal((await pushOrder(api, { currency: 'GBP', exchangeRate: 1e-7 })).body.exchangeRate, '0.0000001');
    t.equal((await pushOrder(api, { currency: 'GBP', exchangeRate: 1 / 1.1534 })).body.exchangeRate, '0.867001907404');
  },
);

t.test('a fact without a rate is accepted, counts in its own currency, and is completed by an upload', async (t) => {
  const customer = { externalId: fresh('late') };
  const placedAt = '2026-02-01T12:00:00Z';
  const { body: first } = await pushOrder(api, { customer, currency: 'CHF', placedAt });
  const { body: second } = await pushOrder(api, { customer, currency: 'CHF', placedAt: '2026-02-03T12:00:00Z' });
  const { body: given } = await pushReturn(api, { customer, currency: 'CHF', returnedAt: placedAt });
  t.match([first.exchangeRate, first.baseRevenue, given.exchangeRate, given.baseTotal], [null, null, null, null]);
  const counts = { currency: 'CHF', orders: 2, revenue: 2000, returns: 1, returned: 500 };
  t.match(await stats(first.customerId), [
    { ...counts, base_orders: 0, base_revenue: 0, base_returns: 0, base_returned: 0 },
  ]);

  const answer = await upload(rate('CHF', '2026-01-26', '1.06'));
  t.match(answer, { status: 200, body: { stored: 1, completedOrders: 1, completedReturns: 1 } });
  t.match(await order(first.id), { exchangeRate: '1.06', baseRevenue: 1060, version: 2 });
  t.equal((await order(second.id)).exchangeRate, null, 'eight days later is too late');
  t.match((await request('GET', `/v1/returns/${given.id}`)).body, { exchangeRate: '1.06', baseTotal: 530 });
  t.match(await stats(first.customerId), [
    { ...counts, base_orders: 1, base_revenue: 1060, base_returns: 1, base_returned: 530 },
  ]);

  t.match(
    (await upload(rate('CHF', '2026-01-26', '1.06'))).body,
    { stored: 0, completedOrders: 0 },
    'the same again is nothing new',
  );
  t.match((await upload(rate('CHF', '2026-01-26', '2'))).body, { stored: 1, completedOrders: 0 });
  t.equal((await order(first.id)).exchangeRate, '1.06', 'a frozen rate stays');
  t.equal(
    (await pushOrder(api, { currency: 'CHF', placedAt })).body.exchangeRate,
    '2',
    'a new order takes the new one',
  );
});

t.test('an edit freezes anew only when the currency or the local date changes', async (t) => {
  await upload(rate('SEK', '2026-03-10', '0.1'), rate('SEK', '2026-03-11', '0.2'), rate('NOK', '2026-03-10', '0.3'));
  const { body: made } = await pushOrder(api, { currency: 'SEK', placedAt: '2026-03-10T12:00:00Z' });
  await upload(rate('SEK', '2026-03-10', '0.15'));
  const rateAfter = async (body: object) => (await change('orders', made.id, body)).body.exchangeRate;
  t.equal(await rateAfter({ channel: 'x' }), '0.1');
  t.equal(await rateAfter({ total: 2000, items: [{ sku: 'A', quantity: 1, total: 2000 }] }), '0.1');
  t.equal(await rateAfter({ placedAt: '2026-03-11T03:59:59Z' }), '0.1', 'still the tenth in New York');
  t.equal(await rateAfter({ placedAt: '2026-03-11T04:00:00Z' }), '0.2');
  t.equal(await rateAfter({ placedAt: '2026-03-10T12:00:00Z' }), '0.15');
  t.equal(await rateAfter({ currency: 'NOK' }), '0.3');
  t.equal(await rateAfter({ exchangeRate: '0.7' }), '0.7');
  t.equal(await rateAfter({ exchangeRate: null }), '0.3', 'null looks up again');
  t.equal(await rateAfter({ currency: 'EUR' }), '1');
  t.equal(await rateAfter({ currency: 'DKK' }), null);
  const {
    source: _,
    externalId,
    ...document
  } = orderOf({ externalId: made.externalId, currency: 'SEK', placedAt: '2026-03-10T12:00:00Z' });
  const put = await request('PUT', `/v1/orders/external/shop/${externalId}`, { body: document });
  t.match(put.body, { exchangeRate: '0.15', baseRevenue: 150 });
  await upload(rate('SEK', '2026-03-10', '0.16'));
  t.equal(
    (await request('PUT', `/v1/orders/external/shop/${externalId}`, { body: document })).body.exchangeRate,
    '0.15',
  );
});

t.test('rates are listed, and a bad upload stores none of its rates', async (t) => {
  await upload(rate('PLN', '2026-04-01', '0.23'), rate('PLN', '2026-04-02', '0.24'), rate('CZK', '2026-04-02', '0.04'));
  const list = await request('GET', '/v1/exchange-rates?from=2026-04-01&to=2026-04-02&count=true');
  t.match(list.body, { data: [rate('PLN', '2026-04-01', '0.23')], page: { total: 1 } });
  const first = await request('GET', '/v1/exchange-rates?from=2026-04-01&limit=1&sort=date');
  const rest = await request('GET', `/v1/exchange-rates?from=2026-04-01&sort=date&after=${first.body.page.next}`);
  t.same(
    [...first.body.data, ...rest.body.data],
    [rate('PLN', '2026-04-01', '0.23'), rate('CZK', '2026-04-02', '0.04'), rate('PLN', '2026-04-02', '0.24')],
  );
  t.equal((await request('GET', '/v1/exchange-rates?currency=PLN')).body.data.length, 2);
  for (const [rates, expected] of [
    [[rate('PLN', '2026-04-03', '1'), rate('EUR', '2026-04-03', '1')], '/rates/1 base_currency'],
    [[rate('PLN', '2026-04-03', '1'), rate('PLN', '2026-04-03', '2')], '/rates/1 duplicate'],
    [[rate('PLN', '2026-02-30', '1')], '/rates/0/date invalid_format'],
    [[rate('PLN', '2026-04-03', '0')], '/rates/0/rate rate_out_of_range'],
    [[], '/rates too_small'],
  ] as const) {
    const refused = await upload(...rates);
    t.same([refused.status, ...codes(refused.body)], [422, expected]);
  }
  t.equal((await request('GET', '/v1/exchange-rates?from=2026-04-03')).body.data.length, 0);
  t.equal(
    (
      await request('PUT', '/v1/exchange-rates', {
        body: { rates: [rate('PLN', '2026-04-03', '1')] },
        scope: 'exchange-rates:read',
      })
    ).status,
    403,
  );
});

t.test('an upload that races with orders leaves none without its rate', async (t) => {
  for (let round = 0; round < 12; round += 1) {
    const date = `2025-${String(round + 1).padStart(2, '0')}-15`;
    const customer = { externalId: fresh('racer') };
    const placedAt = `${date}T12:00:00Z`;
    const [, ...pushed] = await Promise.all([
      new Promise((resolve) => setTimeout(resolve, round % 4)).then(() => upload(rate('AUD', date, '0.6'))),
      ...Array.from({ length: 6 }, (_, i) =>
        i === 5
          ? pushReturn(api, { customer, currency: 'AUD', returnedAt: placedAt })
          : pushOrder(api, { customer, currency: 'AUD', placedAt }),
      ),
    ]);
    t.ok(pushed.every(({ status }) => status === 201));
    t.match(await stats(pushed[0]?.body.customerId), [
      { orders: 5, base_orders: 5, base_revenue: 3000, returns: 1, base_returns: 1, base_returned: 300 },
    ]);
  }
});

t.test('corrected rates restate what was looked up, and nothing else', async (t) => {
  const restate = (rates: unknown[], query = '') =>
    request('PUT', `/v1/exchange-rates?restate=true${query}`, { body: { rates } });
  const customer = { externalId: fresh('restated') };
  const push = (day: string, members: object = {}) =>
    pushOrder(api, { customer, currency: 'AUD', placedAt: `${day}T12:00:00Z`, ...members });
  await upload(...['2026-05-09', '2026-05-10', '2026-05-12'].map((date) => rate('AUD', date, '0.5')));
  const before = (await push('2026-05-09')).body;
  const first = (await push('2026-05-10', { total: 3000, items: [{ sku: 'A', quantity: 1, total: 3000 }] })).body;
  const between = (await push('2026-05-12')).body;
  const cancelled = (await push('2026-05-11', { cancelledAt: '2026-05-11T13:00:00Z' })).body;
  const given = (await push('2026-05-10', { exchangeRate: '0.55' })).body;
  const same = (await push('2026-05-10', { exchangeRate: '0.5' })).body;
  const returned = (await pushReturn(api, { customer, currency: 'AUD', returnedAt: '2026-05-11T12:00:00Z' })).body;
  const customerId = first.customerId;

  const corrected = [rate('AUD', '2026-05-10', '0.6')];
  const expected = {
    asJob: false,
    currencies: [
      {
        currency: 'AUD',
        orders: 2,
        returns: 1,
        kept: 2,
        revenueBefore: 1500,
        revenueAfter: 1800,
        returnedBefore: 250,
        returnedAfter: 300,
      },
    ],
  };
  const plain = await upload(rate('AUD', '2026-05-10', '0.5'));
  t.equal(plain.body.restated, null, 'only on request');
  const tried = await restate(corrected, '&dryRun=true');
  t.match(tried, { status: 200, body: { stored: 1 } });
  t.strictSame(tried.body.restated, expected, 'a dry run says what would change');
  t.match(await order(first.id), { exchangeRate: '0.5', version: 1 }, 'and changes nothing');
  const graph = await api.graphql(
    `mutation { putExchangeRates(restate: true, dryRun: true, rates: [{ currency: "AUD", date: "2026-05-10", rate: "0.6" }]) {
      restated { asJob currencies { currency orders returns kept revenueBefore revenueAfter returnedBefore returnedAfter } } } }`,
  );
  t.strictSame(graph.body.data?.putExchangeRates.restated, expected, JSON.stringify(graph.body.errors));

  t.strictSame((await restate(corrected)).body.restated, expected);
  t.match(await order(first.id), { exchangeRate: '0.6', baseRevenue: 1800, version: 2 });
  t.match(await order(cancelled.id), { exchangeRate: '0.6', version: 2 });
  for (const [kept, is] of [
    [before, '0.5'],
    [between, '0.5'],
    [given, '0.55'],
    [same, '0.5'],
  ] as const) {
    t.match(await order(kept.id), { exchangeRate: is, version: 1 });
  }
  t.match((await request('GET', `/v1/returns/${returned.id}`)).body, { exchangeRate: '0.6', baseTotal: 300 });
  t.match(await stats(customerId), [
    { orders: 5, base_orders: 5, base_revenue: 500 + 1800 + 500 + 550 + 500, returns: 1, base_returned: 300 },
  ]);
  t.match((await restate(corrected)).body, {
    stored: 0,
    restated: { currencies: [{ orders: 0, returns: 0, kept: 2, revenueBefore: 0, revenueAfter: 0 }] },
  });

  await change('orders', given.id, { exchangeRate: null });
  t.match(await order(given.id), { exchangeRate: '0.6', baseRevenue: 600 }, 'null takes what is uploaded');
  t.match((await restate([rate('AUD', '2026-05-10', '0.7')])).body.restated.currencies, [{ orders: 3, kept: 1 }]);
  t.equal((await order(given.id)).exchangeRate, '0.7', 'and from then on it is looked up');
});

t.test('a rate reaches seven days, also when it is corrected or comes in between', async (t) => {
  await upload(rate('NZD', '2026-05-01', '0.5'));
  const orders = new Map<string, string>();
  for (const day of ['01', '02', '08']) {
    const { body } = await pushOrder(api, { currency: 'NZD', placedAt: `2026-05-${day}T12:00:00Z` });
    orders.set(day, body.id);
  }
  const restate = (...rates: unknown[]) => request('PUT', '/v1/exchange-rates?restate=true', { body: { rates } });
  const rates = () => Promise.all([...orders.values()].map(async (id) => (await order(id)).exchangeRate));
  await restate(rate('NZD', '2026-05-02', '0.6'));
  t.strictSame(await rates(), ['0.5', '0.6', '0.6']);
  await upload(rate('NZD', '2026-05-01', '0.4'));
  t.strictSame(await rates(), ['0.5', '0.6', '0.6']);
  await restate(rate('NZD', '2026-05-01', '0.4'));
  t.strictSame(await rates(), ['0.4', '0.6', '0.6'], 'what was corrected before is restated by sending it again');
});

t.test('what a previous version wrote counts as looked up if it has the rate that was uploaded', async (t) => {
  await upload(rate('SGD', '2026-05-01', '0.6'));
  const placedAt = '2026-05-03T12:00:00Z';
  const { body: looked } = await pushOrder(api, { currency: 'SGD', placedAt });
  const { body: other } = await pushOrder(api, { currency: 'SGD', placedAt, exchangeRate: '0.61' });
  await database.query('update orders set rate_given = null where id = any($1)', [[looked.id, other.id]]);
  const body = { rates: [rate('SGD', '2026-05-01', '0.7')] };
  const { restated } = (await request('PUT', '/v1/exchange-rates?restate=true', { body })).body;
  t.match(restated.currencies, [{ orders: 1, kept: 1 }]);
  t.equal((await order(looked.id)).exchangeRate, '0.7');
  t.equal((await order(other.id)).exchangeRate, '0.61');
});

t.test('a job restates what is much', async (t) => {
  await upload(rate('HKD', '2026-05-01', '0.1'));
  const count = 501;
  const orders = Array.from({ length: count }, (_, n) =>
    orderOf({ customer: { externalId: `much-${n % 7}` }, currency: 'HKD', placedAt: '2026-05-01T12:00:00Z' }),
  );
  await request('POST', '/v1/orders/batch', { body: { orders }, headers: newKey() });
  const body = { rates: [rate('HKD', '2026-05-01', '0.2')] };
  const restate = (query = '') => request('PUT', `/v1/exchange-rates?restate=true${query}`, { body });
  const sum = async () => {
    const { rows } = await database.query(
      `select sum(base_revenue)::int as facts, (select sum(base_revenue)::int from customer_stats where currency = 'HKD') as stats from orders where currency = 'HKD'`,
    );
    return rows[0];
  };
  const expected = {
    asJob: true,
    currencies: [{ orders: count, revenueBefore: count * 100, revenueAfter: count * 200 }],
  };
  t.match((await restate('&dryRun=true')).body.restated, expected);
  t.equal(await runJobs(api), 0, 'a dry run adds no job');
  t.match((await restate()).body.restated, expected);
  t.strictSame(await sum(), { facts: count * 100, stats: count * 100 });
  t.equal(await runJobs(api), 1);
  t.strictSame(await sum(), { facts: count * 200, stats: count * 200 });
  t.match((await restate()).body.restated, { asJob: false, currencies: [{ orders: 0, kept: 0 }] });
});

t.test('who writes a record without a rate is warned', async (t) => {
  const warned = ({ body }: Answer) => body.warnings.map(({ code }: { code: string }) => code);
  const foreign = { currency: 'BRL', customer: { externalId: fresh('warned') } };
  const made = await pushOrder(api, foreign);
  t.strictSame(warned(made), ['missing_rate']);
  t.strictSame(warned(await pushReturn(api, foreign)), ['missing_rate']);
  t.strictSame(warned(await change('orders', made.body.id, { channel: 'web' })), ['missing_rate']);
  t.strictSame(warned(await change('orders', made.body.id, { exchangeRate: '0.2' })), []);
  t.strictSame(warned(await change('orders', made.body.id, { exchangeRate: null })), ['missing_rate']);
  t.strictSame(warned(await pushOrder(api, { ...foreign, exchangeRate: '0.2' })), []);
  t.strictSame(warned(await pushOrder(api)), []);
  const batch = await request('POST', '/v1/orders/batch', { body: { orders: [orderOf(foreign), orderOf()] } });
  t.match(batch.body.results, [{ status: 'created', warnings: [{ code: 'missing_rate' }] }, { status: 'created' }]);
  t.equal(batch.body.results[1].warnings, undefined);
  const graph = await api.graphql(
    `mutation ($id: ID!) { updateOrder(id: $id, expectedVersion: "*", input: { exchangeRate: null }) { warnings { code } } }`,
    { id: made.body.id },
  );
  t.same(graph.body.data?.updateOrder.warnings, [{ code: 'missing_rate' }], JSON.stringify(graph.body.errors));
});
