import { route } from '../../platform/http/rest.ts';
import {
  batchOrders,
  createOrder,
  deleteOrder,
  getOrder,
  listCustomerOrders,
  listOrders,
  updateOrder,
  upsertOrder,
} from './operations.ts';
import { createRefund, deleteRefund, getRefund, listRefunds } from './refund-operations.ts';

const refunds = { collection: '/v1/refunds' };

export const orderRoutes = [
  route('GET', '/v1/orders', listOrders),
  route('POST', '/v1/orders', createOrder),
  route('POST', '/v1/orders/batch', batchOrders),
  route('GET', '/v1/orders/:id', getOrder),
  route('PATCH', '/v1/orders/:id', updateOrder),
  route('DELETE', '/v1/orders/:id', deleteOrder),
  route('GET', '/v1/orders/external/:source/:externalId', getOrder),
  route('PUT', '/v1/orders/external/:source/:externalId', upsertOrder),
  route('PATCH', '/v1/orders/external/:source/:externalId', updateOrder),
  route('DELETE', '/v1/orders/external/:source/:externalId', deleteOrder),
  route('GET', '/v1/orders/:id/refunds', listRefunds),
  route('POST', '/v1/orders/:id/refunds', createRefund, refunds),
  route('GET', '/v1/orders/external/:source/:externalId/refunds', listRefunds),
  route('POST', '/v1/orders/external/:source/:externalId/refunds', createRefund, refunds),
  route('GET', '/v1/refunds/:id', getRefund),
  route('DELETE', '/v1/refunds/:id', deleteRefund),
  route('GET', '/v1/customers/:id/orders', listCustomerOrders),
  route('GET', '/v1/customers/external/:source/:externalId/orders', listCustomerOrders),
];
