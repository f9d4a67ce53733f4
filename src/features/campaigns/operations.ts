import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { batchInput, batchResults, type Outcome, runBatch } from '../../platform/batch.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { invalid, notFound, Problem } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, type Page, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { calendarDate, id, text } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion, written } from '../../platform/versions.ts';
import { referenceInput, targetParameters } from '../references/model.ts';
import { targetId } from '../references/queries.ts';
import { campaign, campaignInput, campaignPatch, campaigns } from './model.ts';
import {
  type CampaignRecord,
  campaignById,
  campaignColumns,
  deleteCampaignRow,
  lockCampaignForDeletion,
  campaignsByIds as recordsByIds,
  toCampaign,
} from './queries.ts';
import { type CampaignWrite, writeCampaigns } from './write.ts';

export const writtenCampaign = campaign.extend(written).meta({ id: 'WrittenCampaign' });

export const createCampaign = writeOperation({
  name: 'createCampaign',
  scope: 'campaigns:write',
  partners: false,
  selfService: false,
  summary: 'Create a campaign',
  description:
    'Interactions and orders name it by its id (`campaignId`). Refused with `already_exists` when one of the references is known. `sourceVersion` belongs to the first reference.',
  input: z.strictObject({ ...writeParameters, body: campaignInput }),
  output: writtenCampaign,
  idempotency: 'accepted',
  created: () => true,
  problems: ['already_exists'],
  run: (tx, context, { body: input }) => writeOne(tx, context, { mode: 'new', source: null, input }),
});

export const getCampaign = readOperation({
  name: 'getCampaign',
  scope: 'campaigns:read',
  partners: false,
  selfService: false,
  summary: 'Read a campaign',
  input: z.strictObject(targetParameters),
  output: campaign,
  problems: ['not_found'],
  async run({ db }, target) {
    const found = await campaignById(db, await targetId(db, 'campaign', target));
    if (!found) throw notFound('campaign');
    return toCampaign(found);
  },
});

/** For the GraphQL loaders: the campaigns of a set of ids, one statement, absent ones as null. */
export const campaignsByIds = readOperation({
  name: 'campaignsByIds',
  scope: 'campaigns:read',
  partners: false,
  selfService: false,
  summary: 'Read campaigns by id',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(campaign.nullable()),
  async run({ db }, { ids }) {
    const found = await recordsByIds(db, [...new Set(ids)]);
    return ids.map((campaignId) => {
      const record = found.get(campaignId);
      return record ? toCampaign(record) : null;
    });
  },
});

type ListedCampaign = CampaignRecord & { startsKey: string };

const list = keysetList<ListedCampaign>({
  name: 'campaigns',
  select: sql`${campaignColumns}, coalesce(${campaigns.startsOn}, 'infinity'::date) as "startsKey"`,
  from: sql`${campaigns}`,
  id: sql`${campaigns.id}`,
  filters: {
    channel: (value) => sql`${campaigns.channel} = ${value}`,
    startsFrom: (value) => sql`${campaigns.startsOn} >= ${value}::date`,
    startsTo: (value) => sql`${campaigns.startsOn} < ${value}::date`,
  },
  sorts: {
    createdAt: { expression: sql`${campaigns.createdAt}`, type: 'timestamptz', field: 'createdAt' },
    // Campaigns without a start are as if they never began.
    startsOn: {
      expression: sql`coalesce(${campaigns.startsOn}, 'infinity'::date)`,
      type: 'date',
      field: 'startsKey',
    },
  },
  defaultSort: '-createdAt',
});

/** Filters and orders of lists of campaigns. */
export const campaignFilters = {
  ...pageParameters,
  sort: sortParameter(['createdAt', 'startsOn'], '-createdAt'),
  channel: text(100).optional(),
  startsFrom: calendarDate.optional(),
  startsTo: calendarDate.optional(),
};

/** A page of stored campaigns, those without a start last when they ascend by it. */
export function campaignPage(
  context: Context,
  filter: z.output<z.ZodObject<typeof campaignFilters>>,
): Promise<Page<CampaignRecord>> {
  return list(context.db, context, filter);
}

export const listCampaigns = readOperation({
  name: 'listCampaigns',
  scope: 'campaigns:read',
  partners: false,
  selfService: false,
  summary: 'List campaigns',
  input: z.strictObject(campaignFilters),
  output: pageOf(campaign).meta({ id: 'CampaignPage' }),
  async run(context, input) {
    const { data, page } = await campaignPage(context, input);
    return { data: data.map(toCampaign), page };
  },
});

