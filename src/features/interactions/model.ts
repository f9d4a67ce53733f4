import { sql } from 'drizzle-orm';
import { index, integer, pgTable, primaryKey, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { amount as amountColumn, code, instant as instantColumn } from '../../platform/db/columns.ts';
import { personal } from '../../platform/personal.ts';
import { amount, id, instant, positiveAmount, smallInteger, text, version } from '../../platform/values.ts';
import { campaigns } from '../campaigns/model.ts';
import { customers } from '../customers/model.ts';
import { ownerInput } from '../orders/model.ts';
import { reference, referenceInput, sourceVersionInput } from '../references/model.ts';

/** The words of an interaction: neither stems nor accents are folded, for texts come in all languages. */
export const words = sql`to_tsvector('simple', coalesce(topic, '') || ' ' || coalesce("text", ''))`;

/** We have answered somebody: outbound, or with a member of staff. An ad that is shown answers nobody. */
export const isResponse = sql`(direction = 'outbound' or staff is not null) and kind <> 'ad_impression'`;

/**
 * Members that lists are filtered by, as one set: one small index for all of them. A value may be that of half of all rows
 * or of none, so statements with one are planned for it (`uneven` in the list).
 */
export const terms = sql`array_remove(array['kind:' || kind, 'direction:' || direction, 'channel:' || channel, 'topic:' || topic, 'outcome:' || outcome, 'ticket:' || ticket, 'order:' || order_id::text], null)`;

/**
 * Contacts with customers on every channel, keyed by customer (scale.md). Append-mostly: there are an order of magnitude
 * more of them than of anything else, so every index has to earn its keep.
 */
export const interactions = pgTable(
  'interactions',
  {
    customerId: uuid('customer_id')
      .notNull()
      .references(() => customers.id),
    id: uuid('id').notNull(),
    version: integer('version').notNull(),
    /** The reference it was created under; null for one that no other system names. */
    source: code('source'),
    externalId: code('external_id'),
    kind: textColumn('kind').$type<InteractionKind>().notNull(),
    direction: textColumn('direction').$type<Direction>(),
    channel: textColumn('channel'),
    occurredAt: instantColumn('occurred_at').notNull(),
    topic: textColumn('topic'),
    outcome: textColumn('outcome'),
    staff: textColumn('staff'),
    seconds: integer('seconds'),
    pages: integer('pages'),
    /** Cost to serve, minor units of the base currency. */
    cost: amountColumn('cost'),
    campaignId: uuid('campaign_id').references(() => campaigns.id),
    /** Checked when written; an order that is deleted or moved later leaves the id behind. */
    orderId: uuid('order_id'),
    ticket: textColumn('ticket'),
    text: textColumn('text'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.customerId, t.id] }),
    index('interactions_id').on(t.id),
    // The timeline's order, and what scores read.
    index('interactions_customer_occurred').on(t.customerId, t.occurredAt, t.id),
    index('interactions_occurred').on(t.occurredAt, t.id),
    // A page of a campaign's, and whom it touched when, read from the index alone.
    index('interactions_campaign')
      .on(t.campaignId, t.occurredAt, t.id, t.customerId)
      .where(sql`campaign_id is not null`),
    // Whose staff have left is far back: neither of the indexes around would find them soon.
    index('interactions_staff').on(t.staff, t.occurredAt, t.id).where(sql`staff is not null`),
    // When a lead was first answered, read from the index alone: a fetch per lead is ten times the time.
    index('interactions_responses').on(t.customerId, t.occurredAt).where(isResponse),
    index('interactions_terms').using('gin', terms),
    // Of all rows: where the index is partial, the planner takes a common word for a rare one.
    index('interactions_words').using('gin', words),
  ],
);

export const interactionKinds = [
  'email_sent',
  'email_opened',
  'email_clicked',
  'email_bounced',
  'email_received',
  'unsubscribe',
  'sms',
  'phone',
  'fax',
  'chat',
  'ticket',
  'retail_visit',
  'web_visit',
  'form',
  'ad_impression',
  'ad_click',
  'event',
  'social',
  'meeting',
  'post',
  'other',
] as const;
export type InteractionKind = (typeof interactionKinds)[number];
export const directions = ['inbound', 'outbound'] as const;
export type Direction = (typeof directions)[number];

export const interactionKind = z
  .enum(interactionKinds)
  .meta({ id: 'InteractionKind', description: 'What kind of contact it was.', example: 'phone' });
export const direction = z
  .enum(directions)
  .meta({ id: 'Direction', description: 'inbound: from the customer; outbound: from us.', example: 'inbound' });

