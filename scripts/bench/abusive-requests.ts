/**
 * Requests made of nothing but faults, each as large as it is taken. `npm run bench` measures how long they keep others
 * waiting; test/contract/abuse.test.ts checks what they are answered.
 */

export interface AbusiveRequest {
  name: string;
  path: string;
  scope: '*' | 'schema:read';
  body: () => string;
  /** The answer's status, and the code of the problem or of its first item. */
  status: number;
  code: string;
}

const megabyte = 1024 * 1024;

function repeated(text: string, bytes: number): string {
  return Array(Math.floor(bytes / (text.length + 1)))
    .fill(text)
    .join(',');
}

function unknownMembers(count: number): string {
  return `{${Array.from({ length: count }, (_, i) => `"unknownMember${i}":1`).join(',')}}`;
}

function batch(plural: string, count: number, item: string): string {
  return `{"${plural}":[${Array(count).fill(item).join(',')}]}`;
}

function graphql(query: string, variables: string): string {
  return `{"query":${JSON.stringify(query)},"variables":${variables}}`;
}

const pushCustomers =
  'mutation ($customers: [CustomerInput!]!) { batchCustomers(customers: $customers) { results { index error { code moreErrors } } } }';
const pushOrders =
  'mutation ($orders: [OrderInput!]!) { batchOrders(orders: $orders) { results { index error { code moreErrors } } } }';
const createCustomer = 'mutation ($input: CustomerInput!) { createCustomer(input: $input) { customer { id } } }';

function rest(name: string, path: string, body: () => string, status: number, code: string): AbusiveRequest {
  return { name, path, scope: '*', body, status, code };
}

function ofGraphql(name: string, body: () => string, code: string, status = 200): AbusiveRequest {
  return { name, path: '/graphql', scope: '*', body, status, code };
}

const emptyLines = `{"items":[${repeated('{}', 2_400)}]}`;

export const abusiveRequests: readonly AbusiveRequest[] = [
  rest('orders with bad lines', '/v1/orders/batch', () => batch('orders', 1_000, emptyLines), 200, 'invalid_input'),
  rest(
    'orders with unknown members',
    '/v1/orders/batch',
    () => batch('orders', 1_000, unknownMembers(700)),
    200,
    'invalid_input',
  ),
  rest(
    'attributes with long names',
    '/v1/orders/batch',
    () => {
      const names = Array.from({ length: 1_000 }, (_, i) => `"${'x'.repeat(101)}${i}":1`);
      return batch('orders', 120, `{"attributes":{${names.join(',')}}}`);
    },
    200,
    'invalid_input',
  ),
  rest(
    'an object of unknown members',
    '/v1/orders/batch',
    () => batch('orders', 1, unknownMembers(700_000)),
    400,
    'invalid_json',
  ),
  rest(
    'an array of millions',
    '/v1/orders/batch',
    () => `{"orders":[${repeated('{}', 15 * megabyte)}]}`,
    400,
    'invalid_json',
  ),
  rest(
    'millions of values',
    '/v1/orders/batch',
    () => batch('orders', 1_000, `{"tags":[${repeated('1', 15_000)}]}`),
    400,
    'invalid_json',
  ),
  rest(
    'a customer of bad identities',
    '/v1/customers',
    () => `{"identities":[${repeated('{}', 29_000)}]}`,
    422,
    'invalid_input',
  ),
  rest(
    'a long locale',
    '/v1/customers',
    () => JSON.stringify({ locale: 'aaaa-'.repeat(200_000) }),
    422,
    'invalid_input',
  ),
  ofGraphql(
    'GraphQL: customers with unknown members',
    () => graphql(pushCustomers, batch('customers', 1_000, unknownMembers(320))),
    'graphql_variables_invalid',
  ),
  {
    ...ofGraphql(
      'GraphQL: the same without a scope',
      () => graphql(pushCustomers, batch('customers', 1_000, unknownMembers(320))),
      'insufficient_scope',
    ),
    scope: 'schema:read',
  },
  ofGraphql(
    'GraphQL: orders with bad lines',
    () => graphql(pushOrders, batch('orders', 1_000, emptyLines)),
    'graphql_variables_invalid',
  ),
  ofGraphql(
    'GraphQL: lines whose content is bad',
    () => {
      const line = '{"quantity":-1,"total":1}';
      const order = `{"placedAt":"x","currency":"x","total":1,"paymentStatus":"PAID","source":"x","externalId":"x","items":[${Array(400).fill(line).join(',')}]}`;
      return graphql(pushOrders, batch('orders', 1_000, order));
    },
    'invalid_input',
  ),
  ofGraphql(
    'GraphQL: a long text for a word',
    () => graphql(createCustomer, JSON.stringify({ input: { kind: 'x'.repeat(megabyte - 500) } })),
    'graphql_variables_invalid',
  ),
];
