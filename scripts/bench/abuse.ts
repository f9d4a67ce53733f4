import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { abusiveRequests } from './abusive-requests.ts';
import { line, type Measure, ofEach } from './measure.ts';

/** Milliseconds. One processor serves the request and measures it, so a little more than a slice is taken for good. */
const mostBlocked = 50;

const requests = [
  ...abusiveRequests,
  {
    name: 'a valid batch of 1,000 orders',
    path: '/v1/orders/batch',
    scope: '*' as const,
    body: validBatch,
    status: 200,
  },
];

/**
 * How long one request keeps all others waiting: each is sent while `/livez`, which works without the database, is asked again
 * and again over a connection of its own. The shortest of three rounds counts: what else the machine does only adds.
 */
export const abuse: Measure[] = requests.map(({ name, path, scope, body, status }) => ({
  name: `abuse-${name.replaceAll(/\W+/g, '-')}`,
  async run(stand) {
    const figures = await ofEach(stand, async (version) => {
      const token = await version.issueToken(['--scope', scope]);
      let least = Number.POSITIVE_INFINITY;
      for (let round = 0; round < 3; round += 1) {
        const payload = body();
        const wait = await longestWait(version.origin, async () => {
          const answer = await fetch(version.origin + path, {
            method: 'POST',
            headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
            body: payload,
          });
          await answer.text();
          // An older version may refuse it in another way.
          if (answer.status !== status && version.name === 'new') {
            throw new Error(`${name}: ${answer.status} instead of ${status}`);
          }
        });
        least = Math.min(least, wait);
      }
      return least;
    });
    return [line(`blocked by ${name}`, 'ms', figures, { within: mostBlocked })];
  },
}));

let batches = 0;

function validBatch(): string {
  batches += 1;
  const order = (_: unknown, i: number) => ({
    source: 'abuse',
    externalId: `${process.pid}-${batches}-${i}`,
    customer: { externalId: `c${i % 300}` },
    placedAt: '2026-03-01T08:26:00Z',
    currency: 'EUR',
    total: 300,
    paymentStatus: 'paid',
    items: ['A', 'B', 'C'].map((sku) => ({ sku, quantity: 1, total: 100 })),
  });
  return JSON.stringify({ orders: Array.from({ length: 1_000 }, order) });
}

/** The longest answer time of `/livez` while the work is done, milliseconds. */
async function longestWait(origin: string, work: () => Promise<void>): Promise<number> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  await livez(origin, agent);
  let done = false;
  const finished = work().finally(() => {
    done = true;
  });
  let longest = 0;
  while (!done) {
    const started = performance.now();
    await livez(origin, agent);
    longest = Math.max(longest, performance.now() - started);
    await sleep(1);
  }
  agent.destroy();
  await finished;
  return longest;
}

function livez(origin: string, agent: http.Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    http
      .get(`${origin}/livez`, { agent }, (response) => response.resume().on('end', resolve).on('error', reject))
      .on('error', reject);
  });
}
