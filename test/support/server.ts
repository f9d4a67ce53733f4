import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { packageRoot } from '../../src/config.ts';
import { tablePolicies } from '../../src/features.ts';
import { accessDefinitions } from '../../src/platform/db/access.ts';
import { startEmbedded } from '../../src/platform/db/embedded.ts';
import { jobTablesRevision } from '../../src/platform/db/job-tables.ts';
import { migrate } from '../../src/platform/db/migrate.ts';

/**
 * A server the tests may make databases on, as pg.Client takes it; the migrated database that they are clones of; and
 * what all their names begin with.
 */
export type TestServer = { connection: pg.ClientConfig; template: string; prefix: string };

/** Names the server of the run to the test files: a TestServer as JSON. */
export const TEST_SERVER_VARIABLE = 'RAPPORT_TEST_SERVER';

export const migrationsFolder = join(packageRoot, 'migrations');

/**
 * Settings for data that nobody will miss: no waiting for the disk. The service refuses such a server, so whoever uses
 * them has to set RAPPORT_ALLOW_UNSAFE_DATABASE as well; the connections are for test files that run side by side.
 */
export const THROWAWAY_SETTINGS: Record<string, string> = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  max_connections: '200',
  // Checkpoints write nothing that anybody needs.
  max_wal_size: '4GB',
  checkpoint_timeout: '1h',
  // Cleaning up a template in use would make CREATE DATABASE wait.
  autovacuum_naptime: '60s',
};

/** Runs one statement on the server's own database. Identifiers in it are ours: letters, digits and underscores. */
export async function onServer<T>(connection: pg.ClientConfig, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(connection);
  client.on('error', () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => {});
  }
}

/** A name that no other run has, and that says when it was made. */
export function uniqueName(prefix: string): string {
  return `${prefix}_${Date.now().toString(36)}_${randomBytes(4).toString('hex')}`;
}

/** Makes the database that test databases are copied from. Nothing may stay connected to it while it is copied. */
export async function createTemplate(connection: pg.ClientConfig, template: string): Promise<void> {
  await onServer(connection, async (client) => {
    await client.query(`CREATE DATABASE ${template} TEMPLATE template0 ENCODING 'UTF8'`);
  });
  await migrate({ ...connection, database: template }, { folder: migrationsFolder, access: tablePolicies() });
}

/**
 * The server for a test file that was started alone (`npx tap test/…`): one that stays up under the temporary directory,
 * so that the next start takes no time. Its template is named after the migrations.
 */
export async function developmentServer(): Promise<TestServer> {
  process.env.RAPPORT_ALLOW_UNSAFE_DATABASE = 'true';
  const dataDir = join(tmpdir(), `rapport-test-${process.getuid?.() ?? 0}`);
  mkdirSync(dataDir, { recursive: true, mode: 0o711 });
  const { connection } = await startEmbedded({ dataDir, settings: THROWAWAY_SETTINGS });
  const template = `dev_template_${hashOfMigrations()}`;
  await onServer(connection, async (client) => {
    // Another file started at the same moment waits here, then finds the template.
    await client.query('SELECT pg_advisory_lock(1)');
    const found = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [template]);
    if (found.rowCount === 0) {
      await dropLeftovers(client);
      const unfinished = uniqueName('dev_unfinished');
      await createTemplate(connection, unfinished);
      await client.query(`ALTER DATABASE ${unfinished} RENAME TO ${template}`);
    }
  });
  return { connection, template, prefix: 'dev' };
}

/** Templates of older migrations, and what interrupted tests left. */
async function dropLeftovers(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT datname AS name FROM pg_database
     WHERE datname ~ '^dev_'
       AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pg_stat_activity.datname = pg_database.datname)
       AND (pg_stat_file('base/' || oid || '/PG_VERSION')).modification < now() - interval '1 hour'`,
  );
  for (const { name } of rows) await client.query(`DROP DATABASE IF EXISTS "${name}"`);
}

function hashOfMigrations(): string {
  const hash = createHash('sha256').update(`jobs ${jobTablesRevision} ${accessDefinitions(tablePolicies()).join()}`);
  const folders = [migrationsFolder, join(migrationsFolder, 'meta')];
  for (const file of folders.flatMap((folder) => list(folder).map((name) => join(folder, name)))) {
    if (file.endsWith('.sql') || file.endsWith('_journal.json')) hash.update(file).update(readFileSync(file));
  }
  return hash.digest('hex').slice(0, 12);
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
