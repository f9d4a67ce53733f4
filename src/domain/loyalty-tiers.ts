import type { TierLevel, TierRules } from './loyalty-earning.ts';
import { addDays, isBefore } from './period.ts';

/**
 * The tiers of a programme as a state machine: up with the order that reaches a level, down only at the end of a period,
 * after a grace. What counts is the qualifying amount Q(t) of the rolling window that ends at t (`Contributions`). A tier is
 * replayed out of what happened, in the order in which it happened, so it does not matter what was known first.
 */

/** The tier of a member. */
export interface TierState {
  /** Key of a level; null: the programme had no tiers so far. */
  tier: string | null;
  tierSince: string | null;
  /** When the period, the grace after it, or what was set by hand ends. Null: there is nothing to lose. */
  tierEndsAt: string | null;
  tierInGrace: boolean;
  /** While it is one set by hand: the level that orders had reached then. */
  tierByHand: string | null;
}

/**
 * enrolment: the first tier. upgrade: a higher one, as of the order that reached it. grace: the period ended below the level,
 * which is held on. renewal: the level is held for another period. downgrade: the grace ended below the level. manual: set
 * by hand.
 */
export type TierChangeReason = 'enrolment' | 'upgrade' | 'renewal' | 'grace' | 'downgrade' | 'manual';

export interface TierChange {
  at: string;
  previous: string | null;
  tier: string;
  reason: TierChangeReason;
  /** Q(at), which decided. */
  amount: number;
  endsAt: string | null;
  /** manual: the level that orders had reached. */
  reached: string | null;
}

/** What an order counts for tiers (a row of `loyalty_earnings`). */
export interface TierContribution {
  placedAt: string;
  /** Minor units of the base currency. */
  spend: number;
  points: number;
}

/** A tier set by hand. */
export interface TierSetting {
  at: string;
  tier: string;
  endsAt: string | null;
}

/** Of a member whose programme has had no tiers. */
export const withoutTier: TierState = {
  tier: null,
  tierSince: null,
  tierEndsAt: null,
  tierInGrace: false,
  tierByHand: null,
};

/** What counts for tiers, in the order of `placedAt`. */
export class Contributions {
  readonly #placedAt: string[] = [];
  /** Sums of all up to each, from 0. */
  readonly #spend: number[] = [0];
  readonly #points: number[] = [0];

  constructor(contributions: readonly TierContribution[] = []) {
    const sorted = [...contributions].sort((a, b) => compareInstants(a.placedAt, b.placedAt));
    for (const contribution of sorted) this.add(contribution);
  }

  /** One that is not earlier than those before. */
  add({ placedAt, spend, points }: TierContribution): void {
    this.#placedAt.push(placedAt);
    this.#spend.push((this.#spend.at(-1) ?? 0) + spend);
    this.#points.push((this.#points.at(-1) ?? 0) + points);
  }

