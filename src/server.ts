import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import closeWithGrace from 'close-with-grace';
import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { createApp } from './app.ts';
import { type Config, ConfigError, readConfig } from './config.ts';
import { normalizeStoredOnce } from './features/customers/stored-identities.ts';
import { tablePolicies } from './features.ts';
import { openKeys } from './platform/auth/keys.ts';
import { KeyError } from './platform/auth/signing-key.ts';
import { EmbeddedPostgresError } from './platform/db/embedded-binaries.ts';
import { MigrationError, UnsafeDatabaseError } from './platform/db/migrate.ts';
import { DatabaseUnreachableError, openDatabase } from './platform/db/open.ts';
import { SettingsError } from './platform/db/settings.ts';
import { createLogger } from './platform/http/logging.ts';

/** Time that load balancers get to see /readyz turn before connections are refused; a developer need not wait. */
const noticeInProduction = 3_000;
/** Requests in flight have this long to finish after a signal, milliseconds. */
const patience = 30_000;

/** Ctrl-C under npm arrives twice, from the terminal and from npm; a person needs longer to ask again. */
const sameSignal = 1_000;

async function start(config: Config, logger: FastifyBaseLogger): Promise<{ stop(): Promise<void> }> {
  const keys = await openKeys(config);
  const database = await openDatabase(config, tablePolicies(), (message) => logger.info(message));
  let app: FastifyInstance | undefined;
  try {
    await normalizeStoredOnce(database.connection, (message) => logger.warn(message));
    app = await createApp({ config, keys, connection: database.connection, logger });
    await app.listen({ host: config.host, port: config.port });
    if (config.worker) app.jobs.startWorker();
  } catch (error) {
    await app?.close();
    await database.stop();
    throw error;
  }
  greet(app.listeningOrigin);
  return {
    async stop() {
      app.drain();
      if (config.production) await sleep(noticeInProduction);
      // A connection whose request was in flight becomes idle only now: nobody else closes it.
      const sweep = setInterval(() => app.server.closeIdleConnections(), 50);
      await app.close();
      clearInterval(sweep);
      await database.stop();
    },
  };
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
  const starting = start(config, logger);
  // A signal during the start waits for it, or the database that is just starting would be left behind.
  const { close, uninstall } = closeWithGrace({ delay: patience, skip: ['SIGINT', 'SIGTERM'] }, async ({ err }) => {
    if (err) logger.fatal({ err }, 'uncaught');
    await (await starting).stop();
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
