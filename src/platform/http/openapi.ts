import { z } from 'zod';
import { membersOf, type Schema } from '../../records/walk.ts';
import { batchItem } from '../batch-items.ts';
import type { Operation } from '../operation.ts';
import { pageParameters } from '../page.ts';
import { listedRecord, personalSelectors } from '../personal.ts';
import {
  accepts,
  headerReferences,
  problemBody,
  problemExamples,
  problemResponses,
  problemsOf,
} from './openapi-problems.ts';
import { exampleOf, type Json, missingReferences, type SchemaBook, schemaBook } from './openapi-schemas.ts';
import { servicePaths, serviceSections } from './openapi-service.ts';
import { representationsOf } from './representations.ts';
import { bind, bodyOf, isOpen, type Route } from './rest.ts';

/** What the document says beyond its operations. */
export interface Guide {
  title: string;
  version: string;
  summary: string;
  /** Markdown, for somebody who sees the service for the first time. */
  description: string;
  /** Section → what it holds. A section is the first segment behind /v1, and all of them have to be here. */
  readonly sections: Readonly<Record<string, string>>;
  /** Those whose ids may have been merged into others: a former address leads to the one of today. */
  readonly merging: readonly string[];
}

/**
 * The contract as an OpenAPI 3.1 document, from the URL tables and the operations behind them.
 *
 * @throws Error when the parts do not fit: two operations of one id, a schema id with two meanings, a section without a
 *   description, a reference to a schema that is not there
 */
export function openApiDocument(routes: readonly Route[], guide: Guide): Json {
  const book = schemaBook();
  const responses = new Map<string, Json>();
  book.add(problemBody, 'output');
  const shared = sharedAddresses(routes);
  const seen = new Set<string>();
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const id = operationId(route, shared);
    if (seen.has(id)) throw new Error(`Two routes have the operationId ${id}.`);
    seen.add(id);
    const section = sectionOf(route);
    if (guide.sections[section] === undefined) throw new Error(`The section ${section} has no description.`);
    const path = route.url.replaceAll(/:([A-Za-z]+)/g, '{$1}');
    paths[path] = {
      ...paths[path],
      [route.method.toLowerCase()]: describeRoute(route, id, { section, guide, book, responses }),
    };
  }
  Object.assign(
    paths,
    servicePaths(
      responses,
      routes.map(({ operation }) => operation),
    ),
  );
  const used = new Set(routes.map(sectionOf));
  const sections = Object.entries(guide.sections).filter(([name]) => used.has(name));
  const document: Json = {
    openapi: '3.1.0',
    info: { title: guide.title, version: guide.version, summary: guide.summary, description: guide.description },
    servers: [{ url: '/' }],
    tags: [...sections, ...Object.entries(serviceSections)].map(([name, description]) => ({ name, description })),
    security: [{ bearerAuth: [] }],
    paths,
    components: {
      securitySchemes: {
        bearerAuth: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT (RFC 9068)',
          description:
            'An access token, from `POST /oauth/token`. On your own machine: `npm run -s token -- --scope "*"`.',
        },
        clientBasic: {
          type: 'http',
          scheme: 'basic',
          description: 'The id and a secret of a client (`/v1/clients`), for `/oauth/token` and `/oauth/revoke` only.',
        },
      },
      schemas: sorted(book.components),
      responses: sorted(responses),
      headers,
      examples: problemExamples(routes.flatMap(problemsOf)),
    },
  };
  addExamples(document);
  shareParameters(document);
  const missing = missingReferences(document);
  if (missing.length > 0) throw new Error(`The document refers to what it does not hold: ${missing.join(', ')}`);
  return document;
}

/** `a`, `b` or `c`. */
const anyOf = new Intl.ListFormat('en-GB', { type: 'disjunction' });

