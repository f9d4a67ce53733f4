import { refKey } from '../../records/references/queries.ts';
import type { ReferenceInput } from '../../records/references/record.ts';
import { type CustomerState, type IdentityRow, identityKey } from './queries.ts';

/*
 * The rules by which messages find their customers. A reference decides; then an e-mail; a phone only where a message has
 * neither. Facts (match.ts) and documents of customers (write.ts) ask the same questions.
 */

/** What is known of a customer, as far as the rules ask. */
export interface Standing {
  row: Pick<CustomerState['row'], 'kind' | 'name' | 'givenName' | 'familyName' | 'erasedAt'>;
  identities: Pick<IdentityRow, 'kind' | 'value' | 'shared' | 'broughtBy'>[];
  references: ReferenceInput[];
}

/**
 * Two references of one source are two customers, even with one e-mail.
 *
 * @param known references of the customer whose e-mail it is
 * @param given those of the message
 */
export function isAnotherAccount(known: readonly ReferenceInput[], given: readonly ReferenceInput[]): boolean {
  const keys = new Set(known.map(refKey));
  const same = new Set(given.filter((ref) => keys.has(refKey(ref))).map(({ source }) => source));
  return given.some(({ source }) => !same.has(source) && known.some((ref) => ref.source === source));
}

/** A person of whom there is neither a name nor an e-mail or phone. Whether there are orders is for the database to say. */
export function looksAnonymous({ row, identities }: Standing): boolean {
  const named = row.name ?? row.givenName ?? row.familyName;
  return row.kind === 'person' && row.erasedAt === null && !named && identities.every(({ kind }) => kind === 'handle');
}

/** Whether a customer has an identity; `shared`: nobody is found by this one of theirs. */
export function has(
  { identities }: Standing,
  identity: { kind: string; value: string },
  { shared }: { shared?: boolean } = {},
): boolean {
  const key = identityKey(identity);
  return identities.some((one) => identityKey(one) === key && (shared === undefined || one.shared === shared));
}
