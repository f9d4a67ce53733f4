import { randomUUID } from 'node:crypto';
import pg from 'pg';
import t from 'tap';
import { addDays } from '../../../src/domain/period.ts';
import { ledgerDifferences, recomputeLedger } from '../../../src/features/loyalty/comparison.ts';
import { settleLoyalty } from '../../../src/features/loyalty/settle.ts';
import { openPool, poolDb, transaction } from '../../../src/platform/db/client.ts';
import { testApp } from '../../support/app.ts';
import { allPages, fresh, newKey, orderOf, pushOrder } from '../../support/shop.ts';

const start = '2026-06-01T12:00:00.000Z';
let now = start;

/** A service on a database of its own, and what a shop does with its members. */
async function club(harness: Parameters<typeof testApp>[0]) {
  const api = await testApp(harness, { clock: () => now });
  const { request } = api;
  const pool = openPool(api.connection, { size: 2, statementTimeout: 30_000 });
  harness.teardown(() => pool.end());
  const expect = async (status: number, method: string, path: string, body?: unknown, headers = newKey()) => {
    const answer = await request(method, path, { headers, ...(body !== undefined && { body }) });
    if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const post = (path: string, body?: unknown, status = 201) => expect(status, 'POST', path, body);
  return {
    api,
    pool,
    expect,
    post,
    /** A published programme; `rules` on top of a point per euro, active at once, for ever. */
    async programme(rules: object = {}): Promise<string> {
      const made = await post('/v1/loyalty/programmes', {
        name: fresh('Club'),
        rules: { pointsPerUnit: 1, pointValue: 0.5, ...rules },
      });
      const any = { 'If-Match': '*' };
      await expect(
        200,
        'POST',
        `/v1/loyalty/programmes/${made.id}/publish`,
        { validFrom: '2020-01-01T00:00:00Z' },
        any,
      );
      return made.id;
    },
    async customer(): Promise<string> {
      return (await post('/v1/customers', { name: fresh('Ada') })).id;
    },
    async member(programmeId: string, joinedAt = '2026-01-01T00:00:00Z'): Promise<string> {
      const id = await this.customer();
      await post(`/v1/customers/${id}/loyalty`, { programmeId, joinedAt });
      return id;
    },
    /** Credits points by hand. */
    async give(customerId: string, points: number, expiresAt: string | null = null) {
      return post('/v1/loyalty/transactions', { kind: 'adjust', customerId, points, reason: 'a gift', expiresAt });
    },
    async spend(customerId: string, points: number) {
      return post('/v1/loyalty/transactions', { kind: 'spend', customerId, points });
    },
    async order(customerId: string, euros: number, members: object = {}) {
      const { status, body } = await pushOrder(api, { customerId, total: euros * 100, placedAt: now, ...members });
      if (status !== 201) throw new Error(JSON.stringify(body));
      return body;
    },
    async at(customerId: string, asOf?: string, query = '') {
      return expect(200, 'GET', `/v1/customers/${customerId}/loyalty?${asOf ? `asOf=${asOf}` : ''}${query}`);
    },
    async balance(customerId: string, asOf?: string) {
      const { active, pending, debt } = await this.at(customerId, asOf);
      return { active, pending, debt };
    },
    /** What the recurring job does. */
    async settle() {
      const nothing = () => undefined;
      const log = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing };
      const services = { pool, db: poolDb(pool) } as Parameters<typeof settleLoyalty.run>[0]; // all that it uses
      await settleLoyalty.run(services, {}, { now, attempt: 1, signal: new AbortController().signal, log });
    },
    differences: () => ledgerDifferences(poolDb(pool), 20),
  };
}
type Club = Awaited<ReturnType<typeof club>>;

const shop = await club(t);
const { api, post, expect, programme, give, spend } = shop;
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());
t.afterEach(async () => {
  now = start;
  const differences = await shop.differences();
  if (differences.length > 0)
    throw new Error(`What is stored is not what the ledger says: ${JSON.stringify(differences)}`);
});

const days = (count: number) => addDays(start, count);
const transactions = '/v1/loyalty/transactions';
const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);

