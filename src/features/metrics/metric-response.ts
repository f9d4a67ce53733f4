import type { MetricResult, Notice } from '../../domain/metric-result.ts';
import type { Bucket, Range } from '../../domain/period.ts';
import { type MetricName, metricDefinitions } from './definitions.ts';
import { sortExcluded } from './excluded.ts';
import type { Excluded, MetricAnswer, SeriesPoint } from './model.ts';
import type { Scope } from './scope.ts';

export interface Answered {
  metric: MetricName;
  currency: string | null;
  scope: Scope;
  /** Where all time begins. */
  firstFact: string | null;
  previous?: Range;
  result: MetricResult;
  excluded: Excluded[];
  /** Besides those of the result. */
  warnings?: Notice[];
  complete: boolean;
  series: SeriesPoint[];
  /** Of groups that have a series each, by their keys. */
  groupSeries?: ReadonlyMap<string, SeriesPoint[]>;
}

/** The response of a metric, around what the domain computed. */
export function metricResponse({
  metric,
  currency,
  scope,
  firstFact,
  previous,
  result,
  excluded,
  warnings = [],
  complete,
  series,
  groupSeries,
}: Answered): MetricAnswer {
  const { unit, version } = metricDefinitions[metric];
  return {
    metric,
    definition: `${metric}@${version}`,
    period: { from: scope.from ?? firstFact, to: scope.to, timeZone: scope.timeZone, previous: previous ?? null },
    asOf: scope.asOf,
    value: result.value,
    unit,
    currency,
    values: result.values,
    numerator: result.numerator,
    denominator: result.denominator,
    excluded: sortExcluded(excluded),
    interval: result.interval,
    lowSample: result.lowSample,
    reason: result.reason,
    missingInputs: result.missingInputs,
    complete,
    series,
    groups: (result.groups ?? []).map((group) => ({ ...group, series: groupSeries?.get(group.key) ?? [] })),
    warnings: [...result.warnings, ...warnings],
  };
}

/** One entry per bucket, in order; the results, and what they leave out, belong to the buckets by position. */
export function seriesPoints(
  buckets: readonly Bucket[],
  results: readonly MetricResult[],
  excluded: readonly Excluded[][],
): SeriesPoint[] {
  return buckets.map((bucket, index) => {
    const result = results[index];
    if (!result) throw new Error(`the interval of ${bucket.start} has no result`);
    const { value, values, numerator, denominator, lowSample, reason } = result;
    return {
      start: bucket.start,
      from: bucket.insideFrom,
      to: bucket.insideTo,
      value,
      values,
      numerator,
      denominator,
      excluded: sortExcluded(excluded[index] ?? []),
      complete: bucket.complete,
      lowSample,
      reason,
    };
  });
}
