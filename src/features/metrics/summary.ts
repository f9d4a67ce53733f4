import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { exactInteger, ratio, safeNumber } from '../../domain/money.ts';
import { localDateOf } from '../../domain/preceding-period.ts';
import { param, statement } from '../../platform/db/client.ts';
import { notFound } from '../../platform/errors.ts';
import { type Context, readOperation } from '../../platform/operation.ts';
import { personal } from '../../platform/personal.ts';
import { amount, currency, id, instant, smallInteger } from '../../platform/values.ts';
import { targetParameters } from '../../records/references/record.ts';
import { getCustomer } from '../customers/operations.ts';
import { customersByIds } from '../customers/queries.ts';
import { type Customer, customerRecord } from '../customers/record.ts';
import { type Direction, direction, type InteractionKind, interactionKind, isTouch } from '../interactions/record.ts';
import { progressOfCustomers } from '../loyalty/queries.ts';
import { customerLoyalty, tierProgress } from '../loyalty/record.ts';
import { orderStatus } from '../orders/record.ts';
import { answerBand, bandName } from '../survey-responses/record.ts';
import { localTime, zoneValues } from './source.ts';
import type { ScoreType } from './survey-score-queries.ts';

/** The single view: who a customer is, and what the facts say about them now. */

const count = z.int().min(0);
const sum = z.int().nullable().meta({ description: 'Minor units; null beyond 2^53 − 1.' });
const average = z.number().nullable().meta({ description: 'Minor units, unrounded; null without orders.' });
const days = z.number().nullable();

const currencySummary = z
  .strictObject({
    currency,
    orders: count.meta({ description: 'Qualifying orders.' }),
    revenue: sum.meta({
      description: 'Σ total − tax − refunds (without their tax) of these orders, minor units; null beyond 2^53 − 1.',
    }),
    returned: sum.meta({ description: 'Σ returns without an order, minor units; null beyond 2^53 − 1.' }),
    averageOrderValue: average,
    firstOrderAt: instant.nullable(),
    lastOrderAt: instant.nullable(),
  })
  .meta({ id: 'CustomerCurrencySummary' });

const baseSummary = z
  .strictObject({
    currency,
    orders: count.meta({ description: 'Qualifying orders with a value in the base currency.' }),
    withoutRate: count.meta({ description: 'Qualifying orders and returns that have none yet.' }),
    revenue: sum,
    returned: sum,
    averageOrderValue: average,
    lifetimeValue: sum.meta({ description: 'Historic: revenue less returns, minor units; null without orders.' }),
  })
  .meta({ id: 'CustomerBaseSummary', description: 'In the base currency.' });

const latestOrder = z
  .strictObject({ id, placedAt: instant, currency, total: amount, status: orderStatus })
  .meta({ id: 'LatestOrder' });

const kindCount = z.strictObject({ kind: interactionKind, count }).meta({ id: 'InteractionKindCount' });

const touches = z
  .strictObject({
    total: count,
    byKind: z.array(kindCount).meta({ description: 'Most frequent first.' }),
    inbound: count.meta({ description: 'From the customer.' }),
    outbound: count.meta({ description: 'From us.' }),
    firstAt: instant.nullable(),
    lastAt: instant.nullable(),
    seconds: z.int().nullable().meta({ description: 'Σ durations; null where none is known.' }),
    cost: z.int().nullable().meta({
      description: 'Σ cost to serve, minor units of the base currency; null where none is known.',
    }),
  })
  .meta({ id: 'CustomerTouches', description: 'Interactions up to `asOf`, without `automatic` ones.' });

const latestTouch = z
  .strictObject({
    id,
    kind: interactionKind,
    channel: z.string().nullable(),
    direction: direction.nullable(),
    topic: personal(z.string()),
    occurredAt: instant,
    staff: z.string().nullable(),
  })
  .meta({ id: 'LatestTouch', description: 'The last interaction before `asOf` that is not `automatic`.' });

const latestScore = z
  .strictObject({
    score: smallInteger.meta({ description: 'On the scale of the question.', example: 9 }),
    band: answerBand,
    answeredAt: instant,
    surveyId: id,
    responseId: id,
  })
  .meta({ id: 'LatestScore' });

const latestScores = z
  .strictObject({ nps: latestScore.nullable(), csat: latestScore.nullable(), ces: latestScore.nullable() })
  .meta({
    id: 'LatestScores',
    description: 'The last answer of each kind before `asOf` that the metrics count, in any survey; null: none.',
  });

