import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyBaseLogger, FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { translate } from '../db/client.ts';
import { refusedInput } from '../db/refused.ts';
import { Problem } from '../errors.ts';
import { newId } from '../ids.ts';

/** Fastify's own refusals, in our words. */
const known: Record<string, () => Problem> = {
  FST_ERR_CTP_BODY_TOO_LARGE: () =>
    new Problem('body_too_large', 'The body is larger than this endpoint takes: 1 MB, batches 16 MB.'),
  FST_ERR_CTP_INVALID_MEDIA_TYPE: () => new Problem('unsupported_media_type', 'Send application/json.'),
  FST_ERR_CTP_EMPTY_TYPE: () => new Problem('unsupported_media_type', 'Send application/json.'),
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: () => new Problem('invalid_request', 'Content-Length does not fit the body.'),
  FST_ERR_BAD_URL: () => new Problem('invalid_request', 'The URL is not valid percent-encoded UTF-8.'),
  FST_ERR_MAX_PARAM_LENGTH: () => new Problem('not_found', 'There is nothing at this address.'),
};

/** Whatever was thrown as the answer of RFC 9457 it becomes; what nobody foresaw is logged and answered as 500. */
export function asProblem(error: unknown): Problem | null {
  const translated = translate(error);
  if (translated instanceof Problem) return translated;
  const refused = refusedInput(translated);
  if (refused) return refused;
  const { code, statusCode } = (translated ?? {}) as Partial<FastifyError>; // read if there
  const made = code === undefined ? undefined : known[code];
  if (made) return made();
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new Problem('invalid_request', 'The request cannot be read.');
  return null;
}

export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = asProblem(error) ?? unforeseen(error, request);
  return reply
    .code(problem.status)
    .headers(problem.headers)
    .header('Content-Type', 'application/problem+json; charset=utf-8')
    .send(JSON.stringify(problem.toBody(request.id)));
}

/** What Fastify refuses before any hook has run. */
export function refuseEarly(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  sendProblem(error, request, reply.header('X-Request-Id', request.id));
  request.log.info(
    { requestId: request.id, method: request.method, route: null, status: reply.statusCode },
    'answered',
  );
}

/** Requests that come on open connections while the service stops are refused before anything is done for them. */
export function refuseWhenClosing(app: FastifyInstance): void {
  let closing = false;
  app.addHook('preClose', (done) => {
    closing = true;
    done();
  });
  app.addHook('onRequest', (_request, reply, done) => {
    if (!closing) return done();
    reply.header('Connection', 'close');
    done(
      new Problem('unavailable', 'This process is stopping. Nothing was done: send the request again.', {
        headers: { 'Retry-After': '1' },
      }),
    );
  });
}

const unreadable: Record<string, () => Problem> = {
  HPE_HEADER_OVERFLOW: () => new Problem('headers_too_large', 'The address and the headers are larger than 16 KB.'),
  ERR_HTTP_REQUEST_TIMEOUT: () => new Problem('request_timeout', 'The request was not sent within a minute.'),
};

/** The answer to what is no HTTP request, where there is nothing to reply to but the socket; it is closed. */
export function connectionRefuser(
  log: Pick<FastifyBaseLogger, 'info'>,
): (error: Error & { code?: string }, socket: Duplex) => void {
  return (error, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const problem =
      unreadable[error.code ?? '']?.() ?? new Problem('invalid_request', 'This is not a valid HTTP/1.1 request.');
    const requestId = newId();
    const body = JSON.stringify(problem.toBody(requestId));
    const head = [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
      'Content-Type: application/problem+json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`,
      `X-Request-Id: ${requestId}`,
      'Connection: close',
    ];
    log.info({ requestId, method: null, route: null, status: problem.status }, 'answered');
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
  };
}

function unforeseen(error: unknown, request: FastifyRequest): Problem {
  request.log.error({ err: error, requestId: request.id, route: request.routeOptions.url ?? null }, 'unforeseen error');
  return new Problem('internal_error', 'Something went wrong here. The request id helps to find it in the log.');
}

/** Error and not-found handlers; a known path with another method is 405 and says which methods there are. */
export function answerProblems(app: FastifyInstance): void {
  const methodsByPath: { pattern: RegExp; method: string }[] = [];
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = new RegExp(`^${url.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/:[A-Za-z]+/g, '[^/]+')}$`);
    for (const one of [method].flat()) methodsByPath.push({ pattern, method: one });
  });
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const allowed = [...new Set(methodsByPath.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method))];
    const problem =
      allowed.length > 0
        ? new Problem('method_not_allowed', `This address takes ${allowed.join(', ')}.`, {
            headers: { Allow: allowed.join(', ') },
          })
        : new Problem('not_found', 'There is nothing at this address.');
    return sendProblem(problem, request, reply);
  });
}
