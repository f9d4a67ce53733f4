import pg from 'pg';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, pushOrder, pushReturn, returnOf } from '../../support/shop.ts';

/** A shop in New York that reports in euros. Local dates there begin at 04:00 or 05:00 UTC. */
const api = await testApp(t, { env: { REPORTING_TIME_ZONE: 'America/New_York' } });
const { request } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);
const change = (kind: string, id: string, body: object) =>
  request('PATCH', `/v1/${kind}/${id}`, { body, headers: { 'If-Match': '*' } });

async function stats(customerId: string) {
  const { rows } = await database.query(
    `select currency, orders, revenue::int, base_orders, base_revenue::int, returns, returned::int, base_returns, base_returned::int
     from customer_stats where customer_id = $1 order by currency`,
    [customerId],
  );
  return rows;
}

t.test('a return without an order is created, read, listed, changed, replaced and deleted', async (t) => {
  const customer = { externalId: fresh('returner') };
  const { body: bought } = await pushOrder(api, { customer });
  const document = returnOf({
    customer,
    items: [{ sku: 'A', quantity: 0.5, total: 500 }],
    reason: 'too small',
    references: [{ source: 'erp', externalId: fresh('R') }],
    returnedAt: '2026-03-01T12:00:00.000001+02:00',
  });
  const created = await request('POST', '/v1/returns', { body: document, headers: newKey() });
  t.match(created, {
    status: 201,
    body: {
      customerId: bought.customerId,
      returnedAt: '2026-03-01T10:00:00.000001Z',
      total: 500,
      baseTotal: 500,
      reason: 'too small',
      items: [{ sku: 'A', quantity: 0.5, total: 500 }],
      version: 1,
      created: true,
      warnings: [],
    },
  });
  const { id } = created.body;
  t.equal(created.headers.get('location'), `/v1/returns/${id}`);
  const { created: _, applied: __, warnings: ___, ...record } = created.body;
  t.same((await request('GET', `/v1/returns/${id}`)).body, record);
  const at = `/v1/returns/external/shop/${document.externalId}`;
  t.same((await request('GET', at)).body, record);
  t.equal((await request('GET', at, { scope: 'returns:read' })).body.reason, null, 'free text is personal');
  t.match(await pushReturn(api, { externalId: document.externalId }), {
    status: 409,
    body: { code: 'already_exists', id },
  });
  t.match(await stats(bought.customerId), [
    { orders: 1, revenue: 1000, returns: 1, returned: 500, base_returned: 500 },
  ]);

  t.equal((await request('PATCH', `/v1/returns/${id}`, { body: { total: 300 } })).status, 428);
  t.match((await change('returns', id, { total: 300 })).body, {
    total: 300,
    reason: 'too small',
    items: [{ sku: 'A' }],
    version: 2,
  });
  t.match((await change('returns', id, { reason: null })).body, { reason: null, version: 3 });
  t.match(await stats(bought.customerId), [{ returned: 300 }]);
  const other = { externalId: fresh('other') };
  const moved = await change('returns', id, { customer: other });
  t.match(await stats(bought.customerId), [{ orders: 1, returns: 0, returned: 0 }]);
  t.match(await stats(moved.body.customerId), [{ orders: 0, returns: 1, returned: 300, base_returned: 300 }]);
  t.equal((await request('GET', `/v1/customers/external/shop/${other.externalId}`)).body.id, moved.body.customerId);
  const put = (members: Record<string, unknown>) => {
    const { source: _source, externalId: _externalId, ...body } = returnOf(members);
    return request('PUT', at, { body });
  };
  t.match((await put({ customer, sourceVersion: 5 })).body, {
    id,
    customerId: bought.customerId,
    items: [],
    total: 500,
    references: [{ sourceVersion: 5 }, { source: 'erp' }],
    applied: true,
  });
  t.match((await put({ customer, sourceVersion: 4, total: 1 })).body, { total: 500, applied: false });
  t.equal(
    (await request('DELETE', `/v1/customers/${moved.body.customerId}`, { headers: { 'If-Match': '*' } })).status,
    204,
  );

  const list = await request(
    'GET',
    `/v1/returns?customerId=${bought.customerId}&currency=EUR&returnedFrom=2026-03-01T00:00:00Z&returnedTo=2026-03-03T00:00:00Z&count=true`,
  );
  t.match(list.body, { data: [{ id }], page: { total: 1 } });
  t.equal((await request('GET', `/v1/returns?customerId=${bought.customerId}&currency=GBP`)).body.data.length, 0);
  const { body } = await request('POST', '/v1/returns/batch', {
    body: {
      returns: [
        returnOf({ customer }),
        returnOf({ total: 0 }),
        returnOf({ externalId: document.externalId, customer, sourceVersion: 5 }),
        returnOf({ customer: undefined }),
      ],
    },
  });
  t.match(body.results, [
    { status: 'created' },
    { status: 'refused', error: { errors: [{ pointer: '/total' }] } },
    { status: 'unchanged', id },
    { status: 'refused', error: { code: 'customer_required' } },
  ]);
  t.match(await stats(bought.customerId), [{ orders: 1, revenue: 1000, returns: 2, returned: 1000 }]);

  t.equal((await request('DELETE', at, { headers: { 'If-Match': '"1"' } })).status, 412);
  t.equal((await request('DELETE', at, { headers: { 'If-Match': '*' } })).status, 204);
  t.equal((await request('GET', at)).status, 404);
  t.match(await put({ customer }), { status: 410, body: { code: 'deleted' } });
  t.match(await put({ customer, sourceVersion: 6 }), { status: 410 });
  t.same(codes((await pushReturn(api, { returnedAt: '2999-01-01T00:00:00Z' })).body), ['/returnedAt in_the_future']);
});
