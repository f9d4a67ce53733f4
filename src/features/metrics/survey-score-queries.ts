import { type SQL, sql } from 'drizzle-orm';
import { type Db, param, statement, type Values } from '../../platform/db/client.ts';
import { tierAtSql } from '../loyalty/queries.ts';
import { responseColumns } from '../survey-responses/queries.ts';
import { type SurveyResponse, surveyResponses } from '../survey-responses/record.ts';
import type { QuestionType } from '../surveys/record.ts';
import type { Excluded, ExclusionReason } from './model.ts';
import { boundsOf, type Part, type Scope } from './scope.ts';
import { shaped } from './source.ts';
import type { ScoreFilter, ScoreGroup } from './survey-score-model.ts';

/**
 * What is counted as an answer, said once for the number, its series and groups, and the lists behind it. The answer is
 * `a`, its response `r`, the key of its group `g.key`.
 */

export type ScoreType = Extract<QuestionType, 'nps' | 'csat' | 'ces'>;

/** A question about scores, resolved. */
export interface ScoreQuestion {
  type: ScoreType;
  scope: Scope;
  /** One question of one survey; null: the first of the type of every survey. */
  asked: { surveyId: string; question: string } | null;
  /** Only the latest answer of each customer in the period. */
  latest: boolean;
  partial: boolean;
  late: boolean;
  filters: Partial<Record<ScoreFilter, string>>;
  groupBy: ScoreGroup | null;
}

/** What of a question shapes the text of its statements. */
interface Shape {
  type: ScoreType;
  oneSurvey: boolean;
  from: boolean;
  latest: boolean;
  partial: boolean;
  late: boolean;
  filters: ScoreFilter[];
  groupBy: ScoreGroup | null;
}

function shapeOf({ type, scope, asked, latest, partial, late, filters, groupBy }: ScoreQuestion): Shape {
  return {
    type,
    oneSurvey: asked !== null,
    from: scope.from !== null,
    latest,
    partial,
    late,
    // `filters` has its members by name.
    filters: (Object.keys(filters) as ScoreFilter[]).sort(),
    groupBy,
  };
}

function valuesOf({ scope, asked, filters }: ScoreQuestion): Values {
  return { from: scope.from, end: scope.end, surveyId: asked?.surveyId, question: asked?.question, ...filters };
}

const tier = tierAtSql(sql`r.customer_id`, sql`r.answered_at`);

const dimensions: Record<ScoreFilter | ScoreGroup, SQL> = {
  staff: sql`r.staff`,
  department: sql`r.department`,
  process: sql`r.process`,
  stage: sql`r.journey_stage`,
  channel: sql`r.channel`,
  product: sql`r.sku`,
  language: sql`r.language`,
  tier,
  survey: sql`a.survey_id::text`,
};

const inPeriod = (record: string, shape: Pick<Shape, 'from'>) => {
  const at = sql.raw(`${record}.answered_at`);
  const end = sql`${at} < ${param('end')}::timestamptz`;
  return shape.from ? sql`${at} >= ${param('from')}::timestamptz and ${end}` : end;
};

const filtersOf = ({ filters }: Pick<Shape, 'filters'>) =>
  filters.map((name) => sql`${dimensions[name]} = ${param(name)}::text`);

/** Answers to the question, whatever became of their responses. */
const answersQuestion = (shape: Pick<Shape, 'type' | 'oneSurvey'>) =>
  shape.oneSurvey
    ? sql`a.survey_id = ${param('surveyId')}::uuid and a.question = ${param('question')}::text`
    : sql`a.is_primary and a.type = ${sql.raw(`'${shape.type}'`)}`;

const widened = (shape: Pick<Shape, 'partial' | 'late'>) => shape.partial || shape.late;

/** Answers that count, as far as their response says. */
function eligible(shape: Pick<Shape, 'partial' | 'late'>): SQL {
  if (!widened(shape)) return sql`a.counted`;
  const statuses = sql.raw(shape.partial ? `in ('complete', 'partial')` : `= 'complete'`);
  return shape.late ? sql`r.status ${statuses}` : sql`r.status ${statuses} and not r.late`;
}

const bucketOf = (at: SQL) => sql`width_bucket(${at}, ${param('bounds')}::timestamptz[])`;

interface Population {
  from: SQL;
  /** Conditions of every answer of the question. */
  where: SQL[];
  /** Whether it is the latest of its customer in the period; null: all count. */
  latest: SQL | null;
  /** The same within its interval of the series. */
  latestInBucket: SQL | null;
}

