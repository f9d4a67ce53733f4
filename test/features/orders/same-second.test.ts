import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh } from '../../support/shop.ts';

const { request, graphql } = await testApp(t);

/* Shops count in seconds: of two states of a record in one second only the first is kept, and whoever sends the other is told. */

const sourceVersion = '2026-02-01T10:00:00Z';
const address = { line1: 'Main St 1', city: 'Leeds', country: 'GB' };
const order = {
  sourceVersion,
  customer: { externalId: fresh('C'), email: `${fresh('same')}@example.org` },
  placedAt: '2026-01-05T10:00:00+01:00',
  currency: 'usd',
  total: 1_500,
  tax: 250,
  taxIncluded: true,
  shipping: 300,
  exchangeRate: '1.10',
  items: [
    { externalId: 'L1', sku: 'A', name: 'Jug', quantity: 1.5, total: 700, unitPrice: '4.670', cost: 300, tax: 117 },
    { externalId: 'L2', sku: 'A', quantity: 1, total: 500 },
  ],
  paymentStatus: 'partially_paid',
  paidAt: '2026-01-05T10:01:00.5Z',
  tags: ['gift'],
  discountCodes: ['SPRING'],
  note: 'by hand',
  shippingAddress: address,
  attributes: { b: 1.5, a: [true] },
};
const documents: [string, object, object][] = [
  ['orders', order, { note: 'by post' }],
  [
    'orders',
    { ...order, customer: null, exchangeRate: null, currency: 'EUR' },
    { items: [order.items[1]], total: 800 },
  ],
  [
    'returns',
    { sourceVersion, customer: order.customer, returnedAt: '2026-01-09T10:00:00Z', currency: 'EUR', total: 10, tax: 2 },
    { tax: null },
  ],
  [
    'interactions',
    {
      sourceVersion,
      customer: order.customer,
      kind: 'phone',
      direction: 'inbound',
      occurredAt: '2026-01-09T10:00:00Z',
    },
    { kind: 'chat' },
  ],
  [
    'refunds',
    {
      sourceVersion,
      order: { externalId: 'waits' },
      amount: 100,
      refundedAt: '2026-01-09T10:00:00Z',
      items: [{ externalId: 'L1', quantity: 0.5 }],
    },
    { items: [{ externalId: 'L1', quantity: 1 }] },
  ],
  [
    'customers',
    {
      sourceVersion,
      name: 'Ada',
      birthday: '--02-14',
      address,
      identities: [{ kind: 'phone', value: '+44 20 7183 8750' }],
    },
    { identities: [{ kind: 'phone', value: '+442071838751' }] },
  ],
];

for (const [kind, document, change] of documents) {
  t.test(`${kind}: ${Object.keys(change)} in the same second`, async (t) => {
    const address = `/v1/${kind}/external/shop/${fresh('S')}`;
    const put = async (more: object) => {
      const { status, body } = await request('PUT', address, { body: { ...document, ...more } });
      const codes = (body.warnings ?? []).map(({ code }: { code: string }) => code);
      return { status, applied: body.applied, told: codes.includes('source_version_not_newer') };
    };
    const first = await put({});
    t.match(first, { applied: true, told: false }, JSON.stringify(first));
    t.match(await put({}), { applied: false, told: false }, 'the same again is nothing to warn of');
    t.match(await put(change), { applied: false, told: true }, 'another state is');
    t.match(await put({ ...change, sourceVersion: '2026-02-01T10:00:01Z' }), { applied: true, told: false });
  });
}

t.test('in a batch and over GraphQL, too', async (t) => {
  const externalId = fresh('S');
  const batch = async (note: string) => {
    const { body } = await request('POST', '/v1/orders/batch', {
      body: { orders: [{ ...order, source: 'shop', externalId, note }] },
    });
    return body.results[0];
  };
  t.match(await batch('one'), { status: 'created' });
  t.same((await batch('one')).warnings ?? [], []);
  t.match(await batch('two'), { status: 'unchanged', warnings: [{ code: 'source_version_not_newer' }] });
  const { body } = await graphql(
    'mutation ($of: ReferenceInput!, $input: OrderDocument!) { upsertOrder(reference: $of, input: $input) { applied warnings { code } } }',
    {
      of: { source: 'shop', externalId },
      input: { ...order, currency: 'USD', paymentStatus: 'PARTIALLY_PAID', note: 'three' },
    },
  );
  t.match(
    body.data?.upsertOrder,
    { applied: false, warnings: [{ code: 'source_version_not_newer' }] },
    JSON.stringify(body),
  );
});
