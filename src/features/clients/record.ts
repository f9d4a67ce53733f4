import { boolean, index, integer, pgTable, text as textColumn, uuid } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { code, instant as instantColumn, json } from '../../platform/db/columns.ts';
import { id, instant, text, version } from '../../platform/values.ts';

/** Programs that get tokens here with a secret (RFC 6749, 4.4). A revoked one stays, so that the audit can name it. */
export const clients = pgTable(
  'clients',
  {
    id: uuid('id').primaryKey(),
    version: integer('version').notNull(),
    name: textColumn('name').notNull(),
    description: textColumn('description'),
    /** What its tokens may at most, a list of names. */
    scopes: json('scopes').notNull(),
    /** Its tokens are confined to what is shared with this partner. */
    partnerId: uuid('partner_id'),
    selfService: boolean('self_service').notNull(),
    /** Seconds. */
    tokenTtl: integer('token_ttl').notNull(),
    status: textColumn('status').$type<ClientStatus>().notNull(),
    /** Tokens issued before are refused; on whole seconds, as `iat` is. */
    tokensFrom: instantColumn('tokens_from'),
    createdAt: instantColumn('created_at').notNull(),
    updatedAt: instantColumn('updated_at').notNull(),
  },
  (t) => [index('clients_created').on(t.createdAt, t.id)],
);

export type ClientRow = typeof clients.$inferSelect & { scopes: string[] };

/**
 * Secrets are 256 random bits: nobody can try them through, so one SHA-256 keeps them as well as a slow, salted hash
 * would, and a request for a token does not cost a fifth of a second. Slow hashes are for what people make up.
 */
export const clientSecrets = pgTable(
  'client_secrets',
  {
    id: uuid('id').primaryKey(),
    clientId: uuid('client_id')
      .notNull()
      .references(() => clients.id, { onDelete: 'cascade' }),
    /** SHA-256, hexadecimal. */
    hash: textColumn('hash').notNull(),
    /** Its last four characters, to tell one from another. */
    hint: textColumn('hint').notNull(),
    expiresAt: instantColumn('expires_at'),
    /** To the minute. */
    lastUsedAt: instantColumn('last_used_at'),
    createdAt: instantColumn('created_at').notNull(),
  },
  (t) => [index('client_secrets_client').on(t.clientId)],
);

export type ClientSecretRow = typeof clientSecrets.$inferSelect;

/** Keys that sign tokens, besides the one in the configuration. */
export const signingKeys = pgTable('signing_keys', {
  /** Thumbprint of RFC 7638. */
  kid: code('kid').primaryKey(),
  algorithm: textColumn('algorithm').notNull(),
  /** The private key, encrypted and authenticated under the key of the configuration; null: destroyed. */
  sealed: textColumn('sealed'),
  signsFrom: instantColumn('signs_from').notNull(),
  revokedAt: instantColumn('revoked_at'),
  createdAt: instantColumn('created_at').notNull(),
});

/** Tokens revoked one by one, until they would have expired. */
export const tokenRevocations = pgTable(
  'token_revocations',
  {
    jti: code('jti').primaryKey(),
    client: textColumn('client').notNull(),
    revokedAt: instantColumn('revoked_at').notNull(),
    expiresAt: instantColumn('expires_at').notNull(),
  },
  (t) => [index('token_revocations_expires').on(t.expiresAt)],
);

export const clientStatuses = ['active', 'disabled', 'revoked'] as const;
export type ClientStatus = (typeof clientStatuses)[number];
export const clientStatus = z.enum(clientStatuses).meta({
  id: 'ClientStatus',
  description: 'disabled: gets no tokens, and those it has are refused, until it is active again. revoked: for good.',
  example: 'active',
});

/** Seconds a token lasts. */
export const longestTtl = 86_400;
export const defaultTtl = 3_600;
/** A token bound to one customer lasts no longer, whatever the client's tokens do. */
export const longestSelfServiceTtl = 900;

/** All that a token bound to one customer can be for. */
export const selfServiceScopes: readonly string[] = [
  'customers:read',
  'customers:write',
  'customers:pii',
  'customers:export',
  'consents:read',
  'consents:write',
  'orders:read',
  'orders:write',
  'returns:read',
  'loyalty:read',
  'loyalty:write',
  'surveys:read',
  'survey-responses:read',
  'survey-responses:write',
];

const scopeName = z
  .string()
  .max(64)
  .regex(/^(\*|[a-z]+(-[a-z]+)*:[a-z]+(-[a-z]+)*)$/, { error: 'A scope such as orders:read, or *.' });

const scopes = z
  .array(scopeName)
  .min(1)
  .max(100)
  .refine((names) => new Set(names).size === names.length, {
    error: 'Names a scope twice.',
    params: { code: 'duplicate_scope' },
  })
  .meta({
    description: 'What its tokens may at most; `*` is everything, and not for clients of partners.',
    example: ['orders:write', 'customers:read'],
  });