/**
 * The answers of a question. Which is the latest of a customer is stored with the answers that count by themselves: it is
 * the one that none superseded before the end. With partial and late ones among them it is found by sorting.
 */
function population(shape: Shape, { response, series = false }: { response: boolean; series?: boolean }): Population {
  const sorted = widened(shape) && shape.latest;
  const within = [answersQuestion(shape), eligible(shape), inPeriod('a', shape)];
  const joined = sql` join survey_responses r on r.id = a.response_id`;
  const { groupBy } = shape;
  const needsResponse = response || shape.filters.length > 0 || (groupBy !== null && groupBy !== 'survey');
  const key = groupBy ? sql` cross join lateral (select coalesce(${dimensions[groupBy]}, '') as key) g` : sql``;
  if (sorted) {
    const place = (bucket: SQL) =>
      sql`row_number() over (partition by a.customer_id, case when a.customer_id is null then a.response_id end${bucket} order by a.answered_at desc, a.response_id desc)`;
    const inBucket = series ? sql`, ${place(sql`, ${bucketOf(sql`a.answered_at`)}`)} as place_in_bucket` : sql``;
    return {
      from: sql`(select a.*, ${place(sql``)} as place ${inBucket} from survey_answers a${joined}
        where ${sql.join(within, sql` and `)}) a${needsResponse ? joined : sql``}${key}`,
      where: filtersOf(shape),
      latest: sql`a.place = 1`,
      latestInBucket: sql`a.place_in_bucket = 1`,
    };
  }
  const superseded = sql.raw(shape.oneSurvey ? 'a.superseded_in_survey_at' : 'a.superseded_at');
  return {
    from: sql`survey_answers a${needsResponse || widened(shape) ? joined : sql``}${key}`,
    where: [...within, ...filtersOf(shape)],
    latest: shape.latest ? sql`(${superseded} is null or ${superseded} >= ${param('end')}::timestamptz)` : null,
    latestInBucket: shape.latest
      ? sql`(${superseded} is null or ${bucketOf(superseded)} > ${bucketOf(sql`a.answered_at`)})`
      : null,
  };
}

const all = (conditions: (SQL | null)[]) =>
  sql.join([sql`true`, ...conditions.filter((condition) => condition !== null)], sql` and `);

/** Answers by band: at the good end of the scale, at the bad end, or between. */
export interface BandCounts {
  good: number;
  middle: number;
  bad: number;
}

/** Sums over answers; net: good − bad, apart: good + bad. */
interface Sums {
  answers: number;
  net: number | null;
  apart: number;
}

interface CountRow extends Sums {
  part: 'whole' | 'bucket' | 'group';
  bucket: number | null;
  key: string | null;
  /** Groups there are, beyond those that are answered. */
  groups: number;
}

/** Groups of an answer, at most: the largest ones. */
export const mostGroups = 1_000;

/** Of the answers for which `only` holds. Three sums are faster than a count per band. */
function sums(only: SQL | null): [name: string, sum: SQL][] {
  const filter = only ? sql` filter (where ${only})` : sql``;
  return [
    ['answers', sql`count(*)${filter}`],
    ['net', sql`sum(a.band)${filter}`],
    ['apart', sql`count(nullif(a.band, 0))${filter}`],
  ];
}

// A prepared statement would keep a plan for short periods, and walk an index row by row for all time.
const unprepared = { unprepared: true };

/** The whole period alone: read from the narrow index of the type where there are neither filters nor groups. */
const wholeSums = shaped<Shape, Sums>(
  'score_sums',
  (shape) => {
    const { from, where, latest } = population(shape, { response: false });
    const columns = sums(null).map(([name, sum]) => sql`${sum} as ${sql.identifier(name)}`);
    return sql`select ${sql.join(columns, sql`, `)} from ${from} where ${all([...where, latest])}`;
  },
  unprepared,
);

/**
 * One row for the whole period, one per bucket and one per group. A bucket has more latest answers than the period has
 * in it: who answered in two buckets counts in both.
 */
