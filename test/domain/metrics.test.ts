import fc from 'fast-check';
import t from 'tap';
import { averageOrderValue } from '../../src/domain/average-order-value.ts';
import { churnRate } from '../../src/domain/churn-rate.ts';
import { activeCustomers, cohortCells, cohorts } from '../../src/domain/cohorts.ts';
import { calendarDaysBetween, hoursBetween, type LeadFunnelCounts, leadFunnel } from '../../src/domain/lead-funnel.ts';
import {
  type FourFactorStatistics,
  fourFactorLifetimeValue,
  historicLifetimeValue,
  historicRanks,
  simpleLifetimeValue,
} from '../../src/domain/lifetime-value.ts';
import type { MetricResult } from '../../src/domain/metric-result.ts';
import { newAndReturning } from '../../src/domain/new-and-returning.ts';
import { customerMeans, purchaseGaps } from '../../src/domain/purchase-gaps.ts';
import { repeatPurchaseRate } from '../../src/domain/repeat-purchase-rate.ts';
import { retentionRate } from '../../src/domain/retention-rate.ts';
import { revenueConcentration } from '../../src/domain/revenue-concentration.ts';
import { revenuePerCustomer } from '../../src/domain/revenue-per-customer.ts';
import { rfm, rfmSegment } from '../../src/domain/rfm.ts';

const codes = (result: MetricResult) => result.warnings.map((warning) => warning.code);
const six = (value: number | null | undefined) => value?.toFixed(6);

t.test('retention is the share of the previous buyers who came back', async (t) => {
  // CDNOW sample, January to February 1997: 781 buyers, 124 of them again
  const result = retentionRate({ previousBuyers: 781, retained: 124 });
  t.equal(six(result.value), '0.158771');
  t.match(result, { numerator: 124, denominator: 781, lowSample: false, reason: null, values: { lost: 657 } });
  t.ok(
    result.interval && result.interval.low < 0.1588 && result.interval.high > 0.1588 && result.interval.level === 0.95,
  );
  const none = retentionRate({ previousBuyers: 0, retained: 0 });
  t.match(none, {
    value: null,
    numerator: 0,
    denominator: 0,
    interval: null,
    lowSample: true,
    reason: { code: 'no_buyers' },
  });
  t.throws(() => retentionRate({ previousBuyers: 1, retained: 2 }), RangeError);
});

t.test('new and returning buyers share out buyers and revenue', async (t) => {
  const result = newAndReturning({ fresh: { buyers: 30, revenue: 4_500n }, returning: { buyers: 10, revenue: -500n } });
  t.match(result, { value: 0.25, numerator: 10, denominator: 40, lowSample: false, reason: null, warnings: [] });
  t.same(result.values, {
    buyers: 40,
    newBuyers: 30,
    returningBuyers: 10,
    revenue: 4_000,
    newRevenue: 4_500,
    returningRevenue: -500,
  });
  t.ok(result.interval && result.interval.low < 0.25 && result.interval.high > 0.25);
  t.match(result.groups, [
    { key: 'new', value: 0.75, values: { buyers: 30, revenue: 4_500 } },
    { key: 'returning', value: 0.25, values: { buyers: 10, revenue: -500 } },
  ]);
  const none = newAndReturning({ fresh: { buyers: 0, revenue: 0n }, returning: { buyers: 0, revenue: -20n } });
  t.match(none, { value: null, reason: { code: 'no_buyers' }, values: { returningRevenue: -20 } });
  const large = newAndReturning({
    fresh: { buyers: 1, revenue: 9_007_199_254_740_992n },
    returning: { buyers: 1, revenue: -1n },
  });
  t.match(large.values, { revenue: 9_007_199_254_740_991, newRevenue: null });
  t.match(large.warnings, [{ code: 'beyond_safe_integer', message: /newRevenue is 9007199254740992,/ }]);
  t.throws(() => newAndReturning({ fresh: { buyers: -1, revenue: 0n }, returning: { buyers: 0, revenue: 0n } }));
});

t.test('the repeat-purchase rate is the share of buyers with enough orders', async (t) => {
  t.equal(six(repeatPurchaseRate({ buyers: 2_357, repeatBuyers: 1_152 }).value), '0.488757');
  t.match(repeatPurchaseRate({ buyers: 10, repeatBuyers: 0 }), { value: 0, lowSample: true, reason: null });
  t.match(repeatPurchaseRate({ buyers: 0, repeatBuyers: 0 }), { value: null, reason: { code: 'no_buyers' } });
});

