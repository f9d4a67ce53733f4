import t from 'tap';
import { testApp } from '../../support/app.ts';
import { fresh, newKey } from '../../support/shop.ts';

/* Neither companies nor referrers go round in a ring, whoever closes it and by which door. */

const api = await testApp(t);
const { request, graphql } = api;

async function make(body: object): Promise<any> {
  const answer = await request('POST', '/v1/customers', { body, headers: newKey() });
  if (answer.status !== 201) throw new Error(JSON.stringify(answer.body));
  return answer.body;
}
const read = async (id: string) => (await request('GET', `/v1/customers/${id}`)).body;
const patch = (id: string, body: object) =>
  request('PATCH', `/v1/customers/${id}`, { body, headers: { 'If-Match': '*' } });

const members = {
  companyId: { kind: 'company', name: 'Company' },
  referredBy: { name: 'Person' },
} as const;

/** Each above the next one. */
async function chain(member: keyof typeof members, length: number): Promise<any[]> {
  const all: any[] = [];
  for (let n = 0; n < length; n += 1) {
    const reference = { source: 'shop', externalId: fresh('ring') };
    all.push(await make({ ...members[member], references: [reference], ...(n > 0 && { [member]: all[n - 1].id }) }));
  }
  return all;
}

for (const member of ['companyId', 'referredBy'] as const) {
  t.test(`${member}: PATCH, PUT, batch and GraphQL refuse to close a ring`, async (t) => {
    for (const length of [2, 3, 5]) {
      const all = await chain(member, length);
      const [top, last] = [all[0], all.at(-1)];
      const [reference] = top.references;
      const document = { ...members[member], [member]: last.id };
      const at = `/v1/customers/external/shop/${reference.externalId}`;
      const refused = { status: 422, body: { errors: [{ pointer: `/${member}`, code: 'ring' }] } };
      t.match(await patch(top.id, { [member]: last.id }), refused, `PATCH, ${length}`);
      t.match(await request('PUT', at, { body: document }), refused, `PUT, ${length}`);
      const references = [{ source: 'shop', externalId: reference.externalId }];
      const batch = await request('POST', '/v1/customers/batch', {
        body: { customers: [{ ...document, references }] },
      });
      t.match(batch.body.results, [{ status: 'refused', error: { errors: [{ code: 'ring' }] } }]);
      const { body } = await graphql(
        `mutation ($id: ID!, $input: CustomerPatch!) {
          updateCustomer(id: $id, expectedVersion: "*", input: $input) { customer { id } } }`,
        { id: top.id, input: { [member]: last.id } },
      );
      t.match(body.errors, [{ extensions: { errors: [{ code: 'ring' }] } }]);
      t.equal((await read(top.id))[member], null);
      t.match(await patch(last.id, { [member]: top.id }), { status: 200 }, 'a shorter way up is none');
    }
  });

  t.test(`${member}: two items of a batch, and two requests at once, close none either`, async (t) => {
    const [a, b] = [(await chain(member, 1))[0], (await chain(member, 1))[0]];
    const item = (one: any, other: any) => ({
      ...members[member],
      references: [{ source: 'shop', externalId: one.references[0].externalId }],
      [member]: other.id,
    });
    const { body } = await request('POST', '/v1/customers/batch', { body: { customers: [item(a, b), item(b, a)] } });
    t.match(body.results, [{ status: 'updated' }, { status: 'refused', error: { errors: [{ code: 'ring' }] } }]);

    for (let round = 0; round < 5; round += 1) {
      const [first, second] = [await chain(member, 2), await chain(member, 2)];
      const answers = await Promise.all([
        patch(first[0].id, { [member]: second[1].id }),
        patch(second[0].id, { [member]: first[1].id }),
      ]);
      t.strictSame(answers.map(({ status }) => status).sort(), [200, 422], 'they share no customer');
    }
  });

  t.test(`${member}: a merge that would close one leaves the survivor without`, async (t) => {
    for (const [survivor, other] of [
      [0, 2],
      [2, 0],
    ] as const) {
      const all = await chain(member, 3);
      const merged = await request('POST', `/v1/customers/${all[survivor].id}/merge`, {
        body: { customerId: all[other].id },
        headers: { 'If-Match': '*', ...newKey() },
      });
      t.equal(merged.status, 200, JSON.stringify(merged.body));
      t.equal((await read(all[survivor].id))[member], null);
      t.equal((await read(all[1].id))[member], all[survivor].id);
      const body = { mergeId: merged.body.id };
      await request('POST', `/v1/customers/${all[survivor].id}/unmerge`, { body, headers: { 'If-Match': '*' } });
      t.strictSame(
        await Promise.all(all.map(async ({ id }) => (await read(id))[member])),
        [null, all[0].id, all[1].id],
        'and the undo brings back what was',
      );
    }
  });
}
