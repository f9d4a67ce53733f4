import { sql } from 'drizzle-orm';
import { date, index, integer, pgTable, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { amount as amountColumn, instant as instantColumn } from '../../platform/db/columns.ts';
import { calendarDate, id, instant, positiveAmount, text, version } from '../../platform/values.ts';
import { reference, referenceInput, sourceVersionInput } from '../references/model.ts';

/** Marketing campaigns: what interactions and orders can name, so that their results can be counted and attributed. */
export const campaigns = pgTable(
  'campaigns',
  {
    id: uuid('id').primaryKey(),
    version: integer('version').notNull(),
    name: textColumn('name').notNull(),
    channel: textColumn('channel'),
    startsOn: date('starts_on'),
    endsOn: date('ends_on'),
    /** Minor units of the base currency. */
    cost: amountColumn('cost'),
    audience: textColumn('audience'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [
    index('campaigns_created').on(t.createdAt, t.id),
    // Those without a start come last, see the order of the list.
    index('campaigns_starts').on(sql`coalesce(starts_on, 'infinity'::date)`, t.id),
  ],
);

const members = {
  name: text(200).meta({ description: 'What people call it.', example: 'Spring catalogue' }),
  channel: text(100).nullable().optional().meta({ description: 'Where it runs.', example: 'email' }),
  startsOn: calendarDate.nullable().optional().meta({ description: 'First day.' }),
  endsOn: calendarDate.nullable().optional().meta({ description: 'Last day; belongs to the campaign.' }),
  cost: positiveAmount
    .nullable()
    .optional()
    .meta({ description: 'What it cost in all, minor units of the base currency.', example: 250000 }),
  audience: text(2_000).nullable().optional().meta({ description: 'Whom it is for, in words.' }),
  references: z.array(referenceInput).max(20).optional(),
};

export const campaignInput = z.strictObject({ ...members, sourceVersion: sourceVersionInput.optional() }).meta({
  id: 'CampaignInput',
  description: 'As the document of PUT, members left out are cleared.',
  example: { name: 'Spring catalogue', channel: 'email', startsOn: '2026-03-01', endsOn: '2026-03-31', cost: 250000 },
});
export type CampaignInput = z.output<typeof campaignInput>;

export const campaignPatch = z
  .strictObject(members)
  .omit({ references: true })
  .partial()
  .meta({ id: 'CampaignPatch', description: 'Members left out stay as they are; null clears.' });
export type CampaignPatch = z.output<typeof campaignPatch>;

export const campaign = z
  .strictObject({
    id,
    name: z.string(),
    channel: z.string().nullable(),
    startsOn: calendarDate.nullable(),
    endsOn: calendarDate.nullable(),
    cost: z.int().nullable().meta({ description: 'Minor units of the base currency.' }),
    audience: z.string().nullable(),
    references: z.array(reference),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Campaign', description: 'A marketing campaign that interactions and orders can name.' });
export type Campaign = z.output<typeof campaign>;
