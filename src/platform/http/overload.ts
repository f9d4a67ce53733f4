import underPressure from '@fastify/under-pressure';
import type { FastifyInstance } from 'fastify';
import { Problem } from '../errors.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    pressureHandler?: () => undefined;
  }
}

/** For routes that are to answer however busy the process is. */
export const evenWhenBusy = { config: { pressureHandler: () => undefined } };

/** How often the delay is measured, and within which time a second measurement has to say the same; milliseconds. */
const sampleInterval = 500;
const confirmedWithin = 10_000;

/**
 * Requests are refused while the event loop is late, measured twice in a row: one long piece of work, or a machine that did something
 * else, is no overload. Those that are worked on get to an end, and whoever is refused knows at once. What waits for the
 * database is limited elsewhere (db/turns.ts).
 */
export async function refuseWhenOverloaded(app: FastifyInstance, maxEventLoopDelay: number): Promise<void> {
  let seen = { delay: 0, at: Number.NEGATIVE_INFINITY };
  let confirmed = false;

  /** Called for requests that come after a measurement above the limit. */
  function isOverloaded(delay: number): boolean {
    const now = performance.now();
    // Nothing was measured: the process did not run.
    if (delay === Number.POSITIVE_INFINITY) return false;
    if (delay !== seen.delay) {
      confirmed = now - seen.at < confirmedWithin;
      seen = { delay, at: now };
    }
    return confirmed;
  }

  await app.register(underPressure, {
    maxEventLoopDelay,
    sampleInterval,
    pressureHandler: (_request, _reply, _type, delay = 0) =>
      isOverloaded(delay)
        ? Promise.reject(
            new Problem('busy', 'There are more requests than this process can answer. Send the request again later.', {
              headers: { 'Retry-After': '1' },
            }),
          )
        : undefined,
  });
}
