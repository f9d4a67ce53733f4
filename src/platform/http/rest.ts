import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify';
import { z } from 'zod';
import { type Schema, unwrapped } from '../../records/walk.ts';
import { originOf } from '../audit.ts';
import { type FieldError, mostErrors, Problem } from '../errors.ts';
import { pointerOf } from '../faults.ts';
import { viewerTag } from '../masked-fields.ts';
import { Redirected, type Redirects } from '../merged-ids.ts';
import {
  type Answer,
  authorize,
  type Context,
  call,
  createContext,
  fieldsOf,
  type Operation,
  type Representation,
  type Services,
} from '../operation.ts';
import { textPage } from '../text-page.ts';
import type { parseQuery } from './parsing.ts';
import { representationsOf, wanted } from './representations.ts';
import { openUpload, takeUploads } from './uploads.ts';

/** A line of the URL table: what is at an address. */
export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: string;
  operation: Operation;
  /** Bytes of body taken; 1 MB, and 16 MB for batches. */
  bodyLimit: number;
  /** Where a record made here is found: the URL with the id behind it. null: it has no address of its own. */
  collection: string | null;
  /** Whether the answer stays the same while the version does, so that If-None-Match may be answered with 304. */
  conditional: boolean;
  /** In the document, for an operation that has several addresses. Default: the name of the operation. */
  operationId?: string;
  summary?: string;
  /** Where the parameters that are not in the path stand; in a body they are its members. */
  parameters: 'query' | 'body';
  /** Parameters that this address does not take. */
  without: readonly string[];
}

const megabyte = 1024 * 1024;

export function route(
  method: Route['method'],
  url: string,
  operation: Operation,
  options: Partial<
    Pick<Route, 'collection' | 'conditional' | 'operationId' | 'summary' | 'parameters' | 'without'>
  > = {},
): Route {
  return {
    method,
    url,
    operation,
    bodyLimit: url.endsWith('/batch') ? 16 * megabyte : megabyte,
    collection: options.collection === undefined ? (/^\/v1\/[a-z-]+/.exec(url)?.[0] ?? null) : options.collection,
    conditional: options.conditional ?? true,
    parameters: options.parameters ?? 'query',
    without: options.without ?? [],
    ...(options.operationId !== undefined && { operationId: options.operationId }),
    ...(options.summary !== undefined && { summary: options.summary }),
  };
}

/** What of an operation's input comes from where, worked out once per route. */
interface Binding {
  pathNames: string[];
  /** Query parameter → how its text becomes a value. */
  query: Map<string, (text: string) => unknown>;
  /** Parameters whose names clients choose, behind a dot: `attributes.color=red`. */
  open: ReadonlySet<string>;
  /** `parameters`: the body is a document of them. */
  takesBody: boolean | 'parameters';
  takesVersion: boolean;
  takesKey: boolean;
}

const fromElsewhere = new Set(['body', 'expectedVersion', 'idempotencyKey']);
const targetNames = ['id', 'source', 'externalId'];

export function bind(target: Route): Binding {
  const shape = target.operation.input.shape;
  const pathNames = [...target.url.matchAll(/:([A-Za-z]+)/g)].map((match) => match[1] ?? '');
  // Where the path says which record is meant, the query cannot say so too.
  const namesTarget =
    targetNames.every((name) => name in shape) && pathNames.some((name) => targetNames.includes(name));
  const taken = new Set([...pathNames, ...(namesTarget ? targetNames : []), ...target.without]);
  const parameters = Object.entries(shape).filter(([name]) => !fromElsewhere.has(name) && !taken.has(name));
  const inQuery = target.parameters === 'query' ? parameters : [];
  const query = new Map(inQuery.map(([name, schema]) => [name, reader(schema)]));
  const open = new Set(inQuery.flatMap(([name, schema]) => (isOpen(schema) ? [name] : [])));
  return {
    pathNames,
    query,
    open,
    takesBody: target.parameters === 'body' ? 'parameters' : 'body' in shape,
    takesVersion: 'expectedVersion' in shape,
    takesKey: 'idempotencyKey' in shape,
  };
}

const parameterBodies = new WeakMap<Route, z.ZodObject>();

/** What a request to an address has in its body. */
export function bodyOf(route: Route): z.core.$ZodType | undefined {
  const { operation, parameters, without, operationId = operation.name } = route;
  if (parameters === 'query') return operation.input.shape.body;
  const known = parameterBodies.get(route);
  if (known) return known;
  const { pathNames } = bind(route);
  const names = Object.entries(operation.input.shape).filter(
    ([name]) => !pathNames.includes(name) && !without.includes(name) && !fromElsewhere.has(name),
  );
  const id = `${operationId.charAt(0).toUpperCase()}${operationId.slice(1)}Input`;
  const made = z.strictObject(Object.fromEntries(names)).meta({ id });
  parameterBodies.set(route, made);
  return made;
}

/** Whether its members have names that clients choose. */
export function isOpen(schema: Schema): boolean {
  return unwrapped(schema) instanceof z.ZodRecord;
}

