import type { z } from 'zod';
import type { customerRecord } from '../../src/features/customers/record.ts';
import type { InteractionKind, interactionRecord } from '../../src/features/interactions/record.ts';
import type { leadInput } from '../../src/features/leads/model.ts';
import { FileError, readTable } from '../csv.ts';

/**
 * Reads the leads of "X Education" (Kaggle, a case study of upGrad) and maps each to a customer, a lead and
 * interactions. The file has no dates, so they are made, by one rule for all leads: whoever is converted must not be
 * recognisable by a date. A lead enters at the minute its number says, its visits follow hour by hour, its last notable
 * activity and its last activity after nine and ten days, and a conversion after thirty.
 */

export const source = 'x-education';

/** Columns that sales filled in, partly when the outcome was known: a learned score has to do without these attributes. */
export const filledInBySales = [
  'attributes.tags',
  'attributes.leadQuality',
  'attributes.leadProfile',
  'attributes.asymmetrique*',
];

export type CustomerDocument = z.input<(typeof customerRecord)['input']>;
export type LeadDocument = z.input<typeof leadInput>;
export type InteractionDocument = z.input<(typeof interactionRecord)['input']>;

export interface LeadRecord {
  /** Counted from 1, the header aside. */
  line: number;
  number: string;
  customer: CustomerDocument;
  lead: LeadDocument;
  interactions: InteractionDocument[];
  /** When it became a customer; null: it did not, or the file does not say. */
  convertedAt: string | null;
}

/** Columns that are no attributes. */
const notAttributes = new Set([
  'Prospect ID',
  'Lead Number',
  'Converted',
  'TotalVisits',
  'Total Time Spent on Website',
  'Page Views Per Visit',
  'Last Activity',
  'Last Notable Activity',
]);

/** What cannot be missing. */
const required = ['Lead Number', 'Lead Origin', 'Lead Source', 'TotalVisits', 'Last Activity'];

const kinds: readonly [RegExp, InteractionKind][] = [
  [/^Email Opened|^View in browser/, 'email_opened'],
  [/^Email Link Clicked/, 'email_clicked'],
  [/^Email Bounced/, 'email_bounced'],
  [/^Email (Received|Marked)/, 'email_received'],
  [/^Unsubscribed/, 'unsubscribe'],
  [/^SMS/, 'sms'],
  [/Chat/, 'chat'],
  [/^Page Visited/, 'web_visit'],
  [/^Form/, 'form'],
  [/Phone|Unreachable/, 'phone'],
  [/Tradeshow/, 'event'],
];

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const opening = Date.parse('2016-07-01T00:00:00Z');
/** The numbers of the leads begin here. */
const firstNumber = 579_000;

/** Lines end with CR CR LF. */
const delimiters = ['\r\r\n', '\r\n', '\n'];

/** The leads of the file, one after the other; `.gz` is unpacked. @throws FileError */
export async function* readLeads(file: string): AsyncGenerator<LeadRecord> {
  let line = 0;
  for await (const row of readTable(file, { columns: required, what: 'the X Education leads', delimiters })) {
    line += 1;
    yield toRecord(row, line);
  }
}

function toRecord(row: Record<string, string>, line: number): LeadRecord {
  const number = row['Lead Number'] ?? '';
  if (!/^\d{1,9}$/.test(number)) throw new FileError(`Line ${line}: "${number}" is no lead number.`);
  const enteredAt = opening + (Number(number) - firstNumber) * minute;
  const customer = { source, externalId: number };
  const leadSource = answered(row['Lead Source']);
  return {
    line,
    number,
    customer: {
      kind: 'person',
      references: [customer],
      ...(leadSource !== null && { acquisition: { source: leadSource } }),
      attributes: attributesOf(row),
    },
    lead: { customer, source: leadSource, enteredAt: iso(enteredAt) },
    interactions: interactionsOf(row, number, enteredAt).map((one) => ({ ...one, source, customer })),
    convertedAt: row['Converted'] === '1' ? iso(enteredAt + 30 * day) : null,
  };
}

/** "Select" is what the form showed before somebody chose. */
function answered(value: string | undefined): string | null {
  return value === undefined || value === '' || value === 'Select' ? null : value;
}

function attributesOf(row: Record<string, string>): Record<string, string | number | boolean> {
  const attributes: Record<string, string | number | boolean> = {};
  for (const [column, cell] of Object.entries(row)) {
    const value = answered(cell);
    if (value === null || notAttributes.has(column)) continue;
    attributes[camelCase(column)] =
      value === 'Yes' ? true : value === 'No' ? false : /^\d{1,9}(\.\d{1,6})?$/.test(value) ? Number(value) : value;
  }
  return attributes;
}

function camelCase(column: string): string {
  const [first = '', ...rest] = column
    .replace(/[^A-Za-z0-9]+/g, ' ')
    .trim()
    .toLowerCase()
    .split(' ');
  return [first, ...rest.map((word) => word.slice(0, 1).toUpperCase() + word.slice(1))].join('');
}

function interactionsOf(
  row: Record<string, string>,
  number: string,
  enteredAt: number,
): Omit<InteractionDocument, 'source' | 'customer'>[] {
  const visits = wholeNumber(row['TotalVisits']);
  const seconds = shares(wholeNumber(row['Total Time Spent on Website']), visits);
  const pages = shares(Math.round(Number(row['Page Views Per Visit'] || 0) * visits), visits);
  const activities = [
    ['notable', row['Last Notable Activity'], 9 * day],
    ['last', row['Last Activity'], 10 * day],
  ] as const;
  return [
    ...seconds.map((time, visit) => ({
      externalId: `${number}-visit-${visit + 1}`,
      kind: 'web_visit' as const,
      direction: 'inbound' as const,
      occurredAt: iso(enteredAt + visit * Math.min(hour, Math.floor((8 * day) / visits))),
      seconds: time,
      pages: pages[visit] ?? 0,
    })),
    ...activities.flatMap(([name, words, after]) => {
      const topic = answered(words);
      if (topic === null) return [];
      return [
        {
          externalId: `${number}-${name}`,
          kind: kinds.find(([pattern]) => pattern.test(topic))?.[1] ?? ('other' as const),
          // What happened last is one thing, what sales noted of it another.
          topic: name === 'notable' ? `notable: ${topic}` : topic,
          occurredAt: iso(enteredAt + after),
        },
      ];
    }),
  ];
}

/** `total` in whole parts, the earlier ones larger by what is left over. */
function shares(total: number, parts: number): number[] {
  return Array.from({ length: parts }, (_, index) => Math.floor(total / parts) + (index < total % parts ? 1 : 0));
}

function wholeNumber(text: string | undefined): number {
  const value = Number(text || 0);
  return Number.isInteger(value) && value >= 0 ? Math.min(value, 10_000) : 0;
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