function sorted(map: Map<string, Json>): Json {
  return Object.fromEntries([...map].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const externalAddress = /\/external\/:source\/:externalId/;

/** Operations that stand both under `/{id}` and under `/external/{source}/{externalId}`. */
function sharedAddresses(routes: readonly Route[]): Set<string> {
  const byId = routes.filter(({ url }) => !externalAddress.test(url)).map(({ operation }) => operation.name);
  return new Set(byId);
}

function operationId({ url, operation, operationId: given }: Route, shared: ReadonlySet<string>): string {
  if (given !== undefined) return given;
  return externalAddress.test(url) && shared.has(operation.name) ? `${operation.name}ByReference` : operation.name;
}

function sectionOf({ url }: Route): string {
  return /^\/v1\/([a-z-]+)/.exec(url)?.[1] ?? '';
}

function describeRoute(
  route: Route,
  id: string,
  {
    section,
    guide,
    book,
    responses,
  }: { section: string; guide: Guide; book: SchemaBook; responses: Map<string, Json> },
): Json {
  const { operation } = route;
  const body = bodyOf(route);
  const item = body && batchItem(body);
  // The body only refers to it.
  if (item) book.add(z.array(item), 'input');
  return {
    operationId: id,
    tags: [section],
    summary: route.summary ?? (id === operation.name ? operation.summary : `${operation.summary} (by reference)`),
    description: describe(route),
    security: operation.public ? [] : [{ bearerAuth: [operation.scope] }],
    'x-scope': operation.scope,
    parameters: parametersOf(route, book),
    ...(operation.kind === 'write' &&
      operation.upload && {
        requestBody: {
          required: true,
          content: Object.fromEntries(
            Object.keys(operation.upload.media).map((type) => [type, { schema: { type: 'string', format: 'binary' } }]),
          ),
        },
      }),
    ...(body && {
      requestBody: {
        required: !accepts(body, undefined),
        content: { 'application/json': { schema: book.add(body, 'input') } },
      },
    }),
    responses: {
      ...successes(route, book),
      ...elsewhere(route, section, guide),
      ...problemResponses(problemsOf(route), responses),
    },
  };
}

function describe(route: Route): string {
  const { operation, bodyLimit } = route;
  const personal = personalSelectors(operation);
  return [
    operation.description,
    operation.public
      ? `Needs no token; GraphQL needs the scope \`${operation.scope}\`.`
      : `Needs the scope \`${operation.scope}\`.`,
    personal.length > 0 &&
      `Filtering by ${anyOf.format(personal.map((name) => `\`${name}\``))} also needs \`customers:pii\`.`,
    bodyOf(route) && `The body has at most ${bodyLimit / 1024 / 1024} MB.`,
  ]
    .filter((part) => typeof part === 'string')
    .join('\n\n');
}

function parametersOf(route: Route, book: SchemaBook): Json[] {
  const { operation } = route;
  const { shape } = operation.input;
  const binding = bind(route);
  const parameter = (name: string, place: 'path' | 'query'): Json => {
    const schema = shape[name];
    if (!schema) throw new Error(`${operation.name} takes no ${name}, which its address has.`);
    const json = book.add(schema, 'input');
    const { description: _, examples, ...rest } = json;
    return {
      name,
      in: place,
      ...(place === 'path' || !accepts(schema, undefined) ? { required: true } : {}),
      description: describeParameter(route, name, json, book),
      ...(json.type === 'array' && { style: 'form', explode: false }),
      ...(isOpen(schema) && { style: 'form', explode: true }),
      schema: isOpen(schema) ? behindDots(name, rest) : rest,
      ...(Array.isArray(examples) && { example: isOpen(schema) ? dotted(name, examples[0]) : examples[0] }),
    };
  };
  return [
    ...binding.pathNames.map((name) => parameter(name, 'path')),
    ...[...binding.query.keys()].map((name) => parameter(name, 'query')),
    ...(shape.expectedVersion ? [ifMatch(!accepts(shape.expectedVersion, undefined))] : []),
    ...(binding.takesKey ? [idempotencyKey(route, book)] : []),
    ...(isConditional(route) ? [ifNoneMatch] : []),
  ];
}

/** An exploded object is written as one parameter for each of its members: `attributes.color=red`. */
function behindDots(name: string, { propertyNames: _, ...schema }: Json): Json {
  return { ...schema, propertyNames: { type: 'string', pattern: `^${name}\\..+$` } };
}

function dotted(name: string, example: object): Json {
  return Object.fromEntries(Object.entries(example).map(([member, value]) => [`${name}.${member}`, value]));
}

/** A filter of a list says in its name what it does; its schema only says what its values are. */
function describeParameter(route: Route, name: string, schema: Json, book: SchemaBook): string {
  const component =
    typeof schema.$ref === 'string' ? book.components.get(schema.$ref.split('/').at(-1) ?? '') : undefined;
  const own = schema.description ?? component?.description;
  // A description that begins so says what the filter does; others say what its values are.
  const saysSo = typeof schema.description === 'string' && /^(Only|Also) /.test(schema.description);
  const meaning = saysSo || route.url.includes(`:${name}`) ? undefined : meaningOfFilter(route.operation, name, schema);
  return [meaning, own].filter((part) => typeof part === 'string').join(' ');
}

