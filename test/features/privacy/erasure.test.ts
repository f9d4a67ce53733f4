import pg from 'pg';
import t from 'tap';
import { routes } from '../../../src/features.ts';
import { newId } from '../../../src/platform/ids.ts';
import { type Answer, runJobs, testApp } from '../../support/app.ts';
import { dumpDatabase, encodingsOf, pgDump, tracesIn } from '../../support/dump.ts';
import { stockHouse, stockPartner, stockPerson } from '../../support/people.ts';
import { fresh, newKey, orderOf } from '../../support/shop.ts';

const now = '2026-06-01T12:00:00.000Z';
const log: string[] = [];
const api = await testApp(t, { clock: () => now, env: { LOG_LEVEL: 'trace' }, log: (line) => log.push(line) });
const { request, graphql } = api;
const database = new pg.Client(api.connection);
await database.connect();
const pool = new pg.Pool(api.connection);
t.teardown(() => Promise.all([database.end(), pool.end()]));

const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = newKey()) =>
  request(method, path, { ...(body !== undefined && { body }), headers });
async function made(path: string, body?: object, headers = newKey(), method = 'POST'): Promise<Answer['body']> {
  const answer = await send(method, path, body, headers);
  if (answer.status >= 300) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}
const erase = (id: string) => made(`/v1/customers/${id}/erase`);
const codesOf = ({ body }: Answer) => (body.warnings ?? []).map(({ code }: { code: string }) => code);

const house = await stockHouse(api);
const others = [await stockPerson(api, house), await stockPerson(api, house), await stockPerson(api, house)];

/** Every metric that there is, by itself and cut in the ways that there are. */
async function metrics(asOf = '2026-06-01T12:00:00.001Z'): Promise<Record<string, unknown>> {
  const cuts = ['', '&interval=month', '&payment=paid', '&currency=EUR'];
  const ways: Record<string, string[]> = {
    'lead-funnel': [
      '',
      '&interval=month',
      ...['source', 'segment', 'owner', 'country', 'stage'].map((by) => `&groupBy=${by}`),
    ],
    'loyalty-liability': [`&programmeId=${house.programme}`],
    'closed-loop': ['', '&interval=month', `&surveyId=${house.survey}`],
    'lifetime-value': [...cuts, '&variant=four_factor'],
    'churn-rate': [...cuts, '&variant=silence', '&variant=gap'],
  };
  const scores = [
    '',
    '&interval=month',
    ...['staff', 'channel', 'department', 'product', 'tier', 'survey'].map((by) => `&groupBy=${by}`),
  ];
  for (const name of ['net-promoter-score', 'customer-satisfaction', 'customer-effort']) ways[name] = scores;
  const answers: Record<string, unknown> = {};
  for (const { url, operation } of routes.filter((route) => /^\/v1\/metrics\/[a-z-]+$/.test(route.url))) {
    // As of an instant only, whatever the period.
    if (!('from' in operation.input.shape)) {
      const { status, body } = await request('GET', `${url}?asOf=${asOf}`);
      answers[url] = { status, ...body, instance: null };
      continue;
    }
    const name = url.slice('/v1/metrics/'.length);
    for (const cut of ways[name] ?? cuts) {
      for (const from of ['2026-01-01', '2026-05-01']) {
        const path = `${url}?from=${from}&to=2026-07-01&asOf=${asOf}${cut}`;
        const { status, body } = await request('GET', path);
        answers[path] = { status, ...body, instance: null };
      }
    }
  }
  return answers;
}

