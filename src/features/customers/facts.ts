import { Retry, type Transaction } from '../../platform/db/client.ts';
import { notFound, Problem } from '../../platform/errors.ts';
import type { Context } from '../../platform/operation.ts';
import { checkVersion } from '../../platform/versions.ts';
import type { RecordKind } from '../references/model.ts';
import { type RefRow, type SourceVersion, sourceVersion } from '../references/queries.ts';
import {
  type FactReference,
  type NamelessFact,
  namesOf,
  type RefBook,
  refBook,
  saveRefs,
} from '../references/write.ts';
import { matchOwners, type Owner, type OwnerBook, type OwnerClaim } from './match.ts';
import { findAndLockOwners, ownersOf } from './queries.ts';

/** A document about something that belongs to a customer: an order, a return, an interaction. */
export type FactWrite<Document, Patch> =
  | (FactReference & { input: Document })
  | { mode: 'patch'; id: string; input: Patch; expectedVersion: number | '*' };

/** A document that is a new fact each time. */
export type NamelessWrite<Document> = NamelessFact & { input: Document };
type AnyWrite<Document, Patch> = FactWrite<Document, Patch> | NamelessWrite<Document>;

interface Owned {
  customerId?: string | undefined;
  customer?: OwnerClaim['customer'];
}

interface FactState {
  row: { id: string; customerId: string; version: number };
  references: RefRow[];
}

export interface FactOrigin {
  customerId: string;
  /** Never changes; null where its sender did not say. */
  source: string | null;
}

/** How a kind of fact is found; its SQL. */
interface FactStore<State extends FactState> {
  kind: RecordKind;
  /** Whose fact it is and which source it came from, read without a lock. */
  originOf(tx: Transaction, id: string): Promise<FactOrigin | null>;
  /** The facts as they stand, read under the locks of their customers. */
  states(tx: Transaction, ids: string[]): Promise<Map<string, State>>;
}

export interface Prepared<State> {
  /** Under whose locks it was prepared. */
  tx: Transaction;
  /** Whether the caller is confined: then a fact stays with its customer. */
  confined: boolean;
  book: RefBook;
  states: Map<string, State>;
  /** The customer of the write of this index; null for a patch that leaves it. @throws Problem */
  owner(index: number): Owner | null;
  /** Writes what accepted facts make of their customers; before the facts themselves. */
  saveOwners(): Promise<void>;
}

/**
 * What every write of facts starts with, for any number of them and in a constant number of statements: look up names
 * and customers and lock these in id order, in one round trip; read again under the locks what counts.
 */
export async function prepareFacts<
  Document extends FactReference['input'] & Owned,
  Patch extends Owned,
  State extends FactState,
>(
  tx: Transaction,
  context: Context,
  writes: AnyWrite<Document, Patch>[],
  store: FactStore<State>,
): Promise<Prepared<State>> {
  const named = writes.flatMap((write) => (write.mode === 'patch' ? [] : [write]));
  const patched = writes.flatMap((write) => (write.mode === 'patch' ? [write.id] : []));
  const origins = new Map(
    await Promise.all(patched.map(async (id) => [id, await store.originOf(tx, id)] as const)), // a pair
  );
  const claims: OwnerClaim[] = [];
  const claimOf = writes.map((write) => {
    const source = write.mode === 'patch' ? (origins.get(write.id)?.source ?? null) : write.source;
    const claim = ownerClaim(write, source);
    return claim && claims.push(claim) - 1;
  });
  const match = matchOwners(claims);
  const names = [...namesOf(store.kind, named), ...match.names];
  const ids = [...match.ids, ...[...origins.values()].flatMap((origin) => origin?.customerId ?? [])];
  const [identityOwners, { found, locked, tombstones }] = await Promise.all([
    ownersOf(tx, match.identities),
    findAndLockOwners(tx, { ids, names, identities: match.identities }),
  ]);
  const book = refBook(store.kind, found);
  const states = await store.states(tx, [...new Set([...book.records(), ...patched])]);
  for (const { row } of states.values()) if (!locked.has(row.customerId)) throw new Retry(`a ${store.kind} moved`);
  book.refresh([...states.values()].flatMap(({ references }) => references));
  const owners: OwnerBook = await match.decide(tx, context, found, identityOwners, { locked, tombstones });
  return {
    tx,
    confined: context.principal.confinement !== null,
    book,
    states,
    owner(index) {
      const claim = claimOf[index] ?? null;
      return claim === null ? null : owners.owner(claim);
    },
    saveOwners: () => owners.save(tx),
  };
}

