import { interpolateExact, quantileRanks, sampleMoments } from './distribution.ts';
import {
  assertCount,
  assertPart,
  beyondSafeInteger,
  type MetricResult,
  meanOf,
  metricResult,
  type Notice,
} from './metric-result.ts';
import { ratio, safeNumber } from './money.ts';
import { daysPerMonth } from './period.ts';

/**
 * Lifetime value in three readings: what buyers brought (`historic`), what was left of it after the costs
 * of winning and keeping them (`simple`), and the projection by four factors (`four_factor`). Money in minor units. For one customer, pass the statistics of one.
 */

const noBuyers: Notice = { code: 'no_buyers', message: 'Nobody bought in the window.' };

/** Names and fractions of the percentiles that historic LTV answers. */
export const percentiles = {
  p5: 0.05,
  p10: 0.1,
  p25: 0.25,
  p50: 0.5,
  p75: 0.75,
  p90: 0.9,
  p95: 0.95,
  p99: 0.99,
} as const;

/** Net revenue per buyer of the window (orders less refunds and unattached returns), as exact sums. */
export interface HistoricStatistics {
  buyers: number;
  sum: bigint;
  sumOfSquares: bigint;
  /** The values at `historicRanks(buyers)` in ascending order of net revenue, by rank. */
  orderStatistics: ReadonlyMap<number, bigint>;
}

/** The ranks (from 0, ascending; SQL: `row_number() − 1`) that `historicLifetimeValue` needs: 16 at most, plus both ends. */
export function historicRanks(buyers: number): number[] {
  if (buyers === 0) return [];
  const ranks = Object.values(percentiles).flatMap((p) => {
    const { lower, upper } = quantileRanks(buyers, p);
    return [lower, upper];
  });
  return [...new Set([0, ...ranks, buyers - 1])].sort((a, b) => a - b);
}

/**
 * Historic LTV: mean net revenue per buyer over the window. `values`: `mean, deviation` (sample, n − 1; null for one
 * buyer), `min, max, p5, p10, p25, p50, p75, p90, p95, p99, buyers`. Null with reason `no_buyers`.
 * @throws RangeError when `buyers` is not a count or an order statistic is missing
 */
export function historicLifetimeValue(statistics: HistoricStatistics): MetricResult {
  const { buyers, sum, sumOfSquares, orderStatistics } = statistics;
  const result = meanOf(sum, buyers, noBuyers);
  const at = (rank: number): bigint => {
    const value = orderStatistics.get(rank);
    if (value === undefined) throw new RangeError(`the order statistic of rank ${rank} is missing`);
    return value;
  };
  const values: Record<string, number | null> = { ...sampleMoments(buyers, sum, sumOfSquares), min: null, max: null };
  const warnings = [...result.warnings];
  if (buyers > 0) {
    const ends = { min: at(0), max: at(buyers - 1) };
    for (const [name, exact] of Object.entries(ends)) {
      values[name] = safeNumber(exact);
      if (values[name] === null) warnings.push(beyondSafeInteger(name, exact));
    }
  }
  for (const [name, p] of Object.entries(percentiles)) {
    if (buyers === 0) values[name] = null;
    else {
      const { lower, upper, weight } = quantileRanks(buyers, p);
      values[name] = interpolateExact(at(lower), at(upper), weight);
    }
  }
  return metricResult({ ...result, values: { ...values, buyers }, warnings });
}

/** Net revenue and known costs of the buyers of one window. */
export interface SimpleStatistics {
  buyers: number;
  /** Σ net revenue, exact. */
  revenue: bigint;
  /** Σ acquisition cost where known, exact. */
  acquisitionCost: bigint;
  /** Buyers whose acquisition cost is known (0 is a known cost). */
  buyersWithAcquisitionCost: number;
  /** What keeping one buyer costs over the window, whole minor units; null when not given. */
  retentionCostPerBuyer: number | null;
}

/**
 * Simple LTV: (Σ net revenue − Σ acquisition cost − retention cost per buyer × buyers) ÷ buyers; negative is
 * allowed. A cost that is not known counts as 0 and warns: `acquisition_cost_unknown`, `acquisition_cost_partial`,
 * `retention_cost_unknown`. When neither is known there is nothing to subtract: null, reason `missing_inputs`,
 * `missingInputs` `acquisition.cost` and `retentionCost`.
 * `values`, per buyer: `revenuePerBuyer, acquisitionCostPerBuyer, retentionCostPerBuyer` (null when unknown), and
 * `buyers, buyersWithAcquisitionCost`. Null with reason `no_buyers`.
 * @throws RangeError when a count is not a count, or the retention cost not a whole number
 */
