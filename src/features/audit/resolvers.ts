import { connection, type Resolvers, record } from '../../platform/graphql/field.ts';
import { getAuditEntry, listAuditEntries, listCustomerAuditEntries } from './operations.ts';

export const auditResolvers: Resolvers = {
  Query: {
    auditEntry: record(getAuditEntry),
    auditEntries: connection(listAuditEntries),
    customerAuditEntries: connection(listCustomerAuditEntries),
  },
};
