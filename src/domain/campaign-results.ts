import { ratio, safeNumber } from './money.ts';

/** What a campaign brought, counted (features/campaigns/results-queries.ts says how it is attributed). */
export interface CampaignCounts {
  /** Interactions that name it. */
  touches: number;
  /** Distinct customers of these. */
  touchedCustomers: number;
  /** Touches by which the customer reacted. */
  responses: number;
  /** Distinct customers of these. */
  responders: number;
  leads: number;
  conversions: number;
  orders: number;
  /** Distinct customers of these. */
  buyers: number;
}

export interface CampaignSums extends CampaignCounts {
  /** Σ base revenue of the orders that have one, minor units. */
  revenue: bigint;
  /** What the campaign cost in all, minor units of the base currency; null: not known. */
  cost: number | null;
}

/** Money in minor units of the base currency; quotients are unrounded. */
export interface CampaignFigures {
  /** null beyond 2^53 − 1. */
  revenue: number | null;
  /** revenue − cost; null without a cost, and beyond 2^53 − 1. */
  revenueLessCost: number | null;
  /** responders ÷ touched customers; null when nobody was touched. */
  responseRate: number | null;
  /** cost ÷ count; null without a cost, and where there are none. */
  costPer: {
    touch: number | null;
    touchedCustomer: number | null;
    response: number | null;
    responder: number | null;
    lead: number | null;
    conversion: number | null;
    order: number | null;
    buyer: number | null;
  };
}

/** The ratios of a campaign. No cost is not a cost of 0, and nothing brought is not brought for nothing: both are null. */
export function campaignFigures(sums: CampaignSums): CampaignFigures {
  const { cost, revenue } = sums;
  const per = (count: number) => (cost === null || count === 0 ? null : ratio(BigInt(cost), BigInt(count)));
  return {
    revenue: safeNumber(revenue),
    revenueLessCost: cost === null ? null : safeNumber(revenue - BigInt(cost)),
    responseRate: sums.touchedCustomers === 0 ? null : ratio(BigInt(sums.responders), BigInt(sums.touchedCustomers)),
    costPer: {
      touch: per(sums.touches),
      touchedCustomer: per(sums.touchedCustomers),
      response: per(sums.responses),
      responder: per(sums.responders),
      lead: per(sums.leads),
      conversion: per(sums.conversions),
      order: per(sums.orders),
      buyer: per(sums.buyers),
    },
  };
}
