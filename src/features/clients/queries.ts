import { createHash, randomBytes } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { type Db, fields, insertRows, param, statement, type Transaction } from '../../platform/db/client.ts';
import { isSomebody } from '../../records/nobody.ts';
import { answeredMembers, updateRows } from '../../records/table.ts';
import { customers } from '../customers/record.ts';
import { customerAliases } from '../merges/record.ts';
import {
  type Client,
  type ClientRow,
  type ClientSecretRow,
  clientFields,
  clientSecrets,
  clients,
  secretFields,
  signingKeys,
  tokenRevocations,
} from './record.ts';

const clientColumns = fields(clients);

const byId = statement<ClientRow>(
  'client',
  sql`select ${clientColumns} from ${clients} where ${clients.id} = ${param('id')}::uuid`,
);

export function clientById(db: Db, id: string): Promise<ClientRow | null> {
  return db.first(byId, { id });
}

const forIssuing = statement<ClientRow>(
  'client_to_issue_for',
  sql`select ${clientColumns} from ${clients} where ${clients.id} = ${param('id')}::uuid for share`,
);

/** The client once changes of it that are under way have been committed. */
export function clientToIssueFor(db: Db, id: string): Promise<ClientRow | null> {
  return db.first(forIssuing, { id });
}

const lock = statement<ClientRow>(
  'lock_client',
  sql`select ${clientColumns} from ${clients} where ${clients.id} = ${param('id')}::uuid for no key update`,
);

/** The client as it is, locked: its secrets and status change under this lock. */
export function lockClient(tx: Transaction, id: string): Promise<ClientRow | null> {
  return tx.first(lock, { id });
}

const add = statement('insert_client', insertRows(clients, param('rows')));

export async function insertClient(tx: Transaction, row: ClientRow): Promise<void> {
  await tx.all(add, { rows: JSON.stringify([row]) });
}

const change = statement('update_client', updateRows(clients, param('rows')));

export async function updateClientRow(tx: Transaction, row: ClientRow): Promise<void> {
  await tx.all(change, { rows: JSON.stringify([row]) });
}

const secretsOf = statement<ClientSecretRow>(
  'secrets_of_clients',
  sql`select ${fields(clientSecrets)} from ${clientSecrets}
    where ${clientSecrets.clientId} = any(${param('ids')}::uuid[])
      and coalesce(${clientSecrets.expiresAt} > ${param('now')}::timestamptz, true)
    order by ${clientSecrets.createdAt}, ${clientSecrets.id}`,
);

/** The secrets of these clients that have not expired, oldest first. */
export function liveSecrets(db: Db, ids: readonly string[], now: string): Promise<ClientSecretRow[]> {
  return db.all(secretsOf, { ids: [...ids], now });
}

const addSecret = statement(
  'insert_client_secret',
  sql`with expired as (
      delete from client_secrets where client_id = ${param('clientId')}::uuid and expires_at <= ${param('now')}::timestamptz)
    ${insertRows(clientSecrets, param('rows'))}`,
);

/** Adds a secret; those that have expired go. */
export async function insertSecret(tx: Transaction, row: ClientSecretRow, now: string): Promise<void> {
  await tx.all(addSecret, { rows: JSON.stringify([row]), clientId: row.clientId, now });
}

const removeSecrets = statement<{ id: string }>(
  'delete_client_secrets',
  sql`delete from ${clientSecrets} where ${clientSecrets.clientId} = ${param('clientId')}::uuid
      and (${param('id')}::uuid is null or ${clientSecrets.id} = ${param('id')}::uuid)
    returning ${clientSecrets.id}`,
);

/** @param id null: all of the client's @returns how many there were */
export async function deleteSecrets(tx: Transaction, clientId: string, id: string | null): Promise<number> {
  return (await tx.all(removeSecrets, { clientId, id })).length;
}

const use = statement(
  'use_client_secret',
  sql`update client_secrets set last_used_at = ${param('now')}::timestamptz where id = ${param('id')}::uuid
      and (last_used_at is null or last_used_at < ${param('now')}::timestamptz - interval '1 minute')`,
);

/** Remembers when a secret was last used, to the minute: a row is not written anew for every token. */
export async function noteUse(db: Db, id: string, now: string): Promise<void> {
  await db.all(use, { id, now });
}

/**
 * A new secret. The prefix is what scanners of leaked secrets look for. Hexadecimal, since people name a secret by its
 * end on the command line, where one that begins with a dash would be an option.
 */
export function newSecret(): string {
  return `rapport_${randomBytes(32).toString('hex')}`;
}

