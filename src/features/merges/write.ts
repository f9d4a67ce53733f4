import { sql } from 'drizzle-orm';
import { param, statement, type Transaction } from '../../platform/db/client.ts';
import { invalid, notFound, Problem } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import type { Context } from '../../platform/operation.ts';
import { checkVersion } from '../../platform/versions.ts';
import { storedColumns } from '../../records/catalog.ts';
import { recomputeMoved } from '../../records/derived.ts';
import { completeRows, keptRows, madeRow, restoreRows } from '../../records/kept-rows.ts';
import { countSince, type Move, moveRecords, type RecordCount, restoreCleared } from '../../records/merge.ts';
import type { RefRow } from '../../records/references/queries.ts';
import { externalRefs } from '../../records/references/record.ts';
import { jointStamps, nextStamps } from '../../records/stamps.ts';
import { redirectsOf } from '../customers/aliases.ts';
import { normalForm } from '../customers/normal-form.ts';
import type { CustomerRow, IdentityRow } from '../customers/queries.ts';
import { customerIdentities, customers, sharedIdentities } from '../customers/record.ts';
import { leadsTo, relations, relationsAbove } from '../customers/relations.ts';
import { enqueueReferrals } from '../loyalty/referrals.ts';
import { mergeLeads, unmergeLeads } from './leads.ts';
import { moveLedger, recomputeMember, reopenAccount, restoreLedgers, splitLedgers } from './ledger.ts';
import { copyMembers, decide, isSame, notesOf, obstaclesOf, storedIn } from './profile.ts';
import {
  beginMerge,
  carryVersions,
  clearedBefore,
  countMergeable,
  dropMerged,
  endMerge,
  endUnmerge,
  lockMerged,
  lockUnmerged,
  mergeShares,
  mergesOf,
  type Party,
  partiesOf,
  redirect,
  rename,
  restoreNames,
  restoreShares,
  saveCustomerRow,
  saveNames,
  unredirect,
} from './queries.ts';
import {
  customerMergeRecords,
  customerMerges,
  type KeptRecords,
  type MergeInput,
  type MergeObstacle,
  type MergePreview,
  type MergeResult,
  mergedProblem,
  mergeMembers,
  mergeRefused,
  profileMembers,
  type UnmergeResult,
} from './record.ts';

/*
 * Two records of a person become one, and two again, exactly as they were. What moves and what is kept follows from the
 * definitions (records/merge.ts, records/kept-rows.ts); the lead (leads.ts), the ledger of points (ledger.ts), shares and
 * the members of the customer (profile.ts) are rewritten here.
 *
 * Why records move, and do not keep their owner with merged ids being resolved: every read of facts, every rollup, access
 * policy and metric would have to resolve ids, and facts could not be joined by customer_id any more. A merge
 * is rare, reads are not.
 */

export interface MergeWrite extends MergeInput {
  survivorId: string;
  /** Default: a new one. */
  mergeId?: string;
  expectedVersion?: number | undefined;
  survivorVersion?: number | '*' | undefined;
}

/** Nobody is above themselves through others either: of what would go round, the link of the survivor goes. */
async function breakRings(tx: Transaction, row: CustomerRow, both: string[]): Promise<void> {
  const named = relations.flatMap((member) => row[member] ?? []);
  if (named.length === 0) return;
  const above = await relationsAbove(tx, named);
  for (const member of relations) {
    if (leadsTo(both, member, row[member], (id) => above.get(id))) row[member] = null;
  }
}

/**
 * Two records of one person become one, in a constant number of statements: both are locked, in id order and with
 * whoever names the one that goes; their facts move, what is derived is recomputed, and the id that goes leads to the
 * survivor from then on.
 *
 * @throws Problem not_found, merged, merge_refused, version_mismatch
 */
