import { sql } from 'drizzle-orm';
import {
  char,
  foreignKey,
  index,
  integer,
  pgTable,
  primaryKey,
  smallint,
  text as textColumn,
  uuid,
} from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { amount as amountColumn, code, decimal, instant as instantColumn } from '../../platform/db/columns.ts';
import { personal } from '../../platform/personal.ts';
import { amount, currency, decimalText, id, instant, maxAmount, text, version } from '../../platform/values.ts';
import { customers } from '../customers/model.ts';
import { ownerInput, refundItem, refundItemInput } from '../orders/model.ts';
import { rateInput } from '../rates/model.ts';
import { reference, referenceInput, sourceVersionInput } from '../references/model.ts';

/** Returns that name no order: they lower the customer's net revenue on their own date and touch no order. */
export const returns = pgTable(
  'returns',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    id: uuid('id').notNull(),
    version: integer('version').notNull(),
    source: code('source').notNull(),
    externalId: code('external_id').notNull(),
    returnedAt: instantColumn('returned_at').notNull(),
    currency: char('currency', { length: 3 }).notNull(),
    total: amountColumn('total').notNull(),
    reason: textColumn('reason'),
    exchangeRate: decimal('exchange_rate'),
    baseFactor: decimal('base_factor'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
    baseTotal: amountColumn('base_total').generatedAlwaysAs(
      sql`case when total * base_factor < 9007199254740991 then round(total * base_factor)::bigint end`,
    ),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
    index('returns_id').on(t.id),
    index('returns_customer_returned').on(t.customerId, t.returnedAt),
    index('returns_returned').on(t.returnedAt, t.id),
    index('returns_updated').on(t.updatedAt, t.id),
    index('returns_without_rate').on(t.currency, t.returnedAt).where(sql`base_factor is null`),
  ],
);

export const returnItems = pgTable(
  'return_items',
  {
    customerId: uuid('customer_id').notNull(),
    returnId: uuid('return_id').notNull(),
    line: smallint('line').notNull(),
    sku: textColumn('sku').notNull(),
    quantity: decimal('quantity').notNull(),
    total: amountColumn('total'),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.returnId, t.line] }),
    foreignKey({
      columns: [t.customerId, t.returnId],
      foreignColumns: [returns.customerId, returns.id],
      name: 'return_items_return',
    }).onDelete('cascade'),
  ],
);

const returnMembers = {
  ...ownerInput,
  returnedAt: instant,
  currency,
  total: z.int().min(1).max(maxAmount).meta({ description: 'Minor units, positive.', example: 1290 }),
  reason: text(500).nullable().optional(),
  items: z.array(refundItemInput).max(1000).optional(),
  exchangeRate: rateInput.nullable().optional(),
  references: z
    .array(referenceInput)
    .max(20)
    .optional()
    .meta({ description: 'Further names of the return in other systems.' }),
  sourceVersion: sourceVersionInput.optional(),
};

export const returnDocument = z.strictObject(returnMembers).meta({
  id: 'ReturnDocument',
  description: 'A return as PUT takes it, whose address has the reference. Members left out are cleared.',
});
export type ReturnDocument = z.output<typeof returnDocument>;

export const returnInput = z
  .strictObject({ ...returnMembers, source: referenceInput.shape.source, externalId: referenceInput.shape.externalId })
  .meta({
    id: 'ReturnInput',
    description: '`customerId` or `customer` is required.',
    example: {
      source: 'shop',
      externalId: 'C536379',
      customer: { externalId: '14527' },
      returnedAt: '2026-03-01T09:41:00Z',
      currency: 'GBP',
      total: 2750,
    },
  });
export type ReturnInput = z.output<typeof returnInput>;

export const returnPatch = z
  .strictObject(returnMembers)
  .omit({ references: true, sourceVersion: true })
  .partial()
  .meta({ id: 'ReturnPatch', description: 'Members left out stay as they are; null clears.' });
export type ReturnPatch = z.output<typeof returnPatch>;

export const productReturn = z
  .strictObject({
    id,
    customerId: id,
    source: z.string(),
    externalId: z.string(),
    references: z.array(reference),
    returnedAt: instant,
    currency,
    total: amount,
    reason: personal(z.string()),
    items: z.array(refundItem),
    exchangeRate: decimalText.nullable(),
    baseTotal: z
      .int()
      .nullable()
      .meta({ description: 'Minor units of the base currency at the frozen rate; null without one.' }),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Return', description: 'A return that names no order.' });
export type ProductReturn = z.output<typeof productReturn>;
