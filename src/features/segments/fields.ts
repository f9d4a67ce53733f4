import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { daysThatReturn, daysToFirstReturn } from '../../domain/anniversaries.ts';
import {
  type Comparison,
  type ConditionField,
  conditionFields,
  fieldsOf,
  type Moment,
  type OneRow,
  relatedTables,
} from '../../records/condition-fields.ts';
import { externalRefs } from '../../records/references/record.ts';
import { definitionOf } from '../../records/table.ts';
import { allChannels, consentChanges, consents } from '../consents/record.ts';
import { consentPurpose } from '../customers/consent-input.ts';
import { customerIdentities, customers, sharedIdentities } from '../customers/record.ts';
import { channels } from '../customers/words.ts';
import { followUps } from '../follow-ups/record.ts';
import { type RulesInForce, rulesInForce } from '../lead-scores/queries.ts';
import { scoreQuery } from '../lead-scores/score-sql.ts';
import { leadStageChanges, leads } from '../leads/record.ts';
import { loyaltyAccounts, loyaltyTierChanges, loyaltyTransactions } from '../loyalty/record.ts';
import { ordersOf } from '../metrics/source.ts';
import { redemptions } from '../rewards/record.ts';
import { purchasesAreFilled } from '../rollups/fill.ts';
import { figures } from '../rollups/record.ts';
import { surveyInvitations } from '../survey-invitations/record.ts';
import { answerBand, bandNamed, surveyAnswers, surveyResponses } from '../survey-responses/record.ts';

/*
 * What conditions know beside the fields of records: what is worked out of a customer's orders, and the tables of families.
 * Whether it is personal follows from the columns that it is read from.
 */

/** Qualifying orders: the rollup, or the facts where the rollup is not complete yet, or does not know the past. */
const purchases: OneRow = {
  prepare: (db) => purchasesAreFilled(db),
  rows: (moment, filled) => (moment.past || filled !== true ? purchasesFromFacts(moment) : sql`customer_purchases`),
};

function purchasesFromFacts({ past, asOf, timeZone }: Moment): SQL {
  const before = past ? sql`and o.placed_at < ${asOf}::timestamptz` : sql``;
  // As lists of one, so that what is read from the rollup is read from it.
  return sql`(select f.customer_id, array_agg(distinct f.day order by f.day) as days, array[count(*)] as orders,
      array[coalesce(sum(f.base_revenue), 0)] as revenue, count(*) filter (where f.base_revenue is null) as unvalued
    from (select o.customer_id, o.base_revenue, (o.placed_at at time zone ${timeZone}::text)::date as day
      from ${ordersOf({ past, refundsWhenGiven: false }, sql`${asOf}`)} where o.qualifying ${before}) f group by f.customer_id)`;
}

const { orderCount, revenue, purchaseDays, firstDay, lastDay } = figures;
const daysSince = (day: SQL, { today }: Moment) => sql`(${today}::date - ${day})`;
const meanGap = (row: SQL) => sql`((${lastDay(row)} - ${firstDay(row)})::float8 / nullif(${purchaseDays(row)} - 1, 0))`;

type Given = Partial<ConditionField> & Pick<ConditionField, 'type'>;

function derived(given: Given): ConditionField {
  return {
    personal: false,
    scope: 'orders:read',
    cost: 1,
    schema: null,
    from: null,
    value: () => sql`null`,
    ...given,
  };
}

const ofOrders = (says: string, given: Given) => derived({ from: purchases, says, past: true, ...given });

conditionFields({
  orderCount: ofOrders('Qualifying orders.', { type: 'number', value: orderCount, absent: 0 }),
  purchaseDays: ofOrders('Different local days with qualifying orders.', {
    type: 'number',
    value: purchaseDays,
    absent: 0,
  }),
  revenue: ofOrders(
    'Revenue of the qualifying orders, less their refunds, in minor units of the base currency. Orders without a rate have none; returns that name no order are in `lifetimeValue`.',
    { type: 'number', value: revenue, absent: 0 },
  ),
  averageOrderValue: ofOrders('`revenue` per order that has a value in the base currency.', {
    type: 'number',
    value: (row) => sql`${revenue(row)}::float8 / nullif(${orderCount(row)} - ${row}.unvalued, 0)`,
  }),
  firstOrderOn: ofOrders('Local day of the first qualifying order.', { type: 'date', value: firstDay }),
  lastOrderOn: ofOrders('Local day of the last qualifying order.', { type: 'date', value: lastDay }),
  daysSinceFirstOrder: ofOrders('Local days since the first qualifying order.', {
    type: 'number',
    value: (row, moment) => daysSince(firstDay(row), moment),
    condition: (row, comparison) => isDaysAgo(firstDay(row), comparison),
  }),
  daysSinceLastOrder: ofOrders('Silence: local days since the last qualifying order.', {
    type: 'number',
    value: (row, moment) => daysSince(lastDay(row), moment),
    condition: (row, comparison) => isDaysAgo(lastDay(row), comparison),
  }),
  meanGapDays: ofOrders("Mean days between the customer's purchase days; needs two of them.", {
    type: 'number',
    value: meanGap,
  }),
  silenceRatio: ofOrders('`daysSinceLastOrder` ÷ `meanGapDays`: above 1, the customer is later than usual.', {
    type: 'number',
    value: (row, moment) => sql`${daysSince(lastDay(row), moment)} / ${meanGap(row)}`,
  }),
  daysToPurchaseAnniversary: ofOrders('Days until the day of the first qualifying order returns; 0: today.', {
    type: 'number',
    value: firstDay,
    operators: ['eq', 'lt', 'lte', 'gt', 'gte'],
    condition: (row, comparison) => returns(firstDay(row), comparison),
  }),
});

