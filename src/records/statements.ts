import { isDeepStrictEqual } from 'node:util';
import { getTableColumns, getTableName, type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import {
  fields as columnsAs,
  type Db,
  insertRow,
  insertRows,
  param,
  type RowInsert,
  rowsOf,
  type Statement,
  statement,
  type Transaction,
  type Values,
} from '../platform/db/client.ts';
import type { Context } from '../platform/operation.ts';
import { jsonInSlices } from '../platform/slices.ts';
import type { FoundBy, LineRow, State, StoredRow } from './effects.ts';
import { tellMembers } from './fields.ts';
import { lazily } from './lazily.ts';
import { parentMember } from './lines.ts';
import { isNobody, isSomebody } from './nobody.ts';
import type { Origin } from './prepare.ts';
import { type Kind, recordKinds } from './record.ts';
import { idByReference, insertRefs, type RefRow, referencesOf } from './references/queries.ts';
import { externalRefs } from './references/record.ts';
import { raisedColumn } from './stamps.ts';
import { answered, columnNamed, definitionOf, storedTables, updateRows } from './table.ts';

/*
 * The statements of a record kind, made from its definition once and prepared: select, insert, update, move, delete.
 */

/** A response as the statements return it; `readAnswer` completes it. */
export type AnswerRow = Record<string, unknown> & { id: string };

export interface KindStatements {
  /** The select list of an answer; its rows pass through `readAnswer`. */
  columns: SQL;
  byId: Statement<AnswerRow>;
  byIds: Statement<AnswerRow>;
  byReference: Statement<AnswerRow>;
  origin: Statement<Origin>;
  owners: Statement<{ id: string; customerId: string }>;
  lock: Statement<unknown>;
  rows: Statement<StoredRow>;
  lines: readonly { member: string; of: string; read: Statement<LineRow>; insert: Statement<unknown> }[];
  references: Statement<RefRow>;
  insert: Statement<AnswerRow>;
  /** The same for one record with at most one reference. */
  insertOne: Statement<AnswerRow>;
  update: Statement<unknown>;
  moved: Statement<unknown>;
  moveParts: readonly Statement<unknown>[];
  removeMoved: Statement<unknown>;
  remove: Statement<unknown>;
}

const made = new WeakMap<object, KindStatements>();

/** Made at first use: a statement may need other tables, which are defined later. */
export function statementsOf(kind: Pick<Kind, 'name' | 'table'>): KindStatements {
  const known = made.get(kind);
  if (known) return known;
  const statements = make(kind as Kind); // one that `record` made
  made.set(kind, statements);
  return statements;
}

/** The select list of an answer. */
export function answerColumns(kind: Kind): SQL {
  const { table, name, naming, lines, lineTables } = kind;
  const parts = [answered(table)];
  for (const [member, line] of Object.entries(lines)) {
    const lineTable = tableNamed(lineTables, member);
    const members = Object.entries(line.set.fields).flatMap(([key, { spec }]) =>
      spec.output ? [sql`i.${sql.identifier(columnNamed(lineTable, key).name)} as ${sql.identifier(key)}`] : [],
    );
    const of = columnNamed(lineTable, parentMember(name)).name;
    // A row made to JSON costs half of an object built of its members.
    parts.push(sql`array_to_json(array(select row_to_json(l) from (select ${sql.join(members, sql`, `)}
      from ${lineTable} i where i.customer_id = ${columnNamed(table, 'customerId')} and i.${sql.identifier(of)} = ${columnNamed(table, 'id')}
      order by i.line) l)) as ${sql.identifier(member)}`);
  }
  for (const [member, part] of Object.entries(kind.select?.() ?? {})) {
    parts.push(sql`${part} as ${sql.identifier(member)}`);
  }
  if (naming !== 'none') parts.push(sql`${referencesOf(columnNamed(table, 'id'))} as "references"`);
  return sql.join(parts, sql`, `);
}

function tableNamed(tables: Readonly<Record<string, PgTable>>, member: string): PgTable {
  const found = tables[member];
  if (!found) throw new RangeError(`There is no table of ${member}`);
  return found;
}

/** Completes a response in place. */
export function readAnswer<T>(kind: Pick<Kind, 'fields' | 'finish' | 'owner'>, row: AnswerRow): T {
  if (kind.owner?.optional && isNobody(String(row['customerId']))) row['customerId'] = null;
  tellMembers(kind.fields, row);
  kind.finish?.(row);
  return row as T; // contract tests parse every answer with the strict schema
}

function make(kind: Kind): KindStatements {
  const { name, plural, table, owner, lines, lineTables, fields, writing } = kind;
  const idColumn = columnNamed(table, 'id');
  const customerId = owner ? sql`${columnNamed(table, 'customerId')}` : sql`null::uuid`;
  const columns = answerColumns(kind);
  const generated = Object.entries(fields).filter(([, { spec }]) => spec.generated);
  const stored = columnsAs(
    table,
    generated.map(([member]) => member),
  );
  const lineParts = Object.keys(lines).map((member) => ({
    member,
    table: tableNamed(lineTables, member),
    of: parentMember(name),
  }));
  const dropLines = lineParts.map(
    ({ member, table: lineTable, of }) =>
      sql`${sql.identifier(`dropped_${member}`)} as (delete from ${lineTable} i using ${rowsOf(table, param('rows'), 'n')}
        where i.customer_id = n."customerId" and i.${sql.identifier(columnNamed(lineTable, of).name)} = n."id"
          and n."id" = any(${param(member)}::uuid[]))`,
  );
  const update = updateRows(table, param('rows'), { except: ['source', 'externalId'] });
  // Whoever is asked about is asked by the statement that inserts.
  const asking = writing.after.flatMap(({ asks }, at) =>
    asks ? [sql`(${asks(sql`o.customer_id`)})::text as ${sql.identifier(asked(at))}`] : [],
  );
  const insertParts = (one: boolean) => [
    sql`o as (${one ? insertOfOne(kind).sql : insertRows(table, param('rows'))} returning *)`,
    ...lineParts.map(
      ({ member, table: lineTable }) =>
        sql`${sql.identifier(member)} as (${insertRows(lineTable, param(member))} returning *)`,
    ),
    ...(kind.naming === 'none'
      ? []
      : [
          sql`refs as (${one ? sql`${insertRef().sql} where ${param('ref.kind')}::text is not null` : sql`${insertRefs} order by n."source", n."externalId"`})`,
        ]),
    ...(writing.insertWith ? [writing.insertWith.sql(one)] : []),
  ];
  const answered = generated.filter(([, { spec }]) => spec.output).map(([member]) => member);
  const result = ['id', ...answered].map(
    (member) => sql`o.${sql.identifier(columnNamed(table, member).name)} as ${sql.identifier(member)}`,
  );
  const inserting = (called: string, one: boolean) =>
    statement<AnswerRow>(
      called,
      sql`with ${sql.join(insertParts(one), sql`, `)} select ${sql.join([...result, ...asking], sql`, `)} from o`,
    );
  // The rows that own records of nobody are none of them.
  const shown = definitionOf(table).owner === 'id' ? sql`and ${isSomebody(sql`${idColumn}`)}` : sql``;
  const id = sql`${idColumn} = ${param('id')}::uuid`;
  const ids = sql`${idColumn} = any(${param('ids')}::uuid[])`;
  return {
    columns,
    byId: statement(`${name}_by_id`, sql`select ${columns} from ${table} where ${id} ${shown}`, { lookup: true }),
    byIds: statement(`${plural}_by_ids`, sql`select ${columns} from ${table} where ${ids} ${shown}`),
    byReference: statement(
      `${name}_by_reference`,
      sql`select ${columns} from ${table} where ${idColumn} = ${idByReference(name)}`,
      { lookup: true },
    ),
    origin: statement(
      `${name}_origin`,
      sql`select ${customerId} as "customerId",
        ${'source' in fields ? sql`${columnNamed(table, 'source')}` : sql`null`} as source from ${table} where ${id}`,
    ),
    owners: statement(
      `owners_of_${plural}`,
      sql`select ${idColumn} as id, ${customerId} as "customerId" from ${table} where ${ids}`,
    ),
    lock: statement(`lock_${plural}`, sql`select from ${table} where ${ids} order by ${idColumn} for no key update`),
    rows: statement(`${name}_rows`, sql`select ${stored} from ${table} where ${ids}`),
    lines: lineParts.map(({ member, table: lineTable, of }) => ({
      member,
      of,
      read: statement<LineRow>(
        `${name}_${member}_rows`,
        sql`select ${columnsAs(lineTable)} from ${lineTable} join ${table} on ${customerId} = ${columnNamed(lineTable, 'customerId')}
          and ${idColumn} = ${columnNamed(lineTable, of)} where ${ids} order by ${columnNamed(lineTable, of)}, ${columnNamed(lineTable, 'position')}`,
      ),
      insert: statement(`insert_${name}_${member}`, insertRows(lineTable, param('rows'))),
    })),
    references: statement(
      `${name}_ref_rows`,
      sql`select ${columnsAs(externalRefs)} from ${externalRefs} where ${externalRefs.recordId} = any(${param('ids')}::uuid[]) order by ${externalRefs.position}`,
    ),
    insert: inserting(`insert_${plural}`, false),
    insertOne: inserting(`insert_${name}`, true),
    update: statement(
      `update_${plural}`,
      dropLines.length > 0 ? sql`with ${sql.join(dropLines, sql`, `)} ${update}` : update,
    ),
    moved: statement(`insert_moved_${plural}`, insertRows(table, param('rows'))),
    moveParts: owner ? partsToMove(kind) : [],
    removeMoved: statement(
      `delete_moved_${plural}`,
      sql`delete from ${table} o using ${moves} where o.customer_id = n."from" and o.id = n."id"`,
    ),
    remove: statement(
      `delete_${name}`,
      sql`with tombstones as (update external_refs set record_id = null, customer_id = null, deleted_at = ${param('now')}::timestamptz
          where record_id = ${param('id')}::uuid ${deletedParts(kind)})
        delete from ${table} where ${owner ? sql`${customerId} = ${param('customerId')}::uuid and` : sql``} ${id}`,
    ),
  };
}

/** What is part of a record and has references of its own is deleted with it, and leaves tombstones as well. */
function deletedParts({ table }: Kind): SQL {
  const parts = partsWithReferences(table).map(
    (part) =>
      sql`or record_id in (select id from ${part} where customer_id = ${param('customerId')}::uuid and ${ofRecord(part)} = ${param('id')}::uuid)`,
  );
  return sql.join(parts, sql` `);
}

function partsWithReferences(table: PgTable): PgTable[] {
  return recordKinds().flatMap((part) =>
    part.naming !== 'none' && definitionOf(part.table).partOf?.table === table ? [part.table] : [],
  );
}

const moves = sql`json_to_recordset(${param('moves')}::json) as n("id" uuid, "from" uuid, "to" uuid)`;

/**
 * What is part of a record, other than its own lines, is copied under its new owner, in a next version: never an UPDATE of
 * the customer. The record is deleted after that, and its parts under the old owner with it.
 */
function partsToMove(kind: Kind): Statement<unknown>[] {
  const own = new Set<PgTable>(Object.values(kind.lineTables));
  const copy = (table: PgTable, from: SQL): Statement<unknown>[] => {
    const columns = Object.values(getTableColumns(table)).filter((column) => column.generated === undefined);
    const targets = columns.map(({ name }) => sql.identifier(name));
    const values = columns.map(({ name }) => {
      if (name === 'customer_id') return sql`n."to"`;
      return raisedColumn(name, 'part') ?? sql`part.${sql.identifier(name)}`;
    });
    const parts = storedTables().filter(({ partOf }) => partOf?.table === table);
    const references = partsWithReferences(kind.table).includes(table)
      ? [
          statement(
            `move_references_of_${getTableName(table)}`,
            sql`update external_refs set customer_id = moved."to" from (select part.id, n."to" from ${from}) moved where record_id = moved.id`,
          ),
        ]
      : [];
    return [
      ...references,
      statement(
        `copy_${getTableName(table)}_of_${kind.plural}`,
        sql`insert into ${table} (${sql.join(targets, sql`, `)}) select ${sql.join(values, sql`, `)} from ${from}`,
      ),
      ...parts.flatMap((part) => copy(part.table, belowPart(part.table, from))),
    ];
  };
  return storedTables()
    .filter(({ table, partOf }) => partOf?.table === kind.table && !own.has(table))
    .flatMap(({ table }) =>
      copy(table, sql`${table} part join ${moves} on part.customer_id = n."from" and part.${ofRecord(table)} = n."id"`),
    );
}

/** Rows that are part of rows that are to be moved. */
function belowPart(table: PgTable, from: SQL): SQL {
  return sql`${table} part join (select part.id, n."from", n."to" from ${from}) n
    on part.customer_id = n."from" and part.${ofRecord(table)} = n.id`;
}

function ofRecord(table: PgTable): SQL {
  const { partOf } = definitionOf(table);
  return sql`${sql.identifier(columnNamed(table, partOf?.by ?? '').name)}`;
}

/** The records as clients see them, by id; missing ones are left out. */
export async function answersById<T>(db: Db, kind: Kind, ids: readonly string[]): Promise<Map<string, T>> {
  if (ids.length === 0) return new Map();
  const rows = await db.all(statementsOf(kind).byIds, { ids: [...new Set(ids)] });
  return new Map(rows.map((row) => [row.id, readAnswer<T>(kind, row)]));
}

export async function answerById<T>(db: Db, kind: Kind, id: string): Promise<T | null> {
  const row = await db.first(statementsOf(kind).byId, { id });
  return row && readAnswer<T>(kind, row);
}

export async function answerByReference<T>(
  db: Db,
  kind: Kind,
  { source, externalId }: { source: string; externalId: string },
): Promise<T | null> {
  const row = await db.first(statementsOf(kind).byReference, { source, externalId });
  return row && readAnswer<T>(kind, row);
}

/** The records as they are stored, read under the locks. */
export async function statesOf(tx: Transaction, kind: Kind, ids: string[]): Promise<Map<string, State>> {
  if (ids.length === 0) return new Map();
  const { rows, lines, references } = statementsOf(kind);
  const [found, refs, ...lineRows] = await Promise.all([
    tx.all(rows, { ids }),
    kind.naming === 'none' ? [] : tx.all(references, { ids }),
    ...lines.map(({ read }) => tx.all(read, { ids })),
  ]);
  const states = new Map<string, State & { lines: Record<string, LineRow[]> }>(
    found.map((row) => [
      row.id,
      { row, lines: Object.fromEntries(lines.map(({ member }) => [member, []])), references: [] },
    ]),
  );
  for (const [at, { member, of }] of lines.entries()) {
    for (const line of lineRows[at] ?? []) states.get(String(line[of]))?.lines[member]?.push(line);
  }
  for (const ref of refs) if (ref.recordId) states.get(ref.recordId)?.references.push(ref);
  return states;
}

/** One record with few names is sent member by member, which Postgres reads in less than half the time. */
function isOne(states: readonly State[]): boolean {
  return states.length === 1 && (states[0]?.references.length ?? 0) <= 1;
}

/** What `insertStates` sends, written in slices: the text of a thousand records with their lines takes long to make. */
export async function insertValues(kind: Kind, states: readonly State[]): Promise<Values> {
  const one = isOne(states) ? states[0] : undefined;
  const { lines } = statementsOf(kind);
  const values: Values = one
    ? insertOfOne(kind).values(one.row)
    : { rows: await jsonInSlices(states.map(({ row }) => row)) };
  for (const { member } of lines) {
    values[member] = await jsonInSlices(states.flatMap((state) => state.lines[member] ?? []));
  }
  if (kind.naming === 'none') return values;
  if (one) Object.assign(values, insertRef().values(one.references[0]));
  else values['newRefs'] = await jsonInSlices(states.flatMap(({ references }) => references));
  return values;
}

const inserts = new WeakMap<object, RowInsert>();

function insertOfOne({ table }: Pick<Kind, 'table'>): RowInsert {
  const known = inserts.get(table) ?? insertRow(table);
  inserts.set(table, known);
  return known;
}

const insertRef = lazily(() => insertRow(externalRefs, 'ref.'));

/** What the database made of new records, by id, and what the effects asked of their owners. */
export interface Inserted {
  rows: ReadonlyMap<string, AnswerRow>;
  found: FoundBy;
}

/** New records with their lines and references: one statement for one or a thousand. */
export async function insertStates(
  tx: Transaction,
  context: Context,
  kind: Kind,
  states: readonly State[],
  values: Values,
): Promise<Inserted> {
  const found = new Map(kind.writing.after.map((effect) => [effect, new Map<string, string>()]));
  if (states.length === 0) return { rows: new Map(), found };
  const { insert, insertOne } = statementsOf(kind);
  const sent = { ...values, ...kind.writing.insertWith?.values(context) };
  const rows = await tx.all(isOne(states) ? insertOne : insert, sent);
  const owners = new Map(states.map(({ row }) => [row.id, row.customerId]));
  for (const [at, effect] of kind.writing.after.entries()) {
    if (!effect.asks) continue;
    for (const row of rows) {
      const said = row[asked(at)];
      if (typeof said === 'string') found.get(effect)?.set(owners.get(row.id) ?? '', said);
    }
  }
  return { rows: new Map(rows.map((row) => [row.id, row])), found };
}

const asked = (effect: number) => `asked${effect}`;

/** Changed records; one whose owner changed is inserted there and deleted here, with what is part of it (never an UPDATE of the key). */
export async function updateStates(
  tx: Transaction,
  { now }: Pick<Context, 'now'>,
  kind: Kind,
  changes: readonly { before: State; after: State }[],
): Promise<void> {
  if (changes.length === 0) return;
  const { update, moved, moveParts, removeMoved, lines } = statementsOf(kind);
  const move = changes.filter(({ before, after }) => before.row.customerId !== after.row.customerId);
  const stay = changes.filter(({ before, after }) => before.row.customerId === after.row.customerId);
  const moves = JSON.stringify(
    move.map(({ before, after }) => ({ id: after.row.id, from: before.row.customerId, to: after.row.customerId })),
  );
  /** Records whose lines are written anew: those that are as they were stay, and the change feed does not tell of them. */
  const anew = (member: string) =>
    changes.filter(
      ({ before, after }) =>
        before.row.customerId !== after.row.customerId || !isDeepStrictEqual(before.lines[member], after.lines[member]),
    );
  const drops = Object.fromEntries(lines.map(({ member }) => [member, anew(member).map(({ after }) => after.row.id)]));
  if (stay.length > 0) await tx.all(update, { rows: JSON.stringify(stay.map(({ after }) => after.row)), ...drops });
  if (move.length > 0) {
    await tx.all(moved, { rows: JSON.stringify(move.map(({ after }) => after.row)) });
    for (const copy of moveParts) await tx.all(copy, { moves, now });
  }
  for (const { member, insert } of lines) {
    const rows = anew(member).flatMap(({ after }) => after.lines[member] ?? []);
    if (rows.length > 0) await tx.all(insert, { rows: JSON.stringify(rows) });
  }
  if (move.length > 0) await tx.all(removeMoved, { moves });
}

/** The owners of these records, by record id; missing records are left out. */
export async function ownersOf(db: Db, kind: Kind, ids: readonly string[]): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await db.all(statementsOf(kind).owners, { ids: [...new Set(ids)] });
  return new Map(rows.map(({ id, customerId }) => [id, customerId]));
}
