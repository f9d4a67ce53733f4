import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { campaignFigures } from '../../../src/domain/campaign-results.ts';
import { type InteractionKind, interactionKinds } from '../../../src/features/interactions/record.ts';
import { testApp } from '../../support/app.ts';
import { netLeft } from '../../support/refund-oracle.ts';
import { allPages, fresh, newKey, orderOf, pushOrder } from '../../support/shop.ts';

const now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

type Members = Record<string, unknown>;

const create = (members: Members = {}) => request('POST', '/v1/campaigns', { body: { name: 'Spring', ...members } });
const newCampaign = async (members: Members = {}): Promise<string> => (await create(members)).body.id;
const put = (externalId: string, body: object, headers: Record<string, string> = {}) =>
  request('PUT', `/v1/campaigns/external/crm/${externalId}`, { body, headers });
const remove = (path: string, ifMatch = '*') => request('DELETE', path, { headers: { 'If-Match': ifMatch } });
const newCustomer = async (): Promise<string> =>
  (await request('POST', '/v1/customers', { body: { name: 'Ada' } })).body.id;
const touch = (members: Members) =>
  request('POST', '/v1/interactions', {
    body: { kind: 'email_sent', direction: 'outbound', occurredAt: '2026-03-01T10:00:00Z', ...members },
  });
const codes = (body: { errors?: { code: string; pointer?: string; parameter?: string }[] }) =>
  (body.errors ?? []).map(({ code, pointer, parameter }) => `${pointer ?? parameter} ${code}`);

t.test('a campaign is made, read, changed and found by its names', async (t) => {
  const sent = {
    name: 'Spring catalogue',
    channel: 'email',
    startsOn: '2026-03-01',
    endsOn: '2026-03-31',
    cost: 250000,
    audience: 'Buyers of last spring',
    references: [{ source: 'crm', externalId: 'spring' }],
    sourceVersion: 4,
  };
  const made = await create(sent);
  t.equal(made.status, 201);
  t.equal(made.headers.get('location'), `/v1/campaigns/${made.body.id}`);
  const { references, sourceVersion: _, ...members } = sent;
  t.match(made.body, { ...members, version: 1, created: true, applied: true });
  t.strictSame(made.body.references, [{ ...references[0], sourceVersion: 4 }]);
  t.match(await create(sent), { status: 409, body: { code: 'already_exists', id: made.body.id } });
  const byName = '/v1/campaigns/external/crm/spring';
  t.equal((await request('GET', byName)).body.id, made.body.id);
  t.match((await put('spring', { name: 'Old', sourceVersion: 4 })).body, { name: 'Spring catalogue', applied: false });
  const changed = await put('spring', { name: 'New', startsOn: '2026-03-02', sourceVersion: 5 });
  t.match(changed, { status: 200, body: { id: made.body.id, name: 'New', channel: null, cost: null, version: 2 } });
  const patched = await request('PATCH', byName, { body: { cost: 0 }, headers: { 'If-Match': '"2"' } });
  t.match(patched, { status: 200, body: { name: 'New', startsOn: '2026-03-02', cost: 0, version: 3 } });
  t.equal((await request('PATCH', byName, { body: { cost: 1 }, headers: { 'If-Match': '"2"' } })).status, 412);
  t.equal((await request('PATCH', byName, { body: { cost: 1 } })).status, 428);
  t.equal((await put('dry', { name: 'Dry' })).status, 201);
  t.equal((await request('PUT', `${byName}-x?dryRun=true`, { body: { name: 'Dry' } })).status, 201);
  t.equal((await request('GET', `${byName}-x`)).status, 404);

  t.match(codes((await create({ startsOn: '2026-03-02', endsOn: '2026-03-01' })).body), ['/endsOn ends_before_start']);
  const early = await request('PATCH', byName, { body: { endsOn: '2026-03-01' }, headers: { 'If-Match': '*' } });
  t.match(codes(early.body), ['/endsOn ends_before_start'], 'also against what is stored');
  t.equal((await create({ startsOn: '2026-03-01', endsOn: '2026-03-01' })).status, 201);
  t.match(codes((await create({ sourceVersion: 1 })).body), ['/sourceVersion no_reference']);

  t.equal((await remove(byName)).status, 204);
  t.match(await request('GET', byName), { status: 404 });
  t.match(await put('spring', { name: 'Late', sourceVersion: 5 }), { status: 410, body: { code: 'deleted' } });
  t.match(await put('spring', { name: 'Late', sourceVersion: 6 }), { status: 410 });
  const again = await request('PUT', `${byName}?restore=true`, { body: { name: 'Again', sourceVersion: 6 } });
  t.match(again, { status: 201, body: { created: true } });
  t.not(again.body.id, made.body.id);
});

