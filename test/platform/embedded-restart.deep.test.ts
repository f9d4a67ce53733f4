import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { serviceProcess } from '../support/service-process.ts';

const service = await serviceProcess(t, { LOG_LEVEL: 'fatal' });
await service.start();

const push = (n: number) =>
  fetch(`${service.origin}/v1/customers`, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${service.token}`,
      'Content-Type': 'application/json',
      'Idempotency-Key': `key-${n}`,
    },
    body: JSON.stringify({ name: `Person ${n}`, references: [{ source: 'shop', externalId: `c${n}` }] }),
  });

/** As a client does that obeys 503. @returns the last status, and those on the way */
async function pushUntilAccepted(n: number): Promise<number[]> {
  const statuses: number[] = [];
  for (let tries = 0; tries < 600; tries += 1) {
    const { status } = await push(n);
    statuses.push(status);
    if (status !== 503 && status !== 409) break;
    await sleep(100);
  }
  return statuses;
}

for (const signal of ['SIGKILL', 'SIGINT', 'SIGKILL'] as const) {
  t.test(`the embedded database ends by ${signal} and is started again`, async (t) => {
    const before = await service.databaseId();
    const n = before;
    t.equal((await push(n)).status, 201);
    process.kill(before, signal);
    await sleep(50);
    const statuses = await pushUntilAccepted(n + 1_000_000);
    t.equal(statuses.at(-1), 201);
    t.strictSame(
      [...new Set(statuses.slice(0, -1))].filter((status) => status !== 503 && status !== 409),
      [],
    );
    t.not(await service.databaseId(), before);
    t.equal((await fetch(`${service.origin}/readyz`)).status, 200);
    const known = await fetch(`${service.origin}/v1/customers/external/shop/c${n}`, {
      headers: { Authorization: `Bearer ${service.token}` },
    });
    t.equal(known.status, 200, 'what was acknowledged is there');
  });
}

t.test('a stop ends the database that was started again', async (t) => {
  t.equal(await service.stop(), 0);
  await t.rejects(service.databaseId());
});
