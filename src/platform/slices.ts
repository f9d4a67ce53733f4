import { setImmediate } from 'node:timers/promises';

/** Milliseconds for which work that grows with a request keeps all other requests waiting, before it lets them go on. */
const slice = 8;

/**
 * For work of many steps: `await pause()` between two of them lets other requests go on when a slice is used up.
 * Nothing that must not be seen half done may stand around it.
 */
export function inSlices(): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < slice) return undefined;
    return setImmediate().then(() => {
      since = performance.now();
    });
  };
}