function ownerClaim(
  write: AnyWrite<Owned & FactReference['input'], Owned>,
  factSource: string | null,
): OwnerClaim | null {
  const { customerId, customer } = write.input;
  // A patch that says nothing of the customer leaves it; a document has to name one.
  if (write.mode === 'patch' && customerId === undefined && customer === undefined) return null;
  return { customerId, customer, factSource };
}

export interface Start<State> {
  before: State | null;
  customerId: string;
  incoming: SourceVersion | null;
  /** null: a patch that leaves it. */
  owner: Owner | null;
  /** The message is older than what is stored: nothing is to be changed. */
  stale: boolean;
}

/**
 * Where the write of one fact starts from.
 *
 * @throws Problem what is wrong with its customer, not_found, version_mismatch, already_exists, deleted
 */
export function startFact<State extends FactState>(
  prepared: Prepared<State>,
  write: AnyWrite<FactReference['input'] & { sourceVersion?: number | string | undefined }, object>,
  index: number,
  kind: RecordKind,
): Start<State> {
  if (write.mode === 'patch') {
    const before = prepared.states.get(write.id);
    if (!before) throw notFound(kind);
    checkVersion(before.row.version, write.expectedVersion);
    const owner = prepared.owner(index);
    const customerId = owner?.customerId ?? before.row.customerId;
    if (prepared.confined && customerId !== before.row.customerId) throw notMovable();
    return { before, customerId, incoming: null, owner, stale: false };
  }
  const owner = prepared.owner(index);
  const incoming = sourceVersion(write.input.sourceVersion);
  const known = write.mode === 'new' ? null : prepared.book.resolve(write, incoming);
  const before = known ? prepared.states.get(known.id) : null;
  if (before === undefined) throw new Retry(`a ${kind} vanished`);
  const expected = write.mode === 'new' ? undefined : write.expectedVersion;
  if (expected !== undefined) checkVersion(before?.row.version ?? 0, expected);
  if (!owner) throw new Problem('customer_required', 'Say whose it is.');
  return { before, customerId: owner.customerId, incoming, owner, stale: known !== null && !known.news };
}

/** Policies ask of a row what it becomes: they cannot tell that it is taken from a customer who is shared for reading only. */
function notMovable(): Problem {
  const message = 'Whose it is, is not for the caller to change.';
  return new Problem('not_shared', message, { errors: [{ pointer: '/customerId', code: 'not_shared', message }] });
}

export interface FactChange<State> {
  before: State | null;
  after: State;
}

/** Splits changes by what has to be done, tells the audit whose facts change, and writes the names of those that existed or come back from a tombstone. */
export async function saveNames<State extends FactState>(
  tx: Transaction,
  changes: Iterable<FactChange<State>>,
  book: RefBook,
): Promise<{ created: State[]; updated: { before: State; after: State }[] }> {
  const created: State[] = [];
  const updated: { before: State; after: State }[] = [];
  const old: RefRow[] = [];
  const now: RefRow[] = [];
  for (const { before, after } of changes) {
    tx.trail.customerIds.add(after.row.customerId);
    if (before) {
      tx.trail.customerIds.add(before.row.customerId);
      updated.push({ before, after });
      old.push(...before.references);
      now.push(...after.references);
      continue;
    }
    const revived = after.references.filter((ref) => book.isTombstone(ref));
    old.push(...revived);
    now.push(...revived);
    created.push(
      revived.length === 0 ? after : { ...after, references: after.references.filter((ref) => !book.isTombstone(ref)) },
    );
  }
  if (now.length > 0 || old.length > 0) await saveRefs(tx, old, now);
  return { created, updated };
}

/** Accepts a planned change and with it the customer it names; two documents of one set for the same record are one change of the stored row. */
export function noteChange<State extends FactState>(
  prepared: Prepared<State>,
  changes: Map<string, FactChange<State>>,
  { before, owner }: Start<State>,
  after: State,
): void {
  const { id } = after.row;
  const pending = changes.get(id);
  owner?.admit();
  prepared.states.set(id, after);
  changes.set(id, { before: pending ? pending.before : before, after });
}
