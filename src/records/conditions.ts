import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { type FieldError, mostErrors, Problem } from '../platform/errors.ts';
import { pointerOf } from '../platform/faults.ts';
import { calendarDate, id, instant, text } from '../platform/values.ts';
import {
  type ConditionField,
  type FieldType,
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
 * too costly before anything is asked; `compile` (condition-sql.ts) makes it one parameterised condition in SQL.
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

export interface Leaf {
  field: ConditionField;
  name: string;
  rest: string;
  op: Operator;
  value: Relative;
  pointer: string;
}

/** A value, or days before (or after) the moment. */
export type Relative = Value | { daysAgo: number };

export interface Has {
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
      return this.#wrong(path, 'unknown_field', 'There is no such field: GET /v1/segments/fields lists them.');
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
  if (type === 'text' && schema) return `A text that the field can hold. ${schema.description ?? ''}`.trim();
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
