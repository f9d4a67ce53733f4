import { isDeepStrictEqual } from 'node:util';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { routes } from '../../src/features.ts';
import { guide } from '../../src/guide.ts';
import { openApiDocument } from '../../src/platform/http/openapi.ts';
import { isObject, type Json, resolve } from '../../src/platform/http/openapi-schemas.ts';
import type { Route } from '../../src/platform/http/rest.ts';
import type { Answer } from './app.ts';

/** An operation of the document with all references at its first level followed. */
export interface DocumentedOperation {
  id: string;
  method: string;
  /** As in the document: `/v1/orders/{id}`. */
  path: string;
  operation: Json;
  parameters: { name: string; in: string; required?: boolean; description: string; schema: Json; example?: unknown }[];
  /** Status → response. */
  responses: Record<string, Json>;
  /** The line of the URL table; undefined for the addresses that are no operations. */
  route: Route | undefined;
}

export interface Contract {
  document: Json;
  operations: DocumentedOperation[];
  /** What is wrong with an answer, in words; empty when it is as documented. */
  faults(method: string, path: string, answer: Answer<unknown>): string[];
  find(method: string, path: string): DocumentedOperation | undefined;
  /** Validates a value against a schema of the document, given by its JSON Pointer. */
  validate(pointer: string, value: unknown): string[];
  /** `operationId status` of every answer that was checked. */
  seen: Set<string>;
}

const methods = ['get', 'put', 'post', 'patch', 'delete'];

/** The document as the code makes it, and a judge of answers by it. */
export function contract(): Contract {
  const document = openApiDocument(routes, guide);
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  // The whole document is one schema, so that references inside of it are found.
  ajv.addSchema({ $id: 'http://document/', ...document });
  const compiled = new Map<string, ValidateFunction>();
  const validate = (pointer: string, value: unknown): string[] => {
    const check = compiled.get(pointer) ?? ajv.compile({ $ref: `http://document/#${encodeURI(pointer)}` });
    compiled.set(pointer, check);
    check(value);
    return (check.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
  };
  const operations = operationsOf(document);
  const patterns = operations.map((one) => ({
    one,
    pattern: new RegExp(`^${one.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`),
    fixed: one.path.replaceAll(/\{\w+\}/g, '').length,
  }));
  const find = (method: string, path: string) => {
    const [bare = ''] = path.split('?', 1);
    const matching = patterns.filter(({ one, pattern }) => one.method === method && pattern.test(bare));
    return matching.sort((a, b) => b.fixed - a.fixed)[0]?.one;
  };
  const seen = new Set<string>();
  return {
    document,
    operations,
    find,
    validate,
    seen,
    faults(method, path, answer) {
      const one = find(method, path);
      if (!one) return [`${method} ${path} is not in the document`];
      seen.add(`${one.id} ${answer.status}`);
      return faultsOf(one, answer, validate).map((fault) => `${one.id} ${answer.status}: ${fault}`);
    },
  };
}

function operationsOf(document: Json): DocumentedOperation[] {
  const follow = (value: Json): Json =>
    typeof value.$ref === 'string' ? (resolve(document, value.$ref) as Json) : value;
  const paths = document.paths as Record<string, Record<string, Json>>;
  return Object.entries(paths).flatMap(([path, item]) =>
    methods.flatMap((method) => {
      const operation = item[method];
      if (!operation) return [];
      const responses = operation.responses as Record<string, Json>;
      const url = path.replaceAll(/\{(\w+)\}/g, ':$1');
      return {
        id: String(operation.operationId),
        method: method.toUpperCase(),
        path,
        operation,
        parameters: ((operation.parameters ?? []) as Json[]).map(follow) as never,
        responses: Object.fromEntries(Object.entries(responses).map(([status, one]) => [status, follow(one)])),
        route: routes.find((one) => one.url === url && one.method === method.toUpperCase()),
      };
    }),
  );
}

/** Told only when there is something to tell. */
const conditional = new Set(['Link', 'Idempotency-Replayed']);

function faultsOf(
  { path, method, operation, responses, route }: DocumentedOperation,
  { status, headers, body }: Answer<unknown>,
  validate: Contract['validate'],
): string[] {
  const response = responses[status];
  if (!response) return ['the status is not documented'];
  const faults = Object.keys(isObject(response.headers) ? response.headers : {})
    .filter((name) => !conditional.has(name) && !headers.has(name))
    .map((name) => `the header ${name} is missing`);
  const content = response.content as Record<string, Json> | undefined;
  if (!content) return body === '' ? faults : [...faults, 'there is a body'];
  const type = headers.get('content-type')?.split(';', 1)[0] ?? '';
  if (!content[type]) return [...faults, `${type} is not documented`];
  // A text, or a document per line.
  if (!type.endsWith('json') || type.endsWith('ndjson')) return faults;
  const listed = (operation.responses as Record<string, Json>)[status];
  const place =
    typeof listed?.$ref === 'string'
      ? listed.$ref.slice(1)
      : `/paths/${path.replaceAll('/', '~1')}/${method.toLowerCase()}/responses/${status}`;
  faults.push(...validate(`${place}/content/${type.replaceAll('/', '~1')}/schema`, body));
  if (status < 300 && route) {
    const { operation: called } = route;
    const schema = called.kind === 'read' && called.document ? called.document.media[type] : called.output;
    if (!schema) return [...faults, `${type} has no schema`];
    const parsed = schema.safeParse(body);
    if (!parsed.success) faults.push(`zod: ${parsed.error.message}`);
    else if (!isDeepStrictEqual(parsed.data, body)) faults.push('zod reads another value than was sent');
  }
  return faults;
}
