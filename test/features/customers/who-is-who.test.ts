import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf } from '../../support/shop.ts';

/* A reference decides who a customer is, then an e-mail; a phone only where there is neither. */

const api = await testApp(t);
const { request, graphql } = api;

let numbers = 20_000;
const newPhone = () => {
  numbers += 1;
  return `+4420794${numbers}`;
};
const newEmail = () => `${fresh('who').toLowerCase()}@example.org`;

async function make(path: string, body: unknown): Promise<any> {
  const answer = await request('POST', path, { body, headers: newKey() });
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}
const push = (customer: object, source = 'shop') => make('/v1/orders', orderOf({ source, customer }));
const visit = (customer: object, kind = 'web_visit') =>
  make('/v1/interactions', { kind, direction: 'inbound', occurredAt: '2026-05-01T10:00:00Z', customer });
const put = (externalId: string, body: object, source = 'shop') =>
  request('PUT', `/v1/customers/external/${source}/${externalId}`, { body });
const read = async (id: string) => (await request('GET', `/v1/customers/${id}`)).body;
const codes = (body: any) => (body.warnings ?? []).map((one: any) => one.code);
const told = (customer: any) =>
  customer.identities.map((one: any) => `${one.value}${one.shared ? ', shared' : ''}`).sort();

t.test('a household and a switchboard are many customers', async (t) => {
  for (const extensions of [
    ['', ''],
    [' x11', ' x12'],
  ]) {
    const phone = newPhone();
    const [harold, wilma] = [newEmail(), newEmail()];
    const a = await push({ externalId: fresh('a'), email: harold, phone: phone + extensions[0], name: 'Harold Home' });
    const b = await push({ externalId: fresh('a'), email: wilma, phone: phone + extensions[1], name: 'Wilma Home' });
    t.not(a.customerId, b.customerId);
    const shares = extensions[0] === '';
    t.strictSame(codes(b), shares ? ['customer_conflict'] : []);
    const second = await read(b.customerId);
    t.strictSame(told(second), shares ? [`${phone}, shared`, wilma] : [`${phone};ext=12`, wilma]);
    t.equal(second.phone, shares ? phone : `${phone};ext=12`, 'she is reached by it');
    t.equal((await push({ phone: phone + extensions[0] })).customerId, a.customerId, 'and is not found by it');
    const byPhone = await request('GET', `/v1/customers?phone=${encodeURIComponent(phone + extensions[0])}`);
    t.match(byPhone.body.data, [{ id: a.customerId }]);
    t.equal(byPhone.body.data.length, 1);
  }
});

t.test('an account that comes after guest orders is that customer; a second account is not', async (t) => {
  const email = newEmail();
  const [one, two] = [fresh('a'), fresh('b')];
  const guest = await push({ email, name: 'Guest' });
  const account = await push({ externalId: one, email, name: 'Account' });
  t.equal(account.customerId, guest.customerId);
  t.strictSame(account.warnings, []);
  const elsewhere = await push({ externalId: one, email }, 'till');
  t.equal(elsewhere.customerId, guest.customerId, 'another source may know the same person');
  const second = await push({ externalId: two, email, name: 'Account Two' });
  t.not(second.customerId, guest.customerId);
  t.match(second.warnings, [{ code: 'customer_conflict', message: new RegExp(guest.customerId) }]);
  t.equal((await push({ externalId: two, email })).customerId, second.customerId);
  t.strictSame(told(await read(second.customerId)), [`${email}, shared`]);
  t.equal((await read(second.customerId)).version, 1, 'what it has already changes nothing');
  t.equal((await push({ email })).customerId, guest.customerId, 'the first one keeps the e-mail');
  const answer = await graphql(`{ customer(id: "${second.customerId}") { identities { value shared } } }`);
  t.strictSame(answer.body.data.customer.identities, [{ value: email, shared: true }]);
});

