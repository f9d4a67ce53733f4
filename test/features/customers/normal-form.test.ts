import pg from 'pg';
import t from 'tap';
import { normalFormUpgrade } from '../../../src/features/customers/stored-identities.ts';
import { openKeys } from '../../../src/platform/auth/keys.ts';
import { keyedHash } from '../../../src/platform/keyed-hash.ts';
import { testApp } from '../../support/app.ts';
import { fresh, orderOf, pushOrder } from '../../support/shop.ts';
import { upgradeAs } from '../../support/upgrade.ts';
import { rollupVerifier } from '../../support/verify-rollups.ts';

const api = await testApp(t);
const { request } = api;

type Kind = 'email' | 'phone' | 'handle';
const customerWith = (kind: Kind, value: string, more: object = {}) => ({
  name: 'N',
  identities: [{ kind, value }],
  ...more,
});
const dry = async (kind: Kind, value: string, more: object = {}) =>
  request('POST', '/v1/customers?dryRun=true', { body: customerWith(kind, value, more) });

t.test('an e-mail is stored in one normal form', async (t) => {
  for (const [given, stored] of [
    ['  Ada@Example.ORG\t', 'ada@example.org'],
    ['\u200bada@example.org', 'ada@example.org'],
    ['\u202aada@example.org\u202c', 'ada@example.org'],
    ['a\u00adda@exam\u200dple.org', 'ada@example.org'],
    ['ada@example.org.', 'ada@example.org'],
    ['ada@köln.example', 'ada@xn--kln-sna.example'],
    ['ada@ko\u0308ln.example', 'ada@xn--kln-sna.example'],
    ['ada@XN--KLN-SNA.example', 'ada@xn--kln-sna.example'],
    ['ada@example。org', 'ada@example.org'],
    ['Zo\u0065\u0301@example.org', 'zoé@example.org'],
    ["o'neil+news/x=1@example.org", "o'neil+news/x=1@example.org"],
  ] as const) {
    const { status, body } = await dry('email', given);
    t.equal(status, 201, JSON.stringify(given));
    t.equal(body.email, stored, JSON.stringify(given));
  }
});

t.test('what is no e-mail is refused', async (t) => {
  const long = `${'a'.repeat(64)}.${'b'.repeat(60)}`;
  for (const given of [
    'a@example..org',
    'a@.example.org',
    'a@example.org..',
    'x@example.org/',
    'a@b.c\u0007',
    'a@exa\u0007mple.org',
    'a@example.org\ufffd',
    '\ufffda@example.org',
    'a@-example.org',
    'a@example-.org',
    'a@exam_ple.org',
    'a@exa%6dple.org',
    'a@127.0.0.1',
    'a@0x7f.1',
    'a@xn--a.org',
    'a@localhost',
    '.a@example.org',
    'a.@example.org',
    'a..b@example.org',
    'a b@example.org',
    'a\u00a0b@example.org',
    'a@b@example.org',
    '@example.org',
    'a@',
    '\u200b',
    `a@${'c'.repeat(64)}.org`,
    `${long}@${long}.${'d'.repeat(20)}.org`.slice(-254),
  ]) {
    const { status, body } = await dry('email', given);
    t.equal(status, 422, JSON.stringify(given));
    t.match(body.errors, [{ pointer: '/identities/0/value' }], JSON.stringify(given));
  }
});

