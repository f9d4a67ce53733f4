import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import type { Test } from 'tap';
import { openPool } from '../../src/platform/db/client.ts';
import { type Upgrade, upgrade } from '../../src/platform/db/upgrade.ts';
import { migrationsFolder } from './server.ts';

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

/** The migrations up to one of them, as a version of the past had them. */
export function migrationsUpTo(t: Test, last: string): string {
  const folder = t.testdir();
  cpSync(migrationsFolder, folder, { recursive: true });
  const path = join(folder, 'meta', '_journal.json');
  const journal = JSON.parse(readFileSync(path, 'utf8'));
  const end = journal.entries.findIndex(({ tag }: { tag: string }) => tag.startsWith(last));
  writeFileSync(path, JSON.stringify({ ...journal, entries: journal.entries.slice(0, end + 1) }));
  return folder;
}
