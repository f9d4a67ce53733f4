import { headerReferences, problemResponses } from './openapi-problems.ts';
import type { Json } from './openapi-schemas.ts';

/** Sections of the addresses that are no operations. */
export const serviceSections: Record<string, string> = {
  graphql: 'The second door onto the same operations: same names, scopes, validation and errors.',
  service: 'Health and the documents of the contract.',
};

/** The addresses that are no operations: the GraphQL door, health, and this document. */
export function servicePaths(responses: Map<string, Json>): Record<string, Json> {
  const guarded = problemResponses(['unauthenticated', 'not_supported', 'rate_limited', 'unavailable'], responses);
  return {
    '/graphql': { post: graphql },
    '/schema.graphql': {
      get: {
        operationId: 'getGraphqlSchema',
        tags: ['graphql'],
        summary: 'Read the GraphQL schema',
        description: 'In the schema definition language. Any valid token will do.',
        security: [{ bearerAuth: [] }],
        responses: {
          200: {
            description: 'The schema.',
            headers: headerReferences(['RateLimit', 'RateLimit-Policy']),
            content: { 'application/graphql': { schema: { type: 'string' } } },
          },
          ...guarded,
        },
      },
    },
    '/livez': {
      get: {
        operationId: 'getLiveness',
        tags: ['service'],
        summary: 'Is the process alive?',
        description: 'Answers as long as the process does, whatever the database does. Needs no token.',
        security: [],
        responses: { 200: healthy('Alive.', ['alive']) },
      },
    },
    '/readyz': {
      get: {
        operationId: 'getReadiness',
        tags: ['service'],
        summary: 'Can the service serve?',
        description: 'The database is in reach and migrated, and the process is not about to stop. Needs no token.',
        security: [],
        responses: {
          200: healthy('Ready.', ['ready']),
          503: {
            ...healthy('Not now.', ['draining', 'database_unreachable', 'migrations_pending']),
            headers: headerReferences(['Retry-After']),
          },
        },
      },
    },
    '/openapi.json': {
      get: {
        operationId: 'getOpenapi',
        tags: ['service'],
        summary: 'Read this document',
        description: 'The contract of the REST door. Needs no token. `/docs` shows it.',
        security: [],
        responses: {
          200: { description: 'OpenAPI 3.1.', content: { 'application/json': { schema: { type: 'object' } } } },
        },
      },
    },
  };
}

function healthy(description: string, statuses: string[]): Json {
  return {
    description,
    content: {
      'application/json': {
        schema: {
          type: 'object',
          properties: { status: { type: 'string', enum: statuses } },
          required: ['status'],
          additionalProperties: false,
        },
      },
    },
  };
}

const answer = {
  schema: {
    type: 'object',
    properties: {
      data: { description: 'What was asked for; null where a field failed.', type: ['object', 'null'] },
      errors: {
        description: 'Each with the `code` and `errors` that REST has, in `extensions`.',
        type: 'array',
        items: {
          type: 'object',
          properties: { message: { type: 'string' }, extensions: { type: 'object' } },
          required: ['message'],
        },
      },
      extensions: {
        description: '`cost`: what the query was estimated at, and the limit.',
        type: 'object',
      },
    },
  },
};

const graphql: Json = {
  operationId: 'graphql',
  tags: ['graphql'],
  summary: 'Ask a GraphQL query or mutation',
  description:
    'GraphQL over HTTP, one request at a time. Each field needs the scope of its operation. Depth, aliases, tokens and a cost that multiplies page sizes are limited before anything runs; mutations take `idempotencyKey`, `expectedVersion` and `dryRun` as arguments. `/schema.graphql` is the schema, `/graphiql` an explorer.',
  security: [{ bearerAuth: [] }],
  parameters: [
    {
      name: 'Idempotency-Key',
      in: 'header',
      description: 'For a request with one mutation; several have the argument `idempotencyKey`.',
      schema: { type: 'string', maxLength: 255 },
      example: '8e03978e-40d5-43dd-bc93-6894a57f9324',
    },
  ],
  requestBody: {
    required: true,
    content: {
      'application/json': {
        schema: {
          type: 'object',
          properties: {
            query: { type: 'string', minLength: 1 },
            operationName: { type: ['string', 'null'] },
            variables: { type: ['object', 'null'] },
            extensions: { type: ['object', 'null'] },
          },
          required: ['query'],
          additionalProperties: false,
        },
        example: { query: '{ __typename }' },
      },
    },
  },
  responses: {
    200: {
      description: 'Asked for application/json, every request that could be read is answered with 200.',
      headers: headerReferences(['RateLimit', 'RateLimit-Policy', 'Idempotency-Replayed']),
      content: { 'application/graphql-response+json': answer, 'application/json': answer },
    },
    default: {
      description: 'Refused before it ran: the statuses and codes of REST, in the shape of GraphQL.',
      content: { 'application/graphql-response+json': answer, 'application/json': answer },
    },
  },
};
