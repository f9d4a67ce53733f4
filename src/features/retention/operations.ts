import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { invalid, notFound } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { nextStamps } from '../../records/stamps.ts';
import { answered, answeredMembers, sentMembers } from '../../records/table.ts';
import { newRun, startRuns } from './apply.ts';
import { kinds, type RetentionKind } from './kinds.ts';
import { deleteRule, getRule, getRun, insertRule, lockRule, matching, type RuleRow, updateRule } from './queries.ts';
import {
  type RetentionConditions,
  type RetentionRun,
  requestedRetentionRun,
  type retentionConditionsInput,
  retentionKind,
  retentionRule,
  retentionRuleInput,
  retentionRulePatch,
  retentionRules,
  retentionRun,
  retentionRunStatus,
  retentionRuns,
  ruleFields,
  runFields,
} from './record.ts';

const guarded = { partners: false, selfService: false };

export const createRetentionRule = writeOperation({
  name: 'createRetentionRule',
  scope: 'retention:write',
  ...guarded,
  summary: 'Add a retention rule',
  description:
    'A rule removes data that is older than its limit, every night while it is `enabled`. No rule changes a metric: records stay, without the person. Apply it with a dry run first, to see what it would remove.',
  input: z.strictObject({ ...writeParameters, body: retentionRuleInput }),
  output: retentionRule,
  idempotency: 'accepted',
  created: () => true,
  async run(tx, { now }, { body }) {
    const row: RuleRow = {
      id: newId(),
      version: 1,
      ...sentMembers(ruleFields, body, null),
      conditions: conditionsFrom(body.kind, body.conditions ?? {}),
      lastRunAt: null,
      createdAt: now,
      updatedAt: now,
    };
    await insertRule(tx, row);
    return answeredMembers(ruleFields, row);
  },
});

/** @throws Problem when a condition does not go with the kind */
function conditionsFrom(kind: RetentionKind, given: z.output<typeof retentionConditionsInput>): RetentionConditions {
  for (const [name, value] of Object.entries(given)) {
    const known: readonly string[] = kinds[kind].conditions;
    if (value !== null && value !== undefined && !known.includes(name)) {
      throw invalid(
        `/conditions/${name}`,
        'not_applicable',
        `${name} is not allowed in rules of ${kind}. Leave it out.`,
      );
    }
  }
  return {
    customerKind: given.customerKind ?? null,
    keepConsented: given.keepConsented ?? true,
    channel: given.channel ?? null,
    surveyId: given.surveyId ?? null,
  };
}

export const getRetentionRule = readOperation({
  name: 'getRetentionRule',
  scope: 'retention:read',
  ...guarded,
  summary: 'Read a retention rule',
  input: z.strictObject({ id }),
  output: retentionRule,
  problems: ['not_found'],
  async run({ db }, { id: ruleId }) {
    const found = await getRule(db, ruleId);
    if (!found) throw notFound('retention rule');
    return answeredMembers(ruleFields, found);
  },
});

const rules = keysetList<RuleRow>({
  name: 'retention_rules',
  select: answered(retentionRules),
  from: sql`${retentionRules}`,
  id: sql`${retentionRules.id}`,
  filters: {
    kind: (value) => sql`${retentionRules.kind} = ${value}`,
    enabled: (value) => sql`${retentionRules.enabled} = ${value}::boolean`,
  },
  sorts: { createdAt: { expression: sql`${retentionRules.createdAt}`, type: 'timestamptz', field: 'createdAt' } },
  defaultSort: '-createdAt',
});

export const listRetentionRules = readOperation({
  name: 'listRetentionRules',
  scope: 'retention:read',
  ...guarded,
  summary: 'List retention rules',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt'], '-createdAt'),
    kind: retentionKind.optional(),
    enabled: z.boolean().optional(),
  }),
  output: pageOf(retentionRule).meta({ id: 'RetentionRulePage' }),
  run: (context, input) => rules(context.db, context, input),
});

