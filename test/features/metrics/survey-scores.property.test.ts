import assert from 'node:assert/strict';
import fc from 'fast-check';
import type pg from 'pg';
import t from 'tap';
import { customerEffort } from '../../../src/domain/customer-effort.ts';
import { customerSatisfaction } from '../../../src/domain/customer-satisfaction.ts';
import type { MetricResult } from '../../../src/domain/metric-result.ts';
import { netPromoterScore } from '../../../src/domain/net-promoter-score.ts';
import { buckets, type CalendarInterval, intervalAt, resolveInstant } from '../../../src/domain/period.ts';
import { metricResult } from '../../../src/features/metrics/model.ts';
import {
  type ScoreFilter,
  type ScoreGroup,
  scoreFilters,
  scoreGroups,
  scoreMemberPage,
  scoreReasonPage,
} from '../../../src/features/metrics/survey-score-model.ts';
import {
  getCustomerEffort,
  getCustomerSatisfaction,
  getNetPromoterScore,
  listCustomerEffortMembers,
  listCustomerEffortReasons,
  listCustomerSatisfactionMembers,
  listCustomerSatisfactionReasons,
  listNetPromoterScoreMembers,
  listNetPromoterScoreReasons,
} from '../../../src/features/metrics/survey-scores.ts';
import { openPool } from '../../../src/platform/db/client.ts';
import type { Operation } from '../../../src/platform/operation.ts';
import { testApp } from '../../support/app.ts';
import { draws, endOnFailure } from '../../support/draws.ts';
import { idOf, world } from '../../support/facts.ts';
import { statementsOf } from '../../support/statements.ts';

/* NPS, CSAT and CES against a naive count over arrays that finds the latest answers by sorting; their lists; both doors. */

type Type = 'nps' | 'csat' | 'ces';

interface Question {
  key: string;
  type: Type | 'text';
  /** For the band of a score: 1 the good end, −1 the bad one (of csat: 0). */
  band: (score: number) => number;
  min: number;
  max: number;
  scale?: object;
}

const npsBand = (score: number) => (score > 8 ? 1 : score > 6 ? 0 : -1);
const nps = (key: string): Question => ({ key, type: 'nps', band: npsBand, min: 0, max: 10 });
const csat = (key: string, min: number, max: number, topBoxFrom: number): Question => ({
  key,
  type: 'csat',
  band: (score) => (score >= topBoxFrom ? 1 : 0),
  min,
  max,
  scale: { min, max, topBoxFrom },
});
const text = (key: string): Question => ({ key, type: 'text', band: () => 0, min: 0, max: 0 });
const easyLow: Question = {
  key: 'effort',
  type: 'ces',
  band: (score) => (score <= 2 ? 1 : score >= 4 ? -1 : 0),
  min: 1,
  max: 5,
  scale: { min: 1, max: 5, direction: 'easy_low', easyTo: 2, hardFrom: 4 },
};
const easyHigh: Question = {
  key: 'ease',
  type: 'ces',
  band: (score) => (score >= 6 ? 1 : score <= 3 ? -1 : 0),
  min: 1,
  max: 7,
  scale: { min: 1, max: 7, direction: 'easy_high', easyTo: 6, hardFrom: 3 },
};

/** Questions of every version of every survey. The second version of the first one begins with what was the second question. */
const surveys: Question[][][] = [
  [
    [nps('recommend'), nps('again'), csat('happy', 1, 5, 4), text('why'), text('besides')],
    [nps('again'), nps('recommend'), csat('happy', 1, 5, 4), easyLow, text('why')],
  ],
  [[csat('happy', 1, 10, 8), nps('recommend'), easyHigh, text('why')]],
  [[easyLow, csat('glad', 1, 5, 4), text('why')]],
];

interface ResponseFact {
  survey: number;
  version: number;
  /** null: anonymous. */
  customer: number | null;
  at: string;
  status: 'complete' | 'partial' | 'dismissed';
  late: boolean;
  staff: string | null;
  department: string | null;
  process: string | null;
  stage: string | null;
  channel: string | null;
  product: string | null;
  language: string | null;
  /** By the key of the question. */
  scores: Record<string, number>;
  texts: Record<string, string>;
}

interface TierChange {
  customer: number;
  at: string;
  tier: string;
}

const surveyId = (n: number) => idOf(n, 3);
const responseId = (n: number) => idOf(n, 4);
const questionsOf = ({ survey, version }: Pick<ResponseFact, 'survey' | 'version'>) => surveys[survey]?.[version] ?? [];

