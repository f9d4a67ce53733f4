import t from 'tap';
import { type Answer, testApp } from '../../support/app.ts';
import { legal, type Stage, stages } from '../../support/leads.ts';
import { allPages, fresh, newKey, orderOf, pushOrder, pushRefund } from '../../support/shop.ts';

const api = await testApp(t);
const { request, graphql } = api;

const faults = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);
const any = { 'If-Match': '*' };
const claim = () => ({ source: 'web', externalId: fresh('lead') });
const make = (body: object = {}): Promise<Answer> =>
  request('POST', '/v1/leads', { body: { customer: claim(), enteredAt: '2025-01-01T00:00:00Z', ...body } });
const move = (id: string, body: object, headers: Record<string, string> = {}): Promise<Answer> =>
  request('POST', `/v1/leads/${id}/stage`, {
    body: { ...('to' in body && body.to === 'former' && { lossReason: 'price' }), ...body },
    headers,
  });
const read = async (id: string) => (await request('GET', `/v1/leads/${id}`)).body;
const history = (id: string) => allPages(api, `/v1/leads/${id}/stages?limit=3`);
const steps = async (id: string) => (await history(id)).map(({ from, to, rule }) => [from, to, rule]);

t.test('a lead is made of a customer who is found as for orders, or made', async (t) => {
  const made = await make({ source: 'fair', segment: 'smb', owner: 'maria' });
  t.match(made, {
    status: 201,
    body: {
      stage: 'lead',
      stageSince: '2025-01-01T00:00:00.000Z',
      enteredAt: '2025-01-01T00:00:00.000Z',
      lossReason: null,
      owner: 'maria',
      source: 'fair',
      segment: 'smb',
      convertedAt: null,
      conversionOrderId: null,
      version: 1,
      created: true,
      applied: true,
      warnings: [],
    },
  });
  t.equal(made.headers.get('location'), `/v1/leads/${made.body.id}`);
  t.equal((await request('GET', `/v1/customers/${made.body.id}`)).status, 200, 'the lead has the id of its customer');
  const { created, applied, warnings, ...record } = made.body;
  t.same([created, applied, warnings], [true, true, []]);
  t.strictSame(await read(made.body.id), record);
  t.match(await history(made.body.id), [
    {
      leadId: made.body.id,
      sequence: 1,
      at: '2025-01-01T00:00:00.000Z',
      from: null,
      to: 'lead',
      rule: null,
      by: 'test',
    },
  ]);

  const known = await request('POST', '/v1/customers', {
    body: {
      identities: [{ kind: 'email', value: `${fresh('known')}@example.org` }],
      acquisition: { source: 'search-ads' },
    },
  });
  const email = known.body.email as string; // given above
  const byMail = await request('POST', '/v1/leads', { body: { customer: { email, ...claim() } } });
  t.match(byMail, { status: 201, body: { id: known.body.id, source: 'search-ads' } }, 'by default its own source');
  t.equal((await request('GET', `/v1/customers/${known.body.id}`)).body.references.length, 1, 'and it has a new name');
  const again = await request('POST', '/v1/leads', { body: { customerId: known.body.id } });
  t.match(again, { status: 409, body: { code: 'already_exists', id: known.body.id } });
  t.same(faults(again.body), ['/customerId already_exists']);

  const second = await request('POST', '/v1/leads', { body: { customer: { email, ...claim(), name: 'X' } } });
  t.match(
    second,
    { status: 201, body: { warnings: [{ code: 'customer_conflict' }] } },
    'another account of the source',
  );
  t.not(second.body.id, known.body.id);
  const visitor = claim();
  await make({ customer: visitor });
  const form = await request('PUT', `/v1/leads/external/web/${visitor.externalId}`, { body: { customer: { email } } });
  t.match(form, { status: 200, body: { id: known.body.id, warnings: [{ code: 'customer_merged' }] } });
});

