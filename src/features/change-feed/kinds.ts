import { z } from 'zod';
import { maskingOf } from '../../platform/masked-fields.ts';
import { type Context, fieldsOf, type Operation } from '../../platform/operation.ts';
import { servedOperations } from '../../platform/served-operations.ts';
import { feedKinds } from '../../records/feed.ts';
import { membersOf } from '../../records/walk.ts';
import '../../definitions.ts';

/** Kinds of records in the feed, and who hears of them: whoever may call the operation that reads one. */

const names = feedKinds().map(({ feed }) => feed.kind) as [string, ...string[]]; // there are kinds
export const eventKind = z.enum(names).meta({ id: 'EventKind', description: 'A kind of record that has events.' });

interface Reading {
  operation: Operation;
  /** Whether it answers one record by its id. */
  byId: boolean;
}

const readings = new WeakMap<readonly Operation[], ReadonlyMap<string, Reading>>();

/** @throws Error naming the kind that no operation reads: nobody could hear of it */
function readingsOfKinds(): ReadonlyMap<string, Reading> {
  const operations = servedOperations();
  const known = readings.get(operations);
  if (known) return known;
  const made = new Map(
    feedKinds().map(({ feed: { kind, read, list } }): [string, Reading] => {
      const name = list ?? read ?? `get${pascalCase(kind)}`;
      const operation = operations.find((one) => one.name === name);
      if (!operation) throw new Error(`Events of ${kind}: there is no operation ${name}`);
      return [kind, { operation, byId: list === undefined }];
    }),
  );
  readings.set(operations, made);
  return made;
}

function pascalCase(kind: string): string {
  return kind.replace(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** The operation that answers a record of the kind by its id; null: there is none. */
export function readerOf(kind: string): Operation | null {
  const reading = readingsOfKinds().get(kind);
  return reading?.byId ? reading.operation : null;
}

/** The operation whose scope lets the caller hear of a kind. */
export function scopeOf(kind: string): string {
  return readingsOfKinds().get(kind)?.operation.scope ?? 'unknown';
}

/** The kinds that the caller may hear of. */
export function heardKinds({ principal }: Pick<Context, 'principal'>): string[] {
  const { scopedTo } = principal;
  return [...readingsOfKinds()].flatMap(([kind, { operation }]) => {
    const open = scopedTo === null || operation[scopedTo.kind === 'partner' ? 'partners' : 'selfService'];
    return open && principal.has(operation.scope) ? [kind] : [];
  });
}

/** Of the members that changed, those that the caller may know of. */
export function toldMembers(context: Context, kind: string, changed: readonly string[]): string[] {
  const { principal } = context;
  if (principal.scopedTo === null) return [...changed];
  const reading = readingsOfKinds().get(kind);
  if (!reading?.byId) return [];
  const { output } = reading.operation;
  const seen = new Map(membersOf(output));
  const asking = { principal, personalData: true, fields: fieldsOf(context) };
  return changed.filter((member) => {
    const schema = seen.get(member);
    return schema !== undefined && maskingOf(output, [member, schema], asking) !== 'clear';
  });
}
