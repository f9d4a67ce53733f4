import fc from 'fast-check';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { allPages, fresh, newKey, pushOrder, pushReturn } from '../../support/shop.ts';

const api = await testApp(t);
const { request } = api;

const create = (body: object, options = {}) => request('POST', '/v1/customers', { body, ...options });
const at = (externalId: string, source = 'shop') =>
  `/v1/customers/external/${source}/${encodeURIComponent(externalId)}`;
const put = (externalId: string, body: object, source?: string) => request('PUT', at(externalId, source), { body });
const patch = (id: string, body: object, version: number | '*' = '*') =>
  request('PATCH', `/v1/customers/${id}`, { body, headers: { 'If-Match': version === '*' ? '*' : `"${version}"` } });
const remove = (path: string) => request('DELETE', path, { headers: { 'If-Match': '*' } });
const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);

t.test('a customer is created with everything it can have, and read by id and by reference', async (t) => {
  const externalId = fresh('C');
  const sent = {
    kind: 'person',
    name: 'Ada Lovelace',
    givenName: 'Ada',
    familyName: 'Lovelace',
    identities: [{ kind: 'email', value: 'Ada.Lovelace@Example.org' }],
    references: [{ source: 'shop', externalId }],
    birthday: '1815-12-10',
    address: { line1: '12 St James’s Square', postalCode: 'SW1Y 4JH', city: 'London', country: 'GB' },
    locale: 'en-GB',
    preferredChannel: 'post',
    acquisition: { source: 'search-ads', cost: 450, acquiredOn: '2026-01-05' },
    attributes: { tier: 'gold', nested: { list: [1, 2.5, null, true, 'ü😀'] } },
  };
  const created = await create(sent);
  t.equal(created.status, 201);
  t.match(created.body, {
    ...sent,
    identities: [{ kind: 'email', value: 'ada.lovelace@example.org', primary: true }],
    email: 'ada.lovelace@example.org',
    phone: null,
    references: [{ source: 'shop', externalId, sourceVersion: null }],
    version: 1,
    created: true,
    applied: true,
  });
  const { id, created: _, applied: __, warnings, ...record } = created.body;
  t.same(warnings, []);
  t.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/, 'a UUIDv7');
  t.equal(created.headers.get('location'), `/v1/customers/${id}`);
  t.equal(created.headers.get('etag'), '"1"');
  const read = await request('GET', `/v1/customers/${id}`);
  t.same(read.body, { id, ...record });
  t.same((await request('GET', at(externalId))).body, read.body);
  t.equal((await request('GET', created.headers.get('location') ?? '')).status, 200, 'the address works');

  t.match(await request('GET', `/v1/customers/${id.replace(/.$/, (c: string) => (c === '0' ? '1' : '0'))}`), {
    status: 404,
    body: { code: 'not_found' },
  });
  t.equal((await request('GET', at(fresh('nobody')))).status, 404);
  t.match(await request('GET', '/v1/customers/42'), { status: 422, body: { errors: [{ parameter: 'id' }] } });
  t.match(await create({}), {
    status: 422,
    body: { errors: [{ pointer: '', code: 'name_identity_or_reference_required' }] },
  });
  for (const [body, expected] of [
    [{ name: 'x', birthday: '2026-02-30' }, '/birthday invalid_format'],
    [{ name: 5 }, '/name invalid_type'],
    [{ name: 'a\u0000b' }, '/name invalid_text'],
    [{ name: 'x', kin: 'person' }, '/kin unknown_member'],
    [{ name: 'x', address: { country: 'gb' } }, '/address/country invalid_format'],
    [{ name: 'x', identities: [{ kind: 'email' }] }, '/identities/0/value required'],
    [{ name: 'x', sourceVersion: 1 }, '/sourceVersion no_reference'],
  ] as const) {
    const refused = await create(body);
    t.equal(refused.status, 422);
    t.same(codes(refused.body), [expected], JSON.stringify(body));
  }
});

