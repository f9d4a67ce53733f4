import { assertPart, type MetricResult, metricResult, type Notice } from './metric-result.ts';
import { ratio, safeNumber } from './money.ts';
import { proportionResult } from './proportion.ts';

/** What the customers of a cohort did in an interval. */
export interface CohortCell {
  /** Customers with an order in it. */
  active: number;
  /** Customers of whom it is the last interval with an order. */
  last: number;
  /** Net, minor units, exact. */
  revenue: bigint;
}

export interface Cohort {
  /** From its first interval on, those that have begun. */
  cells: readonly CohortCell[];
}

export const cohortActivities = ['on', 'on_or_after'] as const;
export type CohortActivity = (typeof cohortActivities)[number];

const noBuyers: Notice = { code: 'no_buyers', message: 'Nobody bought for the first time in the period.' };
const emptyCohort: Notice = { code: 'no_buyers', message: 'Nobody bought for the first time in this interval.' };
const noInterval: Notice = {
  code: 'not_yet',
  message: 'No cohort has an interval after its first one that has ended.',
};

/** Customers of a cohort: all of them have an order in its first interval. */
function sizeOf({ cells }: Cohort): number {
  return cells[0]?.active ?? 0;
}

/** Per interval, how many customers were active on it, or on it or any later one. */
export function activeCustomers(cohort: Cohort, activity: CohortActivity): number[] {
  if (activity === 'on') return cohort.cells.map(({ active }) => active);
  const counts: number[] = [];
  let later = 0;
  for (const { last } of [...cohort.cells].reverse()) {
    later += last;
    counts.unshift(later);
  }
  return counts;
}

/** One cell of the triangle: its share of the cohort with a Wilson interval, revenue and value so far. */
export function cohortCells(cohort: Cohort, activity: CohortActivity): MetricResult[] {
  const size = sizeOf(cohort);
  let cumulative = 0n;
  return activeCustomers(cohort, activity).map((active, index) => {
    assertPart(active, size, 'active');
    const revenue = cohort.cells[index]?.revenue ?? 0n;
    cumulative += revenue;
    return proportionResult(active, size, emptyCohort, {
      values: {
        intervalsSince: index,
        revenue: safeNumber(revenue),
        cumulativeRevenue: safeNumber(cumulative),
        cumulativeRevenuePerCustomer: size === 0 ? null : ratio(cumulative, BigInt(size)),
      },
    });
  });
}

/**
 * Cohorts: customers by the interval of their first order ever, and the share of them that bought in each interval since.
 * `value`: the share of all customers whose second interval has ended who bought in it (or, `on_or_after`, in it or later).
 * `values`: `customers, cohorts, revenue`. Null with `no_buyers` or `not_yet`.
 *
 * @param ended of each cohort, how many of its intervals have ended
 */
export function cohorts(all: readonly Cohort[], ended: readonly number[], activity: CohortActivity): MetricResult {
  const judged = all.filter((_, index) => (ended[index] ?? 0) >= 2);
  const size = judged.reduce((sum, cohort) => sum + sizeOf(cohort), 0);
  const again = judged.reduce((sum, cohort) => sum + (activeCustomers(cohort, activity)[1] ?? 0), 0);
  const customers = all.reduce((sum, cohort) => sum + sizeOf(cohort), 0);
  const revenue = all.reduce((sum, { cells }) => sum + cells.reduce((part, cell) => part + cell.revenue, 0n), 0n);
  return metricResult(
    proportionResult(again, size, customers === 0 ? noBuyers : noInterval, {
      values: {
        customers,
        cohorts: all.filter((cohort) => sizeOf(cohort) > 0).length,
        revenue: safeNumber(revenue),
      },
    }),
  );
}
