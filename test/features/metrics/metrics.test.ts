import t from 'tap';
import { ratio } from '../../../src/domain/money.ts';
import { type MetricAnswer, metricResult } from '../../../src/features/metrics/model.ts';
import {
  getAverageOrderValue,
  getChurnRate,
  getLifetimeValue,
  getNewAndReturning,
  getPurchaseGaps,
  getRepeatPurchaseRate,
  getRetentionRate,
  getRevenuePerCustomer,
} from '../../../src/features/metrics/operations.ts';
import { customerSummary, getCustomerSummary } from '../../../src/features/metrics/summary.ts';
import { type Db, poolDb } from '../../../src/platform/db/client.ts';
import { Problem } from '../../../src/platform/errors.ts';
import type { Operation } from '../../../src/platform/operation.ts';
import { testApp } from '../../support/app.ts';
import { type Facts, idOf, insertFacts, type OrderFact, rollUp, type World, world } from '../../support/facts.ts';

/** Tables small enough to be counted on fingers; the numbers in the tests were counted so. */

const metrics: Operation[] = [
  getRetentionRate,
  getRepeatPurchaseRate,
  getChurnRate,
  getPurchaseGaps,
  getAverageOrderValue,
  getRevenuePerCustomer,
  getNewAndReturning,
  getLifetimeValue,
];

const asker =
  ({ ask }: World) =>
  async (operation: Operation, input: object = {}, more: Parameters<World['ask']>[2] = {}): Promise<MetricAnswer> =>
    metricResult.parse(await ask(operation, input, more));

/** `1: 2024-01-05 2024-02-05` per line: customer and the days of their orders, at noon UTC. */
function ordersOf(table: string, more: Partial<OrderFact> = {}): OrderFact[] {
  return table
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [customer = '', ...days] = line.trim().split(/[: ]+/);
      return days.map((day) => ({ customer: Number(customer), at: `${day}T12:00:00Z`, ...more }));
    });
}

/** What an operation refuses: code, and the parameters it names. */
async function refusal(answer: Promise<unknown>): Promise<string> {
  try {
    await answer;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [error.code, ...error.errors.map((e) => `${e.parameter} ${e.code}`)].join('; ');
  }
  return 'answered';
}

const five = ordersOf(`
  1: 2024-01-05 2024-01-20 2024-02-03 2024-03-09
  2: 2024-01-10 2024-03-11
  3: 2024-01-15 2024-02-20
  4: 2024-02-01
  5: 2023-12-24 2024-01-31 2024-02-29`);

t.test('retention: the last complete month against the one before, any two ranges, and in a series', async (t) => {
  const ask = asker(await world(t, { orders: five }, { now: '2024-03-15T09:00:00.000Z' }));
  const answer = await ask(getRetentionRate);
  t.match(answer, {
    metric: 'retention-rate',
    definition: 'retention-rate@1',
    period: {
      from: '2024-02-01T00:00:00.000Z',
      to: '2024-03-01T00:00:00.000Z',
      timeZone: 'UTC',
      previous: { from: '2024-01-01T00:00:00.000Z', to: '2024-02-01T00:00:00.000Z' },
    },
    asOf: '2024-03-15T09:00:00.000Z',
    value: 0.75,
    unit: 'ratio',
    currency: null,
    values: { previousBuyers: 4, retained: 3, lost: 1 },
    numerator: 3,
    denominator: 4,
    lowSample: true,
    complete: true,
  });
  t.same([answer.excluded, answer.series, answer.groups, answer.missingInputs], [[], [], [], []]);
  t.ok(answer.interval && answer.interval.low < 0.75 && answer.interval.high > 0.75 && answer.interval.level === 0.95);

  const given = await ask(getRetentionRate, { from: '2024-03-01', to: '2024-04-01' });
  t.match(given, { value: 0.25, values: { previousBuyers: 4, retained: 1 }, complete: false });
  t.match(given.period.previous, { from: '2024-02-01T00:00:00.000Z', to: '2024-03-01T00:00:00.000Z' });
  const quarter = await ask(getRetentionRate, { from: '2024-01-01', to: '2024-04-01' });
  t.match(quarter, { period: { previous: { from: '2023-10-01T00:00:00.000Z' } }, value: 1, denominator: 1 });
  const days = await ask(getRetentionRate, { from: '2024-01-11', to: '2024-01-21' });
  t.match(days, {
    period: { previous: { from: '2024-01-01T00:00:00.000Z' } },
    values: { previousBuyers: 2, retained: 1 },
  });
  const free = { from: '2024-03-01', to: '2024-03-31', previousFrom: '2024-01-01', previousTo: '2024-01-16' };
  t.match(await ask(getRetentionRate, free), { values: { previousBuyers: 3, retained: 2, lost: 1 } });
  t.match(
    await ask(getRetentionRate, { previousFrom: '2023-12-01', previousTo: '2024-01-01' }),
    { values: { previousBuyers: 1, retained: 1 }, period: { from: '2024-02-01T00:00:00.000Z' } },
    'a previous period of its own, the current one by default',
  );
  for (const [previousTo, complete] of [
    ['2024-03-15', true],
    ['2024-03-16', false],
    ['2024-04-01', false],
  ] as const) {
    const february = { from: '2024-02-01', to: '2024-03-01', previousFrom: '2024-03-01', previousTo };
    t.match(await ask(getRetentionRate, february), { complete }, 'a comparison is complete when both periods are over');
  }

  const loyal = await ask(getRetentionRate, { minOrders: 2 });
  t.match(loyal, { values: { previousBuyers: 2, retained: 2 } }, 'orders up to the end of January: customers 1 and 5');
  t.match(await ask(getRetentionRate, { minOrders: 3 }), {
    value: null,
    reason: { code: 'no_buyers' },
    denominator: 0,
  });

  const series = await ask(getRetentionRate, { from: '2024-01-01', to: '2024-04-01', interval: 'month' });
  t.strictSame(
    series.series.map((p) => [p.start, p.numerator, p.denominator, p.complete]),
    [
      ['2024-01-01', 1, 1, true],
      ['2024-02-01', 3, 4, true],
      ['2024-03-01', 1, 4, false],
    ],
  );
  const cutSeries = await ask(getRetentionRate, {
    from: '2024-01-20',
    to: '2024-03-10',
    interval: 'month',
    minOrders: 2,
  });
  t.strictSame(
    cutSeries.series.map((p) => [p.start, p.from, p.to, p.numerator, p.denominator, p.complete]),
    [
      ['2024-01-01', '2024-01-20T00:00:00.000Z', '2024-02-01T00:00:00.000Z', 0, 0, false],
      ['2024-02-01', '2024-02-01T00:00:00.000Z', '2024-03-01T00:00:00.000Z', 2, 2, true],
      ['2024-03-01', '2024-03-01T00:00:00.000Z', '2024-03-10T00:00:00.000Z', 1, 3, false],
    ],
    'a cut interval counts what lies inside, and is compared with whole ones',
  );
  const asOf = await ask(getRetentionRate, { from: '2024-02-01', to: '2024-03-01', asOf: '2024-02-20' });
  t.match(
    asOf,
    { values: { previousBuyers: 4, retained: 1 }, complete: false },
    'orders from the 20th on are not seen',
  );
});

