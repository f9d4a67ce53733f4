import fc from 'fast-check';
import pg from 'pg';
import t from 'tap';
import { sources, type TimelineEntry } from '../../../src/features/timeline/sources.ts';
import { canonicalInstant } from '../../../src/platform/db/columns.ts';
import { testApp } from '../../support/app.ts';
import { allPages, fresh, newKey, orderOf, pushOrder, pushRefund, pushReturn, returnOf } from '../../support/shop.ts';

const now = '2026-06-01T12:00:00.000Z';
const api = await testApp(t, { clock: () => now });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
t.teardown(() => database.end());

const newCustomer = async (): Promise<string> =>
  (
    await request('POST', '/v1/customers', {
      body: { name: 'Ada', references: [{ source: 'shop', externalId: fresh('c') }] },
    })
  ).body.id;
const pushInteraction = (members: object) =>
  request('POST', '/v1/interactions', { body: { kind: 'phone', occurredAt: '2026-03-01T10:00:00Z', ...members } });
const timeline = (customerId: string, query = '', scope = '*') =>
  request('GET', `/v1/customers/${customerId}/timeline?${query}`, { scope });
const kindsOf = (entries: TimelineEntry[]) => entries.map(({ kind }) => kind);

/** What members and respondents need. */
const programme = await request('POST', '/v1/loyalty/programmes', {
  body: { name: 'Club', rules: { pointsPerUnit: 1, pointValue: 1 } },
});
await request('POST', `/v1/loyalty/programmes/${programme.body.id}/publish`, {
  body: { validFrom: '2020-01-01T00:00:00Z' },
  headers: { 'If-Match': '*' },
});
const survey = await request('POST', '/v1/surveys', {
  body: {
    name: 'After the purchase',
    status: 'open',
    questions: [
      { key: 'recommend', type: 'nps', text: 'Would you recommend us?' },
      { key: 'content', type: 'csat', text: 'Are you content?' },
      { key: 'why', type: 'text', text: 'Why?' },
    ],
  },
});
const enrol = (customerId: string) =>
  request('POST', `/v1/customers/${customerId}/loyalty`, {
    body: { programmeId: programme.body.id, joinedAt: '2025-01-01T00:00:00Z' },
    headers: newKey(),
  });
const respond = (responses: object[]) =>
  request('POST', `/v1/surveys/${survey.body.id}/responses/batch`, {
    body: {
      responses: responses.map((one) => ({
        submissionId: fresh('form'),
        answers: [
          { question: 'recommend', score: 9 },
          { question: 'content', score: 4 },
          { question: 'why', text: 'Came a day early.' },
        ],
        ...one,
      })),
    },
  });

/** One customer with an entry of every kind. */
async function everyKind(): Promise<string> {
  const customerId = await newCustomer();
  const lead = await request('POST', '/v1/leads', { body: { customerId, enteredAt: '2026-03-01T08:00:00Z' } });
  t.equal(lead.status, 201, JSON.stringify(lead.body));
  await pushInteraction({
    customerId,
    occurredAt: '2026-03-01T09:00:00Z',
    direction: 'inbound',
    channel: 'hotline',
    topic: 'delivery',
    outcome: 'solved',
    staff: 'maria',
    seconds: 340,
    text: 'Where is it?',
  });
  const order = await pushOrder(api, { customerId, placedAt: '2026-03-02T10:00:00Z', channel: 'web', test: true });
  await pushRefund(api, order.body.id, { refundedAt: '2026-03-03T10:00:00Z', reason: 'damaged' });
  await pushReturn(api, { customerId, returnedAt: '2026-03-04T10:00:00Z', reason: 'too small' });
  await respond([{ customerId, answeredAt: '2026-03-05T10:00:00Z', channel: 'email' }]);
  await enrol(customerId);
  const adjusted = await request('POST', '/v1/loyalty/transactions', {
    body: { kind: 'adjust', customerId, points: 50, reason: 'sorry' },
    headers: newKey(),
  });
  t.equal(adjusted.status, 201, JSON.stringify(adjusted.body));
  return customerId;
}

