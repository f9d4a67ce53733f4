import { Kind, print } from 'graphql';
import { z } from 'zod';
import { warning } from '../platform/batch.ts';
import { batchItem } from '../platform/batch-items.ts';
import { type Line, lineOf, type Resolvers, referencePair } from '../platform/graphql/field.ts';
import { scalarsByName } from '../platform/graphql/scalars.ts';
import { wordOf } from '../platform/graphql/schema.ts';
import { type Operation, writeParameters } from '../platform/operation.ts';
import { isPersonal } from '../platform/personal.ts';
import { typeNames } from '../platform/type-names.ts';
import { amount, calendarDate, decimalText, id, instant, positiveAmount } from '../platform/values.ts';

/**
 * The GraphQL schema, printed from the resolvers and the operations behind them: `npm run generate` writes it
 * to schema/. Everything follows from the zod schemas of the operations by these rules; what differs is an option of the
 * resolver's line (`Printed` in platform/graphql/field.ts).
 *
 * - A type, input or enum has the `id` of its schema. `WrittenX` and `ListedX` are X, as a write or a list answers it.
 *   An input whose name is that of a type gets `Input` behind it. Orders are the enum `XSort` of a list of X.
 * - A list is `XConnection`; a mutation that answers a record `member` is `MemberPayload`.
 * - `source` and `externalId` are the argument `reference` (`orderSource` and `orderExternalId`: `orderReference`), `limit` is `first`, the body is `input`. A body that is only a
 *   list is an argument of its own. Metrics take their parameters as `input`.
 * - What goes through an operation is nullable, so that its refusal does not take its parent with it.
 * - A field that answers objects costs 1, a mutation 10, a batch 500, a total number 25; what comes with its record 0.
 */
