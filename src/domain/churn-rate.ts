import { assertCount, assertPart, type MetricResult } from './metric-result.ts';
import { proportionResult } from './proportion.ts';
import type { RetentionCounts } from './retention-rate.ts';

/** Distinct customers, by variant. */
export type ChurnCounts =
  /** Buyers of the previous period, and those of them who bought again in the current one. */
  | ({ variant: 'period' } & RetentionCounts)
  /** Customers with a qualifying order by `asOf`, and those of them without one for `silenceDays`. */
  | { variant: 'silence'; customers: number; silent: number }
  /**
   * Customers with at least one purchase gap, those of them without an order for `gapFactor` × their own mean gap, and
   * the buyers who have no gap yet and so cannot be judged.
   */
  | { variant: 'gap'; customersWithGap: number; silent: number; customersWithoutGap: number };

/**
 * Churn rate (0–1), with a Wilson interval:
 * `period` 1 − retention, always with the warning `pause_is_not_loss`; `silence` silent ÷ customers; `gap` silent ÷
 * customers with a gap, with the warning `customers_without_gap` when there are others.
 * `values`: `period` `previousBuyers, retained, lost`; `silence` `customers, silent`;
 * `gap` `customersWithGap, silent, customersWithoutGap`.
 * Null with reason `no_buyers`, or `no_gaps` when no customer has a gap.
 * @throws RangeError when the counts are not counts or a part is larger than its whole
 */
export function churnRate(counts: ChurnCounts): MetricResult {
  switch (counts.variant) {
    case 'period': {
      const { previousBuyers, retained } = counts;
      assertPart(retained, previousBuyers, 'retained');
      const lost = previousBuyers - retained;
      return proportionResult(
        lost,
        previousBuyers,
        { code: 'no_buyers', message: 'Nobody bought in the previous period, so nobody could be lost.' },
        {
          values: { previousBuyers, retained, lost },
          warnings: [
            {
              code: 'pause_is_not_loss',
              message:
                'A customer who skipped this period may only be pausing: the period variant counts both as lost.',
            },
          ],
        },
      );
    }
    case 'silence': {
      const { customers, silent } = counts;
      return proportionResult(
        silent,
        customers,
        { code: 'no_buyers', message: 'Nobody has bought yet.' },
        { values: { customers, silent } },
      );
    }
    case 'gap': {
      const { customersWithGap, silent, customersWithoutGap } = counts;
      assertCount(customersWithoutGap, 'customersWithoutGap');
      const noBuyers = customersWithGap + customersWithoutGap === 0;
      return proportionResult(
        silent,
        customersWithGap,
        noBuyers
          ? { code: 'no_buyers', message: 'Nobody has bought yet.' }
          : { code: 'no_gaps', message: 'No customer has bought on two days, so nobody has a gap to compare with.' },
        {
          values: { customersWithGap, silent, customersWithoutGap },
          warnings:
            customersWithoutGap === 0
              ? []
              : [
                  {
                    code: 'customers_without_gap',
                    message: `${customersWithoutGap} customers have no purchase gap yet and are left out.`,
                  },
                ],
        },
      );
    }
  }
}
