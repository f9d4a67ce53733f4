import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, statement, transaction } from './db/client.ts';
import { tendFeed } from './feed.ts';
import { forgetAnswers } from './idempotency.ts';
import { type AnyJob, job } from './jobs.ts';

const hour = 3_600_000;

/** Answers under idempotency keys are kept for 48 hours; every hour those that are older go. */
export const forgetOldAnswers = job({
  name: 'forgetOldAnswers',
  payload: z.strictObject({}),
  recurring: '7 * * * *',
  run: async (services, _payload, { now }) => {
    await forgetAnswers(services.db, new Date(Date.parse(now) - 48 * hour).toISOString());
  },
});

/** Events of changes are kept for `RAPPORT_EVENTS_KEPT_DAYS`, in a partition per week. */
export const tendEvents = job({
  name: 'tendEvents',
  payload: z.strictObject({}),
  recurring: '17 * * * *',
  run: ({ db, feed }, _payload, { now }) => tendFeed(db, { now, keptDays: feed.keptDays }),
});

const grownTables = statement<{ name: string }>(
  'grown_tables',
  sql`select s.relid::regclass::text as name from pg_stat_user_tables s join pg_class c on c.oid = s.relid
    where s.schemaname = 'public' and s.n_mod_since_analyze >= ${param('rows')}::bigint
      and s.n_mod_since_analyze >= greatest(c.reltuples, 0) / 5 order by 1`,
);

/** The role of the service owns no table; the account it logs in with does, or else PostgreSQL passes over the table. */
const asOwner = statement<never>('as_owner', sql`set local role none`, { unprepared: true });

/** Below so many changed rows no plan is slow for want of statistics. */
const many = 10_000;

/**
 * After a large load the planner knows nothing of what was loaded: tables that have grown by a fifth are analysed within
 * a minute. Autovacuum does the same where it is on and keeps up.
 */
export const analyseGrownTables = job({
  name: 'analyseGrownTables',
  payload: z.strictObject({}),
  recurring: '* * * * *',
  async run({ db, pool }, _payload, { log }) {
    for (const { name } of await db.all(grownTables, { rows: many })) {
      await transaction(pool, async (tx) => {
        await tx.all(asOwner);
        await tx.all(statement<never>('analyse', sql.raw(`analyze ${name}`), { unprepared: true }));
      });
      log.info({ table: name }, 'the statistics of a table that has grown were renewed');
    }
  },
});

export const housekeepingJobs: readonly AnyJob[] = [forgetOldAnswers, tendEvents, analyseGrownTables];
