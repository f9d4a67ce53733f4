import { randomUUID } from 'node:crypto';
import t from 'tap';
import type { LoyaltyRules } from '../../../src/domain/loyalty-earning.ts';
import { lockCustomers } from '../../../src/features/customers/queries.ts';
import { grantLoyaltyBonuses } from '../../../src/features/loyalty/bonus-jobs.ts';
import { earningDifferences } from '../../../src/features/loyalty/earning-comparison.ts';
import { takePoints } from '../../../src/features/loyalty/ledger.ts';
import { openAccounts } from '../../../src/features/loyalty/open-accounts.ts';
import { saveAccounts } from '../../../src/features/loyalty/save-accounts.ts';
import { openPool, poolDb, transaction } from '../../../src/platform/db/client.ts';
import { Problem } from '../../../src/platform/errors.ts';
import { enqueue } from '../../../src/platform/jobs.ts';
import { runJobs, testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf, pushOrder, pushRefund } from '../../support/shop.ts';
import { statementsOf } from '../../support/statements.ts';

/** Orders of members and what they earn; the ledger is read as it is stored. */
let now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request } = api;
const pool = openPool(api.connection, { size: 4, statementTimeout: 30_000 });
t.teardown(() => pool.end());

type Rules = Partial<LoyaltyRules>;

const plain: LoyaltyRules = {
  pointsPerUnit: 1,
  rounding: 'down',
  earnOn: 'paid',
  pendingDays: 0,
  expiryDays: null,
  expiresOn: null,
  expiresAtEndOf: null,
  tierOnRefund: 'recompute',
  includeShipping: true,
  includeFees: true,
  refundPolicy: 'within_balance',
  categories: [],
  campaigns: [],
  tiers: null,
  bonuses: {},
  pointValue: 1,
};
const policies = ['only_pending', 'within_balance', 'allow_negative'] as const;

/** A published programme with these rules; later ones become its next versions. */
async function programme(...versions: (Rules & { validFrom?: string })[]): Promise<string> {
  const id = randomUUID();
  await pool.query(
    `insert into loyalty_programmes (id, version, name, status, rules, created_at, updated_at) values ($1, 1, 'Club', 'active', $2, $3, $3)`,
    [id, JSON.stringify(plain), now],
  );
  for (const [index, { validFrom = '2020-01-01T00:00:00Z', ...rules }] of versions.entries()) {
    await pool.query(
      `insert into loyalty_programme_versions (programme_id, number, rules, valid_from, published_at, published_by) values ($1, $2, $3, $4, $5, 'test')`,
      [id, index + 1, JSON.stringify({ ...plain, ...rules }), validFrom, now],
    );
  }
  return id;
}

/** A new customer who is a member since then. */
async function member(
  programmeId: string,
  { joinedAt = '2026-01-01T00:00:00Z', tier = null as string | null, ...customer }: Record<string, any> = {},
): Promise<string> {
  const { body } = await request('POST', '/v1/customers', {
    body: { name: fresh('Ada'), ...customer },
  });
  await pool.query(
    `insert into loyalty_accounts (customer_id, programme_id, version, joined_at, joined_on, tier, tier_since, tier_in_grace, active, pending,
       debt, settled_at, referral_rewarded, created_at, updated_at)
     values ($1, $2, 1, $3, ($3::timestamptz at time zone 'UTC')::date, $4, case when $4::text is not null then $3::timestamptz end, false, 0, 0, 0, $3, false, $3, $3)`,
    [body.id, programmeId, joinedAt, tier],
  );
  if (tier !== null) {
    await pool.query(
      `insert into loyalty_tier_changes (customer_id, sequence, at, tier, reason, amount, created_at) values ($1, 1, $2, $3, 'enrolment', 0, $2)`,
      [body.id, joinedAt, tier],
    );
  }
  return body.id;
}

async function customer(): Promise<string> {
  return (await request('POST', '/v1/customers', { body: { name: fresh('Bob') } })).body.id;
}

const push = async (customerId: string, members: Record<string, unknown> = {}) => {
  const answer = await pushOrder(api, { customerId, ...members });
  if (answer.status !== 201) throw new Error(JSON.stringify(answer.body));
  return answer.body as { id: string; externalId: string; version: number };
};
const patch = async (orderId: string, body: Record<string, unknown>) => {
  const answer = await request('PATCH', `/v1/orders/${orderId}`, { body, headers: { 'If-Match': '*' } });
  if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
  return answer.body;
};
const total = (amount: number) => ({ total: amount, items: [{ sku: 'A', quantity: 1, total: amount }] });
const remove = (path: string) => request('DELETE', path, { headers: { 'If-Match': '*' } });
const refund = (orderId: string, amount: number) => pushRefund(api, orderId, { amount, refundedAt: now });

/** As spending does it, under the lock. */
async function spend(customerId: string, points: number): Promise<void> {
  await transaction(pool, async (tx) => {
    await lockCustomers(tx, [customerId]);
    const accounts = await openAccounts(tx, { now }, [customerId], { lots: true });
    for (const account of accounts.values()) takePoints(account, { kind: 'spend', by: 'test' }, points);
    saveAccounts(tx, accounts.values());
  });
}

interface Account {
  active: number;
  pending: number;
  debt: number;
  tier: string | null;
}

async function accountOf(customerId: string): Promise<Account> {
  const { rows } = await pool.query('select active, pending, debt, tier from loyalty_accounts where customer_id = $1', [
    customerId,
  ]);
  return rows[0];
}

interface TransactionRow {
  id: string;
  kind: string;
  points: number;
  entitled: number | null;
  lapsed: number;
  waived: number;
  orderId: string | null;
  bonusKey: string | null;
}

async function ledgerOf(customerId: string): Promise<TransactionRow[]> {
  const { rows } = await pool.query(
    `select id, kind, points, entitled, lapsed, waived, order_id as "orderId", bonus_key as "bonusKey" from loyalty_transactions
     where customer_id = $1 order by created_at, id`,
    [customerId],
  );
  return rows;
}

