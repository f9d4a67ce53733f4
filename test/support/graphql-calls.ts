import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import { contractOperations } from './contract.ts';
import type { Tree } from './hostile.ts';

/** A field with arguments, and the fields that lead to it. */
export interface Call {
  kind: 'query' | 'mutation';
  path: GraphQLField<unknown, unknown>[];
  /** The last of the path. */
  field: GraphQLField<unknown, unknown>;
}

/** Every field of the schema that takes arguments, by the shortest way there, and every field of the roots. */
export function callsOf(schema: GraphQLSchema): Call[] {
  const calls: Call[] = [];
  const seen = new Set<string>();
  const visit = (kind: Call['kind'], type: GraphQLObjectType, above: Call['path']) => {
    for (const field of Object.values(type.getFields())) {
      const name = `${type.name}.${field.name}`;
      if (seen.has(name)) continue;
      const path = [...above, field];
      const result = getNamedType(field.type);
      // The arguments that select a page of children are found below nodes, not below edges.
      if (['edges', 'pageInfo', 'nodes'].includes(field.name) && above.length > 2) continue;
      seen.add(name);
      if (field.args.length > 0 || above.length === 0) calls.push({ kind, path, field });
      if (kind === 'query' && isObjectType(result) && path.length < 4) visit(kind, result, path);
    }
  };
  const [query, mutation] = [schema.getQueryType(), schema.getMutationType()];
  if (query) visit('query', query, []);
  if (mutation) visit('mutation', mutation, []);
  return calls;
}

/** Names of members and parameters of the REST contract → an example, which serves this door too. */
const examples = new Map<string, unknown>();
function learn(value: unknown): void {
  if (Array.isArray(value)) value.forEach(learn);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
  for (const [name, member] of Object.entries(value)) {
    if (typeof member !== 'object') examples.set(name, member);
    else learn(member);
  }
}
for (const { documents, parameters } of contractOperations()) {
  for (const { name, example } of parameters) if (typeof example !== 'object') examples.set(name, example);
  learn((documents ?? []).slice(0, 1));
}

export interface Values {
  /** Type → ids of records there are. */
  ids: ReadonlyMap<string, string[]>;
  choice: number;
  mode: 'variables' | 'literals';
  members: 'all' | 'required';
}

/** The arguments of a field as a document: of variables, or of literals in the query. */
export function argumentsOf(call: Call, values: Values): Tree {
  const record = recordType(call.field);
  const members = call.field.args
    .filter((argument) => values.members === 'all' || isNonNullType(argument.type) || helpful.has(argument.name))
    .map((argument): [string, Tree] => [
      values.mode === 'variables' ? JSON.stringify(argument.name) : argument.name,
      sample(argument, argument.type, values, record),
    ]);
  return { members };
}

// Not required by the schema, but nothing is found or written without them.
const helpful = new Set(['id', 'expectedVersion', 'idempotencyKey', 'orderId']);

/** What record a field is about: its own type, or that of its payload. */
function recordType(field: GraphQLField<unknown, unknown>): string {
  const type = getNamedType(field.type);
  if (!isObjectType(type)) return '';
  const inner = Object.values(type.getFields()).map((member) => getNamedType(member.type));
  const payload = /Payload$/.test(type.name) ? inner.find(isObjectType) : undefined;
  const named = /(?:create|update|upsert|delete)(\w+)/.exec(field.name)?.[1];
  return named ?? payload?.name ?? type.name;
}

