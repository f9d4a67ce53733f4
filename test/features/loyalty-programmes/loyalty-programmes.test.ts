import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { earns, type LoyaltyRules, pointsOfOrder } from '../../../src/domain/loyalty-earning.ts';
import { type GoodsOrder, OrderGoods } from '../../../src/domain/loyalty-goods.ts';
import { levelFor } from '../../../src/domain/loyalty-tiers.ts';
import { addDays } from '../../../src/domain/period.ts';
import { rulesAt, rulesOf, versionAt } from '../../../src/features/loyalty-programmes/queries.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import { testApp } from '../../support/app.ts';
import { allPages, fresh, orderOf } from '../../support/shop.ts';

let now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());
const pool = openPool(api.connection, { size: 2, statementTimeout: 30_000 });
t.teardown(() => pool.end());

const programmes = '/v1/loyalty/programmes';
const any = { 'If-Match': '*' };
const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);

const minimal = { pointsPerUnit: 1, pointValue: 0.5 };
const level = (key: string, threshold: number, multiplier = 1) => ({ key, name: key, threshold, multiplier });
const tiersOf = (...levels: ReturnType<typeof level>[]) => ({
  basis: 'spend' as const,
  windowDays: 365,
  periodDays: 365,
  graceDays: 30,
  levels,
});

async function draft(rules: object = {}): Promise<string> {
  const { status, body } = await request('POST', programmes, {
    body: { name: fresh('programme'), rules: { ...minimal, ...rules } },
  });
  if (status !== 201) throw new Error(JSON.stringify(body));
  return body.id;
}
const publish = (id: string, body?: object, headers: Record<string, string> = any) =>
  request('POST', `${programmes}/${id}/publish`, { headers, ...(body && { body }) });
const patch = (id: string, rules: object) =>
  request('PATCH', `${programmes}/${id}`, { headers: any, body: { rules: { ...minimal, ...rules } } });

async function published(rules: object = {}, validFrom = '2020-01-01T00:00:00Z'): Promise<string> {
  const id = await draft(rules);
  const { status, body } = await publish(id, { validFrom });
  if (status !== 200) throw new Error(JSON.stringify(body));
  return id;
}

/** A member, straight into the table: enrolment is another feature's. */
async function enrol(customerId: string, programmeId: string, member: { joinedAt?: string; tier?: string } = {}) {
  await database.query(
    `insert into loyalty_accounts (customer_id, programme_id, version, joined_at, joined_on, tier, tier_in_grace, active, pending, debt, settled_at, referral_rewarded, created_at, updated_at)
     values ($1, $2, 1, $3, $3::timestamptz::date, $4, false, 0, 0, 0, $3, false, $3, $3)`,
    [customerId, programmeId, member.joinedAt ?? '2020-01-01T00:00:00Z', member.tier ?? null],
  );
}

/** The orders of customers named by number, in one batch; answers the ids of the customers by number. */
async function push(orders: ({ customer: number } & Record<string, unknown>)[]): Promise<Map<number, string>> {
  const run = fresh('run');
  const body = {
    orders: orders.map(({ customer, ...members }) =>
      orderOf({ ...members, customer: { externalId: `${run}-${customer}` } }),
    ),
  };
  for (let index = 0; index < body.orders.length; index += 500) {
    const { body: answer } = await request('POST', '/v1/orders/batch?atomic=true', {
      body: { orders: body.orders.slice(index, index + 500) },
    });
    if (!answer.results) throw new Error(JSON.stringify(answer));
  }
  const { rows } = await database.query(
    "select external_id, record_id from external_refs where kind = 'customer' and external_id like $1",
    [`${run}-%`],
  );
  return new Map(rows.map((row) => [Number(row.external_id.slice(run.length + 1)), row.record_id]));
}

