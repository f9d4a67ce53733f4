import { z } from 'zod';
import { type Act, isNullable, type Place, walker } from '../records/walk.ts';

/**
 * Takes null for 'not given', wherever a member or argument is optional and null is not among its values: clients print what
 * they do not know as null. The members of a patch are left alone, because null clears them.
 *
 * @returns the value, changed in place
 */
export function withoutNulls(schema: z.core.$ZodType, value: unknown): unknown {
  const act = walk(schema);
  return act ? act(value, undefined) : value;
}

const walk: (schema: z.core.$ZodType) => Act | null = walker({
  at({ schema, key, holder }: Place) {
    if (key === null || isPatch(holder) || schema._zod.optin !== 'optional' || isNullable(schema)) return 'enter';
    const inside = walk(schema);
    return (value) => (value === null ? undefined : inside ? inside(value) : value);
  },
});

/** By the name that the documents give it. */
function isPatch(schema: z.core.$ZodType | null): boolean {
  return schema !== null && (z.globalRegistry.get(schema)?.id?.endsWith('Patch') ?? false);
}
