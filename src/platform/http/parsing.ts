import { TextDecoder } from 'node:util';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Problem } from '../errors.ts';
import { parseJson } from '../json.ts';

/**
 * The query as pairs in order. Percent-encoding that is no UTF-8 is refused, where other parsers put U+FFFD and go on;
 * repeated names are kept, for the door to refuse. The fault is returned, for the door to throw: the router
 * calls this outside of any request, and what is thrown there ends the process.
 */
export function parseQuery(text: string): [string, string][] | Problem {
  if (text === '') return [];
  try {
    return text
      .split('&')
      .filter((pair) => pair !== '')
      .map((pair) => {
        const equals = pair.indexOf('=');
        const [name, value] = equals === -1 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
        return [decode(name), decode(value)];
      });
  } catch {
    return new Problem('invalid_request', 'The query is not valid percent-encoded UTF-8.');
  }
}

function decode(text: string): string {
  return decodeURIComponent(text.replaceAll('+', ' '));
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Bytes of the body, however it was sent; 0 without one. */
    bodySize: number;
  }
}

/** Strict JSON: invalid UTF-8 and `__proto__` are refused, and so is what is beyond the limits of json.ts. */
export function takeJson(app: FastifyInstance): void {
  const parse = strictParser(app);
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  app.decorateRequest('bodySize', 0);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (request: FastifyRequest, given: unknown) => {
      const body = given as Buffer; // parseAs: 'buffer'
      request.bodySize = body.length;
      if (body.length === 0) return undefined;
      if (!isPlain(request.headers['content-encoding'])) {
        throw new Problem('unsupported_media_type', 'Send the body as it is, without a Content-Encoding.');
      }
      return parseJson(decoded(body, utf8), parse);
    },
  );
}

/** JSON of which no member is named `__proto__`. */
export function strictParser(app: FastifyInstance): (text: string) => unknown {
  const parse = app.getDefaultJsonParser('error', 'error');
  return (text) => {
    let value: unknown;
    // It calls back before it returns, and reads nothing of the request.
    parse({} as FastifyRequest, text, (error: Error | null, made?: unknown) => {
      if (error) throw error;
      value = made;
    });
    return value;
  };
}

function decoded(body: Buffer, utf8: TextDecoder): string {
  try {
    return utf8.decode(body);
  } catch {
    throw new Problem('invalid_json', 'The body is not valid UTF-8.');
  }
}

function isPlain(encoding: string | undefined): boolean {
  return encoding === undefined || encoding.trim().toLowerCase() === 'identity';
}
