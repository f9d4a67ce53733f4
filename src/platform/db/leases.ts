import pg from 'pg';

/**
 * Work that one process of the service does at a time. A lease is an advisory lock of a session: it ends with the process, and with the
 * connection, whichever comes first, and others take it at once.
 */
export interface Leases {
  /** null: another process has it. */
  take(name: string): Promise<Lease | null>;
  close(): Promise<void>;
}

export interface Lease {
  /** false: the connection was lost, and somebody else may have it by now. */
  readonly held: boolean;
  release(): Promise<void>;
}

/** Tells these locks from others of the service. */
const seed = 9;

export function openLeases(connection: pg.ClientConfig): Leases {
  let session: Promise<pg.Client> | null = null;

  function connected(): Promise<pg.Client> {
    session ??= connect();
    return session;
  }

  async function connect(): Promise<pg.Client> {
    const client = new pg.Client({
      ...connection,
      keepAlive: true,
      query_timeout: 10_000,
      application_name: 'rapport leases',
    });
    const mine = () => {
      session = null;
    };
    client.on('error', mine).on('end', mine);
    try {
      await client.connect();
      return client;
    } catch (error) {
      session = null;
      throw error;
    }
  }

  return {
    async take(name) {
      const client = await connected();
      const at = session;
      const { rows } = await client.query<{ taken: boolean }>(
        `select pg_try_advisory_lock(hashtextextended($1, ${seed})) as taken`,
        [name],
      );
      if (!rows[0]?.taken) return null;
      return {
        get held() {
          return session !== null && session === at;
        },
        async release() {
          // With a lost session the lock is gone.
          await client.query(`select pg_advisory_unlock(hashtextextended($1, ${seed}))`, [name]).catch(() => undefined);
        },
      };
    },
    async close() {
      const client = await session?.catch(() => null);
      await client?.end().catch(() => undefined);
    },
  };
}
