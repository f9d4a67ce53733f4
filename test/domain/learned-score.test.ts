import fc from 'fast-check';
import t from 'tap';
import {
  areaByFold,
  areaUnderCurve,
  calibration,
  hashOfId,
  liftByDecile,
  stratifiedFolds,
} from '../../src/domain/classification.ts';
import {
  type LeadEncoder,
  type LeadFacts,
  type LeadModel,
  LeadSurvey,
  leadEncoding,
  leadScorer,
  type SurveyOptions,
} from '../../src/domain/lead-features.ts';
import {
  crossValidate,
  type FitOptions,
  fitLogisticRegression,
  type LinearModel,
  logOddsOfRows,
  probabilityOf,
  SparseMatrix,
} from '../../src/domain/logistic-regression.ts';

const close = (a: number, b: number, tolerance = 1e-9) =>
  Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b));

function finish<T>(work: Generator<void, T, void>): T {
  for (;;) {
    const step = work.next();
    if (step.done) return step.value;
  }
}

/** Zeros are left out, as the matrix wants it. */
function matrixOf(rows: readonly (readonly number[])[], columns = rows[0]?.length ?? 0): SparseMatrix {
  const matrix = new SparseMatrix(columns);
  for (const row of rows) {
    const kept = [...row.keys()].filter((column) => row[column] !== 0);
    matrix.append({ columns: kept, values: kept.map((column) => row[column] ?? 0) });
  }
  return matrix;
}

const fitted = (rows: readonly (readonly number[])[], outcomes: readonly number[], options: FitOptions = {}) =>
  finish(fitLogisticRegression(matrixOf(rows), outcomes, options));

/** Spector & Mazzeo 1980 (Greene, Econometric Analysis): grade point average, score, in the new course; grade improved. */
const spector: [number, number, number, number][] = [
  [2.66, 20, 0, 0],
  [2.89, 22, 0, 0],
  [3.28, 24, 0, 0],
  [2.92, 12, 0, 0],
  [4.0, 21, 0, 1],
  [2.86, 17, 0, 0],
  [2.76, 17, 0, 0],
  [2.87, 21, 0, 0],
  [3.03, 25, 0, 0],
  [3.92, 29, 0, 1],
  [2.63, 20, 0, 0],
  [3.32, 23, 0, 0],
  [3.57, 23, 0, 0],
  [3.26, 25, 0, 1],
  [3.53, 26, 0, 0],
  [2.74, 19, 0, 0],
  [2.75, 25, 0, 0],
  [2.83, 19, 0, 0],
  [3.12, 23, 1, 0],
  [3.16, 25, 1, 1],
  [2.06, 22, 1, 0],
  [3.62, 28, 1, 1],
  [2.89, 14, 1, 0],
  [3.51, 26, 1, 0],
  [3.54, 24, 1, 1],
  [2.83, 27, 1, 1],
  [3.39, 17, 1, 1],
  [2.67, 24, 1, 0],
  [3.65, 21, 1, 1],
  [4.0, 23, 1, 1],
  [3.1, 21, 1, 0],
  [2.39, 19, 1, 1],
];
const spectorRows = spector.map((row) => row.slice(0, 3));
const spectorOutcomes = spector.map((row) => row[3]);

t.test('logistic regression has the published coefficients', async (t) => {
  // Greene, table 17.1 (also the example of statsmodels' Logit); a penalty this small does not show in four decimals.
  const fit = fitted(spectorRows, spectorOutcomes, { penalty: 1e-9 });
  t.ok(fit.converged);
  t.ok(fit.iterations < 12, 'Newton needs few steps');
  t.same(
    [fit.intercept, ...fit.coefficients].map((value) => value.toFixed(4)),
    ['-13.0213', '2.8261', '0.0952', '2.3787'],
  );
  t.equal(fit.logLikelihood.toFixed(4), '-12.8896');
  // Hours of study and passing, the example of Wikipedia's 'Logistic regression'
  const hours = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 1.75, 2, 2.25, 2.5, 2.75, 3, 3.25, 3.5, 4, 4.25, 4.5, 4.75, 5, 5.5].map(
    (value) => [value],
  );
  const passed = [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 1, 1, 1, 1, 1];
  const study = fitted(hours, passed, { penalty: 1e-9 });
  t.same(
    [study.intercept, ...study.coefficients, study.logLikelihood].map((value) => value.toFixed(4)),
    ['-4.0777', '1.5046', '-8.0299'],
  );
});

t.test('the penalty is that of scikit-learn with C = 1 / penalty', async (t) => {
  // LogisticRegression(C=…, solver='newton-cholesky', tol=1e-12), scikit-learn 1.9.1
  const published: [number, number[], number][] = [
    [1, [-7.949012046076718, 1.2100874288837222, 0.13015191385694594, 1.162144481251267], -14.371143451910875],
    [10, [-5.02755913450482, 0.23854925835785432, 0.15742805604822907, 0.2535347672138131], -17.730879994496004],
  ];
  for (const [penalty, expected, logLikelihood] of published) {
    const fit = fitted(spectorRows, spectorOutcomes, { penalty });
    for (const [i, value] of [fit.intercept, ...fit.coefficients].entries()) {
      t.ok(close(value, expected[i] ?? Number.NaN, 1e-7), `${value} is ${expected[i]}`);
    }
    t.ok(close(fit.logLikelihood, logLikelihood, 1e-7));
  }
  const separated = fitted([[-2], [-1], [1], [2]], [0, 0, 1, 1]);
  t.ok(separated.converged, 'data that a line separates');
  t.ok(close(separated.coefficients[0] ?? 0, 1.0065943148735454, 1e-7));
  t.ok(Math.abs(separated.intercept) < 1e-9);
});

