import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import cors from '@fastify/cors';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import type pg from 'pg';
import type { MetricObject } from 'prom-client';
import { type Config, packageRoot } from './config.ts';
import { openAuditRecord } from './features/audit/keep.ts';
import { clientAccess, clientJobs } from './features/clients/access.ts';
import { tokenEndpoint } from './features/clients/tokens.ts';
import { redirectsOf } from './features/customers/aliases.ts';
import { fillTerms } from './features/customers/fill-terms.ts';
import { importJobs } from './features/imports/run.ts';
import { leadModelJobs } from './features/lead-models/train.ts';
import { leadScoreJobs } from './features/lead-scores/index-job.ts';
import { leadJobs } from './features/leads/qualification.ts';
import { loyaltyBonusJobs } from './features/loyalty/bonus-jobs.ts';
import { recomputePublication } from './features/loyalty/publication.ts';
import { settleLoyalty } from './features/loyalty/settle.ts';
import { partnerSettings } from './features/partners/queries.ts';
import { restateRates } from './features/rates/restate.ts';
import { retentionJobs } from './features/retention/apply.ts';
import { fillPurchases } from './features/rollups/fill.ts';
import { keepSegmentMembers } from './features/segments/members.ts';
import { surveyInvitationJobs } from './features/survey-invitations/planning.ts';
import { type Deliverer, forgetWebhookDeliveries, openDeliverer } from './features/webhooks/deliver.ts';
import './derived-state.ts';
import './effects.ts';
import * as features from './features.ts';
import { firstQuery, guide } from './guide.ts';
import { accessDirectory } from './platform/auth/directory.ts';
import type { Keys } from './platform/auth/keys.ts';
import { keysOfStore } from './platform/auth/root-key.ts';
import { keySeal } from './platform/auth/sealed-key.ts';
import { storedSecrets } from './platform/auth/stored-secrets.ts';
import { tokenIssuer } from './platform/auth/token-issuer.ts';
import { systemClock } from './platform/clock.ts';
import { cursorCodec } from './platform/cursor.ts';
import { openChannel } from './platform/db/channel.ts';
import { openPool, type PoolOptions, poolDb, transaction } from './platform/db/client.ts';
import { migrationsFolder } from './platform/db/open.ts';
import { zoneDifference, zoneWarning } from './platform/db/zone-difference.ts';
import { openFeed } from './platform/feed.ts';
import { operationsOf, type Resolvers } from './platform/graphql/field.ts';
import { serveGraphiql } from './platform/graphql/graphiql.ts';
import { serveGraphql } from './platform/graphql/server.ts';
import { housekeepingJobs } from './platform/housekeeping.ts';
import { addAuthentication, requireToken } from './platform/http/auth.ts';
import { serveDocs } from './platform/http/docs.ts';
import { addHealth, healthTimeLimit } from './platform/http/health.ts';
import { logRequests } from './platform/http/logging.ts';
import { type AskProcesses, countAnswers, serveMetrics } from './platform/http/metrics.ts';
import { serveOauth } from './platform/http/oauth.ts';
import { refuseWhenOverloaded } from './platform/http/overload.ts';
import { parseQuery, takeJson } from './platform/http/parsing.ts';
import { answerProblems, connectionRefuser, refuseEarly, refuseWhenClosing } from './platform/http/problems.ts';
import { isPublic, servePublic } from './platform/http/public.ts';
import { limitAddressRate, limitRate } from './platform/http/rate-limit.ts';
import { type Route, serve } from './platform/http/rest.ts';
import { traceRequests } from './platform/http/tracing.ts';
import { limitBodyTime } from './platform/http/uploads.ts';
import { newId } from './platform/ids.ts';
import { type DueJobs, type JobSetting, type JobWorker, runDueJobs, startJobWorker } from './platform/job-worker.ts';
import { type AnyJob, enqueueRecurring } from './platform/jobs.ts';
import { keyedHash } from './platform/keyed-hash.ts';
import { linkTokens } from './platform/link-token.ts';
import { compileOutputs, type Operation, type Services } from './platform/operation.ts';
import { openOutgoing } from './platform/outgoing.ts';
import type { ScopedTo } from './platform/principal.ts';
import { serveOperations } from './platform/served-operations.ts';
import { serviceMetrics } from './platform/service-metrics.ts';

/** Every operation that has an address or a GraphQL field. */
function allOperations({ routes, resolvers }: Contract): Set<Operation> {
  const ofFields = resolvers.flatMap((types) =>
    Object.values(types).flatMap((fields) => Object.values(fields).flatMap((resolver) => operationsOf(resolver))),
  );
  return new Set([...routes.map(({ operation }) => operation), ...ofFields]);
}

/** Every feature's background jobs. */
export const jobs: readonly AnyJob[] = [
  ...housekeepingJobs,
  ...leadJobs,
  ...leadScoreJobs,
  ...leadModelJobs,
  ...surveyInvitationJobs,
  ...loyaltyBonusJobs,
  recomputePublication,
  settleLoyalty,
  restateRates,
  fillPurchases,
  fillTerms,
  keepSegmentMembers,
  ...retentionJobs,
  ...clientJobs,
  forgetWebhookDeliveries,
  ...importJobs,
];

