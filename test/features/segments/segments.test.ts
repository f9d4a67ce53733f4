import t from 'tap';
import { runJobs, testApp } from '../../support/app.ts';
import type { Json } from '../../support/segment-oracle.ts';

/** Segments: trees and lists, their members now and then, and who may use them. */

let now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });

async function send(method: string, path: string, body?: Json, status = [200, 201]): Promise<Json> {
  const answer = await api.request(method, path, {
    ...(body && { body }),
    headers: { 'If-Match': '*', 'Idempotency-Key': `k${keys++}` },
  });
  if (!status.includes(answer.status)) throw new Error(`${method} ${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}
let keys = 0;

const leaf = (field: string, op: string, value: unknown) => ({ field, op, value });
const person = async (name: string, more: Json = {}) =>
  (await send('POST', '/v1/customers', { name, ...more })).id as string;
const order = (customerId: string, placedAt: string, more: Json = {}) =>
  send('POST', '/v1/orders', {
    source: 'shop',
    externalId: `o${keys}`,
    customerId,
    placedAt,
    currency: 'EUR',
    total: 1000,
    paymentStatus: 'paid',
    items: [{ sku: 'A', quantity: 1, total: 1000 }],
    ...more,
  });
const names = async (segmentId: string, query = ''): Promise<string[]> =>
  (await send('GET', `/v1/segments/${segmentId}/members?limit=100${query}`)).data.map(({ name }: Json) => name).sort();
const create = (body: Json) => send('POST', '/v1/segments', body);
const changesOf = async (segmentId: string): Promise<string[]> =>
  (await send('GET', `/v1/segments/${segmentId}/changes`)).data.map(
    ({ at, change, customerId }: Json) => `${at.slice(0, 10)} ${change} ${called.get(customerId)}`,
  );
const called = new Map<string, string>();

const ada = await person('Ada', { birthday: '1990-06-03' });
const bob = await person('Bob');
const cyd = await person('Cyd', { preferredChannel: 'email' });
for (const [id, name] of [
  [ada, 'Ada'],
  [bob, 'Bob'],
  [cyd, 'Cyd'],
] as const)
  called.set(id, name);
await order(ada, '2026-01-10T10:00:00Z');
await order(ada, '2026-02-10T10:00:00Z');
const late = await order(bob, '2026-05-20T10:00:00Z');

t.test('a tree is saved, versioned and worked out', async (t) => {
  const made = await create({ name: 'Buyers', filter: leaf('orderCount', 'gte', 1) });
  t.match(made, { kind: 'tree', filterVersion: 1, size: null, membersAt: null, needs: ['orders:read'] });
  t.same(await names(made.id), ['Ada', 'Bob'], 'members are those of now, whatever was worked out');
  await runJobs(api);
  t.match(await send('GET', `/v1/segments/${made.id}`), { size: 2, membersAt: now });
  t.same((await changesOf(made.id)).sort(), ['2026-06-01 entered Ada', '2026-06-01 entered Bob']);

  now = '2026-06-02T12:00:00.000Z';
  const changed = await send('PATCH', `/v1/segments/${made.id}`, { filter: leaf('orderCount', 'gte', 2) });
  t.match(changed, { filterVersion: 2, version: 2 });
  t.match(await send('PATCH', `/v1/segments/${made.id}`, { name: 'Regulars' }), { filterVersion: 2, version: 3 });
  t.match((await send('GET', `/v1/segments/${made.id}/versions`)).data, [
    { number: 2, filter: leaf('orderCount', 'gte', 2) },
    { number: 1, filter: leaf('orderCount', 'gte', 1) },
  ]);
  await runJobs(api);
  t.same((await changesOf(made.id)).at(-1), '2026-06-02 left Bob');
  t.same(await names(made.id), ['Ada']);
  t.match(
    await api.request('PATCH', `/v1/segments/${made.id}`, { body: { filter: null }, headers: { 'If-Match': '*' } }),
    {
      status: 422,
      body: { errors: [{ pointer: '/filter', code: 'segment_kind' }] },
    },
  );
});

t.test('the past: what had happened by then, as a store that only knew that', async (t) => {
  const silent = await create({
    name: 'Silent',
    filter: {
      and: [
        leaf('orderCount', 'gte', 1),
        leaf('daysSinceLastOrder', 'gt', 60),
        { not: { has: 'interactions', where: leaf('occurredAt', 'gte', { daysAgo: 30 }) } },
      ],
    },
  });
  t.same(await names(silent.id), ['Ada']);
  t.same(await names(silent.id, '&asOf=2026-03-01T00:00:00Z'), [], 'on 1 March she had bought 19 days before');
  t.same(await names(silent.id, '&asOf=2026-04-20T00:00:00Z'), ['Ada']);
  t.same(await names(silent.id, '&asOf=2026-01-01T00:00:00Z'), [], 'before there was an order');

  // What comes later, a cancellation among it, does not change what was.
  const before = await create({ name: 'Bought twice', filter: leaf('orderCount', 'gte', 1) });
  await send('POST', `/v1/orders/${late.id}/refunds`, { amount: 1000, refundedAt: now });
  t.same(await names(before.id), ['Ada'], 'all of it went back');
  t.same(await names(before.id, '&asOf=2026-06-01T00:00:00Z'), ['Ada', 'Bob'], 'which nobody knew then');
  t.same(await names(before.id, '&asOf=2026-05-01T00:00:00Z'), ['Ada']);
  t.match(await api.request('GET', `/v1/segments/${before.id}/members?asOf=2027-01-01T00:00:00Z`), {
    status: 422,
    body: { errors: [{ parameter: 'asOf', code: 'in_the_future' }] },
  });

  // A profile has no past: the members that were kept have.
  const reached = await create({ name: 'By e-mail', filter: leaf('preferredChannel', 'eq', 'email') });
  await runJobs(api);
  now = '2026-06-03T12:00:00.000Z';
  await send('PATCH', `/v1/customers/${cyd}`, { preferredChannel: 'phone' });
  await send('PATCH', `/v1/customers/${bob}`, { preferredChannel: 'email' });
  await api.app.jobs.addRecurring(['keepSegmentMembers']);
  await runJobs(api);
  t.same(await names(reached.id), ['Bob']);
  t.same(await names(reached.id, '&asOf=2026-06-02T13:00:00Z'), ['Cyd']);
  t.same((await changesOf(reached.id)).slice(1).sort(), ['2026-06-03 entered Bob', '2026-06-03 left Cyd']);
  const found = await send('POST', '/v1/customers/search', {
    filter: { and: [{ segment: reached.id, asOf: { daysAgo: 1 } }, { not: { segment: reached.id } }] },
  });
  t.same(
    found.data.map(({ name }: Json) => name),
    ['Cyd'],
    'trees ask for members of then',
  );
});

t.test('lists: put in, taken out, merged', async (t) => {
  const list = await create({ name: 'Invited' });
  t.match(list, { kind: 'list', size: 0, filter: null, needs: [] });
  t.match(await send('POST', `/v1/segments/${list.id}/members`, { customerIds: [ada, bob, ada] }), { changed: 2 });
  t.match(await send('POST', `/v1/segments/${list.id}/members`, { customerIds: [bob] }), { changed: 0 });
  const then = now;
  now = '2026-06-04T12:00:00.000Z';
  await send('DELETE', `/v1/segments/${list.id}/members/${bob}`, undefined, [204]);
  t.same(await names(list.id), ['Ada']);
  t.same(await names(list.id, `&asOf=${then}`), ['Ada', 'Bob']);
  t.match(await send('GET', `/v1/segments/${list.id}`), { size: 1 });
  t.match(await api.request('DELETE', `/v1/segments/${list.id}/members/${bob}`), { status: 404 });
  const nobody = '0193a6c2-8f00-7000-8000-000000000000';
  t.match(await api.request('POST', `/v1/segments/${list.id}/members`, { body: { customerIds: [nobody] } }), {
    status: 404,
  });
  const double = await person('Ada L.');
  await send('POST', `/v1/segments/${list.id}/members`, { customerIds: [double] });
  await send('POST', `/v1/customers/${ada}/merge`, { customerId: double });
  t.same(await names(list.id), ['Ada'], 'once');
  const tree = await create({ name: 'Tree', filter: leaf('kind', 'eq', 'person') });
  t.match(await api.request('POST', `/v1/segments/${tree.id}/members`, { body: { customerIds: [ada] } }), {
    status: 422,
    body: { errors: [{ code: 'segment_kind' }] },
  });
});

t.test('segments name segments; one in use stays, and none names itself', async (t) => {
  const inner = await create({ name: 'Inner', filter: leaf('orderCount', 'gte', 1) });
  const outer = await create({ name: 'Outer', filter: { not: { segment: inner.id } } });
  t.same(await names(outer.id), ['Bob', 'Cyd']);
  t.match(outer.needs, ['orders:read'], 'what the inner one needs');
  t.match(await api.request('DELETE', `/v1/segments/${inner.id}`, { headers: { 'If-Match': '*' } }), {
    status: 409,
    body: { code: 'segment_in_use' },
  });
  const cycle = { body: { filter: { segment: outer.id } }, headers: { 'If-Match': '*' } };
  t.match(await api.request('PATCH', `/v1/segments/${inner.id}`, cycle), {
    status: 422,
    body: { errors: [{ pointer: '/filter/segment', code: 'segment_cycle' }] },
  });
  await send('DELETE', `/v1/segments/${outer.id}`, undefined, [204]);
  await send('DELETE', `/v1/segments/${inner.id}`, undefined, [204]);
});

t.test('preview: how many, and some of them', async (t) => {
  const filter = leaf('kind', 'eq', 'person');
  const { size, sample } = await send('POST', '/v1/segments/preview', { filter, sample: 2 });
  t.equal(size, 3);
  t.equal(sample.length, 2);
  const graphql = await api.graphql(
    'query($filter: JSON!) { segmentPreview(input: { filter: $filter }) { size sample { name } } }',
    { filter },
  );
  t.equal(graphql.body.data?.segmentPreview.size, 3, JSON.stringify(graphql.body));
});

t.test('personal conditions close a segment to tokens without customers:pii', async (t) => {
  const made = await create({ name: 'Birthdays', filter: leaf('daysToBirthday', 'lte', 7) });
  const over = await create({ name: 'Over it', filter: { segment: made.id } });
  await runJobs(api);
  const scope = 'segments:read segments:write customers:read orders:read';
  const closed = { status: 403, body: { code: 'insufficient_scope', scope: 'customers:pii' } };
  for (const { id } of [made, over]) {
    for (const path of ['', '/members', '/changes', '/versions', '/members?asOf=2026-06-01T12:00:00Z'])
      t.match(await api.request('GET', `/v1/segments/${id}${path}`, { scope }), closed, path);
    const body = { filter: { and: [leaf('kind', 'eq', 'person'), { segment: id }] } };
    t.match(await api.request('POST', '/v1/customers/search', { scope, body }), {
      ...closed,
      body: { errors: [{ pointer: '/filter/and/1/segment' }] },
    });
    t.match(await api.request('POST', '/v1/segments/preview', { scope, body }), closed);
    t.match(await api.request('POST', '/v1/segments', { scope, body: { name: 'Mine', ...body } }), closed);
    const headers = { 'If-Match': '*' };
    t.match(await api.request('PATCH', `/v1/segments/${id}`, { scope, headers, body: { name: 'Mine' } }), closed);
  }
  const { data } = (await api.request('GET', '/v1/segments?limit=100', { scope })).body;
  t.match(
    data.find(({ id }: Json) => id === made.id),
    { name: 'Birthdays', filter: null, size: null, needs: ['customers:pii', 'customers:read'] },
  );
  const graphql = await api.graphql('query($id: ID!) { segment(id: $id) { name } }', { id: made.id }, { scope });
  t.match(graphql.body.errors, [{ extensions: { code: 'insufficient_scope' } }]);
  t.match(await api.request('GET', `/v1/segments/${made.id}/members`, { scope: 'segments:read customers:pii' }), {
    status: 403,
  });
});

t.test('exact decimals, which are answered as text, are compared as numbers', async (t) => {
  for (const [unitPrice, name] of [
    ['9.5', 'Nine'],
    ['10.0', 'Ten'],
    ['100', 'Hundred'],
  ])
    await order(await person(`${name} and more`), '2026-05-25T10:00:00Z', {
      items: [{ sku: 'P', quantity: 1, total: 1000, unitPrice }],
    });
  const found = async (...condition: [string, unknown]) =>
    (
      await send('POST', '/v1/customers/search', {
        filter: { has: 'orders', where: { has: 'items', where: leaf('unitPrice', ...condition) } },
      })
    ).data
      .map(({ name }: Json) => name.split(' ')[0])
      .sort();
  t.same(await found('gt', 9.5), ['Hundred', 'Ten']);
  t.same(await found('eq', 10), ['Ten']);
  t.same(await found('in', [9.5, 100]), ['Hundred', 'Nine']);
  t.match(
    await api.request('POST', '/v1/customers/search', {
      body: { filter: { has: 'orders', where: { has: 'items', where: leaf('unitPrice', 'gt', '9.5') } } },
    }),
    { status: 422, body: { errors: [{ message: 'A number.', pointer: '/filter/where/where/value' }] } },
  );
});

t.test('hostile trees cost nothing', async (t) => {
  const person = leaf('kind', 'eq', 'person');
  let deep: Json = person;
  for (let n = 0; n < 30; n += 1) deep = { not: deep };
  const many = (n: number, one: unknown) => Array.from({ length: n }, () => one);
  const id = '0193a6c2-8f00-7000-8000-000000000000';
  for (const [code, tree] of Object.entries<Json>({
    too_deep: deep,
    too_wide: { and: many(51, person) },
    too_costly: { or: many(13, { has: 'orders', count: { atLeast: 2 } }) },
    unknown_field: leaf('passwords', 'eq', 1),
    unknown_member: { ...person, sql: '1=1' },
    invalid_text: leaf('locale', 'contains', '\ud800'),
    invalid_value: leaf('orderCount', 'contains', '%'),
    invalid_type: leaf('orderCount', 'gte', '1; drop table customers'),
    unknown_segment: { segment: id },
    mixed_currencies: { has: 'orders', sum: { field: 'total', atLeast: 1 } },
    invalid_condition: {},
  })) {
    const answer = await api.request('POST', '/v1/customers/search', { body: { filter: tree } });
    t.equal(answer.status, 422, `${code}: ${JSON.stringify(answer.body).slice(0, 200)}`);
    if (code !== 'invalid_text') t.equal(answer.body.errors[0].code, code);
    t.match(answer.body.errors[0].pointer, /^\/filter/);
  }
  t.match(
    (await api.request('POST', '/v1/customers/search', { body: { filter: leaf('orderCount', 'in', many(501, 1)) } }))
      .body.errors,
    [{ code: 'too_wide', pointer: '/filter/value' }],
  );
  t.equal(
    (
      await api.request('POST', '/v1/customers/search', {
        body: { filter: { or: many(45, { and: many(3, person) }) } },
      })
    ).status,
    422,
  );
  for (const text of ['%', '_', "'", '\\', '((((a+)+)+)+)+$', "'; drop table customers; --"]) {
    const { data } = await send('POST', '/v1/customers/search', { filter: leaf('name', 'contains', text) });
    t.same(data, [], text);
  }
});

t.test('scores of leads, survey scores, points, consents and partners', async (t) => {
  const id = await person('Eve');
  const other = await person('Fay');
  const found = async (filter: Json) =>
    (await send('POST', '/v1/customers/search', { filter })).data.map(({ name }: Json) => name).sort();
  await send('POST', '/v1/leads', { customerId: id, source: 'fair' });
  const score = (await send('GET', '/v1/leads')).data[0].score as number;
  t.same(await found(leaf('lead.score', 'gte', score)), ['Eve']);
  t.same(await found(leaf('lead.score', 'gt', score)), []);

  await send('POST', `/v1/customers/${id}/consents`, {
    purpose: 'newsletter',
    status: 'granted',
    at: '2026-05-01T00:00:00Z',
  });
  await send('POST', `/v1/customers/${id}/consents`, {
    purpose: 'newsletter',
    channel: 'sms',
    status: 'withdrawn',
    at: '2026-05-02T00:00:00Z',
  });
  t.same(await found(leaf('consent.newsletter', 'eq', true)), ['Eve']);
  t.same(await found(leaf('consent.newsletter.email', 'eq', true)), ['Eve'], 'all channels');
  t.same(await found(leaf('consent.newsletter.sms', 'eq', true)), [], 'the channel goes before all');
  t.same((await found(leaf('consent.newsletter.sms', 'eq', false))).includes('Fay'), true);
  const then = await create({ name: 'Consented', filter: leaf('consent.newsletter.sms', 'eq', true) });
  t.same(await names(then.id, '&asOf=2026-05-01T12:00:00Z'), ['Eve'], 'before it was taken back');

  const survey = await send('POST', '/v1/surveys', {
    name: 'NPS',
    status: 'open',
    questions: [{ key: 'recommend', type: 'nps', text: 'Would you?' }],
  });
  for (const [n, [customerId, value, answeredAt]] of [
    [id, 3, '2026-05-03T00:00:00Z'],
    [id, 9, '2026-05-05T00:00:00Z'],
    [other, 2, '2026-05-04T00:00:00Z'],
  ].entries())
    await send('POST', `/v1/surveys/${survey.id}/responses`, {
      submissionId: `s${n}`,
      customerId,
      answeredAt,
      answers: [{ question: 'recommend', score: value }],
    });
  t.same(await found(leaf('nps.score', 'gte', 9)), ['Eve'], 'the latest');
  t.same(await found(leaf('nps.band', 'eq', 'detractor')), ['Fay']);
  t.same(await found({ has: 'surveyResponses', where: { has: 'surveyAnswers', where: leaf('score', 'eq', 3) } }), [
    'Eve',
  ]);
  const detractors = await create({ name: 'Detractors', filter: leaf('nps.band', 'eq', 'detractor') });
  t.same(await names(detractors.id, '&asOf=2026-05-04T12:00:00Z'), ['Eve', 'Fay']);

  const partner = await send('POST', '/v1/partners', { name: 'Dealers', rules: { acquired: true } });
  await send('PATCH', `/v1/customers/${id}`, { acquiredBy: partner.id });
  t.same(await found(leaf('sharedWith', 'eq', partner.id)), ['Eve']);
  t.same(await found(leaf('acquiredBy', 'eq', partner.id)), ['Eve']);
  t.same(await found(leaf('loyalty.tier', 'exists', true)), []);
});

t.test('searches are in the audit by what they looked at, never for what', async (t) => {
  await send('POST', '/v1/customers/search', { filter: leaf('name', 'eq', 'Quixote') });
  await send('POST', '/v1/segments/preview', { filter: leaf('givenName', 'eq', 'Quixote') });
  await new Promise((resolve) => setTimeout(resolve, 300));
  const { data } = await send('GET', '/v1/audit-entries?limit=20');
  t.ok(data.some(({ operation, members }: Json) => operation === 'listCustomers' && members.includes('name')));
  t.ok(data.some(({ operation, members }: Json) => operation === 'previewSegment' && members.includes('givenName')));
  t.notMatch(JSON.stringify(data), /Quixote/);
});
