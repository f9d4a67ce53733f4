import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { leadStages } from '../../../src/domain/lead-lifecycle.ts';
import { gradeOf, type Profile, ruleScore, type Touch } from '../../../src/domain/lead-score.ts';
import { writeBounds, wrongBounds } from '../../../src/features/lead-scores/bounds.ts';
import { indexLeadScores } from '../../../src/features/lead-scores/index-job.ts';
import { listLeads } from '../../../src/features/lead-scores/lead-list.ts';
import {
  createLeadRuleSet,
  getLeadScore,
  previewLeadRuleSet,
  publishLeadRuleSet,
} from '../../../src/features/lead-scores/operations.ts';
import { qualifiedLeads, rulesById, rulesInForce, scoresOf } from '../../../src/features/lead-scores/queries.ts';
import type { LeadScoreAnswer, RuleSetDocument, RuleSetPreview } from '../../../src/features/lead-scores/record.ts';
import { noAudit } from '../../../src/platform/audit.ts';
import { fixedDirectory } from '../../../src/platform/auth/directory.ts';
import { storedSecrets } from '../../../src/platform/auth/stored-secrets.ts';
import { cursorCodec } from '../../../src/platform/cursor.ts';
import { poolDb } from '../../../src/platform/db/client.ts';
import { openFeed } from '../../../src/platform/feed.ts';
import { newId } from '../../../src/platform/ids.ts';
import { keyedHash } from '../../../src/platform/keyed-hash.ts';
import { linkTokens } from '../../../src/platform/link-token.ts';
import { createContext, type Services } from '../../../src/platform/operation.ts';
import { openOutgoing } from '../../../src/platform/outgoing.ts';
import { createPrincipal } from '../../../src/platform/principal.ts';
import { draws } from '../../support/draws.ts';
import { idOf, world } from '../../support/facts.ts';

/** Scores in SQL against the formula in the domain, lists against sorting, previews against what comes of them. */

const now = '2026-06-01T12:00:00.000Z';
const nowMs = Date.parse(now);
const hour = 3_600_000;
const day = 24 * hour;
const at = (ms: number) => new Date(ms).toISOString();

// ---------------------------------------------------------------------------------------------------- what is drawn

const quarters = (min: number, max: number) => fc.integer({ min: min * 4, max: max * 4 }).map((n) => n / 4);
const kinds = fc.constantFrom('form', 'phone', 'web_visit', 'email_opened');
const option = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });

const condition = fc.oneof(
  fc.record({
    field: fc.constantFrom(
      'kind',
      'email',
      'phone',
      'name',
      'source',
      'segment',
      'country',
      'locale',
      'company',
      'attributes.job',
      'attributes.deep.er',
    ),
    exists: fc.boolean(),
  }),
  fc.record({
    field: fc.constantFrom('kind', 'source', 'attributes.job', 'attributes.n'),
    oneOf: fc.constantFrom(['person', 'fair'], ['a', 'b', 'true'], ['2', 'company']),
  }),
  fc.record({
    field: fc.constantFrom('segment', 'attributes.job', 'attributes.deep.er'),
    noneOf: fc.constantFrom(['a'], ['smb', 'x']),
  }),
  fc.record({
    field: fc.constantFrom('completeness', 'attributes.n', 'attributes.job'),
    atLeast: fc.constantFrom(0, 0.25, 0.5, 2),
    atMost: fc.constantFrom(1, 0.75, 5),
  }),
);

const touches = fc.record(
  {
    kinds: option(fc.uniqueArray(kinds, { minLength: 1, maxLength: 3 })),
    directions: option(fc.constant(['inbound' as const])),
    channels: option(fc.constant(['hotline'])),
    topics: option(fc.constant(['prices', 'delivery'])),
    minSeconds: option(fc.constantFrom(0, 60)),
    withinDays: option(fc.integer({ min: 1, max: 60 })),
  },
  { requiredKeys: [] },
);

