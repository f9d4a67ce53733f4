import { sql } from 'drizzle-orm';
import { searchWords } from '../../domain/search-words.ts';
import { type Db, param, rowsOf, statement, type Transaction } from '../../platform/db/client.ts';
import { nationalNumber } from './normal-form.ts';
import { type customers, customerTerms } from './record.ts';

export type TermRow = typeof customerTerms.$inferSelect;

/** What the words of a customer are made of. */
interface Source {
  row: Pick<typeof customers.$inferSelect, 'id' | 'name' | 'givenName' | 'familyName' | 'erasedAt'>;
  identities: readonly { kind: string; value: string }[];
  references: readonly { externalId: string }[];
}

/** The words that a customer is found by; none of an erased person. */
export function termsOf({ row, identities, references }: Source): TermRow[] {
  if (row.erasedAt !== null) return [];
  const values = (kind: string) => identities.flatMap((one) => (one.kind === kind ? [one.value] : []));
  const words = searchWords({
    names: [row.name, row.givenName, row.familyName],
    emails: values('email'),
    phones: values('phone').map((phone) => {
      const number = phone.replace(/;.*/, '');
      return { number, national: nationalNumber(number) };
    }),
    handles: values('handle'),
    references: references.map(({ externalId }) => externalId),
  });
  return [...words].map(([term, ofName]) => ({ customerId: row.id, term, ofName }));
}

/** What has to go and what has to come. */
export function termChanges(
  before: readonly TermRow[],
  after: readonly TermRow[],
): { gone: TermRow[]; come: TermRow[] } {
  const key = ({ customerId, term, ofName }: TermRow) => `${customerId}${ofName}${term}`;
  const old = new Set(before.map(key));
  const now = new Set(after.map(key));
  return { gone: before.filter((one) => !now.has(key(one))), come: after.filter((one) => !old.has(key(one))) };
}

/** Parts of a statement that writes customers; of `termsGone` and `termsCome`. A word may become one of a name, or cease to be. */
export const writeTerms = sql`terms_gone as (
      delete from customer_terms t using ${rowsOf(customerTerms, param('termsGone'), 'n')}
        where t.customer_id = n."customerId" and t.term = n."term" and not exists (
          select from ${rowsOf(customerTerms, param('termsCome'), 'k')} where k."customerId" = n."customerId" and k."term" = n."term")
    ), terms_come as (
      insert into customer_terms (customer_id, term, of_name)
        select n."customerId", n."term", n."ofName" from ${rowsOf(customerTerms, param('termsCome'), 'n')}
        on conflict (customer_id, term) do update set of_name = excluded.of_name
    )`;

const rewrite = statement('rewrite_terms', sql`with ${writeTerms} select`);

const stored = statement<TermRow>(
  'terms_of_customers',
  sql`select customer_id as "customerId", term, of_name as "ofName" from customer_terms where customer_id = any(${param('ids')}::uuid[])`,
);

const sources = statement<Source['row'] & { identities: Source['identities']; references: Source['references'] }>(
  'sources_of_terms',
  sql`select c.id, c.name, c.given_name as "givenName", c.family_name as "familyName", c.erased_at as "erasedAt",
      coalesce((select json_agg(json_build_object('kind', i.kind, 'value', i.value)) from (
        select kind, value from customer_identities where customer_id = c.id
        union all select kind, value from customer_shared_identities where customer_id = c.id) i), '[]') as identities,
      coalesce((select json_agg(json_build_object('externalId', r.external_id)) from external_refs r where r.record_id = c.id and r.kind = 'customer'), '[]') as references
    from customers c where c.id = any(${param('ids')}::uuid[])`,
);

/** The words of these customers, as they are kept and as they should be. */
export async function compareTerms(db: Db, ids: readonly string[]): Promise<ReturnType<typeof termChanges>> {
  const [rows, kept] = await Promise.all([db.all(sources, { ids }), db.all(stored, { ids })]);
  const wanted = rows.flatMap(({ identities, references, ...row }) => termsOf({ row, identities, references }));
  return termChanges(kept, wanted);
}

/** Makes the words of these locked customers anew. */
export async function recomputeTerms(tx: Transaction, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const { gone, come } = await compareTerms(tx, ids);
  if (gone.length + come.length === 0) return;
  await tx.all(rewrite, { termsGone: JSON.stringify(gone), termsCome: JSON.stringify(come) });
}
