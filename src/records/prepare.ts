import { Retry, type Transaction } from '../platform/db/client.ts';
import { invalid, notFound, Problem } from '../platform/errors.ts';
import { newId } from '../platform/ids.ts';
import type { Context } from '../platform/operation.ts';
import { checkVersion } from '../platform/versions.ts';
import type { Change, State } from './effects.ts';
import { isNobody, nobodyOf } from './nobody.ts';
import type { Nobody, Owner, OwnerInput, Ownership, Parent } from './ownership.ts';
import { customerRequired, waitingOwner } from './ownership.ts';
import {
  awaitedAmong,
  type RefRow,
  refsByName,
  removeAwaited,
  type SourceVersion,
  sourceVersion,
} from './references/queries.ts';
import { type FactReference, type NamelessFact, namesOf, type RefBook, refBook, saveRefs } from './references/write.ts';

/** One document to be written, and how: under a reference of its own, as a new record each time, or to a known one. */
export type RecordWrite<Document = DocumentBase, Patch = object> =
  | ((FactReference | NamelessFact) & { input: Document })
  | { mode: 'patch'; id: string; input: Patch; expectedVersion: number | '*' };

export type DocumentBase = FactReference['input'] & { sourceVersion?: number | string | undefined };

/** The owner of a record and the source it came from (null if its sender did not say), read without a lock. */
export interface Origin {
  customerId: string;
  source: string | null;
}

/** How a kind of record is found. */
export interface Store<S> {
  kind: string;
  /** null: they have no owner, and their own rows are their locks. */
  owner: Ownership | null;
  originOf(tx: Transaction, id: string): Promise<Origin | null>;
  /** Locks records without an owner, in id order. */
  lock(tx: Transaction, ids: string[]): Promise<unknown>;
  /** The records as they stand, read under the locks. */
  states(tx: Transaction, ids: string[]): Promise<Map<string, S>>;
}

export interface Prepared<S> {
  /** Under whose locks it was prepared. */
  tx: Transaction;
  /** When the call began. */
  now: string;
  /** Whether the token is scoped to a partner or customer: then a record stays with its owner. */
  scoped: boolean;
  owned: boolean;
  book: RefBook;
  states: Map<string, S>;
  /** The records that the documents are part of. */
  parents: readonly Parent[];
  /** The owner of the write of this index; null for a patch that leaves it. @throws Problem */
  owner(index: number): Owner | Nobody | null;
  /** Writes what accepted records make of their owners, and the rows that own records of nobody; before the records themselves. */
  saveOwners(nobodies: readonly string[]): Promise<void>;
  /** Merges owners who turned out to be one; after the records and what follows from them. */
  mergeOwners(): Promise<void>;
}

/**
 * The start of every write of records, for any number of them and in a constant number of statements: look up references
 * and owners, lock the owners in id order, all in one round trip; then read the records again under the locks.
 */
export function prepare<S extends State>(
  tx: Transaction,
  context: Context,
  writes: readonly RecordWrite[],
  store: Store<S>,
): Promise<Prepared<S>> {
  return store.owner ? prepareOwned(tx, context, writes, store, store.owner) : prepareOwn(tx, context, writes, store);
}

function named(writes: readonly RecordWrite[]): (FactReference | NamelessFact)[] {
  return writes.flatMap((write) => (write.mode === 'patch' ? [] : [write]));
}

function patchedIds(writes: readonly RecordWrite[]): string[] {
  return writes.flatMap((write) => (write.mode === 'patch' ? [write.id] : []));
}

