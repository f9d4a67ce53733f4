import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { retryDays } from '../../domain/backoff.ts';
import { addSeconds } from '../../domain/period.ts';
import { invalid, notFound, Problem, problemType } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { ownDocument } from '../../platform/masked-fields.ts';
import {
  type Context,
  readOperation,
  requireScope,
  writeOperation,
  writeParameters,
} from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { nextStamps } from '../../records/stamps.ts';
import { answered, answeredMembers, inputShape, outputShape, sentMembers } from '../../records/table.ts';
import { eventKind } from '../change-feed/kinds.ts';
import { eventInclude, eventType, kindsFor, listEvents } from '../change-feed/operations.ts';
import { firstDelivery } from './outcome.ts';
import {
  addDelivery,
  addWebhook,
  type Delivery,
  deleteWebhookRow,
  deliveryById,
  lockWebhook,
  resendDelivery,
  saveWebhook,
  webhookById,
} from './queries.ts';
import {
  deliveryFields,
  keptDays,
  type WebhookRow,
  webhookDeliveries,
  webhookFields,
  webhookMembersSent,
  webhookOutcome,
  webhookStatus,
  webhooks,
} from './record.ts';
import { newWebhookSecret } from './signature.ts';

const reads = { scope: 'webhooks:read', partners: true, selfService: false } as const;
const writes = { scope: 'webhooks:write', partners: true, selfService: false } as const;

export const webhookDisabled = problemType('webhook_disabled', 409, 'The webhook is disabled');

/** How long the secret before also signs after a rotation, seconds. */
const usualOverlap = 86_400;
const longestOverlap = 7 * 86_400;

const wanted = {
  kinds: z.array(eventKind).min(1),
  types: z.array(eventType).min(1).max(100),
  include: z.array(eventInclude).max(1),
};

const sent = inputShape(webhookMembersSent);
const members = {
  ...sent,
  kinds: wanted.kinds
    .nullable()
    .optional()
    .meta({
      description: 'Only these kinds. Default: all that it may hear of.',
      example: ['order', 'refund'],
    }),
  types: wanted.types
    .nullable()
    .optional()
    .meta({ description: 'Only these types. Default: all.', example: ['order.created', 'customer.merged'] }),
  include: wanted.include.optional().meta({
    description:
      '`record`: each event comes with the record as it may be seen at the delivery, as `current`. Default: nothing.',
    example: ['record'],
  }),
};
const example = { url: 'https://shop.example/hooks/rapport', kinds: ['order', 'refund'] };
const webhookInput = z.strictObject(members).meta({ id: 'WebhookInput', example });
const webhookPatch = z
  .strictObject(members)
  .partial()
  .meta({ id: 'WebhookPatch', description: 'Omitted members keep their values.', example: { status: 'disabled' } });

const shown = outputShape(webhookFields);
const document = {
  ...shown,
  kinds: wanted.kinds.nullable().meta({ description: 'Only these kinds; null: all that it may hear of.' }),
  types: z.array(z.string()).nullable().meta({ description: 'Only these types; null: all.' }),
  include: wanted.include.meta({ description: 'What comes with events.' }),
};
const webhook = ownDocument(
  z.strictObject(document).meta({ id: 'Webhook', description: 'An address to which changes are sent.' }),
);
const secret = z.string().meta({
  description: 'Verifies signatures (`whsec_…`): shown now and never again.',
});
const newWebhook = ownDocument(
  z.strictObject({ ...document, secret }).meta({ id: 'NewWebhook', description: 'A webhook with its secret.' }),
);
const webhookDelivery = ownDocument(
  z.strictObject(outputShape(deliveryFields)).meta({
    id: 'WebhookDelivery',
    description:
      'An event for a webhook, and what became of it. The last attempt counts. It holds no values of the record.',
  }),
);

// Not under an Idempotency-Key: its answer would be kept, and the secret with it.
const { idempotencyKey: _, ...withoutKey } = writeParameters;