t.test('what is no lead is refused with the place of the fault', async (t) => {
  const cases: [object, string[]][] = [
    [{ customer: undefined }, ['/customer customer_required']],
    [{ customer: {} }, ['/customer customer_required']],
    [{ customer: { externalId: 'x' } }, ['/customer/source required']],
    [{ customer: { source: 'x' } }, ['/customer/externalId required']],
    [{ customer: { email: 'nonsense' } }, ['/customer/email invalid_email']],
    [{ customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' }, ['/customerId customer_twice']],
    [{ customer: undefined, customerId: '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90' }, ['/customerId not_found']],
    [{ stage: 'former' }, ['/lossReason required']],
    [{ lossReason: 'price' }, ['/lossReason not_lost']],
    [{ stage: 'won' }, ['/stage invalid_value']],
    [{ enteredAt: '2999-01-01T00:00:00Z' }, ['/enteredAt in_the_future']],
    [{ owner: '' }, ['/owner too_small']],
    [{ nonsense: 1 }, ['/nonsense unrecognized_keys']],
  ];
  for (const [body, expected] of cases) {
    const { status, body: answer } = await make(body);
    t.same(
      [status, faults(answer).map((one) => one.split(' ')[0])],
      [422, expected.map((one) => one.split(' ')[0])],
      JSON.stringify(body),
    );
    if (!/(invalid_value|too_small|unrecognized_keys)$/.test(expected[0] ?? '')) t.same(faults(answer), expected);
  }
  const gone = claim();
  await request('PUT', `/v1/customers/external/web/${gone.externalId}`, { body: { name: 'Gone' } });
  await request('DELETE', `/v1/customers/external/web/${gone.externalId}`, { headers: any });
  const late = await make({ customer: gone });
  t.match([late.status, faults(late.body)], [410, ['/customer/externalId deleted']]);
  const put = await request('PUT', `/v1/leads/external/web/${gone.externalId}`, { body: {} });
  t.match([put.status, faults(put.body)], [410, ['externalId deleted']], 'the reference stands in the address');
  for (const path of ['/v1/leads/0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90', '/v1/leads/external/web/nobody']) {
    t.equal((await request('GET', path)).status, 404);
    t.equal((await request('GET', `${path}/stages`)).status, 404);
    t.equal((await request('PATCH', path, { body: { owner: 'x' }, headers: any })).status, 404);
    t.equal((await request('DELETE', path, { headers: any })).status, 404);
    t.equal((await request('POST', `${path}/stage`, { body: { to: 'customer' } })).status, 404);
    t.equal((await request('POST', `${path}/assign`, { body: {} })).status, 404);
  }
  const { body: customer } = await request('POST', '/v1/customers', { body: { name: 'No lead' } });
  t.equal((await request('GET', `/v1/leads/${customer.id}`)).status, 404, 'a customer is no lead by itself');
});

t.test('every transition there is, and none that there is not', async (t) => {
  for (const from of stages) {
    for (const to of stages) {
      const { body: made } = await make({ stage: from, ...(from === 'former' && { lossReason: 'service' }) });
      const { status, body } = await move(made.id, { to });
      if (from === to) {
        t.match([status, body.applied, body.version], [200, false, 1], `${from} stays`);
        t.same(await steps(made.id), [[null, from, null]]);
      } else if (legal[from].includes(to)) {
        t.match([status, body.stage, body.applied, body.version], [200, to, true, 2], `${from} → ${to}`);
        t.equal(body.lossReason, to === 'former' ? 'price' : null);
        t.equal(body.convertedAt, to === 'customer' ? body.stageSince : from === 'customer' ? made.stageSince : null);
        t.same(await steps(made.id), [
          [null, from, null],
          [from, to, null],
        ]);
      } else {
        t.match([status, faults(body)], [422, ['/to illegal_transition']], `${from} → ${to}`);
        t.same(await steps(made.id), [[null, from, null]]);
      }
    }
  }
});

t.test('a change of stage has a time in order, and a reason when the lead is lost', async (t) => {
  const { body: made } = await make();
  const refusals: [object, string][] = [
    [{ to: 'former', lossReason: undefined }, '/lossReason required'],
    [{ to: 'customer', lossReason: 'price' }, '/lossReason not_lost'],
    [{ to: 'customer', at: '2024-12-31T23:59:59.999999Z' }, '/at before_last_change'],
    [{ to: 'customer', at: new Date(Date.now() + 660_000).toISOString() }, '/at in_the_future'],
  ];
  for (const [body, fault] of refusals) {
    const answer = await move(made.id, body);
    t.match([answer.status, faults(answer.body)], [422, [fault]]);
  }
  t.equal((await move(made.id, { to: 'sales_qualified', at: '2025-01-01T00:00:00Z' })).status, 200, 'at once');
  t.equal((await move(made.id, { to: 'lead', at: '2025-01-01T00:00:00.000001Z' })).status, 200);
  t.same(faults((await move(made.id, { to: 'customer', at: '2025-01-01T00:00:00.000Z' })).body), [
    '/at before_last_change',
  ]);
  const ahead = new Date(Date.now() + 300_000).toISOString();
  t.match((await move(made.id, { to: 'marketing_qualified', at: ahead })).body, { stageSince: ahead });
  t.match((await move(made.id, { to: 'former', note: 'too dear, says Ada' })).body, { stageSince: ahead, version: 5 });
  t.match(await history(made.id), [
    { sequence: 1 },
    { sequence: 2, at: '2025-01-01T00:00:00.000Z', from: 'lead', to: 'sales_qualified', lossReason: null },
    { sequence: 3, at: '2025-01-01T00:00:00.000001Z' },
    { sequence: 4, note: null },
    {
      sequence: 5,
      at: ahead,
      from: 'marketing_qualified',
      to: 'former',
      lossReason: 'price',
      note: 'too dear, says Ada',
    },
  ]);
  const hidden = await request('GET', `/v1/leads/${made.id}/stages?sort=-sequence&limit=1`, { scope: 'leads:read' });
  t.match(hidden.body.data, [{ sequence: 5, lossReason: 'price', note: null }], 'a note is personal');
});

t.test('versions, dry runs, idempotency and scopes', async (t) => {
  const { body: made } = await make({ owner: 'maria' });
  const path = `/v1/leads/${made.id}`;
  const ifMatch = (version: number) => ({ 'If-Match': `"${version}"` });
  t.equal((await request('PATCH', path, { body: { owner: 'jo' } })).status, 428);
  t.equal((await request('PATCH', path, { body: { owner: 'jo' }, headers: ifMatch(2) })).status, 412);
  const patched = await request('PATCH', path, { body: { owner: 'jo', segment: 'smb' }, headers: ifMatch(1) });
  t.match(patched.body, { owner: 'jo', segment: 'smb', version: 2, applied: true });
  const same = await request('PATCH', path, { body: { owner: 'jo' }, headers: any });
  t.match(same.body, { owner: 'jo', segment: 'smb', version: 2, applied: false });
  t.match((await request('PATCH', path, { body: { owner: null }, headers: any })).body, { owner: null, version: 3 });
  t.equal((await move(made.id, { to: 'customer' }, ifMatch(2))).status, 412);
  t.equal((await move(made.id, { to: 'sales_qualified' }, ifMatch(3))).status, 200);
  t.equal((await request('POST', `${path}/assign`, { body: { owner: 'kim' }, headers: ifMatch(3) })).status, 412);
  t.match((await request('POST', `${path}/assign`, { body: { owner: 'kim' } })).body, { owner: 'kim', version: 5 });

  const before = await read(made.id);
  t.match((await request('POST', `${path}/stage?dryRun=true`, { body: { to: 'customer' } })).body, {
    stage: 'customer',
  });
  t.match((await request('PATCH', `${path}?dryRun=true`, { body: { owner: 'x' }, headers: any })).body, { owner: 'x' });
  t.equal((await request('DELETE', `${path}?dryRun=true`, { headers: any })).status, 204);
  t.strictSame(await read(made.id), before);
  const customer = claim();
  t.equal((await request('POST', '/v1/leads?dryRun=true', { body: { customer } })).status, 201);
  t.equal((await request('GET', `/v1/customers/external/web/${customer.externalId}`)).status, 404);

  const headers = newKey();
  const first = await request('POST', '/v1/leads', { body: { customer }, headers });
  const replay = await request('POST', '/v1/leads', { body: { customer }, headers });
  t.match([replay.status, replay.headers.get('idempotency-replayed')], [201, 'true']);
  t.strictSame(replay.body, first.body);
  const key = newKey();
  for (const replayed of [null, 'true']) {
    const answer = await request('POST', `${path}/stage`, {
      body: { to: 'former', lossReason: 'price' },
      headers: key,
    });
    t.match([answer.body.applied, answer.headers.get('idempotency-replayed')], [true, replayed]);
  }

  t.equal((await request('GET', path, { scope: 'customers:read' })).status, 403);
  t.equal((await request('GET', path, { scope: 'leads:read' })).status, 200);
  t.equal((await request('POST', `${path}/stage`, { body: { to: 'lead' }, scope: 'leads:read' })).status, 403);
  t.equal((await request('POST', `${path}/stage`, { body: { to: 'lead' }, scope: 'leads:write' })).status, 200);
  t.equal((await request('DELETE', path, { headers: ifMatch(1) })).status, 412);
});

t.test('a customer who is a lead is not deleted; a lead is, and its customer stays', async (t) => {
  const customer = claim();
  const { body: made } = await make({ customer });
  const at = `/v1/leads/external/web/${customer.externalId}`;
  const refused = await request('DELETE', `/v1/customers/${made.id}`, { headers: any });
  t.match(refused, { status: 409, body: { code: 'customer_has_records', detail: /lead/ } });
  await move(made.id, { to: 'customer' });
  t.equal((await request('DELETE', at, { headers: any })).status, 204);
  t.equal((await request('GET', at)).status, 404);
  t.equal((await request('GET', `${at}/stages`)).status, 404);
  t.match(await make({ customer }), { status: 201, body: { id: made.id, version: 1, stage: 'lead' } });
  t.same(await steps(made.id), [[null, 'lead', null]]);
  t.equal((await request('DELETE', at, { headers: any })).status, 204);
  t.equal((await request('DELETE', `/v1/customers/${made.id}`, { headers: any })).status, 204);
});

t.test('a lead is put by the reference of its customer', async (t) => {
  const { externalId } = claim();
  const at = `/v1/leads/external/web/${externalId}`;
  const put = (body: object, headers = {}) => request('PUT', at, { body, headers });
  const first = await put({ source: 'fair', segment: 'smb', owner: 'maria', customer: { name: 'Ada' } });
  t.match(first, { status: 201, body: { created: true, stage: 'lead', source: 'fair', owner: 'maria', version: 1 } });
  t.match((await request('GET', `/v1/customers/external/web/${externalId}`)).body, {
    id: first.body.id,
    name: 'Ada',
    references: [{ source: 'web', externalId }],
  });
  const same = await put({ source: 'fair', segment: 'smb' });
  t.match(same, { status: 200, body: { created: false, applied: false, owner: 'maria', version: 1 } });
  const next = await put({ segment: 'big', stage: 'sales_qualified', enteredAt: '2020-01-01T00:00:00Z' });
  t.match(next.body, { source: null, segment: 'big', owner: 'maria', stage: 'sales_qualified', version: 2 });
  t.equal(next.body.enteredAt, first.body.enteredAt);
  t.match((await put({ segment: 'big', stage: 'sales_qualified' })).body, { applied: false, version: 2 });
  t.same(faults((await put({ stage: 'subscriber' })).body), ['/stage illegal_transition']);
  t.same(faults((await put({ stage: 'former' })).body), ['/lossReason required']);
  t.same(faults((await put({ lossReason: 'price' })).body), ['/lossReason not_lost']);
  t.equal((await put({ segment: 'x' }, { 'If-Match': '"1"' })).status, 412);
  t.equal((await put({ segment: 'x', owner: null }, { 'If-Match': '"2"' })).status, 200);
  t.match((await request('PATCH', at, { body: { source: 'x' }, headers: any })).body, { source: 'x', owner: null });
  t.match((await request('POST', `${at}/stage`, { body: { to: 'customer' } })).body, { stage: 'customer' });
  t.match((await request('POST', `${at}/assign`, { body: { owner: 'jo' } })).body, { owner: 'jo' });
  t.equal((await request('GET', `${at}/stages`)).body.data.length, 3);
});

t.test('a batch is upserts by customer, in index order', async (t) => {
  const [a, b] = [claim(), claim()];
  const { body: known } = await make({ customer: a, stage: 'customer' });
  const send = (leads: unknown[], query = '') => request('POST', `/v1/leads/batch${query}`, { body: { leads } });
  const mixed = [
    { customer: a, owner: 'jo' },
    { customer: b, stage: 'subscriber', owner: 'kim' },
    { customer: b, stage: 'lead', segment: 'smb' },
    { customer: b, stage: 'subscriber' },
    { customer: a, stage: 'lead' },
    { customer: a },
    { nonsense: 1 },
    { customer: { externalId: 'x' } },
    { customer: claim(), stage: 'former', lossReason: 'competitor', enteredAt: '2020-01-01T00:00:00Z' },
  ];
  const { status, body } = await send(mixed);
  t.equal(status, 200);
  t.same(
    body.results.map((one: { status: string }) => one.status),
    ['updated', 'created', 'updated', 'refused', 'refused', 'unchanged', 'refused', 'refused', 'created'],
  );
  t.same([body.results[0].id, body.results[2].id], [known.id, body.results[1].id]);
  t.match(body.results[3].error.errors, [{ pointer: '/stage', code: 'illegal_transition' }]);
  t.match(await read(known.id), { owner: 'jo', stage: 'customer', version: 2 });
  t.match(await read(body.results[1].id), { owner: 'kim', segment: 'smb', stage: 'lead', version: 1 });
  t.same(await steps(body.results[1].id), [
    [null, 'subscriber', null],
    ['subscriber', 'lead', null],
  ]);
  const refused = await send(mixed, '?atomic=true');
  t.match(refused, { status: 422, body: { code: 'batch_refused' } });
  const many = Array.from({ length: 1000 }, () => ({ customer: claim(), segment: 'smb' }));
  const all = await send(many);
  t.ok(all.body.results.every((one: { status: string }) => one.status === 'created'));
  const repeated = await send(many);
  t.ok(repeated.body.results.every((one: { status: string }) => one.status === 'unchanged'));
});

t.test('the list of all changes of stage', async (t) => {
  const customer = claim();
  const { body: made } = await make({ customer, enteredAt: '1999-01-01T00:00:00Z' });
  await move(made.id, { to: 'sales_qualified', at: '1999-02-01T00:00:00Z' });
  await move(made.id, { to: 'former', at: '1999-03-01T00:00:00Z' });
  const list = (query: string) => allPages(api, `/v1/lead-stage-changes?limit=2&atTo=2000-01-01T00:00:00Z&${query}`);
  t.same(
    (await list('')).map(({ sequence }) => sequence),
    [3, 2, 1],
  );
  t.same(
    (await list('sort=at')).map(({ sequence }) => sequence),
    [1, 2, 3],
  );
  t.same(
    (await list('atFrom=1999-02-01T00:00:00Z')).map(({ to }) => to),
    ['former', 'sales_qualified'],
  );
  t.same(
    (await list('to=former')).map(({ from }) => from),
    ['sales_qualified'],
  );
  t.same(
    (await list('from=lead')).map(({ to }) => to),
    ['sales_qualified'],
  );
  t.same(await list('rule=score_threshold'), []);
  t.equal((await request('GET', '/v1/lead-stage-changes?rule=nonsense')).status, 422);
});

t.test('the first order that counts makes a customer, and its end takes that back', async (t) => {
  const customer = claim();
  const { body: made } = await make({ customer });
  const { id } = made;
  const order = (members: object = {}) => pushOrder(api, { customer, ...members });
  const patch = (orderId: string, body: object) => request('PATCH', `/v1/orders/${orderId}`, { body, headers: any });
  const expect = async (stage: Stage, orderId: string | null, what: string) =>
    t.match(await read(id), { stage, conversionOrderId: orderId, convertedAt: orderId === null ? null : String }, what);

  await order({ test: true });
  await order({ cancelledAt: '2026-03-02T00:00:00Z' });
  await expect('lead', null, 'neither a test nor what was cancelled counts');
  const { body: first } = await order({ placedAt: '2026-03-01T10:00:00Z' });
  await expect('customer', first.id, 'an order converts');
  t.match(await read(id), {
    convertedAt: '2026-03-01T10:00:00.000Z',
    stageSince: '2026-03-01T10:00:00.000Z',
    version: 2,
  });
  const { body: earlier } = await order({ placedAt: '2026-02-01T10:00:00Z' });
  await expect('customer', earlier.id, 'history comes in any order');
  t.match((await history(id)).at(-1), {
    sequence: 2,
    at: '2026-02-01T10:00:00.000Z',
    rule: 'first_qualifying_order',
    orderId: earlier.id,
  });
  await patch(earlier.id, { cancelledAt: '2026-03-02T00:00:00Z' });
  await expect('customer', first.id, 'another order is left');
  const { body: refund } = await pushRefund(api, first.id, { amount: 1000 });
  await expect('lead', null, 'refunded in full');
  t.match((await history(id)).at(-1), {
    sequence: 3,
    from: 'customer',
    to: 'lead',
    rule: 'no_qualifying_order_left',
    orderId: null,
  });
  await request('DELETE', `/v1/refunds/${refund.id}`, { headers: any });
  await expect('customer', first.id, 'the refund was a mistake');
  const since = (await read(id)).stageSince;
  t.ok(since > '2026-03-01T10:00:00.000Z', 'a step is not before the one before it');
  const elsewhere = claim();
  const { body: other } = await make({ customer: elsewhere, stage: 'marketing_qualified' });
  await patch(first.id, { customer: elsewhere });
  await expect('lead', null, 'moved away');
  t.match(await read(other.id), { stage: 'customer', conversionOrderId: first.id });
  await request('PUT', `/v1/orders/external/shop/${first.externalId}`, {
    body: { ...orderOf({ customer }), source: undefined, externalId: undefined },
  });
  await expect('customer', first.id, 'and moved back');
  t.match(await read(other.id), { stage: 'marketing_qualified', conversionOrderId: null });
  await request('DELETE', `/v1/orders/${first.id}`, { headers: any });
  await expect('lead', null, 'deleted');
  const sent = orderOf({ customer });
  const { body: batch } = await request('POST', '/v1/orders/batch', {
    body: { orders: [sent, orderOf({ customer: elsewhere })] },
  });
  await expect('customer', batch.results[0].id, 'by a batch');
  await request('POST', '/v1/orders/batch', { body: { orders: [{ ...sent, test: true }] } });
  await expect('lead', null, 'and back by a batch');
  t.equal((await request('GET', `/v1/orders/${earlier.id}`)).body.status, 'cancelled');
  const dry = await request('POST', '/v1/orders?dryRun=true', { body: orderOf({ customer }) });
  t.equal(dry.status, 201);
  await expect('lead', null, 'not by a dry run');
});

t.test('who has ordered before is a customer at once; by hand it stays whatever orders do', async (t) => {
  const customer = claim();
  const { body: order } = await pushOrder(api, { customer, placedAt: '2026-03-01T10:00:00Z' });
  const { body: lead } = await make({ customer, enteredAt: '2026-04-01T00:00:00Z' });
  t.match(lead, {
    stage: 'customer',
    convertedAt: '2026-04-01T00:00:00.000Z',
    conversionOrderId: order.id,
    version: 2,
  });
  t.match(await history(lead.id), [
    { at: '2026-04-01T00:00:00.000Z', to: 'lead', rule: null },
    { at: '2026-04-01T00:00:00.000Z', to: 'customer', rule: 'first_qualifying_order', orderId: order.id },
  ]);
  const byHand = claim();
  const { body: hand } = await make({ customer: byHand });
  await move(hand.id, { to: 'customer', at: '2025-06-01T00:00:00Z' });
  const { body: sale } = await pushOrder(api, { customer: byHand });
  await request('DELETE', `/v1/orders/${sale.id}`, { headers: any });
  t.match(await read(hand.id), {
    stage: 'customer',
    convertedAt: '2025-06-01T00:00:00.000Z',
    conversionOrderId: null,
    version: 2,
  });
});

t.test('a lost one is won back by what it buys afterwards, and not by what it bought before', async (t) => {
  const customer = claim();
  const { body: made } = await make({ customer });
  const { body: first } = await pushOrder(api, { customer, placedAt: '2025-02-01T00:00:00Z' });
  const lost = await move(made.id, { to: 'former', at: '2025-05-01T00:00:00Z', lossReason: 'service' });
  t.match(lost.body, {
    stage: 'former',
    lossReason: 'service',
    convertedAt: '2025-02-01T00:00:00.000Z',
    conversionOrderId: first.id,
  });
  await pushOrder(api, { customer, placedAt: '2025-05-01T00:00:00Z' });
  t.match(await read(made.id), { stage: 'former' });
  const { body: back } = await pushOrder(api, { customer, placedAt: '2025-05-01T00:00:00.000001Z' });
  t.match(await read(made.id), { stage: 'customer', lossReason: null, conversionOrderId: back.id });
  await request('DELETE', `/v1/orders/${back.id}`, { headers: any });
  t.match(
    await read(made.id),
    { stage: 'former', lossReason: 'service', convertedAt: '2025-02-01T00:00:00.000Z', conversionOrderId: first.id },
    'lost for the reason it was, and once a customer',
  );
  await move(made.id, { to: 'lead' });
  await pushOrder(api, { customer, placedAt: '2025-04-01T00:00:00Z' });
  t.match(await read(made.id), { stage: 'lead' }, 'taken up again, it is no customer for what it bought before');
  await pushOrder(api, { customer, placedAt: '2025-06-01T00:00:00Z' });
  t.match(await read(made.id), { stage: 'customer' });
  t.match((await move(made.id, { to: 'former' })).body, { stage: 'former' });
});

t.test('GraphQL does the same', async (t) => {
  const { externalId } = claim();
  const reference = { source: 'web', externalId };
  const fields = 'id stage lossReason owner source segment convertedAt version';
  const made = await graphql(
    `mutation ($input: LeadInput!) { createLead(input: $input) { lead { ${fields} customer { id name } stages { sequence from to by rule leadId } } created applied replayed warnings { code } } }`,
    { input: { customer: { ...reference, name: 'Ada' }, owner: 'maria', stage: 'SUBSCRIBER' } },
  );
  const { lead, ...rest } = made.body.data.createLead;
  t.same(rest, { created: true, applied: true, replayed: false, warnings: [] });
  t.match(lead, {
    stage: 'SUBSCRIBER',
    owner: 'maria',
    version: 1,
    customer: { id: lead.id, name: 'Ada' },
    stages: [{ sequence: 1, from: null, to: 'SUBSCRIBER', by: 'test', rule: null, leadId: lead.id }],
  });
  const again = await graphql('mutation ($input: LeadInput!) { createLead(input: $input) { created } }', {
    input: { customerId: lead.id },
  });
  t.match(again.body.errors, [{ extensions: { code: 'already_exists', id: lead.id } }]);
  const put = await graphql(
    `mutation ($reference: ReferenceInput!, $input: LeadDocument!) { upsertLead(reference: $reference, input: $input) { lead { ${fields} } created applied } }`,
    { reference, input: { segment: 'smb', stage: 'LEAD', customer: { email: `${externalId}@example.org` } } },
  );
  t.match(put.body.data.upsertLead, {
    lead: { segment: 'smb', stage: 'LEAD', version: 2 },
    created: false,
    applied: true,
  });
  const changed = await graphql(
    `mutation ($reference: ReferenceInput!) {
      updateLead(reference: $reference, expectedVersion: 2, input: { source: "fair" }) { lead { source version } }
      assignLead(reference: $reference, input: { owner: "jo" }) { lead { owner version } }
      changeLeadStage(reference: $reference, input: { to: FORMER, lossReason: PRICE, note: "n" }) { lead { stage lossReason } applied }
      again: changeLeadStage(reference: $reference, input: { to: FORMER, lossReason: PRICE }) { applied }
      illegal: changeLeadStage(reference: $reference, input: { to: SUBSCRIBER }) { applied }
      stale: updateLead(reference: $reference, expectedVersion: 2, input: { source: "x" }) { applied }
    }`,
    { reference },
  );
  t.match(changed.body.data, {
    updateLead: { lead: { source: 'fair', version: 3 } },
    assignLead: { lead: { owner: 'jo', version: 4 } },
    changeLeadStage: { lead: { stage: 'FORMER', lossReason: 'PRICE' }, applied: true },
    again: { applied: false },
    illegal: null,
    stale: null,
  });
  t.match(changed.body.errors, [
    {
      path: ['illegal'],
      extensions: { code: 'invalid_input', errors: [{ pointer: '/to', code: 'illegal_transition' }] },
    },
    { path: ['stale'], extensions: { code: 'version_mismatch' } },
  ]);
  const found = await graphql(
    `query ($id: ID!, $reference: ReferenceInput!) {
      lead(reference: $reference) { ${fields} }
      none: lead(id: "0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90") { id }
      customer(id: $id) { lead { id stages { sequence note } } }
      leadStages(id: $id, first: 2) { nodes { sequence } edges { node { lead { id } } } pageInfo { hasNextPage } totalCount }
      leadStageChanges(first: 1, to: FORMER, atFrom: "2000-01-01T00:00:00Z") { nodes { to lossReason rule orderId } }
    }`,
    { id: lead.id, reference },
  );
  t.match(found.body.data, {
    lead: { id: lead.id, stage: 'FORMER' },
    none: null,
    customer: { lead: { id: lead.id, stages: [{ sequence: 1 }, { sequence: 2 }, { sequence: 3, note: 'n' }] } },
    leadStages: {
      nodes: [{ sequence: 1 }, { sequence: 2 }],
      edges: [{ node: { lead: { id: lead.id } } }, {}],
      pageInfo: { hasNextPage: true },
      totalCount: 3,
    },
    leadStageChanges: { nodes: [{ to: 'FORMER', rule: null, orderId: null }] },
  });
  const hidden = await graphql(
    'query ($id: ID!) { lead(id: $id) { stages { note } customer { id } } }',
    { id: lead.id },
    { scope: 'leads:read' },
  );
  t.match(hidden.body, {
    data: { lead: { stages: [{}, {}, { note: null }], customer: null } },
    errors: [{ extensions: { code: 'insufficient_scope', scope: 'customers:read' } }],
  });
  const batch = await graphql(
    'mutation ($leads: [LeadInput!]!) { batchLeads(leads: $leads) { results { index status id error { code } } } }',
    {
      leads: [
        { customerId: lead.id, stage: 'LEAD' },
        { customerId: lead.id, stage: 'SUBSCRIBER' },
      ],
    },
  );
  t.match(batch.body.data.batchLeads.results, [
    { index: 0, status: 'UPDATED', id: lead.id },
    { index: 1, status: 'REFUSED', error: { code: 'invalid_input' } },
  ]);
  const gone = await graphql('mutation ($id: ID!) { deleteLead(id: $id, expectedVersion: "*") { id deleted } }', {
    id: lead.id,
  });
  t.same(gone.body.data.deleteLead, { id: lead.id, deleted: true });
  t.same((await graphql('query ($id: ID!) { customer(id: $id) { lead { id } } }', { id: lead.id })).body.data, {
    customer: { lead: null },
  });
});

/** Sixteen clients at a time, in rounds. */
async function atOnce<T>(count: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const queue = Array.from({ length: count }, (_, index) => index);
  const done: T[] = [];
  const client = async () => {
    for (let index = queue.shift(); index !== undefined; index = queue.shift()) done[index] = await work(index);
  };
  await Promise.all(Array.from({ length: 16 }, client));
  return done;
}

const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T; // never called on an empty list

t.test('after sixteen clients wrote at once, no change is lost and none is illegal', async (t) => {
  const customers = Array.from({ length: 4 }, claim);
  const made = await atOnce(32, (i) => make({ customer: customers[i % 4] }));
  t.same(
    made.map(({ status }) => status).sort(),
    [...Array(4).fill(201), ...Array(28).fill(409)],
    'one lead per customer',
  );
  const ids = [...new Set(made.map(({ body }) => body.id as string))];
  t.equal(ids.length, 4);

  const applied = new Map(ids.map((id) => [id, 0]));
  const orders: { id: string; cancelled: boolean }[] = [];
  const surprises: string[] = [];
  await atOnce(480, async (i) => {
    const customer = customers[i % 4];
    const id = ids[i % 4] as string; // four of each
    const dice = Math.random();
    let answer: Answer;
    if (dice < 0.6) {
      answer = await move(id, { to: pick(stages) });
      if (answer.status === 200 && answer.body.applied) applied.set(id, (applied.get(id) ?? 0) + 1);
      if (answer.status === 422 && faults(answer.body)[0] === '/to illegal_transition') return;
    } else if (dice < 0.75 || orders.length === 0) {
      answer = await pushOrder(api, { customer, placedAt: new Date(Date.now() - Math.random() * 1e9).toISOString() });
      orders.push({ id: answer.body.id, cancelled: false });
    } else {
      const order = pick(orders);
      order.cancelled = !order.cancelled;
      answer = await request('PATCH', `/v1/orders/${order.id}`, {
        body:
          dice < 0.9 ? { cancelledAt: order.cancelled ? '2026-01-01T00:00:00Z' : null } : { customer: pick(customers) },
        headers: any,
      });
    }
    if (answer.status >= 300) surprises.push(`${answer.status} ${JSON.stringify(answer.body)}`);
  });
  t.same(surprises, []);
  for (const id of ids) {
    const changes = await history(id);
    t.same(
      changes.map(({ sequence }) => sequence),
      changes.map((_, i) => i + 1),
      'numbered without a gap',
    );
    t.equal(
      changes.filter(({ rule, from }) => rule === null && from !== null).length,
      applied.get(id),
      'all that were acknowledged',
    );
    const wrong = changes.filter(({ from, to, rule, at }, i) => {
      const before = changes[i - 1];
      if (from !== (before?.to ?? null) || (before && at < before.at)) return true;
      if (rule === 'no_qualifying_order_left') return from !== 'customer' || to === 'customer';
      if (rule === 'first_qualifying_order') return from === 'customer' || to !== 'customer';
      return from !== null && !legal[from as Stage].includes(to);
    });
    t.same(wrong, [], 'each step leads on from the one before, and is one there is');
    t.match(await read(id), { stage: changes.at(-1).to, stageSince: changes.at(-1).at });
  }
});

t.test('new leads are given out by the rules, fairly among sixteen writers', async (t) => {
  const rule = await request('POST', '/v1/assignment-rules', {
    body: {
      name: 'By segment',
      purpose: 'lead',
      method: 'round_robin',
      key: 'segment',
      groups: [
        { value: 'north', members: ['ann', 'ben', 'cleo'] },
        { value: 'south', members: ['dora', 'emil'] },
      ],
    },
  });
  t.equal(rule.status, 201);
  const owners: Record<string, string[]> = { north: [], south: [] };
  await atOnce(48, async (i) => {
    const segment = i % 3 === 0 ? 'south' : 'north';
    const { body } = await make({ segment });
    owners[segment]?.push(body.owner);
  });
  const leads = Array.from({ length: 1000 }, (_, i) => ({ customer: claim(), segment: i % 2 ? 'south' : 'north' }));
  const batch = await request('POST', '/v1/leads/batch', { body: { leads } });
  const made = batch.body.results.map(({ id }: { id: string }) => id);
  const given = new Set(made);
  for (const segment of ['north', 'south']) {
    const listed = await allPages(api, `/v1/leads?segment=${segment}&limit=100&sort=-enteredAt`);
    owners[segment]?.push(...listed.filter(({ id }) => given.has(id)).map(({ owner }) => owner));
  }
  for (const [segment, names] of Object.entries(owners)) {
    const counts = [...new Set(names)].map((name) => names.filter((one) => one === name).length);
    t.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${segment}: ${counts}`);
  }
  t.equal((owners.north?.length ?? 0) + (owners.south?.length ?? 0), 1048);
  t.match((await make({ segment: 'west' })).body, { owner: null }, 'no rule, nobody');
  t.match((await make({ segment: 'north', owner: null })).body, { owner: null }, 'nobody was asked for');
  const { body: lead } = await make({ segment: 'south' });
  const next = await request('POST', `/v1/leads/${lead.id}/assign`, { body: {} });
  t.match([lead.owner, next.body.owner].sort(), ['dora', 'emil'], 'given on by the rules');
  await request('PATCH', `/v1/leads/${lead.id}`, { body: { owner: 'zoe' }, headers: any });
  await request('PATCH', `/v1/leads/${lead.id}`, { body: { owner: null }, headers: any });
  const entries = await allPages(api, `/v1/assignments?customerId=${lead.id}&limit=2`);
  t.match(
    entries
      .reverse()
      .map(({ owner, previousOwner, method, keyValue, purpose }) => [owner, previousOwner, method, keyValue, purpose]),
    [
      [lead.owner, null, 'round_robin', 'south', 'lead'],
      [next.body.owner, lead.owner, 'round_robin', 'south', 'lead'],
      ['zoe', next.body.owner, null, null, 'lead'],
      [null, 'zoe', null, null, 'lead'],
    ],
  );
});

t.test('leads move on by their scores, and not against a person’s decision', async (t) => {
  const draft = await request('POST', '/v1/lead-rule-sets', {
    body: {
      name: 'by company',
      document: {
        rules: [
          { name: 'one', group: 'fit', points: 10, when: [{ field: 'segment', oneOf: ['one', 'two'] }] },
          { name: 'two', group: 'fit', points: 10, when: [{ field: 'segment', oneOf: ['two'] }] },
        ],
        grades: { A: 20, B: 10, C: 5 },
        qualify: { marketing: 10, sales: 20 },
      },
    },
  });
  const published = await request('POST', `/v1/lead-rule-sets/${draft.body.id}/publish`, { headers: any });
  t.equal(published.status, 200, JSON.stringify(published.body));
  const [none, one, two, won, sales] = await Promise.all([
    make({ segment: 'none' }),
    make({ segment: 'one', stage: 'subscriber' }),
    make({ segment: 'two' }),
    make({ segment: 'two', stage: 'customer' }),
    make({ segment: 'one', stage: 'sales_qualified' }),
  ]);
  const { body: back } = await make({ segment: 'one', stage: 'marketing_qualified' });
  await move(back.id, { to: 'lead' });
  const { body: further } = await make({ segment: 'two', stage: 'marketing_qualified' });
  await move(further.id, { to: 'lead' });
  t.match(two.body, { score: 20, grade: 'A' });
  const ours = new Set([none, one, two, won, sales].map(({ body }) => body.id).concat(back.id, further.id));
  const moved = ({ body }: Answer) =>
    body.moves
      .filter(({ leadId }: { leadId: string }) => ours.has(leadId))
      .map(({ leadId, ...rest }: { leadId: string }) => [leadId, ...Object.values(rest)]);
  const expected = [
    [one.body.id, 'subscriber', 'marketing_qualified', 10],
    [two.body.id, 'lead', 'sales_qualified', 20],
    [further.id, 'lead', 'sales_qualified', 20],
  ].sort();
  const dry = await request('POST', '/v1/leads/qualify?dryRun=true');
  t.equal(dry.status, 200, JSON.stringify(dry.body));
  t.same(moved(dry).sort(), expected);
  t.match(await read(one.body.id), { stage: 'subscriber', version: 1 });
  let after: string | null = null;
  const walked: unknown[][] = [];
  do {
    const page: Answer = await request('POST', `/v1/leads/qualify?limit=1${after === null ? '' : `&after=${after}`}`);
    walked.push(...moved(page));
    after = page.body.next;
  } while (after !== null);
  t.same(walked.sort(), expected);
  t.match(await history(two.body.id), [
    {},
    { from: 'lead', to: 'sales_qualified', rule: 'score_threshold', by: 'test' },
  ]);
  t.match([(await read(back.id)).stage, (await read(none.body.id)).stage], ['lead', 'lead']);

  await move(one.body.id, { to: 'former' });
  await move(one.body.id, { to: 'lead' });
  const again = await graphql('mutation { qualifyLeads { moves { leadId from to score } next replayed } }');
  t.match(again.body.data.qualifyLeads, { next: null, replayed: false });
  t.same(again.body.data.qualifyLeads.moves, [
    { leadId: one.body.id, from: 'LEAD', to: 'MARKETING_QUALIFIED', score: 10 },
  ]);
  t.equal((await request('POST', '/v1/leads/qualify', { scope: 'leads:read' })).status, 403);
  t.equal((await request('POST', '/v1/leads/qualify?limit=1001')).status, 422);
});
