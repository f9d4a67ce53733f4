import type { Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import type { surveyAnswers } from '../survey-responses/model.ts';

/** A response as it was just written, with what decides whether somebody has to see to it. */
export interface WrittenResponse {
  id: string;
  /** Null: anonymous, nobody to call back. */
  customerId: string | null;
  /** `settings.followUp` of its survey; null: this survey opens none. */
  followUp: { withinDays: number; owner?: string | null | undefined } | null;
  answers: readonly Pick<typeof surveyAnswers.$inferSelect, 'type' | 'primary' | 'counted' | 'band'>[];
}

/**
 * Opens a follow-up `detractor` for every response of a known customer whose counted answer to the primary nps question
 * is a detractor's, unless its survey opens none or the response has one. Called in the responses' transaction, under
 * their customers' locks, after the responses were written. No statement without a detractor.
 */
export async function openDetractorFollowUps(
  _tx: Transaction,
  _context: Context,
  _responses: readonly WrittenResponse[],
): Promise<void> {}
