import { route } from '../../platform/http/rest.ts';
import { listLeads } from './lead-list.ts';
import {
  createLeadRuleSet,
  deleteLeadRuleSet,
  getLeadRuleSet,
  getLeadScore,
  listLeadRuleSets,
  previewLeadRuleSet,
  publishLeadRuleSet,
  updateLeadRuleSet,
} from './operations.ts';

export const leadScoreRoutes = [
  route('GET', '/v1/leads', listLeads),
  route('GET', '/v1/leads/:id/score', getLeadScore),
  route('GET', '/v1/leads/external/:source/:externalId/score', getLeadScore),
  route('GET', '/v1/lead-rule-sets', listLeadRuleSets),
  route('POST', '/v1/lead-rule-sets', createLeadRuleSet),
  route('GET', '/v1/lead-rule-sets/:id', getLeadRuleSet),
  route('PATCH', '/v1/lead-rule-sets/:id', updateLeadRuleSet),
  route('DELETE', '/v1/lead-rule-sets/:id', deleteLeadRuleSet),
  route('POST', '/v1/lead-rule-sets/:id/preview', previewLeadRuleSet),
  route('POST', '/v1/lead-rule-sets/:id/publish', publishLeadRuleSet),
];
