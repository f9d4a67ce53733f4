import { createServer } from 'node:net';
import { join, relative } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import type { FastifyInstance } from 'fastify';
import pg from 'pg';
import { createApp } from '../src/app.ts';
import { packageRoot, readConfig } from '../src/config.ts';
import { customerRecord } from '../src/features/customers/record.ts';
import { tablePolicies } from '../src/features.ts';
import { issueToken } from '../src/platform/auth/issue-token.ts';
import { openKeys } from '../src/platform/auth/keys.ts';
import { type EmbeddedPostgres, startEmbedded } from '../src/platform/db/embedded.ts';
import { openDatabase } from '../src/platform/db/open.ts';
import { createLogger } from '../src/platform/http/logging.ts';
import { callTable, campaignTable, funnelLines, learnedLine } from './demo/calls.ts';
import { clubTable } from './demo/club.ts';
import { fillStore } from './demo/fill.ts';
import { filledInAtPurchase, inventLeads } from './demo/leads.ts';
import { inventMembers } from './demo/members.ts';
import { inventSharing, partnerId, sharingTable } from './demo/sharing.ts';
import { baseCurrency, inventStore, now, storeVersion, zone } from './demo/store.ts';
import { inventCalls } from './demo/survey-scores.ts';
import { customerView, metricsTable } from './demo/table.ts';
import { type ServiceClient, ServiceError, serviceClient } from './service-client.ts';

/**
 * `npm run demo`: the service on a database of its own, with an invented store in it that came through the API. Its
 * clock stands still, so that its numbers never change.
 */
interface Options {
  port: number;
  seed: number;
  customers: number;
  dataDir: string;
  fresh: boolean;
  once: boolean;
}

/** What a person can do something about: said without a stack. */
class DemoError extends Error {
  override name = 'DemoError';
}

const host = '127.0.0.1';
/** Ctrl-C under npm arrives twice, from the terminal and from npm; a person needs longer to ask again. */
const sameSignal = 1_000;
const month = 30 * 86_400;

function integer(low: number, high: number) {
  return (text: string): number => {
    const value = Number(text);
    if (!/^\d{1,10}$/.test(text) || value < low || value > high) {
      throw new InvalidArgumentError(`An integer from ${low} to ${high}.`);
    }
    return value;
  };
}

const options = new Command('demo')
  .description('Starts the service with an invented shop in it, shows its numbers and keeps serving until Ctrl-C.')
  .option('--port <port>', 'where it listens; 0: any free port', integer(0, 65_535), 3000)
  .option('--seed <number>', 'which store is invented', integer(0, 2 ** 31 - 1), 1)
  .option('--customers <number>', 'how many customers it has', integer(20, 100_000), 2_500)
  .option('--data-dir <folder>', 'where the database is kept between runs', join(packageRoot, '.demo'))
  .option('--fresh', 'build the store again', false)
  .option('--once', 'show the numbers and exit', false)
  .allowExcessArguments(false)
  .parse()
  .opts<Options>();

