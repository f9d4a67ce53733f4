import { sql } from 'drizzle-orm';
import { z } from 'zod';
import { isBefore } from '../../domain/period.ts';
import { type Db, fields, type Transaction } from '../../platform/db/client.ts';
import { invalid, notFound, Problem, problemType } from '../../platform/errors.ts';
import { newId } from '../../platform/ids.ts';
import {
  type Context,
  readOperation,
  requireScope,
  writeOperation,
  writeParameters,
} from '../../platform/operation.ts';
import { keysetList, pageOf, pageParameters, sortParameter } from '../../platform/page.ts';
import { id, text } from '../../platform/values.ts';
import { checkVersion, deletedRecord, expectedVersion } from '../../platform/versions.ts';
import { nextStamps } from '../../records/stamps.ts';
import { answeredMembers, sentMembers } from '../../records/table.ts';
import { issuerOf, issuingOff } from './keys.ts';
import {
  clientById,
  deleteSecrets,
  expiryOf,
  insertClient,
  insertRevocation,
  insertSecret,
  liveSecrets,
  lockClient,
  newSecret,
  secretHash,
  updateClientRow,
  withSecrets,
} from './queries.ts';
import {
  type Client,
  type ClientPatch,
  type ClientRow,
  type ClientSecretRow,
  client,
  clientFields,
  clientInput,
  clientPatch,
  clientSecretInput,
  clientStatus,
  clients,
  newClientSecret,
  revokedToken,
  secretFields,
} from './record.ts';

const clientRevoked = problemType('client_revoked', 409, 'The client is revoked');
const tooManySecrets = problemType('too_many_secrets', 409, 'Two secrets are live already');

const mostSecrets = 2;

export const createClient = writeOperation({
  name: 'createClient',
  scope: 'clients:write',
  partners: false,
  selfService: false,
  summary: 'Add a client',
  description:
    'A program that gets its tokens from `POST /oauth/token`. A new client has no secret. You can only grant scopes that your own token has.',
  input: z.strictObject({ ...writeParameters, body: clientInput }),
  output: client,
  idempotency: 'accepted',
  created: () => true,
  problems: [issuingOff],
  async run(tx, context, { body }) {
    issuerOf(context);
    const row: ClientRow = {
      id: newId(),
      version: 1,
      ...sentMembers(clientFields, body, null),
      status: 'active',
      tokensFrom: null,
      createdAt: context.now,
      updatedAt: context.now,
    };
    requireScopes(context, row.scopes);
    await checkClient(context, row);
    await insertClient(tx, row);
    return withSecrets(row, []);
  },
});

/** Who may make clients gets no further by making one that may more. @throws Problem insufficient_scope */
function requireScopes(context: Context, scopes: readonly string[]): void {
  for (const scope of scopes) requireScope(context, scope);
}

/** @throws Problem what contradicts itself, or a partner that is not there */
async function checkClient({ directory }: Context, { partnerId, scopes, selfService }: ClientRow): Promise<void> {
  if (partnerId === null) return;
  if (scopes.includes('*')) {
    throw invalid(
      '/scopes',
      'scope_too_wide',
      'The client of a partner cannot have the scope *: list its scopes one by one.',
    );
  }
  if (selfService) {
    throw invalid('/selfService', 'confined_client', 'The client of a partner cannot issue customer tokens.');
  }
  if (directory.partner(partnerId) === null) await directory.refresh();
  if (directory.partner(partnerId) === null) {
    throw invalid('/partnerId', 'unknown_partner', 'There is no such partner.');
  }
}

export const getClient = readOperation({
  name: 'getClient',
  scope: 'clients:read',
  partners: false,
  selfService: false,
  summary: 'Read a client',
  input: z.strictObject({ id }),
  output: client,
  problems: ['not_found'],
  async run({ db, now }, { id: clientId }) {
    const [row, secrets] = await Promise.all([clientById(db, clientId), liveSecrets(db, [clientId], now)]);
    if (!row) throw notFound('client');
    return withSecrets(row, secrets);
  },
});

const list = keysetList<ClientRow>({
  name: 'clients',
  select: fields(clients),
  from: sql`${clients}`,
  id: sql`${clients.id}`,
  filters: {
    status: (value) => sql`${clients.status} = ${value}`,
    partnerId: (value) => sql`${clients.partnerId} = ${value}::uuid`,
  },
  sorts: {
    createdAt: { expression: sql`${clients.createdAt}`, type: 'timestamptz', field: 'createdAt' },
  },
  defaultSort: '-createdAt',
});

