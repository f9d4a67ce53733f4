import fc from 'fast-check';
import t from 'tap';
import {
  type Bin,
  binMean,
  binQuantiles,
  binTotal,
  compensatedSum,
  interpolate,
  interpolateExact,
  quantileRanks,
  sampleMoments,
} from '../../src/domain/distribution.ts';
import { proportionResult, wilsonInterval } from '../../src/domain/proportion.ts';

const four = (value: number | undefined) => value?.toFixed(4);
const close = (a: number, b: number, tolerance = 1e-12) =>
  Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b));

t.test('the Wilson interval has the published ends of Newcombe 1998', async (t) => {
  const published: [number, number, string, string][] = [
    [81, 263, '0.2553', '0.3662'],
    [15, 148, '0.0624', '0.1605'],
    [0, 20, '0.0000', '0.1611'],
    [1, 29, '0.0061', '0.1718'],
  ];
  for (const [r, n, low, high] of published) {
    const interval = wilsonInterval(r, n);
    t.same([four(interval?.low), four(interval?.high)], [low, high], `${r} of ${n}`);
    const mirrored = wilsonInterval(n - r, n);
    t.same([four(1 - (mirrored?.high ?? 0)), four(1 - (mirrored?.low ?? 0))], [low, high], `${n - r} of ${n}`);
  }
  t.equal(wilsonInterval(0, 20)?.low, 0, 'exactly 0');
  t.equal(wilsonInterval(20, 20)?.high, 1, 'exactly 1');
  t.equal(wilsonInterval(0, 0), null);
  t.throws(() => wilsonInterval(3, 2), RangeError);
  t.throws(() => wilsonInterval(-1, 2), RangeError);
  t.throws(() => wilsonInterval(0.5, 2), RangeError);
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.nat(1_000_000), (a, b) => {
      const [r, n] = [Math.min(a, b), Math.max(a, b, 1)];
      const interval = wilsonInterval(r, n);
      return (
        interval !== null && interval.low >= 0 && interval.high <= 1 && interval.low <= r / n && r / n <= interval.high
      );
    }),
  );
});

t.test('a proportion of nobody is null, with its reason', async (t) => {
  t.same(proportionResult(0, 0, { code: 'no_buyers', message: 'Nobody.' }), {
    value: null,
    values: {},
    numerator: 0,
    denominator: 0,
    interval: null,
    lowSample: true,
    reason: { code: 'no_buyers', message: 'Nobody.' },
    missingInputs: [],
    warnings: [],
  });
  t.equal(proportionResult(1, 29, { code: 'x', message: '' }).lowSample, true);
  t.equal(proportionResult(1, 30, { code: 'x', message: '' }).lowSample, false);
});

t.test('percentiles interpolate as numpy does', async (t) => {
  // numpy.percentile([15, 20, 35, 40, 50], [5, 30, 40, 50, 95]) and its documentation's [10, 7, 4, 3, 2, 1] at 50
  const bins = [50, 15, 40, 20, 35].map((value) => ({ value, count: 1 }));
  t.same(binQuantiles(bins, [0, 0.05, 0.3, 0.4, 0.5, 0.95, 1]), [15, 16, 23, 29, 35, 48, 50]);
  t.same(
    binQuantiles(
      [10, 7, 4, 3, 2, 1].map((value) => ({ value, count: 1 })),
      [0.5],
    ),
    [3.5],
  );
  t.same(binQuantiles([{ value: 7, count: 3 }], [0, 0.5, 0.99]), [7, 7, 7]);
  t.same(binQuantiles([], [0.5, 0.9]), [null, null]);
  t.same(quantileRanks(101, 0.29), { lower: 29, upper: 30, weight: 0 }, '100 × 0.29 is 28.999999999999996 in floats');
  t.same(quantileRanks(1, 0.99), { lower: 0, upper: 0, weight: 0 });
  t.same(quantileRanks(4, 0.75), { lower: 2, upper: 3, weight: 0.25 });
  t.throws(() => quantileRanks(0, 0.5), RangeError);
  t.throws(() => quantileRanks(5, 1.5), RangeError);
  t.throws(() => quantileRanks(5, Number.NaN), RangeError);
  t.equal(interpolate(10, 20, 0.25), 12.5);
  t.equal(interpolateExact(9_007_199_254_740_993n, 9_007_199_254_740_995n, 0.5), 9_007_199_254_740_994);
});

