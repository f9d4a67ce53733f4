import { retryDays, retryDelay } from '../../domain/backoff.ts';
import { addDays, addSeconds, isBefore } from '../../domain/period.ts';
import type { Sent } from '../../platform/outgoing.ts';
import type { DeliveryRow, WebhookError } from './record.ts';

/** A delivery that waits for its first attempt. */
export function firstDelivery(
  of: Pick<DeliveryRow, 'webhookId' | 'id' | 'partnerId' | 'type' | 'recordId'>,
  now: string,
): DeliveryRow {
  return {
    ...of,
    outcome: 'waiting',
    attempts: 0,
    status: null,
    error: null,
    duration: null,
    lastAttemptAt: null,
    nextAttemptAt: now,
    triedUntil: addDays(now, retryDays),
    createdAt: now,
  };
}

/** What an attempt makes of a delivery. @param random from 0 to 1 */
export function afterAttempt(
  delivery: DeliveryRow,
  sent: Sent,
  { now, duration, random }: { now: string; duration: number; random: number },
): DeliveryRow {
  const { status } = sent;
  const attempts = delivery.attempts + 1;
  const tried = { ...delivery, attempts, status, duration: Math.round(duration), lastAttemptAt: now };
  if (status !== null && status >= 200 && status < 300) {
    return { ...tried, outcome: 'delivered', error: null, nextAttemptAt: null };
  }
  const error: WebhookError = status === null ? sent.error : status >= 300 && status < 400 ? 'redirected' : 'status';
  const next = addSeconds(now, retryDelay(attempts, random));
  const isLast = status === gone || isBefore(delivery.triedUntil, next);
  return { ...tried, error, outcome: isLast ? 'failed' : 'waiting', nextAttemptAt: isLast ? null : next };
}

/** The status of a receiver that wants nothing more. */
export const gone = 410;

/** What becomes of a delivery whose event is not there any more. */
export function withoutEvent(delivery: DeliveryRow): DeliveryRow {
  return { ...delivery, outcome: 'failed', error: 'event_gone', nextAttemptAt: null };
}