/** Kind and points of everything that happened, in its order. */
const moves = async (customerId: string) => (await ledgerOf(customerId)).map(({ kind, points }) => `${kind} ${points}`);

/**
 * What holds of every ledger, looked at row by row: postings add up, no lot is below zero, the stored balance is that of
 * the ledger, and by each order's history what it is entitled to now follows from its transactions.
 */
async function faultsOf(customerIds: string[], at = now): Promise<string[]> {
  const faults: string[] = [];
  const { rows: sums } = await pool.query(
    `select t.id, t.points, coalesce((select sum(e.points) from loyalty_entries e where e.customer_id = t.customer_id and e.transaction_id = t.id), 0)::bigint as posted
     from loyalty_transactions t where t.customer_id = any($1)`,
    [customerIds],
  );
  for (const { id, points, posted } of sums)
    if (points !== posted) faults.push(`${id}: ${points} but ${posted} posted`);
  const { rows: lots } = await pool.query(
    `select l.id, l.remaining, coalesce((select sum(e.points) from loyalty_entries e where e.customer_id = l.customer_id and e.lot_id = l.id), 0)::bigint as posted
     from loyalty_lots l where l.customer_id = any($1)`,
    [customerIds],
  );
  for (const { id, remaining, posted } of lots) {
    if (remaining !== posted || remaining < 0) faults.push(`lot ${id}: ${remaining} but ${posted} posted`);
  }
  const { rows: balances } = await pool.query(
    `select a.customer_id as id, a.active, a.pending, a.debt, a.settled_at > $2::timestamptz as ahead,
       a.next_at <= $2::timestamptz as due,
       (select coalesce(sum(e.points), 0) from loyalty_entries e left join loyalty_lots l on l.customer_id = e.customer_id and l.id = e.lot_id
        where e.customer_id = a.customer_id and e.at <= $2 and (e.lot_id is null or l.active_at <= $2 and (l.expires_at is null or $2 < l.expires_at)))::bigint as "activeThen",
       (select coalesce(sum(e.points), 0) from loyalty_entries e join loyalty_lots l on l.customer_id = e.customer_id and l.id = e.lot_id
        where e.customer_id = a.customer_id and e.at <= $2 and l.earned_at <= $2 and $2 < l.active_at)::bigint as "pendingThen",
       (select -coalesce(sum(e.points), 0) from loyalty_entries e where e.customer_id = a.customer_id and e.lot_id is null and e.at <= $2)::bigint as "debtThen"
     from loyalty_accounts a where a.customer_id = any($1)`,
    [customerIds, at],
  );
  for (const { id, active, pending, debt, due, activeThen, pendingThen, debtThen } of balances) {
    if (due) continue;
    if (active !== activeThen || pending !== pendingThen || debt !== debtThen || debt < 0) {
      faults.push(
        `${id}: ${active}, ${pending}, ${debt} stored, ${activeThen}, ${pendingThen}, ${debtThen} in the ledger`,
      );
    }
  }
  for (const customerId of customerIds) faults.push(...(await historyFaults(customerId)));
  const differences = await earningDifferences(poolDb(pool), 'EUR', 1000);
  for (const { customerId, key, stored, counted } of differences) {
    if (customerIds.includes(customerId)) faults.push(`${key}: ${stored}, should be ${counted}`);
  }
  return faults;
}

/** Replays each order and bonus: what was credited and taken, waived and lapsed leads to its entitlement. */
async function historyFaults(customerId: string): Promise<string[]> {
  const faults: string[] = [];
  const states = new Map<string, { entitled: number; net: number; kept: number }>();
  for (const { kind, points, entitled, lapsed, waived, orderId, bonusKey } of await ledgerOf(customerId)) {
    if (!['earn', 'bonus', 'reverse'].includes(kind)) continue;
    const key = orderId ?? bonusKey ?? '';
    const before = states.get(key) ?? { entitled: 0, net: 0, kept: 0 };
    const after = { entitled: entitled ?? Number.NaN, net: before.net + points, kept: 0 };
    after.kept = after.net - after.entitled;
    states.set(key, after);
    const change = after.entitled - before.entitled;
    if (kind === 'reverse') {
      if (change >= 0) faults.push(`${key}: taken back though it is entitled to ${change} more`);
      if (-change !== -points + lapsed + waived)
        faults.push(`${key}: ${change} is not ${points} − ${lapsed} − ${waived}`);
    } else {
      if (change <= 0) faults.push(`${key}: earned again at ${after.entitled}`);
      if (points !== Math.max(0, after.entitled - before.net))
        faults.push(`${key}: ${points} for ${change} on ${before.net}`);
    }
    if (after.kept < 0) faults.push(`${key}: ${after.net} net of ${after.entitled}`);
  }
  const { rows } = await pool.query('select order_id as id, entitled from loyalty_earnings where customer_id = $1', [
    customerId,
  ]);
  for (const { id, entitled } of rows) {
    const known = states.get(id)?.entitled ?? 0;
    if (known !== entitled) faults.push(`${id}: entitled to ${entitled}, by the ledger to ${known}`);
  }
  return faults;
}

t.test('an order earns once, whatever is sent again', async (t) => {
  const who = await member(await programme({}));
  const order = await push(who, total(12_345));
  t.same(await moves(who), ['earn 123']);
  t.match(await accountOf(who), { active: 123, pending: 0, debt: 0 });

  const document = orderOf({ customerId: who, ...total(12_345), externalId: order.externalId });
  const { source, externalId, ...body } = document;
  for (let i = 0; i < 3; i += 1) {
    t.equal((await request('PUT', `/v1/orders/external/${source}/${externalId}`, { body })).status, 200);
    t.equal((await request('POST', '/v1/orders/batch', { body: { orders: [document, document] } })).status, 200);
  }
  t.equal((await patch(order.id, { channel: 'web' })).channel, 'web');
  t.same(await moves(who), ['earn 123']);

  const versioned = orderOf({ customerId: who, ...total(1_000), sourceVersion: 7 });
  await request('POST', '/v1/orders/batch', { body: { orders: [versioned] } });
  for (const sourceVersion of [7, 6]) {
    const late = { ...versioned, ...total(99_000), sourceVersion };
    await request('POST', '/v1/orders/batch', { body: { orders: [late] } });
  }
  t.same(await moves(who), ['earn 123', 'earn 10']);
  t.same(await faultsOf([who]), []);
});

