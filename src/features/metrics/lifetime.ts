import type { z } from 'zod';
import { fourFactorLifetimeValue, historicLifetimeValue, simpleLifetimeValue } from '../../domain/lifetime-value.ts';
import type { MetricResult } from '../../domain/metric-result.ts';
import { isBefore, monthsBetween } from '../../domain/period.ts';
import { lastDateBefore, localDateOf, monthsBefore, startOfDayBefore } from '../../domain/preceding-period.ts';
import { type Context, requireScope } from '../../platform/operation.ts';
import { type Measured, perRange } from './answer.ts';
import { excludedAmounts } from './excluded.ts';
import { factorSums, type LifetimeChoice } from './factor-queries.ts';
import type { lifetimeInput, MetricAnswer } from './model.ts';
import {
  beginningOfTime,
  boundsOf,
  earlier,
  forParameter,
  type Part,
  refuseParameters,
  resolveScope,
  resolveZone,
  type Scope,
} from './scope.ts';
import { historicSums, simpleSums } from './value-queries.ts';

type Input = z.output<typeof lifetimeInput>;

/** Lifetime value in its three variants, of all buyers or of one customer. */
export function answerLifetimeValue(context: Context, input: Input): Promise<MetricAnswer> {
  const { variant = 'historic', customerId = null } = input;
  // A number about one person is a fact about that person.
  if (customerId !== null) requireScope(context, 'customers:read');
  if (variant !== 'simple') refuseParameters(input, ['retentionCost'], 'variant=simple');
  if (variant !== 'four_factor') {
    refuseParameters(input, ['margin', 'lifetimeBasis', 'lifetimeMonths', 'silenceDays'], 'variant=four_factor');
  }
  if (input.retentionCost !== undefined) {
    // It is what a buyer costs over the window: an interval of the series would be charged all of it.
    refuseParameters(input, ['interval'], 'no retentionCost, which is a cost of the whole window');
  }
  const asked = variant === 'four_factor' ? lastTwelveMonths(context, input) : resolveScope(context, input, customerId);
  const returns = variant === 'four_factor' ? 'excluded' : 'count';
  const about = { metric: 'lifetime-value', money: true, returns, buyersOnly: true } as const;
  const compute = { historic: historicOf, simple: simpleOf, four_factor: fourFactorOf }[variant];
  return perRange(context, asked, about, (parts) => compute(context, asked, parts, input));
}

/** When the window begins and ends. */
export function lifetimeWindow(context: Context, input: Input): { start: string | null; end: string } {
  const { from, end } =
    input.variant === 'four_factor' ? lastTwelveMonths(context, input) : resolveScope(context, input);
  return { start: from, end };
}

/** Default: the twelve months before the local day of `asOf`, or before `to`. */
function lastTwelveMonths(context: Context, input: Input): Scope {
  const { timeZone, asOf } = resolveZone(context, input);
  const { customerId = null } = input;
  if (input.from !== undefined) return resolveScope(context, input, customerId);
  const to =
    input.to === undefined
      ? forParameter('asOf', () => startOfDayBefore(asOf, 0, timeZone))
      : resolveScope(context, input).to;
  const from = forParameter(input.to === undefined ? 'asOf' : 'to', () => monthsBefore(to, 12, timeZone));
  return resolveScope(context, { ...input, from, to }, customerId);
}

async function historicOf(context: Context, asked: Scope, parts: readonly Part[]): Promise<Measured[]> {
  const sums = await historicSums(context.db, context, asked, boundsOf(parts, asked.end));
  return sums.map((sum) => ({ result: historicLifetimeValue(sum), excluded: excludedAmounts(sum) }));
}

async function simpleOf(
  context: Context,
  asked: Scope,
  parts: readonly Part[],
  { retentionCost = null }: { retentionCost?: Input['retentionCost'] | null },
): Promise<Measured[]> {
  const bounds = boundsOf(parts, asked.end);
  const dateOf = (bound: string) => (bound === beginningOfTime ? bound : localDateOf(bound, asked.timeZone));
  const firstDates = bounds.slice(0, -1).map(dateOf);
  const lastDates = bounds.slice(1).map((bound) => lastDateBefore(bound, asked.timeZone));
  const sums = await simpleSums(context.db, asked, bounds, { firstDates, lastDates });
  const comparable = asked.currency === null || asked.currency === context.baseCurrency;
  return sums.map((sum) => {
    const costs = comparable ? {} : { acquisitionCost: 0n, buyersWithAcquisitionCost: 0 };
    const result = simpleLifetimeValue({ ...sum, ...costs, retentionCostPerBuyer: retentionCost });
    return {
      result: comparable ? result : otherCurrency(result, context.baseCurrency),
      excluded: excludedAmounts(sum),
    };
  });
}

function otherCurrency(result: MetricResult, baseCurrency: string): MetricResult {
  const message = `Acquisition costs are in ${baseCurrency} and are not subtracted from amounts of another currency.`;
  return { ...result, warnings: [...result.warnings, { code: 'acquisition_cost_in_base_currency', message }] };
}

async function fourFactorOf(context: Context, asked: Scope, parts: readonly Part[], input: Input): Promise<Measured[]> {
  const choice = lifetimeChoice(input);
  const bounds = boundsOf(parts, asked.end);
  const endDates = bounds.slice(1).map((bound) => localDateOf(bound, asked.timeZone));
  const sums = await factorSums(context.db, context, asked, bounds, choice, endDates);
  return sums.map((sum, index) => {
    const result = fourFactorLifetimeValue({
      ...sum,
      months: lengthOf(parts[index], asked),
      margin: input.margin ?? null,
    });
    const told = choice.basis === 'silence' ? { silenceDays: choice.silenceDays } : {};
    return { result: { ...result, values: { ...result.values, ...told } }, excluded: excludedAmounts(sum) };
  });
}

/** Months of the part that has passed; of all of it when none has, where nothing was sold either. */
function lengthOf(part: Part | undefined, { end, timeZone }: Scope): number {
  if (!part) throw new Error('a result without its range');
  const { insideFrom: from, insideTo } = part;
  const passed = earlier(insideTo, end);
  return monthsBetween({ from, to: isBefore(from, passed) ? passed : insideTo, timeZone });
}

function lifetimeChoice(input: Input): LifetimeChoice {
  const basis = input.lifetimeBasis ?? 'observed';
  if (basis !== 'configured') refuseParameters(input, ['lifetimeMonths'], 'lifetimeBasis=configured');
  if (basis !== 'silence') refuseParameters(input, ['silenceDays'], 'lifetimeBasis=silence');
  if (basis === 'configured') return { basis, months: input.lifetimeMonths ?? null };
  return basis === 'silence' ? { basis, silenceDays: input.silenceDays ?? 90 } : { basis };
}
