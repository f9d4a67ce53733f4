import { z } from 'zod';
import { typeNames } from '../../platform/type-names.ts';
import { currency as currencyCode, decimalInput, decimalText, smallInteger } from '../../platform/values.ts';
import { currency, date, decimal, instant } from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';

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

const rateFields = {
  date: date().plain().required(),
  currency: currency().required(),
  rate: decimal(rateInput, decimalText)
    .required()
    .says('Base-currency major units per major unit of `currency`; a decimal string.', '1.1534'),
};

/** What one major unit of `currency` was worth in the base currency on `date`. */
export const exchangeRates = storedTable('exchange_rates', {
  name: 'exchangeRates',
  label: 'Exchange rates',
  access: 'configuration',
  nature: 'fact',
  owner: null,
  key: ['currency', 'date'],
  guard: null,
  feed: { kind: 'exchange_rate', list: 'listExchangeRates' },
  fields: { ...rateFields, updatedAt: instant().required().internal() },
});

export const exchangeRate = z.strictObject(outputShape(rateFields)).meta({
  id: 'ExchangeRate',
  description: 'Applies to records of its date and of the seven days after, in the reporting time zone.',
});
export type ExchangeRate = z.output<typeof exchangeRate>;

export const exchangeRateInput = z.strictObject(inputShape(rateFields)).meta({ id: 'ExchangeRateInput' });

export const exchangeRatesInput = z
  .strictObject({ rates: z.array(exchangeRateInput).min(1).max(5000) })
  .meta({ id: 'ExchangeRatesInput', example: { rates: [{ date: '2026-03-01', currency: 'GBP', rate: '1.1534' }] } });

const sum = z.int().nullable();

/** What correcting rates changes in what was frozen from them. */
export const restatement = z
  .strictObject({
    asJob: z.boolean().meta({
      description: 'There is so much that a job does it, soon after the answer. The counts are as of the upload.',
    }),
    currencies: z.array(
      z
        .strictObject({
          currency: currencyCode,
          orders: smallInteger.meta({ description: 'Orders whose rate is looked up again and differs.' }),
          returns: smallInteger.meta({ description: 'Returns likewise.' }),
          kept: smallInteger.meta({
            description: 'Orders and returns with another rate that came with them, and which therefore stay.',
          }),
          revenueBefore: sum.meta({
            description:
              'Σ base value of these orders that metrics count, minor units of the base currency; null beyond 2^53 − 1.',
          }),
          revenueAfter: sum.meta({ description: 'The same at the corrected rates.' }),
          returnedBefore: sum.meta({ description: 'Σ base value of these returns.' }),
          returnedAfter: sum.meta({ description: 'The same at the corrected rates.' }),
        })
        .meta({ id: 'RestatedCurrency' }),
    ),
  })
  .meta({ id: 'RatesRestatement', description: 'What the corrected rates change.' });
export type Restatement = z.output<typeof restatement>;

export const storedRates = z
  .strictObject({
    stored: smallInteger.meta({ description: 'Rates that are new or changed.' }),
    completedOrders: smallInteger.meta({ description: 'Orders that had no base-currency value and have one now.' }),
    completedReturns: smallInteger.meta({ description: 'Returns likewise.' }),
    restated: restatement.nullable().meta({ description: 'null: without `restate`.' }),
  })
  .meta({ id: 'StoredRates' })
  .register(typeNames, { name: 'ExchangeRatesPayload' });
