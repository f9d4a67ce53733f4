import { createHash } from 'node:crypto';
import { z } from 'zod';
import { Problem } from './errors.ts';
import { isPersonal } from './personal.ts';
import type { Principal } from './principal.ts';

/**
 * What confined callers are not told of the records they may see. A partner is told the required members of a document
 * and those nullable ones that it is allowed (`Customer.name`); the others are null, on both doors, and it cannot select
 * by them. Nobody who is confined is told of other customers: members marked with `ofOthers` are null.
 *
 * @param names whether a value names another customer; every one unless told
 */
export function ofOthers<T extends z.ZodNullable>(schema: T, names?: Names): T {
  others.add(schema, { names: names ?? null });
  return schema;
}

type Names = (value: string) => boolean;

const others = z.registry<{ names: Names | null }>();

function isAlwaysOfOthers(field: z.core.$ZodType): boolean {
  return others.get(field)?.names === null;
}

/** A nullable member that a partner may be allowed. */
export interface WithheldMember {
  /** `Customer.name` */
  name: string;
  description: string | null;
  /** Told to those only whose token has `customers:pii` as well. */
  personal: boolean;
}

/** What of an operation counts here. */
interface Answering {
  name: string;
  scope: string;
  partners: boolean;
  input: z.ZodObject;
  output: z.ZodType;
  /** Parameters that select by a member of another name. */
  selects?: Readonly<Record<string, string>>;
}

type Redact = (value: unknown) => void;
/** null: everything but what is of others. */
type Allowed = ReadonlySet<string> | null;

/** What a list of allowed members makes of documents. */
interface Sight {
  allowed: ReadonlySet<string>;
  compiled: Map<z.core.$ZodType, Redact | null>;
  digest: string;
}

const ofCustomers = new Map<z.core.$ZodType, Redact | null>();
/** Equal lists are looked at once, and one list, which stays the same from request to request, is not even joined again. */
const sights = new Map<string, Sight>();
const sightOf = new WeakMap<readonly string[], Sight>();
const mostSights = 1_000;

function sight(fields: readonly string[]): Sight {
  const before = sightOf.get(fields);
  if (before) return before;
  const key = fields.join();
  if (sights.size >= mostSights) sights.clear();
  const digest = () => createHash('sha256').update(key).digest('hex').slice(0, 6);
  const made = sights.get(key) ?? { allowed: new Set(fields), compiled: new Map(), digest: digest() };
  sights.set(key, made);
  sightOf.set(fields, made);
  return made;
}

/** Sets what the caller is not told to null, in place; null when there is nothing of this kind in the output. */
export function withholder(
  { output, scope }: Pick<Answering, 'output' | 'scope'>,
  { confinement }: Principal,
  fields: readonly string[],
): Redact | null {
  if (confinement === null) return null;
  if (confinement.kind === 'customer') return compile(output, null, ofCustomers, null);
  // Numbers of groups have a guard of their own, and null where there is none.
  if (scope === 'metrics:read') return null;
  const { allowed, compiled } = sight(fields);
  return compile(output, allowed, compiled, null);
}

/** Documents that are another one with a few members more or less share its names. */
function documentOf(schema: z.ZodObject): string | null {
  const given = z.globalRegistry.get(schema)?.id;
  return typeof given === 'string' ? given.replace(/^(Written|Listed|Partial)(?=[A-Z])/, '') : null;
}

/** Whose a record is comes with it: what belongs to nobody no confined caller sees. */
const owner = 'customerId';

/** Pages are ours, not anybody's record. */
const structural = new Set(['Page']);

/** @param holder the member that holds it, whose name stands for the members of what has no name */
function compile(
  schema: z.core.$ZodType,
  allowed: Allowed,
  compiled: Map<z.core.$ZodType, Redact | null>,
  holder: string | null,
): Redact | null {
  const known = compiled.get(schema);
  if (known !== undefined) return known;
  // Nothing that holds itself is answered; if it were, its inner copy would be left out.
  compiled.set(schema, null);
  const made = build(schema, holder, (inner, within) => compile(inner, allowed, compiled, within), allowed);
  compiled.set(schema, made);
  return made;
}

type Inner = (schema: z.core.$ZodType, holder: string | null) => Redact | null;

function build(schema: z.core.$ZodType, holder: string | null, inner: Inner, allowed: Allowed): Redact | null {
  if (schema instanceof z.ZodObject) return objectWithholder(schema, holder, inner, allowed);
  if (schema instanceof z.ZodArray) {
    const each = inner(schema.element, holder);
    return each && ((value) => Array.isArray(value) && value.forEach(each));
  }
  if (schema instanceof z.ZodNullable || schema instanceof z.ZodOptional) return inner(schema.unwrap(), holder);
  if (schema instanceof z.ZodUnion && schema.options.some((option) => inner(option, holder))) {
    throw new Error('What is withheld cannot be inside a union');
  }
  return null;
}

