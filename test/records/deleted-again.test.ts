import t from 'tap';
import { testApp } from '../support/app.ts';
import { fresh, newKey, orderOf } from '../support/shop.ts';

/* Deleted stays deleted: who writes by the reference of a deleted record is told so, whatever the method. */

const { request } = await testApp(t);
const any = { 'If-Match': '*' };

t.test('PUT, PATCH and DELETE by reference of a deleted record answer 410, GET 404', async (t) => {
  const made: [string, string, object][] = [
    ['orders', fresh('o'), {}],
    ['customers', fresh('c'), {}],
  ];
  for (const [kind, externalId] of made) {
    const at = `/v1/${kind}/external/shop/${externalId}`;
    const body =
      kind === 'orders'
        ? { ...orderOf({ customer: { externalId: fresh('c') } }), source: undefined, externalId: undefined }
        : { name: 'Ada' };
    t.equal((await request('PUT', at, { body, headers: newKey() })).status, 201, kind);
    t.ok((await request('DELETE', at, { headers: any })).status < 300);
    for (const [method, given] of [
      ['PUT', body],
      ['PATCH', {}],
      ['DELETE', undefined],
    ] as const) {
      const answer = await request(method, at, {
        ...(given && { body: given }),
        ...(method !== 'PUT' && { headers: any }),
      });
      t.match(answer, { status: 410, body: { code: 'deleted' } }, `${method} of ${kind}`);
    }
    t.equal((await request('GET', at)).status, 404);
    const never = `/v1/${kind}/external/shop/${fresh('never')}`;
    t.equal((await request('DELETE', never, { headers: any })).status, 404, 'what never was');
  }
});
