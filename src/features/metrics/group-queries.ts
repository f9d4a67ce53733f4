import { type SQL, sql } from 'drizzle-orm';
import type { MonthOfPersons } from '../../domain/group-size.ts';
import { type Db, param, type Statement, statement } from '../../platform/db/client.ts';
import { localTime, zoneValues } from './source.ts';

/** Facts by which customers are in a metric: `select customer_id, month` of each, as often as it likes. */
export type Family = 'orders' | 'gaps' | 'nps' | 'csat' | 'ces' | 'leads' | 'detractors' | 'points';

const month = (at: SQL) => sql`date_trunc('month', ${localTime(at)})::date`;

/**
 * It says what the policies say anyway, for each row: from the partner's customers the planner comes to their facts alone,
 * where it would read everybody's and ask of each row whose it is.
 */
const ofShared = (owner: string) => sql`${sql.raw(owner)} in (select s.customer_id from partner_customers s)`;

const answers = (type: string) => sql`select a.customer_id, ${month(sql`a.answered_at`)} as month
    from survey_answers a where a.is_primary and a.counted and a.type = ${sql.raw(`'${type}'`)} and ${ofShared('a.customer_id')}`;

// What happens at the instant of a balance is in it: a month of points ends with its last instant.
const monthOfPoints = (at: SQL) => month(sql`(${at} - interval '1 microsecond')`);

const families: Record<Family, SQL> = {
  // Months of the reporting zone, which is the only one that partners may ask in.
  orders: sql`select customer_id, month from customer_month where orders > 0 and ${ofShared('customer_id')}`,
  // A gap belongs to its later day.
  gaps: sql`select customer_id, date_trunc('month', day)::date as month from (
      select customer_id, day, lag(day) over (partition by customer_id order by day) as before
      from (select distinct customer_id, ${localTime(sql`placed_at`)}::date as day from orders
          where qualifying and ${ofShared('customer_id')}) days
    ) steps where before is not null`,
  nps: answers('nps'),
  csat: answers('csat'),
  ces: answers('ces'),
  leads: sql`select customer_id, ${month(sql`entered_at`)} as month from leads where ${ofShared('customer_id')}`,
  detractors: sql`select customer_id, ${month(sql`created_at`)} as month from follow_ups where kind = 'detractor' and ${ofShared('customer_id')}`,
  // What changes the points that are outstanding: postings, and what expires.
  points: sql`select e.customer_id, ${monthOfPoints(sql`greatest(e.at, l.earned_at)`)} as month
      from loyalty_entries e left join loyalty_lots l on l.customer_id = e.customer_id and l.id = e.lot_id
      where ${ofShared('e.customer_id')}
    union all
    select customer_id, ${monthOfPoints(sql`expires_at`)} from loyalty_lots where expires_at is not null and ${ofShared('customer_id')}`,
};

const all = Object.entries(families) as [Family, SQL][]; // the keys of a record of all families
const counts = byFamily<{ start: string; persons: number }>(
  'group_counts',
  (facts) =>
    sql`select month::text as start, count(*) as persons from (select distinct month, customer_id from (${facts}) d) f
      group by month order by month`,
);
const members = byFamily<{ start: string; id: string }>(
  'group_members',
  (facts) => sql`select distinct month::text as start, customer_id as id from (${facts}) f
    where month = any(${param('months')}::date[])`,
);

function byFamily<Row>(name: string, query: (facts: SQL) => SQL): Record<Family, Statement<Row>> {
  // One statement per family.
  return Object.fromEntries(all.map(([family, facts]) => [family, statement<Row>(name, query(facts))])) as Record<
    Family,
    Statement<Row>
  >;
}

/** The months with facts that the partner who calls sees; whose they are, where they are of fewer than `k` customers. */
export async function monthsOf(db: Db, family: Family, timeZone: string, k: number): Promise<MonthOfPersons[]> {
  const found = await db.all(counts[family], zoneValues(timeZone));
  const small = found.filter(({ persons }) => persons < k).map(({ start }) => start);
  const ids = new Map<string, string[]>(small.map((start) => [start, []]));
  if (small.length > 0) {
    for (const { start, id } of await db.all(members[family], { ...zoneValues(timeZone), months: small }))
      ids.get(start)?.push(id);
  }
  return found.map(({ start, persons }) => ({ start, persons, ids: ids.get(start) ?? [] }));
}

const holders = statement<{ customers: number }>(
  'group_holders',
  sql`select count(*) as customers from (
      select e.customer_id from loyalty_entries e join loyalty_lots l on l.customer_id = e.customer_id and l.id = e.lot_id
      where ${ofShared('e.customer_id')} and greatest(e.at, l.earned_at) <= ${param('at')}::timestamptz and (l.expires_at is null or l.expires_at > ${param('at')}::timestamptz)
      group by e.customer_id having sum(e.points) > 0
    ) h`,
);

/** How many customers have outstanding points at an instant. */
export async function holdersAt(db: Db, at: string): Promise<number> {
  return (await db.first(holders, { at }))?.customers ?? 0;
}
