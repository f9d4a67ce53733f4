import { type SQL, sql } from 'drizzle-orm';
import { type Db, insertRows, param, type Statement, statement, type Transaction } from '../../platform/db/client.ts';
import { alike, everyIdentity } from '../customers/record.ts';
import { type CustomerDuplicate, dismissedDuplicates } from './record.ts';

/*
 * Pairs of customers who may be one, in the order of what they have in common: e-mails, phones and handles first, then names
 * with birthdays, then names with postal codes. Every part is read from an index in chunks, and ends with the page;
 * a pair comes once, in the first part that has it. Where pairs are rare, a page ends before it is full, so that none reads
 * a million customers, or as many who share one address.
 */

/** What more customers than this have in common says nothing: the phone of a switchboard, the address of a marketplace. */
const mostAlike = sql.raw('10');

/** Customers, or shared identities, that one statement looks at, and statements for a page. */
const chunk = 10_000;
const chunkOfIdentities = 2_000;
const mostChunks = 10;

/** Where a pair stands. */
export interface Place {
  /** Number of the part. */
  part: number;
  /** What the pair has in common, as a number: of the part of identities the same for all. */
  key: string;
  id: string;
  other: string;
}

const [firstId, lastId] = ['0', 'f'].map((digit) => '00000000-0000-0000-0000-000000000000'.replaceAll('0', digit)) as [
  string,
  string,
]; // two of two

export const beginning: Place = { part: 0, key: String(-(2n ** 63n)), id: firstId, other: firstId };

/** Two who can be merged and of whom nobody has said that they are two. Whoever is shown to nobody is left out here. */
const areSuggested = (a: SQL, b: SQL) => sql`exists (select from customers x, customers y
    where x.id = ${a} and y.id = ${b} and x.kind = y.kind and x.erased_at is null and y.erased_at is null)
  and not exists (select from ${dismissedDuplicates} d where d.customer_id = ${a} and d.other_id = ${b})
  and not exists (select from ${dismissedDuplicates} d where d.customer_id = ${b} and d.other_id = ${a})`;

/** Whether at most `mostAlike` customers have the identity `s`. */
const isRare = (s: SQL) => sql`(select count(*) from (select from customer_shared_identities r
    where r.kind = ${s}.kind and r.value = ${s}.value limit ${mostAlike}) r) < ${mostAlike}`;

/** Whether a row of `id` among the shared identities leads to `other`: as its owner, or (`younger`) as one who shares it, too. */
const leadsTo = (id: SQL, other: SQL) => sql`exists (select from customer_shared_identities h
    join ${sql.raw(everyIdentity)} e on e.kind = h.kind and e.value = h.value
    where h.customer_id = ${id} and e.customer_id = ${other} and ${isRare(sql`h`)})`;

const shareIdentity = (a: SQL, b: SQL) => sql`(${leadsTo(a, b)} or ${leadsTo(b, a)})`;

const after = {
  key: sql`${param('key')}::bigint`,
  id: sql`${param('id')}::uuid`,
  other: sql`${param('other')}::uuid`,
};
const limit = sql`limit ${param('limit')}::int`;

/**
 * From the younger of the two, or from the one who shares what the other owns. A chunk has all that its
 * last customer shares.
 */
const byIdentity = sql`with scanned as materialized (
    select customer_id, kind, value from customer_shared_identities
    where customer_id >= ${after.id} and (customer_id > ${after.id} or ${after.other} < ${sql.raw(`'${lastId}'`)})
      and ${after.key} is not null
    order by customer_id fetch first ${sql.raw(String(chunkOfIdentities))} rows with ties
  ), pairs as (
    select distinct s.customer_id as id, i.customer_id as other
    from scanned s cross join lateral (
      select customer_id from customer_identities o where o.kind = s.kind and o.value = s.value
      union all select customer_id from customer_shared_identities o where o.kind = s.kind and o.value = s.value
    ) i
    where (s.customer_id, i.customer_id) > (${after.id}, ${after.other}) and s.customer_id <> i.customer_id and ${isRare(sql`s`)}
      and (i.customer_id < s.customer_id or not ${leadsTo(sql`i.customer_id`, sql`s.customer_id`)})
      and ${areSuggested(sql`s.customer_id`, sql`i.customer_id`)}
    order by s.customer_id, i.customer_id ${limit}
  )
  select 0::text as key, id, other, null::int as size from pairs
  union all select 0::text, (select customer_id from scanned order by customer_id desc limit 1), null, count(*)::int from scanned`;

/** The pairs of a chunk, and in a row without a pair how many customers it has and where it ends. */
function byLikeness({ key, isThere }: { key: string; isThere: string }, isSaid: (a: SQL, b: SQL) => SQL): SQL {
  const [id, other] = [sql`g.id`, sql`o.id`];
  const size = sql.raw(String(chunk));
  return sql`with scanned as materialized (
      select ${sql.raw(key)} as key, id from customers where ${sql.raw(isThere)} and ${sql.raw(key)} >= ${after.key}
      order by ${sql.raw(key)}, id limit ${size}
    ), ended as (
      select count(*) as size, max(key) as key from scanned
    ), pairs as (
      select g.key, g.id, o.id as other
      from (select key, id, array_agg(id) over likeness as ids, count(*) over likeness as size
          from scanned window likeness as (partition by key)) g
        cross join lateral unnest(g.ids) as o(id) cross join ended e
      where g.size between 2 and ${mostAlike} and o.id < g.id
        -- Of the last ones the chunk may have only some.
        and (e.size < ${size} or g.key < e.key)
        and (g.key, g.id, o.id) > (${after.key}, ${after.id}, ${after.other})
        and not ${isSaid(id, other)} and ${areSuggested(id, other)}
      order by g.key, g.id, o.id ${limit}
    )
    select key::text, id, other, null::int as size from pairs
    union all select key::text, null, null, size::int from ended`;
}

