import { sql } from 'drizzle-orm';
import { type Db, param, statement, type Transaction } from '../../platform/db/client.ts';
import type { Difference } from '../rollups/queries.ts';

/**
 * What leads are by their stage changes and orders, worked out anew and set against what is stored: for verify-rollups
 * and tests. Written without regard to how conversion.ts goes about it.
 */
const byChanges = sql`(
    select l.customer_id, last.to_stage as stage, last.at as stage_since, last.loss_reason, conversion.at as converted_at, conversion.order_id as conversion_order_id
    from leads l
    left join (select distinct on (customer_id) * from lead_stage_changes order by customer_id, sequence desc) last on last.customer_id = l.customer_id
    left join (
      select distinct on (c.customer_id) c.* from lead_stage_changes c
      left join lead_stage_changes next on next.customer_id = c.customer_id and next.sequence = c.sequence + 1
      where c.to_stage = 'customer' and next.rule is distinct from 'no_qualifying_order_left'
      order by c.customer_id, c.sequence desc
    ) conversion on conversion.customer_id = l.customer_id)`;

const members = ['stage', 'stage_since', 'loss_reason', 'converted_at', 'conversion_order_id'];
const row = (of: string) => sql.raw(`(${members.map((name) => `${of}.${name}`).join(', ')})`);
const told = (of: string) =>
  sql.raw(`json_build_object(${members.map((name) => `'${name}', ${of}.${name}`).join(', ')})::text`);

const compareRecords = statement<Difference>(
  'compare_leads',
  sql`select 'leads' as table, l.customer_id as "customerId", l.customer_id::text as key, ${told('l')} as stored, ${told('h')} as counted
    from leads l join ${byChanges} h on h.customer_id = l.customer_id
    where ${row('l')} is distinct from ${row('h')} order by 2 limit ${param('limit')}::int`,
);

const compareConversions = statement<Difference>(
  'compare_conversions',
  sql`select 'lead_stage_changes' as table, l.customer_id as "customerId", last.sequence::text as key,
      json_build_object('order', last.order_id, 'at', last.at)::text as stored,
      json_build_object('order', first.id, 'at', greatest(first.placed_at, before.at))::text as counted
    from leads l
    join (select distinct on (customer_id) * from lead_stage_changes order by customer_id, sequence desc) last on last.customer_id = l.customer_id
    left join lead_stage_changes before on before.customer_id = l.customer_id and before.sequence = last.sequence - 1
    left join (
      select distinct on (o.customer_id) o.* from orders o
      left join (select customer_id, max(at) as at from lead_stage_changes where to_stage = 'former' and rule is null group by 1) lost
        on lost.customer_id = o.customer_id
      where o.qualifying and (lost.at is null or o.placed_at > lost.at)
      order by o.customer_id, o.placed_at, o.id
    ) first on first.customer_id = l.customer_id
    where case when last.rule = 'first_qualifying_order'
        then first.id is distinct from last.order_id or greatest(first.placed_at, before.at) <> last.at
        else last.to_stage <> 'customer' and first.id is not null end
    order by 2 limit ${param('limit')}::int`,
);

/** Leads that are not what their stage changes say, and last changes that are not what the orders say; at most `limit` of each. */
export async function leadDifferences(db: Db, limit: number): Promise<Difference[]> {
  return [...(await db.all(compareRecords, { limit })), ...(await db.all(compareConversions, { limit }))];
}

const recompute = statement(
  'recompute_leads',
  sql`update leads l set (stage, stage_since, loss_reason, converted_at, conversion_order_id)
      = (h.stage, h.stage_since, h.loss_reason, h.converted_at, h.conversion_order_id)
    from ${byChanges} h where h.customer_id = l.customer_id and l.customer_id = any(${param('ids')}::uuid[])
      and h.stage is not null and ${row('l')} is distinct from ${row('h')}`,
);

/** Sets leads to what their stage changes say. Their customers are locked; conversions are recomputed after it. */
export async function recomputeLeads(tx: Transaction, ids: string[]): Promise<void> {
  await tx.all(recompute, { ids });
}
