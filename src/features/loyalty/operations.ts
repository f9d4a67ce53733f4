import { type SQL, sql } from 'drizzle-orm';
import { z } from 'zod';
import { lotDates } from '../../domain/loyalty-earning.ts';
import { isBefore } from '../../domain/period.ts';
import { localDateOf } from '../../domain/preceding-period.ts';
import { batchInput, batchResults, runBatch } from '../../platform/batch.ts';
import { param, Retry, type Transaction } from '../../platform/db/client.ts';
import { checkNotAhead, invalid, notFound, Problem, type ProblemCode } from '../../platform/errors.ts';
import { type Context, readOperation, writeOperation, writeParameters } from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, instant, text } from '../../platform/values.ts';
import { personErasedProblem, refuseErased } from '../../records/erased.ts';
import { customerRequired } from '../../records/ownership.ts';
import { targetId } from '../../records/references/queries.ts';
import { targetParameters } from '../../records/references/record.ts';
import { lockCustomers } from '../customers/queries.ts';
import { programmeNotPublished, rulesAt, rulesOf } from '../loyalty-programmes/queries.ts';
import { programmeEnded } from '../loyalty-programmes/record.ts';
import type { TransactionRow } from './account.ts';
import { recomputeAllOrders } from './earning.ts';
import { creditLots, givePointsBack } from './ledger.ts';
import { newAccount, openAccounts } from './open-accounts.ts';
import {
  loyaltyOf,
  loyaltyOfCustomers,
  type MemberRow,
  memberColumns,
  statesOfRows,
  tierChangeColumns,
  transactionById,
  transactionColumns,
  withEntries,
  withoutEntries,
} from './queries.ts';
import {
  type CustomerLoyalty,
  customerLoyalty,
  enrolment,
  insufficientPoints,
  loyaltyAccounts,
  loyaltyMember,
  loyaltyTierChanges,
  loyaltyTransaction,
  loyaltyTransactionInput,
  loyaltyTransactionKind,
  loyaltyTransactions,
  tierChange,
  writtenCustomerLoyalty,
  writtenLoyaltyTransaction,
} from './record.ts';
import { saveAccounts } from './save-accounts.ts';
import { lotsTakenBy } from './source-histories.ts';
import { nameTaken, writeTransactions, writtenBy } from './write.ts';

export const enrolCustomer = writeOperation({
  name: 'enrolCustomer',
  scope: 'loyalty:write',
  partners: true,
  selfService: true,
  summary: 'Make a customer a member',
  description:
    'A customer can be a member of one programme, once. Orders placed since `joinedAt` earn as if the customer had been a member then, with the tiers that they reach; the welcome bonus is earned now. A customer who is a member already is refused with `already_exists`. With a customer token, the customer joins now.',
  input: z.strictObject({ ...targetParameters, ...writeParameters, body: enrolment }),
  output: writtenCustomerLoyalty,
  idempotency: 'required',
  created: () => true,
  problems: ['not_found', 'deleted', 'already_exists', programmeNotPublished, programmeEnded, personErasedProblem],
  async run(tx, context, { body: { programmeId, joinedAt: asked = context.now }, ...target }) {
    const customerId = await targetId(tx, 'customer', target, { toWrite: true });
    if (context.principal.scopedTo?.kind === 'customer' && asked !== context.now) {
      // Years of orders would earn points by the customer's own word.
      const message = 'Your token may not set joinedAt: you join now. Leave it out.';
      throw new Problem('not_shared', message, { errors: [{ pointer: '/joinedAt', code: 'not_shared', message }] });
    }
    checkNotAhead(asked, context.now, '/joinedAt');
    const joinedAt = isBefore(context.now, asked) ? context.now : asked;
    const locked = await lockCustomers(tx, [customerId]);
    if (!locked.has(customerId)) throw notFound('customer');
    refuseErased(tx, customerId);
    const [programmes, members] = await Promise.all([
      rulesOf(tx, [programmeId]),
      openAccounts(tx, context, [customerId], { lots: false }),
    ]);
    const programme = programmes.get(programmeId);
    if (!programme) throw invalid('/programmeId', 'unknown_programme', 'There is no such programme.');
    const member = members.get(customerId);
    if (member) {
      const extra = { id: customerId, programmeId: member.programme.id };
      throw notJoinable('already_exists', 'The customer is a member already.', extra);
    }
    if (programme.endedAt !== null && !isBefore(context.now, programme.endedAt)) {
      throw notJoinable(programmeEnded, 'The programme has ended: nobody joins it any more.');
    }
    const rules = rulesAt(programme, context.now);
    if (!rules) throw notJoinable(programmeNotPublished, 'No version of the programme is in force yet.');
    const joinedOn = localDateOf(joinedAt, context.reportingTimeZone);
    const account = newAccount(context, { customerId, joinedAt, joinedOn }, programme);
    const { welcome } = rules.bonuses;
    if (welcome) {
      const facts = { kind: 'bonus' as const, by: context.principal.client, bonusKey: 'welcome', entitled: welcome };
      creditLots(account, facts, [{ points: welcome, ...lotDates(rules, context.now, context.reportingTimeZone) }]);
    }
    const accounts = new Map([[customerId, account]]);
    await recomputeAllOrders(tx, context, accounts);
    saveAccounts(tx, accounts.values());
    const written = await loyaltyOf(tx, customerId, { asOf: context.now });
    if (!written) throw notFound('member');
    return { ...written, created: true };
  },
});

