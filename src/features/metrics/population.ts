import { type SQL, sql } from 'drizzle-orm';
import { type Db, type Statement, statement, type Values } from '../../platform/db/client.ts';

/*
 * A metric over a part of the facts, or over several parts at once, by the statements that it has for all of them: what they call
 * `orders`, `returns` and so on is, inside of them, only what belongs to the part. So a metric knows nothing of segments and groups.
 *
 *   with population as (… one row for each part: its number, its customers …)
 *   select … from population part, lateral (
 *     with orders as (select … from orders where … belongs to `part`), … <the statement of the metric>)
 *
 * That customers are compared as a hashed list, behind `is true`, is on purpose: as a join the planner would take a part for a
 * handful of customers, and look up one by one where it should read a table through. A hashed list is made once for each part.
 */

/** The tables that statements begin with. What they look up from a row of these belongs to the part with it. */
const begins = ['orders', 'returns', 'customer_purchases', 'customer_month', 'interactions', 'follow_ups'] as const;
export type FactTable = (typeof begins)[number];

export interface Population {
  /** A select of the parts: `part` is the number of each, and what `holds` reads. */
  parts: SQL;
  /** Whether a row of a table belongs to a row of `parts`. */
  holds: (table: FactTable, row: SQL, part: SQL) => SQL;
}

/** Whether a row is of the customers `ids` of its part. */
export function ofCustomers(row: SQL, part: SQL): SQL {
  return sql`(${row}.customer_id in (select unnest(${part}.ids))) is true`;
}

const part = sql`part`;
const row = sql`fact`;

function within<Row>(query: Statement<Row>, { parts, holds }: Population): Statement<Row & { part: number }> {
  const tables = begins.filter((name) => new RegExp(`\\b${name}\\b`).test(query.text));
  const only = tables.map((name) => {
    const table = sql.identifier(name);
    return sql`${table} as not materialized (select ${row}.* from ${table} ${row} where ${holds(name, row, part)})`;
  });
  const asked =
    only.length === 0 ? query.query : sql`with ${sql.join(only, sql`, `)} select * from (${query.query}) asked`;
  return statement(
    query.name,
    sql`with population as materialized (${parts})
      select ${part}.part, answer.* from population ${part}, lateral (${asked}) answer`,
    { unprepared: true },
  );
}

/** Of the views of parts: what they are parts of. */
const wholes = new WeakMap<Db, Db>();

/** The facts that the parts are of; where there are none, these. */
export function wholeOf(db: Db): Db {
  return wholes.get(db) ?? db;
}

/**
 * The facts of each part of `whole`, which are among those of `db`. What is asked of one part is asked of all of them at once, in one statement, and answered to each: who asks
 * them all the same questions sends as many statements as one alone does.
 */
export function partsOf(db: Db, population: Population, whole: Db | null = null): (number: number) => Db {
  const asked = new Map<Statement<unknown>, Map<string, Promise<ReadonlyMap<number, unknown[]>>>>();
  const answers = (query: Statement<unknown>, values: Values) => {
    const known = asked.get(query) ?? new Map<string, Promise<ReadonlyMap<number, unknown[]>>>();
    asked.set(query, known);
    const key = JSON.stringify(values);
    const before = known.get(key);
    if (before) return before;
    const answer = db.all(within(query, population), values).then(byPart);
    known.set(key, answer);
    return answer;
  };
  return (number) => {
    const rows = async <Row>(query: Statement<Row>, values: Values = {}) =>
      ((await answers(query, values)).get(number) ?? []) as Row[]; // those of its own statement
    const view: Db = { all: rows, first: async (query, values) => (await rows(query, values))[0] ?? null };
    if (whole) wholes.set(view, whole);
    return view;
  };
}

function byPart(rows: readonly { part: number }[]): ReadonlyMap<number, unknown[]> {
  const found = new Map<number, unknown[]>();
  for (const { part: number, ...own } of rows as readonly ({ part: number } & Record<string, unknown>)[]) {
    const list = found.get(number);
    if (list) list.push(own);
    else found.set(number, [own]);
  }
  return found;
}
