import { children, connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import {
  batchConsents,
  consentsByCustomers,
  getCustomerConsents,
  listConsents,
  listCustomerConsentHistory,
  recordConsent,
} from './operations.ts';

export const consentResolvers: Resolvers = {
  Query: {
    consents: connection(listConsents, { sort: 'ConsentSort' }),
    customerConsents: record(getCustomerConsents),
    customerConsentHistory: connection(listCustomerConsentHistory, { sort: 'ConsentSort' }),
  },
  Mutation: {
    recordConsent: mutation(recordConsent, 'consent'),
    batchConsents: mutation(batchConsents),
  },
  Customer: {
    consents: children(
      consentsByCustomers,
      ({ id }: { id: string }) => id,
      (ids) => ({ ids }),
      { cost: 5 },
    ),
  },
  ConsentChange: {
    customer: related(customersByIds, 'customerId'),
  },
};