/** What makes an order of 100 points, of which there are 30 left in another lot, worth less, and back. */
const reductions: Record<
  string,
  { owed: number; change: (id: string) => Promise<unknown>; back?: (id: string) => Promise<unknown> }
> = {
  'a full refund': {
    owed: 100,
    change: (id) => refund(id, 10_000),
    back: async (id) => {
      const { body } = await request('GET', `/v1/orders/${id}/refunds`);
      await remove(`/v1/refunds/${body.data[0].id}`);
    },
  },
  'a partial refund': {
    owed: 40,
    change: (id) => refund(id, 4_000),
    back: async (id) => {
      const { body } = await request('GET', `/v1/orders/${id}/refunds`);
      await remove(`/v1/refunds/${body.data[0].id}`);
    },
  },
  cancelling: {
    owed: 100,
    change: (id) => patch(id, { cancelledAt: now }),
    back: (id) => patch(id, { cancelledAt: null }),
  },
  'not being paid after all': {
    owed: 100,
    change: (id) => patch(id, { paymentStatus: 'pending' }),
    back: (id) => patch(id, { paymentStatus: 'paid' }),
  },
  'an edit downwards': { owed: 20, change: (id) => patch(id, total(8_000)), back: (id) => patch(id, total(10_000)) },
  'being a test': { owed: 100, change: (id) => patch(id, { test: true }), back: (id) => patch(id, { test: false }) },
  'being placed before joining': {
    owed: 100,
    change: (id) => patch(id, { placedAt: '2025-12-31T23:59:59.999999Z' }),
    back: (id) => patch(id, { placedAt: '2026-03-01T10:00:00Z' }),
  },
  deletion: { owed: 100, change: (id) => remove(`/v1/orders/${id}`) },
};

for (const policy of policies) {
  t.test(`${policy}: what is taken back of points that are spent`, async (t) => {
    const club = await programme({ refundPolicy: policy });
    for (const [name, { owed, change, back }] of Object.entries(reductions)) {
      const who = await member(club);
      const order = await push(who, total(10_000));
      await push(who, { ...total(5_000), placedAt: '2026-03-02T10:00:00Z' });
      await spend(who, 120);
      t.match(await accountOf(who), { active: 30, pending: 0, debt: 0 });
      await change(order.id);
      const taken = { only_pending: 0, within_balance: Math.min(30, owed), allow_negative: owed }[policy];
      const reverse = (await ledgerOf(who)).at(-1);
      t.match(
        reverse,
        { kind: 'reverse', points: -taken, entitled: 100 - owed, lapsed: 0, waived: owed - taken },
        `${name} takes back`,
      );
      const debt = Math.max(0, taken - 30);
      t.match(await accountOf(who), { active: 30 - taken, pending: 0, debt }, `${name} leaves`);
      t.same(await faultsOf([who]), [], name);
      if (back) {
        await back(order.id);
        t.match((await ledgerOf(who)).at(-1), { kind: 'earn', points: taken, entitled: 100 }, `${name} undone`);
        t.match(await accountOf(who), { active: 30, pending: 0, debt: 0 }, `${name} undone: as before`);
      }
      await push(who, total(7_000));
      t.match(await accountOf(who), { active: (back ? 30 : 30 - taken) + 70, debt: 0 }, `${name}: the next order`);
      t.same(await faultsOf([who]), [], name);
    }
  });

  t.test(`${policy}: what is taken back of points that are pending, and what an edit upwards adds`, async (t) => {
    const who = await member(await programme({ refundPolicy: policy, pendingDays: 14, expiryDays: 100 }));
    const order = await push(who, { ...total(10_000), placedAt: '2026-05-25T12:00:00Z' });
    await push(who, { ...total(5_000), placedAt: '2026-05-25T12:00:00Z' });
    t.match(await accountOf(who), { active: 0, pending: 150 });
    await refund(order.id, 4_000);
    t.match(await accountOf(who), { active: 0, pending: 110, debt: 0 });
    await patch(order.id, total(30_000));
    t.match(await accountOf(who), { active: 0, pending: 310, debt: 0 });
    t.same(await moves(who), ['earn 100', 'earn 50', 'reverse -40', 'earn 200']);
    const expected = { only_pending: [0, 260], within_balance: [0, 260], allow_negative: [0, 50] }[policy];
    now = '2026-06-09T12:00:00.000Z';
    t.same(await faultsOf([who]), []);
    await refund(order.id, 26_000);
    t.equal((await ledgerOf(who)).at(-1)?.waived, policy === 'only_pending' ? 260 : 0, 'it was active by then');
    t.match(await accountOf(who), { active: policy === 'only_pending' ? 310 : 50, pending: 0 });
    t.ok(expected);
    now = '2026-09-15T12:00:00.000Z';
    await push(who, { ...total(1_000), placedAt: now });
    t.match(await accountOf(who), { active: 0, pending: 10 }, 'all of it has expired');
    await request('PATCH', `/v1/orders/${order.id}`, { body: { cancelledAt: now }, headers: { 'If-Match': '*' } });
    t.same(await faultsOf([who]), []);
    now = '2026-06-01T12:00:00.000Z';
  });
}