/** Small matrices of all kinds: empty and constant columns, columns that are the same, rows that separate. */
const problems = fc.record({ columns: fc.nat(5), rows: fc.integer({ min: 2, max: 40 }) }).chain(({ columns, rows }) =>
  fc.record({
    rows: fc.array(
      fc.array(
        fc.oneof(
          fc.constant(0),
          fc.constant(1),
          fc.integer({ min: -40, max: 40 }).map((n) => n / 8),
        ),
        {
          minLength: columns,
          maxLength: columns,
        },
      ),
      { minLength: rows, maxLength: rows },
    ),
    outcomes: fc
      .array(fc.integer({ min: 0, max: 1 }), { minLength: rows, maxLength: rows })
      .map((outcomes) => outcomes.map((outcome, i) => (i < 2 ? i : outcome))),
    weights: fc
      .array(fc.nat(3), { minLength: rows, maxLength: rows })
      .map((weights) => weights.map((weight, i) => (i < 2 ? Math.max(1, weight) : weight))),
    penalty: fc.constantFrom(0.01, 1, 30),
  }),
);

/** How steep the penalised likelihood is at a fit, in its steepest direction. */
function slopeAt(
  fit: LinearModel,
  rows: readonly (readonly number[])[],
  outcomes: readonly number[],
  penalty: number,
  weights?: readonly number[],
): number {
  const residuals = rows.map((row, i) => {
    const logOdds = row.reduce((sum, value, j) => sum + value * (fit.coefficients[j] ?? 0), fit.intercept);
    return (weights?.[i] ?? 1) * ((outcomes[i] ?? 0) - 1 / (1 + Math.exp(-logOdds)));
  });
  const slopes = fit.coefficients.map(
    (coefficient, j) =>
      rows.reduce((sum, row, i) => sum + (row[j] ?? 0) * (residuals[i] ?? 0), 0) - penalty * coefficient,
  );
  return Math.max(...slopes.map(Math.abs), Math.abs(residuals.reduce((sum, residual) => sum + residual, 0)));
}

t.test('at the maximum the slope is zero in every direction', async (t) => {
  fc.assert(
    fc.property(problems, ({ rows, outcomes, weights, penalty }) => {
      const fit = fitted(rows, outcomes, { penalty, weights });
      return fit.converged && slopeAt(fit, rows, outcomes, penalty, weights) < 1e-3;
    }),
  );
  // Newton's full step overshoots on the first two; on the third its last one does.
  const hard: [number[][], number[], number][] = [
    [
      [
        [2, -2],
        [-5, 1],
        [2, 658],
        [511, -1527],
      ],
      [0, 1, 0, 0],
      0.01,
    ],
    [
      [
        [567, 5],
        [-3, 5],
        [-3, 1],
        [3, 3],
        [0, -2],
      ],
      [0, 1, 0, 0, 0],
      1e-8,
    ],
    [
      [
        [-2, -2, -4, 0],
        [5, -2478, 0, 0],
        [31599, -2, -3, 2],
        [2, 2, -1, -1],
        [1, 5, 0, -5],
        [-3, -2222, 0, -3],
        [12574, 0, 1, 3],
        [0, 5, -1903, 36884],
        [4, -4, -1, -2],
        [4, 1, 3, 0],
      ],
      [0, 1, 1, 0, 0, 0, 0, 0, 0, 0],
      1e-6,
    ],
  ];
  for (const [rows, outcomes, penalty] of hard) {
    const fit = fitted(rows, outcomes, { penalty });
    t.ok(fit.converged);
    t.ok(slopeAt(fit, rows, outcomes, penalty) < 1e-3);
  }
});

t.test('a weight is how often a row is there', async () => {
  fc.assert(
    fc.property(problems, ({ rows, outcomes, weights, penalty }) => {
      const weighted = fitted(rows, outcomes, { penalty, weights });
      const repeat = <T>(values: readonly T[]) => values.flatMap((value, i) => Array<T>(weights[i] ?? 0).fill(value));
      const columns = rows[0]?.length ?? 0;
      const repeated = finish(fitLogisticRegression(matrixOf(repeat(rows), columns), repeat(outcomes), { penalty }));
      return (
        close(weighted.intercept, repeated.intercept, 1e-4) &&
        weighted.coefficients.every((value, j) => close(value, repeated.coefficients[j] ?? Number.NaN, 1e-4)) &&
        close(weighted.logLikelihood, repeated.logLikelihood, 1e-6)
      );
    }),
  );
});

