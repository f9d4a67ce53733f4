import { Temporal } from 'temporal-polyfill';

/**
 * How far the clocks of a zone are ahead of UTC, and since when: for SQL, so that the local dates of records come from
 * the same time-zone database as the periods they are counted in. PostgreSQL has one of its own, and of two databases one
 * is always the older.
 */
export interface ZoneOffsets {
  /** Ascending instants; the first is the beginning of time. */
  starts: string[];
  /** Seconds, from each start on. */
  seconds: number[];
}

/** Records lie in the past; rules for later years are guesses anyway. */
const lastYear = 2050;

const known = new Map<string, ZoneOffsets>();

export function zoneOffsets(timeZone: string): ZoneOffsets {
  const found = known.get(timeZone);
  if (found) return found;
  let at: Temporal.ZonedDateTime | null = Temporal.Instant.from('1000-01-01T00:00:00Z').toZonedDateTimeISO(timeZone);
  const offsets: ZoneOffsets = { starts: ['-infinity'], seconds: [at.offsetNanoseconds / 1e9] };
  for (;;) {
    at = at.getTimeZoneTransition('next');
    if (at === null || at.year > lastYear) break;
    offsets.starts.push(at.toInstant().toString());
    offsets.seconds.push(at.offsetNanoseconds / 1e9);
  }
  known.set(timeZone, offsets);
  return offsets;
}