t.test('identities are normalised, one of a kind is primary, and each belongs to one customer', async (t) => {
  const mail = fresh('Mail');
  const { body: first } = await create({
    address: { country: 'GB' },
    identities: [
      { kind: 'email', value: `  ${mail}@Example.ORG ` },
      { kind: 'email', value: `second-${mail}@example.org`, primary: true },
      { kind: 'phone', value: '020 7183 8750' },
      { kind: 'phone', value: '+49 (30) 901820' },
      { kind: 'handle', value: ' @AdaL ' },
    ],
  });
  t.same(first.identities, [
    { kind: 'email', value: `second-${mail}@example.org`.toLowerCase(), primary: true },
    { kind: 'email', value: `${mail}@example.org`.toLowerCase(), primary: false },
    { kind: 'handle', value: '@adal', primary: true },
    { kind: 'phone', value: '+442071838750', primary: true },
    { kind: 'phone', value: '+4930901820', primary: false },
  ]);
  t.match(first, { email: `second-${mail}@example.org`.toLowerCase(), phone: '+442071838750' });

  for (const [identities, expected] of [
    [[{ kind: 'email', value: 'nobody' }], '/identities/0/value invalid_email'],
    [[{ kind: 'phone', value: '020 7183 8750' }], '/identities/0/value invalid_phone'],
    [[{ kind: 'handle', value: '  ' }], '/identities/0/value invalid_handle'],
    [
      [
        { kind: 'email', value: 'x@example.org', primary: true },
        { kind: 'email', value: 'y@example.org', primary: true },
      ],
      '/identities/1/primary two_primaries',
    ],
    [
      [
        { kind: 'email', value: 'x@example.org' },
        { kind: 'email', value: 'X@example.org' },
      ],
      '/identities/1 duplicate',
    ],
  ] as const) {
    const { body } = await create({ identities });
    t.same(codes(body), [expected]);
    t.match(body.detail, /^[A-Z].*\.$/, 'a sentence of its own');
  }

  const rival = await create({ name: 'Rival', identities: [{ kind: 'phone', value: '+44 20 7183 8750' }] });
  t.match(rival, { status: 409, body: { code: 'identity_taken', id: first.id } });
  t.same(codes(rival.body), ['/identities/0 identity_taken']);
  t.match(await patch(first.id, { identities: first.identities.slice(1) }), { status: 200 }, 'its own are no conflict');
  const { body: second } = await create({ identities: [{ kind: 'email', value: `second-${mail}@example.org` }] });
  t.equal(second.email, `second-${mail}@example.org`.toLowerCase(), 'what was given up is free');
  t.match(await patch(second.id, { identities: [{ kind: 'handle', value: '@ADAL' }] }), { status: 409 });

  const local = await patch(first.id, { identities: [{ kind: 'phone', value: '020 7946 0018' }] });
  t.equal(local.body.phone, '+442079460018', 'read in the country of the address that stays');
  t.equal((await patch(first.id, { name: 'Ada', identities: [] })).body.phone, null);
});

t.test('within one batch an identity goes from one customer to another', async (t) => {
  const [a, b] = [fresh('a'), fresh('b')];
  const identities = [{ kind: 'email', value: `${a}@example.org` }];
  await put(a, { identities });
  const { status, body } = await request('POST', '/v1/customers/batch', {
    body: {
      customers: [
        { references: [{ source: 'shop', externalId: a }] },
        { references: [{ source: 'shop', externalId: b }], identities },
        { references: [{ source: 'shop', externalId: fresh('c') }], identities },
      ],
    },
  });
  t.equal(status, 200);
  t.match(body.results, [
    { status: 'updated' },
    { status: 'created' },
    { status: 'created', warnings: [{ code: 'customer_conflict', message: new RegExp(body.results[1].id) }] },
  ]);
  t.same((await request('GET', at(a))).body.identities, []);
  t.same((await request('GET', at(b))).body.identities, [{ ...identities[0], primary: true }]);
  const third = await request('GET', `/v1/customers/${body.results[2].id}`);
  t.same(third.body.identities, [{ ...identities[0], primary: true, shared: true }]);
});

t.test('PUT clears what is left out, PATCH leaves it and null clears it', async (t) => {
  const externalId = fresh('C');
  await put(externalId, { name: 'Ada', givenName: 'A', attributes: { a: 1 }, acquisition: { source: 'ads', cost: 5 } });
  const { body: patched } = await request('PATCH', at(externalId), {
    body: { givenName: null, familyName: 'L' },
    headers: { 'If-Match': '"1"' },
  });
  t.match(patched, { name: 'Ada', givenName: null, familyName: 'L', attributes: { a: 1 }, acquisition: { cost: 5 } });
  t.match((await patch(patched.id, { acquisition: { source: 'mail' } })).body.acquisition, {
    source: 'mail',
    cost: null,
  });
  const { body: cleared } = await put(externalId, { kind: 'company' });
  t.match(cleared, { kind: 'company', name: null, familyName: null, attributes: null, acquisition: null, version: 4 });
  t.same(codes((await patch(cleared.id, { references: [] })).body), [' name_identity_or_reference_required']);
});

