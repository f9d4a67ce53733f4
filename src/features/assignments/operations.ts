import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { type FieldError, notFound, Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import {
  type Context,
  personalScope,
  readOperation,
  requireScope,
  writeOperation,
  writeParameters,
} from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant, text } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { nextStamps } from '../../records/stamps.ts';
import { answered, answeredMembers, sentMembers } from '../../records/table.ts';
import { leadById } from '../leads/queries.ts';
import { assignmentsOfLeads, deleteRule, insertRule, lockRule, ruleById, updateRule } from './queries.ts';
import {
  type Assignment,
  type AssignmentRule,
  type AssignmentRuleRow,
  assignment,
  assignmentPurpose,
  assignmentRule,
  assignmentRuleInput,
  assignmentRulePatch,
  assignmentRules,
  assignments,
  ruleFields,
  ruleMembers,
} from './record.ts';

export const createAssignmentRule = writeOperation({
  name: 'createAssignmentRule',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: 'Add an assignment rule',
  description:
    'Decides who gets new leads or follow-ups without an owner. Active rules of the purpose are tried by `position`, then by age; the first that has a group for the value of its key decides, and the group whose value is null takes all other values. `round_robin` takes turns per group; `least_loaded` takes whoever has the fewest open leads and follow-ups, on a tie the first in the list. The key `country` also needs `customers:pii`, because the choice reveals the country.',
  input: z.strictObject({ ...writeParameters, body: assignmentRuleInput }),
  output: assignmentRule,
  idempotency: 'accepted',
  created: () => true,
  async run(tx, context, { body }) {
    const row: AssignmentRuleRow = {
      id: newId(),
      version: 1,
      ...sentMembers(ruleMembers, body, null),
      createdAt: context.now,
      updatedAt: context.now,
    };
    checkKey(context, row);
    checkGroups(row);
    await insertRule(tx, row);
    return answeredMembers(ruleFields, row);
  },
});

/** An address is personal: whoever makes a group per country would read it off the owners. @throws Problem */
function checkKey(context: Context, { key }: AssignmentRuleRow): void {
  if (key === 'country') requireScope(context, personalScope);
}

export const getAssignmentRule = readOperation({
  name: 'getAssignmentRule',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Read an assignment rule',
  input: z.strictObject({ id }),
  output: assignmentRule,
  problems: ['not_found'],
  async run({ db }, { id: ruleId }) {
    const found = await ruleById(db, ruleId);
    if (!found) throw notFound('assignment rule');
    return answeredMembers(ruleFields, found);
  },
});

const ruleList = keysetList<AssignmentRule>({
  name: 'assignment_rules',
  select: answered(assignmentRules),
  from: sql`${assignmentRules}`,
  id: sql`${assignmentRules.id}`,
  filters: {
    purpose: (value) => sql`${assignmentRules.purpose} = ${value}`,
    active: (value) => sql`${assignmentRules.active} = ${value}::boolean`,
  },
  sorts: {
    position: { expression: sql`${assignmentRules.position}`, type: 'int', field: 'position' },
    createdAt: { expression: sql`${assignmentRules.createdAt}`, type: 'timestamptz', field: 'createdAt' },
  },
  defaultSort: 'position',
});

export const listAssignmentRules = readOperation({
  name: 'listAssignmentRules',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'List assignment rules',
  description: 'Default order: the order in which they are tried.',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['position', 'createdAt'], 'position'),
    purpose: assignmentPurpose.optional(),
    active: z.boolean().optional().meta({ description: 'Only active rules, or only inactive ones.' }),
  }),
  output: pageOf(assignmentRule).meta({ id: 'AssignmentRulePage' }),
  run: (context, input) => ruleList(context.db, context, input),
});

export const updateAssignmentRule = writeOperation({
  name: 'updateAssignmentRule',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: 'Change an assignment rule',
  description:
    'Omitted members keep their values; `groups` are replaced as a whole. A group with the same members in the same order keeps its turn; a different list starts from the beginning.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion, body: assignmentRulePatch }),
  output: assignmentRule,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { id: ruleId, expectedVersion: expected, body }) {
    const before = await lockRule(tx, ruleId);
    if (!before) throw notFound('assignment rule');
    checkVersion(before.version, expected);
    const row: AssignmentRuleRow = {
      ...before,
      ...sentMembers(ruleMembers, body, before),
      ...nextStamps(before, context.now),
    };
    if (body.key !== undefined || body.groups !== undefined) checkKey(context, row);
    checkGroups(row);
    await updateRule(tx, row);
    return answeredMembers(ruleFields, row);
  },
});

