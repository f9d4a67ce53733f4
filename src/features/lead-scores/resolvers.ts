import { connection, field, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { leadsByIds } from '../leads/operations.ts';
import { listLeads } from './lead-list.ts';
import {
  createLeadRuleSet,
  deleteLeadRuleSet,
  getLeadRuleSet,
  getLeadScore,
  leadScoresByLeads,
  listLeadRuleSets,
  previewLeadRuleSet,
  publishLeadRuleSet,
  updateLeadRuleSet,
} from './operations.ts';

export const leadScoreResolvers: Resolvers = {
  Query: {
    leads: connection(listLeads, {
      totalCost: 250,
      hidden: ['learned'],
      example:
        '{ leads(first: 10, stage: [LEAD, MARKETING_QUALIFIED], owner: "maria") { nodes { id score grade scoreDetails { rule { contributions { rule points } } } } } }',
    }),
    leadScore: record(getLeadScore, {
      cost: 5,
      example:
        '{ leadScore(reference: { source: "web", externalId: "L-660681" }) { rule { score grade contributions { rule points evidence { occurredAt kind points } } } } }',
    }),
    leadRuleSet: record(getLeadRuleSet),
    leadRuleSets: connection(listLeadRuleSets),
    leadRuleSetPreview: field(previewLeadRuleSet, { cost: 500 }),
  },
  Mutation: {
    createLeadRuleSet: mutation(createLeadRuleSet, 'ruleSet'),
    updateLeadRuleSet: mutation(updateLeadRuleSet, 'ruleSet'),
    deleteLeadRuleSet: mutation(deleteLeadRuleSet),
    publishLeadRuleSet: mutation(publishLeadRuleSet, 'ruleSet'),
  },
  Lead: {
    scoreDetails: related(leadScoresByLeads, 'id', { cost: 5, description: 'The reasons for the present score.' }),
  },
  LeadMove: {
    lead: related(leadsByIds, 'leadId'),
  },
};
