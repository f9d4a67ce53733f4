import type { MetricResult } from '../../domain/metric-result.ts';
import { lastCompleteMonth, type Range } from '../../domain/period.ts';
import { precedingPeriod } from '../../domain/preceding-period.ts';
import type { RetentionCounts } from '../../domain/retention-rate.ts';
import { notFound } from '../../platform/errors.ts';
import type { Context } from '../../platform/operation.ts';
import { firstFact, orderNotes } from './excluded.ts';
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
  metric: string,
  judge: (counts: RetentionCounts) => MetricResult,
): Promise<MetricAnswer> {
  const { asked, previous } = resolveComparison(context, input);
  const current = { from: asked.from, to: asked.to };
  const { asOf } = asked;
  const minOrders = input.minOrders ?? 1;
  const buckets = seriesOf(asked, null);
  const cut = (range: Range): Range => ({ from: range.from, to: earlier(range.to, asOf) });
  const [counts, series, notes] = await Promise.all([
    retentionCounts(context.db, context, asked, { previous, current }, minOrders),
    retentionSeries(context.db, context, asked, buckets, minOrders),
    orderNotes(context.db, asked, [cut(previous), cut(current)], { buyersOnly: true }),
  ]);
  return metricResponse({
    metric,
    unit: 'ratio',
    currency: null,
    scope: asked,
    firstFact: null,
    previous,
    result: judge(counts),
    ...notes,
    complete: hasEnded(previous.to, asOf) && hasEnded(current.to, asOf),
    series: seriesPoints(buckets, series.map(judge)),
  });
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
  metric: string,
  compute: (ends: string[]) => Promise<MetricResult[]>,
): Promise<MetricAnswer> {
  const first = await firstFact(context.db, asked, { returns: false, buyersOnly: true });
  const buckets = seriesOf(asked, first.at);
  const [[result], series, notes] = await Promise.all([
    compute([asked.end]),
    buckets.length === 0 ? [] : compute(buckets.map((bucket) => bucket.insideTo)),
    orderNotes(context.db, asked, [{ from: beginningOfTime, to: asked.end }], { buyersOnly: true }),
  ]);
  if (!result) throw new Error(`${metric} has no result`);
  return metricResponse({
    metric,
    unit: 'ratio',
    currency: null,
    scope: asked,
    firstFact: first.at,
    result,
    ...notes,
    complete: hasEnded(asked.to, asked.asOf),
    series: seriesPoints(buckets, series),
  });
}

interface PerRange {
  metric: string;
  unit: 'days' | 'money';
  /** Amounts are in the currency asked for, or the base currency. */
  money: boolean;
  /** Returns that name no order are facts of it. */
  returns: boolean;
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
  { metric, unit, money, returns, buyersOnly }: PerRange,
  compute: (parts: readonly Part[]) => Promise<Measured[]>,
): Promise<MetricAnswer> {
  const first = await firstFact(context.db, asked, { returns, buyersOnly });
  if (!first.known) throw notFound('customer');
  const buckets = seriesOf(asked, first.at);
  const [[total], series, notes] = await Promise.all([
    compute([wholePeriod(asked)]),
    buckets.length === 0 ? [] : compute(buckets),
    orderNotes(context.db, asked, [{ from: asked.from ?? beginningOfTime, to: asked.end }], { buyersOnly }),
  ]);
  if (!total) throw new Error(`${metric} has no result`);
  return metricResponse({
    metric,
    unit,
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
    ),
  });
}
