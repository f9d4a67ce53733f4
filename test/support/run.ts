/**
 * `npm test [-- files or folders…]`: one database server and one migrated template for the whole run, each test file in
 * a process of its own. Which files, by their names:
 *   *.test.ts             npm test
 *   *.deep.test.ts        npm run test:deep
 *   *.property.test.ts    both, with few draws and with many (draws.ts)
 * A file that is named runs either way. Where the server comes from:
 *   nothing set                embedded, without waiting for the disk, in a temporary directory
 *   TEST_DATABASE_URL=…        the server given; its account must be allowed to create databases
 *   TEST_DATABASE=container    testcontainers, TEST_POSTGRES_IMAGE or postgres:18-bookworm
 */
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { inspect, parseArgs } from 'node:util';
import pg from 'pg';
import { packageRoot } from '../../src/config.ts';
import { startEmbedded } from '../../src/platform/db/embedded.ts';
import { bundleTests } from './bundle.ts';
import { DEEP_VARIABLE, soakSeconds } from './draws.ts';
import { closingLines, describeFile, type FileReport, runTestFile } from './report.ts';
import {
  createTemplate,
  onServer,
  TEST_SERVER_VARIABLE,
  type TestServer,
  THROWAWAY_SETTINGS,
  uniqueName,
} from './server.ts';

type StartedServer = { connection: pg.ClientConfig; stop(): Promise<void> };

/** One more than there are processors: tests wait for the database. */
const JOBS = Math.min(4, availableParallelism() + 1);

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => interrupted.abort(`ended by ${signal}`));
}
process.on('uncaughtException', (error) => {
  console.error(error);
  interrupted.abort('ended by a fault of the runner');
});
const { values, positionals } = parseArgs({ options: { deep: { type: 'boolean' } }, allowPositionals: true });
process.exitCode = await main(positionals, values.deep === true);

async function main(given: string[], deep: boolean): Promise<number> {
  const started = process.hrtime.bigint();
  const files = testFiles(given, deep);
  // Only a file that hangs ends by it, also on a slow machine.
  const timeoutSeconds = (deep ? 900 : 300) + soakSeconds(0);
  if (files.length === 0) {
    console.log(`No test files here${deep ? '' : '; long ones are run by npm run test:deep'}.`);
    return 1;
  }
  // Below .tap, which git ignores, so that the translations find node_modules.
  const bundles = join(packageRoot, '.tap', `bundle-${process.pid}`);
  const cleanUp: (() => Promise<unknown> | unknown)[] = [() => rmSync(bundles, { recursive: true, force: true })];
  const reports: FileReport[] = [];
  try {
    const server = await startServer();
    cleanUp.push(() => server.stop());
    const run = uniqueName('rapport_test');
    const testServer: TestServer = { connection: server.connection, template: `${run}_template`, prefix: run };
    cleanUp.push(() => dropDatabasesOf(testServer));
    const [scripts] = await Promise.all([
      bundleTests(files, bundles),
      createTemplate(testServer.connection, testServer.template),
    ]);
    const env = {
      ...process.env,
      [TEST_SERVER_VARIABLE]: JSON.stringify(testServer),
      RAPPORT_ALLOW_UNSAFE_DATABASE: 'true',
      ...(deep && { [DEEP_VARIABLE]: 'true' }),
    };
    const queue = files.map((file, index) => ({ file, script: scripts[index] ?? '' }));
    const worker = async (): Promise<void> => {
      for (let next = queue.shift(); next && !interrupted.signal.aborted; next = queue.shift()) {
        const name = next.file.slice(packageRoot.length);
        const limits = { timeoutSeconds, signal: interrupted.signal };
        const report = await runTestFile(name, next.script, { env, ...limits });
        reports.push(report);
        console.log(describeFile(report));
      }
    };
    await Promise.all(Array.from({ length: JOBS }, worker));
  } catch (error) {
    const failed = [{ name: 'No file could be run.', details: inspect(error) }];
    const report = { file: 'the run itself', passed: 0, skipped: [], failed, setupFailed: true, seconds: 0 };
    reports.push(report);
    console.log(describeFile(report));
  } finally {
    for (const step of cleanUp.reverse()) {
      await Promise.resolve(step()).catch((error: unknown) => console.error('cleaning up:', error));
    }
  }
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (interrupted.signal.aborted) console.log(String(interrupted.signal.reason));
  console.log(`${reports.length} of ${files.length} files in ${seconds.toFixed(0)} s`);
  console.log(closingLines(reports));
  const allRan = reports.length === files.length && reports.length > 0;
  return allRan && reports.every(({ failed }) => failed.length === 0) ? 0 : 1;
}

