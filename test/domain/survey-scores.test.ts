import fc from 'fast-check';
import t from 'tap';
import { type ClosedLoopCounts, closedLoop } from '../../src/domain/closed-loop.ts';
import { customerEffort, defaultEffortScales, type EffortScale, effortBand } from '../../src/domain/customer-effort.ts';
import {
  customerSatisfaction,
  defaultSatisfactionScale,
  isSatisfied,
  type SatisfactionScale,
} from '../../src/domain/customer-satisfaction.ts';
import type { ConfidenceInterval } from '../../src/domain/metric-result.ts';
import { netPromoterScore, npsBand } from '../../src/domain/net-promoter-score.ts';
import { wilsonInterval } from '../../src/domain/proportion.ts';
import { adjustedWaldInterval, type Bands } from '../../src/domain/score-difference.ts';

const close = (a: number, b: number, tolerance = 1e-10) => Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b));
const four = (interval: ConfidenceInterval | null) => [interval?.low.toFixed(4), interval?.high.toFixed(4)];
const noAnswers = { code: 'no_answers', message: 'Nobody answered in the period.' };

/**
 * The interval by another way, as the R package of Rocks 2016 computes it: mean and variance of the scores 1, 0 and −1
 * over the weighted answers. Not clipped; `weights` are what is added to the bands: none is plain Wald.
 */
function waldOfScores(bands: Bands, weights: Bands): { low: number; high: number } {
  const scores = [
    [1, bands.good + weights.good],
    [0, bands.middle + weights.middle],
    [-1, bands.bad + weights.bad],
  ] as const;
  const n = scores.reduce((sum, [, weight]) => sum + weight, 0);
  const mean = scores.reduce((sum, [score, weight]) => sum + score * weight, 0) / n;
  const variance = scores.reduce((sum, [score, weight]) => sum + (score - mean) ** 2 * weight, 0) / n;
  const margin = 1.959963984540054 * Math.sqrt(variance / n);
  return { low: 100 * (mean - margin), high: 100 * (mean + margin) };
}
const nothing: Bands = { good: 0, middle: 0, bad: 0 };
const plainWald = (bands: Bands) => waldOfScores(bands, nothing);
const adjustedWald = (bands: Bands) => {
  const interval = adjustedWaldInterval(bands);
  if (!interval) throw new Error('no interval');
  return interval;
};

t.test('0–6 detract, 7–8 are passive, 9–10 promote, and nothing else is a score', async (t) => {
  const bands = Array.from({ length: 11 }, (_, score) => npsBand(score));
  t.same(bands, [...Array(7).fill('detractor'), 'passive', 'passive', 'promoter', 'promoter']);
  for (const score of [-1, 11, 9.5, 8.999999999, Number.NaN, Number.POSITIVE_INFINITY])
    t.throws(() => npsBand(score), RangeError, String(score));
});

t.test('the Net Promoter Score by hand', async (t) => {
  const { interval: ten, ...rest } = netPromoterScore({ promoters: 5, passives: 3, detractors: 2 });
  t.same(rest, {
    value: 30,
    values: {
      promoters: 5,
      passives: 3,
      detractors: 2,
      promoterShare: 0.5,
      passiveShare: 0.3,
      detractorShare: 0.2,
    },
    numerator: 3,
    denominator: 10,
    lowSample: true,
    reason: null,
    missingInputs: [],
    warnings: [],
  });
  // 13 weighted answers: 3/13 ± 1.96 √((8.5/13 − 9/169)/13). All ends were computed with 30 decimal digits.
  t.same([...four(ten), ten?.level], ['-19.0506', '65.2045', 0.95]);
  const table: [number, number, number, number, string, string][] = [
    [60, 30, 10, 50, '35.4666', '61.6208'],
    [19, 8, 9, 1000 / 36, '-0.4415', '51.7235'],
    [0, 10, 0, 0, '-18.4650', '18.4650'],
    [10, 0, 0, 100, '47.5036', '100.0000'],
    [0, 0, 10, -100, '-100.0000', '-47.5036'],
    [2, 0, 0, 100, '-24.4110', '100.0000'],
  ];
  for (const [promoters, passives, detractors, value, low, high] of table) {
    const result = netPromoterScore({ promoters, passives, detractors });
    t.equal(result.value, value, `${promoters}, ${passives}, ${detractors}`);
    t.same(four(result.interval), [low, high]);
    t.equal(result.lowSample, promoters + passives + detractors < 30);
  }
  t.match(netPromoterScore({ promoters: 0, passives: 0, detractors: 0 }), {
    value: null,
    values: { promoters: 0, promoterShare: null, passiveShare: null, detractorShare: null },
    numerator: 0,
    denominator: 0,
    interval: null,
    lowSample: true,
    reason: noAnswers,
  });
  t.equal(netPromoterScore({ promoters: 1, passives: 0, detractors: 29 }).lowSample, false);
  for (const wrong of [-1, 0.5, Number.NaN, 2 ** 53])
    for (const counts of [
      { promoters: wrong, passives: 1, detractors: 1 },
      { promoters: 1, passives: wrong, detractors: 1 },
      { promoters: 1, passives: 1, detractors: wrong },
    ])
      t.throws(() => netPromoterScore(counts), RangeError, JSON.stringify(counts));
});

