import t from 'tap';
import { testApp } from '../support/app.ts';
import { allPages, fresh } from '../support/shop.ts';

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

t.test('a customer has several references; whose they are decides who may take them away', async (t) => {
  const [shop, erp] = [fresh('shop'), fresh('erp')];
  const ref = (source: string, externalId: string) => ({ source, externalId });
  const { body: first } = await create({ name: 'Ada', references: [ref('shop', shop), ref('erp', erp)] });
  t.same(
    first.references.map((r: { source: string }) => r.source),
    ['shop', 'erp'],
  );
  t.equal((await request('GET', at(erp, 'erp'))).body.id, first.id);

  const again = await create({ name: 'Ada again', references: [ref('crm', fresh('crm')), ref('erp', erp)] });
  t.match(again, { status: 409, body: { code: 'already_exists', id: first.id } });
  t.same(codes(again.body), ['/references/1 already_exists']);
  t.same(codes((await create({ references: [ref('x', shop), ref('x', shop)] })).body), ['/references/1 duplicate']);

  const replaced = await put(shop, { name: 'Ada B' });
  t.match(replaced.body, { id: first.id, name: 'Ada B', created: false, applied: true, version: 2 });
  t.equal(replaced.status, 200);
  t.equal(replaced.body.references.length, 2, 'PUT leaves the names other sources gave');
  const loyalty = fresh('card');
  const more = await put(shop, { name: 'Ada B', references: [ref('loyalty', loyalty)] });
  t.same(
    more.body.references.map((r: { source: string }) => r.source),
    ['shop', 'loyalty', 'erp'],
  );
  const fewer = await patch(first.id, { references: [ref('loyalty', loyalty)] });
  t.same(
    fewer.body.references.map((r: { source: string }) => r.source),
    ['loyalty'],
    'PATCH replaces the list',
  );
  t.equal((await request('GET', at(shop))).status, 404);
  t.equal((await put(shop, { name: 'Somebody else' })).status, 201, 'a name given up is free, not a tombstone');
  t.equal((await put(shop, { name: 'Somebody else' })).headers.get('location'), null);

  const put201 = await put(fresh('new'), { name: 'New' });
  t.equal(put201.headers.get('location'), `/v1/customers/${put201.body.id}`);

  for (const odd of ['a/b?c#d', '%2F', 'ü😀 x', '漢'.repeat(255), "'; drop table customers; --"]) {
    t.equal((await put(odd, { name: 'Odd' })).status, 201, odd);
    t.equal((await request('GET', at(odd))).body.references[0]?.externalId, odd);
  }
  t.match(await put('x'.repeat(256), { name: 'Long' }), {
    status: 422,
    body: { errors: [{ parameter: 'externalId' }] },
  });
});

t.test('sourceVersion keeps messages in their order', async (t) => {
  const [counted, timed, plain] = [fresh('counted'), fresh('timed'), fresh('plain')];
  t.match((await put(counted, { name: 'v5', sourceVersion: 5 })).body, { created: true, applied: true });
  for (const old of [5, 4, 0]) {
    const answer = await put(counted, { name: `v${old}`, sourceVersion: old });
    t.match(
      answer,
      { status: 200, body: { name: 'v5', applied: false, created: false, version: 1 } },
      `${old} is no news`,
    );
  }
  t.match((await put(counted, { name: 'none' })).body, { name: 'none', applied: true }, 'no version is applied');
  t.match(
    (await put(counted, { name: 'v5', sourceVersion: 5 })).body,
    { name: 'none', applied: false },
    'and lifts nothing',
  );
  t.match((await put(counted, { name: 'v6', sourceVersion: 6 })).body, {
    name: 'v6',
    references: [{ sourceVersion: 6 }],
  });
  const mixed = await put(counted, { name: 'x', sourceVersion: '2026-01-01T00:00:00Z' });
  t.equal(mixed.status, 422);
  t.same(codes(mixed.body), ['/sourceVersion source_version_kind']);

  const second = '2026-03-01T10:00:00';
  await put(timed, { name: 'a', sourceVersion: `${second}.000000002Z` });
  t.equal((await put(timed, { name: 'b', sourceVersion: `${second}.000000001Z` })).body.applied, false, 'a nanosecond');
  t.equal((await put(timed, { name: 'b', sourceVersion: '2026-03-01T11:00:00.000000002+01:00' })).body.applied, false);
  const newer = await put(timed, { name: 'c', sourceVersion: `${second}.000000003Z` });
  t.match(newer.body, { name: 'c', applied: true, references: [{ sourceVersion: `${second}.000000003Z` }] });
  t.same(codes((await put(timed, { name: 'x', sourceVersion: 7 })).body), ['/sourceVersion source_version_kind']);
  for (const bad of ['yesterday', -1, 1.5, '2026-02-30T00:00:00Z']) {
    t.equal((await put(timed, { name: 'x', sourceVersion: bad })).status, 422, String(bad));
  }

  await put(plain, { name: 'unversioned' });
  t.match((await put(plain, { name: 'first', sourceVersion: 1 })).body, { name: 'first', applied: true });
  const other = await put(
    fresh('erp'),
    { references: [{ source: 'shop', externalId: plain }], sourceVersion: 1 },
    'erp',
  );
  t.match(other, { status: 409, body: { code: 'already_exists' } });
});

