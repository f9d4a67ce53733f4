import t, { type Test } from 'tap';
import { recordKinds } from '../../src/records/record.ts';
import { testApp } from '../support/app.ts';
import { fresh, newKey, orderOf } from '../support/shop.ts';

/*
 * What was deleted stays deleted: whatever message comes late under a reference of the record, of whatever version, by
 * whatever way, creates nothing. For every kind that has references, on both doors.
 */

const api = await testApp(t);
const { request, graphql } = api;

interface Case {
  path: string;
  /** Members of batches. */
  plural: string;
  /** Its GraphQL type. */
  type: string;
  /** What a record needs. */
  document: () => object;
  /** `list`: its references are all of `references`. */
  naming: 'own' | 'list';
}

const customer = () => ({ source: 'shop', externalId: fresh('owner') });
const at = '2026-03-01T08:00:00Z';
const { source: _, externalId: __, ...order } = orderOf();
const { body: paid } = await request('POST', '/v1/orders', { body: orderOf(), headers: newKey() });
const cases: Record<string, Case> = {
  order: {
    path: '/v1/orders',
    plural: 'orders',
    type: 'Order',
    naming: 'own',
    document: () => ({ ...order, customer: customer() }),
  },
  refund: {
    path: '/v1/refunds',
    plural: 'refunds',
    type: 'Refund',
    naming: 'own',
    document: () => ({ orderId: paid.id, amount: 0, refundedAt: at }),
  },
  return: {
    path: '/v1/returns',
    plural: 'returns',
    type: 'Return',
    naming: 'own',
    document: () => ({ customer: customer(), returnedAt: at, currency: 'EUR', total: 500 }),
  },
  interaction: {
    path: '/v1/interactions',
    plural: 'interactions',
    type: 'Interaction',
    naming: 'own',
    document: () => ({ customer: customer(), kind: 'phone', direction: 'inbound', occurredAt: at }),
  },
  campaign: {
    path: '/v1/campaigns',
    plural: 'campaigns',
    type: 'Campaign',
    naming: 'list',
    document: () => ({ name: 'Spring' }),
  },
  customer: {
    path: '/v1/customers',
    plural: 'customers',
    type: 'Customer',
    naming: 'list',
    document: () => ({ name: 'Ada' }),
  },
};

t.strictSame(
  recordKinds()
    .filter(({ naming }) => naming !== 'none')
    .map(({ name }) => name)
    .sort(),
  Object.keys(cases).sort(),
  'every kind with references is here',
);

interface Reference {
  source: string;
  externalId: string;
}

function doors({ path, plural, type, naming, document }: Case) {
  const address = ({ source, externalId }: Reference) => `${path}/external/${source}/${externalId}`;
  const field = type.charAt(0).toLowerCase() + type.slice(1);
  /** As POST and batches take it. */
  const whole = ([own, ...others]: Reference[], more: object) =>
    naming === 'list'
      ? { ...document(), ...more, references: [own, ...others] }
      : { ...document(), ...more, ...own, references: others };
  return {
    address,
    put: (ref: Reference, more: object = {}, query = '') =>
      request('PUT', address(ref) + query, { body: { ...document(), ...more } }),
    post: (refs: Reference[], more: object = {}) =>
      request('POST', path, { body: whole(refs, more), headers: newKey() }),
    async batch(refs: Reference[], more: object = {}) {
      const { body } = await request('POST', `${path}/batch`, { body: { [plural]: [whole(refs, more)] } });
      return body.results[0];
    },
    remove: (to: string, query = '', headers: object = { 'If-Match': '*' }) =>
      request('DELETE', to + query, { headers: { ...headers } }),
    async upsertByGraphql(reference: Reference, more: object = {}, restore = false) {
      const input = naming === 'list' || type === 'Campaign' ? `${type}Input` : `${type}Document`;
      const { body } = await graphql(
        `mutation ($reference: ReferenceInput!, $input: ${input}!, $restore: Boolean) {
          upsert${type}(reference: $reference, input: $input, restore: $restore) { created ${field} { id } } }`,
        { reference, input: upper({ ...document(), ...more }), restore },
      );
      return body.errors
        ? { code: body.errors[0].extensions?.code ?? body.errors[0].message }
        : body.data[`upsert${type}`];
    },
    async removeByGraphql(reference: Reference, sourceVersion: unknown) {
      const { body } = await graphql(
        `mutation ($reference: ReferenceInput, $sourceVersion: SourceVersion) {
          delete${type}(reference: $reference, expectedVersion: "*", sourceVersion: $sourceVersion) { id deleted } }`,
        { reference, sourceVersion },
      );
      return body.errors
        ? { code: body.errors[0].extensions?.code ?? body.errors[0].message }
        : body.data[`delete${type}`];
    },
  };
}

/** GraphQL spells the words in capitals. */
function upper(document: object): object {
  return Object.fromEntries(
    Object.entries(document).map(([key, value]) => [
      key,
      ['kind', 'direction', 'paymentStatus', 'fulfillmentStatus'].includes(key) ? String(value).toUpperCase() : value,
    ]),
  );
}

async function count({ path }: Case): Promise<number> {
  return (await request('GET', `${path}?count=true&limit=1`)).body.page.total;
}