t.test('enrolment: once, with the first tier, the welcome bonus and what was bought since joining', async (t) => {
  const id = await shop.customer();
  const programmeId = await programme({
    bonuses: { welcome: 100 },
    tiers: {
      basis: 'spend',
      windowDays: 365,
      periodDays: 365,
      graceDays: 30,
      levels: [
        { key: 'basic', name: 'Basic', threshold: 0, multiplier: 1 },
        { key: 'gold', name: 'Gold', threshold: 10_000, multiplier: 2 },
      ],
    },
  });
  await shop.order(id, 30, { placedAt: '2026-01-15T00:00:00Z' });
  await shop.order(id, 120, { placedAt: '2026-03-15T00:00:00Z' });
  const body = { programmeId, joinedAt: '2026-03-01T00:00:00Z' };
  const url = `/v1/customers/${id}/loyalty`;

  const tried = await request('POST', `${url}?dryRun=true`, { body });
  t.match(tried, { status: 201, body: { active: 220, tier: 'gold' } });
  t.equal((await request('GET', url)).status, 404, 'a dry run writes nothing');
  t.match(await request('POST', url, { body }), { status: 400, body: { code: 'idempotency_key_required' } });

  const headers = newKey();
  const first = await request('POST', url, { body, headers });
  t.match(first, {
    status: 201,
    body: {
      customerId: id,
      programmeId,
      joinedAt: '2026-03-01T00:00:00.000Z',
      active: 220,
      pending: 0,
      debt: 0,
      tier: 'gold',
      tierSince: '2026-03-15T00:00:00.000Z',
      tierEndsAt: '2027-03-15T00:00:00.000Z',
      tierInGrace: false,
      created: true,
    },
  });
  const again = await request('POST', url, { body, headers });
  t.same(again.body, first.body, 'told again under its key');
  t.equal(again.headers.get('idempotency-replayed'), 'true');
  t.match(await request('POST', url, { body, headers: newKey() }), {
    status: 409,
    body: { code: 'already_exists', id, programmeId },
  });
  const changes = await allPages(api, `${url}/tier-changes?limit=1`);
  t.match(changes, [
    { sequence: 1, previous: null, tier: 'basic', reason: 'enrolment', at: '2026-03-01T00:00:00.000Z', endsAt: null },
    {
      ...{ sequence: 2, previous: 'basic', tier: 'gold', reason: 'upgrade', amount: 12_000 },
      ...{ at: '2026-03-15T00:00:00.000Z', endsAt: '2027-03-15T00:00:00.000Z' },
    },
  ]);
  t.match(await shop.at(id, '2026-04-01T00:00:00Z'), { tier: 'gold', active: 120 });
  t.match(await shop.at(id, '2026-03-10T00:00:00Z'), { tier: 'basic', tierEndsAt: null, active: 0 });
  t.equal((await request('GET', `${url}?asOf=2026-02-01T00:00:00Z`)).status, 404, 'no member yet');
  const kinds = (await allPages(api, `${url}/transactions?limit=1`)).map(({ kind, points, bonusKey }) => [
    kind,
    points,
    bonusKey,
  ]);
  t.strictSame(kinds, [
    ['bonus', 100, 'welcome'],
    ['earn', 120, null],
  ]);
});

t.test('enrolment that is refused', async (t) => {
  const id = await shop.customer();
  const programmeId = await programme();
  const enrol = (body: object, path = `/v1/customers/${id}/loyalty`) =>
    request('POST', path, { body, headers: newKey() });
  t.match(await enrol({ programmeId: randomUUID() }), {
    status: 422,
    body: { errors: [{ pointer: '/programmeId', code: 'unknown_programme' }] },
  });
  t.match(await enrol({ programmeId, joinedAt: '2026-06-01T12:11:00Z' }), {
    status: 422,
    body: { errors: [{ pointer: '/joinedAt', code: 'in_the_future' }] },
  });
  t.match(await enrol({}), { status: 422, body: { errors: [{ pointer: '/programmeId', code: 'required' }] } });
  t.equal((await enrol({ programmeId }, `/v1/customers/${randomUUID()}/loyalty`)).status, 404);
  t.equal((await enrol({ programmeId }, '/v1/customers/external/shop/nobody/loyalty')).status, 404);
  const draft = await post('/v1/loyalty/programmes', { name: 'Draft', rules: { pointsPerUnit: 1, pointValue: 1 } });
  t.match(await enrol({ programmeId: draft.id }), { status: 409, body: { code: 'programme_not_published' } });
  const ended = await programme();
  await expect(200, 'POST', `/v1/loyalty/programmes/${ended}/end`, undefined, { 'If-Match': '*' });
  t.match(await enrol({ programmeId: ended }), { status: 409, body: { code: 'programme_ended' } });
  t.equal((await request('GET', `/v1/customers/${id}/loyalty`)).status, 404);

  await shop.order(id, 1, { customerId: undefined, customer: { externalId: 'by-name' } });
  const named = await enrol({ programmeId }, '/v1/customers/external/shop/by-name/loyalty');
  t.equal(named.status, 201, 'by reference');
  t.match(await request('GET', '/v1/customers/external/shop/by-name/loyalty'), {
    status: 200,
    body: { active: 1 },
  });
  t.match(
    await request('POST', `/v1/customers/${id}/loyalty`, {
      body: { programmeId },
      headers: newKey(),
      scope: 'loyalty:read',
    }),
    { status: 403 },
  );
  t.match(await request('GET', `/v1/customers/${id}/loyalty`, { scope: 'customers:read' }), { status: 403 });
});

