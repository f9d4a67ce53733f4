import { route } from '../../platform/http/rest.ts';
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
  undoLoyaltyTransaction,
} from './operations.ts';
import { setLoyaltyTier } from './tier-by-hand.ts';

// Points become active and expire while the version stays.
const live = { conditional: false };
const transactions = { collection: '/v1/loyalty/transactions' };

export const loyaltyRoutes = [
  route('GET', '/v1/customers/:id/loyalty', getCustomerLoyalty, live),
  route('POST', '/v1/customers/:id/loyalty', enrolCustomer),
  route('PUT', '/v1/customers/:id/loyalty/tier', setLoyaltyTier),
  route('GET', '/v1/customers/:id/loyalty/tier-changes', listTierChanges),
  route('GET', '/v1/customers/:id/loyalty/transactions', listCustomerLoyaltyTransactions),
  route('GET', '/v1/customers/external/:source/:externalId/loyalty', getCustomerLoyalty, live),
  route('POST', '/v1/customers/external/:source/:externalId/loyalty', enrolCustomer),
  route('PUT', '/v1/customers/external/:source/:externalId/loyalty/tier', setLoyaltyTier),
  route('GET', '/v1/customers/external/:source/:externalId/loyalty/tier-changes', listTierChanges),
  route('GET', '/v1/customers/external/:source/:externalId/loyalty/transactions', listCustomerLoyaltyTransactions),
  route('GET', '/v1/loyalty/members', listLoyaltyMembers),
  route('GET', '/v1/loyalty/transactions', listLoyaltyTransactions),
  route('POST', '/v1/loyalty/transactions', createLoyaltyTransaction, transactions),
  route('POST', '/v1/loyalty/transactions/batch', batchLoyaltyTransactions),
  route('GET', '/v1/loyalty/transactions/:id', getLoyaltyTransaction),
  route('POST', '/v1/loyalty/transactions/:id/undo', undoLoyaltyTransaction, transactions),
];
