import { isDeepStrictEqual } from 'node:util';
import type { z } from 'zod';
import type { Outcome, Warning } from '../platform/batch.ts';
import type { Transaction } from '../platform/db/client.ts';
import { orProblem, Problem } from '../platform/errors.ts';
import type { Context } from '../platform/operation.ts';
import { mapInSlices } from '../platform/slices.ts';
import {
  beginEffects,
  type Change,
  type Effect,
  type LineRow,
  type Planning,
  type State,
  type StoredRow,
} from './effects.ts';
import { type Fields, specsOf } from './fields.ts';
import { parentMember } from './lines.ts';
import { isNobody } from './nobody.ts';
import { withoutPersonal } from './personal-data.ts';
import { noteChange, type Prepared, prepare, type RecordWrite, type Store, saveNames, startWrite } from './prepare.ts';
import type { Kind, RowOf } from './record.ts';
import { refKey, toReference } from './references/queries.ts';
import { newVersion, planReferences, refBook } from './references/write.ts';
import { nextStamps, type Stamps } from './stamps.ts';
import {
  type AnswerRow,
  answerById,
  type Inserted,
  insertStates,
  insertValues,
  readAnswer,
  statementsOf,
  statesOf,
  updateStates,
} from './statements.ts';

/** The result of one document. */
export interface Written {
  id: string;
  created: boolean;
  applied: boolean;
  warnings: Warning[];
  /** As it stands now, but for what the database worked out. */
  state: State;
  /** What it worked out, when the record is new. */
  made: AnswerRow | undefined;
  /** Whether both have all of an answer. */
  complete: boolean;
}

type InputOf<K> = K extends { document: infer D extends z.ZodType } ? z.output<D> : never;

/** Sets what is special about writing a kind. It is a file of its own, because a plan needs other kinds, which a definition must not. */
export function writtenBy<const K extends Kind, Loaded = undefined>(
  kind: K,
  planning: Planning<RowOf<K>, InputOf<K>, Loaded>,
): void {
  Object.assign(kind.writing, planning);
}

/** Sets what follows a change of a kind's records, in this order. */
export function follow(kind: Kind, effects: readonly Effect[]): void {
  kind.writing.after.push(...effects);
}

export function storeOf(kind: Kind): Store<State> {
  const { origin, lock } = statementsOf(kind);
  return {
    kind: kind.name,
    owner: kind.owner,
    originOf: (tx, id) => tx.first(origin, { id }),
    lock: async (tx, ids) => (ids.length > 0 ? tx.all(lock, { ids }) : []),
    states: (tx, ids) => statesOf(tx, kind, ids),
  };
}

/** Plans and writes any number of records, in index order; an item's fault is returned in its place. */
export async function writeRecords(
  kind: Kind,
  tx: Transaction,
  context: Context,
  writes: readonly RecordWrite[],
): Promise<(Written | Problem)[]> {
  const { writing } = kind;
  await writing.await?.(tx, context, writes);
  const prepared = await prepare(tx, context, writes, storeOf(kind));
  const known = await writing.lookUp?.(tx, context, {
    inputs: writes.map(({ input }) => input),
    stored: [...prepared.states.values()].map(({ row }) => row),
    parents: prepared.parents,
    awaited: prepared.book.awaited,
  });
  const changes = new Map<string, Change<State> & { after: State }>();
  const planned = await mapInSlices(writes, (write, index) =>
    orProblem(() => plan(kind, context, write, index, { prepared, changes, known })),
  );
  await prepared.saveOwners(newNobodies(changes.values()));
  const { created, updated } = await saveNames(tx, changes.values(), prepared.book);
  const values = await insertValues(kind, created);
  const finish = beginEffects(writing.after, tx, context, [...changes.values()]);
  await updateStates(tx, context, kind, updated);
  const inserted = await insertAndFinish(() => insertStates(tx, context, kind, created, values), finish, writing);
  await prepared.mergeOwners();
  const isRead = kind.select !== null;
  const generates = specsOf(kind.fields).some(([, spec]) => spec.generated && spec.output);
  return planned.map((result) => {
    if (result instanceof Problem) return result;
    const state = changes.get(result.id)?.after ?? result.state;
    const made = result.created ? inserted.rows.get(result.id) : undefined;
    // What waited for it may have changed it since.
    const complete = !isRead && !state.awaited && (!generates || made !== undefined);
    return { ...result, state, made, complete };
  });
}