export const listClients = readOperation({
  name: 'listClients',
  scope: 'clients:read',
  partners: false,
  selfService: false,
  summary: 'List clients',
  input: z.strictObject({
    ...pageParameters,
    sort: sortParameter(['createdAt'], '-createdAt'),
    status: clientStatus.optional(),
    partnerId: id.optional(),
  }),
  output: pageOf(client).meta({ id: 'ClientPage' }),
  async run(context, input) {
    const { data, page } = await list(context.db, context, input);
    const secrets = await liveSecrets(
      context.db,
      data.map((row) => row.id),
      context.now,
    );
    return { data: data.map((row) => withSecrets(row, secrets)), page };
  },
});

export const updateClient = writeOperation({
  name: 'updateClient',
  scope: 'clients:write',
  partners: false,
  selfService: false,
  summary: 'Change a client',
  description:
    'Omitted members keep their values; null clears. When a client loses a scope or the right to self-service, gets another partner or is disabled, its earlier tokens are refused within a minute.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion, body: clientPatch }),
  output: client,
  idempotency: 'accepted',
  changesAccess: true,
  problems: ['not_found', 'version_mismatch', 'version_required', clientRevoked],
  async run(tx, context, { id: clientId, expectedVersion: expected, body }) {
    const before = await lockedClient(tx, clientId);
    checkVersion(before.version, expected);
    const row = changed(before, body, context.now);
    requireScopes(context, row.scopes);
    await checkClient(context, row);
    await updateClientRow(tx, row);
    return answerOf(tx, row, context.now);
  },
});

/** @throws Problem not_found, client_revoked */
async function lockedClient(tx: Transaction, clientId: string): Promise<ClientRow> {
  const found = await lockClient(tx, clientId);
  if (!found) throw notFound('client');
  if (found.status === 'revoked')
    throw new Problem(clientRevoked, 'The client was revoked permanently. Add a new one.');
  return found;
}

async function answerOf(db: Db, row: ClientRow, now: string): Promise<Client> {
  return withSecrets(row, await liveSecrets(db, [row.id], now));
}

function changed(before: ClientRow, given: ClientPatch, now: string): ClientRow {
  const row: ClientRow = {
    ...before,
    ...nextStamps(before, now),
    ...sentMembers(clientFields, given, before),
    status: given.status ?? before.status,
  };
  return losesSomething(before, row) ? { ...row, tokensFrom: fromNowOn() } : row;
}

function losesSomething(before: ClientRow, after: ClientRow): boolean {
  const all = after.scopes.includes('*');
  return (
    (!all && before.scopes.some((scope) => !after.scopes.includes(scope))) ||
    (before.selfService && !after.selfService) ||
    before.partnerId !== after.partnerId ||
    (before.status === 'active' && after.status !== 'active')
  );
}

/**
 * The second after this one, by the clock of the machine, as `iat` is and whatever the service is told the time is: what
 * was issued within this second is out as well, and what is issued next is dated ahead.
 */
function fromNowOn(): string {
  return new Date((Math.floor(Date.now() / 1000) + 1) * 1000).toISOString();
}

export const deleteClient = writeOperation({
  name: 'deleteClient',
  scope: 'clients:write',
  partners: false,
  selfService: false,
  summary: 'Revoke a client',
  description:
    'Permanent: its secrets are deleted, and its tokens are refused within a minute on all replicas. Its record stays for the audit.',
  input: z.strictObject({ id, ...writeParameters, expectedVersion }),
  output: deletedRecord,
  idempotency: 'accepted',
  changesAccess: true,
  problems: ['not_found', 'version_mismatch', 'version_required', clientRevoked],
  async run(tx, context, { id: clientId, expectedVersion: expected }) {
    const before = await lockedClient(tx, clientId);
    checkVersion(before.version, expected);
    await deleteSecrets(tx, clientId, null);
    await updateClientRow(tx, {
      ...before,
      ...nextStamps(before, context.now),
      status: 'revoked',
      tokensFrom: fromNowOn(),
    });
    return { id: clientId, deleted: true };
  },
});

export const revokeClientTokens = writeOperation({
  name: 'revokeClientTokens',
  scope: 'clients:write',
  partners: false,
  selfService: false,
  summary: 'Revoke the tokens of a client',
  description:
    'All tokens issued so far are refused within a minute on all replicas; the client can get new ones with its secrets.',
  input: z.strictObject({ id, ...writeParameters }),
  output: client,
  idempotency: 'accepted',
  changesAccess: true,
  problems: ['not_found', clientRevoked],
  async run(tx, context, { id: clientId }) {
    const before = await lockedClient(tx, clientId);
    return answerOf(tx, await forgetTokens(tx, before, context.now), context.now);
  },
});

