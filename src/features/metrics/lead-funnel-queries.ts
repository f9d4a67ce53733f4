import { type SQL, sql } from 'drizzle-orm';
import type { LeadFunnelCounts } from '../../domain/lead-funnel.ts';
import type { LeadStage } from '../../domain/lead-lifecycle.ts';
import { profileFieldsOf } from '../../domain/lead-score.ts';
import { type Db, param, statement, type Values } from '../../platform/db/client.ts';
import { everyIdentity } from '../customers/record.ts';
import { isResponse, isTouch } from '../interactions/record.ts';
import { compiled, type ScoringRules } from '../lead-scores/queries.ts';
import { fieldSql } from '../lead-scores/score-sql.ts';
import { type LossReason, lossReasons } from '../leads/record.ts';
import type { LeadFunnelGroup, LeadFunnelList } from './lead-funnel-model.ts';
import { boundsOf, type Part, type Scope, wholePeriod } from './scope.ts';

/**
 * What the numbers of the funnel and its lists are made of, each said once: as passes over the tables for all leads of
 * the period at once, or for one lead after the other until a page is full. The lead is `l`, its stages `s`, its
 * latest touch `t`, its first response `r`, its identities `e`, its customer `c`, and `f` has the number of its filled-in profile fields.
 */
type Reach = 'all' | 'each';

const asOf = sql`${param('asOf')}::timestamptz`;
const entered = sql`l.entered_at >= ${param('from')}::timestamptz and l.entered_at < ${param('end')}::timestamptz`;

const rowsOfLeads = (reach: Reach, table: SQL) => (reach === 'all' ? sql`population l, ${table}` : table);

/**
 * The history before `asOf`: the latest stage, when the lead first became a customer, and how far it ever came. A
 * conversion that the next step takes back (`no_qualifying_order_left`) was none.
 */
const stages = (
  reach: Reach,
) => sql`select customer_id, max(to_stage) filter (where latest) as stage, max(loss_reason) filter (where latest) as loss_reason,
      min(at) filter (where to_stage = 'customer' and stands) as converted_at,
      max(case to_stage when 'lead' then 1 when 'marketing_qualified' then 2 when 'sales_qualified' then 3 when 'customer' then case when stands then 4 end end) as furthest
    from (
      select h.customer_id, h.at, h.to_stage, h.loss_reason, row_number() over backwards = 1 as latest,
        lag(h.rule) over backwards is distinct from 'no_qualifying_order_left' as stands
      from ${rowsOfLeads(reach, sql`lead_stage_changes h`)} where h.customer_id = l.customer_id and h.at < ${asOf}
      window backwards as (partition by h.customer_id order by h.sequence desc)
    ) steps group by customer_id`;

/** The latest touch before `asOf`. Apart from the responses: each is read from an index alone. */
const touches = (reach: Reach) => sql`select i.customer_id, max(i.occurred_at) as last_at
    from ${rowsOfLeads(reach, sql`interactions i`)} where i.customer_id = l.customer_id and ${isTouch} and i.occurred_at < ${asOf} group by i.customer_id`;

/** The first response since the lead entered, before `asOf`. */
const responses = (reach: Reach) => sql`select i.customer_id, min(i.occurred_at) as first_at
    from ${rowsOfLeads(reach, sql`interactions i`)} where i.customer_id = l.customer_id and ${isResponse} and i.occurred_at >= l.entered_at and i.occurred_at < ${asOf}
    group by i.customer_id`;

const identities = (
  reach: Reach,
) => sql`select d.customer_id, bool_or(d.kind = 'email') as email, bool_or(d.kind = 'phone') as phone
    from ${rowsOfLeads(reach, sql`${sql.raw(everyIdentity)} d`)} where d.customer_id = l.customer_id and d.is_primary group by d.customer_id`;

/**
 * As `fieldSql` has it; e-mail and phone come from `e`, which takes one pass instead of a look-up per lead. Of an erased
 * person what was filled in then counts.
 */
function filledIn(field: string): SQL {
  const now =
    field === 'email' || field === 'phone'
      ? sql`coalesce(e.${sql.identifier(field)}, false)`
      : sql`${fieldSql(field)} is not null`;
  return sql`case when c.erased_fields is null then ${now} else c.erased_fields @> to_jsonb(${field}::text) end`;
}

const groupKeys: Record<LeadFunnelGroup, SQL> = {
  source: sql`coalesce(l.source, '')`,
  segment: sql`coalesce(l.segment, '')`,
  owner: sql`coalesce(l.owner, '')`,
  country: sql`coalesce(c.address ->> 'country', '')`,
  stage: sql`s.stage`,
};