t.test('a single answer is inside its interval, which the formula alone would leave out', async (t) => {
  const [up, down] = [adjustedWald({ good: 1, middle: 0, bad: 0 }), adjustedWald({ good: 0, middle: 0, bad: 1 })];
  t.same(four(up), ['-48.4986', '100.0000'], '98.4986 by the formula');
  t.same(four(down), ['-100.0000', '48.4986']);
  t.same(four(adjustedWald({ good: 0, middle: 1, bad: 0 })), ['-60.0114', '60.0114']);
});

const count = fc.oneof(fc.nat(3), fc.nat(200), fc.nat(1_000_000));
const someBands: fc.Arbitrary<Bands> = fc
  .record({ good: count, middle: count, bad: count })
  .filter(({ good, middle, bad }) => good + middle + bad > 0);

t.test(
  'for any answers: the other formula, the observed score inside, mirrored when the ends change places',
  async () => {
    const weights: Bands = { good: 0.75, middle: 1.5, bad: 0.75 };
    fc.assert(
      fc.property(someBands, (bands) => {
        const { good, middle, bad } = bands;
        const { value, interval } = netPromoterScore({ promoters: good, passives: middle, detractors: bad });
        const mirrored = customerEffort({ easy: bad, neutral: middle, hard: good });
        const other = waldOfScores(bands, weights);
        const several = good + middle + bad > 1;
        return (
          value !== null &&
          interval !== null &&
          close(value, 100 * (good / (good + middle + bad) - bad / (good + middle + bad))) &&
          interval.low >= -100 &&
          interval.high <= 100 &&
          interval.low <= value &&
          value <= interval.high &&
          (!several ||
            (close(interval.low, Math.max(-100, other.low)) && close(interval.high, Math.min(100, other.high)))) &&
          close(mirrored.value ?? Number.NaN, -value) &&
          close(mirrored.interval?.low ?? Number.NaN, -interval.high) &&
          close(mirrored.interval?.high ?? Number.NaN, -interval.low)
        );
      }),
      { numRuns: 1_000 },
    );
  },
);

/** Shares of the population: promoters and detractors; the rest is passive. */
type Population = readonly [good: number, bad: number];
type Method = (bands: Bands) => { low: number; high: number };

const logFactorials = [0];
for (let n = 1; n <= 120; n++) logFactorials.push((logFactorials[n - 1] ?? 0) + Math.log(n));
const logFactorial = (n: number) => logFactorials[n] ?? Number.NaN;
const holds = ({ low, high }: { low: number; high: number }, [good, bad]: Population) =>
  low <= 100 * (good - bad) + 1e-9 && high >= 100 * (good - bad) - 1e-9;

