import { type SQL, sql } from 'drizzle-orm';
import { addDays, isBefore } from '../domain/period.ts';
import { localDateOf } from '../domain/preceding-period.ts';
import type { Db } from '../platform/db/client.ts';
import type { FieldType, Moment, OneRow, Operator, Related, Value } from './condition-fields.ts';
import type { Condition, Has, Leaf, Relative } from './conditions.ts';

/** Conditions (conditions.ts) as SQL. */

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

/** What a tree is made of, without its `and`, `or` and `not`. */
function partsOf(condition: Condition): Exclude<Condition, { and: unknown } | { or: unknown } | { not: unknown }>[] {
  if ('and' in condition) return condition.and.flatMap(partsOf);
  if ('or' in condition) return condition.or.flatMap(partsOf);
  return 'not' in condition ? partsOf(condition.not) : [condition];
}

/** The groups that a tree names, each with the instant as of which it is asked. */
export function groupsAsked(condition: Condition, moment: Moment): { group: string; at: string }[] {
  return partsOf(condition).flatMap((part) =>
    'in' in part ? [{ group: part.in, at: instantOf(part.at, moment) }] : [],
  );
}

function instantOf(at: Relative | null, moment: Moment): string {
  return at === null ? moment.asOf : String(resolved(at, 'instant', moment));
}

/** Whether a tree can be asked of the past: all that it reads happened at an instant, and nothing of it is only as it is now. */
export function hasPast(condition: Condition): boolean {
  return partsOf(condition).every((part) => {
    if ('in' in part) return true;
    return 'has' in part ? part.has.happened !== null : part.field.past === true;
  });
}

function rowsReadBy(condition: Condition): OneRow[] {
  return partsOf(condition).flatMap((part) => ('field' in part && part.field.from ? [part.field.from] : []));
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