t.test('churn has three variants, each saying what it cannot know', async (t) => {
  const period = churnRate({ variant: 'period', previousBuyers: 781, retained: 124 });
  t.equal(six(period.value), '0.841229');
  t.match(period, { numerator: 657, denominator: 781 });
  t.same(codes(period), ['pause_is_not_loss']);
  t.match(churnRate({ variant: 'period', previousBuyers: 0, retained: 0 }), {
    value: null,
    reason: { code: 'no_buyers' },
  });
  t.throws(() => churnRate({ variant: 'period', previousBuyers: 1, retained: 2 }), RangeError);

  t.match(churnRate({ variant: 'silence', customers: 40, silent: 10 }), { value: 0.25, denominator: 40, warnings: [] });
  t.match(churnRate({ variant: 'silence', customers: 0, silent: 0 }), { value: null, reason: { code: 'no_buyers' } });

  const gap = churnRate({ variant: 'gap', customersWithGap: 8, silent: 2, customersWithoutGap: 5 });
  t.match(gap, { value: 0.25, numerator: 2, denominator: 8, values: { customersWithoutGap: 5 } });
  t.same(codes(gap), ['customers_without_gap']);
  const onlyFirst = churnRate({ variant: 'gap', customersWithGap: 0, silent: 0, customersWithoutGap: 5 });
  t.match(onlyFirst, { value: null, reason: { code: 'no_gaps' } });
  const nobody = churnRate({ variant: 'gap', customersWithGap: 0, silent: 0, customersWithoutGap: 0 });
  t.match(nobody, { value: null, reason: { code: 'no_buyers' } });
});

t.test('purchase gaps are pooled and by customer', async (t) => {
  // A bought on days 0, 10, 40 (gaps 10, 30); B on 0, 20 (20); C on 0, 100 (100); D once.
  const result = purchaseGaps({
    histogram: [
      { value: 100, count: 1 },
      { value: 10, count: 1 },
      { value: 30, count: 1 },
      { value: 20, count: 1 },
    ],
    customers: customerMeans([
      { days: 40, gaps: 2, customers: 1 },
      { days: 20, gaps: 1, customers: 1 },
      { days: 100, gaps: 1, customers: 1 },
    ]),
    openGaps: 4,
  });
  t.match(result, { value: 40, numerator: 160, denominator: 4, lowSample: true, interval: null, reason: null });
  t.same(result.values, {
    mean: 40,
    median: 25,
    p75: 47.5,
    p90: 79,
    customerMean: 140 / 3,
    customerMedian: 20,
    gaps: 4,
    customers: 3,
    openGaps: 4,
  });
  t.same(codes(result), ['open_gaps_excluded']);
  const none = purchaseGaps({ histogram: [], customers: customerMeans([]), openGaps: 3 });
  t.match(none, {
    value: null,
    denominator: 0,
    reason: { code: 'no_gaps' },
    values: { median: null, customerMean: null, openGaps: 3 },
  });
  const sameDay = purchaseGaps({
    histogram: [{ value: 0, count: 2 }],
    customers: customerMeans([{ days: 0, gaps: 2, customers: 1 }]),
    openGaps: 0,
  });
  t.match(sameDay, { value: 0, reason: null, values: { median: 0 } }, 'gaps of 0 are gaps');
  t.throws(
    () =>
      purchaseGaps({
        histogram: [{ value: 1, count: 1 }],
        customers: customerMeans([{ days: 2, gaps: 1, customers: 1 }]),
        openGaps: 0,
      }),
    RangeError,
    'two views of different gaps',
  );
  t.throws(
    () => purchaseGaps({ histogram: [], customers: customerMeans([{ days: 0, gaps: 0, customers: 1 }]), openGaps: 0 }),
    RangeError,
  );
});

