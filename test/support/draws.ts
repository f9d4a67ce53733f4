import type { Test } from 'tap';

/** How hard property tests and soak tests look. A setting of the person at the keyboard goes before everything. */

/** `npm run test:deep` sets it for its test files. */
export const DEEP_VARIABLE = 'RAPPORT_TEST_DEEP';

const isDeep = process.env[DEEP_VARIABLE] !== undefined;

const given = (name: string): number | undefined =>
  process.env[name] === undefined ? undefined : Number(process.env[name]);

/** How many examples are drawn: few in `npm test`, many in `npm run test:deep`. `RAPPORT_TEST_DRAWS=1000` for more. */
export function draws({ quick, deep }: { quick: number; deep: number }): number {
  return given('RAPPORT_TEST_DRAWS') ?? (isDeep ? deep : quick);
}

/** Of cases that are listed, not drawn: all in `npm run test:deep`, every nth in `npm test`. */
export function everyNth<T>(n: number, cases: readonly T[]): T[] {
  return isDeep ? [...cases] : cases.filter((_, index) => index % n === 0);
}

/** What examples are drawn from. `RAPPORT_TEST_SEED=2` for others. */
export function firstSeed(fallback: number): number {
  return given('RAPPORT_TEST_SEED') ?? fallback;
}

/** How long a soak test goes on. `RAPPORT_TEST_SECONDS=60` for longer. */
export function soakSeconds(fallback: number): number {
  return given('RAPPORT_TEST_SECONDS') ?? fallback;
}

/** Searching for the smallest example that fails takes minutes: only with `RAPPORT_TEST_SHRINK=1`. */
export const endOnFailure = process.env['RAPPORT_TEST_SHRINK'] === undefined;

/** Where a draw opens its services: they are closed with the draw, so that a hundred draws do not hold a hundred open. */
export async function inItsOwnPlace<T>(
  t: Test,
  run: (place: Pick<Test, 'teardown' | 'testdir'>) => Promise<T>,
): Promise<T> {
  const teardowns: (() => unknown)[] = [];
  try {
    return await run({ teardown: (close) => teardowns.unshift(close), testdir: t.testdir.bind(t) });
  } finally {
    for (const close of teardowns) await close();
  }
}
