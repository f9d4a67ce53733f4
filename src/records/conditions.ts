import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { addDays, isBefore } from '../domain/period.ts';
import { localDateOf } from '../domain/preceding-period.ts';
import type { Db } from '../platform/db/client.ts';
import { type FieldError, mostErrors, Problem } from '../platform/errors.ts';
import { pointerOf } from '../platform/faults.ts';
import { calendarDate, id, instant, text } from '../platform/values.ts';
import {
  type ConditionField,
  type FieldType,
  type Moment,
  type OneRow,
  type Operator,
  operators,
  operatorsOf,
  type Related,
  type Value,
  type Vocabulary,
  vocabulary,
} from './condition-fields.ts';

/*
 * The language of conditions on owners: a tree of `and`, `or`, `not` and leaves `{field, op, value}`, and `{has: kind}` for the
 * records of an owner, which have conditions of their own. `readCondition` checks a tree and refuses what is too deep, too wide or
 * too costly before anything is asked; `compile` makes it one parameterised condition in SQL.
 *
 * A leaf on a value that is not there is false, so `not` is the complement.
 */

export type Condition =
  | { and: Condition[] }
  | { or: Condition[] }
  | { not: Condition }
  | Leaf
  | Has
  /** Those of a stored group, which the caller knows. */
  | { in: string; at: Relative | null; pointer: string };

interface Leaf {
  field: ConditionField;
  name: string;
  rest: string;
  op: Operator;
  value: Relative;
  pointer: string;
}

/** A value, or days before (or after) the moment. */
type Relative = Value | { daysAgo: number };

interface Has {
  has: Related;
  where: Condition | null;
  count: Bounds | null;
  sum: (Bounds & { field: ConditionField }) | null;
  nth: { n: number; where: Condition | null } | null;
  pointer: string;
}

interface Bounds {
  atLeast?: number | undefined;
  atMost?: number | undefined;
}

/** What a tree was found to be. */
export interface Read {
  condition: Condition;
  /** The fields that tell something of a person, as `birthday` or `orders.note`, with where they stand. */
  personal: ReadonlyMap<string, string>;
  /** The scopes that it needs, with where. */
  scopes: ReadonlyMap<string, string>;
  /** The groups that it names. */
  groups: ReadonlyMap<string, string>;
}

export const limits = { depth: 8, width: 50, leaves: 100, values: 500, cost: 250, text: 1_000, days: 36_500 } as const;

/** What a leaf of this type costs to look at, in columns. */
const costOf: Partial<Record<Operator, number>> = { contains: 5, starts_with: 2 };
const costOfHas = 10;
const costOfCounting = 20;

type Path = readonly (string | number)[];

class Reader {
  readonly errors: FieldError[] = [];
  readonly personal = new Map<string, string>();
  readonly scopes = new Map<string, string>();
  readonly groups = new Map<string, string>();
  #leaves = 0;
  #cost = 0;
  readonly #base: string;

  constructor(base: string) {
    this.#base = base;
  }