t.test('purchase gaps of any customers equal the naive computation', async () => {
  const customers = fc.array(fc.array(fc.nat(400), { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(customers, (all) => {
      const gaps = all.flat();
      const result = purchaseGaps({
        histogram: gaps.map((value) => ({ value, count: 1 })),
        customers: customerMeans(
          all.map((own) => ({ days: own.reduce((a, b) => a + b, 0), gaps: own.length, customers: 1 })),
        ),
        openGaps: 0,
      });
      const means = all.map((own) => own.reduce((a, b) => a + b, 0) / own.length);
      const customerMean = means.reduce((a, b) => a + b, 0) / means.length;
      return (
        result.value === gaps.reduce((a, b) => a + b, 0) / gaps.length &&
        Math.abs((result.values.customerMean ?? Number.NaN) - customerMean) < 1e-9 &&
        result.values.customers === all.length
      );
    }),
  );
});

t.test('average order value is revenue over orders, also in each group', async (t) => {
  // CDNOW sample in cents
  const result = averageOrderValue({
    returning: { orders: 5_714, revenue: 20_741_856n, customers: 1_152 },
    oneTime: { orders: 1_205, revenue: 3_667_338n, customers: 1_205 },
  });
  t.equal(((result.value ?? 0) / 100).toFixed(4), '35.2785');
  t.match(result, { numerator: 24_409_194, denominator: 6_919, values: { orders: 6_919, customers: 2_357 } });
  t.same(
    result.groups?.map((group) => [group.key, six((group.value ?? 0) / 100), group.numerator, group.denominator]),
    [
      ['returning', '36.300063', 20_741_856, 5_714],
      ['one_time', '30.434340', 3_667_338, 1_205],
    ],
  );
  t.equal(result.values.returning, result.groups?.[0]?.value);
  const none = { orders: 0, revenue: 0n, customers: 0 };
  const empty = averageOrderValue({ returning: none, oneTime: none });
  t.match(empty, { value: null, reason: { code: 'no_orders' }, values: { returning: null, oneTime: null } });
  const oneSided = averageOrderValue({ returning: none, oneTime: { orders: 2, revenue: 301n, customers: 2 } });
  t.match(oneSided, { value: 150.5, reason: null });
  t.match(oneSided.groups?.[0], { key: 'returning', value: null, reason: { code: 'no_orders' }, lowSample: true });
});

t.test('sums beyond 2^53 keep their value and tell their digits', async (t) => {
  const result = revenuePerCustomer({ revenue: 9_007_199_254_740_993n, buyers: 3 });
  t.equal(result.value, 3_002_399_751_580_331);
  t.equal(result.numerator, null);
  t.match(result.warnings, [{ code: 'beyond_safe_integer', message: /9007199254740993/ }]);
});

t.test('revenue per customer divides by distinct buyers and may be negative', async (t) => {
  t.equal(((revenuePerCustomer({ revenue: 24_409_194n, buyers: 2_357 }).value ?? 0) / 100).toFixed(6), '103.560433');
  t.match(revenuePerCustomer({ revenue: -100n, buyers: 4 }), { value: -25, numerator: -100, denominator: 4 });
  t.match(revenuePerCustomer({ revenue: -100n, buyers: 0 }), {
    value: null,
    numerator: -100,
    reason: { code: 'no_buyers' },
  });
});

function historic(values: readonly bigint[]): MetricResult {
  const sorted = [...values].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return historicLifetimeValue({
    buyers: sorted.length,
    sum: sorted.reduce((sum, value) => sum + value, 0n),
    sumOfSquares: sorted.reduce((sum, value) => sum + value * value, 0n),
    orderStatistics: new Map(historicRanks(sorted.length).map((rank) => [rank, sorted[rank] ?? 0n])),
  });
}

t.test('historic lifetime value describes the buyers, from a few order statistics', async (t) => {
  // ten buyers of 100, 200 … 1000
  const result = historic(Array.from({ length: 10 }, (_, index) => BigInt((index + 1) * 100)));
  t.match(result, { value: 550, numerator: 5_500, denominator: 10, lowSample: true, reason: null });
  t.same(result.values, {
    mean: 550,
    deviation: Math.sqrt(825_000 / 9),
    min: 100,
    max: 1_000,
    p5: 145,
    p10: 190,
    p25: 325,
    p50: 550,
    p75: 775,
    p90: 910,
    p95: 955,
    p99: 991,
    buyers: 10,
  });
  t.match(historic([-250n]), { value: -250, values: { deviation: null, min: -250, max: -250, p50: -250, p99: -250 } });
  t.match(historic([]), {
    value: null,
    reason: { code: 'no_buyers' },
    values: { min: null, p50: null, deviation: null, buyers: 0 },
  });
  t.ok(historicRanks(1_000_000).length <= 18, 'a few rows, however many buyers');
  t.same(historicRanks(1), [0]);
  t.throws(
    () => historicLifetimeValue({ buyers: 2, sum: 3n, sumOfSquares: 5n, orderStatistics: new Map() }),
    RangeError,
  );
  const large = historic([10n ** 16n, 10n ** 16n]);
  t.match(large, { value: 1e16, numerator: null, values: { max: null, deviation: 0 } });
  t.same(codes(large), ['beyond_safe_integer', 'beyond_safe_integer', 'beyond_safe_integer']);
});

t.test('simple lifetime value subtracts the costs that are known and says which are not', async (t) => {
  const statistics = {
    buyers: 4,
    revenue: 10_000n,
    acquisitionCost: 3_000n,
    buyersWithAcquisitionCost: 4,
    retentionCostPerBuyer: 250,
  };
  t.match(simpleLifetimeValue(statistics), {
    value: 1_500,
    numerator: 6_000,
    denominator: 4,
    values: { revenuePerBuyer: 2_500, acquisitionCostPerBuyer: 750, retentionCostPerBuyer: 250 },
    warnings: [],
    missingInputs: [],
  });
  const partial = simpleLifetimeValue({ ...statistics, buyersWithAcquisitionCost: 3 });
  t.equal(partial.value, 1_500);
  t.same(codes(partial), ['acquisition_cost_partial']);
  const acquisitionOnly = simpleLifetimeValue({ ...statistics, retentionCostPerBuyer: null });
  t.equal(acquisitionOnly.value, 1_750);
  t.same(codes(acquisitionOnly), ['retention_cost_unknown']);
  const retentionOnly = simpleLifetimeValue({ ...statistics, acquisitionCost: 0n, buyersWithAcquisitionCost: 0 });
  t.match(retentionOnly, { value: 2_250, values: { acquisitionCostPerBuyer: null } });
  t.same(codes(retentionOnly), ['acquisition_cost_unknown']);
  t.equal(simpleLifetimeValue({ ...statistics, retentionCostPerBuyer: 0 }).value, 1_750, 'a cost of 0 is known');
  t.equal(simpleLifetimeValue({ ...statistics, retentionCostPerBuyer: 5_000 }).value, -3_250, 'negative is allowed');
  const unknown = { ...statistics, acquisitionCost: 0n, buyersWithAcquisitionCost: 0, retentionCostPerBuyer: null };
  const missing = simpleLifetimeValue(unknown);
  t.match(missing, { value: null, numerator: null, denominator: 4, reason: { code: 'missing_inputs' } });
  t.same(missing.missingInputs, ['acquisition.cost', 'retentionCost']);
  t.match(simpleLifetimeValue({ ...unknown, buyers: 0, revenue: 0n }), {
    value: null,
    reason: { code: 'no_buyers' },
    missingInputs: [],
  });
});

const window: FourFactorStatistics = {
  // 60 orders of 30 buyers in twelve months of 30.4375 days, €50 each
  revenue: 300_000n,
  orders: 60,
  buyers: 30,
  months: 12,
  lifetime: { basis: 'configured', months: 24 },
  costs: { lines: 100, linesWithCost: 0, cost: 0n },
  margin: 0.4,
};

t.test('four-factor lifetime value multiplies what its values show', async (t) => {
  const result = fourFactorLifetimeValue(window);
  t.match(result, {
    numerator: null,
    denominator: 30,
    lowSample: false,
    reason: null,
    warnings: [],
    values: {
      averageOrderValue: 5_000,
      purchaseFrequency: 2 / 12,
      lifetimeMonths: 24,
      margin: 0.4,
      orders: 60,
      buyers: 30,
      months: 12,
    },
  });
  t.equal(six(result.value), '8000.000000', '5000 × 2 / 12 × 24 × 0.4');
});

t.test('the lifetime is observed, estimated from silence, or configured', async (t) => {
  const observed = fourFactorLifetimeValue({ ...window, lifetime: { basis: 'observed', totalDays: 30 * 30.4375 * 6 } });
  t.equal(observed.values.lifetimeMonths, 6);
  t.same(codes(observed), ['observed_lifetime_is_lower_bound']);
  const oneTimers = fourFactorLifetimeValue({ ...window, lifetime: { basis: 'observed', totalDays: 0 } });
  t.match(oneTimers, { value: 0, values: { lifetimeMonths: 0 } }, 'a lower bound of 0 is what was observed');

  const silence = { basis: 'silence', exposureDays: 200 * 30.4375, events: 20 } as const;
  t.equal(
    fourFactorLifetimeValue({ ...window, lifetime: silence }).values.lifetimeMonths,
    10,
    '20 events in 200 months: a tenth a month',
  );
  const nobodySilent = fourFactorLifetimeValue({ ...window, lifetime: { ...silence, events: 0 } });
  t.match(nobodySilent, { value: null, reason: { code: 'no_silence_events' }, missingInputs: [] });

  const unconfigured = fourFactorLifetimeValue({ ...window, lifetime: { basis: 'configured', months: null } });
  t.match(unconfigured, {
    value: null,
    reason: { code: 'missing_inputs' },
    values: { averageOrderValue: 5_000, margin: 0.4 },
  });
  t.same(unconfigured.missingInputs, ['lifetimeMonths']);
});

t.test('the margin comes from item costs only when every line has one', async (t) => {
  const costs = { lines: 100, linesWithCost: 100, cost: 225_000n };
  const full = fourFactorLifetimeValue({ ...window, costs });
  t.equal(full.values.margin, 0.25, 'costs go before the parameter');
  t.equal(fourFactorLifetimeValue({ ...window, costs, margin: null }).values.margin, 0.25);
  const loss = fourFactorLifetimeValue({ ...window, costs: { ...costs, cost: 330_000n } });
  t.ok((loss.value ?? 0) < 0, 'selling below cost is a loss');

  const partialCosts = { ...costs, linesWithCost: 60 };
  const partial = fourFactorLifetimeValue({ ...window, costs: partialCosts });
  t.equal(partial.values.margin, 0.4);
  t.same(codes(partial), ['item_costs_partial']);
  const neither = fourFactorLifetimeValue({ ...window, costs: partialCosts, margin: null });
  t.match(neither, {
    value: null,
    reason: { code: 'missing_inputs', message: /60 of 100/ },
    missingInputs: ['margin'],
  });
  const both = fourFactorLifetimeValue({ ...window, lifetime: { basis: 'configured', months: null }, margin: null });
  t.same(both.missingInputs, ['lifetimeMonths', 'margin']);
  const free = fourFactorLifetimeValue({ ...window, revenue: 0n, costs, margin: null });
  t.match(free, { value: null, reason: { code: 'no_revenue' }, values: { averageOrderValue: 0 } });
});

t.test('a window below twelve months warns, a calendar year does not', async (t) => {
  t.same(codes(fourFactorLifetimeValue({ ...window, months: 365 / 30.4375 })), []);
  t.same(codes(fourFactorLifetimeValue({ ...window, months: 364 / 30.4375 })), ['short_window']);
  const empty = fourFactorLifetimeValue({
    ...window,
    revenue: 0n,
    orders: 0,
    buyers: 0,
    costs: { lines: 0, linesWithCost: 0, cost: 0n },
  });
  t.match(empty, {
    value: null,
    reason: { code: 'no_buyers' },
    missingInputs: [],
    values: { averageOrderValue: null, purchaseFrequency: null },
  });
  t.throws(() => fourFactorLifetimeValue({ ...window, months: 0 }), RangeError);
  t.throws(() => fourFactorLifetimeValue({ ...window, margin: Number.NaN }), RangeError);
});

t.test('no statistics make a number that is NaN or infinite', async () => {
  const count = fc.nat(100_000);
  const sum = fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n });
  const part = fc.tuple(count, count).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
  const sound = (result: MetricResult) =>
    [result, ...(result.groups ?? [])].every(
      ({ value, values, numerator, denominator, reason }) =>
        [value, numerator, denominator, ...Object.values(values)].every((n) => n === null || Number.isFinite(n)) &&
        (value === null) === (reason !== null),
    );
  fc.assert(
    fc.property(part, part, sum, sum, fc.nat(1_000), (a, b, revenue, cost, small) => {
      const [some, all] = a;
      const orders = (n: number) => ({ orders: n, revenue, customers: n });
      return [
        retentionRate({ previousBuyers: all, retained: some }),
        repeatPurchaseRate({ buyers: all, repeatBuyers: some }),
        churnRate({ variant: 'period', previousBuyers: all, retained: some }),
        churnRate({ variant: 'gap', customersWithGap: all, silent: some, customersWithoutGap: small }),
        revenuePerCustomer({ revenue, buyers: small }),
        averageOrderValue({ returning: orders(some), oneTime: orders(small) }),
        simpleLifetimeValue({
          buyers: all,
          revenue,
          acquisitionCost: cost,
          buyersWithAcquisitionCost: some,
          retentionCostPerBuyer: small || null,
        }),
        fourFactorLifetimeValue({
          revenue,
          orders: small,
          buyers: Math.min(small, all),
          months: 12,
          lifetime: { basis: 'silence', exposureDays: all, events: some },
          costs: { lines: b[1], linesWithCost: b[0], cost: cost < 0n ? -cost : cost },
          margin: small % 2 === 0 ? 0.3 : null,
        }),
      ].every(sound);
    }),
  );
});

