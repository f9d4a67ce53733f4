import type { FastifyRequest } from 'fastify';
import Negotiator from 'negotiator';
import { membersOf, type Schema } from '../../records/walk.ts';
import { csv } from '../csv.ts';
import type { Operation, Representation } from '../operation.ts';
import { listedRecord } from '../personal.ts';

/*
 * What REST answers besides JSON: every list as CSV, and what an operation declares (`representations`). A client asks by
 * Accept, or by a suffix of the address (`/v1/orders.csv`).
 */

const known = new WeakMap<Operation, readonly Representation<never>[]>();

export function representationsOf(operation: Operation): readonly Representation<never>[] {
  const made = known.get(operation) ?? make(operation);
  known.set(operation, made);
  return made;
}

function make(operation: Operation): readonly Representation<never>[] {
  if (operation.kind !== 'read') return [];
  if (operation.representations) return operation.representations;
  const record = listedRecord(operation.output);
  return record ? [listAsCsv(record)] : [];
}

/** Which of them a request asks for; null: JSON, as when it says nothing or asks for what there is not. */
export function wanted(
  { headers: { accept } }: FastifyRequest,
  others: readonly Representation<never>[],
): Representation<never> | null {
  if (accept === undefined || others.length === 0) return null;
  const type = new Negotiator({ headers: { accept } }).mediaType([
    'application/json',
    ...others.map(({ media }) => media),
  ]);
  return others.find(({ media }) => media === type) ?? null;
}

/** One line per record: a column for each member, `address.city` for those of documents. Lists in a record are JSON. */
function listAsCsv(record: Schema): Representation<never> {
  const columns = columnsOf(record, []);
  return {
    media: 'text/csv',
    suffix: 'csv',
    of: ({ data }: { data: readonly unknown[] }) =>
      csv(
        columns.map((path) => path.join('.')),
        data.map((one) => columns.map((path) => cellOf(one, path))),
      ),
  } as Representation<never>; // of an operation whose output is a page
}

function columnsOf(schema: Schema, path: readonly string[]): string[][] {
  const members = membersOf(schema);
  if (members.length === 0) return [[...path]];
  return members.flatMap(([name, inner]) => columnsOf(inner, [...path, name]));
}

function cellOf(record: unknown, path: readonly string[]): unknown {
  let value: unknown = record;
  for (const name of path) value = (value as Record<string, unknown> | null | undefined)?.[name]; // a JSON document
  return value !== null && typeof value === 'object' ? JSON.stringify(value) : value;
}
