import fc from 'fast-check';
import t from 'tap';
import { Temporal } from 'temporal-polyfill';
import {
  type EarningOrder,
  earns,
  type LoyaltyRules,
  lotDates,
  mostPoints,
  type PointRounding,
  pointsOfOrder,
  type RefundPolicy,
  type TierRules,
} from '../../src/domain/loyalty-earning.ts';
import { OrderGoods } from '../../src/domain/loyalty-goods.ts';
import {
  balanceAt,
  balanceNow,
  compareFifo,
  credit,
  expireDue,
  type Lot,
  type NewLot,
  nextChange,
  type Posting,
  returnLots,
  takeBack,
  takeFifo,
  transferLots,
} from '../../src/domain/loyalty-ledger.ts';
import { loyaltyLiability } from '../../src/domain/loyalty-liability.ts';
import { anniversaries, birthdays } from '../../src/domain/loyalty-occasions.ts';
import {
  Contributions,
  levelFor,
  progress,
  raise,
  runOn,
  type TierChange,
  type TierContribution,
  type TierState,
  withoutTier,
} from '../../src/domain/loyalty-tiers.ts';
import { addDays, isBefore } from '../../src/domain/period.ts';

/** Day `n` of the tests at noon, with microseconds: the time of day must come through. */
const day = (n: number): string => addDays('2026-01-01T12:00:00.000001Z', n);

