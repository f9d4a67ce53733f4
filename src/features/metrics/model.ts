import { z } from 'zod';
import { cohortActivities } from '../../domain/cohorts.ts';
import { calendarIntervals, weekDays } from '../../domain/period.ts';
import { typeNames } from '../../platform/type-names.ts';
import { calendarDate, currency, id, text, timeZone } from '../../platform/values.ts';

/** The response of every metric and the parameters they share. Numbers are unrounded. */

export const metricUnits = ['ratio', 'points', 'days', 'count', 'money'] as const;
export type MetricUnit = (typeof metricUnits)[number];
export const metricUnit = z.enum(metricUnits).meta({
  id: 'MetricUnit',
  description: 'Rates are ratios 0–1; money is in minor units of `currency` and may be a fraction.',
  example: 'ratio',
});

const answeredInstant = z
  .string()
  .meta({ format: 'date-time', description: 'RFC 3339 instant in UTC.', example: '2026-03-01T00:00:00.000Z' });
const number = z.number().nullable();
const values = z.record(z.string(), z.number().nullable()).meta({
  description:
    'Further numbers beside the value: an object from name to number or null. The description of each metric lists its names.',
  example: { previousBuyers: 1200, retained: 312, lost: 888 },
});

export const metricNotice = z
  .strictObject({ code: z.string(), message: z.string() })
  .meta({ id: 'MetricNotice', description: 'A stable code for programs, a sentence for people.' });

export const metricConfidence = z
  .strictObject({ low: z.number(), high: z.number(), level: z.number() })
  .meta({ id: 'MetricConfidence', description: 'Confidence interval; Wilson for proportions.' });

export const metricRange = z
  .strictObject({ from: answeredInstant, to: answeredInstant })
  .meta({ id: 'MetricRange', description: '`from` is included, `to` is not.' });

export const metricPeriod = z
  .strictObject({
    from: answeredInstant.nullable().meta({ description: 'null: all time, and there is no record yet.' }),
    to: answeredInstant,
    timeZone: z.string(),
    previous: metricRange
      .nullable()
      .meta({ description: 'The period it is compared with, for metrics that have one.' }),
  })
  .meta({ id: 'MetricPeriod' });

/** Why a record is left out, in words. */
export const exclusionReasons = {
  test: 'A test order.',
  cancelled: 'Cancelled by `asOf`.',
  refunded: 'Refunded in full by `asOf`.',
  unpaid: 'Not paid, with `payment=paid`.',
  zero_value: 'A total of 0, with `zeroValue=exclude`.',
  anonymous: 'An order of nobody known, who is no buyer.',
  missing_rate: 'An order without an exchange rate.',
  returns: 'A return that names no order, where the metric is of orders (with `refunds=when_given`, refunds too).',
  returns_of_non_buyers: 'A return of a customer without any qualifying order by the end of the range.',
  returns_of_earlier_buyers: 'A return of a customer who bought before the range and not in it.',
  returns_missing_rate: 'A return without an exchange rate.',
  dismissed: 'Seen and closed without an answer.',
  partial: 'Broken off.',
  late: 'Answered after the time that the survey allows.',
} as const;
export type ExclusionReason = keyof typeof exclusionReasons;
export const exclusionReason = z.enum(Object.keys(exclusionReasons) as [ExclusionReason]).meta({
  id: 'ExclusionReason',
  description: Object.entries(exclusionReasons)
    .map(([reason, words]) => `${reason}: ${words}`)
    .join(' '),
  example: 'missing_rate',
});

export const metricExcluded = z
  .strictObject({
    reason: exclusionReason,
    count: z.int(),
    amount: z.int().optional().meta({ description: 'Minor units of `currency`, for returns.' }),
  })
  .meta({
    id: 'MetricExcluded',
    description: 'Records of the period that the metric leaves out, each under one reason.',
  });
export type Excluded = z.output<typeof metricExcluded>;

export const metricSeriesPoint = z
  .strictObject({
    start: calendarDate.meta({ description: 'First local date of the calendar interval.' }),
    from: answeredInstant,
    to: answeredInstant,
    value: number,
    values,
    numerator: number,
    denominator: number,
    excluded: z.array(metricExcluded).meta({
      description:
        'What the number of the interval leaves out. It may be more than what the whole leaves out: a return before the first order of its customer is `returns_of_non_buyers` in its interval, and counts in the whole.',
    }),
    complete: z.boolean().meta({
      description:
        'false: the interval is still running, or the period cuts it off. A smaller number there does not mean a decline.',
    }),
    lowSample: z.boolean(),
    reason: metricNotice.nullable(),
  })
  .meta({ id: 'MetricSeriesPoint' });
export type SeriesPoint = z.output<typeof metricSeriesPoint>;

export const metricGroup = z
  .strictObject({
    key: z.string(),
    value: number,
    values,
    numerator: number,
    denominator: number,
    interval: metricConfidence.nullable(),
    lowSample: z.boolean(),
    reason: metricNotice.nullable(),
    series: z.array(metricSeriesPoint).meta({
      description:
        'Of a cohort: one entry per calendar interval since it began. With `groupBy` and `interval`, the series of the group. Otherwise empty.',
    }),
  })
  .meta({ id: 'MetricGroup', description: 'The same number for a part of the population.' });

