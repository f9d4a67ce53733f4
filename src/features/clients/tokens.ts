import { timingSafeEqual } from 'node:crypto';
import { originOf } from '../../platform/audit.ts';
import {
  type Credentials,
  OAuthError,
  type TokenAnswer,
  type TokenEndpoint,
} from '../../platform/auth/token-endpoint.ts';
import type { TokenIssuer } from '../../platform/auth/token-issuer.ts';
import type { Db } from '../../platform/db/client.ts';
import { call, createContext, type Services } from '../../platform/operation.ts';
import { createPrincipal } from '../../platform/principal.ts';
import { selfServiceScopes } from '../../platform/served-operations.ts';
import { id } from '../../platform/values.ts';
import { revokeToken } from './operations.ts';
import { clientToIssueFor, liveSecrets, noteUse, secretHash, tokenSubject } from './queries.ts';
import { type ClientRow, longestSelfServiceTtl } from './record.ts';

/** The token endpoint over the clients kept here. */
export function tokenEndpoint(services: Services, issuer: TokenIssuer): TokenEndpoint {
  const { db, clock } = services;
  return {
    async token(credentials, request) {
      // Before the client is read, under a lock that a revocation waits for: what is revoked after that is dated later.
      const asked = Math.floor(Date.now() / 1000);
      const owner = await authenticate(db, credentials, clock());
      // What was revoked within this very second had the same `iat`: the next token is dated ahead of it.
      const from = owner.tokensFrom === null ? 0 : Date.parse(owner.tokensFrom) / 1000;
      const { customer } = request;
      const granted = customer === null ? await ownToken(services, owner) : await selfServiceToken(db, owner, customer);
      const scope = granted.scopes(request.scope);
      const ttl = Math.min(owner.tokenTtl, granted.longestTtl);
      const scoped = { partner: owner.partnerId ?? undefined, customer: granted.customer };
      const token = issuer.issue({ scope, client: owner.id, ttl, ...scoped }, Math.max(asked, from));
      return { access_token: token, token_type: 'Bearer', expires_in: ttl, scope } satisfies TokenAnswer;
    },
    async revoke(credentials, { token, claims, requestId, address }) {
      const owner = await authenticate(db, credentials, clock());
      if (claims === null) return;
      if (claims.client !== owner.id) {
        throw new OAuthError('unauthorized_client', 'The token was issued to another client.');
      }
      if (claims.jti === undefined) throw new OAuthError('unsupported_token_type', 'The token has no id (jti).');
      const principal = createPrincipal(owner.id, [revokeToken.scope]);
      const origin = originOf('rest', address, { anybody: false, principal });
      await call(revokeToken, createContext(services, principal, requestId, origin), { body: { token } });
    },
  };
}

const unknownHash = Buffer.alloc(32);

/** Says the same of an unknown client, a wrong secret and a client that is not active. @throws OAuthError */
async function authenticate(db: Db, { id: name, secret }: Credentials, now: string): Promise<ClientRow> {
  const parsed = id.safeParse(name);
  const clientId = parsed.success ? parsed.data : '00000000-0000-0000-0000-000000000000';
  const [owner, secrets] = await Promise.all([clientToIssueFor(db, clientId), liveSecrets(db, [clientId], now)]);
  const given = Buffer.from(secretHash(secret), 'hex');
  // Every secret is compared, and in constant time: how long it takes says nothing about them.
  const matching = secrets.filter(({ hash }) => timingSafeEqual(Buffer.from(hash, 'hex'), given));
  if (secrets.length === 0) timingSafeEqual(unknownHash, given);
  const [used] = matching;
  if (!owner || used === undefined || owner.status !== 'active') {
    throw new OAuthError('invalid_client', 'The client is not known, not active, or its secret is wrong.');
  }
  await noteUse(db, used.id, now);
  return owner;
}

interface Grant {
  customer?: string;
  longestTtl: number;
  /** The scopes of the token for those that were asked for. @throws OAuthError invalid_scope */
  scopes(asked: string | null): string;
}

async function ownToken({ directory }: Services, owner: ClientRow): Promise<Grant> {
  const { partnerId } = owner;
  if (partnerId !== null) {
    if (directory.partner(partnerId) === null) await directory.lookAgain();
    if (directory.partner(partnerId)?.status !== 'active') {
      throw new OAuthError('unauthorized_client', 'The partner of the client is not active.');
    }
  }
  return { longestTtl: Number.POSITIVE_INFINITY, scopes: (asked) => narrow(owner.scopes, asked) };
}

async function selfServiceToken(db: Db, owner: ClientRow, customer: string): Promise<Grant> {
  if (!owner.selfService || owner.partnerId !== null) {
    throw new OAuthError('unauthorized_client', 'The client may not issue customer tokens.');
  }
  const parsed = id.safeParse(customer);
  if (!parsed.success) throw new OAuthError('invalid_request', 'customer is not a UUID.');
  const subject = await tokenSubject(db, parsed.data);
  if (subject === null) throw new OAuthError('invalid_request', 'There is no such customer.');
  const possible = owner.scopes.includes('*')
    ? selfServiceScopes()
    : selfServiceScopes().filter((scope) => owner.scopes.includes(scope));
  return {
    customer: subject,
    longestTtl: longestSelfServiceTtl,
    scopes: (asked) => narrow(possible, asked),
  };
}

/** All that is possible, or those asked for: one that is not possible refuses them all, so that nobody has to find out. */
function narrow(possible: readonly string[], asked: string | null): string {
  if (asked === null) {
    if (possible.length === 0)
      throw new OAuthError('invalid_scope', 'The client has no scope that a customer token can have.');
    return possible.join(' ');
  }
  const names = [...new Set(asked.split(' '))];
  const wellFormed = names.every((name) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(name));
  if (!wellFormed) throw new OAuthError('invalid_scope', 'scope is a list of names separated by single spaces.');
  const beyond = names.find((name) => !possible.includes('*') && !possible.includes(name));
  if (beyond !== undefined) throw new OAuthError('invalid_scope', `The client may not have the scope ${beyond}.`);
  return names.join(' ');
}
