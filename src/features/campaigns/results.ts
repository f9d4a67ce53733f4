import { z } from 'zod';
import { campaignFigures } from '../../domain/campaign-results.ts';
import { notFound } from '../../platform/errors.ts';
import { type Context, readOperation, requireScope } from '../../platform/operation.ts';
import { pageOf } from '../../platform/page.ts';
import { amount, calendarDate, currency, id, instant, smallInteger, text } from '../../platform/values.ts';
import { targetParameters } from '../../records/references/record.ts';
import { commonParameters, metricExcluded } from '../metrics/model.ts';
import { resolveScope, type Scope } from '../metrics/scope.ts';
import { campaignOperations } from './operations.ts';
import type { campaignRecord } from './record.ts';
import { campaignTotals } from './results-queries.ts';

/** What campaigns brought: counts, revenue by last touch, and what each of it cost. */

const count = (description: string) => z.int().min(0).meta({ description });
const money = (description: string) => z.int().nullable().meta({ description });
const quotient = (description: string) => z.number().nullable().meta({ description });

const costPer = z
  .strictObject({
    touch: quotient('Minor units, unrounded.'),
    touchedCustomer: quotient('Minor units, unrounded.'),
    response: quotient('Minor units, unrounded.'),
    responder: quotient('Minor units, unrounded.'),
    lead: quotient('Minor units, unrounded.'),
    conversion: quotient('Minor units, unrounded.'),
    order: quotient('Minor units, unrounded.'),
    buyer: quotient('Minor units, unrounded.'),
  })
  .meta({
    id: 'CampaignCostPer',
    description: 'Total cost of the campaign ÷ the count; null without a cost, or if the count is 0.',
  });

const campaignResults = z
  .strictObject({
    campaignId: id,
    name: z.string(),
    from: instant.nullable().meta({ description: 'Start of the period; null: all time.' }),
    to: instant.meta({ description: 'End of the period, exclusive.' }),
    asOf: instant.meta({ description: 'Only what happened before this instant counts.' }),
    timeZone: z.string(),
    windowDays: smallInteger.meta({ description: 'How old the last touch may be, in days of 24 hours.' }),
    currency: currency.meta({ description: 'The base currency: of all amounts here.' }),
    touches: count('Interactions with this campaign, without `automatic` ones.'),
    touchedCustomers: count('Distinct customers of these.'),
    responses: count(
      'Touches by which the customer reacted: inbound ones except `unsubscribe` and `email_bounced`, and whatever their direction `email_opened`, `email_clicked`, `email_received`, `ad_click` and `form`.',
    ),
    responders: count('Distinct customers of these.'),
    responseRate: quotient('responders ÷ touchedCustomers, 0–1; null when nobody was touched.'),
    leads: count('Customers who became leads, by last touch.'),
    conversions: count(
      'Leads that became customers: by the campaign of the converting order, else by last touch. A customer who had bought before becoming a lead converts on entering.',
    ),
    orders: count('Qualifying orders: those with this campaign, and those without a campaign, by last touch.'),
    buyers: count('Distinct customers of these.'),
    revenue: money(
      'Σ total − tax − refunds (without their tax) of these orders in the base currency; null beyond 2^53 − 1.',
    ),
    cost: amount.nullable().meta({ description: 'Total cost of the campaign, regardless of the period.' }),
    revenueLessCost: money('revenue − cost; null without a cost.'),
    costPer,
    excluded: z.array(metricExcluded).meta({
      description: '`missing_rate`: orders that are left out of the revenue, because they have no exchange rate.',
    }),
  })
  .meta({ id: 'CampaignResults', description: 'The results of a campaign, attributed by last touch.' });
export type CampaignResults = z.output<typeof campaignResults>;

const { from, to, asOf, timeZone, refunds } = commonParameters;
const parameters = {
  windowDays: z
    .int()
    .min(1)
    .max(366)
    .optional()
    .meta({ description: 'How many days of 24 hours a touch counts for. Default: 30.', example: 30 }),
  from,
  to,
  asOf,
  timeZone,
  refunds,
};