export async function mergeCustomers(tx: Transaction, context: Context, write: MergeWrite): Promise<MergeResult> {
  const { now } = context;
  const { survivorId: to, customerId: from, take = [], mergeId = newId() } = write;
  await checkOther(tx, to, from);
  await lockMerged(tx, { from, to });
  const parties = await partiesOf(tx, [from, to]);
  const survivor = parties.get(to);
  const other = parties.get(from);
  if (!survivor || !other) {
    // Merged or deleted while this one waited for the lock.
    await checkOther(tx, to, from);
    throw survivor ? unknownOther() : notFound('customer');
  }
  if (write.survivorVersion !== undefined) checkVersion(survivor.row.version, write.survivorVersion);
  if (write.expectedVersion !== undefined && write.expectedVersion !== other.row.version) {
    const message = `The other is at version ${other.row.version}.`;
    throw new Problem('version_mismatch', message, {
      errors: [{ pointer: '/expectedVersion', code: 'version_mismatch', message }],
    });
  }
  refuse(obstaclesOf({ survivor, other }));

  const decided = decide({ survivor, other, take });
  await breakRings(tx, decided.row, [from, to]);
  const move: Move = { mergeId, from, to, now };
  const columns = await storedColumns(tx);
  const by = context.principal.client;
  await beginMerge(tx, { ...move, by, take: mergeMembers.filter((member) => take.includes(member)) });
  await rename(tx, move);
  const postings = await moveLedger(tx, context, move, columns);
  const moves = await moveRecords(tx, customerMergeRecords, move, columns, 'there');
  await mergeLeads(tx, { now, columns }, { survivor, other }, decided.lead, take.includes('lead_stage'));
  await mergeShares(tx, move, columns);
  saveNames(tx, move, decided.identities, decided.references);
  await redirect(tx, move);
  const shares = (await countMergeable(tx, from)).filter(({ kind }) => kind === 'partnerShares');
  await dropMerged(tx, from);
  await saveCustomerRow(tx, { ...decided.row, ...jointStamps([survivor.row, other.row], now) });
  await recomputeMoved(tx, context, [to]);
  await recomputeMember(tx, context, [to]);
  enqueueReferrals(
    tx,
    [other.row.referredBy, survivor.row.referredBy].flatMap((former) =>
      former && former !== decided.row.referredBy && former !== to && former !== from
        ? [{ customerId: to, former }]
        : [],
    ),
  );
  if (survivor.account || other.account) enqueueReferrals(tx, [{ customerId: to }]);
  tx.auditContext.customerIds.add(from);
  endMerge(tx, mergeId, to);
  return {
    id: mergeId,
    customerId: to,
    mergedId: from,
    at: now,
    by,
    decisions: decided.decisions,
    moves: present([
      ...moves,
      { kind: 'stageChanges', count: other.stages.length },
      { kind: 'loyaltyTransactions', count: postings },
      ...shares,
    ]),
    notes: notesOf({ survivor, other, take }),
  };
}

/** What `mergeCustomers` would do; without locks. */
export async function previewMerge(context: Context, write: MergeWrite): Promise<MergePreview> {
  const { survivorId: to, customerId: from, take = [] } = write;
  await checkOther(context.db, to, from);
  const [parties, moves] = await Promise.all([partiesOf(context.db, [from, to]), countMergeable(context.db, from)]);
  const survivor = parties.get(to);
  const other = parties.get(from);
  if (!survivor) throw notFound('customer');
  if (!other) throw unknownOther();
  return {
    customerId: to,
    otherId: from,
    survivorVersion: survivor.row.version,
    otherVersion: other.row.version,
    decisions: decide({ survivor, other, take }).decisions,
    moves,
    notes: notesOf({ survivor, other, take }),
    obstacles: obstaclesOf({ survivor, other }),
  };
}

/** @throws Problem for an other that cannot be one */
async function checkOther(db: Parameters<typeof redirectsOf>[0], to: string, from: string): Promise<void> {
  if (from === to) throw invalid('/customerId', 'same_customer', 'A customer is not merged into itself.');
  const survivor = (await redirectsOf(db, [from])).get(from);
  if (survivor === undefined) return;
  const message = `It was merged into ${survivor} already.`;
  throw new Problem(mergedProblem, message, {
    errors: [{ pointer: '/customerId', code: mergedProblem, message }],
    extra: { id: survivor },
  });
}

function unknownOther(): Problem {
  return invalid('/customerId', 'not_found', 'There is no such customer.');
}

function refuse(obstacles: MergeObstacle[]): void {
  const [first] = obstacles;
  if (!first) return;
  throw new Problem(mergeRefused, first.message, {
    errors: obstacles.map(({ code, message }) => ({ pointer: '/customerId', code, message })),
  });
}

function present(counts: readonly RecordCount[]): RecordCount[] {
  return counts.filter(({ count }) => count > 0);
}

const keptCustomers = keptRows<CustomerRow>(customerMerges, customers);
const keptIdentities = keptRows<Omit<IdentityRow, 'shared'>>(customerMerges, customerIdentities);
const keptShared = keptRows<Omit<IdentityRow, 'shared'>>(customerMerges, sharedIdentities);
const keptReferences = keptRows<RefRow>(customerMerges, externalRefs);
const madeCustomer = madeRow<CustomerRow>(customerMerges, customers);
const madeAccount = statement<{ version: number | null }>(
  'made_account',
  sql`select (after ->> 'loyaltyAccount')::int as version from customer_merges where id = ${param('mergeId')}::uuid`,
);

