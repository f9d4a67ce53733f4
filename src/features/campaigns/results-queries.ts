import { sql } from 'drizzle-orm';
import type { CampaignCounts } from '../../domain/campaign-results.ts';
import { exactInteger } from '../../domain/money.ts';
import { type Db, param, statement } from '../../platform/db/client.ts';
import { isSomebody } from '../../records/nobody.ts';
import { type InteractionKind, isTouch } from '../interactions/record.ts';

/**
 * Which campaign an order, a new lead or a conversion is put down to.
 *
 * A touch is an interaction that names a campaign and is not automatic. An event belongs to the campaign of its customer's last touch at or
 * before it (of touches at one instant, the one with the higher id), when that touch is at most the window older;
 * whichever campaign that is, earlier ones get nothing. What names a campaign itself belongs to that one: an order with
 * a `campaignId`, and the conversion that it made. Touches count whenever they were; the period is about the events.
 */

/** What of an interaction is a reaction, besides its being inbound. */
const reactions: readonly InteractionKind[] = ['email_opened', 'email_clicked', 'email_received', 'ad_click', 'form'];
/** Inbound, but nothing a campaign is run for. */
const refusals: readonly InteractionKind[] = ['unsubscribe', 'email_bounced'];

const words = (kinds: readonly string[]) => sql.raw(kinds.map((kind) => `'${kind}'`).join(', '));
const isResponse = sql`(kind in (${words(reactions)}) or (direction = 'inbound' and kind not in (${words(refusals)})))`;

/** Half-open instants of the events, and the furthest back that a touch may be. */
export interface ResultsSpan {
  /** null: all time. */
  from: string | null;
  end: string;
  windowDays: number;
}

export interface CampaignTotals extends CampaignCounts {
  campaignId: string;
  revenue: bigint;
  missingRate: number;
}

interface TotalsRow extends CampaignCounts {
  campaignId: string;
  revenue: string;
  missingRate: number;
}

const ids = sql`any(${param('ids')}::uuid[])`;
const from = sql`${param('from')}::timestamptz`;
const end = sql`${param('end')}::timestamptz`;
// A day of the window is 24 hours: a touch has an instant, not a date.
const reach = sql`make_interval(hours => 24 * ${param('windowDays')}::int)`;

// What a row is: 0 for a touch, which comes before what happens at the same instant.
const [order, lead, conversion] = [sql.raw('1'), sql.raw('2'), sql.raw('3')];

/**
 * One pass over the touches and events of the customers whom these campaigns touched, in the order of time: the touches
 * so far number the rows, and each number begins with its touch. A join by time would multiply the touches of a
 * customer with their orders.
 */
const totals = statement<TotalsRow>(
  'campaign_results',
  sql`with touches as materialized (
      select campaign_id, customer_id, occurred_at, kind, direction from interactions
      where campaign_id = ${ids} and ${isTouch} and occurred_at >= ${from} - ${reach} and occurred_at < ${end}
    ), spans as materialized (
      select customer_id, min(occurred_at) as first, max(occurred_at) + ${reach} as last from touches group by customer_id
    ), events as (
      select i.customer_id, i.occurred_at as at, i.id, i.campaign_id as touch, 0 as what, null::bigint as revenue
        from spans s join interactions i on i.customer_id = s.customer_id
        where i.campaign_id is not null and ${isTouch} and i.occurred_at >= s.first and i.occurred_at <= s.last and i.occurred_at < ${end}
      union all select o.customer_id, o.placed_at, o.id, null, ${order}, o.base_revenue
        from spans s join orders o on o.customer_id = s.customer_id
        where o.qualifying and o.campaign_id is null and o.placed_at >= s.first and o.placed_at <= s.last and o.placed_at >= ${from} and o.placed_at < ${end}
      union all select l.customer_id, l.entered_at, l.customer_id, null, ${lead}, null
        from spans s join leads l on l.customer_id = s.customer_id
        where l.entered_at >= s.first and l.entered_at <= s.last and l.entered_at >= ${from} and l.entered_at < ${end}
      union all select l.customer_id, l.converted_at, l.customer_id, null, ${conversion}, null
        from spans s join leads l on l.customer_id = s.customer_id
          left join orders o on o.customer_id = l.customer_id and o.id = l.conversion_order_id
        where o.campaign_id is null and l.converted_at >= s.first and l.converted_at <= s.last and l.converted_at >= ${from} and l.converted_at < ${end}
    ), numbered as (
      select *, count(touch) over (partition by customer_id order by at, what, id rows unbounded preceding) as n from events
    ), placed as (
      select customer_id, at, what, revenue, first_value(touch) over last_touch as touched_by, first_value(at) over last_touch as touched_at
      from numbered window last_touch as (partition by customer_id, n order by at, what, id rows unbounded preceding)
    ), attributed as (
      select touched_by as campaign_id, customer_id, what, revenue from placed
        where what > 0 and touched_by = ${ids} and at <= touched_at + ${reach}
      union all select o.campaign_id, o.customer_id, ${order}, o.base_revenue from orders o
        where o.campaign_id = ${ids} and o.qualifying and o.placed_at >= ${from} and o.placed_at < ${end}
      union all select o.campaign_id, o.customer_id, ${conversion}, null
        from orders o join leads l on l.customer_id = o.customer_id and l.conversion_order_id = o.id
        where o.campaign_id = ${ids} and l.converted_at >= ${from} and l.converted_at < ${end}
    ), contacts as (
      select campaign_id, count(*) as touches, count(distinct customer_id) as touched, count(*) filter (where ${isResponse}) as responses,
        count(distinct customer_id) filter (where ${isResponse}) as responders
      from touches where occurred_at >= ${from} group by campaign_id
    ), brought as (
      select campaign_id, count(*) filter (where what = ${lead}) as leads, count(*) filter (where what = ${conversion}) as conversions,
        count(*) filter (where what = ${order}) as orders, count(distinct customer_id) filter (where what = ${order} and ${isSomebody(sql`customer_id`)}) as buyers,
        coalesce(sum(revenue), 0) as revenue, count(*) filter (where what = ${order} and revenue is null) as missing
      from attributed group by campaign_id
    )
    select campaign_id as "campaignId", coalesce(touches, 0) as touches, coalesce(touched, 0) as "touchedCustomers",
      coalesce(responses, 0) as responses, coalesce(responders, 0) as responders, coalesce(leads, 0) as leads,
      coalesce(conversions, 0) as conversions, coalesce(orders, 0) as orders, coalesce(buyers, 0) as buyers,
      coalesce(revenue, 0) as revenue, coalesce(missing, 0) as "missingRate"
    from contacts full join brought using (campaign_id)`,
);

/** The totals of each of a set of campaigns, by id; those without any touch or event are absent. One statement. */
export async function campaignTotals(
  db: Db,
  campaignIds: readonly string[],
  span: ResultsSpan,
): Promise<Map<string, CampaignTotals>> {
  if (campaignIds.length === 0) return new Map();
  const rows = await db.all(totals, {
    ids: campaignIds,
    from: span.from ?? '-infinity',
    end: span.end,
    windowDays: span.windowDays,
  });
  return new Map(rows.map((row) => [row.campaignId, { ...row, revenue: exactInteger(row.revenue) }]));
}
