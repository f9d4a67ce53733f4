import { isBefore, resolveInstant } from './period.ts';
import { localDateOf } from './preceding-period.ts';

/** A day that comes once a year and brings a bonus. */
export interface Occasion {
  /** What makes the bonus unique to a member: `birthday:2026`, `anniversary:3`. */
  key: string;
  /** The first instant of the local day. */
  at: string;
}

/**
 * Birthdays in `(after, until]`, after the day of birth itself; the key has the calendar year. 29 February is
 * 28 February in common years.
 * @param birthday `YYYY-MM-DD`; the year of one whose year is not known may be any early one
 */
export function birthdays(birthday: string, after: string, until: string, timeZone: string): Occasion[] {
  return yearly(birthday, after, until, timeZone).map(({ year, at }) => ({ key: `birthday:${year}`, at }));
}

/**
 * Anniversaries of joining in `(after, until]`; the key has the number of years. 29 February is 28 February in common
 * years.
 * @param joinedOn the local date of joining, `YYYY-MM-DD`
 */
export function anniversaries(joinedOn: string, after: string, until: string, timeZone: string): Occasion[] {
  const first = yearOf(joinedOn);
  return yearly(joinedOn, after, until, timeZone).map(({ year, at }) => ({ key: `anniversary:${year - first}`, at }));
}

/** The date in the later years whose local midnight is in `(after, until]`. */
function yearly(date: string, after: string, until: string, timeZone: string): { year: number; at: string }[] {
  const last = yearOf(localDateOf(until, timeZone));
  const list: { year: number; at: string }[] = [];
  for (let year = Math.max(yearOf(date) + 1, yearOf(localDateOf(after, timeZone))); year <= last; year += 1) {
    const at = resolveInstant(`${year}-${dayOf(date, year)}`, timeZone);
    if (isBefore(after, at) && !isBefore(until, at)) list.push({ year, at });
  }
  return list;
}

function dayOf(date: string, year: number): string {
  const day = date.slice(5);
  return day === '02-29' && !isLeapYear(year) ? '02-28' : day;
}

function isLeapYear(year: number): boolean {
  return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
}

function yearOf(date: string): number {
  return Number(date.slice(0, 4));
}
