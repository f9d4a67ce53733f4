import { index } from 'drizzle-orm/pg-core';
import { z } from 'zod';
import { id, instant as instantText } from '../../platform/values.ts';
import {
  boolean,
  code,
  instant,
  integer,
  json,
  key,
  recordId,
  text as textField,
  version,
  words,
} from '../../records/fields.ts';
import { inputShape, outputShape, storedTable } from '../../records/table.ts';

export const clientStatuses = ['active', 'disabled', 'revoked'] as const;
export type ClientStatus = (typeof clientStatuses)[number];
export const clientStatus = z.enum(clientStatuses).meta({
  id: 'ClientStatus',
  description: 'disabled: gets no tokens, and its tokens are refused, until it is active again. revoked: permanently.',
  example: 'active',
});

/** Seconds a token lasts. */
export const longestTtl = 86_400;
export const defaultTtl = 3_600;
/** A token bound to one customer lasts no longer, whatever the client's tokens do. */
export const longestSelfServiceTtl = 900;

const scopeName = z
  .string()
  .max(64)
  .regex(/^(\*|[a-z]+(-[a-z]+)*:[a-z]+(-[a-z]+)*)$/, { error: 'A scope such as orders:read, or *.' });

const scopes = z
  .array(scopeName)
  .min(1)
  .max(100)
  .refine((names) => new Set(names).size === names.length, {
    error: 'Lists a scope twice.',
    params: { code: 'duplicate_scope' },
  })
  .meta({
    description: 'The most that its tokens may have. `*` is every scope, and is refused for clients of partners.',
    example: ['orders:write', 'customers:read'],
  });
export const clientFields = {
  id: key().says('The `client_id` of OAuth.'),
  version: version(),
  name: textField(200).plain().required().says('Display name.', 'Shop backend'),
  description: textField(2000).plain(),
  scopes: json(scopes).plain().required().answers(z.array(z.string())),
  partnerId: recordId().says('Its tokens are scoped to what is shared with this partner; null: they are not scoped.'),
  selfService: boolean()
    .defaultsTo(false)
    .says('Whether it may get short-lived customer tokens, for the browser or app of that customer.'),
  tokenTtl: integer(60, longestTtl)
    .defaultsTo(defaultTtl)
    .answers(z.int().min(60).max(longestTtl))
    .says('Lifetime of its tokens in seconds; customer tokens last at most 900.', 3600),
  status: words(clientStatus).required().readOnly(),
  /** On whole seconds, as `iat` is. */
  tokensFrom: instant().readOnly().says('Tokens issued before this instant are refused; null: none are.'),
  createdAt: instant().required().readOnly(),
  updatedAt: instant().required().readOnly(),
};

/** Programs that get tokens here with a secret (RFC 6749, 4.4). A revoked one stays, so that the audit can name it. */
export const clients = storedTable('clients', {
  name: 'clients',
  label: 'Clients',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['id'],
  guard: null,
  feed: { kind: 'client' },
  fields: clientFields,
  extras: (t) => [index('clients_created').on(t.createdAt, t.id)],
});

export type ClientRow = typeof clients.$inferSelect;

export const secretFields = {
  id: key(),
  clientId: recordId()
    .required()
    .internal()
    .references(() => clients.id, 'cascade'),
  /** SHA-256, hexadecimal. */
  hash: textField(64).plain().required().internal(),
  hint: textField(4).plain().required().readOnly().says('Its last four characters, to tell one from another.', 'x7Qa'),
  expiresAt: instant().says('When it expires; null: not before it is revoked.'),
  lastUsedAt: instant().readOnly().says('When it was last used, to the minute; null: never.'),
  createdAt: instant().required().readOnly(),
};

/**
 * Secrets are 256 random bits: nobody can try them through, so one SHA-256 keeps them as well as a slow, salted hash
 * would, and a request for a token does not cost a fifth of a second. Slow hashes are for what people make up.
 */
export const clientSecrets = storedTable('client_secrets', {
  name: 'clientSecrets',
  label: 'Secrets of clients',
  access: 'service',
  nature: 'fact',
  owner: null,
  partOf: { table: clients, by: 'clientId' },
  key: ['id'],
  guard: null,
  feed: { of: 'client', by: 'clientId', member: 'secrets' },
  fields: secretFields,
  extras: (t) => [index('client_secrets_client').on(t.clientId)],
});

export type ClientSecretRow = typeof clientSecrets.$inferSelect;