t.test('the funnel of ten leads', async (t) => {
  const hours = 3_600_000_000;
  const counts: LeadFunnelCounts = {
    leads: 10,
    converted: 3,
    inStage: { subscriber: 1, lead: 2, marketing_qualified: 0, sales_qualified: 1, customer: 2 },
    lost: 4,
    lostCustomers: 1,
    lostBy: { price: 3, no_budget: 1 },
    underQualified: 1,
    untouched: 3,
    neverTouched: 2,
    answered: 6,
    firstResponse: { median: 2.5 * hours, p90: 30 * hours },
    conversion: { median: 36 * hours },
    reached: { lead: 8, marketing_qualified: 6, sales_qualified: 4 },
  };
  const { value, values, numerator, denominator, interval, warnings } = leadFunnel(counts);
  t.same([value, numerator, denominator, warnings], [0.3, 3, 10, []]);
  t.same([six(interval?.low), six(interval?.high)], ['0.107791', '0.603222']);
  t.same(values, {
    leads: 10,
    open: 4,
    converted: 3,
    lost: 4,
    lostCustomers: 1,
    inSubscriber: 1,
    inLead: 2,
    inMarketingQualified: 0,
    inSalesQualified: 1,
    inCustomer: 2,
    lostPrice: 3,
    lostNoBudget: 1,
    underQualified: 1,
    underQualifiedShare: 0.25,
    untouched: 3,
    untouchedShare: 0.75,
    neverTouched: 2,
    neverTouchedShare: 0.5,
    answered: 6,
    unanswered: 4,
    timeToFirstResponseMedianHours: 2.5,
    timeToFirstResponseP90Hours: 30,
    reachedLead: 8,
    reachedMarketingQualified: 6,
    reachedSalesQualified: 4,
    reachedCustomer: 3,
    leadToMarketingQualified: 0.75,
    marketingQualifiedToSalesQualified: 4 / 6,
    salesQualifiedToCustomer: 0.75,
    timeToConversionMedianDays: 1.5,
  });

  const nobody = leadFunnel({
    ...counts,
    leads: 1,
    converted: 0,
    inStage: { subscriber: 0, lead: 0, marketing_qualified: 0, sales_qualified: 0, customer: 0 },
    lost: 1,
    lostCustomers: 0,
    underQualified: 0,
    untouched: 0,
    neverTouched: 0,
    answered: 0,
    firstResponse: null,
    conversion: null,
    reached: { lead: 1, marketing_qualified: 0, sales_qualified: 0 },
  });
  t.match(nobody, {
    value: 0,
    values: {
      untouchedShare: null,
      leadToMarketingQualified: 0,
      marketingQualifiedToSalesQualified: null,
      timeToFirstResponseMedianHours: null,
      timeToConversionMedianDays: null,
    },
  });
  t.same(codes(nobody), ['no_open_leads', 'no_responses', 'no_conversions', 'stage_not_reached']);
  t.throws(() => leadFunnel({ ...counts, leads: 11 }), RangeError, 'stages that do not add up');
  t.throws(() => leadFunnel({ ...counts, neverTouched: 4 }), RangeError);
  t.throws(() => leadFunnel({ ...counts, reached: { ...counts.reached, sales_qualified: 7 } }), RangeError);

  t.equal(hoursBetween('2026-03-01T00:00:00.000Z', '2026-03-01T01:30:00.000036Z'), 1.50000001);
  t.equal(
    calendarDaysBetween('2026-03-28T22:30:00.000Z', '2026-03-29T22:30:00.000Z', 'Europe/Berlin'),
    2,
    '23:30 to 00:30',
  );
});