/** What a parameter of a list selects by: a member of the records listed, or the ends of its range. */
function meaningOfFilter({ input, output }: Operation, name: string, schema: Json): string | undefined {
  // Those of a metric say which period and which facts are meant: their descriptions say how.
  if (name in pageParameters || 'timeZone' in input.shape) return undefined;
  const record = listedRecord(output);
  const members = new Set((record ? membersOf(record) : []).map(([member]) => member));
  if (members.has(name)) return `Only records with this \`${name}\`.`;
  const [, stem, end] = /^(\w+)(From|To)$/.exec(name) ?? [];
  if (stem === undefined) return undefined;
  const member = memberOfRange(stem, schema);
  if (!members.has(member)) return undefined;
  return `Only records whose \`${member}\` is ${end === 'From' ? 'this or later' : 'before this'}.`;
}

/** `placed` of `placedFrom` is the member `placedAt`; `at` of `atFrom` is one already. */
function memberOfRange(stem: string, schema: Json): string {
  if (stem === 'at') return stem;
  return `${stem}${schema.format === 'date' ? 'On' : 'At'}`;
}

const ifMatch = (required: boolean): Json => ({
  name: 'If-Match',
  in: 'header',
  ...(required && { required }),
  description: 'The `ETag` of the record as you have seen it, or `*` for any. A stale one is refused with 412.',
  schema: { type: 'string', pattern: '^(\\*|"[0-9]{1,10}(-public)?(-customer|-partner-[0-9a-f]{6})?")$' },
  example: '"3"',
});

const ifNoneMatch: Json = {
  name: 'If-None-Match',
  in: 'header',
  description: 'An `ETag` you have: 304 without a body while the record is still the same.',
  schema: { type: 'string' },
  example: '"3"',
};

function idempotencyKey({ operation }: Route, book: SchemaBook): Json {
  const schema = operation.input.shape.idempotencyKey;
  if (!schema) throw new Error(`${operation.name} takes no Idempotency-Key.`);
  const required = operation.kind === 'write' && operation.idempotency === 'required';
  const { description, ...rest } = book.add(schema, 'input');
  return {
    name: 'Idempotency-Key',
    in: 'header',
    ...(required && { required }),
    description: `${description}${required ? ' Required, except with `dryRun`.' : ''}`,
    schema: rest,
    example: '8e03978e-40d5-43dd-bc93-6894a57f9324',
  };
}

const rateLimit = ['RateLimit', 'RateLimit-Policy'];

/** Where the path names what may have been merged since. */
function elsewhere({ method, url }: Route, section: string, guide: Guide): Json {
  if (!guide.merging.includes(section) || !url.startsWith(`/v1/${section}/:id`)) return {};
  const moved = {
    description: 'The customer was merged into another one: `Location` is the same address with the id of that one.',
    headers: headerReferences(['Location', ...rateLimit]),
  };
  return method === 'GET' ? { 301: moved } : { 308: moved };
}

function successes(route: Route, book: SchemaBook): Json {
  const { method, url, operation, collection } = route;
  const replay = 'idempotencyKey' in operation.input.shape ? ['Idempotency-Replayed'] : [];
  const etag = hasVersion(route) ? ['ETag'] : [];
  const link = outputShape(route).page && route.parameters === 'query' ? ['Link'] : [];
  const download = operation.kind === 'read' && operation.document ? ['Content-Disposition'] : [];
  const answer = (description: string, extra: string[]): Json => ({
    description,
    headers: headerReferences([...etag, ...extra, ...link, ...replay, ...download, ...rateLimit]),
    content: contentOf(operation, book),
  });
  if (method === 'DELETE') {
    return {
      ...('sourceVersion' in operation.input.shape && { 200: answer('Not newer: nothing was deleted.', []) }),
      204: { description: 'Deleted.', headers: headerReferences([...replay, ...rateLimit]) },
    };
  }
  if (operation.kind === 'read') {
    return {
      200: answer('The answer.', []),
      ...(isConditional(route) && {
        304: {
          description: 'Unchanged since the version named in If-None-Match.',
          headers: headerReferences([...etag, ...rateLimit]),
        },
      }),
    };
  }
  const location = collection !== null && outputShape(route).id ? ['Location'] : [];
  const created = { 201: answer('Created.', location) };
  // What is sent to the address of another record does not wait for it.
  const mayWait = operation.waits !== undefined && collection !== null && url.startsWith(collection);
  const waiting = mayWait && { 202: answer('Kept: it waits for the record that it belongs to.', location) };
  if (operation.created === undefined) return { 200: answer('Done.', []), ...waiting };
  // POST always makes something; PUT makes or replaces.
  const replaced = method === 'POST' ? {} : { 200: answer('Replaced, or left as it was.', []) };
  return { ...replaced, ...created, ...waiting };
}

