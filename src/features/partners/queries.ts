import { sql } from 'drizzle-orm';
import type { PartnerSettings } from '../../platform/auth/directory.ts';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { assignments, fromExcluded, updateRows } from '../../records/table.ts';
import { type PartnerCustomer, partnerCustomers, partnerShares, partners, type ShareReason } from './record.ts';
import { shareReasons } from './sharing.ts';

export type PartnerRow = typeof partners.$inferSelect;
export type ShareRow = typeof partnerShares.$inferSelect;

const partnerColumns = fields(partners);

const byId = statement<PartnerRow>(
  'partner',
  sql`select ${partnerColumns} from ${partners} where ${partners.id} = ${param('id')}::uuid`,
);

export function partnerById(db: Db, id: string): Promise<PartnerRow | null> {
  return db.first(byId, { id });
}

const byIds = statement<PartnerRow>(
  'partners_by_ids',
  sql`select ${partnerColumns} from ${partners} where ${partners.id} = any(${param('ids')}::uuid[])`,
);

export async function partnersByIds(db: Db, ids: string[]): Promise<Map<string, PartnerRow>> {
  if (ids.length === 0) return new Map();
  return new Map((await db.all(byIds, { ids })).map((row) => [row.id, row]));
}

const kept = statement<{ id: string }>(
  'keep_partners',
  sql`select ${partners.id} as id from ${partners} where ${partners.id} = any(${param('ids')}::uuid[]) order by 1 for key share`,
);

/** Which of these partners there are; they stay until the transaction ends. */
export async function keepPartners(tx: Transaction, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  return new Set((await tx.all(kept, { ids: [...ids] })).map(({ id }) => id));
}

const lock = statement<PartnerRow>(
  'lock_partner',
  sql`select ${partnerColumns} from ${partners} where ${partners.id} = ${param('id')}::uuid for update`,
);

/** The partner as it is, locked: what names it waits. */
export function lockPartner(tx: Transaction, id: string): Promise<PartnerRow | null> {
  return tx.first(lock, { id });
}

const add = statement('insert_partner', insertRows(partners, param('rows')));

export async function insertPartner(tx: Transaction, row: PartnerRow): Promise<void> {
  await tx.all(add, { rows: JSON.stringify([row]) });
}

const change = statement('update_partner', updateRows(partners, param('rows')));

export async function updatePartner(tx: Transaction, row: PartnerRow): Promise<void> {
  await tx.all(change, { rows: JSON.stringify([row]) });
}

const brought = statement<{ found: boolean }>(
  'partner_brought_customers',
  sql`select exists (select from customers where acquired_by = ${param('id')}::uuid) as found`,
);

/** Whether there is a customer that the partner brought. */
export async function hasBroughtCustomers(db: Db, id: string): Promise<boolean> {
  return (await db.first(brought, { id }))?.found ?? false;
}

const remove = statement(
  'delete_partner',
  sql`with shared as (delete from partner_customers where partner_id = ${param('id')}::uuid)
    delete from partners where id = ${param('id')}::uuid`,
);

/** Deletes a partner with everything that was shared with it. */
export async function deletePartnerRow(tx: Transaction, id: string): Promise<void> {
  await tx.all(remove, { id });
}

const settings = statement<{ id: string } & PartnerSettings>(
  'partner_settings',
  sql`select id, status, fields, minimum_group_size as "minimumGroupSize" from partners order by id`,
);

/** What the access directory keeps of every partner. */
export async function partnerSettings(db: Db): Promise<Map<string, PartnerSettings>> {
  const rows = await db.all(settings);
  return new Map(rows.map(({ id, ...of }) => [id, of]));
}

const share = statement<ShareRow & { created: boolean }>(
  'share_customers',
  sql`${insertRows(partnerShares, param('rows'))} order by n."customerId"
    on conflict (partner_id, customer_id) do update set ${assignments(partnerShares, fromExcluded, ['by'])}
    returning ${fields(partnerShares)}, ${partnerShares}.xmax = 0 as created`,
);

/** Shares locked customers with a partner; `created` and `by` of a share that was there stay. Answers them by customer. */
export async function shareCustomers(
  tx: Transaction,
  rows: ShareRow[],
): Promise<Map<string, ShareRow & { created: boolean }>> {
  if (rows.length === 0) return new Map();
  const stored = await tx.all(share, { rows: JSON.stringify(rows) });
  return new Map(stored.map((row) => [row.customerId, row]));
}

const unshare = statement<{ customerId: string }>(
  'unshare_customer',
  sql`delete from partner_shares where partner_id = ${param('partnerId')}::uuid and customer_id = ${param('customerId')}::uuid
    returning customer_id as "customerId"`,
);

/** Takes back an explicit share; false: there was none. */
export async function unshareCustomer(tx: Transaction, partnerId: string, customerId: string): Promise<boolean> {
  return (await tx.first(unshare, { partnerId, customerId })) !== null;
}

/** A customer that is shared with a partner, as its list has it. */
export interface SharedRow {
  /** Of the customer. */
  id: string;
  writable: boolean;
}

/** The select list of a shared customer. */
export const sharedColumns = sql`${partnerCustomers.customerId} as id, ${partnerCustomers.writable} as writable`;

const why = statement<{ customerId: string; reasons: ShareReason[] }>(
  'share_reasons',
  sql`select r.customer_id as "customerId", array_agg(r.reason order by r.reason) as reasons
    from (${shareReasons(sql`p.id = ${param('partnerId')}::uuid`, (id) => sql`${id} = any(${param('ids')}::uuid[])`)}) r
    group by r.customer_id`,
);

/** The same with why each of them is shared. */
export async function withReasons(db: Db, partnerId: string, rows: SharedRow[]): Promise<PartnerCustomer[]> {
  if (rows.length === 0) return [];
  const found = await db.all(why, { partnerId, ids: rows.map(({ id }) => id) });
  const reasons = new Map(found.map(({ customerId, reasons: of }) => [customerId, of]));
  return rows.map(({ id, writable }) => ({ customerId: id, writable, reasons: reasons.get(id) ?? [] }));
}
