import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { id, instant } from '../../platform/values.ts';
import { columnNamed, outputShape, type StoredTable, storedTables } from '../../records/table.ts';
import '../../definitions.ts';

/**
 * Everything that a timeline merges: each definition that stands in it says so (`timeline`). Ids are unique over all tables,
 * so (at, id) orders them together; an index on (customer, at, id) or (customer, at) keeps the pages of a table at a
 * constant cost.
 */
export interface Source {
  kind: string;
  /** The member of an entry that says what happened: `stageChange`. */
  member: string;
  /** What a token needs to see it. */
  scope: string;
  table: SQL;
  customerId: SQL;
  at: SQL;
  id: SQL;
  /** Members of the entry's own object. */
  glance: Readonly<Record<string, SQL>>;
  output: z.ZodObject;
}

/** In the order of their names: the order in which definitions are loaded must not show in the contracts. */
const found = storedTables().flatMap((stored): Source[] => {
  const { table, fields, timeline } = stored;
  if (!timeline) return [];
  const { kind, scope, members, more = {} } = timeline;
  const at = Object.entries(fields).find(([, { spec }]) => spec.happened)?.[0];
  if (at === undefined) throw new TypeError(`Nothing says when ${kind} happened`);
  const member = kind.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  return [
    {
      kind,
      member,
      scope,
      table: sql`${table}`,
      customerId: sql`${columnNamed(table, 'customerId')}`,
      at: sql`${columnNamed(table, at)}`,
      id: sql`${columnNamed(table, 'id')}`,
      glance: {
        ...Object.fromEntries(members.map((one) => [one, sql`${columnNamed(table, one)}`])),
        ...Object.fromEntries(Object.entries(more).map(([name, { select }]) => [name, select])),
      },
      output: glanceOf(stored, member),
    },
  ];
});
export const sources: readonly Source[] = found.sort((a, b) => (a.kind < b.kind ? -1 : 1));

function glanceOf({ fields, timeline }: StoredTable, member: string): z.ZodObject {
  const shape = outputShape(fields) as Record<string, z.ZodType>;
  return z
    .strictObject({
      ...Object.fromEntries((timeline?.members ?? []).map((one) => [one, shape[one] ?? unanswered(one)])),
      ...Object.fromEntries(Object.entries(timeline?.more ?? {}).map(([name, { output }]) => [name, output])),
    })
    .meta({ id: `Timeline${member.charAt(0).toUpperCase()}${member.slice(1)}` });
}

function unanswered(member: string): never {
  throw new TypeError(`${member} is not returned to clients, and cannot be shown in the timeline`);
}

const kinds = sources.map(({ kind }) => kind) as [string, ...string[]]; // there are some
export const timelineKind = z
  .enum(kinds)
  .meta({ id: 'TimelineKind', description: 'What kind of thing happened.', example: 'order' });

export const timelineEntry = z
  .strictObject({
    id: id.meta({ description: 'The id of the record.' }),
    kind: timelineKind,
    at: instant.meta({ description: 'When it happened.' }),
    ...Object.fromEntries(sources.map(({ member, output }) => [member, output.nullable()])),
  })
  .meta({
    id: 'TimelineEntry',
    description:
      'Something that happened with a customer. The member of its kind has the details; the others are null.',
  });
/** The members of the kinds follow from the definitions. */
export type TimelineEntry = z.output<typeof timelineEntry> & Record<string, unknown>;

/** A row as the statements answer it; `glance` is the object of its kind. */
export interface EntryRow {
  id: string;
  kind: string;
  at: string;
  glance: unknown;
}

export function withGlance({ id: entryId, kind, at, glance }: EntryRow): TimelineEntry {
  return {
    id: entryId,
    kind,
    at,
    ...Object.fromEntries(sources.map((source) => [source.member, source.kind === kind ? glance : null])),
  };
}
