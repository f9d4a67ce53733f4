import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { addDays } from '../../../src/domain/period.ts';
import { ledgerDifferences } from '../../../src/features/loyalty/comparison.ts';
import { recomputeRewards, rewardDifferences } from '../../../src/features/rewards/comparison.ts';
import { openPool, poolDb, transaction } from '../../../src/platform/db/client.ts';
import { testApp } from '../../support/app.ts';
import { allPages, fresh, newKey, orderOf } from '../../support/shop.ts';

const start = '2026-06-01T12:00:00.000Z';
let now = start;
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());
const pool = openPool(api.connection, { size: 2, statementTimeout: 30_000 });
t.teardown(() => pool.end());

const rewardsAt = '/v1/loyalty/rewards';
const redemptionsAt = '/v1/loyalty/redemptions';
const any = { 'If-Match': '*' };
const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);
const days = (count: number) => addDays(start, count);

t.afterEach(async () => {
  now = start;
  const db = poolDb(pool);
  const wrong = [...(await rewardDifferences(db, 20)), ...(await ledgerDifferences(db, 20))];
  if (wrong.length > 0) throw new Error(`What is stored is not what the facts say: ${JSON.stringify(wrong)}`);
});

async function expect(status: number, method: string, path: string, body?: unknown, headers = newKey()) {
  const answer = await request(method, path, { headers, ...(body !== undefined && { body }) });
  if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}
const post = (path: string, body?: unknown, status = 201) => expect(status, 'POST', path, body);

const levels = [
  { key: 'basic', name: 'Basic', threshold: 0, multiplier: 1 },
  { key: 'silver', name: 'Silver', threshold: 10_000, multiplier: 1 },
  { key: 'gold', name: 'Gold', threshold: 50_000, multiplier: 1 },
];
const tiers = { basis: 'spend', windowDays: 365, periodDays: 365, graceDays: 30, levels };

async function programme(rules: object = {}): Promise<string> {
  const { id } = await post('/v1/loyalty/programmes', {
    name: fresh('Club'),
    rules: { pointsPerUnit: 1, pointValue: 0.5, ...rules },
  });
  await expect(200, 'POST', `/v1/loyalty/programmes/${id}/publish`, { validFrom: '2020-01-01T00:00:00Z' }, any);
  return id;
}
const customer = async (members: object = {}): Promise<string> =>
  (await post('/v1/customers', { name: fresh('Ada'), ...members })).id;
async function member(programmeId: string, points = 0): Promise<string> {
  const id = await customer();
  await post(`/v1/customers/${id}/loyalty`, { programmeId, joinedAt: '2026-01-01T00:00:00Z' });
  if (points > 0) await give(id, points);
  return id;
}
const give = (customerId: string, points: number, expiresAt: string | null = null) =>
  post('/v1/loyalty/transactions', { kind: 'adjust', customerId, points, reason: 'a gift', expiresAt });
const reward = async (programmeId: string, members: object = {}) =>
  post(rewardsAt, { programmeId, name: fresh('Can'), points: 100, ...members });
const redeem = (body: object, headers = newKey()) => request('POST', redemptionsAt, { body, headers });
const redeemed = async (customerId: string, rewardId: string, quantity = 1) =>
  post(redemptionsAt, { customerId, rewardId, quantity });
const cancel = (id: string, body?: object) =>
  request('POST', `${redemptionsAt}/${id}/cancel`, { headers: newKey(), ...(body && { body }) });
const fulfil = (id: string) => request('POST', `${redemptionsAt}/${id}/fulfil`, { headers: newKey() });
const read = (id: string, query = '') => expect(200, 'GET', `${rewardsAt}/${id}?${query}`);
const balance = async (customerId: string) => {
  const { active, pending, debt } = await expect(200, 'GET', `/v1/customers/${customerId}/loyalty`);
  return { active, pending, debt };
};

const club = await programme({ tiers });
const otherClub = await programme();