/** The person, with a text that nobody else has in every place where people write. */
async function stock() {
  const texts: string[] = [];
  const mark = (what: string) => {
    const text = `Qzx${what}Ö${fresh('x')}`;
    texts.push(text);
    return text;
  };
  const email = `qzx.${fresh('mail')}@example.org`;
  const second = `qzx.${fresh('second')}@example.org`;
  const phone = '+442071838750';
  const reference = `QZX-${fresh('ref')}`;
  texts.push(email, second, phone, reference);
  const customer = await made(
    '/v1/customers',
    {
      name: mark('name'),
      givenName: mark('given'),
      familyName: mark('family'),
      identities: [
        { kind: 'email', value: email },
        { kind: 'phone', value: phone },
        { kind: 'handle', value: `@${mark('handle').toLowerCase()}` },
      ],
      references: [{ source: 'shop', externalId: reference }],
      birthday: '1987-03-29',
      address: { line1: mark('street'), city: mark('city'), postalCode: 'QZX 1A', country: 'GB' },
      attributes: { shoe: mark('attribute'), [mark('name of an attribute')]: 1, deep: { er: [mark('deep')] } },
      companyId: house.company,
      referredBy: house.referrer,
      acquisition: { source: 'fair' },
      consents: [
        { purpose: 'newsletter', status: 'granted', evidence: { wording: mark('wording'), reference: mark('proof') } },
      ],
    },
    { 'Idempotency-Key': `create-${email}` },
  );
  const { id } = customer;
  // The same person twice: what is merged is erased with it.
  const twin = await made('/v1/customers', {
    name: mark('twin'),
    identities: [{ kind: 'email', value: second }],
    references: [{ source: 'erp', externalId: mark('erp') }],
    address: { line1: mark('old street') },
  });
  const interaction = await made('/v1/interactions', {
    customerId: twin.id,
    kind: 'email_received',
    occurredAt: '2026-04-02T00:00:00Z',
    text: mark('text'),
    topic: mark('topic'),
    outcome: mark('outcome'),
    ticket: mark('ticket'),
  });
  await made(`/v1/customers/${id}/merge`, { customerId: twin.id });
  await send(
    'PATCH',
    `/v1/interactions/${interaction.id}`,
    { text: mark('other text') },
    { 'If-Match': '*', ...newKey() },
  );
  await made('/v1/interactions/batch', {
    interactions: [
      {
        source: 'crm',
        externalId: fresh('contact'),
        customer: { source: 'shop', externalId: reference, email },
        kind: 'phone',
        text: mark('batched'),
        topic: mark('batched topic'),
        occurredAt: '2026-05-02T00:00:00Z',
      },
    ],
  });
  const order = await made(
    '/v1/orders',
    orderOf({ customer: { email, phone }, placedAt: '2026-04-01T08:00:00Z', total: 5_000 }),
  );
  await made(
    '/v1/orders',
    orderOf({ customer: { externalId: reference }, placedAt: '2026-05-11T08:00:00Z', total: 9_900 }),
  );
  const refund = await made(`/v1/orders/${order.id}/refunds`, {
    amount: 100,
    refundedAt: '2026-05-05T10:00:00Z',
    reason: mark('refund'),
  });
  const returned = await made('/v1/returns', {
    source: 'shop',
    externalId: fresh('return'),
    customerId: id,
    returnedAt: '2026-05-06T10:00:00Z',
    currency: 'EUR',
    total: 300,
    reason: mark('return'),
  });
  await made('/v1/leads', { customerId: id, segment: 'smb', enteredAt: '2026-03-01T00:00:00Z', stage: 'subscriber' });
  await graphql(
    `mutation ($id: ID!, $input: StageChangeInput!) { changeLeadStage(id: $id, input: $input) { lead { id } } }`,
    { id, input: { to: 'FORMER', lossReason: 'PRICE', note: mark('note') } },
  );
  const survey = await made('/v1/surveys', {
    name: 'With words',
    status: 'open',
    questions: [
      { key: 'recommend', type: 'nps', text: 'Would you?' },
      { key: 'why', type: 'text', text: 'Why?' },
    ],
    settings: { contactFrequencyDays: 0, followUp: { withinDays: 2 } },
  });
  const answers = [
    { question: 'recommend', score: 2 },
    { question: 'why', text: mark('why') },
  ];
  const response = await made(`/v1/surveys/${survey.id}/responses`, {
    submissionId: fresh('form'),
    answeredAt: '2026-05-20T00:00:00Z',
    customer: { email },
    answers,
    staff: 'maria',
  });
  const reserve = async () =>
    (await made(`/v1/surveys/${survey.id}/eligibility`, { customerId: id, reserve: true })).reserved;
  const answered = await reserve();
  const byLink = await request('POST', answered.path, {
    scope: null,
    body: {
      answers: [
        { question: 'recommend', score: 9 },
        { question: 'why', text: mark('by link') },
      ],
    },
  });
  if (byLink.status !== 201) throw new Error(JSON.stringify(byLink.body));
  const openLink = await reserve();
  await made(`/v1/customers/${id}/loyalty`, { programmeId: house.programme });
  await made('/v1/loyalty/transactions', { kind: 'adjust', customerId: id, points: 500, reason: mark('adjusted') });
  const redemption = await made('/v1/loyalty/redemptions', { customerId: id, rewardId: house.reward });
  await made(
    `/v1/loyalty/redemptions/${redemption.id}/cancel`,
    { reason: mark('cancelled') },
    {
      'If-Match': '*',
      ...newKey(),
    },
  );
  const followUp = await made('/v1/follow-ups', {
    customerId: id,
    kind: 'retention',
    reason: mark('reason'),
    note: mark('to do'),
  });
  await made(
    `/v1/customers/external/shop/${reference}/consents`,
    {
      purpose: 'ads',
      status: 'withdrawn',
      channel: 'sms',
      evidence: { source: mark('evidence'), textVersion: mark('version') },
    },
    { 'Idempotency-Key': `consent-of-${reference.toLowerCase()}` },
  );
  // What is refused is stored nowhere, and may be in the log.
  await send('POST', '/v1/customers', { name: mark('refused'), identities: [{ kind: 'email', value: email }] });
  await request('GET', `/v1/customers?email=${encodeURIComponent(email)}`);
  await request('GET', `/v1/interactions?q=${encodeURIComponent(texts.at(-1) ?? '')}`);
  await request('GET', `/v1/customers/external/shop/${reference}/export`);
  return {
    id,
    twin: twin.id,
    texts,
    email,
    second,
    phone,
    reference,
    interaction,
    order,
    refund,
    returned,
    response,
    openLink,
    followUp,
  };
}

