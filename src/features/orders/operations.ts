import { operationsOf } from '../../records/operations.ts';
import { orderRecord } from './record.ts';
import './write.ts';

export const orderOperations = operationsOf(orderRecord, {
  createNeedsKey: true,
  texts: {
    create: {
      summary: 'Push an order',
      description:
        'Finds or creates the customer by reference, then e-mail, then phone. If these point to different customers, the reference wins, nothing is moved, and `warnings` says so. An existing reference is refused with `already_exists` and the id of its record; use PUT (GraphQL: upsert) to change that record. A customer token can only place orders that are `pending` and `unfulfilled`, with references, e-mails and phones that the customer has already.',
    },
    update: {
      description:
        'Omitted members keep their values; null clears; `items` are replaced as a whole; sending another customer moves the order, which scoped tokens may not do. A customer token may change the `channel`, and cancel an order that is neither paid nor on its way.',
    },
    upsert: {
      description:
        'Omitted members are cleared; refunds stay. An equal or older `sourceVersion` changes nothing and returns `applied: false`. If you send another customer, the order moves there.',
    },
    delete: {
      description:
        'With its items and refunds. The references are kept as tombstones, so that a late message does not create it again.',
    },
    batch: {
      description:
        'Each item is an upsert by reference, in index order. The status is always 200, with a result per item. Rows that differ only in their reference are different orders.',
    },
  },
});
