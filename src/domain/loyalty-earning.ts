import { divideRounded, parseDecimal } from './money.ts';
import { addDays, isBefore } from './period.ts';

/** Where the fraction of a point goes: never given, from a half on, always given. */
export type PointRounding = 'down' | 'half_up' | 'up';

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

/** The rules of a programme, one version of them. Decimals are JSON numbers, read as the decimals they print as. */
export interface LoyaltyRules {
  /** Points for one major unit of the base currency. */
  pointsPerUnit: number;
  rounding: PointRounding;
  earnOn: 'paid' | 'fulfilled';
  pendingDays: number;
  /** Counted from `earnedAt`; null: never. */
  expiryDays: number | null;
  refundPolicy: RefundPolicy;
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
  /** (total − tax − refunds) at the frozen rate, minor units of the base currency; null: no rate yet. */
  baseRevenue: number | null;
  placedAt: string;
  campaignId: string | null;
  /** Line totals in the order's own currency: only their shares count. */
  items: readonly { readonly category: string | null; readonly total: number }[];
}

/** The most points that one transaction moves; an order that would earn more earns this. */
export const mostPoints = 1_000_000_000;

interface Fraction {
  numerator: bigint;
  denominator: bigint;
}

/**
 * Points of an order = round(baseRevenue ÷ 10^exponent × pointsPerUnit × tier multiplier × Π multipliers of the campaigns
 * that apply × Σ wᵢ·category multiplierᵢ), wᵢ = max(itemᵢ, 0) ÷ Σ max(item, 0); without items, or with none above 0, the
 * last factor is 1. Exact fractions, rounded once at the end; 0 without revenue, `mostPoints` at most.
 * @param tierKey the level held when the order was first processed; null, or a key that these rules do not know: × 1
 */
export function pointsOfOrder(
  rules: LoyaltyRules,
  order: EarningOrder,
  tierKey: string | null,
  baseCurrencyExponent: number,
): number {
  if (order.baseRevenue === null || order.baseRevenue <= 0) return 0;
  const level = rules.tiers?.levels.find(({ key }) => key === tierKey);
  const factors = [
    { numerator: BigInt(order.baseRevenue), denominator: 10n ** BigInt(baseCurrencyExponent) },
    fraction(rules.pointsPerUnit),
    fraction(level?.multiplier ?? 1),
    ...rules.campaigns.filter((campaign) => applies(campaign, order)).map(({ multiplier }) => fraction(multiplier)),
    categoryFactor(rules, order.items),
  ];
  const numerator = factors.reduce((product, factor) => product * factor.numerator, 1n);
  const denominator = factors.reduce((product, factor) => product * factor.denominator, 1n);
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

/** When points can be spent from, and until when. */
export interface LotDates {
  earnedAt: string;
  activeAt: string;
  /** They cannot be spent at this instant any more. Null: never expires. */
  expiresAt: string | null;
}

/** The dates of points earned at `earnedAt`; a day is 24 hours. */
export function lotDates(rules: Pick<LoyaltyRules, 'pendingDays' | 'expiryDays'>, earnedAt: string): LotDates {
  const { pendingDays, expiryDays } = rules;
  return {
    earnedAt,
    activeAt: addDays(earnedAt, pendingDays),
    expiresAt: expiryDays === null ? null : addDays(earnedAt, expiryDays),
  };
}

function applies(campaign: PointCampaign, { placedAt, campaignId }: EarningOrder): boolean {
  if (isBefore(placedAt, campaign.from) || !isBefore(placedAt, campaign.to)) return false;
  return campaign.campaignId == null || campaign.campaignId === campaignId;
}

/** The mean of the lines' multipliers, weighted by what was paid for each; a line below 0 weighs nothing. */
function categoryFactor({ categories }: LoyaltyRules, items: EarningOrder['items']): Fraction {
  if (categories.length === 0) return one;
  const lines = items
    .filter(({ total }) => total > 0)
    .map(({ category, total }) => {
      // Orders have few lines: to look through hundreds of categories costs less than to index them.
      const rule = categories.find((candidate) => candidate.category === category);
      return { total: BigInt(total), ...(rule ? fraction(rule.multiplier) : one) };
    });
  // Denominators are powers of ten: the widest is a multiple of each.
  let denominator = 1n;
  for (const line of lines) if (line.denominator > denominator) denominator = line.denominator;
  let weighted = 0n;
  let weights = 0n;
  for (const line of lines) {
    weighted += line.total * line.numerator * (denominator / line.denominator);
    weights += line.total;
  }
  return weights === 0n ? one : { numerator: weighted, denominator: weights * denominator };
}

const one: Fraction = { numerator: 1n, denominator: 1n };

function fraction(decimal: number): Fraction {
  const { digits, scale } = parseDecimal(String(decimal));
  return { numerator: digits, denominator: 10n ** BigInt(scale) };
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