function notJoinable(code: ProblemCode, message: string, extra: Record<string, string> = {}): Problem {
  return new Problem(code, message, { errors: [{ pointer: '/programmeId', code, message }], extra });
}

const details = z.boolean().optional().meta({
  description:
    'Also return what the points are worth, the way to the next tier, what expires next, and the lots that have points.',
});

export const getCustomerLoyalty = readOperation({
  name: 'getCustomerLoyalty',
  scope: 'loyalty:read',
  partners: true,
  selfService: true,
  summary: 'Read the loyalty account of a customer',
  description:
    'Points and tier at `asOf`: exact at any instant, even if no job has recorded expiries yet. A future instant shows what they will be if nothing else happens. 404 if the customer is not a member then.',
  input: z.strictObject({
    ...targetParameters,
    asOf: instant.optional().meta({ description: 'At this instant. Default: now.' }),
    details,
  }),
  output: customerLoyalty,
  problems: ['not_found'],
  async run({ db, now }, { asOf = now, details: wanted, ...target }) {
    const found = await loyaltyOf(db, await targetId(db, 'customer', target), { asOf, details: wanted });
    if (!found) throw notAMember();
    return found;
  },
});

function notAMember(): Problem {
  return new Problem('not_found', 'The customer is not a member of a loyalty programme.');
}

/** For the GraphQL loaders: what these customers have, one statement where nothing is due; others as null. */
export const loyaltyByCustomers = readOperation({
  name: 'loyaltyByCustomers',
  scope: 'loyalty:read',
  partners: true,
  selfService: true,
  summary: 'Read the loyalty accounts of customers',
  input: z.strictObject({ ids: z.array(id) }),
  output: z.array(customerLoyalty.nullable()),
  async run({ db, now }, { ids }) {
    const found = await loyaltyOfCustomers(db, [...new Set(ids)], { asOf: now });
    return ids.map((customerId): CustomerLoyalty | null => found.get(customerId) ?? null);
  },
});

const members = keysetList<MemberRow & { id: string }>({
  name: 'loyalty_members',
  select: sql`${memberColumns(param('$now'))}, customer_id as id`,
  from: sql`${loyaltyAccounts}`,
  id: sql`${loyaltyAccounts.customerId}`,
  owner: sql`${loyaltyAccounts.customerId}`,
  filters: {
    programmeId: (value) => sql`${loyaltyAccounts.programmeId} = ${value}::uuid`,
    tier: (value) => sql`${loyaltyAccounts.tier} = ${value}`,
    joinedFrom: (value) => sql`${loyaltyAccounts.joinedAt} >= ${value}::timestamptz`,
    joinedTo: (value) => sql`${loyaltyAccounts.joinedAt} < ${value}::timestamptz`,
  },
  sorts: { joinedAt: { expression: sql`${loyaltyAccounts.joinedAt}`, type: 'timestamptz', field: 'joinedAt' } },
  defaultSort: '-joinedAt',
});

export const listLoyaltyMembers = readOperation({
  name: 'listLoyaltyMembers',
  scope: 'loyalty:read',
  partners: true,
  selfService: false,
  summary: 'List the members of a programme',
  description:
    'Balances and tiers are as of now. The filter `tier` uses the stored tier, which a job recomputes every five minutes.',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['joinedAt'], '-joinedAt'),
    programmeId: id.meta({ description: 'The programme.' }),
    tier: text(50).optional().meta({ description: 'Key of a level.', example: 'gold' }),
    joinedFrom: instant.optional(),
    joinedTo: instant.optional(),
  }),
  output: pageOf(loyaltyMember).meta({ id: 'LoyaltyMemberPage' }),
  async run(context, input) {
    const { data, page } = await members(context.db, context, input);
    const now = await statesOfRows(context.db, data, context.now);
    return { data: data.map(({ id: _, current: __, ...row }) => ({ ...row, ...now.get(row.customerId) })), page };
  },
});

