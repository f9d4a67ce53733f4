import { minorUnits } from '../../domain/currencies.ts';
import { earns, type LotDates, pointsOfOrder } from '../../domain/loyalty-earning.ts';
import { isBefore } from '../../domain/period.ts';
import type { Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import type { ProgrammeRules } from '../loyalty-programmes/queries.ts';
import {
  earningKey,
  earningsOfMembers,
  earningsOfOrders,
  factsOfOrders,
  type MemberFacts,
  type MemberQuestion,
  memberFacts,
  membersReferredBy,
  type OrderFacts,
  ordersOfMembers,
} from './earning-queries.ts';
import { earningDates, earningRules } from './earning-rules.ts';
import {
  type EarningRow,
  noteEarning,
  type OpenAccount,
  openAccounts,
  type PointsSource,
  raiseTier,
  readLots,
  recompute,
  type SourceHistory,
  saveAccounts,
  sourceHistories,
  sourceKey,
} from './ledger.ts';
import { enqueueReferrals } from './referrals.ts';

/*
 * An order of a member is entitled to points while it earns (domain/loyalty-earning.ts): by the version of the rules in
 * force when it was placed, and with the tier held then. `loyalty_earnings` remembers what it is entitled to, so that
 * only a change moves points, and the tier, so that what is learned later about the past does not. Whoever writes orders
 * asks `membersAmong` before the write and calls `recomputeEarnings` after it, under the locks of the customers.
 */

/** An order that is being written, for the customer whose points it may change: the old one and the new one if it moves. */
export interface TouchedOrder {
  customerId: string;
  orderId: string;
  /** Never seen before: it has not earned yet. */
  isNew: boolean;
  /** As it will be; null: gone from this customer. Left out: it is read back after the write. */
  facts?: OrderFacts | null;
}

export interface Members {
  accounts: ReadonlyMap<string, OpenAccount>;
  touched: readonly TouchedOrder[];
}

/**
 * The members among the customers of these orders, with their accounts brought up to the present by what was known before
 * the write. One statement, which can be sent together with the write if it is sent before it.
 */
export async function membersAmong(
  tx: Transaction,
  context: Pick<Context, 'now'>,
  touched: readonly TouchedOrder[],
): Promise<Members> {
  const ids = touched.map(({ customerId }) => customerId);
  // New orders only add points; whatever else is changed may take some back, out of lots.
  const lots = touched.some(({ isNew }) => !isNew);
  return { accounts: await openAccounts(tx, context, ids, { lots, earnings: true }), touched };
}

type EarningContext = Pick<Context, 'now' | 'baseCurrency' | 'principal'>;

/**
 * Recomputes what the orders of members are entitled to, after they were written: points, milestone bonuses, tiers; and
 * enqueues what a referral has to do with it. Nobody is a member: no statement. The last one travels with COMMIT.
 */
export async function recomputeEarnings(
  tx: Transaction,
  context: EarningContext,
  { accounts, touched }: Members,
): Promise<void> {
  if (accounts.size === 0) return;
  const own = touched.filter(({ customerId }) => accounts.has(customerId));
  const unread = own.filter(({ facts }) => facts === undefined);
  const [read, known] = await Promise.all([
    factsOfOrders(tx, unread),
    earningsOfOrders(
      tx,
      own.filter(({ isNew }) => !isNew),
    ),
  ]);
  const changes = own.map(({ customerId, orderId, facts = read.get(orderId) ?? null }) => ({
    customerId,
    orderId,
    facts,
    before: known.get(earningKey({ customerId, orderId })) ?? null,
  }));
  await recomputeOrders(tx, context, accounts, changes);
  saveAccounts(tx, accounts.values());
}

/**
 * The same for all orders that these members have placed since they joined, whatever is known about them: for enrolment,
 * where they earn with the first tier, and for repairs. The caller saves the accounts, which are new or were opened with
 * their lots and `earnings`.
 */
export async function recomputeAllOrders(
  tx: Transaction,
  context: EarningContext,
  accounts: ReadonlyMap<string, OpenAccount>,
): Promise<void> {
  if (accounts.size === 0) return;
  const joining = [...accounts.values()].filter(({ draft }) => draft.isNew);
  for (const account of joining) raiseTier(account);
  const [orders, known, referred] = await Promise.all([
    ordersOfMembers(
      tx,
      [...accounts.values()].map(({ row }) => row),
    ),
    earningsOfMembers(tx, [...accounts.keys()]),
    membersReferredBy(
      tx,
      joining.map(({ customerId }) => customerId),
    ),
  ]);
  enqueueReferrals(tx, referred);
  const earnings = new Map(known.map((row) => [earningKey(row), row]));
  const changes = orders.map((facts): Change => {
    const key = { customerId: facts.customerId, orderId: facts.id };
    const before = earnings.get(earningKey(key)) ?? null;
    earnings.delete(earningKey(key));
    return { ...key, facts, before };
  });
  for (const before of earnings.values()) changes.push({ ...before, facts: null, before });
  await recomputeOrders(tx, context, accounts, changes);
}

interface Change {
  customerId: string;
  orderId: string;
  facts: OrderFacts | null;
  before: EarningRow | null;
}

async function recomputeOrders(
  tx: Transaction,
  context: EarningContext,
  accounts: ReadonlyMap<string, OpenAccount>,
  changes: readonly Change[],
): Promise<void> {
  const questions = [...accounts.values()].flatMap((account) => questionAbout(account, changes));
  const earlier = changes.flatMap(({ customerId, orderId, before }) => {
    const account = accounts.get(customerId);
    return account && before ? [{ account, source: { orderId } }] : [];
  });
  const [facts, histories] = await Promise.all([memberFacts(tx, questions), sourceHistories(tx, earlier)]);
  const exponent = minorUnits(context.baseCurrency);
  const by = context.principal.client;
  for (const change of changes) {
    const account = accounts.get(change.customerId);
    if (!account) continue;
    const { before, after, dates } = earningOf(account, change, facts.get(change.customerId), exponent);
    if (after === null) continue;
    const source = { orderId: change.orderId };
    recompute(account, source, {
      before: before?.entitled ?? 0,
      after: after.entitled,
      history: histories.get(sourceKey(account.customerId, source)) ?? noHistory,
      dates,
      by,
    });
    noteEarning(account, before, after);
  }
  await recomputeMilestones(tx, accounts, facts, by);
  for (const account of accounts.values()) raiseTier(account);
  const due = [...facts.values()].filter((of) => referralIsDue(accounts.get(of.customerId), of));
  enqueueReferrals(tx, due);
}

const noHistory: SourceHistory = { net: 0, expired: 0 };

/** What has to be known of a member beside the account, if anything. */
function questionAbout({ row, programme, draft }: OpenAccount, changes: readonly Change[]): MemberQuestion[] {
  const counts = milestoneCounts(programme);
  const referral = programme.versions.some(({ rules }) => rules.bonuses.referral);
  const purchases = Math.max(0, ...counts, referral ? 1 : 0);
  const { customerId, programmeId, joinedAt } = row;
  const since = draft.tierChanges.length > 0 ? null : row.tierSince;
  const tiers =
    row.tier !== null &&
    changes.some(
      (change) =>
        change.customerId === customerId &&
        change.before === null &&
        change.facts &&
        (since === null || isBefore(change.facts.placedAt, since)),
    );
  if (purchases === 0 && !tiers) return [];
  return [{ customerId, programmeId, joinedAt, purchases, tiers, referral }];
}

/** The state after a change, null if it is what it was; `dates` of a lot that it earns. */
function earningOf(
  account: OpenAccount,
  { customerId, orderId, facts, before }: Change,
  member: MemberFacts | undefined,
  exponent: number,
): { before: EarningRow | null; after: EarningRow | null; dates: LotDates } {
  const placedAt = facts?.placedAt ?? before?.placedAt ?? account.now;
  const rules = earningRules(account.programme, placedAt);
  const counts = facts !== null && rules !== null && !isBefore(placedAt, account.row.joinedAt) && earns(rules, facts);
  const tier = before ? before.tier : tierAt(account, member, placedAt);
  const after = {
    customerId,
    orderId,
    placedAt,
    entitled: counts ? pointsOfOrder(rules, facts, tier, exponent) : 0,
    spend: counts ? Math.max(0, facts.baseRevenue ?? 0) : 0,
    tier,
  };
  const same = before
    ? before.entitled === after.entitled && before.spend === after.spend && before.placedAt === after.placedAt
    : after.entitled === 0 && after.spend === 0;
  return { before, after: same ? null : after, dates: earningDates(rules, placedAt) };
}

/** The tier held at `t`; before there was one: the first. */
function tierAt({ row, draft }: OpenAccount, member: MemberFacts | undefined, t: string): string | null {
  if (row.tierSince === null || !isBefore(t, row.tierSince)) return row.tier;
  const changes = [...(member?.tierChanges ?? []), ...draft.tierChanges];
  return (changes.findLast(({ at }) => !isBefore(t, at)) ?? changes[0])?.tier ?? row.tier;
}

/** Which purchases bring a bonus, by any version of the rules. */
function milestoneCounts({ versions }: ProgrammeRules): number[] {
  return [...new Set(versions.flatMap(({ rules }) => rules.bonuses.purchase?.count ?? []))];
}

/** The bonus for the n-th purchase: recomputed like an order, by the rules in force when that one was placed. */
async function recomputeMilestones(
  tx: Transaction,
  accounts: ReadonlyMap<string, OpenAccount>,
  facts: ReadonlyMap<string, MemberFacts>,
  by: string,
): Promise<void> {
  const due = [...accounts.values()].flatMap((account) => {
    const member = facts.get(account.customerId);
    if (!member) return [];
    return milestoneCounts(account.programme).flatMap((count) => {
      const source: PointsSource = { bonusKey: `purchase:${count}` };
      const at = member.purchases[count - 1];
      const rules = at === undefined ? null : earningRules(account.programme, at);
      const bonus = rules?.bonuses.purchase;
      const before = member.milestones.get(source.bonusKey) ?? 0;
      const after = bonus?.count === count ? bonus.points : 0;
      if (before === after) return [];
      const dates = earningDates(rules, at ?? account.now);
      return [{ account, source, before, after, dates, isFirst: !member.milestones.has(source.bonusKey) }];
    });
  });
  const histories = await sourceHistories(
    tx,
    due.filter(({ isFirst }) => !isFirst),
  );
  for (const { account, source, ...change } of due) {
    const history = histories.get(sourceKey(account.customerId, source)) ?? noHistory;
    // A version of other rules is in force where the purchase is now: the lots were not expected to be needed.
    if (change.after < change.before) await readLots(tx, account);
    recompute(account, source, { ...change, history, by });
  }
}

/** Whether the bonus of who referred this member is not what it should be. */
function referralIsDue(account: OpenAccount | undefined, { referrer, purchases }: MemberFacts): boolean {
  if (!account) return false;
  const earned = referrer !== null && purchases.length > 0;
  return earned !== account.row.referralRewarded;
}