t.test('what expired is not taken back again', async (t) => {
  const who = await member(await programme({ refundPolicy: 'allow_negative', expiryDays: 30 }));
  const order = await push(who, { ...total(10_000), placedAt: '2026-05-31T12:00:00Z' });
  await spend(who, 40);
  now = '2026-07-01T12:00:00.000Z';
  await refund(order.id, 5_000);
  t.match((await ledgerOf(who)).slice(-2), [
    { kind: 'expire', points: -60 },
    { kind: 'reverse', points: 0, lapsed: 50, waived: 0, entitled: 50 },
  ]);
  await patch(order.id, { cancelledAt: now });
  t.match((await ledgerOf(who)).at(-1), { kind: 'reverse', points: -40, lapsed: 10, waived: 0, entitled: 0 });
  t.match(await accountOf(who), { active: -40, debt: 40 });
  t.same(await faultsOf([who]), []);
  now = '2026-06-01T12:00:00.000Z';
});

t.test('an order that moves takes its points along', async (t) => {
  const club = await programme({});
  const [from, to] = [await member(club), await member(await programme({ pointsPerUnit: 2 }))];
  const nobody = await customer();
  const order = await push(from, total(10_000));
  await patch(order.id, { customerId: to });
  t.same(await moves(from), ['earn 100', 'reverse -100']);
  t.same(await moves(to), ['earn 200']);
  await patch(order.id, { customerId: nobody });
  t.same(await moves(to), ['earn 200', 'reverse -200']);
  await patch(order.id, { customerId: from, ...total(20_000) });
  t.same(await moves(from), ['earn 100', 'reverse -100', 'earn 200']);
  t.same(await faultsOf([from, to]), []);
});

t.test('points come when the order is paid, or fulfilled', async (t) => {
  const paid = await member(await programme({}));
  const fulfilled = await member(await programme({ earnOn: 'fulfilled' }));
  for (const who of [paid, fulfilled]) {
    const order = await push(who, { ...total(10_000), paymentStatus: 'pending' });
    t.same(await moves(who), []);
    await patch(order.id, { paymentStatus: 'paid' });
    t.same(await moves(who), who === paid ? ['earn 100'] : []);
    await patch(order.id, { fulfillmentStatus: 'fulfilled' });
    t.same(await moves(who), ['earn 100']);
    await patch(order.id, { fulfillmentStatus: 'unfulfilled' });
    t.same(await moves(who), who === paid ? ['earn 100'] : ['earn 100', 'reverse -100']);
  }
  t.same(await faultsOf([paid, fulfilled]), []);
});

t.test('an order without a rate earns when the rate is uploaded', async (t) => {
  const [one, two] = [await member(await programme({})), await member(await programme({}))];
  const stranger = await customer();
  for (const who of [one, two, stranger]) {
    await push(who, { ...total(10_000), currency: 'USD', placedAt: '2026-04-01T10:00:00Z' });
  }
  await push(one, { ...total(10_000), currency: 'USD', placedAt: '2026-05-01T10:00:00Z' });
  t.same(await moves(one), []);
  const upload = await request('PUT', '/v1/exchange-rates', {
    body: { rates: [{ currency: 'USD', date: '2026-04-01', rate: '0.9' }] },
  });
  t.equal(upload.body.completedOrders, 3);
  t.same(await moves(one), ['earn 90']);
  t.same(await moves(two), ['earn 90']);
  t.same(await faultsOf([one, two]), []);
});

t.test('corrected rates restate the points that came of them, and raise the tier', async (t) => {
  const club = await programme({ tiers: { ...tiers, levels: [bronze, { ...gold, threshold: 6_500 }] } });
  const [who, given] = [await member(club, { tier: 'bronze' }), await member(club, { tier: 'bronze' })];
  const placedAt = '2026-04-21T10:00:00Z';
  const upload = (rate: string) =>
    request('PUT', '/v1/exchange-rates?restate=true', {
      body: { rates: [{ currency: 'CAD', date: '2026-04-20', rate }] },
    });
  const tierOf = async (id: string) => (await request('GET', `/v1/customers/${id}/loyalty`)).body.tier;
  await upload('0.6');
  await push(who, { ...total(10_000), currency: 'CAD', placedAt });
  await push(given, { ...total(10_000), currency: 'CAD', placedAt, exchangeRate: '0.6' });
  t.same(await moves(who), ['earn 60']);
  t.match((await upload('0.7')).body.restated, { currencies: [{ currency: 'CAD', orders: 1, kept: 1 }] });
  t.same(await moves(who), ['earn 60', 'earn 10']);
  t.strictSame([await tierOf(who), await tierOf(given)], ['gold', 'bronze']);
  await upload('0.5');
  t.same(await moves(who), ['earn 60', 'earn 10', 'reverse -20']);
  t.same(await moves(given), ['earn 60']);
  t.same(await faultsOf([who, given]), []);
});

t.test('categories, campaigns and the tax have their say', async (t) => {
  const campaign = (await request('POST', '/v1/campaigns', { body: { name: 'May', channel: 'email' } })).body;
  const who = await member(
    await programme({
      pointsPerUnit: 1.5,
      rounding: 'half_up',
      categories: [
        { category: 'books', multiplier: 2 },
        { category: 'gift cards', multiplier: 0 },
      ],
      campaigns: [
        { name: 'spring', from: '2026-04-01T00:00:00Z', to: '2026-05-01T00:00:00Z', multiplier: 3 },
        {
          name: 'mail',
          from: '2026-01-01T00:00:00Z',
          to: '2027-01-01T00:00:00Z',
          campaignId: campaign.id,
          multiplier: 2,
        },
      ],
    }),
  );
  const items = [
    { sku: 'A', quantity: 1, total: 3_000, category: 'books' },
    { sku: 'B', quantity: 1, total: 1_000, category: 'gift cards' },
    { sku: 'C', quantity: 1, total: 1_000 },
  ];
  // 50 € × 1.5 × (0.6 × 2 + 0.2 × 0 + 0.2) = 105
  const order = await push(who, { total: 5_000, items });
  await push(who, { total: 5_000, items, placedAt: '2026-04-01T00:00:00Z' });
  await push(who, { total: 5_000, items, placedAt: '2026-04-30T23:59:59.999999Z', campaignId: campaign.id });
  await push(who, { total: 5_000, items, placedAt: '2026-05-01T00:00:00Z', campaignId: campaign.id });
  await push(who, { total: 5_950, items, tax: 950 });
  t.same(await moves(who), ['earn 105', 'earn 315', 'earn 630', 'earn 210', 'earn 105']);
  await patch(order.id, { items: items.map((item) => ({ ...item, category: 'books' })) });
  t.equal((await moves(who)).at(-1), 'earn 45');
  await patch(order.id, { campaignId: campaign.id });
  t.equal((await moves(who)).at(-1), 'earn 150');
  t.same(await faultsOf([who]), []);
});

