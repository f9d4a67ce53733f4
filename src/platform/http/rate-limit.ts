import { isIPv6 } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../errors.ts';

/**
 * Requests per client and second, told up front in the RateLimit headers of the IETF draft (which @fastify/rate-limit
 * does not speak; hence these lines). Fixed windows of one second, counted per process.
 */
export function limitRate(app: FastifyInstance, perSecond: number): void {
  const budget = windows('default', perSecond, 1, `More than ${perSecond} requests in a second. Wait a second.`);
  app.addHook('preHandler', (request, reply, done) => done(budget(request.principal.client, reply)));
}

/** Requests per address and minute where nobody logs in, refused before their bodies are read. */
export function limitAddressRate(app: FastifyInstance, perMinute: number): void {
  const budget = windows(
    'address',
    perMinute,
    60,
    `More than ${perMinute} requests in a minute from one address. Wait until the minute is over.`,
  );
  app.addHook('onRequest', (request, reply, done) => done(budget(sender(request), reply)));
}

/** The address; of an IPv6 address its network (/64), within which a sender may choose. */
function sender({ ip }: FastifyRequest): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)?.[1];
  if (mapped !== undefined) return mapped;
  return isIPv6(ip) ? network(ip) : ip;
}

function network(ip: string): string {
  const [head = '', tail] = (ip.split('%', 1)[0] ?? '').split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  return [...first, ...Array.from({ length: zeros }, () => '0'), ...last]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}

/** Counts by key in fixed windows; answers the refusal of a request beyond its quota. */
function windows(
  name: string,
  quota: number,
  seconds: number,
  refusal: string,
): (key: string, reply: FastifyReply) => Problem | undefined {
  const policy = `"${name}";q=${quota};w=${seconds}`;
  let window = 0;
  let used = new Map<string, number>();
  return (key, reply) => {
    const now = Math.floor(Date.now() / 1000);
    const current = Math.floor(now / seconds);
    if (current !== window) {
      window = current;
      used = new Map();
    }
    const count = (used.get(key) ?? 0) + 1;
    used.set(key, count);
    const left = (current + 1) * seconds - now;
    reply.header('RateLimit-Policy', policy);
    reply.header('RateLimit', `"${name}";r=${Math.max(0, quota - count)};t=${left}`);
    if (count <= quota) return undefined;
    return new Problem('rate_limited', refusal, { headers: { 'Retry-After': String(left) } });
  };
}
