import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, pushOrder, pushReturn } from '../../support/shop.ts';

const api = await testApp(t);
const { request, graphql } = api;

t.test('metrics that use returns warn of those without tax', async (t) => {
  const customer = { externalId: fresh('C') };
  const { body: order } = await pushOrder(api, { customer });
  await pushReturn(api, { customerId: order.customerId, total: 120, tax: 20, returnedAt: '2026-03-10T00:00:00Z' });
  await pushReturn(api, { customerId: order.customerId, total: 120, returnedAt: '2026-04-10T00:00:00Z' });
  const warned = async (path: string) =>
    (await request('GET', `/v1/metrics/${path}`)).body.warnings.filter(
      ({ code }: { code: string }) => code === 'returns_without_tax',
    );
  const [march, april] = ['from=2026-03-01&to=2026-04-01', 'from=2026-04-01&to=2026-05-01'];
  for (const metric of ['revenue-per-customer', 'lifetime-value']) {
    t.equal((await warned(`${metric}?from=2026-03-01&to=2026-05-01`)).length, 1, metric);
    t.same(await warned(`${metric}?${march}`), [], 'all of this month say it');
  }
  t.equal((await warned(`revenue-per-customer?${april}&currency=EUR`)).length, 1);
  t.same(await warned(`revenue-per-customer?${april}&currency=GBP`), []);
  t.same(await warned(`average-order-value?${april}`), [], 'it uses no returns');
  t.same(
    await warned('revenue-per-customer?from=2026-03-01&to=2026-05-01&asOf=2026-04-10T00:00:00Z'),
    [],
    'not known yet',
  );
  const { body } = await graphql(
    '{ metrics { revenuePerCustomer(input: { from: "2026-03-01", to: "2026-05-01" }) { numerator warnings { code } } } }',
  );
  t.match(body.data.metrics.revenuePerCustomer, { numerator: 780, warnings: [{ code: 'returns_without_tax' }] });
});
