import type { z } from 'zod';
import { averageOrderValue } from '../../domain/average-order-value.ts';
import { churnRate } from '../../domain/churn-rate.ts';
import type { MetricResult } from '../../domain/metric-result.ts';
import { newAndReturning } from '../../domain/new-and-returning.ts';
import { purchaseGaps } from '../../domain/purchase-gaps.ts';
import { repeatPurchaseRate } from '../../domain/repeat-purchase-rate.ts';
import { retentionRate } from '../../domain/retention-rate.ts';
import { revenueConcentration } from '../../domain/revenue-concentration.ts';
import { revenuePerCustomer } from '../../domain/revenue-per-customer.ts';
import { rfm } from '../../domain/rfm.ts';
import type { Db } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import { compareBuyers, comparedWindow, cumulative, type PerRange, perRange } from './answer.ts';
import { answerCohorts } from './cohorts.ts';
import { concentrationSums } from './concentration-queries.ts';
import { dimensional } from './dimensions.ts';
import { excludedAmounts } from './excluded.ts';
import { gapStatistics, ownGapCounts, silenceCounts } from './gap-queries.ts';
import { metricOperation } from './group-size.ts';
import { answerLifetimeValue, lifetimeWindow } from './lifetime.ts';
import {
  churnInput,
  churnVariants,
  cohortsInput,
  type DimensionInput,
  gapsInput,
  lifetimeInput,
  metricResult,
  repeatPurchaseInput,
  retentionInput,
  rfmInput,
  valueInput,
} from './model.ts';
import { repeatCounts } from './retention-queries.ts';
import { rfmCells } from './rfm-queries.ts';
import { boundsOf, type CommonInput, refuseParameters, resolveScope, type Scope } from './scope.ts';
import { averageOrderSums, newAndReturningSums, revenueSums } from './value-queries.ts';

/** The metrics. Each takes a small, constant number of statements: the period, its series, what was left out, and where all time begins. */

const output = metricResult;

export const getRetentionRate = metricOperation(
  {
    metric: 'retention-rate',
    name: 'getRetentionRate',
    summary: 'Retention rate',
    description:
      'Buyers of the previous period who bought again in the current one ÷ buyers of the previous period. Default: the last complete month compared with the one before. In a `series` each interval is compared with the one before it.',
    input: retentionInput,
    output,
    run: dimensional({ name: 'getRetentionRate', window: comparedWindow }, (context, input) =>
      compareBuyers(context, input, 'retention-rate', retentionRate),
    ),
  },
  { family: 'orders', values: /./, bases: ['previousBuyers'] },
);

export const getRepeatPurchaseRate = metricOperation(
  {
    metric: 'repeat-purchase-rate',
    name: 'getRepeatPurchaseRate',
    summary: 'Repeat-purchase rate',
    description:
      'Customers with at least `minOrders` (2) orders ÷ all buyers, as of the period’s end. All orders up to the end count: `from` is where the `series` begins.',
    input: repeatPurchaseInput,
    output,
    run: dimensional({ name: 'getRepeatPurchaseRate' }, async (context, { minOrders = 2, ...input }) => {
      const asked = resolveScope(context, input);
      return cumulative(context, asked, 'repeat-purchase-rate', async (ends) => {
        const counts = await repeatCounts(context.db, context, asked, ends, minOrders);
        return counts.map(repeatPurchaseRate);
      });
    }),
  },
  { family: 'orders', values: /./, bases: ['buyers'] },
);

export const getChurnRate = metricOperation(
  {
    metric: 'churn-rate',
    name: 'getChurnRate',
    summary: 'Churn rate',
    description:
      '`period`: 1 − retention. `silence` and `gap`: customers who have bought by the period’s end and have been silent since, ÷ all of them (with `gap`: those with a gap); all orders up to the end count, and `from` is where the `series` begins.',
    input: churnInput,
    output,
    run: dimensional({ name: 'getChurnRate', window: churnWindow }, async (context, input) => {
      const { variant = 'period', silenceDays = 90, gapFactor = 2 } = input;
      if (variant !== 'silence') refuseParameters(input, ['silenceDays'], 'variant=silence');
      if (variant !== 'gap') refuseParameters(input, ['gapFactor'], 'variant=gap');
      if (variant === 'period') {
        return compareBuyers(context, input, 'churn-rate', (counts) => churnRate({ variant, ...counts }));
      }
      refuseParameters(input, ['previousFrom', 'previousTo', 'minOrders'], 'variant=period');
      const asked = resolveScope(context, input);
      return cumulative(context, asked, 'churn-rate', async (ends) => {
        if (variant === 'silence') {
          const counts = await silenceCounts(context.db, context, asked, ends, silenceDays);
          return counts.map((count) => echo(churnRate({ variant, ...count }), { silenceDays }));
        }
        const counts = await ownGapCounts(context.db, context, asked, ends, gapFactor);
        return counts.map((count) => echo(churnRate({ variant, ...count }), { gapFactor }));
      });
    }),
  },
  {
    family: 'orders',
    open: { variant: churnVariants },
    values: /./,
    // With `gap` only those who have one.
    bases: ['previousBuyers', 'customersWithGap', 'customers'],
  },
);

