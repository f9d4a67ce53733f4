import { type SQL, sql } from 'drizzle-orm';

/*
 * Whose is a record of which nobody knows whose it is? It has an owner row of its own, so keys, locks, moves and sums are
 * those of any record, and no row is locked that others share. The row shows nowhere: its id tells that it is nobody, without a
 * look at the row. Ids of real owners begin with the time at which they were made, and that is far from these.
 */

const prefix = 'ffffffff';
/** No owner's id is as high as this. */
export const firstNobody = `${prefix}-0000-0000-0000-000000000000`;

/** The owner of the record with this id while nobody is known. */
export function nobodyOf(recordId: string): string {
  return `${prefix}${recordId.slice(prefix.length)}`;
}

export function isNobody(ownerId: string): boolean {
  return ownerId.startsWith(prefix);
}

/** The owner of a record that was answered, where null stands for nobody. */
export function ownerOf({ id, customerId }: { id: string; customerId: string | null }): string {
  return customerId ?? nobodyOf(id);
}

/** The condition that an owner is known. */
export function isSomebody(ownerId: SQL): SQL {
  return sql`${ownerId} < '${sql.raw(firstNobody)}'::uuid`;
}
