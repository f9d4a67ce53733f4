import { sql } from 'drizzle-orm';
import { minorUnits } from '../../domain/currencies.ts';
import type { TierChange } from '../../domain/loyalty-tiers.ts';
import { type Db, param, statement, type Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { type ProgrammeRules, rulesOf } from '../loyalty-programmes/queries.ts';
import type { Difference } from '../rollups/queries.ts';
import type { AccountRow, EarningRow } from './account.ts';
import { recomputeAllOrders, settingsIn } from './earning.ts';
import { byCustomer, earningsOfMembers, memberFacts, ordersOfMembers, replayFacts } from './earning-queries.ts';
import { earningRules } from './earning-rules.ts';
import { openAccounts } from './open-accounts.ts';
import { isRestated, replayMember } from './replay.ts';
import { saveAccounts } from './save-accounts.ts';

type Member = Pick<AccountRow, 'customerId' | 'programmeId' | 'joinedAt' | 'createdAt' | 'settledAt'>;

const nextMembers = statement<Member>(
  'next_loyalty_members',
  sql`select customer_id as "customerId", programme_id as "programmeId", joined_at as "joinedAt", created_at as "createdAt",
      settled_at as "settledAt" from loyalty_accounts
    where customer_id > ${param('after')}::uuid order by customer_id limit ${param('limit')}::int`,
);

const step = 500;

/**
 * Where what orders and milestones are entitled to, and the tiers, disagree with a replay of the orders; at most `limit`
 * differences. Not consistent with writes that go on.
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
      ...(await replayDifferences(db, members, programmes, minorUnits(baseCurrency))),
      ...(await milestoneDifferences(db, members, programmes)),
    );
  }
  return differences.slice(0, limit);
}

async function replayDifferences(
  db: Db,
  members: Member[],
  programmes: ReadonlyMap<string, ProgrammeRules>,
  exponent: number,
): Promise<Difference[]> {
  const ids = members.map(({ customerId }) => customerId);
  const orders = byCustomer(await ordersOfMembers(db, members));
  const earnings = byCustomer(await earningsOfMembers(db, ids));
  const facts = await replayFacts(
    db,
    ids.map((customerId) => ({ customerId, lots: false })),
  );
  return members.flatMap((row): Difference[] => {
    const { customerId } = row;
    const programme = programmes.get(row.programmeId);
    const known = facts.get(customerId);
    if (!programme || !known) return [];
    const history = {
      orders: orders.get(customerId) ?? [],
      earnings: earnings.get(customerId) ?? [],
      returns: known.returns,
      settings: settingsIn(known.tierChanges),
    };
    const replayed = replayMember({ row, programme }, history, row.settledAt, exponent);
    const wrong = replayed.orders.filter(isRestated).map(
      ({ orderId, before, after }): Difference => ({
        table: 'loyalty_earnings',
        customerId,
        key: orderId,
        stored: before && told(before),
        counted: told(after),
      }),
    );
    const [stored, counted] = [known.tierChanges, replayed.changes].map(toldTiers);
    if (stored === counted || stored === undefined || counted === undefined) return wrong;
    return [...wrong, { table: 'loyalty_tier_changes', customerId, key: customerId, stored, counted }];
  });
}

const told = ({ entitled, spend, tierPoints, tier }: EarningRow) =>
  JSON.stringify({ entitled, spend, tierPoints, tier });

const toldTiers = (changes: readonly TierChange[]) =>
  JSON.stringify(changes.map(({ at, tier, reason, amount, endsAt }) => ({ at, tier, reason, amount, endsAt })));

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
  context: Pick<Context, 'now' | 'baseCurrency' | 'reportingTimeZone' | 'principal'>,
  customerIds: string[],
): Promise<void> {
  const accounts = await openAccounts(tx, context, customerIds, { lots: true });
  await recomputeAllOrders(tx, context, accounts);
  saveAccounts(tx, accounts.values());
}
