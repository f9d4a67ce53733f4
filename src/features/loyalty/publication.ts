import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, statement, transaction } from '../../platform/db/client.ts';
import { type Job, job } from '../../platform/jobs.ts';
import { createPrincipal } from '../../platform/principal.ts';
import { id, instant } from '../../platform/values.ts';
import { lockCustomers } from '../customers/queries.ts';
import { membersAmong, recomputeEarnings } from './earning.ts';

interface Earned {
  customerId: string;
  orderId: string;
}

const earnedSince = statement<Earned>(
  'loyalty_orders_since',
  sql`select o.customer_id as "customerId", o.id as "orderId" from orders o
    join loyalty_accounts a on a.customer_id = o.customer_id and a.programme_id = ${param('programmeId')}::uuid
    where o.placed_at >= ${param('since')}::timestamptz and o.id > ${param('after')}::uuid order by o.id limit ${param('limit')}::int`,
);

const chunk = 200;
const beforeAll = '00000000-0000-0000-0000-000000000000';
const principal = createPrincipal('publication', []);
const payload = z.strictObject({ programmeId: id, since: instant });

/**
 * Recomputes orders that were placed since a version began, but earned before it was known: those whose shop's clock is
 * ahead, and those that were under way while it was published. There are hardly any.
 */
export const recomputePublication: Job<typeof payload> = job({
  name: 'restateLoyaltyPublication',
  payload,
  run: async ({ pool, db, baseCurrency, reportingTimeZone }, { programmeId, since }, { now, signal }) => {
    for (let after: string | undefined = beforeAll; after !== undefined; ) {
      signal.throwIfAborted();
      const found: Earned[] = await db.all(earnedSince, { programmeId, since, after, limit: chunk });
      after = found.at(-1)?.orderId;
      if (found.length === 0) break;
      await transaction(pool, async (tx) => {
        await lockCustomers(
          tx,
          found.map(({ customerId }) => customerId),
        );
        const members = await membersAmong(tx, { now }, found);
        await recomputeEarnings(tx, { now, baseCurrency, reportingTimeZone, principal }, members);
      });
    }
  },
});