const standing = customerLoyalty
  .pick({
    programmeId: true,
    joinedAt: true,
    tier: true,
    tierSince: true,
    tierEndsAt: true,
    tierInGrace: true,
    active: true,
    pending: true,
    debt: true,
  })
  .extend({ progress: tierProgress.nullable().meta({ description: 'null: the programme has no tiers.' }) })
  .meta({
    id: 'CustomerLoyaltySummary',
    description: 'Points and tier in the loyalty programme at `asOf`, and the way to the next tier.',
  });

const purchaseFigures = {
  orders: count.meta({ description: 'Qualifying orders in all currencies.' }),
  purchaseDays: count.meta({ description: 'Distinct days with a qualifying order, in the reporting zone.' }),
  meanGapDays: days.meta({ description: 'Mean days between consecutive purchase days; null with fewer than two.' }),
  daysSinceLastOrder: smallInteger.nullable().meta({ description: 'Calendar days in the reporting zone.' }),
  isReturning: z.boolean().meta({ description: 'At least two qualifying orders.' }),
  isSilent: z
    .boolean()
    .nullable()
    .meta({ description: 'No order for 90 days (churn, variant `silence`); null without orders.' }),
  isOverdue: z
    .boolean()
    .nullable()
    .meta({ description: 'No order for twice their own mean gap (churn, variant `gap`); null without a gap.' }),
  perCurrency: z.array(currencySummary),
  base: baseSummary,
};

const companySummary = z
  .strictObject({
    people: count.meta({ description: 'Customers whose `companyId` is the company.' }),
    ...purchaseFigures,
    touches,
  })
  .meta({ id: 'CompanySummary', description: 'The figures of a company and its people, taken together.' });

export const customerSummary = z
  .strictObject({
    customer: customerRecord.output,
    asOf: instant,
    ...purchaseFigures,
    lastOrders: z.array(latestOrder).meta({ description: 'The five latest, whatever their status.' }),
    touches,
    latestTouch: latestTouch.nullable().meta({ description: 'null: none, or no scope `interactions:read`.' }),
    latestScores: latestScores.meta({ description: 'All null without the scope `survey-responses:read`.' }),
    withPeople: companySummary.nullable().meta({
      description:
        'Of a company: its own figures and those of its people together; the figures beside it are its own alone. null: a person, or a partner or customer token.',
    }),
    loyalty: standing.nullable().meta({ description: 'null: not a member, or no scope `loyalty:read`.' }),
  })
  .meta({ id: 'CustomerSummary', description: 'The single view of a customer.' });
export type CustomerSummary = z.output<typeof customerSummary>;

interface CurrencyRow {
  customerId: string;
  currency: string;
  orders: number;
  revenue: string;
  baseOrders: number;
  baseRevenue: string;
  returns: number;
  returned: string;
  baseReturns: number;
  baseReturned: string;
  firstOrderAt: string | null;
  lastOrderAt: string | null;
}

const ids = sql`any(${param('ids')}::uuid[])`;

const companyIds = sql`any(${param('companies')}::uuid[])`;

/**
 * The facts that make summaries, each with its `owner`: the customer's own, and once more (`together`) for a company those of the
 * company and its people.
 */
function factsOf(table: 'orders' | 'returns' | 'interactions') {
  const facts = sql.raw(table);
  return sql`(select f.*, f.customer_id as owner, false as together from ${facts} f where f.customer_id = ${ids}
    union all select f.*, m.owner, true from (
        select c.id as owner, c.id as customer_id from customers c where c.id = ${companyIds}
        union all select c.company_id, c.id from customers c where c.company_id = ${companyIds}) m
      join ${facts} f on f.customer_id = m.customer_id) facts`;
}

/** Whose figures a row has. */
interface Whose {
  customerId: string;
  together: boolean;
}

