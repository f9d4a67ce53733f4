import { type BuildColumns, getTableColumns, getTableName, type SQL, sql } from 'drizzle-orm';
import {
  type PgColumn,
  type PgTable,
  type PgTableExtraConfigValue,
  type PgTableWithColumns,
  pgTable,
  primaryKey,
} from 'drizzle-orm/pg-core';
import type { z } from 'zod';
import { fields as columnsAs, rowsOf } from '../platform/db/client.ts';
import { declareConflicts } from '../platform/db/conflicts.ts';
import { declareShares } from '../platform/db/shares.ts';
import type { ProblemCode } from '../platform/errors.ts';
import {
  type ColumnOf,
  columnOf,
  type Fields,
  type InputShape,
  inputOf,
  type OutputShape,
  outputOf,
  type Row,
} from './fields.ts';

/*
 * Every table of records, with what its columns mean. Code that has to know all of them (access policies,
 * the personal-data inventory, export, erasure, merges, the delete guard) asks `storedTables`; a test compares them with
 * the catalog of the database.
 */

/**
 * Who may touch a table, by row-level security and grants (platform/db/access.ts).
 * `owner`: rows belong to customers; scoped tokens see and change those of theirs.
 * `configuration`: the same for everybody; scoped tokens read it.
 * `service`: the service alone.
 * `append`: the service alone, which adds and reads, and can neither change nor delete.
 * `partner`: rows belong to a partner (`partner_id`) or to nobody; partner tokens see and change those of theirs.
 * `shares`: which customers are shared with which partner; the policies of the others ask it.
 */
export type TableAccess = 'owner' | 'configuration' | 'service' | 'append' | 'partner' | 'shares';

/** `profile`: what the customer is. `fact`: what happened. `derived`: worked out from facts, and recomputed. */
export type Nature = 'profile' | 'fact' | 'derived';

/**
 * What becomes of its rows when two customers are merged.
 * `move`: they are the survivor's from then on, with what is part of them.
 * `rewrite`: a feature makes those of one customer of those of two; the rows of both are kept, to part them exactly.
 * `none`: nothing by themselves. They are derived, part of a record, or what the merge itself writes.
 */
export type Merging = 'move' | 'rewrite' | 'none';

/**
 * What a change of its rows is in the change feed (feed.ts).
 *
 * `kind`: rows are records of this kind. `read`: the operation that answers one by its id; default: `get` and the kind. `list`: the
 * operation that lists them, where none answers one alone. Whoever may call it hears of them. `madeOf`: columns that are not answered
 * themselves, by the member that is made of them.
 * `of`, `by`, `member`: rows are part of the record of the kind `of` whose id is in `by`; `member` is what clients call them.
 * `kindIn`: the column that says of which kind.
 * `marks`: a row says something of the record, from its first day (`customer.merged`) to its last (`customer.unmerged`);
 * `reader`: the member with the id of the partner who alone is told.
 * `'none'`: rows are not records, or what they tell is in the record that changes with them.
 */
export type InFeed =
  | FeedRecords
  | ({ by: string; member?: string } & ({ of: string } | { kindIn: string }))
  | { of: string; by: string; marks: readonly [begun: string, ended: string]; reader?: string }
  | 'none';

export interface FeedRecords {
  kind: string;
  read?: string;
  list?: string;
  madeOf?: Readonly<Record<string, readonly string[]>>;
}

export interface StoredTable {
  /** Its name in exports and counts: `orderItems`. */
  name: string;
  /** Its heading in exports that people read. */
  label: string;
  table: PgTable;
  fields: Fields;
  access: TableAccess;
  nature: Nature;
  /** The member with the id of the customer who owns the row; null: no owner. */
  owner: string | null;
  /** The record that a row is part of, and the member that refers to it: lines of an order, refunds of an order. */
  partOf: { table: PgTable; by: string } | null;
  /** Members of the primary key, in its order. */
  key: readonly string[];
  /**
   * Set: its customer cannot be deleted while there is a row, which is called so in the refusal ('consent change').
   * Nothing that is evidence or history is lost by a deletion. null: rows are part of the customer and go with it.
   */
  guard: string | null;
  /** Whether a row (alias `f`) is a sign of life since an instant, where that is not the instants marked so by themselves. */
  isLifeSign: ((since: (column: string) => SQL) => SQL) | null;
  timeline: InTimeline | null;
  merge: Merging;
  /** Names a record: what was recorded since a merge goes back with the record that it names. */
  follows: string | null;
  feed: InFeed;
}

/** How rows stand in the timeline of their customer, at the instant that `happened`. */
export interface InTimeline {
  /** `stage_change` */
  kind: string;
  /** What a token needs to see it. */
  scope: string;
  /** What people need at a glance; the record itself has the rest. */
  members: readonly string[];
  /** What is shown beside members, as it is answered and read. */
  more?: Readonly<Record<string, { output: z.ZodType; select: SQL }>>;
}