export const metricResult = z
  .strictObject({
    metric: z.string().meta({ example: 'retention-rate' }),
    definition: z.string().meta({ description: 'Metric and version of its definition.', example: 'retention-rate@1' }),
    period: metricPeriod,
    asOf: answeredInstant.meta({ description: 'Only records from before this instant count.' }),
    value: number.meta({ description: 'Unrounded; null with a `reason` when it cannot be computed.' }),
    unit: metricUnit,
    currency: currency.nullable().meta({ description: 'Currency of the amounts; null without amounts.' }),
    values,
    numerator: number,
    denominator: number,
    excluded: z.array(metricExcluded),
    interval: metricConfidence.nullable(),
    lowSample: z.boolean().meta({ description: 'Fewer than 30 in the denominator.' }),
    reason: metricNotice.nullable().meta({ description: 'Why `value` is null.' }),
    missingInputs: z.array(z.string()).meta({ description: 'What you have to record or send to get a value.' }),
    complete: z.boolean().meta({ description: 'Whether the period has ended by `asOf`.' }),
    series: z
      .array(metricSeriesPoint)
      .meta({ description: 'One entry per calendar interval, with `interval` in the input.' }),
    groups: z.array(metricGroup).meta({ description: 'The same number for parts of the population.' }),
    warnings: z.array(metricNotice),
  })
  .meta({ id: 'MetricResult', description: 'The response of every metric. Numbers are unrounded.' });
export type MetricAnswer = z.output<typeof metricResult>;

const moment = (description: string) =>
  text(64)
    .optional()
    .meta({
      description: `${description} A calendar date in \`timeZone\`, or an RFC 3339 instant.`,
      example: '2026-02-01',
    });

const interval = z.enum(calendarIntervals).register(typeNames, { name: 'CalendarInterval' }).optional().meta({
  description: 'Also return a `series` by calendar interval, at most 1,000 of them. Weeks start on `weekStart`.',
  example: 'month',
});

const weekStart = z.enum(weekDays).register(typeNames, { name: 'WeekDay' }).optional().meta({
  description: 'With `interval=week`: the day on which weeks start. Default: `monday`.',
  example: 'sunday',
});

/** What all metrics take. */
export const commonParameters = {
  from: moment('Start of the period.'),
  to: moment('End of the period, exclusive.'),
  timeZone: timeZone
    .optional()
    .meta({ description: 'IANA zone of dates and calendar intervals. Default: the reporting zone.' }),
  asOf: moment(
    'Only what had happened before this instant counts: later orders, cancellations, refunds and returns are not known yet. Default: now.',
  ),
  currency: currency.optional().meta({
    description:
      'Only records in this currency, with amounts in it. Default: all records, with amounts in the base currency.',
  }),
  payment: z.enum(['all', 'paid']).register(typeNames, { name: 'MetricPayment' }).optional().meta({
    description:
      '`paid` counts only orders whose `paymentStatus` is exactly `paid`. Default: `all`, with a warning where payments failed or were voided.',
  }),
  zeroValue: z
    .enum(['include', 'exclude'])
    .register(typeNames, { name: 'MetricZeroValue' })
    .optional()
    .meta({ description: '`exclude` leaves out orders with a total of 0.' }),
  refunds: z.enum(['restate', 'when_given']).register(typeNames, { name: 'MetricRefunds' }).optional().meta({
    description:
      '`restate`: a refund lowers the revenue of its order, in the period of the order; an order that is refunded in full does not count. `when_given`: it lowers the revenue of the period in which the money went back, as a return does, and the order stays a purchase. Default: `restate`.',
  }),
  interval,
  weekStart,
};

/** What metrics of customers take. */
export const segmentParameters = {
  segment: id.optional().meta({
    description:
      'Only the customers of this segment. Needs the scopes that the segment needs. Orders of nobody known are in no segment.',
  }),
  segmentAt: z.enum(['start', 'end']).register(typeNames, { name: 'SegmentMoment' }).optional().meta({
    description:
      'As of when customers are in a segment or group: the start of the period (of retention, and of churn between two periods, the end of the previous period), or its end, with the warning `members_as_of_end`. Of all time it is the end. What has no past counts as it is now, with the warning `profile_as_of_now`. Default: `start`.',
  }),
};
export const groupParameters = {
  ...segmentParameters,
  groupBy: text(200).optional().meta({
    description:
      'Also answer the number for each group, the largest first, at most 100; the others are together in the group `other`. `segment` (with `segments`), `country`, `tier`, `stage` (of the lead), `kind`, `acquisitionSource`, `partner`, `cohort` (month of the first order), `rfm` (segments of the metric rfm), `attributes.color` or any other field of customers that conditions may name and that is no number or time. And by orders: `channel`, `currency`, `campaign`, `sku`, `category`, or any such field as `orders.paymentStatus`, `orders.tags`. The empty key is who, or what, has no value, and orders of nobody known. Counts and sums of groups of customers add up to the whole where a customer has one value; rates, means, percentiles and shares of the top never do, nor do groups of orders, segments, partners and lists, in which one customer can be several times (warning `groups_overlap`). Needs the scope that reads the field; personal fields need `customers:pii`. It takes the place of other `groups`.',
    example: 'tier',
  }),
  segments: z.array(id).min(1).max(20).optional().meta({
    description:
      'With `groupBy=segment`: the segments, a group each; who is in none of them is in the group with the empty key.',
  }),
};
export interface DimensionInput {
  segment?: string | undefined;
  segmentAt?: 'start' | 'end' | undefined;
  groupBy?: string | undefined;
  segments?: string[] | undefined;
}

