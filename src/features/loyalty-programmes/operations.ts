import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { LoyaltyRules } from '../../domain/loyalty-earning.ts';
import { isBefore } from '../../domain/period.ts';
import { insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { invalid, Problem, problemType } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { enqueue } from '../../platform/jobs.ts';
import { readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { checkVersion, created, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { customList } from '../../records/custom-fields.ts';
import { nextStamps } from '../../records/stamps.ts';
import { answered, sentMembers, updateRows } from '../../records/table.ts';
import { unknownCampaigns } from '../campaigns/queries.ts';
import { recomputePublication } from '../loyalty/publication.ts';
import {
  type ProgrammeRecord,
  type ProgrammeRow,
  type ProgrammeRules,
  programmeById,
  programmeColumns,
  programmeNotPublished,
  programmesByIds,
  rulesOf,
  withVersionInForce,
} from './queries.ts';
import {
  completeRules,
  customMembers,
  loyaltyProgramme,
  loyaltyProgrammeInput,
  loyaltyProgrammePatch,
  loyaltyProgrammes,
  loyaltyProgrammeVersion,
  loyaltyProgrammeVersions,
  loyaltyPublication,
  programmeEnded,
  programmeStatus,
} from './record.ts';

const programmePublished = problemType('programme_published', 409, 'The programme is published');
const programmeHasRewards = problemType('programme_has_rewards', 409, 'The programme has rewards');
const tierRemoved = problemType('tier_removed', 422, 'A published tier is missing');

const programmeId = z.strictObject({ id });

export const writtenProgramme = loyaltyProgramme.extend({ created }).meta({ id: 'WrittenLoyaltyProgramme' });

const insert = statement('insert_loyalty_programme', insertRows(loyaltyProgrammes, param('rows')));

export const createLoyaltyProgramme = writeOperation({
  name: 'createLoyaltyProgramme',
  scope: 'loyalty-programmes:write',
  partners: false,
  selfService: false,
  summary: 'Draft a loyalty programme',
  description: 'A draft earns nothing until it is published: try it on past orders with `…/preview`.',
  input: z.strictObject({ ...writeParameters, body: loyaltyProgrammeInput }),
  output: writtenProgramme,
  idempotency: 'accepted',
  created: () => true,
  async run(tx, { now }, { body }) {
    const rules = completeRules(body.rules);
    await checkCampaigns(tx, rules);
    const row = {
      id: newId(),
      version: 1,
      name: body.name,
      status: 'draft' as const,
      rules,
      endedAt: null,
      ...sentMembers(customMembers, body, null),
      createdAt: now,
      updatedAt: now,
    };
    await tx.all(insert, { rows: JSON.stringify([row]) });
    return { ...withVersionInForce({ ...row, currentNumber: null, currentFrom: null }), created: true };
  },
});

/** @throws Problem unknown_campaign */
async function checkCampaigns(tx: Transaction, { campaigns }: LoyaltyRules): Promise<void> {
  const named = campaigns.flatMap(({ campaignId }) => campaignId ?? []);
  const unknown = await unknownCampaigns(tx, named);
  const errors = campaigns.flatMap(({ campaignId }, index) =>
    campaignId && unknown.has(campaignId)
      ? [
          {
            pointer: `/rules/campaigns/${index}/campaignId`,
            code: 'unknown_campaign',
            message: 'There is no such campaign.',
          },
        ]
      : [],
  );
  if (errors.length > 0) throw new Problem('invalid_input', 'There is no such campaign.', { errors });
}

export const getLoyaltyProgramme = readOperation({
  name: 'getLoyaltyProgramme',
  scope: 'loyalty:read',
  partners: false,
  selfService: true,
  summary: 'Read a loyalty programme',
  description: '`rules` is the draft; published rules are under `…/versions`.',
  input: programmeId,
  output: loyaltyProgramme,
  problems: ['not_found'],
  run: async ({ db, now }, { id: wanted }) => withVersionInForce(await programmeById(db, wanted, now)),
});

/** For the GraphQL loaders: programmes by id, one statement. */
export const loyaltyProgrammesByIds = readOperation({
  name: 'loyaltyProgrammesByIds',
  scope: 'loyalty:read',
  partners: false,
  selfService: true,
  summary: 'Read loyalty programmes by id',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(loyaltyProgramme.nullable()),
  async run({ db, now }, { ids }) {
    const found = await programmesByIds(db, [...new Set(ids)], now);
    return ids.map((wanted) => {
      const record = found.get(wanted);
      return record ? withVersionInForce(record) : null;
    });
  },
});

const custom = customList(loyaltyProgrammes);

const list = keysetList<ProgrammeRecord>({
  name: 'loyalty_programmes',
  select: programmeColumns(param('$now')),
  from: sql`${loyaltyProgrammes}`,
  id: sql`${loyaltyProgrammes.id}`,
  filters: { status: (value) => sql`${loyaltyProgrammes.status} = ${value}`, ...custom.filters },
  uneven: custom.uneven,
  normalize: custom.normalize,
  sorts: {
    createdAt: { expression: sql`${loyaltyProgrammes.createdAt}`, type: 'timestamptz', field: 'createdAt' },
  },
  defaultSort: '-createdAt',
});

export const listLoyaltyProgrammes = readOperation({
  name: 'listLoyaltyProgrammes',
  scope: 'loyalty:read',
  partners: false,
  selfService: true,
  summary: 'List loyalty programmes',
  description: 'Drafts, active and ended ones.',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt'], '-createdAt'),
    status: programmeStatus.optional(),
    ...custom.parameters,
  }),
  output: pageOf(loyaltyProgramme).meta({ id: 'LoyaltyProgrammePage' }),
  async run(context, input) {
    const { data, page } = await list(context.db, context, input);
    return { data: data.map(withVersionInForce), page };
  },
});

const change = statement('change_loyalty_programme', updateRows(loyaltyProgrammes, param('rows')));

/** A locked programme in its next version. */
async function save(
  tx: Transaction,
  { currentNumber: _, currentFrom: __, ...before }: ProgrammeRecord,
  changes: Partial<ProgrammeRow>,
  now: string,
): Promise<z.output<typeof writtenProgramme>> {
  const row: ProgrammeRow = { ...before, ...changes, ...nextStamps(before, now) };
  await tx.all(change, { rows: JSON.stringify([row]) });
  return { ...withVersionInForce(await programmeById(tx, row.id, now)), created: false };
}

export const updateLoyaltyProgramme = writeOperation({
  name: 'updateLoyaltyProgramme',
  scope: 'loyalty-programmes:write',
  partners: false,
  selfService: false,
  summary: 'Change a loyalty programme',
  description:
    'Omitted members keep their values; the rules are replaced as a whole. They are a draft: what is in force stays until the next `…/publish`.',
  input: z.strictObject({ ...programmeId.shape, ...writeParameters, expectedVersion, body: loyaltyProgrammePatch }),
  output: writtenProgramme,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, { now }, { id: wanted, expectedVersion: expected, body }) {
    const before = await programmeById(tx, wanted, now, { lock: true });
    checkVersion(before.version, expected);
    const rules = body.rules ? completeRules(body.rules) : before.rules;
    if (body.rules) await checkCampaigns(tx, rules);
    return save(
      tx,
      before,
      { name: body.name ?? before.name, rules, ...sentMembers(customMembers, body, before) },
      now,
    );
  },
});