t.test(
  'the catalogue: what is written is read, changed under its version, and deleted while nobody has it',
  async (t) => {
    const made = await reward(club, {
      name: 'Watering can',
      description: 'Galvanised',
      points: 250,
      stock: 10,
      limitPerCustomer: 2,
      tier: 'silver',
      availableFrom: days(-1),
      availableTo: days(1),
    });
    const { created, ...stored } = made;
    t.equal(created, true);
    t.match(stored, { redeemed: 0, left: 10, available: true, forCustomer: null, version: 1, createdAt: start });
    t.strictSame(await read(made.id), stored);
    const unlimited = await reward(club);
    t.match(unlimited, { stock: null, left: null, limitPerCustomer: null, tier: null, available: true });

    const path = `${rewardsAt}/${made.id}`;
    t.equal((await request('PATCH', path, { body: { points: 1 } })).status, 428);
    t.equal((await request('PATCH', path, { body: { points: 1 }, headers: { 'If-Match': '"7"' } })).status, 412);
    const changed = await expect(200, 'PATCH', path, { points: 300, description: null, stock: null }, any);
    t.match(changed, { points: 300, description: null, stock: null, left: null, tier: 'silver', version: 2 });
    t.equal((await request('DELETE', path, { headers: any })).status, 204);
    t.equal((await request('GET', path)).status, 404);

    for (const [members, fault] of [
      [{ programmeId: randomUUID() }, '/programmeId unknown_programme'],
      [{ tier: 'platinum' }, '/tier unknown_tier'],
      [{ availableFrom: days(1), availableTo: days(1) }, '/availableTo not_after_from'],
      [{ points: 0 }, '/points too_small'],
      [{ points: 1.5 }, '/points invalid_type'],
      [{ stock: -1 }, '/stock too_small'],
      [{ limitPerCustomer: 0 }, '/limitPerCustomer too_small'],
    ] as const) {
      const refused = await request('POST', rewardsAt, {
        body: { programmeId: club, name: 'x', points: 1, ...members },
      });
      t.equal(refused.status, 422);
      t.same(codes(refused.body), [fault]);
    }
    const programmeGone = await request('PATCH', path, { body: { name: 'x' }, headers: any });
    t.equal(programmeGone.status, 404);

    // A level of the draft will be there when the rewards are wanted.
    const { id: draft } = await post('/v1/loyalty/programmes', {
      name: 'x',
      rules: { pointsPerUnit: 1, pointValue: 1, tiers },
    });
    t.equal((await reward(draft, { tier: 'gold' })).tier, 'gold');
    const kept = await request('DELETE', `/v1/loyalty/programmes/${draft}`, { headers: any });
    t.match(kept, { status: 409, body: { code: 'programme_has_rewards' } });
  },
);

t.test('every member that is changed is stored as it was answered', async (t) => {
  const { id } = await reward(club);
  const members = {
    name: 'Trowel',
    description: 'Beech and steel',
    points: 70,
    stock: 8,
    limitPerCustomer: 3,
    tier: 'silver',
    availableFrom: days(-2),
    availableTo: days(2),
  };
  const { created, ...answered } = await expect(200, 'PATCH', `${rewardsAt}/${id}`, members, any);
  t.equal(created, false);
  t.match(answered, { ...members, version: 2 });
  t.strictSame(await read(id), answered);

  const holder = await member(club, 500);
  const can = await reward(club);
  const one = (await redeem({ customerId: holder, rewardId: can.id })).body;
  for (const act of [() => fulfil(one.id), () => cancel(one.id, { reason: 'broken' })]) {
    const { created: isNew, ...document } = (await act()).body;
    t.equal(isNew, false);
    t.strictSame(await expect(200, 'GET', `${redemptionsAt}/${one.id}`), document);
  }
});

