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

/** As `map`, in slices. What is done at once is done without waiting: one item costs what it would cost alone. */
export async function mapInSlices<T, R>(items: readonly T[], make: (item: T, index: number) => R): Promise<R[]> {
  const made: R[] = [];
  const pause = inSlices();
  for (const [index, item] of items.entries()) {
    const wait = pause();
    if (wait) await wait;
    made.push(make(item, index));
  }
  return made;
}

/** As `JSON.stringify` of a list, in slices. */
export async function jsonInSlices(items: readonly object[]): Promise<string> {
  return `[${(await mapInSlices(items, (item) => JSON.stringify(item))).join(',')}]`;
}