t.test('batches are upserts by the first reference; an item’s fault stays in its place', async (t) => {
  const name = (externalId: string) => ({ references: [{ source: 'crm', externalId }] });
  const { body } = await request('POST', '/v1/campaigns/batch', {
    body: {
      campaigns: [
        { name: 'One', ...name('b1') },
        { name: 'Nameless' },
        { name: 'Two', ...name('b2'), startsOn: '2026-02-01', endsOn: '2026-01-01' },
        { nonsense: true },
        { name: 'One again', ...name('b1') },
        {
          name: 'Other',
          references: [
            { source: 'crm', externalId: 'b3' },
            { source: 'crm', externalId: 'b1' },
          ],
        },
      ],
    },
  });
  t.same(
    body.results.map(({ status }: { status: string }) => status),
    ['created', 'refused', 'refused', 'refused', 'updated', 'refused'],
  );
  t.same(codes(body.results[1].error), ['/references required']);
  t.same(codes(body.results[5].error), ['/references/1 already_exists']);
  t.match((await request('GET', '/v1/campaigns/external/crm/b1')).body, { name: 'One again', version: 2 });
});

t.test('a name is claimed once by writers at the same time, and no change is lost', async (t) => {
  const answers = await Promise.all(Array.from({ length: 12 }, (_, n) => put('race', { name: `Writer ${n}` })));
  t.equal(answers.filter(({ status }) => status === 201).length, 1);
  t.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
  t.equal((await request('GET', '/v1/campaigns/external/crm/race')).body.version, 12);
});

t.test('lists are filtered and sorted, campaigns without a start last', async (t) => {
  const channel = fresh('channel');
  for (const startsOn of ['2026-03-01', null, '2026-01-01', '2026-02-01', null])
    await create({ channel, ...(startsOn && { startsOn }) });
  const starts = async (query: string) =>
    (await allPages(api, `/v1/campaigns?channel=${channel}&limit=2&${query}`)).map(({ startsOn }) => startsOn);
  t.same(await starts('sort=startsOn'), ['2026-01-01', '2026-02-01', '2026-03-01', null, null]);
  t.same(await starts('sort=-startsOn'), [null, null, '2026-03-01', '2026-02-01', '2026-01-01']);
  t.same(await starts('sort=createdAt'), ['2026-03-01', null, '2026-01-01', '2026-02-01', null]);
  t.same(await starts('startsFrom=2026-02-01&startsTo=2026-03-01'), ['2026-02-01']);
  const results = await allPages(api, `/v1/campaigns/results?channel=${channel}&limit=2&sort=startsOn`);
  t.equal(results.length, 5);
  t.match(results[4], { touches: 0, revenue: 0, responseRate: null, costPer: { order: null } });
});

