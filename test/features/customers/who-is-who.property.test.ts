import fc from 'fast-check';
import t from 'tap';
import { testApp } from '../../support/app.ts';
import { draws, endOnFailure, firstSeed } from '../../support/draws.ts';
import { fresh, newKey, orderOf } from '../../support/shop.ts';
import { type Message, People, type Person } from '../../support/who-is-who-oracle.ts';

/* Guests, accounts of two shops, visitors and households, in any order, one by one and in batches. */

const api = await testApp(t);
const { request } = api;

const anybody: fc.Arbitrary<Message> = fc.record({
  kind: fc.constantFrom('order', 'order', 'visit', 'document', 'document'),
  source: fc.constantFrom('shop', 'web'),
  account: fc.option(fc.constantFrom('1', '2'), { nil: undefined }),
  email: fc.option(fc.constantFrom('a', 'b'), { nil: undefined, freq: 2 }),
  phone: fc.option(fc.constantFrom('0', '1'), { nil: undefined, freq: 2 }),
  name: fc.option(fc.constant('Ada'), { nil: undefined, freq: 2 }),
  second: fc.option(fc.constantFrom('1', '2'), { nil: undefined, freq: 2 }),
});

/** Who has an account and no e-mail or phone. */
const visitor = anybody.map((one): Message => ({ ...one, kind: 'visit', email: undefined, phone: undefined }));
/** Whose accounts of two shops are said to be one person's. */
const linked = anybody.map((one): Message => ({ ...one, kind: 'document', second: one.second ?? '1' }));
const message = fc.oneof({ weight: 3, arbitrary: anybody }, visitor, linked);

let rounds = 10;
/** How often only a name kept a visitor from being merged. */
let known = 0;

t.test('what a sequence of messages makes of people is what the rules say', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(message, { minLength: 6, maxLength: 14 }),
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 14, maxLength: 14 }),
      async (drawn, sizes) => {
        rounds += 1;
        const tag = fresh('w').toLowerCase();
        const people = new People();
        const owners: Person[] = [];
        const messages = drawn
          .map(
            (one): Message => ({
              ...one,
              ...(one.account && { account: `${tag}-${one.account}` }),
              ...(one.email && { email: `${tag}${one.email}@example.org` }),
              ...(one.phone && { phone: `+442079${String(rounds).padStart(5, '0')}${one.phone}`.slice(0, 13) }),
            }),
          )
          .filter(({ kind, account, email, phone }) => account ?? (kind === 'document' ? undefined : (email ?? phone)))
          .map(({ second, ...rest }) => {
            const other = rest.source === 'shop' ? 'web' : 'shop';
            const isSaid = second && rest.kind === 'document';
            const one = people.possible({ ...rest, ...(isSaid && { second: `${other}/${tag}-${second}` }) });
            if (people.isKnownByName(one)) known += 1;
            const person = people.take(one);
            if (person) owners.push(person);
            return one;
          });
        const ids = new Map<Person, Set<string>>();
        const note = (index: number, id: string) => {
          const person = owners[index];
          if (person && people.all.has(person)) ids.set(person, (ids.get(person) ?? new Set()).add(id));
        };
        for (let at = 0; at < messages.length; ) {
          const chunk = chunkOf(messages, at, sizes[at] ?? 1);
          const answered = await send(chunk);
          for (const [index, id] of answered.entries()) note(at + index, id);
          at += chunk.length;
        }
        const shown = JSON.stringify(messages);
        for (const person of people.all) {
          const [id = '', ...others] = ids.get(person) ?? [];
          t.strictSame(others, [], `one person has one id: ${shown}`);
          const { body } = await request('GET', `/v1/customers/${id}`);
          const values = body.identities?.map((one: any) => `${one.value} ${one.shared ?? false}`).sort();
          t.strictSame(
            values,
            [...person.has.keys()].map((one) => `${one} ${people.isShared(person, one)}`).sort(),
            shown,
          );
          const names = body.references?.map((one: any) => `${one.source}/${one.externalId}`).sort();
          t.strictSame(names, [...person.accounts].sort(), shown);
          const orders = await request('GET', `/v1/customers/${id}/orders?limit=100`);
          t.equal(orders.body.data?.length, person.orders, shown);
        }
      },
    ),
    { numRuns: draws({ quick: 40, deep: 600 }), seed: firstSeed(12), endOnFailure },
  );
  t.ok(known > 0, `${known} visitors have a name`);
});

/** Messages of one kind from a place on, as many as `size`. */
function chunkOf(messages: Message[], at: number, size: number): Message[] {
  const kind = messages[at]?.kind;
  const some = messages.slice(at, at + size);
  const end = some.findIndex((one) => one.kind !== kind);
  return end < 0 ? some : some.slice(0, end);
}

/** Sends messages of one kind, as a batch where there are several. @returns whose they are, as far as it is told */
async function send(messages: Message[]): Promise<string[]> {
  const [first] = messages;
  if (!first) return [];
  const customers = messages.map(({ account, email, phone, source, name }) => ({
    ...(account && { source, externalId: account }),
    email,
    phone,
    name,
  }));
  if (first.kind === 'document') {
    const documents = messages.map(({ source, account, email, phone, name, second = '' }) => ({
      references: [`${source}/${account}`, second].flatMap((one) => {
        const [from, externalId] = one.split('/');
        return externalId ? [{ source: from, externalId }] : [];
      }),
      name,
      identities: [
        ...(email ? [{ kind: 'email', value: email }] : []),
        ...(phone ? [{ kind: 'phone', value: phone }] : []),
      ],
    }));
    return batch('/v1/customers/batch', 'customers', documents, async (id) => id);
  }
  if (first.kind === 'order') {
    const orders = messages.map(({ source }, index) => orderOf({ source, customer: customers[index] }));
    return batch(
      '/v1/orders/batch',
      'orders',
      orders,
      async (id) => (await request('GET', `/v1/orders/${id}`)).body.customerId,
    );
  }
  const visits = customers.map((customer) => ({
    kind: 'web_visit',
    direction: 'inbound',
    occurredAt: '2026-05-01T10:00:00Z',
    customer,
  }));
  return batch(
    '/v1/interactions/batch',
    'interactions',
    visits,
    async (id) => (await request('GET', `/v1/interactions/${id}`)).body.customerId,
  );
}

async function batch(
  path: string,
  plural: string,
  items: object[],
  ownerOf: (id: string) => Promise<string>,
): Promise<string[]> {
  const { body } = await request('POST', path, { body: { [plural]: items }, headers: newKey() });
  const refused = body.results.filter(({ status }: any) => status === 'refused');
  if (refused.length > 0) throw new Error(JSON.stringify(refused));
  const ids: string[] = [];
  for (const { id } of body.results) ids.push(await ownerOf(id));
  return ids;
}
