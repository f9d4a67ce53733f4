import type pg from 'pg';
import type { Test } from 'tap';
import { z } from 'zod';
import { developmentServer, onServer, TEST_SERVER_VARIABLE, type TestServer, uniqueName } from './server.ts';

export type TestDatabase = {
  /** For pg.Pool and pg.Client. */
  connection: pg.ClientConfig & { database: string };
  /** The same as a DATABASE_URL, for a process of its own. */
  url: string;
};

/**
 * A database with all migrations applied and nothing in it, that belongs to this test alone: a clone of the template,
 * dropped when the test ends, even while something is still connected to it.
 */
export async function testDatabase(t: Pick<Test, 'teardown'>): Promise<TestDatabase> {
  const { connection, template, prefix } = await testServer();
  return createDatabase(t, connection, { name: uniqueName(prefix), template });
}

/** A database without the migrations, otherwise as testDatabase. */
export async function emptyDatabase(t: Pick<Test, 'teardown'>): Promise<TestDatabase> {
  const { connection, prefix } = await testServer();
  return createDatabase(t, connection, { name: uniqueName(prefix), template: 'template0' });
}

async function createDatabase(
  t: Pick<Test, 'teardown'>,
  server: pg.ClientConfig,
  { name, template }: { name: string; template: string },
): Promise<TestDatabase> {
  await onServer(server, (client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${template}`));
  t.teardown(() => onServer(server, (client) => client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)));
  const connection = { ...server, database: name };
  return { connection, url: urlOf(connection) };
}

const serverSchema = z.object({
  connection: z.object({
    host: z.string(),
    port: z.number(),
    user: z.string(),
    password: z.string().exactOptional(),
    database: z.string(),
    ssl: z.union([z.boolean(), z.record(z.string(), z.unknown())]).exactOptional(),
  }),
  template: z.string(),
  prefix: z.string(),
});

let server: Promise<TestServer> | undefined;

async function testServer(): Promise<TestServer> {
  const given = process.env[TEST_SERVER_VARIABLE];
  server ??= given === undefined ? developmentServer() : Promise.resolve(serverSchema.parse(JSON.parse(given)));
  return server;
}

/** In libpq's form, which psql and pg both read; a host that begins with a slash is the directory of a socket. */
function urlOf(connection: pg.ClientConfig & { database: string }): string {
  const account = [connection.user, typeof connection.password === 'string' ? connection.password : undefined]
    .filter((part) => part !== undefined)
    .map(encodeURIComponent)
    .join(':');
  const host = connection.host ?? 'localhost';
  const place = host.startsWith('/') ? encodeURIComponent(host) : host.includes(':') ? `[${host}]` : host;
  return `postgresql://${account}@${place}:${connection.port ?? 5432}/${connection.database}`;
}
