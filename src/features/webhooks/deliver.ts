import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { z } from 'zod';
import { addDays, addSeconds, isBefore } from '../../domain/period.ts';
import { transaction } from '../../platform/db/client.ts';
import { type Lease, openLeases } from '../../platform/db/leases.ts';
import { newId } from '../../platform/ids.ts';
import { job, type Log } from '../../platform/jobs.ts';
import { createContext, type Services } from '../../platform/operation.ts';
import { createPrincipal, type Principal } from '../../platform/principal.ts';
import { nextStamps } from '../../records/stamps.ts';
import { heardKinds } from '../change-feed/kinds.ts';
import { type Event, listEvents, positionIn, toldEvents } from '../change-feed/operations.ts';
import { testEvent } from './operations.ts';
import { afterAttempt, firstDelivery, gone, withoutEvent } from './outcome.ts';
import {
  dueDeliveries,
  forgetDeliveries,
  hasWaiting,
  hasWebhooks,
  keepDeliveries,
  type Listening,
  listeningWebhook,
  lockWebhook,
  moveWebhook,
  saveWebhook,
  webhooksWithWork,
} from './queries.ts';
import { type DeliveryRow, keptDays, type WebhookDisabledReason } from './record.ts';
import { signedHeaders } from './signature.ts';

/**
 * Sends events to webhooks. Each webhook reads the change feed at its own pace, a page at a time, by one process at a time: what has become of
 * a page is written together with how far the webhook has heard, so a process that dies has at most its page sent again. Webhooks wait
 * for nobody but their own receiver.
 */
export interface Deliverer {
  /** Goes on until `stop()`. */
  start(): void;
  /** Begins nothing any more, and resolves when what is under way has ended. */
  stop(): Promise<void>;
  /** Sends all that is due, by the clock of the service, and what that leads to: for tests. */
  deliverDue(): Promise<void>;
}

/** Webhooks that a process serves at the same time, and requests under way to one of them. */
const webhooksAtOnce = 200;
const requestsAtOnce = 32;
/** Events of a page: as many as a receiver takes in a moment, so that a slow one has few sent again should the process die. */
const pages = { first: 20, least: 10, most: 500 };
const quick = 500;
const slow = 5_000;
/**
 * When nothing of a page got through and so many deliveries wait already, the receiver is away: the next events wait in the feed, and
 * one is tried after so many seconds. A few events that a receiver does not take hold up nothing.
 */
const enough = 20;
const holdFor = 60;
/** How late a retry may be, and a webhook that was just enabled; milliseconds. */
const lookEvery = 1_000;

interface Message {
  delivery: DeliveryRow;
  /** null: it is not there any more. */
  event: Event | null;
}

