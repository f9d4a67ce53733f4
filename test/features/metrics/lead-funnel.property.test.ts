import assert from 'node:assert/strict';
import fc from 'fast-check';
import type pg from 'pg';
import t from 'tap';
import { Temporal } from 'temporal-polyfill';
import { binQuantiles } from '../../../src/domain/distribution.ts';
import { type LeadFunnelCounts, leadFunnel } from '../../../src/domain/lead-funnel.ts';
import type { MetricResult } from '../../../src/domain/metric-result.ts';
import { buckets, type CalendarInterval, intervalAt, resolveInstant } from '../../../src/domain/period.ts';
import { lossReasons } from '../../../src/features/leads/record.ts';
import { getLeadFunnel, listLeadFunnelMembers } from '../../../src/features/metrics/lead-funnel.ts';
import {
  type LeadFunnelGroup,
  type LeadFunnelList,
  leadFunnelGroups,
  leadFunnelLists,
  leadFunnelMemberPage,
} from '../../../src/features/metrics/lead-funnel-model.ts';
import { type MetricAnswer, metricResult } from '../../../src/features/metrics/model.ts';
import { type Answer, testApp } from '../../support/app.ts';
import { draws, endOnFailure } from '../../support/draws.ts';
import { idOf, world } from '../../support/facts.ts';
import { statementsOf } from '../../support/statements.ts';

/* The metric against a naive count over arrays, its lists against the metric, and both doors. */

interface Step {
  at: string;
  to: string;
  rule: string | null;
  lossReason: string | null;
}

interface Touch {
  at: string;
  kind: string;
  direction: string | null;
  staff: string | null;
  automatic: boolean;
}

interface LeadFact {
  lead: number;
  source: string | null;
  segment: string | null;
  owner: string | null;
  name: string | null;
  familyName: string | null;
  country: string | null;
  email: boolean;
  phone: boolean;
  attributes: Record<string, unknown>;
  /** The first one is its entering. */
  steps: Step[];
  touches: Touch[];
}

async function insertLeads(pool: pg.Pool, leads: LeadFact[]): Promise<void> {
  await pool.query('truncate leads, lead_stage_changes, interactions, customer_identities, customers cascade');
  const rows = (all: object[]) => [JSON.stringify(all)];
  await pool.query(
    `insert into customers (id, version, kind, name, family_name, address, attributes, created_at, updated_at)
     select id, 1, 'person', name, "familyName", case when country is not null then jsonb_build_object('country', country) end, attributes, now(), now()
     from json_to_recordset($1) as n(id uuid, name text, "familyName" text, country text, attributes jsonb)`,
    rows(leads.map((l) => ({ ...l, id: idOf(l.lead) }))),
  );
  await pool.query(
    `insert into customer_identities (kind, value, customer_id, is_primary, created_at)
     select kind, kind || id, id, true, now() from json_to_recordset($1) as n(id uuid, kind text)`,
    rows(
      leads.flatMap((l) =>
        (['email', 'phone'] as const).filter((kind) => l[kind]).map((kind) => ({ id: idOf(l.lead), kind })),
      ),
    ),
  );
  // The row says what is true today: nothing of it may count before.
  await pool.query(
    `insert into leads (customer_id, version, stage, stage_since, loss_reason, source, segment, owner, entered_at, created_at, updated_at)
     select id, 1, stage, at, "lossReason", source, segment, owner, "enteredAt", now(), now()
     from json_to_recordset($1) as n(id uuid, stage text, at timestamptz, "lossReason" text, source text, segment text, owner text, "enteredAt" timestamptz)`,
    rows(
      leads.map((l) => {
        const last = l.steps.at(-1);
        return {
          ...l,
          id: idOf(l.lead),
          stage: last?.to,
          at: last?.at,
          lossReason: last?.lossReason,
          enteredAt: l.steps[0]?.at,
        };
      }),
    ),
  );
  await pool.query(
    `insert into lead_stage_changes (customer_id, id, at, sequence, from_stage, to_stage, by, rule, loss_reason, created_at)
     select lead, id, at, sequence, "from", "to", 'test', rule, "lossReason", now()
     from json_to_recordset($1) as n(lead uuid, id uuid, at timestamptz, sequence int, "from" text, "to" text, rule text, "lossReason" text)`,
    rows(
      leads.flatMap((l) =>
        l.steps.map((step, i) => ({
          ...step,
          lead: idOf(l.lead),
          id: idOf(l.lead * 100 + i, 3),
          sequence: i + 1,
          from: l.steps[i - 1]?.to ?? null,
        })),
      ),
    ),
  );
  await pool.query(
    `insert into interactions (customer_id, id, version, kind, direction, staff, automatic, occurred_at, created_at, updated_at)
     select lead, id, 1, kind, direction, staff, automatic, at, now(), now()
     from json_to_recordset($1) as n(lead uuid, id uuid, kind text, direction text, staff text, automatic boolean, at timestamptz)`,
    rows(
      leads.flatMap((l) =>
        l.touches.map((touch, i) => ({ ...touch, lead: idOf(l.lead), id: idOf(l.lead * 100 + i, 4) })),
      ),
    ),
  );
}

