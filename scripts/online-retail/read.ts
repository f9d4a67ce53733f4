import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse';
import { Temporal } from 'temporal-polyfill';
import type { z } from 'zod';
import { formatDecimal, minorFromDecimalLines, parseDecimal } from '../../src/domain/money.ts';
import type { orderRecord } from '../../src/features/orders/record.ts';
import type { returnRecord } from '../../src/features/returns/record.ts';

/**
 * Reads the invoices of "Online Retail II" (UCI 502) and of "Online Retail" (UCI 352), which names its columns
 * otherwise, and maps them to orders and returns.
 *
 * The lines of one invoice are not always together, and may carry different minutes: those entered at the same time
 * are shuffled. So the file is read twice. The first reading, `survey`, remembers the last line of every invoice (an
 * entry per invoice, never a line) and finds what is unreadable before anything is sent; the second hands an invoice
 * out at its last line and holds only those that are open. Lines that are equal in every column are real and are kept.
 */

export const source = 'online-retail';
export const currency = 'GBP';
const zone = 'Europe/London';
/** Orders and returns take so many items. */
const mostItems = 1000;

export type OrderDocument = z.input<(typeof orderRecord)['input']>;
export type ReturnDocument = z.input<(typeof returnRecord)['input']>;

/** A line of the file that names a customer. */
export interface Line {
  /** Counted from 1, the header aside. */
  number: number;
  invoice: string;
  sku: string;
  name: string;
  /** Decimal text. */
  quantity: string;
  /** Major units, decimal text. */
  price: string;
  /** Local time, `2009-12-01T07:45:00`. */
  time: string;
  customer: string;
}

export type SkipReason = 'no_customer' | 'other_customer' | 'negative_order' | 'return_of_nothing';

export const skipReasons: Record<SkipReason, string> = {
  no_customer: 'the line has no customer id',
  other_customer: 'the line has another customer than the first line of its invoice',
  negative_order: 'the sum of the invoice is negative, and it is not marked as a cancellation (C)',
  return_of_nothing: 'the sum of the cancelled invoice is not negative: nothing went back',
};

/** What stands in the file, in the order of the last lines of the invoices. `line` is that last line. */
export type Found =
  | { kind: 'order'; line: number; lines: number; document: OrderDocument }
  | { kind: 'return'; line: number; lines: number; document: ReturnDocument }
  | { kind: 'skipped'; line: number; lines: number; reason: SkipReason };

/** What the first reading found out. */
export interface Survey {
  file: string;
  lines: number;
  /** Line at which each invoice is complete, lines without a customer aside. */
  lastLines: Map<string, number>;
  /** An instant of each local date that has an invoice with a customer, in order. */
  days: string[];
  /** Instant of the file's last change: the version of what it says. */
  version: string;
  format: Format;
}

interface Format {
  encoding: 'utf8' | 'latin1';
  /** 12/1/2010 is in December, or in January; null: the file writes 2010-12-01. */
  slashDates: 'month_first' | 'day_first' | null;
}

/** The file is not what the importer takes; the message says where and why. */
export class FileError extends Error {
  override name = 'FileError';
}

/**
 * The first reading.
 *
 * @throws FileError before anything is sent: an unknown header, an unreadable line, dates that may mean two things
 */
export async function survey(file: string): Promise<Survey> {
  const lastLines = new Map<string, number>();
  const dates = new Set<string>();
  let lines = 0;
  let garbled = false;
  let monthFirst = false;
  let dayFirst = false;
  let slashes = false;
  for await (const line of rawLines(file, 'utf8')) {
    lines = line.number;
    garbled ||= line.name.includes('\ufffd');
    if (line.customer === '') continue;
    assertReadable(line);
    const slash = slashPattern.exec(line.time);
    if (slash) {
      slashes = true;
      dayFirst ||= Number(slash[1]) > 12;
      monthFirst ||= Number(slash[2]) > 12;
    }
    dates.add(line.time.split(/[T ]/)[0] ?? '');
    lastLines.set(line.invoice, line.number);
  }
  if (slashes && dayFirst === monthFirst) {
    throw new FileError(
      'The dates are written like 3/4/2010, and nothing in the file tells whether that is in March or in April. ' +
        'Write them as 2010-03-04.',
    );
  }
  const format: Format = {
    encoding: garbled ? 'latin1' : 'utf8',
    slashDates: slashes ? (dayFirst ? 'day_first' : 'month_first') : null,
  };
  const days = [...dates].map((date) => instantOf(localTime(`${date} 12:00`, format))).sort();
  return { file, lines, lastLines, days, version: (await stat(file)).mtime.toISOString(), format };
}