const byCurrency = statement<CurrencyRow & Whose>(
  'summary_currencies',
  sql`with bought as (
      select owner, together, currency, count(*) as orders, sum(revenue) as revenue, count(base_revenue) as base_orders, coalesce(sum(base_revenue), 0) as base_revenue,
        min(placed_at) as first_at, max(placed_at) as last_at
      from ${factsOf('orders')} where qualifying and placed_at < ${param('asOf')}::timestamptz group by owner, together, currency
    ), brought as (
      select owner, together, currency, count(*) as returns, sum(net) as returned, count(base_net) as base_returns, coalesce(sum(base_net), 0) as base_returned
      from ${factsOf('returns')} where returned_at < ${param('asOf')}::timestamptz group by owner, together, currency
    )
    select owner as "customerId", together, currency, coalesce(orders, 0) as orders, coalesce(revenue, 0) as revenue, coalesce(base_orders, 0) as "baseOrders",
      coalesce(base_revenue, 0) as "baseRevenue", coalesce(returns, 0) as returns, coalesce(returned, 0) as returned,
      coalesce(base_returns, 0) as "baseReturns", coalesce(base_returned, 0) as "baseReturned", first_at as "firstOrderAt", last_at as "lastOrderAt"
    from bought full join brought using (owner, together, currency) order by currency`,
);

interface Purchases {
  days: number;
  first: string | null;
  last: string | null;
}

const purchaseDays = statement<Purchases & Whose>(
  'summary_days',
  sql`select owner as "customerId", together, count(distinct day) as days, min(day) as first, max(day) as last
    from (
      select owner, together, ${localTime(sql`placed_at`)}::date as day
      from ${factsOf('orders')} where qualifying and placed_at < ${param('asOf')}::timestamptz
    ) purchases group by owner, together`,
);

type LatestOrder = CustomerSummary['lastOrders'][number];

const latest = statement<LatestOrder & { customerId: string }>(
  'summary_orders',
  sql`select customer_id as "customerId", id, placed_at as "placedAt", currency, total, status
    from (select *, row_number() over (partition by customer_id order by placed_at desc, id desc) as n from orders where customer_id = ${ids}) ranked
    where n <= 5 order by placed_at desc, id desc`,
);

interface TouchRow {
  kind: InteractionKind;
  direction: Direction | null;
  count: number;
  firstAt: string;
  lastAt: string;
  seconds: string | null;
  cost: string | null;
}

const touchCounts = statement<TouchRow & Whose>(
  'summary_touches',
  sql`select owner as "customerId", together, kind, direction, count(*) as count, min(occurred_at) as "firstAt", max(occurred_at) as "lastAt",
      sum(seconds)::numeric as seconds, sum(cost) as cost
    from ${factsOf('interactions')} where ${isTouch} and occurred_at < ${param('asOf')}::timestamptz group by owner, together, kind, direction`,
);

const peopleOf = statement<{ customerId: string; people: number }>(
  'summary_people',
  sql`select company_id as "customerId", count(*) as people from customers where company_id = ${companyIds} group by company_id`,
);

type LatestTouch = NonNullable<CustomerSummary['latestTouch']>;

const lastTouch = statement<LatestTouch & { customerId: string }>(
  'summary_latest_touch',
  sql`select i.customer_id as "customerId", i.id, i.kind, i.channel, i.direction, i.topic, i.occurred_at as "occurredAt", i.staff
    from (select distinct on (customer_id) customer_id, id from interactions
      where customer_id = ${ids} and ${isTouch} and occurred_at < ${param('asOf')}::timestamptz order by customer_id desc, occurred_at desc, id desc) latest
    join interactions i on i.customer_id = latest.customer_id and i.id = latest.id`,
);

interface ScoreRow {
  type: ScoreType;
  score: number;
  band: number;
  answeredAt: string;
  surveyId: string;
  responseId: string;
}

const lastScores = statement<ScoreRow & { customerId: string }>(
  'summary_scores',
  sql`select distinct on (customer_id, type) customer_id as "customerId", type, score, band, answered_at as "answeredAt",
      survey_id as "surveyId", response_id as "responseId"
    from survey_answers
    where customer_id = ${ids} and type in ('nps', 'csat', 'ces') and is_primary and counted and answered_at < ${param('asOf')}::timestamptz
    order by customer_id, type, answered_at desc, response_id desc`,
);

export const getCustomerSummary = readOperation({
  name: 'getCustomerSummary',
  scope: 'customers:read',
  partners: true,
  selfService: false,
  summary: 'The single view of a customer',
  description:
    'The profile, figures of orders and returns per currency and in the base currency, the last contact, the latest survey scores, and the loyalty account. Of a company, also the figures of the company and its people together.',
  input: z.strictObject(targetParameters),
  output: customerSummary,
  problems: ['not_found'],
  async run(context, { id: customerId, source, externalId }) {
    const record = await getCustomer.run(context, { id: customerId, source, externalId });
    const [summary] = await summariesOf(context, [record]);
    if (!summary) throw notFound('customer');
    return summary;
  },
});

