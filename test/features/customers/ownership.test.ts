import pg from 'pg';
import t, { type Test } from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey, orderOf } from '../../support/shop.ts';

/* A source owns what it sent: its PUT replaces that, and leaves what others have brought. */

let now = '2026-06-10T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const at = (source: string, externalId: string) => `/v1/customers/external/${source}/${externalId}`;
const email = (name: string) => ({ kind: 'email', value: `${name}@example.org` });
let numbers = 10_000;
const phone = () => {
  numbers += 1;
  return { kind: 'phone', value: `+4420794${numbers}` };
};

async function put(source: string, externalId: string, identities?: object[], more: object = {}) {
  const answer = await request('PUT', at(source, externalId), { body: { name: 'Ida', identities, ...more } });
  if (answer.status >= 300) throw new Error(JSON.stringify(answer.body));
  return answer.body;
}

async function make(path: string, body: unknown): Promise<any> {
  const answer = await request('POST', path, { body, headers: newKey() });
  if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}

const patch = (path: string, body: object) => request('PATCH', path, { body, headers: { 'If-Match': '*' } });

/** Values of the identities, primary ones marked. */
function told({ identities }: { identities: { value: string; primary: boolean }[] }): string[] {
  return identities.map(({ value, primary }) => (primary ? `${value}!` : value)).sort();
}

function has(t: Test, customer: any, wanted: ({ value: string } | string)[], message: string): void {
  const values = wanted.map((one) => (typeof one === 'string' ? one : `${one.value}!`));
  t.strictSame(told(customer), values.sort(), message);
  for (const kind of ['email', 'phone']) {
    const primaries = customer.identities.filter((one: any) => one.kind === kind && one.primary);
    t.equal(customer[kind], primaries[0]?.value ?? null);
    t.ok(primaries.length <= 1, 'one is the primary');
  }
}

t.test('PUT clears what its reference brought, and nothing that others did', async (t) => {
  const [shop, tel] = [fresh('shop'), fresh('tel')];
  const [own, changed, called] = [email(shop), email(`${shop}-new`), phone()];
  await put('shop', shop, [own]);
  // The call centre knows the customer by e-mail, and has a phone and a reference of its own.
  await make(
    '/v1/orders',
    orderOf({ source: 'tel', customer: { externalId: tel, email: own.value, phone: called.value } }),
  );
  for (const night of [1, 2]) has(t, await put('shop', shop, [own]), [own, called], `night ${night}`);
  has(t, await put('shop', shop, [changed]), [changed, own.value, called], 'the shop has another address');
  has(t, await put('shop', shop), [own, called], 'and none: the call centre has told the first one');
  t.strictSame(
    (await request('GET', at('shop', shop))).body.references.map(({ source }: any) => source),
    ['shop', 'tel'],
  );
  has(t, await put('tel', tel, [email(tel)]), [email(tel)], 'the call centre gives up the phone that it brought');
});

t.test('what two have brought stays until both have given it up', async (t) => {
  const [shop, erp] = [fresh('shop'), fresh('erp')];
  const both = email(shop);
  await put('shop', shop, [both], { references: [{ source: 'erp', externalId: erp }] });
  has(t, await put('erp', erp, [both]), [both], 'both say it');
  has(t, await put('shop', shop), [both], 'the erp still does');
  has(t, await put('shop', shop, [both]), [both], 'both again');
  has(t, await put('erp', erp), [both], 'the shop still does');
  has(t, await put('shop', shop), [], 'nobody does');
});

t.test('what was entered by hand stays; a PATCH under a reference is of that source', async (t) => {
  const shop = fresh('shop');
  const [own, byHand, late] = [email(shop), phone(), email(`${shop}-late`)];
  const { id } = await put('shop', shop, [own]);
  await patch(`/v1/customers/${id}`, { identities: [own, byHand] });
  has(t, await put('shop', shop, [own]), [own, byHand], 'a clerk has added the phone');
  has(t, await put('shop', shop, []), [byHand], 'what the clerk listed again was still that of the shop');
  has(t, await put('shop', shop, [byHand]), [byHand], 'the shop learns of it');
  has(t, await put('shop', shop), [byHand], 'and forgets it');
  await patch(at('shop', shop), { identities: [byHand, late] });
  has(t, await put('shop', shop), [byHand], 'what the shop patched is what the shop brought');
  t.equal((await patch(`/v1/customers/${id}`, { identities: [] })).status, 200);
  has(t, (await request('GET', `/v1/customers/${id}`)).body, [], 'PATCH has the last word on all of them');

  const nameless = await make('/v1/customers', { name: 'Desk', identities: [email(`${shop}-desk`)] });
  await patch(`/v1/customers/${nameless.id}`, { references: [{ source: 'shop', externalId: `${shop}-desk` }] });
  has(t, await put('shop', `${shop}-desk`), [email(`${shop}-desk`)], 'made without a reference');
  const named = await make('/v1/customers', {
    identities: [email(`${shop}-named`)],
    references: [{ source: 'shop', externalId: `${shop}-named` }],
  });
  has(t, named, [email(`${shop}-named`)], 'made with a reference');
  has(t, await put('shop', `${shop}-named`), [], 'which it belongs to');
});