/**
 * The second reading: every invoice once, at its last line, and what was left out.
 *
 * @param fromLine invoices that are complete before this line are passed over, and lines before it are not counted
 */
export async function* readInvoices(survey: Survey, options: { fromLine?: number } = {}): AsyncGenerator<Found> {
  const { fromLine = 1 } = options;
  const { file, lastLines, format, version } = survey;
  const open = new Map<string, Line[]>();
  for await (const line of rawLines(file, format.encoding)) {
    if (line.customer === '') {
      if (line.number >= fromLine) yield { kind: 'skipped', line: line.number, lines: 1, reason: 'no_customer' };
      continue;
    }
    const last = lastLines.get(line.invoice);
    if (last === undefined) throw new FileError(`${file} changed while it was read.`);
    if (last < fromLine) continue;
    const invoice = open.get(line.invoice) ?? [];
    if (invoice.length > 0 && invoice[0]?.customer !== line.customer) {
      yield { kind: 'skipped', line: line.number, lines: 1, reason: 'other_customer' };
    } else {
      invoice.push({ ...line, time: localTime(line.time, format) });
      open.set(line.invoice, invoice);
    }
    if (line.number !== last) continue;
    open.delete(line.invoice);
    yield toRecord(invoice, last, version);
  }
}

/** One invoice as what the service takes; amounts are summed exactly and rounded once, to pence. */
export function toRecord(invoice: readonly Line[], line: number, sourceVersion?: string): Found {
  const [first] = invoice;
  if (!first) throw new RangeError('an invoice without lines');
  const total = minorFromDecimalLines(invoice, currency);
  const common = {
    source,
    externalId: first.invoice,
    customer: { source, externalId: first.customer },
    currency,
    ...(sourceVersion !== undefined && { sourceVersion }),
  };
  const [earliest = first.time] = invoice.map(({ time }) => time).sort();
  const at = instantOf(earliest);
  const lines = invoice.length;
  if (first.invoice.startsWith('C')) {
    if (total >= 0) return { kind: 'skipped', line, lines, reason: 'return_of_nothing' };
    const items = toItems(invoice).map((item) => ({ sku: item.sku, quantity: -item.quantity, total: -item.total }));
    return { kind: 'return', line, lines, document: { ...common, returnedAt: at, total: -total, items } };
  }
  if (total < 0) return { kind: 'skipped', line, lines, reason: 'negative_order' };
  const items = toItems(invoice);
  const rounding = total - items.reduce((sum, item) => sum + item.total, 0);
  return {
    kind: 'order',
    line,
    lines,
    document: {
      ...common,
      placedAt: at,
      total,
      items,
      ...(rounding !== 0 && { rounding }),
      paymentStatus: 'paid',
    },
  };
}

function toItems(invoice: readonly Line[]) {
  const kept = invoice.length > mostItems ? invoice.slice(0, mostItems - 1) : invoice;
  const items = kept.map((line) => {
    const unitPrice = formatDecimal(parseDecimal(line.price));
    const name = clean(line.name, 300);
    return {
      sku: clean(line.sku, 100) || '-',
      ...(name !== '' && { name }),
      quantity: Number(line.quantity),
      total: minorFromDecimalLines([line], currency),
      ...(/^-?\d{1,15}(\.\d{1,12})?$/.test(unitPrice) && { unitPrice }),
    };
  });
  const rest = invoice.slice(kept.length);
  if (rest.length === 0) return items;
  // More lines than an order holds: their sum keeps the total right.
  const quantity = rest.reduce((sum, line) => sum + Number(line.quantity), 0);
  const total = minorFromDecimalLines(rest, currency);
  return [...items, { sku: '-', name: `${rest.length} further lines`, quantity, total }];
}

/** What the service refuses in texts is left out of them. */
function clean(text: string, longest: number): string {
  return text.replaceAll('\u0000', '').trim().slice(0, longest).toWellFormed();
}

const decimalPattern = /^[+-]?\d{1,12}(\.\d{1,12})?([eE][+-]?\d{1,2})?$/;
const isoPattern = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.\d+)?)?)?$/;
const slashPattern = /^(\d{1,2})\/(\d{1,2})\/(\d{4})(?: (\d{1,2}):(\d\d)(?::(\d\d))?)?$/;

