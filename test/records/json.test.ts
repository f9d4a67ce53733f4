import t from 'tap';
import { routes } from '../../src/features.ts';
import { selectableOf } from '../../src/platform/operation.ts';
import { type Answer, testApp } from '../support/app.ts';
import { stockCrowd } from '../support/crowd.ts';
import { stockPartner } from '../support/people.ts';
import { newKey } from '../support/shop.ts';

/**
 * The records of pages are JSON that the database makes; those that are read one by one are made of rows. Both are the same,
 * to the last member, for every kind of record and every kind of caller.
 */

const service = await testApp(t, { clock: () => '2026-06-01T00:00:00.000Z' });
const { request } = service;
const crowd = await stockCrowd(service, 10);

// What reads otherwise than it is stored.
async function sent(method: string, path: string, body: unknown): Promise<void> {
  const { status, body: answer } = await request(method, path, { body, headers: newKey() });
  if (status >= 300) throw new Error(`${path}: ${status} ${JSON.stringify(answer)}`);
}
await sent('POST', '/v1/customers', {
  name: 'Ünïcode "quoted" \\ back\nslash \u2028 😀',
  birthday: '--02-29',
  references: [{ source: 'erp', externalId: '1' }],
  sourceVersion: '2026-03-01T08:26:00.123456789Z',
  attributes: { number: 1.5, nested: { list: [1, null, 'x'] }, 'with "quotes"': true },
  tags: ['a', 'b "c"'],
});
await sent('POST', '/v1/customers', {
  name: 'Counter',
  references: [{ source: 'erp', externalId: '2' }],
  sourceVersion: 7,
});
const line = { quantity: 1.25, total: 1000, unitPrice: '0.055', sku: 'A' };
for (const [externalId, placedAt, more] of [
  ['micro', '2026-03-01T08:26:00.123456Z', { customer: null }],
  ['milli', '2026-03-01T08:26:00.12Z', { customer: { email: 'milli@example.org' }, exchangeRate: '1.10' }],
  [
    'early',
    '1970-01-01T00:00:00Z',
    { customer: { email: 'milli@example.org' }, note: 'Ring "twice"', sourceVersion: '1969-12-31T23:59:59.5Z' },
  ],
] as const) {
  await sent('POST', '/v1/orders', {
    source: 'shop',
    externalId,
    placedAt,
    currency: 'USD',
    total: 1000,
    items: [line, { ...line, total: 0, name: 'free' }],
    paymentStatus: 'paid',
    shippingAddress: { city: 'Zürich', country: 'CH' },
    ...more,
  });
}
await sent('PUT', '/v1/refunds/external/shop/waits', {
  order: { externalId: 'not-there-yet' },
  amount: 10,
  refundedAt: '2026-03-02T00:00:00Z',
});

const members = crowd.members.slice(0, 5).map(({ id }) => id);
const fields = (await request('GET', '/v1/partner-fields')).body.fields.map(({ name }: { name: string }) => name);
const some = fields.filter((_: string, index: number) => index % 2 === 0);
const callers = {
  all: {},
  'without personal data': { scope: scopesWithout('customers:pii') },
  partner: { partner: await stockPartner(service, { customers: members, fields: [] }) },
  'partner told everything': { partner: await stockPartner(service, { customers: members, fields }) },
  'partner told some': { partner: await stockPartner(service, { customers: members, fields: some }) },
  'partner without personal data': {
    partner: await stockPartner(service, { customers: members, fields }),
    scope: scopesWithout('customers:pii'),
  },
  customer: { customer: members[0] ?? '' },
};

function scopesWithout(scope: string): string {
  return [...new Set(routes.map(({ operation }) => operation.scope))].filter((one) => one && one !== scope).join(' ');
}

const lists = routes.filter(
  ({ method, operation, url }) => method === 'GET' && !url.includes(':') && selectableOf(operation)?.page,
);
t.match(
  lists.map(({ url }) => url),
  ['/v1/campaigns', '/v1/customers', '/v1/interactions', '/v1/orders', '/v1/refunds', '/v1/returns'].map(() => String),
);

for (const { url, operation } of lists) {
  for (const [name, caller] of Object.entries(callers)) {
    if ('partner' in caller && !operation.partners) continue;
    if ('customer' in caller && !operation.selfService) continue;
    t.test(`${url}, ${name}`, async (t) => {
      const seen: { id: string }[] = [];
      for (let after: string | null = null; ; ) {
        const path: string = `${url}?limit=7&count=true${after === null ? '' : `&after=${after}`}`;
        const { status, body }: Answer = await request('GET', path, caller);
        t.equal(status, 200, JSON.stringify(body));
        t.ok(operation.output.safeParse(body).success, 'as the contract says');
        seen.push(...body.data);
        after = body.page.next;
        if (after === null) {
          t.equal(body.page.total, seen.length);
          break;
        }
      }
      if (!('customer' in caller))
        t.ok(seen.length > 0 || ['/v1/campaigns', '/v1/import-mappings'].includes(url), 'there are some');
      for (const listed of seen) {
        const { body } = await request('GET', `${url}/${listed.id}`, caller);
        t.same(listed, body);
        t.same(Object.keys(listed).sort(), Object.keys(body).sort());
      }
    });
  }
}

t.test('who saw personal data in a page is in the audit, and nobody who saw none', async (t) => {
  const entries = async () =>
    (await request('GET', '/v1/audit-entries?kind=read&limit=100')).body.data.filter(
      ({ operation }: { operation: string }) => operation === 'listCustomers' || operation === 'listOrders',
    );
  const settled = () => new Promise((resolve) => setTimeout(resolve, 300));
  await settled();
  const before = (await entries()).length;
  const page = (await request('GET', '/v1/customers?limit=3')).body.data;
  await request('GET', '/v1/orders?limit=100&channel=nowhere');
  await request('GET', '/v1/customers?limit=3', { scope: 'customers:read' });
  const noted = (await request('GET', '/v1/orders?limit=100')).body.data;
  await settled();
  const added = (await entries()).slice(0, (await entries()).length - before);
  t.same(added.map(({ operation }: { operation: string }) => operation).sort(), ['listCustomers', 'listOrders']);
  const of = (operation: string) => added.find((one: { operation: string }) => one.operation === operation);
  t.same(new Set(of('listCustomers')?.customerIds), new Set(page.map(({ id }: { id: string }) => id)));
  const told = noted.filter(({ note, attributes, tags, shippingAddress, billingAddress }: any) =>
    [note, attributes, tags, shippingAddress, billingAddress].some((value) => value !== null),
  );
  const owners = told.flatMap(({ customerId }: { customerId: string | null }) => customerId ?? []);
  for (const owner of owners) t.ok(of('listOrders')?.customerIds.includes(owner));
  t.ok(owners.length > 0);
});