const fitRule = fc.record({
  group: fc.constant('fit' as const),
  points: quarters(-20, 40),
  when: option(fc.array(condition, { minLength: 1, maxLength: 2 })),
  cap: option(quarters(0, 20)),
});
const intentRule = (points: fc.Arbitrary<number>) =>
  fc.record({
    group: fc.constant('intent' as const),
    points,
    when: option(fc.array(condition, { minLength: 1, maxLength: 1 })),
    on: touches,
    per: option(fc.constantFrom('interaction' as const, 'minute' as const, 'page' as const, 'latest' as const)),
    cap: option(quarters(0, 60)),
    halfLifeDays: option(fc.constantFrom(0.01, 0.5, 3, 14, 30.5, 400)),
  });

const documents = (points = quarters(-10, 30)): fc.Arbitrary<RuleSetDocument> =>
  fc
    .record({
      rules: fc.array(fc.oneof({ weight: 1, arbitrary: fitRule }, { weight: 2, arbitrary: intentRule(points) }), {
        minLength: 1,
        maxLength: 8,
      }),
      caps: option(fc.record({ fit: option(quarters(0, 40)), intent: option(quarters(0, 60)) })),
      grades: fc.constantFrom({ A: 60, B: 35, C: 15 }, { A: 20, B: 10, C: 0 }, { A: 1, B: 0.75, C: -5 }),
      profileFields: option(fc.constant(['name', 'email', 'phone', 'attributes.job'])),
    })
    .map(({ rules, ...rest }) =>
      JSON.parse(JSON.stringify({ rules: rules.map((rule, i) => ({ name: `rule ${i}`, ...rule })), ...rest })),
    ); // without what is undefined

interface LeadFact {
  lead: number;
  stage: (typeof leadStages)[number];
  owner: string | null;
  source: string | null;
  segment: string | null;
  enteredDaysAgo: number;
  kind: 'person' | 'company';
  name: string | null;
  email: boolean;
  phone: boolean;
  country: string | null;
  locale: string | null;
  company: boolean;
  attributes: Record<string, unknown> | null;
}
const leadFact = (lead: fc.Arbitrary<number>): fc.Arbitrary<LeadFact> =>
  fc.record({
    lead,
    stage: fc.constantFrom(...leadStages),
    owner: fc.constantFrom('maria', 'ben', null),
    source: fc.constantFrom('fair', 'web', '', null),
    segment: fc.constantFrom('smb', 'x', null),
    enteredDaysAgo: fc.integer({ min: 0, max: 400 }),
    kind: fc.constantFrom('person', 'company'),
    name: fc.constantFrom('Ada', '', null),
    email: fc.boolean(),
    phone: fc.boolean(),
    country: fc.constantFrom('GB', null),
    locale: fc.constantFrom('en', null),
    company: fc.boolean(),
    attributes: fc.constantFrom(
      null,
      {},
      { job: 'a' },
      { job: '' },
      { job: true, n: 2 },
      { n: 0.5, deep: { er: 'x' } },
      { n: '1', 'deep.er': 'y', deep: { er: 'z' } },
      { n: null, deep: ['q'] },
    ),
  });

interface TouchFact {
  lead: number;
  kind: string;
  ms: number;
  direction: string | null;
  channel: string | null;
  topic: string | null;
  seconds: number | null;
  pages: number | null;
  automatic: boolean;
}
const touchFact = (lead: fc.Arbitrary<number>, latest = nowMs + 30 * day): fc.Arbitrary<TouchFact> =>
  fc.record({
    lead,
    kind: kinds,
    ms: fc.oneof(
      fc.integer({ min: nowMs - 90 * day, max: latest }),
      fc.constantFrom(nowMs - 14 * day, nowMs - day, nowMs - 1, nowMs).map((ms) => Math.min(ms, latest)),
    ),
    direction: fc.constantFrom('inbound', 'outbound', null),
    channel: fc.constantFrom('hotline', null),
    topic: fc.constantFrom('prices', 'other', null),
    seconds: fc.constantFrom(0, 59, 60, 601, null),
    pages: fc.constantFrom(0, 3, null),
    automatic: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
  });

interface Store {
  leads: LeadFact[];
  touches: TouchFact[];
}
const stores = (count: number, latest?: number, most = 4 * count): fc.Arbitrary<Store> =>
  fc.record({
    leads: fc.tuple(...Array.from({ length: count }, (_, i) => leadFact(fc.constant(i + 1)))),
    touches: fc.array(touchFact(fc.integer({ min: 1, max: count }), latest), { minLength: most / 2, maxLength: most }),
  });