t.test('of a kind that a document lists it says which is primary; of others somebody else does', async (t) => {
  const [shop, tel] = [fresh('shop'), fresh('tel')];
  const [own, other, called] = [email(shop), email(tel), phone()];
  await put('tel', tel, [other, called], { references: [{ source: 'shop', externalId: shop }] });
  has(t, await put('shop', shop, [own]), [own, other.value, called], 'the e-mail of the shop');
  has(t, await put('shop', shop), [other, called], 'that of the other again');
});

type Put = (source: string, externalId: string, identities?: object[]) => Promise<any>;
const shown = async (source: string, externalId: string) => (await request('GET', at(source, externalId))).body;
const doors: Record<string, Put> = {
  rest: put,
  async batch(source, externalId, identities) {
    const references = [{ source, externalId }];
    await make('/v1/customers/batch', { customers: [{ name: 'Ida', references, identities }] });
    return shown(source, externalId);
  },
  async graphql(source, externalId, identities) {
    const { body } = await graphql(
      `mutation ($reference: ReferenceInput!, $input: CustomerInput!) {
        upsertCustomer(reference: $reference, input: $input) { applied } }`,
      {
        reference: { source, externalId },
        input: { name: 'Ida', identities: identities?.map((one: any) => ({ ...one, kind: one.kind.toUpperCase() })) },
      },
    );
    if (body.errors) throw new Error(JSON.stringify(body.errors));
    return shown(source, externalId);
  },
};

for (const [door, putBy] of Object.entries(doors)) {
  t.test(
    `${door}: after a merge of two accounts of one shop, each PUT leaves what the other account brought`,
    async (t) => {
      const [x, y] = [fresh('x'), fresh('y')];
      const [ofX, ofY, called] = [email(x), email(y), phone()];
      const a = await putBy('shop', x, [ofX]);
      const b = await putBy('shop', y, [ofY, called]);
      const { id: mergeId } = await make(`/v1/customers/${a.id}/merge`, { customerId: b.id });
      for (const night of [1, 2]) {
        has(t, await putBy('shop', x, [ofX]), [ofX, ofY.value, called], `x, night ${night}`);
        has(t, await putBy('shop', y, [ofY, called]), [ofX.value, ofY, called], `y, night ${night}`);
      }
      const moved = email(`${y}-new`);
      has(t, await putBy('shop', y, [moved]), [ofX.value, moved], 'y has another address and no phone');
      const { references } = await putBy('shop', x, [ofX]);
      t.strictSame(references.map(({ externalId }: any) => externalId).sort(), [x, y].sort());
      await make(`/v1/customers/${a.id}/unmerge`, { mergeId });
      has(t, await putBy('shop', x, [ofX]), [ofX, moved.value], 'what came since stays with the survivor');
    },
  );

  t.test(`${door}: after an unmerge a PUT clears its own, and leaves what other systems have brought`, async (t) => {
    const [x, y, tel] = [fresh('x'), fresh('y'), fresh('tel')];
    const [ofX, ofY, called, second] = [email(x), email(y), phone(), phone()];
    const a = await putBy('shop', x, [ofX]);
    const b = await putBy('shop', y, [ofY]);
    await make(
      '/v1/orders',
      orderOf({ source: 'tel', customer: { externalId: tel, email: ofY.value, phone: called.value } }),
    );
    await make(
      '/v1/orders',
      orderOf({ source: 'tel', customer: { externalId: fresh('tel'), email: ofX.value, phone: second.value } }),
    );
    const { id: mergeId } = await make(`/v1/customers/${a.id}/merge`, { customerId: b.id });
    has(t, await putBy('shop', y, [ofY]), [ofX.value, ofY, called.value, second], 'merged');
    await make(`/v1/customers/${a.id}/unmerge`, { mergeId });
    has(t, await putBy('shop', y), [ofY, called], 'the call centre has told both');
    has(t, await putBy('shop', x), [ofX, second], 'and those of the other one');
    t.equal((await shown('tel', tel)).id, b.id, 'the reference of the call centre stays');
  });
}