const changes = keysetList<z.output<typeof tierChange> & { id: string }>({
  name: 'loyalty_tier_changes',
  select: sql`${tierChangeColumns}, customer_id as id`,
  from: sql`${loyaltyTierChanges}`,
  id: sql`${loyaltyTierChanges.customerId}`,
  filters: { customerId: (value) => sql`${loyaltyTierChanges.customerId} = ${value}::uuid` },
  sorts: { sequence: { expression: sql`${loyaltyTierChanges.sequence}`, type: 'int', field: 'sequence' } },
  defaultSort: 'sequence',
});

export const listTierChanges = readOperation({
  name: 'listTierChanges',
  scope: 'loyalty:read',
  partners: true,
  selfService: true,
  summary: "List a member's changes of tier",
  description: 'The first entry is the initial tier.',
  input: z.strictObject({ ...targetParameters, ...pageParameters, sort: sortParameter(['sequence'], 'sequence') }),
  output: pageOf(tierChange).meta({ id: 'TierChangePage' }),
  problems: ['not_found'],
  async run(context, { id: given, source, externalId, ...asked }) {
    const { db } = context;
    const customerId = await targetId(db, 'customer', { id: given, source, externalId });
    const { data, page } = await changes(db, context, { ...asked, customerId });
    if (data.length === 0) await checkMember(context, customerId);
    return { data: data.map(({ id: _, ...change }) => change), page };
  },
});

/** @throws Problem not_found */
async function checkMember({ db, now }: Context, customerId: string): Promise<void> {
  if (!(await loyaltyOf(db, customerId, { asOf: now }))) throw notAMember();
}

const filters: Record<string, (value: SQL) => SQL> = {
  customerId: (value) => sql`${loyaltyTransactions.customerId} = ${value}::uuid`,
  kind: (value) => sql`${loyaltyTransactions.kind} = ${value}`,
  orderId: (value) => sql`${loyaltyTransactions.orderId} = ${value}::uuid`,
  atFrom: (value) => sql`${loyaltyTransactions.at} >= ${value}::timestamptz`,
  atTo: (value) => sql`${loyaltyTransactions.at} < ${value}::timestamptz`,
  createdFrom: (value) => sql`${loyaltyTransactions.createdAt} >= ${value}::timestamptz`,
  createdTo: (value) => sql`${loyaltyTransactions.createdAt} < ${value}::timestamptz`,
};
const list = keysetList<TransactionRow>({
  name: 'loyalty_transactions',
  select: transactionColumns,
  from: sql`${loyaltyTransactions}`,
  id: sql`${loyaltyTransactions.id}`,
  owner: sql`${loyaltyTransactions.customerId}`,
  filters,
  uneven: ['kind'],
  sorts: {
    createdAt: { expression: sql`${loyaltyTransactions.createdAt}`, type: 'timestamptz', field: 'createdAt' },
    at: { expression: sql`${loyaltyTransactions.at}`, type: 'timestamptz', field: 'at' },
  },
  defaultSort: '-createdAt',
});

const listFilters = {
  kind: loyaltyTransactionKind.optional(),
  orderId: id
    .optional()
    .meta({ description: 'Only transactions of this order: what it earned, lost, or was paid with.' }),
  atFrom: instant.optional(),
  atTo: instant.optional(),
  createdFrom: instant.optional(),
  createdTo: instant.optional(),
};
const transactionPage = pageOf(loyaltyTransaction).meta({ id: 'LoyaltyTransactionPage' });

export const listLoyaltyTransactions = readOperation({
  name: 'listLoyaltyTransactions',
  scope: 'loyalty:read',
  partners: true,
  selfService: true,
  summary: 'List loyalty transactions',
  description: 'Of all members. Default order: latest written first; the list of one customer can be sorted by `at`.',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt'], '-createdAt'),
    customerId: id.optional(),
    ...listFilters,
  }),
  output: transactionPage,
  async run(context, input) {
    const { data, page } = await list(context.db, context, input);
    return { data: data.map(withoutEntries), page };
  },
});

export const listCustomerLoyaltyTransactions = readOperation({
  name: 'listCustomerLoyaltyTransactions',
  scope: 'loyalty:read',
  partners: true,
  selfService: true,
  summary: "List a member's loyalty transactions",
  input: z.strictObject({
    ...targetParameters,
    ...pageParameters,
    sort: sortParameter(['at', 'createdAt'], '-at'),
    ...listFilters,
  }),
  output: transactionPage,
  problems: ['not_found'],
  async run(context, { id: given, source, externalId, sort = '-at', ...asked }) {
    const { db } = context;
    const customerId = await targetId(db, 'customer', { id: given, source, externalId });
    const { data, page } = await list(db, context, { ...asked, sort, customerId });
    if (data.length === 0) await checkMember(context, customerId);
    return { data: data.map(withoutEntries), page };
  },
});

