import t from 'tap';
import { testApp } from '../support/app.ts';
import { stockCrowd } from '../support/crowd.ts';
import { stockPartner } from '../support/people.ts';
import { statementsOf } from '../support/statements.ts';

/**
 * What GraphQL plans into SQL: how many statements a document takes, that what cannot be planned is resolved beside it, and that
 * masks, scopes and the audit are those of the operations. That plans answer what graphql-js answers: graphql-differential.
 */

const service = await testApp(t, { clock: () => '2026-06-01T00:00:00.000Z' });
const { graphql, request } = service;
const crowd = await stockCrowd(service, 12);
const [first] = crowd.members;
const id = first?.id ?? '';

const count = async (query: string, variables = {}, options = {}) => {
  // The first run may read settings.
  await graphql(query, variables, options);
  return statementsOf(async () => {
    const { body } = await graphql(query, variables, options);
    t.notOk(body.errors, JSON.stringify(body.errors));
  });
};

t.test('a document takes a statement per root field, whatever is below', async (t) => {
  const customers = `customers(first: 5) { nodes { id name email birthday references { source } company { name }
    orders(first: 2, sort: PLACED_AT_ASC) { nodes { placedAt total items { sku quantity } customer { email } } pageInfo { hasNextPage } totalCount } }
    pageInfo { hasNextPage endCursor } }`;
  t.equal(await count(`{ ${customers} }`), 1);
  t.equal(await count(`query ($id: ID!) { customer(id: $id) { name orders { edges { node { id } } } } }`, { id }), 1);
  t.equal(await count(`{ customer(reference: { source: "shop", externalId: "c1" }) { name } }`), 1);
  t.equal(await count(`{ ${customers} orders { nodes { id customer { name company { name } } } } }`), 2);
  t.equal(await count(`{ a: customers { totalCount } __typename }`), 2, 'a total is another');
});

t.test('a document that comes again is prepared', async (t) => {
  const query = '{ customers(first: 4) { nodes { id givenName } } }';
  const names: unknown[] = [];
  const { default: pg } = await import('pg');
  const original = pg.Client.prototype.query;
  pg.Client.prototype.query = function seen(this: object, ...args: unknown[]) {
    const [sent] = args as [{ name?: string; text?: string }];
    if (sent.text?.includes('row_to_json')) names.push(sent.name);
    return Reflect.apply(original, this, args);
  } as typeof original; // overloads
  t.teardown(() => {
    pg.Client.prototype.query = original;
  });
  for (let run = 0; run < 5; run += 1) await graphql(query);
  t.equal(names.length, 5);
  t.equal(names[0], undefined);
  t.ok(names[4]);
  t.equal(names[3], names[4]);
});

t.test('what needs code is resolved beside what is planned, in the order of the document', async (t) => {
  const { body } =
    await graphql(`{ orders(first: 1) { nodes { id } } metrics { retentionRate(input: { from: "2026-02-01", to: "2026-03-01" }) { value } }
    customers(first: 1) { nodes { id summary { orders } } } last: customer(id: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90") { id } }`);
  t.notOk(body.errors, JSON.stringify(body.errors));
  t.same(Object.keys(body.data), ['orders', 'metrics', 'customers', 'last']);
  t.equal(body.data.last, null);
});

t.test('scopes and refusals are those of the fields', async (t) => {
  const query = '{ customers(first: 2) { nodes { id name orders(first: 1) { nodes { id } } } } }';
  const { body } = await graphql(query, {}, { scope: 'customers:read' });
  t.match(body.errors?.[0], { path: ['customers', 'nodes', 0, 'orders'], extensions: { code: 'insufficient_scope' } });
  t.match(body.data.customers.nodes, [{ name: null, orders: null }, { name: null }]);
  const refused = await graphql('{ customers(first: 200) { nodes { id } } orders { nodes { id } } }');
  t.match(refused.body.errors, [{ path: ['customers'], extensions: { code: 'invalid_input' } }]);
  t.ok(refused.body.data === null || refused.body.data.orders);
  const cursor = await graphql('{ customers(after: "nonsense") { nodes { id } } }');
  t.equal(cursor.body.errors.length, 1);
  const none = await graphql('{ customers { nodes { id } } }', {}, { scope: 'orders:read' });
  t.match(none.body.errors, [{ extensions: { code: 'insufficient_scope' } }]);
});

t.test('partners see what is shared, masked, in one statement', async (t) => {
  const partner = await stockPartner(service, { customers: [id], fields: ['Customer.name'] });
  const query = '{ customers { nodes { id name email givenName acquiredBy orders { nodes { id total channel } } } } }';
  const { body } = await graphql(query, {}, { partner });
  t.equal(body.data.customers.nodes.length, 1);
  t.match(body.data.customers.nodes[0], { id, name: String, email: null, givenName: null, acquiredBy: null });
  t.ok(body.data.customers.nodes[0].orders.nodes.length > 0);
});

t.test('the audit has who saw whose personal data, at every depth, and only selected members count', async (t) => {
  const entries = async () => (await request('GET', '/v1/audit-entries?kind=read&limit=100')).body.data;
  const settled = () => new Promise((resolve) => setTimeout(resolve, 300));
  const added = async (query: string, options = {}) => {
    await settled();
    const before = new Set((await entries()).map((one: { id: string }) => one.id));
    const { body } = await graphql(query, {}, options);
    t.notOk(body.errors, JSON.stringify(body.errors));
    await settled();
    const found = (await entries()).filter((one: any) => !before.has(one.id) && one.door === 'graphql');
    return { data: body.data, found };
  };
  t.same((await added('{ customers { nodes { id kind orders { nodes { total } } } } }')).found, []);
  t.same((await added('{ customers { nodes { name } } }', { scope: 'customers:read' })).found, []);
  const own = await added('{ customers(first: 3) { nodes { id name } } }');
  t.match(own.found, [{ operation: 'listCustomers' }]);
  t.same(new Set(own.found[0].customerIds), new Set(own.data.customers.nodes.map((one: any) => one.id)));
  const related = await added('{ orders(first: 5) { nodes { customer { id name company { id name } } } } }');
  const customers = related.data.orders.nodes.flatMap(({ customer }: any) => (customer ? [customer.id] : []));
  const companies = related.data.orders.nodes.flatMap(({ customer }: any) =>
    customer?.company ? [customer.company.id] : [],
  );
  const noted = new Set(related.found.flatMap((one: any) => one.customerIds));
  t.same(noted, new Set([...customers, ...companies]));
  const child = await added(`{ customer(id: "${id}") { interactions { nodes { topic text } } } }`);
  t.match(
    child.found.map((one: any) => one.customerIds),
    [[id]],
  );
});