async function run(): Promise<void> {
  const { port, seed, customers, dataDir, once } = options;
  await assertFree(port);
  const interrupted = onSignal();
  const server = await startEmbedded({ dataDir, note: (message) => console.log(message) });
  let app: FastifyInstance | undefined;
  try {
    const built = await prepareDatabase(server);
    const config = readConfig({
      RAPPORT_DATA_DIR: dataDir,
      BASE_CURRENCY: baseCurrency,
      REPORTING_TIME_ZONE: zone,
      HOST: host,
      PORT: String(port),
      RATE_LIMIT: '100000',
      LOG_LEVEL: 'error',
    });
    const keys = await openKeys(config);
    // The server is running: this brings the schema up to date, and has nothing to stop.
    const { connection } = await openDatabase(config, tablePolicies(), () => {});
    let clock = now;
    const service = await createApp({ config, keys, connection, logger: createLogger(config), clock: () => clock });
    app = service;
    await app.listen({ host, port });
    const origin = app.listeningOrigin;
    if (!keys.signing) throw new Error('the demo issues its own tokens');
    const { signing } = keys;
    const tokenFor = (claims: { partner?: string; customer?: string }) =>
      issueToken(config, signing, { scope: '*', client: 'demo', ttl: month, ...claims });
    const clientOf = (token: string) => serviceClient({ url: origin, token, signal: interrupted.signal });
    const token = tokenFor({});
    const client = clientOf(token);

    const store = inventStore(seed, customers);
    const leads = inventLeads(seed, store);
    const members = inventMembers(seed, store);
    const calls = inventCalls(seed, store);
    const sharing = inventSharing(seed, store);
    const size = `${store.people.length} customers, ${store.orders.length} orders, ${members.joins.length} members, ${leads.leads.length} leads, ${leads.interactions.length} interactions`;
    if (built) {
      console.log(`The store that was built before: seed ${seed}, ${size}. --fresh builds it again.`);
    } else {
      console.log(`Building a store through the API: seed ${seed}, ${size}.`);
      const started = Date.now();
      const hands = {
        moveTo: (instant: string) => {
          clock = instant;
        },
        night: async () => {
          await service.jobs.addRecurring(['settleLoyalty', 'grantLoyaltyBonuses']);
          await service.jobs.runDue();
        },
      };
      await fillStore(client, { seed, store, leads, members, sharing, calls }, hands, interrupted.signal);
      // The demo's store is small enough to wait for what the service does in the background.
      await client.request('POST', '/v1/lead-models', { exclude: filledInAtPurchase, minConversions: 50 });
      await app.jobs.runDue();
      await mark(server);
      console.log(`Built in ${((Date.now() - started) / 1000).toFixed(0)} s, and kept in ${shown(dataDir)}.`);
    }
    console.log(`\nAn invented shop on 1 July 2026, where the demo's clock stands\n`);
    console.log(await metricsTable(client));
    console.log(
      `\nWho to call next: open leads by the score of the rules\n${await callTable(client, 10)}\n\n${await funnelLines(client)}`,
    );
    console.log(`\nCampaigns, by last touch within 30 days, in EUR\n${await campaignTable(client)}`);
    console.log(`\nThe loyalty programme, one year old\n${await clubTable(client)}`);
    console.log(`\nOne customer\n${await customerView(client, store.regular)}`);
    const partnerToken = tokenFor({ partner: await partnerId(client) });
    const viewers = [
      { who: 'the shop', client },
      { who: sharing.partner.name, client: clientOf(partnerToken) },
      { who: store.regular, client: clientOf(tokenFor({ customer: await idOf(client, store.regular) })) },
    ];
    console.log(
      `\nWho sees what: the shop, a partner (customers who agreed), a customer\n${await sharingTable(viewers)}`,
    );
    console.log(`\n${invitation(origin, { token, partnerToken }, store.regular)}`);
    console.log(`\n${await learnedLine(client)}`);
    if (!once) {
      console.log('\nServing until Ctrl-C.');
      await interrupted.ended;
    }
  } catch (error) {
    // Ctrl-C while the store is built: it has no label, and the next run begins anew.
    if (!interrupted.signal.aborted) throw error;
  } finally {
    app?.drain();
    // A connection whose request was in flight becomes idle only now: nobody else closes it.
    const sweep = setInterval(() => app?.server.closeIdleConnections(), 50);
    await app?.close();
    clearInterval(sweep);
    await server.stop();
    interrupted.forget();
  }
}