export const getLoyaltyTransaction = readOperation({
  name: 'getLoyaltyTransaction',
  scope: 'loyalty:read',
  partners: true,
  selfService: true,
  summary: 'Read a loyalty transaction, with its postings',
  input: z.strictObject({ id }),
  output: loyaltyTransaction,
  problems: ['not_found'],
  async run({ db }, { id: wanted }) {
    const found = await transactionById(db, wanted);
    if (!found) throw notFound('transaction');
    return withEntries(found);
  },
});

export const createLoyaltyTransaction = writeOperation({
  name: 'createLoyaltyTransaction',
  scope: 'loyalty:write',
  partners: false,
  selfService: false,
  summary: 'Spend, adjust or transfer points',
  description:
    'Points that expire first are taken first, and never more than are active: `insufficient_points` says how many there are. Transferred points keep their expiry.',
  input: z.strictObject({ ...writeParameters, body: loyaltyTransactionInput }),
  output: writtenLoyaltyTransaction,
  idempotency: 'required',
  created: () => true,
  problems: [insufficientPoints, 'deleted', 'already_exists', customerRequired, personErasedProblem],
  async run(tx, context, { body }) {
    const [result] = await writeTransactions(tx, context, [body]);
    if (!result || result instanceof Problem) throw result ?? notFound('transaction');
    const { applied, ...written } = result;
    if (!applied) throw nameTaken(written.id, 'This transaction was done before.');
    return written;
  },
});

/** Without a key for the whole, each item needs its own. */
const batchItem = loyaltyTransactionInput.required({ externalId: true });

export const batchLoyaltyTransactions = writeOperation({
  name: 'batchLoyaltyTransactions',
  scope: 'loyalty:write',
  partners: false,
  selfService: false,
  summary: 'Spend, adjust or transfer points, up to 1,000 times',
  description:
    'In index order. The status is always 200, with a result per item. Each item needs an `externalId`; if you send it again, it is `unchanged`.',
  input: batchInput('transactions', loyaltyTransactionInput, batchItem),
  output: batchResults,
  idempotency: 'accepted',
  problems: ['batch_refused'],
  run: (tx, context, { body, atomic }) =>
    runBatch(tx, body, batchItem, { plural: 'transactions', atomic }, async (items) =>
      (await writeTransactions(tx, context, items)).map((result) =>
        result instanceof Problem ? result : { id: result.id, created: result.created, applied: result.applied },
      ),
    ),
});

export const undoLoyaltyTransaction = writeOperation({
  name: 'undoLoyaltyTransaction',
  scope: 'loyalty:write',
  partners: false,
  selfService: false,
  summary: 'Undo a spend',
  description:
    'The points come back as a transaction of the kind `return`: active now, with their previous expiry, but not before 30 days from now. This works once (`already_undone`). Cancel a redemption instead.',
  input: z.strictObject({ id, ...writeParameters }),
  output: writtenLoyaltyTransaction,
  idempotency: 'required',
  created: () => true,
  problems: ['not_found', 'already_undone', 'not_undoable'],
  run: (tx, context, { id: wanted }) => undo(tx, context, wanted),
});

async function undo(
  tx: Transaction,
  context: Context,
  wanted: string,
): Promise<z.output<typeof writtenLoyaltyTransaction>> {
  const spend = await transactionById(tx, wanted);
  if (!spend) throw notFound('transaction');
  const { customerId, kind, redemptionId, orderId } = spend;
  if (kind !== 'spend') {
    const instead = redemptionId === null ? 'Only a `spend` can be undone.' : 'Cancel the redemption instead.';
    throw new Problem('not_undoable', instead, { extra: redemptionId === null ? {} : { redemptionId } });
  }
  await lockCustomers(tx, [customerId]);
  const [accounts, taken, again] = await Promise.all([
    openAccounts(tx, context, [customerId], { lots: true }),
    lotsTakenBy(tx, customerId, wanted),
    transactionById(tx, wanted),
  ]);
  const account = accounts.get(customerId);
  if (again?.customerId !== customerId) throw new Retry('a transaction moved or vanished');
  if (!account) throw notFound('transaction');
  if (again.undoneBy !== null) {
    throw new Problem('already_undone', 'The points were given back already.', { extra: { id: again.undoneBy } });
  }
  const facts = { kind: 'return' as const, by: context.principal.client, relatedId: wanted, orderId };
  const transaction = givePointsBack(account, facts, taken);
  saveAccounts(tx, [account]);
  const { applied: _, ...written } = writtenBy(account, transaction);
  return written;
}