t.test('PUT and batch share what POST and PATCH are refused', async (t) => {
  const email = newEmail();
  const identities = [{ kind: 'email', value: email }];
  const one = await make('/v1/customers', { name: 'One', attributes: { plan: 'gold' }, identities });
  const linked = await put(fresh('a'), { identities });
  t.match(
    linked,
    { status: 200, body: { id: one.id, name: 'One', attributes: { plan: 'gold' } } },
    'and clears nothing',
  );
  const two = await put(fresh('b'), { name: 'Two', identities });
  t.match(two, { status: 201, body: { warnings: [{ code: 'customer_conflict' }], email } });
  const batch = await request('POST', '/v1/customers/batch', {
    body: { customers: [{ references: [{ source: 'shop', externalId: fresh('c') }], identities }] },
  });
  t.match(batch.body.results, [{ status: 'created', warnings: [{ code: 'customer_conflict' }] }]);
  const refused = await request('POST', '/v1/customers', { body: { name: 'X', identities } });
  t.match(refused, { status: 409, body: { code: 'identity_taken', id: one.id } });
  const patch = (id: string, body: object) =>
    request('PATCH', `/v1/customers/${id}`, { body, headers: { 'If-Match': '*' } });
  const three = await make('/v1/customers', { name: 'Three' });
  t.match(await patch(three.id, { identities }), { status: 409, body: { code: 'identity_taken' } });
  const shared = [{ ...identities[0], shared: true }];
  t.match(
    await patch(three.id, { identities: shared }),
    { status: 200, body: { email } },
    'who says so may have it, too',
  );
  t.match(await patch(three.id, { identities }), { status: 200 }, 'and keeps it');
  t.strictSame(told(await read(three.id)), [`${email}, shared`]);
  t.equal((await patch(one.id, { identities: [] })).status, 200);
  t.not((await push({ email })).customerId, three.id, 'nobody is found by it');
});

t.test('a visitor who gives a known e-mail is merged by itself, once', async (t) => {
  const [known, visitor, email] = [fresh('k'), fresh('v'), newEmail()];
  const { id } = await make('/v1/leads', { customer: { source: 'web', externalId: known, email }, source: 'ads' });
  const first = await visit({ source: 'web', externalId: visitor });
  const form = await visit({ source: 'web', externalId: visitor, email }, 'form');
  t.equal(form.customerId, id);
  const [warning] = form.warnings;
  t.match(form.warnings, [{ code: 'customer_merged', message: new RegExp(first.customerId) }]);
  const { body: seen } = await request('GET', `/v1/customers/${id}/interactions`);
  t.equal(seen.data.length, 2);
  t.match(await request('GET', `/v1/customers/${first.customerId}`), { status: 301 });
  const mergeId = / ([-0-9a-f]{36})\.$/.exec(warning.message)?.[1];
  const undone = await request('POST', `/v1/customers/${id}/unmerge`, { body: { mergeId } });
  t.match(undone, { status: 200, body: { otherId: first.customerId, kept: [{ kind: 'interactions', count: 1 }] } });
  const again = await visit({ source: 'web', externalId: visitor, email }, 'form');
  t.equal(again.customerId, first.customerId, 'what somebody has undone is not done again');
  t.strictSame(codes(again), ['customer_conflict']);

  const byPut = await visit({ source: 'web', externalId: fresh('v') });
  const { references } = await read(byPut.customerId);
  const document = { givenName: 'Ida', identities: [{ kind: 'email', value: email }] };
  const merged = await put(references[0].externalId, { ...document, sourceVersion: 7 }, 'web');
  t.match(merged, { status: 200, body: { id, givenName: 'Ida', warnings: [{ code: 'customer_merged' }] } });
  const stale = await put(references[0].externalId, { sourceVersion: 6 }, 'web');
  t.match(stale, { status: 200, body: { id, applied: false, givenName: 'Ida' } }, 'with the version it came in');

  for (const [what, customer] of [
    ['a name', { name: 'Eve' }],
    ['a phone', { phone: newPhone() }],
  ] as const) {
    const reference = { source: 'web', externalId: fresh('v') };
    const one = await visit({ ...reference, ...customer });
    t.equal((await visit({ ...reference, email }, 'form')).customerId, one.customerId, what);
  }
  const buyer = await push({ externalId: fresh('v') }, 'web');
  const ref = (await read(buyer.customerId)).references[0].externalId;
  t.equal((await push({ externalId: ref, email }, 'web')).customerId, buyer.customerId, 'an order');
});

