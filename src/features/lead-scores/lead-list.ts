import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { scoresOfGrade, unitsOf } from '../../domain/lead-score.ts';
import { type Db, param, type Statement, statement, type Values } from '../../platform/db/client.ts';
import { settledUntil } from '../../platform/open-writes.ts';
import { type Context, readOperation } from '../../platform/operation.ts';
import {
  defaultLimit,
  followsUpdates,
  type Page,
  pageFrom,
  pageOf,
  pageParameters,
  settled,
  sortParameter,
  updatedFrom,
} from '../../platform/page.ts';
import { instant, text } from '../../platform/values.ts';
import { acceptedAttributes, customFilters } from '../../records/custom-fields.ts';
import { learnedScoresOf } from '../lead-models/queries.ts';
import { learnedGlance } from '../lead-models/record.ts';
import { leadColumns, type UnscoredLead } from '../leads/queries.ts';
import { lead, leadStage, leads } from '../leads/record.ts';
import { boundsHoldAt } from './bounds.ts';
import { scoreGrade } from './grade.ts';
import { compiled, rulesById, rulesInForce, type ScoringRules, scoreAndGrade } from './queries.ts';
import { scoreQuery } from './score-sql.ts';

const points = z.number().min(-10_000_000).max(10_000_000);

const custom = customFilters(leads);

const input = z.strictObject({
  ...pageParameters,
  sort: sortParameter(['score', 'enteredAt', 'updatedAt'], '-score'),
  asOf: instant.optional().meta({
    description:
      'The instant of the scores, by the rule set in force then; further pages keep it. Profile and stage are as they are now. Default: now.',
  }),
  stage: z
    .array(leadStage)
    .min(1)
    .max(6)
    .optional()
    .meta({ description: 'Only leads in one of these stages.', example: ['lead', 'marketing_qualified'] }),
  owner: text(200).optional(),
  source: text(100).optional(),
  segment: text(100).optional(),
  grade: scoreGrade.optional(),
  scoreFrom: points.optional().meta({ description: 'Only leads whose score is this or more.', example: 20 }),
  scoreTo: points.optional().meta({ description: 'Only leads whose score is below this.', example: 100 }),
  converted: z
    .boolean()
    .optional()
    .meta({ description: 'Only leads that have become a customer, or only those that have not.' }),
  enteredFrom: instant.optional(),
  enteredTo: instant.optional(),
  updatedFrom: updatedFrom(instant),
  updatedTo: instant.optional(),
  attributes: custom.attributes.input,
  tag: custom.tag.input,
  tags: custom.tags.input,
  learned: z.boolean().optional().meta({ description: 'Also return the learned score of each lead.' }),
});

const listedLead = lead
  .extend({
    learned: learnedGlance
      .nullable()
      .optional()
      .meta({ description: 'With `learned=true`: the score by the model in use; null when no model is ready.' }),
  })
  .meta({ id: 'ListedLead', description: 'A lead with its scores at the instant asked about.' });

export const listLeads = readOperation({
  name: 'listLeads',
  scope: 'leads:read',
  partners: true,
  selfService: false,
  summary: 'List leads, those most ready to buy first',
  description:
    'Each with its score and grade. Descending score is fast with any number of leads; ascending score, or `asOf` in the past, computes every score.',
  input,
  output: pageOf(listedLead).meta({ id: 'LeadPage' }),
  personalParameters: ['attributes', 'tag', 'tags'],
  selects: { converted: ['Lead.convertedAt'] },
  run: leadPage,
});

const filters: Record<string, (value: SQL) => SQL> = {
  stage: (value) => sql`${leads.stage} = any(${value}::text[])`,
  owner: (value) => sql`${leads.owner} = ${value}`,
  source: (value) => sql`${leads.source} = ${value}`,
  segment: (value) => sql`${leads.segment} = ${value}`,
  converted: (value) => sql`(${leads.convertedAt} is not null) = ${value}::boolean`,
  enteredFrom: (value) => sql`${leads.enteredAt} >= ${value}::timestamptz`,
  enteredTo: (value) => sql`${leads.enteredAt} < ${value}::timestamptz`,
  updatedFrom: (value) => sql`${leads.updatedAt} >= ${value}::timestamptz`,
  updatedTo: (value) => sql`${leads.updatedAt} < ${value}::timestamptz`,
  [settled]: (value) => sql`${leads.updatedAt} <= ${value}::timestamptz`,
  attributes: custom.attributes.condition,
  tag: custom.tag.condition,
  tags: custom.tags.condition,
};
/** What else a cursor belongs to. */
const scoreFilters = ['asOf', 'grade', 'scoreFrom', 'scoreTo'] as const;

