import type { LotDates, RefundPolicy } from './loyalty-earning.ts';
import { addDays, isBefore } from './period.ts';

/**
 * The ledger of points. Every credit makes a lot; postings move points in and out of lots, or of the debt (points that
 * were taken back after they had been spent). A lot is pending in `[earnedAt, activeAt)`, active in
 * `[activeAt, expiresAt)`, and nothing before and after. The functions here plan postings and write nothing; those that
 * plan from `remaining` expect an account that is settled: what expired by `now` has had its postings (`expireDue`).
 */

/** Points that were credited together. */
export interface Lot extends LotDates {
  id: string;
  /** What was credited. */
  points: number;
  /** Σ all its postings, ≥ 0. */
  remaining: number;
}

/** One line of a transaction. `lotId` null: the debt, where negative points are owed and positive ones pay. */
export interface Posting {
  lotId: string | null;
  points: number;
  at: string;
}

/** Points to be credited as one new lot. */
export interface NewLot extends LotDates {
  points: number;
}

export interface Balance {
  /** What can be spent: points of active lots less the debt; negative while points are owed. */
  active: number;
  pending: number;
  /** Points owed, ≥ 0. */
  debt: number;
}

/** Whether the points of a lot can be spent at `t`: from `activeAt` on, not at `expiresAt` any more. */
export function isActive(lot: LotDates, t: string): boolean {
  return !isBefore(t, lot.activeAt) && !isExpired(lot, t);
}

/** Whether a lot is past: at `expiresAt` it is. */
export function isExpired(lot: Pick<LotDates, 'expiresAt'>, t: string): boolean {
  return lot.expiresAt !== null && !isBefore(t, lot.expiresAt);
}

/** The order in which active lots are used: what expires first (never: last), then what was earned first, then by id. */
export function compareFifo(a: Pick<Lot, 'id' | 'earnedAt' | 'expiresAt'>, b: typeof a): number {
  if (a.expiresAt !== b.expiresAt) {
    if (a.expiresAt === null) return 1;
    if (b.expiresAt === null) return -1;
    return compareInstants(a.expiresAt, b.expiresAt);
  }
  return compareInstants(a.earnedAt, b.earnedAt) || compareIds(a.id, b.id);
}

/**
 * Spends from active lots, first what expires first.
 * @param debt points owed (≥ 0): they cannot be spent
 * @returns what was there to be spent (≥ 0), and the postings; null when `points` are more
 */
export function takeFifo(
  lots: readonly Lot[],
  debt: number,
  points: number,
  now: string,
): { available: number; entries: Posting[] | null } {
  const active = activeFifo(lots, now);
  const available = Math.max(0, remainingOf(active) - debt);
  return { available, entries: points > available ? null : takeFrom(active, points, now).entries };
}

/**
 * Credits a lot at its `earnedAt` and pays the debt from it at once, unless it has expired already (points that come
 * so late pay nothing). The postings add up to the points of the lot.
 * @returns `paid` of the debt at `max(now, earnedAt)`; what is left of the lot and of the debt
 */
export function credit(
  lot: Pick<Lot, 'id' | 'points' | 'earnedAt' | 'expiresAt'>,
  debt: number,
  now: string,
): { entries: Posting[]; paid: number; remaining: number; debt: number } {
  const at = isBefore(now, lot.earnedAt) ? lot.earnedAt : now;
  const paid = isExpired(lot, at) ? 0 : Math.min(debt, lot.points);
  const entries: Posting[] = [{ lotId: lot.id, points: lot.points, at: lot.earnedAt }];
  if (paid > 0) entries.push({ lotId: lot.id, points: -paid, at }, { lotId: null, points: paid, at });
  return { entries, paid, remaining: lot.points - paid, debt: debt - paid };
}

/** The expiry of one lot: a transaction of its own, as of the instant at which it expired. */
export interface Expiry {
  lotId: string;
  at: string;
  /** − what was left. */
  points: number;
  entries: Posting[];
}

/** What has expired by `now` and was not written yet, in the order in which it expired. */
export function expireDue(lots: readonly Lot[], now: string): Expiry[] {
  return lots
    .filter((lot) => lot.remaining > 0 && isExpired(lot, now))
    .sort(compareFifo)
    .map(({ id, remaining, expiresAt }) => {
      const at = expiresAt ?? now; // isExpired: it has one
      return { lotId: id, at, points: -remaining, entries: [{ lotId: id, points: -remaining, at }] };
    });
}

export interface TakeBack {
  policy: RefundPolicy;
  /** By how much the order is entitled to less than before, ≥ 0. */
  owed: number;
  /** Σ points of the order's transactions of earning and taking back. */
  net: number;
  /** What the order was entitled to before. */
  entitledBefore: number;
  /** The lots of the order, and all others of the account. */
  ownLots: readonly Lot[];
  otherLots: readonly Lot[];
  /** Points of the order's lots that have expired, ≥ 0. */
  ownExpired: number;
  now: string;
}

/**
 * Takes back points of an order that is worth less than it was. What expired with the order's own lots is gone
 * (`lapsed`): it covers what is owed as far as it has not covered an earlier reduction. The rest is taken from lots, in
 * this order, as far as the policy goes:
 * - `only_pending`: the order's own lots that are pending
 * - `within_balance`: these; its own active lots; other active lots
 * - `allow_negative`: these; other pending lots; what remains becomes debt
 *
 * Active lots by FIFO, pending ones by `activeAt`. owed = lapsed − Σ entries + waived; `debt` is the part of the entries
 * that is owed from now on.
 */
