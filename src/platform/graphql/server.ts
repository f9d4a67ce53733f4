import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  type DefinitionNode,
  type ExecutionResult,
  execute,
  type FieldNode,
  type GraphQLFormattedError,
  type GraphQLSchema,
  Kind,
} from 'graphql';
import mercurius from 'mercurius';
import { z } from 'zod';
import { originOf } from '../audit.ts';
import { Problem } from '../errors.ts';
import { inputProblem, reportInput } from '../faults.ts';
import { asProblem } from '../http/problems.ts';
import { createContext, requireScope, type Services } from '../operation.ts';
import { type Documents, type KnownOperation, knownDocuments } from './documents.ts';
import { describe, problemError, RequestRefused } from './errors.ts';
import type { FieldContext, Resolvers } from './field.ts';
import { assertAffordable, limits } from './limits.ts';
import { rootFields, runPlanned } from './plan.ts';
import { refusedRoots } from './roots.ts';
import { createSchema } from './schema.ts';
import { coerceVariables } from './variables.ts';

export interface GraphqlOptions {
  /** The printed schema. */
  sdl: string;
  resolvers: readonly Resolvers[];
  /** Introspection needs the scope `schema:read`. */
  production: boolean;
}

const introspectionScope = 'schema:read';
const megabyte = 1024 * 1024;
/** Bytes of a body that nobody types: its faults are told without suggestions. */
const longBody = 64 * 1024;

/**
 * The GraphQL door, on a scope whose requests carry a principal and whose bodies are parsed strictly: `POST /graphql`
 * (nothing by GET, no batched arrays, no subscriptions) and `/schema.graphql`. The route is ours and not mercurius',
 * which takes GET and JSON syntax trees. Documents are run by graphql-js: mercurius' compiler (graphql-jit) answers
 * differently from the second run of a document.
 */
export async function serveGraphql(app: FastifyInstance, services: Services, options: GraphqlOptions): Promise<void> {
  const schema = createSchema(options.sdl, options.resolvers);
  const documents = knownDocuments(schema);

  await app.register(async (scope) => {
    scope.get('/schema.graphql', (_request, reply) =>
      reply.type('application/graphql; charset=utf-8').send(options.sdl),
    );
  });

  await app.register(async (scope) => {
    await scope.register(mercurius, {
      schema,
      routes: false,
      graphiql: false,
      allowBatchedQueries: false,
    });
    scope.setErrorHandler((error, request, reply) => refuseRequest(error, request, reply));
    scope.post('/graphql', { bodyLimit: 16 * megabyte }, async (request, reply) => {
      const type = mediaType(request.headers.accept);
      try {
        const answer = await run({ schema, documents }, services, options, request, reply);
        return send(reply, type, 200, answer);
      } catch (error) {
        if (!(error instanceof RequestRefused)) throw error;
        return send(reply, type, type === responseJson ? error.status : 200, { errors: error.errors });
      }
    });
  });
}

interface Answer {
  errors?: readonly GraphQLFormattedError[];
  data?: unknown;
  extensions?: Record<string, unknown>;
}

