import type { FastifyBaseLogger } from 'fastify';
import { GraphQLError, type GraphQLFormattedError } from 'graphql';
import { type FieldError, Problem } from '../errors.ts';
import { asProblem } from '../http/problems.ts';
import { beyondSafeInteger } from './scalars.ts';

/** Codes that only this door has, beside those of errors.ts. */
export const graphqlProblemTypes = {
  graphql_syntax_error: 400,
  graphql_validation_failed: 400,
  graphql_variables_invalid: 400,
  graphql_query_too_complex: 400,
} as const;

type GraphqlProblemCode = keyof typeof graphqlProblemTypes;

/** The document or its variables are refused and nothing was run: the answer has no `data`. */
export class RequestRefused extends Error {
  readonly errors: GraphQLFormattedError[];
  /** Of an answer as application/graphql-response+json; application/json has 200 for a well-formed request. */
  readonly status: number;

  constructor(errors: GraphQLFormattedError[], status = 400) {
    super('request refused');
    this.errors = errors;
    this.status = status;
  }
}

/** A refusal with one of this door's own codes. */
export function refuse(
  code: GraphqlProblemCode,
  message: string,
  errors: FieldError[] = [],
  moreErrors = false,
): RequestRefused {
  const short = errors.map((error) => ({ ...error, message: brief(error.message) }));
  const extensions = { ...own(code, short), ...(moreErrors && { moreErrors }) };
  return new RequestRefused([{ message: brief(message), extensions }]);
}

/** Errors of graphql-js about the document, which name no data but the document's own. */
export function refuseDocument(code: GraphqlProblemCode, errors: readonly GraphQLError[]): RequestRefused {
  return new RequestRefused(
    errors.map((error) => ({ ...error.toJSON(), message: brief(error.message), extensions: own(code, []) })),
  );
}

/** graphql-js quotes what it was given, however long it is. */
function brief(message: string): string {
  return message.length <= 500
    ? message
    : `${message.slice(0, 400).toWellFormed()} … ${message.slice(-80).toWellFormed()}`;
}

function own(code: GraphqlProblemCode, errors: FieldError[]): Record<string, unknown> {
  return { code, status: graphqlProblemTypes[code], ...(errors.length > 0 && { errors }) };
}

const argumentOf: Record<string, string> = {
  'If-Match': 'expectedVersion',
  'Idempotency-Key': 'idempotencyKey',
  limit: 'first',
  source: 'reference',
  externalId: 'reference',
};

/** The argument that stands for a parameter of REST. */
export function argumentName(parameter: string): string {
  return argumentOf[parameter] ?? parameter;
}

/** A problem as this door spells it: the same members in `extensions`, parameters under the names of the arguments. */
export function problemError(problem: Problem): GraphQLFormattedError {
  const { message, code, status, faults, extra } = problem.withErrors((error) =>
    error.parameter === undefined ? error : { ...error, parameter: argumentName(error.parameter) },
  );
  return { message, extensions: { code, status, ...faults, ...extra } };
}

export interface Answered {
  errors: GraphQLFormattedError[];
  /** Headers of the refusals, e.g. Retry-After while the database is away. */
  headers: Record<string, string>;
}

/**
 * What went wrong in fields. A null where none may be and a value that does not fit its scalar are not the client's
 * doing: both become `internal_error`.
 */
export function describe(errors: readonly GraphQLError[], log: FastifyBaseLogger, requestId: string): Answered {
  const headers: Record<string, string> = {};
  const described = errors.map((error) => {
    const { message, extensions } = describeOne(error, log, requestId, headers);
    return {
      message,
      ...(error.locations && error.locations.length > 0 && { locations: error.locations }),
      ...(error.path && { path: error.path }),
      ...(extensions && { extensions }),
    };
  });
  return { errors: described, headers };
}

function describeOne(
  error: GraphQLError,
  log: FastifyBaseLogger,
  requestId: string,
  headers: Record<string, string>,
): GraphQLFormattedError {
  const cause = error.originalError ?? error;
  const problem = cause instanceof GraphQLError ? null : asProblem(cause);
  if (problem) {
    const { 'Retry-After': retryAfter } = problem.headers;
    if (retryAfter !== undefined) headers['Retry-After'] = retryAfter;
    return problemError(problem);
  }
  const tooLarge = error.message.startsWith(beyondSafeInteger);
  // Messages of the executor quote the value that does not fit.
  const loggable = cause instanceof GraphQLError ? new TypeError('An answer does not fit the GraphQL schema') : cause;
  log.error({ err: loggable, requestId, route: '/graphql' }, 'unforeseen error');
  return problemError(
    new Problem(
      'internal_error',
      tooLarge
        ? `${beyondSafeInteger}: the value of this field is larger.`
        : 'Something went wrong here. The request id helps to find it in the log.',
      { extra: { instance: requestId } },
    ),
  );
}