t.test('identities from before it was noted who brought them stay until a document has told them', async (t) => {
  const shop = fresh('shop');
  const [own, called] = [email(shop), phone()];
  const { id } = await put('shop', shop, [own, called]);
  await database.query('update customer_identities set brought_by = null where customer_id = $1', [id]);
  has(t, await put('shop', shop, [own]), [own, called], 'the phone may be of others');
  has(t, await put('shop', shop), [called], 'the e-mail was told by this source since');
});

t.test('whoever repeats what is known has brought it as well', async (t) => {
  const [shop, other] = [fresh('shop'), fresh('other')];
  const [own, called] = [email(shop), phone()];
  const { id, version } = await put('shop', shop, [own, called]);
  const order = (customer: object) => make('/v1/orders', orderOf({ source: 'till', customer }));
  await order({ source: 'shop', externalId: shop, email: own.value });
  t.equal((await shown('shop', shop)).version, version, 'nothing that is shown has changed');
  has(t, await put('shop', shop, [called]), [called], 'an order under its own reference is the word of that source');
  await put('shop', shop, [own, called]);
  await order({ email: own.value });
  has(t, await put('shop', shop, [called]), [own, called], 'a till has told it under no reference');
  await database.query('update customer_identities set brought_by = null where customer_id = $1', [id]);
  await put('shop', shop, [own, called]);
  await database.query(`update customer_identities set brought_by = null where customer_id = $1 and kind = 'phone'`, [
    id,
  ]);
  await make('/v1/orders/batch', {
    orders: [
      orderOf({
        source: 'till',
        customer: { source: 'erp', externalId: other, email: own.value, phone: called.value },
      }),
      orderOf({ source: 'till', customer: { source: 'erp', externalId: other, email: own.value } }),
    ],
  });
  has(t, await put('shop', shop), [own, called], 'a batch, and what was stored before it was noted');
  has(t, await put('erp', other), [called], 'until that source gives it up');

  // A shared one: the first order brings it, the second repeats it.
  const house = [fresh('house'), fresh('house')];
  const home = phone();
  await put('shop', house[0] ?? '', [home]);
  await put('shop', house[1] ?? '', [email(house[1] ?? '')]);
  await put('erp', house[1] ?? '', [email(house[1] ?? ''), home]);
  await order({ source: 'shop', externalId: house[1], phone: home.value });
  const values = (customer: any) => customer.identities.map(({ value, shared }: any) => [value, shared ?? false]);
  const left = await put('erp', house[1] ?? '');
  t.strictSame(
    values(left).sort(),
    [
      [home.value, true],
      [email(house[1] ?? '').value, false],
    ].sort(),
    'the shop has told the shared phone as well',
  );
});

t.test('batches and GraphQL do the same', async (t) => {
  const shop = fresh('shop');
  const [own, called] = [email(shop), phone()];
  const { id } = await put('shop', shop, [own]);
  await patch(`/v1/customers/${id}`, { identities: [own, called] });
  const reference = { source: 'shop', externalId: shop };
  const { body } = await request('POST', '/v1/customers/batch', {
    body: {
      customers: [
        { name: 'Ida', references: [reference] },
        { name: 'Ida B', references: [reference], identities: [own] },
      ],
    },
  });
  t.match(body.results, [{ status: 'updated' }, { status: 'updated' }]);
  has(t, (await request('GET', `/v1/customers/${id}`)).body, [own, called], 'batch');
  const answer = await graphql(
    `mutation ($reference: ReferenceInput!) { upsertCustomer(reference: $reference, input: { name: "Ida" }) {
      customer { email phone identities { kind value primary } } } }`,
    { reference },
  );
  const customer = answer.body.data.upsertCustomer.customer;
  t.strictSame([customer.email, customer.phone, customer.identities.length], [null, called.value, 1]);
});

