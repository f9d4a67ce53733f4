import pg from 'pg';
import t from 'tap';
import { derivedState } from '../../src/derived-state.ts';
import { recomputeCustomers } from '../../src/features/rollups/queries.ts';
import { tablePolicies } from '../../src/features.ts';
import { openPool, poolDb, transaction } from '../../src/platform/db/client.ts';
import { migrate } from '../../src/platform/db/migrate.ts';
import { createPrincipal } from '../../src/platform/principal.ts';
import { upgradesFor } from '../../src/upgrades.ts';
import { emptyDatabase } from '../support/database.ts';
import { migrationsFolder } from '../support/server.ts';
import { migrationsUpTo, upgradeAs } from '../support/upgrade.ts';

const customer = '0193a6c2-8f00-7c3e-9b1a-000000000001';
const order = (n: number) => `0193a6c2-8f00-7c3e-9b1a-00000000010${n}`;
const refund = (n: number) => `0193a6c2-8f00-7c3e-9b1a-00000000020${n}`;

t.test(
  'a store of the version before refunds had taxes: its revenue is restated, once, and what changed is told',
  async (t) => {
    const { connection } = await emptyDatabase(t);
    await migrate(connection, { folder: migrationsUpTo(t, '0005') });
    const client = new pg.Client(connection);
    await client.connect();
    t.teardown(() => client.end());
    await client.query(
      `insert into customers (id, version, kind, created_at, updated_at) values ('${customer}', 1, 'person', now(), now())`,
    );
    // 22.00 with 2.00 tax, 11.00 refunded; 127.20 with 21.20 tax and 6.00 shipping, 120.00 refunded in two parts; one without tax.
    for (const [n, total, tax, ...amounts] of [
      [1, 2200, 200, 1100],
      [2, 12720, 2120, 6000, 6000],
      [3, 1000, 0, 400],
      [4, 500, 50],
    ] as const) {
      const sum = (amounts as readonly number[]).reduce((a, b) => a + b, 0);
      await client.query(
        `insert into orders (customer_id, id, version, source, external_id, placed_at, currency, total, discount, shipping, fees, tax, tax_included,
         rounding, payment_status, fulfillment_status, test, exchange_rate, base_factor, refunds, refunded, created_at, updated_at)
       values ($1, $2, 1, 'shop', $3, '2026-03-01T00:00:00Z', 'EUR', $4, 0, 0, 0, $5, true, 0, 'paid', 'unfulfilled', false, 1, 1, $6, $7, now(), now())`,
        [customer, order(n), String(n), total, tax, amounts.length, sum],
      );
      for (const [index, amount] of (amounts as readonly number[]).entries()) {
        await client.query(
          `insert into refunds (customer_id, id, version, order_id, amount, refunded_at, created_at) values ($1, $2, 1, $3, $4, $5, '2026-03-09T00:00:00Z')`,
          [customer, refund(n * 2 + index), order(n), amount, `2026-03-0${5 + index}T00:00:00Z`],
        );
      }
    }
    await migrate(connection, { folder: migrationsFolder, access: tablePolicies() });
    const revenue = async () =>
      (await client.query('select revenue::int, version from orders order by id')).rows.map((row) => row.revenue);
    t.same(await revenue(), [900, -1400, 600, 450], 'the migration alone changes no number');

    const pool = openPool(connection, { size: 3, statementTimeout: 30_000 });
    t.teardown(() => pool.end());
    const config = { baseCurrency: 'EUR', reportingTimeZone: 'UTC' };
    await transaction(pool, (tx) => recomputeCustomers(tx, [customer], 'UTC'));
    const notes: string[] = [];
    const start = () => upgradeAs(connection, upgradesFor(config), (message) => notes.push(message));
    await Promise.all([start(), start(), start()]);
    t.same(await revenue(), [1000, 600, 600, 450]);
    t.same((await client.query('select revenue::int from customer_stats')).rows, [{ revenue: 2650 }]);
    t.same(notes, [
      'refunds are counted without their tax now: the revenue of 3 refunded orders in EUR was 100 and is 2200 (minor units)',
      'the statistics of 1 customers were recomputed',
    ]);
    t.same(
      (await client.query(`select updated_at > created_at as restated, net::int from refunds order by id`)).rows.map(
        ({ net }) => net,
      ),
      [1000, 5000, 5000, 400],
    );
    const context = { ...config, now: new Date().toISOString(), principal: createPrincipal('test', []) };
    for (const { name, compare } of derivedState) t.same(await compare(poolDb(pool), context, 10), [], name);
    await start();
    t.equal(notes.length, 2, 'the next start does nothing');
  },
);