t.test(
  'in a batch, an e-mail that an earlier item brought to a known customer recognises visitors as well',
  async (t) => {
    for (const path of ['/v1/orders/batch', '/v1/customers/batch']) {
      const [account, tracked, email] = [fresh('a'), fresh('v'), newEmail()];
      const customer = (await put(account, { name: 'Ada' })).body;
      const visitor = await visit({ source: 'site', externalId: tracked });
      t.not(visitor.customerId, customer.id);
      const { results } = await (path === '/v1/orders/batch'
        ? make(path, {
            orders: [
              orderOf({ source: 'shop', customer: { externalId: account, email } }),
              orderOf({ source: 'shop', customer: { source: 'site', externalId: tracked, email } }),
            ],
          })
        : make(path, {
            customers: [
              {
                name: 'Ada',
                references: [{ source: 'shop', externalId: account }],
                identities: [{ kind: 'email', value: email }],
              },
              { references: [{ source: 'site', externalId: tracked }], identities: [{ kind: 'email', value: email }] },
            ],
          }));
      t.notOk(
        results.some(({ status }: { status: string }) => status === 'refused'),
        JSON.stringify(results),
      );
      const { body } = await request('GET', `/v1/customers/external/site/${tracked}`);
      t.equal(body.id, customer.id, path);
      t.strictSame(told(body), [email]);
    }
  },
);

t.test('a refused or tried message merges nobody', async (t) => {
  const [visitor, email] = [fresh('v'), newEmail()];
  await push({ email });
  const { customerId } = await visit({ source: 'web', externalId: visitor });
  const item = { kind: 'form', direction: 'inbound', occurredAt: '2026-05-01T10:00:00Z' };
  const customer = { source: 'web', externalId: visitor, email };
  const tried = await request('POST', '/v1/interactions?dryRun=true', { body: { ...item, customer } });
  t.match(tried, { status: 201, body: { warnings: [{ code: 'customer_merged' }] } });
  const { body } = await request('POST', '/v1/interactions/batch', {
    body: { interactions: [{ ...item, customer, occurredAt: '2099-01-01T00:00:00Z' }] },
    headers: newKey(),
  });
  t.match(body.results, [{ status: 'refused' }]);
  t.equal((await request('GET', `/v1/customers/${customerId}`)).status, 200);
});

t.test('what was shared is the merged customer’s own, and shared again after an unmerge', async (t) => {
  const [email, phone] = [newEmail(), newPhone()];
  const one = await push({ externalId: fresh('a'), email, name: 'One' });
  const two = await push({ externalId: fresh('b'), email, phone, name: 'Two' });
  const three = await push({ externalId: fresh('c'), email: newEmail(), phone, name: 'Three' });
  const before = await Promise.all([one, two, three].map(({ customerId }) => read(customerId)));
  const merge = await make(`/v1/customers/${two.customerId}/merge`, { customerId: one.customerId });
  t.strictSame(told(await read(two.customerId)), [phone, email].sort());
  t.equal((await push({ email })).customerId, two.customerId);
  const next = await make(`/v1/customers/${three.customerId}/merge`, { customerId: two.customerId });
  t.ok(told(await read(three.customerId)).includes(phone));
  for (const [survivor, id] of [
    [three, next.id],
    [two, merge.id],
  ]) {
    t.match(await request('POST', `/v1/customers/${survivor.customerId}/unmerge`, { body: { mergeId: id } }), {
      status: 200,
    });
  }
  const after = await Promise.all([one, two, three].map(({ customerId }) => read(customerId)));
  t.strictSame(after.map(told), before.map(told));
  t.equal((await push({ email })).customerId, one.customerId);
});

t.test('whoever shares an e-mail is exported and erased without the one who owns it', async (t) => {
  const email = newEmail();
  const one = await push({ externalId: fresh('a'), email, name: 'One' });
  const second = fresh('b');
  const two = await push({ externalId: second, email, name: 'Two' });
  const { body: held } = await request('GET', `/v1/customers/${two.customerId}/export`);
  t.match(held.sections.sharedIdentities, { count: 1, records: [{ value: email }] });
  t.equal((await request('POST', `/v1/customers/${two.customerId}/erase`, { body: {} })).status, 200);
  t.equal((await push({ email })).customerId, one.customerId, 'the owner is found as before');
  const late = await push({ externalId: second, email });
  t.strictSame([late.customerId, ...codes(late)], [two.customerId, 'person_erased'], 'who was erased stays so');
  const third = await push({ externalId: fresh('c'), email });
  t.notOk([one.customerId, two.customerId].includes(third.customerId), 'a third account is somebody else');
});

