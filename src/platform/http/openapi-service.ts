import type { Operation } from '../operation.ts';
import { selfServiceScopes } from '../served-operations.ts';
import { headerReferences, problemResponses } from './openapi-problems.ts';
import type { Json } from './openapi-schemas.ts';

/** Sections of the addresses that are no operations. */
export const serviceSections: Record<string, string> = {
  graphql: 'The same operations over GraphQL, with the same names, scopes, validation and errors.',
  oauth: 'Tokens for clients that prove themselves with a secret; form bodies and errors as in RFC 6749.',
  service: 'Health, what the service tells of itself, and the documents of the contract.',
};

/** The addresses that are no operations: the GraphQL door, health, and this document. */
export function servicePaths(responses: Map<string, Json>, operations: readonly Operation[]): Record<string, Json> {
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
    ...oauthPaths(responses, operations),
    '/livez': {
      get: {
        operationId: 'getLiveness',
        tags: ['service'],
        summary: 'Is the process alive?',
        description: 'Answers while the process runs, whatever the state of the database. Needs no token.',
        security: [],
        responses: { 200: healthy('Alive.', ['alive']) },
      },
    },
    '/readyz': {
      get: {
        operationId: 'getReadiness',
        tags: ['service'],
        summary: 'Can the service serve?',
        description: 'The database can be reached and is migrated, and the process is not stopping. Needs no token.',
        security: [],
        responses: {
          200: healthy('Ready.', ['ready'], {
            checks,
            warnings: {
              type: 'array',
              items: { type: 'string', enum: ['time_zones_differ'] },
              description:
                'Left out if there is nothing to look at. `time_zones_differ`: Node.js and PostgreSQL disagree about the clocks of the reporting zone; the log says since when and what to do.',
            },
          }),
          503: {
            ...healthy('Not ready.', ['draining', 'database_unreachable', 'migrations_pending'], {
              checks,
              missing: { type: 'array', items: { type: 'string' }, description: 'Migrations that are pending.' },
              warnings: { type: 'array', items: { type: 'string' } },
            }),
            headers: headerReferences(['Retry-After']),
          },
        },
      },
    },
    '/metrics': {
      get: {
        operationId: 'getServiceMetrics',
        tags: ['service'],
        summary: 'Read what the service tells of itself',
        description:
          'For Prometheus: rate and latency by operation, connections, locks, background jobs, the feed of changes, memory. Of all processes that share the port together. Needs the scope `service:watch`. The numbers about customers are at `/v1/metrics`.',
        security: [{ bearerAuth: [] }],
        responses: {
          200: {
            description: 'The text format of Prometheus.',
            headers: headerReferences(['RateLimit', 'RateLimit-Policy']),
            content: { 'text/plain': { schema: { type: 'string' } } },
          },
          ...problemResponses(
            ['unauthenticated', 'insufficient_scope', 'not_supported', 'rate_limited', 'unavailable'],
            responses,
          ),
        },
      },
    },
    '/openapi.json': {
      get: {
        operationId: 'getOpenapi',
        tags: ['service'],
        summary: 'Read this document',
        description: 'The contract of the REST API. Needs no token. `/docs` shows it.',
        security: [],
        responses: {
          200: { description: 'OpenAPI 3.1.', content: { 'application/json': { schema: { type: 'object' } } } },
        },
      },
    },
  };
}

