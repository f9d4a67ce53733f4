import type { PgTable } from 'drizzle-orm/pg-core';
import type { Transaction } from '../platform/db/client.ts';
import { isErased } from './erased.ts';
import { definitionOf } from './table.ts';

/** The row as it may be stored: of an erased customer without what tells something of the person. */
export function withoutPersonal<R extends { customerId: string | null }>(tx: Transaction, table: PgTable, row: R): R {
  if (!isErased(tx, row.customerId)) return row;
  const cleared: Record<string, unknown> = { ...row };
  for (const [member, { spec }] of Object.entries(definitionOf(table).fields)) {
    if (spec.personal === 'clear' && member in cleared) cleared[member] = null;
  }
  return cleared as R; // the same members; those that erasure clears may be null
}
