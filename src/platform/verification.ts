import { z } from 'zod';
import type { Db } from './db/client.ts';
import { overwriteSettings, storedSettings } from './db/settings.ts';

/** What the last comparison of derived state with the facts found. */
export interface Verification {
  at: string;
  /** By what was compared, also where nothing differs. */
  differences: Record<string, number>;
}

const stored = z.object({ at: z.string(), differences: z.record(z.string(), z.number()) });
const key = 'LAST VERIFICATION';

export async function keepVerification(db: Db, verification: Verification): Promise<void> {
  await overwriteSettings(db, { [key]: JSON.stringify(verification) });
}

/** null: there was none yet. */
export async function lastVerification(db: Db): Promise<Verification | null> {
  const text = (await storedSettings(db)).get(key);
  return text === undefined ? null : stored.parse(JSON.parse(text));
}
