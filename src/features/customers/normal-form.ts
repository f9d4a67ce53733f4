import { domainToASCII, domainToUnicode } from 'node:url';
import { isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/min';
import type { IdentityKind } from './words.ts';

/**
 * The one form in which identities are stored, compared, searched and hashed. Whoever changes it raises the version: stored
 * identities are then brought to the new form at the next start (stored-identities.ts), and `formerForms` says how those of
 * erased persons, which are only hashes, are still recognised.
 */
export const normalFormVersion = '2';

/**
 * E-mail: without invisible characters, NFC, lower case, the domain in ASCII. Phone: E.164, with its extension as `;ext=`, read
 * in the given country when it has no country code. Handle: cleaned as an e-mail.
 *
 * @param country ISO 3166-1 code
 * @returns null when it is none
 */
export function normalForm(kind: IdentityKind, value: string, country?: string | null): string | null {
  // Nothing usable is that long, and the value may be as long as a body.
  if (value.length > 1_000) return null;
  const text = cleaned(value);
  if (kind === 'email') return normalEmail(text);
  if (kind === 'phone') return normalPhone(text, country);
  return text === '' ? null : text.toLowerCase();
}

/** Zero-width characters, bidi marks, soft hyphens: they come along when a text is pasted, and nobody sees them. */
const invisible = /[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;

function cleaned(value: string): string {
  return value.replace(invisible, '').trim().normalize('NFC');
}

// RFC 5321 and, for letters beyond ASCII, RFC 6531. Quoted local parts and literal addresses (`[192.0.2.1]`) are not taken.
const dotString = /^[^\p{Cc}\p{Z}\ufffd"(),:;<>@[\\\].]+(\.[^\p{Cc}\p{Z}\ufffd"(),:;<>@[\\\].]+)*$/u;
const writtenDomain = /^(?:[a-z0-9.-]|[^\0-\x7f])+$/i;
const hostName = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const numeric = /\.\d+$/;

function normalEmail(text: string): string | null {
  const at = text.lastIndexOf('@');
  // Node would decode what looks like a part of an address on the web (`%61`, `/`).
  const written = text.slice(at + 1);
  if (at < 1 || !writtenDomain.test(written)) return null;
  const local = text.slice(0, at).toLowerCase().normalize('NFC');
  const domain = domainToASCII(written).replace(/\.$/, '');
  if (!dotString.test(local) || !hostName.test(domain) || numeric.test(domain)) return null;
  const email = `${local}@${domain}`;
  return email.length <= 254 ? email : null;
}

/**
 * Mobile numbers that are written in two ways, as one. Mexico dropped the 1 (at home 01, 044, 045) in 2019. Brazil put a 9
 * before its mobile numbers from 2012 to 2016. In Argentina ten digits name one line, with the 9 of calls from abroad or without.
 */
const variants: readonly (readonly [RegExp, string])[] = [
  [/^\+52(?:1|01|044|045)(\d{10})$/, '+52$1'],
  [/^\+55([1-9][1-9])([6-9]\d{7})$/, '+55$19$2'],
  // The longer ones also have the 15 of calls within the country, which the library then takes out.
  [/^\+549(\d{10}|\d{12})$/, '+54$1'],
];

function normalPhone(text: string, country?: string | null): string | null {
  const region = country && isSupportedCountry(country) ? country : undefined;
  const read = parsePhoneNumberFromString(text, region ? { defaultCountry: region } : {});
  if (!read) return null;
  const changed = asOneVariant(read.number);
  const phone = changed === read.number ? read : parsePhoneNumberFromString(changed);
  if (!phone?.isPossible()) return null;
  return `${asOneVariant(phone.number)}${read.ext ? `;ext=${read.ext}` : ''}`;
}

/** A stored phone without the code of its country, as people there write it. */
export function nationalNumber(phone: string): string {
  return parsePhoneNumberFromString(phone)?.nationalNumber ?? phone;
}

function asOneVariant(number: string): string {
  return variants.reduce((made, [given, form]) => made.replace(given, form), number);
}

/** Phones of which version 1 had another form than the one they have now. */
const otherwise: readonly (readonly [RegExp, string])[] = [
  [/^(\+55[1-9][1-9])9([6-9]\d{7})$/, '$1$2'],
  [/^\+54(\d{10})$/, '+549$1'],
];

/**
 * What version 1 would have made of an identity: trimmed and in lower case, phones without the extension. Persons who were
 * erased under it are looked for by it.
 *
 * @param given as it was sent
 * @param value its normal form
 */
export function formerForms(kind: IdentityKind, given: string, value: string): string[] {
  const forms = kind === 'phone' ? formerPhones(value) : [given.trim().toLowerCase()];
  if (kind === 'email' && value.includes('xn--')) {
    const at = value.lastIndexOf('@') + 1;
    forms.push(value.slice(0, at) + domainToUnicode(value.slice(at)));
  }
  return [...new Set(forms)].filter((form) => form !== value);
}

function formerPhones(value: string): string[] {
  const number = value.replace(/;.*/, '');
  return [number, ...otherwise.map(([now, then]) => number.replace(now, then))];
}