t.test('a programme is drafted, published, changed, published again and ended', async (t) => {
  const made = await request('POST', programmes, { body: { name: 'Friends', rules: minimal } });
  t.equal(made.status, 201);
  t.equal(made.headers.get('location'), `${programmes}/${made.body.id}`);
  t.strictSame(made.body.rules, {
    ...minimal,
    rounding: 'down',
    earnOn: 'paid',
    pendingDays: 0,
    expiryDays: null,
    expiresOn: null,
    expiresAtEndOf: null,
    refundPolicy: 'within_balance',
    tierOnRefund: 'recompute',
    includeShipping: true,
    includeFees: true,
    categories: [],
    campaigns: [],
    tiers: null,
    bonuses: {},
  });
  t.match(made.body, { status: 'draft', currentVersion: null, endedAt: null, version: 1, created: true });
  const at = `${programmes}/${made.body.id}`;

  t.equal((await request('POST', `${at}/publish`)).status, 428);
  t.equal((await publish(made.body.id, {}, { 'If-Match': '"7"' })).status, 412);
  const dry = await request('POST', `${at}/publish?dryRun=true`, { headers: any });
  t.match(dry, { status: 200, body: { status: 'active', currentVersion: { number: 1 } } });
  t.equal((await request('GET', at)).body.status, 'draft', 'a dry run publishes nothing');
  const first = await publish(made.body.id, { validFrom: '2026-01-01T01:00:00+01:00' });
  t.match(first.body, {
    status: 'active',
    version: 2,
    currentVersion: { number: 1, validFrom: '2026-01-01T00:00:00.000Z' },
  });

  const changed = await request('PATCH', at, {
    headers: { 'If-Match': '"2"' },
    body: { name: 'Best friends', rules: { ...minimal, pointsPerUnit: 2.0001, tiers: tiersOf(level('basic', 0)) } },
  });
  t.match(changed, { status: 200, body: { name: 'Best friends', rules: { pointsPerUnit: 2.0001 }, version: 3 } });
  t.equal(changed.body.currentVersion.number, 1, 'the draft is not in force');
  const later = await publish(made.body.id, { validFrom: '2026-07-01T00:00:00.000001Z' });
  t.equal(later.body.currentVersion.number, 1, 'not before it begins');
  now = '2026-07-01T00:00:00.000Z';
  t.equal((await request('GET', at)).body.currentVersion.number, 1);
  now = '2026-07-01T00:00:00.001Z';
  t.equal((await request('GET', at)).body.currentVersion.number, 2);
  now = '2026-06-01T12:00:00.000Z';

  const versions = await allPages(api, `${at}/versions?limit=1`);
  t.strictSame(
    versions.map(({ programmeId, number, validFrom, publishedAt, publishedBy, rules }) => [
      programmeId === made.body.id,
      number,
      validFrom,
      publishedAt,
      publishedBy,
      rules.pointsPerUnit,
    ]),
    [
      [true, 2, '2026-07-01T00:00:00.000001Z', now, 'test', 2.0001],
      [true, 1, '2026-01-01T00:00:00.000Z', now, 'test', 1],
    ],
  );
  t.equal((await request('GET', `${at}/versions?sort=number&count=true`)).body.page.total, 2);

  const db = poolDb(pool);
  const known = (await rulesOf(db, [made.body.id, made.body.id])).get(made.body.id);
  if (!known) throw new Error('no rules');
  t.equal(rulesAt(known, '2025-12-31T23:59:59.999999Z'), null);
  t.equal(versionAt(known, '2026-01-01T00:00:00.000Z')?.number, 1);
  t.equal(versionAt(known, '2026-07-01T00:00:00.000Z')?.number, 1);
  t.equal(versionAt(known, '2026-07-01T00:00:00.000001Z')?.number, 2);
  t.equal(rulesAt(known, '9998-01-01T00:00:00.000Z')?.tiers?.levels[0]?.key, 'basic');

  t.match(await request('DELETE', at, { headers: any }), { status: 409, body: { code: 'programme_published' } });
  const ended = await request('POST', `${at}/end`, { headers: any });
  t.match(ended, { status: 200, body: { status: 'ended', endedAt: now } });
  t.match(await request('POST', `${at}/end`, { headers: any }), { status: 409, body: { code: 'programme_ended' } });
  t.match(await publish(made.body.id), { status: 409, body: { code: 'programme_ended' } });
  t.equal((await rulesOf(db, [made.body.id])).get(made.body.id)?.endedAt, now);

  const other = await draft();
  t.match(await request('POST', `${programmes}/${other}/end`, { headers: any }), {
    status: 409,
    body: { code: 'programme_not_published' },
  });
  t.equal((await request('DELETE', `${programmes}/${other}`, { headers: { 'If-Match': '"9"' } })).status, 412);
  t.equal((await request('DELETE', `${programmes}/${other}`, { headers: any })).status, 204);
  t.equal((await request('GET', `${programmes}/${other}`)).status, 404);
  t.equal((await request('GET', `${programmes}/${other}/versions`)).status, 404);
  const listed = await request('GET', `${programmes}?status=ended`);
  t.strictSame(
    listed.body.data.map((one: { id: string }) => one.id),
    [made.body.id],
  );
});