const rules: LoyaltyRules = {
  pointsPerUnit: 1,
  rounding: 'down',
  earnOn: 'paid',
  pendingDays: 14,
  expiryDays: 365,
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
/** An order of lines that cost so much, without a discount or anything else. */
const orderOf = (revenue: number, items: { category: string | null; total: number }[]): EarningOrder => {
  const lines = items.map((item) => ({ ...item, externalId: null, sku: null, quantity: 1 }));
  const parts = { total: revenue, tax: 0, taxIncluded: true, shipping: 0, fees: 0, items: lines, refunds: [] };
  const left = new OrderGoods(parts).leftOver();
  return { baseRevenue: revenue, placedAt: day(0), campaignId: null, items, left };
};
const order = orderOf(19_999, []);
const tiers: TierRules = {
  basis: 'spend',
  windowDays: 365,
  periodDays: 100,
  graceDays: 30,
  reachingOrder: 'former_tier',
  levels: [
    { key: 'basic', name: 'Basic', threshold: 0, multiplier: 1 },
    { key: 'silver', name: 'Silver', threshold: 50_000, multiplier: 1.5 },
    { key: 'gold', name: 'Gold', threshold: 200_000, multiplier: 2 },
  ],
};

t.test('the points of an order are its revenue times every factor, rounded once', async (t) => {
  const points = (
    change: Partial<LoyaltyRules>,
    of: Partial<EarningOrder> = {},
    tier: string | null = null,
    exponent = 2,
  ) => pointsOfOrder({ ...rules, ...change }, { ...order, ...of }, tier, exponent);
  t.equal(points({}), 199);
  t.equal(points({ rounding: 'half_up' }), 200);
  t.equal(points({ rounding: 'up' }), 200);
  t.equal(points({ rounding: 'up' }, { baseRevenue: 20_000 }), 200, 'nothing to round');
  t.equal(points({ rounding: 'half_up' }, { baseRevenue: 50 }), 1, 'a half is a point');
  t.equal(points({ rounding: 'half_up' }, { baseRevenue: 49 }), 0);
  t.equal(points({ rounding: 'up' }, { baseRevenue: 1 }), 1);

  t.equal(points({}, { baseRevenue: null }), 0, 'no rate yet');
  t.equal(points({ rounding: 'up' }, { baseRevenue: 0 }), 0);
  t.equal(points({ rounding: 'up' }, { baseRevenue: -5 }), 0);

  t.equal(points({}, { baseRevenue: 1_999 }, null, 0), 1_999, 'JPY');
  t.equal(points({}, { baseRevenue: 1_999 }, null, 3), 1, 'KWD');

  t.equal(points({ pointsPerUnit: 0.07 }, { baseRevenue: 10_000 }), 7, 'where floats make 7.000000000000001');
  t.equal(points({ pointsPerUnit: 0.0001, rounding: 'up' }, { baseRevenue: 100 }), 1);
  t.equal(
    points({ pointsPerUnit: 1e-7, rounding: 'down' }, { baseRevenue: 100_000_000_0 }),
    1,
    'as JavaScript prints it',
  );

  t.equal(points({ tiers }, { baseRevenue: 1_999 }, 'silver'), 29, '29.985; not 19 × 1.5 = 28');
  t.equal(points({ tiers }, { baseRevenue: 1_999 }, 'unknown'), 19);
  t.equal(points({}, { baseRevenue: 1_999 }, 'silver'), 19, 'no tiers');

  t.equal(points({ pointsPerUnit: 10_000 }, { baseRevenue: 2 ** 53 - 1 }), mostPoints);
});

t.test('campaigns multiply, inside their window and for their orders', async (t) => {
  const campaigns = [
    { name: 'double', from: day(0), to: day(2), multiplier: 2 },
    { name: 'letter', from: day(1), to: day(3), campaignId: 'c1', multiplier: 1.5 },
  ];
  const at = (placedAt: string, campaignId: string | null = null) =>
    pointsOfOrder({ ...rules, campaigns }, { ...order, baseRevenue: 1_000, placedAt, campaignId }, null, 2);
  t.equal(at('2026-01-01T12:00:00.000Z'), 10, 'a microsecond before');
  t.equal(at(day(0)), 20);
  t.equal(at(day(1), 'c1'), 30, 'both');
  t.equal(at(day(1), 'c2'), 20);
  t.equal(at(day(2), 'c1'), 15, 'the first has ended');
  t.equal(at(day(3), 'c1'), 10);
});

t.test('category multipliers are weighted by what was paid for the lines', async (t) => {
  const categories = [
    { category: 'tea', multiplier: 2 },
    { category: 'gift card', multiplier: 0 },
  ];
  const of = (...items: [string | null, number][]) =>
    pointsOfOrder(
      { ...rules, categories },
      orderOf(
        9_000,
        items.map(([category, total]) => ({ category, total })),
      ),
      null,
      2,
    );
  t.equal(of(), 90, 'no items');
  t.equal(of(['tea', 1_000], [null, 2_000]), 120, '(2 + 1 + 1) ÷ 3');
  t.equal(of(['tea', 1_000], ['coffee', 2_000]), 120);
  t.equal(of(['gift card', 500]), 0);
  t.equal(of(['tea', 0], ['tea', -300]), 90, 'nothing above 0');
  t.equal(of(['tea', 2_000], ['coffee', 2_000], ['coffee', -2_000]), 180, 'a line below 0 takes from its category');
});

t.test('points are exact fractions, whatever the factors', async () => {
  // The oracle counts in whole ten-thousandths and compares by multiplication, so it divides nothing.
  const tenThousandths = fc.integer({ min: 0, max: 1_000_000 });
  const line = fc.record({ own: fc.boolean(), total: fc.integer({ min: 0, max: 1_000_000 }) });
  fc.assert(
    fc.property(
      fc.record({
        revenue: fc.integer({ min: 1, max: 10_000_000 }),
        perUnit: fc.integer({ min: 0, max: 100_000 }),
        tier: tenThousandths,
        category: tenThousandths,
        campaigns: fc.array(tenThousandths, { maxLength: 2 }),
        lines: fc.array(line, { maxLength: 4 }),
        exponent: fc.constantFrom(0, 2, 3),
        rounding: fc.constantFrom<PointRounding>('down', 'half_up', 'up'),
      }),
      ({ revenue, perUnit, tier, category, campaigns, lines, exponent, rounding }) => {
        const points = pointsOfOrder(
          {
            ...rules,
            rounding,
            pointsPerUnit: perUnit / 10_000,
            tiers: { ...tiers, levels: [{ key: 'only', name: 'Only', threshold: 0, multiplier: tier / 10_000 }] },
            categories: [{ category: 'own', multiplier: category / 10_000 }],
            campaigns: campaigns.map((c) => ({ name: 'c', from: day(0), to: day(1), multiplier: c / 10_000 })),
          },
          orderOf(
            revenue,
            lines.map(({ own, total }) => ({ category: own ? 'own' : null, total })),
          ),
          'only',
          exponent,
        );
        const weights = lines.map(({ own, total }) => ({ m: own ? category : 10_000, w: Math.max(0, total) }));
        const sum = weights.reduce((s, { w }) => s + w, 0);
        const top =
          [revenue, perUnit, tier, ...campaigns].reduce((p, n) => p * BigInt(n), 1n) *
          (sum === 0 ? 10_000n : weights.reduce((s, { m, w }) => s + BigInt(m) * BigInt(w), 0n));
        const bottom =
          10n ** BigInt(exponent) * 10_000n ** BigInt(3 + campaigns.length) * (sum === 0 ? 1n : BigInt(sum));
        if (points === mostPoints) return top + bottom > BigInt(mostPoints) * bottom;
        const p = BigInt(points);
        if (rounding === 'down') return p * bottom <= top && top < (p + 1n) * bottom;
        if (rounding === 'up') return (p - 1n) * bottom < top && top <= p * bottom;
        return (2n * p - 1n) * bottom <= 2n * top && 2n * top < (2n * p + 1n) * bottom;
      },
    ),
    { numRuns: 500 },
  );
});

t.test('an order earns when it qualifies and is paid, or fulfilled', async (t) => {
  const paid = { qualifying: true, paymentStatus: 'paid', fulfillmentStatus: null };
  const fulfilled = { qualifying: true, paymentStatus: 'pending', fulfillmentStatus: 'fulfilled' };
  t.equal(earns(rules, paid), true);
  t.equal(earns(rules, { ...paid, qualifying: false }), false);
  t.equal(earns(rules, fulfilled), false);
  t.equal(earns({ earnOn: 'fulfilled' }, paid), false);
  t.equal(earns({ earnOn: 'fulfilled' }, fulfilled), true);
});

t.test('days of a lot are of 24 hours, to the microsecond', async (t) => {
  t.same(lotDates(rules, '2024-02-20T23:59:59.999999Z', 'UTC'), {
    earnedAt: '2024-02-20T23:59:59.999999Z',
    activeAt: '2024-03-05T23:59:59.999999Z',
    expiresAt: '2025-02-19T23:59:59.999999Z',
  });
  t.same(lotDates({ ...rules, pendingDays: 0, expiryDays: null }, '2024-02-29T00:00:00.000Z', 'UTC'), {
    earnedAt: '2024-02-29T00:00:00.000Z',
    activeAt: '2024-02-29T00:00:00.000Z',
    expiresAt: null,
  });
  t.throws(() => addDays('9998-12-31T00:00:00.000Z', 400), RangeError);
  fc.assert(
    fc.property(fc.integer({ min: -1e15, max: 4e15 }), fc.integer({ min: -4_000, max: 4_000 }), (micros, days) => {
      const instant = Temporal.Instant.fromEpochNanoseconds(BigInt(micros) * 1_000n);
      const text = instant.toString({ fractionalSecondDigits: micros % 1_000 === 0 ? 3 : 6 });
      return Temporal.Instant.from(addDays(text, days)).equals(instant.add({ hours: 24 * days }));
    }),
  );
});

/** A lot with nothing taken yet, in days. */
const lot = (id: string, points: number, earned: number, active: number, expires: number | null): Lot => ({
  id,
  points,
  remaining: points,
  earnedAt: day(earned),
  activeAt: day(active),
  expiresAt: expires === null ? null : day(expires),
});
const brief = (entries: readonly Posting[] | null) => entries?.map(({ lotId, points }) => [lotId, points]) ?? null;

t.test('spending takes what expires first, from active lots only', async (t) => {
  const lots = [
    lot('never', 10, 0, 0, null),
    lot('late', 10, 0, 0, 90),
    lot('soon-twin', 10, 5, 5, 50),
    lot('soon', 10, 5, 5, 50),
    lot('soon-older', 10, 4, 4, 50),
    lot('pending', 10, 10, 20, 40),
    lot('expired', 10, 0, 0, 10),
    { ...lot('empty', 10, 0, 0, 20), remaining: 0 },
  ];
  t.same(takeFifo(lots, 0, 34, day(10)), {
    available: 50,
    entries: [
      { lotId: 'soon-older', points: -10, at: day(10) },
      { lotId: 'soon', points: -10, at: day(10) },
      { lotId: 'soon-twin', points: -10, at: day(10) },
      { lotId: 'late', points: -4, at: day(10) },
    ],
  });
  t.same(brief(takeFifo(lots, 0, 50, day(10)).entries?.slice(-1) ?? null), [['never', -10]], 'all of it');
  t.same(takeFifo(lots, 0, 51, day(10)), { available: 50, entries: null });
  t.same(takeFifo(lots, 15, 36, day(10)), { available: 35, entries: null }, 'what is owed cannot be spent');
  t.same(takeFifo([], 5, 1, day(10)), { available: 0, entries: null });
  const only = [lot('one', 10, 0, 2, 4)];
  const available = (at: string) => takeFifo(only, 0, 0, at).available;
  t.equal(available('2026-01-03T12:00:00.000Z'), 0, 'a microsecond too early');
  t.equal(available(day(2)), 10, 'from activeAt on');
  t.equal(available('2026-01-05T12:00:00.000Z'), 10);
  t.equal(available(day(4)), 0, 'not at expiresAt any more');
});

t.test('a credit pays what is owed at once', async (t) => {
  const one = lot('one', 10, 3, 5, 9);
  t.same(credit(one, 0, day(4)), {
    entries: [{ lotId: 'one', points: 10, at: day(3) }],
    paid: 0,
    remaining: 10,
    debt: 0,
  });
  t.same(credit(one, 4, day(4)), {
    entries: [
      { lotId: 'one', points: 10, at: day(3) },
      { lotId: 'one', points: -4, at: day(4) },
      { lotId: null, points: 4, at: day(4) },
    ],
    paid: 4,
    remaining: 6,
    debt: 0,
  });
  t.match(credit(one, 25, day(4)), { paid: 10, remaining: 0, debt: 15 });
  t.same(credit(one, 4, day(2)).entries.at(-1), { lotId: null, points: 4, at: day(3) }, 'not before it is earned');
  t.match(
    credit(one, 4, day(9)),
    { paid: 0, remaining: 10, debt: 4, entries: { length: 1 } },
    'expired points pay nothing',
  );
});

t.test('what has expired is posted as of its expiry', async (t) => {
  const lots = [lot('b', 10, 0, 0, 5), lot('a', 7, 0, 1, 4), lot('next', 5, 0, 0, 6), lot('never', 5, 0, 0, null)];
  t.same(expireDue([...lots, { ...lot('empty', 9, 0, 0, 4), remaining: 0 }], day(5)), [
    { lotId: 'a', at: day(4), points: -7, entries: [{ lotId: 'a', points: -7, at: day(4) }] },
    { lotId: 'b', at: day(5), points: -10, entries: [{ lotId: 'b', points: -10, at: day(5) }] },
  ]);
  t.same(expireDue(lots, '2026-01-05T12:00:00.000Z'), [], 'a microsecond before');
});

t.test('points are taken back as far as the policy goes', async (t) => {
  const ownLots = [lot('own-active', 20, 0, 1, 90), lot('own-pending', 10, 2, 9, 80)];
  const otherLots = [
    lot('other-late', 5, 0, 0, 70),
    lot('other-soon', 5, 0, 0, 60),
    lot('other-pending-2', 4, 3, 8, 40),
    lot('other-pending', 4, 3, 7, 50),
  ];
  const take = (policy: RefundPolicy, owed: number, change: Partial<Parameters<typeof takeBack>[0]> = {}) =>
    takeBack({
      policy,
      owed,
      net: 100,
      entitledBefore: 100,
      ownLots,
      otherLots,
      ownExpired: 0,
      now: day(5),
      ...change,
    });
  t.same(brief(take('only_pending', 4).entries), [['own-pending', -4]]);
  t.match(take('only_pending', 40), { entries: { length: 1 }, waived: 30, lapsed: 0, debt: 0 });
  const within = take('within_balance', 60);
  t.same(brief(within.entries), [
    ['own-pending', -10],
    ['own-active', -20],
    ['other-soon', -5],
    ['other-late', -5],
  ]);
  t.match(within, { waived: 20, debt: 0 });
  const negative = take('allow_negative', 60);
  t.same(brief(negative.entries), [
    ['own-pending', -10],
    ['own-active', -20],
    ['other-soon', -5],
    ['other-late', -5],
    ['other-pending', -4],
    ['other-pending-2', -4],
    [null, -12],
  ]);
  t.match(negative, { waived: 0, debt: 12 });
  t.ok(negative.entries.every(({ at }) => at === day(5)));
  const activeNow = take('only_pending', 5, { ownLots: [lot('active now', 20, 0, 5, 90)] });
  t.match(activeNow, { entries: { length: 0 }, waived: 5 }, 'at activeAt it is pending no more');
  t.same(take('allow_negative', 0), { entries: [], lapsed: 0, waived: 0, debt: 0 });

  t.match(take('allow_negative', 30, { ownExpired: 100 }), { lapsed: 30, entries: { length: 0 }, debt: 0 });
  t.match(take('only_pending', 30, { ownExpired: 25 }), { lapsed: 25, entries: [{ points: -5 }], waived: 0 });
  // 100 earned, 25 expired; 30 were owed before: 25 lapsed, 5 taken.
  const second = take('only_pending', 8, { ownExpired: 25, net: 95, entitledBefore: 70 });
  t.match(second, { lapsed: 0, entries: [{ points: -8 }] }, 'what expired covers once');
  t.match(take('only_pending', 8, { ownExpired: 25, net: 100, entitledBefore: 80 }), { lapsed: 5, waived: 0 });
  // 100 earned, 40 waived while active, all 100 expired later: of those entitled to, 60 have lapsed.
  t.match(take('allow_negative', 60, { ownExpired: 100, net: 100, entitledBefore: 60 }), { lapsed: 60, debt: 0 });
});

t.test('taking back in steps takes as much as at once', async (t) => {
  const amount = fc.integer({ min: 0, max: 60 });
  fc.assert(
    fc.property(
      fc.constantFrom<RefundPolicy>('only_pending', 'within_balance', 'allow_negative'),
      fc.array(amount, { minLength: 1, maxLength: 4 }),
      fc.record({ expired: amount, pending: amount, active: amount, others: amount, othersPending: amount }),
      (policy, steps, has) => {
        const owed = steps.reduce((sum, step) => sum + step, 0);
        const entitled = Math.max(owed, has.expired + has.pending + has.active);
        const run = (reductions: number[]) => {
          let own = [lot('p', has.pending, 0, 9, 99), lot('a', has.active, 0, 0, 98)];
          let other = [lot('o', has.others, 0, 0, 97), lot('q', has.othersPending, 0, 8, 96)];
          let net = entitled;
          let before = entitled;
          const sums = { lapsed: 0, waived: 0, debt: 0 };
          for (const reduction of reductions) {
            const result = takeBack({
              policy,
              owed: reduction,
              net,
              entitledBefore: before,
              ownLots: own,
              otherLots: other,
              ownExpired: has.expired,
              now: day(5),
            });
            const taken = -result.entries.reduce((sum, { points }) => sum + points, 0);
            if (taken + result.lapsed + result.waived !== reduction) throw new Error('does not add up');
            own = own.map((one) => after(one, result.entries));
            other = other.map((one) => after(one, result.entries));
            net -= taken;
            before -= reduction;
            sums.lapsed += result.lapsed;
            sums.waived += result.waived;
            sums.debt += result.debt;
          }
          return { ...sums, net, remaining: [...own, ...other].map(({ remaining }) => remaining) };
        };
        t.same(run(steps), run([owed]));
      },
    ),
  );
});

function after<L extends Lot>(one: L, entries: readonly Posting[]): L {
  const change = entries.filter(({ lotId }) => lotId === one.id).reduce((sum, { points }) => sum + points, 0);
  return { ...one, remaining: one.remaining + change };
}

t.test('what comes back or over is a lot per lot', async (t) => {
  const taken = [
    { points: 5, activeAt: day(1), expiresAt: day(20) },
    { points: 6, activeAt: day(2), expiresAt: day(60) },
    { points: 7, activeAt: day(3), expiresAt: null },
    { points: 8, activeAt: day(3), expiresAt: day(4) },
  ];
  t.same(returnLots(taken, day(10)), [
    { points: 5, earnedAt: day(10), activeAt: day(10), expiresAt: day(40) },
    { points: 6, earnedAt: day(10), activeAt: day(10), expiresAt: day(60) },
    { points: 7, earnedAt: day(10), activeAt: day(10), expiresAt: null },
    { points: 8, earnedAt: day(10), activeAt: day(10), expiresAt: day(40) },
  ]);
  t.same(transferLots(taken.slice(0, 2), day(3)), [
    { points: 5, earnedAt: day(3), activeAt: day(3), expiresAt: day(20) },
    { points: 6, earnedAt: day(3), activeAt: day(3), expiresAt: day(60) },
  ]);
});

t.test('a balance is the sum of the postings in lots that count', async (t) => {
  const one = {
    ...lot('one', 10, 2, 5, 9),
    entries: [
      { points: 10, at: day(2) },
      { points: -4, at: day(6) },
      { points: -6, at: day(9) },
    ],
  };
  const debt = [
    { points: -3, at: day(7) },
    { points: 3, at: day(11) },
  ];
  const at = (when: string) => balanceAt([one], debt, when);
  t.same(at(day(1)), { active: 0, pending: 0, debt: 0 });
  t.same(at('2026-01-03T12:00:00.000Z'), { active: 0, pending: 0, debt: 0 });
  t.same(at(day(2)), { active: 0, pending: 10, debt: 0 });
  t.same(at('2026-01-06T12:00:00.000Z'), { active: 0, pending: 10, debt: 0 });
  t.same(at(day(5)), { active: 10, pending: 0, debt: 0 });
  t.same(at(day(6)), { active: 6, pending: 0, debt: 0 });
  t.same(at(day(7)), { active: 3, pending: 0, debt: 3 });
  t.same(at(day(9)), { active: -3, pending: 0, debt: 3 });
  t.same(at(day(11)), { active: 0, pending: 0, debt: 0 });
  t.same(balanceNow([lot('a', 5, 0, 0, 9), lot('b', 6, 1, 8, 9), lot('c', 7, 6, 7, 9)], 2, day(5)), {
    active: 3,
    pending: 6,
    debt: 2,
  });
});

t.test('the next change is the first instant at which something counts differently', async (t) => {
  const one = lot('one', 10, 2, 5, 9);
  t.equal(nextChange([one], null, day(0)), day(2));
  t.equal(nextChange([one], null, day(2)), day(5));
  t.equal(nextChange([one], day(4), day(2)), day(4));
  t.equal(nextChange([one], day(40), day(5)), day(9));
  t.equal(nextChange([one], day(40), day(9)), day(40));
  t.equal(nextChange([one], null, day(9)), null);
  t.equal(nextChange([{ ...one, remaining: 0 }], null, day(2)), null);
  t.equal(nextChange([{ ...one, remaining: 0 }], null, day(1)), day(2), 'it may pay a debt when it comes');
});

/** A ledger that is kept by what the plans answer, as the service would. */
interface Ledger {
  lots: (Lot & { entries: Posting[] })[];
  debtEntries: Posting[];
  debt: number;
}

function post(ledger: Ledger, entries: readonly Posting[]): void {
  for (const entry of entries) {
    const into = ledger.lots.find(({ id }) => id === entry.lotId);
    if (into) {
      into.entries.push(entry);
      into.remaining += entry.points;
    } else if (entry.lotId === null) {
      ledger.debtEntries.push(entry);
      ledger.debt -= entry.points;
    } else throw new Error(`no lot ${entry.lotId}`);
  }
}

function add(ledger: Ledger, made: NewLot, now: string): void {
  const id = `lot-${String(ledger.lots.length).padStart(3, '0')}`;
  ledger.lots.push({ id, remaining: 0, entries: [], ...made });
  post(ledger, credit({ ...made, id }, ledger.debt, now).entries);
}

const step = fc.record({
  wait: fc.integer({ min: 0, max: 12 }),
  kind: fc.constantFrom('earn', 'earn', 'spend', 'spend', 'return', 'take back', 'settle'),
  points: fc.integer({ min: 1, max: 40 }),
  pending: fc.integer({ min: 0, max: 8 }),
  expiry: fc.option(fc.integer({ min: 9, max: 40 })),
  back: fc.integer({ min: 0, max: 5 }),
  policy: fc.constantFrom<RefundPolicy>('only_pending', 'within_balance', 'allow_negative'),
});

t.test('whatever happens, the kept balance is the sum over the ledger, at any time', async () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 25 }), (steps) => {
      const ledger: Ledger = { lots: [], debtEntries: [], debt: 0 };
      const takings: Posting[][] = [];
      const told: { at: number; balance: unknown }[] = [];
      let today = 0;
      for (const { wait, kind, points, pending, expiry, back, policy } of steps) {
        today += wait;
        const now = day(today);
        for (const { entries } of expireDue(ledger.lots, now)) post(ledger, entries);
        if (kind === 'earn') {
          const earnedAt = day(today - back);
          add(
            ledger,
            { points, ...lotDates({ ...rules, pendingDays: pending, expiryDays: expiry }, earnedAt, 'UTC') },
            now,
          );
        } else if (kind === 'spend') {
          const { available, entries } = takeFifo(ledger.lots, ledger.debt, points, now);
          const active = balanceAt(ledger.lots, ledger.debtEntries, now).active;
          if (available !== Math.max(0, active)) throw new Error(`${available} of ${active} can be spent`);
          if ((entries === null) !== points > active) throw new Error('refused, and could be spent, or the reverse');
          checkFifo(ledger.lots, entries ?? [], now);
          post(ledger, entries ?? []);
          if (entries) takings.push(entries);
        } else if (kind === 'return') {
          const undone = takings.pop() ?? [];
          const taken = undone.map(({ lotId, points: signed }) => {
            const from = ledger.lots.find(({ id }) => id === lotId);
            if (!from) throw new Error('taken from nowhere');
            return { ...from, points: -signed };
          });
          for (const made of returnLots(taken, now)) add(ledger, made, now);
        } else if (kind === 'take back') {
          const [first] = ledger.lots;
          if (!first) continue;
          const ownExpired = first.entries.reduce(
            (sum, { points: p, at }) => (at === first.expiresAt ? sum - p : sum),
            0,
          );
          const result = takeBack({
            policy,
            owed: Math.min(points, first.points),
            net: first.points,
            entitledBefore: first.points,
            ownLots: [first],
            otherLots: ledger.lots.slice(1),
            ownExpired,
            now,
          });
          post(ledger, result.entries);
        }
        // What came too late to be active is expired from the start.
        for (const { entries } of expireDue(ledger.lots, now)) post(ledger, entries);

        if (ledger.debt < 0 || ledger.lots.some(({ remaining }) => remaining < 0)) throw new Error('below zero');
        const kept = balanceNow(ledger.lots, ledger.debt, now);
        const summed = balanceAt(ledger.lots, ledger.debtEntries, now);
        if (JSON.stringify(kept) !== JSON.stringify(summed)) {
          throw new Error(`kept ${JSON.stringify(kept)}, summed ${JSON.stringify(summed)} on day ${today}`);
        }
        const next = nextChange(ledger.lots, null, now);
        // Until the next change nothing happens by itself.
        for (const later of [today + 1, today + 7, today + 30].map(day)) {
          if (next !== null && !isBefore(later, next)) continue;
          if (JSON.stringify(balanceAt(ledger.lots, ledger.debtEntries, later)) !== JSON.stringify(summed)) {
            throw new Error(`it changed by ${later}, before ${next}`);
          }
        }
        told.push({ at: today, balance: summed });
      }
      // Postings of expiry may come late or not at all: no balance depends on them.
      const unexpired = ledger.lots.map((one) => ({
        ...one,
        entries: one.entries.filter(({ at, points }) => !(at === one.expiresAt && points < 0)),
      }));
      for (let t = -5; t <= today + 50; t += 1) {
        const complete = balanceAt(ledger.lots, ledger.debtEntries, day(t));
        const late = balanceAt(unexpired, ledger.debtEntries, day(t));
        if (JSON.stringify(complete) !== JSON.stringify(late)) throw new Error(`day ${t} depends on the job`);
      }
    }),
    { numRuns: 300 },
  );
});