const partSums = shaped<Shape & { series: boolean }, CountRow>(
  'score_parts',
  (shape) => {
    const { series, groupBy } = shape;
    const { from, where, latest, latestInBucket } = population(shape, { response: false, series });
    const counts = sums(sql`in_whole`).map(([name, ofWhole], index) => {
      const [, ofBucket] = sums(null)[index] ?? [];
      return sql`${series ? sql`case when grouping(bucket) = 0 then ${ofBucket} else ${ofWhole} end` : ofWhole} as ${sql.identifier(name)}`;
    });
    const parts = [
      ...(series ? [{ set: sql`(bucket)`, part: sql`when grouping(bucket) = 0 then 'bucket'` }] : []),
      ...(groupBy ? [{ set: sql`(key)`, part: sql`when grouping(key) = 0 then 'group'` }] : []),
    ];
    const sets = sql.join([sql`()`, ...parts.map(({ set }) => set)], sql`, `);
    return sql`with answers as (
        select ${series ? bucketOf(sql`a.answered_at`) : sql`null::int`} as bucket, ${groupBy ? sql`g.key` : sql`null::text`} as key,
          a.band, ${(series && latest) || sql`true`} as in_whole
        from ${from} where ${all([...where, series ? latestInBucket : latest])}
      ), counts as (
        select case ${sql.join(
          parts.map(({ part }) => part),
          sql` `,
        )} else 'whole' end as part, ${series ? sql`bucket` : sql`null::int as bucket`}, ${groupBy ? sql`key` : sql`null::text as key`},
          ${sql.join(counts, sql`, `)}
        from answers a group by grouping sets (${sets})
      )
      select * from (
        select *, count(*) over parts as groups, row_number() over (parts order by answers desc, key collate "C") as place
        from counts where part <> 'group' or answers > 0 window parts as (partition by part)
      ) ranked where part <> 'group' or place <= ${sql.raw(String(mostGroups))} order by place`;
  },
  unprepared,
);

/** The answers of the period, of each bucket of its series, and of each group, the largest first. */
export interface ScoreCounts {
  whole: BandCounts;
  series: BandCounts[];
  groups: { key: string; counts: BandCounts }[];
  /** Groups beyond `mostGroups`. */
  groupsLeftOut: number;
}

export async function scoreCounts(db: Db, question: ScoreQuestion, buckets: readonly Part[]): Promise<ScoreCounts> {
  const shape = shapeOf(question);
  const series = buckets.length > 0;
  if (!series && question.groupBy === null) {
    const whole = await db.first(wholeSums(shape), valuesOf(question));
    return { whole: bandCountsOf(whole), series: [], groups: [], groupsLeftOut: 0 };
  }
  const values = { ...valuesOf(question), bounds: boundsOf(buckets, question.scope.end) };
  const rows = await db.all(partSums({ ...shape, series }), values);
  const ofPart = (part: CountRow['part']) => rows.filter((row) => row.part === part);
  const byBucket = new Map(ofPart('bucket').map((row) => [row.bucket, row]));
  const groups = ofPart('group');
  return {
    whole: bandCountsOf(ofPart('whole')[0]),
    series: buckets.map((_, index) => bandCountsOf(byBucket.get(index + 1))),
    groups: groups.map((row) => ({ key: row.key ?? '', counts: bandCountsOf(row) })),
    groupsLeftOut: (groups[0]?.groups ?? 0) - groups.length,
  };
}

function bandCountsOf(row: Sums | null | undefined): BandCounts {
  if (!row) return { good: 0, middle: 0, bad: 0 };
  const { answers, apart } = row;
  const net = row.net ?? 0;
  return { good: (apart + net) / 2, middle: answers - apart, bad: (apart - net) / 2 };
}

/** Whether the version of the survey that `r` is a response to asks the question. */
const asks = (shape: Shape) => {
  const wanted = shape.oneSurvey
    ? sql`jsonb_build_object('key', ${param('question')}::text)`
    : sql`${sql.raw(`'{"type": "${shape.type}"}'`)}::jsonb`;
  const version = sql`exists (select from survey_versions v where v.survey_id = r.survey_id and v.number = r.survey_version
    and v.questions @> jsonb_build_array(${wanted}))`;
  return shape.oneSurvey ? sql`r.survey_id = ${param('surveyId')}::uuid and ${version}` : version;
};

interface LeftOut {
  bucket: number;
  reason: Extract<ExclusionReason, 'dismissed' | 'partial' | 'late'>;
  count: number;
}

/**
 * Every response under the first of its reasons: dismissed ones of surveys that ask the question, and the partial and late
 * ones with an answer to it.
 */
