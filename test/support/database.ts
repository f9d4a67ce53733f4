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
  const { connection: server, template } = await testServer();
  const database = uniqueName('test');
  await onServer(server, (client) => client.query(`CREATE DATABASE ${database} TEMPLATE ${template}`));
  t.teardown(() => onServer(server, (client) => client.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)));
  const connection = { ...server, database };
  return { connection, url: urlOf(connection) };
}

/** An empty database without the migrations, otherwise as testDatabase. */
export async function emptyDatabase(t: Pick<Test, 'teardown'>): Promise<TestDatabase> {
  const { connection: server } = await testServer();
  const database = uniqueName('test');
  await onServer(server, (client) => client.query(`CREATE DATABASE ${database} TEMPLATE template0`));
  t.teardown(() => onServer(server, (client) => client.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)));
  const connection = { ...server, database };
  return { connection, url: urlOf(connection) };
}

const serverSchema = z.object({
  connection: z.object({
    host: z.string(),
    port: z.number(),
    user: z.string(),
    password: z.string().optional(),
    database: z.string(),
    ssl: z.boolean().optional(),
  }),
  template: z.string(),
});

let server: Promise<TestServer> | undefined;

async function testServer(): Promise<TestServer> {
  const given = process.env[TEST_SERVER_VARIABLE];
  server ??= given === undefined ? developmentServer() : Promise.resolve(parseServer(given));
  return server;
}

function parseServer(text: string): TestServer {
  const { connection, template } = serverSchema.parse(JSON.parse(text));
  const { password, ssl, ...rest } = connection;
  return {
    connection: { ...rest, ...(password === undefined ? {} : { password }), ...(ssl === undefined ? {} : { ssl }) },
    template,
  };
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
