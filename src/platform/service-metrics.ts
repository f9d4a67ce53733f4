import { sql } from 'drizzle-orm';
import type pg from 'pg';
import {
  AggregatorRegistry,
  Counter,
  collectDefaultMetrics,
  Gauge,
  Histogram,
  type MetricObject,
  Registry,
} from 'prom-client';
import { type Db, poolDb, poolState, statement } from './db/client.ts';
import { lastVerification } from './verification.ts';
import { calls } from './watch.ts';

/** What the service tells Prometheus about itself. Labels are names of this program: never ids, never what a client sent. */
export interface ServiceMetrics {
  /** A request was answered; `route` is the pattern of its address. */
  answered(request: { method: string; route: string; status: number }): void;
  /** Of this process alone, to be added to those of its siblings. */
  ofProcess(): Promise<MetricObject[]>;
  /** @param processes what `ofProcess` said in each process of this service, this one included */
  text(processes: readonly MetricObject[][]): Promise<string>;
  close(): void;
}

export const metricsMediaType = Registry.PROMETHEUS_CONTENT_TYPE;

/** Seconds; the fastest answers take a millisecond, and statements are cancelled after half a minute. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

let ofNode: Registry | undefined;

/** Memory, processor time, event loop and garbage collection: of the process, however many services are in it. */
function nodeMetrics(): Registry {
  if (!ofNode) {
    ofNode = new Registry();
    collectDefaultMetrics({ register: ofNode });
  }
  return ofNode;
}

/**
 * @param pools by the name that they have in labels
 * @param watching a pool of its own for looks at the database, so that metrics come while the others are busy
 */
export function serviceMetrics(pools: Readonly<Record<string, pg.Pool>>, watching: pg.Pool): ServiceMetrics {
  const own = new Registry();
  const registers = [own];
  const duration = new Histogram({
    name: 'rapport_operation_duration_seconds',
    help: 'How long operations took, over REST (door="rest"), GraphQL and jobs.',
    labelNames: ['operation', 'door'],
    buckets,
    registers,
  });
  const outcomes = new Counter({
    name: 'rapport_operations_total',
    help: 'Operations by their outcome: ok, redirected, or the code of the problem.',
    labelNames: ['operation', 'door', 'outcome'],
    registers,
  });
  const requests = new Counter({
    name: 'rapport_http_requests_total',
    help: 'Answers by method, pattern of the address (none: there is nothing at it) and status.',
    labelNames: ['method', 'route', 'status'],
    registers,
  });
  new Gauge({
    name: 'rapport_pool_connections',
    help: 'Connections to the database: how many there may be (size), are (open), and are free (idle); requests that wait for one (waiting).',
    labelNames: ['pool', 'state'],
    registers,
    collect() {
      for (const [name, pool] of Object.entries(pools)) {
        const { size, open, idle, waiting } = poolState(pool);
        for (const [state, count] of Object.entries({ size, open, idle, waiting })) {
          this.set({ pool: name, state }, count);
        }
      }
    },
  });
  new Gauge({
    name: 'rapport_pool_longest_wait_seconds',
    help: 'How long the first of those that wait for a connection has waited.',
    labelNames: ['pool'],
    aggregator: 'max',
    registers,
    collect() {
      for (const [name, pool] of Object.entries(pools)) this.set({ pool: name }, poolState(pool).longestWait);
    },
  });
  new Counter({
    name: 'rapport_transaction_retries_total',
    help: 'Transactions that were run again, by the reason.',
    labelNames: ['pool', 'reason'],
    registers,
    collect() {
      this.reset();
      for (const [name, pool] of Object.entries(pools)) {
        for (const [reason, count] of poolState(pool).retries) this.inc({ pool: name, reason }, count);
      }
    },
  });
  new Gauge({
    name: 'rapport_processes',
    help: 'Processes of this service that answered, on this machine.',
    registers,
    collect() {
      this.set(1);
    },
  });
  const deaf = calls.hear(({ operation, door, outcome, seconds }) => {
    duration.observe({ operation, door }, seconds);
    outcomes.inc({ operation, door, outcome });
  });
  const db = poolDb(watching);

  return {
    answered({ method, route, status }) {
      requests.inc({ method, route, status });
    },
    ofProcess: () => Registry.merge([nodeMetrics(), own]).getMetricsAsJSON(),
    async text(processes) {
      const [sum, store] = await Promise.all([
        AggregatorRegistry.aggregate([...processes]).metrics(),
        storeMetrics(db).then((registry) => registry.metrics()),
      ]);
      return `${sum}\n${store}`;
    },
    close: deaf,
  };
}