t.test('repeat purchases as of the end, whatever the start', async (t) => {
  const ask = asker(await world(t, { orders: five }, { now: '2024-03-15T09:00:00.000Z' }));
  const all = await ask(getRepeatPurchaseRate);
  t.match(all, { value: 0.8, numerator: 4, denominator: 5, complete: true, values: { buyers: 5, repeatBuyers: 4 } });
  t.match(all.period, { from: '2023-12-24T12:00:00.000Z', to: '2024-03-15T09:00:00.000Z', previous: null });
  t.match(await ask(getRepeatPurchaseRate, { minOrders: 3 }), { value: 0.4 });
  t.match(await ask(getRepeatPurchaseRate, { minOrders: 1 }), { value: 1 });
  t.match(await ask(getRepeatPurchaseRate, { from: '2024-02-01', to: '2024-03-01' }), { value: 0.6, numerator: 3 });
  const series = await ask(getRepeatPurchaseRate, { interval: 'quarter' });
  t.strictSame(
    series.series.map((p) => [p.start, p.numerator, p.denominator, p.complete]),
    [
      ['2023-10-01', 0, 1, true],
      ['2024-01-01', 4, 5, false],
    ],
    'all time begins with the whole interval of the first order',
  );
});

t.test('churn: by period, by silence, by own gap', async (t) => {
  const ask = asker(await world(t, { orders: five }, { now: '2024-03-15T09:00:00.000Z' }));
  const period = await ask(getChurnRate);
  t.match(period, { value: 0.25, values: { previousBuyers: 4, retained: 3, lost: 1 } });
  t.same(
    period.warnings.map((w) => w.code),
    ['pause_is_not_loss'],
  );
  t.match(await ask(getChurnRate, { minOrders: 2 }), { value: 0, denominator: 2 });

  t.match(await ask(getChurnRate, { variant: 'silence' }), {
    value: 0,
    values: { customers: 5, silent: 0, silenceDays: 90 },
  });
  const days = (silenceDays: number, more = {}) => ask(getChurnRate, { variant: 'silence', silenceDays, ...more });
  t.match(await days(24), { numerator: 1 }, 'customer 4, 43 days ago; customer 3 was here 24 days ago');
  t.match(await days(23), { numerator: 2 });
  t.match(await days(43), { numerator: 0 }, 'on the 43rd day the silence is not longer than 43 days');
  const silence = await days(20, { interval: 'month', from: '2024-01-01', to: '2024-04-01' });
  t.strictSame(
    silence.series.map((p) => [p.start, p.numerator, p.denominator, p.complete]),
    [
      ['2024-01-01', 1, 4, true],
      ['2024-02-01', 3, 5, true],
      ['2024-03-01', 2, 5, false],
    ],
    'as of 1 February only customer 2, of 10 January; as of 1 March 1, 2 and 4; as of now 3 and 4',
  );

  // On 15 March, days since against the mean gap: 1: 6/(64÷3), 2: 4/61, 3: 24/36, 5: 15/33.5; 4 has no gap.
  const gap = (gapFactor?: number) => ask(getChurnRate, { variant: 'gap', ...(gapFactor && { gapFactor }) });
  const usual = await gap();
  t.match(usual, { value: 0, values: { customersWithGap: 4, silent: 0, customersWithoutGap: 1, gapFactor: 2 } });
  t.same(
    usual.warnings.map((w) => w.code),
    ['customers_without_gap'],
  );
  t.match(await gap(0.5), { numerator: 1 });
  t.match(await gap(0.4), { numerator: 2 });
  const limit = { variant: 'gap', gapFactor: 1 };
  t.match(await ask(getChurnRate, { ...limit, asOf: '2024-03-27' }), { numerator: 0 }, '3: exactly 36 days after 36');
  t.match(await ask(getChurnRate, { ...limit, asOf: '2024-03-28' }), { numerator: 1 });
  const series = await ask(getChurnRate, {
    variant: 'gap',
    gapFactor: 1,
    interval: 'month',
    from: '2024-02-01',
    to: '2024-03-01',
  });
  t.match(series.series, [{ numerator: 1, denominator: 3, values: { customersWithoutGap: 2 } }], '1 March: customer 1');
});