t.test('a phone is stored as E.164 with its extension, mobile variants as one', async (t) => {
  for (const [given, stored, country] of [
    ['+1 608-271-9000 x11', '+16082719000;ext=11'],
    ['+1 608-271-9000 ext. 12', '+16082719000;ext=12'],
    ['+16082719000;ext=11', '+16082719000;ext=11'],
    ['\u202a+44 20 7946 0018\u202c', '+442079460018'],
    ['020 7946 0018', '+442079460018', 'GB'],
    ['+5215512345678', '+525512345678'],
    ['+52 55 1234 5678', '+525512345678'],
    ['044 55 1234 5678', '+525512345678', 'MX'],
    ['+55 11 8765-4321', '+5511987654321'],
    ['(11) 98765-4321', '+5511987654321', 'BR'],
    ['+55 11 3765-4321', '+551137654321'],
    ['+549 11 2345 6789', '+541123456789'],
    ['+54 11 2345 6789', '+541123456789'],
    ['011 15-2345-6789', '+541123456789', 'AR'],
    ['+54 9 11 15 2345 6789', '+541123456789'],
  ] as const) {
    const { status, body } = await dry('phone', given, country ? { address: { country } } : {});
    t.equal(status, 201, given);
    t.equal(body.phone, stored, given);
  }
  t.match(await dry('phone', '020 7946 0018'), { status: 422, body: { errors: [{ code: 'invalid_phone' }] } });
});

t.test('two extensions of a switchboard are two phones', async (t) => {
  const [one, two, again] = await Promise.all(
    ['x11', 'x12', ';ext=11'].map((extension) => pushOrder(api, { customer: { phone: `+16082719001${extension}` } })),
  );
  t.not(one?.body.customerId, two?.body.customerId);
  t.equal(one?.body.customerId, again?.body.customerId);
  const found = await request('GET', `/v1/customers?phone=${encodeURIComponent('+1 608 271 9001 ext 12')}`);
  t.match(found.body.data, [{ id: two?.body.customerId, phone: '+16082719001;ext=12' }]);
});

t.test(
  'the customer of an order brings an address: it is read for the country, and kept of a new customer',
  async (t) => {
    const customer = { phone: '0161 496 0018', address: { country: 'GB', city: 'Manchester' } };
    const first = await pushOrder(api, { customer });
    t.equal(first.status, 201);
    const second = await pushOrder(api, { customer: { phone: '+441614960018', address: { country: 'FR' } } });
    t.equal(second.body.customerId, first.body.customerId);
    t.match((await request('GET', `/v1/customers/${first.body.customerId}`)).body, {
      phone: '+441614960018',
      address: { country: 'GB', city: 'Manchester' },
    });
    const query = `mutation { createInteraction(input: { kind: PHONE, occurredAt: "2026-03-01T10:00:00Z",
    customer: { phone: "0161 496 0018", address: { country: "GB" } } }) { interaction { customerId } } }`;
    const answer = await api.graphql(query);
    t.equal(answer.body.data?.createInteraction.interaction.customerId, first.body.customerId);
  },
);

t.test('who was erased under a former form is recognised', async (t) => {
  const hash = keyedHash((await openKeys(api.config)).tombstoneSecret);
  const { body: gone } = await request('POST', '/v1/customers', { body: { name: 'Erika' } });
  await request('POST', `/v1/customers/${gone.id}/erase`, { body: {} });
  const client = new pg.Client(api.connection);
  await client.connect();
  t.teardown(() => client.end());
  for (const [kind, former, given] of [
    ['email', 'erika@köln.example', 'erika@xn--kln-sna.example'],
    ['email', 'erika2@köln.example', 'Erika2@köln.example'],
    ['email', '\u200berika3@example.org', '\u200bErika3@example.org'],
    ['phone', '+16082719009', '+1 608-271-9009 x11'],
    ['phone', '+551187650000', '+5511987650000'],
    ['phone', '+5491123450000', '+541123450000'],
    ['handle', '\u200b@erika', '\u200b@Erika'],
  ] as const) {
    await client.query('insert into privacy_tombstones (hash, customer_id, created_at) values ($1, $2, now())', [
      hash('identity', kind, former),
      gone.id,
    ]);
    const refused = await request('POST', '/v1/customers', { body: customerWith(kind, given) });
    t.match(refused, { status: 409, body: { code: 'person_erased' } }, given);
    const references = [{ source: 'shop', externalId: fresh('erika') }];
    const customers = [customerWith(kind, given, { references })];
    const batch = await request('POST', '/v1/customers/batch', { body: { customers } });
    t.match(batch.body.results, [{ status: 'refused', error: { code: 'person_erased' } }], given);
    const { body } = await api.graphql(
      'mutation ($input: CustomerInput!) { createCustomer(input: $input) { customer { id } } }',
      { input: { name: 'Erika', identities: [{ kind: kind.toUpperCase(), value: given }] } },
    );
    t.match(body.errors, [{ extensions: { code: 'person_erased' } }], given);
    if (kind !== 'handle') {
      const orders = [orderOf({ customer: { [kind]: given } })];
      const pushed = await request('POST', '/v1/orders/batch', { body: { orders } });
      const read = await request('GET', `/v1/orders/${pushed.body.results[0].id}`);
      t.equal(read.body.customerId, gone.id, given);
      const order = await pushOrder(api, { customer: { [kind]: given } });
      t.match(order.body, { customerId: gone.id, warnings: [{ code: 'person_erased' }] }, given);
    }
    const consents = [{ purpose: 'newsletter', status: 'granted' }];
    const back = await request('POST', '/v1/customers', { body: customerWith(kind, given, { consents }) });
    t.equal(back.status, 201, given);
    t.equal((await pushOrder(api, { customerId: back.body.id })).body.warnings.length, 0, 'a new person');
  }
});

