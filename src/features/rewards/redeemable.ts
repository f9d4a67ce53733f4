import { isBefore } from '../../domain/period.ts';
import { type FieldError, invalid, Problem } from '../../platform/errors.ts';
import { insufficientPoints } from '../loyalty/record.ts';
import type { RedemptionRefusal, RewardRow } from './record.ts';
import { limitReached, notAvailable, outOfStock, tierRequired } from './record.ts';

/** What decides whether a member can have a reward. */
export interface Standing {
  programmeId: string;
  tier: string | null;
  /** Keys of the levels in force, ascending. */
  levels: readonly string[];
  /** Points that can be spent. */
  active: number;
  /** Pieces of the reward that the member has. */
  redeemed: number;
}

export interface Refusal {
  code: RedemptionRefusal;
  message: string;
  /** What a client can go by: `available` points, pieces `left`, the `tier`. */
  extra: Record<string, string | number>;
}

/** Everything that stands in the way of `quantity` pieces of a reward now; what comes first comes first. */
export function refusalsOf(
  reward: RewardRow,
  member: Standing | null,
  { quantity, now }: { quantity: number; now: string },
): Refusal[] {
  if (!member) return [refusal('not_a_member', 'The customer is not a member of a loyalty programme.')];
  if (member.programmeId !== reward.programmeId) {
    return [refusal('other_programme', 'The customer is a member of another programme than that of the reward.')];
  }
  const refusals: Refusal[] = [];
  if (reward.availableFrom !== null && isBefore(now, reward.availableFrom)) {
    refusals.push(refusal(notAvailable, `It can be redeemed from ${reward.availableFrom} on.`));
  } else if (!isWithinDates(reward, now)) {
    refusals.push(refusal(notAvailable, `It could be redeemed before ${reward.availableTo}.`));
  }
  if (reward.tier !== null && !reaches(member, reward.tier)) {
    refusals.push(refusal(tierRequired, `It is for the level ${reward.tier} and above.`, { tier: reward.tier }));
  }
  if (reward.limitPerCustomer !== null && member.redeemed + quantity > reward.limitPerCustomer) {
    const left = Math.max(0, reward.limitPerCustomer - member.redeemed);
    const limit = `A customer may have ${reward.limitPerCustomer}: ${left} more.`;
    refusals.push(refusal(limitReached, limit, { left }));
  }
  const left = leftOf(reward);
  if (left !== null && quantity > left) {
    refusals.push(refusal(outOfStock, left === 0 ? 'There is none left.' : `There are ${left} left.`, { left }));
  }
  const price = reward.points * quantity;
  if (price > member.active) {
    const available = Math.max(0, member.active);
    const few = `${price} points are more than the ${available} that are available.`;
    refusals.push(refusal(insufficientPoints, few, { available }));
  }
  return refusals;
}

function refusal(code: RedemptionRefusal, message: string, extra: Refusal['extra'] = {}): Refusal {
  return { code, message, extra };
}

/** A level that the rules in force do not know yet is above all others. */
function reaches({ tier, levels }: Standing, wanted: string): boolean {
  const rank = levels.indexOf(wanted);
  return rank >= 0 && tier !== null && levels.indexOf(tier) >= rank;
}

/** Pieces that are left; null: unlimited. */
export function leftOf({ stock, redeemed }: Pick<RewardRow, 'stock' | 'redeemed'>): number | null {
  return stock === null ? null : stock - redeemed;
}

function isWithinDates({ availableFrom, availableTo }: RewardRow, now: string): boolean {
  if (availableFrom !== null && isBefore(now, availableFrom)) return false;
  return availableTo === null || isBefore(now, availableTo);
}

/** Within its dates, and a piece is left. */
export function isAvailable(reward: RewardRow, now: string): boolean {
  return isWithinDates(reward, now) && leftOf(reward) !== 0;
}

/** What a redemption answers: the first refusal as the problem, all of them with the place of what they refuse. */
export function refusalProblem(refusals: readonly Refusal[], customerPointer: string): Problem {
  const errors = refusals.map(
    ({ code, message }): FieldError => ({
      pointer: pointers.get(code) ?? customerPointer,
      code,
      message,
    }),
  );
  const [first] = refusals;
  if (!first) throw new Error('nothing was refused');
  const { code, message, extra } = first;
  if (code === 'not_a_member' || code === 'other_programme') {
    return invalid(pointers.get(code) ?? customerPointer, code, message);
  }
  return new Problem(code, message, { errors, extra });
}

/** Where a refusal points; the others at the customer. */
const pointers = new Map<RedemptionRefusal, string>([
  ['other_programme', '/rewardId'],
  [notAvailable, '/rewardId'],
  [limitReached, '/quantity'],
  [outOfStock, '/quantity'],
  [insufficientPoints, '/quantity'],
]);
