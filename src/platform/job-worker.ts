import { EventEmitter, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CronItem, Logger, RunnerOptions, Task, WorkerEvents } from 'graphile-worker';
import pg from 'pg';
import { serviceRole } from './db/client.ts';
import type { AnyJob, Log } from './jobs.ts';
import { jobKey } from './jobs.ts';
import { beginWrite, endWrite } from './open-writes.ts';
import type { Services } from './operation.ts';

/**
 * The worker, which is graphile-worker (loaded when it is first needed) with three things around it that it leaves open:
 * it is started again when it gives up, jobs of a process that died are freed within minutes instead of hours, and
 * nothing of a payload or of an error's message reaches its log or its tables.
 */
export interface JobSetting {
  connection: pg.ClientConfig;
  jobs: readonly AnyJob[];
  services: Services;
  log: Log;
}

export interface JobWorker {
  /** Takes no more jobs, lets those that run finish, aborts them after a while, and at last leaves them to others. */
  stop(): Promise<void>;
}

/** Milliseconds after `stop()`; the process as a whole has thirty seconds (server.ts). */
export interface StopLimits {
  /** Jobs that still run are told by their signal. */
  abortAfter: number;
  /** Jobs that still run are left: they are run again by whoever takes them next. */
  giveUpAfter: number;
}

/** A payload that the job's schema refuses: the message names the places, not the values. */
export class InvalidPayloadError extends Error {
  override name = 'InvalidPayloadError';
}

/** Jobs at the same time in one process. */
const concurrency = 2;
/** New jobs are announced by NOTIFY; this is how late a retry or a `runAt` may be, milliseconds. */
const pollInterval = 5_000;
const day = 86_400_000;
/** How often jobs whose worker is gone are looked for, and how long they must have been running, milliseconds. */
const sweepEvery = 60_000;

/** Starts in the background and goes on until `stop()`, whatever becomes of the database in between. */
export function startJobWorker(
  setting: JobSetting,
  limits: StopLimits = { abortAfter: 10_000, giveUpAfter: 20_000 },
): JobWorker {
  const stopping = new AbortController();
  const ended = keepRunning(setting, limits, stopping.signal);
  return {
    stop() {
      stopping.abort();
      return ended;
    },
  };
}

async function keepRunning(setting: JobSetting, limits: StopLimits, stopping: AbortSignal): Promise<void> {
  // Ids under which this process locked jobs, until it is sure that none is locked any more.
  const former = new Set<string>();
  for (let failures = 0; !stopping.aborted; failures += 1) {
    const started = Date.now();
    try {
      await runUntilItEnds(setting, limits, stopping, former);
    } catch (error) {
      setting.log.warn({ err: error }, 'the job worker failed');
    }
    if (stopping.aborted) return;
    if (Date.now() - started > 60_000) failures = 0;
    const delay = Math.min(30_000, 500 * 2 ** failures);
    setting.log.warn({ milliseconds: delay }, 'the job worker will be started again');
    await sleep(delay, undefined, { signal: stopping }).catch(() => undefined);
  }
}

async function runUntilItEnds(
  setting: JobSetting,
  limits: StopLimits,
  stopping: AbortSignal,
  former: Set<string>,
): Promise<void> {
  const { Logger, parseCronItems, run } = await import('graphile-worker');
  // One connection listens; two serve the workers, who need them for a moment at a time.
  const pool = openJobPool(setting, 3);
  const running = new Set<symbol>();
  let sweeper: NodeJS.Timeout | undefined;
  try {
    await free(pool, former);
    const events = workerEvents();
    events.on('pool:create', ({ workerPool }) => former.add(workerPool.id));
    events.on('pool:listen:success', ({ workerPool, client }) => holdLiveness(client, workerPool.id));
    const runner = await run({
      ...sharedOptions(setting, new Logger(logFactory(setting.log)), events),
      pgPool: pool,
      taskList: taskList(setting, running),
      parsedCronItems: parseCronItems(cronItems(setting.jobs)),
      concurrency,
      pollInterval,
      gracefulShutdownAbortTimeout: limits.abortAfter,
    });
    const stop = () => {
      runner.stop().catch(() => undefined);
    };
    // It remembers a failure to learn the ids of its tasks for ever: if its first look fails, it has to start anew.
    let looked = false;
    for (const sign of ['worker:getJob:empty', 'job:start'] as const) {
      events.once(sign, () => {
        looked = true;
      });
    }
    events.on('worker:getJob:error', () => {
      if (!looked) stop();
    });
    if (stopping.aborted) stop();
    else stopping.addEventListener('abort', stop, { once: true });
    const sweep = () => {
      freeAbandoned(pool).catch((error: unknown) => setting.log.warn({ err: error }, 'abandoned jobs were not freed'));
    };
    sweeper = setInterval(sweep, sweepEvery).unref();
    sweep();
    await Promise.race([runner.promise, patienceEnds(stopping, limits, running)]);
    stopping.removeEventListener('abort', stop);
    if (running.size > 0) setting.log.warn({ jobs: running.size }, 'jobs were left unfinished and will be run again');
  } finally {
    clearInterval(sweeper);
    // Nothing is locked after an orderly end; otherwise whoever is next should not have to wait for the sweep.
    const closed = free(pool, former)
      .catch(() => undefined)
      .then(() => pool.end());
    await Promise.race([closed, sleep(2_000, undefined, { ref: false })]);
  }
}

