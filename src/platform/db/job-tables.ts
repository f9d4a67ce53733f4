import pg from 'pg';

/**
 * The revision of graphile-worker's own tables (schema `graphile_worker`) that the installed package brings. A constant,
 * because asking the package means loading it, and most starts find nothing to do; a test compares the two.
 */
export const jobTablesRevision = 19;

/** Whether graphile-worker's tables are missing, older than the package, or not yet made usable by `installJobTables`. */
export async function jobTablesPending(db: Pick<pg.Pool, 'query'>): Promise<boolean> {
  const table = await db.query<{ found: boolean }>(
    "SELECT to_regclass('graphile_worker.migrations') IS NOT NULL AS found",
  );
  if (!table.rows[0]?.found) return true;
  const state = await db.query<{ revision: number | null; closed: boolean | null }>(
    `SELECT max(id) AS revision,
       (SELECT bool_or(relrowsecurity) FROM pg_class WHERE relnamespace = 'graphile_worker'::regnamespace) AS closed
     FROM graphile_worker.migrations`,
  );
  return (state.rows[0]?.revision ?? 0) < jobTablesRevision || state.rows[0]?.closed === true;
}

/** Installs or updates them; the caller holds the lock of the migrations. Can be repeated after a failure. */
export async function installJobTables(connection: pg.ClientConfig): Promise<void> {
  const { Logger, runMigrations } = await import('graphile-worker');
  const pool = new pg.Pool({ ...connection, max: 1, application_name: 'rapport migrate' });
  pool.on('error', () => undefined).on('connect', (client) => client.on('error', () => undefined));
  try {
    await runMigrations({ pgPool: pool, schema: 'graphile_worker', logger: new Logger(() => () => undefined) });
    // They come closed to all but their owner, without a policy: grants to the role of the service would mean nothing.
    await pool.query(`
      ALTER TABLE graphile_worker._private_jobs DISABLE ROW LEVEL SECURITY;
      ALTER TABLE graphile_worker._private_job_queues DISABLE ROW LEVEL SECURITY;
      ALTER TABLE graphile_worker._private_tasks DISABLE ROW LEVEL SECURITY;
      ALTER TABLE graphile_worker._private_known_crontabs DISABLE ROW LEVEL SECURITY`);
  } finally {
    await pool.end();
  }
}
