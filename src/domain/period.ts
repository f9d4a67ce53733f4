import { Temporal } from 'temporal-polyfill';

/**
 * Periods and calendar intervals. An instant is text in UTC as the database columns keep it
 * (`2009-12-01T07:45:00.000Z`, six decimals when there are microseconds); a calendar date is `YYYY-MM-DD`.
 *
 * A day begins at the first instant that carries its date: 01:00 where midnight does not exist (São Paulo 2018-11-04),
 * the earlier one where midnight comes twice. Ask here for the instants of a local day and hand them to SQL:
 * PostgreSQL's `timestamp AT TIME ZONE` takes the later of two midnights.
 *
 * Known quirk: where the clock was set back over midnight (St John's until 2011, at 00:01) the local date runs
 * backwards for an hour. Intervals here follow time, so that hour belongs to the new day.
 */

/** Half-open `[from, to)`. */
export interface Range {
  from: string;
  to: string;
}

/** A range and the IANA zone in which its calendar is read. */
export interface Period extends Range {
  timeZone: string;
}

/** A whole calendar interval: `start` is its first local date. */
export interface CalendarRange extends Range {
  start: string;
}

/** A calendar interval that meets a period. */
export interface Bucket extends CalendarRange {
  /** The part of it that lies in the period: the parts of all buckets make up the period without gap or overlap. */
  insideFrom: string;
  insideTo: string;
  /**
   * The interval has ended by `asOf` and lies wholly in the period. A bucket cut by either end of the period holds
   * fewer days than its neighbours, just like the running one: a smaller number there is no fall.
   */
  complete: boolean;
}

export const calendarIntervals = ['day', 'week', 'month', 'quarter', 'year'] as const;
/** Weeks are ISO weeks, Monday to Sunday. */
export type CalendarInterval = (typeof calendarIntervals)[number];

export const weekDays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;
export type WeekDay = (typeof weekDays)[number];
/** Weeks from another day on. */
type WeekFrom = `week_from_${WeekDay}`;
export type Interval = CalendarInterval | WeekFrom;

/** Weeks that start on a day; other intervals stay what they are. */
export function startingOn(interval: CalendarInterval, weekStart: WeekDay): Interval {
  return interval === 'week' && weekStart !== 'monday' ? `week_from_${weekStart}` : interval;
}

/** How many days after Monday the weeks start; null: no weeks. */
function weekOffset(interval: Interval): number | null {
  if (interval === 'week') return 0;
  const at = weekDays.findIndex((day) => interval === `week_from_${day}`);
  return at < 0 ? null : at;
}

/** Mean length of a Gregorian-Julian month, 365.25 ÷ 12. */
export const daysPerMonth = 30.4375;

/** What can be wrong with a period; `code` is stable. */
export class PeriodError extends RangeError {
  readonly code: 'invalid_time_zone' | 'invalid_instant' | 'out_of_range' | 'empty_period';

