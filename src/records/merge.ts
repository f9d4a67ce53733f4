import { getTableColumns, getTableName, type SQL, sql } from 'drizzle-orm';
import { getTableConfig, type PgTable } from 'drizzle-orm/pg-core';
import { type Db, param, statement, type Transaction } from '../platform/db/client.ts';
import { type Columns, columnsIn } from './catalog.ts';
import { recordKinds } from './record.ts';
import { externalRefs } from './references/record.ts';
import { raisedColumn, raisedStamps } from './stamps.ts';
import { columnNamed, definitionOf, type StoredTable, storedTables } from './table.ts';

/*
 * Records of one customer become those of another, and go back, whatever kinds there are: the tables whose rows move by
 * their definition, with what is part of them and with their references.
 *
 * Facts are keyed by customer: they do not change their customer, they are written under another one and
 * deleted under the first, in one statement per kind whatever their number. Foreign keys are checked at its end. The
 * statements are made for the columns of the moment, so that a column that this process does not know yet moves as well.
 */

/** Where the feature that merges notes which records moved: `merge_id`, `kind` and `record_id`. */
export type MovedRecords = PgTable;

export interface Move {
  mergeId: string;
  from: string;
  to: string;
  now: string;
}

export interface RecordCount {
  kind: string;
  count: number;
}

const from = sql`${param('from')}::uuid`;
const to = sql`${param('to')}::uuid`;
const merge = sql`${param('mergeId')}::uuid`;

function families(): StoredTable[] {
  return storedTables().filter((stored) => stored.merge === 'move');
}

function partsOf({ table }: StoredTable): StoredTable[] {
  return storedTables().filter(({ partOf, owner }) => partOf?.table === table && owner !== null);
}

function ownerColumn({ table, owner }: StoredTable): SQL {
  return sql`${sql.identifier(columnNamed(table, owner ?? '').name)}`;
}

function text(value: string): SQL {
  return sql.raw(`'${value}'`);
}

interface Conflict {
  column: string;
  /** Whether the row `gone` cannot be the survivor's with it. */
  isMet: SQL;
}

/** Members that a customer may have once, and the survivor has: by the unique indexes. They can be null. */
function conflictsOf(table: PgTable): Conflict[] {
  const owner = ownerColumn(definitionOf(table));
  const ownerName = columnNamed(table, definitionOf(table).owner ?? '').name;
  return getTableConfig(table).indexes.flatMap(({ config: { unique, columns, where } }) => {
    const names = columns.flatMap((column) => ('name' in column && column.name ? [column.name] : []));
    if (!unique || !names.includes(ownerName)) return [];
    const column = Object.values(getTableColumns(table)).findLast(
      ({ name, notNull }) => !notNull && names.includes(name),
    );
    if (!column) {
      throw new TypeError(
        `${getTableName(table)} cannot be merged: ${names.join(', ')} may be there once, and none can be null`,
      );
    }
    const same = names
      .filter((name) => name !== ownerName)
      .map((name) => sql`there.${sql.identifier(name)} = gone.${sql.identifier(name)}`);
    const conditions = [sql`there.${owner} = ${to}`, ...same, ...(where ? [where] : [])];
    const isMet = sql`exists (select from ${table} there where ${sql.join(conditions, sql` and `)})`;
    return [{ column: column.name, isMet }];
  });
}

/** `insert into T … select` of the rows of a CTE, under the customer `to`; in a next version, as they tell of another customer. */
export function insertUnder(table: PgTable, rows: string, columns: Columns): SQL {
  const ownerName = columnNamed(table, definitionOf(table).owner ?? '').name;
  const conflicts = new Map(conflictsOf(table).map(({ column, isMet }) => [column, isMet]));
  const names = columnsIn(columns, table);
  const values = names.map((name) => {
    const value = sql`gone.${sql.identifier(name)}`;
    const isMet = conflicts.get(name);
    if (name === ownerName) return to;
    return isMet ? sql`case when not ${isMet} then ${value} end` : (raisedColumn(name, 'gone') ?? value);
  });
  const list = sql.join(
    names.map((name) => sql.identifier(name)),
    sql`, `,
  );
  return sql`insert into ${table} (${list}) select ${sql.join(values, sql`, `)} from ${sql.identifier(rows)} as gone`;
}

