import type { TierLevel, TierRules } from './loyalty-earning.ts';
import { addDays, isBefore } from './period.ts';

/**
 * The tiers of a programme as a state machine: up at once, down only at the end of a period, after a grace. What counts
 * is the qualifying amount Q(t) of the rolling window that ends at t (`amountIn`).
 */

/** The tier of a member. */
export interface TierState {
  /** Key of a level; null: the programme had no tiers so far. */
  tier: string | null;
  tierSince: string | null;
  /** When the period, or the grace after it, ends. Null: there is nothing to lose. */
  tierEndsAt: string | null;
  tierInGrace: boolean;
}

/**
 * enrolment: the first tier. upgrade: a higher one, at once. grace: the period ended below the level, which is held on.
 * renewal: the level is held for another period. downgrade: the grace ended below the level.
 */
export type TierChangeReason = 'enrolment' | 'upgrade' | 'renewal' | 'grace' | 'downgrade';

export interface TierChange {
  at: string;
  previous: string | null;
  tier: string;
  reason: TierChangeReason;
  /** Q(at), which decided. */
  amount: number;
  endsAt: string | null;
}

/** What an order counts for tiers (a row of `loyalty_earnings`). */
export interface TierContribution {
  placedAt: string;
  /** Minor units of the base currency. */
  spend: number;
  /** Points. */
  entitled: number;
}

/** Of a member whose programme has had no tiers. */
export const withoutTier: TierState = { tier: null, tierSince: null, tierEndsAt: null, tierInGrace: false };

/** Q(t): what counts, by the basis of the rules, of the orders placed in `(t − windowDays, t]`. */
export function amountIn(
  contributions: readonly TierContribution[],
  { basis, windowDays }: Pick<TierRules, 'basis' | 'windowDays'>,
  t: string,
): number {
  const start = addDays(t, -windowDays);
  let sum = 0;
  for (const { placedAt, spend, entitled } of contributions) {
    if (isBefore(start, placedAt) && !isBefore(t, placedAt)) sum += basis === 'spend' ? spend : entitled;
  }
  return sum;
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
 * After a change of what counts, of a state that was run on to `now`: up at once, and out of grace when the level is
 * reached again. Never down. A member without a tier gets the one reached.
 * @param amount Q(now)
 * @returns the same state and a null change when nothing changes
 */
export function raise(
  state: TierState,
  rules: TierRules,
  amount: number,
  now: string,
): { state: TierState; change: TierChange | null } {
  const reached = levelFor(rules.levels, amount);
  const difference = rankOf(rules, reached.key) - rankOf(rules, state.tier);
  if (difference > 0) {
    const reason = state.tier === null ? 'enrolment' : 'upgrade';
    return moved(state, { tier: reached.key, reason, at: now, amount, endsAt: periodEnd(rules, reached.key, now) });
  }
  if (difference === 0 && state.tierInGrace) {
    const endsAt = periodEnd(rules, reached.key, now);
    return moved(state, { tier: reached.key, reason: 'renewal', at: now, amount, endsAt });
  }
  return { state, change: null };
}

/**
 * The state at `t`: every period that ended by then is judged at its end. At e = tierEndsAt, with the level of Q(e):
 * not below the tier → renewed for a period from e; below, and graceDays > 0 → in grace until e + graceDays; below at
 * the end of the grace (or without one) → down to the level, for a period from e.
 * @param rulesAt tiers of the version in force at an instant; null: it has none, and the state is left as it is
 * @param amountAt Q at an instant by these rules: `amountIn` of what is known
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
  const reached = levelFor(rules.levels, amount);
  if (rankOf(rules, reached.key) >= rankOf(rules, tier)) {
    return moved(state, { tier, reason: 'renewal', at, amount, endsAt: periodEnd(rules, tier, at) });
  }
  if (!state.tierInGrace && rules.graceDays > 0) {
    return moved(state, { tier, reason: 'grace', at, amount, endsAt: addDays(at, rules.graceDays) });
  }
  const endsAt = periodEnd(rules, reached.key, at);
  return moved(state, { tier: reached.key, reason: 'downgrade', at, amount, endsAt });
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
  state: TierState,
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

function moved(state: TierState, change: Omit<TierChange, 'previous'>): { state: TierState; change: TierChange } {
  const { tier, at, reason, endsAt } = change;
  return {
    state: {
      tier,
      tierSince: tier === state.tier ? state.tierSince : at,
      tierEndsAt: endsAt,
      tierInGrace: reason === 'grace',
    },
    change: { ...change, previous: state.tier },
  };
}
