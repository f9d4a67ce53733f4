import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, runBatch, warning } from '../../platform/batch.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { notFound, Problem } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { personErasedProblem, refuseErased } from '../../records/erased.ts';
import { customerRequired } from '../../records/ownership.ts';
import { type Target, targetId } from '../../records/references/queries.ts';
import { referenceInput, targetParameters } from '../../records/references/record.ts';
import { lockCustomers } from '../customers/queries.ts';
import { recomputeShares } from '../partners/sharing.ts';
import { deleteLeadRow, leadById, leadsByIds as recordsByIds, stageChangeColumns, stageChangesOf } from './queries.ts';
import {
  lead,
  leadAssignment,
  leadDocument,
  leadInput,
  leadPatch,
  leadStage,
  leadStageChanges,
  type StageChange,
  stageChange,
  stageChangeInput,
  stageRule,
} from './record.ts';
import {
  applyChanges,
  changeStage,
  type LeadChange,
  type LeadWrite,
  lockedLead,
  setMembers,
  writeLeads,
} from './write.ts';

export const writtenLead = lead
  .extend({
    created: z.boolean().meta({ description: 'Whether the lead is new.' }),
    applied: z.boolean().meta({ description: 'false: it was like this already, so nothing changed.' }),
    warnings: z.array(warning),
  })
  .meta({ id: 'WrittenLead' });

export const createLead = writeOperation({
  name: 'createLead',
  scope: 'leads:write',
  partners: true,
  selfService: false,
  summary: 'Make a customer a lead',
  description:
    'The customer is matched as for orders, and created if unknown. A customer who is a lead already is refused with `already_exists` and the id. Without `owner`, the assignment rules choose the owner. A customer who has ordered becomes `customer` at once, by the rule `first_qualifying_order`.',
  input: z.strictObject({ ...writeParameters, body: leadInput }),
  output: writtenLead,
  idempotency: 'accepted',
  created: () => true,
  problems: ['already_exists', 'deleted', customerRequired, personErasedProblem],
  run: (tx, context, { body }) => writeOne(tx, context, { mode: 'create', input: body }),
});

export const getLead = readOperation({
  name: 'getLead',
  scope: 'leads:read',
  partners: true,
  selfService: false,
  summary: 'Read a lead',
  description: 'A lead has the id and the references of its customer.',
  input: z.strictObject(targetParameters),
  output: lead,
  problems: ['not_found'],
  run: async (context, target) => leadById(context.db, context, await targetId(context.db, 'customer', target)),
});

/** For the GraphQL loaders: which of these customers are leads, one statement, the others as null. */
export const leadsByIds = readOperation({
  name: 'leadsByIds',
  scope: 'leads:read',
  partners: true,
  selfService: false,
  summary: 'Read leads by id',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(lead.nullable()),
  async run(context, { ids }) {
    const found = await recordsByIds(context.db, context, [...new Set(ids)]);
    return ids.map((leadId) => found.get(leadId) ?? null);
  },
});

export const updateLead = writeOperation({
  name: 'updateLead',
  scope: 'leads:write',
  partners: true,
  selfService: false,
  summary: 'Change a lead',
  description:
    'Omitted members keep their values; null clears: `owner: null` leaves it unassigned, without asking the assignment rules. To change the stage, use POST …/stage. Partner tokens may not change the `segment`, because it decides which customers are shared with them.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion, body: leadPatch }),
  output: writtenLead,
  idempotency: 'accepted',
  problems: ['not_found', 'deleted', 'version_mismatch', 'version_required', personErasedProblem],
  run: (tx, context, { body, expectedVersion: expected, ...target }) =>
    changeOne(tx, context, target, expected, (change) => setMembers(context, change, body)),
});

export const upsertLead = writeOperation({
  name: 'upsertLead',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: "Create or change a lead by its customer's reference",
  description:
    'If omitted, `segment`, `attributes` and `tags` are cleared and `source` becomes the acquisition source of the customer again; `owner`, `stage` and `enteredAt` of an existing lead stay. A `stage` that cannot follow the present one is refused.',
  input: z.strictObject({
    ...referenceInput.shape,
    ...writeParameters,
    expectedVersion: expectedVersion.optional(),
    body: leadDocument,
  }),
  output: writtenLead,
  idempotency: 'accepted',
  created: ({ created }) => created,
  problems: ['version_mismatch', 'deleted', personErasedProblem],
  async run(tx, context, { source, externalId, body: { customer, ...entry }, expectedVersion: expected }) {
    const named = { ...customer, source, externalId };
    try {
      return await writeOne(tx, context, {
        mode: 'upsert',
        input: { ...entry, customer: named },
        expectedVersion: expected,
      });
    } catch (error) {
      throw error instanceof Problem ? inAddress(error) : error;
    }
  },
});

