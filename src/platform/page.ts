import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { type Db, param, type Statement, statement, type Values } from './db/client.ts';
import { declaredShares } from './db/shares.ts';
import { Problem } from './errors.ts';
import { settledUntil } from './open-writes.ts';
import type { Context } from './operation.ts';
import type { Everything, Select } from './record-source.ts';
import { text } from './values.ts';

/** The most records on a page. */
export const longestPage = 100;

/** The parameters every list has. */
export const pageParameters = {
  limit: z
    .int()
    .min(1)
    .max(longestPage)
    .optional()
    .meta({ description: 'Records per page, 1 to 100. Default: 25.', example: 50 }),
  after: text(1024).optional().meta({ description: 'The `next` of the previous page.' }),
  count: z.boolean().optional().meta({ description: 'Also count all records that match, as `page.total`.' }),
  cursors: z.boolean().optional().meta({
    description: 'Also return a cursor per record, as `page.cursors`: a list can be resumed after any of them.',
  }),
};

export const pageInfo = z
  .strictObject({
    next: z.string().nullable().meta({ description: 'Cursor of the next page; null on the last one.' }),
    hasMore: z.boolean(),
    total: z.int().optional().meta({ description: 'All records that match, with `count=true`.' }),
    cursors: z.array(z.string()).optional().meta({ description: 'A cursor per record, with `cursors=true`.' }),
  })
  .meta({ id: 'Page' });

export function pageOf<T extends z.ZodType>(item: T) {
  return z.strictObject({ data: z.array(item), page: pageInfo });
}

interface Sort {
  expression: SQL;
  /** Postgres type of the expression, for the cursor's parameter. */
  type: string;
  /** Where a row carries the value of the expression. */
  field: string;
  /** What rows whose value is null are ordered by, as text. Left out: it is never null. */
  whenNull?: string;
  /** Where the expression is found, when that is not in `from`: joins behind it. */
  join?: SQL;
  /** `field` in the select list, when it is none of the columns. */
  select?: SQL;
}

/** A value to order by; without one a row stands at `whenNull`. A comparison with null would lose it. */
function ordered(value: SQL, { type, whenNull }: Sort): SQL {
  return whenNull === undefined ? value : sql`coalesce(${value}, ${sql.raw(`'${whenNull}'::${type}`)})`;
}

interface ListDefinition {
  name: string;
  /** The columns of a row, under the names of the model. */
  select: SQL;
  from: SQL;
  id: SQL;
  /** Postgres type of `id`. Default: uuid. */
  idType?: string;
  /** The customer of a row; for lists that partners read in an order over all customers. */
  owner?: SQL;
  /** Unconditional restriction. */
  where?: SQL;
  /** Filter name → condition on its parameter, and on `${param('$now')}` if it likes, which may differ from page to page. */
  filters: Record<string, (value: SQL) => SQL>;
  /** Filters whose values may match every row or none: their statements are planned for the values each time. */
  uneven?: readonly string[];
  /** A condition that is another one each time. */
  search?: Search;
  /** What the parameter of a filter becomes before it is compared. */
  normalize?: Readonly<Record<string, (value: unknown) => unknown>>;
  sorts: Record<string, Sort>;
  defaultSort: string;
}

/** What a list is searched by beside its filters, as parameters whose meaning code finds out. */
export interface Search {
  parameters: readonly string[];
  /** Called for every page, whether or not it has such a parameter. null: all rows. @throws Problem what it refuses */
  condition: (context: Context, input: Record<string, unknown>) => Promise<SQL | null>;
}

export interface Page<Row> {
  data: Row[];
  page: { next: string | null; hasMore: boolean; total?: number; cursors?: string[] };
}

/** `sort` as an input parameter: a name ascends, `-name` descends. */
export function sortParameter<const T extends readonly [string, ...string[]]>(names: T, fallback: string) {
  const options = names.flatMap((name) => [name, `-${name}`]);
  return z
    .enum(options)
    .optional()
    .meta({ description: `Order; \`-\` descends. Default: \`${fallback}\`.`, example: fallback });
}

