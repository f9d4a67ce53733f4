import type { SQL } from 'drizzle-orm';
import { index, type PgColumn, type PgTable, type PgTableExtraConfigValue } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { customerKey } from '../platform/audit.ts';
import { id } from '../platform/values.ts';
import { type CustomFields, customFields } from './custom-fields.ts';
import type { Writing } from './effects.ts';
import {
  code,
  type Field,
  type Fields,
  type InputShape,
  instant,
  key,
  type Need,
  type OutputShape,
  type Row,
  version,
} from './fields.ts';
import { type FilterIndex, filterIndexes } from './filter-indexes.ts';
import { type LineShapes, type LinesOf, type LineTables, lineSchema, linesTable } from './lines.ts';
import type { Ownership } from './ownership.ts';
import { reference, referenceInput, sourceVersionInput } from './references/record.ts';
import { type InTimeline, inputShape, outputShape, storedTable, type TableOf } from './table.ts';

/**
 * The definition of a record kind. Everything that can be derived from it is derived (tables, inputs and outputs, statements,
 * operations, policies, personal-data inventory, merge, export, timeline).
 */

/**
 * The references of a record in other systems. `own`: each has the reference it was created under. `may`: it may have one, or is a
 * new record each time. `list`: it has any number of references and none of its own. `none`: it has no references.
 */
export type Naming = 'own' | 'may' | 'list' | 'none';

export interface Access {
  /** The part of a scope before the colon: `returns` needs `returns:read` and `returns:write`. */
  scope: string;
  /** What partner tokens and customer tokens may do with the records that they see. */
  partners: TokenAccess;
  selfService: TokenAccess;
}

export type TokenAccess = readonly ('read' | 'create' | 'update')[];

export type ListedBy = Readonly<Partial<Record<'createdAt' | 'updatedAt', 'order' | 'order and filter'>>>;

/** Members that are not columns. */
export interface More {
  input?: z.ZodRawShape;
  document?: z.ZodRawShape;
  output?: z.ZodRawShape;
}
type MoreOf<M, Part extends keyof More> = M extends { [P in Part]: infer S } ? S : unknown;

interface Stamps {
  version: ReturnType<typeof version>;
  createdAt: Field<string, 'required', null, z.ZodString>;
  updatedAt: Field<string, 'required', null, z.ZodString>;
}

type OwnerFields<O> =
  O extends Ownership<infer _, infer Optional>
    ? { customerId: Field<string, 'required', null, true extends Optional ? z.ZodNullable<z.ZodUUID> : z.ZodUUID> }
    : unknown;
type NameFields<N extends Naming> = N extends 'own'
  ? { source: NameField<'required'>; externalId: NameField<'required'> }
  : N extends 'may'
    ? { source: NameField<'optional'>; externalId: NameField<'optional'> }
    : unknown;
type NameField<N extends Need> = Field<string, N, null, z.ZodString>;

/** All fields of a kind: those of every record, those of its references and owner, and its own. */
export type AllFields<F, O, N extends Naming> = F & { id: Field<string, 'required', null, z.ZodUUID> } & Stamps &
  OwnerFields<O> &
  NameFields<N>;

type ReferenceList = z.ZodArray<typeof referenceInput>;
type References<N extends Naming> = N extends 'none' ? unknown : { references: z.ZodArray<typeof reference> };
type NameInputs<N extends Naming> = N extends 'none'
  ? unknown
  : { references: z.ZodOptional<ReferenceList>; sourceVersion: z.ZodOptional<typeof sourceVersionInput> };
type OwnName<N extends Naming> = N extends 'own'
  ? typeof referenceInput.shape
  : N extends 'may'
    ? { [K in keyof typeof referenceInput.shape]: z.ZodOptional<(typeof referenceInput.shape)[K]> }
    : unknown;
type OwnerInput<O> = O extends Ownership<infer Shape> ? Shape : unknown;

type AsShape<T> = T extends z.ZodRawShape ? T : never;
type Flat<T> = AsShape<{ [K in keyof T]: T[K] }>;
export type DocumentShape<F, L extends LinesOf, O, N extends Naming, M> = Flat<
  PatchShape<F, L, O, M> & NameInputs<N> & MoreOf<M, 'document'>