interface Shape {
  series: boolean;
  groupBy: LeadFunnelGroup | null;
}

/** `before` begins the statement that selects `from`. */
function leadsOfPeriod(reach: Reach, rules: ScoringRules, { series, groupBy }: Shape): { before: SQL; from: SQL } {
  const filled = profileFieldsOf(rules.document).map((field) => sql`(${filledIn(field)})::int`);
  const derived = sql`lateral (select ${sql.join(filled, sql` + `)} as filled, ${groupBy ? groupKeys[groupBy] : sql`''`} as key) f`;
  if (reach === 'each') {
    return {
      before: sql``,
      from: sql`leads l join customers c on c.id = l.customer_id cross join lateral (${stages(reach)}) s
        left join lateral (${touches(reach)}) t on true
        left join lateral (${responses(reach)}) r on true left join lateral (${identities(reach)}) e on true, ${derived}`,
    };
  }
  const bucket = series ? sql`, width_bucket(l.entered_at, ${param('bounds')}::timestamptz[]) as bucket` : sql``;
  return {
    before: sql`with population as materialized (
        select l.customer_id, l.entered_at, l.source, l.segment, l.owner ${bucket} from leads l where ${entered}
      ), stages as materialized (${stages(reach)}), touches as materialized (${touches(reach)}),
      responses as materialized (${responses(reach)}), identities as materialized (${identities(reach)})`,
    from: sql`population l join customers c on c.id = l.customer_id join stages s on s.customer_id = l.customer_id
      left join touches t on t.customer_id = l.customer_id left join responses r on r.customer_id = l.customer_id
      left join identities e on e.customer_id = l.customer_id, ${derived}`,
  };
}

/** Neither won nor lost. */
const open = sql`s.stage not in ('customer', 'former')`;

function completeness(rules: ScoringRules): SQL {
  return sql`f.filled::float8 / ${sql.raw(String(profileFieldsOf(rules.document).length))}`;
}

/** Who is on a list of the drill-down, and what the metric counts. */
function onList(list: LeadFunnelList, rules: ScoringRules): SQL {
  switch (list) {
    case 'untouched':
      return sql`${open} and (t.last_at is null or t.last_at < ${param('silentSince')}::timestamptz)`;
    case 'never_touched':
      return sql`${open} and t.last_at is null`;
    case 'under_qualified':
      return sql`${open} and ${completeness(rules)} < ${param('completeness')}::float8`;
    case 'unanswered':
      return sql`r.first_at is null`;
    case 'converted':
      return sql`s.converted_at is not null`;
    case 'lost':
      return sql`s.stage = 'former'`;
    default:
      return sql`s.stage = ${sql.raw(`'${list.slice('stage_'.length)}'`)}`;
  }
}

/** A question about the funnel, resolved. */
export interface FunnelQuestion {
  scope: Scope;
  rules: ScoringRules;
  completeness: number;
  /** Interactions before this instant are too long ago. */
  silentSince: string;
  groupBy: LeadFunnelGroup | null;
}

function valuesOf({ scope, completeness: threshold, silentSince }: FunnelQuestion): Values {
  const [from, end] = boundsOf([wholePeriod(scope)], scope.end);
  return { from, end, asOf: scope.asOf, completeness: threshold, silentSince };
}

type CountRow = Record<`lost_${LossReason}`, number> & {
  part: 'whole' | 'bucket' | 'group';
  bucket: number | null;
  key: string | null;
  /** Groups there are, beyond those that are answered. */
  groups: number;
  leads: number;
  converted: number;
  subscriber: number;
  lead: number;
  marketingQualified: number;
  salesQualified: number;
  customer: number;
  lost: number;
  lostCustomers: number;
  underQualified: number;
  untouched: number;
  neverTouched: number;
  unanswered: number;
  firstResponse: [number, number] | null;
  conversion: number | null;
  reachedLead: number;
  reachedMarketingQualified: number;
  reachedSalesQualified: number;
};

/** Groups of an answer, at most: the largest ones. */
export const mostGroups = 1_000;

/**
 * One row for the whole period, one per bucket of the series and one per group. Percentiles of times are taken here:
 * there are as many times as leads.
 */
