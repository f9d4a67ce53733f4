import { baseFactor } from '../../domain/money.ts';
import type { Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { type RateWanted, rateKey, ratesAt } from './queries.ts';

/** The rate a fact keeps for ever, and the factor between minor units that follows from it. */
export interface Frozen {
  exchangeRate: string | null;
  baseFactor: string | null;
}

export interface RateClaim extends RateWanted {
  /** The rate that came with the fact. */
  given?: string | null | undefined;
}

/**
 * Looks up the rates of a set of facts in one statement and answers how to freeze each: the rate given with the fact, 1
 * in the base currency, the latest uploaded one of its date, or none yet (metrics.md, 'Currency').
 */
export async function rateFreezer(
  tx: Transaction,
  context: Context,
  claims: RateClaim[],
): Promise<(claim: RateClaim) => Frozen> {
  const { baseCurrency, reportingTimeZone } = context;
  const open = claims.filter(({ given, currency }) => !given && currency !== baseCurrency);
  const wanted = [...new Map(open.map(({ currency, at }) => [rateKey({ currency, at }), { currency, at }])).values()];
  const rates = await ratesAt(tx, wanted, reportingTimeZone);
  return (claim) => {
    if (claim.currency === baseCurrency) return { exchangeRate: '1', baseFactor: '1' };
    const rate = claim.given ?? rates.get(rateKey(claim)) ?? null;
    return { exchangeRate: rate, baseFactor: rate === null ? null : baseFactor(rate, claim.currency, baseCurrency) };
  };
}
