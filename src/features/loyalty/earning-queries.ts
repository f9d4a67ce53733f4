import { type SQL, sql } from 'drizzle-orm';
import type { RatedOrder } from '../../domain/loyalty-earning.ts';
import type { GoodsReturn } from '../../domain/loyalty-goods.ts';
import { type Db, fields, param, statement } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import { goodsItem, itemsOfOrder, refundsOfOrder } from '../orders/queries.ts';
import { type EarningRow, type LotTuple, lotTuple } from './account.ts';
import { loyaltyEarnings, loyaltyTierChanges } from './record.ts';
import { sourceKey } from './source-histories.ts';

/** What of an order decides about points. */
export interface OrderFacts extends RatedOrder {
  customerId: string;
  id: string;
  source: string;
  externalId: string;
  currency: string;
  cancelled: boolean;
}

/** The columns of `OrderFacts`, of `orders` as `o`. */
export const orderFacts = sql`o.customer_id as "customerId", o.id, o.source, o.external_id as "externalId", o.placed_at as "placedAt", o.currency,
  o.total, o.tax, o.tax_included as "taxIncluded", o.shipping, o.fees, o.base_factor::text as "baseFactor", o.qualifying,
  o.cancelled_at is not null as cancelled, o.test,
  o.payment_status as "paymentStatus", o.fulfillment_status as "fulfillmentStatus", o.campaign_id as "campaignId",
  ${itemsOfOrder(sql`o.customer_id`, sql`o.id`)} as items, ${refundsOfOrder(sql`o.customer_id`, sql`o.id`)} as refunds`;

const ofMembers = statement<OrderFacts>(
  'loyalty_orders_of_members',
  sql`select ${orderFacts} from json_to_recordset(${param('members')}::json) as n("customerId" uuid, "joinedAt" timestamptz)
    join orders o on o.customer_id = n."customerId"
    where o.placed_at >= n."joinedAt"
      or exists (select from loyalty_earnings e where e.customer_id = o.customer_id and e.order_id = o.id)
      or exists (select from returns r where r.customer_id = o.customer_id)
    order by o.placed_at, o.source collate "C", o.external_id collate "C", o.id`,
);

/** All orders of members that count or counted, or from which returns may take, as they are replayed. */
export function ordersOfMembers(db: Db, members: { customerId: string; joinedAt: string }[]): Promise<OrderFacts[]> {
  return db.all(ofMembers, {
    members: JSON.stringify(members.map(({ customerId, joinedAt }) => ({ customerId, joinedAt }))),
  });
}

type TierRow = typeof loyaltyTierChanges.$inferSelect;

/** What is replayed of a member beside the orders. */
export interface ReplayFacts {
  customerId: string;
  /** In the order in which they count. */
  returns: GoodsReturn[];
  tierChanges: TierRow[];
  /** Those that have points left, if they were asked for. */
  lots: LotTuple[] | null;
}

interface ReplayRow {
  customerId: string;
  returns: GoodsReturn[] | null;
  tierChanges: TierRow[] | null;
  lots: LotTuple[] | null;
}

const replayed = statement<ReplayRow>(
  'loyalty_replay_facts',
  sql`select n."customerId",
      (select json_agg(json_build_object('returnedAt', r.returned_at::text, 'currency', r.currency, 'total', r.total, 'items', coalesce(
          (select json_agg(${goodsItem(sql`'line', i.order_line`)} order by i.line) from return_items i
            where i.customer_id = r.customer_id and i.return_id = r.id), '[]'::json))
          order by r.returned_at, r.source collate "C", r.external_id collate "C", r.id)
        from returns r where r.customer_id = n."customerId") as returns,
      (select json_agg(c order by c."sequence") from (
          select ${fields(loyaltyTierChanges)} from loyalty_tier_changes where customer_id = n."customerId") c) as "tierChanges",
      case when n."lots" then (
        select json_agg(${lotTuple(sql`l.remaining`)}) from loyalty_lots l
        where l.customer_id = n."customerId" and l.remaining > 0) end as lots
    from json_to_recordset(${param('members')}::json) as n("customerId" uuid, "lots" boolean)`,
);

/** One statement. */
export async function replayFacts(
  db: Db,
  members: { customerId: string; lots: boolean }[],
): Promise<Map<string, ReplayFacts>> {
  const rows = await db.all(replayed, { members: JSON.stringify(members) });
  return new Map(
    rows.map(({ customerId, returns, tierChanges, lots }) => [
      customerId,
      {
        customerId,
        lots,
        returns: (returns ?? []).map((row) => ({ ...row, returnedAt: canonicalInstant(row.returnedAt) })),
        tierChanges: (tierChanges ?? []).map((row) => ({
          ...row,
          at: canonicalInstant(row.at),
          endsAt: row.endsAt === null ? null : canonicalInstant(row.endsAt),
          createdAt: canonicalInstant(row.createdAt),
        })),
      },
    ]),
  );
}

export function earningKey({ customerId, orderId }: { customerId: string; orderId: string }): string {
  return `${customerId} ${orderId}`;
}

