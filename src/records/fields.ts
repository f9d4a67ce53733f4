import type { NotNull, SQL } from 'drizzle-orm';
import {
  type AnyPgColumn,
  boolean as booleanColumn,
  char,
  date as dateColumn,
  integer as integerColumn,
  type PgColumnBuilderBase,
  type PgCustomColumnBuilder,
  smallint as smallintColumn,
  text as textColumn,
  uuid,
} from 'drizzle-orm/pg-core';
import { z } from 'zod';
import {
  amount as amountColumn,
  code as codeColumn,
  decimal as decimalColumn,
  instant as instantColumn,
  json as jsonColumn,
} from '../platform/db/columns.ts';
import { maskedForScoped } from '../platform/masked-fields.ts';
import { personal as masked } from '../platform/personal.ts';
import {
  amount,
  anyText,
  text as boundedText,
  calendarDate,
  currency as currencyCode,
  dateOrDay as dateOrDayText,
  instant as instantText,
  isYearOf,
  maxAmount,
  smallInteger,
  storedDay,
  toldDay,
  toldDaySql,
  id as uuidText,
  version as versionNumber,
} from '../platform/values.ts';

/**
 * One member of a record, defined once: its column, what clients send and receive, and what it means for everything
 * that is derived from the definition (masks, export, erasure, filters, orders, timeline).
 */

/** `required`: always there; `optional`: null when there is none; `defaulted`: has a value when none is sent. */
export type Need = 'required' | 'optional' | 'defaulted';

/** What an id refers to: the row's own record, another customer, or any other record. */
export type Names = 'customer' | 'record';

export interface FieldSpec {
  column: (name: string) => PgColumnBuilderBase;
  /** The column's name; that of the member in snake_case, if null. */
  columnName: string | null;
  input: z.ZodType | null;
  output: z.ZodType | null;
  /** What is sent → what is stored, and back; null: they are the same. */
  convert: { store: (sent: unknown) => unknown; load: (stored: unknown) => unknown } | null;
  /** How a stored value reads wherever it is told; null: as it is stored. */
  tell: ((stored: string) => string) | null;
  /** The same in SQL. */
  tellSql: ((stored: SQL) => SQL) | null;
  /** Whether another value, as it reads, says what this one says, and more: merges take that one. null: none does. */
  fuller: ((own: string, other: string) => boolean) | null;
  need: Need;
  /** Of lines: what is sent and cannot be used is left out with a warning. */
  lenient: boolean;
  /** The value when none is sent. */
  fallback: unknown;
  /** What erasing a person does: clears the value, or removes the row. null: not personal. */
  personal: 'clear' | 'row' | null;
  /** What erasing leaves of a personal value; null: nothing. */
  left: SQL | null;
  names: Names | null;
  /** For the id of another customer, who cannot be deleted while a row refers to it: what the refusal calls such a row. */
  guard: string | null;
  /**
   * For the id of another customer: the kind under which a merge notes the rows in which it replaces the id (`records/merge.ts`);
   * `true`: `orders.introducedBy`. null: the feature that has the member replaces it, or it stays.
   */
  replaced: string | true | null;
  /** Money: in the record's `currency`, or that of the record it is part of; or in the base currency. */
  amount: 'currency' | 'base' | null;
  /** Texts for the documents of both doors. */
  doc: Doc | null;
  generated: SQL | null;
  foreignKey: { column: () => AnyPgColumn; onDelete?: 'cascade' } | null;
  /** `filter=value` in lists, and what finds its rows: an index that `record` derives, or one that the definition names. */
  filter: false | 'derived' | 'named';
  /** `…From` and `…To` in lists. */
  range: boolean;
  sort: boolean;
  /** When it happened: the place in the timeline. */
  happened: boolean;
  /** An instant of contact with the customer, in either direction: a sign of life. */
  lifeSign: boolean;
}

const plainSpec = {
  columnName: null,
  convert: null,
  tell: null,
  tellSql: null,
  fuller: null,
  need: 'optional',
  lenient: false,
  fallback: null,
  personal: null,
  left: null,
  names: null,
  guard: null,
  replaced: null,
  amount: null,
  doc: null,
  generated: null,
  foreignKey: null,
  filter: false,
  range: false,
  sort: false,
  happened: false,
  lifeSign: false,
} as const satisfies Partial<FieldSpec>;

