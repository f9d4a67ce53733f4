import { type SQL, sql } from 'drizzle-orm';
import { type IndexBuilder, index, type PgColumn } from 'drizzle-orm/pg-core';
import type { Fields } from './fields.ts';
import { isSomebody } from './nobody.ts';

/*
 * Without an index of its own, a filter walks the order of the list until a page is full: for a value that few rows have,
 * or none, through the whole table. So the mark `filter()` brings an index.
 */

/** See `filterIndex` of a definition. */
export type FilterIndex = 'each' | 'one';

/** The member that lists are ordered by if nobody says otherwise: when it happened, else when it was created. */
function orderOf(fields: Fields): string {
  return Object.entries(fields).find(([, { spec }]) => spec.happened)?.[0] ?? 'createdAt';
}

export function filterIndexes(
  tableName: string,
  fields: Fields,
  columns: Readonly<Record<string, unknown>>,
  { self, how }: { self: boolean; how: FilterIndex },
): IndexBuilder[] {
  const column = (member: string) => columns[member] as PgColumn; // fields are columns
  const filters = Object.entries(fields).filter(([, { spec }]) => spec.filter === 'derived');
  const [first, ...others] = filters.map(([member]) => column(member));
  if (first === undefined) return [];
  if (how === 'one') {
    // A look-up reads all that waits for its place in the index, so little may wait.
    const made = index(`${tableName}_filters`).using('gin', first, ...others);
    return [made.with({ gin_pending_list_limit: 512 })];
  }
  return filters.map(([member, { spec }]) => {
    const by = column(member);
    const rows: SQL[] = [
      ...(spec.need === 'optional' ? [sql`${sql.identifier(by.name)} is not null`] : []),
      // Lists of owners leave out those that are nobody.
      ...(self ? [isSomebody(sql`id`)] : []),
    ];
    const made = index(`${tableName}_by_${by.name}`).on(by, column(orderOf(fields)), column('id'));
    return rows.length === 0 ? made : made.where(sql.join(rows, sql` and `));
  });
}
