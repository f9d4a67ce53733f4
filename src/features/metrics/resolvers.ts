import { connection, field, group, type Resolvers, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
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
} from './survey-scores.ts';

export const metricResolvers: Resolvers = {
  Query: {
    metricCatalogue: field(listMetrics),
    metrics: group({
      costOfFields: 250,
      description:
        'Retention, value and satisfaction in numbers. All metrics have the same members; the value is null, with a `reason`, when there is nothing to compute.',
      example:
        '{ metrics { retentionRate(input: { from: "2026-02-01", to: "2026-03-01", interval: MONTH }) { value numerator denominator lowSample reason { code } series { start value } } } }',
    }),
  },
  Metrics: {
    retentionRate: field(getRetentionRate),
    repeatPurchaseRate: field(getRepeatPurchaseRate),
    churnRate: field(getChurnRate),
    purchaseGaps: field(getPurchaseGaps),
    averageOrderValue: field(getAverageOrderValue),
    newAndReturning: field(getNewAndReturning),
    revenuePerCustomer: field(getRevenuePerCustomer),
    lifetimeValue: field(getLifetimeValue),
    revenueConcentration: field(getRevenueConcentration),
    cohorts: field(getCohorts, {
      example:
        '{ metrics { cohorts(input: { from: "2026-01-01", interval: QUARTER }) { value groups { key denominator series { start value numerator values complete } } } } }',
    }),
    rfm: field(getRfm, { example: '{ metrics { rfm { value groups { key value values } } } }' }),
    leadFunnel: field(getLeadFunnel, {
      example:
        '{ metrics { leadFunnel(input: { from: "2026-01-01", groupBy: SOURCE }) { value values groups { key value } } } }',
    }),
    leadFunnelMembers: connection(listLeadFunnelMembers, {
      sort: 'LeadFunnelSort',
      example:
        '{ metrics { leadFunnelMembers(list: UNTOUCHED, first: 50) { nodes { lead { id owner } daysSinceLastInteraction } pageInfo { endCursor } } } }',
    }),
    closedLoop: field(getClosedLoop, {
      example:
        '{ metrics { closedLoop(input: { from: "2026-01-01", interval: MONTH }) { value values excluded { reason count } warnings { code } } } }',
    }),
    loyaltyLiability: field(getLoyaltyLiability, {
      example:
        '{ metrics { loyaltyLiability(input: { groupBy: TIER }) { value values currency groups { key value } } } }',
    }),
    loyaltyLiabilityMembers: connection(listLoyaltyLiabilityMembers, {
      sort: 'LoyaltyLiabilitySort',
      example:
        '{ metrics { loyaltyLiabilityMembers(first: 50) { nodes { customerId outstandingPoints liability } pageInfo { endCursor } } } }',
    }),
    netPromoterScore: field(getNetPromoterScore, {
      example:
        '{ metrics { netPromoterScore(input: { from: "2026-01-01", groupBy: STAFF }) { value interval { low high } excluded { reason count } groups { key value lowSample } } } }',
    }),
    netPromoterScoreMembers: connection(listNetPromoterScoreMembers, {
      sort: 'VoiceSort',
      example:
        '{ metrics { netPromoterScoreReasons(band: DETRACTOR, first: 20) { nodes { score texts { question text } customerId } } } }',
    }),
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
    summary: related(customerSummaries, 'id', {
      cost: 5,
      description: "The single view: what the customer's orders, returns, interactions, answers and points say now.",
    }),
  },
};