/** Two rule sets: the second one, in force from the middle of the time, has profile fields of its own. */
const secondRules = '2019-01-15T00:00:00.000Z';
const ownFields = ['email', 'segment', 'attributes.job', 'attributes.a.b', 'company'];

async function publishRules(pool: pg.Pool): Promise<void> {
  await pool.query('delete from lead_rule_sets');
  const document = { rules: [{ name: 'any', group: 'fit', points: 1 }], grades: { A: 3, B: 2, C: 1 } };
  for (const [index, [publishedAt, profileFields]] of [
    ['2018-01-01T00:00:00Z', undefined] as const,
    [secondRules, ownFields] as const,
  ].entries()) {
    await pool.query(
      `insert into lead_rule_sets (id, version, number, name, status, document, published_at, published_by, created_at, updated_at)
       values ($1, 1, $2, 'rules', 'published', $3, $4, 'test', now(), now())`,
      [idOf(index, 5), index + 1, JSON.stringify({ ...document, profileFields }), publishedAt],
    );
  }
}

interface Asked {
  from?: string | undefined;
  to?: string | undefined;
  asOf?: string | undefined;
  timeZone: string;
  interval?: CalendarInterval | undefined;
  groupBy?: LeadFunnelGroup | undefined;
  completeness?: number | undefined;
  silentDays?: number | undefined;
}

const time = (instant: string) => Temporal.Instant.from(instant).epochMilliseconds;

