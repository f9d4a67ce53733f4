import type { SQL } from 'drizzle-orm';
import type { Warning } from '../platform/batch.ts';
import type { Transaction, Values } from '../platform/db/client.ts';
import type { Context } from '../platform/operation.ts';
import { isNobody } from './nobody.ts';
import { type Parent, waitingOwner } from './ownership.ts';
import type { RefRow } from './references/queries.ts';
import type { ReferenceInput } from './references/record.ts';

/** A record as it is stored, with its lines and references. */
export interface State<R = StoredRow> {
  row: R;
  /** Rows of its lines, by their member. */
  lines: Readonly<Record<string, readonly LineRow[]>>;
  references: RefRow[];
  /** Records of other kinds were waiting for one of its references. */
  awaited?: boolean;
}

/** What every stored record has; its other members are those of its kind. */
export interface StoredRow {
  id: string;
  customerId: string;
  version: number;
}

export type LineRow = Readonly<Record<string, unknown>>;

/** `before` null: it is new. `after` null: it was deleted. */
export interface Change<S = State> {
  before: S | null;
  after: S | null;
}

/**
 * What follows a change of records, in its transaction and under the locks of their owners. Called before the rows
 * are written, to read what it needs of the state before; the function it returns runs after they are written.
 */
export interface Effect<S = State> {
  (tx: Transaction, context: Context, changes: readonly Change<S>[]): Finish;
  /**
   * An expression about the owner of a new record (null: nothing to do) that the statement which inserts it answers as well, under
   * the lock: most owners are of no interest, and to ask about each in a statement costs more than the look. Its answers are
   * handed to what the effect returns; of changed records it asks itself.
   */
  asks?: (ownerId: SQL) => SQL;
}

/** @param found the answers of `asks` that were not null, by owner */
type Finish = (found: ReadonlyMap<string, string>) => Promise<unknown> | undefined;

export type FoundBy = ReadonlyMap<Effect, ReadonlyMap<string, string>>;

const nothing: ReadonlyMap<string, string> = new Map();

/** Nothing follows from a record that is nobody's yet. */
function ofSomebody(state: State | null): State | null {
  return state?.row.customerId === waitingOwner ? null : state;
}

/** Starts all effects, in order; the function it returns finishes them, one after the other. */
export function beginEffects(
  effects: readonly Effect[],
  tx: Transaction,
  context: Context,
  all: readonly Change[],
): (found?: FoundBy) => Promise<void> {
  const changes = all.flatMap(({ before, after }) => {
    const change = { before: ofSomebody(before), after: ofSomebody(after) };
    return change.before || change.after ? [change] : [];
  });
  const begun = changes.length === 0 ? [] : effects.map((effect) => ({ effect, finish: effect(tx, context, changes) }));
  return async (found) => {
    for (const { effect, finish } of begun) await finish(found?.get(effect) ?? nothing);
  };
}

/** The owners before and after. */
export function touchedCustomers(changes: readonly Change[]): string[] {
  return [
    ...new Set(changes.flatMap(({ before, after }) => [before, after].flatMap((state) => state?.row.customerId ?? []))),
  ];
}

/** An effect on owners, to whom a record of nobody is as if it were not there. */
export function onSomebody(effect: Effect): Effect {
  const known = (state: State | null) => (state && !isNobody(state.row.customerId) ? state : null);
  const wrapped: Effect = (tx, context, changes) => {
    const theirs = changes
      .map(({ before, after }) => ({ before: known(before), after: known(after) }))
      .filter(({ before, after }) => before !== null || after !== null);
    return theirs.length === 0 ? async () => undefined : effect(tx, context, theirs);
  };
  return Object.assign(wrapped, effect.asks && { asks: effect.asks });
}

/** What is special about writing a kind, besides what follows from its definition. */
export interface Planning<R, Input, Loaded> {
  /** The first statement of a write: the locks to wait for before anything is looked up. */
  await?: (
    tx: Transaction,
    context: Context,
    writes: readonly { mode: string; input: Partial<Input> }[],
  ) => Promise<unknown>;
  /** What the plans of a set need, looked up under the locks in a constant number of statements. */
  lookUp?: (
    tx: Transaction,
    context: Context,
    given: {
      inputs: readonly Partial<Input>[];
      stored: readonly R[];
      /** The records that the inputs are part of. */
      parents: readonly Parent[];
      /** Those of their references that records of other kinds wait for. */
      awaited: readonly ReferenceInput[];
    },
  ) => Promise<Loaded>;
  /** Completes and checks a row that is about to be stored. @throws Problem */
  plan?: (next: R, state: Planned<R, Input, Loaded>) => R;
  /** Called when a planned row is accepted: the plans of later ones of the set know of it. */
  accepted?: (row: R, known: Loaded) => void;
  /**
   * Further parts of the statement that inserts, behind `o`, the rows inserted, and their lines by member; and their values.
   * `one`: of the statement for a single row.
   */
  insertWith?: { sql: (one: boolean) => SQL; values: (context: Context) => Values };
}

export interface Writing extends Planning<StoredRow, object, unknown> {
  /** What follows a change, in this order. */
  after: Effect[];
}

export interface Planned<R, Input, Loaded> {
  before: R | null;
  /** The input as it was sent; members omitted from a PATCH are undefined. */
  input: Partial<Input>;
  mode: 'create' | 'upsert' | 'new' | 'patch';
  /** Rows of the lines as they will be, by member. */
  lines: Readonly<Record<string, readonly LineRow[]>>;
  context: Context;
  known: Loaded;
  /** Adds a warning to the answer of the write. */
  warn: (warning: Warning) => void;
}
