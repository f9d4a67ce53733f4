import { type SQL, sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { conditionGroups, type Group } from '../../records/condition-query.ts';
import { updateRows } from '../../records/table.ts';
import { type SegmentRow, type SegmentVersionRow, segments, segmentVersions } from './record.ts';

const ofIds = sql`select ${fields(segments)} from ${segments} where ${segments.id} = any(${param('ids')}::uuid[])`;
const byIds = statement<SegmentRow>('segments_by_id', ofIds);
const locking = statement<SegmentRow>('lock_segment', sql`${ofIds} for update`);
const holding = statement<SegmentRow>('hold_segments', sql`${ofIds} order by id for share`);
const insertSegment = statement('insert_segment', insertRows(segments, param('rows')));
const saveSegment = statement('save_segment', updateRows(segments, param('rows')));
const insertVersion = statement('insert_segment_version', insertRows(segmentVersions, param('rows')));
const removeSegment = statement(
  'remove_segment',
  sql`delete from ${segments} where ${segments.id} = ${param('id')}::uuid`,
);
const naming = statement<{ name: string }>(
  'segments_that_name',
  sql`select name from ${segments} where id <> ${param('id')}::uuid and strpos(filter::text, ${param('id')}::text) > 0 order by created_at limit 5`,
);

export async function segmentById(db: Db, id: string): Promise<SegmentRow | null> {
  return db.first(byIds, { ids: [id] });
}

export async function lockSegment(tx: Transaction, id: string): Promise<SegmentRow | null> {
  return tx.first(locking, { ids: [id] });
}

/** Those that a tree names cannot be deleted before it is stored. */
export async function holdSegments(tx: Transaction, ids: readonly string[]): Promise<void> {
  if (ids.length > 0) await tx.all(holding, { ids });
}

export async function insert(tx: Transaction, row: SegmentRow): Promise<void> {
  await tx.all(insertSegment, { rows: JSON.stringify([row]) });
}

export async function save(tx: Transaction, row: SegmentRow): Promise<void> {
  await tx.all(saveSegment, { rows: JSON.stringify([row]) });
}

export async function keepVersion(tx: Transaction, row: SegmentVersionRow): Promise<void> {
  await tx.all(insertVersion, { rows: JSON.stringify([row]) });
}

export async function remove(tx: Transaction, id: string): Promise<void> {
  await tx.all(removeSegment, { id });
}

/** The names of segments whose trees name this one. */
export async function usersOf(tx: Transaction, id: string): Promise<string[]> {
  return (await tx.all(naming, { id })).map(({ name }) => name);
}

/** Whether an owner was in the segment, by the stays that are kept. */
function isMember(id: string, owner: SQL, at: string | null): SQL {
  const then =
    at === null
      ? sql`m.left_at is null`
      : sql`m.entered_at <= ${at}::timestamptz and (m.left_at is null or m.left_at > ${at}::timestamptz)`;
  return sql`exists (select from segment_members m where m.segment_id = ${id}::uuid and m.customer_id = ${owner} and ${then})`;
}

export function asGroup({ id, kind, filter, keptFrom }: SegmentRow): Group {
  return {
    tree: kind === 'list' ? null : filter,
    keptFrom,
    members: (owner, at) => isMember(id, owner, at),
  };
}

conditionGroups(async (db, ids) => {
  const rows = await db.all(byIds, { ids });
  return new Map(rows.map((row) => [row.id, asGroup(row)]));
});
