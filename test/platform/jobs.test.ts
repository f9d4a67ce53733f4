import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { jobs as jobsOfTheService } from '../../src/app.ts';
import { packageRoot } from '../../src/config.ts';
import { tablePolicies } from '../../src/features.ts';
import { noAudit } from '../../src/platform/audit.ts';
import { fixedDirectory } from '../../src/platform/auth/directory.ts';
import { storedSecrets } from '../../src/platform/auth/stored-secrets.ts';
import { cursorCodec } from '../../src/platform/cursor.ts';
import { openPool, poolDb, serviceRole, transaction } from '../../src/platform/db/client.ts';
import { startEmbedded } from '../../src/platform/db/embedded.ts';
import { jobTablesPending, jobTablesRevision } from '../../src/platform/db/job-tables.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { openFeed } from '../../src/platform/feed.ts';
import { type JobSetting, runDueJobs, startJobWorker } from '../../src/platform/job-worker.ts';
import { type AnyJob, enqueue, enqueueAll, type JobHelpers, job, type Log } from '../../src/platform/jobs.ts';
import { keyedHash } from '../../src/platform/keyed-hash.ts';
import { linkTokens } from '../../src/platform/link-token.ts';
import { openOutgoing } from '../../src/platform/outgoing.ts';
import { runJobs, testApp } from '../support/app.ts';
import { bundleTests } from '../support/bundle.ts';
import { emptyDatabase, testDatabase } from '../support/database.ts';
import { migrationsFolder } from '../support/server.ts';

interface Line {
  level: string;
  about: Record<string, unknown>;
  text: string;
}

interface Bench {
  pool: pg.Pool;
  connection: pg.ClientConfig;
  setting(jobs: readonly AnyJob[]): JobSetting;
  lines: Line[];
  /** Jobs that are still there. */
  left(): Promise<{ job: string; attempts: number; error: string | null; locked: boolean; worker: string | null }[]>;
  /** Makes everything due that waits for its next attempt. */
  makeDue(): Promise<void>;
}

async function bench(t: Test, connection?: pg.ClientConfig): Promise<Bench> {
  const database = connection ?? (await testDatabase(t)).connection;
  const pool = openPool(database, { size: 5, statementTimeout: 30_000 });
  t.teardown(() => pool.end());
  const lines: Line[] = [];
  const note = (level: string) => (about: unknown, text?: unknown) =>
    void lines.push({ level, about: about as Record<string, unknown>, text: String(text) });
  const log = {
    trace: note('trace'),
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
  };
  const services: JobSetting['services'] = {
    db: poolDb(pool),
    pool,
    baseCurrency: 'EUR',
    reportingTimeZone: 'UTC',
    cursors: cursorCodec(Buffer.from('a secret of thirty-two characters')),
    links: linkTokens(Buffer.alloc(32)),
    tombstones: keyedHash(Buffer.alloc(32)),
    directory: fixedDirectory(),
    issuer: null,
    audit: noAudit,
    feed: openFeed(poolDb(pool), 90),
    secrets: storedSecrets(Buffer.alloc(32)),
    outgoing: openOutgoing({ allow: [], production: false }),
    redirects: async () => new Map(),
    clock: () => '2026-03-01T10:00:00.000Z',
  };
  return {
    pool,
    connection: database,
    lines,
    setting: (jobs) => ({ connection: database, jobs, services, log: log as Log }),
    async left() {
      const { rows } = await pool.query(
        `select task_identifier as job, attempts, last_error as error, locked_by is not null as locked, locked_by as worker
         from graphile_worker.jobs order by id`,
      );
      return rows;
    },
    async makeDue() {
      await pool.query('update graphile_worker._private_jobs set run_at = now()');
    },
  };
}

const payload = z.strictObject({ id: z.string() });

/** A job that notes its runs, and what may happen in one. */
function noting(name: string, during: (id: string, helpers: JobHelpers) => Promise<void> | void = () => {}) {
  const runs: { id: string; attempt: number; now: string }[] = [];
  const definition = job({
    name,
    payload,
    run: async (_services, { id }, helpers) => {
      runs.push({ id, attempt: helpers.attempt, now: helpers.now });
      await during(id, helpers);
    },
  });
  return { runs, ids: () => runs.map(({ id }) => id), job: definition };
}

async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; await sleep(20)) if (await holds()) return;
  throw new Error(`never: ${what}`);
}