/** Point by point: each one taken must have been the first to expire of those that were there. */
function checkFifo(lots: readonly Lot[], entries: readonly Posting[], now: string): void {
  const left = lots
    .filter((one) => !isBefore(now, one.activeAt) && (one.expiresAt === null || isBefore(now, one.expiresAt)))
    .map((one) => ({ ...one }));
  for (const { lotId, points } of entries) {
    for (let n = points; n < 0; n += 1) {
      const expiries = left.filter(({ remaining }) => remaining > 0).map(({ expiresAt }) => expiresAt ?? '9999Z');
      const first = expiries.reduce((soonest, expiry) => (isBefore(expiry, soonest) ? expiry : soonest), '9999Z');
      const from = left.find(({ id }) => id === lotId);
      if (!from || from.remaining <= 0) throw new Error('taken from a lot that is not there');
      if ((from.expiresAt ?? '9999Z') !== first) throw new Error(`${lotId} does not expire first`);
      from.remaining -= 1;
    }
  }
}

t.test('the FIFO order is total', async () => {
  const anyLot = fc
    .tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 0, max: 2 }), fc.option(fc.integer({ min: 3, max: 4 })))
    .map(([id, earned, expires]) => lot(id, 1, earned, earned, expires));
  fc.assert(
    fc.property(anyLot, anyLot, anyLot, (a, b, c) => {
      if (compareFifo(a, b) + compareFifo(b, a) !== 0) throw new Error('not antisymmetric');
      if (compareFifo(a, b) === 0 && JSON.stringify(a) !== JSON.stringify(b)) throw new Error('a tie');
      return !(compareFifo(a, b) <= 0 && compareFifo(b, c) <= 0) || compareFifo(a, c) <= 0;
    }),
  );
});

