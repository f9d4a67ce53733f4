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
    customer: record(getCustomer, {
      example:
        '{ customer(reference: { source: "shop", externalId: "17850" }) { id name email orders(first: 5) { nodes { placedAt total } } } }',
    }),
    customers: connection(listCustomers, {
      names: { where: 'filter' },
      example: '{ customers(first: 20, kind: COMPANY) { nodes { id name } pageInfo { hasNextPage endCursor } } }',
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
    company: related(customersByIds, 'companyId', { description: 'The record behind `companyId`.' }),
    referrer: related(customersByIds, 'referredBy', { description: 'The record behind `referredBy`.' }),
  },
};
