import { setImmediate as setImmediatePromise, setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import pg from 'pg';
import t, { type Test } from 'tap';
import { openPool, param, Retry, statement, transaction } from '../../src/platform/db/client.ts';
import { type Lane, Turns } from '../../src/platform/db/turns.ts';
import { testApp } from '../support/app.ts';
import { databaseProxy } from '../support/database-proxy.ts';
import { fresh, orderOf } from '../support/shop.ts';

const app = await testApp(t, { env: { DATABASE_POOL_SIZE: '10', DATABASE_LOCK_TIMEOUT: '2' } });

const one = statement('one', sql`select 1 as one`);
const nap = statement('nap', sql`select pg_sleep(0.1)::text as nap`);
const lockCustomer = statement('lock_one', sql`select id from customers where id = ${param('id')}::uuid for update`);

const customers: string[] = [];
for (let n = 0; n < 14; n += 1) {
  const reference = { source: 'shop', externalId: `c${n}` };
  customers.push((await app.request('POST', '/v1/customers', { body: { references: [reference] } })).body.id);
}

/** A lock on the row of a customer, as somebody has it who does not come to an end. */
async function lockOn(t: Test, id: string | undefined): Promise<{ release(): Promise<void> }> {
  const client = new pg.Client(app.connection);
  await client.connect();
  t.teardown(() => client.end());
  await client.query('begin');
  await client.query('select from customers where id = $1 for update', [id]);
  return { release: () => client.query('commit').then(() => undefined) };
}

function pushOrder(customer: number, { externalId = fresh('order'), key = fresh('key') } = {}) {
  return app.request('POST', '/v1/orders', {
    headers: { 'Idempotency-Key': key },
    body: orderOf({ externalId, customer: { externalId: `c${customer}` } }),
  });
}

async function waitersFor(count: number): Promise<void> {
  const client = new pg.Client(app.connection);
  await client.connect();
  for (let tries = 0; tries < 200; tries += 1) {
    const { rows } = await client.query(
      "select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    if (rows[0].n >= count) break;
    await sleep(10);
  }
  await client.end();
}

t.test('one locked customer keeps nobody else from reading or writing', async (t) => {
  const lock = await lockOn(t, customers[0]);
  const held = Array.from({ length: 24 }, () => pushOrder(0));
  await waitersFor(2);
  const reads = await Promise.all(customers.slice(1).map((id) => app.request('GET', `/v1/customers/${id}/summary`)));
  t.strictSame([...new Set(reads.map(({ status }) => status))], [200], 'others are read');
  const pages = await Promise.all(customers.map(() => app.request('GET', '/v1/orders?limit=5')));
  t.strictSame([...new Set(pages.map(({ status }) => status))], [200]);
  const writes = await Promise.all(customers.slice(1).map((_, n) => pushOrder(n + 1)));
  t.strictSame([...new Set(writes.map(({ status }) => status))], [201], 'orders of others are taken');
  t.equal(
    await Promise.race([Promise.all(held).then(() => 'ended'), 'waiting']),
    'waiting',
    'all the while it was locked',
  );
  await lock.release();
  const statuses = (await Promise.all(held)).map(({ status }) => status);
  t.ok(
    statuses.every((status) => status === 201 || status === 503),
    `${statuses}`,
  );
  t.ok(statuses.includes(201), 'those that still waited when the lock was free');
  const { body } = await app.request('GET', `/v1/customers/${customers[0]}/orders?count=true`);
  t.equal(body.page.total, statuses.filter((status) => status === 201).length, 'what was refused is not there');
});

t.test('who waits too long for a lock is told so, and nothing was written', async (t) => {
  const lock = await lockOn(t, customers[1]);
  const before = (await app.request('GET', `/v1/customers/${customers[1]}/orders?count=true`)).body.page.total;
  const same = { externalId: fresh('order'), key: fresh('key') };
  const refused = await pushOrder(1, same);
  t.match(refused, { status: 503, body: { code: 'busy', status: 503 } });
  t.match(refused.headers.get('retry-after'), /^[1-9]\d*$/);
  t.match(refused.headers.get('content-type'), /^application\/problem\+json/);
  const graphql = await app.graphql(
    'mutation ($id: ID!) { updateCustomer(id: $id, input: { name: "X" }, expectedVersion: 1) { customer { id } } }',
    {
      id: customers[1],
    },
  );
  t.match(graphql.body.errors, [{ extensions: { code: 'busy' } }], JSON.stringify(graphql.body));
  t.match(graphql.headers.get('retry-after'), /^[1-9]\d*$/);
  await lock.release();
  const again = await pushOrder(1, same);
  t.equal(again.status, 201, 'the same request again is taken');
  t.equal(again.headers.get('idempotency-replayed'), null);
  const after = (await app.request('GET', `/v1/customers/${customers[1]}/orders?count=true`)).body.page.total;
  t.equal(after, before + 1);
});

t.test('a server that says nothing any more holds up no request, not even by ROLLBACK', async (t) => {
  const { connection, stall } = await databaseProxy(t, app.connection);
  const pool = openPool(connection, { size: 1, statementTimeout: 60_000 });
  t.teardown(() => pool.end());
  const refused = transaction(pool, async (tx) => {
    await tx.first(one);
    stall();
    throw new Retry('again');
  });
  // It would be run again when it is undone; undoing it is given up, and the next connection is refused.
  await t.rejects(refused, { code: 'unavailable' });
  t.equal(pool.totalCount, 0, 'the connection is given up');
});

t.test('a transaction in which nothing happens is ended, and its locks with it', async (t) => {
  const pool = openPool(app.connection, { size: 1, statementTimeout: 5_000, idleInTransaction: 200 });
  t.teardown(() => pool.end());
  const hanging = transaction(pool, async (tx) => {
    await tx.first(lockCustomer, { id: customers[2] });
    await sleep(1000);
    await tx.first(one);
  });
  const pushed = pushOrder(2);
  await t.rejects(hanging, { code: 'unavailable' });
  t.equal((await pushed).status, 201);
});

t.test('a transaction has a limit as a whole, on servers that know one', async (t) => {
  const pool = openPool(app.connection, { size: 1, statementTimeout: 200 });
  t.teardown(() => pool.end());
  const { rows } = await pool.query<{ limit: string; version: number }>(
    "select current_setting('transaction_timeout', true) as limit, current_setting('server_version_num')::int as version",
  );
  t.equal(rows[0]?.limit ?? '2s', (rows[0]?.version ?? 0) >= 170_000 ? '2s' : rows[0]?.limit);
  const long = transaction(pool, async (tx) => {
    for (let n = 0; n < 40; n += 1) await tx.first(nap);
  });
  if ((rows[0]?.version ?? 0) >= 170_000) await t.rejects(long, { code: 'unavailable' });
  else await long;
});

t.test('commands keep the connection while they wait for a lock', async (t) => {
  const lock = await lockOn(t, customers[3]);
  const pool = openPool(app.connection, { size: 1, statementTimeout: 20_000 });
  t.teardown(() => pool.end());
  let runs = 0;
  const waiting = transaction(pool, async (tx) => {
    runs += 1;
    await tx.first(lockCustomer, { id: customers[3] });
  });
  await waitersFor(1);
  await sleep(500);
  await lock.release();
  await waiting;
  t.equal(runs, 1);
});

t.test('turns: each kind of work leaves some to the others, and who would wait too long is told', async (t) => {
  const turns = new Turns(10, 2_000, 1_000);
  const given: string[] = [];
  const take = (lane: Lane, name: string) => turns.take(lane, (refusal) => given.push(refusal ? `no ${name}` : name));
  for (let n = 0; n < 12; n += 1) take('contended', `c${n}`);
  t.strictSame(given, ['c0', 'c1'], 'a fifth for those that wait for locks');
  for (let n = 0; n < 12; n += 1) take('transaction', `t${n}`);
  t.strictSame(given.slice(2), ['t0', 't1', 't2', 't3', 't4', 't5'], 'three quarters for all transactions');
  for (let n = 0; n < 12; n += 1) take('statement', `s${n}`);
  t.strictSame(given.slice(8), ['s0', 's1']);
  turns.give('contended');
  t.strictSame(given.slice(10), ['c2'], 'who has waited longest comes first');
  turns.give('statement');
  t.strictSame(given.slice(11), ['s2'], 'transactions have theirs');
  turns.give('transaction');
  t.strictSame(given.slice(12), ['t6']);
  t.match(turns.state, { waiting: 9 + 5 + 9 });
  await sleep(600);
  take('statement', 'late');
  t.strictSame(given.slice(13), ['no late'], 'where somebody waits long already, nobody else begins to');
  take('contended', 'again');
  t.equal(given.length, 14, 'who has met a lock was here before');
  await sleep(600);
  t.ok(given.slice(14).every((name) => /^no [st]\d/.test(name)));
  t.match(turns.state, { waiting: 10 }, 'all others are told; what holds a lock may take longer');
  await sleep(1_600);
  t.equal(given.length, 14 + 14 + 10);
  t.equal(turns.state.waiting, 0);
});

t.test('while the event loop is late, requests are refused at once and /livez answers', async (t) => {
  const busy = await testApp(t, { beside: app, env: { RAPPORT_MAX_EVENT_LOOP_DELAY: '200' } });
  // Until it is seen twice: it is looked at twice a second.
  let refused = await busy.request('GET', '/v1/customers');
  for (let tries = 0; tries < 50 && refused.status === 200; tries += 1) {
    for (let n = 0; n < 3; n += 1) {
      const until = performance.now() + 300;
      while (performance.now() < until);
      await setImmediatePromise();
    }
    refused = await busy.request('GET', '/v1/customers');
  }
  t.match(refused, { status: 503, body: { code: 'busy' } });
  t.equal(refused.headers.get('retry-after'), '1');
  t.match(refused.headers.get('x-request-id'), /^[0-9a-f-]{36}$/);
  t.equal((await busy.request('GET', '/livez', { scope: null })).status, 200);
  t.equal((await busy.request('GET', '/metrics')).status, 200);
  let after = await busy.request('GET', '/v1/customers');
  for (let tries = 0; tries < 100 && after.status === 503; tries += 1) {
    await sleep(100);
    after = await busy.request('GET', '/v1/customers');
  }
  t.equal(after.status, 200, 'and answered when it has recovered');
});
