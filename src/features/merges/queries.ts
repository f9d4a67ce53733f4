import { getTableName, type SQL, sql } from 'drizzle-orm';
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import type { Columns } from '../../records/catalog.ts';
import { deletionOfParts } from '../../records/delete-guard.ts';
import { rowsToKeep } from '../../records/kept-rows.ts';
import { lazily } from '../../records/lazily.ts';
import {
  cleared,
  countRecords,
  insertUnder,
  type Move,
  mentioned,
  mentioning,
  type RecordCount,
  replaceMentions,
} from '../../records/merge.ts';
import { isNobody } from '../../records/nobody.ts';
import type { RefRow } from '../../records/references/queries.ts';
import { externalRefs } from '../../records/references/record.ts';
import { updateRows } from '../../records/table.ts';
import { type CustomerRow, type IdentityRow, identityRowsOf } from '../customers/queries.ts';
import { customerIdentities, customers, sharedIdentities } from '../customers/record.ts';
import { leadStageChanges, leads } from '../leads/record.ts';
import { loyaltyAccounts, loyaltyTierChanges, loyaltyTransactions } from '../loyalty/record.ts';
import { partnerShares } from '../partners/record.ts';
import { customerAliases, customerMergeRecords, customerMerges } from './record.ts';

export type MergeRow = typeof customerMerges.$inferSelect;
export type LeadRow = typeof leads.$inferSelect;
export type StageRow = typeof leadStageChanges.$inferSelect;
export type AccountRow = typeof loyaltyAccounts.$inferSelect;
export type TierRow = typeof loyaltyTierChanges.$inferSelect;

/** `others`: a statement for the ids of whoever names one of them, since their rows change as well. */
function lockStatement(name: string, others: SQL) {
  return statement<{ id: string }>(
    name,
    sql`select id from ${customers} where id in (select unnest(${param('ids')}::uuid[]) union all ${others}) order by id for update`,
  );
}
const lockForMerge = lazily(() => lockStatement('lock_merged', mentioning(sql`${param('named')}::uuid[]`)));
const lockForUnmerge = lazily(() => lockStatement('lock_unmerged', mentioned(customerMergeRecords)));

/** Locks, in id order, both customers of a merge and those who name the one that goes; the audit names them all. */
export async function lockMerged(tx: Transaction, { from, to }: { from: string; to: string }): Promise<void> {
  const locked = await tx.all(lockForMerge(), { ids: [from, to], named: [from] });
  for (const { id } of locked) tx.auditContext.customerIds.add(id);
}

/** The same of an unmerge: `ids` are its customers, and whoever the merge has noted is locked with them. */
export async function lockUnmerged(tx: Transaction, ids: string[], mergeId: string): Promise<void> {
  for (const { id } of await tx.all(lockForUnmerge(), { ids, mergeId })) tx.auditContext.customerIds.add(id);
}

/** A customer as far as merging decides about it. */
export interface Party {
  row: CustomerRow;
  identities: IdentityRow[];
  references: RefRow[];
  lead: LeadRow | null;
  stages: StageRow[];
  account: AccountRow | null;
  tiers: TierRow[];
}

const ofCustomers = <Row>(table: PgTable, owner: PgColumn, order: SQL = sql`${owner}`) =>
  statement<Row>(
    `merged_${getTableName(table)}`,
    sql`select ${fields(table)} from ${table} where ${owner} = any(${param('ids')}::uuid[]) order by ${order}`,
  );
const rowsOfCustomers = {
  customers: ofCustomers<CustomerRow>(customers, customers.id),
  identities: statement<IdentityRow>(
    'merged_identities',
    sql`${identityRowsOf(sql`= any(${param('ids')}::uuid[])`)} order by "kind", "createdAt", "value"`,
  ),
  references: ofCustomers<RefRow>(externalRefs, externalRefs.recordId, sql`position, source, external_id`),
  leads: ofCustomers<LeadRow>(leads, leads.customerId),
  stages: ofCustomers<StageRow>(leadStageChanges, leadStageChanges.customerId, sql`sequence`),
  accounts: ofCustomers<AccountRow>(loyaltyAccounts, loyaltyAccounts.customerId),
};
/** Changes of the tiers of these customers, in their order. */
export const tiersOf = ofCustomers<TierRow>(loyaltyTierChanges, loyaltyTierChanges.customerId, sql`sequence`);

