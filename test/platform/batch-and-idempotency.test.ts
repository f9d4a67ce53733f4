import pg from 'pg';
import t from 'tap';
import { testApp } from '../support/app.ts';
import { stockWebhook } from '../support/people.ts';
import { fresh, newKey, orderOf, pushOrder, pushRefund, pushReturn, returnOf } from '../support/shop.ts';
import { statementsOf } from '../support/statements.ts';

const api = await testApp(t);
const { request, origin, token } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const batch = (orders: unknown[], query = '', headers = {}) =>
  request('POST', `/v1/orders/batch${query}`, { body: { orders }, headers });
const statuses = (body: { results: { status: string }[] }) => body.results.map(({ status }) => status).join(' ');
const count = async (table: string) =>
  (await database.query<{ n: number }>(`select count(*)::int as n from ${table}`)).rows[0]?.n ?? 0;

/** Every row of every table, as text; but for who has read what, which a dry run is as well. */
async function dump(): Promise<string> {
  const { rows: tables } = await database.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1`,
  );
  const parts: string[] = [];
  for (const { name } of tables) {
    const changes = name === 'audit_entries' ? "where kind <> 'read'" : '';
    const { rows } = await database.query(`select row_to_json(r)::text as row from ${name} r ${changes} order by 1`);
    parts.push(name, ...rows.map(({ row }) => row));
  }
  return parts.join('\n');
}

t.test('a batch answers for each item in its place, and one bad item hurts no neighbour', async (t) => {
  const known = (await pushOrder(api, { sourceVersion: 5, customer: { externalId: fresh('c') } })).body;
  const { body: gone } = await pushOrder(api, { customer: { externalId: fresh('c') } });
  await request('DELETE', `/v1/orders/${gone.id}`, { headers: { 'If-Match': '*' } });
  const { status, body } = await batch([
    orderOf(),
    'not an order',
    orderOf({ externalId: known.externalId, total: 7 }),
    orderOf({ externalId: known.externalId, sourceVersion: 5 }),
    orderOf({ total: 10, items: [] }),
    orderOf({ externalId: gone.externalId }),
    orderOf({ items: [{ sku: 'A', quantity: 1, total: 1000, colour: 'red' }] }),
    orderOf({ customer: { externalId: fresh('c'), phone: '123' } }),
    null,
    orderOf(),
  ]);
  t.equal(status, 200);
  t.equal(statuses(body), 'created refused updated unchanged refused refused refused created refused created');
  t.same(
    body.results.map(({ index }: { index: number }) => index),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  t.match(body.results, {
    1: { error: { code: 'invalid_input', errors: [{ pointer: '', code: 'invalid_type' }] } },
    2: { id: known.id },
    3: { id: known.id },
    4: { error: { errors: [{ pointer: '/total', code: 'total_mismatch' }] } },
    5: { error: { code: 'deleted', errors: [{ pointer: '/externalId' }] } },
    6: { error: { errors: [{ pointer: '/items/0/colour', code: 'unknown_member' }] } },
    7: { warnings: [{ code: 'unusable_phone' }] },
  });
  t.equal((await request('GET', `/v1/orders/${body.results[9].id}`)).status, 200);
  t.equal((await request('GET', `/v1/orders/${known.id}`)).body.total, 7);
  for (const [sent, pointer] of [
    [{ orders: [] }, '/orders'],
    [{}, '/orders'],
    [{ orders: {} }, '/orders'],
    [{ orders: [orderOf()], more: 1 }, '/more'],
  ] as const) {
    t.match(await request('POST', '/v1/orders/batch', { body: sent }), {
      status: 422,
      body: { errors: [{ pointer }] },
    });
  }
});

t.test('items of one batch that mean the same order are applied in index order', async (t) => {
  const externalId = fresh('twice');
  const [a, b] = [fresh('a'), fresh('b')];
  const { body } = await batch([
    orderOf({ externalId, total: 1, customer: { externalId: a }, references: [{ source: 'erp', externalId }] }),
    orderOf({ externalId, total: 2, customer: { externalId: b, name: 'B' }, sourceVersion: 2 }),
    orderOf({ externalId, total: 1, sourceVersion: 1 }),
    orderOf({ externalId, source: 'erp', total: 3, customer: { externalId: b, name: 'C' } }),
    orderOf({ externalId: fresh('other'), references: [{ source: 'erp', externalId }] }),
  ]);
  t.equal(statuses(body), 'created updated unchanged updated refused');
  t.equal(new Set(body.results.map(({ id }: { id: string }) => id)).size, 1);
  t.match((await request('GET', `/v1/orders/external/shop/${externalId}`)).body, { total: 3, version: 3 });
  t.match((await request('GET', `/v1/customers/external/shop/${b}`)).body, { name: 'B' });
  const { rows } = await database.query(
    `select s.orders, s.revenue::int from customer_stats s join external_refs r on r.customer_id = s.customer_id and r.kind = 'customer' where r.external_id = any($1)`,
    [[a, b]],
  );
  t.same(rows, [{ orders: 1, revenue: 3 }], 'and counted once, for its last customer');

  const twins = Array.from({ length: 21 }, () => orderOf({ customer: { externalId: a } }));
  t.equal(
    new Set((await batch(twins)).body.results.map(({ id }: { id: string }) => id)).size,
    21,
    'rows that differ only in reference are different orders',
  );
});

t.test('an atomic batch is carried out whole or not at all', async (t) => {
  const before = await dump();
  const refused = await batch(
    [orderOf({ customer: { externalId: fresh('new') } }), orderOf({ total: 1, items: [] }), 5],
    '?atomic=true',
  );
  t.match(refused, {
    status: 422,
    body: {
      code: 'batch_refused',
      errors: [
        { pointer: '/orders/1/total', code: 'total_mismatch' },
        { pointer: '/orders/2', code: 'invalid_type' },
      ],
    },
  });
  t.equal(await dump(), before);
  const accepted = await batch([orderOf(), orderOf()], '?atomic=true');
  t.equal(statuses(accepted.body), 'created created');
});

t.test('a dry run of any write answers as if and writes nothing', async (t) => {
  const { body: customer } = await request('POST', '/v1/customers', {
    body: { name: 'Ada', references: [{ source: 'shop', externalId: fresh('dry') }] },
  });
  const { body: order } = await pushOrder(api, { customerId: customer.id });
  const { body: refund } = await pushRefund(api, order.id);
  const { body: givenBack } = await pushReturn(api, { customerId: customer.id });
  await pushOrder(api, { customerId: customer.id, currency: 'USD' });
  const callOf = (members: object) => ({ kind: 'phone', occurredAt: '2026-03-01T10:00:00Z', ...members });
  const { body: called } = await request('POST', '/v1/interactions', { body: callOf({ customerId: customer.id }) });
  const { body: empty } = await request('POST', '/v1/customers', { body: { name: 'Empty' } });
  const { body: double } = await request('POST', '/v1/customers', { body: { name: 'Double' } });
  const { body: triple } = await request('POST', '/v1/customers', { body: { name: 'Triple' } });
  const { body: merge } = await request('POST', `/v1/customers/${double.id}/merge`, {
    body: { customerId: triple.id },
  });
  const { body: prospect } = await request('POST', '/v1/leads', {
    body: { customer: { source: 'web', externalId: fresh('dry') } },
  });
  const scored = { rules: [{ name: 'a', group: 'fit', points: 1 }], grades: { A: 3, B: 2, C: 1 } };
  const { body: draft } = await request('POST', '/v1/lead-rule-sets', { body: { name: 'a', document: scored } });
  const rule = { name: 'a', purpose: 'lead', method: 'round_robin', groups: [{ value: null, members: ['maria'] }] };
  const { body: assigning } = await request('POST', '/v1/assignment-rules', { body: rule });
  const { body: dealer } = await request('POST', '/v1/partners', { body: { name: 'a', rules: { segments: ['smb'] } } });
  await request('PUT', `/v1/partners/${dealer.id}/customers/${customer.id}`, { body: {} });
  const keeping = { name: 'Texts', kind: 'interaction_text', after: 24, unit: 'months' };
  const { body: kept } = await request('POST', '/v1/retention-rules', { body: keeping });
  const { body: file } = await request('POST', '/v1/imports?kind=orders', {
    headers: { 'Content-Type': 'application/x-ndjson' },
    body: '\n',
  });
  const mapping = { name: 'm', kind: 'orders', mapping: {} };
  const { body: mapped } = await request('POST', '/v1/import-mappings', { body: mapping });
  const followUp = { customerId: customer.id, kind: 'retention' };
  const { body: open } = await request('POST', '/v1/follow-ups', { body: followUp });
  const campaign = { name: 'a', references: [{ source: 'crm', externalId: fresh('dry') }] };
  const { body: group } = await request('POST', '/v1/segments', { body: { name: 'a' } });
  const { body: running } = await request('POST', '/v1/campaigns', { body: campaign });
  const { body: model } = await request('POST', '/v1/lead-models', { body: {} });
  const ifMatch = { 'If-Match': '*' };
  const post = async (path: string, body?: unknown, headers = newKey()) =>
    (await request('POST', path, { ...(body !== undefined && { body }), headers })).body;
  const rules = { pointsPerUnit: 1, pointValue: 1, bonuses: { welcome: 500 } };
  const { body: sketch } = await request('POST', '/v1/loyalty/programmes', { body: { name: 'a', rules } });
  const { body: club } = await request('POST', '/v1/loyalty/programmes', { body: { name: 'b', rules } });
  await post(`/v1/loyalty/programmes/${club.id}/publish`, undefined, ifMatch);
  const { body: second } = await request('POST', '/v1/customers', { body: { name: 'Member' } });
  for (const { id } of [customer, second]) {
    await post(`/v1/customers/${id}/loyalty`, { programmeId: club.id }, newKey());
  }
  const spending = { customerId: customer.id, kind: 'spend', points: 3 };
  const spent = await post('/v1/loyalty/transactions', spending);
  const catalogue = { programmeId: club.id, name: 'Cup', points: 10, stock: 5 };
  const { body: cup } = await request('POST', '/v1/loyalty/rewards', { body: catalogue });
  const { body: unwanted } = await request('POST', '/v1/loyalty/rewards', { body: catalogue });
  const redeeming = { customerId: customer.id, rewardId: cup.id };
  const redeemed = await post('/v1/loyalty/redemptions', redeeming);
  const questions = [{ key: 'nps', type: 'nps', text: 'Would you?' }];
  const asking = {
    name: 'a',
    status: 'open',
    questions,
    settings: { contactFrequencyDays: 0, followUp: { withinDays: 2 } },
  };
  const { body: survey } = await request('POST', '/v1/surveys', { body: asking });
  const { body: unasked } = await request('POST', '/v1/surveys', { body: asking });
  const submission = (submissionId: string) => ({
    submissionId,
    answeredAt: new Date().toISOString(),
    customerId: customer.id,
    answers: [{ question: 'nps', score: 2 }],
  });
  const { body: said } = await request('POST', `/v1/surveys/${survey.id}/responses`, { body: submission('1') });
  const inviting = { surveyId: survey.id, customerId: customer.id };
  await request('POST', '/v1/survey-invitations', { body: inviting });
  const { invitations } = await post('/v1/survey-invitations/claim', { surveyId: survey.id, limit: 1 });
  const { body: invited } = await request('POST', '/v1/survey-invitations', {
    body: { surveyId: survey.id, customerId: second.id },
  });
  const machine = await post('/v1/clients', { name: 'm', scopes: ['orders:read'] });
  const { id: secretId } = await post(`/v1/clients/${machine.id}/secrets`, {});
  const signing = await post('/v1/signing-keys/rotate', {});
  const hook = await stockWebhook(api);
  const before = await dump();
  const { source: _, externalId: __, ...document } = orderOf({ customer: { externalId: fresh('dry') } });
  const { source: ___, externalId: ____, ...returned } = returnOf({ customerId: customer.id });
  const waiting = { order: { source: 'shop', externalId: 'not yet' }, amount: 1, refundedAt: '2026-03-05T00:00:00Z' };
  const writes: [string, string, number, unknown?, Record<string, string>?][] = [
    ['POST', '/v1/customers', 201, { name: 'x' }],
    ['PUT', `/v1/customers/external/shop/${fresh('dry')}`, 201, { name: 'x' }],
    ['PUT', `/v1/customers/external/shop/${customer.references[0].externalId}`, 200, { name: 'y' }],
    ['PATCH', `/v1/customers/${customer.id}`, 200, { name: 'y' }, ifMatch],
    ['DELETE', `/v1/customers/${empty.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/customers/batch', 200, { customers: [{ references: [{ source: 'a', externalId: 'b' }] }] }],
    ['POST', '/v1/orders', 201, orderOf({ customer: { externalId: fresh('dry'), email: 'dry@example.org' } })],
    ['POST', '/v1/orders', 201, orderOf({ customerId: customer.id }), newKey()],
    ['PUT', `/v1/orders/external/shop/${fresh('dry')}`, 201, document],
    ['PUT', `/v1/orders/external/shop/${order.externalId}`, 200, document],
    ['PATCH', `/v1/orders/${order.id}`, 200, { customerId: empty.id }, ifMatch],
    ['DELETE', `/v1/orders/${order.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/orders/batch', 200, { orders: [orderOf(), orderOf({ externalId: order.externalId }), 3] }],
    ['POST', `/v1/orders/${order.id}/refunds`, 201, { amount: 1, refundedAt: '2026-03-05T00:00:00Z' }],
    ['POST', '/v1/refunds', 201, { orderId: order.id, amount: 1, refundedAt: '2026-03-05T00:00:00Z' }],
    ['POST', '/v1/refunds', 202, waiting],
    ['PUT', `/v1/refunds/external/shop/${fresh('dry')}`, 202, waiting],
    ['PATCH', `/v1/refunds/${refund.id}`, 200, { amount: 1 }, ifMatch],
    ['POST', '/v1/refunds/batch', 200, { refunds: [waiting, 3] }],
    ['DELETE', `/v1/refunds/${refund.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/returns', 201, returnOf({ customer: { externalId: fresh('dry') } })],
    ['PUT', `/v1/returns/external/shop/${givenBack.externalId}`, 200, returned],
    ['PATCH', `/v1/returns/${givenBack.id}`, 200, { total: 7 }, ifMatch],
    ['DELETE', `/v1/returns/${givenBack.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/returns/batch', 200, { returns: [returnOf()] }],
    ['POST', '/v1/interactions', 201, callOf({ customer: { source: 'shop', externalId: fresh('dry') } })],
    ['PUT', `/v1/interactions/external/hotline/${fresh('dry')}`, 201, callOf({ customerId: customer.id })],
    ['PATCH', `/v1/interactions/${called.id}`, 200, { customerId: empty.id }, ifMatch],
    ['DELETE', `/v1/interactions/${called.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/interactions/batch', 200, { interactions: [callOf({ customerId: empty.id }), 3] }],
    ['POST', '/v1/campaigns', 201, { name: 'b' }],
    ['PUT', `/v1/campaigns/external/crm/${fresh('dry')}`, 201, { name: 'b' }],
    ['POST', '/v1/segments', 201, { name: 'b', filter: { field: 'kind', op: 'eq', value: 'person' } }],
    ['PATCH', `/v1/segments/${group.id}`, 200, { name: 'b' }, ifMatch],
    ['DELETE', `/v1/segments/${group.id}`, 204, undefined, ifMatch],
    ['PATCH', `/v1/campaigns/${running.id}`, 200, { name: 'b' }, ifMatch],
    ['DELETE', `/v1/campaigns/${running.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/campaigns/batch', 200, { campaigns: [{ ...campaign, name: 'b' }, 3] }],
    ['POST', '/v1/leads', 201, { customerId: customer.id }],
    ['PUT', `/v1/leads/external/web/${fresh('dry')}`, 201, { customer: { email: `${fresh('d')}@example.org` } }],
    ['PATCH', `/v1/leads/${prospect.id}`, 200, { segment: 'smb' }, ifMatch],
    ['POST', `/v1/leads/${prospect.id}/stage`, 200, { to: 'customer' }],
    ['POST', `/v1/leads/${prospect.id}/assign`, 200, {}],
    ['POST', '/v1/leads/qualify', 200],
    ['POST', `/v1/customers/${customer.id}/merge`, 200, { customerId: empty.id }],
    ['POST', `/v1/customers/${double.id}/unmerge`, 200, { mergeId: merge.id }],
    ['DELETE', `/v1/leads/${prospect.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/leads/batch', 200, { leads: [{ customerId: empty.id }, { customerId: prospect.id, owner: 'jo' }] }],
    ['POST', '/v1/lead-rule-sets', 201, { name: 'b', document: scored }],
    ['PATCH', `/v1/lead-rule-sets/${draft.id}`, 200, { name: 'b' }, ifMatch],
    ['POST', `/v1/lead-rule-sets/${draft.id}/publish`, 200, undefined, ifMatch],
    ['DELETE', `/v1/lead-rule-sets/${draft.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/lead-models', 201, {}],
    ['DELETE', `/v1/lead-models/${model.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/assignment-rules', 201, rule],
    ['PATCH', `/v1/assignment-rules/${assigning.id}`, 200, { active: false }, ifMatch],
    ['DELETE', `/v1/assignment-rules/${assigning.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/partners', 201, { name: 'b', rules: { acquired: true } }],
    ['PATCH', `/v1/partners/${dealer.id}`, 200, { status: 'suspended' }, ifMatch],
    ['DELETE', `/v1/partners/${dealer.id}`, 204, undefined, ifMatch],
    ['PUT', `/v1/partners/${dealer.id}/customers/${empty.id}`, 201, { writable: true }],
    ['DELETE', `/v1/partners/${dealer.id}/customers/${customer.id}`, 204],
    ['POST', `/v1/partners/${dealer.id}/customers/batch`, 200, { customers: [{ customerId: empty.id }, 3] }],
    ['POST', `/v1/imports/${file.id}/cancel`, 200],
    ['POST', '/v1/import-mappings', 201, mapping],
    ['PATCH', `/v1/import-mappings/${mapped.id}`, 200, { name: 'n' }, ifMatch],
    ['DELETE', `/v1/import-mappings/${mapped.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/retention-rules', 201, keeping],
    ['PATCH', `/v1/retention-rules/${kept.id}`, 200, { after: 12 }, ifMatch],
    ['POST', `/v1/retention-rules/${kept.id}/run`, 201],
    ['DELETE', `/v1/retention-rules/${kept.id}`, 204, undefined, ifMatch],
    ['POST', `/v1/customers/${empty.id}/consents`, 201, { purpose: 'ads', status: 'granted' }],
    ['POST', '/v1/consents/batch', 200, { consents: [{ customerId: empty.id, purpose: 'ads', status: 'granted' }, 3] }],
    ['POST', `/v1/customers/${empty.id}/erase`, 200],
    ['POST', '/v1/follow-ups', 201, followUp],
    ['PATCH', `/v1/follow-ups/${open.id}`, 200, { status: 'done', outcome: 'retained' }, ifMatch],
    ['DELETE', `/v1/follow-ups/${open.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/loyalty/programmes', 201, { name: 'c', rules }],
    ['PATCH', `/v1/loyalty/programmes/${club.id}`, 200, { rules }, ifMatch],
    ['POST', `/v1/loyalty/programmes/${club.id}/publish`, 200, undefined, ifMatch],
    ['POST', `/v1/loyalty/programmes/${club.id}/end`, 200, undefined, ifMatch],
    ['DELETE', `/v1/loyalty/programmes/${sketch.id}`, 204, undefined, ifMatch],
    ['POST', `/v1/customers/${empty.id}/loyalty`, 201, { programmeId: club.id }],
    ['POST', '/v1/loyalty/transactions', 201, spending],
    ['POST', '/v1/loyalty/transactions', 201, { ...spending, kind: 'transfer', toCustomerId: second.id }],
    ['POST', '/v1/loyalty/transactions/batch', 200, { transactions: [{ ...spending, externalId: fresh('dry') }, 3] }],
    ['POST', `/v1/loyalty/transactions/${spent.id}/undo`, 201],
    ['POST', '/v1/loyalty/rewards', 201, catalogue],
    ['PATCH', `/v1/loyalty/rewards/${cup.id}`, 200, { stock: 7 }, ifMatch],
    ['DELETE', `/v1/loyalty/rewards/${unwanted.id}`, 204, undefined, ifMatch],
    ['POST', '/v1/loyalty/redemptions', 201, redeeming],
    ['POST', `/v1/loyalty/redemptions/${redeemed.id}/fulfil`, 200],
    ['POST', `/v1/loyalty/redemptions/${redeemed.id}/cancel`, 200, {}],
    ['POST', '/v1/surveys', 201, asking],
    [
      'PATCH',
      `/v1/surveys/${survey.id}`,
      200,
      { questions: [...questions, { key: 'x', type: 'text', text: 'Why?' }] },
      ifMatch,
    ],
    ['DELETE', `/v1/surveys/${unasked.id}`, 204, undefined, ifMatch],
    ['POST', `/v1/surveys/${survey.id}/responses`, 201, submission('2')],
    ['POST', `/v1/surveys/${survey.id}/responses/batch`, 200, { responses: [submission('1'), submission('3'), 3] }],
    ['PATCH', `/v1/survey-responses/${said.id}`, 200, { customerId: second.id }, ifMatch],
    ['DELETE', `/v1/survey-responses/${said.id}`, 204, undefined, ifMatch],
    ['POST', `/v1/surveys/${survey.id}/eligibility`, 200, { customerId: second.id, reserve: true }],
    ['POST', '/v1/survey-invitations', 201, inviting],
    ['PATCH', `/v1/survey-invitations/${invited.id}`, 200, { status: 'cancelled' }, ifMatch],
    ['POST', '/v1/survey-invitations/claim', 200, { surveyId: survey.id, limit: 5 }],
    ['POST', `/v1/survey-links/${invitations[0].token}`, 201, { answers: [{ question: 'nps', score: 1 }] }],
    ['POST', '/v1/clients', 201, { name: 'n', scopes: ['orders:read'] }],
    ['PATCH', `/v1/clients/${machine.id}`, 200, { status: 'disabled' }, ifMatch],
    ['DELETE', `/v1/clients/${machine.id}`, 204, undefined, ifMatch],
    ['POST', `/v1/clients/${machine.id}/secrets`, 201],
    ['DELETE', `/v1/clients/${machine.id}/secrets/${secretId}`, 204],
    ['POST', `/v1/clients/${machine.id}/revoke-tokens`, 200],
    ['POST', '/v1/revoked-tokens', 200, { token: api.token('orders:read', 'dry') }],
    ['POST', '/v1/signing-keys/rotate', 201],
    ['POST', `/v1/signing-keys/${signing.kid}/revoke`, 200],
    ['POST', '/v1/webhooks', 201, { url: 'https://hooks.example/' }],
    ['POST', `/v1/webhooks/${hook.webhook}/test`, 201],
    ['POST', `/v1/webhooks/${hook.webhook}/deliveries/${hook.delivery}/resend`, 200],
    ['POST', `/v1/webhooks/${hook.webhook}/rotate-secret`, 201],
    ['PATCH', `/v1/webhooks/${hook.webhook}`, 200, { status: 'disabled' }, ifMatch],
    ['DELETE', `/v1/webhooks/${hook.webhook}`, 204, undefined, ifMatch],
    ['PUT', '/v1/exchange-rates', 200, { rates: [{ date: '2026-03-01', currency: 'USD', rate: '0.9' }] }],
  ];
  const covered = new Set<string>();
  for (const [method, path, status, body, headers = {}] of writes) {
    const answer = await request(method, `${path}?dryRun=true`, { ...(body !== undefined && { body }), headers });
    t.equal(answer.status, status, `${method} ${path} ${JSON.stringify(answer.body).slice(0, 200)}`);
    covered.add(`${method} ${path.split('/')[2]}${path.endsWith('/batch') ? '/batch' : ''}`);
  }
  t.equal(await dump(), before);
  t.match((await request('PUT', '/v1/exchange-rates?dryRun=true', { body: writes.at(-1)?.[3] })).body, {
    stored: 1,
    completedOrders: 1,
  });
  t.match(await request('POST', '/v1/orders?dryRun=true', { body: orderOf({ total: 1, items: [] }) }), { status: 422 });
  const { routes } = await import('../../src/features.ts');
  const all = routes
    // The dry run of a file is a record, see features/imports.
    .filter(({ operation }) => operation.kind === 'write' && !operation.keepsDryRun)
    .map(
      ({ method, url }) =>
        `${method} ${/\/(orders)\/.*refunds/.test(url) ? 'orders' : url.split('/')[2]}${url.endsWith('/batch') ? '/batch' : ''}`,
    );
  t.same(
    [...new Set(all)].filter((one) => !covered.has(one)),
    [],
    'no kind of write is missing here',
  );
});

t.test('a batch takes a thousand items in as many statements as ten, and not one more', async (t) => {
  const orders = (size: number) =>
    Array.from({ length: size }, (_, i) =>
      orderOf({
        customer: { externalId: fresh('many'), email: `${fresh('m')}@example.org` },
        currency: i % 2 ? 'EUR' : 'USD',
      }),
    );
  const sent: Record<string, number[]> = {};
  for (const size of [10, 1000]) {
    const created = orders(size);
    const measure = async (what: string, items: unknown[], expected: string) => {
      let results: { status: string }[] = [];
      const statements = await statementsOf(async () => {
        results = (await batch(items)).body.results;
      });
      t.equal(results.length, size);
      t.ok(
        results.every(({ status }) => status === expected),
        `${what}: ${results.find(({ status }) => status !== expected)?.status}`,
      );
      sent[what] = [...(sent[what] ?? []), statements];
    };
    await measure('new orders of new customers', created, 'created');
    await measure(
      'new orders of known customers',
      created.map((one) => ({ ...one, externalId: fresh('again') })),
      'created',
    );
    await measure(
      'changed orders',
      created.map((one) => ({ ...one, channel: 'x' })),
      'updated',
    );
    await measure(
      'moved orders',
      created.map((one) => ({ ...one, customer: { externalId: fresh('moved') } })),
      'updated',
    );
  }
  for (const size of [10, 1000]) {
    const anonymous = orders(size).map((one) => ({ ...one, customer: null }));
    const early = anonymous.map(({ source, externalId }) => ({
      source,
      externalId: fresh('early'),
      order: { source, externalId },
      amount: 100,
      refundedAt: '2026-03-05T10:00:00Z',
    }));
    const measure = async (what: string, path: string, items: unknown[]) => {
      const statements = await statementsOf(async () => {
        const { body } = await request('POST', `/v1/${path}/batch`, { body: { [path]: items } });
        t.ok(
          body.results?.every(({ status }: { status: string }) => status === 'created'),
          `${what}: ${JSON.stringify(body.results?.[0] ?? body)}`,
        );
      });
      sent[what] = [...(sent[what] ?? []), statements];
    };
    await measure('refunds before their orders', 'refunds', early);
    await measure('orders of nobody known, with refunds that wait', 'orders', anonymous);
  }
  for (const [what, [few, many]] of Object.entries(sent)) t.equal(many, few, `${what}: ${many} statements`);
  t.match(await batch(orders(1001)), { status: 422, body: { errors: [{ pointer: '/orders', code: 'too_big' }] } });
});

t.test('one order takes few statements, whoever the customer is', async (t) => {
  const known = { externalId: fresh('known'), email: `${fresh('known')}@example.org` };
  const guest = () => ({ email: `${fresh('guest')}@example.org` });
  const guestTwice = guest();
  const early = { source: 'shop', externalId: fresh('late') };
  const push = (members: object) => async () => (await pushOrder(api, { ...members })).status;
  const refund = async () => {
    const body = {
      source: 'shop',
      externalId: fresh('refund'),
      order: early,
      amount: 100,
      refundedAt: '2026-03-05T10:00:00Z',
    };
    return (await request('POST', '/v1/refunds', { body, headers: newKey() })).status;
  };
  await push({ customer: known })();
  await push({ customer: guestTwice })();
  const cases: [what: string, send: () => Promise<number>, status: number, statements: number][] = [
    ['of a known reference', push({ customer: { externalId: known.externalId } }), 201, 9],
    ['of a known reference, with its e-mail', push({ customer: known }), 201, 10],
    ['of a known e-mail', push({ customer: guestTwice }), 201, 10],
    ['of a new guest', push({ customer: guest() }), 201, 12],
    ['of nobody known', push({ customer: null }), 201, 9],
    ['a refund before its order', refund, 202, 12],
    ['an order whose refund has come before it', push({ ...early, customer: known }), 201, 29],
  ];
  for (const [what, send, status, most] of cases) {
    let answered = 0;
    const statements = await statementsOf(async () => {
      answered = await send();
    });
    t.equal(answered, status, what);
    t.ok(statements <= most, `${what}: ${statements} statements`);
  }
});

t.test('when the database refuses the set, the items are written one by one', async (t) => {
  await database.query(`alter table orders add constraint no_trouble check (channel <> 'trouble')`);
  try {
    const customer = { externalId: fresh('set') };
    const items = [orderOf({ customer }), orderOf({ customer, channel: 'trouble' }), orderOf({ customer, total: 5 })];
    const { body } = await batch(items);
    t.equal(statuses(body), 'created refused created');
    t.match(body.results[1].error, { code: 'invalid_input' });
    const { rows } = await database.query(
      `select orders, revenue::int from customer_stats where customer_id = (select record_id from external_refs where external_id = $1)`,
      [customer.externalId],
    );
    t.same(rows, [{ orders: 2, revenue: 1005 }]);
    const before = await count('orders');
    t.equal(
      (
        await batch(
          items.map((one) => ({ ...one, externalId: fresh('set') })),
          '?atomic=true',
        )
      ).status,
      422,
    );
    t.equal(await count('orders'), before);
  } finally {
    await database.query('alter table orders drop constraint no_trouble');
  }
});

t.test('an Idempotency-Key is required where doing it twice would hurt', async (t) => {
  const { body: order } = await pushOrder(api);
  for (const [path, body] of [
    ['/v1/orders', orderOf()],
    ['/v1/returns', returnOf()],
    [`/v1/orders/${order.id}/refunds`, { amount: 1, refundedAt: '2026-03-05T00:00:00Z' }],
  ] as const) {
    const refused = await request('POST', path, { body });
    t.match(refused, {
      status: 400,
      body: { code: 'idempotency_key_required', errors: [{ parameter: 'Idempotency-Key' }] },
    });
  }
  for (const [path, body] of [
    ['/v1/customers', { name: 'x' }],
    ['/v1/orders/batch', { orders: [orderOf()] }],
  ] as const) {
    t.ok((await request('POST', path, { body })).status < 300, `${path} does without`);
    const headers = newKey();
    await request('POST', path, { body, headers });
    t.equal(
      (await request('POST', path, { body, headers })).headers.get('idempotency-replayed'),
      'true',
      `${path} honours one`,
    );
  }
  for (const [key, status] of [
    ['x'.repeat(255), 201],
    ['x'.repeat(256), 422],
    ['"quoted"', 201],
    ['', 422],
    ['ü', 422],
  ] as const) {
    const answer = await request('POST', '/v1/orders', { body: orderOf(), headers: { 'Idempotency-Key': key } }).catch(
      () => ({ status: 422 }),
    );
    t.equal(answer.status, status, key.slice(0, 10));
  }
  t.equal(
    (await request('POST', '/v1/orders', { body: orderOf(), headers: { 'Idempotency-Key': 'quoted' } })).status,
    422,
    'quoted or bare, the key is the same',
  );
});

t.test('a replay is byte-identical, whatever became of the record', async (t) => {
  const body = JSON.stringify(orderOf({ customer: { externalId: fresh('replay'), phone: '123' } }));
  const headers = {
    'Idempotency-Key': fresh('replay'),
    Authorization: `Bearer ${token('*')}`,
    'Content-Type': 'application/json',
  };
  const send = async (sent: string) => {
    const response = await fetch(`${origin}/v1/orders`, { method: 'POST', headers, body: sent });
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
  const first = await send(body);
  t.equal(first.status, 201);
  t.equal(first.headers.get('idempotency-replayed'), null);
  const { id } = JSON.parse(first.text);
  await request('PATCH', `/v1/orders/${id}`, { body: { channel: 'changed' }, headers: { 'If-Match': '*' } });
  await request('DELETE', `/v1/orders/${id}`, { headers: { 'If-Match': '*' } });
  const again = await send(JSON.stringify(JSON.parse(body), null, 2));
  t.same([again.status, again.text], [201, first.text], 'white space in the payload is nothing');
  t.equal(again.headers.get('idempotency-replayed'), 'true');
  t.equal(again.headers.get('location'), first.headers.get('location'));
  t.equal(again.headers.get('etag'), first.headers.get('etag'));
  const reused = await send(JSON.stringify({ ...JSON.parse(body), channel: 'other' }));
  t.equal(reused.status, 422);
  t.match(JSON.parse(reused.text), { code: 'idempotency_key_reused' });

  const deleted = await pushOrder(api);
  const key = newKey();
  const remove = () => request('DELETE', `/v1/orders/${deleted.body.id}`, { headers: { 'If-Match': '*', ...key } });
  t.equal((await remove()).status, 204);
  t.match(await remove(), { status: 204, body: '' }, 'deletions are replayed as well');
});

t.test('a refusal does not burn the key, and a key is scoped to client, operation and visibility', async (t) => {
  const headers = newKey();
  const order = orderOf({ customer: { externalId: fresh('scope') } });
  t.equal((await request('POST', '/v1/orders', { body: { ...order, total: 1 }, headers })).status, 422);
  t.equal((await request('POST', '/v1/orders', { body: order, headers, scope: 'orders:read' })).status, 403);
  t.equal((await request('POST', '/v1/orders?dryRun=true', { body: order, headers })).status, 201);
  const created = await request('POST', '/v1/orders', { body: order, headers });
  t.equal(created.status, 201);
  t.equal((await request('POST', '/v1/orders', { body: order, headers })).status, 201);
  t.match(await request('POST', '/v1/orders', { body: order, headers, client: 'another' }), {
    status: 409,
    body: { code: 'already_exists' },
  });
  t.match(await request('POST', '/v1/orders', { body: order, headers, scope: 'orders:write' }), {
    status: 409,
    body: { code: 'already_exists' },
  });
  t.equal((await request('POST', '/v1/returns', { body: returnOf(), headers })).status, 201, 'another operation');
  t.equal((await request('GET', '/v1/orders?limit=1', { headers })).status, 200, 'reads do not look at it');
  const { rows } = await database.query('select count(*)::int as n from idempotency_keys where key = $1', [
    headers['Idempotency-Key'],
  ]);
  t.same(rows, [{ n: 2 }], 'kept in the transactions of the two writes');
});

t.test('of concurrent duplicates one writes; the others are told to wait or get its answer', async (t) => {
  for (const rivals of [2, 2, 4, 8, 16]) {
    const headers = newKey();
    const order = orderOf({ customer: { externalId: fresh('rivals') } });
    const before = await count('orders');
    const answers = await Promise.all(
      Array.from({ length: rivals }, () => request('POST', '/v1/orders', { body: order, headers })),
    );
    const done = answers.filter(({ status }) => status === 201);
    t.ok(done.length >= 1);
    t.equal(
      done.filter((answer) => answer.headers.get('idempotency-replayed') === null).length,
      1,
      'one was the first',
    );
    t.equal(new Set(done.map((answer) => JSON.stringify(answer.body))).size, 1);
    for (const other of answers.filter(({ status }) => status !== 201)) {
      t.match(other, { status: 409, body: { code: 'idempotency_key_in_flight' } });
      t.equal(other.headers.get('retry-after'), '1');
    }
    t.equal(await count('orders'), before + 1);
  }
  // Rivals that arrive as the first one commits: none may meet its order instead of its answer.
  for (let round = 0; round < 40; round += 1) {
    const headers = newKey();
    const body = orderOf({ customer: { externalId: 'known' } });
    const send = () => request('POST', '/v1/orders', { body, headers });
    const first = send();
    const rivals = [];
    for (let i = 0; i < 4; i += 1) {
      rivals.push(send());
      await new Promise((resolve) => setTimeout(resolve, 2 + (round % 3)));
    }
    const all = (await Promise.all([first, ...rivals])).map(
      ({ status, body: answer }) => `${status} ${answer.code ?? ''}`,
    );
    const odd = all.filter((one) => one !== '201 ' && one !== '409 idempotency_key_in_flight');
    if (odd.length > 0) t.fail(odd.join());
  }
});
