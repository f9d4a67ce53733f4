import { connection, field, group, type Resolvers, related } from '../../platform/graphql/field.ts';
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
import { customerSummaries } from './summary.ts';

export const metricResolvers: Resolvers = {
  Query: {
    metrics: group(),
  },
  Metrics: {
    retentionRate: field(getRetentionRate),
    repeatPurchaseRate: field(getRepeatPurchaseRate),
    churnRate: field(getChurnRate),
    purchaseGaps: field(getPurchaseGaps),
    averageOrderValue: field(getAverageOrderValue),
    revenuePerCustomer: field(getRevenuePerCustomer),
    lifetimeValue: field(getLifetimeValue),
    leadFunnel: field(getLeadFunnel),
    leadFunnelMembers: connection(listLeadFunnelMembers),
    closedLoop: field(getClosedLoop),
  },
  Customer: {
    summary: related(customerSummaries, 'id'),
  },
};
