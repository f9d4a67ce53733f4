import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { serviceProcess } from '../support/service-process.ts';

/** One service in several processes: see RAPPORT_PROCESSES. */
const service = await serviceProcess(t, { RAPPORT_PROCESSES: '2', LOG_LEVEL: 'fatal' });

const childrenOf = (id: number): number[] =>
  execFileSync('ps', ['-eo', 'pid=,ppid=,comm='], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, command]) => Number(parent) === id && command !== 'postgres')
    .map(([child]) => Number(child));
/** The processes that share the port; the first one's other child is the database. */
const processes = () =>
  childrenOf(service.id()).filter((id) => {
    try {
      return execFileSync('ps', ['-o', 'args=', '-p', String(id)], { encoding: 'utf8' }).includes('server');
    } catch {
      return false;
    }
  });

async function until(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let tries = 0; tries < 600; tries += 1) {
    if (await condition()) return true;
    await sleep(100);
  }
  return false;
}

/** On a connection of its own, so that any of the processes may get it. */
function push(n: number): Promise<Response> {
  return fetch(`${service.origin}/v1/customers`, {
    method: 'POST',
    // A connection that is on its way to a process when that is killed is never answered: clients give up and ask again.
    signal: AbortSignal.timeout(10_000),
    headers: {
      Authorization: `Bearer ${service.token}`,
      'Content-Type': 'application/json',
      'Idempotency-Key': `key-${n}`,
      Connection: 'close',
    },
    body: JSON.stringify({ name: `Person ${n}`, references: [{ source: 'shop', externalId: `c${n}` }] }),
  });
}

async function pushUntilAccepted(n: number): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const answer = await push(n).catch(() => null);
    if (answer && answer.status < 500 && answer.status !== 409) return answer.status;
    await sleep(100);
  }
  return 0;
}

await service.start();

t.test('two processes take requests, and what one wrote the other reads', async (t) => {
  t.equal(processes().length, 2);
  const statuses = await Promise.all(Array.from({ length: 40 }, (_, n) => push(n).then(({ status }) => status)));
  t.strictSame([...new Set(statuses)], [201]);
  const again = await Promise.all(Array.from({ length: 40 }, (_, n) => push(n)));
  t.strictSame([...new Set(again.map(({ status }) => status))], [201], 'keys are known to both');
  t.ok(again.every(({ headers }) => headers.get('Idempotency-Replayed') === 'true'));
});

t.test('the metrics are those of both together, whichever of them is asked', async (t) => {
  const counted = async () => {
    const answer = await fetch(`${service.origin}/metrics`, {
      headers: { Authorization: `Bearer ${service.token}`, Connection: 'close' },
    });
    const text = await answer.text();
    const pushed = /^rapport_operations_total\{operation="createCustomer",door="rest",outcome="ok"\} (\d+)$/m.exec(
      text,
    );
    return [Number(/^rapport_processes (\d+)$/m.exec(text)?.[1]), Number(pushed?.[1])];
  };
  for (let n = 0; n < 6; n += 1) t.strictSame(await counted(), [2, 80]);
});

t.test('one that is killed is replaced, nothing acknowledged is lost, and nothing is doubled', async (t) => {
  const [first = 0] = processes();
  const pushes = Array.from({ length: 60 }, (_, n) => pushUntilAccepted(100 + n));
  process.kill(first, 'SIGKILL');
  t.strictSame([...new Set(await Promise.all(pushes))], [201]);
  t.ok(await until(() => processes().length === 2 && !processes().includes(first)));
  const list = await fetch(`${service.origin}/v1/customers?count=true&limit=1`, {
    headers: { Authorization: `Bearer ${service.token}` },
  });
  t.match(await list.json(), { page: { total: 100 } });
});

t.test('a stop ends all of them, and the database', async (t) => {
  const all = processes();
  t.equal(await service.stop(), 0);
  const isThere = (id: number) => {
    try {
      process.kill(id, 0);
      return true;
    } catch {
      return false;
    }
  };
  t.strictSame(all.filter(isThere), []);
  await t.rejects(service.databaseId());
});
