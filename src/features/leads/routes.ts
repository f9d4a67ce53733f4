import { route } from '../../platform/http/rest.ts';
import {
  assignLead,
  batchLeads,
  changeLeadStage,
  createLead,
  deleteLead,
  getLead,
  listLeadStageChanges,
  listLeadStages,
  updateLead,
  upsertLead,
} from './operations.ts';
import { qualifyLeads } from './qualification.ts';

// Its score changes while its version does not.
const live = { conditional: false };

export const leadRoutes = [
  route('POST', '/v1/leads', createLead),
  route('POST', '/v1/leads/batch', batchLeads),
  route('POST', '/v1/leads/qualify', qualifyLeads),
  route('GET', '/v1/leads/:id', getLead, live),
  route('PATCH', '/v1/leads/:id', updateLead),
  route('DELETE', '/v1/leads/:id', deleteLead),
  route('POST', '/v1/leads/:id/stage', changeLeadStage),
  route('POST', '/v1/leads/:id/assign', assignLead),
  route('GET', '/v1/leads/:id/stages', listLeadStages),
  route('GET', '/v1/leads/external/:source/:externalId', getLead, live),
  route('PUT', '/v1/leads/external/:source/:externalId', upsertLead),
  route('PATCH', '/v1/leads/external/:source/:externalId', updateLead),
  route('DELETE', '/v1/leads/external/:source/:externalId', deleteLead),
  route('POST', '/v1/leads/external/:source/:externalId/stage', changeLeadStage),
  route('POST', '/v1/leads/external/:source/:externalId/assign', assignLead),
  route('GET', '/v1/leads/external/:source/:externalId/stages', listLeadStages),
  route('GET', '/v1/lead-stage-changes', listLeadStageChanges),
];