  #at(path: Path): string {
    return `${this.#base}${pointerOf(path)}`;
  }

  /** Notes what is wrong; the tree is refused as a whole at the end. */
  #wrong(path: Path, code: string, message: string): null {
    this.errors.push({ pointer: this.#at(path), code, message });
    if (this.errors.length >= mostErrors) throw new Enough();
    return null;
  }

  #spend(path: Path, cost: number): void {
    this.#cost += cost;
    if (this.#cost > limits.cost) this.#stop(path, 'too_costly', 'The conditions cost too much: send fewer of them.');
  }

  /** Beyond a limit nothing more is looked at. */
  #stop(path: Path, code: string, message: string): never {
    this.#wrong(path, code, message);
    throw new Enough();
  }

  node(value: unknown, path: Path, words: Words, depth: number): Condition | null {
    if (depth > limits.depth) {
      this.#stop(path, 'too_deep', `Conditions may be nested ${limits.depth} deep.`);
    }
    if (!isObject(value))
      return this.#wrong(
        path,
        'invalid_type',
        'A condition is an object, e.g. {"field": "kind", "op": "eq", "value": "person"}.',
      );
    const shape = shapes.find((one) => Object.hasOwn(value, one));
    if (shape === undefined) {
      return this.#wrong(path, 'invalid_condition', 'A condition has and, or, not, field, has or segment.');
    }
    const unknown = Object.keys(value).filter((key) => !membersOf[shape].includes(key));
    if (unknown.length > 0) {
      for (const key of unknown.slice(0, 10)) {
        this.#wrong([...path, key], 'unknown_member', `Unknown member of a condition with ${shape}.`);
      }
      return null;
    }
    if (shape === 'and' || shape === 'or') {
      const parts = this.#list(value[shape], [...path, shape], words, depth);
      if (parts === null) return null;
      return shape === 'and' ? { and: parts } : { or: parts };
    }
    if (shape === 'not') {
      const inner = this.node(value['not'], [...path, 'not'], words, depth + 1);
      return inner && { not: inner };
    }
    if (shape === 'has') return this.#has(value, path, words, depth);
    if (shape === 'segment') return this.#group(value, path, words);
    return this.#leaf(value, path, words);
  }

  #list(value: unknown, path: Path, words: Words, depth: number): Condition[] | null {
    if (!Array.isArray(value) || value.length === 0) {
      return this.#wrong(path, 'invalid_type', 'A list of at least one condition.');
    }
    if (value.length > limits.width) {
      this.#stop(path, 'too_wide', `At most ${limits.width} conditions side by side.`);
    }
    const parts = value.map((one, index) => this.node(one, [...path, index], words, depth + 1));
    return parts.every((part) => part !== null) ? parts : null;
  }

  #group({ segment, asOf }: Record<string, unknown>, path: Path, words: Words): Condition | null {
    const at = [...path, 'segment'];
    if (!words.isOwner) return this.#wrong(at, 'invalid_condition', 'A segment is of owners: name it outside of has.');
    const parsed = id.safeParse(segment);
    if (!parsed.success) return this.#wrong(at, 'invalid_format', 'The id of a segment.');
    this.#spend(path, costOfHas);
    const given = asOf !== undefined && asOf !== null;
    const then = given ? this.#one(asOf, [...path, 'asOf'], anInstant, 'lt') : null;
    if (given && then === null) return null;
    this.groups.set(parsed.data, this.#at(at));
    return { in: parsed.data, at: then, pointer: this.#at(at) };
  }

  #needs(path: Path, name: string, { personal, scope }: { personal: boolean; scope: string }): void {
    if (personal && !this.personal.has(name)) this.personal.set(name, this.#at(path));
    if (!this.scopes.has(scope)) this.scopes.set(scope, this.#at(path));
  }

  #leaf(value: Record<string, unknown>, path: Path, words: Words): Leaf | null {
    this.#leaves += 1;
    if (this.#leaves > limits.leaves) this.#stop(path, 'too_wide', `At most ${limits.leaves} conditions on fields.`);
    const found = this.#field(value['field'], [...path, 'field'], words);
    if (!found) return null;
    const { field, name, rest } = found;
    this.#needs([...path, 'field'], `${words.prefix}${name}`, field);
    const op = operators.find((one) => one === value['op']);
    const possible = field.operators ?? operatorsOf[field.type];
    if (op === undefined || !possible.includes(op)) {
      return this.#wrong([...path, 'op'], 'invalid_value', `${name} takes ${possible.join(', ')}.`);
    }
    this.#spend(path, field.cost * (costOf[op] ?? 1));
    const taken = this.#value(value['value'], [...path, 'value'], field, op);
    return taken === null ? null : { field, name, rest, op, value: taken, pointer: this.#at(path) };
  }

  #field(value: unknown, path: Path, { fields }: Words): { field: ConditionField; name: string; rest: string } | null {
    if (typeof value !== 'string') return this.#wrong(path, 'required', 'The name of a field.');
    const whole = fields.get(value);
    if (whole && !whole.open) return { field: whole, name: value, rest: '' };
    const dot = value.indexOf('.');
    const field = dot > 0 ? fields.get(value.slice(0, dot)) : undefined;
    if (!field?.open) {
      return this.#wrong(path, 'unknown_field', 'There is no such field: ask which there are.');
    }
    const rest = value.slice(dot + 1);
    if (!field.open.safeParse(rest).success) {
      return this.#wrong(path, 'unknown_field', 'What stands behind the dot is none of its names.');
    }
    // What a client calls its attributes is not told to the audit.
    return { field, name: value.slice(0, dot), rest };
  }

  #value(value: unknown, path: Path, field: ConditionField, op: Operator): Relative | null {
    if (op === 'exists') {
      return typeof value === 'boolean' ? value : this.#wrong(path, 'invalid_type', 'true or false.');
    }
    if (op !== 'in') return this.#one(value, path, field, op);
    if (!Array.isArray(value) || value.length === 0) {
      return this.#wrong(path, 'invalid_type', 'A list of at least one value.');
    }
    if (value.length > limits.values) this.#stop(path, 'too_wide', `At most ${limits.values} values.`);
    const many = value.map((one, index) => this.#one(one, [...path, index], field, op));
    // Lists have no relative times, as no instant or date takes them.
    return many.every((one) => one !== null) ? (many as (string | number | boolean)[]) : null;
  }

  #one(value: unknown, path: Path, field: ConditionField, op: Operator): Relative | null {
    const { type } = field;
    if ((type === 'instant' || type === 'date') && isObject(value)) return this.#days(value, path);
    const schema = op === 'starts_with' || op === 'contains' ? anyText : (field.schema ?? schemaOf(type, op));
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data as Value; // of a schema of texts, numbers or booleans
    const [issue] = parsed.error.issues;
    const custom = issue?.code === 'custom' ? issue.params?.['code'] : undefined;
    return this.#wrong(
      path,
      typeof custom === 'string' ? custom : (issue?.code ?? 'invalid_value'),
      meaningOf(field, op),
    );
  }

  #days(value: Record<string, unknown>, path: Path): Relative | null {
    const [only, ...more] = Object.entries(value);
    const isDays = only && more.length === 0 && (only[0] === 'daysAgo' || only[0] === 'daysAhead');
    if (!isDays || typeof only[1] !== 'number' || !Number.isInteger(only[1]) || Math.abs(only[1]) > limits.days) {
      return this.#wrong(path, 'invalid_value', 'Relative times are {"daysAgo": 90} or {"daysAhead": 7}, whole days.');
    }
    return { daysAgo: only[0] === 'daysAgo' ? only[1] : -only[1] };
  }

  #has(value: Record<string, unknown>, path: Path, words: Words, depth: number): Condition | null {
    const name = value['has'];
    const related = typeof name === 'string' ? words.related.get(name) : undefined;
    if (!related) {
      return this.#wrong(
        [...path, 'has'],
        'unknown_field',
        `There are no such records here: ${[...words.related.keys()].join(', ') || 'none'}.`,
      );
    }
    this.#needs([...path, 'has'], `${words.prefix}${related.name}`, related);
    const inner: Words = {
      fields: related.fields,
      related: related.parts,
      prefix: `${words.prefix}${related.name}.`,
      isOwner: false,
    };
    const given = (member: string) => value[member] !== undefined && value[member] !== null;
    this.#spend(path, given('count') || given('sum') || given('nth') ? costOfCounting : costOfHas);
    const where = given('where') ? this.node(value['where'], [...path, 'where'], inner, depth + 1) : null;
    const count = given('count') ? this.#bounds(value['count'], [...path, 'count'], []) : null;
    const sum = given('sum') ? this.#sum(value['sum'], [...path, 'sum'], inner) : null;
    const nth = given('nth') ? this.#nth(value['nth'], [...path, 'nth'], related, inner, depth) : null;
    if (Number(given('count')) + Number(given('sum')) + Number(given('nth')) > 1) {
      return this.#wrong(path, 'invalid_condition', 'Send one of count, sum and nth; join several by and.');
    }
    return { has: related, where, count, sum, nth, pointer: this.#at(path) };
  }

  #bounds(value: unknown, path: Path, others: readonly string[]): Bounds | null {
    if (!isObject(value)) return this.#wrong(path, 'invalid_type', 'Send {"atLeast": …} or {"atMost": …}, or both.');
    const unknown = Object.keys(value).find((key) => !['atLeast', 'atMost', ...others].includes(key));
    if (unknown !== undefined) return this.#wrong([...path, unknown], 'unknown_member', 'Unknown member.');
    const { atLeast, atMost } = value;
    for (const [name, bound] of Object.entries({ atLeast, atMost })) {
      if (bound !== undefined && (typeof bound !== 'number' || !Number.isFinite(bound))) {
        return this.#wrong([...path, name], 'invalid_type', 'A number.');
      }
    }
    if (atLeast === undefined && atMost === undefined) {
      return this.#wrong(path, 'required', 'Send atLeast or atMost.');
    }
    return { atLeast: atLeast as number | undefined, atMost: atMost as number | undefined }; // checked above
  }

  #sum(value: unknown, path: Path, words: Words): Has['sum'] {
    const bounds = this.#bounds(value, path, ['field']);
    if (!bounds || !isObject(value)) return null;
    const at = [...path, 'field'];
    const found = this.#field(value['field'], at, words);
    if (!found) return null;
    const { field, name } = found;
    if (field.type !== 'number') return this.#wrong(at, 'invalid_value', 'Only numbers can be added up.');
    if (field.ownCurrency) {
      return this.#wrong(
        at,
        'mixed_currencies',
        `${name} is in the currency of each record: take a member in the base currency.`,
      );
    }
    this.#needs(at, `${words.prefix}${name}`, field);
    return { ...bounds, field };
  }

  #nth(value: unknown, path: Path, { happened }: Related, words: Words, depth: number): Has['nth'] {
    if (happened === null) return this.#wrong(path, 'invalid_condition', 'These records have no order in time.');
    if (!isObject(value))
      return this.#wrong(path, 'invalid_type', 'Send {"n": 3, "where": …}; n below 0 counts from the last.');
    const unknown = Object.keys(value).find((key) => key !== 'n' && key !== 'where');
    if (unknown !== undefined) return this.#wrong([...path, unknown], 'unknown_member', 'Unknown member.');
    const { n, where } = value;
    if (typeof n !== 'number' || !Number.isInteger(n) || n === 0 || Math.abs(n) > 10_000) {
      return this.#wrong([...path, 'n'], 'invalid_value', 'A whole number from 1, or from −1 for the last, to 10,000.');
    }
    const inner = where === undefined || where === null ? null : this.node(where, [...path, 'where'], words, depth + 1);
    return { n, where: inner };
  }
}