interface ListInput {
  limit?: number | undefined;
  after?: string | undefined;
  sort?: string | undefined;
  count?: boolean | undefined;
  cursors?: boolean | undefined;
}

/**
 * A keyset-paged list. With `select`, its rows have that instead of their columns. Each shape of it (filters given, order, with or without a cursor) is compiled once and runs as a
 * prepared statement. A row that is there throughout with an unchanged sort key appears exactly once.
 */
export function keysetList<Row extends { id: string }>(definition: ListDefinition) {
  const shapes = new Map<string, Statement<Row>>();
  const counts = new Map<string, Statement<{ total: number }>>();

  const options = (given: readonly string[]) => ({
    unprepared: given.some((name) => definition.uneven?.includes(name)),
  });

  const conditions = (given: readonly string[], few: boolean) => [
    ...(definition.where ? [definition.where] : []),
    ...(few && definition.owner
      ? [sql`${definition.owner} = any(array(select ${declaredShares().customer} from ${declaredShares().table}))`]
      : []),
    ...given.map((name) => (name === settled ? untilSettled : definition.filters[name]?.(param(name))) ?? sql`false`),
  ];
  const { updatedAt } = definition.sorts;
  const untilSettled = updatedAt && sql`${updatedAt.expression} <= ${param(settled)}::timestamptz`;

  function shape(
    given: readonly string[],
    sort: string,
    after: boolean,
    few: boolean,
    { select, searched }: { select: Select | undefined; searched: SQL | null },
  ): Statement<Row> {
    const cache = (select?.shapes ?? shapes) as typeof shapes; // of this list, by the caller
    const cacheKey = `${sort}|${after}|${few}|${given.join()}`;
    const known = searched ? undefined : cache.get(cacheKey);
    if (known) return known;
    const by = definition.sorts[sort.replace(/^-/, '')] ?? unknownSort(sort);
    const expression = ordered(by.expression, by);
    const descending = sort.startsWith('-');
    const direction = descending ? sql.raw('desc') : sql.raw('asc');
    const all = [...conditions(given, few), ...(searched ? [searched] : [])];
    if (after) {
      const compare = descending ? sql.raw('<') : sql.raw('>');
      all.push(
        sql`(${expression}, ${definition.id}) ${compare} (${param('$key')}::${sql.raw(by.type)}, ${param('$id')}::${sql.raw(definition.idType ?? 'uuid')})`,
      );
    }
    // The inner limit is for the planner: of a limit that is a parameter it expects a tenth of the table, and so never
    // keeps the plan but makes one for every page. Rows come through the outer one as they are asked for.
    const order = sql`${ordered(sql`page.${sql.identifier(by.field)}`, by)} ${direction}, page.id ${direction}`;
    const columns = by.select ? sql`${definition.select}, ${by.select}` : definition.select;
    const page = sql`select * from (select ${columns} from ${definition.from}${by.join ? sql` ${by.join}` : sql``} ${where(all)}
        order by ${expression} ${direction}, ${definition.id} ${direction} limit ${sql.raw(String(longestPage + 1))}) page
      order by ${order} limit ${param('$limit')}::int`;
    const whole = select
      ? sql`select page.id, page.${sql.identifier(by.field)}, ${select.columns(sql`page`)} from (${page}) page order by ${order}`
      : page;
    const { unprepared } = options(given);
    const made = statement<Row>(`list_${definition.name}`, whole, {
      unprepared: unprepared || searched !== null || (select?.unprepared(whole) ?? false),
    });
    if (!searched) cache.set(cacheKey, made);
    return made;
  }

  function counter(given: readonly string[], few: boolean, searched: SQL | null): Statement<{ total: number }> {
    const cacheKey = `${few}|${given.join()}`;
    const known = searched ? undefined : counts.get(cacheKey);
    if (known) return known;
    const all = [...conditions(given, few), ...(searched ? [searched] : [])];
    const made = statement<{ total: number }>(
      `count_${definition.name}`,
      sql`select count(*) as total from ${definition.from} ${where(all)}`,
      searched ? { unprepared: true } : options(given),
    );
    if (!searched) counts.set(cacheKey, made);
    return made;
  }

  const scopeOf = (context: Context, sort: string, values: Values) =>
    JSON.stringify([context.principal.key, definition.name, sort, values]);

  /** Cursors of this list for rows that were read elsewhere, e.g. the first rows of many lists at once. */
  function cursorFor(context: Context, sort: string | undefined, values: Values): (row: { id: string }) => string {
    const order = sort ?? definition.defaultSort;
    const scope = scopeOf(context, order, values);
    const { field, whenNull } = definition.sorts[order.replace(/^-/, '')] ?? { field: 'id' };
    return (row) => context.cursors.encode({ scope, key: [String((row as Values)[field] ?? whenNull), row.id] }); // a row has its sort field
  }

  async function list(
    db: Db,
    context: Context,
    input: ListInput & Record<string, unknown>,
    select?: Select,
  ): Promise<Page<Row>> {
    const values: Values = {};
    for (const name of Object.keys(definition.filters)) {
      const value = input[name];
      if (value !== undefined) values[name] = definition.normalize?.[name]?.(value) ?? value;
    }
    const sort = input.sort ?? definition.defaultSort;
    const follows = updatedAt && followsUpdates(sort, values);
    const given = [...Object.keys(values), ...(follows ? [settled] : [])];
    const limit = input.limit ?? defaultLimit;
    const bounds: Values = {
      $limit: limit + 1,
      $now: context.now,
      ...(follows && { [settled]: settledUntil(context.clock) }),
    };
    // A cursor belongs to what was searched for as well.
    const asked: Values = { ...values };
    for (const name of definition.search?.parameters ?? []) if (input[name] !== undefined) asked[name] = input[name];
    if (input.after !== undefined) {
      [bounds.$key, bounds.$id] = context.cursors.decode(input.after, scopeOf(context, sort, asked));
    }
    const searched = (await definition.search?.condition(context, input)) ?? null;
    const few = definition.owner !== undefined && !('customerId' in values) && (await hasFewCustomers(context));
    const [rows, total] = await Promise.all([
      db.all(shape(given, sort, input.after !== undefined, few, { select, searched }), {
        ...values,
        ...bounds,
        ...select?.values,
      }),
      input.count ? db.first(counter(given, few, searched), { ...values, ...bounds }) : null,
    ]);
    const cursor = cursorFor(context, sort, asked);
    return pageFrom(rows, { limit, cursor, total: total?.total, cursors: input.cursors });
  }

  /** A select of the first rows for which `condition` holds, in an order of the list. */
  function first(condition: SQL, sort: string | undefined): SQL {
    const order = sort ?? definition.defaultSort;
    const by = definition.sorts[order.replace(/^-/, '')] ?? unknownSort(order);
    const direction = order.startsWith('-') ? sql.raw('desc') : sql.raw('asc');
    return sql`select ${definition.select} from ${definition.from}${by.join ? sql` ${by.join}` : sql``} ${where([...(definition.where ? [definition.where] : []), condition])}
      order by ${ordered(by.expression, by)} ${direction}, ${definition.id} ${direction}`;
  }

  /** A select of all that a list goes through, in the order of the ids, behind one of them. */
  async function everything(context: Context, input: Record<string, unknown>, select: Select): Promise<Everything> {
    const values: Values = { $now: context.now, ...select.values };
    const given = Object.keys(definition.filters).filter((name) => input[name] !== undefined);
    for (const name of given) values[name] = definition.normalize?.[name]?.(input[name]) ?? input[name];
    const searched = (await definition.search?.condition(context, input)) ?? null;
    const few = definition.owner !== undefined && !given.includes('customerId') && (await hasFewCustomers(context));
    const all = [...conditions(given, few), ...(searched ? [searched] : [])];
    if (input['after'] !== undefined) {
      values['$id'] = input['after'];
      all.push(sql`${definition.id} > ${param('$id')}::${sql.raw(definition.idType ?? 'uuid')}`);
    }
    const rows = sql`select ${definition.select} from ${definition.from} ${where(all)} order by ${definition.id}`;
    return { query: sql`select page.id, ${select.columns(sql`page`)} from (${rows}) page order by page.id`, values };
  }

  return Object.assign(list, { cursorFor, first, everything });
}

