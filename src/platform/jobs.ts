import { sql } from 'drizzle-orm';
import type pino from 'pino';
import type { z } from 'zod';
import { param, statement, type Transaction } from './db/client.ts';
import type { Services } from './operation.ts';

export type Log = Pick<pino.BaseLogger, 'trace' | 'debug' | 'info' | 'warn' | 'error'>;

/** What a run is given besides its payload. */
export interface JobHelpers {
  /** The present when this run began, by the clock of the service. */
  now: string;
  /** 1 for the first run, 2 for the first retry. */
  attempt: number;
  /** Aborted when the service stops and the job has had its time: throw, and it is run again later. */
  signal: AbortSignal;
  log: Log;
}

/**
 * Work that is done after the write that caused it, by any process of the service. It runs **at least once**: a process
 * that dies has its jobs run again, so a run must bear repetition. A run that throws is repeated after e, e², e³ …
 * seconds (at most six hours), `maxAttempts` times.
 */
export interface Job<Payload extends z.ZodType = z.ZodType> {
  /** camelCase verb and noun. Jobs of a name that this version does not know wait for one that does. */
  name: string;
  /**
   * What the job is about: ids, never personal data, which would outlive the person's erasure. Jobs of older versions are
   * still there after an update: a new member has to be optional.
   */
  payload: Payload;
  /**
   * A cron line in UTC (`7 * * * *`), for jobs whose payload may be `{}`. However many processes there are, one of them
   * runs it, and never two at once. Times missed while no worker ran are caught up for within a day: those that are found
   * before the first of them has begun by one run.
   */
  recurring?: string;
  /** Jobs of one queue run one after the other, whatever process runs them. Default: side by side. */
  queue?: string;
  /** Runs until it is given up and stays behind with its error. Default: 25, which is four days. */
  maxAttempts?: number;
  /** Opens its own transactions: `transaction(services.pool, …)`. */
  run: (services: Services, payload: z.output<Payload>, helpers: JobHelpers) => Promise<void>;
}

/** Any job. `run` is contravariant in its payload, see `Operation`. */
export type AnyJob = Omit<Job, 'run'> & {
  run: (services: Services, payload: never, helpers: JobHelpers) => Promise<void>;
};

/** Ties the type of the payload to its schema. */
export function job<Payload extends z.ZodType>(definition: Job<Payload>): Job<Payload> {
  return definition;
}

export interface EnqueueOptions {
  /**
   * A job with the same key that has not begun is replaced: payload, time and attempts. One that has begun is not run
   * again should it fail; the new one runs after it or beside it. At most 400 characters, and only for this job's name.
   */
  key?: string;
  /** Not before this instant, of the database's clock (not that of `Services.clock`). Default: at once. */
  runAt?: string;
  maxAttempts?: number;
}

// graphile-worker's own function, as its addJobs calls it.
const addJobs = statement<Record<never, never>>(
  'add_jobs',
  sql`select from graphile_worker.add_jobs(array(
    select json_populate_recordset(null::graphile_worker.job_spec, ${param('specs')}::json)))`,
);

/**
 * Adds a job in the transaction of the write that causes it: it exists when that is committed, and not otherwise. The
 * statement travels with COMMIT.
 *
 * @throws ZodError when the payload is not the job's: a fault of the caller
 */
export function enqueue<Payload extends z.ZodType>(
  tx: Transaction,
  job: Job<Payload>,
  payload: z.input<Payload>,
  options: EnqueueOptions = {},
): void {
  enqueueAll(tx, job, [{ payload, ...options }]);
}

/**
 * Adds recurring jobs at once, as if their time had come: for a clock that jumps.
 *
 * @throws RangeError for a name that is no recurring job's
 */
export function enqueueRecurring(tx: Transaction, jobs: readonly AnyJob[], names: readonly string[]): void {
  for (const name of names) {
    const found = jobs.find((job) => job.name === name && job.recurring !== undefined);
    if (!found) throw new RangeError(`${name} is no recurring job`);
    enqueueAll(tx, { ...found, queue: found.name }, [{ payload: {}, key: 'recurring' }]);
  }
}

/** As `enqueue`, in one statement however many; of several with one key the last one counts. */
export function enqueueAll<Payload extends z.ZodType>(
  tx: Transaction,
  job: Omit<Job<Payload>, 'run'>,
  entries: readonly ({ payload: z.input<Payload> } & EnqueueOptions)[],
): void {
  const specs = new Map<string | symbol, object>();
  for (const { payload, key, runAt, maxAttempts = job.maxAttempts } of entries) {
    job.payload.parse(payload);
    specs.set(key ?? Symbol('without a key'), {
      identifier: job.name,
      payload,
      run_at: runAt,
      queue_name: job.queue,
      max_attempts: maxAttempts,
      job_key: key === undefined ? undefined : jobKey(job, key),
    });
  }
  if (specs.size === 0) return;
  // In one order, so that two transactions do not wait for each other's keys.
  const ordered = [...specs].sort(([a], [b]) => (String(a) < String(b) ? -1 : 1)).map(([, spec]) => spec);
  tx.asService((service) => service.pipeline(addJobs, { specs: JSON.stringify(ordered) }));
}

/** Keys are one space for all jobs there. */
export function jobKey(job: Pick<Job, 'name'>, key: string): string {
  return `${job.name}:${key}`;
}
