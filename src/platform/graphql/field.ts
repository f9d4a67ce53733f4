import type { FieldNode, GraphQLResolveInfo } from 'graphql';
import { Problem } from '../errors.ts';
import { type Answer, type Context, call, type Operation } from '../operation.ts';
import { argumentName } from './errors.ts';
import { type Batches, loadEach, loadSet } from './loader.ts';
import { type Selection, selectedPaths } from './selection.ts';

/** What the resolvers of one request share. */
export interface FieldContext {
  call: Context;
  /** The Idempotency-Key header, for the one mutation of the request. */
  headerKey: string | null;
  /** Set when an answer under the header's key was a stored one. */
  replayed: boolean;
  batches: Batches;
  /** Fields of the document whose plan failed, and why; see plan.ts. */
  failed: Map<FieldNode, unknown>;
}

export type Arguments = Record<string, unknown>;
export type Resolver = (parent: unknown, args: Arguments, context: FieldContext, info: GraphQLResolveInfo) => unknown;

/** A feature's fields: type → field → resolver. Fields that only read a member of their parent need none. */
export type Resolvers = Record<string, Record<string, Resolver>>;

/** What the printed schema (records/sdl.ts) says of a field where its rules would say something else. */
export interface Printed {
  /** What the field costs. */
  cost?: number;
  /** Instead of the operation's summary and description. */
  description?: string;
  /** A document that uses the field. */
  example?: string;
  /** Parameters of the operation that are no arguments. */
  hidden?: readonly string[];
}

export interface PrintedList extends Printed {
  /** What the total number costs. */
  totalCost?: number;
  /** Names of the enum of its orders, and of the connection without `Connection`. */
  sort?: string;
  connection?: string;
}

export interface PrintedMutation extends Printed {
  /** Name of the type of the payload. */
  payload?: string;
}

/** How a resolver was made: what guards it, and what the schema says of its field. */
export interface Line {
  kind: 'field' | 'record' | 'connection' | 'mutation' | 'related' | 'children' | 'childConnection' | 'group';
  operations: readonly Operation[];
  printed: PrintedList & PrintedMutation & PrintedGroup;
  names: ArgumentNames;
  /** The member of a payload that holds the record; the member of a record that holds the id of another. */
  member?: string | undefined;
  /** Where the operation of a child connection takes the ids of the parents. */
  ids?: string | undefined;
}

const lines = new WeakMap<Resolver, Line>();

function guarded(
  kind: Line['kind'],
  operations: readonly Operation[],
  resolver: Resolver,
  { names = {}, member, ids, ...printed }: Partial<Pick<Line, 'names' | 'member' | 'ids'>> & Line['printed'] = {},
): Resolver {
  lines.set(resolver, { kind, operations, printed, names, member, ids });
  return resolver;
}

/** How a resolver was made; undefined for a function that was not made here. */
export function lineOf(resolver: Resolver): Line | undefined {
  return lines.get(resolver);
}

/** The operations a resolver goes through; none for a function that was not made here. */
export function operationsOf(resolver: Resolver): readonly Operation[] {
  return lines.get(resolver)?.operations ?? [];
}

export interface PrintedGroup {
  description?: string;
  example?: string;
  /** What each of its fields costs, and the total numbers of its lists. */
  costOfFields?: number;
}

/** A field that only groups others (`metrics { … }`); each of those has its own operation. */
export function group(printed: PrintedGroup = {}): Resolver {
  return guarded('group', [], () => ({}), printed);
}

export function isGroup(resolver: Resolver): boolean {
  return lines.get(resolver)?.kind === 'group';
}

/** A field that answers the operation's output as it is: `metrics { retentionRate(input: …) }`. */
export function field(operation: Operation, printed: Printed = {}): Resolver {
  return guarded('field', [operation], answering(operation), printed);
}

function answering(operation: Operation): Resolver {
  return async (_parent, args, context) => {
    try {
      const { output } = await call(operation, context.call, rawInput(operation, args));
      return output;
    } catch (error) {
      throw 'input' in args && error instanceof Problem ? intoInput(error, args) : error;
    }
  };
}

/** Parameters that are members of `input` here have a pointer into it, as those of a body have. */
function intoInput(problem: Problem, args: Arguments): Problem {
  return problem.withErrors(({ parameter, ...error }) =>
    parameter === undefined || parameter in args
      ? { ...error, ...(parameter !== undefined && { parameter }) }
      : { pointer: `/${parameter}`, ...error },
  );
}

