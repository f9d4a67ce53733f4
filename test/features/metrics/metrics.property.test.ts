import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { MetricResult } from '../../../src/domain/metric-result.ts';
import {
  buckets,
  type CalendarInterval,
  intervalAt,
  previousBucket,
  resolveInstant,
} from '../../../src/domain/period.ts';
import { precedingPeriod } from '../../../src/domain/preceding-period.ts';
import { type MetricAnswer, metricResult } from '../../../src/features/metrics/model.ts';
import {
  getAverageOrderValue,
  getChurnRate,
  getCohorts,
  getLifetimeValue,
  getNewAndReturning,
  getPurchaseGaps,
  getRepeatPurchaseRate,
  getRetentionRate,
  getRevenueConcentration,
  getRevenuePerCustomer,
  getRfm,
} from '../../../src/features/metrics/operations.ts';
import type { Operation } from '../../../src/platform/operation.ts';
import { draws, endOnFailure, firstSeed } from '../../support/draws.ts';
import { clearFacts, type Facts, idOf, insertFacts, nobody, rollUp, world } from '../../support/facts.ts';
import { type Measured, oracle, type Span } from '../../support/metric-oracle.ts';

/**
 * Three ways to one answer: the rollups where they serve, the facts, and a naive count over arrays; in zones with
 * daylight saving as reporting zone and as zone of the question.
 */

const now = '2019-06-20T12:00:00.000Z';
// São Paulo has no midnight on 2018-11-04, Berlin and New York change inside the year, Kathmandu is off the hour.
const zones = ['UTC', 'Europe/Berlin', 'America/Sao_Paulo', 'America/New_York', 'Asia/Kathmandu'] as const;
/** No month boundary of the questions is one of this zone's, so everything is answered from the facts. */
const farAway = 'Pacific/Kiritimati';

const instants = fc.oneof(
  fc.integer({ min: Date.UTC(2018, 8, 1), max: Date.UTC(2019, 4, 15) }),
  // Around the turns of months and clocks, where the zones disagree about the day.
  fc
    .tuple(
      fc.constantFrom(
        '2018-09-01',
        '2018-10-28',
        '2018-11-01',
        '2018-11-04',
        '2019-01-01',
        '2019-02-01',
        '2019-02-17',
        '2019-03-31',
      ),
      fc.integer({ min: -14 * 60, max: 14 * 60 }),
    )
    .map(([day, minutes]) => Date.parse(`${day}T00:00:00Z`) + minutes * 60_000),
);
const at = instants.map((ms) => new Date(ms).toISOString());
const money = fc.constantFrom(
  { currency: 'EUR', factor: '1' },
  { currency: 'USD', factor: '0.905' },
  { currency: 'USD', factor: null },
);
const customer = fc.integer({ min: 1, max: 6 });

const order = fc
  .record({
    customer: fc.oneof({ weight: 6, arbitrary: customer }, { weight: 1, arbitrary: fc.constant(nobody) }),
    at,
    money,
    total: fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 1, max: 99_999 }) },
      { weight: 1, arbitrary: fc.constant(0) },
    ),
    tax: fc.constantFrom(0, 0, 7),
    fate: fc.constantFrom(
      'kept',
      'kept',
      'kept',
      'kept',
      'cancelled',
      'test',
      'pending',
      'refunded',
      'partly',
      'nothing back',
    ),
    costs: fc.array(fc.option(fc.integer({ min: 0, max: 5_000 }), { freq: 8 }), { maxLength: 2 }),
  })
  .map(({ money: { currency, factor }, fate, total, ...rest }) => ({
    ...rest,
    total,
    currency,
    factor,
    cancelled: fate === 'cancelled',
    test: fate === 'test',
    pending: fate === 'pending',
    refunds:
      fate === 'refunded' ? [total] : fate === 'partly' ? [Math.floor(total / 3)] : fate === 'nothing back' ? [0] : [],
  }));

const facts = fc.record({
  customers: fc.uniqueArray(
    fc.record({
      customer,
      acquisitionCost: fc.option(fc.integer({ min: 0, max: 9_000 })),
      acquiredOn: fc.option(fc.constantFrom('2018-09-30', '2018-11-04', '2019-01-01', '2020-01-01')),
    }),
    { selector: (c) => c.customer },
  ),
  orders: fc.array(order, { minLength: 4, maxLength: 30 }),
  returns: fc.array(
    fc
      .record({ customer: fc.integer({ min: 1, max: 8 }), at, total: fc.integer({ min: 1, max: 9_999 }), money })
      .map(({ money: { currency, factor }, ...rest }) => ({ ...rest, currency, factor })),
    { maxLength: 8 },
  ),
});

