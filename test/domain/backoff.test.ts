import t from 'tap';
import { retryDelay } from '../../src/domain/backoff.ts';

t.test('pauses grow fourfold from five seconds to half a day, and are drawn from a quarter around that', (t) => {
  const table = [
    // failures, shortest, middle, longest
    [1, 3.75, 5, 6.25],
    [2, 15, 20, 25],
    [3, 60, 80, 100],
    [6, 3_840, 5_120, 6_400],
    [7, 15_360, 20_480, 25_600],
    [8, 32_400, 43_200, 54_000],
    [400, 32_400, 43_200, 54_000],
  ] as const;
  for (const [failures, ...expected] of table) {
    t.strictSame(
      [0, 0.5, 1].map((random) => retryDelay(failures, random)),
      expected,
      `after ${failures}`,
    );
  }
  t.end();
});