// ---------------------------------------------------------------------------------------------------- the store

const { pool, ask } = await world(t, {}, { now });
const db = poolDb(pool);
const services: Services = {
  db,
  pool,
  baseCurrency: 'EUR',
  reportingTimeZone: 'UTC',
  cursors: cursorCodec(Buffer.alloc(32)),
  links: linkTokens(Buffer.alloc(32)),
  tombstones: keyedHash(Buffer.alloc(32)),
  directory: fixedDirectory(),
  issuer: null,
  audit: noAudit,
  feed: openFeed(db, 90),
  secrets: storedSecrets(Buffer.alloc(32)),
  outgoing: openOutgoing({ allow: [], production: false }),
  redirects: async () => new Map(),
  clock: () => now,
};
const context = createContext(services, createPrincipal('test', ['*']), 'request');
const helpers = {
  now,
  attempt: 1,
  signal: new AbortController().signal,
  log: { trace() {}, debug() {}, info() {}, warn() {}, error() {} },
};

async function fill({ leads, touches: made }: Store): Promise<void> {
  await pool.query(
    'truncate lead_score_bounds, lead_stage_changes, leads, interactions, customer_identities, customers cascade',
  );
  const rows = JSON.stringify(
    leads.map((one) => ({
      ...one,
      id: idOf(one.lead),
      entered: at(nowMs - one.enteredDaysAgo * day),
      address: one.country && { country: one.country },
    })),
  );
  await pool.query(
    `insert into customers (id, version, kind, name, company_id, locale, address, attributes, created_at, updated_at)
     select id, 1, kind, name, case when company then id end, locale, address, attributes, now(), now()
     from json_to_recordset($1) as n(id uuid, kind text, name text, company boolean, locale text, address jsonb, attributes jsonb)`,
    [rows],
  );
  await pool.query(
    `insert into customer_identities (kind, value, customer_id, is_primary, created_at)
     select k, case k when 'email' then lead || '@example.org' else '+4420712' || 10000 + lead end, id, p, now()
     from json_to_recordset($1) as n(id uuid, lead int, email boolean, phone boolean), (values ('email', true), ('phone', true)) v(k, p)
     where case k when 'email' then email else phone end`,
    [rows],
  );
  await pool.query(
    `insert into leads (customer_id, version, stage, stage_since, owner, source, segment, entered_at, converted_at, created_at, updated_at)
     select id, 1, stage, entered, owner, source, segment, entered, case when stage = 'customer' then entered end, entered, entered
     from json_to_recordset($1) as n(id uuid, stage text, owner text, source text, segment text, entered timestamptz)`,
    [rows],
  );
  await pool.query(
    `insert into interactions (customer_id, id, version, kind, direction, channel, occurred_at, topic, seconds, pages, automatic, created_at, updated_at)
     select customer, id, 1, kind, direction, channel, "at", topic, seconds, pages, automatic, now(), now()
     from json_to_recordset($1) as n(customer uuid, id uuid, kind text, direction text, channel text, "at" timestamptz, topic text, seconds int, pages int, automatic boolean)`,
    [JSON.stringify(made.map((one, i) => ({ ...one, customer: idOf(one.lead), id: idOf(i, 3), at: at(one.ms) })))],
  );
  await pool.query('analyze lead_score_bounds, leads, interactions, customers');
}

/** Puts a rule set in force, published before all there is. */
async function enforce(document: RuleSetDocument, publishedAt = '2020-01-01T00:00:00Z'): Promise<string> {
  const id = newId();
  await pool.query('delete from lead_rule_sets');
  await pool.query(
    `insert into lead_rule_sets (id, version, number, name, status, document, published_at, published_by, created_at, updated_at)
     values ($1, 1, 7, 'drawn', 'published', $2, $3, 'test', now(), now())`,
    [id, JSON.stringify(document), publishedAt],
  );
  return id;
}

