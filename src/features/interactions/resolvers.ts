import {
  childConnection,
  connection,
  mutation,
  type Resolvers,
  record,
  related,
} from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import { ordersByIds } from '../orders/operations.ts';
import { interactionsOfCustomers } from './customer-operations.ts';
import {
  batchInteractions,
  createInteraction,
  deleteInteraction,
  getInteraction,
  listCustomerInteractions,
  listInteractions,
  updateInteraction,
  upsertInteraction,
} from './operations.ts';

export const interactionResolvers: Resolvers = {
  Query: {
    interaction: record(getInteraction),
    interactions: connection(listInteractions, { cost: 5 }),
  },
  Mutation: {
    createInteraction: mutation(createInteraction, 'interaction'),
    updateInteraction: mutation(updateInteraction, 'interaction'),
    upsertInteraction: mutation(upsertInteraction, 'interaction'),
    deleteInteraction: mutation(deleteInteraction),
    batchInteractions: mutation(batchInteractions),
  },
  Customer: {
    interactions: childConnection(interactionsOfCustomers, listCustomerInteractions, 'customerIds', { cost: 5 }),
  },
  Interaction: {
    customer: related(customersByIds, 'customerId'),
    order: related(ordersByIds, 'orderId'),
  },
};
