import type { FastifyInstance } from 'fastify';
import type pg from 'pg';
import { openPool } from '../db/client.ts';
import { pendingMigrations } from '../db/migrate.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Makes /readyz answer 503 while everything else goes on: the first step of a shutdown. */
    drain(): void;
  }
}

type Readiness = 'ready' | 'draining' | 'database_unreachable' | 'migrations_pending';

/** The database has this long to answer, milliseconds. */
const timeLimit = 2_000;
/** One look serves all who ask within this time: the endpoint is open to everyone. */
const lookEvery = 500;

/**
 * `/livez`: the process answers. `/readyz`: it can serve, with the database in reach and migrated, and is not about to
 * stop; `warnings` are codes of what somebody should look at. The look has a connection of its own, so that a busy pool does not take the service out of rotation.
 */
export function addHealth(
  app: FastifyInstance,
  connection: pg.ClientConfig,
  { migrationsFolder, warnings }: { migrationsFolder: string; warnings: readonly string[] },
): void {
  const pool = openPool(connection, { size: 1, statementTimeout: timeLimit, as: 'login' });
  let draining = false;
  let migrated = false;
  let look: Promise<Readiness> | null = null;
  app.decorate('drain', () => {
    draining = true;
  });
  app.addHook('onClose', () => pool.end());

  async function lookAtDatabase(): Promise<Readiness> {
    try {
      if (migrated) {
        await pool.query('SELECT 1');
        return 'ready';
      }
      migrated = (await pendingMigrations(pool, migrationsFolder)).length === 0;
      return migrated ? 'ready' : 'migrations_pending';
    } catch {
      return 'database_unreachable';
    }
  }

  function readiness(): Promise<Readiness> {
    if (look === null) {
      look = withinLimit(lookAtDatabase());
      const again = () => {
        look = null;
      };
      look.then(() => setTimeout(again, lookEvery).unref());
    }
    return look;
  }

  app.get('/livez', (_request, reply) => reply.header('Cache-Control', 'no-store').send({ status: 'alive' }));
  app.get('/readyz', async (_request, reply) => {
    const status = draining ? 'draining' : await readiness();
    reply.header('Cache-Control', 'no-store');
    if (status !== 'ready') reply.code(503).header('Retry-After', '1');
    return { status, ...(warnings.length > 0 && { warnings }) };
  });
}

/** A database that accepts the connection and then says nothing is no database. */
async function withinLimit(look: Promise<Readiness>): Promise<Readiness> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<Readiness>((resolve) => {
    timer = setTimeout(() => resolve('database_unreachable'), timeLimit);
  });
  try {
    return await Promise.race([look, limit]);
  } finally {
    clearTimeout(timer);
  }
}