t.test('points are taken from what expires first, never more than there are', async (t) => {
  const id = await shop.member(await programme());
  const never = await give(id, 100);
  const late = await give(id, 50, days(60));
  const soon = await give(id, 30, days(10));
  now = days(1);
  t.match(await shop.balance(id), { active: 180 });
  const first = await spend(id, 40);
  t.match(first, { kind: 'spend', points: -40, at: days(1), balance: { active: 140 }, created: true });
  t.strictSame(first.entries, [
    { lotId: soon.entries[0].lotId, points: -30, at: days(1) },
    { lotId: late.entries[0].lotId, points: -10, at: days(1) },
  ]);
  t.match(
    await request('POST', transactions, { body: { kind: 'spend', customerId: id, points: 141 }, headers: newKey() }),
    {
      status: 422,
      body: { code: 'insufficient_points', available: 140, errors: [{ pointer: '/points' }] },
    },
  );
  const second = await spend(id, 60);
  t.strictSame(
    second.entries.map(({ lotId, points }: { lotId: string; points: number }) => [lotId, points]),
    [
      [late.entries[0].lotId, -40],
      [never.entries[0].lotId, -20],
    ],
    'what never expires is taken last',
  );
  t.match(await shop.at(id, undefined, '&details=true'), {
    active: 80,
    details: {
      worth: 40,
      progress: null,
      nextExpiry: null,
      lots: [{ id: never.entries[0].lotId, points: 100, remaining: 80 }],
    },
  });
  t.match(await shop.balance(id, start), { active: 180 }, 'as it was');
  const read = await expect(200, 'GET', `${transactions}/${first.id}`);
  t.strictSame(read.entries, first.entries);
  t.equal(read.balance, null);
  t.equal((await request('GET', `${transactions}/${randomUUID()}`)).status, 404);
  const repeated = { body: { kind: 'spend', customerId: id, points: 5 }, headers: newKey() };
  const done = await request('POST', transactions, repeated);
  t.same((await request('POST', transactions, repeated)).body, done.body);
  t.match(await request('POST', transactions, { ...repeated, headers: {} }), { status: 400 });
  t.match(await request('POST', `${transactions}?dryRun=true`, { body: repeated.body }), {
    status: 201,
    body: { balance: { active: 70 } },
  });
  t.match(await shop.balance(id), { active: 75 }, 'spent once');
  t.match(done.headers.get('location'), new RegExp(`^${transactions}/`));
});

t.test('a balance is right at any instant, whether a job has run or not', async (t) => {
  const id = await shop.member(await programme({ pendingDays: 14, expiryDays: 100 }));
  now = days(0);
  await shop.order(id, 70);
  const expected = [
    ['2026-05-31T12:00:00Z', 0, 0],
    [start, 0, 70],
    ['2026-06-15T11:59:59.999999Z', 0, 70],
    [days(14), 70, 0],
    ['2026-09-09T11:59:59.999999Z', 70, 0],
    [days(100), 0, 0],
    ['2030-01-01T00:00:00Z', 0, 0],
  ] as const;
  const check = async (when: string) => {
    for (const [at, active, pending] of expected) {
      t.match(await shop.balance(id, at), { active, pending, debt: 0 }, `${at}, ${when}`);
    }
  };
  await check('before');
  now = days(20);
  t.match(await shop.balance(id), { active: 70, pending: 0 }, 'active without a job');
  await spend(id, 20);
  now = days(101);
  t.match(await shop.balance(id), { active: 0 }, 'expired without a job');
  t.match(await shop.balance(id, days(19)), { active: 70 }, 'as it was before the spending');
  t.match(await shop.balance(id, days(20)), { active: 50 });
  t.match(
    await request('POST', transactions, { body: { kind: 'spend', customerId: id, points: 1 }, headers: newKey() }),
    {
      status: 422,
      body: { code: 'insufficient_points', available: 0 },
    },
  );
  await shop.settle();
  await shop.settle();
  t.match(await expect(200, 'GET', `/v1/customers/${id}/loyalty/transactions?kind=expire`), {
    data: [{ kind: 'expire', points: -50, at: days(100), by: 'expiry', createdAt: days(101) }],
  });
  t.match(await shop.balance(id, '2026-09-09T11:59:59.999999Z'), { active: 50 });
  t.match(await shop.balance(id, days(100)), { active: 0 });
  t.match(await shop.balance(id), { active: 0, pending: 0 });
});

t.test('a spending is undone once; what was spent can be spent for 30 days at least', async (t) => {
  const id = await shop.member(await programme());
  await give(id, 10, days(5));
  await give(id, 10, days(90));
  await give(id, 10);
  now = days(4);
  const order = await shop.order(id, 1, { paymentStatus: 'pending' });
  const spent = await post(transactions, { kind: 'spend', customerId: id, points: 25, orderId: order.id });
  now = days(6);
  const undo = (of: string) => request('POST', `${transactions}/${of}/undo`, { headers: newKey() });
  const undone = await undo(spent.id);
  t.match(undone, {
    status: 201,
    body: { kind: 'return', points: 25, at: days(6), relatedId: spent.id, orderId: order.id, balance: { active: 30 } },
  });
  t.strictSame(
    (await shop.at(id, undefined, '&details=true')).details.lots.map((lot: Record<string, unknown>) => [
      lot.remaining,
      lot.activeAt,
      lot.expiresAt,
    ]),
    [
      [10, days(6), days(36)],
      [10, days(6), days(90)],
      [5, start, null],
      [5, days(6), null],
    ],
  );
  t.match(await undo(spent.id), { status: 409, body: { code: 'already_undone', id: undone.body.id } });
  t.match(await undo(undone.body.id), { status: 409, body: { code: 'not_undoable' } });
  t.equal((await undo(randomUUID())).status, 404);
  t.match(await shop.balance(id), { active: 30 });
  t.match(await shop.balance(id, days(5)), { active: 5 });
  const twice = await spend(id, 30);
  const both = await Promise.all([undo(twice.id), undo(twice.id), undo(twice.id)]);
  t.strictSame(both.map(({ status }) => status).sort(), [201, 409, 409]);
  t.match(await shop.balance(id), { active: 30 });
});

