import type { MetricResult } from '../../domain/metric-result.ts';
import { lastCompleteMonth, previousBucket, type Range } from '../../domain/period.ts';
import { precedingPeriod } from '../../domain/preceding-period.ts';
import type { RetentionCounts } from '../../domain/retention-rate.ts';
import { notFound } from '../../platform/errors.ts';
import type { Context } from '../../platform/operation.ts';
import type { MetricName } from './definitions.ts';
import { factNotes, firstFact, type UseOfReturns } from './excluded.ts';
import { metricResponse, seriesPoints } from './metric-response.ts';
import type { Excluded, MetricAnswer } from './model.ts';
import { retentionCounts, retentionSeries } from './retention-queries.ts';
import {
  beginningOfTime,
  type CommonInput,
  earlier,
  forParameter,
  hasEnded,
  invalidParameter,
  type Part,
  resolveRange,
  resolveZone,
  type Scope,
  scopeOf,
  seriesOf,
  wholePeriod,
} from './scope.ts';

/** The three ways a metric is answered: a comparison of two periods, a state as of an end, a sum over a range. */

interface ComparisonInput extends CommonInput {
  previousFrom?: string | undefined;
  previousTo?: string | undefined;
  minOrders?: number | undefined;
}

/** Retention, and churn as its opposite. */
export async function compareBuyers(
  context: Context,
  input: ComparisonInput,
  metric: MetricName,
  judge: (counts: RetentionCounts) => MetricResult,
): Promise<MetricAnswer> {
  const { asked, previous } = resolveComparison(context, input);
  const current = { from: asked.from, to: asked.to };
  const { asOf } = asked;
  const minOrders = input.minOrders ?? 1;
  const buckets = seriesOf(asked, null);
  const cut = ({ from, to }: Range): Range => ({ from: earlier(from, asOf), to: earlier(to, asOf) });
  const pairs = buckets.map(({ start, insideFrom, insideTo }) => {
    const before = previousBucket(asked.interval ?? 'month', start, asked.timeZone);
    return [cut(before), cut({ from: insideFrom, to: insideTo })];
  });
  const [counts, series, notes] = await Promise.all([
    retentionCounts(context.db, context, asked, { previous, current }, minOrders),
    retentionSeries(context.db, context, asked, buckets, minOrders),
    factNotes(context.db, asked, [cut(previous), cut(current)], pairs, { returns: 'none', buyersOnly: true }),
  ]);
  return metricResponse({
    metric,
    currency: null,
    scope: asked,
    firstFact: null,
    previous,
    result: judge(counts),
    excluded: notes.excluded,
    warnings: notes.warnings,
    complete: hasEnded(previous.to, asOf) && hasEnded(current.to, asOf),
    series: seriesPoints(buckets, series.map(judge), notes.ofSeries),
  });
}

/** When the previous period of a comparison ends, and its present one. */
export function comparedWindow(context: Context, input: ComparisonInput): { start: string; end: string } {
  const { asked, previous } = resolveComparison(context, input);
  return { start: previous.to, end: asked.end };
}

function resolveComparison(
  context: Context,
  input: ComparisonInput,
): { asked: Scope & { from: string }; previous: Range } {
  const { timeZone, asOf } = resolveZone(context, input);
  const { previousFrom, previousTo } = input;
  if (input.from === undefined && input.to !== undefined)
    throw invalidParameter('from', 'required', 'needed with `to`');
  if (previousFrom === undefined && previousTo !== undefined) {
    throw invalidParameter('previousFrom', 'required', 'needed with `previousTo`');
  }
  const months = forParameter('asOf', () => lastCompleteMonth(asOf, timeZone));
  const current =
    input.from === undefined
      ? { from: months.current.from, to: months.current.to }
      : resolveRange({ from: input.from, to: input.to ?? asOf }, timeZone, { from: 'from', to: 'to' });
  const previous =
    previousFrom === undefined
      ? forParameter(input.from === undefined ? 'asOf' : 'from', () => precedingPeriod({ ...current, timeZone }))
      : resolveRange({ from: previousFrom, to: previousTo ?? current.from }, timeZone, {
          from: 'previousFrom',
          to: 'previousTo',
        });
  return {
    asked: { ...scopeOf(context, input, { ...current, asOf, timeZone, customerId: null }), from: current.from },
    previous,
  };
}

/** A metric as of the ends of ranges: everything before an end counts. */
export async function cumulative(
  context: Context,
  asked: Scope,
  metric: MetricName,
  compute: (ends: string[]) => Promise<MetricResult[]>,
): Promise<MetricAnswer> {
  const first = await firstFact(context.db, asked, { returns: false, buyersOnly: true });
  const buckets = seriesOf(asked, first.at);
  const before = (end: string) => [{ from: beginningOfTime, to: earlier(end, asked.end) }];
  const ends = buckets.map((bucket) => bucket.insideTo);
  const [[result], series, notes] = await Promise.all([
    compute([asked.end]),
    buckets.length === 0 ? [] : compute(ends),
    factNotes(context.db, asked, before(asked.end), ends.map(before), { returns: 'none', buyersOnly: true }),
  ]);
  if (!result) throw new Error(`${metric} has no result`);
  return metricResponse({
    metric,
    currency: null,
    scope: asked,
    firstFact: first.at,
    result,
    excluded: notes.excluded,
    warnings: notes.warnings,
    complete: hasEnded(asked.to, asked.asOf),
    series: seriesPoints(buckets, series, notes.ofSeries),
  });
}

export interface PerRange {
  metric: MetricName;
  /** Amounts are in the currency asked for, or the base currency. */
  money: boolean;
  returns: UseOfReturns;
  /** Orders of nobody do not count. */
  buyersOnly: boolean;
}

/** A result of a range, and the amounts it leaves out. */
export interface Measured {
  result: MetricResult;
  excluded: Excluded[];
}

/** A metric of what happened within a range. */
export async function perRange(
  context: Context,
  asked: Scope,
  { metric, money, returns, buyersOnly }: PerRange,
  compute: (parts: readonly Part[]) => Promise<Measured[]>,
): Promise<MetricAnswer> {
  const first = await firstFact(context.db, asked, { returns: returns === 'count', buyersOnly });
  if (!first.known) throw notFound('customer');
  const buckets = seriesOf(asked, first.at);
  const whole = wholePeriod(asked);
  const rangeOf = ({ insideFrom, insideTo }: Part) => [
    { from: earlier(insideFrom, asked.end), to: earlier(insideTo, asked.end) },
  ];
  const [[total], series, notes] = await Promise.all([
    compute([whole]),
    buckets.length === 0 ? [] : compute(buckets),
    factNotes(context.db, asked, rangeOf(whole), buckets.map(rangeOf), { returns, buyersOnly }),
  ]);
  if (!total) throw new Error(`${metric} has no result`);
  return metricResponse({
    metric,
    currency: money ? (asked.currency ?? context.baseCurrency) : null,
    scope: asked,
    firstFact: first.at,
    result: total.result,
    excluded: [...notes.excluded, ...total.excluded],
    warnings: notes.warnings,
    complete: hasEnded(asked.to, asked.asOf),
    series: seriesPoints(
      buckets,
      series.map(({ result }) => result),
      series.map(({ excluded: left }, index) => [...(notes.ofSeries[index] ?? []), ...left]),
    ),
  });
}