async function insertStore(pool: pg.Pool, responses: ResponseFact[], tiers: TierChange[]): Promise<void> {
  await pool.query(
    'truncate survey_answers, survey_responses, survey_versions, surveys, loyalty_tier_changes, loyalty_accounts, loyalty_programmes, customers cascade',
  );
  const rows = (all: object[]) => [JSON.stringify(all)];
  const customers = [...new Set([...responses, ...tiers].map(({ customer }) => customer))].filter(
    (one) => one !== null,
  );
  await pool.query(
    `insert into customers (id, version, kind, created_at, updated_at) select id, 1, 'person', now(), now() from json_to_recordset($1) as n(id uuid)`,
    rows(customers.map((n) => ({ id: idOf(n) }))),
  );
  await pool.query(`insert into loyalty_programmes select (json_populate_record(null::loyalty_programmes, $1)).*`, [
    JSON.stringify({
      id: idOf(1, 5),
      version: 1,
      name: 'Club',
      status: 'active',
      rules: {},
      created_at: 'now',
      updated_at: 'now',
    }),
  ]);
  await pool.query(
    `insert into loyalty_accounts select r.* from json_populate_recordset(null::loyalty_accounts, $1) r`,
    rows(
      [...new Set(tiers.map(({ customer }) => customer))].map((n) => ({
        customer_id: idOf(n),
        programme_id: idOf(1, 5),
        version: 1,
        joined_at: '2018-01-01T00:00:00Z',
        joined_on: '2018-01-01',
        tier_in_grace: false,
        active: 0,
        pending: 0,
        debt: 0,
        settled_at: 'now',
        referral_rewarded: false,
        created_at: 'now',
        updated_at: 'now',
      })),
    ),
  );
  await pool.query(
    `insert into loyalty_tier_changes select r.* from json_populate_recordset(null::loyalty_tier_changes, $1) r`,
    rows(
      tiers.map(({ customer, at, tier }, index) => ({
        customer_id: idOf(customer),
        sequence: index + 1,
        at,
        tier,
        reason: 'joined',
        amount: 0,
        created_at: 'now',
      })),
    ),
  );
  await pool.query(
    `insert into surveys (id, version, name, status, current_version, settings, created_at, updated_at)
     select id, 1, 'Survey', 'open', current, '{}', now(), now() from json_to_recordset($1) as n(id uuid, current int)`,
    rows(surveys.map((versions, n) => ({ id: surveyId(n), current: versions.length }))),
  );
  await pool.query(
    `insert into survey_versions (survey_id, number, questions, created_at)
     select id, number, questions, now() from json_to_recordset($1) as n(id uuid, number int, questions jsonb)`,
    rows(
      surveys.flatMap((versions, n) =>
        versions.map((questions, index) => ({
          id: surveyId(n),
          number: index + 1,
          questions: questions.map(({ key, type, scale }) => ({ key, type, text: key, ...(scale && { scale }) })),
        })),
      ),
    ),
  );
  await pool.query(
    `insert into survey_responses (id, customer_id, version, survey_id, survey_version, submission_id, status, answered_at, late, sku, staff, department,
       process, channel, language, journey_stage, created_at, updated_at)
     select id, customer, 1, survey, version, id::text, status, at, late, product, staff, department, process, channel, language, stage, now(), now()
     from json_to_recordset($1) as n(id uuid, customer uuid, survey uuid, version int, status text, at timestamptz, late boolean, product text, staff text,
       department text, process text, channel text, language text, stage text)`,
    rows(
      responses.map((r, n) => ({
        ...r,
        id: responseId(n),
        customer: r.customer === null ? null : idOf(r.customer),
        survey: surveyId(r.survey),
        version: r.version + 1,
      })),
    ),
  );
  const answers = responses.flatMap((r, n) => {
    const known = {
      response: responseId(n),
      survey: surveyId(r.survey),
      at: r.at,
      customer: r.customer === null ? null : idOf(r.customer),
      counted: r.status === 'complete' && !r.late,
    };
    const questions = questionsOf(r);
    return [
      ...Object.entries(r.scores).map(([key, score]) => {
        const question = questions.find((one) => one.key === key);
        const primary = questions.find((one) => one.type === question?.type)?.key === key;
        return { ...known, question: key, type: question?.type, primary, score, band: question?.band(score) };
      }),
      ...Object.entries(r.texts).map(([key, words]) => ({
        ...known,
        question: key,
        type: 'text',
        primary: false,
        text: words,
      })),
    ];
  });
  // What supersedes what, as the service keeps it.
  await pool.query(
    `insert into survey_answers (response_id, survey_id, answered_at, score, band, is_primary, counted, customer_id, question, type, text, superseded_at, superseded_in_survey_at)
     select response, survey, at, score, band, "primary", counted, customer, question, type, text,
       case when supersedes and "primary" then lead(at) over (partition by customer, supersedes, "primary", type order by at, response) end,
       case when supersedes then lead(at) over (partition by customer, supersedes, survey, question order by at, response) end
     from (
       select *, counted and customer is not null and score is not null as supersedes
       from json_to_recordset($1) as n(response uuid, survey uuid, at timestamptz, score smallint, band smallint, "primary" boolean, counted boolean, customer uuid,
         question text, type text, text text)
     ) n`,
    rows(answers),
  );
}

interface Asked {
  type: Type;
  from?: string | undefined;
  to?: string | undefined;
  asOf?: string | undefined;
  timeZone: string;
  interval?: CalendarInterval | undefined;
  groupBy?: ScoreGroup | undefined;
  surveyId?: string | undefined;
  question?: string | undefined;
  answers?: 'latest' | 'all' | undefined;
  include?: readonly ('partial' | 'late')[] | undefined;
  filter: Partial<Record<ScoreFilter, string>>;
}

const time = (instant: string) => Date.parse(instant);