t.test('rules of the day on which the order was placed; none before the first and after the end', async (t) => {
  const club = await programme(
    { validFrom: '2026-02-01T00:00:00Z' },
    { validFrom: '2026-03-01T00:00:00Z', pointsPerUnit: 2 },
  );
  const who = await member(club);
  for (const placedAt of [
    '2026-01-31T23:59:59Z',
    '2026-02-01T00:00:00Z',
    '2026-02-28T23:59:59Z',
    '2026-03-01T00:00:00Z',
  ]) {
    await push(who, { ...total(1_000), placedAt });
  }
  t.same(await moves(who), ['earn 10', 'earn 10', 'earn 20']);
  await pool.query('update loyalty_programmes set ended_at = $2 where id = $1', [club, '2026-05-01T00:00:00Z']);
  await push(who, { ...total(1_000), placedAt: '2026-04-30T00:00:00Z' });
  await push(who, { ...total(1_000), placedAt: '2026-05-01T00:00:00Z' });
  t.same(await moves(who), ['earn 10', 'earn 10', 'earn 20', 'earn 20']);
  t.same(await faultsOf([who]), []);
});

const bronze = { key: 'bronze', name: 'Bronze', threshold: 0, multiplier: 1 };
const gold = { key: 'gold', name: 'Gold', threshold: 50_000, multiplier: 2 };
const tiers = {
  basis: 'spend' as const,
  windowDays: 365,
  periodDays: 365,
  graceDays: 30,
  reachingOrder: 'former_tier' as const,
  levels: [bronze, gold],
};

t.test('a tier is reached with its order, and multiplies from the next order on', async (t) => {
  const who = await member(await programme({ tiers }), { tier: 'bronze' });
  now = '2026-06-01T12:00:00.000Z';
  const first = await push(who, { ...total(60_000), placedAt: now });
  t.same(await moves(who), ['earn 600']);
  t.equal((await accountOf(who)).tier, 'gold');
  now = '2026-06-02T12:00:00.000Z';
  await push(who, { ...total(1_000), placedAt: now });
  await push(who, { ...total(1_000), placedAt: '2026-05-31T00:00:00Z' });
  t.same(await moves(who), ['earn 600', 'earn 20', 'earn 10'], 'what was placed before is of the tier held then');
  await patch(first.id, total(61_000));
  t.equal((await moves(who)).at(-1), 'earn 10', 'by the tier held before it');
  await patch(first.id, { cancelledAt: now });
  t.equal((await accountOf(who)).tier, 'bronze', 'a tier goes with the order that reached it');
  t.same((await moves(who)).slice(-2), ['reverse -610', 'reverse -10'], 'and with it what later orders earned by it');
  await patch(first.id, { cancelledAt: null });
  t.equal((await accountOf(who)).tier, 'gold');
  t.same((await moves(who)).slice(-2), ['earn 610', 'earn 10']);
  t.same(await faultsOf([who]), []);

  const batched = await member(await programme({ tiers }), { tier: 'bronze' });
  const orders = [60_000, 1_000].map((amount, n) =>
    orderOf({ customerId: batched, ...total(amount), placedAt: `2026-06-02T0${n}:00:00Z` }),
  );
  await request('POST', '/v1/orders/batch', { body: { orders } });
  t.same(await moves(batched), ['earn 600', 'earn 20'], 'so do orders of one batch');
  t.equal((await accountOf(batched)).tier, 'gold');

  now = '2028-06-01T12:00:00.000Z';
  await push(who, { ...total(1_000), placedAt: now });
  t.equal((await accountOf(who)).tier, 'bronze', 'periods that ended are judged first');
  t.equal((await moves(who)).at(-1), 'earn 10');
  await push(who, { ...total(1_000), placedAt: '2026-07-01T00:00:00Z' });
  t.equal((await moves(who)).at(-1), 'earn 20', 'late news of a day on which gold was held');
  t.same(await faultsOf([who, batched]), []);
  now = '2026-06-01T12:00:00.000Z';
});