const at = (n: number, spend: number): TierContribution => ({ placedAt: day(n), spend, points: spend / 100 });
const runTiers = (state: TierState, until: number, contributions: TierContribution[], by: TierRules = tiers) =>
  runOn(
    state,
    day(until),
    () => by,
    (when, rules) => new Contributions(contributions).in(rules, when),
  );
const reasons = (changes: readonly TierChange[]) => changes.map(({ at, reason, tier }) => [at, reason, tier]);
const silver: TierState = {
  tier: 'silver',
  tierSince: day(0),
  tierEndsAt: day(100),
  tierInGrace: false,
  tierByHand: null,
};

t.test('what counts for a tier is the window that ends now', async (t) => {
  const orders = [at(0, 100), at(10, 200), at(20, 400)];
  const inWindow = (windowDays: number, when: string, basis: TierRules['basis'] = 'spend') =>
    new Contributions(orders).in({ windowDays, basis }, when);
  t.equal(inWindow(20, day(20)), 600, 'an order of exactly 20 days ago is out');
  t.equal(inWindow(21, day(20)), 700);
  t.equal(inWindow(21, '2026-01-21T12:00:00.000Z'), 300, 'one to come is not in yet');
  t.equal(inWindow(20, day(20), 'points'), 6);
  t.equal(levelFor(tiers.levels, 49_999).key, 'basic');
  t.equal(levelFor(tiers.levels, 50_000).key, 'silver');
  t.equal(levelFor(tiers.levels, 1e9).key, 'gold');
  t.equal(levelFor(tiers.levels, -1).key, 'basic');
  t.throws(() => levelFor([], 0), RangeError);
});