t.test('points and stock go and come back together, through the ledger', async (t) => {
  const id = await member(club);
  await give(id, 120, days(10));
  await give(id, 200, days(90));
  const can = await reward(club, { points: 100, stock: 5 });
  const key = newKey();
  const first = await redeem({ customerId: id, rewardId: can.id, quantity: 2 }, key);
  t.equal(first.status, 201);
  t.match(first.body, {
    customerId: id,
    rewardId: can.id,
    quantity: 2,
    points: 200,
    status: 'redeemed',
    redeemedAt: start,
    fulfilledAt: null,
    cancelledAt: null,
    reason: null,
    version: 1,
  });
  t.equal(first.headers.get('location'), `${redemptionsAt}/${first.body.id}`);
  const replayed = await redeem({ customerId: id, rewardId: can.id, quantity: 2 }, key);
  t.equal(replayed.headers.get('idempotency-replayed'), 'true');
  t.strictSame(replayed.body, first.body);
  const { created: _, ...stored } = first.body;
  t.strictSame(await expect(200, 'GET', `${redemptionsAt}/${stored.id}`), stored);
  t.same(await balance(id), { active: 120, pending: 0, debt: 0 });
  t.match(await read(can.id), { redeemed: 2, left: 3, version: 1 }, 'no change of the record');
  const paid = await expect(200, 'GET', `/v1/loyalty/transactions/${stored.transactionId}`);
  t.match(paid, { kind: 'redeem', points: -200, redemptionId: stored.id, orderId: null, by: 'test' });
  t.same(
    paid.entries.map((entry: { points: number }) => entry.points),
    [-120, -80],
    'first what expires first',
  );

  const undone = await request('POST', `/v1/loyalty/transactions/${paid.id}/undo`, { headers: newKey() });
  t.match(undone, { status: 409, body: { code: 'not_undoable', redemptionId: stored.id } });

  const done = await fulfil(stored.id);
  t.match(done, { status: 200, body: { status: 'fulfilled', fulfilledAt: start, version: 2 } });
  t.match(await fulfil(stored.id), { status: 409, body: { code: 'redemption_fulfilled' } });
  now = days(1);
  const back = await cancel(stored.id, { reason: 'arrived broken' });
  t.match(back, {
    status: 200,
    body: { status: 'cancelled', fulfilledAt: start, cancelledAt: now, reason: 'arrived broken', version: 3 },
  });
  t.match(await cancel(stored.id), { status: 409, body: { code: 'redemption_cancelled' } });
  t.match(await fulfil(stored.id), { status: 409, body: { code: 'redemption_cancelled' } });
  t.same(await balance(id), { active: 320, pending: 0, debt: 0 });
  t.match(await read(can.id), { redeemed: 0, left: 5 });
  const [returned] = (await expect(200, 'GET', `/v1/customers/${id}/loyalty/transactions?kind=return`)).data;
  t.match(returned, { points: 200, relatedId: paid.id, redemptionId: stored.id, reason: 'arrived broken' });
  const { details } = await expect(200, 'GET', `/v1/customers/${id}/loyalty?details=true`);
  t.same(
    details.lots.map((lot: { remaining: number; expiresAt: string }) => [lot.remaining, lot.expiresAt]),
    [
      [120, addDays(now, 30)],
      [120, days(90)],
      [80, days(90)],
    ],
    'what would have expired soon can be spent for 30 days',
  );

  const stale = await request('POST', `${redemptionsAt}/${(await redeemed(id, can.id)).id}/cancel`, {
    headers: { ...newKey(), 'If-Match': '"9"' },
  });
  t.equal(stale.status, 412);
  t.equal((await cancel(randomUUID())).status, 404);
  t.equal((await fulfil(randomUUID())).status, 404);
});

t.test('what stands in the way is told by code and place, and before as well', async (t) => {
  const poor = await member(club, 150);
  const nobody = await customer();
  const elsewhere = await member(otherClub, 1000);
  const can = await reward(club, { stock: 10, limitPerCustomer: 4 });
  const cases: [object, object | null, string[], object][] = [
    [{ customerId: nobody, rewardId: can.id }, null, ['/customerId not_a_member'], { code: 'invalid_input' }],
    [{ customerId: randomUUID(), rewardId: can.id }, null, ['/customerId not_a_member'], { code: 'invalid_input' }],
    [{ customerId: elsewhere, rewardId: can.id }, null, ['/rewardId other_programme'], { code: 'invalid_input' }],
    [{ customerId: poor, rewardId: randomUUID() }, null, ['/rewardId not_found'], { code: 'invalid_input' }],
    [{ rewardId: can.id }, null, ['/customerId customer_required'], { code: 'customer_required' }],
    [
      { customerId: poor, customer: { source: 'shop', externalId: '1' }, rewardId: can.id },
      null,
      ['/customerId customer_required'],
      { code: 'customer_required' },
    ],
    [
      { customer: { source: 'shop', externalId: 'nobody' }, rewardId: can.id },
      null,
      ['/customer not_a_member'],
      { code: 'invalid_input' },
    ],
    [
      { customerId: poor, rewardId: can.id, quantity: 2 },
      null,
      ['/quantity insufficient_points'],
      { code: 'insufficient_points', available: 150 },
    ],
    [{ customerId: poor, rewardId: can.id, quantity: 0 }, null, ['/quantity too_small'], { code: 'invalid_input' }],
    [
      { customerId: poor, rewardId: can.id, quantity: 11 },
      null,
      ['/quantity limit_reached', '/quantity out_of_stock', '/quantity insufficient_points'],
      { code: 'limit_reached', left: 4 },
    ],
    [
      { customerId: poor },
      { tier: 'silver' },
      ['/customerId tier_required'],
      { code: 'tier_required', tier: 'silver' },
    ],
    [{ customerId: poor }, { availableFrom: days(1) }, ['/rewardId not_available'], { code: 'not_available' }],
    [{ customerId: poor }, { availableTo: start }, ['/rewardId not_available'], { code: 'not_available' }],
    [{ customerId: poor }, { stock: 0 }, ['/quantity out_of_stock'], { code: 'out_of_stock', left: 0 }],
    [
      { customerId: poor },
      { availableTo: start, tier: 'gold', stock: 0, points: 151 },
      [
        '/rewardId not_available',
        '/customerId tier_required',
        '/quantity out_of_stock',
        '/quantity insufficient_points',
      ],
      { code: 'not_available' },
    ],
  ];
  for (const [body, members, faults, problem] of cases) {
    const made = members && (await reward(club, members));
    const refused = await redeem({ ...(made && { rewardId: made.id }), ...body });
    t.match(refused, { status: 422, body: problem }, JSON.stringify(refused.body));
    t.same(codes(refused.body), faults);
    if (!made) continue;
    const { forCustomer } = await read(made.id, `customerId=${poor}`);
    t.match(forCustomer, { customerId: poor, redeemed: 0, redeemable: false });
    t.same(
      forCustomer.refusals.map(({ code }: { code: string }) => code),
      faults.map((fault) => fault.split(' ')[1]),
    );
  }
  t.match((await read(can.id, `customerId=${nobody}`)).forCustomer.refusals, [{ code: 'not_a_member' }]);
  t.match((await read(can.id, `customerId=${elsewhere}`)).forCustomer.refusals, [{ code: 'other_programme' }]);
  t.strictSame((await read(can.id, `customerId=${poor}`)).forCustomer, {
    customerId: poor,
    redeemed: 0,
    redeemable: true,
    refusals: [],
  });
  t.match(
    await request('POST', redemptionsAt, { body: { customerId: poor, rewardId: can.id } }),
    { status: 400, body: { code: 'idempotency_key_required' } },
    'no key',
  );
  t.same(await balance(poor), { active: 150, pending: 0, debt: 0 }, 'nothing was taken');
});