declare module 'fastify' {
  interface FastifyInstance {
    jobs: {
      /** Runs jobs and sends webhooks in this process until it closes. Without it they are only added, for other processes to run. */
      startWorker(): void;
      /** Adds recurring jobs as if their time had come: for a clock that jumps. */
      addRecurring(names: readonly string[]): Promise<void>;
      /** Runs what is due once, with no worker started; see `runDueJobs`. */
      runDue(): Promise<DueJobs>;
      /** Sends what is due to webhooks, with no worker started. */
      deliverDue(): Promise<void>;
    };
  }
}

/** The printed SDL, which travels with the bundle: printing it at every start would take 0.1 s. */
export function readSdl(): string {
  return readFileSync(join(packageRoot, 'schema/schema.graphql'), 'utf8');
}

/** The addresses and GraphQL fields of a service, and the SDL printed from them. */
export interface Contract {
  routes: readonly Route[];
  resolvers: readonly Resolvers[];
  sdl: string;
}

export interface AppOptions {
  config: Config;
  keys: Keys;
  connection: pg.ClientConfig;
  logger: FastifyBaseLogger;
  /** The present as an RFC 3339 instant in UTC; a demo or a test may hold it still. */
  clock?: () => string;
  /** What is served; the addresses and fields of all features, if not given. */
  contract?: Contract;
  /** Milliseconds between readings of the access directory; a test may not want to wait. */
  accessRefresh?: number | undefined;
  /** Asks the other processes of the service, if there are any; it is told how to ask this one. */
  askProcesses?: ((ofThis: () => Promise<MetricObject[]>) => AskProcesses) | undefined;
}

/**
 * Builds the service without listening: tests and the process (server.ts) start from here.
 *
 * @throws KeyError when the database belongs to another root key
 */
