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
    customerConsents: record(getCustomerConsents, {
      example:
        '{ customerConsents(reference: { source: "shop", externalId: "17850" }, channel: EMAIL) { consents { purpose status at } } }',
    }),
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
      { cost: 5, description: 'What is in force.' },
    ),
  },
  ConsentChange: {
    customer: related(customersByIds, 'customerId'),
  },
};
