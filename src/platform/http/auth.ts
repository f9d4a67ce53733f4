import type { IncomingMessage } from 'node:http';
import jwt from '@fastify/jwt';
import Fastify, { type FastifyInstance, type onRequestHookHandler } from 'fastify';
import type { Config } from '../../config.ts';
import { challenge } from '../auth/challenge.ts';
import { standardClaims } from '../auth/claim-map.ts';
import { type AccessDirectory, fixedDirectory } from '../auth/directory.ts';
import type { Keys } from '../auth/keys.ts';
import { createBearerVerifier, type TokenReader, type Verifier } from '../auth/verifier.ts';
import { Problem } from '../errors.ts';
import type { Principal } from '../principal.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Framework-free: for doors that answer refusals themselves. */
    verifyAuthorization: Verifier;
    /** What a genuine token says, be it revoked or not. */
    readToken: TokenReader;
  }
  interface FastifyRequest {
    /** Set by `requireToken`; there on every route behind it. */
    principal: Principal;
  }
}

type TokenConfig = Pick<Config, 'jwtIssuer' | 'jwtAudience' | 'jwtClaimMap'>;

/** Gives the instance `verifyAuthorization` and its requests a `principal`. Guards nothing: see `requireToken`. */
export async function addAuthentication(
  app: FastifyInstance,
  config: TokenConfig,
  keys: Keys,
  directory: AccessDirectory = fixedDirectory(),
): Promise<void> {
  await app.register(jwt, {
    // The one way to verify is the guarded one below: it picks the key. `request.jwtVerify()` would skip its checks.
    secret: () => Promise.reject(new Error('Verify tokens with verifyAuthorization')),
    decode: { complete: true },
    verify: { cache: false },
  });
  const verifier = createBearerVerifier(app.jwt, {
    keys: keys.verifying(directory),
    directory,
    issuer: config.jwtIssuer,
    audience: config.jwtAudience,
    claims: config.jwtClaimMap ?? standardClaims,
  });
  app.decorate('verifyAuthorization', verifier.verify);
  app.decorate('readToken', verifier.read);
  app.decorateRequest('principal');
}

/** The same verifier without a service around it (the benchmark's floor). */
export async function createVerifier(config: TokenConfig, keys: Keys): Promise<Verifier> {
  const host = Fastify();
  await addAuthentication(host, config, keys);
  return host.verifyAuthorization;
}

/** `onRequest` hook of every scope that needs a token: refuses, or sets `request.principal`. */
export const requireToken: onRequestHookHandler = function requireToken(request, _reply, done) {
  let principal: Principal | Promise<Principal>;
  try {
    principal = this.verifyAuthorization(authorizationOf(request.raw));
  } catch (error) {
    done(error instanceof Error ? error : new Error('Verification failed', { cause: error }));
    return;
  }
  if (principal instanceof Promise) {
    principal.then((verified) => {
      request.principal = verified;
      done();
    }, done);
    return;
  }
  request.principal = principal;
  done();
};

/**
 * The one Authorization header. Node.js keeps the first of several and drops the rest in silence, a proxy in front may
 * look at the last: two are refused.
 */
export function authorizationOf(request: IncomingMessage): string | undefined {
  const names = request.rawHeaders;
  let count = 0;
  for (let i = 0; i < names.length; i += 2) {
    const name = names[i];
    if (name?.length === 13 && name.toLowerCase() === 'authorization') count += 1;
  }
  if (count > 1) {
    const description = 'Send one Authorization header.';
    throw new Problem('unauthenticated', description, {
      headers: { 'WWW-Authenticate': challenge({ error: 'invalid_request', error_description: description }) },
    });
  }
  return request.headers.authorization;
}
