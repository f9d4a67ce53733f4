import { isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/min';
import type { IdentityKind } from './model.ts';

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

export const identityAdvice: Record<IdentityKind, string> = {
  email: 'is not an e-mail address',
  phone: 'is not a phone number; write it with its country code, e.g. +442071234567, or give address.country',
  handle: 'is empty',
};