/** What a plan was refused with, the field is: it is not tried a second time. */
function refuseAsPlanned({ failed }: FieldContext, { fieldNodes: [node] }: GraphQLResolveInfo): void {
  if (node && failed.has(node)) throw failed.get(node);
}

/** A record by id or reference; null where there is none. */
export function record(operation: Operation, printed: Printed = {}): Resolver {
  const read = answering(operation);
  const resolver: Resolver = async (parent, args, context, info) => {
    try {
      refuseAsPlanned(context, info);
      return await read(parent, args, context, info);
    } catch (error) {
      if (error instanceof Problem && error.code === 'not_found') return null;
      throw error;
    }
  };
  return guarded('record', [operation], resolver, printed);
}

/**
 * A Relay connection over a list operation: `first` and `after` are its `limit` and `after`. What is not selected is
 * not worked out (total, cursors).
 */
export function connection(operation: Operation, options: ConnectionOptions = {}): Resolver {
  const { names = {} } = options;
  const resolver: Resolver = async (_parent, args, context, info) => {
    refuseAsPlanned(context, info);
    const raw = { ...rawInput(operation, args, names), ...pageOptions(info) };
    const { output } = await named(names, call(operation, context.call, raw));
    return toConnection(output as PageOutput, args, info); // a list operation answers a page
  };
  return guarded('connection', [operation], resolver, options);
}

interface ConnectionOptions extends PrintedList {
  names?: ArgumentNames;
}

/** A first page's input; null for a page after a cursor. */
export function firstPage(ofAll: Operation, args: Arguments | null, selection: Selection): Arguments | null {
  if (!args || typeof args.after === 'string') return null;
  return { ...rawInput(ofAll, args), ...pageOptions(selection), members: selectedMembers(selection) };
}

/**
 * A Relay connection below a record, e.g. a customer's orders: the first pages of all parents are one call of `ofAll`, which takes `{ [ids]: […], limit, sort, members, … }`, fetches
 * what is selected, and answers a page per id; a page after a cursor belongs to one parent and is one call of `ofOne`.
 */
export function childConnection(ofAll: Operation, ofOne: Operation, ids: string, printed: PrintedList = {}): Resolver {
  const resolver: Resolver = async (parent, args, context, info) => {
    const record = parent as { id: string }; // the parent is a record
    const first = firstPage(ofAll, args, info);
    const page = first
      ? await loadSet(context, info, ofAll, record.id, (keys) => ({ ...first, [ids]: keys }))
      : await loadEach(context, info, ofOne, record.id, (id) => ({
          ...rawInput(ofOne, args),
          ...pageOptions(info),
          id,
        }));
    return toConnection(page as PageOutput, args, info); // both answer pages
  };
  return guarded('childConnection', [ofAll, ofOne], resolver, { ...printed, ids });
}

/** Members of the records of a connection, and members of these. */
function selectedMembers(selection: Selection): string[] {
  return [...selectedPaths(selection)].flatMap((path) => /^(?:nodes|edges\.node)\.(.+)$/.exec(path)?.[1] ?? []);
}

/** The record whose id stands in a member of the parent (`companyId`): all of them in one call of `{ ids }`. */
export function related(operation: Operation, member: string, printed: Printed = {}): Resolver {
  const resolver: Resolver = (parent, _args, context, info) => {
    const key = (parent as Record<string, unknown>)[member]; // the parent is a record
    return key === null || key === undefined ? null : loadSet(context, info, operation, key, (ids) => ({ ids }));
  };
  return guarded('related', [operation], resolver, { ...printed, member });
}

/** What hangs on a set of parents: one call for all of them, which answers one entry per parent. */
export function children<Parent>(
  operation: Operation,
  key: (parent: Parent) => unknown,
  input: (keys: unknown[]) => Arguments,
  printed: Printed = {},
): Resolver {
  const resolver: Resolver = (parent, _args, context, info) =>
    loadSet(context, info, operation, key(parent as Parent), input); // the type of the schema that the field is on
  return guarded('children', [operation], resolver, printed);
}

/**
 * A write, answered as a payload: the record under `member`, and what became of the message. `input` is the body; an
 * operation with another body (a batch) takes its members as arguments.
 */
