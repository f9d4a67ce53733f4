import { sql } from 'drizzle-orm';
import {
  type Db,
  fields,
  insertRows,
  param,
  rowsOf,
  type Statement,
  statement,
  type Transaction,
} from '../../platform/db/client.ts';
import { answered, answeredMembers, updateRows } from '../../records/table.ts';
import { loyaltyOf } from '../loyalty/queries.ts';
import { type ProgrammeRules, rulesAt, rulesOf } from '../loyalty-programmes/queries.ts';
import {
  type Redemption,
  type RedemptionRow,
  type Reward,
  type RewardForCustomer,
  type RewardRow,
  redemptions,
  rewardFields,
  rewards,
} from './record.ts';
import { isAvailable, leftOf, refusalsOf, type Standing } from './redeemable.ts';

export const rewardColumns = fields(rewards);
export const redemptionColumns = fields(redemptions);

export function withAvailability(row: RewardRow, now: string, forCustomer: RewardForCustomer | null = null): Reward {
  return { ...answeredMembers(rewardFields, row), left: leftOf(row), available: isAvailable(row, now), forCustomer };
}

const byIds = statement<RewardRow>(
  'rewards_by_ids',
  sql`select ${rewardColumns} from rewards where id = any(${param('ids')}::uuid[])`,
);

/** Rewards by id; absent ones are absent. */
export async function rewardsByIds(db: Db, ids: string[]): Promise<Map<string, RewardRow>> {
  return new Map((await db.all(byIds, { ids })).map((row) => [row.id, row]));
}

const lock = statement<RewardRow>(
  'lock_rewards',
  sql`select ${rewardColumns} from rewards where id = any(${param('ids')}::uuid[]) order by id for no key update`,
);

/** Locks rewards in id order, after the customers: the lock under which stock changes. As they are under the lock. */
export async function lockRewards(tx: Transaction, ids: string[]): Promise<Map<string, RewardRow>> {
  return new Map((await tx.asService((service) => service.all(lock, { ids }))).map((row) => [row.id, row]));
}

const taken = statement<{ rewardId: string; quantity: number }>(
  'redeemed_by_customer',
  sql`select reward_id as "rewardId", sum(quantity) as quantity from redemptions
    where customer_id = ${param('customerId')}::uuid and status <> 'cancelled' group by 1`,
);

/** Pieces that a customer has, by reward: what counts against the limits. */
export async function redeemedBy(db: Db, customerId: string): Promise<Map<string, number>> {
  const rows = await db.all(taken, { customerId });
  return new Map(rows.map(({ rewardId, quantity }) => [rewardId, quantity]));
}

/** Keys of the levels in force, ascending. */
export function levelsAt(programme: ProgrammeRules | undefined, now: string): string[] {
  const tiers = programme && rulesAt(programme, now)?.tiers;
  return tiers?.levels.map(({ key }) => key) ?? [];
}

/** What rewards are to a customer now. The statements do not wait for the rewards. */
export async function rewardsForCustomer(
  db: Db,
  customerId: string,
  now: string,
): Promise<(reward: RewardRow) => RewardForCustomer> {
  const [member, redeemed] = await Promise.all([loyaltyOf(db, customerId, { asOf: now }), redeemedBy(db, customerId)]);
  const programmes = member ? await rulesOf(db, [member.programmeId]) : new Map<string, ProgrammeRules>();
  const levels = member ? levelsAt(programmes.get(member.programmeId), now) : [];
  return (reward) => {
    const has = redeemed.get(reward.id) ?? 0;
    const standing: Standing | null = member && { ...member, levels, redeemed: has };
    const refusals = refusalsOf(reward, standing, { quantity: 1, now });
    return {
      customerId,
      redeemed: has,
      redeemable: refusals.length === 0,
      refusals: refusals.map(({ code, message }) => ({ code, message })),
    };
  };
}

export const insertRewards = statement('insert_rewards', insertRows(rewards, param('rows')));

function redemptionsWhere(name: string, condition: ReturnType<typeof sql>): Statement<RedemptionRow> {
  return statement(name, sql`select ${redemptionColumns} from redemptions where ${condition}`);
}

const redemptionOf = redemptionsWhere('redemption_by_id', sql`id = ${param('id')}::uuid`);

export function redemptionById(db: Db, id: string): Promise<RedemptionRow | null> {
  return db.first(redemptionOf, { id });
}

/** Redemptions that come with a customer, at most; the rest is on the pages of the list. */
const latest = sql.raw('100');

// By row_number(): the distributed engine refuses a lateral top-N.
const ofCustomers = statement<Redemption>(
  'redemptions_of_customers',
  sql`select ${answered(redemptions)} from (
      select *, row_number() over (partition by customer_id order by created_at desc, id desc) as place
      from redemptions where customer_id = any(${param('ids')}::uuid[])
    ) redemptions where place <= ${latest} order by place`,
);

/** The latest redemptions of these customers, newest first. */
export function redemptionsOfCustomers(db: Db, ids: string[]): Promise<Redemption[]> {
  return db.all(ofCustomers, { ids });
}

const redeem = statement(
  'redeem',
  sql`with stock as (
      update rewards r set redeemed = r.redeemed + n."quantity"
        from json_to_recordset(${param('rows')}::json) as n("rewardId" uuid, "quantity" integer) where r.id = n."rewardId"
    )
    ${insertRows(redemptions, param('rows'))}`,
);

/**
 * A new redemption of a customer whom the caller was seen to reach, and its pieces out of the stock, which is everybody's;
 * both are locked. Travels with COMMIT.
 */
export function insertRedemption(tx: Transaction, row: RedemptionRow): void {
  tx.asService((service) => service.pipeline(redeem, { rows: JSON.stringify([row]) }));
}

const restatus = statement(
  'change_redemption',
  sql`with stock as (
      update rewards r set redeemed = r.redeemed - ${param('given')}::int
      from ${rowsOf(redemptions, param('rows'), 'n')} where r.id = n."rewardId" and ${param('given')}::int > 0
    )
    ${updateRows(redemptions, param('rows'))}`,
);

/** A redemption in its next status; `given`: pieces that go back into the stock. Travels with COMMIT. */
export function changeRedemption(tx: Transaction, row: RedemptionRow, { given }: { given: number }): void {
  tx.pipeline(restatus, { given, rows: JSON.stringify([row]) });
}