>;
type PatchShape<F, L extends LinesOf, O, M> = OwnerInput<O> &
  InputShape<F> &
  LineShapes<L, 'input'> &
  MoreOf<M, 'input'>;
export type InputOfKind<F, L extends LinesOf, O, N extends Naming, M> = Flat<DocumentShape<F, L, O, N, M> & OwnName<N>>;
type Partials<S> = AsShape<{
  [K in keyof S]: S[K] extends z.ZodOptional ? S[K] : S[K] extends z.ZodType ? z.ZodOptional<S[K]> : never;
}>;
export type AnswerShape<F, L extends LinesOf, O, N extends Naming, M> = Flat<
  OutputShape<AllFields<F, O, N>> & References<N> & LineShapes<L, 'output'> & MoreOf<M, 'output'>
>;
type Strict<S extends z.ZodRawShape> = z.ZodObject<S, z.core.$strict>;

export interface RecordDefinition<
  F extends Fields,
  L extends LinesOf,
  O extends Ownership | null,
  N extends Naming,
  M extends More,
> {
  /** The member that holds them in batches, and their name in exports and addresses: `returns`. */
  plural: string;
  label: string;
  /** The owner; null: they have none, the organisation has set them up. */
  owner: O;
  naming: N;
  access: Access;
  /** Its own; every record has `id`, `version`, `attributes`, `tags`, `createdAt` and `updatedAt` as well. */
  fields: F;
  lines?: L;
  /** Part of the record that this member refers to: it moves and is deleted with it. */
  partOf?: { table: PgTable; by: keyof F & string };
  /** Indexes and foreign keys beyond the key, the owner and those every kind has. */
  extras?: (columns: TableOf<AllFields<F & CustomFields, O, N>>['_']['columns']) => PgTableExtraConfigValue[];
  /**
   * How the filters of lists find their rows. `each`: an index per filter, in the order of the list. `one`: a small index for all
   * of them, for kinds with so many rows that each more costs too much. Default: `each`.
   */
  filterIndex?: FilterIndex;
  /** The timestamps that lists are ordered and filtered by. Default: `updatedAt`. */
  listedBy?: ListedBy;
  /** It owns the others: its id is the key under which their rows are kept. */
  self?: true;
  /** Members that are not columns: what is sent beside the fields, what of it cannot be changed alone, and what is answered. */
  more?: M & {
    /** Parts of the select list under their names, and what completes a row in place. */
    select?: () => Readonly<Record<string, SQL>>;
    finish?: (row: Record<string, unknown>) => void;
    /** Internal fields, by the member of the answer that is made of them. */
    madeOf?: Readonly<Record<string, readonly string[]>>;
    /** The members that `finish` sets, as SQL of a row that has the columns of the answer. */
    finished?: Readonly<Record<string, (row: SQL) => SQL>>;
  };
  /** The most references it may have. Default: 20. */
  mostReferences?: number;
  /** What the timeline of its owner shows of it at a glance. */
  timeline?: {
    members: readonly (keyof AllFields<F, O, N> & string)[];
    more?: NonNullable<InTimeline['more']>;
  };
  /** Never changed once it is written: it has no `updatedAt`. */
  unchanging?: true;
  /** Checks an input as a whole. */
  refine?: (
    input: Strict<InputOfKind<F & CustomFields, L, O, N, M>>,
  ) => Strict<InputOfKind<F & CustomFields, L, O, N, M>>;
  /** Texts for the documents. */
  says?: {
    record?: string;
    input?: string;
    document?: string;
    documentExample?: object;
    patch?: string;
    references?: string;
    example?: object;
    patchExample?: object;
  };
}

