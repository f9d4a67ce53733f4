import type { MetricResult } from './metric-result.ts';
import { proportionResult } from './proportion.ts';

/** Distinct customers with qualifying orders. */
export interface RetentionCounts {
  /** Buyers of the previous period (with `minOrders`: those with at least so many orders before its end). */
  previousBuyers: number;
  /** Those of them who bought again in the current period. */
  retained: number;
}

/**
 * Retention rate (0–1): buyers of the previous period who bought again in the current one ÷ buyers of the previous
 * period, with a Wilson interval. `values`: `previousBuyers, retained, lost`.
 * Null with reason `no_buyers` when nobody bought in the previous period.
 * @throws RangeError when the counts are not counts or `retained` is the larger
 */
export function retentionRate({ previousBuyers, retained }: RetentionCounts): MetricResult {
  return proportionResult(
    retained,
    previousBuyers,
    { code: 'no_buyers', message: 'Nobody bought in the previous period, so nobody could be retained.' },
    { values: { previousBuyers, retained, lost: previousBuyers - retained } },
  );
}
