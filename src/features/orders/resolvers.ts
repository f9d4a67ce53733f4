import {
  childConnection,
  children,
  connection,
  mutation,
  type Resolvers,
  related,
} from '../../platform/graphql/field.ts';
import { recordResolvers } from '../../records/resolvers.ts';
import { customersByIds } from '../customers/operations.ts';
import { ordersOfCustomers } from './customer-operations.ts';
import { orderOperations } from './operations.ts';
import { createRefund, refundOperations, refundsByOrders } from './refund-operations.ts';

const ofOrder = { orderId: 'id', orderReference: 'reference' };
const { Query, Mutation } = recordResolvers('order', orderOperations, {
  list: {
    example:
      '{ orders(first: 50, status: PAID, placedFrom: "2026-03-01T00:00:00Z") { nodes { id total currency } pageInfo { hasNextPage endCursor } } }',
  },
  batch: {
    example:
      'mutation ($orders: [OrderInput!]!) { batchOrders(orders: $orders) { results { index status id error { code detail } } } }',
  },
});

const { list: listAllRefunds, ...otherOperations } = refundOperations;
const refunds = recordResolvers('refund', otherOperations);

export const orderResolvers: Resolvers = {
  Query: { ...Query, ...refunds.Query, refunds: connection(listAllRefunds) },
  Mutation: {
    ...Mutation,
    ...refunds.Mutation,
    createRefund: mutation(createRefund, 'refund', { names: ofOrder }),
  },
  Customer: {
    orders: childConnection(ordersOfCustomers, orderOperations.listOfOwner, 'customerIds', {
      description: 'The orders of the customer. `Query.orders` takes filters as well.',
    }),
  },
  Order: {
    customer: related(customersByIds, 'customerId'),
    refunds: children(
      refundsByOrders,
      ({ id, customerId }: { id: string; customerId: string | null }) => ({ id, customerId }),
      (orders) => ({ orders }),
      { description: 'Oldest first.' },
    ),
  },
};
