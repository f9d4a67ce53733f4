import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { anOrder, ndjson } from '../../support/imports.ts';
import { serviceProcess } from '../../support/service-process.ts';

/** The real service in a process of its own: killed in the middle of an import, and with a file that is larger than its memory. */

const service = await serviceProcess(t);

async function ask(method: string, path: string, body?: string | ReadableStream<Uint8Array>): Promise<any> {
  const response = await fetch(service.origin + path, {
    method,
    headers: {
      Authorization: `Bearer ${service.token}`,
      ...(body !== undefined && { 'Content-Type': 'application/x-ndjson' }),
    },
    ...(body !== undefined && { body, duplex: 'half' }),
  } as RequestInit);
  const answer = await response.json();
  if (response.status > 299) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

/** Waits until an import is so far. */
async function until(id: string, isSo: (now: any) => boolean): Promise<any> {
  for (const deadline = Date.now() + 600_000; Date.now() < deadline; await sleep(50)) {
    const now = await ask('GET', `/v1/imports/${id}`);
    if (isSo(now)) return now;
    if (now.status === 'failed') throw new Error(JSON.stringify(now));
  }
  throw new Error('It takes too long');
}

const isFinished = ({ status }: { status: string }) => status === 'finished';

t.test('an import goes on where the killed process left it', async (t) => {
  await service.start();
  const count = 20_000;
  const file = ndjson(Array.from({ length: count }, (_, n) => anOrder(n)));
  const { id } = await ask('POST', '/v1/imports?kind=orders', file);
  for (const share of [0.1, 0.4]) {
    const before = await until(id, ({ done }) => done >= count * share);
    t.ok(before.done < count, 'it is killed in the middle');
    await service.kill();
    await service.start();
    const after = await ask('GET', `/v1/imports/${id}`);
    const { page } = await ask('GET', '/v1/orders?limit=1&count=true');
    t.equal(page.total, after.created, 'what is counted is what is written');
  }
  const done = await until(id, isFinished);
  t.match(done, { lines: count, done: count, created: count, updated: 0, unchanged: 0, failed: 0 });
  t.equal((await ask('GET', '/v1/orders?limit=1&count=true')).page.total, count);
  t.equal((await ask('GET', '/v1/orders/external/shop/o19999')).version, 1);
  const again = await ask('POST', '/v1/imports?kind=orders', file);
  t.match(await until(again.id, isFinished), { unchanged: count, created: 0, updated: 0 });
});

t.test('memory stays flat', async (t) => {
  const lines = 300_000;
  const perPiece = 500;
  let made = 0;
  const talk = (n: number) => ({
    source: 'talks',
    externalId: `t${n}`,
    customer: { source: 'shop', externalId: `c${n % 50}` },
    kind: 'phone',
    occurredAt: '2026-03-01T09:00:00Z',
    text: `Conversation ${n} about an order`,
  });
  const file = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (made >= lines) return controller.close();
      controller.enqueue(new TextEncoder().encode(ndjson(Array.from({ length: perPiece }, (_, n) => talk(made + n)))));
      made += perPiece;
    },
  });
  const resident = async () => {
    const status = await readFile(`/proc/${service.id()}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
  };
  const { id } = await ask('POST', '/v1/imports?kind=interactions', file);
  await until(id, ({ done }) => done >= lines / 3);
  const early = await resident();
  t.match(await until(id, isFinished), { created: lines, failed: 0 });
  const late = await resident();
  t.ok(late - early <= 100, `resident memory went from ${Math.round(early)} to ${Math.round(late)} MB`);
});
