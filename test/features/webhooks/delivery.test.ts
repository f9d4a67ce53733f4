import pg from 'pg';
import t from 'tap';
import { type TestApp, testApp } from '../../support/app.ts';
import { follow, position } from '../../support/feed.ts';
import { newKey } from '../../support/shop.ts';
import { type Receiver, verifies, webhookReceiver } from '../../support/webhook-receiver.ts';

/** What is sent to webhooks, to receivers over real HTTP: contents, signatures, retries, the switch, and who hears what. */

let now = '2026-03-01T10:00:00.000Z';
const later = (seconds: number) => {
  now = new Date(Date.parse(now) + seconds * 1000).toISOString();
};
const api = await testApp(t, { env: { RAPPORT_WEBHOOK_ALLOW: '127.0.0.1' }, clock: () => now });
type Options = NonNullable<Parameters<TestApp['request']>[2]>;

let names = 0;
const post = async (path: string, body: object = {}, options: Options = {}) => {
  const answer = await api.request('POST', path, { body, headers: newKey(), ...options });
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
};
const patch = (path: string, body: object, options: Options = {}) =>
  api.request('PATCH', path, { body, headers: { 'If-Match': '*' }, ...options });
const newCustomer = async (more: object = {}): Promise<string> => {
  names += 1;
  const identities = [{ kind: 'email', value: `w${names}@example.org` }];
  return (await post('/v1/customers', { name: 'Ada', identities, ...more })).id;
};
const newOrder = (customerId: string) => {
  names += 1;
  return post('/v1/orders', {
    source: 'shop',
    externalId: `o${names}`,
    customerId,
    placedAt: '2026-02-01T08:26:00Z',
    currency: 'EUR',
    total: 100,
    paymentStatus: 'paid',
    items: [{ sku: 'A', quantity: 1, total: 100 }],
    note: 'Ring twice',
  });
};
const webhookFor = (receiver: Receiver, more: object = {}, options: Options = {}) =>
  post('/v1/webhooks', { url: receiver.url, ...more }, { headers: {}, ...options });
const deliver = () => api.app.jobs.deliverDue();
const deliveriesOf = async (id: string, query = '') =>
  (await api.request('GET', `/v1/webhooks/${id}/deliveries?sort=id${query}`)).body.data;
/** So that webhooks of one test do not hear of the next. */
const end = async (...ids: string[]) => {
  for (const id of ids) await api.request('DELETE', `/v1/webhooks/${id}`, { headers: { 'If-Match': '*' } });
};

