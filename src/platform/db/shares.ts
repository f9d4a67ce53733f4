import type { PgColumn, PgTable } from 'drizzle-orm/pg-core';

/** Which customers are shared with which partner: row-level security shows a partner its own rows (access.ts). */
interface Shares {
  table: PgTable;
  customer: PgColumn;
}

let shares: Shares | null = null;

export function declareShares(table: PgTable, customer: PgColumn): void {
  if (shares) throw new Error('There is one table of shares');
  shares = { table, customer };
}

export function declaredShares(): Shares {
  if (!shares) throw new Error('No table says what is shared with partners');
  return shares;
}