t.test('what is wrong with rules is said with its place', async (t) => {
  const levels = (...given: object[]) => ({ tiers: { ...tiersOf(), levels: given } });
  const campaign = { name: 'x', from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00Z', multiplier: 2 };
  const unknown = '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90';
  for (const [rules, ...expected] of [
    [{ pointsPerUnit: 0.1 + 0.2 }, '/rules/pointsPerUnit too_precise'],
    [{ pointsPerUnit: 1e-7 }, '/rules/pointsPerUnit too_precise'],
    [{ pointsPerUnit: -1 }, '/rules/pointsPerUnit too_small'],
    [{ pointsPerUnit: 1e300 }, '/rules/pointsPerUnit too_big'],
    [{ pointsPerUnit: '1' }, '/rules/pointsPerUnit invalid_type'],
    [{ pointsPerUnit: undefined }, '/rules/pointsPerUnit required'],
    [{ pointValue: 0.0000001 }, '/rules/pointValue too_precise'],
    [{ rounding: 'nearest' }, '/rules/rounding invalid_value'],
    [{ pendingDays: 366 }, '/rules/pendingDays too_big'],
    [{ pendingDays: 14, expiryDays: 14 }, '/rules/expiryDays not_after_pending'],
    [{ expiryDays: 0 }, '/rules/expiryDays too_small', '/rules/expiryDays not_after_pending'],
    [{ expiryDays: 1e9 }, '/rules/expiryDays too_big'],
    [{ categories: [{ category: 'a', multiplier: 100.5 }] }, '/rules/categories/0/multiplier too_big'],
    [
      {
        categories: [
          { category: 'a', multiplier: 2 },
          { category: 'a', multiplier: 3 },
        ],
      },
      '/rules/categories/1/category duplicate',
    ],
    [{ campaigns: [{ ...campaign, to: campaign.from }] }, '/rules/campaigns/0/to not_after_from'],
    [{ campaigns: [{ ...campaign, to: '9999-01-01T00:00:00Z' }] }, '/rules/campaigns/0/to out_of_range'],
    [{ campaigns: [campaign, { ...campaign, campaignId: unknown }] }, '/rules/campaigns/1/campaignId unknown_campaign'],
    [levels(), '/rules/tiers/levels too_small'],
    [levels(level('a', 1)), '/rules/tiers/levels/0/threshold not_zero'],
    [levels(level('a', 0), level('b', 5), level('c', 5)), '/rules/tiers/levels/2/threshold not_ascending'],
    [levels(level('a', 0), level('a', 5)), '/rules/tiers/levels/1/key duplicate'],
    [levels(level('Gold!', 0)), '/rules/tiers/levels/0/key invalid_format'],
    [{ tiers: { ...tiersOf(level('a', 0)), windowDays: 0 } }, '/rules/tiers/windowDays too_small'],
    [{ bonuses: { welcome: 0 } }, '/rules/bonuses/welcome too_small'],
    [{ bonuses: { purchase: { count: 5 } } }, '/rules/bonuses/purchase/points required'],
    [{ bonuses: { party: 5 } }, '/rules/bonuses/party unknown_member'],
  ] as [object, ...string[]][]) {
    const refused = await request('POST', programmes, { body: { name: 'x', rules: { ...minimal, ...rules } } });
    t.equal(refused.status, 422, JSON.stringify(rules));
    t.strictSame(codes(refused.body), expected, JSON.stringify(rules));
  }
  const wide = await draft({
    pointsPerUnit: 1_000_000,
    pendingDays: 365,
    expiryDays: 36_500,
    campaigns: [{ ...campaign, from: '1000-01-01T00:00:00Z', to: '9998-12-31T23:59:59.999999Z' }],
    tiers: tiersOf(level('a', 0, 0.0001), level('b', 1_000_000_000_000, 100)),
    bonuses: { referral: { referrer: 0, referee: 1_000_000_000 }, birthday: null },
  });
  t.match((await publish(wide, { validFrom: '1000-01-01T00:00:00Z' })).body.rules.campaigns[0], {
    from: '1000-01-01T00:00:00.000Z',
    to: '9998-12-31T23:59:59.999999Z',
  });
  const viaGraphql = await graphql(
    `mutation { createLoyaltyProgramme(input: { name: "x", rules: { pointsPerUnit: 1, pointValue: 1, pendingDays: 3, expiryDays: 2 } }) { created } }`,
  );
  t.strictSame(codes(viaGraphql.body.errors[0].extensions), ['/rules/expiryDays not_after_pending']);
});

t.test('a version begins where nothing that was earned is rewritten', async (t) => {
  const id = await draft();
  t.equal((await publish(id, { validFrom: '2019-01-01T00:00:00Z' })).status, 200, 'the first one at any time');
  const past = await publish(id, { validFrom: '2026-06-01T11:59:59.999Z' });
  t.strictSame([past.status, codes(past.body)], [422, ['/validFrom in_the_past']]);
  t.equal((await publish(id, { validFrom: now })).body.currentVersion.number, 2);
  t.equal((await publish(id, { validFrom: '2026-08-01T00:00:00Z' })).status, 200);
  const before = await publish(id, { validFrom: '2026-07-31T23:59:59.999999Z' });
  t.strictSame([before.status, codes(before.body)], [422, ['/validFrom before_last_version']]);
  t.equal((await publish(id)).body.currentVersion.number, 2, 'by default after the one that is to come');
  const versions = await request('GET', `${programmes}/${id}/versions`);
  t.strictSame(
    versions.body.data.map(({ number, validFrom }: { number: number; validFrom: string }) => [number, validFrom]),
    [
      [4, '2026-08-01T00:00:00.000Z'],
      [3, '2026-08-01T00:00:00.000Z'],
      [2, now],
      [1, '2019-01-01T00:00:00.000Z'],
    ],
  );
  now = '2026-08-01T00:00:00.000Z';
  t.equal((await request('GET', `${programmes}/${id}`)).body.currentVersion.number, 4, 'of two the later one');
  now = '2026-06-01T12:00:00.000Z';
});

t.test('a published level stays', async (t) => {
  const id = await published({ tiers: tiersOf(level('basic', 0), level('gold', 100)) });
  await patch(id, { tiers: tiersOf(level('basic', 0)) });
  t.match(await publish(id), { status: 422, body: { code: 'tier_removed', tier: 'gold' } });
  await patch(id, {});
  t.match(await publish(id), { status: 422, body: { code: 'tier_removed', tier: 'basic' } });
  await patch(id, { tiers: tiersOf(level('gold', 0), level('silver', 5), level('basic', 10)) });
  t.equal((await publish(id)).status, 200, 'thresholds and order may change');
  await patch(id, { tiers: tiersOf(level('gold', 0), level('basic', 10)) });
  t.match(await publish(id), { status: 422, body: { code: 'tier_removed', tier: 'silver' } });
});

t.test('publishers at once give versions of their own', async (t) => {
  const id = await draft();
  const answers = await Promise.all(Array.from({ length: 8 }, () => publish(id)));
  t.strictSame(
    answers.map(({ status }) => status),
    Array(8).fill(200),
  );
  t.strictSame(
    (await request('GET', `${programmes}/${id}/versions?sort=number`)).body.data.map(
      ({ number }: { number: number }) => number,
    ),
    [1, 2, 3, 4, 5, 6, 7, 8],
  );
  const { version } = (await request('GET', `${programmes}/${id}`)).body;
  const rivals = await Promise.all([1, 2, 3].map(() => publish(id, {}, { 'If-Match': `"${version}"` })));
  t.strictSame(rivals.map(({ status }) => status).sort(), [200, 412, 412], 'of one version seen only one');
});

t.test('tiers are those in force, with their members', async (t) => {
  const id = await draft({ tiers: tiersOf(level('basic', 0), level('gold', 50_000, 1.5)) });
  const at = `/v1/loyalty/tiers?programmeId=${id}`;
  t.match(await request('GET', at), { status: 409, body: { code: 'programme_not_published' } });
  await publish(id);
  const other = await published({ tiers: tiersOf(level('basic', 0)) });
  const customers = await push([1, 2, 3, 4, 5].map((customer) => ({ customer })));
  const idOf = (n: number) => customers.get(n) ?? '';
  await enrol(idOf(1), id, { tier: 'basic' });
  await enrol(idOf(2), id, { tier: 'gold' });
  await enrol(idOf(3), id, { tier: 'gold' });
  await enrol(idOf(4), id);
  await enrol(idOf(5), other, { tier: 'basic' });
  const expected = {
    programmeId: id,
    number: 1,
    basis: 'spend',
    windowDays: 365,
    periodDays: 365,
    graceDays: 30,
    levels: [
      { ...level('basic', 0), members: 1 },
      { ...level('gold', 50_000, 1.5), members: 2 },
    ],
    members: 4,
    withoutTier: 1,
  };
  t.strictSame((await request('GET', at)).body, expected);
  const asked = await graphql(
    `query ($id: ID!) { loyaltyTiers(programmeId: $id) { programmeId number basis windowDays periodDays graceDays levels { key name threshold multiplier members } members withoutTier } }`,
    { id },
  );
  t.strictSame(asked.body.data.loyaltyTiers, { ...expected, basis: 'SPEND' });
  const plain = await published();
  t.match((await request('GET', `/v1/loyalty/tiers?programmeId=${plain}`)).body, {
    basis: null,
    levels: [],
    members: 0,
  });
  t.equal((await request('GET', `/v1/loyalty/tiers?programmeId=${idOf(1)}`)).status, 404);
});

t.test('a preview adds up what a change would have earned', async (t) => {
  const id = await draft({
    tiers: tiersOf(level('basic', 0), level('gold', 50_000, 1.5)),
    campaigns: [{ name: 'March', from: '2025-03-01T00:00:00Z', to: '2025-04-01T00:00:00Z', multiplier: 2 }],
  });
  await publish(id, { validFrom: '2025-02-01T00:00:00Z' });
  const order = (customer: number, placedAt: string, total: number, more: object = {}) => ({
    customer,
    placedAt,
    total,
    ...more,
  });
  const customers = await push([
    order(1, '2025-01-31T23:59:59.999Z', 1_099), // before the first version
    order(1, '2025-02-10T00:00:00Z', 1_099),
    order(1, '2025-03-10T00:00:00Z', 2_099, { paymentStatus: 'pending', fulfillmentStatus: 'fulfilled' }),
    order(2, '2025-03-31T23:59:59.999Z', 5_050, {
      items: [
        { sku: 'a', quantity: 1, total: 4_040, category: 'toys' },
        { sku: 'b', quantity: 1, total: 1_010 },
      ],
    }),
    order(3, '2025-03-05T00:00:00Z', 1_000, { test: true }),
    order(3, '2025-04-01T00:00:00Z', 9_999), // after the period
  ]);
  const idOf = (n: number) => customers.get(n) ?? '';
  await enrol(idOf(2), id, { joinedAt: '2025-03-01T00:00:00Z', tier: 'gold' });
  await database.query(
    `insert into loyalty_earnings (customer_id, order_id, placed_at, entitled, spend, tier_points, tier)
     select customer_id, id, placed_at, 151, 5050, 151, 'gold' from orders where customer_id = $1`,
    [idOf(2)],
  );
  const period = { from: '2025-01-01T00:00:00Z', to: '2025-04-01T00:00:00Z' };
  const change = {
    ...minimal,
    pointValue: 0.75,
    earnOn: 'fulfilled',
    rounding: 'up',
    tiers: tiersOf(level('silver', 0, 2), level('gold', 50_000, 3)),
    categories: [{ category: 'toys', multiplier: 0 }],
  };
  const preview = (body: object) => request('POST', `${programmes}/${id}/preview`, { body: { ...period, ...body } });
  const everyone = await preview({ population: 'everyone', rules: { ...change, earnOn: 'paid' } });
  t.equal(everyone.status, 200);
  t.strictSame(everyone.body, {
    programmeId: id,
    from: '2025-01-01T00:00:00.000Z',
    to: '2025-04-01T00:00:00.000Z',
    population: 'everyone',
    currency: 'EUR',
    orders: 4,
    customers: 2,
    // 10 of February; 50.50 × 1.5 × 2 in March.
    current: { earningOrders: 2, points: 161, value: 80.5 },
    // 10.99 × 2 twice; 50.50 × 3 × 0.2 = 30.3.
    changed: { earningOrders: 3, points: 75, value: 56.25 },
    difference: -86,
    differenceInValue: -24.25,
    entitled: 151,
    gain: { customers: 1, points: 34 },
    lose: { customers: 1, points: -120 },
    byMonth: [
      { month: '2025-01', orders: 1, current: 0, changed: 22, difference: 22 },
      { month: '2025-02', orders: 1, current: 10, changed: 22, difference: 12 },
      { month: '2025-03', orders: 2, current: 151, changed: 31, difference: -120 },
    ],
    byTier: [
      { tier: 'silver', orders: 3, current: 10, changed: 44, difference: 34 },
      { tier: 'gold', orders: 1, current: 151, changed: 31, difference: -120 },
    ],
  });
  const fulfilled = await preview({ population: 'everyone', rules: change });
  t.match(fulfilled.body, { current: { points: 161 }, changed: { earningOrders: 1, points: 42 } });
  const members = await preview({ rules: change });
  t.match(members.body, {
    population: 'members',
    orders: 1,
    current: { points: 151 },
    changed: { points: 0 },
    entitled: 151,
  });
  const asItIs = await preview({ population: 'everyone' });
  t.match(
    asItIs.body,
    { difference: 10, gain: { customers: 1 }, lose: { customers: 0, points: 0 } },
    'the draft; 10 points more of January',
  );
  await request('POST', `${programmes}/${id}/end`, { headers: any });
  t.match((await preview({ population: 'everyone', from: '2026-05-01T00:00:00Z', to: '2026-06-01T00:00:00Z' })).body, {
    orders: 0,
    customers: 0,
    byMonth: [],
    byTier: [],
    current: { value: 0 },
  });
  t.strictSame(codes((await preview({ to: period.from })).body), ['/to not_after_from']);
  t.strictSame(codes((await preview({ rules: { ...change, pendingDays: 9, expiryDays: 9 } })).body), [
    '/rules/expiryDays not_after_pending',
  ]);
  const asked = await graphql(
    `query ($id: ID!, $rules: LoyaltyRulesInput) {
      loyaltyProgrammePreview(id: $id, input: { rules: $rules, from: "2025-01-01T00:00:00Z", to: "2025-04-01T00:00:00Z", population: EVERYONE }) {
        difference differenceInValue changed { points value } byTier { tier difference } lose { customers points } population
      }
    }`,
    {
      id,
      rules: {
        ...minimal,
        pointValue: 0.75,
        rounding: 'UP',
        tiers: { ...change.tiers, basis: 'SPEND' },
        categories: change.categories,
      },
    },
  );
  t.match(asked.body.data?.loyaltyProgrammePreview, {
    difference: -86,
    changed: { points: 75, value: 56.25 },
    lose: { customers: 1, points: -120 },
    population: 'EVERYONE',
  });
});

const categories = ['toys', 'books', "o'neill", 'a"b', ''];
const multiplier = fc.oneof(
  fc.constantFrom(0, 1, 2, 1.5, 0.0001, 100, 99.9999),
  fc.integer({ min: 0, max: 1_000_000 }).map((units) => units / 10_000),
);
const campaignIds = await Promise.all(
  ['a', 'b'].map(async (name) => (await request('POST', '/v1/campaigns', { body: { name } })).body.id as string),
);
/** The corners that orders are placed around. */
const corners = ['2024-07-01T00:00:00.000Z', '2025-06-01T12:00:00.000Z', '2026-01-01T00:00:00.000Z', now];
const rulesArbitrary = fc
  .record({
    pointsPerUnit: fc.oneof(
      fc.constantFrom(0, 1, 0.5, 0.0001, 1_000_000),
      fc.integer({ max: 100_000, min: 0 }).map((n) => n / 10_000),
    ),
    pointValue: fc.constantFrom(0, 0.5, 0.000001, 1.25),
    rounding: fc.constantFrom('down', 'half_up', 'up'),
    earnOn: fc.constantFrom('paid', 'fulfilled'),
    categories: fc.uniqueArray(
      fc.record({ category: fc.constantFrom('toys', 'books', "o'neill", 'a"b', '__proto__'), multiplier }),
      {
        selector: ({ category }) => category,
        maxLength: 4,
      },
    ),
    campaigns: fc.array(
      fc
        .record({
          name: fc.constant('x'),
          from: fc.constantFrom(...corners),
          to: fc.constantFrom(...corners),
          campaignId: fc.constantFrom(null, ...campaignIds),
          multiplier,
        })
        .filter(({ from, to }) => from < to),
      { maxLength: 4 },
    ),
    tiers: fc.option(
      fc
        .record({
          basis: fc.constantFrom('spend', 'points'),
          windowDays: fc.constantFrom(30, 365, 900),
          multipliers: fc.tuple(multiplier, multiplier, multiplier),
        })
        .map(({ multipliers: [a, b, c], ...tiers }) => ({
          ...tiers,
          periodDays: 365,
          graceDays: 0,
          reachingOrder: 'former_tier' as const,
          levels: [level('basic', 0, a), level('silver', 1_000, b), level('gold', 50_000, c)],
        })),
    ),
  })
  .map(
    (given): LoyaltyRules => ({
      ...given,
      pendingDays: 0,
      expiryDays: null,
      expiresOn: null,
      expiresAtEndOf: null,
      refundPolicy: 'within_balance',
      tierOnRefund: 'recompute',
      includeShipping: true,
      includeFees: true,
      bonuses: {},
    }),
  );

const orderArbitrary = fc.record({
  customer: fc.nat({ max: 11 }),
  placedAt: fc
    .tuple(fc.constantFrom(...corners), fc.constantFrom(-400, -31, -1, 0, 1, 200), fc.constantFrom('', '001'))
    .map(([corner, days, micros]) => `${addDays(corner, days).slice(0, -1)}${micros}Z`)
    .filter((at) => at.slice(0, -1) <= now.slice(0, -1)),
  lines: fc.array(
    fc.record({
      total: fc.constantFrom(0, 7, 1, 33, 999, 12_345, 10_000_000_000),
      category: fc.constantFrom(...categories.slice(0, 4), null),
    }),
    { maxLength: 4 },
  ),
  shipping: fc.constantFrom(0, 1, 490),
  tax: fc.constantFrom(0, 0, 7),
  currency: fc.constantFrom('EUR', 'EUR', 'JPY', 'KWD'),
  paymentStatus: fc.constantFrom('paid', 'paid', 'pending'),
  fulfillmentStatus: fc.constantFrom('fulfilled', 'unfulfilled'),
  cancelled: fc.constantFrom(false, false, false, true),
  campaignId: fc.constantFrom(null, null, ...campaignIds),
});

/** Orders as they came to be in the database, for oracles that add up one by one. */
async function storedOrders(customerIds: Iterable<string>) {
  const { rows } = await database.query(
    `select o.id, o.customer_id as "customerId", o.qualifying, o.base_revenue::float8 as "baseRevenue", payment_status as "paymentStatus", fulfillment_status as "fulfillmentStatus",
        campaign_id as "campaignId", to_char(o.placed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "placedAt",
        coalesce((select json_agg(json_build_object('category', category, 'total', total, 'quantity', quantity, 'sku', sku, 'externalId', null)) from order_items i where i.order_id = o.id), '[]') as items,
        o.total::float8, o.tax::float8, o.tax_included as "taxIncluded", o.shipping::float8, o.fees::float8,
        e.entitled::float8, e.tier
     from orders o left join loyalty_earnings e on e.order_id = o.id where o.customer_id = any($1::uuid[])`,
    [[...customerIds]],
  );
  type Stored = Parameters<typeof earns>[1] &
    Parameters<typeof pointsOfOrder>[1] & {
      id: string;
      customerId: string;
      entitled: number | null;
      tier: string | null;
    };
  return (rows as (Stored & GoodsOrder)[]).map((row) => ({
    ...row,
    placedAt: row.placedAt.replace(/000Z$/, 'Z'),
    left: new OrderGoods({ ...row, refunds: [] }).leftOver(),
  }));
}

t.test('candidates are ranked by what they would have earned', async (t) => {
  const orders = fc.sample(orderArbitrary, { numRuns: 400, seed: 7 }).map(({ lines, cancelled, ...order }) => {
    const items = lines.map(({ total, category }) => ({ sku: 'x', quantity: 1, total, category }));
    return {
      ...order,
      items,
      total: items.reduce((sum, item) => sum + item.total, order.shipping + order.tax),
      ...(order.currency !== 'EUR' && { exchangeRate: '0.0061234' }),
      ...(cancelled && { cancelledAt: now }),
    };
  });
  const crowd = await push(orders);
  const stored = await storedOrders(crowd.values());
  t.equal(stored.length, 400);
  let ranked = 0;
  await fc.assert(
    fc.asyncProperty(rulesArbitrary, fc.constantFrom(undefined, 1, 100, 700), async (rules, windowDays) => {
      const id = await published(rules);
      const from = addDays(now, -(windowDays ?? 365)).slice(0, -1);
      const tierFrom = addDays(now, -(rules.tiers?.windowDays ?? 0)).slice(0, -1);
      const expected = [...new Set(crowd.values())].flatMap((customerId) => {
        const earning = stored
          .filter((order) => order.customerId === customerId && earns(rules, order) && (order.baseRevenue ?? 0) > 0)
          .map((order) => ({
            ...order,
            points: pointsOfOrder(rules, order, 'basic', 2),
          }));
        const asked = earning.filter(({ placedAt }) => placedAt.slice(0, -1) > from);
        const points = asked.reduce((sum, order) => sum + order.points, 0);
        const amount = earning
          .filter(({ placedAt }) => placedAt.slice(0, -1) > tierFrom)
          .reduce((sum, order) => sum + (rules.tiers?.basis === 'points' ? order.points : (order.baseRevenue ?? 0)), 0);
        if (points === 0) return [];
        return [
          {
            customerId,
            points,
            orders: asked.length,
            spend: asked.reduce((sum, { baseRevenue }) => sum + (baseRevenue ?? 0), 0),
            tier: rules.tiers ? levelFor(rules.tiers.levels, amount).key : null,
          },
        ];
      });
      expected.sort((a, b) => b.points - a.points || (a.customerId < b.customerId ? 1 : -1));
      ranked += expected.length;
      const path = `/v1/loyalty/candidates?programmeId=${id}&limit=5${windowDays ? `&windowDays=${windowDays}` : ''}`;
      const inCrowd = new Set(crowd.values());
      const answered = (await allPages(api, path)).filter(({ customerId }) => inCrowd.has(customerId));
      const compared = answered.map(({ value, ...rest }) => {
        if (Math.abs(value - rest.points * rules.pointValue) > 1e-9 * value) throw new Error(`value ${value}`);
        return rest;
      });
      if (JSON.stringify(compared.map(sorted)) !== JSON.stringify(expected.map(sorted)))
        throw new Error(`${JSON.stringify(compared)} where ${JSON.stringify(expected)}`);
    }),
    { numRuns: 25 },
  );
  t.ok(ranked > 100, `${ranked} candidates`);
});

const sorted = (row: Record<string, unknown>) => Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1));

