import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { baseFactor, exactInteger, safeNumber } from '../../domain/money.ts';
import { param, Retry, statement, type Transaction, transaction, type Values } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import { enqueue, type Job, job } from '../../platform/jobs.ts';
import { type Context, createContext } from '../../platform/operation.ts';
import { createPrincipal } from '../../platform/principal.ts';
import { calendarDate, currency, decimalText } from '../../platform/values.ts';
import type { Kind } from '../../records/record.ts';
import { writeRecords } from '../../records/write.ts';
import { orderRecord, revenueInBase } from '../orders/record.ts';
import { returnedInBase, returnRecord } from '../returns/record.ts';
import { excludeRates, type FormerRate } from './queries.ts';
import type { Restatement } from './record.ts';

/*
 * Corrected rates restate what was frozen from them: of the orders and returns from the first date to seven days after
 * the last one that were sent, those whose looked-up rate is not the one that would be looked up now. Each is changed as
 * a PATCH with `exchangeRate: null` would change it, with all that follows from it.
 */

/** Facts of one transaction, at most. What an upload finds beyond that is for a job. */
const step = 500;

const restating = z.strictObject({
  /** Per currency, the first and last date that were sent. */
  spans: z.array(z.strictObject({ currency, from: calendarDate, to: calendarDate })),
  former: z.array(z.strictObject({ currency, date: calendarDate, rate: decimalText.nullable() })),
});
type Restating = z.output<typeof restating>;

/** What a set of uploaded rates may restate. */
export function restatingBy(former: readonly FormerRate[]): Restating {
  const dates = new Map<string, string[]>();
  for (const { currency: of, date } of former) dates.set(of, [...(dates.get(of) ?? []), date]);
  const spans = [...dates].map(([of, all]) => {
    const sorted = all.sort();
    return { currency: of, from: sorted[0] ?? '', to: sorted.at(-1) ?? '' }; // of at least one date
  });
  return { spans, former: [...former] };
}

const zone = sql`${param('zone')}::text`;
const startOf = (date: string) => sql`((${sql.raw(date)})::timestamp at time zone ${zone})`;

/** The latest of some rates (`r`: date, rate) on the date of fact `f` and the seven days before. */
const latest = (
  rates: SQL,
  at: SQL,
) => sql`(select r.rate from ${rates} where r.date <= (${at} at time zone ${zone})::date
    and r.date >= (${at} at time zone ${zone})::date - 7 order by r.date desc limit 1)`;

/**
 * Facts whose rate is not the uploaded one, and whether that restates them (`due`). Of what a previous version wrote
 * nobody noted where its rate came from: what had the rate that was uploaded until now is taken for looked up.
 */
function differing(kind: Kind, { at, counts, before, after }: { at: SQL; counts: SQL; before: SQL; after: SQL }): SQL {
  const formerly = latest(
    sql`(select e.date, e.rate from exchange_rates e where e.currency = f.currency
        and not exists (select from former m where m.currency = f.currency and m.date = e.date)
      union all select m.date, m.rate from former m where m.currency = f.currency and m.rate is not null) r`,
    at,
  );
  return sql`former as materialized (select * from json_to_recordset(${param('former')}::json) as m("currency" text, "date" date, "rate" numeric)),
    differing as (
      select f.customer_id, f.id, f.version, f.currency, ${at} as at, ${counts} as counts, ${before} as before, ${after} as after,
        case when f.rate_given is null then f.exchange_rate is not distinct from ${formerly} else not f.rate_given end as due
      from json_to_recordset(${param('spans')}::json) as w("currency" text, "from" date, "to" date, "unit" numeric)
        join ${kind.table} f on f.currency = w."currency" and ${at} >= ${startOf('w."from"')} and ${at} < ${startOf('w."to" + 8')}
        cross join lateral (select ${latest(sql`(select e.date, e.rate from exchange_rates e where e.currency = f.currency) r`, at)} as rate) x
      where f.base_factor is not null and f.exchange_rate <> x.rate)`;
}

interface DueFact {
  id: string;
  version: number;
  at: string;
}

interface Totals {
  currency: string;
  facts: number;
  kept: number;
  before: string;
  after: string;
}