export function takeBack(plan: TakeBack): { entries: Posting[]; lapsed: number; waived: number; debt: number } {
  const { policy, owed, ownExpired, now } = plan;
  const notTaken = plan.net - plan.entitledBefore;
  const lapsed = Math.min(ownExpired, notTaken + owed) - Math.min(ownExpired, notTaken);
  const sources = [pendingByActivation(plan.ownLots, now)];
  if (policy !== 'only_pending') sources.push(activeFifo(plan.ownLots, now), activeFifo(plan.otherLots, now));
  if (policy === 'allow_negative') sources.push(pendingByActivation(plan.otherLots, now));
  const { entries, missing } = takeFrom(sources.flat(), owed - lapsed, now);
  const debt = policy === 'allow_negative' ? missing : 0;
  if (debt > 0) entries.push({ lotId: null, points: -debt, at: now });
  return { entries, lapsed, waived: missing - debt, debt };
}

/** What was taken from a lot: `points` > 0. */
export interface Taken {
  points: number;
  activeAt: string;
  expiresAt: string | null;
}

/** How long points that come back can be spent at least. */
export const returnDays = 30;

/** A spending undone: a new lot for each one that was taken from, active now, and for 30 days at least. */
export function returnLots(taken: readonly Taken[], now: string): NewLot[] {
  const soonest = addDays(now, returnDays);
  return taken.map(({ points, expiresAt }) => ({
    points,
    earnedAt: now,
    activeAt: now,
    expiresAt: expiresAt === null ? null : laterOf(expiresAt, soonest),
  }));
}

/**
 * Points that come from another account: a new lot for each one that was taken from, which expires as that one. Taken
 * were active points, so they are active from now on.
 */
export function transferLots(taken: readonly Taken[], now: string): NewLot[] {
  return taken.map(({ points, activeAt, expiresAt }) => ({
    points,
    earnedAt: now,
    activeAt: laterOf(activeAt, now),
    expiresAt,
  }));
}

/** The balance at any `t`, summed over the ledger: what was posted by `t` in lots that are pending or active at `t`. */
export function balanceAt(
  lots: readonly (LotDates & { readonly entries: readonly Pick<Posting, 'points' | 'at'>[] })[],
  debtEntries: readonly Pick<Posting, 'points' | 'at'>[],
  t: string,
): Balance {
  const posted = (entries: readonly Pick<Posting, 'points' | 'at'>[]) =>
    entries.reduce((sum, { points, at }) => (isBefore(t, at) ? sum : sum + points), 0);
  return balance(
    lots.map((lot) => ({ ...lot, remaining: posted(lot.entries) })),
    0 - posted(debtEntries),
    t,
  );
}

/** The balance of a settled account at `now`; lots with nothing left may be left out. `debt`: points owed, ≥ 0. */
export function balanceNow(lots: readonly (LotDates & Pick<Lot, 'remaining'>)[], debt: number, now: string): Balance {
  return balance(lots, debt, now);
}

/**
 * The next instant after `t` at which a balance or a tier changes by itself: a lot is earned, becomes active or expires,
 * a tier period ends. Null: never.
 */
export function nextChange(
  lots: readonly (LotDates & Pick<Lot, 'remaining'>)[],
  tierEndsAt: string | null,
  t: string,
): string | null {
  let next: string | null = null;
  const consider = (at: string | null) => {
    if (at !== null && isBefore(t, at) && (next === null || isBefore(at, next))) next = at;
  };
  consider(tierEndsAt);
  for (const lot of lots) {
    // A lot to come that goes to the debt as a whole has nothing left, but the debt is paid when it comes.
    consider(lot.earnedAt);
    if (lot.remaining === 0) continue;
    consider(lot.activeAt);
    consider(lot.expiresAt);
  }
  return next;
}

function balance(lots: readonly (LotDates & Pick<Lot, 'remaining'>)[], debt: number, t: string): Balance {
  let active = -debt;
  let pending = 0;
  for (const lot of lots) {
    if (isActive(lot, t)) active += lot.remaining;
    else if (!isBefore(t, lot.earnedAt) && isBefore(t, lot.activeAt)) pending += lot.remaining;
  }
  return { active: active + 0, pending, debt };
}

function activeFifo(lots: readonly Lot[], now: string): Lot[] {
  return lots.filter((lot) => lot.remaining > 0 && isActive(lot, now)).sort(compareFifo);
}

function pendingByActivation(lots: readonly Lot[], now: string): Lot[] {
  return lots
    .filter((lot) => lot.remaining > 0 && isBefore(now, lot.activeAt))
    .sort(
      (a, b) =>
        compareInstants(a.activeAt, b.activeAt) || compareInstants(a.earnedAt, b.earnedAt) || compareIds(a.id, b.id),
    );
}

/** Takes from the lots in this order until nothing is missing. */
function takeFrom(lots: readonly Lot[], points: number, at: string): { entries: Posting[]; missing: number } {
  const entries: Posting[] = [];
  let missing = points;
  for (const lot of lots) {
    if (missing <= 0) break;
    const taken = Math.min(lot.remaining, missing);
    entries.push({ lotId: lot.id, points: -taken, at });
    missing -= taken;
  }
  return { entries, missing };
}

function remainingOf(lots: readonly Lot[]): number {
  return lots.reduce((sum, lot) => sum + lot.remaining, 0);
}

function laterOf(a: string, b: string): string {
  return isBefore(a, b) ? b : a;
}

function compareInstants(a: string, b: string): number {
  if (a === b) return 0;
  return isBefore(a, b) ? -1 : 1;
}

/** As PostgreSQL orders them. */
function compareIds(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
