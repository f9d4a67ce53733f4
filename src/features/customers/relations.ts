import { sql } from 'drizzle-orm';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import type { CustomerRow } from './queries.ts';

/*
 * Whose company is whose, and who referred whom, never goes round in a ring. A ring of several is closed by changes that share no
 * customer, and so no lock: whoever says so takes a turn.
 */

export const relations = ['companyId', 'referredBy'] as const;
type Related = Pick<CustomerRow, (typeof relations)[number]>;
export type Above = ReadonlyMap<string, Related>;

const turn = statement('relations_turn', sql`select pg_advisory_xact_lock(hashtext(${param('name')}))`);

const above = statement<Related & { id: string }>(
  'relations_above',
  sql`with recursive up as (
      select id, company_id, referred_by from customers where id = any(${param('ids')}::uuid[])
      union select c.id, c.company_id, c.referred_by from up join customers c on c.id = any(array[up.company_id, up.referred_by])
    )
    select id, company_id as "companyId", referred_by as "referredBy" from up`,
);

/** What is stored above these customers, for whoever changes it; scoped tokens may not (guarded.ts). After the locks of customers. */
export async function relationsAbove(tx: Transaction, ids: string[]): Promise<Above> {
  await tx.all(turn, { name: 'relations' });
  const rows = await tx.all(above, { ids });
  return new Map(rows.map(({ id, ...related }) => [id, related]));
}

/** Whether one of these is at, or above, a customer. */
export function leadsTo(
  ids: readonly string[],
  member: (typeof relations)[number],
  start: string | null,
  relatedOf: (id: string) => Related | undefined,
): boolean {
  const seen = new Set<string>();
  for (let id = start; id !== null && !seen.has(id); id = relatedOf(id)?.[member] ?? null) {
    if (ids.includes(id)) return true;
    seen.add(id);
  }
  return false;
}