export function simpleLifetimeValue(statistics: SimpleStatistics): MetricResult {
  const { buyers, revenue, acquisitionCost, buyersWithAcquisitionCost: known, retentionCostPerBuyer } = statistics;
  assertCount(buyers, 'buyers');
  assertPart(known, buyers, 'buyersWithAcquisitionCost');
  if (retentionCostPerBuyer !== null && !Number.isSafeInteger(retentionCostPerBuyer)) {
    throw new RangeError(`the retention cost is not in whole minor units: ${retentionCostPerBuyer}`);
  }
  const count = BigInt(buyers);
  const perBuyer = (sum: bigint) => (buyers === 0 ? null : ratio(sum, count));
  const values = {
    revenuePerBuyer: perBuyer(revenue),
    acquisitionCostPerBuyer: known === 0 ? null : perBuyer(acquisitionCost),
    retentionCostPerBuyer,
    buyers,
    buyersWithAcquisitionCost: known,
  };
  if (buyers > 0 && known === 0 && retentionCostPerBuyer === null) {
    return metricResult({
      values,
      denominator: buyers,
      reason: { code: 'missing_inputs', message: 'Neither acquisition costs nor a retention cost are known.' },
      missingInputs: ['acquisition.cost', 'retentionCost'],
    });
  }
  const spent = (known === 0 ? 0n : acquisitionCost) + BigInt(retentionCostPerBuyer ?? 0) * count;
  const result = meanOf(revenue - spent, buyers, noBuyers);
  return metricResult({
    ...result,
    values,
    warnings: buyers === 0 ? [] : [...result.warnings, ...unknownCosts(buyers, known, retentionCostPerBuyer)],
  });
}

function unknownCosts(buyers: number, known: number, retentionCostPerBuyer: number | null): Notice[] {
  const warnings: Notice[] = [];
  if (known === 0) {
    warnings.push({ code: 'acquisition_cost_unknown', message: 'No acquisition cost is known; it counts as 0.' });
  } else if (known < buyers) {
    const message = `The acquisition cost of ${buyers - known} of ${buyers} buyers is unknown and counts as 0.`;
    warnings.push({ code: 'acquisition_cost_partial', message });
  }
  if (retentionCostPerBuyer === null) {
    warnings.push({ code: 'retention_cost_unknown', message: 'No retention cost was given; it counts as 0.' });
  }
  return warnings;
}

/** Where factor C3, the lifetime, comes from. */
export type LifetimeStatistics =
  /** Σ days from first to last order over all buyers of the window, one-time buyers with 0. */
  | { basis: 'observed'; totalDays: number }
  /**
   * Occurrence and exposure of falling silent. A customer is under observation from an order until the silence limit
   * after the last one is reached (an event) or the window ends (none), and again from a later order on.
   */
  | { basis: 'silence'; exposureDays: number; events: number }
  /** The caller's figure; null when not given. */
  | { basis: 'configured'; months: number | null };

/** Sums over the qualifying orders of the window; returns that name no order do not touch them (they average orders). */
export interface FourFactorStatistics {
  /** Σ total − tax − refunds, exact. */
  revenue: bigint;
  orders: number;
  /** Distinct buyers. */
  buyers: number;
  /** Length of the window in months of 30.4375 days (`monthsBetween`). */
  months: number;
  lifetime: LifetimeStatistics;
  /** Lines of these orders, those with a known cost, and the sum of these costs. */
  costs: { lines: number; linesWithCost: number; cost: bigint };
  /** The `margin` parameter, a fraction of revenue; null when not given. */
  margin: number | null;
}

/** Twelve calendar months hold at least 365 days, which is a little less than twelve mean months. */
const fullWindow = 365 / daysPerMonth;

/**
 * LTV by four factors: C1 average order value × C2 orders ÷ buyers ÷ months × C3 lifetime in months × C4 margin.
 *
 * C3: `observed` the mean time from first to last order (a lower bound: warning `observed_lifetime_is_lower_bound`);
 * `silence` exposure ÷ events, the maximum-likelihood estimate of 1 ÷ rate of a constant hazard (never 1 − monthly
 * retention, which takes every pause for a loss); `configured` as given.
 * C4: (revenue − item costs) ÷ revenue when every line of the window has a cost; otherwise the `margin` parameter, with
 * the warning `item_costs_partial` when some lines had one; otherwise null. A margin over the known lines alone would
 * be that of other goods. Costs of refunded goods stay: nobody knows whether they can be sold again.
 *
 * `values`: the factors `averageOrderValue, purchaseFrequency, lifetimeMonths, margin` (frequency in orders per buyer and
 * month) and `orders, buyers, months`, each null where it does not exist. The value is a product: numerator null, denominator the buyers.
 * Null with reason `no_buyers`, `no_revenue` (no margin can be formed from costs), `no_silence_events`, or
 * `missing_inputs` (`missingInputs`: `margin`, `lifetimeMonths`). Warning `short_window` below twelve months.
 * @throws RangeError when a count is not a count, the window is not longer than 0, or a given factor is not finite
 */
