import { sql } from 'drizzle-orm';
import type pg from 'pg';
import { derivedState, pointsOfMembers } from './derived-state.ts';
import { lockOwners } from './features/customers/queries.ts';
import { normalFormUpgrade } from './features/customers/stored-identities.ts';
import { recomputeAllEarnings } from './features/loyalty/earning-comparison.ts';
import { appliedRefunds } from './features/orders/record.ts';
import { type Db, param, poolDb, statement, transaction } from './platform/db/client.ts';
import type { Settings } from './platform/db/settings.ts';
import type { Upgrade } from './platform/db/upgrade.ts';
import { createPrincipal } from './platform/principal.ts';

const customersWithRefunds = statement<{ id: string }>(
  'customers_with_refunds',
  sql`select distinct customer_id as id from ${appliedRefunds} r where customer_id > ${param('after')}::uuid and order_id is not null order by 1 limit 500`,
);
const refundedRevenue = statement<{ currency: string; orders: number; revenue: string }>(
  'refunded_revenue',
  sql`select currency, count(*) as orders, sum(revenue) as revenue from orders where refunds > 0 group by 1 order by 1`,
);

/**
 * Until now a refund was taken from an order as a whole; now without the tax in it (domain/refund-tax.ts). Points that follow from
 * it are left to the upgrade of points, which replays all members and tells all that changes.
 */
function refundsWithTax(settings: Settings): Upgrade {
  return {
    name: 'refunds with tax',
    async run(pool, note) {
      const db = poolDb(pool);
      const before = await db.all(refundedRevenue);
      const count = await recomputeCustomersWithRefunds(pool, db, settings);
      const after = new Map((await db.all(refundedRevenue)).map((row) => [row.currency, row]));
      for (const { currency, orders, revenue } of before) {
        note(
          `refunds are counted without their tax now: the revenue of ${orders} refunded orders in ${currency} was ${revenue} and is ${after.get(currency)?.revenue} (minor units)`,
        );
      }
      if (count > 0) note(`the statistics of ${count} customers were recomputed`);
    },
  };
}

async function recomputeCustomersWithRefunds(pool: pg.Pool, db: Db, settings: Settings): Promise<number> {
  const principal = createPrincipal('upgrade', []);
  let after = '00000000-0000-0000-0000-000000000000';
  for (let count = 0; ; ) {
    const ids = (await db.all(customersWithRefunds, { after })).map(({ id }) => id);
    const last = ids.at(-1);
    if (last === undefined) return count;
    await transaction(pool, async (tx) => {
      await lockOwners(tx, ids);
      const context = { now: new Date().toISOString(), principal, ...settings };
      for (const state of derivedState) {
        // A later step does points, and tells what it changed.
        if (state !== pointsOfMembers) await state.ofCustomers?.(tx, context, ids);
      }
    });
    after = last;
    count += ids.length;
  }
}

const nextMembers = statement<{ id: string }>(
  'members_to_replay',
  sql`select customer_id as id from loyalty_accounts where customer_id > ${param('after')}::uuid order by 1 limit 500`,
);
const pointsAndTiers = statement<{ customerId: string; entitled: number; tier: string | null }>(
  'points_and_tiers',
  sql`select a.customer_id as "customerId", a.tier, coalesce((
      select sum(e.entitled) from loyalty_earnings e where e.customer_id = a.customer_id), 0)::bigint as entitled
    from loyalty_accounts a where a.customer_id = any(${param('ids')}::uuid[])`,
);

/**
 * Until now points followed the revenue of an order and not its goods, and points and tiers depended on what had come first.
 * What was spent, expired or taken back stays: members get the difference as lots, or it is taken back by the refund policy.
 */
function pointsThatFollowGoods(settings: Settings): Upgrade {
  return {
    name: 'points that follow the goods',
    async run(pool, note) {
      const db = poolDb(pool);
      const principal = createPrincipal('upgrade', []);
      const told = { members: 0, more: 0, less: 0, tiers: 0 };
      for (let after = '00000000-0000-0000-0000-000000000000'; ; ) {
        const ids = (await db.all(nextMembers, { after })).map(({ id }) => id);
        const last = ids.at(-1);
        if (last === undefined) break;
        await transaction(pool, async (tx) => {
          await lockOwners(tx, ids);
          const before = new Map((await tx.all(pointsAndTiers, { ids })).map((row) => [row.customerId, row]));
          await recomputeAllEarnings(tx, { now: new Date().toISOString(), principal, ...settings }, ids);
          for (const { customerId, entitled, tier } of await tx.all(pointsAndTiers, { ids })) {
            const was = before.get(customerId);
            const difference = entitled - (was?.entitled ?? 0);
            if (difference > 0) told.more += difference;
            else told.less -= difference;
            if (was?.tier !== tier) told.tiers += 1;
            if (difference !== 0 || was?.tier !== tier) told.members += 1;
          }
        });
        after = last;
      }
      if (told.members === 0) return;
      note(
        `points follow the goods and the tier at the time of the order now, whatever came first: orders of ${told.members} members are entitled to ${told.more} points more and ${told.less} less, and ${told.tiers} of them have another tier; what was spent stays`,
      );
    },
  };
}

/** In order; a new one is added at the end. */
export const upgradesFor = (settings: Settings): readonly Upgrade[] => [
  refundsWithTax(settings),
  normalFormUpgrade,
  pointsThatFollowGoods(settings),
];
