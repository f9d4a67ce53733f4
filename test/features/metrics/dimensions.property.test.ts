import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { resolveInstant } from '../../../src/domain/period.ts';
import { precedingPeriod } from '../../../src/domain/preceding-period.ts';
import { type MetricAnswer, metricResult } from '../../../src/features/metrics/model.ts';
import { getCohorts } from '../../../src/features/metrics/operations.ts';
import { createSegment } from '../../../src/features/segments/operations.ts';
import { draws, endOnFailure, firstSeed } from '../../support/draws.ts';
import { clearFacts, type Facts, insertFacts, nobody, rollUp, world } from '../../support/facts.ts';
import {
  type Asked,
  cohortNumbers,
  cohortsExpected,
  type Expectation,
  expectations,
  inEssence,
  now,
} from '../../support/metric-expectations.ts';

/** Every metric of orders over a segment and by groups, against a naive count over the facts of each. */

type All = Required<Facts>;

const at = fc
  .integer({ min: Date.UTC(2018, 8, 1), max: Date.UTC(2019, 4, 15) })
  .map((ms) => new Date(ms).toISOString());
const money = fc.constantFrom(
  { currency: 'EUR', factor: '1' },
  { currency: 'EUR', factor: '1' },
  { currency: 'USD', factor: '0.905' },
  { currency: 'USD', factor: null },
);
const order = fc
  .record({
    customer: fc.oneof(
      { weight: 8, arbitrary: fc.integer({ min: 1, max: 6 }) },
      { weight: 1, arbitrary: fc.constant(nobody) },
    ),
    at,
    money,
    total: fc.integer({ min: 0, max: 9_999 }),
    fate: fc.constantFrom('kept', 'kept', 'kept', 'cancelled', 'test', 'pending', 'refunded'),
    costs: fc.array(fc.option(fc.integer({ min: 0, max: 5_000 }), { freq: 8 }), { maxLength: 1 }),
    channel: fc.constantFrom('web', 'shop', null),
    sku: fc.constantFrom('A', 'B'),
  })
  .map(({ money: { currency, factor }, fate, ...rest }) => ({
    ...rest,
    currency,
    factor,
    cancelled: fate === 'cancelled',
    test: fate === 'test',
    pending: fate === 'pending',
    refunds: fate === 'refunded' ? [rest.total] : [],
  }));
const facts = fc.record({
  customers: fc.uniqueArray(
    fc.record({
      customer: fc.integer({ min: 1, max: 8 }),
      acquisitionCost: fc.option(fc.integer({ min: 0, max: 9_000 })),
      acquisitionSource: fc.constantFrom('ads', 'fair', null),
      tags: fc.subarray(['vip', 'trade']),
    }),
    { selector: (c) => c.customer },
  ),
  orders: fc.array(order, { minLength: 4, maxLength: 25 }),
  returns: fc.array(
    fc
      .record({ customer: fc.integer({ min: 1, max: 8 }), at, total: fc.integer({ min: 1, max: 2_000 }), money })
      .map(({ money: { currency, factor }, ...rest }) => ({ ...rest, currency, factor })),
    { maxLength: 6 },
  ),
});

const groupings = ['acquisitionSource', 'tags', 'segment', 'channel', 'currency', 'sku', 'cohort'] as const;
const question = fc.record({
  from: fc.constantFrom(undefined, '2018-11-01', '2019-01-01', '2019-02-01', '2018-12-04T01:30:00Z'),
  to: fc.constantFrom('2019-03-01', '2019-05-01', '2019-02-17', '2019-12-01'),
  asOf: fc.constantFrom(undefined, undefined, '2019-03-10T05:30:00Z'),
  currency: fc.constantFrom(undefined, undefined, undefined, 'EUR'),
  payment: fc.constantFrom(undefined, undefined, 'paid' as const),
  zeroValue: fc.constant(undefined),
  interval: fc.constantFrom(undefined, undefined, 'month' as const, 'quarter' as const),
  segment: fc.constantFrom(undefined, 'fair', 'regulars', 'nobody' as const),
  segmentAt: fc.constantFrom(undefined, undefined, 'end' as const),
  groupBy: fc.constantFrom(...groupings),
});

const isBefore = (a: string, b: string) => Date.parse(a) < Date.parse(b);
const earliest = (...instants: string[]) => instants.reduce((a, b) => (isBefore(b, a) ? b : a));

/** Customers of the segments of the test, as they were then. */
const members: Record<string, (given: All, customer: number, then: string) => boolean> = {
  fair: (given, customer) => sourceOf(given, customer) === 'fair',
  regulars: (given, customer, then) =>
    given.orders.filter(
      (o) =>
        o.customer === customer &&
        isBefore(o.at, then) &&
        !o.cancelled &&
        !o.test &&
        !((o.refunds ?? []).length > 0 && (o.refunds?.[0] ?? 0) > 0),
    ).length >= 2,
  nobody: () => false,
};

