import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { drizzle } from 'drizzle-orm/node-postgres';
import { migrate as runMigrations } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';
import { z } from 'zod';
import { AccessError, accessPending, applyAccess, type TableAccess } from './access.ts';
import { installJobTables, jobTablesPending, jobTablesRevision } from './job-tables.ts';

/** The database cannot be brought to the state this version needs; the message says what to do. */
export class MigrationError extends Error {
  override name = 'MigrationError';
}

/** The server would lose acknowledged writes, or is too old. */
export class UnsafeDatabaseError extends Error {
  override name = 'UnsafeDatabaseError';
}

/** A pool or a connected client. */
export type Queryable = Pick<pg.Pool, 'query'>;

type Migration = { tag: string; madeAt: number; hash: string };

// Any constant does; in ASCII this one reads RAPP.
const ADVISORY_LOCK = 0x52415050;
const OLDEST_MAJOR_VERSION = 15;
const ATTEMPTS = 6;

const journalSchema = z.object({ entries: z.array(z.object({ tag: z.string(), when: z.number() })) });

/**
 * Brings the database to this version's schema, on a connection of its own and under a session advisory lock, so that
 * replicas that start together wait for the first. All pending migrations are one transaction: they apply or do not. The
 * tables of graphile-worker follow, by its own migrations, and the rights of the service's roles (access.ts).
 * The connection must reach the server itself or a session-pooling proxy: an advisory lock does not survive PgBouncer's
 * transaction mode.
 *
 * @param options.folder the repository's `migrations/`
 * @param options.access every table, and who may touch it; without it rights are left as they are
 * @throws MigrationError when the folder and the database contradict each other, or a migration fails
 */
export async function migrate(
  connection: pg.ClientConfig,
  options: { folder: string; access?: readonly TableAccess[]; note?: (message: string) => void },
): Promise<void> {
  const { folder, access } = options;
  const client = new pg.Client({ ...connection, application_name: 'rapport migrate' });
  client.on('error', () => {});
  await client.connect();
  try {
    // Nothing to do needs no lock, and no right to create anything: the service may run as a role without it.
    const nothingToDo =
      (await pendingMigrations(client, folder)).length === 0 &&
      !(await jobTablesPending(client)) &&
      !(await accessToApply(client, folder, access));
    if (nothingToDo) return;
    await client.query('SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = 0');
    await client.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCK]);
    const own = await pendingMigrations(client, folder);
    const jobTables = await jobTablesPending(client);
    const pending = [...own, ...(jobTables ? [`graphile-worker ${jobTablesRevision}`] : [])];
    if (pending.length > 0) options.note?.(`applying ${pending.length} migration(s): ${pending.join(', ')}`);
    if (own.length > 0) await apply(client, folder);
    if (jobTables) await applyJobTables(connection);
    const left = await pendingMigrations(client, folder);
    if (left.length > 0) {
      throw new MigrationError(
        `These migrations are older than the newest one applied, so they were skipped: ${left.join(', ')}. ` +
          'Generate them again on top of the others.',
      );
    }
    if (access && (await accessToApply(client, folder, access))) {
      options.note?.('giving the roles of the service their rights');
      await giveAccess(client, access);
    }
  } finally {
    // Ends the session and with it the lock.
    await client.end().catch(() => {});
  }
}

async function apply(client: pg.Client, folder: string): Promise<void> {
  // A statement that waits for a table lock makes every later reader wait behind it: give up early, let them pass, retry.
  await client.query("SET lock_timeout = '3s'");
  for (let attempt = 1; ; attempt += 1) {
    try {
      await runMigrations(drizzle({ client }), { migrationsFolder: folder });
      return;
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      const lockTimeout = cause instanceof pg.DatabaseError && cause.code === '55P03';
      if (lockTimeout && attempt < ATTEMPTS) {
        await sleep(1000 * attempt);
        continue;
      }
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new MigrationError(`A migration failed and nothing was changed: ${reason}`, { cause: error });
    }
  }
}

async function applyJobTables(connection: pg.ClientConfig): Promise<void> {
  try {
    await installJobTables(connection);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MigrationError(`The tables of the job queue could not be made: ${reason}`, { cause: error });
  }
}