/**
 * Absolute paths of the files named, and of those of the suite below the folders named or below all. The largest come
 * first: they tend to take longest, and one that starts last would leave the other processor idle.
 */
function testFiles(given: string[], deep: boolean): string[] {
  const inSuite = deep ? /\.(deep|property)\.test\.ts$/ : /(?<!\.deep)\.test\.ts$/;
  const places = given.length > 0 ? given.map((place) => resolve(place)) : [join(packageRoot, 'test')];
  const files = places.flatMap((place) =>
    statSync(place).isDirectory()
      ? readdirSync(place, { recursive: true, encoding: 'utf8' })
          .filter((name) => inSuite.test(name))
          .map((name) => join(place, name))
      : [place],
  );
  return files.sort((a, b) => statSync(b).size - statSync(a).size);
}

async function startServer(): Promise<StartedServer> {
  const url = process.env.TEST_DATABASE_URL;
  if (url) return { connection: connectionOf(url), stop: async () => {} };
  if (process.env.TEST_DATABASE === 'container') return startContainer();
  if (process.env.TEST_DATABASE) throw new Error('TEST_DATABASE can only be "container"');

  const dataDir = mkdtempSync(join(tmpdir(), 'rapport-run-'));
  // Under root, the server's account has to pass through it.
  chmodSync(dataDir, 0o711);
  const { connection, directory, stop } = await startEmbedded({ dataDir, settings: THROWAWAY_SETTINGS });
  return {
    connection,
    stop: async () => {
      await stop();
      for (const path of [directory, dataDir]) rmSync(path, { recursive: true, force: true });
    },
  };
}

/** pg's own reading of the URL, as single values that test files can change. */
function connectionOf(url: string): pg.ClientConfig {
  const { host, port, user, password, database, ssl } = new pg.Client({ connectionString: url });
  return {
    host,
    port,
    ...(user === undefined ? {} : { user }),
    ...(password ? { password } : {}),
    ...(database === undefined ? {} : { database }),
    ssl,
  };
}

async function startContainer(): Promise<StartedServer> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const settings = Object.entries(THROWAWAY_SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const password = 'only-in-this-container';
  const container = await new GenericContainer(process.env.TEST_POSTGRES_IMAGE ?? 'postgres:18-bookworm')
    .withEnvironment({ POSTGRES_USER: 'rapport', POSTGRES_PASSWORD: password, POSTGRES_DB: 'rapport' })
    .withCommand(['postgres', ...settings])
    .withExposedPorts(5432)
    // Once by the server that prepares the directory, once by the one that stays. Podman runs no health checks.
    .withWaitStrategy(Wait.forLogMessage(/database system is ready to accept connections/, 2))
    .start();
  return {
    connection: {
      host: container.getHost(),
      port: container.getMappedPort(5432),
      user: 'rapport',
      password,
      database: 'rapport',
      ssl: false,
    },
    stop: async () => {
      await container.stop();
    },
  };
}

/** The template, and what test files left that were killed. */
async function dropDatabasesOf({ connection, prefix }: TestServer): Promise<void> {
  await onServer(connection, async (client) => {
    const { rows } = await client.query<{ name: string }>(
      'SELECT datname AS name FROM pg_database WHERE starts_with(datname, $1)',
      [`${prefix}_`],
    );
    for (const { name } of rows) await client.query(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`);
  });
}
