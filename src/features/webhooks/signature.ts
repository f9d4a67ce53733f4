import { createHmac, randomBytes } from 'node:crypto';

/** Standard Webhooks 1.0: secrets, and the headers by which a receiver knows whose message it is. */

const prefix = 'whsec_';

export function newWebhookSecret(): string {
  return prefix + randomBytes(32).toString('base64');
}

/**
 * @param secrets those that are in force: of several, each signs
 * @param id of the message, which stays the same over all attempts
 * @param at the present by the clock of the machine, which receivers compare with theirs; milliseconds
 */
export function signedHeaders(
  secrets: readonly string[],
  { id, body, at }: { id: string; body: string; at: number },
): Record<string, string> {
  const timestamp = String(Math.floor(at / 1000));
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(prefix.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
  });
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}