function countsSql(rules: ScoringRules, shape: Shape): SQL {
  const { before, from } = leadsOfPeriod('all', rules, shape);
  const count = (condition: SQL) => sql`count(*) filter (where ${condition})`;
  const on = (list: LeadFunnelList) => count(onList(list, rules));
  const lost = onList('lost', rules);
  const microseconds = (to: SQL) => sql`(extract(epoch from ${to} - l.entered_at) * 1000000)::float8`;
  const byReason = lossReasons.map(
    (reason) =>
      sql`${count(sql`${lost} and s.loss_reason = ${sql.raw(`'${reason}'`)}`)} as ${sql.identifier(`lost_${reason}`)}`,
  );
  const bucket = {
    set: sql`, (l.bucket)`,
    part: sql`when grouping(l.bucket) = 0 then 'bucket'`,
    column: sql`l.bucket`,
  };
  const group = { set: sql`, (f.key)`, part: sql`when grouping(f.key) = 0 then 'group'`, column: sql`f.key` };
  const none = { set: sql``, part: sql``, column: sql`null` };
  const [b, g] = [shape.series ? bucket : none, shape.groupBy ? group : none];
  return sql`${before}, counts as (
      select case ${b.part} ${g.part} when true then 'whole' end as part, ${b.column}::int as bucket, ${g.column}::text as key,
        count(*) as leads, ${on('converted')} as converted, ${on('stage_subscriber')} as subscriber, ${on('stage_lead')} as lead,
        ${on('stage_marketing_qualified')} as "marketingQualified", ${on('stage_sales_qualified')} as "salesQualified", ${on('stage_customer')} as customer,
        ${on('lost')} as lost, ${count(sql`${lost} and ${onList('converted', rules)}`)} as "lostCustomers", ${sql.join(byReason, sql`, `)},
        ${on('under_qualified')} as "underQualified", ${on('untouched')} as untouched, ${on('never_touched')} as "neverTouched", ${on('unanswered')} as unanswered,
        percentile_cont(array[0.5, 0.9]) within group (order by ${microseconds(sql`r.first_at`)}) as "firstResponse",
        percentile_cont(0.5) within group (order by ${microseconds(sql`s.converted_at`)}) as conversion,
        ${count(sql`s.furthest >= 1`)} as "reachedLead", ${count(sql`s.furthest >= 2`)} as "reachedMarketingQualified", ${count(sql`s.furthest >= 3`)} as "reachedSalesQualified"
      from ${from} group by grouping sets (() ${b.set} ${g.set})
    )
    select * from (
      select *, count(*) over parts as groups, row_number() over (parts order by leads desc, key collate "C") as place
      from counts window parts as (partition by part)
    ) ranked where part <> 'group' or place <= ${sql.raw(String(mostGroups))} order by place`;
}

/** The funnel of the period, of each bucket of its series, and of each group, the largest first. */
export interface FunnelCounts {
  whole: LeadFunnelCounts;
  series: LeadFunnelCounts[];
  groups: { key: string; counts: LeadFunnelCounts }[];
  /** Groups beyond `mostGroups`. */
  groupsLeftOut: number;
}

export async function funnelCounts(db: Db, question: FunnelQuestion, buckets: readonly Part[]): Promise<FunnelCounts> {
  const { scope, rules, groupBy } = question;
  const shape = { groupBy, series: buckets.length > 0 };
  const query = compiled<CountRow>(rules, `funnel ${JSON.stringify(shape)}`, () => countsSql(rules, shape));
  const rows = await db.all(query, { ...valuesOf(question), bounds: boundsOf(buckets, scope.end) });
  const ofPart = (part: CountRow['part']) => rows.filter((row) => row.part === part);
  const byBucket = new Map(ofPart('bucket').map((row) => [row.bucket, row]));
  const groups = ofPart('group');
  const countsOf = (row: CountRow | undefined) => (row ? funnelCountsOf(row) : noLeads);
  return {
    whole: countsOf(ofPart('whole')[0]),
    series: buckets.map((_, index) => countsOf(byBucket.get(index + 1))),
    groups: groups.map((row) => ({ key: row.key ?? '', counts: funnelCountsOf(row) })),
    groupsLeftOut: (groups[0]?.groups ?? 0) - groups.length,
  };
}

function funnelCountsOf(row: CountRow): LeadFunnelCounts {
  const [median, p90] = row.firstResponse ?? [];
  return {
    leads: row.leads,
    converted: row.converted,
    inStage: {
      subscriber: row.subscriber,
      lead: row.lead,
      marketing_qualified: row.marketingQualified,
      sales_qualified: row.salesQualified,
      customer: row.customer,
    },
    lost: row.lost,
    lostCustomers: row.lostCustomers,
    lostBy: Object.fromEntries(lossReasons.map((reason) => [reason, row[`lost_${reason}`]])),
    underQualified: row.underQualified,
    untouched: row.untouched,
    neverTouched: row.neverTouched,
    answered: row.leads - row.unanswered,
    firstResponse: median === undefined || p90 === undefined ? null : { median, p90 },
    conversion: row.conversion === null ? null : { median: row.conversion },
    reached: {
      lead: row.reachedLead,
      marketing_qualified: row.reachedMarketingQualified,
      sales_qualified: row.reachedSalesQualified,
    },
  };
}

