import { setTimeout as sleep } from 'node:timers/promises';

/** The service answered with a problem that waiting does not cure, or did not answer at all. */
export class ServiceError extends Error {
  override name = 'ServiceError';
  /** 0: there was no answer. */
  readonly status: number;
  readonly code: string | null;
  /** Codes of the single faults of the input. */
  readonly faults: string[];

  constructor(message: string, status: number, code: string | null = null, faults: string[] = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.faults = faults;
  }
}

export interface ServiceClient {
  /**
   * One request; the answer's JSON. Waits and repeats while the service is busy or away, so what is sent has to be
   * repeatable: a read, an upsert, or a write under an Idempotency-Key.
   *
   * @param body a value, or JSON text that was made already
   * @throws ServiceError
   */
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<unknown>;
}

export interface ServiceAddress {
  /** `http://127.0.0.1:3000` */
  url: string;
  token: string;
  /** Told in a sentence why a request has to wait; once per wait. */
  onWait?: (message: string) => void;
  /** How long a service that is away is waited for, milliseconds. Default: two minutes. */
  patience?: number;
  /** Ends the waiting. */
  signal?: AbortSignal;
}

/** Where a command that talks to a running service finds it: RAPPORT_URL and RAPPORT_TOKEN. @throws ServiceError */
export function serviceAddress(scopes: string): { url: string; token: string } {
  const url = process.env.RAPPORT_URL || 'http://127.0.0.1:3000';
  const token = process.env.RAPPORT_TOKEN;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new ServiceError('RAPPORT_URL is not an address such as http://127.0.0.1:3000.', 0);
  }
  if (!token) {
    throw new ServiceError(
      'RAPPORT_TOKEN is not set. One for a service on this machine:\n' +
        `  export RAPPORT_TOKEN=$(npm run -s token -- --scope "${scopes}")`,
      0,
    );
  }
  return { url, token };
}

const longestPause = 30_000;
const requestTimeout = 120_000;
const busy = new Set([429, 502, 503, 504]);

/** A client for scripts that talk to a running service: one bearer token, `Retry-After` obeyed. */
export function serviceClient({ url, token, onWait, patience = 120_000, signal }: ServiceAddress): ServiceClient {
  const origin = url.replace(/\/+$/, '');
  return {
    async request(method, path, body, headers) {
      const started = Date.now();
      for (let attempt = 0; ; attempt += 1) {
        const answer = await send(origin + path, {
          method,
          headers: {
            Authorization: `Bearer ${token}`,
            Accept: 'application/json',
            ...(body !== undefined && { 'Content-Type': 'application/json' }),
            ...headers,
          },
          ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
        });
        if (!(answer instanceof ServiceError)) return answer.value;
        const { pause, error } = waitFor(answer, attempt);
        if (pause === null || Date.now() - started + pause > patience) throw error;
        onWait?.(`${error.message} Trying again in ${Math.ceil(pause / 1000)} s.`);
        await sleep(pause, undefined, signal ? { signal } : {}).catch(() => {
          throw error;
        });
      }
    },
  };
}

/** Carries what `Retry-After` asked for from the answer to the loop. */
class Busy extends ServiceError {
  readonly retryAfter: number | null;

  constructor(message: string, status: number, code: string | null, retryAfter: number | null) {
    super(message, status, code);
    this.retryAfter = retryAfter;
  }
}

function waitFor(error: ServiceError, attempt: number): { pause: number | null; error: ServiceError } {
  const growing = Math.min(longestPause, 250 * 2 ** attempt);
  if (error instanceof Busy) return { pause: error.retryAfter ?? growing, error };
  // Two writers met, or the same key is being answered by an attempt whose connection broke.
  if (error.code === 'conflict' || error.code === 'idempotency_key_in_flight') return { pause: growing, error };
  return { pause: error.status === 0 ? growing : null, error };
}

async function send(url: string, init: RequestInit): Promise<{ value: unknown } | ServiceError> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, { ...init, signal: AbortSignal.timeout(requestTimeout) });
    text = await response.text();
  } catch (error) {
    return new ServiceError(`${new URL(url).origin} does not answer (${reasonOf(error)}).`, 0);
  }
  const value = parseJson(text);
  if (response.ok) return { value };
  const { code, detail, errors } = (value ?? {}) as { code?: string; detail?: string; errors?: { code: string }[] }; // problem+json
  const message = `${init.method} ${new URL(url).pathname} answered ${response.status}: ${detail ?? text.slice(0, 200)}`;
  if (busy.has(response.status)) {
    return new Busy(message, response.status, code ?? null, retryAfter(response.headers.get('retry-after')));
  }
  const faults = (errors ?? []).map((fault) => fault.code);
  return new ServiceError(message, response.status, code ?? null, faults);
}

/** RFC 9110: seconds, or an HTTP date. */
function retryAfter(header: string | null): number | null {
  if (header === null) return null;
  if (/^\d{1,6}$/.test(header)) return Number(header) * 1000;
  const until = Date.parse(header);
  return Number.isNaN(until) ? null : Math.max(0, until - Date.now());
}

function parseJson(text: string): unknown {
  try {
    return text === '' ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause;
  return cause instanceof Error ? cause.message || cause.name : error.message;
}