export type TableOf<F extends Fields> = PgTableWithColumns<{
  name: string;
  schema: undefined;
  dialect: 'pg';
  columns: BuildColumns<string, { [K in keyof F]: ColumnOf<F[K]> }, 'pg'>;
}>;

export interface TableDefinition<F extends Fields> {
  name: string;
  label: string;
  access: TableAccess;
  nature: Nature;
  owner: (keyof F & string) | null;
  partOf?: { table: PgTable; by: keyof F & string };
  key: readonly (keyof F & string)[];
  guard: string | null;
  isLifeSign?: StoredTable['isLifeSign'];
  timeline?: InTimeline;
  /** Default: `move`, for facts with an id; whatever else is owned and not derived has to say it. */
  merge?: Merging;
  follows?: keyof F & string;
  /** Default: `none` for what is derived; whatever else has to say it. */
  feed?: InFeed;
  fields: F;
  /** Unique constraints that two transactions may meet at (platform/db/conflicts.ts), and how it is answered. */
  conflicts?: Readonly<Record<string, ProblemCode>>;
  /** Indexes, foreign keys and checks. */
  extras?: (columns: TableOf<F>['_']['columns']) => PgTableExtraConfigValue[];
}

const stored = new Map<PgTable, StoredTable>();

/** Defines a table, for Drizzle and for code that has to know all of them. */
export function storedTable<const F extends Fields>(tableName: string, definition: TableDefinition<F>): TableOf<F> {
  const {
    name,
    label,
    access,
    nature,
    owner,
    partOf = null,
    key,
    guard,
    isLifeSign = null,
    timeline = null,
    merge = mergingOf(tableName, definition),
    follows = null,
    feed = feedOf(tableName, definition),
    fields,
    conflicts = {},
    extras,
  } = definition;
  const columns = Object.fromEntries(
    Object.entries(fields).map(([member, field]) => {
      const column = columnOf(member, field);
      return [member, key.length === 1 && key[0] === member ? column.primaryKey() : column];
    }),
  );
  const table = pgTable(tableName, columns, (t) => [
    ...(key.length > 1
      ? [primaryKey({ columns: key.map((member) => named(t, member)) as [PgColumn, ...PgColumn[]] })]
      : []), // longer than one
    ...(extras?.(t as never) ?? []), // its columns, by their names
  ]) as unknown as TableOf<F>; // the columns of the fields
  if ([...stored.values()].some((other) => getTableName(other.table) === tableName)) {
    throw new Error(`The table ${tableName} is defined twice`);
  }
  checkFields(tableName, owner, fields);
  declareConflicts(conflicts);
  if (access === 'shares') declareShares(table, columnNamed(table, owner ?? ''));
  stored.set(table, {
    name,
    label,
    table,
    fields,
    access,
    nature,
    owner,
    partOf,
    key,
    guard,
    isLifeSign,
    timeline,
    merge,
    follows,
    feed,
  });
  return table;
}

/** @throws Error where a field promises what its table cannot keep */
function checkFields(tableName: string, owner: string | null, fields: Fields): void {
  for (const [member, { spec }] of Object.entries(fields)) {
    const of = `${tableName}.${member}`;
    if (spec.personal === 'clear' && spec.left === null && spec.need !== 'optional') {
      throw new Error(`${of}: erasing a person clears it, so it cannot be required; say what is left of it (leaves)`);
    }
    if (spec.replaced !== null && !('id' in fields)) {
      throw new Error(
        `${of}: rows that name another customer are noted by their id when that one is merged, and these have none`,
      );
    }
    if (spec.guard !== null && owner === null) {
      throw new Error(`${of}: only rows of a customer keep another customer from being deleted`);
    }
  }
}

/** @throws Error where rows of a merged customer would be lost */
function mergingOf<F extends Fields>(
  tableName: string,
  { owner, nature, partOf, key, fields }: TableDefinition<F>,
): Merging {
  if (owner === null || nature === 'derived') return 'none';
  const parent = partOf && definitionOf(partOf.table);
  if (parent && 'id' in parent.fields && (parent.merge === 'move' || parent.partOf)) return 'none';
  if (!parent && nature === 'fact' && 'id' in fields && key.every((member) => member === owner || member === 'id')) {
    return 'move';
  }
  throw new Error(`${tableName}: say what becomes of its rows when customers are merged (merge)`);
}

/** @throws Error where nobody would hear of a change */
function feedOf(tableName: string, { nature }: { nature: Nature }): InFeed {
  if (nature === 'derived') return 'none';
  throw new Error(`${tableName}: say what its rows are in the change feed (feed)`);
}

function named(columns: Record<string, unknown>, member: string): PgColumn {
  return columns[member] as PgColumn; // members of the key are members of the table
}

/** All tables that were defined, parents before what is part of them. */
export function storedTables(): readonly StoredTable[] {
  return [...stored.values()];
}

/** @throws RangeError for a table that was not defined by `storedTable` */
export function definitionOf(table: PgTable): StoredTable {
  const found = stored.get(table);
  if (!found) throw new RangeError(`${getTableName(table)} is not defined by storedTable`);
  return found;
}

