import { connection, field, mutation, type Resolvers, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import { dismissCustomerDuplicate, listCustomerDuplicates } from './duplicates.ts';
import { listCustomerMerges, mergeCustomer, previewCustomerMerge, unmergeCustomer } from './operations.ts';

export const mergeResolvers: Resolvers = {
  Query: {
    customerMergePreview: field(previewCustomerMerge, { cost: 10 }),
    customerMerges: connection(listCustomerMerges),
    customerDuplicates: connection(listCustomerDuplicates),
  },
  Mutation: {
    mergeCustomer: mutation(mergeCustomer, 'merge', { cost: 100 }),
    unmergeCustomer: mutation(unmergeCustomer, 'unmerge', { cost: 100 }),
    dismissCustomerDuplicate: mutation(dismissCustomerDuplicate),
  },
  MergeResult: {
    customer: related(customersByIds, 'customerId'),
  },
  CustomerDuplicate: {
    customer: related(customersByIds, 'customerId'),
    other: related(customersByIds, 'otherId'),
  },
  CustomerMerge: {
    customer: related(customersByIds, 'customerId'),
  },
};
