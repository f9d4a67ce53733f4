import { getTableColumns, type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { isBefore } from '../domain/period.ts';
import { param } from '../platform/db/client.ts';

/*
 * What every change does to a record: its version rises, and `updatedAt` does not go back. The time of a call is read
 * before it waits for locks, and the clocks of processes differ, so a later change may have an earlier time.
 */

export interface Stamps {
  version: number;
  updatedAt: string;
}

/** Stamps of the next version of a row that was read under its lock. null: there is no row yet. */
export function nextStamps(before: Stamps | null, now: string): Stamps {
  if (before === null) return { version: 1, updatedAt: now };
  return {
    version: before.version + 1,
    updatedAt: isBefore(now, before.updatedAt) ? before.updatedAt : now,
  };
}

/** Stamps of a record that several have become: above those of all, as the addresses of all lead to it. */
export function jointStamps(rows: readonly [Stamps, ...Stamps[]], now: string): Stamps {
  return nextStamps(
    rows.reduce((a, b) => ({
      version: Math.max(a.version, b.version),
      updatedAt: isBefore(a.updatedAt, b.updatedAt) ? b.updatedAt : a.updatedAt,
    })),
    now,
  );
}

const atNow = sql`${param('now')}::timestamptz`;

interface Raising {
  now?: SQL;
  /** The version rises above this one as well. */
  above?: SQL;
}

const raised: Readonly<Record<string, (row: SQL, raising: Raising) => SQL>> = {
  version: (row, { above }) => (above ? sql`greatest(${row}.version, ${above}) + 1` : sql`${row}.version + 1`),
  updated_at: (row, { now = atNow }) => sql`greatest(${row}.updated_at, ${now})`,
};

/** What a column of a stamp becomes when `row` (a table or its alias) changes; null: the column is no stamp. */
export function raisedColumn(column: string, row: string, raising: Raising = {}): SQL | null {
  return raised[column]?.(sql`${sql.identifier(row)}`, raising) ?? null;
}

/** For the SET of an UPDATE: the stamps that a table has. */
export function raisedStamps(table: PgTable, row: string): SQL[] {
  return Object.values(getTableColumns(table)).flatMap(({ name }) => {
    const value = raisedColumn(name, row);
    return value ? [sql`${sql.identifier(name)} = ${value}`] : [];
  });
}

/** The same of a table that has both; `row`: the table or its alias. */
export function raiseStamps(row: string, raising: Raising = {}): SQL {
  return sql`version = ${raisedColumn('version', row, raising)}, updated_at = ${raisedColumn('updated_at', row, raising)}`;
}