async function prepareOwned<S extends State>(
  tx: Transaction,
  context: Context,
  writes: readonly RecordWrite[],
  store: Store<S>,
  ownership: Ownership,
): Promise<Prepared<S>> {
  const patched = patchedIds(writes);
  const origins = new Map(
    await Promise.all(patched.map(async (id) => [id, await store.originOf(tx, id)] as const)), // a pair
  );
  const inputs: OwnerInput[] = [];
  const inputOf = writes.map((write) => {
    const source = write.mode === 'patch' ? (origins.get(write.id)?.source ?? null) : write.source;
    const input = ownerInput(ownership, store.kind, write, source);
    return input && inputs.push(input) - 1;
  });
  const match = ownership.owners.match(inputs);
  const names = namesOf(store.kind, named(writes));
  const { found, locked, decide } = await match.lock(tx, {
    ids: [...origins.values()].flatMap((origin) => origin?.customerId ?? []),
    names: [...names, ...match.names],
  });
  const scoped = context.principal.scopedTo !== null;
  // Names that are waited for are nobody's, so a scoped token does not see them.
  const book = refBook(store.kind, scoped ? [...found, ...(await awaitedAmong(tx, names))] : found);
  const states = await store.states(tx, [...new Set([...book.records(), ...patched])]);
  for (const { row } of states.values()) if (!locked.has(row.customerId)) throw new Retry(`a ${store.kind} moved`);
  book.refresh([...states.values()].flatMap(({ references }) => references));
  const owners = await decide(tx, context);
  return {
    tx,
    now: context.now,
    scoped,
    owned: true,
    book,
    states,
    parents: owners.parents ?? [],
    owner(index) {
      const input = inputOf[index] ?? null;
      if (input === null) return null;
      return ownership.optional ? owners.ownerOrNobody(input) : owners.owner(input);
    },
    saveOwners: (nobodies) => owners.save(tx, nobodies),
    mergeOwners: () => owners.merge(tx),
  };
}

function ownerInput(
  { input }: Ownership,
  recordKind: string,
  write: RecordWrite,
  factSource: string | null,
): OwnerInput | null {
  const sent = write.input as Readonly<Record<string, unknown>>; // with the members of `Ownership.input`
  const given = Object.fromEntries(Object.keys(input).map((member) => [member, sent[member]]));
  // A patch without an owner leaves it as it is; a whole document must name one.
  if (write.mode === 'patch' && Object.values(given).every((value) => value === undefined)) return null;
  return { ...given, factSource, recordKind };
}

/** A record without an owner is locked by its own row. */
async function prepareOwn<S extends State>(
  tx: Transaction,
  context: Context,
  writes: readonly RecordWrite[],
  store: Store<S>,
): Promise<Prepared<S>> {
  const names = namesOf(store.kind, named(writes));
  const patched = patchedIds(writes);
  const seen = refBook(store.kind, [...(await refsByName(tx, store.kind, names)).values()]);
  const ids = [...new Set([...seen.records(), ...patched])];
  await store.lock(tx, ids);
  // What was read before waiting for the locks is stale.
  const [found, states] = await Promise.all([refsByName(tx, store.kind, names), store.states(tx, ids)]);
  const book = refBook(store.kind, [...found.values()]);
  if (book.records().some((id) => !states.has(id))) throw new Retry(`a ${store.kind} got its name meanwhile`);
  return {
    tx,
    now: context.now,
    scoped: context.principal.scopedTo !== null,
    owned: false,
    book,
    states,
    parents: [],
    owner: () => null,
    saveOwners: () => Promise.resolve(),
    mergeOwners: () => Promise.resolve(),
  };
}

export interface Start<S> {
  id: string;
  before: S | null;
  /** null: no owner. */
  customerId: string | null;
  incoming: SourceVersion | null;
  /** null: a patch that leaves it, or no owner. */
  owner: Owner | Nobody | null;
  /** The message is older than what is stored, so nothing changes. */
  stale: boolean;
}

/**
 * Where the write of one record starts from.
 *
 * @throws Problem what is wrong with its owner, not_found, version_mismatch, already_exists, deleted
 */