export const deleteAssignmentRule = writeOperation({
  name: 'deleteAssignmentRule',
  scope: 'leads:write',
  partners: false,
  selfService: false,
  summary: 'Delete an assignment rule',
  description: 'Earlier assignments stay, and so does their history.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: ruleId, expectedVersion: expected }) {
    const found = await lockRule(tx, ruleId);
    if (!found) throw notFound('assignment rule');
    checkVersion(found.version, expected);
    await deleteRule(tx, ruleId);
    return { id: ruleId, deleted: true };
  },
});

/** @throws Problem invalid_input, with every fault of the groups */
function checkGroups({ key, groups }: Pick<AssignmentRuleRow, 'key' | 'groups'>): void {
  const errors: FieldError[] = [];
  if (key === null && (groups.length !== 1 || groups[0]?.value !== null)) {
    errors.push({
      pointer: '/groups',
      code: 'one_group_without_key',
      message: 'A rule without a key must have exactly one group, and its value must be null.',
    });
  }
  const values = new Set<string | null>();
  for (const [index, { value, members }] of groups.entries()) {
    if (values.has(value)) {
      errors.push({ pointer: `/groups/${index}/value`, code: 'duplicate', message: 'Another group has this value.' });
    }
    values.add(value);
    const seen = new Set<string>();
    for (const [place, member] of members.entries()) {
      if (seen.has(member)) {
        errors.push({
          pointer: `/groups/${index}/members/${place}`,
          code: 'duplicate',
          message: 'The group has this member already.',
        });
      }
      seen.add(member);
    }
  }
  const [first] = errors;
  if (first) {
    throw new Problem('invalid_input', `${first.pointer}: ${first.message}`, { errors: errors.slice(0, 100) });
  }
}

const history = keysetList<Assignment>({
  name: 'assignments',
  select: answered(assignments),
  from: sql`${assignments}`,
  id: sql`${assignments.id}`,
  filters: {
    customerId: (value) => sql`${assignments.customerId} = ${value}::uuid`,
    purpose: (value) => sql`${assignments.purpose} = ${value}`,
    owner: (value) => sql`${assignments.owner} = ${value}`,
    ruleId: (value) => sql`${assignments.ruleId} = ${value}::uuid`,
    atFrom: (value) => sql`${assignments.at} >= ${value}::timestamptz`,
    atTo: (value) => sql`${assignments.at} < ${value}::timestamptz`,
  },
  sorts: { at: { expression: sql`${assignments.at}`, type: 'timestamptz', field: 'at' } },
  defaultSort: '-at',
});

const assignmentPage = pageOf(assignment).meta({ id: 'AssignmentPage' });

export const listAssignments = readOperation({
  name: 'listAssignments',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'List assignments',
  description: 'Every change of the owner of a lead or follow-up, by a rule or by hand. Entries are never removed.',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['at'], '-at'),
    customerId: id.optional(),
    purpose: assignmentPurpose.optional(),
    owner: text(200).optional().meta({ description: 'The new owner.', example: 'maria' }),
    ruleId: id.optional(),
    atFrom: instant.optional(),
    atTo: instant.optional(),
  }),
  output: assignmentPage,
  run: (context, input) => history(context.db, context, input),
});

export const listLeadAssignments = readOperation({
  name: 'listLeadAssignments',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'List the assignments of a lead',
  description: 'Assignments of the lead itself; those of follow-ups are in the list of all assignments.',
  input: z.strictObject({ ...targetParameters, ...pageParameters, sort: sortParameter(['at'], '-at') }),
  output: assignmentPage,
  problems: ['not_found'],
  async run(context, { id: customerId, source, externalId, ...page }) {
    const leadId = await targetId(context.db, 'customer', { id: customerId, source, externalId });
    const found = await history(context.db, context, { ...page, customerId: leadId, purpose: 'lead' });
    // An empty page says the lead was given to nobody, so there has to be such a lead.
    if (found.data.length === 0) await leadById(context.db, context, leadId);
    return found;
  },
});

/** For the GraphQL loaders: who each of a set of leads was given to, one statement. */
export const assignmentsByLeads = readOperation({
  name: 'assignmentsByLeads',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Read the assignments of leads',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(z.array(assignment)),
  async run({ db }, { ids }) {
    const found = new Map<string, Assignment[]>(ids.map((leadId) => [leadId, []]));
    for (const row of await assignmentsOfLeads(db, ids)) found.get(row.customerId)?.push(row);
    return ids.map((leadId) => found.get(leadId) ?? []);
  },
});
