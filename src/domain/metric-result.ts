import { ratio, safeNumber } from './money.ts';

/** A stable code for programs, a sentence for people. */
export interface Notice {
  code: string;
  message: string;
}

/** A confidence interval at `level` (0.95). */
export interface ConfidenceInterval {
  low: number;
  high: number;
  level: number;
}

/**
 * What every metric function answers: the computed part of a metric's response. Unrounded numbers; what cannot
 * be computed is null with a reason, never 0, NaN or Infinity. Money is in minor units of one currency.
 */
export interface MetricResult {
  value: number | null;
  /** Named companions of the value, as each metric documents them. */
  values: Record<string, number | null>;
  /** Null where the value is not one division, and beyond 2^53 − 1 (a warning then carries the exact digits). */
  numerator: number | null;
  denominator: number | null;
  interval: ConfidenceInterval | null;
  /** Fewer than 30 in the denominator. */
  lowSample: boolean;
  /** Why the value is null. */
  reason: Notice | null;
  /** API names of the inputs without which the value cannot be computed. */
  missingInputs: string[];
  warnings: Notice[];
  groups?: MetricGroup[];
}

/** The same numbers for a part of the population. */
export interface MetricGroup {
  key: string;
  value: number | null;
  values: Record<string, number | null>;
  numerator: number | null;
  denominator: number | null;
  interval: ConfidenceInterval | null;
  lowSample: boolean;
  reason: Notice | null;
}

/** Below this many in the denominator a number says little about anybody else. */
export const lowSampleBelow = 30;

/** A result of these parts; the rest is empty. `lowSample` follows from the denominator (null counts as none). */
export function metricResult(parts: Partial<Omit<MetricResult, 'lowSample'>>): MetricResult {
  const { groups, ...rest } = parts;
  const result: MetricResult = {
    value: null,
    values: {},
    numerator: null,
    denominator: null,
    interval: null,
    lowSample: (parts.denominator ?? 0) < lowSampleBelow,
    reason: null,
    missingInputs: [],
    warnings: [],
    ...rest,
  };
  return groups ? { ...result, groups } : result;
}

/** A result as that of a part of the population. Warnings and missing inputs are of the whole. */
export function asGroup(
  key: string,
  { value, values, numerator, denominator, interval, lowSample, reason }: MetricResult,
): MetricGroup {
  return { key, value, values, numerator, denominator, interval, lowSample, reason };
}

/** `sum` ÷ `count` for an exact sum of money; `whenEmpty` is the reason of a count of 0. */
export function meanOf(
  sum: bigint,
  count: number,
  whenEmpty: Notice,
): Pick<MetricResult, 'value' | 'numerator' | 'denominator' | 'reason' | 'warnings'> {
  assertCount(count, 'count');
  const numerator = safeNumber(sum);
  return {
    value: count === 0 ? null : ratio(sum, BigInt(count)),
    numerator,
    denominator: count,
    reason: count === 0 ? whenEmpty : null,
    warnings: numerator === null ? [beyondSafeInteger('numerator', sum)] : [],
  };
}

/** The exact digits of an integer that no JSON number can carry, so that the value can still be recomputed by hand. */
export function beyondSafeInteger(name: string, exact: bigint): Notice {
  return { code: 'beyond_safe_integer', message: `The ${name} is ${exact}, beyond 2^53 − 1, and is left null.` };
}

/** @throws RangeError unless `count` is a whole number ≥ 0: a statistic that is not one is a fault in the SQL. */
export function assertCount(count: number, name: string): void {
  if (!Number.isSafeInteger(count) || count < 0) throw new RangeError(`${name} is not a count: ${count}`);
}

/** @throws RangeError unless 0 ≤ `part` ≤ `whole`, both counts. */
export function assertPart(part: number, whole: number, name: string): void {
  assertCount(part, name);
  assertCount(whole, `the whole of ${name}`);
  if (part > whole) throw new RangeError(`${name} (${part}) is more than its whole (${whole})`);
}

/**
 * A part's share of its whole (0–1); null when there is nothing to have a share of.
 * @throws RangeError unless 0 ≤ `part` ≤ `whole`, both counts
 */
export function share(part: number, whole: number): number | null {
  assertPart(part, whole, 'the part');
  return whole === 0 ? null : part / whole;
}

/**
 * `{ no_budget: 3 }` under the prefix `lost` is `{ lostNoBudget: 3 }`.
 * @throws RangeError unless all are counts
 */
export function named(prefix: string, counts: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(counts).map(([word, count]) => {
      assertCount(count, word);
      return [prefix + word.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase()), count];
    }),
  );
}