/** As readerOf, worked out when a request first gives the parameter: for all of them it would be half of the start. */
function reader(schema: z.core.$ZodType): (text: string) => unknown {
  let read: ((text: string) => unknown) | undefined;
  return (text) => {
    read ??= readerOf(schema);
    return read(text);
  };
}

/** Query text becomes the type the schema wants; text that does not fit is left as it is, for the schema to refuse. */
function readerOf(schema: z.core.$ZodType): (text: string) => unknown {
  const { type, anyOf = [] } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  const numbers = [type, ...anyOf.map((one) => (typeof one === 'object' ? one.type : undefined))];
  if (numbers.includes('integer') || numbers.includes('number'))
    return (text) => (/^-?\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : text);
  if (type === 'boolean') return (text) => (text === 'true' ? true : text === 'false' ? false : text);
  // `kinds=order,refund`: a name may be given only once.
  if (type === 'array') return (text) => text.split(',');
  return (text) => text;
}

/** Puts the routes on an instance whose requests carry a `principal`. */
export function serve(app: FastifyInstance, services: Services, routes: readonly Route[]): void {
  const uploads = routes.filter((target) => uploadOf(target) !== undefined);
  serveRoutes(
    app,
    services,
    routes.filter((target) => !uploads.includes(target)),
  );
  if (uploads.length === 0) return;
  app.register(async (scope) => {
    takeUploads(scope);
    serveRoutes(scope, services, uploads);
  });
}

function uploadOf({ operation }: Route) {
  return operation.kind === 'write' ? operation.upload : undefined;
}

function serveRoutes(app: FastifyInstance, services: Services, routes: readonly Route[]): void {
  for (const target of routes) {
    const binding = bind(target);
    const upload = uploadOf(target);
    const others = target.method === 'GET' ? representationsOf(target.operation) : [];
    const at = (url: string, choose: (request: FastifyRequest) => Representation<never> | null) =>
      app.route({
        method: target.method satisfies HTTPMethods,
        url,
        bodyLimit: target.bodyLimit,
        config: { takesUpload: upload !== undefined },
        handler: async (request, reply) => {
          const { principal, ip } = request;
          const origin = originOf('rest', ip, { anybody: target.operation.public === true, principal });
          const context = createContext(services, principal, request.id, origin);
          if (upload) authorize(target.operation, context);
          const file = upload && openUpload(request, upload.media);
          const raw = file ? { ...file.says, ...assemble(binding, request, true) } : assemble(binding, request);
          try {
            const addressed = binding.pathNames.map((name) => String(raw[name]));
            const other = choose(request);
            const asText = other ? null : textPage(target.operation, context);
            const answer = await call(target.operation, context, raw, addressed, asText);
            if (file && upload) {
              answer.output = await upload.receive(context, answer.output as never, file.bytes); // its own output
              delete answer.text;
            }
            if (others.length > 0) reply.header('Vary', 'Accept');
            return send(target, request, reply, answer, context, other);
          } catch (error) {
            if (error instanceof Problem && binding.takesBody === 'parameters') throw intoBody(error);
            if (!(error instanceof Redirected)) throw error;
            // 308 has the caller repeat the method and the body.
            const status = target.method === 'GET' ? 301 : 308;
            return reply.code(status).header('Location', addressOfToday(request.url, error.redirects)).send();
          }
        },
      });
    at(target.url, (request) => wanted(request, others));
    // What stands behind a name that clients choose could be a part of the name.
    if (binding.pathNames.length > 0) continue;
    for (const other of others) at(`${target.url}.${other.suffix}`, () => other);
  }
}

/** Parameters are members of the body here. */
function intoBody(problem: Problem): Problem {
  const { code } = problem;
  const moved = problem.withErrors(({ parameter, pointer = '', ...error }) => ({
    ...error,
    pointer: parameter === undefined ? pointer : `${pointerOf([parameter])}${pointer}`,
    ...(error.code === 'unsupported_parameter' && { code: 'unknown_member', message: 'Unknown member.' }),
  }));
  if (code !== 'unsupported_parameter') return moved;
  const [first] = moved.errors;
  return new Problem('invalid_input', `${first?.pointer}: ${first?.message}`, {
    errors: moved.errors,
    moreErrors: moved.moreErrors,
  });
}

/** The same address with the ids of today in its path. */
function addressOfToday(url: string, redirects: Redirects): string {
  const [path = '', ...query] = url.split('?');
  const steps = path.split('/').map((step) => redirects.get(step.toLowerCase()) ?? step);
  return [steps.join('/'), ...query].join('?');
}

