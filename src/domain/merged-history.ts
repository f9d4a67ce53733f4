import { isBefore } from './period.ts';

interface Step {
  at: string;
}

/**
 * Two histories of one person as one. That of `main` decides how things stand: its steps keep their times, and its last
 * ones, from `tail` on, stay the last. The steps of `side` are put between them in the order of their times; one that is
 * later than the tail begins is dated back to its beginning, so that no instant is before the one before it.
 *
 * @param tail index in `main` of the first step behind which nothing may come
 * @param joined whether a step belongs right behind the one before it of its own history
 */
export function mergeHistories<S extends Step>(
  main: readonly S[],
  side: readonly S[],
  tail: number,
  joined: (step: S) => boolean,
): S[] {
  const merged: S[] = [];
  const waiting = units(side, joined);
  const put = (step: S) => {
    const last = merged.at(-1);
    merged.push(last && isBefore(step.at, last.at) ? { ...step, at: last.at } : step);
  };
  let index = 0;
  for (const unit of units(main, joined)) {
    const begins = unit[0]?.at ?? '';
    const isTail = index + unit.length > tail;
    while (waiting[0] && (isTail || isBefore(waiting[0].at(-1)?.at ?? '', begins))) {
      for (const step of waiting.shift() ?? []) put(isBefore(begins, step.at) ? { ...step, at: begins } : step);
    }
    for (const step of unit) put(step);
    index += unit.length;
  }
  for (const unit of waiting) for (const step of unit) put(step);
  return merged;
}

/** Steps with those that belong right behind them. */
function units<S extends Step>(steps: readonly S[], joined: (step: S) => boolean): S[][] {
  const found: S[][] = [];
  for (const step of steps) {
    const last = found.at(-1);
    if (last && joined(step)) last.push(step);
    else found.push([step]);
  }
  return found;
}
