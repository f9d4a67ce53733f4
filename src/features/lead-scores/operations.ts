import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { documentFaults, readsPersonalData } from '../../domain/lead-score.ts';
import { insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { notFound, Problem, problemType } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { enqueue } from '../../platform/jobs.ts';
import {
  type Context,
  personalScope,
  readOperation,
  requireScope,
  writeOperation,
  writeParameters,
} from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant } from '../../platform/values.ts';
import { checkVersion, created, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { nextStamps, raiseStamps } from '../../records/stamps.ts';
import { answered, answeredMembers, sentMembers, updateRows } from '../../records/table.ts';
import { learnedScoresOf } from '../lead-models/queries.ts';
import { type RuleScored, scoreDetails } from './details.ts';
import { indexLeadScores, lockPublication } from './index-job.ts';
import { preview } from './preview.ts';
import { ruleSetById, rulesById, rulesInForce } from './queries.ts';
import {
  type LeadScoreAnswer,
  leadRuleSets,
  leadScore,
  type RuleSet,
  type RuleSetDocument,
  type RuleSetRow,
  ruleSet,
  ruleSetFields,
  ruleSetInput,
  ruleSetMembers,
  ruleSetPatch,
  ruleSetPreview,
  ruleSetStatus,
} from './record.ts';

const ruleSetPublished = problemType('rule_set_published', 409, 'The rule set is published');

const ruleSetId = z.strictObject({ id });

export const writtenRuleSet = ruleSet.extend({ created }).meta({ id: 'WrittenRuleSet' });

const insert = statement('insert_rule_set', insertRows(leadRuleSets, param('rows')));

export const createLeadRuleSet = writeOperation({
  name: 'createLeadRuleSet',
  scope: 'lead-rules:write',
  partners: false,
  selfService: false,
  summary: 'Draft a rule set',
  description:
    'A draft changes nothing until it is published: try it with `…/preview`. Rules that compare personal data (everything except kind, locale, preferredChannel, sources, segment, company and completeness; topics and outcomes of interactions) also need `customers:pii`, because scores reveal it.',
  input: z.strictObject({ ...writeParameters, body: ruleSetInput }),
  output: writtenRuleSet,
  idempotency: 'accepted',
  created: () => true,
  async run(tx, context, { body }) {
    checkDocument(context, body.document);
    const { now } = context;
    const row: RuleSetRow = {
      id: newId(),
      version: 1,
      ...sentMembers(ruleSetMembers, body, null),
      number: null,
      status: 'draft',
      publishedAt: null,
      publishedBy: null,
      indexedAt: null,
      createdAt: now,
      updatedAt: now,
    };
    await tx.all(insert, { rows: JSON.stringify([row]) });
    return { ...answeredMembers(ruleSetFields, row), created: true };
  },
});

function checkDocument(context: Context, document: RuleSetDocument): void {
  const errors = documentFaults(document)
    .slice(0, 100)
    .map(({ pointer, ...fault }) => ({ pointer: `/document${pointer}`, ...fault }));
  const [first] = errors;
  if (first) throw new Problem('invalid_input', `${first.pointer}: ${first.message}`, { errors });
  if (readsPersonalData(document)) requireScope(context, personalScope);
}

export const getLeadRuleSet = readOperation({
  name: 'getLeadRuleSet',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Read a rule set',
  input: ruleSetId,
  output: ruleSet,
  problems: ['not_found'],
  run: async ({ db }, { id: wanted }) => answeredMembers(ruleSetFields, await ruleSetById(db, wanted)),
});

const list = keysetList<RuleSet>({
  name: 'rule_sets',
  select: answered(leadRuleSets),
  from: sql`${leadRuleSets}`,
  id: sql`${leadRuleSets.id}`,
  filters: { status: (value) => sql`${leadRuleSets.status} = ${value}` },
  sorts: { createdAt: { expression: sql`${leadRuleSets.createdAt}`, type: 'timestamptz', field: 'createdAt' } },
  defaultSort: '-createdAt',
});

export const listLeadRuleSets = readOperation({
  name: 'listLeadRuleSets',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'List rule sets',
  description: 'Drafts and all that were ever published; the one in force is the latest published.',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt'], '-createdAt'),
    status: ruleSetStatus.optional(),
  }),
  output: pageOf(ruleSet).meta({ id: 'RuleSetPage' }),
  run: (context, input) => list(context.db, context, input),
});

/** A locked draft in the version expected. @throws Problem not_found, rule_set_published, version_mismatch */
async function lockDraft(tx: Transaction, wanted: string, expected: number | '*'): Promise<RuleSetRow> {
  const row = await ruleSetById(tx, wanted, { lock: true });
  if (row.status === 'published') {
    throw new Problem(ruleSetPublished, 'You cannot change a published rule set: draft another one.');
  }
  checkVersion(row.version, expected);
  return row;
}

const change = statement('change_rule_set', updateRows(leadRuleSets, param('rows')));

export const updateLeadRuleSet = writeOperation({
  name: 'updateLeadRuleSet',
  scope: 'lead-rules:write',
  partners: false,
  selfService: false,
  summary: 'Change a draft of a rule set',
  description:
    'Omitted members keep their values; the document is replaced as a whole. A published rule set cannot be changed.',
  input: z.strictObject({ ...ruleSetId.shape, ...writeParameters, expectedVersion, body: ruleSetPatch }),
  output: writtenRuleSet,
  idempotency: 'accepted',
  problems: ['not_found', ruleSetPublished, 'version_mismatch', 'version_required'],
  async run(tx, context, { id: wanted, expectedVersion: expected, body }) {
    if (body.document) checkDocument(context, body.document);
    const row = await lockDraft(tx, wanted, expected);
    const after = { ...row, ...sentMembers(ruleSetMembers, body, row), ...nextStamps(row, context.now) };
    await tx.all(change, { rows: JSON.stringify([after]) });
    return { ...answeredMembers(ruleSetFields, await ruleSetById(tx, wanted)), created: false };
  },
});

