import { childConnection, type Resolvers, related } from '../../platform/graphql/field.ts';
import { recordResolvers } from '../../records/resolvers.ts';
import { customersByIds } from '../customers/operations.ts';
import { orderOperations } from '../orders/operations.ts';
import { interactionsOfCustomers } from './customer-operations.ts';
import { interactionOperations } from './operations.ts';

export const interactionResolvers: Resolvers = {
  ...recordResolvers('interaction', interactionOperations),
  Customer: {
    interactions: childConnection(interactionsOfCustomers, interactionOperations.listOfOwner, 'customerIds'),
  },
  Interaction: {
    customer: related(customersByIds, 'customerId'),
    order: related(orderOperations.byIds, 'orderId'),
  },
};
