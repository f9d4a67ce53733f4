import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { param, Retry, type Transaction } from '../../platform/db/client.ts';
import { invalid, notFound } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant, text } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { customList } from '../../records/custom-fields.ts';
import { personErasedProblem, refuseErased } from '../../records/erased.ts';
import { withoutPersonal } from '../../records/personal-data.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { nextStamps } from '../../records/stamps.ts';
import { answered, answeredMembers, sentMembers } from '../../records/table.ts';
import { chooseOwners, recordAssignments } from '../assignments/assign.ts';
import { subjectsOf } from '../assignments/queries.ts';
import { customerById, lockCustomers } from '../customers/queries.ts';
import { surveyResponses } from '../survey-responses/record.ts';
import {
  deleteFollowUpRow,
  followUpById,
  followUpsOfCustomers,
  insertFollowUps,
  updateFollowUpRow,
} from './queries.ts';
import {
  dueOrder,
  type FollowUp,
  type FollowUpPatch,
  type FollowUpRow,
  followUp,
  followUpFields,
  followUpInput,
  followUpKind,
  followUpMembers,
  followUpPatch,
  followUpStatus,
  followUps,
} from './record.ts';

export const createFollowUp = writeOperation({
  name: 'createFollowUp',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: 'Open a follow-up of a customer',
  description:
    'A retention event: the customer wants to leave. A prevention event: an early warning, before the customer wants to leave. A detractor: gave a survey a low score (these are opened by the response itself, if the survey says so). Without `owner`, the assignment rules of its kind choose the owner; `owner: null` leaves it unassigned.',
  input: z.strictObject({ ...writeParameters, body: followUpInput }),
  output: followUp,
  idempotency: 'accepted',
  created: () => true,
  problems: [personErasedProblem],
  async run(tx, context, { body }) {
    const locked = await lockCustomers(tx, [body.customerId]);
    if (!locked.has(body.customerId)) throw invalid('/customerId', 'not_found', 'There is no such customer.');
    refuseErased(tx, body.customerId, '/customerId');
    const [chosen = null] =
      body.owner === undefined ? await chooseOwners(tx, body.kind, await subjectsOf(tx, [body.customerId])) : [];
    const given = sentMembers(followUpMembers, body, null);
    const row: FollowUpRow = {
      customerId: body.customerId,
      id: newId(),
      version: 1,
      kind: body.kind,
      ...given,
      owner: chosen?.owner ?? given.owner,
      responseId: null,
      status: 'open',
      outcome: null,
      closedAt: null,
      createdAt: context.now,
      updatedAt: context.now,
    };
    await insertFollowUps(tx, [row]);
    await recordAssignments(tx, context, [
      {
        customerId: row.customerId,
        purpose: row.kind,
        followUpId: row.id,
        owner: row.owner,
        previousOwner: null,
        chosen,
      },
    ]);
    return answeredMembers(followUpFields, row);
  },
});

export const getFollowUp = readOperation({
  name: 'getFollowUp',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Read a follow-up',
  input: z.strictObject({ id }),
  output: followUp,
  problems: ['not_found'],
  async run({ db }, { id: followUpId }) {
    const found = await followUpById(db, followUpId);
    if (!found) throw notFound('follow-up');
    return answeredMembers(followUpFields, found);
  },
});

const custom = customList(followUps);

const list = keysetList<FollowUp & { dueOrder: string }>({
  name: 'follow_ups',
  select: sql`${answered(followUps)}, ${dueOrder} as "dueOrder"`,
  from: sql`${followUps}`,
  id: sql`${followUps.id}`,
  filters: {
    customerId: (value) => sql`${followUps.customerId} = ${value}::uuid`,
    kind: (value) => sql`${followUps.kind} = ${value}`,
    status: (value) => sql`${followUps.status} = ${value}`,
    // Through the response's customer, who is in front in the index.
    responseId: (value) =>
      sql`${followUps.responseId} = ${value}::uuid and ${followUps.customerId} = (select r.customer_id from ${surveyResponses} r where r.id = ${value}::uuid)`,
    owner: (value) => sql`${followUps.owner} = ${value}`,
    dueFrom: (value) => sql`${followUps.dueAt} >= ${value}::timestamptz`,
    dueTo: (value) => sql`${followUps.dueAt} < ${value}::timestamptz`,
    // Two filters of the statement for one of the list: only a condition without a parameter is seen by an index.
    isOverdue: () => sql`${followUps.status} = 'open' and ${dueOrder} < ${param('$now')}::timestamptz`,
    isNotOverdue: () => sql`not (${followUps.status} = 'open' and ${dueOrder} < ${param('$now')}::timestamptz)`,
    ...custom.filters,
  },
  uneven: custom.uneven,
  normalize: custom.normalize,
  sorts: {
    createdAt: { expression: sql`${followUps.createdAt}`, type: 'timestamptz', field: 'createdAt' },
    dueAt: { expression: dueOrder, type: 'timestamptz', field: 'dueOrder' },
  },
  defaultSort: '-createdAt',
});

