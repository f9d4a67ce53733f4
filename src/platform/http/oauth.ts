import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Config } from '../../config.ts';
import { type Credentials, OAuthError, type TokenEndpoint } from '../auth/token-endpoint.ts';
import type { TokenIssuer } from '../auth/token-issuer.ts';
import type { Channel } from '../db/channel.ts';
import { Problem } from '../errors.ts';
import { authorizationOf } from './auth.ts';
import { attemptLimit, clientLimit } from './rate-limit.ts';

const off =
  'This service issues no tokens: they come from the provider whose keys are in JWT_JWKS_URL. Ask for one there.';

export interface OAuthParts {
  config: Pick<Config, 'jwtIssuer' | 'publicRateLimit' | 'rateLimit'>;
  /** Both null under an outside provider. */
  issuer: TokenIssuer | null;
  endpoint: TokenEndpoint | null;
  /** Limits hold for all processes together. */
  channel: Channel;
}

/** Seconds for which others may keep the key set; a new key is in it longer than that before it signs. */
const keySetAge = 60;

/**
 * `POST /oauth/token` (RFC 6749, 4.4), `POST /oauth/revoke` (RFC 7009), and the documents that say how to use them:
 * the key set (RFC 7517) and, where the issuer is a URL, the metadata (RFC 8414). These speak OAuth's own language:
 * form bodies, and errors as in RFC 6749, 5.2.
 */
export function serveOauth(app: FastifyInstance, { config, issuer, endpoint, channel }: OAuthParts): void {
  app.get('/.well-known/jwks.json', (_request, reply) => {
    if (issuer === null) throw new Problem('not_found', off);
    return reply
      .header('Cache-Control', `public, max-age=${keySetAge}`)
      .type('application/jwk-set+json')
      .send(JSON.stringify(issuer.keySet()));
  });
  app.get('/.well-known/oauth-authorization-server', (_request, reply) => {
    const base = issuer === null ? null : originOfIssuer(config.jwtIssuer);
    if (base === null)
      throw new Problem('not_found', issuer === null ? off : 'JWT_ISSUER is not the URL of an origin.');
    return reply.header('Cache-Control', `public, max-age=${keySetAge}`).send(metadata(config.jwtIssuer, base));
  });
  app.register(async (scope) => {
    const attempts = attemptLimit(config.publicRateLimit, channel);
    const budget = clientLimit(config.rateLimit, channel);
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    scope.setErrorHandler((error, request, reply) => {
      if (!(error instanceof OAuthError)) throw error;
      return refuse(error, request, reply);
    });
    scope.addHook('onRequest', (_request, reply, done) => {
      reply.header('Cache-Control', 'no-store').header('Pragma', 'no-cache');
      done();
    });

    async function asClient<T>(
      request: FastifyRequest,
      reply: FastifyReply,
      work: (form: Form, credentials: Credentials, served: TokenEndpoint) => Promise<T>,
    ): Promise<T> {
      if (endpoint === null) throw new OAuthError('invalid_request', off);
      // Only refusals count against the address: one backend may fetch tokens for all of its customers.
      const giveBack = attempts(request, reply);
      try {
        const form = readForm(request);
        const credentials = credentialsOf(request, form);
        const answer = await work(form, credentials, endpoint);
        budget(credentials.id, reply);
        giveBack();
        return answer;
      } catch (error) {
        if (!(error instanceof OAuthError)) giveBack();
        throw error;
      }
    }

    const bodyLimit = 32 * 1024;
    scope.post('/oauth/token', { bodyLimit }, (request, reply) =>
      asClient(request, reply, (form, credentials, served) => {
        const grant = form.get('grant_type');
        if (grant === undefined) throw new OAuthError('invalid_request', 'grant_type is required.');
        if (grant !== 'client_credentials') {
          throw new OAuthError('unsupported_grant_type', 'Only client_credentials is supported.');
        }
        return served.token(credentials, {
          scope: form.get('scope') ?? null,
          customer: form.get('customer') ?? null,
        });
      }),
    );
    scope.post('/oauth/revoke', { bodyLimit }, (request, reply) =>
      asClient(request, reply, async (form, credentials, served) => {
        const token = form.get('token');
        if (token === undefined) throw new OAuthError('invalid_request', 'token is required.');
        const claims = await app.readToken(token).catch((error: unknown) => {
          if (error instanceof Problem && error.code === 'unauthenticated') return null;
          throw error;
        });
        await served.revoke(credentials, { token, claims, requestId: request.id, address: request.ip });
        return reply.code(200).send();
      }),
    );
  });
}

