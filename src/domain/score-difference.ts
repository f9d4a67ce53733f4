import { assertCount, type ConfidenceInterval, type MetricResult } from './metric-result.ts';
import { z95 } from './proportion.ts';

/** Every answer is in one of three bands: at the good end of its scale, at the bad end, or between. Counts. */
export interface Bands {
  good: number;
  middle: number;
  bad: number;
}

/** What the interval adds to the counts before it is computed. */
const added: Bands = { good: 0.75, middle: 1.5, bad: 0.75 };

/**
 * % good − % bad, −100…100, with its interval; the numerator is good − bad, the denominator all answers. Null with reason
 * `no_answers`.
 * @throws RangeError unless the counts are whole numbers ≥ 0
 */
export function scoreDifference(
  bands: Bands,
): Pick<MetricResult, 'value' | 'numerator' | 'denominator' | 'interval' | 'reason'> {
  const n = answersIn(bands);
  const numerator = bands.good - bands.bad;
  return {
    value: n === 0 ? null : (100 * numerator) / n,
    numerator,
    denominator: n,
    interval: adjustedWaldInterval(bands),
    reason: n === 0 ? noAnswers : null,
  };
}

export const noAnswers = { code: 'no_answers', message: 'Nobody answered in the period.' };

/**
 * 95 % adjusted Wald interval of % good − % bad, within −100…100; null without answers. The variance is that of a
 * difference of two shares of one sample (they cannot vary independently): (p + d − (p − d)²) ÷ n, after adding ¾, 1½ and
 * ¾ answers to the good, middle and bad ones. Rocks 2016, 'Interval estimation for the "Net Promoter Score"', The
 * American Statistician 70: 365–372, and the `adjusted.wald` test of the same author's R package NPS; the same for paired
 * proportions, but with other additions: ½, 1, ½ (Agresti & Min 2005) and 1, 0, 1 (Bonett & Price 2012). Without an
 * addition it is the plain Wald interval, which has no width when all answers are alike.
 *
 * How often it holds the true score, computed exactly (test/domain/survey-scores.test.ts): .95 on average over all populations
 * (n = 5, 10, 30 and 100). From 10 answers on at least .92 where each band has 5 % or more of the population (grid of 5
 * %, n to 120). It is less where the population has hardly anybody at one end: with nobody there (grid of 1 %) it falls
 * to .861 at n = 10 (79 % at the other end), .897 at 20 (18 %), .903 at 30 (17 %) and .911 at 100 (4 %). Below 10
 * answers trust it little: .797 at n = 5 (83 %). The plain interval holds the score of 90 % promoters and 5 %
 * detractors in .65 of all samples of 10, and in .88 of those of 30.
 *
 * With a single answer the observed score would lie outside (100 above 98.5): the interval is widened to it.
 * @throws RangeError unless the counts are whole numbers ≥ 0
 */
export function adjustedWaldInterval(bands: Bands): ConfidenceInterval | null {
  const answers = answersIn(bands);
  if (answers === 0) return null;
  const n = answers + added.good + added.middle + added.bad;
  const good = (bands.good + added.good) / n;
  const bad = (bands.bad + added.bad) / n;
  const centre = good - bad;
  const margin = z95 * Math.sqrt((good + bad - centre * centre) / n);
  const observed = (100 * (bands.good - bands.bad)) / answers;
  return {
    low: Math.min(observed, Math.max(-100, 100 * (centre - margin))),
    high: Math.max(observed, Math.min(100, 100 * (centre + margin))),
    level: 0.95,
  };
}

function answersIn({ good, middle, bad }: Bands): number {
  assertCount(good, 'good');
  assertCount(middle, 'middle');
  assertCount(bad, 'bad');
  assertCount(good + middle + bad, 'the answers');
  return good + middle + bad;
}
