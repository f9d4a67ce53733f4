import { getTableName, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { param, statement, type Transaction } from '../platform/db/client.ts';
import { storedTables } from './table.ts';

/** A column as it is in the database at the moment. */
export interface Column {
  table: string;
  name: string;
  type: string;
  /** Kind of type, as Postgres sorts them: `N` numbers, `S` texts … */
  category: string;
  required: boolean;
  /** SQL of its default; null: none. */
  fallback: string | null;
}

/** Columns by name of their table, but for those that the database works out. */
export type Columns = ReadonlyMap<string, readonly Column[]>;

const all = statement<Column>(
  'stored_columns',
  sql`select c.relname::text as "table", a.attname::text as name, format_type(a.atttypid, a.atttypmod) as type,
      t.typcategory::text as category, a.attnotnull as required, pg_get_expr(d.adbin, d.adrelid) as fallback
    from pg_class c join pg_attribute a on a.attrelid = c.oid join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
    where c.relname = any(${param('tables')}::text[]) and c.relkind in ('r', 'p') and pg_table_is_visible(c.oid)
      and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    order by c.relname, a.attnum`,
);

/** The columns of all tables that are defined: a migration may have added some that this process does not know. */
export async function storedColumns(tx: Transaction): Promise<Columns> {
  const tables = storedTables().map(({ table }) => getTableName(table));
  const columns = new Map<string, Column[]>();
  for (const column of await tx.all(all, { tables })) {
    columns.set(column.table, [...(columns.get(column.table) ?? []), column]);
  }
  return columns;
}

/** Names of the columns of a table. */
export function columnsIn(columns: Columns, table: PgTable): string[] {
  return (columns.get(getTableName(table)) ?? []).map(({ name }) => name);
}
