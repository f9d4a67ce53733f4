import pg from 'pg';
import t from 'tap';
import { fillPurchases } from '../../../src/features/rollups/fill.ts';
import { recomputeCustomers, rollupDifferences } from '../../../src/features/rollups/queries.ts';
import { tablePolicies } from '../../../src/features.ts';
import { openPool, poolDb, transaction } from '../../../src/platform/db/client.ts';
import { migrate } from '../../../src/platform/db/migrate.ts';
import type { Services } from '../../../src/platform/operation.ts';
import { emptyDatabase } from '../../support/database.ts';
import { idOf } from '../../support/facts.ts';
import { migrationsFolder } from '../../support/server.ts';
import { migrationsUpTo } from '../../support/upgrade.ts';

const log = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

t.test('a store of the version before is filled in steps; an interrupted run goes on where it stopped', async (t) => {
  const { connection } = await emptyDatabase(t);
  await migrate(connection, { folder: migrationsUpTo(t, '0017') });
  const client = new pg.Client(connection);
  await client.connect();
  t.teardown(() => client.end());
  const customers = 600;
  const ids = Array.from({ length: customers }, (_, n) => idOf(n));
  await client.query(
    `insert into customers (id, version, kind, created_at, updated_at) select id, 1, 'person', now(), now() from unnest($1::uuid[]) id`,
    [ids],
  );
  await client.query(
    `insert into orders (customer_id, id, version, source, external_id, placed_at, currency, total, discount, shipping, fees, tax, tax_included,
       rounding, payment_status, fulfillment_status, test, exchange_rate, base_factor, refunds, refunded, refunded_net, created_at, updated_at)
     select id, gen_random_uuid(), 1, 'shop', id || '-' || n, timestamptz '2026-01-15' + n * interval '20 days', 'EUR', 1000 * n, 0, 0, 0, 0, true, 0, 'paid',
       'unfulfilled', false, 1, 1, 0, 0, 0, now(), now() from unnest($1::uuid[]) id, generate_series(1, 3) n`,
    [ids],
  );
  await client.query(
    `insert into order_items (customer_id, order_id, line, sku, quantity, total, cost) select customer_id, id, 0, 'A', 1, total, 700 from orders`,
  );
  await migrate(connection, { folder: migrationsFolder, access: tablePolicies() });
  const pool = openPool(connection, { size: 3, statementTimeout: 30_000 });
  t.teardown(() => pool.end());
  const state = async () =>
    (await client.query(`select value from deployment_settings where key = 'FILL purchases'`)).rows[0]?.value;
  const filled = async () => (await client.query('select count(*)::int as n from customer_purchases')).rows[0]?.n;
  t.equal(await state(), undefined, 'the migration does not say that everything is there');

  const services = { db: poolDb(pool), pool, reportingTimeZone: 'UTC' } as unknown as Services; // what the job uses
  const run = (signal: AbortSignal) =>
    fillPurchases.run(services, {}, { now: '2026-11-30T00:00:00.000Z', attempt: 1, signal, log });
  let steps = 0;
  const interrupted = { throwIfAborted: () => t.ok(steps++ === 0 || !thrown(), 'one step') } as unknown as AbortSignal;
  const thrown = () => {
    throw new Error('the service stops');
  };
  await t.rejects(run(interrupted), { message: 'the service stops' });
  t.equal(await filled(), 500);
  t.equal(await state(), ids[499]);
  // A process of the version before writes meanwhile: it keeps the statistics, and knows no purchases.
  await transaction(pool, (tx) => recomputeCustomers(tx, ids.slice(0, 1), 'UTC'));
  await client.query(`delete from customer_purchases where customer_id = $1`, [ids[0]]);
  await run(new AbortController().signal);
  t.equal(await filled(), customers);
  t.equal(await state(), 'done');
  t.same(await rollupDifferences(poolDb(pool), 'UTC', 5), []);
  t.same((await client.query('select sum(base_cost)::int as cost from customer_month')).rows, [
    { cost: 600 * 3 * 700 },
  ]);
});
