import { route } from '../../platform/http/rest.ts';
import {
  createAssignmentRule,
  deleteAssignmentRule,
  getAssignmentRule,
  listAssignmentRules,
  listAssignments,
  listLeadAssignments,
  updateAssignmentRule,
} from './operations.ts';

export const assignmentRoutes = [
  route('GET', '/v1/assignment-rules', listAssignmentRules),
  route('POST', '/v1/assignment-rules', createAssignmentRule),
  route('GET', '/v1/assignment-rules/:id', getAssignmentRule),
  route('PATCH', '/v1/assignment-rules/:id', updateAssignmentRule),
  route('DELETE', '/v1/assignment-rules/:id', deleteAssignmentRule),
  route('GET', '/v1/assignments', listAssignments),
  route('GET', '/v1/leads/:id/assignments', listLeadAssignments),
  route('GET', '/v1/leads/external/:source/:externalId/assignments', listLeadAssignments),
];