  constructor(code: PeriodError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

const zonePattern = /^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*$/;

/** Names that ICU takes for a zone and PostgreSQL for another one (its abbreviations, without daylight saving) or for none. */
const ambiguousZone = /^([CEMW]ET|SystemV\/.*|US\/Pacific-New)$/i;

/**
 * The name of an IANA zone in its own capitals. Offsets (`+02:00`) are refused: they know no daylight saving, and
 * PostgreSQL reads their sign the other way round. So are the names that the two of them understand differently.
 * @throws PeriodError `invalid_time_zone`
 */
export function timeZoneName(text: string): string {
  try {
    if (zonePattern.test(text) && !ambiguousZone.test(text)) return new Temporal.ZonedDateTime(0n, text).timeZoneId;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  throw new PeriodError('invalid_time_zone', `${text.slice(0, 60)} is not an IANA time zone`);
}

const datePattern = /^\d{4}-\d\d-\d\d$/;
const instantPattern = /^\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i;

/**
 * A calendar date (its first instant in the zone) or an RFC 3339 instant as a canonical instant. Nanoseconds are
 * rounded to microseconds, as PostgreSQL does.
 * @throws PeriodError `invalid_instant`, or `out_of_range` outside the years 1000–9998: the intervals around it must
 * keep four-digit years
 */
export function resolveInstant(text: string, timeZone: string): string {
  let instant: Temporal.Instant | undefined;
  try {
    if (datePattern.test(text)) instant = startOfDay(Temporal.PlainDate.from(text), timeZone);
    else if (instantPattern.test(text)) {
      const exact = Temporal.Instant.from(text);
      instant = exact.round({ smallestUnit: 'microsecond', roundingMode: 'halfExpand' });
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  if (!instant)
    throw new PeriodError('invalid_instant', `${text.slice(0, 60)} is neither a date nor an RFC 3339 instant`);
  const year = instant.toZonedDateTimeISO('UTC').year;
  if (year < 1000 || year > 9998) throw new PeriodError('out_of_range', `${text} is outside the years 1000 to 9998`);
  return formatInstant(instant);
}

/**
 * A period from what a client wrote: each end a date or an instant, in an IANA zone.
 * @throws PeriodError as `timeZoneName` and `resolveInstant` do, and `empty_period` unless from < to
 */
export function resolvePeriod(from: string, to: string, timeZone: string): Period {
  const zone = timeZoneName(timeZone);
  const period = { from: resolveInstant(from, zone), to: resolveInstant(to, zone), timeZone: zone };
  if (!isBefore(period.from, period.to)) throw new PeriodError('empty_period', '`from` must be earlier than `to`');
  return period;
}

/** Whether canonical instant `a` is earlier than `b`. As text `…00.000Z` would sort after `…00.000001Z`. */
export function isBefore(a: string, b: string): boolean {
  return a.slice(0, -1) < b.slice(0, -1);
}

const dayLength = 86_400_000;

/**
 * The canonical instant `days` times 24 hours later (earlier if negative): the time of day stays, microseconds too.
 * @throws RangeError beyond the years 0000 to 9999
 */
export function addDays(instant: string, days: number): string {
  const moved = new Date(Date.parse(instant.slice(0, 10)) + days * dayLength).toISOString();
  if (moved.length !== 24) throw new RangeError(`${days} days from ${instant} is beyond four-digit years`);
  return moved.slice(0, 10) + instant.slice(10);
}

/** The canonical instant so many seconds later, in whole milliseconds. */
export function addSeconds(instant: string, seconds: number): string {
  return new Date(Date.parse(instant) + Math.round(seconds * 1000)).toISOString();
}

/**
 * The canonical instant so many calendar months later in UTC (earlier if negative): the day stays, or is the last one of a
 * shorter month; so does the time of day.
 */
export function addMonths(instant: string, months: number): string {
  return formatInstant(Temporal.Instant.from(instant).toZonedDateTimeISO('UTC').add({ months }).toInstant());
}

/** The calendar interval that an instant falls into. */
export function intervalAt(interval: Interval, instant: string, timeZone: string): CalendarRange {
  return calendarRange(interval, startDateAt(interval, Temporal.Instant.from(instant), timeZone), timeZone);
}

/** The calendar interval before the one starting on local date `start`; a day that a zone skipped does not count. */
export function previousBucket(interval: Interval, start: string, timeZone: string): CalendarRange {
  let date = Temporal.PlainDate.from(start);
  for (;;) {
    date = step(interval, date, -1);
    const range = calendarRange(interval, date, timeZone);
    if (range.from !== range.to) return range;
  }
}

/**
 * The whole calendar intervals that meet the period, in order; consecutive ones share their boundary. A day that the
 * zone skipped (Apia 2011-12-30) has no bucket. Bounding their number is the caller's: see `countBuckets`.
 */
export function buckets(interval: Interval, period: Period, asOf: string): Bucket[] {
  const { timeZone } = period;
  const list: Bucket[] = [];
  let date = startDateAt(interval, Temporal.Instant.from(period.from), timeZone);
  let from = formatInstant(startOfDay(date, timeZone));
  while (isBefore(from, period.to)) {
    const next = step(interval, date, 1);
    const to = formatInstant(startOfDay(next, timeZone));
    const startsInside = !isBefore(from, period.from);
    const endsInside = !isBefore(period.to, to);
    if (from !== to) {
      list.push({
        start: date.toString(),
        from,
        to,
        insideFrom: startsInside ? from : period.from,
        insideTo: endsInside ? to : period.to,
        complete: startsInside && endsInside && !isBefore(asOf, to),
      });
    }
    date = next;
    from = to;
  }
  return list;
}

/** How many buckets `buckets` would return, without making them; a skipped day is counted. */
export function countBuckets(interval: Interval, period: Period): number {
  const { timeZone } = period;
  const first = startDateAt(interval, Temporal.Instant.from(period.from), timeZone);
  const last = startDateAt(interval, Temporal.Instant.from(period.to).subtract({ nanoseconds: 1 }), timeZone);
  const unit = unitOf(interval);
  if ('days' in unit) return first.until(last, { largestUnit: 'day' }).days / unit.days + 1;
  return first.until(last, { largestUnit: 'month' }).months / unit.months + 1;
}

/** The last calendar month that ended by `asOf`, and the month before it: the default of retention and churn. */
export function lastCompleteMonth(asOf: string, timeZone: string): { current: CalendarRange; previous: CalendarRange } {
  const running = intervalAt('month', asOf, timeZone);
  const current = previousBucket('month', running.start, timeZone);
  return { current, previous: previousBucket('month', current.start, timeZone) };
}

/** The months (first days, `YYYY-MM-01`) that make up the period exactly, or null when an end is not a month's start. */
export function monthsCovered(period: Period): string[] | null {
  const first = intervalAt('month', period.from, period.timeZone);
  const afterLast = intervalAt('month', period.to, period.timeZone);
  if (first.from !== period.from || afterLast.from !== period.to) return null;
  const months: string[] = [];
  const end = Temporal.PlainDate.from(afterLast.start);
  for (let month = Temporal.PlainDate.from(first.start); !month.equals(end); month = month.add({ months: 1 })) {
    months.push(month.toString());
  }
  return months;
}

/** Calendar days of the period in its zone, whatever their hours; a day that is cut counts by its elapsed part. */
export function daysBetween(period: Period): number {
  return dayPosition(period.to, period.timeZone) - dayPosition(period.from, period.timeZone);
}

/** Length of the period in months of 30.4375 days. */
export function monthsBetween(period: Period): number {
  return daysBetween(period) / daysPerMonth;
}

const epoch = Temporal.PlainDate.from('1970-01-01');

function dayPosition(text: string, timeZone: string): number {
  const instant = Temporal.Instant.from(text);
  const date = startDateAt('day', instant, timeZone);
  const start = startOfDay(date, timeZone).epochNanoseconds;
  const length = startOfDay(date.add({ days: 1 }), timeZone).epochNanoseconds - start;
  return epoch.until(date, { largestUnit: 'day' }).days + Number(instant.epochNanoseconds - start) / Number(length);
}

/** How long an interval is. */
function unitOf(interval: Interval): { days: number } | { months: number } {
  switch (interval) {
    case 'day':
      return { days: 1 };
    case 'month':
      return { months: 1 };
    case 'quarter':
      return { months: 3 };
    case 'year':
      return { months: 12 };
    default:
      return { days: 7 };
  }
}

function step(interval: Interval, date: Temporal.PlainDate, count: 1 | -1): Temporal.PlainDate {
  const unit = unitOf(interval);
  return date.add('days' in unit ? { days: count * unit.days } : { months: count * unit.months });
}

function startDateAt(interval: Interval, instant: Temporal.Instant, timeZone: string): Temporal.PlainDate {
  const local = instant.toZonedDateTimeISO(timeZone).toPlainDate();
  let date = floorDate(interval, local);
  // Only where the clock went back over midnight is the local date behind the day that has begun already.
  for (;;) {
    const next = step(interval, date, 1);
    if (Temporal.Instant.compare(startOfDay(next, timeZone), instant) > 0) return date;
    date = next;
  }
}

function floorDate(interval: Interval, date: Temporal.PlainDate): Temporal.PlainDate {
  const offset = weekOffset(interval);
  if (offset !== null) return date.subtract({ days: (date.dayOfWeek + 6 - offset) % 7 });
  switch (interval) {
    case 'month':
      return date.with({ day: 1 });
    case 'quarter':
      return date.with({ day: 1, month: date.month - ((date.month - 1) % 3) });
    case 'year':
      return date.with({ day: 1, month: 1 });
    default:
      return date;
  }
}

function calendarRange(interval: Interval, date: Temporal.PlainDate, timeZone: string): CalendarRange {
  return {
    start: date.toString(),
    from: formatInstant(startOfDay(date, timeZone)),
    to: formatInstant(startOfDay(step(interval, date, 1), timeZone)),
  };
}

function startOfDay(date: Temporal.PlainDate, timeZone: string): Temporal.Instant {
  return date.toZonedDateTime(timeZone).toInstant();
}

function formatInstant(instant: Temporal.Instant): string {
  const whole = instant.epochNanoseconds % 1_000_000n === 0n;
  return instant.toString({ fractionalSecondDigits: whole ? 3 : 6 });
}
