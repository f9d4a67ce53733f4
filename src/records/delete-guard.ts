import { getTableName, type SQL, sql } from 'drizzle-orm';
import { param, statement, type Transaction } from '../platform/db/client.ts';
import { Problem, problemType } from '../platform/errors.ts';
import { lazily } from './lazily.ts';
import { columnNamed, type StoredTable, storedTables } from './table.ts';

export const customerHasRecords = problemType('customer_has_records', 409, 'The customer has records');

/*
 * What keeps a customer from being deleted, from the `guard` of every definition. No evidence or history is lost
 * by a deletion.
 */

function owned(): StoredTable[] {
  return storedTables().filter(({ owner }) => owner !== null);
}

interface Guard {
  /** One of them. */
  noun: string;
  from: SQL;
  names: SQL;
}

function guards(): Guard[] {
  const found = owned().flatMap(({ table, owner, guard, fields }): Guard[] => {
    const from = sql`${table}`;
    // Customers that refer to the customer: members of a company.
    const named = Object.entries(fields).flatMap(([member, { spec }]) =>
      spec.guard === null ? [] : [{ noun: spec.guard, from, names: sql`${columnNamed(table, member)}` }],
    );
    if (guard === null) return named;
    return [{ noun: guard, from, names: sql`${columnNamed(table, owner ?? '')}` }, ...named];
  });
  // Not in the order in which definitions are loaded.
  return found.sort((a, b) => (a.noun < b.noun ? -1 : 1));
}

const countGuards = lazily(() =>
  statement<{ noun: string; count: number }>(
    'customer_guards',
    sql`select noun, count::int from (${sql.join(
      guards().map(
        ({ noun, from, names }, position) =>
          sql`select ${sql.raw(String(position))} as position, ${sql.raw(`'${noun}'`)} as noun, count(*) as count
            from ${from} where ${names} = ${param('id')}::uuid`,
      ),
      sql` union all `,
    )}) as found where count > 0 order by position`,
  ),
);

/**
 * Refuses to delete a locked customer while there is evidence or history of it.
 *
 * @param namedBy the parameter by which the request named it
 * @throws Problem customer_has_records, with what stands in the way
 */
export async function assertNothingGuards(tx: Transaction, id: string, namedBy: 'id' | 'externalId'): Promise<void> {
  const rows = await tx.all(countGuards(), { id });
  if (rows.length === 0) return;
  const errors = rows.map(({ noun, count }) => ({
    parameter: namedBy,
    code: `${noun}s`.replaceAll(/[ -]/g, '_'),
    message: `${count} ${noun}${count === 1 ? '' : 's'}`,
  }));
  const list = errors.map(({ message }) => message).join(', ');
  throw new Problem(customerHasRecords, `Delete or move the records of this customer first: ${list}.`, { errors });
}

/** Deletes the rows that are part of a customer or derived from its records, for a statement that deletes it. */
export function deletionOfParts(id: SQL, except: readonly string[] = []): SQL[] {
  return owned().flatMap(({ table, name, owner, key, guard, partOf }) => {
    const isItself = key.length === 1 && key[0] === owner && guard === null && owner === 'id';
    if (guard !== null || partOf !== null || isItself || except.includes(name)) return [];
    return [
      sql`${sql.identifier(`parts_${getTableName(table)}`)} as (
        delete from ${table} where ${columnNamed(table, owner ?? '')} = ${id})`,
    ];
  });
}