export function mutation(operation: Operation, member?: string, options: MutationOptions = {}): Resolver {
  const { names = {} } = options;
  const resolver: Resolver = async (_parent, args, context) => {
    const raw = rawInput(operation, args, names);
    const takesKey = 'idempotencyKey' in operation.input.shape;
    const fromHeader = takesKey && context.headerKey !== null && raw.idempotencyKey === undefined;
    if (fromHeader) raw.idempotencyKey = context.headerKey;
    const answer = await named(names, call(operation, context.call, raw));
    if (fromHeader && answer.replayed) context.replayed = true;
    return payload(answer, member);
  };
  return guarded('mutation', [operation], resolver, { ...options, member });
}

interface MutationOptions extends PrintedMutation {
  names?: ArgumentNames;
}

function payload({ output, status, replayed }: Answer, member: string | undefined): Record<string, unknown> {
  const written = output as Record<string, unknown>; // outputs of writes are objects
  return {
    ...(member === undefined ? written : { [member]: written }),
    created: written.created ?? status === 201,
    applied: written.applied ?? true,
    warnings: written.warnings ?? [],
    replayed,
  };
}

interface PageOutput {
  data: unknown[];
  page: { next: string | null; hasMore: boolean; total?: number; cursors?: string[] };
}

function toConnection({ data, page }: PageOutput, args: Arguments, info: Selection) {
  const { cursors } = page;
  return {
    nodes: data,
    edges: selectedPaths(info).has('edges') ? data.map((node, index) => ({ node, cursor: cursors?.[index] })) : null,
    pageInfo: {
      hasNextPage: page.hasMore,
      hasPreviousPage: typeof args.after === 'string',
      startCursor: cursors?.[0] ?? null,
      endCursor: cursors?.at(-1) ?? page.next,
    },
    totalCount: page.total,
  };
}

/** What is not selected is not worked out: a total is a statement, a cursor a signature. */
export function pageOptions(selection: Selection): Arguments {
  const paths = selectedPaths(selection);
  return {
    ...(paths.has('totalCount') && { count: true }),
    ...((paths.has('edges.cursor') || paths.has('pageInfo.startCursor') || paths.has('pageInfo.endCursor')) && {
      cursors: true,
    }),
  };
}

/** Arguments that have a clearer name than the parameter they stand for: `{ orderId: 'id' }`. */
type ArgumentNames = Readonly<Record<string, string>>;

/** Lets refusals speak of the arguments as they are named. */
export async function named<T>(names: ArgumentNames, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const argument = (parameter: string) =>
      Object.keys(names).find((name) => names[name] === argumentName(parameter)) ?? parameter;
    throw error.withErrors((one) =>
      one.parameter === undefined ? one : { ...one, parameter: argument(one.parameter) },
    );
  }
}

/**
 * The two parameters that are one argument here: `source` and `externalId` are `reference`, `orderSource` and `orderExternalId` are
 * `orderReference`. null: the name is of no such pair.
 */
export function referencePair(
  name: string,
  shape: Readonly<Record<string, unknown>>,
): { argument: string; source: string; externalId: string } | null {
  const [, of] = /^(|\w*[a-z])(?:source|externalId|reference)$/i.exec(name) ?? [];
  if (of === undefined) return null;
  const called = (part: string) => (of === '' ? part : `${of}${part.charAt(0).toUpperCase()}${part.slice(1)}`);
  const pair = { argument: called('reference'), source: called('source'), externalId: called('externalId') };
  return pair.source in shape && pair.externalId in shape && Object.values(pair).includes(name) ? pair : null;
}

/** Arguments as the operation's input: `input` is the body, `first` the limit, a reference its two members; null is not given. */
export function rawInput(operation: Operation, args: Arguments, names: ArgumentNames = {}): Arguments {
  const shape = operation.input.shape;
  const raw: Arguments = {};
  const body: Arguments = {};
  for (const [argument, value] of Object.entries(args)) {
    const name = names[argument] ?? argument;
    if (value === undefined || value === null) continue;
    const pair = referencePair(name, shape);
    if (name === 'input' && 'body' in shape) raw.body = value;
    else if (name === 'input') Object.assign(raw, value);
    else if (name === 'first') raw.limit = value;
    else if (pair?.argument === name) {
      const { source, externalId } = value as { source: unknown; externalId: unknown }; // ReferenceInput
      Object.assign(raw, { [pair.source]: source, [pair.externalId]: externalId });
    } else if (name in shape) raw[name] = value;
    else body[name] = value;
  }
  if (Object.keys(body).length > 0) raw.body = body;
  return raw;
}