interface StoreState {
  lockWaits: number;
  longestLockWait: number;
  oldestTransaction: number;
  oldestWrite: number;
  settled: number;
  unsettled: number;
}

const lookAtStore = statement<StoreState>(
  'watch_store',
  sql`select s.*, f.settled, p.last_value - f.settled as unsettled
    from (select count(*) filter (where wait_event_type = 'Lock') as "lockWaits",
        (select coalesce(max(extract(epoch from clock_timestamp() - l.waitstart)), 0)::float8 from pg_locks l
          join pg_stat_activity a using (pid) where not l.granted and a.datname = current_database()) as "longestLockWait",
        coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0)::float8 as "oldestTransaction",
        coalesce(max(extract(epoch from clock_timestamp() - xact_start)) filter (where backend_xid is not null), 0)::float8 as "oldestWrite"
      from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()) s, feed.settled() f, feed.positions p`,
);

interface JobState {
  job: string;
  state: string;
  jobs: number;
  age: number;
}

const lookAtJobs = statement<JobState>(
  'watch_jobs',
  sql`select task_identifier as job, state, count(*) as jobs, coalesce(max(extract(epoch from now() - run_at)), 0)::float8 as age
    from (select task_identifier, run_at, case when locked_at is not null then 'running' when attempts >= max_attempts then 'given_up'
      when run_at <= now() then 'due' else 'later' end as state from graphile_worker.jobs) j group by 1, 2`,
);

/** What all processes on one database share, as one of them sees it. */
async function storeMetrics(db: Db): Promise<Registry> {
  const registry = new Registry();
  const gauge = <Label extends string = never>(name: string, help: string, labelNames: Label[] = []) =>
    new Gauge({ name: `rapport_${name}`, help, labelNames, registers: [registry] });
  const up = gauge('database_up', '1: the database answered.');
  const found = await Promise.all([db.first(lookAtStore), db.all(lookAtJobs), lastVerification(db)]).catch(() => null);
  up.set(found ? 1 : 0);
  if (!found) return registry;
  const [state, jobs, verification] = found;
  if (state) {
    gauge('lock_waits', 'Sessions of the database that wait for a lock.').set(state.lockWaits);
    gauge('longest_lock_wait_seconds', 'How long the first of them has waited.').set(state.longestLockWait);
    gauge('oldest_transaction_seconds', 'Age of the oldest open transaction.').set(state.oldestTransaction);
    const write = 'Age of the oldest open transaction that has written: the feed of changes ends before it.';
    gauge('feed_oldest_open_write_seconds', write).set(state.oldestWrite);
    gauge('feed_position', 'Position up to which the feed of changes is complete.').set(state.settled);
    gauge('feed_unsettled_positions', 'Positions that were given out and are not readable yet.').set(state.unsettled);
  }
  const counts = gauge('jobs', 'Background jobs: due, running, for later, and given_up.', ['job', 'state']);
  const ages = gauge('oldest_due_job_seconds', 'How long the first due job has been due.', ['job']);
  for (const { job, state: is, jobs: count, age } of jobs) {
    counts.set({ job, state: is }, count);
    if (is === 'due') ages.set({ job }, age);
  }
  if (verification) {
    const when = 'When verify-rollups last compared derived state with the facts, as a Unix time.';
    gauge('verification_timestamp_seconds', when).set(Date.parse(verification.at) / 1000);
    const differing = gauge('verification_differences', 'What it found, at most its --limit for each.', ['state']);
    for (const [what, count] of Object.entries(verification.differences)) differing.set({ state: what }, count);
  }
  return registry;
}
