import { type MetricGroup, type MetricResult, metricResult, type Notice } from './metric-result.ts';
import { safeNumber } from './money.ts';

export const rfmSegments = ['champions', 'loyal', 'promising', 'needs_attention', 'at_risk', 'hibernating'] as const;
export type RfmSegment = (typeof rfmSegments)[number];

/** Customers with the same three scores, 1 (worst) to 5 (best). */
export interface RfmCell {
  recency: number;
  frequency: number;
  monetary: number;
  customers: number;
  orders: number;
  /** Net, minor units, exact. */
  revenue: bigint;
}

/** The segment of three scores, by R and the mean of F and M. */
export function rfmSegment({
  recency,
  frequency,
  monetary,
}: Pick<RfmCell, 'recency' | 'frequency' | 'monetary'>): RfmSegment {
  // Twice the mean, in whole numbers.
  const twice = frequency + monetary;
  if (recency >= 4) return twice >= 8 ? 'champions' : twice >= 6 ? 'loyal' : 'promising';
  if (recency === 3) return twice >= 8 ? 'loyal' : 'needs_attention';
  return twice >= 6 ? 'at_risk' : 'hibernating';
}

const noBuyers: Notice = { code: 'no_buyers', message: 'Nobody had bought by then.' };

/**
 * RFM: customers by scores 1–5 of recency, frequency and net revenue, each 1 + ⌊5 × customers strictly worse ÷ customers⌋, so that
 * ties share a score, which quintiles would split. `value`: customers scored. `values`: `recency1` …
 * `monetary5`, how many have each score. `groups`: one per named segment: customers, their share as `value`, `values` `orders`,
 * `revenue` and, as `555`, how many have these three scores. Null with `no_buyers`.
 */
export function rfm(cells: readonly RfmCell[]): MetricResult {
  const customers = sum(cells);
  const values: Record<string, number> = {};
  for (const score of ['recency', 'frequency', 'monetary'] as const) {
    for (let step = 1; step <= 5; step += 1)
      values[`${score}${step}`] = sum(cells.filter((cell) => cell[score] === step));
  }
  return metricResult({
    value: customers === 0 ? null : customers,
    values,
    denominator: customers,
    reason: customers === 0 ? noBuyers : null,
    groups: rfmSegments.map((segment) => group(segment, cells, customers)),
  });
}

function group(segment: RfmSegment, cells: readonly RfmCell[], all: number): MetricGroup {
  const own = cells.filter((cell) => rfmSegment(cell) === segment);
  const customers = sum(own);
  const scores = own
    .map((cell): [string, number] => [`${cell.recency}${cell.frequency}${cell.monetary}`, cell.customers])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    key: segment,
    value: all === 0 ? null : customers / all,
    values: {
      customers,
      orders: own.reduce((total, cell) => total + cell.orders, 0),
      revenue: safeNumber(own.reduce((total, cell) => total + cell.revenue, 0n)),
      ...Object.fromEntries(scores),
    },
    numerator: customers,
    denominator: all,
    interval: null,
    lowSample: all < 30,
    reason: all === 0 ? noBuyers : null,
  };
}

function sum(cells: readonly RfmCell[]): number {
  return cells.reduce((total, cell) => total + cell.customers, 0);
}