t.test('what is transferred keeps its expiry', async (t) => {
  const programmeId = await programme();
  const [from, to] = [await shop.member(programmeId), await shop.member(programmeId)];
  await give(from, 10, days(10));
  await give(from, 10);
  now = days(1);
  const out = await post(transactions, {
    kind: 'transfer',
    customerId: from,
    toCustomerId: to,
    points: 15,
    reason: 'family',
  });
  t.match(out, { kind: 'transfer_out', points: -15, relatedCustomerId: to, reason: 'family', balance: { active: 5 } });
  const into = await expect(200, 'GET', `${transactions}/${out.relatedId}`);
  t.match(into, { kind: 'transfer_in', customerId: to, points: 15, relatedId: out.id, relatedCustomerId: from });
  t.match((await shop.at(to, undefined, '&details=true')).details, {
    nextExpiry: { at: days(10), points: 10 },
    lots: [
      { points: 10, earnedAt: days(1), activeAt: days(1), expiresAt: days(10) },
      { points: 5, expiresAt: null },
    ],
  });
  const refuse = async (body: object, expected: string) =>
    t.strictSame(
      codes(
        (
          await request('POST', transactions, {
            body: { kind: 'transfer', customerId: from, points: 1, ...body },
            headers: newKey(),
          })
        ).body,
      ),
      [expected],
    );
  await refuse({}, '/toCustomerId required');
  await refuse({ toCustomerId: from }, '/toCustomerId same_customer');
  await refuse({ toCustomerId: await shop.customer() }, '/toCustomerId not_a_member');
  await refuse({ toCustomerId: await shop.member(await programme()) }, '/toCustomerId other_programme');
});

t.test('what is wrong is said where it is, and nothing is stored', async (t) => {
  const id = await shop.member(await programme());
  await give(id, 100);
  const other = await shop.order(await shop.customer(), 1);
  const before = await allPages(api, `/v1/customers/${id}/loyalty/transactions?limit=100`);
  const spending = { kind: 'spend', customerId: id, points: 10 };
  const adjusting = { kind: 'adjust', customerId: id, points: 10, reason: 'goodwill' };
  for (const [body, ...expected] of [
    [{ ...spending, points: 0 }, '/points nothing_to_move'],
    [{ ...spending, points: -5 }, '/points too_small'],
    [{ ...spending, points: 1.5 }, '/points invalid_type'],
    [{ ...spending, points: 1_000_000_001 }, '/points too_big'],
    [{ ...spending, points: '5' }, '/points invalid_type'],
    [{ ...spending, customerId: undefined }, '/customerId customer_required'],
    [{ ...spending, customer: { source: 'shop', externalId: 'x' } }, '/customerId customer_required'],
    [
      { ...spending, customerId: undefined, customer: { source: 'shop', externalId: 'nobody' } },
      '/customer not_a_member',
    ],
    [{ ...spending, customerId: randomUUID() }, '/customerId not_a_member'],
    [{ ...spending, orderId: randomUUID() }, '/orderId unknown_order'],
    [{ ...spending, orderId: other.id }, '/orderId unknown_order'],
    [{ ...spending, kind: 'earn' }, '/kind invalid_value'],
    [{ ...spending, toCustomerId: id }, '/toCustomerId misplaced'],
    [{ ...spending, expiresAt: null }, '/expiresAt misplaced'],
    [{ ...spending, lotId: id }, '/lotId unknown_member'],
    [{ ...adjusting, reason: undefined }, '/reason required'],
    [{ ...adjusting, reason: null }, '/reason required'],
    [{ ...adjusting, points: -10, expiresAt: days(5) }, '/expiresAt misplaced'],
    [{ ...adjusting, expiresAt: start }, '/expiresAt in_the_past'],
    [{ ...adjusting, orderId: other.id }, '/orderId misplaced'],
  ] as const) {
    const answer = await request('POST', transactions, { body, headers: newKey() });
    t.equal(answer.status, 422, JSON.stringify(body));
    t.strictSame(codes(answer.body), expected, JSON.stringify(body));
  }
  t.match(await request('POST', transactions, { body: { ...adjusting, points: -101 }, headers: newKey() }), {
    status: 422,
    body: { code: 'insufficient_points', available: 100 },
  });
  t.same(await allPages(api, `/v1/customers/${id}/loyalty/transactions?limit=100`), before);
  const taken = await post(transactions, { ...adjusting, points: -30 });
  t.match(taken, { kind: 'adjust', points: -30, reason: 'goodwill', by: 'test', balance: { active: 70 } });
  const seen = await request('GET', `${transactions}/${taken.id}`, { scope: 'loyalty:read' });
  t.equal(seen.body.reason, null, 'free text is personal');
  t.match(await request('POST', transactions, { body: spending, headers: newKey(), scope: 'loyalty:read' }), {
    status: 403,
  });
});

