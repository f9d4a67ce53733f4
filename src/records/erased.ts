import type { Warning } from '../platform/batch.ts';
import type { Transaction } from '../platform/db/client.ts';
import { Problem, problemType } from '../platform/errors.ts';

export const personErasedProblem = problemType('person_erased', 409, 'The person was erased');

/**
 * Erased customers that this transaction has the locks of. Whoever locks customers notes them; who writes facts asks: a
 * fact of an erased person is kept, and nothing personal with it.
 */
const noted = new WeakMap<Transaction['trail'], Set<string>>();

export function noteErased(tx: Transaction, id: string): void {
  // The trail is one object for all views of a transaction.
  const known = noted.get(tx.trail);
  if (known) known.add(id);
  else noted.set(tx.trail, new Set([id]));
}

/** Whether a customer that is locked is one that was erased. */
export function isErased(tx: Transaction, id: string | null): boolean {
  return id !== null && (noted.get(tx.trail)?.has(id) ?? false);
}

export const personErased: Warning = {
  code: personErasedProblem,
  message: 'The person was erased: it is kept with the facts of the anonymous customer, without anything personal.',
};

/** @throws Problem person_erased: this is about a person, and there is none any more */
export function refuseErased(tx: Transaction, id: string, pointer?: string): void {
  if (isErased(tx, id)) throw erasedRefusal(pointer);
}

export function erasedRefusal(pointer?: string): Problem {
  const message =
    'The person was erased, and comes back only with a consent that is granted, as a new customer or lead.';
  return new Problem(personErasedProblem, message, {
    errors: pointer === undefined ? [] : [{ pointer, code: personErasedProblem, message }],
  });
}
