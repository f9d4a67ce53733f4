import type { Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import type { AssignmentMethod, AssignmentPurpose } from './model.ts';

/** What is to be given to somebody: a lead, or a follow-up of a customer. Its customer is locked. */
export interface Subject {
  customerId: string;
  country: string | null;
  segment: string | null;
  source: string | null;
}

export interface Chosen {
  owner: string;
  ruleId: string;
  keyValue: string | null;
  method: AssignmentMethod;
}

/** Who gets each subject, in their order, by the active rules of the purpose; null where no rule has a group for it. */
export async function chooseOwners(
  _tx: Transaction,
  _context: Context,
  _purpose: AssignmentPurpose,
  subjects: Subject[],
): Promise<(Chosen | null)[]> {
  return subjects.map(() => null);
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

/** Writes the history of who was given what. */
export async function recordAssignments(
  _tx: Transaction,
  _context: Context,
  _entries: AssignmentEntry[],
): Promise<void> {}
