import { sql } from 'drizzle-orm';
import type { LeadStage } from '../../domain/lead-lifecycle.ts';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { notFound } from '../../platform/errors.ts';
import type { Context } from '../../platform/operation.ts';
import { answered, assignments, fromExcluded } from '../../records/table.ts';
import { scoresOf } from '../lead-scores/queries.ts';
import { type Lead, leadStageChanges, leads, type StageChange, type StageRule } from './record.ts';

export type LeadRow = typeof leads.$inferSelect;
export type StageChangeRow = typeof leadStageChanges.$inferSelect;

/** A lead without what the rules say of it at an instant. */
export type UnscoredLead = Omit<Lead, 'score' | 'grade'>;

/** The select list of a lead. */
export const leadColumns = sql`${leads.customerId} as id, ${answered(leads)}`;

const byIds = statement<UnscoredLead>(
  'leads_by_ids',
  sql`select ${leadColumns} from ${leads} where ${leads.customerId} = any(${param('ids')}::uuid[])`,
);

/** The leads among these customers by id, with their scores at `context.now`. */
export async function leadsByIds(db: Db, context: Context, ids: string[]): Promise<Map<string, Lead>> {
  if (ids.length === 0) return new Map();
  const [rows, scores] = await Promise.all([db.all(byIds, { ids }), scoresOf(db, context, ids)]);
  return new Map(
    rows.flatMap((row) => {
      const score = scores.get(row.id);
      // Without a score it has vanished between the two statements.
      return score ? [[row.id, { ...row, ...score }]] : [];
    }),
  );
}

/** @throws Problem not_found */
export async function leadById(db: Db, context: Context, id: string): Promise<Lead> {
  const found = (await leadsByIds(db, context, [id])).get(id);
  if (!found) throw notFound('lead');
  return found;
}

/** The select list of a stage change. */
export const stageChangeColumns = sql`${leadStageChanges.customerId} as "leadId", ${answered(leadStageChanges)}`;

/** Stage changes of a lead that come with it, at most; the rest is on the pages of its list. */
export const latestChanges = 100;

const changesOf = statement<StageChange>(
  'stage_changes_of_leads',
  sql`select c.* from unnest(${param('ids')}::uuid[]) as wanted(id), lateral (
      select ${stageChangeColumns} from ${leadStageChanges} where ${leadStageChanges.customerId} = wanted.id
      order by ${leadStageChanges.sequence} desc limit ${sql.raw(String(latestChanges))}) c
    order by c."leadId", c.sequence`,
);

/** The latest changes of each of these leads, in the order in which they happened. */
export function stageChangesOf(db: Db, ids: string[]): Promise<StageChange[]> {
  return db.all(changesOf, { ids });
}

/** A customer as far as leads are concerned, read under its lock: what a write starts from. */
export interface LeadState {
  /** null: no lead yet. */
  row: LeadRow | null;
  /** The latest stage change; 0 and nulls: none. */
  sequence: number;
  lastFrom: LeadStage | null;
  lastRule: StageRule | null;
  country: string | null;
  acquisitionSource: string | null;
}

const states = statement<Record<keyof LeadRow, unknown> & Omit<LeadState, 'row'> & { id: string }>(
  'lead_states',
  sql`select customers.id, customers.address->>'country' as country, customers.acquisition_source as "acquisitionSource",
      coalesce(last.sequence, 0) as sequence, last.from_stage as "lastFrom", last.rule as "lastRule", ${fields(leads)}
    from customers left join ${leads} on ${leads.customerId} = customers.id
    left join lateral (select c.sequence, c.from_stage, c.rule from lead_stage_changes c
      where c.customer_id = customers.id order by c.sequence desc limit 1) last on true
    where customers.id = any(${param('ids')}::uuid[])`,
);

/** The states of these locked customers, by id. */
export async function leadStates(tx: Transaction, ids: string[]): Promise<Map<string, LeadState>> {
  if (ids.length === 0) return new Map();
  const rows = await tx.all(states, { ids });
  return new Map(
    rows.map(({ id, sequence, lastFrom, lastRule, country, acquisitionSource, ...row }) => [
      id,
      {
        // All columns of the outer join are null together.
        row: row.customerId === null ? null : (row as LeadRow),
        sequence,
        lastFrom,
        lastRule,
        country,
        acquisitionSource,
      },
    ]),
  );
}

const save = statement(
  'save_leads',
  sql`with saved as (
      ${insertRows(leads, param('rows'))}
      on conflict (customer_id) do update set ${assignments(leads, fromExcluded, ['enteredAt'])}
    )
    ${insertRows(leadStageChanges, param('changes'))}`,
);

/** Writes leads as they are now, and the steps that led there. Their customers are locked. */
export async function saveLeads(tx: Transaction, rows: LeadRow[], changes: StageChangeRow[]): Promise<void> {
  if (rows.length === 0) return;
  for (const { customerId } of rows) tx.auditContext.customerIds.add(customerId);
  await tx.all(save, { rows: JSON.stringify(rows), changes: JSON.stringify(changes) });
}

const remove = statement('delete_lead', sql`delete from ${leads} where ${leads.customerId} = ${param('id')}::uuid`);

/** Deletes a locked customer's lifecycle with its stage history. */
export async function deleteLeadRow(tx: Transaction, id: string): Promise<void> {
  await tx.all(remove, { id });
}