async function forgetTokens(tx: Transaction, before: ClientRow, now: string): Promise<ClientRow> {
  const row = { ...before, ...nextStamps(before, now), tokensFrom: fromNowOn() };
  await updateClientRow(tx, row);
  return row;
}

// Not under an Idempotency-Key: its answer would be kept, and the secret with it.
const { idempotencyKey: _, ...withoutKey } = writeParameters;

export const createClientSecret = writeOperation({
  name: 'createClientSecret',
  scope: 'clients:write',
  partners: false,
  selfService: false,
  summary: 'Give a client a secret',
  description:
    'The secret is shown only once: only its hash is stored, so the call takes no Idempotency-Key. A client has at most two active secrets: to rotate, add the second, deploy it, and revoke the first. Your token needs every scope of the client.',
  input: z.strictObject({ id, ...withoutKey, body: clientSecretInput.optional() }),
  output: newClientSecret,
  idempotency: 'accepted',
  created: () => true,
  problems: ['not_found', clientRevoked, tooManySecrets, issuingOff],
  async run(tx, context, { id: clientId, body }) {
    issuerOf(context);
    const owner = await lockedClient(tx, clientId);
    requireScopes(context, owner.scopes);
    const expiresAt = body?.expiresAt ?? null;
    if (expiresAt !== null && !isBefore(context.now, expiresAt)) {
      throw invalid('/expiresAt', 'in_the_past', 'Must be in the future.');
    }
    if ((await liveSecrets(tx, [clientId], context.now)).length >= mostSecrets) {
      throw new Problem(
        tooManySecrets,
        `The client has ${mostSecrets} active secrets already. Revoke one of them first.`,
      );
    }
    const secret = newSecret();
    const row: ClientSecretRow = {
      id: newId(),
      clientId,
      hash: secretHash(secret),
      hint: secret.slice(-4),
      expiresAt,
      lastUsedAt: null,
      createdAt: context.now,
    };
    await insertSecret(tx, row, context.now);
    await updateClientRow(tx, { ...owner, ...nextStamps(owner, context.now) });
    return { ...answeredMembers(secretFields, row), clientId, secret };
  },
});

export const deleteClientSecret = writeOperation({
  name: 'deleteClientSecret',
  scope: 'clients:write',
  partners: false,
  selfService: false,
  summary: 'Revoke a secret',
  description:
    'And with it the tokens of its client, unless `keepTokens`: nobody knows which of them it was used for. The client gets new ones with its other secret.',
  input: z.strictObject({
    id,
    secretId: id,
    keepTokens: z.boolean().optional().meta({
      description:
        'Keep tokens that were issued before: for a secret that is no longer needed, not for one that leaked.',
    }),
    ...writeParameters,
  }),
  output: deletedRecord,
  idempotency: 'accepted',
  changesAccess: true,
  problems: ['not_found', clientRevoked],
  async run(tx, context, { id: clientId, secretId, keepTokens }) {
    const owner = await lockedClient(tx, clientId);
    if ((await deleteSecrets(tx, clientId, secretId)) === 0) throw notFound('secret of this client');
    if (keepTokens) await updateClientRow(tx, { ...owner, ...nextStamps(owner, context.now) });
    else await forgetTokens(tx, owner, context.now);
    return { id: secretId, deleted: true };
  },
});

const revocationInput = z
  .strictObject({ token: text(8192).meta({ description: 'The access token itself, e.g. one found in a log.' }) })
  .meta({ id: 'TokenRevocationInput' });

const revocable = z.object({
  jti: z.string().min(1).max(255),
  client_id: z.string().max(255).catch('unknown'),
  exp: z.number().min(0),
});

export const revokeToken = writeOperation({
  name: 'revokeToken',
  scope: 'clients:write',
  partners: false,
  selfService: false,
  summary: 'Revoke a token',
  description:
    'Revokes a single token of any client, or one made by `npm run token`: it is refused within a minute on all replicas. Clients revoke their own tokens with `POST /oauth/revoke`.',
  input: z.strictObject({ ...writeParameters, body: revocationInput }),
  output: revokedToken,
  idempotency: 'accepted',
  changesAccess: true,
  problems: [issuingOff],
  async run(tx, context, { body }) {
    issuerOf(context);
    // Whether it is genuine does not matter: what is not good is refused anyway.
    const claims = revocable.safeParse(payloadOf(body.token));
    if (!claims.success) throw invalid('/token', 'unreadable_token', 'The token was not issued by this service.');
    const { jti, client_id: owner, exp } = claims.data;
    return insertRevocation(tx, {
      jti,
      client: owner,
      revokedAt: context.now,
      expiresAt: expiryOf(exp),
    });
  },
});

function payloadOf(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  } catch {
    return null;
  }
}