/** Thrown when nothing more is to be looked at. */
class Enough extends Error {}

interface Words extends Vocabulary {
  /** Where the fields are: `orders.`. */
  prefix: string;
  isOwner: boolean;
}

const shapes = ['and', 'or', 'not', 'field', 'has', 'segment'] as const;
const membersOf: Readonly<Record<(typeof shapes)[number], readonly string[]>> = {
  and: ['and'],
  or: ['or'],
  not: ['not'],
  field: ['field', 'op', 'value'],
  has: ['has', 'where', 'count', 'sum', 'nth'],
  segment: ['segment', 'asOf'],
};

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What the instant of a group is read as. */
const anInstant: ConditionField = {
  type: 'instant',
  personal: false,
  scope: '',
  cost: 0,
  schema: null,
  from: null,
  value: () => sql`null`,
};

const anyText = text(limits.text);
const anyNumber = z.number().min(-1e15).max(1e15);
const anyBoolean = z.boolean();
const anyScalar = z.union([anyText, anyNumber, anyBoolean]);

function schemaOf(type: FieldType, op: Operator): z.ZodType {
  switch (type) {
    case 'text':
    case 'word':
    case 'texts':
      return anyText;
    case 'number':
      return anyNumber;
    case 'instant':
      return instant;
    case 'date':
      return calendarDate;
    case 'boolean':
      return anyBoolean;
    case 'id':
      return id;
    case 'attributes':
      return op === 'eq' || op === 'in' ? anyScalar : anyNumber;
  }
}