function restatable(kind: Kind, parts: Parameters<typeof differing>[1]) {
  const found = differing(kind, parts);
  return {
    kind,
    due: statement<DueFact>(
      `due_${kind.plural}_of_rates`,
      sql`with ${found} select id, version, at from differing
        where due and (at, id) > (${param('afterAt')}::timestamptz, ${param('afterId')}::uuid)
        order by at, id limit ${sql.raw(String(step))}`,
    ),
    totals: statement<Totals>(
      `totals_of_${kind.plural}_of_rates`,
      sql`with ${found} select currency, count(*) filter (where due) as facts, count(*) filter (where not due) as kept,
          coalesce(sum(before) filter (where due and counts), 0) as before, coalesce(sum(after) filter (where due and counts), 0) as after
        from differing group by currency`,
    ),
  };
}

const ofOrders = restatable(orderRecord, {
  at: sql`f.placed_at`,
  counts: sql`f.qualifying`,
  before: sql`f.base_revenue`,
  after: revenueInBase(sql`(x.rate * w."unit")`),
});
const ofReturns = restatable(returnRecord, {
  at: sql`f.returned_at`,
  counts: sql`true`,
  before: sql`f.base_net`,
  after: returnedInBase(sql`(x.rate * w."unit")`),
});

type Setting = Pick<Context, 'baseCurrency' | 'reportingTimeZone'>;

function valuesOf({ spans, former }: Restating, { baseCurrency, reportingTimeZone }: Setting): Values {
  const withUnits = spans.map((span) => ({ ...span, unit: baseFactor('1', span.currency, baseCurrency) }));
  return { spans: JSON.stringify(withUnits), former: JSON.stringify(former), zone: reportingTimeZone };
}

/**
 * Restates what the rates just uploaded change, in this transaction, or if there is much by a job that it adds; and says
 * what changes. With `dryRun` it only says so. The caller has excluded other uploads.
 */
export async function restate(
  tx: Transaction,
  context: Context,
  what: Restating,
  { dryRun }: { dryRun: boolean },
): Promise<Restatement> {
  const values = valuesOf(what, context);
  const [orders, returns] = await Promise.all([tx.all(ofOrders.totals, values), tx.all(ofReturns.totals, values)]);
  const facts = [...orders, ...returns].reduce((all, row) => all + row.facts, 0);
  const asJob = facts > step;
  if (!dryRun && asJob) enqueue(tx, restateRates, what);
  if (!dryRun && !asJob) for (const one of [ofOrders, ofReturns]) await restateSome(tx, context, one, values, first);
  return {
    asJob,
    currencies: what.spans.map(({ currency: of }) => {
      const [order, returned] = [orders, returns].map((rows) => rows.find((row) => row.currency === of));
      const amount = (text = '0') => safeNumber(exactInteger(text));
      return {
        currency: of,
        orders: order?.facts ?? 0,
        returns: returned?.facts ?? 0,
        kept: (order?.kept ?? 0) + (returned?.kept ?? 0),
        revenueBefore: amount(order?.before),
        revenueAfter: amount(order?.after),
        returnedBefore: amount(returned?.before),
        returnedAfter: amount(returned?.after),
      };
    }),
  };
}

const first = { at: '-infinity', id: '00000000-0000-0000-0000-000000000000' };

/** Restates the next facts, and answers the last of them; null when there are no more. */
async function restateSome(
  tx: Transaction,
  context: Context,
  { kind, due }: ReturnType<typeof restatable>,
  values: Values,
  after: { at: string; id: string },
): Promise<{ at: string; id: string } | null> {
  const found = await tx.all(due, { ...values, afterAt: after.at, afterId: after.id });
  const results = await writeRecords(
    kind,
    tx,
    context,
    found.map(({ id, version }) => ({ mode: 'patch', id, expectedVersion: version, input: { exchangeRate: null } })),
  );
  for (const result of results) {
    if (!(result instanceof Problem)) continue;
    // It was read before its customer was locked: what it is now decides.
    if (result.code === 'version_mismatch' || result.code === 'not_found') throw new Retry(`a ${kind.name} changed`);
    throw result;
  }
  return found.length < step ? null : (found.at(-1) ?? null);
}

/** A run finds what is still to be done, so it may be repeated. */
export const restateRates: Job<typeof restating> = job({
  name: 'restateRates',
  payload: restating,
  queue: 'restateRates',
  async run(services, what, { now, signal }) {
    const context = { ...createContext(services, createPrincipal('rates', []), 'restate-rates'), now };
    const values = valuesOf(what, context);
    for (const one of [ofOrders, ofReturns]) {
      for (let after: typeof first | null = first; after !== null; ) {
        signal.throwIfAborted();
        const from: typeof first = after;
        after = await transaction(services.pool, async (tx) => {
          await excludeRates(tx);
          return restateSome(tx, context, one, values, from);
        });
      }
    }
  },
});