/** A kind of record, for code that treats all kinds alike. */
export interface Kind {
  /** `return`: in messages, references and operation names. */
  name: string;
  /** `Return`: in the documents of both doors. */
  type: string;
  plural: string;
  owner: Ownership | null;
  naming: Naming;
  access: Access;
  /** All fields, in the order in which they are returned. */
  fields: Fields;
  table: PgTable;
  lines: LinesOf;
  lineTables: Readonly<Record<string, PgTable>>;
  input: z.ZodObject;
  document: z.ZodObject;
  patch: z.ZodObject;
  output: z.ZodObject;
  /** What is returned besides the fields and lines. */
  select: (() => Readonly<Record<string, SQL>>) | null;
  finish: ((row: Record<string, unknown>) => void) | null;
  finished: Readonly<Record<string, (row: SQL) => SQL>> | null;
  madeOf: Readonly<Record<string, readonly string[]>>;
  /** How it is written; set by `writtenBy` and `follow` (write.ts). */
  writing: Writing;
}

/** A kind with the types of its members. */
export interface KindOf<
  F extends Fields,
  L extends LinesOf,
  O extends Ownership | null,
  N extends Naming,
  M extends More,
> extends Kind {
  table: TableOf<AllFields<F, O, N>>;
  lineTables: LineTables<L>;
  input: Strict<InputOfKind<F, L, O, N, M>>;
  document: Strict<DocumentShape<F, L, O, N, M>>;
  patch: Strict<Partials<PatchShape<F, L, O, M>>>;
  output: Strict<AnswerShape<F, L, O, N, M>>;
  /** Only for the type checker. */
  readonly row?: Row<AllFields<F, O, N>>;
}

/** A stored row of a kind. */
export type RowOf<K> = K extends { readonly row?: infer R } ? R & object : never;

const kinds = new Map<string, Kind>();

/** All kinds that were defined. */
export function recordKinds(): readonly Kind[] {
  return [...kinds.values()];
}

export function record<
  const F extends Fields,
  const O extends Ownership | null,
  const N extends Naming,
  const L extends LinesOf = Record<never, never>,
  const M extends More = Record<never, never>,