t.test('points given by hand expire as the programme says, or as told', async (t) => {
  const id = await shop.member(await programme({ pendingDays: 30, expiryDays: 200 }));
  await post(transactions, { kind: 'adjust', customerId: id, points: 5, reason: 'x' });
  await give(id, 5, days(3));
  await give(id, 5);
  t.match((await shop.at(id, undefined, '&details=true')).details.lots, [
    { activeAt: start, expiresAt: days(3) },
    { activeAt: start, expiresAt: days(200) },
    { activeAt: start, expiresAt: null },
  ]);
});

t.test('sixteen spend at once, and never more than there is', async (t) => {
  const id = await shop.member(await programme());
  for (const expiry of [days(3), days(2), null]) await give(id, 333, expiry);
  const amounts = Array.from({ length: 64 }, (_, index) => 7 + ((index * 13) % 50));
  const answers = await Promise.all(
    Array.from({ length: 16 }, async (_, spender) => {
      const own: { points: number; status: number; active: number }[] = [];
      for (const points of amounts.slice(spender * 4, spender * 4 + 4)) {
        const { status, body } = await request('POST', transactions, {
          body: { kind: 'spend', customerId: id, points },
          headers: newKey(),
        });
        own.push({ points, status, active: body.balance?.active ?? body.available });
      }
      return own;
    }),
  );
  const all = answers.flat();
  t.ok(amounts.reduce((sum, points) => sum + points, 0) > 999, 'they wanted more than there was');
  t.strictSame([...new Set(all.map(({ status }) => status))].sort(), [201, 422]);
  t.ok(all.every(({ active }) => active >= 0));
  const spent = all.filter(({ status }) => status === 201).reduce((sum, { points }) => sum + points, 0);
  t.match(await shop.balance(id), { active: 999 - spent, pending: 0, debt: 0 });
  t.ok(spent <= 999);
  const refused = all.filter(({ status }) => status === 422);
  t.ok(
    refused.every(({ points, active }) => points > active),
    'who was refused wanted more than was left',
  );
  const list = await allPages(api, `/v1/customers/${id}/loyalty/transactions?kind=spend&limit=100`);
  t.equal(
    list.reduce((sum, { points }) => sum - points, 0),
    spent,
    'exactly the accepted ones',
  );
});

t.test('transfers in both directions at once end, and lose nothing', async (t) => {
  const programmeId = await programme();
  const ids = [await shop.member(programmeId), await shop.member(programmeId), await shop.member(programmeId)];
  for (const id of ids) await give(id, 100, days(9));
  const answers = await Promise.all(
    Array.from({ length: 48 }, (_, index) =>
      request('POST', transactions, {
        body: {
          kind: 'transfer',
          customerId: ids[index % 3],
          toCustomerId: ids[(index + 1 + (index % 2)) % 3],
          points: 1 + (index % 40),
        },
        headers: newKey(),
      }),
    ),
  );
  t.ok(
    answers.every(({ status }) => status === 201 || status === 422),
    JSON.stringify(answers.find(({ status }) => status > 422)?.body),
  );
  const balances = await Promise.all(ids.map((id) => shop.balance(id)));
  t.equal(
    balances.reduce((sum, { active }) => sum + active, 0),
    300,
  );
  t.ok(balances.every(({ active }) => active >= 0));
});

t.test('what is owed is paid by the next points', async (t) => {
  const id = await shop.member(await programme({ refundPolicy: 'allow_negative' }));
  const order = await shop.order(id, 100);
  await spend(id, 80);
  now = days(1);
  await expect(200, 'PATCH', `/v1/orders/${order.id}`, { cancelledAt: now }, { 'If-Match': '*' });
  t.match(await shop.at(id, undefined, '&details=true'), { active: -80, debt: 80, details: { worth: 0, lots: [] } });
  t.match(
    await request('POST', transactions, { body: { kind: 'spend', customerId: id, points: 1 }, headers: newKey() }),
    {
      status: 422,
      body: { available: 0 },
    },
  );
  now = days(2);
  const paid = await give(id, 50);
  t.strictSame(
    paid.entries.map(({ points, lotId }: { points: number; lotId: string | null }) => [points, lotId === null]),
    [
      [50, false],
      [-50, false],
      [50, true],
    ],
  );
  t.match(await shop.balance(id), { active: -30, debt: 30 });
  await shop.order(id, 40);
  t.match(await shop.balance(id), { active: 10, debt: 0 });
  t.match(await shop.balance(id, days(1)), { active: -80, debt: 80 });
  t.match(await shop.balance(id, start), { active: 20, debt: 0 });
});

