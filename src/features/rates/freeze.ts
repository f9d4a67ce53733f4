import { baseFactor } from '../../domain/money.ts';
import { intervalAt } from '../../domain/period.ts';
import type { Warning } from '../../platform/batch.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { invalid } from '../../platform/errors.ts';
import type { Context } from '../../platform/operation.ts';
import { type RateWanted, rateKey, ratesAt, shareRates } from './queries.ts';

/** The rate a fact keeps for ever, and the factor between minor units that follows from it. */
export interface Frozen {
  exchangeRate: string | null;
  baseFactor: string | null;
  /** Whether it came with the fact; null: a previous version did not note it. */
  rateGiven: boolean | null;
}

/** A record without a rate counts in its own currency only. */
const missingRate: Warning = {
  code: 'missing_rate',
  message:
    'There is no exchange rate for the currency and date, so the record has no value in the base currency yet. Upload the rate, or send exchangeRate.',
};

export interface RateRequest extends RateWanted {
  /** The rate that came with the fact. */
  given?: string | null | undefined;
}

/**
 * Looks up the rates of a set of facts in one statement and answers how to freeze each: the rate given with the fact, 1
 * in the base currency, the latest uploaded one of its date, or none yet.
 */
async function rateFreezer(tx: Transaction, context: Context, requests: RateRequest[]): Promise<Freeze> {
  const { baseCurrency, reportingTimeZone } = context;
  const open = requests.filter(({ given, currency }) => !given && currency !== baseCurrency);
  const wanted = [...new Map(open.map(({ currency, at }) => [rateKey({ currency, at }), { currency, at }])).values()];
  const rates = await ratesAt(tx, wanted, reportingTimeZone);
  return (request) => {
    if (request.currency === baseCurrency) {
      if (request.given && Number(request.given) !== 1) {
        throw invalid('/exchangeRate', 'base_currency', 'The amounts are in the base currency, whose rate is 1.');
      }
      return { exchangeRate: '1', baseFactor: '1', rateGiven: false };
    }
    const rate = request.given ?? rates.get(rateKey(request)) ?? null;
    return { ...frozen(rate, request.currency, baseCurrency), rateGiven: Boolean(request.given) };
  };
}

export type Freeze = (request: RateRequest) => Frozen;

export function frozen(rate: string | null, currency: string, baseCurrency: string): Omit<Frozen, 'rateGiven'> {
  return { exchangeRate: rate, baseFactor: rate === null ? null : baseFactor(rate, currency, baseCurrency) };
}

/** The rate a stored fact has keeps, unless another is given or the currency or local date it belongs to changes. */
function keptRate(
  before: (Frozen & RateWanted) | null,
  request: RateRequest,
  reportingTimeZone: string,
): Frozen | null {
  if (!before?.baseFactor || request.given || before.currency !== request.currency) return null;
  const dateOf = (at: string) => intervalAt('day', at, reportingTimeZone).start;
  if (before.at !== request.at && dateOf(before.at) !== dateOf(request.at)) return null;
  return { exchangeRate: before.exchangeRate, baseFactor: before.baseFactor, rateGiven: before.rateGiven };
}

/** A record whose amounts are worth something in the base currency, by the rate of the date in `at`. */
type Rated<At extends string> = Frozen & { currency: string } & { [K in At]: string };
type RatedInput<At extends string> = { currency?: string | undefined; exchangeRate?: string | null | undefined } & {
  [K in At]?: string | undefined;
};

/** Looks up the rates that a set of documents may need; see `Writing.lookUp`. */
export function lookUpRates<At extends string>(at: At) {
  return (
    tx: Transaction,
    context: Context,
    { inputs, stored }: { inputs: readonly RatedInput<At>[]; stored: readonly Rated<At>[] },
  ): Promise<Freeze> => {
    const facts = stored.map((row) => ({ currency: row.currency, at: row[at] }));
    return rateFreezer(
      tx,
      context,
      inputs.flatMap((input) => ratesWanted(input[at], input, facts)),
    );
  };
}

/** The rate of a record that is about to be stored: the one it has, where that still holds; `null` in a PATCH looks again. */
export function freezeRate<At extends string>(
  at: At,
  next: Rated<At>,
  {
    before,
    input,
    mode,
    context,
    known,
    warn,
  }: {
    before: Rated<At> | null;
    input: RatedInput<At>;
    mode: string;
    context: Context;
    known: Freeze;
    warn: (warning: Warning) => void;
  },
): Frozen {
  const request = { currency: next.currency, at: next[at], given: input.exchangeRate };
  const kept =
    mode === 'patch' && input.exchangeRate === null
      ? null
      : keptRate(before && { ...before, at: before[at] }, request, context.reportingTimeZone);
  const rate = kept ?? known(request);
  if (rate.baseFactor === null) warn(missingRate);
  return rate;
}

/** The rates a document may need; a patch may change one of date and currency, of whichever stored fact it is. */
function ratesWanted(
  at: string | undefined,
  input: { currency?: string | undefined; exchangeRate?: string | null | undefined },
  stored: readonly RateWanted[],
): RateRequest[] {
  const { currency, exchangeRate: given } = input;
  if (currency !== undefined && at !== undefined) return [{ currency, at, given }];
  return stored.map((fact) => ({ currency: currency ?? fact.currency, at: at ?? fact.at, given }));
}

/** First statement of a write that may look for a rate: waits for an upload of rates under way, and holds off the next. */
export async function awaitRates(
  tx: Transaction,
  context: Context,
  writes: readonly {
    mode: string;
    input: { currency?: string | undefined; exchangeRate?: string | null | undefined };
  }[],
): Promise<void> {
  const mayLook = writes.some(
    ({ mode, input }) => mode === 'patch' || (input.currency !== context.baseCurrency && !input.exchangeRate),
  );
  if (mayLook) await shareRates(tx);
}
