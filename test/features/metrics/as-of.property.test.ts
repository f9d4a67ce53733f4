import fc from 'fast-check';
import t from 'tap';
import { type TestApp, testApp } from '../../support/app.ts';
import { draws, endOnFailure, firstSeed, inItsOwnPlace } from '../../support/draws.ts';
import { newKey } from '../../support/shop.ts';

/*
 * What is asked as of an instant of the past is what a store would have answered then, that had received nothing but what had
 * happened by then: later cancellations, refunds and returns are not known.
 */

const day = (n: number) => new Date(Date.UTC(2026, 0, 1) + Math.floor(n * 86_400_000)).toISOString();
const now = day(150);

const history = fc.record({
  orders: fc.array(
    fc.record({
      customer: fc.nat(3),
      placed: fc.integer({ min: 0, max: 90 }),
      total: fc.integer({ min: 0, max: 9_000 }),
      tax: fc.double({ min: 0, max: 0.5, noNaN: true }),
      cancelledAfter: fc.option(fc.integer({ min: 1, max: 40 }), { freq: 4 }),
      refunds: fc.array(fc.record({ after: fc.integer({ min: 1, max: 50 }), share: fc.constantFrom(0.25, 0.5, 1) }), {
        maxLength: 3,
      }),
    }),
    { minLength: 3, maxLength: 14 },
  ),
  returns: fc.array(
    fc.record({ customer: fc.nat(3), at: fc.integer({ min: 1, max: 100 }), total: fc.integer({ min: 1, max: 3_000 }) }),
    { maxLength: 4 },
  ),
  asOf: fc.integer({ min: 10, max: 110 }),
});
type History = typeof history extends fc.Arbitrary<infer H> ? H : never;

/** Sends what had happened before `end`, and nothing of what came later. */
async function send(api: TestApp, { orders, returns }: History, end: number): Promise<void> {
  const made = (answer: { status: number; body: unknown }) => {
    if (answer.status >= 300) throw new Error(JSON.stringify(answer.body));
  };
  for (const [n, { customer, placed, total, tax, cancelledAfter, refunds }] of orders.entries()) {
    if (placed >= end) continue;
    const cancelled = cancelledAfter === null ? null : placed + cancelledAfter;
    const body = {
      source: 'shop',
      externalId: `order-${n}`,
      customer: { externalId: `customer-${customer}` },
      placedAt: day(placed),
      currency: 'EUR',
      total,
      tax: Math.floor(total * tax),
      taxIncluded: true,
      items: [{ sku: 'A', quantity: 1, total }],
      paymentStatus: 'paid',
      ...(cancelled !== null && cancelled < end && { cancelledAt: day(cancelled) }),
    };
    made(await api.request('POST', '/v1/orders', { body, headers: newKey() }));
    let left = total;
    for (const { after, share } of refunds.toSorted((a, b) => a.after - b.after)) {
      const amount = Math.floor(left * share);
      left -= amount;
      if (placed + after >= end) continue;
      const refund = { amount, refundedAt: day(placed + after) };
      made(
        await api.request('POST', `/v1/orders/external/shop/order-${n}/refunds`, { body: refund, headers: newKey() }),
      );
    }
  }
  for (const [n, { customer, at, total }] of returns.entries()) {
    if (at >= end) continue;
    const body = {
      source: 'shop',
      externalId: `return-${n}`,
      customer: { externalId: `customer-${customer}` },
      returnedAt: day(at),
      currency: 'EUR',
      total,
    };
    made(await api.request('POST', '/v1/returns', { body, headers: newKey() }));
  }
}

const questions = [
  'average-order-value',
  'revenue-per-customer',
  'lifetime-value',
  'lifetime-value?variant=four_factor&margin=0.4',
  'retention-rate?from=2026-02-01&to=2026-03-01',
  'retention-rate?from=2026-01-15&to=2026-04-01&interval=month',
  'repeat-purchase-rate',
  'churn-rate?variant=silence&silenceDays=20',
  'purchase-gaps',
  'average-order-value?from=2026-01-01&to=2026-04-15&interval=month',
  'revenue-per-customer?from=2026-01-01&to=2026-04-15&interval=month',
  'revenue-per-customer?currency=EUR&payment=paid',
];

async function agree(t: Parameters<typeof testApp>[0], of: History): Promise<void> {
  let clock = now;
  const full = await testApp(t, { clock: () => now });
  const then = await testApp(t, { clock: () => clock });
  const asOf = day(of.asOf);
  await send(full, of, Number.POSITIVE_INFINITY);
  await send(then, of, of.asOf);
  clock = asOf;
  for (const question of questions) {
    for (const refunds of ['', 'refunds=restate', 'refunds=when_given']) {
      const ask = (api: TestApp, more: string) =>
        api.request(
          'GET',
          `/v1/metrics/${question}${question.includes('?') ? '&' : '?'}${refunds}${refunds && '&'}${more}`,
        );
      const past = await ask(full, `asOf=${asOf}`);
      const present = await ask(then, `asOf=${asOf}`);
      if (past.status !== 200 || JSON.stringify(past.body) !== JSON.stringify(present.body)) {
        throw new Error(
          `${question} ${refunds}: ${JSON.stringify(past.body)} as of then, right is ${JSON.stringify(present.body)}`,
        );
      }
    }
  }
}

t.test('as of a past instant: what was known then', async (t) => {
  await fc.assert(
    fc.asyncProperty(history, (of) => inItsOwnPlace(t, (place) => agree(place, of))),
    { numRuns: draws({ quick: 6, deep: 25 }), seed: firstSeed(12), endOnFailure },
  );
  t.pass('every answer was that of then');
});

t.test('by hand: a refund after asOf, a cancellation after it, and refunds when they were given', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const order = (externalId: string, placedAt: string, more: object = {}) =>
    api.request('POST', '/v1/orders', {
      body: {
        source: 'shop',
        externalId,
        customer: { externalId: 'ada' },
        placedAt,
        currency: 'EUR',
        total: 50_000,
        items: [{ sku: 'A', quantity: 1, total: 50_000 }],
        paymentStatus: 'paid',
        ...more,
      },
      headers: newKey(),
    });
  await order('one', '2026-01-10T10:00:00Z');
  await order('two', '2026-01-12T10:00:00Z', { cancelledAt: '2026-02-12T00:00:00Z' });
  const body = { amount: 50_000, refundedAt: '2026-02-10T10:00:00Z' };
  await api.request('POST', '/v1/orders/external/shop/one/refunds', { body, headers: newKey() });
  const revenue = async (query: string) => {
    const { body: answer } = await api.request('GET', `/v1/metrics/revenue-per-customer?${query}`);
    const { numerator, denominator, excluded } = answer;
    return [numerator, denominator, excluded.map(({ reason }: { reason: string }) => reason)];
  };
  const january = 'from=2026-01-01&to=2026-02-01';
  const february = 'from=2026-02-01&to=2026-03-01';
  t.same(await revenue(january), [0, 0, ['cancelled', 'refunded']]);
  t.same(await revenue(`${january}&asOf=2026-02-01`), [100_000, 1, []], 'neither had happened');
  t.same(await revenue(`${january}&asOf=2026-02-11`), [50_000, 1, ['refunded']], 'one had');
  t.same(await revenue(`${january}&refunds=when_given`), [50_000, 1, ['cancelled']], 'it stays a purchase');
  t.same(await revenue(`${february}&refunds=when_given`), [-50_000, 0, []], 'the money went back in February');
});
