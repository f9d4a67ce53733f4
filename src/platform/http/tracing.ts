import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Span, SpanContext } from '@opentelemetry/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { statements } from '../watch.ts';

/** OTEL_EXPORTER_OTLP_ENDPOINT is set, but the packages are not installed. */
export class TracingError extends Error {
  override name = 'TracingError';
}

/** Milliseconds that the last spans have to get to the collector. */
const lastWords = 2_000;

const packages = () =>
  Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/exporter-trace-otlp-http'),
  ]).catch((cause: unknown) => {
    const message =
      'OTEL_EXPORTER_OTLP_ENDPOINT needs the optional packages of OpenTelemetry: run npm ci without --omit=optional.';
    throw new TracingError(message, { cause });
  });

/**
 * Sends a span for each request and one for each of its statements to an OpenTelemetry collector (OTLP over HTTP). Spans have names of
 * routes and statements, never addresses, values or SQL. Without tracing none of the packages is loaded.
 */
export async function traceRequests(app: FastifyInstance, endpoint: string): Promise<void> {
  const [{ ROOT_CONTEXT, SpanKind, SpanStatusCode, trace }, sdk, { resourceFromAttributes }, { OTLPTraceExporter }] =
    await packages();
  const exporter = new OTLPTraceExporter({ url: `${endpoint.replace(/\/$/, '')}/v1/traces` });
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({ 'service.name': process.env['OTEL_SERVICE_NAME'] ?? 'rapport' }),
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter })],
  });
  const tracer = provider.getTracer('rapport');
  const current = new AsyncLocalStorage<Span>();
  const spans = new WeakMap<FastifyRequest, Span>();

  app.addHook('onRequest', (request, _reply, done) => {
    const remote = remoteSpan(request.headers['traceparent']);
    const parent = remote ? trace.setSpanContext(ROOT_CONTEXT, remote) : ROOT_CONTEXT;
    const route = request.routeOptions.url;
    const name = route === undefined ? request.method : `${request.method} ${route}`;
    const attributes = {
      'http.request.method': request.method,
      'rapport.request_id': request.id,
      ...(route !== undefined && { 'http.route': route }),
    };
    const span = tracer.startSpan(name, { kind: SpanKind.SERVER, attributes }, parent);
    spans.set(request, span);
    current.run(span, done);
  });
  // A body arrives in the context of its connection.
  app.addHook('preHandler', (request, _reply, done) => {
    const span = spans.get(request);
    if (span) current.run(span, done);
    else done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const span = spans.get(request);
    span?.setAttribute('http.response.status_code', reply.statusCode);
    if (reply.statusCode >= 500) span?.setStatus({ code: SpanStatusCode.ERROR });
    span?.end();
    done();
  });

  const deaf = statements.hear((begun) => {
    const parent = current.getStore();
    if (!parent) return;
    const attributes = { 'db.system.name': 'postgresql', 'db.operation.name': begun.name };
    const span = tracer.startSpan(
      begun.name,
      { kind: SpanKind.CLIENT, attributes },
      trace.setSpan(ROOT_CONTEXT, parent),
    );
    begun.ended = (error) => {
      if (error) {
        span.setStatus({ code: SpanStatusCode.ERROR });
        if ('code' in error) span.setAttribute('db.response.status_code', String(error.code));
      }
      span.end();
    };
  });
  app.addHook('onClose', async () => {
    deaf();
    // A collector that is away keeps no service from stopping.
    await Promise.race([provider.shutdown().catch(() => undefined), sleep(lastWords, undefined, { ref: false })]);
  });
}

/** What the caller says of its span (W3C Trace Context). */
function remoteSpan(header: string | string[] | undefined): SpanContext | null {
  const [, traceId, spanId, flags] =
    /^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})/.exec(String(header)) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return null;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
}
