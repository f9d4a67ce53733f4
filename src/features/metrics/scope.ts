import {
  type Bucket,
  buckets,
  type CalendarInterval,
  countBuckets,
  type Interval,
  intervalAt,
  isBefore,
  PeriodError,
  type Range,
  resolveInstant,
  resolvePeriod,
  startingOn,
  timeZoneName,
  type WeekDay,
} from '../../domain/period.ts';
import { Problem } from '../../platform/errors.ts';
import type { Context } from '../../platform/operation.ts';

/** The parameters every metric shares, as parsed. */
export interface CommonInput {
  from?: string | undefined;
  to?: string | undefined;
  timeZone?: string | undefined;
  asOf?: string | undefined;
  currency?: string | undefined;
  payment?: 'all' | 'paid' | undefined;
  zeroValue?: 'include' | 'exclude' | undefined;
  refunds?: 'restate' | 'when_given' | undefined;
  interval?: CalendarInterval | undefined;
  weekStart?: WeekDay | undefined;
  /** Of groups of orders, not of customers: what is summed up by customer does not know them. */
  someOrders?: boolean | undefined;
}

/** Which orders count. */
export interface Filter {
  /** Only records in this currency; null: all of them, amounts in the base currency. */
  currency: string | null;
  paidOnly: boolean;
  withoutZero: boolean;
  customerId: string | null;
  /** The instant from which cancellations and refunds are not known yet; null: all of them are. */
  past: string | null;
  /** Refunds count when they were given, as returns do; they do not change their order. */
  refundsWhenGiven: boolean;
  /** Some orders of a customer, and not others. */
  someOrders: boolean;
}

/** A question about a period, resolved to instants once. */
export interface Scope extends Filter {
  /** null: all time. */
  from: string | null;
  to: string;
  asOf: string;
  /** The earlier of `to` and `asOf`: facts from here on are not counted. */
  end: string;
  timeZone: string;
  interval: Interval | null;
}

/** Before all facts, in Postgres and in the order of `isBefore`. */
export const beginningOfTime = '-infinity';

const maxBuckets = 1_000;

export function earlier(a: string, b: string): string {
  return isBefore(b, a) ? b : a;
}

/** `invalid_input` naming one parameter. */
export function invalidParameter(parameter: string, code: string, message: string): Problem {
  return new Problem('invalid_input', `${parameter}: ${message}`, { errors: [{ parameter, code, message }] });
}

/** Runs calendar arithmetic whose faults are those of a parameter. */
export function forParameter<T>(parameter: string, compute: () => T): T {
  try {
    return compute();
  } catch (error) {
    if (error instanceof PeriodError) throw invalidParameter(parameter, error.code, error.message);
    throw error;
  }
}

/** Parameters that mean nothing for the chosen variant are refused like unknown ones, never ignored. */
export function refuseParameters<I extends object>(
  input: I,
  names: readonly (keyof I & string)[],
  instead: string,
): void {
  const given = names.filter((name) => input[name] !== undefined);
  if (given.length === 0) return;
  throw new Problem('unsupported_parameter', `${given.join(', ')}: only with ${instead}.`, {
    errors: given.map((parameter) => ({ parameter, code: 'unsupported_parameter', message: `Only with ${instead}.` })),
  });
}

export function resolveZone(context: Context, input: CommonInput): { timeZone: string; asOf: string } {
  const timeZone = forParameter('timeZone', () => timeZoneName(input.timeZone ?? context.reportingTimeZone));
  const asOf = forParameter('asOf', () => resolveInstant(input.asOf ?? context.now, timeZone));
  return { timeZone, asOf };
}

/** Two ends given by a client. */
export function resolveRange(range: Range, timeZone: string, names: { from: string; to: string }): Range {
  const from = forParameter(names.from, () => resolveInstant(range.from, timeZone));
  const to = forParameter(names.to, () => resolveInstant(range.to, timeZone));
  if (!isBefore(from, to)) throw invalidParameter(names.from, 'empty_period', `must be earlier than ${names.to}`);
  return { from, to };
}

/**
 * The scope of a metric whose default period is all time.
 * @throws Problem `invalid_input` naming the parameter
 */
export function resolveScope(context: Context, input: CommonInput, customerId: string | null = null): Scope {
  const { timeZone, asOf } = resolveZone(context, input);
  const to = input.to === undefined ? asOf : forParameter('to', () => resolveInstant(input.to ?? asOf, timeZone));
  const from =
    input.from === undefined ? null : resolveRange({ from: input.from, to }, timeZone, { from: 'from', to: 'to' }).from;
  return scopeOf(context, input, { from, to, asOf, timeZone, customerId });
}

export function scopeOf(
  { now }: Pick<Context, 'now'>,
  input: CommonInput,
  period: Pick<Scope, 'from' | 'to' | 'asOf' | 'timeZone' | 'customerId'>,
): Scope {
  if (input.interval !== 'week') refuseParameters(input, ['weekStart'], 'interval=week');
  return {
    ...period,
    end: earlier(period.to, period.asOf),
    interval: input.interval === undefined ? null : startingOn(input.interval, input.weekStart ?? 'monday'),
    currency: input.currency ?? null,
    paidOnly: input.payment === 'paid',
    withoutZero: input.zeroValue === 'exclude',
    past: isBefore(period.asOf, now) ? period.asOf : null,
    refundsWhenGiven: input.refunds === 'when_given',
    someOrders: input.someOrders ?? false,
  };
}

/**
 * The calendar intervals of the series; none without `interval`, and none of all time when there is no fact. The
 * series of all time begins with the whole interval of the first fact: nothing is cut off there.
 * @throws Problem `invalid_input` (`too_many_intervals`)
 */
export function seriesOf(scope: Scope, firstFact: string | null): Bucket[] {
  const { interval, timeZone, to } = scope;
  if (interval === null) return [];
  const from = scope.from ?? (firstFact === null ? null : intervalAt(interval, firstFact, timeZone).from);
  if (from === null) return [];
  const period = forParameter('interval', () => resolvePeriod(from, to, timeZone));
  const count = countBuckets(interval, period);
  if (count > maxBuckets) {
    throw invalidParameter(
      'interval',
      'too_many_intervals',
      `the period has ${count} of them, more than ${maxBuckets}`,
    );
  }
  return buckets(interval, period, scope.asOf);
}

/** A range that a number is about: a bucket, or the whole period. */
export type Part = Pick<Bucket, 'insideFrom' | 'insideTo'>;

/** The ends of consecutive ranges, cut at `end`: bucket k (from 1) of `width_bucket` is the k-th range. */
export function boundsOf(parts: readonly Part[], end: string): string[] {
  const last = parts.at(-1);
  if (!last) return [];
  return [...parts.map((part) => part.insideFrom), last.insideTo].map((bound) => earlier(bound, end));
}

export function wholePeriod(scope: Scope): Part {
  return { insideFrom: scope.from ?? beginningOfTime, insideTo: scope.to };
}

export function hasEnded(end: string, asOf: string): boolean {
  return !isBefore(asOf, end);
}