t.test(
  'a job exists exactly when its cause was committed, and runs once, however many workers there are',
  async (t) => {
    const { pool, setting, left } = await bench(t);
    const noted = noting('note', () => sleep(1));
    const cause = (id: string) => transaction(pool, async (tx) => enqueue(tx, noted.job, { id }));
    await t.rejects(
      transaction(pool, async (tx) => {
        enqueue(tx, noted.job, { id: 'thrown' });
        throw new Error('no');
      }),
    );
    await transaction(pool, async (tx) => enqueue(tx, noted.job, { id: 'dry run' }), { rollback: true });
    t.same(await left(), []);

    await cause('once');
    t.same(await runDueJobs(setting([noted.job])), { done: 1, failed: [] });
    t.same(noted.runs, [{ id: 'once', attempt: 1, now: '2026-03-01T10:00:00.000Z' }]);
    t.same(await left(), []);
    t.same(await runDueJobs(setting([noted.job])), { done: 0, failed: [] });

    const many = Array.from({ length: 50 }, (_, n) => `job ${n}`);
    await transaction(pool, async (tx) =>
      enqueueAll(
        tx,
        noted.job,
        many.map((id) => ({ payload: { id } })),
      ),
    );
    const workers = [startJobWorker(setting([noted.job])), startJobWorker(setting([noted.job]))];
    await Promise.all([runDueJobs(setting([noted.job])), runDueJobs(setting([noted.job]))]);
    await eventually('all are done', async () => (await left()).length === 0);
    t.same(noted.ids().slice(1).sort(), many.sort());

    const before = Date.now();
    await cause('told');
    await eventually('the workers are told', () => noted.ids().includes('told'));
    t.comment(`a worker began ${Date.now() - before} ms after the cause`);
    await Promise.all(workers.map((worker) => worker.stop()));
    await cause('later');
    await sleep(200);
    t.notOk(noted.ids().includes('later'), 'a stopped worker takes nothing');
  },
);

t.test('a job that throws is run again, and its error quotes nothing', async (t) => {
  const { pool, setting, left, makeDue, lines } = await bench(t);
  const noted = noting('fail', (_id, { attempt }) => {
    if (attempt < 3) throw new TypeError('jo@example.org is not a function');
  });
  await transaction(pool, async (tx) => enqueue(tx, noted.job, { id: 'a' }));
  for (const attempts of [1, 2]) {
    const { done, failed } = await runDueJobs(setting([noted.job]));
    t.match({ done, failed }, { done: 0, failed: [{ job: 'fail', error: { message: /jo@example/ } }] });
    t.match(await left(), [{ job: 'fail', attempts, error: 'TypeError', locked: false }]);
    t.same(await runDueJobs(setting([noted.job])), { done: 0, failed: [] }, 'not at once');
    await makeDue();
  }
  t.match(await runDueJobs(setting([noted.job])), { done: 1 });
  t.same(
    noted.runs.map(({ attempt }) => attempt),
    [1, 2, 3],
  );
  t.same(await left(), []);
  const told = lines.filter(({ text }) => text === 'a job failed');
  t.equal(told.length, 2);
  t.match(told[0], { level: 'error', about: { job: 'fail', attempt: 1, err: TypeError } });
  t.notMatch(JSON.stringify(lines), /jo@example|"id":"a"/, 'payload and message are in no line of the log');
});

t.test('a job that never succeeds is given up and stays with its error', async (t) => {
  const { pool, setting, left, makeDue, lines } = await bench(t);
  const noted = noting('fail', () => {
    throw new Error('always');
  });
  await transaction(pool, async (tx) => enqueue(tx, noted.job, { id: 'a' }, { maxAttempts: 2 }));
  for (let round = 0; round < 3; round += 1) {
    await runDueJobs(setting([noted.job]));
    await makeDue();
  }
  t.equal(noted.runs.length, 2);
  t.match(await left(), [{ attempts: 2, error: 'Error' }]);
  t.ok(lines.some(({ text, level }) => text === 'a job failed for the last time' && level === 'error'));
});

t.test('a payload that is not the job’s cannot be added; one that is there is a failure that says where', async (t) => {
  const { pool, setting, left } = await bench(t);
  const noted = noting('strict');
  const wrong = transaction(pool, async (tx) => enqueue(tx, noted.job, { id: 1 } as never));
  await t.rejects(wrong, { name: 'ZodError' });
  t.same(await left(), []);
  await pool.query(`select graphile_worker.add_job('strict', '{"id": {"secret": "hunter2"}}')`);
  t.match(await runDueJobs(setting([noted.job])), { done: 0, failed: [{ error: { name: 'InvalidPayloadError' } }] });
  t.same(noted.runs, []);
  t.match(await left(), [{ attempts: 1, error: 'The payload is invalid: invalid_type at /id' }]);
});