function assertReadable(line: Line): void {
  const fault = (what: string, text: string) =>
    new FileError(`Line ${line.number} (invoice ${line.invoice}): ${what} is ${JSON.stringify(text.slice(0, 40))}.`);
  if (line.invoice === '' || line.invoice.length > 255) throw fault('the invoice number', line.invoice);
  if (!decimalPattern.test(line.quantity)) throw fault('the quantity', line.quantity);
  if (!decimalPattern.test(line.price)) throw fault('the price', line.price);
  if (!isoPattern.test(line.time) && !slashPattern.test(line.time)) throw fault('the date', line.time);
}

/** `2009-12-01T07:45:00` */
function localTime(text: string, { slashDates }: Format): string {
  const iso = isoPattern.exec(text);
  if (iso) return `${iso[1]}T${iso[2] ?? '00:00'}:${iso[3] ?? '00'}`;
  const slash = slashPattern.exec(text);
  if (!slash) throw new FileError(`${JSON.stringify(text.slice(0, 40))} is not a date.`);
  const [, a = '', b = '', year, hour = '0', minute = '00', second = '00'] = slash;
  const [month, day] = slashDates === 'day_first' ? [b, a] : [a, b];
  return `${year}-${month.padStart(2, '0')}-${day.padStart(2, '0')}T${hour.padStart(2, '0')}:${minute}:${second}`;
}

/** The shop's clock as an instant; of an hour that comes twice, the first. */
function instantOf(local: string): string {
  return Temporal.PlainDateTime.from(local).toZonedDateTime(zone).toInstant().toString();
}

/** A customer id that went through a column of floats has `.0` behind it. */
function customerId(text: string): string {
  return text.trim().replace(/\.0$/, '');
}

const columnNames = {
  invoice: ['invoice', 'invoiceno'],
  sku: ['stockcode'],
  name: ['description'],
  quantity: ['quantity'],
  time: ['invoicedate'],
  price: ['price', 'unitprice'],
  customer: ['customerid'],
} as const;
type Column = keyof typeof columnNames;

function columnsOf(header: readonly string[]): Record<Column, number> {
  const plain = header.map((name) => name.toLowerCase().replace(/[^a-z]/g, ''));
  const positions = Object.entries(columnNames).map(([column, names]) => {
    const position = plain.findIndex((name) => (names as readonly string[]).includes(name));
    if (position === -1) throw new FileError(`The header has no column ${names.join(' or ')}: ${header.join(', ')}.`);
    return [column, position] as const;
  });
  return Object.fromEntries(positions) as Record<Column, number>; // an entry for each name
}

/** Plain or gzip, told by its first bytes; a row at a time. */
async function* rawLines(file: string, encoding: Format['encoding']): AsyncGenerator<Line> {
  const packed = await isGzip(file);
  const parser = parse({ encoding, bom: true, relax_quotes: true, skip_empty_lines: true });
  const bytes = createReadStream(file, { highWaterMark: 256 * 1024 });
  // Its fault is also the parser's, which the loop below throws.
  const done = (packed ? pipeline(bytes, createGunzip(), parser) : pipeline(bytes, parser)).catch(() => {});
  let columns: Record<Column, number> | undefined;
  let number = 0;
  try {
    for await (const row of parser as AsyncIterable<string[]>) {
      if (!columns) {
        columns = columnsOf(row);
        continue;
      }
      number += 1;
      const cell = (column: Column) => row[columns?.[column] ?? -1] ?? '';
      yield {
        number,
        invoice: cell('invoice').trim(),
        sku: cell('sku'),
        name: cell('name'),
        quantity: cell('quantity').trim(),
        price: cell('price').trim(),
        time: cell('time').trim(),
        customer: customerId(cell('customer')),
      };
    }
  } catch (error) {
    if (error instanceof Error && !(error instanceof FileError) && 'code' in error) {
      throw new FileError(`${file} cannot be read after line ${number}: ${error.message}`);
    }
    throw error;
  } finally {
    parser.destroy();
    bytes.destroy();
    await done;
  }
  if (!columns) throw new FileError(`${file} is empty.`);
}

async function isGzip(file: string): Promise<boolean> {
  const handle = await open(file).catch((error: NodeJS.ErrnoException) => {
    throw new FileError(`${file} cannot be opened: ${error.code ?? error.message}`);
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    return bytesRead === 2 && buffer[0] === 0x1f && buffer[1] === 0x8b;
  } finally {
    await handle.close();
  }
}
