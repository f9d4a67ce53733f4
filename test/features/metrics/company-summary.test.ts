import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf } from '../../support/shop.ts';

const now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;

async function made(path: string, body: object): Promise<any> {
  const answer = await request('POST', path, { body, headers: newKey() });
  if (answer.status !== 201) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}
const company = async () => (await made('/v1/customers', { kind: 'company', name: fresh('Company') })).id;
const person = async (companyId: string | null) => (await made('/v1/customers', { name: 'Ada', companyId })).id;
const buys = (customerId: string, placedAt: string, total: number, more: object = {}) =>
  made('/v1/orders', orderOf({ customerId, placedAt, total, ...more }));
const touches = (customerId: string, more: object = {}) =>
  made('/v1/interactions', {
    customerId,
    kind: 'phone',
    direction: 'inbound',
    occurredAt: '2026-05-01T10:00:00Z',
    ...more,
  });
const summary = async (id: string) => (await request('GET', `/v1/customers/${id}/summary`)).body;

t.test("a company's summary has its people's figures, and its own apart", async (t) => {
  const acme = await company();
  const [ann, ben] = [await person(acme), await person(acme)];
  const other = await person(await company());
  await buys(acme, '2026-03-01T10:00:00Z', 1000);
  await buys(ann, '2026-03-01T12:00:00Z', 500);
  await buys(ben, '2026-03-11T10:00:00Z', 300, { currency: 'USD' });
  await buys(ben, '2026-03-21T10:00:00Z', 700, { cancelledAt: '2026-03-22T10:00:00Z' });
  await buys(other, '2026-04-01T10:00:00Z', 9999);
  const returned = { customerId: ann, source: 'shop', currency: 'EUR', returnedAt: '2026-04-01T10:00:00Z' };
  await made('/v1/returns', { ...returned, externalId: fresh('r'), total: 50 });
  await touches(acme, { seconds: 60 });
  await touches(ann, { kind: 'chat', seconds: 30 });
  await touches(ben, { kind: 'email_sent', direction: 'outbound', automatic: true });

  const body = await summary(acme);
  t.match(body, {
    orders: 1,
    purchaseDays: 1,
    isReturning: false,
    base: { orders: 1, revenue: 1000, returned: 0 },
    touches: { total: 1, seconds: 60 },
    withPeople: {
      people: 2,
      orders: 3,
      purchaseDays: 2,
      meanGapDays: 10,
      isReturning: true,
      perCurrency: [
        { currency: 'EUR', orders: 2, revenue: 1500, returned: 50, averageOrderValue: 750 },
        { currency: 'USD', orders: 1, revenue: 300 },
      ],
      base: { orders: 2, withoutRate: 1, revenue: 1500, returned: 50, lifetimeValue: 1450 },
      touches: { total: 2, inbound: 2, outbound: 0, seconds: 90 },
    },
  });
  t.match(await summary(ann), { orders: 1, withPeople: null });
  const alone = await company();
  await buys(alone, '2026-03-01T10:00:00Z', 100);
  const { withPeople, ...own } = await summary(alone);
  t.strictSame(
    withPeople,
    {
      people: 0,
      ...Object.fromEntries(
        Object.keys(withPeople)
          .slice(1)
          .map((member) => [member, own[member]]),
      ),
    },
    'without people both are the same',
  );

  const { body: graph } = await graphql(
    `{ a: customer(id: "${acme}") { summary { orders withPeople { people orders base { revenue } } } }
      b: customer(id: "${ann}") { summary { orders withPeople { people } } } }`,
  );
  t.strictSame(graph.data, {
    a: { summary: { orders: 1, withPeople: { people: 2, orders: 3, base: { revenue: 1500 } } } },
    b: { summary: { orders: 1, withPeople: null } },
  });
});

t.test('a partner to whom the company is shared is not told of its people', async (t) => {
  const acme = await company();
  await buys(await person(acme), '2026-03-01T10:00:00Z', 500);
  const partner = await made('/v1/partners', { name: fresh('Partner') });
  const shared = await request('PUT', `/v1/partners/${partner.id}/customers/${acme}`, { body: {} });
  t.ok(shared.status < 300, JSON.stringify(shared.body));
  const { status, body } = await request('GET', `/v1/customers/${acme}/summary`, { partner: partner.id });
  t.equal(status, 200, JSON.stringify(body));
  t.match(body, { orders: 0, withPeople: null });
});
