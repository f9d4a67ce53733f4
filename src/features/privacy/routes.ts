import { route } from '../../platform/http/rest.ts';
import { eraseCustomer } from './erase-operations.ts';
import { exportCustomer } from './export.ts';

// What it answers is the customer, which has its address already.
const erasure = { collection: '/v1/customers' };

export const privacyRoutes = [
  route('POST', '/v1/customers/:id/erase', eraseCustomer, erasure),
  route('POST', '/v1/customers/external/:source/:externalId/erase', eraseCustomer, erasure),
  route('GET', '/v1/customers/:id/export', exportCustomer),
  route('GET', '/v1/customers/external/:source/:externalId/export', exportCustomer),
];
