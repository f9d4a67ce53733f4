import { route } from '../../platform/http/rest.ts';
import { recordRoutes } from '../../records/routes.ts';
import { interactionOperations } from './operations.ts';

export const interactionRoutes = [
  ...recordRoutes('/v1/interactions', interactionOperations),
  route('GET', '/v1/customers/:id/interactions', interactionOperations.listOfOwner),
  route('GET', '/v1/customers/external/:source/:externalId/interactions', interactionOperations.listOfOwner),
];