function meaningOf({ type, words, schema }: ConditionField, op: Operator): string {
  if (words) return `One of ${words.join(', ')}.`;
  if (type === 'attributes') return op === 'eq' || op === 'in' ? 'A text, number or boolean.' : 'A number.';
  if (type === 'text' && schema) return 'A text that the field can have.';
  return meanings[type];
}

const meanings: Readonly<Record<FieldType, string>> = {
  text: `A text of 1 to ${limits.text} characters.`,
  word: 'One of its words.',
  number: 'A number.',
  instant: 'An RFC 3339 instant, or {"daysAgo": 90}.',
  date: 'A calendar date, or {"daysAgo": 90}.',
  boolean: 'true or false.',
  id: 'An id.',
  texts: `A text of 1 to ${limits.text} characters.`,
  attributes: 'A text, number or boolean.',
};

/**
 * Checks a tree. Nothing is asked of the database.
 *
 * @param base where it stands: the pointer of the member that holds it
 * @throws Problem invalid_input with a pointer to each fault
 */
export function readCondition(tree: unknown, base: string): Read {
  const reader = new Reader(base);
  const words: Words = { ...vocabulary(), prefix: '', isOwner: true };
  let condition: Condition | null = null;
  try {
    condition = reader.node(tree, [], words, 1);
  } catch (error) {
    if (!(error instanceof Enough)) throw error;
  }
  const [first] = reader.errors;
  if (first || !condition) {
    throw new Problem('invalid_input', `${first?.pointer}: ${first?.message}`, { errors: reader.errors });
  }
  const { personal, scopes, groups } = reader;
  return { condition, personal, scopes, groups };
}