const person = await stock();
await runJobs(api);

t.test('what the dump is searched for is found in each of its forms', async (t) => {
  const text = 'Zoë Qzx';
  for (const prefix of ['', 'a', 'ab']) {
    const stored = Buffer.from(`${prefix}${text}.`).toString('base64');
    t.same(tracesIn(`x ${stored} y`, [text]), [text], `base64 behind ${prefix.length}`);
  }
  for (const form of encodingsOf(text).slice(0, 5)) t.same(tracesIn(`(${form.toUpperCase()})`, [text]), [text], form);
  t.same(tracesIn('(Zoe Qzx)', [text]), []);
  await database.query(`create table traces (row bytea)`);
  await database.query(`insert into traces values ($1)`, [Buffer.from(text)]);
  t.same(tracesIn(await dumpDatabase(api.connection), [text]), [text], 'a table nobody told of');
  await database.query('drop table traces');
});

t.test('nothing of an erased person is left, and no metric has changed', async (t) => {
  const whole = tracesIn(await dumpDatabase(api.connection), person.texts);
  const missing = person.texts.filter((text) => !whole.includes(text));
  // The refused document; the old text is in the snapshot of the merge.
  t.equal(missing.length, 1, `the dump tells nearly all of it: ${missing}`);
  const before = await metrics();
  t.ok(
    Object.values(before).every((one: any) => one.status === 200),
    JSON.stringify(
      Object.entries(before)
        .filter(([, one]: any) => one.status !== 200)
        .slice(0, 3),
    ),
  );

  const seen = await request('GET', `/v1/survey-responses/${person.response.id}`);
  const tried = await request('POST', `/v1/customers/${person.id}/erase?dryRun=true`);
  t.match(tried, { status: 200, body: { id: person.id, applied: true, erasedAt: now } });
  const kinds = tried.body.removed.map((one: { kind: string }) => one.kind);
  for (const kind of [
    'customer',
    'identities',
    'references',
    'interactions',
    'refunds',
    'returns',
    'stageChanges',
    'surveyAnswers',
    'loyaltyTransactions',
    'redemptions',
    'followUps',
    'consentChanges',
    'storedAnswers',
    'openInvitations',
    'openFollowUps',
    'merges',
  ])
    t.ok(kinds.includes(kind), kind);
  const other = await graphql(
    'mutation ($id: ID!) { eraseCustomer(id: $id, dryRun: true) { erasure { id erasedAt applied removed { kind records } } } }',
    { id: person.id },
  );
  t.same(other.body.data?.eraseCustomer.erasure, tried.body, 'the other door says the same');
  t.equal((await request('GET', `/v1/customers/${person.id}`)).body.email, person.email, 'nothing happened');

  const done = await made(`/v1/customers/external/shop/${person.reference}/erase`, undefined, {
    'Idempotency-Key': 'erase-1',
  });
  t.same(done, tried.body, 'what was told happened');
  const again = await erase(person.id);
  t.same(again, { ...done, applied: false, removed: [] });
  const resent = await made(`/v1/customers/external/shop/${person.reference}/erase`, undefined);
  t.same(resent, again, 'by the reference as well, which is a hash by now');

  await runJobs(api);
  const dump = await dumpDatabase(api.connection);
  t.same(tracesIn(dump, person.texts), []);
  const official = await pgDump({ url: api.url });
  if (official === null) t.comment('no pg_dump of a fitting version');
  else t.same(tracesIn(official, person.texts), []);
  t.same(await metrics(), before);

  const gone = await request('GET', `/v1/customers/${person.id}`);
  t.match(gone.body, {
    name: null,
    email: null,
    identities: [],
    references: [],
    erasedAt: now,
    address: { country: 'GB' },
  });
  t.match(
    (await request('GET', `/v1/survey-links/${person.openLink.token}`, { scope: null })).status,
    410,
    'links end',
  );
  t.match((await request('GET', `/v1/follow-ups/${person.followUp.id}`)).body, {
    status: 'cancelled',
    reason: null,
    note: null,
  });
  const { status, body: response } = await request('GET', `/v1/survey-responses/${person.response.id}`, {
    headers: { 'If-None-Match': seen.headers.get('ETag') ?? '' },
  });
  t.equal(status, 200, 'who has read it is not told that it is as it was');
  t.same(
    response.answers.map((one: any) => [one.question, one.score ?? null, one.text ?? null]),
    [
      ['recommend', 2, null],
      ['why', null, null],
    ],
  );
  for (const other of others)
    t.equal((await request('GET', `/v1/customers/${other.customer}`)).body.email, other.email);
  t.same((await request('GET', `/v1/customers?email=${encodeURIComponent(person.email)}`)).body.data, []);
});

