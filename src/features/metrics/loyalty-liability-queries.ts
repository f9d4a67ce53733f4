import { type SQL, sql } from 'drizzle-orm';
import type { LiabilityPart } from '../../domain/loyalty-liability.ts';
import { Contributions, runOn, type TierState } from '../../domain/loyalty-tiers.ts';
import { type Db, param, type Statement, statement, type Values } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import { tierAtSql } from '../loyalty/queries.ts';
import {
  type ProgrammeRules,
  type ProgrammeRulesJson,
  programmeRulesJson,
  readProgrammeRules,
  rulesAt,
} from '../loyalty-programmes/queries.ts';
import { type LiabilityGroup, neverExpires } from './loyalty-liability-model.ts';
import { localTime, zoneValues } from './source.ts';

/** The points of the ledger at one instant or at many, from the postings alone. */

/** A question about the points at an instant, resolved. */
export interface LiabilityQuestion {
  at: string;
  timeZone: string;
  programmeId: string | null;
  groupBy: LiabilityGroup | null;
  /** Tiers at the instant that the stored changes do not tell yet. */
  tiers: readonly UnsettledTier[];
}

interface UnsettledTier {
  customerId: string;
  tier: string | null;
}

const programmes = statement<{ id: string; found: ProgrammeRulesJson; firstJoinedAt: string | null }>(
  'liability_programmes',
  sql`select p.id, ${programmeRulesJson(sql`p.id`)} as found,
      (select min(a.joined_at) from loyalty_accounts a where a.programme_id = p.id) as "firstJoinedAt"
    from loyalty_programmes p where ${param('programmeId')}::uuid is null or p.id = ${param('programmeId')}::uuid`,
);

/** The programmes asked about with their rules, and when the first member of each joined. */
export async function programmesAsked(
  db: Db,
  programmeId: string | null,
): Promise<Map<string, ProgrammeRules & { firstJoinedAt: string | null }>> {
  const rows = await db.all(programmes, { programmeId });
  return new Map(rows.map(({ id, found, firstJoinedAt }) => [id, { ...readProgrammeRules(id, found), firstJoinedAt }]));
}

interface DueRow extends TierState {
  customerId: string;
  programmeId: string;
  contributions: [placedAt: string, spend: number, points: number][] | null;
}

/** Accounts read at a time. */
const step = 2_000;

/** Accounts whose tier period ends by then and was not judged yet: few, unless the instant is far in the future. */
const due = statement<DueRow>(
  'liability_tiers_due',
  sql`select a.customer_id as "customerId", a.programme_id as "programmeId", a.tier, a.tier_since as "tierSince",
      a.tier_ends_at as "tierEndsAt", a.tier_in_grace as "tierInGrace", a.tier_by_hand as "tierByHand",
      (select json_agg(json_build_array(e.placed_at::text, e.spend, e.tier_points)) from loyalty_earnings e
        where e.customer_id = a.customer_id and (e.spend <> 0 or e.tier_points <> 0)) as contributions
    from loyalty_accounts a
    where a.next_at <= ${param('at')}::timestamptz and a.tier_ends_at <= ${param('at')}::timestamptz
      and (${param('programmeId')}::uuid is null or a.programme_id = ${param('programmeId')}::uuid)
      and (${param('after')}::uuid is null or a.customer_id > ${param('after')}::uuid)
    order by a.customer_id limit ${sql.raw(String(step))}`,
);

/** The tiers at `at` of those whose periods are still to be judged: the state machine run on, nothing written. */
export async function unsettledTiers(
  db: Db,
  rules: ReadonlyMap<string, ProgrammeRules>,
  at: string,
  programmeId: string | null,
): Promise<UnsettledTier[]> {
  const found: UnsettledTier[] = [];
  let after: string | null = null;
  do {
    const rows: DueRow[] = await db.all(due, { at, programmeId, after });
    for (const { customerId, programmeId: ofProgramme, contributions, ...state } of rows) {
      const programme = rules.get(ofProgramme);
      if (!programme) continue;
      const counted = new Contributions(
        (contributions ?? []).map(([placedAt, spend, points]) => ({
          placedAt: canonicalInstant(placedAt),
          spend,
          points,
        })),
      );
      const { tier } = runOn(
        state,
        at,
        (t) => rulesAt(programme, t)?.tiers ?? null,
        (t, tiers) => counted.in(tiers, t),
      ).state;
      if (tier !== state.tier) found.push({ customerId, tier });
    }
    after = rows.length < step ? null : (rows.at(-1)?.customerId ?? null);
  } while (after !== null);
  return found;
}