/** The definitions over arrays, as plainly as they can be put; null: the survey asks no such question. */
function oracle(responses: ResponseFact[], tiers: TierChange[], asked: Asked, now: string) {
  const { type, timeZone, include = [], answers = 'latest', filter, groupBy } = asked;
  const resolve = (moment: string) => resolveInstant(moment, timeZone);
  const asOf = resolve(asked.asOf ?? now);
  const to = resolve(asked.to ?? asOf);
  const from = asked.from === undefined ? null : resolve(asked.from);
  const inPeriod = ({ at }: { at: string }) =>
    time(at) < time(asOf) && time(at) < time(to) && (from === null || time(at) >= time(from));

  let key = asked.question ?? null;
  const survey = surveys.findIndex((_, n) => surveyId(n) === asked.surveyId);
  if (survey >= 0 && key === null) {
    const found = surveys[survey]?.at(-1)?.find((question) => question.type === type);
    if (!found) return null;
    key = found.key;
  }
  if (survey >= 0 && !surveys[survey]?.some((version) => version.some((one) => one.key === key && one.type === type)))
    return null;

  const facts = responses.map((response, n) => {
    const questions = questionsOf(response);
    const question =
      survey < 0
        ? questions.find((one) => one.type === type)
        : response.survey === survey
          ? questions.find((one) => one.key === key)
          : undefined;
    const score = question && response.scores[question.key];
    const held = tiers.filter(({ customer, at }) => customer === response.customer && time(at) <= time(response.at));
    const { staff, department, process, stage, channel, product, language } = response;
    const said = { staff, department, process, stage, channel, product, language, tier: held.at(-1)?.tier ?? null };
    return {
      id: responseId(n),
      response,
      at: response.at,
      asks: question !== undefined,
      question: question?.key ?? '',
      score: score ?? null,
      band: question && score !== undefined ? question.band(score) : 0,
      scale: JSON.stringify(question?.scale),
      said: { ...said, survey: surveyId(response.survey) },
    };
  });
  type Fact = (typeof facts)[number];

  const isSelected = ({ said }: Fact) =>
    scoreFilters.every((name) => filter[name] === undefined || said[name] === filter[name]);
  const given = facts.filter((fact) => inPeriod(fact) && fact.score !== null);
  const eligible = given.filter(
    ({ response: { status, late } }) =>
      (status === 'complete' || (status === 'partial' && include.includes('partial'))) &&
      (!late || include.includes('late')),
  );
  const newestLast = (a: Fact, b: Fact) => time(a.at) - time(b.at) || (a.id < b.id ? -1 : 1);
  function counted(some: Fact[]): Fact[] {
    if (answers === 'all') return some.filter(isSelected);
    const latest = new Map<number | string, Fact>();
    for (const fact of some.toSorted(newestLast)) latest.set(fact.response.customer ?? fact.id, fact);
    return [...latest.values()].filter(isSelected);
  }

  function measure(some: Fact[]): MetricResult {
    const inBand = (band: number) => some.filter((fact) => fact.band === band).length;
    const [good, middle, bad] = [inBand(1), inBand(0), inBand(-1)];
    const value = some.length === 0 ? null : (100 * (good - bad)) / some.length;
    const result =
      type === 'nps'
        ? netPromoterScore({ promoters: good, passives: middle, detractors: bad })
        : type === 'csat'
          ? customerSatisfaction({ satisfied: good, answers: some.length })
          : customerEffort({ easy: good, neutral: middle, hard: bad });
    assert.equal(result.value, value);
    return result;
  }

  function leftOutOf(some: Fact[]): { reason: string; count: number }[] {
    const leftOut = { dismissed: 0, partial: 0, late: 0 };
    for (const fact of some.filter((one) => inPeriod(one) && isSelected(one))) {
      const { status, late } = fact.response;
      if (status === 'dismissed') leftOut.dismissed += fact.asks ? 1 : 0;
      else if (fact.score === null) continue;
      else if (status === 'partial' && !include.includes('partial')) leftOut.partial += 1;
      else if (late && !include.includes('late')) leftOut.late += 1;
    }
    return Object.entries(leftOut).flatMap(([reason, count]) => (count > 0 ? [{ reason, count }] : []));
  }

  const whole = counted(eligible);
  const scaled = eligible.filter(isSelected);
  const first = scaled.map(({ at }) => at).sort((a, b) => time(a) - time(b))[0] ?? null;
  const start = from ?? (first && asked.interval ? intervalAt(asked.interval, first, timeZone).from : null);
  const parts = asked.interval && start !== null ? buckets(asked.interval, { from: start, to, timeZone }, asOf) : [];
  const inPart = (some: Fact[], part: { insideFrom: string; insideTo: string }) =>
    some.filter(({ at }) => time(at) >= time(part.insideFrom) && time(at) < time(part.insideTo));
  const keyOf = ({ said }: Fact) => (groupBy === undefined ? '' : (said[groupBy] ?? ''));
  const keys = groupBy === undefined ? [] : [...new Set(whole.map(keyOf))];
  return {
    first,
    whole: measure(whole),
    excluded: leftOutOf(facts),
    excludedInSeries: parts.map((part) => leftOutOf(inPart(facts, part))),
    mixed: type !== 'nps' && new Set(scaled.map(({ scale }) => scale)).size > 1,
    series: parts.map((part) => measure(counted(inPart(eligible, part)))),
    groups: keys
      .map((one) => ({ key: one, ...measure(whole.filter((fact) => keyOf(fact) === one)) }))
      .sort((a, b) => (b.denominator ?? 0) - (a.denominator ?? 0) || (a.key < b.key ? -1 : 1)),
    /** Newest first. */
    members: (band?: number, group?: string) =>
      whole
        .filter((fact) => (band === undefined || fact.band === band) && (group === undefined || keyOf(fact) === group))
        .sort((a, b) => newestLast(b, a)),
  };
}

const operations: Record<
  Type,
  { metric: Operation; members: Operation; reasons: Operation; bands: Record<string, number> }
> = {
  nps: {
    metric: getNetPromoterScore,
    members: listNetPromoterScoreMembers,
    reasons: listNetPromoterScoreReasons,
    bands: { promoter: 1, passive: 0, detractor: -1 },
  },
  csat: {
    metric: getCustomerSatisfaction,
    members: listCustomerSatisfactionMembers,
    reasons: listCustomerSatisfactionReasons,
    bands: { satisfied: 1, not_satisfied: 0 },
  },
  ces: {
    metric: getCustomerEffort,
    members: listCustomerEffortMembers,
    reasons: listCustomerEffortReasons,
    bands: { easy: 1, neutral: 0, hard: -1 },
  },
};

const now = '2019-06-20T12:00:00.000Z';
// São Paulo has no midnight on 2018-11-04, Berlin and New York change inside the time, Kathmandu is off the hour.
const zones = ['UTC', 'Europe/Berlin', 'America/Sao_Paulo', 'America/New_York', 'Asia/Kathmandu'] as const;
const cut = '2019-03-10T05:30:00.000Z';
const instant = fc
  .oneof(
    { weight: 3, arbitrary: fc.integer({ min: Date.UTC(2018, 9, 1), max: Date.UTC(2019, 4, 15) }) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(
          fc.constantFrom('2018-10-28', '2018-11-04', '2019-01-01', '2019-02-17', '2019-03-10', '2019-03-31'),
          fc.integer({ min: -14 * 4, max: 14 * 4 }),
        )
        .map(([day, quarters]) => Date.parse(`${day}T00:00:00Z`) + quarters * 15 * 60_000),
    },
    // What is answered at an end is not in the period, nor does it supersede; answers of one instant are ordered by id.
    {
      weight: 3,
      arbitrary: fc
        .constantFrom(cut, cut, '2019-03-01', '2019-02-18', '2019-01-01', '2019-05-01')
        .chain((day) => fc.constantFrom(...zones).map((zone) => Date.parse(resolveInstant(day, zone)))),
    },
  )
  .map((ms) => new Date(ms).toISOString());
