import { type SQL, sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import {
  type Db,
  fields,
  insertRows,
  param,
  Retry,
  rowsOf,
  statement,
  type Transaction,
} from '../../platform/db/client.ts';
import { IdsMerged } from '../../platform/merged-ids.ts';
import type { Context } from '../../platform/operation.ts';
import { assertNothingGuards, deletionOfParts } from '../../records/delete-guard.ts';
import type { Effect } from '../../records/effects.ts';
import { noteErased } from '../../records/erased.ts';
import { lazily } from '../../records/lazily.ts';
import { isNobody } from '../../records/nobody.ts';
import { type Name, type RefRow, refKey } from '../../records/references/queries.ts';
import { externalRefs, type ReferenceInput } from '../../records/references/record.ts';
import { answerById, answersById } from '../../records/statements.ts';
import { assignments, fromExcluded, rowDiffers, updateRows } from '../../records/table.ts';
import { hashesOf, tombstonesOf } from '../privacy/tombstones.ts';
import { redirectsOf } from './aliases.ts';
import { type Customer, customerIdentities, customerRecord, customers, sharedIdentities } from './record.ts';
import { termChanges, termsOf, writeTerms } from './terms.ts';
import type { IdentityKind } from './words.ts';

export type CustomerRow = typeof customers.$inferSelect;
/** `shared`: another customer is found by it, or nobody. */
export type IdentityRow = typeof customerIdentities.$inferSelect & { shared: boolean };

export function customerById(db: Db, id: string): Promise<Customer | null> {
  return answerById(db, customerRecord, id);
}

/** Customers by id; absent ones are absent. */
export function customersByIds(db: Db, ids: readonly string[]): Promise<Map<string, Customer>> {
  return answersById(db, customerRecord, ids);
}

const lock = statement<{ id: string; kind: string; erased: boolean }>(
  'lock_customers',
  sql`select ${customers.id} as id, ${customers.kind} as kind, ${customers.erasedAt} is not null as erased
    from ${customers} where ${customers.id} = any(${param('ids')}::uuid[]) order by ${customers.id} for no key update`,
);

/**
 * Locks customers in id order: the lock under which their facts and derived state change. What was read before is
 * stale after it, so read what matters again in a later statement. Answers the kinds by id; absent ids are absent, and
 * those that were merged into others are thrown (`IdsMerged`), for the transaction to be run again.
 *
 * The audit is told that all of them are changed, unless `changing` is `some`: then the caller tells which (`tx.auditContext`).
 */
export function lockCustomers(
  tx: Transaction,
  ids: Iterable<string>,
  changing: 'all' | 'some' = 'all',
): Promise<Map<string, string>> {
  return lockOwners(
    tx,
    [...ids].filter((id) => !isNobody(id)),
    changing,
  );
}

/** The same of whoever owns records, be it nobody. */
export async function lockOwners(
  tx: Transaction,
  ids: Iterable<string>,
  changing: 'all' | 'some' = 'all',
): Promise<Map<string, string>> {
  const wanted = [...new Set(ids)];
  if (wanted.length === 0) return new Map();
  const rows = await tx.all(lock, { ids: wanted });
  if (rows.length < wanted.length) await leadOn(tx, wanted, new Set(rows.map(({ id }) => id)));
  if (changing === 'all') for (const { id } of rows) tx.auditContext.customerIds.add(id);
  for (const { id, erased } of rows) if (erased) noteErased(tx, id);
  return new Map(rows.map((row) => [row.id, row.kind]));
}

/** Who is not there any more may have been merged into another one. @throws IdsMerged */
async function leadOn(tx: Transaction, wanted: readonly string[], locked: { has(id: string): boolean }): Promise<void> {
  const missing = wanted.filter((id) => !locked.has(id));
  const redirects = await redirectsOf(tx, missing);
  if (redirects.size > 0) throw new IdsMerged(redirects);
}

interface OwnerRow extends RefRow {
  ownerId: string | null;
  ownerKind: string | null;
  ownerErased: boolean | null;
  tombstones: boolean;
}

const findAndLock = statement<OwnerRow>(
  'find_and_lock',
  sql`with found as materialized (
      select r.* from external_refs r join json_to_recordset(${param('names')}::json) as n("kind" text, "source" text, "externalId" text)
        on n."kind" = r.kind and n."source" = r.source and n."externalId" = r.external_id
    ), locked as materialized (
      select c.id, c.kind, c.erased_at is not null as erased from customers c where c.id = any(array(
        select unnest(${param('ids')}::uuid[])
        union all select found.customer_id from found
        union all select i.customer_id from customer_identities i
          join json_to_recordset(${param('identities')}::json) as n("kind" text, "value" text) on n."kind" = i.kind and n."value" = i.value
      )) order by c.id for no key update
    )
    select ${fields(externalRefs)}, locked.id as "ownerId", locked.kind as "ownerKind", locked.erased as "ownerErased", any_tombstone as tombstones
    from (found as external_refs full join locked on locked.id = ${externalRefs.customerId})
      right join (select exists (select from privacy_tombstones) as any_tombstone) t on true`,
);

/**
 * What is known of names, and with the same statement the lock (as `lockCustomers`) on all customers who have them, or
 * the ids or identities. The names are as they were before the wait for the locks. The caller tells the audit which of
 * them it changes.
 *
 * `tombstones`: whether anybody was erased, so that who is not found has to be looked up there.
 */
export async function findAndLockOwners(
  tx: Transaction,
  given: { ids: string[]; names: Name[]; identities: { kind: IdentityKind; value: string }[] },
): Promise<{ found: RefRow[]; locked: Map<string, string>; tombstones: boolean }> {
  const { ids, names, identities } = given;
  const locked = new Map<string, string>();
  if (ids.length + names.length + identities.length === 0) return { found: [], locked, tombstones: false };
  const rows = await tx.all(findAndLock, {
    ids: [...new Set(ids)],
    names: JSON.stringify(names),
    identities: JSON.stringify(identities),
  });
  for (const { ownerId, ownerKind, ownerErased } of rows) {
    if (ownerId === null) continue;
    locked.set(ownerId, ownerKind ?? '');
    if (ownerErased) noteErased(tx, ownerId);
  }
  if (ids.some((id) => !locked.has(id))) await leadOn(tx, ids, locked);
  // A customer locked by its id or identity alone comes without a name.
  return { found: rows.filter(({ source }) => source !== null), locked, tombstones: rows[0]?.tombstones ?? false };
}

/** The identities of some customers, shared ones among them. @param which a condition on the id of the customer */
export function identityRowsOf(which: SQL): SQL {
  return sql`select ${fields(customerIdentities)}, false as shared from ${customerIdentities} where ${customerIdentities.customerId} ${which}
    union all select ${fields(sharedIdentities)}, true from ${sharedIdentities} where ${sharedIdentities.customerId} ${which}`;
}

const lockedRows = statement<CustomerRow>(
  'customer_rows',
  sql`select ${fields(customers)} from ${customers} where ${customers.id} = any(${param('ids')}::uuid[])`,
);
const lockedIdentities = statement<IdentityRow>('identity_rows', identityRowsOf(sql`= any(${param('ids')}::uuid[])`));
const lockedRefs = statement<RefRow>(
  'customer_ref_rows',
  sql`select ${fields(externalRefs)} from ${externalRefs} where ${externalRefs.recordId} = any(${param('ids')}::uuid[])`,
);

/** A customer with what it owns, as stored: what a write starts from. */
export interface CustomerState {
  row: CustomerRow;
  identities: IdentityRow[];
  references: RefRow[];
}

/** The states of locked customers; one that vanished between look-up and lock makes the transaction run again. */
export async function customerStates(tx: Transaction, ids: string[]): Promise<Map<string, CustomerState>> {
  if (ids.length === 0) return new Map();
  const [rows, identities, references] = await Promise.all([
    tx.all(lockedRows, { ids }),
    tx.all(lockedIdentities, { ids }),
    tx.all(lockedRefs, { ids }),
  ]);
  const states = new Map<string, CustomerState>(rows.map((row) => [row.id, { row, identities: [], references: [] }]));
  for (const identity of identities) states.get(identity.customerId)?.identities.push(identity);
  for (const ref of references) if (ref.recordId) states.get(ref.recordId)?.references.push(ref);
  for (const state of states.values()) state.references.sort((a, b) => a.position - b.position);
  if (ids.some((id) => !states.has(id))) throw new Retry('a customer vanished');
  return states;
}

type Held = Pick<IdentityRow, 'kind' | 'value' | 'customerId' | 'broughtBy'>;

const identityOwners = statement<Held>(
  'identity_owners',
  sql`select i.kind, i.value, i.customer_id as "customerId", i.brought_by as "broughtBy" from customer_identities i
    join json_to_recordset(${param('identities')}::json) as wanted("kind" text, "value" text) on wanted."kind" = i.kind and wanted."value" = i.value`,
);

export function identityKey(identity: { kind: string; value: string }): string {
  return `${identity.kind}\u0000${identity.value}`;
}

/** These normalised identities as far as somebody is found by them. */
export async function heldIdentities(db: Db, identities: { kind: IdentityKind; value: string }[]): Promise<Held[]> {
  return identities.length === 0 ? [] : db.all(identityOwners, { identities: JSON.stringify(identities) });
}

/** Who is found by these normalised identities, by `identityKey`. */
export async function ownersOf(
  db: Db,
  identities: { kind: IdentityKind; value: string }[],
): Promise<Map<string, string>> {
  const held = await heldIdentities(db, identities);
  return new Map(held.map((row) => [identityKey(row), row.customerId]));
}

/** Who has told of a known identity that was not among its `broughtBy`. */
export interface Told extends Pick<IdentityRow, 'kind' | 'value' | 'customerId' | 'shared'> {
  bringer: ReferenceInput | null;
}

function addBringers(table: PgTable, shared: boolean): SQL {
  // Before it was noted, nobody knows who else has told it: then it stays as it is.
  return sql`update ${table} i set brought_by = i.brought_by || n.bringers
    from (select w."customerId", w."kind", w."value", jsonb_agg(distinct w."bringer") as bringers
        from json_to_recordset(${param('told')}::json) as w("customerId" uuid, "kind" text, "value" text, "shared" boolean, "bringer" jsonb)
        join ${table} h on h.customer_id = w."customerId" and h.kind = w."kind" and h.value = w."value"
        where w."shared" = ${sql.raw(String(shared))} and not h.brought_by @> jsonb_build_array(w."bringer") group by 1, 2, 3) n
    where i.customer_id = n."customerId" and i.kind = n."kind" and i.value = n."value"`;
}

const noteTold = statement(
  'note_bringers',
  sql`with shared as (${addBringers(sharedIdentities, true)}) ${addBringers(customerIdentities, false)}`,
);

/** Notes who has told what of locked customers. Nobody is shown it, so no version rises. */
export async function noteBringers(tx: Transaction, told: readonly Told[]): Promise<void> {
  if (told.length > 0) await tx.all(noteTold, { told: JSON.stringify(told) });
}

const drop = statement(
  'drop_customer_names',
  sql`with identities as (
      delete from customer_identities i using ${rowsOf(customerIdentities, param('identities'), 'n')}
        where i.kind = n."kind" and i.value = n."value" and i.customer_id = n."customerId"
    ), shared as (
      delete from customer_shared_identities i using ${rowsOf(sharedIdentities, param('shared'), 'n')}
        where i.kind = n."kind" and i.value = n."value" and i.customer_id = n."customerId"
    )
    delete from external_refs r using ${rowsOf(externalRefs, param('refs'), 'n')}
      where r.kind = n."kind" and r.source = n."source" and r.external_id = n."externalId" and r.record_id = n."recordId"`,
);

const save = statement<{ renewed: number }>(
  'save_customers',
  sql`with saved as (
      ${insertRows(customers, param('rows'))}
      on conflict (id) do update set ${assignments(customers, fromExcluded, ['erasedAt', 'erasedFields'])}
    ), primaries as (
      ${updateRows(customerIdentities, param('keptIdentities'))} and ${rowDiffers(customerIdentities)}
    ), identified as (
      ${insertRows(customerIdentities, param('newIdentities'))} order by n."kind", n."value"
    ), renewed as (
      ${updateRows(externalRefs, param('keptRefs'))} and (o.record_id = n."recordId" or o.record_id is null)
        returning 1
    ), named as (
      ${insertRows(externalRefs, param('newRefs'))} order by n."source", n."externalId"
    ), ${writeTerms}
    select count(*) as renewed from renewed`,
);

const saveShared = statement(
  'save_shared_identities',
  sql`${insertRows(sharedIdentities, param('rows'))}
    on conflict (customer_id, kind, value) do update set ${assignments(sharedIdentities, fromExcluded)}`,
);

export interface CustomerChange {
  before: CustomerState | null;
  after: CustomerState;
  /** Tombstones that come back to life. */
  revived?: RefRow[];
}

/**
 * Writes the differences between states before and after, whatever their number, in one or two statements; with new names
 * one more, sent together with it: a name that was looked up before its person was erased must not be written after that.
 */
export async function saveCustomers(
  tx: Transaction,
  hashing: Pick<Context, 'tombstones'>,
  changes: CustomerChange[],
): Promise<void> {
  if (changes.length === 0) return;
  for (const { after } of changes) tx.auditContext.customerIds.add(after.row.id);
  const split = <T>(before: T[], after: T[], key: (item: T) => string) => {
    const old = new Set(before.map(key));
    const now = new Set(after.map(key));
    return {
      dropped: before.filter((item) => !now.has(key(item))),
      kept: after.filter((item) => old.has(key(item))),
      added: after.filter((item) => !old.has(key(item))),
    };
  };
  const identities = split(
    changes.flatMap((c) => c.before?.identities ?? []),
    changes.flatMap((c) => c.after.identities),
    (i) => `${i.customerId}${i.shared}${identityKey(i)}`,
  );
  const wordsOf = (states: (CustomerState | null)[]) => states.flatMap((state) => (state ? termsOf(state) : []));
  const terms = termChanges(wordsOf(changes.map((c) => c.before)), wordsOf(changes.map((c) => c.after)));
  const own = (rows: IdentityRow[]) => rows.filter(({ shared }) => !shared);
  const shared = (rows: IdentityRow[]) => rows.filter((row) => row.shared);
  const refs = split(
    changes.flatMap((c) => [...(c.before?.references ?? []), ...(c.revived ?? [])]),
    changes.flatMap((c) => c.after.references),
    refKey,
  );
  // In a statement of its own: a name that one customer gives up in this set may go to another in it.
  if (identities.dropped.length + refs.dropped.length > 0) {
    await tx.all(drop, {
      identities: JSON.stringify(own(identities.dropped)),
      shared: JSON.stringify(shared(identities.dropped)),
      refs: JSON.stringify(refs.dropped),
    });
  }
  const saving = tx.first(save, {
    rows: JSON.stringify(changes.map((c) => c.after.row)),
    keptIdentities: JSON.stringify(own(identities.kept)),
    newIdentities: JSON.stringify(own(identities.added)),
    keptRefs: JSON.stringify(refs.kept),
    newRefs: JSON.stringify(refs.added),
    termsGone: JSON.stringify(terms.gone),
    termsCome: JSON.stringify(terms.come),
  });
  const sharing = shared([...identities.kept, ...identities.added]);
  if (sharing.length > 0) tx.pipeline(saveShared, { rows: JSON.stringify(sharing) });
  // Its snapshot is younger than the names are there: who erases them after that waits, or finds them. By a shared one
  // nobody is found, so nobody comes back.
  const named = { references: refs.added, identities: own(identities.added) };
  const [saved, erased] = await Promise.all([saving, tombstonesOf(tx, hashesOf(hashing, named))]);
  if (erased.size > 0) throw new Retry('a person was erased');
  // Two messages may restore one tombstone, which has no customer whose lock would order them.
  if (saved?.renewed !== refs.kept.length) throw new Retry('a name was taken');
}

const removeRows = statement(
  'remove_nobodies',
  sql`delete from ${customers} where ${customers.id} = any(${param('ids')}::uuid[])`,
);

/** The owner rows of records that are deleted, or somebody's now. */
export const removeNobodies: Effect = (tx, _context, changes) => {
  const ids = changes.flatMap(({ before, after }) => {
    const former = before?.row.customerId;
    return former && isNobody(former) && after?.row.customerId !== former ? [former] : [];
  });
  return async () => ids.length > 0 && tx.all(removeRows, { ids });
};

/** Those of the changed customers that were there before: new ones have nothing that depends on them. */
export function changedIds(changes: CustomerChange[]): string[] {
  return changes.flatMap(({ before }) => (before ? [before.row.id] : []));
}

/** Those that were not. */
export function newIds(changes: CustomerChange[]): string[] {
  return changes.flatMap(({ before, after }) => (before ? [] : [after.row.id]));
}

const companies = statement<{ id: string }>(
  'companies_with_members',
  sql`select distinct ${customers.companyId} as id from ${customers} where ${customers.companyId} = any(${param('ids')}::uuid[])`,
);

/** Which of these locked customers somebody belongs to. */
export async function companiesWithMembers(db: Db, ids: string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  return new Set((await db.all(companies, { ids })).map(({ id }) => id));
}

const remove = lazily(() =>
  statement(
    'delete_customer',
    // References stay as tombstones.
    sql`with ${sql.join(deletionOfParts(sql`${param('id')}::uuid`, ['references']), sql`, `)},
      tombstones as (update external_refs set record_id = null, customer_id = null, deleted_at = ${param('now')}::timestamptz where record_id = ${param('id')}::uuid)
    delete from customers where id = ${param('id')}::uuid`,
  ),
);

/**
 * Deletes a locked customer; its references stay behind as tombstones.
 *
 * @throws Problem customer_has_records
 */
export async function deleteCustomerRow(
  tx: Transaction,
  id: string,
  { now, namedBy }: { now: string; namedBy: 'id' | 'externalId' },
): Promise<void> {
  await assertNothingGuards(tx, id, namedBy);
  await tx.all(remove(), { id, now });
}
