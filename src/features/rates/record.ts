import { char, date, pgTable, primaryKey } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { decimal, instant } from '../../platform/db/columns.ts';
import { calendarDate, currency, decimalInput, decimalText } from '../../platform/values.ts';

/** What one major unit of `currency` was worth in the base currency on `date`. */
export const exchangeRates = pgTable(
  'exchange_rates',
  {
    currency: char('currency', { length: 3 }).notNull(),
    date: date('date').notNull(),
    rate: decimal('rate').notNull(),
    updatedAt: instant('updated_at').notNull(),
  },
  (t) => [primaryKey({ columns: [t.currency, t.date] })],
);

/** A rate as sent with a fact or uploaded: positive, as a decimal string or a number. */
export const rateInput = decimalInput
  .refine((value) => Number(value) >= 1e-9 && Number(value) <= 1e9, {
    error: 'must be between 0.000000001 and 1000000000',
    params: { code: 'rate_out_of_range' },
  })
  .meta({
    description: 'Base-currency major units per major unit of the currency; a decimal string (or a number).',
    example: '1.1534',
  });

export const exchangeRate = z
  .strictObject({
    date: calendarDate,
    currency,
    rate: decimalText.meta({
      description: 'Base-currency major units per major unit of `currency`.',
      example: '1.1534',
    }),
  })
  .meta({
    id: 'ExchangeRate',
    description: 'Serves the facts of its date and of the seven days after, in the reporting time zone.',
  });

export const exchangeRateInput = z
  .strictObject({ date: calendarDate, currency, rate: rateInput })
  .meta({ id: 'ExchangeRateInput' });

export const exchangeRatesInput = z
  .strictObject({ rates: z.array(exchangeRateInput).min(1).max(5000) })
  .meta({ id: 'ExchangeRatesInput', example: { rates: [{ date: '2026-03-01', currency: 'GBP', rate: '1.1534' }] } });

export const storedRates = z
  .strictObject({
    stored: z.int().meta({ description: 'Rates that are new or changed.' }),
    completedOrders: z.int().meta({ description: 'Orders that had no base-currency value and have one now.' }),
    completedReturns: z.int().meta({ description: 'Returns likewise.' }),
  })
  .meta({ id: 'StoredRates' });
