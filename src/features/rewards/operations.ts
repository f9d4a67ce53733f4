import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { isBefore } from '../../domain/period.ts';
import { type Db, param, statement, type Transaction } from '../../platform/db/client.ts';
import { invalid, notFound, Problem, problemType } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id } from '../../platform/values.ts';
import { checkVersion, created, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { customList } from '../../records/custom-fields.ts';
import { nextStamps } from '../../records/stamps.ts';
import { sentMembers, updateRows } from '../../records/table.ts';
import { rulesOf } from '../loyalty-programmes/queries.ts';
import {
  insertRewards,
  lockRewards,
  rewardColumns,
  rewardsByIds as rewardRows,
  rewardsForCustomer,
  withAvailability,
} from './queries.ts';
import { type RewardRow, reward, rewardFields, rewardInput, rewardPatch, rewards } from './record.ts';

const rewardHasRedemptions = problemType('reward_has_redemptions', 409, 'The reward has redemptions');

const rewardId = z.strictObject({ id });

export const writtenReward = reward.extend({ created }).meta({ id: 'WrittenReward' });

export const createReward = writeOperation({
  name: 'createReward',
  scope: 'loyalty-programmes:write',
  partners: false,
  selfService: false,
  summary: 'Add a reward to the catalogue',
  description:
    'Something that members of the programme can get for points, optionally with a stock, a limit per customer, a lowest level and dates.',
  input: z.strictObject({ ...writeParameters, body: rewardInput }),
  output: writtenReward,
  idempotency: 'accepted',
  created: () => true,
  async run(tx, { now }, { body }) {
    const row: RewardRow = {
      id: newId(),
      version: 1,
      redeemed: 0,
      ...sentMembers(rewardFields, body, null),
      createdAt: now,
      updatedAt: now,
    };
    await checkReward(tx, row);
    await tx.all(insertRewards, { rows: JSON.stringify([row]) });
    return { ...withAvailability(row, now), created: true };
  },
});

const draftLevels = statement<{ levels: { key: string }[] | null }>(
  'levels_of_draft',
  // Not deleted meanwhile.
  sql`select rules->'tiers'->'levels' as levels from loyalty_programmes where id = ${param('id')}::uuid for share`,
);

/** @throws Problem what contradicts itself, the stock, or the programme */
async function checkReward(tx: Transaction, row: RewardRow): Promise<void> {
  const { availableFrom, availableTo, stock, redeemed, tier, programmeId } = row;
  if (availableFrom !== null && availableTo !== null && !isBefore(availableFrom, availableTo)) {
    throw invalid('/availableTo', 'not_after_from', 'Must be after `availableFrom`.');
  }
  if (stock !== null && stock < redeemed) {
    throw invalid(
      '/stock',
      'below_redeemed',
      `${redeemed} were redeemed already, and the stock includes them: it cannot be less.`,
    );
  }
  const [draft, published] = await Promise.all([
    tx.first(draftLevels, { id: programmeId }),
    rulesOf(tx, [programmeId]),
  ]);
  if (!draft) throw invalid('/programmeId', 'unknown_programme', 'There is no such programme.');
  if (tier === null) return;
  // What was published stays; what is worked on may be published with the rewards that belong to it.
  const levels = published.get(programmeId)?.versions.flatMap(({ rules }) => rules.tiers?.levels ?? []) ?? [];
  if ([...levels, ...(draft.levels ?? [])].some(({ key }) => key === tier)) return;
  throw invalid('/tier', 'unknown_tier', 'The programme has no such level.');
}

const forCustomer = id.optional().meta({
  description: 'Also return in `forCustomer` whether this customer can redeem it now, and why not.',
});

export const getReward = readOperation({
  name: 'getReward',
  scope: 'loyalty:read',
  partners: false,
  selfService: true,
  summary: 'Read a reward',
  input: z.strictObject({ ...rewardId.shape, customerId: forCustomer }),
  output: reward,
  problems: ['not_found'],
  async run({ db, now }, { id: wanted, customerId }) {
    const [found, standing] = await Promise.all([rewardRows(db, [wanted]), standingOf(db, customerId, now)]);
    const row = found.get(wanted);
    if (!row) throw notFound('reward');
    return withAvailability(row, now, standing?.(row));
  },
});

async function standingOf(db: Db, customerId: string | undefined, now: string) {
  return customerId === undefined ? null : rewardsForCustomer(db, customerId, now);
}

/** For the GraphQL loaders: rewards by id, one statement. */
export const rewardsByIds = readOperation({
  name: 'rewardsByIds',
  scope: 'loyalty:read',
  partners: false,
  selfService: true,
  summary: 'Read rewards by id',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(reward.nullable()),
  async run({ db, now }, { ids }) {
    const found = await rewardRows(db, [...new Set(ids)]);
    return ids.map((wanted) => {
      const row = found.get(wanted);
      return row ? withAvailability(row, now) : null;
    });
  },
});

const isAvailableNow = sql`(coalesce(${rewards.availableFrom} <= ${param('$now')}::timestamptz, true)
  and coalesce(${rewards.availableTo} > ${param('$now')}::timestamptz, true) and coalesce(${rewards.stock} > ${rewards.redeemed}, true))`;

const custom = customList(rewards);

const list = keysetList<RewardRow>({
  name: 'rewards',
  select: rewardColumns,
  from: sql`${rewards}`,
  id: sql`${rewards.id}`,
  filters: {
    programmeId: (value) => sql`${rewards.programmeId} = ${value}::uuid`,
    available: (value) => sql`${isAvailableNow} = ${value}::boolean`,
    ...custom.filters,
  },
  uneven: custom.uneven,
  normalize: custom.normalize,
  sorts: {
    createdAt: { expression: sql`${rewards.createdAt}`, type: 'timestamptz', field: 'createdAt' },
    points: { expression: sql`${rewards.points}`, type: 'bigint', field: 'points' },
  },
  defaultSort: '-createdAt',
});

export const listRewards = readOperation({
  name: 'listRewards',
  scope: 'loyalty:read',
  partners: false,
  selfService: true,
  summary: 'List rewards',
  description:
    'With `customerId`, each says whether the customer could have one now, and everything that stands in the way.',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt', 'points'], '-createdAt'),
    programmeId: id.optional(),
    available: z.boolean().optional().meta({
      description: 'Only rewards that are available now (within their dates, with a piece left), or only the others.',
    }),
    ...custom.parameters,
    customerId: forCustomer,
  }),
  output: pageOf(reward).meta({ id: 'RewardPage' }),
  async run(context, { customerId, ...input }) {
    const { db, now } = context;
    const [{ data, page }, standing] = await Promise.all([list(db, context, input), standingOf(db, customerId, now)]);
    return { data: data.map((row) => withAvailability(row, now, standing?.(row))), page };
  },
});