t.test('a key replaces what has not begun, of the same job; a time is waited for', async (t) => {
  const { pool, setting, left, makeDue } = await bench(t);
  const one = noting('one');
  const two = noting('two');
  await transaction(pool, async (tx) => {
    enqueue(tx, one.job, { id: 'first' }, { key: 'k', runAt: '2999-01-01T00:00:00Z' });
    enqueue(tx, two.job, { id: 'of another job' }, { key: 'k' });
  });
  await transaction(pool, async (tx) =>
    enqueueAll(tx, one.job, [
      { payload: { id: 'second' }, key: 'k' },
      { payload: { id: 'third' }, key: 'k' },
      { payload: { id: 'other' }, key: 'l' },
      { payload: { id: 'next year' }, key: 'm', runAt: '2999-01-01T00:00:00Z' },
    ]),
  );
  t.match(await runDueJobs(setting([one.job, two.job])), { done: 3, failed: [] });
  t.same(one.ids().sort(), ['other', 'third']);
  t.same(two.ids(), ['of another job']);
  t.equal((await left()).length, 1, 'the later one waits');
  await makeDue();
  await runDueJobs(setting([two.job]));
  t.equal((await left()).length, 1, 'a version that does not know a job leaves it');
  await runDueJobs(setting([one.job]));
  t.same(await left(), []);
});

t.test('what a job adds is run too, and a key that is taken by a run that has begun makes a second one', async (t) => {
  const { pool, setting } = await bench(t);
  const chain = noting('chain', async (id) => {
    if (id !== 'aaa') await transaction(pool, async (tx) => enqueue(tx, chain.job, { id: `${id}a` }, { key: 'k' }));
  });
  await transaction(pool, async (tx) => enqueue(tx, chain.job, { id: 'a' }, { key: 'k' }));
  await runDueJobs(setting([chain.job]));
  t.same(chain.ids(), ['a', 'aa', 'aaa']);
});

t.test('a worker that stops waits for its job, then tells it, then leaves it to others', async (t) => {
  const { pool, setting, left, makeDue, lines } = await bench(t);
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const slow = noting('slow', (id, { signal, attempt }) => {
    if (id === 'waits') return sleep(300);
    if (attempt > 1) return;
    if (id === 'listens') return sleep(60_000, undefined, { signal }).then(() => undefined);
    return finished;
  });
  const limits = { abortAfter: 600, giveUpAfter: 1_200 };
  const begin = async (id: string) => {
    await transaction(pool, async (tx) => enqueue(tx, slow.job, { id }));
    const worker = startJobWorker(setting([slow.job]), limits);
    await eventually(`${id} has begun`, () => slow.ids().includes(id));
    return worker;
  };

  await (await begin('waits')).stop();
  t.same(await left(), [], 'it was done');

  await (await begin('listens')).stop();
  t.match(await left(), [{ attempts: 1, error: 'AbortError ABORT_ERR', locked: false }]);
  await makeDue();
  t.match(await runDueJobs(setting([slow.job])), { done: 1 });

  const deaf = await begin('does not listen');
  const before = Date.now();
  await deaf.stop();
  t.ok(Date.now() - before < 10_000);
  t.match(await left(), [{ attempts: 1, error: null, locked: false }], 'free for others');
  t.ok(lines.some(({ text }) => text.startsWith('jobs were left unfinished')));
  t.match(await runDueJobs(setting([slow.job])), { done: 1 });
  finish();
  await sleep(50);
});

t.test('jobs of a worker that died are freed, those of one that lives are not', async (t) => {
  const { pool, connection, setting, left } = await bench(t);
  const noted = noting('note');
  await transaction(pool, async (tx) =>
    enqueueAll(
      tx,
      noted.job,
      ['dead', 'alive', 'young'].map((id) => ({ payload: { id } })),
    ),
  );
  await pool.query(`update graphile_worker._private_jobs set attempts = 1, locked_by = 'pool-' || (payload->>'id'),
    locked_at = now() - case payload->>'id' when 'young' then interval '5 s' else interval '2 min' end`);
  const living = new pg.Client(connection);
  await living.connect();
  t.teardown(() => living.end());
  await living.query("select pg_advisory_lock_shared(hashtextextended('pool-alive', 8))");
  const worker = startJobWorker(setting([noted.job]));
  await eventually('the dead one’s job is run', () => noted.runs.length > 0);
  await worker.stop();
  t.match(noted.runs, [{ id: 'dead', attempt: 2 }]);
  t.same(
    (await left()).map((row) => row.worker),
    ['pool-alive', 'pool-young'],
  );

  const held = noting('held', async () => {
    const { rows } = await pool.query(`select count(*)::int as mine from graphile_worker.jobs
      where task_identifier = 'held' and not pg_try_advisory_xact_lock(hashtextextended(locked_by, 8))`);
    t.equal(rows[0].mine, 1, 'a worker’s own lock is what says that it lives');
  });
  await transaction(pool, async (tx) => enqueue(tx, held.job, { id: 'a' }));
  await runDueJobs(setting([held.job]));
  await transaction(pool, async (tx) =>
    enqueue(tx, held.job, { id: 'b' }, { runAt: new Date(Date.now() + 500).toISOString() }),
  );
  const second = startJobWorker(setting([held.job]));
  await eventually('a worker runs it, too', () => held.runs.length === 2);
  await second.stop();
});