>(name: string, definition: RecordDefinition<F, L, O, N, M>): KindOf<F & CustomFields, L, O, N, M> {
  const { plural, label, owner, naming, access, partOf, self = false, more, extras, refine, says = {} } = definition;
  const type = name.charAt(0).toUpperCase() + name.slice(1);
  const lines: LinesOf = definition.lines ?? {};
  const stamp = (member: 'createdAt' | 'updatedAt') => {
    const field = instant().required().readOnly();
    const listed = (definition.listedBy ?? { updatedAt: 'order and filter' })[member];
    if (listed === undefined) return field;
    return listed === 'order' ? field.sort() : field.sort().range();
  };
  const first: Fields = {
    ...(owner && { customerId: ownerKey(owner, partOf !== undefined) }),
    id: self ? key().answers(customerKey(id)) : key(),
    version: version(),
    ...names(naming),
  };
  const last: Fields = {
    createdAt: stamp('createdAt'),
    ...(!definition.unchanging && { updatedAt: stamp('updatedAt') }),
  };
  // What is kept with somebody's record may tell of them; the organisation's own records are nobody's data.
  const own: Fields = { ...definition.fields, ...customFields({ personal: owner !== null || self }) };
  const fields: Fields = { ...first, ...own, ...last };
  const tableName = snakeCase(plural);
  const table = storedTable<Fields>(tableName, {
    name: self ? name : plural,
    label,
    access: owner || self ? 'owner' : 'configuration',
    nature: self ? 'profile' : 'fact',
    owner: self ? 'id' : owner ? 'customerId' : null,
    key: owner ? ['customerId', 'id'] : ['id'],
    ...(partOf && { partOf }),
    ...(self && { merge: 'rewrite' }),
    guard: owner && !partOf ? name : null,
    feed: { kind: snakeCase(name), ...(more?.madeOf && { madeOf: more.madeOf }) },
    ...(definition.timeline && { timeline: { kind: name, scope: `${access.scope}:read`, ...definition.timeline } }),
    fields,
    extras: (t) => [
      ...(owner ? [index(`${tableName}_id`).on(t['id'] as PgColumn)] : []), // every record has one
      ...(owner || self ? filterIndexes(tableName, fields, t, { self, how: definition.filterIndex ?? 'each' }) : []),
      ...(extras?.(t as never) ?? []), // its own columns
    ],
  });
  const lineTables = Object.fromEntries(
    Object.entries(lines).map(([member, line]) => [
      member,
      linesTable(name, table, line, { of: snakeCase(name), member }),
    ]),
  );
  const patched = {
    ...owner?.input,
    ...inputShape(own),
    ...lineShapes(lines, 'input'),
    ...more?.input,
  };
  const shape = {
    ...patched,
    ...(naming !== 'none' && {
      references: z
        .array(referenceInput)
        .max(definition.mostReferences ?? 20)
        .optional()
        .meta({ description: says.references ?? `Further references of the ${name} in other systems.` }),
      sourceVersion: sourceVersionInput.optional(),
    }),
    ...more?.input,
    ...more?.document,
  };
  // Without a reference of its own, a record has one input for every way of writing.
  const hasOwnName = naming === 'own' || naming === 'may';
  const example = says.example === undefined ? {} : { example: says.example };
  const document = z.strictObject(shape).meta({
    id: hasOwnName ? `${type}Document` : `${type}Input`,
    ...(!hasOwnName && example),
    ...text(says.document ?? (hasOwnName ? documentText(name) : undefined)),
    ...(says.documentExample && { example: says.documentExample }),
  });
  const input = !hasOwnName
    ? document
    : refined(z.strictObject({ ...shape, ...ownName(naming) }), refine).meta({
        id: `${type}Input`,
        ...text(says.input),
        ...example,
      });
  const patch = z
    .strictObject(patched)
    .partial()
    .meta({
      id: `${type}Patch`,
      ...text(says.patch ?? 'Omitted members keep their values; null clears.'),
      ...(says.patchExample && { example: says.patchExample }),
    });
  const output = z
    .strictObject({
      ...outputShape(first),
      ...(naming !== 'none' && { references: z.array(reference) }),
      ...outputShape(own),
      ...lineShapes(lines, 'output'),
      ...more?.output,
      ...outputShape(last),
    })
    .meta({ id: type, ...text(says.record) });
  const kind = {
    name,
    type,
    plural,
    owner,
    naming,
    access,
    fields,
    table,
    lines,
    lineTables,
    input,
    document,
    patch,
    output,
    select: more?.select ?? null,
    finish: more?.finish ?? null,
    finished: more?.finished ?? null,
    madeOf: more?.madeOf ?? {},
    writing: { after: [] },
  } as unknown as KindOf<F & CustomFields, L, O, N, M>; // the same rules as the types above
  if (kinds.has(name)) throw new Error(`The record kind ${name} is defined twice`);
  kinds.set(name, kind);
  return kind;
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function ownerKey({ column, optional }: Ownership, isPart: boolean): Fields[string] {
  const field = isPart ? key() : key().references(column);
  return optional ? field.answers(id.nullable()).says('null: nobody is known.') : field;
}

function names(naming: Naming): Fields {
  const name = () => code(255).plain().readOnly();
  if (naming === 'own') return { source: name().required(), externalId: name().required() };
  return naming === 'may' ? { source: name(), externalId: name() } : {};
}

function ownName(naming: Naming): z.ZodRawShape {
  const { source, externalId } = referenceInput.shape;
  if (naming === 'own') return { source, externalId };
  return naming === 'may' ? { source: source.optional(), externalId: externalId.optional() } : {};
}

function lineShapes(lines: LinesOf, door: 'input' | 'output'): z.ZodRawShape {
  return Object.fromEntries(Object.entries(lines).map(([member, line]) => [member, lineSchema(line, door)]));
}

// The caller's `refine` is typed for its own shape.
function refined(input: z.ZodObject, refine: unknown): z.ZodObject {
  return refine ? (refine as (schema: z.ZodObject) => z.ZodObject)(input) : input;
}

function documentText(name: string): string {
  const noun = `${/^[aeiou]/.test(name) ? 'An' : 'A'} ${name}`;
  return `${noun} for PUT, which has the reference in its address. Omitted members are cleared.`;
}

function text(description: string | undefined): { description?: string } {
  return description === undefined ? {} : { description };
}