const update = statement('update_reward', updateRows(rewards, param('rows'), { except: ['redeemed'] }));

export const updateReward = writeOperation({
  name: 'updateReward',
  scope: 'loyalty-programmes:write',
  partners: false,
  selfService: false,
  summary: 'Change a reward',
  description:
    'Omitted members keep their values; null clears. What was redeemed stays as it was. A stock below what was redeemed is refused.',
  input: z.strictObject({ ...rewardId.shape, ...writeParameters, expectedVersion, body: rewardPatch }),
  output: writtenReward,
  idempotency: 'accepted',
  problems: ['not_found', 'version_mismatch', 'version_required'],
  async run(tx, { now }, { id: wanted, expectedVersion: expected, body }) {
    const before = (await lockRewards(tx, [wanted])).get(wanted);
    if (!before) throw notFound('reward');
    checkVersion(before.version, expected);
    const sent = sentMembers(rewardFields, body, before);
    const row = { ...before, ...sent, ...nextStamps(before, now) };
    await checkReward(tx, row);
    await tx.all(update, { rows: JSON.stringify([row]) });
    return { ...withAvailability(row, now), created: false };
  },
});

// Also against redemptions that wait for the row: they find it gone.
const lockForDeletion = statement<{ version: number }>(
  'lock_reward_for_deletion',
  sql`select version from rewards where id = ${param('id')}::uuid for update`,
);
const hasRedemptions = statement<{ found: boolean }>(
  'reward_has_redemptions',
  sql`select exists (select from redemptions where reward_id = ${param('id')}::uuid) as found`,
);
const remove = statement('delete_reward', sql`delete from rewards where id = ${param('id')}::uuid`);

export const deleteReward = writeOperation({
  name: 'deleteReward',
  scope: 'loyalty-programmes:write',
  partners: false,
  selfService: false,
  summary: 'Delete a reward',
  description: 'A reward that was redeemed cannot be deleted: set `availableTo` instead.',
  input: z.strictObject({ ...rewardId.shape, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  problems: ['not_found', rewardHasRedemptions, 'version_mismatch', 'version_required'],
  async run(tx, _context, { id: wanted, expectedVersion: expected }) {
    const found = await tx.first(lockForDeletion, { id: wanted });
    if (!found) throw notFound('reward');
    checkVersion(found.version, expected);
    if ((await tx.first(hasRedemptions, { id: wanted }))?.found) {
      throw new Problem(
        rewardHasRedemptions,
        'The reward was redeemed, so you cannot delete it: set availableTo instead.',
      );
    }
    await tx.all(remove, { id: wanted });
    return { id: wanted, deleted: true };
  },
});
