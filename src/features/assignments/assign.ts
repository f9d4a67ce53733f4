import { createHash } from 'node:crypto';
import { type Group, groupFor, leastLoaded, memberInTurn } from '../../domain/assignment.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import {
  type ActiveRule,
  activeRules,
  insertAssignments,
  openLoad,
  type SubjectRow,
  type TurnRow,
  takeTurns,
} from './queries.ts';
import type { AssignmentMethod, AssignmentPurpose } from './record.ts';

/** What is to be given to somebody: a lead, or a follow-up of a customer. Its customer is locked. */
export type Subject = SubjectRow;

export interface Chosen {
  owner: string;
  ruleId: string;
  /** The value of the group that decided; null: the group for every other. */
  keyValue: string | null;
  method: AssignmentMethod;
}

/**
 * Who gets each subject, in their order, by the active rules of the purpose; null where no rule has a group for it.
 *
 * Choose for what is going to be written only, and after the customers' locks: a turn that was taken is used up unless
 * the transaction is undone. Turns are counted per rule and group, so that what one group takes is fair as a whole: the
 * group for every other has one count, not one per value. The counts stay locked until the transaction ends; members
 * with the least to do are looked for under the lock of their rule, behind everything that it gave before.
 */
export async function chooseOwners(
  tx: Transaction,
  purpose: AssignmentPurpose,
  subjects: Subject[],
): Promise<(Chosen | null)[]> {
  if (subjects.length === 0) return [];
  // Turns and loads are everybody's, whoever may see the leads that they come from.
  return tx.asService((service) => chooseAmongAll(service, purpose, subjects));
}

async function chooseAmongAll(
  tx: Transaction,
  purpose: AssignmentPurpose,
  subjects: Subject[],
): Promise<(Chosen | null)[]> {
  const rules = await activeRules(tx, purpose, {
    country: valuesOf(subjects, 'country'),
    segment: valuesOf(subjects, 'segment'),
    source: valuesOf(subjects, 'source'),
  });
  const counts = new Map<Group, Count>();
  const decided = subjects.map((subject) => {
    const found = groupFor(rules, subject);
    if (found === null) return null;
    const count = counts.get(found.group) ?? countOf(found.rule, found.group);
    counts.set(found.group, count);
    return { ...found, count };
  });
  const wanted = new Map<string, TurnRow>();
  for (const one of decided) {
    if (one === null) continue;
    const known = wanted.get(keyOf(one.count));
    if (known) known.turn += 1;
    else wanted.set(keyOf(one.count), { ...one.count, turn: 1 });
  }
  if (wanted.size === 0) return subjects.map(() => null);

  // Where each count stood before these turns.
  const next = new Map<string, number>();
  for (const row of await takeTurns(tx, [...wanted.values()])) {
    next.set(keyOf(row), row.turn - (wanted.get(keyOf(row))?.turn ?? 0));
  }
  const counted = decided.flatMap((one) => (one?.rule.method === 'least_loaded' ? one.group.members : []));
  // In a statement after the one that locks: it sees what whoever had the lock before has given.
  const load = counted.length === 0 ? new Map<string, number>() : await openLoad(tx, [...new Set(counted)]);

  return decided.map((one) => {
    if (one === null) return null;
    const { rule, group, count } = one;
    const turn = next.get(keyOf(count)) ?? 0;
    next.set(keyOf(count), turn + 1);
    const owner = rule.method === 'round_robin' ? memberInTurn(group.members, turn) : leastLoaded(group.members, load);
    load.set(owner, (load.get(owner) ?? 0) + 1);
    return { owner, ruleId: rule.id, keyValue: group.value, method: rule.method };
  });
}

function valuesOf(subjects: Subject[], key: 'country' | 'segment' | 'source'): string[] {
  return [...new Set(subjects.flatMap((subject) => subject[key] ?? []))];
}

type Count = Pick<TurnRow, 'ruleId' | 'value' | 'members'>;

/** The count that a group's turns are of. */
function countOf(rule: ActiveRule, group: Group): Count {
  // Members of one group may be in another as well, so the whole rule counts one after the other.
  if (rule.method === 'least_loaded') return { ruleId: rule.id, value: '', members: '' };
  return { ruleId: rule.id, value: group.value ?? '', members: digest(group.members) };
}

function keyOf({ ruleId, value, members }: Count): string {
  return `${ruleId}${members} ${value}`;
}

function digest(members: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url');
}

export interface AssignmentEntry {
  customerId: string;
  purpose: AssignmentPurpose;
  followUpId: string | null;
  owner: string | null;
  previousOwner: string | null;
  /** null: by hand. */
  chosen: Chosen | null;
}

/**
 * Writes the history of who was given what. By hand, an entry whose owner stays is none; a rule's choice has used up a
 * turn and is told even then. The customers are stored by now.
 */
export async function recordAssignments(tx: Transaction, context: Context, entries: AssignmentEntry[]): Promise<void> {
  const changes = entries.filter(({ owner, previousOwner, chosen }) => chosen !== null || owner !== previousOwner);
  if (changes.length === 0) return;
  insertAssignments(
    tx,
    changes.map(({ chosen, ...entry }) => ({
      ...entry,
      id: newId(),
      ruleId: chosen?.ruleId ?? null,
      keyValue: chosen?.keyValue ?? null,
      method: chosen?.method ?? null,
      by: context.principal.client,
      at: context.now,
    })),
  );
}
