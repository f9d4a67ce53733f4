import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import type { LinkTokens } from '../../platform/link-token.ts';
import { answeredMembers, updateRows } from '../../records/table.ts';
import type { ConsentStatus } from '../consents/record.ts';
import { isTouch } from '../interactions/record.ts';
import { invitationFields, type SentInvitation, type SurveyInvitation, surveyInvitations } from './record.ts';

export type InvitationRow = typeof surveyInvitations.$inferSelect;

/** The select list of an invitation; for `invitationNow`. */
export const invitationColumns = fields(surveyInvitations);

/** Its status as it is now: nobody has to note the end of a link. */
export const statusNow = sql`case when ${surveyInvitations.status} = 'sent' and ${surveyInvitations.expiresAt} <= ${param('$now')}::timestamptz then 'expired' else ${surveyInvitations.status} end`;

/** As it is answered: with its status now. */
export function invitationNow(row: InvitationRow, now: string): SurveyInvitation {
  return {
    ...answeredMembers(invitationFields, row),
    status: row.status === 'sent' && hasEnded(row, now) ? 'expired' : row.status,
  };
}

/** Whether its link works no more. Ends are whole milliseconds. */
export function hasEnded({ expiresAt }: Pick<InvitationRow, 'expiresAt'>, now: string): boolean {
  return expiresAt !== null && Date.parse(expiresAt) <= Date.parse(now);
}

/** A sent invitation with its link. */
export function withLink(links: LinkTokens, row: InvitationRow, now: string): SentInvitation {
  const token = links.issue({ id: row.id, expiresAt: Date.parse(row.expiresAt ?? now) });
  return { invitation: invitationNow(row, now), token, path: `/v1/survey-links/${token}` };
}

const byId = statement<InvitationRow>(
  'survey_invitation_by_id',
  sql`select ${invitationColumns} from ${surveyInvitations} where ${surveyInvitations.id} = ${param('id')}::uuid`,
);

export function invitationById(db: Db, id: string): Promise<InvitationRow | null> {
  return db.first(byId, { id });
}

const insert = statement('insert_survey_invitations', insertRows(surveyInvitations, param('rows')));

/** New invitations of locked customers. */
export async function insertInvitations(tx: Transaction, rows: InvitationRow[]): Promise<void> {
  await tx.all(insert, { rows: JSON.stringify(rows) });
}

const update = statement('update_survey_invitations', updateRows(surveyInvitations, param('rows')));

/** Changed invitations of locked customers. */
export async function updateInvitations(tx: Transaction, rows: InvitationRow[]): Promise<void> {
  if (rows.length > 0) await tx.all(update, { rows: JSON.stringify(rows) });
}

export interface Contacts {
  customerId: string;
  /** When the customer was last sent an invitation. */
  invitedAt: string | null;
  /** When the customer last answered. */
  answeredAt: string | null;
  /** What is in force: purpose, channel (`*`: all others), status. */
  consents: [purpose: string, channel: string, status: ConsentStatus][] | null;
  erased: boolean;
}

const contacts = statement<Contacts>(
  'survey_contacts',
  sql`select c.id as "customerId",
      (select max(i.sent_at) from survey_invitations i where i.customer_id = c.id and i.sent_at is not null) as "invitedAt",
      (select max(r.answered_at) from survey_responses r where r.customer_id = c.id) as "answeredAt",
      (select json_agg(json_build_array(s.purpose, s.channel, s.status)) from consents s where s.customer_id = c.id) as consents,
      c.erased_at is not null as erased
    from customers c where c.id = any(${param('ids')}::uuid[])`,
);

/** When customers were last asked or answered, by any survey, and what they agree to: what counts when they are locked. */
export async function contactsOf(tx: Transaction, ids: string[]): Promise<Map<string, Contacts>> {
  const rows = await tx.all(contacts, { ids: [...new Set(ids)] });
  return new Map(rows.map((row) => [row.customerId, row]));
}

const pick = statement<{ id: string; customerId: string }>(
  'pick_due_invitations',
  sql`select i.id, i.customer_id as "customerId" from survey_invitations i join customers c on c.id = i.customer_id
    where i.status = 'due' and i.due_at <= ${param('now')}::timestamptz
      and (${param('surveyId')}::uuid is null or i.survey_id = ${param('surveyId')}::uuid)
      and (${param('channel')}::text is null or i.channel = ${param('channel')}::text)
    order by i.due_at, i.id limit ${param('limit')}::int for no key update of c skip locked`,
);

export interface Picked {
  now: string;
  surveyId: string | null;
  channel: string | null;
  limit: number;
}

/**
 * The first that are due, and the locks of their customers. Customers that somebody else has locked are passed over:
 * two senders take different ones, and nobody waits. Read again what is found; it may be older than the lock.
 */
export function pickDue(tx: Transaction, which: Picked): Promise<{ id: string; customerId: string }[]> {
  return tx.all(pick, { ...which });
}

/** An invitation that is due, and whether what triggered it is no longer there to ask about. */
export type DueRow = InvitationRow & { occasionGone: boolean };

const lacks = (table: string, id: string, condition = sql`true`) =>
  sql`not exists (select from ${sql.raw(table)} f where f.customer_id = ${surveyInvitations.customerId} and f.id = ${sql.raw(id)} and ${condition})`;

const stillDue = statement<DueRow>(
  'still_due_invitations',
  sql`select ${invitationColumns}, case
      when trigger like 'order!_%' escape '!' then ${lacks('orders', 'order_id', sql`f.cancelled_at is null and not f.test`)}
      when trigger = 'interaction_occurred' then ${lacks('interactions', 'interaction_id', isTouch)}
      when trigger = 'return_received' then ${lacks('returns', 'occasion::uuid')}
      else false end as "occasionGone"
    from ${surveyInvitations} where customer_id = any(${param('customerIds')}::uuid[]) and id = any(${param('ids')}::uuid[])
      and status = 'due' and due_at <= ${param('now')}::timestamptz
    order by due_at, id`,
);

export function dueAmong(
  tx: Transaction,
  picked: { id: string; customerId: string }[],
  now: string,
): Promise<DueRow[]> {
  return tx.all(stillDue, {
    ids: picked.map(({ id }) => id),
    customerIds: [...new Set(picked.map(({ customerId }) => customerId))],
    now,
  });
}
