import { connection, field, group, type Resolvers, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import { getClosedLoop } from './closed-loop.ts';
import { getLeadFunnel, listLeadFunnelMembers } from './lead-funnel.ts';
import { getLoyaltyLiability, listLoyaltyLiabilityMembers } from './loyalty-liability.ts';
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
} from './voice.ts';

export const metricResolvers: Resolvers = {
  Query: {
    metrics: group({ costOfFields: 250 }),
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
    leadFunnelMembers: connection(listLeadFunnelMembers, { sort: 'LeadFunnelSort' }),
    closedLoop: field(getClosedLoop),
    loyaltyLiability: field(getLoyaltyLiability),
    loyaltyLiabilityMembers: connection(listLoyaltyLiabilityMembers, { sort: 'LoyaltyLiabilitySort' }),
    netPromoterScore: field(getNetPromoterScore),
    netPromoterScoreMembers: connection(listNetPromoterScoreMembers, { sort: 'VoiceSort' }),
    netPromoterScoreReasons: connection(listNetPromoterScoreReasons, { sort: 'VoiceSort' }),
    customerSatisfaction: field(getCustomerSatisfaction),
    customerSatisfactionMembers: connection(listCustomerSatisfactionMembers, { sort: 'VoiceSort' }),
    customerSatisfactionReasons: connection(listCustomerSatisfactionReasons, { sort: 'VoiceSort' }),
    customerEffort: field(getCustomerEffort),
    customerEffortMembers: connection(listCustomerEffortMembers, { sort: 'VoiceSort' }),
    customerEffortReasons: connection(listCustomerEffortReasons, { sort: 'VoiceSort' }),
  },
  LoyaltyLiabilityMember: {
    customer: related(customersByIds, 'customerId'),
  },
  Customer: {
    summary: related(customerSummaries, 'id', { cost: 5 }),
  },
};
