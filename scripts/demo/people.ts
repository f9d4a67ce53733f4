import type { z } from 'zod';
import type { customerRecord } from '../../src/features/customers/record.ts';
import type { Random } from './random.ts';

/** The invented people and companies of the demo. Addresses are of example.org; phones are ranges kept for fiction. */

export type CustomerDocument = z.input<(typeof customerRecord)['input']>;

export interface Person {
  externalId: string;
  /** The date, counted from the start of the shop. */
  since: number;
  country: Country;
  /** Known only by what stands on the order: e-mail and name. */
  guest: boolean;
  name: string;
  email: string | null;
  /** Position in the list of companies. */
  company: number | null;
  /** Position in the list of people, an earlier one. */
  referredBy: number | null;
  channel: SalesChannel;
  document: CustomerDocument;
}

export type Country = 'DE' | 'AT' | 'CH' | 'NL';
export type SalesChannel = 'web' | 'store' | 'marketplace' | 'phone';

const givenNames =
  'Ada Anton Astrid Bela Birte Carla Daan Dana Eike Elif Emil Esra Femke Finn Frida Greta Hanna Henk Ida Ilse Jan Jana Jonas Josef Kaja Karl Lale Lena Levi Lina Luis Maja Marta Mats Mila Nele Nils Nora Olga Oskar Paula Pia Ravi Rosa Ruben Sara Selma Stefan Tara Theo Tilda Ulrike Vera Willem Yara Zoe'.split(
    ' ',
  );
const familyNames =
  'Achterberg Albrecht Amsler Baumann Berger Brandt Bruckner Dietrich Dorn Egli Engel Falk Feldmann Frisch Gerber Graf Grünwald Haas Hagen Heller Hofer Imhof Jansen Kaiser Keller Klee Kramer Lang Lindt Lorenz Marti Meissner Moser Neumann Oberholzer Peeters Pichler Quast Reuter Roth Sander Schuster Steiner Tanner Thaler Ulrich Vogel Wagner Weber Winter Wyss Zeller Zimmer'.split(
    ' ',
  );
const trades = 'Architekten Bureau Druckerei Galerie Hotel Kanzlei Labor Praxis Studio Werkstatt'.split(' ');

const countries = [
  ['DE', 68],
  ['AT', 12],
  ['CH', 13],
  ['NL', 7],
] as const satisfies readonly (readonly [Country, number])[];
const localeOf: Record<Country, string> = { DE: 'de-DE', AT: 'de-AT', CH: 'de-CH', NL: 'nl-NL' };
const channels = [
  ['web', 62],
  ['store', 18],
  ['marketplace', 14],
  ['phone', 6],
] as const satisfies readonly (readonly [SalesChannel, number])[];

/** Where customers come from, and the cents that winning one costs there. */
const sources: readonly (readonly [{ source: string; cost: number } | null, number])[] = [
  [{ source: 'search-ads', cost: 1450 }, 30],
  [{ source: 'social-ads', cost: 980 }, 22],
  [{ source: 'referral', cost: 500 }, 14],
  [{ source: 'newsletter', cost: 0 }, 12],
  [{ source: 'trade-fair', cost: 2600 }, 5],
  [null, 17],
];

/** Numbers that the Bundesnetzagentur keeps for films: Berlin, Frankfurt, Hamburg, Cologne, Munich. */
const fictionalRanges = ['+493023125', '+496990009', '+494066969', '+492214710', '+498999998'];

export function inventCompanies(random: Random, count: number): CustomerDocument[] {
  return Array.from({ length: count }, (_, index) => ({
    kind: 'company',
    name: `${random.pick(trades)} ${random.pick(familyNames)} & ${random.pick(familyNames)}`,
    references: [{ source: 'shop', externalId: `F-${String(index + 1).padStart(4, '0')}` }],
  }));
}

/** People in the order in which they come; `days` is how long the shop has been open. */
export function inventPeople(random: Random, count: number, days: number, companies: number): Person[] {
  // The shop grows: more come later.
  const arrivals = Array.from({ length: count }, () => Math.floor(days * random.uniform() ** 0.8)).sort(
    (a, b) => a - b,
  );
  const people: Person[] = [];
  for (const [index, since] of arrivals.entries())
    people.push(inventPerson(random, people, { index, since, companies }));
  return people;
}

function inventPerson(
  random: Random,
  before: readonly Person[],
  { index, since, companies }: { index: number; since: number; companies: number },
): Person {
  const [givenName, familyName] = [random.pick(givenNames), random.pick(familyNames)];
  const name = `${givenName} ${familyName}`;
  const country = random.weighted(countries);
  const guest = random.chance(0.06);
  const email =
    guest || random.chance(0.9) ? `${plain(givenName)}.${plain(familyName)}.${index + 1}@example.org` : null;
  const range = fictionalRanges[Math.floor(index / 1000)];
  const phone =
    country === 'DE' && range && random.chance(0.55) ? `${range}${String(index % 1000).padStart(3, '0')}` : null;
  const acquired = random.weighted(sources);
  const referrer = acquired?.source === 'referral' && before.length > 0 ? random.integer(0, before.length - 1) : null;
  const externalId = `C-${String(index + 1).padStart(5, '0')}`;
  return {
    externalId,
    since,
    country,
    guest,
    name,
    email,
    company: companies > 0 && random.chance(0.08) ? random.integer(0, companies - 1) : null,
    referredBy: referrer !== null && !before[referrer]?.guest ? referrer : null,
    channel: random.weighted(channels),
    document: {
      kind: 'person',
      name,
      givenName,
      familyName,
      identities: [
        ...(email === null ? [] : [{ kind: 'email' as const, value: email }]),
        ...(phone === null ? [] : [{ kind: 'phone' as const, value: phone }]),
      ],
      references: [{ source: 'shop', externalId }],
      address: { country },
      locale: localeOf[country],
      preferredChannel: random.weighted([
        ['email', 70],
        ['phone', 12],
        ['post', 10],
        ['chat', 8],
      ] as const),
      ...(random.chance(0.4) && {
        birthday: `${random.integer(1948, 2004)}-${twoDigits(random.integer(1, 12))}-${twoDigits(random.integer(1, 28))}`,
      }),
      ...(acquired && {
        acquisition: { source: acquired.source, cost: Math.round(acquired.cost * (0.6 + 0.8 * random.uniform())) },
      }),
    },
  };
}

const occupations = [
  ['employee', 45],
  ['self-employed', 20],
  ['student', 20],
  ['retired', 15],
] as const;

/** Somebody who has left a name and bought nothing yet; not everybody fills in everything. */
export function inventLead(random: Random, index: number): { externalId: string; document: CustomerDocument } {
  const [givenName, familyName] = [random.pick(givenNames), random.pick(familyNames)];
  const country = random.weighted(countries);
  const externalId = `L-${String(index + 1).padStart(5, '0')}`;
  const email = `${plain(givenName)}.${plain(familyName)}.l${index + 1}@example.org`;
  const document: CustomerDocument = {
    kind: 'person',
    references: [{ source: 'shop', externalId }],
    identities: random.chance(0.8) ? [{ kind: 'email', value: email }] : [],
    ...(random.chance(0.7) && { name: `${givenName} ${familyName}`, givenName, familyName }),
    ...(random.chance(0.6) && { address: { country }, locale: localeOf[country] }),
    ...(random.chance(0.5) && { attributes: { occupation: random.weighted(occupations) } }),
  };
  return { externalId, document };
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll('ü', 'ue').replaceAll('ö', 'oe').replaceAll('ä', 'ae');
}

export function twoDigits(number: number): string {
  return String(number).padStart(2, '0');
}
