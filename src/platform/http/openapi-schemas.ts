import { z } from 'zod';

export type Json = Record<string, unknown>;

/** Schemas of the document: what has an id (`meta({ id })`) becomes a component, everything else is written in place. */
export interface SchemaBook {
  /** The JSON Schema of what a client sends (`input`) or is answered (`output`). */
  add(schema: z.core.$ZodType, io: 'input' | 'output'): Json;
  components: Map<string, Json>;
}

/**
 * Collects the schemas of the zod definitions. One id has to mean one thing: zod would name the two readings of a schema
 * that differs between input and output `X` and `XInput`; here such a schema is refused, and its author gives two ids.
 */
export function schemaBook(): SchemaBook {
  const components = new Map<string, Json>();
  const known = { input: new Map<z.core.$ZodType, Json>(), output: new Map<z.core.$ZodType, Json>() };
  return {
    components,
    add(schema, io) {
      const before = known[io].get(schema);
      if (before) return before;
      const { $schema: _, $defs = {}, ...root } = z.toJSONSchema(schema, { io, target: 'draft-2020-12' });
      for (const [id, definition] of Object.entries($defs)) {
        const tidied = tidy(definition) as Json; // an object stays one
        const same = components.get(id);
        if (same !== undefined && JSON.stringify(same) !== JSON.stringify(tidied)) {
          throw new Error(`The schema id ${id} stands for two different schemas in the document.`);
        }
        components.set(id, tidied);
      }
      const made = tidy(root) as Json; // an object stays one
      known[io].set(schema, made);
      return made;
    },
  };
}

/** Every component that is referred to and not there. */
export function missingReferences(document: Json): string[] {
  const missing = new Set<string>();
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit);
    if (!isObject(value)) return;
    const reference = value.$ref;
    if (typeof reference === 'string' && resolve(document, reference) === undefined) missing.add(reference);
    Object.values(value).forEach(visit);
  };
  visit(document);
  return [...missing];
}

/** What `#/components/…` points to. */
export function resolve(document: Json, reference: string): unknown {
  return reference
    .slice(2)
    .split('/')
    .reduce<unknown>((at, step) => (isObject(at) ? at[step] : undefined), document);
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const keyOrder = ['$ref', 'description', 'type', 'format', 'enum', 'const', 'properties', 'items', 'anyOf', 'allOf'];
const rank = (key: string) => (keyOrder.includes(key) ? keyOrder.indexOf(key) : keyOrder.length);

/**
 * zod's JSON Schema as a person would write it for OpenAPI 3.1: components instead of `$defs`, `examples` for the
 * deprecated `example`, `type: [x, null]` instead of a choice, no patterns where the format says it, and a format on
 * integers that 32 bits do not hold.
 */
function tidy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(tidy);
  if (!isObject(value)) return value;
  let schema: Json = {};
  for (const [key, inner] of Object.entries(value)) {
    if (key === 'properties' && isObject(inner)) {
      schema[key] = Object.fromEntries(Object.entries(inner).map(([name, property]) => [name, tidy(property)]));
    } else if (key === 'example') {
      schema.examples = [inner];
    } else if (key === 'examples' || key === 'enum' || key === 'const' || key === 'default') {
      schema[key] = inner;
    } else if (key === '$ref' && typeof inner === 'string') {
      schema[key] = inner.replace('#/$defs/', '#/components/schemas/');
    } else {
      schema[key] = tidy(inner);
    }
  }
  schema = withNull(schema);
  if (schema.format === 'uuid' || schema.format === 'date') delete schema.pattern;
  if (isLong(schema)) schema.format = 'int64';
  return Object.fromEntries(Object.entries(schema).sort(([a], [b]) => rank(a) - rank(b)));
}

function withNull(schema: Json): Json {
  const { anyOf: choice, ...outer } = schema;
  if (!Array.isArray(choice) || choice.length !== 2) return schema;
  const value: unknown = choice.find((option) => isObject(option) && option.type !== 'null');
  if (!choice.some((option) => isObject(option) && option.type === 'null') || !isObject(value)) return schema;
  if (typeof value.type !== 'string' || 'const' in value) return schema;
  const named = Array.isArray(value.enum) ? { enum: [...value.enum, null] } : {};
  return { ...value, ...named, ...outer, type: [value.type, 'null'] };
}

function isLong({ type, minimum, maximum }: Json): boolean {
  if (type !== 'integer' && !(Array.isArray(type) && type.includes('integer'))) return false;
  const beyond = (bound: unknown) => typeof bound === 'number' && Math.abs(bound) > 2_147_483_648;
  return beyond(minimum) || beyond(maximum);
}

/**
 * An example of a schema: the one its author gave, or else made of the examples of its parts. Optional members are left
 * out unless their author gave one.
 */
export function exampleOf(schema: unknown, document: Json): unknown {
  if (!isObject(schema)) return undefined;
  if (Array.isArray(schema.examples)) return schema.examples[0];
  if (typeof schema.$ref === 'string') return exampleOf(resolve(document, schema.$ref), document);
  if (Array.isArray(schema.enum)) return schema.enum[0];
  if ('const' in schema) return schema.const;
  if (Array.isArray(schema.anyOf)) return exampleOf(schema.anyOf[0], document);
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type;
  if (type === 'object') return exampleObject(schema, document);
  if (type === 'array') return [exampleOf(schema.items, document)];
  if (type === 'string') return 'text';
  if (type === 'boolean') return false;
  if (type === 'integer' || type === 'number')
    return typeof schema.minimum === 'number' ? Math.max(schema.minimum, 0) : 0;
  return null;
}

function exampleObject({ properties, required }: Json, document: Json): Json {
  const needed = new Set(Array.isArray(required) ? required : []);
  const members = Object.entries(isObject(properties) ? properties : {});
  return Object.fromEntries(
    members
      .filter(([name, member]) => needed.has(name) || (isObject(member) && 'examples' in member))
      .map(([name, member]) => [name, exampleOf(member, document)]),
  );
}