/** What is stored of these customers, by id; absent ones are absent. */
export async function partiesOf(db: Db, ids: string[]): Promise<Map<string, Party>> {
  const [rows, identities, references, leadRows, stages, accounts, tiers] = await Promise.all([
    db.all(rowsOfCustomers.customers, { ids }),
    db.all(rowsOfCustomers.identities, { ids }),
    db.all(rowsOfCustomers.references, { ids }),
    db.all(rowsOfCustomers.leads, { ids }),
    db.all(rowsOfCustomers.stages, { ids }),
    db.all(rowsOfCustomers.accounts, { ids }),
    db.all(tiersOf, { ids }),
  ]);
  return new Map(
    rows.flatMap((row) => {
      if (isNobody(row.id)) return [];
      const own = <T extends { customerId: string | null }>(some: T[]) =>
        some.filter(({ customerId }) => customerId === row.id);
      return [
        [
          row.id,
          {
            row,
            identities: own(identities),
            references: references.filter(({ recordId }) => recordId === row.id),
            lead: own(leadRows)[0] ?? null,
            stages: own(stages),
            account: own(accounts)[0] ?? null,
            tiers: own(tiers),
          },
        ] as const,
      ];
    }),
  );
}

/** What a merge tells beside the records that move: what it writes anew. */
const rewritten = [leadStageChanges, loyaltyTransactions, partnerShares];

/** How many records a customer has that a merge would move or write anew, by kind. */
export function countMergeable(db: Db, id: string): Promise<RecordCount[]> {
  return countRecords(db, id, rewritten);
}

const begin = lazily(() =>
  statement(
    'begin_merge',
    sql`insert into ${customerMerges} (id, customer_id, survivor_id, merged_id, at, by, take, before)
      select ${param('mergeId')}::uuid, ${param('to')}::uuid, ${param('to')}::uuid, ${param('from')}::uuid, ${param('now')}::timestamptz,
        ${param('by')}::text, ${param('take')}::jsonb, ${rowsToKeep()} || jsonb_build_object('cleared', ${cleared()})`,
  ),
);

export interface Begin {
  mergeId: string;
  from: string;
  to: string;
  now: string;
  by: string;
  take: readonly string[];
}

/** Writes down a merge with what both were before it. */
export async function beginMerge(tx: Transaction, { take, ...begun }: Begin): Promise<void> {
  await tx.all(begin(), { ...begun, take: JSON.stringify(take) });
}

/** What the merge has cleared of moved records (`cleared`). */
export const clearedBefore = sql`(select m.before -> 'cleared' from ${customerMerges} m where m.id = ${param('mergeId')}::uuid)`;

const end = statement(
  'end_merge',
  sql`update ${customerMerges} set after = jsonb_build_object(
      'customer', (select to_jsonb(c) from customers c where c.id = ${param('to')}::uuid),
      'lead', (select to_jsonb(l) from leads l where l.customer_id = ${param('to')}::uuid),
      'loyaltyAccount', (select a.version from loyalty_accounts a where a.customer_id = ${param('to')}::uuid),
      'partnerShares', (select coalesce(jsonb_object_agg(s.partner_id, s.writable), '{}') from partner_shares s where s.customer_id = ${param('to')}::uuid))
    where id = ${param('mergeId')}::uuid`,
);

/** Notes what a merge has made: what is different later has changed since. Travels with COMMIT, behind all its writes. */
export function endMerge(tx: Transaction, mergeId: string, to: string): void {
  tx.pipeline(end, { mergeId, to });
}