/** OAuth speaks a language of its own, so these are no operations. */
function oauthPaths(responses: Map<string, Json>, operations: readonly Operation[]): Record<string, Json> {
  const scopes = selfServiceScopes(operations)
    .map((scope) => `\`${scope}\``)
    .join(', ');
  const limited = problemResponses(['rate_limited', 'unavailable'], responses);
  const off = problemResponses(['not_found'], responses);
  const form = (properties: Record<string, Json>, required: string[], example: Json): Json => ({
    required: true,
    content: {
      'application/x-www-form-urlencoded': {
        schema: { type: 'object', properties: { ...properties, ...credentials }, required },
        example,
      },
    },
  });
  const document = (operationId: string, summary: string, description: string, media: string): Json => ({
    operationId,
    tags: ['oauth'],
    summary,
    description,
    security: [],
    responses: { 200: { description: 'The document.', content: { [media]: { schema: { type: 'object' } } } }, ...off },
  });
  return {
    '/oauth/token': {
      post: {
        operationId: 'issueToken',
        tags: ['oauth'],
        summary: 'Get a token',
        description: `The client credentials grant (RFC 6749, 4.4), with Basic authorization or the credentials in the body. With \`customer\`, a client with the right to self-service gets a customer token: it lasts at most 15 minutes, is scoped to this customer, and has those of the client’s scopes that a customer token can have: ${scopes}. Not available with an outside provider.`,
        security: [{ clientBasic: [] }, {}],
        requestBody: form(
          {
            grant_type: { type: 'string', enum: ['client_credentials'] },
            scope: { type: 'string', description: 'Separated by spaces. Default: all scopes of the client.' },
            customer: { type: 'string', format: 'uuid', description: 'The one customer the token is scoped to.' },
          },
          ['grant_type'],
          { grant_type: 'client_credentials', scope: 'orders:read' },
        ),
        responses: {
          200: {
            description: 'The token.',
            content: {
              'application/json': {
                schema: {
                  type: 'object',
                  properties: {
                    access_token: { type: 'string' },
                    token_type: { type: 'string', enum: ['Bearer'] },
                    expires_in: { type: 'integer', description: 'Seconds.' },
                    scope: { type: 'string' },
                  },
                  required: ['access_token', 'token_type', 'expires_in', 'scope'],
                  additionalProperties: false,
                },
              },
            },
          },
          ...refusals(['invalid_request', 'unauthorized_client', 'unsupported_grant_type', 'invalid_scope']),
          ...limited,
        },
      },
    },
    '/oauth/revoke': {
      post: {
        operationId: 'revokeOwnToken',
        tags: ['oauth'],
        summary: 'Revoke a token',
        description:
          'RFC 7009: a client revokes a token of its own; within a minute it is refused by all replicas. The answer is also 200 if the token was not valid anyway. Not available with an outside provider.',
        security: [{ clientBasic: [] }, {}],
        requestBody: form({ token: { type: 'string' }, token_type_hint: { type: 'string' } }, ['token'], {
          token: 'eyJhbGciOiJFUzI1NiJ9…',
        }),
        responses: {
          200: { description: 'Revoked, or not valid anyway.' },
          ...refusals(['invalid_request', 'unauthorized_client', 'unsupported_token_type']),
          ...limited,
        },
      },
    },
    '/.well-known/jwks.json': {
      get: document(
        'getKeySet',
        'Read the keys that verify tokens',
        'A key set (RFC 7517) with the public parts of all keys, also of those that sign later. 404 with an outside provider.',
        'application/jwk-set+json',
      ),
    },
    '/.well-known/oauth-authorization-server': {
      get: document(
        'getAuthorizationServer',
        'Read the metadata of the token endpoint',
        'Metadata of RFC 8414. 404 unless the issuer (`JWT_ISSUER`) is the URL of an origin.',
        'application/json',
      ),
    },
  };
}

const credentials: Record<string, Json> = {
  client_id: { type: 'string', description: 'Unless there is Basic authorization.' },
  client_secret: { type: 'string', description: 'Unless there is Basic authorization.' },
};

function refusals(codes: string[]): Record<string, Json> {
  const answer = (description: string, enumeration: string[], more: Json = {}): Json => ({
    description,
    ...more,
    content: {
      'application/json': {
        schema: {
          type: 'object',
          properties: { error: { type: 'string', enum: enumeration }, error_description: { type: 'string' } },
          required: ['error', 'error_description'],
          additionalProperties: false,
        },
      },
    },
  });
  return {
    400: answer('Refused (RFC 6749, 5.2).', codes),
    401: answer('The id or the secret of the client is wrong, or the client is not active.', ['invalid_client'], {
      headers: headerReferences(['WWW-Authenticate']),
    }),
  };
}

const word = (words: string[], description: string): Json => ({ type: 'string', enum: words, description });

const checks: Json = {
  type: 'object',
  description: 'What has to be right, and whether it is.',
  properties: {
    process: word(['ok', 'stopping'], 'Whether it goes on.'),
    database: word(['ok', 'unreachable'], 'Whether the database answers.'),
    migrations: word(
      ['ok', 'pending', 'unknown'],
      '`pending`: `missing` names those that are; run `npm run migrate`. `unknown`: the database did not say.',
    ),
  },
  required: ['process', 'database', 'migrations'],
  additionalProperties: false,
};

function healthy(description: string, statuses: string[], more: Json = {}): Json {
  return {
    description,
    content: {
      'application/json': {
        schema: {
          type: 'object',
          properties: { status: { type: 'string', enum: statuses }, ...more },
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
      data: { description: 'The data that was requested; null where a field failed.', type: ['object', 'null'] },
      errors: {
        description: 'Each with the same `code` and `errors` as over REST, in `extensions`.',
        type: 'array',
        items: {
          type: 'object',
          properties: { message: { type: 'string' }, extensions: { type: 'object' } },
          required: ['message'],
        },
      },
      extensions: {
        description: '`cost`: the estimated cost of the query, and the limit.',
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
      description: 'If you accept application/json, every request that could be read is answered with 200.',
      headers: headerReferences(['RateLimit', 'RateLimit-Policy', 'Idempotency-Replayed']),
      content: { 'application/graphql-response+json': answer, 'application/json': answer },
    },
    default: {
      description: 'Refused before it ran: the statuses and codes of REST, in the shape of GraphQL.',
      content: { 'application/graphql-response+json': answer, 'application/json': answer },
    },
  },
};