function objectWithholder(schema: z.ZodObject, holder: string | null, inner: Inner, allowed: Allowed): Redact | null {
  const hidden: string[] = [];
  const guarded: [string, Names][] = [];
  const deeper: [string, Redact][] = [];
  for (const { key, field, name } of membersOf(schema, holder)) {
    const isWithheld = allowed !== null && name !== null && isNullable(field) && !allowed.has(name);
    if (isWithheld || isAlwaysOfOthers(field)) {
      hidden.push(key);
      continue;
    }
    const names = others.get(field)?.names;
    if (names) guarded.push([key, names]);
    const redact = inner(field, name);
    if (redact) deeper.push([key, redact]);
  }
  if (hidden.length === 0 && guarded.length === 0 && deeper.length === 0) return null;
  return (value) => {
    if (typeof value !== 'object' || value === null) return;
    const record = value as Record<string, unknown>; // an object by the line above
    for (const key of hidden) if (key in record) record[key] = null;
    for (const [key, names] of guarded) {
      const held = record[key];
      if (typeof held === 'string' && names(held)) record[key] = null;
    }
    for (const [key, redact] of deeper) redact(record[key]);
  };
}

interface Member {
  key: string;
  field: z.core.$ZodType;
  /** null: of a document that is nobody's record. */
  name: string | null;
}

function membersOf(schema: z.ZodObject, holder: string | null): Member[] {
  const document = documentOf(schema);
  if (document !== null && structural.has(document)) return [];
  return Object.entries(schema.shape).map(([key, given]) => {
    const field = given instanceof z.ZodOptional ? given.unwrap() : given;
    const name = document === null ? holder : `${document}.${key}`;
    if (key === owner) return { key, field, name: null };
    if (name === null && isNullable(field)) throw new Error(`${key} is nullable in a document without a name`);
    return { key, field, name };
  });
}

function isNullable(field: z.core.$ZodType): boolean {
  return field instanceof z.ZodNullable;
}

/** What partners may be allowed, of the answers of all operations that are open to them; by name. */
export function withheldMembers(operations: Iterable<Answering>): WithheldMember[] {
  const found = new Map<string, WithheldMember>();
  const seen = new Set<z.core.$ZodType>();
  const look = (schema: z.core.$ZodType, holder: string | null): void => {
    if (schema instanceof z.ZodArray) look(schema.element, holder);
    else if (schema instanceof z.ZodNullable || schema instanceof z.ZodOptional) look(schema.unwrap(), holder);
    if (!(schema instanceof z.ZodObject) || seen.has(schema)) return;
    seen.add(schema);
    for (const { field, name } of membersOf(schema, holder)) {
      if (isAlwaysOfOthers(field)) continue;
      if (name !== null && isNullable(field) && !found.has(name)) {
        const description = z.globalRegistry.get(field)?.description ?? null;
        found.set(name, { name, description, personal: isPersonal(field) });
      }
      look(field, name);
    }
  };
  for (const { output, scope, partners } of operations) if (partners && scope !== 'metrics:read') look(output, null);
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Refuses to select by what the caller is not told: it would be told by what is found.
 *
 * @throws Problem not_shared, with the parameter
 */
export function refuseWithheld(
  operation: Answering,
  { confinement }: Principal,
  fields: readonly string[],
  input: Record<string, unknown>,
): void {
  if (confinement === null) return;
  const allowed = confinement.kind === 'customer' ? null : sight(fields).allowed;
  for (const [parameter, member] of selectors(operation)) {
    if (input[parameter] === undefined || (member !== null && (allowed === null || allowed.has(member)))) continue;
    const message = `${parameter} selects by what is not shared with the caller.`;
    throw new Problem('not_shared', message, { errors: [{ parameter, code: 'not_shared', message }] });
  }
}

const known = new WeakMap<object, [parameter: string, member: string | null][]>();

/** The parameters that select by a nullable member of the documents listed; null: by what is of others. */
function selectors(operation: Answering): [parameter: string, member: string | null][] {
  const before = known.get(operation);
  if (before) return before;
  const made: [string, string | null][] = Object.entries(operation.selects ?? {});
  const listed = operation.output instanceof z.ZodObject ? operation.output.shape['data'] : undefined;
  const document = listed instanceof z.ZodArray ? listed.element : null;
  const { shape } = operation.input;
  // Together they are the address of a record, `/external/{source}/{externalId}`.
  const address = 'source' in shape && 'externalId' in shape ? ['source', 'externalId'] : [];
  if (document instanceof z.ZodObject) {
    for (const { key, field, name } of membersOf(document, null)) {
      if (!(key in shape) || address.includes(key) || !isNullable(field)) continue;
      if (isAlwaysOfOthers(field)) made.push([key, null]);
      else if (name !== null) made.push([key, name]);
    }
  }
  known.set(operation, made);
  return made;
}

/**
 * Tells answers apart that say different things of the same version of a record, for ETags: empty for the own. Partners
 * who are allowed the same are told the same.
 */
export function eyesOf({ confinement }: Principal, fields: readonly string[]): string {
  if (confinement === null) return '';
  return confinement.kind === 'customer' ? '-customer' : `-partner-${sight(fields).digest}`;
}
