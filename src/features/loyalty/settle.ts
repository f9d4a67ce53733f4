import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, statement, transaction } from '../../platform/db/client.ts';
import { job } from '../../platform/jobs.ts';
import { lockCustomers } from '../customers/queries.ts';
import { openAccounts } from './open-accounts.ts';
import { saveAccounts } from './save-accounts.ts';

/** Accounts of one transaction, at most: their customers stay locked as long. */
const chunk = 200;
const beforeAll = '00000000-0000-0000-0000-000000000000';

interface Due {
  customerId: string;
}

const due = statement<Due>(
  'due_loyalty_accounts',
  sql`select customer_id as "customerId" from loyalty_accounts where next_at <= ${param('now')}::timestamptz
      and customer_id > ${param('after')}::uuid order by customer_id limit ${param('limit')}::int`,
);

/**
 * Writes what has happened to accounts by itself: expiries, ends of tier periods, points that became active. Answers do
 * not wait for it: it keeps the stored balances current, and lists by what is stored.
 */
export const settleLoyalty = job({
  name: 'settleLoyalty',
  payload: z.strictObject({}),
  recurring: '*/5 * * * *',
  queue: 'settleLoyalty',
  async run({ pool, db }, _payload, { now, signal, log }) {
    let settled = 0;
    // One pass over the customers: it ends, whatever the clocks of several processes say.
    for (let after: string | undefined = beforeAll; after !== undefined; ) {
      signal.throwIfAborted();
      const found: { customerId: string }[] = await db.all(due, { now, after, limit: chunk });
      after = found.at(-1)?.customerId;
      if (found.length === 0) break;
      settled += await transaction(pool, async (tx) => {
        const ids = found.map(({ customerId }) => customerId);
        await lockCustomers(tx, ids);
        const accounts = await openAccounts(tx, { now }, ids, { lots: false });
        saveAccounts(tx, accounts.values());
        return accounts.size;
      });
    }
    if (settled > 0) log.info({ settled }, 'loyalty accounts were recomputed');
  },
});