/** The parameter up to which lists by `updatedAt` go. */
export const settled = '$settled';

/** Whether somebody may follow a list by `updatedAt`, who goes on from the last one: nothing may come before it later. */
export function followsUpdates(sort: string, filters: Values): boolean {
  return 'updatedFrom' in filters || sort.endsWith('updatedAt');
}

export function updatedFrom<T extends z.ZodType>(schema: T) {
  return schema.optional().meta({
    description:
      'Changed at this instant or later. The list ends before the oldest write that is still under way in this process, so you can go on from the greatest `updatedAt` you have seen. It does not tell of deletions, and other processes of the service are not asked: `GET /v1/events` has neither limit.',
  });
}

/** Up to this many customers of a partner are looked up one by one; beyond, a list is read in its order until a page is full. */
const fewCustomers = 200;
/** How long the size of a partner is cached, milliseconds: it only affects speed. */
const rememberedFor = 60_000;
const sizes = new Map<string, { few: boolean; until: number }>();
const mostSizes = 10_000;

let countShares: Statement<{ shares: number }> | null = null;

function sharesCounter(): Statement<{ shares: number }> {
  const limit = sql.raw(String(fewCustomers + 1));
  countShares ??= statement(
    'count_shares',
    sql`select count(*) as shares from (select from ${declaredShares().table} limit ${limit}) s`,
  );
  return countShares;
}

