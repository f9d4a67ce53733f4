import { sql } from 'drizzle-orm';
import { type Db, param, type Statement, statement, type Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { type Effect, touchedCustomers } from '../../records/effects.ts';
import { compiled, rulesById, type ScoringRules } from './queries.ts';
import { scoreQuery } from './score-sql.ts';

const hour = 3_600_000;

/**
 * Bounds hold from two hours before they are written. So all there are hold at an instant of the last hour, whichever
 * they are and whenever in that hour they were written: lists that go on at the `asOf` of their first page, and clocks
 * that disagree, need no look at each bound's time.
 */
export function boundsHoldFrom(now: string): string {
  return new Date(Date.parse(now) - 2 * hour).toISOString();
}

/** Whether every bound that is written by `now` holds at `asOf`. */
export function boundsHoldAt(asOf: string, now: string): boolean {
  return Date.parse(asOf) >= Date.parse(now) - hour;
}

const newestRules = sql`(select id from lead_rule_sets where number is not null order by number desc limit 1)`;

const newest = statement<{ id: string; leads: string[] }>(
  'newest_rules_and_leads',
  sql`select r.id, array(select customer_id from leads where customer_id = any(${param('ids')}::uuid[])) as leads
    from ${newestRules} r`,
);

/**
 * Brings the score bounds of these locked customers, as far as they are leads, up to date with their facts, under the
 * rule set published last. One statement when none of them is a lead.
 */
export async function recomputeBounds(
  tx: Transaction,
  context: Pick<Context, 'now'>,
  customerIds: string[],
): Promise<void> {
  if (customerIds.length === 0) return;
  const found = await tx.first(newest, { ids: [...new Set(customerIds)] });
  if (!found || found.leads.length === 0) return;
  await writeBounds(tx, await rulesById(tx, found.id), found.leads, context.now);
}

/** Writes the bounds of these leads, whose customers are locked. */
export async function writeBounds(db: Db, rules: ScoringRules, ids: string[], now: string): Promise<void> {
  await db.all(writing(rules), { ids, boundAt: boundsHoldFrom(now) });
}

function writing(rules: ScoringRules): Statement<unknown> {
  const subject = { customerId: sql`s.customer_id`, asOf: sql`${param('boundAt')}::timestamptz` };
  return compiled(
    rules,
    'bounds',
    () => sql`insert into lead_score_bounds as b (customer_id, rule_set_id, bound, bound_at)
      select s.customer_id, ${rules.id}::uuid, x.score, ${subject.asOf}
      from (select customer_id from leads where customer_id = any(${param('ids')}::uuid[]) order by customer_id) s
        cross join lateral (${scoreQuery(rules.document, subject, 'bound')}) x
      on conflict (customer_id, rule_set_id) do update set bound = excluded.bound, bound_at = excluded.bound_at
        where b.bound <> excluded.bound`,
  );
}

export interface WrongBound {
  customerId: string;
  stored: number | null;
  /** The score now, grid units. */
  score: number;
}

/** Leads whose bound under the newest rule set is missing though it is indexed, or below their score; at most `limit`. */
export async function wrongBounds(db: Db, now: string, limit: number): Promise<WrongBound[]> {
  const found = await db.first(newestIndexed);
  if (!found) return [];
  const rules = await rulesById(db, found.id);
  const subject = { customerId: sql`s.customer_id`, asOf: sql`${param('asOf')}::timestamptz` };
  const query = compiled<WrongBound>(
    rules,
    'wrong bounds',
    () => sql`select s.customer_id as "customerId", b.bound as stored, x.score
      from leads s left join lead_score_bounds b on b.customer_id = s.customer_id and b.rule_set_id = ${rules.id}::uuid
        cross join lateral (${scoreQuery(rules.document, subject)}) x
      where b.bound is null or (b.bound < x.score and b.bound_at <= ${subject.asOf}) order by s.customer_id limit ${param('limit')}::int`,
  );
  return db.all(query, { asOf: now, limit });
}

const newestIndexed = statement<{ id: string }>(
  'newest_indexed_rules',
  sql`select id from (select id, indexed_at from lead_rule_sets where number is not null order by number desc limit 1) r where indexed_at is not null`,
);

/** What follows for the scores of leads when their interactions change. */
export const recomputeScoreBounds: Effect = (tx, context, changes) => async (found) => {
  await recomputeBounds(tx, context, touchedCustomers(changes.filter(({ before }) => before !== null)));
  const [newestId] = found.values();
  if (newestId !== undefined) await writeBounds(tx, await rulesById(tx, newestId), [...found.keys()], context.now);
};
recomputeScoreBounds.asks = (ownerId) =>
  sql`select r.id from ${newestRules} r where exists (select from leads where customer_id = ${ownerId})`;