t.test('persons belong to companies, and nobody refers themselves', async (t) => {
  const { body: company } = await create({ kind: 'company', name: 'Analytical Engines Ltd' });
  const { body: person } = await create({ name: 'Ada', companyId: company.id });
  t.equal(person.companyId, company.id);
  const { body: friend } = await create({ name: 'Charles', referredBy: person.id });
  for (const [body, expected] of [
    [{ companyId: friend.id }, '/companyId not_a_company'],
    [{ companyId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' }, '/companyId not_found'],
    [{ referredBy: person.id }, '/referredBy self_reference'],
    [{ referredBy: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' }, '/referredBy not_found'],
  ] as const) {
    t.same(codes((await patch(person.id, body)).body), [expected]);
  }
  t.same(codes((await patch(company.id, { kind: 'person' })).body), ['/kind has_members']);
  const members = await request('GET', `/v1/customers?companyId=${company.id}`);
  t.same(
    members.body.data.map(({ id }: { id: string }) => id),
    [person.id],
  );
  for (const held of [company.id, person.id]) {
    t.match(await remove(`/v1/customers/${held}`), { status: 409, body: { code: 'customer_has_records' } });
  }
  await patch(friend.id, { referredBy: null });
  await patch(person.id, { companyId: null });
  t.equal((await patch(company.id, { kind: 'person' })).body.kind, 'person');
  t.equal((await remove(`/v1/customers/${person.id}`)).status, 204);
});

t.test('custom attributes are limited in size, depth and content', async (t) => {
  const sized = (length: number) => ({ a: 'x'.repeat(length - JSON.stringify({ a: '' }).length) });
  t.equal((await create({ name: 'x', attributes: sized(16_384) })).status, 201);
  t.same(codes((await create({ name: 'x', attributes: sized(16_385) })).body), ['/attributes too_large']);
  const deep = (levels: number): string => (levels === 0 ? '1' : `{"a":${deep(levels - 1)}}`);
  t.equal((await request('POST', '/v1/customers', { body: `{"name":"x","attributes":${deep(60)}}` })).status, 201);
  t.equal((await request('POST', '/v1/customers', { body: `{"name":"x","attributes":${deep(65)}}` })).status, 400);
  for (const bad of ['{"a":"\\u0000"}', '{"a":"\\ud800"}', '{"\\u0000":1}', '{"a":1e400}', '[]', '"x"', '{"":1}']) {
    t.equal((await request('POST', '/v1/customers', { body: `{"name":"x","attributes":${bad}}` })).status, 422, bad);
  }
  t.equal((await request('POST', '/v1/customers', { body: '{"name":"x","attributes":{"__proto__":{}}}' })).status, 400);
});

t.test('a customer with facts is not deleted', async (t) => {
  const orderOwner = (await pushOrder(api, { customer: { externalId: fresh('owner') } })).body;
  const returnOwner = (await pushReturn(api, { customer: { externalId: fresh('owner') } })).body;
  for (const [fact, kind] of [
    [orderOwner, 'orders'],
    [returnOwner, 'returns'],
  ] as const) {
    const refused = await remove(`/v1/customers/${fact.customerId}`);
    t.match(refused, { status: 409, body: { code: 'customer_has_records', errors: [{ code: kind }] } });
    t.equal((await remove(`/v1/${kind}/${fact.id}`)).status, 204);
    t.equal((await remove(`/v1/customers/${fact.customerId}`)).status, 204);
  }
});

t.test('versions and ETags tell old from new', async (t) => {
  const { body: customer } = await create({ name: 'Ada' });
  const path = `/v1/customers/${customer.id}`;
  const get = (ifNoneMatch: string, scope = '*') =>
    request('GET', path, { scope, headers: { 'If-None-Match': ifNoneMatch } });
  const unchanged = await get('"1"');
  t.match(unchanged, { status: 304, body: '' });
  t.equal(unchanged.headers.get('etag'), '"1"');
  for (const same of ['*', 'W/"1"', '"0", "1"']) t.equal((await get(same)).status, 304, same);
  for (const other of ['"2"', '1', '"1-public"']) t.equal((await get(other)).status, 200, other);
  t.equal((await get('"1"', 'customers:read')).status, 200, 'what is masked has another tag');
  t.equal((await get('"1-public"', 'customers:read')).status, 304);

  const change = (ifMatch?: string) =>
    request('PATCH', path, { body: { name: 'B' }, headers: ifMatch === undefined ? {} : { 'If-Match': ifMatch } });
  t.match(await change(), { status: 428, body: { code: 'version_required', errors: [{ parameter: 'If-Match' }] } });
  t.match(await change('"2"'), { status: 412, body: { code: 'version_mismatch', version: 1 } });
  for (const none of ['W/"1"', '1', '"x"', '""']) t.equal((await change(none)).status, 412, none);
  const changed = await change('"1"');
  t.match(changed, { status: 200, body: { version: 2 } });
  t.equal(changed.headers.get('etag'), '"2"');
  t.equal((await change('"1"')).status, 412);
  t.equal((await change('*')).body.version, 3);
  t.equal((await change('"3-public"')).body.version, 4, 'the tag a reader without personal data has');
  t.equal((await request('DELETE', path, { headers: { 'If-Match': '"3"' } })).status, 412);

  const counts = await Promise.all(Array.from({ length: 8 }, () => change('"4"')));
  t.equal(counts.filter(({ status }) => status === 200).length, 1, 'one of eight rivals wins');
  t.equal(counts.filter(({ status }) => status === 412).length, 7);

  const externalId = fresh('put');
  const putAt = (ifMatch: string) =>
    request('PUT', at(externalId), { body: { name: 'x' }, headers: { 'If-Match': ifMatch } });
  t.equal((await putAt('*')).status, 412, 'there is none yet');
  await put(externalId, { name: 'x' });
  t.equal((await putAt('"2"')).status, 412);
  t.equal((await putAt('"1"')).body.version, 2);
});

t.test('without customers:pii personal data is null on every answer, writes and replays included', async (t) => {
  const scope = 'customers:read customers:write';
  const externalId = fresh('secret');
  const body = {
    name: 'Ada',
    givenName: 'Ada',
    familyName: 'Lovelace',
    identities: [
      { kind: 'email', value: `${externalId}@example.org` },
      { kind: 'phone', value: '+442079460999' },
    ],
    references: [{ source: 'shop', externalId }],
    birthday: '1815-12-10',
    address: { city: 'London' },
    attributes: { secret: 'x' },
    locale: 'en-GB',
  };
  const hidden = [
    'name',
    'givenName',
    'familyName',
    'email',
    'phone',
    'identities',
    'birthday',
    'address',
    'attributes',
  ];
  const masked = (answer: { status: number; body: Record<string, unknown> }, what: string) => {
    t.ok(answer.status < 300, what);
    for (const member of hidden) t.equal(answer.body[member], null, `${what}: ${member}`);
    t.equal(answer.body['locale'], 'en-GB');
    t.notMatch(JSON.stringify(answer.body), /Ada|Lovelace|@example|London|\+44|1815/);
  };
  const headers = newKey();
  const created = await create(body, { scope, headers });
  masked(created, 'POST');
  const replayed = await create(body, { scope, headers });
  t.equal(replayed.headers.get('idempotency-replayed'), 'true');
  masked(replayed, 'replay');
  const full = await create(body, { headers });
  t.match(full, { status: 409, body: { code: 'already_exists' } }, 'the key of one who sees less is another key');
  const { id } = created.body;
  masked(await request('GET', `/v1/customers/${id}`, { scope }), 'GET');
  masked(await request('GET', at(externalId), { scope }), 'GET by reference');
  masked(await request('PUT', at(externalId), { body, scope }), 'PUT');
  masked(
    await request('PATCH', `/v1/customers/${id}`, { body: { name: 'B' }, scope, headers: { 'If-Match': '*' } }),
    'PATCH',
  );
  const list = await request('GET', '/v1/customers?limit=100', { scope });
  masked({ status: list.status, body: list.body.data.find((one: { id: string }) => one.id === id) }, 'list');
  t.match((await request('GET', `/v1/customers/${id}`)).body, { name: 'B', email: `${externalId}@example.org` });

  for (const parameter of ['email', 'phone']) {
    const refused = await request('GET', `/v1/customers?${parameter}=x`, { scope });
    t.match(refused, {
      status: 403,
      body: { code: 'insufficient_scope', scope: 'customers:pii', errors: [{ parameter }] },
    });
    t.match(refused.headers.get('www-authenticate'), /scope="customers:pii"/);
  }
  t.match(await request('GET', '/v1/customers', { scope: 'orders:read' }), {
    status: 403,
    body: { scope: 'customers:read' },
  });
  t.equal((await request('GET', '/v1/customers', { scope: null })).status, 401);
});

t.test('lists are filtered, sorted, counted and paged, and their cursors fit nothing else', async (t) => {
  const tag = fresh('ads');
  const mail = `${tag}@example.org`;
  for (let n = 0; n < 7; n += 1) {
    await create({
      name: `${n}`,
      kind: n % 2 ? 'company' : 'person',
      preferredChannel: n < 3 ? 'sms' : 'chat',
      acquisition: { source: tag },
      ...(n === 4 && {
        identities: [
          { kind: 'email', value: mail },
          { kind: 'phone', value: '+442079461234' },
        ],
      }),
    });
  }
  const names = async (query: string) =>
    (await request('GET', `/v1/customers?acquisitionSource=${tag}${query}`)).body.data
      .map((c: { name: string }) => c.name)
      .join('');
  t.equal(await names(''), '6543210', 'newest first');
  t.equal(await names('&sort=createdAt'), '0123456');
  t.equal(await names('&kind=company&sort=createdAt'), '135');
  t.equal(await names('&preferredChannel=sms'), '210');
  t.equal(await names(`&email=${mail.toUpperCase()}`), '4');
  t.equal(await names(`&phone=${encodeURIComponent('+44 20 7946 1234')}`), '4');
  t.equal(await names('&email=nobody@example.org'), '');
  const third = (await allPages(api, `/v1/customers?acquisitionSource=${tag}&sort=createdAt`))[3];
  t.equal(await names(`&createdFrom=${third.createdAt}&sort=createdAt`), '3456', 'from is inclusive');
  t.equal(await names(`&createdTo=${third.createdAt}&sort=createdAt`), '012', 'to is not');
  await patch(third.id, { familyName: 'x' });
  t.equal(await names('&sort=-updatedAt'), '3654210');

  const first = await request('GET', `/v1/customers?acquisitionSource=${tag}&limit=3&count=true`);
  t.match(first.body.page, { hasMore: true, total: 7 });
  const link = /^<(.*)>; rel="next"$/.exec(first.headers.get('link') ?? '')?.[1] ?? '';
  const second = await request('GET', link);
  t.same(
    second.body.data.map((c: { name: string }) => c.name),
    ['3', '2', '1'],
  );
  const last = await request('GET', /^<(.*)>/.exec(second.headers.get('link') ?? '')?.[1] ?? '');
  t.match(last.body, { data: [{ name: '0' }], page: { next: null, hasMore: false, total: 7 } });
  t.equal(last.headers.get('link'), null);
  const exact = await request('GET', `/v1/customers?acquisitionSource=${tag}&limit=7`);
  t.match(exact.body.page, { next: null, hasMore: false });
  t.notOk('total' in exact.body.page, 'counting is asked for');

  const cursor: string = first.body.page.next;
  const follow = (query: string, options = {}) => request('GET', `/v1/customers?${query}`, options);
  const same = `acquisitionSource=${tag}`;
  t.equal((await follow(`${same}&limit=100&after=${cursor}`)).body.data.length, 4, 'the limit is free');
  const foreign = [
    await follow(`${same}&after=${cursor}`, { client: 'another' }),
    await follow(`after=${cursor}`),
    await follow(`${same}&kind=person&after=${cursor}`),
    await follow(`${same}&sort=createdAt&after=${cursor}`),
    await request('GET', `/v1/orders?after=${cursor}`),
    ...(await Promise.all(
      [...Array(cursor.length).keys()]
        .filter((i) => i % 5 === 0 || i > cursor.length - 3)
        .map((i) =>
          follow(`${same}&after=${cursor.slice(0, i)}${cursor[i] === 'A' ? 'B' : 'A'}${cursor.slice(i + 1)}`),
        ),
    )),
    await follow(`${same}&after=${cursor}.x`),
    await follow(`${same}&after=${cursor}A`),
    await follow(`${same}&after=x`),
  ];
  for (const answer of foreign) {
    t.match(answer, { status: 400, body: { code: 'invalid_cursor', errors: [{ parameter: 'after' }] } });
  }

  for (const [query, code] of [
    ['limit=0', 'invalid_input'],
    ['limit=101', 'invalid_input'],
    ['limit=1.5', 'invalid_input'],
    ['limit=ten', 'invalid_input'],
    ['limit=1&limit=2', 'invalid_input'],
    ['sort=name', 'invalid_input'],
    ['count=yes', 'invalid_input'],
    ['kind=PERSON', 'invalid_input'],
    ['createdFrom=yesterday', 'invalid_input'],
    ['filter=ada', 'unsupported_parameter'],
    ['name=ada', 'unsupported_parameter'],
    ['dryRun=true', 'unsupported_parameter'],
  ] as const) {
    const refused = await follow(query);
    t.match(refused, { status: 422, body: { code } }, query);
    t.equal(refused.body.errors[0].parameter, query.split('=')[0]);
  }
  t.equal((await follow('limit=1')).status, 200);
  t.equal((await follow('limit=100')).status, 200);
});

t.test('rows that are there throughout appear exactly once, whatever is written meanwhile, across ties', async (t) => {
  let clock = Date.parse('2026-05-01T00:00:00Z');
  const still = await testApp(t, { clock: () => new Date(clock).toISOString() });
  const add = async (source: string, count: number) => {
    const customers = Array.from({ length: count }, () => ({
      acquisition: { source },
      references: [{ source: 'shop', externalId: fresh('row') }],
    }));
    const { body } = await still.request('POST', '/v1/customers/batch', { body: { customers } });
    return body.results.map(({ id }: { id: string }): string => id);
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ rows: fc.integer({ min: 1, max: 12 }), later: fc.boolean() }), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.integer({ min: 1, max: 9 }),
      fc.constantFrom('createdAt', '-createdAt'),
      fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1, maxLength: 5 }),
      async (stock, limit, sort, meanwhile) => {
        const source = fresh('stock');
        const base = clock;
        const there: string[] = [];
        for (const { rows, later } of stock) {
          if (later) clock += 1;
          there.push(...(await add(source, rows)));
        }
        const seen: string[] = [];
        let after = '';
        for (let page = 0; ; page += 1) {
          const { body } = await still.request(
            'GET',
            `/v1/customers?acquisitionSource=${source}&limit=${limit}&sort=${sort}${after}`,
          );
          seen.push(...body.data.map(({ id }: { id: string }) => id));
          if (!body.page.hasMore) break;
          after = `&after=${body.page.next}`;
          clock = base + (meanwhile[page % meanwhile.length] ?? 0);
          if (page < 5) await add(source, 1);
        }
        clock = base + 10;
        return new Set(seen).size === seen.length && there.every((id) => seen.includes(id));
      },
    ),
    { numRuns: 25 },
  );
});