t.test('recurring jobs: times missed are caught up for, by one of the workers', async (t) => {
  const { pool, setting, left } = await bench(t);
  let runs = 0;
  const hourly = job({
    name: 'hourly',
    payload: z.strictObject({}),
    recurring: '0 * * * *',
    run: async () => {
      runs += 1;
    },
  });
  await pool.query(
    "insert into graphile_worker._private_known_crontabs values ('hourly', now() - interval '9 h', now() - interval '5 h')",
  );
  const workers = Array.from({ length: 2 }, () => startJobWorker(setting([hourly])));
  await eventually('it has run', async () => runs > 0 && (await left()).length === 0);
  await Promise.all(workers.map((worker) => worker.stop()));
  t.ok(runs <= 5, `${runs} runs for five missed hours`);
  const known = await pool.query(
    "select last_execution > now() - interval '1 h' as recent from graphile_worker._private_known_crontabs",
  );
  t.same(known.rows, [{ recent: true }]);
});

t.test('answers under idempotency keys are forgotten after 48 hours', async (t) => {
  const api = await testApp(t, { clock: () => '2026-03-10T12:00:00.000Z' });
  const client = new pg.Client(api.connection);
  await client.connect();
  t.teardown(() => client.end());
  await client.query(`insert into idempotency_keys (client, operation, personal, key, fingerprint, status, body, created_at)
    select 'c', 'o', true, k, '', 201, '', at::timestamptz from (values
      ('old', '2026-03-08T11:59:59Z'), ('kept', '2026-03-08T12:00:01Z')) as v (k, at)`);
  t.equal(await runJobs(api), 0, 'nothing is due by itself');
  await client.query("select graphile_worker.add_job('forgetOldAnswers')");
  t.equal(await runJobs(api), 1);
  t.same((await client.query('select key from idempotency_keys')).rows, [{ key: 'kept' }]);
  await client.query(`select graphile_worker.add_job('forgetOldAnswers', '{"since": 1}')`);
  await t.rejects(runJobs(api), { message: 'The job forgetOldAnswers failed' });
});

t.test('every recurring job of the service has a cron line and a payload that may be empty', async (t) => {
  const { parseCronItems } = await import('graphile-worker');
  for (const { name, recurring, payload } of jobsOfTheService) {
    if (recurring === undefined) continue;
    t.doesNotThrow(() => parseCronItems([{ task: name, match: recurring }]), name);
    t.ok(payload.safeParse({}).success, name);
  }
  const names = jobsOfTheService.map(({ name }) => name);
  t.equal(new Set(names).size, names.length);
});

t.test('the tables come with the migrations, and a role that may create nothing can use them', async (t) => {
  const { connection } = await emptyDatabase(t);
  const options = { folder: migrationsFolder, access: tablePolicies() };
  await Promise.all([1, 2, 3].map(() => migrate(connection, options)));
  const owner = new pg.Client(connection);
  await owner.connect();
  t.teardown(() => owner.end());
  const { rows } = await owner.query('select max(id) as revision from graphile_worker.migrations');
  t.same(rows, [{ revision: jobTablesRevision }], 'jobTablesRevision is what the package installs');
  t.notOk(await jobTablesPending(owner));

  // New sessions on this database become the role of the service, as if the account had no other rights.
  await owner.query(`alter role current_user in database ${connection.database} set role = ${serviceRole}`);
  await t.resolves(migrate(connection, options), 'nothing is pending');
  const { pool, setting, left } = await bench(t, connection);
  t.match((await pool.query('select current_user as name')).rows, [{ name: serviceRole }]);
  await t.rejects(pool.query('create table of_its_own ()'), { code: '42501' });
  const noted = noting('note');
  await transaction(pool, async (tx) => enqueue(tx, noted.job, { id: 'a' }));
  const worker = startJobWorker(setting([noted.job]));
  await eventually('it runs', () => noted.runs.length === 1);
  await worker.stop();
  t.same(await left(), []);

  await owner.query(`delete from graphile_worker.migrations where id = ${jobTablesRevision}`);
  t.ok(await jobTablesPending(owner));
  await t.rejects(migrate(connection, options), {
    name: 'MigrationError',
    message: /must be owner/,
  });
  await owner.query(`alter role current_user in database ${connection.database} reset role`);
  await owner.query(`delete from graphile_worker.migrations where id = ${jobTablesRevision}`);
  const notes: string[] = [];
  await migrate(connection, { ...options, note: (message) => notes.push(message) });
  t.match(notes, [/^applying 1 migration\(s\): graphile-worker \d+$/]);
  t.notOk(await jobTablesPending(owner));
});

