import { sql } from 'drizzle-orm';
import { pgTable, text } from 'drizzle-orm/pg-core';
import { type Db, param, statement } from './client.ts';

/** What the stored state was built with: under other values it would be wrong without anybody noticing. */
export const deploymentSettings = pgTable('deployment_settings', {
  key: text('key').primaryKey(),
  value: text('value').notNull(),
});

export interface Settings {
  baseCurrency: string;
  reportingTimeZone: string;
}

/** The database was built for other settings than those of the environment. */
export class SettingsError extends Error {
  override name = 'SettingsError';
}

const variables = [
  ['BASE_CURRENCY', 'baseCurrency'],
  ['REPORTING_TIME_ZONE', 'reportingTimeZone'],
] as const;

const insertMissing = statement<never>(
  'settings_insert',
  sql`insert into ${deploymentSettings} select * from jsonb_each_text(${param('settings')}::jsonb) on conflict do nothing`,
);

const readAll = statement<{ key: string; value: string }>(
  'settings_read',
  sql`select key, value from ${deploymentSettings}`,
);

const overwrite = statement<never>(
  'settings_overwrite',
  sql`insert into ${deploymentSettings} select * from jsonb_each_text(${param('settings')}::jsonb)
      on conflict (key) do update set value = excluded.value`,
);

/**
 * Keeps the settings at the first start; of replicas that make it together, one decides for all.
 *
 * @throws SettingsError when the database was built with others
 */
export async function assertSettings(db: Db, settings: Settings): Promise<void> {
  let stored = await storedSettings(db);
  if (variables.some(([name]) => !stored.has(name))) {
    await keepSettings(db, byVariable(settings));
    stored = await storedSettings(db);
  }
  const changed = variables.filter(([name, field]) => stored.get(name) !== settings[field]);
  if (changed.length === 0) return;
  const differences = changed.map(
    ([name, field]) => `${name} is ${settings[field]}, but the data was built with ${stored.get(name)}.`,
  );
  throw new SettingsError(
    `${differences.join(' ')} Set it back, or stop the service and recompute the derived state under the new setting: ` +
      'npm run verify-rollups -- --repair --accept-settings',
  );
}

/** Accepts new settings, once the derived state is rebuilt under them. */
export async function storeSettings(db: Db, settings: Settings): Promise<void> {
  await overwriteSettings(db, byVariable(settings));
}

export async function storedSettings(db: Db): Promise<Map<string, string>> {
  return new Map((await db.all(readAll)).map(({ key, value }) => [key, value]));
}

/** Stores those that are not there yet. */
export async function keepSettings(db: Db, settings: Record<string, string>): Promise<void> {
  await db.all(insertMissing, { settings });
}

export async function overwriteSettings(db: Db, settings: Record<string, string>): Promise<void> {
  await db.all(overwrite, { settings });
}

function byVariable(settings: Settings): Record<string, string> {
  return Object.fromEntries(variables.map(([name, field]) => [name, settings[field]]));
}
