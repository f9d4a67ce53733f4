import { type SQL, sql } from 'drizzle-orm';
import { asGroup, type Notice } from '../../domain/metric-result.ts';
import { auditEntry } from '../../platform/audit.ts';
import { type Db, statement, transaction } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import { type Context, personalScope } from '../../platform/operation.ts';
import {
  conditionOf,
  isAsOfNow,
  namesLaterLists,
  personalIn,
  type Question,
  readQuestion,
  requireReadable,
} from '../../records/condition-query.ts';
import { momentOf } from '../../records/condition-sql.ts';
import { isSomebody } from '../../records/nobody.ts';
import { type Dimension, dimensionNamed } from './group-keys.ts';
import type { DimensionInput, MetricAnswer } from './model.ts';
import { ofCustomers, type Population, partsOf } from './population.ts';
import { type CommonInput, earlier, invalidParameter, refuseParameters, resolveScope } from './scope.ts';

/*
 * `segment` and `groupBy` of every metric. The metric is run over the customers of the segment, and once more for each group, on one
 * snapshot; population.ts makes one statement of what the runs of all groups ask.
 */

/** The period that a question is about; `start` is null: all time. */
interface Window {
  start: string | null;
  end: string;
}

type Asked = CommonInput & DimensionInput & { customerId?: string | undefined };

interface About<I> {
  name: string;
  /** When the period begins and ends. Default: `from` and `to`. */
  window?: (context: Context, input: I) => Window;
  /** Whether it is of orders, which can be grouped as well. Default: it is. */
  orders?: boolean;
}

/** The most groups; what is left is one more. */
const mostGroups = 100;
const other = 'other';
/** The key of who, or what, has no value: it always has a group of its own, behind the others. */
const noValue = '';

/** The run of a metric that takes the dimensions, from its run over everybody. */
export function dimensional<I extends Asked>(
  { name, window = periodOf, orders = true }: About<I>,
  run: (context: Context, input: I) => Promise<MetricAnswer>,
): (context: Context, input: I) => Promise<MetricAnswer> {
  return async (context, input) => {
    const { segment, groupBy } = input;
    if (groupBy !== 'segment') refuseParameters(input, ['segments'], 'groupBy=segment');
    if (segment === undefined && groupBy === undefined) {
      refuseParameters(input, ['segmentAt'], 'segment or groupBy');
      return run(context, input);
    }
    refuseParameters(input, ['customerId'], 'neither segment nor groupBy');
    const moment = memberMoment(context, input, window(context, input));
    const members = segment === undefined ? null : await segmentNamed(context, segment, 'segment');
    const dimension = groupBy === undefined ? null : await dimensionOf(context, input, orders);
    noteAudit(context, name, [...(members?.personal ?? []), ...(dimension?.personal ?? [])]);
    const over = async (db: Db): Promise<MetricAnswer> => {
      const within = members && (await conditionAt(db, context, members.question, moment.at));
      const whole = within ? partsOf(db, everybodyOf(within))(1) : db;
      const answer = await run({ ...context, db: whole }, input);
      const grouped = dimension && (await groupsOf(db, context, dimension, { within, moment, end: answerEnd(answer) }));
      const groups = grouped
        ? await runGroups(context, { ...input, someOrders: dimension?.of === 'orders' }, run, {
            db,
            whole,
            grouped,
          })
        : answer.groups;
      return {
        ...answer,
        groups,
        warnings: [...answer.warnings, ...notices(context, moment, members, dimension, grouped)],
      };
    };
    // Of one state, the groups add up to the whole.
    return dimension ? transaction(context.pool, over, { snapshot: true }) : over(context.db);
  };
}

function periodOf(context: Context, input: Asked): Window {
  const { from, end } = resolveScope(context, input);
  return { start: from, end };
}

function answerEnd({ period, asOf }: MetricAnswer): string {
  return earlier(period.to, asOf);
}

interface MemberMoment {
  /** As of when customers are in a segment or group. */
  at: string;
  /** Whether that is the end of the period. */
  isEnd: boolean;
  end: string;
}

function memberMoment({ now }: Context, { segmentAt = 'start' }: DimensionInput, { start, end }: Window): MemberMoment {
  const isEnd = segmentAt === 'end' || start === null;
  const at = isEnd ? end : earlier(start, end);
  return { at: earlier(at, now), isEnd, end: earlier(end, now) };
}