export function printSdl(features: readonly Resolvers[]): string {
  const types = new Map<string, Type>();
  const lines = features.flatMap((resolvers) =>
    Object.entries(resolvers).flatMap(([type, fields]) =>
      Object.entries(fields).map(([name, resolver]) => ({
        type,
        name,
        line: known(lineOf(resolver), `${type}.${name}`),
      })),
    ),
  );
  const groupCosts = new Map(
    lines.flatMap(({ name, line }): [string, number | undefined][] =>
      line.kind === 'group' ? [[pascalCase(name), line.printed.costOfFields]] : [],
    ),
  );
  // Types before inputs: an input gives way to a type of its name.
  const answers = lines.map(({ type, name, line }) => ({ type, name, line, answer: answerOf(type, name, line) }));
  for (const { type, name, line, answer } of answers) {
    const cost = line.printed.cost ?? groupCosts.get(type) ?? costOf(line);
    const args = argumentsOf(line, answer.node, groupCosts.has(type) && line.kind === 'field');
    const example = line.printed.example && `Example: \`${line.printed.example}\``;
    object(type, 'type').resolved.set(name, {
      type: answer.type,
      description: [describe(line), example].filter(Boolean).join('\n\n'),
      args,
      ...(cost !== 1 && { cost }),
    });
  }
  for (const [name, type] of types) {
    assertOneMeaning(name, type);
    const inputs = [`${name}Input`, `${name}Document`].map((input) => types.get(input));
    if (type.kind === 'type') borrowWords(type, inputs);
  }
  object('Mutation', 'type').description = mutationWords;
  return printed(types);

  function answerOf(type: string, name: string, line: Line): { type: string; node: string } {
    const { kind, operations, printed, member } = line;
    const [operation] = operations;
    if (kind === 'group') return { type: `${pascalCase(name)}!`, node: '' };
    if (!operation) throw new Error(`${name} goes through no operation`);
    const { output } = operation;
    if (kind === 'connection' || kind === 'childConnection') {
      const page = operations.at(-1)?.output ?? output; // a child connection's second operation answers pages, too
      const node = bare(reference(elementOf(shapeOf(page).data), 'output'));
      const totalCost = printed.totalCost ?? groupCosts.get(type) ?? 25;
      return { type: connectionType(node, operations.at(-1) ?? operation, printed.connection, totalCost), node };
    }
    if (kind === 'related' || kind === 'children') {
      return { type: nullable(reference(elementOf(output), 'output')), node: '' };
    }
    if (kind === 'mutation') return { type: payloadType(operation, member, printed.payload), node: '' };
    return { type: nullable(reference(output, 'output')), node: '' };
  }

  function connectionType(node: string, operation: Operation, stem = node, cost = 25): string {
    const name = `${stem}Connection`;
    const counts = 'count' in operation.input.shape;
    const fields = object(name, 'type').fields;
    put(name, fields, 'nodes', { type: `[${node}!]!` });
    put(name, fields, 'edges', { type: `[${stem}Edge!]!`, cost: 0 });
    put(name, fields, 'pageInfo', { type: 'PageInfo!', cost: 0 });
    if (counts) {
      put(name, fields, 'totalCount', {
        type: 'SafeInt!',
        cost,
        description: 'All that match; counted only when selected.',
      });
    }
    const edge = object(`${stem}Edge`, 'type').fields;
    put(`${stem}Edge`, edge, 'cursor', { type: 'String!' });
    put(`${stem}Edge`, edge, 'node', { type: `${node}!` });
    return name;
  }

  function payloadType(operation: Operation, member: string | undefined, given: string | undefined): string {
    const { output } = operation;
    const record = reference(output, 'output');
    const name = member === undefined ? bare(record) : (given ?? `${pascalCase(member)}Payload`);
    const payload = object(name, 'type').fields;
    if (member !== undefined) {
      put(name, payload, member, { type: record });
      for (const extra of payloadMembers) {
        const schema = idOf(output)?.startsWith('Written') ? shapeOf(output)[extra] : undefined;
        // Of which there is always a list, as below.
        if (schema && extra !== 'warnings') put(name, payload, extra, memberField(schema, 'output', name, extra));
      }
      if (payload.has('applied')) {
        put(name, payload, 'warnings', memberField(z.array(warning), 'output', name, 'warnings'));
      }
    }
    if ('idempotencyKey' in operation.input.shape) object(name, 'type').resolved.set('replayed', replayed);
    return name;
  }

  /** The arguments of a field, from the parameters of its operation. */
  function argumentsOf({ kind, operations, names, printed }: Line, node: string, asInput: boolean): Map<string, Field> {
    const args = new Map<string, Field>();
    const operation = operations.at(-1);
    if (!operation || kind === 'related' || kind === 'children') return args;
    const isList = kind === 'connection' || kind === 'childConnection';
    const { shape } = operation.input;
    if (asInput) {
      const stem = operation.name.replace(/^get/, '');
      args.set('input', { type: nullable(reference(operation.input, 'input', `${stem}Input`)) });
      return args;
    }
    const called = (parameter: string) => Object.keys(names).find((name) => names[name] === parameter) ?? parameter;
    const hidden = new Set([...(isList ? ['count', 'cursors'] : []), ...(printed.hidden ?? [])]);
    const [ofAll] = operations;
    const ofChildren = (parameter: string) => parameter === 'after' || (ofAll && parameter in ofAll.input.shape);
    const last = (parameter: string) => parameter in writeParameters;
    const parameters = Object.entries(shape).sort(([one], [other]) => Number(last(one)) - Number(last(other)));
    for (const [parameter, schema] of parameters) {
      if (hidden.has(parameter) || (kind === 'childConnection' && !ofChildren(parameter))) continue;
      const pair = referencePair(parameter, shape);
      if (pair && parameter === pair.externalId) continue;
      if (pair) {
        const required = shape[pair.source] instanceof z.ZodOptional ? '' : '!';
        args.set(called(pair.argument), { type: `ReferenceInput${required}` });
        const { fields } = object('ReferenceInput', 'input');
        for (const member of ['source', 'externalId'] as const) {
          const field = memberField(known(shape[pair[member]], member), 'input', 'ReferenceInput', member);
          put('ReferenceInput', fields, member, { ...field, type: `${nullable(field.type)}!` });
        }
      } else if (parameter === 'body') {
        bodyArguments(schema, operation, args);
      } else if (parameter === 'limit' && isList) {
        args.set('first', memberField(schema, 'input', '', 'first'));
      } else if (parameter === 'after' && isList) {
        args.set('after', {
          type: 'String',
          description: 'The `endCursor` of the previous page, with the same filters and order.',
        });
      } else if (parameter === 'sort') {
        const sort = printed.sort ?? `${node}Sort`;
        const { type, description } = memberField(schema, 'input', '', 'sort', sort);
        args.set('sort', { type, description: description?.replace(/^Order; `-` descends\. /, '') });
      } else {
        const made = memberField(schema, 'input', pascalCase(operation.name), parameter);
        const words = parameterWords(parameter, made, operation) ?? made.description;
        // The operation says what a write requires, as on REST.
        const type = parameter === 'expectedVersion' ? nullable(made.type) : made.type;
        args.set(called(parameter), { type, description: words });
      }
    }
    return args;
  }

  function bodyArguments(body: z.core.$ZodType, operation: Operation, args: Map<string, Field>): void {
    const item = batchItem(body);
    const members = body instanceof z.ZodObject ? Object.entries(shapeOf(body)) : [];
    const [only] = members;
    if (item && only) args.set(only[0], { type: `[${reference(item, 'input')}]!` });
    else if (only && members.length === 1 && only[1] instanceof z.ZodArray) {
      args.set(only[0], memberField(only[1], 'input', operation.name, only[0]));
    } else args.set('input', { type: reference(body, 'input', `${pascalCase(operation.name)}Input`) });
  }

  function object(name: string, kind: Type['kind']): Type {
    const there = types.get(name);
    if (there && there.kind !== kind) throw new Error(`${name} is the name of a type and of an input or enum`);
    if (there) return there;
    const made: Type = { kind, fields: new Map(), resolved: new Map(), variants: new Set() };
    types.set(name, made);
    return made;
  }

  /** The type of a schema as SDL, `[Refund!]!`; makes the types it names. */
  function reference(schema: z.core.$ZodType, direction: Direction, fallback?: string): string {
    const name = typeNames.get(schema)?.name;
    if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) {
      return nullable(reference(schema.unwrap(), direction, name ?? nameOf(schema) ?? fallback));
    }
    if (schema instanceof z.ZodArray) return `[${reference(schema.element, direction, fallback)}]!`;
    if (name !== undefined && scalars.has(name)) return `${name}!`; // what else has a name is a type
    if (schema instanceof z.ZodPipe) return reference(schema.in, direction, fallback);
    if (schema instanceof z.ZodObject) return `${objectType(schema, direction, name ?? nameOf(schema) ?? fallback)}!`;
    if (schema instanceof z.ZodEnum) return `${enumType(schema, name ?? nameOf(schema) ?? fallback)}!`;
    return `${scalarOf(schema, fallback)}!`;
  }

  function objectType(schema: z.ZodObject, direction: Direction, stem: string | undefined): string {
    if (stem === undefined) throw new Error(`An object without an id: ${Object.keys(schema.shape)}`);
    const name = direction === 'input' && types.get(stem)?.kind === 'type' ? `${stem}Input` : stem;
    const type = object(name, direction === 'input' ? 'input' : 'type');
    if (type.variants.has(schema)) return name;
    type.variants.add(schema);
    const written = direction === 'output' && idOf(schema)?.startsWith('Written');
    if (idOf(schema) === stem || type.description === undefined) type.description = describeObject(schema, direction);
    for (const [member, inner] of Object.entries(shapeOf(schema))) {
      if (written && payloadMembers.includes(member)) continue;
      put(name, type.fields, member, memberField(inner, direction, name, member));
    }
    return name;
  }

  function enumType(schema: z.ZodEnum, name: string | undefined): string {
    if (name === undefined) throw new Error(`An enum without an id: ${schema.options}`);
    const type = object(name, 'enum');
    type.variants.add(schema);
    type.words ??= new Map(schema.options.map((option) => [String(option), enumWord(schema, option)]));
    if (type.fields.size > 0) return name;
    const { own, values } = splitWords(describeSchema(schema) ?? '', [...type.words.keys()]);
    type.description = spell(own, type);
    for (const [option, word] of type.words) {
      if (wordOf(name, word) !== option) throw new Error(`${name}.${word} would not be read as ${option}`);
      const text = values.get(option);
      type.fields.set(word, { type: '', ...(text && { description: spell(text, type) }) });
    }
    return name;
  }

  function memberField(
    schema: z.core.$ZodType,
    direction: Direction,
    parent: string,
    member: string,
    name = `${parent}${pascalCase(member)}`,
  ): Field {
    const type = reference(schema, direction, name);
    const made = types.get(bare(type));
    const description = wordsOf(schema);
    return {
      type,
      ...(description !== undefined && { description: spell(description, made) }),
      ...(isPersonal(schema) && { isPersonal: true }),
      ...(direction === 'output' && made?.kind === 'type' && { cost: 0 }),
    };
  }
}

