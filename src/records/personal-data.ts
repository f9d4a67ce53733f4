import { getTableName, type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { param, type Transaction } from '../platform/db/client.ts';
import { isErased } from './erased.ts';
import { raisedStamps } from './stamps.ts';
import { columnNamed, definitionOf, type StoredTable, storedTables } from './table.ts';

/** The row as it may be stored: without personal data if the customer was erased. */
export function withoutPersonal<R extends { customerId: string | null }>(tx: Transaction, table: PgTable, row: R): R {
  if (!isErased(tx, row.customerId)) return row;
  const cleared: Record<string, unknown> = { ...row };
  for (const [member, { spec }] of Object.entries(definitionOf(table).fields)) {
    if (spec.personal === 'clear' && member in cleared) cleared[member] = null;
  }
  return cleared as R; // the same members; those that erasure clears may be null
}

/*
 * The personal-data inventory, from every definition: what is stored about a person, and what erasing leaves of it.
 */

/** Tables with something of a customer, in the order of their definition. */
export function ownedTables(): StoredTable[] {
  return storedTables().filter(({ owner }) => owner !== null);
}

/** What erasing persons does to the rows of a table; null: nothing in it is personal. Parameters: ids, now. */
export function erasure({ table, fields, owner }: StoredTable): SQL | null {
  const personal = Object.entries(fields).filter(([, { spec }]) => spec.personal !== null);
  if (personal.length === 0) return null;
  const mine = sql`${columnNamed(table, owner ?? '')} = any(${param('ids')}::uuid[])`;
  if (personal.some(([, { spec }]) => spec.personal === 'row')) return sql`delete from ${table} where ${mine}`;
  const column = (member: string) => sql.identifier(columnNamed(table, member).name);
  const sets = personal.map(([member, { spec }]) => sql`${column(member)} = ${spec.left ?? sql`null`}`);
  sets.push(...raisedStamps(table, getTableName(table)));
  // The row of the person itself is marked, whatever was in it.
  if ('erasedAt' in fields) {
    return sql`update ${table} set ${sql.join([...sets, sql`erased_at = ${param('now')}::timestamptz`], sql`, `)} where ${mine}`;
  }
  const told = personal.map(([member]) => sql`${columnNamed(table, member)} is not null`);
  return sql`update ${table} set ${sql.join(sets, sql`, `)} where ${mine} and (${sql.join(told, sql` or `)})`;
}

/** Members that may refer to other customers. */
export function namingMembers({ fields }: StoredTable): string[] {
  return Object.entries(fields).flatMap(([member, { spec }]) => (spec.names === 'customer' ? [member] : []));
}

/** Members that are money, and whether in the record's currency or in that of the organisation. */
export function amountsOf({ fields }: StoredTable): Record<string, 'currency' | 'base'> {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([member, { spec }]) => (spec.amount ? [[member, spec.amount]] : [])),
  );
}

/** The currency of a row that has none of its own: that of the record it is part of. null: it has its own, or no amounts. */
export function inheritedCurrency(stored: StoredTable): SQL | null {
  if (stored.partOf === null || 'currency' in stored.fields || !Object.values(amountsOf(stored)).includes('currency')) {
    return null;
  }
  return currencyOfParent(stored, sql`${stored.table}`, 0);
}

function currencyOfParent({ table, partOf }: StoredTable, row: SQL, depth: number): SQL {
  if (!partOf) throw new TypeError('Amounts have no currency');
  const parent = definitionOf(partOf.table);
  const alias = sql.identifier(`parent_${depth}`);
  const currency =
    'currency' in parent.fields ? sql`${alias}.currency` : currencyOfParent(parent, sql`${alias}`, depth + 1);
  const by = sql.identifier(columnNamed(table, partOf.by).name);
  return sql`(select ${currency} from ${parent.table} ${alias} where ${alias}.customer_id = ${row}.customer_id and ${alias}.id = ${row}.${by})`;
}

/**
 * Whether there was no contact with customer `c` since `before`, in either direction, and nothing is still to be done. By the
 * instants and conditions that the definitions call signs of life.
 */
export function silentSince(before: SQL): SQL {
  const since = (column: string) => sql`f.${sql.identifier(column)} >= ${before}`;
  const signs = ownedTables().flatMap(({ table, fields, owner, isLifeSign }) => {
    const instants = Object.entries(fields).flatMap(([member, { spec }]) =>
      spec.lifeSign ? [since(columnNamed(table, member).name)] : [],
    );
    const sign = isLifeSign ? isLifeSign(since) : instants.length > 0 ? sql.join(instants, sql` or `) : null;
    if (sign === null) return [];
    const column = sql.identifier(columnNamed(table, owner ?? '').name);
    return [sql`not exists (select from ${table} f where f.${column} = c.id and (${sign}))`];
  });
  return sql.join([sql`c.created_at < ${before}`, ...signs], sql` and `);
}