t.test('levels, dates and expiry count as they are at the moment', async (t) => {
  const id = await member(club);
  await give(id, 100, days(5));
  const can = await reward(club, { tier: 'silver', availableFrom: days(1), availableTo: days(9) });
  const refusals = async () => (await read(can.id, `customerId=${id}`)).forCustomer.refusals.map((r: any) => r.code);
  t.same(await refusals(), ['not_available', 'tier_required']);
  t.equal(
    (
      await request('POST', '/v1/orders', {
        body: orderOf({ customerId: id, total: 20_000, placedAt: start }),
        headers: newKey(),
      })
    ).status,
    201,
  );
  t.same(await refusals(), ['not_available'], 'up at once');
  now = days(1);
  t.same(await refusals(), []);
  now = days(5);
  // 100 of the gift have expired though no job ran; the order has brought 200.
  t.equal((await redeem({ customerId: id, rewardId: can.id, quantity: 3 })).body.available, 200);
  now = days(9);
  t.same(await refusals(), ['not_available']);
  t.equal((await read(can.id)).available, false);
  const list = async (query: string) =>
    (await allPages(api, `${rewardsAt}?programmeId=${club}&${query}`)).map((one) => one.id).includes(can.id);
  t.same([await list('available=true'), await list('available=false')], [false, true]);
  now = days(2);
  t.same([await list('available=true'), await list('available=false')], [true, false]);

  // Half a year later the level is held still, a year later it is lost without a job.
  now = days(364);
  await expect(200, 'PATCH', `${rewardsAt}/${can.id}`, { availableTo: null }, any);
  t.same(await refusals(), []);
  now = days(365 + 30);
  t.same(await refusals(), ['tier_required']);
  t.match(await redeem({ customerId: id, rewardId: can.id }), { status: 422, body: { code: 'tier_required' } });

  // Who has points may spend them when the programme has ended.
  const ending = await programme();
  const last = await member(ending, 100);
  const cup = await reward(ending);
  await expect(200, 'POST', `/v1/loyalty/programmes/${ending}/end`, undefined, any);
  const taken = await redeemed(last, cup.id);
  t.equal((await cancel(taken.id)).status, 200);
  t.same(await balance(last), { active: 100, pending: 0, debt: 0 });
});

