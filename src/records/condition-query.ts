import { type SQL, sql } from 'drizzle-orm';
import { isBefore } from '../domain/period.ts';
import type { Db } from '../platform/db/client.ts';
import { type FieldError, Problem } from '../platform/errors.ts';
import { type Context, personalScope } from '../platform/operation.ts';
import type { Moment } from './condition-fields.ts';
import { compile, groupsAsked, hasPast, momentOf, type Prepared, prepare } from './condition-sql.ts';
import { type Condition, type Read, readCondition } from './conditions.ts';

/** A stored group of owners that trees may name. */
export interface Group {
  /** Its tree; null: who is in it is listed. */
  tree: unknown;
  /** Since when its members are kept; null: they are not yet. */
  keptFrom: string | null;
  /** Whether an owner was a member at an instant, by what is kept; null: is one. */
  members: (owner: SQL, at: string | null) => SQL;
}

type LoadGroups = (db: Db, ids: readonly string[]) => Promise<ReadonlyMap<string, Group>>;
let loadGroups: LoadGroups = async () => new Map();

/** Says where the groups are that trees name. */
export function conditionGroups(load: LoadGroups): void {
  loadGroups = load;
}

/** Groups that name groups that name groups …, and all of a tree together. */
const mostLevels = 4;
const mostGroups = 20;

/** A tree with all that it names, ready to be asked. */
export interface Question {
  read: Read;
  groups: ReadonlyMap<string, NamedGroup>;
}

interface NamedGroup {
  group: Group;
  read: Read | null;
  /** Where the tree names it, or the group over which it does. */
  pointer: string;
}

/**
 * Reads a tree and the groups that it names.
 *
 * @param base where it stands: the pointer of the member that holds it
 * @param self the group whose tree it is to be
 * @throws Problem invalid_input
 */
export async function readQuestion(db: Db, tree: unknown, base: string, self?: string): Promise<Question> {
  const read = readCondition(tree, base);
  const groups = new Map<string, NamedGroup>();
  let wanted = read.groups;
  for (let level = 1; wanted.size > 0; level += 1) {
    const [[, pointer] = ['', base]] = wanted;
    if (level > mostLevels || groups.size + wanted.size > mostGroups) {
      throw refused(pointer, 'too_deep', `A segment may name others ${mostLevels} deep, ${mostGroups} in all.`);
    }
    const found = await loadGroups(db, [...wanted.keys()]);
    const next = new Map<string, string>();
    for (const [id, at] of wanted) {
      const group = found.get(id);
      if (!group) throw refused(at, 'unknown_segment', 'There is no such segment.');
      const inner = group.tree === null ? null : readCondition(group.tree, '');
      groups.set(id, { group, read: inner, pointer: at });
      for (const name of inner?.groups.keys() ?? []) if (!groups.has(name)) next.set(name, at);
    }
    wanted = next;
  }
  const above = new Set(self === undefined ? [] : [self]);
  for (const [id, pointer] of read.groups) {
    if (leadsBack(id, groups, above))
      throw refused(pointer, 'segment_cycle', 'The segment would name itself, over others.');
  }
  return { read, groups };
}

function leadsBack(id: string, groups: Question['groups'], above: ReadonlySet<string>): boolean {
  if (above.has(id)) return true;
  const inside = new Set([...above, id]);
  return [...(groups.get(id)?.read?.groups.keys() ?? [])].some((next) => leadsBack(next, groups, inside));
}

function refused(pointer: string, code: string, message: string): Problem {
  return new Problem('invalid_input', `${pointer}: ${message}`, { errors: [{ pointer, code, message }] });
}

/** The names of personal fields that a question reads, its groups among them, with where. */
export function personalIn({ read, groups }: Question): ReadonlyMap<string, string> {
  const inside = [...groups.values()].flatMap((group) =>
    [...(group.read?.personal.keys() ?? [])].map((name) => [name, group.pointer] as const),
  );
  return new Map([...inside, ...read.personal]);
}

/** The scopes that a question needs, its groups among them. */
export function scopesOf({ read, groups }: Question): Set<string> {
  return new Set(
    [read, ...[...groups.values()].flatMap((group) => group.read ?? [])].flatMap((one) => [...one.scopes.keys()]),
  );
}

/**
 * The one guard of trees: what it reads, the caller has to be allowed to read, also through a group.
 *
 * @throws Problem insufficient_scope, not_supported
 */
