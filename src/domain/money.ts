import { minorUnits } from './currencies.ts';

/**
 * Exact arithmetic on money. Amounts are integers in minor units; whatever may pass 2^53 on the way (a product, a sum
 * of many) is a bigint, and a float appears at most once, as the correctly rounded last step.
 */

/** The rational number `digits` ÷ 10^`scale`. */
export interface Decimal {
  readonly digits: bigint;
  readonly scale: number;
}

const decimalPattern = /^([+-]?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,3}))?$/;

/**
 * Reads `12`, `-0.055`, `1e-7` (what JavaScript prints for small numbers) without loss.
 * @throws RangeError for anything else, `NaN`, `.5` and `5.` included.
 */
export function parseDecimal(text: string): Decimal {
  const match = decimalPattern.exec(text);
  if (!match) throw new RangeError(`not a decimal number: ${text.slice(0, 40)}`);
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match;
  const digits = BigInt(sign === '-' ? `-${whole}${fraction}` : `${whole}${fraction}`);
  const scale = fraction.length - Number(exponent);
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}

/** Plain notation without trailing zeros: `0.01`, `-12`, `0`. */
export function formatDecimal({ digits, scale }: Decimal): string {
  const magnitude = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, '0');
  const whole = magnitude.slice(0, magnitude.length - scale);
  const fraction = magnitude.slice(magnitude.length - scale).replace(/0+$/, '');
  return `${digits < 0n ? '-' : ''}${whole}${fraction === '' ? '' : `.${fraction}`}`;
}

/** `numerator` ÷ `denominator` as an integer, halves away from zero (as PostgreSQL rounds `numeric`). */
export function divideRounded(numerator: bigint, denominator: bigint): bigint {
  if (denominator === 0n) throw new RangeError('division by zero');
  const negative = numerator < 0n !== denominator < 0n;
  const n = numerator < 0n ? -numerator : numerator;
  const d = denominator < 0n ? -denominator : denominator;
  const rounded = (2n * n + d) / (2n * d);
  return negative ? -rounded : rounded;
}

/**
 * A net amount in the base currency, rounded half away from zero to its minor unit.
 * @param netMinor minor units of `from`
 * @param rate base major units for one major unit of `from`, as a decimal string: the float nearest to `1.1` is not 1.1
 * @returns minor units of `base`
 * @throws RangeError for an unreadable rate, an unknown currency, or a result beyond 2^53 − 1
 */
export function convertToBase(netMinor: number | bigint, rate: string, from: string, base: string): number {
  const factor = baseFactorDecimal(rate, from, base);
  return toSafeNumber(divideRounded(exactInteger(netMinor) * factor.digits, 10n ** BigInt(factor.scale)));
}

/**
 * What one minor unit of `from` is worth in minor units of `base`: rate × 10^(exponent of base − exponent of from), as
 * an exact decimal string. `round(net * factor)` in PostgreSQL's `numeric` equals `convertToBase`.
 * @throws RangeError for an unreadable rate or an unknown currency
 */
export function baseFactor(rate: string, from: string, base: string): string {
  return formatDecimal(baseFactorDecimal(rate, from, base));
}

function baseFactorDecimal(rate: string, from: string, base: string): Decimal {
  const { digits, scale } = parseDecimal(rate);
  const shifted = scale + minorUnits(from) - minorUnits(base);
  return shifted >= 0 ? { digits, scale: shifted } : { digits: digits * 10n ** BigInt(-shifted), scale: 0 };
}

/** The amounts of an order, in minor units of its currency. */
export interface OrderAmounts {
  /** Line totals after line discounts; may be 0 or negative. */
  items: readonly { readonly total: number }[];
  shipping?: number | null | undefined;
  fees?: number | null | undefined;
  tax?: number | null | undefined;
  /** The item totals contain the tax already. */
  taxIncluded?: boolean | null | undefined;
  discount?: number | null | undefined;
  rounding?: number | null | undefined;
}

/**
 * What an amount is worth at the factor frozen with it, as the generated columns of the database have it: rounded half
 * away from zero. Null: no factor yet, or a result beyond 2^53 − 1.
 * @param netMinor minor units of the currency of the fact
 * @param factor of `baseFactor`
 * @returns minor units of the base currency
 */