type Direction = 'input' | 'output';

interface Field {
  type: string;
  description?: string | undefined;
  args?: Map<string, Field>;
  isPersonal?: boolean;
  /** Of a field that answers objects, where it is not 1. */
  cost?: number;
}

interface Type {
  kind: 'type' | 'input' | 'enum';
  description?: string | undefined;
  /** How the values of an enum are written in GraphQL. */
  words?: Map<string, string>;
  /** Members of the schemas; values of an enum. */
  fields: Map<string, Field>;
  /** Fields that have resolvers, which go before members of their names. */
  resolved: Map<string, Field>;
  /** The schemas that it is made from. */
  variants: Set<z.core.$ZodType>;
}

/** What a write returns besides the record. */
const payloadMembers = ['created', 'applied', 'warnings'];

const replayed: Field = {
  type: 'Boolean!',
  description: 'Whether this is the stored response of an earlier call with the same idempotency key.',
};

const scalars = new Set([...scalarsByName.keys(), 'ID', 'String', 'Int', 'Float', 'Boolean']);

/** Descriptions of values that their scalars have already. */
const scalarWords = new Set([id, instant, calendarDate, decimalText].map((value) => describeSchema(value)));

/** Descriptions that members have with the kind of their value. */
const sharedWords = new Set([amount, positiveAmount].map((value) => describeSchema(value)));

