import { route } from '../../platform/http/rest.ts';
import { recordRoutes } from '../../records/routes.ts';
import { orderOperations } from './operations.ts';
import { createRefund, deleteRefund, getRefund, listRefunds } from './refund-operations.ts';

const refunds = { collection: '/v1/refunds' };

export const orderRoutes = [
  ...recordRoutes('/v1/orders', orderOperations),
  route('GET', '/v1/orders/:id/refunds', listRefunds),
  route('POST', '/v1/orders/:id/refunds', createRefund, refunds),
  route('GET', '/v1/orders/external/:source/:externalId/refunds', listRefunds),
  route('POST', '/v1/orders/external/:source/:externalId/refunds', createRefund, refunds),
  route('GET', '/v1/refunds/:id', getRefund),
  route('DELETE', '/v1/refunds/:id', deleteRefund),
  route('GET', '/v1/customers/:id/orders', orderOperations.listOfOwner),
  route('GET', '/v1/customers/external/:source/:externalId/orders', orderOperations.listOfOwner),
];
