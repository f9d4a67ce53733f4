import { type SQL, sql } from 'drizzle-orm';
import { askedWords, editDistance, typingErrors } from '../../domain/search-words.ts';
import { auditEntry } from '../../platform/audit.ts';
import { type Db, param, statement } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import { type Context, requireScope } from '../../platform/operation.ts';
import { text } from '../../platform/values.ts';
import { conditionOf, personalIn, readQuestion, requireReadable } from '../../records/condition-query.ts';
import { lazily } from '../../records/lazily.ts';
import type { ListSort } from '../../records/operations.ts';
import { purchasesAreFilled } from '../rollups/fill.ts';
import { figures } from '../rollups/record.ts';
import { conditionInput } from './condition-input.ts';
import { termsAreFilled } from './fill-terms.ts';
import { customers } from './record.ts';

/* Searching customers: by the words that they are known by, by a tree of conditions, and in the order of their statistics. */

const row = sql.raw('p');
const join = sql`left join customer_purchases p on p.customer_id = ${customers.id}`;
const ofPurchases = (figure: SQL, type: string, whenNull: string, field: string): ListSort => ({
  expression: figure,
  type,
  whenNull,
  field,
  select: sql`${figure} as ${sql.identifier(field)}`,
  join,
});

export const statisticsSorts: Record<string, ListSort> = {
  orderCount: ofPurchases(figures.orderCount(row), 'bigint', '0', 'orderCountKey'),
  revenue: ofPurchases(figures.revenue(row), 'bigint', '0', 'revenueKey'),
  lastOrderOn: ofPurchases(figures.lastDay(row), 'date', '-infinity', 'lastOrderOnKey'),
};

export const customerSearch = {
  parameters: {
    q: text(200).optional().meta({
      description:
        'Only customers who have a word that begins with each of these: in names of persons and companies, e-mails, phones (however they are spaced) and references. Case and accents do not matter. Where the server has pg_trgm, a word that nobody has also finds names with a typing error or two. Needs `customers:pii`.',
      example: 'novak pra',
    }),
    filter: conditionInput.optional(),
  },
  personal: ['q'],
  condition: searchCondition,
};

async function searchCondition(context: Context, input: Record<string, unknown>): Promise<SQL | null> {
  await checkSort(context, input['sort']);
  const { q, filter } = input;
  if (q === undefined && filter === undefined) return null;
  refuseScoped(context);
  const words = q === undefined ? null : await wordCondition(context.db, String(q));
  const tree = filter === undefined ? null : await treeCondition(context, filter);
  // What was searched by, never for. A search tells something, even where it finds nobody.
  const members = [...(words ? ['q'] : []), ...(tree ? ['filter', ...tree.personal] : [])];
  context.audit.admit();
  context.audit.seen(auditEntry(context, searched, { kind: 'read', members }));
  const conditions = [...(words ? [words] : []), ...(tree ? [tree.condition] : [])];
  return sql.join(conditions, sql` and `);
}

async function treeCondition(context: Context, filter: unknown): Promise<{ condition: SQL; personal: string[] }> {
  const question = await readQuestion(context.db, filter, '').catch(atFilter);
  try {
    requireReadable(context, question);
  } catch (error) {
    atFilter(error);
  }
  const { now, reportingTimeZone } = context;
  const condition = await conditionOf(context.db, question, {
    row: sql`${customers}`,
    asOf: now,
    now,
    reportingTimeZone,
  });
  return { condition, personal: [...personalIn(question).keys()] };
}

function atFilter(error: unknown): never {
  throw error instanceof Problem ? error.withErrors((one) => ({ parameter: 'filter', ...one })) : error;
}

interface Asked {
  /** The word, from 1. */
  n: number;
  /** Rows that begin with it, as far as they were counted. */
  rows: number;
}

/** Up to so many customers are looked up one by one. */
const mostCounted = 30_000;

const beginnings = statement<Asked>(
  'rows_of_beginnings',
  sql`select w.n::int as n, (select count(*) from (
        select from customer_terms t where t.term >= w.low and t.term < w.high limit ${sql.raw(String(mostCounted))}) c) as rows
    from unnest(${param('words')}::text[], ${param('ends')}::text[]) with ordinality w(low, high, n)`,
  { lookup: true },
);
const hasTrigrams = statement<{ there: boolean }>(
  'has_trigrams',
  sql`select to_regclass('customer_terms_fuzzy') is not null as there`,
  { lookup: true },
);
// The operator is only there with the extension.
const alike = lazily(() =>
  statement<{ term: string }>(
    'terms_alike',
    sql`select distinct term, similarity(term, ${param('word')}::text) from customer_terms
      where of_name and term % ${param('word')}::text order by 2 desc, term limit 200`,
  ),
);

