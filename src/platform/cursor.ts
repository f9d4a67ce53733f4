import { createHmac, timingSafeEqual } from 'node:crypto';
import { Problem } from './errors.ts';

/** Opaque and tamper-evident: a position in one list, for one client, one filter and one order. */
export interface CursorCodec {
  encode(position: Position): string;
  decode(cursor: string, scope: string): [string | number, string];
}

interface Position {
  /** Client, list, filters and order; a cursor of another scope is refused. */
  scope: string;
  key: [string | number, string];
}

export function cursorCodec(secret: Buffer): CursorCodec {
  const sign = (scope: string, payload: string) =>
    createHmac('sha256', secret)
      .update(scope)
      .update('\u0000')
      .update(payload)
      .digest()
      .subarray(0, 16)
      .toString('base64url');
  return {
    encode({ scope, key }) {
      const payload = Buffer.from(JSON.stringify(key)).toString('base64url');
      return `${payload}.${sign(scope, payload)}`;
    },
    decode(cursor, scope) {
      const [payload = ''] = cursor.split('.', 1);
      // Compared as text: base64 decodes more than one spelling to the same bytes.
      const given = Buffer.from(cursor);
      const expected = Buffer.from(`${payload}.${sign(scope, payload)}`);
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
        throw new Problem(
          'invalid_cursor',
          'The cursor was not issued for this list, filter and order. Start again without it.',
          {
            errors: [
              { parameter: 'after', code: 'invalid_cursor', message: 'Not issued for this list, filter and order.' },
            ],
          },
        );
      }
      return JSON.parse(Buffer.from(payload, 'base64url').toString()) as [string | number, string]; // we signed it
    },
  };
}
