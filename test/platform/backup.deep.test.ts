import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chmod, chown, mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import pg from 'pg';
import t, { type Test } from 'tap';
import { tablePolicies } from '../../src/features.ts';
import { startEmbedded } from '../../src/platform/db/embedded.ts';
import { findBinaries } from '../../src/platform/db/embedded-binaries.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { type TestApp, testApp } from '../support/app.ts';
import { migrationsFolder } from '../support/server.ts';
import { fresh, orderOf } from '../support/shop.ts';

/**
 * What src/docs/operating.md says of backups, recovery and standbys, with real servers. The embedded binaries are `postgres`, `initdb`
 * and `pg_ctl`: what pg_basebackup does is done by the SQL functions under it and `cp`.
 */
const run = promisify(execFile);
/** Directories that the account of the database server can reach. */
const base = await mkdtemp(join(tmpdir(), 'rapport-backup-'));
await chmod(base, 0o711);
t.teardown(() => rm(base, { recursive: true, force: true }));

const archive = join(base, 'archive');
const backup = join(base, 'backup');
await mkdir(join(base, 'primary'));

const primary = await startEmbedded({
  dataDir: join(base, 'primary'),
  settings: {
    wal_level: 'replica',
    archive_mode: 'on',
    archive_command: `test ! -f ${archive}/%f && cp %p ${archive}/%f`,
  },
});
t.teardown(() => primary.stop().catch(() => undefined));
const cluster = join(primary.directory, 'postgres');
const { uid, gid } = await stat(cluster);
const account = process.getuid?.() === 0 ? { uid, gid } : undefined;
await mkdir(archive);
await chown(archive, uid, gid);
await migrate(primary.connection, { folder: migrationsFolder, access: tablePolicies() });

/** A service on a server; all of them have one key. */
let keys: TestApp['config'] | undefined;
async function serviceOn(t: Test, connection: pg.ClientConfig): Promise<TestApp> {
  const dataDir = join(base, 'keys');
  await mkdir(dataDir, { recursive: true });
  const config = keys ?? ({ dataDir } as TestApp['config']); // all that it is asked for
  const app = await testApp(t, { beside: { connection, config } as TestApp });
  keys = app.config;
  return app;
}

async function sql<Row = Record<string, unknown>>(connection: pg.ClientConfig, text: string): Promise<Row[]> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1200; tries += 1) {
    if (await condition().catch(() => false)) return;
    await sleep(50);
  }
  throw new Error(`${what}: not within a minute`);
}

/** A server on a copy of the data; startEmbedded would wait for a standby to become more than that. */
async function startServer(
  t: Test,
  directory: string,
): Promise<{ connection: pg.ClientConfig; process: ChildProcess }> {
  const { bin } = await findBinaries(account, () => undefined);
  const log = await open(`${directory}.log`, 'w');
  t.teardown(() => log.close());
  const child = spawn(
    join(bin, 'postgres'),
    ['-D', directory, '-c', `unix_socket_directories=${directory}`, '-c', 'listen_addresses='],
    {
      ...account,
      cwd: '/',
      env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', log.fd, log.fd],
    },
  );
  t.teardown(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGINT');
    await ended;
  });
  const connection = { ...primary.connection, host: directory, port: 5432 };
  const isUp = async () => (await sql(connection, 'select 1')).length === 1;
  await until('a server', isUp).catch(async () => t.fail(await readFile(`${directory}.log`, 'utf8')));
  return { connection, process: child };
}

async function copyOf(name: string): Promise<string> {
  const directory = join(base, name);
  await run('cp', ['-a', backup, directory]);
  return directory;
}

const pushes = (app: TestApp, name: string) =>
  app.request('POST', '/v1/orders', {
    headers: { 'Idempotency-Key': name },
    body: orderOf({ externalId: name, customer: { externalId: `of-${name}` } }),
  });
const found = async (app: TestApp, name: string) =>
  (await app.request('GET', `/v1/orders/external/shop/${name}`)).status === 200;

const service = await serviceOn(t, primary.connection);
const before = fresh('before');
await pushes(service, before);

t.test('a base backup while the service writes', async (t) => {
  const meanwhile: string[] = [];
  let isDone = false;
  const writing = (async () => {
    while (!isDone) {
      const name = fresh('meanwhile');
      if ((await pushes(service, name)).status === 201) meanwhile.push(name);
    }
  })();
  // One session from start to stop, as pg_basebackup has.
  const session = new pg.Client(primary.connection);
  await session.connect();
  await session.query("select pg_backup_start('nightly', fast => true)");
  await run('cp', ['-a', cluster, backup]);
  const { rows } = await session.query('select labelfile, spcmapfile from pg_backup_stop(wait_for_archive => true)');
  await session.end();
  isDone = true;
  await writing;
  // The socket of the embedded server is in its data directory.
  for (const leftOut of ['postmaster.pid', 'postmaster.opts', '.s.PGSQL.5432', '.s.PGSQL.5432.lock', 'pg_wal']) {
    await rm(join(backup, leftOut), { recursive: true, force: true });
  }
  await mkdir(join(backup, 'pg_wal', 'archive_status'), { recursive: true, mode: 0o700 });
  await writeFile(join(backup, 'backup_label'), rows[0].labelfile);
  for (const made of ['pg_wal', 'pg_wal/archive_status', 'backup_label']) await chown(join(backup, made), uid, gid);
  t.ok(meanwhile.length > 0);
});