t.test('orders of a clock that is ahead count when their time has come', async (t) => {
  now = '2026-06-01T12:00:00.000Z';
  const at = (minute: string) => `2026-06-01T12:${minute}:00.000Z`;
  const club = await programme({ tiers });
  const who = await member(club, { tier: 'bronze' });
  const spoilt = await member(club, { tier: 'bronze' });
  const tooFar = await pushOrder(api, { customerId: who, ...total(60_000), placedAt: '2026-06-01T12:10:00.001Z' });
  t.match(tooFar, { status: 422, body: { errors: [{ pointer: '/placedAt', code: 'in_the_future' }] } });

  await push(who, { ...total(60_000), placedAt: at('08') });
  await push(who, { ...total(1_000), placedAt: at('09') });
  await push(who, { ...total(1_000), placedAt: at('07') });
  const cancelled = await push(spoilt, { ...total(60_000), placedAt: at('08') });
  await push(spoilt, { ...total(1_000), placedAt: at('10') });
  t.same((await moves(who)).sort(), ['earn 10', 'earn 20', 'earn 600'], 'by the tier that is held then');
  t.same((await moves(spoilt)).sort(), ['earn 20', 'earn 600']);
  t.match(await accountOf(who), { active: 0, pending: 0, tier: 'bronze' }, 'nothing of it is there yet');
  await t.rejects(spend(who, 1), { code: 'insufficient_points' });

  await patch(cancelled.id, { cancelledAt: now });
  t.same((await moves(spoilt)).slice(-2), ['reverse -600', 'reverse -10'], 'the tier is never reached');
  t.same(await faultsOf([who, spoilt]), []);

  now = at('08');
  await api.app.jobs.addRecurring(['settleLoyalty']);
  await runJobs(api);
  t.match(await accountOf(who), { active: 610, tier: 'gold' });
  t.match(await accountOf(spoilt), { active: 0, tier: 'bronze' });
  now = at('10');
  await spend(who, 630);
  await push(spoilt, { ...total(1_000), placedAt: now });
  t.match(await accountOf(who), { active: 0, tier: 'gold' });
  t.match(await accountOf(spoilt), { active: 20, tier: 'bronze' });
  const { body } = await request('GET', `/v1/customers/${who}/loyalty/tier-changes`);
  t.match(body.data.at(-1), { at: at('08'), tier: 'gold', reason: 'upgrade' });
  t.same(await faultsOf([who, spoilt]), []);
  now = '2026-06-01T12:00:00.000Z';
});

t.test('a bonus for the fifth purchase, and without it no more', async (t) => {
  const who = await member(
    await programme({ refundPolicy: 'allow_negative', bonuses: { purchase: { count: 3, points: 500 } } }),
  );
  await push(who, { ...total(1_000), placedAt: '2025-12-01T00:00:00Z' });
  const unpaid = (day: string) =>
    push(who, { ...total(1_000), placedAt: `2026-02-${day}T00:00:00Z`, paymentStatus: 'pending' });
  const [first, second] = [await unpaid('01'), await unpaid('02')];
  for (const day of ['03', '04']) await unpaid(day);
  t.same(await moves(who), ['bonus 500']);
  const { rows } = await pool.query('select earned_at, bonus_key from loyalty_lots where customer_id = $1', [who]);
  t.match(rows, [{ earned_at: '2026-02-03T00:00:00.000Z', bonus_key: 'purchase:3' }]);
  await patch(first.id, { cancelledAt: now });
  t.same(await moves(who), ['bonus 500'], 'three are left');
  await patch(second.id, { test: true });
  t.same(await moves(who), ['bonus 500', 'reverse -500']);
  await patch(second.id, { test: false });
  t.same(await moves(who), ['bonus 500', 'reverse -500', 'bonus 500']);
  await remove(`/v1/orders/${second.id}`);
  await push(who, { ...total(1_000), placedAt: '2026-05-01T00:00:00Z', test: true });
  t.same((await moves(who)).slice(3), ['reverse -500']);
  t.same(await faultsOf([who]), []);
  const batch = [1, 2, 3].map(() => orderOf({ customerId: who, ...total(500) }));
  await request('POST', '/v1/orders/batch', { body: { orders: batch } });
  t.same((await moves(who)).slice(4).sort(), ['bonus 500', 'earn 5', 'earn 5', 'earn 5']);
  t.same(await faultsOf([who]), []);
});

t.test('who referred a customer has a bonus while that one has bought', async (t) => {
  const club = await programme({ bonuses: { referral: { referrer: 300, referee: 100 } } });
  const referrer = await member(club);
  const referee = await member(club, { referredBy: referrer });
  await member(club);
  const order = await push(referee, { ...total(1_000), placedAt: '2026-02-01T00:00:00Z' });
  t.same(await moves(referrer), [], 'not in the transaction of the order');
  await runJobs(api);
  t.same(await moves(referrer), ['bonus 300']);
  t.same(await moves(referee), ['earn 10', 'bonus 100']);
  await push(referee, total(1_000));
  await runJobs(api);
  t.same(await moves(referrer), ['bonus 300'], 'once');
  await runJobs(api);
  const { body } = await request('GET', `/v1/customers/${referee}/orders`);
  for (const { id } of body.data) await patch(id, { cancelledAt: now });
  await runJobs(api);
  t.same(await moves(referrer), ['bonus 300', 'reverse -300']);
  t.equal((await moves(referee)).filter((move) => move === 'reverse -100').length, 1);
  await patch(order.id, { cancelledAt: null });
  await runJobs(api);
  t.same(await moves(referrer), ['bonus 300', 'reverse -300', 'bonus 300']);
  const stranger = await customer();
  const other = await member(club, { referredBy: stranger });
  await push(other, total(1_000));
  await runJobs(api);
  t.same(await moves(other), ['earn 10'], 'the referrer is no member');
  await request('PATCH', `/v1/customers/${referee}`, { body: { referredBy: other }, headers: { 'If-Match': '*' } });
  await runJobs(api);
  t.same((await moves(referrer)).slice(3), ['reverse -300'], 'it was somebody else');
  t.same(await moves(other), ['earn 10', 'bonus 300']);
  t.same(await faultsOf([referrer, referee, other]), []);
});

