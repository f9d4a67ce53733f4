import { sql } from 'drizzle-orm';
import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { boolean, instant, integer, money, recordId, text, words } from '../../records/fields.ts';
import { record } from '../../records/record.ts';
import { campaigns } from '../campaigns/record.ts';
import { customerOwner } from '../customers/owner.ts';

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

/** The words of an interaction: neither stems nor accents are folded, for texts come in all languages. */
export const searchedWords = sql`to_tsvector('simple', coalesce(topic, '') || ' ' || coalesce("text", ''))`;

/** Somebody was in contact: what a machine sent by itself is none. */
export const isTouch = sql`not automatic`;

/** We have answered somebody: outbound, or with a member of staff. An ad that is shown answers nobody, nor does a machine. */
export const isResponse = sql`(direction = 'outbound' or staff is not null) and kind <> 'ad_impression' and ${isTouch}`;

const example = {
  customer: { source: 'shop', externalId: '17850' },
  kind: 'phone',
  direction: 'inbound',
  occurredAt: '2026-03-01T08:26:00Z',
  topic: 'delivery',
  outcome: 'solved',
  staff: 'maria',
  seconds: 340,
};

/**
 * Contacts with customers on every channel, keyed by customer. Append-mostly: there are an order of magnitude more of
 * them than of anything else, so every index has to earn its keep.
 */
export const interactionRecord = record('interaction', {
  plural: 'interactions',
  label: 'Contacts',
  owner: customerOwner,
  naming: 'may',
  access: { scope: 'interactions', partners: ['read', 'create', 'update'], selfService: [] },
  listedBy: {},
  filterIndex: 'one',
  fields: {
    kind: words(interactionKind).required().filter(),
    direction: words(direction).filter(),
    automatic: boolean()
      .defaultsTo(false)
      .says(
        'Sent by a machine by itself, such as a confirmation of receipt or an out-of-office reply: it is neither an answer nor a touch, so no metric of leads and campaigns, no score and no survey counts it. A mailing that somebody sends is not automatic. Default: false.',
        false,
      ),
    channel: text(100).plain().filter().says('Channel, as your systems call it.', 'hotline'),
    occurredAt: instant().required().range().sort().happened(),
    topic: text(200).personal().filter().says('The topic, in a few words: personal data.', 'delivery'),
    outcome: text(200).personal().filter().says('The outcome: personal data.', 'solved'),
    staff: text(200).plain().filter('named').says('The member of staff.', 'maria'),
    seconds: integer(0, 31_622_400).says('Duration in seconds.', 340),
    pages: integer(0, 1_000_000).says('Pages seen on a web visit.', 4),
    cost: money().inBaseCurrency().says('Cost to serve, minor units of the base currency.', 420),
    campaignId: recordId()
      .references(() => campaigns.id)
      .filter('named')
      .says('The campaign it belongs to.'),
    /** Checked when written; an order that is deleted or moved later leaves the id behind. */
    orderId: recordId().filter().says('The order it is about; one of the same customer.'),
    ticket: text(100).personal().filter().says('The ticket it is about: personal data.', 'T-1042'),
    text: text(10_000).personal().says('Free text: personal data.'),
  },
  extras: (t) => [
    // The timeline's order, what scores read, and the last touch, from the index alone.
    index('interactions_customer_time').on(t.customerId, t.occurredAt, t.id, t.automatic),
    index('interactions_occurred').on(t.occurredAt, t.id),
    // A page of a campaign's, and whom it touched when, read from the index alone.
    index('interactions_campaign')
      .on(t.campaignId, t.occurredAt, t.id, t.customerId)
      .where(sql`campaign_id is not null`),
    // Whose staff have left is far back: neither of the indexes around would find them soon.
    index('interactions_staff').on(t.staff, t.occurredAt, t.id).where(sql`staff is not null`),
    // When a lead was first answered, read from the index alone: a fetch per lead is ten times the time.
    index('interactions_answers').on(t.customerId, t.occurredAt).where(isResponse),
    // What was told late or changed since invitations to surveys were planned.
    index('interactions_updated').on(t.updatedAt, t.id),
    // Of all rows: where the index is partial, the planner takes a common word for a rare one.
    index('interactions_words').using('gin', searchedWords),
  ],
  timeline: {
    members: [
      'kind',
      'direction',
      'automatic',
      'channel',
      'topic',
      'outcome',
      'staff',
      'seconds',
      'campaignId',
      'orderId',
      'text',
    ],
  },
  refine: (input) =>
    input
      .refine(({ source, externalId }) => externalId === undefined || source !== undefined, {
        error: 'is required with externalId',
        path: ['source'],
        params: { code: 'required' },
      })
      .refine(({ externalId, sourceVersion }) => externalId !== undefined || sourceVersion === undefined, {
        error: 'needs an externalId',
        path: ['sourceVersion'],
        params: { code: 'needs_external_id' },
      }),
  says: {
    record: 'One contact with a customer, on whatever channel.',
    input:
      '`customerId` or `customer` is required. With `source` and `externalId`, you can send it again and change it; without `externalId`, each call creates a new interaction, unless you retry with an Idempotency-Key.',
    references: 'Further references in other systems.',
    example: { source: 'hotline', externalId: 'call-88213', ...example },
    documentExample: example,
    patchExample: { outcome: 'solved', seconds: 340 },
  },
});

export const interactions = interactionRecord.table;