/** The definitions over arrays, as plainly as they can be put. */
function oracle(leads: LeadFact[], asked: Asked, now: string) {
  const { timeZone, completeness = 0.5, silentDays = 14 } = asked;
  const resolve = (moment: string) => resolveInstant(moment, timeZone);
  const asOf = resolve(asked.asOf ?? now);
  const to = resolve(asked.to ?? asOf);
  const from = asked.from === undefined ? null : resolve(asked.from);
  const known = (at: string) => time(at) < time(asOf);
  const day = (at: string) => Temporal.Instant.from(at).toZonedDateTimeISO(timeZone).toPlainDate();

  const facts = leads.flatMap((lead) => {
    const entered = lead.steps[0]?.at ?? '';
    if (!known(entered) || time(entered) >= time(to) || (from !== null && time(entered) < time(from))) return [];
    const steps = lead.steps.filter((step) => known(step.at));
    const standing = steps.filter(
      (step, i) => step.to !== 'customer' || steps[i + 1]?.rule !== 'no_qualifying_order_left',
    );
    const last = steps.at(-1);
    if (!last) throw new Error('a lead without a stage');
    const touches = lead.touches
      .filter((touch) => known(touch.at) && !touch.automatic)
      .sort((a, b) => time(a.at) - time(b.at));
    const answer = touches.find(
      (touch) =>
        time(touch.at) >= time(entered) &&
        (touch.direction === 'outbound' || touch.staff !== null) &&
        touch.kind !== 'ad_impression',
    );
    const latest = touches.at(-1);
    const { attributes } = lead;
    const { job } = attributes;
    const nested = (attributes as { a?: { b?: unknown } }).a?.b;
    const filled =
      time(asOf) >= time(secondRules)
        ? [lead.email, lead.segment !== null, (job ?? '') !== '', (nested ?? '') !== '', false]
        : [
            (lead.name ?? lead.familyName) !== null,
            lead.email,
            lead.phone,
            lead.country !== null,
            lead.source !== null,
          ];
    const silentFor = latest === undefined ? null : day(latest.at).until(day(asOf)).days;
    return [
      {
        lead,
        id: idOf(lead.lead),
        entered,
        stage: last.to,
        lossReason: last.lossReason,
        open: !['customer', 'former'].includes(last.to),
        share: filled.filter(Boolean).length / filled.length,
        silentFor,
        answered: answer?.at ?? null,
        converted: standing.find((step) => step.to === 'customer')?.at ?? null,
        furthest: Math.max(
          ...standing.map(({ to: stage }) =>
            ['lead', 'marketing_qualified', 'sales_qualified', 'customer'].indexOf(stage),
          ),
        ),
      },
    ];
  });
  type Fact = (typeof facts)[number];
  const onList: Record<string, (fact: Fact) => boolean> = {
    untouched: (fact) => fact.open && (fact.silentFor === null || fact.silentFor > silentDays),
    never_touched: (fact) => fact.open && fact.silentFor === null,
    under_qualified: (fact) => fact.open && fact.share < completeness,
    unanswered: (fact) => fact.answered === null,
    converted: (fact) => fact.converted !== null,
    lost: (fact) => fact.stage === 'former',
  };
  const isOn = (list: LeadFunnelList) => onList[list] ?? ((fact: Fact) => fact.stage === list.slice('stage_'.length));
  const keys: Record<LeadFunnelGroup, (fact: Fact) => string> = {
    source: ({ lead }) => lead.source ?? '',
    segment: ({ lead }) => lead.segment ?? '',
    owner: ({ lead }) => lead.owner ?? '',
    country: ({ lead }) => lead.country ?? '',
    stage: ({ stage }) => stage,
  };
  const { groupBy } = asked;

  function measure(some: Fact[]): MetricResult {
    const count = (test: (fact: Fact) => boolean) => some.filter(test).length;
    const times = (end: (fact: Fact) => string | null) =>
      some.flatMap((fact) => {
        const at = end(fact);
        return at === null ? [] : [{ value: (time(at) - time(fact.entered)) * 1000, count: 1 }];
      });
    const responses = times((fact) => fact.answered);
    const conversions = times((fact) => fact.converted);
    const [median = null, p90 = null] = binQuantiles(responses, [0.5, 0.9]);
    const [conversion = null] = binQuantiles(conversions, [0.5]);
    const at = (stage: string) => count((fact) => fact.stage === stage);
    const reached = (index: number) => count((fact) => fact.furthest >= index);
    const counts: LeadFunnelCounts = {
      leads: some.length,
      converted: conversions.length,
      inStage: {
        subscriber: at('subscriber'),
        lead: at('lead'),
        marketing_qualified: at('marketing_qualified'),
        sales_qualified: at('sales_qualified'),
        customer: at('customer'),
      },
      lost: at('former'),
      lostCustomers: count((fact) => fact.stage === 'former' && fact.converted !== null),
      lostBy: Object.fromEntries(
        lossReasons.map((reason) => [reason, count((fact) => fact.stage === 'former' && fact.lossReason === reason)]),
      ),
      underQualified: count(isOn('under_qualified')),
      untouched: count(isOn('untouched')),
      neverTouched: count(isOn('never_touched')),
      answered: responses.length,
      firstResponse: median === null || p90 === null ? null : { median, p90 },
      conversion: conversion === null ? null : { median: conversion },
      reached: { lead: reached(0), marketing_qualified: reached(1), sales_qualified: reached(2) },
    };
    const result = leadFunnel(counts);
    return { ...result, values: { ...result.values, completeness, silentDays } };
  }

  const first = facts.map(({ entered }) => entered).sort((a, b) => time(a) - time(b))[0] ?? null;
  const start = from ?? (first && asked.interval ? intervalAt(asked.interval, first, timeZone).from : null);
  const parts = asked.interval && start !== null ? buckets(asked.interval, { from: start, to, timeZone }, asOf) : [];
  const within = (fact: Fact, part: { insideFrom: string; insideTo: string }) =>
    time(fact.entered) >= time(part.insideFrom) && time(fact.entered) < time(part.insideTo);
  const names = groupBy ? [...new Set(facts.map(keys[groupBy]))] : [];
  return {
    asOf,
    first,
    whole: measure(facts),
    series: parts.map((part) => measure(facts.filter((fact) => within(fact, part)))),
    groups: names
      .map((key) => ({ key, ...measure(facts.filter((fact) => groupBy && keys[groupBy](fact) === key)) }))
      .sort((a, b) => (b.denominator ?? 0) - (a.denominator ?? 0) || (a.key < b.key ? -1 : 1)),
    members: (list: LeadFunnelList, group?: string) =>
      facts
        .filter((fact) => isOn(list)(fact) && (group === undefined || (groupBy && keys[groupBy](fact) === group)))
        .sort((a, b) => time(b.entered) - time(a.entered) || (a.id < b.id ? 1 : -1)),
  };
}