/** Bounds as they are while time goes by: of different instants, of facts as they are. */
async function bound(id: string, leads: readonly LeadFact[], hoursAgo: (lead: number) => number): Promise<void> {
  const rules = await rulesById(db, id);
  for (const hours of new Set(leads.map(({ lead }) => hoursAgo(lead)))) {
    const some = leads.filter(({ lead }) => hoursAgo(lead) === hours);
    await writeBounds(
      db,
      rules,
      some.map(({ lead }) => idOf(lead)),
      at(nowMs - hours * hour),
    );
  }
  await pool.query('update lead_rule_sets set indexed_at = now() where id = $1', [id]);
}

const profileOf = (fact: LeadFact): Profile => ({
  fields: {
    kind: fact.kind,
    name: fact.name,
    email: fact.email ? 'x' : null,
    phone: fact.phone ? 'x' : null,
    source: fact.source,
    segment: fact.segment,
    country: fact.country,
    locale: fact.locale,
    company: fact.company ? 'x' : null,
  },
  attributes: fact.attributes,
});
const touchesOf = (store: Store, lead: number): Touch[] =>
  store.touches.flatMap((one, i) =>
    one.lead === lead && !one.automatic ? [{ ...one, id: idOf(i, 3), occurredAt: at(one.ms) }] : [],
  );

const score = async (lead: number, asOf: string, ruleSetId?: string) =>
  (await ask(getLeadScore, { id: idOf(lead), asOf, ...(ruleSetId && { ruleSetId }) })) as LeadScoreAnswer;

/** An order that has nothing to do with how they came about. */
const shuffled = (values: number[]) =>
  values
    .map((value, i) => ({ value, key: (i * 7919) % 31 }))
    .sort((a, b) => a.key - b.key)
    .map(({ value }) => value);
const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);

const instants = fc.uniqueArray(
  fc.oneof(
    fc.integer({ min: nowMs - 60 * day, max: nowMs + 40 * day }),
    // At the very instant of interactions, and whole days after them.
    fc.constantFrom(nowMs - 14 * day, nowMs - day, nowMs, nowMs + 10 * day),
  ),
  { minLength: 3, maxLength: 3 },
);

// ---------------------------------------------------------------------------------------------------- properties

t.test('a score is the sum of its contributions to the last digit, and what the formula says', async (t) => {
  await fc.assert(
    fc.asyncProperty(documents(), stores(5), instants, async (document, store, [first = 0, ...others]) => {
      const rules = await enforce(document);
      await fill(store);
      // The first draft of the rules is published later than one of the instants, where the earliest set still serves.
      for (const ms of [first, ...others]) {
        const asOf = at(ms);
        const listed = await scoresOf(
          db,
          context,
          store.leads.map(({ lead }) => idOf(lead)),
          asOf,
        );
        for (const fact of store.leads) {
          const { rule } = await score(fact.lead, asOf);
          const expected = ruleScore(document, profileOf(fact), touchesOf(store, fact.lead), asOf);
          const { contributions } = rule;
          assert.equal(rule.ruleSetId, rules);
          assert.strictEqual(sum(contributions.map(({ points }) => points)), rule.score);
          assert.strictEqual(sum(shuffled(contributions.map(({ points }) => points))), rule.score);
          assert.strictEqual(rule.fit + rule.intent, rule.score);
          assert.deepEqual(listed.get(idOf(fact.lead)), { score: rule.score, grade: rule.grade });
          assert.equal(rule.grade, gradeOf(document.grades, rule.score));
          assert.deepEqual(
            contributions.filter(({ kind }) => kind === 'rule').map((one) => one.rule),
            expected.contributions.filter(({ kind }) => kind === 'rule').map((one) => one.rule),
          );
          let tolerance = 0;
          for (const one of contributions) {
            if (one.kind === 'group_cap') {
              assert.ok(one.points < 0);
              continue;
            }
            const oracle = expected.contributions.find(({ rule: name }) => name === one.rule);
            // The two powers may differ in the last bit, and so each interaction by one unit.
            tolerance += one.evidenceCount;
            assert.ok(Math.abs(one.points * 1024 - (oracle?.units ?? 0)) <= one.evidenceCount, one.rule);
            if (one.group === 'intent') assert.strictEqual(sum(one.evidence.map(({ points }) => points)), one.uncapped);
            assert.deepEqual(
              one.evidence.map(({ occurredAt }) => occurredAt),
              one.evidence
                .map(({ occurredAt }) => occurredAt)
                .sort()
                .reverse(),
            );
          }
          assert.ok(Math.abs(rule.score * 1024 - expected.score) <= tolerance);
        }
      }
    }),
    { numRuns: draws({ quick: 12, deep: 40 }), endOnFailure: true },
  );
  t.pass();
});

