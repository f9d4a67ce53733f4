/**
 * What the service is compared with: bare `node:http`, the same token verification, the same pool, one named prepared
 * statement per read, and nothing else: no validation, no limits, no headers beyond the necessary. It answers the same members.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import pg from 'pg';
import { readConfig } from '../../src/config.ts';
import { unitsOf } from '../../src/domain/lead-score.ts';
import { tablePolicies } from '../../src/features.ts';
import { openKeys } from '../../src/platform/auth/keys.ts';
import { cursorCodec } from '../../src/platform/cursor.ts';
import { types } from '../../src/platform/db/client.ts';
import { openDatabase } from '../../src/platform/db/open.ts';
import { createVerifier } from '../../src/platform/http/auth.ts';
import {
  balanceById,
  customerById,
  customersWithOrders,
  floorOrder,
  insertInteraction,
  insertOrder,
  leadPage,
  namedCustomer,
  newestRules,
  orderPage,
  timelinePage,
} from './floor-statements.ts';

const config = readConfig(process.env);
const keys = await openKeys(config);
const verify = await createVerifier(config, keys);
const cursors = cursorCodec(keys.cursorSecret);
const database = await openDatabase(config, tablePolicies(), () => {});
const pool = new pg.Pool({
  ...database.connection,
  types,
  max: config.databasePoolSize,
  pipeline: true,
  keepAlive: true,
} as pg.PoolConfig);
const { rows } = await pool.query(
  `select external_id, record_id from external_refs where kind = 'customer' and source = 'bench'`,
);
/** Spares the floor the look-up of the customer. */
const customerIds = new Map<string, string>(rows.map((row) => [row.external_id, row.record_id]));
/** Those in force when leads are first asked for. */
let rules: Awaited<ReturnType<typeof newestRules>> | null = null;

async function answer(request: IncomingMessage): Promise<string> {
  const principal = await verify(request.headers.authorization);
  const url = request.url ?? '';
  if (request.method === 'POST') {
    const body = JSON.parse(await read(request));
    return url === '/graphql' ? graphql(body.variables) : create(url, body);
  }
  if (url.includes('/timeline?')) return timeline(url, principal.client);
  if (url.startsWith('/v1/leads?')) return leads(new URLSearchParams(url.slice(10)), principal.client);
  if (url.includes('/loyalty?asOf=')) {
    return JSON.stringify(await balanceById(pool, url.slice(14, 50), url.slice(url.indexOf('=') + 1)));
  }
  if (url.startsWith('/v1/customers/')) return JSON.stringify(await customerById(pool, url.slice(14)));
  return page(new URLSearchParams(url.slice(url.indexOf('?'))), principal.client);
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function page(query: URLSearchParams, client: string): Promise<string> {
  const limit = Number(query.get('limit'));
  const placedTo = query.get('placedTo') ?? '';
  const data = await orderPage(pool, placedTo, limit + 1);
  const scope = JSON.stringify([client, 'orders', '-placedAt', { placedTo }]);
  return paged(data, limit, scope, ({ placedAt }) => placedAt);
}

async function leads(query: URLSearchParams, client: string): Promise<string> {
  const limit = Number(query.get('limit'));
  const scope = JSON.stringify([client, 'leads']);
  const given = query.get('after');
  const after = given === null ? null : cursors.decode(given, scope);
  rules ??= await newestRules(pool);
  const data = await leadPage(pool, rules, query, { after, limit: limit + 1 });
  return paged(data, limit, scope, ({ score }) => unitsOf(score));
}

async function timeline(url: string, client: string): Promise<string> {
  const customerId = url.slice(14, 50);
  const query = new URLSearchParams(url.slice(url.indexOf('?')));
  const limit = Number(query.get('limit'));
  const to = query.get('to') ?? '';
  const data = await timelinePage(pool, customerId, to, limit + 1);
  const scope = JSON.stringify([client, 'timeline', '-at', { customerId, to }]);
  return paged(data, limit, scope, ({ at }) => at);
}

function paged<Row extends { id: string }>(
  data: Row[],
  limit: number,
  scope: string,
  at: (row: Row) => string | number,
): string {
  const hasMore = data.length > limit;
  if (hasMore) data.pop();
  const last = data.at(-1);
  const next = hasMore && last ? cursors.encode({ scope, key: [at(last), last.id] }) : null;
  return JSON.stringify({ data, page: { next, hasMore } });
}

/** The costs are those of the two queries the bench sends. */
async function graphql({ before, id }: { before?: string; id?: string }): Promise<string> {
  const [data, cost] =
    id === undefined ? [await customersWithOrders(pool, before ?? ''), 141] : [await namedCustomer(pool, id), 1];
  return `{"data":${data},"extensions":{"cost":{"requested":${cost},"limit":5000}}}`;
}

async function create(url: string, body: Parameters<typeof floorOrder>[0]): Promise<string> {
  const customerId = customerIds.get(body.customer.externalId) ?? '';
  const client = await pool.connect();
  try {
    const written =
      url === '/v1/interactions'
        ? insertInteraction(client, body as never, customerId) // the address says which document it is
        : insertOrder(client, floorOrder(body, customerId));
    return JSON.stringify(await written);
  } finally {
    client.release();
  }
}

const server = createServer((request: IncomingMessage, response: ServerResponse) => {
  if (request.url === '/livez') {
    response.end();
    return;
  }
  answer(request).then(
    (text) => {
      response.writeHead(request.method === 'POST' && request.url !== '/graphql' ? 201 : 200, {
        'Content-Type': 'application/json; charset=utf-8',
        'Content-Length': Buffer.byteLength(text),
      });
      response.end(text);
    },
    (error: unknown) => {
      console.error(error);
      response.writeHead(500).end();
    },
  );
});
server.listen(config.port, config.host);
process.on('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
  pool.end().then(() => database.stop());
});