t.test('lists, in the order asked for, with what they filter', async (t) => {
  const own = await programme();
  const id = await member(own, 250);
  const made = [];
  for (const points of [300, 100, 200]) made.push(await reward(own, { points, limitPerCustomer: 1 }));
  const [dear, cheap, middle] = made.map((one) => one.id);
  const ids = async (query: string) =>
    (await allPages(api, `${rewardsAt}?programmeId=${own}&limit=2&${query}`)).map((one) => one.id);
  t.same(await ids('sort=points'), [cheap, middle, dear]);
  t.same(await ids('sort=-createdAt'), [middle, cheap, dear].sort().reverse());
  const first = await redeemed(id, cheap ?? '');
  now = days(1);
  const asked = await allPages(api, `${rewardsAt}?programmeId=${own}&sort=points&customerId=${id}`);
  t.same(
    asked.map(({ forCustomer }) => [
      forCustomer.redeemed,
      forCustomer.redeemable,
      forCustomer.refusals.map((r: any) => r.code),
    ]),
    [
      [1, false, ['limit_reached']],
      [0, false, ['insufficient_points']],
      [0, false, ['insufficient_points']],
    ],
  );
  await give(id, 500);
  const second = await redeemed(id, dear ?? '');
  await cancel(first.id);
  const found = async (query: string) =>
    (await allPages(api, `${redemptionsAt}?limit=1&${query}`)).map((one) => one.id);
  t.same(await found(`customerId=${id}`), [second.id, first.id]);
  t.same(await found(`customerId=${id}&sort=createdAt`), [first.id, second.id]);
  t.same(await found(`rewardId=${cheap}`), [first.id]);
  t.same(await found(`customerId=${id}&status=cancelled`), [first.id]);
  t.same(await found(`customerId=${id}&createdFrom=${days(1)}`), [second.id]);
  t.same(await found(`customerId=${id}&createdTo=${days(1)}`), [first.id]);
  t.same(
    (await allPages(api, `/v1/customers/${id}/redemptions?limit=1`)).map((one) => one.id),
    [second.id, first.id],
  );
  t.equal((await request('GET', `/v1/customers/${randomUUID()}/redemptions`)).status, 404);
  t.strictSame((await request('GET', `/v1/customers/${await customer()}/redemptions`)).body.data, []);
  const plain = await request('GET', `${redemptionsAt}/${first.id}`, { scope: 'loyalty:read' });
  t.equal(plain.body.reason, null, 'words are personal');
});

t.test('a dry run answers as if and writes nothing; scopes are asked for', async (t) => {
  const id = await member(club, 500);
  const can = await reward(club, { stock: 5 });
  const dry = await request('POST', `${redemptionsAt}?dryRun=true`, { body: { customerId: id, rewardId: can.id } });
  t.match(dry, { status: 201, body: { points: 100, status: 'redeemed' } });
  t.equal((await request('GET', `${redemptionsAt}/${dry.body.id}`)).status, 404);
  const real = await redeemed(id, can.id);
  for (const what of ['cancel', 'fulfil']) {
    t.equal((await request('POST', `${redemptionsAt}/${real.id}/${what}?dryRun=true`)).status, 200);
  }
  t.match(await expect(200, 'GET', `${redemptionsAt}/${real.id}`), { status: 'redeemed', version: 1 });
  t.same(await balance(id), { active: 400, pending: 0, debt: 0 });
  t.match(await read(can.id), { redeemed: 1, left: 4 });
  const refused = await request('POST', `${redemptionsAt}?dryRun=true`, {
    body: { customerId: id, rewardId: can.id, quantity: 5 },
  });
  t.match(refused, { status: 422, body: { code: 'out_of_stock', left: 4 } });

  t.match(await request('PATCH', `${rewardsAt}/${can.id}`, { body: { stock: 0 }, headers: any }), { status: 422 });
  const below = await request('PATCH', `${rewardsAt}/${can.id}`, { body: { stock: 0 }, headers: any });
  t.same(codes(below.body), ['/stock below_redeemed']);
  t.match(await expect(200, 'PATCH', `${rewardsAt}/${can.id}`, { stock: 1 }, any), { left: 0, available: false });
  const kept = await request('DELETE', `${rewardsAt}/${can.id}`, { headers: any });
  t.match(kept, { status: 409, body: { code: 'reward_has_redemptions' } });

  for (const [method, path, scope] of [
    ['GET', rewardsAt, 'loyalty:read'],
    ['POST', rewardsAt, 'loyalty-programmes:write'],
    ['PATCH', `${rewardsAt}/${can.id}`, 'loyalty-programmes:write'],
    ['DELETE', `${rewardsAt}/${can.id}`, 'loyalty-programmes:write'],
    ['POST', redemptionsAt, 'loyalty:write'],
    ['POST', `${redemptionsAt}/${real.id}/cancel`, 'loyalty:write'],
    ['POST', `${redemptionsAt}/${real.id}/fulfil`, 'loyalty:write'],
    ['GET', `${redemptionsAt}/${real.id}`, 'loyalty:read'],
    ['GET', `/v1/customers/${id}/redemptions`, 'loyalty:read'],
  ] as const) {
    t.match(
      await request(method, path, { scope: 'customers:read' }),
      { status: 403, body: { scope } },
      `${method} ${path}`,
    );
  }
});

