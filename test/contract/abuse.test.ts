import t from 'tap';
import { type AbusiveRequest, abusiveRequests } from '../../scripts/bench/abusive-requests.ts';
import { bodyLimits } from '../../src/platform/json.ts';
import { testApp } from '../support/app.ts';

/** A request of nothing but faults: the search for them ends, and the answer says so. `npm run bench` measures the time. */

t.setTimeout(240_000);
const service = await testApp(t);
const { graphql, request, origin, token } = service;

interface Told {
  code: string;
  errors?: { code: string; pointer?: string; parameter?: string }[];
  moreErrors?: true;
}

/** The problem of the request, or those of its items. */
function problemsOf(body: any): Told[] {
  if (body.errors?.[0]?.extensions) return body.errors.map((error: any) => error.extensions);
  const results = body.results ?? Object.values<any>(body.data ?? {})[0]?.results;
  return results ? results.map(({ error }: any) => error) : [body];
}

for (const { name, path, scope, body, status, code } of abusiveRequests as AbusiveRequest[]) {
  t.test(name, async (t) => {
    const answer = await request('POST', path, { body: body(), scope });
    t.equal(answer.status, status);
    const problems = problemsOf(answer.body);
    t.equal(problems[0]?.code, code);
    for (const { errors = [] } of problems) if (errors.length > 100) t.fail(`${errors.length} faults of one`);
    const told = problems.flatMap(({ errors = [] }) => errors).length;
    t.ok(told <= 100 + 1_000 + problems.length, `${told} faults are told`);
    t.ok(JSON.stringify(answer.body).length < 500_000, 'the answer is short');
  });
}

const member = (i: number) => [`unknown${i}`, 1] as const;

t.test('a hundred faults are told, and that there are more', async (t) => {
  for (const count of [100, 101]) {
    const body = Object.fromEntries(Array.from({ length: count }, (_, i) => member(i)));
    const answers = [
      await request('POST', '/v1/customers', { body }),
      await request('GET', `/v1/customers?${Object.keys(body).join('&')}`),
    ];
    for (const { status, body: problem } of answers) {
      t.equal(status, 422);
      t.equal(problem.errors.length, 100);
      t.equal(problem.moreErrors, count > 100 ? true : undefined);
    }
    const query = 'mutation ($input: CustomerInput!) { createCustomer(input: $input) { customer { id } } }';
    const { body: refused } = await graphql(query, { input: body });
    const { code, errors, moreErrors } = refused.errors[0].extensions;
    t.equal(code, 'graphql_variables_invalid');
    t.equal(errors.length, 100);
    t.equal(moreErrors, count > 100 ? true : undefined);
  }
});

t.test(
  'of a batch with a thousand faults, the first of each further item is told, and valid items are kept',
  async (t) => {
    const customers: object[] = Array.from({ length: 600 }, () => ({ kind: 'robot', name: 5 }));
    customers[599] = { name: 'Ada', references: [{ source: 'abuse', externalId: '599' }] };
    const { status, body } = await request('POST', '/v1/customers/batch', { body: { customers } });
    t.equal(status, 200);
    const results: { status: string; error?: Told }[] = body.results;
    t.equal(results.length, 600);
    for (const [index, { error }] of results.slice(0, 599).entries()) {
      const whole = index < 500;
      if (error?.errors?.length !== (whole ? 2 : 1) || error.moreErrors !== (whole ? undefined : true)) {
        t.fail(`item ${index}: ${JSON.stringify(error)}`);
      }
    }
    t.equal(results[599]?.status, 'created');

    const atomic = await request('POST', '/v1/customers/batch?atomic=true', { body: { customers } });
    t.equal(atomic.body.code, 'batch_refused');
    t.equal(atomic.body.errors.length, 100);
    t.equal(atomic.body.moreErrors, true);
  },
);

t.test('names that clients make up are not repeated at any length', async (t) => {
  const { body } = await request('POST', '/v1/customers', { body: { ['x'.repeat(500_000)]: 1 } });
  t.match(body, { code: 'invalid_input', errors: [{ code: 'unknown_member' }] });
  t.ok(JSON.stringify(body).length < 2_000);
});

t.test('the scope is asked before the variables', async (t) => {
  const query = 'mutation ($c: [CustomerInput!]!) { pushed: batchCustomers(customers: $c) { results { index } } }';
  for (const c of [[{ unknown: 1 }], 'no list', null]) {
    const { body } = await graphql(query, { c }, { scope: 'schema:read' });
    t.match(body, {
      errors: [{ path: ['pushed'], extensions: { code: 'insufficient_scope', scope: 'customers:write' } }],
    });
    t.same(body.data, { pushed: null });
  }
  const mixed = 'query ($n: Int) { orders(first: $n) { nodes { id } } customers(first: $n) { nodes { id } } }';
  const { body } = await graphql(mixed, { n: 'x' }, { scope: 'orders:read' });
  t.match(body, { errors: [{ extensions: { code: 'graphql_variables_invalid' } }] }, 'one of them is permitted');
});

t.test('null is no way around the cost', async (t) => {
  const page = 'nodes { id orders(first: $n) { nodes { id customer { id orders(first: $n) { nodes { id } } } } } }';
  const query = `query ($n: Int = 1) { customers(first: $n) { ${page} } }`;
  const cost = async (variables: object) => (await graphql(query, { ...variables })).body;
  t.ok((await cost({})).extensions.cost.requested < 20);
  t.match(await cost({ n: null }), { errors: [{ extensions: { code: 'graphql_query_too_complex' } }] });
});

t.test('only batches may be long, however a body is sent', async (t) => {
  const send = async (query: string, variables: object) => {
    const bytes = Buffer.from(JSON.stringify({ query, variables }));
    const response = await fetch(`${origin}/graphql`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token('*')}`, 'Content-Type': 'application/json' },
      body: new Blob([bytes]).stream(),
      duplex: 'half',
    } as RequestInit);
    const body: any = await response.json(); // as any answer of a test
    return { status: response.status, body };
  };
  const attributes = { a: 'x'.repeat(1_100_000) };
  const one = 'mutation ($input: CustomerInput!) { createCustomer(input: $input) { customer { id } } }';
  const many = 'mutation ($c: [CustomerInput!]!) { batchCustomers(customers: $c) { results { error { code } } } }';
  const refused = await send(one, { input: { attributes } });
  t.equal(refused.status, 413);
  t.equal(refused.body.errors[0].extensions.code, 'body_too_large');
  t.match((await send(many, { c: [{ attributes }] })).body.data.batchCustomers.results, [
    { error: { code: 'invalid_input' } },
  ]);
  const tooLong = await send(many, { c: Array(17).fill({ name: 'x'.repeat(1_000_000) }) });
  t.equal(tooLong.status, 413);
});

t.test('what a body may be made of', async (t) => {
  const members = (count: number) => ({
    attributes: Object.fromEntries(Array.from({ length: count }, (_, i) => member(i))),
  });
  const elements = (count: number) => ({ tags: Array(count).fill('x') });
  for (const [make, limit] of [
    [members, bodyLimits.members],
    [elements, bodyLimits.elements],
  ] as const) {
    t.equal((await request('POST', '/v1/customers', { body: make(limit) })).body.code, 'invalid_input');
    t.equal((await request('POST', '/v1/customers', { body: make(limit + 1) })).body.code, 'invalid_json');
  }
});
