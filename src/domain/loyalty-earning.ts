import {
  add,
  decimalFraction,
  divide,
  type Fraction,
  fraction,
  isPositive,
  multiply,
  nothing,
  one,
} from './fraction.ts';
import { type GoodsOrder, type LeftOfOrder, meanOf, OrderGoods } from './loyalty-goods.ts';
import { baseAmount, divideRounded } from './money.ts';
import { addDays, type CalendarInterval, intervalAt, isBefore, resolveInstant } from './period.ts';

/** Where the fraction of a point goes: never given, from a half on, always given. */
export type PointRounding = 'down' | 'half_up' | 'up';

/**
 * Whether what happens to orders later takes tiers away. recompute: tiers are those of the orders as they are now. keep:
 * what an order once counted goes on counting, whatever is refunded, sent back, cancelled or corrected.
 */
export type TierOnRefund = 'recompute' | 'keep';

/** How far points of an order are taken back that is worth less than it was (domain/loyalty-ledger.ts, `takeBack`). */
export type RefundPolicy = 'only_pending' | 'within_balance' | 'allow_negative';

export interface TierLevel {
  key: string;
  name: string;
  /** The qualifying amount from which the level is reached: minor units of the base currency, or points. */
  threshold: number;
  multiplier: number;
}

export interface TierRules {
  basis: 'spend' | 'points';
  /** What counts: the last so many days. */
  windowDays: number;
  /** How long a level above the first is held before it is reviewed. */
  periodDays: number;
  /** How long a level is kept when it is no longer reached. */
  graceDays: number;
  /** Which tier the order earns with that reaches a higher one. */
  reachingOrder: 'former_tier' | 'new_tier';
  /** Ascending; the first has threshold 0. */
  levels: readonly TierLevel[];
}

/** A window of `placedAt`, `[from, to)`, in which orders earn more. */
export interface PointCampaign {
  name: string;
  from: string;
  to: string;
  /** Only orders that name this campaign. */
  campaignId?: string | null | undefined;
  multiplier: number;
}

export type ExpiryUnit = Extract<CalendarInterval, 'day' | 'month' | 'year'>;

/** The rules of a programme, one version of them. Decimals are JSON numbers, read as the decimals they print as. */
export interface LoyaltyRules {
  /** Points for one major unit of the base currency. */
  pointsPerUnit: number;
  rounding: PointRounding;
  earnOn: 'paid' | 'fulfilled';
  pendingDays: number;
  /** Counted from `earnedAt`; null: never, unless one of the next two says so. */
  expiryDays: number | null;
  /** The last local day on which all points of these rules can be spent. */
  expiresOn: string | null;
  /** They last to the end of the local day, month or year of their expiry; without `expiryDays`, of the day they are active from. */
  expiresAtEndOf: ExpiryUnit | null;
  refundPolicy: RefundPolicy;
  tierOnRefund: TierOnRefund;
  includeShipping: boolean;
  includeFees: boolean;
  categories: readonly { category: string; multiplier: number }[];
  campaigns: readonly PointCampaign[];
  tiers: TierRules | null;
  /** Points. */
  bonuses: {
    welcome?: number | null | undefined;
    birthday?: number | null | undefined;
    anniversary?: number | null | undefined;
    purchase?: { count: number; points: number } | null | undefined;
    referral?: { referrer: number; referee: number } | null | undefined;
  };
  /** What a point is worth, minor units of the base currency. */
  pointValue: number;
}

/** What of an order decides about its points. */
export interface EarningOrder {
  placedAt: string;
  campaignId: string | null;
  /** `left.revenue` at the frozen rate, minor units of the base currency; null: no rate yet. */
  baseRevenue: number | null;
  items: readonly { readonly category: string | null }[];
  left: LeftOfOrder;
}

/** The most points that one transaction moves; an order that would earn more earns this. */
export const mostPoints = 1_000_000_000;

/**
 * Points of an order = round(baseRevenue ÷ 10^exponent × pointsPerUnit × tier multiplier × Π multipliers of the campaigns
 * that apply × goods factor). The goods factor is what the parts of the revenue count: the goods that are left × the mean of
 * the multipliers of their categories, weighted by what is left of each line; shipping and fees, unless the rules leave them
 * out, × the mean that the whole order had. Without lines the means are 1. Exact fractions, rounded once at the end; 0 without
 * revenue, `mostPoints` at most.
 * @param tierKey the level it earns with; null, or a key that these rules do not know: × 1
 */
export function pointsOfOrder(
  rules: LoyaltyRules,
  order: EarningOrder,
  tierKey: string | null,
  baseCurrencyExponent: number,
): number {
  if (order.baseRevenue === null || order.baseRevenue <= 0 || order.left.revenue <= 0) return 0;
  const level = rules.tiers?.levels.find(({ key }) => key === tierKey);
  const { numerator, denominator } = [
    fraction(order.baseRevenue, 10n ** BigInt(baseCurrencyExponent)),
    decimalFraction(rules.pointsPerUnit),
    decimalFraction(level?.multiplier ?? 1),
    ...rules.campaigns
      .filter((campaign) => applies(campaign, order))
      .map(({ multiplier }) => decimalFraction(multiplier)),
    goodsFactor(rules, order),
  ].reduce(multiply);
  const points = roundPoints(numerator, denominator, rules.rounding);
  return points > BigInt(mostPoints) ? mostPoints : Number(points);
}