t.test('one stream of every kind, newest first, with what people need at a glance', async (t) => {
  const customerId = await everyKind();
  const { status, body } = await timeline(customerId, 'count=true');
  t.equal(status, 200);
  t.equal(body.page.total, 7);
  t.same(kindsOf(body.data), [
    'loyalty_transaction',
    'survey_response',
    'return',
    'refund',
    'order',
    'interaction',
    'stage_change',
  ]);
  const [points, response, productReturn, refund, order, interaction, stage] = body.data;
  const none = {
    interaction: null,
    order: null,
    refund: null,
    return: null,
    stageChange: null,
    loyaltyTransaction: null,
    surveyResponse: null,
  };
  t.strictSame(points, {
    ...none,
    id: points.id,
    kind: 'loyalty_transaction',
    at: now,
    loyaltyTransaction: {
      kind: 'adjust',
      points: 50,
      orderId: null,
      redemptionId: null,
      bonusKey: null,
      reason: 'sorry',
    },
  });
  t.strictSame(response, {
    ...none,
    id: response.id,
    kind: 'survey_response',
    at: '2026-03-05T10:00:00.000Z',
    surveyResponse: {
      surveyId: survey.body.id,
      surveyName: 'After the purchase',
      status: 'complete',
      scores: [
        { question: 'content', type: 'csat', score: 4 },
        { question: 'recommend', type: 'nps', score: 9 },
      ],
      channel: 'email',
      orderId: null,
      interactionId: null,
    },
  });
  const {
    id: orderId,
    source,
    externalId,
  } = (await request('GET', `/v1/orders?customerId=${customerId}`)).body.data[0];
  t.strictSame(order, {
    ...none,
    id: orderId,
    kind: 'order',
    at: '2026-03-02T10:00:00.000Z',
    order: {
      status: 'partially_refunded',
      currency: 'EUR',
      total: 1000,
      source,
      externalId,
      channel: 'web',
      campaignId: null,
    },
  });
  t.strictSame(refund, {
    ...none,
    id: refund.id,
    kind: 'refund',
    at: '2026-03-03T10:00:00.000Z',
    refund: { orderId, amount: 100, currency: 'EUR', reason: 'damaged', status: 'applied' },
  });
  t.strictSame(productReturn.return, { total: 500, currency: 'EUR', reason: 'too small' });
  t.strictSame(interaction.interaction, {
    kind: 'phone',
    direction: 'inbound',
    automatic: false,
    channel: 'hotline',
    topic: 'delivery',
    outcome: 'solved',
    staff: 'maria',
    seconds: 340,
    campaignId: null,
    orderId: null,
    text: 'Where is it?',
  });
  t.match(stage, {
    at: '2026-03-01T08:00:00.000Z',
    stageChange: { from: null, to: 'lead', rule: null, lossReason: null },
  });

  const ascending = await timeline(customerId, 'sort=at&limit=2');
  t.same(kindsOf(ascending.body.data), ['stage_change', 'interaction']);
  t.match(ascending.headers.get('link'), /rel="next"/);
  const filtered = 'kinds=order,refund,return&from=2026-03-03T10:00:00Z&to=2026-03-04T10:00:00Z';
  t.same(kindsOf((await timeline(customerId, filtered)).body.data), ['refund'], 'half-open');
  t.same(kindsOf((await timeline(customerId, `${filtered}&sort=at`)).body.data), ['refund']);

  const { references } = (await request('GET', `/v1/customers/${customerId}`)).body;
  const byName = await request('GET', `/v1/customers/external/shop/${references[0].externalId}/timeline`);
  t.strictSame(byName.body.data, body.data);
});

