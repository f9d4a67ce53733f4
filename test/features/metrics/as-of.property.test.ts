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
      campaign: fc.option(fc.nat(1), { freq: 2 }),
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
  touches: fc.array(fc.record({ customer: fc.nat(3), campaign: fc.nat(1), at: fc.integer({ min: 0, max: 100 }) }), {
    maxLength: 8,
  }),
  asOf: fc.integer({ min: 10, max: 110 }),
});
type History = typeof history extends fc.Arbitrary<infer H> ? H : never;

/** Sends what had happened before `end`, and nothing of what came later. */
async function send(api: TestApp, { orders, returns, touches }: History, end: number): Promise<void> {
  const made = (answer: { status: number; body: unknown }) => {
    if (answer.status >= 300) throw new Error(JSON.stringify(answer.body));
  };
  const campaigns: string[] = [];
  for (const name of ['Spring', 'Autumn']) {
    const answer = await api.request('POST', '/v1/campaigns', { body: { name, cost: 900 } });
    made(answer);
    campaigns.push(answer.body.id);
  }
  for (const [n, { customer, campaign, placed, total, tax, cancelledAfter, refunds }] of orders.entries()) {
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
      ...(campaign !== null && { campaignId: campaigns[campaign] }),
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
  for (const { customer, campaign, at } of touches) {
    if (at >= end) continue;
    const body = {
      customer: { source: 'shop', externalId: `customer-${customer}` },
      kind: 'email_clicked',
      campaignId: campaigns[campaign],
      occurredAt: day(at),
    };
    made(await api.request('POST', '/v1/interactions', { body, headers: newKey() }));
  }
}

const questions = [
  'metrics/average-order-value',
  'metrics/revenue-per-customer',
  'metrics/lifetime-value',
  'metrics/lifetime-value?variant=four_factor&margin=0.4',
  'metrics/retention-rate?from=2026-02-01&to=2026-03-01',
  'metrics/retention-rate?from=2026-01-15&to=2026-04-01&interval=month',
  'metrics/repeat-purchase-rate',
  'metrics/churn-rate?variant=silence&silenceDays=20',
  'metrics/purchase-gaps',
  'metrics/average-order-value?from=2026-01-01&to=2026-04-15&interval=month',
  'metrics/revenue-per-customer?from=2026-01-01&to=2026-04-15&interval=month',
  'metrics/revenue-per-customer?currency=EUR&payment=paid',
  'metrics/new-and-returning?from=2026-02-01&to=2026-04-15&interval=month',
  'campaigns/results?sort=createdAt',
  'campaigns/results?sort=createdAt&from=2026-02-01&to=2026-03-10&windowDays=20',
];

/** Both stores make ids of their own. */
const withoutIds = (body: unknown) =>
  JSON.stringify(body, (name, value) => (name === 'campaignId' || name === 'page' ? undefined : value));

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
        api.request('GET', `/v1/${question}${question.includes('?') ? '&' : '?'}${refunds}${refunds && '&'}${more}`);
      const past = await ask(full, `asOf=${asOf}`);
      const [found, right] = [past, await ask(then, `asOf=${asOf}`)].map(({ body }) => withoutIds(body));
      if (past.status !== 200 || found !== right) {
        throw new Error(`${question} ${refunds}: ${found} as of then, right is ${right}`);
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

t.test('by hand: what campaigns brought, as of then and with refunds when they were given', async (t) => {
  const api = await testApp(t, { clock: () => now });
  const campaign = (await api.request('POST', '/v1/campaigns', { body: { name: 'Spring' } })).body.id;
  const post = (path: string, body: object) => api.request('POST', path, { body, headers: newKey() });
  const order = (externalId: string, customer: string, more: object = {}) =>
    post('/v1/orders', {
      source: 'shop',
      externalId,
      customer: { externalId: customer },
      placedAt: '2026-01-10T10:00:00Z',
      currency: 'EUR',
      total: 1_000,
      items: [{ sku: 'A', quantity: 1, total: 1_000 }],
      paymentStatus: 'paid',
      ...more,
    });
  await order('own', 'ada', { campaignId: campaign });
  await order('touched', 'bob');
  await order('cancelled', 'bob', { cancelledAt: '2026-02-12T00:00:00Z' });
  await post('/v1/interactions', {
    customer: { source: 'shop', externalId: 'bob' },
    kind: 'email_clicked',
    campaignId: campaign,
    occurredAt: '2026-01-05T10:00:00Z',
  });
  for (const [name, amount] of [
    ['own', 1_000],
    ['touched', 300],
  ]) {
    await post(`/v1/orders/external/shop/${name}/refunds`, { amount, refundedAt: '2026-02-10T10:00:00Z' });
  }
  const results = async (query: string) => {
    const { body } = await api.request('GET', `/v1/campaigns/${campaign}/results?${query}`);
    return [body.orders, body.buyers, body.revenue];
  };
  const january = 'from=2026-01-01&to=2026-02-01';
  t.same(await results(january), [1, 1, 700]);
  t.same(await results(`${january}&asOf=2026-02-01`), [3, 2, 3_000], 'nothing of it had happened');
  t.same(await results(`${january}&asOf=2026-02-11`), [2, 1, 1_700], 'the refunds had');
  t.same(await results(`${january}&refunds=when_given`), [2, 2, 2_000]);
  const february = 'from=2026-02-01&to=2026-03-01&refunds=when_given';
  t.same(
    await results(february),
    [0, 0, -1_300],
    'of the campaigns of their orders, also by a touch before the period',
  );
  t.same(await results(`${february}&asOf=2026-02-05`), [0, 0, 0]);
});