const question = fc.record(
  {
    from: fc.constantFrom('2018-09-01', '2018-11-01', '2018-11-04', '2019-01-01', '2019-02-01', '2018-10-28T01:30:00Z'),
    to: fc.constantFrom('2019-03-01', '2019-04-01', '2019-05-01', '2019-02-17', '2019-04-11T13:00:00Z', '2019-12-01'),
    asOf: fc.constantFrom(undefined, undefined, '2019-02-20', '2019-03-01', '2019-03-10T05:30:00Z'),
    currency: fc.constantFrom(undefined, undefined, 'EUR', 'USD'),
    payment: fc.constantFrom(undefined, undefined, 'paid' as const),
    zeroValue: fc.constantFrom(undefined, undefined, 'exclude' as const),
    interval: fc.constantFrom(undefined, 'week' as const, 'month' as const, 'quarter' as const),
    allTime: fc.boolean(),
    same: fc.boolean(),
  },
  { noNullPrototype: true },
);

t.test('rollups, facts and a naive count agree on every metric', { timeout: 280_000 }, async (t) => {
  const { pool, ask } = await world(t, {}, { now });
  const questions = fc.array(fc.tuple(question, fc.constantFrom(...zones)), { minLength: 3, maxLength: 3 });
  const runs = draws({ quick: 6, deep: 15 });
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(facts, fc.constantFrom(...zones), questions, async (given, reportingTimeZone, list) => {
      await clearFacts(pool);
      await insertFacts(pool, given);
      await rollUp(pool, reportingTimeZone);
      for (const [{ same, allTime, from, ...rest }, zone] of list) {
        const asked = { ...rest, from: allTime ? undefined : from, timeZone: same ? reportingTimeZone : zone };
        for (const { operation, input, expected } of expectations(given, asked)) {
          const viaRollups = await ask(operation, input, { reportingTimeZone });
          const viaFacts = await ask(operation, input, { reportingTimeZone: farAway });
          const name = `${operation.name} ${JSON.stringify(input)}`;
          assert.deepEqual(viaRollups, viaFacts, `rollups and facts: ${name}`);
          assert.deepEqual(inEssence(metricResult.parse(viaFacts)), expected, name);
          compared += 1;
        }
        for (const [input, expected] of cohortsExpected(given, asked)) {
          const [viaRollups, viaFacts] = [
            await ask(getCohorts, input, { reportingTimeZone }),
            await ask(getCohorts, input, { reportingTimeZone: farAway }),
          ];
          assert.deepEqual(viaRollups, viaFacts, `rollups and facts: cohorts ${JSON.stringify(input)}`);
          assert.deepEqual(cohortNumbers(metricResult.parse(viaFacts)), expected, `cohorts ${JSON.stringify(input)}`);
          compared += 1;
        }
      }
    }),
    { numRuns: runs, seed: firstSeed(20190617), endOnFailure },
  );
  t.ok(compared > 20 * runs, `${compared} answers compared`);
});

interface Asked {
  from: string | undefined;
  to: string;
  asOf: string | undefined;
  timeZone: string;
  currency: string | undefined;
  payment: 'all' | 'paid' | undefined;
  zeroValue: 'include' | 'exclude' | undefined;
  interval: CalendarInterval | undefined;
}

function ofCustomer({ customers, orders, returns }: Required<Facts>, customer: number): Required<Facts> {
  const own = <T extends { customer: number }>(facts: T[]) => facts.filter((fact) => fact.customer === customer);
  return { customers: own(customers), orders: own(orders), returns: own(returns) };
}

interface Expectation {
  operation: Operation;
  input: object;
  expected: ReturnType<typeof inEssence>;
}