t.test('a change is sent as the feed tells it, signed, and logged without values', async (t) => {
  const receiver = await webhookReceiver(t, '/hook?tenant=a%20b');
  await newCustomer();
  const hook = await webhookFor(receiver, { kinds: ['customer', 'order'] });
  t.match(hook.secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
  const from = await position(api);
  const ada = await newCustomer();
  const order = await newOrder(ada);
  await deliver();
  const { events } = await follow(api, from, '&kind=customer,order');
  t.strictSame(
    receiver.received.map(({ event }) => event).sort((a, b) => (a.id < b.id ? -1 : 1)),
    events,
    'what was there before is not sent, and what came since is sent once',
  );
  for (const message of receiver.received) {
    t.equal(message.id, message.event.id);
    t.ok(verifies(hook.secret, message));
    t.notOk(verifies(hook.secret, { ...message, text: `${message.text} ` }), 'not of another body');
  }
  const log = await deliveriesOf(hook.id);
  t.match(
    log.find(({ type }: { type: string }) => type === 'order.created'),
    {
      webhookId: hook.id,
      id: events.find(({ type }) => type === 'order.created')?.id,
      recordId: order.id,
      outcome: 'delivered',
      attempts: 1,
      status: 204,
      error: null,
      nextAttemptAt: null,
      lastAttemptAt: now,
    },
  );
  t.type(log[0].duration, 'number');
  t.notMatch(JSON.stringify(log), /Ada|Ring twice|example\.org/);
  await deliver();
  t.equal(receiver.received.length, events.length, 'nothing is sent twice');
  const read = await api.request('GET', `/v1/webhooks/${hook.id}`);
  t.notMatch(JSON.stringify(read.body), /whsec|sealed/i, 'the secret is told once');
  await end(hook.id);
});

t.test('filters by kind and type, and records that come along', async (t) => {
  const [orders, created] = [await webhookReceiver(t), await webhookReceiver(t)];
  const hooks = [
    await webhookFor(orders, { kinds: ['order'], include: ['record'] }),
    await webhookFor(created, { types: ['customer.created'] }),
  ];
  const ada = await newCustomer();
  const order = await newOrder(ada);
  await patch(`/v1/orders/${order.id}`, { channel: 'web' });
  await deliver();
  t.strictSame(orders.types(), ['order.created', 'order.updated']);
  t.match(orders.received[0]?.event.current, { id: order.id, note: 'Ring twice' });
  t.strictSame(created.types(), ['customer.created']);
  t.equal(created.received[0]?.event.current, undefined);
  await end(...hooks.map(({ id }) => id));
});

t.test('what fails is sent again with growing pauses, for three days', async (t) => {
  const receiver = await webhookReceiver(t);
  receiver.answer = 500;
  const hook = await webhookFor(receiver, { kinds: ['customer'] });
  const ada = await newCustomer();
  await deliver();
  const pauses: number[] = [];
  for (;;) {
    const [delivery] = await deliveriesOf(hook.id);
    t.match(delivery, { status: 500, error: 'status', attempts: receiver.received.length });
    if (delivery.outcome === 'failed') {
      t.equal(delivery.nextAttemptAt, null);
      break;
    }
    const pause = (Date.parse(delivery.nextAttemptAt) - Date.parse(now)) / 1000;
    pauses.push(pause);
    later(pause - 0.001);
    const before = receiver.received.length;
    await deliver();
    t.equal(receiver.received.length, before, 'not before its time');
    later(0.001);
    await deliver();
    t.equal(receiver.received.length, before + 1);
  }
  t.ok(
    pauses.every((pause, index) => {
      const middle = Math.min(5 * 4 ** index, 43_200);
      return pause >= 0.75 * middle - 0.001 && pause <= 1.25 * middle + 0.001;
    }),
    `${pauses}`,
  );
  const days = pauses.reduce((sum, pause) => sum + pause, 0) / 86_400;
  t.ok(days > 2.3 && days <= 3, `${days} days`);
  t.equal(new Set(receiver.received.map(({ id }) => id)).size, 1, 'under one id');
  t.ok(
    verifies(hook.secret, receiver.received.at(-1) ?? { text: '', headers: {} }),
    'signed anew, by the present clock',
  );

  t.comment('what follows does not wait, and a receiver that is well again hears all');
  await patch(`/v1/customers/${ada}`, { locale: 'de' });
  await deliver();
  receiver.answer = 200;
  await patch(`/v1/customers/${ada}`, { locale: 'fr' });
  await deliver();
  t.strictSame(
    (await deliveriesOf(hook.id)).map(({ outcome }: { outcome: string }) => outcome),
    ['failed', 'waiting', 'delivered'],
  );
  later(7);
  await deliver();
  t.strictSame(
    (await deliveriesOf(hook.id)).map(({ outcome, attempts }: { outcome: string; attempts: number }) => [
      outcome,
      attempts,
    ]),
    [
      ['failed', receiver.received.length - 3],
      ['delivered', 2],
      ['delivered', 1],
    ],
  );

  t.comment('one that failed is resent');
  const [failed] = await deliveriesOf(hook.id, '&outcome=failed');
  t.equal((await deliveriesOf(hook.id, '&outcome=waiting')).length, 0);
  const resent = await api.request('POST', `/v1/webhooks/${hook.id}/deliveries/${failed.id}/resend`);
  t.match([resent.status, resent.body.outcome], [200, 'waiting']);
  await deliver();
  t.equal(receiver.received.at(-1)?.id, failed.id);
  t.equal((await api.request('GET', `/v1/webhooks/${hook.id}/deliveries/${failed.id}`)).body.outcome, 'delivered');
  receiver.answer = 503;
  await api.request('POST', `/v1/webhooks/${hook.id}/deliveries/${failed.id}/resend`);
  await deliver();
  t.match((await deliveriesOf(hook.id))[0], { outcome: 'failed', status: 503, nextAttemptAt: null }, 'once');
  t.equal((await api.request('POST', `/v1/webhooks/${hook.id}/deliveries/${ada}/resend`)).status, 404);
  await end(hook.id);
});

t.test('while a receiver is away, events wait in the feed and one is tried now and then', async (t) => {
  const receiver = await webhookReceiver(t);
  const hook = await webhookFor(receiver, { types: ['customer.created'] });
  receiver.answer = 503;
  const made: string[] = [];
  for (let n = 0; n < 60; n += 1) made.push(await newCustomer());
  await deliver();
  t.equal(receiver.received.length, 20, 'a first page');
  later(30);
  await newCustomer().then((id) => made.push(id));
  await deliver();
  t.equal(receiver.received.length, 40, 'those that are due again, and nothing new');
  later(40);
  await deliver();
  t.ok(receiver.received.length <= 61);
  t.equal(new Set(receiver.received.map(({ id }) => id)).size, 21, 'one more');
  receiver.answer = 200;
  later(60);
  await deliver();
  later(600);
  await deliver();
  t.strictSame(
    [...new Set(receiver.received.map(({ event }) => event.record.id))].sort(),
    [...made].sort(),
    'and all when it is back',
  );
  t.equal((await deliveriesOf(hook.id, '&outcome=delivered&limit=100')).length, made.length);
  await end(hook.id);
});

t.test('410 disables, a redirect is not followed, and what was missed comes when it is enabled again', async (t) => {
  const [receiver, target] = [await webhookReceiver(t), await webhookReceiver(t)];
  const hook = await webhookFor(receiver, { kinds: ['customer'] });
  receiver.answer = (_request, response) => void response.writeHead(302, { location: target.url }).end();
  await newCustomer();
  await deliver();
  t.match(await deliveriesOf(hook.id), [{ outcome: 'waiting', status: 302, error: 'redirected' }]);
  t.equal(target.received.length, 0);
  receiver.answer = 410;
  await newCustomer();
  await deliver();
  const { body } = await api.request('GET', `/v1/webhooks/${hook.id}`);
  t.match(body, { status: 'disabled', disabledReason: 'gone', disabledAt: now, version: 2 });
  const sent = receiver.received.length;
  const missed = await newCustomer();
  later(3600);
  await deliver();
  t.equal(receiver.received.length, sent, 'nothing is sent any more');
  const test = await api.request('POST', `/v1/webhooks/${hook.id}/test`);
  t.match([test.status, test.body.code], [409, 'webhook_disabled']);
  receiver.answer = 200;
  t.match((await patch(`/v1/webhooks/${hook.id}`, { status: 'enabled' })).body, {
    status: 'enabled',
    disabledReason: null,
    disabledAt: null,
  });
  await deliver();
  t.strictSame(
    receiver.received.slice(sent).map(({ event }) => event.customerId !== null),
    [true, true],
    'the retry, and what came meanwhile',
  );
  t.equal(receiver.received.at(-1)?.event.record.id, missed);
  t.match((await patch(`/v1/webhooks/${hook.id}`, { status: 'disabled' })).body, { disabledReason: 'request' });
  await end(hook.id);
});

t.test('a new secret and the one before both sign, until the overlap ends', async (t) => {
  const receiver = await webhookReceiver(t);
  const hook = await webhookFor(receiver, { kinds: ['customer'] });
  const { body: rotated } = await api.request('POST', `/v1/webhooks/${hook.id}/rotate-secret`, {
    body: { overlap: 600 },
  });
  t.not(rotated.secret, hook.secret);
  t.equal(Date.parse(rotated.formerSecretUntil) - Date.parse(now), 600_000);
  const accepted = async () => {
    await newCustomer();
    await deliver();
    const last = receiver.received.at(-1) ?? { text: '', headers: {} };
    return [hook.secret, rotated.secret].map((secret) => verifies(secret, last));
  };
  t.strictSame(await accepted(), [true, true]);
  later(601);
  t.strictSame(await accepted(), [false, true]);
  const { body: leaked } = await api.request('POST', `/v1/webhooks/${hook.id}/rotate-secret`, { body: { overlap: 0 } });
  t.strictSame(await accepted(), [false, false]);
  t.ok(verifies(leaked.secret, receiver.received.at(-1) ?? { text: '', headers: {} }));
  await end(hook.id);
});

t.test('a test event is sent once, whatever the filters are', async (t) => {
  const receiver = await webhookReceiver(t);
  const hook = await webhookFor(receiver, { kinds: ['refund'] });
  const { status, body } = await api.request('POST', `/v1/webhooks/${hook.id}/test`);
  t.match([status, body.outcome, body.type], [201, 'waiting', 'webhook.test']);
  await deliver();
  t.strictSame(receiver.types(), ['webhook.test']);
  t.equal(receiver.received[0]?.id, body.id);
  t.ok(verifies(hook.secret, receiver.received[0] ?? { text: '', headers: {} }));
  receiver.answer = 404;
  const { data } = (await api.graphql(`mutation { testWebhook(id: "${hook.id}") { delivery { id outcome } } }`)).body;
  await deliver();
  const { body: read } = await api.graphql(
    `{ webhookDelivery(id: "${hook.id}", deliveryId: "${data.testWebhook.delivery.id}") { outcome status error attempts } }`,
  );
  t.strictSame(read.data.webhookDelivery, { outcome: 'FAILED', status: 404, error: 'STATUS', attempts: 1 });
  await end(hook.id);
});

t.test('a slow receiver delays no other, and events of one customer come one after the other', async (t) => {
  const [slow, quick] = [await webhookReceiver(t), await webhookReceiver(t)];
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  slow.answer = async (_request, response) => {
    await held;
    response.writeHead(200).end();
  };
  let open = 0;
  let most = 0;
  const order: (number | undefined)[] = [];
  quick.answer = async (_request, response, { event }) => {
    open += 1;
    most = Math.max(most, open);
    await new Promise((resolve) => setTimeout(resolve, 20));
    order.push(event.record.version);
    open -= 1;
    response.writeHead(200).end();
  };
  const hooks = [await webhookFor(slow, { kinds: ['customer'] }), await webhookFor(quick, { kinds: ['customer'] })];
  const ada = await newCustomer();
  for (const locale of ['de', 'fr', 'it']) await patch(`/v1/customers/${ada}`, { locale });
  const delivered = deliver();
  while (order.length < 4) await new Promise((resolve) => setTimeout(resolve, 10));
  t.strictSame([order, most], [[1, 2, 3, 4], 1]);
  t.equal(slow.received.length, 1, 'the slow one still has its first');
  release();
  await delivered;
  t.equal(slow.received.length, 4);
  await end(...hooks.map(({ id }) => id));
});

t.test('a webhook hears what its maker may read: scopes, masks and partners', async (t) => {
  const [narrow, partners] = [await webhookReceiver(t), await webhookReceiver(t)];
  const narrowHook = await webhookFor(
    narrow,
    { include: ['record'] },
    { scope: 'webhooks:write events:read orders:read', client: 'narrow' },
  );
  const partner = (await post('/v1/partners', { name: 'Dealers', fields: ['Customer.name'] })).id;
  const options = {
    partner,
    client: 'dealers',
    scope: 'webhooks:write webhooks:read events:read customers:read customers:pii orders:read',
  };
  const partnerHook = await webhookFor(partners, { include: ['record'], description: 'Ours' }, options);
  t.match(partnerHook, { partnerId: partner, client: 'dealers', description: 'Ours' });
  const [shared, other] = [await newCustomer(), await newCustomer()];
  await api.request('PUT', `/v1/partners/${partner}/customers/${shared}`, { body: { writable: false } });
  await newOrder(other);
  await newOrder(shared);
  await patch(`/v1/customers/${shared}`, { locale: 'de' });
  await deliver();
  t.strictSame(narrow.types(), ['order.created', 'order.created']);
  t.equal(narrow.received[0]?.event.current?.['note'], null, 'masked without customers:pii');
  t.strictSame(new Set(partners.received.map(({ event }) => event.customerId)), new Set([shared]));
  t.ok(partners.types().includes('customer.shared'));
  const updated = partners.received.find(({ event }) => event.type === 'customer.updated')?.event;
  t.strictSame(updated?.changed, [], 'what it may not see is not named');
  t.match(updated?.current, { name: 'Ada', locale: null });
  t.notMatch(partners.received.map(({ text }) => text).join(), /Ring twice/);

  t.comment('a partner sees its own, and nobody’s else');
  const { body: list } = await api.request('GET', '/v1/webhooks', options);
  t.strictSame(
    list.data.map(({ id }: { id: string }) => id),
    [partnerHook.id],
  );
  t.match(list.data[0], { description: 'Ours', url: partners.url });
  t.equal((await api.request('GET', `/v1/webhooks/${narrowHook.id}`, options)).status, 404);
  t.equal((await patch(`/v1/webhooks/${narrowHook.id}`, { url: partners.url }, options)).status, 404);
  t.equal((await api.request('GET', `/v1/webhooks/${narrowHook.id}/deliveries`, options)).status, 404);
  t.ok((await api.request('GET', `/v1/webhooks/${partnerHook.id}/deliveries`, options)).body.data.length > 0);
  const another = (await post('/v1/partners', { name: 'Others' })).id;
  t.equal((await api.request('GET', `/v1/webhooks/${partnerHook.id}`, { ...options, partner: another })).status, 404);
  const all = await api.request('GET', '/v1/webhooks');
  t.equal(all.body.data.length, 2, 'the organisation sees all');

  t.comment('who may less cannot send the events of another elsewhere');
  const less = { scope: 'webhooks:write events:read', client: 'less' };
  for (const [method, path, body] of [
    ['PATCH', `/v1/webhooks/${narrowHook.id}`, { url: partners.url }],
    ['POST', `/v1/webhooks/${narrowHook.id}/rotate-secret`, undefined],
    ['POST', `/v1/webhooks/${narrowHook.id}/test`, undefined],
  ] as const) {
    const refused = await api.request(method, path, { body, headers: { 'If-Match': '*' }, ...less });
    t.match([refused.status, refused.body.code], [403, 'insufficient_scope'], path);
  }

  t.comment('sharing that ends, and a partner that is suspended');
  partners.received.length = 0;
  await api.request('DELETE', `/v1/partners/${partner}/customers/${shared}`);
  await patch(`/v1/customers/${shared}`, { locale: 'fr' });
  await deliver();
  t.strictSame(partners.types(), ['customer.unshared']);
  await patch(`/v1/partners/${partner}`, { status: 'suspended' });
  await newCustomer();
  await deliver();
  t.match((await api.request('GET', `/v1/webhooks/${partnerHook.id}`)).body, {
    status: 'disabled',
    disabledReason: 'partner',
  });
  await end(narrowHook.id, partnerHook.id);
});

t.test('a retry is masked and filtered by what may be read then', async (t) => {
  const receiver = await webhookReceiver(t);
  const partner = (await post('/v1/partners', { name: 'Retrying' })).id;
  const options = { partner, client: 'retrying', scope: 'webhooks:write events:read customers:read' };
  const ada = await newCustomer();
  await api.request('PUT', `/v1/partners/${partner}/customers/${ada}`, { body: {} });
  const hook = await webhookFor(receiver, {}, options);
  receiver.answer = 500;
  await patch(`/v1/customers/${ada}`, { locale: 'de' });
  await deliver();
  t.strictSame(receiver.types(), ['customer.updated']);
  receiver.answer = 200;
  await api.request('DELETE', `/v1/partners/${partner}/customers/${ada}`);
  later(60);
  await deliver();
  t.strictSame(
    receiver.types(),
    ['customer.updated', 'customer.unshared'],
    'what it may not hear any more is not sent',
  );
  t.match(
    (await deliveriesOf(hook.id)).find(({ type }: { type: string }) => type === 'customer.updated'),
    { outcome: 'failed', error: 'event_gone', attempts: 1 },
  );
  await end(hook.id);
});

t.test('a webhook ends with the rights of its client', async (t) => {
  const made = async (scopes: string[]) => {
    const client = await post('/v1/clients', { name: 'Shop', scopes });
    const receiver = await webhookReceiver(t);
    const hook = await webhookFor(receiver, {}, { client: client.id, scope: scopes.join(' ') });
    return { client, receiver, hook };
  };
  const scopes = ['webhooks:write', 'events:read', 'customers:read', 'orders:read'];
  const [narrowed, closed, disabled, revoked] = [
    await made(scopes),
    await made(scopes),
    await made(scopes),
    await made(scopes),
  ];
  await patch(`/v1/clients/${narrowed.client.id}`, { scopes: ['events:read', 'orders:read'] });
  await patch(`/v1/clients/${closed.client.id}`, { scopes: ['orders:read'] });
  await patch(`/v1/clients/${disabled.client.id}`, { status: 'disabled' });
  await api.request('DELETE', `/v1/clients/${revoked.client.id}`, { headers: { 'If-Match': '*' } });
  await newOrder(await newCustomer());
  await deliver();
  t.strictSame(narrowed.receiver.types(), ['order.created'], 'it hears of what is left');
  const reasons = [];
  for (const { hook, receiver } of [closed, disabled, revoked]) {
    t.strictSame(receiver.received, []);
    const { body } = await api.request('GET', `/v1/webhooks/${hook.id}`);
    reasons.push([body.status, body.disabledReason]);
  }
  t.strictSame(reasons, [
    ['disabled', 'scope'],
    ['disabled', 'client'],
    ['disabled', 'client'],
  ]);
  await end(...[narrowed, closed, disabled, revoked].map(({ hook }) => hook.id));
});

t.test('records that come along are audited, as any answer with personal data', async (t) => {
  const receiver = await webhookReceiver(t);
  const options = { client: 'told', scope: 'webhooks:write events:read customers:read customers:pii' };
  const hook = await webhookFor(receiver, { kinds: ['customer'], include: ['record'] }, options);
  const ada = await newCustomer();
  await deliver();
  t.equal(receiver.received[0]?.event.current?.['name'], 'Ada');
  let entries: { customerIds: string[] }[] = [];
  for (let tries = 0; tries < 100 && entries.length === 0; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    entries = (await api.request('GET', '/v1/audit-entries?client=told&kind=read')).body.data;
  }
  t.match(entries, [{ operation: 'listEvents', door: 'job', customerIds: [ada] }]);
  await end(hook.id);
});

t.test('a secret that cannot be read any more disables, until there is a new one', async (t) => {
  const receiver = await webhookReceiver(t);
  const hook = await webhookFor(receiver, { kinds: ['customer'] });
  const client = new pg.Client(api.connection);
  await client.connect();
  const { rows } = await client.query<{ sealed: string }>(
    `update webhooks set sealed_secret = 'x' where id = $1 returning (select w.sealed_secret from webhooks w where w.id = $1) as sealed`,
    [hook.id],
  );
  await client.end();
  t.notOk(rows[0]?.sealed.includes(hook.secret.slice(6)), 'it is kept encrypted');
  await newCustomer();
  await deliver();
  t.match((await api.request('GET', `/v1/webhooks/${hook.id}`)).body, { status: 'disabled', disabledReason: 'secret' });
  t.equal(receiver.received.length, 0);
  const { body: rotated } = await api.request('POST', `/v1/webhooks/${hook.id}/rotate-secret`);
  await patch(`/v1/webhooks/${hook.id}`, { status: 'enabled' });
  await deliver();
  t.ok(verifies(rotated.secret, receiver.received[0] ?? { text: '', headers: {} }));
  await end(hook.id);
});

t.test('what is refused at the door', async (t) => {
  const refused = async (body: object, options: Options = {}) => {
    const { status, body: problem } = await api.request('POST', '/v1/webhooks', { body, ...options });
    return [status, problem.code, problem.errors?.[0]?.pointer];
  };
  t.strictSame(await refused({ url: 'ftp://shop.example/' }), [422, 'invalid_input', '/url']);
  t.strictSame(await refused({ url: 'nonsense' }), [422, 'invalid_input', '/url']);
  t.strictSame(await refused({ url: 'https://user:pass@shop.example/' }), [422, 'invalid_input', '/url']);
  t.strictSame(await refused({ url: 'https://shop.example/', kinds: ['nothing'] }), [422, 'invalid_input', '/kinds/0']);
  const narrow = { scope: 'webhooks:write events:read orders:read', client: 'narrow' };
  t.strictSame(await refused({ url: 'https://shop.example/', kinds: ['customer'] }, narrow), [
    403,
    'insufficient_scope',
    undefined,
  ]);
  const deaf = { scope: 'webhooks:write', client: 'deaf' };
  t.strictSame((await refused({ url: 'https://shop.example/' }, deaf)).slice(0, 2), [403, 'insufficient_scope']);
  const { body: dry } = await api.request('POST', '/v1/webhooks?dryRun=true', {
    body: { url: 'https://shop.example/' },
  });
  t.equal((await api.request('GET', `/v1/webhooks/${dry.id}`)).status, 404);
});

t.test('GraphQL does the same', async (t) => {
  const receiver = await webhookReceiver(t);
  const { body } = await api.graphql(
    'mutation($input: WebhookInput!) { createWebhook(input: $input) { webhook { id secret kinds include status } } }',
    { input: { url: receiver.url, kinds: ['CUSTOMER'], include: ['RECORD'] } },
  );
  const { webhook } = body.data.createWebhook;
  t.match(webhook, { kinds: ['CUSTOMER'], include: ['RECORD'], status: 'ENABLED' });
  const ada = await newCustomer();
  await deliver();
  t.equal(receiver.received[0]?.event.current?.['id'], ada);
  t.ok(verifies(webhook.secret, receiver.received[0] ?? { text: '', headers: {} }));
  const { body: read } = await api.graphql(
    `{ webhook(id: "${webhook.id}") { url kinds } webhooks(first: 5) { nodes { id status } }
       webhookDeliveries(id: "${webhook.id}", first: 5, outcome: DELIVERED) { nodes { id outcome status } } }`,
  );
  t.strictSame(read.data.webhook, { url: receiver.url, kinds: ['CUSTOMER'] });
  t.strictSame(read.data.webhooks.nodes, [{ id: webhook.id, status: 'ENABLED' }]);
  t.strictSame(read.data.webhookDeliveries.nodes, [
    { id: receiver.received[0]?.id, outcome: 'DELIVERED', status: 204 },
  ]);
  const { body: changed } = await api.graphql(
    `mutation { updateWebhook(id: "${webhook.id}", expectedVersion: 1, input: { status: DISABLED }) { webhook { disabledReason } } }`,
  );
  t.equal(changed.data.updateWebhook.webhook.disabledReason, 'REQUEST');
  const { body: gone } = await api.graphql(
    `mutation { deleteWebhook(id: "${webhook.id}", expectedVersion: 2) { id deleted } }`,
  );
  t.same(gone.data.deleteWebhook, { id: webhook.id, deleted: true });
});

t.test('deliveries expire a month after the last attempt', async (t) => {
  const receiver = await webhookReceiver(t);
  const hook = await webhookFor(receiver, { kinds: ['customer'] });
  await newCustomer();
  await deliver();
  receiver.answer = 500;
  await newCustomer();
  await deliver();
  // By the clock of the service; what waits is never forgotten.
  const forget = async () => {
    await api.app.jobs.addRecurring(['forgetWebhookDeliveries']);
    await api.app.jobs.runDue();
  };
  await forget();
  t.equal((await deliveriesOf(hook.id)).length, 2);
  const at = now;
  now = new Date(Math.max(Date.now(), Date.parse(now)) + 31 * 86_400_000).toISOString();
  await forget();
  t.strictSame(
    (await deliveriesOf(hook.id)).map(({ outcome }: { outcome: string }) => outcome),
    ['waiting'],
  );
  now = at;
  await end(hook.id);
});
