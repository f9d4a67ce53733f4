/** The scores a question takes: the whole numbers from `min` to `max`, both included. */
export interface RatingScale {
  min: number;
  max: number;
}

/**
 * Every answer is checked before it is stored, so one that is not on its scale is a fault.
 * @throws RangeError unless `score` is a whole number from `min` to `max`, whole numbers too
 */
export function assertOnScale(score: number, { min, max }: RatingScale): void {
  if (![min, max, score].every(Number.isSafeInteger) || score < min || score > max)
    throw new RangeError(`not a score from ${min} to ${max}: ${score}`);
}