t.test('a tier goes up at once', async (t) => {
  const enrolled = raise(withoutTier, tiers, 0, day(0));
  t.same(enrolled.state, { tier: 'basic', tierSince: day(0), tierEndsAt: null, tierInGrace: false, tierByHand: null });
  t.same(enrolled.change, {
    at: day(0),
    previous: null,
    tier: 'basic',
    reason: 'enrolment',
    amount: 0,
    endsAt: null,
    reached: null,
  });
  t.equal(raise(enrolled.state, tiers, 49_999, day(1)).change, null);
  const up = raise(enrolled.state, tiers, 50_000, day(1));
  t.same(up.state, { tier: 'silver', tierSince: day(1), tierEndsAt: day(101), tierInGrace: false, tierByHand: null });
  t.match(up.change, { previous: 'basic', tier: 'silver', reason: 'upgrade', amount: 50_000, endsAt: day(101) });
  t.match(raise(enrolled.state, tiers, 200_000, day(1)).change, { tier: 'gold' }, 'over a level');
  t.same(raise(up.state, tiers, 60_000, day(2)), { state: up.state, change: null }, 'not renewed before its end');
  t.same(raise(up.state, tiers, 0, day(2)), { state: up.state, change: null }, 'never down');
});

t.test('a tier goes down at the end of its period and its grace', async (t) => {
  const kept = runTiers(silver, 100, [at(10, 50_000)]);
  t.same(reasons(kept.changes), [[day(100), 'renewal', 'silver']]);
  t.same(kept.state, { ...silver, tierEndsAt: day(200) });
  t.same(runTiers(silver, 99, []), { state: silver, changes: [] }, 'not before');

  const lost = runTiers(silver, 129, [at(10, 40_000)]);
  t.same(lost.state, { ...silver, tierEndsAt: day(130), tierInGrace: true, tierByHand: null });
  t.same(lost.changes, [
    {
      at: day(100),
      previous: 'silver',
      tier: 'silver',
      reason: 'grace',
      amount: 40_000,
      endsAt: day(130),
      reached: null,
    },
  ]);
  const down = runTiers(lost.state, 130, [at(10, 40_000)]);
  t.same(down.state, { tier: 'basic', tierSince: day(130), tierEndsAt: null, tierInGrace: false, tierByHand: null });
  t.same(reasons(down.changes), [[day(130), 'downgrade', 'basic']]);

  const regained = raise(lost.state, tiers, 50_000, day(120));
  t.same(regained.state, { ...silver, tierEndsAt: day(220) }, 'renewed from now');
  t.match(regained.change, { reason: 'renewal', at: day(120) });
  t.equal(raise(lost.state, tiers, 49_999, day(120)).change, null, 'still in grace');
  t.match(raise(lost.state, tiers, 200_000, day(120)).state, { tier: 'gold', tierInGrace: false });

  const noGrace = runTiers(silver, 100, [], { ...tiers, graceDays: 0 });
  t.same(reasons(noGrace.changes), [[day(100), 'downgrade', 'basic']]);

  const gold: TierState = { ...silver, tier: 'gold' };
  // In the window of 365 days at 130, 230, 330 and 430, not at 460: silver is held once more before it goes.
  t.same(reasons(runTiers(gold, 1_000, [at(80, 60_000)]).changes), [
    [day(100), 'grace', 'gold'],
    [day(130), 'downgrade', 'silver'],
    [day(230), 'renewal', 'silver'],
    [day(330), 'renewal', 'silver'],
    [day(430), 'renewal', 'silver'],
    [day(530), 'grace', 'silver'],
    [day(560), 'downgrade', 'basic'],
  ]);
});