const recorded = statement<{ kind: string; count: number }>(
  'count_merge_records',
  sql`select kind, count(*) as count from customer_merge_records where merge_id = ${param('mergeId')}::uuid group by kind`,
);

/**
 * The two are two again. What the merge moved goes back to the customer it came from, with what belongs to it; what was
 * recorded since then stays with the survivor, as nothing says whose it is, and is told under `kept`. Where nothing was,
 * both are exactly as they were, in a next version.
 *
 * @throws Problem not_found, already_undone, not_undoable
 */
export async function unmergeCustomers(
  tx: Transaction,
  context: Context,
  { survivorId: from, mergeId }: { survivorId: string; mergeId: string },
): Promise<UnmergeResult> {
  const { now } = context;
  const seen = await mergesOf(tx, from, mergeId);
  await lockUnmerged(tx, seen.found ? [from, seen.found.mergedId] : [from], mergeId);
  const survivor = (await partiesOf(tx, [from])).get(from);
  if (!survivor) throw notFound('customer');
  const { found, last } = await mergesOf(tx, from, mergeId);
  if (!found) throw notFound('merge of this customer');
  if (found.undoneAt !== null) throw refusedUndo('already_undone', 'The merge was undone already.');
  if (found.before === null || survivor.row.erasedAt !== null) {
    throw refusedUndo('not_undoable', 'The person was erased, with all records that were merged.');
  }
  if (last?.id !== mergeId) {
    throw refusedUndo('not_undoable', `Merges are undone in reverse order: ${last?.id} comes first.`, last?.id);
  }
  const to = found.mergedId;
  const move: Move = { mergeId, from, to, now };
  const columns = await storedColumns(tx);
  await completeRows(tx, customerMerges, { mergeId, survivorId: from, columns });
  const [rows, own, shared, references, made, account, counts] = await Promise.all([
    tx.all(keptCustomers, { mergeId }),
    tx.all(keptIdentities, { mergeId }),
    tx.all(keptShared, { mergeId }),
    tx.all(keptReferences, { mergeId }),
    tx.first(madeCustomer, { mergeId }),
    tx.first(madeAccount, { mergeId }),
    tx.all(recorded, { mergeId }),
  ]);
  const identities = [
    ...own.map((row) => ({ ...row, shared: false })),
    ...shared.map((row) => ({ ...row, shared: true })),
  ];
  const before = rows.find(({ id }) => id === from);
  if (!before || !made) throw new Error(`The merge ${mergeId} lacks what it kept`);

  await restoreRows(tx, customerMerges, customers, { mergeId, ids: [to], columns, now, above: survivor.row.version });
  await reopenAccount(tx, move, columns, survivor.account?.version);
  const untouched = (survivor.account?.version ?? null) === (account?.version ?? null);
  const moves = await moveRecords(tx, customerMergeRecords, move, columns, 'back');
  await restoreCleared(tx, clearedBefore, move);
  const kept = untouched ? [] : await splitLedgers(tx, context, move, columns);
  if (untouched) await restoreLedgers(tx, move, columns);
  const lead = await unmergeLeads(tx, { mergeId, survivor, otherId: to, columns, now });
  await restoreShares(tx, move, columns);
  const names = namesBack({ survivor, to, identities, references });
  saveNames(tx, move, names.identities, names.references);
  const profile = profileBack(survivor.row, before, made);
  await saveCustomerRow(tx, { ...profile.row, ...nextStamps(survivor.row, now) });
  await unredirect(tx, move);
  await restoreNames(tx, move);
  await recomputeMoved(tx, context, [from, to]);
  if (!untouched) await recomputeMember(tx, context, [from, to]);
  if (survivor.account) {
    enqueueReferrals(tx, [{ customerId: from }, { customerId: to }]);
  }
  const later = await countSince(tx, move);
  tx.auditContext.customerIds.add(to);
  await carryVersions(tx, { mergeId, account: untouched ? [from, to] : [], lead: lead.exact });
  endUnmerge(tx, { mergeId, now, by: context.principal.client });
  const why = 'recorded since the merge, when the two were one';
  return {
    id: mergeId,
    customerId: from,
    otherId: to,
    moves: present(moves),
    kept: [
      ...present(later).map((count): KeptRecords => ({ ...count, why })),
      ...(lead.kept > 0 ? [{ kind: 'stageChanges', count: lead.kept, why }] : []),
      ...kept,
      ...present(gone(counts, moves)).map(
        (count): KeptRecords => ({
          ...count,
          why: 'deleted since the merge, or given to another customer',
        }),
      ),
      ...names.kept,
      ...profile.kept,
    ],
  };
}

