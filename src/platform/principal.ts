/** Whose records a token is scoped to: those shared with a partner, or those of one customer. */
export interface ScopedTo {
  readonly kind: 'partner' | 'customer';
  /** UUID of the partner or customer. */
  readonly id: string;
}

/** Who calls: what a verified access token says. */
export interface Principal {
  /** The client the token was issued to; what is done in its name says so. */
  readonly client: string;
  /** null: the organisation's own, who see everything their scopes allow. */
  readonly scopedTo: ScopedTo | null;
  /** What idempotency keys and cursors belong to: the client and whom its token is scoped to. */
  readonly key: string;
  readonly scopes: ReadonlySet<string>;
  /** Whether the token grants `scope`; a token with the scope `*` grants every one. */
  has(scope: string): boolean;
}

/** Stands in no client's name, so that no name is that of another client with a scoped token. */
export const keySeparator = '\u001f';

export function createPrincipal(client: string, scopes: Iterable<string>, scopedTo: ScopedTo | null = null): Principal {
  const granted: ReadonlySet<string> = new Set(scopes);
  const all = granted.has('*');
  const key = scopedTo === null ? client : [client, scopedTo.kind, scopedTo.id].join(keySeparator);
  return { client, scopedTo, key, scopes: granted, has: (scope) => all || granted.has(scope) };
}
