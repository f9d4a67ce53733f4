import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Transaction } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { calendarDate, currency } from '../../platform/values.ts';
import { answered } from '../../records/table.ts';
import { lockOwners } from '../customers/queries.ts';
import { membersAmong, recomputeEarnings } from '../loyalty/earning.ts';
import { recomputeCustomers } from '../rollups/queries.ts';
import { frozen } from './freeze.ts';
import { excludeRates, formerRates, upsertRates, waitingFacts } from './queries.ts';
import { type ExchangeRate, exchangeRate, exchangeRates, exchangeRatesInput, storedRates } from './record.ts';
import { restate, restatingBy } from './restate.ts';

export const putExchangeRates = writeOperation({
  name: 'putExchangeRates',
  scope: 'exchange-rates:write',
  partners: false,
  selfService: false,
  summary: 'Upload exchange rates',
  description:
    'Adds rates, or replaces those of the same date and currency. Records that had no rate are completed; records that have one keep it (each record keeps the rate of its date), unless you send `restate`.',
  input: z.strictObject({
    ...writeParameters,
    restate: z.boolean().optional().meta({
      description:
        'Orders and returns from the first date sent to seven days after the last take the rate that is uploaded for them now, and with it their base value, points and tiers. Those whose `exchangeRate` was sent with them stay. With `dryRun`, you see what would change.',
    }),
    body: exchangeRatesInput,
  }),
  output: storedRates,
  idempotency: 'accepted',
  changed: ({ stored, completedOrders, completedReturns, restated }) =>
    stored + completedOrders + completedReturns > 0 ||
    (restated?.currencies.some(({ orders, returns }) => orders + returns > 0) ?? false),
  async run(tx, context, { body: { rates }, restate: restates = false, dryRun = false }) {
    const rows = new Map<string, (typeof rates)[number]>();
    for (const [index, rate] of rates.entries()) {
      const key = `${rate.currency} ${rate.date}`;
      if (rate.currency === context.baseCurrency)
        refuse(index, 'base_currency', 'You cannot upload a rate of the base currency: it is always 1.');
      if (rows.has(key)) refuse(index, 'duplicate', 'This date and currency is listed twice.');
      rows.set(key, rate);
    }
    await excludeRates(tx);
    const former = restates ? await formerRates(tx, rates) : null;
    const stored = await upsertRates(
      tx,
      [...rows.values()].map((rate) => ({ ...rate, updatedAt: context.now })),
    );
    const currencies = [...new Set(rates.map((rate) => rate.currency))];
    return {
      stored,
      restated: former && (await restate(tx, context, restatingBy(former), { dryRun })),
      completedOrders: await completeFacts(tx, context, 'orders', currencies),
      completedReturns: await completeFacts(tx, context, 'returns', currencies),
    };
  },
});

function refuse(index: number, code: string, message: string): never {
  throw new Problem('invalid_input', message, { errors: [{ pointer: `/rates/${index}`, code, message }] });
}

const step = 5000;

/** Freezes the rate of every fact that waited for one, some thousands at a time, customers locked in id order. */
async function completeFacts(
  tx: Transaction,
  context: Context,
  kind: 'orders' | 'returns',
  currencies: string[],
): Promise<number> {
  const { waiting, complete } = waitingFacts[kind];
  const zone = context.reportingTimeZone;
  let completed = 0;
  for (;;) {
    const seen = await tx.all(waiting, { currencies, zone, limit: step });
    const customers = seen.map(({ customerId }) => customerId);
    // Whoever has facts of the currency, by the thousands: the audit names the rates, not each of them.
    await lockOwners(tx, customers, 'some');
    const touched = seen.map(({ customerId, id }) => ({ customerId, orderId: id, isNew: false }));
    const members = await membersAmong(tx, context, kind === 'orders' ? touched : []);
    const rows = seen.map(({ customerId, id, currency: from, rate }) => ({
      customerId,
      id,
      ...frozen(rate, from, context.baseCurrency),
    }));
    completed += (await tx.all(complete, { rows: JSON.stringify(rows), now: context.now })).length;
    await recomputeCustomers(tx, customers, zone);
    await recomputeEarnings(tx, context, members);
    if (seen.length < step) return completed;
  }
}

const list = keysetList<ExchangeRate & { id: string }>({
  name: 'exchange_rates',
  select: sql`${exchangeRates.currency} as id, ${answered(exchangeRates)}`,
  from: sql`${exchangeRates}`,
  id: sql`${exchangeRates.currency}`,
  idType: 'char(3)',
  filters: {
    currency: (value) => sql`${exchangeRates.currency} = ${value}`,
    from: (value) => sql`${exchangeRates.date} >= ${value}::date`,
    to: (value) => sql`${exchangeRates.date} < ${value}::date`,
  },
  sorts: { date: { expression: sql`${exchangeRates.date}`, type: 'date', field: 'date' } },
  defaultSort: '-date',
});

export const listExchangeRates = readOperation({
  name: 'listExchangeRates',
  scope: 'exchange-rates:read',
  partners: false,
  selfService: false,
  summary: 'List exchange rates',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['date'], '-date'),
    currency: currency.optional(),
    from: calendarDate.optional().meta({ description: 'First date.' }),
    to: calendarDate.optional().meta({ description: 'The date after the last.' }),
  }),
  output: pageOf(exchangeRate).meta({ id: 'ExchangeRatePage' }),
  async run(context, input) {
    const { data, page } = await list(context.db, context, input);
    return { data: data.map(({ id: _, ...rate }) => rate), page };
  },
});
