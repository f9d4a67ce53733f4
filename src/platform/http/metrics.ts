import type { FastifyInstance } from 'fastify';
import type { MetricObject } from 'prom-client';
import { authorize } from '../operation.ts';
import { metricsMediaType, type ServiceMetrics } from '../service-metrics.ts';
import { evenWhenBusy } from './overload.ts';

/** What it takes to read what the service tells of itself; `metrics:read` is about customers. */
export const watchScope = 'service:watch';

/** What each process of the service tells of itself, this one included. */
export type AskProcesses = () => Promise<MetricObject[][]>;

/** Counts all answers. */
export function countAnswers(app: FastifyInstance, metrics: ServiceMetrics): void {
  app.addHook('onResponse', (request, reply, done) => {
    const { method, routeOptions } = request;
    metrics.answered({ method, route: routeOptions.url ?? 'none', status: reply.statusCode });
    done();
  });
}

/** `/metrics`, on a scope whose requests carry a principal. */
export function serveMetrics(app: FastifyInstance, metrics: ServiceMetrics, askProcesses: AskProcesses): void {
  app.get('/metrics', evenWhenBusy, async (request, reply) => {
    authorize({ scope: watchScope, partners: false, selfService: false }, request);
    const text = await metrics.text(await askProcesses());
    return reply.header('Cache-Control', 'no-store').type(metricsMediaType).send(text);
  });
}