const word = (...words: string[]) => fc.constantFrom(null, ...words);
const customer = fc.integer({ min: 1, max: 3 });

/** Any of the members, or none. */
function someOf<V>(members: [string, fc.Arbitrary<V>][]): fc.Arbitrary<Record<string, V>> {
  const all = fc.tuple(...members.map(([key, value]) => fc.option(value.map((one): [string, V] => [key, one]))));
  return all.map((entries) => Object.fromEntries(entries.filter((entry) => entry !== null)));
}

const responseFact = fc
  .constantFrom(...surveys.flatMap((versions, survey) => versions.map((_, version) => ({ survey, version }))))
  .chain(({ survey, version }) => {
    const questions = questionsOf({ survey, version });
    const ofType = (isText: boolean) => questions.filter(({ type }) => (type === 'text') === isText);
    const scores = someOf(ofType(false).map(({ key, min, max }) => [key, fc.integer({ min, max })]));
    const texts = someOf(ofType(true).map(({ key }) => [key, fc.constantFrom('fine', 'Zürich!')]));
    return fc
      .record({
        survey: fc.constant(survey),
        version: fc.constant(version),
        customer: fc.oneof({ weight: 4, arbitrary: customer }, fc.constant(null)),
        at: instant,
        status: fc.oneof(
          { weight: 4, arbitrary: fc.constant('complete' as const) },
          fc.constantFrom('partial' as const, 'dismissed' as const),
        ),
        late: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
        staff: word('maria', 'ada'),
        department: word('support', 'sales'),
        process: word('returns', 'delivery'),
        stage: word('buy', 'use'),
        channel: word('email', 'web'),
        product: word('A', 'B'),
        language: word('en', 'de'),
        scores,
        texts,
      })
      .map(
        (fact): ResponseFact => (fact.status === 'dismissed' ? { ...fact, scores: {}, texts: {}, late: false } : fact),
      );
  });

const tierChange = fc.record({ customer, at: instant, tier: fc.constantFrom('silver', 'gold') });

const filterValues: Record<ScoreFilter, string> = {
  staff: 'maria',
  department: 'support',
  process: 'returns',
  stage: 'use',
  channel: 'web',
  product: 'A',
  tier: 'gold',
  language: 'de',
};

const questions: fc.Arbitrary<Asked> = fc
  .record(
    {
      type: fc.constantFrom('nps' as const, 'nps' as const, 'csat' as const, 'ces' as const),
      from: fc.constantFrom(undefined, '2018-11-01', '2018-11-04', '2019-01-01', '2018-10-28T01:30:00Z'),
      to: fc.constantFrom(undefined, undefined, '2019-03-01', '2019-05-01', '2019-04-11T13:00:00Z'),
      asOf: fc.constantFrom(undefined, undefined, cut, '2019-02-18', '2019-01-14T23:59:59.999Z'),
      timeZone: fc.constantFrom(...zones),
      interval: fc.constantFrom(undefined, 'day' as const, 'week' as const, 'month' as const, 'quarter' as const),
      groupBy: fc.constantFrom(undefined, ...scoreGroups),
      of: fc.oneof(
        { weight: 3, arbitrary: fc.constant({}) },
        fc.integer({ min: 0, max: 2 }).map((n) => ({ surveyId: surveyId(n) })),
        fc
          .constantFrom([0, 'again'], [0, 'recommend'], [1, 'happy'], [0, 'effort'], [2, 'effort'])
          .map(([n, question]) => ({ surveyId: surveyId(Number(n)), question: String(question) })),
      ),
      answers: fc.constantFrom(undefined, 'latest' as const, 'all' as const),
      include: fc.constantFrom(
        undefined,
        undefined,
        ['partial' as const],
        ['late' as const],
        ['partial' as const, 'late' as const],
      ),
      filter: fc.oneof(
        { weight: 2, arbitrary: fc.constant<ScoreFilter[]>([]) },
        fc.subarray([...scoreFilters], { minLength: 1, maxLength: 2 }),
      ),
    },
    { noNullPrototype: true },
  )
  .map(({ of, filter, ...asked }) => ({
    ...asked,
    ...of,
    filter: Object.fromEntries(filter.map((name) => [name, filterValues[name]])),
  }));

const given = <T extends object>(input: T) =>
  Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));

type Judged = Pick<MetricResult, 'value' | 'values' | 'numerator' | 'denominator' | 'lowSample'>;
const essence = ({ value, values, numerator, denominator, lowSample }: Judged) => ({
  value,
  values,
  numerator,
  denominator,
  lowSample,
});

