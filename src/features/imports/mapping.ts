import { z } from 'zod';
import { isCurrency, minorUnits } from '../../domain/currencies.ts';
import { divideRounded, parseDecimal } from '../../domain/money.ts';
import { invalid } from '../../platform/errors.ts';
import { elementOf, membersOf, type Schema, unwrapped } from '../../records/walk.ts';
import type { Mapping } from './record.ts';

/** How a line becomes an item of a batch. */

type Document = Record<string, unknown>;
type Path = readonly string[];

/** Where a member comes from. */
interface Source {
  path: Path;
  read: (cell: unknown) => unknown;
}

/** What a mapping says, with names of columns instead of their places. */
interface Mapped {
  /** By the name of the column, or the path of a member. */
  columns: Map<string, Source[]>;
  constants: { path: Path; value: unknown }[];
  /** Amounts in major units: what they are depends on the currency. */
  amounts: Path[];
}

function sourcesOf(item: Schema, mapping: Mapping): Mapped {
  const found: Mapped = { columns: new Map(), constants: [], amounts: [] };
  for (const [name, from] of Object.entries(mapping)) {
    const path = name.split('.');
    const schema = schemaAt(item, path);
    if (!schema) throw invalid(`/mapping/${name}`, 'unknown_member', `${name} is no member of the records.`);
    const { column, value, as } = from;
    if (value !== undefined) found.constants.push({ path, value });
    if (column === undefined) continue;
    if (as === 'amount') found.amounts.push(path);
    found.columns.set(column, [
      ...(found.columns.get(column) ?? []),
      { path, read: as === 'amount' ? (cell) => cell : readerOf(schema) },
    ]);
  }
  return found;
}

/** @throws Problem where the mapping names what the records do not have */
export function checkMapping(item: Schema, mapping: Mapping): void {
  sourcesOf(item, mapping);
}

function schemaAt(schema: Schema, [step, ...rest]: Path): Schema | null {
  if (step === undefined) return schema;
  const element = elementOf(schema);
  if (element) return /^\d{1,3}$/.test(step) ? schemaAt(element, rest) : null;
  const plain = unwrapped(schema);
  if (plain instanceof z.ZodRecord) return step === '__proto__' ? null : schemaAt(plain.valueType as Schema, rest);
  const member = membersOf(schema).find(([name]) => name === step)?.[1];
  return member ? schemaAt(member, rest) : null;
}

/** Text of a cell as what the schema wants; what does not fit is left as it is, for the schema to refuse. */
function readerOf(schema: Schema): Source['read'] {
  const { type, anyOf = [] } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  const types = [type, ...anyOf.map((one) => (typeof one === 'object' ? one.type : undefined))];
  const fromText = (text: string): unknown => {
    if ((types.includes('integer') || types.includes('number')) && /^-?\d{1,15}(\.\d{1,15})?$/.test(text))
      return Number(text);
    if (types.includes('boolean') && /^(true|false)$/i.test(text)) return text.toLowerCase() === 'true';
    if (/^[[{]/.test(text) && (types.includes('object') || types.includes('array'))) return parsed(text);
    return types.includes('array') && !types.includes('string') ? text.split(',').map((one) => one.trim()) : text;
  };
  return (cell) => (typeof cell === 'string' ? fromText(cell) : cell);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Puts a value where its path says, through documents and lists that are made on the way. */
function put(document: Document, path: Path, value: unknown): void {
  let at: Document = document;
  for (const [index, step] of path.entries()) {
    if (index === path.length - 1) at[step] = value;
    else {
      const isList = /^\d+$/.test(path[index + 1] ?? '');
      at[step] ??= isList ? [] : {};
      at = at[step] as Document; // made here, or sent: then the schema refuses it
      if (typeof at !== 'object' || at === null) return;
    }
  }
}

function valueAt(document: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (at, step) =>
      typeof at === 'object' && at !== null && Object.hasOwn(at, step) ? (at as Document)[step] : undefined,
    document,
  );
}

function complete(document: Document, { constants, amounts }: Mapped): Document {
  for (const { path, value } of constants) {
    const beside = path.slice(0, -1);
    // Where nothing is said of an address, its country is not said either.
    if (beside.length === 0 || valueAt(document, beside) !== undefined) put(document, path, value);
  }
  for (const path of amounts) {
    const amount = inMinorUnits(valueAt(document, path), document['currency']);
    if (amount !== undefined) put(document, path, amount);
  }
  return withoutGaps(document) as Document;
}

/** Whatever is no amount of this currency stays for the schema to refuse. */
function inMinorUnits(value: unknown, currency: unknown): number | undefined {
  const code = typeof currency === 'string' ? currency.toUpperCase() : '';
  if (!isCurrency(code) || (typeof value !== 'string' && typeof value !== 'number')) return undefined;
  try {
    const { digits, scale } = parseDecimal(String(value));
    const minor = Number(divideRounded(digits * 10n ** BigInt(minorUnits(code)), 10n ** BigInt(scale)));
    return Number.isSafeInteger(minor) ? minor : undefined;
  } catch {
    return undefined;
  }
}

/** A list whose third element alone has values is a list of one. */
function withoutGaps(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((one) => one !== undefined).map(withoutGaps);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withoutGaps(member)]));
}

