import type { FastifyInstance } from 'fastify';
import { Problem } from '../errors.ts';

/**
 * Requests per client and second, told up front in the RateLimit headers of the IETF draft (which @fastify/rate-limit
 * does not speak; hence these lines). Fixed windows of one second, counted per process.
 */
export function limitRate(app: FastifyInstance, perSecond: number): void {
  const policy = `"default";q=${perSecond};w=1`;
  let second = 0;
  let used = new Map<string, number>();
  app.addHook('preHandler', (request, reply, done) => {
    const now = Math.floor(Date.now() / 1000);
    if (now !== second) {
      second = now;
      used = new Map();
    }
    const { client } = request.principal;
    const count = (used.get(client) ?? 0) + 1;
    used.set(client, count);
    reply.header('RateLimit-Policy', policy);
    reply.header('RateLimit', `"default";r=${Math.max(0, perSecond - count)};t=1`);
    if (count <= perSecond) {
      done();
      return;
    }
    done(
      new Problem('rate_limited', `More than ${perSecond} requests in a second. Wait a second.`, {
        headers: { 'Retry-After': '1' },
      }),
    );
  });
}
