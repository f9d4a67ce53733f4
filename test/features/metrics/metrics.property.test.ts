import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { metricResult } from '../../../src/features/metrics/model.ts';
import { getCohorts } from '../../../src/features/metrics/operations.ts';
import { draws, endOnFailure, firstSeed } from '../../support/draws.ts';
import { clearFacts, insertFacts, nobody, rollUp, world } from '../../support/facts.ts';
import { cohortNumbers, cohortsExpected, expectations, inEssence, now } from '../../support/metric-expectations.ts';

/**
 * Three ways to one answer: the rollups where they serve, the facts, and a naive count over arrays; in zones with
 * daylight saving as reporting zone and as zone of the question.
 */

// São Paulo has no midnight on 2018-11-04, Berlin and New York change inside the year, Kathmandu is off the hour.
const zones = ['UTC', 'Europe/Berlin', 'America/Sao_Paulo', 'America/New_York', 'Asia/Kathmandu'] as const;
/** No month boundary of the questions is one of this zone's, so everything is answered from the facts. */
const farAway = 'Pacific/Kiritimati';

const instants = fc.oneof(
  fc.integer({ min: Date.UTC(2018, 8, 1), max: Date.UTC(2019, 4, 15) }),
  // Around the turns of months and clocks, where the zones disagree about the day.
  fc
    .tuple(
      fc.constantFrom(
        '2018-09-01',
        '2018-10-28',
        '2018-11-01',
        '2018-11-04',
        '2019-01-01',
        '2019-02-01',
        '2019-02-17',
        '2019-03-31',
      ),
      fc.integer({ min: -14 * 60, max: 14 * 60 }),
    )
    .map(([day, minutes]) => Date.parse(`${day}T00:00:00Z`) + minutes * 60_000),
);
const at = instants.map((ms) => new Date(ms).toISOString());
const money = fc.constantFrom(
  { currency: 'EUR', factor: '1' },
  { currency: 'USD', factor: '0.905' },
  { currency: 'USD', factor: null },
);
const customer = fc.integer({ min: 1, max: 6 });

const order = fc
  .record({
    customer: fc.oneof({ weight: 6, arbitrary: customer }, { weight: 1, arbitrary: fc.constant(nobody) }),
    at,
    money,
    total: fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 1, max: 99_999 }) },
      { weight: 1, arbitrary: fc.constant(0) },
    ),
    tax: fc.constantFrom(0, 0, 7),
    fate: fc.constantFrom(
      'kept',
      'kept',
      'kept',
      'kept',
      'cancelled',
      'test',
      'pending',
      'refunded',
      'partly',
      'nothing back',
    ),
    costs: fc.array(fc.option(fc.integer({ min: 0, max: 5_000 }), { freq: 8 }), { maxLength: 2 }),
  })
  .map(({ money: { currency, factor }, fate, total, ...rest }) => ({
    ...rest,
    total,
    currency,
    factor,
    cancelled: fate === 'cancelled',
    test: fate === 'test',
    pending: fate === 'pending',
    refunds:
      fate === 'refunded' ? [total] : fate === 'partly' ? [Math.floor(total / 3)] : fate === 'nothing back' ? [0] : [],
  }));

const facts = fc.record({
  customers: fc.uniqueArray(
    fc.record({
      customer,
      acquisitionCost: fc.option(fc.integer({ min: 0, max: 9_000 })),
      acquiredOn: fc.option(fc.constantFrom('2018-09-30', '2018-11-04', '2019-01-01', '2020-01-01')),
    }),
    { selector: (c) => c.customer },
  ),
  orders: fc.array(order, { minLength: 4, maxLength: 30 }),
  returns: fc.array(
    fc
      .record({ customer: fc.integer({ min: 1, max: 8 }), at, total: fc.integer({ min: 1, max: 9_999 }), money })
      .map(({ money: { currency, factor }, ...rest }) => ({ ...rest, currency, factor })),
    { maxLength: 8 },
  ),
});

const question = fc.record(
  {
    from: fc.constantFrom('2018-09-01', '2018-11-01', '2018-11-04', '2019-01-01', '2019-02-01', '2018-10-28T01:30:00Z'),
    to: fc.constantFrom('2019-03-01', '2019-04-01', '2019-05-01', '2019-02-17', '2019-04-11T13:00:00Z', '2019-12-01'),
    asOf: fc.constantFrom(undefined, undefined, '2019-02-20', '2019-03-01', '2019-03-10T05:30:00Z'),
    currency: fc.constantFrom(undefined, undefined, 'EUR', 'USD'),
    payment: fc.constantFrom(undefined, undefined, 'paid' as const),
    zeroValue: fc.constantFrom(undefined, undefined, 'exclude' as const),
    interval: fc.constantFrom(undefined, 'week' as const, 'month' as const, 'quarter' as const),
    allTime: fc.boolean(),
    same: fc.boolean(),
  },
  { noNullPrototype: true },
);

t.test('rollups, facts and a naive count agree on every metric', { timeout: 280_000 }, async (t) => {
  const { pool, ask } = await world(t, {}, { now });
  const questions = fc.array(fc.tuple(question, fc.constantFrom(...zones)), { minLength: 3, maxLength: 3 });
  const runs = draws({ quick: 6, deep: 15 });
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(facts, fc.constantFrom(...zones), questions, async (given, reportingTimeZone, list) => {
      await clearFacts(pool);
      await insertFacts(pool, given);
      await rollUp(pool, reportingTimeZone);
      for (const [{ same, allTime, from, ...rest }, zone] of list) {
        const asked = { ...rest, from: allTime ? undefined : from, timeZone: same ? reportingTimeZone : zone };
        for (const { operation, input, expected } of expectations(given, asked)) {
          const viaRollups = await ask(operation, input, { reportingTimeZone });
          const viaFacts = await ask(operation, input, { reportingTimeZone: farAway });
          const name = `${operation.name} ${JSON.stringify(input)}`;
          assert.deepEqual(viaRollups, viaFacts, `rollups and facts: ${name}`);
          assert.deepEqual(inEssence(metricResult.parse(viaFacts)), expected, name);
          compared += 1;
        }
        for (const [input, expected] of cohortsExpected(given, asked)) {
          const [viaRollups, viaFacts] = [
            await ask(getCohorts, input, { reportingTimeZone }),
            await ask(getCohorts, input, { reportingTimeZone: farAway }),
          ];
          assert.deepEqual(viaRollups, viaFacts, `rollups and facts: cohorts ${JSON.stringify(input)}`);
          assert.deepEqual(cohortNumbers(metricResult.parse(viaFacts)), expected, `cohorts ${JSON.stringify(input)}`);
          compared += 1;
        }
      }
    }),
    { numRuns: runs, seed: firstSeed(20190617), endOnFailure },
  );
  t.ok(compared > 20 * runs, `${compared} answers compared`);
});