const now = '2019-06-20T12:00:00.000Z';
// São Paulo has no midnight on 2018-11-04, Berlin and New York change inside the time, Kathmandu is off the hour.
const zones = ['UTC', 'Europe/Berlin', 'America/Sao_Paulo', 'America/New_York', 'Asia/Kathmandu'] as const;
const cut = '2019-03-10T05:30:00.000Z';
const instant = fc
  .oneof(
    { weight: 3, arbitrary: fc.integer({ min: Date.UTC(2018, 9, 1), max: Date.UTC(2019, 4, 15) }) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(
          fc.constantFrom('2018-10-28', '2018-11-04', '2019-01-01', '2019-02-17', '2019-03-10', '2019-03-31'),
          fc.integer({ min: -14 * 60, max: 14 * 60 }),
        )
        .map(([day, minutes]) => Date.parse(`${day}T00:00:00Z`) + minutes * 60_000),
    },
    // What happens at `asOf` has not happened yet.
    { weight: 1, arbitrary: fc.constant(Date.parse(cut)) },
  )
  .map((ms) => new Date(ms).toISOString());
/** The first instants of the days from which on interactions count, for some of the questions. */
const midnight = fc
  .tuple(fc.constantFrom('2019-01-19', '2019-02-08', '2019-02-17', '2019-02-04'), fc.constantFrom(...zones))
  .map(([day, zone]) => resolveInstant(day, zone));
const word = (...words: string[]) => fc.constantFrom(null, ...words);
const stage = fc.constantFrom('subscriber', 'lead', 'marketing_qualified', 'sales_qualified', 'customer', 'former');

const steps = fc
  .tuple(
    fc.uniqueArray(instant, { minLength: 1, maxLength: 6 }),
    fc.array(
      fc.record({ to: stage, undone: fc.boolean(), lossReason: fc.constantFrom(...lossReasons), same: fc.boolean() }),
      {
        minLength: 6,
        maxLength: 6,
      },
    ),
  )
  .map(([instants, choices]) => {
    const made: Step[] = [];
    const sorted = instants.sort((a, b) => time(a) - time(b));
    for (const [index, at] of sorted.entries()) {
      const { to, undone, lossReason, same } = choices[index] ?? {
        to: 'lead',
        undone: false,
        lossReason: null,
        same: false,
      };
      const before = made.at(-1);
      const back = undone && before?.to === 'customer' ? made.at(-2) : undefined;
      made.push({
        at: same && before ? before.at : at,
        to: back?.to ?? to,
        rule: back ? 'no_qualifying_order_left' : null,
        lossReason: back ? back.lossReason : to === 'former' ? lossReason : null,
      });
    }
    // Those that share an instant with the one before leave a gap behind; the order of instants stays.
    return made.map((step, index) => ({ ...step, at: index === 0 ? (sorted[0] ?? step.at) : step.at }));
  });

const leadFact = fc
  .record({
    source: word('fair', 'web'),
    segment: word('smb', 'Zürich'),
    owner: word('maria', 'ada'),
    name: word('Ada'),
    familyName: word('Lovelace'),
    country: word('DE', 'GB'),
    email: fc.boolean(),
    phone: fc.boolean(),
    attributes: fc.record(
      { job: fc.constantFrom('', 'nurse', 0, null), a: fc.constantFrom({}, { b: 'x' }, { b: null }) },
      { requiredKeys: [], noNullPrototype: true },
    ),
    steps,
    touches: fc.array(
      fc.record({
        // null: when the lead entered.
        at: fc.oneof({ weight: 4, arbitrary: instant }, { weight: 2, arbitrary: midnight }, fc.constant(null)),
        kind: fc.constantFrom('phone', 'email_sent', 'web_visit', 'ad_impression'),
        direction: word('inbound', 'outbound'),
        staff: word('maria'),
        automatic: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, fc.constant(true)),
      }),
      { maxLength: 5 },
    ),
  })
  .map((fact) => ({
    ...fact,
    touches: fact.touches.map((touch): Touch => ({ ...touch, at: touch.at ?? fact.steps[0]?.at ?? cut })),
  }));