/** Every sample of n answers that there is, with its interval: how likely each is in a population is exact. */
function coverageOf(method: Method, n: number): (population: Population) => number {
  const samples = Array.from({ length: n + 1 }, (_, good) =>
    Array.from({ length: n - good + 1 }, (_, bad) => ({ good, middle: n - good - bad, bad })),
  )
    .flat()
    .map((bands) => ({ bands, interval: method(bands) }));
  return (population) => {
    const [good, bad] = population;
    const middle = Math.max(0, 1 - good - bad);
    // 0 × log 0 is 0: the share of nobody appearing no times.
    const power = (share: number, times: number) => (times === 0 ? 0 : times * Math.log(share < 1e-12 ? 0 : share));
    return samples.reduce(
      (sum, sample) =>
        holds(sample.interval, population)
          ? sum +
            Math.exp(
              logFactorial(n) -
                logFactorial(sample.bands.good) -
                logFactorial(sample.bands.middle) -
                logFactorial(sample.bands.bad) +
                power(good, sample.bands.good) +
                power(middle, sample.bands.middle) +
                power(bad, sample.bands.bad),
            )
          : sum,
      0,
    );
  };
}

const populations: readonly Population[] = [
  [0.9, 0.05],
  [0.8, 0.02],
  [0.7, 0.1],
  [0.6, 0.1],
  [0.5, 0.2],
  [0.4, 0.3],
  [1 / 3, 1 / 3],
  [0.2, 0.5],
  [0.1, 0.7],
  [0.95, 0.02],
  [0.05, 0.9],
  [0.05, 0.05],
];

t.test('the interval holds the true score in 92 % of all samples or more, where plain Wald does not', async (t) => {
  for (const [n, failing] of [
    [10, 11],
    [30, 4],
    [100, 1],
  ] as const) {
    const [adjusted, plain] = [coverageOf(adjustedWald, n), coverageOf(plainWald, n)];
    for (const population of populations) {
      const coverage = adjusted(population);
      t.ok(coverage >= 0.92 && coverage <= 1 + 1e-9, `n = ${n}, ${population}: ${coverage.toFixed(4)}`);
    }
    const below = populations.filter((population) => plain(population) < 0.92);
    t.equal(below.length, failing, `plain Wald at n = ${n} fails for ${below.join(' | ')}`);
  }
  t.equal(coverageOf(plainWald, 10)([0.9, 0.05]).toFixed(2), '0.65');
  t.equal(coverageOf(plainWald, 30)([0.9, 0.05]).toFixed(2), '0.88');
});

t.test('a seeded simulation agrees with the enumeration', async (t) => {
  const random = numbers(20_160_127);
  const draws = 20_000;
  for (const [n, population] of [
    [10, [0.9, 0.05]],
    [30, [0.6, 0.1]],
    [100, [0.2, 0.5]],
  ] as const)
    for (const [name, method] of [
      ['adjusted', adjustedWald],
      ['plain', plainWald],
    ] as const) {
      let held = 0;
      for (let draw = 0; draw < draws; draw++) {
        const bands = { ...nothing };
        for (let answer = 0; answer < n; answer++) {
          const at = random();
          bands[at < population[0] ? 'good' : at < population[0] + population[1] ? 'bad' : 'middle']++;
        }
        if (holds(method(bands), population)) held++;
      }
      const exact = coverageOf(method, n)(population);
      const standardError = Math.sqrt((exact * (1 - exact)) / draws);
      t.ok(
        Math.abs(held / draws - exact) < 4 * standardError,
        `${name}, n = ${n}, ${population}: ${held / draws} and ${exact.toFixed(4)}`,
      );
    }
});