/** A newer version that has migrated the database has also said who may touch its tables, and is not to be corrected. */
async function accessToApply(
  client: pg.Client,
  folder: string,
  access: readonly TableAccess[] | undefined,
): Promise<boolean> {
  if (!access) return false;
  const newest = Math.max(...readJournal(folder).map(({ madeAt }) => madeAt));
  const { rowCount } = await client.query('SELECT FROM drizzle.__drizzle_migrations WHERE created_at > $1', [newest]);
  return rowCount === 0 && accessPending(client, access);
}

async function giveAccess(client: pg.Client, access: readonly TableAccess[]): Promise<void> {
  try {
    await applyAccess(client, access);
  } catch (error) {
    if (error instanceof AccessError) throw new MigrationError(error.message, { cause: error });
    const reason = error instanceof Error ? error.message : String(error);
    throw new MigrationError(`The roles of the service could not be given their rights: ${reason}`, { cause: error });
  }
}

/**
 * Names of the migrations in the folder that the database has not seen, in order. Migrations that only the database
 * knows are a newer version's, which this one can work beside (expand, then contract).
 *
 * @throws MigrationError when an applied migration's file has changed since
 */
export async function pendingMigrations(db: Queryable, folder: string): Promise<string[]> {
  const expected = readJournal(folder);
  const table = await db.query<{ found: boolean }>(
    "SELECT to_regclass('drizzle.__drizzle_migrations') IS NOT NULL AS found",
  );
  if (!table.rows[0]?.found) return expected.map(({ tag }) => tag);
  const applied = await db.query<{ hash: string; made_at: string }>(
    'SELECT hash, created_at::text AS made_at FROM drizzle.__drizzle_migrations',
  );
  const hashes = new Map(applied.rows.map((row) => [Number(row.made_at), row.hash]));
  const changed = expected.filter(({ madeAt, hash }) => hashes.has(madeAt) && hashes.get(madeAt) !== hash);
  if (changed.length > 0) {
    throw new MigrationError(
      `Migrations that this database has already applied have changed since: ${changed.map(({ tag }) => tag).join(', ')}. ` +
        'Restore the files and put the change in a new migration.',
    );
  }
  return expected.filter(({ madeAt }) => !hashes.has(madeAt)).map(({ tag }) => tag);
}

function readJournal(folder: string): Migration[] {
  try {
    const journal = journalSchema.parse(JSON.parse(readFileSync(join(folder, 'meta', '_journal.json'), 'utf8')));
    // The hash is drizzle's: of the file as it is.
    return journal.entries.map(({ tag, when }) => ({
      tag,
      madeAt: when,
      hash: createHash('sha256')
        .update(readFileSync(join(folder, `${tag}.sql`), 'utf8'))
        .digest('hex'),
    }));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MigrationError(`Cannot read the migrations in ${folder}: ${reason}`, { cause: error });
  }
}

/**
 * Refuses a server on which an acknowledged write can be lost (`fsync`, `full_page_writes` or `synchronous_commit` off),
 * unless `allowUnsafe`, and in any case one older than PostgreSQL 15.
 *
 * @throws UnsafeDatabaseError
 */
export async function assertDurable(db: Queryable, options: { allowUnsafe: boolean }): Promise<void> {
  const { rows } = await db.query<{ name: string; setting: string }>(
    `SELECT name, setting FROM pg_settings
     WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'server_version', 'server_version_num')`,
  );
  const settings = new Map(rows.map(({ name, setting }) => [name, setting]));
  if (Number(settings.get('server_version_num')) < OLDEST_MAJOR_VERSION * 10_000) {
    throw new UnsafeDatabaseError(
      `The database server is PostgreSQL ${settings.get('server_version')}; ${OLDEST_MAJOR_VERSION} or newer is needed.`,
    );
  }
  if (options.allowUnsafe) return;
  const off = ['fsync', 'full_page_writes', 'synchronous_commit'].filter((name) => settings.get(name) === 'off');
  if (off.length > 0) {
    throw new UnsafeDatabaseError(
      `The database server has ${off.join(', ')} off: a crash would lose records that were acknowledged. ` +
        'Turn it on, or set RAPPORT_ALLOW_UNSAFE_DATABASE=true for data that may be lost.',
    );
  }
}
