import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { packageRoot } from '../../src/config.ts';
import { isObject, type Json, resolve } from '../../src/platform/http/openapi-schemas.ts';

export type { Json };

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required: boolean;
  /** A value its author gave, or one made from the schema. */
  example: unknown;
  /** Values at the edges of what it takes, or a little beyond, as text. */
  edges: string[];
}

/** An operation of openapi.yaml, with what it takes and how it may answer. */
export interface ContractOperation {
  id: string;
  method: string;
  /** With its parameters in braces. */
  path: string;
  parameters: Parameter[];
  /** Bodies: the author's example, one with every member, one with the required ones. null: it takes none. */
  documents: unknown[] | null;
  /** Status (or `default`) → the problem codes that may come with it; none for a success. */
  answers: Map<string, string[]>;
}

const document = parse(readFileSync(join(packageRoot, 'openapi.yaml'), 'utf8'), { schema: 'core' }) as Json; // generated

/** Every operation of the committed openapi.yaml. */
export function contractOperations(): ContractOperation[] {
  return Object.entries(document.paths as Record<string, Record<string, Json>>).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      id: String(operation.operationId),
      method: method.toUpperCase(),
      path,
      parameters: list(operation.parameters).map(parameterOf),
      documents: documentsOf(operation),
      answers: new Map(
        Object.entries(operation.responses as Json).map(([status, response]) => [status, codesOf(follow(response))]),
      ),
    })),
  );
}

function parameterOf(given: unknown): Parameter {
  const parameter = follow(given);
  const example = parameter.example ?? sample(parameter.schema, 'all');
  return {
    name: String(parameter.name),
    in: parameter.in as Parameter['in'],
    required: parameter.required === true,
    example,
    edges: edgesOf(follow(parameter.schema), String(example)),
  };
}

function edgesOf(schema: Json, example: string): string[] {
  const bounds = ['minimum', 'maximum', 'exclusiveMaximum'].flatMap((name) => schema[name] ?? []);
  if (Array.isArray(schema['enum'])) return schema['enum'].map(String);
  if (schema['type'] === 'boolean') return ['true', 'false'];
  if (schema['type'] === 'integer') return [example, ...bounds.map(String)];
  if (schema['type'] === 'number') return [example, ...bounds.map(String), '0.000000000000001', '0.333333333333333'];
  if (/^\d{4}-\d\d-\d\d/.test(example))
    return schema['format'] === 'date' ? edgeDates : [...edgeDates, ...edgeInstants];
  return example.includes('/') ? edgeZones : [example];
}

// The first and last years the calendar works with, days that a zone skipped or had twice, the leap days of two calendars.
const edgeDates = [
  ...['1000-01-01', '0999-12-31', '1000-01-02', '1000-03-01', '1000-12-31', '1582-10-10', '1844-12-31', '1867-10-18'],
  ...['2011-12-30', '2018-11-04', '2024-02-29', '2026-03-29', '9998-12-31', '9998-12-30', '9999-12-31', '0001-01-01'],
];
const edgeInstants = [
  ...['1000-01-01T00:00:00Z', '1000-01-01T23:59:59.999999999+14:00', '9998-12-31T23:59:59.999999Z'],
  ...['9998-12-31T23:59:59.9999999Z', '2026-03-29T01:30:00Z', '2026-10-25T01:30:00.000001Z', '1970-01-01T00:00:00Z'],
];
const edgeZones = [
  ...['UTC', 'Pacific/Kiritimati', 'Pacific/Niue', 'Pacific/Apia', 'America/St_Johns', 'Asia/Kathmandu', 'Asia/Manila'],
  ...['America/Juneau', 'Africa/Monrovia', 'Europe/Kyiv', 'MET', 'EST5EDT', 'Etc/GMT+12', 'america/new_york', 'GB'],
];

function documentsOf({ requestBody }: Json): unknown[] | null {
  if (!isObject(requestBody)) return null;
  const media = (requestBody.content as Record<string, Json>)['application/json'];
  // A file is no document.
  if (!media) return null;
  return [media.example, sample(media.schema, 'all'), sample(media.schema, 'required')];
}

function codesOf({ content }: Json): string[] {
  const problem = isObject(content) ? content['application/problem+json'] : undefined;
  return isObject(problem) && isObject(problem.examples) ? Object.keys(problem.examples) : [];
}

/** A value of the schema, with all of its members or only those required. */
function sample(given: unknown, members: 'all' | 'required'): unknown {
  const schema = follow(given);
  if (isObject(schema.properties)) {
    const required = list(schema.required);
    const wanted = Object.entries(schema.properties).filter(([name]) => members === 'all' || required.includes(name));
    return Object.fromEntries(wanted.map(([name, member]) => [name, sample(member, members)]));
  }
  if (schema.items !== undefined) return [sample(schema.items, members)];
  const [example = list(schema.enum)[0]] = list(schema.examples);
  if (example !== undefined) return example;
  if ('const' in schema) return schema.const;
  const [option] = list(schema.anyOf);
  return option === undefined ? simple(schema) : sample(option, members);
}

function simple(schema: Json): unknown {
  const type = [schema.type].flat()[0];
  if (type === 'integer' || type === 'number') return Math.max(Number(schema.minimum ?? 0), 1);
  if (type === 'string') return schema.format === 'date-time' ? '2026-03-01T09:30:00Z' : 'text';
  return type === 'boolean' ? true : type === 'object' ? {} : null;
}

function follow(value: unknown): Json {
  if (!isObject(value)) return {};
  return typeof value.$ref === 'string' ? follow(resolve(document, value.$ref)) : value;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