for (const [name, kind] of Object.entries(cases)) {
  const { address, put, post, batch, remove, upsertByGraphql, removeByGraphql } = doors(kind);
  const ref = (source: string): Reference => ({ source, externalId: fresh(name) });

  t.test(`${name}: no late message creates it again, and only a PUT that says so brings it back`, async (t: Test) => {
    for (const sourceVersion of [undefined, 5, '2026-05-01T00:00:00Z']) {
      const [own, alias] = [ref('shop'), ref('erp')];
      const { body: made, status } = await put(own, { references: [alias], sourceVersion });
      t.equal(status, 201, JSON.stringify(made));
      t.equal((await remove(`${kind.path}/${made.id}`)).status, 204);
      const before = await count(kind);
      const versions =
        sourceVersion === 5
          ? [undefined, 1, 5, 6, 2 ** 40]
          : [undefined, '2026-04-01T00:00:00Z', '2026-06-01T00:00:00Z'];
      for (const one of [own, alias]) {
        for (const late of versions) {
          const more = late === undefined ? {} : { sourceVersion: late };
          for (const answer of [await put(one, more), await post([one], more), await post([ref('new'), one])]) {
            t.match(answer, { status: 410, body: { code: 'deleted' } });
          }
          for (const others of [[one], [ref('new'), one]]) {
            t.match(await batch(others, more), { status: 'refused', error: { code: 'deleted' } });
          }
          t.match(await put(ref('new'), { ...more, references: [one] }), { status: 410, body: { code: 'deleted' } });
          t.match(await upsertByGraphql(one, more), { code: 'deleted' });
        }
      }
      t.equal(await count(kind), before, 'nothing was created');

      const dry = await put(own, {}, '?restore=true&dryRun=true');
      t.match(dry, { status: 201, body: { created: true } });
      const [restored, again] = [await put(own, {}, '?restore=true'), await put(own, {}, '?restore=true')];
      t.match(restored, { status: 201, body: { created: true, version: 1 } });
      t.not(restored.body.id, made.id);
      t.match(
        again,
        { status: 200, body: { created: false, id: restored.body.id } },
        'restore of what is there is a PUT',
      );
      t.equal((await put(alias)).status, 410, 'what the restoring document does not name stays deleted');
      t.match(await put(own, { references: [alias] }), { status: 410 });
      const named = await put(own, { references: [alias] }, '?restore=true');
      t.match(named, { status: 200, body: { id: restored.body.id } });
      t.equal((await request('GET', address(alias))).body.id, restored.body.id);
      if (sourceVersion !== undefined) {
        t.match(
          await put(own, { sourceVersion }),
          { body: { applied: false } },
          'the version that was seen still counts',
        );
      }
    }
  });

  t.test(`${name}: restored by GraphQL`, async (t: Test) => {
    const own = ref('shop');
    await put(own, { sourceVersion: 5 });
    t.equal((await remove(address(own))).status, 204);
    t.match(await upsertByGraphql(own, { sourceVersion: 9 }), { code: 'deleted' });
    t.match(await upsertByGraphql(own, { sourceVersion: 9 }, true), { created: true });
    t.equal((await request('GET', address(own))).status, 200);
  });

  t.test(`${name}: a deletion has a version, too`, async (t: Test) => {
    const [own, alias] = [ref('shop'), ref('erp')];
    const { body: made } = await put(own, { references: [alias], sourceVersion: 5 });
    for (const late of [1, 5]) {
      t.strictSame(
        (({ status, body }) => ({ status, body }))(await remove(address(own), `?sourceVersion=${late}`)),
        { status: 200, body: { id: made.id, deleted: false } },
        'no news',
      );
      t.match(await removeByGraphql(own, late), { id: made.id, deleted: false });
    }
    t.match(await remove(`${kind.path}/${made.id}`, '?sourceVersion=5'), { status: 200, body: { deleted: false } });
    t.match(await remove(address(own), '?sourceVersion=4', { 'If-Match': '"9"' }), { status: 412 });
    t.match(await remove(address(own), '?sourceVersion=2026-05-01T00:00:00Z'), {
      status: 422,
      body: { errors: [{ parameter: 'sourceVersion', code: 'source_version_kind' }] },
    });
    for (const bad of ['-1', '1.5', 'yesterday', '']) {
      t.equal((await remove(address(own), `?sourceVersion=${bad}`)).status, 422, bad);
    }
    t.equal((await request('GET', address(own))).body.version, made.version, 'nothing has changed');
    t.equal((await remove(address(own), '?sourceVersion=6&dryRun=true')).status, 204);
    t.equal((await request('GET', address(own))).status, 200);
    t.equal((await remove(address(own), '?sourceVersion=6')).status, 204);
    t.equal((await put(own, { sourceVersion: 7 })).status, 410);
    t.equal((await put(own, {}, '?restore=true')).status, 201);
    t.match(await put(own, { sourceVersion: 6 }), { body: { applied: false } }, 'the version of the deletion counts');

    const timed = ref('shop');
    await put(timed, { sourceVersion: '2026-05-01T00:00:00Z' });
    const removed = await remove(address(timed), `?sourceVersion=${encodeURIComponent('2026-05-01T02:00:00+02:00')}`);
    t.match(removed, { status: 200, body: { deleted: false } });
    t.match(await removeByGraphql(timed, '2026-05-01T00:00:00.000000001Z'), { deleted: true });

    const plain = ref('shop');
    await put(plain);
    t.equal((await remove(address(plain), '?sourceVersion=1')).status, 204, 'no version is stored: it is news');
  });
}

t.test('a version of a deletion needs a reference that it belongs to', async (t) => {
  const { body } = await request('POST', '/v1/campaigns', { body: { name: 'Nameless' }, headers: newKey() });
  const answer = await request('DELETE', `/v1/campaigns/${body.id}?sourceVersion=1`, { headers: { 'If-Match': '*' } });
  t.match(answer, { status: 422, body: { errors: [{ parameter: 'sourceVersion', code: 'no_reference' }] } });
});