type Doc = { description: string; example?: unknown };

/** @typeParam D what is stored; I what clients send; O what they receive, before `need` is applied */
export class Field<D, N extends Need, I extends z.ZodType | null, O extends z.ZodType | null> {
  /** Only for the type checker. */
  declare readonly types: { stored: D; need: N; input: I; output: O };
  readonly spec: FieldSpec;

  constructor(spec: FieldSpec) {
    this.spec = spec;
  }

  required(): Field<D, 'required', I, O> {
    return new Field({ ...this.spec, need: 'required' });
  }

  /** There may be none. */
  optional(): Field<D, 'optional', I, O> {
    return new Field({ ...this.spec, need: 'optional' });
  }

  /** Takes this value when none is sent. */
  defaultsTo(value: D): Field<D, 'defaulted', I, O> {
    return new Field({ ...this.spec, need: 'defaulted', fallback: value });
  }

  /** Of lines: what is sent and cannot be used is left out with a warning, so that the record is not lost. */
  lenient(this: Field<D, 'optional', z.ZodString, O>): Field<D, 'optional', z.ZodString, O> {
    return new Field({ ...this.spec, lenient: true });
  }

  /** Clients do not send it. */
  readOnly(): Field<D, N, null, O> {
    return new Field({ ...this.spec, input: null });
  }

  /** Not returned to clients. */
  hidden(): Field<D, N, I, null> {
    return new Field({ ...this.spec, output: null });
  }

  /** Neither sent by clients nor returned to them. */
  internal(): Field<D, N, null, null> {
    return new Field({ ...this.spec, input: null, output: null });
  }

  /** Computed by the database from other columns of the row. */
  generated(expression: SQL): Field<D, N, null, O> {
    return new Field({ ...this.spec, input: null, generated: expression });
  }

  /** Returns this schema instead. */
  answers<T extends z.ZodType>(output: T): Field<D, N, I, T> {
    return new Field({ ...this.spec, output });
  }

  /** Takes this schema instead. */
  takes<T extends z.ZodType>(input: T): Field<D, N, T, O> {
    return new Field({ ...this.spec, input });
  }

  /** Texts for the documents of both doors. A schema with a name of its own (`meta({ id })`) keeps its own text. */
  says(description: string, example?: unknown): this {
    return this.with({ doc: { description, ...(example !== undefined && { example }) } });
  }

  /** Removing the row is what erasing a person does. */
  removedWithPerson(): this {
    return this.with({ personal: 'row' });
  }

  /** What erasing a person leaves of it. */
  leaves(rest: SQL): this {
    return this.with({ left: rest });
  }

  named(columnName: string): this {
    return this.with({ columnName });
  }

  /** Its value contains the id of another customer. */
  namesCustomer(): this {
    return this.with({ names: 'customer' });
  }

  /** Merges note the rows in which they replace this id under this kind, not under that of the table and member. */
  replacedAs(kind: string): this {
    return this.with({ replaced: kind });
  }

  /** Merges leave this id to the feature that has it. */
  replacedByHand(): this {
    return this.with({ replaced: null });
  }

  references(column: () => AnyPgColumn, onDelete?: 'cascade'): this {
    return this.with({ foreignKey: { column, ...(onDelete && { onDelete }) } });
  }

  /**
   * `filter=value` in lists. Of an internal member, the operation makes the parameter.
   *
   * @param index `named`: an index in `extras` finds its rows. Default: one is derived.
   */
  filter(index: 'derived' | 'named' = 'derived'): this {
    return this.with({ filter: index });
  }

  range(): this {
    return this.with({ range: true });
  }

  sort(): this {
    return this.with({ sort: true });
  }

  /** When it happened: its place in the timeline, and a sign of life of the customer. */
  happened(): this {
    return this.with({ happened: true, lifeSign: true });
  }

  /** An instant of contact with the customer, in either direction: a sign of life. */
  lifeSign(): this {
    return this.with({ lifeSign: true });
  }

  /** Money in the base currency. */
  inBaseCurrency(): this {
    return this.with({ amount: 'base' });
  }