t.test('what a fit says about strange rows', async (t) => {
  const none = finish(fitLogisticRegression(matrixOf([[], [], [], []], 0), [1, 0, 0, 0]));
  t.ok(close(none.intercept, Math.log(1 / 3)), 'without columns: the log-odds of the share');
  t.same(none.coefficients, []);
  const constant = fitted(
    [
      [0, 1],
      [0, 1],
      [0, 1],
      [0, 1],
    ],
    [1, 0, 0, 0],
  );
  t.equal(constant.coefficients[0], 0, 'nothing is known of an empty column');
  t.ok(Math.abs(constant.coefficients[1] ?? 1) < 1e-6, 'a constant column is left to the intercept');
  t.ok(close(constant.intercept, Math.log(1 / 3), 1e-6));
  const huge = fitted([[1e8], [-1e8], [2e8], [0]], [1, 0, 1, 0], { penalty: 1e-6 });
  t.ok(Number.isFinite(huge.intercept) && huge.coefficients.every(Number.isFinite), 'columns of any scale');
  t.equal(fitted([[1], [0]], [1, 0], { maximumIterations: 1, penalty: 1e-6 }).converged, false);

  t.throws(() => fitted([[1]], [1]), /same outcome/, 'one row');
  t.throws(() => fitted([], []), /same outcome/);
  t.throws(() => fitted([[1], [2], [3]], [0, 1, 1], { weights: [0, 1, 1] }), /same outcome/);
  t.throws(() => fitted([[1], [2]], [0, 2]), /outcome of row 1 is 2/);
  t.throws(() => fitted([[1], [2]], [0]), /1 outcomes/);
  t.throws(() => fitted([[1], [2]], [0, 1], { weights: [1, -1] }), /weight -1/);
  for (const penalty of [0, -1, Number.NaN]) t.throws(() => fitted([[1], [2]], [0, 1], { penalty }), RangeError);

  const matrix = new SparseMatrix(3);
  t.throws(() => matrix.append({ columns: [1, 1], values: [1, 1] }), RangeError);
  t.throws(() => matrix.append({ columns: [2, 1], values: [1, 1] }), RangeError);
  t.throws(() => matrix.append({ columns: [3], values: [1] }), RangeError);
  t.throws(() => matrix.append({ columns: [0], values: [Number.NaN] }), RangeError);
  t.throws(() => matrix.append({ columns: [0, 1], values: [1] }), RangeError);
  t.equal(matrix.rows, 0, 'a refused row leaves nothing');
  matrix.append({ columns: [2], values: [5] });
  t.throws(() => logOddsOfRows(matrix, { intercept: 0, coefficients: [1] }), RangeError);
  t.same([...logOddsOfRows(matrix, { intercept: 1, coefficients: [7, 7, 2] })], [11]);
  t.throws(() => new SparseMatrix(-1), RangeError);
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

t.test('many rows: known coefficients are found again, and others get their turn', async (t) => {
  const random = numbers(1);
  const coefficients = Array.from({ length: 30 }, (_, i) => (i - 15) / 10);
  const matrix = new SparseMatrix(30);
  const outcomes: number[] = [];
  for (let row = 0; row < 30_000; row++) {
    const columns = coefficients.map((_, i) => i).filter(() => random() < 0.3);
    matrix.append({ columns, values: columns.map(() => 1) });
    const logOdds = columns.reduce((sum, column) => sum + (coefficients[column] ?? 0), -0.5);
    outcomes.push(random() < probabilityOf(logOdds) ? 1 : 0);
  }
  t.equal(matrix.rows, 30_000);
  t.equal(
    matrix.blocks().reduce((rows, block) => rows + block.ends.length, 0),
    30_000,
  );
  const work = fitLogisticRegression(matrix, outcomes);
  let turns = 0;
  let step = work.next();
  for (; !step.done; step = work.next()) turns++;
  t.ok(turns > 5, `${turns} turns for others`);
  const fit = step.value;
  t.ok(fit.converged);
  const errors = fit.coefficients.map((value, i) => Math.abs(value - (coefficients[i] ?? 0)));
  t.ok(Math.max(...errors) < 0.15, `off by ${Math.max(...errors)} at most`);
  t.same(finish(fitLogisticRegression(matrix, outcomes)), fit, 'the same again');

  const folds = {
    of: stratifiedFolds(
      outcomes.map((_, row) => hashOfId(String(row))),
      outcomes,
      5,
    ),
    count: 5,
  };
  const unseen = finish(crossValidate(matrix, outcomes, folds));
  const first = Uint8Array.from(folds.of, (fold) => (fold === 0 ? 0 : 1));
  const withoutFirst = logOddsOfRows(matrix, finish(fitLogisticRegression(matrix, outcomes, { weights: first })));
  t.ok(
    unseen.every((logOdds, row) => folds.of[row] !== 0 || logOdds === withoutFirst[row]),
    'rows of a fold are judged by the model of the others',
  );
  t.throws(() => finish(crossValidate(matrix, outcomes, { of: [0], count: 5 })), RangeError);
  t.throws(() => finish(crossValidate(matrix, outcomes, { of: folds.of, count: 4 })), /none of the 4 folds/);
});

const scored = fc
  .array(fc.tuple(fc.integer({ min: -4, max: 4 }), fc.integer({ min: 0, max: 1 })), { maxLength: 60 })
  .map((rows) => ({ scores: rows.map(([score]) => score / 2), outcomes: rows.map(([, outcome]) => outcome) }));

t.test('the area under the curve', async (t) => {
  t.equal(areaUnderCurve([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 0.75, "scikit-learn's example");
  // Hanley & McNeil 1982, table I: ratings 1–5 of 58 normal and 51 abnormal images; area 0.893.
  const ratings = { normal: [33, 6, 6, 11, 2], abnormal: [3, 2, 2, 11, 33] };
  const scores: number[] = [];
  const outcomes: number[] = [];
  for (const [outcome, counts] of [ratings.normal, ratings.abnormal].entries()) {
    for (const [rating, count] of counts.entries()) {
      for (let i = 0; i < count; i++) {
        scores.push(rating + 1);
        outcomes.push(outcome);
      }
    }
  }
  t.equal(areaUnderCurve(scores, outcomes)?.toFixed(3), '0.893');
  t.equal(areaUnderCurve([1, 2], [1, 1]), null);
  t.equal(areaUnderCurve([], []), null);
  t.equal(areaUnderCurve([-Infinity, 1], [0, 1]), 1);
  t.throws(() => areaUnderCurve([Number.NaN, 1], [0, 1]), RangeError);
  t.throws(() => areaUnderCurve([1], [0, 1]), RangeError);
  t.throws(() => areaUnderCurve([1, 2], [0, 3]), RangeError);
  fc.assert(
    fc.property(scored, ({ scores, outcomes }) => {
      let won = 0;
      let pairs = 0;
      for (const [i, one] of outcomes.entries()) {
        for (const [j, zero] of outcomes.entries()) {
          if (one !== 1 || zero !== 0) continue;
          pairs++;
          const [a = 0, b = 0] = [scores[i], scores[j]];
          won += a > b ? 1 : a === b ? 0.5 : 0;
        }
      }
      return areaUnderCurve(scores, outcomes) === (pairs === 0 ? null : won / pairs);
    }),
  );
  t.same(areaByFold([1, 2, 2, 1, 5], [0, 1, 0, 1, 1], { of: [0, 0, 1, 1, 2], count: 3 }), [1, 0, null]);
});

t.test('calibration by decile, and the Brier score', async (t) => {
  t.ok(close(calibration([0.1, 0.9, 0.8, 0.3], [0, 1, 1, 0]).brierScore ?? 0, 0.0375), "scikit-learn's example");
  t.same(calibration([], []), { groups: [], brierScore: null });
  t.same(calibration([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0]), {
    groups: [{ decile: 1, count: 4, predicted: 0.5, observed: 0.25 }],
    brierScore: 0.25,
  });
  const hundred = Array.from({ length: 100 }, (_, i) => i / 100);
  const groups = calibration(
    hundred,
    hundred.map((p) => (p >= 0.95 ? 1 : 0)),
  ).groups;
  t.same(
    groups.map(({ decile, count }) => [decile, count]),
    Array.from({ length: 10 }, (_, i) => [i + 1, 10]),
  );
  t.equal(groups[9]?.observed, 0.5);
  t.ok(close(groups[9]?.predicted ?? 0, 0.945));
  t.throws(() => calibration([1.5], [1]), RangeError);
  t.throws(() => calibration([Number.NaN], [1]), RangeError);
  fc.assert(
    fc.property(scored, ({ scores, outcomes }) => {
      const probabilities = scores.map((score) => (score + 2) / 4);
      const { groups } = calibration(probabilities, outcomes);
      const backwards = calibration(probabilities.toReversed(), outcomes.toReversed());
      const n = outcomes.length;
      return groups.every((group, i) => {
        const members = probabilities.flatMap((p, row) => {
          const lower = probabilities.filter((other) => other < p).length;
          return 1 + Math.floor((10 * lower) / n) === group.decile ? [row] : [];
        });
        const ones = members.filter((row) => outcomes[row] === 1).length;
        const sum = members.reduce((total, row) => total + (probabilities[row] ?? 0), 0);
        return (
          members.length === group.count &&
          close(group.observed, ones / members.length) &&
          close(group.predicted, sum / members.length) &&
          close(group.predicted, backwards.groups[i]?.predicted ?? Number.NaN)
        );
      });
    }),
  );
});

t.test('lift by decile', async (t) => {
  const scores = Array.from({ length: 20 }, (_, i) => i);
  const outcomes = scores.map((score) => (score >= 17 || score === 3 ? 1 : 0));
  const groups = liftByDecile(scores, outcomes);
  t.same(groups.length, 10);
  t.same(groups[0], { decile: 1, count: 2, conversions: 2, share: 1, lift: 5, cumulativeGain: 0.5 });
  t.same(groups[1], { decile: 2, count: 2, conversions: 1, share: 0.5, lift: 2.5, cumulativeGain: 0.75 });
  t.same(groups[8], { decile: 9, count: 2, conversions: 1, share: 0.5, lift: 2.5, cumulativeGain: 1 });
  t.same(liftByDecile([], []), []);
  t.same(
    liftByDecile([1, 2, 3], [0, 0, 0]).map(({ decile, lift, cumulativeGain }) => [decile, lift, cumulativeGain]),
    [
      [4, null, null],
      [7, null, null],
      [10, null, null],
    ],
  );
  t.ok(
    liftByDecile(
      Array(50).fill(7),
      Array.from({ length: 50 }, (_, i) => (i < 5 ? 1 : 0)),
    ).every(({ lift, conversions }) => close(lift ?? 0, 1) && close(conversions, 0.5)),
    'a score that says nothing lifts nothing, whatever the order of the rows',
  );
  fc.assert(
    fc.property(scored, fc.nat(1000), ({ scores, outcomes }, seed) => {
      const groups = liftByDecile(scores, outcomes);
      const total = outcomes.filter((outcome) => outcome === 1).length;
      // By hand: every row of a tie carries the tie's share of conversions.
      const carried = scores
        .map((score) => {
          const tied = outcomes.filter((_, row) => scores[row] === score);
          return { score, ones: tied.filter((outcome) => outcome === 1).length / tied.length };
        })
        .sort((a, b) => b.score - a.score);
      const order = scores.map((_, row) => row).sort((a, b) => hashOfId(`${a}/${seed}`) - hashOfId(`${b}/${seed}`));
      const shuffled = liftByDecile(
        order.map((row) => scores[row] ?? 0),
        order.map((row) => outcomes[row] ?? 0),
      );
      let at = 0;
      return (
        JSON.stringify(shuffled) === JSON.stringify(groups) &&
        groups.reduce((rows, { count }) => rows + count, 0) === scores.length &&
        groups.every(({ count, conversions, share, lift, cumulativeGain }) => {
          const expected = carried.slice(at, at + count).reduce((sum, { ones }) => sum + ones, 0);
          const before = carried.slice(0, at + count).reduce((sum, { ones }) => sum + ones, 0);
          at += count;
          return (
            close(conversions, expected) &&
            close(share, expected / count) &&
            (total === 0
              ? lift === null && cumulativeGain === null
              : close(lift ?? 0, expected / count / (total / scores.length)) &&
                close(cumulativeGain ?? 0, before / total))
          );
        })
      );
    }),
  );
});

t.test('folds belong to ids, and are even', async (t) => {
  t.equal(new Set(Array.from({ length: 100_000 }, (_, i) => hashOfId(`lead-${i}`))).size, 100_000);
  t.ok(
    Array.from({ length: 1000 }, (_, i) => hashOfId(String(i))).every(
      (hash) => Number.isSafeInteger(hash) && hash >= 0,
    ),
  );
  t.equal(hashOfId('lead-1'), hashOfId('lead-1'));
  t.throws(() => stratifiedFolds([1, 2], [0, 1], 1), RangeError);
  t.throws(() => stratifiedFolds([1], [0, 1], 2), RangeError);
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.uuid(), { maxLength: 60 }),
      fc.integer({ min: 2, max: 6 }),
      fc.nat(1000),
      (ids, count, seed) => {
        const outcomes = ids.map((id) => (hashOfId(`${id}?`) % 3 === 0 ? 1 : 0));
        const folds = stratifiedFolds(ids.map(hashOfId), outcomes, count);
        const sizes = [[0, 1], [0], [1]].map((kinds) =>
          Array.from(
            { length: count },
            (_, fold) => outcomes.filter((outcome, row) => folds[row] === fold && kinds.includes(outcome)).length,
          ),
        );
        const order = ids.map((_, row) => row).sort((a, b) => hashOfId(`${a}/${seed}`) - hashOfId(`${b}/${seed}`));
        const shuffled = stratifiedFolds(
          order.map((row) => hashOfId(ids[row] ?? '')),
          order.map((row) => outcomes[row] ?? 0),
          count,
        );
        return (
          sizes.every((of) => Math.max(...of) - Math.min(...of) <= 1) &&
          order.every((row, place) => shuffled[place] === folds[row])
        );
      },
    ),
  );
});

const nobody: LeadFacts['profile'] = {
  kind: null,
  locale: null,
  preferredChannel: null,
  acquisitionSource: null,
  leadSource: null,
  country: null,
  hasEmail: false,
  hasPhone: false,
  hasCompany: false,
  hasBirthday: false,
  referred: false,
};

function lead({
  profile = {},
  attributes = {},
  interactions = [],
}: {
  profile?: Partial<LeadFacts['profile']>;
  attributes?: LeadFacts['attributes'];
  interactions?: (Partial<LeadFacts['interactions'][number]> & { kind: string })[];
} = {}): LeadFacts {
  return {
    profile: { ...nobody, ...profile },
    attributes,
    interactions: interactions.map((group) => ({
      topic: null,
      outcome: null,
      direction: null,
      count: 1,
      seconds: 0,
      pages: 0,
      lastAt: null,
      ...group,
    })),
  };
}

function encoderOf(leads: readonly LeadFacts[], options: SurveyOptions = {}): LeadEncoder {
  const survey = new LeadSurvey(options);
  for (const facts of leads) survey.add(facts);
  return survey.encoder();
}

const names = (encoder: LeadEncoder) => encoder.columns.map(({ name }) => name);

/** The names of the columns in which a lead is 1. */
function columnsOf(encoder: LeadEncoder, facts: LeadFacts): string[] {
  const { columns, values } = leadEncoding(encoder)(facts);
  if (Array.from(values).some((value) => value !== 1)) throw new Error('a value that is not 1');
  return Array.from(columns, (column) => encoder.columns[column]?.name ?? '?');
}

/** Scores by a model in which every column has a coefficient of its own. */
const scorerOf = (encoder: LeadEncoder, intercept = 0.3) =>
  leadScorer({ encoder, intercept, coefficients: encoder.columns.map((_, i) => Math.sin(i + 1) * 1.7) });

t.test('every kind of field becomes columns', async (t) => {
  const blank = lead();
  const known = lead({
    profile: {
      kind: 'person',
      locale: 'de-DE',
      preferredChannel: 'phone',
      acquisitionSource: 'fair',
      leadSource: 'web',
      country: 'DE',
      hasEmail: true,
      hasPhone: true,
      hasCompany: true,
      hasBirthday: true,
      referred: true,
    },
    attributes: {
      plan: ' gold ',
      newsletter: true,
      staff: 12,
      address: { city: 'Bonn', geo: { area: 'north', deeper: { no: 1 } } },
    },
    interactions: [
      { kind: 'web_visit', count: 3, seconds: 270, pages: 12, direction: 'inbound', lastAt: '2026-01-01T00:00:00Z' },
      { kind: 'phone', topic: 'price', outcome: 'call back', direction: 'outbound', lastAt: '2026-01-03T00:00:00Z' },
      { kind: 'phone', topic: 'delivery', direction: 'outbound', seconds: 60, lastAt: '2026-01-02T00:00:00Z' },
    ],
  });
  const encoder = encoderOf([...Array(25).fill(known), ...Array(25).fill(blank)]);
  t.same(encoder.minimumLeads, 20);
  t.same(names(encoder), [
    'attributes.address.city = Bonn',
    'attributes.address.geo.area = north',
    'attributes.newsletter = true',
    'attributes.plan = gold',
    'attributes.staff given',
    'last interaction = phone',
    'outcome seen = call back',
    'phone minutes > 0',
    'outbound phone count > 0',
    'topic seen = delivery',
    'topic seen = price',
    'inbound web visit count > 0',
    'web visit minutes > 0',
    'web visit pages > 0',
    'acquisition source = fair',
    'country = DE',
    'has birthday = yes',
    'has company = yes',
    'has e-mail = yes',
    'has phone = yes',
    'kind = person',
    'lead source = web',
    'locale = de-DE',
    'preferred channel = phone',
    'referred = yes',
  ]);
  t.ok(encoder.columns.every(({ share }) => share === 0.5));
  t.same(columnsOf(encoder, known), names(encoder));
  t.same(columnsOf(encoder, blank), []);
  t.same(JSON.parse(JSON.stringify(encoder)), encoder, 'plain JSON');
  t.equal(encoderOf([]).columns.length, 0);
  const alike = lead({ profile: { acquisitionSource: 'fair', leadSource: 'fair' } });
  t.same(names(encoderOf([...Array(25).fill(alike), ...Array(25).fill(blank)])), ['lead source = fair'], 'said once');
});

t.test('excluded fields leave no column, and rare and constant ones neither', async (t) => {
  const leads = Array.from({ length: 100 }, (_, i) =>
    lead({
      attributes: {
        tags: i % 2 ? 'will revert' : 'ringing',
        scoreActivity: i,
        scoreProfile: { value: i },
        sales: { note: `n${i % 2}`, more: { yes: i % 2 === 0 } },
        salesman: `s${i % 2}`,
        same: 'for all',
        rare: i < 19 ? 'yes' : 'no',
        key: `key-${i}`,
      },
      interactions: [{ kind: 'phone', count: (i % 5) + 1, topic: `topic ${i % 2}` }],
    }),
  );
  const excluded = ['attributes.tags', 'attributes.score*', 'attributes.sales', 'interactions.phone'];
  const encoder = encoderOf(leads, { excluded });
  t.same(encoder.excluded, excluded);
  t.same(names(encoder), [
    'attributes.salesman = s0',
    'attributes.salesman = s1',
    'topic seen = topic 0',
    'topic seen = topic 1',
  ]);
  t.same(columnsOf(encoder, leads[1] ?? lead()), ['attributes.salesman = s1', 'topic seen = topic 1']);
  t.same(names(encoderOf(leads, { excluded: ['*'] })), []);
  t.same(names(encoderOf(leads, { excluded: ['attributes*', 'interactions.topic'] })), [
    'phone count = 1',
    'phone count = 2',
    'phone count = 3',
    'phone count = 4',
    'phone count ≥ 5',
  ]);
  t.ok(names(encoderOf(leads, { minimumLeads: 19 })).includes('attributes.rare = yes'));
  t.notOk(
    names(encoderOf(leads, { minimumLeads: 20 })).some((name) => name.includes('rare')),
    'nor its complement',
  );
  t.equal(encoderOf(leads, { maximumColumns: 3 }).columns.length, 3);
  t.equal(encoderOf(Array(30_000).fill(lead())).minimumLeads, 30, '0.1 % of many leads');
});

t.test('numbers lie in ranges', async (t) => {
  const ages = Array.from({ length: 1000 }, (_, i) => lead({ attributes: { age: 20 + (i % 50), share: i / 1000 } }));
  const encoder = encoderOf([...ages, ...Array(100).fill(lead())]);
  t.same(names(encoder).slice(0, 3), ['attributes.age 25 to 29', 'attributes.age 30 to 34', 'attributes.age 35 to 39']);
  t.same(names(encoder).slice(-2), ['attributes.share < 0.1', 'attributes.share ≥ 0.9']);
  t.same(columnsOf(encoder, lead({ attributes: { age: 29 } })), ['attributes.age 25 to 29']);
  t.same(columnsOf(encoder, lead({ attributes: { age: 30, share: 0.8999 } })), [
    'attributes.age 30 to 34',
    'attributes.share 0.8 to < 0.9',
  ]);
  t.same(columnsOf(encoder, lead({ attributes: { age: -1e300, share: 1e300 } })), [
    'attributes.age < 25',
    'attributes.share ≥ 0.9',
  ]);
  t.same(columnsOf(encoder, lead({ attributes: { age: '30', share: 'a lot' } })), [], 'a number is no text');
  const mixed = encoderOf([...ages, ...Array(100).fill(lead({ attributes: { age: 'unknown' } }))]);
  t.ok(names(mixed).includes('attributes.age = unknown'), 'texts among numbers: categories');
  t.same(columnsOf(mixed, lead({ attributes: { age: 30 } })), ['attributes.age = 30']);

  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer({ min: -5, max: 5 }), fc.constant(-0)),
        { minLength: 1, maxLength: 60 },
      ),
      fc.integer({ min: 1, max: 6 }),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      (values, minimumLeads, other) => {
        const leads = values.map((x) => lead({ attributes: { x } }));
        const blanks = Array<LeadFacts>(60).fill(lead());
        const { columns } = encoderOf([...leads, ...blanks], { minimumLeads });
        const again = encoderOf([...blanks, ...leads.toReversed()], { minimumLeads });
        if (JSON.stringify(columns) !== JSON.stringify(again.columns)) return false;
        if (columns.length === 0) return values.length < minimumLeads;
        const encode = leadEncoding({ columns, excluded: [], leads: 0, minimumLeads });
        return (
          columns.length <= 10 &&
          [...values, other].every((x) => encode(lead({ attributes: { x } })).columns.length === 1)
        );
      },
    ),
  );
});

