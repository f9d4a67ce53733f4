import { route } from '../../platform/http/rest.ts';
import { recordRoutes } from '../../records/routes.ts';
import { orderOperations } from './operations.ts';
import { listOrderRefunds, pushRefund, refundOperations } from './refund-operations.ts';

const { create: createRefund, ...refundRecords } = refundOperations;
const refunds = { collection: '/v1/refunds' };

export const orderRoutes = [
  ...recordRoutes('/v1/orders', orderOperations),
  route('GET', '/v1/orders/:id/refunds', listOrderRefunds),
  route('POST', '/v1/orders/:id/refunds', createRefund, refunds),
  route('GET', '/v1/orders/external/:source/:externalId/refunds', listOrderRefunds),
  route('POST', '/v1/orders/external/:source/:externalId/refunds', createRefund, refunds),
  ...recordRoutes('/v1/refunds', refundRecords),
  route('POST', '/v1/refunds', pushRefund, { operationId: 'pushRefund' }),
  route('GET', '/v1/customers/:id/orders', orderOperations.listOfOwner),
  route('GET', '/v1/customers/external/:source/:externalId/orders', orderOperations.listOfOwner),
];