const hears = `It hears what \`GET /v1/events\` would tell the token that made it: its scopes, the fields of its partner and its customers are looked at when an event is sent, and so is its client. It stops when that is disabled or loses \`events:read\`.`;
const needsAll = 'Your token needs every scope of the webhook.';

export const createWebhook = writeOperation({
  name: 'createWebhook',
  ...writes,
  summary: 'Add a webhook',
  description: `Every change from now on is sent to the URL by POST: the event as \`GET /v1/events\` answers it, signed by [Standard Webhooks](https://www.standardwebhooks.com) with the secret in this answer, which is shown only once; so the call takes no Idempotency-Key. Your token needs \`events:read\`. ${hears}

Answer 2xx within 15 seconds. Anything else is tried again for ${retryDays} days, with growing pauses; 410 disables the webhook. An event may come twice: \`webhook-id\` is the id of the event and stays the same. Events of one customer are sent one after the other, but those that follow do not wait for one that failed: compare \`record.version\`.`,
  input: z.strictObject({ ...withoutKey, body: webhookInput }),
  output: newWebhook,
  idempotency: 'accepted',
  created: () => true,
  async run(tx, context, { body }) {
    const { now, principal, secrets } = context;
    requireScope(context, listEvents.scope);
    checkWanted(context, body);
    const webhookId = newId();
    const made = newWebhookSecret();
    const row: WebhookRow = {
      id: webhookId,
      version: 1,
      ...sentMembers(webhookMembersSent, body, null),
      ...switched(body.status, null, now),
      client: principal.client,
      partnerId: principal.scopedTo?.id ?? null,
      scopes: [...principal.scopes],
      sealedSecret: secrets.seal(made, webhookId),
      sealedFormerSecret: null,
      formerSecretUntil: null,
      createdAt: now,
      updatedAt: now,
    };
    const { settled } = await context.feed.ends();
    await addWebhook(tx, row, settled);
    return { ...told(row), secret: made };
  },
});

type Told = z.output<typeof webhook>;

function told(row: WebhookRow): Told {
  return answeredMembers(webhookFields, row) as Told; // what is stored was checked when it was sent
}

/** @throws Problem for an address that nothing is sent to, and kinds that the caller does not hear of */
function checkWanted(context: Context, { url, kinds }: z.output<typeof webhookPatch>): void {
  const refusal = url === undefined ? null : context.outgoing.refusal(url);
  if (refusal !== null) throw invalid('/url', 'url_refused', refusal);
  if (kinds) kindsFor(context, kinds);
}

type Switch = Pick<WebhookRow, 'status' | 'disabledReason' | 'disabledAt'>;

/** What a request makes of the switch. */
function switched(status: WebhookRow['status'] | undefined, before: Switch | null, now: string): Switch {
  if (status === undefined || status === before?.status) {
    return before ?? { status: 'enabled', disabledReason: null, disabledAt: null };
  }
  return status === 'enabled'
    ? { status, disabledReason: null, disabledAt: null }
    : { status, disabledReason: 'request', disabledAt: now };
}

export const getWebhook = readOperation({
  name: 'getWebhook',
  ...reads,
  summary: 'Read a webhook',
  input: z.strictObject({ id }),
  output: webhook,
  problems: ['not_found'],
  async run({ db }, { id: webhookId }) {
    const found = await webhookById(db, webhookId);
    if (!found) throw notFound('webhook');
    return told(found);
  },
});

const list = keysetList<Told>({
  name: 'webhooks',
  select: answered(webhooks),
  from: sql`${webhooks}`,
  id: sql`${webhooks.id}`,
  filters: {
    status: (value) => sql`${webhooks.status} = ${value}`,
    client: (value) => sql`${webhooks.client} = ${value}`,
  },
  sorts: { createdAt: { expression: sql`${webhooks.createdAt}`, type: 'timestamptz', field: 'createdAt' } },
  defaultSort: '-createdAt',
});