const leftOut = shaped<Shape & { series: boolean }, LeftOut>(
  'score_excluded',
  ({ series, ...shape }) => {
    const bucket = (at: SQL) => (series ? bucketOf(at) : sql`0`);
    const reasons = [
      ...(shape.partial ? [] : [sql`when r.status = 'partial' then 'partial'`]),
      ...(shape.late ? [] : [sql`when r.late then 'late'`]),
    ];
    const answers = sql`select ${bucket(sql`a.answered_at`)} as bucket, case ${sql.join(reasons, sql` `)} end as reason
      from survey_answers a join survey_responses r on r.id = a.response_id
      where ${all([answersQuestion(shape), sql`not a.counted`, inPeriod('a', shape), inPeriod('r', shape), ...filtersOf(shape)])}
        and (r.late or r.status <> 'complete') and r.status <> 'dismissed'`;
    return sql`select bucket, reason, count(*) as count from (
        ${reasons.length > 0 ? sql`${answers} union all` : sql``}
        select ${bucket(sql`r.answered_at`)} as bucket, 'dismissed' as reason from survey_responses r
        where r.status = 'dismissed' and (r.late or r.status <> 'complete') and ${all([inPeriod('r', shape), ...filtersOf(shape)])}
          and ${asks(shape)}
      ) left_out where reason is not null group by bucket, reason`;
  },
  unprepared,
);

/** The answers of the period, and of each bucket of its series, that are in scope and do not count. */
export async function excludedAnswers(
  db: Db,
  question: ScoreQuestion,
  buckets: readonly Part[],
): Promise<{ whole: Excluded[]; series: Excluded[][] }> {
  const series = buckets.length > 0;
  const bounds = boundsOf(buckets, question.scope.end);
  const rows = await db.all(leftOut({ ...shapeOf(question), series }), { ...valuesOf(question), bounds });
  const sumOf = (counted: LeftOut[]) =>
    [...new Set(counted.map(({ reason }) => reason))].map((reason) => ({
      reason,
      count: counted.reduce((sum, row) => sum + (row.reason === reason ? row.count : 0), 0),
    }));
  return { whole: sumOf(rows), series: buckets.map((_, index) => sumOf(rows.filter((r) => r.bucket === index + 1))) };
}

const first = shaped<Shape, { at: string }>(
  'score_first',
  (shape) => {
    const { from, where } = population({ ...shape, from: false, latest: false, groupBy: null }, { response: false });
    return sql`select a.answered_at as at from ${from} where ${all(where)} order by a.answered_at limit 1`;
  },
  unprepared,
);

/** When the first answer that counts was given: where a period of all time begins. */
export async function firstAnswerAt(db: Db, question: ScoreQuestion): Promise<string | null> {
  if (question.scope.from !== null) return null;
  return (await db.first(first(shapeOf(question)), valuesOf(question)))?.at ?? null;
}

const scales = shaped<Shape, { scales: number }>(
  'score_scales',
  (shape) => {
    const { from, where } = population({ ...shape, latest: false, groupBy: null }, { response: false });
    return sql`select count(distinct q.scale) as scales
    from (select distinct v.survey_id, q ->> 'key' as key, q -> 'scale' as scale from survey_versions v, jsonb_array_elements(v.questions) q
      where q ->> 'type' = ${sql.raw(`'${shape.type}'`)}) q
    where exists (select from ${from} where ${all(where)} and a.survey_id = q.survey_id and a.question = q.key)`;
  },
  unprepared,
);

/** Whether the answers of the period were given on different scales. */
export async function hasMixedScales(db: Db, question: ScoreQuestion): Promise<boolean> {
  // A question keeps its scale once it is answered.
  if (question.type === 'nps' || question.asked !== null) return false;
  return ((await db.first(scales(shapeOf(question)), valuesOf(question)))?.scales ?? 0) > 1;
}

const questionsAsked = statement<{ current: boolean; key: string | null; type: QuestionType | null }>(
  'score_questions',
  sql`select v.number = s.current_version as current, q.question ->> 'key' as key, q.question ->> 'type' as type
    from surveys s join survey_versions v on v.survey_id = s.id
    left join jsonb_array_elements(v.questions) with ordinality q (question, place) on true
    where s.id = ${param('surveyId')}::uuid order by v.number desc, q.place`,
);