const questions = fc.record(
  {
    from: fc.constantFrom(undefined, '2018-11-01', '2018-11-04', '2019-01-01', '2018-10-28T01:30:00Z'),
    to: fc.constantFrom(undefined, '2019-03-01', '2019-05-01', '2019-04-11T13:00:00Z'),
    asOf: fc.constantFrom(undefined, cut, '2019-02-18', '2019-01-14T23:59:59.999Z', secondRules),
    timeZone: fc.constantFrom(...zones),
    interval: fc.constantFrom(undefined, 'week' as const, 'month' as const, 'quarter' as const),
    groupBy: fc.constantFrom(undefined, ...leadFunnelGroups),
    completeness: fc.constantFrom(undefined, 0, 0.4, 0.6, 1),
    silentDays: fc.constantFrom(undefined, 1, 30, 120),
  },
  { noNullPrototype: true },
);

const given = <T extends object>(input: T) =>
  Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined));

type Judged = Pick<MetricResult, 'value' | 'values' | 'numerator' | 'denominator' | 'lowSample'>;

/** Counts are equal; times, which Postgres interpolates in another order, are equal to nine digits. */
function assertSame(found: Judged, expected: Judged, name: string) {
  const rounded = (values: Judged['values']) =>
    Object.fromEntries(
      Object.entries(values).map(([key, value]) => [key, value === null ? null : Number(value.toPrecision(9))]),
    );
  const essence = ({ value, values, numerator, denominator, lowSample }: Judged) => ({
    value,
    values: rounded(values),
    numerator,
    denominator,
    lowSample,
  });
  assert.deepEqual(essence(found), essence(expected), name);
}

t.test('the funnel and its lists agree with a naive count', { timeout: 280_000 }, async (t) => {
  const { pool, ask } = await world(t, {}, { now });
  await publishRules(pool);
  let compared = 0;
  let listed = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(leadFact, { minLength: 2, maxLength: 14 }),
      fc.array(questions, { minLength: 4, maxLength: 4 }),
      fc.constantFrom(...leadFunnelLists),
      async (facts, list, anyList) => {
        const leads = facts.map((fact, index): LeadFact => ({ ...fact, lead: index + 1 }));
        await insertLeads(pool, leads);
        for (const asked of list) {
          const end = resolveInstant(asked.to ?? asked.asOf ?? now, asked.timeZone);
          if (asked.from !== undefined && time(resolveInstant(asked.from, asked.timeZone)) >= time(end)) continue;
          const expected = oracle(leads, asked, now);
          const name = JSON.stringify(asked);
          const answer = metricResult.parse(await ask(getLeadFunnel, given(asked)));
          assertSame(answer, expected.whole, name);
          assert.deepEqual(answer.reason?.code, expected.whole.reason?.code, name);
          assert.deepEqual(answer.interval, expected.whole.interval, name);
          assert.deepEqual(answer.warnings, expected.whole.warnings, name);
          assert.equal(answer.series.length, expected.series.length, name);
          for (const [i, one] of expected.series.entries()) assertSame(answer.series[i] as Judged, one, `${name} ${i}`);
          assert.deepEqual(
            answer.groups.map(({ key }) => key),
            expected.groups.map(({ key }) => key),
            name,
          );
          for (const [i, one] of expected.groups.entries())
            assertSame(answer.groups[i] as Judged, one, `${name} ${one.key}`);
          compared += 1;
          const { interval: _, groupBy, ...question } = asked;
          for (const of of [...leadFunnelLists.slice(0, 6), anyList]) {
            await compareMembers({ ...question, list: of }, expected.members(of), answerOf(answer, of), name);
          }
          for (const { key } of answer.groups) {
            const input = { ...question, list: anyList, groupBy, group: key };
            await compareMembers(input, expected.members(anyList, key), null, name);
          }
        }
      },
    ),
    { numRuns: draws({ quick: 6, deep: 50 }), seed: 20190617, endOnFailure },
  );
  t.ok(compared > 15 && listed > 120, `${compared} answers and ${listed} leads compared`);

  async function compareMembers(
    input: object,
    expected: ReturnType<ReturnType<typeof oracle>['members']>,
    counted: number | null,
    name: string,
  ) {
    const found: { lead: { id: string } }[] = [];
    for (let after: string | undefined; ; ) {
      const page = leadFunnelMemberPage.parse(
        await ask(listLeadFunnelMembers, { ...given(input), limit: 3, count: true, ...(after && { after }) }),
      );
      found.push(...page.data);
      assert.equal(page.page.total, expected.length, name);
      if (page.page.next === null) break;
      after = page.page.next;
    }
    if (counted !== null) assert.equal(counted, expected.length, name);
    const figures = expected.map((fact) => ({
      id: fact.id,
      stage: fact.stage,
      lossReason: fact.lossReason,
      completeness: fact.share,
      daysSinceLastInteraction: fact.silentFor,
      firstResponseAt: fact.answered,
      hoursToFirstResponse: fact.answered && (time(fact.answered) - time(fact.entered)) / 3_600_000,
      convertedAt: fact.converted,
    }));
    assert.deepEqual(
      (found as Record<string, any>[]).map((one) => ({
        id: one['lead'].id,
        stage: one['stage'],
        lossReason: one['lossReason'],
        completeness: one['completeness'],
        daysSinceLastInteraction: one['daysSinceLastInteraction'],
        firstResponseAt: one['firstResponseAt'],
        hoursToFirstResponse: one['hoursToFirstResponse'],
        convertedAt: one['convertedAt'],
      })),
      figures,
      `${name} ${JSON.stringify(input)}`,
    );
    listed += found.length;
  }
});