t.test('purchase gaps: days in the zone, same-day orders, open gaps, the period of the later order', async (t) => {
  const orders: OrderFact[] = [
    // In Berlin the second is on the next day; in UTC they are one purchase.
    { customer: 1, at: '2024-03-30T21:30:00Z' },
    { customer: 1, at: '2024-03-30T23:30:00Z' },
    // The clock goes forward on 31 March: two days later all the same.
    { customer: 1, at: '2024-04-01T22:30:00Z' },
    { customer: 2, at: '2024-03-01T10:00:00Z' },
    { customer: 2, at: '2024-03-11T10:00:00Z' },
    { customer: 3, at: '2024-03-05T10:00:00Z' },
    { customer: 3, at: '2024-03-05T11:00:00Z' },
  ];
  const ask = asker(
    await world(t, { orders }, { now: '2024-05-01T00:00:00.000Z', reportingTimeZone: 'Europe/Berlin' }),
  );
  const gaps = async (input: object) => (await ask(getPurchaseGaps, input)).values;
  t.match(await gaps({}), {
    gaps: 3,
    customers: 2,
    mean: 13 / 3,
    median: 2,
    customerMean: (1.5 + 10) / 2,
    openGaps: 3,
  });
  t.match(await gaps({ timeZone: 'UTC' }), { gaps: 2, mean: 6, median: 6, p75: 8, p90: 9.2 });
  t.match(await gaps({ sameDay: 'count' }), { gaps: 4, customers: 3, mean: 13 / 4, customerMedian: 1.5, openGaps: 3 });
  t.match(await gaps({ from: '2024-04-01' }), { gaps: 1, mean: 2, openGaps: 3 });
  t.match(await gaps({ to: '2024-03-31', from: '2024-03-30' }), { gaps: 0, mean: null, openGaps: 3 });
  const answer = await ask(getPurchaseGaps, { interval: 'month' });
  t.match(answer, { unit: 'days', value: 13 / 3, numerator: 13, denominator: 3 });
  t.same(
    answer.warnings.map((w) => w.code),
    ['open_gaps_excluded'],
  );
  t.strictSame(
    answer.series.map((p) => [p.start, p.numerator, p.denominator, p.values['openGaps']]),
    [
      ['2024-03-01', 11, 2, 3],
      ['2024-04-01', 2, 1, 3],
      ['2024-05-01', 0, 0, 3],
    ],
  );
  t.match(answer.series[2], { value: null, reason: { code: 'no_gaps' }, complete: false });
});

const shop: Facts = {
  customers: [
    { customer: 1, acquisitionCost: 300, acquiredOn: '2024-01-02' },
    { customer: 2, acquisitionCost: 100 },
    { customer: 3, acquisitionCost: 0, acquiredOn: '2023-05-01' },
  ],
  orders: [
    { customer: 1, at: '2024-01-03T12:00:00Z', total: 1000, tax: 100 },
    { customer: 1, at: '2024-02-03T12:00:00Z', total: 2000, refunds: [500] },
    { customer: 2, at: '2024-01-20T12:00:00Z', total: 700, currency: 'USD', factor: '0.5' },
    { customer: 2, at: '2024-02-10T12:00:00Z', total: 0 },
    { customer: 3, at: '2024-02-11T12:00:00Z', total: 333, pending: true },
    { customer: 4, at: '2024-02-12T12:00:00Z', total: 900, currency: 'USD', factor: null },
    { customer: 5, at: '2024-02-13T12:00:00Z', total: 5000, test: true, cancelled: true },
    { customer: 5, at: '2024-02-14T12:00:00Z', total: 5000, cancelled: true, pending: true },
    { customer: 5, at: '2024-02-15T12:00:00Z', total: 5000, refunds: [2000, 3000] },
  ],
  returns: [
    { customer: 1, at: '2024-02-20T12:00:00Z', total: 250 },
    { customer: 2, at: '2024-02-21T12:00:00Z', total: 90, currency: 'USD', factor: '0.5' },
    { customer: 5, at: '2024-02-22T12:00:00Z', total: 4000 },
    { customer: 6, at: '2024-02-23T12:00:00Z', total: 11, currency: 'USD', factor: null },
  ],
};
const february = { from: '2024-02-01', to: '2024-03-01' };

t.test('money: base currency and native, what is left out and why, returns', async (t) => {
  const ask = asker(await world(t, shop, { now: '2024-03-15T09:00:00.000Z' }));
  const reasons = ({ excluded }: MetricAnswer) =>
    excluded.map(({ reason, count, amount }) => [reason, count, ...(amount === undefined ? [] : [amount])]);
  const never = [
    ['test', 1],
    ['cancelled', 1],
    ['refunded', 1],
  ];

  const aov = await ask(getAverageOrderValue);
  // 900 + 1500 + 350 + 0 returning, 333 one-time; customer 4 has no rate.
  t.match(aov, { value: 3083 / 5, currency: 'EUR', unit: 'money', numerator: 3083, denominator: 5 });
  t.match(aov.groups, [
    { key: 'returning', value: 2750 / 4, denominator: 4, values: { customers: 2 } },
    { key: 'one_time', value: 333, denominator: 1 },
  ]);
  const returns = [
    ['returns', 3, 4295],
    ['returns_missing_rate', 1],
  ];
  t.same(reasons(aov), [...never, ['missing_rate', 1], ...returns]);
  const dollars = await ask(getAverageOrderValue, { currency: 'USD' });
  t.match(dollars, { value: 800, currency: 'USD', values: { returning: null, oneTime: 800, orders: 2 }, excluded: [] });
  t.match(await ask(getAverageOrderValue, { zeroValue: 'exclude' }), { value: 3083 / 4, values: { returning: 1200 } });
  const strict = await ask(getAverageOrderValue, { zeroValue: 'exclude', payment: 'paid' });
  t.same(reasons(strict), [...never, ['unpaid', 1], ['zero_value', 1], ['missing_rate', 1], ...returns]);
  const months = await ask(getAverageOrderValue, { interval: 'month', to: '2024-04-01' });
  t.strictSame(
    months.series.map((p) => [
      p.start,
      p.numerator,
      p.denominator,
      p.values['returning'],
      p.values['oneTime'],
      p.complete,
    ]),
    [
      ['2024-01-01', 1250, 2, null, 625, true],
      ['2024-02-01', 1833, 3, 750, 333, true],
      ['2024-03-01', 0, 0, null, null, false],
    ],
    'returning is who has bought twice by the end of the interval',
  );

  const revenue = await ask(getRevenuePerCustomer);
  t.match(revenue, { value: (3083 - 250 - 45) / 3, denominator: 3, values: { buyers: 3 } });
  t.same(reasons(revenue), [
    ...never,
    ['missing_rate', 1],
    ['returns_of_non_buyers', 1, 4000],
    ['returns_missing_rate', 1],
  ]);
  t.match(await ask(getRevenuePerCustomer, february), { numerator: 1500 + 0 + 333 - 250 - 45, denominator: 3 });
  t.match(await ask(getRevenuePerCustomer, { currency: 'USD' }), {
    numerator: 1600 - 90,
    denominator: 2,
    currency: 'USD',
  });
  const usdFebruary = await ask(getRevenuePerCustomer, { ...february, currency: 'USD' });
  t.match(usdFebruary, { numerator: 900 - 90, denominator: 1 }, 'a return of somebody who bought before counts');
  t.same(reasons(usdFebruary), [['returns_of_non_buyers', 1, 11]]);
  const early = await ask(getRevenuePerCustomer, { to: '2024-01-10', asOf: '2024-01-10' });
  t.match(early, { numerator: 900, denominator: 1, complete: true });

  const historic = await ask(getLifetimeValue);
  // Net per buyer: 1: 900 + 1500 − 250, 2: 350 + 0 − 45, 3: 333.
  t.match(historic, { value: 2788 / 3, numerator: 2788, denominator: 3, values: { min: 305, max: 2150, p50: 333 } });
  const ofFebruary = await ask(getLifetimeValue, { ...february, currency: 'USD' });
  t.match(ofFebruary, { value: 900, denominator: 1 }, 'buyers one by one: customer 2 did not buy in February');
  t.same(reasons(ofFebruary), [
    ['returns_of_non_buyers', 1, 11],
    ['returns_of_earlier_buyers', 1, 90],
  ]);
});

