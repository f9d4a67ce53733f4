import type { z } from 'zod';
import { batchOf } from '../../platform/batch-items.ts';
import type { Operation } from '../../platform/operation.ts';
import { batchCustomers } from '../customers/operations.ts';
import { interactionOperations } from '../interactions/operations.ts';
import { batchLoyaltyTransactions } from '../loyalty/operations.ts';
import { orderOperations } from '../orders/operations.ts';
import { refundOperations } from '../orders/refund-operations.ts';
import { returnOperations } from '../returns/operations.ts';
import { batchSurveyResponses } from '../survey-responses/operations.ts';
import type { ImportKind } from './record.ts';

type Batch = Extract<Operation, { kind: 'write' }>;

/** The lines of a file are written by the batch of their kind: what holds for single writes and batches holds for imports. */
const batches: Record<ImportKind, Batch> = {
  customers: batchCustomers,
  orders: orderOperations.batch,
  refunds: refundOperations.batch,
  returns: returnOperations.batch,
  interactions: interactionOperations.batch,
  loyalty_transactions: batchLoyaltyTransactions,
  survey_responses: batchSurveyResponses,
};

export interface Importing {
  operation: Batch;
  /** The member of the batch that holds the items. */
  plural: string;
  /** What an item may have. */
  item: z.ZodType;
}

export function importing(kind: ImportKind): Importing {
  const operation = batches[kind];
  const batch = batchOf(operation.input.shape['body']);
  if (!batch) throw new TypeError(`${operation.name} is no batch`);
  return { operation, plural: batch.plural, item: batch.item };
}