export function openDeliverer(services: Services, connection: pg.ClientConfig, log: Log): Deliverer {
  const { db, pool, feed, clock, directory, outgoing } = services;
  const leases = openLeases(connection);
  const running = new Map<string, Promise<boolean>>();
  const stopping = new AbortController();
  let looking = Promise.resolve();
  let isStarted = false;
  let ended: Promise<void> | null = null;

  async function keepLooking(): Promise<void> {
    while (!stopping.signal.aborted) {
      const settled = await look().catch((error: unknown) => {
        log.warn({ err: error }, 'webhooks cannot be looked at');
        return null;
      });
      if (settled === null) await pause(lookEvery);
      else await feed.beyond(settled, lookEvery);
    }
  }

  const pause = (milliseconds: number) =>
    sleep(milliseconds, undefined, { signal: stopping.signal }).catch(() => undefined);

  /** @returns how far the feed was complete; null: nobody listens */
  async function look(): Promise<number | null> {
    if (!(await hasWebhooks(db))) return null;
    const { settled } = await feed.ends();
    for (const id of await webhooksWithWork(db, settled, clock())) {
      // A process that has much to do leaves the next one to others.
      if (running.size < webhooksAtOnce && !running.has(id)) begin(id, 5 * running.size);
    }
    return settled;
  }

  function begin(id: string, after: number): Promise<boolean> {
    const turn = pause(after)
      .then(() => serve(id))
      .catch(async (error: unknown) => {
        log.warn({ err: error, webhook: id }, 'a webhook cannot be served');
        await pause(lookEvery);
        return false;
      })
      .finally(() => running.delete(id));
    running.set(id, turn);
    return turn;
  }

  /** Sends what there is for a webhook. @returns whether this process was the one to do it */
  async function serve(id: string): Promise<boolean> {
    const lease = await leases.take(id);
    if (lease === null) return false;
    try {
      await sendPages(id, lease);
      return true;
    } finally {
      await lease.release();
    }
  }

  async function sendPages(id: string, lease: Lease): Promise<void> {
    for (let size = pages.first; lease.held && !stopping.signal.aborted; ) {
      if (Date.now() >= directory.goodUntil) await directory.refresh();
      const found = await listeningWebhook(db, id);
      if (found?.webhook.status !== 'enabled') return;
      const listener = listenerOf(found, services);
      if (typeof listener === 'string') return disable(id, listener);
      const began = performance.now();
      if ((await sendPage(found, listener, size)) === 0) return;
      const took = performance.now() - began;
      if (took < quick) size = Math.min(pages.most, size * 2);
      else if (took > slow) size = Math.max(pages.least, Math.floor(size / 2));
    }
  }

  /** @returns how many messages there were */
  async function sendPage(listening: Listening, listener: Listener, size: number): Promise<number> {
    const { webhook, position: from, heldUntil: held } = listening;
    const now = clock();
    const { messages, to } = await nextMessages(listening, listener, { now, size });
    let isGone = false;
    const kept = await inLanes(messages, async ({ delivery, event }): Promise<DeliveryRow> => {
      if (event === null) return withoutEvent(delivery);
      // It waits for whoever goes on here.
      if (isGone || stopping.signal.aborted) return delivery;
      const body = JSON.stringify(event);
      const began = performance.now();
      const headers = signedHeaders(listener.secrets, { id: delivery.id, body, at: Date.now() });
      const sent = await outgoing.post(webhook.url, { ...headers, ...usualHeaders }, body);
      isGone ||= sent.status === gone;
      return afterAttempt(delivery, sent, {
        now: clock(),
        duration: performance.now() - began,
        random: Math.random(),
      });
    });
    if (messages.length > 0 || to !== from) {
      await transaction(pool, async (tx) => {
        // Under its lock, so that one that is deleted meanwhile has no deliveries left.
        if (!(await lockWebhook(tx, webhook.id))) return;
        await keepDeliveries(tx, kept);
        const isThrough = kept.some(({ outcome }) => outcome === 'delivered');
        const isAway = !isThrough && (messages.length > 0 || held !== null);
        const isHeld = isAway && (await hasWaiting(tx, webhook.id, enough));
        // A retry that fails meanwhile does not put off the next try.
        const until = held !== null && isBefore(now, held) ? held : addSeconds(now, holdFor);
        await moveWebhook(tx, webhook.id, { from, to, heldUntil: isHeld ? until : null });
      });
    }
    if (isGone) await disable(webhook.id, 'gone');
    return messages.length;
  }

  /** What is due again, and the events that follow. */
  async function nextMessages(
    { webhook, position, heldUntil }: Listening,
    { principal }: Listener,
    { now, size }: { now: string; size: number },
  ): Promise<{ messages: Message[]; to: number }> {
    const context = createContext(services, principal, newId());
    const kinds = heardKinds(context).filter((kind) => webhook.kinds?.includes(kind) ?? true);
    const records = webhook.include.includes('record');
    const { settled } = await feed.ends();
    const until = Math.max(settled, position);
    const due = await dueDeliveries(db, webhook.id, now, size);
    const positions = due.filter(({ type }) => type !== testEvent).map(({ id }) => positionIn(id));
    const limit = heldUntil === null ? size : isBefore(now, heldUntil) ? 0 : 1;
    const [again, following] = await Promise.all([
      positions.length === 0
        ? []
        : toldEvents(context, { after: 0, until, kinds, positions, limit: positions.length, records }),
      limit === 0
        ? []
        : toldEvents(context, { after: position, until, kinds, types: webhook.types ?? undefined, limit, records }),
    ]);
    const known = new Map(again.map(({ event }) => [event.id, event]));
    const retried = due.map((delivery): Message => {
      const event = delivery.type === testEvent ? asTestEvent(delivery) : (known.get(delivery.id) ?? null);
      return { delivery, event };
    });
    const fresh = following.map(({ event }): Message => {
      const { id, type, record } = event;
      const { id: webhookId, partnerId } = webhook;
      return { delivery: firstDelivery({ webhookId, id, partnerId, type, recordId: record.id }, now), event };
    });
    const to = limit === 0 ? position : following.length < limit ? until : (following.at(-1)?.position ?? until);
    return { messages: [...retried, ...fresh], to };
  }

  async function disable(id: string, reason: WebhookDisabledReason): Promise<void> {
    const now = clock();
    await transaction(pool, async (tx) => {
      const before = await lockWebhook(tx, id);
      if (before?.status !== 'enabled') return;
      const switched = { status: 'disabled', disabledReason: reason, disabledAt: now } as const;
      await saveWebhook(tx, { ...before, ...nextStamps(before, now), ...switched });
    });
    log.warn({ webhook: id, reason }, 'a webhook was disabled');
  }

  return {
    start() {
      if (isStarted) return;
      isStarted = true;
      looking = keepLooking();
    },
    stop() {
      stopping.abort();
      ended ??= looking.then(() => Promise.all(running.values())).then(() => leases.close());
      return ended;
    },
    async deliverDue() {
      for (let isAny = true; isAny; ) {
        const { settled } = await feed.ends();
        const ids = await webhooksWithWork(db, settled, clock());
        const served = await Promise.all(ids.map((id) => running.get(id) ?? begin(id, 0)));
        isAny = served.some((one) => one);
      }
    },
  };
}

