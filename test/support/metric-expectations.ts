import type { MetricResult } from '../../src/domain/metric-result.ts';
import { buckets, type CalendarInterval, intervalAt, previousBucket, resolveInstant } from '../../src/domain/period.ts';
import { precedingPeriod } from '../../src/domain/preceding-period.ts';
import type { MetricAnswer } from '../../src/features/metrics/model.ts';
import {
  getAverageOrderValue,
  getChurnRate,
  getLifetimeValue,
  getNewAndReturning,
  getPurchaseGaps,
  getRepeatPurchaseRate,
  getRetentionRate,
  getRevenueConcentration,
  getRevenuePerCustomer,
  getRfm,
} from '../../src/features/metrics/operations.ts';
import type { Operation } from '../../src/platform/operation.ts';
import { type Facts, idOf } from './facts.ts';
import { type Measured, oracle, type Span } from './metric-oracle.ts';

/** What every metric of orders answers to a question, from a naive count over arrays. */

/** When it is asked. */
export const now = '2019-06-20T12:00:00.000Z';

export interface Asked {
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

export interface Expectation {
  operation: Operation;
  input: object;
  expected: ReturnType<typeof inEssence>;
}

/**
 * Every metric's answer to a question, counted by hand.
 *
 * @param among of a group: the facts that it is a part of, with which the series of all time begins
 */
export function expectations(given: Required<Facts>, asked: Asked, among = given): Expectation[] {
  const { timeZone, interval } = asked;
  const resolve = (moment: string) => resolveInstant(moment, timeZone);
  const asOf = resolve(asked.asOf ?? now);
  const to = resolve(asked.to);
  const from = asked.from === undefined ? null : resolve(asked.from);
  const naive = oracle(given, { ...asked, asOf });
  const whole = { from, to };
  const begin = oracle(among, { ...asked, asOf });

  const series = (withReturns: boolean, of = naive, everybody = false) => {
    const first = (of === naive ? begin : of).firstFact(to, withReturns, everybody);
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
export type CohortNumbers = Record<string, (number | boolean | null | undefined)[][]>;

export function cohortNumbers({ groups }: MetricAnswer): CohortNumbers {
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
export function cohortsExpected(given: Required<Facts>, asked: Asked): [object, CohortNumbers][] {
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
export function inEssence(answer: MetricAnswer) {
  return essence(answer, answer.excluded, answer.series);
}

type Point = Pick<MetricResult, 'value' | 'values' | 'numerator' | 'denominator' | 'lowSample' | 'reason'>;

export function essence(
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
