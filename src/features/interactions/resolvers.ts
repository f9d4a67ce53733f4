import { childConnection, type Resolvers, related } from '../../platform/graphql/field.ts';
import { recordResolvers } from '../../records/resolvers.ts';
import { customersByIds } from '../customers/operations.ts';
import { orderOperations } from '../orders/operations.ts';
import { interactionsOfCustomers } from './customer-operations.ts';
import { interactionOperations } from './operations.ts';

export const interactionResolvers: Resolvers = {
  ...recordResolvers('interaction', interactionOperations, {
    list: {
      cost: 5,
      example:
        '{ interactions(first: 50, kind: PHONE, occurredFrom: "2026-03-01T00:00:00Z") { nodes { id topic outcome customer { name } } pageInfo { hasNextPage endCursor } } }',
    },
  }),
  Customer: {
    interactions: childConnection(interactionsOfCustomers, interactionOperations.listOfOwner, 'customerIds', {
      cost: 5,
      description: 'The interactions of the customer. `Query.interactions` takes filters as well.',
    }),
  },
  Interaction: {
    customer: related(customersByIds, 'customerId'),
    order: related(orderOperations.byIds, 'orderId', {
      description: 'The order it is about; null without one, or if it was deleted.',
    }),
  },
};