export const listWebhooks = readOperation({
  name: 'listWebhooks',
  ...reads,
  summary: 'List webhooks',
  description: 'Of all clients; partners see those of their own clients.',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt'], '-createdAt'),
    status: webhookStatus.optional(),
    client: eventType.optional().meta({ description: 'Only those that this client made.' }),
  }),
  output: pageOf(webhook).meta({ id: 'WebhookPage' }),
  run: (context, input) => list(context.db, context, input),
});

/** The webhook, locked, for who may hear all that it hears. @throws Problem not_found, insufficient_scope */
async function own(tx: Parameters<typeof lockWebhook>[0], context: Context, webhookId: string): Promise<WebhookRow> {
  const found = await lockWebhook(tx, webhookId);
  if (!found) throw notFound('webhook');
  // Who may less could have its events sent to an address of his own.
  for (const scope of found.scopes) requireScope(context, scope);
  return found;
}

export const updateWebhook = writeOperation({
  name: 'updateWebhook',
  ...writes,
  summary: 'Change a webhook',
  description: `Omitted members keep their values; null clears. A webhook that is enabled goes on with the first event that it has not heard of, as long as events are kept. ${needsAll}`,
  input: z.strictObject({ id, ...writeParameters, expectedVersion, body: webhookPatch }),
  output: webhook,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { id: webhookId, expectedVersion: expected, body }) {
    const before = await own(tx, context, webhookId);
    checkVersion(before.version, expected);
    checkWanted(context, body);
    const row: WebhookRow = {
      ...before,
      ...nextStamps(before, context.now),
      ...sentMembers(webhookMembersSent, body, before),
      ...switched(body.status, before, context.now),
    };
    await saveWebhook(tx, row);
    return told(row);
  },
});

export const deleteWebhook = writeOperation({
  name: 'deleteWebhook',
  ...writes,
  summary: 'Delete a webhook',
  description: 'With all its deliveries. Nothing is sent any more, but what is under way.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: webhookId, expectedVersion: expected }) {
    const found = await lockWebhook(tx, webhookId);
    if (!found) throw notFound('webhook');
    checkVersion(found.version, expected);
    await deleteWebhookRow(tx, webhookId);
    return { id: webhookId, deleted: true };
  },
});

const rotation = z
  .strictObject({
    overlap: z
      .int()
      .min(0)
      .max(longestOverlap)
      .optional()
      .meta({
        description: `Seconds for which the secret before also signs. Default: ${usualOverlap}, a day; 0 for one that leaked.`,
        example: 3600,
      }),
  })
  .meta({ id: 'WebhookSecretRotation', example: { overlap: 3600 } });

export const rotateWebhookSecret = writeOperation({
  name: 'rotateWebhookSecret',
  ...writes,
  summary: 'Give a webhook a new secret',
  description: `Deliveries are signed with both secrets until the overlap ends, so that you can deploy the new one in between. It is shown only once, so the call takes no Idempotency-Key. ${needsAll}`,
  input: z.strictObject({ id, ...withoutKey, body: rotation.optional() }),
  output: newWebhook,
  idempotency: 'accepted',
  created: () => true,
  problems: ['not_found'],
  async run(tx, context, { id: webhookId, body }) {
    const before = await own(tx, context, webhookId);
    const { now, secrets } = context;
    const overlap = body?.overlap ?? usualOverlap;
    const made = newWebhookSecret();
    const row: WebhookRow = {
      ...before,
      ...nextStamps(before, now),
      sealedSecret: secrets.seal(made, webhookId),
      sealedFormerSecret: overlap === 0 ? null : before.sealedSecret,
      formerSecretUntil: overlap === 0 ? null : addSeconds(now, overlap),
    };
    await saveWebhook(tx, row);
    return { ...told(row), secret: made };
  },
});

