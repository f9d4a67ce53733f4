import {
  childConnection,
  children,
  connection,
  mutation,
  type Resolvers,
  record,
  related,
} from '../../platform/graphql/field.ts';
import { customersByIds } from '../customers/operations.ts';
import { ordersOfCustomers } from './customer-operations.ts';
import {
  batchOrders,
  createOrder,
  deleteOrder,
  getOrder,
  listCustomerOrders,
  listOrders,
  updateOrder,
  upsertOrder,
} from './operations.ts';
import { createRefund, deleteRefund, getRefund, listRefunds, refundsByOrders } from './refund-operations.ts';

const ofOrder = { orderId: 'id', orderReference: 'reference' };

export const orderResolvers: Resolvers = {
  Query: {
    order: record(getOrder),
    orders: connection(listOrders),
    refund: record(getRefund),
    refunds: connection(listRefunds, { names: ofOrder }),
  },
  Mutation: {
    createOrder: mutation(createOrder, 'order'),
    updateOrder: mutation(updateOrder, 'order'),
    upsertOrder: mutation(upsertOrder, 'order'),
    deleteOrder: mutation(deleteOrder),
    batchOrders: mutation(batchOrders),
    createRefund: mutation(createRefund, 'refund', { names: ofOrder }),
    deleteRefund: mutation(deleteRefund),
  },
  Customer: {
    orders: childConnection(ordersOfCustomers, listCustomerOrders, 'customerIds'),
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
