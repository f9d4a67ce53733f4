import { getTableColumns, getTableName, type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { fields, param, statement, type Transaction } from '../platform/db/client.ts';
import { type Column, type Columns, columnsIn } from './catalog.ts';
import { externalRefs } from './references/record.ts';
import { raisedColumn } from './stamps.ts';
import { columnNamed, definitionOf, type StoredTable, storedTables } from './table.ts';

/*
 * What a merge keeps of both customers, to part them exactly: rows that it does not move but writes anew, as JSON by the
 * name of their table, in the member `before` of the merge. Tables change in the meantime: a column that was dropped since
 * is left out, and one that was added since is completed before anything goes back.
 */

/** Where the feature that keeper keeps rows: `id`, `customer_id` (the survivor), `before` and `after`. */
export type Merges = PgTable;

function kept(): StoredTable[] {
  return storedTables().filter(({ merge }) => merge === 'rewrite');
}

/** The column that says whose a row is. Of references those of the customer itself: those of its records move with them. */
function ofCustomer(table: PgTable): SQL {
  const member = table === externalRefs ? 'recordId' : (definitionOf(table).owner ?? '');
  return sql`${sql.identifier(columnNamed(table, member).name)}`;
}

function nameOf(table: PgTable): SQL {
  return sql.raw(`'${definitionOf(table).name}'`);
}

const merge = sql`m.id = ${param('mergeId')}::uuid`;

/** The rows of the customers `from` and `to` as they are now. */
export function rowsToKeep(): SQL {
  const rows = kept().map(
    ({ table }) => sql`${nameOf(table)}, (select coalesce(jsonb_agg(to_jsonb(x)), '[]') from ${table} x
      where x.${ofCustomer(table)} in (${param('from')}::uuid, ${param('to')}::uuid))`,
  );
  return sql`jsonb_build_object(${sql.join(rows, sql`, `)})`;
}

/** Rows that a merge kept, decoded as if they were read from their table. */
export function keptRows<Row>(keeper: Merges, table: PgTable) {
  return statement<Row>(
    `kept_${getTableName(table)}`,
    sql`select ${fields(table)} from ${keeper} m,
      jsonb_populate_recordset(null::${table}, m.before -> ${nameOf(table)}) as ${sql.identifier(getTableName(table))}
      where ${merge}`,
  );
}

/**
 * The survivor's row that a merge made, decoded as if it was read from its table; null: none, or nothing is kept any more.
 * Columns that were added since are as they are now: they have not changed since.
 */
export function madeRow<Row>(keeper: Merges, table: PgTable) {
  return statement<Row>(
    `made_${getTableName(table)}`,
    sql`select ${fields(table)} from ${keeper} m left join ${table} now on now.${ofCustomer(table)} = m.customer_id,
      jsonb_populate_record(now, m.after -> ${nameOf(table)}) as ${sql.identifier(getTableName(table))}
      where ${merge} and jsonb_typeof(m.after -> ${nameOf(table)}) = 'object'`,
  );
}

export interface Restoring {
  mergeId: string;
  ids: string[];
  columns: Columns;
  now: string;
  above?: number | undefined;
}

/**
 * Puts kept rows of these customers back. Their table has none with their keys. Those with a version come in a next one: one
 * above `above`, which is what was found at their address in the meantime.
 */
export async function restoreRows(
  tx: Transaction,
  keeper: Merges,
  table: PgTable,
  { mergeId, ids, columns, now, above = 0 }: Restoring,
): Promise<void> {
  const columnNames = columnsIn(columns, table);
  const names = columnNames.map((name) => sql.identifier(name));
  const values = columnNames.map(
    (name) => raisedColumn(name, 'kept', { above: sql`${param('above')}::int` }) ?? sql`kept.${sql.identifier(name)}`,
  );
  const query = statement(
    `restore_${getTableName(table)}`,
    sql`insert into ${table} (${sql.join(names, sql`, `)}) select ${sql.join(values, sql`, `)}
      from ${keeper} m, jsonb_populate_recordset(null::${table}, m.before -> ${nameOf(table)}) kept
      where ${merge} and kept.${ofCustomer(table)} = any(${param('ids')}::uuid[])`,
    { unprepared: true },
  );
  await tx.all(query, { mergeId, ids, now, above });
}

const membersKept = (keeper: Merges) =>
  statement<{ name: string; members: string[] }>(
    'members_kept',
    sql`select k.key as name, array(select jsonb_object_keys(k.value -> 0)) as members from ${keeper} m, jsonb_each(m.before) k
      where ${merge} and jsonb_typeof(k.value -> 0) = 'object'`,
    { unprepared: true },
  );

/**
 * Completes kept rows with the columns that their tables have got since: a row that is still there has the value of the
 * column already, others take its default.
 */
export async function completeRows(
  tx: Transaction,
  keeper: Merges,
  { mergeId, survivorId, columns }: { mergeId: string; survivorId: string; columns: Columns },
): Promise<void> {
  const found = new Map((await tx.all(membersKept(keeper), { mergeId })).map(({ name, members }) => [name, members]));
  for (const stored of kept()) {
    const members = found.get(stored.name);
    if (!members) continue;
    const added = (columns.get(getTableName(stored.table)) ?? []).filter(({ name }) => !members.includes(name));
    if (added.length > 0) await tx.all(completing(keeper, stored, added), { mergeId, survivorId });
  }
}

function completing(keeper: Merges, stored: StoredTable, added: readonly Column[]) {
  const { table } = stored;
  const values = added.flatMap((column) => [
    sql.raw(`'${column.name.replaceAll("'", "''")}'`),
    sql`case when now.${ofCustomer(table)} is null then to_jsonb(${defaultOf(stored, column)}) else to_jsonb(now.${sql.identifier(column.name)}) end`,
  ]);
  const name = nameOf(table);
  return statement(
    `complete_${getTableName(table)}`,
    sql`update ${keeper} m set before = jsonb_set(m.before, array[${name}], (
        select jsonb_agg(r || jsonb_build_object(${sql.join(values, sql`, `)})) from jsonb_array_elements(m.before -> ${name}) r
        left join ${table} now on now.${ofCustomer(table)} = ${param('survivorId')}::uuid and ${isSame(stored)}))
      where ${merge}`,
    { unprepared: true },
  );
}

/** Whether the row `now` of the survivor is the kept row `r`, of whichever of the two it was. */
function isSame({ table, key, owner, fields: members }: StoredTable): SQL {
  const own = key.filter((member) => member !== owner);
  const identifying = 'id' in members && owner !== 'id' ? ['id'] : own.length > 0 ? own : [owner ?? ''];
  const columns = identifying.map((member) => columnNamed(table, member));
  return sql.join(
    columns.map(({ name }) => sql`now.${sql.identifier(name)}::text = r ->> ${sql.raw(`'${name}'`)}`),
    sql` and `,
  );
}

/** Values of a type that say nothing, for columns that are never null and have no default. */
const emptyValues: Readonly<Record<string, string>> = { N: '0', S: '', B: 'false', D: 'epoch', T: '0', A: '{}' };

/** @throws TypeError for a column that needs a value, where none can be made up */
function defaultOf({ table, fields: members }: StoredTable, { name, type, category, required, fallback }: Column): SQL {
  const cast = sql.raw(type);
  if (fallback !== null) return sql`(${sql.raw(fallback)})::${cast}`;
  const member = Object.entries(getTableColumns(table)).find(([, column]) => column.name === name)?.[0];
  const defined = member === undefined ? null : members[member]?.spec.fallback;
  if (defined !== null && defined !== undefined) {
    return sql`${typeof defined === 'object' ? JSON.stringify(defined) : String(defined)}::text::${cast}`;
  }
  if (!required) return sql`null::${cast}`;
  const empty = emptyValues[category] ?? (type.startsWith('json') ? '{}' : undefined);
  if (empty === undefined) throw new TypeError(`${getTableName(table)}.${name} needs a default for rows of before it`);
  return sql`${empty}::text::${cast}`;
}
