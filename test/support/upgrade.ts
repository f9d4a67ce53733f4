import type pg from 'pg';
import { openPool } from '../../src/platform/db/client.ts';
import { type Upgrade, upgrade } from '../../src/platform/db/upgrade.ts';

/** What a process does with a store of an earlier version before it is ready. */
export async function upgradeAs(
  connection: pg.ClientConfig,
  upgrades: readonly Upgrade[],
  note: (message: string) => void = () => undefined,
): Promise<void> {
  const pool = openPool(connection, { size: 3, statementTimeout: 30_000 });
  try {
    await upgrade(pool, upgrades, note);
  } finally {
    await pool.end();
  }
}