const listFilters = {
  ...pageParameters,
  sort: sortParameter(['createdAt', 'dueAt'], '-createdAt'),
  kind: followUpKind.optional(),
  status: followUpStatus.optional(),
  responseId: id.optional().meta({ description: 'The survey response that opened it.' }),
  owner: text(200).optional().meta({ description: 'The owner.', example: 'maria' }),
  dueFrom: instant.optional(),
  dueTo: instant.optional(),
  overdue: z
    .boolean()
    .optional()
    .meta({ description: 'Only overdue follow-ups (open and past their due date), or only the others.' }),
  ...custom.parameters,
};
const followUpPage = pageOf(followUp).meta({ id: 'FollowUpPage' });

async function pageOfFollowUps(
  context: Context,
  { overdue, ...input }: { overdue?: boolean | undefined; customerId?: string | undefined },
): Promise<z.output<typeof followUpPage>> {
  const { data, page } = await list(context.db, context, {
    ...input,
    ...(overdue !== undefined && { [overdue ? 'isOverdue' : 'isNotOverdue']: true }),
  });
  return { data: data.map(({ dueOrder: _, ...row }) => row), page };
}

export const listFollowUps = readOperation({
  name: 'listFollowUps',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'List follow-ups',
  description: 'Sorted by `dueAt`; follow-ups without a due date come last (`-dueAt`: first).',
  input: z.strictObject({ ...listFilters, customerId: id.optional() }),
  output: followUpPage,
  personalParameters: custom.personalParameters,
  run: pageOfFollowUps,
});

export const listCustomerFollowUps = readOperation({
  name: 'listCustomerFollowUps',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: "List a customer's follow-ups",
  input: z.strictObject({ ...targetParameters, ...listFilters }),
  output: followUpPage,
  personalParameters: custom.personalParameters,
  problems: ['not_found'],
  async run(context, { id: customerId, source, externalId, ...filter }) {
    const owner = await targetId(context.db, 'customer', { id: customerId, source, externalId });
    const found = await pageOfFollowUps(context, { ...filter, customerId: owner });
    // An empty page says the customer has none, so there has to be such a customer.
    if (found.data.length === 0 && !(await customerById(context.db, owner))) throw notFound('customer');
    return found;
  },
});

/** For the GraphQL loaders: the follow-ups of each of a set of customers, one statement. */
export const followUpsByCustomers = readOperation({
  name: 'followUpsByCustomers',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Read the follow-ups of customers',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(z.array(followUp)),
  async run({ db }, { ids }) {
    const found = new Map<string, FollowUp[]>(ids.map((customerId) => [customerId, []]));
    for (const row of await followUpsOfCustomers(db, ids)) found.get(row.customerId)?.push(row);
    return ids.map((customerId) => found.get(customerId) ?? []);
  },
});

export const updateFollowUp = writeOperation({
  name: 'updateFollowUp',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: 'Change or close a follow-up',
  description:
    'Omitted members keep their values; null clears. The status `done` needs an `outcome`; no other status has one. Reopening clears `outcome` and `closedAt`. Changes of the owner are in the history of assignments.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion, body: followUpPatch }),
  output: followUp,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { id: followUpId, expectedVersion: expected, body }) {
    const before = await lockFollowUp(tx, followUpId);
    checkVersion(before.version, expected);
    const row = withoutPersonal<FollowUpRow>(tx, followUps, {
      ...before,
      ...sentMembers(followUpMembers, body, before),
      ...closing(before, body, context.now),
      ...nextStamps(before, context.now),
    });
    await updateFollowUpRow(tx, row);
    await recordAssignments(tx, context, [
      {
        customerId: row.customerId,
        purpose: row.kind,
        followUpId: row.id,
        owner: row.owner,
        previousOwner: before.owner,
        chosen: null,
      },
    ]);
    return answeredMembers(followUpFields, row);
  },
});

export const deleteFollowUp = writeOperation({
  name: 'deleteFollowUp',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: 'Delete a follow-up',
  description: 'For a follow-up that was opened by mistake; cancel one that came to nothing. The history stays.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: followUpId, expectedVersion: expected }) {
    const found = await lockFollowUp(tx, followUpId);
    checkVersion(found.version, expected);
    await deleteFollowUpRow(tx, found);
    return { id: followUpId, deleted: true };
  },
});

/** A follow-up as it is, under its customer's lock. @throws Problem not_found */
async function lockFollowUp(tx: Transaction, followUpId: string): Promise<FollowUpRow> {
  const seen = await followUpById(tx, followUpId);
  if (!seen) throw notFound('follow-up');
  await lockCustomers(tx, [seen.customerId]);
  const found = await followUpById(tx, followUpId);
  if (found?.customerId !== seen.customerId) throw new Retry('a follow-up moved or vanished');
  return found;
}

/** How it is closed after a change; the time is that of the first closing since it was open. @throws Problem */
function closing(
  before: FollowUp,
  patch: FollowUpPatch,
  now: string,
): Pick<FollowUp, 'status' | 'outcome' | 'closedAt'> {
  const status = patch.status ?? before.status;
  if (status !== 'done') {
    if (patch.outcome) throw invalid('/outcome', 'not_done', 'Only a follow-up with the status done has an outcome.');
    return { status, outcome: null, closedAt: status === 'open' ? null : (before.closedAt ?? now) };
  }
  const outcome = patch.outcome === undefined ? before.outcome : patch.outcome;
  if (outcome === null) throw invalid('/outcome', 'required', 'An outcome is required with the status done.');
  return { status, outcome, closedAt: before.closedAt ?? now };
}