t.test(
  'of two messages that race the newer one wins, on new names and known ones; neither lifts a tombstone',
  async (t) => {
    const version = (externalId: string, sourceVersion: number) =>
      put(externalId, { name: `v${sourceVersion}`, sourceVersion });
    for (let round = 0; round < 50; round += 1) {
      const externalId = fresh('race');
      if (round % 3 > 0) await version(externalId, 1);
      if (round % 3 > 1) await remove(at(externalId));
      const answers = await Promise.all(
        round % 2 ? [version(externalId, 5), version(externalId, 6)] : [version(externalId, 6), version(externalId, 5)],
      );
      const read = await request('GET', at(externalId));
      if (round % 3 > 1) {
        t.strictSame([read.status, ...answers.map(({ status }) => status)], [404, 410, 410]);
        continue;
      }
      const seen = {
        statuses: answers.map(({ status }) => status),
        name: read.body.name,
        version: read.body.references?.[0]?.sourceVersion,
      };
      if (seen.name !== 'v6' || seen.version !== 6 || seen.statuses.some((status) => status > 201)) {
        t.fail(`round ${round}: ${JSON.stringify(seen)}`);
      }
    }
    const orphans = (await allPages(api, '/v1/customers?limit=100')).filter(
      ({ references, identities, name }) => references.length + identities.length === 0 && /^v\d$/.test(name),
    );
    t.same(orphans, [], 'and no second customer is left behind');
  },
);

t.test('writes and deletions that race end with the record or its tombstone', async (t) => {
  for (let round = 0; round < 15; round += 1) {
    const externalId = fresh('gone');
    await put(externalId, { name: 'x', sourceVersion: 1 });
    const [written, removed] = await Promise.all([
      put(externalId, { name: 'y', sourceVersion: 1 + (round % 2) }),
      remove(at(externalId)),
    ]);
    t.ok([200, 410].includes(written.status), `${written.status} ${written.body.code ?? ''}`);
    t.equal(removed.status, 204);
    const { status } = await request('GET', at(externalId));
    t.equal(status, 404);
  }
});

