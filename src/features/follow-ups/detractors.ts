import { sql } from 'drizzle-orm';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { isErased } from '../../records/erased.ts';
import { type Chosen, chooseOwners, recordAssignments } from '../assignments/assign.ts';
import { subjectsOf } from '../assignments/queries.ts';
import type { surveyAnswers } from '../survey-responses/record.ts';
import { insertFollowUps } from './queries.ts';
import type { FollowUp } from './record.ts';

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
  tx: Transaction,
  context: Context,
  responses: readonly WrittenResponse[],
): Promise<void> {
  const wanted = responses.flatMap((response) => {
    const { id, customerId, followUp } = response;
    // Of an erased person there is nobody to call.
    if (isErased(tx, customerId)) return [];
    return customerId !== null && followUp !== null && isDetractor(response) ? [{ id, customerId, followUp }] : [];
  });
  if (wanted.length === 0) return;
  const known = await tx.all(existing, {
    customerIds: wanted.map(({ customerId }) => customerId),
    responseIds: wanted.map(({ id }) => id),
  });
  const have = new Set(known.map(({ responseId }) => responseId));
  const news = wanted.filter(({ id }) => !have.has(id));
  // A turn that is taken is used up: rules are asked for those only that nobody is named for.
  const unowned = news.filter(({ followUp }) => !followUp.owner);
  const chosenFor = await chooseFor(tx, unowned);
  const rows = news.map(
    ({ id, customerId, followUp }): FollowUp => ({
      customerId,
      id: newId(),
      version: 1,
      kind: 'detractor',
      reason: null,
      responseId: id,
      owner: followUp.owner ?? chosenFor.get(id)?.owner ?? null,
      dueAt: new Date(Date.parse(context.now) + followUp.withinDays * day).toISOString(),
      status: 'open',
      outcome: null,
      note: null,
      attributes: null,
      tags: null,
      closedAt: null,
      createdAt: context.now,
      updatedAt: context.now,
    }),
  );
  if (rows.length === 0) return;
  await insertFollowUps(tx, rows);
  await recordAssignments(
    tx,
    context,
    rows.map((row) => ({
      customerId: row.customerId,
      purpose: 'detractor',
      followUpId: row.id,
      owner: row.owner,
      previousOwner: null,
      chosen: (row.responseId && chosenFor.get(row.responseId)) || null,
    })),
  );
}

const day = 86_400_000;

async function chooseFor(
  tx: Transaction,
  responses: readonly { id: string; customerId: string }[],
): Promise<Map<string, Chosen | null>> {
  if (responses.length === 0) return new Map();
  const found = await subjectsOf(tx, [...new Set(responses.map(({ customerId }) => customerId))]);
  const subjects = new Map(found.map((subject) => [subject.customerId, subject]));
  const asked = responses.filter(({ customerId }) => subjects.has(customerId));
  const owners = await chooseOwners(
    tx,
    'detractor',
    asked.flatMap(({ customerId }) => subjects.get(customerId) ?? []),
  );
  return new Map(asked.map(({ id }, i) => [id, owners[i] ?? null]));
}

function isDetractor({ answers }: WrittenResponse): boolean {
  return answers.some(({ type, primary, counted, band }) => type === 'nps' && primary && counted && band === -1);
}

const existing = statement<{ responseId: string }>(
  'follow_ups_of_responses',
  sql`select response_id as "responseId" from follow_ups
    where customer_id = any(${param('customerIds')}::uuid[]) and response_id = any(${param('responseIds')}::uuid[])`,
);