const partnerId = id.nullable().meta({
  description: 'Its tokens are confined to what is shared with this partner; null: the organisation’s own.',
});
const selfService = z.boolean().meta({
  description:
    'Whether it may ask for short-lived tokens that are bound to one customer, for the browser or app of that customer.',
});
const tokenTtl = z
  .int()
  .min(60)
  .max(longestTtl)
  .meta({ description: 'Seconds its tokens last; those bound to one customer at most 900.', example: 3600 });

const clientMembers = {
  name: text(200).meta({ description: 'For people.', example: 'Shop backend' }),
  description: text(2000).nullable().optional(),
  scopes,
  partnerId: partnerId.optional(),
  selfService: selfService.optional(),
  tokenTtl: tokenTtl.optional(),
};

export const clientInput = z
  .strictObject(clientMembers)
  .meta({ id: 'ClientInput', example: { name: 'Shop backend', scopes: ['orders:write', 'customers:read'] } });

export const clientPatch = z
  .strictObject({
    ...clientMembers,
    status: z
      .enum(['active', 'disabled'])
      .meta({ id: 'ClientSwitch', description: 'disabled: gets no tokens, and those it has are refused.' }),
  })
  .partial()
  .meta({ id: 'ClientPatch', example: { scopes: ['orders:read'] } });
export type ClientPatch = z.output<typeof clientPatch>;

export const clientSecret = z
  .strictObject({
    id,
    hint: z.string().meta({ description: 'Its last four characters, to tell one from another.', example: 'x7Qa' }),
    expiresAt: instant.nullable().meta({ description: 'It works before this instant; null: until it is revoked.' }),
    lastUsedAt: instant.nullable().meta({ description: 'To the minute; null: never used.' }),
    createdAt: instant,
  })
  .meta({ id: 'ClientSecret', description: 'A secret of a client, without the secret itself.' });
export type ClientSecret = z.output<typeof clientSecret>;

export const client = z
  .strictObject({
    id: id.meta({ description: 'The `client_id` of OAuth.' }),
    name: z.string(),
    description: z.string().nullable(),
    scopes: z.array(z.string()),
    partnerId: id.nullable(),
    selfService,
    tokenTtl,
    status: clientStatus,
    tokensFrom: instant
      .nullable()
      .meta({ description: 'Tokens issued before are refused; null: all that have not expired are good.' }),
    secrets: z.array(clientSecret).meta({ description: 'Those that are live, oldest first; at most two.' }),
    version,
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Client', description: 'A program that gets its tokens from this service.' });
export type Client = z.output<typeof client>;

export const clientSecretInput = z
  .strictObject({ expiresAt: instant.nullable().optional().meta({ description: 'Until it is revoked unless told.' }) })
  .meta({ id: 'ClientSecretInput', example: { expiresAt: '2030-01-01T00:00:00Z' } });

export const newClientSecret = clientSecret
  .extend({
    clientId: id,
    secret: z.string().meta({ description: 'The `client_secret` of OAuth: shown now and never again.' }),
  })
  .meta({ id: 'NewClientSecret', description: 'A secret just made.' });

export const revokedToken = z
  .strictObject({
    jti: z.string().meta({ description: 'The name of the token.' }),
    client: z.string().meta({ description: 'Whom it was issued to, as the token says.' }),
    revokedAt: instant,
    expiresAt: instant.meta({ description: 'When it would have expired.' }),
  })
  .meta({ id: 'RevokedToken' });

export const signingKeyStatuses = ['pending', 'signing', 'verifying', 'retired', 'revoked'] as const;
export const signingKeyStatus = z.enum(signingKeyStatuses).meta({
  id: 'SigningKeyStatus',
  description:
    'pending: published, and signs later. signing: signs new tokens. verifying: tokens that it signed are still good. retired: all of them have expired. revoked: none of them is good any longer.',
  example: 'signing',
});

export const signingKey = z
  .strictObject({
    kid: z.string().meta({ description: 'The name of the key in the headers of tokens.' }),
    algorithm: z.string().meta({ example: 'ES256' }),
    status: signingKeyStatus,
    configured: z.boolean().meta({
      description:
        'Whether it is the key of the configuration, which signs when there is no other and always verifies.',
    }),
    signsFrom: instant
      .nullable()
      .meta({ description: 'When it begins to sign; null for the key of the configuration.' }),
    verifiesUntil: instant
      .nullable()
      .meta({ description: 'When the last token that it may have signed has expired; null while that is open.' }),
    revokedAt: instant.nullable(),
    createdAt: instant.nullable(),
  })
  .meta({ id: 'SigningKey', description: 'A key that signs or verifies tokens; its private part is never shown.' });
export type SigningKeyDocument = z.output<typeof signingKey>;

/** Seconds between making a key and its first signature: by then every replica, and who caches the key set, knows it. */
export const shortestNotice = 120;
export const usualNotice = 300;

export const rotationInput = z
  .strictObject({
    signsAfter: z
      .int()
      .min(shortestNotice)
      .max(30 * 86_400)
      .optional()
      .meta({ description: `Seconds until it signs; ${usualNotice} unless told.`, example: 3600 }),
  })
  .meta({ id: 'SigningKeyRotationInput', example: { signsAfter: 3600 } });
