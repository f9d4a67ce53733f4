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
import { setLoyaltyTier } from './tier-by-hand.ts';

export const loyaltyResolvers: Resolvers = {
  Query: {
    customerLoyalty: record(getCustomerLoyalty, {
      example:
        '{ customerLoyalty(reference: { source: "shop", externalId: "17850" }, details: true) { tier active pending details { worth progress { next { key missing } } nextExpiry { at points } } } }',
    }),
    loyaltyTierChanges: connection(listTierChanges),
    loyaltyMembers: connection(listLoyaltyMembers),
    loyaltyTransaction: record(getLoyaltyTransaction),
    loyaltyTransactions: connection(listLoyaltyTransactions),
    customerLoyaltyTransactions: connection(listCustomerLoyaltyTransactions, {
      sort: 'CustomerLoyaltyTransactionSort',
    }),
  },
  Mutation: {
    enrolCustomer: mutation(enrolCustomer, 'loyalty', {
      cost: 25,
      payload: 'CustomerLoyaltyPayload',
      example:
        'mutation { enrolCustomer(idempotencyKey: "enrol-17850", reference: { source: "shop", externalId: "17850" }, input: { programmeId: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90" }) { loyalty { active tier } } }',
    }),
    setLoyaltyTier: mutation(setLoyaltyTier, 'loyalty', { cost: 25, payload: 'CustomerLoyaltyPayload' }),
    createLoyaltyTransaction: mutation(createLoyaltyTransaction, 'transaction', {
      payload: 'LoyaltyTransactionPayload',
    }),
    undoLoyaltyTransaction: mutation(undoLoyaltyTransaction, 'transaction', { payload: 'LoyaltyTransactionPayload' }),
    batchLoyaltyTransactions: mutation(batchLoyaltyTransactions),
  },
  Customer: {
    loyalty: related(loyaltyByCustomers, 'id', {
      description: 'The loyalty account of the customer now, without details; null if the customer is not a member.',
    }),
  },
  LoyaltyMember: {
    customer: related(customersByIds, 'customerId'),
  },
  LoyaltyTransaction: {
    customer: related(customersByIds, 'customerId'),
  },
};