async function insertAndFinish(
  insert: () => Promise<Inserted>,
  finish: ReturnType<typeof beginEffects>,
  { after }: Kind['writing'],
): Promise<Inserted> {
  if (after.some(({ asks }) => asks)) {
    const inserted = await insert();
    await finish(inserted.found);
    return inserted;
  }
  // In one round trip, as nothing waits for the other; when the records are refused, theirs is the error that is thrown.
  const [inserted] = await Promise.all([insert(), finish()]);
  return inserted;
}

/** The owner rows that are needed for records of which nobody is known any more, or yet. */
function newNobodies(changes: Iterable<Change<State>>): string[] {
  return [...changes].flatMap(({ before, after }) => {
    if (!after?.row.customerId || !isNobody(after.row.customerId)) return [];
    return before?.row.customerId === after.row.customerId ? [] : [after.row.customerId];
  });
}

interface Loaded {
  prepared: Prepared<State>;
  changes: Map<string, Change<State> & { after: State }>;
  known: unknown;
}

function plan(
  kind: Kind,
  context: Context,
  write: RecordWrite,
  index: number,
  { prepared, changes, known }: Loaded,
): Omit<Written, 'made' | 'complete'> {
  const start = startWrite(prepared, write, index);
  const { id, before, customerId, incoming, owner, stale } = start;
  const warnings = [...(owner?.warnings ?? [])];
  const planned = (said: Warning[]) => {
    const next = nextRow(kind, write, before?.row ?? null, { id, customerId, now: context.now });
    if (owner && owner.customerId !== null) Object.assign(next, owner.members);
    const lines = nextLines(kind, write, before, next, said);
    const checked = kind.writing.plan?.(next, {
      before: before?.row ?? null,
      input: write.input,
      mode: write.mode,
      lines,
      context,
      known,
      warn: (warning) => said.push(warning),
    });
    return { row: withoutPersonal(prepared.tx, kind.table, checked ?? next), lines };
  };
  if (before && stale) {
    // What would be refused is another state, too.
    const other = orProblem(() => planned([]));
    if (other instanceof Problem || differs(kind, other, before)) warnings.push(notNewer);
    return { id: before.row.id, created: false, applied: false, warnings, state: before };
  }
  const { row, lines } = planned(warnings);
  const references =
    kind.naming === 'none'
      ? []
      : newVersion(
          prepared.book,
          write,
          incoming,
          planReferences(prepared.book, write.mode === 'patch' ? null : write, before?.references ?? [], {
            recordId: id,
            customerId,
            now: context.now,
            incoming,
          }),
        );
  const awaited = references.some((ref) => prepared.book.isAwaited(ref));
  if (context.keepsSame && before && !incoming && !awaited && isSame(kind, { row, lines, references }, before)) {
    if (owner && owner.customerId !== null) owner.admit();
    return { id, created: false, applied: false, warnings, state: before };
  }
  const state: State = { row, lines, references, ...(awaited && { awaited }) };
  kind.writing.accepted?.(row, known);
  noteChange(prepared, changes as Map<string, Change<State>>, start, state); // every planned change has a state after it
  return { id, created: before === null, applied: true, warnings, state };
}

/** Shops count in seconds: of two states in one second the later one is told, and not kept. */
export const notNewer: Warning = {
  code: 'source_version_not_newer',
  message:
    'Nothing was changed: the stored sourceVersion is the same or later, and the content differs. Send a higher sourceVersion if this state is the newer one.',
};