/** Where no path stands behind the host, the metadata is where RFC 8414 looks for it. */
function originOfIssuer(issuer: string): string | null {
  if (!URL.canParse(issuer)) return null;
  const { origin, protocol } = new URL(issuer);
  return /^https?:$/.test(protocol) && (issuer === origin || issuer === `${origin}/`) ? origin : null;
}

function metadata(issuer: string, origin: string) {
  const methods = ['client_secret_basic', 'client_secret_post'];
  return {
    issuer,
    token_endpoint: `${origin}/oauth/token`,
    token_endpoint_auth_methods_supported: methods,
    revocation_endpoint: `${origin}/oauth/revoke`,
    revocation_endpoint_auth_methods_supported: methods,
    jwks_uri: `${origin}/.well-known/jwks.json`,
    grant_types_supported: ['client_credentials'],
    response_types_supported: [],
    service_documentation: `${origin}/docs`,
  };
}

/** 401 where the client failed to prove itself, with the scheme it may use; 400 for everything else. */
function refuse(error: OAuthError, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const unauthorized = error.code === 'invalid_client';
  if (unauthorized) reply.header('WWW-Authenticate', 'Basic realm="rapport", charset="UTF-8"');
  request.log.debug({ requestId: request.id, error: error.code }, 'a token was refused');
  return reply
    .code(unauthorized ? 401 : 400)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ error: error.code, error_description: error.message }));
}

type Form = Map<string, string>;

/**
 * The parameters of a form. Without a value they are as good as left out, and none may be there twice (RFC 6749, 3.2);
 * what is not known is ignored.
 *
 * @throws OAuthError invalid_request
 */
function readForm(request: FastifyRequest): Form {
  const fault = (description: string) => new OAuthError('invalid_request', description);
  // Addresses are logged, by everybody on the way.
  if (request.url.includes('?')) throw fault('Send the parameters in the body, none in the address.');
  if (!/^application\/x-www-form-urlencoded *(;|$)/i.test(request.headers['content-type'] ?? '')) {
    throw fault('Send application/x-www-form-urlencoded.');
  }
  const form: Form = new Map();
  for (const pair of textOf(request.body).split('&')) {
    const equals = pair.indexOf('=');
    const name = decoded(equals === -1 ? pair : pair.slice(0, equals));
    const value = equals === -1 ? '' : decoded(pair.slice(equals + 1));
    if (name === null || value === null) throw fault('The body is not valid percent-encoded UTF-8.');
    if (name === '' || value === '') continue;
    if (form.has(name)) throw fault('A parameter is there twice.');
    form.set(name, value);
  }
  return form;
}

function textOf(body: unknown): string {
  return Buffer.isBuffer(body) ? body.toString('latin1') : '';
}

/** null: not what `application/x-www-form-urlencoded` looks like, or nothing that can be stored. */
function decoded(text: string): string | null {
  try {
    const value = decodeURIComponent(text.replaceAll('+', ' '));
    return value.includes('\u0000') || !/^[\x20-\x7e]*$/.test(text) ? null : value;
  } catch {
    return null;
  }
}

/** `client_secret_basic` or `client_secret_post`, never both (RFC 6749, 2.3). @throws OAuthError */
function credentialsOf(request: FastifyRequest, form: Form): Credentials {
  const header = authorizationOf(request.raw);
  const [id, secret] = [form.get('client_id'), form.get('client_secret')];
  if (header === undefined) {
    if (id === undefined || secret === undefined) {
      throw new OAuthError(
        'invalid_client',
        'Send client_id and client_secret, as Basic authorization or in the body.',
      );
    }
    return { id, secret };
  }
  if (secret !== undefined) throw new OAuthError('invalid_request', 'Prove who you are in one way, not in two.');
  const basic = basicOf(header);
  if (basic === null) throw new OAuthError('invalid_client', 'The Authorization header is not Basic.');
  if (id !== undefined && id !== basic.id) {
    throw new OAuthError('invalid_request', 'client_id is not the client of the Authorization header.');
  }
  return basic;
}

/** Both parts are form-encoded before they are joined (RFC 6749, 2.3.1). */
function basicOf(header: string): Credentials | null {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(header)?.[1];
  if (encoded === undefined) return null;
  const text = Buffer.from(encoded, 'base64').toString('latin1');
  const colon = text.indexOf(':');
  if (colon === -1) return null;
  const [id, secret] = [decoded(text.slice(0, colon)), decoded(text.slice(colon + 1))];
  return id === null || secret === null || id === '' || secret === '' ? null : { id, secret };
}