const definition =
  'A touch is an interaction with a `campaignId` that is not `automatic`. An order counts for its own campaign; an order without one counts for the campaign of its customer’s last touch at or before the order, if that touch is not older than `windowDays`. Earlier touches get no credit. New leads and conversions are attributed in the same way. Only qualifying orders count; returns without an order are ignored. As of a past `asOf` orders and leads are as they were known then: later cancellations, refunds and conversions are not. With `refunds=when_given` a refund lowers the revenue of the period in which it was given, for the campaign of its order. The period selects by when things happened (`occurredAt`, `enteredAt`, `convertedAt`, `placedAt`); the cost is always the total.';
const scopes = 'Needs the scope `metrics:read` as well: it reveals revenue.';

export const getCampaignResults = readOperation({
  name: 'getCampaignResults',
  scope: 'campaigns:read',
  partners: false,
  selfService: false,
  summary: 'Read the results of a campaign',
  description: `${definition}\n\n${scopes}`,
  input: z.strictObject({ ...targetParameters, ...parameters }),
  output: campaignResults,
  problems: ['not_found'],
  async run(context, { id: campaignId, source, externalId, ...asked }) {
    requireScope(context, 'metrics:read');
    const period = resolveScope(context, asked);
    const record = await campaignOperations.get.run(context, { id: campaignId, source, externalId });
    const [results] = await resultsOf(context, [record], period, asked.windowDays);
    if (!results) throw notFound('campaign');
    return results;
  },
});

export const listCampaignResults = readOperation({
  name: 'listCampaignResults',
  scope: 'campaigns:read',
  partners: false,
  selfService: false,
  summary: 'Read the results of campaigns',
  description: `A page of campaigns with their results. ${definition}\n\n${scopes}`,
  input: z.strictObject({
    ...campaignOperations.listParameters,
    channel: text(100).optional().meta({ description: 'Only campaigns on this channel.' }),
    startsFrom: calendarDate.optional().meta({ description: 'Only campaigns that start on this date or later.' }),
    startsTo: calendarDate.optional().meta({ description: 'Only campaigns that start before this date.' }),
    ...parameters,
  }),
  output: pageOf(campaignResults).meta({ id: 'CampaignResultsPage' }),
  async run(context, { windowDays, from: start, to: until, asOf: as, timeZone: zone, refunds: counted, ...filter }) {
    requireScope(context, 'metrics:read');
    const period = resolveScope(context, { from: start, to: until, asOf: as, timeZone: zone, refunds: counted });
    const { data, page } = await campaignOperations.page(context, filter);
    return { data: await resultsOf(context, data, period, windowDays), page };
  },
});

async function resultsOf(
  context: Context,
  records: z.output<typeof campaignRecord.output>[],
  period: Scope,
  windowDays = 30,
): Promise<CampaignResults[]> {
  const totals = await campaignTotals(
    context.db,
    records.map((record) => record.id),
    { ...period, windowDays },
  );
  return records.map((record) => {
    const { missingRate, revenue, ...counts } = totals.get(record.id) ?? { ...nothing, campaignId: record.id };
    return {
      ...counts,
      name: record.name,
      from: period.from,
      to: period.to,
      asOf: period.asOf,
      timeZone: period.timeZone,
      windowDays,
      currency: context.baseCurrency,
      cost: record.cost,
      ...campaignFigures({ ...counts, revenue, cost: record.cost }),
      excluded: missingRate > 0 ? [{ reason: 'missing_rate' as const, count: missingRate }] : [],
    };
  });
}

const nothing = {
  touches: 0,
  touchedCustomers: 0,
  responses: 0,
  responders: 0,
  leads: 0,
  conversions: 0,
  orders: 0,
  buyers: 0,
  revenue: 0n,
  missingRate: 0,
};
