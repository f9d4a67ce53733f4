import { createHmac } from 'node:crypto';

/**
 * HMAC-SHA256 of texts, base64url: tells that two are the same without saying what they are. Who does not have the key
 * cannot find a text by trying all there are, as with a plain hash of an e-mail address.
 */
export type KeyedHash = (...parts: readonly string[]) => string;

export function keyedHash(key: Buffer): KeyedHash {
  return (...parts) => createHmac('sha256', key).update(parts.join('\u0000')).digest('base64url');
}