/** For GraphQL: the summaries of a set of customers, as many statements as for one; absent ones as null. */
export const customerSummaries = readOperation({
  name: 'customerSummaries',
  scope: 'customers:read',
  partners: true,
  selfService: false,
  summary: 'The single views of customers',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(customerSummary.nullable()),
  async run(context, { ids: wanted }) {
    const records = await customersByIds(context.db, wanted);
    const summaries = await summariesOf(context, [...records.values()]);
    const byId = new Map(summaries.map((summary) => [summary.customer.id, summary]));
    return wanted.map((customerId) => byId.get(customerId) ?? null);
  },
});

/** Statistics come with the customer; single records of a family only with the scope of their own lists. */
async function summariesOf(context: Context, records: Customer[]): Promise<CustomerSummary[]> {
  const { db, now, principal } = context;
  const wanted = { ids: records.map((record) => record.id) };
  // Who belongs to a company is for partners and customers to see only as far as single records tell it.
  const companies = principal.scopedTo
    ? []
    : records.filter(({ kind }) => kind === 'company').map(({ id: own }) => own);
  const [figures, people, lastOrders, lastTouches, scores, members] = await Promise.all([
    figuresOf(context, { ...wanted, companies }),
    principal.scopedTo ? [] : db.all(peopleOf, { companies }),
    db.all(latest, wanted),
    principal.has('interactions:read') ? db.all(lastTouch, { ...wanted, asOf: now }) : [],
    principal.has('survey-responses:read') ? db.all(lastScores, { ...wanted, asOf: now }) : [],
    principal.has('loyalty:read') ? progressOfCustomers(db, wanted.ids, now) : new Map<string, never>(),
  ]);
  return records.map((record) => {
    const own = <T extends { customerId: string }>(rows: T[]) => rows.filter((row) => row.customerId === record.id);
    const [touch] = own(lastTouches).map(({ customerId: _, ...members }) => members);
    const together = companies.includes(record.id) ? figures(record.id, true) : null;
    return {
      customer: record,
      asOf: now,
      ...figures(record.id, false),
      lastOrders: own(lastOrders).map(({ customerId: _, ...order }) => order),
      latestTouch: touch ?? null,
      latestScores: scoresOf(own(scores)),
      withPeople: together && { people: own(people)[0]?.people ?? 0, ...together },
      loyalty: standingOf(members.get(record.id)),
    };
  });
}

type Figures = Omit<z.output<typeof companySummary>, 'people'>;

/** The figures of customers, and of companies together with their people, by id. */
async function figuresOf(
  { db, now, reportingTimeZone, baseCurrency }: Context,
  wanted: { ids: string[]; companies: string[] },
): Promise<(id: string, together: boolean) => Figures> {
  const values = { ...wanted, asOf: now };
  const [currencies, purchases, counts] = await Promise.all([
    db.all(byCurrency, values),
    db.all(purchaseDays, { ...values, ...zoneValues(reportingTimeZone) }),
    db.all(touchCounts, values),
  ]);
  const today = localDateOf(now, reportingTimeZone);
  return (customerId, together) => {
    const of = <T extends Whose>(rows: T[]) =>
      rows.filter((row) => row.customerId === customerId && row.together === together);
    const days = of(purchases)[0] ?? { days: 0, first: null, last: null };
    return {
      ...summarise({ currencies: of(currencies), purchases: days }, today, baseCurrency),
      touches: touchesOf(of(counts)),
    };
  };
}

type Member = NonNullable<CustomerSummary['loyalty']>;

function standingOf(member: Member | undefined): CustomerSummary['loyalty'] {
  if (!member) return null;
  const { programmeId, joinedAt, tier, tierSince, tierEndsAt, tierInGrace, active, pending, debt, progress } = member;
  return { programmeId, joinedAt, tier, tierSince, tierEndsAt, tierInGrace, active, pending, debt, progress };
}

interface Facts {
  currencies: CurrencyRow[];
  purchases: Purchases;
}

const silenceDays = 90;
const gapFactor = 2;