t.test('GraphQL does the same', async (t) => {
  const id = await customer({ references: [{ source: 'shop', externalId: 'grace' }] });
  await post(`/v1/customers/${id}/loyalty`, { programmeId: club });
  await give(id, 300);
  const run = async (document: string, variables: object = {}) => {
    const { body } = await graphql(document, variables as Record<string, unknown>);
    if (body.errors) throw new Error(JSON.stringify(body.errors));
    return body.data;
  };
  const { createReward } = await run(
    'mutation ($input: RewardInput!) { createReward(input: $input) { reward { id left programme { id } } created } }',
    { input: { programmeId: club, name: 'Cup', points: 100, stock: 3 } },
  );
  t.match(createReward, { reward: { left: 3, programme: { id: club } }, created: true });
  const rewardId = createReward.reward.id;
  await run(
    'mutation ($id: ID!) { updateReward(id: $id, expectedVersion: 1, input: { limitPerCustomer: 2 }) { reward { version } } }',
    { id: rewardId },
  );
  const document = `mutation ($input: RedemptionInput!) { createRedemption(idempotencyKey: "graphql-1", input: $input) {
    redemption { id points status customer { id } reward { id redeemed } } created replayed } }`;
  const input = { customer: { source: 'shop', externalId: 'grace' }, rewardId, quantity: 2 };
  const { createRedemption } = await run(document, { input });
  t.match(createRedemption, {
    redemption: { points: 200, status: 'REDEEMED', customer: { id }, reward: { id: rewardId, redeemed: 2 } },
    created: true,
    replayed: false,
  });
  t.equal((await run(document, { input })).createRedemption.replayed, true);
  const seen = await run(
    `query ($id: ID!, $rewardId: ID!) {
      reward(id: $rewardId, customerId: $id) { forCustomer { redeemed redeemable refusals { code } } }
      rewards(first: 100, available: true, customerId: $id) { nodes { id forCustomer { redeemable } } }
      redemptions(customerId: $id) { totalCount nodes { id } }
      customer(id: $id) { redemptions { id quantity } } }`,
    { id, rewardId },
  );
  t.strictSame(seen.reward.forCustomer, {
    redeemed: 2,
    redeemable: false,
    refusals: [{ code: 'LIMIT_REACHED' }],
  });
  t.same(seen.redemptions.totalCount, 1);
  const redemptionId = createRedemption.redemption.id;
  t.same(seen.customer.redemptions, [{ id: redemptionId, quantity: 2 }]);
  t.ok(seen.rewards.nodes.some((one: { id: string }) => one.id === rewardId));
  const refused = await graphql(document.replace('graphql-1', 'graphql-2'), { input });
  t.match(refused.body.errors, [
    {
      extensions: {
        code: 'limit_reached',
        left: 0,
        errors: [{ pointer: '/quantity' }, { pointer: '/quantity' }, { pointer: '/quantity' }],
      },
    },
  ]);
  t.match(
    await run('mutation ($id: ID!) { fulfilRedemption(id: $id) { redemption { status } } }', { id: redemptionId }),
    {
      fulfilRedemption: { redemption: { status: 'FULFILLED' } },
    },
  );
  t.match(
    await run(
      'mutation ($id: ID!) { cancelRedemption(id: $id, input: { reason: "broken" }) { redemption { status reason } } }',
      {
        id: redemptionId,
      },
    ),
    { cancelRedemption: { redemption: { status: 'CANCELLED', reason: 'broken' } } },
  );
  t.same(await balance(id), { active: 300, pending: 0, debt: 0 });
});

