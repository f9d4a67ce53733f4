import cluster from 'node:cluster';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import closeWithGrace from 'close-with-grace';
import type { FastifyBaseLogger } from 'fastify';
import type pg from 'pg';
import { createApp } from './app.ts';
import { type Config, ConfigError, readConfig } from './config.ts';
import { tablePolicies } from './features.ts';
import { type Keys, openKeys } from './platform/auth/keys.ts';
import { KeyError } from './platform/auth/signing-key.ts';
import { openPool } from './platform/db/client.ts';
import { EmbeddedPostgresError } from './platform/db/embedded-binaries.ts';
import { MigrationError, UnsafeDatabaseError } from './platform/db/migrate.ts';
import { DatabaseUnreachableError, openDatabase } from './platform/db/open.ts';
import { SettingsError } from './platform/db/settings.ts';
import { upgrade } from './platform/db/upgrade.ts';
import { createLogger } from './platform/http/logging.ts';
import { connectionOfFirst, ProcessError, startProcesses, tellFirst } from './processes.ts';
import { upgradesFor } from './upgrades.ts';

/** Time that load balancers get to see /readyz turn before connections are refused; a developer need not wait. */
const noticeInProduction = 3_000;
/** Requests in flight have this long to finish after a signal, milliseconds. */
const patience = 30_000;

/** Ctrl-C under npm arrives twice, from the terminal and from npm; a person needs longer to ask again. */
const sameSignal = 1_000;

interface Running {
  origin: string;
  stop(): Promise<void>;
}

/** The database, and the service on it: in this process, or in several that share the port. */
async function start(config: Config, logger: FastifyBaseLogger): Promise<Running> {
  const keys = await openKeys(config);
  const database = await openDatabase(config, tablePolicies(), (message) => logger.info(message), { keep: true });
  let service: Running;
  try {
    await upgradeStore(database.connection, config, logger);
    service =
      config.processes > 1
        ? await startProcesses(config.processes, database.connection, logger)
        : await serve(config, keys, database.connection, logger);
  } catch (error) {
    await database.stop();
    throw error;
  }
  greet(service.origin);
  return {
    origin: service.origin,
    async stop() {
      await service.stop();
      await database.stop();
    },
  };
}

/** The service in this process, on a database that is up to date. */
async function serve(
  config: Config,
  keys: Keys,
  connection: pg.ClientConfig,
  logger: FastifyBaseLogger,
): Promise<Running> {
  const app = await createApp({ config, keys, connection, logger });
  try {
    await app.listen({ host: config.host, port: config.port });
    if (config.worker) app.jobs.startWorker();
  } catch (error) {
    await app.close();
    throw error;
  }
  return {
    origin: app.listeningOrigin,
    async stop() {
      app.drain();
      if (config.production) await sleep(noticeInProduction);
      await app.close();
    },
  };
}

/** One of several processes: the first one has opened the database and says where it is. */
async function startAsOneOfSeveral(config: Config, logger: FastifyBaseLogger): Promise<Running> {
  const [keys, connection] = await Promise.all([openKeys(config), connectionOfFirst()]);
  const share = { ...config, databasePoolSize: Math.max(2, Math.ceil(config.databasePoolSize / config.processes)) };
  const service = await serve(share, keys, connection, logger);
  tellFirst(service.origin);
  return service;
}

async function upgradeStore(connection: pg.ClientConfig, config: Config, logger: FastifyBaseLogger): Promise<void> {
  const pool = openPool(connection, { size: 3, statementTimeout: 3_600_000 });
  try {
    await upgrade(pool, upgradesFor(config), (message) => logger.warn(message));
  } finally {
    await pool.end();
  }
}

/** For people to read; programs have the log. */
function greet(origin: string): void {
  if (!process.stdout.isTTY) return;
  console.log(`\nRapport is up at ${origin}  ·  docs ${origin}/docs  ·  GraphQL ${origin}/graphiql`);
  console.log('A token: npm run -s token -- --scope "*"\n');
}

/** Faults of the environment: their message says what to do, a stack would only hide it. */
const expected = [
  ConfigError,
  KeyError,
  EmbeddedPostgresError,
  UnsafeDatabaseError,
  MigrationError,
  SettingsError,
  DatabaseUnreachableError,
  ProcessError,
];

function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (expected.some((kind) => error instanceof kind)) return error.message;
  if ('code' in error && (error.code === 'EADDRINUSE' || error.code === 'EACCES' || error.code === 'EADDRNOTAVAIL')) {
    return `HOST and PORT cannot be listened on: ${error.message}`;
  }
  return error.stack ?? error.message;
}

async function run(): Promise<void> {
  // V8 collects when the heap has grown four-fold; a service whose live data are small then stands at 300 MB.
  setFlagsFromString('--heap-growing-percent=50');
  const config = readConfig(process.env);
  const logger = createLogger(config);
  const starting = cluster.isWorker ? startAsOneOfSeveral(config, logger) : start(config, logger);
  // A signal during the start waits for it, or the database that is just starting would be left behind.
  const { close, uninstall } = closeWithGrace({ delay: patience, skip: ['SIGINT', 'SIGTERM'] }, async ({ err }) => {
    if (err) logger.fatal({ err }, 'uncaught');
    await (await starting).stop();
    // The channel to the first process would keep one of several alive.
    if (cluster.isWorker) process.disconnect();
  });
  let firstSignal = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    if (firstSignal === 0) {
      firstSignal = Date.now();
      logger.info(`${signal}: finishing what is in flight`);
      close();
    } else if (Date.now() - firstSignal > sameSignal) {
      process.exit(1);
    }
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    await starting;
  } catch (error) {
    uninstall();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
    throw error;
  }
}

run().catch((error: unknown) => {
  console.error(explain(error));
  process.exitCode = 1;
});
