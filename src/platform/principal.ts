/** Whose records a token is confined to: those shared with a partner, or those of one customer. */
export interface Confinement {
  readonly kind: 'partner' | 'customer';
  /** UUID of the partner or customer. */
  readonly id: string;
}

/** Who calls: what a verified access token says. */
export interface Principal {
  /** The client the token was issued to; what is done in its name says so. */
  readonly client: string;
  /** null: the organisation's own, who see everything their scopes allow. */
  readonly confinement: Confinement | null;
  /** What idempotency keys and cursors belong to: the client and its confinement. */
  readonly key: string;
  readonly scopes: ReadonlySet<string>;
  /** Whether the token grants `scope`; a token with the scope `*` grants every one. */
  has(scope: string): boolean;
}

/** Stands in no client's name, so that no name is that of another client with its confinement. */
export const keySeparator = '\u001f';

export function createPrincipal(
  client: string,
  scopes: Iterable<string>,
  confinement: Confinement | null = null,
): Principal {
  const granted: ReadonlySet<string> = new Set(scopes);
  const all = granted.has('*');
  const key = confinement === null ? client : [client, confinement.kind, confinement.id].join(keySeparator);
  return { client, confinement, key, scopes: granted, has: (scope) => all || granted.has(scope) };
}