export const getPurchaseGaps = metricOperation(
  {
    metric: 'purchase-gaps',
    name: 'getPurchaseGaps',
    summary: 'Purchase gaps',
    description:
      'Days between consecutive purchase days of a customer in the zone; a gap belongs to the period of its later order. `value` is the mean over all gaps. The time since the last purchase is an open gap: counted, and left out of the mean.',
    input: gapsInput,
    output,
    run: dimensional({ name: 'getPurchaseGaps' }, async (context, { sameDay = 'merge', ...input }) => {
      const asked = resolveScope(context, input);
      return perRange(
        context,
        asked,
        { metric: 'purchase-gaps', money: false, returns: 'none', buyersOnly: true },
        async (parts) => {
          const ranges = await gapStatistics(
            context.db,
            context,
            asked,
            boundsOf(parts, asked.end),
            sameDay === 'merge',
          );
          return ranges.map((statistics) => ({ result: purchaseGaps(statistics), excluded: [] }));
        },
      );
    }),
  },
  { family: 'gaps', values: /^(mean|customerMean|gaps|customers|openGaps)$/, bases: ['customers'] },
);

/** The run of a metric that is worked out from sums of each range. */
function fromSums<S extends Parameters<typeof excludedAmounts>[0]>(
  name: string,
  about: PerRange,
  read: (db: Db, context: Context, scope: Scope, bounds: readonly string[]) => Promise<S[]>,
  judge: (sums: S) => MetricResult,
) {
  return dimensional<CommonInput & DimensionInput>({ name }, (context, input) => {
    const asked = resolveScope(context, input);
    return perRange(context, asked, about, async (parts) => {
      const ranges = await read(context.db, context, asked, boundsOf(parts, asked.end));
      return ranges.map((sums) => ({ result: judge(sums), excluded: excludedAmounts(sums) }));
    });
  });
}

export const getAverageOrderValue = metricOperation(
  {
    metric: 'average-order-value',
    name: 'getAverageOrderValue',
    summary: 'Average order value',
    description:
      'Revenue (total − tax − refunds without their tax) ÷ orders. `groups`: `returning` customers (at least two orders by the period’s end, also if both are of one day) and `one_time` ones; orders of nobody known are in the whole and in no group. For who is new, see `new-and-returning`. Returns without an order do not count; they are in `excluded`.',
    input: valueInput,
    output,
    run: fromSums(
      'getAverageOrderValue',
      { metric: 'average-order-value', money: true, returns: 'excluded', buyersOnly: false },
      averageOrderSums,
      averageOrderValue,
    ),
  },
  { family: 'orders', values: /^(orders|customers)$/, bases: ['customers'] },
);

export const getNewAndReturning = metricOperation(
  {
    metric: 'new-and-returning',
    name: 'getNewAndReturning',
    summary: 'New and returning customers',
    description:
      'Buyers of the period and their net revenue, by whether the first order of a customer ever lies in the period (`new`, however many orders follow in it) or before it (`returning`). The first order is that by the same `currency`, `payment`, `zeroValue` and `refunds`. `value`: returning buyers ÷ buyers. `values`: `buyers, newBuyers, returningBuyers, revenue, newRevenue, returningRevenue`; buyers and revenue are those of revenue per customer, but without orders of nobody known, who is neither new nor returning (`anonymous` in `excluded`). In a `series` each interval is judged by itself: who is new in one is returning in the next ones. Over all time everybody is new: send `from`, or an `interval`.',
    input: valueInput,
    output,
    run: fromSums(
      'getNewAndReturning',
      { metric: 'new-and-returning', money: true, returns: 'count', buyersOnly: true },
      newAndReturningSums,
      newAndReturning,
    ),
  },
  { family: 'orders', values: /^(buyers|newBuyers|returningBuyers)$/, bases: ['buyers'] },
);

export const getRevenuePerCustomer = metricOperation(
  {
    metric: 'revenue-per-customer',
    name: 'getRevenuePerCustomer',
    summary: 'Revenue per customer',
    description:
      'Net revenue of the period (orders less refunds and returns) ÷ distinct buyers of the period. Orders of nobody known are in the revenue, with a warning, and are no buyers.',
    input: valueInput,
    output,
    run: fromSums(
      'getRevenuePerCustomer',
      { metric: 'revenue-per-customer', money: true, returns: 'count', buyersOnly: false },
      revenueSums,
      revenuePerCustomer,
    ),
  },
  { family: 'orders', values: /^buyers$/, bases: ['buyers'] },
);

