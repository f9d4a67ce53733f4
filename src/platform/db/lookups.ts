import type pg from 'pg';
import type { QueryGroup } from './row-query.ts';

/**
 * A few connections on which all requests send their look-ups by key, one behind the other: nobody waits for a free one, and
 * what is sent in one turn of the event loop leaves in one piece. Only for statements that are over at once, because those
 * behind wait for them.
 */
export class Lookups {
  readonly #clients: (pg.Client | null)[];
  readonly #open: () => pg.Client;
  #next = 0;

  constructor(connections: number, open: () => pg.Client) {
    this.#clients = Array.from({ length: connections }, () => null);
    this.#open = open;
  }

  send(query: QueryGroup): void {
    this.#next = (this.#next + 1) % this.#clients.length;
    const client = this.#clients[this.#next] ?? this.#connect(this.#next);
    const { stream } = client.connection;
    if (stream.writableCorked === 0) {
      stream.cork();
      setImmediate(() => stream.uncork());
    }
    client.query(query);
  }

  /** What is sent meanwhile waits for the connection; if there will be none, it is refused with the reason. */
  #connect(at: number): pg.Client {
    const client = this.#open();
    this.#clients[at] = client;
    // A connection that fails or ends rejects what was sent on it; the next look-up opens another.
    const forget = () => {
      if (this.#clients[at] === client) this.#clients[at] = null;
    };
    client.on('error', forget);
    client.on('end', forget);
    client.connect().catch(forget);
    return client;
  }

  async end(): Promise<void> {
    const open = this.#clients.flatMap((client) => client ?? []);
    this.#clients.fill(null);
    await Promise.all(open.map((client) => client.end()));
  }
}