/** What the metric says of a list. */
function answerOf({ values }: MetricAnswer, list: LeadFunnelList): number | null {
  const named: Partial<Record<LeadFunnelList, string>> = {
    never_touched: 'neverTouched',
    under_qualified: 'underQualified',
    stage_subscriber: 'inSubscriber',
    stage_lead: 'inLead',
    stage_marketing_qualified: 'inMarketingQualified',
    stage_sales_qualified: 'inSalesQualified',
    stage_customer: 'inCustomer',
    stage_former: 'lost',
  };
  const value = values[named[list] ?? list];
  assert.notEqual(value, undefined, list);
  return value ?? null;
}

const api = await testApp(t, { clock: () => clock });
let clock = '2026-03-20T12:00:00.000Z';
const { request, graphql } = api;
const url = '/v1/metrics/lead-funnel';
const get = (query = '', scope = '*'): Promise<Answer> => request('GET', `${url}${query}`, { scope });
const members = (query: string, scope = '*'): Promise<Answer> => get(`/members?${query}`, scope);

t.test('through the doors', async (t) => {
  const empty = await get('?interval=month&groupBy=source');
  t.match(empty.body, {
    metric: 'lead-funnel',
    definition: 'lead-funnel@1',
    value: null,
    unit: 'ratio',
    reason: { code: 'no_leads' },
    series: [],
    groups: [],
    warnings: [],
    lowSample: true,
  });

  let made = 0;
  async function lead(body: object, customer: object = {}): Promise<string> {
    made += 1;
    const answer = await request('POST', '/v1/leads', {
      body: { customer: { source: 'web', externalId: `L-${made}`, ...customer }, owner: 'maria', ...body },
    });
    t.equal(answer.status, 201, JSON.stringify(answer.body));
    return answer.body.id;
  }
  const touch = (customerId: string, kind: string, occurredAt: string, more: object = {}) =>
    request('POST', '/v1/interactions', { body: { customerId, kind, occurredAt, ...more } });
  const move = (id: string, body: object) => request('POST', `/v1/leads/${id}/stage`, { body });

  // Three leads of March: one is bought and won, one is lost, one is nobody's.
  const won = await lead(
    { source: 'fair', enteredAt: '2026-03-01T08:00:00Z' },
    { name: 'Ada Lovelace', email: 'ada@example.org', phone: '+4930123456' },
  );
  await touch(won, 'email_opened', '2026-03-01T08:30:00Z', { direction: 'inbound' });
  await touch(won, 'phone', '2026-03-01T10:00:00Z', { direction: 'outbound', staff: 'maria' });
  await move(won, { to: 'sales_qualified', at: '2026-03-02T08:00:00Z' });
  const order = await request('POST', '/v1/orders', {
    headers: { 'Idempotency-Key': 'won' },
    body: {
      source: 'shop',
      externalId: 'O-1',
      customerId: won,
      placedAt: '2026-03-04T08:00:00Z',
      currency: 'EUR',
      total: 1000,
      items: [{ sku: 'A', quantity: 1, total: 1000 }],
      paymentStatus: 'paid',
    },
  });
  t.equal(order.status, 201, JSON.stringify(order.body));
  const lost = await lead({ source: 'fair', enteredAt: '2026-03-02T08:00:00Z' }, { email: 'b@example.org' });
  await touch(lost, 'email_sent', '2026-03-02T14:00:00Z', { direction: 'outbound' });
  await move(lost, { to: 'former', lossReason: 'no_budget', at: '2026-03-10T08:00:00Z' });
  const alone = await lead({ enteredAt: '2026-03-03T08:00:00Z' });
  await touch(alone, 'email_sent', '2026-03-03T08:00:05Z', {
    direction: 'outbound',
    topic: 'we got your message',
    automatic: true,
  });

  const { body } = await get('?from=2026-03-01&to=2026-04-01&groupBy=source&interval=month');
  t.match(body, {
    value: 1 / 3,
    numerator: 1,
    denominator: 3,
    complete: false,
    lowSample: true,
    values: {
      leads: 3,
      open: 1,
      converted: 1,
      lost: 1,
      lostNoBudget: 1,
      lostPrice: 0,
      lostCustomers: 0,
      inCustomer: 1,
      inLead: 1,
      underQualified: 1,
      underQualifiedShare: 1,
      untouched: 1,
      neverTouched: 1,
      answered: 2,
      unanswered: 1,
      timeToFirstResponseMedianHours: 4,
      timeToFirstResponseP90Hours: 5.6,
      reachedLead: 3,
      reachedMarketingQualified: 1,
      reachedSalesQualified: 1,
      leadToMarketingQualified: 1 / 3,
      salesQualifiedToCustomer: 1,
      timeToConversionMedianDays: 3,
    },
    series: [{ start: '2026-03-01', value: 1 / 3, complete: false }],
    groups: [
      { key: 'fair', value: 0.5, denominator: 2, values: { open: 0, underQualifiedShare: null } },
      { key: '', value: 0, denominator: 1 },
    ],
    warnings: [],
  });
  t.ok(body.interval.low < 1 / 3 && body.interval.high > 1 / 3);

  const lists = { untouched: [alone], unanswered: [alone], converted: [won], lost: [lost], stage_customer: [won] };
  for (const [list, ids] of Object.entries(lists)) {
    const { body: page } = await members(`list=${list}&count=true`);
    t.same([page.page.total, page.data.map((one: { lead: { id: string } }) => one.lead.id)], [ids.length, ids], list);
  }
  const { body: page } = await members('list=converted');
  t.match(page.data[0], {
    lead: { id: won, owner: 'maria', source: 'fair' },
    stage: 'customer',
    // Name, e-mail, phone and source; no country.
    completeness: 0.8,
    daysSinceLastInteraction: 19,
    hoursToFirstResponse: 2,
    daysToConversion: 3,
  });

  // An order that is taken back makes it no conversion; what was true then stays true for then.
  clock = '2026-03-21T12:00:00.000Z';
  await request('PATCH', `/v1/orders/${order.body.id}`, {
    headers: { 'If-Match': '*' },
    body: { cancelledAt: '2026-03-05T08:00:00Z' },
  });
  clock = '2026-03-21T12:00:01.000Z';
  t.match((await get()).body, { value: 0, values: { inSalesQualified: 1, reachedSalesQualified: 1 } });
  t.match((await get('?asOf=2026-03-20')).body, { value: 1 / 3 });

  const { body: twin } = await graphql(
    `{ metrics {
      leadFunnel(input: { from: "2026-03-01", groupBy: SOURCE, completeness: 0.9 }) { value values groups { key value } }
      leadFunnelMembers(list: STAGE_LEAD, first: 10) {
        totalCount nodes { lead { id owner score } stage completeness daysSinceLastInteraction } edges { cursor } pageInfo { hasNextPage endCursor }
      }
    } }`,
  );
  t.match(twin.data?.metrics, {
    leadFunnel: { value: 0, values: { completeness: 0.9, leads: 3 }, groups: [{ key: 'fair' }, { key: '' }] },
    leadFunnelMembers: {
      totalCount: 1,
      nodes: [{ lead: { id: alone, owner: 'maria' }, stage: 'LEAD', completeness: 0, daysSinceLastInteraction: null }],
      pageInfo: { hasNextPage: false },
    },
  });
  t.equal(twin.errors, undefined, JSON.stringify(twin.errors));
});