type ScoredRow = UnscoredLead & { units: number };

interface Key {
  /** Grid units of a score, or an instant. */
  value: string;
  id: string;
}

/** A page that is asked for: of which leads, in which order, from where, by which scores. */
interface Question {
  rules: ScoringRules;
  asOf: string;
  sort: string;
  /** Rows wanted: those of the page and one more. */
  rows: number;
  given: string[];
  values: Values;
  /** Scores from `from` on and below `to`, in grid units. */
  range: { from: number | null; to: number | null };
  after: Key | null;
}

async function leadPage(context: Context, given: z.output<typeof input>) {
  const { db } = context;
  const { sort = '-score', limit = defaultLimit } = given;
  const values: Values = {};
  for (const name of Object.keys(filters)) {
    const value = given[name as keyof typeof given]; // filters are parameters
    if (value !== undefined) values[name] = value;
  }
  if (given.attributes) values['attributes'] = acceptedAttributes(given.attributes);
  const scope = JSON.stringify([
    context.principal.key,
    'leads',
    sort,
    values,
    scoreFilters.map((name) => given[name] ?? null),
  ]);
  const start = given.after === undefined ? null : readCursor(context.cursors.decode(given.after, scope));
  const asOf = start?.asOf ?? given.asOf ?? context.now;
  const inForce = await rulesInForce(db, asOf);
  // Pages of one list are by one rule set, whatever is published in between.
  const isSame = start === null || start.ruleSetId === inForce.id;
  const rules: ScoringRules = isSame ? inForce : await rulesById(db, start.ruleSetId);
  const asked = followsUpdates(sort, values) ? { ...values, [settled]: settledUntil(context.clock) } : values;
  const question: Question = {
    rules,
    asOf,
    sort,
    rows: limit + 1,
    given: Object.keys(asked),
    values: asked,
    range: scoreRange(rules, given),
    after: start?.key ?? null,
  };
  const quick = sort === '-score' && isSame && inForce.indexed && boundsHoldAt(asOf, context.now);
  const [rows, total] = await Promise.all([
    quick ? byBounds(db, question) : byScores(db, question),
    given.count ? countLeads(db, question) : undefined,
  ]);
  const keyOf = (row: ScoredRow) =>
    sort.endsWith('score') ? row.units : sort.endsWith('enteredAt') ? row.enteredAt : row.updatedAt;
  const cursor = (row: ScoredRow) =>
    context.cursors.encode({ scope, key: [`${keyOf(row)} ${asOf} ${rules.id}`, row.id] });
  const page: Page<ScoredRow> = pageFrom(rows, { limit, cursor, total, cursors: given.cursors });
  const data = page.data.map(({ units, ...record }) => ({ ...record, ...scoreAndGrade(rules, units) }));
  return { data: given.learned ? await withLearned(db, data, asOf) : data, page: page.page };
}

async function withLearned<T extends { id: string }>(db: Db, data: T[], asOf: string) {
  const found = await learnedScoresOf(
    db,
    data.map(({ id }) => id),
    asOf,
  );
  return data.map((one) => {
    const score = found?.get(one.id);
    return { ...one, learned: score ? { probability: score.probability, points: score.points } : null };
  });
}

/** A later page is of the instant and the rule set of the first one. */
function readCursor([text, id]: [string | number, string]) {
  const [value = '', asOf = '', ruleSetId = ''] = String(text).split(' ');
  return { key: { value, id }, asOf, ruleSetId };
}

function scoreRange(
  { document }: ScoringRules,
  { grade, scoreFrom, scoreTo }: Pick<z.output<typeof input>, 'grade' | 'scoreFrom' | 'scoreTo'>,
): Question['range'] {
  const ofGrade = grade === undefined ? { from: null, to: null } : scoresOfGrade(document.grades, grade);
  const froms = [scoreFrom, ofGrade.from].filter((value) => typeof value === 'number');
  const tos = [scoreTo, ofGrade.to].filter((value) => typeof value === 'number');
  // Scores lie on the grid: from the first unit that is not below.
  return {
    from: froms.length === 0 ? null : Math.ceil(unitsOf(Math.max(...froms))),
    to: tos.length === 0 ? null : Math.ceil(unitsOf(Math.min(...tos))),
  };
}