t.test('orders and interactions name a campaign that there is, and keep it', async (t) => {
  const campaignId = await newCampaign({ references: [{ source: 'crm', externalId: 'kept' }] });
  const unknown = '0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90';
  const customerId = await newCustomer();
  t.same(codes((await pushOrder(api, { campaignId: unknown })).body), ['/campaignId unknown_campaign']);
  const placed = await pushOrder(api, { customerId, campaignId });
  t.match(placed, { status: 201, body: { campaignId } });
  await pushOrder(api, { customerId });
  const called = await touch({ customerId, campaignId });
  t.equal(called.status, 201);
  t.equal((await touch({ customerId, campaignId: unknown })).status, 422);
  const { body } = await request('POST', '/v1/orders/batch', {
    body: {
      orders: [
        orderOf({ customerId, campaignId: unknown }),
        orderOf({ customerId, campaignId }),
        orderOf({ customerId }),
      ],
    },
  });
  t.same(
    body.results.map(({ status }: { status: string }) => status),
    ['refused', 'created', 'created'],
  );
  t.same(codes(body.results[0].error), ['/campaignId unknown_campaign']);
  t.equal((await allPages(api, `/v1/orders?campaignId=${campaignId}`)).length, 2);

  const refused = await remove(`/v1/campaigns/${campaignId}`);
  t.match(refused, { status: 409, body: { code: 'campaign_has_records' } });
  t.match(refused.body.detail, /interactions and orders/);
  const both = await graphql(
    `query ($id: ID!) { customer(id: $id) { orders(sort: PLACED_AT_ASC) { nodes { campaignId campaign { name } } } }
      interactions(customerId: $id) { nodes { campaign { id } } } }`,
    { id: customerId },
  );
  t.notOk(both.body.errors, JSON.stringify(both.body.errors));
  t.equal(both.body.data.interactions.nodes[0].campaign.id, campaignId);
  t.same(both.body.data.customer.orders.nodes.map((one: { campaign: unknown }) => one.campaign).filter(Boolean), [
    { name: 'Spring' },
    { name: 'Spring' },
  ]);
  for (const order of await allPages(api, `/v1/orders?campaignId=${campaignId}`)) {
    const cleared = await request('PATCH', `/v1/orders/${order.id}`, {
      body: { campaignId: null },
      headers: { 'If-Match': '*' },
    });
    t.equal(cleared.body.campaignId, null);
  }
  await remove(`/v1/interactions/${called.body.id}`);
  t.equal((await remove(`/v1/campaigns/${campaignId}`)).status, 204);
});

t.test('a deletion and facts that name the campaign do not pass each other', async (t) => {
  for (let round = 0; round < 6; round += 1) {
    const campaignId = await newCampaign();
    const customerId = await newCustomer();
    const [order, interaction, removed] = await Promise.all([
      pushOrder(api, { customerId, campaignId }),
      touch({ customerId, campaignId }),
      remove(`/v1/campaigns/${campaignId}`),
    ]);
    const written = [order.status, interaction.status];
    if (removed.status === 204) t.same(written, [422, 422]);
    else {
      t.equal(removed.status, 409);
      t.ok(written.includes(201));
    }
    t.ok(
      written.every((status) => status === 201 || status === 422),
      String(written),
    );
  }
});

t.test('mutations do what REST does', async (t) => {
  const { body } = await graphql(
    `mutation ($ref: ReferenceInput!) {
      made: upsertCampaign(reference: $ref, input: { name: "G", startsOn: "2026-01-01" }) { created campaign { version references { source externalId } } }
      changed: updateCampaign(reference: $ref, expectedVersion: 1, input: { cost: 5 }) { campaign { name cost version } }
      batch: batchCampaigns(campaigns: [{ name: "H", references: [{ source: "crm", externalId: "g2" }] }]) { results { status } }
      gone: deleteCampaign(reference: $ref, expectedVersion: 2) { deleted }
    }`,
    { ref: { source: 'crm', externalId: 'g1' } },
  );
  t.strictSame(body.data, {
    made: { created: true, campaign: { version: 1, references: [{ source: 'crm', externalId: 'g1' }] } },
    changed: { campaign: { name: 'G', cost: 5, version: 2 } },
    batch: { results: [{ status: 'CREATED' }] },
    gone: { deleted: true },
  });
});

