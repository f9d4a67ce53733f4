import { CriticalityLevel, diff } from '@graphql-inspector/core';
import { buildSchema } from 'graphql';

/** What of a newer SDL breaks clients of an older one. */
export async function breakingGraphqlChanges(before: string, after: string): Promise<string[]> {
  const changes = await diff(buildSchema(before), buildSchema(after));
  return changes
    .filter(({ criticality }) => criticality.level === CriticalityLevel.Breaking)
    .map(({ message }) => message);
}

/**
 * What of a newer OpenAPI document breaks clients of an older one. A client breaks when what it sends is no longer taken
 * (a narrower input), or when what it is answered is no longer what it knows (a wider output).
 */

type Json = Record<string, unknown>;
type Direction = 'input' | 'output';

interface Findings {
  changes: string[];
  /** Pairs of components that were compared. */
  seen: Set<string>;
}

const methods = ['get', 'post', 'put', 'patch', 'delete'];

/** One line per breaking change, each the same as long as the change is the same. */
export function breakingOpenApiChanges(before: Json, after: Json): string[] {
  const all: Findings = { changes: [], seen: new Set() };
  const old = operationsOf(before);
  const now = operationsOf(after);

  for (const [address, operation] of old) {
    const next = now.get(address);
    if (next) compareOperations(address, operation, next);
    else all.changes.push(`${address} was removed`);
  }
  return all.changes;

  function compareOperations(address: string, operation: Json, next: Json): void {
    for (const name of ['operationId', 'x-scope']) {
      if (operation[name] !== next[name]) all.changes.push(`${address}: ${name} ${operation[name]} is ${next[name]}`);
    }
    const parameters = parametersOf(before, operation);
    const given = parametersOf(after, next);
    for (const [name, parameter] of parameters) {
      const there = given.get(name);
      if (!there) all.changes.push(`${address}: parameter ${name} was removed`);
      else compareSchemas(`${address}: parameter ${name}`, parameter.schema, there.schema, 'input', all);
    }
    for (const [name, parameter] of given) {
      const wasRequired = parameters.get(name)?.required === true;
      if (parameter.required === true && !wasRequired) all.changes.push(`${address}: parameter ${name} is required`);
    }
    compareBodies(address, record(operation.requestBody), record(next.requestBody));
    for (const [status, response] of Object.entries(record(operation.responses))) {
      if (!/^[23]/.test(status)) continue;
      const there = record(next.responses)[status];
      if (there === undefined) all.changes.push(`${address}: the answer ${status} was removed`);
      else compareContents(`${address}: answer ${status}`, resolve(before, response), resolve(after, there), 'output');
    }
  }

  function compareBodies(address: string, body: Json, next: Json): void {
    const required = body.required !== true && next.required === true;
    if (required) all.changes.push(`${address}: the body is required`);
    compareContents(`${address}: body`, body, next, 'input');
  }

  function compareContents(place: string, old: Json, next: Json, direction: Direction): void {
    for (const [media, content] of Object.entries(record(old.content))) {
      const there = record(next.content)[media];
      if (there === undefined) all.changes.push(`${place}: ${media} was removed`);
      else compareSchemas(place, record(content).schema, record(there).schema, direction, all);
    }
  }

  function compareSchemas(
    place: string,
    oldSchema: unknown,
    newSchema: unknown,
    direction: Direction,
    { changes, seen }: Findings,
  ): void {
    const pair = `${direction} ${reference(oldSchema)} ${reference(newSchema)}`;
    const shared = reference(oldSchema);
    if (shared !== null) {
      if (seen.has(pair)) return;
      seen.add(pair);
    }
    // A component is compared once, under its own name.
    const at = shared === null ? place : `${shared} (${direction})`;
    const old = resolve(before, oldSchema);
    const next = resolve(after, newSchema);
    if (Array.isArray(old.anyOf) || Array.isArray(next.anyOf)) {
      compareChoices(at, optionsOf(old), optionsOf(next), direction, { changes, seen });
      return;
    }
    compareValues(at, old, next, direction, { changes, seen });
    const properties = record(old.properties);
    const there = record(next.properties);
    const isOpen = direction === 'input' && next.additionalProperties !== false;
    for (const [name, property] of Object.entries(properties)) {
      if (name in there) compareSchemas(`${at}.${name}`, property, there[name], direction, { changes, seen });
      else if (!isOpen) changes.push(`${at}.${name} was removed`);
    }
    const [fewer, more] = direction === 'input' ? [old, next] : [next, old];
    for (const name of listOf(more.required)) {
      if (listOf(fewer.required).includes(name) || (direction === 'output' && !(String(name) in there))) continue;
      changes.push(`${at}.${name} is ${direction === 'input' ? 'required' : 'no longer always there'}`);
    }
    if (old.items !== undefined) compareSchemas(`${at}[]`, old.items, next.items ?? {}, direction, { changes, seen });
    if (isSchema(old.additionalProperties) && isSchema(next.additionalProperties)) {
      compareSchemas(`${at}.*`, old.additionalProperties, next.additionalProperties, direction, { changes, seen });
    }
  }

  /** Everything that may come has to fit one of the choices of the other side. */
  function compareChoices(
    at: string,
    old: unknown[],
    next: unknown[],
    direction: Direction,
    { changes, seen }: Findings,
  ): void {
    const [come, take] = direction === 'input' ? [old, next] : [next, old];
    for (const one of come) {
      const fits = take.some((other) => {
        const trial: Findings = { changes: [], seen: new Set(seen) };
        const [from, to] = direction === 'input' ? [one, other] : [other, one];
        compareSchemas(at, from, to, direction, trial);
        return trial.changes.length === 0;
      });
      if (!fits)
        changes.push(`${at}: the choice ${label(one)} ${direction === 'input' ? 'is no longer taken' : 'is new'}`);
    }
  }

  function compareValues(at: string, old: Json, next: Json, direction: Direction, { changes }: Findings): void {
    const [come, take] = direction === 'input' ? [old, next] : [next, old];
    const types = typesOf(take);
    const foreign = typesOf(come).filter(
      (type) => types.length > 0 && !types.includes(type) && !(type === 'integer' && types.includes('number')),
    );
    if (foreign.length > 0 || (types.length > 0 && typesOf(come).length === 0)) {
      changes.push(`${at}: the type ${typesOf(old).join(' or ') || 'any'} is ${typesOf(next).join(' or ') || 'any'}`);
    }
    if (old.format !== next.format) changes.push(`${at}: the format ${old.format} is ${next.format}`);
    // New words of an answer are no break: clients have to expect them. Only what is sent has to stay taken.
    if (direction === 'output') return;
    const words = valuesOf(next);
    if (words !== null) {
      const gone = valuesOf(old)?.filter((word) => !words.includes(word)) ?? ['any value'];
      if (gone.length > 0) changes.push(`${at}: ${gone.join(', ')} is no longer taken`);
    }
    if (next.pattern !== undefined && old.pattern !== next.pattern)
      changes.push(`${at}: the pattern is ${next.pattern}`);
    for (const bound of ['maximum', 'maxLength', 'maxItems', 'exclusiveMaximum']) {
      if (numberOf(next[bound], Infinity) < numberOf(old[bound], Infinity))
        changes.push(`${at}: ${bound} is ${next[bound]}`);
    }
    for (const bound of ['minimum', 'minLength', 'minItems', 'exclusiveMinimum']) {
      if (numberOf(next[bound], -Infinity) > numberOf(old[bound], -Infinity))
        changes.push(`${at}: ${bound} is ${next[bound]}`);
    }
  }
}