export function baseAmount(netMinor: number, factor: string | null): number | null {
  if (factor === null) return null;
  const { digits, scale } = parseDecimal(factor);
  const numerator = BigInt(netMinor) * digits;
  const unit = 10n ** BigInt(scale);
  const magnitude = numerator < 0n ? -numerator : numerator;
  return magnitude < BigInt(Number.MAX_SAFE_INTEGER) * unit ? Number(divideRounded(numerator, unit)) : null;
}

/**
 * Σ items + shipping + fees + (tax, unless it is in the prices) − discount + rounding: what an order's `total` has to
 * be. A bigint, so that a thousand large lines cannot lose a cent before the comparison.
 */
export function orderTotal(order: OrderAmounts): bigint {
  const items = order.items.reduce((sum, item) => sum + BigInt(item.total), 0n);
  const tax = order.taxIncluded ? 0 : (order.tax ?? 0);
  return (
    items +
    BigInt(order.shipping ?? 0) +
    BigInt(order.fees ?? 0) +
    BigInt(tax) -
    BigInt(order.discount ?? 0) +
    BigInt(order.rounding ?? 0)
  );
}

/**
 * Σ quantity × price over lines whose prices have any number of decimals (shops sell at 0.055), summed exactly and
 * rounded once, half away from zero.
 * @param lines quantities and prices in major units, as decimal strings
 * @returns minor units of `currency`
 * @throws RangeError for an unreadable number, an unknown currency, or a result beyond 2^53 − 1
 */
export function minorFromDecimalLines(
  lines: readonly { readonly quantity: string; readonly price: string }[],
  currency: string,
): number {
  const products = lines.map((line) => {
    const quantity = parseDecimal(line.quantity);
    const price = parseDecimal(line.price);
    return { digits: quantity.digits * price.digits, scale: quantity.scale + price.scale };
  });
  const scale = products.reduce((widest, product) => Math.max(widest, product.scale), 0);
  const sum = products.reduce((total, p) => total + p.digits * 10n ** BigInt(scale - p.scale), 0n);
  return toSafeNumber(divideRounded(sum * 10n ** BigInt(minorUnits(currency)), 10n ** BigInt(scale)));
}

/**
 * An exact integer from what SQL delivers: a `numeric` or `bigint` as text (`-123`, `123.000`), a safe number, a bigint.
 * @throws RangeError for a fraction or an unsafe number: its last digits are lost already
 */
export function exactInteger(value: string | number | bigint): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new RangeError(`not a safe integer: ${value}`);
    return BigInt(value);
  }
  const { digits, scale } = parseDecimal(value);
  const unit = 10n ** BigInt(scale);
  if (digits % unit !== 0n) throw new RangeError(`not an integer: ${value.slice(0, 40)}`);
  return digits / unit;
}

/** The integer as a number, or null beyond ±(2^53 − 1), where a number would be another integer. */
export function safeNumber(value: bigint): number | null {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : null;
}

function toSafeNumber(value: bigint): number {
  const number = safeNumber(value);
  if (number === null) throw new RangeError(`beyond 2^53 − 1 minor units: ${value}`);
  return number;
}

/**
 * The double nearest to `numerator` ÷ `denominator`, ties to even: the digits a float division would give if both
 * operands fitted in doubles.
 * @throws RangeError when the denominator is 0: "no data" is the caller's to name
 */
export function ratio(numerator: bigint, denominator: bigint): number {
  if (denominator === 0n) throw new RangeError('ratio with a denominator of 0');
  if (numerator === 0n) return 0;
  const negative = numerator < 0n !== denominator < 0n;
  const n = numerator < 0n ? -numerator : numerator;
  const d = denominator < 0n ? -denominator : denominator;
  // A quotient of at least 66 bits leaves two below the 53 + 1 that decide the rounding; the sticky last bit tells a
  // tie from a little more than a tie. Number(bigint) then rounds once, to nearest, ties to even.
  const shift = Math.max(0, 66 + bitLength(d) - bitLength(n));
  const scaled = n << BigInt(shift);
  const quotient = scaled / d;
  const sticky = scaled % d === 0n ? quotient : quotient | 1n;
  const value = Number(sticky) * 2 ** -shift;
  return negative ? -value : value;
}

function bitLength(positive: bigint): number {
  return positive.toString(16).length * 4;
}