function known<T>(found: T | undefined, what: string): T {
  if (found === undefined) throw new Error(`${what} is not made from an operation`);
  return found;
}

function costOf({ kind, operations }: Line): number {
  if (kind === 'group') return 0;
  if (kind !== 'mutation') return 1;
  const body = operations[0]?.input.shape.body;
  return body && batchItem(body) ? 500 : 10;
}

/** The description of the resolver line, or else of its operation, and the scopes that it needs. */
function describe({ kind, operations, printed }: Line): string {
  const operation = operations.at(-1);
  const isPart = kind === 'related' || kind === 'children';
  const words = printed.description ?? (operation && !isPart ? spell(operationWords(operation), undefined) : undefined);
  if (!operation) return words ?? '';
  const personal = (operation.personalParameters ?? []).map((name) => `\`${name}\``).join(' or ');
  const none = kind === 'record' && printed.description === undefined && 'Null when there is none.';
  const scopes = [
    `Needs the scope \`${operation.scope}\`.`,
    personal !== '' && !isPart && `With ${personal} also \`customers:pii\`.`,
  ];
  const said = [words, none].filter(Boolean).join(' ');
  return [said, scopes.filter(Boolean).join(' ')].filter(Boolean).join('\n\n');
}

function operationWords({ summary, description }: Operation): string {
  return [`${summary}.`, description].filter(Boolean).join(' ');
}

function describeSchema(schema: z.core.$ZodType): string | undefined {
  return z.globalRegistry.get(schema)?.description;
}

