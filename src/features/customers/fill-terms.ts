import { sql } from 'drizzle-orm';
import type pg from 'pg';
import { z } from 'zod';
import { type Db, param, poolDb, statement, transaction } from '../../platform/db/client.ts';
import { overwriteSettings } from '../../platform/db/settings.ts';
import { job } from '../../platform/jobs.ts';
import { isSomebody } from '../../records/nobody.ts';
import { lockCustomers } from './queries.ts';
import { compareTerms, recomputeTerms } from './terms.ts';

/*
 * A store of an earlier version has customers and no words to search by. They are made customer by customer, under their locks,
 * while the service runs; until all of them are there, searches by words are refused.
 */

const key = 'FILL terms';
const filled = 'done';

const reached = statement<{ value: string }>(
  'terms_filled_up_to',
  sql`select value from deployment_settings where key = ${sql.raw(`'${key}'`)}`,
  { lookup: true },
);
const following = statement<{ id: string }>(
  'customers_without_terms',
  sql`select id from customers where id > ${param('after')}::uuid and ${isSomebody(sql`id`)} order by id limit 500`,
);
/** In a few minutes around the update, a process of the version before may have written some. */
const changedSince = statement<{ id: string }>(
  'customers_changed_meanwhile',
  sql`select id from customers where id > ${param('after')}::uuid and updated_at >= ${param('since')}::timestamptz and ${isSomebody(sql`id`)} order by id limit 500`,
);

export async function termsAreFilled(db: Db): Promise<boolean> {
  return (await db.first(reached))?.value === filled;
}

const start = '00000000-0000-0000-0000-000000000000';

/** Makes the words of a store of an earlier version. It goes on where an interrupted run stopped. */
export const fillTerms = job({
  name: 'fillTerms',
  payload: z.strictObject({}),
  recurring: '* * * * *',
  async run({ db, pool }, _payload, { log, signal, now }) {
    const value = (await db.first(reached))?.value;
    if (value === filled) return;
    log.info('making the words by which customers are searched; searches by words wait for them');
    const [since = now, from = start] = value?.split(' ') ?? [];
    const begun = new Date(Date.parse(since) - 3_600_000).toISOString();
    for (let after = from; ; ) {
      signal.throwIfAborted();
      const last = await fill(
        pool,
        (await db.all(following, { after })).map(({ id }) => id),
      );
      if (last === null) break;
      after = last;
      await overwriteSettings(poolDb(pool), { [key]: `${since} ${after}` });
    }
    for (let after = start; ; ) {
      signal.throwIfAborted();
      const last = await fill(
        pool,
        (await db.all(changedSince, { after, since: begun })).map(({ id }) => id),
      );
      if (last === null) break;
      after = last;
    }
    await markTermsFilled(pool);
    log.info('all customers can be searched by words');
  },
});

async function fill(pool: pg.Pool, ids: string[]): Promise<string | null> {
  const last = ids.at(-1);
  if (last === undefined) return null;
  await transaction(pool, async (tx) => {
    await lockCustomers(tx, ids, 'some');
    await recomputeTerms(tx, ids);
  });
  return last;
}

/** Once all customers have been recomputed. */
export async function markTermsFilled(pool: pg.Pool): Promise<void> {
  await overwriteSettings(poolDb(pool), { [key]: filled });
}

/** For verify-rollups: where words are missing or too many, at most `limit`; never the words, which are personal. */
export async function termDifferences(db: Db, limit: number) {
  const found = [];
  for (let after: string | undefined = start; after !== undefined && found.length < limit; ) {
    const ids: string[] = (await db.all(following, { after })).map(({ id }) => id);
    const { gone, come } = await compareTerms(db, ids);
    for (const customerId of new Set([...gone, ...come].map((row) => row.customerId))) {
      const count = (rows: readonly { customerId: string }[]) =>
        rows.filter((row) => row.customerId === customerId).length;
      found.push({
        table: 'customer_terms',
        customerId,
        key: customerId,
        stored: `${count(gone)} words too many`,
        counted: `${count(come)} words missing`,
      });
    }
    after = ids.at(-1);
  }
  return found.slice(0, limit);
}