/** Every metric's answer to a question, counted by hand. */
function expectations(given: Required<Facts>, asked: Asked): Expectation[] {
  const { timeZone, interval } = asked;
  const resolve = (moment: string) => resolveInstant(moment, timeZone);
  const asOf = resolve(asked.asOf ?? now);
  const to = resolve(asked.to);
  const from = asked.from === undefined ? null : resolve(asked.from);
  const naive = oracle(given, { ...asked, asOf });
  const whole = { from, to };

  const series = (withReturns: boolean, of = naive, everybody = false) => {
    const first = of.firstFact(to, withReturns, everybody);
    const start = from ?? (first === null || !interval ? null : intervalAt(interval, first, timeZone).from);
    return interval && start !== null ? buckets(interval, { from: start, to, timeZone }, asOf) : [];
  };
  const one = oracle(ofCustomer(given, 1), { ...asked, asOf });
  const expect = (operation: Operation, more: object, total: Measured, points: Measured[]) => ({
    operation,
    input: { ...asked, ...more },
    expected: essence(
      total.result,
      total.apart,
      points.map(({ result, apart }) => ({ ...result, excluded: apart })),
    ),
  });
  /** With the orders of the spans that do not count. */
  const leaving = ({ result, apart }: Measured, of: typeof naive, everybody: boolean, ...spans: Span[]): Measured => ({
    result,
    apart: [...of.excluded(everybody, ...spans), ...apart],
  });
  const perRange = (
    operation: Operation,
    more: object,
    count: (span: Span) => Measured,
    withReturns = false,
    of = naive,
    everybody = false,
  ) => {
    const measure = (span: Span) => leaving(count(span), of, everybody, span);
    const points = series(withReturns, of, everybody).map((b) => measure({ from: b.insideFrom, to: b.insideTo }));
    return expect(operation, more, measure(whole), points);
  };
  const asOfEnds = (operation: Operation, more: object, count: (span: Span) => MetricResult) => {
    const until = (end: string): Span => ({ from: null, to: end });
    const measure = (end: string) => leaving(plain(count)(until(end)), naive, false, until(end));
    return expect(
      operation,
      more,
      measure(to),
      series(false).map((b) => measure(b.insideTo)),
    );
  };
  const plain = (count: (span: Span) => MetricResult) => (span: Span) => ({ result: count(span), apart: [] });
  const { from: _from, to: _to, interval: _interval, ...untilAsOf } = asked;
  const everything: Span = { from: null, to: asOf };
  const scored = leaving(naive.rfm(everything), naive, false, everything);
  const list = [
    { ...expect(getRfm, {}, scored, []), input: untilAsOf },
    asOfEnds(getRepeatPurchaseRate, {}, (span) => naive.repeat(span, 2)),
    asOfEnds(getRepeatPurchaseRate, { minOrders: 3 }, (span) => naive.repeat(span, 3)),
    asOfEnds(getChurnRate, { variant: 'silence', silenceDays: 30 }, (span) => naive.silence(span, 30)),
    asOfEnds(getChurnRate, { variant: 'gap', gapFactor: 1.5 }, (span) => naive.ownGap(span, 1.5)),
    perRange(
      getPurchaseGaps,
      {},
      plain((span) => naive.gaps(span, true)),
    ),
    perRange(
      getPurchaseGaps,
      { sameDay: 'count' },
      plain((span) => naive.gaps(span, false)),
    ),
    perRange(getAverageOrderValue, {}, naive.averageOrderValue, false, naive, true),
    perRange(getRevenuePerCustomer, {}, naive.revenuePerCustomer, true, naive, true),
    perRange(getNewAndReturning, {}, naive.newAndReturning, true),
    perRange(getRevenueConcentration, {}, naive.concentration, true),
    perRange(getLifetimeValue, {}, naive.historic, true),
    perRange(getLifetimeValue, { customerId: idOf(1) }, one.historic, true, one),
    perRange(getLifetimeValue, { variant: 'simple' }, naive.simple, true),
  ].filter(({ input }) => !('customerId' in input) || given.orders.some((o) => o.customer === 1));
  if (from === null) return list;

  const compare = (
    operation: Operation,
    more: object,
    previous: Span,
    judge: (previous: Span, current: Span) => MetricResult,
  ) => {
    const measure = (first: Span, second: Span) =>
      leaving({ result: judge(first, second), apart: [] }, naive, false, first, second);
    const points = series(false).map((b) =>
      measure(previousBucket(interval ?? 'month', b.start, timeZone), { from: b.insideFrom, to: b.insideTo }),
    );
    return expect(operation, more, measure(previous, whole), points);
  };
  const before = precedingPeriod({ from, to, timeZone });
  const given3 = { previousFrom: '2018-12-01', previousTo: '2019-03-01' };
  const factors = { variant: 'four_factor', margin: 0.25 };
  return [
    ...list,
    perRange(getLifetimeValue, factors, (span) => naive.fourFactor(span, { basis: 'observed' }, 0.25)),
    perRange(getLifetimeValue, { ...factors, lifetimeBasis: 'silence', silenceDays: 20 }, (span) =>
      naive.fourFactor(span, { basis: 'silence', silenceDays: 20 }, 0.25),
    ),
    compare(getRetentionRate, {}, before, naive.retention),
    compare(getRetentionRate, { minOrders: 2 }, before, (previous, current) => naive.retention(previous, current, 2)),
    compare(getChurnRate, {}, before, naive.churnPeriod),
    // Ranges that overlap, or lie apart.
    compare(
      getRetentionRate,
      given3,
      { from: resolve(given3.previousFrom), to: resolve(given3.previousTo) },
      naive.retention,
    ),
  ];
}

