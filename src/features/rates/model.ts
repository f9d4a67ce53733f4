import { char, date, pgTable, primaryKey } from 'drizzle-orm/pg-core';
import { decimal, instant } from '../../platform/db/columns.ts';

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
