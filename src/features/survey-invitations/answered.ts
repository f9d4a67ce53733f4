import type { Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import type { surveyResponses } from '../survey-responses/model.ts';

/** What of a response decides about the invitation it answers. */
export type AnsweringResponse = Pick<
  typeof surveyResponses.$inferSelect,
  'id' | 'customerId' | 'surveyId' | 'invitationId' | 'status' | 'answeredAt'
>;

/**
 * Marks the invitations of these responses as answered, those that name one; the others are left alone. Called in the
 * responses' transaction, under their customers' locks, after the responses were written. One statement at most.
 */
export async function noteAnswered(
  _tx: Transaction,
  _context: Context,
  _responses: readonly AnsweringResponse[],
): Promise<void> {}
