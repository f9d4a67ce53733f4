import {
  asGroup,
  beyondSafeInteger,
  type MetricGroup,
  type MetricResult,
  metricResult,
  type Notice,
} from './metric-result.ts';
import { safeNumber } from './money.ts';
import { proportionResult } from './proportion.ts';

/** A part of the buyers of a period, and what they brought in it. */
export interface BuyerSums {
  buyers: number;
  /** Net revenue (orders less refunds and returns), minor units, exact. */
  revenue: bigint;
}

const noBuyers: Notice = { code: 'no_buyers', message: 'Nobody bought in the period.' };

/**
 * Share of the buyers of a period (0–1) who had bought before it, with a Wilson interval. `fresh` are those whose first
 * order ever lies in the period, however many they placed in it; `returning` the others.
 * `values`: `buyers, newBuyers, returningBuyers, revenue, newRevenue, returningRevenue`. `groups`: `new` and `returning`,
 * each with its share of the buyers and the `values` `buyers, revenue`. Null with reason `no_buyers`.
 * @throws RangeError when a count is not a count
 */
export function newAndReturning({ fresh, returning }: { fresh: BuyerSums; returning: BuyerSums }): MetricResult {
  const buyers = fresh.buyers + returning.buyers;
  const amounts = {
    revenue: fresh.revenue + returning.revenue,
    newRevenue: fresh.revenue,
    returningRevenue: returning.revenue,
  };
  const warnings: Notice[] = [];
  const revenues: Record<string, number | null> = {};
  for (const [name, exact] of Object.entries(amounts)) {
    revenues[name] = safeNumber(exact);
    if (revenues[name] === null) warnings.push(beyondSafeInteger(name, exact));
  }
  return metricResult({
    ...proportionResult(returning.buyers, buyers, noBuyers, {
      values: { buyers, newBuyers: fresh.buyers, returningBuyers: returning.buyers, ...revenues },
      warnings,
    }),
    groups: [group('new', fresh, buyers), group('returning', returning, buyers)],
  });
}

function group(key: string, part: BuyerSums, buyers: number): MetricGroup {
  const values = { buyers: part.buyers, revenue: safeNumber(part.revenue) };
  return asGroup(key, proportionResult(part.buyers, buyers, noBuyers, { values }));
}