t.test('scores, their series, groups and lists agree with a naive count', { timeout: 280_000 }, async (t) => {
  const { pool, ask } = await world(t, {}, { now });
  const seen = { answers: 0, listed: 0, refused: 0, mixed: 0, superseded: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(responseFact, { minLength: 10, maxLength: 30 }),
      fc.array(tierChange, { maxLength: 5 }),
      fc.array(questions, { minLength: 6, maxLength: 6 }),
      async (responses, changes, list) => {
        const tiers = changes.sort((a, b) => time(a.at) - time(b.at));
        await insertStore(pool, responses, tiers);
        for (const asked of list) {
          const { type, filter, ...rest } = asked;
          const end = resolveInstant(asked.to ?? asked.asOf ?? now, asked.timeZone);
          if (asked.from !== undefined && time(resolveInstant(asked.from, asked.timeZone)) >= time(end)) continue;
          const expected = oracle(responses, tiers, asked, now);
          const input = given({ ...rest, ...filter });
          const name = JSON.stringify(asked);
          if (expected === null) {
            await assert.rejects(ask(operations[type].metric, input), { code: 'invalid_input' }, name);
            seen.refused += 1;
            continue;
          }
          const answer = metricResult.parse(await ask(operations[type].metric, input));
          assert.deepEqual(essence(answer), essence(expected.whole), name);
          assert.deepEqual(answer.interval, expected.whole.interval, name);
          assert.equal(answer.reason?.code, expected.whole.reason?.code, name);
          assert.deepEqual(answer.excluded, expected.excluded, name);
          assert.equal(
            answer.period.from,
            asked.from === undefined ? expected.first : resolveInstant(asked.from, asked.timeZone),
            name,
          );
          assert.deepEqual(
            answer.warnings.map(({ code }) => code),
            expected.mixed ? ['mixed_scales'] : [],
            name,
          );
          assert.deepEqual(answer.series.map(essence), expected.series.map(essence), name);
          assert.deepEqual(
            answer.series.map(({ excluded }) => excluded),
            expected.excludedInSeries,
            name,
          );
          assert.deepEqual(
            answer.groups.map((group) => ({ key: group.key, interval: group.interval, ...essence(group) })),
            expected.groups.map((group) => ({ key: group.key, interval: group.interval, ...essence(group) })),
            name,
          );
          seen.answers += 1;
          seen.mixed += expected.mixed ? 1 : 0;
          if (asked.answers !== 'all') {
            const all = oracle(responses, tiers, { ...asked, answers: 'all' }, now);
            seen.superseded += (all?.whole.denominator ?? 0) - (expected.whole.denominator ?? 0);
          }
          const { interval: _, groupBy, ...question } = input as Record<string, unknown>;
          await compareLists(type, question, expected.members(), name);
          for (const [band, stored] of Object.entries(operations[type].bands))
            await compareLists(type, { ...question, band }, expected.members(stored), name);
          for (const group of answer.groups.slice(0, 3)) {
            const found = await compareLists(
              type,
              { ...question, groupBy, group: group.key },
              expected.members(undefined, group.key),
              name,
            );
            assert.equal(found, group.denominator, name);
          }
        }
      },
    ),
    { numRuns: draws({ quick: 10, deep: 60 }), seed: 20261123, endOnFailure },
  );
  t.ok(
    seen.answers > 35 && seen.listed > 100 && seen.refused > 0 && seen.mixed > 1 && seen.superseded > 7,
    JSON.stringify(seen),
  );

  async function everyPage<T>(
    operation: Operation,
    input: object,
    parse: (page: unknown) => { data: T[]; page: { next: string | null; total?: number | undefined } },
    total: number,
  ) {
    const found: T[] = [];
    for (let after: string | undefined; ; ) {
      const { data, page } = parse(await ask(operation, { ...input, limit: 3, count: true, ...(after && { after }) }));
      found.push(...data);
      assert.equal(page.total, total);
      if (page.next === null) return found;
      after = page.next;
    }
  }

  type Members = ReturnType<NonNullable<ReturnType<typeof oracle>>['members']>;
  async function compareLists(type: Type, input: object, expected: Members, name: string): Promise<number> {
    const { members, reasons } = operations[type];
    const told = `${name} ${JSON.stringify(input)}`;
    const found = await everyPage(members, input, (page) => scoreMemberPage.parse(page), expected.length);
    assert.deepEqual(
      found.map(({ question, score, response }) => ({
        id: response.id,
        question,
        score,
        staff: response.staff,
        answers: response.answers.length,
      })),
      expected.map(({ id, question, score, response }) => ({
        id,
        question,
        score,
        staff: response.staff,
        answers: Object.keys(response.scores).length + Object.keys(response.texts).length,
      })),
      told,
    );
    const written = expected.filter(({ response }) => Object.keys(response.texts).length > 0);
    const why = await everyPage(reasons, input, (page) => scoreReasonPage.parse(page), written.length);
    assert.deepEqual(
      why.map(({ responseId: id, question, score, texts }) => ({ id, question, score, texts })),
      written.map(({ id, question, score, response }) => ({
        id,
        question,
        score,
        texts: Object.entries(response.texts)
          .map(([key, words]) => ({ question: key, text: words }))
          .sort((a, b) => (a.question < b.question ? -1 : 1)),
      })),
      told,
    );
    assert.deepEqual(
      found.map(({ band }) => operations[type].bands[band]),
      expected.map(({ band }) => band),
      told,
    );
    seen.listed += found.length;
    return found.length;
  }
});

let clock = now;
const api = await testApp(t, { clock: () => clock });
const { request, graphql } = api;
const store = openPool(api.connection, { size: 2, statementTimeout: 60_000, as: 'login' });
t.teardown(() => store.end());
const metrics = { nps: 'net-promoter-score', csat: 'customer-satisfaction', ces: 'customer-effort' } as const;

async function get<T = any>(path: string, scope = '*'): Promise<T> {
  const { status, body } = await request('GET', `/v1/metrics/${path}`, { scope });
  assert.equal(status, 200, JSON.stringify(body));
  return body;
}

async function makeSurvey(name: string, questions: Question[]): Promise<string> {
  const { status, body } = await request('POST', '/v1/surveys', {
    body: {
      name,
      status: 'open',
      settings: { answerWithinDays: 1 },
      questions: questions.map(({ key, type, scale }) => ({ key, type, text: key, ...(scale && { scale }) })),
    },
  });
  assert.equal(status, 201, JSON.stringify(body));
  return body.id;
}

