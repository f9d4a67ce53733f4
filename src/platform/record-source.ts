import { type SQL, sql } from 'drizzle-orm';
import type { z } from 'zod';
import type { Statement, Values } from './db/client.ts';

/*
 * Records whose JSON Postgres can make: what a list answers as text, and what GraphQL plans into one statement. A record kind
 * gives this to its operations (records/json.ts); operations without it are answered from rows.
 */

/** A member of an object that Postgres makes, under the name `as`. */
export type Selected = { as: string } & (
  | { constant: string | null }
  /** `capitals`: words are spelled as GraphQL spells them. */
  | { member: string; capitals: boolean; nested: Nested | null }
  /** Made from the row around it. */
  | { made: (row: SQL) => SQL }
);

/** What is selected of an object, or of each object of a list. */
export interface Nested {
  list: boolean;
  members: readonly Selected[];
  /** Members that are not there stay away, and only those selected as null change. Otherwise they are null. */
  sparse: boolean;
}

/** The members stand in their order. A name may have 63 bytes: Postgres cuts off the rest. */
export function jsonObject(members: readonly (readonly [name: string, value: SQL])[]): SQL {
  const columns = members.map(([name, value]) => sql`${value} as ${sql.identifier(name)}`);
  return sql`(select row_to_json(o) from (select ${sql.join(columns, sql`, `)}) o)`;
}

export const longestName = 63;

export interface RecordSource {
  /** The name of its document and GraphQL type. */
  type: string;
  output: z.ZodObject;
  has(member: string): boolean;
  /** A JSON object of a row that has the columns of `byId` and `ofOwner`. */
  object(row: SQL, members: readonly Selected[]): SQL;
  /** The owner of a row in an array; an empty one where the members have no value. */
  ownerOf(row: SQL, members: readonly string[]): SQL;
  /** A select of the row with this id. */
  byId(id: SQL): SQL;
}

/** A row of what was selected: its id, what its list is ordered by, and the columns of `select`. */
export type SelectedRow = { id: string } & Record<string, unknown>;

export interface SelectedPage {
  data: SelectedRow[];
  page: { next: string | null; hasMore: boolean; total?: number; cursors?: string[] };
}

/** What is selected of rows instead of their columns. */
export interface Select {
  columns(row: SQL): SQL;
  /** Statements that were made of it, by the rest of their shape. */
  shapes: Map<string, Statement<SelectedRow>>;
  /** Whether a statement is not worth preparing. */
  unprepared(query: SQL): boolean;
  /** Of its own parameters. */
  values: Values;
}

/** A select of all rows of a list, and its parameters. */
export interface Everything {
  query: SQL;
  values: Values;
}
