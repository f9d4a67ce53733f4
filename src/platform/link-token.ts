import { createHmac, timingSafeEqual } from 'node:crypto';

/** What a link says: which record, and until when. */
export interface Link {
  /** UUID. */
  id: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

/**
 * Tokens of links that work without a login: 22 bytes of record and expiry and their 32 bytes of HMAC-SHA256, together
 * 72 characters of base64url. 54 bytes fill these to the last bit, so that a token has one spelling only.
 */
export interface LinkTokens {
  issue(link: Link): string;
  /** null for every text that was not issued under this key. Whether it has expired is for the caller to say. */
  read(token: string): Link | null;
}

const payloadBytes = 22;

export function linkTokens(key: Buffer): LinkTokens {
  const sign = (payload: Buffer) => createHmac('sha256', key).update(payload).digest();
  return {
    issue({ id, expiresAt }) {
      const payload = Buffer.alloc(payloadBytes);
      payload.write(id.replaceAll('-', ''), 'hex');
      payload.writeUIntBE(expiresAt, 16, 6);
      return Buffer.concat([payload, sign(payload)]).toString('base64url');
    },
    read(token) {
      // Node.js decodes base64 leniently: it skips what is no letter of it, and takes its other alphabet.
      if (!/^[A-Za-z0-9_-]{72}$/.test(token)) return null;
      const bytes = Buffer.from(token, 'base64url');
      const payload = bytes.subarray(0, payloadBytes);
      if (!timingSafeEqual(bytes.subarray(payloadBytes), sign(payload))) return null;
      const hex = payload.toString('hex', 0, 16);
      return {
        id: [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-'),
        expiresAt: payload.readUIntBE(16, 6),
      };
    },
  };
}