t.test('members are no candidates, and pages are of the instant of the first', async (t) => {
  const id = await published();
  const customers = await push(
    [1, 2, 3, 4].map((customer) => ({ customer, total: 1e11 + customer * 100, placedAt: '2026-05-01T00:00:00Z' })),
  );
  const idOf = (n: number) => customers.get(n) ?? '';
  const other = await published();
  await enrol(idOf(2), other);
  const at = `/v1/loyalty/candidates?programmeId=${id}&limit=1`;
  const first = await request('GET', `${at}&cursors=true`);
  t.match(first.body, {
    data: [{ customerId: idOf(4), orders: 1, spend: 1e11 + 400, tier: null }],
    page: { hasMore: true },
  });
  t.equal(first.body.page.cursors[0], first.body.page.next);
  now = '2027-12-01T00:00:00.000Z';
  const second = await request('GET', `${at}&after=${first.body.page.next}`);
  t.match(second.body.data, [{ customerId: idOf(3) }], 'the order counts on');
  t.strictSame((await request('GET', at)).body.data, [], 'but for new lists no longer');
  now = '2026-06-01T12:00:00.000Z';
  t.equal((await request('GET', `${at}&windowDays=30&after=${first.body.page.next}`)).status, 400, 'another list');
  t.equal((await request('GET', `/v1/loyalty/candidates?programmeId=${await draft()}`)).status, 409);
  t.equal((await request('GET', `/v1/loyalty/candidates?programmeId=${idOf(1)}`)).status, 404);
  t.strictSame(codes((await request('GET', `${at}&windowDays=4000`)).body), ['windowDays too_big']);
  const asked = await graphql(
    `query ($id: ID!) { loyaltyCandidates(programmeId: $id, first: 2) { nodes { points customer { id } } edges { cursor } pageInfo { hasNextPage } } }`,
    { id },
  );
  t.match(asked.body.data.loyaltyCandidates, {
    nodes: [{ customer: { id: idOf(4) } }, { customer: { id: idOf(3) } }],
    pageInfo: { hasNextPage: true },
  });
});

