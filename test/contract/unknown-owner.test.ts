import t from 'tap';
import { testApp } from '../support/app.ts';
import { contract } from '../support/document.ts';

/* What is under the address of a record that is not there is not there either: an empty list would say that it has none. */

const api = await testApp(t, { clock: () => '2026-06-10T12:00:00.000Z' });
const unknown = '0198c0de-0000-7000-8000-000000000001';

t.test('every address below a record answers 404 where there is no such record', async (t) => {
  const below = contract().operations.filter(
    ({ method, path }) => method === 'GET' && /\{(id|externalId)\}\/./.test(path),
  );
  t.ok(below.length > 40, `${below.length} addresses`);
  for (const { path } of below) {
    const at = path
      .replace('{id}', unknown)
      .replace('{source}', 'shop')
      .replace('{externalId}', 'nobody')
      .replace('{deliveryId}', unknown);
    const { status, body } = await api.request('GET', at);
    t.match({ status, code: body.code }, { status: 404, code: 'not_found' }, path);
  }
  const fields = [
    'customerConsents(id: $id) { customerId }',
    'customerConsentHistory(id: $id) { totalCount }',
    'customerMerges(id: $id) { totalCount }',
    'customerAuditEntries(id: $id) { totalCount }',
    'customerLoyaltyTransactions(id: $id) { totalCount }',
    'loyaltyTierChanges(id: $id) { totalCount }',
  ];
  for (const field of fields) {
    const { body } = await api.graphql(`query ($id: ID!) { ${field} }`, { id: unknown });
    const found = body.errors?.[0]?.extensions?.code ?? body.data;
    t.ok(found === 'not_found' || Object.values(found)[0] === null, `${field}: ${JSON.stringify(body)}`);
  }
});

t.test('who changed a customer can be asked after it was deleted, with any filter', async (t) => {
  const { body } = await api.request('POST', '/v1/customers', { body: { name: 'Gone' } });
  await api.request('DELETE', `/v1/customers/${body.id}`, { headers: { 'If-Match': '*' } });
  const path = `/v1/customers/${body.id}/audit-entries`;
  t.equal((await api.request('GET', path)).body.data.length, 2);
  t.match(await api.request('GET', `${path}?client=nobody`), { status: 200, body: { data: [] } });
});

t.test('a filter that is no e-mail or phone is refused, on both doors', async (t) => {
  for (const [kind, value] of [
    ['email', 'nobody'],
    ['email', '@example.org'],
    ['phone', 'call me'],
    ['phone', '12'],
  ]) {
    const refused = { parameter: kind, code: `invalid_${kind}` };
    const rest = await api.request('GET', `/v1/customers?${kind}=${encodeURIComponent(value ?? '')}`);
    t.match(rest, { status: 422, body: { code: 'invalid_input', errors: [refused] } });
    const { body } = await api.graphql(`query ($value: String) { customers(${kind}: $value) { totalCount } }`, {
      value,
    });
    t.match(body.errors?.[0]?.extensions, { code: 'invalid_input', errors: [refused] }, JSON.stringify(body));
  }
  t.match(await api.request('GET', '/v1/customers?email=Nobody@Example.org'), { status: 200, body: { data: [] } });
  t.match(await api.request('GET', '/v1/customers?phone=%2B442079460000'), { status: 200, body: { data: [] } });
});