/** @throws Problem webhook_disabled */
function requireEnabled({ status }: Pick<WebhookRow, 'status'>): void {
  if (status !== 'enabled')
    throw new Problem(webhookDisabled, 'Nothing is sent while it is disabled. Enable it first.');
}

export const testEvent = 'webhook.test';

export const testWebhook = writeOperation({
  name: 'testWebhook',
  ...writes,
  idempotency: 'accepted',
  created: () => true,
  summary: 'Send a test event',
  description: `An event of the type \`${testEvent}\`, whatever the filters are, once. The answer is its delivery: read it again to see what became of it. ${needsAll}`,
  input: z.strictObject({ id, ...writeParameters }),
  output: webhookDelivery,
  problems: ['not_found', webhookDisabled],
  async run(tx, context, { id: webhookId }) {
    const found = await own(tx, context, webhookId);
    requireEnabled(found);
    const { now } = context;
    const { partnerId } = found;
    const of = { webhookId, id: newId(), partnerId, type: testEvent, recordId: webhookId };
    const row = { ...firstDelivery(of, now), triedUntil: now };
    await addDelivery(tx, row);
    return answeredMembers(deliveryFields, row);
  },
});

const deliveries = keysetList<Delivery>({
  name: 'webhook_deliveries',
  select: answered(webhookDeliveries),
  from: sql`${webhookDeliveries}`,
  id: sql`${webhookDeliveries.id}`,
  filters: {
    webhookId: (value) => sql`${webhookDeliveries.webhookId} = ${value}::uuid`,
    outcome: (value) => sql`${webhookDeliveries.outcome} = ${value}`,
    type: (value) => sql`${webhookDeliveries.type} = ${value}`,
  },
  uneven: ['outcome', 'type'],
  sorts: { id: { expression: sql`${webhookDeliveries.id}`, type: 'uuid', field: 'id' } },
  defaultSort: '-id',
});

export const listWebhookDeliveries = readOperation({
  name: 'listWebhookDeliveries',
  ...reads,
  summary: 'List the deliveries of a webhook',
  description: `In the order of the events, the latest first. They are kept for ${keptDays} days after the last attempt.`,
  input: z.strictObject({
    id,
    ...pageParameters,
    sort: sortParameter(['id'], '-id'),
    outcome: webhookOutcome.optional(),
    type: eventType.optional(),
  }),
  output: pageOf(webhookDelivery).meta({ id: 'WebhookDeliveryPage' }),
  problems: ['not_found'],
  async run(context, { id: webhookId, ...input }) {
    const [found, page] = await Promise.all([
      webhookById(context.db, webhookId),
      deliveries(context.db, context, { ...input, webhookId }),
    ]);
    if (!found) throw notFound('webhook');
    return page;
  },
});

export const getWebhookDelivery = readOperation({
  name: 'getWebhookDelivery',
  ...reads,
  summary: 'Read a delivery of a webhook',
  input: z.strictObject({ id, deliveryId: id }),
  output: webhookDelivery,
  problems: ['not_found'],
  async run({ db }, { id: webhookId, deliveryId }) {
    const found = await deliveryById(db, webhookId, deliveryId);
    if (!found) throw notFound('delivery of this webhook');
    return found;
  },
});

export const resendWebhookDelivery = writeOperation({
  name: 'resendWebhookDelivery',
  ...writes,
  idempotency: 'accepted',
  summary: 'Send a delivery again',
  description: `At once, whatever became of it, with the same \`webhook-id\`. If it is not tried any more, it is tried once. ${needsAll}`,
  input: z.strictObject({ id, deliveryId: id, ...writeParameters }),
  output: webhookDelivery,
  problems: ['not_found', webhookDisabled],
  async run(tx, context, { id: webhookId, deliveryId }) {
    requireEnabled(await own(tx, context, webhookId));
    const found = await resendDelivery(tx, webhookId, deliveryId, context.now);
    if (!found) throw notFound('delivery of this webhook');
    return found;
  },
});
