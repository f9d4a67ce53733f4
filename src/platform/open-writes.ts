/**
 * The writes of this process that are under way, with the time that each stamps on records (`updatedAt`). A list in the order of
 * `updatedAt` ends before the oldest of them: what that one will commit cannot be earlier than what was read.
 *
 * Processes do not know each other's writes. The change feed does (feed.ts).
 */
type Clock = () => string;

export interface OpenWrite {
  readonly now: string;
}

const open = new WeakMap<Clock, Set<OpenWrite>>();

/** The time of a write is read and noted in one step. */
export function beginWrite(clock: Clock): OpenWrite {
  const write = { now: clock() };
  const all = open.get(clock) ?? new Set();
  open.set(clock, all.add(write));
  return write;
}

export function endWrite(clock: Clock, write: OpenWrite | null): void {
  if (write) open.get(clock)?.delete(write);
}

/** No write that is not committed yet stamps an earlier time than this. */
export function settledUntil(clock: Clock): string {
  let oldest = clock();
  for (const { now } of open.get(clock) ?? []) if (Date.parse(now) < Date.parse(oldest)) oldest = now;
  return oldest;
}