/** What an export puts before a cell that a spreadsheet would run; `spreadsheetSafe` of the exports is its counterpart. */
const quotedFormula = /^'+[=+\-@\t\r]/;

/**
 * The member of each column of a CSV header; null: ignored.
 *
 * @throws Problem where a column is no member and no mapping says that it may be ignored; by its number, as a first line that is no
 *   header holds data
 */
export function columnsOf(item: Schema, header: readonly string[], mapping: Mapping | null): (string | null)[] {
  const mapped = mapping && sourcesOf(item, mapping);
  for (const name of mapped?.columns.keys() ?? []) {
    if (!header.includes(name))
      throw invalid('', 'missing_column', `The header has no column ${name}, which the mapping names.`);
  }
  return header.map((name, index) => {
    if (header.indexOf(name) !== index)
      throw invalid('', 'duplicate_column', `Columns ${header.indexOf(name) + 1} and ${index + 1} have one name.`);
    if (mapped?.columns.has(name)) return name;
    if (schemaAt(item, name.split('.')) && name !== '') return name;
    if (mapping) return null;
    throw invalid(
      '',
      'unknown_column',
      `Column ${index + 1} is no member of the records. The first line names the columns; send a mapping if they have other names.`,
    );
  });
}

/** Makes items of the cells of a line. */
export function cellMapper(item: Schema, columns: readonly (string | null)[], mapping: Mapping | null) {
  const mapped = sourcesOf(item, mapping ?? {});
  const sources = columns.map((name) => (name === null ? [] : (mapped.columns.get(name) ?? own(item, name))));
  return (cells: readonly string[]): Document => {
    const document: Document = {};
    for (const [index, cell] of cells.entries()) {
      if (cell === '') continue;
      const text = quotedFormula.test(cell) ? cell.slice(1) : cell;
      for (const { path, read } of sources[index] ?? []) put(document, path, read(text));
    }
    return complete(document, mapped);
  };
}

function own(item: Schema, name: string): Source[] {
  const path = name.split('.');
  const schema = schemaAt(item, path);
  return schema ? [{ path, read: readerOf(schema) }] : [];
}

/** Makes items of the documents of lines. */
export function documentMapper(item: Schema, mapping: Mapping | null): (document: Document) => Document {
  if (!mapping) return (document) => document;
  const mapped = sourcesOf(item, mapping);
  const members = membersOf(item).map(([name]) => name);
  return (given) => {
    const document: Document = {};
    for (const name of members)
      if (Object.hasOwn(given, name) && !mapped.columns.has(name)) document[name] = given[name];
    for (const [name, sources] of mapped.columns) {
      const value = Object.hasOwn(given, name) ? given[name] : valueAt(given, name.split('.'));
      if (value === undefined || value === '') continue;
      for (const { path, read } of sources) put(document, path, read(value));
    }
    return complete(document, mapped);
  };
}
