import { sql } from 'drizzle-orm';
import { type Db, param, statement } from '../../platform/db/client.ts';

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
