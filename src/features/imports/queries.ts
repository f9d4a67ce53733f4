import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { type ImportStatus, importBlocks, importErrors, imports } from './record.ts';

export type ImportRow = typeof imports.$inferSelect;
export type BlockRow = typeof importBlocks.$inferSelect;
export type ErrorRow = typeof importErrors.$inferSelect;

const columns = fields(imports);
const one = sql`${imports.id} = ${param('id')}::uuid`;

const byId = statement<ImportRow>('import', sql`select ${columns} from ${imports} where ${one}`);
const locked = statement<ImportRow>(
  'lock_import',
  sql`select ${columns} from ${imports} where ${one} for no key update`,
);
const added = statement('insert_import', insertRows(imports, param('rows')));

export function getImport(db: Db, id: string): Promise<ImportRow | null> {
  return db.first(byId, { id });
}

export function lockImport(tx: Transaction, id: string): Promise<ImportRow | null> {
  return tx.first(locked, { id });
}

export async function insertImport(tx: Transaction, row: ImportRow): Promise<void> {
  await tx.all(added, { rows: JSON.stringify([row]) });
}

const stamps = sql`version = version + 1, updated_at = greatest(updated_at, ${param('now')}::timestamptz)`;

const header = statement(
  'import_columns',
  sql`update imports set columns = ${param('columns')}::jsonb, ${stamps} where id = ${param('id')}::uuid`,
);

export async function saveColumns(tx: Transaction, id: string, found: (string | null)[], now: string): Promise<void> {
  await tx.all(header, { id, columns: JSON.stringify(found), now });
}

const newBlock = statement('insert_import_block', insertRows(importBlocks, param('blocks')));
const newErrors = statement('insert_import_errors', insertRows(importErrors, param('errors')));

export async function insertBlock(tx: Transaction, block: BlockRow): Promise<void> {
  await tx.all(newBlock, { blocks: JSON.stringify([block]) });
}

export async function insertErrors(tx: Transaction, errors: readonly ErrorRow[]): Promise<void> {
  if (errors.length > 0) await tx.all(newErrors, { errors: JSON.stringify(errors) });
}

const received = statement<{ id: string }>(
  'note_received',
  sql`update imports set lines = lines + ${param('lines')}::bigint, bytes = ${param('bytes')}::bigint, failed = failed + ${param('failed')}::bigint,
      done = done + ${param('failed')}::bigint, ${stamps}
    where id = ${param('id')}::uuid and status = 'receiving' returning id`,
);

/** @returns whether the upload is still wanted */
export async function noteReceived(
  tx: Transaction,
  noted: { id: string; lines: number; bytes: number; failed: number; now: string },
): Promise<boolean> {
  return (await tx.first(received, noted)) !== null;
}

export interface Outcomes {
  created: number;
  updated: number;
  unchanged: number;
  stale: number;
  failed: number;
}

const done = statement<{ id: string }>(
  'note_imported',
  sql`update imports set created = created + ${param('created')}::bigint, updated = updated + ${param('updated')}::bigint,
      unchanged = unchanged + ${param('unchanged')}::bigint, stale = stale + ${param('stale')}::bigint, failed = failed + ${param('failed')}::bigint,
      done = done + ${param('created')}::bigint + ${param('updated')}::bigint + ${param('unchanged')}::bigint + ${param('stale')}::bigint + ${param('failed')}::bigint,
      status = 'running', ${stamps}
    where id = ${param('id')}::uuid and status in ('queued', 'running') returning id`,
);

/** @returns whether the import is still wanted */
export async function noteOutcomes(tx: Transaction, id: string, outcomes: Outcomes, now: string): Promise<boolean> {
  return (await tx.first(done, { id, ...outcomes, now })) !== null;
}

const nextBlocks = statement<BlockRow>(
  'next_import_block',
  sql`select ${fields(importBlocks)} from ${importBlocks} where ${importBlocks.importId} = ${param('id')}::uuid
      and ${importBlocks.block} > ${param('after')}::int order by ${importBlocks.block} limit 1`,
);
const takenBlock = statement<{ block: number }>(
  'take_import_block',
  sql`delete from import_blocks where import_id = ${param('id')}::uuid and block = ${param('block')}::int returning block`,
);
const allBlocks = statement(
  'drop_import_blocks',
  sql`delete from import_blocks where import_id = ${param('id')}::uuid`,
);

export function nextBlock(db: Db, id: string, after: number): Promise<BlockRow | null> {
  return db.first(nextBlocks, { id, after });
}

/** Whoever takes a block writes it in this transaction. @returns whether it was still there */
export async function takeBlock(tx: Transaction, id: string, block: number): Promise<boolean> {
  return (await tx.first(takenBlock, { id, block })) !== null;
}

const status = statement<ImportRow>(
  'set_import_status',
  sql`update ${imports} set status = ${param('status')}, failure = ${param('failure')}::jsonb, ${stamps},
      received_at = case when ${param('status')} = 'queued' then ${param('now')}::timestamptz else received_at end,
      finished_at = case when ${param('status')} in ('queued', 'running') then null else ${param('now')}::timestamptz end
    where id = ${param('id')}::uuid and status = any(${param('from')}::text[]) returning ${columns}`,
);

/** Statuses in which something is still to be done. */
export const unfinished: readonly ImportStatus[] = ['receiving', 'queued', 'running'];

/** What was uploaded goes when nothing is to be done any more. @returns null: it was in none of the statuses `from` */
export async function setStatus(
  tx: Transaction,
  id: string,
  next: { status: ImportStatus; from: readonly ImportStatus[]; failure?: ImportRow['failure']; now: string },
): Promise<ImportRow | null> {
  const { from, failure = null, now } = next;
  const row = await tx.first(status, {
    id,
    status: next.status,
    from: [...from],
    failure: failure && JSON.stringify(failure),
    now,
  });
  if (row && !unfinished.includes(next.status)) await tx.all(allBlocks, { id });
  return row;
}

const expiredImports = statement<{ id: string; code: string }>(
  'expired_imports',
  sql`select id, case when status = 'receiving' then 'upload_incomplete' else 'expired' end as code from imports
    where finished_at is null and (created_at < ${param('uploadedBefore')}::timestamptz
      or (status = 'receiving' and updated_at < ${param('heardBefore')}::timestamptz))`,
);
const oldErrors = statement<{ gone: number }>(
  'forget_import_errors',
  sql`with gone as (delete from import_errors where ctid in (select e.ctid from import_errors e join imports i on i.id = e.import_id
      where i.finished_at < ${param('before')}::timestamptz limit 5000) returning 1) select count(*) as gone from gone`,
);

export function importsToEnd(
  db: Db,
  edges: { uploadedBefore: string; heardBefore: string },
): Promise<{ id: string; code: string }[]> {
  return db.all(expiredImports, edges);
}

export async function forgetErrors(db: Db, before: string): Promise<void> {
  while (((await db.first(oldErrors, { before }))?.gone ?? 0) >= 5_000);
}