/** What is kept of a secret: see `clientSecrets`. */
export function secretHash(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

export function withSecrets(row: ClientRow, secrets: readonly ClientSecretRow[]): Client {
  const own = secrets.filter(({ clientId }) => clientId === row.id);
  return { ...answeredMembers(clientFields, row), secrets: own.map((secret) => answeredMembers(secretFields, secret)) };
}

const subject = statement<{ id: string }>(
  'token_subject',
  sql`select ${customers.id} as id from ${customers} where ${customers.erasedAt} is null and ${isSomebody(sql`${customers.id}`)} and ${customers.id} = coalesce(
      (select a.customer_id from ${customerAliases} a where a.old_id = ${param('id')}::uuid), ${param('id')}::uuid)`,
);

/** The customer of this id, or whom it was merged into; null when there is none, or was erased. */
export async function tokenSubject(db: Db, id: string): Promise<string | null> {
  return (await db.first(subject, { id }))?.id ?? null;
}

export type SigningKeyRow = typeof signingKeys.$inferSelect;

const keyRows = statement<SigningKeyRow>(
  'signing_keys',
  sql`select ${fields(signingKeys)} from ${signingKeys} order by ${signingKeys.signsFrom}, ${signingKeys.kid}`,
);

/** All of them, in the order in which they sign. */
export function signingKeyRows(db: Db): Promise<SigningKeyRow[]> {
  return db.all(keyRows);
}

const addKey = statement(
  'insert_signing_key',
  sql`with gone as (update signing_keys set sealed = null where kid = any(${param('retired')}::text[]))
    ${insertRows(signingKeys, param('rows'))}`,
);

/** Adds a key, and destroys the private part of those that are retired. */
export async function insertSigningKey(tx: Transaction, row: SigningKeyRow, retired: readonly string[]): Promise<void> {
  await tx.all(addKey, { rows: JSON.stringify([row]), retired: [...retired] });
}

const revokeKey = statement<SigningKeyRow>(
  'revoke_signing_key',
  sql`update signing_keys set revoked_at = coalesce(revoked_at, ${param('now')}::timestamptz), sealed = null
    where kid = ${param('kid')} returning ${fields(signingKeys)}`,
);

/** null: there is no such key. */
export function revokeSigningKeyRow(tx: Transaction, kid: string, now: string): Promise<SigningKeyRow | null> {
  return tx.first(revokeKey, { kid, now });
}

const lastSecond = 253_402_300_799;

/** The instant of an `exp`, which may be beyond the last year there is. */
export function expiryOf(exp: number): string {
  return new Date(Math.min(exp, lastSecond) * 1000).toISOString();
}

export type RevocationRow = typeof tokenRevocations.$inferSelect;

const revoke = statement<RevocationRow>(
  'revoke_token',
  sql`with revoked as (${insertRows(tokenRevocations, param('rows'))} on conflict (jti) do nothing
      returning ${fields(tokenRevocations)})
    select * from revoked
    union all select ${fields(tokenRevocations)} from ${tokenRevocations} where ${tokenRevocations.jti} = ${param('jti')}`,
);

/** Revokes a token; one that was revoked already stays as it was. */
export async function insertRevocation(tx: Transaction, row: RevocationRow): Promise<RevocationRow> {
  return (await tx.first(revoke, { rows: JSON.stringify([row]), jti: row.jti })) ?? row;
}

const forget = statement(
  'forget_revocations',
  sql`delete from ${tokenRevocations} where ${tokenRevocations.expiresAt} <= ${param('now')}::timestamptz`,
);

export async function forgetRevocations(db: Db, now: string): Promise<void> {
  await db.all(forget, { now });
}

const restricted = statement<{ id: string; status: string; tokensFrom: string | null }>(
  'restricted_clients',
  sql`select ${clients.id} as id, ${clients.status} as status, ${clients.tokensFrom} as "tokensFrom" from ${clients}
    where ${clients.status} <> 'active' or ${clients.tokensFrom} is not null order by ${clients.id}`,
);

/** Clients of which not every token is good. */
export function restrictedClients(db: Db): Promise<{ id: string; status: string; tokensFrom: string | null }[]> {
  return db.all(restricted);
}

const revokedNow = statement<{ jti: string }>(
  'revoked_tokens',
  sql`select ${tokenRevocations.jti} as jti from ${tokenRevocations}
    where ${tokenRevocations.expiresAt} > ${param('now')}::timestamptz order by ${tokenRevocations.jti}`,
);

export async function revokedTokens(db: Db, now: string): Promise<string[]> {
  return (await db.all(revokedNow, { now })).map(({ jti }) => jti);
}
