import { route } from '../../platform/http/rest.ts';
import {
  createRetentionRule,
  deleteRetentionRule,
  getRetentionRule,
  getRetentionRun,
  listRetentionRules,
  listRetentionRuns,
  runRetentionRule,
  updateRetentionRule,
} from './operations.ts';

export const retentionRoutes = [
  route('GET', '/v1/retention-rules', listRetentionRules),
  route('POST', '/v1/retention-rules', createRetentionRule),
  route('GET', '/v1/retention-rules/:id', getRetentionRule),
  route('PATCH', '/v1/retention-rules/:id', updateRetentionRule),
  route('DELETE', '/v1/retention-rules/:id', deleteRetentionRule),
  route('POST', '/v1/retention-rules/:id/run', runRetentionRule, { collection: '/v1/retention-runs' }),
  route('GET', '/v1/retention-runs', listRetentionRuns),
  route('GET', '/v1/retention-runs/:id', getRetentionRun),
];
