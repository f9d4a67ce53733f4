import { assertPart, type ConfidenceInterval, type MetricResult, metricResult, type Notice } from './metric-result.ts';

/** The 97.5 % point of the standard normal distribution: a 95 % interval reaches so many standard errors either way. */
export const z95 = 1.959963984540054;

/**
 * 95 % score interval of a proportion without continuity correction (Wilson 1927, JASA 22: 209–212; checked against
 * Newcombe 1998, Statistics in Medicine 17: 857–872, table I). Null for n = 0.
 * @throws RangeError unless 0 ≤ successes ≤ n, both whole numbers
 */
export function wilsonInterval(successes: number, n: number): ConfidenceInterval | null {
  assertPart(successes, n, 'successes');
  if (n === 0) return null;
  const failures = n - successes;
  const denominator = n + z95 * z95;
  const centre = successes + (z95 * z95) / 2;
  const margin = z95 * Math.sqrt((successes * failures) / n + (z95 * z95) / 4);
  return {
    // The two ends that are exact by algebra are set, since rounding would leave them beside 0 and 1.
    low: successes === 0 ? 0 : Math.max(0, (centre - margin) / denominator),
    high: failures === 0 ? 1 : Math.min(1, (centre + margin) / denominator),
    level: 0.95,
  };
}

/** `part` ÷ `whole` (0–1) with its interval; `whenEmpty` is the reason of a whole of 0. */
export function proportionResult(
  part: number,
  whole: number,
  whenEmpty: Notice,
  more: Partial<Pick<MetricResult, 'values' | 'warnings'>> = {},
): MetricResult {
  assertPart(part, whole, 'the part');
  return metricResult({
    value: whole === 0 ? null : part / whole,
    numerator: part,
    denominator: whole,
    interval: wilsonInterval(part, whole),
    reason: whole === 0 ? whenEmpty : null,
    ...more,
  });
}
