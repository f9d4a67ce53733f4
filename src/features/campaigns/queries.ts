import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import { externalRefs } from '../references/model.ts';
import { type ReferenceTuple, type RefRow, referencesOf, toReferences } from '../references/queries.ts';
import { type Campaign, campaigns } from './model.ts';

export type CampaignRow = typeof campaigns.$inferSelect;

export interface CampaignRecord extends CampaignRow {
  referenceTuples: ReferenceTuple[] | null;
}

/** The select list of a campaign; for `toCampaign`. */
export const campaignColumns = sql`${fields(campaigns)}, ${referencesOf(campaigns.id)} as "referenceTuples"`;

export function toCampaign(record: CampaignRecord): Campaign {
  return {
    id: record.id,
    name: record.name,
    channel: record.channel,
    startsOn: record.startsOn,
    endsOn: record.endsOn,
    cost: record.cost,
    audience: record.audience,
    references: toReferences(record.referenceTuples),
    version: record.version,
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  };
}

const byIds = statement<CampaignRecord>(
  'campaigns_by_ids',
  sql`select ${campaignColumns} from ${campaigns} where ${campaigns.id} = any(${param('ids')}::uuid[])`,
);

/** Campaigns by id; absent ones are absent. */
export async function campaignsByIds(db: Db, ids: string[]): Promise<Map<string, CampaignRecord>> {
  if (ids.length === 0) return new Map();
  return new Map((await db.all(byIds, { ids })).map((record) => [record.id, record]));
}

export async function campaignById(db: Db, id: string): Promise<CampaignRecord | null> {
  return (await campaignsByIds(db, [id])).get(id) ?? null;
}

const keep = statement<{ id: string }>(
  'keep_campaigns',
  sql`select ${campaigns.id} as id from ${campaigns} where ${campaigns.id} = any(${param('ids')}::uuid[]) order by ${campaigns.id} for key share`,
);

/**
 * Which of these ids are no campaign's. The others cannot be deleted before the transaction ends: the facts that name
 * them can be written. For sets of facts; one statement, and none without ids.
 */
export async function unknownCampaigns(tx: Transaction, ids: readonly string[]): Promise<Set<string>> {
  const unknown = new Set(ids);
  if (unknown.size === 0) return unknown;
  const kept = await tx.elevated((service) => service.all(keep, { ids: [...unknown] }));
  for (const { id } of kept) unknown.delete(id);
  return unknown;
}

const lock = statement(
  'lock_campaigns',
  sql`select from ${campaigns} where ${campaigns.id} = any(${param('ids')}::uuid[]) order by ${campaigns.id} for no key update`,
);
const lockWhole = statement(
  'lock_campaign',
  sql`select from ${campaigns} where ${campaigns.id} = ${param('id')}::uuid for update`,
);

/** Locks campaigns in id order against other writes of them; facts that name them are written all the same. */
export async function lockCampaigns(tx: Transaction, ids: string[]): Promise<void> {
  if (ids.length > 0) await tx.all(lock, { ids });
}

/** Locks one campaign against everything, facts that are about to name it included (see `unknownCampaigns`). */
export async function lockCampaignForDeletion(tx: Transaction, id: string): Promise<void> {
  await tx.all(lockWhole, { id });
}

/** A campaign with its names, as stored: what a write starts from. */
export interface CampaignState {
  row: CampaignRow;
  references: RefRow[];
}

const stateRows = statement<CampaignRow>(
  'campaign_rows',
  sql`select ${fields(campaigns)} from ${campaigns} where ${campaigns.id} = any(${param('ids')}::uuid[])`,
);
const stateRefs = statement<RefRow>(
  'campaign_ref_rows',
  sql`select ${fields(externalRefs)} from ${externalRefs} where ${externalRefs.recordId} = any(${param('ids')}::uuid[]) order by ${externalRefs.position}`,
);

/** The states of locked campaigns. */
export async function campaignStates(tx: Transaction, ids: string[]): Promise<Map<string, CampaignState>> {
  if (ids.length === 0) return new Map();
  const [rows, references] = await Promise.all([tx.all(stateRows, { ids }), tx.all(stateRefs, { ids })]);
  const states = new Map<string, CampaignState>(rows.map((row) => [row.id, { row, references: [] }]));
  for (const ref of references) if (ref.recordId) states.get(ref.recordId)?.references.push(ref);
  return states;
}

const changeable = ['version', 'name', 'channel', 'starts_on', 'ends_on', 'cost', 'audience', 'updated_at'];

const save = statement(
  'save_campaigns',
  sql`${insertRows(campaigns, param('rows'))} on conflict (id) do update set ${sql.join(
    changeable.map((column) => sql`${sql.identifier(column)} = excluded.${sql.identifier(column)}`),
    sql`, `,
  )}`,
);

/** New and changed campaigns, whatever their number, without their names. */
export async function saveCampaigns(tx: Transaction, rows: CampaignRow[]): Promise<void> {
  if (rows.length > 0) await tx.all(save, { rows: JSON.stringify(rows) });
}

const holders = statement<{ interactions: boolean; orders: boolean }>(
  'campaign_holders',
  sql`select exists (select from interactions where campaign_id = ${param('id')}::uuid) as interactions,
    exists (select from orders where campaign_id = ${param('id')}::uuid) as orders`,
);

const remove = statement(
  'delete_campaign',
  sql`with tombstones as (update external_refs set record_id = null, deleted_at = ${param('now')}::timestamptz where record_id = ${param('id')}::uuid)
    delete from campaigns where id = ${param('id')}::uuid`,
);

/**
 * Deletes a campaign that nothing names; its references stay behind as tombstones.
 * @throws Problem campaign_has_records
 */
export async function deleteCampaignRow(tx: Transaction, id: string, now: string): Promise<void> {
  const found = await tx.first(holders, { id });
  const named = Object.entries(found ?? {}).flatMap(([name, held]) => (held ? [name] : []));
  if (named.length > 0) {
    throw new Problem(
      'campaign_has_records',
      `${named.join(' and ')} name the campaign: delete these or change them first.`,
    );
  }
  await tx.all(remove, { id, now });
}