t.test('many different numbers and texts are no burden', async (t) => {
  const random = numbers(2);
  const leads = Array.from({ length: 20_000 }, (_, i) =>
    lead({
      attributes: {
        key: i % 50 === 0 ? 'none' : `key-${i}`,
        income: Math.exp(10 * random()),
        note: (i % 2 ? 'x' : 'y').repeat(101),
        word: (i % 2 ? 'x' : 'y').repeat(100),
      },
    }),
  );
  const encoder = encoderOf(leads);
  t.same(new Set(encoder.columns.map(({ field }) => field)), new Set(['attributes.income', 'attributes.word']));
  const ranges = encoder.columns.filter(({ type }) => type === 'range');
  t.equal(ranges.length, 10);
  t.ok(
    ranges.every(({ share }) => share > 0.09 && share < 0.11),
    'ranges of a tenth each',
  );
  t.same(encoderOf(leads.toReversed()), encoder);
});

t.test('hostile attributes', async (t) => {
  const attributes: Record<string, unknown> = JSON.parse(
    '{"__proto__": "polluted", "constructor": {"prototype": true}, "": "empty name", "list": [1, 2], "nothing": null, "blank": "  ", "a.b": 1, "a": {"b": 2}}',
  );
  const facts = lead({ attributes: { ...attributes, nan: Number.NaN, huge: Number.POSITIVE_INFINITY } });
  const hostile = lead({
    attributes: Object.defineProperty({ ...attributes }, '__proto__', { value: 'own', enumerable: true }),
  });
  const encoder = encoderOf([...Array(30).fill(facts), ...Array(30).fill(hostile), ...Array(30).fill(lead())]);
  t.ok(names(encoder).includes('attributes.__proto__ = own'));
  t.notOk(names(encoder).some((name) => /list|nothing|blank|nan|huge/.test(name)));
  t.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
  const { columns, values } = leadEncoding(encoder)(hostile);
  const matrix = new SparseMatrix(encoder.columns.length);
  matrix.append({ columns, values });
  t.equal(matrix.rows, 1);
  fc.assert(
    fc.property(fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { maxLength: 8 }), (given) => {
      const leads = given.map((attributes) => lead({ attributes: attributes as Record<string, unknown> }));
      const encoder = encoderOf(leads, { minimumLeads: 1 });
      const matrix = new SparseMatrix(encoder.columns.length);
      const encode = leadEncoding(encoder);
      const score = scorerOf(encoder);
      return leads.every((facts) => {
        matrix.append(encode(facts));
        return Number.isFinite(score(facts).logOdds);
      });
    }),
  );
});