const point = statement(
  'redirect_aliases',
  sql`with noted as (
      insert into customer_merge_records (merge_id, kind, record_id)
      select ${param('mergeId')}::uuid, 'aliases', old_id from ${customerAliases} where customer_id = ${param('from')}::uuid
      union all select ${param('mergeId')}::uuid, 'merges', id from ${customerMerges} where customer_id = ${param('from')}::uuid
    ), pointed as (
      update ${customerAliases} set customer_id = ${param('to')}::uuid where customer_id = ${param('from')}::uuid
    ), held as (
      update ${customerMerges} set customer_id = ${param('to')}::uuid where customer_id = ${param('from')}::uuid
    )
    insert into ${customerAliases} (old_id, customer_id, created_at)
      values (${param('from')}::uuid, ${param('to')}::uuid, ${param('now')}::timestamptz)`,
);

/** The id that goes, and all that led to it, lead to the survivor from now on. */
export async function redirect(
  tx: Transaction,
  values: { mergeId: string; from: string; to: string; now: string },
): Promise<void> {
  await tx.all(point, values);
}

const unpoint = statement(
  'restore_aliases',
  sql`with gone as (
      delete from ${customerAliases} where old_id = ${param('to')}::uuid
    ), pointed as (
      update ${customerAliases} a set customer_id = ${param('to')}::uuid from customer_merge_records r
      where r.merge_id = ${param('mergeId')}::uuid and r.kind = 'aliases' and a.old_id = r.record_id
    )
    update ${customerMerges} m set customer_id = ${param('to')}::uuid from customer_merge_records r
      where r.merge_id = ${param('mergeId')}::uuid and r.kind = 'merges' and m.id = r.record_id`,
);

/** What `redirect` did, undone: `to` is a customer again. */
export async function unredirect(tx: Transaction, values: { mergeId: string; to: string }): Promise<void> {
  await tx.all(unpoint, values);
}

/** Who has to do with the points of `from` names `to`, in postings and in the keys of bonuses. */
const namedInPoints = statement(
  'rename_in_points',
  sql`with others as materialized (
      select distinct related_customer_id as id from loyalty_transactions
      where customer_id = ${param('from')}::uuid and related_customer_id is not null
    ), related as (
      update loyalty_transactions t set related_customer_id = ${param('to')}::uuid,
        bonus_key = case when t.bonus_key = 'referral:' || ${param('from')}::text then 'referral:' || ${param('to')}::text else t.bonus_key end
      from others where t.customer_id = others.id and t.related_customer_id = ${param('from')}::uuid returning t.id
    ), lots as (
      update loyalty_lots l set bonus_key = 'referral:' || ${param('to')}::text
      from others where l.customer_id = others.id and l.bonus_key = 'referral:' || ${param('from')}::text returning l.id
    )
    insert into customer_merge_records (merge_id, kind, record_id)
      select ${param('mergeId')}::uuid, kind, id from (
        select 'related' as kind, id from related union all select 'referralLots', id from lots) x`,
);

/** Whoever names the one names the other. Sent before the ledger of `from` moves, which says who has to do with its points. */
export async function rename(tx: Transaction, move: Move): Promise<void> {
  await Promise.all([replaceMentions(tx, customerMergeRecords, move, 'there'), tx.all(namedInPoints, { ...move })]);
}

const namedBackInPoints = statement(
  'restore_names_in_points',
  sql`with r as materialized (
      select kind, record_id from customer_merge_records where merge_id = ${param('mergeId')}::uuid
        and kind in ('related', 'referralLots')
    ), related as (
      update loyalty_transactions t set related_customer_id = ${param('to')}::uuid,
        bonus_key = case when t.bonus_key = 'referral:' || ${param('from')}::text then 'referral:' || ${param('to')}::text else t.bonus_key end
      from r where r.kind = 'related' and t.id = r.record_id and t.related_customer_id = ${param('from')}::uuid
        and t.customer_id not in (${param('from')}::uuid, ${param('to')}::uuid)
    )
    update loyalty_lots l set bonus_key = 'referral:' || ${param('to')}::text from r, loyalty_transactions t
      where r.kind = 'referralLots' and l.id = r.record_id and l.bonus_key = 'referral:' || ${param('from')}::text
        and t.id = l.transaction_id and t.customer_id = l.customer_id`,
);

