import type { LotDates } from '../../domain/loyalty-earning.ts';
import {
  balanceNow,
  credit,
  expireDue,
  isActive,
  isExpired,
  type NewLot,
  nextChange,
  type Posting,
  returnLots,
  type Taken,
  takeBack,
  takeFifo,
} from '../../domain/loyalty-ledger.ts';
import { isBefore } from '../../domain/period.ts';
import { Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { rulesAt } from '../loyalty-programmes/queries.ts';
import type { AccountRow, OpenAccount, OpenLot, TransactionRow } from './account.ts';
import { insufficientPoints, type LoyaltyTransactionKind } from './record.ts';

/** The one way in which points move, on accounts that are open; nothing is written here. */

/** Posts what has expired by now. */
export function expire(account: OpenAccount): void {
  for (const { lotId, at, points, entries } of expireDue([...lotsOf(account).values()], account.now)) {
    record(account, { kind: 'expire', by: 'expiry' }, { at, points, entries });
    const lot = lotsOf(account).get(lotId);
    if (lot) lot.remaining = 0;
  }
}

/** What a transaction says beside its points. */
export interface TransactionFacts {
  kind: LoyaltyTransactionKind;
  /** The client that requested it (`context.principal.client`), or the rule that made it. */
  by: string;
  orderId?: string | null;
  bonusKey?: string | null;
  /** What the order or bonus is entitled to after it. */
  entitled?: number;
  redemptionId?: string | null;
  relatedId?: string | null;
  relatedCustomerId?: string | null;
  reason?: string | null;
  externalId?: string | null;
}

/** Puts a transaction and its postings into the draft; the lots are the caller's to change. */
function record(
  account: OpenAccount,
  facts: TransactionFacts,
  posted: { at: string; points: number; entries: readonly Posting[]; id?: string; lapsed?: number; waived?: number },
): TransactionRow {
  const { customerId, draft } = account;
  const { id = newId(), at, points, entries, lapsed = 0, waived = 0 } = posted;
  const transaction: TransactionRow = {
    customerId,
    id,
    kind: facts.kind,
    points,
    at,
    orderId: facts.orderId ?? null,
    entitled: facts.entitled ?? null,
    lapsed,
    waived,
    bonusKey: facts.bonusKey ?? null,
    redemptionId: facts.redemptionId ?? null,
    relatedId: facts.relatedId ?? null,
    relatedCustomerId: facts.relatedCustomerId ?? null,
    reason: facts.reason ?? null,
    by: facts.by,
    externalId: facts.externalId ?? null,
    createdAt: account.now,
  };
  draft.changed = true;
  draft.transactions.push(transaction);
  for (const [index, entry] of entries.entries()) {
    draft.entries.push({ customerId, transactionId: id, line: index + 1, ...entry });
  }
  return transaction;
}

/**
 * Credits lots: one transaction at the `earnedAt` of the first. Debt is paid from them at once; what has expired already
 * is posted as such. No lots: the transaction says that the entitlement changed and nothing moved.
 */
export function creditLots(account: OpenAccount, facts: TransactionFacts, lots: readonly NewLot[]): TransactionRow {
  const { row, now, draft } = account;
  const transactionId = newId();
  const entries: Posting[] = [];
  const made: OpenLot[] = [];
  for (const lot of lots) {
    const id = newId();
    const done = credit({ ...lot, id }, account.unpaid, now);
    entries.push(...done.entries);
    account.unpaid = done.debt;
    const { orderId = null, bonusKey = null } = facts;
    made.push({ ...lot, id, remaining: done.remaining, transactionId, orderId, bonusKey, stored: null });
    if (done.paid > 0) {
      if (isBefore(now, lot.earnedAt)) account.payments.push({ points: done.paid, at: lot.earnedAt });
      else row.debt -= done.paid;
    }
  }
  const points = lots.reduce((sum, lot) => sum + lot.points, 0);
  const transaction = record(account, facts, { id: transactionId, at: lots[0]?.earnedAt ?? now, points, entries });
  for (const lot of made) {
    draft.newLots.push(lot);
    account.lots?.set(lot.id, lot);
    if (!account.lots) addToBalance(account, lot);
    if (lot.remaining > 0 && lot.expiresAt !== null && isExpired(lot, now)) {
      const posting = { lotId: lot.id, points: -lot.remaining, at: lot.expiresAt };
      record(
        account,
        { kind: 'expire', by: 'expiry' },
        { at: lot.expiresAt, points: -lot.remaining, entries: [posting] },
      );
      lot.remaining = 0;
    }
  }
  if (account.lots) recomputeBalance(account);
  return transaction;
}

/** Points that were taken from one lot. */
export interface TakenLot extends Taken {
  lotId: string;
}

/**
 * Takes points from active lots, first what expires first. The account was opened with its lots.
 * @param points > 0
 * @throws Problem insufficient_points, with what is available
 */
export function takePoints(
  account: OpenAccount,
  facts: TransactionFacts,
  points: number,
): { transaction: TransactionRow; taken: TakenLot[] } {
  const lots = lotsOf(account);
  const { available, entries } = takeFifo([...lots.values()], account.unpaid, points, account.now);
  if (!entries) {
    throw new Problem(insufficientPoints, `${points} points are more than the ${available} that are available.`, {
      extra: { available },
      errors: [{ pointer: '/points', code: insufficientPoints, message: `At most ${available}.` }],
    });
  }
  const taken = entries.flatMap(({ lotId, points: moved }) => {
    const lot = lotId === null ? undefined : lots.get(lotId);
    return lot ? [{ lotId: lot.id, points: -moved, activeAt: lot.activeAt, expiresAt: lot.expiresAt }] : [];
  });
  const transaction = record(account, facts, { at: account.now, points: -points, entries });
  post(account, entries);
  return { transaction, taken };
}

/** Undoes a taking: the points come back, to be spent from now on, for 30 days at least. */
export function givePointsBack(account: OpenAccount, facts: TransactionFacts, taken: readonly Taken[]): TransactionRow {
  return creditLots(account, facts, returnLots(taken, account.now));
}

/** The order or the bonus that points belong to. */
export type PointsSource = { orderId: string } | { bonusKey: string };

export interface Entitlement {
  /** Entitlement before and after; nothing happens when they are equal. */
  before: number;
  after: number;
  /** What was moved for this source so far (`sourceHistories`). */
  history: SourceHistory;
  /** Of the lot, should there be one. */
  dates: LotDates;
  by: string;
}

export interface SourceHistory {
  /** Σ points of its transactions of earning and taking back. */
  net: number;
  /** Points of its lots that have expired, ≥ 0. */
  expired: number;
}

/**
 * An order or a bonus is entitled to more or less than before: `earn` or `bonus` on the way up, `reverse` by the policy in
 * force on the way down, for which the account was opened with its lots.
 * @returns null when nothing changed
 */
export function recompute(account: OpenAccount, source: PointsSource, change: Entitlement): TransactionRow | null {
  const { before, after, history, dates, by } = change;
  if (before === after) return null;
  const kind = 'orderId' in source ? 'earn' : 'bonus';
  if (after > before) {
    const points = Math.max(0, after - history.net);
    return creditLots(account, { kind, by, ...source, entitled: after }, points > 0 ? [{ points, ...dates }] : []);
  }
  const lots = [...lotsOf(account).values()];
  const isOwn = (lot: OpenLot) =>
    'orderId' in source ? lot.orderId === source.orderId : lot.bonusKey === source.bonusKey;
  const { entries, lapsed, waived, debt } = takeBack({
    policy: rulesAt(account.programme, account.now)?.refundPolicy ?? 'only_pending',
    owed: before - after,
    net: history.net,
    entitledBefore: before,
    ownLots: lots.filter(isOwn),
    otherLots: lots.filter((lot) => !isOwn(lot)),
    ownExpired: history.expired,
    now: account.now,
  });
  const points = entries.reduce((sum, entry) => sum + entry.points, 0);
  const facts = { kind: 'reverse' as const, by, ...source, entitled: after };
  const transaction = record(account, facts, { at: account.now, points, entries, lapsed, waived });
  account.unpaid += debt;
  account.row.debt += debt;
  post(account, entries);
  return transaction;
}

/** Postings to lots, after which the balance is what it is then. */
function post(account: OpenAccount, entries: readonly Posting[]): void {
  for (const { lotId, points } of entries) {
    const lot = lotId === null ? undefined : lotsOf(account).get(lotId);
    if (lot) lot.remaining += points;
  }
  recomputeBalance(account);
}

/** The balance and the next change out of the lots. */
export function recomputeBalance(account: OpenAccount): void {
  const { row, now, payments } = account;
  const lots = [...lotsOf(account).values()];
  row.debt = account.unpaid;
  for (const { points, at } of payments) if (isBefore(now, at)) row.debt += points;
  const { active, pending } = balanceNow(lots, row.debt, now);
  row.active = active;
  row.pending = pending;
  row.nextAt = nextChange(lots, row.tierEndsAt, now);
  for (const { at } of payments) if (isBefore(now, at)) considerNext(row, at);
}

/** A new lot on top of a balance whose lots are not known; its payment of debt is in `row.debt` already. */
function addToBalance({ row, now }: OpenAccount, lot: OpenLot): void {
  const paid = isBefore(now, lot.earnedAt) ? 0 : lot.points - lot.remaining;
  row.active += paid;
  if (isActive(lot, now)) row.active += lot.remaining;
  else if (!isBefore(now, lot.earnedAt) && isBefore(now, lot.activeAt) && !isExpired(lot, now)) {
    row.pending += lot.remaining;
  }
  const next = nextChange([lot], null, now);
  if (next !== null) considerNext(row, next);
}

export function considerNext(row: AccountRow, at: string): void {
  if (row.nextAt === null || isBefore(at, row.nextAt)) row.nextAt = at;
}

function lotsOf({ lots, customerId }: OpenAccount): NonNullable<OpenAccount['lots']> {
  if (!lots) throw new Error(`The lots of ${customerId} were not asked for`);
  return lots;
}