const minOrders = (description: string) => z.int().min(1).max(1_000_000).optional().meta({ description, example: 3 });
const silenceDays = z.int().min(1).max(36_500).optional().meta({
  description: 'Calendar days without an order after which a customer counts as silent. Default: 90.',
  example: 90,
});
const previous = {
  previousFrom: moment('Start of the previous period. Default: the range of the same length directly before.'),
  previousTo: moment('End of the previous period.'),
};

export const retentionInput = z.strictObject({
  ...commonParameters,
  ...groupParameters,
  ...previous,
  minOrders: minOrders('Only customers with at least this many orders before the end of the previous period.'),
});

export const repeatPurchaseInput = z.strictObject({
  ...commonParameters,
  ...groupParameters,
  minOrders: minOrders('Orders that make a customer a repeat buyer. Default: 2.'),
});

export const churnVariants = ['period', 'silence', 'gap'] as const;
export const churnInput = z.strictObject({
  ...commonParameters,
  ...groupParameters,
  ...previous,
  variant: z.enum(churnVariants).register(typeNames, { name: 'ChurnVariant' }).optional().meta({
    description:
      '`period`: 1 − retention. `silence`: no order for `silenceDays`. `gap`: none for `gapFactor` × the customer’s own mean gap. Default: `period`.',
  }),
  minOrders: minOrders(
    'With `period`: only customers with at least so many orders before the end of the previous period.',
  ),
  silenceDays,
  gapFactor: z
    .number()
    .positive()
    .max(1_000)
    .optional()
    .meta({ description: 'With `gap`: how many times the mean gap of the customer. Default: 2.', example: 2 }),
});

export const gapsInput = z.strictObject({
  ...commonParameters,
  ...groupParameters,
  sameDay: z.enum(['merge', 'count']).register(typeNames, { name: 'SameDayOrders' }).optional().meta({
    description: '`merge`: orders of one day are one purchase. `count`: they have gaps of 0 days. Default: `merge`.',
  }),
});

export const valueInput = z.strictObject({ ...commonParameters, ...groupParameters });

export const rfmInput = valueInput.omit({
  from: true,
  to: true,
  interval: true,
  weekStart: true,
  groupBy: true,
  segments: true,
});

export const cohortsInput = z.strictObject({
  ...commonParameters,
  ...segmentParameters,
  from: moment('Start of the first cohort: the beginning of an interval. Default: the interval of the first order.'),
  to: moment(
    'End of the last cohort: the beginning of an interval. Default: `asOf`. What cohorts do is told up to `asOf`.',
  ),
  interval: z.enum(calendarIntervals).register(typeNames, { name: 'CalendarInterval' }).optional().meta({
    description: 'Of the cohorts, and of the time since: at most 100 of them up to `asOf`. Default: `month`.',
    example: 'month',
  }),
  activity: z.enum(cohortActivities).register(typeNames, { name: 'CohortActivity' }).optional().meta({
    description:
      '`on`: customers with an order in the interval. `on_or_after`: with an order in it or in a later one. Default: `on`.',
  }),
});

export const lifetimeVariants = ['historic', 'simple', 'four_factor'] as const;
export const lifetimeBases = ['observed', 'silence', 'configured'] as const;
export const lifetimeInput = z.strictObject({
  ...commonParameters,
  ...groupParameters,
  variant: z.enum(lifetimeVariants).register(typeNames, { name: 'LifetimeVariant' }).optional().meta({
    description:
      '`historic`: net revenue per buyer. `simple`: minus acquisition and retention cost. `four_factor`: order value × frequency × lifetime × margin. Default: `historic`.',
  }),
  customerId: id.optional().meta({ description: 'Only this customer; needs the scope `customers:read` as well.' }),
  retentionCost: z
    .int()
    .min(0)
    .max(1_000_000_000_000)
    .optional()
    .meta({ description: 'With `simple`: what keeping one buyer costs over the window, minor units.' }),
  margin: z.number().min(-1).max(1).optional().meta({
    description: 'With `four_factor`: a fraction of revenue; used unless every line has a cost.',
    example: 0.35,
  }),
  lifetimeBasis: z
    .enum(lifetimeBases)
    .register(typeNames, { name: 'LifetimeBasis' })
    .optional()
    .meta({ description: 'With `four_factor`. Default: `observed`.' }),
  lifetimeMonths: z
    .number()
    .positive()
    .max(1_200)
    .optional()
    .meta({ description: 'With `lifetimeBasis=configured`.', example: 36 }),
  silenceDays,
});