t.test('a deletion leaves tombstones that no late message lifts', async (t) => {
  const [plain, versioned] = [fresh('plain'), fresh('versioned')];
  const mail = [{ kind: 'email', value: `${plain}@example.org` }];
  const { body: first } = await put(plain, { identities: mail, references: [{ source: 'erp', externalId: plain }] });
  t.equal((await request('DELETE', `/v1/customers/${first.id}`)).status, 428);
  const removed = await remove(`/v1/customers/${first.id}`);
  t.match(removed, { status: 204, body: '' });
  t.equal((await request('GET', `/v1/customers/${first.id}`)).status, 404);
  t.equal((await remove(`/v1/customers/${first.id}`)).status, 404);
  for (const late of [
    await put(plain, { name: 'late' }),
    await put(plain, { name: 'late', sourceVersion: 9 }),
    await put(plain, { name: 'late' }, 'erp'),
    await create({ name: 'late', references: [{ source: 'shop', externalId: plain }] }),
    await create({
      name: 'late',
      references: [
        { source: 'x', externalId: fresh('x') },
        { source: 'erp', externalId: plain },
      ],
    }),
  ]) {
    t.match(late, { status: 410, body: { code: 'deleted' } });
  }
  t.equal((await create({ identities: mail })).status, 201, 'the e-mail is free');

  await put(versioned, { name: 'v3', sourceVersion: 3 });
  await remove(at(versioned));
  t.equal((await put(versioned, { name: 'v2', sourceVersion: 2 })).status, 410);
  t.equal((await put(versioned, { name: 'v3', sourceVersion: 3 })).status, 410);
  t.equal((await put(versioned, { name: 'none' })).status, 410);
  t.equal((await put(versioned, { name: 'v4', sourceVersion: 4 })).status, 410);
  t.equal((await request('GET', at(versioned))).status, 404);
  const batch = await request('POST', '/v1/customers/batch', {
    body: { customers: [{ references: [{ source: 'shop', externalId: plain }] }] },
  });
  t.match(batch.body.results, [{ status: 'refused', error: { code: 'deleted' } }]);
});

t.test('a version from the future is refused on every kind: it would keep out whatever comes until then', async (t) => {
  const clock = Date.now();
  const minutes = (count: number) => new Date(clock + count * 60_000).toISOString();
  const customer = { customer: { source: 'shop', externalId: fresh('owner') } };
  const headers = () => ({ 'Idempotency-Key': fresh('key') });
  const order = { placedAt: minutes(-60), currency: 'EUR', total: 100, paymentStatus: 'paid', ...customer };
  const kept = fresh('kept');
  const items = [{ sku: 'A', quantity: 1, total: 100 }];
  await request('PUT', at(kept).replace('customers', 'orders'), { body: { ...order, items } });
  const documents: Record<string, object> = {
    customers: { name: 'Ada' },
    orders: { ...order, items },
    returns: { returnedAt: minutes(-60), currency: 'EUR', total: 100, ...customer },
    refunds: { order: { externalId: kept }, amount: 1, refundedAt: minutes(-60) },
    interactions: { kind: 'phone', occurredAt: minutes(-60), ...customer },
    campaigns: { name: 'Spring' },
  };
  for (const [kind, document] of Object.entries(documents)) {
    const externalId = fresh(kind);
    const path = at(externalId).replace('customers', kind);
    const ahead = { ...document, sourceVersion: minutes(11) };
    const refused = { status: 422, body: { errors: [{ pointer: '/sourceVersion', code: 'in_the_future' }] } };
    t.match(await request('PUT', path, { body: ahead }), refused, kind);
    const named = kind === 'customers' || kind === 'campaigns' ? 'references' : 'own';
    const reference = { source: 'shop', externalId };
    const item = { ...ahead, ...(named === 'own' ? reference : { references: [reference] }) };
    t.match(await request('POST', `/v1/${kind}`, { body: item, headers: headers() }), refused, `POST of ${kind}`);
    if (kind !== 'campaigns') {
      const { body } = await request('POST', `/v1/${kind}/batch`, { body: { [kind]: [item] }, headers: headers() });
      t.match(body.results, [{ status: 'refused', error: { errors: [{ code: 'in_the_future' }] } }]);
    }
    t.match(await request('PUT', path, { body: { ...document, sourceVersion: minutes(9) } }), { status: 201 });
    const gone = await remove(`${path}?sourceVersion=${encodeURIComponent(minutes(11))}`);
    t.match(gone, { status: 422, body: { errors: [{ parameter: 'sourceVersion', code: 'in_the_future' }] } });
    t.equal((await request('GET', path)).status, 200);
  }
  const { body } = await api.graphql(
    `mutation ($reference: ReferenceInput!, $input: CustomerInput!) {
      upsertCustomer(reference: $reference, input: $input) { applied } }`,
    { reference: { source: 'shop', externalId: fresh('g') }, input: { name: 'Ada', sourceVersion: minutes(11) } },
  );
  t.match(body.errors, [{ extensions: { errors: [{ code: 'in_the_future' }] } }]);
});