t.test('the pages of a list are as of the first one', async (t) => {
  const first = (await members('list=stage_former&limit=1&count=true')).body;
  t.equal(first.page.total, 1);
  const list = 'list=unanswered&limit=1&sort=enteredAt';
  const asOf = { body: { customer: { source: 'web', externalId: 'late' }, enteredAt: '2026-03-21T12:00:30Z' } };
  const more = { body: { customer: { source: 'web', externalId: 'soon' }, enteredAt: '2026-03-21T11:00:00Z' } };
  await request('POST', '/v1/leads', more);
  const start = (await members(`${list}&count=true`)).body.page;
  t.match(start, { hasMore: true, total: 2 });
  clock = '2026-03-22T12:00:00.000Z';
  await request('POST', '/v1/leads', asOf);
  const next = (await members(`${list}&count=true&after=${encodeURIComponent(start.next)}`)).body;
  t.match(next.page, { hasMore: false, total: 2 }, 'what entered since is not on a later page');
  t.equal((await members(`${list}&count=true`)).body.page.total, 3);
  const other = await members(`list=converted&limit=1&sort=enteredAt&after=${encodeURIComponent(start.next)}`);
  t.match(other, { status: 400, body: { code: 'invalid_cursor' } });
});

t.test('where days begin and leads enter', async (t) => {
  const enteredAt = '2025-10-01T00:00:00Z';
  const customer = { source: 'web', externalId: 'edge' };
  const { body: lead } = await request('POST', '/v1/leads', { body: { customer, enteredAt } });
  const touch = (occurredAt: string, staff?: string) =>
    request('POST', '/v1/interactions', { body: { customerId: lead.id, kind: 'phone', occurredAt, staff } });
  await touch(enteredAt, 'maria');
  // The first instant of 19 October in Berlin; a week later the clock goes back.
  await touch('2025-10-18T22:00:00Z');
  const ask = async (silentDays: number, asOf: string) => {
    const period = 'from=2025-10-01&to=2025-10-02&timeZone=Europe/Berlin';
    return (await get(`?${period}&silentDays=${silentDays}&asOf=${asOf}`)).body.values;
  };
  t.match(await ask(14, '2025-11-02T22:59:59Z'), {
    leads: 1,
    untouched: 0,
    answered: 1,
    timeToFirstResponseMedianHours: 0,
  });
  t.match(await ask(14, '2025-11-02T23:00:00Z'), { leads: 1, untouched: 1, neverTouched: 0 });
  t.match(await ask(15, '2025-11-02T23:00:00Z'), { leads: 1, untouched: 0 });
});