/** Whether a document would change nothing: not whose the record is, nor what it is called, nor what is worked out of it. */
function isSame(kind: Kind, next: State, before: State): boolean {
  const names = new Set(before.references.map(refKey));
  return (
    next.row.customerId === before.row.customerId &&
    next.references.every((ref) => names.has(refKey(ref))) &&
    !differs(kind, next, before) &&
    workedOut(kind).every((member) => isDeepStrictEqual(storedIn(next.row, member), storedIn(before.row, member)))
  );
}

function storedIn(row: StoredRow, member: string): unknown {
  return (row as unknown as Readonly<Record<string, unknown>>)[member] ?? null; // a member of its fields
}

/** Members that a plan makes of others. */
function workedOut({ fields }: Kind): string[] {
  const stamps = ['id', 'version', 'createdAt', 'updatedAt', 'source', 'externalId', 'customerId'];
  return specsOf(fields).flatMap(([member, { input, generated }]) =>
    input || generated || stamps.includes(member) ? [] : [member],
  );
}

function differs(kind: Kind, next: Pick<State, 'row' | 'lines'>, before: State): boolean {
  return (
    saysOther(kind.fields, next.row, before.row) ||
    Object.entries(kind.lines).some(([member, { set }]) => {
      const [sent = [], stored = []] = [next.lines[member], before.lines[member]];
      return sent.length !== stored.length || sent.some((line, at) => saysOther(set.fields, line, stored[at] ?? {}));
    })
  );
}

/** Whether the row that a document makes is not what is stored, as far as clients write it. */
export function saysOther(fields: Fields, next: object, stored: object): boolean {
  const [row, former] = [next, stored] as Readonly<Record<string, unknown>>[];
  return specsOf(fields).some(([member, spec]) => {
    if (!spec.input || !spec.output) return false;
    const told = (of: typeof row) => loaded(spec.convert, of?.[member]) ?? null;
    return !isDeepStrictEqual(told(row), told(former));
  });
}

/** The row that a document makes of the one before: an omitted member stays on PATCH, and takes its default otherwise. */
export function nextRow(
  { fields }: { fields: Fields },
  { mode, input, ...write }: Pick<RecordWrite, 'mode'> & { input: object },
  before: StoredRow | null,
  { id, customerId, now }: { id: string; customerId: string | null; now: string },
): StoredRow {
  const given = input as Readonly<Record<string, unknown>>; // parsed by the kind's schema
  const old = before as Readonly<Record<string, unknown>> | null;
  const name = write as { source?: string | null; externalId?: string };
  const row: Record<string, unknown> = { ...blankOf(fields) };
  for (const [member, spec] of specsOf(fields)) {
    if (spec.generated) continue;
    const sent = spec.input ? given[member] : undefined;
    if (sent !== undefined && sent !== null) row[member] = spec.convert ? spec.convert.store(sent) : sent;
    else if (sent === undefined && old && (mode === 'patch' || !spec.input)) row[member] = old[member];
    else row[member] = spec.fallback;
  }
  if ('customerId' in fields) row['customerId'] = customerId;
  if ('source' in fields && !before) {
    row['source'] = name.source ?? null;
    row['externalId'] = name.externalId ?? null;
  }
  row['id'] = id;
  row['createdAt'] = old?.['createdAt'] ?? now;
  return Object.assign(row, nextStamps(old as Stamps | null, now)) as unknown as StoredRow; // all members of the fields
}

const blanks = new WeakMap<Fields, Readonly<Record<string, null>>>();

/** A row to copy and fill: V8 keeps an object that grows by many computed names as a hash table. */
function blankOf(fields: Fields): Readonly<Record<string, null>> {
  const known =
    blanks.get(fields) ??
    Object.fromEntries(specsOf(fields).flatMap(([member, { generated }]) => (generated ? [] : [[member, null]])));
  blanks.set(fields, known);
  return known;
}

