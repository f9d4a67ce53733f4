import { route } from '../../platform/http/rest.ts';
import {
  createFollowUp,
  deleteFollowUp,
  getFollowUp,
  listCustomerFollowUps,
  listFollowUps,
  updateFollowUp,
} from './operations.ts';

export const followUpRoutes = [
  route('GET', '/v1/follow-ups', listFollowUps),
  route('POST', '/v1/follow-ups', createFollowUp),
  route('GET', '/v1/follow-ups/:id', getFollowUp),
  route('PATCH', '/v1/follow-ups/:id', updateFollowUp),
  route('DELETE', '/v1/follow-ups/:id', deleteFollowUp),
  route('GET', '/v1/customers/:id/follow-ups', listCustomerFollowUps),
  route('GET', '/v1/customers/external/:source/:externalId/follow-ups', listCustomerFollowUps),
];