t.test('every number tells what it leaves out: in the whole, and in each interval', async (t) => {
  const told = (excluded: MetricAnswer['excluded']) =>
    excluded.map(({ reason, count, amount }) => [reason, count, ...(amount === undefined ? [] : [amount])].join(' '));
  const inSeries = ({ series }: MetricAnswer) => series.map((point) => told(point.excluded));
  const ask = asker(await world(t, shop, { now: '2024-03-15T09:00:00.000Z' }));
  const quarter = { from: '2024-01-01', to: '2024-04-01', interval: 'month' };

  const four = await ask(getLifetimeValue, { ...quarter, variant: 'four_factor', margin: 0.5 });
  const left = ['test 1', 'cancelled 1', 'refunded 1', 'missing_rate 1', 'returns 3 4295', 'returns_missing_rate 1'];
  t.same(told(four.excluded), left, 'the four factors average orders: all returns are left out');
  t.same(inSeries(four), [[], left, []]);
  const dollars = await ask(getLifetimeValue, { ...quarter, variant: 'four_factor', currency: 'USD', margin: 0.5 });
  t.same(told(dollars.excluded), ['returns 2 101'], 'in dollars a return needs no rate');
  const given = await ask(getAverageOrderValue, { ...quarter, currency: 'EUR', refunds: 'when_given' });
  t.same(told(given.excluded), ['test 1', 'cancelled 1', 'returns 5 9750'], 'and refunds, where they are like returns');

  const notCounted = ['test 1', 'cancelled 1', 'refunded 1'];
  t.same(inSeries(await ask(getRetentionRate, quarter)), [[], notCounted, notCounted], 'of both months it compares');
  t.same(inSeries(await ask(getRepeatPurchaseRate, quarter)), [[], notCounted, notCounted], 'of all until its end');
  t.same(inSeries(await ask(getPurchaseGaps, quarter)), [[], notCounted, []]);
  t.same(inSeries(await ask(getChurnRate, { ...quarter, variant: 'silence' })), [[], notCounted, notCounted]);

  const early = asker(
    await world(
      t,
      {
        orders: ordersOf('1: 2024-02-05', { total: 800 }),
        returns: [{ customer: 1, at: '2024-01-20T12:00:00Z', total: 300 }],
      },
      { now: '2024-03-15T09:00:00.000Z' },
    ),
  );
  for (const more of [{}, { payment: 'paid' }]) {
    const revenue = await early(getRevenuePerCustomer, { ...quarter, ...more });
    t.same([revenue.numerator, told(revenue.excluded)], [500, []], 'the whole counts a return before the first order');
    t.same(
      revenue.series.map(({ numerator }) => numerator),
      [0, 800, 0],
    );
    t.same(inSeries(revenue), [['returns_of_non_buyers 1 300'], [], []], 'and no month does, which January says');
  }
});

t.test('new and returning: by where the first order ever lies', async (t) => {
  const place = await world(
    t,
    {
      orders: [
        // New in February, with two orders on one day; 2 and 3 were there before.
        { customer: 1, at: '2024-02-03T09:00:00Z', total: 1000 },
        { customer: 1, at: '2024-02-03T15:00:00Z', total: 500 },
        { customer: 2, at: '2024-01-10T12:00:00Z', total: 700 },
        { customer: 2, at: '2024-02-10T12:00:00Z', total: 300, refunds: [100] },
        { customer: 3, at: '2023-05-01T12:00:00Z', total: 50, currency: 'USD', factor: null },
        { customer: 3, at: '2024-02-11T12:00:00Z', total: 80 },
        { customer: 4, at: '2024-02-12T12:00:00Z', total: 900, cancelled: true },
      ],
      returns: [
        { customer: 1, at: '2024-02-20T12:00:00Z', total: 250 },
        { customer: 2, at: '2024-02-21T12:00:00Z', total: 40 },
        { customer: 4, at: '2024-02-22T12:00:00Z', total: 7 },
      ],
    },
    { now: '2024-03-15T09:00:00.000Z' },
  );
  const ask = asker(place);
  for (const more of [{}, { payment: 'paid' }]) {
    const answer = await ask(getNewAndReturning, { ...february, ...more });
    t.match(answer, { metric: 'new-and-returning', unit: 'ratio', currency: 'EUR', value: 2 / 3, denominator: 3 });
    t.same(answer.values, {
      buyers: 3,
      newBuyers: 1,
      returningBuyers: 2,
      revenue: 1250 + 160 + 80,
      newRevenue: 1000 + 500 - 250,
      returningRevenue: 200 - 40 + 80,
    });
    t.match(answer.groups, [
      { key: 'new', numerator: 1, denominator: 3, values: { buyers: 1, revenue: 1250 } },
      { key: 'returning', numerator: 2, denominator: 3, values: { buyers: 2, revenue: 240 } },
    ]);
    t.same(answer.excluded, [
      { reason: 'cancelled', count: 1 },
      { reason: 'returns_of_non_buyers', count: 1, amount: 7 },
    ]);
    const { numerator, denominator } = await ask(getRevenuePerCustomer, { ...february, ...more });
    t.same([answer.values['revenue'], answer.values['buyers']], [numerator, denominator], 'as revenue per customer');
  }
  const today = await ask(getNewAndReturning, { from: '2024-02-03', to: '2024-02-04' });
  t.match(today.values, { newBuyers: 1, returningBuyers: 0, newRevenue: 1500 }, 'two orders today, and new today');
  t.match((await ask(getNewAndReturning)).values, { newBuyers: 3, returningBuyers: 0 }, 'over all time all are new');
  t.same(
    (await ask(getNewAndReturning, { interval: 'month', from: '2024-01-01', to: '2024-03-01' })).series.map(
      ({ values, value }) => [values['newBuyers'], values['returningBuyers'], value],
    ),
    [
      [1, 0, 0],
      [1, 2, 2 / 3],
    ],
  );
  t.match(await ask(getNewAndReturning, { from: '2022-01-01', to: '2022-02-01' }), {
    value: null,
    reason: { code: 'no_buyers' },
  });
});

