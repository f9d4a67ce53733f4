import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import type { FastifyBaseLogger } from 'fastify';
import type pg from 'pg';

/** One of the processes cannot start; it has said why. */
export class ProcessError extends Error {
  override name = 'ProcessError';
}

/** Milliseconds before a process that died is started again, so that one that cannot live does not use up the machine. */
const pauseAfterDeath = 1_000;

/**
 * `RAPPORT_PROCESSES=n`: this process holds the database and starts n others like it, which share the port and are to each
 * other what replicas are. One that dies is replaced.
 *
 * @throws ProcessError when one of them ends before it listens
 */
export async function startProcesses(
  count: number,
  connection: pg.ClientConfig,
  log: FastifyBaseLogger,
): Promise<{ origin: string; stop(): Promise<void> }> {
  let stopping = false;
  const alive = () => Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);

  /** Started and listening. @returns where */
  async function add(): Promise<string> {
    const worker = cluster.fork();
    // It asks for the database when it can hear the answer, and says where it listens.
    worker.once('message', () => worker.send(connection));
    const origin = await listening(worker);
    worker.once('exit', (code, signal) => {
      if (!stopping && code !== 0) log.error({ code, signal }, 'a process died; another one takes its place');
      replace();
    });
    return origin;
  }

  function replace(): void {
    setTimeout(() => {
      if (stopping) return;
      add().catch((error: unknown) => {
        log.error({ err: error }, 'a process cannot be started');
        replace();
      });
    }, pauseAfterDeath);
  }

  async function stop(): Promise<void> {
    stopping = true;
    await Promise.all(
      alive().map(async (worker) => {
        const gone = once(worker, 'exit');
        worker.process.kill('SIGTERM');
        await gone;
      }),
    );
  }

  try {
    const [origin = ''] = await Promise.all(Array.from({ length: count }, add));
    return { origin, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** @returns what the process says when it listens */
function listening(worker: Worker): Promise<string> {
  return new Promise((resolve, reject) => {
    worker.on('message', (message: unknown) => {
      if (typeof message === 'string') resolve(message);
    });
    worker.once('exit', () => reject(new ProcessError('One of the processes could not start.')));
  });
}

/** In one of several processes: where the first one has opened the database. */
export function connectionOfFirst(): Promise<pg.ClientConfig> {
  return new Promise((resolve) => {
    process.once('message', (connection: pg.ClientConfig) => resolve(connection));
    process.send?.({});
  });
}

/** In one of several processes: tells the first one that this one takes requests. */
export function tellFirst(origin: string): void {
  process.send?.(origin);
}
