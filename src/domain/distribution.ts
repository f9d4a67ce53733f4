import { ratio } from './money.ts';

/** `count` observations of the same value; a histogram is an array of bins in any order, values may repeat. */
export interface Bin {
  readonly value: number;
  readonly count: number;
}

/** Number of observations. */
export function binTotal(bins: readonly Bin[]): number {
  return bins.reduce((total, bin) => total + bin.count, 0);
}

/** Mean of the observations, or null without any. Whole values are summed exactly, others with a compensated sum. */
export function binMean(bins: readonly Bin[]): number | null {
  const n = binTotal(bins);
  if (n === 0) return null;
  if (bins.every((bin) => Number.isSafeInteger(bin.value))) {
    const sum = bins.reduce((total, bin) => total + BigInt(bin.value) * BigInt(bin.count), 0n);
    return ratio(sum, BigInt(n));
  }
  return compensatedSum(bins.map((bin) => bin.value * bin.count)) / n;
}

/**
 * Percentiles of the observations with linear interpolation (numpy's default; Hyndman & Fan 1996, type 7), in the
 * order of `ps` (fractions 0–1). Null without observations.
 */
export function binQuantiles(bins: readonly Bin[], ps: readonly number[]): (number | null)[] {
  const sorted = bins.filter((bin) => bin.count > 0).sort((a, b) => a.value - b.value);
  const n = binTotal(sorted);
  if (n === 0) return ps.map(() => null);
  return ps.map((p) => {
    const { lower, upper, weight } = quantileRanks(n, p);
    return interpolate(orderStatistic(sorted, lower), orderStatistic(sorted, upper), weight);
  });
}

function orderStatistic(sorted: readonly Bin[], rank: number): number {
  let seen = 0;
  for (const bin of sorted) {
    seen += bin.count;
    if (rank < seen) return bin.value;
  }
  throw new RangeError(`rank ${rank} of ${seen} observations`);
}

/** Two neighbouring order statistics, counted from 0 (SQL: `row_number() − 1`), and how far to go from one to the other. */
export interface QuantileRanks {
  readonly lower: number;
  readonly upper: number;
  /** 0 ≤ weight < 1 */
  readonly weight: number;
}

/** Fractions with up to four decimals (0.05, 0.9975) are placed by whole numbers, free of rounding. */
const steps = 10_000;

/**
 * The order statistics that the p-quantile of `n` sorted observations lies between: position (n − 1) p. With these SQL
 * fetches a few rows instead of all of them.
 * @throws RangeError when n < 1 or p is outside 0–1
 */
export function quantileRanks(n: number, p: number): QuantileRanks {
  if (!Number.isSafeInteger(n) || n < 1) throw new RangeError(`no quantile of ${n} observations`);
  if (!(p >= 0 && p <= 1)) throw new RangeError(`not a fraction: ${p}`);
  const whole = Math.round(p * steps);
  const exact = whole / steps === p && Number.isSafeInteger((n - 1) * steps);
  const position = exact ? ((n - 1) * whole) / steps : (n - 1) * p;
  const lower = exact ? ((n - 1) * whole - (((n - 1) * whole) % steps)) / steps : Math.floor(position);
  const weight = exact ? (((n - 1) * whole) % steps) / steps : position - lower;
  return { lower, upper: Math.min(lower + 1, n - 1), weight };
}

/** From `lower` towards `upper` by `weight`; numpy's form, which is monotone and exact at both ends. */
export function interpolate(lower: number, upper: number, weight: number): number {
  const step = upper - lower;
  return weight < 0.5 ? lower + step * weight : upper - step * (1 - weight);
}

/** The same for exact integers of any size; `weight` as given by `quantileRanks` for a p of up to four decimals. */
export function interpolateExact(lower: bigint, upper: bigint, weight: number): number {
  const scaled = BigInt(Math.round(weight * steps));
  return ratio(lower * BigInt(steps) + (upper - lower) * scaled, BigInt(steps));
}

/**
 * Mean and sample deviation (n − 1) from exact sums; null where they do not exist (n = 0; deviation also n = 1).
 * The variance is one exact fraction, (n Σx² − (Σx)²) ÷ (n (n − 1)), so nothing cancels.
 * @throws RangeError when the sums cannot belong to n observations (n Σx² < (Σx)²)
 */
export function sampleMoments(
  n: number,
  sum: bigint,
  sumOfSquares: bigint,
): { mean: number | null; deviation: number | null } {
  if (n === 0) return { mean: null, deviation: null };
  const count = BigInt(n);
  const spread = count * sumOfSquares - sum * sum;
  if (spread < 0n) throw new RangeError('the sums do not belong to one sample');
  return {
    mean: ratio(sum, count),
    deviation: n === 1 ? null : Math.sqrt(ratio(spread, count * (count - 1n))),
  };
}

/** Neumaier's sum: the error of each addition is carried along. */
export function compensatedSum(terms: readonly number[]): number {
  let sum = 0;
  let lost = 0;
  for (const term of terms) {
    const next = sum + term;
    lost += Math.abs(sum) >= Math.abs(term) ? sum - next + term : term - next + sum;
    sum = next;
  }
  return sum + lost;
}