const areBorn = (a: SQL, b: SQL) => sql`exists (select from
    (select ${sql.raw(alike.birthday.key)} as key from customers where id = ${a} and ${sql.raw(alike.birthday.isThere)}) x,
    (select ${sql.raw(alike.birthday.key)} as key from customers where id = ${b} and ${sql.raw(alike.birthday.isThere)}) y
    where x.key = y.key)`;

type PairRow = Omit<Place, 'part'>;

/** A pair; or how much a chunk has looked at, and where it ends: by a key, or by the id of a customer. */
type ChunkRow = (PairRow & { size: null }) | { key: string | null; id: string | null; other: null; size: number };

const parts: readonly Statement<ChunkRow>[] = [
  statement('duplicates_by_identity', byIdentity),
  statement('duplicates_by_birthday', byLikeness(alike.birthday, shareIdentity)),
  statement(
    'duplicates_by_postal_code',
    byLikeness(alike.postalCode, (a, b) => sql`(${shareIdentity(a, b)} or ${areBorn(a, b)})`),
  ),
];

/** Up to `count` pairs behind a place; `rest`: there are fewer, and the search goes on from there. */
export async function pairsAfter(db: Db, from: Place, count: number): Promise<{ pairs: Place[]; rest: Place | null }> {
  const pairs: Place[] = [];
  let place = from;
  for (let chunks = 0; pairs.length < count; chunks += 1) {
    const query = parts[place.part];
    if (!query) return { pairs, rest: null };
    if (chunks === mostChunks) return { pairs, rest: place };
    const { part, key, id, other } = place;
    const rows = await db.all(query, { key, id, other, limit: count - pairs.length });
    for (const row of rows) if (row.size === null) pairs.push({ part, key: row.key, id: row.id, other: row.other });
    place = behind(
      place,
      rows.find(({ size }) => size !== null),
    );
  }
  return { pairs, rest: null };
}

/** Where the next chunk begins. One that is full of a single likeness is left behind: it says nothing. */
function behind({ part, key }: Place, ended: ChunkRow | undefined): Place {
  if (!ended || ended.key === null || ended.size === null || ended.size < (part === 0 ? chunkOfIdentities : chunk))
    return { ...beginning, part: part + 1 };
  if (ended.id !== null) return { ...beginning, part, id: ended.id, other: lastId };
  return { ...beginning, part, key: ended.key === key ? String(BigInt(key) + 1n) : ended.key };
}

const reasons = statement<{ id: string; other: string; reasons: CustomerDuplicate['reasons'] }>(
  'reasons_of_duplicates',
  sql`select p."id", p."other", (
      select json_agg(reason order by place) from (
        select distinct case i.kind when 'email' then 1 when 'phone' then 2 else 3 end as place, 'same_' || i.kind as reason
          from ${sql.raw(everyIdentity)} i join ${sql.raw(everyIdentity)} j on j.kind = i.kind and j.value = i.value
          where i.customer_id = p."id" and j.customer_id = p."other"
        union all select 4, 'same_name_and_birthday' where ${areBorn(sql`p."id"`, sql`p."other"`)}
        union all select 5, 'same_name_and_postal_code' from
          (select ${sql.raw(alike.postalCode.key)} as key from customers where id = p."id" and ${sql.raw(alike.postalCode.isThere)}) x
          join (select ${sql.raw(alike.postalCode.key)} as key from customers where id = p."other" and ${sql.raw(alike.postalCode.isThere)}) y using (key)
      ) r) as reasons
    from json_to_recordset(${param('pairs')}::json) as p("id" uuid, "other" uuid)`,
);

/** What these pairs have in common, in their order. */
export async function reasonsOf(db: Db, pairs: readonly Place[]): Promise<CustomerDuplicate['reasons'][]> {
  if (pairs.length === 0) return [];
  const rows = await db.all(reasons, { pairs: JSON.stringify(pairs) });
  const known = new Map(rows.map((row) => [`${row.id} ${row.other}`, row.reasons]));
  return pairs.map(({ id, other }) => known.get(`${id} ${other}`) ?? []);
}

const isDismissed = statement<unknown>(
  'is_dismissed',
  sql`select from ${dismissedDuplicates} where customer_id = ${param('customerId')}::uuid and other_id = ${param('otherId')}::uuid`,
);
const dismiss = statement('dismiss_duplicate', insertRows(dismissedDuplicates, param('rows')));

/** Notes that two locked customers are two. @returns whether it is news */
export async function dismissPair(tx: Transaction, row: typeof dismissedDuplicates.$inferSelect): Promise<boolean> {
  const { customerId, otherId } = row;
  if (await tx.first(isDismissed, { customerId, otherId })) return false;
  await tx.all(dismiss, { rows: JSON.stringify([row]) });
  return true;
}
