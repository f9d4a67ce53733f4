import t from 'tap';
import { metricResult } from '../../../src/features/metrics/model.ts';
import { testApp } from '../../support/app.ts';

/** Cohorts, RFM and concentration over both doors, of a shop small enough to be counted on fingers. */

const clock = () => '2026-04-10T12:00:00.000Z';
const app = await testApp(t, { clock });

let calls = 0;
async function ok(method: string, path: string, body?: unknown) {
  calls += 1;
  const answer = await app.request(method, path, { body, headers: { 'Idempotency-Key': `call-${calls}` } });
  if (answer.status >= 300) throw new Error(`${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}
const metric = async (path: string) => metricResult.parse(await ok('GET', `/v1/metrics/${path}`));

let orders = 0;
const order = (customer: string, day: string, total: number) => {
  orders += 1;
  return {
    customer: { source: 'shop', externalId: customer },
    source: 'shop',
    externalId: `o${orders}`,
    placedAt: `${day}T10:00:00Z`,
    currency: 'EUR',
    total,
    items: [{ sku: 'a', quantity: 1, total }],
    paymentStatus: 'paid',
  };
};

t.test('before anybody bought, each of them says why it is null', async (t) => {
  for (const name of ['cohorts', 'rfm', 'revenue-concentration']) {
    t.match(await metric(name), { value: null, reason: { code: 'no_buyers' } }, name);
  }
});

t.test('the shop', async () => {
  await ok('POST', '/v1/orders/batch', {
    orders: [
      order('ann', '2026-01-05', 5000),
      order('ann', '2026-02-05', 3000),
      order('ann', '2026-04-01', 2000),
      order('bob', '2026-01-20', 4000),
      order('bob', '2026-03-15', 2000),
      order('cy', '2026-02-10', 3000),
      order('dee', '2026-03-02', 1000),
      order('eve', '2026-03-03', 500),
    ],
  });
  // In March, when cy bought nothing; and of eve, more than the one order brought.
  for (const [customer, day, total] of [
    ['cy', '2026-03-20', 2000],
    ['eve', '2026-03-21', 1500],
  ] as const) {
    await ok('POST', '/v1/returns', {
      customer: { source: 'shop', externalId: customer },
      source: 'shop',
      externalId: `r-${customer}`,
      returnedAt: `${day}T10:00:00Z`,
      currency: 'EUR',
      total,
      tax: 0,
    });
  }
  for (const [customer, seconds] of [
    ['ann', 300],
    ['dee', 900],
  ] as const) {
    await ok('POST', '/v1/interactions', {
      customer: { source: 'shop', externalId: customer },
      kind: 'phone',
      occurredAt: '2026-03-05T10:00:00Z',
      seconds,
    });
  }
});

for (const [from, more] of [
  ['days of purchases', ''],
  ['facts', 'payment=paid'],
] as const) {
  t.test(`cohorts from ${from}: months of the first order, and what each did since`, async (t) => {
    const { value, numerator, denominator, values, groups } = await metric(`cohorts?${more}`);
    // Of January ann came back in February; of February nobody in March; March is not judged, April still runs.
    t.strictSame([value, numerator, denominator], [1 / 3, 1, 3]);
    t.match(values, { customers: 5, cohorts: 3, revenue: 17_000 });
    t.strictSame(
      groups.map(({ key, series }) => [
        key,
        ...series.map(({ numerator, values, complete }) => `${numerator} ${values['revenue']} ${complete}`),
      ]),
      [
        ['2026-01-01', '2 9000 true', '1 3000 true', '1 2000 true', '1 2000 false'],
        ['2026-02-01', '1 3000 true', '0 -2000 true', '0 0 false'],
        ['2026-03-01', '2 0 true', '0 0 false'],
        ['2026-04-01', '0 0 false'],
      ],
    );
    t.strictSame(
      groups[0]?.series.map(({ values }) => values['cumulativeRevenuePerCustomer']),
      [4500, 6000, 7000, 8000],
    );
    const later = await metric(`cohorts?activity=on_or_after&${more}`);
    t.strictSame(
      later.groups.map(({ series }) => series.map(({ numerator }) => numerator)),
      [[2, 2, 2, 1], [1, 0, 0], [2, 0], [0]],
    );
    const march = await metric(`cohorts?from=2026-03-01&to=2026-04-01&${more}`);
    t.strictSame(
      march.groups.map(({ key, series }) => [key, series[0]?.denominator, series.length]),
      [['2026-03-01', 2, 2]],
      'who bought before is in no cohort of the period',
    );
  });

  t.test(`concentration from ${from}`, async (t) => {
    // ann 10,000, bob 6,000, cy 1,000, dee 1,000, eve −1,000: 17,000 in all, 80 % of it is 13,600.
    const { value, values, groups, currency } = await metric(`revenue-concentration?${more}`);
    t.equal(value, 10_000 / 17_000);
    t.equal(currency, 'EUR');
    t.strictSame(values, {
      customers: 5,
      topCustomers: 1,
      topRevenue: 10_000,
      revenue: 17_000,
      customersBringing80: 2,
      shareOfCustomersBringing80: 0.4,
      lossMakingCustomers: 1,
      lossMakingRevenue: -1000,
      contactTimeShareOfRest: 0.75,
    });
    t.strictSame(
      groups.map(({ key, numerator }) => [key, numerator]),
      [
        ['top_1', 10_000],
        ['top_5', 10_000],
        ['top_10', 10_000],
        ['top_20', 10_000],
        ['top_30', 16_000],
        ['top_50', 17_000],
      ],
    );
    // January and February: ann 8,000, bob 4,000, cy 3,000: the first two bring exactly 80 % of 15,000.
    const exact = await metric(`revenue-concentration?from=2026-01-01&to=2026-03-01&${more}`);
    t.match(exact, { value: 8 / 15, values: { customersBringing80: 2, contactTimeShareOfRest: null } });
    const loss = await metric(`revenue-concentration?from=2026-03-03&to=2026-03-04&${more}`);
    t.match(loss, { value: 1 });
    const month = await metric(`revenue-concentration?from=2026-03-01&to=2026-04-01&interval=month&${more}`);
    t.match(month.series, [
      { value: 2000 / 2000, values: { customers: 3, lossMakingCustomers: 1, contactTimeShareOfRest: 1 } },
    ]);
  });

  t.test(`RFM from ${from}`, async (t) => {
    // Last orders: ann 1 April, bob 15 March, eve 3 March, dee 2 March, cy 10 February.
    // R 5 4 3 2 1; F: ann 3, bob 2, the others 1 order: 5 4 1 1 1; M: ann, bob, then cy and dee alike, then eve: 5 4 2 2 1.
    const { value, values, groups } = await metric(`rfm?${more}`);
    t.equal(value, 5);
    t.match(values, {
      recency1: 1,
      recency5: 1,
      frequency1: 3,
      frequency2: 0,
      frequency5: 1,
      monetary1: 1,
      monetary2: 2,
    });
    t.strictSame(
      groups.filter(({ numerator }) => numerator !== 0).map(({ key, value, values }) => [key, value, values]),
      [
        ['champions', 0.4, { customers: 2, orders: 5, revenue: 16_000, 444: 1, 555: 1 }],
        ['needs_attention', 0.2, { customers: 1, orders: 1, revenue: -1000, 311: 1 }],
        ['hibernating', 0.4, { customers: 2, orders: 2, revenue: 2000, 112: 1, 212: 1 }],
      ],
    );
    const past = await metric(`rfm?asOf=2026-02-01&${more}`);
    t.equal(past.value, 2, 'what came later is not known');
  });
}

t.test('GraphQL says the same', async (t) => {
  const { body } = await app.graphql(`{ metrics {
    cohorts(input: { activity: ON_OR_AFTER }) { value groups { key series { numerator } } }
    rfm { value groups { key numerator } }
    revenueConcentration { value values }
  } }`);
  const [cohorts, rfm, concentration] = [
    await metric('cohorts?activity=on_or_after'),
    await metric('rfm'),
    await metric('revenue-concentration'),
  ];
  t.strictSame(body.data.metrics, {
    cohorts: {
      value: cohorts.value,
      groups: cohorts.groups.map(({ key, series }) => ({
        key,
        series: series.map(({ numerator }) => ({ numerator })),
      })),
    },
    rfm: { value: rfm.value, groups: rfm.groups.map(({ key, numerator }) => ({ key, numerator })) },
    revenueConcentration: { value: concentration.value, values: concentration.values },
  });
});

t.test('what is asked wrongly is refused with its parameter', async (t) => {
  const refused = async (path: string) => {
    const { status, body } = await app.request('GET', `/v1/metrics/${path}`);
    return [status, body.errors?.map((e: { parameter: string; code: string }) => `${e.parameter} ${e.code}`)];
  };
  t.strictSame(await refused('cohorts?from=2026-01-02'), [422, ['from not_aligned']]);
  t.strictSame(await refused('cohorts?from=2026-01-01&to=2026-02-15'), [422, ['to not_aligned']]);
  t.strictSame(await refused('cohorts?interval=day&from=2025-01-01'), [422, ['interval too_many_intervals']]);
  t.strictSame(await refused('rfm?from=2026-01-01'), [422, ['from unsupported_parameter']]);
  t.equal((await app.request('GET', '/v1/metrics/rfm', { scope: 'orders:read' })).status, 403);
});
