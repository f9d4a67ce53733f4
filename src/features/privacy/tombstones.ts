import { sql } from 'drizzle-orm';
import { insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import type { Context } from '../../platform/operation.ts';
import type { ReferenceInput } from '../../records/references/record.ts';
import { assignments, fromExcluded } from '../../records/table.ts';
import { privacyTombstones } from './record.ts';

type Hashing = Pick<Context, 'tombstones'>;

interface PersonIdentity {
  kind: string;
  /** In normal form. */
  value: string;
  /** What it would have been in former normal forms: a hash cannot be made anew. */
  former?: readonly string[];
}

/** What a person may be known by. */
export interface PersonNames {
  references: readonly ReferenceInput[];
  identities: readonly PersonIdentity[];
}

export function referenceHash({ tombstones }: Hashing, { source, externalId }: ReferenceInput): string {
  return tombstones('reference', source, externalId);
}

export function identityHash({ tombstones }: Hashing, { kind, value }: PersonIdentity): string {
  return tombstones('identity', kind, value);
}

/** Under which an identity may be found: that of its normal form, and those of former ones. */
export function identityHashes({ tombstones }: Hashing, { kind, value, former = [] }: PersonIdentity): string[] {
  return [value, ...former].map((form) => tombstones('identity', kind, form));
}

export function hashesOf(hashing: Hashing, { references, identities }: PersonNames): string[] {
  return [
    ...references.map((reference) => referenceHash(hashing, reference)),
    ...identities.flatMap((identity) => identityHashes(hashing, identity)),
  ];
}

const find = statement<{ hash: string; customerId: string }>(
  'find_tombstones',
  sql`select hash, customer_id as "customerId" from privacy_tombstones where hash = any(${param('hashes')}::text[])`,
);

/** Which of these are names of erased persons: hash → the anonymous customer. */
export async function tombstonesOf(tx: Transaction, hashes: string[]): Promise<Map<string, string>> {
  if (hashes.length === 0) return new Map();
  return new Map((await tx.all(find, { hashes })).map(({ hash, customerId }) => [hash, customerId]));
}

const add = statement(
  'add_tombstones',
  sql`${insertRows(privacyTombstones, param('rows'))} on conflict (hash) do update set ${assignments(privacyTombstones, fromExcluded)}`,
);

export async function addTombstones(tx: Transaction, rows: (typeof privacyTombstones.$inferSelect)[]): Promise<void> {
  if (rows.length > 0) await tx.all(add, { rows: JSON.stringify(rows) });
}

const lift = statement(
  'lift_tombstones',
  sql`delete from privacy_tombstones where hash = any(${param('hashes')}::text[])`,
);

/** The person is back, by a consent: these names may be stored again. Also for callers who see no tombstones. */
export async function liftTombstones(tx: Transaction, hashes: string[]): Promise<void> {
  if (hashes.length > 0) await tx.asService((service) => service.all(lift, { hashes }));
}
