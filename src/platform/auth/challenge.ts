/**
 * The value of `WWW-Authenticate` (RFC 6750): `challenge({ error: 'insufficient_scope', scope: 'orders:write' })`.
 * Without attributes, as for a request that carries no token at all, it only names the scheme.
 */
export function challenge(attributes: { error?: string; error_description?: string; scope?: string } = {}): string {
  return ['Bearer realm="rapport"', ...Object.entries(attributes).map(([name, value]) => `${name}="${value}"`)].join(
    ', ',
  );
}