const at = sql`${param('at')}::timestamptz`;

const unsettled = sql`unsettled as materialized (
    select * from json_to_recordset(${param('tiers')}::json) as n("customerId" uuid, "tier" text))`;
/** Of the account `a`. */
const tierThen = sql`coalesce((select u.tier from unsettled u where u."customerId" = a.customer_id), ${tierAtSql(sql`a.customer_id`, at)})`;

/** Of the account `a` and the lot `l`, which is outstanding. */
const groupKeys: Record<LiabilityGroup, SQL> = {
  tier: sql`coalesce(a.tier, '')`,
  expiry_month: sql`case when l.expires_at is null then '${sql.raw(neverExpires)}' else to_char(${localTime(sql`l.expires_at`)}, 'YYYY-MM') end`,
  programme: sql`a.programme_id::text`,
};

const compiled = new Map<string, Statement<unknown>>();

/** Each shape of a question is compiled once. */
function shaped<Row>(name: string, shape: object, query: () => SQL): Statement<Row> {
  const key = `${name} ${JSON.stringify(shape)}`;
  const known = compiled.get(key);
  if (known) return known as Statement<Row>; // compiled below for the same name, whose rows are these
  const made = statement<Row>(name, query());
  compiled.set(key, made);
  return made;
}

/** Exact sums, as text. */
interface Change {
  programme: string;
  mark: number;
  active: string;
  pending: string;
  debt: string;
  never: string;
  issued: string;
  expired: string;
}

/**
 * What begins and ends between the marks, of which there may be a thousand, in one pass over the postings. A posting
 * counts from its own instant and that of its lot on: as pending until the lot is active, as active until it expires.
 * Mark k is the first one not before an instant when k marks are before it. What of a lot was not used before it
 * expired is what expired, whether or not that was posted yet; issued is what was credited and not taken back. What was transferred, or
 * came back, was credited before: on a lot that expires no later. A date may expire points before they are active, or earned.
 */
function changesSql(ofOne: boolean): SQL {
  return sql`with bounds as materialized (
      select array_agg(m + interval '1 microsecond' order by m) as list, count(*)::int as marks from unnest(${param('marks')}::timestamptz[]) m
    ), lots as materialized (
      select customer_id, id, earned_at, active_at, expires_at from loyalty_lots
    ), recomputed as materialized (
      select t.customer_id, t.id, t.kind = 'reverse' as taken_back from loyalty_transactions t
      where t.kind in ('transfer_in', 'return') or t.kind = 'reverse' and t.points < 0
    ), spans as materialized (
      select a.programme_id as programme, e.lot_id is null as owed, l.expires_at is null as never,
        width_bucket(greatest(e.at, l.earned_at), b.list) as starts, least(width_bucket(l.active_at, b.list), width_bucket(l.expires_at, b.list)) as activates,
        coalesce(width_bucket(l.expires_at, b.list), b.marks) as expires,
        sum(e.points) as points,
        coalesce(sum(e.points) filter (where case when e.points > 0 then r.id is null else r.taken_back end), 0) as issued,
        coalesce(sum(e.points) filter (where case when l.earned_at < l.expires_at then e.at < l.expires_at else e.points > 0 end), 0) as unused
      from bounds b cross join loyalty_entries e
      join loyalty_accounts a on a.customer_id = e.customer_id
      left join lots l on l.customer_id = e.customer_id and l.id = e.lot_id
      left join recomputed r on r.customer_id = e.customer_id and r.id = e.transaction_id
      where ${ofOne ? sql`a.programme_id = ${param('programmeId')}::uuid` : sql`true`}
      group by 1, 2, 3, 4, 5, 6
    )
    select s.programme, c.mark, sum(c.active) as active, sum(c.pending) as pending, sum(c.debt) as debt, sum(c.never) as never,
      sum(c.issued) as issued, sum(c.expired) as expired
    from spans s cross join bounds b cross join lateral (
      select starts, 0, 0, -points, 0, 0, 0 where owed
      union all select starts, 0, points, 0, case when never then points else 0 end, 0, 0 where starts < activates
      union all select activates, 0, -points, 0, case when never then -points else 0 end, 0, 0 where starts < activates
      union all select greatest(starts, activates), points, 0, 0, case when never then points else 0 end, 0, 0
        where not owed and greatest(starts, activates) < expires
      union all select expires, -points, 0, 0, 0, 0, 0 where not owed and greatest(starts, activates) < expires
      union all select greatest(starts, expires), 0, 0, 0, 0, issued, unused where not owed
    ) c (mark, active, pending, debt, never, issued, expired)
    where c.mark < b.marks
    group by 1, 2 order by 2`;
}

