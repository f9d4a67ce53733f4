import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { countryOf, isCountry } from '../domain/countries.ts';
import { isCurrency } from '../domain/currencies.ts';
import { divideRounded, formatDecimal, parseDecimal } from '../domain/money.ts';
import { timeZoneName } from '../domain/period.ts';
import { typeNames } from './type-names.ts';

/**
 * The vocabulary of every input and output. Strings are checked for what Postgres or JSON cannot carry back
 * (NUL, lone surrogates), so that nothing is stored that differs from what was sent.
 */
export function text(max: number, min = 1) {
  return z.string().min(min).max(max).refine(isStorableText, unstorable);
}

const unstorable = { error: 'contains a NUL character or a lone surrogate', params: { code: 'invalid_text' } };

function isStorableText(value: string): boolean {
  return !value.includes('\u0000') && value.isWellFormed();
}

/** A text of any length, also an empty one: for what is left out with a warning, not refused, when it is unusable. */
export const anyText = z.string().refine(isStorableText, unstorable);

export const id = z
  .uuid()
  .toLowerCase()
  .meta({ description: 'UUIDv7 made by the service.', example: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' });

const instantPattern = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

/** Canonical UTC text, microseconds at most (finer digits are cut: rounding could carry into the next period). */
function canonicalUtc(value: string): string | null {
  if (isCanonical(value)) return value;
  const match = instantPattern.exec(value);
  if (!match) return null;
  const seconds = Date.parse(`${value.slice(0, 19).toUpperCase()}${match[2]?.toUpperCase()}`);
  if (Number.isNaN(seconds)) return null;
  // Date.parse rolls 30 February over to March: the local fields must survive the round trip.
  const local = Date.parse(`${value.slice(0, 19).toUpperCase()}Z`);
  if (Number.isNaN(local) || new Date(local).toISOString().slice(0, 19) !== value.slice(0, 19).toUpperCase())
    return null;
  const year = new Date(seconds).getUTCFullYear();
  if (year < 1 || year > 9999) return null;
  const fraction = (match[1] ?? '').slice(1, 7);
  const digits = fraction.length <= 3 ? fraction.padEnd(3, '0') : fraction.padEnd(6, '0');
  const trimmed = digits.length === 6 && digits.endsWith('000') ? digits.slice(0, 3) : digits;
  return `${new Date(seconds).toISOString().slice(0, 19)}.${trimmed}Z`;
}

/** What most clients send, and quick to tell: the text that its own date has. */
function isCanonical(value: string): boolean {
  if (value.length !== 24 || value < '0001') return false;
  const at = Date.parse(value);
  return !Number.isNaN(at) && new Date(at).toISOString() === value;
}

/** Nanoseconds since the epoch, or null when the text is no instant. */
export function instantNanoseconds(value: string): bigint | null {
  const canonical = canonicalUtc(value);
  if (canonical === null) return null;
  const fraction = (instantPattern.exec(value)?.[1] ?? '').slice(1, 10).padEnd(9, '0');
  return BigInt(Date.parse(`${canonical.slice(0, 19)}Z`)) * 1_000_000n + BigInt(fraction);
}

/**
 * Whether the year is one that metrics can count in (domain/period.ts). What has no date is often sent as 0001-01-01:
 * taken for a fact, it would stretch every series of all time over millennia.
 */
function isInRange(value: string): boolean {
  if (value > '1001' && value < '9998') return true;
  const canonical = canonicalUtc(value) ?? '';
  return canonical >= '1000' && canonical < '9999';
}

/** An RFC 3339 instant with any offset, in the years 1000 to 9998; kept and answered in UTC. */
export const instant = z
  .string()
  .max(64)
  .refine((value) => canonicalUtc(value) !== null, {
    error: 'is not an RFC 3339 instant such as 2026-03-01T09:30:00Z',
    params: { code: 'invalid_instant' },
    abort: true,
  })
  .refine(isInRange, {
    error: 'is outside the years 1000 to 9998',
    params: { code: 'out_of_range' },
    abort: true,
  })
  .overwrite((value) => canonicalUtc(value) ?? value)
  .meta({
    format: 'date-time',
    description: 'RFC 3339 instant, answered in UTC.',
    example: '2026-03-01T09:30:00.000Z',
  });

export const calendarDate = z.iso
  .date()
  .refine((value) => value >= '0001-01-01', { error: 'is out of range' })
  .meta({ description: 'Calendar date.', example: '2026-03-01' });

/** Of a day without a year, which a leap year has always. */
const yearly = /^--(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/;
const isDay = (date: string) => z.iso.date().safeParse(date).success;
/** In which days without a year are stored; before all years that are taken. */
const noYear = '0004';

/** A calendar date, or the day and month of one whose year is not known. */
export const dateOrDay = z
  .string()
  .refine((value) => (yearly.test(value) ? isDay(storedDay(value)) : value >= '1000' && isDay(value)), {
    error: 'is neither a calendar date (1815-12-10) nor a day without a year (--12-10)',
    params: { code: 'invalid_format' },
  })
  .meta({ description: 'Calendar date, or a day without a year: `--02-14`.', example: '1815-12-10' })
  .register(typeNames, { name: 'Date' });

export function storedDay(given: string): string {
  return given.startsWith('--') ? noYear + given.slice(1) : given;
}

export function toldDay(stored: string): string {
  return stored.startsWith(noYear) ? `-${stored.slice(noYear.length)}` : stored;
}

/** The same of a `date` in SQL. */
export function toldDaySql(stored: SQL): SQL {
  const after = sql.raw(String(noYear.length + 1));
  return sql`case when ${stored}::text like ${sql.raw(`'${noYear}-%'`)} then '-' || substr(${stored}::text, ${after}) else ${stored}::text end`;
}

/** Whether `date` is of this day, and has the year that the day lacks. */
export function isYearOf(day: string, date: string): boolean {
  return yearly.test(day) && !yearly.test(date) && date.endsWith(day.slice(1));
}

/** Taken in any case. */
export const currency = z
  .string()
  .overwrite((value) => (/^[a-z]{3}$/i.test(value) ? value.toUpperCase() : value))
  .refine(isCurrency, { error: 'is not an ISO 4217 currency code, such as EUR', params: { code: 'unknown_currency' } })
  .meta({ description: 'ISO 4217 code.', example: 'EUR' });

export const country = z
  .string()
  .regex(/^[A-Z]{2}$/, { abort: true, error: 'is not an ISO 3166-1 alpha-2 code, such as GB' })
  .overwrite(countryOf)
  .refine(isCountry, { error: 'is not an ISO 3166-1 alpha-2 code, such as GB', params: { code: 'unknown_country' } })
  .meta({ description: 'ISO 3166-1 alpha-2 code. UK and EL are taken for GB and GR.', example: 'GB' });

/** Money in minor units of the record's currency. */
export const maxAmount = 1_000_000_000_000;
export const amount = z.int().min(-maxAmount).max(maxAmount).meta({ description: 'Minor units of the currency.' });
export const positiveAmount = z
  .int()
  .min(0)
  .max(maxAmount)
  .meta({ description: 'Minor units of the currency, not negative.' });

/** A count, a position, days: never beyond 32 bits. GraphQL has it as Int, and an integer without bounds as SafeInt. */
export const smallInteger = z.int().register(typeNames, { name: 'Int' });

export const version = z
  .int()
  .min(1)
  .max(2_147_483_647)
  .meta({ description: 'Counts the changes of the record, from 1.', example: 1 });

/** An exact decimal as text, e.g. a price in major units. A JSON number is a float and cannot say 0.1. */
export const decimalText = z
  .string()
  .regex(/^-?\d{1,15}(\.\d{1,12})?$/)
  .meta({ description: 'Exact decimal as a string.', example: '0.055' })
  .register(typeNames, { name: 'Decimal' });

/** A decimal sent as a JSON number or a string; kept as the shortest text that says it, a number to twelve places. */
export const decimalInput = z
  .union([z.number().min(-1e15).max(1e15), decimalText])
  .transform((value) => shortestDecimal(String(value)))
  .register(typeNames, { name: 'Decimal' });

function shortestDecimal(text: string): string {
  const { digits, scale } = parseDecimal(text);
  if (scale <= 12) return formatDecimal({ digits, scale });
  return formatDecimal({ digits: divideRounded(digits, 10n ** BigInt(scale - 12)), scale: 12 });
}

export const timeZone = z
  .string()
  .max(64)
  .refine(isTimeZone, {
    error: 'is not an IANA time zone such as Europe/London',
    params: { code: 'unknown_time_zone' },
  })
  .meta({ description: 'IANA time zone.', example: 'Europe/London' });

function isTimeZone(name: string): boolean {
  try {
    return timeZoneName(name) !== '';
  } catch {
    return false;
  }
}

/** What of free JSON (custom attributes) can be stored and answered as it came: no NUL, no 1e400, no 2^53 + 1, not too deep. */
export function isStorableJson(value: unknown, depth = 0): boolean {
  if (depth > 64) return false;
  if (typeof value === 'string') return isStorableText(value);
  // A larger integer has lost its last digits already.
  if (typeof value === 'number') return Math.abs(value) <= Number.MAX_SAFE_INTEGER;
  if (Array.isArray(value)) return value.every((item) => isStorableJson(item, depth + 1));
  if (value !== null && typeof value === 'object') {
    return Object.entries(value).every(
      ([key, item]) => key !== '__proto__' && isStorableJson(key) && isStorableJson(item, depth + 1),
    );
  }
  return true;
}