t.test('concentration is the share of the top fifth, and counts losses in the whole', async (t) => {
  // 6 customers: 100, 40, 30, 20, 10, −50: 150 in all; two of six are the top fifth, three bring 80 % (120).
  const result = revenueConcentration({
    customers: 6,
    revenue: 150n,
    ofTop: [100n, 100n, 100n, 140n, 140n, 170n],
    bringing80: 2,
    lossMaking: 1,
    losses: -50n,
    contactSeconds: 600n,
    contactSecondsOfRest: 450n,
  });
  t.match(result, { value: 140 / 150, numerator: 140, denominator: 150, reason: null });
  t.match(result.values, {
    topCustomers: 2,
    customersBringing80: 2,
    shareOfCustomersBringing80: 1 / 3,
    lossMakingCustomers: 1,
    lossMakingRevenue: -50,
    contactTimeShareOfRest: 0.75,
  });
  t.equal(result.groups?.find(({ key }) => key === 'top_50')?.value, 170 / 150, 'without the loss it is more than all');
  const sums = { customers: 1, bringing80: 1, lossMaking: 1, contactSeconds: 0n, contactSecondsOfRest: 0n };
  const none = revenueConcentration({ ...sums, revenue: 0n, ofTop: [0n], losses: -1n });
  t.match(none, { value: null, reason: { code: 'no_revenue' }, values: { customersBringing80: null } });
  t.throws(() => revenueConcentration({ ...sums, lossMaking: 2, revenue: 1n, ofTop: [], losses: 0n }), RangeError);
});

