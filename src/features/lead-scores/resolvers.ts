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
    leads: connection(listLeads, { totalCost: 250, hidden: ['learned'] }),
    leadScore: record(getLeadScore, { cost: 5 }),
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
    scoreDetails: related(leadScoresByLeads, 'id', { cost: 5 }),
  },
  LeadMove: {
    lead: related(leadsByIds, 'leadId'),
  },
};