export interface Outstanding {
  /** By programme: `key` is its id. */
  parts: Omit<LiabilityPart, 'pointValue'>[];
  matured: { issued: bigint; expired: bigint };
}

/** The points at each of these instants (ascending, each once), one statement. */
export async function outstandingAt(db: Db, programmeId: string | null, marks: string[]): Promise<Outstanding[]> {
  const ofOne = programmeId !== null;
  const rows = await db.all(
    shaped<Change>('liability_changes', { ofOne }, () => changesSql(ofOne)),
    { marks, programmeId },
  );
  let next = 0;
  const running = new Map<string, Omit<LiabilityPart, 'pointValue'>>();
  const matured = { issued: 0n, expired: 0n };
  return marks.map((_, mark) => {
    for (let row = rows[next]; row?.mark === mark; row = rows[next]) {
      next += 1;
      const key = row.programme;
      const before = running.get(key) ?? { active: 0n, pending: 0n, debt: 0n, neverExpiring: 0n };
      running.set(key, {
        key,
        active: before.active + BigInt(row.active),
        pending: before.pending + BigInt(row.pending),
        debt: before.debt + BigInt(row.debt),
        neverExpiring: before.neverExpiring + BigInt(row.never),
      });
      matured.issued += BigInt(row.issued);
      matured.expired += BigInt(row.expired);
    }
    return { parts: [...running.values()], matured: { ...matured } };
  });
}

/**
 * Lots that are pending or active at the instant. Where all of them are read they are set apart: the planner would look
 * each one up for its postings, which takes ten times as long.
 */
const lotsThen = sql`l.earned_at <= ${at} and (l.expires_at is null or l.expires_at > ${at})`;
const allLotsThen = (more: SQL = sql``) => sql`lots as materialized (
    select l.customer_id, l.id, l.active_at, l.expires_at from loyalty_lots l where ${lotsThen} ${more})`;

/** Of the posting `e` with its lot `l`, if that is one of these lots. */
const postedThen = sql`e.at <= ${at} and (e.lot_id is null or l.id is not null)`;
const sums = sql`coalesce(sum(e.points) filter (where l.active_at <= ${at}), 0) as active,
      coalesce(sum(e.points) filter (where l.active_at > ${at}), 0) as pending,
      coalesce(-sum(e.points) filter (where e.lot_id is null), 0) as debt`;

const ofProgramme = (ofOne: boolean) => (ofOne ? sql`a.programme_id = ${param('programmeId')}::uuid` : sql`true`);

interface GroupRow {
  key: string;
  programme: string;
  active: string;
  pending: string;
  debt: string;
  never: string;
}

/** The points at the instant, by group and programme; groups without points and debts are not there. */
export async function outstandingGroups(
  db: Db,
  question: LiabilityQuestion & { groupBy: LiabilityGroup },
): Promise<(Omit<LiabilityPart, 'pointValue'> & { programmeId: string })[]> {
  const { groupBy, programmeId } = question;
  const ofOne = programmeId !== null;
  const query = shaped<GroupRow>('liability_groups', { groupBy, ofOne }, () => {
    const held = groupBy === 'tier' ? sql`${tierThen}` : sql`null::text`;
    return sql`with ${unsettled}, ${allLotsThen()}, held as materialized (
        select a.customer_id, a.programme_id, ${held} as tier from loyalty_accounts a where ${ofProgramme(ofOne)})
      select ${groupKeys[groupBy]} as key, a.programme_id as programme, ${sums},
        coalesce(sum(e.points) filter (where e.lot_id is not null and l.expires_at is null), 0) as never
      from loyalty_entries e join held a on a.customer_id = e.customer_id
      left join lots l on l.customer_id = e.customer_id and l.id = e.lot_id
      where ${postedThen} ${groupBy === 'expiry_month' ? sql`and e.lot_id is not null` : sql``} group by 1, 2`;
  });
  const rows = await db.all(query, valuesOf(question));
  return rows
    .map(({ key, programme, active, pending, debt, never }) => ({
      key,
      programmeId: programme,
      active: BigInt(active),
      pending: BigInt(pending),
      debt: BigInt(debt),
      neverExpiring: BigInt(never),
    }))
    .filter(({ active, pending, debt }) => active + pending + debt !== 0n);
}

function valuesOf({ at: instant, timeZone, programmeId, tiers }: LiabilityQuestion): Values {
  return { at: instant, ...zoneValues(timeZone), programmeId, tiers: JSON.stringify(tiers) };
}

