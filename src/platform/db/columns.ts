import { customType } from 'drizzle-orm/pg-core';

/**
 * An instant. Kept as text from end to end (`2009-12-01T07:45:00.000Z`, microseconds when there are any):
 * a JavaScript Date would drop the microseconds that Postgres keeps and that cursors compare.
 */
export const instant = customType<{ data: string; driverData: string }>({
  dataType: () => 'timestamp with time zone',
  fromDriver: canonicalInstant,
});

/** Money and counts: int8, a JavaScript number up to 2^53 − 1; the client refuses to decode anything beyond. */
export const amount = customType<{ data: number; driverData: number }>({ dataType: () => 'bigint' });

/** Exact decimals (rates, quantities) stay strings in the process: a float would not be what the client sent. */
export const decimal = customType<{ data: string; driverData: string }>({ dataType: () => 'numeric' });

/** Text compared byte by byte: keyset order must not depend on the server's locale. */
export const code = customType<{ data: string }>({ dataType: () => 'text COLLATE "C"' });

/** JSON as Postgres understands it, decoded by the driver. */
export const json = customType<{ data: unknown }>({ dataType: () => 'jsonb' });

/**
 * `2009-12-01 07:45:00+00` (Postgres, session zone UTC), or `2009-12-01T07:45:00+00:00` as it stands in its JSON →
 * `2009-12-01T07:45:00.000Z`; canonical input passes through.
 */
export function canonicalInstant(text: string): string {
  if (text.endsWith('Z')) return text;
  const fraction = text.slice(19, text.at(-3) === ':' ? -6 : -3);
  const padded = fraction === '' ? '.000' : fraction.length < 4 ? fraction.padEnd(4, '0') : fraction;
  const micros = padded.length > 4 ? padded.padEnd(7, '0') : padded;
  return `${text.slice(0, 10)}T${text.slice(11, 19)}${micros}Z`;
}
