import { type SQL, sql } from 'drizzle-orm';
import { type Db, param, statement } from '../../platform/db/client.ts';
import { longestPage } from '../../platform/page.ts';
import { type EntryRow, type Source, sources } from './sources.ts';

/** Which entries, and from where on; instants as the database takes them. */
export interface Span {
  kinds: readonly string[];
  from: string | undefined;
  to: string | undefined;
  /** The newest first. */
  descending: boolean;
}

/** A place in the order of entries: the pages go on behind it. */
type Place = readonly [at: string, id: string];

const lowestId = '00000000-0000-0000-0000-000000000000';

/**
 * The two ends of a page as one row comparison and one comparison of instants. A second bound on the same side would
 * leave the index to be entered at the wrong one, and a page far down would cost what lies before it.
 */
function bounds({ from, to, descending }: Span, after: Place | null): Record<string, string> {
  const [edgeAt, edgeId] = after ?? [(descending ? to : from) ?? (descending ? 'infinity' : '-infinity'), lowestId];
  return { edgeAt, edgeId, farEnd: (descending ? from : to) ?? (descending ? '-infinity' : 'infinity') };
}

function direction(descending: boolean): SQL {
  return sql.raw(descending ? 'desc' : 'asc');
}

function within({ kind, at, id }: Source, descending: boolean): SQL {
  const edge = sql`(${param('edgeAt')}::timestamptz, ${param('edgeId')}::uuid)`;
  const far = sql`${param('farEnd')}::timestamptz`;
  const range = descending
    ? sql`(${at}, ${id}) < ${edge} and ${at} >= ${far}`
    : sql`(${at}, ${id}) > ${edge} and ${at} < ${far}`;
  // Decided once per execution: a kind that is not wanted is not looked at.
  return sql`${range} and ${sql.raw(`'${kind}'`)} = any(${param('kinds')}::text[])`;
}

function entryOf({ kind, at, id, glance }: Source): SQL {
  const members = Object.entries(glance).map(([name, value]) => sql`${value} as ${sql.identifier(name)}`);
  return sql`${id} as id, ${sql.raw(`'${kind}'`)} as kind, ${at} as at,
    (select row_to_json(g) from (select ${sql.join(members, sql`, `)}) g) as glance`;
}

function union(branch: (source: Source) => SQL): SQL {
  return sql.join(
    sources.map((source) => sql`(${branch(source)})`),
    sql` union all `,
  );
}

/**
 * Each source gives its own next entries in the order of its index, and the merge takes from them one by one what the
 * page needs: what is not on it is hardly read. The limits of the sources are constants, so that the planner sees how
 * few that are.
 */
function pageOfOne(descending: boolean) {
  const by = direction(descending);
  return statement<EntryRow>(
    'timeline',
    sql`select * from (${union(
      (source) => sql`select ${entryOf(source)} from ${source.table}
        where ${source.customerId} = ${param('customerId')}::uuid and ${within(source, descending)}
        order by ${source.at} ${by}, ${source.id} ${by} limit ${sql.raw(String(longestPage + 1))}`,
    )}) entries order by at ${by}, id ${by} limit ${param('limit')}::int`,
  );
}

const pages = { desc: pageOfOne(true), asc: pageOfOne(false) };

/** The next entries of a customer behind a place; one statement. */
export function entriesOf(
  db: Db,
  customerId: string,
  span: Span,
  { after, limit }: { after: Place | null; limit: number },
): Promise<EntryRow[]> {
  const { kinds } = span;
  return db.all(pages[span.descending ? 'desc' : 'asc'], { customerId, kinds, limit, ...bounds(span, after) });
}

type OwnedEntry = EntryRow & { customerId: string };

/** The first entries of each customer by row_number(): the distributed engine refuses a lateral top-N. */
function pageOfEach(descending: boolean) {
  const by = direction(descending);
  return statement<OwnedEntry>(
    'timelines',
    sql`select "customerId", id, kind, at, glance from (
        select *, row_number() over (partition by "customerId" order by at ${by}, id ${by}) as place from (${union(
          (source) => sql`select ${source.customerId} as "customerId", ${entryOf(source)} from (
              select *, row_number() over (partition by ${source.customerId} order by ${source.at} ${by}, ${source.id} ${by}) as place
              from ${source.table} where ${source.customerId} = any(${param('customerIds')}::uuid[]) and ${within(source, descending)}
            ) ${source.table} where place <= ${param('limit')}::int`,
        )}) entries
      ) placed where place <= ${param('limit')}::int order by "customerId", place`,
  );
}

const firsts = { desc: pageOfEach(true), asc: pageOfEach(false) };

/**
 * The first entries of each of a set of customers, by customer; one statement whatever their number. Several are read
 * with all that they have, one alone like any page.
 */
export async function firstEntriesOf(
  db: Db,
  customerIds: readonly string[],
  span: Span,
  limit: number,
): Promise<Map<string, EntryRow[]>> {
  const { kinds } = span;
  const [only] = customerIds;
  if (only !== undefined && customerIds.length === 1) {
    return new Map([[only, await entriesOf(db, only, span, { after: null, limit })]]);
  }
  const rows = await db.all(firsts[span.descending ? 'desc' : 'asc'], {
    customerIds,
    kinds,
    limit,
    ...bounds(span, null),
  });
  const byCustomer = new Map<string, EntryRow[]>();
  for (const { customerId, ...row } of rows) {
    const known = byCustomer.get(customerId);
    if (known) known.push(row);
    else byCustomer.set(customerId, [row]);
  }
  return byCustomer;
}

const totals = statement<{ customerId: string; total: number }>(
  'timeline_totals',
  sql`select "customerId", sum(entries)::bigint as total from (${union(
    (source) => sql`select ${source.customerId} as "customerId", count(*) as entries from ${source.table}
      where ${source.customerId} = any(${param('customerIds')}::uuid[]) and ${within(source, true)} group by 1`,
  )}) counts group by 1`,
);

/** How many entries each of a set of customers has; those without any are absent. */
export async function countEntries(db: Db, customerIds: readonly string[], span: Span): Promise<Map<string, number>> {
  const { kinds } = span;
  const all = { ...span, descending: true };
  const rows = await db.all(totals, { customerIds, kinds, ...bounds(all, null) });
  return new Map(rows.map(({ customerId, total }) => [customerId, total]));
}