t.test('a service whose database goes away amid a job lives on, and runs the job when it is back', async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'rapport-jobs-'));
  await chmod(dataDir, 0o711);
  t.teardown(() => rm(dataDir, { recursive: true, force: true }));
  const bundles = join(packageRoot, '.tap', `jobs-${process.pid}`);
  const [server = ''] = await bundleTests([join(packageRoot, 'src/server.ts')], bundles);
  t.teardown(() => rm(bundles, { recursive: true, force: true }));
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo; // listening on TCP
  probe.close();
  const { RAPPORT_ALLOW_UNSAFE_DATABASE: _, NODE_OPTIONS: __, ...inherited } = process.env;
  const service: ChildProcess = spawn(process.execPath, ['--enable-source-maps', server], {
    cwd: packageRoot,
    env: { ...inherited, RAPPORT_DATA_DIR: dataDir, PORT: String(port), LOG_LEVEL: 'warn' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => service.kill('SIGKILL'));
  let output = '';
  service.stdout?.on('data', (chunk) => {
    output += chunk;
  });
  const ready = async () => (await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null))?.status === 200;
  await eventually('it is ready', ready);

  const connected = async () => {
    const { connection, stop } = await startEmbedded({ dataDir });
    const client = new pg.Client(connection);
    client.on('error', () => undefined);
    await client.connect();
    return { client, stop };
  };
  const first = await connected();
  const workers = `select count(*)::int as n from pg_stat_activity where application_name = 'rapport jobs'`;
  await eventually('its worker is there', async () => (await first.client.query(workers)).rows[0].n > 0);
  t.ok((await first.client.query(workers)).rows[0].n <= 3, 'with few connections');
  const observer = await connected();
  // The job is held up by a lock on what it wants to delete.
  await first.client.query("insert into idempotency_keys values ('c', 'o', true, 'k', '', 200, '', '2020-01-01')");
  await first.client.query('begin; select from idempotency_keys for update');
  await observer.client.query("select graphile_worker.add_job('forgetOldAnswers')");
  const begun = `select from pg_stat_activity where wait_event_type = 'Lock' and query like 'with gone%'`;
  await eventually('the job has begun', async () => (await observer.client.query(begun)).rowCount === 1);
  const pid = Number((await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0]);
  // Its connection first: were the lock's to end before it, the job would still be done.
  await observer.client.query(begun.replace('select', 'select pg_terminate_backend(pid)'));
  process.kill(pid, 'SIGINT');
  await eventually('it is not ready', async () => !(await ready()));
  await sleep(1_000);
  t.equal(service.exitCode, null, 'the process lives');

  const again = await connected();
  t.teardown(() => again.stop());
  t.teardown(() => again.client.end());
  await eventually('it is ready again', ready);
  // Its back-off would last seconds.
  await again.client.query('update graphile_worker._private_jobs set run_at = now() where locked_at is null');
  await eventually('the job is done', async () => {
    const { rows } = await again.client.query(`select (select count(*) from idempotency_keys)::int as keys,
      (select count(*) from graphile_worker.jobs)::int as jobs`);
    return rows[0].keys === 0 && rows[0].jobs === 0;
  });
  await again.client.query("insert into idempotency_keys values ('c', 'o', true, 'k', '', 200, '', '2020-01-01')");
  await again.client.query("select graphile_worker.add_job('forgetOldAnswers')");
  await eventually('and the next one, told by NOTIFY or found', async () => {
    const { rows } = await again.client.query('select count(*)::int as keys from idempotency_keys');
    return rows[0].keys === 0;
  });
  const ended = once(service, 'close');
  service.kill('SIGTERM');
  const [code] = await ended;
  t.equal(code, 0);
  t.notMatch(output, /"level":60/, 'nothing was uncaught');
  t.match(output, /"msg":"a job failed"/);
});