/** Ids of the records of a kind that the merge has moved. */
function movedOf(moved: MovedRecords, kind: string | null): SQL {
  const ofKind = kind === null ? sql`` : sql`and r.kind = ${text(kind)}`;
  return sql`(select r.record_id from ${moved} r where r.merge_id = ${merge} ${ofKind})`;
}

function moving(family: StoredTable, moved: MovedRecords, columns: Columns, back: boolean) {
  const withReferences = new Set(recordKinds().flatMap(({ table, naming }) => (naming === 'none' ? [] : [table])));
  const ctes: SQL[] = [];
  const move = (stored: StoredTable, scope: SQL, name: string): void => {
    const { table, key, owner } = stored;
    const gone = sql.identifier(name);
    const column = ownerColumn(stored);
    const mine = sql`${column} = ${from} ${scope}`;
    if (key.includes(owner ?? '')) {
      ctes.push(
        sql`${gone} as (delete from ${table} where ${mine} returning *)`,
        sql`${sql.identifier(`${name}_put`)} as (${insertUnder(table, name, columns)})`,
      );
    } else {
      // Keyed by its id alone, as it may have no customer.
      const sets = sql.join([sql`${column} = ${to}`, ...raisedStamps(table, getTableName(table))], sql`, `);
      ctes.push(sql`${gone} as (update ${table} set ${sets} where ${mine} returning *)`);
    }
    if (withReferences.has(table)) {
      ctes.push(sql`${sql.identifier(`${name}_references`)} as (update ${externalRefs} set customer_id = ${to}
        where customer_id = ${from} and record_id in (select id from ${gone}))`);
    }
    for (const [index, part] of partsOf(stored).entries()) {
      const by = sql.identifier(columnNamed(part.table, part.partOf?.by ?? '').name);
      move(part, sql`and ${by} in (select id from ${gone})`, `${name}_${index}`);
    }
  };
  const { name, table, follows } = family;
  // What was recorded since of a record that goes back goes back with it.
  const following = follows
    ? sql`or ${sql.identifier(columnNamed(table, follows).name)} in ${movedOf(moved, null)}`
    : sql``;
  move(family, back ? sql`and (id in ${movedOf(moved, name)} ${following})` : sql``, 'gone');
  if (!back) {
    ctes.push(
      sql`noted as (insert into ${moved} (merge_id, kind, record_id) select ${merge}, ${text(name)}, id from gone)`,
    );
  }
  return statement<{ moved: number }>(
    `${back ? 'unmerge' : 'merge'}_${name}`,
    sql`with ${sql.join(ctes, sql`, `)} select count(*) as moved from gone`,
    { unprepared: true },
  );
}

/**
 * Puts the records of a customer under another one and notes which they were (`back`: those that were noted). Both are
 * locked, and what they refer to by customer is there for both.
 */
export async function moveRecords(
  tx: Transaction,
  moved: MovedRecords,
  move: Move,
  columns: Columns,
  direction: 'there' | 'back',
): Promise<RecordCount[]> {
  return Promise.all(
    families().map(async (family) => {
      const query = moving(family, moved, columns, direction === 'back');
      return { kind: family.name, count: (await tx.first(query, { ...move }))?.moved ?? 0 };
    }),
  );
}

/** What `moveRecords` will clear of the records of `from`, as the survivor has it: JSON, for `restoreCleared`. */
export function cleared(): SQL {
  const parts = families().flatMap(({ name, table }) =>
    conflictsOf(table).map(({ column, isMet }) => {
      const row = sql`jsonb_build_object('id', gone.id, ${text(column)}, gone.${sql.identifier(column)})`;
      return sql`${text(name)}, (select coalesce(jsonb_agg(${row}), '[]') from ${table} gone
        where gone.${ownerColumn(definitionOf(table))} = ${from} and ${isMet})`;
    }),
  );
  return sql`jsonb_build_object(${sql.join(parts, sql`, `)})`;
}

