import type { ClientConfig } from 'pg';
import { createApp } from '../src/app.ts';
import { type Config, readConfig } from '../src/config.ts';
import { tablePolicies } from '../src/features.ts';
import { issueToken } from '../src/platform/auth/issue-token.ts';
import { openKeys } from '../src/platform/auth/keys.ts';
import { openDatabase } from '../src/platform/db/open.ts';
import { createLogger } from '../src/platform/http/logging.ts';

export interface Administration {
  /**
   * A request to the service itself, with all scopes.
   *
   * @throws Error with the words of a refusal
   */
  // The answers are JSON of the service's own contract.
  request<T>(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: object): Promise<T>;
}

/**
 * Runs a command of the administration on the configured database: the service without a socket, so that a command does
 * what the address does, audit included. Services that run already know of it within a quarter of a minute.
 */
export function administer(work: (administration: Administration) => Promise<void>): Promise<void> {
  return withDatabase(async (config, connection) => {
    const keys = await openKeys(config);
    if (keys.signing === null) {
      throw new Error('JWT_JWKS_URL is set: clients, keys and tokens are managed at that provider.');
    }
    const token = issueToken(config, keys.signing, { scope: '*', client: 'cli', ttl: 300 });
    const logger = createLogger({ ...config, logLevel: 'silent' });
    const app = await createApp({ config, keys, connection, logger });
    try {
      await work({
        async request(method, url, body) {
          const headers = { authorization: `Bearer ${token}`, ...(method !== 'GET' && { 'if-match': '*' }) };
          const answer = await app.inject({ method, url, headers, ...(body && { payload: body }) });
          const read = answer.body === '' ? null : answer.json();
          if (answer.statusCode >= 400) throw new Error(read?.detail ?? `The service answered ${answer.statusCode}.`);
          return read;
        },
      });
    } finally {
      await app.close();
    }
  });
}

/** For commands that need the database and no service; an error is printed and ends the command with 1. */
export async function withDatabase(work: (config: Config, connection: ClientConfig) => Promise<void>): Promise<void> {
  try {
    const config = { ...readConfig(process.env), databasePoolSize: 2 };
    const database = await openDatabase(config, tablePolicies(), (message) => console.error(message));
    try {
      await work(config, database.connection);
    } finally {
      await database.stop();
    }
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
