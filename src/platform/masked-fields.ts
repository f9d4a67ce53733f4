import { createHash } from 'node:crypto';
import { z } from 'zod';
import {
  elementOf,
  isNullable,
  markOf,
  membersOf,
  type Place,
  type Schema,
  unwrapped,
  walker,
} from '../records/walk.ts';
import { Problem } from './errors.ts';
import { isPersonal, listedRecord, type Mask, redactor } from './personal.ts';
import type { Principal } from './principal.ts';

/**
 * Masked fields: what scoped tokens do not see of the records they may read. A partner sees the required members of a
 * document and those nullable ones that it is allowed (`Customer.name`); the others are null over REST and GraphQL, and
 * it cannot filter or sort by them. No scoped token sees other customers: members marked with `maskedForScoped` are null.
 *
 * @param names whether a value names another customer. Default: every one.
 */
export function maskedForScoped<T extends z.ZodNullable>(schema: T, names?: Names): T {
  others.add(schema, { names: names ?? null });
  return schema;
}

/** A document that scoped tokens see only where it is their own: they see all of it. Say it last: what clones a schema forgets it. */
export function ownDocument<T extends z.ZodObject>(schema: T): T {
  own.add(schema, { own: true });
  return schema;
}

const own = z.registry<{ own: true }>();

type Names = (value: string) => boolean;

const others = z.registry<{ names: Names | null }>();

function isAlwaysMasked(schema: Schema): boolean {
  return markOf(others, schema)?.names === null;
}

/** A nullable member that a partner may be allowed. */
export interface MaskableField {
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
  /** Parameters that select by members of other names; by all of them. */
  selects?: Readonly<Record<string, readonly string[]>>;
}

type Compile = (schema: Schema) => Mask | null;

/** What a list of allowed members makes of documents. */
interface FieldMask {
  allowed: ReadonlySet<string>;
  compile: Compile;
  digest: string;
}

const ofCustomers = maskOf(null);
/** Equal lists are looked at once, and one list, which stays the same from request to request, is not even joined again. */
const masks = new Map<string, FieldMask>();
const maskOfList = new WeakMap<readonly string[], FieldMask>();
const maxMasks = 1_000;

function fieldMaskOf(fields: readonly string[]): FieldMask {
  const before = maskOfList.get(fields);
  if (before) return before;
  const key = fields.join();
  if (masks.size >= maxMasks) masks.clear();
  const made = masks.get(key) ?? makeFieldMask(key, new Set(fields));
  masks.set(key, made);
  maskOfList.set(fields, made);
  return made;
}

function makeFieldMask(key: string, allowed: ReadonlySet<string>): FieldMask {
  return { allowed, compile: maskOf(allowed), digest: createHash('sha256').update(key).digest('hex').slice(0, 6) };
}

/** Sets what the caller is not told to null, in place; null when there is nothing of this kind in the output. */
export function maskForScoped(
  { output, scope }: Pick<Answering, 'output' | 'scope'>,
  { scopedTo }: Pick<Principal, 'scopedTo'>,
  fields: readonly string[],
): Mask | null {
  if (scopedTo === null) return null;
  if (scopedTo.kind === 'customer') return ofCustomers(output);
  // Numbers of groups have a guard of their own, and null where there is none.
  if (scope === 'metrics:read') return null;
  return fieldMaskOf(fields).compile(output);
}

/** What becomes of a member of an answer: it is told, it is null, or that depends on what is in it. */
export type Masking = 'none' | 'clear' | 'partly';

/**
 * The masks of one member, for who leaves out what they would clear: those of personal data and of scoped tokens.
 *
 * @param holder the document that has the member
 */
export function maskingOf(
  holder: Schema,
  [key, schema]: readonly [key: string, schema: Schema],
  { principal, personalData, fields }: { principal: Principal; personalData: boolean; fields: readonly string[] },
): Masking {
  if (!personalData) {
    if (isPersonal(schema)) return 'clear';
    if (redactor(schema) !== null) return 'partly';
  }
  const { scopedTo } = principal;
  if (scopedTo === null) return 'none';
  const mark = markOf(others, schema);
  if (mark) return mark.names === null ? 'clear' : 'partly';
  if (scopedTo.kind === 'partner' && isNullable(schema)) {
    const name = nameOf({ schema, key, holder: unwrapped(holder), within: null });
    if (name !== null && !fieldMaskOf(fields).allowed.has(name)) return 'clear';
  }
  // What documents have inside is for them to say.
  return membersOf(elementOf(schema) ?? schema).length > 0 ? 'partly' : 'none';
}

/** Documents that are another one with a few members more or less share its names. */
function documentOf(schema: Schema): string | null {
  const given = z.globalRegistry.get(schema)?.id;
  return typeof given === 'string' ? given.replace(/^(Written|Listed|Partial)(?=[A-Z])/, '') : null;
}

/** Whose a record is comes with it: what belongs to nobody no scoped caller sees. */
const owner = 'customerId';

/** Pages are ours, not anybody's record. */
const structural = new Set(['Page']);

/**
 * The name of a member: `Customer.name`; in a document without a name that of the member which holds it; null where the
 * document is nobody's record.
 */
