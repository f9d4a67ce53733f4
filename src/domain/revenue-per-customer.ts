import { type MetricResult, meanOf, metricResult } from './metric-result.ts';

/**
 * Revenue per customer in minor units: net revenue of the period ÷ distinct buyers of the period.
 * Null with reason `no_buyers`; may be negative when returns outweigh orders.
 * @param sums `revenue`: Σ (total − tax − refunds) of the qualifying orders less the returns that name no order, exact;
 * `buyers`: distinct customers with a qualifying order in the period; `anonymousOrders`: orders of nobody known, whose
 * revenue counts and who are no buyers
 * @throws RangeError when `buyers` is not a count
 */
export function revenuePerCustomer({
  revenue,
  buyers,
  anonymousOrders = 0,
}: {
  revenue: bigint;
  buyers: number;
  anonymousOrders?: number;
}): MetricResult {
  const reason = { code: 'no_buyers', message: 'Nobody bought in the period.' };
  const { warnings, ...mean } = meanOf(revenue, buyers, reason);
  const message = `Orders of nobody known are in the revenue, but nobody is counted as their buyer: ${anonymousOrders}.`;
  const anonymous = anonymousOrders > 0 ? [{ code: 'anonymous_revenue', message }] : [];
  return metricResult({ ...mean, values: { buyers }, warnings: [...warnings, ...anonymous] });
}
