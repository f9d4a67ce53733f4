import { type SQL, sql } from 'drizzle-orm';
import type { CampaignCounts } from '../../domain/campaign-results.ts';
import { exactInteger } from '../../domain/money.ts';
import { type Db, param } from '../../platform/db/client.ts';
import { isSomebody } from '../../records/nobody.ts';
import { type InteractionKind, isTouch } from '../interactions/record.ts';
import { beginningOfTime, type Scope } from '../metrics/scope.ts';
import { type Knowledge, ordersOf, refundInBase, shaped } from '../metrics/source.ts';
import { appliedRefunds } from '../orders/record.ts';

/**
 * Which campaign an order, a new lead or a conversion is put down to.
 *
 * A touch is an interaction that names a campaign and is not automatic. An event belongs to the campaign of its customer's last touch at or
 * before it (of touches at one instant, the one with the higher id), when that touch is at most the window older;
 * whichever campaign that is, earlier ones get nothing. What names a campaign itself belongs to that one: an order with
 * a `campaignId`, and the conversion that it made. Touches count whenever they were; the period is about the events.
 * A refund belongs to the campaign of its order.
 */

/** What of an interaction is a reaction, besides its being inbound. */
const reactions: readonly InteractionKind[] = ['email_opened', 'email_clicked', 'email_received', 'ad_click', 'form'];
/** Inbound, but nothing a campaign is run for. */
const refusals: readonly InteractionKind[] = ['unsubscribe', 'email_bounced'];

const words = (kinds: readonly string[]) => sql.raw(kinds.map((kind) => `'${kind}'`).join(', '));
const isResponse = sql`(kind in (${words(reactions)}) or (direction = 'inbound' and kind not in (${words(refusals)})))`;

