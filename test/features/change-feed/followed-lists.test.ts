import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { draws } from '../../support/draws.ts';
import { newKey } from '../../support/shop.ts';

/** A reader that goes on from the greatest `updatedAt` loses nothing, whatever is committed late. */

const api = await testApp(t);
const order = (externalId: string, customer: string) => ({
  source: 'shop',
  externalId,
  customer: { externalId: customer },
  placedAt: '2026-03-01T08:26:00Z',
  currency: 'EUR',
  total: 1530,
  paymentStatus: 'paid',
  items: [{ sku: 'A', quantity: 1, total: 1530 }],
});
const push = (externalId: string, customer: string) =>
  api.request('POST', '/v1/orders', { body: order(externalId, customer), headers: newKey() });

/** A round of a reader: all changes since `from`. */
async function changesSince(from: string, path = '/v1/orders?'): Promise<{ ids: string[]; from: string }> {
  const ids: string[] = [];
  let greatest = from;
  for (let after = ''; ; ) {
    const { body } = await api.request(
      'GET',
      `${path}sort=updatedAt&limit=100&updatedFrom=${encodeURIComponent(from)}${after}`,
    );
    for (const { id, updatedAt } of body.data) {
      ids.push(id);
      if (updatedAt > greatest) greatest = updatedAt;
    }
    if (!body.page.hasMore) return { ids, from: greatest };
    after = `&after=${encodeURIComponent(body.page.next)}`;
  }
}

for (const path of ['/v1/orders?', '/v1/customers?']) {
  t.test(`${path}: what began earlier and is committed later is not skipped`, async (t) => {
    const name = path.length;
    await push(`first-${name}`, `held-${name}`);
    const { body: customer } = await api.request('GET', `/v1/customers/external/shop/held-${name}`);
    const start = await changesSince('2026-01-01T00:00:00Z', path);
    const client = new pg.Client(api.connection);
    await client.connect();
    await client.query('begin');
    await client.query('select from customers where id = $1 for update', [customer.id]);
    const late = push(`late-${name}`, `held-${name}`);
    await sleep(50);
    const quick = await push(`quick-${name}`, `free-${name}`);
    const between = await changesSince(start.from, path);
    t.notOk(between.ids.includes(quick.body.id) || between.ids.includes(quick.body.customerId), 'the list ends before');
    const others = await api.request('GET', `/v1/orders/${quick.body.id}`);
    t.equal(others.status, 200, 'which is there');
    await client.query('commit');
    await client.end();
    const { body: last } = await late;
    const after = await changesSince(between.from, '/v1/orders?');
    t.ok(after.ids.includes(quick.body.id) && after.ids.includes(last.id));
  });
}

t.test('beside writers of single orders and of batches', async (t) => {
  const rounds = draws({ quick: 10, deep: 100 });
  const made = new Set<string>();
  let writing = true;
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    for (let round = 0; round < rounds; round += 1) {
      if (writer === 0) {
        const orders = Array.from({ length: 100 }, (_, at) => order(`b-${round}-${at}`, `b-${at % 20}`));
        const { body } = await api.request('POST', '/v1/orders/batch', { body: { orders }, headers: newKey() });
        for (const { id } of body.results) made.add(id);
      } else made.add((await push(`o-${writer}-${round}`, `c-${round % 3}`)).body.id);
    }
  });
  const done = Promise.all(writers).then(() => {
    writing = false;
  });
  const seen = new Set<string>();
  let from = '2026-01-01T00:00:00Z';
  for (let last = false; !last; ) {
    last = !writing;
    const round = await changesSince(from);
    for (const id of round.ids) seen.add(id);
    from = round.from;
  }
  await done;
  t.strictSame(
    [...made].filter((id) => !seen.has(id)),
    [],
  );
});

t.test('a write that failed or changed nothing holds no list back', async (t) => {
  const { body: made } = await push('sure', 'sure');
  await api.request('PATCH', `/v1/orders/${made.id}`, { headers: { 'If-Match': '"77"' }, body: { channel: 'x' } });
  await api.request('POST', '/v1/orders?dryRun=true', { body: order('dry', 'dry') });
  const { body: next } = await push('next', 'next');
  t.ok((await changesSince(next.updatedAt)).ids.includes(next.id), 'one’s own change is there at once');
});
