import { type Resolvers, related } from '../../platform/graphql/field.ts';
import { recordResolvers } from '../../records/resolvers.ts';
import { customersByIds } from '../customers/operations.ts';
import { returnOperations } from './operations.ts';

export const returnResolvers: Resolvers = {
  ...recordResolvers('return', returnOperations),
  Return: {
    customer: related(customersByIds, 'customerId'),
  },
};