/** Resolves some time after the signal: soon when no job runs (the database may be away), late when one does. */
async function patienceEnds(stopping: AbortSignal, limits: StopLimits, running: Set<symbol>): Promise<void> {
  if (!stopping.aborted) await once(stopping, 'abort');
  const since = Date.now();
  while (Date.now() - since < (running.size > 0 ? limits.giveUpAfter : Math.min(2_000, limits.giveUpAfter))) {
    await sleep(50, undefined, { ref: false });
  }
}

export interface DueJobs {
  /** Runs that succeeded. */
  done: number;
  /** Runs that failed; they are due again later. */
  failed: { job: string; error: unknown }[];
}

/**
 * Runs all jobs that are due, and those that they add, one after the other, and returns when there is none left: for
 * tests and for commands that load data. What is running elsewhere is not waited for. Due is by the database's clock.
 */
export async function runDueJobs(setting: JobSetting): Promise<DueJobs> {
  const { Logger, runTaskListOnce } = await import('graphile-worker');
  const pool = openJobPool(setting, 1);
  const result: DueJobs = { done: 0, failed: [] };
  try {
    const client = await pool.connect();
    try {
      let lost: unknown = null;
      const events = workerEvents();
      events.on('pool:create', ({ workerPool }) => holdLiveness(client, workerPool.id));
      for (const event of ['worker:getJob:error', 'pool:fatalError'] as const) {
        events.on(event, ({ error }: { error: unknown }) => {
          lost = error;
        });
      }
      const tasks = taskList(setting, new Set(), (name, error) => {
        if (error === undefined) result.done += 1;
        else result.failed.push({ job: name, error });
      });
      const options = sharedOptions(setting, new Logger(logFactory(setting.log)), events);
      // A queue is free again only when its job's completion was written: one more look finds who waited for that.
      for (let before = -1; before < result.done + result.failed.length; ) {
        before = result.done + result.failed.length;
        await runTaskListOnce(options, tasks, client);
        if (lost !== null) throw lost;
      }
    } finally {
      client.release();
    }
  } finally {
    await pool.end();
  }
  return result;
}

