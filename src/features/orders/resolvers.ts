import {
  childConnection,
  children,
  connection,
  mutation,
  type Resolvers,
  record,
  related,
} from '../../platform/graphql/field.ts';
import { recordResolvers } from '../../records/resolvers.ts';
import { customersByIds } from '../customers/operations.ts';
import { ordersOfCustomers } from './customer-operations.ts';
import { orderOperations } from './operations.ts';
import { createRefund, deleteRefund, getRefund, listRefunds, refundsByOrders } from './refund-operations.ts';

const ofOrder = { orderId: 'id', orderReference: 'reference' };
const { Query, Mutation } = recordResolvers('order', orderOperations);

export const orderResolvers: Resolvers = {
  Query: {
    ...Query,
    refund: record(getRefund),
    refunds: connection(listRefunds, ofOrder),
  },
  Mutation: {
    ...Mutation,
    createRefund: mutation(createRefund, 'refund', ofOrder),
    deleteRefund: mutation(deleteRefund),
  },
  Customer: {
    orders: childConnection(ordersOfCustomers, orderOperations.listOfOwner, 'customerIds'),
  },
  Order: {
    customer: related(customersByIds, 'customerId'),
    refunds: children(
      refundsByOrders,
      ({ id, customerId }: { id: string; customerId: string }) => ({ id, customerId }),
      (orders) => ({ orders }),
    ),
  },
};
