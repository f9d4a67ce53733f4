import { Temporal } from 'temporal-polyfill';
import { intervalAt, monthsCovered, type Period, PeriodError, type Range, resolveInstant } from './period.ts';

/**
 * The range of the same calendar length that ends where the period begins: as many whole months when the period is
 * made of whole months (March → February, a quarter → the quarter before), otherwise as many local days and hours.
 * @throws PeriodError `out_of_range` before the year 1000
 */
export function precedingPeriod(period: Period): Range {
  const { from, timeZone } = period;
  const months = monthsCovered(period)?.length;
  if (months !== undefined)
    return { from: startOf(localDate(from, timeZone).subtract({ months }), timeZone), to: from };
  if (isStartOfDay(from, timeZone) && isStartOfDay(period.to, timeZone)) {
    const first = localDate(from, timeZone);
    const days = first.until(localDate(period.to, timeZone), { largestUnit: 'day' }).days;
    return { from: startOf(first.subtract({ days }), timeZone), to: from };
  }
  const begin = zoned(from, timeZone);
  const length = begin.until(zoned(period.to, timeZone), { largestUnit: 'day' });
  return { from: canonical(begin.subtract(length)), to: from };
}

/** The first instant of the local day that lies `days` calendar days before the one of `instant`. */
export function startOfDayBefore(instant: string, days: number, timeZone: string): string {
  return startOf(localDate(instant, timeZone).subtract({ days }), timeZone);
}

/** The same local date and time `months` calendar months earlier (31 March → 28 February). */
export function monthsBefore(instant: string, months: number, timeZone: string): string {
  if (isStartOfDay(instant, timeZone)) return startOf(localDate(instant, timeZone).subtract({ months }), timeZone);
  return canonical(zoned(instant, timeZone).subtract({ months }));
}

/** The local date of an instant, `YYYY-MM-DD`. */
export function localDateOf(instant: string, timeZone: string): string {
  return localDate(instant, timeZone).toString();
}

/** The local date of the last microsecond before an instant: the last day of a period that ends there. */
export function lastDateBefore(instant: string, timeZone: string): string {
  const last = Temporal.Instant.from(instant).subtract({ microseconds: 1 });
  return localDateOf(last.toString(), timeZone);
}

function localDate(instant: string, timeZone: string): Temporal.PlainDate {
  return Temporal.PlainDate.from(intervalAt('day', instant, timeZone).start);
}

function isStartOfDay(instant: string, timeZone: string): boolean {
  return intervalAt('day', instant, timeZone).from === instant;
}

function startOf(date: Temporal.PlainDate, timeZone: string): string {
  // Years beyond four digits are written with a sign, which is no date any more.
  if (date.year < 0) throw new PeriodError('out_of_range', `${date} is outside the years 1000 to 9998`);
  return resolveInstant(date.toString(), timeZone);
}

function zoned(instant: string, timeZone: string): Temporal.ZonedDateTime {
  return Temporal.Instant.from(instant).toZonedDateTimeISO(timeZone);
}

function canonical(time: Temporal.ZonedDateTime): string {
  if (time.year < 0) throw new PeriodError('out_of_range', `${time.toPlainDate()} is outside the years 1000 to 9998`);
  return resolveInstant(time.toInstant().toString(), time.timeZoneId);
}
