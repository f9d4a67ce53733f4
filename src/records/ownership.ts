import type { PgColumn } from 'drizzle-orm/pg-core';
import type { z } from 'zod';
import type { Warning } from '../platform/batch.ts';
import type { Transaction } from '../platform/db/client.ts';
import { problemType } from '../platform/errors.ts';
import type { Context } from '../platform/operation.ts';
import type { Name, RefRow } from './references/queries.ts';

/** The owner of records that wait for the record that says whose they are: no customer has this id, and no scoped token sees theirs. */
export const waitingOwner = '00000000-0000-0000-0000-000000000000';

export const customerRequired = problemType('customer_required', 422, 'A customer is required');

/**
 * The ownership of records: how an input names the owner, and how the owner is found, locked and completed. The customer, the only owner
 * there is, implements it; records know nothing else about customers.
 */
export class Ownership<Shape extends z.ZodRawShape = z.ZodRawShape, Optional extends boolean = boolean> {
  /** Members of an input that say who owns a record. */
  readonly input: Shape;
  /** The kind of record that owns. */
  readonly kind: string;
  /** The key of the owners' table. */
  readonly column: () => PgColumn;
  /** Whether an input may say that nobody is known (nobody.ts). */
  readonly optional: Optional;
  readonly #found: { by: Owners | null };

  constructor(
    kind: string,
    input: Shape,
    column: () => PgColumn,
    optional: Optional,
    found: { by: Owners | null } = { by: null },
  ) {
    this.kind = kind;
    this.input = input;
    this.column = column;
    this.optional = optional;
    this.#found = found;
  }

  /** Set apart from the definition: finding owners needs other kinds, which need this definition. */
  implement(owners: Owners): void {
    this.#found.by = owners;
  }

  get owners(): Owners {
    if (!this.#found.by) throw new Error('The ownership of records is not set yet');
    return this.#found.by;
  }

  /** For a part of another record: it has the owner of that record, and the input does not name one. */
  ofParts(): Ownership<Record<never, never>, Optional> {
    return new Ownership(this.kind, {}, this.column, this.optional, this.#found);
  }

  /** For records that are kept if nobody is known: this input says so. */
  orNobody<S extends z.ZodRawShape>(input: S): Ownership<S, true> {
    return new Ownership(this.kind, input, this.column, true, this.#found);
  }
}

export interface Owners {
  /** Reads the owners that the inputs refer to, as ids, references and identities. */
  match(inputs: OwnerInput[]): OwnerMatch;
  /** Locks owners by id, in id order, and notes in the transaction which of them were erased. */
  lock(tx: Transaction, ids: Iterable<string>): Promise<unknown>;
}

/** How a document names its owner: the members of `Ownership.input`. */
export interface OwnerInput {
  readonly [member: string]: unknown;
  /** Source of the record, and the default source of the owner's reference; null if the record has none. */
  factSource: string | null;
  /** The kind of the record, if it is one of a kind. */
  recordKind?: string;
}

export interface OwnerMatch {
  /** References and identities by which owners are looked up. */
  names: Name[];
  /**
   * Looks up names and locks all owners found by them, by `ids` and by what the inputs give, in one round trip.
   *
   * @param given.names those of the match, and those of records: the owner of a known record is locked with it
   */
  lock(tx: Transaction, given: { ids: string[]; names: Name[] }): Promise<LockedOwners>;
}

export interface LockedOwners {
  /** What was known of the names before the wait for the locks. */
  found: RefRow[];
  /** Ids of the owners that are locked. */
  locked: ReadonlySet<string>;
  /** To be called under the locks, with everything read again. */
  decide(tx: Transaction, context: Context): Promise<OwnerBook>;
}

export interface OwnerBook {
  /** The owner of the input of this index. @throws Problem what is wrong with the input */
  owner(index: number): Owner;
  /** The same where it may be nobody. @throws Problem what is wrong with the input */
  ownerOrNobody(index: number): Owner | Nobody;
  /** The records that these inputs are part of. */
  parents?: readonly Parent[];
  /** Writes the owners and names that were admitted, and owner rows for records of nobody. */
  save(tx: Transaction, nobodies?: readonly string[]): Promise<void>;
  /** Merges owners who turned out to be one, after everything else was written. */
  merge(tx: Transaction): Promise<void>;
}

/** A record that others are part of, whose owner is locked. */
export interface Parent {
  customerId: string;
  id: string;
}

/** Nobody is known: the record has an owner row of its own. */
export interface Nobody {
  customerId: null;
  warnings: Warning[];
}

/** Whose record it is. */
export interface Owner {
  customerId: string;
  /** Of a part: members of the row that say what it is part of. */
  members?: Readonly<Record<string, unknown>>;
  /** The person was erased: the record is kept without personal data, or refused. */
  erased: boolean;
  warnings: Warning[];
  /** Called when the record is accepted: creates its owner, or adds references and identities that are new. */
  admit(): void;
}
