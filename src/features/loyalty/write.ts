import { lotDates } from '../../domain/loyalty-earning.ts';
import { transferLots } from '../../domain/loyalty-ledger.ts';
import { isBefore } from '../../domain/period.ts';
import type { Transaction } from '../../platform/db/client.ts';
import { invalid, orProblem, Problem } from '../../platform/errors.ts';
import type { Context } from '../../platform/operation.ts';
import { refuseErased } from '../../records/erased.ts';
import { customerRequired } from '../../records/ownership.ts';
import { deletedReference, refKey, refsByName } from '../../records/references/queries.ts';
import { ownersOf } from '../../records/statements.ts';
import { lockCustomers } from '../customers/queries.ts';
import { rulesAt } from '../loyalty-programmes/queries.ts';
import { orderRecord } from '../orders/record.ts';
import type { OpenAccount, TransactionRow } from './account.ts';
import { creditLots, type TransactionFacts, takePoints } from './ledger.ts';
import { openAccounts } from './open-accounts.ts';
import { type TransactionRecord, transactionNameKey, transactionsByNames, withEntries } from './queries.ts';
import type { LoyaltyBalance, LoyaltyTransaction, LoyaltyTransactionInput } from './record.ts';
import { saveAccounts } from './save-accounts.ts';

/** A transaction with its postings, and the balance after it. `applied` false: it had been done before. */
export type WrittenTransaction = LoyaltyTransaction & { created: boolean; applied: boolean };

/**
 * Spends, adjusts and transfers points, in index order, in a constant number of statements; an item's fault is returned
 * in its place.
 */
export async function writeTransactions(
  tx: Transaction,
  context: Context,
  inputs: readonly LoyaltyTransactionInput[],
): Promise<(WrittenTransaction | Problem)[]> {
  const references = inputs.flatMap(({ customer }) => customer ?? []);
  const found = await refsByName(tx, 'customer', references);
  const owners = inputs.map((input) => orProblem(() => ownerOf(input, found)));
  const ids = owners.filter((owner) => typeof owner === 'string');
  const others = inputs.flatMap(({ toCustomerId }) => toCustomerId ?? []);
  const locked = await lockCustomers(tx, [...ids, ...others], 'some');
  const orderIds = inputs.flatMap(({ orderId }) => orderId ?? []);
  const names = inputs.flatMap(({ externalId }, index) => {
    const customerId = owners[index];
    return externalId === undefined || typeof customerId !== 'string' ? [] : [{ customerId, externalId }];
  });
  const [accounts, ownerOfOrder, known] = await Promise.all([
    openAccounts(tx, context, locked.keys(), { lots: true }),
    ownersOf(tx, orderRecord, orderIds),
    transactionsByNames(tx, context.principal.client, names),
  ]);
  const done = new Map<string, WrittenTransaction>();
  const results = inputs.map((input, index) =>
    orProblem((): WrittenTransaction => {
      const customerId = owners[index];
      if (customerId === undefined || customerId instanceof Problem) throw customerId ?? noCustomer();
      const account = accounts.get(customerId);
      if (!account) throw notAMember(input.customer ? '/customer' : '/customerId');
      refuseErased(tx, customerId, input.customer ? '/customer' : '/customerId');
      if (input.toCustomerId) refuseErased(tx, input.toCustomerId, '/toCustomerId');
      checkMembers(input);
      const { externalId } = input;
      const key = externalId === undefined ? null : transactionNameKey({ customerId, externalId });
      const before = key === null ? undefined : (done.get(key) ?? repeated(account, known.get(key)));
      if (before) return sameAgain(input, before);
      if (input.orderId && ownerOfOrder.get(input.orderId) !== customerId) {
        throw invalid('/orderId', 'unknown_order', 'The customer has no such order.');
      }
      const written = writtenBy(account, plan(context, account, accounts, input));
      if (key !== null) done.set(key, written);
      for (const id of [customerId, input.toCustomerId])
        if (typeof id === 'string') tx.auditContext.customerIds.add(id);
      return written;
    }),
  );
  saveAccounts(tx, accounts.values());
  return results;
}

function ownerOf(
  { customerId, customer }: LoyaltyTransactionInput,
  found: Awaited<ReturnType<typeof refsByName>>,
): string {
  if ((customerId === undefined) === (customer === undefined)) throw noCustomer();
  const named = customer && found.get(refKey(customer));
  if (named?.deletedAt) throw deletedReference('/customer');
  const id = customerId ?? named?.recordId;
  if (!id) throw notAMember('/customer');
  return id;
}

function noCustomer(): Problem {
  const message = 'Send `customerId` or `customer`.';
  return new Problem(customerRequired, message, {
    errors: [{ pointer: '/customerId', code: 'customer_required', message }],
  });
}

function notAMember(pointer: string): Problem {
  return invalid(pointer, 'not_a_member', 'There is no such member of a loyalty programme.');
}

