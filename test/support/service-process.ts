import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientConfig } from 'pg';
import type { Test } from 'tap';
import { packageRoot, readConfig } from '../../src/config.ts';
import { issueToken } from '../../src/platform/auth/issue-token.ts';
import { openKeys } from '../../src/platform/auth/keys.ts';
import { startEmbedded } from '../../src/platform/db/embedded.ts';
import { bundleTests } from './bundle.ts';

export interface ServiceProcess {
  origin: string;
  /** Of all scopes. */
  token: string;
  start(): Promise<void>;
  /** Ends it as a power cut would, and waits until it is gone; its database stays up. */
  kill(): Promise<void>;
  isAlive(): boolean;
  /** Its process id while it runs. */
  id(): number;
  /** Ends it as an operator does. @returns the exit code */
  stop(): Promise<number | null>;
  /** The process id of its database server; throws when that is down. */
  databaseId(): Promise<number>;
  /** Its database, started if it is down. */
  connection(): Promise<ClientConfig>;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo; // listening on TCP
  probe.close();
  return port;
}

/** The real service in a process of its own, with its own durable database, not started yet; ended with the test. */
export async function serviceProcess(
  t: Pick<Test, 'teardown'>,
  env: Record<string, string> = {},
): Promise<ServiceProcess> {
  // A directory that the account of the database server can reach.
  const dataDir = await mkdtemp(join(tmpdir(), 'rapport-process-'));
  await chmod(dataDir, 0o711);
  const bundles = join(packageRoot, '.tap', `process-${process.pid}`);
  const [server = ''] = await bundleTests([join(packageRoot, 'src/server.ts')], bundles);
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const config = readConfig({ RAPPORT_DATA_DIR: dataDir });
  const { signing } = await openKeys(config);
  if (!signing) throw new Error('The service has a key of its own here');
  let service: ChildProcess | undefined;

  const databaseId = async () =>
    Number((await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0]);

  t.teardown(async () => {
    service?.kill('SIGKILL');
    // A killed service leaves its database running, for the next one to find.
    const id = await databaseId().catch(() => null);
    if (id !== null) process.kill(id, 'SIGINT');
    for (let waited = 0; waited < 100 && (await databaseId().catch(() => null)) !== null; waited += 1) await sleep(100);
    for (const directory of [dataDir, bundles]) await rm(directory, { recursive: true, force: true });
  });

  return {
    origin,
    token: issueToken(config, signing, { scope: '*', client: 'shop', ttl: 3600 }),
    async start() {
      const { RAPPORT_ALLOW_UNSAFE_DATABASE: _, NODE_OPTIONS: __, ...inherited } = process.env;
      const child = spawn(process.execPath, ['--enable-source-maps', server], {
        cwd: packageRoot,
        env: {
          ...inherited,
          RAPPORT_DATA_DIR: dataDir,
          PORT: String(port),
          LOG_LEVEL: 'error',
          RATE_LIMIT: '100000',
          PUBLIC_RATE_LIMIT: '100000',
          ...env,
        },
        stdio: ['ignore', 'inherit', 'inherit'],
      });
      service = child;
      for (const deadline = Date.now() + 60_000; Date.now() < deadline && child.exitCode === null; await sleep(50)) {
        const answer = await fetch(`${origin}/readyz`).catch(() => null);
        if (answer?.status === 200) return;
      }
      throw new Error('the service did not start');
    },
    async kill() {
      if (!service) throw new Error('the service was not started');
      const gone = once(service, 'exit');
      service.kill('SIGKILL');
      await gone;
    },
    id() {
      if (service?.pid === undefined) throw new Error('the service was not started');
      return service.pid;
    },
    async stop() {
      if (!service) throw new Error('the service was not started');
      const gone = once(service, 'exit');
      service.kill('SIGTERM');
      await gone;
      return service.exitCode;
    },
    isAlive: () => service !== undefined && service.exitCode === null && service.signalCode === null,
    databaseId,
    connection: async () => (await startEmbedded({ dataDir })).connection,
  };
}
