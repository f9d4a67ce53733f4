import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { line, type Measure, ofEach } from './measure.ts';
import { ask, postJson, send, type Version, withClient } from './stand.ts';

const warmUp = 2_000;
const events = 20_000;

/** Events per second to one receiver on this machine, which answers at once; signed, and each noted. */
export const webhooks: Measure = {
  name: 'webhooks',
  async run(stand) {
    const figures = await ofEach(stand, async (version) => {
      const receiver = await startReceiver();
      try {
        return await eventsPerSecond(version, receiver);
      } finally {
        receiver.close();
      }
    });
    return [line('events to one webhook', '/s', figures, { faster: 5_000 })];
  },
};

type Receiver = Awaited<ReturnType<typeof startReceiver>>;

async function startReceiver() {
  let received = 0;
  let wanted = Number.POSITIVE_INFINITY;
  let all = () => {};
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      response.writeHead(204).end();
      received += 1;
      if (received === wanted) all();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    /** Resolves when so many have come. */
    after(count: number) {
      wanted = received + count;
      return new Promise<void>((resolve) => {
        all = resolve;
      });
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** null: this version has no webhooks. */
async function eventsPerSecond(version: Version, receiver: Receiver): Promise<number | null> {
  const { status } = await send(version, { method: 'GET', path: '/v1/webhooks' });
  if (status === 404) return null;
  const { id } = await ask(version, postJson('/v1/webhooks', { url: receiver.url, types: ['order.updated'] }));
  const change = (body: object) => patch(version, id, body);
  const sent = async (count: number): Promise<number> => {
    await change({ status: 'disabled' });
    await withClient(version, (client) =>
      client.query(
        `update orders set version = version + 1 where (customer_id, id) in (select customer_id, id from orders order by id limit ${count})`,
      ),
    );
    const all = receiver.after(count);
    await change({ status: 'enabled' });
    const began = performance.now();
    await all;
    return (1000 * count) / (performance.now() - began);
  };
  await sent(warmUp);
  const rate = await sent(events);
  await change({ status: 'disabled' });
  return rate;
}

async function patch({ origin, token }: Version, id: string, body: object): Promise<void> {
  const response = await fetch(`${origin}/v1/webhooks/${id}`, {
    method: 'PATCH',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', 'If-Match': '*' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(await response.text());
}
