import { getTableName, type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import type { Db } from '../platform/db/client.ts';
import { typeNames } from '../platform/type-names.ts';
import { text as boundedText } from '../platform/values.ts';
import type { FieldSpec } from './fields.ts';
import { type Kind, recordKinds } from './record.ts';
import { columnNamed, definitionOf } from './table.ts';
import { membersOf, unwrapped } from './walk.ts';

/*
 * What conditions (conditions.ts) may name: the fields of the kind that owns the others, the records of its owner, and their
 * lines. All of it is read from the definitions. A feature adds what is worked out (`conditionFields`) and tables that are no kind
 * of record (`relatedTables`).
 */

export type FieldType =
  | 'text'
  | 'word'
  | 'number'
  | 'instant'
  | 'date'
  | 'boolean'
  | 'id'
  /** A list of texts. */
  | 'texts'
  /** A document of the client's own; its members are named behind a dot. */
  | 'attributes';

/** The instant that relative times are counted from, and what follows from it. */
export interface Moment {
  asOf: string;
  /** Its local date in the reporting zone. */
  today: string;
  timeZone: string;
  /** Whether it is before now: what happened since is not known then. */
  past: boolean;
}

/** At most one row for each owner, with its `customer_id`, which many fields are read from. */
export interface OneRow {
  /** A table, or a select in parentheses. `known`: what `prepare` answered. */
  rows: (moment: Moment, known: unknown) => SQL;
  /** What has to be known before. */
  prepare?: (db: Db, moment: Moment) => Promise<unknown>;
}

/** What a leaf compares. */
export interface Comparison {
  op: Operator;
  /** As its type says: instants and dates are resolved. */
  value: Value;
  moment: Moment;
  /** What stands behind the dot of an open field. */
  rest: string;
}

export type Value = string | number | boolean | readonly (string | number | boolean)[];

export const operators = ['eq', 'in', 'lt', 'lte', 'gt', 'gte', 'starts_with', 'contains', 'exists'] as const;
export type Operator = (typeof operators)[number];

export const operatorsOf: Readonly<Record<FieldType, readonly Operator[]>> = {
  text: ['eq', 'in', 'starts_with', 'contains', 'exists'],
  word: ['eq', 'in', 'exists'],
  number: ['eq', 'in', 'lt', 'lte', 'gt', 'gte', 'exists'],
  instant: ['lt', 'lte', 'gt', 'gte', 'exists'],
  date: ['eq', 'lt', 'lte', 'gt', 'gte', 'exists'],
  boolean: ['eq', 'exists'],
  id: ['eq', 'in', 'exists'],
  texts: ['contains', 'in', 'exists'],
  attributes: ['eq', 'in', 'lt', 'lte', 'gt', 'gte', 'exists'],
};

export interface ConditionField {
  type: FieldType;
  /** It tells something of a person: needs `customers:pii`. */
  personal: boolean;
  /** The scope that reads it. */
  scope: string;
  /** How much it costs to look at, beside a column: 1. */
  cost: number;
  says?: string | undefined;
  /** Of a word: those that there are. */
  words?: readonly string[] | undefined;
  /** What a value has to be, and becomes; null: what its type says. */
  schema: z.ZodType | null;
  /** Where it is read from, when that is not the record itself. */
  from: OneRow | null;
  /** The value in SQL, of the alias of the row. */
  value: (row: SQL, moment: Moment) => SQL;
  /** Of a field that no plain comparison answers. `owner` is the id of the owner. */
  condition?: (row: SQL, comparison: Comparison, owner: SQL) => SQL;
  /** Operators it takes, when they are fewer than those of its type. */
  operators?: readonly Operator[];
  /** Its value where there is no row. */
  absent?: number;
  /** Clients name something of their own behind a dot, which this accepts. */
  open?: z.ZodType;
  /** Minor units of the record's own currency: not to be added up. */
  ownCurrency?: boolean;
  /** It is known of any instant; otherwise only as it is now. */
  past?: boolean;
  /** Stored days without a year are in this one and compare with nothing. */
  yearless?: boolean;
}

/** Records of the owner, or parts of a record. */
export interface Related {
  name: string;
  table: PgTable;
  scope: string;
  /** That there is one tells something of a person. */
  personal: boolean;
  fields: ReadonlyMap<string, ConditionField>;
  /** Parts of it, by name. */
  parts: ReadonlyMap<string, Related>;
  /** How a part `inner` belongs to its record `outer`; null: it is the owner's. */
  belongs: ((inner: SQL, outer: SQL) => SQL) | null;
  /** The column of when it happened. */
  happened: string | null;
  /** The column with the id of the owner. */
  ownedBy: string;
  /** A further condition on its rows. */
  where: ((row: SQL) => SQL) | null;
}

/** What conditions on the owner may name. */
export interface Vocabulary {
  fields: ReadonlyMap<string, ConditionField>;
  related: ReadonlyMap<string, Related>;
}

const attributeName = boundedText(100);

const worked = new Map<string, ConditionField>();
interface RelatedTable {
  table: PgTable;
  scope: string;
  /** Default: `customer_id`. */
  ownedBy?: string;
  where?: (row: SQL) => SQL;
  parts?: readonly PgTable[];
}
const tables: RelatedTable[] = [];

/** Adds fields that are worked out. */
export function conditionFields(fields: Readonly<Record<string, ConditionField>>): void {
  for (const [name, field] of Object.entries(fields)) {
    if (worked.has(name)) throw new Error(`The condition field ${name} is declared twice`);
    worked.set(name, field);
  }
}

/** Adds tables of the owner that are no kind of record, under the names that their definitions give. */
export function relatedTables(...added: readonly RelatedTable[]): void {
  tables.push(...added);
}

let made: Vocabulary | null = null;

/** @throws Error where a name has two meanings */
export function vocabulary(): Vocabulary {
  made ??= makeVocabulary();
  return made;
}

function makeVocabulary(): Vocabulary {
  const fields = new Map<string, ConditionField>();
  const related = new Map<string, Related>();
  const put = <T>(map: Map<string, T>, name: string, value: T) => {
    if (map.has(name)) throw new Error(`Conditions know ${name} twice`);
    map.set(name, value);
  };
  for (const kind of recordKinds()) {
    const { owner, partOf } = definitionOf(kind.table);
    const scope = `${kind.access.scope}:read`;
    if (owner === 'id') {
      for (const [name, field] of fieldsOf(kind.table, scope)) put(fields, name, field);
    } else if (owner !== null && partOf === null) {
      put(related, kind.plural, relatedOf(kind.plural, kind.table, scope, partsOf(kind, scope)));
    }
  }
  for (const { table, scope, ownedBy = 'customer_id', where = null, parts = [] } of tables) {
    const { name } = definitionOf(table);
    const inner = parts.map((part) => partOf(definitionOf(part).name, part, scope, 'id'));
    put(related, name, {
      ...relatedOf(name, table, scope, new Map(inner.map((part) => [part.name, part]))),
      ownedBy,
      where,
    });
  }
  for (const [name, field] of worked) put(fields, name, field);
  return { fields, related };
}

/** Lines of a kind, and kinds that are part of it. */
function partsOf(kind: Kind, scope: string): ReadonlyMap<string, Related> {
  const parts = Object.entries(kind.lineTables).map(([member, table]) => partOf(member, table, scope, 'id'));
  for (const other of recordKinds()) {
    if (definitionOf(other.table).partOf?.table !== kind.table) continue;
    parts.push(partOf(other.plural, other.table, `${other.access.scope}:read`, 'id'));
  }
  return new Map(parts.map((part) => [part.name, part]));
}

function partOf(name: string, table: PgTable, scope: string, key: string): Related {
  const { partOf: whole, fields } = definitionOf(table);
  if (!whole) throw new Error(`${getTableName(table)} is part of nothing`);
  const by = sql.identifier(columnNamed(table, whole.by).name);
  const sharded = 'customerId' in fields && fields['customerId']?.spec.need === 'required';
  const related = relatedOf(name, table, scope, new Map());
  return {
    ...related,
    fields: new Map([...related.fields].filter(([member]) => member !== whole.by && member !== 'position')),
    belongs: (inner, outer) =>
      sql`${sharded ? sql`${inner}.customer_id = ${outer}.customer_id and ` : sql``}${inner}.${by} = ${outer}.${sql.identifier(key)}`,
  };
}

function relatedOf(name: string, table: PgTable, scope: string, parts: ReadonlyMap<string, Related>): Related {
  const { fields, owner } = definitionOf(table);
  const happened = Object.entries(fields).find(([, { spec }]) => spec.happened)?.[0];
  return {
    name,
    table,
    scope,
    personal: Object.values(fields).some(({ spec }) => spec.personal === 'row'),
    fields: new Map([...fieldsOf(table, scope)].filter(([member]) => member !== owner)),
    parts,
    belongs: null,
    ownedBy: 'customer_id',
    happened: happened === undefined ? null : columnNamed(table, happened).name,
    where: null,
  };
}

/** The fields of a table that clients know of: those that are answered, or that lists are filtered by. */
export function fieldsOf(table: PgTable, scope: string): ReadonlyMap<string, ConditionField> {
  const found = new Map<string, ConditionField>();
  for (const [member, { spec }] of Object.entries(definitionOf(table).fields)) {
    if (spec.output === null && !spec.filter) continue;
    const stored = columnNamed(table, member);
    const column = (row: SQL) => sql`${row}.${sql.identifier(stored.name)}`;
    const base = { ...markedBy(spec, scope), value: column };
    // Stored as the text that was sent; asked for as the number that it is.
    if (spec.output && typeNames.get(unwrapped(spec.output))?.name === 'Decimal') {
      found.set(member, { ...base, type: 'number', schema: null, value: (row) => sql`${column(row)}::numeric` });
      continue;
    }
    const type = typeOf(stored.getSQLType().replace(/ COLLATE .*/, ''), spec);
    if (type !== null) found.set(member, { ...base, ...type });
    else if (member === 'attributes')
      found.set(member, { ...base, type: 'attributes', schema: null, open: attributeName });
    else for (const inner of textMembers(spec)) found.set(`${member}.${inner}`, memberOf(base, column, inner));
  }
  return found;
}

type Base = Pick<ConditionField, 'personal' | 'scope' | 'cost' | 'from' | 'value' | 'says'>;

function markedBy({ personal, doc }: FieldSpec, scope: string) {
  return { personal: personal !== null, scope, cost: 1, from: null, says: doc?.description };
}

/** A text in a document of known members: `address.city`. */
function memberOf(base: Base, column: (row: SQL) => SQL, inner: string): ConditionField {
  const name = sql.raw(`'${inner}'`); // a name of ours
  return { ...base, type: 'text', schema: null, value: (row) => sql`${column(row)} ->> ${name}` };
}

function textMembers({ input }: FieldSpec): string[] {
  return (input ? membersOf(input) : []).flatMap(([name, schema]) =>
    unwrapped(schema) instanceof z.ZodString ? [name] : [],
  );
}

function typeOf(
  sqlType: string,
  { input, output, tell, amount }: FieldSpec,
): (Pick<ConditionField, 'type' | 'schema'> & Partial<ConditionField>) | null {
  const sent = input ?? output;
  const words = sent && unwrapped(sent);
  if (words instanceof z.ZodEnum) {
    // Stored as something else, it is not compared.
    return sqlType === 'text' ? { type: 'word', schema: words, words: words.options.map(String) } : null;
  }
  switch (sqlType) {
    case 'text':
    case 'char(3)':
      return { type: 'text', schema: words instanceof z.ZodString ? words : null };
    case 'text[]':
      return { type: 'texts', schema: null };
    case 'uuid':
      return { type: 'id', schema: null };
    case 'boolean':
      return { type: 'boolean', schema: null };
    case 'date':
      return { type: 'date', schema: null, ...(tell && { yearless: true }) };
    case 'timestamp with time zone':
      return { type: 'instant', schema: null };
    case 'smallint':
    case 'integer':
    case 'bigint':
    case 'numeric':
      return { type: 'number', schema: null, ...(amount === 'currency' && { ownCurrency: true }) };
    default:
      return null;
  }
}