t.test('the ratios, by a hand-sized table', async (t) => {
  const counts = {
    touches: 200,
    touchedCustomers: 100,
    responses: 40,
    responders: 25,
    leads: 10,
    conversions: 4,
    orders: 8,
    buyers: 5,
  };
  t.strictSame(campaignFigures({ ...counts, revenue: 120_000n, cost: 50_000 }), {
    revenue: 120_000,
    revenueLessCost: 70_000,
    responseRate: 0.25,
    costPer: {
      touch: 250,
      touchedCustomer: 500,
      response: 1250,
      responder: 2000,
      lead: 5000,
      conversion: 12_500,
      order: 6250,
      buyer: 10_000,
    },
  });
  const free = campaignFigures({ ...counts, leads: 0, revenue: 0n, cost: 0 });
  t.match(free, { revenue: 0, revenueLessCost: 0, costPer: { touch: 0, lead: null } }, 'a cost of 0 is a cost');
  const unknown = campaignFigures({ ...counts, touchedCustomers: 0, responders: 0, revenue: 2n ** 53n, cost: null });
  t.match(unknown, { revenue: null, revenueLessCost: null, responseRate: null, costPer: { touch: null, order: null } });
  t.equal(
    campaignFigures({ ...counts, revenue: 2n ** 53n, cost: 10 }).revenueLessCost,
    2 ** 53 - 10,
    'exact before it is a number',
  );
});

t.test('results need both scopes, and say their window', async (t) => {
  const id = await newCampaign({ cost: 1000 });
  const path = `/v1/campaigns/${id}/results`;
  for (const [scope, missing] of [
    ['campaigns:read', 'metrics:read'],
    ['metrics:read', 'campaigns:read'],
  ] as const) {
    t.match(await request('GET', path, { scope }), { status: 403, body: { scope: missing } });
    t.match(await request('GET', '/v1/campaigns/results', { scope }), { status: 403, body: { scope: missing } });
  }
  const { body } = await request('GET', path, { scope: 'campaigns:read metrics:read' });
  t.match(body, {
    campaignId: id,
    windowDays: 30,
    from: null,
    to: now,
    asOf: now,
    timeZone: 'UTC',
    currency: 'EUR',
    cost: 1000,
    revenueLessCost: -1000,
    excluded: [],
  });
  t.match(codes((await request('GET', `${path}?from=2026-02-01&to=2026-01-01`)).body), ['from empty_period']);
  for (const query of ['windowDays=0', 'windowDays=367', 'windowDays=1.5', 'from=x', 'timeZone=Mars', 'interval=month'])
    t.equal((await request('GET', `${path}?${query}`)).status, 422, query);
  t.equal((await request('GET', '/v1/campaigns/0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90/results')).status, 404);
  const zoned = await request('GET', `${path}?from=2026-03-01&to=2026-04-01&timeZone=Europe/Berlin&asOf=2026-03-15`);
  t.match(zoned.body, {
    from: '2026-02-28T23:00:00.000Z',
    to: '2026-03-31T22:00:00.000Z',
    asOf: '2026-03-14T23:00:00.000Z',
  });
});

t.test('the edges of window and period', async (t) => {
  const [campaignId, other] = [await newCampaign({ cost: 600 }), await newCampaign()];
  const customerId = await newCustomer();
  await touch({ customerId, campaignId, occurredAt: '2026-02-27T10:00:00Z' });
  for (const placedAt of [
    '2026-02-27T09:59:59.999999Z',
    '2026-02-27T10:00:00Z',
    '2026-03-01T10:00:00Z',
    '2026-03-01T10:00:00.000001Z',
  ])
    await pushOrder(api, { customerId, placedAt });
  const orders = async (query: string, of = campaignId) =>
    (await request('GET', `/v1/campaigns/${of}/results?${query}`)).body.orders;
  t.equal(await orders('windowDays=2'), 2, 'the instant of the touch and that of the end belong to it');
  t.equal(await orders('windowDays=3'), 3);
  t.equal(await orders('windowDays=1'), 1);
  t.equal(await orders('windowDays=2&from=2026-02-28'), 1, 'a touch before the period counts for what is in it');
  t.equal(await orders('windowDays=2&to=2026-02-27T10:00:00Z'), 0);
  t.equal(await orders('windowDays=2&asOf=2026-02-28&from=2026-02-27'), 1);
  const within = await request('GET', `/v1/campaigns/${campaignId}/results?windowDays=2&from=2026-02-28`);
  t.match(within.body, {
    touches: 0,
    touchedCustomers: 0,
    orders: 1,
    revenue: 1000,
    costPer: { touch: null, order: 600 },
  });
  await touch({ customerId, campaignId: other, occurredAt: '2026-03-01T10:00:00Z' });
  t.same([await orders('windowDays=2'), await orders('windowDays=2', other)], [1, 2], 'the last touch takes it all');
});

