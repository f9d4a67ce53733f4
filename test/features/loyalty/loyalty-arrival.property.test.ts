import fc from 'fast-check';
import t from 'tap';
import { ledgerDifferences } from '../../../src/features/loyalty/comparison.ts';
import { earningDifferences } from '../../../src/features/loyalty/earning-comparison.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import { testApp } from '../../support/app.ts';
import { draws, endOnFailure, firstSeed } from '../../support/draws.ts';
import {
  day,
  enrol,
  type OracleItem,
  type OracleOrder,
  type OracleReturn,
  type OracleRules,
  ordersChanged,
  setTier,
  standingAt,
  stepsUntil,
} from '../../support/loyalty-oracle.ts';
import { allPages, fresh, newKey } from '../../support/shop.ts';

/*
 * Orders, refunds, returns, corrections, cancellations and deletions of a member come in any order that keeps the messages
 * of each record as they were sent, over months, before and after the enrolment: what orders earn, what is left of it
 * where nothing is spent, the tier and its history are those of test/support/loyalty-oracle.ts, which only sees the end; the
 * revenue is the same each time. A tier set by hand is set at one moment, whatever has come by then.
 */

t.setTimeout(280_000);

const start = Date.parse('2025-01-01T00:00:00Z') * 1000;
let now = start;
const iso = (micros: number) => new Date(micros / 1000).toISOString();
const api = await testApp(t, { clock: () => iso(now) });
const at = (days: number) => start + days * day;
const sum = (numbers: number[]) => numbers.reduce((all, one) => all + one, 0);

const chance = (times: number) => fc.nat({ max: times - 1 }).map((n) => n === 0);

type Expiry = Pick<OracleRules, 'expiryDays' | 'expiresOn' | 'expiresAtEndOf'>;
const isExpiring = ({ expiryDays, expiresOn }: Expiry) => (expiryDays ?? expiresOn ?? null) !== null;
const none: Expiry = { expiryDays: null, expiresOn: null, expiresAtEndOf: null };
const expiry = fc.constantFrom<Expiry[]>(
  none,
  none,
  { ...none, expiryDays: 400 },
  { ...none, expiryDays: 380, expiresAtEndOf: 'month' },
  { ...none, expiresOn: '2026-05-31' },
  { ...none, expiresOn: '2025-06-05' },
);

const rulesOf: fc.Arbitrary<OracleRules> = fc
  .record({
    pointsPerUnit: fc.constantFrom(1, 0.5, 2.3457),
    rounding: fc.constantFrom('down' as const, 'half_up' as const, 'up' as const),
    earnOn: fc.constantFrom('paid' as const, 'paid' as const, 'fulfilled' as const),
    pendingDays: fc.constantFrom(0, 14, 365),
    expiry,
    tierOnRefund: fc.constantFrom('recompute' as const, 'recompute' as const, 'keep' as const),
    // What is taken back is taken from whatever there is: `only_pending` leaves a member what came too late to be taken.
    refundPolicy: fc.constantFrom('within_balance' as const, 'allow_negative' as const),
    categories: fc.constantFrom(
      [],
      ...[3, 0.5].map((multiplier) => [
        { category: 'A', multiplier },
        { category: 'B', multiplier: 0 },
      ]),
    ),
    campaigns: fc.constantFrom(
      [],
      [{ name: 'More', from: at(20), to: at(60), campaignId: null, multiplier: 2 }],
    ) satisfies fc.Arbitrary<OracleRules['campaigns']>,
    tiers: fc.record({
      basis: fc.constantFrom('spend' as const, 'points' as const),
      windowDays: fc.constantFrom(20, 60, 365),
      periodDays: fc.constantFrom(10, 30, 90),
      graceDays: fc.constantFrom(0, 7, 40),
      levels: fc.constantFrom([100, 300], [5_000, 20_000], [300, 20_000]).map((thresholds) =>
        [0, ...thresholds].map((threshold, n) => ({
          key: ['basic', 'silver', 'gold'][n] ?? '',
          name: 'Level',
          threshold,
          multiplier: [1, 1.25, 2][n] ?? 1,
        })),
      ),
    }),
    bonuses: fc.constantFrom({}, { purchase: { count: 2, points: 250 } }),
    pointValue: fc.constant(1),
    includeShipping: fc.boolean(),
    includeFees: fc.boolean(),
  })
  .map(({ expiry: dates, ...rules }) => ({
    ...rules,
    ...dates,
    // Points are not active for a day before they are gone.
    ...((dates.expiresOn ?? dates.expiryDays) !== null && { pendingDays: Math.min(rules.pendingDays, 14) }),
  }));