t.test('without anything new, a score that only adds never rises', async (t) => {
  await fc.assert(
    fc.asyncProperty(documents(quarters(0, 30)), stores(4, nowMs - 10 * day), async (document, store) => {
      await enforce(document);
      await fill(store);
      const times = [-10, -9.99, -5, 0, 0.5, 30, 400].map((days) => at(nowMs + days * day + 1));
      for (const { lead } of store.leads) {
        const scores = [];
        for (const asOf of times) scores.push((await score(lead, asOf)).rule);
        for (const [i, one] of scores.entries()) {
          assert.ok(one.intent <= (scores[i - 1]?.intent ?? Number.POSITIVE_INFINITY));
          assert.equal(one.fit, scores[0]?.fit);
        }
      }
    }),
    { numRuns: draws({ quick: 5, deep: 15 }), endOnFailure: true },
  );
  t.pass();
});

interface Listed {
  data: { id: string; score: number; grade: string }[];
  page: { next: string | null; hasMore: boolean; total?: number };
}

async function pagesOf(input: object, later: string[] = []): Promise<Listed['data']> {
  const all: Listed['data'] = [];
  let after: string | undefined;
  for (let page = 0; ; page += 1) {
    // The clock goes on from page to page.
    const answer = (await ask(
      listLeads,
      { ...input, ...(after && { after }) },
      { now: later[page] ?? later.at(-1) ?? now },
    )) as Listed;
    all.push(...answer.data);
    if (answer.page.next === null) return all;
    after = answer.page.next;
  }
}

interface Filter {
  stage?: readonly string[];
  owner?: string;
  source?: string;
  segment?: string;
  grade?: string;
  scoreFrom?: number;
  scoreTo?: number;
  converted?: boolean;
  enteredFrom?: string;
  enteredTo?: string;
}

interface Question {
  asOf: number | undefined;
  sort: string;
  limit: number;
  filter: Filter;
}

const question: fc.Arbitrary<Question> = fc.record({
  asOf: fc.oneof(
    fc.constant(undefined),
    fc.integer({ min: nowMs - 40 * day, max: nowMs + 20 * day }),
    fc.integer({ min: nowMs - 2 * hour, max: nowMs }),
  ),
  sort: fc.constantFrom('-score', '-score', '-score', 'score', 'enteredAt', '-enteredAt'),
  limit: fc.integer({ min: 7, max: 60 }),
  filter: fc.record(
    {
      stage: fc.constantFrom(['lead'], ['lead', 'subscriber', 'customer']),
      owner: fc.constantFrom('maria', 'nobody'),
      source: fc.constant('fair'),
      segment: fc.constant('smb'),
      grade: fc.constantFrom('A', 'B', 'C', 'D'),
      scoreFrom: fc.constantFrom(-3.3, 0, 10, 25.0001),
      scoreTo: fc.constantFrom(0, 12.5, 40),
      converted: fc.boolean(),
      enteredFrom: fc.constant(at(nowMs - 200 * day)),
      enteredTo: fc.constant(at(nowMs - 20 * day)),
    },
    { requiredKeys: [] },
  ),
});
const questions: fc.Arbitrary<Question[]> = fc.array(
  fc.oneof(
    question,
    question.map((one) => ({ ...one, asOf: undefined, sort: '-score', filter: {} })),
  ),
  { minLength: 4, maxLength: 4 },
);
const staleness = fc.constantFrom('fresh', 'stale', 'missing');