t.test('the version in force at the end of a period judges it', async (t) => {
  const stricter: TierRules = {
    ...tiers,
    periodDays: 50,
    levels: tiers.levels.map((level) => (level.key === 'silver' ? { ...level, threshold: 80_000 } : level)),
  };
  const { changes } = runOn(
    silver,
    day(250),
    (when) => (isBefore(when, day(150)) ? tiers : stricter),
    (when, rules) => new Contributions([at(90, 60_000)]).in(rules, when),
  );
  t.same(reasons(changes), [
    [day(100), 'renewal', 'silver'],
    [day(200), 'grace', 'silver'],
    [day(230), 'downgrade', 'basic'],
  ]);
  t.same(
    runOn(
      silver,
      day(500),
      () => null,
      () => 0,
    ),
    { state: silver, changes: [] },
    'no tiers in force',
  );
  const moved: TierRules = { ...tiers, levels: [{ key: 'silver', name: 'Silver', threshold: 0, multiplier: 1 }] };
  t.match(runTiers(silver, 100, [], moved).state, { tier: 'silver', tierEndsAt: null }, 'the first level has no end');
});

t.test('a state run on in steps is the state run on at once, and the one of a day by day replay', async () => {
  const contributions = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 120_000 })).map(([n, spend]) => at(n, spend)),
    { maxLength: 12 },
  );
  const some = fc.record({
    windowDays: fc.integer({ min: 1, max: 120 }),
    periodDays: fc.integer({ min: 1, max: 60 }),
    graceDays: fc.integer({ min: 0, max: 30 }),
  });
  const state = fc.record({ tier: fc.constantFrom('silver', 'gold'), ends: fc.integer({ min: 0, max: 60 }) });
  fc.assert(
    fc.property(contributions, some, state, fc.integer({ min: 0, max: 400 }), (orders, durations, from, middle) => {
      const by: TierRules = { ...tiers, ...durations };
      const start: TierState = { ...silver, tier: from.tier, tierEndsAt: day(from.ends) };
      const whole = runTiers(start, 400, orders, by);
      const first = runTiers(start, middle, orders, by);
      const rest = runTiers(first.state, 400, orders, by);
      t.same({ state: rest.state, changes: [...first.changes, ...rest.changes] }, whole);

      // Naively, in day numbers and ranks.
      let rank = from.tier === 'gold' ? 2 : 1;
      let ends: number | null = from.ends;
      let grace = false;
      for (let today = 0; today <= 400; today += 1) {
        if (today !== ends) continue;
        const sum = orders
          .filter(({ placedAt }) => {
            const age = (Date.parse(day(today)) - Date.parse(placedAt)) / 86_400_000;
            return age >= 0 && age < durations.windowDays;
          })
          .reduce((total, { spend }) => total + spend, 0);
        const reached = sum >= 200_000 ? 2 : sum >= 50_000 ? 1 : 0;
        if (reached >= rank) [ends, grace] = [today + durations.periodDays, false];
        else if (!grace && durations.graceDays > 0) [ends, grace] = [today + durations.graceDays, true];
        else {
          rank = reached;
          ends = rank === 0 ? null : today + durations.periodDays;
          grace = false;
        }
      }
      t.match(whole.state, {
        tier: ['basic', 'silver', 'gold'][rank] ?? '',
        tierEndsAt: ends === null ? null : day(ends),
        tierInGrace: grace,
      });
    }),
    { numRuns: 200 },
  );
});

