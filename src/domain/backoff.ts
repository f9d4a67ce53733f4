/**
 * How long to wait before a message is sent again, after it failed so many times: exponential, so that a receiver in trouble is left
 * alone, with jitter, so that what failed together does not come back together.
 */

const first = 5;
const factor = 4;
/** Half a day. */
const longest = 43_200;
/** The wait is drawn from ±25 % around what the number of failures says. */
const spread = 0.25;

/** How long a message is tried: three days, as in Standard Webhooks. */
export const retryDays = 3;

/**
 * @param failures at least 1
 * @param random from 0 to 1
 * @returns seconds
 */
export function retryDelay(failures: number, random: number): number {
  const delay = Math.min(first * factor ** (failures - 1), longest);
  return delay * (1 - spread + 2 * spread * random);
}