t.test('a list by score is the sorted list of all scores, page by page', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      documents(),
      stores(260, nowMs + day, 300),
      questions,
      staleness,
      async (document, store, asked, state) => {
        const rules = await enforce(document);
        await fill(store);
        await bound(rules, store.leads, (lead) => (state === 'stale' ? (lead % 5) * 100 : 0));
        if (state === 'missing') {
          await pool.query('delete from lead_score_bounds where customer_id::text > $1', [idOf(130)]);
          await pool.query('update lead_rule_sets set indexed_at = null');
        } else {
          assert.deepEqual(await wrongBounds(db, now, 10), []);
        }
        for (const { asOf, sort, limit, filter } of asked) {
          const instant = asOf === undefined ? now : at(asOf);
          const scores = await scoresOf(
            db,
            context,
            store.leads.map(({ lead }) => idOf(lead)),
            instant,
          );
          const entered = (one: LeadFact) => nowMs - one.enteredDaysAgo * day;
          const expected = store.leads
            .map((fact) => ({
              fact,
              id: idOf(fact.lead),
              score: scores.get(idOf(fact.lead))?.score ?? Number.NaN,
              grade: scores.get(idOf(fact.lead))?.grade,
            }))
            .filter(
              ({ fact, score: value, grade }) =>
                (filter.stage?.includes(fact.stage) ?? true) &&
                (filter.owner === undefined || fact.owner === filter.owner) &&
                (filter.source === undefined || fact.source === filter.source) &&
                (filter.segment === undefined || fact.segment === filter.segment) &&
                (filter.grade === undefined || grade === filter.grade) &&
                (filter.scoreFrom === undefined || value >= filter.scoreFrom) &&
                (filter.scoreTo === undefined || value < filter.scoreTo) &&
                (filter.converted === undefined || (fact.stage === 'customer') === filter.converted) &&
                (filter.enteredFrom === undefined || entered(fact) >= Date.parse(filter.enteredFrom)) &&
                (filter.enteredTo === undefined || entered(fact) < Date.parse(filter.enteredTo)),
            )
            .sort((a, b) => {
              const [x, y] = sort.startsWith('-') ? [b, a] : [a, b];
              const by = sort.endsWith('score') ? x.score - y.score : entered(x.fact) - entered(y.fact);
              return by || (x.id < y.id ? -1 : 1);
            });
          const input = { ...filter, sort, limit, ...(asOf !== undefined && { asOf: instant }) };
          const found = await pagesOf(input, [
            now,
            at(nowMs + 10 * 60_000),
            at(nowMs + 59 * 60_000),
            at(nowMs + 3 * hour),
          ]);
          assert.deepEqual(
            found.map(({ id, score: value, grade }) => ({ id, score: value, grade })),
            expected.map(({ id, score: value, grade }) => ({ id, score: value, grade })),
          );
          const counted = (await ask(listLeads, { ...input, count: true })) as Listed;
          assert.equal(counted.page.total, expected.length);
        }
      },
    ),
    { numRuns: draws({ quick: 5, deep: 15 }), endOnFailure: true },
  );
  t.pass();
});

t.test('in the past, bounds of today say nothing', async (t) => {
  const rules = [
    { name: 'Known', group: 'fit' as const, points: 10, when: [{ field: 'name', exists: true }] },
    { name: 'Form', group: 'intent' as const, points: 16, on: { kinds: ['form' as const] }, halfLifeDays: 7 },
  ];
  const id = await enforce({ rules, grades: { A: 60, B: 35, C: 15 } });
  const [any] = fc.sample(leadFact(fc.constant(1)), 1);
  assert.ok(any);
  const leads = Array.from({ length: 120 }, (_, i) => ({ ...any, lead: i + 1, name: i === 0 ? null : 'Ada' }));
  const form = { lead: 1, kind: 'form', direction: null, channel: null, topic: null, seconds: null, pages: null };
  await fill({ leads, touches: [{ ...form, automatic: false, ms: nowMs - 21 * day }] });
  await bound(id, leads, () => 0);
  const top = async (input: object) => ((await ask(listLeads, { limit: 5, ...input })) as Listed).data[0];
  t.match(await top({}), { score: 10 });
  t.match(await top({ asOf: at(nowMs - 20 * day) }), { id: idOf(1) }, 'it had just asked');
});

