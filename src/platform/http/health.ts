import type { FastifyInstance } from 'fastify';
import type pg from 'pg';
import { pendingMigrations } from '../db/migrate.ts';
import { evenWhenBusy } from './overload.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Makes /readyz answer 503 while everything else goes on: the first step of a shutdown. */
    drain(): void;
  }
}

type Readiness = 'ready' | 'draining' | 'database_unreachable' | 'migrations_pending';

interface Look {
  status: Readiness;
  checks: {
    database: 'ok' | 'unreachable';
    /** unknown: the database did not say. */
    migrations: 'ok' | 'pending' | 'unknown';
  };
  /** Migrations that are pending. */
  missing?: readonly string[];
}

/** The database has this long to answer, milliseconds. */
export const healthTimeLimit = 2_000;
/** One look serves all who ask within this time: the endpoint is open to everyone. */
const lookEvery = 500;

/**
 * `/livez`: the process answers. `/readyz`: it can serve, with the database in reach and migrated, and is not about to
 * stop; `checks` say what is missing, `warnings` are codes of what somebody should look at.
 *
 * @param pool of its own, so that a busy one does not take the service out of rotation
 */
export function addHealth(
  app: FastifyInstance,
  pool: pg.Pool,
  { migrationsFolder, warnings }: { migrationsFolder: string; warnings: readonly string[] },
): void {
  let draining = false;
  let migrated = false;
  let look: Promise<Look> | null = null;
  app.decorate('drain', () => {
    draining = true;
  });

  async function lookAtDatabase(): Promise<Look> {
    try {
      if (migrated) {
        await pool.query('SELECT 1');
        return ready;
      }
      const missing = await pendingMigrations(pool, migrationsFolder);
      migrated = missing.length === 0;
      if (migrated) return ready;
      return { status: 'migrations_pending', checks: { database: 'ok', migrations: 'pending' }, missing };
    } catch {
      return unreachable(migrated);
    }
  }

  function readiness(): Promise<Look> {
    if (look === null) {
      look = withinLimit(lookAtDatabase(), () => unreachable(migrated));
      const again = () => {
        look = null;
      };
      look.then(() => setTimeout(again, lookEvery).unref());
    }
    return look;
  }

  app.get('/livez', evenWhenBusy, (_request, reply) =>
    reply.header('Cache-Control', 'no-store').send({ status: 'alive' }),
  );
  app.get('/readyz', evenWhenBusy, async (_request, reply) => {
    const { status: found, checks, missing } = await readiness();
    const status = draining ? 'draining' : found;
    reply.header('Cache-Control', 'no-store');
    if (status !== 'ready') reply.code(503).header('Retry-After', '1');
    return {
      status,
      checks: { process: draining ? 'stopping' : 'ok', ...checks },
      ...(missing && { missing }),
      ...(warnings.length > 0 && { warnings }),
    };
  });
}

const ready: Look = { status: 'ready', checks: { database: 'ok', migrations: 'ok' } };

const unreachable = (migrated: boolean): Look => ({
  status: 'database_unreachable',
  checks: { database: 'unreachable', migrations: migrated ? 'ok' : 'unknown' },
});

/** A database that accepts the connection and then says nothing is no database. */
async function withinLimit(look: Promise<Look>, otherwise: () => Look): Promise<Look> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<Look>((resolve) => {
    timer = setTimeout(() => resolve(otherwise()), healthTimeLimit);
  });
  try {
    return await Promise.race([look, limit]);
  } finally {
    clearTimeout(timer);
  }
}
