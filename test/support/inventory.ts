import { getTableName } from 'drizzle-orm';
import type pg from 'pg';
import { ownedTables } from '../../src/records/personal-data.ts';
import { columnNamed, type StoredTable } from '../../src/records/table.ts';

/**
 * Everything that is held of these customers: rows of every table of theirs, by its name, each as JSON in the order of its key,
 * without their versions and `updated_at`, which rise with every change.
 */
export type Dump = Record<string, Record<string, unknown>[]>;

const stamps = ['version', 'updated_at'];
// Bounds of scores are of when they were written: what they may be is `wrongBounds`.
const ofItsTime: Record<string, string[]> = { scoreBounds: ['bound', 'bound_at'] };
const ofMerges = new Set(['merges', 'aliases']);

export async function dumpOf(database: pg.ClientBase, customers: readonly string[]): Promise<Dump> {
  const dump: Dump = {};
  for (const { name, table, key, owner } of ownedTables()) {
    if (ofMerges.has(name)) continue;
    const columns = key.map((member) => columnNamed(table, member).name);
    const { rows } = await database.query<{ row: Record<string, unknown> }>(
      `select to_jsonb(x) as row from ${getTableName(table)} x
       where ${columnNamed(table, owner ?? '').name} = any($1::uuid[]) order by ${columns.join(', ')}`,
      [customers],
    );
    dump[name] = rows.map(({ row }) => {
      for (const column of [...stamps, ...(ofItsTime[name] ?? [])]) delete row[column];
      return row;
    });
  }
  return dump;
}

/** Members that tell something of a person, by the definition. */
export function personalMembers({ fields }: StoredTable): string[] {
  return Object.entries(fields).flatMap(([member, { spec }]) => (spec.personal === null ? [] : [member]));
}
