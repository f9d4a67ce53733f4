/** Who calls: what a verified access token says. */
export interface Principal {
  /** The client the token was issued to: idempotency keys, cursors and limits belong to it. */
  readonly client: string;
  readonly scopes: ReadonlySet<string>;
  /** Whether the token grants `scope`; a token with the scope `*` grants every one. */
  has(scope: string): boolean;
}

export function createPrincipal(client: string, scopes: Iterable<string>): Principal {
  const granted: ReadonlySet<string> = new Set(scopes);
  const all = granted.has('*');
  return { client, scopes: granted, has: (scope) => all || granted.has(scope) };
}