async function run(
  { schema, documents }: { schema: GraphQLSchema; documents: Documents },
  services: Services,
  { production }: GraphqlOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Answer> {
  const { query, operationName, variables } = readBody(request.body);
  const operation = documents.find(query, operationName);
  const { principal, ip } = request;
  const origin = originOf('graphql', ip, { anybody: false, principal });
  const context: FieldContext = {
    call: createContext(services, principal, request.id, origin),
    headerKey: operation.kind === 'mutation' ? keyOf(request, operation.rootFields) : null,
    replayed: false,
    batches: new Map(),
    failed: new Map(),
  };
  if (production && operation.introspects) refuseScope(() => requireScope(context.call, introspectionScope));
  if (!operation.batches && request.bodySize > megabyte) {
    throw new Problem('body_too_large', 'Only batches may have a body of more than 1 MB.');
  }
  const cost = operation.cost(variables);
  assertAffordable(cost);
  const result =
    refusedRoots(schema, operation.planned.node, context.call) ??
    (await answerOf(schema, operation, {
      context,
      variables: await coerceVariables(schema, operation.planned.node, variables, {
        suggest: request.bodySize <= longBody,
      }),
    }));
  const { errors, headers } = describe(result.errors ?? [], request.log, request.id);
  reply.headers(headers);
  if (context.replayed) reply.header('Idempotency-Replayed', 'true');
  return {
    ...(errors.length > 0 && { errors }),
    data: result.data ?? null,
    extensions: { cost: { requested: cost, limit: limits.cost } },
  };
}

interface Asked {
  context: FieldContext;
  /** Coerced. */
  variables: Record<string, unknown>;
}

type Result = Pick<ExecutionResult, 'errors'> & { data?: unknown };

/** Root fields that can be planned are; graphql-js resolves the others. */
async function answerOf(schema: GraphQLSchema, operation: KnownOperation, asked: Asked): Promise<Result> {
  const { context, variables } = asked;
  const fields = operation.kind === 'query' ? rootFields(schema, operation.planned, variables) : null;
  if (!fields) return executeFields(schema, operation, null, asked);
  const roots = [...fields];
  const texts = await Promise.all(
    roots.map(async ([key, nodes]) => {
      try {
        return await runPlanned(schema, operation.planned, { key, nodes, variables, context });
      } catch (error) {
        for (const node of nodes) context.failed.set(node, error);
        return null;
      }
    }),
  );
  const left = roots.flatMap(([, nodes], index) => (texts[index] === null ? nodes : []));
  if (texts.every((text) => text === null)) return executeFields(schema, operation, null, asked);
  const rest = left.length === 0 ? null : await executeFields(schema, operation, left, asked);
  if (rest && !rest.data) return rest;
  const members = roots.map(([key], index) => `"${key}":${texts[index] ?? JSON.stringify(rest?.data?.[key] ?? null)}`);
  return { ...(rest?.errors && { errors: rest.errors }), data: new Text(`{${members.join(',')}}`) };
}

/** JSON that is made already. */
class Text {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** @param selections some of the root fields; null: all of them */
async function executeFields(
  schema: GraphQLSchema,
  { planned: { node }, document }: KnownOperation,
  selections: readonly FieldNode[] | null,
  { context, variables }: Asked,
): Promise<ExecutionResult> {
  const definitions = document.definitions.flatMap((one): DefinitionNode[] => {
    if (one.kind !== Kind.OPERATION_DEFINITION) return [one];
    if (one.selectionSet !== node.selectionSet) return [];
    return selections ? [{ ...one, selectionSet: { kind: Kind.SELECTION_SET, selections } } as const] : [one];
  });
  return execute({
    schema,
    document: { kind: Kind.DOCUMENT, definitions },
    contextValue: context,
    variableValues: variables,
  });
}

const bodySchema = z.strictObject({
  query: z.string().min(1),
  operationName: z.string().nullish(),
  variables: z.record(z.string(), z.unknown()).nullish(),
  extensions: z.record(z.string(), z.unknown()).nullish(),
});

function readBody(body: unknown) {
  if (Array.isArray(body)) {
    throw new Problem(
      'invalid_request',
      'Batched requests are not supported: send one at a time, or several fields in one.',
    );
  }
  const parsed = bodySchema.safeParse(body, reportInput);
  if (!parsed.success) {
    const { errors, moreErrors } = inputProblem(parsed.error, { within: ['body'] });
    throw new Problem('invalid_request', 'Send a JSON object with query, and operationName and variables if needed.', {
      errors,
      moreErrors,
    });
  }
  const { query, operationName, variables } = parsed.data;
  return { query, operationName: operationName ?? null, variables: variables ?? {} };
}

/** The header speaks of one operation, so it cannot stand for two mutations. */
function keyOf(request: FastifyRequest, mutations: number): string | null {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return null;
  if (mutations > 1) {
    throw new Problem(
      'invalid_request',
      'The Idempotency-Key header is for a request with one mutation: give each its argument idempotencyKey.',
      { errors: [{ parameter: 'Idempotency-Key', code: 'ambiguous', message: 'Several mutations in the request.' }] },
    );
  }
  const text = Array.isArray(key) ? key.join() : key;
  return /^"[^"\\]*"$/.test(text) ? text.slice(1, -1) : text;
}

function refuseScope(check: () => void): void {
  try {
    check();
  } catch (error) {
    if (error instanceof Problem) throw new RequestRefused([problemError(error)], error.status);
    throw error;
  }
}

const responseJson = 'application/graphql-response+json';
type MediaType = typeof responseJson | 'application/json';

/** What the client wants of the two; application/json where it says nothing. */
function mediaType(accept: string | undefined): MediaType {
  let best: { type: MediaType; quality: number } | null = null;
  for (const part of (accept ?? '*/*').split(',')) {
    const [range = '', ...parameters] = part.split(';').map((piece) => piece.trim().toLowerCase());
    const type =
      range === responseJson
        ? responseJson
        : range === 'application/json' || range === 'application/*' || range === '*/*'
          ? 'application/json'
          : null;
    const quality = Number(parameters.find((one) => one.startsWith('q='))?.slice(2) ?? 1);
    if (type === null || !(quality > 0)) continue;
    if (best === null || quality > best.quality || (quality === best.quality && range === responseJson)) {
      best = { type, quality };
    }
  }
  if (best) return best.type;
  throw new Problem('not_acceptable', `Accept ${responseJson} or application/json: there is no other media type here.`);
}

function send(reply: FastifyReply, type: MediaType, status: number, answer: Answer): FastifyReply {
  return reply
    .code(status)
    .header('Content-Type', `${type}; charset=utf-8`)
    .header('Vary', 'Accept')
    .send(textOf(answer));
}

function textOf(answer: Answer): string {
  const { data, errors, extensions } = answer;
  if (!(data instanceof Text)) return JSON.stringify(answer);
  const failures = errors ? `"errors":${JSON.stringify(errors)},` : '';
  return `{${failures}"data":${data.text},"extensions":${JSON.stringify(extensions)}}`;
}

/** What goes wrong before there is a GraphQL request: no token, no JSON, too many requests. Status and headers as on REST. */
function refuseRequest(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = asProblem(error) ?? unforeseen(error, request);
  const type = request.headers.accept?.includes(responseJson) ? responseJson : 'application/json';
  reply.headers(problem.headers);
  return send(reply, type, problem.status, { errors: [problemError(problem)] });
}

function unforeseen(error: unknown, request: FastifyRequest): Problem {
  request.log.error({ err: error, requestId: request.id, route: '/graphql' }, 'unforeseen error');
  return new Problem('internal_error', 'Something went wrong here. The request id helps to find it in the log.', {
    extra: { instance: request.id },
  });
}
