import { connection, mutation, type Resolvers } from '../../platform/graphql/field.ts';
import { listExchangeRates, putExchangeRates } from './operations.ts';

export const rateResolvers: Resolvers = {
  Query: {
    exchangeRates: connection(listExchangeRates),
  },
  Mutation: {
    putExchangeRates: mutation(putExchangeRates, undefined, { cost: 500 }),
  },
};
