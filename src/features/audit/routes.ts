import { route } from '../../platform/http/rest.ts';
import { getAuditEntry, listAuditEntries, listCustomerAuditEntries } from './operations.ts';

export const auditRoutes = [
  route('GET', '/v1/audit-entries', listAuditEntries),
  route('GET', '/v1/audit-entries/:id', getAuditEntry),
  route('GET', '/v1/customers/:id/audit-entries', listCustomerAuditEntries),
];