const item = fc.record({
  names: fc.constantFrom('line', 'externalId', 'sku', 'sku'),
  n: fc.nat({ max: 3 }),
  quantity: fc.constantFrom(1, 2),
  total: fc.constantFrom(null, null, 300, 2_500),
});

const refund = fc.record({
  /** Tenths of what may be refunded, and of the tax. */
  amount: fc.nat({ max: 4 }),
  tax: fc.option(fc.nat({ max: 3 }), { nil: null }),
  shipping: chance(3),
  day: fc.integer({ min: 130, max: 133 }),
  items: fc.array(item, { maxLength: 2 }),
  isCorrected: chance(3),
  isDeleted: chance(6),
});

const order = fc.record({
  day: fc.constantFrom(10, 25, 40, 40, 70, 100, 120),
  formerDay: fc.constantFrom<number>(10, 25, 50, 110),
  lines: fc.array(
    fc.record({
      sku: fc.constantFrom('A', 'B', 'C'),
      category: fc.constantFrom('A', 'B', null),
      quantity: fc.constantFrom(1, 2, 3),
      total: fc.constantFrom(0, 199, 1_999, 5_000, 12_345),
      hasId: fc.boolean(),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  coupon: chance(4),
  shipping: fc.constantFrom(0, 0, 499),
  fees: fc.constantFrom(0, 0, 150),
  tax: fc.constantFrom(0, 0.07, 0.19),
  taxIncluded: fc.boolean(),
  inDollars: chance(4),
  paid: chance(7).map((isNot) => !isNot),
  isCorrected: chance(3),
  /** The last that is said of it. */
  end: fc.constantFrom('none', 'none', 'none', 'none', 'cancelled', 'reopened', 'deleted'),
  refunds: fc.constantFrom(0, 2, 3).chain((count) => fc.array(refund, { minLength: count, maxLength: count })),
});

const goodsBack = fc.record({
  day: fc.constantFrom(10, 30, 45, 75, 121, 140),
  inDollars: chance(5),
  total: fc.constantFrom(300, 1_999, 9_000, 50_000),
  items: fc.array(item, { maxLength: 2 }),
  isCorrected: chance(3),
  isDeleted: chance(6),
});

/** Which record is the next one, how long after, and by which door. */
const arrival = fc.record({
  picks: fc.array(fc.nat({ max: 10_000 }), { minLength: 60, maxLength: 60 }),
  gaps: fc.array(fc.constantFrom(0, 0, 0.25, 1, 5), { minLength: 60, maxLength: 60 }),
  enrolledAfter: fc.constantFrom(0, 0, 3, 1_000),
  /** How many messages come before the tier is set by hand. */
  setAfter: fc.constantFrom(0, 2, 5, 1_000),
});

const history = fc
  .record({
    rules: fc.tuple(rulesOf, rulesOf),
    orders: fc.array(order, { minLength: 1, maxLength: 4 }),
    returns: fc.array(goodsBack, { maxLength: 2 }),
    byHand: fc.constantFrom(null, null, { tier: 'silver', until: null }, { tier: 'gold', until: 300 }),
    arrivals: fc.tuple(arrival, arrival),
  })
  .map(({ rules: [first, second], orders, ...rest }) => {
    const keeps = first.tierOnRefund === 'keep' || second.tierOnRefund === 'keep';
    const basis = keeps ? 'spend' : null;
    const counting = (rules: OracleRules): OracleRules =>
      rules.tiers && basis ? { ...rules, tiers: { ...rules.tiers, basis } } : rules;
    // Lots keep the dates by which they were credited: those of a bonus too, whichever order turns out to be the second.
    const expires = isExpiring(first) || isExpiring(second);
    return {
      ...rest,
      rules: [first, second].map((one) => ({ ...counting(one), ...(expires && { bonuses: {} }) })),
      orders: orders.map((one) => ({
        ...one,
        // With `keep` an order never counts less than it once did, so what somebody has corrected or deleted is history.
        isCorrected: one.isCorrected && !keeps,
        end: keeps && one.end === 'deleted' ? 'none' : one.end,
        formerDay: expires ? one.day : one.formerDay,
      })),
    };
  });
type Drawn<A> = A extends fc.Arbitrary<infer T> ? T : never;

interface Message {
  kind: 'orders' | 'refunds' | 'returns';
  externalId: string;
  /** null: it is deleted. */
  document: object | null;
  /** Whether its order may have been deleted by then. */
  mayBeGone: boolean;
}

async function send(method: string, path: string, body?: unknown, allowed: number[] = []): Promise<any> {
  const headers: Record<string, string> = { ...newKey(), ...(method !== 'PUT' && { 'If-Match': '*' }) };
  const answer = await api.request(method, path, { ...(body !== undefined && { body }), headers });
  if (answer.status >= 300 && !allowed.includes(answer.status)) {
    throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)} for ${JSON.stringify(body)}`);
  }
  return answer.body;
}

const types = { orders: 'Order', refunds: 'Refund', returns: 'Return' };
/** In GraphQL the same words are in capitals. */
const inCapitals = (document: object) =>
  Object.fromEntries(
    Object.entries(document).map(([name, value]) => [name, name.endsWith('Status') ? value.toUpperCase() : value]),
  );

async function push({ kind, externalId, document, mayBeGone }: Message, door: number): Promise<void> {
  const path = `/v1/${kind}/external/shop/${externalId}`;
  const type = types[kind];
  if (document !== null && door === 2) {
    const { body } = await api.graphql(
      `mutation ($reference: ReferenceInput!, $input: ${type}Document!) {
        upsert${type}(reference: $reference, input: $input) { applied } }`,
      { reference: { source: 'shop', externalId }, input: inCapitals(document) },
    );
    if (body.errors && !mayBeGone) throw new Error(`upsert${type}: ${JSON.stringify(body.errors)}`);
    if (!body.errors) doors.graphql += 1;
  } else if (document === null) await send('DELETE', path, undefined, mayBeGone ? [404, 410] : []);
  else if (door === 0) {
    const records = [{ source: 'shop', externalId, ...document }];
    const [result] = (await send('POST', `/v1/${kind}/batch`, { [kind]: records })).results;
    if (result.status === 'refused' && !mayBeGone)
      throw new Error(`${JSON.stringify(result)} ${JSON.stringify(document)}`);
  } else await send('PUT', path, document, mayBeGone ? [404, 410, 422] : []);
}

/** How often each was used. */
const doors = { graphql: 0 };

/** What is not said is left out. */
const told = ({ total, ...rest }: OracleItem) => ({ ...rest, ...(total !== null && { total }) });

function itemsOf(items: Drawn<typeof item>[], lines: OracleOrder['items']): OracleItem[] {
  return items.map(({ names, n, quantity, total }) => {
    const line = lines[n % Math.max(1, lines.length)];
    // The id decides before the position, and that before the sku.
    if (names === 'externalId') return { externalId: line?.externalId ?? 'unknown', line: 0, quantity, total };
    if (names === 'line') return { line: n, sku: 'A', quantity, total };
    return { sku: line?.sku ?? 'B', quantity, total };
  });
}

/** An order at the end, and the messages of it and its refunds. */
function orderOf(drawn: Drawn<typeof order>, name: string, customer: string) {
  const items: OracleOrder['items'] = drawn.lines.map(({ hasId, ...line }, n) => ({
    ...line,
    ...(hasId && { externalId: `L${n}` }),
  }));
  const goods = sum(items.map(({ total }) => total));
  if (drawn.coupon && goods > 0)
    items.push({ sku: 'COUPON', category: 'A', quantity: -1, total: -Math.ceil(goods / 4) });
  const { shipping, fees, taxIncluded } = drawn;
  const net = sum(items.map(({ total }) => total)) + shipping + fees;
  const tax = Math.floor(net * drawn.tax);
  const total = net + (taxIncluded ? 0 : tax);
  const refunds = drawn.refunds.map(({ items: named, ...one }, n) => {
    const amount = Math.floor((total * one.amount) / 12);
    return {
      ...one,
      name: `${name}-R${n}`,
      refundedAt: at(one.day),
      amount,
      tax: one.tax === null ? null : Math.min(amount, Math.floor((tax * one.tax) / 10)),
      shipping: one.shipping ? Math.min(shipping, amount) : null,
      items: itemsOf(named, items),
    };
  });
  const facts: OracleOrder = {
    id: name,
    name: `shop ${name}`,
    placedAt: at(drawn.day),
    currency: drawn.inDollars ? 'USD' : 'EUR',
    rate: drawn.inDollars ? 93 : 100,
    ...{ total, tax, taxIncluded, shipping, fees, items },
    cancelled: drawn.end === 'cancelled',
    test: false,
    paid: drawn.paid,
    fulfilled: drawn.paid,
    campaignId: null,
    refunds: refunds
      .filter(({ isDeleted }) => !isDeleted)
      .sort((a, b) => a.refundedAt - b.refundedAt || (a.name < b.name ? -1 : 1)),
  };
  const document = {
    customer: { source: 'shop', externalId: customer },
    placedAt: iso(facts.placedAt),
    currency: facts.currency,
    ...(drawn.inDollars && { exchangeRate: '0.93' }),
    ...{ total, tax, taxIncluded, shipping, fees },
    items: items.map(({ category, ...line }) => ({ ...line, ...(category && { category }) })),
    paymentStatus: drawn.paid ? 'paid' : 'pending',
    fulfillmentStatus: drawn.paid ? 'fulfilled' : 'unfulfilled',
  };
  // More than at the end, so that the refunds fit at any time; and of another day, so with another tier.
  const former = {
    ...document,
    placedAt: iso(at(drawn.formerDay)),
    total: total + 7_000,
    items: [...document.items, { sku: 'X', quantity: 1, total: 7_000, category: 'A' }],
  };
  const isDeleted = drawn.end === 'deleted';
  const message = (one: object | null, of = name, kind: Message['kind'] = 'orders'): Message => ({
    ...{ kind, externalId: of, document: one },
    mayBeGone: isDeleted,
  });
  const cancelled = { ...document, cancelledAt: iso(at(134)) };
  const own = [
    ...(drawn.isCorrected ? [message(former)] : []),
    ...(drawn.end === 'reopened' ? [message(cancelled)] : []),
    message(drawn.end === 'cancelled' ? cancelled : document),
    ...(isDeleted ? [message(null)] : []),
  ];
  const ofRefunds = refunds.map(({ name: of, amount, tax: stated, ...one }) => {
    const version = {
      order: { externalId: name },
      refundedAt: iso(one.refundedAt),
      amount,
      tax: stated,
      shipping: one.shipping,
      items: one.items.map(told),
    };
    const less = {
      ...version,
      refundedAt: iso(at(132)),
      amount: Math.floor(amount / 2),
      tax: null,
      shipping: null,
      items: [],
    };
    const versions = [...(one.isCorrected ? [less] : []), version, ...(one.isDeleted ? [null] : [])];
    return versions.map((one) => message(one, of, 'refunds'));
  });
  return { facts: isDeleted ? [] : [facts], queues: [own, ...ofRefunds] };
}

function returnOf(drawn: Drawn<typeof goodsBack>, name: string, customer: string) {
  const { total, isCorrected, isDeleted } = drawn;
  const items = itemsOf(drawn.items, []).map(({ line: _, ...one }) => ({ sku: 'B', ...one }));
  const facts: OracleReturn & { returnedAt: number } = {
    ...{ name, returnedAt: at(drawn.day), total, items },
    currency: drawn.inDollars ? 'USD' : 'EUR',
  };
  const document = {
    customer: { source: 'shop', externalId: customer },
    returnedAt: iso(facts.returnedAt),
    currency: facts.currency,
    total,
    items: items.map(told),
  };
  const former = { ...document, returnedAt: iso(at(141)), total: 100, items: [] };
  const documents = [...(isCorrected ? [former] : []), document, ...(isDeleted ? [null] : [])];
  const messages = documents.map(
    (one): Message => ({
      ...{ kind: 'returns', externalId: name, document: one },
      mayBeGone: false,
    }),
  );
  return { facts: isDeleted ? [] : [facts], queues: [messages] };
}

function rulesDocument({ campaigns, ...rules }: OracleRules) {
  const dated = campaigns.map(({ campaignId: _, ...one }) => ({ ...one, from: iso(one.from), to: iso(one.to) }));
  return { ...rules, campaigns: dated };
}

/** Sends it all to a new member, and returns what is wrong at the end. */
async function play(drawn: Drawn<typeof history>, { picks, gaps, enrolledAfter, setAfter }: Drawn<typeof arrival>) {
  now = start;
  const [first, second] = drawn.rules;
  if (!first || !second) throw new RangeError('There are two versions');
  const { id: programmeId } = await send('POST', '/v1/loyalty/programmes', {
    name: 'Club',
    rules: rulesDocument(first),
  });
  await send('POST', `/v1/loyalty/programmes/${programmeId}/publish`, { validFrom: iso(start) });
  await send('PATCH', `/v1/loyalty/programmes/${programmeId}`, { rules: rulesDocument(second) });
  await send('POST', `/v1/loyalty/programmes/${programmeId}/publish`, { validFrom: iso(at(60)) });
  const versions = [
    { validFrom: start, rules: first },
    { validFrom: at(60), rules: second },
  ];
  const name = fresh('member');
  const { id } = await send('POST', '/v1/customers', { references: [{ source: 'shop', externalId: name }] });
  const orders = drawn.orders.map((one, n) => orderOf(one, `${name}-O${n}`, name));
  const returns = drawn.returns.map((one, n) => returnOf(one, `${name}-B${n}`, name));
  const queues = [...orders, ...returns].flatMap((one) => one.queues.map((queue) => [...queue]));

  now = at(142);
  const joinedAt = at(12);
  const join = () => send('POST', `/v1/customers/${id}/loyalty`, { programmeId, joinedAt: iso(joinedAt) });
  let isMember = false;
  for (let n = 0; ; n += 1) {
    const open = queues.filter((queue) => queue.length > 0);
    const isSetNow = n >= setAfter || open.length === 0;
    if (!isMember && (n >= enrolledAfter || isSetNow)) {
      await join();
      isMember = true;
    }
    if (now < at(150) && isSetNow) {
      now = at(150);
      if (drawn.byHand) {
        const { tier, until } = drawn.byHand;
        const setting = { tier, reason: 'asked for', ...(until && { until: iso(at(until)) }) };
        await send('PUT', `/v1/customers/${id}/loyalty/tier`, setting);
      }
      now = at(155);
    }
    const pick = picks[n % picks.length] ?? 0;
    const message = open[pick % Math.max(1, open.length)]?.shift();
    if (!message) break;
    await push(message, pick % 3);
    now += (now < at(150) ? 0 : (gaps[n % gaps.length] ?? 0) * day) + 1_000;
  }
  now = at(500);

  const facts = orders.flatMap((one) => one.facts);
  const member = enrol(
    { versions, endedAt: null },
    new Map(facts.map((one) => [one.id, one])),
    returns.flatMap((one) => one.facts),
    null,
    joinedAt,
    now,
  );
  if (drawn.byHand) {
    const { tier, until } = drawn.byHand;
    setTier(member, tier, until && at(until), at(150));
    ordersChanged(member, now);
  }
  const standing = standingAt(member, now);
  const steps = stepsUntil(member, now);
  const loyalty = await send('GET', `/v1/customers/${id}/loyalty`);
  const changes = await allPages(api, `/v1/customers/${id}/loyalty/tier-changes?limit=100`);
  const transactions = await allPages(api, `/v1/customers/${id}/loyalty/transactions?limit=100`);
  const idOf = new Map<string, string>();
  for (const { id: of } of facts) idOf.set(of, (await send('GET', `/v1/orders/external/shop/${of}`)).id);
  // What has expired is not taken back, so postings tell what is earned only where nothing expires.
  const expires = versions.some(({ rules }) => isExpiring(rules));
  const earned = (of: string | undefined) =>
    sum(transactions.filter(({ orderId }) => orderId === of).map(({ points }) => points));
  const found = {
    orders: expires ? [] : facts.map(({ id: of }) => earned(idOf.get(of))),
    balance: loyalty.active + loyalty.pending,
    tier: [loyalty.tier, loyalty.tierEndsAt, loyalty.tierInGrace],
    // Those that come with time alone may not be written yet.
    changes: changes.map(({ at: of, tier, reason, endsAt }) => [of, tier, reason, endsAt]),
  };
  const isoOrNull = (instant: number | null) => (instant === null ? null : iso(instant));
  const expected = {
    orders: expires ? [] : facts.map(({ id: of }) => member.entitlements.get(of) ?? 0),
    balance: standing && standing.active + standing.pending,
    tier: [standing?.tier, isoOrNull(standing?.tierEndsAt ?? null), standing?.tierInGrace],
    changes: steps
      .map((step) => [iso(step.at), step.tier, step.reason, isoOrNull(step.endsAt)])
      .slice(0, Math.max(1, changes.length)),
  };
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    throw new Error(`found  ${JSON.stringify(found)}\noracle ${JSON.stringify(expected)}`);
  }
  const { body: summary } = await api.request('GET', `/v1/customers/${id}/summary`);
  return {
    revenue: JSON.stringify(summary.value),
    points: sum([...member.entitlements.values()]),
    upgrades: steps.filter(({ reason }) => reason === 'upgrade').length,
  };
}

t.test('whatever comes first, points, balance, tier and its history are the same', async (t) => {
  let [points, upgrades] = [0, 0];
  await fc.assert(
    fc.asyncProperty(history, async (drawn) => {
      const revenues = new Set<string>();
      for (const one of drawn.arrivals) {
        const found = await play(drawn, one);
        revenues.add(found.revenue);
        points += found.points;
        upgrades += found.upgrades;
      }
      t.equal(revenues.size, 1, [...revenues].join(' '));
    }),
    { numRuns: draws({ quick: 14, deep: 200 }), seed: firstSeed(20_261_130), endOnFailure },
  );
  t.ok(points > 1_000 && upgrades > 3, `${points} points, ${upgrades} upgrades`);
  t.ok(doors.graphql > 20, `${doors.graphql} by GraphQL`);
  const pool = openPool(api.connection, { size: 1, statementTimeout: 60_000 });
  t.teardown(() => pool.end());
  t.same(await ledgerDifferences(poolDb(pool), 10), []);
  t.same(await earningDifferences(poolDb(pool), 'EUR', 10), []);
});
