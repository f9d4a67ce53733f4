import { sql } from 'drizzle-orm';
import type pg from 'pg';
import { z } from 'zod';
import { type Db, param, poolDb, statement, type Transaction, transaction } from '../../platform/db/client.ts';
import { overwriteSettings } from '../../platform/db/settings.ts';
import { job } from '../../platform/jobs.ts';
import type { Services } from '../../platform/operation.ts';
import { lockOwners } from '../customers/queries.ts';
import { recomputeCustomers } from './queries.ts';

/*
 * A store of an earlier version has orders and no `customer_purchases`, nor the lines of its months. They are made customer by customer,
 * under their locks, while the service runs; until all of them are there, metrics count from the facts.
 */

const key = 'FILL purchases';
const filled = 'done';

/** Whether all customers with orders have their purchases. */
export const purchasesFilled = sql`exists (select from deployment_settings where key = ${sql.raw(`'${key}'`)} and value = ${sql.raw(`'${filled}'`)})`;

const reached = statement<{ value: string }>(
  'purchases_filled_up_to',
  sql`select value from deployment_settings where key = ${sql.raw(`'${key}'`)}`,
  { lookup: true },
);

export async function purchasesAreFilled(db: Db): Promise<boolean> {
  return (await position(db)) === null;
}
const following = statement<{ id: string }>(
  'customers_to_fill',
  sql`select id from customers where id > ${param('after')}::uuid order by id limit 500`,
);
// A process of the version before, which is still running, keeps the statistics and not the purchases.
const behind = statement<{ id: string }>(
  'customers_behind',
  sql`select customer_id as id from (select customer_id, sum(orders) as orders from customer_stats where orders > 0 group by 1) s
      full join customer_purchases p using (customer_id)
    where s.orders is distinct from p.orders[cardinality(p.orders)] order by 1 limit 500`,
);

async function fill(tx: Transaction, ids: string[], reportingTimeZone: string): Promise<void> {
  await lockOwners(tx, ids, 'some');
  await recomputeCustomers(tx, ids, reportingTimeZone);
}

/** Makes the purchases of a store of an earlier version. It goes on where an interrupted run stopped. */
export const fillPurchases = job({
  name: 'fillPurchases',
  payload: z.strictObject({}),
  recurring: '* * * * *',
  async run({ db, pool, reportingTimeZone }, _payload, { log, signal }) {
    let after = await position(db);
    if (after === null) return;
    log.info('making the purchases of customers from their orders; metrics count from the facts until then');
    while (after !== null) {
      signal.throwIfAborted();
      const ids: string[] = (await db.all(following, { after })).map(({ id }) => id);
      const last: string | null = ids.at(-1) ?? null;
      if (last !== null) {
        await transaction(pool, async (tx) => {
          await fill(tx, ids, reportingTimeZone);
          await overwriteSettings(tx, { [key]: last });
        });
      }
      after = last;
    }
    await catchUp({ db, pool, reportingTimeZone }, signal);
    await markFilled(pool);
    log.info('the purchases of all customers are there');
  },
});

async function position(db: Db): Promise<string | null> {
  const value = (await db.first(reached))?.value ?? '00000000-0000-0000-0000-000000000000';
  return value === filled ? null : value;
}

async function catchUp(
  { db, pool, reportingTimeZone }: Pick<Services, 'db' | 'pool' | 'reportingTimeZone'>,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    signal.throwIfAborted();
    const ids = (await db.all(behind)).map(({ id }) => id);
    if (ids.length === 0) return;
    await transaction(pool, (tx) => fill(tx, ids, reportingTimeZone));
  }
}

/** Once all customers have been recomputed. */
export async function markFilled(pool: pg.Pool): Promise<void> {
  await overwriteSettings(poolDb(pool), { [key]: filled });
}