/** @throws Problem members that the kind needs and lacks, or has no use for */
function checkMembers({ kind, points, reason, orderId, toCustomerId, expiresAt }: LoyaltyTransactionInput): void {
  if (kind !== 'adjust' && points < 0)
    throw invalid('/points', 'too_small', 'Must be more than 0: the number of points to take.');
  if (kind === 'adjust' && !reason) throw invalid('/reason', 'required', 'Required with `adjust`.');
  if (kind === 'transfer' && !toCustomerId)
    throw invalid('/toCustomerId', 'required', 'Required: the customer who gets the points.');
  const misplaced = (pointer: string, of: string) =>
    invalid(pointer, 'misplaced', `Only allowed with \`${of}\`, not with \`${kind}\`.`);
  if (kind !== 'spend' && orderId) throw misplaced('/orderId', 'spend');
  if (kind !== 'transfer' && toCustomerId) throw misplaced('/toCustomerId', 'transfer');
  if (expiresAt !== undefined && (kind !== 'adjust' || points < 0)) {
    throw invalid('/expiresAt', 'misplaced', 'Only allowed with an `adjust` that credits points.');
  }
}

/** Plans a transaction on the accounts. @throws Problem */
function plan(
  context: Context,
  account: OpenAccount,
  accounts: ReadonlyMap<string, OpenAccount>,
  input: LoyaltyTransactionInput,
): TransactionRow {
  const { kind, points, reason = null, orderId = null, externalId = null } = input;
  const facts = { by: context.principal.client, reason, externalId };
  if (kind === 'transfer') return transfer(account, accounts.get(input.toCustomerId ?? ''), points, facts);
  if (points < 0 || kind === 'spend') {
    return takePoints(account, { ...facts, kind, orderId }, Math.abs(points)).transaction;
  }
  return creditLots(account, { ...facts, kind }, [
    adjustment(account, points, input.expiresAt, context.reportingTimeZone),
  ]);
}

/** Points credited by hand: active at once. */
function adjustment(
  { now, programme }: OpenAccount,
  points: number,
  expiresAt: string | null | undefined,
  timeZone: string,
) {
  if (expiresAt && !isBefore(now, expiresAt)) {
    throw invalid('/expiresAt', 'in_the_past', 'Points that have expired already cannot be credited.');
  }
  const rules = rulesAt(programme, now);
  const usual = rules ? lotDates({ ...rules, pendingDays: 0 }, now, timeZone).expiresAt : null;
  return { points, earnedAt: now, activeAt: now, expiresAt: expiresAt === undefined ? usual : expiresAt };
}

function transfer(
  from: OpenAccount,
  to: OpenAccount | undefined,
  points: number,
  facts: Pick<TransactionFacts, 'by' | 'reason' | 'externalId'>,
): TransactionRow {
  if (!to) throw notAMember('/toCustomerId');
  if (to.customerId === from.customerId)
    throw invalid('/toCustomerId', 'same_customer', 'You cannot transfer points to the same customer.');
  if (to.programme.id !== from.programme.id) {
    throw invalid(
      '/toCustomerId',
      'other_programme',
      'Points cannot leave their programme: this customer is a member of another one.',
    );
  }
  const out = takePoints(from, { ...facts, kind: 'transfer_out', relatedCustomerId: to.customerId }, points);
  const { by, reason = null } = facts;
  const into = creditLots(
    to,
    { by, reason, kind: 'transfer_in', relatedCustomerId: from.customerId, relatedId: out.transaction.id },
    transferLots(out.taken, to.now),
  );
  out.transaction.relatedId = into.id;
  return out.transaction;
}

/** What this write has put into the draft, as it is answered. */
export function writtenBy(account: OpenAccount, transaction: TransactionRow): WrittenTransaction {
  const entries = account.draft.entries
    .filter(({ transactionId }) => transactionId === transaction.id)
    .map(({ lotId, points, at }) => ({ lotId, points, at }));
  return { ...transaction, entries, balance: balanceOf(account), created: true, applied: true };
}

function balanceOf({ row: { active, pending, debt } }: OpenAccount): LoyaltyBalance {
  return { active, pending, debt };
}

function repeated(account: OpenAccount, record: TransactionRecord | undefined): WrittenTransaction | undefined {
  if (!record) return undefined;
  return { ...withEntries(record), balance: balanceOf(account), created: true, applied: true };
}

/** @throws Problem already_exists, when the name was given to something else */
function sameAgain({ kind, points }: LoyaltyTransactionInput, before: WrittenTransaction): WrittenTransaction {
  const signed = kind === 'adjust' ? points : -points;
  if (before.kind === (kind === 'transfer' ? 'transfer_out' : kind) && before.points === signed) {
    return { ...before, created: false, applied: false };
  }
  throw nameTaken(before.id, 'Another transaction has this externalId.');
}

export function nameTaken(id: string, message: string): Problem {
  return new Problem('already_exists', message, {
    errors: [{ pointer: '/externalId', code: 'already_exists', message }],
    extra: { id },
  });
}