function sourceOf({ customers }: All, customer: number): string | null {
  const known = customers.find((c) => c.customer === customer);
  return known?.acquisitionSource === undefined ? 'ads' : known.acquisitionSource;
}

const people = (given: All, isIn: (customer: number) => boolean): All => ({
  customers: given.customers.filter(({ customer }) => isIn(customer)),
  orders: given.orders.filter(({ customer }) => isIn(customer)),
  returns: given.returns.filter(({ customer }) => isIn(customer)),
});

/** The keys of a customer, or of an order. */
function groupsOf(given: All, groupBy: string, then: string, end: string): (key: string) => All {
  const ofCustomers = (keysOf: (customer: number) => string[]) => (key: string) =>
    people(given, (customer) => (customer === nobody ? [''] : nonEmpty(keysOf(customer))).includes(key));
  const ofOrders =
    (keyOf: (order: All['orders'][number]) => string, returns = false) =>
    (key: string) => ({
      customers: given.customers,
      orders: given.orders.filter((o) => keyOf(o) === key),
      returns: given.returns.filter((r) => returns && r.currency === key),
    });
  switch (groupBy) {
    case 'acquisitionSource':
      return ofCustomers((customer) => [sourceOf(given, customer) ?? '']);
    case 'tags':
      return ofCustomers((customer) => given.customers.find((c) => c.customer === customer)?.tags ?? []);
    case 'segment':
      return ofCustomers((customer) =>
        ['fair', 'regulars', 'nobody'].filter((id) => members[id]?.(given, customer, then)),
      );
    case 'cohort':
      return ofCustomers((customer) => {
        const first = given.orders
          .filter((o) => o.customer === customer && members['regulars'] && isBefore(o.at, end))
          .filter((o) => !o.cancelled && !o.test && !((o.refunds ?? []).length > 0 && (o.refunds?.[0] ?? 0) > 0))
          .map((o) => o.at)
          .sort()[0];
        return first === undefined ? [] : [`${first.slice(0, 7)}-01`];
      });
    case 'channel':
      return ofOrders((o) => o.channel ?? '');
    case 'currency':
      return ofOrders((o) => o.currency ?? '', true);
    default:
      return ofOrders((o) => ((o.costs ?? []).length > 0 ? (o.sku ?? '') : ''));
  }
}

/** All that there can be. */
const keysOf: Record<(typeof groupings)[number], string[]> = {
  acquisitionSource: ['ads', 'fair', ''],
  tags: ['vip', 'trade', ''],
  segment: ['fair', 'regulars', 'nobody', ''],
  cohort: [
    '',
    ...[9, 10, 11, 12].map((m) => `2018-${`0${m}`.slice(-2)}-01`),
    ...[1, 2, 3, 4].map((m) => `2019-0${m}-01`),
  ],
  channel: ['web', 'shop', ''],
  currency: ['EUR', 'USD'],
  sku: ['A', 'B', ''],
};

const nonEmpty = (keys: string[]) => (keys.length > 0 ? keys : ['']);

/** As of when customers are in their segments: the start of the period, of a comparison the end of the previous one. */
function membershipAt({ operation, input }: Expectation, { from, to, asOf, segmentAt }: Wanted): string {
  const { variant, previousTo } = input as { variant?: string; previousTo?: string };
  // RFM is of all time, up to asOf.
  if (operation.name === 'getRfm') return asOf;
  const end = earliest(to, asOf);
  if (segmentAt === 'end' || from === null) return end;
  const compares =
    operation.name === 'getRetentionRate' || (operation.name === 'getChurnRate' && variant === undefined);
  if (!compares) return earliest(from, end);
  const { to: before } = precedingPeriod({ from, to, timeZone: 'UTC' });
  return earliest(previousTo === undefined ? before : resolveInstant(previousTo, 'UTC'), end);
}

interface Wanted {
  from: string | null;
  to: string;
  asOf: string;
  segmentAt: 'end' | undefined;
}

const aboutDimensions = /^(profile_as_of_now|list_made_later|members_as_of_end|groups_)/;
const withoutGroups = (answer: MetricAnswer) => {
  const { groups: _, ...rest } = inEssence({
    ...answer,
    warnings: answer.warnings.filter(({ code }) => !aboutDimensions.test(code)),
  });
  return rest;
};
type Essence = ReturnType<typeof inEssence>;
const ofGroup = ({ value, values, numerator, denominator, interval, lowSample, reason, series }: Essence) => ({
  value,
  values,
  numerator,
  denominator,
  interval,
  lowSample,
  reason,
  series,
});

/** Whose numerators and denominators are sums over customers. */
const additive = [
  'getRetentionRate',
  'getRepeatPurchaseRate',
  'getChurnRate',
  'getPurchaseGaps',
  'getAverageOrderValue',
  'getRevenuePerCustomer',
  'getNewAndReturning',
];

