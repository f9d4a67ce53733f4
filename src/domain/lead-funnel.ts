import { Temporal } from 'temporal-polyfill';
import { assertCount, assertPart, type MetricResult, type Notice, named, share } from './metric-result.ts';
import { localDateOf } from './preceding-period.ts';
import { proportionResult } from './proportion.ts';

/** What is counted of the leads that entered in a range, as they stood at `asOf`. */
export interface LeadFunnelCounts {
  leads: number;
  /** Those that became a customer and were not found to have been none (`no_qualifying_order_left`). */
  converted: number;
  /** How many were in each stage, by its name. All leads, but for `former` (`lost`). */
  inStage: Readonly<Record<'subscriber' | 'lead' | 'marketing_qualified' | 'sales_qualified' | 'customer', number>>;
  /** In the stage `former`, and how many of them had been converted. */
  lost: number;
  lostCustomers: number;
  /** The lost ones by their reason. */
  lostBy: Readonly<Record<string, number>>;
  /** Open leads whose profile is filled in below the threshold. */
  underQualified: number;
  /** Open leads without an interaction in the days asked for, and without any at all. */
  untouched: number;
  neverTouched: number;
  /** Leads with a response after they entered. */
  answered: number;
  /** Microseconds from entering to the first response; null without any. */
  firstResponse: { median: number; p90: number } | null;
  /** Microseconds from entering to becoming a customer; null without conversions. */
  conversion: { median: number } | null;
  /** Leads that have been in the stage, or in one beyond it: who skips a stage has passed it. */
  reached: Readonly<Record<'lead' | 'marketing_qualified' | 'sales_qualified', number>>;
}

const hour = 3_600_000_000;
const day = 24 * hour;

/**
 * Funnel health: conversion rate 0–1 of the leads that entered in the period, with a Wilson
 * interval. `values`, all at `asOf`:
 * - `leads, open, converted, lost, lostCustomers`; `inSubscriber, inLead, inMarketingQualified, inSalesQualified,
 *   inCustomer`; and the lost by reason, `lostPrice, lostNoBudget …`;
 * - `underQualified, untouched, neverTouched` open leads, and their shares of the open ones (`…Share`);
 * - `answered, unanswered` leads, `timeToFirstResponseMedianHours, timeToFirstResponseP90Hours` of the answered ones;
 * - `reachedLead, reachedMarketingQualified, reachedSalesQualified, reachedCustomer`, and of each of the first three the
 *   share that went on: `leadToMarketingQualified, marketingQualifiedToSalesQualified, salesQualifiedToCustomer`;
 * - `timeToConversionMedianDays` (of 24 hours).
 *
 * Null with reason `no_leads`; shares and times without anything to divide by are null, and a warning says why:
 * `no_open_leads`, `no_responses`, `no_conversions`, `stage_not_reached`.
 * @throws RangeError when the counts are not counts, or a part is larger than its whole
 */
export function leadFunnel(counts: LeadFunnelCounts): MetricResult {
  const { leads, converted, inStage, lost, reached, answered, firstResponse, conversion } = counts;
  const open = inStage.subscriber + inStage.lead + inStage.marketing_qualified + inStage.sales_qualified;
  assertCount(leads, 'leads');
  if (open + inStage.customer + lost !== leads) throw new RangeError('the stages do not add up to the leads');
  assertPart(counts.neverTouched, counts.untouched, 'neverTouched');
  assertPart(counts.lostCustomers, lost, 'lostCustomers');
  assertPart(answered, leads, 'answered');
  const steps = [leads, reached.lead, reached.marketing_qualified, reached.sales_qualified, converted];
  steps.slice(1).forEach((part, index) => {
    assertPart(part, steps[index] ?? 0, 'a stage reached');
  });
  return proportionResult(
    converted,
    leads,
    { code: 'no_leads', message: 'No lead entered in the period.' },
    {
      values: {
        leads,
        open,
        converted,
        lost,
        lostCustomers: counts.lostCustomers,
        ...named('in', inStage),
        ...named('lost', counts.lostBy),
        underQualified: counts.underQualified,
        underQualifiedShare: share(counts.underQualified, open),
        untouched: counts.untouched,
        untouchedShare: share(counts.untouched, open),
        neverTouched: counts.neverTouched,
        neverTouchedShare: share(counts.neverTouched, open),
        answered,
        unanswered: leads - answered,
        timeToFirstResponseMedianHours: firstResponse && firstResponse.median / hour,
        timeToFirstResponseP90Hours: firstResponse && firstResponse.p90 / hour,
        ...named('reached', { ...reached, customer: converted }),
        leadToMarketingQualified: share(reached.marketing_qualified, reached.lead),
        marketingQualifiedToSalesQualified: share(reached.sales_qualified, reached.marketing_qualified),
        salesQualifiedToCustomer: share(converted, reached.sales_qualified),
        timeToConversionMedianDays: conversion && conversion.median / day,
      },
      warnings: leads === 0 ? [] : missing(counts, open),
    },
  );
}

/** Hours from one instant to a later one. */
export function hoursBetween(earlier: string, later: string): number {
  const nanoseconds = Temporal.Instant.from(later).epochNanoseconds - Temporal.Instant.from(earlier).epochNanoseconds;
  return Number(nanoseconds / 1_000n) / hour;
}

/** Calendar days in the zone from one instant to a later one. */
export function calendarDaysBetween(earlier: string, later: string, timeZone: string): number {
  const date = (instant: string) => Temporal.PlainDate.from(localDateOf(instant, timeZone));
  return date(earlier).until(date(later)).days;
}

function missing({ firstResponse, converted, reached }: LeadFunnelCounts, open: number): Notice[] {
  const found: Notice[] = [];
  if (open === 0) {
    found.push({
      code: 'no_open_leads',
      message: 'No lead of the period is open, so there are no shares of open ones.',
    });
  }
  if (firstResponse === null) {
    found.push({ code: 'no_responses', message: 'No lead has been answered, so there is no time to first response.' });
  }
  if (converted === 0) {
    found.push({ code: 'no_conversions', message: 'No lead became a customer, so there is no time to conversion.' });
  }
  const empty = Object.entries(reached).filter(([, count]) => count === 0);
  if (empty.length > 0) {
    const stages = empty.map(([stage]) => stage).join(', ');
    found.push({
      code: 'stage_not_reached',
      message: `No lead has reached ${stages}: there is no share that went on.`,
    });
  }
  return found;
}
