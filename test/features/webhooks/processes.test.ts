import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { type TestApp, testApp } from '../../support/app.ts';
import { webhookReceiver } from '../../support/webhook-receiver.ts';

/** Workers that send by themselves: two processes of one service, and one that stops with messages under way. */

const env = { RAPPORT_WEBHOOK_ALLOW: '127.0.0.1' };
const first = await testApp(t, { env });

async function until(condition: () => boolean): Promise<boolean> {
  for (let tries = 0; tries < 600; tries += 1) {
    if (condition()) return true;
    await sleep(50);
  }
  return false;
}

let names = 0;
const newCustomer = async (api: TestApp): Promise<string> => {
  names += 1;
  return (await api.request('POST', '/v1/customers', { body: { name: `Person ${names}` } })).body.id;
};
const webhookFor = async (url: string) =>
  (await first.request('POST', '/v1/webhooks', { body: { url, types: ['customer.created'] } })).body;

t.test('two processes share the work, and send every event once', async (t) => {
  const second = await testApp(t, { env, beside: first });
  const receivers = await Promise.all(Array.from({ length: 8 }, () => webhookReceiver(t)));
  const hooks = await Promise.all(receivers.map(({ url }) => webhookFor(url)));
  for (const api of [first, second]) api.app.jobs.startWorker();
  const made: string[] = [];
  for (let round = 0; round < 15; round += 1) {
    made.push(...(await Promise.all([first, second, first, second].map(newCustomer))));
  }
  t.ok(await until(() => receivers.every(({ received }) => received.length >= made.length)));
  await sleep(500);
  for (const { received } of receivers) {
    t.strictSame(received.map(({ event }) => event.record.id).sort(), [...made].sort());
  }

  t.comment('a process that stops finishes what is under way; the other one goes on');
  const [slow] = receivers;
  if (!slow) throw new Error('There is a receiver');
  slow.answer = async (_request, response) => {
    await sleep(100);
    response.writeHead(200).end();
  };
  const later = await Promise.all(Array.from({ length: 40 }, () => newCustomer(first)));
  const isUnderWay = await until(() => slow.received.length > made.length);
  t.ok(isUnderWay);
  await second.app.close();
  const all = [...made, ...later].sort();
  t.ok(await until(() => receivers.every(({ received }) => received.length >= all.length)));
  await sleep(300);
  for (const { received } of receivers) t.strictSame(received.map(({ event }) => event.record.id).sort(), all);
  for (const { id } of hooks) {
    await first.request('DELETE', `/v1/webhooks/${id}`, { headers: { 'If-Match': '*' } });
  }
});