const allEarnings = statement<EarningRow>(
  'loyalty_earnings_of_members',
  sql`select ${fields(loyaltyEarnings)} from loyalty_earnings where customer_id = any(${param('ids')}::uuid[])`,
);

/** What orders of these members are entitled to so far. */
export function earningsOfMembers(db: Db, ids: string[]): Promise<EarningRow[]> {
  return db.all(allEarnings, { ids });
}

/** What is asked about a member beside the account. */
export interface MemberQuestion {
  customerId: string;
  programmeId: string;
  joinedAt: string;
  /** How many of the first purchases are wanted. */
  purchases: number;
  /** Whether it is wanted who referred the member. */
  referral: boolean;
}

export interface MemberFacts {
  customerId: string;
  /** `placedAt` of the first qualifying orders since joining, by (placedAt, id). */
  purchases: string[];
  /** What is the bonus of each milestone is entitled to, by its key. */
  milestones: ReadonlyMap<string, number>;
  /** The customer who referred the member, if a member of the same programme. */
  referrer: string | null;
}

interface MemberRow {
  customerId: string;
  purchases: string[] | null;
  milestones: [string, number][] | null;
  referrer: string | null;
}

/** `placed_at` of the first qualifying orders since joining. */
function firstPurchases(customerId: SQL, joinedAt: SQL, limit: SQL): SQL {
  return sql`(select json_agg(f.placed_at::text order by f.placed_at, f.id) from (
    select o.placed_at, o.id from orders o where o.customer_id = ${customerId} and o.qualifying and o.placed_at >= ${joinedAt}
    order by o.placed_at, o.id limit ${limit}) f)`;
}

const facts = statement<MemberRow>(
  'loyalty_member_facts',
  sql`select n."customerId",
      case when n."purchases" > 0 then ${firstPurchases(sql`n."customerId"`, sql`n."joinedAt"`, sql`n."purchases"`)} end as purchases,
      case when n."purchases" > 0 then (
        select json_agg(json_build_array(k.bonus_key, k.entitled)) from (
          select distinct on (t.bonus_key) t.bonus_key, t.entitled from loyalty_transactions t
          where t.customer_id = n."customerId" and t.bonus_key >= 'purchase:' and t.bonus_key < 'purchase;' and t.kind in ('bonus', 'reverse')
          order by t.bonus_key, t.created_at desc, t.id desc) k) end as milestones,
      case when n."referral" then (
        select r.customer_id from customers c join loyalty_accounts r on r.customer_id = c.referred_by and r.programme_id = n."programmeId"
        where c.id = n."customerId") end as referrer
    from json_to_recordset(${param('questions')}::json)
      as n("customerId" uuid, "programmeId" uuid, "joinedAt" timestamptz, "purchases" int, "referral" boolean)`,
);

/** The answers by customer; one statement, and none without questions. The orders are read as they are now. */
export async function memberFacts(db: Db, questions: MemberQuestion[]): Promise<Map<string, MemberFacts>> {
  if (questions.length === 0) return new Map();
  const rows = await db.all(facts, { questions: JSON.stringify(questions) });
  return new Map(
    rows.map(({ customerId, purchases, milestones, referrer }) => [
      customerId,
      {
        customerId,
        purchases: (purchases ?? []).map(canonicalInstant),
        milestones: new Map(milestones),
        referrer,
      },
    ]),
  );
}

const entitlements = statement<{ customerId: string; bonusKey: string; entitled: number }>(
  'loyalty_bonus_entitlements',
  sql`select distinct on (t.customer_id, t.bonus_key) t.customer_id as "customerId", t.bonus_key as "bonusKey", t.entitled
    from json_to_recordset(${param('bonuses')}::json) as n("customerId" uuid, "bonusKey" text)
    join loyalty_transactions t on t.customer_id = n."customerId" and t.bonus_key = n."bonusKey" and t.kind in ('bonus', 'reverse')
    order by t.customer_id, t.bonus_key, t.created_at desc, t.id desc`,
);

/** What bonuses are entitled to, by `sourceKey`; one that never was is not there. */
export async function bonusEntitlements(
  db: Db,
  bonuses: { customerId: string; bonusKey: string }[],
): Promise<Map<string, number>> {
  if (bonuses.length === 0) return new Map();
  const rows = await db.all(entitlements, { bonuses: JSON.stringify(bonuses) });
  return new Map(rows.map((row) => [sourceKey(row.customerId, row), row.entitled]));
}

const referred = statement<{ customerId: string }>(
  'loyalty_members_referred_by',
  sql`select a.customer_id as "customerId" from customers c join loyalty_accounts a on a.customer_id = c.id
    where c.referred_by = any(${param('ids')}::uuid[])`,
);

/** The members, of any programme, whom these customers referred. */
export async function membersReferredBy(db: Db, ids: string[]): Promise<{ customerId: string }[]> {
  return ids.length === 0 ? [] : db.all(referred, { ids });
}

export function byCustomer<Row extends { customerId: string }>(rows: readonly Row[]): Map<string, Row[]> {
  const found = new Map<string, Row[]>();
  for (const row of rows) {
    const own = found.get(row.customerId);
    if (own) own.push(row);
    else found.set(row.customerId, [row]);
  }
  return found;
}
