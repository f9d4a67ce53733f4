import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey } from '../../support/shop.ts';

/* Situations of real shops: points and tiers as the documentation means them. */
const now = '2026-11-30T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });

async function send(method: string, path: string, body?: unknown): Promise<any> {
  const headers: Record<string, string> = method === 'GET' ? {} : { ...newKey(), 'If-Match': '*' };
  const answer = await api.request(method, path, { ...(body !== undefined && { body }), headers });
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const levels = [
  { key: 'bronze', name: 'B', threshold: 0, multiplier: 1 },
  { key: 'silver', name: 'S', threshold: 4_000_000, multiplier: 2 },
  { key: 'gold', name: 'G', threshold: 10_000_000, multiplier: 3 },
];
const tiers = { basis: 'spend', windowDays: 365, periodDays: 365, graceDays: 0, levels };

class Shopper {
  readonly name = fresh('customer');
  id = '';

  static async join(rules: object): Promise<Shopper> {
    const shopper = new Shopper();
    const { id: programmeId } = await send('POST', '/v1/loyalty/programmes', {
      name: 'Club',
      rules: { pointsPerUnit: 0.01, pointValue: 1, ...rules },
    });
    await send('POST', `/v1/loyalty/programmes/${programmeId}/publish`, { validFrom: '2020-01-01T00:00:00Z' });
    const references = [{ source: 'shop', externalId: shopper.name }];
    shopper.id = (await send('POST', '/v1/customers', { references })).id;
    await send('POST', `/v1/customers/${shopper.id}/loyalty`, { programmeId, joinedAt: '2020-01-01T00:00:00Z' });
    return shopper;
  }

  order(day: number, total: number, more: object = {}) {
    return {
      ...{ source: 'shop', externalId: fresh('order'), customer: { source: 'shop', externalId: this.name } },
      ...{ placedAt: `2026-11-${day}T10:00:00Z`, currency: 'EUR', total, paymentStatus: 'paid' },
      items: [{ sku: 'A', quantity: 1, total }],
      ...more,
    };
  }

  push(day: number, total: number, more: object = {}) {
    return send('POST', '/v1/orders', this.order(day, total, more));
  }

  loyalty() {
    return send('GET', `/v1/customers/${this.id}/loyalty`);
  }

  async changes() {
    const { data } = await send('GET', `/v1/customers/${this.id}/loyalty/tier-changes`);
    return data.map(({ at, tier, reason }: any) => [at, tier, reason]);
  }
}

const amounts: [number, number][] = [
  [20, 4_500_000],
  [21, 2_500_000],
  [22, 2_500_000],
  [23, 1_000_000],
  [24, 100_000],
];

t.test('a batch earns what the same orders earn one by one, in any order', async (t) => {
  const batch = await Shopper.join({ tiers });
  await send('POST', '/v1/orders/batch', { orders: amounts.map(([day, total]) => batch.order(day, total)) });
  t.match(await batch.loyalty(), { active: 1_680, tier: 'gold' });
  const steps = await batch.changes();
  t.same(steps, [
    ['2020-01-01T00:00:00.000Z', 'bronze', 'enrolment'],
    ['2026-11-20T10:00:00.000Z', 'silver', 'upgrade'],
    ['2026-11-23T10:00:00.000Z', 'gold', 'upgrade'],
  ]);
  for (const order of [amounts, amounts.toReversed(), [3, 0, 4, 1, 2].map((n) => amounts[n] ?? [20, 0])]) {
    const single = await Shopper.join({ tiers });
    for (const [day, total] of order) await single.push(day ?? 20, total ?? 0);
    t.match(await single.loyalty(), { active: 1_680, tier: 'gold' });
    t.same(await single.changes(), steps);
  }
});

t.test('a refund takes the points of the goods it names', async (t) => {
  const categories = [
    { category: 'gift-card', multiplier: 0 },
    { category: 'shoes', multiplier: 2 },
  ];
  const shopper = await Shopper.join({ pointsPerUnit: 1, categories });
  const items = [
    { sku: 'GC', category: 'gift-card', quantity: 1, total: 10_000 },
    { sku: 'BOOK', category: 'books', quantity: 1, total: 10_000 },
  ];
  const { id } = await shopper.push(20, 20_000, { items });
  t.match(await shopper.loyalty(), { active: 100 });
  const refund = { amount: 10_000, refundedAt: '2026-11-21T10:00:00Z' };
  await send('POST', `/v1/orders/${id}/refunds`, { ...refund, items: [{ sku: 'BOOK', quantity: 1, total: 10_000 }] });
  t.match(await shopper.loyalty(), { active: 0 });
});

t.test('a return that names no order takes points and tier', async (t) => {
  const shopper = await Shopper.join({ tiers });
  await shopper.push(20, 10_000_000);
  t.match(await shopper.loyalty(), { active: 1_000, tier: 'gold' });
  const { id } = await send('POST', '/v1/returns', {
    ...{ source: 'shop', externalId: fresh('return'), customer: { source: 'shop', externalId: shopper.name } },
    ...{ returnedAt: '2026-11-21T10:00:00Z', currency: 'EUR', total: 10_000_000 },
  });
  t.match(await shopper.loyalty(), { active: 0, tier: 'bronze' });
  await send('DELETE', `/v1/returns/${id}`);
  t.match(await shopper.loyalty(), { active: 1_000, tier: 'gold' });
});

const corrections: [string, (id: string) => Promise<unknown>][] = [
  ['deleted', (id) => send('DELETE', `/v1/orders/${id}`)],
  ['a test', (id) => send('PATCH', `/v1/orders/${id}`, { test: true })],
  ['cancelled', (id) => send('PATCH', `/v1/orders/${id}`, { cancelledAt: now })],
  ['edited', (id) => send('PATCH', `/v1/orders/${id}`, { total: 100, items: [{ sku: 'A', quantity: 1, total: 100 }] })],
  ['refunded', (id) => send('POST', `/v1/orders/${id}/refunds`, { amount: 10_000_000, refundedAt: now })],
];
for (const [how, correct] of corrections) {
  t.test(`an order that is ${how} takes its tier back, unless the programme keeps tiers`, async (t) => {
    for (const [tierOnRefund, tier] of [
      ['recompute', 'bronze'],
      ['keep', 'gold'],
    ]) {
      const shopper = await Shopper.join({ tiers, tierOnRefund });
      const { id } = await shopper.push(20, 10_000_000);
      t.match(await shopper.loyalty(), { active: 1_000, tier: 'gold' });
      await correct(id);
      t.match(await shopper.loyalty(), { active: 0, tier });
    }
  });
}

t.test('an order that comes when it is cancelled already leaves the tier that it would have left before', async (t) => {
  for (const [tierOnRefund, tier] of [
    ['recompute', 'bronze'],
    ['keep', 'gold'],
  ]) {
    const shopper = await Shopper.join({ tiers, tierOnRefund });
    await shopper.push(20, 10_000_000, { cancelledAt: now });
    t.match(await shopper.loyalty(), { active: 0, tier }, String(tierOnRefund));
  }
});

t.test('the order that reaches a tier earns at it, if the programme says so', async (t) => {
  for (const [reachingOrder, active] of [
    ['former_tier', 1_000],
    ['new_tier', 3_000],
  ]) {
    const shopper = await Shopper.join({ tiers: { ...tiers, reachingOrder } });
    await shopper.push(20, 10_000_000);
    t.match(await shopper.loyalty(), { active });
  }
});

t.test('only a paid order earns', async (t) => {
  const shopper = await Shopper.join({});
  const { id } = await shopper.push(20, 10_000_000, { paymentStatus: 'pending' });
  t.match(await shopper.loyalty(), { active: 0 });
  await send('PATCH', `/v1/orders/${id}`, { paymentStatus: 'paid' });
  t.match(await shopper.loyalty(), { active: 1_000 });
});

t.test('a tier is set by hand, with a reason, until something ends it', async (t) => {
  const shopper = await Shopper.join({ tiers });
  const path = `/v1/customers/${shopper.id}/loyalty/tier`;
  const until = '2027-03-01T00:00:00.000Z';
  const set = await send('PUT', path, { tier: 'silver', reason: 'Carried over', until });
  t.match(set, { tier: 'silver', tierEndsAt: until, tierSince: now });
  t.equal((await send('PUT', path, { tier: 'silver', reason: 'Carried over', until })).version, set.version, 'again');
  t.match(await send('GET', `/v1/customers/${shopper.id}/loyalty?asOf=2027-02-28T23:59:59Z`), { tier: 'silver' });
  t.match(await send('GET', `/v1/customers/${shopper.id}/loyalty?asOf=${until}`), { tier: 'bronze' });
  const { data } = await send('GET', `/v1/customers/${shopper.id}/loyalty/tier-changes`);
  t.match(data.at(-1), { tier: 'silver', reason: 'manual', note: 'Carried over', at: now, endsAt: until });

  const { id } = await shopper.push(20, 4_500_000);
  t.match(await shopper.loyalty(), { tier: 'silver', tierEndsAt: until }, 'orders before it change nothing');
  await send('DELETE', `/v1/orders/${id}`);
  t.match(await shopper.loyalty(), { tier: 'silver', tierEndsAt: until }, 'corrections do not end it');
  await send('PUT', path, { tier: 'bronze', reason: 'A mistake' });
  t.match(await shopper.loyalty(), { tier: 'bronze', tierEndsAt: null });

  const refused = async (body: object) => {
    const answer = await api.request('PUT', path, { body });
    return [answer.status, answer.body.errors?.[0]?.pointer, answer.body.errors?.[0]?.code];
  };
  t.same(await refused({ tier: 'platinum', reason: 'x' }), [422, '/tier', 'unknown_tier']);
  t.same(await refused({ tier: 'gold', reason: 'x', until: '2020-01-01T00:00:00Z' }), [422, '/until', 'in_the_past']);
  t.same(await refused({ tier: 'gold' }), [422, '/reason', 'required']);
  const document = `mutation { setLoyaltyTier(id: "${shopper.id}", input: { tier: "gold", reason: "VIP" }) { loyalty { tier tierEndsAt } } }`;
  const { body } = await api.request('POST', '/graphql', { body: { query: document } });
  t.match(body, { data: { setLoyaltyTier: { loyalty: { tier: 'gold', tierEndsAt: '2027-11-30T12:00:00.000Z' } } } });
});
