import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf, pushOrder } from '../../support/shop.ts';

/* What shops send with an order besides its amounts: codes, notes, addresses, and how far the payment is. */

const api = await testApp(t, { clock: () => '2026-06-10T12:00:00.000Z' });
const { request, graphql } = api;
const customer = () => ({ externalId: fresh('c') });
const change = { 'If-Match': '*' };

const london = { line1: '1 Savile Row', postalCode: 'W1S 3JR', city: 'London', country: 'GB' };
const whole = { line1: null, line2: null, postalCode: null, city: null, region: null, country: null };
const members = {
  discountCodes: ['SPRING10', 'Friends & Family'],
  note: 'Ring twice',
  shippingAddress: london,
  billingAddress: { city: 'Brno', country: 'CZ' },
  paidAt: '2026-03-01T10:00:01.000Z',
  fulfilledAt: '2026-03-03T08:00:00.000Z',
};
const none = {
  discountCodes: null,
  note: null,
  shippingAddress: null,
  billingAddress: null,
  paidAt: null,
  fulfilledAt: null,
};

t.test('they are kept, changed, cleared and masked on both doors', async (t) => {
  const { source, externalId, ...body } = orderOf({ customer: customer() });
  const document = { source, externalId, ...body, ...members };
  const at = `/v1/orders/external/${source}/${externalId}`;
  const made = await request('POST', '/v1/orders', { body: document, headers: newKey() });
  t.match(made, { status: 201, body: { ...members, warnings: [] } }, JSON.stringify(made.body));
  t.match((await request('GET', at)).body, members);
  const masked = { ...members, note: null, shippingAddress: null, billingAddress: null };
  t.match((await request('GET', at, { scope: 'orders:read' })).body, masked, 'without customers:pii');
  t.match((await request('PATCH', at, { body: { note: 'Ring once', discountCodes: [] }, headers: change })).body, {
    ...members,
    note: 'Ring once',
    discountCodes: [],
  });
  t.match((await request('PUT', at, { body })).body, none, 'a document without them clears them');

  const fields = `discountCodes note paidAt fulfilledAt paymentStatus
    shippingAddress { line1 line2 postalCode city region country } billingAddress { city country }`;
  const upsert = `mutation ($input: OrderDocumentInput!) {
    upsertOrder(reference: {source: "shop", externalId: "${externalId}"}, input: $input) { order { ${fields} } } }`;
  const type = upsert.replace('OrderDocumentInput', 'OrderDocument');
  const written = await graphql(type, { input: { ...body, ...members, paymentStatus: 'PARTIALLY_PAID' } });
  t.match(written.body.data?.upsertOrder.order, {
    ...members,
    paymentStatus: 'PARTIALLY_PAID',
    shippingAddress: { ...whole, ...london },
  });
  const query = `{ order(reference: {source: "shop", externalId: "${externalId}"}) { ${fields} } }`;
  t.match((await graphql(query)).body.data.order, { note: 'Ring twice', paidAt: members.paidAt });
  t.match((await graphql(query, {}, { scope: 'orders:read' })).body.data.order, {
    note: null,
    shippingAddress: null,
    discountCodes: members.discountCodes,
  });
  const nested = `{ customers(first: 100) { nodes { orders { nodes { id paidAt fulfilledAt discountCodes shippingAddress { city } } } } } }`;
  const { nodes } = (await graphql(nested)).body.data.customers;
  const own = nodes.flatMap((one: any) => one.orders.nodes).find(({ id }: { id: string }) => id === made.body.id);
  t.match(own, { paidAt: members.paidAt, fulfilledAt: members.fulfilledAt, discountCodes: members.discountCodes });
  t.equal(own.shippingAddress.city, 'London', 'in the order of a customer as well');
});

t.test('what cannot be read of them is refused with its place', async (t) => {
  for (const [more, pointer] of [
    [{ discountCodes: [''] }, '/discountCodes/0'],
    [{ discountCodes: Array.from({ length: 101 }, String) }, '/discountCodes'],
    [{ note: 'x'.repeat(10_001) }, '/note'],
    [{ shippingAddress: { country: 'XX' } }, '/shippingAddress/country'],
    [{ billingAddress: { phone: '1' } }, '/billingAddress/phone'],
    [{ paidAt: 'yesterday' }, '/paidAt'],
    [{ paymentStatus: 'settled' }, '/paymentStatus'],
  ] as const) {
    const answer = await pushOrder(api, { customer: customer(), ...more });
    t.match(answer, { status: 422, body: { errors: [{ pointer }] } }, pointer);
  }
});

t.test('erasing a person leaves the countries and codes of its orders', async (t) => {
  const { body: order } = await pushOrder(api, { customer: customer(), ...members });
  await request('POST', `/v1/customers/${order.customerId}/erase`, { headers: { ...change, ...newKey() } });
  const { body } = await request('GET', `/v1/orders/${order.id}`);
  t.match(body, {
    ...members,
    note: null,
    shippingAddress: { country: 'GB' },
    billingAddress: { country: 'CZ' },
  });
  t.notMatch(JSON.stringify(body), /London|Brno|Savile/);
});