t.test('a token sees the kinds it has scopes for, and free text only with customers:pii', async (t) => {
  const customerId = await everyKind();
  const seen = async (scope: string) => kindsOf((await timeline(customerId, '', `customers:read ${scope}`)).body.data);
  t.same(await seen(''), []);
  t.same(await seen('interactions:read'), ['interaction']);
  t.same(await seen('orders:read'), ['refund', 'order']);
  t.same(await seen('returns:read leads:read'), ['return', 'stage_change']);
  t.same(await seen('loyalty:read survey-responses:read'), ['loyalty_transaction', 'survey_response']);
  const limited = 'customers:read interactions:read';
  const counted = await timeline(customerId, 'count=true', limited);
  t.equal(counted.body.page.total, 1, 'a total gives nothing away');
  for (const [kind, scope] of [
    ['order', 'orders:read'],
    ['refund', 'orders:read'],
    ['return', 'returns:read'],
    ['stage_change', 'leads:read'],
    ['loyalty_transaction', 'loyalty:read'],
    ['survey_response', 'survey-responses:read'],
  ] as const) {
    const refused = await timeline(customerId, `kinds=interaction,${kind}`, limited);
    t.match(refused, { status: 403, body: { code: 'insufficient_scope', scope } }, kind);
    const inGraphql = await graphql(
      `query ($id: ID!) { customer(id: $id) { timeline(kinds: [INTERACTION, ${kind.toUpperCase()}]) { nodes { id } totalCount } } }`,
      { id: customerId },
      { scope: limited },
    );
    t.match(inGraphql.body, {
      data: { customer: { timeline: null } },
      errors: [{ extensions: { code: 'insufficient_scope' } }],
    });
  }
  const all = 'customers:read interactions:read orders:read returns:read leads:read loyalty:read survey-responses:read';
  const entries = (await timeline(customerId, '', all)).body.data;
  t.equal(entries.length, 7);
  for (const entry of entries) {
    const own = entry.interaction ?? entry.refund ?? entry.return ?? entry.loyaltyTransaction ?? {};
    t.equal(own.text ?? own.reason ?? null, null, `${entry.kind} without personal data`);
  }
  t.equal((await timeline(customerId, '', 'interactions:read')).status, 403);
});

t.test('what cannot be asked is refused', async (t) => {
  const customerId = await newCustomer();
  t.strictSame((await timeline(customerId)).body, { data: [], page: { next: null, hasMore: false } });
  t.equal((await timeline('0193a6c2-8f00-7c3e-9b1a-5d2f6e7a8b90')).status, 404);
  t.equal((await request('GET', '/v1/customers/external/shop/nobody/timeline')).status, 404);
  for (const query of [
    'kinds=',
    'kinds=order,nonsense',
    'kinds=order&kinds=refund',
    'kind=order',
    'from=yesterday',
    'sort=-id',
  ])
    t.equal((await timeline(customerId, query)).status, 422, query);
  const busy = await everyKind();
  const { next } = (await timeline(busy, 'limit=1')).body.page;
  for (const query of ['limit=1&sort=at', 'limit=1&kinds=order', 'limit=1&to=2026-03-01T00:00:00Z'])
    t.match(await timeline(busy, `${query}&after=${next}`), { status: 400, body: { code: 'invalid_cursor' } }, query);
  t.equal((await timeline(customerId, `limit=1&after=${next}`)).status, 400, 'a cursor belongs to its customer');
});

interface Facts {
  interactions: number[];
  orders: { at: number; refunds: number[] }[];
  returns: number[];
  lead: number | null;
  /** Orders earn points then, and refunds take them back. */
  member: boolean;
  responses: number[];
}

/** Few instants, so that many are equal; one a microsecond beside another. */
const instants = [
  '2026-03-01T10:00:00Z',
  '2026-03-01T10:00:00.000001Z',
  '2026-03-01T10:00:00.001Z',
  '2026-03-02T00:00:00Z',
  '2026-03-03T00:00:00.5Z',
  '2025-12-31T23:59:59.999999Z',
] as const;
const instant = fc.nat({ max: instants.length - 1 });
const at = (index: number) => instants[index] ?? instants[0];
const facts: fc.Arbitrary<Facts> = fc.record({
  interactions: fc.array(instant, { maxLength: 12 }),
  orders: fc.array(fc.record({ at: instant, refunds: fc.array(instant, { maxLength: 2 }) }), { maxLength: 5 }),
  returns: fc.array(instant, { maxLength: 4 }),
  lead: fc.option(instant),
  member: fc.boolean(),
  responses: fc.array(instant, { maxLength: 3 }),
});