t.test('lifetime value: simple, four factors, one customer', async (t) => {
  const place = await world(t, shop, { now: '2024-03-15T09:00:00.000Z' });
  const ask = asker(place);
  const simple = (more: object = {}) => ask(getLifetimeValue, { variant: 'simple', ...more });
  t.match(await simple(), {
    value: (2788 - 400) / 3,
    values: { acquisitionCostPerBuyer: 400 / 3, buyersWithAcquisitionCost: 3, retentionCostPerBuyer: null },
    warnings: [{ code: 'retention_cost_unknown' }],
  });
  t.match(await simple({ retentionCost: 50 }), { value: (2788 - 400 - 150) / 3, warnings: [] });
  t.match(
    await simple(february),
    { value: 1538 / 3, values: { acquisitionCostPerBuyer: 0, buyersWithAcquisitionCost: 3 } },
    'all three were won before February: 1 and 3 by date, 2 with the first order',
  );
  const usd = await simple({ currency: 'USD' });
  t.match(usd, {
    value: null,
    reason: { code: 'missing_inputs' },
    missingInputs: ['acquisition.cost', 'retentionCost'],
  });
  t.same(
    usd.warnings.map((w) => w.code),
    ['acquisition_cost_in_base_currency', 'returns_without_tax'],
  );

  const costs = (list: (number | null)[]) => ({ costs: list });
  const goods = asker(
    await world(
      t,
      {
        orders: [
          { customer: 1, at: '2023-06-01T12:00:00Z', total: 4000, ...costs([1000, 500]) },
          { customer: 1, at: '2023-09-01T12:00:00Z', total: 2000, ...costs([700]) },
          { customer: 2, at: '2023-07-01T12:00:00Z', total: 2000, ...costs([800]) },
          { customer: 2, at: '2022-07-01T12:00:00Z', total: 9999, ...costs([null]) },
        ],
      },
      { now: '2024-03-15T09:00:00.000Z' },
    ),
  );
  const four = (more: object = {}) => goods(getLifetimeValue, { variant: 'four_factor', ...more });
  const usual = await four();
  t.same([usual.period.from, usual.period.to], ['2023-03-15T00:00:00.000Z', '2024-03-15T00:00:00.000Z']);
  const length = 366 / 30.4375;
  const factors = [8000 / 3, 3 / 2 / length, 92 / 2 / 30.4375, (8000 - 3000) / 8000] as const;
  t.match(usual.values, { averageOrderValue: factors[0], orders: 3, buyers: 2, margin: factors[3] });
  t.ok(Math.abs((usual.value ?? 0) - factors.reduce((a, b) => a * b)) < 1e-9);
  t.same(
    usual.warnings.map((w) => w.code),
    ['observed_lifetime_is_lower_bound'],
  );
  const silent = await four({ lifetimeBasis: 'silence', silenceDays: 60 });
  // 1: 60 of 92 days, then 60; 2: 60. Three events in 180 days.
  t.match(silent.values, { lifetimeMonths: 180 / 30.4375 / 3, silenceDays: 60 });
  t.match((await four({ lifetimeBasis: 'configured', lifetimeMonths: 24 })).values, { lifetimeMonths: 24 });
  t.match(await four({ lifetimeBasis: 'configured' }), { value: null, missingInputs: ['lifetimeMonths'] });
  const partly = { from: '2022-01-01', to: '2024-01-01' };
  t.match(await four(partly), { value: null, missingInputs: ['margin'] });
  t.match((await four({ ...partly, margin: 0.3 })).values, { margin: 0.3, orders: 4 });
  const short = await four({ from: '2023-06-01', to: '2023-10-01', interval: 'month' });
  t.match(
    short.warnings.map((w) => w.code),
    ['observed_lifetime_is_lower_bound', 'short_window'],
  );
  t.same(
    short.series.map((p) => p.values['orders']),
    [1, 1, 0, 1],
  );
  t.same((await four({ to: '2023-03-01' })).period.from, '2022-03-01T00:00:00.000Z');

  t.match(await ask(getLifetimeValue, { customerId: idOf(1) }), { value: 2150, denominator: 1, excluded: [] });
  t.match(await ask(getLifetimeValue, { customerId: idOf(5) }), { value: null, reason: { code: 'no_buyers' } });
  t.equal(await refusal(ask(getLifetimeValue, { customerId: idOf(99) })), 'not_found');
  const scopes = ['metrics:read'];
  t.equal(await refusal(ask(getLifetimeValue, { customerId: idOf(1) }, { scopes })), 'insufficient_scope');
  t.equal(await refusal(ask(getLifetimeValue, {}, { scopes })), 'answered');
});