interface Members {
  question: Question;
  personal: string[];
}

/** @throws Problem naming the parameter: there is no such segment, or the caller may not use it */
async function segmentNamed(context: Context, id: string, parameter: string): Promise<Members> {
  try {
    const question = await readQuestion(context.db, { segment: id }, '');
    requireReadable(context, question);
    return { question, personal: [...personalIn(question).keys()] };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const { code, message, extra, headers, errors } = error;
    const named = errors.map(({ code: fault, message: text }) => ({ parameter, code: fault, message: text }));
    throw new Problem(code, message.replace(/^\/segment: /, `${parameter}: `), { extra, headers, errors: named });
  }
}

const customers = sql`customers`;

async function conditionAt(db: Db, context: Context, question: Question, asOf: string): Promise<SQL> {
  const { now, reportingTimeZone } = context;
  const condition = await conditionOf(db, question, { row: customers, asOf, now, reportingTimeZone });
  return sql`${isSomebody(sql`customers.id`)} and ${condition}`;
}

/** The customers for whom a condition holds, as the one part. */
function everybodyOf(condition: SQL): Population {
  return {
    parts: sql`select 1 as part, ${idsOf(condition)} as ids`,
    holds: (_table, row, part) => ofCustomers(row, part),
  };
}

/** As a hashed list, like those of parts: an array would be looked through for every row. */
const isAmong = (customerId: SQL, condition: SQL) =>
  sql`(${customerId} in (select unnest(${idsOf(condition)}))) is true`;

const idsOf = (condition: SQL) => sql`array(select customers.id from customers where ${condition})`;

/** A dimension, with what its parameters say. */
type Grouping = { personal: string[]; past: boolean; several: boolean } & (
  | { of: 'segments'; segments: readonly (Members & { id: string })[] }
  | { of: 'customers' | 'orders'; dimension: Dimension }
);

/** @throws Problem naming the parameter */
async function dimensionOf(context: Context, input: DimensionInput, orders: boolean): Promise<Grouping> {
  const { groupBy = '', segments } = input;
  if (groupBy === 'segment') {
    if (!segments) throw invalidParameter('segments', 'required', 'needed with groupBy=segment');
    const found: (Members & { id: string })[] = [];
    for (const id of new Set(segments)) found.push({ id, ...(await segmentNamed(context, id, 'segments')) });
    return {
      of: 'segments',
      segments: found,
      personal: found.flatMap(({ personal }) => personal),
      past: true,
      several: found.length > 1,
    };
  }
  const dimension = dimensionNamed(groupBy);
  if (!dimension || (dimension.of === 'orders' && !orders)) {
    throw invalidParameter('groupBy', 'unknown_dimension', 'there is nothing of this name to group by');
  }
  const { personal, scope, past, several } = dimension;
  if (personal && !context.personalData) throw needsScope(personalScope);
  if (!context.principal.has(scope)) throw needsScope(scope);
  return { of: dimension.of, dimension, personal: personal ? [nameOf(groupBy)] : [], past, several };
}

/** What a client calls its attributes is not told to the audit. */
function nameOf(groupBy: string): string {
  return groupBy.replace(/(^|\.)attributes\..*$/, '$1attributes');
}

function needsScope(scope: string): Problem {
  const message = `groupBy: this needs the scope ${scope}, which your token does not have.`;
  return new Problem('insufficient_scope', message, {
    extra: { scope },
    errors: [{ parameter: 'groupBy', code: 'insufficient_scope', message }],
    headers: { 'WWW-Authenticate': `Bearer realm="rapport", error="insufficient_scope", scope="${scope}"` },
  });
}

/** What depends on personal data leaves a trace, as searches do. */
function noteAudit(context: Context, name: string, members: readonly string[]): void {
  if (members.length === 0) return;
  context.audit.admit();
  context.audit.seen(
    auditEntry(context, { name, scope: 'metrics:read' }, { kind: 'read', members: [...new Set(members)] }),
  );
}

interface Grouped {
  groups: readonly { key: string; part: number }[];
  population: Population;
  /** How many groups are in the last one together. */
  rest: number;
}

interface Found {
  key: string;
  n: number;
  /** How many keys there are in all. */
  total: number;
}