/** A comparison of days since a date, as one of the date: of that there are statistics. */
function isDaysAgo(date: SQL, { op, value, moment: { today } }: Comparison): SQL {
  if (op === 'exists') return sql`${date} is ${sql.raw(value === true ? 'not null' : 'null')}`;
  const before = (days: number) => {
    const inReach = Math.max(-longestAgo, Math.min(longestAgo, days));
    return sql`(${today}::date - ${String(inReach)}::int)`;
  };
  if (op === 'in' || op === 'eq') {
    const days = [value].flat().map(Number).filter(Number.isInteger);
    return days.length === 0 ? sql`false` : sql`${date} in (${sql.join(days.map(before), sql`, `)})`;
  }
  const days = Number(value);
  if (op === 'lt') return sql`${date} > ${before(Math.ceil(days))}`;
  if (op === 'lte') return sql`${date} >= ${before(Math.floor(days))}`;
  return op === 'gt' ? sql`${date} < ${before(Math.floor(days))}` : sql`${date} <= ${before(Math.ceil(days))}`;
}

const longestAgo = 1_000_000;

const statistics: OneRow = {
  rows: ({ past, asOf }) => {
    if (!past) {
      return sql`(select customer_id, sum(base_revenue - base_returned) as net, sum(orders) as orders from customer_stats group by customer_id)`;
    }
    return sql`(select customer_id, sum(amount) as net, sum(n) as orders from (
        select o.customer_id, coalesce(o.base_revenue, 0) as amount, 1 as n from ${ordersOf({ past, refundsWhenGiven: false }, sql`${asOf}`)}
          where o.qualifying and o.placed_at < ${asOf}::timestamptz
        union all select customer_id, -coalesce(base_net, 0), 0 from returns where returned_at < ${asOf}::timestamptz) f group by customer_id)`;
  },
};

conditionFields({
  lifetimeValue: derived({
    from: statistics,
    past: true,
    type: 'number',
    cost: 5,
    says: '`revenue` less returns that name no order, in minor units of the base currency; of customers with a qualifying order.',
    value: (row) => sql`case when ${row}.orders > 0 then ${row}.net end`,
  }),
  daysToBirthday: derived({
    type: 'number',
    scope: 'customers:read',
    personal: definitionOf(customers).fields['birthday']?.spec.personal !== null,
    says: 'Days until the next birthday; 0: today. 29 February is 28 February in common years.',
    operators: ['eq', 'lt', 'lte', 'gt', 'gte'],
    condition: (row, comparison) => returns(sql`${row}.birthday`, comparison),
  }),
});

/** Whether the day of a date returns in as many days as is asked; on the day itself, it returns next year. */
function returns(date: SQL, { op, value, moment: { today } }: Comparison): SQL {
  const holds = (distance: number) => compares(distance, op, Number(value));
  const days = daysThatReturn(today, holds).map(String);
  const returning = sql`(extract(month from ${date}) * 100 + extract(day from ${date})) = any(${sql.param(days)}::numeric[])`;
  const later = sql`(${returning} and ${date} <> ${today}::date)`;
  return holds(daysToFirstReturn(today)) ? sql`(${later} or ${date} = ${today}::date)` : later;
}

function compares(one: number, op: Comparison['op'], other: number): boolean {
  if (op === 'eq') return one === other;
  if (op === 'lt') return one < other;
  if (op === 'lte') return one <= other;
  return op === 'gt' ? one > other : one >= other;
}

/** The fields of a table with one row for each customer, behind a prefix: `lead.stage`. */
function ofTable(prefix: string, table: Parameters<typeof fieldsOf>[0], scope: string): Record<string, ConditionField> {
  const from: OneRow = { rows: () => sql`${table}` };
  const { owner } = definitionOf(table);
  return Object.fromEntries(
    [...fieldsOf(table, scope)].flatMap(([name, field]) =>
      // What clients name is behind a dot itself.
      name === owner || field.open ? [] : [[`${prefix}.${name}`, { ...field, from }]],
    ),
  );
}

conditionFields(ofTable('lead', leads, 'leads:read'));
conditionFields(ofTable('loyalty', loyaltyAccounts, 'loyalty:read'));