/** Whether an order of this state earns: it qualifies, and is paid or fulfilled, as the rules ask. */
export function earns(
  rules: Pick<LoyaltyRules, 'earnOn'>,
  order: { qualifying: boolean; paymentStatus: string | null; fulfillmentStatus: string | null },
): boolean {
  const status = rules.earnOn === 'paid' ? order.paymentStatus : order.fulfillmentStatus;
  return order.qualifying && status === rules.earnOn;
}

/** All of an order that decides about points and tiers. */
export interface RatedOrder extends GoodsOrder {
  placedAt: string;
  campaignId: string | null;
  /** Minor units of the order × this = of the base currency; null: no rate yet. */
  baseFactor: string | null;
  qualifying: boolean;
  test: boolean;
  paymentStatus: string;
  fulfillmentStatus: string;
}

export interface OrderWorth {
  points: number;
  /** Minor units of the base currency. */
  spend: number;
}

const worthless: OrderWorth = { points: 0, spend: 0 };

/** What an order earns by what is left of its goods; nothing while it does not earn. */
export function worthOf(
  rules: LoyaltyRules,
  order: RatedOrder,
  goods: OrderGoods,
  tierKey: string | null,
  baseCurrencyExponent: number,
): OrderWorth {
  if (!earns(rules, order)) return worthless;
  const left = goods.leftOver();
  const baseRevenue = baseAmount(left.revenue, order.baseFactor);
  const points = pointsOfOrder(rules, { ...order, left, baseRevenue }, tierKey, baseCurrencyExponent);
  return { points, spend: Math.max(0, baseRevenue ?? 0) };
}

/** What an order counts for tiers: what it earns; by rules that keep them never less than when it was placed. */
export function worthForTiers(
  rules: LoyaltyRules,
  order: RatedOrder,
  earned: OrderWorth,
  tierKey: string | null,
  baseCurrencyExponent: number,
): OrderWorth {
  if (rules.tierOnRefund !== 'keep') return earned;
  const asPlaced = { ...order, qualifying: !order.test, refunds: [] };
  const placed = worthOf(rules, asPlaced, new OrderGoods(asPlaced), tierKey, baseCurrencyExponent);
  return { points: Math.max(earned.points, placed.points), spend: Math.max(earned.spend, placed.spend) };
}

/** When points can be spent from, and until when. */
export interface LotDates {
  earnedAt: string;
  activeAt: string;
  /** They cannot be spent at this instant any more. Null: never expires. */
  expiresAt: string | null;
}

/** When points of these rules come and go. */
export type LotRules = Pick<LoyaltyRules, 'pendingDays' | 'expiryDays' | 'expiresOn' | 'expiresAtEndOf'>;

/** The dates of points earned at `earnedAt`: a day is 24 hours, and calendar days are those of the zone. */
export function lotDates(rules: LotRules, earnedAt: string, timeZone: string): LotDates {
  return {
    earnedAt,
    activeAt: addDays(earnedAt, rules.pendingDays),
    expiresAt: expiryOf(rules, earnedAt, timeZone),
  };
}

function expiryOf(
  { pendingDays, expiryDays, expiresOn, expiresAtEndOf }: LotRules,
  earnedAt: string,
  timeZone: string,
): string | null {
  if (expiresOn !== null) return intervalAt('day', resolveInstant(expiresOn, timeZone), timeZone).to;
  if (expiresAtEndOf !== null) {
    return intervalAt(expiresAtEndOf, addDays(earnedAt, expiryDays ?? pendingDays), timeZone).to;
  }
  return expiryDays === null ? null : addDays(earnedAt, expiryDays);
}

function applies(campaign: PointCampaign, { placedAt, campaignId }: EarningOrder): boolean {
  if (isBefore(placedAt, campaign.from) || !isBefore(placedAt, campaign.to)) return false;
  return campaign.campaignId == null || campaign.campaignId === campaignId;
}

function goodsFactor(
  { categories, includeShipping, includeFees }: LoyaltyRules,
  { items, left }: EarningOrder,
): Fraction {
  const multiplierOf = (at: number) => {
    // Orders have few lines: to look through hundreds of categories costs less than to index them.
    const rule = categories.find(({ category }) => category === items[at]?.category);
    return rule ? decimalFraction(rule.multiplier) : one;
  };
  const usual = meanOf(left.first, multiplierOf);
  const ofGoods = usual === null ? one : (meanOf(left.left, multiplierOf) ?? nothing);
  let counted = multiply(left.goods, ofGoods);
  for (const [isIncluded, part] of [
    [includeShipping, left.shipping],
    [includeFees, left.fees],
  ] as const) {
    if (isIncluded && isPositive(part)) counted = add(counted, multiply(part, usual ?? one));
  }
  return divide(counted, fraction(left.revenue));
}

/** Of two numbers ≥ 0. */
function roundPoints(numerator: bigint, denominator: bigint, rounding: PointRounding): bigint {
  switch (rounding) {
    case 'down':
      return numerator / denominator;
    case 'half_up':
      return divideRounded(numerator, denominator);
    case 'up':
      return (numerator + denominator - 1n) / denominator;
  }
}