t.test('later facts of an erased person are kept, and nothing of the person with them', async (t) => {
  const { email, second, phone, reference, id } = person;
  const secret = `Qzxlater${fresh('x')}`;
  for (const customer of [
    { email: email.toUpperCase() },
    { phone: '+44 20 7183 8750' },
    { externalId: reference },
    { email: second },
  ]) {
    const named = { ...customer, name: secret, familyName: secret };
    const answer = await send('POST', '/v1/orders', orderOf({ customer: named }));
    t.match(answer, { status: 201, body: { customerId: id } }, JSON.stringify(customer));
    t.same(codesOf(answer), ['person_erased']);
  }
  const added = { externalId: fresh('Qzxnew'), email, phone: '+442071838751' };
  t.match(await send('POST', '/v1/orders', orderOf({ customer: added })), { status: 201, body: { customerId: id } });
  const contact = await send('POST', '/v1/interactions', {
    customer: { email },
    kind: 'chat',
    occurredAt: now,
    text: secret,
    topic: secret,
    ticket: secret,
  });
  t.match(contact, {
    status: 201,
    body: { customerId: id, text: null, topic: null, ticket: null, warnings: [{ code: 'person_erased' }] },
  });
  const batch = await send('POST', '/v1/returns/batch', {
    returns: [
      {
        source: 'shop',
        externalId: fresh('r'),
        customer: { email },
        returnedAt: now,
        currency: 'EUR',
        total: 10,
        reason: secret,
      },
    ],
  });
  t.match(batch.body.results, [{ status: 'created', warnings: [{ code: 'person_erased' }] }]);
  const order = (await request('GET', `/v1/customers/${id}/orders`)).body.data[0];
  const refund = await send('POST', `/v1/orders/${order.id}/refunds`, { amount: 1, refundedAt: now, reason: secret });
  t.match(refund, { status: 201, body: { reason: null } });
  const response = await send('POST', `/v1/surveys/${house.survey}/responses`, {
    submissionId: fresh('form'),
    answeredAt: now,
    customer: { email },
    answers: [{ question: 'recommend', score: 0 }],
  });
  t.match(response, { status: 201, body: { customerId: id } });
  t.same(codesOf(response), ['person_erased']);
  // Somebody else whose phone it was: the name is not theirs to bring back.
  const other = await send('POST', '/v1/orders', orderOf({ customer: { email: others[0]?.email, phone } }));
  t.match(other.body, { customerId: others[0]?.customer, warnings: [{ code: 'person_erased' }] });
  for (const [method, path, body] of [
    ['POST', '/v1/customers', { name: secret, identities: [{ kind: 'email', value: email }] }],
    ['POST', '/v1/customers', { name: secret, references: [{ source: 'shop', externalId: reference }] }],
    [
      'POST',
      '/v1/customers',
      {
        name: secret,
        identities: [{ kind: 'email', value: email }],
        consents: [{ purpose: 'a', status: 'withdrawn' }],
      },
    ],
    ['PUT', `/v1/customers/external/shop/${reference}`, { name: secret }],
    ['PATCH', `/v1/customers/${id}`, { name: secret }],
    ['PATCH', `/v1/customers/${others[0]?.customer}`, { identities: [{ kind: 'email', value: email }] }],
    ['POST', '/v1/leads', { customer: { email, name: secret } }],
    ['POST', '/v1/leads', { customerId: id }],
    ['PUT', `/v1/leads/external/shop/${reference}`, { segment: 'smb' }],
    ['POST', `/v1/leads/${id}/stage`, { to: 'lead', note: secret }],
    ['POST', `/v1/customers/${id}/consents`, { purpose: 'a', status: 'granted', evidence: { wording: secret } }],
    ['POST', '/v1/follow-ups', { customerId: id, kind: 'retention', reason: secret }],
    ['POST', '/v1/survey-invitations', { customerId: id, surveyId: house.survey }],
    ['POST', '/v1/loyalty/transactions', { kind: 'adjust', customerId: id, points: 5, reason: secret }],
    ['POST', '/v1/loyalty/redemptions', { customerId: id, rewardId: house.reward }],
    ['DELETE', `/v1/customers/${id}`, undefined],
  ] as const) {
    const versions = method === 'PATCH' || method === 'DELETE' ? { 'If-Match': '*' } : {};
    const answer = await send(method, path, body, { ...versions, ...newKey() });
    t.match(answer, { status: 409, body: { code: 'person_erased' } }, `${method} ${path}`);
    t.equal(answer.body.id, undefined);
  }
  const batched = await send('POST', '/v1/customers/batch', {
    customers: [
      { references: [{ source: 'shop', externalId: reference }], name: secret },
      { references: [{ source: 'shop', externalId: fresh('neighbour') }], name: 'Neighbour' },
    ],
  });
  t.match(batched.body.results, [{ status: 'refused', error: { code: 'person_erased' } }, { status: 'created' }]);
  const { body: eligible } = await send('POST', `/v1/surveys/${house.survey}/eligibility`, { customerId: id });
  t.match(eligible, { eligible: false, reasons: [{ code: 'person_erased' }] });
  t.same(tracesIn(await dumpDatabase(api.connection), [...person.texts, secret, added.externalId]), []);
});