function nameOf({ schema, key, holder, within }: Place): string | null {
  if (holder === null || key === owner || markOf(own, holder)) return null;
  const document = documentOf(holder);
  if (document !== null) return `${document}.${key}`;
  if (within === null && isNullable(schema)) throw new Error(`${key} is nullable in a document without a name`);
  return within;
}

function isOfPage({ holder }: Place): boolean {
  const document = holder && documentOf(holder);
  return document !== null && structural.has(document);
}

/** @param allowed null: everything but what is of others */
function maskOf(allowed: ReadonlySet<string> | null): Compile {
  return walker({
    at: (place) => {
      if (isOfPage(place)) return 'leave';
      const name = nameOf(place);
      const masked = allowed !== null && name !== null && isNullable(place.schema) && !allowed.has(name);
      const mark = markOf(others, place.schema);
      if (masked || mark?.names === null) return 'clear';
      const names = mark?.names;
      return names ? (value) => (typeof value === 'string' && names(value) ? null : value) : 'enter';
    },
    inside: nameOf,
  });
}

/** What partners may be allowed, of the answers of all operations that are open to them; by name. */
export function maskableFields(operations: Iterable<Answering>): MaskableField[] {
  const found = new Map<string, MaskableField>();
  const look = walker({
    at: (place) => {
      const { schema } = place;
      if (isOfPage(place) || isAlwaysMasked(schema)) return 'leave';
      const name = nameOf(place);
      if (name !== null && isNullable(schema) && !found.has(name)) {
        const description = descriptionOf(schema);
        found.set(name, { name, description, personal: isPersonal(schema) });
      }
      return 'enter';
    },
    inside: nameOf,
  });
  for (const { output, scope, partners } of operations) if (partners && scope !== 'metrics:read') look(output);
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What the member itself says; not what a schema in it does. */
function descriptionOf(schema: Schema): string | null {
  const member = schema instanceof z.ZodOptional ? schema.unwrap() : schema;
  return z.globalRegistry.get(member)?.description ?? null;
}

/**
 * Refuses to select by what the caller is not told: it would be told by what is found.
 *
 * @throws Problem not_shared, with the parameter
 */
export function refuseMasked(
  operation: Answering,
  { scopedTo }: Principal,
  fields: readonly string[],
  input: Record<string, unknown>,
): void {
  if (scopedTo === null) return;
  const allowed = scopedTo.kind === 'customer' ? null : fieldMaskOf(fields).allowed;
  for (const [parameter, member] of selectors(operation)) {
    if (input[parameter] === undefined || (member !== null && (allowed === null || allowed.has(member)))) continue;
    const message = `${parameter} selects by a member that is not shared with your token. Leave it out.`;
    throw new Problem('not_shared', message, { errors: [{ parameter, code: 'not_shared', message }] });
  }
  // The order of a list tells the values of its member, as a filter does.
  const by = typeof input['sort'] === 'string' ? input['sort'].replace(/^-/, '') : null;
  const member = by === null ? undefined : nullableMember(operation, by);
  if (member === undefined || (member !== null && (allowed === null || allowed.has(member)))) return;
  const message = `The list cannot be ordered by ${by}: it is not shared with your token. Choose another order.`;
  throw new Problem('not_shared', message, { errors: [{ parameter: 'sort', code: 'not_shared', message }] });
}

/** The name of a nullable member of the records listed; null: it is always masked; undefined: there is none of this name. */
function nullableMember({ output }: Answering, wanted: string): string | null | undefined {
  const holder = listedRecord(output);
  const found = (holder ? membersOf(holder) : []).find(([key]) => key === wanted);
  if (!holder || !found) return undefined;
  const [key, schema] = found;
  if (isAlwaysMasked(schema)) return null;
  return isNullable(schema)
    ? (nameOf({ schema, key, holder: unwrapped(holder), within: null }) ?? undefined)
    : undefined;
}

const known = new WeakMap<object, [parameter: string, member: string | null][]>();

/** The parameters that select by a nullable member of the documents listed; null: by what is of others. */
function selectors(operation: Answering): [parameter: string, member: string | null][] {
  const before = known.get(operation);
  if (before) return before;
  const made: [string, string | null][] = Object.entries(operation.selects ?? {}).flatMap(([parameter, members]) =>
    members.map((member): [string, string] => [parameter, member]),
  );
  const holder = listedRecord(operation.output);
  const { shape } = operation.input;
  // Together they are the address of a record, `/external/{source}/{externalId}`.
  const address = 'source' in shape && 'externalId' in shape ? ['source', 'externalId'] : [];
  for (const [key, schema] of holder ? membersOf(holder) : []) {
    if (!(key in shape) || address.includes(key) || !isNullable(schema)) continue;
    const name = nameOf({ schema, key, holder: holder && unwrapped(holder), within: null });
    if (isAlwaysMasked(schema)) made.push([key, null]);
    else if (name !== null) made.push([key, name]);
  }
  known.set(operation, made);
  return made;
}

/**
 * Tells answers apart that say different things of the same version of a record, for ETags: empty for the own. Partners
 * who are allowed the same are told the same.
 */
export function viewerTag({ scopedTo }: Principal, fields: readonly string[]): string {
  if (scopedTo === null) return '';
  return scopedTo.kind === 'customer' ? '-customer' : `-partner-${fieldMaskOf(fields).digest}`;
}