/** Half-open instants of the events, and the furthest back that a touch may be. */
export interface ResultsSpan extends Pick<Scope, 'from' | 'end' | 'past' | 'refundsWhenGiven'> {
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

/** Leads `l` as they are now; or as they were converted by the steps until `asOf` that none had taken back by then. */
function leadsOf({ past }: Knowledge): SQL {
  if (!past) return sql`leads l`;
  const asOf = sql`${param('past')}::timestamptz`;
  return sql`(select l.customer_id, l.entered_at, c.at as converted_at, c.order_id as conversion_order_id
    from leads l left join lateral (
      select c.at, c.order_id from lead_stage_changes c
      where c.customer_id = l.customer_id and c.to_stage = 'customer' and c.at < ${asOf} and not exists (
        select from lead_stage_changes undone where undone.customer_id = c.customer_id and undone.sequence = c.sequence + 1
          and undone.rule = 'no_qualifying_order_left' and undone.at < ${asOf})
      order by c.sequence desc limit 1
    ) c on true) l`;
}

/**
 * One pass over the touches and events of the customers whom these campaigns touched, in the order of time: the touches
 * so far number the rows, and each number begins with its touch. A join by time would multiply the touches of a
 * customer with their orders.
 *
 * Where refunds count when they were given, they may be of orders from before the period, and these of earlier touches.
 */
const totals = shaped<Knowledge, TotalsRow>('campaign_results', (shape) => {
  const { refundsWhenGiven } = shape;
  const orders = ordersOf(shape);
  const leads = leadsOf(shape);
  const placed = refundsWhenGiven ? sql`o.placed_at < ${end}` : sql`o.placed_at >= ${from} and o.placed_at < ${end}`;
  const touched = refundsWhenGiven
    ? sql`occurred_at < ${end}`
    : sql`occurred_at >= ${from} - ${reach} and occurred_at < ${end}`;
  const returned = refundsWhenGiven
    ? sql`(select sum(${refundInBase}) from ${appliedRefunds} f
        where f.customer_id = o.customer_id and f.order_id = o.id
          and f.refunded_at >= ${from} and f.refunded_at < ${end})`
    : sql`null::numeric`;
  return sql`with touches as materialized (
      select campaign_id, customer_id, occurred_at, kind, direction from interactions
      where campaign_id = ${ids} and ${isTouch} and ${touched}
    ), spans as materialized (
      select customer_id, min(occurred_at) as first, max(occurred_at) + ${reach} as last from touches group by customer_id
    ), events as (
      select i.customer_id, i.occurred_at as at, i.id, i.campaign_id as touch, 0 as what, null::bigint as revenue, null::numeric as returned
        from spans s join interactions i on i.customer_id = s.customer_id
        where i.campaign_id is not null and ${isTouch} and i.occurred_at >= s.first and i.occurred_at <= s.last and i.occurred_at < ${end}
      union all select o.customer_id, o.placed_at, o.id, null, ${order}, o.base_revenue, ${returned}
        from spans s join ${orders} on o.customer_id = s.customer_id
        where o.qualifying and o.campaign_id is null and o.placed_at >= s.first and o.placed_at <= s.last and ${placed}
      union all select l.customer_id, l.entered_at, l.customer_id, null, ${lead}, null, null
        from spans s cross join lateral (select * from leads where customer_id = s.customer_id offset 0) l
        where l.entered_at >= s.first and l.entered_at <= s.last and l.entered_at >= ${from} and l.entered_at < ${end}
      union all select l.customer_id, l.converted_at, l.customer_id, null, ${conversion}, null, null
        from spans s join ${leads} on l.customer_id = s.customer_id
          left join orders o on o.customer_id = l.customer_id and o.id = l.conversion_order_id
        where o.campaign_id is null and l.converted_at >= s.first and l.converted_at <= s.last and l.converted_at >= ${from} and l.converted_at < ${end}
    ), numbered as (
      select *, count(touch) over (partition by customer_id order by at, what, id rows unbounded preceding) as n from events
    ), placed as (
      select customer_id, at, what, revenue, returned, first_value(touch) over last_touch as touched_by, first_value(at) over last_touch as touched_at
      from numbered window last_touch as (partition by customer_id, n order by at, what, id rows unbounded preceding)
    ), attributed as (
      select touched_by as campaign_id, customer_id, what, at, revenue, returned from placed
        where what > 0 and touched_by = ${ids} and at <= touched_at + ${reach}
      union all select o.campaign_id, o.customer_id, ${order}, o.placed_at, o.base_revenue, ${returned} from ${orders}
        where o.campaign_id = ${ids} and o.qualifying and ${placed}
      union all select o.campaign_id, o.customer_id, ${conversion}, l.converted_at, null, null
        from orders o join ${leads} on l.customer_id = o.customer_id and l.conversion_order_id = o.id
        where o.campaign_id = ${ids} and l.converted_at >= ${from} and l.converted_at < ${end}
    ), contacts as (
      select campaign_id, count(*) as touches, count(distinct customer_id) as touched, count(*) filter (where ${isResponse}) as responses,
        count(distinct customer_id) filter (where ${isResponse}) as responders
      from touches where occurred_at >= ${from} group by campaign_id
    ), brought as (
      select campaign_id, count(*) filter (where what = ${lead}) as leads, count(*) filter (where what = ${conversion}) as conversions,
        count(*) filter (where what = ${order} and at >= ${from}) as orders,
        count(distinct customer_id) filter (where what = ${order} and at >= ${from} and ${isSomebody(sql`customer_id`)}) as buyers,
        coalesce(sum(revenue) filter (where at >= ${from}), 0) - coalesce(sum(returned), 0) as revenue,
        count(*) filter (where what = ${order} and at >= ${from} and revenue is null) as missing
      from attributed group by campaign_id
    )
    select campaign_id as "campaignId", coalesce(touches, 0) as touches, coalesce(touched, 0) as "touchedCustomers",
      coalesce(responses, 0) as responses, coalesce(responders, 0) as responders, coalesce(leads, 0) as leads,
      coalesce(conversions, 0) as conversions, coalesce(orders, 0) as orders, coalesce(buyers, 0) as buyers,
      coalesce(revenue, 0) as revenue, coalesce(missing, 0) as "missingRate"
    from contacts full join brought using (campaign_id)`;
});

/** The totals of each of a set of campaigns, by id; those without any touch or event are absent. One statement. */
export async function campaignTotals(
  db: Db,
  campaignIds: readonly string[],
  span: ResultsSpan,
): Promise<Map<string, CampaignTotals>> {
  if (campaignIds.length === 0) return new Map();
  const { end: until, past, refundsWhenGiven, windowDays } = span;
  const rows = await db.all(totals({ past: past !== null, refundsWhenGiven }), {
    ids: campaignIds,
    from: span.from ?? beginningOfTime,
    end: until,
    past,
    windowDays,
  });
  return new Map(rows.map((row) => [row.campaignId, { ...row, revenue: exactInteger(row.revenue) }]));
}