const remove = statement('delete_rule_set', sql`delete from lead_rule_sets where id = ${param('id')}::uuid`);

export const deleteLeadRuleSet = writeOperation({
  name: 'deleteLeadRuleSet',
  scope: 'lead-rules:write',
  partners: false,
  selfService: false,
  summary: 'Delete a draft of a rule set',
  description: 'A published rule set cannot be deleted: past scores are computed with it.',
  input: z.strictObject({ ...ruleSetId.shape, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', ruleSetPublished, 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: wanted, expectedVersion: expected }) {
    await lockDraft(tx, wanted, expected);
    await tx.all(remove, { id: wanted });
    return { id: wanted, deleted: true };
  },
});

const publish = statement(
  'publish_rule_set',
  sql`with before as (select max(number) as number, max(published_at) as at from lead_rule_sets),
      superseded as (update lead_rule_sets set indexed_at = null where indexed_at is not null and id <> ${param('id')}::uuid)
    update lead_rule_sets set status = 'published', ${raiseStamps('lead_rule_sets')}, number = coalesce(before.number, 0) + 1,
      published_at = greatest(${param('now')}::timestamptz, before.at), published_by = ${param('by')}
    from before where id = ${param('id')}::uuid`,
);

export const publishLeadRuleSet = writeOperation({
  name: 'publishLeadRuleSet',
  scope: 'lead-rules:write',
  partners: false,
  selfService: false,
  summary: 'Publish a rule set',
  description:
    'The rule set is in force at once, and never changes again. Lists by score are fast once a background job has set `indexedAt`; until then they compute every score, which with a million leads can take longer than a request may (503: try again).',
  input: z.strictObject({ ...ruleSetId.shape, ...writeParameters, expectedVersion }),
  output: writtenRuleSet,
  idempotency: 'accepted',
  problems: ['not_found', ruleSetPublished, 'version_mismatch', 'version_required'],
  async run(tx, context, { id: wanted, expectedVersion: expected }) {
    await lockPublication(tx);
    const row = await lockDraft(tx, wanted, expected);
    checkDocument(context, row.document);
    await tx.all(publish, { id: wanted, now: context.now, by: context.principal.client });
    enqueue(tx, indexLeadScores, { ruleSetId: wanted }, { key: wanted });
    return { ...answeredMembers(ruleSetFields, await ruleSetById(tx, wanted)), created: false };
  },
});

export const previewLeadRuleSet = readOperation({
  name: 'previewLeadRuleSet',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Preview the effect of publishing a rule set',
  description:
    'Scores every open lead under this rule set and under the one in force at `asOf`: how many move from grade to grade, and which move farthest. Changes nothing. Past scores use the profiles as they are now.',
  input: z.strictObject({
    ...ruleSetId.shape,
    asOf: instant.optional().meta({ description: 'Scores at this instant. Default: now.' }),
    limit: z.int().min(1).max(100).optional().meta({ description: 'The most leads in `moves`. Default: 25.' }),
  }),
  output: ruleSetPreview,
  problems: ['not_found'],
  async run(context, { id: wanted, asOf = context.now, limit = 25 }) {
    const { db } = context;
    const [rules, before] = await Promise.all([rulesById(db, wanted), rulesInForce(db, asOf)]);
    return preview(db, { before, after: rules, asOf, limit });
  },
});

export const getLeadScore = readOperation({
  name: 'getLeadScore',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Read the score of a lead, with its reasons',
  description:
    'By the rule set in force at `asOf`, or another one, and by the learned model in use. Interactions before `asOf` count, with the decay of their rule; the profile counts as it is now, because its history is not kept.',
  input: z.strictObject({
    ...targetParameters,
    asOf: instant.optional().meta({ description: 'The score at this instant. Default: now.' }),
    ruleSetId: id.optional().meta({ description: 'The rule set. Default: the one in force at `asOf`.' }),
  }),
  output: leadScore,
  problems: ['not_found'],
  async run(context, { asOf = context.now, ruleSetId: chosen, ...target }) {
    const { db } = context;
    const leadId = await targetId(db, 'customer', target);
    const rules = await (chosen === undefined ? rulesInForce(db, asOf) : rulesById(db, chosen));
    const [found, learned] = await Promise.all([
      scoreDetails(db, rules, [leadId], asOf),
      learnedScoresOf(db, [leadId], asOf),
    ]);
    const score = found.get(leadId);
    if (!score) throw notFound('lead');
    return sideBySide(score, learned);
  },
});

function sideBySide(score: RuleScored, learned: Awaited<ReturnType<typeof learnedScoresOf>>): LeadScoreAnswer {
  return { ...score, learned: learned?.get(score.leadId) ?? null, learnedReason: learned ? null : 'no_model' };
}

/** For the GraphQL loaders: the scores of a set of leads with their reasons, four statements. */
export const leadScoresByLeads = readOperation({
  name: 'leadScoresByLeads',
  scope: 'leads:read',
  partners: false,
  selfService: false,
  summary: 'Read the scores of leads',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(leadScore.nullable()),
  async run(context, { ids }) {
    const { db, now } = context;
    const wanted = [...new Set(ids)];
    const rules = await rulesInForce(db, now);
    const [found, learned] = await Promise.all([
      scoreDetails(db, rules, wanted, now),
      learnedScoresOf(db, wanted, now),
    ]);
    return ids.map((leadId) => {
      const score = found.get(leadId);
      return score ? sideBySide(score, learned) : null;
    });
  },
});
