import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import t from 'tap';
import { openPool, poolDb, Retry, transaction } from '../../src/platform/db/client.ts';
import { serviceMetrics } from '../../src/platform/service-metrics.ts';
import { keepVerification } from '../../src/platform/verification.ts';
import { testApp } from '../support/app.ts';
import { testDatabase } from '../support/database.ts';
import { rawClient } from '../support/raw-http.ts';

const lines: string[] = [];
const app = await testApp(t, { env: { LOG_LEVEL: 'info' }, log: (line) => lines.push(line) });
const raw = rawClient(t, app.origin);

const logged = () => lines.map((line) => JSON.parse(line) as { requestId?: string; msg: string; status?: number });

async function scrape(): Promise<string> {
  const { status, body, headers } = await app.request('GET', '/metrics', { scope: 'service:watch' });
  t.equal(status, 200, JSON.stringify(body));
  t.match(headers.get('content-type'), /^text\/plain/);
  return body;
}

/** The value of a series; undefined where there is none. */
function value(text: string, name: string, labels: Record<string, string> = {}): number | undefined {
  const wanted = Object.entries(labels).map(([label, is]) => `${label}="${is}"`);
  const line = text
    .split('\n')
    .find((one) => /^\w+/.exec(one)?.[0] === name && wanted.every((label) => one.includes(label)));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

async function sideConnection(): Promise<pg.Client> {
  const client = new pg.Client(app.connection);
  await client.connect();
  return client;
}

t.test('the metrics of the service have a scope of their own', async (t) => {
  t.equal((await app.request('GET', '/metrics', { scope: null })).status, 401);
  const refused = await app.request('GET', '/metrics', { scope: 'metrics:read' });
  t.match(refused, { status: 403, body: { code: 'insufficient_scope', scope: 'service:watch' } });
  const { id } = (await app.request('POST', '/v1/partners', { body: { name: 'P' } })).body;
  const partner = await app.request('GET', '/metrics', { partner: id });
  t.match(partner, { status: 403, body: { code: 'not_supported' } });
});

t.test('rate and latency by operation over both doors, and by status', async (t) => {
  const created = await app.request('POST', '/v1/customers', {
    body: { name: 'Ada', identities: [{ kind: 'email', value: 'ada@example.org' }] },
  });
  t.equal(created.status, 201);
  const { id } = created.body;
  for (let n = 0; n < 3; n += 1) await app.request('GET', `/v1/customers/${id}`);
  await app.request('GET', '/v1/customers/0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90');
  await app.request('GET', `/v1/nothing/${id}`);
  await app.graphql('query ($id: ID!) { customer(id: $id) { name } }', { id });
  const text = await scrape();
  const rest = { operation: 'getCustomer', door: 'rest' };
  t.equal(value(text, 'rapport_operations_total', { ...rest, outcome: 'ok' }), 3);
  t.equal(value(text, 'rapport_operations_total', { ...rest, outcome: 'not_found' }), 1);
  t.equal(value(text, 'rapport_operation_duration_seconds_count', rest), 4);
  t.ok((value(text, 'rapport_operation_duration_seconds_sum', rest) ?? 0) > 0);
  t.equal(value(text, 'rapport_operations_total', { operation: 'getCustomer', door: 'graphql', outcome: 'ok' }), 1);
  t.equal(value(text, 'rapport_operations_total', { operation: 'createCustomer', door: 'rest', outcome: 'ok' }), 1);
  const requests = 'rapport_http_requests_total';
  t.equal(value(text, requests, { method: 'GET', route: '/v1/customers/:id', status: '200' }), 3);
  t.equal(value(text, requests, { method: 'GET', route: '/v1/customers/:id', status: '404' }), 1);
  t.equal(value(text, requests, { method: 'GET', route: 'none', status: '404' }), 1);
  t.equal(value(text, requests, { method: 'POST', route: '/graphql', status: '200' }), 1);
  t.notMatch(text, /[0-9a-f]{8}-[0-9a-f]{4}/, 'no ids');
  t.notMatch(text, /example\.org|Ada|127\.0\.0\.1/, 'nothing that was sent');
});

t.test('the process and its pools', async (t) => {
  const text = await scrape();
  t.ok((value(text, 'process_resident_memory_bytes') ?? 0) > 10_000_000);
  t.type(value(text, 'nodejs_eventloop_lag_p99_seconds'), 'number');
  t.equal(value(text, 'rapport_processes'), 1);
  t.equal(value(text, 'rapport_pool_connections', { pool: 'service', state: 'size' }), 20);
  t.ok((value(text, 'rapport_pool_connections', { pool: 'service', state: 'open' }) ?? 0) > 0);
  for (const pool of ['service', 'partner', 'customer']) {
    t.equal(value(text, 'rapport_pool_connections', { pool, state: 'waiting' }), 0);
  }
});

t.test('transactions that are run again are counted by their reason', async (t) => {
  const pool = openPool(app.connection, { size: 1, statementTimeout: 5_000 });
  const metrics = serviceMetrics({ own: pool }, pool);
  t.teardown(() => metrics.close());
  t.teardown(() => pool.end());
  let runs = 0;
  await transaction(pool, async () => {
    runs += 1;
    if (runs < 3) throw new Retry('again');
  });
  const text = await metrics.text([await metrics.ofProcess()]);
  t.equal(value(text, 'rapport_transaction_retries_total', { pool: 'own', reason: 'changed' }), 2);
});

t.test('locks, open writes and the feed', async (t) => {
  const { id } = (await app.request('POST', '/v1/customers', { body: { name: 'Locked' } })).body;
  const before = await scrape();
  t.equal(value(before, 'rapport_lock_waits'), 0);
  t.equal(value(before, 'rapport_feed_unsettled_positions'), 0);
  t.ok((value(before, 'rapport_feed_position') ?? 0) > 0);
  const [holder, waiter] = [await sideConnection(), await sideConnection()];
  await holder.query('begin');
  await holder.query('update customers set updated_at = updated_at where id = $1', [id]);
  const waiting = waiter.query('update customers set updated_at = updated_at where id = $1', [id]);
  let during = '';
  for (let tries = 0; tries < 50 && value(during, 'rapport_lock_waits') !== 1; tries += 1) during = await scrape();
  t.equal(value(during, 'rapport_lock_waits'), 1);
  t.ok((value(during, 'rapport_longest_lock_wait_seconds') ?? 0) > 0);
  t.ok((value(during, 'rapport_feed_oldest_open_write_seconds') ?? 0) > 0);
  await holder.query('commit');
  await waiting;
  await Promise.all([holder.end(), waiter.end()]);
});

t.test('the queue of jobs', async (t) => {
  await app.app.jobs.addRecurring(['forgetOldAnswers']);
  const client = await sideConnection();
  await client.query("update graphile_worker._private_jobs set run_at = now() - interval '1 hour'");
  const due = await scrape();
  t.equal(value(due, 'rapport_jobs', { job: 'forgetOldAnswers', state: 'due' }), 1);
  t.ok((value(due, 'rapport_oldest_due_job_seconds', { job: 'forgetOldAnswers' }) ?? 0) >= 3600);
  await client.query('update graphile_worker._private_jobs set attempts = max_attempts');
  t.equal(value(await scrape(), 'rapport_jobs', { job: 'forgetOldAnswers', state: 'given_up' }), 1);
  await client.query('delete from graphile_worker._private_jobs');
  await client.end();
});

t.test('what verify-rollups found last', async (t) => {
  t.equal(value(await scrape(), 'rapport_verification_timestamp_seconds'), undefined);
  const pool = openPool(app.connection, { size: 1, statementTimeout: 5_000 });
  const at = '2026-03-01T00:00:00.000Z';
  await keepVerification(poolDb(pool), {
    at,
    differences: { 'the stages of leads': 0, 'the statistics of customers': 3 },
  });
  await pool.end();
  const text = await scrape();
  t.equal(value(text, 'rapport_verification_timestamp_seconds'), Date.parse(at) / 1000);
  t.equal(value(text, 'rapport_verification_differences', { state: 'the statistics of customers' }), 3);
  t.equal(value(text, 'rapport_verification_differences', { state: 'the stages of leads' }), 0);
});

t.test('while the database is away, the rest of the metrics is there', async (t) => {
  const nowhere = openPool({ host: '127.0.0.1', port: 1 }, { size: 1, statementTimeout: 1_000 });
  const metrics = serviceMetrics({ service: nowhere }, nowhere);
  t.teardown(() => metrics.close());
  t.teardown(() => nowhere.end());
  const text = await metrics.text([await metrics.ofProcess()]);
  t.equal(value(text, 'rapport_database_up'), 0);
  t.ok(value(text, 'process_resident_memory_bytes'));
});

t.test('metrics of several processes are added up', async (t) => {
  const pool = openPool(app.connection, { size: 1, statementTimeout: 1_000 });
  const [one, other] = [serviceMetrics({ service: pool }, pool), serviceMetrics({ service: pool }, pool)];
  t.teardown(() => Promise.all([one.close(), other.close(), pool.end()]));
  const answer = { method: 'GET', route: '/x', status: 200 };
  one.answered(answer);
  other.answered(answer);
  // As they come from another process.
  const told = JSON.parse(JSON.stringify([await one.ofProcess(), await other.ofProcess()]));
  const text = await one.text(told);
  t.equal(value(text, 'rapport_http_requests_total', { route: '/x' }), 2);
  t.equal(value(text, 'rapport_processes'), 2);
});

t.test('/readyz names the migrations that are missing', async (t) => {
  const { body } = await app.request('GET', '/readyz', { scope: null });
  t.strictSame(body, { status: 'ready', checks: { process: 'ok', database: 'ok', migrations: 'ok' } });
  const other = await testDatabase(t);
  const client = new pg.Client(other.connection);
  await client.connect();
  const last = 'select max(created_at) from drizzle.__drizzle_migrations';
  await client.query(`delete from drizzle.__drizzle_migrations where created_at = (${last})`);
  await client.end();
  const behind = await testApp(t, { beside: { ...app, ...other } });
  const answer = await behind.request('GET', '/readyz', { scope: null });
  t.match(answer, {
    status: 503,
    body: { status: 'migrations_pending', checks: { database: 'ok', migrations: 'pending' }, missing: [/^\d{4}_/] },
  });
  t.equal(answer.headers.get('retry-after'), '1');
});

t.test('every answer has the request id, and so has the log', async (t) => {
  const token = { Authorization: `Bearer ${app.token('*')}` };
  const json = { ...token, 'Content-Type': 'application/json' };
  for (const [name, request, status] of [
    ['success', { method: 'GET', path: '/v1/customers', headers: token }, 200],
    ['health', { method: 'GET', path: '/livez', headers: {} }, 200],
    ['no token', { method: 'GET', path: '/v1/customers', headers: {} }, 401],
    ['problem', { method: 'POST', path: '/v1/orders', headers: json, body: '{}' }, 422],
    ['no JSON', { method: 'POST', path: '/v1/orders', headers: json, body: '{' }, 400],
    ['nothing there', { method: 'GET', path: '/v1/nothing', headers: token }, 404],
    ['another method', { method: 'PUT', path: '/v1/orders', headers: json, body: '{}' }, 405],
    ['an unreadable address', { method: 'GET', path: '/v1/customers/%ff', headers: token }, 400],
    ['GraphQL', { method: 'POST', path: '/graphql', headers: json, body: '{"query":"{ __typename }"}' }, 200],
    [
      'GraphQL refused',
      { method: 'POST', path: '/graphql', headers: { 'Content-Type': 'application/json' }, body: '{}' },
      401,
    ],
    ['too many headers', { method: 'GET', path: '/livez', headers: { 'x-long': 'a'.repeat(20_000) } }, 431],
  ] as const) {
    const answer = await raw(request);
    t.equal(answer.status, status, `${name}: ${answer.text}`);
    const id = answer.headers['x-request-id'];
    t.match(id, /^[0-9a-f-]{36}$/, name);
    const isProblem = answer.headers['content-type']?.startsWith('application/problem+json');
    if (isProblem) t.match(JSON.parse(answer.text), { instance: id, status }, name);
    t.match(
      logged().filter(({ requestId }) => requestId === id),
      [{ msg: 'answered', status }],
      `${name} is in the log, once`,
    );
  }
});

t.test('a request that does not arrive in time is answered with 408', async (t) => {
  const accepted = once(app.app.server, 'connection');
  const { port, hostname } = new URL(app.origin);
  const client = connect(Number(port), hostname);
  const [socket] = (await accepted) as [Socket];
  client.write('POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{');
  // What Node.js says after a minute.
  app.app.server.emit('clientError', Object.assign(new Error('timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket);
  let text = '';
  for await (const chunk of client) text += chunk;
  t.match(text, /^HTTP\/1\.1 408 Request Timeout\r\n/);
  t.match(text, /"code":"request_timeout"/);
  t.match(text, /\r\nX-Request-Id: [0-9a-f-]{36}\r\n/);
});

t.test('what comes on an open connection while the process stops is refused as any other problem', async (t) => {
  const stopping = await testApp(t, { beside: app });
  const { port, hostname } = new URL(stopping.origin);
  const client = connect(Number(port), hostname);
  const body = JSON.stringify({ name: 'In flight' });
  const head = `Host: x\r\nAuthorization: Bearer ${app.token('*')}\r\nContent-Type: application/json\r\n`;
  client.write(`POST /v1/customers HTTP/1.1\r\n${head}Content-Length: ${body.length}\r\n\r\n${body.slice(0, 5)}`);
  await sleep(200);
  const closed = stopping.app.close();
  await sleep(200);
  client.write(`${body.slice(5)}GET /livez HTTP/1.1\r\nHost: x\r\n\r\n`);
  let text = '';
  for await (const chunk of client) text += chunk;
  await closed;
  const [first = '', second = ''] = text.split(/(?=HTTP\/1\.1 503)/);
  t.match(first, /^HTTP\/1\.1 201 /);
  t.match(second, /"code":"unavailable"/);
  t.match(second, /\r\nx-request-id: [0-9a-f-]{36}\r\n/i);
  t.match(second, /\r\nretry-after: 1\r\n/i);
});