const histogram = fc.array(fc.record({ value: fc.integer({ min: -1_000, max: 1_000 }), count: fc.nat(6) }), {
  minLength: 1,
  maxLength: 30,
});
const expanded = (bins: readonly Bin[]) =>
  bins.flatMap((bin) => Array.from({ length: bin.count }, () => bin.value)).sort((a, b) => a - b);

t.test('a histogram answers like the array it stands for', async (t) => {
  fc.assert(
    fc.property(histogram, fc.integer({ min: 0, max: 100 }), (bins, percent) => {
      const values = expanded(bins);
      const n = values.length;
      if (n === 0) return binMean(bins) === null && binQuantiles(bins, [0.5])[0] === null;
      const p = percent / 100;
      const position = (n - 1) * p;
      const low = values[Math.floor(position)] ?? Number.NaN;
      const high = values[Math.ceil(position)] ?? Number.NaN;
      const naive = low + (high - low) * (position - Math.floor(position));
      const [quantile] = binQuantiles(bins, [p]);
      const mean = values.reduce((sum, value) => sum + value, 0) / n;
      // What SQL does: fetch two order statistics by rank.
      const { lower, upper, weight } = quantileRanks(n, p);
      const fetched = interpolateExact(BigInt(values[lower] ?? 0), BigInt(values[upper] ?? 0), weight);
      return (
        close(quantile ?? Number.NaN, naive) && close(fetched, naive) && binMean(bins) === mean && binTotal(bins) === n
      );
    }),
  );
  t.equal(binMean([{ value: 0.1, count: 10 }]), 0.1);
});

t.test('mean and deviation come from exact sums', async (t) => {
  // 2 4 4 4 5 5 7 9: mean 5, sum of squares 232, sample variance 32 / 7
  t.same(sampleMoments(8, 40n, 232n), { mean: 5, deviation: Math.sqrt(32 / 7) });
  t.same(sampleMoments(1, 40n, 1_600n), { mean: 40, deviation: null });
  t.same(sampleMoments(0, 0n, 0n), { mean: null, deviation: null });
  t.throws(() => sampleMoments(2, 10n, 1n), RangeError);
  // NIST StRD, NumAcc3-like: large offset, tiny spread, on which floats cancel
  const offset = 10n ** 15n;
  const values = [offset + 1n, offset + 2n, offset + 3n];
  const squares = values.reduce((sum, value) => sum + value * value, 0n);
  t.same(sampleMoments(3, 3n * offset + 6n, squares), { mean: 1_000_000_000_000_002, deviation: 1 });
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -10_000, max: 10_000 }), { minLength: 2, maxLength: 40 }), (sample) => {
      const n = sample.length;
      const mean = sample.reduce((sum, value) => sum + value, 0) / n;
      const deviation = Math.sqrt(sample.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1));
      const sum = sample.reduce((total, value) => total + BigInt(value), 0n);
      const sumOfSquares = sample.reduce((total, value) => total + BigInt(value) ** 2n, 0n);
      const moments = sampleMoments(n, sum, sumOfSquares);
      return moments.mean === mean && close(moments.deviation ?? Number.NaN, deviation, 1e-9);
    }),
  );
});

t.test('a compensated sum keeps what plain addition loses', async (t) => {
  t.equal(compensatedSum([1, 1e100, 1, -1e100]), 2);
  t.equal(compensatedSum(Array.from({ length: 10 }, () => 0.1)), 1);
  t.equal(compensatedSum([]), 0);
});
