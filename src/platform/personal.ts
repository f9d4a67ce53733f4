import { z } from 'zod';
import { elementOf, markOf, membersOf, type Schema, walker } from '../records/walk.ts';

/**
 * Marks a field as personal data. Without `customers:pii` the value is answered as null, on both doors, by the
 * redactor of the operation's output: the mark on the field is the only place that says so.
 */
export function personal<T extends z.ZodType>(schema: T): z.ZodNullable<T> {
  const marked = schema.nullable();
  marks.add(marked, { personal: true });
  return marked;
}

const marks = z.registry<{ personal: true }>();

export function isPersonal(schema: Schema): boolean {
  return markOf(marks, schema) !== null;
}

/** Sets members of an answer to null, in place. */
export type Mask = (answer: unknown) => void;

/** Compiles a schema into a function that sets its personal fields to null; null when it has none. */
export const redactor: (schema: Schema) => Mask | null = walker({
  at: ({ schema }) => (isPersonal(schema) ? 'clear' : 'enter'),
});

/** The record that a page lists (`data`); null for other answers. */
export function listedRecord(output: Schema): Schema | null {
  const data = membersOf(output).find(([name]) => name === 'data')?.[1];
  return data ? elementOf(data) : null;
}

interface Selecting {
  input: z.ZodObject;
  output: z.ZodType;
  personalParameters?: readonly string[];
}

const selecting = new WeakMap<Selecting, readonly string[]>();

/**
 * The parameters that need `customers:pii`, as an answer would tell whether the value is somebody's: those that are called
 * like a personal member of the records listed, and those that the operation names.
 */
export function personalSelectors(operation: Selecting): readonly string[] {
  const before = selecting.get(operation);
  if (before) return before;
  const { input, output, personalParameters = [] } = operation;
  const record = listedRecord(output);
  const alike = (record ? membersOf(record) : []).flatMap(([name, member]) =>
    name in input.shape && isPersonal(member) ? [name] : [],
  );
  const all = [...new Set([...alike, ...personalParameters])];
  selecting.set(operation, all);
  return all;
}

/** Whether a list would be ordered by a personal member: the order tells its values, as a filter does. */
export function ordersByPersonal({ output }: Selecting, sort: unknown): boolean {
  if (typeof sort !== 'string') return false;
  const record = listedRecord(output);
  const name = sort.replace(/^-/, '');
  return (record ? membersOf(record) : []).some(([key, member]) => key === name && isPersonal(member));
}