t.test('a tier ends, and is held in grace, and lost, without any job', async (t) => {
  const programmeId = await programme({
    tiers: {
      basis: 'points',
      windowDays: 100,
      periodDays: 200,
      graceDays: 30,
      levels: [
        { key: 'basic', name: 'Basic', threshold: 0, multiplier: 1 },
        { key: 'gold', name: 'Gold', threshold: 100, multiplier: 1 },
        { key: 'ruby', name: 'Ruby', threshold: 300, multiplier: 1 },
      ],
    },
  });
  const id = await shop.member(programmeId);
  t.match(await shop.at(id, undefined, '&details=true'), {
    tier: 'basic',
    details: {
      progress: {
        basis: 'points',
        windowDays: 100,
        amount: 0,
        next: { key: 'gold', threshold: 100, missing: 100 },
        missingToKeep: null,
      },
    },
  });
  await shop.order(id, 120);
  t.match(await shop.at(id, undefined, '&details=true'), {
    tier: 'gold',
    tierSince: start,
    tierEndsAt: days(200),
    details: { progress: { amount: 120, next: { key: 'ruby', missing: 180 }, missingToKeep: 100 } },
  });
  const expected = [
    [days(0), 'gold', false, days(200)],
    ['2026-12-18T11:59:59.999999Z', 'gold', false, days(200)],
    [days(200), 'gold', true, days(230)],
    [days(229), 'gold', true, days(230)],
    [days(230), 'basic', false, null],
    [days(900), 'basic', false, null],
  ] as const;
  const check = async (when: string) => {
    for (const [at, tier, tierInGrace, tierEndsAt] of expected) {
      t.match(await shop.at(id, at), { tier, tierInGrace, tierEndsAt }, `${at} ${when}`);
    }
  };
  await check('as foreseen');
  now = days(235);
  await check('when nothing has been written');
  t.match(await shop.at(id), { tier: 'basic', tierSince: days(230) });
  const members = await expect(200, 'GET', `/v1/loyalty/members?programmeId=${programmeId}`);
  t.match(members.data, [{ customerId: id, tier: 'basic', active: 120 }], 'in lists too');
  await shop.settle();
  await check('when it has');
  t.match(await allPages(api, `/v1/customers/${id}/loyalty/tier-changes?sort=-sequence`), [
    { sequence: 4, reason: 'downgrade', previous: 'gold', tier: 'basic', at: days(230), amount: 0 },
    { sequence: 3, reason: 'grace', previous: 'gold', tier: 'gold', at: days(200), endsAt: days(230) },
    { sequence: 2, reason: 'upgrade' },
    { sequence: 1, reason: 'enrolment' },
  ]);
  t.match(await expect(200, 'GET', `/v1/loyalty/members?programmeId=${programmeId}&tier=basic`), {
    data: [{ customerId: id }],
  });
  t.match(await expect(200, 'GET', `/v1/loyalty/members?programmeId=${programmeId}&tier=gold`), { data: [] });
});

t.test('a late job and a punctual one give the same answers', async (t) => {
  const rules = {
    pendingDays: 3,
    expiryDays: 20,
    refundPolicy: 'within_balance',
    tiers: {
      basis: 'spend',
      windowDays: 15,
      periodDays: 10,
      graceDays: 4,
      levels: [
        { key: 'a', name: 'A', threshold: 0, multiplier: 1 },
        { key: 'b', name: 'B', threshold: 5_000, multiplier: 2 },
      ],
    },
  };
  const run = async (of: Club, punctual: boolean) => {
    now = start;
    const programmeId = await of.programme(rules);
    const id = await of.member(programmeId);
    for (let day = 0; day <= 50; day += 1) {
      now = addDays(start, day);
      if (punctual) await of.settle();
      if (day % 7 === 0) await of.order(id, 10 + day);
      if (day % 11 === 5) await of.post(transactions, { kind: 'adjust', customerId: id, points: 5, reason: 'x' });
      if (day === 24) await of.spend(id, 9);
    }
    now = days(60);
    if (punctual) await of.settle();
    const answers = [];
    for (let day = 0; day < 90; day += 1) {
      const { customerId: _, programmeId: __, version: ___, ...rest } = await of.at(id, addDays(start, day + 0.5));
      answers.push(rest);
    }
    return answers;
  };
  const late = await run(shop, false);
  const other = await club(t);
  t.same(await run(other, true), late);
  t.strictSame(await other.differences(), []);
  t.ok(new Set(late.map(({ tier, tierInGrace }) => `${tier} ${tierInGrace}`)).size > 2, 'tiers came and went');
});

t.test('lists: keyset pages, filters, orders', async (t) => {
  const programmeId = await programme();
  const ids: string[] = [];
  for (const day of [1, 2, 3]) ids.push(await shop.member(programmeId, `2026-02-0${day}T00:00:00Z`));
  const url = `/v1/loyalty/members?programmeId=${programmeId}`;
  const members = async (query: string) => (await allPages(api, `${url}&limit=1${query}`)).map((m) => m.customerId);
  t.strictSame(await members('&sort=joinedAt'), ids);
  t.strictSame(await members(''), ids.toReversed());
  t.strictSame(await members('&joinedFrom=2026-02-02T00:00:00Z&joinedTo=2026-02-03T00:00:00Z'), [ids[1]]);
  t.match(await request('GET', '/v1/loyalty/members'), { status: 422 });
  const [id = ''] = ids;
  const order = await shop.order(id, 10, { placedAt: '2026-05-01T00:00:00Z' });
  now = days(1);
  await give(id, 10);
  now = days(2);
  await spend(id, 3);
  const kinds = async (path: string) => (await allPages(api, path)).map(({ kind }) => kind);
  const own = `/v1/customers/${id}/loyalty/transactions?limit=1`;
  t.strictSame(await kinds(own), ['spend', 'adjust', 'earn']);
  t.strictSame(await kinds(`${own}&sort=at`), ['earn', 'adjust', 'spend']);
  t.strictSame(await kinds(`${own}&sort=createdAt`), ['earn', 'adjust', 'spend']);
  t.strictSame(await kinds(`${own}&atFrom=${days(1)}&atTo=${days(2)}`), ['adjust']);
  const all = `${transactions}?limit=1&customerId=${id}`;
  t.strictSame(await kinds(all), ['spend', 'adjust', 'earn']);
  t.strictSame(await kinds(`${all}&kind=earn`), ['earn']);
  t.strictSame(await kinds(`${transactions}?limit=1&orderId=${order.id}`), ['earn']);
  t.strictSame(await kinds(`${all}&createdFrom=${days(2)}`), ['spend']);
  t.match(await request('GET', `${transactions}?count=true&limit=1&customerId=${id}`), {
    body: { page: { total: 3 } },
  });
  const customer = await shop.customer();
  for (const path of ['', '/transactions', '/tier-changes']) {
    t.match(
      await request('GET', `/v1/customers/${customer}/loyalty${path}`),
      { status: 404, body: { code: 'not_found' } },
      path,
    );
  }
  t.match(await request('GET', `/v1/customers/${id}/loyalty/tier-changes`), { status: 200, body: { data: [] } });
});