function assemble(binding: Binding, request: FastifyRequest, hasFile = false): Record<string, unknown> {
  const raw: Record<string, unknown> = {};
  const params = request.params as Record<string, string>; // find-my-way gives strings
  for (const name of binding.pathNames) raw[name] = params[name];
  const errors: FieldError[] = [];
  const query = request.query as ReturnType<typeof parseQuery>; // the application's query parser
  if (query instanceof Problem) throw query;
  for (const [name, value] of query) {
    const dot = name.indexOf('.');
    const head = name.slice(0, Math.max(dot, 0));
    if (binding.open.has(head)) {
      const given = (raw[head] ?? Object.create(null)) as Record<string, string>; // made here
      raw[head] = given;
      const member = name.slice(dot + 1);
      if (member in given)
        errors.push({ parameter: name, code: 'duplicate_parameter', message: 'Given more than once.' });
      given[member] = value;
      continue;
    }
    const read = binding.open.has(name) ? undefined : binding.query.get(name);
    if (!read)
      errors.push({ parameter: name, code: 'unsupported_parameter', message: 'Unknown or not supported here.' });
    else if (name in raw)
      errors.push({ parameter: name, code: 'duplicate_parameter', message: 'Given more than once.' });
    else raw[name] = read(value);
  }
  if (errors.length > 0) {
    const unknown = errors.every((error) => error.code === 'unsupported_parameter');
    const names = errors
      .slice(0, mostErrors)
      .map((error) => error.parameter)
      .join(', ');
    throw new Problem(unknown ? 'unsupported_parameter' : 'invalid_input', `Invalid query parameters: ${names}.`, {
      errors,
    });
  }
  if (binding.takesVersion) {
    const expected = ifMatch(request.headers['if-match']);
    if (expected !== undefined) raw.expectedVersion = expected;
  }
  const key = request.headers['idempotency-key'];
  if (binding.takesKey && key !== undefined) raw.idempotencyKey = unquoted(key);
  if (binding.takesBody === 'parameters') return { ...membersOfBody(request.body), ...raw };
  if (binding.takesBody) raw.body = request.body;
  else if (!hasFile && !isEmpty(request.body)) throw unexpectedBody();
  return raw;
}

function membersOfBody(body: unknown): object {
  if (body === undefined || body === null) return {};
  if (typeof body === 'object' && !Array.isArray(body)) return body;
  const message = 'Send a JSON object.';
  throw new Problem('invalid_input', message, { errors: [{ pointer: '', code: 'invalid_type', message }] });
}

/** `{}` is what clients send that cannot send nothing. */
function isEmpty(body: unknown): boolean {
  return (
    body === undefined ||
    body === null ||
    (typeof body === 'object' && !Array.isArray(body) && Object.keys(body).length === 0)
  );
}

/** To leave unread what somebody says is to answer another question. */
function unexpectedBody(): Problem {
  const message = 'This endpoint takes no body: send parameters in the query.';
  return new Problem('invalid_input', message, { errors: [{ pointer: '', code: 'unexpected_body', message }] });
}

/** The draft writes the key as a quoted string; many clients send it bare. */
function unquoted(key: string | string[]): string {
  const text = Array.isArray(key) ? key.join() : key;
  return /^"[^"\\]*"$/.test(text) ? text.slice(1, -1) : text;
}

function ifMatch(header: string | undefined): number | '*' | undefined {
  if (header === undefined || header === '*') return header;
  const match = /^"(\d{1,10})(-public)?(-customer|-partner-[0-9a-f]{6})?"$/.exec(header);
  if (match) return Number(match[1]);
  throw new Problem('version_mismatch', 'If-Match is not an ETag of this record, which looks like "3".', {
    errors: [{ parameter: 'If-Match', code: 'invalid_etag', message: 'Send the ETag of the record, or *.' }],
  });
}

async function send(
  target: Route,
  request: FastifyRequest,
  reply: FastifyReply,
  answer: Answer,
  context: Context,
  other: Representation<never> | null,
) {
  const { operation } = target;
  if (operation.kind === 'read' && operation.document) {
    const { text, headers } = operation.document.of(answer.output as never); // its own output
    return reply.headers(headers).send(text.stream());
  }
  const output = answer.output as { id?: string; version?: number; deleted?: boolean; page?: { next: string | null } }; // read if there
  if (answer.replayed) reply.header('Idempotency-Replayed', 'true');
  if (target.method === 'DELETE' && output.deleted !== false) return reply.code(204).send();
  reply.code(answer.status);
  if ((answer.status === 201 || answer.status === 202) && output.id && target.collection)
    reply.header('Location', `${target.collection}/${output.id}`);
  if (output.version !== undefined) {
    const viewer = `${context.personalData ? '' : '-public'}${viewerTag(context.principal, fieldsOf(context))}`;
    const etag = `"${output.version}${viewer}"`;
    reply.header('ETag', etag);
    const seen = request.method === 'GET' && target.conditional && matches(request.headers['if-none-match'], etag);
    if (seen) return reply.code(304).send();
  }
  // The next page of what was asked in a body is asked in a body.
  if (output.page?.next && target.parameters === 'query') {
    const url = new URL(request.url, 'http://self');
    url.searchParams.set('after', output.page.next);
    reply.header('Link', `<${url.pathname}${url.search}>; rel="next"`);
  }
  if (other) {
    reply.headers({ 'Content-Type': `${other.media}; charset=utf-8`, ...other.headers });
    return reply.send(await other.of(answer.output as never)); // its own output
  }
  reply.header('Content-Type', 'application/json; charset=utf-8');
  return reply.send(answer.text ?? JSON.stringify(answer.output));
}

function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((one) => one.trim() === '*' || one.trim().replace(/^W\//, '') === etag);
}