t.test('the segments of RFM: R, and the mean of F and M', async (t) => {
  const of = (recency: number, frequency: number, monetary: number) => rfmSegment({ recency, frequency, monetary });
  t.strictSame(
    [of(5, 4, 4), of(4, 5, 3), of(4, 3, 3), of(5, 5, 1), of(5, 3, 2), of(4, 1, 1)],
    ['champions', 'champions', 'loyal', 'loyal', 'promising', 'promising'],
  );
  t.strictSame([of(3, 4, 4), of(3, 5, 2), of(3, 1, 1)], ['loyal', 'needs_attention', 'needs_attention']);
  t.strictSame(
    [of(2, 3, 3), of(1, 5, 5), of(2, 3, 2), of(1, 1, 1)],
    ['at_risk', 'at_risk', 'hibernating', 'hibernating'],
  );
  const cell = { recency: 5, frequency: 5, monetary: 5, customers: 3, orders: 9, revenue: 900n };
  const result = rfm([cell, { ...cell, recency: 1, customers: 1, orders: 2, revenue: 10n }]);
  t.match(result, { value: 4, denominator: 4, lowSample: true, values: { recency5: 3, recency1: 1, monetary5: 4 } });
  t.match(result.groups?.[0], {
    key: 'champions',
    value: 0.75,
    values: { customers: 3, orders: 9, revenue: 900, 555: 3 },
  });
  t.match(rfm([]), { value: null, reason: { code: 'no_buyers' } });
});

