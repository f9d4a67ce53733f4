import { route } from '../../platform/http/rest.ts';
import { getAuditEntry, listAuditEntries, listCustomerAuditEntries } from './operations.ts';

export const auditRoutes = [
  route('GET', '/v1/audit-entries', listAuditEntries),
  route('GET', '/v1/audit-entries/:id', getAuditEntry),
  // Not `:id`: what was done under a former id is answered under it and leads nowhere else.
  route('GET', '/v1/customers/:customerId/audit-entries', listCustomerAuditEntries),
];
