import { readFile } from 'node:fs/promises';
import t from 'tap';
import { testApp } from '../support/app.ts';
import { fresh, newKey, orderOf } from '../support/shop.ts';

/* Deleted stays deleted: who writes by the reference of a deleted record is told so, whatever the method. */

const { request, graphql } = await testApp(t);
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

t.test('whatever is sent to or about a deleted record by one of its references answers 410', async (t) => {
  const names = { orders: [fresh('o'), fresh('o')], customers: [fresh('c'), fresh('c')], campaigns: [fresh('k')] };
  const others = { interactions: [fresh('i')], returns: [fresh('r')], refunds: [fresh('f')], leads: [] as string[] };
  const customer = { customer: { source: 'shop', externalId: fresh('owner') } };
  const refundOf = (externalId: string) => ({ amount: 1, refundedAt: '2026-03-05T10:00:00Z', order: { externalId } });
  const when = '2026-03-01T08:26:00Z';
  const kept = fresh('kept');
  await request('POST', '/v1/orders', {
    body: orderOf({ source: 'shop', externalId: kept, ...customer }),
    headers: newKey(),
  });
  const { source: _, externalId: __, ...order } = orderOf(customer);
  const bodies: Record<string, object> = {
    orders: order,
    customers: { name: 'Ada' },
    campaigns: { name: 'Spring' },
    interactions: { kind: 'phone', occurredAt: when, ...customer },
    returns: { returnedAt: when, currency: 'EUR', total: 100, ...customer },
    refunds: refundOf(kept),
    leads: {},
  };
  for (const [kind, externalIds] of Object.entries({ ...names, ...others })) {
    const [first, second] = externalIds;
    if (!first) continue;
    const at = `/v1/${kind}/external/shop/${first}`;
    const references = second ? { references: [{ source: 'shop', externalId: second }] } : {};
    const made = await request('PUT', at, { body: { ...bodies[kind], ...references }, headers: newKey() });
    t.equal(made.status, 201, JSON.stringify(made.body));
    t.ok((await request('DELETE', at, { headers: any })).status < 300, kind);
  }
  const gone: Record<string, string[]> = { ...names, ...others, leads: names.customers };

  const document = await readFile(new URL('../../openapi.yaml', import.meta.url), 'utf8');
  const more: Record<string, object | undefined> = {
    'POST consents': { purpose: 'news', status: 'granted' },
    'POST refunds': { amount: 1, refundedAt: when },
    'POST loyalty': { programmeId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' },
    'PUT loyalty/tier': { tier: 'gold', reason: 'asked for' },
    'POST stage': { to: 'lead' },
    'POST assign': {},
  };
  // Erasing is no message about a record: there is nothing to erase.
  const apart = ['POST erase'];
  let path = '';
  let seen = 0;
  for (const line of document.split('\n')) {
    path = /^ {2}(\/\S+):$/.exec(line)?.[1] ?? path;
    const method = /^ {4}(post|put|patch|delete):$/.exec(line)?.[1]?.toUpperCase();
    const [, kind = '', rest = ''] = /^\/v1\/([a-z-]+)\/external\/\{source\}\/\{externalId\}\/?(.*)$/.exec(path) ?? [];
    if (!method || !kind || apart.includes(`${method} ${rest}`)) continue;
    const body =
      rest === '' ? (method === 'PUT' ? bodies[kind] : method === 'PATCH' ? {} : undefined) : more[`${method} ${rest}`];
    for (const externalId of gone[kind] ?? []) {
      const answer = await request(method, `/v1/${kind}/external/shop/${externalId}${rest && `/${rest}`}`, {
        ...(body && { body }),
        headers: { ...newKey(), ...(method !== 'PUT' && { 'If-Match': '*' }) },
      });
      t.match(answer, { status: 410, body: { code: 'deleted' } }, `${method} ${path} ${JSON.stringify(answer.body)}`);
      seen += 1;
    }
    t.ok(kind in gone, `${kind} is among these`);
  }
  t.ok(seen > 25, `${seen} requests`);

  const survey = await request('POST', '/v1/surveys', {
    body: { name: 'Asked', status: 'open', questions: [{ key: 'recommend', type: 'nps', text: 'Would you?' }] },
  });
  for (const externalId of names.customers) {
    const by = { source: 'shop', externalId };
    for (const [at, body] of [
      ['/v1/orders', { ...orderOf({ customer: by }) }],
      ['/v1/returns', { ...bodies['returns'], source: 'shop', externalId: fresh('r'), customer: by }],
      ['/v1/interactions', { ...bodies['interactions'], customer: by }],
      ['/v1/leads', { customer: by }],
      [
        `/v1/surveys/${survey.body.id}/responses`,
        { submissionId: fresh('s'), answeredAt: when, customer: by, answers: [{ question: 'recommend', score: 9 }] },
      ],
      ['/v1/loyalty/transactions', { kind: 'adjust', points: 1, reason: 'x', customer: by }],
      ['/v1/loyalty/redemptions', { rewardId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90', customer: by }],
    ] as const) {
      const answer = await request('POST', at, { body, headers: newKey() });
      t.match(answer, { status: 410, body: { code: 'deleted' } }, `${at} ${JSON.stringify(answer.body)}`);
    }
    const batch = await request('POST', '/v1/orders/batch', { body: { orders: [orderOf({ customer: by })] } });
    t.match(batch.body.results, [{ status: 'refused', error: { code: 'deleted' } }]);
  }
  for (const externalId of names.orders) {
    const named = { source: 'shop', externalId: fresh('f'), ...refundOf(externalId) };
    t.match(await request('POST', '/v1/refunds', { body: named, headers: newKey() }), { status: 410 });
    const { externalId: own, source: from, ...body } = named;
    t.match(await request('PUT', `/v1/refunds/external/${from}/${own}`, { body }), { status: 410 });
    const { body: batch } = await request('POST', '/v1/refunds/batch', { body: { refunds: [named] } });
    t.match(batch.results, [{ status: 'refused', error: { code: 'deleted' } }]);
    for (const [mutation, input] of [
      [
        'createRefund(orderReference: $reference, input: $input, idempotencyKey: $key)',
        { amount: 1, refundedAt: when },
      ],
      ['createRefund(input: $input, idempotencyKey: $key)', named],
    ] as const) {
      const query = `mutation ($reference: ReferenceInput, $input: RefundInput!, $key: String!) { ${mutation} { refund { id } } }`;
      const variables = { reference: { source: 'shop', externalId }, input, key: fresh('key') };
      const { body: answer } = await graphql(
        query.replace(mutation.includes('orderReference') ? '' : '$reference: ReferenceInput, ', ''),
        variables,
      );
      t.match(answer.errors, [{ extensions: { code: 'deleted' } }], JSON.stringify(answer));
    }
  }
});
