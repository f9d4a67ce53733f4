import { Retry, type Transaction } from '../../platform/db/client.ts';
import { Problem } from '../../platform/errors.ts';
import {
  addRefs,
  byName,
  deletedReference,
  isNews,
  type Name,
  newRef,
  type RefRow,
  refKey,
  removeRefs,
  type SourceVersion,
  sourceVersion,
  type Target,
  updateRefs,
} from './queries.ts';
import type { ReferenceInput } from './record.ts';

/** The reference that a record is pushed under, and further references. */
export interface FactReference extends ReferenceInput {
  mode: 'create' | 'upsert';
  /** A PUT may say which version it means to replace. */
  expectedVersion?: number | '*' | undefined;
  /** Only a PUT that says so brings a deleted record back. */
  restore?: boolean | undefined;
  input: { references?: ReferenceInput[] | undefined };
}

/** A record without a reference of its own: a new one each time. It may still have further references. */
export interface NamelessFact {
  mode: 'new';
  source: string | null;
  input: FactReference['input'];
}

/** The references of a document, its own first. */
function listedNames(fact: FactReference | NamelessFact): { own: number; names: ReferenceInput[] } {
  const own = fact.mode === 'new' ? [] : [{ source: fact.source, externalId: fact.externalId }];
  return { own: own.length, names: [...own, ...(fact.input.references ?? [])] };
}

/** What is known of the references of a set of records while it is planned. */
export interface RefBook {
  kind: string;
  /** Ids of these records. */
  records(): string[];
  /** Replaces what was read before the locks by what stands under them. */
  refresh(rows: RefRow[]): void;
  known(ref: ReferenceInput): RefRow | undefined;
  set(ref: RefRow): void;
  /** Whether the stored row is a tombstone: such a reference is updated, not inserted. */
  isTombstone(ref: ReferenceInput): boolean;
  /** Whether other records wait for one of this name, and which of the names are waited for. */
  isAwaited(ref: ReferenceInput): boolean;
  awaited: readonly ReferenceInput[];
  /**
   * The record of a document's own reference, and whether the message is newer than it; null if the record is new.
   *
   * @throws Problem already_exists (create), deleted
   */
  resolve(fact: FactReference, incoming: SourceVersion | null): { id: string; news: boolean } | null;
}

/** All references of a set of documents, each once. */
export function namesOf(kind: string, facts: (FactReference | NamelessFact)[]): Name[] {
  const names = new Map<string, Name>();
  for (const fact of facts) {
    for (const { source, externalId } of listedNames(fact).names) {
      names.set(refKey({ source, externalId }), { kind, source, externalId });
    }
  }
  return [...names.values()];
}

/** @param found what is known of `namesOf` the documents, and maybe of other kinds of record */
export function refBook(kind: string, found: RefRow[]): RefBook {
  const rows = byName(found, kind);
  const awaited = new Map([...rows].filter(([, row]) => row.recordId === null && !row.deletedAt));
  // Nothing is known of a record that is not there.
  for (const key of awaited.keys()) rows.delete(key);
  const tombstones = new Set([...rows].filter(([, row]) => row.deletedAt).map(([key]) => key));
  return {
    kind,
    records: () => [...new Set([...rows.values()].flatMap(({ recordId }) => recordId ?? []))],
    refresh(fresh) {
      for (const row of fresh) rows.set(refKey(row), row);
    },
    known: (ref) => rows.get(refKey(ref)),
    set: (ref) => void rows.set(refKey(ref), ref),
    isTombstone: (ref) => tombstones.has(refKey(ref)),
    isAwaited: (ref) => awaited.has(refKey(ref)),
    awaited: [...awaited.values()],
    resolve(fact, incoming) {
      const row = rows.get(refKey(fact));
      if (!row) return null;
      if (row.recordId === null) {
        if (fact.restore) return null;
        throw deletedReference('/externalId');
      }
      if (fact.mode === 'create') {
        throw new Problem('already_exists', `The ${kind} with this reference exists already.`, {
          errors: [{ pointer: '/externalId', code: 'already_exists', message: 'The reference exists already.' }],
          extra: { id: row.recordId },
        });
      }
      return { id: row.recordId, news: isNews(row, incoming) };
    },
  };
}

function restores(fact: FactReference | NamelessFact | null): boolean {
  return fact !== null && fact.mode !== 'new' && fact.restore === true;
}