/** Its rows are read by graphile-worker, which expects the driver's own types. */
function openJobPool({ connection, log }: JobSetting, size: number): pg.Pool {
  const pool = new pg.Pool({
    ...connection,
    max: size,
    // The lock of `holdLiveness` is asked for while graphile-worker's LISTEN is under way.
    pipeline: true,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 60_000,
    statement_timeout: 30_000,
    query_timeout: 32_000,
    keepAlive: true,
    application_name: 'rapport jobs',
    options: `-c role=${serviceRole}`,
  } as pg.PoolConfig); // whose type does not know `pipeline` yet
  pool.on('error', (error) => log.warn({ err: error }, 'an idle connection of the job worker was lost'));
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

function workerEvents(): WorkerEvents {
  return new EventEmitter() as WorkerEvents; // an emitter whose names are typed
}

function sharedOptions(setting: JobSetting, logger: Logger, events: WorkerEvents) {
  if (new Set(setting.jobs.map(({ name }) => name)).size < setting.jobs.length) throw new Error('Two jobs of one name');
  return {
    schema: 'graphile_worker',
    logger,
    events,
    noHandleSignals: true,
    // Without a delay nobody waits for these statements, and their failure would end the process.
    preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
  } satisfies RunnerOptions;
}

function taskList(
  setting: JobSetting,
  running: Set<symbol>,
  ended: (name: string, error?: unknown) => void = () => undefined,
): Record<string, Task> {
  return Object.fromEntries(setting.jobs.map((job) => [job.name, taskOf(job)]));

  function taskOf(job: AnyJob): Task {
    return async (raw, { job: row, abortSignal }) => {
      const mark = Symbol(job.name);
      running.add(mark);
      const about = { job: job.name, jobId: row.id, attempt: row.attempts };
      const { clock } = setting.services;
      const write = beginWrite(clock);
      try {
        const { now } = write;
        const { log } = setting;
        const payload = parsePayload(job, raw);
        await job.run(setting.services, payload, { now, attempt: row.attempts, signal: abortSignal, log });
        log.debug(about, 'a job is done');
        ended(job.name);
      } catch (error) {
        const last = row.attempts >= row.max_attempts;
        setting.log.error({ ...about, err: error }, last ? 'a job failed for the last time' : 'a job failed');
        ended(job.name, error);
        throw new Error(summary(error));
      } finally {
        endWrite(clock, write);
        running.delete(mark);
      }
    };
  }
}

function parsePayload(job: AnyJob, raw: unknown): never {
  // What graphile-worker adds to the payload of a recurring job.
  const { _cron, ...own } = (raw ?? {}) as Record<string, unknown>; // payloads are objects; others fail the schema
  const parsed = job.payload.safeParse(job.recurring === undefined ? raw : own);
  if (parsed.success) return parsed.data as never; // checked by the schema; see AnyJob
  const faults = parsed.error.issues.map(({ code, path }) => `${code} at /${path.join('/')}`);
  throw new InvalidPayloadError(`The payload is invalid: ${faults.join(', ')}`);
}

/** What is kept with the job: messages of other errors may quote data. The log has the stack. */
function summary(error: unknown): string {
  if (error instanceof InvalidPayloadError) return error.message;
  if (!(error instanceof Error)) return typeof error;
  const kind = error.name === 'Error' ? error.constructor.name : error.name;
  return 'code' in error && typeof error.code === 'string' ? `${kind} ${error.code}` : kind;
}

function cronItems(jobs: readonly AnyJob[]): CronItem[] {
  return jobs.flatMap((job) =>
    job.recurring === undefined
      ? []
      : [
          {
            task: job.name,
            match: job.recurring,
            identifier: job.name,
            options: {
              // The queue keeps two runs apart, the key makes one of all that were missed.
              queueName: job.name,
              jobKey: jobKey(job, 'recurring'),
              backfillPeriod: day,
              ...(job.maxAttempts !== undefined && { maxAttempts: job.maxAttempts }),
            },
          },
        ],
  );
}

const levels = { error: 'error', warning: 'warn', info: 'debug', debug: 'trace' } as const;

/**
 * graphile-worker's log in ours. It tells of runs with payload and message (left out: `taskOf` does it without), and puts
 * messages of errors after a colon.
 */
function logFactory(log: Log) {
  return () => (level: `${keyof typeof levels}`, message: string, meta?: Record<string, unknown>) => {
    if (meta?.['failure'] || meta?.['success']) return;
    const error = meta?.['error'] ?? meta?.['fatalError'];
    const text = error === undefined ? message : message.split(':')[0];
    log[levels[level]]({ ...(error !== undefined && { err: error }) }, `job worker: ${text}`);
  };
}

/** A worker is alive as long as the session it holds this lock in: by its id, under which jobs are locked. */
function holdLiveness(client: Pick<pg.ClientBase, 'query'>, workerId: string): void {
  // If the session is lost, so is the lock, and the next session takes it.
  client.query('select pg_advisory_lock_shared(hashtextextended($1, 8))', [workerId]).catch(() => undefined);
}

async function free(pool: pg.Pool, workers: Set<string>): Promise<void> {
  if (workers.size === 0) return;
  const ids = [...workers];
  await pool.query('select graphile_worker.force_unlock_workers($1::text[])', [ids]);
  for (const id of ids) workers.delete(id);
}

/** graphile-worker by itself would leave the jobs of a process that was killed locked for four hours. */
async function freeAbandoned(pool: pg.Pool): Promise<void> {
  await pool.query(
    `select graphile_worker.force_unlock_workers(array(
       select worker from (
         select distinct locked_by as worker from graphile_worker.jobs
         where locked_at < now() - $1 * interval '1 millisecond'
       ) as locked
       where pg_try_advisory_xact_lock(hashtextextended(worker, 8))))`,
    [sweepEvery],
  );
}