t.test('a preview says exactly what publishing does, and the job makes the lists fast', async (t) => {
  await fc.assert(
    fc.asyncProperty(documents(), documents(), stores(40), async (before, after, store) => {
      await enforce(before);
      await fill(store);
      const open = new Set(
        store.leads.filter(({ stage }) => !/customer|former/.test(stage)).map(({ lead }) => idOf(lead)),
      );
      const drafted = (await ask(createLeadRuleSet, { body: { name: 'next', document: after } })) as { id: string };
      const preview = (await ask(previewLeadRuleSet, { id: drafted.id, limit: 100 })) as RuleSetPreview;
      const was = new Map((await pagesOf({ limit: 100 })).map((one) => [one.id, one]));
      await ask(publishLeadRuleSet, { id: drafted.id, expectedVersion: '*' });
      const later = at(nowMs + 1);
      for (const indexed of [false, true]) {
        if (indexed) await indexLeadScores.run(services, { ruleSetId: drafted.id }, { ...helpers, now: later });
        assert.equal((await rulesInForce(db, now)).indexed, indexed);
        const is = new Map((await pagesOf({ limit: 100 })).map((one) => [one.id, one]));
        const moves = [...open].flatMap((id) => {
          const [from, to] = [was.get(id), is.get(id)];
          assert.ok(from && to);
          return from.grade === to.grade
            ? []
            : [{ leadId: id, from: from.grade, to: to.grade, scoreBefore: from.score, scoreAfter: to.score }];
        });
        assert.deepEqual(
          preview.moves,
          moves.sort(
            (a, b) =>
              Math.abs(b.scoreAfter - b.scoreBefore) - Math.abs(a.scoreAfter - a.scoreBefore) ||
              (a.leadId < b.leadId ? -1 : 1),
          ),
        );
        assert.equal(preview.leads, open.size);
        assert.equal(preview.moved, moves.length);
        for (const { from, to, leads } of preview.grades)
          assert.equal([...open].filter((id) => was.get(id)?.grade === from && is.get(id)?.grade === to).length, leads);
        const changes = [...open].map((id) => (is.get(id)?.score ?? 0) - (was.get(id)?.score ?? 0));
        if (preview.meanChange === null) assert.equal(open.size, 0);
        else assert.ok(Math.abs(preview.meanChange - sum(changes) / open.size) < 1e-9);
      }
      const { rows } = await pool.query(
        'select count(*)::int as n, count(distinct rule_set_id)::int as sets from lead_score_bounds',
      );
      assert.deepEqual(rows, [{ n: 40, sets: 1 }]);
    }),
    { numRuns: draws({ quick: 5, deep: 15 }), endOnFailure: true },
  );
  t.pass();
});

t.test('qualified leads are those before the stage that their score entitles them to', async (t) => {
  await fc.assert(
    fc.asyncProperty(documents(), stores(30), fc.boolean(), async (document, store, indexed) => {
      const id = await enforce({ ...document, qualify: { marketing: 5, sales: 20.25 } });
      await fill(store);
      if (indexed) await bound(id, store.leads, () => 0);
      const all = store.leads.map(({ lead }) => idOf(lead));
      const scores = await scoresOf(db, context, all);
      const expected = store.leads.flatMap(({ lead, stage }) => {
        const reached = scores.get(idOf(lead))?.score ?? 0;
        const to = reached >= 20.25 ? 'sales_qualified' : reached >= 5 ? 'marketing_qualified' : null;
        const isBefore = to !== null && leadStages.indexOf(stage) < leadStages.indexOf(to);
        return isBefore ? [{ id: idOf(lead), from: stage, to, score: reached }] : [];
      });
      const found = [];
      for (let after: string | undefined; ; ) {
        const some = await qualifiedLeads(db, context, { limit: 4, ...(after && { after }) });
        found.push(...some);
        after = some.at(-1)?.id;
        if (after === undefined) break;
      }
      assert.deepEqual(found, expected);
      const half = all.slice(0, 15);
      assert.deepEqual(
        await qualifiedLeads(db, context, { ids: half, limit: 100 }),
        expected.filter((one) => half.includes(one.id)),
      );
    }),
    { numRuns: draws({ quick: 5, deep: 15 }), endOnFailure: true },
  );
  t.pass();
});

// ---------------------------------------------------------------------------------------------------- the service
