import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { answered, assignments, fromExcluded, updateRows } from '../../records/table.ts';
import { clients } from '../clients/record.ts';
import { type DeliveryRow, type WebhookRow, webhookDeliveries, webhookPositions, webhooks } from './record.ts';

const oneWebhook = sql`select ${fields(webhooks)} from ${webhooks} where ${webhooks.id} = ${param('id')}::uuid`;
const byId = statement<WebhookRow>('webhook', oneWebhook);
const locking = statement<WebhookRow>('lock_webhook', sql`${oneWebhook} for no key update`);
const insertWebhook = statement('insert_webhook', insertRows(webhooks, param('rows')));
const changeWebhook = statement('save_webhook', updateRows(webhooks, param('rows')));
const removeWebhook = statement(
  'delete_webhook',
  sql`with gone as (delete from ${webhookDeliveries} where ${webhookDeliveries.webhookId} = ${param('id')}::uuid)
    delete from ${webhooks} where ${webhooks.id} = ${param('id')}::uuid`,
);
const insertPosition = statement('insert_webhook_position', insertRows(webhookPositions, param('rows')));

export function webhookById(db: Db, id: string): Promise<WebhookRow | null> {
  return db.first(byId, { id });
}

export function lockWebhook(tx: Transaction, id: string): Promise<WebhookRow | null> {
  return tx.first(locking, { id });
}

/** @param position of the last event that it does not hear of any more */
export async function addWebhook(tx: Transaction, row: WebhookRow, position: number): Promise<void> {
  await tx.all(insertWebhook, { rows: JSON.stringify([row]) });
  const rows = JSON.stringify([{ webhookId: row.id, position, heldUntil: null }]);
  // How far it has heard is the service's own.
  await tx.asService((service) => service.all(insertPosition, { rows }));
}

export async function saveWebhook(tx: Transaction, row: WebhookRow): Promise<void> {
  await tx.all(changeWebhook, { rows: JSON.stringify([row]) });
}

export async function deleteWebhookRow(tx: Transaction, id: string): Promise<void> {
  await tx.all(removeWebhook, { id });
}

export type Delivery = Omit<DeliveryRow, 'partnerId'>;

const delivery = statement<Delivery>(
  'webhook_delivery',
  sql`select ${answered(webhookDeliveries)} from ${webhookDeliveries}
    where ${webhookDeliveries.webhookId} = ${param('webhookId')}::uuid and ${webhookDeliveries.id} = ${param('id')}::uuid`,
);

export function deliveryById(db: Db, webhookId: string, id: string): Promise<Delivery | null> {
  return db.first(delivery, { webhookId, id });
}

const insertDelivery = statement('insert_webhook_delivery', insertRows(webhookDeliveries, param('rows')));

export async function addDelivery(tx: Transaction, row: DeliveryRow): Promise<void> {
  await tx.all(insertDelivery, { rows: JSON.stringify([row]) });
}

const sendAgain = statement<Delivery>(
  'resend_webhook_delivery',
  sql`update ${webhookDeliveries} set outcome = 'waiting', next_attempt_at = ${param('now')}::timestamptz,
      tried_until = case when outcome = 'waiting' then tried_until else ${param('now')}::timestamptz end
    where ${webhookDeliveries.webhookId} = ${param('webhookId')}::uuid and ${webhookDeliveries.id} = ${param('id')}::uuid
    returning ${answered(webhookDeliveries)}`,
);

/** Sent at the next opportunity; what is not tried any more is tried once. null: there is no such delivery. */
export function resendDelivery(tx: Transaction, webhookId: string, id: string, now: string): Promise<Delivery | null> {
  return tx.first(sendAgain, { webhookId, id, now });
}

/*
 * What the deliverer asks and writes (deliver.ts).
 */

const withWork = statement<{ id: string }>(
  'webhooks_with_work',
  sql`select w.id from ${webhooks} w join ${webhookPositions} p on p.webhook_id = w.id
    where w.status = 'enabled' and ((p.position < ${param('settled')}::bigint and coalesce(p.held_until <= ${param('now')}::timestamptz, true)) or exists (
      select from ${webhookDeliveries} d where d.webhook_id = w.id and d.next_attempt_at <= ${param('now')}::timestamptz))
    order by random()`,
);

/** Webhooks that have something to send, in no order. @param settled the position up to which the feed is complete */
export async function webhooksWithWork(db: Db, settled: number, now: string): Promise<string[]> {
  return (await db.all(withWork, { settled, now })).map(({ id }) => id);
}

const enabled = statement<{ webhooks: number }>(
  'enabled_webhooks',
  sql`select count(*) as webhooks from ${webhooks} where status = 'enabled'`,
);