const hasRewards = statement<{ found: boolean }>(
  'programme_has_rewards',
  sql`select exists (select from rewards where programme_id = ${param('id')}::uuid) as found`,
);
const remove = statement(
  'delete_loyalty_programme',
  sql`delete from loyalty_programmes where id = ${param('id')}::uuid`,
);

export const deleteLoyaltyProgramme = writeOperation({
  name: 'deleteLoyaltyProgramme',
  scope: 'loyalty-programmes:write',
  partners: false,
  selfService: false,
  summary: 'Delete a draft of a loyalty programme',
  description: 'A published programme cannot be deleted, because members have earned by it. End it instead.',
  input: z.strictObject({ ...programmeId.shape, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', programmePublished, programmeHasRewards, 'version_mismatch', 'version_required'],
  async run(tx, { now }, { id: wanted, expectedVersion: expected }) {
    const { status, version } = await programmeById(tx, wanted, now, { lock: true });
    if (status !== 'draft')
      throw new Problem(programmePublished, 'The programme was published, so you can only end it.');
    checkVersion(version, expected);
    if ((await tx.first(hasRewards, { id: wanted }))?.found) {
      throw new Problem(programmeHasRewards, 'The programme has rewards: delete them first.');
    }
    await tx.all(remove, { id: wanted });
    return { id: wanted, deleted: true };
  },
});

const insertVersion = statement('insert_loyalty_version', insertRows(loyaltyProgrammeVersions, param('rows')));

export const publishLoyaltyProgramme = writeOperation({
  name: 'publishLoyaltyProgramme',
  scope: 'loyalty-programmes:write',
  partners: false,
  selfService: false,
  summary: 'Publish the rules of a loyalty programme',
  description:
    'Publishes the draft rules as the next version. Orders earn by the version in force when they were placed, so earned points never change. A published level cannot be removed (`tier_removed`).',
  input: z.strictObject({
    ...programmeId.shape,
    ...writeParameters,
    expectedVersion,
    body: loyaltyPublication.optional(),
  }),
  output: writtenProgramme,
  idempotency: 'accepted',
  problems: ['not_found', programmeEnded, tierRemoved, 'version_mismatch', 'version_required'],
  async run(tx, { now, principal }, { id: wanted, expectedVersion: expected, body }) {
    // Under the lock: of two at a time the second counts the version of the first.
    const record = await programmeById(tx, wanted, now, { lock: true });
    if (record.endedAt !== null)
      throw new Problem(programmeEnded, 'The programme has ended: nothing is earned any more.');
    checkVersion(record.version, expected);
    const versions = (await rulesOf(tx, [wanted])).get(wanted)?.versions ?? [];
    checkTiersStay(versions, record.rules);
    await checkCampaigns(tx, record.rules);
    const row = {
      programmeId: wanted,
      number: versions.length + 1,
      rules: record.rules,
      validFrom: validFromOf(versions, body?.validFrom, now),
      publishedAt: now,
      publishedBy: principal.client,
    };
    await tx.all(insertVersion, { rows: JSON.stringify([row]) });
    if (versions.length > 0) {
      // By then what was under way is done.
      const runAt = new Date(Date.parse(now) + minute).toISOString();
      enqueue(tx, recomputePublication, { programmeId: wanted, since: row.validFrom }, { runAt });
    }
    return save(tx, record, { status: 'active' }, now);
  },
});

const minute = 60_000;

/** @throws Problem tier_removed: members hold it, and rewards and earnings name it */
function checkTiersStay(versions: ProgrammeRules['versions'], { tiers }: LoyaltyRules): void {
  const keys = new Set(tiers?.levels.map(({ key }) => key));
  const missing = versions.flatMap(({ rules }) => rules.tiers?.levels ?? []).find(({ key }) => !keys.has(key));
  if (!missing) return;
  throw new Problem(tierRemoved, `The level ${missing.key} was published: you can change it, but not remove it.`, {
    extra: { tier: missing.key },
  });
}

/** @throws Problem invalid_input: a later version would rewrite what was earned */
function validFromOf(versions: ProgrammeRules['versions'], wanted: string | undefined, now: string): string {
  const last = versions.at(-1);
  if (!last) return wanted ?? now;
  const earliest = isBefore(last.validFrom, now) ? now : last.validFrom;
  if (wanted === undefined) return earliest;
  if (!isBefore(wanted, earliest)) return wanted;
  throw isBefore(wanted, now)
    ? invalid('/validFrom', 'in_the_past', 'A version after the first one cannot begin in the past.')
    : invalid('/validFrom', 'before_last_version', `Version ${last.number} begins at ${last.validFrom}.`);
}

export const endLoyaltyProgramme = writeOperation({
  name: 'endLoyaltyProgramme',
  scope: 'loyalty-programmes:write',
  partners: false,
  selfService: false,
  summary: 'End a loyalty programme',
  description: 'From now on nothing is earned in it; points that members have can still be spent. For good.',
  input: z.strictObject({ ...programmeId.shape, ...writeParameters, expectedVersion }),
  output: writtenProgramme,
  idempotency: 'accepted',
  problems: ['not_found', programmeNotPublished, programmeEnded, 'version_mismatch', 'version_required'],
  async run(tx, { now }, { id: wanted, expectedVersion: expected }) {
    const before = await programmeById(tx, wanted, now, { lock: true });
    if (before.status === 'draft')
      throw new Problem(programmeNotPublished, 'The programme is a draft: delete it instead.');
    if (before.status === 'ended') throw new Problem(programmeEnded, 'The programme has ended already.');
    checkVersion(before.version, expected);
    return save(tx, before, { status: 'ended', endedAt: now }, now);
  },
});

type VersionRow = z.output<typeof loyaltyProgrammeVersion> & { id: string };

const listVersions = keysetList<VersionRow>({
  name: 'loyalty_programme_versions',
  select: sql`${answered(loyaltyProgrammeVersions)}, ${loyaltyProgrammeVersions.programmeId} as id`,
  from: sql`${loyaltyProgrammeVersions}`,
  // A number stands for one version of the programme that is asked about.
  id: sql`${loyaltyProgrammeVersions.programmeId}`,
  filters: { id: (value) => sql`${loyaltyProgrammeVersions.programmeId} = ${value}::uuid` },
  sorts: { number: { expression: sql`${loyaltyProgrammeVersions.number}`, type: 'integer', field: 'number' } },
  defaultSort: '-number',
});

export const listLoyaltyProgrammeVersions = readOperation({
  name: 'listLoyaltyProgrammeVersions',
  scope: 'loyalty:read',
  partners: false,
  selfService: false,
  summary: 'List the versions of a loyalty programme',
  description: 'The published versions. Each is in force until the next one is.',
  input: z.strictObject({ ...programmeId.shape, ...pageParameters, sort: sortParameter(['number'], '-number') }),
  output: pageOf(loyaltyProgrammeVersion).meta({ id: 'LoyaltyProgrammeVersionPage' }),
  problems: ['not_found'],
  async run(context, input) {
    const [{ data, page }] = await Promise.all([
      listVersions(context.db, context, input),
      programmeById(context.db, input.id, context.now),
    ]);
    return { data: data.map(({ id: _, ...version }) => version), page };
  },
});