/** What is wrong with the reference is wrong with the address, not with the document. */
function inAddress({ code, message, errors, extra, headers }: Problem): Problem {
  const placed = errors.map((one) =>
    one.pointer === '/customer/externalId' ? { parameter: 'externalId', code: one.code, message: one.message } : one,
  );
  return new Problem(code, message, { errors: placed, extra, headers });
}

export const deleteLead = writeOperation({
  name: 'deleteLead',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: 'End the lifecycle of a customer',
  description: 'Deletes the lead with the history of its stages; the customer stays, and may become a lead again.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'deleted', 'version_mismatch', 'version_required', personErasedProblem],
  async run(tx, _context, { expectedVersion: expected, ...target }) {
    const { row } = await lockLead(tx, target);
    checkVersion(row.version, expected);
    await deleteLeadRow(tx, row.customerId);
    if (row.segment !== null) recomputeShares(tx, [row.customerId]);
    return { id: row.customerId, deleted: true };
  },
});

export const batchLeads = writeOperation({
  name: 'batchLeads',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: 'Push up to 1,000 leads',
  description:
    'Each item is an upsert by its customer, in index order. The status is always 200, with a result per item. An item that changes nothing is `unchanged`.',
  input: batchInput('leads', leadInput),
  output: batchResults,
  idempotency: 'accepted',
  problems: ['batch_refused'],
  run: (tx, context, { body, atomic }) =>
    runBatch(tx, body, leadInput, { plural: 'leads', atomic }, (items) =>
      writeLeads(
        tx,
        context,
        items.map((input): LeadWrite => ({ mode: 'upsert', input })),
      ),
    ),
});

export const changeLeadStage = writeOperation({
  name: 'changeLeadStage',
  scope: 'leads:write',
  partners: true,
  selfService: false,
  summary: 'Move a lead to another stage',
  description:
    'subscriber → lead → marketing_qualified → sales_qualified → customer → former. A lead can move both ways between `lead` and `sales_qualified`, and from any stage to a later one or to `former` (with a `lossReason`). A former lead can be reopened; a customer can only become `former`. `at` may be in the past, but not before the previous change. Sending the present stage changes nothing (`applied: false`). A lead made `customer` by hand stays one, whatever happens to its orders.',
  input: z.strictObject({
    ...targetParameters,
    ...writeParameters,
    expectedVersion: expectedVersion.optional(),
    body: stageChangeInput,
  }),
  output: writtenLead,
  idempotency: 'accepted',
  problems: ['not_found', 'deleted', 'version_mismatch', personErasedProblem],
  run: (tx, context, { body, expectedVersion: expected, ...target }) =>
    changeOne(tx, context, target, expected, (change) => changeStage(context, change, { ...body, pointer: '/to' })),
});

export const assignLead = writeOperation({
  name: 'assignLead',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: 'Assign a lead',
  description:
    'To the `owner` you send, or to the one the assignment rules choose. If no rule has a group for it, its owner stays. Every change is in the history of assignments.',
  input: z.strictObject({
    ...targetParameters,
    ...writeParameters,
    expectedVersion: expectedVersion.optional(),
    body: leadAssignment,
  }),
  output: writtenLead,
  idempotency: 'accepted',
  problems: ['not_found', 'deleted', 'version_mismatch', personErasedProblem],
  run: (tx, context, { body: { owner }, expectedVersion: expected, ...target }) =>
    changeOne(tx, context, target, expected, (change) =>
      owner === undefined ? { ...change, unassigned: true } : setMembers(context, change, { owner }),
    ),
});

