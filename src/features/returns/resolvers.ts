import { connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import {
  batchReturns,
  createReturn,
  deleteReturn,
  getReturn,
  listReturns,
  updateReturn,
  upsertReturn,
} from './operations.ts';

export const returnResolvers: Resolvers = {
  Query: {
    return: record(getReturn),
    returns: connection(listReturns),
  },
  Mutation: {
    createReturn: mutation(createReturn, 'return'),
    updateReturn: mutation(updateReturn, 'return'),
    upsertReturn: mutation(upsertReturn, 'return'),
    deleteReturn: mutation(deleteReturn),
    batchReturns: mutation(batchReturns),
  },
  Return: {
    customer: related(customersByIds, 'customerId'),
  },
};