t.test('the latest interaction counts, whatever the order of the groups', async (t) => {
  const at = (kind: string, lastAt: string | null) => ({ kind, lastAt });
  const groups = [at('sms', '2026-01-02T00:00:00Z'), at('chat', '2026-01-01T00:00:00Z'), at('fax', null)];
  const tied = [at('sms', '2026-01-02T00:00:00Z'), at('phone', '2026-01-02T00:00:00Z')];
  const leads = [groups, groups.toReversed(), tied, tied.toReversed()].map((interactions) => lead({ interactions }));
  const encoder = encoderOf([...leads, lead()], { minimumLeads: 1 });
  for (const facts of leads) t.ok(columnsOf(encoder, facts).includes('last interaction = sms'));
  t.same(
    names(encoder).filter((name) => name.startsWith('last')),
    ['last interaction = sms'],
  );
});

/** Leads with a few fields, all of them at times missing. */
const someLeads = fc.array(
  fc
    .record({
      country: fc.constantFrom('DE', 'FR', null),
      plan: fc.constantFrom('a', 'b', 'c', null),
      age: fc.oneof(fc.integer({ min: 18, max: 80 }), fc.constant(null)),
      topics: fc.subarray(['price', 'delivery', 'demo']),
      visits: fc.nat(9),
    })
    .map(({ country, plan, age, topics, visits }) =>
      lead({
        profile: { country },
        attributes: { plan, age },
        interactions: [
          ...topics.map((topic) => ({ kind: 'phone', topic, direction: 'outbound' })),
          ...(visits > 0 ? [{ kind: 'web_visit', count: visits, seconds: visits * 77 }] : []),
        ],
      }),
    ),
  { minLength: 1, maxLength: 30 },
);

