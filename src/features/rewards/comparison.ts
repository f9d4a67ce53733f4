import { sql } from 'drizzle-orm';
import { type Db, param, statement, type Transaction } from '../../platform/db/client.ts';
import type { Difference } from '../rollups/queries.ts';
import { lockRewards } from './queries.ts';

const standing = sql`coalesce((select sum(r.quantity) from redemptions r where r.reward_id = rewards.id and r.status <> 'cancelled'), 0)`;

// What a reward belongs to is its programme, not a customer.
const miscounted = statement<Difference>(
  'reward_differences',
  sql`select 'rewards' as table, programme_id as "customerId", id::text as key, redeemed::text as stored, counted::text as counted
    from (select *, ${standing} as counted from rewards) rewards where redeemed <> counted order by id limit ${param('limit')}::int`,
);

// The points of a redemption are those of its transaction, and they came back exactly when it was cancelled.
const unpaid = statement<Difference>(
  'redemption_differences',
  sql`select 'redemptions' as table, customer_id as "customerId", id::text as key,
      (case when status = 'cancelled' then 0 else points end)::text as stored, paid::text as counted
    from (
      select r.*, (select coalesce(-sum(t.points), 0) from loyalty_transactions t
        where t.customer_id = r.customer_id and t.kind in ('redeem', 'return') and (t.id = r.transaction_id or t.related_id = r.transaction_id)
          and t.redemption_id = r.id) as paid
      from redemptions r
    ) redemptions where paid <> case when status = 'cancelled' then 0 else points end order by id limit ${param('limit')}::int`,
);

/**
 * Where the pieces counted with a reward, or the points of a redemption in the ledger, disagree with the redemptions; at
 * most `limit` of each. Not consistent with writes that go on.
 */
export async function rewardDifferences(db: Db, limit: number): Promise<Difference[]> {
  return [...(await db.all(miscounted, { limit })), ...(await db.all(unpaid, { limit }))];
}

const nextRewards = statement<{ id: string }>(
  'next_rewards',
  sql`select id from rewards where id > ${param('after')}::uuid order by id limit 100`,
);
const recompute = statement(
  'recompute_rewards',
  sql`update rewards set redeemed = ${standing} where id = any(${param('ids')}::uuid[])`,
);

/** Counts the pieces of the next rewards after an id anew, under their locks; answers the last of them, null: none. */
export async function recomputeRewards(tx: Transaction, after: string): Promise<string | null> {
  const ids = (await tx.all(nextRewards, { after })).map(({ id }) => id);
  if (ids.length === 0) return null;
  await lockRewards(tx, ids);
  await tx.all(recompute, { ids });
  return ids.at(-1) ?? null;
}