t.test('the bonus for a referral follows the referred one through a merge and back', async (t) => {
  const club = await programme({ bonuses: { referral: { referrer: 300, referee: 100 } } });
  const lots = async (customerId: string) => {
    const { rows } = await pool.query(
      'select bonus_key as key, remaining::int from loyalty_lots where customer_id = $1 order by bonus_key nulls last',
      [customerId],
    );
    return rows;
  };
  for (const undone of [false, true]) {
    const referrer = await member(club);
    const referee = await member(club, { referredBy: referrer });
    const order = await push(referee, total(1_000));
    await runJobs(api);
    // Points that are taken first wherever it is not known which lot they came from.
    const gift = {
      kind: 'adjust',
      customerId: referrer,
      points: 500,
      reason: 'a gift',
      expiresAt: '2027-01-01T00:00:00Z',
    };
    t.equal((await request('POST', '/v1/loyalty/transactions', { body: gift, headers: newKey() })).status, 201);
    const survivor = await customer();
    const merge = { body: { customerId: referee }, headers: newKey() };
    const merged = await request('POST', `/v1/customers/${survivor}/merge`, merge);
    t.equal(merged.status, 200);
    const undo = { body: { mergeId: merged.body.id }, headers: newKey() };
    t.strictSame(await lots(referrer), [
      { key: `referral:${survivor}`, remaining: 300 },
      { key: null, remaining: 500 },
    ]);
    t.same(await faultsOf([referrer, survivor]), []);
    if (undone) {
      t.equal((await request('POST', `/v1/customers/${survivor}/unmerge`, undo)).status, 200);
      t.strictSame(await lots(referrer), [
        { key: `referral:${referee}`, remaining: 300 },
        { key: null, remaining: 500 },
      ]);
    }
    await patch(order.id, { cancelledAt: now });
    await runJobs(api);
    t.strictSame(
      await lots(referrer),
      [
        { key: `referral:${undone ? referee : survivor}`, remaining: 0 },
        { key: null, remaining: 500 },
      ],
      'what is taken back comes from the lot of the bonus',
    );
    t.same(await faultsOf(undone ? [referrer, referee] : [referrer, survivor]), []);
  }
});

t.test(
  'who joins has the points of the orders since then, with the first tier; a referrer who joins later, too',
  async (t) => {
    const levels = [{ ...bronze, multiplier: 1.5 }, gold];
    const club = await programme({
      tiers: { ...tiers, levels },
      bonuses: { welcome: 7, referral: { referrer: 300, referee: 100 } },
    });
    const referrer = await customer();
    const { body } = await request('POST', '/v1/customers', { body: { name: fresh('Cleo'), referredBy: referrer } });
    for (const placedAt of ['2025-12-31T23:59:59Z', '2026-02-01T00:00:00Z', '2026-03-01T00:00:00Z']) {
      await push(body.id, { ...total(40_000), placedAt });
    }
    const enrol = (id: string, joinedAt: string) =>
      request('POST', `/v1/customers/${id}/loyalty`, { body: { programmeId: club, joinedAt }, headers: newKey() });
    const joined = await enrol(body.id, '2026-01-01T00:00:00Z');
    t.match(joined, { status: 201, body: { active: 1_207, tier: 'gold' } });
    t.same(await moves(body.id), ['bonus 7', 'earn 600', 'earn 600']);
    await runJobs(api);
    t.same((await moves(body.id)).slice(3), []);
    t.equal((await enrol(referrer, now)).status, 201);
    await runJobs(api);
    t.same((await moves(body.id)).slice(3), ['bonus 100']);
    t.same(await moves(referrer), ['bonus 7', 'bonus 300']);
    t.same(await faultsOf([body.id, referrer]), []);
  },
);

/** What the hourly job does at this time. */
async function hourly(): Promise<void> {
  await transaction(pool, async (tx) => enqueue(tx, grantLoyaltyBonuses, {}));
  await runJobs(api);
}

t.test('birthdays and anniversaries, once a year', async (t) => {
  const club = await programme({ bonuses: { birthday: 50, anniversary: 70 }, pendingDays: 1 });
  const born = await member(club, { birthday: '1990-06-15', joinedAt: '2024-09-10T10:00:00Z' });
  const leapling = await member(club, { birthday: '1992-02-29', joinedAt: '2024-02-29T10:00:00Z' });
  const yearless = await member(club, { birthday: '--02-29', joinedAt: '2024-02-29T10:00:00Z' });
  const unborn = await member(await programme({}), { birthday: '1990-06-15', joinedAt: '2024-06-15T00:00:00Z' });
  const days: [string, string[], string[]][] = [
    ['2026-06-14T23:59:59.000Z', [], []],
    ['2026-06-15T00:00:00.000Z', ['birthday:2026'], []],
    ['2026-06-16T09:00:00.000Z', ['birthday:2026'], []],
    ['2026-09-16T23:00:00.000Z', ['birthday:2026', 'anniversary:2'], []],
    ['2027-02-27T23:00:00.000Z', ['birthday:2026', 'anniversary:2'], []],
    ['2027-02-28T00:10:00.000Z', ['birthday:2026', 'anniversary:2'], ['birthday:2027', 'anniversary:3']],
    ['2027-03-01T00:10:00.000Z', ['birthday:2026', 'anniversary:2'], ['birthday:2027', 'anniversary:3']],
    // A week without the service.
    ['2027-06-22T00:00:00.001Z', ['birthday:2026', 'anniversary:2'], ['birthday:2027', 'anniversary:3']],
    [
      '2028-02-29T00:00:00.000Z',
      ['birthday:2026', 'anniversary:2'],
      ['birthday:2027', 'anniversary:3', 'birthday:2028', 'anniversary:4'],
    ],
    [
      '2028-06-21T23:00:00.000Z',
      ['birthday:2026', 'anniversary:2', 'birthday:2028'],
      ['birthday:2027', 'anniversary:3', 'birthday:2028', 'anniversary:4'],
    ],
  ];
  const keys = async (who: string) => (await ledgerOf(who)).map(({ bonusKey }) => bonusKey);
  for (const [at, ofBorn, ofLeapling] of days) {
    now = at;
    await hourly();
    t.same(await keys(born), ofBorn, at);
    t.same(await keys(leapling), ofLeapling, at);
    t.same(await keys(yearless), ofLeapling, `${at}, without a year`);
  }
  const { rows } = await pool.query('select earned_at from loyalty_lots where customer_id = $1 order by earned_at', [
    born,
  ]);
  t.same(
    rows.map(({ earned_at: at }) => at),
    ['2026-06-15T00:00:00.000Z', '2026-09-10T00:00:00.000Z', '2028-06-15T00:00:00.000Z'],
    'earned at midnight of the day, however late',
  );
  t.same(await keys(unborn), [], 'a programme without such bonuses');
  t.same(await faultsOf([born, leapling, yearless]), []);
  now = '2026-06-01T12:00:00.000Z';
});

