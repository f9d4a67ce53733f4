import { sql } from 'drizzle-orm';
import {
  type Db,
  fields,
  insertRows,
  param,
  type Statement,
  statement,
  type Transaction,
} from '../../platform/db/client.ts';
import { loyaltyOf } from '../loyalty/queries.ts';
import { type ProgrammeRules, rulesAt, rulesOf } from '../loyalty-programmes/queries.ts';
import {
  type Redemption,
  type RedemptionRow,
  type Reward,
  type RewardForCustomer,
  type RewardRow,
  redemptions,
  rewards,
} from './model.ts';
import { isAvailable, leftOf, refusalsOf, type Standing } from './redeemable.ts';

export const rewardColumns = fields(rewards);
export const redemptionColumns = fields(redemptions);

export function toReward(row: RewardRow, now: string, forCustomer: RewardForCustomer | null = null): Reward {
  return {
    id: row.id,
    programmeId: row.programmeId,
    name: row.name,
    description: row.description,
    points: row.points,
    stock: row.stock,
    redeemed: row.redeemed,
    left: leftOf(row),
    limitPerCustomer: row.limitPerCustomer,
    tier: row.tier,
    availableFrom: row.availableFrom,
    availableTo: row.availableTo,
    available: isAvailable(row, now),
    forCustomer,
    version: row.version,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
  };
}

export function toRedemption(row: RedemptionRow): Redemption {
  return {
    id: row.id,
    customerId: row.customerId,
    rewardId: row.rewardId,
    quantity: row.quantity,
    points: row.points,
    status: row.status,
    transactionId: row.transactionId,
    redeemedAt: row.redeemedAt,
    fulfilledAt: row.fulfilledAt,
    cancelledAt: row.cancelledAt,
    reason: row.reason,
    version: row.version,
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
  };
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
  return new Map((await tx.elevated((service) => service.all(lock, { ids }))).map((row) => [row.id, row]));
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
const ofCustomers = statement<RedemptionRow>(
  'redemptions_of_customers',
  sql`select * from (
      select ${redemptionColumns}, row_number() over (
        partition by ${redemptions.customerId} order by ${redemptions.createdAt} desc, ${redemptions.id} desc
      ) as place
      from redemptions where customer_id = any(${param('ids')}::uuid[])
    ) r where place <= ${latest} order by place`,
);

/** The latest redemptions of these customers, newest first. */
export function redemptionsOfCustomers(db: Db, ids: string[]): Promise<RedemptionRow[]> {
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
  tx.elevated((service) => service.defer(redeem, { rows: JSON.stringify([row]) }));
}

const restatus = statement(
  'change_redemption',
  sql`with stock as (
      update rewards set redeemed = redeemed - ${param('given')}::int where id = ${param('rewardId')}::uuid and ${param('given')}::int > 0
    )
    update redemptions set version = ${param('version')}::int, status = ${param('status')}, fulfilled_at = ${param('fulfilledAt')}::timestamptz,
      cancelled_at = ${param('cancelledAt')}::timestamptz, reason = ${param('reason')}, updated_at = ${param('updatedAt')}::timestamptz
    where customer_id = ${param('customerId')}::uuid and id = ${param('id')}::uuid`,
);

/** A redemption in its next status; `given`: pieces that go back into the stock. Travels with COMMIT. */
export function changeRedemption(tx: Transaction, row: RedemptionRow, { given }: { given: number }): void {
  tx.defer(restatus, {
    given,
    rewardId: row.rewardId,
    version: row.version,
    status: row.status,
    fulfilledAt: row.fulfilledAt,
    cancelledAt: row.cancelledAt,
    reason: row.reason,
    updatedAt: row.updatedAt,
    customerId: row.customerId,
    id: row.id,
  });
}
