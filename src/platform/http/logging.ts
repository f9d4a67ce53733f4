import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import pg from 'pg';
import pino from 'pino';
import type { Config } from '../../config.ts';

/**
 * The log of the process: JSON lines on standard output. Nothing that a client sent gets into it: no URL (it carries
 * names and references), no headers, no bodies, no parameters of statements.
 */
export function createLogger(
  config: Pick<Config, 'logLevel'>,
  // Written in batches: a write per request would be felt by every request.
  destination: pino.DestinationStream = pino.destination({ sync: false, minLength: 16_000, periodicFlush: 100 }),
): FastifyBaseLogger {
  return pino(
    {
      level: config.logLevel,
      // Without a message pino takes that of the error, which may quote data.
      hooks: {
        logMethod(args, method) {
          const [only, ...more] = args;
          const failure =
            more.length === 0 && typeof only === 'object' && only !== null && (only instanceof Error || 'err' in only);
          method.apply(this, failure ? [only, 'failed'] : args);
        },
      },
      serializers: {
        err: describeError,
        error: describeError,
        req: (request: { method?: string; routeOptions?: { url?: string } }) => ({
          method: request.method,
          route: request.routeOptions?.url,
        }),
        res: (reply: { statusCode?: number }) => ({ status: reply.statusCode }),
      },
    },
    destination,
  );
}

/** A line per answer: request id, route pattern, status, milliseconds. Costs nothing when the level is above `info`. */
export function logRequests(app: FastifyInstance): void {
  if ((pino.levels.values[app.log.level] ?? Number.POSITIVE_INFINITY) > 30) return;
  app.addHook('onResponse', (request, reply, done) => {
    request.log.info(
      {
        requestId: request.id,
        method: request.method,
        route: request.routeOptions.url ?? null,
        status: reply.statusCode,
        milliseconds: Math.round(reply.elapsedTime * 10) / 10,
      },
      'answered',
    );
    done();
  });
}

interface Described {
  type: string;
  message?: string;
  code?: string;
  constraint?: string;
  table?: string;
  stack?: string;
  cause?: Described;
}

/**
 * An error with its stack and without the data it may quote: Postgres repeats values in its messages and details
 * (`Key (value)=(jo@example.org) already exists`), JSON.parse the text it was given, drizzle the parameters.
 */
export function describeError(error: unknown): Described {
  if (!(error instanceof Error)) return { type: typeof error };
  const quotesData =
    error instanceof pg.DatabaseError || error instanceof SyntaxError || 'params' in error || 'query' in error;
  return {
    type: error.name === 'Error' ? error.constructor.name : error.name,
    ...(!quotesData && { message: error.message }),
    ...('code' in error && typeof error.code === 'string' && { code: error.code }),
    ...(error instanceof pg.DatabaseError && {
      ...(error.constraint !== undefined && { constraint: error.constraint }),
      ...(error.table !== undefined && { table: error.table }),
    }),
    stack: frames(error),
    ...(error.cause instanceof Error && { cause: describeError(error.cause) }),
  };
}

/** The stack begins with the message; its frames do not quote anything. */
function frames(error: Error): string {
  return (error.stack ?? '')
    .split('\n')
    .filter((line) => /^\s+at /.test(line))
    .join('\n');
}