t.test('cohorts: on an interval, or on it or later; only intervals that have ended are judged', async (t) => {
  const cell = (active: number, last: number, revenue: bigint) => ({ active, last, revenue });
  // Ten customers; 4 of them bought in the next interval, 3 in the one after, one of these for the first time since.
  const first = { cells: [cell(10, 5, 1000n), cell(4, 2, 200n), cell(3, 3, -50n)] };
  t.strictSame(activeCustomers(first, 'on'), [10, 4, 3]);
  t.strictSame(activeCustomers(first, 'on_or_after'), [10, 5, 3]);
  t.match(
    cohortCells(first, 'on').map(({ value, values }) => [value, values['cumulativeRevenuePerCustomer']]),
    [
      [1, 100],
      [0.4, 120],
      [0.3, 115],
    ],
  );
  const second = { cells: [cell(6, 4, 600n), cell(2, 2, 10n)] };
  t.match(cohorts([first, second], [3, 2], 'on'), { value: 6 / 16, numerator: 6, denominator: 16 });
  t.match(cohorts([first, second], [2, 1], 'on'), { value: 0.4 }, 'the second interval of the second still runs');
  t.match(cohorts([second], [1], 'on'), { value: null, reason: { code: 'not_yet' }, values: { customers: 6 } });
  t.match(cohorts([], [], 'on'), { value: null, reason: { code: 'no_buyers' } });
  t.throws(() => cohortCells({ cells: [cell(1, 1, 0n), cell(2, 1, 0n)] }, 'on'), RangeError);
});