t.test('a batch: in order, each item once by its name', async (t) => {
  const programmeId = await programme();
  const [a, b] = [await shop.member(programmeId), await shop.member(programmeId)];
  const items = [
    { kind: 'adjust', customerId: a, points: 100, reason: 'import', externalId: 'i-1' },
    { kind: 'spend', customerId: a, points: 60, externalId: 'i-2' },
    { kind: 'spend', customerId: a, points: 60, externalId: 'i-3' },
    { kind: 'transfer', customerId: a, toCustomerId: b, points: 10, externalId: 'i-4' },
    { kind: 'spend', customerId: b, points: 10, externalId: 'i-4' },
    { kind: 'spend', customerId: a, points: 60, externalId: 'i-2' },
    { kind: 'spend', customerId: a, points: 5 },
    { kind: 'spend', customerId: a, points: 61, externalId: 'i-2' },
  ];
  const send = (transactionsSent: object[], query = '') =>
    request('POST', `${transactions}/batch${query}`, { body: { transactions: transactionsSent } });
  const refusedAll = await send(items, '?atomic=true');
  t.match(refusedAll, {
    status: 422,
    body: { code: 'batch_refused', errors: [{ pointer: '/transactions/2/points' }] },
  });
  t.match(await shop.balance(a), { active: 0 });
  const { body } = await send(items);
  t.match(body.results, [
    { status: 'created' },
    { status: 'created' },
    { status: 'refused', error: { code: 'insufficient_points' } },
    { status: 'created' },
    { status: 'created' },
    { status: 'unchanged' },
    { status: 'refused', error: { errors: [{ pointer: '/externalId', code: 'required' }] } },
    { status: 'refused', error: { code: 'already_exists' } },
  ]);
  t.equal(body.results[5].id, body.results[1].id);
  t.match(await shop.balance(a), { active: 30 });
  t.match(await shop.balance(b), { active: 0 });
  const again = await send(items);
  t.strictSame(
    again.body.results.map(({ status }: { status: string }) => status),
    ['unchanged', 'unchanged', 'refused', 'unchanged', 'unchanged', 'unchanged', 'refused', 'refused'],
  );
  t.match(await shop.balance(a), { active: 30 });
  const named = { kind: 'spend', customerId: a, points: 60, externalId: 'i-2' };
  t.match(await request('POST', transactions, { body: named, headers: newKey() }), {
    status: 409,
    body: { code: 'already_exists', id: body.results[1].id, errors: [{ pointer: '/externalId' }] },
  });
  const elsewhere = await request('POST', transactions, {
    body: { ...named, points: 1 },
    headers: newKey(),
    client: 'other',
  });
  t.equal(elsewhere.status, 201, 'a name is of one client');
});

t.test('a member is not deleted', async (t) => {
  const id = await shop.member(await programme());
  t.match(await request('DELETE', `/v1/customers/${id}`, { headers: { 'If-Match': '*' } }), {
    status: 409,
    body: { code: 'customer_has_records', detail: /loyalty/ },
  });
});