function describeObject(schema: z.ZodObject, direction: Direction): string {
  const { description, example } = z.globalRegistry.get(schema) ?? {};
  const shown = direction === 'input' && example !== undefined ? `Example: \`${literal(example, schema)}\`` : undefined;
  return [description, shown].filter(Boolean).join('\n\n');
}

/** The description of a member: of its schema and those inside, down to one that has a name and so its own description. */
function wordsOf(schema: z.core.$ZodType): string | undefined {
  const wraps = schema instanceof z.ZodOptional || schema instanceof z.ZodNullable;
  if (idOf(schema) !== undefined && !wraps) return undefined;
  const own = describeSchema(schema);
  if (own !== undefined) return scalarWords.has(own) ? undefined : own;
  return wraps ? wordsOf(schema.unwrap()) : undefined;
}

function idOf(schema: z.core.$ZodType): string | undefined {
  return z.globalRegistry.get(schema)?.id;
}

/** The id without what says where the record stands: a WrittenOrder is an Order. With more words it is still the same. */
function nameOf(schema: z.core.$ZodType): string | undefined {
  const { parent } = schema._zod;
  return idOf(schema)?.replace(/^(Written|Listed|Partial)(?=[A-Z])/, '') ?? (parent && nameOf(parent));
}

function shapeOf(schema: z.core.$ZodType): Readonly<Record<string, z.core.$ZodType>> {
  if (schema instanceof z.ZodObject) return schema.shape;
  throw new Error(`${schema._zod.def.type} where an object is expected`);
}

function elementOf(schema: z.core.$ZodType | undefined): z.core.$ZodType {
  if (schema instanceof z.ZodArray) return schema.element as z.core.$ZodType; // zod types it as its core
  throw new Error(`${schema?._zod.def.type} where a list is expected`);
}

function scalarOf(schema: z.core.$ZodType, place: string | undefined): string {
  if (schema instanceof z.ZodBoolean) return 'Boolean';
  if (schema instanceof z.ZodLiteral && typeof schema.value === 'boolean') return 'Boolean';
  if (schema instanceof z.ZodRecord || schema instanceof z.ZodUnknown) return 'JSON';
  if (schema instanceof z.ZodNumber) return schema.isInt ? intOf(schema) : 'Float';
  if (schema instanceof z.ZodUUID) return 'ID';
  if (schema instanceof z.ZodISODate) return 'Date';
  if (schema instanceof z.ZodString) {
    if (z.globalRegistry.get(schema)?.format === 'date-time') return 'DateTime';
    return 'String';
  }
  throw new Error(`${place}: there is no scalar for a ${schema._zod.def.type}. Name one (platform/type-names.ts).`);
}

const largestInt = 2_147_483_647;

/** What its bounds allow: an integer without any may be a large one. */
function intOf({ minValue, maxValue }: z.ZodNumber): string {
  return (maxValue ?? Infinity) <= largestInt && (minValue ?? -Infinity) >= -largestInt - 1 ? 'Int' : 'SafeInt';
}

/** The description of a parameter that many operations have; undefined: that of its schema. */
function parameterWords(name: string, { type, description }: Field, operation: Operation): string | undefined {
  const required = operation.kind === 'write' && operation.idempotency === 'required';
  if (name === 'idempotencyKey') return required ? 'Required, except with `dryRun`.' : '';
  if (name === 'dryRun' && description === describeSchema(writeParameters.dryRun)) return '';
  if (name === 'expectedVersion') {
    return type.endsWith('!')
      ? 'Required; `version_mismatch` when the record has changed since.'
      : 'Optional: refuses to change a version that you have not seen.';
  }
  const [, end] = /[a-z](From|To)$/.exec(name) ?? [];
  if (end === undefined || description !== undefined || !/^Date/.test(type)) return undefined;
  const unit = type.startsWith('DateTime') ? 'instant' : 'date';
  return end === 'From' ? `At this ${unit} or later.` : `Before this ${unit}.`;
}