export interface LiabilityMemberRow {
  id: string;
  programmeId: string;
  tier: string | null;
  active: number;
  pending: number;
  debt: number;
}

export interface MemberSelection {
  /** Only this group of `groupBy`. */
  group: string | null;
  sort: 'points' | 'id';
  descending: boolean;
  after: { points: number; id: string } | null;
}

/**
 * Members `a` with their points `p` outstanding at the instant (in the group): of all of them in one pass over the
 * postings, or of each until a page is full. `before` begins the statement.
 */
function membersSql(
  reach: 'all' | 'each',
  question: LiabilityQuestion,
  group: string | null,
): { before: SQL; from: SQL } {
  const { groupBy, programmeId } = question;
  const conditions = [sql`p.active + p.pending > 0`, ofProgramme(programmeId !== null)];
  if (group !== null && groupBy === 'tier') conditions.push(sql`coalesce(${tierThen}, '') = ${param('group')}::text`);
  if (group !== null && groupBy === 'programme') conditions.push(sql`a.programme_id::text = ${param('group')}::text`);
  const ofMonth =
    group !== null && groupBy === 'expiry_month' ? sql`and ${groupKeys.expiry_month} = ${param('group')}::text` : sql``;
  const where = sql.join(conditions, sql` and `);
  const posted = (lots: SQL) =>
    sql`from loyalty_entries e left join ${lots} on l.customer_id = e.customer_id and l.id = e.lot_id`;
  if (reach === 'each') {
    return {
      before: unsettled,
      from: sql`loyalty_accounts a cross join lateral (
          select ${sums} ${posted(sql`loyalty_lots l`)} and ${lotsThen} ${ofMonth} where e.customer_id = a.customer_id and ${postedThen}
        ) p where ${where}`,
    };
  }
  return {
    before: sql`${unsettled}, ${allLotsThen(ofMonth)}, points as materialized (select e.customer_id, ${sums} ${posted(sql`lots l`)} where ${postedThen} group by 1)`,
    from: sql`points p join loyalty_accounts a on a.customer_id = p.customer_id where ${where}`,
  };
}

/** One more than `limit` where there are more. */
export function liabilityMembers(
  db: Db,
  question: LiabilityQuestion,
  { group, sort, descending, after }: MemberSelection,
  limit: number,
): Promise<LiabilityMemberRow[]> {
  const { groupBy, programmeId } = question;
  const shape = {
    groupBy,
    group: group !== null,
    ofOne: programmeId !== null,
    sort,
    descending,
    after: after !== null,
  };
  const query = shaped<LiabilityMemberRow>('liability_members', shape, () => {
    const direction = sql.raw(descending ? 'desc' : 'asc');
    const compare = sql.raw(descending ? '<' : '>');
    const keys = sort === 'points' ? sql`p.active + p.pending, a.customer_id` : sql`a.customer_id`;
    const edge = sort === 'points' ? sql`${param('points')}::bigint, ${param('id')}::uuid` : sql`${param('id')}::uuid`;
    const order =
      sort === 'points'
        ? sql`p.active + p.pending ${direction}, a.customer_id ${direction}`
        : sql`a.customer_id ${direction}`;
    const beyond = after ? sql`and (${keys}) ${compare} (${edge})` : sql``;
    const { before, from } = membersSql(sort === 'id' ? 'each' : 'all', question, group);
    return sql`with ${before}, members as materialized (
        select a.customer_id, a.programme_id, p.active::bigint as active, p.pending::bigint as pending, p.debt::bigint as debt
        from ${from} ${beyond} order by ${order} limit ${param('limit')}::int)
      select a.customer_id as id, a.programme_id as "programmeId", ${tierThen} as tier, a.active, a.pending, a.debt
      from members a order by ${sort === 'points' ? sql`a.active + a.pending ${direction},` : sql``} a.customer_id ${direction}`;
  });
  return db.all(query, {
    ...valuesOf(question),
    group,
    points: after?.points ?? null,
    id: after?.id ?? null,
    limit: limit + 1,
  });
}

export async function countLiabilityMembers(
  db: Db,
  question: LiabilityQuestion,
  group: string | null,
): Promise<number> {
  const { groupBy, programmeId } = question;
  const shape = { groupBy, group: group !== null, ofOne: programmeId !== null };
  const query = shaped<{ total: number }>('count_liability_members', shape, () => {
    const { before, from } = membersSql('all', question, group);
    return sql`with ${before} select count(*) as total from ${from}`;
  });
  return (await db.first(query, { ...valuesOf(question), group }))?.total ?? 0;
}