t.test('a preview is the sum of all its orders, and agrees with the ledger', async (t) => {
  let entitledAtAll = 0;
  await fc.assert(
    fc.asyncProperty(
      rulesArbitrary,
      rulesArbitrary,
      fc.array(orderArbitrary, { minLength: 5, maxLength: 20 }),
      fc.constantFrom('members', 'everyone'),
      async (before, rules, given, population) => {
        const tiers = {
          basis: 'spend' as const,
          windowDays: 30,
          periodDays: 30,
          graceDays: 0,
          reachingOrder: 'former_tier' as const,
          levels: [level('basic', 0), level('silver', 5, 2)],
        };
        const id = await published({ ...before, tiers }, '2024-07-01T00:00:00Z');
        const customers = await push(given.map(({ customer }) => ({ customer, placedAt: '2020-05-01T00:00:00Z' })));
        for (const customerId of customers.values())
          await enrol(customerId, id, { tier: 'basic', joinedAt: '2024-06-15T00:00:00Z' });
        const orders = given.map(({ lines, customer, cancelled, shipping, tax, ...order }) => ({
          ...orderOf({
            ...order,
            ...(order.currency !== 'EUR' && { exchangeRate: '0.0061234' }),
            ...(cancelled && { cancelledAt: now }),
            customerId: customers.get(customer),
          }),
          shipping,
          tax,
          total: shipping + tax + lines.reduce((sum, { total }) => sum + Math.abs(total), 0),
          items: lines.map(({ total, category }) => ({ sku: 'x', quantity: 1, total: Math.abs(total), category })),
        }));
        for (const order of orders) {
          const { status, body } = await request('POST', '/v1/orders', {
            body: order,
            headers: { 'Idempotency-Key': fresh('key') },
          });
          if (status !== 201) throw new Error(JSON.stringify(body));
        }
        const stored = await storedOrders(customers.values());
        const period = { from: '2020-01-01T00:00:00Z', to: '2026-05-20T00:00:00Z' };
        const old: LoyaltyRules = { ...before, tiers };
        const { body } = await request('POST', `${programmes}/${id}/preview`, {
          body: { ...period, rules, population },
        });
        let current = 0;
        let changed = 0;
        let entitled = 0;
        let count = 0;
        const differences = new Map<string, number>();
        for (const order of stored) {
          const inPeriod =
            order.qualifying &&
            order.placedAt < '2026-05-20' &&
            (population === 'everyone' || order.placedAt >= '2024-06-15');
          if (!inPeriod) continue;
          count += 1;
          const known = rules.tiers?.levels.some(({ key }) => key === order.tier);
          const now_ =
            earns(old, order) && order.placedAt >= '2024-07-01'
              ? pointsOfOrder(old, order, order.tier ?? 'basic', 2)
              : 0;
          const then = earns(rules, order) ? pointsOfOrder(rules, order, known ? order.tier : 'basic', 2) : 0;
          current += now_;
          changed += then;
          entitled += order.entitled ?? 0;
          differences.set(order.customerId, (differences.get(order.customerId) ?? 0) + then - now_);
        }
        entitledAtAll += entitled;
        const others =
          population === 'everyone'
            ? await outside(customers, period, rules, old, id)
            : { current: 0, changed: 0, count: 0 };
        const gain = [...differences.values()].filter((one) => one > 0).length;
        const summary = [
          body.orders - others.count,
          body.current?.points - others.current,
          body.changed?.points - others.changed,
          body.entitled,
        ];
        if (JSON.stringify(summary) !== JSON.stringify([count, current, changed, entitled]))
          throw new Error(
            `${JSON.stringify(summary)} where ${JSON.stringify([count, current, changed, entitled])}: ${JSON.stringify(body).slice(0, 500)}`,
          );
        if (population === 'members' && (body.gain.customers !== gain || body.customers !== differences.size))
          throw new Error(`gain ${JSON.stringify(body.gain)}, ${gain}`);
        if (entitled !== current) throw new Error(`the ledger says ${entitled}, the preview ${current}`);
        for (const parts of [body.byMonth, body.byTier] as {
          orders: number;
          current: number;
          changed: number;
          difference: number;
        }[][]) {
          const sum = (['orders', 'current', 'changed', 'difference'] as const).map((member) =>
            parts.reduce((all, part) => all + part[member], 0),
          );
          if (
            JSON.stringify(sum) !==
            JSON.stringify([body.orders, body.current.points, body.changed.points, body.difference])
          )
            throw new Error(`parts ${sum}`);
        }
      },
    ),
    { numRuns: 10 },
  );
  t.ok(entitledAtAll > 0, `${entitledAtAll} points in the ledger`);
});

