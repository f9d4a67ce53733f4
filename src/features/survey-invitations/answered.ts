import { sql } from 'drizzle-orm';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { raiseStamps } from '../../records/stamps.ts';
import type { surveyResponses } from '../survey-responses/record.ts';

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
  tx: Transaction,
  context: Context,
  responses: readonly AnsweringResponse[],
): Promise<void> {
  const answers = responses.flatMap(({ id, customerId, invitationId }) =>
    customerId === null || invitationId === null ? [] : [{ id: invitationId, customerId, responseId: id }],
  );
  if (answers.length > 0) await tx.all(mark, { rows: JSON.stringify(answers), now: context.now });
}

// A response that is changed later answers what it has answered already.
const mark = statement(
  'note_answered_invitations',
  sql`update survey_invitations i set status = 'answered', response_id = n."responseId", ${raiseStamps('i')}
    from json_to_recordset(${param('rows')}::json) as n("id" uuid, "customerId" uuid, "responseId" uuid)
    where i.customer_id = n."customerId" and i.id = n."id" and i.status <> 'answered'`,
);
