import { isDeepStrictEqual } from 'node:util';
import { Problem } from '../../platform/errors.ts';
import type { Principal } from '../../platform/principal.ts';
import { refKey } from '../../records/references/queries.ts';
import type { NormalizedIdentity } from './identity.ts';
import { type CustomerState, identityKey } from './queries.ts';
import type { CustomerPatch } from './record.ts';

/**
 * What scoped tokens cannot say of a customer. None of them says who referred it, nor, of one that exists,
 * where it came from and which company it belongs to: bonuses and costs hang on that. A customer's own token says nothing
 * of the shop's names, attributes and tags either, and adds no e-mail or phone: later orders find their customer by these, so
 * whoever adds an address that is not theirs is told of what somebody else buys. Who has verified an address adds it with
 * a token of the organisation.
 *
 * Null, which is what the caller is told of most of them, leaves them as they are; so does the present value of what a
 * customer is told of itself.
 *
 * @returns the patch without these members
 * @throws Problem not_shared, with the member
 */
export function withoutGuarded(
  { scopedTo }: Principal,
  before: CustomerState | null,
  patch: CustomerPatch,
  identities: readonly NormalizedIdentity[] | undefined,
): CustomerPatch {
  if (scopedTo === null) return patch;
  // Not even as they are: whoever guesses would be told.
  if (patch.referredBy) throw guarded('/referredBy');
  if (before === null) return patch;
  const { row } = before;
  const { companyId, referredBy: _, acquisition, ...rest } = patch;
  if (companyId) throw guarded('/companyId');
  if (acquisition && scopedTo.kind === 'partner') throw guarded('/acquisition');
  if (scopedTo.kind === 'partner') return rest;
  const { kind, attributes, tags, references, ...own } = rest;
  const { source, cost = null, acquiredOn = null } = acquisition ?? {};
  keep('acquisition', source === undefined ? null : { source, cost, acquiredOn }, {
    source: row.acquisitionSource,
    cost: row.acquisitionCost,
    acquiredOn: row.acquiredOn,
  });
  keep('kind', kind ?? null, row.kind);
  keep('attributes', attributes ?? null, row.attributes);
  keep('tags', tags ?? null, row.tags);
  keep('references', references ? references.map(refKey).sort() : null, before.references.map(refKey).sort());
  const known = new Set(before.identities.map(identityKey));
  for (const identity of identities ?? []) {
    if (!known.has(identityKey(identity))) throw guarded(`/identities/${identity.index}`);
  }
  return own;
}

function keep(member: string, given: unknown, stored: unknown): void {
  if (given !== null && !isDeepStrictEqual(given, stored)) throw guarded(`/${member}`);
}

function guarded(pointer: string): Problem {
  const message = 'Your token may not change this member. Leave it out, or send its present value.';
  return new Problem('not_shared', message, { errors: [{ pointer, code: 'not_shared', message }] });
}
