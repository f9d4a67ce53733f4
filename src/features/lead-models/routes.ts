import { route } from '../../platform/http/rest.ts';
import { createLeadModel, deleteLeadModel, getLeadModel, listLeadModelScores, listLeadModels } from './operations.ts';

export const leadModelRoutes = [
  route('GET', '/v1/lead-models', listLeadModels),
  route('POST', '/v1/lead-models', createLeadModel),
  route('GET', '/v1/lead-models/:id', getLeadModel),
  route('DELETE', '/v1/lead-models/:id', deleteLeadModel),
  route('GET', '/v1/lead-models/:id/scores', listLeadModelScores),
];