t.test(
  'the calendar is the zone’s: months and days with a changing clock, as query zone and as reporting zone',
  async (t) => {
    const orders: OrderFact[] = [
      { customer: 1, at: '2018-10-31T23:30:00Z' }, // 31 October in São Paulo, 1 November in Berlin
      { customer: 1, at: '2018-11-04T02:59:59.999Z' }, // the last moment of 3 November in São Paulo, where 4 November begins at 01:00
      { customer: 1, at: '2018-11-04T03:00:00Z' },
      { customer: 2, at: '2018-12-01T01:59:59Z' }, // 30 November in São Paulo
    ];
    const settings = { now: '2019-03-01T00:00:00.000Z', reportingTimeZone: 'America/Sao_Paulo' };
    const ask = asker(await world(t, { orders }, settings));
    const counts = async (timeZone: string, interval: string) =>
      (await ask(getAverageOrderValue, { from: '2018-10-01', to: '2019-01-01', timeZone, interval })).series
        .filter((p) => p.denominator !== 0)
        .map((p) => [p.start, p.denominator]);
    t.strictSame(await counts('America/Sao_Paulo', 'month'), [
      ['2018-10-01', 1],
      ['2018-11-01', 3],
    ]);
    t.strictSame(await counts('Europe/Berlin', 'month'), [
      ['2018-11-01', 3],
      ['2018-12-01', 1],
    ]);
    t.strictSame(await counts('America/Sao_Paulo', 'day'), [
      ['2018-10-31', 1],
      ['2018-11-03', 1],
      ['2018-11-04', 1],
      ['2018-11-30', 1],
    ]);
    t.strictSame(
      await counts('America/Sao_Paulo', 'week'),
      [
        ['2018-10-29', 3],
        ['2018-11-26', 1],
      ],
      'ISO weeks',
    );
    const november = await ask(getAverageOrderValue, { from: '2018-11-04', to: '2018-11-05' });
    t.match(november.period, { from: '2018-11-04T03:00:00.000Z', to: '2018-11-05T02:00:00.000Z' }, 'a day of 23 hours');
    t.equal(november.denominator, 1);
  },
);

t.test('a series says which intervals are complete, and is bounded', async (t) => {
  const ask = asker(await world(t, { orders: five }, { now: '2024-03-15T09:00:00.000Z' }));
  const series = async (input: object) =>
    (await ask(getAverageOrderValue, input)).series.map((p) => [p.start, p.denominator, p.complete]);
  t.strictSame(await series({ interval: 'quarter' }), [
    ['2023-10-01', 1, true],
    ['2024-01-01', 11, false],
  ]);
  t.strictSame(
    await series({ from: '2024-02-15', to: '2024-05-01', interval: 'month' }),
    [
      ['2024-02-01', 2, false],
      ['2024-03-01', 2, false],
      ['2024-04-01', 0, false],
    ],
    'cut, running, to come',
  );
  t.strictSame(await series({ from: '2024-02-01', to: '2024-03-01', asOf: '2024-02-19T00:00:00Z', interval: 'week' }), [
    ['2024-01-29', 2, false],
    ['2024-02-05', 0, true],
    ['2024-02-12', 0, true],
    ['2024-02-19', 0, false],
    ['2024-02-26', 0, false],
  ]);
  for (const operation of metrics) {
    const input = { from: '2020-01-01', to: '2024-01-01', interval: 'day' };
    t.equal(await refusal(ask(operation, input)), 'invalid_input; interval too_many_intervals', operation.name);
  }
});

t.test('without data every metric is null with a reason, and the series is empty', async (t) => {
  const ask = asker(await world(t, {}, { now: '2024-03-15T09:00:00.000Z' }));
  for (const operation of metrics) {
    for (const input of [
      {},
      { interval: 'month' },
      { ...february, interval: 'month' },
      { ...february, currency: 'JPY' },
      { from: '2030-01-01', to: '2031-01-01' },
    ]) {
      const answer = await ask(operation, input);
      t.equal(answer.value, null, operation.name);
      t.ok(answer.reason && answer.reason.message.length > 10, answer.reason?.code ?? 'no reason');
      t.equal(answer.numerator ?? 0, 0);
      t.same(answer.excluded, []);
      t.equal(answer.lowSample, true);
    }
  }
  for (const variant of ['silence', 'gap'])
    t.match(await ask(getChurnRate, { variant }), { value: null, reason: { code: 'no_buyers' } });
  for (const variant of ['simple', 'four_factor'])
    t.match(await ask(getLifetimeValue, { variant }), { value: null, reason: { code: 'no_buyers' } });
  t.same((await ask(getPurchaseGaps, { interval: 'month' })).series, []);
  t.equal((await ask(getPurchaseGaps)).period.from, null);
  t.match((await ask(getPurchaseGaps, { ...february, interval: 'month' })).series, [
    { value: null, reason: { code: 'no_gaps' } },
  ]);
});

t.test('what a metric cannot take is refused with the parameter', async (t) => {
  const ask = asker(await world(t, {}, { now: '2024-03-15T09:00:00.000Z' }));
  const cases: [Operation, object, string][] = [
    [getRetentionRate, { timeZone: 'Mars/Olympus' }, 'invalid_input; timeZone unknown_time_zone'],
    [getRetentionRate, { timeZone: '+02:00' }, 'invalid_input; timeZone unknown_time_zone'],
    [getRetentionRate, { from: '2024-02-30', to: '2024-03-01' }, 'invalid_input; from invalid_instant'],
    [getRetentionRate, { from: '2024-02-01', to: 'soon' }, 'invalid_input; to invalid_instant'],
    [getRetentionRate, { from: '2024-02-01', to: '2024-02-01' }, 'invalid_input; from empty_period'],
    [getRetentionRate, { from: '2024-04-01' }, 'invalid_input; from empty_period'],
    [getRetentionRate, { to: '2024-04-01' }, 'invalid_input; from required'],
    [getRetentionRate, { previousTo: '2024-02-01' }, 'invalid_input; previousFrom required'],
    [
      getRetentionRate,
      { previousFrom: '2024-02-01', previousTo: '2024-01-01' },
      'invalid_input; previousFrom empty_period',
    ],
    [getRetentionRate, { minOrders: 0 }, 'invalid_input; minOrders too_small'],
    [getRetentionRate, { minOrders: 1.5 }, 'invalid_input; minOrders invalid_type'],
    [getRetentionRate, { currency: 'XXX' }, 'invalid_input; currency unknown_currency'],
    [getRetentionRate, { interval: 'fortnight' }, 'invalid_input; interval invalid_value'],
    [getRetentionRate, { segment: 'vip' }, 'invalid_input; segment invalid_format'],
    [getRetentionRate, { region: 'north' }, 'unsupported_parameter; region unsupported_parameter'],
    [getRetentionRate, { silenceDays: 3 }, 'unsupported_parameter; silenceDays unsupported_parameter'],
    [getAverageOrderValue, { minOrders: 3 }, 'unsupported_parameter; minOrders unsupported_parameter'],
    [getAverageOrderValue, { asOf: '0999-01-01' }, 'invalid_input; asOf out_of_range'],
    [getChurnRate, { silenceDays: 3 }, 'unsupported_parameter; silenceDays unsupported_parameter'],
    [getChurnRate, { variant: 'silence', gapFactor: 3 }, 'unsupported_parameter; gapFactor unsupported_parameter'],
    [getChurnRate, { variant: 'gap', minOrders: 3 }, 'unsupported_parameter; minOrders unsupported_parameter'],
    [getChurnRate, { variant: 'gap', gapFactor: 0 }, 'invalid_input; gapFactor too_small'],
    [getLifetimeValue, { margin: 0.5 }, 'unsupported_parameter; margin unsupported_parameter'],
    [getLifetimeValue, { retentionCost: 5 }, 'unsupported_parameter; retentionCost unsupported_parameter'],
    [
      getLifetimeValue,
      { variant: 'simple', retentionCost: 5, interval: 'month' },
      'unsupported_parameter; interval unsupported_parameter',
    ],
    [
      getLifetimeValue,
      { variant: 'four_factor', lifetimeMonths: 5 },
      'unsupported_parameter; lifetimeMonths unsupported_parameter',
    ],
    [getLifetimeValue, { customerId: '42' }, 'invalid_input; customerId invalid_format'],
  ];
  for (const [operation, input, expected] of cases) {
    t.equal(await refusal(ask(operation, input)), expected, `${operation.name} ${JSON.stringify(input)}`);
  }
  for (const operation of metrics) {
    t.equal(await refusal(ask(operation, {}, { scopes: ['orders:read'] })), 'insufficient_scope', operation.name);
  }
});

