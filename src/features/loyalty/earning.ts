import { minorUnits } from '../../domain/currencies.ts';
import { OrderGoods } from '../../domain/loyalty-goods.ts';
import { replay, type TierSetting } from '../../domain/loyalty-tiers.ts';
import { isBefore } from '../../domain/period.ts';
import type { Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { type ProgrammeRules, rulesAt } from '../loyalty-programmes/queries.ts';
import { type OpenAccount, readOpenLot, type TierChangeRow } from './account.ts';
import {
  byCustomer,
  earningsOfMembers,
  type MemberFacts,
  type MemberQuestion,
  memberFacts,
  membersReferredBy,
  type OrderFacts,
  ordersOfMembers,
  type ReplayFacts,
  replayFacts,
} from './earning-queries.ts';
import { earningDates, earningRules } from './earning-rules.ts';
import { considerNext, type PointsSource, recompute, recomputeBalance, type SourceHistory } from './ledger.ts';
import { noteTier, openAccounts, readLots, setTier } from './open-accounts.ts';
import { enqueueReferrals } from './referrals.ts';
import {
  AddedContributions,
  isRestated,
  type MemberReplay,
  type OrderInReplay,
  orderInReplay,
  replayMember,
} from './replay.ts';
import { saveAccounts } from './save-accounts.ts';
import { sourceHistories, sourceKey } from './source-histories.ts';

/*
 * An order of a member is entitled to points while it earns (domain/loyalty-earning.ts): by the version of the rules in
 * force when it was placed, and with the tier held then. Orders are replayed as they were placed, so neither depends on what
 * came first. An order that is later than all that is known is added to it; anything else replays all of the member's
 * orders. `loyalty_earnings` remembers what each is entitled to, so that only a change moves points. Whoever writes orders
 * or returns asks `membersAmong` before the write and calls `recomputeEarnings` after it, under the locks of the customers.
 */

/** A write that may change the points of a customer. */
export interface Touched {
  customerId: string;
  /** A new order, and nothing else. Left out: anything. */
  added?: OrderFacts;
}

export interface Members {
  accounts: ReadonlyMap<string, OpenAccount>;
  touched: readonly Touched[];
}

/**
 * The members among these customers, with their accounts brought up to the present by what was known before the write.
 * One statement, which can be sent together with the write if it is sent before it.
 */
export async function membersAmong(
  tx: Transaction,
  context: Pick<Context, 'now'>,
  touched: readonly Touched[],
): Promise<Members> {
  const ids = touched.map(({ customerId }) => customerId);
  // New orders mostly add points; whatever else is changed may take some back, out of lots.
  const lots = touched.some(({ added }) => added === undefined);
  const windows = new Map<string, string[]>();
  for (const { customerId, added } of touched) {
    if (added) windows.set(customerId, [...(windows.get(customerId) ?? []), added.placedAt]);
  }
  return { accounts: await openAccounts(tx, context, ids, { lots, windows }), touched };
}

type EarningContext = Pick<Context, 'now' | 'baseCurrency' | 'reportingTimeZone' | 'principal'>;

/**
 * Recomputes what the orders of members are entitled to, after the write: points, milestone bonuses, tiers; and enqueues
 * what a referral has to do with it. Nobody is a member: no statement. The last one travels with COMMIT.
 */
export async function recomputeEarnings(
  tx: Transaction,
  context: EarningContext,
  { accounts, touched }: Members,
): Promise<void> {
  if (accounts.size === 0) return;
  const exponent = minorUnits(context.baseCurrency);
  const changes = new Map<string, OrderInReplay[]>();
  const others = new Map<string, OpenAccount>();
  for (const [customerId, account] of accounts) {
    const own = touched.filter((one) => one.customerId === customerId);
    const added = own.flatMap((one) => one.added ?? []);
    const isLater = added.length === own.length && areLater(account, added);
    if (isLater) changes.set(customerId, addOrders(account, added, exponent));
    else others.set(customerId, account);
  }
  for (const [customerId, replayed] of await replayAll(tx, context, others)) changes.set(customerId, replayed);
  await applyChanges(tx, context, accounts, changes);
  saveAccounts(tx, accounts.values());
}

/** Whether these new orders come after everything that is known, so that nothing before them changes. */
function areLater({ row, now, draft }: OpenAccount, added: readonly OrderFacts[]): boolean {
  const { replayedTo } = row;
  if (replayedTo === null || row.tierByHand !== null) return false;
  return added.every(
    ({ placedAt }) =>
      isBefore(replayedTo, placedAt) &&
      !isBefore(now, placedAt) &&
      draft.tierChanges.every(({ at }) => isBefore(at, placedAt)),
  );
}

/** The replay goes on with new orders. */
function addOrders(account: OpenAccount, added: readonly OrderFacts[], exponent: number): OrderInReplay[] {
  const { row, programme, now } = account;
  const orders = [...added]
    .sort(inReplayOrder)
    .map((facts) => orderInReplay({ row, programme }, facts, new OrderGoods(facts), null, exponent));
  const last = orders.at(-1);
  if (!last) return [];
  const tierRulesAt = (t: string) => rulesAt(programme, t)?.tiers ?? null;
  const counted = new AddedContributions(account.windows);
  const { state, changes } = replay(row, now, { orders, settings: [] }, counted, tierRulesAt);
  noteTier(account, state, changes);
  if (changes.length > 0) account.draft.changed = true;
  if (account.lots) recomputeBalance(account);
  else if (row.tierEndsAt !== null) considerNext(row, row.tierEndsAt);
  // What does not count now may count later, and then all is replayed.
  if (orders.some(isRestated)) row.replayedTo = last.placedAt;
  return orders;
}

/** By (placedAt, source, externalId), as PostgreSQL orders texts byte by byte. */
function inReplayOrder(a: OrderFacts, b: OrderFacts): number {
  if (a.placedAt !== b.placedAt) return isBefore(a.placedAt, b.placedAt) ? -1 : 1;
  return (
    Buffer.compare(Buffer.from(a.source), Buffer.from(b.source)) ||
    Buffer.compare(Buffer.from(a.externalId), Buffer.from(b.externalId))
  );
}

/**
 * The same for all orders of these members, whatever is known about them: for enrolment, for tiers that are set by hand,
 * and for repairs. The caller saves the accounts, which are new or were opened.
 * @param setting a tier that is set by hand now
 */
export async function recomputeAllOrders(
  tx: Transaction,
  context: EarningContext,
  accounts: ReadonlyMap<string, OpenAccount>,
  setting?: Pick<TierChangeRow, 'at' | 'tier' | 'endsAt' | 'note' | 'by'>,
): Promise<void> {
  if (accounts.size === 0) return;
  const joining = [...accounts.values()].filter(({ draft }) => draft.isNew);
  const [changes, referred] = await Promise.all([
    replayAll(tx, context, accounts, setting),
    membersReferredBy(
      tx,
      joining.map(({ customerId }) => customerId),
    ),
  ]);
  enqueueReferrals(tx, referred);
  await applyChanges(tx, context, accounts, changes);
}

/** What orders of these members are entitled to, by customer; their tiers are in the accounts. */
async function replayAll(
  tx: Transaction,
  { baseCurrency }: EarningContext,
  accounts: ReadonlyMap<string, OpenAccount>,
  setting?: Pick<TierChangeRow, 'at' | 'tier' | 'endsAt' | 'note' | 'by'>,
): Promise<Map<string, OrderInReplay[]>> {
  const changes = new Map<string, OrderInReplay[]>();
  if (accounts.size === 0) return changes;
  const members = [...accounts.values()];
  const [orders, earnings, found] = await Promise.all([
    ordersOfMembers(
      tx,
      members.map(({ row }) => row),
    ),
    earningsOfMembers(tx, [...accounts.keys()]),
    replayFacts(
      tx,
      members.map(({ customerId, lots }) => ({ customerId, lots: lots === null })),
    ),
  ]);
  const ordersOf = byCustomer(orders);
  const earningsOf = byCustomer(earnings);
  const exponent = minorUnits(baseCurrency);
  for (const account of members) {
    const { customerId, now } = account;
    const facts = found.get(customerId);
    if (!facts) throw new Error(`Nothing was read of ${customerId}`);
    if (account.lots === null) takeLots(account, facts);
    const history = {
      orders: ordersOf.get(customerId) ?? [],
      earnings: earningsOf.get(customerId) ?? [],
      returns: facts.returns,
      settings: [...settingsIn(facts.tierChanges), ...(setting ? [setting] : [])],
    };
    const replayed = replayMember(account, history, now, exponent);
    restateTier(account, facts.tierChanges, replayed, setting);
    changes.set(customerId, replayed.orders);
  }
  return changes;
}

function takeLots(account: OpenAccount, { lots }: ReplayFacts): void {
  const all = [...(lots ?? []).map(readOpenLot), ...account.draft.newLots];
  account.lots = new Map(all.map((lot) => [lot.id, lot]));
}

/** What was set by hand among changes of a tier. */
export function settingsIn(changes: readonly TierChangeRow[]): TierSetting[] {
  return changes.filter(({ reason }) => reason === 'manual');
}

/** The tier is what the replay came to; stored changes are replaced from the first one on that is another one now. */
function restateTier(
  account: OpenAccount,
  stored: readonly TierChangeRow[],
  { state, changes, lastAt }: MemberReplay,
  setting?: Pick<TierChangeRow, 'note' | 'by'>,
): void {
  const { row, draft, customerId, now } = account;
  const byHand = stored.filter(({ reason }) => reason === 'manual');
  const rows = changes.map((change, index): TierChangeRow => {
    const known = change.reason === 'manual' ? byHand.shift() : undefined;
    const { note, by } = known ?? (change.reason === 'manual' && setting ? setting : { note: null, by: null });
    const made = { ...change, customerId, sequence: index + 1, note, by, createdAt: known?.createdAt ?? now };
    const before = stored[index];
    return before && isSameChange(before, made) ? before : made;
  });
  const from = rows.findIndex((made, index) => made !== stored[index]);
  // What settling has added is in the replay as well.
  draft.tierChanges = [];
  if (from >= 0 || rows.length < stored.length) {
    draft.restatedTiers = { rows: from < 0 ? [] : rows.slice(from), count: rows.length };
    draft.changed = true;
  }
  if (row.replayedTo === null || isBefore(row.replayedTo, lastAt)) {
    row.replayedTo = lastAt;
    draft.changed = true;
  }
  setTier(row, state);
  recomputeBalance(account);
}

function isSameChange(a: TierChangeRow, b: TierChangeRow): boolean {
  return (['at', 'previous', 'tier', 'reason', 'amount', 'endsAt', 'reached', 'note', 'by'] as const).every(
    (name) => a[name] === b[name],
  );
}

/** Moves the points of orders, first what is more and then what is less; then milestones. */
async function applyChanges(
  tx: Transaction,
  context: EarningContext,
  accounts: ReadonlyMap<string, OpenAccount>,
  changes: ReadonlyMap<string, readonly OrderInReplay[]>,
): Promise<void> {
  const restated = [...changes].flatMap(([customerId, orders]) => {
    const account = accounts.get(customerId);
    return account ? orders.filter(isRestated).map((order) => ({ account, ...order })) : [];
  });
  const questions = [...accounts.values()].flatMap(questionAbout);
  const known = restated.flatMap(({ account, before, after, orderId }) =>
    before && before.entitled !== after.entitled ? [{ account, source: { orderId } }] : [],
  );
  const [facts, histories] = await Promise.all([memberFacts(tx, questions), sourceHistories(tx, known)]);
  const by = context.principal.client;
  for (const isMore of [true, false]) {
    for (const { account, orderId, before, after } of restated) {
      const entitled = before?.entitled ?? 0;
      if (after.entitled > entitled !== isMore) continue;
      const source = { orderId };
      const rules = earningRules(account.programme, after.placedAt);
      if (after.entitled !== entitled) {
        recompute(account, source, {
          before: entitled,
          after: after.entitled,
          history: histories.get(sourceKey(account.customerId, source)) ?? noHistory,
          dates: earningDates(rules, after.placedAt, context.reportingTimeZone),
          by,
        });
      }
      account.draft.earnings.push(after);
      account.draft.changed = true;
    }
  }
  await recomputeMilestones(tx, context, accounts, facts);
  const due = [...facts.values()].filter((of) => referralIsDue(accounts.get(of.customerId), of));
  enqueueReferrals(tx, due);
}

const noHistory: SourceHistory = { net: 0, expired: 0 };

/** What has to be known of a member beside the account, if anything. */
function questionAbout({ row, programme }: OpenAccount): MemberQuestion[] {
  const counts = milestoneCounts(programme);
  const referral = programme.versions.some(({ rules }) => rules.bonuses.referral);
  const purchases = Math.max(0, ...counts, referral ? 1 : 0);
  const { customerId, programmeId, joinedAt } = row;
  return purchases === 0 ? [] : [{ customerId, programmeId, joinedAt, purchases, referral }];
}

/** Which purchases bring a bonus, by any version of the rules. */
function milestoneCounts({ versions }: ProgrammeRules): number[] {
  return [...new Set(versions.flatMap(({ rules }) => rules.bonuses.purchase?.count ?? []))];
}

/** The bonus for the n-th purchase: recomputed like an order, by the rules in force when that one was placed. */
async function recomputeMilestones(
  tx: Transaction,
  { principal, reportingTimeZone }: EarningContext,
  accounts: ReadonlyMap<string, OpenAccount>,
  facts: ReadonlyMap<string, MemberFacts>,
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
      const dates = earningDates(rules, at ?? account.now, reportingTimeZone);
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
    recompute(account, source, { ...change, history, by: principal.client });
  }
}

/** Whether the bonus of who referred this member is not what it should be. */
function referralIsDue(account: OpenAccount | undefined, { referrer, purchases }: MemberFacts): boolean {
  if (!account) return false;
  const earned = referrer !== null && purchases.length > 0;
  return earned !== account.row.referralRewarded;
}