async function write(customerId: string, facts: Facts): Promise<void> {
  const send = async (kind: string, items: object[]) => {
    if (items.length === 0) return;
    const { body } = await request('POST', `/v1/${kind}/batch`, { body: { [kind]: items } });
    t.notOk(
      body.results.find(({ status }: { status: string }) => status === 'refused'),
      JSON.stringify(body),
    );
  };
  const { interactions, orders, returns, lead, member, responses } = facts;
  if (member) await enrol(customerId);
  if (responses.length > 0) await respond(responses.map((n) => ({ customerId, answeredAt: at(n) })));
  if (lead !== null) await request('POST', '/v1/leads', { body: { customerId, enteredAt: at(lead) } });
  await send(
    'interactions',
    interactions.map((n) => ({ customerId, kind: 'chat', occurredAt: at(n), source: 'x', externalId: fresh('i') })),
  );
  const named = orders.map((one) => ({ ...one, externalId: fresh('o') }));
  await send(
    'orders',
    named.map((one) => orderOf({ customerId, placedAt: at(one.at), externalId: one.externalId })),
  );
  for (const { externalId, refunds } of named) {
    for (const n of refunds) {
      const body = { amount: 10, refundedAt: at(n) };
      await request('POST', `/v1/orders/external/shop/${externalId}/refunds`, { body, headers: newKey() });
    }
  }
  await send(
    'returns',
    returns.map((n) => returnOf({ customerId, returnedAt: at(n) })),
  );
}

/** Everything the API lists of a customer, as `kind id at`. */
async function listed(customerId: string): Promise<{ kind: string; id: string; at: string }[]> {
  const lists = await Promise.all([
    allPages(api, `/v1/interactions?customerId=${customerId}`),
    allPages(api, `/v1/orders?customerId=${customerId}`),
    allPages(api, `/v1/returns?customerId=${customerId}`),
    allPages(api, `/v1/loyalty/transactions?customerId=${customerId}`),
    allPages(api, `/v1/survey-responses?customerId=${customerId}`),
  ]);
  const [interactions = [], orders = [], returns = [], points = [], responses = []] = lists;
  const refunds = await Promise.all(orders.map(({ id }) => allPages(api, `/v1/orders/${id}/refunds?limit=100`)));
  const lead = await request('GET', `/v1/leads/${customerId}`);
  const stages = lead.status === 404 ? [] : await allPages(api, `/v1/leads/${customerId}/stages?limit=100`);
  return [
    ...interactions.map((one) => ({ kind: 'interaction', id: one.id, at: one.occurredAt })),
    ...orders.map((one) => ({ kind: 'order', id: one.id, at: one.placedAt })),
    ...refunds.flat().map((one) => ({ kind: 'refund', id: one.id, at: one.refundedAt })),
    ...returns.map((one) => ({ kind: 'return', id: one.id, at: one.returnedAt })),
    ...stages.map((one) => ({ kind: 'stage_change', id: one.id, at: one.at })),
    ...points.map((one) => ({ kind: 'loyalty_transaction', id: one.id, at: one.at })),
    ...responses.map((one) => ({ kind: 'survey_response', id: one.id, at: one.answeredAt })),
  ];
}

const microseconds = (text: string) =>
  BigInt(Date.parse(`${text.slice(0, 19)}Z`)) * 1000n + BigInt((text.slice(20, -1) || '0').padEnd(6, '0'));

/** The merge as plainly as it can be put. */
function merged(rows: { kind: string; id: string; at: string }[], descending: boolean): string[] {
  const sorted = rows.toSorted((a, b) => {
    const [x, y] = [microseconds(a.at), microseconds(b.at)];
    return x < y ? -1 : x > y ? 1 : a.id < b.id ? -1 : 1;
  });
  return (descending ? sorted.reverse() : sorted).map(({ kind, id }) => `${kind} ${id}`);
}

