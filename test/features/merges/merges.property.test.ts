import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { consentDifferences } from '../../../src/features/consents/queries.ts';
import { wrongBounds } from '../../../src/features/lead-scores/bounds.ts';
import { leadDifferences } from '../../../src/features/leads/comparison.ts';
import { ledgerDifferences } from '../../../src/features/loyalty/comparison.ts';
import { earningDifferences } from '../../../src/features/loyalty/earning-comparison.ts';
import { shareDifferences } from '../../../src/features/partners/sharing.ts';
import { rewardDifferences } from '../../../src/features/rewards/comparison.ts';
import { rollupDifferences } from '../../../src/features/rollups/queries.ts';
import { answerDifferences } from '../../../src/features/survey-responses/queries.ts';
import { type Db, openPool, poolDb } from '../../../src/platform/db/client.ts';
import { type TestApp, testApp } from '../../support/app.ts';
import { draws, firstSeed, soakSeconds } from '../../support/draws.ts';
import { type Dump, dumpOf } from '../../support/inventory.ts';
import { fresh, newKey } from '../../support/shop.ts';

/**
 * Random histories of four persons through the API, over all families of records and two currencies; then merges in any
 * order, chains included. After each, everything derived is what the facts say. In the end all metrics of facts are those
 * of a second store in which the persons were always one; and undone in reverse, every row of every table that holds
 * something of them is as it was before each merge.
 *
 * `RAPPORT_TEST_DRAWS` sets the number of histories, `RAPPORT_TEST_SEED` what they are drawn from, and
 * `RAPPORT_TEST_SECONDS` for how long the hunt goes on, with one seed after the other.
 */
const runs = draws({ quick: 4, deep: 15 });
const first = firstSeed(20_261_123);
const seconds = soakSeconds(0);
t.setTimeout(280_000 + seconds * 2_000);

const people = 4;
const day = 86_400_000;
const start = Date.parse('2026-01-01T00:00:00.000Z');
let now = start;
const clock = () => new Date(now).toISOString();

const kinds = [
  'order',
  'usd_order',
  'refund',
  'return',
  'interaction',
  'lead',
  'stage',
  'assign',
  'follow_up',
  'enrol',
  'spend',
  'adjust',
  'transfer',
  'redeem',
  'cancel',
  'response',
  'invite',
  'consent',
  'share',
  'profile',
  'employ',
  'refer',
  'cancel_order',
  'wait',
] as const;
type Kind = (typeof kinds)[number];

interface Step {
  kind: Kind;
  who: number;
  other: number;
  n: number;
}
interface Merge {
  to: number;
  from: number;
  take: string[];
}

const person = fc.integer({ min: 0, max: people - 1 });
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...kinds),
  who: person,
  other: person,
  n: fc.integer({ min: 1, max: 60 }),
});
const takes = ['name', 'address', 'attributes', 'email', 'lead_stage', 'lead_owner', 'acquisition', 'referred_by'];
const merge: fc.Arbitrary<Merge> = fc.record({ to: person, from: person, take: fc.subarray(takes) });

interface Store extends TestApp {
  database: pg.Client;
  db: Db;
  survey: string;
  programme: string;
  reward: string;
  partner: string;
  company: string;
}