export function startWrite<S extends State>(prepared: Prepared<S>, write: RecordWrite, index: number): Start<S> {
  const { kind } = prepared.book;
  if (write.mode === 'patch') {
    const before = prepared.states.get(write.id);
    if (!before) throw notFound(kind);
    checkVersion(before.row.version, write.expectedVersion);
    const owner = prepared.owner(index);
    const customerId = owner ? ownerId(owner, write.id) : before.row.customerId;
    if (prepared.scoped && customerId !== before.row.customerId) throw notMovable();
    return { id: write.id, before, customerId, incoming: null, owner, stale: false };
  }
  const owner = prepared.owner(index);
  const incoming = sourceVersion(write.input.sourceVersion, prepared.now);
  if (write.mode === 'new' && write.source === null && incoming && !write.input.references?.length) {
    throw invalid('/sourceVersion', 'no_reference', 'sourceVersion needs a reference: send references.');
  }
  const known = write.mode === 'new' ? null : prepared.book.resolve(write, incoming);
  const before = known ? prepared.states.get(known.id) : null;
  if (before === undefined) throw new Retry(`a ${kind} vanished`);
  const expected = write.mode === 'new' ? undefined : write.expectedVersion;
  if (expected !== undefined) checkVersion(before?.row.version ?? 0, expected);
  if (prepared.owned && !owner) throw new Problem(customerRequired, 'Send customerId or customer.');
  const id = before?.row.id ?? newId();
  const customerId = owner && ownerId(owner, id);
  if (prepared.scoped && customerId !== null && isNobody(customerId)) throw ownerNeeded();
  return { id, before, customerId, incoming, owner, stale: known !== null && !known.news };
}

function ownerId({ customerId }: Owner | Nobody, recordId: string): string {
  return customerId ?? nobodyOf(recordId);
}

/** What is nobody's is shared with nobody. */
function ownerNeeded(): Problem {
  const message = 'Your token cannot write records without a customer: say whose it is.';
  return new Problem('not_shared', message, { errors: [{ pointer: '/customer', code: 'not_shared', message }] });
}

/** Policies only see what a row becomes: they cannot tell that it is taken from a customer who is shared for reading only. */
function notMovable(): Problem {
  const message = 'You cannot move this record to another customer.';
  return new Problem('not_shared', message, { errors: [{ pointer: '/customerId', code: 'not_shared', message }] });
}

/** Splits changes by what has to be done, tells the audit whose records change, and writes the names of those that existed or come back from a tombstone. */
export async function saveNames<S extends State>(
  tx: Transaction,
  changes: Iterable<Change<S>>,
  book: RefBook,
): Promise<{ created: S[]; updated: { before: S; after: S }[] }> {
  const created: S[] = [];
  const updated: { before: S; after: S }[] = [];
  const old: RefRow[] = [];
  const now: RefRow[] = [];
  const awaited: RefRow[] = [];
  for (const { before, after } of changes) {
    if (!after) continue;
    for (const state of before ? [before, after] : [after]) {
      const { customerId } = state.row;
      if (customerId && customerId !== waitingOwner) tx.auditContext.customerIds.add(customerId);
    }
    awaited.push(...after.references.filter((ref) => book.isAwaited(ref)));
    if (before) {
      updated.push({ before, after });
      old.push(...before.references);
      now.push(...after.references);
      // A tombstone that comes back to life is there already.
      old.push(...after.references.filter((ref) => book.isTombstone(ref)));
      continue;
    }
    const revived = after.references.filter((ref) => book.isTombstone(ref));
    old.push(...revived);
    now.push(...revived);
    created.push(
      revived.length === 0 ? after : { ...after, references: after.references.filter((ref) => !book.isTombstone(ref)) },
    );
  }
  if (awaited.length > 0) await removeAwaited(tx, awaited);
  if (now.length > 0 || old.length > 0) await saveRefs(tx, old, now);
  return { created, updated };
}

/** Accepts a planned change and its owner; two documents of one set for the same record are one change of the stored row. */
export function noteChange<S extends State>(
  prepared: Prepared<S>,
  changes: Map<string, Change<S>>,
  { before, owner }: Start<S>,
  after: S,
): void {
  const { id } = after.row;
  const pending = changes.get(id);
  if (owner && owner.customerId !== null) owner.admit();
  prepared.states.set(id, after);
  changes.set(id, { before: pending ? pending.before : before, after });
}
