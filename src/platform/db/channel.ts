import { randomUUID } from 'node:crypto';
import type { FastifyBaseLogger } from 'fastify';
import pg from 'pg';
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
const envelope = z.tuple([z.string(), z.string(), z.unknown()]);

export function openChannel(connection: pg.ClientConfig, log: Pick<FastifyBaseLogger, 'warn'>): Channel {
  const self = randomUUID();
  const listeners = new Map<string, (message: unknown) => void>();
  let client: pg.Client | null = null;
  let closed = false;
  let again: NodeJS.Timeout | undefined;

  function connect(): void {
    const made = new pg.Client({ ...connection, keepAlive: true });
    client = made;
    const lose = (error?: Error) => {
      if (client !== made) return;
      client = null;
      made.end().catch(() => undefined);
      if (closed) return;
      if (error) log.warn({ err: error }, 'the connection to the other processes of this service was lost');
      again = setTimeout(connect, pauseBeforeReconnecting);
      again.unref();
    };
    made.on('error', lose);
    made.on('end', () => lose());
    made.on('notification', ({ payload = '' }) => receive(payload));
    made
      .connect()
      .then(() => made.query(`LISTEN ${name}`))
      .catch(lose);
  }

  function receive(payload: string): void {
    try {
      const [from, topic, message] = envelope.parse(JSON.parse(payload));
      if (from !== self) listeners.get(topic)?.(message);
    } catch (error) {
      log.warn({ err: error }, 'a message of another process cannot be read');
    }
  }

  connect();
  return {
    tell(topic, message) {
      client?.query('SELECT pg_notify($1, $2)', [name, JSON.stringify([self, topic, message])]).catch(() => undefined);
    },
    hear(topic, listener) {
      listeners.set(topic, listener);
    },
    async close() {
      closed = true;
      clearTimeout(again);
      await client?.end().catch(() => undefined);
    },
  };
}