/** What all other orders of the database earn: their customers are no members of the programme. */
async function outside(
  customers: Map<number, string>,
  period: { from: string; to: string },
  rules: LoyaltyRules,
  old: LoyaltyRules,
  id: string,
) {
  const { rows } = await database.query(
    'select id from customers where not id = any($1::uuid[]) and id not in (select customer_id from loyalty_accounts where programme_id = $2)',
    [[...customers.values()], id],
  );
  const sum = { current: 0, changed: 0, count: 0 };
  for (const order of await storedOrders(rows.map((row) => row.id))) {
    if (!order.qualifying || order.placedAt < period.from || order.placedAt >= period.to) continue;
    sum.count += 1;
    if (earns(old, order) && order.placedAt >= '2024-07-01') sum.current += pointsOfOrder(old, order, 'basic', 2);
    if (earns(rules, order)) sum.changed += pointsOfOrder(rules, order, 'basic', 2);
  }
  return sum;
}

t.test('a preview of too many orders is refused', async (t) => {
  const id = await published();
  const customers = await push([{ customer: 1 }]);
  await database.query(
    `insert into orders (customer_id, id, version, source, external_id, placed_at, currency, total, discount, shipping, fees, tax, tax_included, rounding, payment_status, fulfillment_status, test, exchange_rate, base_factor, refunds, refunded, created_at, updated_at)
     select $1, gen_random_uuid(), 1, 'x', n::text, '2001-01-01', 'EUR', 100, 0, 0, 0, 0, true, 0, 'paid', 'unfulfilled', false, 1, 1, 0, 0, '2001-01-01', '2001-01-01' from generate_series(1, 200001) n`,
    [customers.get(1)],
  );
  const body = { from: '2001-01-01T00:00:00Z', to: '2001-01-02T00:00:00Z', population: 'everyone' };
  const at = `${programmes}/${id}/preview`;
  t.match(await request('POST', at, { body }), { status: 422, body: { code: 'too_many_orders', limit: 200_000 } });
});
