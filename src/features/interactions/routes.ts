import { route } from '../../platform/http/rest.ts';
import {
  batchInteractions,
  createInteraction,
  deleteInteraction,
  getInteraction,
  listCustomerInteractions,
  listInteractions,
  updateInteraction,
  upsertInteraction,
} from './operations.ts';

export const interactionRoutes = [
  route('GET', '/v1/interactions', listInteractions),
  route('POST', '/v1/interactions', createInteraction),
  route('POST', '/v1/interactions/batch', batchInteractions),
  route('GET', '/v1/interactions/:id', getInteraction),
  route('PATCH', '/v1/interactions/:id', updateInteraction),
  route('DELETE', '/v1/interactions/:id', deleteInteraction),
  route('GET', '/v1/interactions/external/:source/:externalId', getInteraction),
  route('PUT', '/v1/interactions/external/:source/:externalId', upsertInteraction),
  route('PATCH', '/v1/interactions/external/:source/:externalId', updateInteraction),
  route('DELETE', '/v1/interactions/external/:source/:externalId', deleteInteraction),
  route('GET', '/v1/customers/:id/interactions', listCustomerInteractions),
  route('GET', '/v1/customers/external/:source/:externalId/interactions', listCustomerInteractions),
];
