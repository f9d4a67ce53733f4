import type { FastifyInstance } from 'fastify';
import type { Services } from '../operation.ts';
import { createPrincipal } from '../principal.ts';
import { type Route, serve } from './rest.ts';

/** Whether anybody may call it: its operation says so itself, all others are behind `requireToken`. */
export function isPublic({ operation }: Route): boolean {
  return operation.public === true;
}

/**
 * Puts public routes on an instance that asks for no token. Each is called by a principal that may do this one thing,
 * and sees no personal data. What these answer changes by itself (links end) and is about one person: nobody keeps it.
 */
export function servePublic(app: FastifyInstance, services: Services, routes: readonly Route[]): void {
  for (const target of routes.filter(isPublic)) {
    const anybody = createPrincipal('public', [target.operation.scope]);
    app.register(async (scope) => {
      scope.addHook('onRequest', (request, reply, done) => {
        request.principal = anybody;
        reply.header('Cache-Control', 'no-store');
        done();
      });
      serve(scope, services, [target]);
    });
  }
}