t.test('where the interval falls short is what its description says', async (t) => {
  const steps = (step: number) => Array.from({ length: Math.round(1 / step) + 1 }, (_, i) => i * step);
  const worst = (n: number, candidates: readonly Population[]) => {
    const coverage = coverageOf(adjustedWald, n);
    return candidates
      .map((population) => ({ population, coverage: coverage(population) }))
      .reduce((a, b) => (b.coverage < a.coverage ? b : a));
  };
  const everybodySomewhere = steps(0.05).flatMap((good) =>
    steps(0.05)
      .map((bad): Population => [good, bad])
      .filter(([, bad]) => Math.min(good, bad, 1 - good - bad) > 0.049),
  );
  t.equal(everybodySomewhere.length, 171);
  for (const n of [10, 11, 12, 15, 20, 30, 50, 100]) {
    const { population, coverage } = worst(n, everybodySomewhere);
    t.ok(coverage >= 0.92, `n = ${n}: ${coverage.toFixed(4)} for ${population}`);
  }
  const nobodyAtOneEnd = steps(0.01).map((good): Population => [good, 0]);
  for (const [n, good, coverage] of [
    [5, '0.83', '0.797'],
    [10, '0.79', '0.861'],
    [20, '0.18', '0.897'],
    [30, '0.17', '0.903'],
    [100, '0.04', '0.911'],
  ] as const) {
    const found = worst(n, nobodyAtOneEnd);
    t.same([found.population[0].toFixed(2), found.coverage.toFixed(3)], [good, coverage], `n = ${n}`);
  }
  const everyPopulation = steps(0.02).flatMap((good) =>
    steps(0.02)
      .filter((bad) => good + bad < 1 + 1e-9)
      .map((bad): Population => [good, bad]),
  );
  t.equal(everyPopulation.length, 1326);
  for (const n of [5, 10, 30, 100]) {
    const coverage = coverageOf(adjustedWald, n);
    const mean = everyPopulation.reduce((sum, population) => sum + coverage(population), 0) / everyPopulation.length;
    t.ok(Math.abs(mean - 0.95) < 0.002, `n = ${n}: ${mean.toFixed(4)} on average`);
  }
});

t.test('customer satisfaction by hand, with the published Wilson ends', async (t) => {
  t.same(customerSatisfaction({ satisfied: 3, answers: 4 }), {
    value: 75,
    values: { satisfied: 3, answers: 4 },
    numerator: 3,
    denominator: 4,
    interval: {
      low: 100 * (wilsonInterval(3, 4)?.low ?? Number.NaN),
      high: 100 * (wilsonInterval(3, 4)?.high ?? Number.NaN),
      level: 0.95,
    },
    lowSample: true,
    reason: null,
    missingInputs: [],
    warnings: [],
  });
  // Newcombe 1998, table I, in percent.
  for (const [satisfied, answers, low, high] of [
    [81, 263, '25.53', '36.62'],
    [15, 148, '6.24', '16.05'],
    [0, 20, '0.00', '16.11'],
    [1, 29, '0.61', '17.18'],
  ] as const) {
    const { value, interval } = customerSatisfaction({ satisfied, answers });
    t.equal(value, (100 * satisfied) / answers);
    t.same([interval?.low.toFixed(2), interval?.high.toFixed(2)], [low, high], `${satisfied} of ${answers}`);
  }
  t.equal(customerSatisfaction({ satisfied: 30, answers: 30 }).interval?.high, 100);
  t.match(customerSatisfaction({ satisfied: 0, answers: 0 }), {
    value: null,
    numerator: 0,
    denominator: 0,
    interval: null,
    lowSample: true,
    reason: noAnswers,
  });
  t.equal(customerSatisfaction({ satisfied: 0, answers: 29 }).lowSample, true);
  t.equal(customerSatisfaction({ satisfied: 0, answers: 30 }).lowSample, false);
  t.throws(() => customerSatisfaction({ satisfied: 2, answers: 1 }), RangeError);
  t.throws(() => customerSatisfaction({ satisfied: 0.5, answers: 1 }), RangeError);
  t.throws(() => customerSatisfaction({ satisfied: -1, answers: 1 }), RangeError);
});

t.test('satisfied is the top box of the scale of the question', async (t) => {
  const satisfied = (scale: SatisfactionScale) =>
    Array.from({ length: scale.max - scale.min + 1 }, (_, i) => scale.min + i).filter((score) =>
      isSatisfied(scale, score),
    );
  t.same(satisfied(defaultSatisfactionScale), [4, 5]);
  t.same(satisfied({ min: 1, max: 7, topBoxFrom: 6 }), [6, 7]);
  t.same(satisfied({ min: 1, max: 10, topBoxFrom: 10 }), [10]);
  t.same(satisfied({ min: 0, max: 1, topBoxFrom: 1 }), [1], 'a thumb up or down');
  t.same(satisfied({ min: -2, max: 2, topBoxFrom: 1 }), [1, 2]);
  for (const score of [0, 6, 4.5, Number.NaN])
    t.throws(() => isSatisfied(defaultSatisfactionScale, score), RangeError, String(score));
  for (const scale of [
    { min: 1, max: 5, topBoxFrom: 6 },
    { min: 1, max: 5, topBoxFrom: 1 },
    { min: 1, max: 5, topBoxFrom: 3.5 },
    { min: 1, max: 1, topBoxFrom: 1 },
    { min: 5, max: 1, topBoxFrom: 4 },
    { min: 0.5, max: 5, topBoxFrom: 4 },
  ])
    t.throws(() => isSatisfied(scale, 4), RangeError, JSON.stringify(scale));
});

