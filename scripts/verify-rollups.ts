import { Command } from 'commander';
import { sql } from 'drizzle-orm';
import type pg from 'pg';
import { type DatabaseConfig, readDatabaseConfig } from '../src/config.ts';
import { consentDifferences, recountConsents } from '../src/features/consents/queries.ts';
import { lockCustomers } from '../src/features/customers/queries.ts';
import { refreshBounds, wrongBounds } from '../src/features/lead-scores/bounds.ts';
import { leadDifferences, recountLeads } from '../src/features/leads/comparison.ts';
import { leadsAmong, restateConversions } from '../src/features/leads/conversion.ts';
import { ledgerDifferences, recountLedger } from '../src/features/loyalty/comparison.ts';
import { earningDifferences, repairEarnings } from '../src/features/loyalty/earning-comparison.ts';
import { repairShares, shareDifferences } from '../src/features/partners/sharing.ts';
import { resetRates } from '../src/features/rates/queries.ts';
import { recountRewards, rewardDifferences } from '../src/features/rewards/comparison.ts';
import {
  type Difference,
  recountCustomers,
  recountRefunds,
  rollupDifferences,
} from '../src/features/rollups/queries.ts';
import { answerDifferences, clearAnonymousAnswers, recountAnswers } from '../src/features/survey-responses/queries.ts';
import { tablePolicies } from '../src/features.ts';
import { type Db, openPool, param, poolDb, statement, transaction } from '../src/platform/db/client.ts';
import { openDatabase } from '../src/platform/db/open.ts';
import { storeSettings } from '../src/platform/db/settings.ts';
import { createPrincipal } from '../src/platform/principal.ts';

/**
 * Recounts the derived state from the facts and compares: exit 0 when they agree, 1 with a list when not. `--repair`
 * rebuilds it, customer by customer under their locks, while the service goes on.
 */
const program = new Command()
  .description(
    'Recompute the derived state (customer_stats, customer_month, refunds of orders, stages of leads, bounds of their scores, superseded survey answers, points of members, pieces of rewards, consents in force, shares with partners) from the records, and compare.',
  )
  .option('--repair', 'write the recomputed state', false)
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
    const differences = await differencesIn(poolDb(pool), config);
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

async function differencesIn(
  db: Db,
  { baseCurrency, reportingTimeZone }: Pick<DatabaseConfig, 'baseCurrency' | 'reportingTimeZone'>,
): Promise<Difference[]> {
  const { limit } = options;
  const bounds = await wrongBounds(db, new Date().toISOString(), limit);
  return [
    ...(await rollupDifferences(db, reportingTimeZone, limit)),
    ...(await leadDifferences(db, limit)),
    ...(await answerDifferences(db, limit)),
    ...(await ledgerDifferences(db, limit)),
    ...(await earningDifferences(db, baseCurrency, limit)),
    ...(await rewardDifferences(db, limit)),
    ...(await consentDifferences(db, limit)),
    ...(await shareDifferences(db, limit)),
    // A bound may be above the score, not below.
    ...bounds.map(({ customerId, stored, score }) => ({
      table: 'lead_score_bounds',
      customerId,
      key: customerId,
      stored: stored === null ? null : String(stored),
      counted: `${score} or more`,
    })),
  ];
}

async function repair(pool: pg.Pool, config: DatabaseConfig): Promise<void> {
  if (options.acceptSettings) {
    const cleared = await transaction(pool, async (tx) => {
      const count = await resetRates(tx, config.baseCurrency);
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
  await rebuildRewards(pool);
  await transaction(pool, repairShares);
  if (options.acceptSettings) await transaction(pool, (tx) => storeSettings(tx, config));
  console.log(`Recomputed the derived state of ${done} customers.`);
}

async function rebuild(
  pool: pg.Pool,
  { baseCurrency, reportingTimeZone }: Pick<DatabaseConfig, 'baseCurrency' | 'reportingTimeZone'>,
): Promise<number> {
  const nextCustomers = statement<{ id: string }>(
    'next_customers',
    sql`select id from customers where id > ${param('after')}::uuid order by id limit 500`,
  );
  const principal = createPrincipal('verify-rollups', []);
  await transaction(pool, clearAnonymousAnswers);
  let after = '00000000-0000-0000-0000-000000000000';
  let done = 0;
  for (;;) {
    const ids = (await poolDb(pool).all(nextCustomers, { after })).map(({ id }) => id);
    const last = ids.at(-1);
    if (last === undefined) break;
    await transaction(pool, async (tx) => {
      await lockCustomers(tx, ids);
      await recountRefunds(tx, ids);
      await recountCustomers(tx, ids, reportingTimeZone);
      await recountLeads(tx, ids);
      await recountAnswers(tx, ids);
      await recountLedger(tx, ids);
      await recountConsents(tx, ids);
      const context = { now: new Date().toISOString(), principal, baseCurrency };
      restateConversions(tx, context, await leadsAmong(tx, ids));
      await refreshBounds(tx, context, ids);
      await repairEarnings(tx, context, ids);
    });
    after = last;
    done += ids.length;
    if (process.stderr.isTTY) process.stderr.write(`\r${done} customers`);
  }
  if (process.stderr.isTTY) process.stderr.write('\n');
  return done;
}

async function rebuildRewards(pool: pg.Pool): Promise<void> {
  let after: string | null = '00000000-0000-0000-0000-000000000000';
  while (after !== null) {
    const from: string = after;
    after = await transaction(pool, (tx) => recountRewards(tx, from));
  }
}