interface Touch {
  customer: number;
  campaign: number;
  at: number;
  kind: InteractionKind;
  direction: 'inbound' | 'outbound' | null;
  automatic: boolean;
}
interface Order {
  customer: number;
  campaign: number | null;
  at: number;
  total: number;
  tax: number;
  state: 'plain' | 'test' | 'cancelled' | 'partly' | 'refunded' | 'dollars' | 'free';
}
interface History {
  touches: Touch[];
  orders: Order[];
  /** When a customer became a lead, and by hand a customer. */
  leads: { entered: number; converted: number | null }[];
}

const campaignCount = 3;
const customerCount = 3;
const hour = 3_600_000;
/** Hours from the start; few, so that instants are often equal and the window's edge is hit. */
const start = Date.parse('2026-01-01T00:00:00Z');
const when = (hours: number) => new Date(start + hours * hour).toISOString();
const at = fc.oneof(
  fc.nat({ max: 8 }).map((n) => n * 12),
  fc.nat({ max: 8 }).map((n) => n * 24),
);
const customer = fc.nat({ max: customerCount - 1 });
const campaign = fc.nat({ max: campaignCount - 1 });
const histories: fc.Arbitrary<History> = fc.record({
  touches: fc.array(
    fc.record({
      customer,
      campaign,
      at,
      kind: fc.constantFrom(...interactionKinds),
      direction: fc.constantFrom('inbound' as const, 'outbound' as const, null),
      automatic: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, fc.constant(true)),
    }),
    { maxLength: 14 },
  ),
  orders: fc.array(
    fc.record({
      customer,
      campaign: fc.option(campaign, { freq: 3 }),
      at,
      total: fc.integer({ min: 100, max: 5000 }),
      tax: fc.nat({ max: 50 }),
      state: fc.constantFrom<Order['state'][]>(
        'plain',
        'plain',
        'plain',
        'test',
        'cancelled',
        'partly',
        'refunded',
        'dollars',
        'free',
      ),
    }),
    { maxLength: 10 },
  ),
  leads: fc.array(fc.record({ entered: at, converted: fc.option(at) }), { maxLength: customerCount }),
});

interface Written {
  campaigns: string[];
  touches: (Touch & { id: string })[];
  orders: Order[];
  leads: { customer: number; enteredAt: string; steps: Step[] }[];
}
interface Step {
  at: string;
  sequence: number;
  to: string;
  rule: string | null;
  /** Of the order that made it. */
  campaign: number | null;
}

/** Hours after an order at which it is cancelled, or money goes back. */
const later = 60;