function contentOf(operation: Route['operation'], book: SchemaBook): Json {
  const media = operation.kind === 'read' ? operation.document?.media : undefined;
  const entries = Object.entries(media ?? { 'application/json': operation.output });
  return Object.fromEntries([
    ...entries.map(([type, schema]) => [type, { schema: schema ? book.add(schema, 'output') : { type: 'string' } }]),
    ...representationsOf(operation).map(({ media: type }) => [type, { schema: { type: 'string' } }]),
  ]);
}

function outputShape({ operation }: Route): Record<string, Schema> {
  return Object.fromEntries(membersOf(operation.output));
}

function hasVersion(route: Route): boolean {
  return route.method !== 'DELETE' && outputShape(route).version !== undefined;
}

function isConditional(route: Route): boolean {
  return route.method === 'GET' && hasVersion(route) && route.operation.kind === 'read' && route.conditional;
}

/** An example beside every body, whole where its author gave one. */
function addExamples(document: Json): void {
  for (const path of Object.values(document.paths as Record<string, Json>)) {
    for (const { requestBody } of Object.values(path) as { requestBody?: { content: Record<string, Json> } }[]) {
      const content = requestBody?.content['application/json'];
      if (content && !('example' in content)) content.example = exampleOf(content.schema, document);
    }
  }
}

/** A parameter that means the same in several places is described once, under its name. */
function shareParameters(document: Json): void {
  const operations = Object.values(document.paths as Record<string, Record<string, { parameters?: Json[] }>>)
    .flatMap((path) => Object.values(path))
    .filter(({ parameters }) => parameters !== undefined);
  const uses = new Map<string, number>();
  for (const { parameters = [] } of operations) {
    for (const one of parameters) uses.set(JSON.stringify(one), (uses.get(JSON.stringify(one)) ?? 0) + 1);
  }
  const shared: Record<string, Json> = {};
  // The most used meaning of a name gets it.
  for (const [text, count] of [...uses].sort(([, a], [, b]) => b - a)) {
    const parameter = JSON.parse(text) as Json; // it was one
    const name = String(parameter.name);
    if (count > 1) shared[name] ??= parameter;
  }
  for (const operation of operations) {
    operation.parameters = (operation.parameters ?? []).map((one) => {
      const name = String(one.name);
      const same = JSON.stringify(shared[name]) === JSON.stringify(one);
      return same ? { $ref: `#/components/parameters/${name}` } : one;
    });
  }
  Object.assign(document.components as Json, {
    parameters: Object.fromEntries(Object.entries(shared).sort(([a], [b]) => (a < b ? -1 : 1))),
  });
}

const header = (description: string, type: string, example: unknown): Json => ({
  description,
  schema: { type },
  example,
});

const headers: Json = {
  ETag: header('The version of the record, for If-Match and If-None-Match.', 'string', '"3"'),
  Location: header('Where the record is.', 'string', '/v1/orders/0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90'),
  Link: header('The next page, if there is one: `<…>; rel="next"`.', 'string', '</v1/orders?after=…>; rel="next"'),
  'Content-Disposition': header(
    'A suggested file name.',
    'string',
    'attachment; filename="customer-export-2026-06-01.json"',
  ),
  'Idempotency-Replayed': header('`true`: this is the stored response of the first call.', 'string', 'true'),
  RateLimit: header('Requests left (`r`) for the next `t` seconds.', 'string', '"default";r=998;t=1'),
  'RateLimit-Policy': header(
    'Requests (`q`) that a client may make in `w` seconds; without a token: an address.',
    'string',
    '"default";q=1000;w=1',
  ),
  'Retry-After': header('Seconds to wait.', 'integer', 1),
  'WWW-Authenticate': header(
    'What is wrong with the token.',
    'string',
    'Bearer realm="rapport", error="invalid_token"',
  ),
};