/** The questions of all versions of a survey, those of the newest first; null: there is no such survey. */
export async function questionsOf(db: Db, surveyId: string) {
  const rows = await db.all(questionsAsked, { surveyId });
  return rows.length === 0 ? null : rows;
}

/** Which of the answers a list has. */
export interface ScoreSelection {
  /** As stored; null: any. */
  band: number | null;
  /** Only this group of `groupBy`. */
  group: string | null;
  /** Only responses with text answers. */
  withTexts: boolean;
}

interface ListShape extends Shape {
  band: boolean;
  group: boolean;
  withTexts: boolean;
}

const texts = sql`from survey_answers t where t.response_id = a.response_id and t.type = 'text' and t.text is not null`;

function listed({ band, group, withTexts, ...shape }: ListShape, response: boolean): { from: SQL; where: SQL } {
  const { from, where, latest } = population(shape, { response });
  return {
    from,
    where: all([
      ...where,
      latest,
      band ? sql`a.band = ${param('band')}::int` : null,
      group ? sql`g.key = ${param('group')}::text` : null,
      withTexts ? sql`exists (select ${texts})` : null,
    ]),
  };
}

/** An answer on a list, with its response or, of a list of reasons, its texts. */
export interface ListedAnswer {
  id: string;
  question: string;
  score: number;
  band: number;
  answeredAt: string;
  surveyId: string;
  customerId: string | null;
  staff: string | null;
  texts: { question: string; text: string }[];
}

const answersOfList = shaped<ListShape & { descending: boolean; after: boolean }, ListedAnswer>(
  'score_list',
  ({ descending, after, ...shape }) => {
    const { from, where } = listed(shape, true);
    const compare = sql.raw(descending ? '<' : '>');
    const edge = after
      ? sql`and (a.answered_at, a.response_id) ${compare} (${param('afterAnsweredAt')}::timestamptz, ${param('afterId')}::uuid)`
      : sql``;
    const order = sql.raw(
      ['a.answered_at', 'a.response_id'].map((key) => `${key} ${descending ? 'desc' : 'asc'}`).join(', '),
    );
    const written = shape.withTexts
      ? sql`(select json_agg(json_build_object('question', t.question, 'text', t.text) order by t.question collate "C") ${texts})`
      : sql`'[]'::json`;
    return sql`select a.response_id as id, a.question, a.score, a.band, a.answered_at as "answeredAt", a.survey_id as "surveyId",
        a.customer_id as "customerId", r.staff, ${written} as texts
      from ${from} where ${where} ${edge} order by ${order} limit ${param('limit')}::int`;
  },
  unprepared,
);

interface Place {
  descending: boolean;
  after: { answeredAt: string; id: string } | null;
}

function listShape(question: ScoreQuestion, { band, group, withTexts }: ScoreSelection): ListShape {
  return { ...shapeOf(question), band: band !== null, group: group !== null, withTexts };
}

/** Answers that the metric counts in the order in which they were given, one more than `limit` where there are more. */
export function listAnswers(
  db: Db,
  question: ScoreQuestion,
  selection: ScoreSelection,
  { descending, after }: Place,
  limit: number,
): Promise<ListedAnswer[]> {
  const { band, group } = selection;
  return db.all(answersOfList({ ...listShape(question, selection), descending, after: after !== null }), {
    ...valuesOf(question),
    band,
    group,
    afterAnsweredAt: after?.answeredAt ?? null,
    afterId: after?.id ?? null,
    limit: limit + 1,
  });
}

const countOfList = shaped<ListShape, { total: number }>(
  'score_count',
  (shape) => {
    const { from, where } = listed(shape, false);
    return sql`select count(*) as total from ${from} where ${where}`;
  },
  unprepared,
);

export async function countAnswers(db: Db, question: ScoreQuestion, selection: ScoreSelection): Promise<number> {
  const { band, group } = selection;
  const values = { ...valuesOf(question), band, group };
  return (await db.first(countOfList(listShape(question, selection)), values))?.total ?? 0;
}

const responses = statement<SurveyResponse>(
  'score_responses',
  sql`select ${responseColumns} from ${surveyResponses} where ${surveyResponses.id} = any(${param('ids')}::uuid[])`,
);

/** The responses with these ids, by id. */
export async function responsesByIds(db: Db, ids: string[]): Promise<Map<string, SurveyResponse>> {
  const rows = ids.length === 0 ? [] : await db.all(responses, { ids });
  return new Map(rows.map((row) => [row.id, row]));
}