/** What the source owns of an interaction; PUT clears what is left out. */
const interactionMembers = {
  ...ownerInput,
  kind: interactionKind,
  occurredAt: instant,
  direction: direction.nullable().optional(),
  channel: text(100)
    .nullable()
    .optional()
    .meta({ description: 'Channel, as your systems call it.', example: 'hotline' }),
  topic: text(200)
    .nullable()
    .optional()
    .meta({ description: 'What it was about, in a few words.', example: 'delivery' }),
  outcome: text(200).nullable().optional().meta({ description: 'What came of it.', example: 'solved' }),
  staff: text(200).nullable().optional().meta({ description: 'The member of staff.', example: 'maria' }),
  seconds: z
    .int()
    .min(0)
    .max(31_622_400)
    .nullable()
    .optional()
    .meta({ description: 'Duration in seconds.', example: 340 }),
  pages: z
    .int()
    .min(0)
    .max(1_000_000)
    .nullable()
    .optional()
    .meta({ description: 'Pages seen on a web visit.', example: 4 }),
  cost: positiveAmount
    .nullable()
    .optional()
    .meta({ description: 'Cost to serve, minor units of the base currency.', example: 420 }),
  campaignId: id.nullable().optional().meta({ description: 'The campaign it belongs to.' }),
  orderId: id.nullable().optional().meta({ description: 'The order it is about; one of the same customer.' }),
  ticket: text(100).nullable().optional().meta({ description: 'The ticket it is about.', example: 'T-1042' }),
  text: text(10_000).nullable().optional().meta({ description: 'Free text: personal data.' }),
  references: z.array(referenceInput).max(20).optional().meta({ description: 'Further names of it in other systems.' }),
  sourceVersion: sourceVersionInput.optional(),
};

/** The document of PUT …/external/{source}/{externalId}: the address carries the reference. */
export const interactionDocument = z.strictObject(interactionMembers).meta({
  id: 'InteractionDocument',
  description: 'An interaction as PUT takes it, whose address has the reference. Members left out are cleared.',
  example: {
    customer: { source: 'shop', externalId: '17850' },
    kind: 'phone',
    direction: 'inbound',
    occurredAt: '2026-03-01T08:26:00Z',
    topic: 'delivery',
    outcome: 'solved',
    staff: 'maria',
    seconds: 340,
  },
});
export type InteractionDocument = z.output<typeof interactionDocument>;

export const interactionInput = z
  .strictObject({
    ...interactionMembers,
    source: referenceInput.shape.source.optional(),
    externalId: referenceInput.shape.externalId.optional(),
  })
  .refine(({ source, externalId }) => externalId === undefined || source !== undefined, {
    error: 'is needed beside externalId',
    path: ['source'],
    params: { code: 'required' },
  })
  .refine(({ externalId, sourceVersion }) => externalId !== undefined || sourceVersion === undefined, {
    error: 'orders the messages of one externalId, which is missing',
    path: ['sourceVersion'],
    params: { code: 'needs_external_id' },
  })
  .meta({
    id: 'InteractionInput',
    description:
      '`customerId` or `customer` is required. With `source` and `externalId` a message can be repeated and changed; without `externalId` it is a new interaction each time, unless an Idempotency-Key says otherwise.',
    example: {
      source: 'hotline',
      externalId: 'call-88213',
      customer: { source: 'shop', externalId: '17850' },
      kind: 'phone',
      direction: 'inbound',
      occurredAt: '2026-03-01T08:26:00Z',
      topic: 'delivery',
      outcome: 'solved',
      staff: 'maria',
      seconds: 340,
    },
  });
export type InteractionInput = z.output<typeof interactionInput>;

export const interactionPatch = z
  .strictObject(interactionMembers)
  .omit({ references: true, sourceVersion: true })
  .partial()
  .meta({
    id: 'InteractionPatch',
    description: 'Members left out stay as they are; null clears.',
    example: { outcome: 'solved', seconds: 340 },
  });
export type InteractionPatch = z.output<typeof interactionPatch>;

export const interaction = z
  .strictObject({
    id,
    customerId: id,
    source: z.string().nullable(),
    externalId: z.string().nullable(),
    references: z.array(reference),
    kind: interactionKind,
    direction: direction.nullable(),
    channel: z.string().nullable(),
    occurredAt: instant,
    topic: z.string().nullable(),
    outcome: z.string().nullable(),
    staff: z.string().nullable(),
    seconds: smallInteger.nullable().meta({ description: 'Duration in seconds.' }),
    pages: smallInteger.nullable(),
    cost: amount.nullable().meta({ description: 'Cost to serve, minor units of the base currency.' }),
    campaignId: id.nullable(),
    orderId: id.nullable(),
    ticket: z.string().nullable(),
    text: personal(z.string()),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Interaction', description: 'One contact with a customer, on whatever channel.' });
export type Interaction = z.output<typeof interaction>;