t.test('a new consent brings the person back, as somebody new', async (t) => {
  const { email, phone, second, id } = person;
  const consents = [{ purpose: 'newsletter', status: 'granted' }];
  const back = await send('POST', '/v1/customers', { identities: [{ kind: 'email', value: email }], consents });
  t.equal(back.status, 201);
  t.not(back.body.id, id);
  const order = await send('POST', '/v1/orders', orderOf({ customer: { email } }));
  t.match(order.body, { customerId: back.body.id, warnings: [] });
  const refused = await send('POST', '/v1/customers', {
    kind: 'person',
    identities: [{ kind: 'phone', value: phone }],
    companyId: newId(),
    consents,
  });
  t.equal(refused.status, 422);
  const still = await send('POST', '/v1/orders', orderOf({ customer: { phone } }));
  t.match(
    still.body,
    { customerId: id },
    'what is refused lifts nothing, and names that did not come with it stay erased',
  );
  const lead = await send('POST', '/v1/leads', { customer: { email: second }, consents });
  t.equal(lead.status, 201);
  t.not(lead.body.id, id);
  t.match((await send('POST', '/v1/orders', orderOf({ customer: { email: second } }))).body, {
    customerId: lead.body.id,
  });
  t.equal((await erase(back.body.id)).applied, true, 'and may be erased again');
  t.match((await send('POST', '/v1/orders', orderOf({ customer: { email } }))).body, { customerId: back.body.id });
});

t.test('a partner who brings an erased person is told, and may bring the person with a consent', async (t) => {
  const partner = await stockPartner(api, { customers: [house.referrer] });
  const email = `${fresh('Qzxbrought').toLowerCase()}@example.org`;
  const { id } = await made('/v1/customers', { identities: [{ kind: 'email', value: email }] });
  await erase(id);
  const bring = (path: string, body: object) =>
    request('POST', path, { body, headers: newKey(), partner, scope: 'leads:write customers:write customers:pii' });
  const lead = { customer: { email } };
  t.match(await bring('/v1/leads', lead), { status: 409, body: { code: 'person_erased' } });
  const document = { identities: [{ kind: 'email', value: email }] };
  t.match(await bring('/v1/customers', document), { status: 409, body: { code: 'person_erased' } });
  t.same(tracesIn(await dumpDatabase(api.connection), [email]), []);
  const back = await bring('/v1/leads', { ...lead, consents: [{ purpose: 'sales', status: 'granted' }] });
  t.equal(back.status, 201);
  t.not(back.body.id, id);
});

