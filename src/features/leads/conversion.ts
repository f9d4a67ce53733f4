import { sql } from 'drizzle-orm';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { type Effect, touchedCustomers } from '../../records/effects.ts';
import { raiseStamps } from '../../records/stamps.ts';

/*
 * An order counts for a lead when it qualifies and was placed after the lead was last lost by somebody's decision (or
 * the lead never was): what a lost customer bought before is no reason to believe in it again.
 *
 * While a lead is not a customer and has such an order, it becomes one; while it is a customer by this rule and has
 * none, it goes back to where it was. In between, its last step is dated by the first of its orders as known now:
 * history comes in any order. Steps that another step followed stay as they are, and so does who is a customer by hand.
 */
const recompute = statement(
  'recompute_conversions',
  sql`with subject as (
      select l.customer_id, l.stage, l.stage_since, l.conversion_order_id, n.change_id, first.id as order_id, first.placed_at
      from unnest(${param('ids')}::uuid[], ${param('changeIds')}::uuid[]) as n(customer_id, change_id)
      join leads l on l.customer_id = n.customer_id
      left join lateral (
        select o.id, o.placed_at from orders o
        where o.customer_id = l.customer_id and o.qualifying and o.placed_at > coalesce((
          select max(c.at) from lead_stage_changes c
          where c.customer_id = l.customer_id and c.to_stage = 'former' and c.rule is null), '-infinity')
        order by o.placed_at, o.id limit 1
      ) first on true
      where l.stage <> 'customer' or l.conversion_order_id is not null
    ), step as (
      select s.*, last.sequence, last.from_stage, before.at as before_at, before.loss_reason as before_loss, earlier.at as earlier_at, earlier.order_id as earlier_order
      from subject s
      join lateral (select c.sequence, c.from_stage from lead_stage_changes c
        where c.customer_id = s.customer_id order by c.sequence desc limit 1) last on true
      left join lead_stage_changes before on before.customer_id = s.customer_id and before.sequence = last.sequence - 1
      left join lateral (
        select c.at, c.order_id from lead_stage_changes c
        where c.customer_id = s.customer_id and c.to_stage = 'customer' and c.sequence < last.sequence and not exists (
          select from lead_stage_changes undone where undone.customer_id = c.customer_id and undone.sequence = c.sequence + 1
            and undone.rule = 'no_qualifying_order_left')
        order by c.sequence desc limit 1
      ) earlier on s.stage = 'customer' and s.order_id is null
      where s.stage <> 'customer' and s.order_id is not null
        or s.stage = 'customer' and (s.order_id is null or s.order_id <> s.conversion_order_id
          or greatest(s.placed_at, before.at) <> s.stage_since)
    ), won as (
      insert into lead_stage_changes (customer_id, id, at, sequence, from_stage, to_stage, by, rule, order_id, created_at)
      select customer_id, change_id, greatest(placed_at, stage_since), sequence + 1, stage, 'customer', ${param('by')}::text,
        'first_qualifying_order', order_id, ${param('now')}::timestamptz
      from step where stage <> 'customer'
    ), undone as (
      insert into lead_stage_changes (customer_id, id, at, sequence, from_stage, to_stage, by, rule, loss_reason, created_at)
      select customer_id, change_id, greatest(${param('now')}::timestamptz, stage_since), sequence + 1, stage, from_stage, ${param('by')}::text,
        'no_qualifying_order_left', before_loss, ${param('now')}::timestamptz
      from step where stage = 'customer' and order_id is null
    ), dated as (
      update lead_stage_changes c set at = greatest(step.placed_at, step.before_at), order_id = step.order_id
      from step where step.stage = 'customer' and step.order_id is not null and c.customer_id = step.customer_id and c.sequence = step.sequence
    )
    update leads l set ${raiseStamps('l')},
      stage = case when step.order_id is null then step.from_stage else 'customer' end,
      loss_reason = case when step.order_id is null then step.before_loss end,
      stage_since = case when step.order_id is null then greatest(${param('now')}::timestamptz, step.stage_since)
        when step.stage = 'customer' then greatest(step.placed_at, step.before_at) else greatest(step.placed_at, step.stage_since) end,
      converted_at = case when step.order_id is null then step.earlier_at
        when step.stage = 'customer' then greatest(step.placed_at, step.before_at) else greatest(step.placed_at, step.stage_since) end,
      conversion_order_id = case when step.order_id is null then step.earlier_order else step.order_id end
    from step where l.customer_id = step.customer_id`,
);

const among = statement<{ id: string }>(
  'leads_among',
  sql`select customer_id as id from leads where customer_id = any(${param('ids')}::uuid[])`,
);

/**
 * Which of these locked customers are leads: most who order are none, and to find nothing to recompute would cost ten
 * times this look. It needs the locks only, and can be sent together with the write of the orders.
 */
export async function leadsAmong(tx: Transaction, customerIds: string[]): Promise<string[]> {
  if (customerIds.length === 0) return [];
  return (await tx.all(among, { ids: [...new Set(customerIds)] })).map(({ id }) => id);
}

/**
 * Recomputes which of these leads became a customer by which order, after their orders or they themselves have changed.
 * Their customers are locked. Travels with the statement that follows, or with COMMIT: whoever reads leads in the same
 * transaction reads them behind it.
 */
export function recomputeConversions(
  tx: Transaction,
  context: Pick<Context, 'principal' | 'now'>,
  ids: string[],
): void {
  if (ids.length === 0) return;
  tx.pipeline(recompute, { ids, changeIds: ids.map(newId), by: context.principal.client, now: context.now });
}

/** What follows for leads when their orders change. */
export const convertLeads: Effect = (tx, context, changes) => {
  const leads = leadsAmong(tx, touchedCustomers(changes.filter(({ before }) => before !== null)));
  leads.catch(() => undefined);
  return async (found) => recomputeConversions(tx, context, [...new Set([...(await leads), ...found.keys()])]);
};
convertLeads.asks = (ownerId) => sql`select customer_id from leads where customer_id = ${ownerId}`;
