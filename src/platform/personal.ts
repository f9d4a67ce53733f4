import { z } from 'zod';

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

export function isPersonal(schema: z.core.$ZodType): boolean {
  // `get` sees the mark of the schema that this one was cloned from (`.meta()`); `has` does not.
  // What `partial()` wraps stays personal.
  return marks.get(schema) !== undefined || (schema instanceof z.ZodOptional && isPersonal(schema.unwrap()));
}

type Redact = (value: unknown) => void;

const compiled = new WeakMap<z.core.$ZodType, Redact | null>();

/** Compiles a schema into a function that sets its personal fields to null in place; null when it has none. */
export function redactor(schema: z.core.$ZodType): Redact | null {
  const known = compiled.get(schema);
  if (known !== undefined) return known;
  compiled.set(schema, null);
  const made = build(schema);
  compiled.set(schema, made);
  return made;
}

function build(schema: z.core.$ZodType): Redact | null {
  if (schema instanceof z.ZodObject) return objectRedactor(schema);
  if (schema instanceof z.ZodArray) {
    const inner = redactor(schema.element);
    return inner && ((value) => Array.isArray(value) && value.forEach(inner));
  }
  if (schema instanceof z.ZodNullable || schema instanceof z.ZodOptional) return redactor(schema.unwrap());
  if (schema instanceof z.ZodUnion) {
    if (schema.options.some((option) => redactor(option)))
      throw new Error('Personal fields inside a union are not supported');
  }
  return null;
}

function objectRedactor(schema: z.ZodObject): Redact | null {
  const hidden: string[] = [];
  const deeper: [string, Redact][] = [];
  for (const [key, field] of Object.entries(schema.shape)) {
    if (isPersonal(field)) {
      hidden.push(key);
      continue;
    }
    const inner = redactor(field);
    if (inner) deeper.push([key, inner]);
  }
  if (hidden.length === 0 && deeper.length === 0) return null;
  return (value) => {
    if (typeof value !== 'object' || value === null) return;
    const record = value as Record<string, unknown>; // an object by the line above
    for (const key of hidden) if (key in record) record[key] = null;
    for (const [key, inner] of deeper) inner(record[key]);
  };
}