/** `GET /v1/orders` → operation */
function operationsOf(document: Json): Map<string, Json> {
  const paths = Object.entries(record(document.paths)).flatMap(([path, item]) =>
    methods.flatMap((method): [string, Json][] => {
      const operation = record(item)[method];
      return operation === undefined ? [] : [[`${method.toUpperCase()} ${path}`, record(operation)]];
    }),
  );
  return new Map(paths);
}

function parametersOf(document: Json, operation: Json): Map<string, Json> {
  return new Map(
    listOf(operation.parameters).map((one) => {
      const parameter = resolve(document, one);
      return [`${parameter.name} (${parameter.in})`, parameter];
    }),
  );
}

/** A schema without references and `allOf`: its parts as one. */
function resolve(document: Json, value: unknown): Json {
  const { $ref, allOf, ...own } = record(value);
  const parts = [
    ...(typeof $ref === 'string' ? [resolve(document, target(document, $ref))] : []),
    ...listOf(allOf).map((part) => resolve(document, part)),
    own,
  ];
  if (parts.length === 1) return own;
  const properties = Object.assign({}, ...parts.map((part) => record(part.properties)));
  const required = parts.flatMap((part) => listOf(part.required));
  return Object.assign({}, ...parts, Object.keys(properties).length > 0 && { properties, required });
}

function target(document: Json, pointer: string): unknown {
  return pointer
    .slice(2)
    .split('/')
    .reduce<unknown>((at, step) => record(at)[step], document);
}

function reference(schema: unknown): string | null {
  const { $ref } = record(schema);
  return typeof $ref === 'string' ? ($ref.split('/').at(-1) ?? null) : null;
}

function optionsOf(schema: Json): unknown[] {
  return Array.isArray(schema.anyOf) ? schema.anyOf : [schema];
}

function typesOf({ type }: Json): string[] {
  return [type].flat().filter((one) => typeof one === 'string');
}

function valuesOf(schema: Json): unknown[] | null {
  if ('const' in schema) return [schema.const];
  return Array.isArray(schema.enum) ? schema.enum : null;
}

function label(schema: unknown): string {
  return reference(schema) ?? JSON.stringify(record(schema).type ?? schema);
}

function record(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}; // by the line itself
}

function isSchema(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function numberOf(value: unknown, fallback: number): number {
  return typeof value === 'number' ? value : fallback;
}