t.test('progress says what is missing upwards and to stay', async (t) => {
  const orders = [at(-300, 30_000), at(-10, 25_000)];
  const of = (state: TierState, by: TierRules = tiers) =>
    progress(state, by, day(0), (when, rules) => new Contributions(orders).in(rules, when));
  t.same(of(silver), {
    basis: 'spend',
    windowDays: 365,
    amount: 55_000,
    endsAt: day(100),
    inGrace: false,
    next: { key: 'gold', name: 'Gold', threshold: 200_000, missing: 145_000 },
    missingToKeep: 25_000,
  });
  t.match(of({ ...silver, tier: 'gold' }), { next: null, missingToKeep: 175_000 });
  t.match(of(raise(withoutTier, tiers, 0, day(0)).state), { next: { key: 'silver', missing: 0 }, missingToKeep: null });
  t.match(of(withoutTier), { next: { key: 'basic', missing: 0 }, missingToKeep: null });
});

t.test('birthdays and anniversaries begin with the local day', async (t) => {
  t.same(birthdays('1990-06-15', '2025-06-15T00:00:00.000Z', '2027-06-14T22:00:00.000Z', 'Europe/Berlin'), [
    { key: 'birthday:2026', at: '2026-06-14T22:00:00.000Z' },
    { key: 'birthday:2027', at: '2027-06-14T22:00:00.000Z' },
  ]);
  t.same(birthdays('1990-06-15', '2026-06-14T22:00:00.000Z', '2027-06-14T21:59:59.999999Z', 'Europe/Berlin'), []);
  t.same(
    birthdays('2000-02-29', '2023-01-01T00:00:00.000Z', '2028-12-31T00:00:00.000Z', 'UTC').map(({ at }) =>
      at.slice(0, 10),
    ),
    ['2023-02-28', '2024-02-29', '2025-02-28', '2026-02-28', '2027-02-28', '2028-02-29'],
  );
  t.same(
    birthdays('1896-02-29', '1899-01-01T00:00:00.000Z', '1901-01-01T00:00:00.000Z', 'UTC').map(({ at }) =>
      at.slice(0, 10),
    ),
    ['1899-02-28', '1900-02-28'],
  );
  t.same(birthdays('2026-06-15', '2026-01-01T00:00:00.000Z', '2026-12-31T00:00:00.000Z', 'UTC'), [], 'the birth');
  t.same(birthdays('2000-01-01', '2025-12-31T00:00:00.000Z', '2025-12-31T12:00:00.000Z', 'Pacific/Auckland'), [
    { key: 'birthday:2026', at: '2025-12-31T11:00:00.000Z' },
  ]);
  t.same(anniversaries('2024-02-29', '2024-02-28T00:00:00.000Z', '2027-03-01T00:00:00.000Z', 'America/New_York'), [
    { key: 'anniversary:1', at: '2025-02-28T05:00:00.000Z' },
    { key: 'anniversary:2', at: '2026-02-28T05:00:00.000Z' },
    { key: 'anniversary:3', at: '2027-02-28T05:00:00.000Z' },
  ]);
  // No midnight in São Paulo that day, no day at all in Apia.
  t.match(birthdays('1980-11-04', '2018-11-01T00:00:00.000Z', '2018-11-30T00:00:00.000Z', 'America/Sao_Paulo'), [
    { at: '2018-11-04T03:00:00.000Z' },
  ]);
  t.match(birthdays('1980-12-30', '2011-12-01T00:00:00.000Z', '2012-01-31T00:00:00.000Z', 'Pacific/Apia'), [
    { at: '2011-12-30T10:00:00.000Z' },
  ]);
});

