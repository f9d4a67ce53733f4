import type { Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { nextStamps } from '../../records/stamps.ts';
import { surveysByIds } from '../surveys/queries.ts';
import { daysAfter, judge } from './eligibility.ts';
import { planDue } from './planning.ts';
import { contactsOf, dueAmong, type InvitationRow, pickDue, updateInvitations } from './queries.ts';

/** Looks at the queue in one claim, at most: those that are due may all have been asked of late. */
const rounds = 10;
/** Invitations looked at in a round, at least. */
const leastLook = 100;

export interface Claim {
  limit: number;
  surveyId: string | null;
  channel: string | null;
}

/** An invitation as it is marked when it is handed out. */
export function sent(row: InvitationRow, now: string, linkDays: number): InvitationRow {
  return {
    ...row,
    status: 'sent',
    sentAt: now,
    expiresAt: daysAfter(now, linkDays),
    ...nextStamps(row, now),
  };
}

/**
 * Takes what is due and may be sent now, under the locks of the customers: each goes to one claim only, and nobody is
 * asked twice within the days of the survey, whoever claims at the same time. What may not be sent is put off until it
 * may, or ends: its survey is closed, what it asks about is gone, or it waited longer than a link lives.
 */
export async function claim(
  tx: Transaction,
  { now }: Context,
  { limit, surveyId, channel }: Claim,
): Promise<{ rows: InvitationRow[]; hasMore: boolean }> {
  let hasMore = await planDue(tx, now, surveyId);
  const taken: InvitationRow[] = [];
  const asked = new Set<string>();
  for (let round = 0; round < rounds; round += 1) {
    const look = Math.max(limit - taken.length, leastLook);
    const picked = await pickDue(tx, { now, surveyId, channel, limit: look });
    if (picked.length === 0) return { rows: taken, hasMore };
    const due = await dueAmong(tx, picked, now);
    const [contacts, surveys] = await Promise.all([
      contactsOf(
        tx,
        due.map(({ customerId }) => customerId),
      ),
      surveysByIds(
        tx,
        due.map((row) => row.surveyId),
      ),
    ]);
    const changed: InvitationRow[] = [];
    for (const { occasionGone, ...row } of due) {
      const survey = surveys.get(row.surveyId);
      const known = contacts.get(row.customerId);
      if (!survey || !known) throw new Error('An invitation lacks its survey or customer');
      const contact = asked.has(row.customerId) ? { ...known, invitedAt: now } : known;
      const { reasons, nextEligibleAt } = judge(survey, contact, { now, channel: row.channel });
      const eligible = reasons.length === 0 && !occasionGone;
      if (eligible && taken.length === limit) {
        hasMore = true;
        continue;
      }
      const next = eligible
        ? sent(row, now, survey.settings.linkDays)
        : putOff(row, { occasionGone, until: nextEligibleAt }, survey.settings.linkDays, now);
      changed.push(next);
      if (!eligible) continue;
      taken.push(next);
      asked.add(row.customerId);
    }
    await updateInvitations(tx, changed);
    if (taken.length === limit) return { rows: taken, hasMore: hasMore || picked.length === look };
    if (picked.length < look) return { rows: taken, hasMore };
  }
  return { rows: taken, hasMore: true };
}

function putOff(
  row: InvitationRow,
  { occasionGone, until }: { occasionGone: boolean; until: string | null },
  linkDays: number,
  now: string,
): InvitationRow {
  const changed = { ...row, ...nextStamps(row, now) };
  if (occasionGone) return { ...changed, status: 'cancelled' };
  if (until === null || Date.parse(until) > Date.parse(daysAfter(row.createdAt, linkDays)))
    return { ...changed, status: 'expired' };
  return { ...changed, dueAt: until };
}
