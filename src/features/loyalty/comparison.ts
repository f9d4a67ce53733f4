import { sql } from 'drizzle-orm';
import { type Db, param, statement, type Transaction } from '../../platform/db/client.ts';
import type { Difference } from '../rollups/queries.ts';

/**
 * What lots and accounts are by the postings and the tier changes, summed anew and set against what is stored: for
 * verify-rollups and tests. Written without regard to how ledger.ts goes about it.
 */
const lotsByEntries = sql`(
    select l.customer_id, l.id, coalesce(sum(e.points), 0)::bigint as remaining
    from loyalty_lots l left join loyalty_entries e on e.customer_id = l.customer_id and e.lot_id = l.id
    group by 1, 2)`;

/** Every account as its ledger has it at `settled_at`. `next_at`: when it changes next by itself. */
const accountsByLedger = sql`(
    select a.customer_id, coalesce(held.active, 0)::bigint - coalesce(owed.debt, 0)::bigint as active,
      coalesce(held.pending, 0)::bigint as pending, coalesce(owed.debt, 0)::bigint as debt,
      last.tier, since.at as tier_since, last.ends_at as tier_ends_at, coalesce(last.reason = 'grace', false) as tier_in_grace,
      last.reached as tier_by_hand,
      least(held.next_at, owed.next_at, case when last.ends_at > a.settled_at then last.ends_at end) as next_at
    from loyalty_accounts a
    left join lateral (
      select sum(b.then) filter (where l.active_at <= a.settled_at and coalesce(l.expires_at > a.settled_at, true)) as active,
        sum(b.then) filter (where l.earned_at <= a.settled_at and l.active_at > a.settled_at) as pending,
        least(min(l.earned_at) filter (where l.earned_at > a.settled_at),
          min(l.active_at) filter (where b.left > 0 and l.active_at > a.settled_at),
          min(l.expires_at) filter (where b.left > 0 and l.expires_at > a.settled_at)) as next_at
      from loyalty_lots l
      left join lateral (
        select coalesce(sum(e.points), 0) as left, coalesce(sum(e.points) filter (where e.at <= a.settled_at), 0) as then
        from loyalty_entries e where e.customer_id = l.customer_id and e.lot_id = l.id) b on true
      where l.customer_id = a.customer_id) held on true
    left join lateral (
      select -sum(e.points) filter (where e.at <= a.settled_at) as debt, min(e.at) filter (where e.at > a.settled_at) as next_at
      from loyalty_entries e where e.customer_id = a.customer_id and e.lot_id is null) owed on true
    left join lateral (
      select * from loyalty_tier_changes c where c.customer_id = a.customer_id order by c.sequence desc limit 1) last on true
    left join lateral (
      select c.at from loyalty_tier_changes c where c.customer_id = a.customer_id and c.tier is distinct from c.previous
      order by c.sequence desc limit 1) since on true)`;

const members = ['active', 'pending', 'debt', 'tier', 'tier_since', 'tier_ends_at', 'tier_in_grace', 'tier_by_hand'];
const row = (of: string) => sql.raw(`(${members.map((name) => `${of}.${name}`).join(', ')})`);
const all = [...members, 'next_at'];
const told = (of: string) =>
  sql.raw(`json_build_object(${all.map((name) => `'${name}', ${of}.${name}`).join(', ')})::text`);

/** An account that is looked at again too early is right all the same. */
const differs = sql`(${row('a')} is distinct from ${row('h')} or coalesce(a.next_at, 'infinity') > coalesce(h.next_at, 'infinity'))`;

const compareLots = statement<Difference>(
  'compare_loyalty_lots',
  sql`select 'loyalty_lots' as table, l.customer_id as "customerId", l.id::text as key, l.remaining::text as stored, h.remaining::text as counted
    from loyalty_lots l join ${lotsByEntries} h on h.customer_id = l.customer_id and h.id = l.id
    where l.remaining <> h.remaining or l.remaining < 0 order by 2, 3 limit ${param('limit')}::int`,
);

const compareTransactions = statement<Difference>(
  'compare_loyalty_transactions',
  sql`select 'loyalty_transactions' as table, t.customer_id as "customerId", t.id::text as key, t.points::text as stored,
      coalesce(sum(e.points), 0)::text as counted
    from loyalty_transactions t left join loyalty_entries e on e.customer_id = t.customer_id and e.transaction_id = t.id
    group by t.customer_id, t.id having t.points <> coalesce(sum(e.points), 0) order by 2, 3 limit ${param('limit')}::int`,
);

const compareAccounts = statement<Difference>(
  'compare_loyalty_accounts',
  sql`select 'loyalty_accounts' as table, a.customer_id as "customerId", a.customer_id::text as key, ${told('a')} as stored, ${told('h')} as counted
    from loyalty_accounts a join ${accountsByLedger} h on h.customer_id = a.customer_id
    where ${differs} order by 2 limit ${param('limit')}::int`,
);

/**
 * Lots and accounts that are not what their postings say, and transactions whose points are not the sum of theirs; at
 * most `limit` of each. The last ones are no derived state: a ledger that does not add up has to be looked into.
 */
export async function ledgerDifferences(db: Db, limit: number): Promise<Difference[]> {
  return [
    ...(await db.all(compareLots, { limit })),
    ...(await db.all(compareTransactions, { limit })),
    ...(await db.all(compareAccounts, { limit })),
  ];
}

const recomputeLots = statement(
  'recompute_loyalty_lots',
  sql`update loyalty_lots l set remaining = h.remaining from (
      select l.customer_id, l.id, coalesce(sum(e.points), 0)::bigint as remaining
      from loyalty_lots l left join loyalty_entries e on e.customer_id = l.customer_id and e.lot_id = l.id
      where l.customer_id = any(${param('ids')}::uuid[]) group by 1, 2) h
    where l.customer_id = h.customer_id and l.id = h.id and l.remaining <> h.remaining`,
);

const recomputeAccounts = statement(
  'recompute_loyalty_accounts',
  sql`update loyalty_accounts a set ${sql.raw(all.map((name) => `${name} = h.${name}`).join(', '))}
    from ${accountsByLedger} h where h.customer_id = a.customer_id and a.customer_id = any(${param('ids')}::uuid[]) and ${differs}`,
);

/** Sets lots and accounts to what their postings and tier changes say. The customers are locked. */
export async function recomputeLedger(tx: Transaction, ids: string[]): Promise<void> {
  await tx.all(recomputeLots, { ids });
  await tx.all(recomputeAccounts, { ids });
}
