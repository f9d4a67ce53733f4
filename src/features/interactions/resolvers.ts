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
    interactions: connection(listInteractions, {
      cost: 5,
      example:
        '{ interactions(first: 50, kind: PHONE, occurredFrom: "2026-03-01T00:00:00Z") { nodes { id topic outcome customer { name } } pageInfo { hasNextPage endCursor } } }',
    }),
  },
  Mutation: {
    createInteraction: mutation(createInteraction, 'interaction'),
    updateInteraction: mutation(updateInteraction, 'interaction'),
    upsertInteraction: mutation(upsertInteraction, 'interaction'),
    deleteInteraction: mutation(deleteInteraction),
    batchInteractions: mutation(batchInteractions),
  },
  Customer: {
    interactions: childConnection(interactionsOfCustomers, listCustomerInteractions, 'customerIds', {
      cost: 5,
      description: 'The interactions of the customer. `Query.interactions` takes filters as well.',
    }),
  },
  Interaction: {
    customer: related(customersByIds, 'customerId'),
    order: related(ordersByIds, 'orderId', {
      description: 'The order it is about; null without one, and where it is gone.',
    }),
  },
};