t.test('every occasion is found once, however time is cut', async (t) => {
  const date = fc
    .integer({ min: 0, max: 20_000 })
    .map((n) => Temporal.PlainDate.from('1960-01-01').add({ days: n }).toString());
  fc.assert(
    fc.property(
      date,
      fc.constantFrom('UTC', 'Europe/Berlin', 'America/Los_Angeles', 'Pacific/Auckland'),
      fc.array(fc.integer({ min: 0, max: 40_000 }), { minLength: 2, maxLength: 6 }),
      (birthday, zone, hours) => {
        const cuts = hours
          .sort((a, b) => a - b)
          .map((h) =>
            Temporal.Instant.from('2020-01-01T00:00:00Z').add({ hours: h }).toString({ fractionalSecondDigits: 3 }),
          );
        const [first, last] = [cuts[0] ?? '', cuts.at(-1) ?? ''];
        const pieces = cuts.slice(1).flatMap((until, index) => birthdays(birthday, cuts[index] ?? '', until, zone));
        t.same(pieces, birthdays(birthday, first, last, zone));
        const born = Temporal.PlainDate.from(birthday);
        const naive: { key: string; at: string }[] = [];
        for (let year = 2019; year <= 2025; year += 1) {
          // Temporal constrains 29 February to the 28th by itself.
          const start = born.with({ year }).toZonedDateTime(zone).toInstant();
          const text = start.toString({ fractionalSecondDigits: 3 });
          if (year > born.year && text > first && text <= last) naive.push({ key: `birthday:${year}`, at: text });
        }
        t.same(pieces, naive);
      },
    ),
  );
});

t.test('the liability is the value of the points outstanding', async (t) => {
  const none = { active: 0n, pending: 0n, debt: 0n, neverExpiring: 0n };
  const result = loyaltyLiability({
    parts: [
      { key: 'basic', active: 1_000n, pending: 500n, debt: 20n, neverExpiring: 0n, pointValue: 0.7 },
      { key: 'gold', active: 3_000n, pending: 0n, debt: 0n, neverExpiring: 1_000n, pointValue: 0.7 },
    ],
    matured: { issued: 8_000n, expired: 2_000n },
  });
  t.match(result, {
    value: 3_150,
    values: {
      outstandingPoints: 4_500,
      activePoints: 4_000,
      pendingPoints: 500,
      debtPoints: 20,
      breakageRate: 0.25,
      expectedBreakage: 612.5,
      netLiability: 2_537.5,
    },
    numerator: null,
    denominator: null,
    lowSample: false,
    reason: null,
    warnings: { length: 0 },
    groups: [
      { key: 'basic', value: 1_050, values: { expectedBreakage: 262.5, netLiability: 787.5, debtPoints: 20 } },
      { key: 'gold', value: 2_100, values: { expectedBreakage: 350, netLiability: 1_750, breakageRate: 0.25 } },
    ],
  });

  const matured = (issued: bigint, expired: bigint) =>
    loyaltyLiability({ parts: [{ key: 'all', ...none, active: 10n, pointValue: 1 }], matured: { issued, expired } });
  t.match(matured(999n, 500n), {
    value: 10,
    values: { breakageRate: null, expectedBreakage: null, netLiability: null },
    warnings: [{ code: 'too_few_matured_points' }],
  });
  t.match(matured(1_000n, 0n).values, { breakageRate: 0, expectedBreakage: 0, netLiability: 10 });
  t.match(matured(1_000n, 1_000n).values, { breakageRate: 1, expectedBreakage: 10, netLiability: 0 });
  t.throws(() => matured(1n, 2n), RangeError);
  t.throws(
    () =>
      loyaltyLiability({
        parts: [{ key: 'x', ...none, neverExpiring: 1n, pointValue: 1 }],
        matured: { issued: 0n, expired: 0n },
      }),
    RangeError,
  );
  t.match(loyaltyLiability({ parts: [], matured: { issued: 0n, expired: 0n } }), {
    value: 0,
    values: { outstandingPoints: 0 },
    groups: { length: 0 },
  });
  const large = loyaltyLiability({
    parts: [{ key: 'all', ...none, active: 2n ** 53n, pending: 1n, pointValue: 0.000001 }],
    matured: { issued: 0n, expired: 0n },
  });
  t.equal(large.value, 9_007_199_254.740993);
  t.match(large, { values: { outstandingPoints: null }, warnings: [{}, { code: 'beyond_safe_integer' }] });
  const programmes = loyaltyLiability({
    parts: [
      { key: 'gold', ...none, active: 100n, pointValue: 0.5 },
      { key: 'basic', ...none, pending: 3n, neverExpiring: 3n, pointValue: 2 },
      { key: 'gold', ...none, active: 1n, debt: 1n, pointValue: 0.000125 },
    ],
    matured: { issued: 2_000n, expired: 1_000n },
  });
  t.match(programmes, {
    value: 56.000125,
    values: { outstandingPoints: 104, expectedBreakage: 25.0000625, netLiability: 31.0000625, debtPoints: 1 },
    groups: [
      { key: 'gold', value: 50.000125, values: { outstandingPoints: 101, debtPoints: 1 } },
      { key: 'basic', value: 6, values: { expectedBreakage: 0 } },
    ],
  });
});