t.test('a customer token says nothing of payment, delivery, attributes and tags', async (t) => {
  const externalId = fresh('self');
  const { body: own } = await request('POST', '/v1/customers', {
    body: { references: [{ source: 'shop', externalId }] },
  });
  const token = { customer: own.id, scope: 'orders:read orders:write customers:pii' };
  const place = (more: object) =>
    request('POST', '/v1/orders', {
      ...token,
      body: orderOf({ customer: { externalId }, paymentStatus: 'pending', ...more }),
      headers: newKey(),
    });
  const { paidAt, fulfilledAt, ...rest } = members;
  t.equal((await place(rest)).status, 201, 'codes, a note and addresses it may send');
  for (const more of [
    { paidAt },
    { fulfilledAt },
    { attributes: { a: 1 } },
    { tags: ['vip'] },
    { paymentStatus: 'authorized' },
  ]) {
    const [member = ''] = Object.keys(more);
    t.match(
      await place(more),
      { status: 403, body: { errors: [{ pointer: `/${member}`, code: 'not_shared' }] } },
      member,
    );
  }
});

t.test('the derived status is paid for exactly paid', async (t) => {
  for (const [paymentStatus, status] of [
    ['pending', 'placed'],
    ['authorized', 'placed'],
    ['partially_paid', 'placed'],
    ['paid', 'paid'],
    ['failed', 'placed'],
    ['voided', 'placed'],
  ]) {
    t.match((await pushOrder(api, { customer: customer(), paymentStatus })).body, { paymentStatus, status });
  }
});

t.test('metrics count exactly paid with payment=paid, and warn of failed and voided payments otherwise', async (t) => {
  const currency = 'NOK'; // of this test alone
  const who = customer();
  const push = async (paymentStatus: string, total: number, more = {}) =>
    (await pushOrder(api, { customer: who, currency, total, paymentStatus, placedAt: '2026-04-05T10:00:00Z', ...more }))
      .body;
  await push('paid', 100);
  await push('paid', 300, { placedAt: '2026-05-05T10:00:00Z' });
  for (const [index, status] of ['pending', 'authorized', 'partially_paid'].entries()) await push(status, 1000 + index);
  const failed = await push('failed', 7000);
  await push('voided', 9000);
  await push('voided', 11, { cancelledAt: '2026-04-06T00:00:00Z' });
  const metrics = {
    'average-order-value': 'averageOrderValue',
    'revenue-per-customer': 'revenuePerCustomer',
    'lifetime-value': 'lifetimeValue',
    'repeat-purchase-rate': 'repeatPurchaseRate',
    'retention-rate': 'retentionRate',
    'churn-rate': 'churnRate',
    'purchase-gaps': 'purchaseGaps',
  };
  for (const [metric, field] of Object.entries(metrics)) {
    // Retention and churn look at two ranges, of which the earlier one has the orders in doubt.
    const period = 'from=2026-05-01&to=2026-06-01&previousFrom=2026-04-01&previousTo=2026-05-01';
    const range = /retention|churn/.test(metric) ? period : 'from=2026-04-01&to=2026-06-01';
    const ask = async (more: string) =>
      (await request('GET', `/v1/metrics/${metric}?currency=${currency}&${range}${more}`)).body;
    const all = await ask('');
    const [warning] = all.warnings.filter(({ code }: { code: string }) => code === 'failed_payments_counted');
    t.match(warning?.message, /^2 of the orders/, metric);
    t.match(all.excluded, [{ reason: 'cancelled', count: 1 }]);
    const paid = await ask('&payment=paid');
    t.notMatch(JSON.stringify(paid.warnings), /failed_payments_counted/, `${metric}: with payment=paid`);
    t.match(paid.excluded, [{ reason: 'cancelled' }, { reason: 'unpaid', count: 5 }]);
    const args = range.replace(/(\w+)=([\d-]+)&?/g, '$1: "$2", ');
    const { body } = await graphql(
      `{ metrics { ${field}(input: {currency: "${currency}", ${args}}) { value warnings { code } } } }`,
    );
    t.match(
      body.data?.metrics[field].warnings,
      all.warnings.map(({ code }: { code: string }) => ({ code })),
    );
  }
  const aov = async (more: string) =>
    (await request('GET', `/v1/metrics/average-order-value?currency=${currency}${more}`)).body.value;
  t.equal(await aov('&payment=paid'), 200);
  t.equal(await aov(''), (100 + 300 + 1000 + 1001 + 1002 + 7000 + 9000) / 7);
  await request('PATCH', `/v1/orders/${failed.id}`, { body: { paymentStatus: 'paid' }, headers: change });
  t.equal(await aov('&payment=paid'), 7400 / 3);
});

t.test('points are earned by exactly paid orders', async (t) => {
  const rules = { pointsPerUnit: 1, pointValue: 0.5 };
  const programme = (
    await request('POST', '/v1/loyalty/programmes', { body: { name: 'Club', rules }, headers: newKey() })
  ).body;
  await request('POST', `/v1/loyalty/programmes/${programme.id}/publish`, {
    body: { validFrom: '2026-01-01T00:00:00Z' },
    headers: { ...change, ...newKey() },
  });
  const { id } = (await request('POST', '/v1/customers', { body: { name: 'Member' } })).body;
  await request('POST', `/v1/customers/${id}/loyalty`, {
    body: { programmeId: programme.id, joinedAt: '2026-01-02T00:00:00Z' },
    headers: newKey(),
  });
  const balance = async () => (await request('GET', `/v1/customers/${id}/loyalty`)).body.active;
  const made: string[] = [];
  for (const paymentStatus of ['pending', 'authorized', 'partially_paid', 'failed', 'voided']) {
    made.push((await pushOrder(api, { customerId: id, total: 1000, paymentStatus })).body.id);
    t.equal(await balance(), 0, paymentStatus);
  }
  await request('PATCH', `/v1/orders/${made[1]}`, { body: { paymentStatus: 'paid' }, headers: change });
  t.equal(await balance(), 10);
  await request('PATCH', `/v1/orders/${made[1]}`, { body: { paymentStatus: 'voided' }, headers: change });
  t.equal(await balance(), 0);
});
