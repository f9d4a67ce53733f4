import { getTableName } from 'drizzle-orm';
import pg from 'pg';
import t from 'tap';
import { derivedState } from '../../../src/derived-state.ts';
import { rollupDifferences } from '../../../src/features/rollups/queries.ts';
import type { Db } from '../../../src/platform/db/client.ts';
import { storedTables } from '../../../src/records/table.ts';
import { testApp } from '../../support/app.ts';
import { fresh, pushOrder, pushRefund, pushReturn } from '../../support/shop.ts';
import { rollupVerifier } from '../../support/verify-rollups.ts';

const api = await testApp(t);
const { request } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const verify = await rollupVerifier(t, api.url);
/** The session of `database`, which sees what it has not committed. */
const planted: Db = {
  all: async (query, values = {}) => (await database.query(query.text, query.bind(values))).rows,
  first: async (query, values = {}) => (await database.query(query.text, query.bind(values))).rows[0] ?? null,
};
const rows = async (text: string) => (await database.query(text)).rows;

t.test('agreement is exit 0, a difference in any table is exit 1 with a list, and --repair heals it', async (t) => {
  const customer = { externalId: fresh('verified') };
  const { body: order } = await pushOrder(api, { customer });
  await pushOrder(api, { customer, currency: 'USD', placedAt: '2026-04-01T00:00:00Z' });
  await pushRefund(api, order.id, { amount: 300 });
  await pushReturn(api, { customer });
  t.match(await verify(), { code: 0, output: /agrees with the records/ });

  const everything = `select (select json_agg(s order by customer_id, currency) from customer_stats s)::text as stats,
    (select json_agg(m order by customer_id, month, currency) from customer_month m)::text as months,
    (select json_agg(p order by customer_id) from customer_purchases p)::text as purchases,
    (select json_agg(json_build_array(id, refunds, refunded, status) order by id) from orders)::text as orders`;
  const right = await rows(everything);
  for (const statement of [
    'update customer_stats set purchase_days = purchase_days + 1',
    `delete from customer_stats where currency = 'USD'`,
    `insert into customer_month select customer_id, month, 'GBP', orders, revenue, base_orders, base_revenue, returns, returned, base_returns, base_returned, base_lines, base_costed_lines, base_cost from customer_month limit 1`,
    `update customer_month set returned = returned + 1 where currency = 'USD'`,
  ]) {
    await database.query(statement);
  }
  const { code, output } = await verify(['--limit', '5']);
  t.equal(code, 1);
  t.equal(output.match(/customer_stats/g)?.length, 2, 'one differs, one is missing');
  t.equal(output.match(/customer_month/g)?.length, 2, 'one differs, one is too many');
  t.match(output, /4 differences .*--repair/);
  t.match(await verify(['--repair']), { code: 0, output: /Recomputed the derived state of 1 customers/ });
  t.same(await rows(everything), right, 'healed');

  for (const change of [
    'customer_month set base_lines = base_lines + 1',
    'customer_month set base_costed_lines = base_costed_lines + 1',
    'customer_month set base_cost = base_cost + 1',
    'customer_purchases set days[1] = days[1] - 1',
    'customer_purchases set orders[1] = orders[1] + 1',
    'customer_purchases set revenue[1] = revenue[1] + 1',
    'customer_purchases set unvalued = unvalued + 1',
  ]) {
    await database.query('begin');
    await database.query(`update ${change}`);
    const [table = ''] = change.split(' ');
    const found = await rollupDifferences(planted, 'UTC', 5);
    t.ok(found.length > 0 && found.every((one) => one.table === table), change);
    await database.query('rollback');
  }

  await database.query(`update orders set refunded = refunded - 1 where id = '${order.id}'`);
  t.match(await verify(), { code: 1, output: new RegExp(`orders.*${order.id}`) });
  t.equal((await verify(['--repair'])).code, 0);
  t.same(await rows(everything), right);
  await database.query('delete from refunds');
  t.equal((await verify(['--repair'])).code, 0);
  t.match(
    (await request('GET', `/v1/orders/${order.id}`)).body,
    { refunded: 0, status: 'paid' },
    'orders follow their refunds',
  );
});

t.test('another time zone or base currency is refused until the derived state is rebuilt under it', async (t) => {
  const customer = { externalId: fresh('moving') };
  const { body: order } = await pushOrder(api, { customer, placedAt: '2026-03-31T23:30:00Z' });
  const { body: foreign } = await pushOrder(api, {
    customer,
    currency: 'USD',
    placedAt: '2026-03-31T12:00:00Z',
    exchangeRate: '0.5',
  });
  await request('PUT', '/v1/exchange-rates', {
    body: { rates: [{ date: '2026-03-31', currency: 'USD', rate: '0.9' }] },
  });
  const months = () =>
    rows(`select month::text, currency from customer_month where customer_id = '${order.customerId}' order by 1, 2`);
  t.same(await months(), [
    { month: '2026-03-01', currency: 'EUR' },
    { month: '2026-03-01', currency: 'USD' },
  ]);

  const tokyo = { REPORTING_TIME_ZONE: 'Asia/Tokyo' };
  const refused = await verify([], tokyo);
  t.equal(refused.code, 1);
  t.match(refused.output, /REPORTING_TIME_ZONE is Asia\/Tokyo, but the data was built with UTC/);
  t.notMatch(refused.output, /\n\s+at /, 'said in a line, without a stack');
  t.match(
    await verify(['--accept-settings'], tokyo),
    { code: 1, output: /--repair/ },
    'accepting needs a recomputation',
  );
  t.match(await verify(['--repair', '--accept-settings'], tokyo), { code: 0 });
  t.same(await months(), [
    { month: '2026-03-01', currency: 'USD' },
    { month: '2026-04-01', currency: 'EUR' },
  ]);
  t.match(await verify(), { code: 1, output: /REPORTING_TIME_ZONE is UTC, but the data was built with Asia\/Tokyo/ });
  t.equal((await request('GET', `/v1/orders/${foreign.id}`)).body.exchangeRate, '0.5', 'a zone alone leaves the rates');

  const dollars = { ...tokyo, BASE_CURRENCY: 'USD' };
  t.match(await verify(['--repair', '--accept-settings'], dollars), { code: 0, output: /upload rates in USD/ });
  t.match((await request('GET', `/v1/orders/${foreign.id}`)).body, { exchangeRate: '1', baseRevenue: 1000 });
  t.match((await request('GET', `/v1/orders/${order.id}`)).body, { exchangeRate: null, baseRevenue: null });
  t.same(await rows('select * from exchange_rates'), [], 'rates into the old currency are gone');
});

t.test('every table that its definition calls derived is compared, and made anew', (t) => {
  const derived = storedTables().flatMap(({ table, nature }) => (nature === 'derived' ? [getTableName(table)] : []));
  // Whose turn it is and what is planned next follow from time, and not from facts alone: they are not made anew.
  const moving = ['assignment_turns', 'survey_plans'];
  t.strictSame([...derivedState.flatMap(({ tables }) => tables), ...moving].sort(), derived.sort());
  for (const { name, ofCustomers, ofNobody } of derivedState) t.ok(ofCustomers ?? ofNobody, name);
  t.end();
});