t.test('an answer is easy or hard as its scale says, from either end', async (t) => {
  const bands = (scale: EffortScale) =>
    Array.from({ length: scale.max - scale.min + 1 }, (_, i) => effortBand(scale, scale.min + i)[0]).join('');
  t.equal(bands(defaultEffortScales.easy_low), 'eenhh');
  t.equal(bands(defaultEffortScales.easy_high), 'hhnee');
  t.equal(bands({ min: 1, max: 7, direction: 'easy_low', easyTo: 3, hardFrom: 5 }), 'eeenhhh');
  t.equal(bands({ min: 1, max: 7, direction: 'easy_high', easyTo: 6, hardFrom: 4 }), 'hhhhnee');
  t.equal(bands({ min: 0, max: 1, direction: 'easy_low', easyTo: 0, hardFrom: 1 }), 'eh', 'no neutral answers');
  t.equal(bands({ min: 0, max: 1, direction: 'easy_high', easyTo: 1, hardFrom: 0 }), 'he');
  const { easy_low, easy_high } = defaultEffortScales;
  for (const score of [0, 6, 1.5, Number.NaN]) t.throws(() => effortBand(easy_low, score), RangeError, String(score));
  for (const scale of [
    { ...easy_low, easyTo: 4 },
    { ...easy_low, easyTo: 5 },
    { ...easy_low, easyTo: 0 },
    { ...easy_low, hardFrom: 6 },
    { ...easy_low, hardFrom: 3.5 },
    { ...easy_high, easyTo: 2 },
    { ...easy_high, hardFrom: 5 },
    { ...easy_low, direction: 'easy_high' as const },
    { ...easy_low, min: 5, max: 1 },
    { ...easy_low, min: 0.5 },
    { ...easy_low, max: 5.5 },
  ])
    t.throws(() => effortBand(scale, 3), RangeError, JSON.stringify(scale));
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      (score) => effortBand(easy_low, score) === effortBand(easy_high, 6 - score),
    ),
  );
});

t.test('the customer effort score by hand', async (t) => {
  // Answers 1, 1, 2, 3, 4 and 5 on the default scale: three easy, one neutral, two hard.
  const answers = [1, 1, 2, 3, 4, 5].map((score) => effortBand(defaultEffortScales.easy_low, score));
  const of = (band: string) => answers.filter((answer) => answer === band).length;
  const result = customerEffort({ easy: of('easy'), neutral: of('neutral'), hard: of('hard') });
  t.same(
    [result.value, result.numerator, result.denominator, result.values],
    [100 / 6, 1, 6, { easy: 3, neutral: 1, hard: 2, easyShare: 0.5, neutralShare: 1 / 6, hardShare: 1 / 3 }],
  );
  t.same(
    customerEffort({ easy: 5, neutral: 3, hard: 2 }).interval,
    netPromoterScore({ promoters: 5, passives: 3, detractors: 2 }).interval,
    'the same mathematics as of the Net Promoter Score',
  );
  t.match(customerEffort({ easy: 0, neutral: 0, hard: 0 }), {
    value: null,
    values: { easy: 0, neutral: 0, hard: 0, easyShare: null, neutralShare: null, hardShare: null },
    interval: null,
    lowSample: true,
    reason: noAnswers,
  });
  t.equal(customerEffort({ easy: 0, neutral: 0, hard: 3 }).value, -100);
  t.throws(() => customerEffort({ easy: -1, neutral: 2, hard: 0 }), RangeError);
});

const nobodyAgain = { sum: 0, promoters: 0, detractors: 0 };
const noFollowUps: ClosedLoopCounts = {
  opened: 0,
  closed: 0,
  closedInTime: 0,
  overdue: 0,
  outcomes: {},
  answeredAgain: 0,
  before: nobodyAgain,
  after: nobodyAgain,
};

