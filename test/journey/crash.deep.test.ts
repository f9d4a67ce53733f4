import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { rollupDifferences } from '../../src/features/rollups/queries.ts';
import { openPool, poolDb } from '../../src/platform/db/client.ts';
import { serviceProcess } from '../support/service-process.ts';
import { fresh, newKey, orderOf } from '../support/shop.ts';

const service = await serviceProcess(t);
const { origin, token } = service;

async function push(
  order: object,
  key: Record<string, string>,
): Promise<{ status: number; retryAfter: string | null; body: any } | null> {
  try {
    const response = await fetch(`${origin}/v1/orders`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', ...key },
      body: JSON.stringify(order),
    });
    return { status: response.status, retryAfter: response.headers.get('retry-after'), body: await response.json() };
  } catch {
    return null; // the connection died: nobody knows whether the order is there
  }
}

t.test('every order acknowledged by a service that is killed again and again is there exactly once', async (t) => {
  await service.start();
  const acknowledged = new Map<string, string>();
  const odd: string[] = [];
  let lost = 0;
  let stop = false;
  const shop = async (n: number) => {
    while (!stop) {
      const order = orderOf({
        customer: { externalId: `customer-${n % 3}` },
        externalId: fresh(`order-${n}`),
        currency: n % 2 ? 'EUR' : 'USD',
      });
      const key = newKey();
      for (;;) {
        const answer = await push(order, key);
        if (answer?.status === 201) {
          acknowledged.set(order.externalId, answer.body.id);
          break;
        }
        if (answer === null) lost += 1;
        else if (answer.status !== 503 && answer.body.code !== 'idempotency_key_in_flight')
          odd.push(`${answer.status} ${answer.body.code}`);
        await sleep(20);
      }
    }
  };
  const shops = Array.from({ length: 8 }, (_, n) => shop(n));
  for (let kill = 1; kill <= 3; kill += 1) {
    const before = acknowledged.size;
    while (acknowledged.size < before + 60) await sleep(5);
    await service.kill();
    await service.start();
  }
  const before = acknowledged.size;
  while (acknowledged.size < before + 20) await sleep(5);
  stop = true;
  await Promise.all(shops);
  t.comment(`${acknowledged.size} orders acknowledged, ${lost} requests without an answer`);
  t.ok(lost > 0, 'requests were under way when it died');
  t.same(odd, [], 'a retry is answered with the order or told to come again');

  const connection = await service.connection();
  const database = new pg.Client(connection);
  await database.connect();
  const { rows } = await database.query<{ externalId: string; id: string }>(
    'select external_id as "externalId", id from orders',
  );
  await database.end();
  t.same(new Map(rows.map((row) => [row.externalId, row.id])), acknowledged);
  t.equal(rows.length, acknowledged.size, 'each once, and no other');
  const pool = openPool(connection, { size: 1, statementTimeout: 30_000 });
  t.same(await rollupDifferences(poolDb(pool), 'UTC', 10), []);
  await pool.end();
});

t.test(
  'while the database is away writes and reads are answered 503, and the service recovers by itself',
  async (t) => {
    const order = orderOf();
    const key = newKey();
    process.kill(await service.databaseId(), 'SIGINT');
    let away: Awaited<ReturnType<typeof push>> = null;
    for (let tries = 0; tries < 200 && away?.status !== 503; tries += 1) {
      away = await push(orderOf(), newKey());
      await sleep(20);
    }
    t.match(away, { status: 503, retryAfter: /^\d+$/, body: { code: 'unavailable' } });
    t.match(await push(order, key), { status: 503, body: { code: 'unavailable' } });
    const read = await fetch(`${origin}/v1/orders`, { headers: { Authorization: `Bearer ${token}` } });
    t.equal(read.status, 503);
    t.match(read.headers.get('content-type'), 'application/problem+json');
    t.equal((await fetch(`${origin}/livez`)).status, 200);
    t.ok(service.isAlive(), 'the process lives');
    await service.connection();
    let back = await push(order, key);
    for (let tries = 0; tries < 200 && back?.status === 503; tries += 1) {
      await sleep(50);
      back = await push(order, key);
    }
    t.match(back, { status: 201 });
    t.match(await push(order, key), { status: 201, body: { id: back?.body.id } });
  },
);
