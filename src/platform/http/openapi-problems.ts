import { z } from 'zod';
import { fieldError, moreErrors, problemCode } from '../batch.ts';
import { type ProblemCode, problemCodes, statusOf, titleOf } from '../errors.ts';
import type { Json } from './openapi-schemas.ts';
import type { Route } from './rest.ts';

/** The body of every refusal. */
export const problemBody = z
  .looseObject({
    type: z.string().meta({ format: 'uri', example: 'urn:rapport:problem:invalid_input' }),
    title: z.string().meta({ description: 'The kind of problem, in words.', example: titleOf('invalid_input') }),
    status: z.int().min(400).max(599).meta({ description: 'The HTTP status again.', example: 422 }),
    detail: z.string().meta({ description: 'What is wrong with this request.', example: '/total: Required.' }),
    instance: z.string().meta({ description: 'The request id, which helps to find it in the log.' }),
    code: problemCode.meta({
      id: 'ProblemCode',
      description: 'Stable, for programs.',
      example: 'invalid_input',
    }),
    errors: z
      .array(fieldError)
      .optional()
      .meta({ description: 'Where the faults are, as far as the input could be read; at most 100.' }),
    moreErrors: moreErrors.optional(),
    id: z.string().optional().meta({ description: 'With `already_exists`: the record there is.' }),
    version: z.int().optional().meta({ description: 'With `version_mismatch`: the version there is.' }),
    scope: z.string().optional().meta({ description: 'With `insufficient_scope`: the scope that is needed.' }),
  })
  .meta({ id: 'Problem', description: 'Problem details of RFC 9457.' });

/** Every problem that a route can answer: its operation's own, and what follows from the shape of its input. */
export function problemsOf({ method, operation }: Route): ProblemCode[] {
  const shape = operation.input.shape;
  const codes = new Set<ProblemCode>([
    ...(['invalid_request', 'rate_limited'] as const),
    ...(operation.public ? [] : (['unauthenticated', 'insufficient_scope', 'not_supported'] as const)),
    ...(['invalid_input', 'unsupported_parameter', 'internal_error', 'unavailable', 'busy'] as const),
    ...(operation.problems ?? []),
  ]);
  const add = (...more: ProblemCode[]) => {
    for (const code of more) codes.add(code);
  };
  // A body that nobody asked for is read, and refused, all the same.
  if (method !== 'GET') add('invalid_json', 'body_too_large', 'unsupported_media_type');
  if (operation.kind === 'write') add('conflict');
  if ('after' in shape) add('invalid_cursor');
  if ('expectedVersion' in shape) add('version_mismatch');
  if (shape.expectedVersion && !accepts(shape.expectedVersion, undefined)) add('version_required');
  if ('idempotencyKey' in shape) add('idempotency_key_in_flight', 'idempotency_key_reused');
  if (operation.kind === 'write' && operation.idempotency === 'required') add('idempotency_key_required');
  return problemCodes().filter((code) => codes.has(code));
}

const headersOf: Partial<Record<number, readonly string[]>> = {
  401: ['WWW-Authenticate'],
  403: ['WWW-Authenticate'],
  429: ['Retry-After', 'RateLimit', 'RateLimit-Policy'],
  503: ['Retry-After'],
};

/** The responses of a set of problems by status; the same set of codes is described once, as a component. */
export function problemResponses(codes: readonly ProblemCode[], responses: Map<string, Json>): Json {
  const statuses = [...new Set(codes.map((code) => statusOf(code)))];
  return Object.fromEntries(
    statuses.map((status) => {
      const group = codes.filter((code) => statusOf(code) === status);
      const name = group.map(pascalCase).join('Or');
      if (!responses.has(name)) responses.set(name, problemResponse(status, group));
      return [String(status), { $ref: `#/components/responses/${name}` }];
    }),
  );
}

function problemResponse(status: number, codes: readonly ProblemCode[]): Json {
  const headers = headersOf[status];
  return {
    description: codes.map((code) => `${titleOf(code)} (\`${code}\`).`).join(' '),
    ...(headers && { headers: headerReferences(headers) }),
    content: {
      'application/problem+json': {
        schema: {
          allOf: [{ $ref: '#/components/schemas/Problem' }],
          properties: { status: { const: status }, code: { enum: codes } },
        },
        examples: Object.fromEntries(codes.map((code) => [code, { $ref: `#/components/examples/${code}` }])),
      },
    },
  };
}

export function accepts(schema: z.core.$ZodType, value: unknown): boolean {
  return z.safeParse(schema, value).success;
}

export function headerReferences(names: readonly string[]): Json {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

/** An example per code. */
export function problemExamples(codes: readonly ProblemCode[]): Json {
  return Object.fromEntries(
    problemCodes()
      .filter((code) => codes.includes(code))
      .map((code) => {
        const title = titleOf(code);
        const value = {
          type: `urn:rapport:problem:${code}`,
          title,
          status: statusOf(code),
          detail: `${title}.`,
          instance: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90',
          code,
        };
        return [code, { value }];
      }),
  );
}

function pascalCase(code: string): string {
  return code.replaceAll(/(?:^|_)([a-z])/g, (_match, letter: string) => letter.toUpperCase());
}