async function write({ touches, orders, leads }: History, channel: string): Promise<Written> {
  const campaigns: string[] = [];
  for (let n = 0; n < campaignCount; n += 1)
    campaigns.push(await newCampaign({ channel, ...(n > 0 && { cost: n * 700 }) }));
  const owners = await Promise.all(Array.from({ length: customerCount }, newCustomer));
  const batch = async (kind: string, items: object[]): Promise<string[]> => {
    if (items.length === 0) return [];
    const { body } = await request('POST', `/v1/${kind}/batch`, { body: { [kind]: items } });
    return body.results.map((result: { id?: string }) => result.id ?? t.fail(JSON.stringify(result)));
  };
  for (const [n, { entered }] of leads.entries())
    await request('POST', '/v1/leads', { body: { customerId: owners[n], enteredAt: when(entered) } });
  const ids = await batch(
    'interactions',
    touches.map((one) => ({
      customerId: owners[one.customer],
      kind: one.kind,
      direction: one.direction,
      automatic: one.automatic,
      occurredAt: when(one.at),
      campaignId: campaigns[one.campaign],
      source: 'x',
      externalId: fresh('i'),
    })),
  );
  const orderIds = await batch(
    'orders',
    orders.map((one) => {
      const total = one.state === 'free' ? 0 : one.total;
      return orderOf({
        customerId: owners[one.customer],
        placedAt: when(one.at),
        total,
        tax: one.state === 'free' ? 0 : one.tax,
        taxIncluded: true,
        ...(one.campaign !== null && { campaignId: campaigns[one.campaign] }),
        ...(one.state === 'test' && { test: true }),
        ...(one.state === 'cancelled' && { cancelledAt: when(one.at + later) }),
        ...(one.state === 'dollars' && { currency: 'USD' }),
      });
    }),
  );
  for (const [n, one] of orders.entries()) {
    const amount = one.state === 'refunded' ? one.total : one.state === 'partly' ? 40 : 0;
    if (amount === 0) continue;
    const body = { amount, refundedAt: when(one.at + later) };
    await request('POST', `/v1/orders/${orderIds[n]}/refunds`, { body, headers: newKey() });
  }
  for (const [n, { entered, converted }] of leads.entries()) {
    if (converted === null || converted < entered) continue;
    await request('POST', `/v1/leads/${owners[n]}/stage`, {
      body: { to: 'customer', at: when(converted) },
      headers: { 'If-Match': '*' },
    });
  }
  // Conversion is the leads' own affair (leads.test.ts): here it is a given.
  const stored = await Promise.all(owners.map((id) => request('GET', `/v1/leads/${id}`)));
  const steps = await Promise.all(
    owners.map(async (id, n) => (stored[n]?.status === 200 ? allPages(api, `/v1/leads/${id}/stages?limit=50`) : [])),
  );
  return {
    campaigns,
    touches: touches.map((one, n) => ({ ...one, id: ids[n] ?? '' })).filter(({ automatic }) => !automatic),
    orders,
    leads: stored.flatMap(({ status, body }, n) => {
      if (status !== 200) return [];
      const ofLead = (steps[n] ?? []).map(
        ({ orderId, ...step }): Step => ({
          ...(step as Step),
          campaign: orders[orderIds.indexOf(orderId)]?.campaign ?? null,
        }),
      );
      return [{ customer: n, enteredAt: body.enteredAt, steps: ofLead }];
    }),
  };
}

/** The definition as plainly as it can be put. */
function expected(
  history: Written,
  n: number,
  question: { from: number | null; end: number; asOf: number; windowDays: number; refunds: string },
) {
  const { from, end, asOf, windowDays, refunds } = question;
  const whenGiven = refunds === 'when_given';
  const inside = (instant: number) => (from === null || instant >= from) && instant < end;
  const atOf = (hours: number) => start + hours * hour;
  const lastTouch = (who: number, instant: number): number | null => {
    const before = history.touches
      .filter((one) => one.customer === who && atOf(one.at) <= instant && atOf(one.at) < end)
      .sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
    const last = before.at(-1);
    return last && instant - atOf(last.at) <= windowDays * 24 * hour ? last.campaign : null;
  };
  const own = history.touches.filter((one) => one.campaign === n && inside(atOf(one.at)));
  const responses = own.filter(
    ({ kind, direction }) =>
      ['email_opened', 'email_clicked', 'email_received', 'ad_click', 'form'].includes(kind) ||
      (direction === 'inbound' && kind !== 'unsubscribe' && kind !== 'email_bounced'),
  );
  const isKnown = (one: Order) => atOf(one.at + later) < asOf;
  const lost = whenGiven ? ['cancelled'] : ['cancelled', 'refunded'];
  const attributed = history.orders.filter(
    (one) =>
      one.state !== 'test' &&
      !(lost.includes(one.state) && isKnown(one)) &&
      atOf(one.at) < end &&
      (one.campaign ?? lastTouch(one.customer, atOf(one.at))) === n,
  );
  const orders = attributed.filter((one) => inside(atOf(one.at)));
  const valued = orders.filter(({ state }) => state !== 'dollars');
  const net = (one: Order) => (one.state === 'free' ? 0 : one.total - one.tax);
  const back = (one: Order) => {
    const amount = one.state === 'refunded' ? one.total : one.state === 'partly' ? 40 : 0;
    return amount === 0 ? 0 : net(one) - netLeft(one, [{ amount }]);
  };
  const total = (list: Order[], of: (one: Order) => number) => list.reduce((sum, one) => sum + of(one), 0);
  const revenue =
    total(valued, net) -
    (whenGiven
      ? total(
          attributed.filter((one) => inside(atOf(one.at + later))),
          back,
        )
      : total(valued.filter(isKnown), back));
  const leads = history.leads.filter(({ customer: who, enteredAt }) => {
    const instant = Date.parse(enteredAt);
    return inside(instant) && lastTouch(who, instant) === n;
  });
  const conversions = history.leads.filter((lead) => {
    const until = lead.steps
      .filter((step) => asOf === Date.parse(now) || Date.parse(step.at) < asOf)
      .sort((a, b) => a.sequence - b.sequence);
    const last = until
      .filter((step) => {
        const next = until.find(({ sequence }) => sequence === step.sequence + 1);
        return step.to === 'customer' && next?.rule !== 'no_qualifying_order_left';
      })
      .at(-1);
    if (!last) return false;
    const instant = Date.parse(last.at);
    return inside(instant) && (last.campaign ?? lastTouch(lead.customer, instant)) === n;
  });
  const distinct = (of: { customer: number }[]) => new Set(of.map((one) => one.customer)).size;
  return {
    touches: own.length,
    touchedCustomers: distinct(own),
    responses: responses.length,
    responders: distinct(responses),
    leads: leads.length,
    conversions: conversions.length,
    orders: orders.length,
    buyers: distinct(orders),
    revenue,
    excluded: orders.length > valued.length ? [{ reason: 'missing_rate', count: orders.length - valued.length }] : [],
  };
}

