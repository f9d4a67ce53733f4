import type { MetricResult } from './metric-result.ts';
import { proportionResult } from './proportion.ts';

/** Customers as of the period's end. */
export interface RepeatPurchaseCounts {
  /** Customers with at least one qualifying order. */
  buyers: number;
  /** Those with at least `minOrders` (2 by default, 3 to leave out accidental seconds) qualifying orders. */
  repeatBuyers: number;
}

/**
 * Repeat-purchase rate (0–1): customers with ≥ N qualifying orders ÷ all buyers, with a Wilson interval.
 * `values`: `buyers, repeatBuyers`. Null with reason `no_buyers`.
 * @throws RangeError when the counts are not counts or `repeatBuyers` is the larger
 */
export function repeatPurchaseRate({ buyers, repeatBuyers }: RepeatPurchaseCounts): MetricResult {
  return proportionResult(
    repeatBuyers,
    buyers,
    { code: 'no_buyers', message: 'Nobody has bought by the end of the period.' },
    { values: { buyers, repeatBuyers } },
  );
}