export function momentOf(asOf: string, { now, reportingTimeZone }: { now: string; reportingTimeZone: string }): Moment {
  return {
    asOf,
    today: localDateOf(asOf, reportingTimeZone),
    timeZone: reportingTimeZone,
    past: isBefore(asOf, now),
  };
}

/** Makes the condition of a group that a tree names, on an owner. */
export type GroupCondition = (group: string, owner: SQL, at: string) => SQL;

/** What a tree has to know before it is compiled. */
export type Prepared = ReadonlyMap<OneRow, unknown>;

export async function prepare(db: Db, condition: Condition, moment: Moment): Promise<Prepared> {
  const rows = [...new Set(rowsReadBy(condition))];
  return new Map(await Promise.all(rows.map(async (one) => [one, await one.prepare?.(db, moment)] as const))); // a pair
}

/** The groups that a tree names, each with the instant as of which it is asked. */
export function groupsAsked(condition: Condition, moment: Moment): { group: string; at: string }[] {
  if ('and' in condition) return condition.and.flatMap((one) => groupsAsked(one, moment));
  if ('or' in condition) return condition.or.flatMap((one) => groupsAsked(one, moment));
  if ('not' in condition) return groupsAsked(condition.not, moment);
  return 'in' in condition ? [{ group: condition.in, at: instantOf(condition.at, moment) }] : [];
}

function instantOf(at: Relative | null, moment: Moment): string {
  return at === null ? moment.asOf : String(resolved(at, 'instant', moment));
}

/** Whether a tree can be asked of the past: all that it reads happened at an instant, and nothing of it is only as it is now. */
export function hasPast(condition: Condition): boolean {
  if ('and' in condition) return condition.and.every(hasPast);
  if ('or' in condition) return condition.or.every(hasPast);
  if ('not' in condition) return hasPast(condition.not);
  if ('in' in condition) return true;
  if ('has' in condition) return condition.has.happened !== null;
  return condition.field.past === true;
}

