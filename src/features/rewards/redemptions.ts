import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { mostPoints } from '../../domain/loyalty-earning.ts';
import { Retry, type Transaction } from '../../platform/db/client.ts';
import { invalid, notFound, Problem, problemType } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import { readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant } from '../../platform/values.ts';
import { checkVersion, created, expectedVersion } from '../../platform/versions.ts';
import { customList } from '../../records/custom-fields.ts';
import { isErased, personErasedProblem, refuseErased } from '../../records/erased.ts';
import { customerRequired } from '../../records/ownership.ts';
import { deletedReference, refKey, refsByName, targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { nextStamps } from '../../records/stamps.ts';
import { answered, answeredMembers, sentMembers } from '../../records/table.ts';
import { customerById, lockCustomers } from '../customers/queries.ts';
import { givePointsBack, takePoints } from '../loyalty/ledger.ts';
import { openAccounts } from '../loyalty/open-accounts.ts';
import { insufficientPoints } from '../loyalty/record.ts';
import { saveAccounts } from '../loyalty/save-accounts.ts';
import { lotsTakenBy } from '../loyalty/source-histories.ts';
import {
  changeRedemption,
  insertRedemption,
  levelsAt,
  lockRewards,
  redeemedBy,
  redemptionById,
  redemptionsOfCustomers,
} from './queries.ts';
import {
  limitReached,
  notAvailable,
  outOfStock,
  type Redemption,
  type RedemptionInput,
  type RedemptionRow,
  redemption,
  redemptionCancellation,
  redemptionFields,
  redemptionInput,
  redemptionStatus,
  redemptions,
  tierRequired,
} from './record.ts';
import { refusalProblem, refusalsOf } from './redeemable.ts';

const redemptionCancelled = problemType('redemption_cancelled', 409, 'The redemption is cancelled');
const redemptionFulfilled = problemType('redemption_fulfilled', 409, 'The redemption is fulfilled');

export const writtenRedemption = redemption.extend({ created }).meta({ id: 'WrittenRedemption' });

export const createRedemption = writeOperation({
  name: 'createRedemption',
  scope: 'loyalty:write',
  partners: false,
  selfService: true,
  summary: 'Redeem a reward',
  description:
    'Takes the points of the member and the pieces out of the stock, both or neither. If it is refused, `errors` lists all reasons: `not_available`, `tier_required`, `limit_reached`, `out_of_stock`, `insufficient_points`; the first one is the code of the response.',
  input: z.strictObject({ ...writeParameters, body: redemptionInput }),
  output: writtenRedemption,
  idempotency: 'required',
  created: () => true,
  problems: [
    customerRequired,
    notAvailable,
    tierRequired,
    limitReached,
    outOfStock,
    insufficientPoints,
    'deleted',
    personErasedProblem,
  ],
  async run(tx, context, { body }) {
    const customerPointer = body.customer ? '/customer' : '/customerId';
    const { rewardId, quantity = 1 } = body;
    const { now } = context;
    const customerId = await ownerOf(tx, body);
    await lockCustomers(tx, [customerId]);
    refuseErased(tx, customerId, customerPointer);
    const [rewards, accounts, redeemed] = await Promise.all([
      lockRewards(tx, [rewardId]),
      openAccounts(tx, context, [customerId], { lots: true }),
      redeemedBy(tx, customerId),
    ]);
    const reward = rewards.get(rewardId);
    if (!reward) throw invalid('/rewardId', 'not_found', 'There is no such reward.');
    const account = accounts.get(customerId);
    const member = account && {
      programmeId: account.programme.id,
      tier: account.row.tier,
      levels: levelsAt(account.programme, now),
      active: account.row.active,
      redeemed: redeemed.get(rewardId) ?? 0,
    };
    const refusals = refusalsOf(reward, member ?? null, { quantity, now });
    if (!account || refusals.length > 0) throw refusalProblem(refusals, customerPointer);
    const points = reward.points * quantity;
    if (points > mostPoints) {
      throw invalid('/quantity', 'too_many_points', `More than ${mostPoints} points cannot be taken at once.`);
    }
    const redemptionId = newId();
    const facts = { kind: 'redeem', by: context.principal.client, redemptionId } as const;
    const { transaction } = takePoints(account, facts, points);
    saveAccounts(tx, [account]);
    const row: RedemptionRow = {
      customerId,
      id: redemptionId,
      version: 1,
      ...sentMembers(redemptionFields, body, null),
      points,
      status: 'redeemed',
      transactionId: transaction.id,
      redeemedAt: transaction.at,
      fulfilledAt: null,
      cancelledAt: null,
      reason: null,
      createdAt: now,
      updatedAt: now,
    };
    insertRedemption(tx, row);
    return { ...answeredMembers(redemptionFields, row), created: true };
  },
});

/** @throws Problem customer_required; not_a_member for a name that nobody has */
async function ownerOf(tx: Transaction, { customerId, customer }: RedemptionInput): Promise<string> {
  if (customerId !== undefined && customer === undefined) return customerId;
  if (customerId !== undefined || customer === undefined) {
    const message = 'Send `customerId` or `customer`.';
    throw new Problem(customerRequired, message, {
      errors: [{ pointer: '/customerId', code: 'customer_required', message }],
    });
  }
  const named = (await refsByName(tx, 'customer', [customer])).get(refKey(customer));
  if (named?.deletedAt) throw deletedReference('/customer');
  const owner = named?.recordId;
  if (!owner) throw invalid('/customer', 'not_a_member', 'There is no customer with that reference.');
  return owner;
}

const redemptionId = z.strictObject({ id });
const change = {
  ...redemptionId.shape,
  ...writeParameters,
  expectedVersion: expectedVersion.optional(),
};

/** A redemption under the lock of its customer. @throws Problem not_found, version_mismatch */
async function lockRedemption(
  tx: Transaction,
  wanted: string,
  expected: number | '*' | undefined,
): Promise<RedemptionRow> {
  const origin = await redemptionById(tx, wanted);
  if (!origin) throw notFound('redemption');
  await lockCustomers(tx, [origin.customerId]);
  const row = await redemptionById(tx, wanted);
  if (row?.customerId !== origin.customerId) throw new Retry('a redemption moved or vanished');
  if (expected !== undefined) checkVersion(row.version, expected);
  if (row.status === 'cancelled') {
    throw new Problem(redemptionCancelled, `The redemption was cancelled at ${row.cancelledAt}.`);
  }
  return row;
}

export const fulfilRedemption = writeOperation({
  name: 'fulfilRedemption',
  scope: 'loyalty:write',
  partners: false,
  selfService: false,
  summary: 'Mark a reward as handed over',
  description: 'This works once, and not after a cancellation.',
  input: z.strictObject(change),
  output: writtenRedemption,
  idempotency: 'accepted',
  problems: ['not_found', redemptionCancelled, redemptionFulfilled, 'version_mismatch'],
  async run(tx, { now }, { id: wanted, expectedVersion: expected }) {
    const before = await lockRedemption(tx, wanted, expected);
    if (before.status === 'fulfilled') {
      throw new Problem(redemptionFulfilled, `The reward was handed over at ${before.fulfilledAt}.`);
    }
    const row = { ...before, ...nextStamps(before, now), status: 'fulfilled' as const, fulfilledAt: now };
    changeRedemption(tx, row, { given: 0 });
    return { ...answeredMembers(redemptionFields, row), created: false };
  },
});

export const cancelRedemption = writeOperation({
  name: 'cancelRedemption',
  scope: 'loyalty:write',
  partners: false,
  selfService: false,
  summary: 'Cancel a redemption',
  description:
    'The points come back as a transaction of the kind `return`, active now, with their previous expiry, but not before 30 days from now; the pieces go back into the stock. This works once, also after the reward was handed over.',
  input: z.strictObject({ ...change, body: redemptionCancellation.optional() }),
  output: writtenRedemption,
  idempotency: 'accepted',
  problems: ['not_found', redemptionCancelled, 'version_mismatch'],
  async run(tx, context, { id: wanted, expectedVersion: expected, body }) {
    const before = await lockRedemption(tx, wanted, expected);
    const { customerId, transactionId, rewardId, quantity } = before;
    const [accounts, taken] = await Promise.all([
      openAccounts(tx, context, [customerId], { lots: true }),
      lotsTakenBy(tx, customerId, transactionId),
      lockRewards(tx, [rewardId]),
    ]);
    const account = accounts.get(customerId);
    if (!account) throw notFound('member');
    const { reason = null } = isErased(tx, customerId) ? {} : (body ?? {});
    const facts = {
      kind: 'return',
      by: context.principal.client,
      redemptionId: wanted,
      relatedId: transactionId,
      reason,
    } as const;
    givePointsBack(account, facts, taken);
    saveAccounts(tx, [account]);
    const { now } = context;
    const row = { ...before, ...nextStamps(before, now), status: 'cancelled' as const, cancelledAt: now, reason };
    changeRedemption(tx, row, { given: quantity });
    return { ...answeredMembers(redemptionFields, row), created: false };
  },
});

export const getRedemption = readOperation({
  name: 'getRedemption',
  scope: 'loyalty:read',
  partners: true,
  selfService: true,
  summary: 'Read a redemption',
  input: redemptionId,
  output: redemption,
  problems: ['not_found'],
  async run({ db }, { id: wanted }) {
    const row = await redemptionById(db, wanted);
    if (!row) throw notFound('redemption');
    return answeredMembers(redemptionFields, row);
  },
});

const custom = customList(redemptions);

const list = keysetList<Redemption>({
  name: 'redemptions',
  select: answered(redemptions),
  from: sql`${redemptions}`,
  id: sql`${redemptions.id}`,
  owner: sql`${redemptions.customerId}`,
  filters: {
    customerId: (value) => sql`${redemptions.customerId} = ${value}::uuid`,
    rewardId: (value) => sql`${redemptions.rewardId} = ${value}::uuid`,
    status: (value) => sql`${redemptions.status} = ${value}`,
    createdFrom: (value) => sql`${redemptions.createdAt} >= ${value}::timestamptz`,
    createdTo: (value) => sql`${redemptions.createdAt} < ${value}::timestamptz`,
    ...custom.filters,
  },
  uneven: custom.uneven,
  normalize: custom.normalize,
  sorts: {
    createdAt: { expression: sql`${redemptions.createdAt}`, type: 'timestamptz', field: 'createdAt' },
  },
  defaultSort: '-createdAt',
});

const listFilters = {
  ...pageParameters,
  sort: sortParameter(['createdAt'], '-createdAt'),
  rewardId: id.optional(),
  status: redemptionStatus.optional(),
  createdFrom: instant.optional(),
  createdTo: instant.optional(),
  ...custom.parameters,
};
const redemptionPage = pageOf(redemption).meta({ id: 'RedemptionPage' });

export const listRedemptions = readOperation({
  name: 'listRedemptions',
  scope: 'loyalty:read',
  partners: true,
  selfService: true,
  summary: 'List redemptions',
  input: z.strictObject({ ...listFilters, customerId: id.optional() }),
  output: redemptionPage,
  personalParameters: custom.personalParameters,
  run: (context, input) => list(context.db, context, input),
});

export const listCustomerRedemptions = readOperation({
  name: 'listCustomerRedemptions',
  scope: 'loyalty:read',
  partners: true,
  selfService: true,
  summary: "List a customer's redemptions",
  input: z.strictObject({ ...targetParameters, ...listFilters }),
  output: redemptionPage,
  personalParameters: custom.personalParameters,
  problems: ['not_found'],
  async run(context, { id: given, source, externalId, ...filter }) {
    const customerId = await targetId(context.db, 'customer', { id: given, source, externalId });
    const found = await list(context.db, context, { ...filter, customerId });
    // An empty page says the customer has none, so there has to be such a customer.
    if (found.data.length === 0 && !(await customerById(context.db, customerId))) throw notFound('customer');
    return found;
  },
});

/** For the GraphQL loaders: the latest redemptions of each of a set of customers, one statement. */
export const redemptionsByCustomers = readOperation({
  name: 'redemptionsByCustomers',
  scope: 'loyalty:read',
  partners: true,
  selfService: true,
  summary: 'Read the redemptions of customers',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(z.array(redemption)),
  async run({ db }, { ids }) {
    const found = new Map<string, Redemption[]>(ids.map((customerId) => [customerId, []]));
    for (const row of await redemptionsOfCustomers(db, [...found.keys()])) {
      found.get(row.customerId)?.push(row);
    }
    return ids.map((customerId) => found.get(customerId) ?? []);
  },
});
