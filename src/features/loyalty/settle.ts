import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, statement, transaction } from '../../platform/db/client.ts';
import { job } from '../../platform/jobs.ts';
import { lockCustomers } from '../customers/queries.ts';
import { openAccounts, saveAccounts } from './ledger.ts';

/** Accounts of one transaction, at most: their customers stay locked as long. */
const chunk = 200;

const due = statement<{ customerId: string }>(
  'due_loyalty_accounts',
  sql`select customer_id as "customerId" from loyalty_accounts where next_at <= ${param('now')}::timestamptz
    order by next_at, customer_id limit ${param('limit')}::int`,
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
    for (;;) {
      signal.throwIfAborted();
      const found = await db.all(due, { now, limit: chunk });
      if (found.length === 0) break;
      settled += await transaction(pool, async (tx) => {
        const ids = found.map(({ customerId }) => customerId);
        await lockCustomers(tx, ids);
        const accounts = await openAccounts(tx, { now }, ids, { lots: false });
        saveAccounts(tx, accounts.values());
        return accounts.size;
      });
    }
    if (settled > 0) log.info({ settled }, 'loyalty accounts were settled');
  },
});