t.test('every metric over a segment, and by groups, as counted by hand', { timeout: 280_000 }, async (t) => {
  const { pool, ask } = await world(t, {}, { now });
  const segment = async (filter: object | null) =>
    ((await ask(createSegment, { body: { name: 'One', filter } })) as { id: string }).id;
  const ids: Record<string, string> = {
    fair: await segment({ field: 'acquisitionSource', op: 'eq', value: 'fair' }),
    regulars: await segment({ field: 'orderCount', op: 'gte', value: 2 }),
    nobody: await segment(null),
  };
  const named = new Map(Object.entries(ids).map(([name, id]) => [id, name]));
  const runs = draws({ quick: 8, deep: 80 });
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(facts, fc.tuple(question), async (given, list) => {
      await clearFacts(pool);
      await insertFacts(pool, given);
      await rollUp(pool, 'UTC');
      for (const { segment: which, segmentAt, groupBy, ...rest } of list) {
        const asked: Asked = { ...rest, timeZone: 'UTC' };
        const wanted: Wanted = {
          from: asked.from === undefined ? null : resolveInstant(asked.from, 'UTC'),
          to: resolveInstant(asked.to, 'UTC'),
          asOf: resolveInstant(asked.asOf ?? now, 'UTC'),
          segmentAt,
        };
        const known = new Map<string, Expectation[]>();
        const expected = (key: string, of: All, index: number, among: All) => {
          const all = known.get(key) ?? expectations(of, asked, among).filter(({ input }) => !('customerId' in input));
          known.set(key, all);
          return all[index]?.expected ?? assert.fail('no expectation');
        };
        const questions = expectations(given, asked).filter(({ input }) => !('customerId' in input));
        for (const [index, { operation, input }] of questions.entries()) {
          const then = membershipAt({ operation, input } as Expectation, wanted);
          const end = earliest(operation.name === 'getRfm' ? wanted.asOf : wanted.to, wanted.asOf);
          const within =
            which === undefined ? given : people(given, (c) => c !== nobody && !!members[which]?.(given, c, then));
          const when = segmentAt === undefined ? {} : { segmentAt };
          const name = `${operation.name} ${JSON.stringify({ ...input, which, segmentAt, groupBy })}`;
          const whole = expected(`whole ${then}`, within, index, within);
          const { groups: _, ...expectedWhole } = whole;
          if (which !== undefined) {
            const found = metricResult.parse(await ask(operation, { ...input, ...when, segment: ids[which] }));
            assert.deepEqual(withoutGroups(found), expectedWhole, name);
            compared += 1;
          }
          if (operation.name === 'getRfm') continue;
          const more = groupBy === 'segment' ? { segments: Object.values(ids) } : {};
          const found = metricResult.parse(
            await ask(operation, { ...input, ...when, ...more, groupBy, ...(which && { segment: ids[which] }) }),
          );
          assert.deepEqual(withoutGroups(found), expectedWhole, `whole: ${name}`);
          const parts = groupsOf(within, groupBy, then, end);
          for (const { key, ...group } of found.groups) {
            const meant = named.get(key) ?? key;
            const right = expected(`${meant} ${then} ${end}`, parts(meant), index, within);
            assert.deepEqual(
              ofGroup(inEssence({ ...found, ...group, groups: [], excluded: [], warnings: [] })),
              ofGroup(right),
              `group ${meant}: ${name}`,
            );
            compared += 1;
          }
          const answered = new Set(found.groups.map(({ key }) => named.get(key) ?? key));
          for (const key of keysOf[groupBy]) {
            const isThere = parts(key).orders.some((o) => isBefore(o.at, end));
            assert.ok(answered.has(key) || !isThere, `the group ${key} is there: ${name}`);
          }
          if (['acquisitionSource', 'cohort'].includes(groupBy) && additive.includes(operation.name)) {
            const total = (of: 'numerator' | 'denominator') => found.groups.reduce((n, g) => n + (g[of] ?? 0), 0);
            assert.deepEqual(
              [total('numerator'), total('denominator')],
              [found.numerator ?? 0, found.denominator ?? 0],
              `the groups add up: ${name}`,
            );
          }
        }
        if (which !== undefined) {
          for (const [input, right] of cohortsExpected(given, asked).map(
            ([input], index) =>
              [
                input,
                cohortsExpected(
                  people(given, (c) => {
                    const { from } = input as { from?: string };
                    const then =
                      from === undefined || segmentAt === 'end'
                        ? wanted.asOf
                        : earliest(resolveInstant(from, 'UTC'), wanted.asOf);
                    return c !== nobody && !!members[which]?.(given, c, then);
                  }),
                  asked,
                )[index]?.[1],
              ] as const,
          )) {
            const more = segmentAt === undefined ? {} : { segmentAt };
            const found = metricResult.parse(await ask(getCohorts, { ...input, ...more, segment: ids[which] }));
            assert.deepEqual(cohortNumbers(found), right, `cohorts ${which} ${JSON.stringify(input)}`);
            compared += 1;
          }
        }
      }
    }),
    { numRuns: runs, seed: firstSeed(20190618), endOnFailure },
  );
  t.ok(compared > 10 * runs, `${compared} answers compared`);
});