t.test('pushed in any order, corrected, moved and deleted: the same numbers', { timeout: 280_000 }, async (t) => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(responseFact, { minLength: 8, maxLength: 20, selector: ({ at }) => at }),
      fc.infiniteStream(fc.nat({ max: 999 })),
      fc.array(questions, { minLength: 4, maxLength: 4 }),
      async (made, random, list) => {
        await store.query(
          'truncate survey_answers, survey_responses, survey_versions, surveys, external_refs, customers cascade',
        );
        const draw = (below: number) => Number(random.next().value) % below;
        // Only the first version is asked here.
        const facts = made
          .map((fact) => ({ ...fact, version: 0 }))
          .filter((fact) => {
            const keys = questionsOf(fact).map(({ key }) => key);
            return Object.keys({ ...fact.scores, ...fact.texts }).every((key) => keys.includes(key));
          });
        const ids = await Promise.all(surveys.map(([first = []], n) => makeSurvey(`Survey ${n}`, first)));
        const document = (fact: ResponseFact, n: number) => ({
          submissionId: `s${n}`,
          answeredAt: fact.at,
          status: fact.status,
          ...(fact.late && { askedAt: new Date(time(fact.at) - 3 * 86_400_000).toISOString() }),
          ...(fact.customer !== null && { customer: { source: 'test', externalId: `c${fact.customer}` } }),
          staff: fact.staff,
          department: fact.department,
          process: fact.process,
          journeyStage: fact.stage,
          channel: fact.channel,
          sku: fact.product,
          language: fact.language,
          answers: [
            ...Object.entries(fact.scores).map(([question, score]) => ({ question, score })),
            ...Object.entries(fact.texts).map(([question, words]) => ({ question, text: words })),
          ],
        });
        async function push(survey: number, responses: object[]) {
          const { body } = await request('POST', `/v1/surveys/${ids[survey]}/responses/batch`, { body: { responses } });
          const refused = body.results.filter(({ status }: { status: string }) => status === 'refused');
          assert.deepEqual(refused, [], JSON.stringify(body));
          return body.results as { id: string }[];
        }
        const waiting = facts.map((fact, n) => ({ fact, n }));
        const twice: typeof waiting = [];
        while (waiting.length > 0) {
          const [one] = waiting.splice(draw(waiting.length), 1);
          if (!one) break;
          const { fact, n } = one;
          const kind = draw(4);
          if (kind === 0) {
            // At another time, of somebody else, or not complete; set right later.
            const at = new Date(time(fact.at) + (draw(300) - 270) * 86_400_000).toISOString();
            const wrong = { ...fact, at, customer: 1 + draw(4), late: draw(2) === 0 };
            await push(fact.survey, [document(wrong, n)]);
            twice.push(one);
          } else if (kind === 1) {
            const [extra] = await push(fact.survey, [document(fact, 1000 + n), document(fact, n)]);
            const gone = await request('DELETE', `/v1/survey-responses/${extra?.id}`, { headers: { 'If-Match': '*' } });
            assert.equal(gone.status, 204);
          } else await push(fact.survey, [document(fact, n)]);
        }
        for (const { fact, n } of twice) await push(fact.survey, [document(fact, n)]);

        for (const asked of list) {
          const { type, filter: all, surveyId: _, question: __, ...rest } = asked;
          const { tier: ___, ...filter } = all;
          const question: Asked = { ...rest, type, filter };
          if (question.groupBy === 'survey' || question.groupBy === 'tier') continue;
          const end = resolveInstant(asked.to ?? asked.asOf ?? now, asked.timeZone);
          if (asked.from !== undefined && time(resolveInstant(asked.from, asked.timeZone)) >= time(end)) continue;
          const expected = oracle(facts, [], question, now);
          const given = Object.entries({ ...rest, ...filter }).filter(([, value]) => value !== undefined);
          const query = new URLSearchParams(given.map(([name, value]): [string, string] => [name, String(value)]));
          const answer = await get(`${metrics[type]}?${query}`);
          assert.deepEqual(essence(answer), essence(expected?.whole as Judged), query.toString());
          assert.deepEqual(answer.excluded, expected?.excluded, query.toString());
          assert.deepEqual(answer.series.map(essence), expected?.series.map(essence), query.toString());
          assert.deepEqual(
            answer.groups.map(({ key, value }: { key: string; value: number }) => [key, value]),
            expected?.groups.map(({ key, value }) => [key, value]),
            query.toString(),
          );
          compared += 1;
        }
      },
    ),
    { numRuns: draws({ quick: 4, deep: 24 }), seed: 411, endOnFailure },
  );
  t.ok(compared > 5, `${compared} answers compared`);
});