export async function hasWebhooks(db: Db): Promise<boolean> {
  return ((await db.first(enabled))?.webhooks ?? 0) > 0;
}

/** A webhook with what decides whether and what it may hear. */
export interface Listening {
  webhook: WebhookRow;
  position: number;
  /** See `webhookPositions`. */
  heldUntil: string | null;
  /** null: the client is not kept here. */
  client: { status: string; scopes: string[]; partnerId: string | null } | null;
}

interface ListeningRow extends WebhookRow {
  position: number;
  heldUntil: string | null;
  clientStatus: string | null;
  clientScopes: string[] | null;
  clientPartnerId: string | null;
}

const listening = statement<ListeningRow>(
  'listening_webhook',
  sql`select ${fields(webhooks)}, p.position, p.held_until as "heldUntil", c.status as "clientStatus", c.scopes as "clientScopes", c.partner_id as "clientPartnerId"
    from ${webhooks} join ${webhookPositions} p on p.webhook_id = ${webhooks.id} left join ${clients} c on c.id::text = ${webhooks.client}
    where ${webhooks.id} = ${param('id')}::uuid`,
);

export async function listeningWebhook(db: Db, id: string): Promise<Listening | null> {
  const found = await db.first(listening, { id });
  if (!found) return null;
  const {
    position,
    heldUntil,
    clientStatus: status,
    clientScopes: scopes,
    clientPartnerId: partnerId,
    ...webhook
  } = found;
  return { webhook, position, heldUntil, client: status === null ? null : { status, scopes: scopes ?? [], partnerId } };
}

const due = statement<DeliveryRow>(
  'due_webhook_deliveries',
  sql`select ${fields(webhookDeliveries)} from ${webhookDeliveries}
    where ${webhookDeliveries.webhookId} = ${param('webhookId')}::uuid and ${webhookDeliveries.nextAttemptAt} <= ${param('now')}::timestamptz
    order by ${webhookDeliveries.nextAttemptAt} limit ${param('limit')}::int`,
);

export function dueDeliveries(db: Db, webhookId: string, now: string, limit: number): Promise<DeliveryRow[]> {
  return db.all(due, { webhookId, now, limit });
}

const keep = statement(
  'keep_webhook_deliveries',
  sql`${insertRows(webhookDeliveries, param('rows'))} on conflict (webhook_id, id) do update set ${assignments(webhookDeliveries, fromExcluded)}`,
);

/** Writes deliveries as they are now, new ones and others. */
export async function keepDeliveries(tx: Transaction, rows: readonly DeliveryRow[]): Promise<void> {
  if (rows.length > 0) await tx.all(keep, { rows: JSON.stringify(rows) });
}

const move = statement(
  'move_webhook',
  sql`update ${webhookPositions} set position = ${param('to')}::bigint, held_until = ${param('heldUntil')}::timestamptz
    where ${webhookPositions.webhookId} = ${param('webhookId')}::uuid and ${webhookPositions.position} = ${param('from')}::bigint`,
);

/** It has heard up to `to`. Nothing happens if another process has moved it meanwhile. */
export async function moveWebhook(
  tx: Transaction,
  webhookId: string,
  step: { from: number; to: number; heldUntil: string | null },
): Promise<void> {
  await tx.all(move, { webhookId, ...step });
}

const manyWaiting = statement<{ many: boolean }>(
  'many_waiting_deliveries',
  sql`select count(*) >= ${param('many')}::int as many from (select from ${webhookDeliveries} d
    where d.webhook_id = ${param('webhookId')}::uuid and d.next_attempt_at is not null limit ${param('many')}::int) waiting`,
);

/** Whether at least so many deliveries are still to be sent. */
export async function hasWaiting(tx: Transaction, webhookId: string, many: number): Promise<boolean> {
  return (await tx.first(manyWaiting, { webhookId, many }))?.many ?? false;
}

const forget = statement(
  'forget_webhook_deliveries',
  sql`delete from ${webhookDeliveries} d using ${webhooks} w where d.webhook_id = w.id and d.id < ${param('firstId')}::uuid
    and d.outcome <> 'waiting' and d.last_attempt_at < ${param('before')}::timestamptz`,
);

/** Deliveries that were last tried before an instant go, unless they are still to be sent. */
export async function forgetDeliveries(db: Db, before: string): Promise<void> {
  // Ids begin with the instant of the event, which is not after that of an attempt: an index leads to the old ones.
  const time = Date.parse(before).toString(16).padStart(12, '0');
  await db.all(forget, { before, firstId: `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-000000000000` });
}