t.test('a document that is sent again does not give back what was taken back', async (t) => {
  const purpose = 'newsletter';
  const given = '2026-06-01T08:00:00.000Z';
  const inForce = async (id: string, channel: string) => {
    const { body } = await request('GET', `/v1/customers/${id}/consents?channel=${channel}`);
    return body.consents[0]?.status ?? 'none';
  };
  const input = (channel: string | null) => [{ purpose, channel, status: 'granted' }];
  const ways: Record<string, (name: string, consents: object[]) => Promise<unknown>> = {
    put: (name, consents) => put('shop', name, undefined, { consents }),
    batch: (name, consents) =>
      request('POST', '/v1/customers/batch', {
        body: { customers: [{ name: 'Ida', references: [{ source: 'shop', externalId: name }], consents }] },
      }),
    graphql: (name, consents) =>
      graphql(
        `mutation ($reference: ReferenceInput!, $input: CustomerInput!) {
          upsertCustomer(reference: $reference, input: $input) { applied } }`,
        {
          reference: { source: 'shop', externalId: name },
          input: {
            name: 'Ida',
            consents: consents.map((one: any) => ({
              ...one,
              channel: one.channel?.toUpperCase() ?? null,
              status: one.status.toUpperCase(),
            })),
          },
        },
      ),
    lead: (name, consents) => request('PUT', `/v1/leads/external/shop/${name}`, { body: { consents } }),
    'lead by GraphQL': async (name, consents) => {
      const { body } = await graphql(
        `mutation ($reference: ReferenceInput!, $input: LeadDocument!) { upsertLead(reference: $reference, input: $input) { applied } }`,
        {
          reference: { source: 'shop', externalId: name },
          input: {
            consents: consents.map((one: any) => ({
              ...one,
              channel: one.channel?.toUpperCase() ?? null,
              status: one.status.toUpperCase(),
            })),
          },
        },
      );
      if (body.errors) throw new Error(JSON.stringify(body.errors));
    },
    leads: (name, consents) =>
      request('POST', '/v1/leads/batch', {
        body: { leads: [{ customer: { source: 'shop', externalId: name }, consents }] },
      }),
  };
  for (const [way, send] of Object.entries(ways)) {
    for (const [first, taken] of [
      ['email', 'email'],
      [null, null],
      [null, 'email'],
      ['email', null],
    ] as const) {
      const name = fresh('consent');
      const { id } = await put('shop', name);
      const label = `${way}, given for ${first}, taken back for ${taken}`;
      await send(name, input(first));
      t.equal(await inForce(id, 'email'), 'granted', label);
      now = new Date(Date.parse(now) + 60_000).toISOString();
      const withdrawal = now;
      await make(`/v1/customers/${id}/consents`, { purpose, channel: taken, status: 'withdrawn' });
      now = new Date(Date.parse(now) + 60_000).toISOString();
      for (const channel of [first, 'email', null]) {
        await send(name, input(channel));
        await send(name, [{ ...input(channel)[0], at: given }]);
      }
      t.equal(await inForce(id, 'email'), 'withdrawn', `${label}: stays so`);
      if (taken === 'email') t.equal(await inForce(id, 'phone'), 'granted', `${label}: no other channel`);
      await send(name, [{ purpose, channel: 'email', status: 'granted', at: now }]);
      t.equal(await inForce(id, 'email'), 'granted', `${label}: given again, after ${withdrawal}`);
      await send(name, [{ purpose, channel: 'email', status: 'withdrawn' }]);
      t.equal(await inForce(id, 'email'), 'withdrawn', `${label}: taking back needs no instant`);
    }
  }
  const name = fresh('form');
  const { id } = await put('shop', name, undefined, { consents: [{ purpose, status: 'withdrawn' }] });
  now = new Date(Date.parse(now) + 60_000).toISOString();
  await make('/v1/leads', { customerId: id, consents: [{ purpose, status: 'granted' }] });
  t.equal(await inForce(id, 'email'), 'granted', 'a form that is filled in is of now');
});

t.test('what either of two merged ones took back stays so, also after the undo', async (t) => {
  const consents = [{ purpose: 'newsletter', channel: 'email', status: 'granted' }];
  const inForce = async (id: string) =>
    (await request('GET', `/v1/customers/${id}/consents?channel=email`)).body.consents[0]?.status;
  const later = () => {
    now = new Date(Date.parse(now) + 60_000).toISOString();
  };
  for (const isSurvivor of [true, false]) {
    const [x, y] = [fresh('x'), fresh('y')];
    const a = await put('shop', x, undefined, { consents });
    const b = await put('shop', y, undefined, { consents });
    later();
    const who = isSurvivor ? a : b;
    await make(`/v1/customers/${who.id}/consents`, { ...consents[0], status: 'withdrawn' });
    later();
    const { id: mergeId } = await make(`/v1/customers/${a.id}/merge`, { customerId: b.id });
    later();
    for (const name of [x, y]) await put('shop', name, undefined, { consents });
    await make('/v1/customers/batch', {
      customers: [x, y].map((name) => ({ name: 'Ida', references: [{ source: 'shop', externalId: name }], consents })),
    });
    t.equal(await inForce(a.id), 'withdrawn', 'merged');
    await make(`/v1/customers/${a.id}/unmerge`, { mergeId });
    later();
    for (const name of [x, y]) await put('shop', name, undefined, { consents });
    t.equal(await inForce(who.id), 'withdrawn', 'parted');
    t.equal(await inForce(isSurvivor ? b.id : a.id), 'granted', 'the other one never took it back');
  }
});
