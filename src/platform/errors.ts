/** One fault in the input: where it is and what is wrong with it. */
export interface FieldError {
  /** JSON Pointer into the request body (GraphQL: into `input`). */
  pointer?: string;
  /** Name of the query, path or header parameter (GraphQL: of the argument). */
  parameter?: string;
  code: string;
  message: string;
}

/** The codes that any operation may answer, with their HTTP status and title. */
const generalProblems = {
  invalid_request: [400, 'The request cannot be read'],
  invalid_json: [400, 'The body is not valid JSON'],
  invalid_cursor: [400, 'The cursor is not one of this list'],
  idempotency_key_required: [400, 'Idempotency-Key is required'],
  unauthenticated: [401, 'A valid bearer token is required'],
  insufficient_scope: [403, 'The token lacks a scope'],
  not_shared: [403, 'It is not shared with the caller'],
  not_supported: [403, 'Not supported for this token'],
  not_found: [404, 'Not found'],
  method_not_allowed: [405, 'Method not allowed'],
  not_acceptable: [406, 'Not acceptable'],
  request_timeout: [408, 'The request took too long to arrive'],
  already_exists: [409, 'It exists already'],
  already_undone: [409, 'It was undone already'],
  not_undoable: [409, 'It cannot be undone'],
  idempotency_key_in_flight: [409, 'A request with this Idempotency-Key is in flight'],
  conflict: [409, 'Concurrent changes kept colliding'],
  deleted: [410, 'It was deleted'],
  version_mismatch: [412, 'The version is stale'],
  body_too_large: [413, 'The body is too large'],
  unsupported_media_type: [415, 'Unsupported media type'],
  invalid_input: [422, 'The input is invalid'],
  broken_upload: [422, 'The file cannot be read'],
  batch_refused: [422, 'The batch was refused'],
  unsupported_parameter: [422, 'Unknown or unsupported parameter'],
  idempotency_key_reused: [422, 'The Idempotency-Key was used with another payload'],
  version_required: [428, 'The expected version is required'],
  rate_limited: [429, 'Too many requests'],
  headers_too_large: [431, 'The headers are too large'],
  internal_error: [500, 'Internal error'],
  unavailable: [503, 'Temporarily unavailable'],
  busy: [503, 'Too busy at the moment'],
} as const satisfies Record<string, readonly [number, string]>;

declare const declared: unique symbol;

/** A code of this file, or one that `problemType` has made: no other compiles. */
export type ProblemCode = keyof typeof generalProblems | (string & { readonly [declared]: true });

const problemTypes = new Map<ProblemCode, readonly [status: number, title: string]>();
for (const [code, type] of Object.entries(generalProblems)) problemTypes.set(code as ProblemCode, type); // its own keys

/** Declares a problem, next to what throws it. */
export function problemType<const C extends string>(
  code: C,
  status: number,
  title: string,
): C & { readonly [declared]: true } {
  const made = code as C & { readonly [declared]: true }; // here is where it is declared
  if (problemTypes.has(made)) throw new Error(`The problem ${code} is declared twice`);
  problemTypes.set(made, [status, title]);
  return made;
}

/** Every code a client can meet, by status and name: for both doors and the documents. */
export function problemCodes(): ProblemCode[] {
  return [...problemTypes.keys()].sort((a, b) => statusOf(a) - statusOf(b) || (a < b ? -1 : 1));
}

export function statusOf(code: ProblemCode): number {
  return typeOf(code)[0];
}

export function titleOf(code: ProblemCode): string {
  return typeOf(code)[1];
}

function typeOf(code: ProblemCode): readonly [status: number, title: string] {
  const type = problemTypes.get(code);
  if (!type) throw new RangeError(`The problem ${code} is not declared`);
  return type;
}

/** The most faults that an answer tells. */
export const mostErrors = 100;

/** An answer of RFC 9457. Thrown anywhere; each door spells it its own way. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly errors: FieldError[];
  /** Whether there are faults beyond those in `errors`. */
  readonly moreErrors: boolean;
  /** Members beyond the standard ones, e.g. `id` of the record that exists already. */
  readonly extra: Record<string, string | number>;
  readonly headers: Record<string, string>;

  constructor(
    code: ProblemCode,
    detail: string,
    more: {
      errors?: readonly FieldError[];
      moreErrors?: boolean;
      extra?: Record<string, string | number>;
      headers?: Record<string, string>;
    } = {},
  ) {
    super(detail);
    this.code = code;
    const { errors = [], moreErrors = false } = more;
    this.errors = errors.slice(0, mostErrors);
    this.moreErrors = moreErrors || errors.length > mostErrors;
    this.extra = more.extra ?? {};
    this.headers = more.headers ?? {};
  }

  get status(): number {
    return statusOf(this.code);
  }

  /** The faults as both doors answer them. */
  get faults(): { errors?: FieldError[]; moreErrors?: true } {
    return {
      ...(this.errors.length > 0 && { errors: this.errors }),
      ...(this.moreErrors && { moreErrors: true }),
    };
  }

  /** The same problem, whose faults stand elsewhere or have other names. */
  withErrors(change: (error: FieldError) => FieldError): Problem {
    const { code, message, errors, moreErrors, extra, headers } = this;
    return new Problem(code, message, { errors: errors.map(change), moreErrors, extra, headers });
  }

  /** The members both doors answer; `instance` is the request id. */
  toBody(instance: string): Record<string, unknown> {
    return {
      type: `urn:rapport:problem:${this.code}`,
      title: titleOf(this.code),
      status: this.status,
      detail: this.message,
      instance,
      code: this.code,
      ...this.faults,
      ...this.extra,
    };
  }
}

export function notFound(what: string): Problem {
  return new Problem('not_found', `There is no such ${what}.`);
}

/** A single fault at a place of the body. */
export function invalid(pointer: string, code: string, message: string): Problem {
  return new Problem('invalid_input', message, { errors: [{ pointer, code, message }] });
}

/** Clocks may differ by this much, milliseconds. */
const clockTolerance = 600_000;

/** What is told has happened: `at` is at most ten minutes ahead of `now`. @throws Problem in_the_future */
export function checkNotAhead(
  at: string,
  now: string,
  pointer: string,
  place: Pick<FieldError, 'pointer' | 'parameter'> = { pointer },
): void {
  if (Date.parse(at) <= Date.parse(now) + clockTolerance) return;
  const message = `${pointer.replace('/', '')} is more than ten minutes ahead of the clock of the service.`;
  throw new Problem('invalid_input', message, { errors: [{ ...place, code: 'in_the_future', message }] });
}

/** What `work` answers, or the problem it throws: one item's fault stays in its place. Other errors are thrown. */
export function orProblem<T>(work: () => T): T | Problem {
  try {
    return work();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}
