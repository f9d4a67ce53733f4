import { type MetricResult, meanOf, metricResult } from './metric-result.ts';

/**
 * Revenue per customer in minor units: net revenue of the period ÷ distinct buyers of the period.
 * Null with reason `no_buyers`; may be negative when returns outweigh orders.
 * @param sums `revenue`: Σ (total − tax − refunds) of the qualifying orders less the returns that name no order, exact;
 * `buyers`: distinct customers with a qualifying order in the period
 * @throws RangeError when `buyers` is not a count
 */
export function revenuePerCustomer({ revenue, buyers }: { revenue: bigint; buyers: number }): MetricResult {
  const reason = { code: 'no_buyers', message: 'Nobody bought in the period.' };
  return metricResult({ ...meanOf(revenue, buyers, reason), values: { buyers } });
}