const noLeads: LeadFunnelCounts = {
  leads: 0,
  converted: 0,
  inStage: { subscriber: 0, lead: 0, marketing_qualified: 0, sales_qualified: 0, customer: 0 },
  lost: 0,
  lostCustomers: 0,
  lostBy: Object.fromEntries(lossReasons.map((reason) => [reason, 0])),
  underQualified: 0,
  untouched: 0,
  neverTouched: 0,
  answered: 0,
  firstResponse: null,
  conversion: null,
  reached: { lead: 0, marketing_qualified: 0, sales_qualified: 0 },
};

const firstEntry = statement<{ at: string }>(
  'lead_funnel_first',
  sql`select entered_at as at from leads where entered_at < ${param('end')}::timestamptz order by entered_at limit 1`,
);

/** When the first lead entered: where a period of all time begins. */
export async function firstLeadAt(db: Db, { from, end }: Scope): Promise<string | null> {
  if (from !== null) return null;
  return (await db.first(firstEntry, { end }))?.at ?? null;
}

/** A lead on a list, with what puts it there. */
export interface MemberRow {
  id: string;
  enteredAt: string;
  stage: LeadStage;
  lossReason: LossReason | null;
  convertedAt: string | null;
  lastInteractionAt: string | null;
  firstResponseAt: string | null;
  completeness: number;
}

export interface MemberSelection {
  list: LeadFunnelList;
  /** Only this group of `groupBy`. */
  group: string | null;
  descending: boolean;
  after: { enteredAt: string; id: string } | null;
}

function membersWhere(rules: ScoringRules, { list, group }: MemberSelection): SQL[] {
  return [onList(list, rules), ...(group === null ? [] : [sql`f.key = ${param('group')}::text`])];
}

/** Leads on a list in the order in which they entered, one more than `limit` where there are more. */
export function funnelMembers(
  db: Db,
  question: FunnelQuestion,
  selection: MemberSelection,
  limit: number,
): Promise<MemberRow[]> {
  const { rules, groupBy } = question;
  const { list, group, descending, after } = selection;
  const shape = { list, groupBy, group: group !== null, descending, after: after !== null };
  const query = compiled<MemberRow>(rules, `members ${JSON.stringify(shape)}`, () => {
    const { before, from } = leadsOfPeriod('each', rules, { groupBy, series: false });
    const conditions = [entered, ...membersWhere(rules, selection)];
    if (after) {
      const compare = sql.raw(descending ? '<' : '>');
      conditions.push(
        sql`(l.entered_at, l.customer_id) ${compare} (${param('afterEnteredAt')}::timestamptz, ${param('afterId')}::uuid)`,
      );
    }
    const order = (record: string) =>
      sql.raw(['entered_at', 'customer_id'].map((key) => `${record}.${key} ${descending ? 'desc' : 'asc'}`).join(', '));
    return sql`${before} select l.customer_id as id, l.entered_at as "enteredAt", s.stage, s.loss_reason as "lossReason", s.converted_at as "convertedAt",
        t.last_at as "lastInteractionAt", r.first_at as "firstResponseAt", ${completeness(rules)} as completeness
      from ${from} where ${sql.join(conditions, sql` and `)} order by ${order('l')} limit ${param('limit')}::int`;
  });
  return db.all(query, {
    ...valuesOf(question),
    group,
    afterEnteredAt: after?.enteredAt ?? null,
    afterId: after?.id ?? null,
    limit: limit + 1,
  });
}

export async function countFunnelMembers(
  db: Db,
  question: FunnelQuestion,
  selection: MemberSelection,
): Promise<number> {
  const { rules, groupBy } = question;
  const shape = { list: selection.list, groupBy, group: selection.group !== null };
  const query = compiled<{ total: number }>(rules, `count members ${JSON.stringify(shape)}`, () => {
    const { before, from } = leadsOfPeriod('all', rules, { groupBy, series: false });
    return sql`${before} select count(*) as total from ${from} where ${sql.join(membersWhere(rules, selection), sql` and `)}`;
  });
  const values = { ...valuesOf(question), group: selection.group };
  return (await db.first(query, values))?.total ?? 0;
}
