import { parseDecimal } from './money.ts';

/** An exact fraction; `denominator` > 0, and nothing divides both. */
export interface Fraction {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

/** @throws RangeError when the denominator is 0 */
export function fraction(numerator: number | bigint, denominator: number | bigint = 1n): Fraction {
  const [n, d] = [BigInt(numerator), BigInt(denominator)];
  if (d === 0n) throw new RangeError('a fraction over 0');
  if (d === 1n) return { numerator: n, denominator: d };
  const divisor = greatestDivisor(n, d) * (d < 0n ? -1n : 1n);
  return { numerator: n / divisor, denominator: d / divisor };
}

/** A decimal, as text or as the number that prints as it. */
export function decimalFraction(decimal: number | string): Fraction {
  const { digits, scale } = parseDecimal(String(decimal));
  return fraction(digits, 10n ** BigInt(scale));
}

export const nothing = fraction(0);
export const one = fraction(1);

export const add = (a: Fraction, b: Fraction): Fraction =>
  fraction(a.numerator * b.denominator + b.numerator * a.denominator, a.denominator * b.denominator);
export const subtract = (a: Fraction, b: Fraction): Fraction =>
  fraction(a.numerator * b.denominator - b.numerator * a.denominator, a.denominator * b.denominator);
export const multiply = (a: Fraction, b: Fraction): Fraction =>
  fraction(a.numerator * b.numerator, a.denominator * b.denominator);
/** @throws RangeError when `b` is 0 */
export const divide = (a: Fraction, b: Fraction): Fraction =>
  fraction(a.numerator * b.denominator, a.denominator * b.numerator);

export const isLess = (a: Fraction, b: Fraction): boolean => a.numerator * b.denominator < b.numerator * a.denominator;
export const least = (a: Fraction, b: Fraction): Fraction => (isLess(b, a) ? b : a);
export const atLeastNothing = (a: Fraction): Fraction => (a.numerator < 0n ? nothing : a);
export const magnitude = (a: Fraction): Fraction => (a.numerator < 0n ? subtract(nothing, a) : a);
export const isPositive = (a: Fraction): boolean => a.numerator > 0n;
export const total = (all: readonly Fraction[]): Fraction => all.reduce(add, nothing);
/** Towards 0. */
export const whole = (a: Fraction): bigint => a.numerator / a.denominator;

function greatestDivisor(a: bigint, b: bigint): bigint {
  let [x, y] = [a < 0n ? -a : a, b < 0n ? -b : b];
  while (y > 0n) [x, y] = [y, x % y];
  return x === 0n ? 1n : x;
}