/** Gives the records of `to`, which have gone back, what the merge has cleared of them. */
export async function restoreCleared(tx: Transaction, kept: SQL, { to: customerId, mergeId }: Move): Promise<void> {
  await Promise.all(
    families().flatMap((stored) =>
      conflictsOf(stored.table).map(({ column }) => {
        const { name, table } = stored;
        const value = sql.identifier(column);
        const query = statement(
          `restore_cleared_${name}`,
          sql`update ${table} x set ${value} = n.${value} from jsonb_populate_recordset(null::${table}, ${kept} -> ${text(name)}) n
            where x.${ownerColumn(stored)} = ${to} and x.id = n.id and x.${value} is null`,
          { unprepared: true },
        );
        return tx.all(query, { to: customerId, mergeId });
      }),
    ),
  );
}

interface Mention {
  kind: string;
  stored: StoredTable;
  column: SQL;
}

/** Members by which rows name other customers. */
function mentions(): Mention[] {
  return storedTables().flatMap((stored) =>
    Object.entries(stored.fields).flatMap(([member, { spec }]) => {
      if (spec.replaced === null) return [];
      const kind = spec.replaced === true ? `${stored.name}.${member}` : spec.replaced;
      return [{ kind, stored, column: sql`${sql.identifier(columnNamed(stored.table, member).name)}` }];
    }),
  );
}

/** Those of rows that are a customer's; what is nobody's needs no lock. */
function ownedMentions(): Mention[] {
  return mentions().filter(({ stored }) => stored.owner !== null);
}

/** Ids of the customers whose rows name one of `ids`, for a statement. */
export function mentioning(ids: SQL): SQL {
  const found = ownedMentions().map(
    ({ stored, column }) => sql`select ${ownerColumn(stored)} from ${stored.table} where ${column} = any(${ids})`,
  );
  return sql.join(found, sql` union all `);
}

/** Ids of the customers whose rows a merge has noted as naming the one that went, for a statement. */
export function mentioned(moved: MovedRecords): SQL {
  const found = ownedMentions().map(
    ({ kind, stored }) => sql`select ${ownerColumn(stored)} from ${stored.table} where id in ${movedOf(moved, kind)}`,
  );
  return sql.join(found, sql` union all `);
}

/**
 * Rows that name the customer `from` name `to`, and a merge notes which they were (`back`: those that were noted, as far as
 * they still name `from`), in a next version of theirs. Whose rows they are is locked.
 */
export async function replaceMentions(
  tx: Transaction,
  moved: MovedRecords,
  move: Move,
  direction: 'there' | 'back',
): Promise<void> {
  for (const { kind, stored, column } of mentions()) {
    const { table, name } = stored;
    const sets = sql.join([sql`${column} = ${to}`, ...raisedStamps(table, getTableName(table))], sql`, `);
    const isItself = stored.owner === 'id' ? sql`and id <> ${to}` : sql``;
    const query =
      direction === 'there'
        ? sql`with named as (
            update ${table} set ${sets} where ${column} = ${from} ${isItself} returning id)
            insert into ${moved} (merge_id, kind, record_id) select ${merge}, ${text(kind)}, id from named`
        : sql`update ${table} set ${sets} where id in ${movedOf(moved, kind)} and ${column} = ${from}`;
    tx.pipeline(statement(`replace_${name}_${direction}`, query, { unprepared: true }), { ...move });
  }
}

/** How many records a customer has of every kind that moves, and in further tables of its; what it has none of is left out. */
export async function countRecords(db: Db, id: string, further: readonly PgTable[]): Promise<RecordCount[]> {
  return count(db, [...families(), ...further.map(definitionOf)], sql``, { from: id });
}

/** The same of what was recorded since a merge. */
export async function countSince(db: Db, { from: id, mergeId }: Move): Promise<RecordCount[]> {
  return count(db, families(), sql`and id > ${merge}`, { from: id, mergeId });
}

async function count(
  db: Db,
  tables: StoredTable[],
  condition: SQL,
  values: Record<string, string>,
): Promise<RecordCount[]> {
  const counts = tables.map(
    (stored) =>
      sql`select ${text(stored.name)} as kind, count(*) as count from ${stored.table} where ${ownerColumn(stored)} = ${from} ${condition}`,
  );
  const query = statement<RecordCount>('count_merged', sql.join(counts, sql` union all `), { unprepared: true });
  return (await db.all(query, values)).filter((found) => found.count > 0);
}