export const updateRetentionRule = writeOperation({
  name: 'updateRetentionRule',
  scope: 'retention:write',
  ...guarded,
  summary: 'Change a retention rule',
  description:
    'Omitted members keep their values; `conditions` are replaced as a whole. A run in progress is cancelled, because its rule has changed.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion, body: retentionRulePatch }),
  output: retentionRule,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, { now }, { id: ruleId, expectedVersion: expected, body }) {
    const before = await lockRule(tx, ruleId);
    if (!before) throw notFound('retention rule');
    checkVersion(before.version, expected);
    const row: RuleRow = {
      ...before,
      ...nextStamps(before, now),
      ...sentMembers(ruleFields, body, before),
      ...(body.conditions && { conditions: conditionsFrom(before.kind, body.conditions) }),
    };
    await updateRule(tx, row);
    return answeredMembers(ruleFields, row);
  },
});

export const deleteRetentionRule = writeOperation({
  name: 'deleteRetentionRule',
  scope: 'retention:write',
  ...guarded,
  summary: 'Delete a retention rule',
  description: 'A run in progress is cancelled. What was removed stays removed, and past runs stay listed.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: ruleId, expectedVersion: expected }) {
    const found = await lockRule(tx, ruleId);
    if (!found) throw notFound('retention rule');
    checkVersion(found.version, expected);
    await deleteRule(tx, ruleId);
    return { id: ruleId, deleted: true };
  },
});

export const runRetentionRule = writeOperation({
  name: 'runRetentionRule',
  scope: 'retention:write',
  ...guarded,
  summary: 'Apply a retention rule now',
  description:
    'Counts what the rule would remove and, unless it is a dry run, removes it in the background, whether the rule is enabled or not: read the run until its `status` is `finished`. Counting reads whole tables, which takes seconds where there are millions of records.',
  input: z.strictObject({ id, ...writeParameters }),
  output: requestedRetentionRun,
  idempotency: 'accepted',
  created: () => true,
  problems: ['not_found'],
  async run(tx, { now, principal }, { id: ruleId }) {
    const rule = await getRule(tx, ruleId);
    if (!rule) throw notFound('retention rule');
    const run = newRun(rule, now, { requestedBy: principal.client, matching: null });
    const found = await matching(tx, run, now);
    const counted = { ...run, matching: found.matching };
    await startRuns(tx, [counted]);
    return { ...answeredMembers(runFields, counted), firstIds: found.firstIds };
  },
});

export const getRetentionRun = readOperation({
  name: 'getRetentionRun',
  scope: 'retention:read',
  ...guarded,
  summary: 'Read a run of a retention rule',
  input: z.strictObject({ id }),
  output: retentionRun,
  problems: ['not_found'],
  async run({ db }, { id: runId }) {
    const found = await getRun(db, runId);
    if (!found) throw notFound('retention run');
    return answeredMembers(runFields, found);
  },
});

const runs = keysetList<RetentionRun>({
  name: 'retention_runs',
  select: answered(retentionRuns),
  from: sql`${retentionRuns}`,
  id: sql`${retentionRuns.id}`,
  filters: {
    ruleId: (value) => sql`${retentionRuns.ruleId} = ${value}::uuid`,
    status: (value) => sql`${retentionRuns.status} = ${value}`,
  },
  sorts: { createdAt: { expression: sql`${retentionRuns.createdAt}`, type: 'timestamptz', field: 'createdAt' } },
  defaultSort: '-createdAt',
});

export const listRetentionRuns = readOperation({
  name: 'listRetentionRuns',
  scope: 'retention:read',
  ...guarded,
  summary: 'List runs of retention rules',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt'], '-createdAt'),
    ruleId: id.optional(),
    status: retentionRunStatus.optional(),
  }),
  output: pageOf(retentionRun).meta({ id: 'RetentionRunPage' }),
  run: (context, input) => runs(context.db, context, input),
});