t.test('contributions add up to the score, to the last digit and in any order', async () => {
  fc.assert(
    fc.property(
      someLeads,
      fc.array(fc.double({ min: -30, max: 30, noNaN: true }), { minLength: 60, maxLength: 60 }),
      fc.nat(1000),
      (leads, coefficients, seed) => {
        const encoder = encoderOf(leads, { minimumLeads: 1 });
        const model: LeadModel = {
          encoder,
          intercept: coefficients[59] ?? 0,
          coefficients: encoder.columns.map((_, i) => coefficients[i] ?? 0),
        };
        const score = leadScorer(model);
        const stored = leadScorer(JSON.parse(JSON.stringify(model)));
        const encode = leadEncoding(encoder);
        return leads.every((facts) => {
          const result = score(facts);
          const { contributions, baseLogOdds, basePoints } = result;
          const shuffled = contributions.toSorted(
            (a, b) => hashOfId(`${a.field}${seed}`) - hashOfId(`${b.field}${seed}`),
          );
          const { columns } = encode(facts);
          const exact = Array.from(columns, (column) => model.coefficients[column] ?? 0).reduce(
            (a, b) => a + b,
            model.intercept,
          );
          return (
            shuffled.reduce((sum, { logOdds }) => sum + logOdds, 0) + baseLogOdds === result.logOdds &&
            shuffled.reduce((sum, { points }) => sum + points, 0) + basePoints === result.points &&
            [baseLogOdds, ...contributions.map(({ logOdds }) => logOdds)].every((x) => Number.isInteger(x * 2 ** 20)) &&
            [basePoints, ...contributions.map(({ points }) => points)].every((x) => Number.isInteger(x * 2 ** 10)) &&
            contributions.every(
              ({ logOdds }, i) => i === 0 || Math.abs(contributions[i - 1]?.logOdds ?? 0) >= Math.abs(logOdds),
            ) &&
            Math.abs(result.logOdds - exact) < 1e-4 &&
            Math.abs(result.points - (result.logOdds * 20) / Math.LN2) < 0.1 &&
            result.probability === 1 / (1 + Math.exp(-result.logOdds)) &&
            JSON.stringify(stored(facts)) === JSON.stringify(result)
          );
        });
      },
    ),
  );
});

