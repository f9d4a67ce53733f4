import { type Bin, binMean, binQuantiles, binTotal } from './distribution.ts';
import { assertCount, type MetricResult, metricResult } from './metric-result.ts';

/** How many customers have `gaps` gaps that add up to `days`. */
export interface CustomerGaps {
  readonly days: number;
  readonly gaps: number;
  readonly customers: number;
}

/** Gaps between consecutive distinct purchase days, each belonging to the period of its later order. */
export interface GapStatistics {
  /** How many gaps of `value` whole days; any order. */
  histogram: readonly Bin[];
  /** The same gaps by customer; any order, pairs may repeat. */
  byCustomer: readonly CustomerGaps[];
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
export function purchaseGaps({ histogram, byCustomer, openGaps }: GapStatistics): MetricResult {
  assertCount(openGaps, 'openGaps');
  const gaps = binTotal(histogram);
  const days = histogram.reduce((total, bin) => total + bin.value * bin.count, 0);
  const customers = byCustomer.reduce((total, bin) => total + bin.customers, 0);
  const daysByCustomer = byCustomer.reduce((total, bin) => total + bin.days * bin.customers, 0);
  const gapsByCustomer = byCustomer.reduce((total, bin) => total + bin.gaps * bin.customers, 0);
  assertCount(gaps, 'gaps');
  if (byCustomer.some((bin) => bin.gaps < 1)) throw new RangeError('a customer without a gap has no mean gap');
  assertCount(days, 'days');
  if (days !== daysByCustomer || gaps !== gapsByCustomer) {
    throw new RangeError(`${gaps} gaps of ${days} days, but by customer ${gapsByCustomer} of ${daysByCustomer}`);
  }
  const customerMeans = byCustomer.map((bin) => ({ value: bin.days / bin.gaps, count: bin.customers }));
  const [median = null, p75 = null, p90 = null] = binQuantiles(histogram, [0.5, 0.75, 0.9]);
  const [customerMedian = null] = binQuantiles(customerMeans, [0.5]);
  const mean = binMean(histogram);
  return metricResult({
    value: mean,
    values: {
      mean,
      median,
      p75,
      p90,
      customerMean: binMean(customerMeans),
      customerMedian,
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