/** Per cohort, and per interval since: how many of how many, whether it has ended, the revenue, and the value so far. */
type CohortNumbers = Record<string, (number | boolean | null | undefined)[][]>;

function cohortNumbers({ groups }: MetricAnswer): CohortNumbers {
  return Object.fromEntries(
    groups.map(({ key, series }) => [
      key,
      series.map(({ numerator, denominator, complete, values }) => [
        numerator,
        denominator,
        complete,
        values['revenue'],
        values['cumulativeRevenuePerCustomer'],
      ]),
    ]),
  );
}

/** Cohorts by hand, of whole intervals: `from` and `to` are months. */
function cohortsExpected(given: Required<Facts>, asked: Asked): [object, CohortNumbers][] {
  const { timeZone } = asked;
  const interval = asked.interval === 'week' || asked.interval === undefined ? 'month' : asked.interval;
  const asOf = resolveInstant(asked.asOf ?? now, timeZone);
  const naive = oracle(given, { ...asked, asOf });
  const start = asked.from === undefined ? null : '2019-01-01';
  const first = naive.firstFact(asOf, false);
  const from = start === null ? first && intervalAt(interval, first, timeZone).from : resolveInstant(start, timeZone);
  const all = from === null ? [] : buckets(interval, { from, to: asOf, timeZone }, asOf);
  return (['on', 'on_or_after'] as const).map((activity) => {
    const { to: _, ...input } = { ...asked, from: start ?? undefined, interval, activity };
    const expected = all.map((bucket, index): [string, (number | boolean | null)[][]] => {
      const spans = all.slice(index);
      const { active, later, revenue } = naive.cohort(
        spans.map(({ insideFrom, insideTo }) => ({ from: insideFrom, to: insideTo })),
      );
      const size = active[0] ?? 0;
      let soFar = 0n;
      return [
        bucket.start,
        spans.map(({ complete }, step) => {
          soFar += revenue[step] ?? 0n;
          const counted = (activity === 'on' ? active : later)[step] ?? 0;
          return [counted, size, complete, Number(revenue[step]), size === 0 ? null : Number(soFar) / size];
        }),
      ];
    });
    return [input, Object.fromEntries(expected)];
  });
}

type Left = { reason: string; count: number; amount?: number | undefined };

/** The counted part of an answer, without what the domain adds to it. */
function inEssence(answer: MetricAnswer) {
  return essence(answer, answer.excluded, answer.series);
}

type Point = Pick<MetricResult, 'value' | 'values' | 'numerator' | 'denominator' | 'lowSample' | 'reason'>;

function essence(
  result: Point & Pick<MetricResult, 'interval' | 'missingInputs' | 'groups' | 'warnings'>,
  excluded: Left[],
  series: (Point & { excluded: Left[] })[],
) {
  const told = (left: Left[]) => left.filter(({ count }) => count > 0).sort((a, b) => (a.reason < b.reason ? -1 : 1));
  const numbers = ({ value, values, numerator, denominator, lowSample, reason }: Point) => ({
    value,
    values,
    numerator,
    denominator,
    lowSample,
    reason,
  });
  const { interval, missingInputs, warnings } = result;
  const groups = (result.groups ?? []).map((group) => ({ series: [], ...group }));
  return {
    ...numbers(result),
    interval,
    missingInputs,
    groups,
    // These two are not the formula's, and have tests of their own.
    warnings: warnings.filter(
      ({ code }) => code !== 'acquisition_cost_in_base_currency' && code !== 'returns_without_tax',
    ),
    excluded: told(excluded),
    series: series.map((point) => ({ ...numbers(point), excluded: told(point.excluded) })),
  };
}
