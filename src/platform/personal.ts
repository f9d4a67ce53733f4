import { z } from 'zod';
import { markOf, type Schema, walker } from '../records/walk.ts';

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
