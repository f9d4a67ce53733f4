import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Channel } from '../db/channel.ts';
import { Problem } from '../errors.ts';

/**
 * Requests per client and second, told up front in the RateLimit headers of the IETF draft (which @fastify/rate-limit
 * does not speak; hence these lines). Fixed windows of one second. Each process counts at once what it is asked and, ten
 * times a second, what the others were asked: all of them together may exceed the limit by what comes in between.
 */
export function limitRate(app: FastifyInstance, perSecond: number, channel: Channel): void {
  const { spend } = clientWindows('requests', perSecond, channel);
  app.addHook('preHandler', (request, reply, done) => done(spend(request.principal.client, reply)));
}

function clientWindows(topic: string, perSecond: number, channel: Channel): Windows {
  const refusal = `More than ${perSecond} requests in a second. Wait a second.`;
  return windows({ topic, name: 'default', quota: perSecond, seconds: 1, refusal, channel });
}

/** The same where the client proves itself in the request. @throws Problem rate_limited */
export function clientLimit(perSecond: number, channel: Channel): (client: string, reply: FastifyReply) => void {
  const { spend } = clientWindows('token requests', perSecond, channel);
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
export function attemptLimit(
  perMinute: number,
  channel: Channel,
): (request: FastifyRequest, reply: FastifyReply) => () => void {
  const refusal = `More than ${perMinute} refused requests in a minute from one address. Wait until the minute is over.`;
  const { spend, refund } = windows({
    topic: 'attempts',
    name: 'attempts',
    quota: perMinute,
    seconds: 60,
    refusal,
    channel,
  });
  return (request, reply) => {
    const address = sender(request);
    const refusal = spend(address, reply);
    if (refusal) throw refusal;
    return () => refund(address);
  };
}

/** Requests per address and minute where nobody logs in, refused before their bodies are read. */
export function limitAddressRate(app: FastifyInstance, perMinute: number, channel: Channel): void {
  const refusal = `More than ${perMinute} requests in a minute from one address. Wait until the minute is over.`;
  const { spend } = windows({
    topic: 'addresses',
    name: 'address',
    quota: perMinute,
    seconds: 60,
    refusal,
    channel,
  });
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

interface WindowOptions {
  /** Of the channel. */
  topic: string;
  /** In the headers. */
  name: string;
  quota: number;
  seconds: number;
  refusal: string;
  channel: Channel;
}

interface Count {
  /** Of all processes. */
  used: number;
  /** Of this one, not told to the others yet. */
  untold: number;
}

/** Milliseconds between two messages to the other processes. */
const tellEvery = 100;
/** Keys of one message, which may have 8,000 bytes. */
const keysPerMessage = 200;
const told = z.tuple([z.number(), z.record(z.string(), z.number())]);

/** Counts by key in fixed windows. */
function windows({ topic, name, quota, seconds, refusal, channel }: WindowOptions): Windows {
  const policy = `"${name}";q=${quota};w=${seconds}`;
  let window = 0;
  let counts = new Map<string, Count>();
  /** The same by the digests that the processes tell each other: a key may be an address. */
  let digests = new Map<string, Count>();
  let telling = false;

  function enter(current: number): void {
    if (current <= window) return;
    window = current;
    counts = new Map();
    digests = new Map();
  }

  function countOf(key: string): Count {
    const known = counts.get(key);
    if (known) return known;
    const count = ofDigest(createHash('sha256').update(key).digest('base64url').slice(0, 16));
    counts.set(key, count);
    return count;
  }

  function ofDigest(digest: string): Count {
    let count = digests.get(digest);
    if (!count) {
      count = { used: 0, untold: 0 };
      digests.set(digest, count);
    }
    return count;
  }

  function add(count: Count, requests: number): void {
    count.used += requests;
    count.untold += requests;
    if (telling) return;
    telling = true;
    setTimeout(tell, tellEvery).unref();
  }

  function tell(): void {
    telling = false;
    const untold = [...digests].filter(([, count]) => count.untold !== 0);
    for (let from = 0; from < untold.length; from += keysPerMessage) {
      const part = untold.slice(from, from + keysPerMessage);
      channel.tell(topic, [window, Object.fromEntries(part.map(([digest, count]) => [digest, count.untold]))]);
    }
    for (const [, count] of untold) count.untold = 0;
  }

  channel.hear(topic, (message) => {
    const [theirs, parts] = told.parse(message);
    // The first to be asked in a new window may have been the other one.
    enter(Math.floor(Date.now() / 1000 / seconds));
    if (theirs !== window) return;
    for (const [digest, requests] of Object.entries(parts)) ofDigest(digest).used += requests;
  });

  const spend = (key: string, reply: FastifyReply) => {
    const now = Math.floor(Date.now() / 1000);
    const current = Math.floor(now / seconds);
    enter(current);
    const count = countOf(key);
    add(count, 1);
    const left = (current + 1) * seconds - now;
    reply.header('RateLimit-Policy', policy);
    reply.header('RateLimit', `"${name}";r=${Math.max(0, quota - count.used)};t=${left}`);
    if (count.used <= quota) return undefined;
    return new Problem('rate_limited', refusal, { headers: { 'Retry-After': String(left) } });
  };
  return {
    spend,
    refund(key) {
      const count = counts.get(key);
      if (count !== undefined && count.used > 0) add(count, -1);
    },
  };
}
