import { sql } from 'drizzle-orm';
import type { Range } from '../../domain/period.ts';
import { zoneOffsets } from '../../domain/zone-offsets.ts';
import { type Db, param, statement } from './client.ts';

const offsetsAt = statement<{ seconds: number }>(
  'zone_offsets',
  sql`select extract(epoch from (at at time zone ${param('timeZone')}::text) - (at at time zone 'UTC'))::int as seconds
    from unnest(${param('instants')}::timestamptz[]) with ordinality as i(at, place) order by place`,
);

const week = 7 * 86_400_000;
const earliest = Date.UTC(1970, 0, 1);

/**
 * The span in which Node.js and PostgreSQL disagree about the clocks of a zone, from 1970 to two years ahead; null: they
 * agree. They have a time-zone database each, and laws change. It may begin a week before the first disagreement, and end a
 * week after the last.
 */
export async function zoneDifference(db: Db, timeZone: string, now: string): Promise<Range | null> {
  const offsets = zoneOffsets(timeZone);
  const starts = offsets.starts.slice(1).map(Date.parse);
  const until = Date.parse(now) + 104 * week;
  const weekly = Array.from({ length: Math.ceil((until - earliest) / week) }, (_, n) => earliest + n * week);
  const instants = [...new Set([...weekly, ...starts.flatMap((start) => [start - 1, start])])]
    .filter((at) => at >= earliest && at < until)
    .sort((a, b) => a - b);
  const rows = await db.all(offsetsAt, { timeZone, instants: instants.map((at) => new Date(at).toISOString()) });
  let place = 0;
  const differing = instants.flatMap((at, index) => {
    while ((starts[place] ?? Number.POSITIVE_INFINITY) <= at) place += 1;
    return rows[index]?.seconds === offsets.seconds[place] ? [] : [index];
  });
  const [first, last] = [differing[0], differing.at(-1)];
  if (first === undefined || last === undefined) return null;
  const instant = (index: number) => {
    const at = instants[index];
    return new Date(at ?? until).toISOString();
  };
  return {
    from: instant(Math.max(0, first - 1)),
    to: last + 1 < instants.length ? instant(last + 1) : '9999-01-01T00:00:00.000Z',
  };
}

/** What a person should do about it. */
export function zoneWarning(timeZone: string, { from }: Range): string {
  return `Node.js (time-zone database ${process.versions['tz']}) and PostgreSQL disagree about the clocks of ${timeZone} from about ${from.slice(0, 10)} on. Answers about that time are counted from the facts, with the clocks of Node.js; stored dates and months are those of PostgreSQL. Update the older of the two, then run \`npm run verify-rollups -- --repair\`.`;
}
