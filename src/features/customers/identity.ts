import { invalid, type Problem } from '../../platform/errors.ts';
import { formerForms, normalForm } from './normal-form.ts';
import { identityKey } from './queries.ts';
import type { CustomerPatch } from './record.ts';
import type { IdentityKind } from './words.ts';

/** An identity as a message gives it. */
export interface GivenIdentity<Kind extends IdentityKind = IdentityKind> {
  kind: Kind;
  /** In normal form. */
  value: string;
  /** What it would have been in former normal forms: for persons who were erased under these. */
  former: string[];
}

/** @returns null when it is none */
export function readIdentity<Kind extends IdentityKind>(
  kind: Kind,
  given: string,
  country?: string | null,
): GivenIdentity<Kind> | null {
  const value = normalForm(kind, given, country);
  return value === null ? null : { kind, value, former: formerForms(kind, given, value) };
}

/** What is wrong with one that cannot be used; its subject stands before it. */
export const identityAdvice: Record<IdentityKind, string> = {
  email: 'is not an e-mail address',
  phone: 'is not a phone number; write it with its country code, e.g. +442071234567, or give address.country',
  handle: 'is empty',
};

export function unusableIdentity(pointer: string, kind: IdentityKind): Problem {
  return invalid(pointer, `invalid_${kind}`, `The ${kind} ${identityAdvice[kind]}.`);
}

export interface NormalizedIdentity extends GivenIdentity {
  primary: boolean;
  /** Whether the message says that others have it as well; undefined: it does not say. */
  shared: boolean | undefined;
  /** Its place in the list that was sent. */
  index: number;
}

/**
 * The identities of a document, normalised and checked; the first of a kind is primary unless another says so.
 *
 * @param storedCountry country of the address that stays when the document names none
 * @throws Problem invalid_email, invalid_phone, invalid_handle, duplicate, two_primaries
 */
export function normalizeIdentities(
  input: CustomerPatch,
  storedCountry: string | undefined,
): NormalizedIdentity[] | undefined {
  if (input.identities === undefined) return undefined;
  const country = input.address === undefined ? storedCountry : input.address?.country;
  const seen = new Set<string>();
  const list = input.identities.map((identity, index) => {
    const at = `/identities/${index}`;
    const read = readIdentity(identity.kind, identity.value, country);
    if (read === null) throw unusableIdentity(`${at}/value`, identity.kind);
    const key = identityKey(read);
    if (seen.has(key)) throw invalid(at, 'duplicate', 'The identity is listed twice.');
    seen.add(key);
    return { ...read, primary: identity.primary ?? false, shared: identity.shared, index };
  });
  for (const kind of new Set(list.map((i) => i.kind))) {
    const ofKind = list.filter((i) => i.kind === kind);
    const primaries = ofKind.filter((i) => i.primary);
    if (primaries.length > 1) {
      throw invalid(
        `/identities/${primaries[1]?.index}/primary`,
        'two_primaries',
        `Two primary identities of kind ${kind}.`,
      );
    }
    if (primaries.length === 0 && ofKind[0]) ofKind[0].primary = true;
  }
  return list;
}
