import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type pino from 'pino';
import { z } from 'zod';

/**
 * How the processes of one service tell each other what all of them should know at once, over NOTIFY of PostgreSQL: what
 * is told while the connection is away is lost, so nothing may depend on it for being right.
 */
export interface Channel {
  /** To all other processes, never to this one. At most some 7,000 bytes. */
  tell(topic: string, message: unknown): void;
  /** One listener per topic. */
  hear(topic: string, listener: (message: unknown) => void): void;
  close(): Promise<void>;
}

/** For what runs alone. */
export const silence: Channel = { tell: () => undefined, hear: () => undefined, close: () => Promise.resolve() };

const name = 'rapport';
const pauseBeforeReconnecting = 1_000;
/** How often a process says that it is there, and how long the others believe it; milliseconds. */
const greetEvery = 10_000;
const rememberFor = 30_000;
/** Of whoever sends, the topic, the message. */
const received = z.tuple([z.string(), z.string(), z.unknown()]);
const greeting = '';

/** Sends nothing but its greeting while no other process is there. */
export function openChannel(connection: pg.ClientConfig, log: Pick<pino.BaseLogger, 'info' | 'warn'>): Channel {
  const self = randomUUID();
  let lastHeard = Number.NEGATIVE_INFINITY;
  const listeners = new Map<string, (message: unknown) => void>();
  let client: pg.Client | null = null;
  let closed = false;
  /** Whether it was told that the connection is away: it is told once, however often it cannot be had again. */
  let away = false;
  let again: NodeJS.Timeout | undefined;

  function connect(): void {
    const made = new pg.Client({ ...connection, keepAlive: true });
    client = made;
    const lose = (error?: Error) => {
      if (client !== made) return;
      client = null;
      made.end().catch(() => undefined);
      if (closed) return;
      if (!away)
        log.warn({ ...(error && { err: error }) }, 'the connection to the other processes of this service was lost');
      away = true;
      again = setTimeout(connect, pauseBeforeReconnecting);
      again.unref();
    };
    made.on('error', lose);
    made.on('end', () => lose());
    made.on('notification', ({ payload = '' }) => receive(payload));
    made
      .connect()
      .then(() => made.query(`LISTEN ${name}`))
      .then(() => {
        if (away) log.info('the connection to the other processes of this service is back');
        away = false;
        send(greeting, null);
      })
      .catch(lose);
  }

  function receive(payload: string): void {
    try {
      const [from, topic, message] = received.parse(JSON.parse(payload));
      if (from === self) return;
      // A process that has just come learns that it is not alone.
      if (topic === greeting && isAlone()) send(greeting, null);
      lastHeard = Date.now();
      listeners.get(topic)?.(message);
    } catch (error) {
      log.warn({ err: error }, 'a message of another process cannot be read');
    }
  }

  const isAlone = () => Date.now() - lastHeard > rememberFor;

  function send(topic: string, message: unknown): void {
    const values = [name, JSON.stringify([self, topic, message])];
    client?.query({ name: 'tell', text: 'SELECT pg_notify($1, $2)', values }).catch(() => undefined);
  }

  const greet = setInterval(() => send(greeting, null), greetEvery).unref();
  connect();
  return {
    tell(topic, message) {
      if (!isAlone()) send(topic, message);
    },
    hear(topic, listener) {
      listeners.set(topic, listener);
    },
    async close() {
      closed = true;
      clearInterval(greet);
      clearTimeout(again);
      await client?.end().catch(() => undefined);
    },
  };
}
