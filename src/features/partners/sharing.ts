import { type SQL, sql } from 'drizzle-orm';
import { type Db, param, statement, type Transaction } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import type { Context } from '../../platform/operation.ts';
import type { Difference } from '../rollups/queries.ts';

/**
 * Who is shared with whom, in one definition. `partner_customers` is written from it: for the customers that a write
 * holds the locks of (`recomputeShares`), for one partner whose rules change (`recomputePartnerShares`), for everybody (`recomputeAllShares`).
 *
 * The locks: a write that changes what rules look at holds the sharing lock together with others of its kind, a change of
 * a partner holds it alone. So neither misses what the other has not committed yet. It comes after those of customers.
 */

/**
 * `partner_id, customer_id, reason, writable`: a row per reason. A new input of the rules is another branch here, and a
 * call of `recomputeShares` where that input is written.
 *
 * @param partner restricts `partners p`
 * @param customer restricts the customer of this column
 */
export function shareReasons(partner: SQL, customer: (id: SQL) => SQL): SQL {
  const active = sql`p.status = 'active' and ${partner}`;
  const consent = sql`p.rules -> 'consent'`;
  const onChannel = sql`k.purpose = ${consent} ->> 'purpose' and k.status = 'granted' and ${active} and ${customer(sql`k.customer_id`)}`;
  return sql`select p.id as partner_id, s.customer_id, 'explicit' as reason, s.writable
      from partners p join partner_shares s on s.partner_id = p.id where ${active} and ${customer(sql`s.customer_id`)}
    union all
    select p.id, c.id, 'acquired', true
      from partners p join customers c on c.acquired_by = p.id
      where (p.rules -> 'acquired')::boolean and ${active} and ${customer(sql`c.id`)}
    union all
    select p.id, l.customer_id, 'segment', false
      from partners p join leads l on p.rules -> 'segments' ? l.segment where ${active} and ${customer(sql`l.customer_id`)}
    union all
    select p.id, k.customer_id, 'consent', false
      from partners p join consents k on k.channel = coalesce(${consent} ->> 'channel', '*') where ${onChannel}
    union all
    select p.id, k.customer_id, 'consent', false
      from partners p join consents k on k.channel = '*'
      where ${consent} ->> 'channel' is not null and ${onChannel} and not exists (
        select from consents o where o.customer_id = k.customer_id and o.purpose = k.purpose and o.channel = ${consent} ->> 'channel'
      )`;
}

/** Makes the rows of `within` (a condition on `partner_customers t`) what the definition says. */
function rewrite(partner: SQL, customer: (id: SQL) => SQL, within: SQL): SQL {
  return sql`with wanted as materialized (
      select partner_id, customer_id, bool_or(writable) as writable
      from (${shareReasons(partner, customer)}) r group by partner_id, customer_id
    ), ended as (
      delete from partner_customers t where ${within} and not exists (
        select from wanted w where w.partner_id = t.partner_id and w.customer_id = t.customer_id
      )
    )
    insert into partner_customers as t (partner_id, customer_id, writable)
      select w.partner_id, w.customer_id, w.writable from wanted w
      where not exists (
        select from partner_customers o where o.partner_id = w.partner_id and o.customer_id = w.customer_id and o.writable = w.writable
      )
      order by w.customer_id, w.partner_id
    on conflict (partner_id, customer_id) do update set writable = excluded.writable`;
}

const anyone = () => sql`true`;
const ids = sql`any(${param('ids')}::uuid[])`;

const together = statement('share_lock', sql`select pg_advisory_xact_lock_shared(hashtext('rapport.sharing'))`);
const alone = statement('sharing_lock', sql`select pg_advisory_xact_lock(hashtext('rapport.sharing'))`);

const ofCustomers = statement(
  'recompute_shares',
  rewrite(sql`true`, (id) => sql`${id} = ${ids}`, sql`t.customer_id = ${ids}`),
);
const ofPartner = statement(
  'recompute_partner_shares',
  rewrite(sql`p.id = ${param('partnerId')}::uuid`, anyone, sql`t.partner_id = ${param('partnerId')}::uuid`),
);
const ofAll = statement('recompute_all_shares', rewrite(sql`true`, anyone, sql`true`));

/**
 * Recomputes with whom these locked customers are shared, after what rules look at has changed: who brought them, the
 * segment of their lead, their consents, explicit shares. Travels with COMMIT.
 */
export function recomputeShares(tx: Transaction, customerIds: Iterable<string>): void {
  const some = [...new Set(customerIds)];
  if (some.length === 0) return;
  tx.asService((service) => {
    // In a statement of its own: the next one sees what was committed while this one waited.
    service.pipeline(together);
    service.pipeline(ofCustomers, { ids: some });
  });
}

/** Nobody changes what rules look at, until the transaction ends. */
export async function lockSharing(tx: Transaction): Promise<void> {
  await tx.all(alone);
}

/** Recomputes which customers are shared with a partner, under `lockSharing`. */
export async function recomputePartnerShares(tx: Transaction, partnerId: string): Promise<void> {
  await tx.all(ofPartner, { partnerId });
}

/** Makes all of it what the definition says. */
export async function recomputeAllShares(tx: Transaction): Promise<void> {
  await lockSharing(tx);
  await tx.all(ofAll);
}

const insertNew = statement<{ id: string }>(
  'share_new_customers',
  sql`insert into partner_customers (partner_id, customer_id, writable)
    select p.id, n, true from partners p, unnest(${param('ids')}::uuid[]) as n
    where p.id = ${param('partnerId')}::uuid and p.status = 'active' and (p.rules -> 'acquired')::boolean
    returning customer_id as id`,
);

/**
 * Shares customers that are about to be written with the partner whose token creates them: the policies let it write
 * what is shared with it. Does nothing for other tokens.
 *
 * @throws Problem not_shared, where customers that a partner brings are not shared with it
 */
export async function shareNewCustomers(
  tx: Transaction,
  context: Context,
  customerIds: readonly string[],
): Promise<void> {
  const partnerId = broughtBy(context);
  if (partnerId === null || customerIds.length === 0) return;
  const inserted = await tx.asService(async (service) => {
    await service.all(together);
    return service.all(insertNew, { partnerId, ids: [...customerIds] });
  });
  if (inserted.length < customerIds.length) {
    throw new Problem('not_shared', 'Customers that this partner brings are not shared with it, so it cannot add any.');
  }
}

/** The partner whose token writes, who brings what customers it creates. */
export function broughtBy({ principal }: Context): string | null {
  return principal.scopedTo?.kind === 'partner' ? principal.scopedTo.id : null;
}

const different = statement<Difference>(
  'share_differences',
  sql`with wanted as (
      select partner_id, customer_id, bool_or(writable) as writable
      from (${shareReasons(sql`true`, anyone)}) r group by partner_id, customer_id
    )
    select 'partner_customers' as table, coalesce(t.customer_id, w.customer_id) as "customerId",
      coalesce(t.partner_id, w.partner_id)::text as key,
      case t.writable when true then 'writable' when false then 'read-only' end as stored,
      case w.writable when true then 'writable' when false then 'read-only' end as counted
    from partner_customers t full join wanted w on w.partner_id = t.partner_id and w.customer_id = t.customer_id
    where t.writable is distinct from w.writable order by 2, 3 limit ${param('limit')}::int`,
);

/** Shares that are stored and should not be, or the other way round, at most `limit`. */
export function shareDifferences(db: Db, limit: number): Promise<Difference[]> {
  return db.all(different, { limit });
}
