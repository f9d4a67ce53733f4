/**
 * Numbers about groups, for those who may not know about single persons. Answers are about windows of whole calendar
 * months. Two windows differ by what lies between their edges, and sums over windows can be subtracted: so the edges
 * themselves are what has to be limited, the same for every question. An edge is open when between it and the open edge
 * before it lie facts of nobody or of at least `k` persons. Every window between open edges, and every difference of such
 * windows, is then made of whole stretches of nobody or of at least `k`.
 */

/** A calendar month in which there are facts. */
export interface MonthOfPersons {
  /** `YYYY-MM-01` */
  start: string;
  /** How many persons have facts in it. */
  persons: number;
  /** Who they are; only needed where they are fewer than the group has to be. */
  ids: readonly string[];
}

export interface OpenEdges {
  /** Whether a window may begin or end where this month (`YYYY-MM-01`) begins. */
  isOpen(start: string): boolean;
  /** The last open edge up to the beginning of this month. */
  latest(start: string): string;
  /** Whether there are facts of anybody from the first of these edges to the second; null: since ever. */
  hasFacts(from: string | null, to: string): boolean;
}

/**
 * @param months in their order; those without facts may be missing
 * @param k persons in a group, at least
 */
export function openEdges(months: readonly MonthOfPersons[], k: number): OpenEdges {
  /** By month: whether the edges after it, up to the next month with facts, are open. */
  const open: boolean[] = [];
  let pending = new Set<string>();
  for (const { persons, ids } of months) {
    for (const id of ids) pending.add(id);
    const enough = persons >= k || pending.size >= k;
    if (enough) pending = new Set();
    open.push(enough || persons === 0);
  }
  /** How many months with facts begin before this one. */
  const before = (start: string) => {
    const index = months.findIndex((month) => month.start >= start);
    return index < 0 ? months.length : index;
  };
  const openAfter = (count: number) => count === 0 || open[count - 1] === true;
  return {
    isOpen: (start) => openAfter(before(start)),
    latest(start) {
      let count = before(start);
      if (openAfter(count)) return start;
      while (!openAfter(count)) count -= 1;
      return months[count]?.start ?? start;
    },
    hasFacts: (from, to) => months.some(({ start }) => start < to && (from === null || start >= from)),
  };
}
