import {
  assertCount,
  assertPart,
  beyondSafeInteger,
  type MetricResult,
  metricResult,
  type Notice,
} from './metric-result.ts';
import { ratio, safeNumber } from './money.ts';

/** The shares of customers, in per cent, whose part of the revenue is told: points of a Lorenz curve. */
export const concentrationShares = [1, 5, 10, 20, 30, 50] as const;
/** The source's "20 per cent of customers bring 80 per cent of revenue". */
const top = 20;

export interface ConcentrationSums {
  /** With an order in the period. */
  customers: number;
  /** Net revenue of all of them, minor units, exact. */
  revenue: bigint;
  /** That of the first ⌈customers × share⌉ by net revenue, for each of `concentrationShares`. */
  ofTop: readonly bigint[];
  /** The smallest number of customers, by net revenue descending, that brings 80 per cent; null when none does. */
  bringing80: number | null;
  lossMaking: number;
  /** Net revenue of these, below 0. */
  losses: bigint;
  /** Of interactions of the period, with anybody; and of those with customers outside the top fifth. */
  contactSeconds: bigint;
  contactSecondsOfRest: bigint;
}

const noBuyers: Notice = { code: 'no_buyers', message: 'Nobody bought in the period.' };
const noRevenue: Notice = {
  code: 'no_revenue',
  message: 'The net revenue of the period is not above 0, so nobody has a share of it.',
};

/** ⌈customers × per cent⌉, in whole numbers. */
function topOf(customers: number, percent: number): number {
  return Math.ceil((customers * percent) / 100);
}

/**
 * Pareto: the share (0–1) of net revenue that the ⌈0.2 n⌉ customers with the highest net revenue bring; the total includes
 * losses, so shares may exceed 1. `values`: `customers, topCustomers, topRevenue, revenue, customersBringing80,
 * shareOfCustomersBringing80, lossMakingCustomers, lossMakingRevenue, contactTimeShareOfRest`. `groups`: `top_1` … `top_50`, each
 * with its share of the revenue. Null with `no_buyers` or `no_revenue`.
 * @throws RangeError when a count is not a count
 */
export function revenueConcentration(sums: ConcentrationSums): MetricResult {
  const { customers, revenue, ofTop, bringing80, lossMaking, losses, contactSeconds, contactSecondsOfRest } = sums;
  assertPart(lossMaking, customers, 'lossMaking');
  assertCount(customers, 'customers');
  const reason = customers === 0 ? noBuyers : revenue <= 0n ? noRevenue : null;
  const shareOf = (part: bigint) => (reason === null ? ratio(part, revenue) : null);
  const topRevenue = ofTop[concentrationShares.indexOf(top)] ?? 0n;
  const warnings = Object.entries({ revenue, topRevenue }).flatMap(([name, exact]) =>
    safeNumber(exact) === null ? [beyondSafeInteger(name, exact)] : [],
  );
  return metricResult({
    value: shareOf(topRevenue),
    values: {
      customers,
      topCustomers: topOf(customers, top),
      topRevenue: safeNumber(topRevenue),
      revenue: safeNumber(revenue),
      customersBringing80: reason === null ? bringing80 : null,
      shareOfCustomersBringing80: reason === null && bringing80 !== null ? bringing80 / customers : null,
      lossMakingCustomers: lossMaking,
      lossMakingRevenue: safeNumber(losses),
      contactTimeShareOfRest: contactSeconds === 0n ? null : ratio(contactSecondsOfRest, contactSeconds),
    },
    numerator: safeNumber(topRevenue),
    denominator: safeNumber(revenue),
    reason,
    warnings,
    groups: concentrationShares.map((percent, index) => {
      const part = ofTop[index] ?? 0n;
      return {
        key: `top_${percent}`,
        value: shareOf(part),
        values: { customers: topOf(customers, percent), revenue: safeNumber(part) },
        numerator: safeNumber(part),
        denominator: safeNumber(revenue),
        interval: null,
        lowSample: customers < 30,
        reason,
      };
    }),
  });
}
