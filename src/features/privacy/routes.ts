import { route } from '../../platform/http/rest.ts';
import { exportCustomer } from './export.ts';

export const privacyRoutes = [
  route('GET', '/v1/customers/:id/export', exportCustomer),
  route('GET', '/v1/customers/external/:source/:externalId/export', exportCustomer),
];
