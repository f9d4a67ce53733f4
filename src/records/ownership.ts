import type { PgColumn } from 'drizzle-orm/pg-core';
import type { z } from 'zod';
import type { Warning } from '../platform/batch.ts';
import type { Transaction } from '../platform/db/client.ts';
import { problemType } from '../platform/errors.ts';
import type { Context } from '../platform/operation.ts';
import type { Name, RefRow } from './references/queries.ts';

export const customerRequired = problemType('customer_required', 422, 'A customer is required');

/**
 * Whose records are: how an input says it, and how the owner is found, locked and completed. The customer, the one owner
 * there is, implements it; records know no more of customers than this.
 */
export class Ownership<Shape extends z.ZodRawShape = z.ZodRawShape> {
  /** Members of an input that say whose a record is. */
  readonly input: Shape;
  /** The kind of record that owns. */
  readonly kind: string;
  /** The key of the owners' table. */
  readonly column: () => PgColumn;
  readonly #found: { by: Owners | null };

  constructor(kind: string, input: Shape, column: () => PgColumn, found: { by: Owners | null } = { by: null }) {
    this.kind = kind;
    this.input = input;
    this.column = column;
    this.#found = found;
  }

  /** Said apart from the definition: finding owners needs other kinds, which need this definition. */
  implement(owners: Owners): void {
    this.#found.by = owners;
  }

  get owners(): Owners {
    if (!this.#found.by) throw new Error('Nobody has said how owners are found');
    return this.#found.by;
  }

  /** Of what is part of another record: its owner is that of the record, and the input does not say it. */
  ofParts(): Ownership<Record<never, never>> {
    return new Ownership(this.kind, {}, this.column, this.#found);
  }
}

export interface Owners {
  /** Reads what the claims name, as ids, references and identities. */
  match(claims: OwnerClaim[]): OwnerMatch;
  /** Locks owners by id, in id order; of those that were erased the transaction knows afterwards. */
  lock(tx: Transaction, ids: Iterable<string>): Promise<unknown>;
}

/** How a document says whose it is; the members of `Ownership.input`. */
export interface OwnerClaim {
  customerId?: string | undefined;
  customer?: object | undefined;
  /** Source of the record, which the owner's reference has too where it does not say another; null where it has none. */
  factSource: string | null;
}

export interface OwnerMatch {
  /** Names by which owners are looked up. */
  names: Name[];
  /**
   * Looks up names and locks all owners found by them, by `ids` and by what the claims give, in one round trip.
   *
   * @param given.names those of the match, and of records: the owner of a known record is locked with it
   */
  lock(tx: Transaction, given: { ids: string[]; names: Name[] }): Promise<LockedOwners>;
}

export interface LockedOwners {
  /** What is known of the names, as it was before the wait for the locks. */
  found: RefRow[];
  /** Ids of the owners that are locked. */
  locked: ReadonlySet<string>;
  /** To be called under the locks, with everything read again. */
  decide(tx: Transaction, context: Context): Promise<OwnerBook>;
}

export interface OwnerBook {
  /** The owner of the claim of this index. @throws Problem what is wrong with the claim */
  owner(index: number): Owner;
  /** Writes the owners and names that were admitted. */
  save(tx: Transaction): Promise<void>;
}

/** Whose record it is. */
export interface Owner {
  customerId: string;
  /** The person was erased: the record is kept without anything personal, or refused. */
  erased: boolean;
  warnings: Warning[];
  /** Called when the record is accepted: its owner is created, or completed with names it did not have. */
  admit(): void;
}
