import { operationsOf } from '../../records/operations.ts';
import { returnRecord } from './record.ts';
import './write.ts';

export const returnOperations = operationsOf(returnRecord, {
  createNeedsKey: true,
  texts: {
    create: {
      summary: 'Push a return that names no order',
      description:
        "Lowers its customer's net revenue on its own date and touches no order; a return of a known order is a refund of it. The customer is found as for orders.",
    },
  },
});