  /** The last one counts something else. */
  replaceLast(contribution: TierContribution): void {
    for (const all of [this.#placedAt, this.#spend, this.#points]) all.pop();
    this.add(contribution);
  }

  /** Q(t): what counts, by the basis of the rules, of the orders placed in `(t − windowDays, t]`. */
  in({ basis, windowDays }: Pick<TierRules, 'basis' | 'windowDays'>, t: string): number {
    const sums = basis === 'spend' ? this.#spend : this.#points;
    return (sums[this.#until(t)] ?? 0) - (sums[this.#until(addDays(t, -windowDays))] ?? 0);
  }

  /** How many were placed by `t`. */
  #until(t: string): number {
    let [low, high] = [0, this.#placedAt.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(t, this.#placedAt[middle] ?? '')) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/**
 * The highest level whose threshold is not above the amount; the first one below all thresholds.
 * @throws RangeError without levels
 */
export function levelFor(levels: readonly TierLevel[], amount: number): TierLevel {
  const level = levels.findLast(({ threshold }) => threshold <= amount) ?? levels[0];
  if (!level) throw new RangeError('tiers without levels');
  return level;
}

/**
 * After an order that counts: up at once, and out of grace when the level is reached again. Never down. A member without a
 * tier gets the one reached. What was set by hand ends with an order that reaches more than it, and more than had been
 * reached when it was set.
 * @param state run on to `t`, when the order was placed
 * @param amount Q(t) with it
 * @returns the same state and a null change when nothing changes
 */
export function raise(
  state: TierState,
  rules: TierRules,
  amount: number,
  t: string,
): { state: TierState; change: TierChange | null } {
  const reached = levelFor(rules.levels, amount);
  const rank = rankOf(rules, reached.key);
  if (state.tierByHand !== null && rank <= rankOf(rules, state.tierByHand)) return { state, change: null };
  const difference = rank - rankOf(rules, state.tier);
  if (difference > 0) {
    const reason = state.tier === null ? 'enrolment' : 'upgrade';
    return moved(state, { tier: reached.key, reason, at: t, amount, endsAt: periodEnd(rules, reached.key, t) });
  }
  if (difference === 0 && state.tierInGrace) {
    const endsAt = periodEnd(rules, reached.key, t);
    return moved(state, { tier: reached.key, reason: 'renewal', at: t, amount, endsAt });
  }
  return { state, change: null };
}

/** The state with which a member begins. */
export function begin(rules: TierRules | null, joinedAt: string): { state: TierState; change: TierChange | null } {
  return rules ? raise(withoutTier, rules, 0, joinedAt) : { state: withoutTier, change: null };
}

/** The state once a tier was set by hand. @param amount Q then */
export function setByHand(
  state: TierState,
  { at, tier, endsAt }: TierSetting,
  rules: TierRules | null,
  amount: number,
): { state: TierState; change: TierChange } {
  const reached = rules ? levelFor(rules.levels, amount).key : tier;
  return moved(state, { tier, reason: 'manual', at, amount, endsAt, reached });
}

/** When a tier that is set by hand ends if nothing is said about it: as one that was reached then. */
export function endOfPeriod(rules: TierRules, tier: string, from: string): string | null {
  return periodEnd(rules, tier, from);
}

/**
 * The state at `t`: every period that ended by then is judged at its end. At e = tierEndsAt, with the level of Q(e):
 * not below the tier → renewed for a period from e; below, and graceDays > 0 → in grace until e + graceDays; below at
 * the end of the grace (or without one) → down to the level, for a period from e. What was set by hand ends without a
 * grace, at the level of Q(e).
 * @param rulesAt tiers of the version in force at an instant; null: it has none, and the state is left as it is
 * @param amountAt Q at an instant by these rules, of what is known
 */
export function runOn(
  state: TierState,
  t: string,
  rulesAt: (t: string) => TierRules | null,
  amountAt: (t: string, rules: TierRules) => number,
): { state: TierState; changes: TierChange[] } {
  const changes: TierChange[] = [];
  let current = state;
  while (current.tier !== null && current.tierEndsAt !== null && !isBefore(t, current.tierEndsAt)) {
    const end = current.tierEndsAt;
    const rules = rulesAt(end);
    if (!rules) break;
    const judged = atPeriodEnd(current, current.tier, end, rules, amountAt(end, rules));
    changes.push(judged.change);
    current = judged.state;
  }
  return { state: current, changes };
}

function atPeriodEnd(state: TierState, tier: string, at: string, rules: TierRules, amount: number) {
  const reached = levelFor(rules.levels, amount).key;
  const difference = rankOf(rules, reached) - rankOf(rules, tier);
  if (difference > 0 && state.tierByHand !== null) {
    return moved(state, { tier: reached, reason: 'upgrade', at, amount, endsAt: periodEnd(rules, reached, at) });
  }
  if (difference >= 0) return moved(state, { tier, reason: 'renewal', at, amount, endsAt: periodEnd(rules, tier, at) });
  if (!state.tierInGrace && rules.graceDays > 0 && state.tierByHand === null) {
    return moved(state, { tier, reason: 'grace', at, amount, endsAt: addDays(at, rules.graceDays) });
  }
  return moved(state, { tier: reached, reason: 'downgrade', at, amount, endsAt: periodEnd(rules, reached, at) });
}

/** An order that counts, as it is replayed. */
export interface ReplayedOrder {
  placedAt: string;
  /** What it counts with this tier; it earns with the last one that is asked for. */
  earn(tier: string | null): TierContribution;
}

/** What happened to a member since `state`, in the order in which it happened. */
export interface TierEvents {
  /** By `placedAt`. */
  orders: readonly ReplayedOrder[];
  /** By `at`. */
  settings: readonly TierSetting[];
}

/**
 * The state at `t`. At one instant a period ends first, then comes what was set by hand, then the orders. Those that were
 * placed after `t`, by a clock that is ahead, earn with the tier that is held then if nothing else happens, and change
 * nothing yet.
 * @param counted what counted before; what the orders count is added
 */
export function replay(
  state: TierState,
  t: string,
  { orders, settings }: TierEvents,
  counted: Contributions,
  rulesAt: (t: string) => TierRules | null,
): { state: TierState; changes: TierChange[] } {
  const changes: TierChange[] = [];
  let current = state;
  const amountAt = (at: string, rules: TierRules) => counted.in(rules, at);
  const advance = (until: string) => {
    const judged = runOn(current, until, rulesAt, amountAt);
    current = judged.state;
    changes.push(...judged.changes);
  };
  const waiting = [...settings];
  const setUntil = (until: string) => {
    for (let [next] = waiting; next && !isBefore(until, next.at); [next] = waiting) {
      waiting.shift();
      advance(next.at);
      const rules = rulesAt(next.at);
      const set = setByHand(current, next, rules, rules ? amountAt(next.at, rules) : 0);
      current = set.state;
      changes.push(set.change);
    }
  };
  const place = (order: ReplayedOrder) => {
    setUntil(order.placedAt);
    advance(order.placedAt);
    const contribution = order.earn(current.tier);
    counted.add(contribution);
    const rules = rulesAt(order.placedAt);
    if (!rules || (contribution.spend === 0 && contribution.points === 0)) return;
    const raised = raise(current, rules, amountAt(order.placedAt, rules), order.placedAt);
    if (!raised.change) return;
    if (rules.reachingOrder === 'new_tier' && raised.state.tier !== current.tier) {
      counted.replaceLast(order.earn(raised.state.tier));
    }
    current = raised.state;
    changes.push(raised.change);
  };
  const ahead = orders.findIndex(({ placedAt }) => isBefore(t, placedAt));
  const known = ahead < 0 ? orders : orders.slice(0, ahead);
  for (const order of known) place(order);
  setUntil(t);
  advance(t);
  const reached = { state: current, changes: [...changes] };
  for (const order of orders.slice(known.length)) place(order);
  return reached;
}

/** What a member sees of the way up, and of what has to be done to stay. Amounts by the basis of the rules. */
export interface TierProgress {
  basis: TierRules['basis'];
  windowDays: number;
  /** Q now. */
  amount: number;
  endsAt: string | null;
  inGrace: boolean;
  /** The level above the one held, and what is missing to it; null on the highest. */
  next: { key: string; name: string; threshold: number; missing: number } | null;
  /**
   * What has to be added by `endsAt` to keep the level: its threshold less what will still be in the window then. 0:
   * it is kept as it stands; null when there is nothing to lose.
   */
  missingToKeep: number | null;
}

/** @param amountAt Q at an instant by these rules; asked for `t` and for the end of the period. */
export function progress(
  state: Pick<TierState, 'tier' | 'tierEndsAt' | 'tierInGrace'>,
  rules: TierRules,
  t: string,
  amountAt: (t: string, rules: TierRules) => number,
): TierProgress {
  const rank = rankOf(rules, state.tier);
  const held = rules.levels[rank];
  const next = rules.levels[rank + 1];
  const amount = amountAt(t, rules);
  const missing = (threshold: number, has: number) => Math.max(0, threshold - has);
  return {
    basis: rules.basis,
    windowDays: rules.windowDays,
    amount,
    endsAt: state.tierEndsAt,
    inGrace: state.tierInGrace,
    next: next
      ? { key: next.key, name: next.name, threshold: next.threshold, missing: missing(next.threshold, amount) }
      : null,
    missingToKeep:
      held && state.tierEndsAt !== null ? missing(held.threshold, amountAt(state.tierEndsAt, rules)) : null,
  };
}

/** −1 for no tier, and for one that these rules do not know: any level is above it. */
function rankOf({ levels }: TierRules, key: string | null): number {
  return levels.findIndex((level) => level.key === key);
}

/** The first level cannot be lost, so it has no end. */
function periodEnd(rules: TierRules, key: string, from: string): string | null {
  return rankOf(rules, key) <= 0 ? null : addDays(from, rules.periodDays);
}

function moved(
  state: TierState,
  change: Omit<TierChange, 'previous' | 'reached'> & { reached?: string },
): { state: TierState; change: TierChange } {
  const { tier, at, reason, endsAt, reached = null } = change;
  return {
    state: {
      tier,
      tierSince: tier === state.tier ? state.tierSince : at,
      tierEndsAt: endsAt,
      tierInGrace: reason === 'grace',
      tierByHand: reached,
    },
    change: { ...change, previous: state.tier, reached },
  };
}

function compareInstants(a: string, b: string): number {
  return a === b ? 0 : isBefore(a, b) ? -1 : 1;
}
