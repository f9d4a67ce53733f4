import fc from 'fast-check';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { draws } from '../../support/draws.ts';
import { netLeft } from '../../support/refund-oracle.ts';
import { fresh, newKey, pushOrder, pushRefund } from '../../support/shop.ts';
import { rollupVerifier } from '../../support/verify-rollups.ts';

const api = await testApp(t);
const { request } = api;

const read = async (id: string) => (await request('GET', `/v1/orders/${id}`)).body;
const taxed = (total: number, tax: number, more: object = {}) =>
  pushOrder(api, {
    customer: { externalId: fresh('taxed') },
    total,
    tax,
    taxIncluded: true,
    items: [{ sku: 'A', quantity: 1, total }],
    ...more,
  });

t.test('a refund takes its net amount, with the tax that it states or an estimate', async (t) => {
  const { body: order } = await taxed(2200, 200);
  const estimated = await pushRefund(api, order.id, { amount: 1100 });
  t.match(estimated.body, { amount: 1100, tax: null, taxEstimated: true, net: 1000 });
  t.match(await read(order.id), { refunded: 1100, revenue: 1000, baseRevenue: 1000, status: 'partially_refunded' });
  const stated = await pushRefund(api, order.id, { amount: 550, tax: 0, shipping: 100 });
  t.match(stated.body, { tax: 0, taxEstimated: false, shipping: 100, net: 550 });
  t.match(await read(order.id), { revenue: 450 });
  const rest = await pushRefund(api, order.id, { amount: 550 });
  t.match(rest.body, { net: 450 }, 'refunding everything leaves 0');
  t.match(await read(order.id), { revenue: 0, status: 'refunded' });

  const { body: shipped } = await taxed(12720, 2120, {
    shipping: 600,
    taxIncluded: false,
    items: [{ sku: 'A', quantity: 1, total: 10000 }],
  });
  await pushRefund(api, shipped.id, { amount: 12000 });
  t.match(await read(shipped.id), { revenue: 600 }, 'the shipping is left');
  const { body: dear } = await taxed(262063, 43677);
  await pushRefund(api, dear.id, { amount: 262062 });
  t.match(await read(dear.id), { revenue: 1 }, 'never less than nothing');
});

t.test('an earlier refund that comes late, a correction and a deletion make the others anew', async (t) => {
  const { body: order } = await taxed(1000, 100);
  const late = await pushRefund(api, order.id, { amount: 500, tax: 0, refundedAt: '2026-03-09T00:00:00Z' });
  t.match(late.body, { net: 500, version: 1 });
  const early = await pushRefund(api, order.id, { amount: 500, refundedAt: '2026-03-08T00:00:00Z' });
  t.match(early.body, { net: 450 });
  t.match((await request('GET', `/v1/refunds/${late.body.id}`)).body, { net: 450, tax: 0, version: 2 }, 'adjusted');
  await request('PATCH', `/v1/orders/${order.id}`, {
    body: { tax: 0, total: 1000 },
    headers: { 'If-Match': '*' },
  });
  t.match(await read(order.id), { revenue: 0 });
  t.match((await request('GET', `/v1/refunds/${early.body.id}`)).body, { net: 500, version: 2 });
  await request('DELETE', `/v1/refunds/${early.body.id}`, { headers: { 'If-Match': '*' } });
  t.match(await read(order.id), { refunded: 500, revenue: 500 });
});

t.test('what does not fit is refused with its place, and nothing is changed', async (t) => {
  const { body: order } = await taxed(2200, 200);
  await pushRefund(api, order.id, { amount: 1000, tax: 150 });
  const refused = await pushRefund(api, order.id, { amount: 500, tax: 51 });
  t.match(refused, { status: 422, body: { errors: [{ pointer: '/tax', code: 'refund_tax_exceeds_order' }] } });
  t.match(await read(order.id), { refunded: 1000, version: 2 });
});

t.test('a refund of 0 changes no status, and a return takes its net amount', async (t) => {
  const { body: order } = await taxed(1530, 0, { fulfillmentStatus: 'fulfilled' });
  t.equal((await pushRefund(api, order.id, { amount: 0, items: [{ sku: 'A', quantity: 1, total: 0 }] })).status, 201);
  t.match(await read(order.id), { status: 'fulfilled', refunded: 0 });
  const back = (members: object) =>
    request('POST', '/v1/returns', {
      body: {
        source: 'shop',
        externalId: fresh('back'),
        customerId: order.customerId,
        returnedAt: '2026-03-20T00:00:00Z',
        currency: 'EUR',
        total: 1200,
        ...members,
      },
      headers: newKey(),
    });
  t.match((await back({ tax: 200 })).body, { tax: 200, net: 1000, baseNet: 1000, baseTotal: 1200 });
  t.match((await back({})).body, { tax: null, net: 1200, baseNet: 1200 });
  t.match((await back({ tax: 1201 })).body, { errors: [{ pointer: '/tax', code: 'tax_exceeds_total' }] });
});

const amounts = fc.record({
  total: fc.integer({ min: 0, max: 50_000 }),
  taxShare: fc.double({ min: 0, max: 1, noNaN: true }),
  refunds: fc.array(
    fc.record({
      share: fc.double({ min: 0, max: 1, noNaN: true }),
      day: fc.integer({ min: 1, max: 28 }),
      states: fc.boolean(),
    }),
    { maxLength: 5 },
  ),
});

t.test(
  'taxes × refunds × order of arrival: the revenue is that of the documentation, whatever comes first',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(amounts, async ({ total, taxShare, refunds }) => {
        const tax = Math.floor(total * taxShare);
        let left = total;
        let taxes = tax;
        const all = refunds.map(({ share, day, states }, index) => {
          const amount = Math.floor(left * share);
          const stated = Math.min(amount, Math.floor(taxes * share));
          left -= amount;
          if (states) taxes -= stated;
          // Two of one day count by their ids, which nobody can know before: every day once.
          const refundedAt = `2026-03-${String(day).padStart(2, '0')}T00:00:${String(index).padStart(2, '0')}Z`;
          return { amount, refundedAt, ...(states && { tax: stated }) };
        });
        const inTime = all.toSorted((a, b) => (a.refundedAt < b.refundedAt ? -1 : 1));
        const expected = netLeft({ total, tax }, inTime);
        for (const arrival of [all, all.toReversed()]) {
          const { body: order } = await taxed(total, tax);
          for (const refund of arrival) {
            const { status, body } = await pushRefund(api, order.id, refund);
            if (status !== 201) throw new Error(JSON.stringify(body));
          }
          const { revenue, refunded } = await read(order.id);
          if (revenue !== expected)
            throw new Error(`${revenue} is left of ${total} − ${tax}, refunded ${refunded}; right is ${expected}`);
        }
      }),
      { numRuns: draws({ quick: 25, deep: 250 }) },
    );
    const verify = await rollupVerifier(t, api.url);
    t.match(await verify(), { code: 0 });
  },
);