t.test(
  'pages make up the merge of everything the API lists; what comes meanwhile doubles and hides nothing',
  async (t) => {
    const query = fc.record({
      kinds: fc.option(
        fc.subarray(
          sources.map(({ kind }) => kind),
          { minLength: 1 },
        ),
        { freq: 2 },
      ),
      from: fc.option(instant),
      to: fc.option(instant),
      descending: fc.boolean(),
      sizes: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(facts, facts, query, async (first, later, { kinds, from, to, descending, sizes }) => {
        const customerId = await newCustomer();
        await write(customerId, first);
        const there = await listed(customerId);
        const wanted = there.filter(
          (one) =>
            (kinds === null || (kinds as string[]).includes(one.kind)) &&
            (from === null || microseconds(one.at) >= microseconds(at(from))) &&
            (to === null || microseconds(one.at) < microseconds(at(to))),
        );
        const filter = new URLSearchParams({
          sort: descending ? '-at' : 'at',
          ...(kinds && { kinds: kinds.join() }),
          ...(from !== null && { from: at(from) }),
          ...(to !== null && { to: at(to) }),
        });
        const walk = async (between?: () => Promise<void>) => {
          const found: string[] = [];
          let after: string | null = null;
          for (let n = 0; ; n += 1) {
            const { body, status } = await timeline(
              customerId,
              `${filter}&limit=${sizes[n % sizes.length]}${after ? `&after=${after}` : ''}`,
            );
            if (status !== 200) throw new Error(JSON.stringify(body));
            for (const entry of body.data as TimelineEntry[]) {
              const { id, kind, at: _, ...members } = entry;
              found.push(`${kind} ${id}`);
              if (Object.values(members).filter((member) => member !== null).length !== 1)
                throw new Error(JSON.stringify(entry));
            }
            after = body.page.next;
            if (after === null) return found;
            if (n === 0) await between?.();
          }
        };
        t.strictSame(await walk(), merged(wanted, descending));
        const total = (await timeline(customerId, `${filter}&count=true&limit=1`)).body.page.total;
        t.equal(total, wanted.length);
        const walked = await walk(() => write(customerId, later));
        // An order that comes later may move the conversion of a lead, and with it a change of its stage.
        const places = new Set((await listed(customerId)).map(({ id, at: when }) => `${id} ${when}`));
        const stayed = wanted.filter(({ id, at: when }) => places.has(`${id} ${when}`));
        const names = new Set(stayed.map(({ kind, id }) => `${kind} ${id}`));
        // What moves meanwhile is met at its old place and its new one; all else is met once.
        const moved = new Set(merged(wanted, descending).filter((name) => !names.has(name)));
        const twice = walked.filter((name, index) => walked.indexOf(name) !== index);
        t.strictSame(
          twice.filter((name) => !/^stage_change /.test(name) || !moved.has(name)),
          [],
          'nothing twice',
        );
        t.equal(new Set(twice).size, twice.length, 'and nothing three times');
        t.strictSame(
          walked.filter((name) => names.has(name)),
          merged(stayed, descending),
          'what was there throughout, once each and in order',
        );
      }),
      { numRuns: 15 },
    );
  },
);

t.test('an order that was placed before the one that converted a lead moves the conversion back', async (t) => {
  const customerId = await newCustomer();
  await request('POST', '/v1/leads', { body: { customerId, enteredAt: '2026-01-01T00:00:00Z' } });
  const push = (placedAt: string) =>
    request('POST', '/v1/orders', {
      body: orderOf({ customerId, placedAt, externalId: fresh('o') }),
      headers: newKey(),
    });
  const entries = (body: { data: TimelineEntry[] }) => body.data.map(({ kind, at: when }) => `${kind} ${when}`);
  await push('2026-03-10T00:00:00.000Z');
  const { body: first } = await timeline(customerId, 'sort=-at&limit=2');
  await push('2026-02-05T00:00:00.000Z');
  const { body: rest } = await timeline(customerId, `sort=-at&limit=9&after=${first.page.next}`);
  t.strictSame(entries(first), ['stage_change 2026-03-10T00:00:00.000Z', 'order 2026-03-10T00:00:00.000Z']);
  const converted = first.data.find(({ kind }: TimelineEntry) => kind === 'stage_change').id;
  const again = rest.data.find(({ id }: TimelineEntry) => id === converted);
  t.equal(again.at, '2026-02-05T00:00:00.000Z', 'met again where it now stands');
  const { body: whole } = await timeline(customerId, 'sort=-at&limit=9');
  t.equal(whole.data.filter(({ id }: TimelineEntry) => id === converted).length, 1, 'once in a list read at one time');
});

t.test('GraphQL answers the timelines of many customers as REST answers each, with as many statements', async (t) => {
  const owners = await Promise.all([newCustomer(), newCustomer(), newCustomer(), newCustomer()]);
  for (const [index, facts] of fc
    .sample(
      fc.record({
        interactions: fc.array(instant, { minLength: 3, maxLength: 12 }),
        orders: fc.array(fc.record({ at: instant, refunds: fc.array(instant, { maxLength: 2 }) }), { maxLength: 5 }),
        returns: fc.array(instant, { maxLength: 4 }),
        lead: fc.option(instant),
        member: fc.boolean(),
        responses: fc.array(instant, { maxLength: 3 }),
      }),
      owners.length - 1,
    )
    .entries()) {
    await write(owners[index] ?? '', facts);
  }
  const document = `query ($first: Int, $sort: TimelineSort, $kinds: [TimelineKind!], $all: Int) {
    customers(first: $all) { nodes { id timeline(first: $first, sort: $sort, kinds: $kinds) {
      totalCount pageInfo { hasNextPage endCursor } nodes { id kind at interaction { kind } order { total status } refund { amount } return { total } stageChange { to } loyaltyTransaction { kind points } surveyResponse { surveyName scores { question score } } } } } }
  }`;
  for (const [sort, order] of [
    ['AT_DESC', '-at'],
    ['AT_ASC', 'at'],
  ] as const) {
    for (const kinds of [undefined, ['ORDER', 'RETURN']]) {
      const variables = { all: 20, first: 4, sort, ...(kinds && { kinds }) };
      const { body } = await graphql(document, variables);
      t.notOk(body.errors, JSON.stringify(body.errors));
      for (const { id, timeline: page } of body.data.customers.nodes.filter((one: { id: string }) =>
        owners.includes(one.id),
      )) {
        const filter = `sort=${order}${kinds ? `&kinds=${kinds.join().toLowerCase()}` : ''}&limit=4&count=true`;
        const rest = await timeline(id, filter);
        t.equal(page.totalCount, rest.body.page.total);
        t.equal(page.pageInfo.hasNextPage, rest.body.page.hasMore);
        t.strictSame(
          page.nodes.map((one: TimelineEntry) => [one.id, one.kind.toLowerCase(), one.at]),
          rest.body.data.map((one: TimelineEntry) => [one.id, one.kind, one.at]),
        );
        if (!rest.body.page.next) continue;
        const second = await graphql(
          `query ($id: ID!, $after: String, $sort: TimelineSort, $kinds: [TimelineKind!]) {
            customer(id: $id) { timeline(first: 4, after: $after, sort: $sort, kinds: $kinds) { nodes { id } } } }`,
          { id, after: page.pageInfo.endCursor, sort, ...(kinds && { kinds }) },
        );
        const onRest = await timeline(id, `${filter}&after=${rest.body.page.next}`);
        t.strictSame(
          second.body.data.customer.timeline.nodes.map((one: { id: string }) => one.id),
          onRest.body.data.map((one: { id: string }) => one.id),
        );
      }
    }
  }
});

t.test('GraphQL answers the timeline of one customer as REST does', async (t) => {
  const customerId = await everyKind();
  const { body } = await graphql(
    `query ($id: ID!) { customer(id: $id) { timeline(first: 3, sort: AT_ASC, from: "2026-03-01T09:00:00Z") {
      totalCount pageInfo { hasNextPage } nodes { id interaction { text } refund { reason } } } } }`,
    { id: customerId },
  );
  const rest = await timeline(customerId, 'limit=3&sort=at&from=2026-03-01T09:00:00Z&count=true');
  const { totalCount, pageInfo, nodes } = body.data.customer.timeline;
  t.same([totalCount, pageInfo.hasNextPage], [6, true]);
  t.same([rest.body.page.total, rest.body.page.hasMore], [6, true]);
  t.strictSame(
    nodes,
    rest.body.data.map((one: TimelineEntry) => ({
      id: one.id,
      interaction: one.interaction && { text: (one.interaction as { text: string | null }).text },
      refund: one.refund && { reason: (one.refund as { reason: string | null }).reason },
    })),
  );
});

t.test('a long history is read from its index, at its beginning and far down', async (t) => {
  const customerId = await newCustomer();
  await database.query(
    `insert into interactions (customer_id, id, version, kind, occurred_at, created_at, updated_at)
     select $1, gen_random_uuid(), 1, 'web_visit', '2020-01-01'::timestamptz + n * interval '1 minute', now(), now() from generate_series(1, 5000) n`,
    [customerId],
  );
  await database.query('analyze interactions');
  const { rows } = await database.query(
    `select id, occurred_at::text as at from interactions where customer_id = $1 order by occurred_at desc, id desc offset 4000 limit 3`,
    [customerId],
  );
  const found = await timeline(customerId, 'limit=3&to=2020-01-01T16:41:00Z');
  t.same(
    found.body.data.map(({ id, at: when }: TimelineEntry) => [id, when]),
    rows.map((row) => [row.id, canonicalInstant(row.at)]),
  );
});
