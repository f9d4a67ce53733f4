import fc from 'fast-check';
import t from 'tap';
import { addDays } from '../../../src/domain/period.ts';
import { testApp } from '../../support/app.ts';
import { draws, endOnFailure, firstSeed } from '../../support/draws.ts';
import { allPages, fresh, orderOf } from '../../support/shop.ts';

const now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request } = api;

const multiplier = fc.constantFrom(0, 0.5, 1, 1.25, 3);
const rulesArbitrary = fc.record({
  pointsPerUnit: fc.constantFrom(1, 0.5, 0.1234, 100),
  pointValue: fc.constant(0.5),
  rounding: fc.constantFrom('down', 'half_up', 'up'),
  includeShipping: fc.boolean(),
  includeFees: fc.boolean(),
  tierOnRefund: fc.constantFrom('keep', 'recompute'),
  categories: fc.tuple(multiplier, multiplier).map(([toys, books]) => [
    { category: 'toys', multiplier: toys },
    { category: 'books', multiplier: books },
  ]),
  campaigns: fc.constantFrom(
    [],
    [{ name: 'x', from: '2025-09-01T00:00:00Z', to: '2026-02-01T00:00:00Z', multiplier: 2 }],
  ),
  tiers: fc.option(
    fc.constantFrom('spend', 'points').map((basis) => ({
      basis,
      windowDays: 365,
      periodDays: 365,
      graceDays: 0,
      // With different ones a member would earn by the tiers that came by and by.
      levels: [0, 500, 1_000, 3_000, 8_000, 12_500, 25_000].map((threshold) => ({
        key: `${threshold}`,
        name: 'x',
        threshold,
        multiplier: 1.5,
      })),
    })),
  ),
});

t.test('candidates have the points and the tier that membership then brings', async (t) => {
  const day = (n: number) => addDays('2025-06-20T12:00:00.000Z', n);
  const line = fc.record({
    total: fc.constantFrom(0, 7, 999, 12_345, -50),
    category: fc.constantFrom('toys', 'books', null),
  });
  const item = fc.record({
    line: fc.nat({ max: 2 }),
    quantity: fc.constant(1),
    total: fc.constantFrom(undefined, 5, 900),
  });
  const customerArbitrary = fc.record({
    orders: fc.array(
      fc.record({
        day: fc.nat({ max: 330 }),
        lines: fc.array(line, { minLength: 1, maxLength: 3 }),
        shipping: fc.constantFrom(0, 490),
        fees: fc.constantFrom(0, 33),
        tax: fc.constantFrom(0, 77),
        refunds: fc.array(
          fc.record({ share: fc.constantFrom(0, 0.3, 0.5, 1), items: fc.array(item, { maxLength: 2 }) }),
          { maxLength: 2 },
        ),
      }),
      { minLength: 1, maxLength: 4 },
    ),
    returns: fc.array(
      fc.record({
        day: fc.nat({ max: 340 }),
        total: fc.constantFrom(1, 500, 20_000),
        items: fc.constantFrom(
          [],
          [{ sku: 'sku 0', quantity: 1, total: 100 }],
          [{ sku: 'sku 1', quantity: 2, total: 9 }],
        ),
      }),
      { maxLength: 2 },
    ),
  });
  const post = async (path: string, body: object) => {
    const answer = await request('POST', path, { body, headers: { 'Idempotency-Key': fresh('key'), 'If-Match': '*' } });
    if (answer.status >= 300) throw new Error(`${path} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  let compared = 0;
  let changed = 0;
  await fc.assert(
    fc.asyncProperty(
      rulesArbitrary,
      fc.array(customerArbitrary, { minLength: 6, maxLength: 12 }),
      async (rules, people) => {
        const programme = await post('/v1/loyalty/programmes', { name: fresh('programme'), rules });
        const { id } = programme;
        await post(`/v1/loyalty/programmes/${id}/publish`, { validFrom: '2020-01-01T00:00:00Z' });
        const ids = new Set<string>();
        for (const { orders, returns } of people) {
          const customer = { source: 'shop', externalId: fresh('returner') };
          for (const { day: placed, lines, shipping, fees, tax, refunds } of orders) {
            const items = lines.map((one, n) => ({ ...one, sku: `sku ${n}`, quantity: 1 }));
            const goods = items.reduce((sum, { total }) => sum + total, 0);
            const total = Math.max(0, goods) + shipping + fees + tax;
            const order = await post('/v1/orders', {
              ...orderOf({ customer, placedAt: day(placed), total, items }),
              // Of an order of negative lines the total is not below 0.
              ...{ shipping, fees, tax, rounding: Math.max(0, -goods) },
            });
            ids.add(order.customerId);
            let left = total;
            for (const { share, items: back } of refunds) {
              const amount = Math.min(left, Math.round(total * share));
              left -= amount;
              await post(`/v1/orders/${order.id}/refunds`, {
                ...{ source: 'shop', externalId: fresh('refund'), amount, refundedAt: day(345) },
                items: back.filter(({ line: n }) => n < items.length),
              });
            }
          }
          for (const { day: returned, ...back } of returns) {
            await post('/v1/returns', {
              ...{ ...back, customer, source: 'shop', externalId: fresh('return'), currency: 'EUR' },
              returnedAt: day(returned),
            });
          }
        }
        const answered = (await allPages(api, `/v1/loyalty/candidates?programmeId=${id}&limit=7`)).filter(
          ({ customerId }) => ids.has(customerId),
        );
        const ranked = new Map(answered.map((row) => [row.customerId, row]));
        for (const customerId of ids) {
          const member = await post(`/v1/customers/${customerId}/loyalty`, {
            programmeId: id,
            joinedAt: addDays(now, -365).replace('Z', '001Z'),
          });
          const { points = 0, tier } = ranked.get(customerId) ?? {};
          if (member.active !== points) {
            throw new Error(`${points} points were promised, ${member.active} credited: ${JSON.stringify(rules)}`);
          }
          if (points > 0 && member.tier !== tier) throw new Error(`${tier} was promised, ${member.tier} reached`);
          compared += points > 0 ? 1 : 0;
        }
        const preview = await post(`/v1/loyalty/programmes/${id}/preview`, { from: day(-20), to: now });
        if (preview.current.points !== preview.entitled) {
          throw new Error(`The preview has ${preview.current.points}, the ledger ${preview.entitled}`);
        }
        changed += preview.entitled;
      },
    ),
    { numRuns: draws({ quick: 4, deep: 60 }), seed: firstSeed(1), endOnFailure },
  );
  t.ok(compared > 5 && changed > 0, `${compared} candidates with points`);
});