function sample(
  place: GraphQLArgument | { name: string },
  given: GraphQLInputType,
  values: Values,
  record: string,
): Tree {
  const { mode, members, ids, choice } = values;
  const type = isNonNullType(given) ? given.ofType : given;
  if (isListType(type)) return { list: [sample(place, type.ofType, values, record)] };
  if (isEnumType(type)) {
    const options = type.getValues();
    const name = options[choice % options.length]?.name ?? '';
    return { text: mode === 'variables' ? JSON.stringify(name) : name };
  }
  if (isInputObjectType(type)) {
    const fields = Object.values(type.getFields()).filter(
      (field) => members === 'all' || isNonNullType(field.type) || choice % 3 === 0,
    );
    return {
      members: fields.map((field) => [
        mode === 'variables' ? JSON.stringify(field.name) : field.name,
        sample(field, field.type, values, record),
      ]),
    };
  }
  if (type.name === 'ID') {
    const owner = /^(\w+)Id$/.exec(place.name)?.[1];
    const options = ids.get(owner ? owner[0]?.toUpperCase() + owner.slice(1) : record) ??
      [...ids.values()][0] ?? ['none'];
    return { text: JSON.stringify(options[choice % options.length]) };
  }
  // As a literal, an object has names without quotes.
  if (type.name === 'JSON' && mode !== 'variables') return { members: [['tier', { text: '"gold"' }]] };
  return { text: JSON.stringify(scalar(place.name, type.name, choice)) };
}

function scalar(name: string, type: string, choice: number): unknown {
  const known = examples.get(name);
  if (name === 'idempotencyKey') return `key-${choice}`;
  if (name === 'externalId') return `${choice % 20}-536365`;
  switch (type) {
    case 'Int':
    case 'Float':
    case 'SafeInt':
      return typeof known === 'number' ? known : 1;
    case 'Boolean':
      return name !== 'dryRun' || choice % 4 === 0;
    case 'ExpectedVersion':
      return '*';
    case 'SourceVersion':
      return choice % 50;
    case 'DateTime':
      return '2026-03-01T09:30:00Z';
    case 'Date':
      return '2026-03-01';
    case 'Decimal':
      return '1.1534';
    case 'JSON':
      return { tier: 'gold' };
    default:
      return typeof known === 'string' ? known : 'text';
  }
}

/** As textOf, with member names as GraphQL writes them. */
export function literalOf(tree: Tree): string {
  if ('text' in tree) return tree.text;
  if ('list' in tree) return `[${tree.list.map(literalOf).join(', ')}]`;
  return `{${tree.members.map(([name, value]) => `${name.replace(/^"(\w+)"$/, '$1')}: ${literalOf(value)}`).join(', ')}}`;
}

/** The document of a call: `head` is put before it, `tail` are the arguments of its last field with their buckets. */
export function documentOf(call: Call, values: Values, variables: string, tail: string): string {
  const open = call.path.map((field, index) => {
    const last = index === call.path.length - 1;
    return `${field.name}${last ? tail : requiredArguments(field, values)}`;
  });
  const body = `${open.join(' { ')} ${selection(call.field, 2)}${' }'.repeat(call.path.length - 1)}`;
  return `${call.kind}${variables} { ${body} }`;
}

/** What a field on the way needs to lead anywhere: the id of a record, or a first page. */
function requiredArguments(field: GraphQLField<unknown, unknown>, values: Values): string {
  const record = recordType(field);
  const given = field.args.flatMap((argument) => {
    if (argument.name === 'first') return ['first: 3'];
    if (argument.name !== 'id' && !isNonNullType(argument.type)) return [];
    const tree = sample(argument, argument.type, { ...values, mode: 'literals', members: 'required' }, record);
    return [`${argument.name}: ${literalOf(tree)}`];
  });
  return given.length > 0 ? `(${given.join(', ')})` : '';
}

/** The plain members of an answer, and those of the records in it. */
function selection(field: GraphQLField<unknown, unknown>, depth: number): string {
  const type = getNamedType(field.type);
  if (!isObjectType(type)) return '';
  const members = Object.values(type.getFields()).flatMap((member) => {
    if (member.args.length > 0) return [];
    if (!isObjectType(getNamedType(member.type))) return [member.name];
    const inner = depth > 0 ? selection(member, depth - 1) : '';
    return inner === '' ? [] : [`${member.name} ${inner}`];
  });
  return `{ ${['__typename', ...members].join(' ')} }`;
}
