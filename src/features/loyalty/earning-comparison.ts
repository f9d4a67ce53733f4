import { sql } from 'drizzle-orm';
import { minorUnits } from '../../domain/currencies.ts';
import { earns, pointsOfOrder } from '../../domain/loyalty-earning.ts';
import { isBefore } from '../../domain/period.ts';
import { type Db, param, statement, type Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { type ProgrammeRules, rulesOf } from '../loyalty-programmes/queries.ts';
import type { Difference } from '../rollups/queries.ts';
import { recomputeAllOrders } from './earning.ts';
import { earningKey, earningsOfMembers, memberFacts, type OrderFacts, ordersOfMembers } from './earning-queries.ts';
import { earningRules } from './earning-rules.ts';
import { openAccounts, saveAccounts } from './ledger.ts';

interface Member {
  customerId: string;
  programmeId: string;
  joinedAt: string;
}

const nextMembers = statement<Member>(
  'next_loyalty_members',
  sql`select customer_id as "customerId", programme_id as "programmeId", joined_at as "joinedAt" from loyalty_accounts
    where customer_id > ${param('after')}::uuid order by customer_id limit ${param('limit')}::int`,
);

const step = 500;

/**
 * Where what orders and milestones are entitled to disagrees with the orders, the rules and the tier that was frozen; at
 * most `limit` differences. Not consistent with writes that go on.
 */
export async function earningDifferences(db: Db, baseCurrency: string, limit: number): Promise<Difference[]> {
  const differences: Difference[] = [];
  let after = '00000000-0000-0000-0000-000000000000';
  while (differences.length < limit) {
    const members = await db.all(nextMembers, { after, limit: step });
    const last = members.at(-1);
    if (!last) break;
    after = last.customerId;
    const programmes = await rulesOf(
      db,
      members.map(({ programmeId }) => programmeId),
    );
    differences.push(
      ...(await orderDifferences(db, members, programmes, minorUnits(baseCurrency))),
      ...(await milestoneDifferences(db, members, programmes)),
    );
  }
  return differences.slice(0, limit);
}

async function orderDifferences(
  db: Db,
  members: Member[],
  programmes: ReadonlyMap<string, ProgrammeRules>,
  exponent: number,
): Promise<Difference[]> {
  const byId = new Map(members.map((member) => [member.customerId, member]));
  const facts = await ordersOfMembers(db, members);
  const orders = new Map(
    facts.map((order) => [earningKey({ customerId: order.customerId, orderId: order.id }), order]),
  );
  const rows = await earningsOfMembers(db, [...byId.keys()]);
  const stored = new Map(rows.map((row) => [earningKey(row), row]));
  return [...new Set([...orders.keys(), ...stored.keys()])].flatMap((key): Difference[] => {
    const [customerId = '', orderId = ''] = key.split(' ');
    const row = stored.get(key);
    const counted = entitlement(byId.get(customerId), programmes, orders.get(key), row?.tier ?? null, exponent);
    const was = { entitled: row?.entitled ?? 0, spend: row?.spend ?? 0 };
    if (was.entitled === counted.entitled && was.spend === counted.spend) return [];
    return [
      {
        table: 'loyalty_earnings',
        customerId,
        key: orderId,
        stored: row ? JSON.stringify(was) : null,
        counted: JSON.stringify(counted),
      },
    ];
  });
}

function entitlement(
  member: Member | undefined,
  programmes: ReadonlyMap<string, ProgrammeRules>,
  order: OrderFacts | undefined,
  tier: string | null,
  exponent: number,
): { entitled: number; spend: number } {
  const programme = member && programmes.get(member.programmeId);
  const rules = programme && order ? earningRules(programme, order.placedAt) : null;
  if (!member || !order || !rules || isBefore(order.placedAt, member.joinedAt) || !earns(rules, order)) {
    return { entitled: 0, spend: 0 };
  }
  return { entitled: pointsOfOrder(rules, order, tier, exponent), spend: Math.max(0, order.baseRevenue ?? 0) };
}

async function milestoneDifferences(
  db: Db,
  members: Member[],
  programmes: ReadonlyMap<string, ProgrammeRules>,
): Promise<Difference[]> {
  const counts = new Map(
    [...programmes].map(([id, { versions }]) => [
      id,
      new Set(versions.flatMap(({ rules }) => rules.bonuses.purchase?.count ?? [])),
    ]),
  );
  const questions = members.map((member) => ({
    ...member,
    purchases: Math.max(0, ...(counts.get(member.programmeId) ?? [])),
    tiers: false,
    referral: false,
  }));
  const facts = await memberFacts(db, questions);
  return members.flatMap(({ customerId, programmeId }) => {
    const { purchases, milestones } = facts.get(customerId) ?? { purchases: [], milestones: new Map<string, number>() };
    const programme = programmes.get(programmeId);
    return [...(counts.get(programmeId) ?? [])].flatMap((count): Difference[] => {
      const key = `purchase:${count}`;
      const at = purchases[count - 1];
      const bonus = programme && at !== undefined ? earningRules(programme, at)?.bonuses.purchase : null;
      const counted = bonus?.count === count ? bonus.points : 0;
      const stored = milestones.get(key) ?? 0;
      if (stored === counted) return [];
      return [{ table: 'loyalty_transactions', customerId, key, stored: String(stored), counted: String(counted) }];
    });
  });
}

/** Recomputes what all orders of these customers, who are locked, are entitled to. */
export async function recomputeAllEarnings(
  tx: Transaction,
  context: Pick<Context, 'now' | 'baseCurrency' | 'principal'>,
  customerIds: string[],
): Promise<void> {
  const accounts = await openAccounts(tx, context, customerIds, { lots: true, earnings: true });
  await recomputeAllOrders(tx, context, accounts);
  saveAccounts(tx, accounts.values());
}
