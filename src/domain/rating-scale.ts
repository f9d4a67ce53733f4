/** The scores a question takes: the whole numbers from `min` to `max`, both included. */
export interface RatingScale {
  min: number;
  max: number;
}

/** @throws RangeError unless `scale` is a range of whole numbers with more than one score */
export function assertScale({ min, max }: RatingScale): void {
  if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max) || min >= max)
    throw new RangeError(`not a scale: ${min}–${max}`);
}

/** @throws RangeError unless `score` is a whole number on the scale: every answer is checked before it is stored */
export function assertOnScale(score: number, { min, max }: RatingScale): void {
  if (!Number.isSafeInteger(score) || score < min || score > max)
    throw new RangeError(`not a score from ${min} to ${max}: ${score}`);
}
