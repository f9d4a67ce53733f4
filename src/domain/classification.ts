import { compensatedSum } from './distribution.ts';

/** How well scores tell two outcomes apart. Scores and outcomes (0 or 1) belong together by their place. */

/**
 * Area under the ROC curve: the chance that a row with outcome 1 scores higher than one with outcome 0, ties counting
 * half. It is the Mann–Whitney U statistic ÷ (ones × zeros) (Hanley & McNeil 1982, Radiology 143: 29–36). Counted in whole
 * halves, so the order of the rows does not show. Null when an outcome does not occur.
 * @throws RangeError when the lengths differ, an outcome is not 0 or 1, or a score is not a number
 */
export function areaUnderCurve(scores: ArrayLike<number>, outcomes: ArrayLike<number>): number | null {
  const ones = sortedScores(scores, outcomes, 1);
  const zeros = sortedScores(scores, outcomes, 0);
  if (ones.length === 0 || zeros.length === 0) return null;
  let below = 0;
  let notAbove = 0;
  let halves = 0;
  for (const score of ones) {
    while (below < zeros.length && (zeros[below] ?? 0) < score) below++;
    while (notAbove < zeros.length && (zeros[notAbove] ?? 0) <= score) notAbove++;
    halves += below + notAbove;
  }
  return halves / (2 * ones.length * zeros.length);
}

/** The area of each fold by itself; null for a fold without one of the outcomes. */
export function areaByFold(
  scores: ArrayLike<number>,
  outcomes: ArrayLike<number>,
  folds: { readonly of: ArrayLike<number>; readonly count: number },
): (number | null)[] {
  assertTogether(folds.of, outcomes);
  return Array.from({ length: folds.count }, (_, fold) => {
    const isInFold = (_value: number, row: number) => folds.of[row] === fold;
    return areaUnderCurve(Array.from(scores).filter(isInFold), Array.from(outcomes).filter(isInFold));
  });
}

/** Rows of about the same predicted probability. */
export interface CalibrationGroup {
  /** 1 (lowest probabilities) … 10 */
  readonly decile: number;
  readonly count: number;
  /** Mean predicted probability. */
  readonly predicted: number;
  /** Share of outcome 1. */
  readonly observed: number;
}

export interface Calibration {
  /** Deciles that have rows, ascending. */
  readonly groups: readonly CalibrationGroup[];
  /** Mean of (probability − outcome)² (Brier 1950, Monthly Weather Review 78: 1–3); null without rows. */
  readonly brierScore: number | null;
}

/**
 * Predicted against observed by decile of the predicted probability: 1 + ⌊10 × rows with a lower one ÷ rows⌋, so that
 * equal probabilities share a decile (a decile may then be empty, and is left out).
 * @throws RangeError when the lengths differ, an outcome is not 0 or 1, or a probability is not between 0 and 1
 */
export function calibration(probabilities: ArrayLike<number>, outcomes: ArrayLike<number>): Calibration {
  assertTogether(probabilities, outcomes);
  const rows = probabilities.length;
  const sorted = Float64Array.from(probabilities).sort();
  if (rows > 0 && !((sorted[0] ?? 0) >= 0 && (sorted[rows - 1] ?? 0) <= 1)) {
    throw new RangeError('a probability is not between 0 and 1');
  }
  const members: { probabilities: number[]; ones: number }[] = Array.from({ length: deciles }, () => ({
    probabilities: [],
    ones: 0,
  }));
  const squares: number[] = [];
  for (let row = 0; row < rows; row++) {
    const probability = probabilities[row] ?? 0;
    const outcome = outcomes[row] ?? 0;
    const group = members[Math.floor((deciles * countBelow(sorted, probability)) / rows)];
    group?.probabilities.push(probability);
    if (group !== undefined) group.ones += outcome;
    squares.push((probability - outcome) ** 2);
  }
  return {
    groups: members.flatMap((group, index) => {
      const count = group.probabilities.length;
      if (count === 0) return [];
      const predicted = compensatedSum(group.probabilities) / count;
      return [{ decile: index + 1, count, predicted, observed: group.ones / count }];
    }),
    brierScore: rows === 0 ? null : compensatedSum(squares) / rows,
  };
}

/** A tenth of the rows, by score. */
export interface LiftGroup {
  /** 1 (highest scores) … 10 */
  readonly decile: number;
  readonly count: number;
  /** Rows with outcome 1; a fraction where a tie runs over the edge of the decile. */
  readonly conversions: number;
  /** conversions ÷ count */
  readonly share: number;
  /** share ÷ share among all rows; null when nothing converted. */
  readonly lift: number | null;
  /** Part of all conversions found in this and the better deciles (0–1); null when nothing converted. */
  readonly cumulativeGain: number | null;
}