function nextLines(
  kind: Kind,
  { mode, input }: RecordWrite,
  before: State | null,
  { id, customerId }: StoredRow,
  warnings: Warning[],
): Record<string, readonly LineRow[]> {
  const documents = input as Readonly<Record<string, readonly LineRow[] | undefined>>; // parsed by the kind's schema
  const parent = parentMember(kind.name);
  return Object.fromEntries(
    Object.entries(kind.lines).map(([member, { set }]) => {
      const sent = documents[member];
      const kept = mode === 'patch' ? (before?.lines[member] ?? []) : [];
      if (!sent) return [member, kept.map((line) => ({ ...line, customerId }))];
      return [
        member,
        sent.map((item, position) => {
          const line: Record<string, unknown> = { customerId, [parent]: id, position };
          for (const [key, spec] of specsOf(set.fields)) {
            const given = item[key] ?? spec.fallback;
            const isUnusable = spec.lenient && given !== null && !spec.input?.safeParse(given).success;
            if (isUnusable) warnings.push(unusable(`${member}[${position}].${key}`, key));
            const value = isUnusable ? null : given;
            line[key] = spec.convert && value !== null ? spec.convert.store(value) : value;
          }
          return line;
        }),
      ];
    }),
  );
}

function unusable(place: string, member: string): Warning {
  return { code: `unusable_${member}`, message: `${place} is empty or too long, and was ignored.` };
}

/** Stores changes of records that were planned elsewhere, under the locks of their owners, and what follows from them. */
export async function changeStates(
  kind: Kind,
  tx: Transaction,
  context: Context,
  changes: readonly { before: State; after: State }[],
): Promise<void> {
  await saveNames(tx, changes, refBook(kind.name, []));
  const finish = beginEffects(kind.writing.after, tx, context, changes);
  await updateStates(tx, context, kind, changes);
  await finish();
}

/** The answer that a stored state makes, with what the database worked out of it. */
export function answerOf<T>(kind: Kind, { row, lines, references }: State, made: AnswerRow | undefined): T {
  const answer: Record<string, unknown> & { id: string } = { id: row.id };
  const stored = row as unknown as Readonly<Record<string, unknown>>; // its members are those of the fields
  for (const [member, spec] of specsOf(kind.fields)) {
    if (spec.output) answer[member] = loaded(spec.convert, (spec.generated && made ? made : stored)[member]);
  }
  for (const [member, { set }] of Object.entries(kind.lines)) {
    answer[member] = (lines[member] ?? []).map((line) => {
      const told: Record<string, unknown> = {};
      for (const [key, spec] of specsOf(set.fields)) if (spec.output) told[key] = loaded(spec.convert, line[key]);
      return told;
    });
  }
  if (kind.naming !== 'none') {
    answer['references'] = references.map(toReference);
  }
  return readAnswer(kind, answer);
}

function loaded(convert: { load: (stored: unknown) => unknown } | null, value: unknown): unknown {
  return convert && value !== null && value !== undefined ? convert.load(value) : value;
}

/** One document, and the record as it stands after it. @throws Problem */
export async function writeOne<T>(
  kind: Kind,
  tx: Transaction,
  context: Context,
  write: RecordWrite,
): Promise<T & { created: boolean; applied: boolean; warnings?: Warning[] }> {
  const [result] = await writeRecords(kind, tx, context, [write]);
  if (result === undefined || result instanceof Problem) throw result ?? new Error('Every write has an outcome');
  const { created, applied, warnings, state, made, complete } = result;
  const answer = complete ? answerOf<T>(kind, state, made) : await answerById<T>(tx, kind, result.id);
  if (!answer) throw new Error(`The ${kind.name} that was written is not there`);
  return Object.assign(answer, { created, applied, ...(kind.owner && { warnings }) });
}

/** For `runBatch`. */
export function asOutcome(result: Written | Problem): Outcome {
  if (result instanceof Problem) return result;
  const { id, created, applied, warnings } = result;
  return { id, created, applied, warnings };
}
