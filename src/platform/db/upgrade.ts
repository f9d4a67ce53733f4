import { sql } from 'drizzle-orm';
import type pg from 'pg';
import { param, poolDb, statement } from './client.ts';
import { deploymentSettings } from './settings.ts';

/**
 * A step that a store of an earlier version needs and that SQL alone cannot do. It runs once, before the service is ready.
 * An interrupted one runs again, so it has to bear repetition.
 */
export interface Upgrade {
  /** Under which the store remembers that it was done. */
  name: string;
  /** @param note told in a sentence what the step changed */
  run(pool: pg.Pool, note: (message: string) => void): Promise<void>;
}

const keyOf = ({ name }: Upgrade) => `UPGRADE ${name}`;

const done = statement<{ key: string }>(
  'upgrades_done',
  sql`select key from ${deploymentSettings} where key like 'UPGRADE %'`,
);
const markDone = statement<never>(
  'upgrade_done',
  sql`insert into ${deploymentSettings} values (${param('key')}, ${param('at')}) on conflict do nothing`,
);

/** Applies the steps that the store has not seen, in order. Replicas that start together take turns. */
export async function upgrade(
  pool: pg.Pool,
  upgrades: readonly Upgrade[],
  note: (message: string) => void,
): Promise<void> {
  const db = poolDb(pool);
  const open = async () => {
    const seen = new Set((await db.all(done)).map(({ key }) => key));
    return upgrades.filter((step) => !seen.has(keyOf(step)));
  };
  if ((await open()).length === 0) return;
  const turn = await pool.connect();
  try {
    await turn.query("select pg_advisory_lock(hashtext('rapport upgrade'))");
    for (const step of await open()) {
      await step.run(pool, note);
      await db.all(markDone, { key: keyOf(step), at: new Date().toISOString() });
    }
  } finally {
    turn.release(true); // its end gives the turn back
  }
}