export function fourFactorLifetimeValue(statistics: FourFactorStatistics): MetricResult {
  const { revenue, orders, buyers, months } = statistics;
  assertCount(orders, 'orders');
  assertCount(buyers, 'buyers');
  assertPart(statistics.costs.linesWithCost, statistics.costs.lines, 'linesWithCost');
  if (!(months > 0 && Number.isFinite(months))) throw new RangeError(`the window has ${months} months`);
  const averageOrderValue = orders === 0 ? null : ratio(revenue, BigInt(orders));
  const purchaseFrequency = buyers === 0 ? null : orders / buyers / months;
  const lifetime = lifetimeMonths(statistics.lifetime, buyers);
  const margin = marginFactor(statistics);
  const empty = buyers === 0 || orders === 0;
  const factors = [averageOrderValue, purchaseFrequency, lifetime.factor, margin.factor];
  const present = factors.filter((factor) => factor !== null);
  const warnings = empty ? [] : [...lifetime.warnings, ...margin.warnings];
  if (months < fullWindow - 1e-9) {
    const message = `The window has ${months.toFixed(1)} months: below twelve the season shows in every factor.`;
    warnings.push({ code: 'short_window', message });
  }
  return metricResult({
    value:
      !empty && present.length === factors.length ? present.reduce((product, factor) => product * factor, 1) : null,
    values: {
      averageOrderValue,
      purchaseFrequency,
      lifetimeMonths: lifetime.factor,
      margin: margin.factor,
      orders,
      buyers,
      months,
    },
    denominator: buyers,
    reason: empty ? noBuyers : (lifetime.reason ?? margin.reason),
    missingInputs: empty ? [] : [...lifetime.missingInputs, ...margin.missingInputs],
    warnings,
  });
}

interface Factor {
  factor: number | null;
  reason: Notice | null;
  missingInputs: string[];
  warnings: Notice[];
}

function known(factor: number, ...warnings: Notice[]): Factor {
  if (!Number.isFinite(factor)) throw new RangeError(`a factor of the lifetime value is ${factor}`);
  return { factor, reason: null, missingInputs: [], warnings };
}

function unknown(code: string, message: string, ...missingInputs: string[]): Factor {
  return { factor: null, reason: { code, message }, missingInputs, warnings: [] };
}

function lifetimeMonths(lifetime: LifetimeStatistics, buyers: number): Factor {
  switch (lifetime.basis) {
    case 'observed':
      if (buyers === 0) return unknown(noBuyers.code, noBuyers.message);
      return known(lifetime.totalDays / buyers / daysPerMonth, {
        code: 'observed_lifetime_is_lower_bound',
        message: 'The time from first to last order ends with the window, not with the customers: a lower bound.',
      });
    case 'silence':
      assertCount(lifetime.events, 'events');
      if (lifetime.events === 0) {
        return unknown('no_silence_events', 'No customer fell silent in the window, so no rate can be estimated.');
      }
      return known(lifetime.exposureDays / daysPerMonth / lifetime.events);
    case 'configured':
      if (lifetime.months === null) {
        return unknown('missing_inputs', 'The lifetime is to be configured, but was not given.', 'lifetimeMonths');
      }
      return known(lifetime.months);
  }
}

function marginFactor({ revenue, costs, margin }: FourFactorStatistics): Factor {
  const { lines, linesWithCost, cost } = costs;
  if (lines > 0 && linesWithCost === lines && revenue > 0n) return known(ratio(revenue - cost, revenue));
  const partial = linesWithCost > 0 && linesWithCost < lines;
  const coverage = `${linesWithCost} of ${lines} lines have a cost`;
  if (margin !== null) {
    if (!partial) return known(margin);
    return known(margin, { code: 'item_costs_partial', message: `${coverage}: the margin parameter is used instead.` });
  }
  if (lines > 0 && linesWithCost === lines) {
    return unknown('no_revenue', 'There is no revenue that a margin could be a fraction of.');
  }
  return unknown(
    'missing_inputs',
    `No margin was given and ${partial ? `only ${coverage}` : 'no line has a cost'}.`,
    'margin',
  );
}