t.test('a contribution is the difference to the average lead', async (t) => {
  const leads = Array.from({ length: 100 }, (_, i) =>
    lead({
      profile: { hasEmail: i < 75 },
      attributes: { plan: i < 50 ? 'gold' : i < 90 ? 'free' : `rare ${i}` },
      interactions: [{ kind: 'phone', topic: 'price' }, ...(i < 40 ? [{ kind: 'phone', topic: 'demo' }] : [])],
    }),
  );
  const encoder = encoderOf(leads);
  const coefficients = new Map([
    ['attributes.plan = free', 1],
    ['attributes.plan = gold', 2],
    ['has e-mail = yes', 4],
    ['topic seen = demo', 3],
    ['phone count = 1', 0],
    ['phone count ≥ 2', 0],
  ]);
  t.same(new Set(names(encoder)), new Set(coefficients.keys()), 'everybody heard the price, so that is no column');
  const score = leadScorer({
    encoder,
    intercept: -1,
    coefficients: names(encoder).map((name) => coefficients.get(name) ?? Number.NaN),
  });
  const best = score(leads[0] ?? lead());
  t.ok(close(best.baseLogOdds, -1 + 2 * 0.5 + 1 * 0.4 + 4 * 0.75 + 3 * 0.4, 2 ** -20), 'the average lead');
  t.same(
    best.contributions.map(({ field, name, values, logOdds }) => [field, name, values, Number(logOdds.toFixed(5))]),
    [
      ['interactions.topic', 'topic seen = demo', ['demo'], 1.8],
      ['profile.hasEmail', 'has e-mail = yes', ['yes'], 1],
      ['attributes.plan', 'attributes.plan = gold', ['gold'], 0.6],
    ],
  );
  const last = score(leads[99] ?? lead());
  t.same(
    last.contributions.map(({ name, values, logOdds }) => [name, values, Number(logOdds.toFixed(5))]),
    [
      ['has e-mail: none that counts', [], -3],
      ['attributes.plan: none that counts', [], -1.4],
      ['topic seen: none that counts', [], -1.2],
    ],
  );
  const mean = leads.reduce((sum, facts) => sum + score(facts).logOdds, 0) / leads.length;
  t.ok(close(mean, best.baseLogOdds, 1e-5), 'on average the leads are the average lead');
  t.ok(close(score(leads[0] ?? lead()).points, (best.logOdds * 20) / Math.LN2, 1e-3), '20 points double the odds');
  t.throws(() => leadScorer({ encoder, intercept: 0, coefficients: [1] }), RangeError);
  t.throws(() => scorerOf(encoder, Number.NaN), RangeError);
});