/**
 * Whether a partner has so few customers that its rows are found faster by customer than by the order of the list. What it
 * sees is decided by the policies, either way.
 */
async function hasFewCustomers({ db, principal: { scopedTo } }: Context): Promise<boolean> {
  if (scopedTo?.kind !== 'partner') return false;
  const known = sizes.get(scopedTo.id);
  if (known && known.until > performance.now()) return known.few;
  const few = ((await db.first(sharesCounter()))?.shares ?? 0) <= fewCustomers;
  if (sizes.size >= mostSizes) sizes.clear();
  sizes.set(scopedTo.id, { few, until: performance.now() + rememberedFor });
  return few;
}

export const defaultLimit = 25;

/** A page of `limit` rows; one row more means that there is a next page. Without `cursor` it has no cursors. */
export function pageFrom<Row>(
  rows: Row[],
  options: { limit: number; cursor?: (row: Row) => string; total?: number | undefined; cursors?: boolean | undefined },
): Page<Row> {
  const { limit, cursor, total } = options;
  const hasMore = rows.length > limit;
  const data = hasMore ? rows.slice(0, limit) : rows;
  const last = data.at(-1);
  return {
    data,
    page: {
      next: cursor && hasMore && last !== undefined ? cursor(last) : null,
      hasMore,
      ...(total !== undefined && { total }),
      ...(cursor && options.cursors && { cursors: data.map(cursor) }),
    },
  };
}

function where(conditions: SQL[]): SQL {
  return conditions.length === 0 ? sql`` : sql`where ${sql.join(conditions, sql` and `)}`;
}

function unknownSort(sort: string): never {
  throw new Problem('invalid_input', `sort: this list cannot be sorted by ${sort}.`);
}
