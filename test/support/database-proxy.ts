import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type pg from 'pg';
import type { Test } from 'tap';

export interface DatabaseProxy {
  /** The database, by way of the proxy. */
  connection: pg.ClientConfig;
  /** How often somebody has come. */
  readonly tries: number;
  /** How many are connected. */
  readonly connected: number;
  /** From now on it passes on nothing, and says nothing of it. */
  stall(): void;
  /** Ends all connections and takes no other, until `open`. */
  cut(): void;
  open(): void;
}

/** Stands between a client and the test's database, and may fail as a network does. */
export async function databaseProxy(t: Pick<Test, 'teardown'>, to: pg.ClientConfig): Promise<DatabaseProxy> {
  const { host = '127.0.0.1', port = 5432 } = to;
  const clients = new Set<Socket>();
  let [tries, stalled, isOpen] = [0, false, true];
  const server = createServer((client) => {
    tries += 1;
    if (!isOpen) {
      client.destroy();
      return;
    }
    clients.add(client);
    const database = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
    for (const [from, into] of [
      [client, database],
      [database, client],
    ] as const) {
      from.on('data', (chunk) => void (stalled || into.write(chunk))).on('error', () => undefined);
      from.on('close', () => {
        clients.delete(client);
        into.destroy();
      });
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const end = () => {
    for (const client of clients) client.destroy();
  };
  t.teardown(() => {
    end();
    server.close();
  });
  const { port: own } = server.address() as AddressInfo; // listening on TCP
  return {
    connection: { ...to, host: '127.0.0.1', port: own },
    get tries() {
      return tries;
    },
    get connected() {
      return clients.size;
    },
    stall() {
      stalled = true;
    },
    cut() {
      isOpen = false;
      end();
    },
    open() {
      isOpen = true;
    },
  };
}