t.test('whole days and months in the reporting zone come from the rollups, and nothing else does', async (t) => {
  const place = await world(
    t,
    { orders: five },
    { now: '2024-03-15T09:00:00.000Z', reportingTimeZone: 'Europe/Berlin' },
  );
  const ask = asker(place);
  const emptied = 'delete from customer_month; delete from customer_purchases';
  await place.pool.query(emptied);
  const quarter = { from: '2024-01-01', to: '2024-03-01' };
  const inDays: [Operation, object][] = [
    [getRetentionRate, {}],
    [getRepeatPurchaseRate, {}],
    [getChurnRate, { variant: 'silence', silenceDays: 1 }],
    [getChurnRate, { variant: 'gap' }],
    [getPurchaseGaps, {}],
    [getAverageOrderValue, {}],
    [getRevenuePerCustomer, {}],
    [getLifetimeValue, {}],
    [getLifetimeValue, { variant: 'four_factor', margin: 0.5 }],
  ];
  for (const [operation, variant] of [...inDays, [getNewAndReturning, {}] as const]) {
    const of = { ...quarter, ...variant };
    t.equal((await ask(operation, of)).value, null, `${operation.name} reads the rollups, which are gone`);
    t.equal((await ask(operation, { ...of, interval: 'month' })).series[1]?.value, null);
    for (const more of [
      { timeZone: 'UTC' },
      { payment: 'all', zeroValue: 'exclude' },
      { payment: 'paid' },
      { to: '2024-03-01T12:00:00Z' },
      // What is so by the end has no start.
      ...(operation === getRepeatPurchaseRate || operation === getChurnRate ? [] : [{ from: '2024-01-01T12:00:00Z' }]),
      { asOf: '2024-02-29' },
    ]) {
      t.not((await ask(operation, { ...of, ...more })).value, null, `${operation.name} ${JSON.stringify(more)}`);
    }
  }
  t.not((await ask(getLifetimeValue, { ...quarter, customerId: idOf(1) })).value, null);
  await rollUp(place.pool, 'Europe/Berlin');
  t.equal((await ask(getRetentionRate, quarter)).value, 1);

  await place.pool.query(emptied);
  for (const [operation, variant] of inDays) {
    const asked = { from: '2023-12-20', to: '2024-03-10', ...variant };
    t.equal((await ask(operation, asked)).value, null, `${operation.name} takes any days`);
    const untilNow = operation === getRetentionRate ? { ...asked, to: undefined } : variant;
    const windowed =
      operation === getLifetimeValue && 'margin' in variant ? { ...variant, from: '2023-12-20' } : untilNow;
    t.equal((await ask(operation, windowed)).value, null, `${operation.name} takes everything by now`);
  }
  const facts = () =>
    Promise.all(
      inDays.map(
        async ([operation, variant]) => (await ask(operation, { ...quarter, to: '2024-03-10', ...variant })).value,
      ),
    );
  await place.pool.query(`update deployment_settings set value = '${idOf(1)}' where key = 'FILL purchases'`);
  t.same(
    (await facts()).filter((value) => value === null),
    [],
    'until they are all there, the facts are read',
  );
  await place.pool.query(`update deployment_settings set value = 'done' where key = 'FILL purchases'`);
  await insertFacts(place.pool, { orders: [{ customer: 1, at: '2024-03-15T09:05:00Z' }] });
  t.not((await ask(getRepeatPurchaseRate)).value, null, 'an order of a clock that is ahead does not count yet');
  t.equal((await ask(getRepeatPurchaseRate, quarter)).value, null, 'and matters to nothing that ends before');
  await place.pool.query('delete from orders where placed_at > $1', ['2024-03-15']);
  await place.pool.query('update orders set base_factor = null where placed_at < $1', ['2024-01-10']);
  await rollUp(place.pool, 'Europe/Berlin');
  t.same((await place.pool.query('select count(*)::int from customer_purchases where unvalued > 0')).rows, [
    { count: 2 },
  ]);
});