export function requireReadable({ principal, personalData }: Context, question: Question): void {
  if (principal.scopedTo !== null) {
    throw new Problem('not_supported', 'Conditions are not available to tokens of a partner or of one customer.');
  }
  const { read, groups } = question;
  const personal = personalIn(question);
  if (!personalData && personal.size > 0) {
    throw needs(
      personalScope,
      [...personal].map(([name, pointer]) => ({ pointer, name })),
    );
  }
  const needed = new Map(read.scopes);
  for (const group of groups.values()) {
    for (const scope of group.read?.scopes.keys() ?? []) {
      if (!needed.has(scope)) needed.set(scope, group.pointer);
    }
  }
  for (const [scope, pointer] of needed) {
    if (!principal.has(scope)) throw needs(scope, [{ pointer, name: 'This field' }]);
  }
}

function needs(scope: string, faults: readonly { pointer: string; name: string }[]): Problem {
  const errors: FieldError[] = faults.map(({ pointer, name }) => ({
    pointer,
    code: 'insufficient_scope',
    message: `${name} needs the scope ${scope}.`,
  }));
  return new Problem(
    'insufficient_scope',
    `These conditions need the scope ${scope}, which your token does not have.`,
    {
      extra: { scope },
      errors,
      headers: { 'WWW-Authenticate': `Bearer realm="rapport", error="insufficient_scope", scope="${scope}"` },
    },
  );
}

/** Whether it is asked of the past by what is there only as it is now: a profile has no past. */
export function isAsOfNow({ read, groups }: Question, asOf: string, now: string): boolean {
  if (!isBefore(asOf, now)) return false;
  const known = [...groups.values()].every(
    ({ group: { keptFrom }, read: inner }) =>
      inner === null || hasPast(inner.condition) || (keptFrom !== null && !isBefore(asOf, keptFrom)),
  );
  return !known || !hasPast(read.condition);
}

/** Whether a group of it whose members are listed had none yet, because it was made later. */
export function namesLaterLists({ groups }: Question, asOf: string): boolean {
  return [...groups.values()].some(
    ({ group: { keptFrom }, read }) => read === null && keptFrom !== null && isBefore(asOf, keptFrom),
  );
}

/**
 * The condition of a question in SQL, on a row of the owners.
 *
 * @param asOf the instant that it is asked of; what happened since is not known then
 */
export async function conditionOf(
  db: Db,
  { read, groups }: Question,
  { row, asOf, now, reportingTimeZone }: { row: SQL; asOf: string; now: string; reportingTimeZone: string },
): Promise<SQL> {
  const present = { now, reportingTimeZone };
  const moments = new Map<string, { moment: Moment; prepared: Prepared }>();
  const visited = new Set<string>();
  // Groups may be asked as of another instant, at which they may ask others as of yet another.
  const visit = async (condition: Condition, instant: string): Promise<void> => {
    const moment = momentOf(instant, present);
    const before = moments.get(instant)?.prepared ?? [];
    moments.set(instant, { moment, prepared: new Map([...before, ...(await prepare(db, condition, moment))]) });
    if (moments.size > mostInstants) {
      throw refused('', 'too_costly', `Ask as of ${mostInstants} instants at most.`);
    }
    for (const { group, at } of groupsAsked(condition, moment)) {
      const inner = groups.get(group)?.read;
      if (!inner || visited.has(`${group} ${at}`)) continue;
      visited.add(`${group} ${at}`);
      await visit(inner.condition, at);
    }
  };
  await visit(read.condition, asOf);
  const asked = (condition: Condition, at: string): SQL => {
    const known = moments.get(at);
    if (!known) throw new RangeError(`Nothing is prepared as of ${at}`);
    return compile(condition, { row, ...known, groups: inGroup });
  };
  function inGroup(id: string, owner: SQL, at: string): SQL {
    const named = groups.get(id);
    if (!named) return sql`false`;
    const { group, read: inner } = named;
    const past = isBefore(at, now) ? at : null;
    if (!inner) return group.members(owner, past);
    const isKept = past !== null && group.keptFrom !== null && !isBefore(past, group.keptFrom);
    return isKept && !hasPast(inner.condition) ? group.members(owner, past) : asked(inner.condition, at);
  }
  return asked(read.condition, asOf);
}

const mostInstants = 10;