t.test('what members cost a push', async (t) => {
  const stranger = await customer();
  const who = await member(await programme({ tiers }), { tier: 'bronze' });
  await push(stranger);
  await push(who);
  const later = { placedAt: now };
  const without = await statementsOf(() => push(stranger, later));
  const withTiers = await statementsOf(() => push(who, later));
  t.equal(withTiers - without, 1, 'the ledger is written');
  const milestones = await member(await programme({ bonuses: { purchase: { count: 2, points: 5 } } }));
  await push(milestones);
  t.equal((await statementsOf(() => push(milestones, later))) - without, 2);
  for (const policy of policies) {
    const batched = await Promise.all(
      [1, 2, 3].map(async () => member(await programme({ tiers, refundPolicy: policy }), { tier: 'bronze' })),
    );
    const documents = Array.from({ length: 30 }, (_, index) =>
      orderOf({ customerId: batched[index % 3], ...total(1_000) }),
    );
    const send = (orders: object[]) => request('POST', '/v1/orders/batch', { body: { orders } });
    const few = await statementsOf(() => send(documents.slice(0, 3)));
    t.equal(await statementsOf(() => send(documents.slice(3))), few, 'a batch costs the same however large it is');
    const lower = documents.map((document) => ({ ...document, ...total(500) }));
    const fewChanges = await statementsOf(() => send(lower.slice(0, 3)));
    t.equal(await statementsOf(() => send(lower.slice(3))), fewChanges, 'so do changes');
    t.same(await faultsOf(batched), []);
    for (const one of batched) t.match(await accountOf(one), { active: policy === 'only_pending' ? 100 : 50 });
  }
});

for (const policy of policies) {
  t.test(`${policy}: sixteen clients at five members`, async (t) => {
    const rules = {
      refundPolicy: policy,
      tiers: { ...tiers, levels: [bronze, { ...gold, threshold: 20_000 }] },
    };
    const club = await programme({
      ...rules,
      bonuses: { purchase: { count: 4, points: 77 }, referral: { referrer: 30, referee: 20 } },
    });
    const members: string[] = [];
    for (let i = 0; i < 5; i += 1)
      members.push(await member(club, { tier: 'bronze', ...(i > 0 && { referredBy: members[i - 1] }) }));
    let seed = 7 + policy.length;
    const draw = (n: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * n);
    };
    const orders: { id: string; externalId: string }[] = [];
    const unexpected: unknown[] = [];
    const act = async (): Promise<number> => {
      const who = members[draw(5)] ?? '';
      const order = orders[draw(orders.length)];
      const choice = order ? draw(9) : 0;
      const headers = { 'If-Match': '*' };
      if (!order || choice < 2) {
        const answer = await pushOrder(api, { customerId: who, ...total(100 * (1 + draw(200))), placedAt: now });
        if (answer.status === 201) orders.push(answer.body);
        return answer.status;
      }
      const path = `/v1/orders/${order.id}`;
      if (choice === 2) return (await request('PATCH', path, { body: total(100 * (1 + draw(200))), headers })).status;
      if (choice === 3) return (await refund(order.id, 100 * (1 + draw(50)))).status;
      if (choice === 4)
        return (await request('PATCH', path, { body: { cancelledAt: draw(2) ? now : null }, headers })).status;
      if (choice === 5) return (await request('PATCH', path, { body: { customerId: who }, headers })).status;
      if (choice === 6) return draw(3) ? 200 : (await request('DELETE', path, { headers })).status;
      if (choice === 7) {
        const batch = orders
          .slice(0, 3)
          .map(({ externalId }) => orderOf({ externalId, customerId: who, ...total(100 * (1 + draw(100))) }));
        return (await request('POST', '/v1/orders/batch', { body: { orders: batch } })).status;
      }
      await spend(who, 1 + draw(60)).catch((error: unknown) => {
        if (!(error instanceof Problem && error.code === 'insufficient_points')) throw error;
      });
      return 200;
    };
    const client = async () => {
      for (let i = 0; i < 12; i += 1) {
        const status = await act();
        // An order may be gone, or its refunds may not leave room for another.
        if (![200, 201, 204, 404, 409, 422].includes(status)) unexpected.push(status);
      }
    };
    await Promise.all(Array.from({ length: 16 }, client));
    await runJobs(api);
    t.same(unexpected, []);
    t.same(await faultsOf(members), []);
    for (const who of members) {
      const { active, debt } = await accountOf(who);
      t.ok(active >= 0 || policy === 'allow_negative', 'nothing below zero');
      t.ok(debt === 0 || policy === 'allow_negative', 'no debt');
    }
  });
}

t.test('an order that was there before the version it was placed under is recomputed', async (t) => {
  const club = await programme({});
  const who = await member(club);
  const before = await push(who, { ...total(1_000), placedAt: '2026-06-01T11:59:00.000Z' });
  // The shop's clock is ahead, within what is taken.
  await push(who, { ...total(1_000), placedAt: '2026-06-01T12:08:00.000Z' });
  const path = `/v1/loyalty/programmes/${club}`;
  const headers = { 'If-Match': '*' };
  const rules = { ...plain, pointsPerUnit: 3 };
  t.equal((await request('PATCH', path, { body: { rules }, headers })).status, 200);
  t.equal((await request('POST', `${path}/publish`, { headers })).status, 200);
  await runJobs(api);
  t.same(
    (await ledgerOf(who)).map(({ kind, points, entitled }) => [kind, points, entitled]),
    [
      ['earn', 10, 10],
      ['earn', 10, 10],
      ['earn', 20, 30],
    ],
    'and the one placed before it is not',
  );
  t.same(await earningDifferences(poolDb(pool), 'EUR', 10), []);
  t.equal((await patch(before.id, total(2_000))).total, 2_000);
  t.equal((await ledgerOf(who)).at(-1)?.entitled, 20);
});