const changeList = keysetList<StageChange>({
  name: 'lead_stage_changes',
  select: stageChangeColumns,
  from: sql`${leadStageChanges}`,
  id: sql`${leadStageChanges.id}`,
  owner: sql`${leadStageChanges.customerId}`,
  filters: {
    leadId: (value) => sql`${leadStageChanges.customerId} = ${value}::uuid`,
    from: (value) => sql`${leadStageChanges.from} = ${value}`,
    to: (value) => sql`${leadStageChanges.to} = ${value}`,
    rule: (value) => sql`${leadStageChanges.rule} = ${value}`,
    atFrom: (value) => sql`${leadStageChanges.at} >= ${value}::timestamptz`,
    atTo: (value) => sql`${leadStageChanges.at} < ${value}::timestamptz`,
  },
  sorts: {
    at: { expression: sql`${leadStageChanges.at}`, type: 'timestamptz', field: 'at' },
    sequence: { expression: sql`${leadStageChanges.sequence}`, type: 'int', field: 'sequence' },
  },
  defaultSort: '-at',
});

const changePage = pageOf(stageChange).meta({ id: 'StageChangePage' });

export const listLeadStages = readOperation({
  name: 'listLeadStages',
  scope: 'leads:read',
  partners: true,
  selfService: false,
  summary: "List a lead's changes of stage",
  description: 'The first entry is the initial stage.',
  input: z.strictObject({ ...targetParameters, ...pageParameters, sort: sortParameter(['sequence'], 'sequence') }),
  output: changePage,
  problems: ['not_found'],
  async run(context, { id: customerId, source, externalId, sort = 'sequence', ...page }) {
    const leadId = await targetId(context.db, 'customer', { id: customerId, source, externalId });
    const found = await changeList(context.db, context, { ...page, sort, leadId });
    // Every lead has a beginning.
    if (found.data.length === 0) await leadById(context.db, context, leadId);
    return found;
  },
});

export const listLeadStageChanges = readOperation({
  name: 'listLeadStageChanges',
  scope: 'leads:read',
  partners: true,
  selfService: false,
  summary: 'List changes of stage of all leads',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['at'], '-at'),
    from: leadStage.optional().meta({ description: 'The previous stage.' }),
    to: leadStage.optional().meta({ description: 'The new stage.' }),
    rule: stageRule.optional(),
    atFrom: instant.optional(),
    atTo: instant.optional(),
  }),
  output: changePage,
  run: (context, input) => changeList(context.db, context, input),
});

/** For the GraphQL loaders: the latest changes of each of a set of leads, one statement. */
export const stagesByLeads = readOperation({
  name: 'stagesByLeads',
  scope: 'leads:read',
  partners: true,
  selfService: false,
  summary: 'Read the changes of stage of leads',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(z.array(stageChange)),
  async run({ db }, { ids }) {
    const found = new Map<string, StageChange[]>(ids.map((leadId) => [leadId, []]));
    for (const row of await stageChangesOf(db, [...found.keys()])) found.get(row.leadId)?.push(row);
    return ids.map((leadId) => found.get(leadId) ?? []);
  },
});

/** The lead a request means, its customer locked, read under the lock. */
async function lockLead(tx: Transaction, target: Target): Promise<LeadChange> {
  const leadId = await targetId(tx, 'customer', target, { toWrite: true });
  await lockCustomers(tx, [leadId]);
  refuseErased(tx, leadId);
  const change = await lockedLead(tx, leadId);
  if (!change) throw notFound('lead');
  return change;
}

/** One lead that is known: `plan` says what is to become of it. */
async function changeOne(
  tx: Transaction,
  context: Context,
  target: Target,
  expected: number | '*' | undefined,
  plan: (change: LeadChange) => LeadChange,
): Promise<z.output<typeof writtenLead>> {
  const change = await lockLead(tx, target);
  if (expected !== undefined) checkVersion(change.row.version, expected);
  const planned = plan(change);
  if (planned !== change) await applyChanges(tx, context, [planned]);
  return readBack(tx, context, change.row.customerId, {
    created: false,
    applied: planned.row.version !== change.row.version,
    warnings: [],
  });
}

async function writeOne(tx: Transaction, context: Context, write: LeadWrite): Promise<z.output<typeof writtenLead>> {
  const [result] = await writeLeads(tx, context, [write]);
  if (result === undefined || result instanceof Problem) throw result ?? notFound('lead');
  const { id: leadId, created, applied, warnings = [] } = result;
  return readBack(tx, context, leadId, { created, applied, warnings });
}

async function readBack(
  tx: Transaction,
  context: Context,
  leadId: string,
  outcome: Pick<z.output<typeof writtenLead>, 'created' | 'applied' | 'warnings'>,
): Promise<z.output<typeof writtenLead>> {
  return { ...(await leadById(tx, context, leadId)), ...outcome };
}
