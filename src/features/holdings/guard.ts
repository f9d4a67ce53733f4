import { getTableName, type SQL, sql } from 'drizzle-orm';
import { getTableConfig, type PgColumn, type PgTable } from 'drizzle-orm/pg-core';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import { customers } from '../customers/record.ts';
import { columnsOf, type Holding, holdings } from './holdings.ts';

/** What keeps a customer from being deleted: rows of `table` whose `column` names it. */
interface Guard {
  /** One of them. */
  noun: string;
  table: PgTable;
  column: PgColumn;
}

function ownerOf(holding: Holding): PgColumn {
  const column = columnsOf(holding).get(holding.owner);
  if (!column) throw new Error(`${holding.name} has no ${holding.owner}`);
  return column;
}

/** Whether its rows only exist below records that are asked for themselves: lines of an order. */
function isPart(holding: Holding): boolean {
  const owner = ownerOf(holding).name;
  return getTableConfig(holding.table).foreignKeys.some((key) => {
    const { columns, foreignTable } = key.reference();
    const parent = holdings.find(({ table }) => table === foreignTable);
    return parent !== undefined && parent.guard !== null && columns.some(({ name }) => name === owner);
  });
}

const guards: readonly Guard[] = [
  ...holdings.flatMap((holding) =>
    holding.guard === null || isPart(holding)
      ? []
      : [{ noun: holding.guard, table: holding.table, column: ownerOf(holding) }],
  ),
  { noun: 'company member', table: customers, column: customers.companyId },
  { noun: 'referred customer', table: customers, column: customers.referredBy },
];

const found = statement<{ noun: string; count: number }>(
  'customer_guards',
  sql`select noun, count::int from (${sql.join(
    guards.map(
      ({ noun, table, column }, position) =>
        sql`select ${sql.raw(String(position))} as position, ${sql.raw(`'${noun}'`)} as noun, count(*) as count
          from ${table} where ${column} = ${param('id')}::uuid`,
    ),
    sql` union all `,
  )}) as found where count > 0 order by position`,
);

/**
 * Refuses to delete a locked customer while there is evidence or history of it.
 *
 * @throws Problem customer_has_records, with what stands in the way
 */
export async function assertNothingGuards(tx: Transaction, id: string): Promise<void> {
  const rows = await tx.all(found, { id });
  if (rows.length === 0) return;
  const errors = rows.map(({ noun, count }) => ({
    code: `${noun}s`.replaceAll(/[ -]/g, '_'),
    message: `${count} ${noun}${count === 1 ? '' : 's'}`,
  }));
  const list = errors.map(({ message }) => message).join(', ');
  throw new Problem('customer_has_records', `Delete or move the records of this customer first: ${list}.`, { errors });
}

/** Deletes the rows that are part of a customer or derived from its records, for a statement that deletes it. */
export function deletionOfParts(id: SQL): SQL[] {
  return holdings.flatMap((holding) =>
    // References stay as tombstones.
    holding.guard !== null || holding.name === 'customer' || holding.name === 'references' || isPart(holding)
      ? []
      : [
          sql`${sql.identifier(`parts_${getTableName(holding.table)}`)} as (
            delete from ${holding.table} where ${ownerOf(holding)} = ${id})`,
        ],
  );
}