function summarise({ currencies, purchases }: Facts, today: string, baseCurrency: string): Omit<Figures, 'touches'> {
  const orders = total(currencies, (row) => row.orders);
  const { days: distinctDays, first, last } = purchases;
  const span = first === null || last === null ? 0 : daysFrom(first, last);
  const since = last === null ? null : daysFrom(last, today);
  const gaps = distinctDays - 1;
  return {
    orders,
    purchaseDays: distinctDays,
    meanGapDays: gaps < 1 ? null : span / gaps,
    daysSinceLastOrder: since,
    isReturning: orders >= 2,
    isSilent: since === null ? null : since > silenceDays,
    isOverdue: since === null || gaps < 1 ? null : since * gaps > gapFactor * span,
    perCurrency: currencies.map((row) => ({
      currency: row.currency,
      orders: row.orders,
      revenue: safeNumber(exactInteger(row.revenue)),
      returned: safeNumber(exactInteger(row.returned)),
      averageOrderValue: averageOf(exactInteger(row.revenue), row.orders),
      firstOrderAt: row.firstOrderAt,
      lastOrderAt: row.lastOrderAt,
    })),
    base: inBase(currencies, baseCurrency),
  };
}

function touchesOf(rows: TouchRow[]): CustomerSummary['touches'] {
  const byKind = new Map<InteractionKind, number>();
  for (const row of rows) byKind.set(row.kind, (byKind.get(row.kind) ?? 0) + row.count);
  const inDirection = (wanted: TouchRow['direction']) =>
    rows.reduce((sum, row) => sum + (row.direction === wanted ? row.count : 0), 0);
  const instants = rows.flatMap(({ firstAt, lastAt }) => [firstAt, lastAt]).sort(compareInstants);
  return {
    total: rows.reduce((sum, row) => sum + row.count, 0),
    byKind: [...byKind]
      .map(([kind, n]) => ({ kind, count: n }))
      .sort((a, b) => b.count - a.count || (a.kind < b.kind ? -1 : 1)),
    inbound: inDirection('inbound'),
    outbound: inDirection('outbound'),
    firstAt: instants[0] ?? null,
    lastAt: instants.at(-1) ?? null,
    seconds: knownSum(rows.map(({ seconds }) => seconds)),
    cost: knownSum(rows.map(({ cost }) => cost)),
  };
}

function scoresOf(rows: ScoreRow[]): CustomerSummary['latestScores'] {
  const latestOf = (wanted: ScoreType) => {
    const row = rows.find(({ type }) => type === wanted);
    const band = row && bandName(wanted, row.band);
    if (!row || !band) return null;
    const { score, answeredAt, surveyId, responseId } = row;
    return { score, band, answeredAt, surveyId, responseId };
  };
  return { nps: latestOf('nps'), csat: latestOf('csat'), ces: latestOf('ces') };
}

/** In their canonical spelling, without the Z: more digits of a second are later than fewer. */
function compareInstants(a: string, b: string): number {
  const [left, right] = [a.slice(0, -1), b.slice(0, -1)];
  return left < right ? -1 : left > right ? 1 : 0;
}

function knownSum(parts: (string | null)[]): number | null {
  const known = parts.filter((part) => part !== null);
  return known.length === 0 ? null : safeNumber(known.reduce((sum, part) => sum + exactInteger(part), 0n));
}

function inBase(currencies: CurrencyRow[], currency: string): CustomerSummary['base'] {
  const orders = total(currencies, (row) => row.baseOrders);
  const revenue = currencies.reduce((sum, row) => sum + exactInteger(row.baseRevenue), 0n);
  const returned = currencies.reduce((sum, row) => sum + exactInteger(row.baseReturned), 0n);
  return {
    currency,
    orders,
    withoutRate: total(currencies, (row) => row.orders - row.baseOrders + row.returns - row.baseReturns),
    revenue: safeNumber(revenue),
    returned: safeNumber(returned),
    averageOrderValue: averageOf(revenue, orders),
    lifetimeValue: orders === 0 ? null : safeNumber(revenue - returned),
  };
}

function averageOf(revenue: bigint, orders: number): number | null {
  return orders === 0 ? null : ratio(revenue, BigInt(orders));
}

function total(rows: CurrencyRow[], of: (row: CurrencyRow) => number): number {
  return rows.reduce((sum, row) => sum + of(row), 0);
}

function daysFrom(earlier: string, later: string): number {
  return (Date.parse(`${later}T00:00:00Z`) - Date.parse(`${earlier}T00:00:00Z`)) / 86_400_000;
}
