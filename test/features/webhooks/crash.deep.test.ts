import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { serviceProcess } from '../../support/service-process.ts';
import { verifies, webhookReceiver } from '../../support/webhook-receiver.ts';

/** A service that is killed between the commit of a change, its delivery, and the note of its delivery loses nothing. */

const service = await serviceProcess(t, { RAPPORT_WEBHOOK_ALLOW: '127.0.0.1', LOG_LEVEL: 'fatal' });
await service.start();

async function post(path: string, body: object): Promise<any> {
  const response = await fetch(service.origin + path, {
    method: 'POST',
    headers: { Authorization: `Bearer ${service.token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  return response.json();
}

t.test('every change reaches the receiver at least once, through kills at every stage', async (t) => {
  const receiver = await webhookReceiver(t);
  const hook = await post('/v1/webhooks', { url: receiver.url, types: ['customer.created'] });
  const made = new Set<string>();
  for (let round = 0; round < 4; round += 1) {
    // Answers half of a page, and keeps the rest waiting until the service is killed.
    let left = 10 * round;
    receiver.answer = (_request, response) => {
      left -= 1;
      if (left >= 0) response.writeHead(200).end();
    };
    const before = receiver.received.length;
    const customers = await Promise.all(
      Array.from({ length: 40 }, (_, n) => post('/v1/customers', { name: `P ${n}` })),
    );
    for (const { id } of customers) made.add(id);
    for (let tries = 0; tries < 200 && receiver.received.length <= before + 10 * round; tries += 1) await sleep(50);
    await service.kill();
    receiver.answer = 200;
    await service.start();
  }
  const heard = () => new Set(receiver.received.map(({ event }) => event.record.id));
  for (let tries = 0; tries < 400 && heard().size < made.size; tries += 1) await sleep(50);
  t.strictSame([...heard()].sort(), [...made].sort());
  const ids = new Map<string, Set<string>>();
  for (const { id, event } of receiver.received) {
    ids.set(event.record.id, (ids.get(event.record.id) ?? new Set()).add(id));
  }
  t.ok(
    [...ids.values()].every(({ size }) => size === 1),
    'what comes twice comes under one id',
  );
  t.ok(receiver.received.every((message) => verifies(hook.secret, message)));
  // What was sent after the last kill was noted, and is not sent again.
  await sleep(1_500);
  const sent = receiver.received.length;
  await service.kill();
  await service.start();
  await sleep(2_000);
  t.equal(receiver.received.length, sent);
});