function rowsReadBy(condition: Condition): OneRow[] {
  if ('and' in condition) return condition.and.flatMap(rowsReadBy);
  if ('or' in condition) return condition.or.flatMap(rowsReadBy);
  if ('not' in condition) return rowsReadBy(condition.not);
  return 'field' in condition && condition.field.from ? [condition.field.from] : [];
}

/**
 * A tree as one condition on a row of the owners.
 *
 * @param row the alias of the row, with the columns of its table
 */
export function compile(
  condition: Condition,
  { row, moment, prepared, groups }: { row: SQL; moment: Moment; prepared: Prepared; groups: GroupCondition },
): SQL {
  return new Compiler(moment, prepared, groups).condition(condition, { row, owner: sql`${row}.id` }, true);
}

/** The row that a condition is on, and the owner whose records are looked at. */
interface Subject {
  row: SQL;
  owner: SQL;
}

class Compiler {
  readonly #moment: Moment;
  readonly #prepared: Prepared;
  readonly #groups: GroupCondition;
  #aliases = 0;

  constructor(moment: Moment, prepared: Prepared, groups: GroupCondition) {
    this.#moment = moment;
    this.#prepared = prepared;
    this.#groups = groups;
  }

  #alias(): SQL {
    this.#aliases += 1;
    return sql.raw(`x${this.#aliases}`);
  }

  /** @param required whether rows for which it does not hold are out, whatever else holds */
  condition(condition: Condition, subject: Subject, required: boolean): SQL {
    const one = oneRowOf(condition);
    if (one) return this.#inOneRow(one, condition, subject);
    if ('and' in condition) return this.#joined(condition.and, subject, required);
    if ('or' in condition) return sql`(${sql.join(this.#parts(condition.or, 'or', subject, false), sql` or `)})`;
    if ('not' in condition) return sql`((${this.condition(condition.not, subject, false)}) is not true)`;
    if ('in' in condition) {
      return this.#groups(condition.in, subject.owner, instantOf(condition.at, this.#moment));
    }
    if ('has' in condition) return this.#has(condition, subject, required);
    return this.#leaf(condition, subject);
  }

  #joined(conditions: readonly Condition[], subject: Subject, required: boolean): SQL {
    return sql`(${sql.join(this.#parts(conditions, 'and', subject, required), sql` and `)})`;
  }

  /** What is read from one and the same row is read once. */
  #parts(conditions: readonly Condition[], by: 'and' | 'or', subject: Subject, required: boolean): SQL[] {
    const rows = new Map<OneRow, Condition[]>();
    const parts: SQL[] = [];
    for (const condition of conditions) {
      const one = oneRowOf(condition);
      if (one) rows.set(one, [...(rows.get(one) ?? []), condition]);
      else parts.push(this.condition(condition, subject, required));
    }
    for (const [one, inside] of rows) {
      parts.unshift(this.#inOneRow(one, by === 'and' ? { and: inside } : { or: inside }, subject));
    }
    return parts;
  }

  #inOneRow(one: OneRow, condition: Condition, { owner }: Subject): SQL {
    const alias = this.#alias();
    const holds = this.#plain(condition, { row: alias, owner });
    const rows = sql`select from ${one.rows(this.#moment, this.#prepared.get(one))} ${alias} where ${alias}.customer_id = ${owner}`;
    return holdsWithout(condition)
      ? sql`not exists (${rows} and (${holds}) is not true)`
      : sql`exists (${rows} and ${holds})`;
  }

  /** A condition that reads nothing but the row. */
  #plain(condition: Condition, subject: Subject): SQL {
    if ('and' in condition)
      return sql`(${sql.join(
        condition.and.map((one) => this.#plain(one, subject)),
        sql` and `,
      )})`;
    if ('or' in condition)
      return sql`(${sql.join(
        condition.or.map((one) => this.#plain(one, subject)),
        sql` or `,
      )})`;
    if ('not' in condition) return sql`((${this.#plain(condition.not, subject)}) is not true)`;
    if ('in' in condition || 'has' in condition) throw new TypeError('It reads more than the row');
    return this.#leaf(condition, subject);
  }

  #leaf({ field, rest, op, value: given }: Leaf, { row, owner }: Subject): SQL {
    const moment = this.#moment;
    const value = resolved(given, field.type, moment);
    if (field.condition) return field.condition(row, { op, value, moment, rest }, owner);
    const stored = field.value(row, moment);
    if (field.type === 'attributes') return ofAttribute(stored, rest, op, value);
    if (op === 'exists') return sql`${stored} is ${sql.raw(value === true ? 'not null' : 'null')}`;
    const cast = sql.raw(castOf[field.type]);
    if (field.type === 'texts') {
      return op === 'contains'
        ? sql`${stored} @> array[${value}::text]`
        : sql`${stored} && ${sql.param(value)}::text[]`;
    }
    if (op === 'in') return sql`${stored} = any(${sql.param(texts(value))}::${cast}[])`;
    if (op === 'starts_with') return sql`starts_with(lower(${stored}), lower(${value}::text))`;
    if (op === 'contains') return sql`strpos(lower(${stored}), lower(${value}::text)) > 0`;
    // As whole numbers: a column that is cast has no statistics.
    const type = field.type === 'number' && Number.isSafeInteger(value) ? sql.raw('bigint') : cast;
    const compared = sql`${stored} ${comparisons[op]} ${String(value)}::${type}`;
    return field.yearless ? sql`(${stored} >= '1000-01-01'::date and ${compared})` : compared;
  }

  #has({ has, where, count, sum, nth }: Has, subject: Subject, required: boolean): SQL {
    const alias = this.#alias();
    const { table, happened, belongs } = has;
    const ownedBy = sql.identifier(has.ownedBy);
    const inner: Subject = { row: alias, owner: sql`${alias}.${ownedBy}` };
    const belonging = belongs ? belongs(alias, subject.row) : sql`${alias}.${ownedBy} = ${subject.owner}`;
    const rows = [
      ...(has.where ? [has.where(alias)] : []),
      ...(where ? [this.condition(where, inner, true)] : []),
      // What happens later is not known yet.
      ...(this.#moment.past && happened !== null
        ? [sql`${alias}.${sql.identifier(happened)} < ${this.#moment.asOf}::timestamptz`]
        : []),
    ];
    const among = (first: readonly SQL[]) => {
      const all = [...first, ...rows];
      return sql`from ${table} ${alias}${all.length > 0 ? sql` where ${sql.join(all, sql` and `)}` : sql``}`;
    };
    if (nth && happened !== null) {
      const at = sql.identifier(happened);
      const direction = sql.raw(nth.n > 0 ? '' : ' desc');
      const numbered = sql`(select ${alias}.*, row_number() over (order by ${alias}.${at}${direction}, ${alias}.${idOf(has)}${direction}) as nth ${among([belonging])})`;
      const then = nth.where ? sql` and ${this.condition(nth.where, inner, true)}` : sql``;
      return sql`exists (select from ${numbered} ${alias} where ${alias}.nth = ${Math.abs(nth.n)}::int${then})`;
    }
    const bounds = sum ?? count;
    if (!bounds) return sql`exists (select ${among([belonging])})`;
    const { atLeast, atMost } = bounds;
    if (!sum && atMost === undefined && (atLeast ?? 0) <= 1) {
      return (atLeast ?? 0) <= 0 ? sql`true` : sql`exists (select ${among([belonging])})`;
    }
    const total = sum ? sql`coalesce(sum(${sum.field.value(alias, this.#moment)}), 0)` : sql`count(*)`;
    const within = (value: SQL) =>
      sql.join(
        [
          ...(atLeast === undefined ? [] : [sql`${value} >= ${String(atLeast)}::numeric`]),
          ...(atMost === undefined ? [] : [sql`${value} <= ${String(atMost)}::numeric`]),
        ],
        sql` and `,
      );
    // Who has none is not among the groups.
    const zeroIsIn = (atLeast ?? 0) <= 0 && (atMost ?? 0) >= 0;
    if (required && !belongs && !zeroIsIn) {
      return sql`${subject.owner} in (select ${alias}.${ownedBy} ${among([])} group by 1 having ${within(total)})`;
    }
    return sql`(select ${within(total)} ${among([belonging])})`;
  }
}

