import type { FastifyInstance } from 'fastify';
import type { Test } from 'tap';
import { type Contract, createApp } from '../../src/app.ts';
import { type Config, readConfig } from '../../src/config.ts';
import { issueToken } from '../../src/platform/auth/issue-token.ts';
import { openKeys } from '../../src/platform/auth/keys.ts';
import { createLogger } from '../../src/platform/http/logging.ts';
import { untoldOf } from './catalogue.ts';
import { testDatabase } from './database.ts';

export interface Answer<T = any> {
  status: number;
  headers: Headers;
  body: T;
}

/** The id of a partner or of a customer that a token is scoped to. */
export interface ScopedToken {
  partner?: string | undefined;
  customer?: string | undefined;
}

export interface TestApp {
  app: FastifyInstance;
  config: Config;
  /** `http://127.0.0.1:PORT` */
  origin: string;
  connection: import('pg').ClientConfig;
  url: string;
  token(scope: string, client?: string, scopedTo?: ScopedToken): string;
  /** A request over real HTTP; the body is JSON unless it is a string. Default: a token of all scopes. */
  request<T = any>(
    method: string,
    path: string,
    options?: ScopedToken & {
      body?: unknown;
      headers?: Record<string, string>;
      scope?: string | null;
      client?: string | undefined;
    },
  ): Promise<Answer<T>>;
  graphql<T = any>(
    query: string,
    variables?: Record<string, unknown>,
    options?: ScopedToken & { headers?: Record<string, string>; scope?: string; client?: string },
  ): Promise<Answer<T>>;
}

/** The whole service on a database of its own, listening on a free port, closed with the test. */
export async function testApp(
  t: Pick<Test, 'teardown'> & { testdir: Test['testdir'] },
  options: {
    env?: Record<string, string>;
    clock?: () => string;
    /** Another process of the same service: its database, its key. */
    beside?: TestApp;
    accessRefresh?: number;
    contract?: Contract;
    /** Is given the lines of the log, instead of standard output. */
    log?: (line: string) => void;
  } = {},
): Promise<TestApp> {
  const database = options.beside ?? (await testDatabase(t));
  const config = readConfig({
    RAPPORT_DATA_DIR: options.beside?.config.dataDir ?? t.testdir({}),
    LOG_LEVEL: 'fatal',
    PORT: '0',
    RATE_LIMIT: '100000',
    PUBLIC_RATE_LIMIT: '100000',
    DATABASE_POOL_SIZE: '20',
    ...options.env,
  });
  const keys = await openKeys(config);
  const app = await createApp({
    config,
    keys,
    connection: database.connection,
    logger: options.log ? createLogger(config, { write: options.log }) : createLogger(config),
    ...(options.clock && { clock: options.clock }),
    accessRefresh: options.accessRefresh,
    ...(options.contract && { contract: options.contract }),
  });
  const origin = await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => app.close());
  const signing = keys.signing;
  if (!signing) throw new Error('tests issue their own tokens');
  const tokens = new Map<string, string>();

  const token = (scope: string, client = 'test', { partner, customer }: ScopedToken = {}) => {
    const key = JSON.stringify([client, scope, partner, customer]);
    const known = tokens.get(key);
    if (known) return known;
    const made = issueToken(config, signing, { scope, client, ttl: 3600, partner, customer });
    tokens.set(key, made);
    return made;
  };

  const request: TestApp['request'] = async (method, path, options = {}) => {
    const { body, headers, scope = '*', client, partner, customer } = options;
    const response = await fetch(origin + path, {
      method,
      redirect: 'manual',
      headers: {
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
        ...(scope !== null && { Authorization: `Bearer ${token(scope, client, { partner, customer })}` }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const type = response.headers.get('content-type') ?? '';
    const isJson = type.includes('json') && !type.includes('ndjson') && text !== '';
    const answer = { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
    if (response.ok && isJson && path.startsWith('/v1/metrics/') && 'definition' in answer.body) {
      // Whatever a test asks.
      const untold = untoldOf(answer.body);
      if (untold.length > 0) throw new Error(`${path}: the catalogue does not tell of ${untold.join(', ')}`);
    }
    return answer;
  };

  return {
    app,
    config,
    origin,
    connection: database.connection,
    url: database.url,
    token,
    request,
    graphql: (query, variables, { headers, scope = '*', client, partner, customer } = {}) =>
      request('POST', '/graphql', {
        body: { query, variables },
        scope,
        ...(headers && { headers }),
        client,
        partner,
        customer,
      }),
  };
}

/**
 * Runs the background jobs that are due, and those that they add, to the end; a test's service has no worker of its own.
 * Due is by the database's clock, whatever `clock` the service has.
 *
 * @returns how many runs there were
 * @throws the first error of a job
 */
export async function runJobs({ app }: Pick<TestApp, 'app'>): Promise<number> {
  const { done, failed } = await app.jobs.runDue();
  if (failed[0]) throw new Error(`The job ${failed[0].job} failed`, { cause: failed[0].error });
  return done;
}