/** @throws Error when two schemas of one name differ in more than what a resolver answers */
function assertOneMeaning(name: string, { fields, resolved, variants }: Type): void {
  if (variants.size < 2) return;
  for (const variant of variants) {
    const members =
      variant instanceof z.ZodEnum
        ? variant.options.map((option) => enumWord(variant, option))
        : Object.keys(shapeOf(variant));
    const missing = [...fields.keys()].filter((field) => !members.includes(field) && !resolved.has(field));
    if (missing.length > 0) throw new Error(`${name} stands for two schemas: one has no ${missing}`);
  }
}

/** A member without a description of its own has that of the inputs of the record. */
function borrowWords({ fields }: Type, inputs: readonly (Type | undefined)[]): void {
  for (const [name, field] of fields) {
    if (field.description !== undefined && !sharedWords.has(field.description)) continue;
    field.description = inputs.map((input) => input?.fields.get(name)?.description).find(Boolean) ?? field.description;
  }
}

function put(type: string, fields: Map<string, Field>, name: string, field: Field): void {
  const there = fields.get(name);
  if (there && (there.type !== field.type || there.cost !== field.cost)) {
    throw new Error(`${type}.${name} is ${there.type} (${there.cost}) and ${field.type} (${field.cost})`);
  }
  if (!there) fields.set(name, field);
}

function nullable(type: string): string {
  return type.replace(/!$/, '');
}

function bare(type: string): string {
  return type.replace(/[[\]!]/g, '');
}