t.test('identities that were stored in a former form are brought to the present one', async (t) => {
  const { request, connection, url } = await testApp(t);
  const client = new pg.Client(connection);
  await client.connect();
  t.teardown(() => client.end());
  const made: Record<string, string> = {};
  /** A customer of the version before, with identities as they were stored then. */
  const before = async (name: string, ...identities: [Kind, string][]) => {
    const { body } = await request('POST', '/v1/customers', { body: { name } });
    made[name] = body.id;
    for (const [place, [kind, value]] of identities.entries()) {
      await client.query(
        'insert into customer_identities (kind, value, customer_id, is_primary, created_at) values ($1, $2, $3, $4, now())',
        [kind, value, body.id, place === 0],
      );
    }
  };
  const read = async (name: string) => {
    const { body } = await request('GET', `/v1/customers/${made[name]}`);
    return {
      version: body.version,
      values: body.identities.map((one: any) => (one.shared ? `${one.value}, shared` : one.value)),
    };
  };
  await before('alone', ['email', 'ada@köln.example'], ['phone', '+5491123456789']);
  await before('normal', ['email', 'ben@example.org'], ['phone', '+442079460018']);
  await before('older', ['email', 'cleo@xn--kln-sna.example']);
  await before('younger', ['email', 'cleo@köln.example']);
  await before('older, in a former form', ['phone', '+551187654321']);
  await before('younger, in the present form', ['phone', '+5511987654321']);
  await before('both spellings', ['email', 'dan@köln.example'], ['email', 'dan@xn--kln-sna.example']);
  await before('none', ['email', 'x@example.org/']);
  await before('one of three', ['email', 'eve@ko\u0308ln.example']);
  await before('two of three', ['email', 'eve@köln.example']);
  await before('three of three', ['email', 'eve@köln.example.']);

  const notes: string[] = [];
  await upgradeAs(connection, [normalFormUpgrade], (message) => notes.push(message));
  t.same(await read('alone'), { version: 2, values: ['ada@xn--kln-sna.example', '+541123456789'] });
  t.same(await read('normal'), { version: 1, values: ['ben@example.org', '+442079460018'] });
  t.same(await read('older'), { version: 1, values: ['cleo@xn--kln-sna.example'] });
  t.same(await read('younger'), { version: 2, values: ['cleo@xn--kln-sna.example, shared'] });
  t.same(await read('older, in a former form'), { version: 2, values: ['+5511987654321'] });
  t.same(await read('younger, in the present form'), { version: 2, values: ['+5511987654321, shared'] });
  t.same(await read('both spellings'), { version: 2, values: ['dan@xn--kln-sna.example'] });
  t.same(await read('none'), { version: 1, values: ['x@example.org/'] });
  t.same((await read('one of three')).values, ['eve@xn--kln-sna.example']);
  const { body: primary } = await request('GET', `/v1/customers/${made['both spellings']}`);
  t.equal(primary.email, 'dan@xn--kln-sna.example', 'the one that is left is the primary one');
  t.same((await read('three of three')).values, ['eve@xn--kln-sna.example, shared']);
  t.equal(notes.length, 3);
  const pairs = [
    ['younger', 'email', 'older'],
    ['younger, in the present form', 'phone', 'older, in a former form'],
    ['two of three', 'email', 'one of three'],
    ['three of three', 'email', 'one of three'],
  ] as const;
  for (const [one, kind, other] of pairs) {
    t.ok(notes[1]?.includes(`the ${kind} of ${made[one]} is that of ${made[other]}`), one);
  }
  t.match(notes[1], /^4 identities/);
  t.match(notes[2], new RegExp(`^1 identities .*the email of ${made['none']}$`));
  const { body: suggested } = await request('GET', '/v1/customers/duplicates');
  const told = suggested.data.map((pair: any) => [pair.customerId, pair.otherId, ...pair.reasons].join());
  const wanted = pairs.map(([one, kind, other]) => [made[other], made[one], `same_${kind}`].join());
  wanted.push([made['two of three'], made['three of three'], 'same_email'].join());
  t.strictSame(
    told.map((one: string) => one.replace(/^(.*?),(.*?),/, (_, a, b) => `${[a, b].sort().join()},`)).sort(),
    wanted.map((one) => one.replace(/^(.*?),(.*?),/, (_, a, b) => `${[a, b].sort().join()},`)).sort(),
    'they are suggested as duplicates, and none was merged',
  );
  t.notMatch(notes.join(), /köln|@|\+5/, 'nothing personal is told');

  const found = await request('GET', `/v1/customers?email=${encodeURIComponent('CLEO@köln.example')}`);
  t.match(found.body.data, [{ id: made['older'] }]);
  await upgradeAs(connection, [normalFormUpgrade], (message) => notes.push(message));
  t.equal(notes.length, 3, 'it is done once');

  // A process of the version before writes on while the new one starts.
  await before('late', ['email', 'fay@köln.example']);
  const verify = await rollupVerifier(t, url);
  const differs = await verify();
  t.equal(differs.code, 1);
  t.match(differs.output, /1 identities are none/);
  t.match(differs.output, 'customer_identities');
  const repaired = await verify(['--repair']);
  t.equal(repaired.code, 0, repaired.output);
  t.same((await read('late')).values, ['fay@xn--kln-sna.example']);
});

t.test('a merge is undone with the identities that came to another form since', async (t) => {
  const { request, connection } = await testApp(t);
  const client = new pg.Client(connection);
  await client.connect();
  t.teardown(() => client.end());
  const person = async (name: string, email: string) => {
    const { body } = await request('POST', '/v1/customers', { body: { name } });
    await client.query("insert into customer_identities values ('email', $1, $2, true, now())", [email, body.id]);
    return body.id;
  };
  const one = await person('One', 'one@köln.example');
  const two = await person('Two', 'two@köln.example');
  const merge = await request('POST', `/v1/customers/${one}/merge`, { body: { customerId: two } });
  t.equal(merge.status, 200);
  await upgradeAs(connection, [normalFormUpgrade]);
  const undone = await request('POST', `/v1/customers/${one}/unmerge`, { body: { mergeId: merge.body.id } });
  t.match(undone, { status: 200, body: { kept: [] } });
  for (const [id, email] of [
    [one, 'one@xn--kln-sna.example'],
    [two, 'two@xn--kln-sna.example'],
  ]) {
    const { body } = await request('GET', `/v1/customers/${id}`);
    t.same(body.identities, [{ kind: 'email', value: email, primary: true }]);
  }
});
