import { operationsOf } from '../../records/operations.ts';
import { returnRecord } from './record.ts';
import './write.ts';

export const returnOperations = operationsOf(returnRecord, {
  createNeedsKey: true,
  texts: {
    create: {
      summary: 'Push a return without an order',
      description:
        "Lowers its customer's net revenue on its own date and changes no order. If you know the order, push a refund of it instead. The customer is matched as for orders.",
    },
  },
});