const longest = 101;
const asOf = sql`${param('$asOf')}::timestamptz`;
const subject = { customerId: sql`${leads.customerId}`, asOf };
const all = (conditions: SQL[]) => (conditions.length === 0 ? sql`true` : sql.join(conditions, sql` and `));
const filtered = ({ given }: Question) => given.map((name) => filters[name]?.(param(name)) ?? sql`false`);
const inRange = ({ range }: Question) => [
  ...(range.from === null ? [] : [sql`x.score >= ${param('$from')}::bigint`]),
  ...(range.to === null ? [] : [sql`x.score < ${param('$to')}::bigint`]),
];
const bounds = ({ values, range, asOf: instantOf, rows }: Question): Values => ({
  ...values,
  $asOf: instantOf,
  $rows: rows,
  $from: range.from ?? 0,
  $to: range.to ?? 0,
});
const shapeOf = ({ sort, given, range, after }: Question) =>
  [sort, given.join(), range.from !== null, range.to !== null, after !== null].join(' ');

/** Any order, by computing scores until the page is full: of all leads when the order is that of the scores. */
function byScores(db: Db, question: Question): Promise<ScoredRow[]> {
  const { rules, sort, after } = question;
  const query = compiled<ScoredRow>(rules, `list ${shapeOf(question)}`, () => {
    const name = sort.replace(/^-/, '');
    const [expression, type] =
      name === 'score'
        ? [sql`x.score`, 'bigint']
        : [name === 'enteredAt' ? sql`${leads.enteredAt}` : sql`${leads.updatedAt}`, 'timestamptz'];
    const direction = sql.raw(sort.startsWith('-') ? 'desc' : 'asc');
    const compare = sql.raw(sort.startsWith('-') ? '<' : '>');
    const conditions = [
      ...filtered(question),
      ...inRange(question),
      ...(after
        ? [
            sql`(${expression}, ${leads.customerId}) ${compare} (${param('$key')}::${sql.raw(type)}, ${param('$id')}::uuid)`,
          ]
        : []),
    ];
    // The inner limit is for the planner, see keysetList.
    return sql`select * from (select ${leadColumns}, x.score as units
        from ${leads} cross join lateral (${scoreQuery(rules.document, subject)}) x
        where ${all(conditions)} order by ${expression} ${direction}, ${leads.customerId} ${direction} limit ${sql.raw(String(longest))}) page
      limit ${param('$rows')}::int`;
  });
  return db.all(query, { ...bounds(question), ...(after && { $key: after.value, $id: after.id }) });
}

const above: Key = { value: '9223372036854775807', id: 'ffffffff-ffff-ffff-ffff-ffffffffffff' };
const below: Key = { value: '-9223372036854775808', id: '00000000-0000-0000-0000-000000000000' };

/**
 * The order by falling score, out of the bounds that no score exceeds. The leads of the highest bounds are computed
 * first; the last score that would fit on the page if they were all is a threshold that the page's last one reaches.
 * Only leads whose bounds reach it can be on the page: they are computed, and the page is cut out of them. Both times it
 * is score and id that are compared, so that a score that many have brings in no more of them than needed.
 */
async function byBounds(db: Db, question: Question): Promise<ScoredRow[]> {
  const { rows, range, after } = question;
  // Scores below a limit come after it, as those of a later page do.
  const limited: Key = range.to === null ? above : { value: String(range.to), id: below.id };
  const start = after !== null && BigInt(after.value) < BigInt(limited.value) ? after : limited;
  const values = { ...bounds(question), $key: start.value, $id: start.id };
  // What is written between the two statements may leave the page short: then once more, and at last without bounds.
  for (let attempt = 1; attempt <= 2; attempt += 1) {
    const found = await db.first(thresholdOf(question), values);
    const isFull = found !== null && (range.from === null || found.units >= range.from);
    const threshold = isFull ? { value: String(found.units), id: found.id } : below;
    const page = await db.all(reachingOf(question), {
      ...values,
      $reachedKey: threshold.value,
      $reachedId: threshold.id,
    });
    // A rule set that was superseded meanwhile is no longer indexed.
    if (!page.every(({ usable }) => usable)) break;
    const data = page.flatMap(({ usable: _, ...row }) => (row.id === null ? [] : [row as ScoredRow])); // id: a lead
    if (!isFull || data.length === rows) return data;
  }
  return byScores(db, question);
}

