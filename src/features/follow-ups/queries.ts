import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { answered, updateRows } from '../../records/table.ts';
import { type FollowUp, type FollowUpRow, followUps } from './record.ts';

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

const update = statement('update_follow_up', updateRows(followUps, param('rows')));

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
const ofCustomers = statement<FollowUp & { place: number }>(
  'follow_ups_of_customers',
  sql`select * from (
      select ${answered(followUps)}, row_number() over (
        partition by ${followUps.customerId} order by ${followUps.createdAt} desc, ${followUps.id} desc
      ) as place
      from ${followUps} where ${followUps.customerId} = any(${param('ids')}::uuid[])
    ) f where place <= ${latest} order by place`,
);

/** The latest follow-ups of these customers, newest first. */
export async function followUpsOfCustomers(db: Db, ids: string[]): Promise<FollowUp[]> {
  return (await db.all(ofCustomers, { ids })).map(({ place: _, ...row }) => row);
}
