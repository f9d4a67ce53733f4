import { isDeepStrictEqual } from 'node:util';
import { sql } from 'drizzle-orm';
import { mergeHistories } from '../../domain/merged-history.ts';
import { isBefore } from '../../domain/period.ts';
import { insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import type { Columns } from '../../records/catalog.ts';
import { joinedCustom } from '../../records/custom-fields.ts';
import { keptRows, madeRow, restoreRows } from '../../records/kept-rows.ts';
import { insertUnder } from '../../records/merge.ts';
import { jointStamps, nextStamps } from '../../records/stamps.ts';
import { updateRows } from '../../records/table.ts';
import { recomputeLeads } from '../leads/comparison.ts';
import { leadStageChanges, leads } from '../leads/record.ts';
import { type Renumbered, renameOccasions } from './occasions.ts';
import type { LeadRow, Party, StageRow } from './queries.ts';
import { customerMerges } from './record.ts';

/*
 * Two leads: the lifecycle of the survivor goes on (with `take: lead_stage`, that of the other), and its steps keep their
 * times. The steps of the one that ended are put between them in the order of their times, dated back to the last step of
 * the other where they are later; so the stage, its date and the conversion are those of the lifecycle that goes on. That
 * the record was lost as a `duplicate` was a decision about the record: it gets the rule `merge`, and does not count as
 * the loss of a lead. One lead: it is the survivor's, as it is. Conversions by orders are recomputed after it.
 */

const clear = statement(
  'clear_leads',
  sql`with others as (delete from leads where customer_id = any(${param('gone')}::uuid[]))
    delete from lead_stage_changes where customer_id = any(${param('cleared')}::uuid[])`,
);

const open = (columns: Columns) =>
  statement(
    'open_merged_lead',
    sql`with lead as materialized (select * from leads where customer_id = ${param('from')}::uuid)
      ${insertUnder(leads, 'lead', columns)} on conflict (customer_id) do nothing`,
    { unprepared: true },
  );
const save = statement('save_merged_leads', updateRows(leads, param('rows'), { createdAt: true }));
const saveSteps = statement('save_merged_stages', insertRows(leadStageChanges, param('rows')));

interface Lifecycle {
  lead: LeadRow;
  steps: StageRow[];
}

/** Writes these lifecycles in place of all that these locked customers have, whose leads are there; occasions of invitations follow. */
async function rewrite(tx: Transaction, ids: string[], before: StageRow[], lifecycles: Lifecycle[]): Promise<void> {
  const stay = lifecycles.map(({ lead }) => lead.customerId);
  await tx.all(clear, { gone: ids.filter((id) => !stay.includes(id)), cleared: ids });
  const steps = lifecycles.flatMap(({ lead, steps: own }) =>
    own.map((step, index) => ({ ...step, customerId: lead.customerId, sequence: index + 1 })),
  );
  if (lifecycles.length > 0) {
    await tx.all(save, { rows: JSON.stringify(lifecycles.map(({ lead }) => lead)) });
    await tx.all(saveSteps, { rows: JSON.stringify(steps) });
  }
  const places = new Map(steps.map(({ id, customerId, sequence }) => [id, `${customerId}:${sequence}`]));
  const changes = before.flatMap(({ id, customerId, sequence }): Renumbered[] => {
    const to = places.get(id);
    return to === undefined ? [] : [{ from: `${customerId}:${sequence}`, to }];
  });
  await renameOccasions(tx, ids, changes);
}

const wasUndone = (step: StageRow) => step.rule === 'no_qualifying_order_left';

/** @param members owner, source and segment, as they were decided */
export async function mergeLeads(
  tx: Transaction,
  { now, columns }: { now: string; columns: Columns },
  { survivor, other }: { survivor: Party; other: Party },
  members: Pick<LeadRow, 'owner' | 'source' | 'segment'>,
  othersGoesOn: boolean,
): Promise<void> {
  if (!other.lead) return;
  const customerId = survivor.row.id;
  const ids = [customerId, other.row.id];
  const before = [...survivor.stages, ...other.stages];
  const both = survivor.lead !== null;
  const [main, side] = othersGoesOn || !both ? [other, survivor] : [survivor, other];
  const lead: LeadRow = {
    ...(main.lead ?? other.lead),
    ...members,
    ...joinedCustom(survivor.lead, other.lead),
    customerId,
    createdAt: (survivor.lead ?? other.lead).createdAt,
    ...jointStamps([other.lead, ...(survivor.lead ? [survivor.lead] : [])], now),
  };
  if (side.lead && isBefore(side.lead.enteredAt, lead.enteredAt)) lead.enteredAt = side.lead.enteredAt;
  const ended = side.stages.map((step) =>
    step.to === 'former' && step.lossReason === 'duplicate' && step.rule === null
      ? { ...step, rule: 'merge' as const }
      : step,
  );
  const steps = mergeHistories(main.stages, ended, main.stages.length - 1, wasUndone);
  await tx.all(open(columns), { from: other.row.id, to: customerId, now });
  await rewrite(tx, ids, before, [{ lead, steps }]);
  if (both) await recomputeLeads(tx, [customerId]);
}

const keptLeads = keptRows<LeadRow>(customerMerges, leads);
const madeLead = madeRow<LeadRow>(customerMerges, leads);
const keptSteps = keptRows<StageRow>(customerMerges, leadStageChanges);

interface Unmerging {
  mergeId: string;
  survivor: Party;
  otherId: string;
  columns: Columns;
  now: string;
}

/**
 * Each has its own lead again, as it was; what happened since is the survivor's, or the other's where only that one had a
 * lead.
 * @returns `kept`: steps since the merge that nothing tells apart; `exact`: whose lead is exactly as it was
 */
export async function unmergeLeads(
  tx: Transaction,
  { mergeId, survivor, otherId, columns, now: at }: Unmerging,
): Promise<{ kept: number; exact: string[] }> {
  const [leadRows, stepRows, made] = await Promise.all([
    tx.all(keptLeads, { mergeId }),
    tx.all(keptSteps, { mergeId }),
    tx.first(madeLead, { mergeId }),
  ]);
  const customerId = survivor.row.id;
  const of = (id: string) => {
    const lead = leadRows.find((row) => row.customerId === id);
    return (
      lead && { lead, steps: stepRows.filter((row) => row.customerId === id).sort((a, b) => a.sequence - b.sequence) }
    );
  };
  const own = of(customerId);
  const others = of(otherId);
  // Nothing was merged: the lead is where it was, or was begun since.
  if (!others) return { kept: 0, exact: survivor.lead?.version === made?.version ? [customerId] : [] };
  const known = new Set(stepRows.map(({ id }) => id));
  const since = survivor.stages.filter(({ id }) => !known.has(id));
  const now = survivor.lead;
  const untouched = now !== null && now.version === made?.version;
  const lifecycles: Lifecycle[] = [];
  const exact: string[] = [];
  // Where it was deleted since, both are gone.
  if (now && (untouched || own)) {
    lifecycles.push({ ...others, lead: { ...others.lead, ...jointStamps([now, others.lead], at) } });
    exact.push(otherId);
  }
  if (now && untouched && own) {
    lifecycles.push({ ...own, lead: { ...own.lead, ...nextStamps(now, at) } });
    exact.push(customerId);
  } else if (now && own) {
    const lead = { ...now, enteredAt: own.lead.enteredAt, ...nextStamps(now, at) };
    // What was given since stays; a stage without a step of its own is that of the steps.
    for (const member of ['owner', 'source', 'segment', 'attributes', 'tags'] as const) {
      if (isDeepStrictEqual(lead[member], made?.[member])) Object.assign(lead, { [member]: own.lead[member] });
    }
    lifecycles.push({
      lead: since.length > 0 ? lead : { ...lead, ...stageOf(own.lead) },
      steps: [...own.steps, ...since],
    });
  } else if (now && !untouched) {
    const lead = { ...now, customerId: otherId, ...nextStamps(now, at) };
    lifecycles.push({ lead, steps: [...others.steps, ...since] });
  }
  if (lifecycles.length > 0) {
    await restoreRows(tx, customerMerges, leads, { mergeId, ids: [otherId], columns, now: at });
  }
  await rewrite(tx, [customerId, otherId], survivor.stages, lifecycles);
  const rewritten = lifecycles.map(({ lead }) => lead.customerId);
  if (!untouched && rewritten.length > 0) await recomputeLeads(tx, rewritten);
  return { kept: own && !untouched ? since.length : 0, exact };
}

function stageOf({ stage, stageSince, lossReason, convertedAt, conversionOrderId }: LeadRow) {
  return { stage, stageSince, lossReason, convertedAt, conversionOrderId };
}
