import { route } from '../../platform/http/rest.ts';
import {
  batchCustomers,
  createCustomer,
  deleteCustomer,
  getCustomer,
  listCustomers,
  updateCustomer,
  upsertCustomer,
} from './operations.ts';

export const customerRoutes = [
  // A tree is no text for an address: it is sent in a body.
  route('GET', '/v1/customers', listCustomers, { without: ['filter'] }),
  route('POST', '/v1/customers/search', listCustomers, {
    parameters: 'body',
    operationId: 'searchCustomers',
    summary: 'Search customers',
  }),
  route('POST', '/v1/customers', createCustomer),
  route('POST', '/v1/customers/batch', batchCustomers),
  route('GET', '/v1/customers/:id', getCustomer),
  route('PATCH', '/v1/customers/:id', updateCustomer),
  route('DELETE', '/v1/customers/:id', deleteCustomer),
  route('GET', '/v1/customers/external/:source/:externalId', getCustomer),
  route('PUT', '/v1/customers/external/:source/:externalId', upsertCustomer),
  route('PATCH', '/v1/customers/external/:source/:externalId', updateCustomer),
  route('DELETE', '/v1/customers/external/:source/:externalId', deleteCustomer),
];
