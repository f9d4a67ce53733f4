import { connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { listCustomersWithOrders, ordersOfCustomers } from '../orders/customer-operations.ts';
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
    customers: connection(listCustomers, {
      ahead: { field: 'orders', operation: listCustomersWithOrders, ofAll: ordersOfCustomers },
    }),
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