/** The groups, the largest first, and whose facts are in each. */
async function groupsOf(
  db: Db,
  context: Context,
  grouping: Grouping,
  { within, moment, end }: { within: SQL | null; moment: MemberMoment; end: string },
): Promise<Grouped> {
  if (grouping.of === 'orders') return groupsOfOrders(db, grouping.dimension, within, end);
  const { keys, named, always } = await keysOfCustomers(db, context, grouping, moment);
  const own = within ? sql`(select k.* from (${keys}) k where ${isAmong(sql`k.customer_id`, within)})` : sql`(${keys})`;
  const counted = statement<Found>(
    'metric_groups',
    sql`select key, n, count(*) over () as total from (select k.key, count(*) as n from ${own} k group by 1) f
      order by (key = any(${sql.param([...always, noValue])}::text[])) desc, n desc, key limit ${String(mostGroups)}::int`,
    { unprepared: true },
  );
  const found = await db.all(counted);
  const listed = [...found, ...always.filter((key) => !found.some((one) => one.key === key)).map((key) => ({ key }))];
  return grouped(
    found,
    listed.map(({ key }) => key),
    named,
    (raw, numbers, rest) => ({
      parts: sql`select n.part, coalesce(d.ids, '{}') as ids from unnest(${sql.param([...new Set([...numbers, rest])])}::int[]) n(part) left join (
        select part, array_agg(${grouping.several ? sql`distinct ` : sql``}customer_id) as ids from (
          select coalesce(m.part, ${String(rest)}::int) as part, k.customer_id from ${own} k
            left join unnest(${sql.param(raw)}::text[], ${sql.param(numbers)}::int[]) m(key, part) on m.key = k.key) e group by 1
      ) d using (part)`,
      holds: (_table, row, part) => ofCustomers(row, part),
    }),
  );
}

async function keysOfCustomers(
  db: Db,
  context: Context,
  grouping: Exclude<Grouping, { of: 'orders' }>,
  { at, end }: MemberMoment,
): Promise<{ keys: SQL; named: (key: string) => string; always: string[] }> {
  if (grouping.of === 'segments') {
    const conditions = await Promise.all(
      grouping.segments.map(({ question }) => conditionAt(db, context, question, at)),
    );
    const members = conditions.map(
      (condition, index) =>
        sql`select customers.id as customer_id, ${grouping.segments[index]?.id ?? ''}::text as key from customers where ${condition}`,
    );
    const none = sql`select customers.id, ${noValue}::text from customers where (${sql.join(conditions, sql` or `)}) is not true`;
    return {
      keys: sql.join([...members, none], sql` union all `),
      named: (key) => key,
      always: grouping.segments.map(({ id }) => id),
    };
  }
  const { dimension } = grouping;
  if (dimension.of !== 'customers') throw new TypeError('It is of orders');
  const { now, reportingTimeZone } = context;
  const moment = momentOf(dimension.at === 'end' ? end : at, { now, reportingTimeZone });
  return { keys: await dimension.keys(db, moment), named: dimension.named, always: [] };
}

async function groupsOfOrders(db: Db, dimension: Dimension, within: SQL | null, end: string): Promise<Grouped> {
  if (dimension.of !== 'orders') throw new TypeError('It is of customers');
  const { keys, only, ofReturns } = dimension;
  const counted = statement<Found>(
    'metric_groups_of_orders',
    sql`select key, n, count(*) over () as total from (
        select k.key, count(*) as n from orders fact, lateral (${keys(sql`fact`)}) k
          where fact.placed_at < ${end}::timestamptz ${within ? sql`and ${isAmong(sql`fact.customer_id`, within)}` : sql``} group by 1) f
      order by (key = ${noValue}::text) desc, n desc, key limit ${String(mostGroups)}::int`,
    { unprepared: true },
  );
  const found = await db.all(counted);
  return grouped(
    found,
    found.map(({ key }) => key),
    (key) => key,
    (raw, numbers, rest) => {
      const isOf = (key: SQL, part: SQL) =>
        sql`case when ${part}.part = ${String(rest)}::int then ${key} <> all(${sql.param(raw)}::text[]) else ${key} = any(${part}.keys) end`;
      const isIn = (part: SQL, of: SQL) => sql`exists (select from (${of}) k where ${isOf(sql`k.key`, part)})`;
      return {
        parts: sql`select n.part, array_remove(array_agg(m.key), null) as keys ${within ? sql`, ${idsOf(within)} as ids` : sql``}
        from unnest(${sql.param([...new Set([...numbers, rest])])}::int[]) n(part)
          left join unnest(${sql.param(raw)}::text[], ${sql.param(numbers)}::int[]) m(key, part) using (part) group by n.part`,
        holds(table, row, part) {
          const of = table === 'orders' ? keys(row) : table === 'returns' ? ofReturns?.(row) : undefined;
          if (!of) return sql`false`;
          const belongs = only ? isOf(only(row), part) : isIn(part, of);
          return within ? sql`${ofCustomers(row, part)} and ${belongs}` : belongs;
        },
      };
    },
  );
}

