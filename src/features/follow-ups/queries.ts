import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, rowsOf, statement, type Transaction } from '../../platform/db/client.ts';
import { dueOrder, type FollowUp, followUps } from './model.ts';

export type FollowUpRow = typeof followUps.$inferSelect;
/** A row of the list, with what due dates are ordered by. */
export type FollowUpRecord = FollowUpRow & { dueOrder: string };

/** The select list of a follow-up in a list; for `toFollowUp`. */
export const followUpColumns = sql`${fields(followUps)}, ${dueOrder} as "dueOrder"`;

export function toFollowUp(row: FollowUpRow): FollowUp {
  return {
    id: row.id,
    customerId: row.customerId,
    kind: row.kind,
    reason: row.reason,
    responseId: row.responseId,
    owner: row.owner,
    dueAt: row.dueAt,
    status: row.status,
    outcome: row.outcome,
    note: row.note,
    closedAt: row.closedAt,
    version: row.version,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
  };
}

const byId = statement<FollowUpRow>(
  'follow_up',
  sql`select ${fields(followUps)} from ${followUps} where ${followUps.id} = ${param('id')}::uuid`,
);

export function followUpById(db: Db, id: string): Promise<FollowUpRow | null> {
  return db.first(byId, { id });
}

const insert = statement('insert_follow_ups', insertRows(followUps, param('rows')));

/** New follow-ups of locked customers. */
export async function insertFollowUps(tx: Transaction, rows: FollowUpRow[]): Promise<void> {
  await tx.all(insert, { rows: JSON.stringify(rows) });
}

const update = statement(
  'update_follow_up',
  sql`update follow_ups f set version = n."version", reason = n."reason", owner = n."owner", due_at = n."dueAt", status = n."status",
      outcome = n."outcome", note = n."note", closed_at = n."closedAt", updated_at = n."updatedAt"
    from ${rowsOf(followUps, param('rows'), 'n')} where f.customer_id = n."customerId" and f.id = n."id"`,
);

export async function updateFollowUpRow(tx: Transaction, row: FollowUpRow): Promise<void> {
  await tx.all(update, { rows: JSON.stringify([row]) });
}

const remove = statement(
  'delete_follow_up',
  sql`delete from follow_ups where customer_id = ${param('customerId')}::uuid and id = ${param('id')}::uuid`,
);

export async function deleteFollowUpRow(tx: Transaction, row: { customerId: string; id: string }): Promise<void> {
  await tx.all(remove, { customerId: row.customerId, id: row.id });
}

/** Follow-ups that come with a customer, at most; the rest is on the pages of the list. */
const latest = sql.raw('100');

// By row_number(): the distributed engine refuses a lateral top-N.
const ofCustomers = statement<FollowUpRow>(
  'follow_ups_of_customers',
  sql`select * from (
      select ${fields(followUps)}, row_number() over (
        partition by ${followUps.customerId} order by ${followUps.createdAt} desc, ${followUps.id} desc
      ) as place
      from ${followUps} where ${followUps.customerId} = any(${param('ids')}::uuid[])
    ) f where place <= ${latest} order by place`,
);

/** The latest follow-ups of these customers, newest first. */
export function followUpsOfCustomers(db: Db, ids: string[]): Promise<FollowUpRow[]> {
  return db.all(ofCustomers, { ids });
}