function thresholdOf(question: Question): Statement<{ units: number; id: string }> {
  const { rules, rows } = question;
  // Two sizes: the limit is a constant for the planner, who would expect a tenth of the table of a parameter.
  const first = rows <= defaultLimit + 1 ? 2 * (defaultLimit + 1) : 2 * longest;
  return compiled(rules, `threshold ${first} ${shapeOf({ ...question, after: null })}`, () => {
    const conditions = [
      sql`b.rule_set_id = ${rules.id}::uuid and (b.bound, b.customer_id) < (${param('$key')}::bigint, ${param('$id')}::uuid)`,
      ...(question.range.from === null ? [] : [sql`b.bound >= ${param('$from')}::bigint`]),
      ...filtered(question),
    ];
    return sql`select x.score as units, s.customer_id as id
      from (select b.customer_id from lead_score_bounds b join ${leads} on ${leads.customerId} = b.customer_id
          where ${all(conditions)} order by b.bound desc, b.customer_id desc limit ${sql.raw(String(first))}) s
        cross join lateral (${scoreQuery(rules.document, { customerId: sql`s.customer_id`, asOf })}) x
      order by x.score desc, s.customer_id desc offset ${param('$rows')}::int - 1 limit 1`;
  });
}

function reachingOf(
  question: Question,
): Statement<{ [K in keyof ScoredRow]: ScoredRow[K] | null } & { usable: boolean }> {
  const { rules } = question;
  return compiled(rules, `reaching ${shapeOf({ ...question, after: null })}`, () => {
    const conditions = [
      sql`b.rule_set_id = ${rules.id}::uuid and (b.bound, b.customer_id) >= (${param('$reachedKey')}::bigint, ${param('$reachedId')}::uuid)`,
      sql`(x.score, b.customer_id) >= (${param('$reachedKey')}::bigint, ${param('$reachedId')}::uuid)`,
      sql`(x.score, b.customer_id) < (${param('$key')}::bigint, ${param('$id')}::uuid)`,
      ...(question.range.from === null
        ? []
        : [sql`b.bound >= ${param('$from')}::bigint and x.score >= ${param('$from')}::bigint`]),
      ...filtered(question),
    ];
    return sql`select page.*, u.usable
      from (select exists (select from lead_rule_sets where id = ${rules.id}::uuid and indexed_at is not null) as usable) u
        left join (select * from (select ${leadColumns}, x.score as units
            from lead_score_bounds b join ${leads} on ${leads.customerId} = b.customer_id
              cross join lateral (${scoreQuery(rules.document, subject)}) x
            where ${all(conditions)} order by x.score desc, b.customer_id desc limit ${sql.raw(String(longest))}) cut
          limit ${param('$rows')}::int) page on true
      order by page.units desc, page.id desc`;
  });
}

async function countLeads(db: Db, question: Question): Promise<number> {
  const { rules, range } = question;
  const byScore = range.from !== null || range.to !== null;
  const query = byScore
    ? compiled<{ total: number }>(
        rules,
        `count ${shapeOf({ ...question, sort: '', after: null })}`,
        () => sql`select count(*) as total from ${leads} cross join lateral (${scoreQuery(rules.document, subject)}) x
          where ${all([...filtered(question), ...inRange(question)])}`,
      )
    : counter(question);
  return (await db.first(query, bounds(question)))?.total ?? 0;
}

const counters = new Map<string, Statement<{ total: number }>>();

function counter(question: Question): Statement<{ total: number }> {
  const key = question.given.join();
  const known = counters.get(key);
  if (known) return known;
  const made = statement<{ total: number }>(
    'count_leads',
    sql`select count(*) as total from ${leads} where ${all(filtered(question))}`,
  );
  counters.set(key, made);
  return made;
}
