import { sql } from 'drizzle-orm';
import fc from 'fast-check';
import t from 'tap';
import { zoneOffsets } from '../../../src/domain/zone-offsets.ts';
import { metricResult } from '../../../src/features/metrics/model.ts';
import { getNewAndReturning, getPurchaseGaps, getRetentionRate } from '../../../src/features/metrics/operations.ts';
import { localTime, zoneValues } from '../../../src/features/metrics/source.ts';
import { type Db, openPool, param, poolDb, statement } from '../../../src/platform/db/client.ts';
import { zoneDifference } from '../../../src/platform/db/zone-difference.ts';
import { testDatabase } from '../../support/database.ts';
import { draws, endOnFailure, firstSeed } from '../../support/draws.ts';
import { world } from '../../support/facts.ts';

/* Local dates come from one time-zone database, that of Node.js, whatever PostgreSQL knows. */

const { connection } = await testDatabase(t);
const pool = openPool(connection, { size: 1, statementTimeout: 10_000 });
t.teardown(() => pool.end());
const db = poolDb(pool);

const local = statement<{ local: string }>(
  'local_times',
  sql`select to_char(${localTime(sql`i.at`)}, 'YYYY-MM-DD HH24:MI:SS') as local
    from unnest(${param('instants')}::timestamptz[]) with ordinality as i(at, place) order by place`,
);

/** The calendar and clock of a zone as `Intl` writes them: no code of the service. */
function wallClock(instant: Date, timeZone: string): string {
  const written = new Intl.DateTimeFormat('sv-SE', {
    timeZone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
  return written.format(instant);
}

t.test('the local time of a record is that of Node.js, around every change of the clocks', async (t) => {
  // Vancouver: the two databases disagree where one of them does not know yet that it keeps summer time from 2026 on.
  const zones = [
    'America/Vancouver',
    'America/St_Johns',
    'Pacific/Apia',
    'America/Sao_Paulo',
    'Europe/Dublin',
    'Asia/Kathmandu',
  ];
  const zone = fc.oneof(fc.constantFrom(...zones), fc.constantFrom(...Intl.supportedValuesOf('timeZone')));
  const moments = fc.array(
    fc.record({
      place: fc.nat(400),
      around: fc.integer({ min: -7_200, max: 7_200 }),
      any: fc.integer({ min: 0, max: 1_900_000_000 }),
    }),
    { minLength: 20, maxLength: 20 },
  );
  await fc.assert(
    fc.asyncProperty(zone, moments, async (timeZone, list) => {
      const starts = zoneOffsets(timeZone)
        .starts.slice(1)
        .map((start) => Date.parse(start) / 1_000);
      const instants = list
        .flatMap(({ place, around, any }) => [(starts[place % starts.length] ?? any) + around, any])
        .filter((seconds) => seconds > 0)
        .map((seconds) => new Date(seconds * 1_000));
      const rows = await db.all(local, {
        ...zoneValues(timeZone),
        instants: instants.map((instant) => instant.toISOString()),
      });
      for (const [index, instant] of instants.entries()) {
        const right = wallClock(instant, timeZone);
        const found = rows[index]?.local;
        if (found !== right) throw new Error(`${instant.toISOString()} in ${timeZone}: ${found}, right is ${right}`);
      }
    }),
    { numRuns: draws({ quick: 25, deep: 400 }), seed: firstSeed(26), endOnFailure },
  );
  t.pass('every local time was right');
});

t.test('at the start the two databases are compared', async (t) => {
  const now = '2026-11-30T12:00:00Z';
  t.equal(await zoneDifference(db, 'UTC', now), null);
  /** A PostgreSQL whose clocks are an hour ahead within a span. */
  const ahead = (timeZone: string, from: string, to: string): Db => ({
    all: (async (_, { instants }: { instants: string[] }) => {
      const offset = (at: string) =>
        Math.round(
          (Date.parse(`${wallClock(new Date(at), timeZone).replace(' ', 'T')}Z`) -
            Math.floor(Date.parse(at) / 1_000) * 1_000) /
            1_000,
        );
      return instants.map((at) => ({ seconds: offset(at) + (at >= from && at < to ? 3_600 : 0) }));
    }) as Db['all'],
    first: () => Promise.reject(new Error('not asked')),
  });
  const same = ahead('Europe/Berlin', '9', '9');
  t.equal(await zoneDifference(same, 'Europe/Berlin', now), null, 'the same rules');
  const winter = ahead('Europe/Berlin', '2025-11-10', '2026-01-10');
  const found = await zoneDifference(winter, 'Europe/Berlin', now);
  t.ok(found && found.from <= '2025-11-10' && found.from > '2025-11-01');
  t.ok(found && found.to >= '2026-01-10' && found.to < '2026-01-19');
  const open = await zoneDifference(ahead('Europe/Berlin', '2026-11-01', '9'), 'Europe/Berlin', now);
  t.equal(open?.to, '9999-01-01T00:00:00.000Z', 'open-ended');
});

t.test('where they differ, months are counted from the facts', async (t) => {
  const at = (day: string) => `${day}T12:00:00Z`;
  const orders = ['2026-08-05', '2026-09-05', '2026-11-05', '2026-12-05'].map((day) => ({ customer: 1, at: at(day) }));
  const place = await world(t, { orders }, { now: '2027-03-15T09:00:00.000Z' });
  await place.pool.query('delete from customer_month');
  const zonesDiffer = { from: '2026-11-01T00:00:00.000Z', to: '9999-01-01T00:00:00.000Z' };
  const ask = async (operation: Parameters<typeof place.ask>[0], input: object) =>
    metricResult.parse(await place.ask(operation, input, { zonesDiffer })).denominator;
  t.equal(await ask(getRetentionRate, { from: '2026-09-01', to: '2026-10-01' }), 0, 'the months, which are gone');
  t.equal(await ask(getRetentionRate, { from: '2026-12-01', to: '2027-01-01' }), 1, 'the facts');
  t.equal(await ask(getNewAndReturning, { from: '2026-08-01', to: '2026-11-01' }), 0);
  t.equal(await ask(getNewAndReturning, { from: '2026-08-01', to: '2026-12-01' }), 1);
});

t.test('days of purchases are days of Node.js', async (t) => {
  // Half an hour before midnight where the clocks are seven hours behind, and half an hour after it where they are eight.
  const timeZone = 'America/Vancouver';
  const evening = '2027-01-10T06:30:00Z';
  const orders = [
    { customer: 1, at: '2027-01-05T20:00:00Z' },
    { customer: 1, at: evening },
  ];
  const place = await world(t, { orders }, { now: '2027-03-15T09:00:00.000Z', reportingTimeZone: timeZone });
  const date = wallClock(new Date(evening), timeZone).slice(8, 10);
  const gaps = metricResult.parse(await place.ask(getPurchaseGaps, { timeZone }));
  t.equal(gaps.value, Number(date) - 5);
});
