import { getTableName } from 'drizzle-orm';
import type pg from 'pg';
import { columnsOf, type Holding, holdings, keyOf } from '../../src/features/holdings/holdings.ts';

/** Everything held of these customers: rows of every table of `holdings.ts`, by name, each as JSON in the order of its key. */
export type Dump = Record<string, Record<string, unknown>[]>;

/** Counters that only ever rise, and what is told of merges themselves. */
const rising: Record<string, string[]> = {
  customer: ['version', 'updated_at'],
  lead: ['version', 'updated_at'],
  loyaltyAccount: ['version', 'updated_at'],
  // Bounds are of when they were written: what they may be is `wrongBounds`.
  scoreBounds: ['bound', 'bound_at'],
};
const ofMerges = new Set(['merges', 'aliases']);

export async function dumpOf(database: pg.ClientBase, customers: readonly string[]): Promise<Dump> {
  const dump: Dump = {};
  for (const holding of holdings) {
    if (ofMerges.has(holding.name)) continue;
    const table = getTableName(holding.table);
    const key = keyOf(holding).map((member) => nameOf(holding, member));
    const { rows } = await database.query<{ row: Record<string, unknown> }>(
      `select to_jsonb(x) as row from ${table} x where ${nameOf(holding, holding.owner)} = any($1::uuid[]) order by ${key.join(', ')}`,
      [customers],
    );
    dump[holding.name] = rows.map(({ row }) => {
      for (const column of rising[holding.name] ?? []) delete row[column];
      return row;
    });
  }
  return dump;
}

function nameOf(holding: Holding, member: string): string {
  const column = columnsOf(holding).get(member);
  if (!column) throw new Error(`${holding.name} has no ${member}`);
  return column.name;
}