/**
 * Whether a message that deletes a record is newer than what is stored under the reference it came by (by id: the first one).
 * If it is, its version is stored with the tombstone.
 *
 * @throws Problem no_reference, source_version_kind, in_the_future
 */
export async function isDeletionNews(
  tx: Transaction,
  references: readonly RefRow[],
  target: Target,
  sent: number | string | undefined,
  now: string,
): Promise<boolean> {
  const incoming = sourceVersion(sent, now, { parameter: 'sourceVersion' });
  if (!incoming) return true;
  const named = references.find(
    ({ source, externalId }) => source === target.source && externalId === target.externalId,
  );
  const ref = named ?? references[0];
  if (!ref) {
    const message = 'sourceVersion belongs to a reference, and this record has none: leave it out.';
    throw new Problem('invalid_input', message, {
      errors: [{ parameter: 'sourceVersion', code: 'no_reference', message }],
    });
  }
  if (!isNews(ref, incoming, { parameter: 'sourceVersion' })) return false;
  await tx.all(updateRefs, {
    rows: JSON.stringify([{ ...ref, versionKind: incoming.kind, versionValue: incoming.value }]),
  });
  return true;
}

/** The references of a record after a write: its own first, then those sent with it, then those it had from other senders. */
export function planReferences(
  book: RefBook,
  fact: FactReference | NamelessFact | null,
  before: RefRow[],
  owner: { recordId: string; customerId: string | null; now: string; incoming: SourceVersion | null },
): RefRow[] {
  const { recordId, customerId, now, incoming } = owner;
  const { own, names } = fact ? listedNames(fact) : { own: 0, names: [] };
  const seen = new Map<string, RefRow>();
  // The reference that a record was created under stays its first one, whoever writes.
  for (const ref of before) seen.set(refKey(ref), { ...ref, customerId });
  for (const [index, ref] of names.entries()) {
    const isOwn = index < own;
    const key = refKey(ref);
    const known = book.known(ref);
    if (known?.recordId && known.recordId !== recordId) {
      const message = 'Another record has this reference.';
      throw new Problem('already_exists', message, {
        errors: [{ pointer: isOwn ? '/externalId' : `/references/${index - own}`, code: 'already_exists', message }],
        extra: { id: known.recordId },
      });
    }
    if (known?.recordId === null && !restores(fact)) {
      throw deletedReference(isOwn ? '/externalId' : `/references/${index - own}`);
    }
    const version = isOwn ? incoming : null;
    const { versionKind = null, versionValue = null } = known ?? {};
    const fresh = newRef(book.kind, ref, { recordId, customerId, position: seen.size }, now);
    const stored = seen.get(key) ?? { ...fresh, versionKind, versionValue };
    seen.set(key, version ? { ...stored, versionKind: version.kind, versionValue: version.value } : stored);
  }
  const rows = [...seen.values()].map((row, position) => ({ ...row, recordId, customerId, position, deletedAt: null }));
  for (const row of rows) book.set(row);
  return rows;
}

/** Writes the difference between the references before and after; a tombstone that comes back to life is among both. */
export async function saveRefs(tx: Transaction, before: RefRow[], after: RefRow[]): Promise<void> {
  const old = new Set(before.map(refKey));
  const now = new Set(after.map(refKey));
  const added = after.filter((ref) => !old.has(refKey(ref)));
  const kept = after.filter((ref) => old.has(refKey(ref)));
  const dropped = before.filter((ref) => !now.has(refKey(ref)));
  if (kept.length > 0) {
    const updated = await tx.all(updateRefs, { rows: JSON.stringify(kept) });
    // Two messages may restore one tombstone, which has no customer whose lock would order them.
    if (updated.length < kept.length) throw new Retry('a name was taken');
  }
  if (dropped.length > 0) await tx.all(removeRefs, { rows: JSON.stringify(dropped) });
  if (added.length > 0) await tx.all(addRefs, { newRefs: JSON.stringify(added) });
}

/** The version of a new record with a list of references belongs to the first of them. */
export function newVersion(
  book: RefBook,
  { mode }: { mode: string },
  incoming: SourceVersion | null,
  references: RefRow[],
): RefRow[] {
  const [first, ...others] = references;
  if (mode !== 'new' || !incoming || !first) return references;
  const versioned = { ...first, versionKind: incoming.kind, versionValue: incoming.value };
  book.set(versioned);
  return [versioned, ...others];
}
