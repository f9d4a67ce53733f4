import type { Warning } from '../platform/batch.ts';
import type { Transaction } from '../platform/db/client.ts';
import { Problem, problemType } from '../platform/errors.ts';

export const personErasedProblem = problemType('person_erased', 409, 'The person was erased');

/**
 * Erased customers that this transaction has locked. Code that locks customers notes them; code that writes records asks: a
 * record of an erased person is kept without personal data.
 */
const noted = new WeakMap<Transaction['auditContext'], Set<string>>();

export function noteErased(tx: Transaction, id: string): void {
  // The audit context (`auditContext`) is one object for all views of a transaction.
  const known = noted.get(tx.auditContext);
  if (known) known.add(id);
  else noted.set(tx.auditContext, new Set([id]));
}

/** Whether a customer that is locked is one that was erased. */
export function isErased(tx: Transaction, id: string | null): boolean {
  return id !== null && (noted.get(tx.auditContext)?.has(id) ?? false);
}

export const personErased: Warning = {
  code: personErasedProblem,
  message: 'The person was erased: it is kept with the facts of the anonymous customer, without anything personal.',
};

/** @throws Problem person_erased: this is about a person who was erased */
export function refuseErased(tx: Transaction, id: string, pointer?: string): void {
  if (isErased(tx, id)) throw erasedRefusal(pointer);
}

export function erasedRefusal(pointer?: string): Problem {
  const message = 'The person was erased. To add them again as a new customer or lead, send a granted consent with it.';
  return new Problem(personErasedProblem, message, {
    errors: pointer === undefined ? [] : [{ pointer, code: 'person_erased', message }],
  });
}