t.test('the single view has points, tier and the way to the next one, as they are at the moment', async (t) => {
  const strict = await programme({ tiers, pendingDays: 14, expiryDays: 200 });
  const id = await member(strict);
  const bare = await customer();
  const outside = await expect(200, 'GET', `/v1/customers/${bare}/summary`);
  t.equal(outside.loyalty, null);
  const ordered = await request('POST', '/v1/orders', {
    body: orderOf({ customerId: id, total: 20_000, placedAt: start }),
    headers: newKey(),
  });
  t.equal(ordered.status, 201);
  await give(id, 30);
  const seen = async () => (await expect(200, 'GET', `/v1/customers/${id}/summary`)).loyalty;
  const narrow = await request('GET', `/v1/customers/${id}/summary`, { scope: 'customers:read' });
  t.strictSame([narrow.status, narrow.body.loyalty], [200, null], 'points need the scope of points');
  t.strictSame(await seen(), {
    programmeId: strict,
    joinedAt: '2026-01-01T00:00:00.000Z',
    tier: 'silver',
    tierSince: start,
    tierEndsAt: days(365),
    tierInGrace: false,
    active: 30,
    pending: 200,
    debt: 0,
    progress: {
      basis: 'spend',
      windowDays: 365,
      amount: 20_000,
      next: { key: 'gold', name: 'Gold', threshold: 50_000, missing: 30_000 },
      missingToKeep: 10_000,
    },
  });
  // Without a job: active after 14 days, expired after 200, in grace and then down.
  for (const [day, active, pending, tier, tierInGrace] of [
    [13, 30, 200, 'silver', false],
    [14, 230, 0, 'silver', false],
    [200, 30, 0, 'silver', false],
    [365, 30, 0, 'silver', true],
    [395, 30, 0, 'basic', false],
  ] as const) {
    now = days(day);
    const { progress, ...standing } = await seen();
    t.match(standing, { active, pending, tier, tierInGrace }, `day ${day}`);
    const { details, ...own } = await expect(200, 'GET', `/v1/customers/${id}/loyalty?details=true`);
    t.match(own, standing);
    t.strictSame(progress, details.progress);
  }
  const { body } = await graphql(
    `query ($id: ID!, $bare: ID!) {
      member: customer(id: $id) { summary { loyalty { tier active progress { next { key missing } missingToKeep } } } loyalty { active } }
      bare: customer(id: $bare) { summary { loyalty { tier } } loyalty { active } } }`,
    { id, bare },
  );
  const next = { key: 'silver', missing: 10_000 };
  t.strictSame(body.data, {
    member: {
      summary: { loyalty: { tier: 'basic', active: 30, progress: { next, missingToKeep: null } } },
      loyalty: { active: 30 },
    },
    bare: { summary: { loyalty: null }, loyalty: null },
  });
});

t.test(
  'sixteen clients at a time have the last pieces between them, and no customer more than the limit',
  async (t) => {
    const members = await Promise.all(Array.from({ length: 8 }, () => member(club, 1000)));
    const last = await reward(club, { stock: 3, points: 10 });
    const rush = await Promise.all(
      Array.from({ length: 16 }, (_, n) => redeem({ customerId: members[n % 8], rewardId: last.id })),
    );
    t.equal(rush.filter(({ status }) => status === 201).length, 3);
    for (const { status, body } of rush) if (status !== 201) t.match(body, { code: 'out_of_stock', left: 0 });
    t.match(await read(last.id), { redeemed: 3, left: 0, available: false });

    const limited = await reward(club, { limitPerCustomer: 3, points: 10 });
    const [greedy = ''] = members;
    const before = (await balance(greedy)).active;
    const tries = await Promise.all(
      Array.from({ length: 16 }, (_, n) => redeem({ customerId: greedy, rewardId: limited.id, quantity: 1 + (n % 2) })),
    );
    const had = tries.filter(({ status }) => status === 201).reduce((sum, { body }) => sum + body.quantity, 0);
    t.ok(had === 3 || had === 2, `${had} pieces`);
    t.equal((await balance(greedy)).active, before - 10 * had);
    t.equal((await read(limited.id)).redeemed, had);

    const bought = await redeemed(members[1] ?? '', limited.id);
    const undone = await Promise.all(Array.from({ length: 8 }, () => cancel(bought.id)));
    t.same(undone.map(({ status }) => status).sort(), [200, ...Array.from({ length: 7 }, () => 409)]);
  },
);