function idOf({ fields }: Related): SQL {
  return fields.has('sequence') && !fields.has('id') ? sql`sequence` : sql`id`;
}

/** The row of an owner that all of it is read from; null: it is read from more, or from the owner itself. */
function oneRowOf(condition: Condition): OneRow | null {
  if ('and' in condition || 'or' in condition) {
    const parts = 'and' in condition ? condition.and : condition.or;
    const [first, ...others] = parts.map(oneRowOf);
    return first && others.every((one) => one === first) ? first : null;
  }
  if ('not' in condition) return oneRowOf(condition.not);
  if ('in' in condition || 'has' in condition) return null;
  return condition.field.from;
}

/** Whether a condition on one row holds of an owner who has none. */
function holdsWithout(condition: Condition): boolean {
  if ('and' in condition) return condition.and.every(holdsWithout);
  if ('or' in condition) return condition.or.some(holdsWithout);
  if ('not' in condition) return !holdsWithout(condition.not);
  if ('in' in condition || 'has' in condition) return false;
  const { field, op, value } = condition;
  const { absent } = field;
  if (op === 'exists') return (absent !== undefined) === value;
  if (absent === undefined) return false;
  if (op === 'in') return (value as readonly unknown[]).includes(absent); // a list, as it was read
  return compares(absent, op, Number(value));
}