async function open(): Promise<Store> {
  const api = await testApp(t, { clock });
  const database = new pg.Client(api.connection);
  await database.connect();
  t.teardown(() => database.end());
  const pool = openPool(api.connection, { size: 2, statementTimeout: 60_000 });
  t.teardown(() => pool.end());
  const made = async (path: string, body: unknown) => {
    const answer = await api.request('POST', path, { body, headers: { ...newKey(), 'If-Match': '*' } });
    if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const rates = Array.from({ length: 400 }, (_, i) => ({
    date: new Date(start - 30 * day + i * day).toISOString().slice(0, 10),
    currency: 'USD',
    rate: '0.9',
  }));
  await api.request('PUT', '/v1/exchange-rates', { body: { rates } });
  const survey = await made('/v1/surveys', {
    name: 'Asked',
    status: 'open',
    settings: { contactFrequencyDays: 0 },
    questions: [
      { key: 'recommend', type: 'nps', text: 'Would you?', required: true },
      { key: 'content', type: 'csat', text: 'Are you?' },
    ],
  });
  const programme = await made('/v1/loyalty/programmes', {
    name: 'Club',
    rules: {
      pointsPerUnit: 1,
      pointValue: 0.5,
      pendingDays: 5,
      expiryDays: 60,
      refundPolicy: 'allow_negative',
      bonuses: {
        welcome: 100,
        purchase: { count: 3, points: 50 },
        referral: { referrer: 20, referee: 10 },
      },
      tiers: {
        basis: 'spend',
        windowDays: 365,
        periodDays: 90,
        graceDays: 10,
        levels: [
          { key: 'basic', name: 'Basic', threshold: 0, multiplier: 1 },
          { key: 'gold', name: 'Gold', threshold: 20_000, multiplier: 2 },
        ],
      },
    },
  });
  await made(`/v1/loyalty/programmes/${programme.id}/publish`, { validFrom: '2025-06-01T00:00:00Z' });
  const reward = await made('/v1/loyalty/rewards', { programmeId: programme.id, name: 'Can', points: 20 });
  await made('/v1/assignment-rules', {
    name: 'All',
    purpose: 'lead',
    method: 'round_robin',
    groups: [{ value: null, members: ['maria', 'jo'] }],
  });
  const partner = await made('/v1/partners', { name: fresh('Partner'), rules: { acquired: true, segments: ['smb'] } });
  return {
    ...api,
    database,
    db: poolDb(pool),
    survey: survey.id,
    programme: programme.id,
    reward: reward.id,
    partner: partner.id,
    company: '',
  };
}

const one = await open();
const two = await open();

/** All that is of customers, gone. */
async function empty(store: Store): Promise<void> {
  await store.database.query(
    `truncate customers, external_refs, loyalty_lots, loyalty_entries, loyalty_earnings, survey_responses, survey_answers,
      idempotency_keys, partner_customers, graphile_worker._private_jobs cascade`,
  );
  await store.database.query('update rewards set redeemed = 0');
  const company = await store.request('POST', '/v1/customers', { body: { kind: 'company', name: 'Engines' } });
  store.company = company.body.id;
}

interface Player {
  store: Store;
  /** Who it is in this store. */
  name: (who: number) => string;
  ids: string[];
  orders: { id: string; who: number }[];
  redemptions: string[];
}

async function begin(store: Store, name: (who: number) => string): Promise<Player> {
  await empty(store);
  const ids: string[] = [];
  for (let who = 0; who < people; who += 1) {
    const externalId = name(who);
    const known = ids[Array.from({ length: who }, (_, i) => name(i)).indexOf(externalId)];
    if (known !== undefined) {
      ids.push(known);
      continue;
    }
    const answer = await store.request('PUT', `/v1/customers/external/shop/${externalId}`, {
      body: {
        name: `Name ${externalId}`,
        identities: [{ kind: 'email', value: `${externalId}@example.org` }],
        acquisition: { source: 'fair', cost: 100 },
        attributes: { [`own${who}`]: who, shared: who },
      },
    });
    if (answer.status >= 300) throw new Error(JSON.stringify(answer.body));
    ids.push(answer.body.id);
  }
  return { store, name, ids, orders: [], redemptions: [] };
}

/** Kinds that metrics of facts rest on: the second store has only these. */
const facts = new Set<Kind>([
  'order',
  'usd_order',
  'refund',
  'return',
  'interaction',
  'response',
  'cancel_order',
  'wait',
]);
/** Of each kind, how often something was made of it. */
const made = new Map<string, number>();

async function play(player: Player, { kind, who, other, n }: Step, index: number): Promise<void> {
  const { store, ids, name } = player;
  const at = new Date(now - (n % 7) * 3_600_000).toISOString();
  const id = ids[who] ?? '';
  const post = async (path: string, body: unknown, method = 'POST') => {
    const answer = await store.request(method, path, { body, headers: { ...newKey(), 'If-Match': '*' } });
    if (answer.status >= 500) throw new Error(`${kind}: ${JSON.stringify(answer.body)}`);
    if (answer.status < 300 && store === one) made.set(kind, (made.get(kind) ?? 0) + 1);
    return answer;
  };
  // By one name or the other, as shops do.
  const customer = n % 2 === 0 ? { source: 'shop', externalId: name(who) } : { email: `${name(who)}@example.org` };
  const order = player.orders.filter((made) => made.who === who).at(-1);
  switch (kind) {
    case 'order':
    case 'usd_order': {
      const total = n * 200;
      const answer = await post('/v1/orders', {
        source: 'shop',
        externalId: `order-${index}`,
        customer,
        placedAt: at,
        currency: kind === 'order' ? 'EUR' : 'USD',
        total,
        items: [{ sku: 'A', quantity: 1, total }],
        paymentStatus: 'paid',
      });
      if (answer.status === 201) player.orders.push({ id: answer.body.id, who });
      return;
    }
    case 'refund':
      if (order) await post(`/v1/orders/${order.id}/refunds`, { amount: n * 3, refundedAt: at, reason: 'broken' });
      return;
    case 'cancel_order':
      if (order && n % 3 !== 1) await post(`/v1/orders/${order.id}`, { cancelledAt: at }, 'PATCH');
      return;
    case 'return':
      await post('/v1/returns', {
        source: 'shop',
        externalId: `return-${index}`,
        customer,
        returnedAt: at,
        currency: n % 2 ? 'EUR' : 'USD',
        total: n,
        items: [{ sku: 'A', quantity: 1, total: n }],
      });
      return;
    case 'interaction':
      await post('/v1/interactions', {
        source: 'shop',
        externalId: `contact-${index}`,
        customer,
        kind: 'phone',
        direction: n % 2 ? 'inbound' : 'outbound',
        occurredAt: at,
        text: 'Where?',
        cost: n,
      });
      return;
    case 'lead':
      await post('/v1/leads', {
        customerId: id,
        enteredAt: at,
        ...(n % 2 && { segment: 'smb' }),
        ...(n % 3 === 0 && { source: 'web' }),
      });
      return;
    case 'stage': {
      const to = ['marketing_qualified', 'sales_qualified', 'former', 'lead'][n % 4];
      const lossReason = to === 'former' ? { lossReason: n % 8 < 4 ? 'duplicate' : 'price' } : {};
      await post(`/v1/leads/${id}/stage`, { to, ...lossReason, note: 'why' });
      return;
    }
    case 'assign':
      await post(`/v1/leads/${id}/assign`, n % 2 ? {} : { owner: 'kim' });
      return;
    case 'follow_up':
      await post('/v1/follow-ups', { customerId: id, kind: 'retention', reason: 'asked', dueAt: at });
      return;
    case 'enrol':
      await post(`/v1/customers/${id}/loyalty`, { programmeId: store.programme });
      return;
    case 'spend':
      await post('/v1/loyalty/transactions', {
        kind: 'spend',
        customerId: id,
        points: n,
        externalId: `spend-${n % 5}`,
      });
      return;
    case 'adjust':
      await post('/v1/loyalty/transactions', {
        kind: 'adjust',
        customerId: id,
        points: n * 5,
        reason: 'sorry',
        externalId: `adjust-${index}`,
      });
      return;
    case 'transfer':
      await post('/v1/loyalty/transactions', {
        kind: 'transfer',
        customerId: id,
        toCustomerId: ids[other],
        points: n,
        externalId: `transfer-${index}`,
      });
      return;
    case 'redeem': {
      const answer = await post('/v1/loyalty/redemptions', { customerId: id, rewardId: store.reward });
      if (answer.status === 201) player.redemptions.push(answer.body.id);
      return;
    }
    case 'cancel': {
      const redemption = player.redemptions.at(-(n % 3) - 1);
      if (redemption) await post(`/v1/loyalty/redemptions/${redemption}/${n % 2 ? 'cancel' : 'fulfil'}`, {});
      return;
    }
    case 'response':
      await post(`/v1/surveys/${store.survey}/responses`, {
        submissionId: `form-${index}`,
        answeredAt: at,
        customer,
        answers: [
          { question: 'recommend', score: n % 11 },
          { question: 'content', score: (n % 5) + 1 },
        ],
      });
      return;
    case 'invite':
      await post('/v1/survey-invitations', { surveyId: store.survey, customerId: id });
      return;
    case 'consent':
      await post(`/v1/customers/${id}/consents`, {
        purpose: n % 2 ? 'newsletter' : 'post',
        channel: n % 3 ? 'email' : null,
        status: n % 4 ? 'granted' : 'withdrawn',
        at,
      });
      return;
    case 'share':
      await post(`/v1/partners/${store.partner}/customers/batch`, {
        customers: [{ customerId: id, writable: n % 2 === 0 }],
      });
      return;
    case 'profile':
      await post(
        `/v1/customers/${id}`,
        {
          ...(n % 2 && { givenName: `G${n}` }),
          ...(n % 3 && { address: { city: 'London', country: 'GB' } }),
          ...(n % 5 === 0 && { acquiredBy: store.partner }),
        },
        'PATCH',
      );
      return;
    case 'employ':
      await post(`/v1/customers/${id}`, { companyId: store.company }, 'PATCH');
      return;
    case 'refer':
      if (who !== other) await post(`/v1/customers/${id}`, { referredBy: ids[other] }, 'PATCH');
      return;
    case 'wait':
      return;
  }
}

async function differences({ db }: Store) {
  return [
    ...(await rollupDifferences(db, 'UTC', 5)),
    ...(await leadDifferences(db, 5)),
    ...(await ledgerDifferences(db, 5)),
    ...(await earningDifferences(db, 'EUR', 5)),
    ...(await rewardDifferences(db, 5)),
    ...(await answerDifferences(db, 5)),
    ...(await consentDifferences(db, 5)),
    ...(await shareDifferences(db, 5)),
    ...(await wrongBounds(db, clock(), 5)),
  ];
}

const windows = 'from=2026-02-01T00:00:00Z&to=2026-05-01T00:00:00Z';
const metrics = [
  `retention-rate?${windows}`,
  `churn-rate?variant=period&${windows}`,
  `churn-rate?variant=silence&${windows}&silenceDays=20`,
  `churn-rate?variant=gap&${windows}`,
  `repeat-purchase-rate?${windows}`,
  `average-order-value?${windows}`,
  `revenue-per-customer?${windows}`,
  `revenue-per-customer?${windows}&interval=month`,
  `purchase-gaps?${windows}`,
  `lifetime-value?${windows}`,
  `net-promoter-score?${windows}`,
  `customer-satisfaction?${windows}`,
];
const asked = new Set<string>();

async function metricsOf(store: Store): Promise<Record<string, unknown>> {
  const answers: Record<string, unknown> = {};
  for (const metric of metrics) {
    const { status, body } = await store.request('GET', `/v1/metrics/${metric}`);
    if (status === 200) asked.add(metric);
    answers[metric] = status === 200 ? body : status;
  }
  return answers;
}

function same(found: unknown, wanted: unknown, message: string): void {
  if (!t.strictSame(found, wanted, message)) throw new Error(message);
}

interface Done {
  to: string;
  from: string;
  mergeId: string;
  before: Dump;
}

/** Whose each record is that has an id. */
function ownersIn(dump: Dump): Map<string, unknown> {
  return new Map(
    Object.entries(dump).flatMap(([name, rows]) =>
      rows.flatMap((row) => {
        const id = row['id'] ?? row['value'] ?? row['external_id'];
        return typeof id === 'string' ? [[`${name} ${id}`, row['customer_id']] as const] : []; // a pair
      }),
    ),
  );
}

/** What happens while they are one changes nothing about whose is what happened before; and all of it adds up. */
async function checkSince(steps: readonly Step[], merges: readonly Merge[], since: readonly Step[]): Promise<void> {
  now = start;
  const run = fresh('q');
  const player = await begin(one, (who) => `${run}-${who}`);
  const go = async (some: readonly Step[], from: number) => {
    for (const [index, step] of some.entries()) {
      now += step.kind === 'wait' ? step.n * day : (step.n % 5) * 3_600_000 + day / 2;
      await play(player, step, from + index);
    }
  };
  await go(steps, 0);
  const all = [...player.ids, one.company];
  const before = ownersIn(await dumpOf(one.database, all));
  const owner = Array.from({ length: people }, (_, who) => who);
  const done: { to: string; mergeId: string }[] = [];
  for (const { to, from, take } of merges) {
    const [survivor = 0, other = 0] = [owner[to], owner[from]];
    if (survivor === other) continue;
    const id = player.ids[survivor] ?? '';
    const body = { customerId: player.ids[other], take };
    const answer = await one.request('POST', `/v1/customers/${id}/merge`, { body, headers: newKey() });
    if (answer.status !== 200) throw new Error(`merge: ${JSON.stringify(answer.body)}`);
    done.push({ to: id, mergeId: answer.body.id });
    for (const [index, whose] of owner.entries()) if (whose === other) owner[index] = survivor;
    await go(since.slice(0, 4), 1000 * done.length);
  }
  await go(since, 10_000);
  const merged = ownersIn(await dumpOf(one.database, all));
  for (const { to, mergeId } of done.reverse()) {
    const answer = await one.request('POST', `/v1/customers/${to}/unmerge`, { body: { mergeId }, headers: newKey() });
    if (answer.status !== 200) throw new Error(`unmerge: ${JSON.stringify(answer.body)}`);
    const wrong = await differences(one);
    if (wrong.length > 0) throw new Error(`after unmerge: ${JSON.stringify(wrong)}`);
  }
  const after = ownersIn(await dumpOf(one.database, all));
  // Steps and points that merging itself has made go with it.
  const byMerging = /^(stageChanges|loyalty|tierChanges)/;
  const lost = [...merged.keys()].filter((key) => !after.has(key) && (before.has(key) || !byMerging.test(key)));
  same(lost, [], 'nothing is lost');
  const moved = [...before].filter(([key, id]) => after.has(key) && after.get(key) !== id);
  same(moved, [], 'what happened before is of whom it was');
}

async function check(steps: readonly Step[], merges: readonly Merge[]): Promise<void> {
  now = start;
  const run = fresh('p');
  const player = await begin(one, (who) => `${run}-${who}`);
  const own = steps.filter(({ kind }) => facts.has(kind));
  for (const [index, step] of steps.entries()) {
    now += step.kind === 'wait' ? step.n * day : (step.n % 5) * 3_600_000 + day / 2;
    await play(player, step, index);
  }
  const end = now;
  now = Math.max(now, Date.parse('2026-06-01T00:00:00Z'));

  const owner = Array.from({ length: people }, (_, who) => who);
  const done: Done[] = [];
  const problems = await differences(one);
  if (problems.length > 0) throw new Error(`before: ${JSON.stringify(problems)}`);
  for (const { to, from, take } of merges) {
    const [survivor = 0, other = 0] = [owner[to], owner[from]];
    if (survivor === other) continue;
    const path = `/v1/customers/${player.ids[survivor]}/merge`;
    const body = { customerId: player.ids[other], take };
    const before = await dumpOf(one.database, [...player.ids, one.company]);
    const preview = await one.request('POST', `${path}/preview`, { body });
    const answer = await one.request('POST', path, { body, headers: newKey() });
    if (answer.status !== 200) throw new Error(`merge: ${JSON.stringify(answer.body)}`);
    if (JSON.stringify(answer.body.decisions) !== JSON.stringify(preview.body.decisions)) throw new Error('preview');
    done.push({ to: player.ids[survivor] ?? '', from: player.ids[other] ?? '', mergeId: answer.body.id, before });
    for (const [index, whose] of owner.entries()) if (whose === other) owner[index] = survivor;
    const wrong = await differences(one);
    if (wrong.length > 0) throw new Error(`after merge: ${JSON.stringify(wrong)}`);
  }

  const merged = await metricsOf(one);
  const merging = now;
  now = start;
  const always = await begin(two, (who) => `${run}-${owner[who]}`);
  for (const [index, step] of steps.entries()) {
    now += step.kind === 'wait' ? step.n * day : (step.n % 5) * 3_600_000 + day / 2;
    if (own.includes(step)) await play(always, step, index);
  }
  if (now !== end) throw new Error('the clocks disagree');
  now = merging;
  same(merged, await metricsOf(two), 'metrics are those of one');

  for (const { to, mergeId, before } of done.reverse()) {
    const answer = await one.request('POST', `/v1/customers/${to}/unmerge`, { body: { mergeId }, headers: newKey() });
    if (answer.status !== 200) throw new Error(`unmerge: ${JSON.stringify(answer.body)}`);
    same(answer.body.kept, [], 'nothing is kept');
    same(await dumpOf(one.database, [...player.ids, one.company]), before, 'every row is as it was');
    const wrong = await differences(one);
    if (wrong.length > 0) throw new Error(`after unmerge: ${JSON.stringify(wrong)}`);
  }
}

/** Everything happens to everybody, so that nothing depends on what is drawn. */
const everything: Step[] = Array.from({ length: people }, (_, who) =>
  [...kinds.filter((kind) => kind === 'enrol' || kind === 'lead'), ...kinds].map((kind, i) => ({
    kind,
    who,
    other: (who + 1) % people,
    n: 1 + ((i * 7 + who * 3) % 11),
  })),
).flat();
const chain: Merge[] = [
  { to: 1, from: 0, take: [] },
  { to: 2, from: 1, take: ['lead_stage', 'name'] },
  { to: 2, from: 3, take: ['attributes', 'email'] },
];

const property = fc.asyncProperty(
  fc.array(step, { minLength: 5, maxLength: 40 }),
  fc.array(merge, { minLength: 1, maxLength: 4 }),
  check,
);

t.test('everything at once, in a chain', async (t) => {
  await check(everything, chain);
  t.strictSame(
    kinds.filter((kind) => kind !== 'wait' && !made.has(kind)),
    [],
    'records of every kind were made',
  );
  t.strictSame(
    metrics.filter((metric) => !asked.has(metric)),
    [],
  );
});

const propertySince = fc.asyncProperty(
  fc.array(step, { minLength: 5, maxLength: 30 }),
  fc.array(merge, { minLength: 1, maxLength: 3 }),
  fc.array(step, { minLength: 1, maxLength: 25 }),
  checkSince,
);

t.test('everything happens to them while they are one', async (t) => {
  await checkSince(everything, chain, everything);
  t.pass();
});

t.test('random histories, merged and parted', async (t) => {
  const until = Date.now() + seconds * 1_000;
  for (let seed = first; seed === first || Date.now() < until; seed += 1) {
    await fc.assert(property, { numRuns: runs, seed, endOnFailure: true });
    await fc.assert(propertySince, { numRuns: runs, seed, endOnFailure: true });
  }
  t.pass();
});
