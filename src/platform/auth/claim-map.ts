import { z } from 'zod';

/**
 * What the claims of an outside provider mean here. A path is the name of a claim, or names joined by dots
 * (`realm_access.roles`); a claim that has dots in its name (`https://shop.example/partner`) is found by its whole name.
 */
export interface ClaimMap {
  /** Claims that name the client; the first that is there does. */
  readonly client: readonly string[];
  /**
   * Claims that grant scopes, all of them together. `verbatim`: they are scopes already, in a list or separated by
   * spaces; a table says what each value of the claim grants, and values that are not in it grant nothing.
   */
  readonly scopes: Readonly<Record<string, 'verbatim' | Readonly<Record<string, readonly string[]>>>>;
  /** The claim that scopes a token to a partner, and the one that scopes it to a customer; null: none does. */
  readonly partner: string | null;
  readonly customer: string | null;
}

/** How the tokens of the service itself are read. Default for those of a provider. */
export const standardClaims: ClaimMap = {
  client: ['client_id', 'azp', 'sub'],
  scopes: { scope: 'verbatim', scp: 'verbatim' },
  partner: 'partner',
  customer: 'customer',
};

const path = z.string().min(1).max(255);
const scope = z.string().regex(/^(\*|[a-z]+(-[a-z]+)*:[a-z]+(-[a-z]+)*)$/, {
  error: 'must be a scope such as orders:read, or *',
});

const claimMapSchema = z.strictObject({
  client: z.union([path.transform((one) => [one]), z.array(path).min(1)]).default([...standardClaims.client]),
  scopes: z
    .record(path, z.union([z.literal('verbatim'), z.record(z.string().min(1), z.array(scope))]))
    .default({ scope: 'verbatim', scp: 'verbatim' }),
  partner: path.nullable().default(standardClaims.partner),
  customer: path.nullable().default(standardClaims.customer),
});

/**
 * @param text JSON: `{ "client": "azp", "scopes": { "realm_access.roles": { "crm-admin": ["*"] } }, "partner": "org" }`;
 *   members left out are as in `standardClaims`
 * @returns the map, or what is wrong with it: a sentence per fault
 */
export function parseClaimMap(text: string): ClaimMap | string[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return ['is not valid JSON'];
  }
  const parsed = claimMapSchema.safeParse(value);
  if (!parsed.success) {
    return parsed.error.issues.map((issue) => {
      const place = issue.path.length === 0 ? '' : `at ${issue.path.join(' → ')}: `;
      return `${place}${issue.message}`;
    });
  }
  const { partner, customer } = parsed.data;
  if (partner !== null && partner === customer) return ['names one claim for the partner and the customer'];
  return parsed.data;
}

/** The value of a claim by its path; undefined when it is not there. */
export function claimAt(claims: Record<string, unknown>, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const step of path.split('.')) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, step)) return;
    value = (value as Record<string, unknown>)[step]; // an object that has it
  }
  return value;
}
