import { connection, mutation, type Resolvers, record, related } from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import {
  batchLoyaltyTransactions,
  createLoyaltyTransaction,
  enrolCustomer,
  getCustomerLoyalty,
  getLoyaltyTransaction,
  listCustomerLoyaltyTransactions,
  listLoyaltyMembers,
  listLoyaltyTransactions,
  listTierChanges,
  loyaltyByCustomers,
  undoLoyaltyTransaction,
} from './operations.ts';

export const loyaltyResolvers: Resolvers = {
  Query: {
    customerLoyalty: record(getCustomerLoyalty),
    loyaltyTierChanges: connection(listTierChanges),
    loyaltyMembers: connection(listLoyaltyMembers),
    loyaltyTransaction: record(getLoyaltyTransaction),
    loyaltyTransactions: connection(listLoyaltyTransactions),
    customerLoyaltyTransactions: connection(listCustomerLoyaltyTransactions, {
      sort: 'CustomerLoyaltyTransactionSort',
    }),
  },
  Mutation: {
    enrolCustomer: mutation(enrolCustomer, 'loyalty', { cost: 25, payload: 'CustomerLoyaltyPayload' }),
    createLoyaltyTransaction: mutation(createLoyaltyTransaction, 'transaction', {
      payload: 'LoyaltyTransactionPayload',
    }),
    undoLoyaltyTransaction: mutation(undoLoyaltyTransaction, 'transaction', { payload: 'LoyaltyTransactionPayload' }),
    batchLoyaltyTransactions: mutation(batchLoyaltyTransactions),
  },
  Customer: {
    loyalty: related(loyaltyByCustomers, 'id'),
  },
  LoyaltyMember: {
    customer: related(customersByIds, 'customerId'),
  },
  LoyaltyTransaction: {
    customer: related(customersByIds, 'customerId'),
  },
};