t.test('sums beyond 2^53 are exact', async (t) => {
  const large = 1_000_000_000_000;
  const place = await world(t, {}, { now: '2024-03-15T09:00:00.000Z' });
  await insertFacts(place.pool, { orders: ordersOf('1: 2024-01-05 2024-02-05', { total: large }) });
  // 9,007 orders more of that size, and one of a single cent.
  await place.pool.query(
    `insert into orders (customer_id, id, version, source, external_id, placed_at, currency, total, discount, shipping, fees, tax, tax_included, rounding,
       payment_status, fulfillment_status, test, exchange_rate, base_factor, refunds, refunded, created_at, updated_at)
     select customer_id, gen_random_uuid(), 1, 'shop', g::text, placed_at, currency, case when g = 0 then 1 else total end, 0, 0, 0, 0, true, 0, 'paid', 'unfulfilled', false, 1, 1, 0, 0, now(), now()
     from orders, generate_series(0, 9007) g where placed_at < '2024-02-01'`,
  );
  await rollUp(place.pool, 'UTC');
  const ask = asker(place);
  for (const input of [{}, { to: '2024-03-01' }]) {
    const answer = await ask(getRevenuePerCustomer, input);
    t.equal(answer.value, ratio(9009n * BigInt(large) + 1n, 1n));
    t.equal(answer.numerator, null);
    t.match(answer.warnings, [{ code: 'beyond_safe_integer', message: /9009000000000001,/ }]);
    t.match(await ask(getLifetimeValue, input), { values: { max: null, p50: answer.value } });
    const [first] = (await ask(getAverageOrderValue, { ...input, interval: 'month' })).series;
    t.equal(first?.value, ratio(9008n * BigInt(large) + 1n, 9009n));
  }
});

t.test(
  'a metric takes four statements at most, whatever the series; two more where the purchase days cannot tell',
  async (t) => {
    const place = await world(t, shop, { now: '2024-03-15T09:00:00.000Z' });
    const real = poolDb(place.pool);
    for (const operation of metrics) {
      for (const more of [
        {},
        { customerId: idOf(1) },
        { variant: 'simple' },
        { variant: 'four_factor' },
        { variant: 'silence' },
        { variant: 'gap' },
      ]) {
        if (Object.keys(more).some((name) => !(name in operation.input.shape))) continue;
        let statements = 0;
        const db: Db = {
          all(query, values) {
            statements += 1;
            return real.all(query, values);
          },
          first(query, values) {
            statements += 1;
            return real.first(query, values);
          },
        };
        const input = { from: '2023-01-01', to: '2024-03-01', interval: 'day', ...more };
        await place.ask(operation, input, { db }).catch((error: unknown) => {
          if (!(error instanceof Problem && error.code === 'invalid_input')) throw error;
        });
        t.ok(
          statements <=
            (operation === getLifetimeValue || operation === getAverageOrderValue || operation === getRevenuePerCustomer
              ? 6
              : 4),
          `${operation.name} ${JSON.stringify(more)}: ${statements}`,
        );
      }
    }
  },
);

t.test('the single view of a customer', async (t) => {
  const place = await world(t, shop, { now: '2024-03-15T09:00:00.000Z' });
  const view = async (customer: number, more = {}) =>
    customerSummary.parse(await place.ask(getCustomerSummary, { id: idOf(customer) }, more));
  const first = await view(1);
  t.match(first, {
    customer: { id: idOf(1), name: 'Ada', acquisition: { cost: 300 } },
    orders: 2,
    purchaseDays: 2,
    meanGapDays: 31,
    daysSinceLastOrder: 41,
    isReturning: true,
    isSilent: false,
    isOverdue: false,
    perCurrency: [
      {
        currency: 'EUR',
        orders: 2,
        revenue: 2400,
        returned: 250,
        averageOrderValue: 1200,
        lastOrderAt: '2024-02-03T12:00:00.000Z',
      },
    ],
    base: {
      currency: 'EUR',
      orders: 2,
      withoutRate: 0,
      revenue: 2400,
      returned: 250,
      averageOrderValue: 1200,
      lifetimeValue: 2150,
    },
  });
  t.strictSame(
    first.lastOrders.map((o) => [o.placedAt, o.total, o.status]),
    [
      ['2024-02-03T12:00:00.000Z', 2000, 'partially_refunded'],
      ['2024-01-03T12:00:00.000Z', 1000, 'paid'],
    ],
  );
  t.match(await view(2), {
    orders: 2,
    perCurrency: [
      { currency: 'EUR', averageOrderValue: 0 },
      { currency: 'USD', revenue: 700, returned: 90 },
    ],
    base: { revenue: 350, returned: 45, lifetimeValue: 305 },
  });
  t.match(await view(4), {
    base: { orders: 0, withoutRate: 1, lifetimeValue: null },
    meanGapDays: null,
    isOverdue: null,
  });
  const nothing = await view(5, { scopes: ['customers:read'] });
  t.match(nothing, {
    customer: { name: null },
    orders: 0,
    isReturning: false,
    daysSinceLastOrder: null,
    isSilent: null,
    perCurrency: [{ currency: 'EUR', orders: 0, returned: 4000, averageOrderValue: null }],
    base: { lifetimeValue: null },
  });
  t.same(
    nothing.lastOrders.map((o) => o.status),
    ['refunded', 'cancelled', 'cancelled'],
  );
  t.equal(await refusal(place.ask(getCustomerSummary, { id: idOf(99) })), 'not_found');
  t.equal(await refusal(place.ask(getCustomerSummary, { source: 'shop', externalId: 'nobody' })), 'not_found');
});

t.test('over HTTP the parameters are text, and the answers are the same', async (t) => {
  const { request } = await testApp(t);
  for (const query of [
    'retention-rate?minOrders=2',
    'churn-rate?variant=gap&gapFactor=1.5',
    'lifetime-value?variant=four_factor&margin=0.4',
    'purchase-gaps?interval=month&timeZone=Europe/Berlin',
  ]) {
    const { status, body } = await request('GET', `/v1/metrics/${query}`);
    t.equal(status, 200, query);
    metricResult.parse(body);
  }
  t.match(await request('GET', '/v1/metrics/retention-rate?minOrders=x'), {
    status: 422,
    body: { errors: [{ parameter: 'minOrders', code: 'invalid_type' }] },
  });
  t.match(await request('GET', '/v1/metrics/rfm?groupBy=country'), {
    status: 422,
    body: { errors: [{ parameter: 'groupBy', code: 'unsupported_parameter' }] },
  });
  t.equal((await request('GET', '/v1/metrics/retention-rate', { scope: 'orders:read' })).status, 403);
});