t.test('however many push at once, the right customers come of it', async (t) => {
  for (let round = 0; round < 3; round += 1) {
    const email = newEmail();
    const [one, two] = [fresh('a'), fresh('b')];
    const customers = [
      { email },
      { externalId: one, email },
      { externalId: two, email },
      { email },
      { externalId: one, email },
      { externalId: two, email },
    ];
    const orders = await Promise.all([
      ...customers.map((customer) => push(customer)),
      ...[one, two].map(async (ref) => {
        const { status, body } = await put(ref, { name: ref, identities: [{ kind: 'email', value: email }] });
        if (status >= 300) throw new Error(JSON.stringify(body));
        return { customerId: body.id };
      }),
    ]);
    const owner = (await request('GET', `/v1/customers?email=${encodeURIComponent(email)}`)).body.data;
    t.equal(owner.length, 1);
    const [first, second] = await Promise.all(
      [one, two].map(async (ref) => (await request('GET', `/v1/customers/external/shop/${ref}`)).body),
    );
    t.not(first.id, second.id, 'two accounts are two customers');
    t.ok([first.id, second.id].includes(owner[0].id), 'one of them is the guest and has the e-mail');
    t.strictSame([first, second].flatMap(told).sort(), [email, `${email}, shared`].sort());
    t.strictSame([...new Set(orders.map(({ customerId }) => customerId))].sort(), [first.id, second.id].sort());
    const counts = await Promise.all(
      [first, second].map(async ({ id }) => (await request('GET', `/v1/customers/${id}/orders`)).body.data.length),
    );
    t.equal(counts[0] + counts[1], customers.length, 'nothing is lost or doubled');
  }
});

t.test('a document that names two accounts is about the customer who has one of them', async (t) => {
  const email = `${fresh('linked')}@example.org`;
  const account = { source: 'shop', externalId: fresh('account') };
  const identities = [{ kind: 'email', value: email }];
  const first = await request('POST', '/v1/customers', {
    body: { references: [account], identities },
    headers: newKey(),
  });
  const other = { source: 'web', externalId: fresh('account') };
  const { body } = await request('POST', '/v1/customers/batch', {
    body: { customers: [{ references: [other, account], identities }] },
    headers: newKey(),
  });
  t.match(body.results, [{ status: 'updated', id: first.body.id }]);
});

t.test('in a batch, whose name an earlier item takes away is a visitor to a later one', async (t) => {
  const [known, visitor, email] = [fresh('account'), fresh('account'), `${fresh('mail').toLowerCase()}@example.org`];
  const reference = (externalId: string) => ({ references: [{ source: 'shop', externalId }] });
  const identities = [{ kind: 'email', value: email }];
  const owner = await request('POST', '/v1/customers', {
    body: { references: [{ source: 'web', externalId: known }], name: 'Ada', identities },
  });
  await request('POST', '/v1/customers', { body: { ...reference(visitor), name: 'Ada' } });
  const { body } = await request('POST', '/v1/customers/batch', {
    headers: newKey(),
    body: { customers: [reference(visitor), { ...reference(visitor), identities }] },
  });
  t.equal(body.results[1].id, owner.body.id, JSON.stringify(body));
});

t.test('a document may name an account that came with a visitor of the same batch', async (t) => {
  const [email, visitor, account] = [newEmail(), fresh('visitor'), fresh('account')];
  const identities = [{ kind: 'email', value: email }];
  const { body: known } = await put(account, { identities });
  await put(visitor, {}, 'web');
  const [web, shop] = [
    { source: 'web', externalId: visitor },
    { source: 'shop', externalId: account },
  ];
  const { body } = await request('POST', '/v1/customers/batch', {
    body: {
      customers: [
        { references: [web], identities },
        { references: [shop, web], identities },
      ],
    },
    headers: newKey(),
  });
  t.match(body.results, [
    { status: 'updated', id: known.id },
    { status: 'updated', id: known.id },
  ]);
  const names = (await read(known.id)).references.map(({ source, externalId }: any) => `${source}/${externalId}`);
  t.strictSame(names.sort(), [`shop/${account}`, `web/${visitor}`]);
});
