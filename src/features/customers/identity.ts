import { isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/min';
import { invalid, type Problem } from '../../platform/errors.ts';
import { identityKey } from './queries.ts';
import type { CustomerPatch } from './record.ts';
import type { IdentityKind } from './words.ts';

const email = /^[^\s@"(),:;<>[\\\]]+@[^\s@"(),:;<>[\\\]]+\.[^\s@"(),:;<>[\\\]]+$/;

/**
 * The form an identity is stored and compared in: e-mail lower-cased, phone as E.164 (read in the address' country when
 * it has no country code), handle trimmed and lower-cased. null when it is none.
 */
export function normalizeIdentity(kind: IdentityKind, value: string, country?: string | null): string | null {
  const trimmed = value.trim();
  if (kind === 'email') return trimmed.length <= 254 && email.test(trimmed) ? trimmed.toLowerCase() : null;
  if (kind === 'handle') return trimmed === '' ? null : trimmed.toLowerCase();
  const region = country && isSupportedCountry(country) ? country : undefined;
  const phone = parsePhoneNumberFromString(trimmed, region ? { defaultCountry: region } : {});
  return phone?.isPossible() ? phone.number : null;
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

export interface NormalizedIdentity {
  kind: IdentityKind;
  value: string;
  primary: boolean;
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
    const value = normalizeIdentity(identity.kind, identity.value, country);
    if (value === null) throw unusableIdentity(`${at}/value`, identity.kind);
    const key = identityKey({ kind: identity.kind, value });
    if (seen.has(key)) throw invalid(at, 'duplicate', 'The identity is listed twice.');
    seen.add(key);
    return { kind: identity.kind, value, primary: identity.primary ?? false, index };
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
