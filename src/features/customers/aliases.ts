import { sql } from 'drizzle-orm';
import { type Db, fields, param, statement } from '../../platform/db/client.ts';
import { customerAliases } from '../merges/record.ts';

const aliases = statement<{ oldId: string; customerId: string }>(
  'customer_aliases',
  sql`select ${fields(customerAliases)} from ${customerAliases} where ${customerAliases.oldId} = any(${param('ids')}::uuid[])`,
);

/** Who those of these ids are now that were merged into others. */
export async function redirectsOf(db: Db, ids: readonly string[]): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  return new Map((await db.all(aliases, { ids })).map(({ oldId, customerId }) => [oldId, customerId]));
}
