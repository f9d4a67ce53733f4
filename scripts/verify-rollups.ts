import { Command } from 'commander';
import { sql } from 'drizzle-orm';
import type pg from 'pg';
import { type DatabaseConfig, readDatabaseConfig } from '../src/config.ts';
import { derivedState } from '../src/derived-state.ts';
import { lockCustomers } from '../src/features/customers/queries.ts';
import { compareStored, describeKept } from '../src/features/customers/stored-identities.ts';
import { recomputeRates } from '../src/features/rates/queries.ts';
import type { Difference } from '../src/features/rollups/queries.ts';
import { tablePolicies } from '../src/features.ts';
import { type Db, openPool, param, poolDb, statement, transaction } from '../src/platform/db/client.ts';
import { openDatabase } from '../src/platform/db/open.ts';
import { storeSettings } from '../src/platform/db/settings.ts';
import { createPrincipal } from '../src/platform/principal.ts';
import { keepVerification } from '../src/platform/verification.ts';
import type { RecomputeContext } from '../src/records/derived.ts';

/**
 * Recomputes the derived state from the facts and compares: exit 0 when they agree, 1 with a list when not. `--repair`
 * rebuilds it, customer by customer under their locks, while the service goes on.
 */
const program = new Command()
  .description(`Recompute from the facts, and compare: ${derivedState.map(({ name }) => name).join('; ')}.`)
  .option('--repair', 'rebuild the derived state', false)
  .option(
    '--accept-settings',
    'with --repair: take BASE_CURRENCY and REPORTING_TIME_ZONE as they are now (stop the service first)',
    false,
  )
  .option('--limit <n>', 'differences listed per table', Number, 50)
  .parse();
const options = program.opts<{ repair: boolean; acceptSettings: boolean; limit: number }>();
if (options.acceptSettings && !options.repair) program.error('--accept-settings needs --repair');

/** What a rebuild under new settings stores in place of the time zone until it is done: no process starts on that. */
const unfinished = 'a recomputation that was not finished';

try {
  process.exitCode = await verify(readDatabaseConfig(process.env));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function verify(config: DatabaseConfig): Promise<number> {
  const database = await openDatabase(config, tablePolicies(), (message) => console.error(message), {
    checkSettings: !options.acceptSettings,
  });
  const pool = openPool(database.connection, { size: 2, statementTimeout: 3_600_000 });
  try {
    if (options.repair) await repair(pool, config);
    const found = await differencesIn(poolDb(pool), config);
    const counts = found.map(([name, { length }]) => [name, length] as const);
    await keepVerification(poolDb(pool), { at: new Date().toISOString(), differences: Object.fromEntries(counts) });
    const differences = found.flatMap(([, ofOne]) => ofOne);
    const { kept } = await compareStored(poolDb(pool));
    if (kept.length > 0) console.log(describeKept(kept, kept.length));
    if (differences.length === 0) {
      console.log('The derived state agrees with the records.');
      return 0;
    }
    console.table(differences);
    console.log(
      `${differences.length} differences (at most ${options.limit} per table). Repair: npm run verify-rollups -- --repair`,
    );
    return 1;
  } finally {
    await pool.end();
    await database.stop();
  }
}

function contextOf({ baseCurrency, reportingTimeZone }: DatabaseConfig): RecomputeContext {
  const principal = createPrincipal('verify-rollups', []);
  return { now: new Date().toISOString(), principal, baseCurrency, reportingTimeZone };
}

/** By what was compared. */
async function differencesIn(db: Db, config: DatabaseConfig): Promise<[string, Difference[]][]> {
  const differences: [string, Difference[]][] = [];
  for (const { name, compare } of derivedState) {
    differences.push([name, await compare(db, contextOf(config), options.limit)]);
  }
  return differences;
}

async function repair(pool: pg.Pool, config: DatabaseConfig): Promise<void> {
  if (options.acceptSettings) {
    const cleared = await transaction(pool, async (tx) => {
      const count = await recomputeRates(tx, config.baseCurrency);
      await storeSettings(tx, { ...config, reportingTimeZone: unfinished });
      return count;
    });
    if (cleared > 0) {
      console.log(
        `${cleared} records and all uploaded rates were in another base currency: upload rates in ${config.baseCurrency}.`,
      );
    }
  }
  const done = await rebuild(pool, config);
  for (const { ofNobody } of derivedState) await ofNobody?.(pool);
  if (options.acceptSettings) await transaction(pool, (tx) => storeSettings(tx, config));
  console.log(`Recomputed the derived state of ${done} customers.`);
}

async function rebuild(pool: pg.Pool, config: DatabaseConfig): Promise<number> {
  const nextCustomers = statement<{ id: string }>(
    'next_customers',
    sql`select id from customers where id > ${param('after')}::uuid order by id limit 500`,
  );
  let after = '00000000-0000-0000-0000-000000000000';
  let done = 0;
  for (;;) {
    const ids = (await poolDb(pool).all(nextCustomers, { after })).map(({ id }) => id);
    const last = ids.at(-1);
    if (last === undefined) break;
    await transaction(pool, async (tx) => {
      await lockCustomers(tx, ids);
      const context = contextOf(config);
      for (const { ofCustomers } of derivedState) await ofCustomers?.(tx, context, ids);
    });
    after = last;
    done += ids.length;
    if (process.stderr.isTTY) process.stderr.write(`\r${done} customers`);
  }
  if (process.stderr.isTTY) process.stderr.write('\n');
  return done;
}