export async function createApp(options: AppOptions): Promise<FastifyInstance> {
  const { config, connection, logger, clock, accessRefresh, askProcesses } = options;
  const { contract = { routes: features.routes, resolvers: features.resolvers, sdl: readSdl() } } = options;
  const { routes, resolvers, sdl } = contract;
  compileOutputs(allOperations(contract));
  serveOperations(routes.map(({ operation }) => operation));
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: newId,
    // Whoever logs says which request it is about; a logger per request would cost each of them.
    childLoggerFactory: (log) => log,
    bodyLimit: 1024 * 1024,
    // A slow machine takes as long as it takes; whoever starts the service says when that is too long.
    pluginTimeout: 0,
    // Slow senders do not hold a connection for ever: see `limitBodyTime`. Headers have to be there within a minute.
    requestTimeout: 0,
    http: { headersTimeout: 60_000 },
    // Whose X-Forwarded-For says the address of the sender.
    trustProxy: config.trustedProxies.length > 0 && [...config.trustedProxies],
    // Pairs, see rest.ts; an external id of 255 characters may take nine times that in percent-encoded UTF-8.
    routerOptions: { querystringParser: (text) => parseQuery(text) as never, maxParamLength: 9 * 255 },
    // Refused below, as everything else is.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    clientErrorHandler: connectionRefuser(logger),
    frameworkErrors: (error, request, reply) => refuseEarly(error, request, reply),
  });
  const poolOptions: PoolOptions = {
    size: config.databasePoolSize,
    statementTimeout: config.databaseStatementTimeout * 1000,
    lockPatience: config.databaseLockTimeout * 1000,
    onIdleError: (error) => logger.warn({ err: error }, 'an idle database connection was lost'),
  };
  const pool = openPool(connection, poolOptions);
  app.addHook('onClose', () => pool.end());
  // Of the account, which may look at everything; two, so that a slow look at the queue does not hide that the database is there.
  const watching = openPool(connection, { size: 2, statementTimeout: healthTimeLimit, as: 'login' });
  app.addHook('onClose', () => watching.end());
  const keys = await keysOfStore(poolDb(pool), options.keys).catch(async (error: unknown) => {
    await app.close();
    throw error;
  });
  const scopedPools = { partner: scopedPool('partner'), customer: scopedPool('customer') };
  function scopedPool(as: ScopedTo['kind']): pg.Pool {
    const made = openPool(connection, { ...poolOptions, as });
    app.addHook('onClose', () => made.end());
    return made;
  }
  const clockOrSystem = clock ?? systemClock();
  const seal = keys.sealSecret && keySeal(keys.sealSecret);
  const clientRecords = clientAccess(poolDb(pool), seal, clockOrSystem);
  const channel = openChannel(connection, logger);
  app.addHook('onClose', () => channel.close());
  const directory = accessDirectory(
    async () => {
      const [records, partners] = await Promise.all([clientRecords(), partnerSettings(poolDb(pool))]);
      return { ...records, partners };
    },
    { period: accessRefresh, channel },
  );
  app.addHook('onClose', () => directory.close());
  const issuer =
    keys.signing && seal && tokenIssuer({ config, configured: keys.signing, seal, directory, clock: clockOrSystem });
  const audit = openAuditRecord(poolDb(pool), logger);
  // After the last answer, and before the pool is closed.
  app.addHook('onClose', () => audit.close());
  const zonesDiffer = (await zoneDifference(poolDb(pool), config.reportingTimeZone, clockOrSystem())) ?? undefined;
  if (zonesDiffer) logger.warn(zonesDiffer, zoneWarning(config.reportingTimeZone, zonesDiffer));
  const feed = openFeed(poolDb(pool), config.eventsKeptDays);
  // Before requests that are under way are waited for. Their connections stay open after the answer, and would be waited for as well.
  app.addHook('preClose', (done) => {
    feed.stop();
    const idle = setInterval(() => app.server.closeIdleConnections(), 50).unref();
    app.server.once('close', () => clearInterval(idle));
    done();
  });
  const outgoing = openOutgoing({ allow: config.webhookAllow, production: config.production });
  app.addHook('onClose', () => outgoing.close());
  const services: Services = {
    db: poolDb(pool),
    pool,
    scopedPools,
    baseCurrency: config.baseCurrency,
    reportingTimeZone: config.reportingTimeZone,
    zonesDiffer,
    cursors: cursorCodec(keys.cursorSecret),
    links: linkTokens(keys.linkSecret),
    tombstones: keyedHash(keys.tombstoneSecret),
    directory,
    issuer,
    audit,
    feed,
    secrets: storedSecrets(keys.storedSecretsKey),
    outgoing,
    redirects: redirectsOf,
    clock: clockOrSystem,
  };

  const metrics = serviceMetrics({ service: pool, ...scopedPools }, watching);
  app.addHook('onClose', () => metrics.close());
  logRequests(app);
  countAnswers(app, metrics);
  limitBodyTime(app);
  addJobs(app, { connection, jobs, services, log: logger }, openDeliverer(services, connection, logger));
  answerProblems(app);
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('X-Content-Type-Options', 'nosniff');
    reply.header('X-Request-Id', request.id);
    done();
  });
  refuseWhenClosing(app);
  if (config.otlpEndpoint !== null) await traceRequests(app, config.otlpEndpoint);
  await refuseWhenOverloaded(app, config.maxEventLoopDelay);
  if (config.corsOrigins.length > 0) {
    await app.register(cors, {
      origin: config.corsOrigins.includes('*') ? '*' : [...config.corsOrigins],
      methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
      allowedHeaders: ['Authorization', 'Content-Type', 'Idempotency-Key', 'If-Match', 'If-None-Match'],
      exposedHeaders: [
        'ETag',
        'Link',
        'Location',
        'Retry-After',
        'RateLimit',
        'RateLimit-Policy',
        'Idempotency-Replayed',
        'X-Request-Id',
      ],
      maxAge: 600,
    });
  }
  await addAuthentication(app, config, keys, directory);
  addHealth(app, watching, { migrationsFolder, warnings: zonesDiffer ? ['time_zones_differ'] : [] });
  await serveDocs(app, routes, guide);
  await serveGraphiql(app, firstQuery);
  serveOauth(app, { config, issuer, endpoint: issuer && tokenEndpoint(services, issuer), channel });

  await app.register(async (open) => {
    limitAddressRate(open, config.publicRateLimit, channel);
    takeJson(open);
    servePublic(open, services, routes);
  });
  await app.register(async (rest) => {
    rest.addHook('onRequest', requireToken);
    limitRate(rest, config.rateLimit, channel);
    takeJson(rest);
    serve(
      rest,
      services,
      routes.filter((route) => !isPublic(route)),
    );
    await serveGraphql(rest, services, { sdl, resolvers, production: config.production });
    serveMetrics(rest, metrics, askProcesses?.(metrics.ofProcess) ?? (async () => [await metrics.ofProcess()]));
  });
  return app;
}

function addJobs(app: FastifyInstance, setting: JobSetting, deliverer: Deliverer): void {
  let worker: JobWorker | undefined;
  app.decorate('jobs', {
    startWorker() {
      worker ??= startJobWorker(setting);
      deliverer.start();
    },
    addRecurring: (names: readonly string[]) =>
      transaction(setting.services.pool, async (tx) => {
        enqueueRecurring(tx, setting.jobs, names);
      }),
    runDue: () => runDueJobs(setting),
    deliverDue: () => deliverer.deliverDue(),
  });
  // Jobs and requests that are under way finish side by side, and before the pool is closed.
  app.addHook('preClose', (done) => {
    worker?.stop();
    deliverer.stop().catch(() => undefined);
    done();
  });
  app.addHook('onClose', async () => {
    await Promise.all([worker?.stop(), deliverer.stop()]);
  });
}