function refusedUndo(code: 'already_undone' | 'not_undoable', message: string, id?: string): Problem {
  return new Problem(code, message, {
    errors: [{ pointer: '/mergeId', code, message }],
    ...(id !== undefined && { extra: { id } }),
  });
}

/** Records that were moved then, and are not there to go back. */
function gone(counts: readonly RecordCount[], moves: readonly RecordCount[]): RecordCount[] {
  return moves.map(({ kind, count }) => ({
    kind,
    count: (counts.find((of) => of.kind === kind)?.count ?? 0) - count,
  }));
}

/** Members that are still as the merge made them are as they were before it; others were changed since, and stay. */
function profileBack(row: CustomerRow, own: CustomerRow, made: CustomerRow): { row: CustomerRow; kept: KeptRecords[] } {
  const back = { ...row };
  const changed: string[] = [];
  for (const [member, columns] of profileMembers) {
    if (columns.every((column) => isSame(storedIn(row, column), storedIn(made, column))))
      copyMembers(back, own, columns);
    else changed.push(member);
  }
  const why = `changed since the merge: ${changed.join(', ')}`;
  return { row: back, kept: changed.length === 0 ? [] : [{ kind: 'members', count: changed.length, why }] };
}

/** Names go back to whom they were of, if the survivor still has them. */
function namesBack(given: { survivor: Party; to: string; identities: IdentityRow[]; references: RefRow[] }): {
  identities: IdentityRow[];
  references: RefRow[];
  kept: KeptRecords[];
} {
  const { survivor, to } = given;
  const identityOf = ({ kind, value }: IdentityRow) => `${kind} ${value}`;
  const nameOf = ({ source, externalId }: RefRow) => `${source} ${externalId}`;
  // Kept as they were then; those that are there may have been brought to another normal form since.
  const before = new Map<string, IdentityRow[]>();
  for (const row of given.identities) {
    for (const value of new Set([row.value, normalForm(row.kind, row.value) ?? row.value])) {
      const key = identityOf({ ...row, value });
      before.set(key, [...(before.get(key) ?? []), row]);
    }
  }
  const identities = survivor.identities.flatMap((row): IdentityRow[] => {
    // What both had was one since; whose it was has it again as it was brought.
    const [was, ...others] = before.get(identityOf(row)) ?? [];
    if (!was) return [row];
    const back = { ...row, customerId: was.customerId, primary: was.primary };
    if (others.length === 0) return [back];
    return [
      { ...back, broughtBy: was.broughtBy, createdAt: was.createdAt },
      ...others.map((one) => ({ ...one, value: row.value, shared: true })),
    ];
  });
  for (const customerId of [survivor.row.id, to]) keepOnePrimary(identities, customerId, before, identityOf);
  const names = new Map(given.references.map((row) => [nameOf(row), row]));
  const news = survivor.references.filter((row) => !names.has(nameOf(row)));
  const ownNames = given.references.filter(({ recordId }) => recordId === survivor.row.id).length;
  const references = survivor.references.map((row) => {
    const was = names.get(nameOf(row));
    return was
      ? { ...row, recordId: was.recordId, customerId: was.customerId, position: was.position }
      : { ...row, position: ownNames + news.indexOf(row) };
  });
  const added = identities.filter((row) => !before.has(identityOf(row))).length;
  const why = 'added since the merge';
  return {
    identities,
    references,
    kept: [
      ...(added > 0 ? [{ kind: 'identities', count: added, why }] : []),
      ...(news.length > 0 ? [{ kind: 'references', count: news.length, why }] : []),
    ],
  };
}

/** One of a kind is the primary: one that was added since, before one that was it before, before the first. */
function keepOnePrimary(
  rows: IdentityRow[],
  customerId: string,
  before: ReadonlyMap<string, unknown>,
  key: (row: IdentityRow) => string,
): void {
  for (const kind of new Set(rows.map((row) => row.kind))) {
    const own = rows.filter((row) => row.kind === kind && row.customerId === customerId);
    const chosen = own.find((row) => row.primary && !before.has(key(row))) ?? own.find((row) => row.primary) ?? own[0];
    for (const row of own) row.primary = row === chosen;
  }
}
