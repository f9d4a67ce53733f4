import t from 'tap';
import { derivedState } from '../../../src/derived-state.ts';
import { openPool, poolDb } from '../../../src/platform/db/client.ts';
import { createPrincipal } from '../../../src/platform/principal.ts';
import { upgradesFor } from '../../../src/upgrades.ts';
import { testApp } from '../../support/app.ts';
import { fresh, newKey } from '../../support/shop.ts';

const settings = { baseCurrency: 'EUR', reportingTimeZone: 'UTC' };

t.test('an upgrade tells all points that it changes, also those of orders with refunds', async (t) => {
  const { request, connection } = await testApp(t);
  const send = async (method: string, path: string, body: unknown) => {
    const { status, body: answer } = await request(method, path, { body, headers: { ...newKey(), 'If-Match': '*' } });
    t.ok(status < 300, `${method} ${path}: ${status}`);
    return answer;
  };
  const { id: programmeId } = await send('POST', '/v1/loyalty/programmes', {
    name: 'Club',
    rules: { pointsPerUnit: 1, pointValue: 1 },
  });
  await send('POST', `/v1/loyalty/programmes/${programmeId}/publish`, { validFrom: '2020-01-01T00:00:00Z' });
  const buy = async (refunded: number) => {
    const { id: orderId, customerId } = await send('POST', '/v1/orders', {
      ...{ source: 'shop', externalId: fresh('order'), customer: { source: 'shop', externalId: fresh('customer') } },
      ...{ placedAt: '2026-03-01T00:00:00Z', currency: 'EUR', total: 22_000, tax: 2000, taxIncluded: true },
      ...{ paymentStatus: 'paid', items: [{ sku: 'A', quantity: 2, total: 22_000 }] },
    });
    await send('POST', `/v1/customers/${customerId}/loyalty`, { programmeId, joinedAt: '2026-01-01T00:00:00Z' });
    if (refunded > 0) {
      await send('POST', '/v1/refunds', { orderId, amount: refunded, refundedAt: '2026-03-02T00:00:00Z' });
    }
    return customerId;
  };
  const members = [await buy(0), await buy(11_000)];
  const points = async () =>
    (await Promise.all(members.map((id) => request('GET', `/v1/customers/${id}/loyalty`)))).map(
      ({ body }) => body.active,
    );
  t.same(await points(), [200, 100]);

  const pool = openPool(connection, { size: 2, statementTimeout: 30_000 });
  t.teardown(() => pool.end());
  // Stands for a store whose points were worked out otherwise: by half of what is right now.
  await pool.query(`update loyalty_programme_versions set rules = jsonb_set(rules, '{pointsPerUnit}', '2')`);
  const notes: string[] = [];
  for (const step of upgradesFor(settings)) await step.run(pool, (message) => notes.push(message));
  t.same(await points(), [400, 200]);
  t.match(
    notes.find((note) => note.startsWith('points')),
    /2 members are entitled to 300 points more and 0 less, and 0 of them have another tier/,
    'those of the refunded order are told as well',
  );
  const context = { ...settings, now: new Date().toISOString(), principal: createPrincipal('test', []) };
  for (const { name, compare } of derivedState) t.same(await compare(poolDb(pool), context, 10), [], name);
});