export const updateCampaign = writeOperation({
  name: 'updateCampaign',
  scope: 'campaigns:write',
  partners: false,
  selfService: false,
  summary: 'Change a campaign',
  description: 'Members left out stay, null clears.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion, body: campaignPatch }),
  output: writtenCampaign,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, context, { body, expectedVersion: expected, id: campaignId, source, externalId }) {
    const recordId = await targetId(tx, 'campaign', { id: campaignId, source, externalId });
    return writeOne(tx, context, { mode: 'patch', id: recordId, input: body, expectedVersion: expected });
  },
});

export const upsertCampaign = writeOperation({
  name: 'upsertCampaign',
  scope: 'campaigns:write',
  partners: false,
  selfService: false,
  summary: 'Create or replace a campaign by reference',
  description:
    'Members left out are cleared; names given by other sources stay. An equal or older `sourceVersion` changes nothing and answers `applied: false`.',
  input: z.strictObject({
    ...referenceInput.shape,
    ...writeParameters,
    expectedVersion: expectedVersion.optional(),
    body: campaignInput,
  }),
  output: writtenCampaign,
  idempotency: 'accepted',
  created: ({ created }) => created,
  problems: ['version_mismatch', 'already_exists', 'deleted'],
  run: (tx, context, { source, externalId, body, expectedVersion: expected }) =>
    writeOne(tx, context, { mode: 'upsert', source, externalId, input: body, expectedVersion: expected }),
});

export const deleteCampaign = writeOperation({
  name: 'deleteCampaign',
  scope: 'campaigns:write',
  partners: false,
  selfService: false,
  summary: 'Delete a campaign',
  description:
    'Refused with `campaign_has_records` while interactions or orders name it. The references stay behind as tombstones.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', 'campaign_has_records', 'version_mismatch', 'version_required'],
  async run(tx, context, { expectedVersion: expected, ...target }) {
    const campaignId = await targetId(tx, 'campaign', target);
    await lockCampaignForDeletion(tx, campaignId);
    const found = await campaignById(tx, campaignId);
    if (!found) throw notFound('campaign');
    checkVersion(found.version, expected);
    await deleteCampaignRow(tx, campaignId, context.now);
    return { id: campaignId, deleted: true as const };
  },
});

export const batchCampaigns = writeOperation({
  name: 'batchCampaigns',
  scope: 'campaigns:write',
  partners: false,
  selfService: false,
  summary: 'Create or replace up to 1,000 campaigns',
  description: 'Each item is an upsert by its first reference, in index order; always 200, with a result per item.',
  input: batchInput('campaigns', campaignInput),
  output: batchResults,
  idempotency: 'accepted',
  problems: ['batch_refused'],
  run: (tx, context, { body, atomic }) =>
    runBatch(tx, body, campaignInput, { plural: 'campaigns', atomic }, async (items) => {
      const outcomes: Outcome[] = items.map(() =>
        invalid('/references', 'required', 'An upsert goes by the first reference.'),
      );
      const named = items.flatMap(({ references = [], ...input }, index) => {
        const [own, ...others] = references;
        return own
          ? [{ index, write: { mode: 'upsert' as const, ...own, input: { ...input, references: others } } }]
          : [];
      });
      const written = await writeCampaigns(
        tx,
        context,
        named.map(({ write }) => write),
      );
      for (const [at, { index }] of named.entries()) outcomes[index] = byFirstReference(written[at]);
      return outcomes;
    }),
});

/** An item's own name stands first among its references, not in an address. */
function byFirstReference(outcome: Outcome | undefined): Outcome {
  if (!outcome) throw new Error('Every write has an outcome');
  if (!(outcome instanceof Problem)) return outcome;
  const { code, message, errors, extra } = outcome;
  const placed = errors.map((error) => ({
    ...error,
    ...(error.pointer === '/externalId' && { pointer: '/references/0' }),
    ...(error.pointer?.startsWith('/references/') && {
      pointer: error.pointer.replace(/\d+/, (place) => String(Number(place) + 1)),
    }),
  }));
  return new Problem(code, message, { errors: placed, extra });
}

async function writeOne(
  tx: Transaction,
  context: Context,
  write: CampaignWrite,
): Promise<z.output<typeof writtenCampaign>> {
  const [result] = await writeCampaigns(tx, context, [write]);
  if (result === undefined || result instanceof Problem) throw result ?? notFound('campaign');
  const record = await campaignById(tx, result.id);
  if (!record) throw notFound('campaign');
  return { ...toCampaign(record), created: result.created, applied: result.applied };
}