/** Gives the keys their groups: those of one name are one, and what goes beyond the most is one. */
function grouped(
  found: readonly Found[],
  listed: readonly string[],
  named: (key: string) => string,
  population: (raw: string[], numbers: number[], rest: number) => Population,
): Grouped {
  const total = found[0]?.total ?? 0;
  const left = total - found.length;
  // A key that is called as the rest is a part of it.
  const raw = listed.filter((key) => key !== noValue && (left === 0 || key !== other));
  if (listed.includes(noValue)) raw.push(noValue);
  const names = [...new Set(raw.map(named))];
  const rest = names.length + 1;
  const groups = names.map((key, index) => ({ key, part: index + 1 }));
  return {
    groups: left > 0 ? [...groups, { key: other, part: rest }] : groups,
    population: population(
      raw,
      raw.map((key) => names.indexOf(named(key)) + 1),
      rest,
    ),
    rest: left > 0 ? left + listed.length - raw.length : 0,
  };
}

async function runGroups<I extends Asked>(
  context: Context,
  input: I,
  run: (context: Context, input: I) => Promise<MetricAnswer>,
  { db, whole, grouped: { groups, population } }: { db: Db; whole: Db; grouped: Grouped },
): Promise<MetricAnswer['groups']> {
  const facts = partsOf(db, population, whole);
  return Promise.all(
    groups.map(async ({ key, part }) => {
      const answer = await run({ ...context, db: facts(part) }, input);
      return { ...asGroup(key, answer), series: answer.series };
    }),
  );
}

function notices(
  { now }: Context,
  { at, isEnd }: MemberMoment,
  members: Members | null,
  grouping: Grouping | null,
  found: Grouped | null,
): Notice[] {
  const list: Notice[] = [];
  const questions = [...(members ? [members] : []), ...(grouping?.of === 'segments' ? grouping.segments : [])];
  const byField = grouping?.of === 'customers' ? grouping.dimension : null;
  const profile = byField !== null && !byField.past && at !== now;
  if (profile || questions.some(({ question }) => isAsOfNow(question, at, now))) list.push(asOfNow);
  if (questions.some(({ question }) => namesLaterLists(question, at))) list.push(laterList);
  if (isEnd && (questions.length > 0 || (byField?.of === 'customers' && byField.past && byField.at === 'start'))) {
    list.push(asOfEnd);
  }
  if (grouping?.several) list.push(overlapping);
  if (grouping?.of === 'orders') list.push(ordersOnly);
  if (found && found.rest > 0) {
    const message = `The ${found.groups.length - 1} largest groups are returned; the other ${found.rest} are together in \`${other}\`.`;
    list.push({ code: 'groups_in_other', message });
  }
  return list;
}

const asOfNow: Notice = {
  code: 'profile_as_of_now',
  message: 'Profiles have no past: who is in a segment or group follows in part from what is known of customers now.',
};
const laterList: Notice = {
  code: 'list_made_later',
  message: 'A list has no members before it was made: send a later from, or segmentAt=end.',
};
const asOfEnd: Notice = {
  code: 'members_as_of_end',
  message:
    'Customers are in a segment or group as of the end of the period: some are there because of what they did in it. Send from, and no segmentAt, to take those who were in it before.',
};
const overlapping: Notice = {
  code: 'groups_overlap',
  message: 'A customer can be in several groups: they do not add up to the whole.',
};
const ordersOnly: Notice = {
  code: 'groups_of_orders',
  message:
    'The groups are of orders: each is answered as if there were no others, also about who is new or returning. Returns that name no order are in a group only with groupBy=currency.',
};
