import { type MetricResult, metricResult, share } from './metric-result.ts';
import { assertOnScale, type RatingScale } from './rating-scale.ts';
import { scoreDifference } from './score-difference.ts';

/** Eleven scores, always: on another scale the bands would not be those of published scores. */
const scale: RatingScale = { min: 0, max: 10 };

/** 9–10 promoter, 7–8 passive, 0–6 detractor. */
export type NpsBand = 'promoter' | 'passive' | 'detractor';

/** @throws RangeError unless `score` is a whole number from 0 to 10 */
export function npsBand(score: number): NpsBand {
  assertOnScale(score, scale);
  if (score >= 9) return 'promoter';
  return score >= 7 ? 'passive' : 'detractor';
}

/** Answers by band; what was dismissed is no answer. */
export interface NpsCounts {
  promoters: number;
  passives: number;
  detractors: number;
}

/**
 * Net Promoter Score: 100 (promoters − detractors) ÷ answers, −100…100, with the
 * adjusted Wald interval. `values`: `promoters, passives, detractors` and their shares of the answers (0–1; null without
 * any) `promoterShare, passiveShare, detractorShare`. Null with reason `no_answers`.
 * @throws RangeError when the counts are not counts
 */
export function netPromoterScore({ promoters, passives, detractors }: NpsCounts): MetricResult {
  const answers = promoters + passives + detractors;
  return metricResult({
    ...scoreDifference({ good: promoters, middle: passives, bad: detractors }),
    values: {
      promoters,
      passives,
      detractors,
      promoterShare: share(promoters, answers),
      passiveShare: share(passives, answers),
      detractorShare: share(detractors, answers),
    },
  });
}
