import { sql } from 'drizzle-orm';
import { type Db, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { raiseStamps } from '../../records/stamps.ts';
import { assignments, fromExcluded } from '../../records/table.ts';
import { exchangeRates } from './record.ts';

/** A rate serves its own date and the seven days after. */
const find = statement<{ currency: string; at: string; rate: string | null }>(
  'find_rates',
  sql`select w."currency", w."at", (select x.rate from exchange_rates x where x.currency = w."currency"
      and x.date <= (w."at" at time zone ${param('zone')}::text)::date and x.date >= (w."at" at time zone ${param('zone')}::text)::date - 7
      order by x.date desc limit 1) as rate
    from json_to_recordset(${param('wanted')}::json) as w("currency" text, "at" timestamptz)`,
);

export interface RateWanted {
  currency: string;
  /** Instant of the fact; its date is the one of the reporting zone. */
  at: string;
}

export function rateKey({ currency, at }: RateWanted): string {
  return `${currency} ${at}`;
}

/** The latest uploaded rate of each currency at its date, not older than seven days, by `rateKey`. */
export async function ratesAt(db: Db, wanted: RateWanted[], reportingTimeZone: string): Promise<Map<string, string>> {
  if (wanted.length === 0) return new Map();
  const rows = await db.all(find, { wanted: JSON.stringify(wanted), zone: reportingTimeZone });
  return new Map(rows.flatMap((row) => (row.rate === null ? [] : [[rateKey(row), row.rate]])));
}

const share = statement('share_rates', sql`select pg_advisory_xact_lock_shared(hashtext('rapport exchange rates'))`);
const exclude = statement('exclude_rates', sql`select pg_advisory_xact_lock(hashtext('rapport exchange rates'))`);

/**
 * Facts that look for a rate and uploads of rates exclude each other, or a fact that found none could commit behind the
 * back of the upload that should complete it. Taken before any customer is locked.
 */
export async function shareRates(tx: Transaction): Promise<void> {
  await tx.all(share);
}

export async function excludeRates(tx: Transaction): Promise<void> {
  await tx.all(exclude);
}

/** What was uploaded for a date until now; null: nothing. */
export interface FormerRate {
  currency: string;
  date: string;
  rate: string | null;
}

const former = statement<FormerRate>(
  'former_rates',
  sql`select n."currency", n."date", x.rate from json_to_recordset(${param('rows')}::json) as n("currency" text, "date" date)
    left join exchange_rates x on x.currency = n."currency" and x.date = n."date"`,
);

export function formerRates(
  tx: Transaction,
  rows: readonly { currency: string; date: string }[],
): Promise<FormerRate[]> {
  return tx.all(former, { rows: JSON.stringify(rows) });
}

const upsert = statement<{ currency: string }>(
  'upsert_rates',
  sql`${insertRows(exchangeRates, param('rows'))}
    on conflict (currency, date) do update set ${assignments(exchangeRates, fromExcluded)}
      where exchange_rates.rate <> excluded.rate
    returning currency`,
);

/** Stores rates and answers how many are new or changed. */
export async function upsertRates(tx: Transaction, rows: (typeof exchangeRates.$inferSelect)[]): Promise<number> {
  return (await tx.all(upsert, { rows: JSON.stringify(rows) })).length;
}

export interface Waiting {
  customerId: string;
  id: string;
  currency: string;
  rate: string;
}

/** Facts without a rate for which there is one now, in the order of their customers. */
function waiting(table: 'orders' | 'returns', at: 'placed_at' | 'returned_at') {
  return statement<Waiting>(
    `${table}_waiting_for_rates`,
    sql`select f.customer_id as "customerId", f.id, f.currency, x.rate from ${sql.raw(table)} f
      cross join lateral (select r.rate from exchange_rates r where r.currency = f.currency
        and r.date <= (f.${sql.raw(at)} at time zone ${param('zone')}::text)::date
        and r.date >= (f.${sql.raw(at)} at time zone ${param('zone')}::text)::date - 7 order by r.date desc limit 1) x
      where f.base_factor is null and f.currency = any(${param('currencies')}::text[])
      order by f.customer_id, f.id limit ${param('limit')}::int`,
  );
}

function complete(table: 'orders' | 'returns') {
  return statement<{ id: string }>(
    `complete_${table}`,
    sql`update ${sql.raw(table)} f set exchange_rate = n."exchangeRate", base_factor = n."baseFactor", rate_given = false, ${raiseStamps('f')}
      from json_to_recordset(${param('rows')}::json) as n("customerId" uuid, "id" uuid, "exchangeRate" numeric, "baseFactor" numeric)
      where f.customer_id = n."customerId" and f.id = n."id" and f.base_factor is null returning f.id`,
  );
}

/** Per kind of fact: which wait for a rate, and giving it to them. */
export const waitingFacts = {
  orders: { waiting: waiting('orders', 'placed_at'), complete: complete('orders') },
  returns: { waiting: waiting('returns', 'returned_at'), complete: complete('returns') },
};

const reset = statement<{ cleared: number }>(
  'recompute_rates',
  sql`with dropped as (delete from exchange_rates),
    o as (update orders set rate_given = false, exchange_rate = case when currency = ${param('base')} then 1 end, base_factor = case when currency = ${param('base')} then 1 end
      where (currency = ${param('base')}) <> (base_factor is not distinct from 1) or (currency <> ${param('base')} and base_factor is not null) returning currency),
    r as (update returns set rate_given = false, exchange_rate = case when currency = ${param('base')} then 1 end, base_factor = case when currency = ${param('base')} then 1 end
      where (currency = ${param('base')}) <> (base_factor is not distinct from 1) or (currency <> ${param('base')} and base_factor is not null) returning currency)
    select (select count(*) from o where currency <> ${param('base')}) + (select count(*) from r where currency <> ${param('base')}) as cleared`,
);

const baseOf = statement<{ value: string }>(
  'base_currency_of',
  sql`select value from deployment_settings where key = 'BASE_CURRENCY'`,
);

/**
 * For a change of base currency: rates say what things were worth in the old one, so they go, and so do the values
 * frozen with them, except of facts in the new base currency. Answers how many facts have no base value now.
 */
export async function recomputeRates(tx: Transaction, baseCurrency: string): Promise<number> {
  const before = await tx.first(baseOf);
  if (before === null || before.value === baseCurrency) return 0;
  return (await tx.first(reset, { base: baseCurrency }))?.cleared ?? 0;
}
