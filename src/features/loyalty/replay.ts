import { earns, worthForTiers, worthOf } from '../../domain/loyalty-earning.ts';
import { type GoodsReturn, goodsLeft, type OrderGoods } from '../../domain/loyalty-goods.ts';
import {
  begin,
  Contributions,
  type ReplayedOrder,
  replay,
  type TierChange,
  type TierSetting,
  type TierState,
} from '../../domain/loyalty-tiers.ts';
import { isBefore } from '../../domain/period.ts';
import { type ProgrammeRules, rulesAt } from '../loyalty-programmes/queries.ts';
import type { AccountRow, EarningRow } from './account.ts';
import type { OrderFacts } from './earning-queries.ts';
import { earningRules } from './earning-rules.ts';

/*
 * What orders are entitled to, and the tier, replayed over orders as they were placed. It depends on what is known, and
 * not on what was known first.
 */

export interface Member {
  row: Pick<AccountRow, 'customerId' | 'joinedAt' | 'createdAt'>;
  programme: ProgrammeRules;
}

/** An order on its way through the replay. */
export interface OrderInReplay extends ReplayedOrder {
  orderId: string;
  /** What was stored; null: nothing. */
  before: EarningRow | null;
  /** What it is entitled to: known once it was replayed. */
  after: EarningRow;
}

/** @param exponent of the base currency */
export function orderInReplay(
  { row: { customerId, joinedAt }, programme }: Member,
  facts: OrderFacts,
  goods: OrderGoods,
  before: EarningRow | null,
  exponent: number,
): OrderInReplay {
  const { placedAt, id: orderId } = facts;
  const rules = isBefore(placedAt, joinedAt) ? null : earningRules(programme, placedAt);
  const none = { customerId, orderId, placedAt, entitled: 0, spend: 0, tierPoints: 0, tier: null };
  const order: OrderInReplay = {
    placedAt,
    orderId,
    before,
    after: none,
    earn(tier) {
      if (rules === null) return { placedAt, spend: 0, points: 0 };
      const earned = worthOf(rules, facts, goods, tier, exponent);
      const counted = worthForTiers(rules, facts, earned, tier, exponent);
      // What it once counted goes on counting.
      const kept = rules.tierOnRefund === 'keep' ? before : null;
      const spend = Math.max(counted.spend, kept?.spend ?? 0);
      const tierPoints = Math.max(counted.points, kept?.tierPoints ?? 0);
      order.after = { ...none, entitled: earned.points, spend, tierPoints, tier: earns(rules, facts) ? tier : null };
      return { placedAt, spend, points: tierPoints };
    },
  };
  return order;
}

/** An order that is not there any more. */
function orderThatIsGone({ programme }: Member, before: EarningRow): OrderInReplay {
  const keeps = earningRules(programme, before.placedAt)?.tierOnRefund === 'keep';
  const { placedAt, orderId } = before;
  const spend = keeps ? before.spend : 0;
  const tierPoints = keeps ? before.tierPoints : 0;
  const after = { ...before, entitled: 0, spend, tierPoints, tier: null };
  return { placedAt, orderId, before, after, earn: () => ({ placedAt, spend, points: tierPoints }) };
}

export interface MemberReplay {
  /** All orders that count or counted, as they were placed; those that are gone are the last. */
  orders: OrderInReplay[];
  /** At `t`. */
  state: TierState;
  changes: TierChange[];
  /** The latest instant that decided about something. */
  lastAt: string;
}

/** All of what a member did. */
export interface MemberHistory {
  /** As they were placed. */
  orders: readonly OrderFacts[];
  earnings: readonly EarningRow[];
  returns: readonly GoodsReturn[];
  settings: readonly TierSetting[];
}

export function replayMember(member: Member, history: MemberHistory, t: string, exponent: number): MemberReplay {
  const { row, programme } = member;
  const stored = new Map(history.earnings.map((earning) => [earning.orderId, earning]));
  const present = goodsLeft(history.orders, history.returns).map(({ order, goods }) =>
    orderInReplay(member, order, goods, stored.get(order.id) ?? null, exponent),
  );
  const known = new Set(present.map(({ orderId }) => orderId));
  const gone = history.earnings
    .filter(({ orderId }) => !known.has(orderId))
    .map((earning) => orderThatIsGone(member, earning))
    .sort(byPlacing);
  const inTime = gone.length === 0 ? present : [...present, ...gone].sort(byPlacing);
  const tierRulesAt = (at: string) => rulesAt(programme, at)?.tiers ?? null;
  const first = begin(tierRulesAt(row.createdAt), row.joinedAt);
  const events = { orders: inTime, settings: history.settings };
  const { state, changes } = replay(first.state, t, events, new Contributions(), tierRulesAt);
  const all = first.change ? [first.change, ...changes] : changes;
  const lastAt = [
    row.joinedAt,
    inTime.at(-1)?.placedAt,
    history.returns.at(-1)?.returnedAt,
    all.at(-1)?.at,
  ].reduce<string>((last, at) => (at !== undefined && isBefore(last, at) ? at : last), row.joinedAt);
  return { orders: [...present, ...gone], state, changes: all, lastAt };
}

/** Sorting is stable: ties stay as they are. */
function byPlacing(a: { placedAt: string }, b: { placedAt: string }): number {
  if (isBefore(a.placedAt, b.placedAt)) return -1;
  return isBefore(b.placedAt, a.placedAt) ? 1 : 0;
}

/** Whether something else is stored of an order than the replay came to. */
export function isRestated({ before, after }: OrderInReplay): boolean {
  if (before === null) return after.entitled !== 0 || after.spend !== 0 || after.tierPoints !== 0;
  return (['entitled', 'spend', 'tierPoints', 'placedAt', 'tier'] as const).some(
    (name) => before[name] !== after[name],
  );
}

/** What new orders count in windows of which the rest is stored. */
export class AddedContributions extends Contributions {
  readonly #stored: ReadonlyMap<string, { spend: number; points: number }>;

  constructor(stored: ReadonlyMap<string, { spend: number; points: number }>) {
    super();
    this.#stored = stored;
  }

  override in(rules: Parameters<Contributions['in']>[0], t: string): number {
    return (this.#stored.get(t)?.[rules.basis] ?? 0) + super.in(rules, t);
  }
}
