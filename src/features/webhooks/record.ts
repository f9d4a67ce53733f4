import { sql } from 'drizzle-orm';
import { foreignKey, index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { sendingErrors } from '../../platform/outgoing.ts';
import { count, instant, integer, json, key, recordId, text, version, words } from '../../records/fields.ts';
import { storedTable } from '../../records/table.ts';

export const webhookStatus = z.enum(['enabled', 'disabled']).meta({
  id: 'WebhookStatus',
  description:
    'disabled: nothing is sent. Once it is enabled again, it goes on with the first event that it has not heard of.',
  example: 'enabled',
});

export const webhookDisabledReasons = ['request', 'gone', 'client', 'partner', 'scope', 'secret'] as const;
export type WebhookDisabledReason = (typeof webhookDisabledReasons)[number];
export const webhookDisabledReason = z.enum(webhookDisabledReasons).meta({
  id: 'WebhookDisabledReason',
  description:
    'request: somebody asked for it. gone: the receiver answered 410. client: its client is disabled or revoked. partner: its partner is suspended or gone. scope: its client lost events:read. secret: its secret cannot be read any more, because the root key of the service was replaced; rotate the secret.',
});

const names = z.array(z.string());

export const webhookMembersSent = {
  url: text(2000)
    .plain()
    .required()
    .says(
      'Where events are sent to by POST: `https:`, in development also `http:`. Addresses of private networks are refused, unless the operator allows them.',
      'https://shop.example/hooks/rapport',
    ),
  description: text(2000).plain(),
  kinds: json(names.min(1)).plain().says('Only these kinds. Default: all that it may hear of.', ['order', 'refund']),
  types: json(names.min(1)).plain().says('Only these types. Default: all.', ['order.created', 'customer.merged']),
  include: json(names)
    .plain()
    .defaultsTo([])
    .says(
      '`record`: each event comes with the record as it may be seen at the delivery, as `current`. Default: nothing.',
    ),
  status: words(webhookStatus).defaultsTo('enabled'),
};

export const webhookFields = {
  id: key(),
  version: version(),
  ...webhookMembersSent,
  disabledReason: words(webhookDisabledReason).readOnly().says('Why it is disabled; null: it is not.'),
  disabledAt: instant().readOnly(),
  client: text(255).plain().required().readOnly().says('The client that made it, and as which it hears.'),
  partnerId: recordId().readOnly().says('The partner to whose customers it is scoped; null: it is not.'),
  scopes: json(names)
    .plain()
    .required()
    .readOnly()
    .says('The scopes of the token that made it. It hears what these, and its client still, may read.', [
      'events:read',
      'orders:read',
    ]),
  /** Encrypted under the id of the webhook (platform/auth/stored-secrets.ts). */
  sealedSecret: text(500).plain().required().internal(),
  sealedFormerSecret: text(500).plain().internal(),
  formerSecretUntil: instant()
    .readOnly()
    .says('Until then deliveries are also signed with the secret before; null: there is none.'),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/** Where changes are told to. */
export const webhooks = storedTable('webhooks', {
  name: 'webhooks',
  label: 'Webhooks',
  access: 'partner',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'webhook' },
  fields: webhookFields,
  extras: (t) => [index('webhooks_created').on(t.createdAt, t.id)],
});
export type WebhookRow = typeof webhooks.$inferSelect;

/** How far a webhook has heard: apart from it, as this changes all the time. */
export const webhookPositions = storedTable('webhook_positions', {
  name: 'webhookPositions',
  label: 'Positions of webhooks',
  access: 'service',
  nature: 'fact',
  owner: null,
  partOf: { table: webhooks, by: 'webhookId' },
  key: ['webhookId'],
  guard: null,
  feed: 'none',
  fields: {
    webhookId: recordId().required(),
    /** Of the last event that was sent, or left out by its filters. */
    position: count().required(),
    /** Nothing got through of late: until then nothing new is tried, and then one event at a time. */
    heldUntil: instant(),
  },
  extras: (t) => [foreignKey({ columns: [t.webhookId], foreignColumns: [webhooks.id] }).onDelete('cascade')],
});

export const webhookOutcome = z.enum(['waiting', 'delivered', 'failed']).meta({
  id: 'WebhookOutcome',
  description:
    'waiting: it will be sent at `nextAttemptAt`. delivered: the receiver answered 2xx. failed: it is not tried any more; it can be resent.',
  example: 'delivered',
});

export const webhookError = z.enum([...sendingErrors, 'status', 'redirected', 'event_gone']).meta({
  id: 'WebhookError',
  description:
    'Why the last attempt failed. timeout: there was no answer within 15 seconds. address_refused: the host has an address of a private network. status: the answer was not 2xx. redirected: it was 3xx; redirects are not followed. event_gone: the event is not kept any more, or may not be heard any more.',
  example: 'timeout',
});
export type WebhookError = z.output<typeof webhookError>;

export const deliveryFields = {
  webhookId: recordId().required(),
  id: key().says('The id of the event, and `webhook-id` of every attempt.'),
  partnerId: recordId().internal(),
  type: text(200).plain().required().says('The type of the event.', 'order.updated'),
  recordId: text(300).plain().required().says('The id of the record that the event is about.'),
  outcome: words(webhookOutcome).required(),
  attempts: count().required().says('How often it was sent.'),
  status: integer(100, 999).says('The HTTP status of the last answer; null: there was none.', 200),
  error: words(webhookError).says('Null: the last attempt succeeded, or there was none yet.'),
  duration: count().says('Milliseconds that the last attempt took.', 38),
  lastAttemptAt: instant(),
  nextAttemptAt: instant().says('When it is sent next; null: it is not.'),
  /** It is not tried again after that. */
  triedUntil: instant().required().says('After that it is not tried again.'),
  createdAt: instant().required(),
};

/** How long deliveries are kept after the last attempt. */
export const keptDays = 30;

/**
 * What was sent and what became of it: ids, no values. Without a foreign key, as there are many: they are written under the lock of their
 * webhook, and deleted with it.
 */
export const webhookDeliveries = storedTable('webhook_deliveries', {
  name: 'webhookDeliveries',
  label: 'Deliveries of webhooks',
  access: 'partner',
  nature: 'fact',
  owner: null,
  partOf: { table: webhooks, by: 'webhookId' },
  key: ['webhookId', 'id'],
  guard: null,
  feed: 'none',
  fields: deliveryFields,
  extras: (t) => [
    index('webhook_deliveries_next').on(t.webhookId, t.nextAttemptAt).where(sql`next_attempt_at is not null`),
    index('webhook_deliveries_failed').on(t.webhookId, t.id).where(sql`outcome = 'failed'`),
  ],
});
export type DeliveryRow = typeof webhookDeliveries.$inferSelect;