const usualHeaders = { 'content-type': 'application/json', 'user-agent': 'Rapport webhooks' };

/** As whom a webhook hears, and what it is signed with. */
interface Listener {
  principal: Principal;
  secrets: string[];
}

/** @returns why it hears nothing any more */
function listenerOf({ webhook, client }: Listening, services: Services): Listener | WebhookDisabledReason {
  const { id, partnerId, scopes, sealedSecret, sealedFormerSecret, formerSecretUntil } = webhook;
  if (client && (client.status !== 'active' || client.partnerId !== partnerId)) return 'client';
  if (partnerId !== null && services.directory.partner(partnerId)?.status !== 'active') return 'partner';
  const scopedTo = partnerId === null ? null : ({ kind: 'partner', id: partnerId } as const);
  const principal = createPrincipal(webhook.client, client ? common(scopes, client.scopes) : scopes, scopedTo);
  if (!principal.has(listEvents.scope)) return 'scope';
  const secret = services.secrets.open(sealedSecret, id);
  if (secret === null) return 'secret';
  const isBoth = formerSecretUntil !== null && isBefore(services.clock(), formerSecretUntil);
  const former = isBoth && sealedFormerSecret !== null ? services.secrets.open(sealedFormerSecret, id) : null;
  return { principal, secrets: former === null ? [secret] : [secret, former] };
}

/** The scopes that are in both. */
function common(a: readonly string[], b: readonly string[]): readonly string[] {
  if (b.includes('*')) return a;
  return a.includes('*') ? b : a.filter((scope) => b.includes(scope));
}

function asTestEvent({ id, webhookId, createdAt }: DeliveryRow): Event {
  return {
    id,
    type: testEvent,
    occurredAt: createdAt,
    record: { kind: 'webhook', id: webhookId },
    customerId: null,
    changed: [],
  };
}

/** Side by side, but one after the other what is about one customer, in the order that is given. */
async function inLanes<T>(messages: readonly Message[], work: (message: Message) => Promise<T>): Promise<T[]> {
  const lanes = new Map<string, Message[]>();
  for (const message of messages) {
    const { customerId, record } = message.event ?? { customerId: null, record: { id: message.delivery.recordId } };
    const name = customerId ?? record.id;
    const lane = lanes.get(name);
    if (lane) lane.push(message);
    else lanes.set(name, [message]);
  }
  const waiting = lanes.values();
  const done: T[] = [];
  const worker = async () => {
    for (const lane of waiting) for (const message of lane) done.push(await work(message));
  };
  await Promise.all(Array.from({ length: Math.min(requestsAtOnce, lanes.size) }, worker));
  return done;
}

/** Deliveries are kept for a while after their last attempt. */
export const forgetWebhookDeliveries = job({
  name: 'forgetWebhookDeliveries',
  payload: z.strictObject({}),
  recurring: '27 * * * *',
  run: ({ db }, _payload, { now }) => forgetDeliveries(db, addDays(now, -keptDays)),
});