t.test('sixteen who write about a person while it is erased', async (t) => {
  for (let round = 0; round < 4; round += 1) {
    const name = fresh('Qzxrace');
    const texts = [name];
    const externalId = `${name}-ref`;
    const email = `${name}@example.org`.toLowerCase();
    const { id } = await made('/v1/customers', {
      name,
      references: [{ source: 'shop', externalId }],
      identities: [{ kind: 'email', value: email }],
    });
    const writers = Array.from({ length: 16 }, async (_, writer) => {
      const told: Answer[] = [];
      for (let turn = 0; turn < 4; turn += 1) {
        const customer = { externalId, email, name, ...(writer % 2 ? { phone: `+4420718390${10 + writer}` } : {}) };
        const kind = (writer + turn) % 4;
        told.push(
          kind === 0
            ? await send('POST', '/v1/orders', orderOf({ customer }))
            : kind === 1
              ? await send('POST', '/v1/interactions', {
                  customer: { ...customer, source: 'shop' },
                  kind: 'chat',
                  occurredAt: now,
                  text: `${name} says`,
                })
              : kind === 2
                ? await send('PUT', `/v1/customers/external/shop/${externalId}`, {
                    name,
                    identities: [{ kind: 'email', value: email }],
                  })
                : await send(
                    'POST',
                    '/v1/orders',
                    orderOf({ customer: { email, phone: `+4420718390${10 + writer}` } }),
                  ),
        );
      }
      return told;
    });
    await new Promise((resolve) => setTimeout(resolve, 20 * round));
    await erase(id);
    const told = (await Promise.all(writers)).flat();
    const statuses = told.map(({ status, body }) => (status < 300 ? 'ok' : body.code));
    t.same(
      [...new Set(statuses)].filter((one) => !['ok', 'person_erased', 'identity_taken'].includes(one)),
      [],
      'they are told',
    );
    t.same(tracesIn(await dumpDatabase(api.connection), [...texts, email]), [], `round ${round}`);
    const { rows } = await database.query(
      `select customer_id, value from customer_identities where value like '+4420718390%'`,
    );
    t.same(rows, [], 'nor what was added meanwhile');
    const orders = told
      .filter(({ status, body }) => status === 201 && body.placedAt)
      .map(({ body }) => body.customerId);
    t.same([...new Set(orders)], [id], 'every fact is kept with the one customer');
    await database.query('delete from privacy_tombstones where customer_id = $1', [id]);
  }
});

t.test('a name that was looked up before its person was erased is not written after that', async (t) => {
  // Nobody was erased yet: then names are not looked for among those who were.
  await database.query('delete from privacy_tombstones');
  const phone = '+442071839099';
  const externalId = fresh('Qzxlate');
  const { id } = await made('/v1/customers', { references: [{ source: 'shop', externalId }] });
  await database.query('begin');
  await database.query('select from customers where id = $1 for update', [others[1]?.customer]);
  const batch = send('POST', '/v1/orders/batch', {
    orders: [orderOf({ customerId: others[1]?.customer }), orderOf({ customer: { phone } })],
  });
  for (let waiting = 0; waiting === 0; ) {
    const { rows } = await pool.query(
      `select count(*)::int as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    waiting = rows[0]?.waiting ?? 0;
  }
  await made('/v1/orders', orderOf({ customer: { externalId, phone } }));
  await erase(id);
  await database.query('commit');
  t.match((await batch).body.results, [
    { status: 'created' },
    { status: 'created', warnings: [{ code: 'person_erased' }] },
  ]);
  t.same(tracesIn(await dumpDatabase(api.connection), [phone, externalId]), []);
});

t.test('the log says nothing of anybody', async (t) => {
  await runJobs(api);
  const lines = log.join('');
  t.ok(lines.length > 10_000 && lines.includes('/v1/customers/:id/erase'), 'it was written');
  t.same(tracesIn(lines, [...person.texts, 'Qzxlater', 'Qzxrace']), []);
});