t.test('attribution over random histories is what its definition says', async (t) => {
  const edge = fc.nat({ max: 9 }).map((n) => n * 24);
  const questions = fc.array(
    fc.record({
      from: fc.option(edge),
      to: fc.option(edge),
      asOf: fc.option(edge),
      windowDays: fc.integer({ min: 1, max: 5 }),
      refunds: fc.constantFrom('restate', 'when_given'),
    }),
    { minLength: 3, maxLength: 3 },
  );
  await fc.assert(
    fc.asyncProperty(histories, questions, async (history, asked) => {
      const channel = fresh('property');
      const written = await write(history, channel);
      for (const { from, to, asOf, windowDays, refunds } of asked) {
        const until = to === null ? (asOf === null ? Date.parse(now) : start + asOf * hour) : start + to * hour;
        const question = {
          from: from === null ? null : start + from * hour,
          end: asOf === null ? until : Math.min(until, start + asOf * hour),
          asOf: asOf === null ? Date.parse(now) : start + asOf * hour,
          windowDays,
          refunds,
        };
        if (question.from !== null && question.from >= until) continue;
        const query = new URLSearchParams({
          windowDays: String(windowDays),
          refunds,
          ...(from !== null && { from: when(from) }),
          ...(to !== null && { to: when(to) }),
          ...(asOf !== null && { asOf: when(asOf) }),
        });
        const { status, body } = await request(
          'GET',
          `/v1/campaigns/results?${query}&channel=${channel}&sort=createdAt`,
        );
        if (status !== 200) throw new Error(JSON.stringify(body));
        const byId = new Map<string, Members>(body.data.map((one: { campaignId: string }) => [one.campaignId, one]));
        for (const [n, id] of written.campaigns.entries()) {
          const wanted = expected(written, n, question);
          const found = byId.get(id) ?? {};
          const picked = Object.fromEntries(Object.keys(wanted).map((member) => [member, found[member]]));
          t.strictSame(picked, wanted, JSON.stringify({ history, question, n }));
        }
        const alone = await request('GET', `/v1/campaigns/${written.campaigns[1]}/results?${query}`);
        t.strictSame(alone.body, byId.get(written.campaigns[1] ?? ''), 'of one as of many');
      }
    }),
    { numRuns: 25 },
  );
});