const leadScore: OneRow = {
  prepare: (db, { asOf }) => rulesInForce(db, asOf),
  rows({ asOf }, known) {
    const { document } = known as RulesInForce; // of `prepare`
    const subject = { customerId: sql`scored.customer_id`, asOf: sql`${asOf}::timestamptz` };
    return sql`(select scored.customer_id, s.score from leads scored cross join lateral (${scoreQuery(document, subject)}) s)`;
  },
};

conditionFields({
  'lead.score': derived({
    from: leadScore,
    type: 'number',
    scope: 'leads:read',
    cost: 60,
    says: 'Score of the lead by the rules in force; worked out for every lead that the other conditions leave.',
    value: (row) => sql`${row}.score / 1024.0`,
  }),
});

/** The latest answer that metrics count, in any survey. */
function latestAnswer(type: 'nps' | 'csat' | 'ces'): Record<string, ConditionField> {
  const counted = sql.raw(`is_primary and counted and type = '${type}'`);
  const from: OneRow = {
    rows({ past, asOf }) {
      if (!past) {
        return sql`(select customer_id, score, answered_at, ${bandNamed('a')} as band from survey_answers a where ${counted} and superseded_at is null and customer_id is not null)`;
      }
      const then = sql`${asOf}::timestamptz`;
      return sql`(select customer_id, score, answered_at, ${bandNamed('a')} as band from survey_answers a
        where ${counted} and customer_id is not null and answered_at < ${then} and (superseded_at is null or superseded_at >= ${then}))`;
    },
  };
  const of = (given: Given) => derived({ from, scope: 'survey-responses:read', cost: 2, past: true, ...given });
  const words = answerBand.options;
  return {
    [`${type}.score`]: of({ type: 'number', says: `Latest ${type} score.`, value: (row) => sql`${row}.score` }),
    [`${type}.band`]: of({
      type: 'word',
      words,
      schema: answerBand,
      says: `Band of the latest ${type} score.`,
      value: (row) => sql`${row}.band`,
    }),
    [`${type}.answeredAt`]: of({
      type: 'instant',
      says: `When the latest ${type} score was given.`,
      value: (row) => sql`${row}.answered_at`,
    }),
  };
}

conditionFields({ ...latestAnswer('nps'), ...latestAnswer('csat'), ...latestAnswer('ces') });

const consentName = z.string().refine((name) => {
  const [purpose, channel, ...more] = name.split('.');
  const known = channel === undefined || (channels as readonly string[]).includes(channel);
  return more.length === 0 && known && consentPurpose.safeParse(purpose).success;
});

conditionFields({
  consent: derived({
    type: 'boolean',
    past: true,
    scope: 'consents:read',
    cost: 3,
    open: consentName,
    operators: ['eq'],
    says: 'Whether a purpose is granted, `consent.newsletter`, or on a channel, `consent.newsletter.email`: what is in force for the channel, else for all channels.',
    condition(_row, { value, rest, moment: { past, asOf } }, owner) {
      const [purpose = '', channel = allChannels] = rest.split('.');
      const wanted = [...new Set([channel, allChannels])];
      const latest = past
        ? sql`select k.status from consent_changes k where k.customer_id = ${owner} and k.purpose = ${purpose}::text and k.at < ${asOf}::timestamptz
            and (k.channel is null or k.channel = ${channel}::text) order by k.at desc, k.id desc limit 1`
        : sql`select k.status from consents k where k.customer_id = ${owner} and k.purpose = ${purpose}::text
            and k.channel = any(${sql.param(wanted)}::text[]) order by k.channel = ${allChannels}::text limit 1`;
      return sql`(coalesce((${latest}) = 'granted', false) = ${value === true}::boolean)`;
    },
  }),
  sharedWith: derived({
    type: 'id',
    scope: 'partners:read',
    cost: 2,
    operators: ['eq', 'in'],
    says: 'Partners who see the customer.',
    condition: (_row, { value }, owner) =>
      sql`exists (select from partner_customers k where k.customer_id = ${owner} and k.partner_id = any(${sql.param(Array.isArray(value) ? value : [value])}::uuid[]))`,
  }),
});

relatedTables(
  { table: customerIdentities, scope: 'customers:read' },
  { table: sharedIdentities, scope: 'customers:read' },
  { table: externalRefs, scope: 'customers:read', ownedBy: 'record_id', where: (row) => sql`${row}.kind = 'customer'` },
  { table: consents, scope: 'consents:read' },
  { table: consentChanges, scope: 'consents:read' },
  { table: leadStageChanges, scope: 'leads:read' },
  { table: loyaltyTransactions, scope: 'loyalty:read' },
  { table: loyaltyTierChanges, scope: 'loyalty:read' },
  { table: redemptions, scope: 'loyalty:read' },
  { table: surveyResponses, scope: 'survey-responses:read', parts: [surveyAnswers] },
  { table: surveyInvitations, scope: 'surveys:read' },
  { table: followUps, scope: 'leads:read' },
);