/** The column of a member. @throws RangeError when there is none */
export function columnNamed(table: PgTable, member: string): PgColumn {
  const column = getTableColumns(table)[member];
  if (!column) throw new RangeError(`${getTableName(table)} has no ${member}`);
  return column;
}

/** What clients may send of these fields. */
export function inputShape<F extends Fields>(fields: F): InputShape<F> {
  return shape(fields, inputOf) as InputShape<F>; // the same rule, for the type checker
}

/** What clients receive of these fields. */
export function outputShape<F extends Fields>(fields: F): OutputShape<F> {
  return shape(fields, outputOf) as OutputShape<F>; // the same rule, for the type checker
}

function shape(fields: Fields, of: (field: Fields[string]) => z.ZodType | null): Record<string, z.ZodType> {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([member, field]) => {
      const schema = of(field);
      return schema ? [[member, schema]] : [];
    }),
  );
}

type Stored<F, Shape> = Pick<Row<F>, keyof Shape & keyof F>;

/** What is stored of the members that clients send: omitted ones stay as before, or take their defaults. */
export function sentMembers<F extends Fields>(
  fields: F,
  input: { readonly [K in keyof InputShape<F>]?: unknown },
  before: Stored<F, InputShape<F>> | null,
): Stored<F, InputShape<F>> {
  const given = input as Readonly<Record<string, unknown>>; // of the fields, by name
  const old = before as Readonly<Record<string, unknown>> | null; // likewise
  const members = Object.entries(fields).flatMap(([member, { spec }]) => {
    if (spec.input === null) return [];
    const sent = given[member];
    if (sent === undefined) return [[member, old ? old[member] : spec.fallback]];
    return [[member, sent === null ? spec.fallback : (spec.convert?.store(sent) ?? sent)]];
  });
  return Object.fromEntries(members) as Stored<F, InputShape<F>>; // the same rule, for the type checker
}

/** The members of a row that clients receive. */
export function answeredMembers<F extends Fields>(fields: F, row: Row<F>): Stored<F, OutputShape<F>> {
  const members = Object.entries(row).filter(([member]) => fields[member]?.spec.output);
  return Object.fromEntries(members) as Stored<F, OutputShape<F>>; // the same rule, for the type checker
}

/** The select list of what clients receive of a row, under the names of the members. */
export function answered(table: PgTable): SQL {
  const { fields } = definitionOf(table);
  return columnsAs(
    table,
    Object.entries(fields).flatMap(([member, { spec }]) => (spec.output ? [] : [member])),
  );
}

/** Columns that a write may change: every one but those that are fixed, generated, or left out. */
function changing(table: PgTable, except: readonly string[]): [member: string, column: PgColumn][] {
  const { key } = definitionOf(table);
  const fixed = new Set([...key, 'createdAt', ...except]);
  return Object.entries(getTableColumns(table)).filter(
    ([member, column]) => !fixed.has(member) && column.generated === undefined,
  );
}

/** `col = alias."member", …` for an UPDATE or ON CONFLICT. */
export function assignments(
  table: PgTable,
  value: (member: string, column: PgColumn) => SQL,
  except: readonly string[] = [],
): SQL {
  return sql.join(
    changing(table, except).map(([member, column]) => sql`${sql.identifier(column.name)} = ${value(member, column)}`),
    sql`, `,
  );
}

/**
 * `update T o set … from <rows> n where o.key = n."key"`: writes whole rows over the stored ones, whatever columns the table
 * has. More conditions and RETURNING may follow.
 *
 * @param except members that stay as they are stored
 */
export function updateRows(
  table: PgTable,
  rows: SQL,
  { except, createdAt = false }: { except?: readonly string[]; createdAt?: boolean } = {},
): SQL {
  const { key } = definitionOf(table);
  const isSame = key.map(
    (member) => sql`o.${sql.identifier(columnNamed(table, member).name)} = n.${sql.identifier(member)}`,
  );
  return sql`update ${table} o set ${assignments(table, fromRow('n'), except)}${createdAt ? sql`, created_at = n."createdAt"` : sql``}
    from ${rowsOf(table, rows, 'n')} where ${sql.join(isSame, sql` and `)}`;
}

/** Whether the stored row `o` differs from the row `n` in what `updateRows` writes. */
export function rowDiffers(table: PgTable): SQL {
  const columns = changing(table, []);
  const stored = columns.map(([, { name }]) => sql`o.${sql.identifier(name)}`);
  const next = columns.map(([member]) => sql`n.${sql.identifier(member)}`);
  return sql`(${sql.join(stored, sql`, `)}) is distinct from (${sql.join(next, sql`, `)})`;
}

/** From a row of `rowsOf(table, …, alias)`. */
function fromRow(alias: string) {
  return (member: string): SQL => sql`${sql.identifier(alias)}.${sql.identifier(member)}`;
}

/** From the row that met a conflict. */
export function fromExcluded(_member: string, column: PgColumn): SQL {
  return sql`excluded.${sql.identifier(column.name)}`;
}