/** What `rename` did, undone, as far as it is still so. */
export async function restoreNames(tx: Transaction, move: Move): Promise<void> {
  await Promise.all([replaceMentions(tx, customerMergeRecords, move, 'back'), tx.all(namedBackInPoints, { ...move })]);
}

const saveIdentities = statement('save_merged_identities', updateRows(customerIdentities, param('rows')));
const saveReferences = statement('save_merged_references', updateRows(externalRefs, param('rows')));

const dropShared = statement(
  'drop_merged_shared_identities',
  sql`delete from ${sharedIdentities} where customer_id = any(${param('ids')}::uuid[])`,
);
const saveShared = statement('save_merged_shared_identities', insertRows(sharedIdentities, param('rows')));

/** Sets whose these identities and references of two customers are, which is primary, and in which order they come. */
export function saveNames(
  tx: Transaction,
  { from, to }: Pick<Move, 'from' | 'to'>,
  identities: IdentityRow[],
  references: RefRow[],
): void {
  const own = identities.filter(({ shared }) => !shared);
  const shared = identities.filter((row) => row.shared);
  if (own.length > 0) tx.pipeline(saveIdentities, { rows: JSON.stringify(own) });
  tx.pipeline(dropShared, { ids: [from, to] });
  if (shared.length > 0) tx.pipeline(saveShared, { rows: JSON.stringify(shared) });
  if (references.length > 0) tx.pipeline(saveReferences, { rows: JSON.stringify(references) });
}

const updateCustomer = statement('save_merged_customer', updateRows(customers, param('rows'), { createdAt: true }));

/** Writes the members of a locked customer. */
export async function saveCustomerRow(tx: Transaction, row: CustomerRow): Promise<void> {
  tx.auditContext.customerIds.add(row.id);
  await tx.all(updateCustomer, { rows: JSON.stringify([row]) });
}

/** The survivor is shared with everybody either was shared with; writable where either was. */
export async function mergeShares(tx: Transaction, { from, to }: Move, columns: Columns): Promise<void> {
  const query = statement(
    'merge_shares',
    sql`with shares as (select * from ${partnerShares} where customer_id = ${param('from')}::uuid)
      ${insertUnder(partnerShares, 'shares', columns)}
      on conflict (partner_id, customer_id) do update set writable = partner_shares.writable or excluded.writable`,
    { unprepared: true },
  );
  await tx.all(query, { from, to });
}

/** Each is shared as it was; what was taken back since the merge stays taken back. */
export async function restoreShares(tx: Transaction, { mergeId, from, to }: Move, columns: Columns): Promise<void> {
  const query = statement(
    'restore_shares',
    sql`with kept as materialized (
        select x.*, m.after -> 'partnerShares' ->> x.partner_id::text as merged from ${customerMerges} m,
          jsonb_populate_recordset(null::partner_shares, m.before -> 'partnerShares') x where m.id = ${param('mergeId')}::uuid
      ), still as materialized (
        select k.* from kept k join ${partnerShares} s on s.partner_id = k.partner_id and s.customer_id = ${param('from')}::uuid
        where s.writable = k.merged::boolean
      ), ended as (
        delete from ${partnerShares} s using still k where s.customer_id = ${param('from')}::uuid and s.partner_id = k.partner_id
          and k.customer_id = ${param('to')}::uuid
          and not exists (select from kept o where o.partner_id = k.partner_id and o.customer_id = ${param('from')}::uuid)
      ), narrowed as (
        update ${partnerShares} s set writable = k.writable from still k
        where s.customer_id = ${param('from')}::uuid and s.partner_id = k.partner_id and k.customer_id = ${param('from')}::uuid
      ), others as (select * from still where customer_id = ${param('to')}::uuid)
      ${insertUnder(partnerShares, 'others', columns)}`,
    { unprepared: true },
  );
  await tx.all(query, { mergeId, from, to });
}

