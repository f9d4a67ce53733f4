import type { FastifyInstance } from 'fastify';
import { Problem } from '../errors.ts';

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

/** Strict JSON: invalid UTF-8 and `__proto__` are refused, and so is nesting beyond `maxDepth`. */
export function takeJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (body.length === 0) {
      done(null, undefined);
      return;
    }
    if (!isPlain(request.headers['content-encoding'])) {
      done(new Problem('unsupported_media_type', 'Send the body as it is, without a Content-Encoding.'));
      return;
    }
    let text: string;
    try {
      text = utf8.decode(body as Buffer); // parseAs: 'buffer'
    } catch {
      done(new Problem('invalid_json', 'The body is not valid UTF-8.'));
      return;
    }
    if (tooDeep(text)) {
      done(new Problem('invalid_json', `The body is nested deeper than ${maxDepth} levels.`));
      return;
    }
    parse(request, text, (error: Error | null, value?: unknown) => {
      if (error) done(new Problem('invalid_json', 'The body is not valid JSON.'));
      else done(null, value);
    });
  });
}

function isPlain(encoding: string | undefined): boolean {
  return encoding === undefined || encoding.trim().toLowerCase() === 'identity';
}

const maxDepth = 64;

/** Depth is at most the number of opening buckets in a row of text without a closing one: checked before parsing. */
function tooDeep(text: string): boolean {
  let depth = 0;
  let inString = false;
  // Bodies of a usual size cannot nest far without saying so; the scan costs 1 ms per MB.
  for (let i = 0; i < text.length; i += 1) {
    const char = text.charCodeAt(i);
    if (inString) {
      if (char === 92) i += 1;
      else if (char === 34) inString = false;
    } else if (char === 34) {
      inString = true;
    } else if (char === 123 || char === 91) {
      depth += 1;
      if (depth > maxDepth) return true;
    } else if (char === 125 || char === 93) {
      depth -= 1;
    }
  }
  return false;
}
