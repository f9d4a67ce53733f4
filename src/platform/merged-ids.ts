import { Problem } from './errors.ts';

/** Id → the id that its record has now. */
export type Redirects = ReadonlyMap<string, string>;

/**
 * Thrown in a transaction by whoever looked for records that go by other ids now: it is run again, by `call` with the ids
 * of today in its input.
 */
export class IdsMerged extends Error {
  readonly redirects: Redirects;

  constructor(redirects: Redirects) {
    super('a record goes by another id now');
    this.redirects = redirects;
  }
}

/** An address that names a record by an id it had before; a door that has addresses sends the caller to the one of today. */
export class Redirected extends Error {
  readonly redirects: Redirects;

  constructor(redirects: Redirects) {
    super('a record has another address now');
    this.redirects = redirects;
  }
}

/** Whether an error may come of an id that its record had before: then the call begins anew. */
export function mayBeMerged(error: unknown): boolean {
  if (error instanceof IdsMerged) return true;
  if (!(error instanceof Problem)) return false;
  return (
    error.code === 'not_found' ||
    error.code === 'invalid_cursor' ||
    error.errors.some(({ code }) => code === 'not_found')
  );
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Every id in an input, however deep, in lower case. */
export function idsIn(value: unknown, found: Set<string> = new Set()): Set<string> {
  if (typeof value === 'string') {
    if (uuid.test(value)) found.add(value.toLowerCase());
  } else if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) idsIn(member, found);
  }
  return found;
}

/** The same input with the ids of today. */
export function withRedirects(value: unknown, redirects: Redirects): unknown {
  if (typeof value === 'string') return redirects.get(value.toLowerCase()) ?? value;
  if (Array.isArray(value)) return value.map((item) => withRedirects(item, redirects));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withRedirects(member, redirects)]));
}
