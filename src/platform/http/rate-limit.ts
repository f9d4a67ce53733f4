import { isIPv6 } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../errors.ts';

/**
 * Requests per client and second, told up front in the RateLimit headers of the IETF draft (which @fastify/rate-limit
 * does not speak; hence these lines). Fixed windows of one second, counted per process.
 */
export function limitRate(app: FastifyInstance, perSecond: number): void {
  const { spend } = clientWindows(perSecond);
  app.addHook('preHandler', (request, reply, done) => done(spend(request.principal.client, reply)));
}

function clientWindows(perSecond: number): Windows {
  return windows('default', perSecond, 1, `More than ${perSecond} requests in a second. Wait a second.`);
}

/** The same where the client proves itself in the request. @throws Problem rate_limited */
export function clientLimit(perSecond: number): (client: string, reply: FastifyReply) => void {
  const { spend } = clientWindows(perSecond);
  return (client, reply) => {
    const refusal = spend(client, reply);
    if (refusal) throw refusal;
  };
}

/**
 * Attempts per address and minute, for secrets that somebody might try. Each counts while it is looked at, so that many
 * at once gain nothing, and is given back when it was no wrong guess. Guesses at one client from many addresses are not
 * counted: who does so could lock the client out, and no number of them finds 256 bits.
 *
 * @throws Problem rate_limited
 */
export function attemptLimit(perMinute: number): (request: FastifyRequest, reply: FastifyReply) => () => void {
  const { spend, refund } = windows(
    'attempts',
    perMinute,
    60,
    `More than ${perMinute} refused requests in a minute from one address. Wait until the minute is over.`,
  );
  return (request, reply) => {
    const address = sender(request);
    const refusal = spend(address, reply);
    if (refusal) throw refusal;
    return () => refund(address);
  };
}

/** Requests per address and minute where nobody logs in, refused before their bodies are read. */
export function limitAddressRate(app: FastifyInstance, perMinute: number): void {
  const { spend } = windows(
    'address',
    perMinute,
    60,
    `More than ${perMinute} requests in a minute from one address. Wait until the minute is over.`,
  );
  app.addHook('onRequest', (request, reply, done) => done(spend(sender(request), reply)));
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

interface Windows {
  /** Answers the refusal of a request beyond its quota. */
  spend(key: string, reply: FastifyReply): Problem | undefined;
  refund(key: string): void;
}

/** Counts by key in fixed windows. */
function windows(name: string, quota: number, seconds: number, refusal: string): Windows {
  const policy = `"${name}";q=${quota};w=${seconds}`;
  let window = 0;
  let used = new Map<string, number>();
  const spend = (key: string, reply: FastifyReply) => {
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
  return {
    spend,
    refund(key) {
      const count = used.get(key);
      if (count !== undefined && count > 0) used.set(key, count - 1);
    },
  };
}
