import { type MetricResult, metricResult } from './metric-result.ts';
import { wilsonInterval } from './proportion.ts';
import { assertOnScale, type RatingScale } from './rating-scale.ts';
import { noAnswers } from './score-difference.ts';

/** Stored with the question. Scores from `topBoxFrom` to `max` are its top box: these answers are satisfied. */
export interface SatisfactionScale extends RatingScale {
  topBoxFrom: number;
}

/** 1–5, satisfied are 4 and 5. */
export const defaultSatisfactionScale: SatisfactionScale = { min: 1, max: 5, topBoxFrom: 4 };

/**
 * Is the answer in the top box of its scale?
 * @throws RangeError when the scale is none, its top box is not a part of it (all of it is not), or the score is not on it
 */
export function isSatisfied(scale: SatisfactionScale, score: number): boolean {
  assertOnScale(scale.topBoxFrom, { min: scale.min + 1, max: scale.max });
  assertOnScale(score, scale);
  return score >= scale.topBoxFrom;
}

/** Answers, and those of them in the top box of the scale they were given on. */
export interface SatisfactionCounts {
  satisfied: number;
  answers: number;
}

/**
 * Customer satisfaction: 100 × satisfied ÷ answers, 0–100, with a Wilson interval.
 * `values`: `satisfied, answers`. Null with reason `no_answers`.
 * @throws RangeError when the counts are not counts or `satisfied` is the larger
 */
export function customerSatisfaction({ satisfied, answers }: SatisfactionCounts): MetricResult {
  const share = wilsonInterval(satisfied, answers);
  return metricResult({
    value: answers === 0 ? null : (100 * satisfied) / answers,
    numerator: satisfied,
    denominator: answers,
    interval: share && { ...share, low: 100 * share.low, high: 100 * share.high },
    reason: answers === 0 ? noAnswers : null,
    values: { satisfied, answers },
  });
}
