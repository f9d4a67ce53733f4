import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import type { FastifyBaseLogger } from 'fastify';
import type pg from 'pg';
import type { MetricObject } from 'prom-client';
import type { AskProcesses } from './platform/http/metrics.ts';

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
  const metrics = metricsOfAll();
  const alive = () => Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);

  /** Started and listening. @returns where */
  async function add(): Promise<string> {
    const worker = cluster.fork();
    // It asks for the database when it can hear the answer, and says where it listens.
    worker.once('message', () => worker.send(connection));
    const origin = await listening(worker);
    metrics.add(worker);
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

/** Milliseconds that a process has to tell its metrics; what does not answer in time is left out. */
const metricsPatience = 1_000;

interface Question {
  question: number;
}
interface Told extends Question {
  metrics: MetricObject[];
}
interface ToldByAll extends Question {
  processes: MetricObject[][];
}

const isMessage = <Message extends object>(message: unknown, member: keyof Message): message is Message =>
  typeof message === 'object' && message !== null && member in message;

/** In the first process: a process that asks what all of them tell is answered when all have told it. */
function metricsOfAll(): { add(worker: Worker): void } {
  const workers = new Set<Worker>();
  let questions = 0;

  async function tellAll(asking: Worker, { question }: Question): Promise<void> {
    const processes = await Promise.all([...workers].map(ask));
    const answer: ToldByAll = { question, processes: processes.flatMap((metrics) => (metrics ? [metrics] : [])) };
    if (asking.isConnected()) asking.send(answer);
  }

  function ask(worker: Worker): Promise<MetricObject[] | null> {
    questions += 1;
    const asked: Question = { question: questions };
    return new Promise((resolve) => {
      const hear = (message: unknown) => {
        if (isMessage<Told>(message, 'metrics') && message.question === asked.question) done(message.metrics);
      };
      const done = (metrics: MetricObject[] | null) => {
        clearTimeout(limit);
        worker.off('message', hear);
        resolve(metrics);
      };
      const limit = setTimeout(done, metricsPatience, null);
      worker.on('message', hear);
      if (worker.isConnected()) worker.send(asked);
      else done(null);
    });
  }

  return {
    add(worker) {
      workers.add(worker);
      worker.once('exit', () => workers.delete(worker));
      worker.on('message', (message: unknown) => {
        if (isMessage<{ asks: number }>(message, 'asks')) void tellAll(worker, { question: message.asks });
      });
    },
  };
}

/** In one of several processes: tells the first one what it is asked, and asks it what all of them tell. */
export function askFirst(ofThis: () => Promise<MetricObject[]>): AskProcesses {
  const waiting = new Map<number, (processes: MetricObject[][]) => void>();
  let asked = 0;
  process.on('message', async (message: unknown) => {
    if (isMessage<ToldByAll>(message, 'processes')) waiting.get(message.question)?.(message.processes);
    else if (isMessage<Question>(message, 'question')) {
      const told: Told = { question: message.question, metrics: await ofThis() };
      process.send?.(told);
    }
  });
  return async () => {
    asked += 1;
    const question = asked;
    const answer = new Promise<MetricObject[][]>((resolve) => {
      waiting.set(question, resolve);
      setTimeout(async () => resolve([await ofThis()]), 2 * metricsPatience).unref();
      process.send?.({ asks: question });
    });
    return answer.finally(() => waiting.delete(question));
  };
}