t.test('attributes keep their numbers, or are refused, on both doors', async (t) => {
  for (const literal of [
    '1161888007138312192',
    '9007199254740992',
    '-9007199254740993',
    '1e300',
    '{"deep":[9007199254740993]}',
  ]) {
    const rest = await request('POST', '/v1/customers', { body: `{"name":"D","attributes":{"n":${literal}}}` });
    t.match(rest, { status: 422, body: { errors: [{ pointer: '/attributes', code: 'invalid_json' }] } }, literal);
    const inQuery = literal.replaceAll('"', '');
    const query = `mutation { createCustomer(input: { name: "D", attributes: { n: ${inQuery} } }) { customer { id } } }`;
    const graphql = await api.graphql(query);
    t.match(graphql.body.errors, [{ extensions: { errors: [{ pointer: '/attributes' }] } }], literal);
    const variables = `{"query":"mutation($a: JSON) { createCustomer(input: { name: \\"D\\", attributes: $a }) { customer { id } } }","variables":{"a":{"n":${literal}}}}`;
    const varied = await request('POST', '/graphql', { body: variables });
    t.match(varied.body.errors, [{ extensions: { errors: [{ pointer: '/attributes' }] } }], literal);
  }
  const attributes = { most: 9007199254740991, least: -9007199254740991, fraction: 0.1, id: '1161888007138312192' };
  t.same((await create({ name: 'D', attributes })).body.attributes, attributes);
});

t.test('the country of an address is one', async (t) => {
  for (const [given, stored] of [
    ['UK', 'GB'],
    ['EL', 'GR'],
    ['GB', 'GB'],
    ['XK', 'XK'],
  ]) {
    t.equal((await create({ name: 'C', address: { country: given } })).body.address.country, stored);
  }
  for (const given of ['XX', 'ZZ', 'EU', 'QQ']) {
    const refused = await create({ name: 'C', address: { country: given } });
    t.same(codes(refused.body), ['/address/country unknown_country'], given);
  }
});