t.test('statements do not grow with the leads, the groups or the buckets', async (t) => {
  const sent = (path: string) => statementsOf(() => get(path));
  const few = await sent('?from=2026-03-03&to=2026-03-04&groupBy=source&interval=day');
  t.equal(await sent('?from=2026-01-01&to=2026-04-01&groupBy=source&interval=day'), few);
  t.ok(few <= 4, `${few} statements`);
  const one = await sent('/members?list=unanswered&limit=1&count=true');
  t.equal(await sent('/members?list=unanswered&limit=100&count=true'), one);
});

t.test('permissions, and what is refused', async (t) => {
  t.match(await get('', 'leads:read'), { status: 403, body: { scope: 'metrics:read' } });
  t.match(await members('list=lost', 'metrics:read'), { status: 403, body: { scope: 'leads:read' } });
  t.equal((await members('list=lost', 'metrics:read leads:read')).status, 200);
  t.match(await get('?groupBy=country', 'metrics:read'), { status: 403, body: { scope: 'customers:pii' } });
  t.match(await members('list=lost&groupBy=country&group=DE', 'metrics:read leads:read'), {
    status: 403,
    body: { scope: 'customers:pii' },
  });
  t.equal((await get('?groupBy=country', 'metrics:read customers:pii')).status, 200);
  const inGraphql = await graphql('{ metrics { leadFunnelMembers(list: LOST) { nodes { stage } } } }', undefined, {
    scope: 'metrics:read',
  });
  t.match(inGraphql.body.errors, [{ extensions: { code: 'insufficient_scope' } }]);
  for (const [path, parameter] of [
    ['?completeness=1.1', 'completeness'],
    ['?silentDays=0', 'silentDays'],
    ['?groupBy=channel', 'groupBy'],
    ['?currency=EUR', 'currency'],
    ['?from=2026-02-01&to=2026-01-01', 'from'],
    ['?asOf=1000-01-05&silentDays=36500', 'silentDays'],
    ['/members', 'list'],
    ['/members?list=everybody', 'list'],
    ['/members?list=lost&group=fair', 'groupBy'],
    ['/members?list=lost&groupBy=source', 'group'],
    ['/members?list=lost&interval=month', 'interval'],
  ] as const) {
    const { status, body } = await get(path);
    t.ok(status === 422 || status === 400, path);
    t.equal(body.errors?.[0]?.parameter, parameter, path);
  }
});