t.test('GraphQL says and does the same', async (t) => {
  const programmeId = await programme();
  const order = await shop.order(await shop.customer(), 5, {
    customerId: undefined,
    customer: { externalId: 'grace' },
    placedAt: '2026-05-01T00:00:00Z',
  });
  const id = order.customerId;
  const reference = '{ source: "shop", externalId: "grace" }';
  const enrolled = await graphql(
    `mutation { enrolCustomer(idempotencyKey: "g-1", reference: ${reference}, input: { programmeId: "${programmeId}", joinedAt: "2026-04-01T00:00:00Z" }) { created replayed loyalty { customerId active } } }`,
  );
  t.same(enrolled.body, {
    data: { enrolCustomer: { created: true, replayed: false, loyalty: { customerId: id, active: 5 } } },
    extensions: enrolled.body.extensions,
  });
  const made = await graphql(
    `mutation { createLoyaltyTransaction(idempotencyKey: "g-2", input: { kind: ADJUST, customer: ${reference}, points: 20, reason: "hello" }) { created transaction { id kind points reason balance { active } entries { lotId points } customer { id } } } }`,
  );
  t.match(made.body.data.createLoyaltyTransaction, {
    created: true,
    transaction: { kind: 'ADJUST', points: 20, balance: { active: 25 }, entries: [{ points: 20 }], customer: { id } },
  });
  const spent = await graphql(
    `mutation { createLoyaltyTransaction(idempotencyKey: "g-3", input: { kind: SPEND, customerId: "${id}", points: 30 }) { created } }`,
  );
  t.match(spent.body.errors[0].extensions, {
    code: 'insufficient_points',
    available: 25,
    errors: [{ pointer: '/points' }],
  });
  const { body } = await graphql(`{
    customerLoyalty(id: "${id}", details: true) { active details { worth programmeName progress { amount } nextExpiry { at } lots { points remaining } } }
    customer(id: "${id}") { loyalty { active tier details { lots { id } } } }
    loyaltyMembers(programmeId: "${programmeId}") { totalCount nodes { customer { id } active } }
    customerLoyaltyTransactions(id: "${id}", sort: AT_ASC) { nodes { kind points } }
    loyaltyTransactions(customerId: "${id}", kind: EARN) { nodes { orderId } }
    loyaltyTierChanges(id: "${id}") { nodes { tier } }
    nobody: customerLoyalty(id: "${randomUUID()}") { active }
  }`);
  t.same(body.errors, undefined);
  t.match(body.data, {
    customerLoyalty: {
      active: 25,
      details: {
        worth: 12.5,
        programmeName: /Club/,
        progress: null,
        nextExpiry: null,
        lots: [{ remaining: 5 }, { remaining: 20 }],
      },
    },
    customer: { loyalty: { active: 25, tier: null, details: null } },
    loyaltyMembers: { totalCount: 1, nodes: [{ customer: { id }, active: 25 }] },
    customerLoyaltyTransactions: {
      nodes: [
        { kind: 'EARN', points: 5 },
        { kind: 'ADJUST', points: 20 },
      ],
    },
    loyaltyTransactions: { nodes: [{ orderId: order.id }] },
    loyaltyTierChanges: { nodes: [] },
    nobody: null,
  });
  const one = await graphql(
    `{ loyaltyTransaction(id: "${made.body.data.createLoyaltyTransaction.transaction.id}") { points entries { points } balance { active } } }`,
  );
  t.match(one.body.data, { loyaltyTransaction: { points: 20, entries: [{ points: 20 }], balance: null } });
});

t.test('stored state that is not what the ledger says is found and healed', async (t) => {
  const id = await shop.member(await programme({ pendingDays: 5, expiryDays: 50, refundPolicy: 'allow_negative' }));
  await shop.order(id, 50);
  await give(id, 20, days(9));
  await spend(id, 5);
  const stored = async () =>
    (
      await database.query(
        `select active, pending, debt, next_at, (select json_agg(remaining order by l.id) from loyalty_lots l where l.customer_id = a.customer_id)::text as lots
          from loyalty_accounts a where customer_id = $1`,
        [id],
      )
    ).rows;
  const right = await stored();
  for (const harm of [
    'update loyalty_accounts set active = active + 1',
    'update loyalty_accounts set pending = 0',
    'update loyalty_accounts set debt = 7',
    'update loyalty_accounts set next_at = null',
    'update loyalty_lots set remaining = remaining + 1',
  ]) {
    await database.query(`${harm} where customer_id = $1`, [id]);
    t.match(await shop.differences(), [{ customerId: id }], harm);
    await transaction(shop.pool, (tx) => recomputeLedger(tx, [id]));
    t.strictSame(await shop.differences(), [], harm);
    t.same(await stored(), right, harm);
  }
  await database.query(
    `update loyalty_transactions set points = points + 1 where customer_id = $1 and kind = 'spend'`,
    [id],
  );
  t.match(await shop.differences(), [{ table: 'loyalty_transactions', customerId: id, stored: '-4', counted: '-5' }]);
  await database.query(
    `update loyalty_transactions set points = points - 1 where customer_id = $1 and kind = 'spend'`,
    [id],
  );
});

t.test('sent orders and transactions at once leave one account that adds up', async (t) => {
  const id = await shop.member(await programme({ refundPolicy: 'allow_negative' }));
  const pushed = Array.from({ length: 24 }, () => orderOf({ customerId: id, total: 1000, placedAt: start }));
  const answers = await Promise.all(
    pushed.flatMap((body, index) => [
      request('POST', '/v1/orders', { body, headers: newKey() }),
      request('POST', transactions, {
        body:
          index % 2
            ? { kind: 'spend', customerId: id, points: 7 }
            : { kind: 'adjust', customerId: id, points: 3, reason: 'x' },
        headers: newKey(),
      }),
    ]),
  );
  t.ok(answers.every(({ status }) => status === 201 || status === 422));
  const spent = answers.filter(({ status, body }) => status === 201 && body.kind === 'spend').length;
  t.match(await shop.balance(id), { active: 24 * 10 + 12 * 3 - spent * 7, pending: 0, debt: 0 });
});