  /** Money in the `currency` of the record. */
  inOwnCurrency(): this {
    return this.with({ amount: 'currency' });
  }

  private with(changes: Partial<FieldSpec>): this {
    return new Field({ ...this.spec, ...changes }) as this; // the same kinds of value
  }
}

/** A text, date or document. It becomes a field only by `personal()` or `plain()`, so nobody forgets to decide. */
export class Undecided<D, I extends z.ZodType, O extends z.ZodType> {
  readonly #spec: FieldSpec;

  constructor(spec: FieldSpec) {
    this.#spec = spec;
  }

  /** Personal data: masked, audited, exported and erased. */
  personal(): Field<D, 'optional', I, z.ZodNullable<O>> {
    const { output } = this.#spec;
    return new Field({ ...this.#spec, personal: 'clear', output: output && masked(output) });
  }

  /** Not personal data: codes, names of staff, what is said of a product. */
  plain(): Field<D, 'optional', I, O> {
    return new Field(this.#spec);
  }
}

function spec(column: FieldSpec['column'], input: z.ZodType, output: z.ZodType): FieldSpec {
  return { ...plainSpec, column, input, output };
}

const plainText = z.string();

export function text(max: number): Undecided<string, z.ZodString, z.ZodString> {
  return new Undecided(spec(textColumn, boundedText(max), plainText));
}

/** A text that keeps its order byte by byte, whatever the locale of the server: what keyset lists and look-ups go by. */
export function code(max: number): Undecided<string, z.ZodString, z.ZodString> {
  return new Undecided(spec(codeColumn, boundedText(max), plainText));
}

export function date(): Undecided<string, typeof calendarDate, typeof calendarDate> {
  return new Undecided(spec(dateColumn, calendarDate, calendarDate));
}

/** A date whose year may not be known: `--02-14`. */
export function dateOrDay(): Undecided<string, typeof dateOrDayText, typeof dateOrDayText> {
  const convert = { store: (sent: unknown) => storedDay(String(sent)), load: (stored: unknown) => stored };
  return new Undecided({
    ...spec(dateColumn, dateOrDayText, dateOrDayText),
    convert,
    tell: toldDay,
    tellSql: toldDaySql,
    fuller: isYearOf,
  });
}

/** A list of texts. */
export function texts(max: number): Undecided<string[], z.ZodArray<z.ZodString>, z.ZodArray<z.ZodString>> {
  return new Undecided(spec((name) => textColumn(name).array(), z.array(boundedText(max)), z.array(plainText)));
}

export function dates(): Undecided<string[], z.ZodArray<typeof calendarDate>, z.ZodArray<typeof calendarDate>> {
  const list = z.array(calendarDate);
  return new Undecided(spec((name) => dateColumn(name).array(), list, list));
}

export function integers(): Field<number[], 'optional', z.ZodArray<z.ZodInt>, z.ZodArray<z.ZodInt>> {
  return new Field(spec((name) => integerColumn(name).array(), z.array(z.int()), z.array(smallInteger)));
}

/** A list of amounts in the base currency. */
export function amounts(): Field<number[], 'optional', z.ZodArray<z.ZodInt>, z.ZodArray<typeof amount>> {
  return new Field({
    ...spec((name) => amountColumn(name).array(), z.array(z.int()), z.array(amount)),
    amount: 'base',
  });
}

/** A document that Postgres understands; key order is not kept. */
export function json<I extends z.ZodType, O extends z.ZodType = I>(input: I, output?: O): Undecided<z.output<I>, I, O> {
  return new Undecided(spec(jsonColumn, input, output ?? input));
}

/** One of a set of words. */
export function words<T extends z.ZodEnum>(schema: T): Field<z.output<T>, 'optional', T, T> {
  return new Field(spec(textColumn, schema, schema));
}

/** One of a set of words, in a column like that of `code`. */
export function wordCodes<T extends z.ZodEnum>(schema: T): Field<z.output<T>, 'optional', T, T> {
  return new Field(spec(codeColumn, schema, schema));
}

export function instant(): Field<string, 'optional', typeof instantText, typeof instantText> {
  return new Field(spec(instantColumn, instantText, instantText));
}

export function currency(): Field<string, 'optional', typeof currencyCode, typeof currencyCode> {
  return new Field(spec((name) => char(name, { length: 3 }), currencyCode, currencyCode));
}

/** Minor units of the record's `currency`, unless it says `inBaseCurrency`. */
export function money(range: { min?: number; max?: number } = {}): Field<number, 'optional', z.ZodInt, typeof amount> {
  const { min = 0, max = maxAmount } = range;
  const input = z
    .int()
    .min(min)
    .max(max)
    .meta({
      description: min === 0 ? 'Minor units of the currency, not negative.' : 'Minor units of the currency.',
    });
  return new Field({ ...spec(amountColumn, input, amount), amount: 'currency' });
}

export function integer(min: number, max: number): Field<number, 'optional', z.ZodInt, z.ZodInt> {
  return new Field(spec(integerColumn, z.int().min(min).max(max), smallInteger));
}

/** A count that may exceed 32 bits. */
export function count(): Field<number, 'optional', z.ZodInt, z.ZodInt> {
  return new Field(spec(amountColumn, z.int(), z.int()));
}

export function smallint(min: number, max: number): Field<number, 'optional', z.ZodInt, z.ZodInt> {
  return new Field(spec(smallintColumn, z.int().min(min).max(max), smallInteger));
}

/** An exact decimal; kept as text in the process. */
export function decimal<I extends z.ZodType, O extends z.ZodType>(
  input: I,
  output: O,
): Field<string, 'optional', I, O> {
  return new Field(spec(decimalColumn, input, output));
}

/** A number with decimals, answered as a JSON number. */
export function quantity(schema: z.ZodNumber): Field<string, 'optional', z.ZodNumber, z.ZodNumber> {
  return new Field({ ...spec(decimalColumn, schema, schema), convert: { store: String, load: Number } });
}

export function boolean(): Field<boolean, 'optional', z.ZodBoolean, z.ZodBoolean> {
  return new Field(spec(booleanColumn, z.boolean(), z.boolean()));
}

/** Counts the changes of a record; compared with the version that a client expects. */
export function version(): Field<number, 'required', null, typeof versionNumber> {
  return integer(1, 2_147_483_647).required().readOnly().answers(versionNumber);
}

/** The record's own id. */
export function key(): Field<string, 'required', null, typeof uuidText> {
  return new Field({ ...spec(uuid, uuidText, uuidText), need: 'required', input: null });
}

/** The id of the customer who owns the row, for tables of their own (`record` adds it automatically). */
export function ownerId(
  column?: () => AnyPgColumn,
  onDelete?: 'cascade',
): Field<string, 'required', null, typeof uuidText> {
  return column ? key().references(column, onDelete) : key();
}

/** The id of another record. */
export function recordId(): Field<string, 'optional', typeof uuidText, typeof uuidText> {
  return new Field({ ...spec(uuid, uuidText, uuidText), names: 'record' });
}

/** The ids of other records. */
export function recordIds(): Field<string[], 'optional', z.ZodArray<typeof uuidText>, z.ZodArray<typeof uuidText>> {
  const ids = z.array(uuidText);
  return new Field({ ...spec((name) => uuid(name).array(), ids, ids), names: 'record' });
}

/**
 * The id of another customer: masked for partner and customer tokens, and replaced when that customer is merged.
 *
 * @param guard the other customer cannot be deleted while a row refers to it; what the refusal calls such a row
 */
export function otherCustomer(
  guard: string | null = null,
): Field<string, 'optional', typeof uuidText, z.ZodNullable<typeof uuidText>> {
  return new Field({
    ...spec(uuid, uuidText, maskedForScoped(uuidText.nullable())),
    names: 'customer',
    guard,
    replaced: true,
  });
}

type Tell = NonNullable<FieldSpec['tell']>;
const tellers = new WeakMap<object, readonly (readonly [string, Tell])[]>();

/** Rewrites in place the values that read otherwise than they are stored. */
export function tellMembers(fields: Fields, row: Record<string, unknown>): void {
  let tells = tellers.get(fields);
  if (!tells) {
    tells = Object.entries(fields).flatMap(([member, { spec }]) => (spec.tell ? [[member, spec.tell] as const] : [])); // a pair
    tellers.set(fields, tells);
  }
  for (const [member, tell] of tells) {
    const value = row[member];
    if (typeof value === 'string') row[member] = tell(value);
  }
}

const specLists = new WeakMap<Fields, readonly (readonly [member: string, spec: FieldSpec])[]>();

/** The fields as a list, made once: writes go through it for every record and line. */
export function specsOf(fields: Fields): readonly (readonly [member: string, spec: FieldSpec])[] {
  const known = specLists.get(fields) ?? Object.entries(fields).map(([member, { spec }]) => [member, spec] as const);
  specLists.set(fields, known);
  return known;
}

type AnyField = Field<unknown, Need, z.ZodType | null, z.ZodType | null>;
export type Fields = Readonly<Record<string, AnyField>>;

/* What follows from fields, for the type checker. */

type Builder<D> = PgCustomColumnBuilder<{
  name: string;
  dataType: 'custom';
  columnType: 'PgCustomColumn';
  data: D;
  driverParam: unknown;
  enumValues: undefined;
}>;

export type ColumnOf<F> =
  F extends Field<infer D, infer N, infer _I, infer _O>
    ? N extends 'optional'
      ? Builder<D>
      : NotNull<Builder<D>>
    : never;

/** The schema of what is stored: nullable for optional fields. */
export type StoredOf<F> =
  F extends Field<infer D, infer N, infer _I, infer _O> ? (N extends 'optional' ? D | null : D) : never;

export type InputOf<F> =
  F extends Field<infer _D, infer N, infer I, infer _O>
    ? I extends z.ZodType
      ? N extends 'required'
        ? I
        : N extends 'defaulted'
          ? z.ZodOptional<I>
          : z.ZodOptional<z.ZodNullable<I>>
      : never
    : never;

export type OutputOf<F> =
  F extends Field<infer _D, infer N, infer _I, infer O>
    ? O extends z.ZodNullable
      ? O
      : O extends z.ZodType
        ? N extends 'optional'
          ? z.ZodNullable<O>
          : O
        : never
    : never;

type Given<F, Part extends 'input' | 'output'> = {
  [K in keyof F]: F[K] extends { types: { [P in Part]: null } } ? never : K;
}[keyof F];

export type InputShape<F> = { [K in Given<F, 'input'>]: InputOf<F[K]> };
export type OutputShape<F> = { [K in Given<F, 'output'>]: OutputOf<F[K]> };
export type Row<F> = { [K in keyof F]: StoredOf<F[K]> };

/** What clients may send of a field; null: nothing. */
export function inputOf({ spec: { input, need, lenient, doc } }: AnyField): z.ZodType | null {
  if (input === null) return null;
  const taken = lenient ? anyText : input;
  const wrapped = need === 'required' ? taken : need === 'defaulted' ? taken.optional() : taken.nullable().optional();
  return documented(wrapped, doc);
}

/** What clients receive of a field; null: nothing. */
export function outputOf({ spec: { output, need, doc } }: AnyField): z.ZodType | null {
  if (output === null) return null;
  return documented(need === 'optional' && !(output instanceof z.ZodNullable) ? output.nullable() : output, doc);
}

/** A schema with a text; one that has a name of its own is left alone, or it would lose the name. */
function documented(schema: z.ZodType, doc: Doc | null): z.ZodType {
  return doc && schema.meta()?.id === undefined ? schema.meta(doc) : schema;
}

/** `placedAt` → `placed_at` */
export function snakeCase(member: string): string {
  return member.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** The column of a field, for Drizzle. */
export function columnOf(member: string, { spec: { column, columnName, need, generated, foreignKey } }: AnyField) {
  // Every builder has these; their types differ by the kind of column.
  let builder = column(columnName ?? snakeCase(member)) as ReturnType<typeof uuid>;
  if (need !== 'optional') builder = builder.notNull() as typeof builder; // says so in its type alone
  if (generated) builder = builder.generatedAlwaysAs(generated) as unknown as typeof builder; // likewise
  if (foreignKey)
    builder = builder.references(
      foreignKey.column,
      foreignKey.onDelete && { onDelete: foreignKey.onDelete },
    ) as typeof builder; // likewise
  return builder;
}
