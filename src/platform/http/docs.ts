import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { type Guide, openApiDocument } from './openapi.ts';
import type { Json } from './openapi-schemas.ts';
import type { Route } from './rest.ts';

/** Nothing from elsewhere: the page works without internet access. Its own styles are set from scripts. */
const contentSecurityPolicy = {
  'default-src': ["'none'"],
  'script-src': ["'self'"],
  'style-src': ["'self'", "'unsafe-inline'"],
  'img-src': ["'self'", 'data:'],
  'connect-src': ["'self'"],
  'frame-ancestors': ["'none'"],
  'base-uri': ["'none'"],
  'form-action': ["'none'"],
};

/**
 * `/openapi.json` and Swagger UI at `/docs`, both open to everyone: the contract is no secret. The document is made when
 * somebody asks for the first time, so that neither the start nor the memory of a service nobody reads pays for it.
 */
export async function serveDocs(app: FastifyInstance, routes: readonly Route[], guide: Guide): Promise<void> {
  let made: Json | undefined;
  const document = () => {
    made ??= openApiDocument(routes, guide);
    return made;
  };
  app.get('/openapi.json', (_request, reply) => reply.send(document()));
  await app.register(async (scope) => {
    // Swagger's static mode wants a document at the start; what it serves comes from transformSpecification.
    await scope.register(swagger, {
      mode: 'static',
      specification: {
        document: { openapi: '3.1.0', info: { title: guide.title, version: guide.version }, paths: {} },
      },
    });
    await scope.register(swaggerUi, {
      routePrefix: '/docs',
      // Without the bar that would show another document.
      uiConfig: { layout: 'BaseLayout', persistAuthorization: true, docExpansion: 'none', tryItOutEnabled: true },
      theme: { title: `${guide.title} · API` },
      staticCSP: contentSecurityPolicy,
      transformSpecification: () => document(),
      transformSpecificationClone: false,
    });
  });
}