export const getRevenueConcentration = metricOperation(
  {
    metric: 'revenue-concentration',
    name: 'getRevenueConcentration',
    summary: 'Revenue concentration (Pareto)',
    description:
      'The share of net revenue that the 20 % of customers with the highest net revenue bring: customers with an order in the period, sorted by net revenue; the first ⌈0.2 n⌉ of them. `values`: `customers, topCustomers, topRevenue, revenue`; `customersBringing80` and `shareOfCustomersBringing80`, the fewest customers that bring 80 % of the revenue; `lossMakingCustomers` and `lossMakingRevenue`, those below 0, whose losses are in the total; `contactTimeShareOfRest`, the share of the `seconds` of interactions of the period that went to everybody outside that top. `groups`: `top_1` to `top_50` (per cent of customers), points of the Lorenz curve. null where the total is not above 0.',
    input: valueInput,
    output,
    drawing: 'lorenz',
    run: fromSums(
      'getRevenueConcentration',
      { metric: 'revenue-concentration', money: true, returns: 'count', buyersOnly: true },
      concentrationSums,
      revenueConcentration,
    ),
  },
  // It is about the few.
  null,
);

export const getRfm = metricOperation(
  {
    metric: 'rfm',
    name: 'getRfm',
    summary: 'RFM: recency, frequency, monetary value',
    description:
      'Scores 1 to 5 of every customer who had bought by `asOf`: days since the last order, number of orders, net revenue. A score is 1 + ⌊5 × customers strictly worse ÷ customers⌋, so equal customers have equal scores. `value`: customers scored. `values`: `recency1` to `monetary5`, how many have each score. `groups`: the named segments, with FM the mean of F and M. R ≥ 4: `champions` (FM ≥ 4), `loyal` (≥ 3), else `promising`; R = 3: `loyal` (FM ≥ 4), else `needs_attention`; R ≤ 2: `at_risk` (FM ≥ 3), else `hibernating`. The `value` of a group is its share of the customers; its `values` have `customers, orders, revenue` and the number of customers by score, as `"555": 234`.',
    input: rfmInput,
    output,
    drawing: 'shares',
    run: dimensional({ name: 'getRfm' }, async (context, input) => {
      const asked = resolveScope(context, input);
      return perRange(context, asked, { metric: 'rfm', money: true, returns: 'count', buyersOnly: true }, async () => {
        const sums = await rfmCells(context.db, context, asked);
        return [{ result: rfm(sums.cells), excluded: excludedAmounts(sums) }];
      });
    }),
  },
  null,
);

export const getCohorts = metricOperation(
  {
    metric: 'cohorts',
    name: 'getCohorts',
    summary: 'Cohorts',
    description:
      'Customers by the calendar interval of their first order ever (by the same `currency`, `payment`, `zeroValue` and `refunds`), and what they did in each interval since, up to `asOf`. `groups`: one per cohort, its `key` the first date of the interval; in its `series` there is an entry for that interval (0 in `intervalsSince`) and each one after it: `value` is the share of the cohort with an order in it, `numerator` how many, `denominator` the size of the cohort, and `values` have `revenue` (net), `cumulativeRevenue` and `cumulativeRevenuePerCustomer`. Entries of intervals still running have `complete: false`; those that have not begun are not there. `value`, of the whole and of a cohort: the share of customers who bought in the second interval, where that has ended.',
    input: cohortsInput,
    output,
    drawing: 'heat map',
    run: dimensional({ name: 'getCohorts' }, answerCohorts),
  },
  null,
);

export const getLifetimeValue = metricOperation(
  {
    metric: 'lifetime-value',
    name: 'getLifetimeValue',
    summary: 'Lifetime value',
    description:
      '`historic`: net revenue per buyer of the window. `simple`: the same less acquisition and retention cost. `four_factor`: average order value × orders per buyer and month × lifetime in months × margin; its default window is the twelve months before today. It is of orders: returns without an order are in `excluded`.',
    input: lifetimeInput,
    output,
    problems: ['not_found'],
    run: dimensional({ name: 'getLifetimeValue', window: lifetimeWindow }, answerLifetimeValue),
  },
  {
    family: 'orders',
    // The others tell what the organisation pays and earns.
    open: { variant: ['historic'] },
    values: /^buyers$/,
    bases: ['buyers'],
  },
);

function churnWindow(context: Context, input: z.output<typeof churnInput>) {
  if ((input.variant ?? 'period') === 'period') return comparedWindow(context, input);
  const { from, end } = resolveScope(context, input);
  return { start: from, end };
}

function echo(result: MetricResult, parameters: Record<string, number>): MetricResult {
  return { ...result, values: { ...result.values, ...parameters } };
}
