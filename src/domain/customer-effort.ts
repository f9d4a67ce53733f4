import { type MetricResult, metricResult, share } from './metric-result.ts';
import { assertOnScale, type RatingScale } from './rating-scale.ts';
import { scoreDifference } from './score-difference.ts';

/** Which end of the scale says 'very easy'. */
export type EffortDirection = 'easy_low' | 'easy_high';

/**
 * Stored with the question. Both thresholds are scores of the scale, read from its easy end: an answer is easy up to and
 * with `easyTo`, and hard from `hardFrom` on. So with `easy_low` easy is score ≤ easyTo and hard score ≥ hardFrom
 * (easyTo < hardFrom); with `easy_high` easy is score ≥ easyTo and hard score ≤ hardFrom (hardFrom < easyTo).
 */
export interface EffortScale extends RatingScale {
  direction: EffortDirection;
  easyTo: number;
  hardFrom: number;
}

/** 1–5: the two scores at the easy end are easy, the two at the other hard. Other ranges state their thresholds. */
export const defaultEffortScales: Readonly<Record<EffortDirection, EffortScale>> = {
  easy_low: { min: 1, max: 5, direction: 'easy_low', easyTo: 2, hardFrom: 4 },
  easy_high: { min: 1, max: 5, direction: 'easy_high', easyTo: 4, hardFrom: 2 },
};

export type EffortBand = 'easy' | 'neutral' | 'hard';

/** @throws RangeError when the scale is none, its thresholds are not on it or overlap, or the score is not on it */
export function effortBand(scale: EffortScale, score: number): EffortBand {
  for (const on of [scale.easyTo, scale.hardFrom, score]) assertOnScale(on, scale);
  const fromEasyEnd = (at: number) => (scale.direction === 'easy_low' ? at : -at);
  if (fromEasyEnd(scale.easyTo) >= fromEasyEnd(scale.hardFrom))
    throw new RangeError(`easy to ${scale.easyTo} and hard from ${scale.hardFrom} overlap (${scale.direction})`);
  if (fromEasyEnd(score) <= fromEasyEnd(scale.easyTo)) return 'easy';
  return fromEasyEnd(score) >= fromEasyEnd(scale.hardFrom) ? 'hard' : 'neutral';
}

/** Answers by band, each as the scale of its question says. */
export interface EffortCounts {
  easy: number;
  neutral: number;
  hard: number;
}

/**
 * Customer effort score: 100 (easy − hard) ÷ answers, −100…100, more is easier,
 * with the adjusted Wald interval. `values`: `easy, neutral, hard` and their shares of the answers (0–1; null without any)
 * `easyShare, neutralShare, hardShare`. Null with reason `no_answers`.
 * @throws RangeError when the counts are not counts
 */
export function customerEffort({ easy, neutral, hard }: EffortCounts): MetricResult {
  const answers = easy + neutral + hard;
  return metricResult({
    ...scoreDifference({ good: easy, middle: neutral, bad: hard }),
    values: {
      easy,
      neutral,
      hard,
      easyShare: share(easy, answers),
      neutralShare: share(neutral, answers),
      hardShare: share(hard, answers),
    },
  });
}