t.test('closing the loop by hand', async (t) => {
  // Twenty follow-ups: nine closed (seven of them in time), three open and overdue, eight open and not yet due. Four of
  // the closed ones answered again: 3, 6, 0, 5 before; 9, 7, 2, 10 after.
  const result = closedLoop({
    opened: 20,
    closed: 9,
    closedInTime: 7,
    overdue: 3,
    outcomes: { retained: 6, not_reached: 2, lost: 1 },
    answeredAgain: 4,
    before: { sum: 14, promoters: 0, detractors: 4 },
    after: { sum: 28, promoters: 2, detractors: 1 },
  });
  t.equal(result.value, 7 / 12, 'of those closed or due: the eight others say nothing yet');
  t.same([result.numerator, result.denominator], [7, 12]);
  t.same(result.interval, wilsonInterval(7, 12));
  t.equal(result.lowSample, true);
  t.same(result.values, {
    opened: 20,
    closed: 9,
    closedInTime: 7,
    overdue: 3,
    notYetDue: 8,
    outcomeRetained: 6,
    outcomeNotReached: 2,
    outcomeLost: 1,
    answeredAgain: 4,
    scoreBefore: 3.5,
    scoreAfter: 7,
    scoreChange: 3.5,
    npsBefore: -100,
    npsAfter: 25,
  });
  t.same(
    result.warnings.map(({ code }) => code),
    ['not_all_due', 'regression_to_the_mean'],
  );
  t.match(result.warnings[0]?.message, /^8 of the follow-ups/);
});

t.test('a loop that nobody could close yet has no rate', async (t) => {
  t.match(closedLoop(noFollowUps), {
    value: null,
    values: {
      opened: 0,
      notYetDue: 0,
      scoreBefore: null,
      scoreAfter: null,
      scoreChange: null,
      npsBefore: null,
      npsAfter: null,
    },
    numerator: 0,
    denominator: 0,
    interval: null,
    reason: { code: 'no_follow_ups' },
    warnings: [],
  });
  const early = closedLoop({ ...noFollowUps, opened: 5 });
  t.match(early, { value: null, values: { opened: 5, notYetDue: 5 }, reason: { code: 'none_due' } });
  t.same(early.warnings, []);
  const missed = closedLoop({ ...noFollowUps, opened: 40, overdue: 40 });
  t.match(missed, { value: 0, denominator: 40, lowSample: false, reason: null });
  t.same(missed.warnings, []);
  const worse = closedLoop({
    ...noFollowUps,
    opened: 1,
    closed: 1,
    outcomes: { lost: 1 },
    answeredAgain: 1,
    before: { sum: 6, promoters: 0, detractors: 1 },
    after: { sum: 0, promoters: 0, detractors: 1 },
  });
  t.match(worse, { value: 0, values: { scoreChange: -6, npsAfter: -100 } });
});

t.test('counts that do not add up are refused', async (t) => {
  const fine: ClosedLoopCounts = {
    opened: 5,
    closed: 3,
    closedInTime: 2,
    overdue: 1,
    outcomes: { retained: 3 },
    answeredAgain: 1,
    before: { sum: 6, promoters: 0, detractors: 1 },
    after: { sum: 9, promoters: 1, detractors: 0 },
  };
  t.equal(closedLoop(fine).value, 0.5);
  const wrong: Partial<ClosedLoopCounts>[] = [
    { opened: 3 },
    { opened: 5.5 },
    { closedInTime: 4 },
    { closedInTime: -1 },
    { overdue: 3 },
    { overdue: -1 },
    { outcomes: { retained: 2 } },
    { outcomes: { retained: 4, lost: -1 } },
    { outcomes: {} },
    { answeredAgain: 4, before: nobodyAgain, after: nobodyAgain },
    { before: { sum: 11, promoters: 0, detractors: 1 } },
    { after: { sum: -1, promoters: 0, detractors: 1 } },
    { after: { sum: 9, promoters: 1, detractors: 1 } },
    { answeredAgain: 0 },
  ];
  for (const part of wrong) t.throws(() => closedLoop({ ...fine, ...part }), RangeError, JSON.stringify(part));
});

/** Numbers that look random and are always the same (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
