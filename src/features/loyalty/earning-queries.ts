import { type SQL, sql } from 'drizzle-orm';
import type { EarningOrder } from '../../domain/loyalty-earning.ts';
import { type Db, fields, param, statement, type Transaction } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import { type EarningRow, sourceKey } from './ledger.ts';
import { loyaltyEarnings } from './record.ts';

/** What of an order decides about points. */
export interface OrderFacts extends EarningOrder {
  customerId: string;
  id: string;
  qualifying: boolean;
  paymentStatus: string;
  fulfillmentStatus: string;
}

/** The columns of `OrderFacts`, of `orders` as `o`. */
export const orderFacts = sql`o.customer_id as "customerId", o.id, o.placed_at as "placedAt", o.base_revenue as "baseRevenue", o.qualifying,
  o.payment_status as "paymentStatus", o.fulfillment_status as "fulfillmentStatus", o.campaign_id as "campaignId",
  coalesce((select json_agg(json_build_object('category', i.category, 'total', i.total) order by i.line) from order_items i
    where i.customer_id = o.customer_id and i.order_id = o.id), '[]'::json) as items`;

const byIds = statement<OrderFacts>(
  'loyalty_orders',
  sql`select ${orderFacts} from json_to_recordset(${param('orders')}::json) as n("customerId" uuid, "orderId" uuid)
    join orders o on o.customer_id = n."customerId" and o.id = n."orderId"`,
);

/** Those of these orders that there are, by id. */
export async function factsOfOrders(
  tx: Transaction,
  orders: { customerId: string; orderId: string }[],
): Promise<Map<string, OrderFacts>> {
  if (orders.length === 0) return new Map();
  const rows = await tx.all(byIds, { orders: JSON.stringify(orders) });
  return new Map(rows.map((row) => [row.id, row]));
}

const ofMembers = statement<OrderFacts>(
  'loyalty_orders_of_members',
  sql`select ${orderFacts} from json_to_recordset(${param('members')}::json) as n("customerId" uuid, "joinedAt" timestamptz)
    join orders o on o.customer_id = n."customerId"
    where o.placed_at >= n."joinedAt" or exists (
      select from loyalty_earnings e where e.customer_id = o.customer_id and e.order_id = o.id)
    order by o.placed_at, o.id`,
);

/** All orders of members that count or counted, in the order in which they were placed. */
export function ordersOfMembers(db: Db, members: { customerId: string; joinedAt: string }[]): Promise<OrderFacts[]> {
  return db.all(ofMembers, {
    members: JSON.stringify(members.map(({ customerId, joinedAt }) => ({ customerId, joinedAt }))),
  });
}

const earnings = statement<EarningRow>(
  'loyalty_earnings_of_orders',
  sql`select ${fields(loyaltyEarnings)} from json_to_recordset(${param('orders')}::json) as n("customerId" uuid, "orderId" uuid)
    join loyalty_earnings on ${loyaltyEarnings.customerId} = n."customerId" and ${loyaltyEarnings.orderId} = n."orderId"`,
);

export function earningKey({ customerId, orderId }: { customerId: string; orderId: string }): string {
  return `${customerId} ${orderId}`;
}

/** What these orders were entitled to so far, by `earningKey`. */
export async function earningsOfOrders(
  db: Db,
  orders: { customerId: string; orderId: string }[],
): Promise<Map<string, EarningRow>> {
  if (orders.length === 0) return new Map();
  const rows = await db.all(earnings, {
    orders: JSON.stringify(orders.map(({ customerId, orderId }) => ({ customerId, orderId }))),
  });
  return new Map(rows.map((row) => [earningKey(row), row]));
}

const allEarnings = statement<EarningRow>(
  'loyalty_earnings_of_members',
  sql`select ${fields(loyaltyEarnings)} from loyalty_earnings where customer_id = any(${param('ids')}::uuid[])`,
);

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
  /** Whether the changes of the tier are wanted, and who referred the member. */
  tiers: boolean;
  referral: boolean;
}

export interface MemberFacts {
  customerId: string;
  /** `placedAt` of the first qualifying orders since joining, by (placedAt, id). */
  purchases: string[];
  /** What is the bonus of each milestone is entitled to, by its key. */
  milestones: ReadonlyMap<string, number>;
  tierChanges: { at: string; tier: string }[];
  /** The customer who referred the member, if a member of the same programme. */
  referrer: string | null;
}

interface MemberRow {
  customerId: string;
  purchases: string[] | null;
  milestones: [string, number][] | null;
  tierChanges: [string, string][] | null;
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
      case when n."tiers" then (
        select json_agg(json_build_array(c.at::text, c.tier) order by c.sequence) from loyalty_tier_changes c
        where c.customer_id = n."customerId") end as "tierChanges",
      case when n."referral" then (
        select r.customer_id from customers c join loyalty_accounts r on r.customer_id = c.referred_by and r.programme_id = n."programmeId"
        where c.id = n."customerId") end as referrer
    from json_to_recordset(${param('questions')}::json)
      as n("customerId" uuid, "programmeId" uuid, "joinedAt" timestamptz, "purchases" int, "tiers" boolean, "referral" boolean)`,
);

/** The answers by customer; one statement, and none without questions. The orders are read as they are now. */
export async function memberFacts(db: Db, questions: MemberQuestion[]): Promise<Map<string, MemberFacts>> {
  if (questions.length === 0) return new Map();
  const rows = await db.all(facts, { questions: JSON.stringify(questions) });
  return new Map(
    rows.map(({ customerId, purchases, milestones, tierChanges, referrer }) => [
      customerId,
      {
        customerId,
        purchases: (purchases ?? []).map(canonicalInstant),
        milestones: new Map(milestones),
        tierChanges: (tierChanges ?? []).map(([at, tier]) => ({ at: canonicalInstant(at), tier })),
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
