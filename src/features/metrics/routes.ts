import { route } from '../../platform/http/rest.ts';
import { getClosedLoop } from './closed-loop.ts';
import { getLeadFunnel, listLeadFunnelMembers } from './lead-funnel.ts';
import {
  getAverageOrderValue,
  getChurnRate,
  getLifetimeValue,
  getPurchaseGaps,
  getRepeatPurchaseRate,
  getRetentionRate,
  getRevenuePerCustomer,
} from './operations.ts';
import { getCustomerSummary } from './summary.ts';

export const metricRoutes = [
  route('GET', '/v1/metrics/retention-rate', getRetentionRate),
  route('GET', '/v1/metrics/repeat-purchase-rate', getRepeatPurchaseRate),
  route('GET', '/v1/metrics/churn-rate', getChurnRate),
  route('GET', '/v1/metrics/purchase-gaps', getPurchaseGaps),
  route('GET', '/v1/metrics/average-order-value', getAverageOrderValue),
  route('GET', '/v1/metrics/revenue-per-customer', getRevenuePerCustomer),
  route('GET', '/v1/metrics/lifetime-value', getLifetimeValue),
  route('GET', '/v1/metrics/lead-funnel', getLeadFunnel),
  route('GET', '/v1/metrics/lead-funnel/members', listLeadFunnelMembers),
  route('GET', '/v1/metrics/closed-loop', getClosedLoop),
  route('GET', '/v1/customers/:id/summary', getCustomerSummary),
  route('GET', '/v1/customers/external/:source/:externalId/summary', getCustomerSummary),
];