const keyFields = {
  /** Thumbprint of RFC 7638. */
  kid: code(64).plain().required().says('The id of the key (`kid`) in the headers of tokens.'),
  algorithm: textField(20).plain().required().says('The algorithm of its signatures.', 'ES256'),
  /** The private key, encrypted and authenticated under the key of the configuration; null: destroyed. */
  sealed: textField(10_000).plain().internal(),
  signsFrom: instant()
    .required()
    .answers(instantText.nullable())
    .says('When it starts to sign; null for the key of the configuration.'),
  revokedAt: instant(),
  createdAt: instant().required().answers(instantText.nullable()),
};

/** Keys that sign tokens, besides the one in the configuration. */
export const signingKeys = storedTable('signing_keys', {
  name: 'signingKeys',
  label: 'Signing keys',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['kid'],
  guard: null,
  feed: { kind: 'signing_key', list: 'listSigningKeys' },
  fields: keyFields,
});

const revocationFields = {
  jti: code(255).plain().required().says('The id of the token (`jti`).'),
  client: textField(255).plain().required().says('The client it was issued to.'),
  revokedAt: instant().required(),
  expiresAt: instant().required().says('When it would have expired.'),
};

/** Tokens revoked one by one, until they would have expired. */
export const tokenRevocations = storedTable('token_revocations', {
  name: 'tokenRevocations',
  label: 'Tokens that were revoked',
  access: 'service',
  nature: 'fact',
  owner: null,
  key: ['jti'],
  guard: null,
  feed: 'none',
  fields: revocationFields,
  extras: (t) => [index('token_revocations_expires').on(t.expiresAt)],
});

const clientMembers = inputShape(clientFields);

export const clientInput = z
  .strictObject(clientMembers)
  .meta({ id: 'ClientInput', example: { name: 'Shop backend', scopes: ['orders:write', 'customers:read'] } });

export const clientPatch = z
  .strictObject({
    ...clientMembers,
    status: z
      .enum(['active', 'disabled'])
      .meta({ id: 'ClientSwitch', description: 'disabled: gets no tokens, and its tokens are refused.' }),
  })
  .partial()
  .meta({ id: 'ClientPatch', example: { scopes: ['orders:read'] } });
export type ClientPatch = z.output<typeof clientPatch>;

export const clientSecret = z
  .strictObject(outputShape(secretFields))
  .meta({ id: 'ClientSecret', description: 'A secret of a client, without the secret itself.' });
export type ClientSecret = z.output<typeof clientSecret>;

export const client = z
  .strictObject({
    ...outputShape(clientFields),
    secrets: z.array(clientSecret).meta({ description: 'Active secrets, oldest first; at most two.' }),
  })
  .meta({ id: 'Client', description: 'A program that gets its tokens from this service.' });
export type Client = z.output<typeof client>;

export const clientSecretInput = z
  .strictObject(inputShape(secretFields))
  .meta({ id: 'ClientSecretInput', example: { expiresAt: '2030-01-01T00:00:00Z' } });

export const newClientSecret = clientSecret
  .extend({
    clientId: id,
    secret: z.string().meta({ description: 'The `client_secret` of OAuth: shown now and never again.' }),
  })
  .meta({ id: 'NewClientSecret', description: 'A secret just made.' });

export const revokedToken = z.strictObject(outputShape(revocationFields)).meta({ id: 'RevokedToken' });

export const signingKeyStatuses = ['pending', 'signing', 'verifying', 'retired', 'revoked'] as const;
export const signingKeyStatus = z.enum(signingKeyStatuses).meta({
  id: 'SigningKeyStatus',
  description:
    'pending: published, signs later. signing: signs new tokens. verifying: tokens that it signed are still valid. retired: all tokens that it signed have expired. revoked: tokens that it signed are refused.',
  example: 'signing',
});

export const signingKey = z
  .strictObject({
    ...outputShape(keyFields),
    status: signingKeyStatus,
    configured: z.boolean().meta({
      description:
        'Whether it is the key of the configuration, which signs when there is no other and always verifies.',
    }),
    verifiesUntil: instantText
      .nullable()
      .meta({ description: 'When the last token that it can have signed expires; null while that is not known.' }),
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
      .meta({ description: `Seconds until it signs. Default: ${usualNotice}.`, example: 3600 }),
  })
  .meta({ id: 'SigningKeyRotationInput', example: { signsAfter: 3600 } });