/**
 * Lift by decile, best scores first. Decile k has the rows of rank ⌊(k − 1) n ÷ 10⌋ + 1 to ⌊k n ÷ 10⌋ (with fewer than ten
 * rows some have none and are left out). Rows with the same score that lie in two deciles give each its part of their
 * conversions, which is what shuffling them gives on average; so neither the order of the rows nor a coarse score
 * flatters.
 * @throws RangeError when the lengths differ, an outcome is not 0 or 1, or a score is not a number
 */
export function liftByDecile(scores: ArrayLike<number>, outcomes: ArrayLike<number>): LiftGroup[] {
  const rows = scores.length;
  const ones = sortedScores(scores, outcomes, 1);
  const all = Float64Array.from(scores).sort();
  /** Conversions among the `count` best. */
  const conversionsOf = (count: number): number => {
    if (count === 0) return 0;
    const last = all[rows - count] ?? 0;
    const better = rows - countBelow(all, last, true);
    const tied = rows - countBelow(all, last) - better;
    const betterOnes = ones.length - countBelow(ones, last, true);
    const tiedOnes = ones.length - countBelow(ones, last) - betterOnes;
    return betterOnes + (tiedOnes * (count - better)) / tied;
  };
  const groups: LiftGroup[] = [];
  for (let decile = 1; decile <= deciles; decile++) {
    const from = Math.floor(((decile - 1) * rows) / deciles);
    const to = Math.floor((decile * rows) / deciles);
    if (to === from) continue;
    const found = conversionsOf(to);
    const conversions = found - conversionsOf(from);
    const share = conversions / (to - from);
    groups.push({
      decile,
      count: to - from,
      conversions,
      share,
      lift: ones.length === 0 ? null : share / (ones.length / rows),
      cumulativeGain: ones.length === 0 ? null : found / ones.length,
    });
  }
  return groups;
}

/**
 * A number for an id that looks random and never changes: 53 bits, from two FNV-1a sums with different primes (Fowler,
 * Noll & Vo) over UTF-16 code units, each stirred by the last steps of MurmurHash3 (Appleby). Not for secrets.
 */
export function hashOfId(id: string): number {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  for (let i = 0; i < id.length; i++) {
    const unit = id.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x85ebca6b);
  }
  return (stirred(a) >>> 11) * 0x1_0000_0000 + stirred(b);
}

function stirred(sum: number): number {
  let h = sum;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * A fold (0 … count − 1) for every row, so that each fold has the same number of rows of each outcome, give or take one.
 * Rows of one outcome are dealt out in the order of their hashes (`hashOfId`): the folds belong to the ids, whatever
 * order the rows come in.
 * @throws RangeError when the lengths differ, an outcome is not 0 or 1, or there are less than two folds
 */
export function stratifiedFolds(hashes: ArrayLike<number>, outcomes: ArrayLike<number>, count: number): Uint8Array {
  if (!(Number.isSafeInteger(count) && count >= 2 && count <= 255)) throw new RangeError(`${count} folds`);
  const zeros = sortedScores(hashes, outcomes, 0);
  const ones = sortedScores(hashes, outcomes, 1);
  return Uint8Array.from(outcomes, (outcome, row) => {
    const hash = hashes[row] ?? 0;
    // Ones go on where the zeros have ended, which keeps the folds of one size.
    return (outcome === 1 ? zeros.length + countBelow(ones, hash) : countBelow(zeros, hash)) % count;
  });
}

const deciles = 10;

function assertTogether(scores: ArrayLike<number>, outcomes: ArrayLike<number>): void {
  if (scores.length !== outcomes.length) throw new RangeError(`${scores.length} rows, but ${outcomes.length} outcomes`);
  for (let row = 0; row < outcomes.length; row++) {
    if (outcomes[row] !== 0 && outcomes[row] !== 1) {
      throw new RangeError(`the outcome of row ${row} is ${outcomes[row]}`);
    }
    if (Number.isNaN(scores[row])) throw new RangeError(`row ${row} has no score`);
  }
}

/** Scores of the rows with one outcome, ascending. */
function sortedScores(scores: ArrayLike<number>, outcomes: ArrayLike<number>, outcome: 0 | 1): Float64Array {
  assertTogether(scores, outcomes);
  return Float64Array.from(Array.from(scores).filter((_, row) => outcomes[row] === outcome)).sort();
}

/** How many of the ascending values are less than `value`, or not greater. */
function countBelow(sorted: Float64Array, value: number, inclusive = false): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = sorted[middle] ?? 0;
    if (at < value || (inclusive && at === value)) low = middle + 1;
    else high = middle;
  }
  return low;
}