t.test(
  'redeemed, spent, cancelled, deleted and restocked at once: ledger, stock and limits agree with a recompute',
  async () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant('redeem' as const),
          who: fc.nat(2),
          what: fc.nat(2),
          quantity: fc.integer({ min: 1, max: 3 }),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('spend' as const),
          who: fc.nat(2),
          points: fc.integer({ min: 1, max: 150 }),
        }),
      },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('cancel' as const), which: fc.nat(99) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('fulfil' as const), which: fc.nat(99) }) },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('restock' as const), what: fc.nat(2), stock: fc.nat(12) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('remove' as const), what: fc.nat(2) }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant('order' as const),
          who: fc.nat(2),
          total: fc.integer({ min: 100, max: 9000 }),
        }),
      },
    );
    type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(step, { minLength: 4, maxLength: 16 }), { minLength: 1, maxLength: 4 }),
        async (rounds) => {
          const own = await programme();
          const members = await Promise.all([member(own, 600), member(own, 300), member(own, 50)]);
          const rewards = await Promise.all([
            reward(own, { points: 40, stock: 4, limitPerCustomer: 3 }),
            reward(own, { points: 70, stock: 6 }),
            reward(own, { points: 10, limitPerCustomer: 5 }),
          ]);
          const made: string[] = [];
          const allowed = new Set([200, 201, 204, 404, 409, 422]);
          const act = async (one: Step) => {
            const answer = await doStep(one);
            if (!allowed.has(answer.status))
              throw new Error(`${JSON.stringify(one)}: ${answer.status} ${JSON.stringify(answer.body)}`);
            if (one.kind === 'redeem' && answer.status === 201) made.push(answer.body.id);
          };
          const doStep = (one: Step) => {
            const customerId = 'who' in one ? members[one.who] : undefined;
            const path = 'what' in one ? `${rewardsAt}/${rewards[one.what].id}` : '';
            switch (one.kind) {
              case 'redeem':
                return redeem({ customerId, rewardId: rewards[one.what].id, quantity: one.quantity });
              case 'spend':
                return request('POST', '/v1/loyalty/transactions', {
                  body: { kind: 'spend', customerId, points: one.points },
                  headers: newKey(),
                });
              case 'cancel':
                return cancel(made[one.which % Math.max(1, made.length)] ?? randomUUID());
              case 'fulfil':
                return fulfil(made[one.which % Math.max(1, made.length)] ?? randomUUID());
              case 'restock':
                return request('PATCH', path, { body: { stock: one.stock }, headers: any });
              case 'remove':
                return request('DELETE', path, { headers: any });
              case 'order':
                return request('POST', '/v1/orders', {
                  body: orderOf({ customerId, total: one.total, placedAt: start }),
                  headers: newKey(),
                });
            }
          };
          for (const round of rounds) await Promise.all(round.map(act));
          const db = poolDb(pool);
          const wrong = [...(await rewardDifferences(db, 20)), ...(await ledgerDifferences(db, 20))];
          if (wrong.length > 0) throw new Error(JSON.stringify(wrong));
          for (const { id, limitPerCustomer } of rewards) {
            const { status, body } = await request('GET', `${rewardsAt}/${id}`);
            const taken = await allPages(api, `${redemptionsAt}?rewardId=${id}`);
            if (status === 404) {
              if (taken.length > 0) throw new Error('a reward went with its redemptions');
              continue;
            }
            const standing = taken.filter((one) => one.status !== 'cancelled');
            if (body.stock !== null && body.redeemed > body.stock) throw new Error(`oversold: ${JSON.stringify(body)}`);
            for (const customerId of members) {
              const has = standing
                .filter((one) => one.customerId === customerId)
                .reduce((sum, one) => sum + one.quantity, 0);
              if (limitPerCustomer !== null && has > limitPerCustomer) throw new Error(`${has} of ${limitPerCustomer}`);
            }
          }
          for (const customerId of members) {
            const moved = await allPages(api, `/v1/customers/${customerId}/loyalty/transactions?limit=100`);
            const { active } = await balance(customerId);
            if (active < 0 || active !== moved.reduce((sum, one) => sum + one.points, 0))
              throw new Error(`${customerId} has ${active}`);
          }
        },
      ),
      { numRuns: 8 },
    );
  },
);

t.test('a counter that is wrong is found, and counted anew', async (t) => {
  const id = await member(club, 500);
  const can = await reward(club, { stock: 9 });
  await redeemed(id, can.id, 2);
  await database.query('update rewards set redeemed = 7 where id = $1', [can.id]);
  t.match(await rewardDifferences(poolDb(pool), 5), [{ table: 'rewards', key: can.id, stored: '7', counted: '2' }]);
  let after: string | null = '00000000-0000-0000-0000-000000000000';
  while (after !== null) {
    const from: string = after;
    after = await transaction(pool, (tx) => recomputeRewards(tx, from));
  }
  t.equal((await read(can.id)).redeemed, 2);
});
