import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey } from '../../support/shop.ts';

const api = await testApp(t);
const { request, graphql } = api;

let numbers = 30_000;
async function make(body: object, path = '/v1/customers'): Promise<any> {
  const answer = await request('POST', path, { body, headers: newKey() });
  if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`);
  return answer.body;
}
const put = async (body: object) => (await request('PUT', `/v1/customers/external/shop/${fresh('d')}`, { body })).body;
const list = async (query = '') => (await request('GET', `/v1/customers/duplicates${query}`)).body;
const told = ({ data }: any, among: any[]) => {
  const ids = among.map(({ id }) => id);
  return data
    .filter((pair: any) => ids.includes(pair.customerId))
    .map((pair: any) => [ids.indexOf(pair.customerId), ids.indexOf(pair.otherId), ...pair.reasons].join())
    .sort();
};
const email = () => ({ kind: 'email', value: `${fresh('dup').toLowerCase()}@example.org` });
const phone = () => {
  numbers += 1;
  return { kind: 'phone', value: `+4420794${numbers}` };
};

t.test('pairs come once, with all their reasons and the merge to accept', async (t) => {
  const mail = email();
  const tel = phone();
  const profile = { name: fresh('Ada'), birthday: '--02-29', address: { postalCode: 'N1 9GU' } };
  const people = [
    await put({ ...profile, identities: [mail, tel] }),
    await put({ ...profile, name: ` ${profile.name.toUpperCase()}`, identities: [mail] }),
    await put({ name: 'Other', identities: [tel] }),
    await put({ ...profile, birthday: undefined, address: { postalCode: 'n19gu' } }),
    await put({ ...profile, kind: 'company' }),
    await put({ ...profile, birthday: '1815-02-28', address: undefined }),
  ];
  const found = await list();
  t.strictSame(told(found, people), [
    '0,1,same_email,same_name_and_birthday,same_name_and_postal_code',
    '0,2,same_phone',
    '0,3,same_name_and_postal_code',
    '1,3,same_name_and_postal_code',
  ]);
  const pair = found.data.find(({ otherId }: any) => otherId === people[1].id);
  t.match(await make(pair.merge.body, pair.merge.preview), { customerId: people[0].id, obstacles: [] });
  const answer = await graphql(
    '{ customerDuplicates(first: 50) { nodes { reasons customer { id } other { name } merge { accept } } } }',
  );
  t.match(
    answer.body.data.customerDuplicates.nodes.find(({ customer }: any) => customer.id === people[0].id),
    { reasons: ['SAME_EMAIL', 'SAME_NAME_AND_BIRTHDAY', 'SAME_NAME_AND_POSTAL_CODE'], other: { name: people[1].name } },
  );
  await make(pair.merge.body, pair.merge.accept);
  t.strictSame(told(await list(), people), ['0,2,same_phone', '0,3,same_name_and_postal_code'], 'accepted');
  const dismissal = { customerId: people[2].id, otherId: people[0].id };
  t.match(await make(dismissal, '/v1/customers/duplicates/dismiss'), { dismissed: true });
  await make(dismissal, '/v1/customers/duplicates/dismiss');
  t.strictSame(told(await list(), people), ['0,3,same_name_and_postal_code'], 'dismissed');
  const merged = await make({ customerId: people[2].id }, `/v1/customers/${people[5].id}/merge`);
  t.notOk(
    told(await list(), people).some((one: string) => one.includes('same_phone')),
    'and stays so after a merge',
  );
  await make({ mergeId: merged.id }, `/v1/customers/${people[5].id}/unmerge`);
  t.strictSame(told(await list(), people), ['0,3,same_name_and_postal_code'], 'and after an unmerge');
});

t.test('who shares and who owns may have come in any order', async (t) => {
  const [tel, mail] = [phone(), email()];
  const people = [
    await put({ name: fresh('Shares'), identities: [{ ...tel, shared: true }] }),
    await put({ name: fresh('Owns'), identities: [tel] }),
    await put({ name: fresh('Shares'), identities: [{ ...mail, shared: true }] }),
    await put({ name: fresh('Shares'), identities: [{ ...mail, shared: true }] }),
    await put({ name: fresh('Owns'), identities: [mail] }),
  ];
  t.strictSame(told(await list('?limit=100'), people), [
    '0,1,same_phone',
    '2,3,same_email',
    '2,4,same_email',
    '3,4,same_email',
  ]);
});

t.test('each pair is on one page, also where customers go meanwhile', async (t) => {
  const people: any[] = [];
  for (let group = 0; group < 4; group += 1) {
    const mail = email();
    const profile = { name: fresh('Paged'), birthday: '1990-05-05' };
    for (let index = 0; index < 3; index += 1)
      people.push(await put({ ...profile, ...(group < 2 && { identities: [mail] }) }));
  }
  const whole = told(await list('?limit=100'), people);
  t.equal(whole.length, 12);
  const pages: any[] = [];
  for (let next: string | null = ''; next !== null; ) {
    const found: any = await list(`?limit=1${next && `&after=${encodeURIComponent(next)}`}`);
    pages.push(...found.data);
    next = found.page.next;
  }
  t.strictSame(told({ data: pages }, people), whole);
  const first = await list('?limit=3');
  const { merge, customerId } = first.data[2];
  await make(merge.body, merge.accept);
  const rest = await list(`?limit=100&after=${encodeURIComponent(first.page.next)}`);
  const seen = new Set([...first.data, ...rest.data].map((pair: any) => pair.customerId));
  t.ok(seen.has(customerId));
  t.equal(
    (await list('?limit=100')).data.every((pair: any) => seen.has(pair.customerId)),
    true,
  );
});

t.test('what many have in common says nothing', async (t) => {
  const tel = phone();
  const profile = { name: fresh('Unknown'), birthday: '1900-01-01' };
  const people: any[] = [];
  for (let index = 0; index < 11; index += 1) people.push(await put({ ...profile, identities: [tel] }));
  t.strictSame(told(await list('?limit=100'), people), []);
});

t.test('it is refused without customers:pii, and to scoped tokens', async (t) => {
  const answer = await request('GET', '/v1/customers/duplicates', { scope: 'customers:read' });
  t.match(answer, { status: 403, body: { code: 'insufficient_scope', scope: 'customers:pii' } });
});