t.test('through the doors', async (t) => {
  clock = '2026-03-20T12:00:00.000Z';
  await store.query(
    'truncate survey_answers, survey_responses, survey_versions, surveys, external_refs, customers cascade',
  );
  const empty = await get('net-promoter-score?interval=month&groupBy=staff');
  t.match(empty, {
    metric: 'net-promoter-score',
    definition: 'net-promoter-score@1',
    period: { from: null },
    value: null,
    unit: 'points',
    reason: { code: 'no_answers' },
    interval: null,
    series: [],
    groups: [],
    excluded: [],
    warnings: [],
    lowSample: true,
  });

  const first = await makeSurvey('After the purchase', [
    nps('recommend'),
    csat('happy', 1, 5, 4),
    easyLow,
    text('why'),
  ]);
  const second = await makeSurvey('Once a year', [nps('recommend'), csat('happy', 1, 10, 8), nps('brand')]);
  let sent = 0;
  async function answer(
    survey: string,
    customer: string | null,
    at: string,
    scores: Record<string, number>,
    more: object = {},
  ) {
    sent += 1;
    const { why, ...rest } = more as { why?: string };
    const { status, body } = await request('POST', `/v1/surveys/${survey}/responses`, {
      body: {
        submissionId: `f${sent}`,
        answeredAt: at,
        ...(customer !== null && { customer: { source: 'shop', externalId: customer, name: `Customer ${customer}` } }),
        ...rest,
        answers: [
          ...Object.entries(scores).map(([question, score]) => ({ question, score })),
          ...(why === undefined ? [] : [{ question: 'why', text: why }]),
        ],
      },
    });
    t.equal(status, 201, JSON.stringify(body));
    return body;
  }
  // Ada changes her mind; Bo is content twice; one nobody knows; one seen and closed; one broken off; one too late.
  const ada = await answer(
    first,
    'ada',
    '2026-01-10T09:00:00Z',
    { recommend: 2, happy: 2, effort: 5 },
    { staff: 'maria', why: 'Too slow' },
  );
  await answer(second, 'ada', '2026-02-10T09:00:00Z', { recommend: 10, happy: 7, brand: 6 }, { staff: 'jo' });
  const bo = await answer(
    first,
    'bo',
    '2026-01-12T09:00:00Z',
    { recommend: 9, happy: 5, effort: 1 },
    { staff: 'maria', why: 'Kind people' },
  );
  await answer(first, null, '2026-01-13T09:00:00Z', { recommend: 7, happy: 4, effort: 3 });
  await answer(first, 'cy', '2026-01-14T09:00:00Z', {}, { status: 'dismissed', staff: 'maria' });
  await answer(first, 'di', '2026-01-15T09:00:00Z', { recommend: 0 }, { status: 'partial' });
  await answer(first, 'ed', '2026-01-16T09:00:00Z', { recommend: 1 }, { askedAt: '2026-01-01T09:00:00Z' });

  const all = await get('net-promoter-score?interval=month&groupBy=staff');
  t.match(all, {
    value: (100 * 2) / 3,
    numerator: 2,
    denominator: 3,
    values: { promoters: 2, passives: 1, detractors: 0, promoterShare: 2 / 3 },
    excluded: [
      { reason: 'dismissed', count: 1 },
      { reason: 'partial', count: 1 },
      { reason: 'late', count: 1 },
    ],
    period: { from: '2026-01-10T09:00:00.000Z' },
    series: [
      // In January Ada's answer of then is her latest.
      { start: '2026-01-01', denominator: 3, value: 0, complete: true },
      { start: '2026-02-01', denominator: 1, value: 100, complete: true },
      { start: '2026-03-01', denominator: 0, value: null, reason: { code: 'no_answers' }, complete: false },
    ],
    groups: [
      { key: '', value: 0, denominator: 1 },
      { key: 'jo', value: 100, denominator: 1 },
      { key: 'maria', value: 100, denominator: 1, interval: { level: 0.95 }, lowSample: true },
    ],
    lowSample: true,
    warnings: [],
  });
  t.ok(all.interval.low < all.value && all.interval.high > all.value);
  t.equal((await get('net-promoter-score?asOf=2026-02-01')).value, 0, 'what was true then');
  t.equal((await get(`net-promoter-score?surveyId=${first}`)).value, 0, 'of this survey her only answer is the latest');
  t.equal((await get('net-promoter-score?answers=all')).denominator, 4);
  t.equal((await get('net-promoter-score?include=partial,late')).denominator, 5);
  t.match(await get(`net-promoter-score?surveyId=${second}&question=brand`), { value: -100, denominator: 1 });
  t.match(await get('net-promoter-score?staff=maria'), {
    denominator: 1,
    excluded: [{ reason: 'dismissed', count: 1 }],
  });
  t.match(await get('customer-satisfaction'), {
    value: (100 * 2) / 3,
    values: { satisfied: 2, answers: 3 },
    unit: 'points',
    warnings: [{ code: 'mixed_scales' }],
  });
  t.same((await get(`customer-satisfaction?surveyId=${first}`)).warnings, []);
  t.match(await get('customer-effort'), { value: 0, values: { easy: 1, neutral: 1, hard: 1, easyShare: 1 / 3 } });

  const fault = async (query: string) => {
    const { status, body } = await request('GET', `/v1/metrics/net-promoter-score?${query}`);
    return [status, body.code, body.errors?.[0]?.parameter, body.errors?.[0]?.code];
  };
  t.same(await fault('question=recommend'), [422, 'unsupported_parameter', 'question', 'unsupported_parameter']);
  t.same(await fault(`surveyId=${idOf(1)}`), [404, 'not_found', undefined, undefined]);
  t.same(await fault(`surveyId=${first}&question=brand`), [422, 'invalid_input', 'question', 'unknown_question']);
  t.same(await fault(`surveyId=${first}&question=effort`), [422, 'invalid_input', 'question', 'wrong_type']);
  const alone = await makeSurvey('Effort alone', [easyHigh]);
  t.same(await fault(`surveyId=${alone}`), [422, 'invalid_input', 'surveyId', 'no_such_question']);
  for (const query of [
    'currency=EUR',
    'payment=paid',
    'zeroValue=exclude',
    'include=dismissed',
    'groupBy=language',
    'answers=first',
  ])
    t.equal((await fault(query))[0], 422, query);
  t.same(await fault('from=2026-03-01&to=2026-02-01'), [422, 'invalid_input', 'from', 'empty_period']);

  const members = await get('net-promoter-score/members?count=true&groupBy=staff&group=maria');
  t.match(members, {
    data: [{ score: 9, band: 'promoter', response: { id: bo.id, staff: 'maria' } }],
    page: { total: 1 },
  });
  t.same((await get('net-promoter-score/members?band=detractor')).data, []);
  t.equal((await request('GET', '/v1/metrics/net-promoter-score/members?group=maria')).status, 422);
  t.equal((await request('GET', '/v1/metrics/net-promoter-score/members', { scope: 'metrics:read' })).status, 403);
  t.equal((await request('GET', '/v1/metrics/net-promoter-score', { scope: 'metrics:read' })).status, 200);
  t.equal((await request('GET', '/v1/metrics/customer-effort/members?band=promoter')).status, 422);

  const reasons = await get('net-promoter-score/reasons?answers=all');
  t.match(reasons.data, [
    {
      responseId: bo.id,
      score: 9,
      band: 'promoter',
      staff: 'maria',
      texts: [{ question: 'why', text: 'Kind people' }],
    },
    { responseId: ada.id, score: 2, band: 'detractor', texts: [{ question: 'why', text: 'Too slow' }] },
  ]);
  t.same(
    (await get('net-promoter-score/reasons?answers=all&band=detractor')).data.map(
      (one: { score: number }) => one.score,
    ),
    [2],
  );
  t.equal((await get('customer-effort/reasons?band=hard')).data[0].responseId, ada.id);
  const blind = 'metrics:read survey-responses:read';
  t.match((await get('net-promoter-score/reasons?answers=all', blind)).data[0].texts, [
    { question: 'why', text: null },
  ]);
  t.notMatch(JSON.stringify(await get('net-promoter-score/members?answers=all', blind)), /Kind people|Too slow/);

  const summary = await request('GET', '/v1/customers/external/shop/ada/summary');
  t.match(summary.body.latestScores, {
    nps: { score: 10, band: 'promoter', answeredAt: '2026-02-10T09:00:00.000Z', surveyId: second },
    csat: { score: 7, band: 'not_satisfied' },
    ces: { score: 5, band: 'hard', responseId: ada.id },
  });
  const other = await request('GET', '/v1/customers/external/shop/ed/summary');
  t.same(other.body.latestScores, { nps: null, csat: null, ces: null }, 'too late to be counted');
  const narrow = await request('GET', '/v1/customers/external/shop/ada/summary', {
    scope: 'customers:read loyalty:read interactions:read',
  });
  t.same(narrow.body.latestScores, { nps: null, csat: null, ces: null }, 'single answers need the scope of answers');

  const { body: twin } = await graphql(
    `query ($first: ID!, $ada: ID!) {
      customer(id: $ada) { summary { latestScores { nps { score band } csat { score } ces { responseId } } } }
      metrics {
        netPromoterScore(input: { include: [PARTIAL, LATE], groupBy: STAFF }) { value denominator excluded { reason count } groups { key } }
        customerSatisfaction(input: { surveyId: $first }) { value }
        customerEffort(input: { answers: ALL }) { denominator }
        netPromoterScoreMembers(band: PROMOTER, first: 1) { totalCount nodes { score band response { staff customer { name } } } pageInfo { hasNextPage endCursor } }
        netPromoterScoreReasons(answers: ALL, sort: ANSWERED_AT_ASC) { nodes { score texts { question text } } }
        customerEffortReasons(band: HARD) { nodes { responseId } }
        customerSatisfactionMembers(band: NOT_SATISFIED) { totalCount }
      }
    }`,
    { first, ada: ada.customerId },
  );
  t.equal(twin.errors, undefined, JSON.stringify(twin.errors));
  t.match(twin.data, {
    customer: {
      summary: {
        latestScores: { nps: { score: 10, band: 'PROMOTER' }, csat: { score: 7 }, ces: { responseId: ada.id } },
      },
    },
    metrics: {
      netPromoterScore: { value: 0, denominator: 5, excluded: [{ reason: 'DISMISSED', count: 1 }] },
      customerSatisfaction: { value: (100 * 2) / 3 },
      customerEffort: { denominator: 3 },
      netPromoterScoreMembers: {
        totalCount: 2,
        nodes: [{ score: 10, band: 'PROMOTER', response: { staff: 'jo', customer: { name: 'Customer ada' } } }],
        pageInfo: { hasNextPage: true },
      },
      netPromoterScoreReasons: { nodes: [{ score: 2, texts: [{ question: 'why', text: 'Too slow' }] }, { score: 9 }] },
      customerEffortReasons: { nodes: [{ responseId: ada.id }] },
      customerSatisfactionMembers: { totalCount: 1 },
    },
  });

  // Pages are as of the first one.
  const page = await get('net-promoter-score/members?answers=all&limit=2&count=true');
  t.match(page.page, { total: 4, hasMore: true });
  clock = '2026-03-21T12:00:00.000Z';
  await answer(first, 'fay', '2026-01-11T09:00:00Z', { recommend: 8 });
  await answer(first, 'gil', '2026-03-20T13:00:00Z', { recommend: 8 });
  const next = await get(
    `net-promoter-score/members?answers=all&limit=2&count=true&after=${encodeURIComponent(page.page.next)}`,
  );
  t.match(next.page, { total: 5 }, 'one of January came in late, the one of today is not there yet');
  const wrongList = await request(
    'GET',
    `/v1/metrics/net-promoter-score/reasons?answers=all&limit=2&count=true&after=${encodeURIComponent(page.page.next)}`,
  );
  t.match(wrongList, { status: 400, body: { code: 'invalid_cursor' } });

  // Of two answers of one instant the one with the later id is the latest, stored or sorted.
  await answer(first, 'gil', '2026-03-20T13:00:00Z', { recommend: 1 });
  for (const more of ['', '&include=late,partial']) {
    const { data } = await get(`net-promoter-score/members?from=2026-03-01${more}`);
    t.same(
      data.map(({ score }: { score: number }) => score),
      [1],
      more,
    );
  }
});

t.test('a number and a page take the same few statements, however many answers', async (t) => {
  const counts: Record<string, number> = {};
  for (const path of [
    'net-promoter-score',
    'net-promoter-score?interval=month&groupBy=tier&include=late',
    'customer-satisfaction',
    'net-promoter-score/members?limit=1',
    'net-promoter-score/members?limit=100',
  ])
    counts[path] = await statementsOf(() => get(path));
  t.ok(
    Object.values(counts).every((count) => count <= 5),
    JSON.stringify(counts),
  );
  t.equal(counts['net-promoter-score/members?limit=1'], counts['net-promoter-score/members?limit=100']);
});