function compares(one: number, op: Operator, other: number): boolean {
  if (op === 'eq') return one === other;
  if (op === 'lt') return one < other;
  if (op === 'lte') return one <= other;
  return op === 'gt' ? one > other : op === 'gte' && one >= other;
}

const comparisons: Readonly<Record<string, SQL>> = {
  eq: sql.raw('='),
  lt: sql.raw('<'),
  lte: sql.raw('<='),
  gt: sql.raw('>'),
  gte: sql.raw('>='),
};

const castOf: Readonly<Record<FieldType, string>> = {
  text: 'text',
  word: 'text',
  texts: 'text',
  number: 'numeric',
  instant: 'timestamptz',
  date: 'date',
  boolean: 'boolean',
  id: 'uuid',
  attributes: 'jsonb',
};

function texts(value: Value): string[] {
  return Array.isArray(value) ? value.map(String) : [String(value)];
}

function resolved(value: Relative, type: FieldType, { asOf, today }: Moment): Value {
  if (typeof value !== 'object' || !('daysAgo' in value)) return value;
  return type === 'date'
    ? addDays(`${today}T00:00:00.000Z`, -value.daysAgo).slice(0, 10)
    : addDays(asOf, -value.daysAgo);
}

function ofAttribute(stored: SQL, name: string, op: Operator, value: Value): SQL {
  const member = sql`${stored} -> ${name}::text`;
  if (op === 'exists') {
    // null in a document is no value either.
    const isThere = sql`jsonb_typeof(${member}) <> 'null'`;
    return value === true ? isThere : sql`(${isThere}) is not true`;
  }
  if (op === 'eq' || op === 'in') {
    const documents = (Array.isArray(value) ? value : [value]).map((one) => JSON.stringify({ [name]: one }));
    return sql`${stored} @> any(${sql.param(documents)}::jsonb[])`;
  }
  return sql`case when jsonb_typeof(${member}) = 'number' then (${member})::numeric ${comparisons[op]} ${String(value)}::numeric end`;
}
