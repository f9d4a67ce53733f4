/** One fault in the input: where it is and what is wrong with it. */
export interface FieldError {
  /** JSON Pointer into the request body (GraphQL: into `input`). */
  pointer?: string;
  /** Name of the query, path or header parameter (GraphQL: of the argument). */
  parameter?: string;
  code: string;
  message: string;
}

/** Every code a client can meet, with its HTTP status and title: one list for both doors and the documents. */
export const problemTypes = {
  invalid_request: [400, 'The request cannot be read'],
  invalid_json: [400, 'The body is not valid JSON'],
  invalid_cursor: [400, 'The cursor is not one of this list'],
  idempotency_key_required: [400, 'Idempotency-Key is required'],
  unauthenticated: [401, 'A valid bearer token is required'],
  insufficient_scope: [403, 'The token lacks a scope'],
  not_shared: [403, 'It is not shared with the caller'],
  group_too_small: [403, 'The group is too small'],
  not_supported: [403, 'Not supported for this token'],
  not_found: [404, 'Not found'],
  method_not_allowed: [405, 'Method not allowed'],
  not_acceptable: [406, 'Not acceptable'],
  already_exists: [409, 'It exists already'],
  person_erased: [409, 'The person was erased'],
  identity_taken: [409, 'The identity belongs to another customer'],
  customer_has_records: [409, 'The customer has records'],
  merged: [409, 'It was merged into another customer'],
  merge_refused: [409, 'The customers cannot be merged'],
  campaign_has_records: [409, 'The campaign has records'],
  survey_has_records: [409, 'The survey has records'],
  partner_has_customers: [409, 'The partner has customers'],
  rule_set_published: [409, 'The rule set is published'],
  lead_model_in_use: [409, 'The model is in use'],
  lead_model_not_ready: [409, 'The model is not ready'],
  programme_published: [409, 'The programme is published'],
  programme_not_published: [409, 'The programme is not published'],
  programme_ended: [409, 'The programme has ended'],
  programme_has_rewards: [409, 'The programme has rewards'],
  already_undone: [409, 'It was undone already'],
  not_undoable: [409, 'It cannot be undone'],
  reward_has_redemptions: [409, 'The reward has redemptions'],
  redemption_cancelled: [409, 'The redemption is cancelled'],
  client_revoked: [409, 'The client is revoked'],
  too_many_secrets: [409, 'Two secrets are live already'],
  issuing_off: [409, 'Tokens come from an outside provider'],
  redemption_fulfilled: [409, 'The redemption is fulfilled'],
  idempotency_key_in_flight: [409, 'A request with this Idempotency-Key is in flight'],
  conflict: [409, 'Concurrent changes kept colliding'],
  deleted: [410, 'It was deleted'],
  link_expired: [410, 'The link has expired'],
  link_used: [410, 'The link was used'],
  version_mismatch: [412, 'The version is stale'],
  body_too_large: [413, 'The body is too large'],
  unsupported_media_type: [415, 'Unsupported media type'],
  invalid_input: [422, 'The input is invalid'],
  batch_refused: [422, 'The batch was refused'],
  unsupported_parameter: [422, 'Unknown or unsupported parameter'],
  insufficient_points: [422, 'There are not enough points'],
  not_available: [422, 'The reward is not available now'],
  tier_required: [422, 'The reward is for a higher tier'],
  limit_reached: [422, 'The customer has as many as one may have'],
  out_of_stock: [422, 'There are not enough pieces left'],
  customer_required: [422, 'A customer is required'],
  question_answered: [422, 'The question was answered already'],
  survey_closed: [422, 'The survey takes no answers'],
  tier_removed: [422, 'A published tier is missing'],
  too_many_orders: [422, 'There are too many orders'],
  idempotency_key_reused: [422, 'The Idempotency-Key was used with another payload'],
  version_required: [428, 'The expected version is required'],
  rate_limited: [429, 'Too many requests'],
  internal_error: [500, 'Internal error'],
  unavailable: [503, 'Temporarily unavailable'],
} as const satisfies Record<string, readonly [number, string]>;

export type ProblemCode = keyof typeof problemTypes;

/** An answer of RFC 9457. Thrown anywhere; each door spells it its own way. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly errors: FieldError[];
  /** Members beyond the standard ones, e.g. `id` of the record that exists already. */
  readonly extra: Record<string, string | number>;
  readonly headers: Record<string, string>;

  constructor(
    code: ProblemCode,
    detail: string,
    more: { errors?: FieldError[]; extra?: Record<string, string | number>; headers?: Record<string, string> } = {},
  ) {
    super(detail);
    this.code = code;
    this.errors = more.errors ?? [];
    this.extra = more.extra ?? {};
    this.headers = more.headers ?? {};
  }

  get status(): number {
    return problemTypes[this.code][0];
  }

  /** The members both doors answer; `instance` is the request id. */
  toBody(instance: string): Record<string, unknown> {
    return {
      type: `urn:rapport:problem:${this.code}`,
      title: problemTypes[this.code][1],
      status: this.status,
      detail: this.message,
      instance,
      code: this.code,
      ...(this.errors.length > 0 && { errors: this.errors }),
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
export function checkNotAhead(at: string, now: string, pointer: string): void {
  if (Date.parse(at) <= Date.parse(now) + clockTolerance) return;
  const message = `${pointer.slice(1)} is more than ten minutes ahead of the clock of the service.`;
  throw invalid(pointer, 'in_the_future', message);
}

/** What `work` answers, or the problem it throws: one item's fault stays in its place. Other errors are thrown. */
export function settle<T>(work: () => T): T | Problem {
  try {
    return work();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}
