import { connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import {
  batchCustomers,
  createCustomer,
  customersByIds,
  deleteCustomer,
  getCustomer,
  listCustomers,
  updateCustomer,
  upsertCustomer,
} from './operations.ts';

export const customerResolvers: Resolvers = {
  Query: {
    customer: record(getCustomer),
    customers: connection(listCustomers),
  },
  Mutation: {
    createCustomer: mutation(createCustomer, 'customer'),
    updateCustomer: mutation(updateCustomer, 'customer'),
    upsertCustomer: mutation(upsertCustomer, 'customer'),
    deleteCustomer: mutation(deleteCustomer),
    batchCustomers: mutation(batchCustomers),
  },
  Customer: {
    company: related(customersByIds, 'companyId'),
    referrer: related(customersByIds, 'referredBy'),
  },
};
