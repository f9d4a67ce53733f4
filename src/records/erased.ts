import type { PgTable } from 'drizzle-orm/pg-core';
import { holdingOf } from '../features/holdings/holdings.ts';
import type { Warning } from '../platform/batch.ts';
import type { Transaction } from '../platform/db/client.ts';
import { Problem } from '../platform/errors.ts';

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
  code: 'person_erased',
  message: 'The person was erased: it is kept with the facts of the anonymous customer, without anything personal.',
};

/** @throws Problem person_erased: this is about a person, and there is none any more */
export function refuseErased(tx: Transaction, id: string, pointer?: string): void {
  if (isErased(tx, id)) throw erasedRefusal(pointer);
}

export function erasedRefusal(pointer?: string): Problem {
  const message =
    'The person was erased, and comes back only with a consent that is granted, as a new customer or lead.';
  return new Problem('person_erased', message, {
    errors: pointer === undefined ? [] : [{ pointer, code: 'person_erased', message }],
  });
}

/** The row as it may be stored: of an erased customer without what tells something of the person. */
export function withoutPersonal<Row extends { customerId: string | null }>(
  tx: Transaction,
  table: PgTable,
  row: Row,
): Row {
  if (!isErased(tx, row.customerId)) return row;
  const cleared: Record<string, unknown> = { ...row };
  for (const [member, erasure] of Object.entries(holdingOf(table).personal)) {
    if (erasure === 'null' && member in cleared) cleared[member] = null;
  }
  return cleared as Row; // the same members; those that erasure clears may be null
}