/** Whatever begins with a word is before this. */
const endOf = (word: string) => `${word}\u{10ffff}`;
const mostAlike = 20;

async function wordCondition(db: Db, q: string): Promise<SQL> {
  const asked = askedWords(q);
  if (asked.length === 0) throw badParameter('q', 'no_words', 'Send a word: letters or digits.');
  if (!(await termsAreFilled(db))) throw stillWorkedOut('The words by which customers are searched');
  const firsts = asked.map(([word = '']) => word);
  const counted = await db.all(beginnings, { words: firsts, ends: firsts.map(endOf) });
  const rows = new Map(counted.map((one) => [firsts[one.n - 1], one.rows]));
  const isUnknown = (word: string) => rows.get(word) === 0 && typingErrors(word) > 0;
  const isFuzzy = firsts.some(isUnknown) && (await db.first(hasTrigrams))?.there === true;
  // The rarest word finds the customers, and the others are asked of each of them: sets of common words are not joined.
  const rarest = [...asked].sort(([one = ''], [two = '']) => (rows.get(one) ?? 0) - (rows.get(two) ?? 0));
  const isFew = (rows.get(rarest[0]?.[0] ?? '') ?? 0) < mostCounted;
  const conditions = rarest.map(async (words, index) => {
    const [word = ''] = words;
    const isTypedWrong = isFuzzy && words.length === 1 && isUnknown(word);
    const matches = isTypedWrong ? isOneOf(await likeWord(db, word)) : beginsWith(words);
    if (rarest.length === 1 || !isFew) return hasTerm(matches);
    return index === 0 ? isFoundBy(matches) : askedOfEach(matches);
  });
  return sql.join(await Promise.all(conditions), sql` and `);
}

async function likeWord(db: Db, word: string): Promise<string[]> {
  const most = typingErrors(word);
  const found = await db.all(alike(), { word });
  return found.flatMap(({ term }) => (editDistance(word, term, most) <= most ? [term] : [])).slice(0, mostAlike);
}

const hasTerm = (matches: SQL) =>
  sql`exists (select from customer_terms t where t.customer_id = ${customers.id} and ${matches})`;
/** The planner takes an array for short, and so begins with it. */
const isFoundBy = (matches: SQL) =>
  sql`${customers.id} = any(array(select t.customer_id from customer_terms t where ${matches}))`;
/** Not joined, as it cannot be pulled up. */
const askedOfEach = (matches: SQL) =>
  sql`exists (select from customer_terms t where t.customer_id = ${customers.id} and ${matches} offset 0)`;
const isOneOf = (terms: readonly string[]) => sql`t.term = any(${sql.param(terms)}::text[])`;

function beginsWith(words: readonly string[]): SQL {
  const ranges = words.map((word) => sql`(t.term >= ${word}::text and t.term < ${endOf(word)}::text)`);
  return sql`(${sql.join(ranges, sql` or `)})`;
}

const searched = { name: 'listCustomers', scope: 'customers:read' };

function refuseScoped({ principal }: Context): void {
  if (principal.scopedTo === null) return;
  throw new Problem('not_supported', 'Searches are not available to tokens of a partner or of one customer.');
}

function badParameter(parameter: string, code: string, message: string): Problem {
  return new Problem('invalid_input', `${parameter}: ${message}`, { errors: [{ parameter, code, message }] });
}

function stillWorkedOut(what: string): Problem {
  const message = `${what} are still being worked out. Try again later.`;
  return new Problem('unavailable', message, { headers: { 'Retry-After': '60' } });
}

/** The order tells who bought how much. */
async function checkSort(context: Context, sort: unknown): Promise<void> {
  if (typeof sort !== 'string' || !(sort.replace(/^-/, '') in statisticsSorts)) return;
  requireScope(context, 'orders:read');
  if (context.principal.scopedTo !== null) {
    throw new Problem(
      'not_supported',
      'Orders by statistics are not available to tokens of a partner or of one customer.',
    );
  }
  if (!(await purchasesAreFilled(context.db))) {
    throw new Problem('unavailable', 'The statistics of customers are still being worked out. Try again later.', {
      headers: { 'Retry-After': '60' },
    });
  }
}
