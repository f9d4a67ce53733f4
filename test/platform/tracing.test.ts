import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { testApp } from '../support/app.ts';
import { orderOf } from '../support/shop.ts';

interface Attribute {
  key: string;
  value: { stringValue?: string; intValue?: number };
}
interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  attributes: Attribute[];
  status: { code?: number };
}

/** A collector: what it is sent, as it came. */
const bodies: string[] = [];
const paths = new Set<string>();
const collector = createServer(async (request, response) => {
  let body = '';
  for await (const chunk of request) body += chunk;
  bodies.push(body);
  paths.add(request.url ?? '');
  response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
}).listen(0, '127.0.0.1');
await once(collector, 'listening');
t.teardown(() => collector.close());
const { port } = collector.address() as AddressInfo; // listening on TCP

const spansIn = (body: string): Span[] =>
  JSON.parse(body).resourceSpans.flatMap((of: { scopeSpans: { spans: Span[] }[] }) =>
    of.scopeSpans.flatMap(({ spans }) => spans),
  );
const told = ({ attributes }: Span) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue]));

t.test('a span per request, and below it one per statement, with names and no values', async (t) => {
  const app = await testApp(t, { env: { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` } });
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  const pushed = await app.request('POST', '/v1/orders', {
    headers: { 'Idempotency-Key': 'traced', traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
    body: orderOf({ externalId: 'secret-order', customer: { externalId: 'C1', email: 'ada@example.org' } }),
  });
  t.equal(pushed.status, 201);
  const { customerId } = pushed.body;
  await app.request('GET', `/v1/customers/${customerId}`);
  await app.request('GET', `/nowhere/${customerId}`, { headers: { traceparent: 'nonsense' } });
  await app.graphql('query ($id: ID!) { customer(id: $id) { name } }', { id: customerId });
  await app.app.close();

  t.strictSame([...paths], ['/v1/traces']);
  const spans = bodies.flatMap(spansIn);
  const named = (name: string) => spans.filter((span) => span.name === name);
  const below = ({ spanId }: Span) => spans.filter(({ parentSpanId }) => parentSpanId === spanId);
  const [order] = named('POST /v1/orders');
  if (!order) return t.fail(`there are ${spans.map(({ name }) => name)}`);
  t.match(order, { traceId, parentSpanId: '00f067aa0ba902b7' }, 'goes on with the trace of the caller');
  t.match(told(order), {
    'http.request.method': 'POST',
    'http.route': '/v1/orders',
    'http.response.status_code': 201,
    'rapport.request_id': pushed.headers.get('x-request-id'),
  });
  t.ok(below(order).length >= 3, `its statements: ${below(order).map(({ name }) => name)}`);
  for (const span of below(order)) t.match(span, { traceId, name: /^[a-z_]+$/ });
  const [read] = named('GET /v1/customers/:id');
  t.ok(read && below(read).length > 0, 'reads have statements');
  t.not(read?.traceId, traceId, 'a request without a parent has a trace of its own');
  t.equal(named('GET').length, 1, 'an address where nothing is has no name');
  const [graphql] = named('POST /graphql');
  t.ok(graphql && below(graphql).length > 0);
  t.notMatch(bodies.join(), /secret-order|ada@example|nowhere/, 'nothing that was sent');
  t.notOk(bodies.join().includes(customerId), 'no ids but those of requests');
});

t.test('a collector that is away disturbs nobody', async (t) => {
  const app = await testApp(t, { env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' } });
  t.equal((await app.request('GET', '/v1/customers')).status, 200);
});
