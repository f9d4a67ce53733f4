/** Who of the staff gets something, given whose turn it is or how much everybody has to do. */

export interface Group {
  /** Value of the rule's key; null: every other. */
  value: string | null;
  /** In their order, each once, at least one. */
  members: readonly string[];
}

interface Grouped<Key extends string> {
  /** What of a subject chooses the group; null: one group for all. */
  key: Key | null;
  groups: readonly Group[];
}

/**
 * The first rule that has a group for the subject, with that group: the one of its key's value, or else the one for
 * every other. Null where no rule has one.
 */
export function groupFor<Key extends string, Rule extends Grouped<Key>>(
  rules: readonly Rule[],
  subject: Readonly<Record<Key, string | null>>,
): { rule: Rule; group: Group } | null {
  for (const rule of rules) {
    const value = rule.key === null ? null : subject[rule.key];
    const group =
      rule.groups.find((one) => one.value === value) ?? rule.groups.find((one) => one.value === null) ?? null;
    if (group) return { rule, group };
  }
  return null;
}

/** The member whose turn it is; turns count from 0. After any number of turns no member had two more than another. */
export function memberInTurn(members: readonly string[], turn: number): string {
  return members[turn % members.length] ?? nobody();
}

/** The member with the least to do, the first of several; who has nothing to do may be missing from `load`. */
export function leastLoaded(members: readonly string[], load: ReadonlyMap<string, number>): string {
  let least = members[0] ?? nobody();
  for (const member of members) if ((load.get(member) ?? 0) < (load.get(least) ?? 0)) least = member;
  return least;
}

function nobody(): never {
  throw new RangeError('A group has at least one member');
}
