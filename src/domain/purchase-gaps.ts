import { type Bin, binMean, binQuantiles, binTotal, compensatedSum, interpolate } from './distribution.ts';
import { assertCount, type MetricResult, metricResult } from './metric-result.ts';

/** How many customers have `gaps` gaps that add up to `days`. */
export interface CustomerGaps {
  readonly days: number;
  readonly gaps: number;
  readonly customers: number;
}

/** The mean gaps of customers, as far as their mean and median need them. */
export interface CustomerMeans {
  /** The customers with so many gaps, and what all of these add up to: one entry for each number, in any order. */
  byGaps: readonly { readonly gaps: number; readonly customers: number; readonly days: number }[];
  /** The customers' mean gaps that the median lies between, in ascending order: one or two of them; none without customers. */
  middle: readonly number[];
}

/** Of customers given one by one, or those who have the same together; in any order. */
export function customerMeans(byCustomer: readonly CustomerGaps[]): CustomerMeans {
  if (byCustomer.some((bin) => bin.gaps < 1)) throw new RangeError('a customer without a gap has no mean gap');
  const means = byCustomer.map((bin) => ({ value: bin.days / bin.gaps, count: bin.customers }));
  const n = binTotal(means);
  const ranks = n === 0 ? [] : n % 2 === 1 ? [(n - 1) / 2] : [n / 2 - 1, n / 2];
  const sorted = means.sort((a, b) => a.value - b.value);
  const at = (rank: number) => {
    let seen = 0;
    return sorted.find(({ count }) => {
      seen += count;
      return rank < seen;
    })?.value;
  };
  const byGaps = new Map<number, { gaps: number; customers: number; days: number }>();
  for (const { gaps, customers, days } of byCustomer) {
    const known = byGaps.get(gaps) ?? { gaps, customers: 0, days: 0 };
    byGaps.set(gaps, { gaps, customers: known.customers + customers, days: known.days + days * customers });
  }
  return {
    byGaps: [...byGaps.values()],
    middle: ranks.flatMap((rank) => at(rank) ?? []),
  };
}

/** Gaps between consecutive distinct purchase days, each belonging to the period of its later order. */
export interface GapStatistics {
  /** How many gaps of `value` whole days; any order. */
  histogram: readonly Bin[];
  /** The same gaps by customer. */
  customers: CustomerMeans;
  /** Customers who wait for their next purchase: the gap that has no end yet is not in the histogram. */
  openGaps: number;
}

/**
 * Purchase gap in days. `value` the mean over all gaps, numerator Σ days,
 * denominator the number of gaps. `values`: `mean, median, p75, p90` over gaps, `customerMean, customerMedian` over
 * each customer's own mean gap, `gaps, customers, openGaps`. Percentiles interpolate linearly.
 * Null with reason `no_gaps`; the counts in `values` stay. A warning `open_gaps_excluded` when there are open gaps:
 * leaving them out makes the mean too short, the more so the shorter the history.
 * @throws RangeError when a count is not a count, or the two views do not hold the same gaps
 */
export function purchaseGaps({ histogram, customers: { byGaps, middle }, openGaps }: GapStatistics): MetricResult {
  assertCount(openGaps, 'openGaps');
  const gaps = binTotal(histogram);
  const days = histogram.reduce((total, bin) => total + bin.value * bin.count, 0);
  const customers = byGaps.reduce((total, bin) => total + bin.customers, 0);
  const daysByCustomer = byGaps.reduce((total, bin) => total + bin.days, 0);
  const gapsByCustomer = byGaps.reduce((total, bin) => total + bin.gaps * bin.customers, 0);
  assertCount(gaps, 'gaps');
  assertCount(days, 'days');
  if (days !== daysByCustomer || gaps !== gapsByCustomer) {
    throw new RangeError(`${gaps} gaps of ${days} days, but by customer ${gapsByCustomer} of ${daysByCustomer}`);
  }
  const inOrder = [...byGaps].sort((a, b) => a.gaps - b.gaps);
  const sumOfMeans = compensatedSum(inOrder.map((bin) => bin.days / bin.gaps));
  const [lower = null, upper = lower] = middle;
  const [median = null, p75 = null, p90 = null] = binQuantiles(histogram, [0.5, 0.75, 0.9]);
  const mean = binMean(histogram);
  return metricResult({
    value: mean,
    values: {
      mean,
      median,
      p75,
      p90,
      customerMean: customers === 0 ? null : sumOfMeans / customers,
      customerMedian: lower === null || upper === null ? null : interpolate(lower, upper, 0.5),
      gaps,
      customers,
      openGaps,
    },
    numerator: days,
    denominator: gaps,
    reason: gaps === 0 ? { code: 'no_gaps', message: 'No customer bought on a second day in the period.' } : null,
    warnings:
      openGaps === 0
        ? []
        : [
            {
              code: 'open_gaps_excluded',
              message: `${openGaps} customers have a gap that has not ended; it is left out.`,
            },
          ],
  });
}