function invitation(
  origin: string,
  { token, partnerToken }: { token: string; partnerToken: string },
  externalId: string,
): string {
  const query = `{ customer(reference: { source: "shop", externalId: "${externalId}" }) { name summary { orders meanGapDays base { lifetimeValue currency } } } }`;
  return [
    `Documentation  ${origin}/docs        contract  ${origin}/openapi.json`,
    'Tokens for everything and for what the partner sees, for 30 days, and lines to paste:',
    '',
    `export TOKEN=${token}`,
    `export PARTNER_TOKEN=${partnerToken}`,
    '',
    `curl -s -H "Authorization: Bearer $TOKEN" '${origin}/v1/metrics/retention-rate?from=2026-06-01&to=2026-07-01&interval=month'`,
    `curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' ${origin}/graphql -d '${JSON.stringify({ query })}'`,
    `curl -s -H "Authorization: Bearer $PARTNER_TOKEN" '${origin}/v1/customers?limit=3'`,
    `curl -s -H "Authorization: Bearer $TOKEN" '${origin}/v1/customers/external/shop/${externalId}/export?format=html' > customer.html`,
    `${origin}/graphiql`,
  ].join('\n');
}

async function idOf(client: ServiceClient, externalId: string): Promise<string> {
  return customerRecord.output.parse(await client.request('GET', `/v1/customers/external/shop/${externalId}`)).id;
}

/** Better now than after a database was made. */
async function assertFree(port: number): Promise<void> {
  if (port === 0) return;
  const probe = createServer();
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject).listen({ host, port }, () => probe.close(() => resolve()));
  }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') throw error;
    const why = error.code === 'EACCES' ? 'may not be used by this account' : 'is in use, by another demo perhaps';
    throw new DemoError(
      `Port ${port} ${why}. Take another one:  npm run demo -- --port ${port < 1024 ? 3000 : port + 1}`,
    );
  });
}

/** What stands in the database; a comment on it goes when it goes. */
function label(): string {
  const { seed, customers } = options;
  return `demo store version ${storeVersion}, seed ${seed}, ${customers} customers`;
}

/** Leaves the database with the wanted store in it (true) or with nothing. */
async function prepareDatabase({ connection }: EmbeddedPostgres): Promise<boolean> {
  return withClient({ ...connection, database: 'postgres' }, async (client) => {
    const { rows } = await client.query<{ label: string | null }>(
      "SELECT shobj_description(oid, 'pg_database') AS label FROM pg_database WHERE datname = $1",
      [connection.database],
    );
    if (rows[0]?.label === label() && !options.fresh) return true;
    const name = pg.escapeIdentifier(connection.database);
    await client.query(`DROP DATABASE IF EXISTS ${name}`).catch((error: unknown) => {
      if (!(error instanceof pg.DatabaseError) || error.code !== '55006') throw error;
      throw new DemoError(
        `Another demo is using ${shown(options.dataDir)}, and another store cannot be built under it. Stop it first, or use --data-dir.`,
      );
    });
    await client.query(`CREATE DATABASE ${name}`);
    return false;
  });
}

async function mark({ connection }: EmbeddedPostgres): Promise<void> {
  await withClient(connection, (client) =>
    client.query(`COMMENT ON DATABASE ${pg.escapeIdentifier(connection.database)} IS ${pg.escapeLiteral(label())}`),
  );
}

async function withClient<T>(connection: pg.ClientConfig, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(connection);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function shown(folder: string): string {
  const short = relative(process.cwd(), folder);
  return short === '' || short.startsWith('..') ? folder : `${short}/`;
}

interface Interruption {
  signal: AbortSignal;
  ended: Promise<void>;
  forget(): void;
}

/** The first signal ends what is under way; a second one that a person sent ends the process. */
function onSignal(): Interruption {
  const controller = new AbortController();
  let first = 0;
  const handler = () => {
    if (first === 0) {
      first = Date.now();
      console.log('\nStopping.');
      controller.abort();
    } else if (Date.now() - first > sameSignal) {
      process.exit(1);
    }
  };
  process.on('SIGINT', handler).on('SIGTERM', handler);
  return {
    signal: controller.signal,
    ended: new Promise((resolve) => controller.signal.addEventListener('abort', () => resolve())),
    forget: () => void process.off('SIGINT', handler).off('SIGTERM', handler),
  };
}

try {
  await run();
} catch (error) {
  const expected =
    error instanceof DemoError || error instanceof ServiceError || (error as Error).name === 'EmbeddedPostgresError';
  console.error(expected ? (error as Error).message : error);
  process.exitCode = 1;
}
