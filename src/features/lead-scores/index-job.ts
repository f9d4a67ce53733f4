import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, statement, type Transaction, transaction } from '../../platform/db/client.ts';
import { job } from '../../platform/jobs.ts';
import type { Services } from '../../platform/operation.ts';
import { id } from '../../platform/values.ts';
import { lockCustomers } from '../customers/queries.ts';
import { boundsHoldFrom, writeBounds } from './bounds.ts';
import { rulesById, type ScoringRules } from './queries.ts';

const chunk = 500;
const nobody = '00000000-0000-0000-0000-000000000000';

// Any constant does; in ASCII this one reads LEAD.
const publication = statement('publication_lock', sql`select pg_advisory_xact_lock(${param('key')}::bigint)`);

/** Until the end of the transaction nobody else publishes a rule set or declares one indexed. */
export async function lockPublication(tx: Transaction): Promise<void> {
  await tx.all(publication, { key: 0x4c454144 });
}

const isNewest = statement<{ newest: boolean }>(
  'is_newest_rule_set',
  sql`select number = (select max(number) from lead_rule_sets) as newest from lead_rule_sets where id = ${param('id')}::uuid`,
);
const dropOthers = statement<{ gone: number }>(
  'drop_other_bounds',
  sql`with gone as (delete from lead_score_bounds where (customer_id, rule_set_id) in (
      select customer_id, rule_set_id from lead_score_bounds where rule_set_id <> ${param('id')}::uuid limit 10000) returning 1)
    select count(*) as gone from gone`,
);
const leadsAfter = statement<{ id: string }>(
  'leads_after',
  sql`select customer_id as id from leads where customer_id > ${param('after')}::uuid order by customer_id limit ${sql.raw(String(chunk))}`,
);
const leadsWithout = statement<{ id: string }>(
  'leads_without_bound',
  sql`select s.customer_id as id from leads s where s.customer_id > ${param('after')}::uuid
      and not exists (select from lead_score_bounds b where b.customer_id = s.customer_id and b.rule_set_id = ${param('ruleSetId')}::uuid)
    order by s.customer_id limit ${sql.raw(String(chunk))}`,
);
const staleBounds = statement<{ id: string }>(
  'stale_bounds',
  sql`select customer_id as id from lead_score_bounds where customer_id > ${param('after')}::uuid and rule_set_id = ${param('ruleSetId')}::uuid
      and bound_at < ${param('before')}::timestamptz
    order by customer_id limit ${sql.raw(String(chunk))}`,
);
const begun = statement<{ xid: string }>(
  'transactions_begun',
  sql`select pg_snapshot_xmax(pg_current_snapshot())::text as xid`,
);
const ended = statement<{ ended: boolean }>(
  'transactions_ended',
  sql`select pg_snapshot_xmin(pg_current_snapshot()) >= ${param('xid')}::xid8 as ended`,
);
const declare = statement(
  'declare_indexed',
  sql`update lead_rule_sets set indexed_at = ${param('now')}::timestamptz where id = ${param('id')}::uuid and indexed_at is null
    and number = (select max(number) from lead_rule_sets)`,
);

/** Computes the bounds of all leads under a rule set that was published, in chunks of locked customers. */
export const indexLeadScores = job({
  name: 'indexLeadScores',
  payload: z.strictObject({ ruleSetId: id }),
  // One after the other: what is superseded meanwhile would delete bounds of the newer rule set.
  queue: 'indexLeadScores',
  async run(services, { ruleSetId }, { now, signal }) {
    const newest = await services.db.first(isNewest, { id: ruleSetId });
    // The job of a rule set that was published since does the same for that one.
    if (!newest?.newest) return;
    const rules = await rulesById(services.db, ruleSetId);
    for (let gone = 1; gone > 0; ) {
      signal.throwIfAborted();
      gone = (await services.db.first(dropOthers, { id: ruleSetId }))?.gone ?? 0;
    }
    // A write that began before the publication does not know the rule set, and the lead it makes is not seen yet.
    const since = await services.db.first(begun);
    await eachChunk(services, signal, leadsAfter, {}, (ids) => rebound(services, rules, ids, now));
    for (let tries = 0; !(await services.db.first(ended, { xid: since?.xid ?? '0' }))?.ended; tries += 1) {
      if (tries === 600) throw new Error('A transaction from before the publication has not ended.');
      await sleep(100, undefined, { signal });
    }
    await eachChunk(services, signal, leadsWithout, { ruleSetId }, (ids) => rebound(services, rules, ids, now));
    await transaction(services.pool, async (tx) => {
      await lockPublication(tx);
      await tx.all(declare, { id: ruleSetId, now });
    });
  },
});

const newestId = statement<{ id: string }>(
  'newest_rule_set',
  sql`select id from lead_rule_sets where number is not null order by number desc limit 1`,
);

/** Every day: bounds that were not written for a day are written again, as decay has left them too high to be of use. */
export const recomputeLeadScores = job({
  name: 'refreshLeadScores',
  payload: z.strictObject({}),
  recurring: '17 3 * * *',
  async run(services, _payload, { now, signal }) {
    const newest = await services.db.first(newestId);
    if (!newest) return;
    const rules = await rulesById(services.db, newest.id);
    const before = boundsHoldFrom(new Date(Date.parse(now) - 20 * 3_600_000).toISOString());
    await eachChunk(services, signal, staleBounds, { ruleSetId: newest.id, before }, (ids) =>
      rebound(services, rules, ids, now),
    );
  },
});

async function eachChunk(
  { db }: Services,
  signal: AbortSignal,
  next: typeof leadsAfter,
  values: object,
  work: (ids: string[]) => Promise<void>,
): Promise<void> {
  for (let after = nobody; ; ) {
    signal.throwIfAborted();
    const ids = (await db.all(next, { ...values, after })).map((row) => row.id);
    const last = ids.at(-1);
    if (last === undefined) return;
    await work(ids);
    after = last;
  }
}

function rebound({ pool }: Services, rules: ScoringRules, ids: string[], now: string): Promise<void> {
  return transaction(pool, async (tx) => {
    await lockCustomers(tx, ids);
    await writeBounds(tx, rules, ids, now);
  });
}

export const leadScoreJobs = [indexLeadScores, recomputeLeadScores];
