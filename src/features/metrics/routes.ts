import { route } from '../../platform/http/rest.ts';
import { listMetrics } from './catalogue.ts';
import { getClosedLoop } from './closed-loop.ts';
import { getLeadFunnel, listLeadFunnelMembers } from './lead-funnel.ts';
import { getLoyaltyLiability, listLoyaltyLiabilityMembers } from './loyalty-liability.ts';
import {
  getAverageOrderValue,
  getChurnRate,
  getCohorts,
  getLifetimeValue,
  getNewAndReturning,
  getPurchaseGaps,
  getRepeatPurchaseRate,
  getRetentionRate,
  getRevenueConcentration,
  getRevenuePerCustomer,
  getRfm,
} from './operations.ts';
import { getCustomerSummary } from './summary.ts';
import {
  getCustomerEffort,
  getCustomerSatisfaction,
  getNetPromoterScore,
  listCustomerEffortMembers,
  listCustomerEffortReasons,
  listCustomerSatisfactionMembers,
  listCustomerSatisfactionReasons,
  listNetPromoterScoreMembers,
  listNetPromoterScoreReasons,
} from './survey-scores.ts';

export const metricRoutes = [
  route('GET', '/v1/metrics', listMetrics),
  route('GET', '/v1/metrics/retention-rate', getRetentionRate),
  route('GET', '/v1/metrics/repeat-purchase-rate', getRepeatPurchaseRate),
  route('GET', '/v1/metrics/churn-rate', getChurnRate),
  route('GET', '/v1/metrics/purchase-gaps', getPurchaseGaps),
  route('GET', '/v1/metrics/average-order-value', getAverageOrderValue),
  route('GET', '/v1/metrics/new-and-returning', getNewAndReturning),
  route('GET', '/v1/metrics/revenue-per-customer', getRevenuePerCustomer),
  route('GET', '/v1/metrics/lifetime-value', getLifetimeValue),
  route('GET', '/v1/metrics/revenue-concentration', getRevenueConcentration),
  route('GET', '/v1/metrics/cohorts', getCohorts),
  route('GET', '/v1/metrics/rfm', getRfm),
  route('GET', '/v1/metrics/lead-funnel', getLeadFunnel),
  route('GET', '/v1/metrics/lead-funnel/members', listLeadFunnelMembers),
  route('GET', '/v1/metrics/closed-loop', getClosedLoop),
  route('GET', '/v1/metrics/net-promoter-score', getNetPromoterScore),
  route('GET', '/v1/metrics/net-promoter-score/members', listNetPromoterScoreMembers),
  route('GET', '/v1/metrics/net-promoter-score/reasons', listNetPromoterScoreReasons),
  route('GET', '/v1/metrics/customer-satisfaction', getCustomerSatisfaction),
  route('GET', '/v1/metrics/customer-satisfaction/members', listCustomerSatisfactionMembers),
  route('GET', '/v1/metrics/customer-satisfaction/reasons', listCustomerSatisfactionReasons),
  route('GET', '/v1/metrics/customer-effort', getCustomerEffort),
  route('GET', '/v1/metrics/customer-effort/members', listCustomerEffortMembers),
  route('GET', '/v1/metrics/customer-effort/reasons', listCustomerEffortReasons),
  route('GET', '/v1/metrics/loyalty-liability', getLoyaltyLiability),
  route('GET', '/v1/metrics/loyalty-liability/members', listLoyaltyLiabilityMembers),
  route('GET', '/v1/customers/:id/summary', getCustomerSummary),
  route('GET', '/v1/customers/external/:source/:externalId/summary', getCustomerSummary),
];