function pascalCase(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** `partially_refunded` is PARTIALLY_REFUNDED; the orders `placedAt` and `-placedAt` are PLACED_AT_ASC and PLACED_AT_DESC. */
function enumWord(schema: z.ZodEnum, option: string | number): string {
  const text = String(option);
  if (!schema.options.some((one) => String(one).startsWith('-'))) return text.toUpperCase();
  const field = text.replace(/^-/, '').replaceAll(/[A-Z]/g, (letter) => `_${letter}`);
  return `${field.toUpperCase()}_${text.startsWith('-') ? 'DESC' : 'ASC'}`;
}

/** Words of an enum in backticks, and members with values (`details=true`), as they are written here. */
function spell(text: string, type: Type | undefined): string {
  const spelled = text.replaceAll(/`(\w+)=(\w+)`/g, '`$1: $2`');
  if (type?.kind !== 'enum') return spelled;
  return spelled.replaceAll(/`(-?[A-Za-z0-9_]+)`/g, (found, word: string) => {
    const written = type.words?.get(word);
    return written ? `\`${written}\`` : found;
  });
}

/**
 * A description of an enum that says `word: what it means.` of its words, as that of the enum and those of its values.
 */
function splitWords(text: string, words: readonly string[]): { own: string; values: Map<string, string> } {
  const [own = '', ...parts] = text.split(new RegExp(`(?:^|(?<=[.;] ))\`?(${words.join('|')})\`?: `));
  const values = new Map<string, string>();
  for (let at = 0; at + 1 < parts.length; at += 2) values.set(parts[at] ?? '', sentence(parts[at + 1] ?? ''));
  return { own: own.trim().replace(/;$/, '.'), values };
}

function sentence(text: string): string {
  const trimmed = text.trim().replace(/;$/, '.');
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
}

/** The example of an input, as a literal of this door. */
function literal(value: unknown, schema: z.core.$ZodType | undefined): string {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return literal(value, schema.unwrap());
  if (schema instanceof z.ZodPipe) return literal(value, schema.in);
  if (schema instanceof z.ZodEnum && typeof value === 'string') return enumWord(schema, value);
  if (Array.isArray(value)) {
    const element = schema instanceof z.ZodArray ? elementOf(schema) : undefined;
    return `[${value.map((one) => literal(one, element)).join(', ')}]`;
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const shape = schema instanceof z.ZodObject ? shapeOf(schema) : {};
  const members = Object.entries(value).map(([name, one]) => `${name}: ${literal(one, shape[name])}`);
  return `{ ${members.join(', ')} }`;
}

function printed(types: Map<string, Type>): string {
  const parts = [...types].map(([name, type]): [string, string] => [name, printType(name, type)]);
  for (const [name, { description }] of scalarsByName) {
    parts.push([name, `${comment(description ?? undefined, '')}scalar ${name}\n`]);
  }
  const roots = ['Query', 'Mutation'];
  const place = ([name]: [string, string]) => (roots.includes(name) ? ` ${roots.indexOf(name)}` : name);
  parts.sort((a, b) => (place(a) < place(b) ? -1 : 1));
  return [opening, ...parts.map(([, text]) => text)].join('\n');
}

const mutationWords =
  'Writes. Each takes `dryRun`, which validates, answers with what would be the result and writes nothing, and `idempotencyKey`, with which a repeated call gets the response of the first one (kept for 48 hours). A request with one mutation can send the header `Idempotency-Key` instead. The mutations of a request run one after the other, each in a transaction of its own.';

const opening = `"""
Rapport over GraphQL: the same operations, scopes, checks and errors as over REST (openapi.yaml).

Send \`POST /graphql\` with a bearer token. Every field goes through one operation and needs its scope. A field whose
scope the token lacks is null, with the error \`insufficient_scope\`; other fields are still answered. Without
the scope \`customers:pii\` personal data (names, identities, addresses, free text) is null.

Errors carry \`extensions.code\`, the HTTP \`status\` that REST would answer with, and \`errors\`, whose \`pointer\` points
into \`input\` and whose \`parameter\` names an argument.
"""
schema {
  query: Query
  mutation: Mutation
}

"""
What a field costs each time it is resolved. Default: 1 for a field that answers objects, 0 for a plain value. A list with
\`first\` multiplies what is selected below \`nodes\` and \`edges\`. A query may cost 5,000; \`extensions.cost\` says what it
costs.
"""
directive @cost(weight: Int!) on FIELD_DEFINITION

"Where a page ends. Lists are walked forwards: pass \`endCursor\` as \`after\` while \`hasNextPage\` is true."
type PageInfo {
  hasNextPage: Boolean!
  "Whether the page began after a cursor."
  hasPreviousPage: Boolean!
  "Cursor of the first record of the page; null when it is empty."
  startCursor: String
  "Cursor of the last record of the page; null when it is empty."
  endCursor: String
}
`;

function printType(name: string, { kind, description, fields, resolved }: Type): string {
  const members = [...new Map([...fields, ...resolved])].map(([member, field]) => printField(member, field, kind));
  const between = fields.size === 0 ? '\n\n' : '\n';
  return `${comment(description, '')}${kind} ${name} {\n${members.join(between)}\n}\n`;
}

function printField(name: string, field: Field, kind: Type['kind']): string {
  const { type, args, cost } = field;
  const above = comment([field.description, field.isPersonal && 'Personal.'].filter(Boolean).join(' '), '  ');
  if (kind === 'enum') return `${above}  ${name}`;
  const weight = kind === 'type' && cost !== undefined ? ` @cost(weight: ${cost})` : '';
  return `${above}  ${name}${printArguments(args)}: ${type}${weight}`;
}

function printArguments(args: Map<string, Field> | undefined): string {
  if (!args || args.size === 0) return '';
  const texts = [...args].map(([name, { type, description }]) => ({
    above: comment(description, '    '),
    text: `${name}: ${type}`,
  }));
  if (texts.every(({ above }) => above === '')) return `(${texts.map(({ text }) => text).join(', ')})`;
  return `(\n${texts.map(({ above, text }) => `${above}    ${text}\n`).join('')}  )`;
}

function comment(text: string | undefined, indent: string): string {
  if (!text) return '';
  const block = text.length > 100 || text.includes('\n');
  const lines = print({ kind: Kind.STRING, value: text, block }).split('\n');
  return lines.map((line) => (line === '' ? '\n' : `${indent}${line}\n`)).join('');
}