const drop = lazily(() =>
  statement(
    'drop_merged_customer',
    sql`with ${sql.join(deletionOfParts(sql`${param('id')}::uuid`, ['references']), sql`, `)},
      accounts as (delete from loyalty_accounts where customer_id = ${param('id')}::uuid)
    delete from customers where id = ${param('id')}::uuid`,
  ),
);

/** Deletes the row of a customer whose facts have moved, with what was derived from them. */
export async function dropMerged(tx: Transaction, id: string): Promise<void> {
  await tx.all(drop(), { id });
}

const latest = statement<MergeRow>(
  'latest_merge',
  sql`select ${fields(customerMerges)} from ${customerMerges} where customer_id = ${param('customerId')}::uuid and undone_at is null
    order by at desc, id desc limit 1`,
);
const byId = statement<MergeRow>(
  'merge_by_id',
  sql`select ${fields(customerMerges)} from ${customerMerges} where id = ${param('mergeId')}::uuid and customer_id = ${param('customerId')}::uuid`,
);

/** The merge of a customer by its id, and the latest one that was not undone. */
export async function mergesOf(db: Db, customerId: string, mergeId: string) {
  const [found, last] = await Promise.all([db.first(byId, { customerId, mergeId }), db.first(latest, { customerId })]);
  return { found, last };
}

/** Whether a row is again as the merge `p` had made it, in a next version. */
const isAgain = (of: string, version: SQL) => sql`p.customer_id = any(${param(of)}::uuid[]) and ${version} = (
    select x -> 'version' from jsonb_array_elements(m.before -> ${sql.raw(`'${of}'`)}) x
    where x ->> 'customer_id' = p.customer_id::text)`;
const versionNow = (table: PgTable) =>
  sql`jsonb_build_object('version', (select version from ${table} now where now.customer_id = p.customer_id))`;
const carry = statement(
  'carry_versions',
  sql`update ${customerMerges} p set after = p.after
      || case when ${isAgain('loyaltyAccount', sql`p.after -> 'loyaltyAccount'`)}
        then jsonb_build_object('loyaltyAccount', ${versionNow(loyaltyAccounts)} -> 'version') else '{}' end
      || case when ${isAgain('lead', sql`p.after -> 'lead' -> 'version'`)}
        then jsonb_build_object('lead', (p.after -> 'lead') || ${versionNow(leads)}) else '{}' end
    from ${customerMerges} m
    where m.id = ${param('mergeId')}::uuid and p.customer_id in (m.survivor_id, m.merged_id) and p.survivor_id = p.customer_id and p.id <> m.id
      and p.undone_at is null and p.after is not null`,
);

/**
 * What is again as an earlier merge had made it has another version now: that merge is told, so that it can be undone
 * exactly as well.
 *
 * @param values whose account and whose lead is exactly as it was before this merge
 */
export async function carryVersions(
  tx: Transaction,
  { mergeId, account, lead }: { mergeId: string; account: string[]; lead: string[] },
): Promise<void> {
  await tx.all(carry, { mergeId, loyaltyAccount: account, lead });
}

const undone = statement(
  'end_unmerge',
  sql`with forgotten as (delete from customer_merge_records where merge_id = ${param('mergeId')}::uuid)
    update ${customerMerges} set undone_at = ${param('now')}::timestamptz, undone_by = ${param('by')}::text, before = null, after = null
    where id = ${param('mergeId')}::uuid`,
);

/** The merge is history, and what it kept is not needed any more. */
export function endUnmerge(tx: Transaction, values: { mergeId: string; now: string; by: string }): void {
  tx.pipeline(undone, values);
}
