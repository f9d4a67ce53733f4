import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdtemp, rm } from 'node:fs/promises';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { packageRoot, readConfig } from '../../src/config.ts';
import { issueToken } from '../../src/platform/auth/issue-token.ts';
import { openKeys } from '../../src/platform/auth/keys.ts';
import { startEmbedded } from '../../src/platform/db/embedded.ts';
import { bundleTests } from '../support/bundle.ts';

const bundles = join(packageRoot, '.tap', `server-${process.pid}`);
t.teardown(() => rm(bundles, { recursive: true, force: true }));
const [server = ''] = await bundleTests([join(packageRoot, 'src/server.ts')], bundles);

/** A directory that the account of the database server can reach. */
async function dataDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'rapport-server-'));
  await chmod(directory, 0o711);
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo; // listening on TCP
  probe.close();
  return port;
}

interface Service {
  process: ChildProcess;
  port: number;
  /** Exit code, and what it wrote to the error stream. */
  ended: Promise<{ code: number | null; errors: string }>;
}

async function start(t: Test, dataDir: string, env: NodeJS.ProcessEnv = {}): Promise<Service> {
  const port = await freePort();
  const { RAPPORT_ALLOW_UNSAFE_DATABASE: _, NODE_OPTIONS: __, ...inherited } = process.env;
  const child = spawn(process.execPath, ['--enable-source-maps', server], {
    cwd: packageRoot,
    env: { ...inherited, RAPPORT_DATA_DIR: dataDir, PORT: String(port), LOG_LEVEL: 'info', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let errors = '';
  child.stdout.resume();
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  const ended = once(child, 'close').then(([code]) => ({ code, errors }));
  return { process: child, port, ended };
}

const keepAlive = new Agent({ keepAlive: true });

function ask(service: Service, path: string): Promise<{ status: number; cache: string | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    request({ port: service.port, host: '127.0.0.1', path, agent: keepAlive }, async (response) => {
      resolve({
        status: response.statusCode ?? 0,
        cache: response.headers['cache-control'],
        body: await textOf(response),
      });
    })
      .on('error', reject)
      .end();
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

/** Waits until `/readyz` answers `status`; fails with the process, or after a minute. */
async function ready(service: Service, status = 200): Promise<void> {
  const deadline = Date.now() + 60_000;
  let ended: string | undefined;
  service.ended.then(({ code, errors }) => {
    ended = `the service ended with ${code}: ${errors}`;
  });
  while (Date.now() < deadline && ended === undefined) {
    const answer = await ask(service, '/readyz').catch(() => null);
    if (answer?.status === status) return;
    await sleep(50);
  }
  throw new Error(ended ?? `/readyz did not become ${status}`);
}

const postmaster = (dataDir: string) => join(dataDir, 'postgres', 'postmaster.pid');
const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

t.test('the process starts on an empty directory, finishes what is in flight and keeps its data', async (t) => {
  const dataDir = await dataDirectory(t);
  const config = readConfig({ RAPPORT_DATA_DIR: dataDir });
  const { signing } = await openKeys(config);
  if (!signing) throw new Error('The service has a key of its own here');
  const token = issueToken(config, signing, { scope: '*', client: 'test', ttl: 600 });

  const first = await start(t, dataDir);
  await ready(first);
  t.match(await ask(first, '/readyz'), {
    status: 200,
    cache: 'no-store',
    body: '{"status":"ready","checks":{"process":"ok","database":"ok","migrations":"ok"}}',
  });
  t.match(await ask(first, '/livez'), { status: 200, cache: 'no-store', body: '{"status":"alive"}' });

  const body = JSON.stringify({ name: 'Ann Example' });
  const upload: ClientRequest = request({
    port: first.port,
    host: '127.0.0.1',
    method: 'POST',
    path: '/v1/customers',
    agent: keepAlive,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'content-length': body.length },
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    upload.on('response', resolve).on('error', reject);
  });
  upload.write(body.slice(0, 10));
  await sleep(200);
  first.process.kill('SIGTERM');
  await sleep(300);
  // Under npm one Ctrl-C arrives twice.
  first.process.kill('SIGTERM');
  t.equal(first.process.exitCode, null, 'the request keeps it');
  await t.rejects(ask(first, '/livez'), 'nothing new is taken');
  upload.end(body.slice(10));
  const response = await answered;
  t.equal(response.statusCode, 201);
  const { id } = JSON.parse(await textOf(response));
  t.match(await first.ended, { code: 0 });
  t.notOk(await isThere(postmaster(dataDir)), 'the database is stopped with it');

  for (const [name, value, was] of [
    ['BASE_CURRENCY', 'USD', 'EUR'],
    ['REPORTING_TIME_ZONE', 'Europe/London', 'UTC'],
  ] as const) {
    const changed = await start(t, dataDir, { [name]: value });
    const { code, errors } = await changed.ended;
    t.equal(code, 1);
    t.match(
      errors,
      new RegExp(
        `^${name} is ${value}, but the data was built with ${was}\\..*verify-rollups -- --repair --accept-settings\\s*$`,
      ),
    );
    t.notOk(await isThere(postmaster(dataDir)), 'and no database is left running');
  }

  const startedAt = Date.now();
  const second = await start(t, dataDir);
  await ready(second);
  t.comment(`first answer after ${Date.now() - startedAt} ms`);
  const found = await fetch(`http://127.0.0.1:${second.port}/v1/customers/${id}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  t.match(await found.json(), { id, name: 'Ann Example' }, 'the token and the customer are still good');
  second.process.kill('SIGINT');
  t.match(await second.ended, { code: 0 });
});

t.test('while the database is away the process lives, says so, and recovers by itself', async (t) => {
  const dataDir = await dataDirectory(t);
  await openKeys(readConfig({ RAPPORT_DATA_DIR: dataDir }));
  // One that the service has not started, and so does not start again.
  const database = await startEmbedded({ dataDir });
  t.teardown(() => database.stop());
  const { host, port, user, database: name } = database.connection;
  const service = await start(t, dataDir, {
    DATABASE_URL: `postgresql://${user}@${encodeURIComponent(host)}:${port}/${name}`,
    JWT_SIGNING_KEY_FILE: join(dataDir, 'signing-key.pem'),
  });
  await ready(service);
  await database.stop();
  await ready(service, 503);
  t.match(await ask(service, '/readyz'), {
    status: 503,
    body: '{"status":"database_unreachable","checks":{"process":"ok","database":"unreachable","migrations":"ok"}}',
  });
  t.equal((await ask(service, '/livez')).status, 200);
  const again = await startEmbedded({ dataDir });
  t.teardown(() => again.stop());
  await ready(service);
  service.process.kill('SIGTERM');
  t.match(await service.ended, { code: 0 });
});

t.test('what the environment gets wrong is said in a line', async (t) => {
  const { code, errors } = await (await start(t, join(tmpdir(), 'rapport-never-made'), { PORT: 'http' })).ended;
  t.equal(code, 1);
  t.match(errors, /^PORT must be an integer from 0 to 65535\s*$/);
  t.notOk(await isThere(join(tmpdir(), 'rapport-never-made')));
});