t.test('back to a moment: what was acknowledged before it is there, what came after it is not', async (t) => {
  const kept = Array.from({ length: 10 }, () => fresh('kept'));
  for (const name of kept) t.equal((await pushes(service, name)).status, 201);
  const position = Number((await sql(primary.connection, 'select last_value from feed.positions'))[0]?.['last_value']);
  await sleep(20);
  const [moment] = await sql<{ at: string }>(primary.connection, 'select clock_timestamp()::text as at');
  await sleep(20);
  const mistake = await service.request('GET', `/v1/orders/external/shop/${kept[0]}`);
  await service.request('DELETE', `/v1/orders/${mistake.body.id}`);
  const late = fresh('late');
  t.equal((await pushes(service, late)).status, 201);
  // A sequence comes back up to 32 further than it was.
  for (let n = 0; n < 40; n += 1) await pushes(service, fresh('late'));
  const reader = (await service.request('GET', '/v1/events/position')).body.position;
  const [{ file } = { file: '' }] = await sql<{ file: string }>(
    primary.connection,
    'select pg_walfile_name(pg_switch_wal()) as file',
  );
  await until('the archive', async () => (await stat(join(archive, file))).isFile());

  const directory = await copyOf('restored');
  await appendFile(
    join(directory, 'postgresql.auto.conf'),
    [
      `restore_command = 'cp ${archive}/%f %p'`,
      `recovery_target_time = '${moment?.at}'`,
      "recovery_target_action = 'promote'",
      "archive_mode = 'off'",
      '',
    ].join('\n'),
  );
  await writeFile(join(directory, 'recovery.signal'), '');
  await chown(join(directory, 'recovery.signal'), uid, gid);
  const { connection } = await startServer(t, directory);
  const isOver = async () => (await sql(connection, 'select pg_is_in_recovery() as is'))[0]?.['is'] === false;
  await until('recovery', isOver);
  // Positions that were given out after the moment are not given out again: readers who have them would miss what comes.
  await sql(connection, "select setval('feed.positions', (select last_value from feed.positions) + 1000000000)");
  const restored = await serviceOn(t, connection);
  for (const name of [before, ...kept]) t.ok(await found(restored, name), name);
  t.notOk(await found(restored, late), 'what came later is gone');
  t.ok(position > 0);

  const resent = await pushes(restored, late);
  t.equal(resent.status, 201, 'and can be sent again');
  t.equal(resent.headers.get('idempotency-replayed'), null);
  const replayed = await pushes(restored, kept[0] ?? '');
  t.match(
    [replayed.status, replayed.headers.get('idempotency-replayed')],
    [201, 'true'],
    'what is there is not doubled',
  );
  const { body: page } = await restored.request(
    'GET',
    `/v1/events?kind=order&after=${encodeURIComponent(reader)}&wait=10`,
  );
  t.match(page.data, [{ record: { id: resent.body.id } }], 'a reader of the feed that was further goes on');
});

t.test('a standby takes over: every write that was acknowledged is there', async (t) => {
  await appendFile(join(cluster, 'pg_hba.conf'), 'local replication rapport peer map=owner\n');
  await sql(primary.connection, 'select pg_reload_conf()');
  const directory = await copyOf('standby');
  const { host, port, user } = primary.connection;
  await appendFile(
    join(directory, 'postgresql.auto.conf'),
    [
      `primary_conninfo = 'host=${host} port=${port} user=${user} application_name=standby'`,
      `restore_command = 'cp ${archive}/%f %p'`,
      "archive_mode = 'off'",
      '',
    ].join('\n'),
  );
  await writeFile(join(directory, 'standby.signal'), '');
  await chown(join(directory, 'standby.signal'), uid, gid);
  const standby = await startServer(t, directory);
  const streaming = "select 1 from pg_stat_replication where application_name = 'standby' and state = 'streaming'";
  await until('replication', async () => (await sql(primary.connection, streaming)).length === 1);
  // Acknowledged only when the standby has it.
  await sql(primary.connection, "alter system set synchronous_standby_names = 'standby'");
  await sql(primary.connection, 'select pg_reload_conf()');
  const isSynchronous = "select 1 from pg_stat_replication where sync_state = 'sync'";
  await until('a synchronous standby', async () => (await sql(primary.connection, isSynchronous)).length === 1);

  const acknowledged: string[] = [];
  const refused: string[] = [];
  let isDown = false;
  const writers = Array.from({ length: 4 }, async () => {
    while (!isDown) {
      const name = fresh('order');
      const { status } = await pushes(service, name);
      (status === 201 ? acknowledged : refused).push(name);
    }
  });
  await until('some writes', async () => acknowledged.length >= 40);
  const [server] = (await run('head', ['-1', join(cluster, 'postmaster.pid')])).stdout.split('\n');
  // Immediate: no checkpoint, nothing is sent to the standby any more.
  process.kill(Number(server), 'SIGQUIT');
  await until('the end of the primary', async () => refused.length > 0);
  isDown = true;
  await Promise.all(writers);

  t.match(await sql(standby.connection, 'select pg_promote(true, 60) as is'), [{ is: true }]);
  const promoted = await serviceOn(t, standby.connection);
  const lost: string[] = [];
  for (const name of acknowledged) if (!(await found(promoted, name))) lost.push(name);
  t.strictSame(lost, [], `all ${acknowledged.length} that were acknowledged`);
  for (const name of refused.slice(0, 10))
    t.equal((await pushes(promoted, name)).status, 201, 'sent again with its key');
  const [first = ''] = acknowledged;
  t.equal((await pushes(promoted, first)).headers.get('idempotency-replayed'), 'true', 'nothing is doubled');
  t.equal((await promoted.request('GET', '/readyz', { scope: null })).status, 200);
});
