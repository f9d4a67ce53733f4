import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { type DatabaseConfig, packageRoot } from '../../config.ts';
import { Problem } from '../errors.ts';
import type { TableAccess } from './access.ts';
import { openPool, poolDb, translate } from './client.ts';
import { keepEmbedded, startEmbedded } from './embedded.ts';
import { assertDurable, migrate } from './migrate.ts';
import { assertSettings } from './settings.ts';

/** The repository's migrations, which travel with the bundle. */
export const migrationsFolder = join(packageRoot, 'migrations');

export interface OpenDatabase {
  connection: pg.ClientConfig;
  /** Stops the embedded server if it was started here; there is nothing to stop otherwise. */
  stop(): Promise<void>;
}

/** The server of DATABASE_URL does not answer. */
export class DatabaseUnreachableError extends Error {
  override name = 'DatabaseUnreachableError';
}

const patience = 30_000;

/**
 * The way every process comes to its database: reach or start the server, see that it keeps what it acknowledges,
 * bring the schema and the rights of the service's roles up to date, and see that the data was built with the configured currency and time zone.
 *
 * @param access every table, and who may touch it: src/records/policies.ts
 * @param note told in a sentence what is unusual or takes time
 * @param options.keep whether an embedded server that dies is started again: for the service
 * @param options.checkSettings false for commands that change the settings, or that have nothing to do with them
 * @throws DatabaseUnreachableError, EmbeddedPostgresError, UnsafeDatabaseError, MigrationError, SettingsError
 */
export async function openDatabase(
  config: DatabaseConfig,
  access: readonly TableAccess[],
  note: (message: string) => void,
  options: { checkSettings?: boolean; keep?: boolean } = {},
): Promise<OpenDatabase> {
  const database = await reach(config, note, options.keep ?? false);
  const pool = openPool(database.connection, { size: 1, statementTimeout: 30_000, as: 'login' });
  try {
    await answers(pool, note);
    await assertDurable(pool, { allowUnsafe: config.allowUnsafeDatabase });
    await migrate(database.connection, { folder: migrationsFolder, access, note });
    if (options.checkSettings ?? true) await assertSettings(poolDb(pool), config);
  } catch (error) {
    await pool.end();
    await database.stop();
    throw error;
  }
  await pool.end();
  return database;
}

async function reach(config: DatabaseConfig, note: (message: string) => void, keep: boolean): Promise<OpenDatabase> {
  if (config.databaseUrl !== null) {
    return { connection: { connectionString: config.databaseUrl }, stop: () => Promise.resolve() };
  }
  return (keep ? keepEmbedded : startEmbedded)({ dataDir: config.dataDir, note });
}

/** Containers that start together find the database still starting: it gets half a minute. */
async function answers(pool: pg.Pool, note: (message: string) => void): Promise<void> {
  const deadline = Date.now() + patience;
  for (let attempt = 1; ; attempt += 1) {
    try {
      await pool.query('SELECT 1');
      return;
    } catch (error) {
      const away = translate(error);
      if (!(away instanceof Problem && away.code === 'unavailable')) throw error;
      const reason = error instanceof Error ? error.message || error.name : String(error);
      if (Date.now() > deadline) throw new DatabaseUnreachableError(`The database does not answer: ${reason}`);
      if (attempt === 1) note(`waiting for the database (${reason})`);
      await sleep(500);
    }
  }
}
